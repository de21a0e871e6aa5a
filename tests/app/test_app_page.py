"""`diptych app` in a browser, used as a person would: by its buttons, with pictures dropped and texts typed."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

import diptych
import patience
from diptych.synthetic.newsroom.source import Newsroom
from tiny_sets import TINY_NEWS
from working_folder import WorkingFolder

pytest.importorskip("gradio", reason="no gradio (the extra `app`)")
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright to drive a browser with")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium to open the page with"),
]
TEXT = "The mayor opened the bridge on Monday. It cost 12 million. Ferries no longer run."


@pytest.fixture(scope="module")
def app(work, photos, rooms_run, good4cir_run, newsroom_run):
    """The command with two models beside each other and a captioner, from its start to Ctrl-C; its address."""
    models = [f"ckpt={rooms_run}", f"compare={good4cir_run}", f"images={photos}", f"captioner={newsroom_run}"]
    place = WorkingFolder(work)
    dropped = work / "temporary"
    dropped.mkdir()
    place.environment |= {"TMPDIR": str(dropped), "NO_PROXY": "127.0.0.1", "CUDA_VISIBLE_DEVICES": ""}
    started = place.start("diptych", "app", *models, "device=cpu")
    process = started.process
    try:
        patience.wait_until(lambda: "until Ctrl-C" in started.output or process.poll() is not None)
        address = re.search(r"http://127\.0\.0\.1:\d+/", started.output)
        assert address, started.output
        yield address[0]
    finally:
        process.send_signal(signal.SIGINT)
        said = started.ends()
    assert "Traceback" not in said
    assert not list(dropped.glob("diptych_app_*"))  # nothing of what was dropped stays


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(app, browser):
    """The page as it was loaded; at its end, whether it asked anything of another machine, or failed."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(1000 * patience.SECONDS)
    asked, failed = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(app)
    page.wait_for_selector("#drop input[type=file]", state="attached")
    yield page
    page.close()
    assert [url for url in asked if not url.startswith((app, "data:", "blob:"))] == [] == failed


def drop(page, where, file):
    page.set_input_files(f"{where} input[type=file]", str(file))


def ask(page, text, round_number):
    page.fill("#change textarea", text)
    page.click("#search")
    page.wait_for_selector(f"#history button[data-round='{round_number}']")


def shown(page, model, kind="best"):
    """The ids of the results of the first or second model."""
    tiles = page.query_selector_all(f"#results .model:nth-child({model}) .tiles.{kind} .tile")
    return [tile.get_attribute("data-image") for tile in tiles]


def test_a_search_of_three_rounds(page, photos, rooms_run, good4cir_run, tmp_path):
    drop(page, "#drop", shutil.copy(photos / "green.png", tmp_path / "mine.png"))
    page.wait_for_selector("#asked >> text=mine.png")
    ask(page, "make it red", 1)
    for model, run in ((1, rooms_run), (2, good4cir_run)):
        retriever = diptych.load_retriever(run, "cpu")
        retriever.index(photos, show_progress=False)
        found = retriever.search(photos / "green.png", "make it red")
        assert shown(page, model) == [each.image_id for each in found]
        score = page.inner_text(f"#results .model:nth-child({model}) .tiles.best .tile:nth-child(1) .score")
        assert score == f"1 {found[0].score:.3f}"
        if retriever.searches_halves:
            halves = [retriever.search(photos / "green.png"), retriever.search(text="make it red")]
            assert shown(page, model, "half") == [each.image_id for half in halves for each in half]
    first, second = shown(page, 1), shown(page, 1)[1]
    page.click("#results .model:nth-child(1) .tiles.best .tile:nth-child(2)")
    page.wait_for_selector(f"#asked >> text={second}")
    page.wait_for_function("document.activeElement === document.querySelector('#change textarea')")
    ask(page, "and darker", 2)
    assert second not in shown(page, 1)  # it would be its own nearest
    page.click("#results .model:nth-child(2) .tiles.best .tile:nth-child(1)")
    page.wait_for_selector("#search-message >> text=Round 3")
    ask(page, "and larger", 3)
    page.click("#history button[data-round='1']")
    page.wait_for_selector("#history button[data-round='2']", state="detached")
    assert shown(page, 1) == first and page.input_value("#change textarea") == "make it red"
    page.click("#reset")
    page.wait_for_selector("#history button", state="detached")
    assert shown(page, 1) == [] and "by the text alone" in page.inner_text("#asked")


def test_one_of_the_gallery_and_a_text_alone(page):
    page.click("#choose button")
    page.fill("#choose input, #choose textarea", "purp")
    page.wait_for_selector("#gallery >> text=1 of 1 with this in the name")
    page.click("#gallery .tile")
    page.wait_for_selector("#asked >> text=purple.png")
    page.click("#reset")
    page.wait_for_selector("#asked >> text=by the text alone")
    ask(page, "a white room", 1)
    assert len(shown(page, 1)) == len(shown(page, 2)) == 10
    assert "By the text alone" in page.inner_text("#results")


def test_what_cannot_be_taken_is_said_in_a_sentence(page, tmp_path):
    page.click("#search")
    page.wait_for_selector("#search-message .error >> text=drop a picture, type a text, or both")
    (tmp_path / "words.png").write_text("no picture")
    drop(page, "#drop", tmp_path / "words.png")
    page.wait_for_selector("#search-message .error >> text=words.png is not a readable image")
    (tmp_path / "notes.txt").write_text("no picture")
    drop(page, "#drop", tmp_path / "notes.txt")
    page.wait_for_selector("text=Invalid file type: notes.txt")
    os.truncate(tmp_path / "words.png", 20 * 2**20 + 1)
    drop(page, "#drop", tmp_path / "words.png")
    page.wait_for_selector("text=exceed the maximum allowed size")
    assert str(tmp_path) not in page.inner_text("body") and "Traceback" not in page.inner_text("body")


def test_a_caption_with_its_evidence(page, work, newsroom_run, tmp_path):
    newsroom = Newsroom(work / "data/newsroom", TINY_NEWS)
    photo = Path(newsroom.image_path("test", newsroom.queries("test")[0].query_id))
    page.click("text=Captions")
    page.click("#write")
    page.wait_for_selector("#caption-message .error >> text=Drop a photo first")
    drop(page, "#drop-photo", photo)
    page.wait_for_selector("#photo img")
    page.fill("#article textarea", TEXT)
    page.click("#write")
    page.wait_for_selector("#caption .caption")
    written = diptych.load_captioner(newsroom_run, "cpu").caption(photo, TEXT, "")
    assert page.text_content("#caption .fused") == (written.text or "(empty)")
    assert page.inner_text("#caption .text mark") == TEXT
    (tmp_path / "bridge.txt").write_text(TEXT)
    drop(page, "#drop-article", tmp_path / "bridge.txt")
    page.wait_for_selector("#drop-article >> text=bridge")
    page.click("#write")
    page.wait_for_selector("#caption-message .error >> text=There are two articles")
