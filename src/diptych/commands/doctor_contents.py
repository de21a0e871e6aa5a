"""What the doctor says of triplets beside their files: what it understood, what is there twice, what leaks from one
split to another, what a text encoder cuts off, and the shortest command that works.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from diptych.config.override_words import in_shell
from diptych.contracts.retrieval import Query, TripletSource
from diptych.photos.alike import Alike, find_alike, groups_of

TRAIN = "train"
_LONGEST = 77  # tokens that CLIP reads, start and end among them
_SHOWN = 3
_LARGEST_BATCH, _STEPS = 96, 300  # of experiment=cir_rooms, and what a first try takes


def contents(
    source: TripletSource, splits: Sequence[str], paths: Mapping[str, Path], workers: int, words: Sequence[str]
) -> list[str]:
    """What there is to say of these splits, a line each; `paths` are all their pictures by name, `words` those by which
    the user has named the set.

    Raises:
        ValueError: the annotations cannot be read.
    """
    queries = {split: source.queries(split) for split in splits}
    lines = [_understood(source, split, queries[split]) for split in splits]
    for split in splits:
        lines += _twice(f"{source.name} {split}", queries[split])
    lines += _too_long(source.name, queries)
    lines += _trained_on(source.name, queries)
    lines += _alike(source.name, queries, paths, workers)
    if {TRAIN, "val"} <= queries.keys():
        lines.append(f"the smallest training that works: {_first_try(source, words)}")
    return lines


def _understood(source: TripletSource, split: str, queries: Sequence[Query]) -> str:
    pictures = {name for query in queries for name in _pictures(query)}
    words = [len(query.text.split()) for query in queries]
    hidden = sum(query.target_image is None for query in queries)
    said = f"{source.name} {split}: {len(queries):,} triplets with {len(pictures):,} different pictures"
    said += f", texts of {median(words):g} words ({min(words)} to {max(words)})" if words else ""
    if split != TRAIN:
        said += f", searched in {len(source.gallery(split)):,} pictures"
    return said + (", answers hidden" if hidden else "")


def _pictures(query: Query) -> list[str]:
    return [query.reference_image, *([] if query.target_image is None else [query.target_image])]


def _twice(where: str, queries: Sequence[Query]) -> Iterator[str]:
    whole = Counter((query.reference_image, query.text.strip().lower(), query.target_image) for query in queries)
    if again := [query for query in whole if whole[query] > 1]:
        reference, text, target = again[0]
        yield (
            f"{where}: {sum(whole[one] - 1 for one in again):,} triplets say again what another one says, first"
            f" {reference} to {target}, {_quoted(text)}"
        )
    targets: dict[tuple[str, str], set[str | None]] = {}
    for reference, text, target in whole:
        targets.setdefault((reference, text), set()).add(target)
    if several := [asked for asked, found in targets.items() if len(found) > 1]:
        yield (
            f"{where}: {len(several):,} times the same picture and text have several targets, first {several[0][0]},"
            f" {_quoted(several[0][1])}; name all in one record's relevant_ids: else each is a wrong answer"
        )
    if unmoved := [query for query in queries if query.reference_image == query.target_image]:
        yield f"{where}: {len(unmoved):,} triplets have their reference as the target, first {unmoved[0].query_id}"


def _too_long(name: str, queries: Mapping[str, Sequence[Query]]) -> Iterator[str]:
    # No text has more tokens than bytes, and open_clip takes seconds to import.
    long = [(split, query) for split, of in queries.items() for query in of if len(query.text.encode()) > _LONGEST - 2]
    if not long:
        return
    from diptych.models.backbones.clip_tokenizers import plain_tokenizer

    tokenizer = plain_tokenizer(None, None)
    cut = [
        (number, split, query) for split, query in long if (number := len(tokenizer.encode(query.text)) + 2) > _LONGEST
    ]
    if cut:
        number, split, query = max(cut, key=lambda one: one[0])
        yield (
            f"{name}: {len(cut):,} texts have more than the {_LONGEST} tokens that CLIP reads and lose their end; the"
            f" longest, {query.query_id} of {split}, has {number}"
        )


def _trained_on(name: str, queries: Mapping[str, Sequence[Query]]) -> Iterator[str]:
    trained = {picture for query in queries.get(TRAIN, ()) for picture in _pictures(query)}
    for split, of in queries.items():
        if split == TRAIN:
            continue
        if leaks := [query for query in of if trained.intersection(_pictures(query))]:
            named = next(picture for picture in _pictures(leaks[0]) if picture in trained)
            yield (
                f"{name}: {len(leaks):,} of {len(of):,} queries of {split} have a picture that is trained on, first"
                f" {leaks[0].query_id} ({named}); what they measure is partly memory"
            )


def _alike(name: str, queries: Mapping[str, Sequence[Query]], paths: Mapping[str, Path], workers: int) -> Iterator[str]:
    used: dict[str, list[str]] = {}
    for split, of in queries.items():
        for picture in dict.fromkeys(one for query in of for one in _pictures(query)):
            used.setdefault(picture, []).append(split)
    pairs = find_alike(paths, workers, f"{name}: comparing pictures")
    for same, said in ((True, "the same files under different names"), (False, "nearly the same pictures")):
        chosen = [pair for pair in pairs if pair.same_bytes == same]
        if chosen:
            groups = groups_of(chosen)
            yield (
                f"{name}: {sum(map(len, groups)):,} pictures are {said}, in {len(groups):,} groups, first"
                f" {_named(groups[0])}; as right answers they count as wrong ones of each other"
            )
    if across := [pair for pair in pairs if _crosses(pair, used)]:
        pair = across[0]
        yield (
            f"{name}: {len(across):,} pairs of (nearly) the same pictures are on both sides of train and"
            f" another split, first {pair.first} and {pair.second}; remove one side, or give both a split together"
        )


def _crosses(pair: Alike, used: Mapping[str, Sequence[str]]) -> bool:
    first, second = set(used.get(pair.first, ())), set(used.get(pair.second, ()))
    return (TRAIN in first and bool(second - {TRAIN})) or (TRAIN in second and bool(first - {TRAIN}))


def _first_try(source: TripletSource, words: Sequence[str]) -> str:
    batch = min(_LARGEST_BATCH, len(source.triplets(TRAIN)))
    own = ["name=first_try", f"data.training.batch_size={batch}", f"trainer.max_steps={_STEPS}"]
    return in_shell("diptych", "train", "experiment=cir_rooms", *words, *own)


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "")


def _quoted(text: str) -> str:
    return f"'{text[:60]}{'...' if len(text) > 60 else ''}'"
