"""Biases of linear layers in a mixed graph: where one is, and how it is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.precision.rescale.algebra import channel_axis, is_linear

Array = npt.NDArray[Any]

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A linear layer with a place for a correction.

    Attributes:
        node: Name of the product.
        op: Its operator type.
        product: Its result in the fp32 model.
        result: The tensor with the bias: the result of an Add behind a MatMul, a convolution's own result.
        adder: Name of the node that adds the bias.
        axis: Axis of the channels in `result`, counted from the end.
        channels: How many.
    """

    node: str
    op: str
    product: str
    result: str
    adder: str
    axis: int
    channels: int


def sites(reference: ir.Model, mixed: ir.Model) -> tuple[Site, ...]:
    """Linear layers whose operands are rounded and which have a place for a bias, in graph order.

    A convolution always has one: its bias is part of its kernel. A matrix product has one where the model adds a bias
    behind it. Where it does not, none is added: before the product's rounding an Add makes TensorRT-RTX take an fp32
    product, and behind it the sum would be rounded once more.

    Args:
        reference: The fp32 model.
        mixed: What was made of it: nodes have the same names.
    """
    there = {str(node.name): node for node in mixed.graph}
    found = (_site(node) for node in reference.graph if is_linear(node))
    return tuple(site for site in found if site is not None and _can_take(site, there))


def correct(mixed: ir.Model, site: Site, correction: Array) -> Array:
    """Add `correction` to the bias of a layer, in place, rounded to the format that stores it.

    Args:
        mixed: The mixed model.
        site: One of `sites`.
        correction: float64[channels], in the scale in which the layer is held.

    Returns:
        What was added in effect; float64[channels].
    """
    adder = next(node for node in mixed.graph if node.name == site.adder)
    position = bias_position(adder)
    bias = _bias(mixed, site, adder, position)
    tensor = bias.const_value
    assert tensor is not None
    before = tensor.numpy()
    shape = (-1, *[1] * (-1 - site.axis)) if adder.op_type not in CONVOLUTIONS else (-1,)
    after = (before.astype(np.float64) + correction.reshape(shape)).astype(before.dtype)
    bias.const_value = ir.Tensor(after, name=bias.name)
    bias.shape = ir.Shape(after.shape)
    return np.asarray((after.astype(np.float64) - before.astype(np.float64)).reshape(-1))


def bias_position(adder: ir.Node) -> int:
    """Operand of `adder` that is the bias; for a convolution without one, where it would be."""
    if adder.op_type in CONVOLUTIONS:
        return 2
    return next(i for i, value in enumerate(adder.inputs) if value is not None and _is_stored(value))


def unscaled(effect: Array, fate: Fate | None) -> Array:
    """A correction in the scale of the fp32 model, from that in which the layer is held."""
    return effect if fate is None else np.ldexp(effect, -exponents(fate, len(effect)))


def exponents(fate: Fate | None, channels: int) -> npt.NDArray[np.int64]:
    """Exponents of each channel of a tensor."""
    own = (0,) * channels if fate is None or not fate.exponents else fate.exponents
    return np.array(own, np.int64) + (0 if fate is None else fate.exponent)


def _site(node: ir.Node) -> Site | None:
    product = node.outputs[0]
    axis, shape = channel_axis(node), product.shape
    channels = None if shape is None else shape[axis]
    if not isinstance(channels, int):
        return None
    adder = node if node.op_type in CONVOLUTIONS else _adder(product, channels)
    if adder is None:
        return None
    return Site(
        node=str(node.name),
        op=node.op_type,
        product=str(product.name),
        result=str(adder.outputs[0].name),
        adder=str(adder.name),
        axis=axis,
        channels=channels,
    )


def _adder(product: ir.Value, channels: int) -> ir.Node | None:
    """The Add of a stored vector that alone reads `product`."""
    readers = [use.node for use in product.uses()]
    if len(readers) != 1 or product.is_graph_output() or readers[0].op_type != "Add":
        return None
    stored = [value for value in readers[0].inputs if value is not None and _is_stored(value)]
    return readers[0] if len(stored) == 1 and stored[0].const_value and stored[0].const_value.size == channels else None


def _can_take(site: Site, there: Mapping[str, ir.Node]) -> bool:
    """Whether the mixed graph rounds the layer's weights, and stores its bias as a vector."""
    product, adder = there.get(site.node), there.get(site.adder)
    if product is None or adder is None or not _rounds(product):
        return False
    if adder.op_type in CONVOLUTIONS:
        bias = adder.inputs[2] if len(adder.inputs) > 2 else None
        return bias is None or _is_stored(bias)
    return any(value is not None and _is_stored(value) for value in adder.inputs)


def _rounds(product: ir.Node) -> bool:
    """Whether the stored weights are low, read as they are or through a Cast."""
    weight = product.inputs[1]
    maker = weight.producer() if weight is not None else None
    stored = maker.inputs[0] if maker is not None and maker.op_type == "Cast" else weight
    return stored is not None and stored.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def _is_stored(value: ir.Value) -> bool:
    return value.is_initializer() and not value.is_graph_input() and value.const_value is not None


def _bias(mixed: ir.Model, site: Site, adder: ir.Node, position: int) -> ir.Value:
    """The bias of a layer, its own: copied where others read it, zeros where there was none."""
    value = adder.inputs[position] if position < len(adder.inputs) else None
    if value is not None and len(list(value.uses())) == 1:
        return value
    like = adder.inputs[1] if value is None else value
    assert like is not None
    assert like.dtype is not None
    zeros = np.zeros(site.channels, like.dtype.numpy())
    held = zeros if value is None or value.const_value is None else value.const_value.numpy()
    name = f"{site.node}::bias"
    own = ir.val(name, dtype=like.dtype, shape=held.shape, const_value=ir.Tensor(held, name=name))
    mixed.graph.register_initializer(own)
    if position >= len(adder.inputs):
        adder.resize_inputs(position + 1)
    adder.replace_input_with(position, own)
    return own
