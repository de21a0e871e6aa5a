import json
import multiprocessing
import pickle
from dataclasses import asdict

import pytest

import patience
from diptych.contracts.news import Chunk, Evidence, FusionExample, KeyFacts
from diptych.data.news.fusion_cache import PreparedQuery, from_record, open_or_prepare
from diptych.storage.key import key_of

EVIDENCE = Evidence("a1", "Bridge\nopens", "2020", "It opened.", (Chunk(0, 10, 0.5), Chunk(12, 20)), KeyFacts(("Ada",)))
QUERIES = [
    PreparedQuery("q0", "a bridge", EVIDENCE, ("One.", "Two."), (1, 2, 3), ((4, 9), (5, 6, 9))),
    PreparedQuery("q1", "", Evidence(), (), (7,), (), ("no_article", "no_base_caption")),
    *(PreparedQuery(f"q{n}", "x", EVIDENCE, ("c",), tuple(range(n)), ((n, 9),)) for n in range(2, 7)),
]
SETTINGS = {"format": 1, "what": "test"}


def prepare(start, stop):
    return QUERIES[start:stop]


def opened(folder, prepare=prepare, settings=SETTINGS):
    return open_or_prepare(folder, settings, len(QUERIES), prepare, block=2)


def content(data):
    return list(data.queries()), [data[position] for position in range(len(data))]


def test_a_line_gives_the_same_photo_again():
    for query in QUERIES:
        assert from_record(json.loads(json.dumps(asdict(query)))) == query


def test_every_reference_caption_is_an_example_and_hidden_answers_give_one_without(tmp_path):
    data = opened(tmp_path)
    assert len(data) == 8 and list(data.queries()) == QUERIES
    assert data[0] == FusionExample("q0", (1, 2, 3), (4, 9))
    assert data[1] == FusionExample("q0", (1, 2, 3), (5, 6, 9))
    assert data[2] == FusionExample("q1", (7,), ())
    assert data.lengths.tolist() == [len(e.prompt_ids) + len(e.completion_ids) for e in (data[i] for i in range(8))]
    assert data.completion_lengths.tolist()[:3] == [2, 3, 0]
    assert [data[int(position)].query_id for position in data.first_examples] == [query.query_id for query in QUERIES]
    assert data.gaps == {"no_article": 1, "no_base_caption": 1}


def test_what_is_there_is_opened_and_not_made_again(tmp_path):
    first = content(opened(tmp_path))

    def never(start, stop):
        raise AssertionError("prepared twice")

    again = opened(tmp_path, never)
    assert content(again) == first == content(pickle.loads(pickle.dumps(again)))
    with pytest.raises(AssertionError):
        opened(tmp_path, never, {**SETTINGS, "what": "else"})


def test_a_killed_preparation_goes_on_and_leaves_the_same(tmp_path):
    asked = []

    def killed(start, stop):
        asked.append(start)
        if start == 4:
            raise KeyboardInterrupt
        return prepare(start, stop)

    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path / "killed", killed)
    assert not (tmp_path / "killed" / key_of(SETTINGS)).exists()
    asked.clear()

    def rest(start, stop):
        asked.append(start)
        return prepare(start, stop)

    resumed, undisturbed = opened(tmp_path / "killed", rest), opened(tmp_path / "whole")
    assert asked == [4, 6]
    assert content(resumed) == content(undisturbed)
    for name in ("tokens.npy", "examples.npy", "queries.jsonl", "gaps.json"):
        assert (resumed.folder / name).read_bytes() == (undisturbed.folder / name).read_bytes()
    assert sorted(path.suffix for path in (tmp_path / "killed").iterdir()) == ["", ".lock"]


def _prepare_in_process(folder, queue):
    calls = []

    def counted(start, stop):
        calls.append(start)
        return prepare(start, stop)

    queue.put((content(opened(folder, counted)), len(calls)))


def test_of_several_processes_one_prepares(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_prepare_in_process, args=(tmp_path, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=patience.SECONDS) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(calls for _, calls in results) == [0, 0, 4]
    assert results[0][0] == results[1][0] == results[2][0]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file.* cannot be written to .*data\.cache"):
        opened(tmp_path / "file" / "cache")
