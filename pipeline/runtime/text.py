"""Text to the inputs of a bundle, with the tokenizer that lies in it: for trying a bundle by hand."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.bundle import content
from pipeline.bundle.opening import Opened
from pipeline.core.artifacts import TensorInfo
from pipeline.core.errors import BackendUnavailable, BundleError, InputError
from pipeline.runtime.arrays import Array
from pipeline.runtime.interface import Interface

FOLDER = "tokenizer"
FILE = f"{FOLDER}/tokenizer.json"
CONFIG = f"{FOLDER}/tokenizer_config.json"

TOKENS = "input_ids"
TYPES = "token_type_ids"
POSITIONS = "position_ids"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """The tokenizer of a bundle.

    Attributes:
        tokenizer: The library's object.
        pad: Token that fills the padding.
        mask: Token that stands for a word to be guessed, or None.
        where: The bundle that it lies in, for errors.
    """

    tokenizer: Any
    pad: int
    mask: int | None
    where: str

    def encode(self, text: str, limit: int) -> list[int]:
        """Token ids with the special ones, at most `limit`.

        Raises:
            BundleError: Its parts contradict one another.
        """
        with _owned(self.where):
            self.tokenizer.no_padding()
            self.tokenizer.enable_truncation(limit)
            ids: list[int] = self.tokenizer.encode(text).ids
        return ids

    def word(self, token: int) -> str:
        """A token as it is read."""
        with _owned(self.where):
            piece: str = self.tokenizer.decode([token], skip_special_tokens=False)
        return piece

    @property
    def size(self) -> int:
        """Number of tokens."""
        count: int = self.tokenizer.get_vocab_size(with_added_tokens=True)
        return count


def of_bundle(bundle: Opened) -> Tokenizer:
    """The tokenizer that lies in a verified bundle.

    Raises:
        InputError: There is none.
        BundleError: There is one, and it cannot be read.
        BackendUnavailable: The library `tokenizers` is not installed.
    """
    where = str(bundle.source)
    if FILE not in bundle.manifest.files:
        raise InputError(f"this bundle has no {FILE}, so it takes no text", where=where, hint="give arrays: --npz FILE")
    if importlib.util.find_spec("tokenizers") is None:
        raise BackendUnavailable("text needs the library tokenizers", hint="pip install tokenizers")
    config = content.read(bundle.folder, CONFIG, bundle.manifest) if CONFIG in bundle.manifest.files else b"{}"
    return parse(content.read(bundle.folder, FILE, bundle.manifest), config, where)


def parse(tokenizer: bytes, settings: bytes, where: str) -> Tokenizer:
    """A tokenizer from the content of `tokenizer.json` and `tokenizer_config.json`. See `of_bundle`."""
    import tokenizers

    with _owned(where):
        found = tokenizers.Tokenizer.from_buffer(tokenizer)
        config = dict(json.loads(settings))
    pad = _token(found, config, "pad_token")
    end = _token(found, config, "eos_token")
    return Tokenizer(
        tokenizer=found,
        pad=next((item for item in (pad, end) if item is not None), 0),
        mask=_token(found, config, "mask_token"),
        where=where,
    )


@contextmanager
def _owned(where: str) -> Iterator[None]:
    """Errors of the library as the bundle's: it has no type for them, and a panic of its Rust is no Exception."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise BundleError(
            f"its tokenizer cannot be used: {error}", where=where, hint="give arrays: --npz FILE"
        ) from error


def feeds(texts: Sequence[str], tokenizer: Tokenizer, takes: Interface) -> dict[str, Array]:
    """One batch of texts, padded to a common length within the profile.

    Raises:
        InputError: The graph has inputs that text does not give, or takes another number of texts.
    """
    low, _, high = _bounds(takes)
    rows = [tokenizer.encode(text, high[1]) for text in texts]
    length = max(low[1], *(len(row) for row in rows))
    count = max(low[0], len(rows))
    if count > high[0]:
        raise InputError(f"{len(rows)} texts, and {takes.source} takes {high[0]} at once")
    ids = np.full((count, length), tokenizer.pad, np.int64)
    mask = np.zeros((count, length), np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return {item.name: _fill(item, ids, mask) for item in takes.inputs}


def _bounds(takes: Interface) -> tuple[tuple[int, ...], ...]:
    bounds = takes.bounds.get(TOKENS)
    if bounds is None or len(bounds[0]) != 2:
        names = ", ".join(item.name for item in takes.inputs)
        raise InputError(f"this bundle takes {names}, and no {TOKENS}, so it takes no text", hint="use --npz FILE")
    return bounds


def _fill(item: TensorInfo, ids: Array, mask: Array) -> Array:
    if item.name == TOKENS:
        return ids.astype(item.dtype)
    if item.name.endswith("mask") and len(item.shape) == 2:
        return mask.astype(item.dtype)
    if item.name == TYPES:
        return np.zeros_like(ids, dtype=item.dtype)
    if item.name == POSITIONS:
        return np.broadcast_to(np.arange(ids.shape[1], dtype=item.dtype), ids.shape).copy()
    raise InputError(f"text gives no input {item.name}", hint="give arrays: --npz FILE")


def read_npz(path: Path) -> dict[str, Array]:
    """Arrays of an `.npz` file; what it expects of the outputs (`expected.…`) is left out.

    Raises:
        InputError: It is not one, or holds pickles.
    """
    if not zipfile.is_zipfile(path):
        raise InputError("not an .npz file", where=str(path), hint="numpy.savez writes them, with an array an input")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if not name.startswith("expected.")}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"not a readable .npz file: {error}", where=str(path)) from error


def _token(tokenizer: Any, config: dict[str, Any], kind: str) -> int | None:
    """Id of a special token that the tokenizer's configuration names, as text or as an object."""
    named = config.get(kind)
    text = named.get("content") if isinstance(named, dict) else named
    found: int | None = tokenizer.token_to_id(text) if isinstance(text, str) else None
    return found
