"""The engine's code cannot run without a GPU, but what it calls can be shown to exist."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core import plan_code
from pipeline.core.errors import BackendUnavailable
from pipeline.runtime import cuda

RUNTIME = Path(cuda.__file__).parent
PLAN_CODE = Path(plan_code.__file__)
OWNERS = {
    "_context": "IExecutionContext",
    "context": "IExecutionContext",
    "engine": "ICudaEngine",
    "runtime": "Runtime",
    "config": "IRuntimeConfig",
}


def attributes(path):
    """`owner.attribute` for every attribute of a TensorRT object that a module uses."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value
        called = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else None
        yield called, node.attr


def test_every_method_of_tensorrt_that_is_used_exists():
    trt = pytest.importorskip("tensorrt_rtx")
    modules = [PLAN_CODE, *(RUNTIME / f"{name}.py" for name in ("deserialise", "lane", "repeats", "native"))]
    used = {pair for path in modules for pair in attributes(path)}
    checked = [(OWNERS[owner], name) for owner, name in used if owner in OWNERS and owner != "runtime"]
    checked += [("Runtime", name) for owner, name in used if owner == "runtime" and name.startswith(("de", "engine_"))]
    checked += [("CudaGraphStrategy", name) for owner, name in used if owner == "strategies"]
    assert len(checked) > 15
    assert [pair for pair in checked if not hasattr(getattr(trt, pair[0]), pair[1])] == []
    assert [name for owner, name in used if owner == "trt" and name != "__version__" and not hasattr(trt, name)] == []


def test_every_function_of_cuda_that_is_used_exists():
    cudart = pytest.importorskip("cuda.bindings.runtime")
    calls = set()
    for path in RUNTIME.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
                first = node.args[0] if node.args else None
                if name == "call" and isinstance(first, ast.Constant):
                    calls.add(first.value)
    assert len(calls) > 10
    assert [name for name in calls if not hasattr(cudart, name)] == []


def test_an_error_of_cuda_is_named(monkeypatch):
    pytest.importorskip("cuda.bindings.runtime")
    with pytest.raises(BackendUnavailable, match=r"^cudaGraphDestroy failed with cudaError\w+: "):
        cuda.call("cudaGraphDestroy", 0)


def test_one_place_of_the_project_deserialises():
    found = [path for path in RUNTIME.parent.rglob("*.py") if "deserialize_cuda_engine" in path.read_text()]
    assert found == [PLAN_CODE]
    assert "engine_host_code_allowed = False" in PLAN_CODE.read_text()


def test_importing_the_runtime_imports_no_library_that_it_may_do_without():
    heavy = (
        "torch",
        "transformers",
        "onnx",
        "onnx_ir",
        "polygraphy",
        "onnxruntime",
        "tensorrt",
        "tensorrt_rtx",
        "cuda",
    )
    script = f"import pipeline.runtime, sys; print(sorted(set({heavy!r}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


BASE = """
import sys
for name in ("torch", "transformers", "onnx", "onnx_ir", "polygraphy", "tensorrt", "tensorrt_rtx", "cuda", "jinja2",
             "scipy", "tokenizers"):
    sys.modules[name] = None
import numpy as np
from pipeline.runtime import load
with load(sys.argv[1], backend="emulated") as engine:
    x, mask = np.ones((1, 8, 64), np.float32), np.zeros((1, 1, 1, 8), np.float32)
    print(engine(x=x, mask=mask)["y"].shape)
"""


def test_the_emulation_needs_the_base_install_and_onnx_runtime_alone(bundle):
    result = subprocess.run([sys.executable, "-c", BASE, bundle], capture_output=True, text=True, check=True)
    assert result.stdout == "(1, 8, 64)\n"
