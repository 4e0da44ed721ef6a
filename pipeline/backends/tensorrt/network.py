"""Parsing an ONNX graph into a TensorRT network through Polygraphy, and reading the network back."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.backends import layer_names
from pipeline.backends.tensorrt.records import NetworkLayer, NetworkTensor


def parse(trt: ModuleType, onnx: Path) -> tuple[Any, Any, Any]:
    """Parse `onnx` as a strongly typed network.

    Returns:
        Builder, network and parser (which owns the weights and must outlive the build).

    Raises:
        PolygraphyException: TensorRT refuses the graph; its errors are in the log.
    """
    from polygraphy.backend.trt import NetworkFromOnnxPath

    # The flags replace TensorRT's default, so its one default flag is named; the integers differ between releases.
    flags = [trt.OnnxParserFlag.NATIVE_INSTANCENORM]
    parsed: tuple[Any, Any, Any] = NetworkFromOnnxPath(str(onnx), flags=flags, strongly_typed=True)()
    return parsed


def read_back(network: Any) -> tuple[NetworkLayer, ...]:
    """Every layer of `network` with the types of its inputs and outputs.

    Layers that the parser made for an ONNX node carry the node's name in their metadata, several for one node
    where it needs several; layers of constants and shape arithmetic carry none.
    """
    return tuple(_layer(network.get_layer(index)) for index in range(network.num_layers))


def input_names(network: Any) -> tuple[str, ...]:
    """Names of graph inputs, in order."""
    return tuple(network.get_input(index).name for index in range(network.num_inputs))


def shape_inputs(network: Any) -> tuple[str, ...]:
    """Names of graph inputs whose values decide shapes."""
    inputs = (network.get_input(index) for index in range(network.num_inputs))
    return tuple(tensor.name for tensor in inputs if tensor.is_shape_tensor)


def _layer(layer: Any) -> NetworkLayer:
    inputs = (layer.get_input(index) for index in range(layer.num_inputs))
    outputs = (layer.get_output(index) for index in range(layer.num_outputs))
    return NetworkLayer(
        name=layer.name,
        kind=layer.type.name.lower(),
        nodes=(*layer_names.nodes(layer.metadata), *layer_names.enclosing(layer.metadata)),
        inputs=tuple(_tensor(tensor) for tensor in inputs if tensor is not None),
        outputs=tuple(_tensor(tensor) for tensor in outputs if tensor is not None),
    )


def _tensor(tensor: Any) -> NetworkTensor:
    return NetworkTensor(name=tensor.name, dtype=tensor.dtype.name.lower())
