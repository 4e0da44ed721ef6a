"""Signed, packed and stripped: bundles of the whole line. That their cores are reproducible, `test_engine` shows."""

import json
import shutil

import pytest

INVENTED = ("qkv.weight", "mlp.", "Block", "norm.weight", "node_MatMul", "block.pt", "_unsafe_view", "nn_module")
"""Names that only this model's author, or the exporter, could have put into a bundle."""


@pytest.fixture(scope="module")
def signed(built, tmp_path_factory):
    """A copy of the clone whose bundle was signed, and the folder of the keys."""
    root = tmp_path_factory.mktemp("signed")
    shutil.copytree(built[0].root, root / "clone")
    clone = type(built[0])(root / "clone")
    assert clone.run("keygen", "--no-passphrase", str(root / "k")).returncode == 0
    result = clone.run("ship", "tiny", "--sign", str(root / "k"), "--json")
    assert result.returncode == 0, result.stderr
    return clone, root


def verify(clone, *words):
    result = clone.run("verify", *map(str, words))
    return result.returncode, result.stdout + result.stderr


def test_both_forms_verify_with_the_key_and_with_no_other(signed):
    clone, keys = signed
    build = clone.engine / "build"
    assert clone.run("keygen", "--no-passphrase", str(keys / "other")).returncode == 0
    for form in (build / "bundle", build / "bundle.tar.zst"):
        code, said = verify(clone, form, "--key", keys / "k.pub")
        assert code == 0, said
        assert "signed by " in said
        assert verify(clone, form, "--key", keys / "other.pub")[0] == 7


def test_a_run_without_the_key_leaves_the_signature(signed):
    clone, keys = signed
    assert clone.run("engine", "tiny").returncode == 0
    assert verify(clone, clone.engine / "build" / "bundle", "--key", keys / "k.pub")[0] == 0


def test_a_run_that_ends_with_the_report_leaves_the_signed_bundle_beside_it(signed):
    clone, keys = signed
    assert clone.run("validate", "tiny").returncode == 0
    assert verify(clone, clone.engine / "build" / "bundle", "--key", keys / "k.pub")[0] == 0


def test_ship_says_whose_signature_the_bundle_carries(signed, built):
    clone, _ = signed
    bundle = clone.engine / "build" / "bundle"
    key_id = json.loads((bundle / "manifest.json.sig").read_text())["key_id"]
    assert clone.run("ship", "tiny").stdout.splitlines()[-1].startswith(f"signed by key {key_id[:16]}…; ")
    said = built[0].run("ship", "tiny").stdout
    assert said.endswith("not signed: damage is detected, tampering is not; sign it with --sign KEY\n")


def test_a_flipped_byte_of_a_signed_bundle_is_refused(signed, tmp_path):
    clone, keys = signed
    bundle = shutil.copytree(clone.engine / "build" / "bundle", tmp_path / "bundle")
    plan = next(bundle.glob("*.plan"))
    content = bytearray(plan.read_bytes())
    content[len(content) // 2] ^= 1
    plan.write_bytes(content)
    code, said = verify(clone, bundle, "--key", keys / "k.pub")
    assert code == 6
    assert f"{plan.name}: its content does not have the digest in the manifest" in said


def test_a_stripped_bundle_tells_no_name_and_is_validated_as_one(built, tmp_path):
    shutil.copytree(built[0].root, tmp_path / "clone")
    clone = type(built[0])(tmp_path / "clone")
    spec = clone.engine / "engine.toml"
    spec.write_text(spec.read_text() + "\n[precision]\nfp32 = ['mlp.2*']\n")
    result = clone.run("ship", "tiny", "--strip-names", "--json")
    assert result.returncode == 0, result.stderr
    build = clone.engine / "build-stripped"
    for path in (item for item in (build / "bundle").rglob("*") if item.is_file()):
        found = [name for name in INVENTED if name.encode() in path.read_bytes()]
        assert found == [], path
    names = json.loads((build / "names.json").read_text())
    assert {"qkv", "mlp", "Block"} <= set(names["modules"])
    manifest = json.loads((build / "bundle" / "manifest.json").read_text())
    assert manifest["graph"]["names_stripped"]
    assert manifest["verdict"]["passed"]
    decisions = json.loads((build / "bundle" / "precision.json").read_text())["decisions"]
    kept = [item for item in decisions if item["module"] == f"{names['modules']['mlp']}.2"]
    assert kept
    assert all(item["result"] == "fp32" for item in kept), "a pattern keeps its meaning"
    assert verify(clone, build / "bundle")[0] == 0
    assert clone.core() == built[0].core(), "the bundle under the model's own names is left alone"
