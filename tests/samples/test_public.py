"""Downloadable samples, against a server on this machine."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_virtual_paint.downloads.transfer import CACHE
from napari_virtual_paint.downloads.verified import DownloadError
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.samples import public
from napari_virtual_paint.samples.public import SampleFile, load_public, sources

MEMBERS = ("Brightfield", "DNA", "ER", "RNA", "AGP", "Mito")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.fault: dict[str, str] = {}
        self.asked: list[str] = []
        self.go_on = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body, fault = self.server.files.get(self.path), self.server.fault.get(self.path, "")
        if body is None or fault == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "corrupted":
            body = bytes([body[0] ^ 255]) + body[1:]
        if fault == "truncated":
            body = body[: len(body) // 2]
        if fault == "slow":
            self.wfile.write(body[:70000])
            self.wfile.flush()
            self.server.go_on.wait(10)
            body = body[70000:]
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that has a small Cell Painting field."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def offered(server: Server) -> list[SampleFile]:
    """The field's files on the server, 200 x 300 pixels of noise each."""
    rng = np.random.default_rng(0)
    found = []
    for member in MEMBERS:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 65535, (200, 300), np.uint16)).save(buffer, "TIFF")
        body = buffer.getvalue()
        server.files[f"/{member}.tiff"] = body
        url = f"http://127.0.0.1:{server.server_port}/{member}.tiff"
        found.append(SampleFile("cell_painting", member, url, hashlib.sha256(body).hexdigest(), len(body)))
    return found


def finish(generator):
    steps = []
    while True:
        try:
            steps.append(next(generator))
        except StopIteration as stop:
            return steps, stop.value


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_a_field_is_downloaded_once_with_progress(server: Server, offered: list[SampleFile], tmp_path: Path) -> None:
    steps, (bright, stains) = finish(load_public("cell_painting", files=offered, cache=tmp_path))
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == steps[-1].total == sum(source.size for source in offered)
    assert bright.shape == (1, 1, 1, 200, 300)
    assert stains.channels == MEMBERS[1:]
    assert stains.dtype == np.uint16
    assert stains.pixel_size == (None, None, None)
    with Image.open(io.BytesIO(server.files["/RNA.tiff"])) as image:
        np.testing.assert_array_equal(stains.data[0, 2, 0], np.asarray(image))
    server.asked.clear()
    finish(load_public("cell_painting", files=offered, cache=tmp_path))
    assert server.asked == []


@pytest.mark.parametrize(("fault", "sentence"), [("corrupted", "SHA-256"), ("truncated", "are kept"), ("missing", "404")])
def test_what_is_not_the_published_file_is_not_kept(
    server: Server, offered: list[SampleFile], tmp_path: Path, fault: str, sentence: str
) -> None:
    server.fault["/DNA.tiff"] = fault
    with pytest.raises(DownloadError, match=sentence) as error:
        finish(load_public("cell_painting", files=offered, cache=tmp_path))
    assert "cell_painting/DNA" in str(error.value)
    assert kept(tmp_path) == ["Brightfield.tiff"] + ["DNA.tiff.part"] * (fault == "truncated")
    server.fault.clear()
    _, stacks = finish(load_public("cell_painting", files=offered, cache=tmp_path))
    assert len(stacks) == 2


def test_a_damaged_file_in_the_cache_is_fetched_again(server: Server, offered: list[SampleFile], tmp_path: Path) -> None:
    finish(load_public("cell_painting", files=offered, cache=tmp_path))
    damaged = tmp_path / "samples" / "cell_painting" / "ER.tiff"
    damaged.write_bytes(b"not an image")
    server.asked.clear()
    finish(load_public("cell_painting", files=offered, cache=tmp_path))
    assert server.asked == ["/ER.tiff"]
    assert damaged.read_bytes() == server.files["/ER.tiff"]


def test_a_cancelled_download_is_resumed(server: Server, offered: list[SampleFile], tmp_path: Path) -> None:
    server.fault["/Brightfield.tiff"] = "slow"
    generator = load_public("cell_painting", files=offered, cache=tmp_path)
    while next(generator).done == 0:
        continue
    generator.close()
    assert kept(tmp_path) == ["Brightfield.tiff.part"]
    server.go_on.set()
    server.fault.clear()
    finish(load_public("cell_painting", files=offered, cache=tmp_path))
    assert kept(tmp_path) == sorted(f"{member}.tiff" for member in MEMBERS)


def test_no_network_is_one_sentence(server: Server, offered: list[SampleFile], tmp_path: Path) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="check the network") as error:
        finish(load_public("cell_painting", files=offered, cache=tmp_path))
    assert "\n" not in str(error.value)
    assert kept(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_one_sentence(server: Server, offered: list[SampleFile], tmp_path: Path) -> None:
    (tmp_path / "samples").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match=CACHE):
        finish(load_public("cell_painting", files=offered, cache=tmp_path))


def test_an_unknown_sample_lists_the_known() -> None:
    with pytest.raises(InputError, match="neurons, cell_painting"):
        next(load_public("yeast"))


def test_the_table_has_every_file_of_every_sample() -> None:
    table = sources()
    for name, sample in public.SAMPLES.items():
        members = {member for _, channels in sample.layers for _, planes in channels for member in planes}
        assert {source.member for source in table if source.sample == name} == members
    assert all(len(bytes.fromhex(source.sha256)) == 32 and source.size > 0 and source.url.startswith("https://") for source in table)


def test_the_table_is_that_of_the_real_data(shared_data: Path) -> None:
    theirs = (shared_data / "sources.tsv").read_text().splitlines()[1:]
    ours = [f"{s.sample}/{s.member}\t{s.url}\t{s.sha256}\t{s.size}" for s in sources()]
    assert ours == theirs
