"""What the stage `ship` is given for a small model that passed, and the bundle that it makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.core.artifacts import EnginePlans, Invocation, OnnxModel, Overrides
from pipeline.core.progress import Silent
from pipeline.core.spec import AxisRange
from pipeline.graph import io
from pipeline.stages.render import render
from pipeline.stages.ship import ship
from tests import records

INVOCATION = Invocation(spec="e" * 64, commit="f" * 40, parameters={"weights": "auto"})


def inputs(folder: Path) -> dict[str, Any]:
    """Arguments of `ship`; their files lie in `folder`."""
    plans, plan, mixed = records.plans(folder / "x.plan"), records.precision(), records.mixed(folder / "mixed")
    report = records.report(subjects=subjects(mixed, plans))
    written = folder / "written"
    written.mkdir()
    return {
        "name": "tiny",
        "axes": {"batch": AxisRange(min=1, opt=8, max=16)},
        "weights": records.weights(folder / "weights"),
        "tokenizer": None,
        "mixed": mixed,
        "plan": plan,
        "plans": plans,
        "report": report,
        "rendered": render(report, plan, plans, out=written, progress=Silent()),
        "invocation": INVOCATION,
        "overrides": Overrides(),
        "names_stripped": False,
    }


def subjects(mixed: OnnxModel, plans: EnginePlans) -> dict[str, str]:
    """What a report says was validated."""
    graphs = {"exported": "1" * 64, "reference": "c" * 64, "mixed": io.model_digest(mixed)}
    return graphs | {item.path.name: item.digest for item in plans.plans}


def shipped(folder: Path, **changed: Any) -> Path:
    """The bundle of `inputs` with some of them changed, in a folder of its own below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "out"
    out.mkdir()
    return ship(**{**inputs(folder), **changed}, out=out, progress=Silent()).folder
