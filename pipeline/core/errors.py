"""What can go wrong because of input or environment: said as what, where, and what to do next.

A `PipelineError` is the user's to mend and prints without a traceback. Anything else that escapes is a
bug of this project and keeps its traceback.
"""

from __future__ import annotations

from typing import ClassVar


class PipelineError(Exception):
    """A failure that the user can act on.

    Args:
        what: What is wrong, with what was found and what was expected.
        where: The file, key path, node or tensor that it concerns.
        hint: What to do next.

    Attributes:
        exit_code: Exit status of the command that raised it (see `pipeline.cli.exit_codes`).
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        """`where: what`, and the hint on a line of its own."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  hint: {self.hint}" if self.hint else head


class SpecError(PipelineError):
    """An `engine.toml` (or a policy file) is wrong."""


class SourceError(PipelineError):
    """Weights, a package, a module or a data set cannot be had or is not what was pinned."""

    exit_code = 3


class Unreachable(SourceError):
    """The Hugging Face hub (or a package index) does not answer from this machine."""


class ExportError(PipelineError):
    """The PyTorch module has no faithful ONNX form at the spec's axes."""

    exit_code = 4


class GraphError(PipelineError):
    """An ONNX graph is invalid, untyped, or holds what this project has no semantics for."""

    exit_code = 4


class CalibrationError(PipelineError):
    """Calibration data is missing, empty, or was observed on another model."""

    exit_code = 4


class PrecisionError(PipelineError):
    """A precision decision is impossible or a policy names nothing."""

    exit_code = 4


class OutOfMemory(PipelineError):
    """A process was killed from outside, most likely because the machine ran out of memory."""

    exit_code = 3


class BuildError(PipelineError):
    """TensorRT refused a graph, or built something other than what was planned."""

    exit_code = 5


class BackendUnavailable(PipelineError):
    """A runtime, device or library that this command needs is not on this machine."""

    exit_code = 3


class ValidationError(PipelineError):
    """A comparison could not be made (a comparison that fails is a verdict, not an error)."""

    exit_code = 5


class BaselineError(PipelineError):
    """An engine has no baseline to be held to, or one that cannot be used."""

    exit_code = 3


class ShipError(PipelineError):
    """A bundle was refused: what it would hold has not been shown to be right."""

    exit_code = 1


class BundleError(PipelineError):
    """A bundle is damaged, or is none."""

    exit_code = 6


class SignatureError(BundleError):
    """A bundle is not signed by the key that was given, or its manifest is not what was signed."""

    exit_code = 7


class KeyFileError(PipelineError):
    """A file is not a key that can sign or check a bundle."""


class StoreError(PipelineError):
    """The store is damaged, locked, or on a file system that cannot hold it."""

    exit_code = 6


class InputError(PipelineError):
    """What was fed to a bundle is not what its graph and its profile take."""
