"""The spec of an engine whose model is an ONNX file with one input of a few columns."""

SPEC = """
description = "{description}"

[model]
source = "onnx"
weights = {{ path = "engines/{name}/model.onnx", licence = "CC0-1.0" }}

[inputs.x]
dtype = "float32"
axes = ["batch", {columns}]

[axes]
batch = {{ min = 1, opt = 2, max = 4 }}

[calibration]
samples = {samples}
batch = 2
validate_samples = 2
data = {{ reader = "npz", path = "engines/{name}/data", licence = "CC0-1.0" }}

[build]
targets = ["8.9"]
"""


def spec(name: str, description: str, *, columns: int, samples: int) -> str:
    return SPEC.format(name=name, description=description, columns=columns, samples=samples)
