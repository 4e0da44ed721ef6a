"""Run the benchmarks and print each peer's cost as a multiple of ours: `python -m tests.benchmarks [NAME …]`."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from tests.benchmarks import decide, layers, planted, precision_peers, search

BENCHMARKS = {"decide": decide, "layers": layers, "planted": planted, "search": search}


def main(names: list[str]) -> None:
    """Run the benchmarks named, or all of them."""
    known = (*BENCHMARKS, "precision_peers")
    if strangers := [name for name in names if name not in known]:
        sys.exit(f"error: no benchmark named {strangers[0]!r}; there are {', '.join(known)}")
    for name in names or known:
        if name == "precision_peers":
            precision_peers.main([])
            continue
        costs = BENCHMARKS[name].run()
        ours = next(iter(costs.values()))
        table = Table(title=BENCHMARKS[name].TITLE, title_justify="left")
        for heading in ("", "seconds", "× ours", "CPU seconds", "× ours", "peak GB", "× ours"):
            table.add_column(heading, justify="right" if heading else "left")
        for who, cost in costs.items():
            table.add_row(
                who,
                *(f"{cost.seconds:.1f}", f"{cost.seconds / ours.seconds:.1f}"),
                *(f"{cost.cpu_seconds:.1f}", f"{cost.cpu_seconds / ours.cpu_seconds:.1f}"),
                *(f"{cost.peak_gb:.2f}", f"{cost.peak_gb / ours.peak_gb:.1f}"),
            )
        Console().print(table)


main(sys.argv[1:])
