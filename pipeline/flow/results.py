"""What a run made or found, and which of it the next stage takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.core.runner import Handle
from pipeline.core.spec import EngineSpec


@dataclass(slots=True, kw_only=True)
class Results:
    """What a run made or found, up to where it went.

    Attributes:
        spec: The spec, options applied.
        folder: Where the results for people lie: `engines/<name>/build…`.
        handles: Results by the name of their stage in `ORDER`.
        fresh: Stages that ran.
        reused: Stages whose results were found.
        seeded: Whether the weights are not the real ones.
        refused: Why nothing was shipped, or None.
    """

    spec: EngineSpec
    folder: Path
    handles: dict[str, Handle[Any]] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    seeded: bool = False
    refused: str | None = None

    def artifact(self, stage: str) -> Any:
        """The artifact of a stage, or None if the run did not reach it."""
        handle = self.handles.get(stage)
        return None if handle is None else handle.read()

    @property
    def reference(self) -> Any:
        """The fp32 model that precision was decided for: the canonical one, or what rescaling made of it."""
        return reference_of(self.handles).read()

    @property
    def ranges(self) -> Any:
        """What the tensors of that model held in calibration."""
        return ranges_of(self.handles).read()

    @property
    def plan(self) -> Any:
        """The precision plan that is converted: what the policy decided, or what a search found."""
        return plan_of(self.handles).read()

    @property
    def mixed(self) -> Any:
        """The mixed model that is built: with the mean error of rounding taken out, where that was asked for."""
        return mixed_of(self.handles).read()

    @property
    def shippable(self) -> bool:
        """Whether there is a bundle."""
        return "ship" in self.handles


def reference_of(handles: Mapping[str, Handle[Any]]) -> Handle[Any]:
    """See `Results.reference`."""
    return handles["rescale"].part("model") if _is_rescaled(handles) else handles["canonicalise"]


def ranges_of(handles: Mapping[str, Handle[Any]]) -> Handle[Any]:
    """See `Results.ranges`."""
    return handles["rescale"].part("ranges") if _is_rescaled(handles) else handles["calibrate"]


def plan_of(handles: Mapping[str, Handle[Any]]) -> Handle[Any]:
    """See `Results.plan`."""
    return handles["search"].part("plan") if "search" in handles else handles["mark"]


def mixed_of(handles: Mapping[str, Handle[Any]]) -> Handle[Any]:
    """See `Results.mixed`."""
    return handles["compensate"].part("model") if "compensate" in handles else handles["convert"]


def _is_rescaled(handles: Mapping[str, Handle[Any]]) -> bool:
    return "rescale" in handles and handles["rescale"].read().model is not None
