"""A bundle, whichever form it lies in, verified and as a folder."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.bundle import archive, container, manifest, verify
from pipeline.bundle.manifest import Manifest
from pipeline.bundle.verify import Verification
from pipeline.core import digest
from pipeline.core.errors import BundleError


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A verified bundle.

    Attributes:
        source: The folder or archive that was asked for.
        folder: Where its files lie; read them through `content`, which compares what it reads.
        manifest: The very manifest that was verified.
        manifest_bytes: Its bytes.
        signature: Content of the signature file, or None.
        proof: What was shown of it.
    """

    source: Path
    folder: Path
    manifest: Manifest
    manifest_bytes: bytes
    signature: bytes | None
    proof: Verification


@contextmanager
def opened(bundle: Path, *, key: Path | None) -> Iterator[Opened]:
    """Verify a bundle, and unpack it where it is an archive.

    Args:
        bundle: Its folder, or its `.tar.zst`; an archive is unpacked into a private folder that goes with the block.
        key: Public key that must have signed it.

    Raises:
        BundleError: It is none, is damaged, is not signed by `key`, or changes while it is read.
    """
    proof = verify.verify(bundle, key=key)
    with container.opened(bundle) as files:
        content, signature = files.manifest, files.signature
    if digest.of_bytes(content) != proof.digest:
        raise BundleError("its manifest changed while it was verified", where=str(bundle), hint="see who writes it")
    record = manifest.loads(content)
    whole = Opened(
        source=bundle, folder=bundle, manifest=record, manifest_bytes=content, signature=signature, proof=proof
    )
    if not bundle.is_file():
        yield whole
        return
    with tempfile.TemporaryDirectory(prefix="trt-bundle-") as scratch:
        folder = Path(scratch).resolve() / "bundle"
        archive.unpack(bundle, folder, allowed=record)
        yield dataclasses.replace(whole, folder=folder)
