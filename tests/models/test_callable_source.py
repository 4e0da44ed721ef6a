import sys

import pytest
import torch

from pipeline.core.artifacts import Provenance, Weights
from pipeline.core.errors import SourceError
from pipeline.core.spec import InputSpec
from pipeline.models import callable_source

MODEL = """
import torch

def load(weights):
    from shipped_package import SCALE  # lies among the weights
    module = torch.nn.Linear(2, 2).bfloat16()
    torch.nn.init.constant_(module.weight, SCALE)
    return module, {"x": torch.zeros(3, 2)}

def no_pair(weights):
    return torch.nn.Linear(2, 2)

def no_module(weights):
    return (lambda x: x), {}

def no_tensor(weights):
    return torch.nn.Linear(2, 2), {"x": [1.0]}

def in_order(weights):
    return torch.nn.GRU(2, 3), (torch.zeros(4, 1, 2), torch.zeros(1, 1, 3))

def alone(weights):
    return torch.nn.Linear(2, 2), torch.zeros(3, 2)

def too_many(weights):
    return torch.nn.Linear(2, 2), [torch.zeros(3, 2)] * 2

def broken(weights):
    raise RuntimeError("the user's own mistake")
"""


@pytest.fixture
def folders(tmp_path):
    engine, weights = tmp_path / "my-engine", tmp_path / "weights"
    engine.mkdir()
    (weights / "shipped_package").mkdir(parents=True)
    (engine / "model.py").write_text(MODEL)
    (weights / "shipped_package" / "__init__.py").write_text("SCALE = 3.0\n")
    provenance = Provenance(source="local:weights", digest="", licence="CC0-1.0", real=True)
    yield engine, Weights(folder=weights, checkpoint=weights, provenance=provenance)
    sys.modules.pop("shipped_package", None)


def test_importing_leaves_the_weights_folder_as_it_was(folders, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    callable_source.load("model.py:load", *folders)
    assert [path.name for path in (folders[1].folder / "shipped_package").iterdir()] == ["__init__.py"]
    assert not sys.dont_write_bytecode


def test_the_function_may_import_what_lies_among_the_weights(folders):
    before = list(sys.path)
    module, example = callable_source.load("model.py:load", *folders)
    assert sys.path == before
    assert module.weight.dtype is torch.float32
    assert float(module.weight[0, 0]) == 3.0
    assert not module.training
    assert not module.weight.requires_grad
    assert list(example) == ["x"]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("load", "load: not of the form file.py:function or module:function"),
        ("other.py:load", "other.py:load: no such file in my-engine/\n  hint: the path is relative to engine.toml"),
        ("model.py:absent", "model.py:absent: model.py has no function 'absent'"),
        (
            "no_such_module_here:load",
            "no_such_module_here:load: no module 'no_such_module_here'\n"
            "  hint: install it, or name a file beside engine.toml: file.py:function",
        ),
        ("model.py:no_pair", "model.py:no_pair: returned Linear, expected (module, example inputs)"),
        ("model.py:no_module", "model.py:no_module: returned a function as module, expected torch.nn.Module"),
        (
            "model.py:too_many",
            "model.py:too_many: returned 2 example inputs, and forward has the parameters ['input']\n"
            "  hint: return them as a dictionary: input name to tensor",
        ),
        ("model.py:no_tensor", "model.py:no_tensor: example inputs ['x'] are not tensors"),
    ],
)
def test_what_is_wrong_is_named(folders, reference, message):
    with pytest.raises(SourceError) as caught:
        callable_source.load(reference, *folders)
    assert str(caught.value) == message


def test_example_inputs_without_names_have_those_of_the_parameters(folders):
    assert list(callable_source.load("model.py:in_order", *folders)[1]) == ["input", "hx"]
    assert list(callable_source.load("model.py:alone", *folders)[1]) == ["input"]


def test_an_error_of_the_users_comes_through_as_it_is(folders):
    with pytest.raises(RuntimeError, match="the user's own mistake"):
        callable_source.load("model.py:broken", *folders)


INPUTS = {"x": InputSpec(dtype="float32", axes=("batch", 2))}


def test_example_inputs_must_be_the_specs():
    callable_source.require_inputs({"x": torch.zeros(3, 2)}, INPUTS, "m:f")
    with pytest.raises(SourceError) as caught:
        callable_source.require_inputs({"image": torch.zeros(3, 2)}, INPUTS, "m:f")
    assert str(caught.value) == (
        "m:f: example inputs are ['image'], the spec's inputs are ['x']\n"
        "  hint: both are in the order of forward's parameters"
    )


@pytest.mark.parametrize("wrong", [torch.zeros(3, 4), torch.zeros(3), torch.zeros(3, 2, dtype=torch.int64)])
def test_example_inputs_have_the_specs_types_and_sizes(wrong):
    with pytest.raises(SourceError) as caught:
        callable_source.require_inputs({"x": wrong}, INPUTS, "m:f")
    found = str(wrong.dtype).removeprefix("torch.")
    assert str(caught.value) == (
        f"m:f: example input x is {found} {list(wrong.shape)}, the spec says float32 ['batch', 2]"
    )
