"""Every pipeline composes, its stages build without reading anything, and mistakes are answered."""

from __future__ import annotations

import re

import pytest
from omegaconf import OmegaConf

from diptych.commands.pipeline import prepare_config, stage_runs
from diptych.config import checking, command_line, folder
from diptych.config.short_names import with_full_names
from diptych.index.exact_index import ExactIndex
from diptych.index.faiss_index import FaissIndex
from diptych.index.rank_fusion import ReciprocalRank, TopTwoPooling, WeightedScores
from diptych.models.backbones.clip_encoder import CLIPEncoder
from diptych.stages.news.describe import Describe
from diptych.storage.file_lock import locked
from diptych.verification.published_policy import PublishedPolicy
from diptych.verification.verified_policy import VerifiedPolicy
from tiny_runs import compose_pipeline, run_pipeline_with

pytestmark = pytest.mark.slow

CONF = folder.CONFIG_FOLDER
NEWS = ("newsroom", "openevents")
ALONE = {  # what a pipeline without a source must be told
    "ensemble": ["inputs=[a.json,b.json]", "output=out.json"],
    "verify_geometry": ["input=a.json", "query_images=Q", "gallery_images=G", "output=out.json"],
}
OF_NEWS = {"news_retrieval": [], "caption_news": ["ckpt=a.ckpt"]}
AFTER_SEARCH = ["ensemble", "verify_geometry", "articles", "compare_rankings", "describe", "report"]


