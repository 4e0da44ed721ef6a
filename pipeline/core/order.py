"""The names of the stages, in the order in which a run takes them."""

from __future__ import annotations

ORDER = (
    "fetch",
    "sample",
    "export",
    "canonicalise",
    "calibrate",
    "probe",
    "rescale",
    "mark",
    "search",
    "convert",
    "compensate",
    "build",
    "validate",
    "render",
    "ship",
)
