import pytest

from diptych.contracts.news import Article, KeyFacts, NewsQuery
from diptych.data.news import fusion_preparation
from diptych.data.news.evidence import EvidenceSelector
from diptych.data.news.fusion_preparation import FusionInput, FusionPreparation
from diptych.data.news.key_facts import NoFacts
from diptych.data.news.prompt import PromptTemplate

PROMPT = PromptTemplate("Write.", "Photo:", "Article:", 60, {"task": "In {words} words."}, None, "Caption:")


class Letters:
    """A tokenizer of single characters."""

    hf = None

    def encode_prompts(self, messages):
        return [[1] * len(message) for message in messages]

    def encode_completions(self, texts):
        return [[1] * len(text) for text in texts]

    def count(self, texts):
        return [len(text) for text in texts]


class NoFactsRead(NoFacts):
    """Keeps how long the texts were."""

    longest = 0

    def extract(self, texts):
        self.longest = max(map(len, texts), default=0)
        return [KeyFacts() for _ in texts]


def gaps_of(text, title="Title", max_prompt_tokens=400, base_caption="A photo."):
    facts = NoFactsRead()
    preparation = FusionPreparation(Letters(), PROMPT, EvidenceSelector(None), facts, max_prompt_tokens, True)
    article = Article("a", "", title, text, "")
    (prepared,) = preparation.prepare([FusionInput(NewsQuery("q"), base_caption, article, ("no_base_caption",))])
    assert len(prepared.prompt_ids) <= max_prompt_tokens
    return prepared.gaps, prepared.evidence, facts.longest


@pytest.mark.hostile("limits")
def test_what_is_not_read_of_an_article_is_a_gap(monkeypatch):
    monkeypatch.setattr(fusion_preparation, "_LONGEST_ARTICLE", 100)
    monkeypatch.setattr(fusion_preparation, "_LONGEST_TITLE", 20)
    assert gaps_of("It rained. " * 9)[0] == ("no_base_caption",)
    gaps, evidence, longest = gaps_of("It rained. " * 30, "Rain and " * 9)
    assert gaps == ("no_base_caption", "long_article", "long_title")
    assert evidence.chunks[-1].end <= 100 and longest <= 121


@pytest.mark.hostile("limits")
def test_evidence_that_finds_no_room_is_a_gap():
    gaps, evidence, _ = gaps_of("It rained. " * 9, max_prompt_tokens=72)
    assert gaps == ("no_base_caption", "no_evidence") and evidence.chunks == ()


@pytest.mark.hostile("limits")
@pytest.mark.parametrize("caption", ["a very tall tower " * 500, "塔" * 9_000, "x" * 10**6, "a\n" * 300])
def test_a_base_caption_that_leaves_no_room_is_cut(caption):
    gaps, evidence, _ = gaps_of("It rained. " * 40, base_caption=caption)
    assert gaps == ("no_base_caption", "long_base_caption") and 100 < len(evidence.text) < 200


@pytest.mark.hostile("limits")
def test_only_that_caption_is_cut():
    preparation = FusionPreparation(Letters(), PROMPT, EvidenceSelector(None), NoFacts(), 400, True)
    article = Article("a", "", "Title", "It rained.", "")
    captions = ["A photo.", "a tall tower " * 90, "", "A bridge."]
    items = [FusionInput(NewsQuery(f"q{place}"), caption, article) for place, caption in enumerate(captions)]
    prepared = preparation.prepare(items)
    assert [one.gaps for one in prepared] == [(), ("long_base_caption",), (), ()]
    assert [one.base_caption for one in prepared[::2]] == captions[::2] and prepared[3].base_caption == "A bridge."
    assert captions[1].startswith(prepared[1].base_caption) and 100 < len(prepared[1].base_caption) < 200
    assert [preparation.prepare([item])[0] for item in items] == prepared
