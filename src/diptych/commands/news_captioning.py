"""The stage of `caption_news` that writes captions: from articles and base captions to enriched ones, and a submission.

It stands above the other stages because it builds and scores the system that lies in a checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import lightning as L
from omegaconf import DictConfig, OmegaConf

from diptych.commands.caption_scoring import captions_file, score_written, write_captions
from diptych.commands.caption_variants import MODEL, Variant, ablation_variants
from diptych.commands.served_model import origin, prompt_server, served_model
from diptych.config.building import build
from diptych.config.plain_config import plain_section
from diptych.config.replacements import errors_in_typed_words, replaced
from diptych.config.trained import build_trained, checkpoint_path, config_of
from diptych.contracts.news import CaptionData, NewsSource
from diptych.contracts.pipelines import Failure, Result, SharedWork
from diptych.contracts.prompts import PromptServer
from diptych.data.news.base_captions import read_base_captions
from diptych.data.news.captions_file import read_captions
from diptych.data.news.retrieval_file import article_ids, read_retrieval
from diptych.parallel import checkpoints
from diptych.stages.running.record_stage import RecordStage
from diptych.submission.eventa import ZIP_NAME, write_eventa
from diptych.systems.caption_fuser import CaptionFuserSystem

log = logging.getLogger(__name__)


class WriteCaptions(RecordStage):
    """Captions of `split` by the fuser `checkpoint` (or the best one of a run directory), their scores, and EVENTA's
    submission file in the folder `submission`.

    Articles and base captions are those of the files `retrieval` and `base_captions`. The fuser's own data settings
    hold (its prompt, its selection of chunks) but for `changes`, by dotted names, and the `sources` and `cache` of this
    pipeline; these come as configs, since they are built together with the system, and so do the `replacements` of
    generation, prompt, evidence and metrics (see `config.replacements`). `ablation` writes further captions beside, as
    in evaluate.py, and a `server`, a config too, that holds the merged fuser writes in its place. The stage's folder is
    as evaluate.py leaves it. Records are `{"query_id", "caption"}`, for an ablation under `<its name>/<query id>`.

    Raises:
        ValueError: an ablation is not known; later, the checkpoint is no fuser's, or what it needs is missing.
    """

    runtime_settings = (
        *("checkpoint", "retrieval", "base_captions", "cache", "changes.cache", "ablation", "submission"),
        *("replacements.generation.batch_size", "replacements.evidence.encoder.folder"),
        *(f"server.{name}" for name in ("base_url", "api_key_env", "concurrency", "timeout_s", "max_retries")),
    )

    def __init__(
        self,
        checkpoint: str | Path,
        sources: Mapping[str, Any],
        retrieval: str | Path,
        base_captions: str | Path,
        data_dir: str,
        split: str,
        submission: str | Path,
        cache: str | None = None,
        changes: Mapping[str, Any] | None = None,
        ablation: str | Sequence[str] | None = None,
        replacements: Mapping[str, Any] | None = None,
        server: Mapping[str, Any] | None = None,
    ) -> None:
        if len(sources) != 1:
            raise ValueError(f"data.sources must hold one source of news photos, found {list(sources)}")
        self.checkpoint, self.sources, self.cache = checkpoint_path(str(checkpoint)), sources, cache
        self.changes, self.replacements = dict(changes or {}), dict(replacements or {})
        self.retrieval, self.base_captions = Path(retrieval), Path(base_captions)
        self.data_dir, self.split, self.submission = data_dir, split, Path(submission)
        self.variants = {"": MODEL, **ablation_variants(ablation)}
        self.server = None if server is None else prompt_server(server)

    def input_files(self) -> Sequence[Path]:
        """The checkpoint, what the stages before have left, and the drafts, if there are any."""
        drafts = self.replacements.get("drafts") or {}
        own = [Path(drafts["path"])] if drafts.get("path") else []
        return [self.retrieval, self.base_captions, self.checkpoint, *own]

    def output_files(self) -> Sequence[Path]:
        """The submission."""
        return [self.submission / ZIP_NAME]

    def ids(self) -> Sequence[str]:
        """The queries of the split, in file order, for each kind of captions."""
        return [_name(variant, query_id) for variant in self.variants for query_id in self._query_ids()]

    def shared_work(self) -> SharedWork:
        """The fuser writes on the trainer's devices."""
        return self._fuser

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """Scores, report and submission."""
        fuser = self._fuser
        fuser.prepare()
        about = {"experiment": fuser.trained.name, "checkpoint": str(self.checkpoint), "seed": fuser.trained.seed}
        about |= origin(fuser.replaced, self.server)
        score_written(fuser.system, fuser.datamodule, self.split, folder, self.variants, **about)
        written = read_captions(captions_file(folder, ""))
        captions = without_blanks(written, read_base_captions(self.base_captions))
        articles = article_ids(read_retrieval(self.retrieval))
        print(f"submission file: {write_eventa(self.submission, captions, articles, self._query_ids())}")  # noqa: T201

    @cached_property
    def _source(self) -> NewsSource:
        (source,) = self.sources.values()
        return build(OmegaConf.create(source), _convert_="all")

    def _query_ids(self) -> list[str]:
        return [query.query_id for query in self._source.queries(self.split)]

    def data_changes(self) -> dict[str, Any]:
        """What differs from the data that the fuser was trained with, by dotted names."""
        own = {"sources": self.sources, "cache": self.cache}
        files = {"retrieval": str(self.retrieval), "base_captions": str(self.base_captions)}
        return {**self.changes, **own, **files}

    @cached_property
    def _fuser(self) -> TrainedFuser:
        changes = self.data_changes()
        return TrainedFuser(
            self.checkpoint, changes, self.data_dir, self.split, self.variants, self.replacements, self.server
        )


