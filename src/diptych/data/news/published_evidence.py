"""Beyond Vision's released rules for evidence, beside those that its paper tells: lengths, queries, the topic.

Source: PhamPhuHoa-23/Event-Enriched-Image-Captioning-ReZeroSlavery, commit 933b5fe. Its numbers and the form of its
queries are here; its lists of words are not: those below are ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from diptych.contracts.news import KeyFacts
from diptych.text.sentences import Span

_PER_QUERY = 2
_TITLE_WEIGHT, _PHRASE_WEIGHT = 3, 2
_SHORTEST_TERM = 4  # letters
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_CAPITALISED = re.compile(r"[A-Z][^\W\d_]*(?:['’-][^\W\d_]+)*")
_BLANK = re.compile(r"[^\S\n]+")
_STOP_WORDS = frozenset([
    "a", "about", "above", "after", "again", "against", "all", "almost", "along", "already", "also", "although",
    "always", "among", "an", "and", "another", "any", "are", "around", "as", "at", "away", "back", "became",
    "because", "been", "before", "began", "being", "below", "between", "both", "but", "by", "came", "can", "cannot",
    "could", "does", "doing", "done", "down", "during", "each", "either", "else", "enough", "even", "ever", "every",
    "for", "from", "further", "gave", "give", "given", "goes", "going", "gone", "had", "has", "have", "having", "he",
    "her", "here", "hers", "herself", "himself", "his", "how", "however", "i", "if", "in", "into", "is", "it", "its",
    "itself", "just", "last", "later", "least", "less", "like", "made", "make", "many", "me", "might", "more", "most",
    "much", "must", "my", "myself", "near", "never", "new", "next", "no", "none", "nor", "not", "nothing", "of",
    "off", "often", "on", "once", "one", "only", "onto", "or", "other", "others", "our", "ours", "out", "over",
    "said", "same", "says", "seem", "seen", "several", "shall", "she", "should", "since", "so", "some", "something",
    "still", "such", "take", "taken", "than", "that", "the", "their", "theirs", "them", "themselves", "then", "there",
    "these", "they", "this", "those", "though", "through", "to", "told", "took", "toward", "towards", "two", "under",
    "until", "up", "upon", "us", "very", "want", "wants", "was", "we", "well", "went", "were", "what", "when",
    "where", "whether", "which", "while", "who", "whole", "whom", "whose", "why", "will", "with", "within", "without",
    "would", "year", "years", "yet", "you", "your", "yours",
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class PublishedRules:
    """The released code's rules that the paper does not tell, each with its number; 0 or False leaves one out.

    - Articles of at most `whole_article` characters are kept as they are.
    - Sentences of others count from `shortest_sentence` characters on: shorter ones are in no window, and never kept.
      Of an article without any sentence as long, all count.
    - The sentences that were chosen, joined by blanks, end at the last full stop of their first `evidence` characters;
      without one there, at the last of these characters.
    - The queries are in the released form, the `key_terms` most important terms of the article among them.
    - `topic` puts the article's topic into the prompt.
    """

    whole_article: int = 3000
    shortest_sentence: int = 15
    evidence: int = 6000
    key_terms: int = 3
    topic: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError for negative numbers."""
        for name in ("whole_article", "shortest_sentence", "evidence", "key_terms"):
            if getattr(self, name) < 0:
                raise ValueError(f"published.{name}={getattr(self, name)} must be 0 (no such rule) or more")

    def keeps_whole(self, article_text: str) -> bool:
        """Whether an article is short enough to be kept as it is."""
        return len(article_text) <= self.whole_article

    def sentences(self, spans: Sequence[Span]) -> list[Span]:
        """Those that are long enough, or all if none is."""
        return [span for span in spans if span[1] - span[0] >= self.shortest_sentence] or list(spans)

    def queries(self, base_caption: str, title: str, article_text: str, facts: KeyFacts) -> tuple[str, ...]:
        """What to look for in an article; parts that are blank give no query."""
        terms = key_terms(title, article_text, self.key_terms)
        lines = {
            "Title context": " ".join(title.split()),
            "Key terms": ", ".join(terms),
            "People involved": ", ".join(facts.people[:_PER_QUERY]),
            "Organizations": ", ".join(facts.organisations[:_PER_QUERY]),
            "Locations": ", ".join(facts.places[:_PER_QUERY]),
        }
        texts = (" ".join(base_caption.split()), *(f"{kind}: {said}" for kind, said in lines.items() if said))
        return tuple(text for text in texts if text)

    def cut(self, text: str, spans: Sequence[Span]) -> list[Span]:
        """The sentences [start:end] of a text, in order, that end within `evidence` characters; the last may be cut."""
        kept: list[Span] = []
        room = self.evidence if self.evidence else len(text) + len(spans)
        for start, end in spans:
            if room < end - start:
                if room > 0:
                    kept.append((start, start + room))
                return _back_to_a_full_stop(text, kept)
            kept.append((start, end))
            room -= end - start + 1
        return kept


def _back_to_a_full_stop(text: str, spans: list[Span]) -> list[Span]:
    for number in range(len(spans) - 1, -1, -1):
        start, end = spans[number]
        stop = text.rfind(".", start, end)
        if stop >= 0:
            return [*spans[:number], (start, stop + 1)]
    return spans


def key_terms(title: str, text: str, number: int) -> list[str]:
    """The terms of an article that weigh most, the heavier first; equal ones in the order in which they are counted.

    Terms are words in lower case (of four letters or more, without the commonest) and names as they are written: two or
    more capitalised words in a row. A word weighs 1 each time, a name 2; the title counts three times.
    """
    weights: Counter[str] = Counter()
    for part, times in ((title, _TITLE_WEIGHT), (text, 1)):
        for word in _WORD.findall(part):
            term = word.casefold()
            if len(term) >= _SHORTEST_TERM and term not in _STOP_WORDS:
                weights[term] += times
        for name in _names(part):
            weights[name] += times * _PHRASE_WEIGHT
    return sorted(weights, key=lambda term: -weights[term])[:number]  # stable


def _names(text: str) -> list[str]:
    """Runs of capitalised words, without a common word in front."""
    runs: list[list[str]] = []
    end = -1
    for match in _WORD.finditer(text):
        if _CAPITALISED.fullmatch(match[0]):
            if runs and end >= 0 and _BLANK.fullmatch(text, end, match.start()):
                runs[-1].append(match[0])
            else:
                runs.append([match[0]])
            end = match.end()
        else:
            end = -1
    trimmed = [run[1:] if run[0].casefold() in _STOP_WORDS else run for run in runs]
    return [" ".join(run) for run in trimmed if len(run) > 1]
