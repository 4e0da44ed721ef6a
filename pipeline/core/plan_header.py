"""The first bytes of a TensorRT-RTX plan: version, size and targets, read without loading anything.

The format is undocumented; what is read here was observed on 1.7.1.116. A header that does not hold together is None.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SIZE = 64
"""Bytes that `read` needs."""

_MAGIC = b"vtrt"
_TARGETS = {1: "7.5", 2: "8.0", 4: "8.6", 8: "8.9", 16: "12.0", 32: "12.1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanHeader:
    """What a TensorRT-RTX plan says of itself first.

    Attributes:
        version: Version of the library that built it, such as `1.7.1.116`.
        length: Bytes that the whole file must have.
        targets: Compute capabilities that it was built for; bits that nobody has seen are left out.
    """

    version: str
    length: int
    targets: tuple[str, ...]


def read(head: bytes) -> PlanHeader | None:
    """The header in the first `SIZE` bytes of a file, or None where they are not those of an RTX plan."""
    if len(head) < SIZE or head[:4] != _MAGIC:
        return None
    (length,) = struct.unpack_from("<Q", head, 16)
    (mask,) = struct.unpack_from("<I", head, 32)
    return PlanHeader(
        version=".".join(str(part) for part in head[24:28]),
        length=length,
        targets=tuple(target for bit, target in _TARGETS.items() if mask & bit),
    )
