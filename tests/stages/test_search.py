"""The search on real graphs that are small enough to try every plan, with samples that it sees and that it does not."""

import itertools

import numpy as np
import onnx_ir as ir
import pytest

from pipeline.analysis.observe import observe
from pipeline.analysis.search import find
from pipeline.analysis.search.find import Question
from pipeline.analysis.search.latencies import Latencies
from pipeline.analysis.search.memory import Memory
from pipeline.analysis.search.plan_trials import Emulator
from pipeline.analysis.verdict.judge import Judge
from pipeline.backends.onnxruntime import Session
from pipeline.core import device, serde
from pipeline.core.artifacts import (
    ActivationRanges,
    Outcome,
    Provenance,
    Samples,
    SampleSet,
    Scratchpad,
    SearchResult,
    SourceTree,
)
from pipeline.core.errors import BackendUnavailable, PrecisionError
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import AxisRange, BuildSpec, CostSource, InputSpec, PrecisionSpec, SearchSpec, ToleranceSpec
from pipeline.graph import io
from pipeline.precision import casts, evidence
from pipeline.precision.costing.cost import RESOLUTION, CostModel, Measurement
from pipeline.precision.costing.rates import PREFERRED, RATES
from pipeline.precision.emulation.emulate import emulate
from pipeline.precision.policy import policy_file, search_space
from pipeline.precision.rewrites.types import infer
from pipeline.stages.search import search

HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'
NORMED = """
normed (float[batch, 16] x, float[16, 16] w, float[16, 16] v, float[16] gain) => (float[batch, 16] y) {
    [first] a = MatMul(x, w)
    [norm] n = LayerNormalization <axis = -1> (a, gain)
    [gate] t = Tanh(n)
    [second] b = MatMul(t, v)
    [cancels] c = Sub(b, a)
    [last] y = Sigmoid(c)
}
"""
LOUD = """
loud (float[batch, 16] x, float[16, 16] w, float[16, 16] v, float[16] gain) => (float[batch, 16] y) {
    hundred = Constant <value_float = 100.0> ()
    hundredth = Constant <value_float = 0.01> ()
    [before] a = MatMul(x, w)
    [louder] b = Mul(a, hundred)
    [softer] c = Mul(b, hundredth)
    [after] d = MatMul(c, v)
    [last] y = Mul(d, hundredth)
}
"""
SUMMED = """
summed (float[batch, 16] x, float[16, 16] w, float[16, 16] v, float[16] gain) => (float[batch, 16] y) {
    thousand = Constant <value_float = 1000.0> ()
    eps = Constant <value_float = 0.00001> ()
    two = Constant <value_float = 2.0> ()
    [grow] g = Mul(x, thousand)
    [square] s = Pow(g, two)
    [mean] m = ReduceMean <keepdims = 1> (s)
    [eps] e = Add(m, eps)
    [root] r = Sqrt(e)
    [over] n = Div(g, r)
    [scale] z = Mul(n, gain)
    [last] y = MatMul(z, w)
}
"""
TOLERANCES = ToleranceSpec(output_atol=1e3, output_rtol=1e3)


def graph(text):
    """The graph with its weights as initializers, the same each time."""
    model = ir.from_onnx_text(HEAD + text)
    random = np.random.default_rng(1)
    for value in list(model.graph.inputs)[1:]:
        model.graph.inputs.remove(value)
        array = random.standard_normal([int(size) for size in value.shape]).astype(np.float32)
        value.const_value = ir.tensor(array / np.sqrt(16.0, dtype=np.float32), name=value.name)
        model.graph.register_initializer(value)
    for index, node in enumerate(model.graph):
        node.name = node.name or f"constant_{index}"
    infer(model)
    return model


def batch(path, scale, seed, rows=4):
    random = np.random.default_rng(seed)
    np.savez(path, x=(scale * random.standard_normal((rows, 16))).astype(np.float32))
    return SampleSet(batches=(path,), samples=rows, source=path.stem, licence="CC0-1.0")


