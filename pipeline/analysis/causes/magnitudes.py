"""Ranges of a few tensors of a model, elements that a mask excludes left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from pipeline.analysis import batches
from pipeline.analysis.comparison.masks import mask_of
from pipeline.analysis.comparison.taps import keep_only, mask_input, shape_of
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import TensorRange
from pipeline.core.formats import Format
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec
from pipeline.precision.reducers import ranges
from pipeline.precision.reducers.instrument import Tap, as_float, attach, results


def of_tensors(
    model: ir.Model,
    names: Collection[str],
    low: Format,
    files: Sequence[Path],
    inputs: Mapping[str, InputSpec],
    progress: Progress,
) -> dict[str, TensorRange]:
    """Ranges over all batches, by name; tensors of which nothing was finite are left out.

    Masked elements count as zeros.

    Args:
        model: An fp32 model, which is left as it is.
        names: Float tensors of its main graph.
        low: The format whose losses are counted.
        files: Batches.
        inputs: Graph inputs, with the axes that they mask.
        progress: Told of each batch.
    """
    if not names:
        return {}
    loaded, reducer = model.clone(), ranges.full(low)
    graph = loaded.graph
    fed = [str(value.name) for value in graph.inputs]
    values = {str(v.name): v for v in (*graph.inputs, *(v for node in graph for v in node.outputs))}
    masks = {name: mask for name in names if (mask := mask_of(shape_of(values[name]), inputs)) is not None}
    unique = {mask.name: mask for mask in masks.values()}
    kept = {name: mask_input(graph, name, mask.rank) for name, mask in unique.items()}
    taps = []
    for name in names:
        value = as_float(loaded, values[name])
        if name in masks:
            value = keep_only(loaded, value, kept[masks[name].name])
        taps.append(Tap(key=name, values=(value,)))
    attach(loaded, reducer, taps)
    session = Session(loaded, as_written=True)
    seen = dict.fromkeys(names, ranges.Seen())
    for done, file in enumerate(files, start=1):
        feeds = batches.read(file, fed)
        found = results(reducer, list(names), session(feeds | {name: m.array(feeds) for name, m in unique.items()}))
        seen |= {name: seen[name].merge(ranges.read_full(outputs)) for name, outputs in found.items()}
        progress.advance("batches with bad layers", done, len(files))
    found_ranges = {name: item.range() for name, item in seen.items()}
    return {name: item for name, item in found_ranges.items() if isinstance(item, TensorRange)}
