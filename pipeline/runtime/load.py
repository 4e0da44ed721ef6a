"""`load`: from a bundle on disk to something that runs, trusting nothing on the way."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from pipeline.bundle import content, opening
from pipeline.bundle.opening import Opened
from pipeline.runtime import fit, interface, machine
from pipeline.runtime.interface import Interface
from pipeline.runtime.session import Engine

LOG = logging.getLogger("pipeline.runtime")


class Backend(StrEnum):
    """What computes."""

    ENGINE = "engine"
    EMULATED = "emulated"


def load(
    bundle: str | Path,
    *,
    key: str | Path | None = None,
    backend: Backend | str = Backend.ENGINE,
    plan: str | None = None,
    device: int = 0,
    streams: int = 1,
    cuda_graphs: bool = True,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Engine:
    """Verify a bundle and load it.

    Before anything is deserialised: every file is compared with the manifest, the manifest with its signature, and
    the plan's flavour, version, compute capability, driver and shapes with this machine and with what is asked for.

    Args:
        bundle: Its folder, or its `.tar.zst`.
        key: Public key (a file) that must have signed it; without one, damage is detected and tampering is not.
        backend: `engine`, on the GPU; or `emulated`, on the CPU: the same roundings, and not the engine.
        plan: Path in the bundle of the plan to load; by default the first that fits this machine.
        device: Index of the GPU.
        streams: Calls that may run on the GPU at once; each costs the memory of an execution context.
        cuda_graphs: Whether calls whose shapes repeat run as CUDA graphs.
        shapes: Shapes by input that will be run; refused here where the profile does not take them.

    Returns:
        An engine to call; close it, or use it in a `with` statement.

    Raises:
        BundleError: The bundle is damaged, not signed by `key`, or contradicts itself.
        BackendUnavailable: No plan of it runs on this machine; the error says why for each, and what would.
        InputError: `shapes` lies outside the profile.
    """
    kind = Backend(backend)
    if streams < 1:
        raise ValueError(f"streams must be at least 1, got {streams}")
    with opening.opened(Path(bundle), key=None if key is None else Path(key)) as verified:
        for warning in verified.proof.warnings:
            LOG.warning("%s: %s", bundle, warning)
        if kind is Backend.EMULATED:
            engine = emulation(verified, shapes=shapes)
            LOG.warning("%s: %s", bundle, engine.note)
            return engine
        return native(verified, plan=plan, device=device, streams=streams, cuda_graphs=cuda_graphs, shapes=shapes)


def emulation(bundle: Opened, *, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Engine:
    """The emulation of a bundle that was verified already. See `load`."""
    from pipeline.runtime.emulated import Emulated

    takes = interface.of_graph(bundle.manifest.graph)
    _require(takes, shapes)
    return Engine(Emulated(bundle.folder, bundle.manifest), manifest=bundle.manifest, plan=None, interface=takes)


def native(
    bundle: Opened,
    *,
    plan: str | None = None,
    device: int = 0,
    streams: int = 1,
    cuda_graphs: bool = True,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Engine:
    """The engine of a bundle that was verified already. See `load`."""
    from pipeline.runtime.native import Native

    record = bundle.manifest
    found = machine.look({item.flavour for item in record.plans}, device)
    chosen = fit.choose(record, found, wanted=plan, where=str(bundle.source))
    takes = interface.of_plan(record.graph, chosen)
    _require(takes, shapes)
    runner = Native(
        chosen,
        content.read(bundle.folder, chosen.path, record),
        sha256=record.files[chosen.path].sha256,
        graph=record.graph,
        interface=takes,
        device=device,
        streams=streams,
        graphs=cuda_graphs,
    )
    return Engine(runner, manifest=record, plan=chosen, interface=takes)


def _require(takes: Interface, shapes: Mapping[str, tuple[int, ...]] | None) -> None:
    if shapes is not None:
        takes.check_shapes(shapes)
