from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.spec import AxisRange, DataSource, InputSpec, Reader
from pipeline.data.samples import Request


class Words:
    """Tokenises by words: a word's token is its length; 101 begins and 102 ends a text."""

    pad_id = 7

    def encode(self, text: str, limit: int) -> list[int]:
        return [*[101, *(len(word) for word in text.split())][: limit - 1], 102]


TEXT_INPUTS = {
    "input_ids": InputSpec(dtype="int64", axes=("batch", "sequence")),
    "attention_mask": InputSpec(dtype="int64", axes=("batch", "sequence"), masks=("sequence",)),
}
TEXT_AXES = {"batch": AxisRange(min=1, opt=4, max=8), "sequence": AxisRange(min=4, opt=8, max=16)}


@pytest.fixture
def text_request(tmp_path: Path) -> Callable[..., Request]:
    """A request for text in `tmp_path`, tokenised by words."""

    def make(path: str, *, inputs: Mapping[str, InputSpec] = TEXT_INPUTS, **options: Any) -> Request:
        return Request(
            data=DataSource(reader=Reader.TEXT, path=path, licence="CC0-1.0", **options),
            folder=tmp_path,
            engine=tmp_path,
            inputs=inputs,
            axes=TEXT_AXES,
            tokenizer=Words(),
        )

    return make
