"""What a run was asked: its queries with their pictures and texts, from the data that its config names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from omegaconf import OmegaConf

from diptych.config import building
from diptych.contracts.news import NewsSource
from diptych.contracts.retrieval import TripletSource
from diptych.data.pairs.image_pairs import read_pairs
from diptych.photos.image_urls import is_remote
from diptych.results.record import METRICS
from diptych.storage.json_files import read_json
from diptych.storage.yaml_files import read_yaml


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and its file; None where the data has none under that id."""

    image_id: str
    path: Path | None


@dataclass(frozen=True, slots=True)
class AskedQuery:
    """A query as people are shown it: the reference image or the news photo, the modification text, and what was
    wanted, where that is known: a target image, reference captions, an article. `find` gives the pictures of the
    gallery by their ids.
    """

    picture: Picture
    find: Callable[[str], Picture]
    text: str = ""
    target: Picture | None = None
    reference_captions: tuple[str, ...] = ()
    article_id: str | None = None


def read_queries(folder: Path) -> dict[str, AskedQuery]:
    """What the run in the folder was asked, by the query's name (behind its set and a bar, where there are several): a
    training that was scored at its end, an evaluation, a pipeline over news photos, or one over image pairs. Nothing is
    generated; of the data only annotations are read.

    Raises:
        ValueError: the folder says nothing of its data, or the data cannot be read; names the file.
    """
    of_study = folder / "config.yaml"  # written before the step was run; Hydra's own where it was run by itself
    config = OmegaConf.create(read_yaml(of_study if of_study.is_file() else folder / ".hydra" / "config.yaml"))
    if config.get("pairs"):
        return _of_pairs(config.pairs, config.get("images_root"))
    result = read_json(folder / METRICS, missing_ok=True) or {}
    own = OmegaConf.masked_copy(config, [key for key in ("data", "data_dir", "seed") if key in config])
    if config.get("ckpt") and "_target_" not in (config.get("data") or {}):  # the checkpoint's data, changed by these
        if "checkpoint" not in result:
            raise ValueError(f"{folder / METRICS} names no checkpoint, whose data it is of")
        trained = OmegaConf.create(read_yaml(Path(result["checkpoint"]).parents[1] / "config.yaml"))
        own.data = OmegaConf.merge(trained.data, own.get("data") or {})
    split = str(result.get("split") or config.get("split") or "val")
    names = result.get("data") or list(own.data.sources)
    asked: dict[str, AskedQuery] = {}
    for name in names:
        source = building.build(own.data.sources[name])
        found = (_of_photos if source.kind == NewsSource.kind else _of_triplets)(source, split)
        asked |= {f"{name}/{query_id}" if len(names) > 1 else query_id: query for query_id, query in found.items()}
    return asked


def _of_triplets(source: TripletSource, split: str) -> dict[str, AskedQuery]:
    find = partial(_picture, partial(source.image_path, split))
    return {
        query.query_id: AskedQuery(
            find(query.reference_image),
            find,
            query.text,
            None if query.target_image is None else find(query.target_image),
        )
        for query in source.queries(split)
    }


def _of_pairs(path: str, images_root: str | None) -> dict[str, AskedQuery]:
    def picture(image: str) -> Picture:
        return Picture(image.rpartition("/")[2], None if is_remote(image) else Path(image))

    return {
        pair.pair_id: AskedQuery(picture(pair.reference_image), picture, target=picture(pair.target_image))
        for pair in read_pairs(path, images_root).pairs
    }


def _of_photos(source: NewsSource, split: str) -> dict[str, AskedQuery]:
    photo, find = partial(_picture, partial(source.image_path, split)), partial(_picture, source.database_image_path)
    return {
        query.query_id: AskedQuery(
            photo(query.query_id), find, reference_captions=query.reference_captions, article_id=query.article_id
        )
        for query in source.queries(split)
    }


def _picture(path_of: Callable[[str], Path], image_id: str) -> Picture:
    try:
        return Picture(image_id, Path(path_of(image_id)))
    except (KeyError, ValueError):
        return Picture(image_id, None)
