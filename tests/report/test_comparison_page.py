"""Two evaluations on one page: which queries moved, how far, and what the page says and shows of them."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest
from ranked_rooms import IMAGE_IDS, make_query, make_ranking, make_result

from diptych.contracts.retrieval import MetricMeaning
from diptych.report.comparison_page import MetricDifference, write_comparison
from diptych.report.moved_queries import Compared, by_aspect, count_moves, most_moved
from page_parts import HOSTILE, Parts

FRACTION = MetricMeaning()
RANKS = [(10, 1), (100, 50), (1, 4), (3, 3), (None, 6), (None, None)]


def compared(number, first, second, **changes):
    """A query whose target stood at one rank and then at another, in lists of ten."""
    sides = [make_ranking(number, IMAGE_IDS[2:12], rank) for rank in (first, second)]
    return Compared(replace(make_query(number, text=f"text {number}"), **changes), *sides)


def difference(metric, first, second, better):
    return MetricDifference(metric, FRACTION, first, second, (second - first - 0.1, second - first + 0.1), 0.02, better)


def written(tmp_path, queries, image_paths, differences=None):
    rows = differences or [
        difference("recall_at_1", 0.25, 0.5, 1),
        difference("recall_at_1/changes_1", 0.5, 0.25, None),
    ]
    left_out = {"corpus": "not a mean over the queries"}
    names = "runs/a", "runs/b"
    page = write_comparison(
        tmp_path / "page", names, make_result(), rows, left_out, queries, lambda _, name: image_paths.get(name)
    )
    return page.read_text(encoding="utf-8")


def test_a_gain_is_the_ratio_of_ranks():
    moved = [compared(number, *ranks) for number, ranks in enumerate(RANKS)]
    assert [each.gain for each in moved] == pytest.approx([3.3219, 1.0, -2.0, 0.0, 0.8745, 0.0], abs=1e-4)
    better, worse = most_moved(moved, 2)
    assert [each.query.query_id for each in better] == ["q0", "q1"]
    assert [each.query.query_id for each in worse] == ["q2"]
    assert count_moves(moved) == (3, 1, 2)


def test_kinds_are_in_natural_order_and_a_query_may_be_of_several():
    moved = [compared(0, 2, 1, aspects=("changes_10",)), compared(1, 1, 2, aspects=("changes_2", "changed_colour"))]
    moved.append(replace(compared(2, 1, 1, aspects=("changes_2",)), set_name="dress"))
    found = {key: [each.query.query_id for each in queries] for key, queries in by_aspect(moved).items()}
    assert found == {
        ("", "changed_colour"): ["q1"],
        ("", "changes_2"): ["q1"],
        ("", "changes_10"): ["q0"],
        ("dress", "changes_2"): ["q2"],
    }
    assert list(found)[:3] == [("", "changed_colour"), ("", "changes_2"), ("", "changes_10")]


def test_the_page_says_what_got_better_and_worse(tmp_path, image_paths):
    text = written(tmp_path, [compared(number, *ranks) for number, ranks in enumerate(RANKS)], image_paths)
    assert (
        "recall_at_1 (%): 25.00 and 50.00, +25.00 [+15.00, +35.00]: run 2 is better"
        " · 3 targets rank better in run 2, 1 worse, 2 the same"
    ) in text
    rows = [
        [unescape(cell) for cell in re.findall(r"<t[hd][^>]*>([^<]*)<", row)]
        for row in re.findall("<tr>(.*?)</tr>", text, re.DOTALL)
    ]
    assert ["recall_at_1 (%)", "25.00", "50.00", "+25.00", "[+15.00, +35.00]", "0.0200", "run 2"] in rows
    one_change = ["1 change", "3", "2", "1", "0"], ["50.00", "25.00", "-25.00", "[-35.00, -15.00]", "0.0200", ""]
    assert [*one_change[0], *one_change[1]] in rows
    assert ["2 changes", "3", "1", "0", "2", *[""] * 6] in rows, "not measured: the targets are counted all the same"
    better, worse = text[text.index('id="better"') :].split('id="worse"')
    assert re.findall(r"<h3>(.*?)</h3>", better) == ["text 0", "text 1", "text 4"]
    assert re.findall(r'class="rank">(.*?)<', better) == [
        "target from rank 10 to rank 1",
        "target from rank 100 to rank 50",
        "target from behind the list to rank 6",
    ]
    assert re.findall(r"<h3>(.*?)</h3>", worse) == ["text 2"]
    assert "Not compared, not a mean over the queries: corpus." in text
    assert better.count('class="strip"') == 6 and better.count('class="target answer"') == 6
    assert "img-src data:;" in text and "file:" not in text[: text.index("<title>")]


def test_nothing_moved(tmp_path, image_paths):
    text = written(tmp_path, [compared(0, 3, 3, aspects=())], image_paths, [difference("median", 0.5, 0.5, None)])
    assert "No query&#39;s target ranks better in run 2." in text and "no difference is shown" in text
    assert "By kind" not in text


def test_hostile_texts_change_no_tag(tmp_path, image_paths):
    def page(folder, text):
        aspects, name = (text,), f"t{text}"
        query = compared(0, 9, 2, query_id=text, text=text, aspects=aspects, target_image=name)
        return Parts(written(tmp_path / folder, [replace(query, set_name=text)], image_paths))

    plain = page("plain", "plain words")
    for number, text in enumerate(HOSTILE):
        parts = page(str(number), text)
        assert parts.tags == plain.tags and parts.scripts == plain.scripts
        assert sum(text in shown for shown in parts.texts) >= 5
