"""Linear layers that leave the low format's range, and where a power of two could be put to mend each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pipeline.core.artifacts import ActivationRanges, Place
from pipeline.core.spec import PrecisionSpec
from pipeline.precision import attention, decomposed_norms
from pipeline.precision.bounds.extents import constant_tensor
from pipeline.precision.rescale.algebra import SEEDED, channel_axis, is_linear
from pipeline.precision.rescale.exponents import NONE, Exponents
from pipeline.precision.rescale.walk import Order, Scaling, Seeds, walk
from pipeline.precision.rules import norms

Channel = tuple[str, int]
"""Name of a tensor, and an axis counted from the end."""

Magnitudes = Mapping[Channel, npt.NDArray[np.float64]]
"""Largest magnitude of each channel."""

FURTHEST = 24
"""The most that a power of two may have to mend: what is further out is a mask or an error, not a layer's range."""

HEADROOM = 16.0
"""How far a channel may exceed what calibration saw in it. Neurons that seldom fire do: NanoGuard's squared ReLUs
exceeded a factor of 4, the margin that is enough for a whole tensor."""

PROBE = -2
"""An even exponent that tells which values are scaled as a seed is: squares have twice that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to mend a layer.

    Attributes:
        place: Where the power of two is multiplied in.
        seeds: The same with its exponents.
        exponents: The exponents.
    """

    place: Place
    seeds: Seeds
    exponents: Exponents


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The graph and what is known of it.

    Attributes:
        order: The fp32 graph.
        ranges: What its tensors hold.
        spec: How precision is decided.
        wide: Nodes that are fp32 whatever they hold: normalisations, and scale and mask of attention scores.
    """

    order: Order
    ranges: ActivationRanges
    spec: PrecisionSpec
    wide: frozenset[ir.Node]

    @staticmethod
    def of(graph: ir.Graph, ranges: ActivationRanges, spec: PrecisionSpec) -> Case:
        """The case of one graph."""
        written_out = (node for chain in decomposed_norms.find(graph) for node in chain.nodes)
        scores = (before for node in graph if node.op_type == "Softmax" for before in attention.score_path(node)[1])
        operators = (node for node in graph if node.op_type in norms.OPS)
        wide = frozenset(itertools.chain(written_out, scores, operators))
        return Case(order=Order.of(graph), ranges=ranges, spec=spec, wide=wide)

    @property
    def usable(self) -> float:
        """Largest magnitude that counts as safe in the low format."""
        return self.spec.low.limits.largest / self.spec.overflow_margin

    def magnitude(self, value: ir.Value | None) -> float:
        """Largest magnitude of a value; NaN where it is not known or not finite."""
        seen = self.ranges.tensors.get(str(value.name)) if value is not None else None
        return math.nan if seen is None or seen.nonfinite else seen.magnitude

    def fits(self, value: ir.Value) -> bool:
        """Whether a value lies within the low format's range."""
        return self.magnitude(value) <= self.usable

    def overflows(self, value: ir.Value | None) -> bool:
        """Whether it is finite and does not, and would be low if it did."""
        producer = value.producer() if value is not None else None
        return producer not in self.wide and self.usable < self.magnitude(value) <= self.usable * 2.0**FURTHEST


def overflowing(case: Case, node: ir.Node) -> tuple[ir.Value, ...]:
    """Values scaled as the result of linear layer `node` is, up to where that is undone, that leave the range."""
    probe = Exponents(values=(PROBE,))
    held = walk(case.order, Seeds(nodes={str(node.name): probe}), case.fits).held
    return tuple(value for value, found in held.items() if found == probe and case.overflows(value))


def linear_nodes(case: Case) -> Iterator[ir.Node]:
    """Products with stored weights, in graph order."""
    return (node for node in case.order.nodes if is_linear(node))


def channels_asked(case: Case, node: ir.Node) -> frozenset[Channel]:
    """Tensors and axes whose channels' magnitudes decide the exponents of `node`."""
    asked: set[Channel] = set()
    if overflowing(case, node):
        asked.update((str(v.name), axis) for v, axis in _region(case, node))
    operand = node.inputs[0]
    if operand is not None and case.overflows(operand):
        asked.add((str(operand.name), _operand_axis(node)))
    return frozenset(asked)


def for_result(case: Case, node: ir.Node, magnitudes: Magnitudes) -> Iterator[Option]:
    """Ways to bring the result of `node`, and what follows from it, into range; the least exponents first."""
    name = str(node.name)
    by_channel = _needed_by_channel(case, node, magnitudes)
    largest = np.array([max(case.magnitude(value) for value in overflowing(case, node))])
    everywhere = Exponents(values=(min(by_channel.lowest, _exponents(largest, case.usable, -1).lowest),))
    for exponents in dict.fromkeys((by_channel, everywhere)):
        yield Option(place=Place.WEIGHTS, seeds=Seeds(nodes={name: exponents}), exponents=exponents)
    passing = frozenset({name})
    for place, seeds in _before(node, everywhere):
        yield Option(
            place=place,
            seeds=Seeds(nodes=seeds.nodes, operands=seeds.operands, passing=passing),
            exponents=everywhere,
        )


