"""Where error is made, rolled up along the tree of modules.

The energy of a layer is the error power that its node adds by itself, relative to the power of its own tensor: the
square of `Injected.relative_l2`, at most 1, and 1 where it makes NaN or infinities. A module's share is the sum over
its layers, those of its submodules included, divided by the sum over the model. It says where error is made, not how
much of it reaches the outputs: that is a `Contribution`, which is measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.core.artifacts import Contribution, Layer

LEAST = 1e-3
"""Share of the final error from which on a module is worth a line."""

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A module, its submodules included.

    Attributes:
        path: Names from the root down; empty for the model.
        share: Share of the model's injected error energy; 0 where there is none at all.
        layers: Tensors made in it.
        bad: Those that are bad.
        nonfinite: Elements that its nodes make NaN or infinite by themselves.
    """

    path: Path
    share: float
    layers: int
    bad: int
    nonfinite: int


def energy(layer: Layer) -> float:
    """What the layer's node adds by itself, from 0 to 1."""
    if layer.injected is None:
        return 0.0
    return 1.0 if layer.injected.nonfinite else min(1.0, layer.injected.relative_l2**2)


def branches(layers: Iterable[Layer]) -> list[Branch]:
    """Every module, parents before their children, in graph order."""
    members: dict[Path, list[Layer]] = defaultdict(list)
    for layer in layers:
        path = tuple(layer.module.split(".")) if layer.module else ()
        for length in range(len(path) + 1):
            members[path[:length]].append(layer)
    whole = sum(energy(layer) for layer in members.get((), []))
    return [_branch(path, items, whole) for path, items in members.items()]


def top(layers: Iterable[Layer], count: int) -> list[Branch]:
    """The modules whose own nodes make most of the error, submodules left out."""
    own: dict[Path, list[Layer]] = defaultdict(list)
    for layer in layers:
        own[tuple(layer.module.split("."))].append(layer)
    whole = sum(energy(layer) for items in own.values() for layer in items)
    found = [_branch(path, items, whole) for path, items in own.items()]
    return sorted((item for item in found if item.share > 0), key=lambda item: -item.share)[:count]


def most(contributions: Iterable[Contribution], count: int) -> list[Contribution]:
    """The modules that add most to the final error, at least `LEAST`, among those whose parts were not measured."""
    found = [item for item in contributions if item.module and item.share >= LEAST]
    opened = {item.module.rpartition(".")[0] for item in found}
    return sorted((item for item in found if item.module not in opened), key=lambda item: -item.noise)[:count]


def _branch(path: Path, layers: list[Layer], whole: float) -> Branch:
    return Branch(
        path=path,
        share=sum(energy(layer) for layer in layers) / whole if whole > 0 else 0.0,
        layers=len(layers),
        bad=sum(layer.bad for layer in layers),
        nonfinite=sum(layer.injected.nonfinite for layer in layers if layer.injected is not None),
    )
