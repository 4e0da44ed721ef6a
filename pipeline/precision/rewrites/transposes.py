"""Two Transposes in a row become one."""

from __future__ import annotations

import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.precision.rewrites.edits import Editor, named, producer, sole_reader


def merge_transposes(model: ir.Model) -> tuple[Fate, ...]:
    """Compose, in place, each Transpose with the one before it, where that one has no other reader."""
    editor = Editor(model)
    for node in list(model.graph):
        inner = producer(node.inputs[0], "Transpose") if node.op_type == "Transpose" else None
        if inner is not None and sole_reader(inner.outputs[0]) is node:
            _merge(editor, inner, node)
    return editor.fates


def _merge(editor: Editor, inner: ir.Node, outer: ir.Node) -> None:
    first, second = _permutation(inner), _permutation(outer)
    if first is None or second is None:
        return
    outer.attributes["perm"] = ir.AttrInt64s("perm", [first[axis] for axis in second])
    outer.replace_input_with(0, inner.inputs[0])
    editor.sweep(inner, f"merged into the Transpose {outer.name}, of which {named(outer.outputs[0])} is the result")


def _permutation(node: ir.Node) -> tuple[int, ...] | None:
    permutation = node.attributes.get("perm")
    return None if permutation is None else tuple(permutation.as_ints())
