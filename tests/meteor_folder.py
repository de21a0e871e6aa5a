"""A folder with what METEOR knows about a small English of our own: made up, in the form of its authors' files."""

from __future__ import annotations

import gzip
from pathlib import Path

# In the order of the authors' tables: a word and its synsets, a base and its forms; a paraphrase has a probability.
FUNCTION_WORDS = ["a", "an", "the", "of", "in", "on", "and", "is", "are", "by", "for", ",", "'s", "out"]
ABBREVIATIONS = ["# no sentence ends here", "", "v", "vs", "rev", "No #NUMERIC_ONLY#"]  # those of METEOR for our texts
SYNSETS = {
    "auto": "1", "car": "1 2", "wagon": "2", "street": "3", "road": "3 4", "path": "4", "photo": "5", "picture": "5 6",
    "show": "6 7", "display": "7", "man": "8", "fellow": "8", "box": "9", "case": "9 10", "big": "11", "large": "11",
    "party": "12", "fete": "12", "ride": "13", "go": "13 14", "walk": "14", "child": "15", "kid": "15", "glass": "16",
    "gate": "17", "entrance": "17", "rally": "18", "gathering": "18 19", "meeting": "19", "us": "20", "america": "20",
}  # fmt: skip
EXCEPTIONS = {"ride": "rode ridden", "go": "went gone", "child": "children", "bus": "buses"}
PARAPHRASES = [
    ("in front of", "before"), ("before", "in front of"), ("next to", "beside"), ("a lot of", "many"),
    ("many", "a lot of"), ("many", "a number of"), ("a number of", "a lot of"), ("took place", "was held"),
    ("was held", "took place"), ("held", "took place"), ("the city", "town"), ("city", "town"), ("town", "the city"),
    ("rides", "is riding"), ("is riding", "rides"), ("a man", "a person"), ("man", "person"), ("people", "persons"),
    ("the people", "persons"), ("in the snow", "outdoors"), ("snow", "the snow"), ("play in", "playing in the"),
    ("said that he would", "said he would"), ("on the street of the city at night", "downtown by night"),
]  # fmt: skip


def write_meteor_folder(folder: Path) -> Path:
    """Writes the files, as they lie in the authors' archive, and beside it; returns the folder."""
    table = "".join(f"0.5\n{phrase}\n{paraphrase}\n" for phrase, paraphrase in PARAPHRASES)
    for name, lines in {
        "function/english.words": FUNCTION_WORDS,
        "nonbreaking/english.prefixes": ABBREVIATIONS,
        "synonym/english.synsets": [line for entry in SYNSETS.items() for line in entry],
        "synonym/english.exceptions": [line for entry in EXCEPTIONS.items() for line in entry],
        "synonym/english.relations": [],
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data/paraphrase-en.gz").write_bytes(gzip.compress(table.encode("utf-8")))
    return folder
