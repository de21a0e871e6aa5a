"""From a photo's article and base caption to its prompt: facts, evidence within a budget of tokens, token ids."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from diptych.contracts.news import Article, Evidence, FactExtractor, KeyFacts, NewsQuery
from diptych.data.news.caption_lengths import CaptionLengths
from diptych.data.news.drafts import Drafts
from diptych.data.news.evidence import EvidenceRequest, EvidenceSelector
from diptych.data.news.fusion_cache import PreparedQuery
from diptych.data.news.largest_that_fit import largest_that_fit
from diptych.data.news.prompt import PromptTemplate
from diptych.storage.settings_key import settings_of

_JOINING = 8  # tokens kept free: texts that are joined can have a few more than they have one by one
_SHOWN = 5
# Characters that are read, several times those of the longest news article: a damaged record must not end a run.
_LONGEST_ARTICLE, _LONGEST_TITLE, _LONGEST_BASE_CAPTION = 1_000_000, 1_000, 10_000


class PromptTokenizer(Protocol):
    """What preparing needs of a language model's tokenizer (`models.fuser.chat_tokenizer.ChatTokenizer`)."""

    @property
    def hf(self) -> Any:
        """The transformers tokenizer."""

    def encode_prompts(self, messages: Sequence[str]) -> list[list[int]]:
        """Token ids of rendered prompts."""

    def encode_completions(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of completions, with the token that ends the turn."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""


@dataclass(frozen=True, slots=True)
class FusionInput:
    """One photo with what retrieval and captioning found for it; `article` is None when there is none."""

    query: NewsQuery
    base_caption: str
    article: Article | None
    gaps: tuple[str, ...] = ()


class FusionPreparation:
    """Chooses evidence and builds prompts, for training and inference alike.

    `max_prompt_tokens` bounds every prompt, counted with the model's tokenizer: evidence is cut to fit, instructions
    never are. `whole_article` takes the article from its start instead of choosing chunks. `length` gives each photo's
    caption a length of its own, which the prompt asks for and the writing ends at. `drafts` are captions by whose
    sentences evidence is chosen too.
    """

    later_settings = ("length", "drafts")  # not part of a cache's key while it is not used: see `settings_of`

    def __init__(
        self,
        tokenizer: PromptTokenizer,
        prompt: PromptTemplate,
        selector: EvidenceSelector,
        facts: FactExtractor,
        max_prompt_tokens: int,
        whole_article: bool = False,
        length: CaptionLengths | None = None,
        drafts: Drafts | None = None,
    ) -> None:
        if max_prompt_tokens < 1:
            raise ValueError(f"data.preparation.max_prompt_tokens={max_prompt_tokens} must be positive")
        self.tokenizer, self.prompt, self.selector, self.facts = tokenizer, prompt, selector, facts
        self.max_prompt_tokens, self.whole_article = max_prompt_tokens, whole_article
        self.length, self.drafts = length, drafts

    def with_whole_article(self) -> FusionPreparation:
        """The same, but with the article from its start."""
        parts = (self.tokenizer, self.prompt, self.selector, self.facts)
        length = self.length  # and no drafts, as nothing is chosen
        return FusionPreparation(*parts, self.max_prompt_tokens, whole_article=True, length=length)

    def settings(self) -> dict[str, Any]:
        """What decides the prompts, as JSON can hold it; ValueError where a file that it names cannot be read."""
        without = copy.copy(self)
        without.length = without.drafts = None  # what a file says counts, not where it lies
        given = {"length": self.length, "drafts": self.drafts}
        return settings_of(without) | {name: dict(part.settings()) for name, part in given.items() if part is not None}

    def check(self, query_ids: Sequence[str]) -> None:
        """ValueError names photos whose length or draft is not known."""
        for part in (self.length, self.drafts):
            if part is not None:
                part.check(query_ids)

    def prepare(self, inputs: Sequence[FusionInput]) -> list[PreparedQuery]:
        """Every photo's prompt and completions, in the order of `inputs`; one call of each model for all of them.

        Of an article of more than a million characters the rest is not read (the gap `long_article`), nor of a title of
        more than a thousand, nor of a base caption of more than ten thousand (`long_title`, `long_base_caption`). A
        base caption that leaves the prompt no room is cut to half of it, which is a `long_base_caption` too; where
        nothing of an article finds room, that is the gap `no_evidence`.

        Raises:
            ValueError: the prompt of some photos leaves no room for evidence even so; they are counted and named.
        """
        inputs = [_readable(item) for item in inputs]
        bare = self._without_text(inputs)
        messages = [
            self.prompt.message(item.base_caption, evidence) for item, evidence in zip(inputs, bare, strict=True)
        ]
        fixed = self._count_prompts(messages)
        if any(tokens > self.max_prompt_tokens for tokens in fixed):
            inputs, fixed = self._with_shorter_captions(inputs, bare, fixed)
        self._check_room(inputs, fixed)
        budgets = [self.max_prompt_tokens - tokens - _JOINING for tokens in fixed]
        evidence = self._with_text(inputs, bare, budgets)
        messages = [self._message(item, e) for item, e in zip(inputs, evidence, strict=True)]
        prompts = self.tokenizer.encode_prompts(messages)
        for position, ids in enumerate(prompts):
            if len(ids) > self.max_prompt_tokens:  # rare: joining cost more than was kept free
                evidence[position], prompts[position] = self._shorter(
                    inputs[position], bare[position], budgets[position], len(ids) - self.max_prompt_tokens
                )
        return [
            PreparedQuery(
                query_id=item.query.query_id,
                base_caption=item.base_caption,
                evidence=chosen,
                reference_captions=item.query.reference_captions,
                prompt_ids=tuple(ids),
                completion_ids=tuple(map(tuple, self.tokenizer.encode_completions(item.query.reference_captions))),
                gaps=(*item.gaps, *_gaps_of_evidence(item, chosen)),
                target_words=self._words(item, chosen),
            )
            for item, chosen, ids in zip(inputs, evidence, prompts, strict=True)
        ]

    def _count_prompts(self, messages: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.tokenizer.encode_prompts(messages)]

    def _with_shorter_captions(
        self, inputs: Sequence[FusionInput], bare: Sequence[Evidence], fixed: Sequence[int]
    ) -> tuple[list[FusionInput], list[int]]:
        """The inputs and the tokens of their prompts; where these were too many, the base caption's beginning has half
        of the room that the rest leaves, and the evidence the other half.
        """
        items, counts = list(inputs), list(fixed)
        long = [place for place, tokens in enumerate(fixed) if tokens > self.max_prompt_tokens]
        captions = [" ".join(items[place].base_caption.split()) for place in long]
        without = self._count_prompts([self.prompt.message("", bare[place]) for place in long])
        texts = [
            lambda size, caption=caption, evidence=bare[place]: self.prompt.message(caption[:size], evidence)
            for place, caption in zip(long, captions, strict=True)
        ]
        budgets = [(self.max_prompt_tokens + tokens) // 2 for tokens in without]
        fitting = largest_that_fit([len(caption) for caption in captions], texts, budgets, self._count_prompts)
        for place, caption, size in zip(long, captions, fitting, strict=True):
            item = items[place]
            gaps = tuple(dict.fromkeys((*item.gaps, "long_base_caption")))
            items[place] = replace(item, base_caption=caption[:size].rstrip(), gaps=gaps)
        messages = [self.prompt.message(items[place].base_caption, bare[place]) for place in long]
        for place, tokens in zip(long, self._count_prompts(messages), strict=True):
            counts[place] = tokens
        return items, counts

    def _message(self, item: FusionInput, evidence: Evidence) -> str:
        return self.prompt.message(item.base_caption, evidence, self._words(item, evidence))

    def _words(self, item: FusionInput, evidence: Evidence) -> int | None:
        article = "" if item.article is None else item.article.text
        return None if self.length is None else self.length.words(item.query.query_id, article, evidence.text)

    def _without_text(self, inputs: Sequence[FusionInput]) -> list[Evidence]:
        """Everything of the evidence but the text."""
        articles = {item.article.article_id: item.article for item in inputs if item.article is not None}
        found = self.facts.extract([f"{article.title}\n{article.text}" for article in articles.values()])
        facts = dict(zip(articles, found, strict=True))
        topics = {article_id: self.selector.topic(article) for article_id, article in articles.items()}
        return [_bare(item.article, facts, topics) for item in inputs]

    def _queries(self, item: FusionInput, evidence: Evidence) -> tuple[str, ...]:
        """What to look for in the article."""
        if item.article is None:
            return ()
        own = self.selector.queries(item.base_caption, item.article, evidence.facts)
        draft = () if self.drafts is None else self.drafts.queries(item.query.query_id)
        return tuple(dict.fromkeys((*own, *draft)))

    def _with_text(
        self, inputs: Sequence[FusionInput], bare: Sequence[Evidence], budgets: Sequence[int]
    ) -> list[Evidence]:
        requests = [
            EvidenceRequest(
                article_text=item.article.text if item.article is not None else "",
                queries=self._queries(item, evidence),
                max_tokens=max(0, budget),
                whole=self.whole_article,
            )
            for item, evidence, budget in zip(inputs, bare, budgets, strict=True)
        ]
        chosen = self.selector.select(requests, self.tokenizer.count)
        return [
            replace(
                evidence,
                chunks=chunks,
                text=" ".join(" ".join(request.article_text[chunk.start : chunk.end].split()) for chunk in chunks),
            )
            for evidence, request, chunks in zip(bare, requests, chosen, strict=True)
        ]

    def _shorter(self, item: FusionInput, bare: Evidence, budget: int, excess: int) -> tuple[Evidence, list[int]]:
        while True:
            budget -= excess + _JOINING
            (evidence,) = self._with_text([item], [bare], [budget])
            (ids,) = self.tokenizer.encode_prompts([self._message(item, evidence)])
            excess = len(ids) - self.max_prompt_tokens
            if excess <= 0:
                return evidence, ids
            if budget <= 0:
                self._check_room([item], [len(ids)])

    def _check_room(self, inputs: Sequence[FusionInput], fixed: Sequence[int]) -> None:
        full = [
            item.query.query_id for item, tokens in zip(inputs, fixed, strict=True) if tokens > self.max_prompt_tokens
        ]
        if full:
            more = ", ..." if len(full) > _SHOWN else ""
            raise ValueError(
                f"{len(full)} of {len(inputs)} photos have prompts over data.preparation.max_prompt_tokens="
                f"{self.max_prompt_tokens} without any evidence, the longest {max(fixed)} tokens: "
                f"{', '.join(full[:_SHOWN])}{more}; raise it, or choose a shorter prompt"
            )


def _bare(article: Article | None, facts: Mapping[str, KeyFacts], topics: Mapping[str, str]) -> Evidence:
    if article is None:
        return Evidence()
    article_id = article.article_id
    return Evidence(article_id, article.title, article.date, facts=facts[article_id], topic=topics[article_id])


def _readable(item: FusionInput) -> FusionInput:
    """The item with no more of its article and base caption than is read."""
    article, gaps, base_caption = item.article, item.gaps, item.base_caption
    if len(base_caption) > _LONGEST_BASE_CAPTION:
        base_caption, gaps = base_caption[:_LONGEST_BASE_CAPTION], (*gaps, "long_base_caption")
    if article is not None and len(article.text) > _LONGEST_ARTICLE:
        article, gaps = replace(article, text=article.text[:_LONGEST_ARTICLE]), (*gaps, "long_article")
    if article is not None and len(article.title) > _LONGEST_TITLE:
        article, gaps = replace(article, title=article.title[:_LONGEST_TITLE]), (*gaps, "long_title")
    return replace(item, base_caption=base_caption, article=article, gaps=gaps)


def _gaps_of_evidence(item: FusionInput, evidence: Evidence) -> tuple[str, ...]:
    is_left_out = item.article is not None and item.article.text.strip() and not evidence.chunks
    return ("no_evidence",) if is_left_out else ()
