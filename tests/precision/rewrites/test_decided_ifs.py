"""What the sizes of the inputs decide is decided once; what the inputs themselves decide stays an If."""

import numpy as np
import pytest

from pipeline.precision.rewrites.canonical import canonicalise
from pipeline.precision.rewrites.decided_ifs import inline_decided_ifs

HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'
X = np.random.default_rng(0).standard_normal((2, 3, 1), np.float32)

BY_SIZE = (
    HEAD
    + """
by_size (float[batch, 3, {last}] x) => (float[batch, k] y) <int64[1] one = {{1}}, int64[1] end = {{-1}}> {{
    shape = Shape (x)
    size = Gather (shape, end)
    is_one = Equal (size, one)
    [choose] h = If (is_one) <
        then_branch = yes () => (float[p, q] largest) {{
            axes = Constant <value_ints = [-1]> ()
            [largest] largest = ReduceMax <keepdims = 0> (x, axes)
        }},
        else_branch = no () => (float[p, q] summed) {{
            axes = Constant <value_ints = [-1]> ()
            [sum] summed = ReduceSum <keepdims = 0> (x, axes)
        }}
    >
    [act] y = Neg (h)
}}
"""
)


@pytest.mark.parametrize(("last", "taken"), [(1, "largest"), (2, "sum")])
def test_a_size_decides_which_branch_stands_in_the_main_graph(rewritten, last, taken):
    graph = rewritten(BY_SIZE.format(last=last), inline_decided_ifs)
    assert [node.name for node in graph.after.graph if node.op_type != "Constant"] == [taken, "act"]
    graph.require_same(x=np.repeat(X, last, axis=2))


def test_what_the_if_computed_keeps_its_name_and_what_decided_it_is_gone(rewritten):
    graph = rewritten(BY_SIZE.format(last=1), inline_decided_ifs)
    assert graph.node("ReduceMax").outputs[0].name == "h"
    assert graph.fate("shape").now is None
    graph.require_accounted()


def test_names_that_only_the_branch_used_for_sizes_give_way_to_those_of_the_inputs(rewritten):
    graph = rewritten(BY_SIZE.format(last=1), canonicalise)
    assert [str(dim) for dim in graph.node("ReduceMax").outputs[0].shape] == ["batch", "3"]


@pytest.mark.parametrize("condition", ["bool", "float"])
def test_what_the_input_decides_stays_whole(rewritten, condition):
    text = (
        HEAD
        + f"""
    g ({condition} c, float[batch, 3, 1] x) => (float[batch, 3, 1] y) {{
        given = Cast <to = 9> (c)
        y = If (given) <
            then_branch = yes () => (float[batch, 3, 1] a) {{ a = Relu (x) }},
            else_branch = no () => (float[batch, 3, 1] b) {{ b = Neg (x) }}
        >
    }}
    """
    )
    graph = rewritten(text, canonicalise)
    assert graph.ops[-1] == "If"
    for value in (True, False):
        graph.require_same(c=np.array(value, "?" if condition == "bool" else "f"), x=X)


def test_a_dynamic_size_decides_nothing(rewritten):
    text = BY_SIZE.format(last="n")
    assert "If" in rewritten(text, canonicalise).ops
    for size in (1, 2):
        rewritten(text, canonicalise).require_same(x=np.repeat(X, size, axis=2))


NESTED = (
    HEAD
    + """
nested (float[batch, 3, 1] x) => (float[batch, 3] y, float[batch, 3] z)
    <bool yes = {1}, bool no = {0}, float[3] w = {1, 2, 3}> {
    [outer] y, z = If (yes) <
        then_branch = first () => (float[b, c] h, float[b, c] k) {
            last = Constant <value_ints = [-1]> ()
            flat = Squeeze (x, last)
            rank = Shape (flat)
            axes = Size (rank)
            two = Constant <value_int = 2> ()
            is_two = Equal (axes, two)
            [inner] h, k = If (is_two) <
                then_branch = deep () => (float[b, c] s, float[b, c] t) {
                    [scale] s = Mul (flat, w)
                    [shift] t = Add (s, w)
                },
                else_branch = shallow () => (float[b, c] s, float[b, c] t) {
                    s = Relu (flat)
                    t = Neg (flat)
                }
            >
        },
        else_branch = second () => (float[b, c] h, float[b, c] k) {
            last = Constant <value_ints = [-1]> ()
            h = Squeeze (x, last)
            k = Neg (h)
        }
    >
}
"""
)


def test_an_if_in_the_taken_branch_is_decided_by_what_the_branch_computes(rewritten):
    graph = rewritten(NESTED, canonicalise)
    assert graph.ops == ["Squeeze", "Mul", "Add"]
    assert [value.name for value in graph.after.graph.outputs] == ["y", "z"]
    graph.require_same(x=X)
    graph.require_accounted()


def test_branches_that_use_the_same_names_are_told_apart(rewritten):
    branches = """<
        then_branch = a () => (float[batch, 3, 1] r) { two = Constant <value_float = 2.0> () r = Mul (x, two) },
        else_branch = b () => (float[batch, 3, 1] r) { r = Neg (x) }
    >"""
    text = (
        HEAD
        + f"""
    g (float[batch, 3, 1] x, bool c) => (float[batch, 3, 1] y) <bool yes = {{1}}> {{
        h = If (yes) {branches}
        k = If (yes) {branches}
        m = If (c) {branches}
        n = Add (h, k)
        y = Add (n, m)
    }}
    """
    )
    graph = rewritten(text, inline_decided_ifs)
    assert graph.ops == ["Mul", "Mul", "If", "Add", "Add"]
    names = [value.name for node in graph.after.graph.all_nodes() for value in node.outputs]
    assert len(names) == len(set(names)) + 1  # the two branches of the If that stays
    for value in (True, False):
        graph.require_same(x=X, c=np.array(value))


def test_a_branch_that_hands_on_a_constant_or_one_tensor_twice_gives_two_tensors(rewritten):
    text = (
        HEAD
        + """
    g (float[batch, 3, 1] x) => (float[1] y, float[batch, 3, 1] z, float[batch, 3, 1] v) <bool yes = {1}> {
        [choose] y, z, v = If (yes) <
            then_branch = a () => (float[1] one, float[batch, 3, 1] r, float[batch, 3, 1] r)
                <float[1] one = {1}> { r = Neg (x) },
            else_branch = b () => (float[1] two, float[batch, 3, 1] s, float[batch, 3, 1] t)
                <float[1] two = {2}> { s = Relu (x) t = Abs (x) }
        >
    }
    """
    )
    graph = rewritten(text, inline_decided_ifs)
    assert graph.ops == ["Neg", "Identity", "Identity"]
    assert [value.name for value in graph.after.graph.outputs] == ["y", "z", "v"]
    graph.require_accounted()


def test_nodes_of_the_branch_without_a_module_get_that_of_the_if(rewritten):
    def rewrite(model):
        for node in model.graph.all_nodes():
            if node.name in ("outer", "scale"):
                node.metadata_props["pipeline.module"] = f"module.{node.name}"
        return inline_decided_ifs(model)

    found = {node.name: node.metadata_props for node in rewritten(NESTED, rewrite).after.graph}
    assert found["scale"]["pipeline.module"] == "module.scale"
    assert found["shift"]["pipeline.module"] == "module.outer"
