"""The studio in a real browser: every tab opened, a comparison run, watched, cancelled and
exported; nothing leaves this machine."""

from __future__ import annotations

import base64
import io
import json
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from .driver import WATCH, Visitor

pytest.importorskip("gradio", reason="the studio needs Gradio")
pytestmark = [pytest.mark.slow]

from gradio.utils import get_upload_folder  # noqa: E402

from diffdescent.apps.studio.models import Models  # noqa: E402
from diffdescent.apps.studio.server import open_page, serve  # noqa: E402
from diffdescent.apps.studio.state import State  # noqa: E402

SAVED = "const save = dd.save; window.saved = {}; dd.save = (data, name) => saved[name] = data;"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    page = open_page(Models())
    yield serve(page, "127.0.0.1", None)
    page.close()


@pytest.fixture(scope="module")
def visitor(address: str) -> Iterator[Visitor]:
    one = Visitor()
    one.open(address)
    yield one
    assert one.errors() == []
    assert one.elsewhere() == []
    one.quit()


def finished(visitor: Visitor) -> bool:
    return visitor.text("#status").startswith("finished")


def test_a_comparison_streams_every_evaluation(visitor: Visitor, address: str) -> None:
    visitor.open(f"{address}?converged=16")
    visitor.js(WATCH)
    visitor.click("#run")
    visitor.wait(lambda: finished(visitor))
    visitor.js("watching.disconnect()")
    for lane, seen in visitor.js("return window.seen").items():
        assert [caption for caption, _ in seen] == [f"evaluation {k} of 8" for k in range(1, 9)]
        assert len({source for _, source in seen}) == 8, lane
    for i in range(1, 5):
        assert "RMSE 0." in visitor.text(f"#lane{i} figcaption")
    assert visitor.text("#status").endswith("nearest to the converged solution")


def test_the_slider_runs_back_through_the_trajectory(visitor: Visitor) -> None:
    assert visitor.text("#lane1 .dd-where") == "8 evaluations"
    visitor.js("dd.scrub(0)")
    assert visitor.text("#lane1 .dd-where") == "x̂0 after 1 of 8"
    shown = "return [...document.querySelectorAll('#lane1 img')].filter(i => !i.hidden).length"
    assert visitor.js(shown) == 1
    visitor.write("#trajectory input[type=number]", "0.5\t")
    visitor.wait(lambda: visitor.text("#lane1 .dd-where") == "x̂0 after 5 of 8")


def test_exports_and_texts(visitor: Visitor) -> None:
    visitor.js(SAVED)
    for button in ("#png", "#json", "#gif"):
        visitor.click(button)
    saved = visitor.wait(lambda: (s := visitor.js("return saved")) and len(s) == 3 and s)
    bodies = {name: base64.b64decode(data.partition(",")[2]) for name, data in saved.items()}
    assert Image.open(io.BytesIO(bodies["comparison.png"])).format == "PNG"
    assert Image.open(io.BytesIO(bodies["trajectories.gif"])).n_frames == 9
    record = json.loads(bodies["comparison.json"])
    assert len(record["lanes"]) == 4
    assert record["lanes"][0]["record"]["recipe"] == "ddim"
    visitor.click("#copy1 button")
    command = "return document.querySelector('#command-text1 textarea').value"
    assert "--sampler ddim --steps 8" in visitor.wait(lambda: visitor.js(command))


def test_mistakes_are_answered_next_to_the_control(visitor: Visitor) -> None:
    visitor.write("#recipe1 textarea", "ddim | nope\t")
    visitor.wait(lambda: "Unknown sampler or transform 'nope'" in visitor.text("#problem-recipe1"))
    visitor.write("#recipe1 textarea", "ddim\t")
    visitor.wait(lambda: visitor.text("#problem-recipe1 .dd-mistake") == "")
    visitor.write("#budget input", "1000000")
    visitor.click("#run")
    sentence = (
        "1000000 steps are more than the 1000 the model was trained on; ask for at most 1000."
    )
    visitor.wait(lambda: sentence in visitor.text("#problem-budget"))
    visitor.write("#budget input", "8")


def test_controls_write_the_recipe_and_the_address(visitor: Visitor) -> None:
    visitor.write("#beta1 input[type=number]", "0.2\t")
    recipe = "return document.querySelector('#recipe1 textarea').value"
    visitor.wait(lambda: visitor.js(recipe) == "ddim | momentum(beta=0.2)")
    visitor.wait(
        lambda: (
            State.of_query(urlsplit(visitor.driver.current_url).query).lanes[0].recipe
            == "ddim | momentum(beta=0.2)"
        )
    )
    visitor.click("#options1 button")
    visitor.wait(lambda: "momentum: warm_start" in visitor.text("#options1"))


def test_a_run_is_cancelled_at_once(visitor: Visitor) -> None:
    visitor.write("#budget input", "400")
    visitor.wait(lambda: "budget=400" in visitor.driver.current_url)
    visitor.click("#run")
    visitor.wait(lambda: "of 400" in visitor.text("#lane1"))
    begun = time.monotonic()
    visitor.click("#cancel")
    visitor.wait(lambda: visitor.text("#status") == "cancelled")
    assert time.monotonic() - begun < 20  # a second, unless the machine is busy
    stood = visitor.text("#lane1")
    time.sleep(2)
    assert visitor.text("#lane1") == stood
    assert visitor.text("#status") == "cancelled"
    visitor.write("#budget input", "8")


