"""What is found out about modules of many kinds."""

import pytest
import torch
from torch import nn

from pipeline.core.errors import SourceError
from pipeline.core.spec import AxisRange
from pipeline.models.interface import of_module

BATCH = AxisRange(min=1, opt=8, max=32)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 9, 3, 2, 1)

    def forward(self, image):
        found = self.body(image).flatten(2)
        boxes, ranked = found[:, :4], found[:, 4:].amax(1).topk(5)
        return boxes, ranked.values, ranked.indices


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 2), nn.Linear(2, 6)

    def forward(self, signal):
        code = self.encoder(signal)
        return {"code": code, "signal": self.decoder(code)}


class Step(nn.Module):
    """One step of a recurrence that keeps time first."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRU(3, 4)

    def forward(self, frames, state):
        frames, state = self.cell(frames, state)
        return frames, state


class Encoder(nn.Module):
    def __init__(self, positions=20):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(50, 8), nn.Embedding(positions, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, input_ids, attention_mask):
        x = self.tokens(input_ids) + self.positions(torch.arange(input_ids.shape[1]))
        return self.layer(x) * attention_mask.unsqueeze(-1)


class Sums(nn.Module):
    """Pools over its points: there is no axis of samples."""

    def forward(self, points):
        return points.amax(0).sum()


class Cells(nn.Module):
    """A loop over time, which tracing unrolls."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, series):
        state = torch.zeros(series.shape[0], 4)
        for step in range(series.shape[1]):
            state = self.cell(series[:, step], state)
        return state


def found(module, **example):
    torch.manual_seed(0)
    return of_module(module.eval(), example)


def axes(interface):
    return {name: item.axes for name, item in interface.inputs.items()}


def test_pictures_vary_along_their_samples_only():
    seen = found(Detector(), image=torch.rand(1, 3, 16, 16))
    assert axes(seen) == {"image": ("batch", 3, 16, 16)}
    assert seen.axes == {"batch": BATCH}
    assert seen.outputs == ("boxes", "output_1", "output_2")


def test_fields_name_the_outputs():
    seen = found(Autoencoder(), signal=torch.rand(2, 6))
    assert axes(seen) == {"signal": ("batch", 6)}
    assert seen.outputs == ("code", "signal")


def test_the_batch_is_where_samples_do_not_meet():
    seen = found(Step(), frames=torch.rand(5, 2, 3), state=torch.rand(1, 2, 4))
    assert axes(seen) == {"frames": ("frames_0", "batch", 3), "state": (1, "batch", 4)}
    assert seen.axes == {"batch": BATCH, "frames_0": AxisRange(min=1, opt=5, max=20)}
    assert seen.outputs == ("frames_out", "state_out")


def test_a_sequence_is_as_long_as_the_module_takes():
    ids = torch.ones(2, 9, dtype=torch.int64)
    seen = found(Encoder(), input_ids=ids, attention_mask=ids)
    assert axes(seen) == {"input_ids": ("batch", "sequence"), "attention_mask": ("batch", "sequence")}
    assert seen.inputs["attention_mask"].masks == ("sequence",)
    assert seen.axes["sequence"] == AxisRange(min=1, opt=9, max=16)


def test_without_samples_there_is_no_batch():
    seen = found(Sums(), points=torch.rand(7, 3))
    assert axes(seen) == {"points": ("points_0", "samples")}


def test_a_loop_over_an_axis_fixes_it():
    assert axes(found(Cells(), series=torch.rand(2, 5, 3))) == {"series": ("batch", 5, 3)}


def test_least_sizes_are_those_that_run_and_do_not_end_in_one_step():
    seen = found(nn.Conv1d(2, 2, 6), input=torch.rand(2, 2, 30))
    assert axes(seen) == {"input": ("batch", 2, "frames")}
    assert seen.axes["frames"] == AxisRange(min=7, opt=30, max=120)


def test_a_module_that_cannot_be_traced_keeps_its_batch():
    class Decides(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    assert axes(found(Decides(), x=torch.rand(2, 3))) == {"x": ("batch", 3)}


@pytest.mark.parametrize(
    ("module", "example", "said"),
    [
        (nn.Linear(3, 1), {"input": torch.rand(2, 4)}, "Linear cannot take its example inputs (input [2, 4]): mat1"),
        (nn.Identity(), {"input": torch.rand(2, 4).double()}, "example input input: dtype must be int64, int32, flo"),
        (Step(), {"state": torch.rand(1), "frames": torch.rand(1)}, "example input 0 is state, and forward's param"),
        (Sums(), {"points": torch.rand(0, 3)}, "Sums cannot take its example inputs (points [0, 3]): "),
    ],
)
def test_what_cannot_be_asked(module, example, said):
    with pytest.raises(SourceError) as caught:
        of_module(module.eval(), example)
    assert str(caught.value).startswith(said)