class Case:
    """A graph, its samples, and the stage on them."""

    def __init__(self, folder, text, *, unseen_scale=1.0, sqnr_db=40.0):
        self.folder, self.model = folder, graph(text)
        (folder / "model").mkdir()
        place = Provenance(source="test", digest="", licence="MIT", real=True)
        self.record = io.describe(self.model, io.save(self.model, folder / "model"), provenance=place)
        self.samples = Samples(
            calibration=batch(folder / "calibration.npz", 1.0, 0),
            validation=batch(folder / "validation.npz", unseen_scale, 2),
        )
        tensors, unobserved = observe(self.record.path, self.samples.calibration.batches, Format.FP16, Silent())
        self.ranges = ActivationRanges(
            model=io.model_digest(self.record), samples=4, low=Format.FP16, tensors=tensors, unobserved=unobserved
        )
        self.sqnr_db = sqnr_db

    def question(self, latencies):
        """The same as of the stage, with latencies."""
        return Question(
            exported=self.record,
            reference=self.record,
            space=self.space(),
            samples=self.samples,
            inputs=INPUTS,
            axes=AXES,
            task=None,
            tolerances=TOLERANCES,
            search=SearchSpec(sqnr_db=self.sqnr_db),
            tf32=False,
            rates=RATES[PREFERRED],
            memory=self.folder / "trials",
            latencies=latencies,
        )

    def run(self, progress=None, *, low=(), **allowed) -> SearchResult:
        return search(
            exported=self.record,
            reference=self.record,
            ranges=self.ranges,
            precision=PrecisionSpec(policy="search", fp16=low, search=SearchSpec(sqnr_db=self.sqnr_db, **allowed)),
            samples=self.samples,
            inputs=INPUTS,
            axes=AXES,
            task=None,
            tolerances=TOLERANCES,
            build=BuildSpec(),
            engine=SourceTree(folder=self.folder, digest=""),
            scratchpad=Scratchpad(folder=self.folder / "trials"),
            out=self.folder,
            progress=progress or Silent(),
        )

    def space(self):
        model = io.load(self.record.path)
        spec = PrecisionSpec()
        seen = evidence.gather(model, self.ranges, spec)
        return search_space.of(seen, policy_file.settings(spec, self.folder), self.ranges, {})


AXES = {"batch": AxisRange(min=1, opt=4, max=8)}
INPUTS = {"x": InputSpec(dtype="float32", axes=("batch", 16))}


def names(found, format_=Format.FP32):
    return {item.node for item in found.plan.decisions if item.operands is format_ and item.rule == "search"}


@pytest.mark.parametrize("sqnr_db", [62.0, 68.0, 75.0])
def test_no_plan_that_meets_the_budget_without_more_casts_than_the_default_is_cheaper_than_can_be_told(
    tmp_path, sqnr_db
):
    case = Case(tmp_path, NORMED, sqnr_db=sqnr_db)
    space = case.space()
    nodes = [item.node for item in space.candidates]
    assert len(nodes) == 6
    plans = [
        space.decisions(chosen) for size in range(len(nodes) + 1) for chosen in itertools.combinations(nodes, size)
    ]
    emulator, costs = Emulator(case.record.path, plans), CostModel(case.model, sizes={"batch": 4})
    asked = SearchSpec(sqnr_db=sqnr_db).tolerances(TOLERANCES)
    judge = Judge(case.record, Session(case.record.path), case.samples.calibration.batches, INPUTS, asked)
    passing = [costs.of(plan) for plan in plans if judge(emulator(plan)).passed]
    default = space.default_decisions()
    most = costs.of(default).casts if judge(emulator(default)).passed else 1000
    found = case.run()
    least = min(item.total for item in passing if item.casts <= most)
    assert found.points[found.cheapest].cost == pytest.approx(least)
    assert found.points[found.chosen].cost - least <= found.resolution == pytest.approx(RESOLUTION * least)
    assert found.trials < len(plans)


def test_each_plan_computes_in_the_switched_graph_what_its_own_graph_does(tmp_path):
    case = Case(tmp_path, SUMMED)
    space = case.space()
    nodes = [item.node for item in space.candidates]
    plans = [space.decisions(chosen) for size in range(3) for chosen in itertools.combinations(nodes, size)]
    plans.append(space.default_decisions())
    emulator = Emulator(case.record.path, plans[:2])
    feeds = {"x": np.load(case.samples.calibration.batches[0])["x"]}
    for plan in plans:
        mixed = io.load(case.record.path)
        casts.apply(mixed, plan)
        ours, theirs = emulator(plan)(feeds)["y"], Session(emulate(mixed), as_written=True)(feeds)["y"]
        assert np.array_equal(ours, theirs, equal_nan=True)


def test_what_range_keeps_in_fp32_stays_so_and_the_rest_of_a_norm_is_freed(tmp_path):
    found = Case(tmp_path, SUMMED).run()
    kept = {item.node: item.rule for item in found.kept}
    assert {"square", "mean", "eps", "root"} <= kept.keys()
    assert kept["square"] == "overflow"
    decisions = {item.node: item for item in found.plan.decisions}
    assert decisions["square"].operands is Format.FP32
    assert decisions["scale"].operands is Format.FP16
    chosen, default = found.points[found.chosen], found.points[found.default]
    assert chosen.fp32_nodes < default.fp32_nodes
    assert chosen.casts <= default.casts
    assert chosen.cost < default.cost


def test_a_plan_that_only_holds_on_what_was_seen_is_reported_and_not_used(tmp_path):
    """Unseen samples are 1000 times larger: what is `louder` then overflows, far beyond the margin."""
    found = Case(tmp_path, LOUD, unseen_scale=1000.0, sqnr_db=30.0).run()
    assert found.overfitted
    assert found.outcome is Outcome.FOUND
    first, *_, last = found.confirmations
    assert "NaN or infinite" in first.reason
    assert found.points[first.point].meets
    assert last.passed
    assert last.point == found.chosen
    assert "louder" in names(found)
    assert found.points[found.chosen].cost > found.points[first.point].cost


