"""Decide for every overflowing linear layer how it is held, or why it is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from pipeline.core.artifacts import Place, Rescaling
from pipeline.graph import modules
from pipeline.precision.rescale import losses, options
from pipeline.precision.rescale.algebra import Step
from pipeline.precision.rescale.exponents import Exponents
from pipeline.precision.rescale.losses import Loss
from pipeline.precision.rescale.options import Case, Magnitudes, Option
from pipeline.precision.rescale.walk import Scaling, Seeds, walk

Key = tuple[str, str]
"""A layer and the tensor that overflows there."""

Ban = tuple[Key, Place, Exponents]
"""A layer, and the way of mending it that lost too much of an activation."""

Fits = Callable[[Case, ir.Node, Scaling, Magnitudes], bool]
Ways = Callable[[Case, ir.Node, Magnitudes], Iterator[Option]]


@dataclass(slots=True, kw_only=True)
class Choice:
    """How every overflowing layer is held.

    Attributes:
        seeds: All that is multiplied in.
        layers: One record a layer that overflows, in graph order.
        own: The option of each layer that has one.
    """

    seeds: Seeds = field(default_factory=Seeds)
    layers: list[Rescaling] = field(default_factory=list)
    own: dict[Key, Option] = field(default_factory=dict)

    def reasons(self) -> dict[str, str]:
        """By node that a power of two is multiplied in at: why."""
        told: dict[str, str] = {}
        for layer in self.layers:
            if layer.refused is None:
                seeds = self.own[key_of(layer)].seeds
                for node in (*seeds.nodes, *(name for name, _ in seeds.operands)):
                    told[node] = layer.reason
        return told


def choose(case: Case, magnitudes: Magnitudes, kept: frozenset[ir.Node], banned: dict[Ban, Loss]) -> Choice:
    """Mend each overflowing layer where that loses nothing, in graph order.

    Args:
        case: The graph.
        magnitudes: Of the channels that `options.channels_asked` names.
        kept: Layers that the user wants in fp32: they need no mending.
        banned: Ways that turned out to lose too much of an activation.
    """
    choice = Choice()
    turns: tuple[tuple[Fits, Ways], ...] = (
        (options.operand_fits, options.for_operand),
        (options.result_fits, options.for_result),
    )
    for node in options.linear_nodes(case):
        for fits, ways in turns if node not in kept else ():
            before = walk(case.order, choice.seeds, case.fits)
            if not fits(case, node, before, magnitudes):
                _mend(_Turn(case=case, node=node, before=before, fits=fits, ways=ways), choice, magnitudes, banned)
    return choice


def key_of(layer: Rescaling) -> Key:
    """What tells one record from the others."""
    return layer.node, layer.tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """One layer to mend: by what it reads or by what it makes."""

    case: Case
    node: ir.Node
    before: Scaling
    fits: Fits
    ways: Ways

    def worst(self) -> ir.Value:
        """The tensor that is furthest out of range."""
        operand = self.node.inputs[0]
        if self.fits is options.operand_fits and operand is not None:
            return operand
        return max(options.overflowing(self.case, self.node), key=self.case.magnitude)


def _mend(turn: _Turn, choice: Choice, magnitudes: Magnitudes, banned: dict[Ban, Loss]) -> None:
    """Take the first option that loses nothing, those with the fewest Muls first, or record why there is none."""
    case = turn.case
    record = _record(case, turn.node, turn.worst())
    refused: list[tuple[float, Rescaling]] = []
    for option, scaling in _possible(turn, choice, magnitudes):
        own = _filled(record, case, option)
        loss = banned.get((key_of(record), option.place, option.exponents)) or _worst(case, turn.before, scaling)
        if loss is None or (loss.share <= case.spec.rescale_share and not loss.overflow):
            choice.seeds = choice.seeds | option.seeds
            choice.own[key_of(record)] = option
            choice.layers.append(replace(own, subnormal_weights=_subnormal(case, turn.before, scaling)))
            return
        refused.append((loss.share, replace(own, refused=_refusal(own, loss, case))))
    nowhere = replace(record, refused="no place for a power of two brings it into range")
    choice.layers.append(min(refused, key=lambda item: item[0], default=(0.0, nowhere))[1])


def _possible(turn: _Turn, choice: Choice, magnitudes: Magnitudes) -> list[tuple[Option, Scaling]]:
    """Options that bring the layer into range and use no place twice, those with the fewest Muls first."""
    found = []
    for option in turn.ways(turn.case, turn.node, magnitudes):
        seeds, taken = option.seeds, choice.seeds
        if seeds.nodes.keys() & taken.nodes.keys() or seeds.operands.keys() & taken.operands.keys():
            continue
        scaling = walk(turn.case.order, taken | seeds, turn.case.fits)
        if turn.fits(turn.case, turn.node, scaling, magnitudes):
            found.append((option, scaling))
    return sorted(found, key=lambda item: item[1].added)


def _record(case: Case, node: ir.Node, tensor: ir.Value) -> Rescaling:
    return Rescaling(
        node=str(node.name),
        op=node.op_type,
        module=modules.module_of(node),
        tensor=str(tensor.name),
        magnitude=case.magnitude(tensor),
        place=Place.WEIGHTS,
    )


def _filled(record: Rescaling, case: Case, option: Option) -> Rescaling:
    alone = walk(case.order, option.seeds, case.fits)
    undone = [str(node.name) for node in alone.steps if str(node.name) not in option.seeds.nodes]
    scaled = [value for value in option.exponents.values if value]
    return replace(
        record,
        place=option.place,
        exponent=option.exponents.lowest,
        channels=0 if option.exponents.uniform else len(scaled),
        held=tuple(str(value.name) for value in alone.held),
        undone=tuple(undone),
        added=added_names(alone),
    )


def added_names(scaling: Scaling) -> tuple[str, ...]:
    """Tensors that the Mul nodes of a scaling make."""
    multiplied = [f"{node.inputs[position].name}::rescaled" for node, position in scaling.multiplied]  # type: ignore[union-attr]
    return (*dict.fromkeys(multiplied), *(f"{value.name}::restored" for value in scaling.restored))


def _changed(before: Scaling, after: Scaling) -> Iterator[tuple[ir.Node, Step]]:
    return ((node, found) for node, found in after.steps.items() if before.steps.get(node) != found)


def _lossy(case: Case, before: Scaling, after: Scaling) -> Iterable[Loss]:
    """Losses of the constants that are stored low: those of normalisations are fp32."""
    for node, found in _changed(before, after):
        if node in case.wide:
            continue
        for position, edits in found.constants.items():
            value = node.inputs[position]
            if value is not None:
                yield losses.of_constant(value, edits, case.spec.low)


def _worst(case: Case, before: Scaling, after: Scaling) -> Loss | None:
    found = [loss for loss in _lossy(case, before, after) if loss.subnormal or loss.overflow]
    return max(found, key=lambda loss: (loss.overflow > 0, loss.share), default=None)


def _subnormal(case: Case, before: Scaling, after: Scaling) -> int:
    return sum(loss.subnormal for loss in _lossy(case, before, after))


def _refusal(own: Rescaling, loss: Loss, case: Case) -> str:
    low = case.spec.low
    if loss.overflow:
        return f"2^{own.exponent} in {own.place} would put {loss.overflow} elements of {loss.name} beyond {low}"
    return (
        f"2^{own.exponent} in {own.place} would make {loss.subnormal} of {loss.nonzero} elements of {loss.name} "
        f"subnormal in {low} ({loss.share:.2g}); precision.rescale_share allows {case.spec.rescale_share:g}"
    )
