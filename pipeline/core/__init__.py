"""Errors, numerics, formats, spec, artifacts, serde and store: no runtime, no graph."""
