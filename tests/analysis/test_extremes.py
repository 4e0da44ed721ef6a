"""Extremes are made from the spec, and what becomes NaN or infinite in them alone is named."""

import numpy as np
import pytest

from pipeline.analysis.verdict import extreme_inputs, extremes
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.precision import casts
from pipeline.precision.emulation.emulate import emulate
from pipeline.precision.policy.policies import uniform
from tests import encoder

TEXT = f"""{encoder.HEAD}
lookup (int64[batch, sequence] ids, int64[batch, sequence] mask) => (float[batch, sequence, 2] y) {{
    [embed] e = Gather(table, ids)
    [keep] k = Cast<to = 1>(mask)
    [column] c = Unsqueeze(k, last)
    [hide] h = Mul(e, c)
    [total] t = ReduceSum<keepdims = 1>(h, axis)
    [scale] s = Mul(h, scale)
    [mean] y = Sub(s, t)
}}
"""
INPUTS = {
    "ids": InputSpec(dtype="int64", axes=("batch", "sequence")),
    "mask": InputSpec(dtype="int64", axes=("batch", "sequence"), masks=("sequence",)),
}
AXES = {"batch": AxisRange(min=1, opt=2, max=4), "sequence": AxisRange(min=1, opt=4, max=16)}
TABLE = np.array([[0, 0], [1, -1], [2, 1], [3, 0], [0, -9], [1, 1]], np.float32)


def model(scale=1.0, table=TABLE):
    weights = {
        "table": table,
        "last": np.array([-1]),
        "axis": np.array([1]),
        "scale": np.array(scale, np.float32),
    }
    return encoder.parse(TEXT, weights)


@pytest.fixture
def batch(tmp_path):
    np.savez(
        tmp_path / "batch.npz",
        ids=np.array([[1, 5, 0, 0], [1, 2, 3, 0]]),
        mask=np.array([[1, 1, 0, 0], [1, 1, 1, 0]]),
    )
    return [tmp_path / "batch.npz"]


def cases(batch, graph=None):
    found = extreme_inputs.cases((graph or model()).graph, INPUTS, AXES, batch)
    return {case.name: case for case in found}


def tried(reference, batch, low=Format.FP16):
    mixed = reference.clone()
    casts.apply(mixed, uniform(mixed, low))
    found = extremes.tried(reference, emulate(mixed), (), INPUTS, AXES, batch, Silent())
    return {item.name: item for item in found}


def test_every_extreme_of_ids_with_a_mask_is_made(batch):
    assert list(cases(batch)) == [
        "largest sizes",
        "smallest sizes",
        "everything masked",
        "padding only",
        "largest embeddings",
    ]


def test_sizes_repeat_the_sample_with_the_least_padding_up_to_the_budget(batch):
    largest = cases(batch)["largest sizes"]
    assert largest.feeds["ids"].tolist() == [[1, 2, 3, 1, 2, 3, 1, 2]]
    assert largest.feeds["mask"].tolist() == [[1] * 8]
    assert largest.note == "capped at sequence 8 of 16 to keep it quick"
    assert cases(batch)["smallest sizes"].feeds["ids"].tolist() == [[1]]


def test_masks_hide_everything_before_ordinary_values_and_before_padding(batch):
    found = cases(batch)
    assert found["everything masked"].feeds["ids"].tolist() == [[1, 2, 3]]
    assert found["padding only"].feeds["ids"].tolist() == [[0, 0, 0]]
    assert not found["everything masked"].feeds["mask"].any()
    assert not found["padding only"].feeds["mask"].any()


def test_the_largest_rows_of_the_table_come_first(batch):
    assert cases(batch)["largest embeddings"].feeds["ids"].tolist() == [[4, 3, 2]]


def test_float_inputs_hold_the_ends_of_their_range(tmp_path):
    text = f"{encoder.HEAD} image (float[batch, 2] x) => (float[batch, 2] y) {{ [n] y = Neg(x) }}"
    np.savez(tmp_path / "batch.npz", x=np.array([[1.0, 2.0]], np.float32))
    files, axes = [tmp_path / "batch.npz"], {"batch": AxisRange(min=1, opt=1, max=1)}
    seen = InputSpec(dtype="float32", axes=("batch", 2))
    said = InputSpec(dtype="float32", axes=("batch", 2), range=(-3.0, 5.0))

    found = list(extreme_inputs.cases(encoder.parse(text).graph, {"x": said}, axes, files))
    assert [case.feeds["x"].tolist() for case in found] == [[[-3, -3]], [[5, 5]], [[-3, 5]]]
    assert [case.note for case in found] == [None] * 3

    found = list(extreme_inputs.cases(encoder.parse(text).graph, {"x": seen}, axes, files))
    assert [case.feeds["x"].tolist() for case in found] == [[[1, 1]], [[2, 2]], [[1, 2]]]
    assert {case.note for case in found} == {"inputs.*.range is not in the spec: the range of the samples"}


def test_a_sound_graph_stays_finite_in_all_of_them(batch):
    found = tried(model(), batch)
    assert all(item.passed and item.broken == 0 for item in found.values())
    assert found["largest sizes"].inputs == "ids 1 x 8, mask 1 x 8"
    assert found["largest sizes"].sqnr_db > 60


def test_an_embedding_that_no_sample_holds_overflows_and_is_named(batch):
    found = tried(model(scale=10000.0), batch)
    assert found["smallest sizes"].passed
    broken = found["largest embeddings"]
    assert not broken.passed
    assert broken.first == "s (Mul)"
    assert broken.broken == 2


def test_bf16_holds_it(batch):
    assert tried(model(scale=10000.0), batch, Format.BF16)["largest embeddings"].passed


def test_what_the_fp32_model_makes_infinite_too_is_no_fault_of_the_mixed_one(batch):
    table = TABLE.copy()
    table[4] = 3e38
    found = tried(model(scale=10000.0, table=table), batch)
    assert found["largest embeddings"].first == "e (Gather)"
    assert found["largest embeddings"].broken == 3  # e, h and t, and not s


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, 3, 5])
def test_one_element_that_is_not_finite_is_seen_wherever_it_stands(value, position):
    text = f"{encoder.HEAD} one (float[6] x) => (float[6] y) {{ [n] y = Neg(x) }}"
    x = np.ones(6, np.float32)
    x[position] = value
    watched = extremes._Watched(encoder.parse(text), ["y"])
    assert watched({"x": x})[0] == {"y"}
    assert watched({"x": np.full(6, 3e38, np.float32)})[0] == frozenset()
