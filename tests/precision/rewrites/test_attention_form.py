import numpy as np
import pytest

from pipeline.graph import correspondence
from pipeline.graph.infer import infer
from pipeline.precision.rewrites.attention import scale_after_scores, transpose_key_once
from pipeline.precision.rewrites.canonical import canonicalise
from pipeline.precision.rewrites.empty_rows import restore_empty_rows
from pipeline.precision.rewrites.filled_masks import add_filled_masks
from pipeline.precision.rewrites.softmax_guards import move_guards

RNG = np.random.default_rng(0)
Q, K, V = (RNG.standard_normal((2, 3, 5, 4), np.float32) for _ in range(3))
QKV = {"q": Q, "k": K, "v": V}


def text(body, inputs="", constants="", opset=20):
    return f"""
    <ir_version: 10, opset_import: ["" : {opset}]>
    g (float[batch, 3, sequence, 4] q, float[batch, 3, sequence, 4] k, float[batch, 3, sequence, 4] v {inputs})
        => (float[batch, 3, sequence, 4] y)
    <float s = {{0.5}}, float two = {{2.0}}, float zero = {{0.0}}, float lowest = {{-3.4028234663852886e38}},
     int64[1] i0 = {{0}}, int64[1] i1 = {{-1}}, int64[1] i2 = {{-2}}, int64[1] end = {{9223372036854775807}}
     {constants}>
    {{ {body} }}
    """


ROUND_TRIP = """
    shape = Shape (k)
    last = Slice (shape, i1, end)
    rows = Slice (shape, i2, i1)
    outer = Slice (shape, i0, i2)
    flat = Concat <axis = 0> (i1, rows, last)
    turned = Concat <axis = 0> (outer, last, rows)
    k3 = Reshape (k, flat)
    k3t = Transpose <perm = [0, 2, 1]> (k3)
    kt = Reshape (k3t, turned)
"""
TURN = "kt = Transpose <perm = [0, 1, 3, 2]> (k) "
SCALED = "qs = Mul (q, s) ks = Mul (kt, s) a = MatMul (qs, ks) "


def typed(rewrite):
    def typed_rewrite(model):
        infer(model)
        return rewrite(model)

    return typed_rewrite


def add_and_move(model):
    names = correspondence.tensor_names(model)
    return correspondence.compose(names, add_filled_masks(model), move_guards(model))


def test_the_round_trip_of_the_key_is_one_transpose(rewritten):
    graph = rewritten(
        text(ROUND_TRIP + "a = MatMul (q, kt) p = Softmax (a) y = MatMul (p, v)"), typed(transpose_key_once)
    )
    assert graph.ops == ["Transpose", "MatMul", "Softmax", "MatMul"]
    assert graph.node("Transpose").outputs[0].name == "kt"
    graph.require_same(**QKV)
    graph.require_accounted()


def test_two_reshapes_that_do_more_than_transpose_stay(rewritten):
    other = ROUND_TRIP.replace("(outer, last, rows)", "(outer, rows, last)")
    graph = rewritten(
        text(other + "t = Transpose <perm = [0, 1, 3, 2]> (kt) a = MatMul (q, t) p = Softmax (a) y = MatMul (p, v)"),
        typed(transpose_key_once),
    )
    assert graph.ops.count("Reshape") == 2
    assert graph.fates == ()


@pytest.mark.parametrize(
    ("scores", "factor"),
    [
        (SCALED, 0.25),
        ("qs = Mul (s, q) a = MatMul (qs, kt) ", 0.5),
        ("ks = Div (kt, two) a = MatMul (q, ks) ", 0.5),
    ],
)
def test_the_scale_stands_between_scores_and_softmax(rewritten, scores, factor):
    graph = rewritten(text(TURN + scores + "p = Softmax (a) y = MatMul (p, v)"), typed(scale_after_scores))
    assert graph.ops == ["Transpose", "MatMul", "Mul", "Softmax", "MatMul"]
    multiplication = graph.node("Mul")
    assert multiplication.outputs[0].name == "a"
    assert multiplication.inputs[0].name == "a::unscaled"
    assert multiplication.inputs[1].const_value.numpy() == np.float32(factor)
    graph.require_same(**QKV)
    graph.require_accounted()


