"""Exit codes of every command, as `--help` and the README state them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What an exit status means. `core.errors` gives each error its own."""

    OK = 0
    NOT_PASSED = 1
    USAGE = 2
    UNAVAILABLE = 3
    MODEL = 4
    ENGINE = 5
    DAMAGED = 6
    UNTRUSTED = 7
    BUG = 70
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "done; for seeded weights too: the run did what it can, and NOT SHIPPABLE is its last line",
    ExitCode.NOT_PASSED: "validation did not pass, a bundle was refused, or an engine is worse than its baseline",
    ExitCode.USAGE: "the command line or a spec is wrong",
    ExitCode.UNAVAILABLE: "weights, a data set, a library, a device or a baseline cannot be had",
    ExitCode.MODEL: "the model has no faithful ONNX form, or no precision plan",
    ExitCode.ENGINE: "TensorRT refused the graph, or a comparison could not be made",
    ExitCode.DAMAGED: "the store or a bundle is damaged",
    ExitCode.UNTRUSTED: "a bundle is not signed by the given key, or was altered since",
    ExitCode.BUG: "a bug of this project; the traceback is printed",
    ExitCode.INTERRUPTED: "interrupted; finished stages are kept",
}


def table() -> str:
    """The codes and their meanings, one line each."""
    return "\n".join(f"  {code:>3}  {MEANINGS[code]}" for code in ExitCode)
