"""Nodes that hand on their input unchanged are removed."""

from __future__ import annotations

import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.precision.rewrites.edits import Editor, integers, named, scalar
from pipeline.precision.rewrites.shape_values import Size, evaluate, sizes

LONGEST = (1 << 31) - 1
"""A Slice that ends here or beyond takes all that there is: TensorRT's axes are 32-bit numbers."""


def remove_noops(model: ir.Model) -> tuple[Fate, ...]:
    """Remove identities in place: Identity, Dropout at inference, Casts to the same type, and moves that move nothing.

    A graph output keeps its name: what it was computed from is renamed to it, or an Identity stays where that is a
    graph input, an initializer or another output.
    """
    editor = Editor(model)
    for node in list(model.graph):
        source = _unchanged(node)
        if source is not None:
            _bypass(editor, node, source)
    return editor.fates


def _bypass(editor: Editor, node: ir.Node, source: ir.Value) -> None:
    result = node.outputs[0]
    if not result.is_graph_output():
        result.replace_all_uses_with(source)
        editor.tell(result, named(source), f"{node.op_type} hands on its input")
        editor.graph.remove(node, safe=True)
    elif source.producer() is not None and not source.is_graph_output() and source.graph is editor.graph:
        name, old = named(result), named(source)
        editor.supersede(result, source)
        editor.renamed(old, name, f"{node.op_type} handed it on to the output")
        editor.graph.remove(node, safe=True)


def _unchanged(node: ir.Node) -> ir.Value | None:
    """The input that the node's first output equals, if it is the only output that is read."""
    if node.domain not in ("", "ai.onnx") or not node.inputs or node.inputs[0] is None:
        return None
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return None
    source = node.inputs[0]
    return source if _is_identity(node, source) else None


def _is_identity(node: ir.Node, source: ir.Value) -> bool:
    match node.op_type:
        case "Identity":
            return source.type is None or isinstance(source.type, ir.TensorType)
        case "Dropout":
            return len(node.inputs) < 3 or scalar(node.inputs[2]) == 0.0
        case "Cast":
            return source.dtype is not None and int(source.dtype) == node.attributes["to"].as_int()
        case "Transpose":
            permutation = node.attributes.get("perm")
            return permutation is not None and list(permutation.as_ints()) == sorted(permutation.as_ints())
        case "Concat":
            return len(node.inputs) == 1
        case _:
            keeps = _KEEPERS.get(node.op_type)
            return keeps is not None and keeps(node, source)


def _keeps_shape(node: ir.Node, source: ir.Value) -> bool:
    have, want = sizes(source), evaluate(node.inputs[1])
    if have is None or want is None or len(have) != len(want):
        return False
    if any(size == 0 for size in want):  # a zero copies the input's size or means an empty axis
        return False
    if node.op_type == "Expand":
        return all(w in {h, 1} for h, w in zip(have, want, strict=True))
    wildcards = sum(w == -1 for w in want)
    return wildcards <= 1 and all(w in (h, -1) for h, w in zip(have, want, strict=True))


def _pads_nothing(node: ir.Node, source: ir.Value) -> bool:
    amounts = integers(node.inputs[1])
    return amounts is not None and not any(amounts)


def _keeps_size(node: ir.Node, source: ir.Value) -> bool:
    """Whether a Resize asks for the size that there is: every mode but a crop then takes each element as it is."""
    mode = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if len(node.inputs) < 4 or "axes" in node.attributes or mode == "tf_crop_and_resize":
        return False
    have, want = sizes(source), evaluate(node.inputs[3])
    return have is not None and have == want


def _takes_all(node: ir.Node, source: ir.Value) -> bool:
    """Whether a Slice takes each of its axes from first to last."""
    have, starts, ends = sizes(source), *map(integers, node.inputs[1:3])
    axes, steps = [integers(value) for value in node.inputs[3:]] + [(), ()][len(node.inputs) - 3 :]
    if have is None or starts is None or ends is None or axes is None or steps is None:
        return False
    if any(start != 0 for start in starts) or any(step != 1 for step in steps):
        return False
    return all(_covers(end, have[axis]) for axis, end in zip(axes or range(len(ends)), ends, strict=True))


def _covers(end: int, size: Size) -> bool:
    return end >= (size if isinstance(size, int) else LONGEST)


_KEEPERS = {
    "Expand": _keeps_shape,
    "Pad": _pads_nothing,
    "Reshape": _keeps_shape,
    "Resize": _keeps_size,
    "Slice": _takes_all,
}