def options(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.fixture(autouse=True)
def places(monkeypatch, tmp_path):
    """Nothing is there, and what is written would lie here."""
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DIPTYCH_RUNS", str(tmp_path / "runs"))
    yield
    assert not (tmp_path / "data").exists() and not (tmp_path / "runs").exists()


def stages(*words):
    return {run.name: run for run in stage_runs(prepare_config(compose_pipeline(*words)))}


def test_the_type_of_an_encoder_is_settled_before_its_folder_is_begun():
    words = ["pipeline=news_retrieval", "data=newsroom", "+encoder@encoders.clip=clip_b32"]
    assert stages(*words)["embed_gallery_clip"].settings["encoder"]["dtype"] == "float32"
    published = ["pipeline=news_retrieval", "data=openevents", "news_models=published"]
    assert stages(*published)["embed_gallery_siglip"].stage.encoder.dtype == "float32"
    one = stages(*published, "encoders.siglip.dtype=bfloat16")
    assert [one[f"embed_gallery_{name}"].stage.encoder.dtype for name in ("siglip", "beit3_coco")] == [
        "bfloat16",
        "float32",
    ]


@pytest.mark.parametrize("option", options("search/encoder"))
def test_any_encoder_stands_in_the_place_of_a_published_one(option, tmp_path):
    (tmp_path / "one.ckpt").touch()
    words = [f"encoder@encoders.siglip={option}"]
    words += [f"encoders.siglip.checkpoint={tmp_path}/one.ckpt"] * (option == "cir_checkpoint")
    found = stages("pipeline=news_retrieval", "data=openevents", "news_models=published", *words)
    encoder = found["embed_gallery_siglip"].settings["encoder"]
    assert encoder.get("dtype", "float32") == "float32"


def names_of(*encoders):
    steps = ("embed_gallery", "embed_queries", "retrieve_images")
    return [f"{step}_{encoder}" for step in steps for encoder in encoders] + AFTER_SEARCH


def test_the_sets_and_pipelines_of_news():
    assert {*ALONE, *OF_NEWS} <= set(options("pipeline"))
    assert set(options("news_models")) == {*NEWS, "published"}


def test_the_published_retrieval_is_one_word():
    """Three encoders, the two best of each, the released verification, and captions of the photo that was found."""
    runs = stages("pipeline=news_retrieval", "data=openevents", "news_models=published")
    assert list(runs) == names_of("beit3_f30k", "beit3_coco", "siglip")
    checkpoints = [runs[f"embed_gallery_{name}"].stage.encoder.checkpoint for name in ("beit3_f30k", "beit3_coco")]
    assert ["f30k" in str(checkpoints[0]), "coco" in str(checkpoints[1])] == [True, True]
    assert "siglip-so400m-patch14-384" in str(runs["embed_gallery_siglip"].settings)
    assert isinstance(runs["verify_geometry"].stage.policy, PublishedPolicy)
    assert isinstance(runs["ensemble"].stage.fusion, TopTwoPooling)
    assert runs["describe"].settings["image"] == "matched"


@pytest.mark.parametrize("name", ALONE)
def test_a_stage_alone_needs_no_source(name, tmp_path):
    (run,) = stages(f"pipeline={name}", *ALONE[name]).values()
    assert run.name == name and run.folder == tmp_path / "runs" / name / name
    assert [str(path) for path in run.stage.output_files()] == ["out.json"]
    with_folders = stages(f"pipeline={name}", *ALONE[name], "data=newsroom")  # data is of no importance
    assert with_folders[name].settings == run.settings


@pytest.mark.hostile("limits")
def test_two_pipelines_do_not_work_in_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("diptych.commands.pipeline.RUN_PATIENCE", 0)
    words = ["pipeline=ensemble", *ALONE["ensemble"], "trainer=cpu", f"work_dir={tmp_path / 'work'}"]
    with (
        locked(tmp_path / "work/.pipeline.lock"),
        pytest.raises(ValueError, match="work: another pipeline is at work here; wait for it, or name another"),
    ):
        run_pipeline_with(*words)
    with pytest.raises(ValueError, match="a.json"):  # then it begins
        run_pipeline_with(*words)


@pytest.mark.parametrize("data", NEWS)
@pytest.mark.parametrize("name", OF_NEWS)
def test_every_pipeline_composes_and_builds_with_each_set_of_news(name, data, tmp_path):
    runs = stages(f"pipeline={name}", f"data={data}", *OF_NEWS[name])
    encoders = ("colour_layout", "oriented_gradients") if data == "newsroom" else ("beit3", "siglip2")
    assert list(runs) == names_of(*encoders) + (["write_captions"] if name == "caption_news" else [])
    first, last = (runs[f"embed_gallery_{encoder}"] for encoder in encoders)
    assert first.folder == tmp_path / "data" / f"{data}_prepared/gallery" / encoders[0]
    assert runs["describe"].folder == tmp_path / "runs" / name / f"{data}_test/describe"
    assert type(first.stage.encoder) is not type(last.stage.encoder)
    assert first.stage.split is None and runs[f"embed_queries_{encoders[0]}"].stage.split == "test"
    assert runs["ensemble"].stage.input_files() == [
        tmp_path / "runs" / name / f"{data}_test" / f"retrieve_images_{encoder}/retrieval.json" for encoder in encoders
    ]
    assert list(runs["articles"].stage.compare) == [*(f"retrieve_images_{encoder}" for encoder in encoders), "ensemble"]
    assert list(runs["report"].stage.stages) == names_of(*encoders)[:-1]
    assert runs["report"].stage.stages["describe"] == runs["describe"].folder


def test_another_split_has_another_folder_and_the_same_gallery():
    runs = {split: stages("pipeline=news_retrieval", "data=newsroom", f"split={split}") for split in ("val", "test")}
    folders = {split: of["articles"].folder.parent.name for split, of in runs.items()}
    assert folders == {"val": "newsroom_val", "test": "newsroom_test"}
    assert runs["val"]["embed_gallery_colour_layout"].settings == runs["test"]["embed_gallery_colour_layout"].settings
    assert runs["val"]["embed_gallery_colour_layout"].folder == runs["test"]["embed_gallery_colour_layout"].folder


def test_a_third_encoder_is_one_word():
    runs = stages(
        "pipeline=news_retrieval",
        "data=newsroom",
        "+encoder@encoders.third=clip_b32",
        "encoders.third.backbone.pretrained=null",
    )
    assert list(runs) == names_of("colour_layout", "oriented_gradients", "third")
    for step in ("embed_gallery", "embed_queries"):
        assert isinstance(runs[f"{step}_third"].stage.encoder, CLIPEncoder)
    search = runs["retrieve_images_third"].stage
    assert (search.queries, search.gallery) == (runs["embed_queries_third"].folder, runs["embed_gallery_third"].folder)
    assert [path.parent.name for path in runs["ensemble"].stage.input_files()] == [
        f"retrieve_images_{encoder}" for encoder in ("colour_layout", "oriented_gradients", "third")
    ]
    assert runs["articles"].stage.compare["retrieve_images_third"].parent == runs["retrieve_images_third"].folder
    assert "retrieve_images_third" in runs["report"].stage.stages


def test_an_encoder_is_left_out_with_one_word():
    runs = stages("pipeline=news_retrieval", "data=newsroom", "~encoders.colour_layout")
    assert list(runs) == names_of("oriented_gradients")


@pytest.mark.parametrize("option", options("search/encoder"))
def test_every_encoder_binds(option):
    words = ["pipeline=news_retrieval", "data=newsroom", f"+encoder@encoders.other={option}"]
    section = OmegaConf.to_container(prepare_config(compose_pipeline(*words)).encoders, resolve=True)
    checking.check_section("encoders", section)


@pytest.mark.parametrize("option", options("captioner"))
def test_every_captioner_binds(option):
    model = ["captioner.client.model=a-model"] if option == "server" else []
    describe = stages("pipeline=news_retrieval", "data=openevents", f"captioner={option}", *model)["describe"]
    assert describe.settings["captioner"]["_target_"].startswith("diptych.models.captioners.")
    assert (describe.stage.shared_work() is None) == (option == "server")


def test_a_set_whose_captions_are_copied_can_be_described():
    words = ["stage@describe=describe", "+captioner=server", "captioner.client.model=m", "describe.image=matched"]
    describe = stages("pipeline=news_retrieval", "data=newsroom", *words)["describe"].stage
    assert isinstance(describe, Describe) and describe.photos.image == "matched"


POLICIES = {"off": type(None), "published": PublishedPolicy, "verified": VerifiedPolicy}
FUSIONS = {"top_two": TopTwoPooling, "reciprocal_rank": ReciprocalRank, "weighted_scores": WeightedScores}
INDEXES = {"exact": ExactIndex, "hnsw": FaissIndex, "ivf_pq": FaissIndex}


def test_these_are_all_choices():
    assert [options(f"search/{group}") for group in ("policy", "fusion", "index")] == [
        sorted(choices) for choices in (POLICIES, FUSIONS, INDEXES)
    ]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["news_retrieval", "verify_geometry"])
