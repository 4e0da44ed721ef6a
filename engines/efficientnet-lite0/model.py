"""EfficientNet-Lite0 as its package defines it, with the weights of its sister package."""

from __future__ import annotations

from pathlib import Path

import torch


def load(checkpoint: Path) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """The classifier and two blank images: RGB, (value - 127) / 128, (batch, channel, height, width)."""
    from efficientnet_lite_pytorch import EfficientNet

    module = EfficientNet.from_name("efficientnet-lite0")
    module.load_state_dict(torch.load(checkpoint, weights_only=True), strict=True)
    return module, {"image": torch.zeros(2, 3, 224, 224)}
