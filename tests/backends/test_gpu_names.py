"""Names that only a GPU would use at run time, held to what the installed bindings have: API use, not its results."""

import subprocess
import sys
import textwrap

NAMES = {
    "INetworkDefinition": ["mark_unfused_tensors_as_debug_tensors"],
    "ICudaEngine": [
        "create_execution_context",
        "create_runtime_config",
        "get_tensor_dtype",
        "get_tensor_mode",
        "get_tensor_name",
        "num_io_tensors",
    ],
    "IExecutionContext": [
        "execute_async_v3",
        "get_tensor_shape",
        "set_all_tensors_debug_state",
        "set_debug_listener",
        "set_input_shape",
        "set_tensor_address",
        "unfused_tensors_debug_state",
    ],
    "IRuntimeConfig": ["cuda_graph_strategy", "dynamic_shapes_kernel_specialization_strategy"],
    "CudaGraphStrategy": ["DISABLED", "WHOLE_GRAPH_CAPTURE"],
    "DynamicShapesKernelSpecializationStrategy": ["EAGER"],
    "Runtime": ["deserialize_cuda_engine", "engine_host_code_allowed"],
    "TensorIOMode": ["INPUT", "OUTPUT"],
}


def run(code):
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_tensorrt_rtx_has_every_name():
    missing = f"""
        import tensorrt_rtx as trt
        names = {NAMES!r}
        print([f"{{kind}}.{{name}}" for kind, found in names.items() for name in found
               if not hasattr(getattr(trt, kind, None), name)])
        print(trt.float32.itemsize, trt.float16.itemsize, trt.int64.itemsize)
    """
    assert run(missing) == "[]\n4 2 8\n"


def test_polygraphys_runner_hands_out_debug_tensors_and_holds_arrays_for_us():
    found = """
        import inspect
        from polygraphy import cuda
        from polygraphy.backend.trt import runner
        assert "polygraphy_debug_tensor_outputs" in inspect.getsource(runner)
        assert list(inspect.signature(cuda.DeviceArray).parameters) == ["shape", "dtype"]
        assert {"raw", "copy_from", "ptr"} <= set(dir(cuda.DeviceArray)) | {"ptr"}
        assert {"synchronize", "__enter__"} <= set(dir(cuda.Stream))
        print("as expected")
    """
    assert run(found).splitlines()[-1] == "as expected"
