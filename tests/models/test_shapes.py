import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.spec import AxisRange, InputSpec
from pipeline.models import shapes

TOKENS = {
    "input_ids": InputSpec(dtype="int64", axes=("batch", "sequence")),
    "attention_mask": InputSpec(dtype="bool", axes=("batch", "sequence"), masks=("sequence",)),
}
AXES = {"batch": AxisRange(min=1, opt=8, max=32), "sequence": AxisRange(min=1, opt=128, max=512)}
SAMPLE = {"input_ids": np.arange(10).reshape(2, 5), "attention_mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])}


@st.composite
def ranges(draw):
    low = draw(st.integers(1, 20))
    opt = draw(st.integers(low, 200))
    return AxisRange(min=low, opt=opt, max=draw(st.integers(opt, 600)))


@given(batch=ranges(), sequence=ranges())
def test_every_size_lies_in_its_range(batch, sequence):
    axes = {"batch": batch, "sequence": sequence}
    every = [shapes.traced(TOKENS, axes, SAMPLE), *shapes.cases(TOKENS, axes, SAMPLE)]
    for case in every:
        for name, size in case.sizes.items():
            assert axes[name].min <= size <= axes[name].max
        for name, array in case.feeds.items():
            assert array.shape == (case.sizes["batch"], case.sizes["sequence"])
            assert array.dtype == TOKENS[name].dtype


@given(batch=ranges(), sequence=ranges())
def test_traced_sizes_are_above_one_and_differ_where_the_ranges_allow(batch, sequence):
    sizes = shapes.traced(TOKENS, {"batch": batch, "sequence": sequence}, SAMPLE).sizes
    assert sizes["batch"] >= min(2, batch.max)
    free = set(range(max(2, sequence.min), sequence.max + 1)) - {sizes["batch"]}
    assert not free or sizes["batch"] != sizes["sequence"]


def test_samples_are_cut_and_repeated():
    feeds = next(shapes.cases(TOKENS, AXES, SAMPLE)).feeds
    assert feeds["input_ids"].tolist() == [[0]]
    odd = list(shapes.cases(TOKENS, AXES, SAMPLE))[1].feeds["input_ids"]
    assert odd[0].tolist() == [0, 1, 2, 3, 4] * 3 + [0, 1]
    assert odd[2].tolist() == odd[0].tolist()


def test_the_cases_of_a_text_model():
    found = [(case.name, case.sizes) for case in shapes.cases(TOKENS, AXES, SAMPLE)]
    assert found == [
        ("least sizes", {"batch": 1, "sequence": 1}),
        ("odd sizes", {"batch": 3, "sequence": 17}),
        ("near the optimum", {"batch": 8, "sequence": 64}),
        ("longest", {"batch": 1, "sequence": 512}),
        ("padding (full, right, left, none)", {"batch": 4, "sequence": 17}),
    ]


def test_padding_has_every_kind_of_row():
    case = list(shapes.cases(TOKENS, AXES, SAMPLE))[-1]
    mask = case.feeds["attention_mask"]
    assert case.padded
    assert mask.dtype == np.bool_
    assert mask.sum(axis=1).tolist() == [17, 11, 11, 0]
    assert mask[1, :11].all()
    assert mask[2, 6:].all()


@pytest.mark.parametrize(("most", "batches"), [(1, 4), (2, 2), (3, 2)])
def test_padding_takes_several_batches_where_one_may_not_hold_all_rows(most, batches):
    axes = {**AXES, "batch": AxisRange(min=1, opt=1, max=most)}
    padded = [case for case in shapes.cases(TOKENS, axes, SAMPLE) if case.padded]
    assert len(padded) == batches
    rows = np.concatenate([case.feeds["attention_mask"].sum(axis=1) for case in padded])
    assert {17, 11, 0} == set(rows.tolist())


def test_a_mask_with_its_axes_the_other_way_round():
    inputs = {"mask": InputSpec(dtype="float32", axes=("sequence", "batch"), masks=("sequence",))}
    case = list(shapes.cases(inputs, AXES, {"mask": np.ones((5, 2))}))[-1]
    assert case.feeds["mask"].sum(axis=0).tolist() == [17, 11, 11, 0]


def test_a_model_without_axes_has_one_case():
    inputs = {"rate": InputSpec(dtype="int64", axes=())}
    found = list(shapes.cases(inputs, {}, {"rate": np.int64(16000)}))
    assert [(case.name, int(case.feeds["rate"])) for case in found] == [("least sizes", 16000)]


def test_varied_changes_one_axis_at_a_time():
    base = shapes.traced(TOKENS, AXES, SAMPLE)
    found = {name: case.sizes for name, case in shapes.varied(base, TOKENS, AXES, SAMPLE)}
    assert found == {
        "batch": {"batch": base.sizes["batch"] + 1, "sequence": base.sizes["sequence"]},
        "sequence": {"batch": base.sizes["batch"], "sequence": base.sizes["sequence"] + 1},
    }
