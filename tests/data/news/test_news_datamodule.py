"""Preparation and datamodule on a small newsroom, with a tiny tokenizer and sentence encoder."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from diptych.contracts.news import Article, NewsQuery
from diptych.data.news.evidence import EvidenceSelector
from diptych.data.news.fusion_preparation import FusionInput, FusionPreparation
from diptych.data.news.key_facts import NoFacts
from diptych.data.news.news_datamodule import NewsDataModule
from diptych.data.news.prompt import PromptTemplate
from diptych.data.news.published_evidence import PublishedRules
from diptych.models.fuser.chat_tokenizer import ChatTokenizer
from diptych.models.sentence_encoder import SentenceTransformerEncoder
from diptych.synthetic.newsroom.generate import NewsroomSettings
from diptych.synthetic.newsroom.source import Newsroom

pytestmark = pytest.mark.slow

SETTINGS = NewsroomSettings(num_train_families=2, num_val_families=1, num_test_families=1)
PROMPT = PromptTemplate("Write.", "Photo:", "Article:", 60, {"task": "In {words} words."}, None, "Caption:")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    source = Newsroom(tmp_path_factory.mktemp("data") / "newsroom", SETTINGS)
    source.prepare()
    return source


@pytest.fixture
def preparation(tiny_chat_model, tiny_sentence_model):
    def build(max_prompt_tokens=700, published=None, **settings):
        encoder = SentenceTransformerEncoder(str(tiny_sentence_model), device="cpu")
        selector = EvidenceSelector(encoder, published=published)
        return FusionPreparation(
            ChatTokenizer(str(tiny_chat_model)), PROMPT, selector, NoFacts(), max_prompt_tokens, **settings
        )

    return build


@pytest.fixture
def datamodule(source, preparation, tmp_path):
    def build(**settings):
        arguments = {
            "preparation": preparation(),
            "cache": str(tmp_path / "cache"),
            "retrieval": str(source.root / "retrieval" / "{split}.json"),
            "base_captions": str(source.root / "base_captions.csv"),
            "row_length": 2500,
            **settings,
        }
        return NewsDataModule({"newsroom": source}, **arguments)

    return build


# ---------------------------------------------------------------------------------------------------- preparing


def inputs(source, split="train", number=4):
    articles = source.articles()
    return [FusionInput(q, "A bridge.", articles[q.article_id]) for q in source.queries(split)[:number]]


def test_prompts_hold_evidence_up_to_the_budget_and_instructions_always(source, preparation):
    for budget in (400, 700, 3000):
        for item, prepared in zip(inputs(source), preparation(budget).prepare(inputs(source)), strict=True):
            text = preparation().tokenizer.hf.decode(prepared.prompt_ids)
            assert len(prepared.prompt_ids) <= budget
            assert "In 60 words." in text and "Caption:<|end|>" in text and prepared.evidence.text in text
            joined = " ".join(" ".join(item.article.text[c.start : c.end].split()) for c in prepared.evidence.chunks)
            assert joined == prepared.evidence.text != ""


def test_the_whole_article_is_its_beginning_up_to_the_budget(source, preparation):
    (item,) = inputs(source, number=1)
    (whole,) = preparation(900, whole_article=True).prepare([item])
    assert [chunk.start for chunk in whole.evidence.chunks] == [0] or item.article.text[
        : whole.evidence.chunks[0].start
    ].isspace()
    (everything,) = preparation(100_000, whole_article=True).prepare([item])
    assert everything.evidence.text == " ".join(item.article.text.split())


def test_photos_are_prepared_alike_alone_and_together(source, preparation):
    together = preparation().prepare(inputs(source))
    assert together == [preparation().prepare([item])[0] for item in inputs(source)]


def test_no_article_and_an_empty_one_leave_the_picture_alone(preparation):
    blank = Article("a1", "", "Title only", " \n ", "")
    prepared = preparation().prepare(
        [FusionInput(NewsQuery("q1"), "A bridge.", None), FusionInput(NewsQuery("q2"), "", blank)]
    )
    assert prepared[0].evidence.article_id is None and prepared[1].evidence.text == ""
    assert prepared[1].evidence.title == "Title only" and prepared[0].completion_ids == ()


def test_a_prompt_without_room_is_refused_by_name(source, preparation):
    with pytest.raises(
        ValueError, match=r"4 of 4 photos have prompts over .*max_prompt_tokens=60.*" + inputs(source)[0].query.query_id
    ):
        preparation(60).prepare(inputs(source))


# ---------------------------------------------------------------------------------------------------- articles


def article_ids(data):
    return [query.evidence.article_id for query in data.queries()]


def test_retrieved_annotated_and_mixed_evidence(source, datamodule):
    queries = source.queries("train")
    annotated = [query.article_id for query in queries]
    ranked = {
        r["query_id"]: r["results"][0]["article_id"]
        for r in json.loads((source.root / "retrieval/train.json").read_text())
    }
    retrieved = [ranked[query.query_id] for query in queries]
    assert article_ids(datamodule(evidence_source="annotated").training_data()) == annotated
    assert article_ids(datamodule(evidence_source="retrieved").training_data()) == retrieved
    assert article_ids(datamodule(evidence_source="mixed", mixed_share=1.0).training_data()) == annotated
    assert article_ids(datamodule(evidence_source="mixed", mixed_share=0.0).training_data()) == retrieved
    mixed = article_ids(datamodule(evidence_source="mixed", seed=1).training_data())
    assert all(found in pair for found, *pair in zip(mixed, annotated, retrieved, strict=True))


def test_a_changed_setting_makes_a_new_cache_and_the_old_one_stays(datamodule, preparation, tmp_path):
    first = datamodule().training_data()
    assert datamodule().training_data().folder == first.folder
    other = datamodule(preparation=preparation(600)).training_data()
    assert other.folder != first.folder and first.folder.is_dir()
    for settings in ({"evidence_source": "annotated"}, {"base_captions": None}):
        assert datamodule(**settings).training_data().folder not in (first.folder, other.folder)


def test_what_is_missing_is_counted(source, datamodule, tmp_path):
    retrieval = json.loads((source.root / "retrieval/val.json").read_text())
    retrieval[0]["results"] = []
    retrieval[1]["results"][0]["article_id"] = "#"
    retrieval[1]["results"] = retrieval[1]["results"][:1]
    (tmp_path / "val.json").write_text(json.dumps(retrieval))
    data = datamodule(retrieval=str(tmp_path / "{split}.json")).split_data("val")
    assert data.gaps == {"no_article": 2} and len(data.first_examples) == len(retrieval)


def test_the_topic_of_the_released_rules_is_in_the_prompt_and_the_cache(source, datamodule, preparation):
    module = datamodule(preparation=preparation(published=PublishedRules()))
    queries = list(module.split_data("val").queries())
    assert len({query.evidence.topic for query in queries}) > 1
    for query in queries:
        assert f"Topic: {query.evidence.topic.title()}" in preparation().tokenizer.hf.decode(query.prompt_ids)
    assert not any(query.evidence.topic for query in datamodule().split_data("val").queries())


def test_a_photo_that_a_file_lacks_stops_with_its_name(source, datamodule, tmp_path):
    lines = (source.root / "base_captions.csv").read_text().splitlines(keepends=True)
    lost = source.queries("val")[2].query_id
    (tmp_path / "b.csv").write_text("".join(line for line in lines if lost not in line))
    with pytest.raises(ValueError, match=rf"b\.csv: 1 photos of newsroom val are not in it: {lost}"):
        datamodule(base_captions=str(tmp_path / "b.csv")).split_data("val")
    with pytest.raises(ValueError, match=r"data\.retrieval names no file"):
        datamodule(retrieval=None).split_data("val")
    with pytest.raises(ValueError, match=r"examples have more than data\.row_length=500 tokens.*the longest"):
        datamodule(row_length=500).training_data()


def test_settings_that_do_not_exist_are_refused(datamodule):
    for settings, message in (
        ({"evidence_source": "best"}, r"data\.evidence_source='best' is not one of retrieved, annotated, mixed"),
        ({"evaluation_source": "mixed"}, r"data\.evaluation_source='mixed' is not one of retrieved, annotated"),
        ({"mixed_share": 1.5}, r"mixed_share=1\.5"),
    ):
        with pytest.raises(ValueError, match=message):
            datamodule(**settings)


# ---------------------------------------------------------------------------------------------------- loaders


def attached(module, accumulate=1, max_steps=5):
    module.trainer = SimpleNamespace(accumulate_grad_batches=accumulate, max_steps=max_steps)
    return module


def test_training_batches_hold_every_example_once_a_pass(datamodule):
    module = attached(datamodule(batch_size=2))
    loader = module.train_dataloader()
    expected = sorted(module.training_data().query_ids)
    seen, batches = [], iter(loader)
    while len(seen) < len(expected):
        seen += next(batches).query_ids
    assert sorted(seen[: len(expected)]) == expected


def wanting(module, *wants):
    """The module, told what the system's loss wants."""
    module.prepare_for(SimpleNamespace(wants=frozenset(wants)))
    return module


