"""Which parts of an article the fuser reads: windows of sentences that are near to the photo's queries.

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
from diptych.data.news.published_evidence import PublishedRules
from diptych.data.news.topics import topic_of
from diptych.text.sentences import Span, split_sentences

CountTokens = Callable[[Sequence[str]], list[int]]
Rule = Literal["paper", "published_code"]
_WORD = re.compile(r"\S+")
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
        `max_tokens`: the sentences of the lowest score are dropped first (of equal ones the last), none is split, but
        for a single one that is longer than the budget and ends at a word then. A blank article gives (); so does a
        budget that no word fits. Without queries only the first and last sentences are taken.
        """
        articles = [self._article(request) for request in requests]
        self._score([article for article in articles if not article.whole])
        _cut(articles, count_tokens)
        return [article.chunks() for article in articles]

    def _article(self, request: EvidenceRequest) -> _Article:
        sentences, whole = split_sentences(request.article_text), request.whole
        if self.published and not whole:
            whole = self.published.keeps_whole(request.article_text)
            sentences = sentences if whole else self.published.sentences(sentences)
        return _Article(request, sentences, whole)

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

    `whole` articles are taken from their start, without any windows.
    """

    def __init__(self, request: EvidenceRequest, sentences: list[Span], whole: bool) -> None:
        self.request, self.sentences, self.whole = request, sentences, whole
        self.windows: list[range] = []
        self.ranked = list(range(len(self.sentences)))
        self.scores: dict[int, float] = {}
        self.num_kept = len(self.ranked)

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

    def chunks(self, num_kept: int | None = None) -> tuple[Chunk, ...]:
        """The sentences that are kept, merged where one follows the other."""
        chunks: list[Chunk] = []
        for sentence in sorted(self.ranked[: self.num_kept if num_kept is None else num_kept]):
            (start, end), score = self.sentences[sentence], self.scores.get(sentence)
            if chunks and not self.request.article_text[chunks[-1].end : start].strip():
                before = chunks.pop()
                start = before.start
                score = max((s for s in (before.score, score) if s is not None), default=None)
            chunks.append(Chunk(start, end, score))
        return tuple(chunks)

    def text(self, num_kept: int) -> str:
        """What the prompt would hold."""
        return " ".join(self.request.article_text[chunk.start : chunk.end] for chunk in self.chunks(num_kept))

    def word_ends(self) -> list[int]:
        """Where the words of the best sentence end."""
        return [match.end() for match in _WORD.finditer(self.request.article_text, *self.sentences[self.ranked[0]])]

    def beginning(self, end: int) -> str:
        """The best sentence up to there."""
        return self.request.article_text[self.sentences[self.ranked[0]][0] : end]


def _cut(articles: Sequence[_Article], count_tokens: CountTokens) -> None:
    """Keep of each article as many of its ranked sentences as its budget allows, or the beginning of the first."""
    budgets = [article.request.max_tokens for article in articles]
    sizes = [len(article.ranked) for article in articles]
    kept = _largest_that_fit(sizes, lambda index, size: articles[index].text(size), budgets, count_tokens)
    for article, num_kept in zip(articles, kept, strict=True):
        article.num_kept = num_kept
    longer = [article for article in articles if article.ranked and not article.num_kept]
    ends = [article.word_ends() for article in longer]
    kept = _largest_that_fit(
        [len(words) for words in ends],
        lambda index, size: longer[index].beginning(ends[index][size - 1]),
        [article.request.max_tokens for article in longer],
        count_tokens,
    )
    for article, words, num_words in zip(longer, ends, kept, strict=True):
        if num_words:
            best = article.ranked[0]
            article.sentences[best] = (article.sentences[best][0], words[num_words - 1])
            article.num_kept = 1


def _largest_that_fit(
    sizes: Sequence[int], text_of: Callable[[int, int], str], budgets: Sequence[int], count_tokens: CountTokens
) -> list[int]:
    """For each index the largest number up to its size for which `text_of(index, number)` fits; 0 if none does.

    All are halved at the same time, so that tokens are counted for many texts at once.
    """
    low, high, probe = [0] * len(sizes), list(sizes), list(sizes)
    searched = [index for index, size in enumerate(sizes) if size]
    while searched:
        counts = count_tokens([text_of(index, probe[index]) for index in searched])
        for index, count in zip(searched, counts, strict=True):
            if count <= budgets[index]:
                low[index] = probe[index]
            else:
                high[index] = probe[index] - 1
            probe[index] = (low[index] + high[index] + 1) // 2
        searched = [index for index in searched if low[index] < high[index]]
    return low
