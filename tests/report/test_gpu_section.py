"""What the GPU adds to a report: on the page and on a terminal, and nothing where there was none."""

import io

from rich.console import Console

from pipeline.core.artifacts import GpuCheck, Latency, View
from pipeline.report import console, figures, html
from tests import records

VIEWS = (
    View(tensor="only_tapped", engine=None, tapped=records.stats(55.0), apart_db=None, fusion_changes=False),
    View(tensor="alike", engine=records.stats(60.0), tapped=records.stats(61.0), apart_db=70.0, fusion_changes=False),
    View(tensor="moved", engine=records.stats(60.0), tapped=records.stats(20.0), apart_db=20.0, fusion_changes=True),
)
CHECK = GpuCheck(
    gpu="NVIDIA Test",
    views=VIEWS,
    latencies=tuple(
        Latency(engine=name, graphs=graphs, median_ms=1.25, p99_ms=1.5, runs=500)
        for name in ("fp32", "fp16", "mixed")
        for graphs in (False, True)
    ),
    shapes={"x": (8, 128)},
    notes=("latency of fp32: tensorrt-rtx refused it",),
)


def page(tmp_path, **more):
    return html.render(records.report(**more), records.precision(), records.plans(tmp_path / "a.plan"))


def printed(**more):
    stream = io.StringIO()
    console.show(Console(file=stream, width=100, highlight=False), records.report(**more))
    return stream.getvalue()


def test_the_page_says_where_fusion_changes_numbers_and_how_long_engines_take(tmp_path):
    text = page(tmp_path, gpu=CHECK)
    assert "Fusion changes the numbers</span> at 1 of 2 tensors that both hand out" in text
    assert text.index("fusion changes it") < text.index(">alike<")
    assert text.count("1.250 ms") == 6
    assert "x 8 × 128" in text
    assert "latency of fp32: tensorrt-rtx refused it" in text


def test_the_terminal_says_the_same_and_is_no_wider(tmp_path):
    text = printed(gpu=CHECK)
    assert "engine and tapped: fusion changes the numbers at 1 of 2 tensors that both hand out, first at moved" in text
    assert text.count("1.250 ms") == 6
    assert max(map(len, text.splitlines())) <= 100


def test_engines_that_agree_are_said_to(tmp_path):
    alike = GpuCheck(gpu="NVIDIA Test", views=VIEWS[:2], latencies=(), shapes={})
    assert "engine and tapped: alike at all 1 tensors that both hand out" in printed(gpu=alike)
    assert "Fusion changes no number by more than roundings explain" in page(tmp_path, gpu=alike)


def test_without_a_gpu_there_is_no_such_section(tmp_path):
    assert 'id="gpu"' not in page(tmp_path)
    assert "latency" not in printed()


def test_where_fusion_changes_numbers_comes_first():
    assert [view.tensor for view in figures.gpu_views(CHECK)] == ["moved", "alike", "only_tapped"]
