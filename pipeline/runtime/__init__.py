"""Load a bundle and run it, with nothing but NumPy and a runtime: no torch, no transformers, no onnx.

    from pipeline.runtime import load

    with load("bundle", key="signer.pub") as engine:
        outputs = engine(input_ids=ids, attention_mask=mask)

A plan is native code. So everything that can be known before it is deserialised is checked before: the signature and
the digests, the flavour and version of TensorRT, the GPU's compute capability, the driver, and the shapes.
"""

from pipeline.runtime.arrays import DeviceArray, Place
from pipeline.runtime.load import Backend, load
from pipeline.runtime.session import Engine

__all__ = ["Backend", "DeviceArray", "Engine", "Place", "load"]
