"""What was multiplied by powers of two, and what rounding's mean error was taken out of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.core.artifacts.models import Check, OnnxModel
from pipeline.core.artifacts.samples import ActivationRanges


class Place(StrEnum):
    """Where a power of two is multiplied in.

    Attributes:
        WEIGHTS: Into the layer's own weights and bias, one exponent an output channel.
        NORM: Into scale and bias of the normalisation, or the constant factor, that the layer reads.
        OPERAND: By a Mul before the layer.
    """

    WEIGHTS = "weights"
    NORM = "norm"
    OPERAND = "operand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescaling:
    """One linear layer that is held times a power of two, or is not and why.

    Attributes:
        node: The layer.
        op: Its operator type.
        module: Path of the `nn.Module` that it came from, or "".
        tensor: The tensor that left the low format's range.
        magnitude: Largest magnitude that calibration saw in it.
        place: Where the power of two is multiplied in.
        exponent: The smallest exponent (the most negative) of a channel.
        channels: Channels with an exponent, or 0 where all have the same.
        held: Tensors that are held scaled, in graph order.
        undone: Nodes whose constants undo it.
        added: Mul nodes that were inserted, to scale or to undo it.
        subnormal_weights: Weights that are subnormal in the low format because of it.
        subnormal_activations: Likewise elements of activations over the calibration set.
        refused: Why the layer was left as it is, or None.
    """

    node: str
    op: str
    module: str
    tensor: str
    magnitude: float
    place: Place
    exponent: int = 0
    channels: int = 0
    held: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    subnormal_weights: int = 0
    subnormal_activations: int = 0
    refused: str | None = None

    @property
    def reason(self) -> str:
        """What is done to the layer, and why, in words."""
        by_channel = f" or less ({self.channels} channels)" if self.channels else ""
        where = {
            Place.WEIGHTS: "folded into its weights",
            Place.NORM: "folded into the constants that make its operand",
            Place.OPERAND: "by a Mul before it",
        }[self.place]
        why = f"{self.tensor} reached {self.magnitude:.3g} in calibration"
        return f"held times 2^{self.exponent}{by_channel}, {where}, because {why}{self._losses()}"

    def _losses(self) -> str:
        lost = ((self.subnormal_weights, "weights"), (self.subnormal_activations, "elements of activations"))
        told = " and ".join(f"{count} {what}" for count, what in lost if count)
        return f"; {told} become subnormal, as precision.rescale_share allows" if told else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescaled:
    """The fp32 model in which overflowing linear layers are held times powers of two.

    Attributes:
        model: The model, with the fates of the tensors that are held scaled; None where nothing was rescaled.
        ranges: What its tensors hold over the calibration set; None where nothing was rescaled.
        layers: Every linear layer that leaves the low format's range, in graph order.
        equality: That it computes the same bits in fp32; None where nothing was rescaled.
    """

    model: OnnxModel | None = None
    ranges: ActivationRanges | None = None
    layers: tuple[Rescaling, ...] = ()
    equality: Check | None = None

    def __post_init__(self) -> None:
        given = (self.model is None, self.ranges is None, self.equality is None)
        if len(set(given)) != 1:
            raise ValueError("a rescaled model comes with its ranges and the proof that it is equal")

    @property
    def done(self) -> tuple[Rescaling, ...]:
        """The layers that are held scaled."""
        return tuple(layer for layer in self.layers if layer.refused is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensation:
    """One linear layer, and what taking out the mean error of rounding does to it on held-out samples.

    Attributes:
        node: The layer.
        op: Its operator type.
        module: Path of the `nn.Module` that it came from, or "".
        tensor: The result whose error was measured.
        adder: Node that adds the bias.
        largest: Largest magnitude of a correction.
        before_db: SQNR of the tensor without the correction.
        after_db: SQNR with it.
        refused: Why the bias was left as it was, or None.
    """

    node: str
    op: str
    module: str
    tensor: str
    adder: str
    largest: float
    before_db: float
    after_db: float
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputGain:
    """SQNR of one graph output on held-out samples without and with all corrections together."""

    output: str
    before_db: float
    after_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensated:
    """The mixed model with the mean error of rounding taken out.

    Attributes:
        model: The model; where no correction is used, the one that was given.
        layers: Every layer that was tried, in graph order.
        outputs: What the corrections that helped their layers do to the graph's outputs.
        samples: Held-out samples.
        refused: Why none of the corrections is used, or None.
    """

    model: OnnxModel
    layers: tuple[Compensation, ...]
    outputs: tuple[OutputGain, ...]
    samples: int
    refused: str | None = None
