"""`trt-pipeline ship` and `trt-pipeline keygen`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import options
from pipeline.cli.context import Context
from pipeline.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from pipeline.bundle.signing import Signer


@click.command()
@options.engine_name
@options.run_options
@click.option(
    "--sign",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Sign with this Ed25519 private key (PEM; passphrase from TRT_PIPELINE_KEY_PASSPHRASE, or asked for).",
)
@click.option("--strip-names", is_flag=True, help="Build, validate and ship under ordinals instead of layer names.")
@click.option("--force-unvalidated", is_flag=True, help="Ship what did not pass; the manifest says so.")
@click.option("--allow-unlicensed", is_flag=True, help="Ship weights whose licence nobody stated.")
@options.as_json
@click.pass_context
def ship(
    ctx: click.Context,
    name: str,
    weights: str,
    policy: str | None,
    targets: tuple[str, ...],
    sign: Path | None,
    strip_names: bool,
    force_unvalidated: bool,
    allow_unlicensed: bool,
    as_json: bool,
) -> None:
    """Make the bundle of NAME, as a folder and as one .tar.zst; refuses what did not pass.

    Runs every stage before it whose inputs changed. With --strip-names everything after the canonical graph is made
    anew under ordinals and stands in a folder of its own, beside names.json, which tells what they stand for and is in
    no bundle. Weights that are not the real ones never ship. Exits 0 when there is a bundle, else 1.
    """
    from pipeline.cli import engine
    from pipeline.core.artifacts import Overrides

    context: Context = ctx.obj
    results = engine.run(
        context,
        name,
        weights=weights,
        policy=policy,
        targets=targets,
        until="ship",
        overrides=Overrides(unvalidated=force_unvalidated, unlicensed=allow_unlicensed),
        signer=None if sign is None else _signer(sign),
        strip_names=strip_names,
    )
    if as_json:
        from pipeline.core import serde

        click.echo(serde.dumps(results.artifact("ship")), nl=False)
    else:
        engine.show(context, results, "ship")
        if results.shippable:
            _say_signed(results.folder / "bundle")
    ctx.exit(ExitCode.OK if results.shippable else ExitCode.NOT_PASSED)


@click.command()
@click.argument("private", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("public", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--no-passphrase", is_flag=True, help="Leave the private key unencrypted, for a store of secrets.")
def keygen(private: Path, public: Path | None, no_passphrase: bool) -> None:
    """Write a new Ed25519 key pair as PEM files: PRIVATE to sign with, PUBLIC (PRIVATE.pub) to verify with.

    The passphrase comes from TRT_PIPELINE_KEY_PASSPHRASE, or is asked for. No file is overwritten.
    """
    from pipeline.bundle import signing

    given = None if no_passphrase else os.environ.get(signing.PASSPHRASE) or _ask(private, confirm=True)
    shown = public or private.with_name(f"{private.name}.pub")
    key_id = signing.generate(private, shown, given.encode() if given else None)
    click.echo(f"private key: {private}  (keep it secret)")
    click.echo(f"public key:  {shown}  (give it to whoever verifies)")
    click.echo(f"key id:      {key_id}")


def _say_signed(bundle: Path) -> None:
    """What stands beside the bundle, and whose signature it carries: that of this run, or of one before."""
    from pipeline.bundle import archive, manifest, signing, verify

    click.echo(f"as one file: {bundle.with_name(bundle.name + archive.SUFFIX)}")
    signature = bundle / manifest.SIGNATURE
    if signature.exists():
        signed_by = signing.parse(signature.read_bytes(), str(signature)).key_id
        click.echo(
            f"signed by key {signed_by[:16]}…; whoever takes it checks it with: trt-pipeline verify BUNDLE --key PUB"
        )
    else:
        click.echo(f"{verify.UNSIGNED}; sign it with --sign KEY")


def _signer(key: Path) -> Signer:
    from pipeline.bundle import signing

    return signing.read_private(key, lambda path: _ask(path, confirm=False))


def _ask(path: Path, *, confirm: bool) -> str:
    asked: str = click.prompt(f"Passphrase of {path}", hide_input=True, confirmation_prompt=confirm, err=True)
    return asked
