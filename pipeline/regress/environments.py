"""Virtual environments with other versions, made with pip and the clone's constraints."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.core import digest
from pipeline.core.errors import SourceError, SpecError
from pipeline.core.progress import Progress

CONSTRAINTS = ".constraints.txt"
SOURCE = Path(__file__).parents[2]
"""Where this project itself is installed from."""

READY = "ready"
DISTRIBUTION = "trt-pipeline"
SHARED = ("fetch", "fetch_files")
"""Stages whose results no version changes: they are not fetched again."""

TIMEOUT_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One environment, not necessarily made yet.

    Attributes:
        requirements: What differs from the clone's constraints, such as `tensorrt-rtx==1.6.1.120`.
        folder: Where it lies, in the store.
    """

    requirements: tuple[str, ...]
    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "venv" / "bin" / "python"

    @property
    def root(self) -> Path:
        """A clone's folders of its own, so that no result of this clone is replaced."""
        return self.folder / "root"


def of(text: str, store: Path) -> Environment:
    """The environment that `text` asks for: pinned requirements, separated by commas.

    Raises:
        SpecError: A requirement is none, is not pinned with `==`, or is not a dependency of this project.
    """
    requirements = tuple(_requirement(part.strip()) for part in text.split(","))
    key = digest.of_value([sys.version, requirements, _constraints(requirements)])
    return Environment(requirements=requirements, folder=store / "environments" / key[:16])


def make(environment: Environment, progress: Progress) -> None:
    """Make an environment unless it is there already.

    Raises:
        SourceError: pip cannot install it.
    """
    if (environment.folder / READY).is_file():
        return
    shutil.rmtree(environment.folder, ignore_errors=True)
    environment.folder.mkdir(parents=True)
    progress.note(f"installing {', '.join(environment.requirements)} into an environment of its own …")
    _run([sys.executable, "-m", "venv", str(environment.folder / "venv")], environment)
    with tempfile.TemporaryDirectory() as scratch:
        constraints = Path(scratch) / "constraints.txt"
        constraints.write_text(_constraints(environment.requirements), encoding="utf-8")
        install = ["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        what = [*environment.requirements, "--editable", f"{SOURCE}[build]"]
        _run([str(environment.python), *install, "--constraint", str(constraints), *what], environment)
    (environment.folder / READY).touch()


def lay_out(environment: Environment, root: Path) -> None:
    """Give an environment the engines and the data of the clone at `root`, and what was fetched for it."""
    for name in ("engines", "calibration"):
        shutil.rmtree(environment.root / name, ignore_errors=True)
        if (root / name).is_dir():
            ignored = shutil.ignore_patterns("build", "build-*", "__pycache__")
            shutil.copytree(root / name, environment.root / name, ignore=ignored)
    for stage in SHARED:
        for entry in (root / ".trt-pipeline" / "entries" / stage).glob("*"):
            target = environment.root / ".trt-pipeline" / "entries" / stage / entry.name
            if not target.exists():
                shutil.copytree(entry, target, copy_function=os.link)


def run(environment: Environment, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this project in an environment."""
    variables = {**os.environ, "TRT_PIPELINE_ROOT": str(environment.root), "PYTHONPATH": str(SOURCE)}
    command = [str(environment.python), "-m", "pipeline.cli", *words]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def _requirement(text: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    hint = "name a dependency with its version, such as tensorrt-rtx==1.6.1.120"
    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        raise SpecError(f"not a requirement: {text!r}", where="--with", hint=hint) from error
    pins = list(found.specifier)
    if found.url or found.extras or found.marker or len(pins) != 1 or pins[0].operator != "==":
        raise SpecError(f"not pinned to one version: {text!r}", where="--with", hint=hint)
    known = {canonicalize_name(Requirement(line).name) for line in importlib.metadata.requires(DISTRIBUTION) or ()}
    if canonicalize_name(found.name) not in known:
        raise SpecError(f"{found.name} is no dependency of this project", where="--with", hint=hint)
    return f"{canonicalize_name(found.name)}=={pins[0].version}"


def _constraints(requirements: tuple[str, ...]) -> str:
    """The clone's constraints, less what is asked for otherwise."""
    file = SOURCE / CONSTRAINTS
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    asked = {requirement.partition("==")[0] for requirement in requirements}
    return "\n".join(line for line in lines if line.partition("==")[0].lower().replace("_", "-") not in asked) + "\n"


def _run(command: list[str], environment: Environment) -> None:
    where = ", ".join(environment.requirements)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"pip did not finish in {TIMEOUT_S} seconds", where=where) from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or [done.stderr[-300:]]
        raise SourceError(
            f"the environment cannot be made: {said[-1].removeprefix('ERROR: ')}",
            where=where,
            hint="see which versions exist with: pip index versions NAME",
        )
