"""Benchmarks: each runs ours and a peer on the same input in the same run, and prints the ratios."""
