"""Everything that is published about one event: article, photos, query photo, captions, and the truth behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from diptych.synthetic.canvas import Array
from diptych.synthetic.newsroom import layout
from diptych.synthetic.newsroom.captions import reference_captions
from diptych.synthetic.newsroom.drawing import draw_photo, sample_shot
from diptych.synthetic.newsroom.events import Event
from diptych.synthetic.newsroom.query_photos import rework_photo, sample_rework
from diptych.synthetic.newsroom.scene import Scene, base_caption, sample_scene
from diptych.synthetic.newsroom.writing import ArticleText, write_article
from diptych.synthetic.photographs import encode_jpeg

_MAX_PHOTOS = 3
_THUMBNAIL = (8, 6)


@dataclass(frozen=True, slots=True)
class Story:
    """What the set's tables need to know of an event. The query photo comes from the first of `image_ids`."""

    event: Event
    article_id: str
    article: Mapping[str, Any]
    image_ids: tuple[str, ...]
    query_id: str
    captions: Mapping[str, str]
    base_caption: str
    facts: Mapping[str, Any]
    database_descriptors: Mapping[str, Array]
    query_descriptor: Array


def make_story(
    event: Event, family: Sequence[Event], seed: int, folder: Path, kept_share: float | None = None, blur: float = 0.0
) -> Story:
    """Write the event's photos into the set that is made in `folder`, and return the rest.

    `family` are the events that resemble it, itself among them; `kept_share` and `blur` are those of `sample_rework`.
    The same arguments give the same bytes, and the same archive photos and texts whatever those two.
    """
    texts, pictures = (np.random.default_rng(np.random.SeedSequence([seed, part, event.number])) for part in (2, 3))
    scene = sample_scene(event, pictures)
    earlier = [other for other in family if other.number in event.shares_town_with and other.day < event.day]
    text = write_article(event, earlier, texts)
    captions, base = reference_captions(event, scene, texts), base_caption(scene, texts)
    article_id, query_id = article_id_of(seed, event.number), layout.make_id(seed, "query", event.number)
    num_photos = 1 + int(pictures.integers(_MAX_PHOTOS))
    image_ids = tuple(layout.make_id(seed, "image", _MAX_PHOTOS * event.number + i) for i in range(num_photos))
    photos, photo_facts = _write_photos(scene, image_ids, folder, pictures)
    rework = sample_rework(pictures, kept_share, blur)
    query_photo = rework_photo(photos[0], rework)
    (folder / layout.QUERY_IMAGES[event.split] / f"{query_id}.jpg").write_bytes(encode_jpeg(query_photo))
    return Story(
        event=event,
        article_id=article_id,
        article=_article(event, text, image_ids, texts),
        image_ids=image_ids,
        query_id=query_id,
        captions=captions,
        base_caption=base,
        facts={
            "article_id": article_id,
            "query_id": query_id,
            **event.to_json(),
            **_shared(event, seed),
            "fact_sentences": dict(text.fact_sentences),
            "sentences": list(text.sentences),
            "captions": captions,
            "base_caption": base,
            "scene": scene.to_json(),
            "photos": photo_facts,
            "query_photo": {"image_id": image_ids[0], **rework.to_json()},
        },
        database_descriptors={image_id: describe(photo) for image_id, photo in zip(image_ids, photos, strict=True)},
        query_descriptor=describe(query_photo),
    )


def article_id_of(seed: int, number: int) -> str:
    """The article id of the event with this number."""
    return layout.make_id(seed, "article", number)


def describe(photo: Array) -> Array:
    """A unit vector of the photo's colours on a coarse grid, the mean taken off: float64, so that sums are exact enough
    to be the same in every process.
    """
    grid = cv2.resize(photo, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
    grid -= grid.mean()
    return grid / np.linalg.norm(grid)


def _write_photos(
    scene: Scene, image_ids: Sequence[str], folder: Path, rng: np.random.Generator
) -> tuple[list[Array], list[dict[str, Any]]]:
    photos, facts = [], []
    for image_id in image_ids:
        shot = sample_shot(rng)
        photos.append(draw_photo(scene, shot))
        (folder / layout.DATABASE_IMAGES / f"{image_id}.jpg").write_bytes(encode_jpeg(photos[-1]))
        facts.append({"image_id": image_id, **shot.to_json()})
    return photos, facts


def _shared(event: Event, seed: int) -> dict[str, list[str]]:
    """The articles that are mistaken for this one, by what they share."""
    return {
        "shares_town_with": [article_id_of(seed, number) for number in event.shares_town_with],
        "shares_person_with": [article_id_of(seed, number) for number in event.shares_person_with],
    }


def _article(event: Event, text: ArticleText, image_ids: Sequence[str], rng: np.random.Generator) -> dict[str, Any]:
    """The article as the database holds it; it came out on the evening of the day or up to two days later."""
    evening = datetime(event.day.year, event.day.month, event.day.day, 18)
    printed = evening + timedelta(seconds=int(rng.integers(2 * 86400)))
    paper = "courier" if event.american_date else "observer"
    slug = re.sub(r"[^a-z0-9]+", "-", text.title.lower()).strip("-")
    return {
        "url": f"https://www.{paper}.example/{printed:%Y/%m/%d}/{slug}-{event.number}",
        "date": f"{printed:%Y-%m-%dT%H:%M:%SZ}",
        "title": text.title,
        "images": list(image_ids),
        "content": text.content,
    }
