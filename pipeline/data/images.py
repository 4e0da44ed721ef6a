"""Reads a folder of pictures: RGB, upright, resized, normalised, channels first. Options stand under `data.image`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.errors import CalibrationError
from pipeline.core.spec import Fit, ImageOptions
from pipeline.data.samples import Array, Request, Sample, sample_axes

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}


def read(request: Request) -> Iterator[Sample]:
    """Every picture below the folder, by name.

    Raises:
        CalibrationError: There is no such folder, a file is no picture, its name has no label where `image.label`
            asks for one, or the model does not have one float32 input (batch, 3, height, width) of fixed size.
    """
    name, height, width = _target(request)
    options = request.data.image
    for path in _files(request):
        where = path.relative_to(request.folder).as_posix()
        yield Sample(
            name=where,
            inputs={name: _pixels(path, where, options, height, width)},
            expected={} if options.label is None else {"label": _label(path.name, where, options.label)},
        )


def _target(request: Request) -> tuple[str, int, int]:
    """Name, height and width of the model's one input."""
    shapes = {name: sample_axes(spec) for name, spec in request.inputs.items() if spec.dtype == "float32"}
    name, shape = next(iter(shapes.items()), ("", ()))
    sizes = [size for size in shape if isinstance(size, int)]
    if len(request.inputs) != 1 or len(sizes) != 3 or sizes[0] != 3:
        raise CalibrationError(
            "reader 'images' gives one float32 input [batch, 3, height, width], and the model's are "
            + "; ".join(f"{name} {spec.dtype} {list(spec.axes)}" for name, spec in request.inputs.items()),
            where=request.name,
            hint="use the reader 'callable' or 'npz'",
        )
    return name, sizes[1], sizes[2]


def _files(request: Request) -> list[Path]:
    if not request.path.is_dir():
        raise CalibrationError("no such folder", where=request.name, hint="`data.path` names a folder of pictures")
    wanted = request.data.image.files
    return sorted(path for path in request.path.rglob(wanted) if path.suffix.lower() in SUFFIXES)


def _pixels(path: Path, where: str, options: ImageOptions, height: int, width: int) -> Array:
    """float32 (3, height, width)."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            fitted = FITS[options.fit](upright, height, width, options)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise CalibrationError(f"not a picture that can be read: {error}", where=where) from error
    values = (np.asarray(fitted, np.float32) - np.asarray(options.mean, np.float32)) / np.asarray(
        options.std, np.float32
    )
    return np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32)


def _crop(image: Image.Image, height: int, width: int, options: ImageOptions) -> Image.Image:
    """Scale the picture to cover the enlarged target, then cut the target out of its middle."""
    scale = max(height / image.height, width / image.width) / options.crop
    resized = _resized(image, scale, height, width)
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    return resized.crop((left, top, left + width, top + height))


def _pad(image: Image.Image, height: int, width: int, options: ImageOptions) -> Image.Image:
    """Scale the picture to fit inside the target, on black."""
    from PIL import Image

    resized = _resized(image, min(height / image.height, width / image.width), 1, 1)
    canvas = Image.new("RGB", (width, height))
    canvas.paste(resized, ((width - resized.width) // 2, (height - resized.height) // 2))
    return canvas


def _stretch(image: Image.Image, height: int, width: int, options: ImageOptions) -> Image.Image:
    from PIL import Image

    return image.resize((width, height), Image.Resampling.BICUBIC)


FITS = {Fit.CROP: _crop, Fit.PAD: _pad, Fit.STRETCH: _stretch}


def _resized(image: Image.Image, scale: float, least_height: int, least_width: int) -> Image.Image:
    from PIL import Image

    size = (max(least_width, round(image.width * scale)), max(least_height, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _label(name: str, where: str, pattern: str) -> Array:
    found = re.search(pattern, name)
    if found is None:
        raise CalibrationError(
            f"its name has no label: it does not match '{pattern}'",
            where=where,
            hint="`image.label` is a regular expression whose first group is the class number",
        )
    if not (digits := found.group(1)).isdecimal():
        raise CalibrationError(f"its label '{digits}' is not a class number", where=where)
    return np.asarray(int(digits), dtype=np.int64)
