"""What Triton's `config.pbtxt` says of a bundle (Triton's model_config.proto), derived from its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.bundle.layouts.pbtxt import Enum, entries
from pipeline.bundle.manifest import Axis, Graph, Manifest
from pipeline.core.artifacts import TensorInfo
from pipeline.core.errors import BundleError

TENSORRT = "tensorrt"

QUEUE_DELAY_US = 100
"""How long a request may wait for others to share its batch."""

TYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "bfloat16": "TYPE_BF16",
}

Message = dict[str, Any]


def of_plans(record: Manifest, files: Mapping[str, str]) -> Message:
    """For Triton's TensorRT backend.

    Args:
        record: The bundle.
        files: Name of the plan's file for each compute capability.
    """
    shapes = _Shapes.of(record.graph)
    own = {capability: name for capability, name in files.items() if name != _default(files)}
    return {
        "name": record.engine,
        "platform": "tensorrt_plan",
        "default_model_filename": _default(files),
        **({"cc_model_filenames": entries(own)} if own else {}),
        **_common(shapes, record),
        "instance_group": [{"count": 1, "kind": Enum("KIND_GPU"), "profile": ["0"]}],
        "optimization": {"cuda": {"graphs": True, "graph_spec": [shapes.graph_spec()]}},
    }


def of_runtime(record: Manifest) -> Message:
    """For Triton's Python backend over `pipeline.runtime`."""
    plans = ", ".join(plan.path for plan in record.plans)
    return {
        "name": record.engine,
        "backend": "python",
        **_common(_Shapes.of(record.graph), record),
        "instance_group": [{"count": 1, "kind": Enum("KIND_GPU")}],
        "parameters": entries(
            {
                "label": {"string_value": f"TensorRT-RTX through pipeline.runtime, not Triton's TensorRT: {plans}"},
                "backend": {"string_value": "engine"},
                "public_key": {"string_value": ""},
            }
        ),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shapes:
    """How Triton sees the shapes of a graph.

    Attributes:
        graph: The graph.
        batch: The axis that Triton batches along; None where there is none that it can.
    """

    graph: Graph
    batch: Axis | None

    @staticmethod
    def of(graph: Graph) -> _Shapes:
        first = {item.shape[0] if item.shape else None for item in (*graph.inputs, *graph.outputs)}
        name = next(iter(first))
        axis = graph.axes.get(name) if len(first) == 1 and isinstance(name, str) else None
        # Triton's batches begin at one.
        return _Shapes(graph=graph, batch=axis if axis is not None and axis.min == 1 else None)

    def dims(self, item: TensorInfo) -> list[int]:
        """The shape without the batch, -1 for what varies; [1] where nothing is left."""
        return [-1 if isinstance(size, str) else size for size in self._own(item)] or [1]

    def sizes(self, item: TensorInfo, which: str) -> list[int]:
        """The shape without the batch at the `min`, `opt` or `max` of every axis."""
        axes = self.graph.axes
        return [getattr(axes[size], which) if isinstance(size, str) else size for size in self._own(item)] or [1]

    def warm_up(self, which: str) -> Message:
        """One request at these sizes, all zeros: indices of zero exist in every table."""
        return {
            "name": which,
            "batch_size": getattr(self.batch, which) if self.batch is not None else 0,
            "inputs": entries(
                {
                    item.name: {"data_type": _type(item), "dims": self.sizes(item, which), "zero_data": True}
                    for item in self.graph.inputs
                }
            ),
        }

    def graph_spec(self) -> Message:
        """The shapes that the TensorRT backend captures a CUDA graph for: those that the plan is fastest at."""
        return {
            "batch_size": self.batch.opt if self.batch is not None else 0,
            "input": entries({item.name: {"dim": self.sizes(item, "opt")} for item in self.graph.inputs}),
        }

    def is_scalar(self, item: TensorInfo) -> bool:
        """Whether nothing but the batch is left: Triton has no tensors without dimensions, and reshapes from [1]."""
        return not self._own(item)

    def _own(self, item: TensorInfo) -> tuple[int | str, ...]:
        return item.shape if self.batch is None else item.shape[1:]


def _common(shapes: _Shapes, record: Manifest) -> Message:
    batch = shapes.batch
    warm_ups = [shapes.warm_up("opt"), shapes.warm_up("min")]
    return {
        "max_batch_size": batch.max if batch is not None else 0,
        "input": [_tensor(item, shapes) for item in record.graph.inputs],
        "output": [_tensor(item, shapes) for item in record.graph.outputs],
        **({"dynamic_batching": _batching(batch)} if batch is not None and batch.max > 1 else {}),
        "model_warmup": warm_ups if record.graph.axes else warm_ups[:1],
    }


def _batching(batch: Axis) -> Message:
    return {"preferred_batch_size": sorted({batch.opt, batch.max}), "max_queue_delay_microseconds": QUEUE_DELAY_US}


def _tensor(item: TensorInfo, shapes: _Shapes) -> Message:
    reshape = {"reshape": {"shape": ()}} if shapes.is_scalar(item) else {}
    return {"name": item.name, "data_type": _type(item), "dims": shapes.dims(item), **reshape}


def _type(item: TensorInfo) -> Enum:
    if item.dtype not in TYPES:
        raise BundleError(f"Triton has no type for {item.dtype} ({item.name})", where="manifest.json")
    return Enum(TYPES[item.dtype])


def _default(files: Mapping[str, str]) -> str:
    return next(iter(files.values()))
