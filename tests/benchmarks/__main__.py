"""Run the benchmarks, ours and peers on the same input: all of them, or the one that is named with its arguments.

python -m tests.benchmarks
python -m tests.benchmarks layers
python -m tests.benchmarks precision_peers minilm nanoguard --only search
"""

from __future__ import annotations

import argparse
from types import ModuleType

from rich.console import Console
from rich.table import Table

from tests.benchmarks import decide, layers, planted, precision_peers, search

COSTS = {"decide": decide, "layers": layers, "planted": planted, "search": search}
"""Benchmarks of time and memory alone; `precision_peers` judges what comes out as well."""


def main() -> None:
    """Run what the command line names, or everything."""
    options = _parser().parse_args()
    for name, module in COSTS.items():
        if options.name in (None, name):
            _show(module)
    if options.name in (None, "precision_peers"):
        precision_peers.main(getattr(options, "models", []), getattr(options, "only", ""))


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__, formatter_class=shape)
    names = parser.add_subparsers(dest="name", metavar="NAME", title="benchmarks")
    for name, module in COSTS.items():
        names.add_parser(name, help=module.TITLE)
    rows = names.add_parser(
        "precision_peers", help=precision_peers.TITLE, description=precision_peers.__doc__, formatter_class=shape
    )
    rows.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(precision_peers.MODELS)}; or all")
    rows.add_argument("--only", default="", metavar="PATTERN", help="contestants whose names match; or all")
    return parser


def _show(benchmark: ModuleType) -> None:
    """Each one's cost, and as a multiple of ours."""
    costs = benchmark.run()
    ours = next(iter(costs.values()))
    table = Table(title=benchmark.TITLE, title_justify="left")
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


if __name__ == "__main__":
    main()
