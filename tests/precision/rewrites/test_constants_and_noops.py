import numpy as np
import pytest

from pipeline.core.artifacts import Fate
from pipeline.graph.infer import infer
from pipeline.precision.rewrites.constants import lift
from pipeline.precision.rewrites.dead import remove_dead_code
from pipeline.precision.rewrites.fold import LIMIT, fold_constants
from pipeline.precision.rewrites.noops import remove_noops
from pipeline.precision.rewrites.transposes import merge_transposes

X = np.random.default_rng(0).standard_normal((2, 3, 4), np.float32)

CONSTANTS = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[2, 3, 4] x) => (float[2, 3, 4] y, int64[2] axes) {
    one = Constant <value_float = 1.5> ()
    axes = Constant <value_ints = [1, 2]> ()
    three = Constant <value = float[1] {3.0}> ()
    a = Mul (x, one)
    y = Add (a, three)
}
"""


def test_constant_nodes_become_initializers_of_the_same_name(rewritten):
    graph = rewritten(CONSTANTS, lift)
    assert graph.ops == ["Constant", "Mul", "Add"]  # the one that is a graph output stays
    assert set(graph.after.graph.initializers) == {"one", "three"}
    assert graph.fates == ()
    graph.require_same(x=X)


BRANCHES = """
<ir_version: 10, opset_import: ["" : 20]>
g (bool c, float[2, 3, 4] x) => (float[2, 3, 4] y) {
    y = If (c) <
        then_branch = yes () => (float[2, 3, 4] then_y) {
            two = Constant <value_float = 2.0> ()
            kept = Identity (x)
            then_y = Mul (kept, two)
        },
        else_branch = no () => (float[2, 3, 4] else_y) { else_y = Neg (x) }
    >
}
"""


@pytest.mark.parametrize("rewrite", [lift, remove_noops, fold_constants, remove_dead_code])
def test_subgraphs_survive_untouched(rewritten, rewrite):
    graph = rewritten(BRANCHES, rewrite)
    assert [node.op_type for node in graph.after.graph.all_nodes()] == ["If", "Constant", "Identity", "Mul", "Neg"]
    graph.require_same(c=np.array(True), x=X)


NOOPS = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[batch, 3, 4] x) => (float[batch, 3, 4] y, float[batch, 3, 4] same)
<int64[3] shape = {-1, 3, 4}, int64[3] ones = {1, 1, 1}>
{
    a = Identity (x)
    b = Cast <to = 1> (a)
    c = Transpose <perm = [0, 1, 2]> (b)
    d, mask = Dropout (c)
    e = Reshape (d, shape)
    f = Expand (e, ones)
    r = Relu (f)
    y = Identity (r)
    same = Identity (x)
}
"""


def test_what_hands_on_its_input_is_removed_and_outputs_keep_their_names(rewritten):
    def rewrite(model):
        infer(model)
        return remove_noops(model)

    graph = rewritten(NOOPS, rewrite)
    assert graph.ops == ["Relu", "Identity"]  # an input that is an output needs a node
    assert [value.name for value in graph.after.graph.outputs] == ["y", "same"]
    assert graph.fate("r") == Fate(tensor="r", now="y", reason="Identity handed it on to the output")
    assert graph.fate("f").now == "x"
    graph.require_same(x=X)


SLICE = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[batch, 3, 4] x) => (float[r, s, t] y) <int64[1] a = {{{start}}}, int64[1] b = {{{end}}},
    int64[1] axis = {{{axis}}}, int64[1] step = {{{step}}}> {{
    h = Slice ({call})
    y = Relu (h)
}}
"""
FAR = (1 << 63) - 1


@pytest.mark.parametrize(
    ("start", "end", "axis", "step", "gone"),
    [
        (0, FAR, 0, 1, True),
        (0, 3, 1, 1, True),
        (0, 4, -1, 1, True),
        (0, 3, -1, 1, False),
        (0, 8, 0, 1, False),
        (1, FAR, 0, 1, False),
        (0, FAR, 0, 2, False),
        (-1, FAR, 0, 1, False),
    ],
)
def test_a_slice_that_takes_all_of_its_axis_is_removed(rewritten, start, end, axis, step, gone):
    text = SLICE.format(start=start, end=end, axis=axis, step=step, call="x, a, b, axis, step")
    graph = rewritten(text, remove_noops)
    assert graph.ops == (["Relu"] if gone else ["Slice", "Relu"])
    graph.require_same(x=X)
    graph.require_accounted()


MOVES = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[batch, 3, 4] x) => (float[r, s, t] y) <int64[6] none = {{0, 0, 0, 0, 0, 0}},
    int64[6] some = {{0, 0, 1, 0, 0, 1}}, int64[2] inner = {{3, 4}}, int64[2] wide = {{3, 8}}> {{
    batch = Shape <start = 0, end = 1> (x)
    same = Concat <axis = 0> (batch, inner)
    other = Concat <axis = 0> (batch, wide)
    h = {call}
    y = Relu (h)
}}
"""


