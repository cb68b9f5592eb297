"""Files that are fetched in several tries, checked and kept."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from napari_virtual_paint.downloads import transfer, verified
from napari_virtual_paint.downloads.verified import DownloadError, digest, fetch
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.progress import Progress

DATA = bytes(range(256)) * 200
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `DATA`; `breaks` says after how many bytes each answer is cut."""

    breaks: list[int]
    asked: list[str | None]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        server: Any = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(DATA):
            self.send_error(416)
            return
        body = DATA[start:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        self.end_headers()
        self.wfile.write(body[: server.breaks.pop(0)] if server.breaks else body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", transfer.OFFLINE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "CHUNK", 1024)
    monkeypatch.setattr(verified, "CHUNK", 1024)
    found = Server(("127.0.0.1", 0), Handler)
    found.breaks, found.asked = [], []
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/data.bin"


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    target, seen = tmp_path / "folder" / "data.bin", list[Progress]()
    assert run_to_end(fetch(url_of(server), SHA256, target, name="data"), seen.append) == target
    assert digest(target) == SHA256
    assert (seen[0].done, seen[-1].done, seen[-1].total) == (0, len(DATA), len(DATA))
    run_to_end(fetch(url_of(server), SHA256, target, name="data"))
    assert server.asked == [None]
    assert [path.name for path in target.parent.iterdir()] == ["data.bin"]


def test_broken_transfers_are_resumed_by_the_same_and_by_the_next_call(server: Server, tmp_path: Path) -> None:
    server.breaks = [3000, 1000, 500]
    with pytest.raises(DownloadError, match="are kept"):
        run_to_end(fetch(url_of(server), SHA256, tmp_path / "data.bin", name="data"))
    assert server.asked == [None, "bytes=3000-", "bytes=4000-"]
    run_to_end(fetch(url_of(server), SHA256, tmp_path / "data.bin", name="data"))
    assert server.asked[-1] == "bytes=4500-"
    assert digest(tmp_path / "data.bin") == SHA256


def test_a_cancelled_transfer_is_resumed(server: Server, tmp_path: Path) -> None:
    work = fetch(url_of(server), SHA256, tmp_path / "data.bin", name="data")
    while next(work).done < 4096:
        continue
    work.close()
    assert (tmp_path / "data.bin.part").stat().st_size >= 4096
    run_to_end(fetch(url_of(server), SHA256, tmp_path / "data.bin", name="data"))
    assert server.asked[1] is not None
    assert digest(tmp_path / "data.bin") == SHA256


def test_a_partial_file_that_is_whole_or_of_another_file(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "data.bin.part"
    part.write_bytes(DATA)
    run_to_end(fetch(url_of(server), SHA256, tmp_path / "data.bin", name="data"))
    assert not part.exists()
    (tmp_path / "data.bin").unlink()
    part.write_bytes(b"x" * (len(DATA) + 1))
    run_to_end(fetch(url_of(server), SHA256, tmp_path / "data.bin", name="data"))
    assert digest(tmp_path / "data.bin") == SHA256


def test_a_damaged_file_is_fetched_again_and_a_wrong_one_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"damaged")
    run_to_end(fetch(url_of(server), SHA256, tmp_path / "data.bin", name="data"))
    assert digest(tmp_path / "data.bin") == SHA256
    with pytest.raises(DownloadError, match="is not the file that was published"):
        run_to_end(fetch(url_of(server), "0" * 64, tmp_path / "other.bin", name="other"))
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]
    with pytest.raises(DownloadError, match="sends more than"):
        run_to_end(fetch(url_of(server), SHA256, tmp_path / "small.bin", name="small", size=100))


def test_the_offline_switch(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_to_end(fetch(url_of(server), SHA256, tmp_path / "data.bin", name="data"))
    monkeypatch.setenv(transfer.OFFLINE, "1")
    run_to_end(fetch(url_of(server), SHA256, tmp_path / "data.bin", name="data"))
    with pytest.raises(DownloadError, match="forbids the network"):
        run_to_end(fetch(url_of(server), SHA256, tmp_path / "other.bin", name="other"))


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match=transfer.CACHE):
        run_to_end(fetch(url_of(server), SHA256, tmp_path / "folder" / "data.bin", name="data"))
