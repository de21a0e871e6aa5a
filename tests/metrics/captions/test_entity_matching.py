import pytest

from diptych.metrics.captions.entity_matching import Evidence, claims, key, words
from diptych.text.named_entities import NamedEntity


def entity(text: str, label: str = "PERSON") -> NamedEntity:
    return NamedEntity(text, label, 0, len(text))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("the White House", "White House's"),
        ("James’", "james"),
        ("U.S.", "US"),
        ("São Paulo", "Sao Paulo"),
        ("Al-Noor Mosque,", "Al Noor mosque"),
        ("Formula One", "Formula 1"),
    ],
)
def test_equal_names(first, second):
    assert key(entity(first, "ORG")) == key(entity(second, "GPE")) != ()


@pytest.mark.parametrize(
    ("first", "second"), [("Barack Obama", "Obama"), ("Van Gogh", "Gogh Van"), ("United States", "United Nations")]
)
def test_different_names(first, second):
    assert key(entity(first)) != key(entity(second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("4 May 2019", "May 4th, 2019"),
        ("2019-05-04T00:00:00Z", "the 4th of May, 2019"),
        ("Sept. 2", "September 2"),
        ("about three hundred", "300"),
        ("two hundred and fifty", "250"),
        ("twenty-one", "21"),
        ("nearly 1.5 million", "1,500,000"),
        ("$3,200.50", "3200.5 dollars"),
        ("40%", "forty percent"),
        ("the third", "3rd"),
        ("on Monday", "Monday"),
    ],
)
def test_equal_quantities(first, second):
    assert key(entity(first, "DATE")) == key(entity(second, "CARDINAL")) != ()


def test_numbers_beside_each_other_stay_apart():
    assert words("one two, 2-1 and twenty thirty") == ["1", "2", "2", "1", "and", "20", "30"]
    assert words("a thousand people, hundreds of them") == ["1000", "people", "hundreds", "of", "them"]
    assert words("1,20 or 1,200 in 007") == ["1", "20", "or", "1200", "in", "7"]


def test_what_has_no_word_is_no_entity():
    assert key(entity("—", "ORG")) == () and key(entity("the", "ORG")) == ("the",)
    assert claims("— !", [entity("—")]) == []


def test_claims_are_entities_and_the_numbers_outside_of_them():
    caption = "Ann Lee, 34, won 3-1 on 4 May; flight BA16 and 1,200.5 fans."
    start = caption.index("4 May")
    found = [entity("Ann Lee"), NamedEntity("4 May", "DATE", start, start + 5)]
    seen = [(claim.text, claim.is_quantity) for claim in claims(caption, found[::-1])]
    assert seen == [("Ann Lee", False), *((text, True) for text in ("34", "3", "1", "4 May", "1,200.5"))]
    assert all(caption[claim.start : claim.end] == claim.text for claim in claims(caption, found))


@pytest.mark.parametrize(
    ("text", "label", "stated"),
    [
        ("Mayor Ann Lee", "PERSON", True),
        ("Ann Lee", "ORG", True),
        ("Lee Ann", "PERSON", False),
        ("Ann Bo", "PERSON", False),  # both words stand there, in two names
        ("Ann", "PERSON", True),
        ("An", "PERSON", False),  # no part of a word
        ("the Bo Bridge", "FAC", True),
        ("May 4, 2019", "DATE", True),
        ("May 5, 2019", "DATE", False),
        ("more than 300", "CARDINAL", True),
        ("30", "CARDINAL", False),
    ],
)
def test_what_evidence_states(text, label, stated):
    evidence = Evidence("2019-05-04. Mayor Ann Lee’s Bo Bridge cost three\nhundred lives.")
    (claim,) = claims(text, [entity(text, label)])
    assert evidence.states(claim) is stated
