"""The noise that rounding is expected to leave in each tensor, computed from the mixed graph.

Each rounding upstream of a tensor (of a result, of a copy, of a stored weight) adds noise of the relative power that
its format gives one rounding (`Limits.rounding_sqnr_db`). Independent errors add in power, so n roundings are expected
to leave 10 log10(n) dB less. A rounding that reaches a tensor along several paths counts once.

What this leaves out: cancellation (a difference of nearly equal numbers raises the relative noise) and averaging (a sum
over k independent terms lowers it). `tolerances.layer_slack_db` is the allowance for both. What data movement and
exponentials do to noise is in `louder`.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from pipeline.core.formats import Format
from pipeline.precision import semantics
from pipeline.precision.emulation.emulate import LOW, SOURCES
from pipeline.precision.semantics import Movement

FORMATS = {ir.DataType.FLOAT16: Format.FP16, ir.DataType.BFLOAT16: Format.BF16}


def expected_sqnr(mixed: ir.Model) -> dict[str, float]:
    """SQNR in dB that rounding is expected to leave in each tensor; infinite where nothing upstream rounds."""
    upstream: dict[ir.Value, int] = {}
    noise: list[float] = []
    for value in mixed.graph.initializers.values():
        upstream[value] = _event(value, noise) if value.dtype in LOW else 0
    for value in mixed.graph.inputs:
        upstream[value] = _event(value, noise) if value.dtype in LOW else 0
    for node in mixed.graph:
        inherited = _union(upstream, node)
        for value in node.outputs:
            upstream[value] = inherited | (_event(value, noise) if _rounds(mixed, node, value) else 0)
    return {str(value.name): _decibels(events, noise) for value, events in upstream.items()}


def fp32_floor(depth: int) -> float:
    """SQNR in dB that fp32 itself is expected to leave after `depth` operators."""
    return Format.FP32.limits.rounding_sqnr_db - 10.0 * math.log10(max(depth, 1))


def _event(value: ir.Value, noise: list[float]) -> int:
    assert value.dtype is not None
    noise.append(10.0 ** (-FORMATS[value.dtype].limits.rounding_sqnr_db / 10.0))
    return 1 << (len(noise) - 1)


def _union(upstream: dict[ir.Value, int], node: ir.Node) -> int:
    events = 0
    for value in _read(node):
        events |= upstream.get(value, 0)
    return events


def _read(node: ir.Node) -> list[ir.Value]:
    values = [value for value in node.inputs if value is not None]
    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.GRAPH:
            for inner in ir.traversal.RecursiveGraphIterator(attribute.as_graph()):
                values += [value for value in inner.inputs if value is not None]
    return values


def _rounds(model: ir.Model, node: ir.Node, value: ir.Value) -> bool:
    if value.dtype not in LOW:
        return False
    exact = semantics.of(node, model.functions.keys()).movement is Movement.EXACT
    return not exact or node.op_type in SOURCES


def _decibels(events: int, noise: list[float]) -> float:
    power = 0.0
    while events:
        lowest = events & -events
        power += noise[lowest.bit_length() - 1]
        events ^= lowest
    return -10.0 * math.log10(power) if power else math.inf
