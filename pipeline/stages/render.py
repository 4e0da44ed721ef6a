"""Write the validation report for people and for tools."""

from __future__ import annotations

from pathlib import Path

from pipeline.core import serde
from pipeline.core.artifacts import EnginePlans, PrecisionPlan, RenderedReport, ValidationReport
from pipeline.core.progress import Progress
from pipeline.core.stage import stage


@stage(
    version=1,
    rooms=("report", "report/templates/report.html", "report/templates/report.css", "report/templates/report.js"),
    tools=("jinja2", "plotly"),
)
def render(
    report: ValidationReport, plan: PrecisionPlan, plans: EnginePlans, *, out: Path, progress: Progress
) -> RenderedReport:
    """Write `report.html`, `report.json`, `report.junit.xml` and `report.md`."""
    from pipeline.report import html, junit, markdown

    forms = RenderedReport(
        html=out / "report.html",
        json=out / "report.json",
        junit=out / "report.junit.xml",
        markdown=out / "report.md",
    )
    forms.html.write_text(html.render(report, plan, plans), encoding="utf-8")
    forms.json.write_text(serde.dumps(report), encoding="utf-8")
    forms.junit.write_text(junit.render(report), encoding="utf-8")
    forms.markdown.write_text(markdown.render(report, plan, plans), encoding="utf-8")
    return forms
