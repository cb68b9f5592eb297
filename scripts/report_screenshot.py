"""Take the picture of a report for the documentation: its head, and some of its figures below.

Needs Playwright, which is no dependency of the project, and a Chromium (Playwright's own, or one that is installed)::

    pip install playwright && playwright install chromium
    python scripts/report_screenshot.py REPORT/report.html --figures features-heatmap profiles-umap
"""

from __future__ import annotations

import argparse
import io
import math
from pathlib import Path

from PIL import Image

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "evaluate-report.png"
PATIENCE = 600
"""Seconds that a busy machine may take to draw all figures."""

DRAWN = "[...document.querySelectorAll('.panel > div')].every(target => target.querySelector('.main-svg'))"

HEAD = "document.querySelector('main section:not(#head)').getBoundingClientRect().top + window.scrollY"
"""Where the head ends: above the first level."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--figures", nargs="*", default=[], help="ids of figures to show below the head, as in the page's links")
    parser.add_argument("--theme", default="light", choices=("light", "dark"))
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--browser", help="a Chromium that is installed; Playwright's own if left out")
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
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=options.browser)
        context = browser.new_context(color_scheme=options.theme, viewport={"width": options.width, "height": 900}, offline=True)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(options.report.resolve().as_uri())
        for _ in range(PATIENCE):
            if page.evaluate(DRAWN):
                break
            page.wait_for_timeout(1000)
        page.set_viewport_size({"width": options.width, "height": math.floor(page.evaluate(HEAD))})
        taken = [page.screenshot()]
        taken += [page.locator(f"[id='{name}']").screenshot() for name in options.figures]
        browser.close()
        return taken


if __name__ == "__main__":
    main()