def test_where_nothing_holds_on_unseen_samples_the_plan_is_the_default_policys(tmp_path):
    found = Case(tmp_path, LOUD, unseen_scale=1e37, sqnr_db=30.0).run()
    assert found.outcome is Outcome.FELL_BACK
    assert found.chosen == found.default
    assert not any(item.passed for item in found.confirmations)
    assert len(found.confirmations) <= 4


class Killed(Silent):
    """Ends the run after some plans, as a signal would."""

    def __init__(self, after):
        self.after = after

    def advance(self, what, done, total=None):
        if what == "plans tried" and done == self.after:
            raise KeyboardInterrupt


def test_a_killed_search_goes_on_where_it_was(tmp_path):
    case = Case(tmp_path, NORMED, sqnr_db=66.0)
    with pytest.raises(KeyboardInterrupt):
        case.run(Killed(after=3))
    memory = next((tmp_path / "trials").iterdir())
    with memory.open("a") as stream:
        stream.write('["half a li')
    resumed = case.run()
    assert resumed.remembered == 3
    (tmp_path / "trials").rename(tmp_path / "forgotten")
    whole = case.run()
    assert whole.remembered == 0
    assert whole.trials == resumed.trials + 3
    assert whole.plan == resumed.plan
    assert whole.points == resumed.points


def test_what_was_found_is_explained(tmp_path):
    found = Case(tmp_path, NORMED, sqnr_db=75.0).run()
    assert [point.cost for point in found.points] == sorted(point.cost for point in found.points)
    frontier = [point for point in found.points if point.frontier]
    assert [point.noise for point in frontier] == sorted((point.noise for point in frontier), reverse=True)
    assert found.points[found.default].label == "default policy"
    assert {purchase.group for purchase in found.purchases} >= {"LayerNormalization norm", "2 products"}
    bought = {item.node: item.reason for item in found.plan.decisions if item.rule == "search"}
    assert bought
    assert all(found.points[item.point].meets for item in found.confirmations)
    assert serde.loads(SearchResult, serde.dumps(found)) == found


class Watch:
    """Times plans by how many nodes multiply and normalise in fp32: each makes them faster here."""

    def __init__(self, spread_ms):
        self.spread_ms, self.asked = spread_ms, 0

    def __call__(self, plan):
        self.asked += 1
        wide = sum(item.operands is Format.FP32 for item in plan)
        return Measurement(latency_ms=2.0 - 0.1 * wide, spread_ms=self.spread_ms)


def measured(case, watch, name="latencies"):
    memory = Memory(Measurement, case.folder / f"{name}.jsonl")
    return find.search(case.question(Latencies(where="NVIDIA Test", measure=watch, memory=memory)), Silent())


def test_latencies_decide_between_few_plans_and_are_remembered(tmp_path):
    case, watch = Case(tmp_path, NORMED, sqnr_db=75.0), Watch(spread_ms=0.0)
    counted, found = case.run(), measured(case, watch)
    timed = [point for point in found.points if point.latency_ms is not None]
    assert 2 <= len(timed) == watch.asked <= find.FINALISTS
    assert len(timed) < len(found.points)
    assert found.points[found.chosen].latency_ms == min(point.latency_ms for point in timed)
    assert found.points[found.chosen].label != counted.points[counted.chosen].label
    assert (found.measured_on, found.cost_unit, found.resolution) == ("NVIDIA Test", "byte equivalents", 0.0)
    assert found.confirmations[-1].passed
    assert [point.cost for point in found.points] == [point.cost for point in counted.points]
    assert measured(case, watch) == found
    assert watch.asked == len(timed)


def test_latencies_within_their_own_spread_are_near_ties(tmp_path):
    case = Case(tmp_path, NORMED, sqnr_db=62.0)
    found = measured(case, Watch(spread_ms=10.0))
    chosen, fastest = found.points[found.chosen], found.points[found.cheapest]
    assert chosen.latency_ms > fastest.latency_ms
    assert chosen.fp32_nodes < found.points[found.default].fp32_nodes
    assert found.resolution == 10.0


@pytest.mark.skipif(bool(device.probe().gpus), reason="this machine has a GPU")
def test_measured_costs_without_a_gpu_are_an_error(tmp_path):
    with pytest.raises(
        BackendUnavailable, match=r"^precision\.search\.cost: to measure what plans cost needs an NVIDIA"
    ):
        Case(tmp_path, NORMED).run(cost=CostSource.MEASURED)


def test_an_impossible_budget_is_an_error(tmp_path):
    with pytest.raises(PrecisionError, match="no plan meets the error budget, not even with everything in fp32"):
        Case(tmp_path, SUMMED, sqnr_db=400.0).run(low=("scale",))
