"""The tokenizer that lies in a bundle, through the library tokenizers: for trying a bundle by hand."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.bundle import content
from pipeline.bundle.opening import Opened
from pipeline.core.errors import BackendUnavailable, BundleError, InputError

FOLDER = "tokenizer"
FILE = f"{FOLDER}/tokenizer.json"
CONFIG = f"{FOLDER}/tokenizer_config.json"


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


def _token(tokenizer: Any, config: dict[str, Any], kind: str) -> int | None:
    """Id of a special token that the tokenizer's configuration names, as text or as an object."""
    named = config.get(kind)
    text = named.get("content") if isinstance(named, dict) else named
    found: int | None = tokenizer.token_to_id(text) if isinstance(text, str) else None
    return found
