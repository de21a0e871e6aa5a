"""The report of captions, read back: the right cards in the right order, marks on the right words, all escaped."""

from __future__ import annotations

import logging
import math
import re
from html import unescape

import pytest
from PIL import Image

from diptych.contracts.news import Article, Chunk, Evidence, KeyFacts
from diptych.report.caption_cards import CaptionCard, EntitySpan, Passage, choose_cards, split_passages
from diptych.report.caption_page import write_caption_report

TEXT = "First & <second>.\n\nThe rest is long. It goes on.\nLast."
ARTICLE = Article("a1", "", 'A "title" <b>', TEXT, "2021-07-15T02:46:59Z")
EVIDENCE = Evidence("a1", ARTICLE.title, chunks=(Chunk(0, 17), Chunk(36, 48, 0.625)), facts=KeyFacts(places=("R&D",)))
CAPTION = "Ann <Lee> and Bo in Rome"
ENTITIES = (EntitySpan(20, 24, "GPE", True), EntitySpan(4, 9, "PERSON", False))


def make_card(number=0, cider=0.5, num_unsupported=0, **changes):
    names = tuple(EntitySpan(place, place + 1, "PERSON", False) for place in range(num_unsupported))
    metrics = {} if cider is None else {"cider": cider}
    return CaptionCard(
        **{"query_id": f"q{number}", "image_path": None, "fused_caption": CAPTION, "entities": names}
        | {"metrics": metrics}
        | changes
    )


def make_record(**changes):
    record = {
        "experiment": "fuser",
        "data": ["newsroom"],
        "split": "test",
        "checkpoint": "<best>.ckpt",
        "seed": 0,
        "queries": {"scored": 3, "expected": 3},
        "references_per_item": [1, 1],
        "lines": {"cider": "N=3, references per item: 1"},
        "faults": {"empty_answer": 2},
        "metrics": {"cider": 0.12345, "mean_words": 43.21, "empty_captions": 2.0, "untuned/cider": None}
        | {"annotated_article/cider": 0.5, "untuned/empty_captions": 0.0},
    }
    return record | changes


def page_of(folder, cards, record=None, **settings):
    return write_caption_report(folder, record or make_record(), cards, **settings).read_text(encoding="utf-8")


def words_in(page, tag, css=""):
    """What stands inside the elements of a tag and class."""
    return [unescape(text) for text in re.findall(rf"<{tag}[^>]*{css}[^>]*>([^<]*)</{tag}>", page)]


def order_of(sections):
    return {section.anchor: [card.query_id for card in section.cards] for section in sections}


def test_the_article_is_whole_and_the_chosen_chunks_are_marked(tmp_path):
    page = page_of(tmp_path, [make_card(article=ARTICLE, evidence=EVIDENCE)])
    card = page.split("<article>")[1]
    assert words_in(card, "mark") == ["First & <second>.", "It goes on.\n"[:11]]
    assert re.findall(r'<mark title="([^"]*)"', card) == ["chosen, taken whatever it says", "chosen, similarity 0.625"]
    assert re.findall(r"</summary><div>([^<]*)</div></details>", card) == ["The rest is long.", "Last."]
    assert "Evidence: A &quot;title&quot; &lt;b&gt; (2021-07-15T02:46:59Z, article a1)" in card
    assert "Key facts: places: R&amp;D" in card


def test_passages_give_the_text_back_whatever_the_chunks_are():
    for chunks in ((), (Chunk(0, len(TEXT)),), (Chunk(5, 9), Chunk(2, 6, 0.1), Chunk(9, 12, 0.3)), EVIDENCE.chunks):
        assert "".join(passage.text for passage in split_passages(TEXT, chunks)) == TEXT
    joined = list(split_passages(TEXT, (Chunk(5, 9), Chunk(2, 6, 0.1), Chunk(9, 12, 0.3))))
    assert joined == [Passage(TEXT[:2], False), Passage(TEXT[2:12], True, 0.3), Passage(TEXT[12:], False)]


def test_entities_are_told_apart_by_more_than_colour(tmp_path):
    page = page_of(tmp_path, [make_card(entities=ENTITIES)])
    card = page.split("<article>")[1]
    assert words_in(card, "span", "entity supported") == ["Rome"]
    assert words_in(card, "span", "entity unsupported") == ["<Lee>"]
    assert 'title="PERSON, not in the evidence"' in card and 'title="GPE, in the evidence"' in card
    assert "Ann <span" in card and "1 of 2 names unsupported" in card
    assert "underline solid" in page and "underline wavy" in page
    assert words_in(page.split("<article>")[0], "span", "entity") == ["name", "name"]
    assert 'class="entity' not in page_of(tmp_path, [make_card()])


def test_the_table_has_a_column_per_prefix(tmp_path):
    page = page_of(tmp_path, [make_card()])
    head, *rows = re.findall(r"<tr>(.*?)</tr>", page)
    assert re.findall(r">([^<]+)<", head) == ["metric", "model", "untuned", "annotated article"]
    cells = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in rows]
    assert cells == [
        ["cider", "0.1235", "–", "0.5000"],
        ["mean_words", "43.2", "", ""],
        ["empty_captions", "2", "0", ""],
    ]
    facts = dict(zip(words_in(page, "dt"), words_in(page, "dd"), strict=True))
    assert facts == {
        "cider rests on": "N=3, references per item: 1",
        "checkpoint": "<best>.ckpt",
        "seed": "0",
        "faults": "empty_answer 2",
    }


