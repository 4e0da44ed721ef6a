import json
import pickle

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline.core.artifacts import Provenance, Weights
from pipeline.core.errors import SourceError
from pipeline.models import portable_tokenizer, tokenizers

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "quick", "##s", "1", "##2"]
MERGED = [b"th", b"he", b"the", b" the", b"aa", b"aaa", b"aaaa", b"\xc3\xa9", b"he the"]
"""Tokens of more than one byte: some have several halves, and one that no pattern below gives whole."""


def weights(folder):
    provenance = Provenance(source="local:x", digest="", licence="MIT", real=True)
    return Weights(folder=folder, checkpoint=folder, tokenizer=folder, provenance=provenance)


def pickled(folder, pattern):
    ranks = {bytes([value]): value for value in range(256)}
    ranks |= {token: 256 + index for index, token in enumerate(MERGED)}
    special = {tokenizers.BOS: 300, tokenizers.PAD: 301}
    encoding = tiktoken.Encoding("small", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
    (folder / tokenizers.PICKLE).write_bytes(pickle.dumps(encoding))
    return weights(folder)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """An encoding as it is pickled, and what was written for it."""
    found = pickled(tmp_path_factory.mktemp("both"), r" ?\p{L}+|[^\s\p{L}]|\s+")
    files = portable_tokenizer.files(found)
    assert json.loads(files["tokenizer_config.json"]) == {"pad_token": tokenizers.PAD}
    return tokenizers.load(found), Tokenizer.from_str(files["tokenizer.json"])


@given(text=st.text() | st.text(alphabet="the a"))
def test_any_text_gets_the_ids_of_the_pickled_encoding(both, text):
    pickled, written = both
    assert written.encode(text).ids == pickled.encode(text, 10**9)
    assert written.token_to_id(tokenizers.PAD) == pickled.pad_id


def test_truncation_keeps_the_first_token(both):
    pickled, written = both
    written.enable_truncation(3)
    assert written.encode("the thé the").ids == pickled.encode("the thé the", 3)
    written.no_truncation()


def test_an_encoding_that_would_read_text_as_a_special_token_is_refused(tmp_path):
    with pytest.raises(SourceError) as caught:
        portable_tokenizer.files(pickled(tmp_path, r"\S+|\s+"))
    assert str(caught.value) == f"local:x: as tokenizer.json this tokenizer gives other ids for {tokenizers.BOS!r}"


def test_a_vocabulary_is_written_with_its_special_tokens(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    files = portable_tokenizer.files(weights(tmp_path))
    assert Tokenizer.from_str(files["tokenizer.json"]).encode("The quicks 12").ids == [2, 5, 6, 7, 8, 9, 3]
    assert json.loads(files["tokenizer_config.json"]) == {"mask_token": "[MASK]", "pad_token": "[PAD]"}


def test_the_same_tokenizer_gives_the_same_bytes(tmp_path):
    found = pickled(tmp_path, r" ?\p{L}+|[^\s\p{L}]|\s+")
    assert portable_tokenizer.files(found) == portable_tokenizer.files(found)
