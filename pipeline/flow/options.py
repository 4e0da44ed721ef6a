"""What a command line changes about a spec."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.core.artifacts import Overrides
from pipeline.core.draw import Draw
from pipeline.core.errors import SpecError
from pipeline.core.spec import EngineSpec

if TYPE_CHECKING:
    from pipeline.bundle.signing import Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a command line changes about a spec.

    Attributes:
        weights: `auto`, `pretrained`, `seeded`, or the path of a local checkpoint.
        policy: Precision policy instead of the spec's.
        targets: Build targets instead of the spec's.
        overrides: Refusals to ship that do not hold this time.
        signer: Signs the bundle; None leaves it unsigned, or signed as it is.
        strip_names: Build, validate and ship the model under ordinals instead of its own names.
        draw: Validation samples instead of the spec's; what is made with them ships nothing.
        gpu_check: Validate more than outputs on a GPU: a tapped engine beside the plan, and latencies.
        search: Keys of `SearchSpec` instead of the spec's.
        compensate: Take out the mean error of rounding, whatever the spec says.
    """

    weights: str = "auto"
    policy: str | None = None
    targets: tuple[str, ...] | None = None
    overrides: Overrides = field(default_factory=Overrides)
    signer: Signer | None = None
    strip_names: bool = False
    draw: Draw | None = None
    gpu_check: bool = False
    search: Mapping[str, Any] = field(default_factory=dict)
    compensate: bool = False


def with_options(spec: EngineSpec, options: Options) -> EngineSpec:
    """`spec` as a command line changes it.

    Raises:
        SpecError: What it asks for is no valid spec.
    """
    try:
        if options.policy is not None:
            spec = dataclasses.replace(spec, precision=dataclasses.replace(spec.precision, policy=options.policy))
        if options.search:
            search = dataclasses.replace(spec.precision.search, **options.search)
            spec = dataclasses.replace(spec, precision=dataclasses.replace(spec.precision, search=search))
        if options.compensate:
            spec = dataclasses.replace(spec, precision=dataclasses.replace(spec.precision, compensate=True))
        if options.targets:
            spec = dataclasses.replace(spec, build=dataclasses.replace(spec.build, targets=options.targets))
    except ValueError as error:
        raise SpecError(str(error), where="command line") from error
    return spec
