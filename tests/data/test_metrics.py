import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import ValidationError
from pipeline.core.spec import Metric
from pipeline.data.metrics import METRICS, measure

RNG = np.random.default_rng(0)
DOCUMENTS, LENGTH, WIDTH, CLASSES = 5, 4, 6, 7


def batch(metric: Metric) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """Inputs, output and labels of one batch that suits `metric`."""
    ids = RNG.integers(0, CLASSES, (DOCUMENTS, LENGTH))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    classes = {"label": RNG.integers(0, 2, DOCUMENTS)}
    match metric:
        case Metric.SIMILARITY:
            return inputs, RNG.normal(size=(DOCUMENTS, LENGTH, WIDTH)), {"label": RNG.random((DOCUMENTS, DOCUMENTS))}
        case Metric.PERPLEXITY:
            return inputs, RNG.normal(size=(DOCUMENTS, LENGTH, CLASSES)), {}
        case Metric.SPEECH:
            return inputs, RNG.random((DOCUMENTS, 1)), classes
    return inputs, RNG.normal(size=(DOCUMENTS, CLASSES)), classes


def figure(
    metric: Metric, inputs: Mapping[str, np.ndarray], output: np.ndarray, expected: Mapping[str, np.ndarray]
) -> float:
    meter = measure(metric)
    meter.update(inputs, {"output": output, "second": np.full(1, np.nan)}, expected)
    return meter.value()