class TrainedFuser:
    """The fuser of a checkpoint with its data, `changes` of whose section are made, and with `replacements`; the
    SharedWork of WriteCaptions. Where a `server` holds the model, it is not read here.

    Raises:
        ValueError: the checkpoint is no fuser's, is missing, or does not fit the data.
    """

    shows_progress = True

    def __init__(
        self,
        path: Path,
        changes: Mapping[str, Any],
        data_dir: str,
        split: str,
        variants: Mapping[str, Variant],
        replacements: Mapping[str, Any],
        server: PromptServer | None,
    ) -> None:
        self.path, self.split, self.variants, self.server = path, split, variants, server
        self._checkpoint = checkpoints.load(path)
        self.trained = config_of(self._checkpoint, path, data_dir)
        data, context = fuser_data(self.trained, changes), {"data_dir": data_dir, "seed": self.trained.seed}
        self.replaced = replaced(self.trained.system, data, replacements, **context)
        self.trained.system = self.replaced.system
        with errors_in_typed_words(self.replaced.said):
            weights = checkpoints.weights_of(self._checkpoint, path)
            datamodule, system = build_trained(self.trained, self.replaced.data, data_dir, weights, path)
        if system.kind != "captions":
            raise ValueError(f"{path}: this checkpoint composes images, it writes no captions; name a fuser's")
        # Of what ours have beside, Lightning's classes know nothing.
        self.datamodule, self.system = cast(CaptionData, datamodule), cast(CaptionFuserSystem, system)

    def prepare(self) -> None:
        """The examples of the split, which the other processes then find."""
        with errors_in_typed_words(self.replaced.said):
            self.datamodule.prepare_evaluation(self.split)

    def run(
        self, trainer: L.Trainer, folder: Path, ids: Sequence[str], keep: Callable[[Sequence[Result]], None]
    ) -> None:
        """Writes all captions that are missing, and keeps those of `ids`. The fuser shares them out by itself, and goes
        on where it was stopped.
        """
        self.prepare()
        served = None
        if self.server is None:
            self.system.load_pretrained(trainer.strategy.root_device, weights_follow=True)
            checkpoints.load_weights(self.system, self._checkpoint, self.path)
        else:
            served = served_model(self.server, checkpoints.weights_of(self._checkpoint, self.path))
        write_captions(trainer, self.system, self.datamodule, self.split, folder, self.variants, served)
        captions = {
            _name(variant, query_id): caption
            for variant in self.variants
            for query_id, caption in read_captions(captions_file(folder, variant)).items()
        }
        keep([{"query_id": name, "caption": captions[name]} for name in ids])


def fuser_data(trained: DictConfig, changes: Mapping[str, Any]) -> DictConfig:
    """The data section that a fuser was trained with, its settings of these dotted names replaced."""
    data = OmegaConf.create(plain_section(trained.data, resolve=False))
    for name, value in changes.items():
        OmegaConf.update(data, name, value, merge=False, force_add=True)
    return data


def without_blanks(captions: Mapping[str, str], base_captions: Mapping[str, str]) -> dict[str, str]:
    """The captions with the base caption in the place of a blank one, which a submission may not hold; said aloud."""
    blank = [query_id for query_id, caption in captions.items() if not caption.strip()]
    if blank:
        log.warning("%d captions are blank; the submission has their base captions: %s", len(blank), ", ".join(blank))
    return {**captions, **{query_id: base_captions.get(query_id, "") for query_id in blank}}


def _name(variant: str, query_id: str) -> str:
    """A record's id: that of the query, behind the kind of captions where these are not the fuser's own."""
    return f"{variant}/{query_id}" if variant else query_id
