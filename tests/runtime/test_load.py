import re
import shutil
import threading

import numpy as np
import pytest

from pipeline.bundle import archive, opening, signing, verify
from pipeline.core.errors import BackendUnavailable, BundleError, InputError, SignatureError
from pipeline.graph import io
from pipeline.precision.emulation.emulate import emulate
from pipeline.runtime import Place, load
from tests import bundles, encoder


def feeds(batch=2, sequence=16, seed=0):
    random = np.random.default_rng(seed)
    return {
        "x": random.normal(size=(batch, sequence, encoder.WIDTH)).astype(np.float32),
        "mask": np.zeros((batch, 1, 1, sequence), np.float32),
    }


def test_the_emulation_gives_what_the_emulated_graph_gives_and_says_what_it_is(bundle, caplog):
    from pipeline.backends.onnxruntime import run

    with load(bundle, backend="emulated") as engine:
        outputs = engine(**feeds())
    np.testing.assert_array_equal(outputs["y"], run(emulate(io.load(bundle / "model.onnx")), feeds())["y"])
    assert engine.plan is None
    assert engine.note is not None
    assert "this is not the engine" in engine.note
    assert [record.getMessage() for record in caplog.records] == [
        f"{bundle}: not signed: damage is detected, tampering is not",
        f"{bundle}: the report is not part of this bundle",
        f"{bundle}: {engine.note}",
    ]


def test_an_archive_loads_like_its_folder_and_leaves_nothing_behind(bundle, tmp_path, monkeypatch):
    archive.pack(bundle, tmp_path / "bundle.tar.zst")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with load(tmp_path / "bundle.tar.zst", backend="emulated") as packed, load(bundle, backend="emulated") as plain:
        assert list(scratch.iterdir()) == []
        np.testing.assert_array_equal(packed(**feeds())["y"], plain(**feeds())["y"])


def test_without_a_gpu_the_engine_is_refused_and_what_can_be_done_is_said(bundle, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(BackendUnavailable) as caught:
        load(bundle)
    assert re.fullmatch(
        re.escape(f"{bundle}: no plan of this bundle fits this machine\n    rtx.plan: GPU: ")
        + ".+\n"
        + re.escape(
            "  hint: on a machine without a GPU, the backend `emulated` runs the bundle's emulation "
            "(it is not the engine)"
        ),
        str(caught.value),
    )


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "emulated.onnx", "rtx.plan", "precision.json"])
def test_a_flipped_byte_in_any_file_is_refused(bundle, tmp_path, name):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    content = bytearray((copy / name).read_bytes())
    content[-1] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name}: its content does not have the digest in the manifest"):
        load(copy, backend="emulated")


def test_a_file_that_is_exchanged_after_it_was_verified_is_not_used(bundle, tmp_path):
    from pipeline.runtime.emulated import Emulated

    copy = shutil.copytree(bundle, tmp_path / "copy")
    with opening.opened(copy, key=None) as verified:
        (copy / "model.onnx.data").write_bytes(bytes(verified.manifest.files["model.onnx.data"].size))
        with pytest.raises(BundleError, match=r"and the manifest says [0-9a-f]{64}: it is not used"):
            Emulated(copy, verified.manifest)


def test_a_manifest_that_is_exchanged_while_it_is_verified_is_refused(bundle, tmp_path, monkeypatch):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    honest = verify.verify

    def exchanging(folder, *, key):
        proof = honest(folder, key=key)
        (copy / "manifest.json").write_bytes((copy / "manifest.json").read_bytes() + b"\n")
        return proof

    monkeypatch.setattr(verify, "verify", exchanging)
    with pytest.raises(BundleError, match="its manifest changed while it was verified"):
        load(copy, backend="emulated")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda given: given | {"x": given["x"].astype(np.float64)},
            "these inputs cannot be run\n    x is float64, and the graph takes float32",
        ),
        (
            lambda given: given | {"x": given["x"].astype(">f4")},
            "these inputs cannot be run\n    x is byte-swapped float32, and the graph takes float32",
        ),
        (
            lambda given: feeds(5, 16),
            "these inputs cannot be run\n    x is 5 at axis batch, and the bundle takes 1 to 4\n"
            "    mask is 5 at axis batch, and the bundle takes 1 to 4",
        ),
        (
            lambda given: given | {"mask": given["mask"][:1]},
            "these inputs cannot be run\n    axis batch is 2 in x and 1 in mask",
        ),
        (
            lambda given: given | {"x": given["x"][..., :-1]},
            "these inputs cannot be run\n    x is 63 at dimension 2, and the bundle takes 64",
        ),
        (
            lambda given: given | {"x": given["x"][0]},
            "these inputs cannot be run\n    x has 2 dimensions, and the graph takes 3",
        ),
        (lambda given: {"x": given["x"], "y": given["x"]}, "wrong inputs (missing: mask; unknown: y)"),
    ],
)
def test_wrong_inputs_are_refused_with_all_that_is_wrong(bundle, change, message):
    with load(bundle, backend="emulated") as engine, pytest.raises(InputError) as caught:
        engine(**change(feeds()))
    assert str(caught.value) == (
        f"{message}\n  hint: takes x float32[1..4, 8..32, 64]; mask float32[1..4, 1, 1, 8..32]"
    )


