"""The retrieval report, read back: the right frames on the right pictures, in the right order, everything escaped."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from diptych.contracts.retrieval import Query, RankedQuery
from diptych.report.cards import build_card, choose_queries, pair_with_queries
from diptych.report.charts import Bar, bar_chart, read_curves
from diptych.report.pictures import THUMBNAIL_SIZE, Thumbnails
from diptych.report.sheet import NUM_RESULTS, _font, draw_sheet, headline, wrap_text
from diptych.report.write import write_report

IMAGE_IDS = [f"image_{number:02d}" for number in range(20)]
COLOURS = {name: (12 * place, 255 - 12 * place, (90 * place) % 256) for place, name in enumerate(IMAGE_IDS)}


def make_query(number, reference="image_00", target="image_01", text="make it red", relevant=()):
    aspects = (f"changes_{number % 2 + 1}",)
    return Query(f"q{number}", reference, text, target, (target, *relevant) if target else (), aspects=aspects)


def make_ranking(number, ranked_ids, target_rank):
    scores = tuple(0.9 - 0.01 * place for place in range(len(ranked_ids)))
    ranks = () if target_rank is None else (target_rank,)
    return RankedQuery(f"q{number}", tuple(ranked_ids), scores, target_rank, ranks, 1)


def make_result(**changes):
    metrics = {
        "recall_at_1": 0.7234,
        "median_rank": 2.0,
        "image_only/recall_at_1": 0.25,
        "sum/recall_at_1": 0.5,
        "recall_at_1/changes_1": 0.8,
        "recall_at_1/changes_2": 0.6,
    }
    protocol = {
        "name": "rooms",
        "version": 1,
        "gallery": "test images",
        "exclude_reference": False,
        "text_template": "{text}",
        "caption_joining": "first",
        "primary_metric": "recall_at_1",
        "partial": None,
    }
    result = {
        "experiment": "cir_rooms",
        "data": "rooms",
        "split": "test",
        "protocol": protocol,
        "checkpoint": "runs/a/best.ckpt",
        "seed": 3,
        "world_size": 1,
        "queries": {"scored": 3, "expected": 3},
        "gallery": {"size": 20, "sha256": "ab" * 32},
        "versions": {"torch": "2"},
        "metrics": metrics,
        "intervals": {"recall_at_1": [0.68, 0.761], "recall_at_1/changes_1": [0.7, 0.9]},
    }
    return {**result, **changes}


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


@pytest.fixture
def image_paths(tmp_path):
    paths = {name: tmp_path / "pictures" / f"{name}.png" for name in IMAGE_IDS}
    (tmp_path / "pictures").mkdir()
    for name, path in paths.items():
        Image.new("RGB", (40, 30), COLOURS[name]).save(path)
    return paths


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
        "result",
        "result was-reference",
        "result relevant",
        "result target",
        *["result"] * 4,
    ]
    assert all(shows(figure, name) for figure, name in zip(figures, ["image_05", *order[:8]], strict=True))
    assert figures[0]["alt"] == "reference image: image_05"
    assert figures[4]["alt"] == "result 4, target image: image_07"
    assert figures[4]["caption"].split() == ["4", "target", "0.870", "image_07"]


def test_a_target_beyond_the_shown_results_stands_at_the_right(tmp_path, image_paths):
    order = [name for name in IMAGE_IDS if name != "image_01"][:10]
    page = written(tmp_path, [make_ranking(0, order, 1234)], [make_query(0)], image_paths)
    last = page.cards[0]["figures"][-1]
    assert last["css"] == "target answer"
    assert shows(last, "image_01")
    assert last["alt"] == "target image, rank 1,234: image_01"
    assert page.cards[0]["rank"] == "target at rank 1,234"
    assert len(page.cards[0]["figures"]) == 1 + 8 + 1


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


def test_choosing_never_takes_a_query_twice_and_has_a_fixed_seed():
    pairs = [(make_ranking(n, IMAGE_IDS, 1 + n % 5), make_query(n)) for n in range(25)]
    worst, drawn = choose_queries(pairs, num_worst=6, num_random=50)
    assert {query.query_id for _, query in worst + drawn} == {f"q{n}" for n in range(25)}
    assert [query.query_id for _, query in worst] == ["q4", "q9", "q14", "q19", "q24", "q3"]
    assert choose_queries(pairs, 6, 6) == choose_queries(pairs, 6, 6)


def test_everything_foreign_is_escaped(tmp_path, image_paths):
    evil = "<script>alert('x')</script> & \"quoted\""
    query = replace(make_query(0, text=evil, target=evil), query_id=evil, aspects=(evil,))
    ranking = replace(make_ranking(0, [evil, "image_02"], 1), query_id=evil)
    result = make_result(
        experiment=evil, checkpoint=evil, metrics={f"recall_at_1/{evil}": 0.5}, versions={evil: evil}, data=evil
    )
    page = written(tmp_path, [ranking], [query], image_paths, result=result)
    assert page.cards[0]["heading"] == evil
    assert page.cards[0]["figures"][1]["missing"] == evil
    assert sum(tag == "script" for tag, _ in page.tags) == 1
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


def test_metrics_are_shown_in_percent_beside_the_baselines(tmp_path, image_paths):
    written(tmp_path, [make_ranking(0, IMAGE_IDS, 2)], [make_query(0)], image_paths)
    text = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    row = re.search(r'<tr><th scope="row">recall_at_1</th>(.*?)</tr>', text).group(1)
    assert re.findall(r"[\d.]+(?=<)", row) == ["72.34", "50.00", "25.00"]
    assert "<small>[68.0, 76.1]</small>" in row
    rank_row = re.search(r'<tr><th scope="row">median_rank</th>(.*?)</tr>', text).group(1)
    assert re.findall(r">([^<]*)</td>", rank_row) == ["2.0", "", ""]
    assert '<h2 id="aspects">Recall by number of changes</h2>' in text
    assert re.search(r'<th scope="row">1 change</th><td>1</td><td class="model">80.00<small>\[70.0, 90.0\]', text)
    assert re.search(r'<th scope="row">2 changes</th><td>0</td><td class="model">60.00</td>', text)


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
    names = [figure.get("missing") for figure in figures[1:6]]
    assert names == ["image_02.png", "image_03.png", "image_04.png", "../outside", "unknown"]
    assert shows(figures[6], "image_06")
    assert [record.message.split(" ")[0] for record in caplog.records if record.levelname == "WARNING"] == ["5"]


def test_hidden_answers_show_results_without_frames(tmp_path, image_paths):
    queries = [make_query(number, target=None, text=f"text {number}") for number in (2, 0, 1)]
    ranked = [make_ranking(number, ["image_03", "image_00", "image_04"], None) for number in range(3)]
    page = written(tmp_path, ranked, queries, image_paths, result=make_result(metrics={}, intervals={}))
    assert [card["heading"] for card in page.cards] == ["text 2", "text 0", "text 1"]
    for card in page.cards:
        assert [figure["css"] for figure in card["figures"]] == ["reference-image", "result", "result", "result"]
        assert card["rank"] == "answer hidden"
    assert (tmp_path / "report/sheet.png").is_file()


def test_a_blank_text_still_has_a_heading(tmp_path, image_paths):
    page = written(tmp_path, [make_ranking(0, IMAGE_IDS, 2)], [make_query(0, text=" ")], image_paths)
    assert page.cards[0]["heading"] == "(no text)"


def test_same_input_same_bytes(tmp_path, image_paths):
    queries = [make_query(number) for number in range(20)]
    ranked = [make_ranking(number, IMAGE_IDS[:10], 1 + number % 7) for number in range(20)]
    for name in ("first", "second"):
        write_report(tmp_path / name, make_result(), ranked, queries, image_paths, max_queries=6)
    for file in ("index.html", "sheet.png"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_a_ranking_of_an_unknown_query_is_refused():
    with pytest.raises(ValueError, match="'q7'"):
        pair_with_queries([make_ranking(7, IMAGE_IDS, 1)], [make_query(0)])


def test_max_queries_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="max_queries"):
        write_report(tmp_path, make_result(), [], [], {}, max_queries=0)


def test_thumbnails_are_small_upright_and_rgb(tmp_path):
    pixels = np.zeros((400, 600, 3), dtype=np.uint8)
    pixels[:, :300] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees: the left half is up
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    image = Thumbnails().load(tmp_path / "turned.jpg")
    assert image.size == (round(THUMBNAIL_SIZE * 400 / 600), THUMBNAIL_SIZE)
    assert image.getpixel((50, 20))[0] > 240
    assert image.getpixel((50, 140))[0] < 15
    deep = np.full((8, 8), 128 * 256, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert Thumbnails().load(tmp_path / "deep.png").getpixel((4, 4)) == (128, 128, 128)


def sheet_of(card, thumbnails):
    return draw_sheet(make_result(), [("Worst queries", [card]), ("Empty", [])], thumbnails)


def test_the_sheet_frames_results_and_target(image_paths):
    query = make_query(0, reference="image_05", target="image_07", relevant=("image_09",))
    order = ["image_03", "image_05", "image_09", "image_07", "image_11", "image_12"]
    card = build_card((make_ranking(0, order, 4), query), image_paths.get, NUM_RESULTS)
    sheet = sheet_of(card, Thumbnails())
    top, tile, left, text = 130 + 36, 150, 24, 270
    corners = [left + 160 + text + 10 + 160 * place for place in range(6)]
    frames = [sheet.getpixel((x + 2, top + 75)) for x in (left, *corners, sheet.width - 24 - tile)]
    empty, grey, green = (0xDF, 0xE3, 0xE9), (0x8B, 0x95, 0xA3), (0x15, 0xA3, 0x4A)
    assert frames == [(0x25, 0x63, 0xEB), empty, grey, (0x8F, 0xD3, 0xA8), green, empty, empty, green]
    centres = [sheet.getpixel((x + 75, top + 75)) for x in (left, *corners, sheet.width - 24 - tile)]
    assert centres == [COLOURS[name] for name in ("image_05", *order, "image_07")]


def test_the_sheet_shows_a_missing_picture_as_a_grey_tile(tmp_path):
    card = build_card((make_ranking(0, ["gone"], None), make_query(0)), lambda name: tmp_path / name, NUM_RESULTS)
    sheet = sheet_of(card, Thumbnails())
    assert sheet.getpixel((24 + 20, 130 + 36 + 20)) == (0xDF, 0xE3, 0xE9)


def test_the_headline_has_the_primary_metric_with_baselines():
    expected = "recall_at_1 in %: model 72.34 [68.0, 76.1], sum 50.00, image only 25.00 · 3 queries, 20 gallery images"
    assert headline(make_result()) == expected
    assert headline(make_result(metrics={})) == "3 queries, 20 gallery images"


def test_wrapped_text_fits_and_a_cut_is_marked():
    font = _font(15)
    text = "a_very_long_file_name_without_any_space_in_it_0001.jpg and then some ordinary words " * 3
    whole = wrap_text(text, font, 120, max_lines=100)
    assert all(font.getlength(line) <= 120 for line in whole)
    assert "".join(whole).replace(" ", "") == text.replace(" ", "")
    cut = wrap_text(text, font, 120, max_lines=3)
    assert len(cut) == 3
    assert cut[:2] == whole[:2]
    assert cut[2].endswith("…")
    assert font.getlength(cut[2]) <= 120
    assert wrap_text("", font, 120, max_lines=3) == []


def test_bars_are_as_long_as_their_percent():
    chart = bar_chart("recall", [("a <b>", [Bar("model", 50.0, (40.0, 60.0)), Bar("sum", float("nan"))])])
    assert re.findall(r'<rect class="(\w+)" [^>]*width="([\d.]+)"', chart) == [("model", "210.0")]
    assert "a &lt;b&gt;" in chart
    low, high = re.search(r'class="whisker" x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)"', chart).groups()
    assert float(high) - float(low) == pytest.approx(84.0)


def test_curves_are_read_from_sparse_rows_and_drawn(tmp_path, image_paths):
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,step,train/loss,val/recall_at_1\n0,0,3.0,\n0,1,nan,\n0,2,2.0,\n0,2,,0.5\n", encoding="utf-8")
    assert read_curves(log, ["train/loss", "val/recall_at_1", "absent"]) == {"train/loss": [(0.0, 3.0), (2.0, 2.0)]}
    page = written(tmp_path, [make_ranking(0, IMAGE_IDS, 2)], [make_query(0)], image_paths, training_curve=log)
    assert [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"] == [
        "recall_at_1 per aspect, in percent",
        "train/loss by step",
    ]


def test_a_long_curve_is_thinned_out_and_a_missing_one_left_out(tmp_path, caplog):
    log = tmp_path / "metrics.csv"
    log.write_text("step,train/loss\n" + "".join(f"{step},1.0\n" for step in range(5000)), encoding="utf-8")
    points = read_curves(log, ["train/loss"])["train/loss"]
    assert len(points) <= 401
    assert points[0][0] == 0
    assert points[-1][0] == 4999
    assert read_curves(tmp_path / "absent.csv", ["train/loss"]) == {}
    assert "absent.csv" in caplog.text
