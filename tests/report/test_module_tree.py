import pytest

from pipeline.core.artifacts import Contribution, Injected, Layer
from pipeline.report import module_tree
from tests import records


def layer(node: str, module: str, relative: float, nonfinite: int = 0) -> Layer:
    own = Injected(max_abs=relative, relative_l2=relative, sqnr_db=60.0, nonfinite=nonfinite)
    return records.layer(node, module=module, injected=own)


LAYERS = (
    layer("a", "encoder.0.norm", 0.1),
    layer("b", "encoder.0.proj", 0.3),
    layer("c", "encoder.1.proj", 0.0),
    layer("d", "", 0.1),
)


def test_shares_add_up_from_the_leaves_to_the_model():
    shares = {branch.path: branch.share for branch in module_tree.branches(LAYERS)}
    assert shares[()] == 1
    assert shares["encoder",] == pytest.approx(10 / 11)
    assert shares["encoder", "0"] == pytest.approx(shares["encoder", "0", "norm"] + shares["encoder", "0", "proj"])
    assert shares["encoder", "1"] == 0


def test_parents_come_before_their_children():
    paths = [branch.path for branch in module_tree.branches(LAYERS)]
    assert all(path[:-1] in paths[:at] for at, path in enumerate(paths) if path)


def test_the_top_names_modules_without_their_submodules():
    assert [branch.path for branch in module_tree.top(LAYERS, 2)] == [
        ("encoder", "0", "proj"),
        ("encoder", "0", "norm"),
    ]


def test_infinities_and_errors_beyond_the_signal_count_as_the_whole_tensor():
    assert module_tree.energy(layer("a", "m", 1e-4, nonfinite=1)) == 1
    assert module_tree.energy(layer("a", "m", 7.0)) == 1
    assert module_tree.energy(layer("a", "m", float("inf"))) == 1
    assert module_tree.energy(records.layer("a", injected=None)) == 0


def test_a_model_without_error_has_no_shares():
    quiet = (layer("a", "m", 0.0),)
    assert [branch.share for branch in module_tree.branches(quiet)] == [0.0, 0.0]
    assert module_tree.top(quiet, 5) == []


def test_what_adds_most_to_the_final_error_leaves_out_what_was_opened():
    shares = {"": 1.0, "encoder": 0.9, "encoder.0": 0.7, "encoder.1": 0.3, "head": 0.1, "quiet": 0.0}
    found = tuple(Contribution(module=name, nodes=1, noise=share, share=share) for name, share in shares.items())
    assert [item.module for item in module_tree.most(found, 2)] == ["encoder.0", "encoder.1"]
    assert [item.module for item in module_tree.most(found, 9)] == ["encoder.0", "encoder.1", "head"]
    assert module_tree.most((), 2) == []
