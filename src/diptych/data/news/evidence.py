"""Which parts of an article the fuser reads: windows of sentences that are near to the photo's queries.

What is called a sentence here is a unit of evidence (`text.units`): of what has no sentence ends a line, a clause or as
many words as an encoder reads.

Shape letters: W windows of one article, Q queries of one photo, E embedding width.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from diptych.contracts.news import Article, Chunk, KeyFacts, SentenceEncoder
from diptych.data.news.largest_that_fit import CountTokens, largest_that_fit
from diptych.data.news.published_evidence import PublishedRules
from diptych.data.news.topics import topic_of
from diptych.text.sentences import Span, split_sentences
from diptych.text.units import split_units, word_spans

Rule = Literal["paper", "published_code"]
_WORD = re.compile(r"\w+")
_SHORTEST_TERM = 3  # letters of a word that queries are looked for by
# Scores that differ by less are equal: the texts that happen to be encoded beside a window change its last digits.
_DECIMALS = 5
_FACTS_PER_QUERY = 2
_PUBLISHED_SHARE, _PUBLISHED_MOST = 0.3, 10  # of an article's windows, and at most so many


@dataclass(frozen=True, slots=True)
class EvidenceRequest:
    """One article to choose from. `queries` say what the photo is about; `max_tokens` is the room in the prompt.

    `whole` asks for the article from its start instead, as far as there is room.
    """

    article_text: str
    queries: tuple[str, ...]
    max_tokens: int
    whole: bool = False


def evidence_queries(base_caption: str, title: str, facts: KeyFacts) -> tuple[str, ...]:
    """What to look for in an article: the picture's description, the headline, and a line for each kind of name.

    Of people, organisations, places and events the first two each; parts that are blank give no query.
    """
    named = {
        "People": facts.people,
        "Organisations": facts.organisations,
        "Places": facts.places,
        "Events": facts.events,
    }
    lines = (f"{kind}: {', '.join(names[:_FACTS_PER_QUERY])}" for kind, names in named.items() if names)
    texts = (" ".join(text.split()) for text in (base_caption, title, *lines))
    return tuple(dict.fromkeys(text for text in texts if text))


class EvidenceSelector:
    """Chooses the sentences of the best windows, and the first and last ones, up to a budget of tokens.

    - A window is `num_sentences` sentences in a row; windows begin at every `stride`-th sentence, and one that would
      run over the article's end is not formed (an article shorter than a window is one window).
    - The score of a window is its highest similarity to one of the queries, that of a sentence the highest of the
      windows that hold it.
    - The `paper` takes the `top_k` best windows; the `published_code` three tenths of them, at least `top_k` and at
      most ten. Equal scores go to the earlier window.
    - The `published_code` knows no units but sentences, and stops at the first that finds no room.

    An article that would fit whole is treated like any other. `published` adds the rest of what the released code does.
    """

    later_settings = ("published",)  # not part of a cache's key while it is not used: see `settings_of`

    def __init__(
        self,
        encoder: SentenceEncoder,
        num_sentences: int = 3,
        stride: int = 1,
        top_k: int = 5,
        first_sentences: int = 3,
        last_sentences: int = 2,
        rule: Rule = "paper",
        published: PublishedRules | None = None,
    ) -> None:
        """Raises ValueError for numbers that are too small and unknown rules."""
        least = {"num_sentences": 1, "stride": 1, "top_k": 1, "first_sentences": 0, "last_sentences": 0}
        for name, smallest in least.items():
            if locals()[name] < smallest:
                raise ValueError(f"{name}={locals()[name]} is too small; it must be at least {smallest}")
        if rule not in ("paper", "published_code"):
            raise ValueError(f"rule={rule!r} is not known; choose paper or published_code")
        self.encoder = encoder
        self.num_sentences = num_sentences
        self.stride = stride
        self.top_k = top_k
        self.first_sentences = first_sentences
        self.last_sentences = last_sentences
        self.rule = rule
        self.published = published

    def queries(self, base_caption: str, article: Article, facts: KeyFacts) -> tuple[str, ...]:
        """What to look for in the article."""
        if self.published is None:
            return evidence_queries(base_caption, article.title, facts)
        return self.published.queries(base_caption, article.title, article.text, facts)

    def topic(self, article: Article) -> str:
        """The article's topic for its prompt; empty unless the rules want one."""
        return topic_of(f"{article.title}\n{article.text}") if self.published and self.published.topic else ""

    def select(self, requests: Sequence[EvidenceRequest], count_tokens: CountTokens) -> list[tuple[Chunk, ...]]:
        """The chunks of each request, in the article's order, without overlap; the encoder is called once.

        `count_tokens` gives the number of tokens of each text. Chunks joined by blanks never have more than
        `max_tokens`: sentences are taken in the order of their scores (of equal ones the first), and one that finds no
        room is passed over. None is split, but for a best one that is longer than the budget: of that the words around
        what the queries say are taken. A blank article gives (); so does a budget that no character fits. Without
        queries only the first and last sentences are taken.
        """
        articles = [self._article(request) for request in requests]
        self._score([article for article in articles if not article.whole])
        _cut(articles, count_tokens)
        return [article.chunks() for article in articles]

    def _article(self, request: EvidenceRequest) -> _Article:
        split = split_units if self.rule == "paper" else split_sentences
        sentences, whole = split(request.article_text), request.whole
        if self.published and not whole:
            whole = self.published.keeps_whole(request.article_text)
            sentences = sentences if whole else self.published.sentences(sentences)
        return _Article(request, sentences, whole, fills=self.rule == "paper" and not whole)

    def _score(self, articles: Sequence[_Article]) -> None:
        """Choose each article's sentences, and rank them."""
        for article in articles:
            article.windows = self._windows(len(article.sentences)) if article.request.queries else []
        texts = dict.fromkeys(text for article in articles for text in (*article.window_texts(), *article.queries()))
        embeddings = self.encoder.encode(list(texts)) if texts else np.zeros((0, 1), np.float32)
        row_of = {text: row for row, text in enumerate(texts)}
        for article in articles:
            windows = embeddings[[row_of[text] for text in article.window_texts()]]  # (W, E)
            queries = embeddings[[row_of[text] for text in article.queries()]]  # (Q, E)
            similarity = (windows @ queries.T).max(axis=1) if article.windows else np.zeros(0, np.float32)
            self._choose(article, np.round(similarity, _DECIMALS))

    def _windows(self, num_sentences: int) -> list[range]:
        if num_sentences <= self.num_sentences:
            return [range(num_sentences)] if num_sentences else []
        starts = range(0, num_sentences - self.num_sentences + 1, self.stride)
        return [range(start, start + self.num_sentences) for start in starts]

    def _num_chosen(self, num_windows: int) -> int:
        if self.rule == "paper":
            return self.top_k
        return max(self.top_k, min(int(_PUBLISHED_SHARE * num_windows), _PUBLISHED_MOST))

    def _choose(self, article: _Article, scores: np.ndarray) -> None:
        """Of the scores (W,) of the article's windows."""
        num_sentences = len(article.sentences)
        best = np.full(num_sentences, -np.inf)
        for window, score in zip(article.windows, scores.tolist(), strict=True):
            best[window] = np.maximum(best[window], score)
        chosen = set(range(min(self.first_sentences, num_sentences)))
        chosen.update(range(max(num_sentences - self.last_sentences, 0), num_sentences))
        for position in np.argsort(-scores, kind="stable")[: self._num_chosen(len(scores))].tolist():
            for sentence in article.windows[position]:
                chosen.add(sentence)
                article.scores.setdefault(sentence, float(scores[position]))  # the best window comes first
        if self.published:
            in_order = sorted(chosen)
            kept = self.published.cut(article.request.article_text, [article.sentences[number] for number in in_order])
            chosen = set(in_order[: len(kept)])
            for number, span in zip(in_order, kept, strict=False):
                article.sentences[number] = span
        article.ranked = sorted(chosen, key=lambda sentence: (-best[sentence], sentence))


