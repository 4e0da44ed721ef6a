"""Any two graphs with the same inputs, layer by layer, matched by name or by module."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from pipeline.analysis import batches
from pipeline.analysis.comparison import module_pairs
from pipeline.analysis.comparison.compare import compare
from pipeline.analysis.comparison.elements import Elements, elements_of, samples, stack_of
from pipeline.analysis.comparison.module_pairs import ModuleRow
from pipeline.analysis.comparison.outputs import Run
from pipeline.core.artifacts import ErrorStats, Fate
from pipeline.core.errors import ValidationError
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec
from pipeline.graph import correspondence, modules
from pipeline.graph.typed import FLOATS
from pipeline.precision.reducers.differences import Difference

ADDED = "::"
"""Stands in names of tensors that only rounding adds: copies in another format, results before they are rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """One tensor of A and its counterpart in B.

    Attributes:
        tensor: Its name in A.
        other: Its name in B.
        op: Operator type of its node in A.
        module: Path of the `nn.Module` in A.
        stats: How B differs from A, over elements that no mask excludes.
    """

    tensor: str
    other: str
    op: str
    module: str
    stats: ErrorStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every float tensor of both graphs: compared, or named as unmatched.

    Attributes:
        matched: In the order of A.
        only_a: Tensors of A without a counterpart, each with the reason.
        only_b: Tensors of B without a counterpart, each with the reason.
        missing: Graph outputs that one of the two has and the other has not: never a pass.
        modules: Modules that both have; empty where tensors were matched by name.
    """

    matched: tuple[Matched, ...]
    only_a: dict[str, str]
    only_b: dict[str, str]
    missing: tuple[str, ...] = ()
    modules: tuple[ModuleRow, ...] = ()


def compare_graphs(
    a: ir.Model,
    b: ir.Model,
    files: Sequence[Path],
    inputs: Mapping[str, InputSpec],
    progress: Progress,
    *,
    fates: Iterable[Fate] = (),
    by_module: bool = False,
) -> Comparison:
    """Compare every float tensor of `a` with its counterpart in `b`.

    Args:
        a: The reference.
        b: The candidate; emulated where it is of mixed precision.
        files: Batches.
        inputs: Graph inputs, with the axes that they mask.
        progress: Told of each batch.
        fates: What became of tensors of `a` in `b`, as far as that is known; the others are matched by name.
        by_module: Match tensors inside modules of the same path instead, whatever their names.

    Raises:
        ValidationError: No tensor of `a` has a counterpart, or two counterparts differ in shape.
    """
    of_a, of_b = _floats(a), _floats(b)
    found_fates = _by_module(of_a, of_b) if by_module else _by_name(of_a, b, of_b, fates)
    pairs = {fate.tensor: fate.now for fate in found_fates if fate.now is not None}
    if not pairs:
        raise ValidationError(
            "no tensor of the two has a counterpart in the other",
            where=f"{a.graph.name} and {b.graph.name}",
            hint="match them by name" if by_module else "match them with --by module",
        )
    found, gaps = compare(a, b, found_fates, files, inputs, progress)
    matched = tuple(
        Matched(
            tensor=name,
            other=pairs[name],
            op=of_a[name].op_type,
            module=modules.module_of(of_a[name]),
            stats=item.kept.stats(),
        )
        for name, item in found.items()
    )
    taken, weights = set(pairs.values()), a.graph.initializers
    sqnr = {item.tensor: item.stats.sqnr_db for item in matched}
    return Comparison(
        matched=matched,
        only_a=gaps | _not_float(a),
        only_b={name: _reason(name, "A", weights, by_module) for name in of_b if name not in taken} | _not_float(b),
        missing=tuple(_missing(a, b, pairs)),
        modules=module_pairs.rows(of_a, of_b, pairs, sqnr) if by_module else (),
    )


def compare_outputs(
    a: Run,
    b: Run,
    files: Sequence[Path],
    inputs: Mapping[str, InputSpec],
    shapes: Mapping[str, Sequence[int | str]],
    progress: Progress,
) -> Comparison:
    """Compare the outputs of two runs, of which one may be a plan on a GPU: it has nothing else to compare.

    Args:
        a: The reference.
        b: The candidate.
        files: Batches.
        inputs: Graph inputs, with the axes that they mask.
        shapes: By output name, a size or an axis name for each dimension.
        progress: Told of each batch.

    Raises:
        ValidationError: The runs have no output in common, or one that differs in shape.
    """
    found: dict[str, Difference] = {}
    missing: dict[str, None] = {}
    elements = {name: elements_of(shape, inputs) for name, shape in shapes.items()}
    stack, first = stack_of(inputs), 0
    for index, file in enumerate(files):
        feeds = batches.read(file, list(inputs))
        ours, theirs = a(feeds), b(feeds)
        missing |= dict.fromkeys(_only(set(ours), set(theirs)))
        for name in [name for name in ours if name in theirs]:
            if ours[name].shape != theirs[name].shape:
                unlike = f"it has shape {list(ours[name].shape)} in A and {list(theirs[name].shape)} in B"
                raise ValidationError(unlike, where=f"output {name}")
            part = elements.get(name, Elements()).difference(feeds, ours[name], theirs[name], first)
            found[name] = found.get(name, Difference()).merge(part)
        first += samples(stack, feeds)
        progress.advance("output batches", index + 1, len(files))
    if not found:
        raise ValidationError("the two have no output in common", where=", ".join(missing))
    matched = tuple(
        Matched(tensor=name, other=name, op="output", module="", stats=item.stats()) for name, item in found.items()
    )
    return Comparison(matched=matched, only_a={}, only_b={}, missing=tuple(missing))


def _by_name(
    a: Mapping[str, ir.Node], b: ir.Model, of_b: Mapping[str, ir.Node], known: Iterable[Fate]
) -> tuple[Fate, ...]:
    """What a rewrite told, where it names something in B; else the same name, if a node of B makes it too."""
    told = {fate.tensor: fate for fate in known}
    there, weights = correspondence.tensor_names(b), b.graph.initializers
    found = []
    for name in a:
        if name in told and (told[name].now is None or told[name].now in there):
            found.append(told[name])
        elif name in of_b:
            found.append(Fate(tensor=name, now=name))
        else:
            found.append(Fate(tensor=name, now=None, reason=_reason(name, "B", weights)))
    return tuple(found)


def _by_module(a: Mapping[str, ir.Node], b: Mapping[str, ir.Node]) -> tuple[Fate, ...]:
    pairs = module_pairs.match(a, b)
    gone = {name: _reason(name, "B", by_module=True) for name in a if name not in pairs}
    return tuple(Fate(tensor=name, now=pairs.get(name), reason=gone.get(name)) for name in a)


def _reason(name: str, side: str, weights: Collection[str] = (), by_module: bool = False) -> str:
    """Why a tensor has no counterpart on the other side."""
    if name in weights:
        return f"a weight in {side}, widened from a lower format here"
    if ADDED in name:
        return f"only rounding adds it; not in {side}"
    if by_module:
        return f"no tensor like it in its module in {side}, or the module is not there"
    return f"no tensor of this name in {side}"


def _missing(a: ir.Model, b: ir.Model, pairs: Mapping[str, str]) -> Iterator[str]:
    """Outputs that only one of the two has; one that was matched under another name is there."""
    ours, theirs = ({str(value.name) for value in model.graph.outputs} for model in (a, b))
    renamed = {name for name in ours if pairs.get(name) in theirs}
    return _only(ours - renamed, theirs - {pairs[name] for name in renamed})


def _only(ours: set[str], theirs: set[str]) -> Iterator[str]:
    yield from (f"{name}: an output of A alone" for name in sorted(ours - theirs))
    yield from (f"{name}: an output of B alone" for name in sorted(theirs - ours))


def _not_float(model: ir.Model) -> dict[str, str]:
    """Graph outputs that hold no floats."""
    return {
        str(value.name): f"its values are {str(value.dtype).lower()}, and only floats are compared"
        for value in model.graph.outputs
        if value.dtype is not None and value.dtype not in FLOATS | {ir.DataType.DOUBLE}
    }


def _floats(model: ir.Model) -> dict[str, ir.Node]:
    """Float tensors of the main graph and their nodes, in graph order."""
    return {
        str(value.name): node for node in model.graph for value in node.outputs if value.name and value.dtype in FLOATS
    }
