"""The README of a bundle: what it is, and how to run it."""

from __future__ import annotations

from pipeline.bundle.manifest import Manifest, Role, core_files
from pipeline.core.artifacts import TensorInfo

ROLES = {
    Role.PLAN: "TensorRT plan",
    Role.ONNX: "the strongly typed mixed-precision graph that the plans were built from, and its weights",
    Role.PRECISION: "the precision of every node, with its rule and reason",
    Role.EMULATED: "the same graph in fp32 with every rounding carried out, for machines without a GPU",
    Role.SBOM: "bill of materials (CycloneDX)",
    Role.TOKENIZER: "tokenizer",
}


def render(manifest: Manifest) -> str:
    """The README of the bundle that `manifest` describes, as Markdown."""
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 (Markdown, not HTML)
        loader=jinja2.PackageLoader("pipeline.bundle"), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    fields = {name: getattr(manifest, name) for name in manifest.__dataclass_fields__}
    fields["core"] = core_files(manifest.files)
    return environment.get_template("README.md.j2").render(
        **fields,
        roles=ROLES,
        has_report=any(file.role is Role.REPORT for file in manifest.files.values()),
        opt_shape=lambda item: _opt_shape(item, manifest),
    )


def _opt_shape(item: TensorInfo, manifest: Manifest) -> str:
    """The input's shape at the sizes that its plan is fastest at, as a Python tuple."""
    axes = manifest.graph.axes
    sizes = [dim if isinstance(dim, int) else axes[dim].opt if dim in axes else 1 for dim in item.shape]
    return str(tuple(sizes))
