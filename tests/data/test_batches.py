import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import CalibrationError
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.data.batches import groups, padded, stack
from pipeline.data.samples import Sample

INPUTS = {
    "ids": InputSpec(dtype="int64", axes=("batch", "sequence")),
    "mask": InputSpec(dtype="int64", axes=("batch", "sequence"), masks=("sequence",)),
}
AXES = {"batch": AxisRange(min=1, opt=2, max=4), "sequence": AxisRange(min=3, opt=4, max=9)}


def text(length: int, name: str = "a") -> Sample:
    return Sample(name=name, inputs={"ids": np.full(length, 5), "mask": np.ones(length, np.int64)})


def refusal(group: list[Sample], inputs: dict[str, InputSpec], axes: dict[str, AxisRange]) -> str:
    with pytest.raises(CalibrationError) as caught:
        stack(group, inputs, axes, {})
    return str(caught.value)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_padding_is_masked_and_nothing_else_is(lengths: list[int]) -> None:
    batch = stack([text(length) for length in lengths], INPUTS, AXES, {"ids": 99})
    assert batch.inputs["ids"].shape == batch.inputs["mask"].shape == (len(lengths), max(*lengths, 3, 3))
    assert batch.inputs["mask"].sum(axis=1).tolist() == lengths
    np.testing.assert_array_equal(batch.inputs["ids"], np.where(batch.inputs["mask"] == 1, 5, 99))
    assert padded(batch, INPUTS) == (min(lengths) < max(*lengths, 3, 3))


@given(count=st.integers(0, 20), size=st.integers(1, 9))
def test_groups_keep_order_and_never_leave_the_profile(count: int, size: int) -> None:
    samples = [text(3, str(index)) for index in range(count)]
    found = list(groups(samples, size, AXES))
    assert [item for group in found for item in group] == samples
    assert all(1 <= len(group) <= min(size, 4) for group in found)


def test_a_model_without_a_batch_axis_takes_one_sample_a_batch() -> None:
    inputs = {"x": InputSpec(dtype="float32", axes=(1, 4))}
    samples = [Sample(name=str(i), inputs={"x": np.full((1, 4), i, np.float32)}) for i in range(3)]
    found = [stack(group, inputs, {}, {}).inputs["x"] for group in groups(samples, 8, {})]
    assert [array.tolist() for array in found] == [[[i] * 4] for i in range(3)]


def test_the_batch_axis_may_stand_anywhere_and_shared_inputs_have_none() -> None:
    inputs = {
        "state": InputSpec(dtype="float32", axes=(2, "batch", 3)),
        "rate": InputSpec(dtype="int64", axes=()),
    }
    samples = [
        Sample(name=str(i), inputs={"state": np.full((2, 3), i, np.float32), "rate": np.asarray(16000)})
        for i in range(2)
    ]
    batch = stack(samples, inputs, {"batch": AXES["batch"]}, {})
    assert batch.inputs["state"].shape == (2, 2, 3)
    assert batch.inputs["state"][:, 1].tolist() == [[1.0] * 3] * 2
    assert batch.inputs["rate"].shape == ()


def test_a_shared_input_must_be_shared() -> None:
    inputs = {"x": InputSpec(dtype="float32", axes=("batch",)), "rate": InputSpec(dtype="int64", axes=())}
    samples = [
        Sample(name=f"clip {rate}", inputs={"x": np.float32(1), "rate": np.asarray(rate)}) for rate in (8000, 16000)
    ]
    assert refusal(samples, inputs, {"batch": AXES["batch"]}) == (
        "clip 16000: input rate has no batch axis, and its value differs from that of clip 8000 in the same batch\n"
        "  hint: set `batch = 1`, or give all samples the same value"
    )


def test_an_axis_that_no_input_masks_is_never_padded() -> None:
    inputs = {"ids": INPUTS["ids"]}
    samples = [Sample(name=f"row {n}", inputs={"ids": np.ones(n, np.int64)}) for n in (4, 6)]
    assert refusal(samples, inputs, AXES) == (
        "row 4: samples have 4, 6 elements along sequence, and no input masks it, so they cannot be padded to 6\n"
        '  hint: give samples of one size, set `batch = 1`, or name the mask: masks = ["sequence"]'
    )


def test_a_batch_below_the_profile_is_refused() -> None:
    axes = {**AXES, "batch": AxisRange(min=2, opt=2, max=4)}
    assert refusal([text(4, "last")], INPUTS, axes) == (
        "last: a batch holds 1 samples, and the profile's least batch is 2\n"
        "  hint: use a number of samples that is a multiple of `batch`, or lower axes.batch.min"
    )


def test_labels_are_stacked_and_must_be_alike() -> None:
    one = Sample(name="one", inputs=text(3).inputs, expected={"label": np.asarray(1)})
    two = Sample(name="two", inputs=text(3).inputs, expected={"label": np.asarray(0)})
    assert stack([one, two], INPUTS, AXES, {}).expected["label"].tolist() == [1, 0]
    assert refusal([one, text(3, "bare")], INPUTS, AXES) == (
        "bare: its labels are none, and those of one are label[]\n"
        "  hint: every sample needs the same labels, of the same shape"
    )
