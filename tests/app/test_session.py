"""A dialogue: which picture a round starts from, and what is left of the rounds when somebody goes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from diptych.app.session import Round, Session

BED, SOFA = Path("photos/bed.jpg"), Path("photos/sofa.jpg")


@pytest.fixture
def two_rounds():
    return Session().begin(BED, "bed").ask(" make it red ").go_on(SOFA, "sofa").ask("and larger")


def test_a_round_has_the_picture_and_the_text_that_it_was_asked_with(two_rounds):
    assert two_rounds.rounds == (Round(BED, "bed", "make it red"), Round(SOFA, "sofa", "and larger"))
    assert two_rounds.picture == SOFA


def test_going_on_keeps_the_rounds_and_another_picture_begins_anew(two_rounds):
    assert two_rounds.go_on(BED, "bed").rounds == two_rounds.rounds
    assert two_rounds.begin(BED, "bed") == Session(BED, "bed", ())


def test_going_back_forgets_what_came_behind(two_rounds):
    assert two_rounds.back_to(1) == Session().begin(BED, "bed").ask("make it red")
    assert two_rounds.back_to(2) == two_rounds
    for number in (0, 3):
        with pytest.raises(ValueError, match=f"There is no round {number}: there are 2"):
            two_rounds.back_to(number)


def test_a_text_or_a_picture_is_enough_and_neither_is_not():
    assert Session().ask("a red bed").rounds == (Round(None, "", "a red bed"),)
    assert Session().begin(BED, "bed").ask(" ").rounds == (Round(BED, "bed", ""),)
    with pytest.raises(ValueError, match="drop a picture, type a text"):
        Session().ask(" ")
