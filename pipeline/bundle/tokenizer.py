"""Which files of a checkpoint folder belong to its tokenizer or preprocessing; weights lie beside them."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

PATTERNS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece*.model",
    "chat_template*",
    "preprocessor_config.json",
    "processor_config.json",
)
"""Names that transformers and tokenizers write. Pickles are none of them: a bundle holds no code but its plans."""


def files(folder: Path) -> list[Path]:
    """The tokenizer files of `folder`, by name."""
    return sorted(
        path for path in folder.iterdir() if path.is_file() and any(fnmatch(path.name, name) for name in PATTERNS)
    )
