"""The bill of materials of a bundle, in CycloneDX 1.6: its files, the weights, and what made them.

The same content gives the same bytes: the serial number derives from the files, and there is a time only where
SOURCE_DATE_EPOCH gives one.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from pipeline.bundle.manifest import File, Role, core_digest, core_files
from pipeline.core.artifacts import Provenance
from pipeline.core.errors import BundleError

if TYPE_CHECKING:
    from cyclonedx.model import HashType
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

FILE = "sbom.cdx.json"

NAMESPACE = uuid.UUID("6f1d6a5e-6a0b-5a0e-9a52-2f0c1f5d9b1e")
"""Of the serial numbers that are derived here (RFC 9562, version 5)."""

TOOLS = (
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxruntime-gpu",
    "onnxscript",
    "polygraphy",
    "safetensors",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "tensorrt-rtx",
    "tensorrt-rtx-cu12",
    "tensorrt-rtx-cu12-libs",
    "tensorrt-rtx-cu13",
    "tensorrt-rtx-cu13-libs",
    "tokenizers",
    "torch",
    "transformers",
    "trt-pipeline",
)
"""Distributions that decide what a bundle's files hold, where they are installed."""


def render(engine: str, files: Mapping[str, File], sources: Mapping[str, Provenance], *, epoch: int | None) -> str:
    """The bill of materials as JSON.

    Args:
        engine: Name of the engine.
        files: Files of the bundle; those that `listed` gives enter.
        sources: Where weights and tokenizer come from, by what they are.
        epoch: Seconds since 1970 that it is dated with; None for no date.
    """
    return _written(engine, files, (*_sources(sources), *_tools()), epoch)


def renew(before: bytes, engine: str, files: Mapping[str, File], *, epoch: int | None) -> str:
    """The bill of materials of a bundle whose files are others now: the tools of this machine join those of before.

    Args:
        before: The bill of materials that the bundle had.
        engine: See `render`.
        files: See `render`.
        epoch: See `render`.

    Raises:
        BundleError: `before` is not one in CycloneDX.
    """
    from cyclonedx.exception import CycloneDxException
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import ComponentType

    try:
        known: Iterable[Component] = Bom.from_json(data=json.loads(before)).components  # type: ignore[attr-defined]
    except (CycloneDxException, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleError("not a bill of materials in CycloneDX", where=FILE) from error
    kept = [item for item in known if item.type is not ComponentType.FILE]
    components = {str(item.bom_ref): item for item in (*kept, *_tools())}
    return _written(engine, files, components.values(), epoch)


def listed(files: Mapping[str, File]) -> dict[str, File]:
    """The files that a bill of materials lists: the core, without itself and without the README, which comes after."""
    return {name: file for name, file in core_files(files).items() if file.role not in (Role.SBOM, Role.README)}


def _written(engine: str, files: Mapping[str, File], others: Iterable[Component], epoch: int | None) -> str:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    core = core_digest(listed(files))
    bom = Bom(serial_number=uuid.uuid5(NAMESPACE, core))
    bom.metadata.component = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL, name=engine, bom_ref="bundle", version=core[:16]
    )
    bom.metadata.timestamp = _date(epoch)  # type: ignore[assignment]
    for component in (*_files(files), *others):
        bom.components.add(component)
    bom.register_dependency(bom.metadata.component, list(bom.components))
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def _date(epoch: int | None) -> datetime.datetime | None:
    return None if epoch is None else datetime.datetime.fromtimestamp(epoch, tz=datetime.UTC)


def _files(files: Mapping[str, File]) -> Iterator[Component]:
    from cyclonedx.model.component import Component, ComponentType

    for name, file in listed(files).items():
        yield Component(type=ComponentType.FILE, name=name, bom_ref=f"file:{name}", hashes=[_sha256(file.sha256)])


def _sources(sources: Mapping[str, Provenance]) -> Iterator[Component]:
    from cyclonedx.model.component import Component, ComponentType

    for what, provenance in sources.items():
        yield Component(
            type=ComponentType.MACHINE_LEARNING_MODEL if what == "weights" else ComponentType.DATA,
            name=provenance.source,
            description=what,
            bom_ref=what,
            hashes=[_sha256(provenance.digest)],
            licenses=_licences(provenance.licence),
        )


def _tools() -> Iterator[Component]:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    for name in TOOLS:
        try:
            found = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        version = found["Version"]
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=version,
            bom_ref=f"pypi:{name}@{version}",
            purl=PackageURL("pypi", name=name, version=version),
            licenses=_licences(_stated(found)),
        )


def _stated(found: importlib.metadata.PackageMetadata) -> str:
    """The licence that a distribution states, as it states it; "" where it is a text or missing."""
    words = next((found[key] for key in ("License-Expression", "License") if key in found), "")
    if words and len(words.splitlines()) == 1:
        return words
    classified = [line for line in found.get_all("Classifier") or [] if line.startswith("License ::")]
    return classified[0].rsplit(" :: ", 1)[-1] if classified else ""


def _licences(stated: str) -> list[License]:
    from cyclonedx.contrib.license.factories import LicenseFactory

    return [LicenseFactory().make_from_string(stated)] if stated else []


def _sha256(digest: str) -> HashType:
    from cyclonedx.model import HashAlgorithm, HashType

    return HashType(alg=HashAlgorithm.SHA_256, content=digest)
