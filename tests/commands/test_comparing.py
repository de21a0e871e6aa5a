"""`diptych report compare=[a,b]`, as users type it."""

from __future__ import annotations

import json
import re

import pytest

from diptych.commands.main import run
from diptych.config.arguments import read
from diptych.synthetic.rooms.source import Rooms
from run_folders import captions_result, result, write_run
from tiny_runs import TINY_ROOMS_SIZES
from tiny_sets import TINY, tiny_set

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny_set("rooms", folder / "rooms")
    return folder


@pytest.fixture
def pair(tmp_path, data):
    """Two evaluations of the first four queries: the first target comes to the top, the last is lost."""
    source = Rooms(data / "rooms", TINY)
    queries = source.queries("val")[:4]
    gallery = [image.image_id for image in source.gallery("val")]

    def write(name, ranks, **changes):
        hits = [float(rank == 1) for rank in ranks]
        scores = [{"query_id": q.query_id, "recall_at_1": hit} for q, hit in zip(queries, hits, strict=True)]
        folder = write_run(tmp_path / name, None, result(hits, **changes), scores)
        lines = []
        for query, rank in zip(queries, ranks, strict=True):
            others = [image_id for image_id in gallery if image_id != query.target_image][:9]
            ids = [*others[: rank - 1], query.target_image, *others[rank - 1 :]]
            line = {"query_id": query.query_id, "ranked_ids": ids, "scores": [0.5] * 10, "target_rank": rank}
            lines.append(json.dumps(line))
        (folder / "predictions.jsonl").write_text("\n".join(lines) + "\n")
        return folder

    return write("a", [9, 2, 1, 1]), write("b", [1, 2, 1, 5]), write, queries


def compare(pair, data, *words):
    compared = f"compare=[{pair[0]},{pair[1]}]"
    return run("report", [compared, f"data_dir={data}", *TINY_ROOMS_SIZES, *words])


def test_two_evaluations_side_by_side(pair, data, capsys):
    assert compare(pair, data) == 0
    page = pair[1] / "compared/index.html"
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    text = page.read_text(encoding="utf-8")
    assert "1 targets rank better in run 2, 1 worse, 2 the same" in text
    moved = re.findall(r'class="rank">(.*?)<', text)
    assert moved == ["target from rank 9 to rank 1", "target from rank 1 to rank 5"]
    queries = pair[3]
    better = text[text.index('id="better"') : text.index('id="worse"')]
    assert queries[0].text in better and queries[3].text not in better
    assert better.count("data:image/jpeg") == 2 * (2 + 6), "reference, target and six results, of both runs"


def test_what_was_not_measured_alike_is_refused(pair, data, capsys):
    pair[2]("b", [1, 2, 1, 5], split="test")
    assert compare(pair, data) == 2
    assert "were not measured alike and do not compare: split: 'val' and 'test'" in capsys.readouterr().err
    assert not (pair[1] / "compared").exists()


def test_other_data_is_asked_for(pair, data, capsys, tmp_path):
    lines = (pair[1] / "predictions.jsonl").read_text().replace(pair[3][0].query_id, "unknown")
    (pair[1] / "predictions.jsonl").write_text(lines)
    assert compare(pair, data, f"page={tmp_path / 'page'}") == 2
    said = capsys.readouterr().err
    assert "are not among those of rooms; name the data that the two were evaluated on, as data=NAME" in said
    for name in ("a", "b"):
        pair[2](name, [1, 2, 1, 5], data=["nothing"])
    assert compare(pair, data) == 2
    assert "the queries of nothing cannot be read; name their data, data=..." in capsys.readouterr().err


def test_captions_and_half_a_command_are_refused(pair, data, capsys, tmp_path):
    for name in ("c", "d"):
        write_run(tmp_path / name, None, captions_result(cider=0.5), [{"query_id": "q", "cider": 0.5}])
    assert run("report", [f"compare=[{tmp_path / 'c'},{tmp_path / 'd'}]"]) == 2
    assert "diptych sweep compare=[A,B] compares" in capsys.readouterr().err
    for words in ([], ["folder", "compare=[a,b]"], ["compare=[a]"], ["folder", "data=rooms"], ["folder", "page=x"]):
        assert run("report", words) == 2
        assert "compare=[DIR/a,DIR/b]" in capsys.readouterr().err


def test_an_override_does_not_take_the_place_of_a_word_that_is_left_out():
    def command(folder: str = "none", /, *overrides: str) -> None: ...

    assert read(command, ["data=rooms"]) == (["none", "data=rooms"], {})
    assert read(command, ["here", "data=rooms"]) == (["here", "data=rooms"], {})
