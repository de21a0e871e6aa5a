"""The pipelines about pairs of images compose with every option, and the optional stage stands where it should."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from diptych.annotation.askers.batch import BatchAsker
from diptych.annotation.askers.local import LocalAsker
from diptych.annotation.askers.online import OnlineAsker
from diptych.annotation.askers.reader import ReaderAsker
from diptych.annotation.combine import SentenceCombiner
from diptych.annotation.layouts.cirr_rewritten import CIRRRewrittenLayout
from diptych.annotation.layouts.hotel_cir import HotelCIRLayout
from diptych.annotation.layouts.own_triplets import OwnTriplets
from diptych.commands.pipeline import prepare_config, stage_runs
from diptych.config import folder
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.models.backbones.clip_encoder import CLIPEncoder
from diptych.storage.record_log import RecordLog
from tiny_runs import compose_pipeline, run_pipeline_with

pytestmark = pytest.mark.slow

CONF = folder.CONFIG_FOLDER
ANNOTATION = ["pairs=p.jsonl", "out=o", "model=m"]
STAGES = {
    "annotate_triplets": ["describe_reference", "describe_target", "write_modifications", "combine", "export"],
    "annotate_independent": ["describe_reference", "describe_target", "write_modifications", "combine", "export"],
    "annotate_one_stage": ["one_stage", "combine", "export"],
    "verify_sentences": ["verify_sentences"],
    "rerank": ["verify_candidates", "rerank"],
    "audit_triplets": ["audit_triplets", "compare_ways"],
    "compare_ways": ["compare_ways"],
    "propose_pairs": ["embed_images", "propose_pairs"],
}
WORDS = {
    "annotate_triplets": ANNOTATION,
    "annotate_independent": ANNOTATION,
    "annotate_one_stage": ANNOTATION,
    "verify_sentences": [*ANNOTATION, "sentences=s.jsonl"],
    "rerank": ["out=o", "model=m", "predictions=p.jsonl", "data=rooms"],
    "audit_triplets": ["pairs=p.jsonl", "out=o", "ways={a: s.jsonl}"],
    "compare_ways": ["ways={a: s.jsonl}", "out=o"],
    "propose_pairs": ["images=i", "output=p.jsonl"],
}


@pytest.fixture(autouse=True)
def places(monkeypatch, tmp_path):
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DIPTYCH_RUNS", str(tmp_path / "runs"))


def stages(name, *words):
    return {run.name: run for run in stage_runs(prepare_config(compose_pipeline(f"pipeline={name}", *words)))}


@pytest.mark.parametrize("name", STAGES)
def test_every_pipeline_composes_and_builds(name):
    assert list(stages(name, *WORDS[name])) == STAGES[name]


@pytest.mark.parametrize("name", STAGES)
def test_what_is_missing_is_named(name):
    key = WORDS[name][0].partition("=")[0]
    with pytest.raises(ValueError, match=rf"pipeline={name} needs {key}=\.\.\."):
        prepare_config(compose_pipeline(f"pipeline={name}"))


@pytest.mark.parametrize(("asker", "kind"), [("online", OnlineAsker), ("batch", BatchAsker), ("local", LocalAsker)])
def test_askers(asker, kind):
    runs = stages("annotate_triplets", *ANNOTATION, f"asker={asker}", "max_cost_usd=2", "retry_failures=true")
    for name in STAGES["annotate_triplets"][:3]:
        asking = runs[name].stage.asking
        assert type(asking.asker) is kind and (asking.model, asking.max_cost_usd, asking.retry_failures) == (
            "m",
            2,
            True,
        )


def test_a_reader_names_itself_as_the_model():
    """Two readers' answers are told apart in a ledger; a name of another model is refused."""
    words = [*ANNOTATION[:2], "asker=reader", "asker.threshold=-0.5", "asker.settings.seed=4"]
    asking = stages("annotate_independent", *words)["describe_target"].stage.asking
    assert type(asking.asker) is ReaderAsker
    assert asking.model == asking.asker.model == "reader-w12-n600-h750-s4-t-0.5"
    with pytest.raises(ValueError, match="the asker asks 'reader-w12-.*, but model=m;"):
        stages("annotate_independent", *words, "model=m")