def test_a_scaled_query_that_is_read_elsewhere_stays(rewritten):
    body = TURN + "qs = Mul (q, s) a = MatMul (qs, kt) p = Softmax (a) o = MatMul (p, v) y = Add (o, qs)"
    assert rewritten(text(body), typed(scale_after_scores)).fates == ()


def test_a_product_that_is_no_attention_keeps_its_scale(rewritten):
    body = TURN + SCALED + "y = MatMul (a, v)"
    assert rewritten(text(body), typed(scale_after_scores)).fates == ()


GUARD = "p = Softmax (c) nan = IsNaN (p) g = Where (nan, zero, p) y = MatMul (g, v)"
MASKS = {
    "boolean": ("m = Where (mask, zero, low) c = Add (a, m) ", ", bool[batch, 1, 1, sequence] mask"),
    "boolean, inverted": (
        "n = Not (mask) m = Where (n, low, zero) c = Add (a, m) ",
        ", bool[batch, 1, 1, sequence] mask",
    ),
    "additive": ("c = Add (a, mask) ", ", float[batch, 1, 1, sequence] mask"),
    "filled": ("c = Where (mask, a, low) ", ", bool[batch, 1, 1, sequence] mask"),
    "filled, inverted": ("n = Not (mask) c = Where (n, low, a) ", ", bool[batch, 1, 1, sequence] mask"),
    "on the left": ("m = Where (mask, zero, low) c = Add (m, a) ", ", bool[batch, 1, 1, sequence] mask"),
    "twice": (
        "m = Where (mask, zero, low) c1 = Add (a, m) c = Add (c1, m) ",
        ", bool[batch, 1, 1, sequence] mask",
    ),
}


def valid_keys():
    valid = np.ones((2, 1, 1, 5), np.bool_)
    valid[0, ..., :2] = False
    valid[1] = False
    return valid


def infinite_low(model):
    low = model.graph.initializers["low"]
    low.const_value = type(low.const_value)(np.array(-np.inf, np.float32), name="low")


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("mask", MASKS)
def test_a_guard_that_can_fire_moves_behind_the_values(rewritten, mask, opset):
    body, inputs = MASKS[mask]
    graph = rewritten(
        text(TURN + "a = MatMul (q, kt) " + body + GUARD, inputs, ", float low = {-inf}", opset), typed(add_and_move)
    )
    assert np.isneginf(graph.before.graph.initializers["low"].const_value.numpy())
    assert "IsNaN" not in graph.ops
    assert graph.ops.index("Softmax") < graph.ops.index("MatMul", 2) < len(graph.ops) - 1
    assert graph.ops[-1] == "Where"
    mask_values = np.where(valid_keys(), 0, -np.inf).astype(np.float32) if mask == "additive" else valid_keys()
    for expected, found in graph.results(**QKV, mask=mask_values):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
        assert np.all(found[1] == 0)
    graph.require_accounted()


def test_finite_masks_that_add_up_to_infinity_are_guarded_too(rewritten):
    body = """
        m = Where (mask, zero, lowest) n = Where (other, zero, lowest)
        a = MatMul (q, kt) c1 = Add (a, m) c = Add (c1, n)
    """
    inputs = ", bool[batch, 1, 1, sequence] mask, bool[1, 1, sequence, sequence] other"
    graph = rewritten(text(TURN + body + GUARD, inputs), typed(move_guards))
    causal = np.tril(np.ones((1, 1, 5, 5), np.bool_))
    for mask in (valid_keys(), valid_keys()[..., ::-1].copy()):
        for expected, found in graph.results(**QKV, mask=mask, other=causal):
            assert np.isfinite(expected).all()
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    nobody = np.zeros((2, 1, 1, 5), np.bool_)
    for expected, found in graph.results(**QKV, mask=nobody, other=np.zeros((1, 1, 5, 5), np.bool_)):
        np.testing.assert_array_equal(found, expected)
        assert np.all(found == 0)
    graph.require_accounted()


def test_a_guard_that_never_fires_is_dropped(rewritten):
    body, inputs = MASKS["boolean"]
    graph = rewritten(
        text(TURN + "a = MatMul (q, kt) " + body.replace("low", "lowest") + GUARD, inputs), typed(move_guards)
    )
    assert graph.ops == ["Transpose", "MatMul", "Where", "Add", "Softmax", "MatMul"]
    assert graph.fate("g").now == "p"
    graph.require_same(**QKV, mask=valid_keys())
    graph.require_accounted()


