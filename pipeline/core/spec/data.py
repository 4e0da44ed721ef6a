"""Which data a model is fed with, and how it is read."""

from __future__ import annotations

import codecs
import math
import re
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.core.spec.sources import Package


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