def test_worst_then_unsupported_then_best_then_a_draw():
    cards = [
        make_card(number, cider=number / 10, num_unsupported=(number == 20) + 2 * (number == 15))
        for number in range(24)
    ]
    chosen = choose_cards(cards, 12)
    order = order_of(chosen)
    assert order["worst"] == ["q0", "q1", "q2", "q3"]
    assert order["unsupported"] == ["q15", "q20"]
    assert order["best"] == ["q23", "q22"]
    assert len(order["random"]) == 4 and order["random"] == sorted(order["random"], key=lambda name: int(name[1:]))
    shown = [name for names in order.values() for name in names]
    assert len(set(shown)) == len(shown) == 12
    assert choose_cards(cards, 12) == chosen
    assert order_of(choose_cards(cards, 12, seed=1))["random"] != order["random"]
    assert chosen[0].explanation == "4 of 24 queries, the lowest CIDEr first."


def test_few_cards_are_one_section_and_a_missing_value_is_worst():
    cards = [make_card(0, 0.5), make_card(1, math.nan), make_card(2, 0.1), make_card(3, 0.5)]
    cards.append(make_card(4, metrics={"cider": None}))
    assert order_of(choose_cards(cards, 5)) == {"all": ["q1", "q4", "q2", "q0", "q3"]}


def test_without_answers_unsupported_names_decide(tmp_path):
    cards = [make_card(number, None, num_unsupported=number % 3) for number in range(12)]
    order = order_of(choose_cards(cards, 6))
    assert order["unsupported"] == ["q2", "q5", "q8"] and len(order["random"]) == 3
    assert order_of(choose_cards(cards, 12))["all"][:5] == ["q2", "q5", "q8", "q11", "q1"]
    assert "answers of this split are hidden" in page_of(tmp_path, cards, make_record(metrics={}, lines={}))


def test_everything_that_is_not_ours_is_escaped(tmp_path):
    evil = "</p><script>alert(1)</script>"
    odd = f"{evil}\x00"
    card = CaptionCard(
        query_id=odd,
        image_path=None,
        fused_caption=odd,
        base_caption=odd,
        reference_captions=(odd, "two"),
        article=Article("a1", "", odd, odd, odd),
        evidence=Evidence("a1", chunks=(Chunk(0, 4),)),
        entities=(EntitySpan(0, 4, '"><i>', False),),
        metrics={odd: 0.25},
        stop_reason=odd,
        prompt_tokens=12345,
    )
    page = page_of(tmp_path, [card], make_record(experiment=evil, metrics={f"{evil}x/cider": 1.5}, lines={evil: evil}))
    assert page.count("<script>") == page.count("</script>") == 1
    assert "\x00" not in page and "<i>" not in page
    assert "Reference caption 2" in page and "prompt of 12,345 tokens" in page
    assert "default-src 'none'" in page and "http" not in page.replace("http-equiv", "")


def test_photos_are_embedded_and_missing_ones_are_counted(tmp_path, caplog):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (800, 600), "red").save(photo)
    cards = [make_card(0, image_path=photo), make_card(1, image_path=tmp_path / "none.jpg"), make_card(2)]
    with caplog.at_level(logging.WARNING):
        page = page_of(tmp_path / "report", cards)
    assert page.count('src="data:image/jpeg;base64,') == 1
    assert "no photo: none.jpg" in page and "no photo: q2" in page
    assert "1 photos of the report are grey tiles" in caplog.text
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]


def test_gaps_are_said(tmp_path):
    blank = Article("a1", "", "", " ", "")
    page = page_of(tmp_path, [make_card(fused_caption=" "), make_card(1, article=blank, evidence=Evidence("a1"))])
    for words in ("(empty)", "No article: the caption rests on", "(the article has no text)", "(no title)"):
        assert words in page
    assert "No query was scored" in page_of(tmp_path, [])
    page_of(tmp_path, [make_card(fused_caption="half \ud83d a pair")])
    assert page_of(tmp_path, [make_card()]) == page_of(tmp_path, [make_card()])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"entities": (EntitySpan(20, 25, "GPE", True),)},
            "query 'q0': an entity of the caption is characters 20 to 25",
        ),
        ({"entities": (EntitySpan(0, 9, "GPE", True), ENTITIES[1])}, "overlap at character 4"),
        ({"article": ARTICLE, "evidence": Evidence("a1", chunks=(Chunk(9, 99),))}, "a chunk of the evidence is"),
        ({"evidence": EVIDENCE}, "the evidence is of article 'a1', not of None"),
    ],
)
def test_spans_that_cannot_be_shown_are_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make_card(**changes)


def test_no_cards_at_all_is_refused(tmp_path):
    with pytest.raises(ValueError, match="max_cards must be at least 1"):
        page_of(tmp_path, [], max_cards=0)
