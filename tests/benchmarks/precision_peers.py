"""Mixed precision by ours and by the peers, side by side.

Each is given the canonical fp32 model and one calibration batch, the same for all; what each writes is judged alike, by
the emulator on held-out samples and by the plan that TensorRT-RTX builds of it. Results are kept beside the
environments, so that models and contestants can be run one at a time; the table shows all that there are.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline import flow
from pipeline.core import serde
from pipeline.core.errors import PipelineError
from pipeline.core.progress import Silent
from tests.benchmarks import frontier, graph_facts
from tests.benchmarks.measure import Limit, attempt
from tests.benchmarks.peers import AUTOCAST, FOLDER, ROOT, python_with

TITLE = "Mixed precision of one model from one calibration batch"
MODELS = ("minilm", "nanoguard", "mpnet-base", "bert-base", "smollm2")
LARGE = ("mpnet-base", "bert-base", "smollm2")
"""Models that are decided from their smallest calibration batch: the first takes AutoCast more than 12 GB."""

UNPADDED = "minilm"
"""Model that is also decided from a batch without padding, as claim and counter-claim about masks need."""

CONVERTER = ["onnxconverter-common==1.16.0", "onnxruntime==1.23.2", "onnx==1.19.1"]
LIMIT = Limit(cpu_seconds=240, gb=12)
"""What a peer may take: bisection by onnxconverter-common takes hours on larger models."""

RESULTS = FOLDER / "precision-peers"


Row = dict[str, object]
"""One contestant's figures: its cost, its `Facts` where it wrote a graph, and why not where it did not."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One model, prepared."""

    name: str
    results: flow.Results
    batch: Path
    folder: Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Who writes a mixed graph.

    Attributes:
        who: Its name.
        python: Its interpreter; called when it is its turn, because it may have to be installed.
        words: What the interpreter is given.
        written: The graph that it writes, in a folder of its own.
    """

    who: str
    python: Callable[[], str | Path]
    words: Sequence[str | Path]
    written: Path


def main(names: list[str], only: str = "") -> None:
    """Run the models named, or all of them, and print the table of all results there are."""
    if strangers := [name for name in names if name not in MODELS]:
        sys.exit(f"error: no model {strangers[0]!r} here; there are {', '.join(MODELS)}")
    for name in names or MODELS:
        RESULTS.mkdir(parents=True, exist_ok=True)
        for row in _rows(_subject(name), only):
            (RESULTS / f"{name}.json").write_text(json.dumps([*_known(name, row["who"]), row], indent=1))
    _show()


def _known(name: str, but: object = None) -> list[Row]:
    """Rows of a model that were measured before, apart from one contestant's."""
    path = RESULTS / f"{name}.json"
    return [row for row in json.loads(path.read_text()) if row["who"] != but] if path.is_file() else []


def _subject(name: str) -> Subject:
    weights = "seeded" if name == "bert-base" else "auto"
    results = flow.run(name, root=ROOT, options=flow.Options(weights=weights), progress=Silent(), until="canonicalise")
    folder = FOLDER / f"precision-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    for record, stage in (("exported", "export"), ("reference", "canonicalise"), ("samples", "sample")):
        (folder / f"{record}.json").write_text(serde.dumps(results.artifact(stage)))
    return Subject(name=name, results=results, batch=_batch(results, folder), folder=folder)


def _batch(results: flow.Results, folder: Path) -> Path:
    """The first calibration batch, of `LARGE` models the smallest one; inputs alone."""
    found = []
    for batch in results.artifact("sample").calibration.batches:
        with np.load(batch) as file:
            found.append({name: file[name] for name in results.spec.inputs})
    smallest = min(found, key=lambda inputs: sum(array.size for array in inputs.values()))
    np.savez(folder / "batch.npz", **(smallest if results.spec.name in LARGE else found[0]))
    return folder / "batch.npz"


def _unpadded(subject: Subject) -> Path:
    """The same batch cut to its shortest sample, so that nothing is masked."""
    with np.load(subject.batch) as file:
        inputs = {name: file[name] for name in file}
    masks = [name for name, given in subject.results.spec.inputs.items() if given.masks]
    shortest = min(int(inputs[name].sum(axis=1).min()) for name in masks)
    path = subject.folder / "unpadded.npz"
    np.savez(path, **{name: array[:, :shortest] for name, array in inputs.items()})
    return path


