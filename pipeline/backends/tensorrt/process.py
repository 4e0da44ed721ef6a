"""Starting the build process, following it, and turning its end into an answer or an error."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from pipeline.backends.tensorrt import flavour
from pipeline.backends.tensorrt.records import DISK_FULL, BuildAnswer, BuildRequest
from pipeline.core import serde
from pipeline.core.errors import BackendUnavailable, BuildError, OutOfMemory
from pipeline.core.progress import Progress

_TAIL = 8


def build(request: BuildRequest, log: Path, progress: Progress) -> BuildAnswer:
    """Build one plan in a process of its own.

    Args:
        request: What to build.
        log: File that gets all that TensorRT says and prints.
        progress: Told of TensorRT's phases.

    Returns:
        The answer; `built` says whether there is a plan.

    Raises:
        BackendUnavailable: The flavour is not installed.
        BuildError: The process crashed; the error ends with the last lines of the log.
        OutOfMemory: It was killed from outside.
        OSError: The disk is full.
    """
    if flavour.version(request.flavour) is None:
        raise BackendUnavailable(f"{request.flavour} is not installed", hint=flavour.HINTS[request.flavour])
    with tempfile.TemporaryDirectory(prefix="trt-build-") as scratch:
        answer = Path(scratch) / "answer.json"
        question = Path(scratch) / "request.json"
        question.write_text(serde.dumps(request))
        status = _run([str(question), str(answer)], log, progress)
        if status == DISK_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(request.plan))
        if status == -signal.SIGKILL:
            raise OutOfMemory(
                f"{request.flavour} was killed while it built {request.plan.name}",
                where=str(request.onnx),
                hint="nothing of it was kept: free some memory and run again",
            )
        if status != 0 or not answer.exists():
            raise BuildError(
                f"{request.flavour} {_ending(status)} while it built {request.plan.name}\n{_tail(log)}",
                where=str(request.onnx),
                hint=f"the whole log is {log}",
            )
        return serde.loads(BuildAnswer, answer.read_bytes())


def _run(arguments: list[str], log: Path, progress: Progress) -> int:
    """Run the worker with its output in `log`; give its exit status, negative for a signal."""
    reading, writing = os.pipe()
    with log.open("ab") as output, os.fdopen(reading) as phases:
        command = [sys.executable, "-m", "pipeline.backends.tensorrt.worker", *arguments, str(writing)]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=(writing,), env=_environment()
            )
        finally:
            os.close(writing)
        try:
            for line in phases:
                phase, done, total = line.rstrip("\n").split("\t")
                progress.advance(phase, float(done), float(total) or None)
            return process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _environment() -> dict[str, str]:
    """This environment, with the folder of this package importable wherever the run was started."""
    root = str(Path(__file__).parents[3])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _ending(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"failed with exit status {status}"


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()[-_TAIL:]
    return "\n".join(f"    {line}" for line in lines)