@pytest.mark.parametrize("metric", Metric)
def test_every_metric_has_a_meter_that_starts_with_nothing(metric: Metric) -> None:
    assert math.isnan(measure(metric).value())
    assert METRICS[metric].name


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_nan_anywhere_in_the_output_is_nan_in_the_figure(metric: Metric, place: str) -> None:
    inputs, output, expected = batch(metric)
    output.flat[{"first": 0, "middle": output.size // 2, "last": -1}[place]] = np.nan
    meter = measure(metric)
    meter.update(inputs, {"output": output}, expected)
    assert math.isnan(meter.value())
    assert math.isnan(meter.worsening(0.5, meter.value()))
    meter.update(*[{"output": item} if i == 1 else item for i, item in enumerate(batch(metric))])
    if metric is not Metric.SIMILARITY:
        assert math.isnan(meter.value())


@pytest.mark.parametrize("metric", Metric)
@given(reference=st.floats(0.1, 10), change=st.floats(0.01, 5))
def test_worse_is_positive(metric: Metric, reference: float, change: float) -> None:
    meter, better = measure(metric), METRICS[metric].higher_is_better
    assert meter.worsening(reference, reference) == 0
    assert meter.worsening(reference, reference - change if better else reference + change) > 0
    assert meter.worsening(reference, reference + change if better else reference - change) < 0
    assert not meter.worsening(math.nan, reference) <= 1e9
    assert not meter.worsening(reference, math.nan) <= 1e9


@pytest.mark.parametrize("metric", Metric)
def test_batches_add_up(metric: Metric) -> None:
    inputs, output, expected = batch(metric)
    meter = measure(metric)
    for part in (slice(0, 2), slice(2, None)):
        meter.update(
            {name: array[part] for name, array in inputs.items()},
            {"output": output[part]},
            {name: array[part] for name, array in expected.items()},
        )
    assert meter.value() == pytest.approx(figure(metric, inputs, output, expected), rel=1e-12)


@pytest.mark.parametrize("metric", [metric for metric in Metric if METRICS[metric].labels])
def test_a_missing_label_is_an_error(metric: Metric) -> None:
    inputs, output, _ = batch(metric)
    with pytest.raises(ValidationError) as caught:
        measure(metric).update(inputs, {"output": output}, {})
    assert str(caught.value) == (
        "this metric needs expected.label, and the batch has no labels\n"
        "  hint: see calibration/README.md for how each reader is given labels"
    )


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("shape", [(0, 1), (3,), (2, 2, 2, 2)])
def test_an_output_of_another_shape_or_none_is_an_error(metric: Metric, shape: tuple[int, ...]) -> None:
    inputs, _, expected = batch(metric)
    with pytest.raises(
        ValidationError, match=r"^output y: has shape \[.*\], and the metric needs [23] axes, none of them empty$"
    ):
        measure(metric).update(inputs, {"y": np.zeros(shape)}, expected)


def test_similarity_is_pearsons_r_of_mean_pooled_cosines() -> None:
    inputs, output, expected = batch(Metric.SIMILARITY)
    vectors = output.mean(axis=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [(i, j) for i in range(DOCUMENTS) for j in range(i + 1, DOCUMENTS)]
    cosines = [float(vectors[i] @ vectors[j]) for i, j in pairs]
    ratings = [float(expected["label"][i, j]) for i, j in pairs]
    assert figure(Metric.SIMILARITY, inputs, output, expected) == pytest.approx(np.corrcoef(cosines, ratings)[0, 1])


def test_similarity_does_not_count_padding() -> None:
    inputs, output, expected = batch(Metric.SIMILARITY)
    longer = np.concatenate([output, RNG.normal(size=(DOCUMENTS, 3, WIDTH))], axis=1)
    mask = np.pad(inputs["attention_mask"], ((0, 0), (0, 3)))
    assert figure(Metric.SIMILARITY, {"attention_mask": mask}, longer, expected) == pytest.approx(
        figure(Metric.SIMILARITY, inputs, output, expected)
    )


def test_similarity_of_embeddings_that_do_not_differ_is_nan() -> None:
    inputs, output, expected = batch(Metric.SIMILARITY)
    assert math.isnan(figure(Metric.SIMILARITY, inputs, np.ones_like(output), expected))
    assert math.isnan(figure(Metric.SIMILARITY, inputs, np.zeros_like(output), expected))


def test_similarity_of_the_first_documents_uses_their_ratings() -> None:
    inputs, output, expected = batch(Metric.SIMILARITY)
    more = {"label": np.concatenate([expected["label"], RNG.random((DOCUMENTS, 9))], axis=1)}
    assert figure(Metric.SIMILARITY, inputs, output, more) == figure(Metric.SIMILARITY, inputs, output, expected)


def test_similarity_with_too_few_ratings_is_an_error() -> None:
    inputs, output, expected = batch(Metric.SIMILARITY)
    with pytest.raises(ValidationError) as caught:
        figure(Metric.SIMILARITY, inputs, output, {"label": expected["label"][:, :3]})
    assert str(caught.value) == "expected.label: has shape [5, 3], and the metric needs [5, 5]"


def test_perplexity_of_a_model_that_knows_nothing_is_the_vocabulary() -> None:
    inputs, output, _ = batch(Metric.PERPLEXITY)
    assert figure(Metric.PERPLEXITY, inputs, np.zeros_like(output), {}) == pytest.approx(CLASSES)


def test_perplexity_of_a_model_that_knows_the_next_token_is_one() -> None:
    inputs, output, _ = batch(Metric.PERPLEXITY)
    logits = np.zeros_like(output)
    logits[:, :-1] = 1e4 * np.eye(CLASSES)[inputs["input_ids"][:, 1:]]
    assert figure(Metric.PERPLEXITY, inputs, logits, {}) == pytest.approx(1.0)
    assert figure(Metric.PERPLEXITY, inputs, -logits, {}) == math.inf


def test_perplexity_does_not_count_padding() -> None:
    inputs, output, _ = batch(Metric.PERPLEXITY)
    padded = {
        "input_ids": np.pad(inputs["input_ids"], ((0, 0), (0, 2)), constant_values=3),
        "attention_mask": np.pad(inputs["attention_mask"], ((0, 0), (0, 2))),
    }
    longer = np.concatenate([output, RNG.normal(size=(DOCUMENTS, 2, CLASSES))], axis=1)
    assert figure(Metric.PERPLEXITY, padded, longer, {}) == pytest.approx(
        figure(Metric.PERPLEXITY, inputs, output, {}), rel=1e-12
    )


def test_perplexity_reads_tokens_by_their_name() -> None:
    _, output, _ = batch(Metric.PERPLEXITY)
    with pytest.raises(ValidationError) as caught:
        figure(Metric.PERPLEXITY, {"tokens": np.zeros(3)}, output, {})
    assert str(caught.value) == (
        "this metric reads the input input_ids, and the model's inputs are tokens\n"
        "  hint: choose another `task.metric`, or name the input as transformers does"
    )


@pytest.mark.parametrize("metric", [Metric.TOP1, Metric.AGREEMENT])
def test_accuracy_counts_labels_that_are_the_highest_class(metric: Metric) -> None:
    logits = np.asarray([[1.0, 2.0], [3.0, -1.0], [0.0, 0.5], [9.0, 0.0]])
    assert figure(metric, {}, logits, {"label": np.asarray([1, 0, 0, 0])}) == 0.75


def test_speech_is_the_probability_of_the_truth() -> None:
    probability = np.asarray([[0.9], [0.2], [0.4]])
    assert figure(Metric.SPEECH, {}, probability, {"label": np.asarray([1, 0, 1])}) == pytest.approx(0.7)
    with pytest.raises(ValidationError) as caught:
        figure(Metric.SPEECH, {}, np.ones((3, 2)), {"label": np.ones(3)})
    assert str(caught.value) == "output: has shape [3, 2], and the metric needs [batch, 1]"