def test_policies(name, policy):
    runs = stages(f"pipeline={name}", "data=newsroom", *ALONE.get(name, []), f"policy={policy}")
    assert type(runs["verify_geometry"].stage.policy) is POLICIES[policy]


def test_verification_is_on_by_default():
    assert type(stages("pipeline=news_retrieval")["verify_geometry"].stage.policy) is VerifiedPolicy


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("name", ["news_retrieval", "ensemble"])
def test_fusions(name, fusion):
    runs = stages(f"pipeline={name}", "data=newsroom", *ALONE.get(name, []), f"fusion={fusion}")
    assert type(runs["ensemble"].stage.fusion) is FUSIONS[fusion]


@pytest.mark.parametrize("index", INDEXES)
def test_indexes(index):
    if index != "exact":
        pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    runs = stages("pipeline=news_retrieval", "data=newsroom", f"index={index}")
    assert type(runs["retrieve_images_colour_layout"].stage.index) is INDEXES[index]


def test_settings_reach_their_stages():
    runs = stages(
        "pipeline=news_retrieval",
        "data=newsroom",
        "policy.min_inliers=12",
        "fusion.weights=[1,2]",
        "encoders.colour_layout.grid=4",
    )
    assert runs["verify_geometry"].stage.policy.min_inliers == 12
    assert runs["ensemble"].stage.fusion.weights == [1, 2]  # a list, none of Hydra's
    assert type(runs["ensemble"].stage.fusion.weights) is list
    assert runs["embed_queries_colour_layout"].stage.encoder.grid == 4


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "+fusion.wieghts=[1,2]",
            r"unknown key 'stages\.ensemble\.fusion\.wieghts'. Did you mean 'stages\.ensemble\.fusion\.weights'",
        ),
        ("+stages.articles.dept=5", r"unknown key 'stages\.articles\.dept'. Did you mean 'stages\.articles\.depth'"),
        (
            "+encoders.colour_layout.gird=4",
            r"unknown key 'stages\.embed_gallery_colour_layout\.encoder\.gird'. Did you",
        ),
        (
            "stages.ensemble._target_=diptych.stages.news.ensemble.Ensembel",
            "there is no diptych.stages.news.ensemble.Ensembel",
        ),
    ],
)
def test_a_misspelt_key_gets_the_nearest_one(word, message):
    with pytest.raises(ValueError, match=message):
        stages("pipeline=news_retrieval", "data=newsroom", word)


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["pipeline=ensemble"], r"pipeline=ensemble needs inputs=\.\.\., output=\.\.\."),
        (["pipeline=ensemble", "inputs=[a.json]"], r"pipeline=ensemble needs output=\.\.\.$"),
        (["pipeline=verify_geometry", "input=a.json"], r"needs query_images=\.\.\., gallery_images=\.\.\., output="),
        (["pipeline=caption_news", "data=newsroom"], r"pipeline=caption_news needs ckpt=\.\.\."),
    ],
)
def test_what_is_missing_is_named(words, missing):
    with pytest.raises(ValueError, match=missing):
        prepare_config(compose_pipeline(*words))


def test_without_a_pipeline_all_are_named():
    error = ValueError("Missing mandatory value: name")
    message = command_line.explain(error, "pipeline")
    assert message.startswith("no pipeline is named")
    assert "pipeline=compare_ways, pipeline=dialogues, pipeline=ensemble" in message


def test_a_refused_setting_is_said_before_anything_runs():
    with pytest.raises(ValueError, match="inputs of the ensemble are empty"):
        stages("pipeline=ensemble", "inputs=[]", "output=out.json")
    with pytest.raises(ValueError, match="pipeline=news_retrieval has no stages"):
        stages("pipeline=news_retrieval", "data=newsroom", "~stages", "+stages={}")


