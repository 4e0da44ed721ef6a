import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.core import npz
from pipeline.core.errors import CalibrationError, InputError, PipelineError


def refusal(path: Path, kind: type[PipelineError] = InputError) -> str:
    with pytest.raises(kind) as caught:
        npz.read(path, refusal=kind)
    return str(caught.value)


@given(array=hnp.arrays(st.sampled_from([np.float32, np.int64, np.bool_]), hnp.array_shapes(min_dims=0, max_dims=4)))
def test_every_array_keeps_type_shape_and_bits(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("npz") / "x.npz"
    npz.write(path, {"x": array, "y": array.copy(order="F")})
    found = npz.read(path, refusal=InputError)
    assert list(found) == ["x", "y"]
    for read in found.values():
        assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize("kind", [InputError, CalibrationError])
def test_what_is_no_npz_is_refused_as_the_caller_calls_it(tmp_path: Path, kind: type[PipelineError]) -> None:
    path = tmp_path / "x.npz"
    array = io.BytesIO()
    np.save(array, np.arange(3))
    for content in (b"hello", b"", array.getvalue()):
        path.write_bytes(content)
        said = f"{path}: not an .npz file\n  hint: numpy.savez writes them, with an array an input"
        assert refusal(path, kind) == said


def test_a_damaged_file_is_refused_and_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.arange(100.0))
    content = bytearray(path.read_bytes())
    for position in range(60, 160, 3):
        damaged = content.copy()
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        assert refusal(path).startswith(f"{path}: not a")


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (marker,)

    np.savez(tmp_path / "x.npz", x=np.asarray([Bomb()], dtype=object))
    (tmp_path / "y.npz").write_bytes(pickle.dumps(Bomb()))
    assert refusal(tmp_path / "x.npz") == (
        f"{tmp_path}/x.npz: not a readable .npz file: Object arrays cannot be loaded when allow_pickle=False\n"
        "  hint: write it anew, with plain arrays only"
    )
    assert "not an .npz file" in refusal(tmp_path / "y.npz")
    assert not marker.exists()
