import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.core.artifacts import Provenance, Weights
from pipeline.core.errors import SourceError, SpecError
from pipeline.core.spec import ModelSpec, Source, WeightsSource
from pipeline.models import transformers_source

TINY = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "intermediate_size": 24,
    "vocab_size": 30,
    "max_position_embeddings": 40,
}


def spec(architecture="AutoModel", unused=()):
    return ModelSpec(
        source=Source.TRANSFORMERS,
        architecture=architecture,
        attention="eager",
        outputs=("last_hidden_state",),
        unused=unused,
        weights=WeightsSource(licence="MIT"),
    )


def weights(folder):
    provenance = Provenance(source="local:tiny", digest="", licence="MIT", real=False)
    return Weights(folder=folder, checkpoint=folder, provenance=provenance)


@pytest.fixture
def checkpoint(tmp_path):
    """A tiny BERT with seeded weights, as safetensors."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(TINY))
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    transformers_source.seed(spec(), config, folder)
    return folder


def edit(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_seeded_weights_are_the_same_each_time_and_leave_the_generator_alone(checkpoint, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    transformers_source.seed(spec(), tmp_path / "config.json", again)
    assert torch.equal(torch.rand(1), expected)
    first, second = (load_file(folder / "model.safetensors") for folder in (checkpoint, again))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_loads_in_fp32_for_inference(checkpoint):
    module = transformers_source.load(spec(), weights(checkpoint))
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert module.config._attn_implementation == "eager"


def test_a_missing_key_is_an_error(checkpoint):
    edit(checkpoint, lambda tensors: tensors.pop("encoder.layer.0.output.dense.weight"))
    with pytest.raises(SourceError) as caught:
        transformers_source.load(spec(), weights(checkpoint))
    assert str(caught.value) == (
        "local:tiny: the checkpoint lacks encoder.layer.0.output.dense.weight\n"
        "  hint: take the architecture that the checkpoint was saved from; keys that the exported outputs do not need "
        "are tolerated where `model.unused` names them"
    )


def test_an_unexpected_key_is_an_error(checkpoint):
    edit(checkpoint, lambda tensors: tensors.update({"head.weight": torch.zeros(2, 2)}))
    with pytest.raises(SourceError, match=r"local:tiny: the checkpoint has unexpected head\.weight"):
        transformers_source.load(spec(), weights(checkpoint))
    transformers_source.load(spec(unused=("head.*",)), weights(checkpoint))


def test_a_key_of_another_shape_is_an_error(checkpoint):
    edit(checkpoint, lambda tensors: tensors.update({"embeddings.LayerNorm.weight": torch.zeros(15)}))
    with pytest.raises(SourceError, match=r"the checkpoint has another shape for embeddings\.LayerNorm\.weight"):
        transformers_source.load(spec(), weights(checkpoint))


def test_a_tolerated_missing_parameter_is_nan_so_that_it_cannot_go_unseen(checkpoint):
    edit(checkpoint, lambda tensors: [tensors.pop(key) for key in list(tensors) if key.startswith("pooler.")])
    module = transformers_source.load(spec(unused=("pooler.*",)), weights(checkpoint))
    result = module(input_ids=torch.tensor([[1, 2, 3]]), attention_mask=torch.ones(1, 3, dtype=torch.int64))
    assert torch.isfinite(result.last_hidden_state).all()
    assert torch.isnan(result.pooler_output).all()


def test_a_file_stands_for_its_folder(checkpoint):
    found = weights(checkpoint)
    file = Weights(folder=checkpoint, checkpoint=checkpoint / "model.safetensors", provenance=found.provenance)
    module = transformers_source.load(spec(), file)
    assert module.config.hidden_size == 16


def test_an_unknown_architecture_is_named_with_the_nearest(checkpoint):
    with pytest.raises(SpecError, match=r"model.architecture: transformers \S+ has no class 'AutoModle'") as caught:
        transformers_source.load(spec(architecture="AutoModle"), weights(checkpoint))
    assert caught.value.hint == "did you mean 'AutoModel'?"


def test_a_folder_without_a_checkpoint(tmp_path):
    with pytest.raises(SourceError, match="local:tiny: AutoModel cannot be loaded"):
        transformers_source.load(spec(), weights(tmp_path))


def test_experts_are_computed_by_what_onnx_has(tmp_path):
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = {"model_type": "mixtral", "num_key_value_heads": 1, "num_local_experts": 2, "vocab_size": 16, **sizes}
    (tmp_path / "config.json").write_text(json.dumps(config))
    folder = tmp_path / "checkpoint"
    transformers_source.seed(spec("AutoModelForCausalLM"), tmp_path / "config.json", folder)
    module = transformers_source.load(spec("AutoModelForCausalLM"), weights(folder))
    assert module.get_experts_implementation() == {"": "batched_mm"}
