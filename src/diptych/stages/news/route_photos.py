"""Which of several adapters a photo's caption is to be written with: by what its article is about."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from diptych.contracts.news import NewsSource, SentenceEncoder
from diptych.contracts.pipelines import Failure, Result
from diptych.data.news.retrieval_file import first_of_each_article, read_retrieval_of
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import write_json, write_json_lines
from diptych.storage.record_log import RecordFile
from diptych.text.sentences import first_sentences

log = logging.getLogger(__name__)

LEAD_SENTENCES = 3  # with the title about as much as sentence encoders read
_ATTEMPTS, _ROUNDS, _CLOSE = 10, 100, 1e-6  # of k-means; it ends when centres move less
_TRAIN = "train"


class RoutePhotos(RecordStage):
    """Gives every photo of `splits` one of several routes, by its article's title and first sentences: that whose
    centre is nearest (cosine), a centre being the mean embedding of the route's training articles.

    Routes are `groups`, each a list of kinds of event that the source knows its photos by; or `num_clusters` clusters
    of the training articles (k-means, `seed`), called `cluster_0` and so on, the largest first. A training photo's
    article is the annotated one. Another split's is too, or with `retrieval`, a file of candidates with `{split}` in
    its name, the first that was found.

    A record holds split, route, the similarity to each centre, and `known`: the group of the photo's kind, or the
    cluster that its training article is in; null where neither is known. The folder `output` has the files
    `ROUTE.jsonl` of the photos that are nearest and `known_ROUTE.jsonl` of those known to belong there, as a source's
    `photos` reads them, and `routes.json` with how many these are and, by split, how many of the known are routed so.
    Failures: `no_article`.
    """

    runtime_settings = ("retrieval", "output")

    def __init__(
        self,
        source: NewsSource,
        encoder: SentenceEncoder,
        splits: Sequence[str],
        output: str | Path,
        groups: Mapping[str, Sequence[str]] | None = None,
        num_clusters: int | None = None,
        retrieval: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        if (groups is None) == (num_clusters is None):
            raise ValueError("name the routes by groups={NAME: [kinds of event]}, or by num_clusters=N: one of the two")
        if groups is not None and len(groups) < 2:
            raise ValueError(f"groups has {len(groups)} routes: name two or more")
        if num_clusters is not None and num_clusters < 2:
            raise ValueError(f"num_clusters={num_clusters} must be 2 or more")
        self.source, self.encoder, self.splits, self.output = source, encoder, list(splits), Path(output)
        self.groups = None if groups is None else {name: list(kinds) for name, kinds in groups.items()}
        self.num_clusters, self.seed = num_clusters, seed
        self.retrieval = None if retrieval is None else str(retrieval)
        kinds = Counter(kind for kinds in (self.groups or {}).values() for kind in kinds)
        if twice := next((kind for kind, times in kinds.items() if times > 1), None):
            raise ValueError(f"groups: the kind {twice!r} is in several routes")

    def input_files(self) -> Sequence[Path]:
        """The files of candidates."""
        return [self._retrieved(split) for split in self.splits if self.retrieval is not None and split != _TRAIN]

    def output_files(self) -> Sequence[Path]:
        """`routes.json`, which comes last."""
        return [self.output / "routes.json"]

    def ids(self) -> Sequence[str]:
        """The photos of all splits."""
        return [query.query_id for split in self.splits for query in self.source.queries(split)]

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The route of each photo."""
        articles = {name: (split, article) for split in self.splits for name, article in self._articles(split).items()}
        known = {name: route for split in self.splits for name, route in self._known(split).items()}
        found = [name for name in ids if articles[name][1] is not None]
        names, centres = self._centres
        similarities = dict(
            zip(found, self._embeddings([articles[name][1] for name in found]) @ centres.T, strict=True)
        )
        for name in ids:
            if name not in similarities:
                yield Failure(name, "no_article", f"photo {name!r} has no article that it could be routed by")
                continue
            values = {route: round(float(value), 6) for route, value in zip(names, similarities[name], strict=True)}
            yield {
                "query_id": name,
                "split": articles[name][0],
                "route": names[int(similarities[name].argmax())],
                "known": known.get(name),
                "similarity": values,
            }

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """The lists, and how many photos are in each."""
        records: list[Mapping[str, Any]] = list(RecordFile(folder, "query_id").records().values())
        counts: dict[str, dict[str, int]] = {}
        for route in self._centres[0]:
            counts[route] = {}
            for title, key in ((route, "route"), (f"known_{route}", "known")):
                chosen = [{"query_id": record["query_id"]} for record in records if record[key] == route]
                counts[route][key] = len(chosen)
                write_json_lines(self.output / f"{title}.jsonl", chosen)
        right = {}
        for split in self.splits:
            known = [record for record in records if record["split"] == split and record["known"] is not None]
            right[split] = {"known": len(known), "routed_so": sum(one["route"] == one["known"] for one in known)}
        write_json(self.output / "routes.json", {"routes": counts, "splits": right, "no_article": len(failures)})
        for split, of in right.items():
            if of["known"]:
                log.info("%s: %d of %d photos go where they are known to belong", split, of["routed_so"], of["known"])

    # ------------------------------------------------------------------------------------------------ centres

    @cached_property
    def _centres(self) -> tuple[list[str], np.ndarray]:
        """The names of the routes, and the centre of each: (R, E), L2-normalised."""
        known = self._known(_TRAIN)
        names = list(self.groups) if self.groups is not None else sorted(set(known.values()), key=_number)
        articles = self._articles(_TRAIN)
        centres = []
        for name in names:
            members = [article for photo, article in articles.items() if known.get(photo) == name and article]
            if not members:
                raise ValueError(
                    f"no training photo of {self.source.name} is of route {name!r}: {(self.groups or {}).get(name)}"
                )
            centres.append(self._embeddings(members).mean(0))
        stacked = np.stack(centres)
        return names, stacked / np.linalg.norm(stacked, axis=1, keepdims=True)

    def _known(self, split: str) -> Mapping[str, str]:
        """The route that each photo is known to belong to."""
        if self.groups is None:
            return self._clusters if split == _TRAIN else {}
        kinds = self.source.kinds_of_event(split)
        if not kinds:
            raise ValueError(
                f"groups: {self.source.name} knows no kinds of event; take num_clusters=N, or leave groups out"
            )
        route_of = {kind: route for route, members in self.groups.items() for kind in members}
        return {photo: route_of[kind] for photo, kind in kinds.items() if kind in route_of}

    @cached_property
    def _clusters(self) -> dict[str, str]:
        assert self.num_clusters is not None
        articles = {photo: article for photo, article in self._articles(_TRAIN).items() if article is not None}
        vectors = self._embeddings(list(articles.values()))
        if len(np.unique(vectors, axis=0)) < self.num_clusters:
            raise ValueError(f"num_clusters={self.num_clusters}: there are fewer different training articles")
        cv2.setRNGSeed(self.seed)
        until = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, _ROUNDS, _CLOSE)
        _, labels, _ = cv2.kmeans(vectors, self.num_clusters, None, until, _ATTEMPTS, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
        largest_first = [label for label, _ in Counter(labels[:, 0].tolist()).most_common()]
        return {
            photo: f"cluster_{largest_first.index(label)}"
            for photo, label in zip(articles, labels[:, 0].tolist(), strict=True)
        }

    def _articles(self, split: str) -> dict[str, str | None]:
        """The id of each photo's article; None where there is none, or the database lacks it."""
        queries, there = self.source.queries(split), self.source.articles()
        if self.retrieval is None or split == _TRAIN:
            return {one.query_id: one.article_id if one.article_id in there else None for one in queries}
        ids = [query.query_id for query in queries]
        found = read_retrieval_of(self._retrieved(split), ids, there)
        first = {photo: first_of_each_article(candidates) for photo, candidates in found.items()}
        return {photo: first[photo][0].article_id if first.get(photo) else None for photo in ids}

    def _retrieved(self, split: str) -> Path:
        return Path(str(self.retrieval).replace("{split}", split))

    def _embeddings(self, article_ids: Sequence[str | None]) -> np.ndarray:
        articles = self.source.articles()
        found = [articles[str(article_id)] for article_id in article_ids]
        return self.encoder.encode([f"{one.title}\n{first_sentences(one.text, LEAD_SENTENCES)}" for one in found])


def _number(cluster: str) -> int:
    return int(cluster.rpartition("_")[2])
