"""Graphs as ONNX text, typed; and what is decided of them for ranges that a test gives."""

from pathlib import Path

import onnx_ir as ir
import pytest

from pipeline.core.artifacts import ActivationRanges, TensorRange
from pipeline.core.formats import Format
from pipeline.core.spec import PrecisionSpec
from pipeline.precision import evidence
from pipeline.precision.policy import policies, policy_file
from pipeline.precision.rewrites.types import infer

HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'


def parse(text, opset=20):
    """A typed model from a graph in ONNX text, without its header."""
    model = ir.from_onnx_text(HEAD.replace("20", str(opset)) + text)
    infer(model)
    return model


def observed(magnitude=1.0, *, low=None, **counts):
    return TensorRange(low=-magnitude if low is None else low, high=magnitude, smallest=1e-3, elements=100, **counts)


def ranges(model, low=Format.FP16, **special):
    """Ranges of +-1 for every float tensor, but those that `special` gives as a magnitude or a whole range."""
    tensors = {}
    for value in (*model.graph.inputs, *(out for node in model.graph for out in node.outputs)):
        if value.dtype is ir.DataType.FLOAT:
            given = special.get(value.name, 1.0)
            tensors[value.name] = given if isinstance(given, TensorRange) else observed(given)
    return ActivationRanges(model="m", samples=1, low=low, tensors=tensors)


def decide(text, *, opset=20, spec=None, given=None, folder=Path("engines/tiny"), **special):
    """Decisions by node name."""
    spec = spec or PrecisionSpec()
    model = parse(text, opset)
    seen = evidence.gather(model, ranges(model, spec.low, **special), spec)
    settings = policy_file.settings(spec, folder)
    return {item.node: item for item in policies.decide(seen, settings, given or {})}


@pytest.fixture
def graph():
    return parse


@pytest.fixture
def decided():
    return decide


@pytest.fixture
def seen():
    return observed


@pytest.fixture
def observe():
    return ranges
