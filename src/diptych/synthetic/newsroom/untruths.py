"""What is untrue of an event: its facts in the article changed for those of another event, or its picture misdescribed.

An `event` is a record of `facts.json`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from diptych.contracts.news import Article
from diptych.synthetic.newsroom.kinds import KINDS
from diptych.synthetic.newsroom.scene import COLOURS, INDOORS, LIGHTS, Scene, base_caption

ARTICLE_KINDS = ("names", "places", "numbers")
WRONG_OBJECTS = "wrong_objects"
_FEW_PEOPLE = range(4, 11)

Event = Mapping[str, Any]


def with_facts_of_another(
    article: Article, event: Event, others: Sequence[Event], kind: str, rng: random.Random
) -> tuple[Article, dict[str, str]] | None:
    """The event's article, and what is said in it in the place of what is true: the facts of one of the others, which
    is of the same sort of event where one can be. All of the kind's facts are another's, wherever the article or its
    title says them; of the numbers, where the sentence that states one does. None where no other event fits: one of its
    facts is the same, or is said in this article.
    """
    alike = [other for other in others if other["kind"] == event["kind"]]
    unlike = [other for other in others if other["kind"] != event["kind"]]
    for other in (*rng.sample(alike, len(alike)), *rng.sample(unlike, len(unlike))):
        said = dict(zip(_facts(event, kind), _facts(other, kind), strict=False))
        if any(new == old or _say(new).search(article.text) for old, new in said.items()):
            continue
        told = replace(article, title=_swapped(article.title, said), text=_swapped(article.text, said))
        if kind == "numbers":
            told, of_sentences = _with_numbers(told, event, other)
            said |= of_sentences
        found = {old: new for old, new in said.items() if _say(old).search(article.text)}
        return (told, found) if found else None
    return None


def misdescription(event: Event, rng: random.Random) -> str:
    """A base caption of the event's picture in which a third of what it says is wrong, at least one thing: how many
    things or people there are, their colour, the light.
    """
    scene = Scene(**event["scene"])
    visible = KINDS[scene.kind].visible
    wrong: dict[str, Sequence[Any]] = {"light": () if scene.kind in INDOORS else LIGHTS}
    wrong |= {
        field: values
        for field, slot, values in (
            ("colour", "{colour}", COLOURS),
            ("count", "{count}", range(visible.fewest, visible.most + 1)),
            ("num_people", "{people}", _FEW_PEOPLE),
        )
        if slot in visible.caption
    }
    options = {field: [value for value in values if value != getattr(scene, field)] for field, values in wrong.items()}
    fields = [field for field, values in options.items() if values]
    chosen = rng.sample(fields, -(-len(fields) // 3))
    described = replace(scene, **{field: rng.choice(options[field]) for field in chosen})
    return base_caption(described, np.random.default_rng(rng.getrandbits(64)))


def _facts(event: Event, kind: str) -> list[str]:
    """The event's facts of a kind, in an order that is that of every event."""
    if kind == "names":
        people = [one["name"] for one in event["who"]]
        return [*people, *(name.rsplit(" ", 1)[1] for name in people), event["organisation"]]
    if kind == "places":
        return [event["where"][name] for name in ("venue", "city", "country")]
    return [event["when"]["text"]]


def _with_numbers(article: Article, event: Event, other: Event) -> tuple[Article, dict[str, str]]:
    """The numbers that captions may need, each in the sentence that states it."""
    text, said = article.text, {}
    for name, own, new in zip(("first_number", "second_number"), event["numbers"], other["numbers"], strict=False):
        sentence = event["sentences"][event["fact_sentences"][name]]
        if own["text"] != new["text"]:
            text = text.replace(sentence, _swapped(sentence, {own["text"]: new["text"]}), 1)
            said[own["text"]] = new["text"]
    return replace(article, text=text), said


def _swapped(text: str, said: Mapping[str, str]) -> str:
    names = sorted(said, key=len, reverse=True)  # a venue before the town in its name
    pattern = re.compile("|".join(_say(name).pattern for name in names))
    return pattern.sub(lambda found: said[found.group()], text)


def _say(name: str) -> re.Pattern[str]:
    """The name or number as a whole."""
    return re.compile(rf"(?<![\w,]){re.escape(name)}(?!\w|,\d)")
