"""Which queries of a retrieval run are shown."""

from pathlib import Path

from diptych.contracts.news import Candidate
from diptych.report.retrieval_cards import RetrievalCard, choose_cards, rank_of


def card(number, moved=False, wrong=False, drawn=False, first_changed=False):
    one, two, three = (Candidate(f"g{place}", f"a{place}", 1.0) for place in range(3))
    after = (one, two, three)
    before = (two, one, three) if first_changed else (one, three, two) if moved else after
    matches = Path("matches.png") if drawn else None
    return RetrievalCard(f"q{number:02}", "a1" if wrong else "a0", after, before, {}, matches)


def test_groups_take_turns_and_every_card_comes_once():
    cards = [card(number, moved=number % 2 == 0, wrong=number % 4 == 1) for number in range(40)]
    chosen = choose_cards(cards, 9)
    assert [len(group) for group in chosen.values()] == [3, 3, 3]
    names = [card.query_id for group in chosen.values() for card in group]
    assert len(set(names)) == 9 and all(group == sorted(group, key=lambda c: c.query_id) for group in chosen.values())
    assert choose_cards(cards, 9) == chosen != choose_cards(cards, 9, seed=1)
    assert [len(group) for group in choose_cards(cards, 24).values()] == [8, 8, 8]
    assert [len(group) for group in choose_cards(cards, 90).values()] == [20, 10, 10]
    assert [len(group) for group in choose_cards(cards[::2], 9).values()] == [9, 0, 0]


def test_drawn_matches_and_new_first_candidates_come_first():
    cards = [card(number, moved=True) for number in range(30)]
    cards += [card(30, moved=True, first_changed=True), card(31, moved=True, drawn=True)]
    assert [card.query_id for card in choose_cards(cards, 1)["moved"]] == ["q31"]
    assert [card.query_id for card in choose_cards(cards, 2)["moved"]] == ["q30", "q31"]


def test_ranks_count_articles():
    candidates = [Candidate("g0", "a0", 1.0), Candidate("g1", "a0", 1.0), Candidate("g2", None, 1.0)]
    candidates.append(Candidate("g3", "a3", 1.0))
    assert rank_of("a0", candidates) == 1 and rank_of("a3", candidates) == 2 and rank_of("a4", candidates) is None
