import numpy as np
import pytest
import torch

from pipeline.backends import torch_export
from pipeline.backends.onnxruntime import Session
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.graph import io
from pipeline.models import recurrence


class Tagger(torch.nn.Module):
    """A recurrence over (batch, steps, 3) that also gives its last state."""

    def __init__(self, kind, **options):
        super().__init__()
        self.layer = getattr(torch.nn, kind)(3, 4, **options)

    def forward(self, *inputs):
        sequence, state = self.layer(inputs[0])
        return sequence, *(state if isinstance(state, tuple) else (state,))


KINDS = {
    "gru": ("GRU", {}),
    "gru without biases": ("GRU", {"bias": False}),
    "lstm, two layers, both ways": ("LSTM", {"num_layers": 2, "bidirectional": True}),
    "gru, two layers, both ways": ("GRU", {"num_layers": 2, "bidirectional": True}),
    "rnn": ("RNN", {}),
    "rnn with relu": ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
}


@pytest.mark.parametrize("case", KINDS)
@pytest.mark.parametrize("batch_first", [True, False])
def test_steps_and_batch_may_be_other_than_traced(tmp_path, case, batch_first):
    kind, options = KINDS[case]
    torch.manual_seed(0)
    module = Tagger(kind, batch_first=batch_first, **options).eval()
    axes = ("batch", "steps", 3) if batch_first else ("steps", "batch", 3)
    names = ("sequence", "hidden", "cell")[: 3 if kind == "LSTM" else 2]
    request = torch_export.Request(
        module=module,
        example={"signal": np.ones((2, 5, 3), np.float32)},
        inputs={"signal": InputSpec(dtype="float32", axes=axes)},
        axes={"batch": AxisRange(min=1, opt=2, max=9), "steps": AxisRange(min=1, opt=5, max=9)},
        outputs=names,
        opset=20,
        prefix="",
    )
    before = set(module.state_dict())
    with recurrence.as_operators(module):
        model = torch_export.export(request)
    assert set(module.state_dict()) == before
    assert [node.op_type for node in model.graph if node.op_type in ("GRU", "LSTM", "RNN", "Loop")] == [
        kind
    ] * options.get("num_layers", 1)
    session = Session(io.save(model, tmp_path))
    signal = np.random.default_rng(0).standard_normal((3, 7, 3)).astype(np.float32)
    found = session({"signal": signal})
    for name, expected in zip(names, torch_export.call(module, {"signal": signal}), strict=True):
        np.testing.assert_allclose(found[name], expected, atol=1e-6)
