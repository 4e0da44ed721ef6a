"""Task metrics: one figure that tells whether a model still does its work.

A meter is fed the batches of one model and then asked for its value; two models are compared by `worsening`. A value
that is NaN cannot pass a tolerance, because a comparison with NaN is false.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.core.spec import Metric
from pipeline.data.meters import LABEL, Accuracy, Meter, Perplexity, Similarity, Speech


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """What a report says of a metric.

    Attributes:
        name: In words.
        higher_is_better: Direction of `value`.
        labels: Names of the labels that it needs in every batch.
        meter: Makes a fresh meter.
    """

    name: str
    higher_is_better: bool
    labels: tuple[str, ...]
    meter: Callable[[], Meter]


def measure(metric: Metric) -> Meter:
    """A fresh meter of `metric`."""
    return METRICS[metric].meter()


METRICS: dict[Metric, MetricInfo] = {
    Metric.SIMILARITY: MetricInfo(
        name="correlation of embedding similarity with human ratings",
        higher_is_better=True,
        labels=(LABEL,),
        meter=Similarity,
    ),
    Metric.PERPLEXITY: MetricInfo(name="perplexity", higher_is_better=False, labels=(), meter=Perplexity),
    Metric.TOP1: MetricInfo(
        name="top-1 accuracy",
        higher_is_better=True,
        labels=(LABEL,),
        meter=Accuracy,
    ),
    Metric.AGREEMENT: MetricInfo(
        name="agreement with labels",
        higher_is_better=True,
        labels=(LABEL,),
        meter=Accuracy,
    ),
    Metric.SPEECH: MetricInfo(
        name="probability given to the truth (speech or none)",
        higher_is_better=True,
        labels=(LABEL,),
        meter=Speech,
    ),
}
