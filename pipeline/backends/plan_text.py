"""What a TensorRT-RTX plan says of itself: its header and the text of its optimised graph, read without a GPU.

The format is undocumented. What is read here was observed on the versions in `TESTED`; a plan of any other version, or
one whose header does not hold together, gives `PlanText(version=None)` and no kernels rather than a guess.

A plan holds *programs* in text: one a compiled graph, and one (a *body*) a fused kernel generated on the target.
A program has `descriptors` (type of every tensor) and `main`, with one `kind={ … }` line an entry; a graph's program
also has `shape_main`, host arithmetic on shapes, which launches nothing.
"""

from __future__ import annotations

import itertools
import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.backends import layer_names
from pipeline.core import plan_header
from pipeline.core.artifacts import Kernel, PlanText

TESTED = frozenset({"1.7.1.116"})
"""Versions whose plans were compared with the graphs they were built from."""

UNKNOWN = PlanText(version=None, targets=(), kernels=())

_PROGRAM = re.compile(rb"header \{\n  version = ")
_GRAPH = b"\n  memory_budget = "
_TENSOR = re.compile(rb'\n  (?:sub_)?tensor=\{[^\n]*? name="([^"\n]*)"[^\n]*? type=(\w+)')
_ENTRY = re.compile(rb'\n  (\w+)=\{ name=(?:"([^"\n]*)"|(\S+))')
_LAYERS = re.compile(rb'\blayers="([^"]*)"')
_INPUTS = re.compile(rb"\binput(?:_args)?=\{([^{}]*)\}")
_OUTPUTS = re.compile(rb"\boutput(?:_args)?=\{([^{}]*)\}")
_QUOTED = re.compile(rb'"([^"]*)"')
_ACCUMULATION = re.compile(rb"\baccumulation_type=(\d+)")

_LAUNCHED = frozenset({"function", "runtime_fusion", "fully_connected", "corrltn", "deconvolution"})
"""Kinds that are kernels even where they name no ONNX node; other kinds are kernels where they name one."""

_PRODUCTS = frozenset({"fully_connected", "corrltn", "deconvolution"})
"""GEMM, convolution (correlation) and its transpose: two operands come first, then scales, bias and scratch."""

_INDEX_TYPES = frozenset({"int64", "int32", "bool", "boolean"})


def read(path: Path) -> PlanText:
    """Read the header and the kernels of a plan.

    Args:
        path: A `.plan` file. It is mapped, not loaded; nothing in it is executed or deserialised.

    Returns:
        Its version, targets and kernels; `UNKNOWN` where it is no RTX plan of a tested version.
    """
    if path.stat().st_size < plan_header.SIZE:
        return UNKNOWN
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as plan:
        header = plan_header.read(plan[: plan_header.SIZE])
        if header is None or header.length != len(plan) or header.version not in TESTED:
            return UNKNOWN
        return PlanText(version=header.version, targets=header.targets, kernels=tuple(_kernels(plan)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """One program's text: whether it is a compiled graph, the type of each tensor, and `main`."""

    graph: bool
    types: Mapping[bytes, str]
    main: bytes


def _kernels(plan: mmap.mmap) -> Iterator[Kernel]:
    programs = list(_programs(plan))
    bodies = [kernel for program in programs if not program.graph for kernel in _entries(program)]
    products = {node: kernel for kernel in bodies if kernel.kind in _PRODUCTS for node in kernel.nodes}
    for program in programs:
        if program.graph:
            yield from (_with_product(kernel, products) for kernel in _entries(program) if _is_kernel(kernel))


def _is_kernel(kernel: Kernel) -> bool:
    return kernel.kind in _LAUNCHED or bool(kernel.nodes)


def _with_product(kernel: Kernel, products: Mapping[str, Kernel]) -> Kernel:
    """`kernel` with what its body says of the GEMM or convolution in it."""
    if kernel.kind != "runtime_fusion":
        return kernel
    product = next((products[node] for node in kernel.nodes if node in products), None)
    if product is None:
        return kernel
    return Kernel(
        kind=kernel.kind,
        name=kernel.name,
        nodes=kernel.nodes,
        accumulation=product.accumulation,
        operands=product.operands,
        results=product.results,
    )


def _programs(plan: mmap.mmap) -> Iterator[_Program]:
    starts = [match.start() for match in _PROGRAM.finditer(plan)]
    for start, end in itertools.pairwise([*starts, len(plan)]):
        descriptors = plan.find(b"\ndescriptors {", start, end)
        main = plan.find(b"\nmain {", max(descriptors, start), end)
        if descriptors < 0 or main < 0:
            continue
        yield _Program(
            graph=plan.find(_GRAPH, start, descriptors) >= 0,
            types={name: kind.decode() for name, kind in _TENSOR.findall(plan[descriptors:main])},
            main=plan[main : plan.find(b"\n}\n", main, end) + 1],
        )


def _entries(program: _Program) -> Iterator[Kernel]:
    matches = list(_ENTRY.finditer(program.main))
    ends = [match.start() for match in matches[1:]] + [len(program.main)] * bool(matches)
    for match, end in zip(matches, ends, strict=True):
        kind, quoted, plain = match.groups()
        yield _entry(kind.decode(), (quoted or plain).decode(), program.main[match.end() : end], program.types)


def _entry(kind: str, name: str, text: bytes, types: Mapping[bytes, str]) -> Kernel:
    accumulation = _ACCUMULATION.search(text)
    inputs = _names(_INPUTS, text)
    return Kernel(
        kind=kind,
        name=name,
        nodes=_nodes(text),
        accumulation=int(accumulation.group(1)) if accumulation else None,
        operands=_types(inputs[:2] if kind in _PRODUCTS else inputs, types),
        results=_types(_names(_OUTPUTS, text), types),
    )


def _names(pattern: re.Pattern[bytes], text: bytes) -> list[bytes]:
    match = pattern.search(text)
    return _QUOTED.findall(match.group(1)) if match else []


def _types(names: list[bytes], types: Mapping[bytes, str]) -> tuple[str, ...]:
    """Types of the tensors in `names`, each once; sizes and indices left out."""
    found = (types.get(name.removesuffix(b"^deref")) for name in names)
    return tuple(dict.fromkeys(kind for kind in found if kind is not None and kind not in _INDEX_TYPES))


def _nodes(text: bytes) -> tuple[str, ...]:
    match = _LAYERS.search(text)
    return layer_names.nodes(match.group(1).decode("utf-8", "replace")) if match else ()