def _contestants(subject: Subject, batch: Path) -> Iterator[Contestant]:
    model = subject.results.artifact("canonicalise").path
    for policy in ("sensitive", "search"):
        out = subject.folder / f"ours-{policy}"
        words = ["-m", "tests.benchmarks.precision_ours", subject.name, policy, subject.folder, batch, out]
        yield Contestant(who=f"ours, {policy}", python=lambda: sys.executable, words=words, written=out / "model.onnx")
    for name, extra in (("", []), (", no norms, no softmax", ["LayerNormalization", "Softmax"])):
        out = subject.folder / f"autocast{len(extra)}" / "model.onnx"
        words = ["-m", "modelopt.onnx.autocast", "--onnx_path", model, "--output_path", out]
        words += ["--calibration_data", batch, *(["--op_types_to_exclude", *extra] if extra else [])]
        yield Contestant(
            who=f"AutoCast 0.47{name}", python=partial(python_with, "modelopt", AUTOCAST), words=words, written=out
        )
    out = subject.folder / "converter" / "model.onnx"
    script = Path(__file__).with_name("auto_mixed.py")
    yield Contestant(
        who="auto_mixed_precision 1.16",
        python=partial(python_with, "converter", CONVERTER),
        words=[script, model, batch, out],
        written=out,
    )


def _rows(subject: Subject, only: str) -> Iterator[Row]:
    spec, exported, samples = (subject.results.spec, *map(subject.results.artifact, ("export", "sample")))
    reference = graph_facts.task_of(exported, spec, samples)
    runs = [("", subject.batch)] + ([("unpadded data: ", _unpadded(subject))] if subject.name == UNPADDED else [])
    for prefix, batch in runs:
        for contestant in _contestants(subject, batch):
            who, written = prefix + contestant.who, contestant.written
            left_out = prefix and not contestant.who.startswith(("ours, sensitive", "AutoCast"))
            if left_out or not re.search(only, who):
                continue
            print(f"{subject.name}: {who} …", file=sys.stderr, flush=True)
            _empty(written.parent)
            limit = None if contestant.who.startswith("ours") else LIMIT
            command = [contestant.python(), *contestant.words]
            found = attempt(command, log=subject.folder / f"{who}.log", limit=limit)
            row: Row = {"model": subject.name, "who": who, "data": prefix, "reference": reference}
            row |= {**dataclasses.asdict(found.cost), "failure": found.failure}
            if found.failure is None:
                try:
                    facts = graph_facts.gather(written, spec, exported, samples, reference, written.parent)
                    row |= dataclasses.asdict(facts)
                except PipelineError as error:
                    row["failure"] = f"not a valid graph: {error}"
            yield row


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _show() -> None:
    stopped = f"a peer is stopped after {LIMIT.cpu_seconds} s of processor time, or at {LIMIT.gb} GB"
    table = Table(title=f"{TITLE}; {stopped}", title_justify="left")
    headers = (
        "SQNR dB",
        "rel. L2",
        "task",
        "fp32 task",
        "masked row",
        "fp32 nodes",
        "casts (for sums)",
        "kernels",
        "attn",
        "frontier",
        "s",
        "CPU s",
        "GB",
    )
    for heading in ("model", "", *headers, "note"):
        table.add_column(heading, justify="right" if heading in headers else "left")
    for name in MODELS:
        rows = _known(name)
        for row in rows:
            rivals = [other for other in rows if other["data"] == row["data"] and "sqnr_db" in other]
            table.add_row(*_cells(row, rivals))
        table.add_section()
    console = Console(width=220)
    console.print(table)
    console.print(
        f"frontier: no other row of the same model and data is no worse by all of {', '.join(frontier.MEASURES)} and "
        "better by one; what is named after it, nothing is better by. Else the row that beats it is named."
    )


def _cells(row: Row, rivals: list[Row]) -> Iterator[str]:
    yield str(row["model"])
    yield str(row["who"])
    for name, form in (("sqnr_db", ".1f"), ("relative_l2", ".2e"), ("task", ".5g"), ("reference", ".5g")):
        yield _cell(row.get(name), form)
    masked = row.get("masked_nan")
    yield "–" if masked is None else "finite" if masked == 0 else f"{masked} NaN"
    yield _cell(row.get("fp32_nodes"), "d")
    yield "–" if row.get("casts") is None else f"{row['casts']} ({row.get('sum_casts', 0)})"
    for name in ("kernels", "attentions"):
        yield _cell(row.get(name), "d")
    yield _frontier(row, rivals)
    for name in ("seconds", "cpu_seconds", "peak_gb"):
        yield _cell(row.get(name), ".1f")
    yield str(row.get("failure") or (f"RTX: {row['refused']}" if row.get("refused") else ""))


def _frontier(row: Row, rivals: list[Row]) -> str:
    if row not in rivals:
        return "–"
    if better := frontier.beaten_by(row, rivals):
        return f"no: {better[0]}"
    return f"yes: {', '.join(frontier.leads(row, rivals)) or 'between others'}"


def _cell(value: object, form: str) -> str:
    return "–" if value is None else format(value, form)
