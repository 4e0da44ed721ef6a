"""`trt-pipeline run`: one inference as a person tries it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import loading, options

if TYPE_CHECKING:
    from pipeline.runtime.arrays import Array
    from pipeline.runtime.summary import Summary
    from pipeline.runtime.tokenizer import Tokenizer


@click.command()
@loading.bundle_options
@click.option("--text", "texts", multiple=True, metavar="TEXT", help="A text; several make a batch.")
@click.option(
    "--npz",
    "npz_file",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Arrays by input name, such as a file of calibration samples.",
)
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.npz", help="Write the outputs.")
@options.as_json
def run(
    bundle: Path,
    key: Path | None,
    backend: str,
    plan: str | None,
    texts: tuple[str, ...],
    npz_file: Path | None,
    save: Path | None,
    as_json: bool,
) -> None:
    """Verify BUNDLE (a folder or a .tar.zst), run it once and say what came out."""
    if bool(texts) == (npz_file is not None):
        raise click.UsageError("give --text TEXT, or --npz FILE")
    from pipeline.runtime import npz, summary, text
    from pipeline.runtime import tokenizer as tokenizers

    with loading.loaded(bundle, key=key, backend=backend, plan=plan) as (engine, verified):
        tokenizer = tokenizers.of_bundle(verified) if texts else None
        feeds = npz.read(npz_file) if npz_file is not None else text.feeds(texts, _require(tokenizer), engine.interface)
        started = time.perf_counter()
        outputs = engine.run(feeds)
        seconds = time.perf_counter() - started
        found = [summary.of(name, array, feeds, tokenizer) for name, array in outputs.items()]
    if save is not None:
        _save(save, outputs)
    source = "emulated" if engine.plan is None else engine.plan.path
    if as_json:
        from pipeline.core import serde

        document = {"ran": source, "note": engine.note, "seconds": seconds, "outputs": found}
        click.echo(serde.dumps(document), nl=False)
    else:
        _show(source, seconds, feeds, found)


def _require(tokenizer: Tokenizer | None) -> Tokenizer:
    assert tokenizer is not None
    return tokenizer


def _save(path: Path, outputs: dict[str, Array]) -> None:
    from pipeline.core import npz
    from pipeline.core.errors import InputError

    try:
        npz.write(path, outputs)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from error


def _show(source: str, seconds: float, feeds: dict[str, Array], found: list[Summary]) -> None:
    from pipeline.cli import screen

    output = screen.console()
    shapes = ", ".join(f"{name} {_shape(array.shape)}" for name, array in feeds.items())
    output.print(f"ran {source} on {shapes} in {seconds * 1e3:.1f} ms (one call, not warmed up)")
    for item in found:
        output.print(f"\n[bold]{item.name}[/]  {item.dtype} {_shape(item.shape)}")
        screen.facts(output, _facts(item))


def _facts(item: Summary) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [
        ("first values", " ".join(f"{value:.5g}" for value in item.first)),
        (
            "range",
            f"{item.low:.5g} to {item.high:.5g}, mean {item.mean:.5g}" if item.low is not None else "nothing finite",
        ),
        ("not finite", f"{item.nonfinite} of {item.elements}" if item.nonfinite else None),
    ]
    for row in item.best:
        picks = "  ".join(f"{pick.label} {pick.share:.3f}" for pick in row.picks)
        rows.append((row.where, picks))
    return rows


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(str(size) for size in shape) or "scalar"
