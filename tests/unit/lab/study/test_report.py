"""The report: complete, in one file, and without an error in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diffdescent.apps.cli.terminal import console
from diffdescent.lab.study import Results, execute, html, markdown, terminal
from diffdescent.lab.study.paired import PairedEstimate
from diffdescent.lab.study.report.ranking import ranked_table
from tests.chromium import chromium
from tests.unit.lab.study.conftest import Make

PUBLISHED = {
    "table": "Table 7 <b>",
    "metric": "rmse",
    "by": "nfe",
    "columns": [4, 8],
    "rows": [
        {"name": "DDIM", "cells": {"sampler": "ddim"}, "values": [3.0, 2.0]},
        {"name": "GE", "cells": {"sampler": "ge"}, "values": [1.0, 1.5]},
        {"name": "someone else's", "values": [9.0, None]},
    ],
}


@pytest.fixture(scope="module")
def results(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Results:
    config = make(
        title="A <test> study",
        samplers=["ddim", "ge", "ddim | momentum({beta})", "heun @ quadratic"],
        parameters={"beta": [-0.3, 0, 0.2]},
        published=[PUBLISHED],
    )
    return execute(config, tmp_path_factory.mktemp("report") / "out")


def test_the_page_needs_no_network(results: Results) -> None:
    page = (results.study.out / "report.html").read_text()
    assert page == html(results)
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(s.startswith(("data:", "#")) for s in sources)
    assert not re.search(r"https?://(?!www\.w3\.org)|@import|url\(", page)
    assert "A &lt;test&gt; study" in page
    assert "<test>" not in page


def test_everything_is_on_the_page(results: Results) -> None:
    page = (results.study.out / "report.html").read_text()
    for cell in results.study.cells:
        assert cell.sampler in page
    assert "7 of 8" in page  # heun
    assert "heun on quadratic cannot use exactly 8 evaluations; it uses 7." in page
    assert page.count("<figure>") == 3  # curves, sweep over β, β × evaluations
    assert page.count("image/svg+xml") == 6  # each with its panels side by side, and in a column
    # All samplers of a budget stand together, whatever their grids.
    assert re.findall(r"<summary><strong>([^<]*)", page) == ["4 evaluations", "8 evaluations"]
    assert "heun, quadratic</div>" in page
    assert page.count("image/png") == len(results.lines)
    for part in (
        "Table 7",
        "someone else&#39;s",
        results.study.protocol_hash,
        "diffdescent compare",
        "GE better than DDIM",
        "Ours: RMSE to the exact solution.",
    ):
        assert part in page


def test_the_same_study_gives_the_same_page(results: Results) -> None:
    assert html(results) == html(results)


def test_markdown(results: Results) -> None:
    text = markdown(results)
    table = [
        line for line in text.splitlines() if line.startswith("| 4 |") or line.startswith("| 8 |")
    ]
    assert len(table) == len(results.lines)
    assert "ddim \\| momentum(-0.3)" in text
    assert "published orderings" in text
    assert text.count("diffdescent compare") == len(results.lines)


def test_a_cells_command_makes_that_cell(results: Results) -> None:
    import shlex

    line = next(
        line for line in results.lines if "momentum(0.2)" in line.title and line.budget == 8
    )
    words = shlex.split(line.command)
    assert words[:2] == ["diffdescent", "compare"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert (options["--samplers"], options["--nfe"], options["--n"]) == (
        "ddim | momentum(0.2)",
        "8",
        "12",
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = chromium()
    yield found
    found.quit()


def test_in_a_browser(results: Results, browser: Any) -> None:
    browser.get((results.study.out / "report.html").resolve().as_uri())
    assert browser.title == "A <test> study"
    rows = browser.find_elements("css selector", "#ranking tbody tr")
    assert len(rows) == len(results.lines)
    broken = (
        "return [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt)"
    )
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script(broken) == []
    titles = browser.find_elements("css selector", "#ranking th button")
    column = [t.text for t in titles].index("RMSE to the exact solution ↓")
    titles[column].click()
    keys = browser.execute_script(
        "return [...document.querySelectorAll('#ranking tbody tr')].map(r =>"
        " +r.cells[arguments[0]].dataset.key)",
        column,
    )
    assert keys == sorted(keys)
    titles[column].click()
    head = browser.find_elements("css selector", "#ranking th")[column]
    assert head.get_attribute("aria-sort") == "descending"
    assert browser.execute_script(
        "return document.documentElement.scrollWidth <= window.innerWidth + 1"
    )
    assert [
        entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
    ] == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_cut_off(results: Results, browser: Any, width: int, theme: str) -> None:
    """Every table, picture and command lies within the page, at its width and on a phone's."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        browser.get((results.study.out / "report.html").resolve().as_uri())
        browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        outside = browser.execute_script(
            "return [...document.querySelectorAll('main *, header *')].filter(e => {"
            " const box = e.getBoundingClientRect();"
            " return box.width && (box.right > innerWidth + 1 || box.left < -1); }"
            ").map(e => e.outerHTML.slice(0, 80))"
        )
        assert outside == []
        scrolled = browser.execute_script(
            "return [...document.querySelectorAll('.wide, .sheet, pre')].filter(e =>"
            " e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 80))"
        )
        assert scrolled == []
        labels = browser.execute_script(
            "return [...document.querySelectorAll('#ranking tbody tr')].map(row =>"
            " [...row.cells].map(cell => getComputedStyle(cell, '::before').content))"
        )
        if width == 400:  # each row is a card, which names its numbers
            assert all("RMSE" in " ".join(row) for row in labels)
            heads = browser.execute_script(
                "return [...document.querySelectorAll('table.cards th[scope=row]')].map(head =>"
                " [getComputedStyle(head).textAlign, getComputedStyle(head, '::before').content])"
            )
            assert heads, "a table with names of rows is one of cards"
            assert all(head == ["left", "none"] for head in heads)
        else:
            assert all(name in ("none", "normal") for row in labels for name in row)
        page = "return getComputedStyle(document.body).backgroundColor"
        dark = sum(map(int, re.findall(r"\d+", browser.execute_script(page))[:3])) < 150
        assert dark == (theme == "dark")
        shown = browser.execute_script(
            "return [...document.querySelectorAll('figure img')].map(i =>"
            " i.naturalWidth / i.naturalHeight)"
        )
        assert min(shown) < 1.1 if width == 400 else max(shown) > 1.3, "the form for this width"
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_legend_is_whole() -> None:
    """Names longer than the figure are broken into lines that lie inside it."""
    import matplotlib.pyplot as plt

    from diffdescent.lab.study import drawing

    name = "ddim | momentum(beta=-0.3, warm_start=true, coords=normalised, noise=outside) | " * 2
    seen: list[bool] = []
    original = drawing._svg

    def look(figure: Any, plotter: Any) -> bytes:
        figure.canvas.draw()
        for legend in figure.legends:
            box = legend.get_window_extent()
            seen.append(box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0)
        return original(figure, plotter)

    lines = [_line(name + "one", 5, 0.4), _line(name + "one", 10, 0.2), _line("ddim", 5, 0.3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "_svg", look)
        for most in (1, 3):
            drawing.draw_series(
                {"uniform": lines}, "rmse", lambda line: PairedEstimate(line.budget), ["sampler"],
                "network evaluations", most=most,
            )  # fmt: skip
    assert seen == [True, True]
    plt.close("all")


def _line(sampler: str, nfe: int, value: float) -> Any:
    return SimpleNamespace(
        columns={"sampler": sampler, "nfe": nfe},
        budget=nfe,
        metrics={"rmse": PairedEstimate(value)},
    )


def test_a_narrow_terminal_keeps_the_scores(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ranked_table(results)
    place = [column.title for column in table.columns].index("RMSE to the exact solution ↓")
    console(width=80).print(terminal(results))
    text = capsys.readouterr().out
    assert all(row[place].text in text for row in table.rows)
    assert "Not shown in 80 columns: FLOPs/image, s/image, Steps" in text


def test_a_cell_that_lacks_the_first_metric_is_in_the_table(make: Make, tmp_path: Path) -> None:
    """As one without labels lacks the share of the class asked for."""
    results = execute(make(nfe=[4], metrics=["swd", "rmse"]), tmp_path / "out")
    first, second = results.lines
    metrics = {key: value for key, value in second.metrics.items() if key != "swd"}
    found = replace(results, lines=(first, replace(second, metrics=metrics)))
    ranks = [row[1].text for row in ranked_table(found).rows]
    assert ranks == ["1", "–"]
