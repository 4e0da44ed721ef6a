"""Which format each node computes in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from pipeline.core.formats import Format


class Basis(StrEnum):
    """What a decision rests on.

    Attributes:
        PROOF: Bounds that hold for every input that the spec admits.
        SAMPLES: What calibration saw.
        USER: A user's word: a pattern, a policy that decides everything, the types that a model arrived with.
        RULE: What the operator does, or what its neighbours compute in, whatever the values are.
    """

    PROOF = "proof"
    SAMPLES = "samples"
    USER = "user"
    RULE = "rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What a narrow format holds instead of the huge negative elements of a mask (see `pipeline.precision.masks`).

    Attributes:
        tensor: Name of the tensor.
        value: Its smallest element in a narrow format.
    """

    tensor: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The precision of one node.

    Attributes:
        node: Node name.
        op: Operator type.
        module: Path of the `nn.Module` that it came from, or "".
        operands: Format of its float operands; None where it has none (integer and shape computation).
        accumulator: Format in which it sums; None where it does not sum or the format is the operands'.
        result: Format of its float results; None where it has none.
        rule: Name of the rule that decided.
        reason: In words, with the figure that decided.
        basis: What it rests on: for a node in a low format, why its values fit that.
        margin: How many times larger than observed the values of a node in a low format may be; None where nothing was
            observed, or nothing is stored low.
        bound: Largest magnitude that its values can have for any input; infinite where none is known, None where
            nothing is stored low.
        floors: Tensors with masked elements that a node in a narrow format reads or makes, and what holds them there.
    """

    node: str
    op: str
    module: str
    operands: Format | None
    accumulator: Format | None = None
    result: Format | None
    rule: str
    reason: str
    basis: Basis = Basis.RULE
    margin: float | None = None
    bound: float | None = None
    floors: tuple[Floor, ...] = ()

    @property
    def at_risk(self) -> bool:
        """Whether its values fit only as far as the samples tell: no bound shows that they always do."""
        return self.basis is Basis.SAMPLES and self.bound is not None

    @property
    def grounds(self) -> str:
        """What it rests on, in words, with the figures."""
        if self.basis is Basis.PROOF and self.bound is not None:
            return f"proof: at most {self.bound:.3g} for any input"
        if self.margin is None:
            return str(self.basis)
        known = "no bound is known" if self.bound in (None, math.inf) else f"bounds allow {self.bound:.3g}"
        return f"{self.basis}: {self.margin:.3g} times under the limit, {known}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """A tensor in a low format whose range still grew when calibration ended, not far from the format's limit.

    Attributes:
        tensor: Its name.
        magnitudes: Largest magnitude after each part of calibration.
        limit: Largest number of its format.
    """

    tensor: str
    magnitudes: tuple[float, ...]
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionPlan:
    """One decision a node, in graph order.

    Attributes:
        model: Digest of the ONNX file that it was made for.
        policy: Name of the policy, or path of the policy file.
        low: The low format.
        decisions: One a node of the main graph, in graph order.
        growing: Tensors of which calibration may not have seen enough.
    """

    model: str
    policy: str
    low: Format
    decisions: tuple[Decision, ...]
    growing: tuple[Growing, ...] = ()
