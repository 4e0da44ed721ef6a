"""The in-graph reducer against numpy, with the special values wherever they may stand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import TensorRange
from pipeline.core.formats import Format
from pipeline.precision.reducers import ranges
from pipeline.precision.reducers.instrument import Reducer, Tap, as_float, as_rows, attach, results

IDENTITY = """
<ir_version: 10, opset_import: ["" : 20]>
identity (float[n] x) => (float[n] y) { y = Neg(x) }
"""


def reduce(reducer: Reducer, dtype: ir.DataType = ir.DataType.FLOAT, rank: int = 1) -> Session:
    model = ir.from_onnx_text(IDENTITY)
    x = model.graph.inputs[0]
    x.dtype, x.shape = dtype, ir.Shape([None] * rank)
    model.graph.outputs[0].dtype = dtype
    attach(model, reducer, [Tap(key="x", values=(as_float(model, x),))])
    return Session(model, as_written=True)


QUICK = {low: reduce(ranges.quick(low)) for low in (Format.FP16,)}
FULL = {low: reduce(ranges.full(low)) for low in (Format.FP16, Format.BF16)}


def by_full(x: np.ndarray, low: Format = Format.FP16) -> ranges.Seen:
    return ranges.read_full(results(ranges.full(low), ["x"], FULL[low]({"x": x}))["x"])


def quick_of(session: Session, x: np.ndarray) -> ranges.Seen | None:
    return ranges.read_quick(Format.FP16, results(ranges.quick(Format.FP16), ["x"], session({"x": x}))["x"])


def by_quick(x: np.ndarray) -> ranges.Seen | None:
    return quick_of(QUICK[Format.FP16], x)


def by_rows(x: np.ndarray) -> ranges.Seen | None:
    return quick_of(reduce(ranges.quick(Format.FP16), rank=x.ndim), x)


def by_numpy(x: np.ndarray) -> ranges.Seen:
    finite = x[np.isfinite(x)]
    magnitude = np.abs(finite[finite != 0])
    with np.errstate(over="ignore"):
        rounded = np.abs(finite.astype(np.float16))
    return ranges.Seen(
        low=float(finite.min(initial=np.inf)),
        high=float(finite.max(initial=-np.inf)),
        smallest=float(magnitude.min(initial=np.inf)),
        elements=x.size,
        nan=int(np.isnan(x).sum()),
        posinf=int(np.isposinf(x).sum()),
        neginf=int(np.isneginf(x).sum()),
        overflow=int(np.isinf(rounded).sum()),
        subnormal=int(((rounded < np.float16(2.0**-14)) & (finite != 0)).sum()),
        lost=int(((rounded == 0) & (finite != 0)).sum()),
    )


EDGES = [2.0**-14, 2.0**-14 - 2.0**-25, 2.0**-25, 2.0**-24, 65504.0, 65519.996, 65520.0, 0.0, 3.4028235e38, 1e-45, 1.0]
NEIGHBOURS = [
    float(sign * np.nextafter(np.float32(edge), np.float32(direction)))
    for edge in EDGES[:-3]
    for direction in (-np.inf, np.inf)
    for sign in (-1, 1)
]


@settings(deadline=None, max_examples=200)
@given(
    hnp.arrays(
        np.float32,
        st.integers(1, 20),
        elements=st.sampled_from([*EDGES, *(-edge for edge in EDGES), *NEIGHBOURS, np.nan, np.inf, -np.inf])
        | st.floats(width=32),
    )
)
def test_both_reducers_agree_with_numpy(x: np.ndarray) -> None:
    expected = by_numpy(x)
    quick = by_quick(x)

    assert by_full(x) == expected
    if quick is not None:
        assert quick == expected
    else:
        assert not np.isfinite(x).all() or np.isinf(np.abs(x.astype(np.float64)).sum().astype(np.float32))


@pytest.mark.parametrize("position", [0, 50, 99])
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_one_special_value_is_never_missed(position: int, special: float) -> None:
    x = np.linspace(-1, 1, 100, dtype=np.float32)
    x[position] = special

    assert by_quick(x) is None
    assert by_full(x) == by_numpy(x)


@pytest.mark.parametrize("fill", [0.0, 1.0, 1e-30, 1e30, np.nan, np.inf])
def test_a_constant_tensor(fill: float) -> None:
    x = np.full(7, fill, np.float32)

    assert by_full(x) == by_numpy(x)
    assert by_quick(x) in (None, by_numpy(x))


def test_a_sum_that_overflows_is_not_an_infinity() -> None:
    x = np.full(7, -3.0e38, np.float32)

    assert by_quick(x) == by_numpy(x)


def test_an_empty_tensor_has_no_range() -> None:
    empty = np.zeros(0, np.float32)

    assert by_quick(empty) == ranges.Seen()
    assert by_full(empty).range() == "it was empty in every batch"


def test_a_tensor_without_a_finite_element_has_no_range() -> None:
    assert by_full(np.full(3, np.nan, np.float32)).range() == "none of its 3 elements was finite"


def test_counts_keep_integers_beyond_what_fp32_holds() -> None:
    x = np.full((3, 2**23 + 3), 1e-6, np.float32)

    seen = by_rows(x)

    assert seen is not None
    assert seen.subnormal == x.size


def test_a_row_too_long_to_count_in_fp32_is_left_to_the_full_reducer() -> None:
    x = np.full(2**24 + 3, 1e-6, np.float32)

    assert by_quick(x) is None
    assert by_full(x).subnormal == 2**24 + 3


@pytest.mark.parametrize("shape", [(1,), (3, 1), (2, 3, 5)])
def test_every_shape_is_reduced_whole(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    assert by_rows(x) == by_numpy(x)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_an_empty_matrix_has_no_range(shape: tuple[int, ...]) -> None:
    assert by_rows(np.zeros(shape, np.float32)) == ranges.Seen()


def test_a_scalar_is_a_row_of_one() -> None:
    model = ir.from_onnx_text(IDENTITY)
    x = model.graph.inputs[0]
    x.shape = None
    attach(model, ranges.quick(Format.FP16), [Tap(key="x", values=(as_rows(model, x),))])

    seen = quick_of(Session(model, as_written=True), np.array(-1e-6, np.float32))

    assert seen == by_numpy(np.array([-1e-6], np.float32))


def test_bf16_overflows_only_at_the_end_of_fp32() -> None:
    x = np.array([65520, 3.4028235e38, 3.3895e38, 1e-39], np.float32)

    seen = by_full(x, Format.BF16)

    assert (seen.overflow, seen.subnormal, seen.lost) == (1, 1, 0)


@pytest.mark.parametrize("dtype", [ir.DataType.FLOAT16])
def test_narrow_tensors_widen_exactly(dtype: ir.DataType) -> None:
    session = reduce(ranges.full(Format.FP16), dtype)
    x = np.array([6e-8, -65504, np.inf], np.float16)

    seen = ranges.read_full(results(ranges.full(Format.FP16), ["x"], session({"x": x}))["x"])

    assert seen == by_numpy(x.astype(np.float32))


def test_merging_is_seeing_both() -> None:
    parts: Sequence[np.ndarray] = (
        np.array([1.0, 0.0, 70000.0], np.float32),
        np.array([-3.0, 1e-6, np.nan], np.float32),
        np.zeros(0, np.float32),
    )

    seen = ranges.Seen()
    for part in parts:
        seen = seen.merge(by_full(part))

    assert replace(seen, history=()) == by_numpy(np.concatenate(parts))
    assert seen.range() == TensorRange(
        low=-3.0,
        high=70000.0,
        smallest=float(np.float32(1e-6)),
        elements=6,
        nan=1,
        overflow=1,
        subnormal=1,
        history=(70000.0, 70000.0, 70000.0),
    )
