"""Drafts from a Python callable: the module that it makes is asked what it takes and returns."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.drafts import data
from pipeline.cli.drafts.draft import UNKNOWN, Draft, Wanted
from pipeline.core.artifacts import Provenance, Weights
from pipeline.core.errors import SourceError, SpecError

if TYPE_CHECKING:
    from pipeline.models.interface import Interface

CHECKPOINTS = frozenset({".bin", ".ckpt", ".pt", ".pth", ".safetensors"})


def draft(what: str, wanted: Wanted, template: str) -> Draft:
    """The draft for `FILE.py:FUNCTION` or `MODULE:FUNCTION`.

    Args:
        what: The callable. Its file lies in the engine's folder, or where the user is: then it is copied.
        wanted: What the command line says.
        template: Text of the file where there is none yet.

    Raises:
        PipelineError: The function cannot be called, or its module cannot take its example inputs.
    """
    file, _, function = what.rpartition(":")
    if not (file and function):
        raise SpecError(f"expected FILE.py:FUNCTION, got {what!r}", where="--from")
    with tempfile.TemporaryDirectory() as scratch:
        path = _file(file, wanted, Path(scratch), template)
        reference = what if path is None else f"{path.name}:{function}"
        checkpoint, todo = _checkpoint(wanted, path)
        folder = wanted.folder if path is None else path.parent
        found = _asked(reference, folder, path if path is not None and not checkpoint.exists() else checkpoint)
        code = None if path is None or folder == wanted.folder else path.read_text(encoding="utf-8")
    chosen, axes = data.fitting(wanted, found.inputs, found.axes, tokenizer=data.has_tokenizer(checkpoint))
    return Draft(
        source="callable",
        origin=f"the function {reference}",
        callable=reference,
        code=code,
        inputs=found.inputs,
        outputs=found.outputs,
        axes=axes,
        data=chosen,
        path=checkpoint.relative_to(wanted.root).as_posix(),
        licence=wanted.licence or UNKNOWN,
        scale=found.scale,
        weights_todo=todo,
    )


def _file(file: str, wanted: Wanted, scratch: Path, template: str) -> Path | None:
    """The callable's file: in the engine's folder, where the user is, or made of `template`; None for a module."""
    if not file.endswith(".py"):
        return None
    for folder in (wanted.folder, Path.cwd()):
        if (folder / file).is_file():
            return folder / file
    if Path(file).name != file:
        raise SourceError("no such file", where=file)
    (scratch / file).write_text(template, encoding="utf-8")
    return scratch / file


def _checkpoint(wanted: Wanted, file: Path | None) -> tuple[Path, str | None]:
    """The checkpoint, and what a person has to see to: without one, the callable's own file makes the weights."""
    if wanted.weights is not None:
        return _named(wanted.weights, wanted.root), None
    if file is None:
        raise SpecError("a module's function needs a checkpoint", where="--from", hint="--weights PATH names it")
    folder = wanted.folder
    beside = sorted(item for item in folder.glob("*") if item.suffix in CHECKPOINTS)
    if len(beside) == 1:
        return beside[0], None
    found = f"{len(beside)} checkpoints lie" if beside else "no checkpoint lies"
    return folder / file.name, (
        f"model.weights.path: {found} in engines/{wanted.name}/: name one, unless {file.name} makes the weights itself"
    )


def _named(weights: str, root: Path) -> Path:
    path = (root / weights).resolve()
    if not path.exists():
        raise SourceError("no such checkpoint", where=f"--weights {weights}", hint="paths are relative to the clone")
    if not path.is_relative_to(root):
        raise SourceError("must lie in the clone", where=f"--weights {weights}", hint=f"copy it below {root}")
    return path


def _asked(reference: str, folder: Path, checkpoint: Path) -> Interface:
    from pipeline.models import callable_source, interface

    provenance = Provenance(source=f"local:{checkpoint.name}", digest="", licence=UNKNOWN, real=True)
    weights = Weights(folder=checkpoint.parent, checkpoint=checkpoint, provenance=provenance)
    try:
        module, example = callable_source.load(reference, folder, weights)
    except OSError as error:
        raise SourceError(
            f"cannot read its checkpoint: {error}", where=reference, hint="--weights PATH names the checkpoint"
        ) from error
    with callable_source.importable(weights.folder):
        return interface.of_module(module, example)
