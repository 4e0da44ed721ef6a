"""ONNX Runtime on the CPU: fp32 references and emulated graphs, driven by Polygraphy's runner."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from pipeline.core.errors import GraphError

if TYPE_CHECKING:
    import onnx_ir as ir

Arrays = dict[str, npt.NDArray[Any]]
"""Arrays by tensor name."""

FATAL = 4
"""ONNX Runtime's log severity: what goes wrong arrives as an exception, the rest is noise."""


class Session:
    """A model, loaded once and run many times.

    Weights in external data are mapped from their files, never copied into the session's model.

    Args:
        model: An ONNX file, or a model in memory whose external data may lie in several folders.
        threads: Threads within an operator; by default all cores that this process may use.
        as_written: Run nodes in the graph's order and without fusing them, so that a tensor lives no longer than the
            graph says; for instrumented graphs. Otherwise the runtime optimises as it likes.

    Attributes:
        inputs: Names of the graph inputs, in order.
        outputs: Names of the graph outputs, in order.

    Raises:
        GraphError: ONNX Runtime cannot load the model.
    """

    def __init__(self, model: Path | ir.Model, *, threads: int | None = None, as_written: bool = False) -> None:
        import onnxruntime

        options = _options(threads, as_written)
        source = str(model) if isinstance(model, Path) else _serialise(model, options)
        where = str(model) if isinstance(model, Path) else str(model.graph.name)
        try:
            session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's exception types share no base of their own
            raise GraphError(f"ONNX Runtime cannot load this model: {error}", where=where) from error
        self._where = where
        self._session = session
        self.inputs = tuple(item.name for item in session.get_inputs())
        self.outputs = tuple(item.name for item in session.get_outputs())

    def runner(self, name: str | None = None) -> Any:
        """Polygraphy's runner over this session, to be used in a `with` statement."""
        from pipeline.backends.array_runner import ArrayRunner

        return ArrayRunner(self._session, name=name)

    def __call__(self, feeds: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Run the model once.

        Args:
            feeds: One array a graph input.

        Returns:
            One array a graph output, in order.

        Raises:
            GraphError: A feed is missing or unknown, or the runtime failed.
        """
        if set(feeds) != set(self.inputs):
            raise GraphError(f"inputs are {list(self.inputs)}, got {sorted(feeds)}", where=self._where)
        try:
            with self.runner() as runner:
                return dict(runner.infer(dict(feeds), check_inputs=False))
        except Exception as error:  # the runtime's exception types share no base of their own
            raise GraphError(f"ONNX Runtime failed: {error}", where=self._where) from error


def run(model: Path | ir.Model, feeds: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Load a model and run it once. See `Session`."""
    return Session(model)(feeds)


def _options(threads: int | None, as_written: bool) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    # Threads that wait for the next of many small reductions take the processor from what is computed.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if as_written:
        # The default order walks back from the outputs and leaves every reduction to the end, with its operand alive;
        # memory patterns keep one arena a shape. Measured on bert-base: 3.5 GB against 0.8 GB.
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        options.enable_mem_pattern = False
        # Weights repacked for the matrix products are a second copy of them, and 0.6 s of every session on bert-base;
        # its products are no slower without.
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return options


def _serialise(model: ir.Model, options: Any) -> bytes:
    """The model as bytes whose external data is named relative to the folder that holds all of it."""
    import onnx_ir as ir

    folders = {
        value.name: Path(value.const_value.path).resolve().parent
        for graph in model.graphs()
        for value in graph.initializers.values()
        if isinstance(value.const_value, ir.ExternalTensor)
    }
    proto = ir.to_proto(model)
    if folders:
        root = Path(os.path.commonpath(set(folders.values())))
        _relocate(proto.graph, {name: folder.relative_to(root) for name, folder in folders.items()})
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(root))
    return bytes(proto.SerializeToString())


def _relocate(graph: Any, folders: Mapping[str | None, Path]) -> None:
    for tensor in graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = str(folders[tensor.name] / Path(entry.value).name)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _relocate(attribute.g, folders)