def test_what_is_no_array_is_refused(bundle):
    with load(bundle, backend="emulated") as engine, pytest.raises(InputError) as caught:
        engine(x=[[1.0]], mask=np.zeros(1))
    assert str(caught.value) == (
        "x is a list, and neither a NumPy array nor a DLPack one\n"
        "  hint: numpy.asarray(value, dtype=…) makes one of a list"
    )


def test_shapes_asked_for_are_held_to_the_profile_before_anything_is_loaded(bundle):
    with pytest.raises(InputError, match="x is 64 at axis sequence, and the bundle takes 8 to 32"):
        load(bundle, backend="emulated", shapes={"x": (2, 64, 64), "mask": (2, 1, 1, 64)})


def test_many_threads_get_each_their_own_results(bundle):
    found = {}
    with load(bundle, backend="emulated") as engine:
        expected = {seed: engine(**feeds(1 + seed % 4, 8 + seed, seed))["y"] for seed in range(12)}

        def work(seed):
            found[seed] = engine(**feeds(1 + seed % 4, 8 + seed, seed))["y"]

        threads = [threading.Thread(target=work, args=(seed,)) for seed in expected]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed, value in expected.items():
        np.testing.assert_array_equal(found[seed], value)


def test_a_closed_engine_says_so_and_closes_once(bundle):
    engine = load(bundle, backend="emulated")
    engine.close()
    engine.close()
    with pytest.raises(BackendUnavailable, match="encoder: this engine is closed"):
        engine(**feeds())


def test_outputs_of_the_emulation_stay_on_the_host(bundle):
    with load(bundle, backend="emulated") as engine:
        with pytest.raises(InputError, match="its outputs are on the host"):
            engine.run(feeds(), place=Place.DEVICE)
        assert engine.run(feeds())["y"].shape == (2, 16, encoder.WIDTH)


def test_other_libraries_arrays_come_in_through_dlpack(bundle):
    torch = pytest.importorskip("torch")
    with load(bundle, backend="emulated") as engine:
        given = {name: torch.from_numpy(array) for name, array in feeds().items()}
        turned = given | {"x": given["x"].transpose(0, 1).contiguous().transpose(0, 1)}
        expected = engine(**feeds())["y"]
        np.testing.assert_array_equal(engine(**given)["y"], expected)
        np.testing.assert_array_equal(engine(**turned)["y"], expected)
        assert torch.from_dlpack(engine(**given)["y"]).shape == (2, 16, encoder.WIDTH)


def test_a_plan_that_is_not_in_the_bundle(bundle):
    with pytest.raises(BundleError) as caught:
        load(bundle, plan="other.plan")
    assert str(caught.value) == (f"{bundle}: no plan named other.plan\n  hint: plans of this bundle: rtx.plan")


def test_a_profile_that_is_not_the_graphs_is_refused_before_the_plan_is_read(tmp_path):
    from pipeline.runtime import interface

    record = bundles.write(tmp_path / "bundle", bundles.plan(profiles={"x": bundles.PROFILES["x"]}))
    with pytest.raises(BundleError, match=r"the profile of rtx\.plan does not fit input mask"):
        interface.of_plan(record.graph, record.plans[0])


def test_with_a_key_only_what_it_signed_is_loaded(bundle, tmp_path):
    signing.generate(tmp_path / "private.pem", tmp_path / "public.pem", None)
    with pytest.raises(SignatureError, match="not signed, and a key was given"):
        load(bundle, key=tmp_path / "public.pem", backend="emulated")
    copy = shutil.copytree(bundle, tmp_path / "copy")
    signing.sign(copy, signing.read_private(tmp_path / "private.pem"))
    with load(copy, key=tmp_path / "public.pem", backend="emulated") as engine:
        assert engine(**feeds())["y"].shape == (2, 16, encoder.WIDTH)
    (copy / "manifest.json").write_bytes(
        (copy / "manifest.json").read_bytes().replace(b'"samples": 8', b'"samples": 9')
    )
    with pytest.raises(SignatureError, match="one of the two was altered"):
        load(copy, key=tmp_path / "public.pem", backend="emulated")
