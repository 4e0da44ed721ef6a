import json
import os
import shutil
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.bundle import signing, verify
from pipeline.core.errors import BundleError, KeyFileError, SignatureError
from tests import shipping


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A signed bundle and the keys of two people."""
    folder = tmp_path_factory.mktemp("signed")
    bundle = shipping.shipped(folder / "bundle")
    for name in ("ours", "theirs"):
        signing.generate(folder / f"{name}.pem", folder / f"{name}.pub", None)
    signing.sign(bundle, signing.read_private(folder / "ours.pem"))
    return folder, bundle


@pytest.fixture
def signed(made, tmp_path):
    return shutil.copytree(made[1], tmp_path / "bundle"), made[0] / "ours.pub"


def refusal(bundle, key):
    with pytest.raises(SignatureError) as caught:
        verify.verify(bundle, key=key)
    assert caught.value.exit_code == 7
    return str(caught.value)


def test_the_key_that_signed_is_accepted(signed):
    bundle, key = signed
    found = verify.verify(bundle, key=key)
    assert found.trusted
    assert found.checked[0] == "the signature is that of the given key"
    assert found.warnings == ()
    assert verify.verify(bundle, key=key.read_bytes()) == found


def test_a_signature_that_nobody_checks_is_no_proof(signed):
    bundle, _ = signed
    found = verify.verify(bundle)
    assert not found.trusted
    assert found.warnings == (
        f"signed by key {found.signed_by[:16]}…, which was not checked: no public key was given (--key)",
    )


def test_another_key_is_refused(made, signed):
    bundle, ours = signed
    theirs = made[0] / "theirs.pub"
    ids = [signing.key_id(signing.read_public(key))[:16] for key in (ours, theirs)]
    assert refusal(bundle, theirs) == (
        f"{bundle}: signed by key {ids[0]}…, and the key that was given is {ids[1]}…\n"
        "  hint: give the public key of whoever made the bundle, or do not trust it"
    )


def test_a_missing_signature_is_refused_where_a_key_is_given(signed):
    bundle, key = signed
    (bundle / "manifest.json.sig").unlink()
    assert refusal(bundle, key).startswith(
        f"{bundle}: not signed, and a key was given: there is no manifest.json.sig\n"
    )


def test_the_manifest_of_another_bundle_is_refused(signed, tmp_path):
    bundle, key = signed
    other = shipping.shipped(tmp_path / "other", name="other", report=_report(tmp_path))
    shutil.copyfile(other / "manifest.json", bundle / "manifest.json")
    assert "manifest.json is not what key " in refusal(bundle, key)


def _report(folder):
    (folder / "for").mkdir()
    given = shipping.inputs(folder / "for")
    return type(given["report"])(
        **{**{name: getattr(given["report"], name) for name in given["report"].__slots__}, "engine": "other"}
    )


def test_a_bundle_of_the_same_key_under_another_manifest_is_refused(signed, made, tmp_path):
    """Both signatures hold; the files are not those that the manifest names."""
    bundle, key = signed
    other = shipping.shipped(tmp_path / "other", invocation=_invocation())
    signing.sign(other, signing.read_private(made[0] / "ours.pem"))
    for name in ("manifest.json", "manifest.json.sig"):
        shutil.copyfile(other / name, bundle / name)
    with pytest.raises(BundleError, match=r"attestation/provenance\.intoto\.json: "):
        verify.verify(bundle, key=key)


def _invocation():
    return type(shipping.INVOCATION)(spec="0" * 64, commit=None, parameters={})


def test_a_byte_flipped_anywhere_is_refused(signed):
    bundle, key = signed
    for path in [item for item in bundle.rglob("*") if item.is_file()]:
        content = path.read_bytes()
        for position in {0, len(content) // 2, len(content) - 1}:
            path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
            with pytest.raises(BundleError):
                verify.verify(bundle, key=key)
        path.write_bytes(content)
    verify.verify(bundle, key=key)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{}",
        b'{"algorithm": "none", "key_id": "", "signature": ""}',
        b'{"algorithm": "ed25519", "key_id": "", "signature": 1}',
    ],
)
def test_what_is_no_signature_is_refused(signed, content):
    bundle, key = signed
    (bundle / "manifest.json.sig").write_bytes(content)
    assert "not a readable Ed25519 signature" in refusal(bundle, key)
    with pytest.raises(SignatureError):
        verify.verify(bundle)


def test_a_signature_in_another_base64_is_refused(signed):
    bundle, key = signed
    path = bundle / "manifest.json.sig"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "signature": record["signature"] + "\n"}))
    refusal(bundle, key)


def test_every_bit_of_a_signature_counts(signed):
    """The last characters of base64 have bits that stand for nothing."""
    bundle, key = signed
    path = bundle / "manifest.json.sig"
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        refusal(bundle, key)
    path.write_bytes(content)
    verify.verify(bundle, key=key)


def test_signing_twice_gives_the_same_bytes(made, signed):
    bundle, _ = signed
    before = (bundle / "manifest.json.sig").read_bytes()
    signing.sign(bundle, signing.read_private(made[0] / "ours.pem"))
    assert (bundle / "manifest.json.sig").read_bytes() == before


def test_a_private_key_is_for_its_owner_alone_and_never_overwritten(tmp_path):
    private, public = tmp_path / "k", tmp_path / "k.pub"
    key_id = signing.generate(private, public, b"secret")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert signing.key_id(signing.read_public(public)) == key_id
    with pytest.raises(KeyFileError, match="exists; a key is never overwritten"):
        signing.generate(private, tmp_path / "other.pub", None)


def test_a_passphrase_comes_from_the_environment_or_is_asked_for(tmp_path, monkeypatch):
    private = tmp_path / "k"
    signing.generate(private, tmp_path / "k.pub", b"secret")
    monkeypatch.delenv(signing.PASSPHRASE, raising=False)
    assert signing.read_private(private, lambda _: "secret").key_id
    with pytest.raises(KeyFileError) as caught:
        signing.read_private(private)
    assert str(caught.value) == f"{private}: the key has a passphrase\n  hint: set TRT_PIPELINE_KEY_PASSPHRASE"
    monkeypatch.setenv(signing.PASSPHRASE, "wrong")
    with pytest.raises(KeyFileError, match="the passphrase is wrong, or the key damaged"):
        signing.read_private(private)
    monkeypatch.setitem(os.environ, signing.PASSPHRASE, "secret")
    assert signing.read_private(private).key_id


def test_what_is_no_ed25519_key_is_refused(made, tmp_path):
    other = ec.generate_private_key(ec.SECP256R1())
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private, public = tmp_path / "k", tmp_path / "k.pub"
    private.write_bytes(other.private_bytes(pem, form, serialization.NoEncryption()))
    public.write_bytes(other.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(KeyFileError, match="a public key, but not of Ed25519"):
        signing.read_public(public)
    with pytest.raises(KeyFileError, match="a private key, but not of Ed25519"):
        signing.read_private(private)
    with pytest.raises(KeyFileError, match=r"k: a private key, and signatures are checked with the public one"):
        signing.read_public(tmp_path / "k")
    with pytest.raises(KeyFileError, match="not a public key in PEM form"):
        signing.read_public(b"no key")
    with pytest.raises(KeyFileError, match="cannot read the key: No such file or directory"):
        signing.read_public(tmp_path / "gone")
