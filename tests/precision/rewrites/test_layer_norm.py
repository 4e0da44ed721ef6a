import numpy as np
import pytest

from pipeline.graph.infer import infer
from pipeline.precision.rewrites.layer_norm import restore_layer_norms

X = np.random.default_rng(0).standard_normal((2, 3, 4), np.float32) * 3 + 1


def rewrite(model):
    infer(model)
    return restore_layer_norms(model)


def text(body, *, opset=17, shape="2, 3, 4"):
    return f"""
    <ir_version: 8, opset_import: ["" : {opset}]>
    g (float[{shape}] x) => (float[{shape}] y)
    <float[4] w = {{1.0, 2.0, -1.0, 0.5}}, float[4] b = {{0.5, 0.0, 1.0, -2.0}}, float[1, 1, 1] high = {{3.0}},
     float two = {{2.0}}, float one = {{1.0}}, float eps = {{1e-5}}>
    {{ {body} }}
    """


MEAN = "mean = ReduceMean <axes = [-1]> (x) d = Sub (x, mean) "
SQUARE = "s = Pow (d, two) "
ROOT = "v = ReduceMean <axes = [-1]> (s) e = Add (v, eps) r = Sqrt (e) "
DIVIDE = "n = Div (d, r) "
AFFINE = "m = Mul (n, w) y = Add (m, b)"

SAME = {
    "as torch once wrote it": MEAN + SQUARE + ROOT + DIVIDE + AFFINE,
    "square as a product": MEAN + "s = Mul (d, d) " + ROOT + DIVIDE + AFFINE,
    "reciprocal of the root": MEAN + SQUARE + ROOT + "i = Reciprocal (r) n = Mul (d, i) " + AFFINE,
    "one over the root": MEAN + SQUARE + ROOT + "i = Div (one, r) n = Mul (i, d) " + AFFINE,
    "difference taken twice": MEAN + "d2 = Sub (x, mean) s = Pow (d2, two) " + ROOT + DIVIDE + AFFINE,
    "operands the other way": MEAN + SQUARE + "v = ReduceMean <axes = [-1]> (s) e = Add (eps, v) r = Sqrt (e) "
    "n = Div (d, r) m = Mul (w, n) y = Add (b, m)",
    "positive axis": (MEAN + SQUARE + ROOT + DIVIDE + AFFINE).replace("[-1]", "[2]"),
    "no bias": MEAN + SQUARE + ROOT + DIVIDE + "y = Mul (n, w)",
    "no scale": MEAN + SQUARE + ROOT + DIVIDE + "y = Add (n, b)",
    "no scale and no bias": MEAN + SQUARE + ROOT + "y = Div (d, r)",
    "a scale that is no weight": MEAN + SQUARE + ROOT + DIVIDE + "y = Mul (n, high)",
}


@pytest.mark.parametrize("body", SAME.values(), ids=SAME)
def test_a_decomposed_layer_norm_becomes_the_operator(rewritten, body):
    graph = rewritten(text(body), rewrite)
    assert graph.ops[0] == "LayerNormalization"
    assert not {"ReduceMean", "Sqrt"} & set(graph.ops)
    for expected, found in graph.results(x=X):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    graph.require_accounted()


OTHER = {
    "RMSNorm": "s = Mul (x, x) " + ROOT + "n = Div (x, r) y = Mul (n, w)",
    "mean and variance over different axes": MEAN + SQUARE + ROOT.replace("-1", "-2") + DIVIDE + AFFINE,
    "not the last axis": (MEAN + SQUARE + ROOT + DIVIDE).replace("-1", "1") + "y = Mul (n, w)",
    "a cube": MEAN + SQUARE.replace("two", "high") + ROOT + DIVIDE + AFFINE,
    "another numerator": MEAN + SQUARE + ROOT + "n = Div (x, r) " + AFFINE,
    "no epsilon": MEAN + SQUARE + "v = ReduceMean <axes = [-1]> (s) r = Sqrt (v) " + DIVIDE + AFFINE,
}


@pytest.mark.parametrize("body", OTHER.values(), ids=OTHER)
def test_what_is_another_function_is_left_as_it_was(rewritten, body):
    graph = rewritten(text(body), rewrite)
    assert "LayerNormalization" not in graph.ops
    assert graph.fates == ()


def test_nothing_is_done_before_the_operator_exists_or_where_the_size_is_not_known(rewritten):
    body = SAME["as torch once wrote it"]
    assert "LayerNormalization" not in rewritten(text(body, opset=16), rewrite).ops
    assert "LayerNormalization" not in rewritten(text(body, shape="2, 3, size"), rewrite).ops


def test_a_mean_that_is_read_elsewhere_stays(rewritten):
    body = MEAN + SQUARE + ROOT + DIVIDE + "m = Mul (n, w) t = Add (m, b) y = Add (t, mean)"
    graph = rewritten(text(body), rewrite)
    assert graph.ops == ["ReduceMean", "LayerNormalization", "Add"]
    assert graph.fate("mean").now == "mean"
    graph.require_accounted()


def test_the_operator_keeps_the_name_of_the_result_and_the_module(rewritten):
    def tagged(model):
        for node in model.graph:
            node.metadata_props["pipeline.module"] = "encoder.norm"
        return rewrite(model)

    graph = rewritten(text(SAME["as torch once wrote it"]), tagged)
    (node,) = graph.after.graph
    assert node.metadata_props == {"pipeline.module": "encoder.norm"}
    assert node.outputs[0].name == "y"
    assert graph.fate("s").reason == "inside the LayerNormalization that computes y"
