import numpy as np

from pipeline.analysis.comparison.masks import Mask, Placement, mask_of
from pipeline.core.spec import InputSpec

INPUTS = {
    "ids": InputSpec(dtype="int64", axes=("batch", "sequence")),
    "mask": InputSpec(dtype="int64", axes=("batch", "sequence"), masks=("sequence",)),
}
FEEDS = {"mask": np.array([[1, 1, 0], [1, 0, 0]])}


def test_attention_scores_are_masked_along_both_axes() -> None:
    mask = mask_of(("batch", 12, "sequence", "sequence"), INPUTS)

    assert mask == Mask(4, (Placement("mask", (0, 2)), Placement("mask", (0, 3))))
    keep = mask.array(FEEDS)
    assert keep.shape == (2, 1, 3, 3)
    assert keep[0, 0].tolist() == [[True, True, False], [True, True, False], [False, False, False]]
    assert keep[1, 0].tolist() == [[True, False, False], [False, False, False], [False, False, False]]


def test_axes_may_come_in_another_order() -> None:
    mask = mask_of(("sequence", "batch", 8), INPUTS)

    assert mask is not None
    assert mask.array(FEEDS)[:, :, 0].tolist() == FEEDS["mask"].T.astype(bool).tolist()


def test_a_tensor_without_the_batch_axis_is_not_masked() -> None:
    assert mask_of((1, "sequence", 8), INPUTS) is None
    assert mask_of(("batch", 8), INPUTS) is None
    assert mask_of((), INPUTS) is None
