"""Ed25519 signatures of a manifest: keys as PEM files, the signature as a small JSON file beside the manifest.

What is signed are the bytes of `manifest.json` as they lie on disk, so other tools can check them too.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.bundle import manifest
from pipeline.core import digest, serde
from pipeline.core.errors import KeyFileError, SignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "ed25519"
PASSPHRASE = "TRT_PIPELINE_KEY_PASSPHRASE"  # noqa: S105 (the name of the variable, not a secret)
"""Environment variable that holds the passphrase of a private key."""

Ask = Callable[[Path], str]
"""Asks a person for the passphrase of a key file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A detached signature, as `manifest.json.sig` holds it.

    Attributes:
        algorithm: `ed25519`.
        key_id: SHA-256 of the raw public key, 64 hex digits.
        signature: The signature in base64.
    """

    algorithm: str
    key_id: str
    signature: str

    def __post_init__(self) -> None:
        if self.algorithm != ALGORITHM:
            raise ValueError(f"algorithm must be {ALGORITHM}, got {self.algorithm!r}")
        if base64.b64encode(self.raw).decode() != self.signature:
            raise ValueError("signature has bits that stand for nothing")

    @property
    def raw(self) -> bytes:
        """The bytes of the signature.

        Raises:
            ValueError: `signature` is not base64.
        """
        return base64.b64decode(self.signature, validate=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A private key, ready to sign.

    Attributes:
        key_id: See `Signature`.
        private: The key.
    """

    key_id: str
    private: Ed25519PrivateKey = field(repr=False)


def sign(folder: Path, signer: Signer) -> Signature:
    """Sign the manifest of the bundle in `folder`; the signature is written beside it.

    The same key and manifest give the same signature.
    """
    content = (folder / manifest.FILE).read_bytes()
    signature = base64.b64encode(signer.private.sign(content)).decode()
    record = Signature(algorithm=ALGORITHM, key_id=signer.key_id, signature=signature)
    (folder / manifest.SIGNATURE).write_text(serde.dumps(record), encoding="utf-8")
    return record


def key_id(public: Ed25519PublicKey) -> str:
    """SHA-256 of a raw public key: by what signatures name it."""
    return digest.of_bytes(public.public_bytes_raw())


def parse(content: bytes, where: str) -> Signature:
    """The signature in the content of a signature file.

    Raises:
        SignatureError: It is not a signature of a kind that is known here.
    """
    try:
        record = serde.loads(Signature, content)
    except ValueError as error:
        raise SignatureError("not a readable Ed25519 signature", where=where, hint=_AGAIN) from error
    if serde.dumps(record).encode() != content:
        raise SignatureError("not a signature as it was written: it was damaged", where=where, hint=_AGAIN)
    return record


def require(content: bytes, signature: bytes | None, public: Ed25519PublicKey, where: str) -> Signature:
    """Check that `signature` was made of `content` by the private key that belongs to `public`.

    Args:
        content: The bytes of the manifest.
        signature: The content of the signature file; None where there is none.
        public: The key that must have signed.
        where: What to name in an error.

    Raises:
        SignatureError: There is no signature, another key made it, or it is of another manifest.
    """
    from cryptography.exceptions import InvalidSignature

    if signature is None:
        raise SignatureError(
            f"not signed, and a key was given: there is no {manifest.SIGNATURE}", where=where, hint=_AGAIN
        )
    record = parse(signature, where)
    if record.key_id != key_id(public):
        raise SignatureError(
            f"signed by key {record.key_id[:16]}…, and the key that was given is {key_id(public)[:16]}…",
            where=where,
            hint="give the public key of whoever made the bundle, or do not trust it",
        )
    try:
        public.verify(record.raw, content)
    except InvalidSignature as error:
        raise SignatureError(
            f"{manifest.FILE} is not what key {record.key_id[:16]}… signed: one of the two was altered",
            where=where,
            hint=_AGAIN,
        ) from error
    return record


def read_public(key: Path | bytes) -> Ed25519PublicKey:
    """A public key from a PEM file, or from the bytes of one.

    Raises:
        KeyFileError: It is not an Ed25519 public key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    where = str(key) if isinstance(key, Path) else "the public key"
    try:
        content = _content(key) if isinstance(key, Path) else key
        found = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        if b"PRIVATE KEY" in content:
            raise KeyFileError(
                "a private key, and signatures are checked with the public one", where=where, hint=_PUBLIC
            ) from error
        raise KeyFileError("not a public key in PEM form", where=where, hint=_MAKE) from error
    if not isinstance(found, Ed25519PublicKey):
        raise KeyFileError("a public key, but not of Ed25519", where=where, hint=_MAKE)
    return found


def read_private(path: Path, ask: Ask | None = None) -> Signer:
    """A private key from a PEM file, ready to sign.

    Its passphrase comes from the environment variable `PASSPHRASE`, else from `ask`.

    Raises:
        KeyFileError: It is not an Ed25519 private key, or the passphrase is missing or wrong.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    content = _content(path)
    passphrase = _passphrase(path, ask) if b"ENCRYPTED" in content else None
    try:
        found = serialization.load_pem_private_key(content, passphrase)
    except (ValueError, UnsupportedAlgorithm) as error:
        what = "not a private key in PEM form" if passphrase is None else "the passphrase is wrong, or the key damaged"
        raise KeyFileError(what, where=str(path), hint=_MAKE) from error
    if not isinstance(found, Ed25519PrivateKey):
        raise KeyFileError("a private key, but not of Ed25519", where=str(path), hint=_MAKE)
    return Signer(key_id=key_id(found.public_key()), private=found)


def generate(private: Path, public: Path, passphrase: bytes | None) -> str:
    """Write a new key pair; returns its key id. The private key's file is readable by its owner alone.

    Raises:
        KeyFileError: One of the files exists: a key is never overwritten; or it cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    shown = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    if existing := [path for path in (private, public) if path.exists()]:
        raise KeyFileError("exists; a key is never overwritten", where=str(existing[0]), hint="give another name")
    _write(private, secret, 0o600)
    _write(public, shown, 0o644)
    return key_id(key.public_key())


_AGAIN = "take the bundle again from its source"
_PUBLIC = "`trt-pipeline keygen` wrote the public key beside it, as *.pub; keep the private one where signing happens"
_MAKE = "`trt-pipeline keygen` makes a pair of keys"


def _passphrase(path: Path, ask: Ask | None) -> bytes:
    given = os.environ.get(PASSPHRASE)
    if given is None and ask is not None:
        given = ask(path)
    if not given:
        raise KeyFileError("the key has a passphrase", where=str(path), hint=f"set {PASSPHRASE}")
    return given.encode()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"cannot read the key: {error.strerror}", where=str(path), hint=_MAKE) from error


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
    except OSError as error:
        raise KeyFileError(f"cannot write the key: {error.strerror}", where=str(path)) from error
