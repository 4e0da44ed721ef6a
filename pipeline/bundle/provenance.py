"""How a bundle came to be: an in-toto statement with a SLSA v1 provenance predicate.

It has no signature of its own: the manifest names it with its digest, and the manifest is signed.
Sources: in-toto Attestation Framework v1 (statement), SLSA v1.0 (provenance predicate).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.bundle.manifest import File, core_files
from pipeline.core.artifacts import Invocation, Provenance

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://trt-pipeline.invalid/ship/v1"
"""Names the meaning of `externalParameters`; `.invalid` is reserved, so that nobody can claim it (RFC 2606)."""
BUILDER = "https://trt-pipeline.invalid/local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a statement is made about, and from what.

    Attributes:
        engine: Name of the engine.
        files: Files of the bundle.
        invocation: From what it was asked for.
        weights: Where the weights come from.
        tokenizer: Where the tokenizer comes from, or None.
        graphs: Digest of each model that was validated, by name.
        versions: Versions of the tools.
    """

    engine: str
    files: Mapping[str, File]
    invocation: Invocation
    weights: Provenance
    tokenizer: Provenance | None
    graphs: Mapping[str, str]
    versions: Mapping[str, str]


def statement(subject: Subject) -> dict[str, Any]:
    """The statement, as JSON-compatible values."""
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": file.sha256}} for name, file in core_files(subject.files).items()
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"engine": subject.engine, **subject.invocation.parameters},
                "internalParameters": {"models": dict(subject.graphs)},
                "resolvedDependencies": list(_materials(subject)),
            },
            "runDetails": {"builder": {"id": BUILDER, "version": dict(subject.versions)}},
        },
    }


def _materials(subject: Subject) -> Iterator[dict[str, Any]]:
    yield {
        "name": f"engines/{subject.engine}/engine.toml",
        "digest": {"sha256": subject.invocation.spec},
    }
    if subject.invocation.commit is not None:
        commit, _, changes = subject.invocation.commit.partition("+")
        note = {"annotations": {"changes": "tracked files differ from the commit"}} if changes else {}
        yield {"name": "trt-pipeline clone", "digest": {"gitCommit": commit}, **note}
    for name, provenance in (("weights", subject.weights), ("tokenizer", subject.tokenizer)):
        if provenance is not None:
            yield {
                "name": name,
                "uri": provenance.source,
                "digest": {"sha256": provenance.digest},
                "annotations": {"licence": provenance.licence},
            }
