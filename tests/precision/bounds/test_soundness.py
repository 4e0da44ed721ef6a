"""No value that a graph computes, in fp32 or with every rounding of a mixed form, lies outside its bounds."""

import numpy as np
import onnx_ir as ir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import ActivationRanges
from pipeline.core.formats import Format
from pipeline.precision import bounds, casts
from pipeline.precision.bounds import Given, extents
from pipeline.precision.emulation.emulate import emulate
from pipeline.precision.policy.policies import uniform
from tests import encoder

WIDTH = 8
LIMIT = 50.0

STEPS = {
    "Relu(v)": 1,
    "Neg(v)": 1,
    "Abs(v)": 1,
    "Tanh(v)": 1,
    "Sigmoid(v)": 1,
    "Erf(v)": 1,
    "Gelu(v)": 1,
    "Mish(v)": 1,
    "HardSwish(v)": 1,
    "Softplus(v)": 1,
    "LeakyRelu<alpha = 0.3>(v)": 1,
    "Elu<alpha = 2.0>(v)": 1,
    "Floor(v)": 1,
    "Cos(v)": 1,
    "Softmax<axis = -1>(v)": 1,
    "LogSoftmax<axis = -1>(v)": 1,
    "LayerNormalization<axis = -1>(v, gain, shift)": 1,
    "LayerNormalization<axis = -1>(v, gain)": 1,
    "MatMul(v, square)": 1,
    "Mul(v, gain)": 1,
    "Div(v, gain)": 1,
    "Add(v, shift)": 1,
    "Sub(v, shift)": 1,
    "Mul(v, v)": 1,
    "Pow(v, two)": 1,
    "Clip(v, low, high)": 1,
    "Transpose<perm = [0, 2, 1]>(v)": 1,
    "Add(v, w)": 2,
    "Sub(v, w)": 2,
    "Mul(v, w)": 2,
    "Max(v, w)": 2,
    "Where(chosen, v, w)": 2,
    "MatMul(v, w)": 2,
}
"""One step of a random graph; v and w are earlier tensors, [batch, 8, 8]."""

BLOCKS = {
    "Expand(mean, full)": "mean = ReduceMean(v, last)",
    "Expand(total, full)": "total = ReduceSum(v, last)",
    "Expand(norm, full)": "norm = ReduceL2(v, last)",
}
"""Steps of two nodes."""


@st.composite
def graphs(draw):
    """A random graph of up to eight steps, as text."""
    lines, known = [], ["x"]
    for index in range(draw(st.integers(1, 8))):
        step = draw(st.sampled_from([*STEPS, *BLOCKS, "rms"]))
        v, w = draw(st.sampled_from(known)), draw(st.sampled_from(known))
        lines += _step(step, f"t{index}", v, w)
        known.append(f"t{index}")
    body = "\n".join(f"    [n{i}] {line}" for i, line in enumerate(lines))
    return f"""
random (float[batch, {WIDTH}, {WIDTH}] x) => (float[batch, {WIDTH}, {WIDTH}] {known[-1]})
<float[1] two = {{2.0}}, float low = {{-3.0}}, float high = {{4.0}}, int64[1] last = {{-1}},
 int64[3] full = {{1, {WIDTH}, {WIDTH}}}, float[1] eps = {{0.00001}}> {{
{body}
}}"""


def _step(step, name, v, w):
    if step == "rms":
        return [
            f"{name}s = Mul({v}, {v})",
            f"{name}m = ReduceMean({name}s, last)",
            f"{name}e = Add({name}m, eps)",
            f"{name}r = Sqrt({name}e)",
            f"{name} = Div({v}, {name}r)",
        ]
    if step in BLOCKS:
        short = BLOCKS[step].split(" ")[0]
        inner = BLOCKS[step].replace(f"{short} =", f"{name}{short} =").replace("(v,", f"({v},")
        return [inner, f"{name} = {step.replace(short, f'{name}{short}')}"]
    op, _, rest = step.rpartition("(")
    operands = [{"v": v, "w": w}.get(item.strip(), item.strip()) for item in rest.rstrip(")").split(",")]
    return [f"{name} = {op}({', '.join(operands)})"]


