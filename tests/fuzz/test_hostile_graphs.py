"""ONNX files that no exporter writes: each is refused in words, quickly, and without allocating what it claims."""

import subprocess
import sys

import onnx
from onnx import TensorProto, helper

from pipeline.core.spec import AxisRange, InputSpec

INPUTS = {"x": InputSpec(dtype="float32", axes=("batch", 4))}
AXES = {"batch": AxisRange(min=1, opt=2, max=4)}
HUGE = 1 << 40
ROOM = 6 << 30
"""Address space that a reader gets: what is claimed below would not fit into it."""


def value(name, shape=("batch", 4), kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, *, initializers=(), outputs=("y",)):
    graph = helper.make_graph(nodes, "hostile", [value("x")], [value(name) for name in outputs], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def outside():
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret.bin")
    return model([helper.make_node("Add", ["x", "w"], ["y"])], initializers=[tensor])


def absolute():
    made = outside()
    made.graph.initializer[0].external_data[0].value = "/etc/passwd"
    return made


def in_a_subgraph():
    branch = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["z"])], "b", [], [value("z", (4,))], [outside().graph.initializer[0]]
    )
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    return model([node], initializers=[condition])


def in_an_attribute():
    node = helper.make_node("Constant", [], ["w"], value=outside().graph.initializer[0])
    return model([node, helper.make_node("Add", ["x", "w"], ["y"])])


def beyond_its_file():
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[HUGE], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="model.onnx.data")
    tensor.external_data.add(key="length", value=str(4 * HUGE))
    return model([helper.make_node("Add", ["x", "w"], ["y"])], initializers=[tensor])


def cyclic():
    return model([helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])], outputs=["a"])


def wrong_types():
    index = helper.make_tensor("w", TensorProto.INT64, [4], [1, 2, 3, 4])
    return model([helper.make_node("Add", ["x", "w"], ["y"])], initializers=[index])


def huge_dimensions():
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [HUGE, 4])
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["z"]), helper.make_node("Add", ["x", "z"], ["y"])]
    return model(nodes, initializers=[shape])


def huge_range():
    numbers = [
        helper.make_tensor(name, TensorProto.INT64, [], [n]) for name, n in zip("abc", (0, HUGE, 1), strict=True)
    ]
    nodes = [
        helper.make_node("Range", ["a", "b", "c"], ["r"]),
        helper.make_node("Cast", ["r"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["f"], ["t"], keepdims=0),
        helper.make_node("Add", ["x", "t"], ["y"]),
    ]
    return model(nodes, initializers=numbers)


def short_of_data():
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[HUGE], raw_data=b"\0" * 16)
    return model([helper.make_node("Add", ["x", "w"], ["y"])], initializers=[tensor])


def negative_dimension():
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-4], raw_data=b"\0" * 16)
    return model([helper.make_node("Add", ["x", "w"], ["y"])], initializers=[tensor])


def undefined_input():
    return model([helper.make_node("Add", ["x", "nowhere"], ["y"])])


def unknown_operator():
    return model([helper.make_node("Shell", ["x"], ["y"], domain="evil", command="rm -rf /")])


def written_twice():
    return model([helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])])


def calls_itself():
    made = model([helper.make_node("F", ["x"], ["y"], domain="local")])
    made.opset_import.append(helper.make_opsetid("local", 1))
    body = [helper.make_node("F", ["p"], ["q"], domain="local")]
    made.functions.append(helper.make_function("local", "F", ["p"], ["q"], body, made.opset_import))
    return made


EXPECTED = {
    "outside": "refused PATH: initializer w lies outside the model's folder (../secret.bin)",
    "absolute": "refused PATH: initializer w lies outside the model's folder (/etc/passwd)",
    "in_a_subgraph": "refused PATH: initializer w lies outside the model's folder (../secret.bin)",
    "in_an_attribute": "refused PATH: initializer in node Constant lies outside the model's folder (../secret.bin)",
    "beyond_its_file": "refused PATH: initializer w ends at byte 4398046511104 of model.onnx.data, which has 64",
    "cyclic": "refused PATH: nodes depend on themselves: Add → Relu → Add",
    "wrong_types": "refused hostile: ONNX Runtime cannot load this model:",
    "huge_dimensions": "refused PATH: node ConstantOfShape (ConstantOfShape) makes a constant of 4.39805e+12 elements",
    "huge_range": "refused PATH: node Range (Range) makes a constant of 1.09951e+12 elements",
    "short_of_data": "refused PATH: initializer w has 16 bytes, its dimensions say 4398046511104",
    "negative_dimension": "refused PATH: initializer w has the dimensions [-4]",
    "undefined_input": "refused model.onnx: ONNX's version converter cannot bring opset 17 to 20",
    "unknown_operator": "refused model.onnx: ONNX's version converter cannot bring opset 17 to 20",
    "written_twice": "refused PATH: not a readable ONNX model: Error calling _deserialize_graph with: hostile",
    "calls_itself": "refused PATH: functions depend on themselves: local::F → local::F",
}
"""How the answer on each begins."""

HOSTILE = (
    outside, absolute, in_a_subgraph, in_an_attribute, beyond_its_file, cyclic, wrong_types, huge_dimensions,
    huge_range, short_of_data, negative_dimension, undefined_input, unknown_operator, written_twice, calls_itself,
)  # fmt: skip

READ = f"""
import resource, sys
from pathlib import Path
from pipeline.core.errors import PipelineError
from tests.fuzz.test_hostile_graphs import AXES, INPUTS
from pipeline.backends.onnxruntime import Session
from pipeline.models import onnx_source
from pipeline.precision.rewrites import canonical
resource.setrlimit(resource.RLIMIT_AS, ({ROOM}, {ROOM}))
for path in map(Path, sys.argv[1:]):
    try:
        arrived = onnx_source.load(path, opset=20, inputs=INPUTS, axes=AXES, outputs=())
        canonical.canonicalise(arrived.model)
        Session(arrived.model)
        said = "accepted"
    except PipelineError as error:
        said = "refused " + " ".join(str(error).split())
    except BaseException as error:
        said = f"ESCAPED {{type(error).__name__}}: {{error}}"
    print(path.parent.name, said.replace(str(path), "PATH"), flush=True)
"""


def test_each_is_refused_in_words_and_allocates_nothing(tmp_path, record_property):
    paths = []
    for make in HOSTILE:
        folder = tmp_path / make.__name__
        folder.mkdir()
        (folder / "model.onnx.data").write_bytes(bytes(64))
        onnx.save(make(), folder / "model.onnx")
        paths.append(str(folder / "model.onnx"))
    (tmp_path / "secret.bin").write_bytes(b"s" * 16)
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run([sys.executable, "-c", READ, *paths], capture_output=True, text=True, check=False)
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said.keys() == EXPECTED.keys(), done.stderr[-2000:]
    assert [name for name, words in said.items() if not words.startswith(EXPECTED[name])] == []
    assert sorted(tmp_path.rglob("*")) == before
    record_property("hostile inputs", len(paths))
