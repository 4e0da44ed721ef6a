"""Reads what a function of the user's yields.

The spec names it as `file.py:function` (relative to `engine.toml`) or `module:function`. It is called with one
`Request` and yields mappings, one a sample: an array for each input, without the batch axis, and labels as
`expected.NAME`:

    def samples(request: Request) -> Iterator[dict[str, np.ndarray]]:
        for clip in sorted(request.path.glob("*.wav")):
            yield {"input": read_wav(clip), "expected.label": np.int64(1)}
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.core.errors import CalibrationError
from pipeline.data.samples import Request, Sample, sample_of

Function = Callable[[Request], Iterable[Mapping[str, Any]]]


def read(request: Request) -> Iterator[Sample]:
    """The samples that the function yields.

    Raises:
        CalibrationError: There is no such function, or it yields something else than mappings. What the function
            itself raises comes through as it is.
    """
    name = request.data.callable or ""
    for index, arrays in enumerate(load(name, request.engine)(request)):
        where = f"{name}[{index}]"
        if not isinstance(arrays, Mapping):
            raise CalibrationError(
                f"yielded a {type(arrays).__name__}, and a mapping from input names to arrays was expected",
                where=where,
            )
        yield sample_of(arrays, where)


def load(reference: str, folder: Path) -> Function:
    """The function that `file.py:function` or `module:function` names.

    Raises:
        CalibrationError: The reference has no such form, or names nothing.
    """
    source, colon, name = reference.rpartition(":")
    if not (colon and source and name):
        raise CalibrationError("not of the form file.py:function or module:function", where=reference)
    module = _from_file(folder / source, reference) if source.endswith(".py") else _from_module(source, reference)
    function = getattr(module, name, None)
    if not callable(function):
        raise CalibrationError(f"{source} has no function '{name}'", where=reference)
    found: Function = function
    return found


def _from_file(path: Path, reference: str) -> Any:
    if not path.is_file():
        raise CalibrationError(
            f"no such file in {path.parent.name}/", where=reference, hint="the path is relative to engine.toml"
        )
    spec = importlib.util.spec_from_file_location(f"engine_{path.parent.name.replace('-', '_')}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise CalibrationError("not a Python file", where=reference)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _from_module(name: str, reference: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise CalibrationError(
                f"no module '{error.name}'", where=reference, hint="install it, or name a file: data.py:samples"
            ) from error
        raise
