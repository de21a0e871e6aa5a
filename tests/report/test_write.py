"""The retrieval report, read back: the right frames on the right pictures, in the right order, everything escaped."""

import base64
import io
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import needs_browser, opened, typed_into
from PIL import Image
from ranked_rooms import COLOURS, IMAGE_IDS, make_query, make_ranking, make_result

from diptych.report.charts import read_curves
from diptych.report.write import write_report


class Page(HTMLParser):
    """The parts of the page that the tests ask about."""

    def __init__(self, text):
        super().__init__()
        self.cards, self.tags, self._inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag == "article":
            self.cards.append({"heading": "", "rank": "", "figures": []})
        elif tag == "figure":
            self.cards[-1]["figures"].append({"css": attributes["class"], "picture": None, "caption": ""})
        elif tag == "img" or (tag == "div" and attributes.get("class") == "missing"):
            self.cards[-1]["figures"][-1].update(picture=attributes.get("src"), alt=attributes.get("alt"))
        if tag in ("h3", "figcaption", "h2") or attributes.get("class") in ("rank", "missing"):
            self._inside = {"figcaption": "caption", "h3": "heading"}.get(tag, attributes.get("class"))

    def handle_endtag(self, tag):
        if tag in ("h3", "figcaption", "span", "div") and not (tag == "span" and self._inside == "caption"):
            self._inside = None

    def handle_data(self, data):
        if self._inside in ("heading", "rank"):
            self.cards[-1][self._inside] += data
        elif self._inside in ("caption", "missing"):
            figure = self.cards[-1]["figures"][-1]
            figure[self._inside] = figure.get(self._inside, "") + data


