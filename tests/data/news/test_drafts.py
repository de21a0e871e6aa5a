"""Evidence that is chosen a second time, by a caption that was written before."""

from __future__ import annotations

import json
import random
import re
from zlib import crc32

import numpy as np
import pytest

from diptych.contracts.news import Article, NewsQuery
from diptych.data.news.drafts import Drafts
from diptych.data.news.evidence import EvidenceSelector
from diptych.data.news.fusion_preparation import FusionInput, FusionPreparation
from diptych.data.news.key_facts import NoFacts
from diptych.data.news.prompt import PromptTemplate

PROMPT = PromptTemplate("Write.", "Photo:", "Article:", 60, {"task": "In {words} words."}, None, "Caption:")
FACTS = (
    "Anna Brown opened it",
    "it cost nine million",
    "rain had delayed it",
    "a school choir sang",
    "Riga paid for it",
)


class Words:
    """A tokenizer of words, and an encoder of the words of a text: texts that share some are near."""

    hf, name = None, "words"

    def encode_prompts(self, messages):
        return [[1] * len(message.split()) for message in messages]

    def encode_completions(self, texts):
        return [[1] * len(text.split()) for text in texts]

    def count(self, texts):
        return [len(text.split()) for text in texts]

    def encode(self, texts):
        vectors = np.full((len(texts), 512), 1e-3, np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                vectors[row, crc32(word.encode()) % 512] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def items(number: int = 12) -> list[FusionInput]:
    """Articles of forty sentences, five of which, anywhere, state the facts of the reference caption."""
    numbers, found = random.Random(0), []
    for place in range(number):
        sentences = [f"Paragraph {line} adds detail {numbers.randrange(9999)} on other matters." for line in range(40)]
        for position, fact in zip(numbers.sample(range(5, 35), 5), FACTS, strict=True):
            sentences[position] = f"{fact[0].upper()}{fact[1:]}."
        article = Article(f"a{place}", "", "A bridge", " ".join(sentences), "")
        reference = ". ".join(fact[0].upper() + fact[1:] for fact in FACTS) + "."
        found.append(FusionInput(NewsQuery(f"q{place}", (reference,)), "A photo of other matters.", article))
    return found


def preparation(drafts: Drafts | None = None) -> FusionPreparation:
    selector = EvidenceSelector(Words(), num_sentences=1, top_k=5, first_sentences=1, last_sentences=0)
    return FusionPreparation(Words(), PROMPT, selector, NoFacts(), 300, drafts=drafts)


def facts_held(prepared) -> int:
    return sum(fact.lower() in one.evidence.text.lower() for one in prepared for fact in FACTS)


def written(path, captions) -> Drafts:
    lines = (json.dumps({"query_id": query_id, "caption": caption}) for query_id, caption in captions.items())
    path.write_text("".join(f"{line}\n" for line in lines))
    return Drafts(path)


def test_a_draft_brings_in_what_it_speaks_of(tmp_path):
    references = {item.query.query_id: item.query.reference_captions[0] for item in items()}
    without = preparation().prepare(items())
    with_references = preparation(written(tmp_path / "references.jsonl", references)).prepare(items())
    half = {query_id: caption.split(". ")[0] for query_id, caption in references.items()}
    with_half = preparation(written(tmp_path / "half.jsonl", half)).prepare(items())
    assert facts_held(with_references) == 5 * 12
    assert facts_held(without) < facts_held(with_half) < facts_held(with_references)
    blank = preparation(written(tmp_path / "blank.jsonl", dict.fromkeys(references, " "))).prepare(items())
    assert blank == without


def test_a_photo_without_a_draft_is_named(tmp_path):
    drafts = written(tmp_path / "few.jsonl", {"q0": "A.", "q1": "B."})
    with pytest.raises(ValueError, match=r"drafts.path=.*few.jsonl: 1 of 3 photos have no draft in it: q7; write the"):
        preparation(drafts).check(["q0", "q7", "q1"])
    with pytest.raises(ValueError, match="no draft in it: q2"):
        preparation(drafts).prepare(items())
    preparation().check(["q7"])


def test_what_the_drafts_say_is_part_of_the_key_not_where_they_lie(tmp_path):
    one = preparation(written(tmp_path / "a.jsonl", {"q0": "A.", "q1": "B."})).settings()
    assert one == preparation(written(tmp_path / "b.jsonl", {"q1": "B.", "q0": "A."})).settings()
    assert one != preparation(written(tmp_path / "c.jsonl", {"q0": "A.", "q1": "C."})).settings()
    assert "drafts" not in preparation().settings()  # caches of versions without them are found
    with pytest.raises(ValueError, match=r"gone.jsonl"):
        preparation(Drafts(tmp_path / "gone.jsonl")).settings()
