"""A smallest set of nodes whose return to fp32 mends a failing graph."""
