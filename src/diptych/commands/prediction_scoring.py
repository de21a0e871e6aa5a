"""A file of rankings, whoever wrote it, scored as a checkpoint's ranking is: numbers, lines, and a report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from diptych.config import building
from diptych.contracts.retrieval import EvaluationProtocol, GalleryImage, Query, RankedQuery, TripletSource
from diptych.data.pairs.image_folder import ImageFolder
from diptych.metrics.retrieval.measuring import SetResult, measure
from diptych.metrics.retrieval.query_metric import ranks_wanted
from diptych.ranking.fitted_protocol import fitted, said_of_left_out
from diptych.ranking.known_ids import KnownIds, with_known_keys
from diptych.ranking.predictions_file import Rankings, read_rankings
from diptych.ranking.ranked_queries import rank_ids
from diptych.ranking.short_lists import short_lists
from diptych.report.write import write_report
from diptych.results.results import retrieval_record

log = logging.getLogger(__name__)


def score_rankings(config: DictConfig, sources: Mapping[str, TripletSource], run_dir: Path) -> None:
    """Scores `config.predictions` on the split of the sources, for which annotations are enough. The report is written
    where the pictures are: in the data's own places, or below `config.images`.

    Raises:
        ValueError: as `read_rankings` and `rank_ids`; there is no such metric; or `config.images` has no picture of the
            data.
    """
    path, split = Path(config.predictions), config.split
    rankings = read_rankings(path)
    log.info("%s: %s", path, rankings.say())
    names = config.data.evaluate_on or list(sources)
    for name, node in config.metrics.items():
        if "_target_" not in node:
            raise ValueError(f"metrics.{name}: there is no such metric among {', '.join(map(str, config.metrics))}")
    metrics = {name: building.build(node) for name, node in config.metrics.items()}
    queries = {name: sources[name].queries(split) for name in names}
    galleries = {name: _known_gallery(sources[name], split) for name in names}
    rankings = _of_known_queries(path, rankings, queries, sources)
    results = []
    for name in names:
        protocol = _fitted(name, sources[name].protocol(split), queries[name], galleries[name])
        ranked = _ranked(path, rankings, queries[name], protocol, galleries[name], ranks_wanted(metrics))
        result = measure(name, protocol, queries[name], ranked, metrics, with_bounds=True)
        result.gallery_ids = tuple(image.image_id for image in galleries[name] or ())
        if not protocol.answers_hidden:
            result.counts["lists_with_an_answer"] = sum(bool(one.relevant_ranks) for one in ranked)
        found = short_lists(ranked, protocol)
        result.short = {metric: short for metric, short in found.items() if metric in result.metrics}
        results.append(result)
    about = {"experiment": "predictions", "data": list(names), "split": split, "checkpoint": str(path)}
    about |= {"seed": config.seed, "world_size": 1}
    record = retrieval_record(results, **about)
    record.write(run_dir)
    for result in results:
        place = run_dir / "report" if len(results) == 1 else run_dir / "report" / result.name
        own = retrieval_record([result], **{**about, "data": result.name}).content()
        finder = _pictures(config.images, sources[result.name], split, galleries[result.name], result)
        if finder is not None:
            write_report(place, own, result.ranked, result.queries, finder)
    record.print(run_dir)


def _of_known_queries(
    path: Path,
    rankings: Rankings,
    queries: Mapping[str, Sequence[Query]],
    sources: Mapping[str, TripletSource],
) -> Rankings:
    """The rankings by the ids that the data has."""
    ids = [query.query_id for of_set in queries.values() for query in of_set]
    try:
        lines = with_known_keys(rankings.lines, ids, "predictions")
        if absent := [query_id for query_id in ids if query_id not in lines]:
            shown = ", ".join(absent[:10]) + (", ..." if len(absent) > 10 else "")
            raise ValueError(f"{len(absent)} queries without a prediction (of {len(ids)} queries): {shown}")
    except ValueError as error:
        made = dict.fromkeys(f"{name}: {sources[name].query_ids}" for name in queries if sources[name].query_ids)
        raise ValueError("; ".join([f"{path}: {error}", *(f"how ids are made in {one}" for one in made)])) from None
    return Rankings(rankings.form, lines, rankings.num_tied)


def _ranked(
    path: Path,
    rankings: Rankings,
    queries: Sequence[Query],
    protocol: EvaluationProtocol,
    gallery: Sequence[GalleryImage] | None,
    also: Any,
) -> list[RankedQuery]:
    lists, ids = rankings.lists, None if gallery is None else [image.image_id for image in gallery]
    own = {query.query_id: lists[query.query_id] for query in queries}
    try:
        return rank_ids(
            *(own, queries, protocol, ids, also),
            subsets=rankings.of_each("subset_ids"),
            scores=rankings.of_each("scores"),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _known_gallery(source: TripletSource, split: str) -> Sequence[GalleryImage] | None:
    """The split's gallery; None where the files that list it are not here, which scoring does not need."""
    try:
        return source.gallery(split)
    except ValueError as error:
        log.info("the ids of the predictions are not held against the gallery of %s: %s", source.name, error)
        return None


def _fitted(
    name: str, protocol: EvaluationProtocol, queries: Sequence[Query], gallery: Sequence[GalleryImage] | None
) -> EvaluationProtocol:
    if gallery is None:
        return protocol
    protocol = fitted(protocol, queries, len(gallery))
    if said := said_of_left_out(protocol, len(gallery)):
        log.warning("%s: %s", name, said)
    return protocol


def _pictures(
    images: str | None,
    source: TripletSource,
    split: str,
    gallery: Sequence[GalleryImage] | None,
    result: SetResult,
) -> Callable[[str], Path] | None:
    """What finds the pictures of a set: in the folder `images`, if that is given, else where the data has them; None,
    and a line that says so, where they are not.
    """
    if images is not None:
        return _found_below(Path(images), {image for query in result.queries for image in _named(query)})
    paths = {image.image_id: image.path for image in gallery or ()}

    def find(image_id: str) -> Path:
        return paths[image_id] if image_id in paths else source.image_path(split, image_id)

    if any(_is_there(find, query.reference_image) for query in result.queries):
        return find
    log.info(
        "there is no report of %s: its pictures are not in %s; images=FOLDER names another place",
        result.name,
        source.root,
    )
    return None


def _is_there(find: Callable[[str], Path], image_id: str) -> bool:
    try:
        return find(image_id).is_file()
    except (KeyError, ValueError, OSError):
        return False


def _named(query: Query) -> Iterable[str]:
    return [query.reference_image, *([query.target_image] if query.target_image else [])]


def _found_below(folder: Path, named: set[str]) -> Callable[[str], Path]:
    """What finds images in a folder: by their path in it, else by their name, without folder and ending."""
    files = {image.image_id: image.path for image in ImageFolder(folder).gallery()}
    known = KnownIds(files)

    def find(image_id: str) -> Path:
        name = known.find(image_id) or known.meant(image_id)
        if name is None:
            raise ValueError(f"{folder} has no picture {image_id}")
        return files[name]

    missing = sorted(image_id for image_id in named if not _is_there(find, image_id))
    if len(missing) == len(named):
        raise ValueError(
            f"images={folder}: none of its {len(files):,} pictures is one of the data, such as {missing[0]!r}, by path"
            f" in the folder or by name; there is {next(iter(files))!r}"
        )
    if missing:
        log.warning("images=%s: %d of %d pictures are not there: %s", folder, len(missing), len(named), missing[:3])
    return find