def test_combining_is_switched_off_with_one_word():
    assert isinstance(stages("annotate_triplets", *ANNOTATION)["combine"].stage.combiner, SentenceCombiner)
    assert stages("annotate_triplets", *ANNOTATION, "combine=off")["combine"].stage.combiner is None


@pytest.mark.parametrize("name", ["annotate_triplets", "annotate_one_stage"])
def test_agreement_is_switched_on_with_one_word(name, tmp_path):
    words = ["pairs=p.jsonl", f"out={tmp_path}", "model=m"]
    runs = stages(name, *words, "agreement=clip", "filtering.agreement.margin=0.02", "num_workers=3")
    assert list(runs) == [*STAGES[name][:-1], "filter_by_agreement", "export"]
    stage = runs["filter_by_agreement"].stage
    assert isinstance(stage.encoder, CLIPEncoder) and (stage.agreement.margin, stage.num_workers) == (0.02, 3)
    assert stage.input_files()[1] == tmp_path / "work/combine/records.jsonl"
    assert runs["export"].stage.texts == tmp_path / "work/filter_by_agreement/records.jsonl"
    assert {"combine", "filter_by_agreement"} <= set(runs["export"].stage.stages)
    without = stages(name, *words)["export"].stage
    assert without.texts == tmp_path / "work/combine/records.jsonl" and "filter_by_agreement" not in without.stages


@pytest.mark.parametrize("name", ["annotate_triplets", "annotate_one_stage"])
def test_the_layout_is_chosen_with_one_word(name):
    """The settings of the own layout are those of sets that were exported before there were others."""
    own = stages(name, *ANNOTATION)["export"]
    assert isinstance(own.stage.layout, OwnTriplets) and "layout" not in own.settings
    for layout, kind in (("cirr_rewritten", CIRRRewrittenLayout), ("hotel_cir", HotelCIRLayout)):
        words = [f"layout={layout}", "exporting.layout.split=val", "exporting.layout.texts=joined"]
        found = stages(name, *ANNOTATION, *words)["export"].stage.layout
        assert type(found) is kind and (found.split, found.texts) == ("val", "joined")


def test_what_does_not_agree_is_not_exported(tmp_path):
    """From sentences that are there, with an encoder that needs no weights and reads no text."""
    for name, colours in {"a": ("red", "blue"), "b": ("red", "#0000fe"), "c": ("blue", "yellow")}.items():
        picture = Image.new("RGB", (64, 64), colours[0])
        picture.paste(colours[1], (32, 0, 64, 64))
        picture.save(tmp_path / f"{name}.png")
    pairs = [
        {"pair_id": f"a{target}", "reference_image": "a.png", "target_image": f"{target}.png"} for target in ("b", "c")
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    for name in STAGES["annotate_triplets"][:3]:
        folder = tmp_path / "set/work" / name
        RecordLog(folder / "records.jsonl", "pair_id").write(
            {"pair_id": pair["pair_id"], "sentences": ["Paint the wall in a bright blue."]} for pair in pairs
        )
        (folder / "manifest.json").write_text(json.dumps({"key": name, "done": 2, "failed": {}}))
    run_pipeline_with(
        "pipeline=annotate_triplets",
        f"pairs={tmp_path / 'pairs.jsonl'}",
        f"out={tmp_path / 'set'}",
        "model=m",
        *(f"~stages.{name}" for name in STAGES["annotate_triplets"][:3]),
        "agreement=clip",
        "encoder@filtering.encoder=colour_layout",
        "filtering.agreement.margin=null",
        "trainer=cpu",
        "trainer.enable_progress_bar=false",
        "num_workers=0",
    )
    (triplet,) = TripletJSONL(tmp_path / "set").triplets("train")
    assert (triplet.query_id, triplet.modification_texts) == ("ac", ("Paint the wall in a bright blue.",))
    summary = json.loads((tmp_path / "set/summary.json").read_text())
    assert summary["not_exported"] == {"no_texts": 1}
    assert summary["stages"]["filter_by_agreement"] == {"done": 1, "failed": {"near_identical": 1}}