def for_operand(case: Case, node: ir.Node, magnitudes: Magnitudes) -> Iterator[Option]:
    """Ways to bring what `node` reads into range; its weights take the exponents back.

    One exponent for all channels comes first: it costs no weight, and holds for channels that calibration saw quiet.
    """
    value = node.inputs[0]
    axis = _operand_axis(node)
    largest = magnitudes[str(value.name if value else ""), axis]
    by_channel = _exponents(_unseen(largest), case.usable, axis)
    for exponents in dict.fromkeys((Exponents(values=(by_channel.lowest,)), by_channel)):
        for place, seeds in _before(node, exponents):
            yield Option(place=place, seeds=seeds, exponents=exponents)


def result_fits(case: Case, node: ir.Node, scaling: Scaling, magnitudes: Magnitudes) -> bool:
    """Whether the result of `node`, and what is scaled with it, lies within range as it is held."""
    values = overflowing(case, node)
    return all(_fits(case, value, scaling.held.get(value, NONE), magnitudes) for value in values)


def operand_fits(case: Case, node: ir.Node, scaling: Scaling, magnitudes: Magnitudes) -> bool:
    """Whether what `node` reads lies within range as it is read."""
    value = node.inputs[0]
    if value is None or not case.overflows(value):
        return True
    read = scaling.held.get(value, NONE).plus(scaling.multiplied.get((node, 0), NONE))
    return read is not None and _fits(case, value, read, magnitudes)


def _fits(case: Case, value: ir.Value, exponents: Exponents, magnitudes: Magnitudes) -> bool:
    if exponents.axis is not None and (str(value.name), exponents.axis) in magnitudes:
        largest = magnitudes[str(value.name), exponents.axis] * np.ldexp(1.0, np.array(exponents.values))
        return bool(largest.max() <= case.usable)
    return case.magnitude(value) * 2.0 ** max(exponents.values) <= case.usable


def _before(node: ir.Node, exponents: Exponents) -> Iterator[tuple[Place, Seeds]]:
    """Into the constants of what makes the operand of `node`, or by a Mul before it."""
    value = node.inputs[0]
    maker = value.producer() if value is not None else None
    if maker is not None and maker.op_type in SEEDED and not is_linear(maker) and exponents.axis in (None, -1):
        yield Place.NORM, Seeds(nodes={str(maker.name): exponents})
    yield Place.OPERAND, Seeds(operands={(str(node.name), 0): exponents})


def _operand_axis(node: ir.Node) -> int:
    """Axis of the input channels of a linear layer in its operand."""
    return channel_axis(node)


def _region(case: Case, node: ir.Node) -> Iterator[tuple[ir.Value, int]]:
    """Values whose channels are scaled one by one with those of the result of `node`, with the channels' axis."""
    channels = _channels(node)
    axis = channel_axis(node)
    probe = Exponents.along((PROBE * (1 + channel % 2) for channel in range(channels)), axis)
    held = walk(case.order, Seeds(nodes={str(node.name): probe}), case.fits).held
    for value, found in held.items():
        if found.axis is not None and found.values == probe.values and value.producer() not in case.wide:
            yield value, found.axis


def _channels(node: ir.Node) -> int:
    """Output channels of a linear layer."""
    shape = node.outputs[0].shape
    size = None if shape is None else shape[channel_axis(node)]
    return size if isinstance(size, int) else 1


def _needed_by_channel(case: Case, node: ir.Node, magnitudes: Magnitudes) -> Exponents:
    axis, channels = channel_axis(node), _channels(node)
    region = list(_region(case, node))
    largest = np.zeros(channels if region else 1)
    for value, found in region:
        largest = np.maximum(largest, magnitudes[str(value.name), found])
    if not region:  # one exponent for all channels
        largest = np.array([max(case.magnitude(value) for value in overflowing(case, node))])
    weights = _weight_magnitudes(node, len(largest))
    limit = case.spec.low.limits.largest
    return _exponents(np.maximum(_unseen(largest), weights * (case.usable / limit)), case.usable, axis)


def _weight_magnitudes(node: ir.Node, channels: int) -> npt.NDArray[np.float64]:
    """Largest weight of each output channel, or of all of them where there is one exponent."""
    tensor = constant_tensor(node.inputs[1]) if node.inputs[1] is not None else None
    if tensor is None:
        return np.zeros(channels)
    weights = np.abs(tensor.numpy()).astype(np.float64)
    turned = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
    columns = {"MatMul": -1, "Gemm": 0 if turned else 1, "Conv": 0, "ConvTranspose": 1}[node.op_type]
    moved = np.moveaxis(weights, columns, 0).reshape(weights.shape[columns], -1).max(axis=1)
    return moved if len(moved) == channels else np.array([moved.max()] * channels)


def _unseen(largest: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What channels may reach on data that calibration did not see: no more than the largest of them did."""
    most = largest.max()
    return np.asarray(np.where(largest > 0, np.minimum(largest * HEADROOM, most), most))


def _exponents(largest: npt.NDArray[np.float64], usable: float, axis: int) -> Exponents:
    """The smallest exponents, channel by channel, that bring these magnitudes into range."""
    safe = np.maximum(largest, np.finfo(np.float64).tiny)
    needed = np.ceil(np.log2(safe / usable))
    return Exponents.along((min(0, -int(item)) for item in needed), axis)
