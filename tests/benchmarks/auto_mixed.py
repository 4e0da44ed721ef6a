"""onnxconverter-common's auto_convert_mixed_precision on one model and one batch: runs in its own environment."""

import sys

import numpy as np
import onnx
from onnxconverter_common.auto_mixed_precision import auto_convert_mixed_precision


def main(path: str, batch: str, out: str) -> None:
    """Write the mixed model to `out`; tolerances are those of its documentation."""
    with np.load(batch) as file:
        feeds = {name: file[name] for name in file}
    model = auto_convert_mixed_precision(onnx.load(path), feeds, rtol=0.01, atol=0.001, keep_io_types=True)
    onnx.save(model, out)


main(*sys.argv[1:])