def model_of(text, seed):
    random = np.random.default_rng(seed)
    weights = {
        "square": random.normal(0, 1, (WIDTH, WIDTH)).astype(np.float32),
        "gain": random.normal(0, 2, WIDTH).astype(np.float32) + np.float32(0.01),
        "shift": random.normal(0, 3, WIDTH).astype(np.float32),
        "chosen": random.integers(0, 2, (WIDTH, WIDTH)).astype(bool),
    }
    return encoder.parse(encoder.HEAD + text, weights)


def bounds_of(model, given, low=Format.FP16):
    known = extents.of_graph(model.graph, ActivationRanges(model="m", samples=1, low=low, tensors={}))
    return {value.name: bound for value, bound in bounds.of_graph(model, known, given, low).items()}


def everything(model):
    """The same model with every float tensor an output."""
    model.graph.outputs[:] = [v for node in model.graph for v in node.outputs if v.dtype is ir.DataType.FLOAT]
    return model


def require_inside(model, found, x):
    for name, array in Session(everything(model), as_written=True)({"x": x}).items():
        if name not in found or array.ndim != 3 or not np.isfinite(array).all():
            continue
        bound = found[name]
        low, high = np.float64(array).min(axis=(0, 1)), np.float64(array).max(axis=(0, 1))
        assert np.all(bound.low <= low), (name, bound.low, low)
        assert np.all(high <= bound.high), (name, bound.high, high)
        rows = np.linalg.norm(np.float64(array), axis=-1).max()
        columns = np.linalg.norm(np.float64(array), axis=-2).max()
        assert rows <= bound.row_norm(array.shape[-1])
        assert columns <= bound.column
        assert np.abs(np.float64(array)).sum(axis=-1).max() <= bound.total


INPUTS = st.sampled_from(["normal", "one", "edges", "small", "equal"])


def feed(kind, seed):
    random = np.random.default_rng(seed)
    shape = (1, WIDTH, WIDTH)
    if kind == "one":
        x = np.zeros(shape)
        x[..., random.integers(WIDTH)] = LIMIT
    elif kind == "edges":
        x = random.choice([-LIMIT, LIMIT], shape)
    elif kind == "small":
        x = random.normal(0, 1e-3, shape)
    elif kind == "equal":
        x = np.full(shape, random.uniform(-LIMIT, LIMIT))
    else:
        x = random.normal(0, 10, shape)
    return np.clip(x, -LIMIT, LIMIT).astype(np.float32)


GIVEN = Given(axes={"batch": 4}, inputs={"x": (-LIMIT, LIMIT)})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=graphs(), seed=st.integers(0, 999), kind=INPUTS)
def test_fp32_values_lie_inside(text, seed, kind):
    model = model_of(text, seed)
    require_inside(model, bounds_of(model, GIVEN), feed(kind, seed))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=graphs(), seed=st.integers(0, 999), kind=INPUTS, low=st.sampled_from([Format.FP16, Format.BF16]))
def test_rounded_values_lie_inside(text, seed, kind, low):
    model = model_of(text, seed)
    found = bounds_of(model, GIVEN, low)
    kept = {"ReduceMean", "Sqrt", "Pow"} | {"Mul", "Add", "Div"} if "Sqrt" in text else set()
    decisions = [item if item.op not in kept else _wide(item) for item in uniform(model, low)]
    casts.apply(model, decisions)
    require_inside(emulate(model), found, feed(kind, seed))


def _wide(decision):
    import dataclasses

    return dataclasses.replace(decision, operands=Format.FP32, result=Format.FP32)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=graphs(), seed=st.integers(0, 999), kind=INPUTS)
def test_values_lie_inside_although_nothing_is_known_of_the_input(text, seed, kind):
    model = model_of(text, seed)
    require_inside(model, bounds_of(model, Given()), 100 * feed(kind, seed))
