import contextlib
import errno
import multiprocessing
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.core.errors import StoreError
from pipeline.core.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    path: Path
    value: int


def put(store: Store, key: str, value: int = 1, payload: bytes = b"payload"):
    with store.workspace("stage") as out:
        (out / "data.bin").write_bytes(payload)
        return store.commit("stage", key, out, Artifact(path=out / "data.bin", value=value))


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    with store.writing():
        yield store


def test_what_was_put_is_found_with_its_payload(store):
    put(store, "k", value=7)
    found = store.find("stage", "k")
    artifact = found.load(Artifact)
    assert artifact.value == 7
    assert artifact.path.read_bytes() == b"payload"
    assert artifact.path.is_absolute()


def test_an_unknown_key_is_not_found(store):
    assert store.find("stage", "nothing") is None


def test_the_digest_follows_the_content_alone(store):
    assert put(store, "a").digest == put(store, "b").digest
    assert put(store, "c", payload=b"other").digest != put(store, "d").digest


@pytest.mark.parametrize("where", [0, 3, 6])
def test_a_flipped_byte_with_the_old_times_is_seen_when_consumed(store, where):
    entry = put(store, "k")
    path = entry.folder / "data.bin"
    stat = path.stat()
    with path.open("r+b") as stream:
        stream.seek(where)
        stream.write(b"\xff")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store.find("stage", "k") is not None, "a look compares size, mtime and inode only"
    assert not store.is_intact(entry)
    assert [intact for _, intact in store.all_entries()] == [False]


def damage_change(folder):
    (folder / "data.bin").write_bytes(b"changed")


def damage_remove(folder):
    (folder / "data.bin").unlink()


def damage_add(folder):
    (folder / "extra").write_bytes(b"")


def damage_record(folder):
    (folder / "entry.json").write_text("{")


@pytest.mark.parametrize("damage", [damage_change, damage_remove, damage_add, damage_record])
def test_damage_makes_an_entry_unfindable(store, damage):
    damage(put(store, "k").folder)
    assert store.find("stage", "k") is None


def test_a_damaged_entry_is_replaced(store):
    damage_change(put(store, "k").folder)
    put(store, "k", value=2)
    assert store.find("stage", "k").load(Artifact).value == 2


def test_a_moved_store_is_recognised_by_its_digests(store, tmp_path):
    put(store, "k", value=3)
    shutil.copytree(store.root, tmp_path / "copy")
    assert Store(tmp_path / "copy").find("stage", "k").load(Artifact).value == 3


def test_a_failing_stage_leaves_nothing(store):
    with contextlib.suppress(ZeroDivisionError), store.workspace("stage") as out:
        (out / "half").write_bytes(b"half")
        raise ZeroDivisionError
    assert not out.exists()
    assert list(store.partial.iterdir()) == []


def test_what_a_killed_run_left_is_swept_away(tmp_path):
    store = Store(tmp_path)
    (store.partial / "left-over").mkdir()
    (store.partial / "left-over" / "half").write_bytes(b"half")
    with store.writing():
        assert list(store.partial.iterdir()) == []


def test_an_artifact_cannot_name_a_file_outside_its_workspace(store, tmp_path):
    with store.workspace("stage") as out, pytest.raises(ValueError, match="not in its workspace"):
        store.commit("stage", "k", out, Artifact(path=tmp_path / "elsewhere", value=1))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_space_is_said_with_what_to_do(tmp_path, number):
    store = Store(tmp_path / "store")
    with pytest.raises(StoreError) as caught, store.writing(), store.workspace("stage"):
        raise OSError(number, "words")
    assert str(caught.value) == (
        f"{store.root}: no space left on the device; nothing half-written was kept\n"
        "  hint: free some space and run again: finished stages are kept (`trt-pipeline clean` drops them)"
    )
    assert list(store.partial.iterdir()) == []


def test_a_file_system_that_cannot_be_written_is_said(tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(StoreError) as caught, store.writing():
        raise OSError(errno.EROFS, "Read-only file system", "/mnt/clone/build")
    assert str(caught.value) == (
        "/mnt/clone/build: cannot be written: Read-only file system\n"
        "  hint: run from a clone that you can write to, or set TRT_PIPELINE_ROOT"
    )


def test_a_store_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the store: Not a directory"):
        Store(tmp_path / "file" / "store")


def _hold(root, held, release):
    with Store(root).writing():
        held.set()
        release.wait(30)


def test_a_second_writer_waits_and_says_so(tmp_path, capfd):
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    first = context.Process(target=_hold, args=(tmp_path, held, release))
    first.start()
    assert held.wait(30)
    second = context.Process(target=_hold, args=(tmp_path, context.Event(), release))
    second.start()
    second.join(1.5)
    assert second.is_alive()
    release.set()
    first.join(30)
    second.join(30)
    assert (first.exitcode, second.exitcode) == (0, 0)
    assert capfd.readouterr().err.strip() == f"waiting for another run that uses {tmp_path}"
