"""The settings of all downloads."""

from __future__ import annotations

import threading
import urllib.error
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from napari_virtual_paint.downloads.transfer import CACHE, OFFLINE, cache_folder, offline, transfer


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere"
    monkeypatch.delenv(CACHE)
    assert "napari-virtual-paint" in str(cache_folder())


@pytest.mark.parametrize(("value", "forbidden"), [("", False), ("0", False), ("no", False), ("False", False), ("1", True), ("yes", True)])
def test_the_offline_switch(monkeypatch: pytest.MonkeyPatch, value: str, forbidden: bool) -> None:
    monkeypatch.setenv(OFFLINE, value)
    assert offline() is forbidden


class _Silent(BaseHTTPRequestHandler):
    """Sends half of what it announces, and then nothing until it is released."""

    released = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "8")
        self.end_headers()
        self.wfile.write(b"half")
        self.wfile.flush()
        self.released.wait(60)

    def log_message(self, *_: object) -> None:
        pass


def test_a_silent_server_leaves_room_for_a_cancel(tmp_path: Path) -> None:
    """Each step is a place to cancel, so steps must come although no byte does; what came is kept."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        part = tmp_path / "file.part"
        steps = transfer(f"http://127.0.0.1:{server.server_port}/file", part)
        while next(steps) != (4, 8):
            pass
        assert [next(steps) for _ in range(3)] == [(4, 8)] * 3
        steps.close()
        assert part.read_bytes() == b"half"
        _Silent.released.set()
        server.shutdown()


def test_what_goes_wrong_in_the_thread_is_raised(tmp_path: Path) -> None:
    with pytest.raises(urllib.error.URLError):
        list(transfer("http://127.0.0.1:1/file", tmp_path / "file.part"))
