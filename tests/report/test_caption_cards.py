"""Which captions are shown, and of what pieces."""

import math
import re

import pytest
from made_captions import ARTICLE, ENTITIES, EVIDENCE, TEXT, make_card, order_of

from diptych.contracts.news import Chunk, Evidence
from diptych.report.caption_cards import EntitySpan, Passage, choose_cards, split_passages


def test_passages_give_the_text_back_whatever_the_chunks_are():
    for chunks in ((), (Chunk(0, len(TEXT)),), (Chunk(5, 9), Chunk(2, 6, 0.1), Chunk(9, 12, 0.3)), EVIDENCE.chunks):
        assert "".join(passage.text for passage in split_passages(TEXT, chunks)) == TEXT
    joined = list(split_passages(TEXT, (Chunk(5, 9), Chunk(2, 6, 0.1), Chunk(9, 12, 0.3))))
    assert joined == [Passage(TEXT[:2], False), Passage(TEXT[2:12], True, 0.3), Passage(TEXT[12:], False)]


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
