"""What `init --from` says about a model, as the fields of a new `engine.toml`."""

from __future__ import annotations

from pipeline.cli.drafts.draft import Draft, Wanted
from pipeline.cli.drafts.sources import FORMS, draft

__all__ = ["FORMS", "Draft", "Wanted", "draft"]
