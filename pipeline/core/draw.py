"""What a command line asks of the validation samples."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Which samples a validation runs on, where the command line says otherwise than the spec.

    Attributes:
        samples: How many; None for `calibration.validate_samples`.
        batch: Samples a batch; None for `calibration.batch`.
        seed: Seed of a random choice among the samples that calibration does not use; None takes the first of them.
        sizes: Dynamic axis to the one size that every batch has along it.
    """

    samples: int | None = None
    batch: int | None = None
    seed: int | None = None
    sizes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("samples", "batch"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.seed is not None and not self.seed >= 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
