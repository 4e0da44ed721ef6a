"""Load and save ONNX models with their weights beside them, the same bytes for the same model."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import onnx_ir as ir

from pipeline.core import digest
from pipeline.core.artifacts import Check, Fate, OnnxModel, Provenance, TensorInfo
from pipeline.core.errors import GraphError
from pipeline.core.formats import Format
from pipeline.graph.sound import require_sound

FILE = "model.onnx"
DATA = "model.onnx.data"
INLINE_BELOW = 256
"""Tensors under this many bytes stay in the ONNX file, where shape inference can see them."""

IN_FLIGHT = 128 << 20
"""Bytes of weights that a thread may hold while a model is written."""

NUMPY_NAMES = {
    ir.DataType.FLOAT: "float32",
    ir.DataType.FLOAT16: "float16",
    ir.DataType.BFLOAT16: "bfloat16",
    ir.DataType.DOUBLE: "float64",
    ir.DataType.INT64: "int64",
    ir.DataType.INT32: "int32",
    ir.DataType.INT16: "int16",
    ir.DataType.INT8: "int8",
    ir.DataType.UINT8: "uint8",
    ir.DataType.BOOL: "bool",
}


def load(path: Path) -> ir.Model:
    """Read an ONNX file; weights in external data stay on disk until they are used.

    Raises:
        GraphError: It is not an ONNX file, or not a sound one (see `graph.sound`).
    """
    try:
        model = ir.load(path)
    except FileNotFoundError as error:
        raise GraphError("no such ONNX file", where=str(path)) from error
    except Exception as error:  # protobuf and onnx-ir raise many types for a damaged file
        raise GraphError(f"not a readable ONNX model: {error}", where=str(path)) from error
    require_sound(model, path)
    return model


def save(model: ir.Model, folder: Path) -> Path:
    """Write `model.onnx` and `model.onnx.data` into `folder`; equal models give equal bytes.

    `model` itself is unchanged: its tensors keep pointing at the data they came from.
    """
    path = folder / FILE
    workers = len(os.sched_getaffinity(0))
    ir.save(
        model,
        path,
        external_data=DATA,
        size_threshold_bytes=INLINE_BELOW,
        max_workers=workers,
        max_in_flight_bytes=workers * IN_FLIGHT,
    )
    return path


def save_beside(model: ir.Model, path: Path) -> None:
    """Write a model whose large weights stay in the external data that they were loaded from.

    Args:
        model: Its external tensors lie in the folder of `path`.
        path: The ONNX file to write.

    Raises:
        GraphError: A large weight lies elsewhere, or in no file.
    """
    folder = path.parent.resolve()
    for value in model.graph.initializers.values():
        tensor = value.const_value
        external = isinstance(tensor, ir.ExternalTensor) and Path(tensor.path).resolve().parent == folder
        if tensor is not None and not external and tensor.nbytes > INLINE_BELOW:
            raise GraphError(f"weight {value.name} does not lie beside the model", where=str(path))
    ir.save(model, path)


def describe(
    model: ir.Model,
    path: Path,
    *,
    provenance: Provenance,
    fates: Iterable[Fate] = (),
    given: dict[str, Format] | None = None,
    checks: tuple[Check, ...] = (),
) -> OnnxModel:
    """The artifact record of a model that was saved at `path`."""
    return OnnxModel(
        path=path,
        opset=opset(model),
        inputs=tuple(_info(value) for value in model.graph.inputs),
        outputs=tuple(_info(value) for value in model.graph.outputs),
        provenance=provenance,
        fates=tuple(fates),
        given=given or {},
        checks=checks,
    )


def opset(model: ir.Model) -> int:
    """Version of the default operator set.

    Raises:
        GraphError: The model imports none.
    """
    version = model.opset_imports.get("")
    if version is None:
        raise GraphError("the model imports no version of the default ONNX operator set")
    return version


def model_digest(model: OnnxModel) -> str:
    """Digest of the ONNX file and its external data, read once a process while they stay as they are."""
    folder = model.path.parent
    paths = [path for path in (model.path, folder / DATA) if path.exists()]
    stats = [path.stat() for path in paths]
    return _digest(folder, tuple(paths), tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats))


@cache
def _digest(folder: Path, paths: tuple[Path, ...], _states: tuple[tuple[int, ...], ...]) -> str:
    return digest.of_files(folder, paths)


def _info(value: ir.Value) -> TensorInfo:
    if value.dtype is None or value.shape is None or value.name is None:
        raise GraphError("a graph input or output has no name, type or shape", where=str(value.name))
    shape = tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape)
    return TensorInfo(name=value.name, dtype=NUMPY_NAMES.get(value.dtype, value.dtype.name.lower()), shape=shape)
