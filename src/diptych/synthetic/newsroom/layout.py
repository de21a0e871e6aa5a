"""The newsroom set's files: where they are, and how their tables are written."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diptych.synthetic.canvas import Array

MANIFEST = "newsroom.json"
FACTS = "facts.json"
SPLITS_FILE = "splits.json"
BASE_CAPTIONS = "base_captions.csv"
DATABASE = "Database/database.json"
DATABASE_IMAGES = "Database/database_images"
# The answers of a split, in the columns of the published training table.
ANSWERS = {
    "train": "Train Set/gt_train.csv",
    "val": "Validation Set/gt_val.csv",
    "test": "Track 1 - Public Set/gt_public.csv",
}
QUERY_IMAGES = {
    "train": "Train Set/train_images",
    "val": "Validation Set/val_images",
    "test": "Track 1 - Public Set/query_images",
}
TEST_QUERIES = "Track 1 - Public Set/query.csv"
ANSWER_COLUMNS = ("image_index", "caption", "retrieved_article_id", "retrieved_image_id")
BASE_CAPTION_COLUMNS = ("query_id", "matched_image_id", "caption")
_RAW_BREAKS_EVERY = 8
NUM_RESULTS = 10


def retrieval_file(split: str) -> str:
    """The split's retrieval result, below the root."""
    return f"retrieval/{split}.json"


def make_id(seed: int, what: str, number: int) -> str:
    """16 lower-case hexadecimal characters, without order. Some are digits only or look like `12e4567890123456`: type
    inference destroys those, and a reader has to survive them.
    """
    found = hashlib.blake2b(f"{seed}/{what}/{number}".encode(), digest_size=8).hexdigest()
    digits = found.translate(str.maketrans("abcdef", "052739"))
    return {3: digits, 17: f"{digits[:2]}e{digits[3:]}"}.get(number % 40, found)


def write_json(path: Path, value: Any) -> None:
    """A JSON file, made with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A CSV file, quoted where it has to be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def write_database(path: Path, articles: Mapping[str, Mapping[str, Any]]) -> None:
    """One object, an article a line, in the order of the ids. As in the published file, some strings hold line breaks
    that are not escaped, so that only a non-strict JSON parser reads it.
    """
    lines = []
    for number, article_id in enumerate(sorted(articles)):
        text = json.dumps(articles[article_id], ensure_ascii=False)
        if number % _RAW_BREAKS_EVERY == 0:
            text = text.replace("\\n", "\n")
        lines.append(f"{json.dumps(article_id)}: {text}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


def rank_photos(
    queries: Mapping[str, Array], database: Mapping[str, Array], article_of: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A retrieval result: the `NUM_RESULTS` most similar database photos by cosine of descriptors, which makes the
    mistakes of look-alike photos. Equal scores are in the order of the ids.
    """
    image_ids = sorted(database)
    matrix = np.stack([database[image_id] for image_id in image_ids])
    results = []
    for query_id, descriptor in queries.items():
        scores = np.round((matrix * descriptor).sum(1), 6)
        best = np.argsort(-scores, kind="stable")[:NUM_RESULTS].tolist()
        ranked = [
            {"image_id": image_ids[i], "article_id": article_of[image_ids[i]], "score": float(scores[i])} for i in best
        ]
        results.append({"query_id": query_id, "results": ranked})
    return results