@pytest.mark.parametrize(
    ("call", "gone"),
    [
        ("Pad (x, none)", True),
        ("Pad (x, some)", False),
        ('Resize <mode = "linear"> (x, , , same)', True),
        ('Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric"> (x, , , same)', True),
        ('Resize <mode = "linear"> (x, , , other)', False),
    ],
)
def test_a_pad_of_nothing_and_a_resize_to_the_same_size_are_removed(rewritten, call, gone):
    def rewrite(model):
        infer(model)
        return remove_noops(model)

    graph = rewritten(MOVES.format(call=call), rewrite)
    assert ("Pad" in graph.ops or "Resize" in graph.ops) is not gone
    graph.require_same(x=X)


@pytest.mark.parametrize("call", ["x, a, b", "x, a, b, axis"])
def test_a_slice_without_axes_or_steps_takes_the_first_axes_whole(rewritten, call):
    graph = rewritten(SLICE.format(start=0, end=FAR, axis=0, step=1, call=call), remove_noops)
    assert graph.ops == ["Relu"]
    graph.require_same(x=X)


FOLDABLE = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[batch, 3, 4] x) => (float[batch, 12] y)
<float[2] w = {1.5, -2.0}, float two = {2.0}, int64 last = {2}, int64[1] first = {0}, int64[1] minus = {-1}>
{
    shape = Shape (x)
    four = Gather (shape, last)
    number = Cast <to = 1> (four)
    root = Sqrt (number)
    half = Mul (root, two)
    batch = Gather (shape, first)
    target = Concat <axis = 0> (batch, minus)
    scaled = Mul (x, half)
    y = Reshape (scaled, target)
}
"""


def test_sizes_that_are_numbers_fold_and_dynamic_ones_stay(rewritten):
    def rewrite(model):
        infer(model)
        return fold_constants(model)

    graph = rewritten(FOLDABLE, rewrite)
    assert graph.ops == ["Shape", "Gather", "Concat", "Mul", "Reshape"]
    assert graph.after.graph.initializers["half"].const_value.numpy() == np.float32(4.0)
    graph.require_same(x=X)
    graph.require_accounted()


def test_nothing_folds_that_would_make_the_model_larger(rewritten):
    text = f"""
    <ir_version: 10, opset_import: ["" : 20]>
    g (float[{LIMIT}] x) => (float[{LIMIT}] y)
    <int64[1] many = {{{LIMIT}}}, float one = {{1.0}}>
    {{
        big = Expand (one, many)
        y = Add (x, big)
    }}
    """
    assert rewritten(text, fold_constants).ops == ["Expand", "Add"]


def test_two_transposes_merge_unless_the_first_is_read_elsewhere(rewritten):
    text = """
    <ir_version: 10, opset_import: ["" : 20]>
    g (float[2, 3, 4] x) => (float[4, 3, 2] y, float[3, 2, 4] z) {
        a = Transpose <perm = [1, 2, 0]> (x)
        y = Transpose <perm = [1, 0, 2]> (a)
        z = Transpose <perm = [1, 0, 2]> (x)
    }
    """
    graph = rewritten(text, merge_transposes)
    assert graph.ops == ["Transpose", "Transpose"]
    assert graph.fate("a").now is None
    graph.require_same(x=X)
    shared = text.replace("(x)\n    }", "(a)\n    }").replace("float[3, 2, 4] z", "float[4, 3, 2] z")
    assert rewritten(shared, merge_transposes).ops == ["Transpose"] * 3


def test_dead_code_goes_and_is_accounted_for(rewritten):
    text = """
    <ir_version: 10, opset_import: ["" : 20]>
    g (float[2, 3, 4] x, float[1] unused) => (float[2, 3, 4] y)
    <float[1] weight = {1.0}>
    {
        a = Mul (x, weight)
        b = Neg (a)
        y = Relu (x)
    }
    """
    graph = rewritten(text, remove_dead_code)
    assert graph.ops == ["Relu"]
    assert [value.name for value in graph.after.graph.inputs] == ["x", "unused"]
    assert {fate.tensor for fate in graph.fates} == {"a", "b", "weight"}
    graph.require_accounted()
