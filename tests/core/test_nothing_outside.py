"""What is written outside the clone: nothing."""

import os
import subprocess
import sys


def test_onnx_runtime_writes_nothing_into_the_home_folder(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    script = "import pipeline, onnxruntime; print(onnxruntime.__version__)"
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True)
    assert list(tmp_path.iterdir()) == []
