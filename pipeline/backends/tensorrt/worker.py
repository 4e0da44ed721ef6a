"""The build process: `python -m pipeline.backends.tensorrt.worker REQUEST ANSWER PIPE`.

Its stdout and stderr are the log. Progress goes to the file descriptor PIPE, one `phase<TAB>done<TAB>total` a line.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline.backends.tensorrt import builder
from pipeline.backends.tensorrt.logger import BuildLog
from pipeline.backends.tensorrt.records import DISK_FULL, BuildRequest
from pipeline.core import serde
from pipeline.core.store import FULL


def main(arguments: list[str]) -> None:
    """Carry out one request."""
    request_path, answer_path, pipe = arguments
    request = serde.loads(BuildRequest, Path(request_path).read_bytes())
    with os.fdopen(int(pipe), "w", buffering=1) as stream:

        def listen(phase: str, done: int, total: int) -> None:
            print(phase.replace("\t", " ").replace("\n", " "), done, total, sep="\t", file=stream)

        answer = builder.build(request, BuildLog(stream=sys.stderr), listen)
    Path(answer_path).write_text(serde.dumps(answer))


def run(arguments: list[str]) -> int:
    """Exit status of `main`: the error number where a disk is full, so that it is not taken for a refusal."""
    try:
        main(arguments)
    except OSError as error:
        if error.errno not in FULL:
            raise
        return DISK_FULL
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
