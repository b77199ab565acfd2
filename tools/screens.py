"""Pictures of what a user sees, for the docs: the terminal's tables at 80 columns, and a page at
1280 and 400 pixels, light and dark. Needs Chromium.

    python tools/screens.py tables --out docs/pictures/tables.png
    python tools/screens.py page reports/pxp-table-8.html --out docs/pictures/report-published
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

COLUMNS = 80
TABLES = (
    ("list", "models"),
    ("compare", "cifar10-mixture", "--samplers", "ddim; ge; unipc", "--nfe", "5", "--n", "8"),
)
CALL = "from diffdescent.apps.cli.app import main; main()"
WORDS = ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars")


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for word in WORDS:
        options.add_argument(f"--{word}")
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def shot(
    driver: Any, page: Path, width: int, dark: bool, most: int = 1600, at: str = "body"
) -> Image.Image:
    """A page from the element ``at``, at most ``most`` pixels of it. Raises :class:`RuntimeError`
    for one that is wider than the window."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(page.resolve().as_uri())
    wide, high = driver.execute_script(
        "const e = document.documentElement; return [e.scrollWidth, e.scrollHeight]"
    )
    if wide > width:
        raise RuntimeError(f"{page.name} is {wide} pixels wide in a window of {width}.")
    top = driver.execute_script(
        "return document.querySelector(arguments[0]).getBoundingClientRect().top", at
    )
    size["height"] = high
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    clip = {"x": 0, "y": max(0, top), "width": width, "height": min(high - top, most), "scale": 1}
    data = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})["data"]
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def save(image: Image.Image, path: Path) -> None:
    """A small file: 64 colours are enough for text and lines."""
    image.quantize(64).save(path, optimize=True)
    print(f"{path}: {image.width} × {image.height}, {path.stat().st_size // 1024} KiB")


def tables(out: Path) -> None:
    """The program's own output, drawn as a terminal of 80 columns shows it."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for number, words in enumerate(TABLES):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-c", CALL, *words], cwd=folder, text=True, check=True,
                capture_output=True, env={**os.environ, "COLUMNS": str(COLUMNS)},
            )  # fmt: skip
        lines = [one for one in done.stdout.splitlines() if one[1:2] in "─━" or "│" in one]
        if (longest := max(map(cell_len, lines))) > COLUMNS:
            raise RuntimeError(f"A table of {' '.join(words)} is {longest} columns wide.")
        shown = " ".join(f'"{w}"' if " " in w else w for w in words)
        console.print(Text(f"{'' if not number else chr(10)}$ diffdescent {shown}"))
        console.print(Text.from_ansi(done.stdout))
    svg = console.export_svg(title="80 columns")
    with tempfile.TemporaryDirectory() as folder, browser() as driver:
        page = Path(folder) / "tables.html"
        page.write_text(f"<body style='margin: 0'>{svg}", encoding="utf-8")
        save(shot(driver, page, 800, dark=False, most=2400), out)


def pages(page: Path, out: Path, at: str) -> None:
    """Four pictures of one page: OUT-1280.png, OUT-400.png, and both dark."""
    with browser() as driver:
        for width in (1280, 400):
            for dark in (False, True):
                name = f"{out.name}-{width}{'-dark' if dark else ''}.png"
                save(shot(driver, page, width, dark, at=at), out.with_name(name))


def main() -> None:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("tables", "page"))
    parser.add_argument("page", type=Path, nargs="?")
    parser.add_argument("--at", default="body", help="where on the page to begin: a CSS selector")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.what == "tables":
        tables(args.out)
    else:
        pages(args.page, args.out, args.at)


if __name__ == "__main__":
    main()
