import numpy as np
import pytest

from pipeline.core.errors import CalibrationError
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.data.checks import checked
from pipeline.data.samples import Sample

INPUTS = {
    "signal": InputSpec(dtype="float32", axes=("batch", "time", 2)),
    "mask": InputSpec(dtype="bool", axes=("batch", "time"), masks=("time",)),
}
AXES = {"batch": AxisRange(min=1, opt=1, max=4), "time": AxisRange(min=2, opt=4, max=6)}


def sample(length: int = 3, **changes: object) -> Sample:
    arrays = {"signal": np.ones((length, 2), np.float32), "mask": np.ones(length, bool), **changes}
    return Sample(name="clip 4", inputs={name: array for name, array in arrays.items() if array is not None})


def refusal(found: Sample) -> str:
    with pytest.raises(CalibrationError) as caught:
        list(checked([found], INPUTS, AXES))
    return str(caught.value)


def test_samples_that_fit_come_through_as_they_are() -> None:
    found = [sample(1), sample(6)]
    assert list(checked(found, INPUTS, AXES)) == found


def test_names_must_be_those_of_the_model() -> None:
    assert refusal(sample(mask=None, noise=np.ones(3))) == (
        "clip 4: the sample lacks mask and has noise\n"
        "  hint: the model's inputs are signal, mask; labels are named expected.NAME"
    )


def test_types_are_never_converted() -> None:
    assert refusal(sample(signal=np.ones((3, 2)))) == (
        "clip 4: input signal is float64, and the spec says float32\n"
        "  hint: store it as float32: values are never converted silently"
    )


def test_a_batch_axis_too_many_is_named() -> None:
    assert refusal(sample(signal=np.ones((1, 3, 2), np.float32))) == (
        "clip 4: input signal has shape [1, 3, 2], and one sample of it has the axes [time, 2]\n"
        "  hint: a sample has no batch axis; it is added when samples are stacked"
    )


def test_fixed_sizes_are_fixed() -> None:
    assert refusal(sample(signal=np.ones((3, 5), np.float32))) == (
        "clip 4: input signal has shape [3, 5]: a size of 5 where the spec fixes 2"
    )


@pytest.mark.parametrize("length", [0, 7])
def test_sizes_outside_the_profile_are_refused(length: int) -> None:
    assert refusal(sample(length)) == (
        f"clip 4: input signal has {length} elements along time, and the profile allows 2 to 6\n"
        "  hint: shorten the sample, or raise axes.time.max"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, 2, 5])
def test_values_that_are_not_finite_are_refused_wherever_they_stand(value: float, position: int) -> None:
    signal = np.ones(6, np.float32)
    signal[position] = value
    assert refusal(sample(signal=signal.reshape(3, 2))) == "clip 4: input signal holds 1 NaN or infinite values"


def test_inputs_must_agree_on_an_axis() -> None:
    assert refusal(sample(mask=np.ones(4, bool))) == (
        "clip 4: input mask has 4 elements along time, and input signal has 3"
    )
