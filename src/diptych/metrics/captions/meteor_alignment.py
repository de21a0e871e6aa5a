"""Which words of a caption METEOR 1.5 takes for which of a reference (Denkowski and Lavie, WMT 2014, section 2.1).

Each stage proposes matches: equal words, equal stems, words with a WordNet synset in common, phrases that paraphrase
each other. A beam search then chooses among them: most words in matches, then fewest chunks, then words that moved
least. Published numbers hang on how the authors' program does it, so this does the same, oddities included:

- words are compared by Java's hash of them, for which "g7" equals "eu";
- a match counts for the search by its words times 1 (exact) or 1/2, rounded down: a stem or synonym weighs nothing, and
  where another is proposed for a word ("walks" and "walking" share a stem and a synset), one that begins a chunk loses
  against none;
- the distance of a match is counted for those alternatives that are tried after it.

After edu.cmu.meteor.aligner in meteor-1.5.jar.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from diptych.text.english_stemmer import english_stem

STAGES = ("exact", "stem", "synonym", "paraphrase")
_EXACT, _STEM, _SYNONYM, _PARAPHRASE = range(4)
_BEAM = 40
# One number ranks a path: words in matches, then chunks, then distance, each far above what the next can reach.
_CHUNK, _WORD = 1 << 40, 1 << 60


class Match(NamedTuple):
    """`length` words of the reference from `start` on are taken for `caption_length` of the caption."""

    stage: int
    start: int
    length: int
    caption_start: int
    caption_length: int


class MatchedText(NamedTuple):
    """A text as the stages see it. By position: `keys`, `stems` (hashes) and `synsets`; `phrases` are the starts of
    each of its phrases; `paraphrases` the length of a phrase and what paraphrases it, by the phrase's start.
    """

    keys: Sequence[int]
    stems: Sequence[int]
    synsets: Sequence[Collection[str]]
    phrases: Mapping[str, Sequence[int]]
    paraphrases: Sequence[Sequence[tuple[int, Sequence[str]]]]


_Chosen: TypeAlias = "tuple[Match, _Chosen] | None"


class _Path(NamedTuple):
    """A choice among the matches before a position: its rank, the next position to match, where in the caption its
    last chunk goes on (-1: nowhere), the words in use of the reference and of the caption as bits, and the matches
    chosen, the last one first.
    """

    rank: int
    following: int
    end: int
    used: int
    caption_used: int
    chosen: _Chosen


@lru_cache(maxsize=1 << 17)
def java_hash(word: str) -> int:
    """Java's hashCode of a text."""
    value = 0
    units = word.encode("utf-16-le", "surrogatepass")
    for low, high in zip(units[::2], units[1::2], strict=True):
        value = (31 * value + low + 256 * high) & 0xFFFFFFFF
    return value


def stem_hash(word: str) -> int:
    """The hash of the word's stem."""
    return java_hash(english_stem(word))


def align(caption: MatchedText, reference: MatchedText, num_stages: int) -> list[Match]:
    """The matches chosen, by their place in the reference; no word is in two of them."""
    if caption.keys == reference.keys:  # as the program does, for no search could miss that they are the same
        num_stages = 1
    matches = _proposed(caption, reference, num_stages)
    fixed = _undisputed(matches, len(caption.keys))
    return _search(matches, fixed)


def count_chunks(matches: Sequence[Match]) -> int:
    """How many runs of matches follow each other in both texts."""
    chunks, end, caption_end = 0, -1, -1
    for match in matches:
        chunks += match.start != end or match.caption_start != caption_end
        end, caption_end = match.start + match.length, match.caption_start + match.caption_length
    return chunks


def _proposed(caption: MatchedText, reference: MatchedText, num_stages: int) -> list[list[Match]]:
    """All matches, by the position in the reference where they begin, in the program's order."""
    found: list[list[Match]] = [[] for _ in reference.keys]
    exact, same_stem, same_synset = _places(caption.keys), _places(caption.stems), _synset_places(caption.synsets)
    for start, key in enumerate(reference.keys):
        proposals = [(_EXACT, place) for place in exact.get(key, ())]
        if num_stages > _STEM:
            places: Collection[int] = same_stem.get(reference.stems[start], ())
            proposals += [(_STEM, place) for place in places if caption.keys[place] != key]
        if num_stages > _SYNONYM:
            places = {place for synset in reference.synsets[start] for place in same_synset.get(synset, ())}
            proposals += [(_SYNONYM, place) for place in sorted(places) if caption.keys[place] != key]
        found[start] = [Match(stage, start, 1, place, 1) for stage, place in proposals]
    if num_stages > _PARAPHRASE:
        for start, length, place, words in _paraphrased(reference, caption):
            found[start].append(Match(_PARAPHRASE, start, length, place, words))
        for place, words, start, length in _paraphrased(caption, reference):
            found[start].append(Match(_PARAPHRASE, start, length, place, words))
    return found


