"""Golden values of the caption metrics: what pycocoevalcap with its Java tokenizer gives for texts of the newsroom.

    make golden          installs pycocoevalcap, and writes tests/assets/golden/caption_metrics/{scores,tokens}.json

The texts are generated, so the values can be given away and computed again by anybody.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from diptych.synthetic.newsroom.generate import NewsroomSettings, generate_newsroom
from diptych.synthetic.newsroom.source import Newsroom

SETTINGS = NewsroomSettings(num_train_families=20, num_val_families=1, num_test_families=1, captions_per_query=2)
NUM_TEXTS = 300
OUTPUT = Path(__file__).resolve().parents[1] / "assets/golden/caption_metrics"


def texts_of_the_newsroom() -> tuple[list[str], list[list[str]], list[str]]:
    """Predictions, the references of each, and lines of articles. The prediction is half of one of its references and
    half of the next query's, in other cases the whole of one: hits, near misses, and texts of unlike lengths.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Newsroom(generate_newsroom(Path(folder) / "newsroom", SETTINGS), SETTINGS)
        references = [list(query.reference_captions) for query in source.queries("train")]
        articles = source.articles()
        lines = [line for name in articles for line in articles[name].text.splitlines() if line.strip()]
    predictions = []
    for number, own in enumerate(references):
        other = references[(number + 1) % len(references)]
        words, others = own[number % len(own)].split(" "), other[0].split(" ")
        mixed = words[: len(words) // 2] + others[len(others) // 2 :]
        predictions.append(" ".join((mixed, words, others)[number % 3]))
    return predictions, references, lines[:: max(1, len(lines) // NUM_TEXTS)][:NUM_TEXTS]


def tokens(texts: dict[int, list[str]]) -> dict[int, list[str]]:
    """Tokens joined by blanks, for each text of each item."""
    return PTBTokenizer().tokenize({item: [{"caption": text} for text in of] for item, of in texts.items()})


def scores(predictions: list[str], references: list[list[str]]) -> dict[str, Any]:
    """The content of scores.json."""
    given = tokens({item: [text] for item, text in enumerate(predictions)})
    expected = tokens(dict(enumerate(references)))
    with contextlib.redirect_stdout(io.StringIO()):
        cider, cider_items = Cider().compute_score(expected, given)
        bleu, bleu_items = Bleu(4).compute_score(expected, given, verbose=0)
        rouge, rouge_items = Rouge().compute_score(expected, given)
    return {
        "predictions": predictions,
        "references": references,
        "prediction_tokens": [given[item][0] for item in range(len(predictions))],
        "cider": {"corpus": float(cider), "per_item": [float(value) for value in cider_items]},
        "bleu": {f"bleu_{n}": float(value) for n, value in enumerate(bleu, start=1)},
        "bleu_4_per_item": [float(value) for value in bleu_items[3]],
        "rouge_l": {"corpus": float(rouge), "per_item": [float(value) for value in rouge_items]},
    }


def main() -> None:
    """Writes both files."""
    predictions, references, lines = texts_of_the_newsroom()
    of_lines = tokens({number: [line] for number, line in enumerate(lines)})
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("scores.json", scores(predictions, references)),
        ("tokens.json", {"texts": lines, "text_tokens": [of_lines[number][0] for number in range(len(lines))]}),
    ):
        (OUTPUT / name).write_text(json.dumps(content, ensure_ascii=False, indent=0) + "\n")


if __name__ == "__main__":
    main()
