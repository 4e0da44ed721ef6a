"""Published peak rates of one GPU for each build target: what turns FLOPs and bytes into one number.

They weigh work; they predict no latency, since no kernel reaches its peak. From NVIDIA's architecture white papers,
appendix "comparison of GPUs", dense figures: Turing (RTX 2080 Ti), A100, GA102 (RTX 3090), Ada (RTX 4090) and
RTX Blackwell (RTX 5090).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.formats import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Peaks of one GPU.

    Attributes:
        gpu: Its name.
        bandwidth: Memory bandwidth, in TB/s (10^12 bytes).
        vector: Arithmetic outside tensor cores, fp32 and fp16 alike, in TFLOPS.
        tf32: Products in TF32, in TFLOPS; None where the GPU has none.
        fp16: Products of fp16 summed in fp16, in TFLOPS.
        fp16_fp32: Products of fp16 summed in fp32, in TFLOPS.
        bf16: Products of bf16, which always sum in fp32; None where the GPU has none.
    """

    gpu: str
    bandwidth: float
    vector: float
    tf32: float | None
    fp16: float
    fp16_fp32: float
    bf16: float | None

    def product(self, operands: Format, accumulator: Format | None, *, tf32: bool = False) -> float:
        """Peak rate of a product in these formats, in TFLOPS; a format that the GPU has none of runs as fp32."""
        if operands is Format.FP16:
            return self.fp16 if accumulator in (None, Format.FP16) else self.fp16_fp32
        if operands is Format.BF16:
            return self.bf16 or self.vector
        return (self.tf32 or self.vector) if tf32 or operands is Format.TF32 else self.vector


RATES = {
    "7.5": Rates(gpu="RTX 2080 Ti", bandwidth=0.616, vector=13.4, tf32=None, fp16=107.6, fp16_fp32=53.8, bf16=None),
    "8.0": Rates(gpu="A100 40 GB", bandwidth=1.555, vector=19.5, tf32=156.0, fp16=312.0, fp16_fp32=312.0, bf16=312.0),
    "8.6": Rates(gpu="RTX 3090", bandwidth=0.936, vector=35.6, tf32=35.6, fp16=142.3, fp16_fp32=71.2, bf16=71.2),
    "8.9": Rates(gpu="RTX 4090", bandwidth=1.008, vector=82.6, tf32=82.6, fp16=330.3, fp16_fp32=165.2, bf16=165.2),
    "12.0": Rates(gpu="RTX 5090", bandwidth=1.792, vector=104.8, tf32=104.8, fp16=419.0, fp16_fp32=209.5, bf16=209.5),
}
"""By compute capability."""

PREFERRED = "8.9"


def of_targets(targets: Sequence[str]) -> Rates:
    """Rates of the preferred target where it is among `targets`, else of the first that has any, else the preferred."""
    known = [target for target in targets if target in RATES]
    return RATES[PREFERRED if PREFERRED in known or not known else known[0]]
