"""How far figures of a validation move when nothing but the processor changes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """Figures of several validations whose sums came out as other processors might give them.

    Attributes:
        repeats: How many.
        epsilon: Half-width of the relative perturbation of each sum.
        layers: Noise-to-signal ratio (power) of each layer against the reference, one a repeat, by tensor.
        own: Likewise of the error that the layer's node adds by itself; only where it was measured.
        tasks: The task metric of the mixed graph, one a repeat; empty where there is none.
    """

    repeats: int
    epsilon: float
    layers: dict[str, tuple[float, ...]]
    own: dict[str, tuple[float, ...]]
    tasks: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.repeats >= 2:
            raise ValueError(f"a spread needs at least 2 repeats, got {self.repeats}")
