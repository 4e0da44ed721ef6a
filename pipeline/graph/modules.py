"""Which `nn.Module` a node came from, kept in the node's metadata."""

from __future__ import annotations

import onnx_ir as ir

MODULE = "pipeline.module"
"""Dotted path of the module, such as `encoder.layer.0.attention.self`."""

CLASS = "pipeline.class"
"""Class of that module, such as `BertSelfAttention`."""

RESCALED = "pipeline.rescaled"
"""What rescaling did to the node, or added it for, in words."""


def module_of(node: ir.Node) -> str:
    """Path of the module that `node` came from, or "" where it is not known."""
    return node.metadata_props.get(MODULE, "")


def within(path: str) -> tuple[str, ...]:
    """The modules that `path` lies in, from the outermost to itself; none for ""."""
    names = path.split(".") if path else []
    return tuple(".".join(names[: length + 1]) for length in range(len(names)))


def class_of(node: ir.Node) -> str:
    """Class name of that module, or "" where it is not known."""
    return node.metadata_props.get(CLASS, "")


def inherit(node: ir.Node, source: ir.Node) -> None:
    """Give `node`, which replaces or serves `source`, the module of `source`."""
    for key in (MODULE, CLASS):
        if key in source.metadata_props:
            node.metadata_props[key] = source.metadata_props[key]
