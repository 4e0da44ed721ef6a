"""Which nodes have to return to fp32 for a failing mixed graph to pass, and not one more."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from pipeline.analysis.bisection import single_samples
from pipeline.analysis.bisection.delta import drop, minimise
from pipeline.analysis.bisection.regions import Closure, regions
from pipeline.analysis.bisection.trials import Case, Trials, Try
from pipeline.analysis.verdict.judge import Answer
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import TensorRange
from pipeline.core.errors import ValidationError
from pipeline.core.formats import Format
from pipeline.core.progress import Progress
from pipeline.graph import io, modules
from pipeline.precision import casts
from pipeline.precision.emulation.emulate import emulate
from pipeline.precision.emulation.switch import returned


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """One node that has to compute in fp32.

    Attributes:
        node: Its name.
        op: Its operator type.
        module: Path of its `nn.Module`.
        reason: What the low format does to it.
        along: Nodes whose too large results it would round again, the reason why it goes along with them.
        without: What fails if it alone stays low.
    """

    node: str
    op: str
    module: str
    reason: str
    along: tuple[str, ...]
    without: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisection:
    """What was found.

    Attributes:
        policy: Policy of the mixed graph.
        criterion: When it passes, in words.
        before: The mixed graph as it is.
        after: With `returned` in fp32.
        low_sums: The same where TensorRT sums products in the low format too.
        returned: The nodes, in graph order; empty where the graph passes as it is. Leaving out any one fails.
        rounding: Nodes that round in the mixed graph.
        tries: How often the graph was run over the samples.
    """

    policy: str
    criterion: str
    before: Answer
    after: Answer
    low_sums: Answer | None
    returned: tuple[Return, ...]
    rounding: int
    tries: int


def bisect(case: Case, progress: Progress) -> Bisection:
    """Find a 1-minimal set of nodes whose return to fp32 makes the mixed graph of `case` pass.

    Delta debugging over connected regions, each try with its closure (see `Closure`), then over the nodes of those that
    are left: first on single samples, then under the whole criterion.

    Raises:
        ValidationError: It fails with every node in fp32 too.
    """
    trials = Trials(case, progress)
    before = trials(frozenset())
    if before.passed:
        return _bisection(case, trials, before, before, ())
    with tempfile.TemporaryDirectory() as folder:
        singles = single_samples.write(case.samples.validation.batches, case.inputs, Path(folder))
        return _found(case, trials, before, singles, progress)


def _found(case: Case, trials: Trials, before: Answer, singles: Sequence[Path], progress: Progress) -> Bisection:
    model = io.load(case.reference.path)
    closure = Closure(model, trials.nodes, case.ranges)
    found = _search(case, model, trials, closure, singles, progress)
    why = _Why(model=model, ranges=case.ranges, low=case.plan.low)
    returns = tuple(why.of(name, closure.sources(name, found), trials(frozenset(found) - {name})) for name in found)
    return _bisection(case, trials, before, trials(frozenset(found)), returns)


def _search(
    case: Case, model: ir.Model, trials: Trials, closure: Closure, singles: Sequence[Path], progress: Progress
) -> tuple[str, ...]:
    """What mends every sample alone; from there, or from everything, one by one under the whole criterion."""
    hint = _hint(model, trials, closure, singles, progress)
    if not (hint and trials(hint).passed):
        _require_mendable(case, trials)
        hint = _mending(model, trials.nodes, trials, closure, frozenset())
    progress.note(f"{len(hint)} of {len(trials.nodes)} nodes are left; leaving them out one by one")
    return drop([name for name in trials.nodes if name in hint], lambda kept: trials(frozenset(kept)).passed)


def _hint(
    model: ir.Model, trials: Trials, closure: Closure, singles: Sequence[Path], progress: Progress
) -> frozenset[str]:
    """Nodes that mend each sample alone, found on as few samples as will do.

    Some samples are mended together; as long as another fails with what mends them, it joins them. The smallest comes
    first, so that most is found on few tokens.
    """
    found: frozenset[str] = frozenset()
    asking, joined = [trials.on(sample) for sample in singles], list[Try]()
    while failing := next((alone for alone in asking if not alone(found).passed), None):
        if failing(frozenset(trials.nodes)).passed:
            joined.insert(0, failing)
            found = _mending(model, trials.nodes, _together(joined), closure, found)
            progress.note(
                f"samples mended together: {len(joined)}, with {len(found)} of {len(trials.nodes)} nodes in fp32"
            )
        else:
            asking.remove(failing)
    return found


def _together(samples: Sequence[Try]) -> Try:
    """The question of several samples: the answer of the first that fails, or the last one's."""

    def ask(back: frozenset[str]) -> Answer:
        *others, last = samples
        failed = (answer for alone in others if not (answer := alone(back)).passed)
        return next(failed, None) or last(back)

    return ask