def test_infinite_masks_without_a_guard_keep_their_nan(rewritten):
    body, inputs = MASKS["boolean"]
    plain = "p = Softmax (c) y = MatMul (p, v)"
    graph = rewritten(text(TURN + "a = MatMul (q, kt) " + body + plain, inputs, ", float low = {-inf}"), canonicalise)
    ((expected, found),) = graph.results(**QKV, mask=valid_keys())
    assert np.isnan(expected[1]).all()
    np.testing.assert_array_equal(found, expected)


def test_filled_masks_without_a_guard_stay(rewritten):
    body = TURN + "a = MatMul (q, kt) c = Where (mask, a, lowest) p = Softmax (c) y = MatMul (p, v)"
    graph = rewritten(text(body, ", bool[batch, 1, 1, sequence] mask"), typed(add_filled_masks))
    assert graph.fates == ()


def test_attentions_share_the_finite_mask_and_what_it_says_of_rows(rewritten):
    body = """
        m = Where (mask, zero, low)
        a = MatMul (q, kt) c = Add (a, m) p = Softmax (c) nan = IsNaN (p) g = Where (nan, zero, p) o = MatMul (g, v)
        a2 = MatMul (o, kt) c2 = Add (a2, m) p2 = Softmax (c2) nan2 = IsNaN (p2) g2 = Where (nan2, zero, p2)
        y = MatMul (g2, v)
    """
    graph = rewritten(
        text(TURN + body, ", bool[batch, 1, 1, sequence] mask", ", float low = {-inf}"), typed(move_guards)
    )
    assert graph.ops.count("ReduceMax") == 1
    assert graph.ops.count("Where") == 3
    graph.require_accounted()


def test_eager_attention_keeps_the_mean_for_rows_without_a_valid_key(rewritten):
    body = TURN + "a0 = MatMul (q, kt) a = Mul (a0, s) m = Where (mask, zero, lowest) c = Add (a, m) "
    graph = rewritten(
        text(body + "p = Softmax (c) y = MatMul (p, v)", ", bool[batch, 1, 1, sequence] mask"), restore_empty_rows
    )
    assert graph.fates == ()


def test_exported_sdpa_gives_zeros_again(rewritten):
    body = ROUND_TRIP + SCALED + "m = Where (mask, zero, lowest) c = Add (a, m) " + GUARD
    graph = rewritten(text(body, ", bool[batch, 1, 1, sequence] mask"), typed(restore_empty_rows))
    ((expected, found),) = graph.results(**QKV, mask=valid_keys())
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(expected[1], np.broadcast_to(V[1].mean(1, keepdims=True), (3, 5, 4)), rtol=1e-4)
    assert np.all(found[1] == 0)
    graph.require_accounted()


def test_an_onnx_file_that_is_the_reference_keeps_its_own_meaning(rewritten):
    body = ROUND_TRIP + SCALED + "m = Where (mask, zero, lowest) c = Add (a, m) " + GUARD
    graph = rewritten(text(body, ", bool[batch, 1, 1, sequence] mask"), canonicalise)
    for expected, found in graph.results(**QKV, mask=valid_keys()):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_new_nodes_have_unique_names_and_the_module_they_serve(rewritten):
    def tagged(model):
        for count, node in enumerate(model.graph):
            node.name = f"node_{count}"
            node.metadata_props["pipeline.module"] = "layer.0.attention"
        fates = restore_empty_rows(model)
        second = canonicalise(model)
        return correspondence.compose(names, fates, second)

    body = ROUND_TRIP + SCALED + "m = Where (mask, zero, lowest) c = Add (a, m) " + GUARD
    source = text(body, ", bool[batch, 1, 1, sequence] mask")
    import onnx_ir as ir

    names = correspondence.tensor_names(ir.from_onnx_text(source))
    graph = rewritten(source, tagged)
    nodes = list(graph.after.graph)
    assert len({node.name for node in nodes}) == len(nodes)
    assert {node.metadata_props["pipeline.module"] for node in nodes} == {"layer.0.attention"}
    assert all(value.dtype is not None and value.shape is not None for node in nodes for value in node.outputs)
    graph.require_accounted()
