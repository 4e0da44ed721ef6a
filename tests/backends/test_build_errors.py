import io

from pipeline.backends.tensorrt.builder import explained
from pipeline.backends.tensorrt.logger import BuildLog

COMPILER = """IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([shape.cpp:175: ~op_constraints_msg_streamer_t]
Error during shape inference of
mul_output_U24 = mul(coordValue_U17, node_arange_shape_U21_cast_F16), name=node_arange_shape_U23_mul
Error is:
Input 0's element type (float) differs from input 1's element type (half).; [shape.cpp:175: ~op_constraints]
Error during shape inference of
add_output_U25 : f32[] = add(mul_output_U24, coordValue_U22), name=node_arange_shape_U23_add
Error is:
It is not valid for inputs[0] to h)"""


def test_where_the_compiler_stopped_stands_first():
    first, *rest = explained(["an earlier line", COMPILER])
    assert first == (
        "its compiler stopped at node_arange_shape_U23_mul: "
        "Input 0's element type (float) differs from input 1's element type (half)."
    )
    assert rest == ["an earlier line", COMPILER]


def test_errors_of_another_form_stay_as_they_came():
    errors = ("Error Code 1: Myelin ([impl.cpp:1: f] Out of registers)", "another")
    assert explained(errors) == errors


def test_what_is_said_of_every_int64_input_is_logged_and_no_warning():
    log = BuildLog(stream=io.StringIO())
    for line in ("ModelImporter.cpp:1071: Make sure input ids has Int64 binding.", "weights are subnormal"):
        log.write("WARNING", line)
    assert log.warnings == ["weights are subnormal"]
    assert "Int64 binding" in log.stream.getvalue()
