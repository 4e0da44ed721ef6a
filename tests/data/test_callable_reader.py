from pathlib import Path

import pytest

from pipeline.core.errors import CalibrationError
from pipeline.core.spec import AxisRange, DataSource, InputSpec, Reader
from pipeline.data import readers
from pipeline.data.samples import Request

SOURCE = """
import numpy as np

def samples(request):
    for index in range(3):
        yield {"x": np.full(2, index, np.float32), "expected.label": index}

def names(request):
    yield {"x": np.ones(2, np.float32), "folder": request.path.name}

def pairs(request):
    yield "x", 1

def broken(request):
    yield {"x": 1 / 0}
"""


def request(folder: Path, reference: str) -> Request:
    (folder / "data.py").write_text(SOURCE)
    return Request(
        data=DataSource(reader=Reader.CALLABLE, callable=reference, licence="MIT"),
        folder=folder,
        engine=folder,
        inputs={"x": InputSpec(dtype="float32", axes=("batch", 2))},
        axes={"batch": AxisRange(min=1, opt=1, max=4)},
    )


def refusal(found: Request) -> str:
    with pytest.raises(CalibrationError) as caught:
        list(readers.read(found))
    return str(caught.value)


def test_samples_come_as_the_function_yields_them(tmp_path: Path) -> None:
    found = list(readers.read(request(tmp_path, "data.py:samples")))
    assert [sample.inputs["x"].tolist() for sample in found] == [[0, 0], [1, 1], [2, 2]]
    assert [int(sample.expected["label"]) for sample in found] == [0, 1, 2]
    assert found[1].name == "data.py:samples[1]"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "data.py:pairs",
            "data.py:pairs[0]: yielded a tuple, and a mapping from input names to arrays was expected",
        ),
        (
            "data.py:names",
            "data.py:names[0]: the sample has folder\n  hint: the model's inputs are x; labels are named expected.NAME",
        ),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, reference: str, message: str) -> None:
    assert refusal(request(tmp_path, reference)) == message


def test_a_bug_in_the_function_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        list(readers.read(request(tmp_path, "data.py:broken")))
