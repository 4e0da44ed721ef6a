"""What a bundle takes: names, types and shapes of its inputs, checked before anything sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.bundle.manifest import Graph, Plan, Shapes
from pipeline.core.artifacts import TensorInfo
from pipeline.core.errors import BundleError, InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """Inputs of a graph within an optimisation profile.

    Attributes:
        inputs: Graph inputs, in order.
        bounds: Smallest, best and largest shape of each.
        source: What sets the bounds, in words.
    """

    inputs: tuple[TensorInfo, ...]
    bounds: dict[str, Shapes]
    source: str

    def check(self, dtypes: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Hold what is to be fed to the bounds.

        Args:
            dtypes: NumPy name of the type of each feed.
            shapes: Shape of each feed.

        Raises:
            InputError: Any name, type or shape is wrong; the error lists all that are.
        """
        self._require_names(set(shapes))
        lines = [line for item in self.inputs for line in self._problems(item, dtypes[item.name], shapes[item.name])]
        lines += self._disagreements(shapes)
        if lines:
            raise InputError("\n    ".join(["these inputs cannot be run", *lines]), hint=self._describe())

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Hold shapes alone to the bounds; raises like `check`."""
        self.check({item.name: item.dtype for item in self.inputs}, shapes)

    def _require_names(self, given: set[str]) -> None:
        names = {item.name for item in self.inputs}
        if given != names:
            missing, unknown = sorted(names - given), sorted(given - names)
            parts = [*([f"missing: {', '.join(missing)}"] if missing else [])]
            parts += [f"unknown: {', '.join(unknown)}"] if unknown else []
            raise InputError(f"wrong inputs ({'; '.join(parts)})", hint=self._describe())

    def _problems(self, item: TensorInfo, dtype: str, shape: tuple[int, ...]) -> Iterator[str]:
        if dtype != item.dtype:
            yield f"{item.name} is {dtype}, and the graph takes {item.dtype}"
        if len(shape) != len(item.shape):
            yield f"{item.name} has {len(shape)} dimensions, and the graph takes {len(item.shape)}"
            return
        low, _, high = self.bounds[item.name]
        for position, (size, least, most) in enumerate(zip(shape, low, high, strict=True)):
            if not least <= size <= most:
                allowed = str(least) if least == most else f"{least} to {most}"
                yield f"{item.name} is {size} at {_axis(item, position)}, and {self.source} takes {allowed}"

    def _disagreements(self, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
        """Named axes that have two sizes at once."""
        seen: dict[str, tuple[int, str]] = {}
        for item in self.inputs:
            shape = shapes[item.name]
            for axis, size in zip(item.shape, shape, strict=True) if len(item.shape) == len(shape) else ():
                if not isinstance(axis, str):
                    continue
                known, first = seen.setdefault(axis, (size, item.name))
                if known != size:
                    yield f"axis {axis} is {known} in {first} and {size} in {item.name}"

    def _describe(self) -> str:
        rows = []
        for item in self.inputs:
            low, _, high = self.bounds[item.name]
            sizes = (str(a) if a == b else f"{a}..{b}" for a, b in zip(low, high, strict=True))
            rows.append(f"{item.name} {item.dtype}[{', '.join(sizes)}]")
        return f"takes {'; '.join(rows)}"


def of_graph(graph: Graph) -> Interface:
    """What the graph takes, whichever plan runs it.

    Raises:
        BundleError: A dynamic axis has no sizes in the manifest.
    """
    bounds = {item.name: _bounds(item, graph) for item in graph.inputs}
    return Interface(inputs=graph.inputs, bounds=bounds, source="the bundle")


def of_plan(graph: Graph, plan: Plan) -> Interface:
    """What a plan takes: the graph's inputs within the plan's profile.

    Raises:
        BundleError: The plan's profile is not one of this graph's inputs.
    """
    for item in graph.inputs:
        shapes = plan.profiles.get(item.name)
        if shapes is None or any(len(shape) != len(item.shape) for shape in shapes):
            raise BundleError(f"the profile of {plan.path} does not fit input {item.name}", where="manifest.json")
    if strangers := sorted(plan.profiles.keys() - {item.name for item in graph.inputs}):
        raise BundleError(f"the profile of {plan.path} names {strangers}, which are no inputs", where="manifest.json")
    return Interface(inputs=graph.inputs, bounds=dict(plan.profiles), source=f"the profile of {plan.path}")


def _bounds(item: TensorInfo, graph: Graph) -> Shapes:
    unknown = [axis for axis in item.shape if isinstance(axis, str) and axis not in graph.axes]
    if unknown:
        raise BundleError(f"axis {unknown[0]} of input {item.name} has no sizes", where="manifest.json")
    axes = graph.axes
    return (
        tuple(axes[axis].min if isinstance(axis, str) else axis for axis in item.shape),
        tuple(axes[axis].opt if isinstance(axis, str) else axis for axis in item.shape),
        tuple(axes[axis].max if isinstance(axis, str) else axis for axis in item.shape),
    )


def _axis(item: TensorInfo, position: int) -> str:
    axis = item.shape[position]
    return f"axis {axis}" if isinstance(axis, str) else f"dimension {position}"
