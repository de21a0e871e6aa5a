"""How varied texts are: how they begin, how many n-grams are new, how alike they are to each other, how long they are.

Two sets are compared on equally many texts, since n-grams repeat more often the more texts there are.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diptych.annotation.rates import text_table
from diptych.contracts.models import Preprocessing
from diptych.metrics.captions.bleu import score_bleu
from diptych.metrics.captions.caption_corpus import CaptionCorpus

SAMPLE = 200  # texts; each is compared with all others
_NUM_OPENINGS = 5
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_CHUNK = 512  # texts tokenised at once


def text_diversity(
    texts: Sequence[Sequence[str]], sample: int = SAMPLE, seed: int = 0, preprocessing: Preprocessing | None = None
) -> dict[str, Any]:
    """The texts of records (several wordings of one pair, say) in numbers; equal arguments give equal numbers.

    - `records`, `texts`; `words`: mean, median and most of a text's words.
    - `tokens`, with `preprocessing`: the mean number that its text encoder reads of a text, start and end included, and
      the share of texts that it would cut (`cut`), for CLIP those above 77 tokens. None without.
    - `first_word`, `first_two_words`: how many different ones there are (`distinct`), and the shares of texts that
      begin with the commonest (`commonest`: [[words, share], ...]), in small letters.
    - Of `sample` records drawn by the seed (all where there are fewer; `sampled`), one text of each:
      `distinct_1`, `distinct_2`, the share of different words and pairs of words among all (Li et al., A
      Diversity-Promoting Objective Function for Neural Conversation Models, NAACL 2016; they divide by the words in
      both cases, later work and this by the n-grams of the same length);
      `self_bleu_2` to `self_bleu_4`, the mean BLEU of each text against all others of the sample (Zhu et al., Texygen,
      SIGIR 2018), with this package's BLEU of single texts. Higher is less varied; None of fewer than two texts.

    Raises:
        ValueError: there is no text at all, or `sample` is below 2.
    """
    records = [list(of_record) for of_record in texts if len(of_record)]
    if not records or sample < 2:
        raise ValueError(f"there are texts of {len(records)} records, of which {sample} are to be compared; want some")
    every = [text for of_record in records for text in of_record]
    words = [_WORD.findall(text.lower()) for text in every]
    lengths = np.array([len(found) for found in words])
    return {
        "records": len(records),
        "texts": len(every),
        "words": {"mean": float(lengths.mean()), "median": float(np.median(lengths)), "most": int(lengths.max())},
        "tokens": None if preprocessing is None else _tokens(every, preprocessing),
        "first_word": _openings(words, 1),
        "first_two_words": _openings(words, 2),
        **_of_sample(records, sample, seed),
    }


def _tokens(texts: Sequence[str], preprocessing: Preprocessing) -> dict[str, float]:
    read, cut = 0, 0
    for start in range(0, len(texts), _CHUNK):
        tokens = preprocessing.tokenize(texts[start : start + _CHUNK])
        read, cut = read + int(tokens.mask.sum()), cut + tokens.num_truncated
    return {"mean": read / len(texts), "cut": cut / len(texts)}


def _openings(words: Sequence[Sequence[str]], number: int) -> dict[str, Any]:
    counts = Counter(" ".join(found[:number]) for found in words)
    commonest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_NUM_OPENINGS]
    return {"distinct": len(counts), "commonest": [[opening, count / len(words)] for opening, count in commonest]}


def _of_sample(records: Sequence[Sequence[str]], sample: int, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    places = sorted(rng.sample(range(len(records)), min(sample, len(records))))
    drawn = [rng.choice(records[place]) for place in places]
    # A single text has no others; itself as reference leaves its n-grams countable.
    others = [drawn[:place] + drawn[place + 1 :] or drawn for place in range(len(drawn))]
    corpus = CaptionCorpus(drawn, others)
    bleu = {name: float(scores.mean()) for name, scores in score_bleu(corpus)[1].items() if name != "bleu_1"}
    counts = corpus.ngram_counts
    found = {
        f"distinct_{order}": len(np.unique(of.ngram)) / total if (total := int(of.count.sum())) else None
        for order, of in enumerate(counts[:2], start=1)
    }
    return {
        "sampled": len(drawn),
        **found,
        **{f"self_{name}": value if len(drawn) > 1 else None for name, value in bleu.items()},
    }


def diversity_rows(found: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """A row for each number, a heading first, then a cell for each of the sets in `found`."""
    sets = list(found.values())
    rows = [
        ["texts", *(f"{one['texts']:,} of {one['records']:,} records" for one in sets)],
        ["words, mean (most)", *(f"{one['words']['mean']:.1f} ({one['words']['most']:,})" for one in sets)],
    ]
    if all(one["tokens"] for one in sets):
        rows.append(["tokens, mean", *(f"{one['tokens']['mean']:.1f}" for one in sets)])
        rows.append(["cut by the text encoder", *(f"{100 * one['tokens']['cut']:.1f} %" for one in sets)])
    for key, name in (("first_word", "first words"), ("first_two_words", "first two words")):
        rows.append([f"different {name}", *(f"{one[key]['distinct']:,}" for one in sets)])
        rows.append([f"commonest {name}", *(_commonest(one[key]) for one in sets)])
    for key in ("distinct_1", "distinct_2", "self_bleu_4"):
        heading = key.replace("self_bleu_4", "self-BLEU-4").replace("_", "-")
        cells = ("none" if one[key] is None else f"{one[key]:.3f} of {one['sampled']:,} texts" for one in sets)
        rows.append([heading, *cells])
    return rows


def _commonest(openings: Mapping[str, Any]) -> str:
    words, share = openings["commonest"][0]
    return f"{words} {100 * share:.1f} %"


def diversity_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A column for each of the sets."""
    return text_table([["", *found], *diversity_rows(found)])
