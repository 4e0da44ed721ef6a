"""Verdicts reduced in the graph and Polygraphy's own on the full arrays, on every tensor of the real MiniLM."""

import math

import numpy as np
import pytest
from polygraphy.comparator import IterationResult
from polygraphy.comparator.compare import SimpleCompareFunc
from polygraphy.logger import G_LOGGER

from pipeline import flow
from pipeline.analysis import batches
from pipeline.analysis.comparison.close_up import close_up
from pipeline.backends.onnxruntime import Session
from pipeline.core.progress import Silent
from pipeline.graph import io
from pipeline.precision.emulation.emulate import emulate
from pipeline.precision.reducers import tolerances
from pipeline.precision.reducers.instrument import Tap, attach, results
from pipeline.precision.reducers.side_by_side import merge

ATOL, RTOL = 1e-3, 1e-2

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def made(minilm):
    """What the run made up to the mixed graph."""
    root, result = minilm
    assert result.returncode == 0, result.stderr
    return flow.run("minilm", root=root, progress=Silent(), until="convert")


@pytest.fixture(scope="module")
def compared(made):
    """By tensor: what was reduced in the graph, and both arrays."""
    reference, mixed = made.artifact("canonicalise"), made.artifact("convert")
    merged = merge(io.load(reference.path), emulate(io.load(mixed.path)), mixed.fates)
    taps = [Tap(key=pair.tensor, values=(pair.reference, pair.candidate)) for pair in merged.pairs]
    reducer = tolerances.reducer(ATOL, RTOL)
    attach(merged.model, reducer, taps)
    merged.model.graph.outputs.extend(dict.fromkeys(value for tap in taps for value in tap.values))
    file = made.artifact("sample").validation.batches[0]
    feeds = {name: array[:1, :16] for name, array in batches.read(file, list(made.spec.inputs)).items()}
    arrays = Session(merged.model, as_written=True)(feeds)
    reduced = results(reducer, [tap.key for tap in taps], arrays)
    return {
        tap.key: (tolerances.read(reduced[tap.key]), *(arrays[str(value.name)] for value in tap.values)) for tap in taps
    }


def polygraphy(reference, candidate, statistic):
    compare = SimpleCompareFunc(
        check_shapes=True, atol=ATOL, rtol=RTOL, check_error_stat=statistic, infinities_compare_equal=True
    )
    sides = [IterationResult(outputs={"t": array}) for array in (candidate, reference)]
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL), np.errstate(all="ignore"):
        return compare(*sides)["t"]


def test_every_tensor_gets_the_same_verdict(compared):
    assert len(compared) >= 180
    verdicts = set()
    for ours, reference, candidate in compared.values():
        largest = polygraphy(reference, candidate, "max")
        assert ours.elementwise == bool(polygraphy(reference, candidate, "elemwise"))
        assert ours.of_max(ATOL, RTOL) == bool(largest)
        assert (ours.max_abs, ours.max_rel) == (largest.max_absdiff, largest.max_reldiff)
        if math.isfinite(largest.mean_absdiff):
            assert ours.mean_abs == pytest.approx(largest.mean_absdiff, rel=1e-5)
        verdicts.add(ours.elementwise)
    assert verdicts == {True, False}, "tolerances at which some tensors pass and some do not"


def test_a_tensor_close_up_is_what_the_comparison_saw(made, compared, tmp_path):
    reference, mixed = made.artifact("canonicalise"), made.artifact("convert")
    name = max((name for name in compared if compared[name][1].ndim == 3), key=lambda name: compared[name][0].max_abs)
    (found,) = close_up(
        io.load(reference.path),
        emulate(io.load(mixed.path)),
        mixed.fates,
        [name],
        made.artifact("sample").validation.batches[:1],
        made.spec.inputs,
        made.spec.tolerances,
        tmp_path,
        Silent(),
    )
    with np.load(found.file) as arrays:
        whole = [arrays[f"batch_0000.{side}"] for side in ("reference", "candidate")]
    first = found.worst[0]
    assert found.stats.max_abs == abs(first.candidate - first.reference)
    assert [float(array[first.index]) for array in whole] == [first.reference, first.candidate]
    assert found.stats.elements == sum(found.reference.counts) == sum(found.candidate.counts)