@pytest.mark.parametrize("wants", [(), ("prompt_labels",)])
@pytest.mark.parametrize("world", [1, 2])
def test_the_divisor_is_the_mean_number_of_labels_over_the_whole_step(datamodule, monkeypatch, world, wants):
    accumulate, per_rank = 2, []
    for number in range(world):
        monkeypatch.setattr("diptych.data.news.news_datamodule.rank", lambda number=number: number)
        monkeypatch.setattr("diptych.data.news.news_datamodule.world_size", lambda: world)
        module = wanting(attached(datamodule(packing=False), accumulate), *wants)
        batches = iter(module.train_dataloader())
        labels = [int((next(batches).labels != -100).sum()) for _ in range(2 * accumulate)]
        per_rank.append((labels, [module.labelled_tokens_per_batch(index) for index in range(2 * accumulate)]))
    for step in range(2):
        part = slice(step * accumulate, (step + 1) * accumulate)
        mean = sum(sum(labels[part]) for labels, _ in per_rank) / (accumulate * world)
        assert all(divisor == mean for _, divisors in per_rank for divisor in divisors[part])


@pytest.mark.parametrize("packing", [True, False])
def test_labels_are_of_the_completions_or_of_all_tokens_in_training_and_validation(datamodule, packing):
    module = attached(datamodule(packing=packing))
    data = module.split_data("val")
    for wants, expected in (((), data.completion_lengths), (("prompt_labels",), data.lengths - 1)):
        wanting(module, *wants)
        assert sum(int((batch.labels != -100).sum()) for batch in module.val_dataloader()) == expected.sum()
        batch = next(iter(module.train_dataloader()))
        assert int((batch.labels != -100).sum()) == module.labelled_tokens_per_batch(0)


