"""Settings of stages as earlier versions wrote them into manifests, in this version's form.

So a pipeline that was begun with an earlier version goes on. What differed:

- modules lay elsewhere (`storage/moved_names.py`);
- stages that ask a model had prompt, domain and number of objects among their own settings, not in a `task`;
- captions by a server were a stage of their own, `DescribeByServer`;
- nothing of a checkpoint could be replaced in a pipeline, and no server wrote its captions;
- encoders of photos had no `dtype`: they computed in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diptych.storage.moved_names import with_moved_names

_ANNOTATION_TASK, _VERIFICATION_TASK = (
    "diptych.annotation.task.AnnotationTask",
    "diptych.annotation.task.VerificationTask",
)
_STAGES = "diptych.stages.annotation"
_TASKS = {
    f"{_STAGES}.describe_reference.DescribeReference": _ANNOTATION_TASK,
    f"{_STAGES}.describe_target.DescribeTarget": _ANNOTATION_TASK,
    f"{_STAGES}.write_modifications.WriteModifications": _ANNOTATION_TASK,
    f"{_STAGES}.one_stage.OneStage": _ANNOTATION_TASK,
    f"{_STAGES}.verify_sentences.VerifySentences": _VERIFICATION_TASK,
}
_WRITE_CAPTIONS = "diptych.commands.news_captioning.WriteCaptions"
_ENCODERS = {
    f"diptych.models.backbones.{name}"
    for name in ("beit3_encoder.BEiT3Encoder", "clip_encoder.CLIPEncoder", "siglip_encoder.SiglipEncoder")
}
_REPLACEMENTS = dict.fromkeys(("generation", "claim_checker", "prompt", "evidence", "length", "drafts", "metrics"))
_OF_TASK = ("prompt", "domain", "max_objects")
_RENAMED = {"diptych.stages.news.describe_by_server.DescribeByServer": "diptych.stages.news.describe.Describe"}


def present_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's settings as this version would have written them; present ones come back as they are."""
    present = with_moved_names(dict(settings))
    target = present.get("_target_")
    if not isinstance(target, str):
        return present
    if target in _RENAMED:
        present["_target_"] = _RENAMED[target]
    encoder = present.get("encoder")
    if isinstance(encoder, Mapping) and encoder.get("_target_") in _ENCODERS and "dtype" not in encoder:
        present["encoder"] = {**encoder, "dtype": "float32"}
    if target == _WRITE_CAPTIONS:
        present["replacements"] = {**_REPLACEMENTS, **(present.get("replacements") or {})}
        generation = present["replacements"]["generation"]
        if isinstance(generation, Mapping) and "_target_" in generation:
            present["replacements"]["generation"] = {"names": "any", **generation}
        present.setdefault("server", None)
    if target in _TASKS and "task" not in present:
        present["task"] = {
            "_target_": _TASKS[target],
            **{name: present.pop(name) for name in _OF_TASK if name in present},
        }
    return present
