"""CIDEr, CIDEr-R, BLEU and ROUGE-L as metrics that processes share; the modules of their formulas give them out."""

from __future__ import annotations

from collections.abc import Sequence

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.bleu import score_bleu
from diptych.metrics.captions.caption_corpus import CaptionCorpus
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.cider import score_cider
from diptych.metrics.captions.cider_r import score_cider_r
from diptych.metrics.captions.rouge_l import score_rouge_l


class CIDEr(CaptionMetric):
    """`cider` over all captions of all processes."""

    def score(self, items: Sequence[CaptionItem]) -> CaptionScores:
        """The corpus' value and those of the items, with the source of the document frequencies."""
        value, per_item = score_cider(CaptionCorpus.of(items))
        source = f"the references of the {len(items)} items scored"
        return CaptionScores({"cider": value}, {"cider": per_item}, document_frequencies=source)


class CIDErR(CaptionMetric):
    """`cider_r` over all captions of all processes."""

    def score(self, items: Sequence[CaptionItem]) -> CaptionScores:
        """The corpus' value and those of the items, with the source of the document frequencies."""
        value, per_item = score_cider_r(CaptionCorpus.of(items))
        source = f"the references of the {len(items)} items scored"
        return CaptionScores({"cider_r": value}, {"cider_r": per_item}, document_frequencies=source)


class BLEU(CaptionMetric):
    """`bleu_1` to `bleu_4` over all captions of all processes."""

    def score(self, items: Sequence[CaptionItem]) -> CaptionScores:
        """The corpus' values and those of the items."""
        return CaptionScores(*score_bleu(CaptionCorpus.of(items)))


class RougeL(CaptionMetric):
    """`rouge_l` over all captions of all processes."""

    def score(self, items: Sequence[CaptionItem]) -> CaptionScores:
        """The corpus' value and those of the items."""
        value, per_item = score_rouge_l(CaptionCorpus.of(items))
        return CaptionScores({"rouge_l": value}, {"rouge_l": per_item})
