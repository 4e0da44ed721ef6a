"""Mend overflowing linear layers by powers of two: observe, choose, write, observe again, and prove it equal."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from pipeline.analysis import batches
from pipeline.analysis.comparison.compare import compare
from pipeline.analysis.observe import observe
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import ActivationRanges, Check, Fate, OnnxModel, Rescaled, Rescaling, TensorRange
from pipeline.core.progress import Progress
from pipeline.core.spec import PrecisionSpec
from pipeline.graph import io
from pipeline.precision.policy import patterns, policy_file
from pipeline.precision.rescale import apply, choose, magnitudes, options
from pipeline.precision.rescale.choose import Ban, Choice
from pipeline.precision.rescale.losses import Loss
from pipeline.precision.rescale.options import Case, Channel
from pipeline.precision.rescale.walk import walk

PROVEN_ON = 2
"""Calibration batches on which both models have to compute the same bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is rescaled. Attributes as the parameters of `pipeline.stages.rescale`."""

    reference: OnnxModel
    ranges: ActivationRanges
    files: Sequence[Path]
    spec: PrecisionSpec
    folder: Path


def rescale(subject: Subject, out: Path, progress: Progress) -> Rescaled:
    """Hold what leaves the low format's range times powers of two, where that loses nothing.

    Args:
        subject: The model, and what it holds.
        out: Receives the model, if there is one.
        progress: Told of batches, and of layers that are left as they are.
    """
    case = _case(subject)
    asked = frozenset(channel for node in options.linear_nodes(case) for channel in options.channels_asked(case, node))
    if not _any_overflow(case):
        return Rescaled()
    seen = _magnitudes(subject, asked, progress)
    kept = _kept(subject, case.order.nodes)
    banned: dict[Ban, Loss] = {}
    while True:
        choice = choose.choose(case, seen, kept, banned)
        if not choice.own:
            _clear(out)
            return Rescaled(layers=tuple(choice.layers))
        written = _write(subject, choice, out)
        ranges = _observed(subject, out, progress)
        lost = _lost(subject, case, choice, ranges.tensors)
        if not lost:
            return _proven(subject, choice, written, ranges, out, progress)
        banned |= lost


def _case(subject: Subject) -> Case:
    return Case.of(io.load(subject.reference.path).graph, subject.ranges, subject.spec)


def _any_overflow(case: Case) -> bool:
    return any(case.overflows(node.inputs[0]) or options.overflowing(case, node) for node in options.linear_nodes(case))


def _kept(subject: Subject, nodes: Sequence[ir.Node]) -> frozenset[ir.Node]:
    """Nodes that the user wants in fp32."""
    settings = policy_file.settings(subject.spec, subject.folder)
    return frozenset(node for group in settings.fp32 for node in patterns.matching(nodes, group.patterns, group.where))


def _magnitudes(
    subject: Subject, asked: frozenset[Channel], progress: Progress
) -> dict[Channel, npt.NDArray[np.float64]]:
    if not asked:
        return {}
    model = io.load(subject.reference.path)
    taps = magnitudes.tap(model, asked)
    RemoveUnusedNodesPass()(model)
    session = Session(model, as_written=True)
    found: dict[Channel, npt.NDArray[np.float64]] = {}
    for done, file in enumerate(subject.files, start=1):
        part = magnitudes.read(taps, session(batches.read(file, session.inputs)))
        found = {channel: np.maximum(found.get(channel, 0.0), largest) for channel, largest in part.items()}
        progress.advance("calibration batches by channel", done, len(subject.files))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    model: ir.Model
    path: Path
    fates: tuple[Fate, ...]


def _write(subject: Subject, choice: Choice, out: Path) -> _Written:
    model = io.load(subject.reference.path)
    case = Case.of(model.graph, subject.ranges, subject.spec)
    written = apply.apply(model, walk(case.order, choice.seeds, case.fits), choice.reasons())
    return _Written(model=model, path=io.save(model, out), fates=tuple(written.fates.values()))


def _observed(subject: Subject, out: Path, progress: Progress) -> ActivationRanges:
    tensors, unobserved = observe(out / io.FILE, subject.files, subject.ranges.low, progress)
    return dataclasses.replace(subject.ranges, model="", tensors=tensors, unobserved=unobserved)


def _lost(subject: Subject, case: Case, choice: Choice, after: Mapping[str, TensorRange]) -> dict[Ban, Loss]:
    """Ways of mending layers that make too much of an activation subnormal."""
    found: dict[Ban, Loss] = {}
    for layer in choice.layers:
        if layer.refused is not None:
            continue
        option = choice.own[choose.key_of(layer)]
        worst = max(_activations(subject, case, layer, after), key=lambda loss: loss.share, default=None)
        if worst is not None and not worst.share <= subject.spec.rescale_share:
            found[choose.key_of(layer), option.place, option.exponents] = worst
    return found


def _activations(subject: Subject, case: Case, layer: Rescaling, after: Mapping[str, TensorRange]) -> list[Loss]:
    """What each tensor that a layer's exponents hold loses; those that are fp32 anyway lose nothing."""
    wide = {str(value.name) for node in case.wide for value in node.outputs}
    before, low = subject.ranges.tensors, [name for name in layer.held if name not in wide]
    pairs = [(name, name) for name in low] + [
        (name.removesuffix("::rescaled"), name) for name in layer.added if name.endswith("::rescaled")
    ]
    return [
        Loss(
            name=now,
            nonzero=after[now].elements,
            subnormal=max(0, after[now].subnormal - before[name].subnormal),
            overflow=0,
        )
        for name, now in pairs
        if name in before and now in after
    ]