def test_a_resumed_run_goes_on_with_the_next_batch(datamodule):
    whole = attached(datamodule())
    batches = iter(whole.train_dataloader())
    expected = [next(batches) for _ in range(6)]
    divisors = [whole.labelled_tokens_per_batch(index) for index in range(6)]
    resumed = attached(datamodule())
    resumed.load_state_dict({"batches": 3})
    rest = iter(resumed.train_dataloader())
    for index in range(3, 6):
        batch = next(rest)
        assert torch.equal(batch.input_ids, expected[index].input_ids)
        assert resumed.labelled_tokens_per_batch(index) == divisors[index]


@pytest.mark.parametrize("world", [1, 3, 50])
def test_validation_rows_are_shared_out_and_no_process_is_without(datamodule, monkeypatch, world):
    rows, names = [], []
    for number in range(world):
        monkeypatch.setattr("diptych.data.news.news_datamodule.rank", lambda number=number: number)
        monkeypatch.setattr("diptych.data.news.news_datamodule.world_size", lambda: world)
        module = attached(datamodule())
        batches = list(module.val_dataloader())
        assert batches
        rows += [module.validation_row(index) for index in range(len(batches))]
        names += [batch.query_ids for batch in batches]
    assert set(rows) == set(range(module.num_validation_rows))
    assert len(dict.fromkeys(rows)) == len(set(names))
    assert sorted(query_id for own in set(names) for query_id in own) == sorted(module.split_data("val").query_ids)
