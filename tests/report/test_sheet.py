"""The report as one picture, looked at pixel by pixel."""

import pytest
from PIL import Image, ImageDraw
from ranked_rooms import COLOURS, make_query, make_ranking, make_result

from diptych.report.cards import build_card
from diptych.report.pictures import Thumbnails
from diptych.report.sheet import NUM_RESULTS, _fit, _font, draw_sheet, headline, wrap_text


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


@pytest.mark.hostile("HTML")
@pytest.mark.parametrize(
    "text", ["a\u2028b", "a\nb", "a\x85b\u2029", "\ud83d", "\x1b[31m", "\x00", "x" * 200_000, "\u202eb", ""]
)
def test_any_text_can_be_drawn(text):
    font = _font(15)
    lines = wrap_text(text, font, 200, 7)
    fitted = _fit(text, font, 200)
    draw = ImageDraw.Draw(Image.new("RGB", (300, 200)))
    draw.multiline_text((0, 0), "\n".join(lines), font=font)
    draw.text((0, 0), fitted, font=font)
    assert len(lines) <= 7 and font.getlength(fitted) <= 200
