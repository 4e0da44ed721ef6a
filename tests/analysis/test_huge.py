import numpy as np
import onnx_ir as ir

from pipeline.analysis.comparison.compare import compare
from pipeline.analysis.comparison.huge import huge
from pipeline.core.progress import Silent
from pipeline.graph.infer import infer

MODEL = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[n, 4] x, bool[n, 4] kept) => (float[n, 4] probabilities)
<float mask = {-3.4e38}, float small = {-10000}> {
    filled = Where(kept, x, mask)
    moved = Add(filled, x)
    probabilities = Softmax(moved)
    other = Where(kept, x, small)
}
"""


def test_huge_constants_are_followed_until_something_bounds_them() -> None:
    graph = ir.from_onnx_text(MODEL).graph

    assert {value.name for value in huge(graph)} == {"mask", "filled", "moved"}


def test_what_fp32_cannot_square_is_compared_exactly_in_one_look(tmp_path) -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.savez(tmp_path / "batch.npz", x=x, kept=np.tile([True, True, False, True], (2, 1)))
    model, changed = ir.from_onnx_text(MODEL), ir.from_onnx_text(MODEL.replace("-3.4e38", "-3.3e38"))
    infer(model)
    infer(changed)
    seen = Counted()

    found, _ = compare(model, changed, (), [tmp_path / "batch.npz"], {}, seen)

    assert seen.looks == 1
    assert np.isclose(found["filled"].kept.max_abs, 1e37, rtol=1e-5)
    assert np.isclose(found["filled"].kept.stats().relative_l2, 1 / 34, rtol=1e-4)


class Counted(Silent):
    looks = 0

    def advance(self, what: str, done: int, total: int | None = None) -> None:
        self.looks += 1
