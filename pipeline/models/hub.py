"""The Hugging Face hub: one pinned revision, safetensors only, nothing written outside the given folder."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from pipeline.core.errors import SourceError, Unreachable

ENDPOINT = "https://huggingface.co"
PROBE_S = 5.0
PATTERNS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
)
"""What is downloaded; pickled checkpoints are not."""


def endpoint() -> str:
    """The hub's address: `HF_ENDPOINT`, or the public one."""
    return os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")


def reachable(timeout_s: float = PROBE_S) -> str | None:
    """Probe the hub.

    Returns:
        None if it answers, else why not, in one line.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        return "HF_HUB_OFFLINE is set"
    address = endpoint()
    if not address.startswith(("https://", "http://")):
        return f"HF_ENDPOINT is no web address: {address}"
    try:
        request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - the scheme was checked
        urllib.request.urlopen(request, timeout=timeout_s).close()  # noqa: S310 - the scheme was checked
    except urllib.error.HTTPError:
        return None  # it answered
    except urllib.error.URLError as error:
        return f"{address} does not answer ({error.reason})"
    except OSError as error:
        return f"{address} does not answer ({error})"
    return None


def fetch(repository: str, revision: str, folder: Path) -> None:
    """Download the safetensors checkpoint, configuration and tokenizer of one commit into `folder`.

    Args:
        repository: `owner/name`.
        revision: Commit, 40 hex digits.
        folder: Existing folder.

    Raises:
        Unreachable: The hub does not answer.
        SourceError: It has no such repository or commit, asks for a login, or has no safetensors there.
    """
    if (problem := reachable()) is not None:
        raise Unreachable(
            f"the Hugging Face hub cannot be reached: {problem}",
            where=repository,
            hint="set HTTPS_PROXY or HF_ENDPOINT, or give a local checkpoint with WEIGHTS=path",
        )
    _download(repository, revision, folder)
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    if not any(folder.glob("*.safetensors")):
        raise SourceError(
            "this revision has no safetensors file; pickled checkpoints are not loaded",
            where=f"{repository}@{revision}",
            hint="pin a revision with safetensors, or convert the checkpoint and give it with WEIGHTS=path",
        )


def _download(repository: str, revision: str, folder: Path) -> None:
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # its cache would lie outside the clone
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    try:
        snapshot_download(repository, revision=revision, local_dir=folder, allow_patterns=list(PATTERNS))
    except HfHubHTTPError as error:
        raise SourceError(
            f"the Hugging Face hub refuses: {str(error).splitlines()[0]}",
            where=f"{repository}@{revision}",
            hint="check owner, name and revision; a gated model needs `hf auth login`",
        ) from error
    except (OSError, HTTPError) as error:
        problem = f"the Hugging Face hub stopped answering: {str(error).splitlines()[0]}"
        raise Unreachable(problem, where=repository, hint="run again") from error
