import http.server
import threading

import pytest

from pipeline.core.errors import SourceError, Unreachable
from pipeline.models import hub

REVISION = "0" * 40


class Answers404(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(404)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """A web server that has nothing, as the hub."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers404) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening.server_port}/")
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def test_a_server_that_answers_anything_is_reachable(server):
    assert hub.endpoint() == server
    assert hub.reachable() is None


def test_a_closed_port_is_not(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert hub.reachable() == "http://127.0.0.1:9 does not answer ([Errno 111] Connection refused)"
    with pytest.raises(Unreachable) as caught:
        hub.fetch("owner/name", REVISION, tmp_path)
    assert str(caught.value) == (
        "owner/name: the Hugging Face hub cannot be reached: http://127.0.0.1:9 does not answer "
        "([Errno 111] Connection refused)\n"
        "  hint: set HTTPS_PROXY or HF_ENDPOINT, or give a local checkpoint with WEIGHTS=path"
    )


def test_offline_mode_is_obeyed_without_a_probe(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.reachable() == "HF_HUB_OFFLINE is set"


def test_only_web_addresses_are_opened(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    assert hub.reachable() == "HF_ENDPOINT is no web address: file:///etc"


def test_a_revision_without_safetensors_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "_download", lambda *_: (tmp_path / "pytorch_model.bin").write_bytes(b""))
    with pytest.raises(SourceError) as caught:
        hub.fetch("owner/name", REVISION, tmp_path)
    assert str(caught.value) == (
        f"owner/name@{REVISION}: this revision has no safetensors file; pickled checkpoints are not loaded\n"
        "  hint: pin a revision with safetensors, or convert the checkpoint and give it with WEIGHTS=path"
    )
