"""The verdict as one self-contained HTML page: no network, opens from disk."""

from __future__ import annotations

import base64
import functools
import gzip
import importlib.resources
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.core.artifacts import EnginePlan, EnginePlans, Kernel, PrecisionPlan, SearchResult, ValidationReport
from pipeline.report import figures, frontier, grounds, page_data

if TYPE_CHECKING:
    import jinja2

TEMPLATE = "report.html"
CAUSES = 8
"""Causes that the page shows."""

KERNELS = 25
"""Kernel names listed for a plan, those with the most nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Nodes that one rule put into one format.

    Attributes:
        name: Name of the rule.
        result: The format.
        nodes: How many nodes.
        bases: How many of them rest on what.
        ops: Their commonest operator types.
        reason: The reason given for the first of them.
    """

    name: str
    result: str
    nodes: int
    bases: str
    ops: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelGroup:
    """Kernels of one name.

    Attributes:
        name: Their name.
        kind: Their kind in the plan's text.
        types: Types of operands and results as written.
        count: How many.
        nodes: ONNX nodes in all of them together.
    """

    name: str
    kind: str
    types: str
    count: int
    nodes: int


def render(
    report: ValidationReport, plan: PrecisionPlan, plans: EnginePlans, search: SearchResult | None = None
) -> str:
    """The page. Everything that comes from a model (names, reasons) is escaped."""
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            report=report,
            plan=plan,
            plans=plans.plans,
            figures=figures,
            grounds=grounds,
            origins=figures.origins(report),
            worst=figures.worst(report, 10),
            bad=sum(layer.bad for layer in report.layers),
            compared=figures.compared(report),
            formats=figures.formats(plan),
            rules=_rules(plan),
            kernels=_kernels,
            fused=_fused,
            most_kernels=KERNELS,
            most_causes=CAUSES,
            gpu_views=figures.gpu_views,
            search=search,
            frontier=frontier,
            data=embed(page_data.build(report, plan, plans, search)),
            library=library(),
        )
    )


def environment() -> jinja2.Environment:
    """Templates of this package; what they are given is escaped."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = importlib.resources.files("pipeline.report") / "templates"
    environment.globals["asset"] = lambda name: Markup((folder / name).read_text(encoding="utf-8"))  # noqa: S704 (ours)
    return environment


def embed(data: Any) -> Any:
    """JSON that may stand inside a script element: no `<`, so neither `</script>` nor `<!--`."""
    from markupsafe import Markup

    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(safe.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))  # noqa: S704 (escaped above)


@functools.cache
def library() -> str:
    """plotly.js from its Python package, compressed: the page unpacks it (4.8 MB become 2 MB)."""
    source = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
    return base64.b64encode(gzip.compress(source.read_bytes(), mtime=0)).decode("ascii")


def _rules(plan: PrecisionPlan) -> list[Rule]:
    groups: dict[tuple[str, str], list[Any]] = {}
    for item in plan.decisions:
        groups.setdefault((item.rule, str(item.result or "integer")), []).append(item)
    rules = [
        Rule(
            name=name,
            result=result,
            nodes=len(items),
            bases=grounds.bases(items),
            ops=", ".join(op for op, _ in Counter(item.op for item in items).most_common(4)),
            reason=items[0].reason,
        )
        for (name, result), items in groups.items()
    ]
    return sorted(rules, key=lambda rule: (rule.result == "integer", rule.result == plan.low, -rule.nodes))


def _kernels(plan: EnginePlan) -> list[KernelGroup]:
    """A plan's kernels by name, the most nodes first."""
    groups: dict[tuple[str, str, str], list[Kernel]] = {}
    for kernel in plan.text.kernels if plan.text is not None else ():
        groups.setdefault((kernel.name or "–", kernel.kind, _types(kernel)), []).append(kernel)
    rows = [
        KernelGroup(name=name, kind=kind, types=types, count=len(items), nodes=sum(len(item.nodes) for item in items))
        for (name, kind, types), items in groups.items()
    ]
    return sorted(rows, key=lambda row: (-row.nodes, row.name))


def _types(kernel: Kernel) -> str:
    if not (kernel.operands or kernel.results):
        return "not observable"
    return f"{', '.join(kernel.operands)} → {', '.join(kernel.results)}"


def _fused(plan: EnginePlan) -> list[Kernel]:
    """A plan's fused attention kernels."""
    return [kernel for kernel in plan.text.kernels if kernel.fused_attention] if plan.text is not None else []
