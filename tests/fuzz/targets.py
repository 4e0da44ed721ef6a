"""What is fed with hostile bytes: each reader may answer or raise a `PipelineError`, and nothing else.

A target is called with the bytes of one file. Anything that escapes it is a bug.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipeline.backends import plan_text
from pipeline.bundle import archive, sbom, signing, verify
from pipeline.bundle.manifest import File, Role
from pipeline.core import plan_header, serde, spec_file
from pipeline.core.errors import PipelineError
from pipeline.core.spec import AxisRange, InputSpec, PrecisionSpec
from pipeline.graph import io as graph_io
from pipeline.graph import typed
from pipeline.models import onnx_source
from pipeline.precision.policy import policy_file
from pipeline.regress import baseline
from pipeline.runtime import npz
from pipeline.runtime import tokenizer as bundled_tokenizer
from tests import bundles, records

SPEC = """
description = "a callable"
[model]
source = "callable"
callable = "model.py:load"
outputs = ["y"]
weights = { path = "weights", licence = "MIT" }
[inputs.x]
dtype = "float32"
axes = ["batch", 4]
masks = ["batch"]
[axes]
batch = { min = 1, opt = 2, max = 4 }
[calibration]
data = { reader = "npz", path = "data", licence = "MIT" }
[task]
metric = "top1"
tolerance = 0.1
data = { reader = "npz", path = "data", licence = "MIT" }
[precision]
fp32 = ["norm*"]
[build]
targets = ["8.9"]
"""

GRAPH = """
<ir_version: 10, opset_import: ["" : 17]>
small (float[batch, 4] x) => (float[batch, 3] y) <float[4, 3] w = {1,2,3,4,5,6,7,8,9,1,2,3}, float[3] b = {1,2,3}> {
    [product] a = MatMul (x, w)
    [bias] c = Add (a, b)
    [shape] s = Shape (c)
    [zeros] z = ConstantOfShape (s)
    [total] d = Add (c, z)
    [norm] y = Softmax <axis = -1> (d)
}
"""

TOKENIZER = b"""{
  "version": "1.0", "truncation": null, "padding": null, "normalizer": {"type": "Lowercase"},
  "added_tokens": [{"id": 0, "content": "[PAD]", "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true}],
  "pre_tokenizer": {"type": "Whitespace"}, "decoder": {"type": "ByteLevel", "add_prefix_space": true,
                    "trim_offsets": true, "use_regex": true},
  "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[PAD]", "type_id": 0}},
    {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {"[PAD]": {"id": "[PAD]", "ids": [0],
    "tokens": ["[PAD]"]}}},
  "model": {"type": "BPE", "dropout": null, "unk_token": "[PAD]", "continuing_subword_prefix": null,
    "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": true,
    "vocab": {"[PAD]": 0, "a": 1, "t": 2, "at": 3}, "merges": [["a", "t"]]}
}"""

PROGRAM = b"""header {
  version = 1
  memory_budget = 1
}
descriptors {
  tensor={ name="x" type=half }
}
main {
  function={ name=_gemm_mha_v2 layers="[ONNX Layer: node_matmul]" input={"x","y"} output={"x"} accumulation_type=2 }
}
"""


def spec(data: bytes) -> None:
    """An `engine.toml`."""
    with suppress(PipelineError):
        spec_file.parse(data.decode("utf-8", "replace"), Path("engines/fuzz/engine.toml"))


def policy(data: bytes) -> None:
    """A policy file."""
    with Alone(data, "policy.toml") as path, suppress(PipelineError):
        policy_file.settings(PrecisionSpec(policy="policy.toml"), path.parent)


def manifest(data: bytes) -> None:
    """The manifest of a bundle in a folder."""
    with Alone(data, "manifest.json") as path, suppress(PipelineError):
        verify.verify(path.parent)


def packed(data: bytes) -> None:
    """A bundle in one file."""
    with Alone(data, "bundle.tar.zst") as path, suppress(PipelineError):
        verify.verify(path)


def members(data: bytes) -> None:
    """The tar and zstd reader alone."""
    with suppress(PipelineError):
        for member in archive.members(io.BytesIO(data), "fuzz"):
            while member.stream.read(1 << 16):
                pass


def signature(data: bytes) -> None:
    """A detached signature."""
    with suppress(PipelineError):
        signing.parse(data, "fuzz")


def materials(data: bytes) -> None:
    """A bill of materials that a rebuild renews."""
    with suppress(PipelineError):
        sbom.renew(data, "fuzz", {}, epoch=None)


def tokenizer(data: bytes) -> None:
    """The tokenizer of a bundle, and a text for it."""
    with suppress(PipelineError):
        bundled_tokenizer.parse(data, b"{}", "fuzz").encode("A text.", 8)


def arrays(data: bytes) -> None:
    """Arrays that a person gives a bundle."""
    with Alone(data, "in.npz") as path, suppress(PipelineError):
        npz.read(path)


def key(data: bytes) -> None:
    """A public key."""
    with suppress(PipelineError):
        signing.read_public(data)


def plan(data: bytes) -> None:
    """The header and the text of a plan. Neither raises: what is unknown is said to be."""
    plan_header.read(data[: plan_header.SIZE])
    with Alone(data, "fuzz.plan") as path:
        plan_text.read(path)


def baseline_file(data: bytes) -> None:
    """A `baseline.json`."""
    with Alone(data, "baseline.json") as path, suppress(PipelineError):
        baseline.read(path.parent)


def graph(data: bytes) -> None:
    """An ONNX file, read as it lies in the store."""
    with Alone(data, "model.onnx") as path, suppress(PipelineError):
        typed.require_typed(graph_io.load(path))


def arriving_graph(data: bytes) -> None:
    """An ONNX file that a user brings: read, inlined, converted, inferred."""
    inputs = {"x": InputSpec(dtype="float32", axes=("batch", 4))}
    axes = {"batch": AxisRange(min=1, opt=2, max=4)}
    with Alone(data, "model.onnx") as path, suppress(PipelineError):
        onnx_source.load(path, opset=20, inputs=inputs, axes=axes, outputs=())


TARGETS: dict[str, Callable[[bytes], None]] = {
    "spec": spec,
    "policy": policy,
    "manifest": manifest,
    "packed": packed,
    "members": members,
    "signature": signature,
    "arrays": arrays,
    "key": key,
    "materials": materials,
    "tokenizer": tokenizer,
    "plan": plan,
    "baseline": baseline_file,
    "graph": graph,
    "arriving-graph": arriving_graph,
}


def seeds(name: str) -> list[bytes]:
    """Valid inputs of a target, to start from."""
    match name:
        case "spec":
            return [SPEC.encode()]
        case "policy":
            return [
                b'default = "sensitive"\nfp32 = ["encoder.layer.11"]\nfp16 = ["*.dense"]\n[rules]\nunderflow = false\n'
            ]
        case "key":
            private = Ed25519PrivateKey.generate()
            return [private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)]
        case "arrays":
            stream = io.BytesIO()
            np.savez(stream, x=np.zeros((2, 3), np.float32), y=np.arange(4))
            return [stream.getvalue()]
        case "materials":
            files = {"model.onnx": File(role=Role.ONNX, size=1, sha256="1" * 64)}
            return [sbom.render("fuzz", files, {"weights": records.REAL}, epoch=0).encode()]
        case "tokenizer":
            return [TOKENIZER]
        case "plan":
            return [bundles.rtx_plan(("8.9",), body=PROGRAM)]
        case "graph" | "arriving-graph":
            return [onnx.parser.parse_model(GRAPH).SerializeToString()]
        case "baseline":
            from tests.regress.figures import BASELINE

            return [serde.dumps(BASELINE).encode()]
    with tempfile.TemporaryDirectory() as scratch:
        return _of_bundle(name, Path(scratch))


def _of_bundle(name: str, scratch: Path) -> list[bytes]:
    folder = scratch / "bundle"
    bundles.write(folder)
    if name == "manifest":
        return [(folder / "manifest.json").read_bytes()]
    if name == "signature":
        given = signing.Signature(algorithm=signing.ALGORITHM, key_id="a" * 64, signature="A" * 86 + "==")
        return [serde.dumps(given).encode()]
    archive.pack(folder, scratch / "bundle.tar.zst")
    return [(scratch / "bundle.tar.zst").read_bytes()]


class Alone:
    """A file of that content in a folder of its own, which must hold nothing else afterwards."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data, self._name = data, name

    def __enter__(self) -> Path:
        self._outer = tempfile.TemporaryDirectory(dir=_scratch())
        folder = Path(self._outer.name) / "inner"
        folder.mkdir()
        path = folder / self._name
        path.write_bytes(self._data)
        return path

    def __exit__(self, *_: object) -> None:
        found = sorted(path.relative_to(self._outer.name).as_posix() for path in Path(self._outer.name).rglob("*"))
        self._outer.cleanup()
        if found != ["inner", f"inner/{self._name}"]:
            raise AssertionError(f"a reader wrote {found}")


def _scratch() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
