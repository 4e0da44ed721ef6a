"""What a module returns, as the spec's outputs."""

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch

from pipeline.core.errors import ExportError
from pipeline.models.adapter import Adapter, named_tensors

A, B = torch.zeros(1), torch.ones(2)


@dataclass
class Record:
    first: torch.Tensor
    second: torch.Tensor | None = None


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


class Returns(torch.nn.Module):
    def __init__(self, result):
        super().__init__()
        self.result = result

    def forward(self, x):
        return self.result


@pytest.mark.parametrize(
    ("result", "paths"),
    [
        (A, [""]),
        ((A, B), ["0", "1"]),
        ([A, (B, None, [A])], ["0", "1_0", "1_2_0"]),
        ({"first": A, "levels": [A, B]}, ["first", "levels_0", "levels_1"]),
        (Record(first=A), ["first"]),
        (Pair(A, B), ["first", "second"]),
        ((None, 3, "x"), []),
    ],
)
def test_every_tensor_has_a_path(result, paths):
    assert [path for path, _ in named_tensors(result)] == paths


@pytest.mark.parametrize(
    ("result", "outputs", "wanted"),
    [
        (A, ("any",), (A,)),
        ((A, [B]), ("left", "right"), (A, B)),
        (Pair(A, B), ("left", "right"), (A, B)),
        (Pair(A, B), ("second",), (B,)),
        (Record(first=A, second=B), ("second", "first"), (B, A)),
    ],
)
def test_outputs_are_fields_or_stand_in_order(result, outputs, wanted):
    found = Adapter(Returns(result), inputs=("x",), outputs=outputs, by_name=False)(A)
    assert all(left is right for left, right in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    ("result", "outputs", "message"),
    [
        ({"a": A, "b": None}, ("b",), "model.outputs: the module's output has no tensor 'b'; it has a"),
        (Record(first=A), ("third",), "model.outputs: the module's output has no tensor 'third'; it has first"),
        ((A, B), ("one",), "model.outputs: the module returns 2 outputs, and model.outputs names 1"),
    ],
)
def test_an_output_that_is_not_there_is_named(result, outputs, message):
    with pytest.raises(ExportError) as caught:
        Adapter(Returns(result), inputs=("x",), outputs=outputs, by_name=False)(A)
    assert str(caught.value) == message
