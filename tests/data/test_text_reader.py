from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import CalibrationError
from pipeline.core.spec import DataSource, ImageOptions, InputSpec, Reader
from pipeline.data import text
from pipeline.data.samples import Request

MakeRequest = Callable[..., Request]


def refusal(request: Request) -> str:
    with pytest.raises(CalibrationError) as caught:
        list(text.read(request))
    return str(caught.value)


def test_rows_become_tokens_masks_and_types(tmp_path: Path, text_request: MakeRequest) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "two words", "label": 1}\n\n{"text": "one", "label": [0, 2]}\n')
    inputs = {
        **text_request("a.jsonl").inputs,
        "token_type_ids": InputSpec(dtype="int32", axes=("batch", "sequence")),
    }
    first, second = text.read(text_request("a.jsonl", inputs=inputs))
    assert first.inputs["input_ids"].tolist() == [101, 3, 5, 102]
    assert first.inputs["attention_mask"].tolist() == [1, 1, 1, 1]
    assert first.inputs["token_type_ids"].tolist() == [0, 0, 0, 0]
    assert first.inputs["token_type_ids"].dtype == np.int32
    assert (first.name, second.name) == ("a.jsonl:1", "a.jsonl:3")
    assert (first.expected["label"].tolist(), second.expected["label"].tolist()) == (1, [0, 2])


def test_padding_is_the_tokenizers_own(text_request: MakeRequest) -> None:
    assert text.fill(text_request("a.jsonl")) == {"input_ids": 7}


def test_a_boolean_mask_is_boolean(tmp_path: Path, text_request: MakeRequest) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    inputs = {
        "input_ids": text_request("a.txt").inputs["input_ids"],
        "attention_mask": InputSpec(dtype="bool", axes=("batch", "sequence"), masks=("sequence",)),
    }
    (found,) = text.read(text_request("a.txt", inputs=inputs))
    assert found.inputs["attention_mask"].dtype == np.bool_
    assert found.inputs["attention_mask"].all()


def test_long_texts_are_cut_to_the_profile(tmp_path: Path, text_request: MakeRequest) -> None:
    (tmp_path / "a.txt").write_text("word " * 50)
    (found,) = text.read(text_request("a.txt"))
    assert found.inputs["input_ids"].shape == (16,)
    assert found.inputs["input_ids"][-1] == 102


def test_another_key_may_hold_the_text(tmp_path: Path, text_request: MakeRequest) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "hi"}\n')
    assert len(list(text.read(text_request("a.jsonl", text_field="prompt")))) == 1
    assert refusal(text_request("a.jsonl")) == (
        "a.jsonl:1: no text under 'text': its keys are prompt\n"
        "  hint: name the key that holds the text as `data.text_field`"
    )


def test_plain_files_take_labels_from_a_second_file(tmp_path: Path, text_request: MakeRequest) -> None:
    (tmp_path / "a.cor").write_text("one\ntwo words\n")
    (tmp_path / "a.ratings").write_text("1 0.5\n0\t1\n")
    found = list(text.read(text_request("a.cor", labels="a.ratings")))
    assert [sample.expected["label"].tolist() for sample in found] == [[1.0, 0.5], [0.0, 1.0]]


def test_every_text_needs_its_row_of_labels(tmp_path: Path, text_request: MakeRequest) -> None:
    (tmp_path / "a.cor").write_text("one\ntwo\nthree\n")
    (tmp_path / "short.txt").write_text("1\n2\n")
    (tmp_path / "ragged.txt").write_text("1 2\n3\n4 5\n")
    (tmp_path / "words.txt").write_text("good\nbad\nfair\n")
    assert refusal(text_request("a.cor", labels="short.txt")) == (
        "short.txt: 2 rows of labels for 3 samples\n  hint: blank lines do not count in either file"
    )
    for name in ("ragged.txt", "words.txt"):
        assert refusal(text_request("a.cor", labels=name)).startswith(f"{name}: not rows of numbers: ")
    assert refusal(text_request("a.cor", labels="none.txt")) == "none.txt: no such file\n  hint: `data.labels` names it"


def test_the_encoding_is_the_one_that_is_named(tmp_path: Path, text_request: MakeRequest) -> None:
    (tmp_path / "a.txt").write_bytes("costs £3\n".encode("latin-1"))
    assert len(list(text.read(text_request("a.txt", encoding="latin-1")))) == 1
    assert refusal(text_request("a.txt")) == (
        "a.txt: cannot be read as utf-8: 'utf-8' codec can't decode byte 0xa3 in position 6: invalid start byte\n"
        '  hint: name its encoding as `data.encoding`, such as "latin-1"'
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reader": Reader.TEXT, "path": "a.jsonl", "labels": "b.txt"}, "`labels` is for text in plain files"),
        ({"reader": Reader.NPZ, "path": "a.txt", "labels": "b.txt"}, "`labels` is for text in plain files"),
        ({"reader": Reader.TEXT, "path": "a.txt", "image": ImageOptions(crop=0.5)}, "`image` is for reader 'images'"),
    ],
)
def test_options_of_another_reader_are_a_mistake_of_the_spec(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataSource(licence="MIT", **options)


def test_an_unknown_encoding_is_a_mistake_of_the_spec() -> None:
    with pytest.raises(ValueError, match="encoding 'utf-9' is not one that Python knows"):
        DataSource(reader=Reader.TEXT, path="a.txt", licence="MIT", encoding="utf-9")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"text": "cut', "not JSON: Unterminated string starting at: line 1 column 10 (char 9)"),
        ('["text"]', "a list, and a JSON object was expected"),
        ('{"text": "  "}', "no text under 'text': its keys are text"),
        ('{"text": 3}', "no text under 'text': its keys are text"),
        ('{"text": "a", "label": "good"}', "label 'good' is not a number"),
        ('{"text": "a", "label": null}', "label None is not a number"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, text_request: MakeRequest, row: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"text": "good"}}\n{row}\n')
    assert refusal(text_request("a.jsonl")).splitlines()[0] == f"a.jsonl:2: {message}"


def test_a_missing_file_is_named(text_request: MakeRequest) -> None:
    assert refusal(text_request("none.jsonl")) == (
        "none.jsonl: no such file\n  hint: `data.path` names it; see calibration/README.md"
    )


def test_text_cannot_feed_other_inputs(tmp_path: Path, text_request: MakeRequest) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    inputs = {**text_request("a.txt").inputs, "pixels": InputSpec(dtype="float32", axes=("batch", 3))}
    assert refusal(text_request("a.txt", inputs=inputs)) == (
        "a.txt: reader 'text' gives input_ids, token_type_ids and masks, and the model also has pixels\n"
        "  hint: use the reader 'callable' or 'npz', or name the input's mask: masks = [\"sequence\"]"
    )


def test_text_without_a_tokenizer_is_an_error(tmp_path: Path, text_request: MakeRequest) -> None:
    full = text_request("a.txt")
    bare = Request(data=full.data, folder=tmp_path, engine=tmp_path, inputs=full.inputs, axes=full.axes)
    assert refusal(bare) == (
        "a.txt: reader 'text' needs a tokenizer, and the weights bring none\n"
        "  hint: name one under [model.tokenizer], or use the reader 'npz' or 'callable'"
    )
