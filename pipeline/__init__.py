"""From a PyTorch model to a validated mixed-precision TensorRT plan."""

import os

# ONNX Runtime 1.31 reports usage to its maker and keeps a database in the home folder, from its import on. Not from
# here, unless the user has said otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
