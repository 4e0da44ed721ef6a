"""Why a figure moved: a decision, a difference of the graphs, a version, the weights, or the processor."""

from __future__ import annotations

from pipeline.regress.baseline import Baseline, Figures, Module, Plan

SHOWN = 3
"""Nodes or kernels that one explanation names."""


class Explanation:
    """What differs between a baseline and now, asked for by module or plan.

    Attributes:
        culprits: Modules whose own error is worse, in graph order.
        differences: What differs that is no figure, one line each.
    """

    def __init__(self, baseline: Baseline, now: Figures) -> None:
        self._was, self._now = baseline.figures, now
        common = [name for name in baseline.figures.modules if name in now.modules]
        grown = [name for name in common if not now.modules[name].own_db >= baseline.bounds.own[name]]
        self.culprits = tuple(sorted(grown, key=lambda name: now.modules[name].depth))
        self._environment = _environment(baseline.figures, now)
        self._graphs = [name for name, digest in now.graphs.items() if baseline.figures.graphs.get(name) != digest]
        self._moved = {
            name: _moved(name, baseline.figures.modules.get(name), now.modules[name]) for name in now.modules
        }
        self.differences = tuple(self._differences())

    def of_module(self, name: str) -> str:
        """Why the figures of module `name` moved."""
        moved = self._moved.get(name, ())
        if moved:
            return _some(moved)
        if self.culprits and name not in self.culprits:
            return f"inherited from {self.culprits[0] or '(no module)'}"
        return self._otherwise()

    def of_everything(self) -> str:
        """Why figures of the whole model moved."""
        if self.culprits:
            return f"{self.culprits[0] or '(no module)'}: {self.of_module(self.culprits[0])}"
        moved = [line for lines in self._moved.values() for line in lines]
        return _some(tuple(moved)) if moved else self._otherwise()

    def of_plan(self, was: Plan, now: Plan) -> str:
        """Why the kernels or the size of a plan moved."""
        parts = [f"built by {now.flavour} {now.version}, was {was.version}"] if was.version != now.version else []
        before, after = was.kernels or {}, now.kernels or {}
        counts = [
            f"{name} {before.get(name, 0)} → {after.get(name, 0)}"
            for name in sorted(before | after)
            if before.get(name, 0) != after.get(name, 0)
        ]
        moved = [line for lines in self._moved.values() for line in lines]
        parts += [_some(tuple(moved))] if moved else []
        parts += [f"kernels: {_some(tuple(counts))}"] if counts else []
        return "; ".join(parts) or self._otherwise()

    def _otherwise(self) -> str:
        if self._graphs:
            return f"no decision differs, and the {' and '.join(self._graphs)} graph does"
        return _some(self._environment) or "same decisions, graphs, versions and processor: a change of this project"

    def _differences(self) -> list[str]:
        lines = [line for lines in self._moved.values() for line in lines]
        gone = [name or "(no module)" for name in self._was.modules if name not in self._now.modules]
        lines += [f"module {name} is gone" for name in gone]
        lines += [f"the structure of the {name} graph differs" for name in self._graphs]
        return [*lines, *self._environment]


def _moved(name: str, was: Module | None, now: Module) -> tuple[str, ...]:
    """Decisions and nodes of one module that differ."""
    at = f" (module {name})" if name else ""
    if was is None:
        return (f"module {name or '(no module)'} is new",)
    lines = [
        f"{node}{at}: {was.nodes[node]} → {words}"
        for node, words in now.nodes.items()
        if node in was.nodes and was.nodes[node] != words
    ]
    lines += [f"{node}{at}: new, {words}" for node, words in now.nodes.items() if node not in was.nodes]
    return (*lines, *(f"{node}{at}: gone, was {words}" for node, words in was.nodes.items() if node not in now.nodes))


def _environment(was: Figures, now: Figures) -> tuple[str, ...]:
    names = sorted(was.versions | now.versions)
    lines = [
        f"{name} {was.versions.get(name, 'absent')} → {now.versions.get(name, 'absent')}"
        for name in names
        if was.versions.get(name) != now.versions.get(name)
    ]
    pairs = (("weights", was.weights.digest[:16], now.weights.digest[:16]), ("policy", was.policy, now.policy))
    lines += [f"{what} {before} → {after}" for what, before, after in pairs if before != after]
    if was.samples != now.samples:
        lines.append(f"validation samples {was.samples} → {now.samples}")
    if was.processor != now.processor:
        lines.append(f"processor {was.processor} → {now.processor}")
    return tuple(lines)


def _some(lines: tuple[str, ...]) -> str:
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return "; ".join(lines[:SHOWN]) + more
