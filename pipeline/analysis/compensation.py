"""Take the mean error that rounding adds to linear layers out through their biases, where held-out samples agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from pipeline.analysis import batches
from pipeline.analysis.comparison import outputs
from pipeline.analysis.comparison.masks import Mask, mask_of
from pipeline.analysis.comparison.taps import keep_only, mask_input, shape_of
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import Check, Compensated, Compensation, Fate, OnnxModel, OutputGain
from pipeline.core.errors import CalibrationError
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec, ToleranceSpec
from pipeline.graph import io, modules
from pipeline.precision import biases
from pipeline.precision.biases import Site
from pipeline.precision.emulation.emulate import emulate
from pipeline.precision.reducers.instrument import Reducer, Tap, attach, results
from pipeline.precision.reducers.side_by_side import Pair, merge
from pipeline.precision.rescale.magnitudes import by_channel

HELD_OUT = 4
"""One in so many calibration batches, at least one, tells whether a correction helps; the others measure it."""

LEAST_DB = 0.1
"""A gain under this is noise: many such corrections together moved MiniLM's output by 0.6 dB the wrong way."""

BODY = """
Errors (r1, c1, r2, c2, {axes}) => (shape, total, square, signal) {{
    shape = Shape(r2)
    d1 = Sub(c1, r1)
    d2 = Sub(c2, r2)
    d = Add(d1, d2)
    total = ReduceSum <keepdims = 0> (d, {axes})
    square = ReduceSumSquare <keepdims = 0> (d, {axes})
    signal = ReduceSumSquare <keepdims = 0> (r2, {axes})
}}
"""
"""The error of a product on the reference's operands, and that of the Add of its bias, together; one sum a channel."""

