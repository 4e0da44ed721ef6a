import numpy as np
import onnx_ir as ir
import pytest

from pipeline.backends.onnxruntime import Session
from pipeline.graph import correspondence


class Rewritten:
    """A graph before and after a rewrite, with what the rewrite told."""

    def __init__(self, text, rewrite):
        self.before = ir.from_onnx_text(text)
        self.after = ir.from_onnx_text(text)
        self.names = correspondence.tensor_names(self.before)
        self.fates = correspondence.compose(self.names, rewrite(self.after))

    @property
    def ops(self):
        return [node.op_type for node in self.after.graph]

    def fate(self, tensor):
        return correspondence.lookup(self.fates, tensor)

    def node(self, op):
        return next(node for node in self.after.graph if node.op_type == op)

    def results(self, **feeds):
        """Outputs of both graphs for the same inputs, as pairs."""
        first, second = Session(self.before, as_written=True)(feeds), Session(self.after, as_written=True)(feeds)
        assert list(first) == list(second)
        return [(first[name], second[name]) for name in first]

    def require_same(self, **feeds):
        for expected, found in self.results(**feeds):
            np.testing.assert_array_equal(found, expected)

    def require_accounted(self):
        after = correspondence.tensor_names(self.after)
        assert correspondence.unaccounted(self.names, self.fates, after) == ()


@pytest.fixture
def rewritten():
    return Rewritten
