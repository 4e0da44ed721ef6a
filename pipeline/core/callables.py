"""Functions of the user's own that a spec names: `file.py:function` beside `engine.toml`, or `module:function`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.core.errors import SourceError


def resolve(reference: str, folder: Path) -> Callable[..., Any]:
    """The function that `reference` names. Its file is run; what it raises comes through as it is.

    Args:
        reference: `file.py:function`, the file relative to `folder`, or `module:function`.
        folder: Folder of `engine.toml`.

    Raises:
        SourceError: The reference has no such form, or names nothing.
    """
    source, colon, name = reference.rpartition(":")
    if not (colon and source and name):
        raise SourceError("not of the form file.py:function or module:function", where=reference)
    module = _from_file(folder / source, reference) if source.endswith(".py") else _from_module(source, reference)
    function = getattr(module, name, None)
    if not callable(function):
        raise SourceError(f"{source} has no function '{name}'", where=reference)
    found: Callable[..., Any] = function
    return found


def _from_file(path: Path, reference: str) -> ModuleType:
    name = f"engine_{path.parent.name}_{path.stem}".replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise SourceError(
            f"no such file in {path.parent.name}/", where=reference, hint="the path is relative to engine.toml"
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up there
    spec.loader.exec_module(module)
    return module


def _from_module(name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise SourceError(
                f"no module '{error.name}'",
                where=reference,
                hint="install it, or name a file beside engine.toml: file.py:function",
            ) from error
        raise
