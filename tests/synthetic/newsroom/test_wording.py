import numpy as np
import pytest

from diptych.synthetic.newsroom.kinds import KINDS, Kind
from diptych.synthetic.newsroom.wording import fill, sentence


def test_every_choice_is_reachable_and_none_is_left():
    texts = {fill("[a|b [c|d]|{x}] end", {"x": "[e|f]"}, np.random.default_rng(seed)) for seed in range(60)}
    assert texts == {f"{start} end" for start in ("a", "b c", "b d", "e", "f")}


def test_unknown_slot_is_named():
    with pytest.raises(ValueError, match=r"\{place\}.*place"):
        fill("in {place}", {"city": "Ulholm"}, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("rain fell", "Rain fell."), ('"So be it."', '"So be it."'), ("who?", "Who?"), ("done.", "Done.")],
)
def test_sentences_begin_and_end_as_they_should(text, expected):
    assert sentence(text) == expected


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_brackets_of_every_kind_balance(kind: Kind):
    texts = [kind.in_charge, kind.noun, *kind.clauses, *kind.acts, *kind.reasons, *kind.quotes, *kind.asides]
    texts += [*kind.titles, *kind.venues, *kind.organisations, *(c for q in kind.quantities for c in q.clauses)]
    for text in texts:
        assert text.count("[") == text.count("]") and text.count("{") == text.count("}"), text
    assert kind.quantities[0].low % kind.quantities[0].step == 0
