"""Canonical attention, mixed by the default policy, is one kernel of a real TensorRT-RTX plan."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from pipeline.backends import plan_text
from pipeline.backends.tensorrt import process, profiles
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.backends.tensorrt.records import BuildRequest
from pipeline.core.artifacts import ActivationRanges, TensorRange
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec, PrecisionSpec
from pipeline.graph import correspondence, io
from pipeline.precision import casts, evidence
from pipeline.precision.attention import cores
from pipeline.precision.policy import policies, policy_file
from pipeline.precision.rewrites.canonical import canonicalise
from pipeline.precision.rewrites.empty_rows import restore_empty_rows
from tests import encoder, sdpa

SDPA = f"""
<ir_version: 10, opset_import: ["" : 20]>
sdpa (float[batch, sequence, 64] x, bool[batch, 1, 1, sequence] mask) => (float[batch, sequence, 64] y)
<{sdpa.CONSTANTS},
 int64[4] heads = {{0, 0, 4, 16}}, int64[3] merged = {{0, 0, 64}}>
{{
    [query] q = MatMul (x, wq)
    [key] k = MatMul (x, wk)
    [value] v = MatMul (x, wv)
    [query_heads] q4 = Reshape (q, heads)
    [key_heads] k4 = Reshape (k, heads)
    [value_heads] v4 = Reshape (v, heads)
    [query_first] qt = Transpose <perm = [0, 2, 1, 3]> (q4)
    [key_first] kh = Transpose <perm = [0, 2, 1, 3]> (k4)
    [value_first] vt = Transpose <perm = [0, 2, 1, 3]> (v4)
{sdpa.core("vt")}
    [merge] y = Reshape (ot, merged)
}}
"""
INPUTS = {
    "x": InputSpec(dtype="float32", axes=("batch", "sequence", 64)),
    "mask": InputSpec(dtype="bool", axes=("batch", 1, 1, "sequence")),
}
AXES = encoder.AXES


def exported():
    model = ir.from_onnx_text(SDPA)
    random = np.random.default_rng(0)
    for name in ("wq", "wk", "wv"):
        (use,) = [(node, index) for node in model.graph for index, v in enumerate(node.inputs) if v and v.name == name]
        tensor = ir.tensor(random.normal(0, 0.1, (64, 64)).astype(np.float32), name=name)
        value = ir.val(name, dtype=ir.DataType.FLOAT, shape=(64, 64), const_value=tensor)
        model.graph.register_initializer(value)
        use[0].replace_input_with(use[1], value)
    return model


def mix(model):
    """Apply what the default policy decides for ranges of +-1."""
    observed = TensorRange(low=-1.0, high=1.0, smallest=1e-3, elements=100)
    tensors = {v.name: observed for v in correspondence.values(model.graph) if v.dtype is ir.DataType.FLOAT}
    ranges = ActivationRanges(model="m", samples=1, low=Format.FP16, tensors=tensors)
    spec = PrecisionSpec()
    seen = evidence.gather(model, ranges, spec)
    casts.apply(model, policies.decide(seen, policy_file.settings(spec, Path("engines/tiny")), {}))


def kernels(model, folder):
    folder.mkdir()
    request = BuildRequest(
        onnx=io.save(model, folder),
        plan=folder / "engine.plan",
        flavour=Flavour.RTX,
        targets=("8.9",),
        workspace_mib=64,
        tf32=False,
        profiles=profiles.of_inputs(INPUTS, AXES),
    )
    answer = process.build(request, folder / "build.log", Silent())
    assert answer.built, answer.errors
    return plan_text.read(request.plan)


@pytest.mark.parametrize("zeroed", [False, True], ids=["rows keep the mean", "rows without a key are zero"])
def test_exported_sdpa_is_one_fused_kernel_once_it_is_canonical(tmp_path, zeroed):
    model = exported()
    if zeroed:
        restore_empty_rows(model)
    canonicalise(model)
    (core,) = cores(model.graph)
    mix(model)
    text = kernels(model, tmp_path / "mixed")
    (fused,) = [kernel for kernel in text.kernels if kernel.fused_attention]
    assert {core.scores.name, core.softmax.name, core.values.name} <= set(fused.nodes)
