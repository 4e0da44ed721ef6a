from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.core.errors import CalibrationError
from pipeline.core.spec import AxisRange, DataSource, Fit, ImageOptions, InputSpec, Reader
from pipeline.data import images
from pipeline.data.samples import Request

INPUTS = {"image": InputSpec(dtype="float32", axes=("batch", 3, 4, 8))}
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def request(folder: Path, inputs: dict[str, InputSpec] = INPUTS, path: str = ".", **options: Any) -> Request:
    return Request(
        data=DataSource(reader=Reader.IMAGES, path=path, licence="MIT", image=ImageOptions(**options)),
        folder=folder,
        engine=folder,
        inputs=inputs,
        axes={"batch": AxisRange(min=1, opt=1, max=1)},
    )


def refusal(found: Request) -> str:
    with pytest.raises(CalibrationError) as caught:
        list(images.read(found))
    return str(caught.value)


def pixels(folder: Path, **options: Any) -> np.ndarray:
    (found,) = images.read(request(folder, **options))
    return found.inputs["image"]


def test_pictures_are_rgb_channels_first_and_normalised(tmp_path: Path) -> None:
    Image.new("RGB", (8, 4), (255, 127, 0)).save(tmp_path / "a.png")
    found = pixels(tmp_path, mean=(127, 127, 127), std=(128, 64, 32))
    assert (found.dtype, found.shape, found.flags.c_contiguous) == (np.float32, (3, 4, 8), True)
    assert found[:, 0, 0].tolist() == [1.0, 0.0, -127 / 32]


def test_grey_palette_and_transparent_pictures_are_read_as_rgb(tmp_path: Path) -> None:
    for mode in ("L", "P", "RGBA"):
        Image.new(mode, (8, 4)).save(tmp_path / f"{mode}.png")
    assert [sample.inputs["image"].shape for sample in images.read(request(tmp_path))] == [(3, 4, 8)] * 3


def test_pictures_taken_with_a_turned_camera_are_set_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 8), RED)
    picture.paste(GREEN, (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter clockwise to show
    picture.save(tmp_path / "a.png", exif=exif)
    found = pixels(tmp_path)
    assert found[0].tolist() == [[1.0] * 4 + [0.0] * 4] * 4


def test_padding_keeps_proportions_on_black(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), RED).save(tmp_path / "a.png")
    found = pixels(tmp_path, fit=Fit.PAD)
    assert found[0].tolist() == [[0, 0, 1, 1, 1, 1, 0, 0]] * 4
    assert not found[1:].any()


def test_cropping_cuts_out_the_middle(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 40), RED)
    picture.paste(GREEN, (0, 18, 8, 22))
    picture.save(tmp_path / "a.png")
    found = pixels(tmp_path)
    assert found[1].tolist() == [[1.0] * 8] * 4


def test_a_smaller_crop_shows_less_of_the_picture(tmp_path: Path) -> None:
    picture = Image.new("RGB", (160, 80), RED)
    picture.paste(BLUE, (40, 20, 120, 60))
    picture.save(tmp_path / "a.png")
    assert pixels(tmp_path)[2].mean() < 0.5 < pixels(tmp_path, crop=0.5)[2].mean()


def test_stretching_ignores_proportions(tmp_path: Path) -> None:
    Image.new("RGB", (3, 50), RED).save(tmp_path / "a.png")
    assert pixels(tmp_path, fit=Fit.STRETCH)[0].tolist() == [[1.0] * 8] * 4


def test_files_are_taken_by_name_and_labelled_by_it(tmp_path: Path) -> None:
    for name in ("cat_12.png", "ant_7.png", "cat_12.txt"):
        path = tmp_path / name
        path.write_text("x") if name.endswith("txt") else Image.new("RGB", (8, 4)).save(path)
    found = list(images.read(request(tmp_path, label=r"_(\d+)\.png$")))
    assert [(sample.name, int(sample.expected["label"])) for sample in found] == [("ant_7.png", 7), ("cat_12.png", 12)]
    assert len(list(images.read(request(tmp_path, files="cat*")))) == 1
    assert refusal(request(tmp_path, label=r"-(\d+)")) == (
        r"ant_7.png: its name has no label: it does not match '-(\d+)'"
        "\n  hint: `image.label` is a regular expression whose first group is the class number"
    )
    assert refusal(request(tmp_path, label=r"^(\w)")) == "ant_7.png: its label 'a' is not a class number"


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 not a picture")
    assert refusal(request(tmp_path)).startswith("a.jpg: not a picture that can be read: ")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert refusal(request(tmp_path, path="none")) == (
        "none: no such folder\n  hint: `data.path` names a folder of pictures"
    )


@pytest.mark.parametrize(
    "inputs",
    [
        {"image": InputSpec(dtype="float32", axes=("batch", 1, 4, 8))},
        {"image": InputSpec(dtype="int64", axes=("batch", 3, 4, 8))},
        {**INPUTS, "scale": InputSpec(dtype="float32", axes=())},
    ],
)
def test_only_one_picture_input_can_be_fed(tmp_path: Path, inputs: dict[str, InputSpec]) -> None:
    message = refusal(request(tmp_path, inputs=inputs))
    assert message.startswith(
        ".: reader 'images' gives one float32 input [batch, 3, height, width], and the model's are image"
    )
    assert message.endswith("hint: use the reader 'callable' or 'npz'")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 0.0}, "crop must lie above 0 and not above 1, got 0.0"),
        ({"crop": float("nan")}, "crop must lie above 0 and not above 1, got nan"),
        ({"std": (1, 0, 1)}, "mean and std must be finite and std not 0, got [0.0, 0.0, 0.0] and [1, 0, 1]"),
        ({"label": "no group"}, "label must be a regular expression with one group, got 'no group'"),
        ({"label": "(open"}, "label must be a regular expression with one group, got '(open'"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is asserted)
        ImageOptions(**options)
    assert str(caught.value) == message
