"""Write the validation report for people and for tools."""

from __future__ import annotations

from pathlib import Path

from pipeline.core import serde
from pipeline.core.artifacts import EnginePlans, PrecisionPlan, RenderedReport, SearchResult, ValidationReport
from pipeline.core.progress import Progress
from pipeline.core.stage import stage


@stage(
    version=1,
    rooms=(
        "report",
        "report/templates/report.html",
        "report/templates/grounds.html",
        "report/templates/extremes.html",
        "report/templates/report.css",
        "report/templates/report.js",
    ),
    tools=("jinja2", "plotly"),
)
def render(
    report: ValidationReport,
    plan: PrecisionPlan,
    plans: EnginePlans,
    search: SearchResult | None = None,
    *,
    out: Path,
    progress: Progress,
) -> RenderedReport:
    """Write `report.html`, `report.json`, `report.junit.xml` and `report.md`.

    Args:
        report: The verdict.
        plan: The decisions.
        plans: The plans that were built.
        search: What a search found, where there was one.
        out: Folder for the files.
        progress: Unused.
    """
    from pipeline.report import html, junit, markdown

    forms = RenderedReport(
        html=out / "report.html",
        json=out / "report.json",
        junit=out / "report.junit.xml",
        markdown=out / "report.md",
    )
    forms.html.write_text(html.render(report, plan, plans, search), encoding="utf-8")
    forms.json.write_text(serde.dumps(report), encoding="utf-8")
    forms.junit.write_text(junit.render(report), encoding="utf-8")
    forms.markdown.write_text(markdown.render(report, plan, plans, search), encoding="utf-8")
    return forms
