"""Tokenizers that lie beside a checkpoint: transformers' own, the one inside a GGUF file, or a pickled tiktoken one."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from pipeline.core.artifacts import Weights
from pipeline.core.errors import SourceError

TRANSFORMERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
PICKLE = "tokenizer.pkl"
GGUF = "*.gguf"
ADMITTED = ("tiktoken.core", "Encoding")
BOS = "<|reserved_0|>"
PAD = "<|reserved_1|>"


class Tokenizer(Protocol):
    """Text to token ids."""

    @property
    def pad_id(self) -> int:
        """Token that fills the padding."""

    def encode(self, text: str, limit: int) -> list[int]:
        """Token ids with the special ones, at most `limit` of them."""


def find(folder: Path) -> Path | None:
    """`folder` if it holds a tokenizer that `load` can read, else None."""
    names = (*TRANSFORMERS, PICKLE)
    held = any((folder / name).is_file() for name in names) or any(folder.glob(GGUF))
    return folder if held else None


def load(weights: Weights) -> Tokenizer:
    """The tokenizer of a checkpoint.

    Raises:
        SourceError: There is none, or it cannot be read safely.
    """
    folder = weights.tokenizer
    if folder is None:
        raise SourceError(
            "these weights bring no tokenizer",
            where=weights.provenance.source,
            hint="name one under [model.tokenizer] in engine.toml",
        )
    if any((folder / name).is_file() for name in TRANSFORMERS):
        return _pretrained(folder, None)
    if (folder / PICKLE).is_file():
        return _pickled(folder / PICKLE)
    return _pretrained(folder, _only_gguf(folder))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """A tokenizer of transformers."""

    inner: Any
    pad_id: int

    def encode(self, text: str, limit: int) -> list[int]:
        """Token ids with the special ones, at most `limit` of them."""
        return list(self.inner.encode(text, truncation=True, max_length=limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiktoken:
    """A tiktoken encoding under NanoGuard's convention: a begin token first, then ordinary tokens."""

    inner: Any
    bos_id: int
    pad_id: int

    def encode(self, text: str, limit: int) -> list[int]:
        """Token ids with the special ones, at most `limit` of them."""
        return [self.bos_id, *self.inner.encode_ordinary(text)][:limit]


def _pretrained(folder: Path, gguf: str | None) -> Tokenizer:
    import transformers

    from pipeline.models.quiet import quiet

    extra = {} if gguf is None else {"gguf_file": gguf}
    try:
        with quiet():
            inner = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, **extra)
    except Exception as error:  # transformers raises many types for files that are not what they should be
        raise SourceError(f"no readable tokenizer: {error}", where=str(folder)) from error
    pad = inner.pad_token_id if inner.pad_token_id is not None else inner.eos_token_id
    if pad is None:
        raise SourceError("the tokenizer has neither a padding nor an end token", where=str(folder))
    return Pretrained(inner=inner, pad_id=int(pad))


def _only_gguf(folder: Path) -> str:
    files = sorted(folder.glob(GGUF))
    if len(files) != 1:
        raise SourceError(f"{len(files)} GGUF files, expected 1 with the tokenizer", where=str(folder))
    return files[0].name


def _pickled(path: Path) -> Tokenizer:
    with path.open("rb") as stream:
        inner = _Restricted(stream, path).load()
    try:
        return Tiktoken(inner=inner, bos_id=inner.encode_single_token(BOS), pad_id=inner.encode_single_token(PAD))
    except (AttributeError, KeyError) as error:
        raise SourceError(f"not a tiktoken encoding with {BOS} and {PAD}", where=path.name) from error


class _Restricted(pickle.Unpickler):
    """Reads a pickle that holds plain data and at most one class, tiktoken's `Encoding`."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        super().__init__(stream)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """The one admitted class."""
        if (module, name) != ADMITTED:
            raise SourceError(
                f"the pickle wants {module}.{name}, and only {'.'.join(ADMITTED)} is admitted",
                where=self._path.name,
                hint="do not load this file with plain pickle: it can run any code",
            )
        from tiktoken.core import Encoding

        return Encoding
