import subprocess
import sys

import numpy as np
import pytest

from pipeline.backends.comparator import agrees


def check(reference: list[float], candidate: list[float]) -> bool:
    return agrees(np.array(reference, np.float32), np.array(candidate, np.float32), atol=1e-3, rtol=1e-2)


def test_each_element_is_within_one_of_the_tolerances() -> None:
    assert check([0.0, 100.0], [0.0009, 100.9])
    assert not check([0.0, 100.0], [0.0011, 100.0])
    assert not check([0.0, 100.0], [0.0, 101.1])


@pytest.mark.parametrize("position", [0, 1, 2])
def test_nan_never_agrees(position: int) -> None:
    values = [1.0, 2.0, 3.0]
    values[position] = float("nan")

    assert not check(values, values)
    assert not check([1.0, 2.0, 3.0], values)


def test_equal_infinities_agree_and_others_do_not() -> None:
    assert check([np.inf, -np.inf], [np.inf, -np.inf])
    assert not check([np.inf], [-np.inf])
    assert not check([1.0], [np.inf])


def test_nothing_does_not_agree_with_nothing() -> None:
    assert not check([], [])


def test_shapes_must_match() -> None:
    assert not agrees(np.ones((2, 1)), np.ones((1, 2)), atol=1, rtol=1)


def test_no_import_of_torch_is_needed_to_compare_arrays() -> None:
    code = (
        "import sys, numpy as np; from pipeline.backends.comparator import agrees; one = np.ones(3, np.float32); "
        "assert agrees(one, one, atol=0, rtol=0) and not agrees(one, one + 1, atol=0, rtol=0); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
