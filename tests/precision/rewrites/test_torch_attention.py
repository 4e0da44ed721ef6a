"""Canonical attention against the PyTorch module that it was exported from."""

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from pipeline.backends.onnxruntime import Session
from pipeline.graph import correspondence
from pipeline.precision.attention import cores
from pipeline.precision.rewrites.canonical import canonicalise
from pipeline.precision.rewrites.empty_rows import restore_empty_rows

HEADS, SIZE = 4, 16


@dataclass(frozen=True)
class Variant:
    implementation: str
    mask: str
    causal: bool = False
    key_heads: int = HEADS

    def __str__(self):
        parts = [self.implementation, self.mask, "causal" * self.causal, "grouped" * (self.key_heads < HEADS)]
        return "-".join(filter(None, parts))


class Attention(torch.nn.Module):
    def __init__(self, variant):
        super().__init__()
        self.variant = variant
        self.query = torch.nn.Linear(HEADS * SIZE, HEADS * SIZE)
        self.key = torch.nn.Linear(HEADS * SIZE, variant.key_heads * SIZE)
        self.value = torch.nn.Linear(HEADS * SIZE, variant.key_heads * SIZE)

    def forward(self, hidden, attention_mask):
        query, key, value = (self.split(layer(hidden)) for layer in (self.query, self.key, self.value))
        if self.variant.implementation == "eager":
            mixed = self.eager(query, key, value, self.mask(attention_mask))
        else:
            grouped = self.variant.key_heads < HEADS
            mixed = torch.nn.functional.scaled_dot_product_attention(
                query, key, value, attn_mask=self.mask(attention_mask), enable_gqa=grouped
            )
        return mixed.transpose(1, 2).flatten(2)

    def split(self, hidden):
        return hidden.unflatten(2, (-1, SIZE)).transpose(1, 2)

    def mask(self, attention_mask):
        valid = attention_mask.bool()[:, None, None, :]
        if self.variant.causal:
            place = torch.arange(attention_mask.shape[1])
            valid = valid & (place[None, :] <= place[:, None])
        if self.variant.mask == "boolean":
            return valid
        lowest = torch.finfo(torch.float32).min if self.variant.mask == "finite" else -torch.inf
        return torch.where(valid, 0.0, lowest)

    def eager(self, query, key, value, mask):
        scores = query @ key.transpose(2, 3) * SIZE**-0.5 + mask
        return torch.softmax(scores, dim=-1) @ value


VARIANTS = [
    Variant("sdpa", "boolean"),
    Variant("sdpa", "boolean", causal=True, key_heads=2),
    Variant("sdpa", "infinite", causal=True),
    Variant("sdpa", "finite"),
    Variant("eager", "finite", causal=True),
    Variant("eager", "infinite"),
]


def export(module):
    batch, length = torch.export.Dim("batch", min=1, max=8), torch.export.Dim("sequence", min=2, max=32)
    axes = {0: batch, 1: length}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (torch.randn(3, 5, HEADS * SIZE), torch.ones(3, 5, dtype=torch.int64)),
            dynamo=True,
            opset_version=20,
            dynamic_shapes=(axes, axes),
            input_names=["hidden", "attention_mask"],
            output_names=["mixed"],
            verbose=False,
        )
    return program.model


@pytest.fixture(scope="module", params=VARIANTS, ids=str)
def pair(request):
    torch.manual_seed(0)
    module = Attention(request.param).eval()
    return module, export(module)


def feeds(length=6):
    """No padding, right padding, left padding, and a sample that is all padding."""
    mask = np.ones((4, length), np.int64)
    mask[1, length // 2 :] = 0
    mask[2, : length // 2] = 0
    mask[3] = 0
    hidden = np.random.default_rng(length).standard_normal((4, length, HEADS * SIZE), np.float32)
    return {"hidden": hidden, "attention_mask": mask}


def run(module, feed):
    with torch.inference_mode():
        return module(*(torch.from_numpy(array) for array in feed.values())).numpy()


def test_canonical_attention_is_the_module_for_every_padding(pair):
    module, model = pair
    exported = model.clone()
    names = correspondence.tensor_names(exported)
    fates = [restore_empty_rows(exported)]
    restored = Session(exported)
    fates.append(canonicalise(exported))
    canonical = Session(exported)
    for length in (2, 6, 11):
        feed = feeds(length)
        expected = run(module, feed)
        np.testing.assert_allclose(restored(feed)["mixed"], expected, atol=2e-6, rtol=1e-5)
        np.testing.assert_allclose(canonical(feed)["mixed"], expected, atol=2e-6, rtol=1e-5)
    composed = correspondence.compose(names, *fates)
    assert correspondence.unaccounted(names, composed, correspondence.tensor_names(exported)) == ()


def test_canonical_attention_has_one_form(pair):
    module, model = pair
    canonical = model.clone()
    restore_empty_rows(canonical)
    canonicalise(canonical)
    (core,) = cores(canonical.graph)
    zeroed = module.variant.implementation == "sdpa" and module.variant.mask != "finite"
    assert [node.op_type for node in core.between] == ["Mul", "Add"]
    assert core.after == ()
    assert [use.node.op_type for use in core.values.outputs[0].uses()] == ["Where" if zeroed else "Transpose"]
    assert [value.producer().op_type for value in core.scores.inputs][1] == "Transpose"
    assert "IsNaN" not in {node.op_type for node in canonical.graph}


def test_a_second_time_changes_nothing(pair):
    _, model = pair
    canonical = model.clone()
    restore_empty_rows(canonical)
    canonicalise(canonical)
    before = [(node.name, node.op_type, [value and value.name for value in node.inputs]) for node in canonical.graph]
    assert canonicalise(canonical) == ()
    after = [(node.name, node.op_type, [value and value.name for value in node.inputs]) for node in canonical.graph]
    assert after == before
