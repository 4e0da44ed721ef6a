import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import serde
from pipeline.core.artifacts import ErrorStats, TensorRange
from pipeline.core.formats import Format

FLOATS = st.floats(allow_nan=False)


@given(
    st.builds(ErrorStats, elements=st.integers(0), max_abs=FLOATS, relative_l2=FLOATS, cosine=FLOATS, sqnr_db=FLOATS)
)
def test_a_record_survives_json(stats):
    assert serde.loads(ErrorStats, serde.dumps(stats)) == stats


def test_nan_survives_json_and_the_text_is_strict():
    stats = ErrorStats(elements=1, max_abs=math.nan, relative_l2=math.inf, cosine=-1.0, sqnr_db=-math.inf)
    text = serde.dumps(stats)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    back = serde.loads(ErrorStats, text)
    assert math.isnan(back.max_abs)
    assert (back.relative_l2, back.sqnr_db) == (math.inf, -math.inf)


def test_an_invalid_record_is_refused_on_the_way_in():
    with pytest.raises(ValueError, match="low <= high"):
        serde.loads(TensorRange, '{"low": 2.0, "high": 1.0, "smallest": 1.0, "elements": 3}')


def test_what_has_no_json_form_is_an_error():
    with pytest.raises(TypeError, match="set has no JSON form"):
        serde.to_value({"a": {1, 2}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    path: Path
    more: tuple[Path, ...]
    by_name: dict[str, Path]
    kind: Format = Format.FP16


def test_paths_are_mapped_wherever_they_stand():
    record = Nested(path=Path("a"), more=(Path("b"), Path("c")), by_name={"d": Path("e")})
    moved = serde.map_paths(record, lambda path: Path("/root") / path)
    assert moved == Nested(
        path=Path("/root/a"), more=(Path("/root/b"), Path("/root/c")), by_name={"d": Path("/root/e")}
    )
