"""Single tensors close up as one self-contained HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core import serde
from pipeline.report import figures, html

if TYPE_CHECKING:
    from pipeline.analysis.comparison.close_up import CloseUp

TEMPLATE = "close_up.html"


def render(engine: str, found: tuple[CloseUp, ...]) -> str:
    """The page. Everything that comes from a model is escaped."""
    charts = [{"values": [item.reference, item.candidate], "error": item.error} for item in found]
    return (
        html.environment()
        .get_template(TEMPLATE)
        .render(
            engine=engine, found=found, figures=figures, data=html.embed(serde.to_value(charts)), library=html.library()
        )
    )
