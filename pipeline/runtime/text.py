"""Text to the inputs of a bundle, with its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.core.artifacts import TensorInfo
from pipeline.core.errors import InputError
from pipeline.runtime.arrays import Array
from pipeline.runtime.interface import Interface
from pipeline.runtime.tokenizer import Tokenizer

TOKENS = "input_ids"
TYPES = "token_type_ids"
POSITIONS = "position_ids"


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