def test_without_an_encoder_nothing_is_searched():
    with pytest.raises(ValueError, match="pipeline=news_retrieval has no encoder to search with; choose data=newsroom"):
        stages("pipeline=news_retrieval", "data=rooms")
    with pytest.raises(ValueError, match="has no encoder"):
        stages("pipeline=news_retrieval", "data=newsroom", "~encoders.colour_layout", "~encoders.oriented_gradients")


def test_what_marked_a_stage_for_each_encoder_says_what_it_is_now():
    with pytest.raises(ValueError, match=r"stages\.embed_gallery_ENCODER is stages\.embed_gallery now"):
        stages("pipeline=news_retrieval", "data=newsroom", "+stages.embed_gallery_ENCODER.batch_size=8")


def test_a_setting_of_a_stage_holds_for_every_encoder():
    runs = stages("pipeline=news_retrieval", "data=newsroom", "+stages.embed_queries.batch_size=7")
    assert {runs[name].stage.batch_size for name in runs if name.startswith("embed_queries_")} == {7}


def test_without_the_report_nothing_else_changes():
    without = stages("pipeline=news_retrieval", "data=newsroom", "~stages.report")
    assert list(without) == names_of("colour_layout", "oriented_gradients")[:-1]
    left_out = stages("pipeline=news_retrieval", "data=newsroom", "~stages.describe")["report"]
    assert "describe" not in left_out.stage.stages


OWN_STAGE = """
from diptych.stages.running.record_stage import RecordStage
from diptych.index.rank_fusion import TopTwoPooling
from diptych.verification.published_policy import PublishedPolicy


class Shuffle(RecordStage):
    def __init__(self, input, seed=0):
        self.input, self.seed = input, seed

    def ids(self):
        return ["q"]

    def process(self, ids):
        yield {"query_id": "q"}
"""


def test_a_stage_of_ones_own_is_one_file_one_yaml_and_one_word(tmp_path, monkeypatch):
    """In a folder of the user's own, as `--config-dir` names it."""
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage/shuffle.py").write_text(OWN_STAGE)
    (tmp_path / "conf/stage").mkdir(parents=True)
    (tmp_path / "conf/stage/shuffle.yaml").write_text(
        "_target_: mypackage.shuffle.Shuffle\ninput: ${work_dir}/ensemble/retrieval.json\nafter: ensemble\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "mypackage/.."))
    words = ["pipeline=news_retrieval", "data=newsroom", f"hydra.searchpath=[file://{tmp_path}/conf]"]
    runs = stages(*words, "+stage@stages.shuffle=shuffle", "+stages.shuffle.seed=3")
    assert list(runs)[list(runs).index("ensemble") + 1] == "shuffle" and len(runs) == 13
    assert runs["shuffle"].stage.seed == 3 and runs["shuffle"].settings == {
        "_target_": "mypackage.shuffle.Shuffle",
        "input": str(runs["ensemble"].folder / "retrieval.json"),
        "seed": 3,
    }
    with pytest.raises(ValueError, match=r"stages\.shuffle\.after=nothing: there is no such other stage"):
        stages(*words, "+stage@stages.shuffle=shuffle", "stages.shuffle.after=nothing")
    for_each = stages(*words, "+stage@stages.shuffle=shuffle", "+stages.shuffle.for_each=encoders")
    assert {"shuffle_colour_layout", "shuffle_oriented_gradients"} < set(for_each)
    elsewhere = stages(*words, "+stage@stages.shuffle=shuffle", f"+stages.shuffle.folder={tmp_path}/here")
    assert elsewhere["shuffle"].folder == tmp_path / "here"
    with pytest.raises(ValueError, match=r"stages\.shuffle\.for_each=things: the config has no mapping"):
        stages(*words, "+stage@stages.shuffle=shuffle", "+stages.shuffle.for_each=things")


def test_every_stage_is_a_file_that_a_pipeline_or_a_group_names():
    named = "".join(path.read_text() for path in CONF.rglob("*.yaml"))
    assert len(options("stage")) > 20
    for name in options("stage"):
        assert re.search(rf"/stage@[a-z_.]+: {name}$", named, re.MULTILINE), name


@pytest.mark.parametrize(
    ("word", "full"),
    [
        ("policy=off", "search/policy=off"),
        ("+encoder@encoders.a=clip_b32", "+search/encoder@encoders.a=clip_b32"),
        ("~fusion", "~search/fusion"),
        ("asker=batch", "annotation/asker=batch"),
        ("prompt/annotation@p=x", "annotation/prompt@p=x"),
        *[(word, word) for word in ("policy.max_side=3", "search/index=hnsw", "prompt@a.b=x", "--cfg", "data=rooms")],
        ("x.policy=1", "x.policy=1"),
    ],
)
def test_short_names_of_groups(word, full):
    assert with_full_names([word]) == [full]
