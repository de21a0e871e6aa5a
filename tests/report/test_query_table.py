"""All queries of a retrieval report, as its page's script reads and shows them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from browser import needs_browser, opened, typed_into
from ranked_rooms import IMAGE_IDS, make_query, make_ranking, make_result

from diptych.report import write
from diptych.report.query_table import QueryTable
from diptych.report.write import write_report
from page_parts import HOSTILE, Parts

FIELDS = (
    *("query_id", "text", "rank", "group_rank", "aspects", "reference", "target", "accepted", "results", "scores"),
)


def table_of(page: Path) -> dict:
    (table,) = (script for script in Parts(page.read_text(encoding="utf-8")).scripts if script.startswith("{"))
    return json.loads(table)


def split(number_of_queries):
    """Queries of other ranks, in no order, the last of which is as large as the number of queries."""
    ranks = [1 + (7919 * number) % number_of_queries for number in range(number_of_queries)]
    queries = [make_query(number, text=f"text number {number}") for number in range(number_of_queries)]
    return queries, [make_ranking(number, IMAGE_IDS[2:12], rank) for number, rank in enumerate(ranks)], ranks


def test_the_page_holds_what_was_ranked_of_every_query(tmp_path, image_paths):
    queries = [replace(make_query(0, relevant=("image_09",)), aspects=("changes_2", "changed_colour")), make_query(1)]
    first = replace(make_ranking(0, IMAGE_IDS[3:15], 1234), subset_rank=3)
    last = make_ranking(1, ["image_04", "image_01"], None)
    page = write_report(tmp_path / "report", make_result(), [first, last], queries, image_paths, max_queries=1)
    table = table_of(page)
    ids = [image_id for image_id, _ in table["images"]]
    read = [dict(zip(FIELDS, row, strict=True)) for row in table["queries"]]
    assert [row["query_id"] for row in read] == ["q0", "q1"] and [row["rank"] for row in read] == [1234, None]
    assert [row["group_rank"] for row in read] == [3, None]
    assert [[table["aspects"][aspect] for aspect in row["aspects"]] for row in read] == [
        ["2 changes", "colour"],
        ["2 changes"],
    ]
    assert ids[read[0]["reference"]] == "image_00" and ids[read[0]["target"]] == "image_01"
    assert [ids[image] for image in read[0]["accepted"]] == ["image_09"]
    assert [ids[image] for image in read[0]["results"]] == IMAGE_IDS[3:11], "the first eight"
    assert read[1]["scores"] == [0.9, 0.89]
    for image_id, link in table["images"]:
        assert (page.parent / table["folder"] / link).resolve() == image_paths[image_id].resolve()


def test_pictures_are_embedded_once_and_while_there_is_room(tmp_path, image_paths, monkeypatch):
    queries, ranked, _ = split(6)
    page = write_report(tmp_path / "all", make_result(), ranked, queries, image_paths, max_queries=1)
    table = table_of(page)
    assert table["pictures"] == {}, "the query that is written out has all of them"
    ranked[3] = replace(ranked[3], ranked_ids=tuple(IMAGE_IDS[15:]))
    page = write_report(tmp_path / "more", make_result(), ranked, queries, image_paths, max_queries=1)
    table = table_of(page)
    assert sorted(table["images"][int(image)][0] for image in table["pictures"]) == IMAGE_IDS[15:]
    monkeypatch.setattr(write, "PAGE_SIZE", 0)
    page = write_report(tmp_path / "none", make_result(), ranked, queries, image_paths, max_queries=1)
    assert table_of(page)["pictures"] == {}


def test_names_of_files_are_links_and_nothing_else(tmp_path):
    files = {name: tmp_path / "data" / name for name in ["a b.png", "c#d?.png", "50%.png", *HOSTILE]}
    names = list(files)
    pairs = [(make_ranking(0, names[2:], 1), make_query(0, reference=names[0], target=names[1]))]
    content = QueryTable(pairs, files.get, len(names)).content(tmp_path / "runs" / "report", {})
    assert content["folder"].startswith("../../data/")
    for image_id, link in content["images"]:
        assert not set(link) & set(" #?<>\"'{}&")
        assert (tmp_path / "runs/report" / content["folder"] / unquote(link)).resolve() == files[image_id].resolve()


def test_images_without_a_file_have_no_link(tmp_path):
    pairs = [(make_ranking(0, ["image_03"], 1), make_query(0))]
    content = QueryTable(pairs, lambda _: None, 8).content(tmp_path, {})
    assert content["folder"] == "" and [link for _, link in content["images"]] == [None] * 3


@pytest.mark.processes
@needs_browser
def test_the_query_of_rank_20_000_is_found_by_its_rank_and_by_its_text(tmp_path, image_paths):
    queries, ranked, ranks = split(20_000)
    page = write_report(tmp_path, make_result(), ranked, queries, image_paths, max_queries=3)
    last = ranks.index(20_000)
    by_rank = typed_into(page, 'type("order", "best"); type("from", "20000");')
    assert found(by_rank) == [f"text number {last}"] and "1 of 20,000 queries" in by_rank
    assert "target at rank 20,000" in by_rank
    middle = ranks.index(10_001)
    by_text = typed_into(page, f'type("filter", "NUMBER {middle}"); type("to", "10001"); type("from", "10001");')
    assert found(by_text) == [f"text number {middle}"] and "target at rank 10,001" in by_text
    in_order = typed_into(page, 'type("order", "best"); document.getElementById("more").click();')
    assert found(in_order) == [f"text number {ranks.index(rank)}" for rank in range(1, 33)], "8, and 24 more"


@pytest.mark.processes
@needs_browser
def test_kind_group_and_order(tmp_path, image_paths):
    queries, ranked, ranks = split(6)
    assert ranks == [1, 6, 5, 4, 3, 2]
    ranked = [replace(item, subset_rank=1 + number) for number, item in enumerate(ranked)]
    ranked[4] = replace(ranked[4], target_rank=None)
    page = write_report(tmp_path, make_result(), ranked, queries, image_paths)

    def texts(script):
        return [int(text.split()[-1]) for text in found(typed_into(page, script))]

    assert texts("") == [4, 1, 2, 3, 5, 0], "worst first, and the one that is not in the list before all"
    assert texts('type("kind", "1")') == [1, 3, 5]
    assert texts('type("group", "2")') == [1] and texts('type("group", "4"); type("order", "file")') == [3, 4, 5]
    assert texts('type("to", "3"); type("order", "best")') == [0, 5]
    assert texts('type("filter", "q3")') == [3] and texts('type("filter", "nothing")') == []
    drawn = texts('type("order", "random")')
    assert sorted(drawn) == list(range(6)) and drawn == texts('type("order", "random")')


@pytest.mark.processes
@needs_browser
def test_a_card_that_the_script_makes_is_the_one_that_the_template_makes(tmp_path, image_paths):
    query = make_query(0, reference="image_05", target="image_07", relevant=("image_09",), text=HOSTILE[0])
    order = ["image_03", "image_05", "image_09", "image_07", *IMAGE_IDS[10:18]]
    ranking = replace(make_ranking(0, order, 1234), subset_rank=2)
    page = write_report(tmp_path, make_result(), [ranking], [query], image_paths)
    shown = typed_into(page, "document.getElementById('list').append(built(0));")
    written, made = re.findall(r"<article.*?</article>", shown, re.DOTALL)

    def parts(card):
        card = re.sub(r' data-query="0"| (loading|decoding)="\w+"', "", card)
        tags = [
            (tag, *sorted(re.findall(r'(\w+)="([^"]*)"', rest))) for tag, rest in re.findall(r"<(\w+)([^>]*)", card)
        ]
        return tags, " ".join(re.sub(r"<[^>]*>", " ", card).split())

    assert parts(made) == parts(written)


@pytest.mark.processes
@needs_browser
def test_pictures_beside_the_page_are_shown_under_its_policy_and_those_that_are_gone_are_grey(
    tmp_path, image_paths, monkeypatch
):
    monkeypatch.setattr(write, "PAGE_SIZE", 0)
    queries = [make_query(number, reference=f"image_{number:02d}", target=None) for number in range(4)]
    ranked = [make_ranking(number, [f"image_{number + 10}"], None) for number in range(4)]
    page = write_report(tmp_path / "report", make_result(), ranked, queries, image_paths, max_queries=1)
    image_paths["image_12"].unlink()
    shown = opened(page)
    assert re.findall(r'<img [^>]*alt="result 1: (\w+)"', shown) == ["image_10", "image_11", "image_13"]
    assert 'src="../pictures/image_11.png"' in shown
    assert re.findall(r'<div class="missing"[^>]*>([^<]*)<', shown) == ["image_12.png"]
    assert 'id="linked" hidden' not in shown


def found(shown: str) -> list[str]:
    """The texts of the cards that are shown."""
    cards = shown[shown.index('<div id="list">') : shown.index('<button id="more"')]
    return [unescape(text) for text in re.findall(r"<h3>(.*?)</h3>", cards)]
