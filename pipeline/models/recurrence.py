"""Recurrent layers as ONNX's own operators, where `torch.export` would unroll them over the example's time steps."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch

GATES = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2), "RNN_TANH": (0,), "RNN_RELU": (0,)}
"""PyTorch's gates in ONNX's order: r, z, n → z, r, n; i, f, g, o → i, o, f, g."""

State: TypeAlias = torch.Tensor | tuple[torch.Tensor, torch.Tensor]


@contextlib.contextmanager
def as_operators(module: torch.nn.Module) -> Iterator[None]:
    """While this holds, GRU, LSTM and RNN layers in `module` trace to one ONNX operator a layer, of any length.

    A projected LSTM, which ONNX has no operator for, is left as it is. The module is as before afterwards.
    """
    layers = [part for part in module.modules() if isinstance(part, torch.nn.RNNBase) and part.proj_size == 0]
    for layer in layers:
        _hold_weights(layer)
        vars(layer)["forward"] = functools.partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]
            for name in [name for name in layer._buffers if name.startswith("onnx_")]:
                delattr(layer, name)


def _hold_weights(layer: torch.nn.RNNBase) -> None:
    """Weights in ONNX's layout, as buffers: W (directions, gates * hidden, input), R likewise, B with both biases."""
    for index in range(layer.num_layers):
        ends = [f"l{index}", f"l{index}_reverse"][: _directions(layer)]
        layer.register_buffer(f"onnx_W_l{index}", _stacked(layer, [f"weight_ih_{end}" for end in ends]))
        layer.register_buffer(f"onnx_R_l{index}", _stacked(layer, [f"weight_hh_{end}" for end in ends]))
        if layer.bias:
            biases = [_stacked(layer, [f"{kind}_{end}" for end in ends]) for kind in ("bias_ih", "bias_hh")]
            layer.register_buffer(f"onnx_B_l{index}", torch.cat(biases, 1))


def _stacked(layer: torch.nn.RNNBase, names: Sequence[str]) -> torch.Tensor:
    order = GATES[layer.mode]
    gates = [layer.get_parameter(name).detach().chunk(len(order)) for name in names]
    return torch.stack([torch.cat([parts[gate] for gate in order]) for parts in gates])


def _directions(layer: torch.nn.RNNBase) -> int:
    return 2 if layer.bidirectional else 1


def _forward(
    layer: torch.nn.RNNBase,
    input: torch.Tensor,  # noqa: A002 (PyTorch's name for it, which modules may call it by)
    hx: State | None = None,
) -> tuple[torch.Tensor, State]:
    """The layer's own `forward`, in operators of ONNX; shapes are PyTorch's."""
    batched = input.dim() == 3
    steps_first = batched and layer.batch_first
    sequence = input.transpose(0, 1) if steps_first else input if batched else input.unsqueeze(1)
    given = [] if hx is None else list(hx) if isinstance(hx, tuple) else [hx]
    states = given if batched else [state.unsqueeze(1) for state in given]
    ends = []
    for index in range(layer.num_layers):
        sequence, end = _layer(layer, index, sequence, states)
        ends.append(end)
    sequence = sequence.transpose(0, 1) if steps_first else sequence
    last = [torch.cat(parts) for parts in zip(*ends, strict=True)]
    if not batched:
        sequence, last = sequence.squeeze(1), [state.squeeze(1) for state in last]
    return sequence, (last[0], last[1]) if layer.mode == "LSTM" else last[0]


def _layer(
    layer: torch.nn.RNNBase, index: int, sequence: torch.Tensor, states: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
    """One layer over (steps, batch, features): its (steps, batch, directions * hidden), and its last states."""
    directions, hidden = _directions(layer), layer.hidden_size
    steps, batch = sequence.shape[:2]
    own = [state[index * directions : (index + 1) * directions] for state in states]
    weights = [getattr(layer, f"onnx_{name}_l{index}", None) for name in "WRB"]
    kind = layer.mode.partition("_")[0]
    end = (directions, batch, hidden)
    results = torch.onnx.ops.symbolic_multi_out(
        kind,
        [sequence, *weights, None, *own],
        _attributes(layer, kind),
        dtypes=[sequence.dtype] * (3 if kind == "LSTM" else 2),
        shapes=[(steps, directions, batch, hidden), end, *([end] if kind == "LSTM" else [])],
    )
    return results[0].permute(0, 2, 1, 3).flatten(2), results[1:]


def _attributes(layer: torch.nn.RNNBase, kind: str) -> dict[str, int | str | list[str]]:
    attributes: dict[str, int | str | list[str]] = {
        "hidden_size": layer.hidden_size,
        "direction": "bidirectional" if layer.bidirectional else "forward",
    }
    if kind == "GRU":
        attributes["linear_before_reset"] = 1
    if layer.mode == "RNN_RELU":
        attributes["activations"] = ["Relu"] * _directions(layer)
    return attributes
