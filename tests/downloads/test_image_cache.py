"""Plates whose images lie on the network: fetched when they are read, kept within bounds, one sentence where they can't be had."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import vendor_plates as written
from napari_virtual_paint.downloads import image_cache, transfer
from napari_virtual_paint.downloads.image_cache import Remote, fetched, with_copy
from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.plates.opening import open_plate
from napari_virtual_paint.plates.paint import paint_plate, read_failures
from napari_virtual_paint.plates.plate import Plate
from small_plates import CHANNELS, make_plate, toy_model


class Server(ThreadingHTTPServer):
    """Serves a folder, counts what it is asked for, and does what it is told by `spoil`: path -> statuses of the next answers."""

    asked: Counter[str]
    spoil: dict[str, list[int]]
    slow = 0.0


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked[self.path] += 1
        time.sleep(server.slow)
        statuses = server.spoil.get(self.path, [])
        if statuses and (status := statuses.pop(0)) >= 400:
            self.send_error(status)
        elif statuses and status == 0:  # breaks off in the middle
            data = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
        else:
            super().do_GET()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in (
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
        transfer.OFFLINE,
        image_cache.SIZE,
        *image_cache.ENDPOINT,
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(transfer.CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(image_cache, "PAUSE", 0.01)
    monkeypatch.setattr(image_cache, "_silent", {})
    monkeypatch.setattr(image_cache, "_since", 0)
    (tmp_path / "web").mkdir()
    found = Server(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "web")))
    found.asked, found.spoil = Counter(), {}
    threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


def home(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def published(server: Server, tmp_path: Path, begin: str | None = None) -> Plate:
    """A LoadData table far from its images, which the server has."""
    table = written.loaddata(tmp_path / "web")
    near = str(tmp_path / "web" / "images")
    (tmp_path / "table.csv").write_text(table.read_text().replace(near, begin or f"{home(server)}/images"))
    return open_plate(tmp_path / "table.csv")


def copies(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache" / "images").glob("??/*") if path.is_file()]


def test_images_are_fetched_when_they_are_read_and_once(server: Server, tmp_path: Path) -> None:
    plate = published(server, tmp_path)
    assert not server.asked, "opening a plate fetches nothing"
    assert "are fetched when they are read" in plate.notes[-1]
    stack = plate.read(plate.by_key["B03/2"])
    assert sum(server.asked.values()) == 1, "the first image tells the form of all"
    np.testing.assert_array_equal(np.asarray(stack.select([2]).data), written.truth("B03", 2)[:, 2:])
    assert sum(server.asked.values()) == 2, "channels that are not asked for stay where they are"
    np.testing.assert_array_equal(np.asarray(stack.data), written.truth("B03", 2))
    np.testing.assert_array_equal(np.asarray(plate.read(plate.by_key["B03/2"]).data), written.truth("B03", 2))
    assert len(server.asked) == 3
    assert set(server.asked.values()) == {1}
    assert len(copies(tmp_path)) == 3


def test_public_buckets_are_asked_at_their_https_address(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        Remote("s3://cellpainting-gallery/cpg0016/a b+c?.tif").address
        == "https://cellpainting-gallery.s3.amazonaws.com/cpg0016/a%20b%2Bc%3F.tif"
    )
    assert Remote("s3://my.bucket/a.tif").address == "https://s3.amazonaws.com/my.bucket/a.tif"
    assert Remote("https://a.org/x y.tif?k=1").address == "https://a.org/x%20y.tif?k=1"
    assert str(Remote("https://a.org/x.tif?Signature=secret")) == "https://a.org/x.tif"
    monkeypatch.setenv("AWS_ENDPOINT_URL", home(server) + "/")
    plate = published(server, tmp_path, "s3://images")
    np.testing.assert_array_equal(np.asarray(plate.read(plate.fields[0]).data), written.truth("A01", 1))


def test_copies_beside_the_table_go_before_the_network(server: Server, tmp_path: Path) -> None:
    plate = published(server, tmp_path, "s3://bucket/images")
    (tmp_path / "web" / "images").rename(tmp_path / "images")
    plate = open_plate(tmp_path / "table.csv")
    assert "those beside the table are taken" in plate.notes[-1]
    np.testing.assert_array_equal(np.asarray(plate.read(plate.fields[0]).data), written.truth("A01", 1))


def test_urls_are_taken_where_the_files_are_not(server: Server, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "web" / "a.tif", written.plane("A01", 1, 0))
    (tmp_path / "load_data.csv").write_text(
        f"FileName_OrigDNA,PathName_OrigDNA,URL_OrigDNA,Metadata_Well\na.tif,/home/ubuntu/bucket,{home(server)}/a.tif,A1\n"
    )
    plate = open_plate(tmp_path / "load_data.csv")
    np.testing.assert_array_equal(np.asarray(plate.read(plate.fields[0]).data)[0, 0, 0], written.plane("A01", 1, 0))


def test_what_breaks_off_or_is_busy_is_tried_again(server: Server, tmp_path: Path) -> None:
    plate = published(server, tmp_path)
    first = "/images/A01-1-0.tif"
    server.spoil[first] = [503, 0, 1]
    np.testing.assert_array_equal(np.asarray(plate.read(plate.fields[0]).data), written.truth("A01", 1))
    assert server.asked[first] == 3


@pytest.mark.parametrize(("status", "words"), [(404, "has no such file"), (403, "does not give it to everyone"), (500, "try again later")])
def test_a_refusal_is_a_sentence(server: Server, tmp_path: Path, status: int, words: str) -> None:
    plate = published(server, tmp_path)
    server.spoil["/images/A01-1-0.tif"] = [status] * 9
    with pytest.raises(ReadError, match=rf"http://127.0.0.1:\d+/images/A01-1-0.tif: .*{words}") as caught:
        plate.read(plate.fields[0])
    assert str(caught.value).count("\n") == 0
    assert not copies(tmp_path)
    plate.read(plate.fields[1])  # the others are there


def test_a_server_that_is_gone_is_not_asked_for_every_image(server: Server, tmp_path: Path) -> None:
    plate = published(server, tmp_path)
    server.shutdown()
    server.server_close()
    for each in plate.fields:
        with pytest.raises(ReadError, match=r"could not be reached.*check the network and the proxy"):
            plate.read(each)
    assert len(image_cache._silent) == 1


def test_without_the_network_what_was_fetched_is_there(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plate = published(server, tmp_path)
    np.asarray(plate.read(plate.fields[0]).data)
    monkeypatch.setenv(transfer.OFFLINE, "1")
    np.testing.assert_array_equal(np.asarray(plate.read(plate.fields[0]).data), written.truth("A01", 1))
    with pytest.raises(ReadError, match=f"{transfer.OFFLINE} forbids the network"):
        plate.read(plate.fields[1])


def test_the_proxy_of_the_environment_is_asked(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", home(server))
    with pytest.raises(ReadError, match="has no such file"):
        fetched(Remote("http://images.invalid/a.tif"))
    assert list(server.asked) == ["http://images.invalid/a.tif"]


def test_the_copies_stay_within_bounds_and_the_oldest_go(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        (tmp_path / "web" / f"{number}.tif").write_bytes(bytes(1000))
    monkeypatch.setenv(image_cache.SIZE, "0.000004")
    images = [Remote(f"{home(server)}/{number}.tif") for number in range(8)]
    for image in images[:3]:
        fetched(image)
    fetched(images[0])  # used again, so it is not the oldest
    for image in images[3:5]:
        fetched(image)
    names = {path.name for path in copies(tmp_path)}
    assert sum(path.stat().st_size for path in copies(tmp_path)) <= 4000
    assert images[0].filename in names
    assert images[1].filename not in names
    (tmp_path / "web" / "large.tif").write_bytes(bytes(5000))
    with pytest.raises(ReadError, match=f"larger than all the images that may be kept.*{image_cache.SIZE}"):
        fetched(Remote(f"{home(server)}/large.tif"))
    monkeypatch.setenv(image_cache.SIZE, "much")
    with pytest.raises(InputError, match="number of gigabytes"):
        fetched(images[7])


def test_a_copy_that_went_before_it_was_read_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "web" / "a.tif").write_bytes(b"pixels")
    uses: list[Path] = []

    def use(path: Path) -> bytes:
        uses.append(path)
        if len(uses) == 1:
            path.unlink()  # as another process would, to make room
            raise ReadError(path, "there is no such file")
        return path.read_bytes()

    assert with_copy(Remote(f"{home(server)}/a.tif"), use) == b"pixels"
    assert server.asked["/a.tif"] == 2


def test_many_who_want_one_image_fetch_it_once(server: Server, tmp_path: Path) -> None:
    (tmp_path / "web" / "a.tif").write_bytes(bytes(5000))
    server.slow = 0.1
    image, found = Remote(f"{home(server)}/a.tif"), []
    threads = [threading.Thread(target=lambda: found.append(fetched(image).stat().st_size)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [5000] * 4
    assert server.asked["/a.tif"] == 1


def test_an_image_that_can_not_be_fetched_is_a_row_and_is_tried_again(server: Server, tmp_path: Path) -> None:
    toy = make_plate(tmp_path / "toy", 2, size=32)
    rows = [",".join(["Metadata_Well", *(f"URL_Orig{channel}" for channel in CHANNELS)])]
    for each in toy.fields:
        for channel, pixels in zip(CHANNELS, np.asarray(toy.read(each).data)[0, :, 0], strict=True):
            tifffile.imwrite(tmp_path / "web" / f"{each.well} {channel}.tif", pixels)
        rows.append(",".join([each.well, *(f"{home(server)}/{each.well} {channel}.tif" for channel in CHANNELS)]))
    (tmp_path / "load_data.csv").write_text("\n".join(rows))
    plate, model = open_plate(tmp_path / "load_data.csv"), toy_model(tmp_path)
    server.spoil["/A02%20DNA.tif"] = [404]
    *_, last = paint_plate(plate, model, tmp_path / "out")
    assert last.done == 2
    assert "/A02 DNA.tif: 127.0.0.1" in (reason := read_failures(tmp_path / "out")["reason"].item())
    assert "has no such file (404)" in reason
    assert [step.state for step in paint_plate(plate, model, tmp_path / "out") if step.row] == ["skipped", "done"]
    for each in plate.fields:
        np.testing.assert_array_equal(np.asarray(plate.read(each).data), np.asarray(toy.read(toy.by_key[each.key]).data))