def _proven(
    subject: Subject, choice: Choice, written: _Written, ranges: ActivationRanges, out: Path, progress: Progress
) -> Rescaled:
    """The rescaled model, if it computes the bits of the model that it was made from."""
    check = _equality(subject, written, progress)
    if not check.passed:
        _clear(out)
        why = f"the rescaled model is not equal in fp32: {check.problems[0]}"
        progress.warn(why)
        return Rescaled(layers=tuple(dataclasses.replace(layer, refused=why) for layer in choice.layers))
    model = io.describe(
        written.model,
        written.path,
        provenance=subject.reference.provenance,
        fates=written.fates,
        given=subject.reference.given,
        checks=(check,),
    )
    case = _case(subject)
    layers = tuple(
        layer
        if layer.refused is not None
        else dataclasses.replace(
            layer,
            subnormal_activations=sum(loss.subnormal for loss in _activations(subject, case, layer, ranges.tensors)),
        )
        for layer in choice.layers
    )
    return Rescaled(
        model=model, ranges=dataclasses.replace(ranges, model=io.model_digest(model)), layers=layers, equality=check
    )


def _clear(out: Path) -> None:
    for file in out.iterdir():
        file.unlink()


def _equality(subject: Subject, written: _Written, progress: Progress) -> Check:
    """Every float tensor of the model, un-scaled, against its own in the rescaled one, both in fp32."""
    files = subject.files[:PROVEN_ON]
    found, gaps = compare(io.load(subject.reference.path), io.load(written.path), written.fates, files, {}, progress)
    unequal = []
    for tensor, item in found.items():
        stats = item.kept.stats()
        if not (stats.max_abs == 0.0 and stats.mismatched_nonfinite == 0 and stats.elements > 0):
            unequal.append(f"{tensor} differs by up to {stats.max_abs:.3g}")
    return Check(
        name="equal in fp32",
        passed=bool(found) and not unequal,
        summary=(
            f"{len(found) - len(unequal)} of {len(found)} tensors equal to the last bit, un-scaled, "
            f"on {len(files)} calibration batches; {len(gaps)} not compared"
        ),
        problems=tuple(unequal),
        unobservable=tuple(f"{name}: {reason}" for name, reason in gaps.items()),
    )
