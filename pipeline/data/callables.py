"""Reads what a function of the user's yields.

The spec names it as `file.py:function` (relative to `engine.toml`) or `module:function`. It is called with one
`Request` and yields mappings, one a sample: an array for each input, without the batch axis, and labels as
`expected.NAME`:

    def samples(request: Request) -> Iterator[dict[str, np.ndarray]]:
        for clip in sorted(request.path.glob("*.wav")):
            yield {"input": read_wav(clip), "expected.label": np.int64(1)}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.core import callables
from pipeline.core.errors import CalibrationError
from pipeline.data.samples import Request, Sample, sample_of


def read(request: Request) -> Iterator[Sample]:
    """The samples that the function yields.

    Raises:
        SourceError: There is no such function.
        CalibrationError: It yields something else than mappings. What it raises itself comes through as it is.
    """
    name = request.data.callable or ""
    for index, arrays in enumerate(callables.resolve(name, request.engine)(request)):
        where = f"{name}[{index}]"
        if not isinstance(arrays, Mapping):
            raise CalibrationError(
                f"yielded a {type(arrays).__name__}, and a mapping from input names to arrays was expected",
                where=where,
            )
        yield sample_of(arrays, where)
