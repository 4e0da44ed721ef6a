"""What every command knows: how much to say, and which clone it works in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.errors import SpecError

if TYPE_CHECKING:
    from pipeline.cli.progress import Reporter

ROOT = "TRT_PIPELINE_ROOT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """State of one call.

    Attributes:
        verbosity: -1 quiet, 0 normal, 1 and more verbose.
    """

    verbosity: int = 0

    @property
    def root(self) -> Path:
        """The clone: `TRT_PIPELINE_ROOT`, or the nearest folder from here upwards that holds a folder `engines`.

        Raises:
            SpecError: There is none.
        """
        here = Path(os.environ[ROOT]) if ROOT in os.environ else Path.cwd()
        for folder in (here, *here.parents) if ROOT not in os.environ else (here,):
            if (folder / "engines").is_dir():
                return folder.resolve()
        raise SpecError("no folder `engines` here or above", where=str(here), hint=f"run from a clone, or set {ROOT}")

    def reporter(self) -> Reporter:
        """Shows progress on stderr: bars on a terminal, lines elsewhere."""
        from pipeline.cli.progress import Reporter

        return Reporter(verbosity=self.verbosity)
