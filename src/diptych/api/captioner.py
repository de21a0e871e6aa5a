"""A trained captioning model in Python: a news photo and its article to a caption, with the evidence that it is of."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from diptych.config.inference import chosen_device, computing_in
from diptych.config.resolvers import register_resolvers
from diptych.config.trained import build_trained, checkpoint_path, config_of
from diptych.contracts.news import Article, CheckedClaim, Evidence, FusionExample, KeyFacts, NewsQuery
from diptych.data.news.fusion_preparation import FusionInput
from diptych.data.news.news_datamodule import NewsDataModule
from diptych.data.news.prompt import evidence_text
from diptych.extras import require
from diptych.parallel import checkpoints
from diptych.photos.photo_file import photo_size
from diptych.systems.caption_fuser import CaptionFuserSystem

if TYPE_CHECKING:
    from diptych.models.fuser.qlora_fuser import QLoRAFuser
    from diptych.stages.news.describe import Captioner as PhotoDescriber

GAPS = {  # of `FusedCaption.gaps`, in words
    "no_article": "there was no article",
    "empty_article": "the article has no text",
    "no_base_caption": "nothing says what the photo shows: a base caption would",
    "long_article": "the end of the article was not read",
    "long_base_caption": "the base caption was cut off",
    "no_evidence": "no part of the article found room in the prompt",
}
_ARTICLE_KEYS = ("article_id", "url", "title", "text", "date")


def load_captioner(
    checkpoint: str | Path,
    device: str | torch.device | None = None,
    *,
    describer: PhotoDescriber | None = None,
    precision: str = "auto",
) -> Captioner:
    """The captioning model of a checkpoint that `train.py` wrote, ready to caption photos.

    `checkpoint` is the file, or a run's folder, whose best checkpoint is taken; it holds the adapter and all settings
    of prompt, evidence and generation, and names the base model, which is read or downloaded.

    - `device` is torch's name of one (`cuda:1`); None takes the GPU if there is one.
    - `precision` is `32-true`, `bf16-mixed`, `16-mixed` or `auto`: as `trainer.precision`, and `auto` is what
      `evaluate.py` takes.
    - `describer` writes base captions, descriptions of what a photo shows, where none is given: for example a
      `diptych.models.captioners.image_text_to_text.ImageTextCaptioner`.

        captioner = diptych.load_captioner("runs/fuser_newsroom/latest")
        caption = captioner.caption("bridge.jpg", article={"title": "Bridge opens", "text": "..."})
        print(caption.text, caption.chunks)

    Raises:
        ValueError: an extra is missing (says which to install); the checkpoint is missing, damaged, not of a captioning
            system, or names classes that a checkpoint may not name; or the device or the precision cannot be used.
    """
    require("peft")
    register_resolvers()
    path, found = checkpoint_path(str(checkpoint)), chosen_device(device)
    computing_in(precision, found)
    loaded = checkpoints.load(path, weights_alone=True)
    data_dir = os.environ.get("DIPTYCH_DATA", "data")  # not the one of whoever trained it
    trained = config_of(loaded, path, data_dir)
    data, built = build_trained(trained, trained.data, data_dir, checkpoints.weights_of(loaded, path), path)
    if built.kind != "captions":
        raise ValueError(f"{path}: this checkpoint composes images, it writes no captions; load_retriever opens it")
    system = cast(CaptionFuserSystem, built)  # Lightning's class gives every attribute the type of a module's parts
    system.load_pretrained(found, weights_follow=True)
    checkpoints.load_weights(system, loaded, path)
    if describer is not None:
        describer.load()
    return Captioner(path, system, cast(NewsDataModule, data), describer, found, precision)


@dataclass(frozen=True, slots=True)
class FusedCaption:
    """A caption with what it was made of.

    - `text` is the caption; it may be empty, and is never replaced. `stop_reason` is `end_of_turn`, `target_words`, or
      `max_new_tokens` where the limit cut it off.
    - `evidence` is all that the prompt said of the article: title, date, facts, and its text with the spans of the
      chunks; `chunks` are their texts, in the article's order.
    - `base_caption` is the description of the photo that the prompt held.
    - `gaps` names what was missing: `no_article`, `empty_article`, `no_base_caption`, `long_article` (of which the end
      was not read), `long_base_caption` (of which it is cut off here too), `no_evidence` (nothing of it found room).
    - `prompt_tokens` and `completion_tokens` count the model's tokens.
    """

    text: str
    stop_reason: str
    evidence: Evidence
    chunks: tuple[str, ...]
    base_caption: str
    gaps: tuple[str, ...]
    prompt_tokens: int
    completion_tokens: int

    @property
    def article_title(self) -> str:
        """The article's headline; empty where there is none."""
        return self.evidence.title

    @property
    def facts(self) -> KeyFacts:
        """The names, dates and numbers that were found in the article."""
        return self.evidence.facts

    def __str__(self) -> str:
        return self.text


