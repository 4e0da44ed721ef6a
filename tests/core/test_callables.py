from pathlib import Path

import pytest

from pipeline.core import callables, digest
from pipeline.core.errors import SourceError

SOURCE = """
from __future__ import annotations

from dataclasses import dataclass

LIMIT = 3

@dataclass
class Range:
    low: float

def make():
    return Range(low=LIMIT)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    folder = tmp_path / "my-engine"
    folder.mkdir()
    (folder / "model.py").write_text(SOURCE)
    (folder / "broken.py").write_text("import nothing_of_this_name\n")
    return folder


def test_a_function_of_a_file_may_use_its_own_classes(engine: Path) -> None:
    assert callables.resolve("model.py:make", engine)().low == 3


def test_the_file_is_read_anew_each_time(engine: Path) -> None:
    callables.resolve("model.py:make", engine)
    (engine / "model.py").write_text("def make():\n    return 'another one'\n")
    assert callables.resolve("model.py:make", engine)() == "another one"


def test_a_module_may_be_named() -> None:
    assert callables.resolve("pipeline.core.digest:of_bytes", Path()) is digest.of_bytes


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("model.py", "model.py: not of the form file.py:function or module:function"),
        ("model.py:", "model.py:: not of the form file.py:function or module:function"),
        ("model.py:nothing", "model.py:nothing: model.py has no function 'nothing'"),
        ("model.py:LIMIT", "model.py:LIMIT: model.py has no function 'LIMIT'"),
        ("gone.py:f", "gone.py:f: no such file in my-engine/\n  hint: the path is relative to engine.toml"),
        (
            "nowhere.sub:f",
            "nowhere.sub:f: no module 'nowhere'\n"
            "  hint: install it, or name a file beside engine.toml: file.py:function",
        ),
    ],
)
def test_what_names_nothing_is_said(engine: Path, reference: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        callables.resolve(reference, engine)
    assert str(caught.value) == message


def test_a_file_that_fails_keeps_its_traceback(engine: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        callables.resolve("broken.py:f", engine)
