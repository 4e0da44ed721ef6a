"""Our in-graph verdict against Polygraphy's comparator on the full arrays."""

import math

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from polygraphy.comparator import IterationResult
from polygraphy.comparator.compare import SimpleCompareFunc
from polygraphy.logger import G_LOGGER

from pipeline.backends.onnxruntime import Session
from pipeline.core.errors import ValidationError
from pipeline.precision.reducers import tolerances
from pipeline.precision.reducers.instrument import Tap, attach, results
from pipeline.precision.reducers.side_by_side import merge

ATOL, RTOL = 1e-3, 1e-2
PAIR = """
<ir_version: 10, opset_import: ["" : 20]>
pair (float[n] r, float[m] c) => (float[n] y, float[m] z) { y = Neg(r) z = Neg(c) }
"""
ENCODER = """
<ir_version: 10, opset_import: ["" : 20]>
encoder (float[batch, 8] x) => (float[batch, 8] y)
<float[8] scale = {1, 2, 3, 4, 5, 6, 7, 8}, float[8] bias = {0, 0, 0, 1, 1, 1, -1, -1}> {
    [norm] a = LayerNormalization <axis = -1> (x, scale, bias)
    [relu] b = Relu(a)
    [add] c = Add(b, x)
    [softmax] d = Softmax <axis = -1> (c)
    [exp] e = Exp(c)
    [log] f = Log(b)
    [mul] y = Mul(d, e)
}
"""


def session(atol: float = ATOL, rtol: float = RTOL) -> Session:
    model = ir.from_onnx_text(PAIR)
    tap = Tap(key="pair", values=tuple(model.graph.inputs))
    attach(model, tolerances.reducer(atol, rtol), [tap])
    return Session(model, as_written=True)


SESSION = session()


def ours(reference: np.ndarray, candidate: np.ndarray) -> tolerances.Agreement:
    arrays = SESSION({"r": reference, "c": candidate})
    return tolerances.read(results(tolerances.reducer(ATOL, RTOL), ["pair"], arrays)["pair"])


def theirs(reference: np.ndarray, candidate: np.ndarray, statistic: str, atol: float = ATOL, rtol: float = RTOL):
    compare = SimpleCompareFunc(
        check_shapes=True, atol=atol, rtol=rtol, check_error_stat=statistic, infinities_compare_equal=True
    )
    sides = [IterationResult(outputs={"t": array}) for array in (candidate, reference)]
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL), np.errstate(all="ignore"):
        return compare(*sides)["t"]


def hold_together(mine: tolerances.Agreement, reference: np.ndarray, candidate: np.ndarray) -> None:
    elementwise, largest = (theirs(reference, candidate, name) for name in ("elemwise", "max"))
    assert mine.elementwise == bool(elementwise)
    assert mine.of_max(ATOL, RTOL) == bool(largest)
    assert mine.max_abs == largest.max_absdiff or (math.isnan(mine.max_abs) and math.isnan(largest.max_absdiff))
    assert mine.max_rel == largest.max_reldiff or (math.isnan(mine.max_rel) and math.isnan(largest.max_reldiff))
    if math.isfinite(largest.mean_absdiff):
        assert mine.mean_abs == pytest.approx(largest.mean_absdiff, rel=1e-5)


NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.1, ATOL, 1e-30, 3e38, math.inf, -math.inf, math.nan])


@settings(deadline=None, max_examples=300)
@given(hnp.arrays(np.float32, st.tuples(st.just(2), st.integers(1, 6)), elements=NUMBERS | st.floats(width=32)))
def test_any_two_tensors_get_polygraphys_verdict(both: np.ndarray) -> None:
    reference, candidate = both

    hold_together(ours(reference, candidate), reference, candidate)


@pytest.mark.parametrize("steps", [-1, 0, 1])
@pytest.mark.parametrize("base", [0.0, 0.5, 1.0, 97.0])
def test_one_ulp_either_side_of_the_tolerances(base: float, steps: int) -> None:
    for tolerance in (np.float32(ATOL), np.float32(RTOL) * np.float32(base)):
        edge = np.float32(base) + tolerance
        moved = edge if steps == 0 else np.nextafter(edge, np.float32(steps * np.inf))
        reference, candidate = np.full(3, base, np.float32), np.array([base, moved, base], np.float32)
        hold_together(ours(reference, candidate), reference, candidate)


@pytest.mark.parametrize("position", [0, 50, 99])
@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_one_special_value_fails_wherever_it_stands(position: int, special: float) -> None:
    reference = np.linspace(-1, 1, 100, dtype=np.float32)
    candidate = reference.copy()
    candidate[position] = special

    assert not ours(reference, candidate).elementwise
    hold_together(ours(reference, candidate), reference, candidate)
    hold_together(ours(candidate, reference), candidate, reference)
    hold_together(ours(candidate, candidate), candidate, candidate)


def test_an_empty_tensor_agrees_with_nothing() -> None:
    empty = np.zeros(0, np.float32)

    assert not ours(empty, empty).elementwise
    assert not ours(empty, empty).of_max(1, 1)


def test_shapes_must_match() -> None:
    with pytest.raises(ValidationError) as error:
        ours(np.ones(1, np.float32), np.ones(3, np.float32))

    assert str(error.value) == "the reference has shape [1], the candidate [3]"


def test_every_tensor_of_a_model() -> None:
    reference = ir.from_onnx_text(ENCODER)
    for node in reference.graph:
        node.outputs[0].dtype, node.outputs[0].shape = ir.DataType.FLOAT, ir.Shape(["batch", 8])
    candidate = reference.clone()
    nudge = candidate.graph.initializers["bias"]
    nudge.const_value = ir.tensor(nudge.const_value.numpy() + np.float32(0.004), name="bias")
    merged = merge(reference, candidate, ())
    taps = [Tap(key=pair.tensor, values=(pair.reference, pair.candidate)) for pair in merged.pairs]
    arrays = [value for tap in taps for value in tap.values]
    attach(merged.model, tolerances.reducer(ATOL, RTOL), taps)
    merged.model.graph.outputs.extend(arrays)
    x = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)

    found = Session(merged.model, as_written=True)({"x": x})

    agreements = results(tolerances.reducer(ATOL, RTOL), [tap.key for tap in taps], found)
    assert len(agreements) == 7
    for tap in taps:
        pair = [found[str(value.name)] for value in tap.values]
        hold_together(tolerances.read(agreements[tap.key]), *pair)