SUMS = (ir.DataType.INT64, *[ir.DataType.FLOAT] * 3)
"""Types of what it gives."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is corrected. Attributes as the parameters of `pipeline.stages.compensate`."""

    reference: OnnxModel
    mixed: OnnxModel
    files: Sequence[Path]
    inputs: Mapping[str, InputSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Errors of one layer's channels over some batches.

    Attributes:
        total: Sum of the errors of each channel.
        square: Sum of their squares.
        signal: Sum of the squares of the reference.
        count: Elements of each channel.
    """

    total: Array
    square: Array
    signal: Array
    count: float

    def plus(self, other: Errors) -> Errors:
        """Both together."""
        return Errors(
            total=self.total + other.total,
            square=self.square + other.square,
            signal=self.signal + other.signal,
            count=self.count + other.count,
        )

    def sqnr_db(self, correction: Array | float = 0.0) -> float:
        """SQNR of the layer when `correction` is added to each channel; NaN where an error is not finite."""
        noise = np.sum(self.square + 2.0 * correction * self.total + self.count * np.square(correction))
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(10.0 * np.log10(np.sum(self.signal) / np.maximum(noise, 0.0)))


def compensate(subject: Subject, out: Path, progress: Progress) -> Compensated:
    """Correct biases, and keep the corrections where they help on calibration batches that did not measure them.

    Args:
        subject: The models and the calibration batches.
        out: Receives the model.
        progress: Told of batches.

    Raises:
        CalibrationError: There is one batch only, so that none can be held out.
    """
    if len(subject.files) < 2:
        raise CalibrationError(
            "error compensation needs at least two calibration batches: one is held out",
            where=str(subject.files[0]) if subject.files else "calibration",
            hint="raise calibration.samples, or lower calibration.batch",
        )
    at = len(subject.files) - max(1, len(subject.files) // HELD_OUT)
    measured, held_out = subject.files[:at], subject.files[at:]
    probe = _Probe(subject)
    first = probe.over(measured, "batches that measure errors", progress)
    second = probe.over(held_out, "batches held out", progress)
    layers, corrections = _decide(subject, probe.sites, first, second)
    mixed = _corrected(subject, corrections)
    gains = _gains(subject, mixed, held_out, progress) if corrections else ()
    refused = _refusal(layers, gains)
    model = io.load(subject.mixed.path) if refused else mixed
    samples = _samples(held_out, [info.name for info in subject.reference.inputs])
    path = io.save(model, out)
    found = Compensated(
        model=io.describe(
            model,
            path,
            provenance=subject.mixed.provenance,
            fates=subject.mixed.fates,
            checks=(*subject.mixed.checks, _told(layers, gains, refused, samples)),
        ),
        layers=layers,
        outputs=gains,
        samples=samples,
        refused=refused,
    )
    progress.note(found.model.checks[-1].summary)
    return found


class _Probe:
    """One session that holds both models and sums the errors of every layer by channel."""

    def __init__(self, subject: Subject) -> None:
        reference, mixed = io.load(subject.reference.path), io.load(subject.mixed.path)
        self.sites = biases.sites(reference, mixed)
        merged = merge(reference, emulate(mixed), subject.mixed.fates, alone=True)
        model, pairs = merged.model, {pair.tensor: pair for pair in merged.pairs}
        masks = {site.node: mask_of(shape_of(pairs[site.result].reference), subject.inputs) for site in self.sites}
        self.masks: dict[str, Mask] = {mask.name: mask for mask in masks.values() if mask is not None}
        self.of_site = {node: None if mask is None else mask.name for node, mask in masks.items()}
        keeps = {name: mask_input(model.graph, name, mask.rank) for name, mask in self.masks.items()}
        kept: dict[tuple[ir.Value, str | None], ir.Value] = {}
        groups: dict[tuple[int, int], list[Tap]] = {}
        for site in self.sites:
            mask = self.of_site[site.node]
            values = []
            for value in _values(site, pairs):
                if (value, mask) not in kept:
                    kept[value, mask] = value if mask is None else keep_only(model, value, keeps[mask])
                values.append(kept[value, mask])
            rank = len(shape_of(pairs[site.result].reference))
            groups.setdefault((rank, site.axis), []).append(Tap(key=site.node, values=tuple(values)))
        model.graph.outputs.clear()
        self.reducers: dict[str, Reducer] = {}
        for (rank, axis), taps in groups.items():
            reducer = by_channel(BODY, SUMS, rank, axis)
            attach(model, reducer, taps, beside=True)
            self.reducers |= {tap.key: reducer for tap in taps}
        RemoveUnusedNodesPass()(model)
        self.sizes = {site.node: pairs[site.result].reference for site in self.sites}
        self.session = Session(model, as_written=True) if self.sites else None

    def over(self, files: Sequence[Path], what: str, progress: Progress) -> dict[str, Errors]:
        """Errors of every layer over some batches."""
        found: dict[str, Errors] = {}
        for done, file in enumerate(files if self.session else (), start=1):
            assert self.session is not None
            feeds = batches.read(file, [name for name in self.session.inputs if name not in self.masks])
            keep = {name: mask.array(feeds) for name, mask in self.masks.items()}
            arrays = self.session({**feeds, **keep})
            for site in self.sites:
                part = self._errors(site, arrays, feeds, keep)
                found[site.node] = part if site.node not in found else found[site.node].plus(part)
            progress.advance(what, done, len(files))
        return found

    def _errors(
        self, site: Site, arrays: Mapping[str, Any], feeds: Mapping[str, Any], keep: Mapping[str, Any]
    ) -> Errors:
        shape, *sums = results(self.reducers[site.node], [site.node], arrays)[site.node]
        total, square, signal = (np.asarray(item, np.float64) for item in sums)
        mask = self.of_site[site.node]
        share = 1.0 if mask is None else float(np.mean(keep[mask]))
        return Errors(total=total, square=square, signal=signal, count=float(np.prod(shape)) / site.channels * share)


def _values(site: Site, pairs: Mapping[str, Pair]) -> tuple[ir.Value, ...]:
    """What the reducer takes: the product's own error, where its bias is added by another node, and the result's."""
    product, result = pairs[site.product], pairs[site.result]
    assert product.alone is not None
    assert result.alone is not None
    before = (product.reference, product.reference if site.product == site.result else product.alone)
    return (*before, result.reference, result.alone)


def _decide(
    subject: Subject, sites: Iterable[Site], measured: Mapping[str, Errors], held_out: Mapping[str, Errors]
) -> tuple[tuple[Compensation, ...], dict[Site, Array]]:
    """One record a layer, and the corrections of those that they help."""
    reference = {str(node.name): node for node in io.load(subject.reference.path).graph}
    fates = {fate.tensor: fate for fate in subject.mixed.fates}
    scratch = io.load(subject.mixed.path)
    layers, kept = [], {}
    for site in sites:
        wanted = -measured[site.node].total / measured[site.node].count
        held = held_out[site.node]
        correction = np.ldexp(wanted, biases.exponents(fates.get(site.result), site.channels))
        finite = bool(np.isfinite(correction).all())
        effect = _effect(scratch, site, correction, fates) if finite else np.zeros(site.channels)
        before, after = held.sqnr_db(), held.sqnr_db(effect)
        if finite and after >= before + LEAST_DB:
            kept[site] = correction
        layers.append(
            Compensation(
                node=site.node,
                op=site.op,
                module=modules.module_of(reference[site.node]),
                tensor=site.result,
                adder=site.adder,
                largest=float(np.abs(effect).max()),
                before_db=before,
                after_db=after,
                refused=_why_not(finite, before, after),
            )
        )
    return tuple(layers), kept


def _effect(mixed: ir.Model, site: Site, correction: Array, fates: Mapping[str, Fate]) -> Array:
    return biases.unscaled(biases.correct(mixed, site, correction), fates.get(site.result))


def _why_not(finite: bool, before: float, after: float) -> str | None:
    if not finite:
        return "its error is not finite"
    if after >= before + LEAST_DB:
        return None
    return (
        f"on held-out samples its SQNR is {after:.2f} dB with the correction, {before:.2f} dB without; "
        f"{LEAST_DB:g} dB is asked"
    )


def _corrected(subject: Subject, corrections: Mapping[Site, npt.NDArray[np.float64]]) -> ir.Model:
    mixed = io.load(subject.mixed.path)
    for site, correction in corrections.items():
        biases.correct(mixed, site, correction)
    return mixed


def _gains(subject: Subject, corrected: ir.Model, files: Sequence[Path], progress: Progress) -> tuple[OutputGain, ...]:
    """What the corrections together do to the graph's outputs."""
    runs = {
        "before": Session(emulate(io.load(subject.mixed.path)), as_written=True),
        "after": Session(emulate(corrected), as_written=True),
    }
    reference = Session(subject.reference.path)
    judged = outputs.judge(subject.reference, reference, runs, files, subject.inputs, ToleranceSpec(), progress)
    return tuple(
        OutputGain(
            output=name,
            before_db=judged["before"][name].difference.stats().sqnr_db,
            after_db=judged["after"][name].difference.stats().sqnr_db,
        )
        for name in judged["before"]
    )


def _refusal(layers: Sequence[Compensation], gains: Sequence[OutputGain]) -> str | None:
    if not layers:
        return "no linear layer with rounded weights has a bias"
    if all(layer.refused for layer in layers):
        return f"none of {len(layers)} layers is nearer to fp32 with its correction"
    if all(gain.after_db >= gain.before_db for gain in gains) and any(g.after_db > g.before_db for g in gains):
        return None
    listed = ", ".join(f"{gain.output} {gain.before_db:.2f} → {gain.after_db:.2f} dB" for gain in gains)
    return f"the outputs are no nearer to fp32 with the corrections: {listed}"


def _told(layers: Sequence[Compensation], gains: Sequence[OutputGain], refused: str | None, samples: int) -> Check:
    """The gain, for the report."""
    used = [layer for layer in layers if layer.refused is None]
    listed = ", ".join(f"{gain.output} {gain.before_db:.2f} → {gain.after_db:.2f} dB" for gain in gains)
    gained = (
        f"mean error taken out of {len(used)} of {len(layers)} linear layers: {listed} on {samples} held-out samples"
    )
    summary = f"no bias was changed: {refused}" if refused else gained
    notes = [f"{item.node}: {item.before_db:.2f} → {item.after_db:.2f} dB by itself" for item in used if not refused]
    left = [f"{item.node} is left as it was: {item.refused}" for item in layers if item.refused]
    return Check(name="compensated", passed=True, summary=summary, notes=tuple(notes), unobservable=tuple(left))


def _samples(files: Sequence[Path], names: Sequence[str]) -> int:
    return sum(len(next(iter(batches.read(file, names).values()))) for file in files)
