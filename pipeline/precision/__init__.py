"""Precision decisions as pure graph work: what each op does in a low format, which nodes bear it, and the casts."""
