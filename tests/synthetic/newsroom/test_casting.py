from collections import Counter, defaultdict

import pytest

from diptych.synthetic.newsroom.casting import FAMILY_SIZE, SPLITS, sample_events
from diptych.synthetic.newsroom.kinds import KINDS

FAMILIES = {"train": 24, "val": 12, "test": 12}


@pytest.fixture(scope="module")
def events():
    return sample_events(0, FAMILIES)


def _people(event):
    return {event.main.name, event.second.name, event.witness.name}


def test_same_seed_same_events_and_other_seed_others(events):
    assert sample_events(0, FAMILIES) == events
    assert sample_events(1, FAMILIES) != events


def test_every_split_has_every_kind_in_whole_families(events):
    for split in SPLITS:
        chosen = [event for event in events if event.split == split]
        assert len(chosen) == FAMILIES[split] * FAMILY_SIZE
        assert {event.kind for event in chosen} == set(KINDS)
    assert [event.number for event in events] == list(range(len(events)))


def test_siblings_share_what_they_are_said_to_share_and_nothing_else(events):
    for event in events:
        for other in events[event.family * FAMILY_SIZE :][:FAMILY_SIZE]:
            if other is event:
                continue
            assert (event.town == other.town) == (other.number in event.shares_town_with)
            assert bool(_people(event) & _people(other)) == (other.number in event.shares_person_with)
            assert (event.main == other.main) == (other.number in event.shares_person_with)
            assert abs((event.day - other.day).days) >= 180
            assert event.kind == other.kind and (not event.work or event.work != other.work)
        if event.shares_town_with and KINDS[event.kind].repeats:
            assert event.venue == events[event.shares_town_with[0]].venue


def test_no_two_families_share_a_town_or_a_person(events):
    owners = defaultdict(set)
    for event in events:
        for name in (event.town.name, *_people(event)):
            owners[name].add(event.family)
    assert max(len(families) for families in owners.values()) == 1


def test_people_of_an_event_differ_in_their_family_names(events):
    for event in events:
        assert len({person.last_name for person in (event.main, event.second, event.witness)}) == 3


def test_numbers_are_in_range_and_written_as_in_the_clauses(events):
    for event in events:
        for quantity, kind in zip(event.quantities, KINDS[event.kind].quantities, strict=True):
            assert kind.low <= quantity.value <= kind.high and quantity.value % kind.step == 0
            assert quantity.text == f"{quantity.value:,}"
            assert all(quantity.text in clause and "{" not in clause for clause in quantity.clauses)


def test_facts_name_the_five_ws(events):
    facts = events[0].to_json()
    assert facts["when"]["date"] == events[0].day.isoformat()
    assert facts["who"][0] == {"name": events[0].main.name, "role": events[0].main.role}
    assert facts["where"] == {
        "venue": events[0].venue,
        "city": events[0].town.name,
        "country": events[0].town.country.name,
    }
    assert facts["why"] == events[0].reason and "{" not in str(facts["what"])
    assert [number["value"] for number in facts["numbers"]] == [item.value for item in events[0].quantities]


def test_both_ways_to_write_a_date_occur(events):
    assert set(Counter(event.date_text[0].isdigit() for event in events)) == {True, False}


def test_more_families_than_names_are_refused():
    with pytest.raises(ValueError, match="fewer families"):
        sample_events(0, {"train": 400, "val": 1, "test": 1})
