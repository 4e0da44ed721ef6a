import struct

import pytest

from pipeline.backends import plan_text
from pipeline.backends.tensorrt import process, profiles
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.backends.tensorrt.records import BuildRequest
from pipeline.core.artifacts import Kernel, PlanText
from pipeline.core.progress import Silent
from pipeline.graph import io
from tests import encoder

UNKNOWN = PlanText(version=None, targets=(), kernels=())

GRAPH = """header {
  version = 5
  memory_budget = 1
}
descriptors {
  tensor={ alignment=2 dims={ 4 } mem_prop=0 name="a" offset=0 type=half }
  tensor={ alignment=4 dims={ 4 } mem_prop=0 name="b" offset=0 type=float }
  tensor={ alignment=8 dims={ 1 } mem_prop=100 name="size" offset=0 type=int64 }
}
main {
 label bb1:
  shape_call={ name="s" stream=0 layers="" }
  function={ name=_gemm_mha_v2 fqn=x args={ "a" "a" } input_args={ "a" "size" } output_args={ "a" } \
layers="[ONNX Layer: scores]\x1f[ONNX Layer: soft[0]]" }
  fully_connected={ name="qkv" output={"b" } input={"a" "a^deref" "b" } accumulation_type=2 \
layers="[ONNX Layer: q]\x1f[ONNX Layer: k]" }
  runtime_fusion={ name=__myl_FcAdd input_args={ "a" "b" } output_args={ "b" } binary=0 \
layers="[ONNX Layer: fc]\x1f[ONNX Layer: bias]__gemm_from_conv1x1" }
  corrltn={ name="c" output={"a" } input={"a" "a" "b" } accu=false layers="[ONNX Layer: conv]" }
  deconvolution={ name="d" output={"a" } input={"a" "a" "b" "b" "a" } layers="[ONNX Layer: up]" }
  add={ name="counter" output={"size" } input={"size" "size" } layers="" }
}
shape_main {
  mul={ name="hidden" output={"size" } input={"size" "size" } layers="[ONNX Layer: not a kernel]" }
}
\x00\x01\x02
header {
  version = 4
}
descriptors {
  tensor={ alignment=2 dims={ 4 } name="p" offset=0 type=half }
  tensor={ alignment=4 dims={ 4 } name="q" offset=0 type=float }
}
main {
  fully_connected={ name="f" output={"p" } input={"p" "p" "q" } accumulation_type=0 layers="[ONNX Layer: fc]" }
  add={ name="g" output={"p" } input={"p" "p" } layers="[ONNX Layer: bias]" }
}
"""


def a_plan(text=GRAPH, version=(1, 7, 1, 116), mask=4 | 8 | 16, magic=b"vtrt"):
    body = text.encode()
    header = bytearray(64)
    header[0:4] = magic
    struct.pack_into("<Q", header, 16, len(header) + len(body))
    header[24:28] = bytes(version)
    struct.pack_into("<I", header, 32, mask)
    return bytes(header) + body


def read(tmp_path, content):
    path = tmp_path / "a.plan"
    path.write_bytes(content)
    return plan_text.read(path)


def test_header_and_kernels_of_a_graph_and_its_bodies(tmp_path):
    text = read(tmp_path, a_plan())
    assert (text.version, text.targets) == ("1.7.1.116", ("8.6", "8.9", "12.0"))
    half, single = ("half",), ("float",)
    assert text.kernels == (
        Kernel(kind="function", name="_gemm_mha_v2", nodes=("scores", "soft[0]"), operands=half, results=half),
        Kernel(kind="fully_connected", name="qkv", nodes=("q", "k"), accumulation=2, operands=half, results=single),
        Kernel(
            kind="runtime_fusion",
            name="__myl_FcAdd",
            nodes=("fc", "bias"),
            accumulation=0,
            operands=half,
            results=half,
        ),
        Kernel(kind="corrltn", name="c", nodes=("conv",), operands=half, results=half),
        Kernel(kind="deconvolution", name="d", nodes=("up",), operands=half, results=half),
    )
    assert text.fused_attentions == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"vtrt",
        a_plan(magic=b"ptrt"),
        a_plan(version=(1, 8, 0, 0)),
        a_plan()[:-1],
        a_plan() + b"more",
    ],
    ids=["empty", "short", "another magic number", "a version that was not tested", "cut off", "longer than it says"],
)
def test_what_is_not_a_known_plan_gives_no_kernels(tmp_path, content):
    assert read(tmp_path, content) == UNKNOWN


def test_text_without_programs_has_no_kernels(tmp_path):
    assert read(tmp_path, a_plan("main {\n  function={ name=x }\n}\n")).kernels == ()


def test_every_product_of_a_real_plan_is_read_with_its_types(tmp_path):
    request = BuildRequest(
        onnx=io.save(encoder.mixed(), tmp_path),
        plan=tmp_path / "a.plan",
        flavour=Flavour.RTX,
        targets=("8.9", "12.0"),
        workspace_mib=64,
        tf32=False,
        profiles=profiles.of_inputs(encoder.INPUTS, encoder.AXES),
    )
    assert process.build(request, tmp_path / "log", Silent()).built
    text = plan_text.read(request.plan)
    kernel_of = {node: kernel for kernel in text.kernels for node in kernel.nodes}
    assert text.targets == ("8.9", "12.0")
    assert text.fused_attentions == 1
    assert {"scores", "scale", "masked", "softmax", "context"} <= set(kernel_of["softmax"].nodes)
    assert (kernel_of["query"].accumulation, kernel_of["query"].operands) == (0, ("half",))
    assert (kernel_of["output"].accumulation, kernel_of["output"].operands) == (2, ("half",))
    assert kernel_of["norm"].results == ("float",)


def test_kernels_that_only_cast_are_counted():
    kernels = (
        Kernel(kind="function", name="__myl_Cast", nodes=("cast::a::fp32",)),
        Kernel(kind="function", name="__myl_CastAdd", nodes=("cast::b::fp32", "add")),
        Kernel(kind="function", name="__myl_Cums", nodes=()),
    )
    assert PlanText(version="1.7.1.116", targets=("8.9",), kernels=kernels).cast_kernels == 1
