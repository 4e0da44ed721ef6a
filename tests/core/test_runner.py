import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.core import runner as runner_room
from pipeline.core.artifacts import SourceTree
from pipeline.core.progress import Silent
from pipeline.core.runner import Damaged, Runner
from pipeline.core.stage import Stage
from pipeline.core.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    path: Path
    value: int


CALLS: list[str] = []


def start(seed: int, tree: SourceTree, *, out: Path, progress: Silent) -> Number:
    CALLS.append("start")
    (out / "payload").write_text("same")
    return Number(path=out / "payload", value=seed % 10)


def double(number: Number, *, out: Path, progress: Silent) -> Number:
    CALLS.append("double")
    (out / "payload").write_text(number.path.read_text() * 2)
    return Number(path=out / "payload", value=number.value * 2)


@pytest.fixture
def stages(monkeypatch):
    monkeypatch.setattr(Stage, "identity", lambda self: {"stage": self.name, "version": self.version})
    CALLS.clear()
    return [Stage(function=f, name=f.__name__, version=1, rooms=(), tools=()) for f in (start, double)]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    with store.writing():
        yield store


def line(store, stages, seed=1, folder="a"):
    run = Runner(store, Silent())
    first = run.run(stages[0], seed=seed, tree=SourceTree(folder=Path(folder), digest="d"))
    return run, first, run.run(stages[1], number=first)


def test_a_second_run_does_nothing(store, stages):
    _, _, last = line(store, stages)
    assert last.consume().value == 2
    again, _, _ = line(store, stages)
    assert CALLS == ["start", "double"]
    assert (again.fresh, again.reused) == ([], ["start", "double"])


def test_the_folder_of_a_source_tree_does_not_count(store, stages):
    line(store, stages, folder="a")
    line(store, stages, folder="b")
    assert CALLS == ["start", "double"]


def test_an_equal_result_stops_the_change(store, stages):
    line(store, stages, seed=1)
    line(store, stages, seed=11)
    assert CALLS == ["start", "double", "start"]


def test_damage_is_noticed_where_it_is_consumed_and_made_again(store, stages):
    _, first, last = line(store, stages)
    payload = first.consume().path
    text = payload.read_text()
    stat = payload.stat()
    payload.write_text("fame")
    os.utime(payload, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    store.discard(last.entry.folder)
    with pytest.raises(Damaged):
        line(store, stages)
    _, _, repaired = line(store, stages)
    assert repaired.consume().path.read_text() == text * 2


def test_wrong_arguments_are_named(store, stages):
    with pytest.raises(TypeError, match=r"stage double takes \['number'\], was given \['nummer'\]"):
        Runner(store, Silent()).run(stages[1], nummer=1)


def test_the_order_of_inputs_counts(stages):
    def ordered(inputs: dict[str, int], *, out: Path, progress: Silent) -> Number:
        raise AssertionError

    stage = Stage(function=ordered, name="ordered", version=1, rooms=(), tools=())
    keys = {runner_room.key(stage, {"inputs": inputs}) for inputs in ({"a": 1, "b": 2}, {"b": 2, "a": 1})}
    assert len(keys) == 2
