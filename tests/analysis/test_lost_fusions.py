"""Which fused kernels of the all-low plan a mixed plan lost, and the decision that lost each."""

from pipeline.analysis.delivery import lost_fusions
from pipeline.core.artifacts import Kernel, LostFusion, PlanText
from tests import encoder

SIZES = {"batch": 2, "sequence": 16}
TENSOR = 2 * 16 * encoder.WIDTH


def text(**kernels):
    """A plan of kernels by name, each with its nodes in one string."""
    return PlanText(
        version="1.7.1.116",
        targets=("8.9",),
        kernels=tuple(
            Kernel(
                kind="fully_connected" if name.startswith("fc") else "function", name=name, nodes=tuple(nodes.split())
            )
            for name, nodes in kernels.items()
        ),
    )


ATTENTION = "scores scale masked softmax context"
PRODUCTS = {"fc_q": "query", "fc_k": "key", "fc_v": "value"}
ALL_LOW = text(**PRODUCTS, mha=ATTENTION, fc_o="output", tail="residual norm")


def lost(plan, all_low=ALL_LOW):
    return lost_fusions.find(encoder.mixed(), encoder.plan(), plan, all_low, SIZES)


def test_a_plan_with_the_same_kernels_lost_none():
    assert lost(ALL_LOW) == ()
    assert lost(text(**PRODUCTS, mha=f"cast::p {ATTENTION} cast::sm::fp32", fc_o="output", tail="norm residual")) == ()


def test_a_kernel_in_two_is_lost_to_the_decision_at_the_tensor_between_them():
    found = lost(text(**PRODUCTS, mha=ATTENTION, fc_o="output", add="residual", norm="norm"))
    assert found == (
        LostFusion(
            kernels=("tail",),
            nodes=("residual", "norm"),
            now=("add", "norm"),
            more_kernels=1,
            more_bytes=2 * 2 * TENSOR,
            decision="norm",
            rule="by hand",
            reason="test",
        ),
    )
    assert lost_fusions.split(found) == ["tail: 1 kernels more, 0.01 MB more between them, because of norm: test"]


def test_nodes_that_are_only_grouped_otherwise_cost_nothing():
    (found,) = lost(text(**PRODUCTS, mha=ATTENTION, fc_add="output residual", norm="norm"))
    assert (found.kernels, found.now) == (("tail",), ("fc_add", "norm"))
    assert (found.more_kernels, found.more_bytes) == (0, 0)
    assert lost_fusions.split((found,)) == [
        "1 fused kernels of the all-low plan are grouped otherwise here, at no kernel more"
    ]


def test_a_broken_attention_names_what_is_fp32_in_it():
    (found,) = lost(text(**PRODUCTS, fc_s="scores", soft="scale masked softmax", fc_c="context", fc_o="output",
                         tail="residual norm"))  # fmt: skip
    assert (found.kernels, found.more_kernels, found.decision) == (("mha",), 2, "softmax")
    scores = 2 * 4 * 16 * 16
    assert found.more_bytes == 2 * (2 + 2) * scores


def test_a_product_is_where_it_is_multiplied_and_not_where_its_operand_is_padded():
    padded = text(pad="output", **PRODUCTS, mha=ATTENTION, fc_o="output", tail="residual norm")
    assert lost(padded) == ()


def test_where_no_decision_differs_none_is_blamed():
    (found,) = lost(text(fc_qk="query key", fc_v="value", mha=ATTENTION, fc_o="output", tail="residual norm"),
                    text(fc_qkv="query key value", mha=ATTENTION, fc_o="output", tail="residual norm"))  # fmt: skip
    assert (found.kernels, found.decision, found.rule) == (("fc_qkv",), None, None)
    assert (
        found.reason == "every node here is decided as in the all-low plan: TensorRT grouped them otherwise by itself"
    )