def colour_of(figure):
    """The mean colour of an embedded picture: which file it was made of."""
    encoded = figure["picture"].removeprefix("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        return np.asarray(image).reshape(-1, 3).mean(axis=0)


def shows(figure, image_id):
    return np.abs(colour_of(figure) - COLOURS[image_id]).max() < 6


def written(tmp_path, ranked, queries, image_paths, **options):
    result = options.pop("result", make_result())
    path = write_report(tmp_path / "report", result, ranked, queries, image_paths, **options)
    return Page(path.read_text(encoding="utf-8"))


def test_frames_stand_on_the_right_pictures(tmp_path, image_paths):
    query = make_query(0, reference="image_05", target="image_07", relevant=("image_09",))
    order = ["image_03", "image_05", "image_09", "image_07", *IMAGE_IDS[10:18]]
    page = written(tmp_path, [make_ranking(0, order, 4)], [query], image_paths)
    figures = page.cards[0]["figures"]
    assert [figure["css"] for figure in figures] == [
        "reference-image",
        "target answer",
        "result",
        "result was-reference",
        "result relevant",
        "result target",
        *["result"] * 4,
    ]
    assert all(shows(figure, name) for figure, name in zip(figures, ["image_05", "image_07", *order[:8]], strict=True))
    assert figures[0]["alt"] == "reference image: image_05"
    assert figures[1]["alt"] == "target image, rank 4: image_07"
    assert figures[5]["alt"] == "result 4, target image: image_07"
    assert figures[5]["caption"].split() == ["4", "target", "0.870", "image_07"]


def test_the_target_stands_beside_the_reference_wherever_it_is_ranked(tmp_path, image_paths):
    order = [name for name in IMAGE_IDS if name != "image_01"][:10]
    page = written(tmp_path, [make_ranking(0, order, 1234)], [make_query(0)], image_paths)
    beside = page.cards[0]["figures"][1]
    assert beside["css"] == "target answer"
    assert shows(beside, "image_01")
    assert beside["alt"] == "target image, rank 1,234: image_01"
    assert page.cards[0]["rank"] == "target at rank 1,234"
    assert len(page.cards[0]["figures"]) == 2 + 8


def test_worst_queries_come_first_and_a_target_outside_the_list_is_worst(tmp_path, image_paths):
    ranks = [3, 17, None, 1, 17]
    queries = [make_query(number, text=f"text {number}") for number in range(5)]
    ranked = [make_ranking(number, IMAGE_IDS[2:12], rank) for number, rank in enumerate(ranks)]
    page = written(tmp_path, list(reversed(ranked)), queries, image_paths)
    assert [card["heading"] for card in page.cards] == ["text 2", "text 1", "text 4", "text 0", "text 3"]
    assert page.cards[0]["rank"] == "target not in the list"


def test_the_page_balances_the_worst_with_a_random_draw_of_others(tmp_path, image_paths):
    queries = [make_query(number, text=f"text {number}") for number in range(30)]
    ranked = [make_ranking(number, IMAGE_IDS[2:12], number + 1) for number in range(30)]
    page = written(tmp_path, ranked, queries, image_paths, max_queries=9)
    shown = [int(card["heading"].split()[1]) for card in page.cards]
    assert shown[:6] == [29, 28, 27, 26, 25, 24]
    assert len(shown) == 9
    assert shown[6:] == sorted(set(shown[6:]) - set(shown[:6]))


def test_everything_foreign_is_escaped(tmp_path, image_paths):
    evil = "<script>alert('x')</script> & \"quoted\""
    query = replace(make_query(0, text=evil, target=evil), query_id=evil, aspects=(evil,))
    ranking = replace(make_ranking(0, [evil, "image_02"], 1), query_id=evil)
    result = make_result(
        experiment=evil, checkpoint=evil, metrics={f"recall_at_1/{evil}": 0.5}, versions={evil: evil}, data=evil
    )
    page = written(tmp_path, [ranking], [query], image_paths, result=result)
    assert page.cards[0]["heading"] == evil
    assert page.cards[0]["figures"][1]["missing"] == page.cards[0]["figures"][2]["missing"] == evil
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [
        {"type": "application/json", "id": "table"},
        {},
    ]
    assert "alert('x')<" not in (tmp_path / "report/index.html").read_text(encoding="utf-8")


def test_the_page_asks_for_nothing_from_outside(tmp_path, image_paths):
    page = written(tmp_path, [make_ranking(0, IMAGE_IDS, 2)], [make_query(0)], image_paths)
    for _, attributes in page.tags:
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
    text = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    assert "http://" not in text
    assert "https://" not in text
    assert "default-src 'none'" in text


def test_missing_damaged_and_refused_pictures_become_grey_tiles(tmp_path, image_paths, caplog):
    image_paths["image_02"].write_bytes(b"not a picture")
    image_paths["image_03"].unlink()
    png = image_paths["image_04"].read_bytes()
    image_paths["image_04"].write_bytes(png[: len(png) // 2])

    def find(image_id):
        if image_id == "../outside":
            raise ValueError("outside the data root")
        return image_paths[image_id]

    order = ["image_02", "image_03", "image_04", "../outside", "unknown", "image_06"]
    page = written(tmp_path, [make_ranking(0, order, None)], [make_query(0)], find)
    figures = page.cards[0]["figures"]
    names = [figure.get("missing") for figure in figures[2:7]]
    assert names == ["image_02.png", "image_03.png", "image_04.png", "../outside", "unknown"]
    assert shows(figures[7], "image_06")
    assert [record.message.split(" ")[0] for record in caplog.records if record.levelname == "WARNING"] == ["5"]


def test_hidden_answers_show_results_without_frames(tmp_path, image_paths):
    queries = [make_query(number, target=None, text=f"text {number}") for number in (2, 0, 1)]
    ranked = [make_ranking(number, ["image_03", "image_00", "image_04"], None) for number in range(3)]
    page = written(tmp_path, ranked, queries, image_paths, result=make_result(metrics={}, intervals={}))
    assert [card["heading"] for card in page.cards] == ["text 2", "text 0", "text 1"]
    for card in page.cards:
        assert [figure["css"] for figure in card["figures"]] == ["reference-image", "result", "result", "result"]
        assert card["rank"] == "answer hidden"
    assert (tmp_path / "report/sheet.jpg").is_file()


def test_a_blank_text_still_has_a_heading(tmp_path, image_paths):
    page = written(tmp_path, [make_ranking(0, IMAGE_IDS, 2)], [make_query(0, text=" ")], image_paths)
    assert page.cards[0]["heading"] == "(no text)"


def test_same_input_same_bytes(tmp_path, image_paths):
    queries = [make_query(number) for number in range(20)]
    ranked = [make_ranking(number, IMAGE_IDS[:10], 1 + number % 7) for number in range(20)]
    for name in ("first", "second"):
        write_report(tmp_path / name, make_result(), ranked, queries, image_paths, max_queries=6)
    for file in ("index.html", "sheet.jpg"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_max_queries_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="max_queries"):
        write_report(tmp_path, make_result(), [], [], {}, max_queries=0)


def test_curves_are_read_from_sparse_rows_and_drawn(tmp_path, image_paths):
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,step,train/loss,val/recall_at_1\n0,0,3.0,\n0,1,nan,\n0,2,2.0,\n0,2,,0.5\n", encoding="utf-8")
    assert read_curves(log, ["train/loss", "val/recall_at_1", "absent"]) == {"train/loss": [(0.0, 3.0), (2.0, 2.0)]}
    page = written(tmp_path, [make_ranking(0, IMAGE_IDS, 2)], [make_query(0)], image_paths, training_curve=log)
    assert [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"] == [
        "recall_at_1 per aspect, in percent",
        "train/loss by step",
    ]


@pytest.mark.processes
@needs_browser
def test_strips_are_reached_by_keyboard_and_the_page_runs_under_its_policy(tmp_path, image_paths):
    queries = [make_query(number, text=f"make it {colour}") for number, colour in enumerate(("red", "blue", "Red too"))]
    ranked = [make_ranking(number, IMAGE_IDS, 2) for number in range(3)]
    page = write_report(tmp_path, make_result(), ranked, queries, image_paths)
    shown = typed_into(
        page,
        """
        type("filter", "RED make");
        const strips = Array.from(document.querySelectorAll(".strip"));
        const reached = strips.map(strip => (strip.focus(), document.activeElement));
        document.title = reached.filter(element => element.className === "strip").length + " strips reached";
        """,
    )
    assert "2 of 3 queries" in shown and "<title>2 strips reached</title>" in shown
    assert 'id="controls" hidden' not in opened(page), "the page's own script runs under its policy"