def test_the_other_tabs(visitor: Visitor, address: str) -> None:
    visitor.open(
        f"{address}?converged=16&images=1&budget=3&scene.around=2&scene.reference=5"
        "&sweep.xs=0,0.2&sweep.ys=1:2:2&restore.evaluations=4&restore.samples=2"
    )
    visitor.tab("Read")
    visitor.wait(lambda: "E-step: the estimate of the gradient" in visitor.text("#reading"))
    assert "admissible with η = 0.06 and ν = 4" in visitor.text("#reading")
    visitor.tab("X/Y")
    visitor.click("#sweep-run")
    visitor.wait(lambda: visitor.js("return !!document.querySelector('#sweep-heat img')"))
    assert visitor.js("return document.querySelectorAll('#sweep-cells img').length") == 4
    visitor.js(SAVED)
    visitor.click("#study")
    visitor.wait(lambda: "sweep.yaml" in visitor.js("return saved"))
    visitor.tab("Landscape")
    visitor.click("#draw")
    visitor.wait(lambda: visitor.js("return !!document.querySelector('#scene img')"))
    assert "RMSE" in visitor.text("#scene-status")
    visitor.tab("Restore")
    visitor.click("#restore")
    visitor.wait(lambda: visitor.text("#restore-status") == "finished")
    assert "dB" in visitor.text("#restored")
    assert visitor.js("return document.querySelectorAll('#restored img').length") == 4


def test_uploads(visitor: Visitor, address: str, tmp_path: Path) -> None:
    """A picture is taken; what is not one is answered next to the field; nothing is left of it."""
    visitor.open(f"{address}?tab=restore&restore.evaluations=3&restore.samples=1")
    problem = "#problem-upload .dd-mistake"

    def give(name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        visitor.find("#upload input[type=file]").send_keys(str(tmp_path / name))

    give("photo.png", pickle.dumps({"a": 1}))
    sentence = (
        "The image photo.png cannot be decoded (it is not an image); give a PNG or JPEG file."
    )
    visitor.wait(lambda: visitor.text(problem) == sentence)
    give("empty.jpg", b"")
    visitor.wait(lambda: "empty.jpg cannot be decoded (it is empty)" in visitor.text(problem))
    give("large.png", bytes(8_400_000))
    said = "return document.querySelector('#problem-size .dd-mistake:not([hidden])')?.textContent"
    visitor.wait(lambda: visitor.js(said) == "The picture has 8.4 MB; at most 8 MB are taken.")
    buffer = io.BytesIO()
    Image.effect_noise((300, 200), 80).convert("RGB").save(buffer, "JPEG")
    give("photo.jpg", buffer.getvalue())
    visitor.wait(lambda: "the picture, cut to the model's size" in visitor.text("#restored"))
    assert visitor.text(problem) == ""
    assert visitor.js(said) is None
    mine = visitor.js("return document.querySelector('#restored img').src")
    visitor.click("#restore")
    visitor.wait(lambda: visitor.text("#restore-status") == "finished")
    assert visitor.js("return document.querySelector('#restored img').src") == mine
    given = {path.name for path in tmp_path.iterdir()}
    assert len(given) == 4
    assert not [path for path in Path(get_upload_folder()).rglob("*") if path.name in given]


def test_a_view_can_be_sent(visitor: Visitor, address: str) -> None:
    """An address with recipes is run at once, in another window, with the same images."""
    visitor.open(f"{address}?recipe1=ge&grid1=loglinear&budget1=4&seed=3&images=1&converged=0")
    visitor.wait(lambda: finished(visitor))
    source = "return document.querySelector('#lane1 img:not([hidden])').src"
    mine, other = visitor.js(source), Visitor(400, 900)
    try:
        other.open(visitor.driver.current_url)
        other.wait(lambda: finished(other))
        assert other.js(source) == mine
        assert other.js("return document.documentElement.scrollWidth <= window.innerWidth + 1")
        assert other.errors() == []
    finally:
        other.quit()


def test_a_second_visitor_disturbs_nothing(visitor: Visitor, address: str) -> None:
    """Runs take turns; each window shows its own, whole."""
    other = Visitor(400, 900)
    try:
        other.open(f"{address}?images=1&converged=0&budget=4&seed=5")
        visitor.open(f"{address}?budget=60&converged=16")
        visitor.js(WATCH)
        visitor.click("#run")
        visitor.wait(lambda: visitor.text("#status"))
        other.click("#run")
        other.wait(lambda: finished(other))
        assert finished(visitor)
        visitor.js("watching.disconnect()")
        for seen in visitor.js("return window.seen").values():
            assert [text for text, _ in seen] == [f"evaluation {k} of 60" for k in range(1, 61)]
        assert visitor.text("#lane1 .dd-where") == "60 evaluations"
        assert other.text("#lane1 .dd-where") == "4 evaluations"
        assert other.errors() == []
    finally:
        other.quit()
