"""`trt-pipeline layout`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli import loading

HELP = """Verify BUNDLE and write it to the new folder TARGET in another form.

\b
plain   the bundle's folder, out of a .tar.zst too
triton  a model repository of Triton Inference Server: its TensorRT backend for plans of
        TensorRT; its Python backend over pipeline.runtime for those of TensorRT-RTX
oci     an OCI image layout that holds an artifact, for oras, skopeo or any registry tool
"""


@click.command(help=HELP)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.argument("kind", metavar="LAYOUT", type=click.Choice(["plain", "triton", "oci"]))
@click.argument("target", type=click.Path(path_type=Path))
@loading.key_option
def layout(bundle: Path, kind: str, target: Path, key: Path | None) -> None:
    """Write a bundle in another form."""
    from pipeline.bundle import opening
    from pipeline.bundle.layouts import kinds

    with opening.opened(bundle, key=key) as verified:
        for warning in verified.proof.warnings:
            click.echo(f"{click.style('note:', fg='yellow')} {warning}", err=True)
        use = kinds.write(kinds.Layout(kind), verified, target)
    click.echo(use)
