"""A tokenizer as `tokenizer.json`, whatever its checkpoint holds: plain data that the library tokenizers reads.

A bundle holds no pickles, and its reader knows no GGUF; what is written here gives the same ids, or is not written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pipeline.core.artifacts import Weights
from pipeline.core.errors import SourceError
from pipeline.models import tokenizers
from pipeline.models.tokenizers import BOS, PAD, Pretrained, Tiktoken

if TYPE_CHECKING:
    import tokenizers as hf

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"

LIMIT = 512
PROBES = (
    "",
    " ",
    "The quick brown fox jumps over the lazy dog.",
    "  two  spaces,\ttabs\n\n and lines \r\n ",
    "1234567890 3.14159 1e-6 0x7F",
    "don't I'll we've THEY'RE",
    "naïve café, Größe, Ελληνικά, русский, 日本語, 한국어, العربية, हिन्दी",
    "👩‍👩‍👧 🇺🇳 \u200b\ufeff e\u0301",
    'def f(x):\n    return {"a": [x**2, -1]}',
    BOS,
    f"{PAD} and {BOS}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ----------------",
)
"""Texts that both forms have to give the same ids for: blanks, digits, contractions, scripts, joiners, code."""


def files(weights: Weights) -> dict[str, str]:
    """Content of `tokenizer.json` and `tokenizer_config.json`, by name.

    Raises:
        SourceError: There is no tokenizer, it cannot be read safely, or that form would give other ids.
    """
    given = tokenizers.load(weights)
    where = weights.provenance.source
    match given:
        case Tiktoken():
            written, special = _of_tiktoken(given), {"pad_token": PAD}
        case Pretrained():
            written, special = _of_pretrained(given, where), _special(given)
        case _:
            raise SourceError(f"no form of {type(given).__name__} is known that a bundle could hold", where=where)
    text = written.to_str(pretty=True) + "\n"
    _require_same(text, given, where)
    return {FILE: text, CONFIG: json.dumps(special, indent=1, sort_keys=True) + "\n"}


def _require_same(text: str, given: tokenizers.Tokenizer, where: str) -> None:
    from tokenizers import Tokenizer

    read = Tokenizer.from_str(text)
    read.enable_truncation(LIMIT)
    for probe in PROBES:
        if read.encode(probe).ids != given.encode(probe, LIMIT):
            raise SourceError(f"as {FILE} this tokenizer gives other ids for {probe!r}", where=where)


def _of_pretrained(given: Pretrained, where: str) -> hf.Tokenizer:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    if not isinstance(given.inner, PreTrainedTokenizerFast):
        raise SourceError("a tokenizer in Python, which a bundle cannot hold", where=where)
    copy = Tokenizer.from_str(given.inner.backend_tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy


def _special(given: Pretrained) -> dict[str, str]:
    names = ("pad_token", "eos_token", "mask_token")
    return {name: str(token) for name in names if (token := getattr(given.inner, name)) is not None}


def _of_tiktoken(given: Tiktoken) -> hf.Tokenizer:
    """Byte-level BPE with the encoding's ranks and pattern; whole pieces that are tokens are not merged, as there."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

    ranks: Mapping[bytes, int] = given.inner._mergeable_ranks  # tiktoken publishes no other way to them
    letters = _letters()
    spelled = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = [(spelled[left], spelled[right]) for left, right in _merges(ranks)]
    vocabulary = {spelled[token]: rank for token, rank in ranks.items()}
    # Special tokens are words of the vocabulary and no more: text that spells one is text, as in `encode_ordinary`.
    vocabulary |= given.inner._special_tokens
    written = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    written.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(given.inner._pat_str), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    written.decoder = decoders.ByteLevel()
    written.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, given.bos_id)]
    )
    return written


def _merges(ranks: Mapping[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """Every pair of tokens that is a token, by the rank of what it gives: the order in which tiktoken merges."""
    for token in sorted(ranks, key=ranks.__getitem__):
        halves = ((token[:at], token[at:]) for at in range(1, len(token)))
        pairs = [(left, right) for left, right in halves if left in ranks and right in ranks]
        yield from sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))


def _letters() -> dict[int, str]:
    """The printable character that byte-level BPE writes for each byte (GPT-2's `bytes_to_unicode`)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + index) for index, byte in enumerate(others)}
