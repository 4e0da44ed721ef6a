"""Differences of two tensors, and what made them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Origin(StrEnum):
    """Where a figure comes from."""

    EMULATED = "emulated"
    ENGINE = "engine"
    TAPPED = "tapped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorStats:
    """Difference of two tensors over a set of samples.

    Statistics are over elements that are finite in both; the counts tell of the others.

    Attributes:
        elements: Elements compared.
        max_abs: Largest absolute difference.
        relative_l2: ||candidate - reference|| / ||reference||; 0 where both are zero, inf where only the reference is.
        cosine: Cosine similarity; 1 where both are zero, 0 where one is.
        sqnr_db: Signal-to-quantisation-noise ratio in dB; inf where equal.
        nan_reference: NaN in the reference.
        nan_candidate: NaN in the candidate.
        inf_reference: Infinities in the reference.
        inf_candidate: Infinities in the candidate.
        mismatched_nonfinite: Positions where one is non-finite and the other is not the same non-finite value
            (NaN never equals NaN).
        worst_sample: Index of the sample with the largest relative error (a mismatch is larger than any), or -1. Where
            the tensor has no axis of samples, of the first one of the worst batch.
        worst_together: Samples that share that error: 1, or those of that batch.
        worst_relative_l2: The relative error of that sample, or batch; inf where it has a mismatch.
        mean_relative_l2: Mean of the relative errors of the samples, or batches.
    """

    elements: int
    max_abs: float
    relative_l2: float
    cosine: float
    sqnr_db: float
    nan_reference: int = 0
    nan_candidate: int = 0
    inf_reference: int = 0
    inf_candidate: int = 0
    mismatched_nonfinite: int = 0
    worst_sample: int = -1
    worst_together: int = 1
    worst_relative_l2: float = 0.0
    mean_relative_l2: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """The error that a node adds by itself: its tensor in the mixed graph, made from the reference's own tensors.

    Statistics are over elements that no mask excludes and that are finite in both.

    Attributes:
        max_abs: Largest absolute difference.
        relative_l2: ||what the node makes - reference|| / ||reference||, as in `ErrorStats`.
        sqnr_db: The same as a ratio in dB; inf where equal.
        nonfinite: Elements that the node makes NaN or infinite where its reference is not.
    """

    max_abs: float
    relative_l2: float
    sqnr_db: float
    nonfinite: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """The error at the graph outputs with only one module's nodes rounding, everything else in fp32.

    Measured on one sample, and relative to the outputs' own power; the mean over float outputs.

    Attributes:
        module: Path of the `nn.Module`; "" for the model.
        nodes: Nodes that round in it, those of its submodules included.
        noise: Power of the error; inf where NaN or infinities reach an output.
        share: `noise` as a share of the model's own, 1 where it is infinite. Shares of parts need not come to that of
            the whole: errors cancel, or reinforce each other.
    """

    module: str
    nodes: int
    noise: float
    share: float


class Kind(StrEnum):
    """What breaks a layer."""

    OVERFLOW = "overflow"
    NONFINITE = "non-finite"
    UNDERFLOW = "underflow"
    CANCELLATION = "cancellation"
    AMPLIFICATION = "amplification"
    ROUNDING = "rounding"
    MASK = "mask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Nodes that break layers after them, though what they read is good.

    Attributes:
        nodes: Neighbours that fail together, in graph order.
        tensor: Tensor of the first of them.
        op: Operator type of the first.
        module: Path of its `nn.Module`.
        part: What of the model it is, where that is known: `RMSNorm`, `attention`, ….
        kind: What happens there.
        why: The same in words, with the figures.
        mend: Which decision would mend it, and what that costs.
        injected: Error that the first node adds by itself.
        spoilt: Bad layers that inherit from it.
    """

    nodes: tuple[str, ...]
    tensor: str
    op: str
    module: str
    part: str | None
    kind: Kind
    why: str
    mend: str
    injected: Injected | None
    spoilt: int
