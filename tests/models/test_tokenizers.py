import pickle

import pytest
import tiktoken

from pipeline.core.artifacts import Provenance, Weights
from pipeline.core.errors import SourceError
from pipeline.models import tokenizers

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sat"]


def weights(folder, tokenizer):
    provenance = Provenance(source="local:x", digest="", licence="MIT", real=True)
    return Weights(folder=folder, checkpoint=folder, tokenizer=tokenizer, provenance=provenance)


def encoding():
    special = {tokenizers.BOS: 256, tokenizers.PAD: 257}
    bytes_only = {bytes([value]): value for value in range(256)}
    return tiktoken.Encoding("bytes", pat_str=r"\S+|\s+", mergeable_ranks=bytes_only, special_tokens=special)


def test_reads_a_vocabulary(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    assert tokenizers.find(tmp_path) == tmp_path
    found = tokenizers.load(weights(tmp_path, tmp_path))
    assert found.encode("a cat sat", 8) == [2, 5, 6, 7, 3]
    assert found.encode("a cat sat", 3) == [2, 5, 3]
    assert found.pad_id == 0


def test_reads_a_pickled_tiktoken_encoding(tmp_path):
    (tmp_path / "tokenizer.pkl").write_bytes(pickle.dumps(encoding()))
    found = tokenizers.load(weights(tmp_path, tmp_path))
    assert found.encode("ab", 8) == [256, 97, 98]
    assert found.encode("ab", 2) == [256, 97]
    assert found.pad_id == 257


class Evil:
    def __reduce__(self):
        return print, ("code ran",)


def test_refuses_every_other_class_without_running_it(tmp_path, capsys):
    (tmp_path / "tokenizer.pkl").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(SourceError) as caught:
        tokenizers.load(weights(tmp_path, tmp_path))
    assert str(caught.value) == (
        "tokenizer.pkl: the pickle wants builtins.print, and only tiktoken.core.Encoding is admitted\n"
        "  hint: do not load this file with plain pickle: it can run any code"
    )
    assert capsys.readouterr().out == ""


def test_refuses_a_pickle_that_is_no_encoding(tmp_path):
    (tmp_path / "tokenizer.pkl").write_bytes(pickle.dumps({"plain": "data"}))
    with pytest.raises(SourceError) as caught:
        tokenizers.load(weights(tmp_path, tmp_path))
    assert str(caught.value) == "tokenizer.pkl: not a tiktoken encoding with <|reserved_0|> and <|reserved_1|>"


def test_says_that_there_is_none(tmp_path):
    assert tokenizers.find(tmp_path) is None
    with pytest.raises(SourceError) as caught:
        tokenizers.load(weights(tmp_path, None))
    assert str(caught.value) == (
        "local:x: these weights bring no tokenizer\n  hint: name one under [model.tokenizer] in engine.toml"
    )
