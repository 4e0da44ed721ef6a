"""An OCI image layout that holds the bundle as an artifact, for any registry tool to push.

OCI image specification 1.1: image-layout.md, and manifest.md, "Guidelines for Artifact Usage". One layer a file, named
by `org.opencontainers.image.title`, which is what `oras pull` writes it to; the config is the empty one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.bundle import content, manifest
from pipeline.bundle.manifest import Manifest, Role
from pipeline.bundle.opening import Opened
from pipeline.core import digest

ARTIFACT_TYPE = "application/vnd.trt-pipeline.bundle.v1"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"

OWN_TYPE = "application/vnd.trt-pipeline.bundle.manifest.v1+json"
SIGNATURE_TYPE = "application/vnd.trt-pipeline.bundle.signature.v1+json"
PLAN_TYPE = "application/vnd.trt-pipeline.plan.v1"
ONNX_TYPE = "application/vnd.trt-pipeline.onnx.v1"
SBOM_TYPE = "application/vnd.cyclonedx+json"
PROVENANCE_TYPE = "application/vnd.in-toto+json"

BY_ROLE = {
    Role.PLAN: PLAN_TYPE,
    Role.ONNX: ONNX_TYPE,
    Role.EMULATED: ONNX_TYPE,
    Role.SBOM: SBOM_TYPE,
    Role.PROVENANCE: PROVENANCE_TYPE,
}
BY_SUFFIX = {".json": "application/json", ".md": "text/markdown", ".html": "text/html", ".txt": "text/plain"}
OTHER_TYPE = "application/octet-stream"

USE = "push it: oras cp --from-oci-layout {target}:latest REGISTRY/NAME:TAG, or skopeo copy oci:{target}:latest docker://…"


def write(bundle: Opened, folder: Path) -> str:
    """Write `oci-layout`, `index.json` and the blobs; the same bundle gives the same bytes."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layers = [
        _own(blobs, bundle.manifest_bytes, OWN_TYPE, manifest.FILE),
        *([_own(blobs, bundle.signature, SIGNATURE_TYPE, manifest.SIGNATURE)] if bundle.signature is not None else []),
        *(_file(bundle, blobs, name) for name in sorted(bundle.manifest.files)),
    ]
    image = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": _descriptor(blobs, EMPTY, EMPTY_TYPE),
        "layers": layers,
        "annotations": _annotations(bundle.manifest),
    }
    described = _descriptor(blobs, _json(image), MANIFEST_TYPE)
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [
            {
                **described,
                "artifactType": ARTIFACT_TYPE,
                "annotations": {"org.opencontainers.image.ref.name": "latest"},
            }
        ],
    }
    (folder / "index.json").write_bytes(_json(index))
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return USE


def _annotations(record: Manifest) -> dict[str, str]:
    plans = "; ".join(f"{plan.flavour} {plan.version} for {', '.join(plan.targets)}" for plan in record.plans)
    return {
        "org.opencontainers.image.title": record.engine,
        "org.opencontainers.image.description": f"TensorRT bundle: {plans}",
        "org.opencontainers.image.licenses": record.weights.licence,
        "io.github.trt-pipeline.core": f"sha256:{record.core}",
        "io.github.trt-pipeline.validated": "yes" if record.verdict.passed else "no",
    }


def _file(bundle: Opened, blobs: Path, name: str) -> dict[str, Any]:
    file = bundle.manifest.files[name]
    blob = blobs / file.sha256
    if not blob.exists():  # two files may have the same content
        content.copy(bundle.folder, name, bundle.manifest, blob)
    kind = BY_ROLE.get(file.role) or BY_SUFFIX.get(Path(name).suffix, OTHER_TYPE)
    return {**_reference(file.sha256, file.size, kind), "annotations": {"org.opencontainers.image.title": name}}


def _own(blobs: Path, data: bytes, kind: str, name: str) -> dict[str, Any]:
    return {**_descriptor(blobs, data, kind), "annotations": {"org.opencontainers.image.title": name}}


def _descriptor(blobs: Path, data: bytes, kind: str) -> dict[str, Any]:
    sha256 = digest.of_bytes(data)
    (blobs / sha256).write_bytes(data)
    return _reference(sha256, len(data), kind)


def _reference(sha256: str, size: int, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{sha256}", "size": size}


def _json(value: Any) -> bytes:
    return digest.canonical_json(value).encode()