class _Article:
    """A request on its way: its sentences, `ranked` ones, the best first, and the scores of those in chosen windows.

    `whole` articles are taken from their start, without any windows. One that `fills` its budget takes what fits behind
    a sentence that does not, and the best part of one that is too long, not its beginning.
    """

    def __init__(self, request: EvidenceRequest, sentences: list[Span], whole: bool, fills: bool) -> None:
        self.request, self.sentences, self.whole, self.fills = request, sentences, whole, fills
        self.windows: list[range] = []
        self.ranked = list(range(len(self.sentences)))
        self.scores: dict[int, float] = {}
        self.kept: list[int] = []

    def window_texts(self) -> list[str]:
        """What the encoder reads of each window: one blank for any blanks."""
        texts = []
        for window in self.windows:
            spans = [self.sentences[sentence] for sentence in window]
            gaps = [self._between(before[1], after[0]) for before, after in pairwise(spans)]
            pieces = [self.request.article_text[start:end] for start, end in spans]
            text = pieces[0] + "".join(gap + piece for gap, piece in zip(gaps, pieces[1:], strict=True))
            texts.append(" ".join(text.split()))
        return texts

    def _between(self, end: int, start: int) -> str:
        """What joins two sentences: the blanks between them, if there is nothing else."""
        gap = self.request.article_text[end:start]
        return " " if gap.strip() else gap

    def queries(self) -> tuple[str, ...]:
        """The queries, if there is something to compare them with."""
        return self.request.queries if self.windows else ()

    def chunks(self, more: int = 0) -> tuple[Chunk, ...]:
        """The sentences that are kept, and `more` of the ranked ones, merged where one follows the other."""
        chunks: list[Chunk] = []
        for sentence in sorted([*self.kept, *self.ranked[:more]]):
            (start, end), score = self.sentences[sentence], self.scores.get(sentence)
            if chunks and not self.request.article_text[chunks[-1].end : start].strip():
                before = chunks.pop()
                start = before.start
                score = max((s for s in (before.score, score) if s is not None), default=None)
            chunks.append(Chunk(start, end, score))
        return tuple(chunks)

    def text(self, more: int = 0) -> str:
        """What the prompt would hold."""
        return " ".join(self.request.article_text[chunk.start : chunk.end] for chunk in self.chunks(more))

    def keep(self, number: int) -> None:
        """Keep so many of the ranked sentences; the next one has no room."""
        self.kept += self.ranked[:number]
        self.ranked = self.ranked[number + 1 :] if self.fills else []

    def cut_best(self, start: int, end: int) -> None:
        """Keep of the best sentence only [start:end] of the article."""
        best = self.ranked[0]
        self.sentences[best] = (start, end)
        self.kept.append(best)


