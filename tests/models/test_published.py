"""Published models: fetched from a server that breaks off, lies, or is not there."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_virtual_paint.cli import main
from napari_virtual_paint.downloads import transfer, verified
from napari_virtual_paint.downloads.verified import DownloadError
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.models import open_model
from napari_virtual_paint.models import published as downloads
from napari_virtual_paint.models.published import Published, download, find, published, with_digest
from napari_virtual_paint.networks import build
from napari_virtual_paint.runtime.progress import Progress


class Server(ThreadingHTTPServer):
    """Serves one file; `breaks` says behind how many bytes of an answer the line is cut, answer by answer."""

    data = b""
    breaks: list[int]
    asked: list[str | None]
    ranges = True


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        server: Any = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        if self.path.endswith("missing.pth"):
            self.send_error(404)
            return
        if start >= len(server.data):
            self.send_error(416)
            return
        body = server.data[start:]
        self.send_response(206 if wanted and server.ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        if wanted and server.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(server.data) - 1}/{len(server.data)}")
        self.end_headers()
        self.wfile.write(body[: server.breaks.pop(0)] if server.breaks else body)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    torch.manual_seed(0)
    network = build("Pix2PixHD", {"in_channels": 1, "out_channels": 1, "width": 2, "downs": 1, "blocks": 1})
    torch.save(network.state_dict(), tmp_path / "home.pth")
    found = Server(("127.0.0.1", 0), Handler)
    found.data, found.breaks, found.asked = (tmp_path / "home.pth").read_bytes(), [], []
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", downloads.MIRROR, transfer.OFFLINE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "CHUNK", 1024)
    monkeypatch.setattr(verified, "CHUNK", 1024)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def entry_of(server: Server, **changes: Any) -> Published:
    values = {
        "id": "small", "title": "A small one", "url": f"http://127.0.0.1:{server.server_port}/some/where.pth",
        "sha256": hashlib.sha256(server.data).hexdigest(), "megabytes": len(server.data) / 1e6, "licence": "MIT", "home": "http://x",
    }  # fmt: skip
    return Published(**{**values, **changes})


def fetch(entry: Published, folder: Path) -> tuple[Path, list[Progress]]:
    work, seen = download(entry, folder), []
    while True:
        try:
            seen.append(next(work))
        except StopIteration as stop:
            return stop.value, seen


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    path, seen = fetch(entry_of(server), tmp_path / "cache")
    assert path.read_bytes() == server.data
    assert (seen[0].done, seen[-1].done, seen[-1].total) == (0, len(server.data), len(server.data))
    assert fetch(entry_of(server), tmp_path / "cache") == (path, [])
    assert server.asked == [None]


def test_a_download_that_breaks_off_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.breaks = [3000, 2000]
    path, seen = fetch(entry_of(server), tmp_path / "cache")
    assert path.read_bytes() == server.data
    assert server.asked == [None, "bytes=3000-", "bytes=5000-"]
    assert sum("broke off" in piece.message for piece in seen) == 2


def test_what_came_is_kept_for_the_next_call(server: Server, tmp_path: Path) -> None:
    server.breaks = [3000, 1000, 500]
    with pytest.raises(DownloadError, match="are kept"):
        fetch(entry_of(server), tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["small.pth.part"]
    path, seen = fetch(entry_of(server), tmp_path / "cache")
    assert server.asked[-1] == "bytes=4500-"
    assert seen[0].done == 4500
    assert path.read_bytes() == server.data


def test_a_download_that_was_cancelled_goes_on(server: Server, tmp_path: Path) -> None:
    work = download(entry_of(server), tmp_path / "cache")
    while next(work).done < 4096:
        pass
    work.close()
    path, _ = fetch(entry_of(server), tmp_path / "cache")
    assert server.asked[1] is not None
    assert path.read_bytes() == server.data


def test_a_server_without_ranges_starts_anew(server: Server, tmp_path: Path) -> None:
    server.ranges, server.breaks = False, [3000]
    assert fetch(entry_of(server), tmp_path / "cache")[0].read_bytes() == server.data


def test_another_file_than_was_published_is_thrown_away(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="is not the file that was published"):
        fetch(entry_of(server, sha256="0" * 64), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    with pytest.raises(DownloadError, match="sends more than"):
        fetch(entry_of(server, megabytes=0.001), tmp_path / "cache")


def test_no_network_is_one_sentence(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = entry_of(server, url="http://127.0.0.1:9/where.pth")
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9 could not be read"):
        fetch(gone, tmp_path / "cache")
    with pytest.raises(DownloadError, match="404"):
        fetch(entry_of(server, url=f"http://127.0.0.1:{server.server_port}/missing.pth"), tmp_path / "cache")
    monkeypatch.setenv(transfer.OFFLINE, "1")
    with pytest.raises(DownloadError, match="forbids the network"):
        fetch(entry_of(server), tmp_path / "cache")
    assert len(server.asked) == 1


def test_mirrors_and_proxies(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = entry_of(server, url="http://home.invalid/some/where.pth")
    monkeypatch.setenv(downloads.MIRROR, f"http://127.0.0.1:{server.server_port}/mirror/")
    assert fetch(away, tmp_path / "one")[0].name == "small.pth"
    monkeypatch.setenv(downloads.MIRROR, "file:///etc")
    with pytest.raises(InputError, match="https://"):
        fetch(away, tmp_path / "two")
    monkeypatch.delenv(downloads.MIRROR)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    assert fetch(away, tmp_path / "three")[0].read_bytes() == server.data


def test_the_command_fetches_and_imports(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(downloads, "published", lambda: (entry_of(server, outputs=("Nuclei",)),))
    monkeypatch.setenv(transfer.CACHE, str(tmp_path / "cache"))
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path / "mine"))
    assert main(["models", "list", "--online", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["licence"] == "MIT"
    assert main(["models", "download", "small", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["stains"] == ["Nuclei"]
    assert open_model("small").info.stains == ("Nuclei",)
    assert main(["models", "download", "large"]) == 2
    assert "there are small" in capsys.readouterr().err


def test_the_list_is_complete() -> None:
    for entry in published():
        assert entry.sha256 is None or len(entry.sha256) == 64
        assert (entry.url or entry.home).startswith("https://")
        assert entry.licence
        assert entry.filename.endswith((".ckpt", ".zip", ".p", ".pth"))
        assert find(entry.id) == entry


def test_without_a_stated_checksum_nothing_is_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stated = entry_of(server, outputs=("Nuclei",))
    monkeypatch.setattr(downloads, "published", lambda: (replace(stated, sha256=None, megabytes=None),))
    monkeypatch.setenv(transfer.CACHE, str(tmp_path / "cache"))
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path / "mine"))
    assert main(["models", "list", "--online"]) == 0
    assert "size not stated, needs --sha256" in capsys.readouterr().out
    assert main(["models", "download", "small"]) == 2
    assert "states no SHA-256" in capsys.readouterr().err
    assert main(["models", "download", "small", "--sha256", "abc"]) == 2
    assert "64 hexadecimal digits" in capsys.readouterr().err
    assert not server.asked
    assert main(["models", "download", "small", "--sha256", "0" * 64]) == 1
    assert "not the file that was published" in capsys.readouterr().err
    assert main(["models", "download", "small", "--sha256", str(stated.sha256).upper()]) == 0
    assert open_model("small").info.stains == ("Nuclei",)


def test_a_stated_checksum_is_not_replaced(server: Server) -> None:
    with pytest.raises(InputError, match="states another SHA-256"):
        with_digest(entry_of(server), "0" * 64)


def test_a_file_that_is_packed_anew_is_fetched_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "download", "noisy-hedgehog"]) == 2
    told = capsys.readouterr().err
    assert "https://bioimage.io/#/artifacts/noisy-hedgehog" in told
    assert "virtual-paint models import FILE --name noisy-hedgehog" in told
