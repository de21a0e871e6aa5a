"""No text of a caption, a reference or an article may stop a metric."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.bleu import BLEU
from diptych.metrics.captions.cider import CIDEr
from diptych.metrics.captions.cider_r import CIDErR
from diptych.metrics.captions.claim_checker import EntityClaimChecker
from diptych.metrics.captions.entities import Entities
from diptych.metrics.captions.entity_matching import claims
from diptych.metrics.captions.evidence_recall import claim_recall
from diptych.metrics.captions.length import Length
from diptych.metrics.captions.meteor import METEOR
from diptych.metrics.captions.ptb_tokenizer import tokenize
from diptych.metrics.captions.rouge_l import RougeL
from diptych.metrics.captions.unsupported_entity_rate import UnsupportedEntityRate
from diptych.models.backbones.clip import CLIPPreprocessing
from diptych.systems.consensus import choose, cider_closeness
from diptych.text.named_entities import EntityRecognizer, NamedEntity
from meteor_folder import write_meteor_folder

pytestmark = pytest.mark.hostile("limits")

HARD = [
    "❶ million people", "2½m", "\ud83d", "\udc00", "\x00", "1⁄0", "9" * 5000, "one hundred " * 300,
    "020 7946 0958 " * 1200,
    "½" * 50, "፩፪", "<" * 300, "\u2028", "DOTMULTI.", "'" * 200, "$" * 200, "-" * 99,
    "<end_of_text>", "'90s", "\u0301",
    "👩\u200d👩\u200d👧", "\U000e0001", "&#x110000;", "İ" * 20, "ǆ", "ﬀ", "0" * 400 + ".5", "1e999", "²⅒", "٣٫٥",
    "a" * 9000,
    "<a href='" * 50, "(" * 500, "minus " * 99, "\ufdd0",
]  # fmt: skip
TEXTS = st.one_of(
    st.text(),
    st.text(st.characters(categories=["N", "P", "S", "Cs", "Cf", "Zs"])),
    st.lists(st.one_of(st.sampled_from(HARD), st.text(max_size=5)), max_size=4).map(" ".join),
)


class Everywhere(EntityRecognizer):
    """Finds names and quantities anywhere: in thirds of a text, of every label in turn."""

    def entities(self, texts):
        return [tuple(self._found(text)) for text in texts]

    def _found(self, text):
        third = max(len(text) // 3, 1)
        for number, label in enumerate(("CARDINAL", "PERSON", "MONEY")):
            start, end = number * third, min((number + 1) * third, len(text))
            if start < end:
                yield NamedEntity(text[start:end], label, start, end)


FINDER = Everywhere("everywhere")
METRICS = {
    "cider": CIDEr, "cider_r": CIDErR, "bleu": BLEU, "rouge_l": RougeL, "length": Length,
    "entities": lambda: Entities(FINDER), "unsupported": lambda: UnsupportedEntityRate(FINDER),
}  # fmt: skip


def score(metric, captions):
    items = [
        CaptionItem(f"q{number}", caption, (captions[number - 1], "a dog in the rain"), captions[number - 1])
        for number, caption in enumerate(captions)
    ]
    metric.update(items)
    scores = metric.compute()
    assert len(scores.query_ids) == len(items)
    return scores


@pytest.mark.parametrize("name", METRICS)
@given(captions=st.lists(TEXTS, min_size=2, max_size=3))
def test_every_metric_scores_any_caption(name, captions):
    scores = score(METRICS[name](), captions)
    assert all(np.shape(values) == (len(captions),) for values in scores.per_item.values())


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("text", HARD, ids=lambda text: ascii(text[:8]))
def test_every_metric_scores_hard_captions(name, text):
    score(METRICS[name](), [text, "a dog"])


@pytest.fixture(scope="module")
def meteor_files(tmp_path_factory):
    return write_meteor_folder(tmp_path_factory.mktemp("meteor"))


def test_meteor_scores_hard_captions(meteor_files):
    shorter = [text[:200] for text in HARD]
    score(METEOR(folder=str(meteor_files)), [*shorter, *(f"a {text} b" for text in shorter)])


@given(caption=TEXTS, other=TEXTS)
def test_claims_and_evidence_are_looked_up_in_any_text(caption, other):
    (found,) = FINDER.entities([caption])
    for claim in claims(caption, found):
        assert claim.text == caption[claim.start : claim.end]
    claim_recall("evidence_recall", [claims(caption, found)], [other])
    EntityClaimChecker(FINDER).unsupported([caption], [other])


@given(st.lists(TEXTS, min_size=3, max_size=3), st.lists(TEXTS, min_size=3, max_size=3))
def test_consensus_chooses_among_any_captions(one, other):
    assert len(choose([one, other], cider_closeness)) == 2


@given(st.lists(TEXTS, max_size=4))
def test_tokens_are_texts_without_blanks(texts):
    for tokens in tokenize(texts):
        assert all(tokens)


@pytest.mark.parametrize("tokenizer", ["open_clip", "transformers"])
@given(text=TEXTS)
def test_clip_reads_any_text(tokenizer, text):
    found = PREPROCESSING[tokenizer].tokenize([text]).input_ids[0].tolist()
    assert found.count(49406) == found.count(49407) == 1 and len(found) <= 77


PREPROCESSING = {
    name: CLIPPreprocessing(
        "tiny", architecture={"vision_cfg": {"image_size": 16}, "text_cfg": {"context_length": 77}}, tokenizer=name
    )
    for name in ("open_clip", "transformers")
}
