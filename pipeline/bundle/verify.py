"""Tell whether a bundle is whole and whose it is, without loading anything in it.

Digests tell damage. Only a signature that is checked with a key tells tampering: whoever can change a file can change
an unsigned manifest too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.bundle import consistency, container, manifest, signing
from pipeline.bundle.consistency import Kept
from pipeline.bundle.container import Container, Entry
from pipeline.bundle.manifest import File, Manifest
from pipeline.core import digest, serde
from pipeline.core.errors import BundleError

CHUNK = 1 << 20
SHOWN = 20
"""Problems that an error lists; a bundle with more is no less damaged."""

UNSIGNED = "not signed: damage is detected, tampering is not"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was shown of a bundle that is whole.

    Attributes:
        engine: Name of the engine.
        digest: SHA-256 of the manifest.
        core: Digest of the reproducible part.
        checked: What was checked, one line each.
        signed_by: Key id in the signature; None where there is none.
        trusted: Whether the signature is that of the key that was given.
        warnings: What a person should know before using it.
        unvalidated: Reasons not to ship that were overridden by whoever shipped it; empty for a bundle that passed.
    """

    engine: str
    digest: str
    core: str
    checked: tuple[str, ...]
    signed_by: str | None
    trusted: bool
    warnings: tuple[str, ...]
    unvalidated: tuple[str, ...]


def read(bundle: Path) -> Manifest:
    """The manifest of a bundle, a folder or a `.tar.zst`; its signature and files are not looked at.

    Raises:
        BundleError: There is none, or it is not a valid manifest.
    """
    with container.opened(bundle) as files:
        return _parse(files)


def verify(bundle: Path, *, key: Path | bytes | None = None) -> Verification:
    """Check signature, manifest and every file of a bundle; reads all of them, loads none.

    Args:
        bundle: A folder, or a `.tar.zst` file.
        key: PEM file (or its bytes) of the Ed25519 public key that must have signed it. None to accept any.

    Raises:
        SignatureError: `key` was given, and the bundle is not signed by it.
        BundleError: It is no bundle, or something in it is damaged, missing, added, or contradicts the rest.
        KeyFileError: `key` is not a public key.
    """
    public = None if key is None else signing.read_public(key)
    with container.opened(bundle) as files:
        if public is not None:  # before anything in the bundle is parsed
            signing.require(files.manifest, files.signature, public, files.where)
        signature = None if files.signature is None else signing.parse(files.signature, files.where)
        record = _parse(files)
        kept, problems = _survey(files, record)
        content = digest.of_bytes(files.manifest)
    problems += () if problems else tuple(consistency.problems(record, kept))
    _refuse(problems, str(bundle))
    return Verification(
        engine=record.engine,
        digest=content,
        core=record.core,
        checked=tuple(_checked(record, kept, trusted=public is not None)),
        signed_by=None if signature is None else signature.key_id,
        trusted=public is not None,
        warnings=tuple(_warnings(record, kept, signature, trusted=public is not None)),
        unvalidated=record.verdict.overridden,
    )


def _parse(files: Container) -> Manifest:
    where = f"{files.where}/{manifest.FILE}"
    try:
        return manifest.loads(files.manifest)
    except ValueError as error:
        raise BundleError(
            f"not a valid manifest: {serde.first_mistake(error)}",
            where=where,
            hint="take the bundle again from its source",
        ) from error


def _survey(files: Container, record: Manifest) -> tuple[dict[str, Kept], tuple[str, ...]]:
    """Read everything once: what the checks of content need, and what is wrong with the files."""
    kept: dict[str, Kept] = {}
    problems, seen = [], set()
    for entry in files.entries():
        if entry.name in seen:
            problems.append(f"{entry.name}: there twice")
        seen.add(entry.name)
        file = record.files.get(entry.name)
        if entry.flaw is not None:
            problems.append(f"{entry.name}: {entry.flaw}")
        elif file is None:
            problems.append(f"{entry.name}: not in the manifest")
        elif entry.size != file.size:
            problems.append(f"{entry.name}: {entry.size} bytes, expected {file.size}")
        else:
            found, kept[entry.name] = _digest(entry, file)
            if found != file.sha256:
                problems.append(f"{entry.name}: its content does not have the digest in the manifest")
    problems += [f"{name}: missing" for name in sorted(record.files.keys() - seen)]
    return kept, tuple(problems)


def _digest(entry: Entry, file: File) -> tuple[str, Kept]:
    """The SHA-256 of a file, and as much of its content as its role is checked by."""
    wanted = consistency.kept_bytes(file)
    state, head = hashlib.sha256(), bytearray()
    try:
        with entry.open() as stream:
            while chunk := stream.read(CHUNK):
                state.update(chunk)
                head += chunk[: max(0, wanted - len(head))]
    except OSError as error:
        raise BundleError(f"cannot be read: {error.strerror}", where=entry.name) from error
    return state.hexdigest(), bytes(head)


def _refuse(problems: tuple[str, ...], where: str) -> None:
    if not problems:
        return
    lines = [*problems[:SHOWN], *([f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else [])]
    raise BundleError(
        f"{len(problems)} problem{'s' if len(problems) > 1 else ''}" + "".join(f"\n  - {line}" for line in lines),
        where=where,
        hint="do not load it; take the bundle again from its source",
    )


def _checked(record: Manifest, kept: dict[str, Kept], *, trusted: bool) -> Iterator[str]:
    if trusted:
        yield "the signature is that of the given key"
    total = sum(file.size for file in record.files.values())
    yield f"{len(record.files)} files, {total / 1e6:.1f} MB, have the size and SHA-256 in the manifest"
    yield from consistency.checked(record, kept)


def _warnings(
    record: Manifest, kept: dict[str, Kept], signature: signing.Signature | None, *, trusted: bool
) -> Iterator[str]:
    if signature is None:
        yield UNSIGNED
    elif not trusted:
        yield f"signed by key {signature.key_id[:16]}…, which was not checked: no public key was given (--key)"
    for reason in record.verdict.overridden:
        yield f"shipped although: {reason}"
    yield from consistency.unread(record, kept)
