"""Which axes of a module's inputs may vary: those that `torch.export` leaves open, tried by running the module.

Tracing alone is not enough: what a later operator demands may only show when it runs. Running alone is not enough
either: two axes of one size may be one axis or two, and a loop over an axis runs at any size and exports at one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import torch

from pipeline.core.errors import SourceError
from pipeline.models import recurrence
from pipeline.models.interface.trial import Axis, Example, resized, run, takes
from pipeline.models.quiet import quiet

CLOSE = 1e-3
"""Largest relative difference of outputs that are called equal."""


def widened(module: torch.nn.Module, example: Example) -> Example:
    """The example, with two of each sample where it holds one: of an axis of size 1 nothing can be learnt."""
    single = tuple((name, 0) for name, tensor in example.items() if tensor.dim() and tensor.shape[0] == 1)
    pair = resized(example, Axis(places=single, size=1), 2)
    return pair if single and takes(module, pair) else example


def varying(module: torch.nn.Module, example: Example) -> list[Axis]:
    """The axes of the example along which the module takes one more and one less, in the order of their first place.

    Pictures and videos (four axes and more) vary along their samples only.
    """
    found = [axis for axis in _open(module, example) if not _in_picture(axis, example)]
    alone = [axis for axis in found if _varies(module, example, axis)]
    together = _joined([axis for axis in found if axis not in alone])
    both = [*alone, *(axis for axis in together if _varies(module, example, axis))]
    order = list(example)
    return sorted(both, key=lambda axis: [(order.index(name), position) for name, position in axis.places])


def _varies(module: torch.nn.Module, example: Example, axis: Axis) -> bool:
    return all(takes(module, resized(example, axis, axis.size + by)) for by in (1, -1))


def batch(module: torch.nn.Module, example: Example, axes: Sequence[Axis]) -> Axis | None:
    """The axis along which samples are stacked: every output has it, and no sample of it touches another's result."""
    sampled = _uneven(example, axes)
    return next((axis for axis in axes if _independent(module, sampled, axis)), None)


def _open(module: torch.nn.Module, example: Example) -> list[Axis]:
    """Axes to which `torch.export` gives a symbol, or equal sizes where it cannot trace the module."""
    places: dict[str, list[tuple[str, int]]] = {}
    for name, dims in _symbols(module, example).items():
        for position, symbol in enumerate(dims):
            if not symbol.isdecimal():
                places.setdefault(symbol, []).append((name, position))
    axes = [Axis(places=tuple(found), size=example[found[0][0]].shape[found[0][1]]) for found in places.values()]
    # broadcasting hides from tracing that the first axes of inputs are one
    first = [axis for axis in axes if any(position == 0 for _, position in axis.places)]
    return [*_joined(first), *(axis for axis in axes if axis not in first)]


def _joined(axes: Iterable[Axis]) -> list[Axis]:
    """`axes` with those of one size as one."""
    groups: dict[int, list[Axis]] = {}
    for axis in axes:
        groups.setdefault(axis.size, []).append(axis)
    return [
        Axis(places=tuple(p for axis in group for p in axis.places), size=group[0].size) for group in groups.values()
    ]


def _symbols(module: torch.nn.Module, example: Example) -> dict[str, list[str]]:
    """Size or symbol of every dimension of every input."""
    try:
        return _traced(module, example)
    except SourceError:  # the stage `export` gives the reason
        return {
            name: [str(size) if size < 2 or position else f"s{size}" for position, size in enumerate(tensor.shape)]
            for name, tensor in example.items()
        }


def _traced(module: torch.nn.Module, example: Example) -> dict[str, list[str]]:
    shapes = tuple(dict.fromkeys(range(tensor.dim()), torch.export.Dim.AUTO) for tensor in example.values())
    try:
        with quiet(), recurrence.as_operators(module):
            traced = torch.export.export(module, tuple(example.values()), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch raises many types
        raise SourceError(f"torch cannot trace {type(module).__name__}: {error}") from error
    users = set(traced.graph_signature.user_inputs)
    nodes = [node for node in traced.graph.nodes if node.op == "placeholder" and node.name in users]
    return {name: [str(dim) for dim in node.meta["val"].shape] for name, node in zip(example, nodes, strict=True)}


def _in_picture(axis: Axis, example: Example) -> bool:
    return any(example[name].dim() >= 4 and position > 0 for name, position in axis.places)


def _uneven(example: Example, axes: Sequence[Axis]) -> dict[str, torch.Tensor]:
    """The example with every slice of its floats along the axes scaled differently."""
    changed = dict(example)
    for name, position in itertools.chain.from_iterable(axis.places for axis in axes):
        tensor = changed[name]
        if tensor.is_floating_point():
            scales = torch.linspace(0.5, 1.0, tensor.shape[position])
            changed[name] = tensor * scales.reshape([-1 if at == position else 1 for at in range(tensor.dim())])
    return changed


def _independent(module: torch.nn.Module, example: Example, axis: Axis) -> bool:
    """Whether each output has the axis, and its last slice is what the last slices of the inputs give alone."""
    whole = run(module, example)
    longer = run(module, resized(example, axis, axis.size + 1))
    last = dict(example)
    for name, position in axis.places:
        last[name] = example[name].narrow(position, axis.size - 1, 1)
    if not takes(module, last):
        return False
    alone = run(module, last)
    return all(_same(whole[name], longer[name], alone[name]) for name in whole)


def _same(whole: torch.Tensor, longer: torch.Tensor, alone: torch.Tensor) -> bool:
    grown = [at for at, (old, new) in enumerate(zip(whole.shape, longer.shape, strict=True)) if new != old]
    if len(grown) != 1 or longer.shape[grown[0]] != whole.shape[grown[0]] + 1 or alone.shape[grown[0]] != 1:
        return False
    part = whole.narrow(grown[0], whole.shape[grown[0]] - 1, 1).double()
    return bool(torch.allclose(part, alone.double(), rtol=CLOSE, atol=CLOSE * float(whole.double().abs().max())))


def by_place(axes: Mapping[str, Axis]) -> dict[tuple[str, int], str]:
    """Name of the axis at each place."""
    return {place: name for name, axis in axes.items() for place in axis.places}