def _paraphrased(text: MatchedText, other: MatchedText) -> Iterator[tuple[int, int, int, int]]:
    """Start and length of each phrase of the text, start and length of a paraphrase of it in the other text."""
    for start, phrases in enumerate(text.paraphrases):
        for length, paraphrases in phrases:
            for paraphrase in paraphrases:
                for place in other.phrases.get(paraphrase, ()):
                    yield start, length, place, paraphrase.count(" ") + 1


def _places(values: Sequence[int]) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for place, value in enumerate(values):
        places.setdefault(value, []).append(place)
    return places


def _synset_places(synsets: Sequence[Collection[str]]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, of_word in enumerate(synsets):
        for synset in of_word:
            places.setdefault(synset, []).append(place)
    return places


def _undisputed(found: Sequence[Sequence[Match]], caption_length: int) -> dict[int, Match]:
    """The matches whose words, in both texts, no other match wants, by their start in the reference."""
    wanted, caption_wanted = [0] * len(found), [0] * caption_length
    for match in chain.from_iterable(found):
        for place in range(match.start, match.start + match.length):
            wanted[place] += 1
        for place in range(match.caption_start, match.caption_start + match.caption_length):
            caption_wanted[place] += 1
    return {
        start: match
        for start, matches in enumerate(found)
        for match in matches
        if max(wanted[start : start + match.length]) == 1
        and max(caption_wanted[match.caption_start : match.caption_start + match.caption_length]) == 1
    }


def _search(found: Sequence[Sequence[Match]], fixed: Mapping[int, Match]) -> list[Match]:
    used = sum(_bits(match.start, match.length) for match in fixed.values())
    caption_used = sum(_bits(match.caption_start, match.caption_length) for match in fixed.values())
    paths = [_Path(0, 0, -1, used, caption_used, None)]
    for position, matches in enumerate(found):
        following: list[_Path] = []
        for path in _best(paths):
            if not path.used >> position & 1:
                following += _continued(path, matches)
            elif position < path.following:
                following.append(path)
            else:  # a word in use that no match in progress covers begins a fixed one; its distance is every path's
                following.append(_extended(path, fixed[position], path.rank))
        paths = following
    # min takes the first of equal ones, as a stable sort would put it.
    chosen = min(_best(paths), key=lambda path: path.rank + (_CHUNK if path.end >= 0 else 0)).chosen
    matches_chosen = []
    while chosen:
        match, chosen = chosen
        matches_chosen.append(match)
    return matches_chosen[::-1]


def _best(paths: list[_Path]) -> list[_Path]:
    return sorted(paths, key=itemgetter(0))[:_BEAM]


def _continued(path: _Path, matches: Sequence[Match]) -> list[_Path]:
    """The path with each of the matches that is free to be taken, and without any."""
    rank, following, end, used, caption_used, chosen = path
    paths = []
    for match in matches:
        if used & _bits(match.start, match.length) or caption_used & _bits(match.caption_start, match.caption_length):
            continue
        paths.append(_extended(path, match, rank))
        rank += abs(match.start - match.caption_start)
    rank += _CHUNK if end >= 0 else 0
    return [*paths, _Path(rank, following + 1, -1, used, caption_used, chosen)]


def _extended(path: _Path, match: Match, rank: int) -> _Path:
    _, _, end, used, caption_used, chosen = path
    stage, start, length, caption_start, caption_length = match
    words = length + caption_length if stage == _EXACT else length // 2 + caption_length // 2
    rank += (_CHUNK if end >= 0 and end != caption_start else 0) - _WORD * words
    used |= _bits(start, length)
    caption_used |= _bits(caption_start, caption_length)
    return _Path(rank, start + length, caption_start + caption_length, used, caption_used, (match, chosen))


def _bits(start: int, length: int) -> int:
    return ((1 << length) - 1) << start
