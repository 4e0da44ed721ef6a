"""Hostile variants of a valid file: cut, flipped, repeated, spliced, and numbers and names made extreme."""

from __future__ import annotations

from hypothesis import strategies as st

NASTY = (
    b"",
    b"\x00",
    b"\xff" * 8,
    b"\x7f" + b"\xff" * 7,
    b"-1",
    b"1e999",
    b"NaN",
    b"99999999999999999999",
    b"../../../../etc/passwd",
    b"/etc/passwd",
    b"\\..\\x",
    b"null",
    b"[]" * 64,
    b'{"a":' * 64,
    b"\xed\xa0\x80",
    "‮".encode(),
)
"""What readers stumble over."""


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of `seeds` after up to four changes, or any bytes at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=256))
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        _change(draw, data)
    return bytes(data)


def _change(draw: st.DrawFn, data: bytearray) -> None:
    at = draw(st.integers(0, len(data)))
    match draw(st.integers(0, 5)):
        case 0:
            del data[at:]
        case 1 if at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        case 2:
            data[at:at] = draw(st.sampled_from(NASTY))
        case 3:
            data[at : at + draw(st.integers(0, 16))] = draw(st.sampled_from(NASTY))
        case 4:
            data[at:at] = data[at : at + draw(st.integers(0, 64))]
        case _:
            del data[at : at + draw(st.integers(0, 64))]
