"""A pattern names nodes, modules and all that lies in a module."""

import pytest

from pipeline.core.errors import PrecisionError
from pipeline.precision.policy import patterns

NET = "g (float[4] x) => (float[4] y) { [a] h = Relu(x) [b] i = Exp(h) [c] y = Neg(i) }"
MODULES = {"a": "encoder.layer.0.attention", "b": "encoder.layer.0.output.dense", "c": "encoder.layer.10"}


@pytest.fixture
def nodes(graph):
    model = graph(NET)
    for node in model.graph:
        node.metadata_props["pipeline.module"] = MODULES[node.name]
    return list(model.graph)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a", ["a"]),
        ("[ab]", ["a", "b"]),
        ("encoder.layer.0", ["a", "b"]),
        ("encoder.layer.1*", ["c"]),
        ("*.dense", ["b"]),
        ("encoder", ["a", "b", "c"]),
        ("*", ["a", "b", "c"]),
    ],
)
def test_what_a_pattern_names(nodes, pattern, names):
    assert [node.name for node in patterns.matching(nodes, [pattern], "f: k")] == names


def test_the_first_pattern_that_names_a_node_is_told(nodes):
    found = patterns.matching(nodes, ["*.dense", "*"], "f: k")
    assert {node.name: pattern for node, pattern in found.items()} == {"b": "*.dense", "a": "*", "c": "*"}


def test_case_counts(nodes):
    with pytest.raises(PrecisionError) as caught:
        patterns.matching(nodes, ["Encoder.layer.0"], "engine.toml: precision.fp32")
    assert str(caught.value) == (
        "engine.toml: precision.fp32[0]: no node or module matches 'Encoder.layer.0'\n"
        "  hint: nearest modules of this model are encoder.layer.0, encoder.layer.10, encoder.layer, "
        "encoder.layer.0.output, encoder.layer.0.attention, encoder.layer.0.output.dense; "
        "`trt-pipeline inspect` lists all"
    )
