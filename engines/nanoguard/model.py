"""NanoGuard as its own package defines it, in fp32."""

from __future__ import annotations

from pathlib import Path

import torch


def load(checkpoint: Path) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """The classifier and inputs of the shape (batch, sequence) = (2, 16).

    Its own loader is strict and reads with `weights_only=True`. The rotary tables come as bfloat16, hence `float()`.
    """
    from nanoguard.model import Classifier

    module, _, config = Classifier.from_checkpoint(str(checkpoint))
    ids = torch.arange(32).reshape(2, 16) % config.vocab_size
    return module.float(), {"input_ids": ids, "attention_mask": torch.ones(2, 16, dtype=torch.bool)}
