"""The semantics table is total, consistent with ONNX's schemas, and refuses by name what it does not know."""

import onnx_ir as ir
import pytest
from onnx import defs

from pipeline.core.errors import GraphError
from pipeline.precision import semantics
from pipeline.precision.semantics import TABLE, Movement


def node(op, domain="", **attributes):
    return ir.node(op, [], attributes=attributes, domain=domain, name="n")


def newest_schemas():
    newest = {}
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "" and not schema.deprecated and schema.since_version <= 22:
            kept = newest.get(schema.name)
            if kept is None or kept.since_version < schema.since_version:
                newest[schema.name] = schema
    return newest


SCHEMAS = newest_schemas()
FLOATS = {"tensor(float)", "tensor(float16)", "tensor(bfloat16)"}


@pytest.mark.parametrize("op", sorted(SCHEMAS.keys() - {"Scatter"}))
def test_every_operator_has_semantics_or_a_refusal_with_a_hint(op):
    if op in TABLE:
        assert semantics.of(node(op)).op == op
    else:
        with pytest.raises(GraphError, match=f"operator {op} ") as caught:
            semantics.of(node(op))
        assert caught.value.hint


def test_the_table_names_only_operators_of_onnx():
    assert TABLE.keys() <= SCHEMAS.keys()


FLOAT_OPS = sorted(op for op, row in TABLE.items() if row.movement not in (Movement.INTEGER, Movement.CONTROL))
GENERATORS = {"BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"}  # floats from sizes alone


@pytest.mark.parametrize("op", sorted(set(FLOAT_OPS) - GENERATORS))
def test_operands_that_onnx_never_types_as_float_are_index_operands(op):
    never_float = {i for i, item in enumerate(SCHEMAS[op].inputs) if not item.types & FLOATS}
    assert never_float <= set(TABLE[op].index_operands)


@pytest.mark.parametrize("op", sorted(op for op, row in TABLE.items() if row.fp32_operands))
def test_operands_that_stay_fp32_are_typed_apart_from_the_data_by_onnx(op):
    inputs = SCHEMAS[op].inputs if op in SCHEMAS else ()
    for position in TABLE[op].fp32_operands:
        assert inputs[position].type_str != inputs[0].type_str


@pytest.mark.parametrize(
    ("reduction", "movement"),
    [("none", Movement.EXACT), ("max", Movement.EXACT), ("add", Movement.ROUNDED), ("mul", Movement.ROUNDED)],
)
def test_a_scatter_rounds_only_where_it_computes(reduction, movement):
    assert semantics.of(node("ScatterND", reduction=reduction)).movement is movement


def test_an_operator_of_another_domain_is_named_whole():
    with pytest.raises(GraphError) as caught:
        semantics.of(node("Gelu", domain="com.microsoft"))
    assert str(caught.value) == (
        "node n: operator com.microsoft::Gelu has no precision semantics\n"
        "  hint: express it in standard ONNX operators, or add its row to pipeline/precision/semantics.py"
    )


def test_a_quantised_operator_is_refused_with_the_way_out():
    with pytest.raises(GraphError) as caught:
        semantics.of(node("DequantizeLinear"))
    assert str(caught.value) == (
        "node n: operator DequantizeLinear computes on quantised integers, which have no fp32 reference here\n"
        "  hint: give the pipeline the model as it was before quantisation"
    )


def test_a_call_of_a_local_function_is_control():
    call = node("Block", domain="local")
    assert semantics.of(call, {("local", "Block", "")}).movement is Movement.CONTROL
