"""Why a node may be in no kernel: each explanation alone."""

import numpy as np
import pytest

from pipeline.analysis.delivery import built
from pipeline.core.artifacts import Decision, Kernel, PlanText, PrecisionPlan
from pipeline.core.formats import Format
from tests import encoder

GRAPH = f"""{encoder.HEAD}
g (float[batch, 8] x) => (float[batch, 8] y, int64[2] size) {{
    [halve] s = Mul(x, half)
    [flat] f = Reshape(s, shape)
    [product] p = MatMul(f, w)
    [shift] b = Add(p, w1)
    [narrow] n = Cast<to = 10>(b)
    [wide] v = Cast<to = 1>(n)
    [root] r = Sqrt(w1)
    [grow] y = Add(v, v)
    [nothing] o = Add(y, zeros)
    [bend] e = Elu(p)
    [size] size = Shape(x)
}}
"""
WEIGHTS = {
    "half": encoder.random((1,)),
    "w": encoder.random((8, 8)),
    "w1": abs(encoder.random((8,))),
    "shape": encoder.sizes(-1, 8),
    "zeros": np.zeros((8,), np.float32),
}


def check(*seen, name="__myl_FcElu"):
    model = encoder.parse(GRAPH, WEIGHTS)
    decisions = tuple(
        Decision(
            node=str(node.name),
            op=node.op_type,
            module="",
            operands=Format.FP32,
            result=None if node.op_type == "Shape" else Format.FP32,
            rule="",
            reason="",
        )
        for node in model.graph
    )
    plan = PrecisionPlan(model="", policy="", low=Format.FP16, decisions=decisions)
    kernel = Kernel(kind="runtime_fusion", name=name, nodes=seen, accumulation=0, operands=("float",))
    return built.built(plan, model, PlanText(version="1.7.1.116", targets=("8.9",), kernels=(kernel,)))


def test_every_absence_but_a_computation_of_its_own_is_explained():
    result = check("product")
    assert result.problems == ("grow (Add): in no kernel of the plan, and nothing explains it",)
    assert set(result.unobservable) == {
        "1 nodes in no kernel: adds nothing but zeros",
        "1 nodes in no kernel: an activation that the kernel of the product before it is named after",
        "1 nodes in no kernel: computes shapes, indices or conditions, on the host or inside its readers",
        "1 nodes in no kernel: constant, folded before the build",
        "1 nodes in no kernel: moves data only, done by how its neighbours address memory",
        "2 nodes in no kernel: a Cast that its neighbours do while they read or write",
        "2 nodes in no kernel: scale or shift by a constant, folded into the product beside it",
    }


def test_a_scale_beside_a_product_that_is_nowhere_is_not_explained():
    problems = check("grow").problems
    assert [problem.split(" ")[0] for problem in problems] == ["halve", "product", "shift", "bend"]


def test_an_activation_that_the_kernels_name_lacks_is_not_explained():
    problems = check("product", "grow", name="__myl_FcAdd").problems
    assert problems == ("bend (Elu): in no kernel of the plan, and nothing explains it",)


@pytest.mark.parametrize("node", ["halve", "flat", "narrow"])
def test_a_node_in_a_kernel_needs_no_explanation(node):
    assert check("product", "grow", node).passed
