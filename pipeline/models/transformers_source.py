"""Modules of transformers: from a folder of safetensors, a GGUF file, or a configuration with seeded weights."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
import transformers

from pipeline.core.artifacts import Weights
from pipeline.core.errors import SourceError, SpecError
from pipeline.core.spec import ModelSpec
from pipeline.models.quiet import quiet

SEED = 0
"""Seed of the generator that fills a module without a checkpoint."""

EXPERTS = "batched_mm"
"""How a mixture of experts is computed; the default, one product over groups, has no ONNX form."""

SHOWN = 4
"""Keys that an error names."""


def load(model: ModelSpec, weights: Weights) -> torch.nn.Module:
    """The module with the checkpoint's weights, in fp32 and in evaluation mode.

    A parameter that the checkpoint lacks and that `model.unused` tolerates is filled with NaN, so that an output which
    needs it after all cannot look right.

    Raises:
        SpecError: transformers has no such architecture.
        SourceError: The checkpoint cannot be read, or a key is missing, unexpected or of another shape.
    """
    folder, gguf = _files(model, weights)
    extra: dict[str, Any] = {} if gguf is None else {"gguf_file": gguf}
    if model.attention is not None:
        extra["attn_implementation"] = model.attention
    try:
        with quiet():
            module, found = architecture(model).from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that the report names them: `_require_strict` refuses them
                **extra,
            )
            module.set_experts_implementation(EXPERTS)
    except SpecError:
        raise
    except Exception as error:  # transformers raises many types for files that are not what they should be
        raise SourceError(f"{model.architecture} cannot be loaded: {error}", where=weights.provenance.source) from error
    _require_strict(found, model.unused, weights.provenance.source)
    _poison(module, found["missing_keys"])
    return _ready(module)


def seed(model: ModelSpec, config: Path, folder: Path) -> None:
    """Write a checkpoint of the architecture with seeded random weights, as safetensors, into `folder`.

    Raises:
        SpecError: transformers has no such architecture.
        SourceError: The configuration cannot be read.
    """
    chosen = architecture(model)
    try:
        settings = transformers.AutoConfig.from_pretrained(config)
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(f"not a readable model configuration: {error}", where=config.name) from error
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        chosen.from_config(settings, dtype=torch.float32).save_pretrained(folder)


def architecture(model: ModelSpec) -> Any:
    """The class of transformers that `model.architecture` names.

    Raises:
        SpecError: There is none of that name.
    """
    name = model.architecture or ""
    known = dir(transformers)
    if name not in known or not isinstance(getattr(transformers, name), type):
        close = difflib.get_close_matches(name, known, n=1)
        raise SpecError(
            f"transformers {transformers.__version__} has no class {name!r}",
            where="model.architecture",
            hint=f"did you mean {close[0]!r}?" if close else "such as 'AutoModel'",
        )
    return getattr(transformers, name)


def _files(model: ModelSpec, weights: Weights) -> tuple[Path, str | None]:
    """Folder of the checkpoint, and the GGUF file in it if it is one."""
    checkpoint = weights.checkpoint
    if checkpoint.is_file():
        return checkpoint.parent, checkpoint.name if checkpoint.suffix == ".gguf" else None
    held = model.gguf is not None and (checkpoint / model.gguf).is_file()
    return checkpoint, model.gguf if held else None


def _require_strict(found: Mapping[str, Any], unused: Iterable[str], where: str) -> None:
    patterns = tuple(unused)
    mismatched = [str(item[0]) if isinstance(item, tuple) else str(item) for item in found["mismatched_keys"]]
    problems = [
        *_problem("lacks", found["missing_keys"], patterns),
        *_problem("has unexpected", found["unexpected_keys"], patterns),
        *_problem("has another shape for", mismatched, ()),
    ]
    if problems:
        raise SourceError(
            f"the checkpoint {' and '.join(problems)}",
            where=where,
            hint="take the architecture that the checkpoint was saved from; keys that the exported outputs do not need "
            "are tolerated where `model.unused` names them",
        )


def _problem(what: str, keys: Iterable[str], tolerated: tuple[str, ...]) -> list[str]:
    names = sorted(key for key in keys if not any(fnmatch(key, pattern) for pattern in tolerated))
    if not names:
        return []
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{what} {', '.join(names[:SHOWN])}{more}"]


def _poison(module: torch.nn.Module, missing: Iterable[str]) -> None:
    lacking = set(missing)
    for name, parameter in module.named_parameters():
        if name in lacking:
            parameter.data.fill_(float("nan"))


def _ready(module: torch.nn.Module) -> torch.nn.Module:
    module.config.use_cache = False
    return module.eval().requires_grad_(False)