class Captioner:
    """Captions news photos with what their articles say. Made by `load_captioner`.

    Captions are those of `evaluate.py` on the same checkpoint, for the same base caption and article. Where the
    checkpoint's settings sample, the photo's file name decides the draws (`evaluate.py` takes its id), so that a
    caption is the same each time.
    """

    def __init__(
        self,
        checkpoint: Path,
        system: CaptionFuserSystem,
        data: NewsDataModule,
        describer: PhotoDescriber | None,
        device: torch.device,
        precision: str,
    ) -> None:
        self.checkpoint, self.device, self.precision = checkpoint, device, precision
        self._fuser, self._generator = cast("QLoRAFuser", system.model), system.generator
        self._preparation, self._tokenizer, self._describer = data.preparation, data.tokenizer, describer
        with torch.no_grad(), computing_in(precision, device):
            self._fuser.merge()

    def __repr__(self) -> str:
        return f"Captioner({str(self.checkpoint)!r}, device={str(self.device)!r})"

    def caption(
        self,
        photo: str | Path,
        article: str | Mapping[str, str] | Article | None,
        base_caption: str | None = None,
    ) -> FusedCaption:
        """The caption of a photo, with the evidence that it was made of.

        `article` is its text; `{"title": ..., "text": ..., "date": ...}`, of which the text alone is needed; an
        `Article`; or None. The language model sees no pixels: `base_caption` tells it what the photo shows. None asks
        the describer for it, and where there is none the prompt does without.

            captioner.caption("bridge.jpg", article="A bridge ...", base_caption="A ribbon across a road.")

        Raises:
            ValueError: the photo is missing or no image, the article has other keys or no text, or the prompt leaves no
                room for evidence.
        """
        path = Path(photo)
        photo_size(path)
        if base_caption is None:
            base_caption = self._described(path)
        known = as_article(article)
        item = FusionInput(NewsQuery(path.stem), base_caption, known, tuple(_gaps(known, base_caption)))
        (prepared,) = self._preparation.prepare([item])
        prompt = FusionExample(
            prepared.query_id,
            prepared.prompt_ids,
            evidence=evidence_text(prepared.evidence),
            target_words=prepared.target_words,
            base_caption=prepared.base_caption,
        )
        with torch.inference_mode(), computing_in(self.precision, self.device):
            (record,) = self._generator.answer(self._fuser.model, self._tokenizer, [prompt])
        return FusedCaption(
            text=record["caption"],
            stop_reason=record["stop_reason"],
            evidence=prepared.evidence,
            chunks=_texts(known, prepared.evidence),
            base_caption=prepared.base_caption,
            gaps=prepared.gaps,
            prompt_tokens=record["prompt_tokens"],
            completion_tokens=record["completion_tokens"],
        )

    def claims(self, caption: FusedCaption) -> list[CheckedClaim]:
        """The names, dates and numbers of a caption, in its order, each with whether its evidence states it, as
        `unsupported_entity_rate` counts them.

        Raises:
            ValueError: the checkpoint names no recogniser of names, or the one that it names is not installed.
        """
        checker = self._generator.claim_checker
        if checker is None:
            raise ValueError(f"{self.checkpoint} names no recogniser of names (system.generator.claim_checker)")
        return checker.checked_claims(caption.text, evidence_text(caption.evidence))

    def unsupported(self, caption: FusedCaption) -> list[str]:
        """The texts of those of the `claims` that the evidence does not state.

        Raises:
            ValueError: as `claims`.
        """
        return [claim.text for claim in self.claims(caption) if not claim.supported]

    def _described(self, photo: Path) -> str:
        if self._describer is None:
            return ""
        (written,) = self._describer.describe([self._describer.read(photo)])
        return written.text


def as_article(given: str | Mapping[str, str] | Article | None) -> Article | None:
    """What `Captioner.caption` takes an article for; one that has no id is called `article`.

    Raises:
        ValueError: it has other keys, or no text.
    """
    if given is None or isinstance(given, Article):
        return given
    parts: Mapping[str, Any] = {"text": given} if isinstance(given, str) else given
    unknown = [key for key in parts if key not in _ARTICLE_KEYS]
    if unknown or not isinstance(parts.get("text"), str):
        raise ValueError(f"an article has a text, and may have {', '.join(_ARTICLE_KEYS)}; found {sorted(parts)}")
    return Article(**{"article_id": "article", **dict.fromkeys(_ARTICLE_KEYS[1:], ""), **parts})


def _gaps(article: Article | None, base_caption: str) -> Sequence[str]:
    gaps = ["no_article"] if article is None else [] if article.text.strip() else ["empty_article"]
    return gaps if base_caption.strip() else [*gaps, "no_base_caption"]


def _texts(article: Article | None, evidence: Evidence) -> tuple[str, ...]:
    """The texts of the chunks, as they stand in the prompt."""
    if article is None:
        return ()
    return tuple(" ".join(article.text[chunk.start : chunk.end].split()) for chunk in evidence.chunks)
