"""A page on which people accept and reject what was annotated: one HTML file, without network or framework.

    python -m diptych.report.annotation_review my_triplets --pairs pairs.json

Decisions are kept in the browser as they are made. Its button saves them as `reviews.jsonl`; put the file into the
folder, and `reviews=my_triplets/reviews.jsonl` of the pipeline leaves out what was rejected. A page made after that
shows them again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from diptych.annotation.reviews import Reviews, read_reviews
from diptych.data.pairs.image_pairs import ImagePair, read_pairs
from diptych.photos.image_urls import is_remote
from diptych.report.page import render_document
from diptych.report.pictures import Thumbnails
from diptych.report.review_style import SCRIPT
from diptych.report.review_style import STYLE as REVIEW_STYLE
from diptych.report.style import STYLE
from diptych.storage.record_log import RecordLog

log = logging.getLogger(__name__)

PAGE, REVIEWS = "review.html", "reviews.jsonl"
PICTURE_SIZE = 480

_BODY = Template("""<main data-key="$key">
<div class="bar" hidden><button id="save" type="button">Save decisions</button>
<span id="decided" role="status"></span>
<span id="warning" hidden>The browser keeps nothing for this page: save before you close it.</span></div>
$articles
</main>
<script type="application/json" id="others">$others</script>""")


def write_review(
    out: Path, pairs_file: Path, images_root: Path | None = None, first: int = 1, number: int = 200
) -> Path:
    """Writes `out/review.html` about the pairs that have sentences, and returns its path.

    The stages' records are looked for in `out/work`: descriptions and verdicts of a second model are shown where there
    are any. Decisions in `out/reviews.jsonl` are shown as made. About 60 KB a pair for photographs.

    Args:
        out: The folder that annotate_triplets wrote.
        pairs_file: The pairs that were annotated.
        images_root: Where relative paths begin; None: beside the file.
        first: The first pair of the page, 1-based, among those with sentences.
        number: How many pairs it shows at most.

    Raises:
        ValueError: no pair has sentences from `first` on, or a file is damaged; names it.
    """
    records = {name: _records(out, name, key) for name, key in _STAGES.items()}
    sentences = records["write_modifications"] or records["one_stage"]
    annotated = [pair for pair in read_pairs(pairs_file, images_root).pairs if pair.pair_id in sentences]
    shown = annotated[first - 1 : first - 1 + number]
    if not shown:
        raise ValueError(
            f"{out / 'work'} has sentences for {len(annotated)} pairs of {pairs_file}, none from {first} on"
        )
    reviews = read_reviews(out / REVIEWS) if (out / REVIEWS).exists() else Reviews({})
    verdicts = {(r["pair_id"], r["sentence"]): r["holds"] for r in records["verify_sentences"].values()}
    pictures, articles = Thumbnails(PICTURE_SIZE), []
    for pair in shown:
        before = records["describe_reference"].get(pair.reference_image, {}).get("objects", [])
        after = records["describe_target"].get(pair.pair_id, {}).get("objects", [])
        written = sentences[pair.pair_id]["sentences"]
        articles.append(_article(pair, before, after, written, reviews, verdicts, pictures))
    names = {pair.pair_id: set(sentences[pair.pair_id]["sentences"]) for pair in shown}
    others = [
        {"pair_id": pair_id, "sentence": sentence, "accepted": accepted}
        for (pair_id, sentence), accepted in reviews.decisions.items()
        if pair_id not in names or not (sentence is None or sentence in names[pair_id])
    ]
    lead = f"Pairs {first:,} to {first - 1 + len(shown):,} of {len(annotated):,}. Decisions stay in this browser; the"
    lead += f" button saves them as {REVIEWS}. Put it into {out.name}, and the export leaves out what is rejected."
    content = json.dumps([[pair.pair_id, sentences[pair.pair_id]["sentences"]] for pair in shown])
    body = _BODY.substitute(
        key="diptych-review-" + hashlib.sha256(content.encode()).hexdigest()[:16],
        articles="\n".join(articles),
        others=json.dumps(others).replace("<", "\\u003c"),
    )
    page = render_document("Review of annotated pairs", lead, body, STYLE + REVIEW_STYLE, SCRIPT)
    path = out / PAGE
    path.write_text(page, encoding="utf-8")
    if pictures.unreadable:
        log.warning("%d pictures cannot be read, first %s", len(pictures.unreadable), pictures.unreadable[0])
    return path


_STAGES = {
    "describe_reference": "image",
    "describe_target": "pair_id",
    "write_modifications": "pair_id",
    "one_stage": "pair_id",
    "verify_sentences": "sentence_id",
}


def _records(out: Path, stage: str, key: str) -> dict[str, dict[str, Any]]:
    return RecordLog(out / "work" / stage / "records.jsonl", key).read()


def _article(
    pair: ImagePair,
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    sentences: Sequence[str],
    reviews: Reviews,
    verdicts: Mapping[tuple[str, str], bool],
    pictures: Thumbnails,
) -> str:
    heading = f"<h2>Pair {escape(pair.pair_id)}</h2>"
    items = []
    for sentence in sentences:
        holds = verdicts.get((pair.pair_id, sentence))
        said = "" if holds is None else f' <span class="verdict">second model: {"yes" if holds else "no"}</span>'
        items.append(f"<li>{_decision(f'<span>{escape(sentence)}{said}</span>', pair.pair_id, sentence, reviews)}</li>")
    return (
        f"<article>{_decision(heading, pair.pair_id, None, reviews)}\n"
        f'<div class="pictures">{_figure(pair.reference_image, "reference image", pictures)}'
        f"{_figure(pair.target_image, 'target image', pictures)}</div>\n"
        f'<div class="pictures">{_objects(before, after, "gone", "del")}{_objects(after, before, "new", "ins")}</div>\n'
        f'<ul class="sentences">{"".join(items)}</ul></article>'
    )


def _decision(body: str, pair_id: str, sentence: str | None, reviews: Reviews) -> str:
    """Something that can be accepted and rejected; `body` is HTML already."""
    known = reviews.decisions.get((pair_id, sentence))
    attributes = f' data-pair="{escape(pair_id)}"'
    attributes += "" if sentence is None else f' data-sentence="{escape(sentence)}"'
    attributes += "" if known is None else f' data-known="{str(known).lower()}"'
    what = escape("the pair" if sentence is None else sentence)
    buttons = "".join(
        f'<button type="button" value="{value}" aria-pressed="false" aria-label="{word}: {what}">{word}</button>'
        for value, word in (("true", "Accept"), ("false", "Reject"))
    )
    return f'<div class="decision"{attributes}>{body}<span>{buttons}</span></div>'


def _figure(image: str, words: str, pictures: Thumbnails) -> str:
    address = None if is_remote(image) else pictures.data_uri(Path(image))
    name = escape(image if is_remote(image) else Path(image).name)
    if address is None:
        picture = f'<div class="missing" role="img" aria-label="no picture, {words}">{name}</div>'
    else:
        picture = f'<img src="{address}" alt="{words}">'
    return f'<figure>{picture}<figcaption><b>{words}</b> <span class="id">{name}</span></figcaption></figure>'


def _objects(own: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]], css: str, mark: str) -> str:
    """A description's objects; what the other one has not is marked: objects by `css`, descriptors by `mark`."""
    there = {item["name"].casefold(): set(item["descriptors"]) for item in other}
    rows = []
    for item in own:
        same = there.get(item["name"].casefold())
        words = [
            escape(text) if same is None or text in same else f"<{mark}>{escape(text)}</{mark}>"
            for text in item["descriptors"]
        ]
        attribute = f' class="{css}"' if same is None else ""
        rows.append(f"<li{attribute}><b>{escape(item['name'])}</b>: {', '.join(words)}</li>")
    return f'<figure><ul class="objects">{"".join(rows)}</ul></figure>' if rows else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write a page on which annotated pairs are accepted and rejected.")
    parser.add_argument("out", type=Path, help="the folder that annotate_triplets wrote")
    parser.add_argument("--pairs", type=Path, required=True, help="the pairs that were annotated")
    parser.add_argument("--images-root", type=Path, default=None, help="where relative paths begin")
    parser.add_argument("--first", type=int, default=1, help="first pair of the page")
    parser.add_argument("--number", type=int, default=200, help="pairs on the page")
    options = parser.parse_args(arguments)
    try:
        page = write_review(options.out, options.pairs, options.images_root, options.first, options.number)
    except ValueError as error:
        parser.error(str(error))
    print(page)  # noqa: T201


if __name__ == "__main__":
    main()
