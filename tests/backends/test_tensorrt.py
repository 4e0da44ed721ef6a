import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import onnx_ir as ir
import pytest

from pipeline.backends import plan_text
from pipeline.backends.tensorrt import doctor, flavour, process, profiles
from pipeline.backends.tensorrt.engine import Engine
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.backends.tensorrt.records import BuildRequest
from pipeline.core import device, digest
from pipeline.core.errors import BackendUnavailable, BuildError
from pipeline.core.progress import Silent
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.graph import io
from tests import encoder


def request(folder, model=None, name="a.plan", **fields):
    folder.mkdir(exist_ok=True)
    given = {
        "onnx": io.save(model or encoder.mixed(), folder),
        "plan": folder / name,
        "flavour": Flavour.RTX,
        "targets": ("8.9",),
        "workspace_mib": 64,
        "tf32": False,
        "profiles": profiles.of_inputs(encoder.INPUTS, encoder.AXES),
    }
    return BuildRequest(**{**given, **fields})


def in_a_process(code, **environment):
    """Run `code` in a fresh Python and give its output."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


def test_every_input_is_in_the_profile_scalars_and_fixed_shapes_too():
    inputs = {
        "ids": InputSpec(dtype="int64", axes=("batch", "sequence")),
        "image": InputSpec(dtype="float32", axes=("batch", 3, 224, 224)),
        "rate": InputSpec(dtype="int64", axes=()),
        "state": InputSpec(dtype="float32", axes=(2, 1, 128)),
    }
    axes = {"batch": AxisRange(min=1, opt=8, max=32), "sequence": AxisRange(min=8, opt=128, max=256)}
    assert profiles.of_inputs(inputs, axes) == {
        "ids": ((1, 8), (8, 128), (32, 256)),
        "image": ((1, 3, 224, 224), (8, 3, 224, 224), (32, 3, 224, 224)),
        "rate": ((), (), ()),
        "state": ((2, 1, 128), (2, 1, 128), (2, 1, 128)),
    }


def test_a_process_can_hold_one_flavour_only():
    code = """
        from pipeline.backends.tensorrt import flavour
        from pipeline.core.errors import BackendUnavailable
        flavour.select(flavour.Flavour.RTX)
        import polygraphy.backend.trt
        try:
            flavour.select(flavour.Flavour.TENSORRT)
        except BackendUnavailable as error:
            print(str(error).replace("\\n", "|"))
    """
    assert in_a_process(code) == (
        "this process already uses tensorrt-rtx; tensorrt cannot be loaded beside it|"
        "  hint: use one flavour a process: Polygraphy binds its module when it is first imported"
    )


def test_a_flavour_that_is_not_installed_says_how_to_get_it(tmp_path):
    if flavour.version(Flavour.TENSORRT) is not None:
        pytest.skip("tensorrt is installed here")
    with pytest.raises(BackendUnavailable) as caught:
        process.build(request(tmp_path, flavour=Flavour.TENSORRT, targets=()), tmp_path / "log", Silent())
    assert str(caught.value) == (
        "tensorrt is not installed\n"
        "  hint: pip install 'tensorrt>=10.12,<12' on the machine with the GPU (libraries: pypi.nvidia.com)"
    )


def test_the_parsed_network_is_read_back_with_the_nodes_of_its_layers(tmp_path):
    answer = process.build(request(tmp_path), tmp_path / "log", Silent())
    layers = {node: layer for layer in answer.layers for node in layer.nodes}
    softmax, residual = layers["softmax"], layers["residual"]
    assert (softmax.kind, softmax.inputs[0].name, softmax.inputs[0].dtype) == ("softmax", "sm::fp32", "float")
    assert [(tensor.name, tensor.dtype) for tensor in residual.outputs] == [("r", "half")]


def test_a_mixed_type_graph_is_refused_with_tensorrts_words(tmp_path):
    bad = encoder.unchecked(encoder.MIXED.replace('Add(o, "x::fp16")', "Add(o, x)"))
    answer = process.build(request(tmp_path, bad), tmp_path / "log", Silent())
    assert not answer.built
    assert any("residual" in error for error in answer.errors)
    assert not (tmp_path / "a.plan").exists()


def test_inputs_that_the_spec_does_not_have_are_named(tmp_path):
    asked = request(tmp_path, profiles={"x": ((1, 8, 64), (2, 16, 64), (4, 32, 64)), "ids": ((1,), (1,), (1,))})
    answer = process.build(asked, tmp_path / "log", Silent())
    assert answer.errors == ("the graph's inputs are ['mask', 'x'], and the spec has ['ids', 'x']",)


def test_a_crash_of_tensorrt_is_an_error_of_the_build_and_not_of_the_run(tmp_path, monkeypatch):
    crash = tmp_path / "sitecustomize.py"
    crash.write_text(
        "import os, sys, signal\nif 'worker' in ' '.join(sys.orig_argv): os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    asked = request(tmp_path / "model")
    with pytest.raises(BuildError) as caught:
        process.build(asked, tmp_path / "log", Silent())
    first, *_, last = str(caught.value).splitlines()
    assert first == f"{asked.onnx}: tensorrt-rtx was ended by {signal.SIGSEGV.name} while it built a.plan"
    assert last == f"  hint: the whole log is {tmp_path}/log"


def test_what_is_printed_past_the_logger_is_in_the_log(tmp_path, monkeypatch, capfd):
    loud = tmp_path / "sitecustomize.py"
    loud.write_text(
        "import os\nos.write(1, b'printed straight to stdout')\nos.write(2, b'printed straight to stderr')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process.build(request(tmp_path / "model"), tmp_path / "log", Silent())
    log = (tmp_path / "log").read_text()
    assert "printed straight to stdout" in log
    assert "printed straight to stderr" in log
    assert capfd.readouterr() == ("", "")


def test_two_builds_of_the_same_graph_give_the_same_bytes(tmp_path):
    alone = encoder.parse(
        f"""{encoder.HEAD}
        g (float[batch, 64] x) => (float[batch, 64] y) {{
            [product] p = MatMul(x, w)
            [relu] y = Relu(p)
        }}""",
        {"w": encoder.random((64, 64))},
    )
    given = {"profiles": {"x": ((1, 64), (4, 64), (8, 64))}}
    digests = set()
    for name in ("a.plan", "b.plan"):
        asked = request(tmp_path, alone, name, **given)
        assert process.build(asked, tmp_path / "log", Silent()).built
        digests.add(digest.of_file(asked.plan))
    assert len(digests) == 1


def test_api_use_only_the_tensorrt_path_with_tensorrt_rtx_in_its_place(tmp_path):
    """Proves that the calls are right and in order; it proves nothing of libnvinfer."""
    asked = request(tmp_path)
    code = f"""
        import sys, tensorrt_rtx
        tensorrt_rtx.__version__ = "11.4.0.0"  # Polygraphy picks its calls by it
        sys.modules["tensorrt"] = tensorrt_rtx
        from pathlib import Path
        from pipeline.backends.tensorrt import builder, logger, profiles
        from pipeline.backends.tensorrt.flavour import Flavour
        from pipeline.backends.tensorrt.records import BuildRequest
        from tests import encoder
        folder = Path({str(tmp_path)!r})
        asked = BuildRequest(
            onnx=folder / "model.onnx", plan=folder / "gpu.plan", flavour=Flavour.TENSORRT, targets=(),
            workspace_mib=64, tf32=False, profiles=profiles.of_inputs(encoder.INPUTS, encoder.AXES),
            timing_cache=folder / "timing.cache",
        )
        answer = builder.build(asked, logger.BuildLog(stream=sys.stderr), lambda *phase: None)
        print(answer.built, answer.flags[0], len(answer.layers) > 20)
    """
    assert asked.onnx.exists()
    assert in_a_process(code, PYTHONPATH=str(Path.cwd())) == "True NetworkDefinitionCreationFlag.STRONGLY_TYPED True"
    assert plan_text.read(tmp_path / "gpu.plan").version is not None
    assert (tmp_path / "timing.cache").exists()


def test_a_machine_without_a_gpu_says_why(monkeypatch):
    found = device.probe()
    assert bool(found.gpus) is (found.reason is None)


def test_an_engine_without_a_gpu_is_refused_before_anything_is_deserialised(tmp_path):
    reason = device.probe().reason
    if reason is None:
        pytest.skip("this machine has a GPU")
    plan = tmp_path / "a.plan"
    with pytest.raises(BackendUnavailable) as caught:
        Engine(plan, sha256="0" * 64, flavour=Flavour.RTX)
    assert str(caught.value) == f"{plan}: an engine needs a GPU: {reason}"


def test_doctor_answers_for_every_subject_with_a_remedy_or_a_version():
    findings = {finding.subject: finding for finding in doctor.examine()}
    assert list(findings) == [
        "GPU",
        "TensorRT-RTX",
        "TensorRT",
        "build for named targets",
        "build for this GPU",
        "run engines",
    ]
    assert findings["TensorRT-RTX"].available
    assert re.fullmatch(r"\d+(\.\d+)+", findings["TensorRT-RTX"].detail)
    assert findings["build for named targets"].detail == "compute capabilities 7.5 to 12.1, no GPU needed"


def test_two_builds_of_a_graph_whose_inputs_share_axes_give_the_same_kernels(tmp_path):
    """Their bytes may differ: TensorRT-RTX 1.7 at times writes its checks of shared axes in another order."""
    texts = []
    for name in ("a.plan", "b.plan"):
        asked = request(tmp_path, name=name)
        assert process.build(asked, tmp_path / "log", Silent()).built
        texts.append(plan_text.read(asked.plan))
    assert texts[0] == texts[1]


LACKING = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[n, 4, 4] x) => (float[n] y) { [lacking] y = Det(x) }
"""


def test_an_operator_that_tensorrt_lacks_is_named_first(tmp_path):
    shapes = {"x": ((1, 4, 4), (2, 4, 4), (4, 4, 4))}
    asked = request(tmp_path, ir.from_onnx_text(LACKING), profiles=shapes)
    answer = process.build(asked, tmp_path / "log", Silent())
    assert answer.errors[0] == "the Det that computes y: TensorRT has no such operator"