def _cut(articles: Sequence[_Article], count_tokens: CountTokens) -> None:
    """Keep of each article's ranked sentences those that its budget allows, or a part of the first."""
    is_first, waiting = True, [article for article in articles if article.ranked]
    while waiting:
        texts = [article.text for article in waiting]
        budgets = [article.request.max_tokens for article in waiting]
        sizes = [len(article.ranked) for article in waiting]
        numbers = largest_that_fit(sizes, texts, budgets, count_tokens)
        if is_first:
            _cut_best([article for article, number in zip(waiting, numbers, strict=True) if not number], count_tokens)
        for article, number in zip(waiting, numbers, strict=True):
            article.keep(number)
        is_first, waiting = False, [article for article in waiting if article.ranked]


def _cut_best(articles: Sequence[_Article], count_tokens: CountTokens) -> None:
    """Keep of the best sentence, which is longer than the budget, as many words as fit, around what the queries say."""
    spans = [word_spans(article.request.article_text, *article.sentences[article.ranked[0]]) for article in articles]
    budgets = [article.request.max_tokens for article in articles]

    def fitting(words: Sequence[Sequence[Span]]) -> list[int]:
        texts = [_beginnings(article, of_one) for article, of_one in zip(articles, words, strict=True)]
        return largest_that_fit([len(of_one) for of_one in words], texts, budgets, count_tokens)

    numbers = fitting(spans)
    starts = map(_first_of_best, articles, spans, numbers)
    spans = [of_one[start:] for of_one, start in zip(spans, starts, strict=True)]
    for article, words, number in zip(articles, spans, fitting(spans), strict=True):
        if number:
            article.cut_best(words[0][0], words[number - 1][1])


def _beginnings(article: _Article, words: Sequence[Span]) -> Callable[[int], str]:
    """By their number, the text of the first words."""
    return lambda number: article.request.article_text[words[0][0] : words[number - 1][1]]


def _first_of_best(article: _Article, words: Sequence[Span], size: int) -> int:
    """The first of `size` words in a row that hold most words of the queries; of equals the earliest."""
    wanted = {term for query in article.queries() for term in _terms(query)} if article.fills else set()
    is_wanted = [not wanted.isdisjoint(_terms(article.request.article_text[start:end])) for start, end in words]
    held = np.concatenate([[0], np.cumsum(is_wanted, dtype=int)])
    return int(np.argmax(held[size:] - held[: len(held) - size])) if size else 0


def _terms(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.casefold()) if len(word) >= _SHORTEST_TERM]
