"""The registry of floating-point formats: limits, and the noise that one rounding adds.

A format is all that marking, conversion, emulation and validation need to know about a type, so a new one
(fp8, say) is a row here and a row in `precision.semantics`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Format(StrEnum):
    """A floating-point format by its name in specs, plans and reports."""

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"

    @property
    def limits(self) -> Limits:
        """Range and precision of the format."""
        return LIMITS[self]

    @property
    def width(self) -> int:
        """Rank by what survives: what fits a format's range fits that of every format of a higher rank."""
        return WIDTHS[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Range and precision of a binary floating-point format (IEEE 754-2019, clause 3.3).

    Attributes:
        precision: Significand bits p, the implicit one included.
        emin: Exponent of the smallest normal number.
        emax: Exponent of the largest finite number.
        onnx: Name of the ONNX element type that stores it (tf32 is stored as FLOAT).
    """

    precision: int
    emin: int
    emax: int
    onnx: str

    @property
    def bytes(self) -> int:
        """Bytes that one stored number takes."""
        return 4 if self.onnx == "FLOAT" else 2

    @property
    def largest(self) -> float:
        """Largest finite number."""
        return (2.0 - 2.0 ** (1 - self.precision)) * 2.0**self.emax

    @property
    def overflow_from(self) -> float:
        """Smallest magnitude that rounds to infinity (nearest, ties to even)."""
        return (2.0 - 2.0**-self.precision) * 2.0**self.emax

    @property
    def smallest_normal(self) -> float:
        """Smallest normal number."""
        return 2.0**self.emin

    @property
    def smallest_subnormal(self) -> float:
        """Smallest positive number."""
        return 2.0 ** (self.emin - self.precision + 1)

    @property
    def flush_to_zero(self) -> float:
        """Largest magnitude that rounds to zero: half the smallest subnormal, ties to even."""
        return self.smallest_subnormal / 2

    @property
    def unit_roundoff(self) -> float:
        """Largest relative error of one rounding to nearest: 2^-p."""
        return 2.0**-self.precision

    @property
    def rounding_sqnr_db(self) -> float:
        """Expected signal-to-quantisation-noise ratio of one rounding, in dB.

        The error of a rounded significand m in [1, 2) is uniform in +-2^-p, variance 4^-p / 3. For
        significands distributed as 1 / (m ln 2) (Benford; Higham, Accuracy and Stability, 2.9) the mean of
        m^2 is 3 / (2 ln 2). fp16: 74.3 dB, bf16: 56.3 dB.
        """
        signal = 3.0 / (2.0 * math.log(2.0))
        noise = self.unit_roundoff**2 / 3.0
        return 10.0 * math.log10(signal / noise)


LIMITS = {
    Format.FP32: Limits(precision=24, emin=-126, emax=127, onnx="FLOAT"),
    Format.TF32: Limits(precision=11, emin=-126, emax=127, onnx="FLOAT"),
    Format.FP16: Limits(precision=11, emin=-14, emax=15, onnx="FLOAT16"),
    Format.BF16: Limits(precision=8, emin=-126, emax=127, onnx="BFLOAT16"),
}

WIDTHS = {Format.FP16: 0, Format.BF16: 1, Format.TF32: 2, Format.FP32: 3}