def _require_mendable(case: Case, trials: Trials) -> None:
    everything = trials(frozenset(trials.nodes))
    if not everything.passed:
        raise ValidationError(
            f"it fails with every node in fp32 too: {everything.reason}",
            where=str(case.reference.path),
            hint="precision is not what is wrong; compare the exported and the canonical model with "
            "`trt-pipeline compare`",
        )


def _mending(
    model: ir.Model, rounding: Sequence[str], trial: Try, closure: Closure, given: frozenset[str]
) -> frozenset[str]:
    """Nodes that pass and of which none can be left out.

    Regions are searched beside those `given`, then their nodes, then whether all of those given are still needed.
    """
    parts = regions([node for node in model.graph if str(node.name) in set(rounding) - given])
    left = minimise(parts, lambda kept: trial(closure((*given, *_names(kept)))).passed)
    passing = closure((*given, *_names(left)))
    added = [name for name in rounding if name in passing - given]
    few = drop(added, lambda kept: trial(given.union(kept)).passed, together=max(len(added) // 2, 1))
    ordered = [name for name in rounding if name in given.union(few)]
    return frozenset(drop(ordered, lambda kept: trial(frozenset(kept)).passed))


def _names(parts: Sequence[Sequence[ir.Node]]) -> list[str]:
    return [str(node.name) for part in parts for node in part]


def _bisection(case: Case, trials: Trials, before: Answer, after: Answer, returns: tuple[Return, ...]) -> Bisection:
    return Bisection(
        policy=case.plan.policy,
        criterion=case.criterion,
        before=before,
        after=after,
        low_sums=_low_sums(case, trials, {item.node for item in returns}) if returns else None,
        returned=returns,
        rounding=len(trials.nodes),
        tries=trials.count,
    )


def _low_sums(case: Case, trials: Trials, back: set[str]) -> Answer:
    """The graph that `convert` would write, with the accumulators that `validate` tries too."""
    model = io.load(case.reference.path)
    decisions = [returned(item) if item.node in back else item for item in case.plan.decisions]
    casts.apply(model, decisions)
    return trials.ask(Session(emulate(model, accumulate=Format(case.plan.low)), as_written=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Why:
    """Says in words what the low format does to a node."""

    model: ir.Model
    ranges: Mapping[str, TensorRange]
    low: Format

    def of(self, name: str, along: tuple[str, ...], without: Answer) -> Return:
        node = next(node for node in self.model.graph if node.name == name)
        operands = [value for value in node.inputs if value is not None]
        said = [
            [f"{whose} {reason}" for value in values if (reason := loss(value))]
            for loss in (self._overflow, self._underflow)
            for whose, values in (("its result", node.outputs), ("it reads what", operands))
        ]
        return Return(
            node=name,
            op=node.op_type,
            module=modules.module_of(node),
            reason="; ".join(next(filter(None, said), [])) or f"its own roundings to {self.low} cost too much",
            along=along,
            without=without.reason,
        )

    def _overflow(self, value: ir.Value) -> str | None:
        held = self.ranges.get(str(value.name))
        if held is None or held.overflow == 0:
            return None
        largest = self.low.limits.largest
        return f"reaches {held.magnitude:.3g}, beyond {largest:g}: {held.overflow} of {held.elements} values"

    def _underflow(self, value: ir.Value) -> str | None:
        held = self.ranges.get(str(value.name))
        if held is None or held.subnormal == 0:
            return None
        return (
            f"is too small: {held.lost / held.elements:.1%} of its values become 0, "
            f"{(held.subnormal - held.lost) / held.elements:.1%} lose digits, magnitudes from {held.smallest:.1e}"
        )
