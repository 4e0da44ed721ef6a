"""A net that only its range keeps out of fp16: half of its hidden channels are planted loud, and taken back behind."""

import numpy as np

WIDTH, HIDDEN = 64, 128
LOUD = 2.0**15
"""Factor that the second half of the hidden channels is planted with, and that the layer after them takes back."""


def net(activation: str) -> str:
    """The net as ONNX text; its weights are those of `weights`."""
    return f"""
<ir_version: 10, opset_import: ["" : 20]>
net (float[batch, {WIDTH}] x) => (float[batch, {WIDTH}] y) {{
    [up] h = MatMul(x, w_up)
    [bias] hb = Add(h, b_up)
    [act] a = {activation}(hb)
    [down] d = MatMul(a, w_down)
    [residual] r = Add(d, x)
    [norm] y = LayerNormalization <axis = -1, epsilon = 1e-5> (r, gain, shift)
}}"""


def weights(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Planted weights by name, float64."""
    loud = np.where(np.arange(HIDDEN) < HIDDEN // 2, 1.0, LOUD)
    return {
        "w_up": _signed(random, (WIDTH, HIDDEN)) * loud,
        "b_up": random.uniform(0.1, 1, HIDDEN) * loud,
        "w_down": _signed(random, (HIDDEN, WIDTH)) / loud[:, None],
        "gain": np.ones(WIDTH),
        "shift": np.zeros(WIDTH),
    }


def _signed(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Weights of either sign, none near zero."""
    return random.choice((-1, 1), shape) * random.uniform(0.02, 0.2, shape)
