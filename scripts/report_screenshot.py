"""Take the picture of a report for the documentation: its head, and some of its figures below.

Needs a Chromium (``apt install chromium``, or any Chrome); it is spoken to over a pipe, by its DevTools protocol, so that nothing else is
needed::

    python scripts/report_screenshot.py REPORT/report.html --figures features-heatmap profiles-umap

The picture in the documentation shows the report of `profile_screenshot.py`.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import io
import json
import math
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "evaluate-report.png"
PATIENCE = 600
"""Seconds that a busy machine may take to draw all figures."""

DRAWN = "[...document.querySelectorAll('.panel > div')].every(target => target.querySelector('.main-svg'))"

HEAD = "document.querySelector('main section:not(#head)').getBoundingClientRect().top + window.scrollY"
"""Where the head ends: above the first level."""

BARE = "document.head.insertAdjacentHTML('beforeend', '<style>.modebar { display: none }</style>')"
"""Hides the buttons of the figures, which a page without a mouse shows."""

BOX = """(() => {
    const figure = document.getElementById(%s);
    if (!figure) return null;
    const box = figure.getBoundingClientRect();
    return [box.left + scrollX, box.top + scrollY, box.width, box.height];
})()"""
"""Place and size of a figure on the page, px."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--figures", nargs="*", default=[], help="ids of figures to show below the head, as in the page's links")
    parser.add_argument("--theme", default="light", choices=("light", "dark"))
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--browser", help="a Chromium; the one that is installed if left out")
    options = parser.parse_args()
    whole = joined([Image.open(io.BytesIO(each)).convert("RGB") for each in shots(options)])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    whole.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(options.output, optimize=True)
    print(f"{options.output}: {whole.width} x {whole.height}, {options.output.stat().st_size / 1000:.0f} kB")


def joined(pictures: list[Image.Image]) -> Image.Image:
    """Return the head with the figures below it, two a row and of one width."""
    head, *figures = pictures
    side = head.width // 2
    small = [each.resize((side, round(each.height * side / each.width)), Image.Resampling.LANCZOS) for each in figures]
    heights = [max(each.height for each in small[place : place + 2]) for place in range(0, len(small), 2)]
    whole = Image.new("RGB", (head.width, head.height + sum(heights)), head.getpixel((head.width - 1, 0)))
    whole.paste(head, (0, 0))
    for place, each in enumerate(small):
        whole.paste(each, (place % 2 * side, head.height + sum(heights[: place // 2])))
    return whole


def shots(options: argparse.Namespace) -> list[bytes]:
    """Return the pictures of the head and of each figure."""
    with browser(options.browser or found_browser()) as page:
        page.ask("Network.enable")
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        page.ask("Network.emulateNetworkConditions", **offline)
        page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": options.theme}])
        page.size(options.width, 900)
        page.ask("Page.navigate", url=options.report.resolve().as_uri())
        end = time.monotonic() + PATIENCE
        while not page.value(f"document.readyState === 'complete' && {DRAWN}"):
            if time.monotonic() > end:
                raise SystemExit(f"{options.report}: its figures were not drawn within {PATIENCE} s.")
            time.sleep(1)
        height = math.floor(page.value(HEAD))
        page.size(options.width, height)  # the contents beside it are as high as the window
        page.value(BARE)
        taken = [page.picture(0, 0, options.width, height)]
        for name in options.figures:
            box = page.value(BOX % json.dumps(name))
            if box is None:
                raise SystemExit(f"{options.report}: it has no figure {name}.")
            taken.append(page.picture(*box))
        return taken


class Page:
    """A page of a browser, spoken to in the DevTools protocol: JSON messages that end with a zero byte."""

    def __init__(self, to: int, back: int) -> None:
        self.to, self.back = to, back
        self.rest, self.number, self.session = b"", 0, ""

    def ask(self, method: str, **parameters: Any) -> Any:
        """Call a method and return its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters, **({"sessionId": self.session} if self.session else {})}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                part = os.read(self.back, 1 << 20)
                if not part:
                    raise SystemExit("The browser ended.")
                self.rest += part
            line, self.rest = self.rest.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def size(self, width: int, height: int) -> None:
        """Give the page a size, px."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def value(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript; None while it can't be computed."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self, x: float, y: float, width: float, height: float) -> bytes:
        """Return a part of the page as PNG."""
        clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        return base64.b64decode(self.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"])


def found_browser() -> str:
    """Return the path of a Chromium or Chrome."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if path := shutil.which(name):
            return path
    raise SystemExit("There is no Chromium; install one (apt install chromium), or name it with --browser.")


@contextmanager
def browser(program: str) -> Iterator[Page]:
    """Run a browser without a window, and yield a new page in it."""
    (near, to), (back, far) = os.pipe(), os.pipe()
    read, write = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (near, far))  # away from 3 and 4
    with tempfile.TemporaryDirectory() as profile:
        line = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        # The browser reads its descriptor 3 and writes to 4.
        shell = f'exec "$@" --remote-debugging-pipe 3<&{read} 4>&{write}'
        process = subprocess.Popen(["bash", "-c", shell, "bash", *line], pass_fds=(read, write), stderr=subprocess.DEVNULL)
        for end in (near, far, read, write):
            os.close(end)
        page = Page(to, back)
        try:
            target = page.ask("Target.createTarget", url="about:blank")["targetId"]
            page.session = page.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            yield page
        finally:
            process.terminate()
            process.wait()
            os.close(to)
            os.close(back)


if __name__ == "__main__":
    main()
