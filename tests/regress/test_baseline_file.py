import json

import pytest

from pipeline.core import serde
from pipeline.core.errors import BaselineError, SpecError
from pipeline.regress import baseline, environments
from tests.regress.figures import BASELINE


def test_what_is_written_is_read(tmp_path):
    baseline.write(BASELINE, tmp_path)
    assert baseline.read(tmp_path) == BASELINE
    assert [path.name for path in tmp_path.iterdir()] == ["baseline.json"]


def test_there_may_be_none(tmp_path):
    assert baseline.read(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda fields: fields.update(schema=2), "Value error, schema must be 1, got 2"),
        (
            lambda fields: fields["bounds"]["outputs"].clear(),
            "bounds.outputs and figures.outputs name different things",
        ),
        (lambda fields: fields["figures"].update(passed=False), "a baseline must have passed validation"),
        (lambda fields: fields["figures"].pop("modules"), "figures.modules: Field required"),
    ],
)
def test_a_wrong_baseline_is_refused(tmp_path, change, said):
    fields = json.loads(serde.dumps(BASELINE))
    change(fields)
    (tmp_path / "baseline.json").write_text(json.dumps(fields))
    with pytest.raises(BaselineError) as caught:
        baseline.read(tmp_path)
    assert caught.value.what.startswith("not a valid baseline: ")
    assert said in caught.value.what
    assert caught.value.where == f"{tmp_path}/baseline.json"
    assert f"trt-pipeline baseline update {tmp_path.name}" in str(caught.value.hint)


def test_truncated_or_huge_files_are_refused(tmp_path):
    file = tmp_path / "baseline.json"
    file.write_text(serde.dumps(BASELINE)[:-20])
    with pytest.raises(BaselineError, match="not a valid baseline"):
        baseline.read(tmp_path)
    with file.open("ab") as stream:
        stream.truncate(baseline.LIMIT + 1)
    with pytest.raises(BaselineError, match="larger than 32 MiB: not a baseline"):
        baseline.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--index-url=http://elsewhere", "--with: not a requirement: '--index-url=http://elsewhere'"),
        ("tensorrt-rtx", "--with: not pinned to one version: 'tensorrt-rtx'"),
        ("tensorrt-rtx>=1.6", "--with: not pinned to one version: 'tensorrt-rtx>=1.6'"),
        ("torch @ http://elsewhere/x.whl", "--with: not pinned to one version: 'torch @ http://elsewhere/x.whl'"),
        ("leftpad==1.0", "--with: leftpad is no dependency of this project"),
        ("tensorrt-rtx==1.6.1.120; rm -rf /", "--with: not a requirement: 'tensorrt-rtx==1.6.1.120; rm -rf /'"),
    ],
)
def test_only_pinned_dependencies_enter_an_environment(tmp_path, text, said):
    with pytest.raises(SpecError) as caught:
        environments.of(text, tmp_path)
    assert str(caught.value).startswith(said)


def test_other_pins_are_another_environment(tmp_path):
    one, other = (environments.of(f"tensorrt_rtx=={version}, numpy==2.4.6", tmp_path) for version in ("1.6", "1.5"))
    assert one.requirements == ("tensorrt-rtx==1.6", "numpy==2.4.6")
    assert one.folder != other.folder
