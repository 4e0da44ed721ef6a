"""The bundle's emulated graph on ONNX Runtime's CPU provider: every rounding of the engine, and not the engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.bundle import content
from pipeline.bundle.manifest import Manifest, Role
from pipeline.core.errors import BackendUnavailable, BundleError, InputError
from pipeline.runtime import arrays
from pipeline.runtime.arrays import Array, Place

NOTE = (
    "emulated on the CPU with every rounding of the mixed graph: this is not the engine, and says nothing of its speed"
)

FATAL = 4
"""ONNX Runtime's log severity: what goes wrong arrives as an exception."""


class Emulated:
    """An ONNX Runtime session over the bundle's emulated graph; any number of threads may run it at once.

    Args:
        folder: The bundle, verified.
        manifest: Its manifest.

    Raises:
        BackendUnavailable: ONNX Runtime is not installed.
        BundleError: The emulated graph does not load.
    """

    note: str | None = NOTE

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._session = _session(folder, manifest)
        self._outputs = [item.name for item in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, Any], place: Place) -> dict[str, Array]:
        """Run once; outputs are on the host.

        Raises:
            InputError: Outputs on a device were asked for, or a feed is on one.
        """
        if place is Place.DEVICE:
            raise InputError("the emulation has no device: its outputs are on the host")
        values = self._session.run(self._outputs, arrays.to_host(feeds))
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        """Nothing is held beyond this object."""


def _session(folder: Path, manifest: Manifest) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable(
            "the emulation needs ONNX Runtime, which is not installed", hint="pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    weights = _weights(folder, manifest)
    if weights:
        sizes = [len(data) for data in weights.values()]
        options.add_external_initializers_from_files_in_memory(list(weights), list(weights.values()), sizes)
    name = manifest.graph.emulated
    graph = content.read(folder, name, manifest)
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exception types share no base of their own
        raise BundleError(f"ONNX Runtime cannot load it: {error}", where=str(folder / name)) from error


def _weights(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """External data of the bundle's graphs, in memory: ONNX Runtime opens no file of the bundle by itself."""
    names = [name for name, file in manifest.files.items() if file.role is Role.ONNX and not name.endswith(".onnx")]
    return {name: content.read(folder, name, manifest) for name in names}
