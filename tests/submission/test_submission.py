from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import golden_files
from diptych.contracts.retrieval import RankedQuery
from diptych.data.triplets.circo import CIRCO
from diptych.data.triplets.cirr import CIRR
from diptych.data.triplets.hotel_cir import HotelCIR
from diptych.submission.__main__ import main
from diptych.submission.circo import write_circo
from diptych.submission.cirr import write_cirr
from diptych.submission.servers import check, write
from diptych.submission.verdict import Verdict

ASSETS = Path(__file__).parents[1] / "assets"
GROUP = [f"test1-{i}-0-img0" for i in range(6)]


@pytest.fixture
def cirr(tmp_path):
    """The invented test split, with enough images for lists of 50."""
    root = Path(shutil.copytree(ASSETS / "cirr", tmp_path / "cirr"))
    path = root / "image_splits/split.rc2.test1.json"
    paths = json.loads(path.read_text()) | {f"test1-9-{i}-img0": f"./test1/test1-9-{i}-img0.png" for i in range(60)}
    path.write_text(json.dumps(paths))
    return CIRR(root)


@pytest.fixture
def circo(tmp_path):
    root = Path(shutil.copytree(ASSETS / "circo", tmp_path / "circo"))
    path = root / "COCO2017_unlabeled/annotations/image_info_unlabeled2017.json"
    path.write_text(json.dumps({"images": [{"id": i, "file_name": f"{i:012d}.jpg"} for i in range(1, 81)]}))
    return CIRCO(root)


def _ranked(source):
    """What an evaluation hands over: the first 60 of the gallery without the reference, best first."""
    for query in source.queries("test"):
        gallery = [image.image_id for image in source.gallery("test") if image.image_id != query.reference_image]
        subset = tuple(image for image in query.group_member_ids if image != query.reference_image)
        yield RankedQuery(query.query_id, tuple(gallery[:60]), tuple(range(60, 0, -1)), None, (), 0, None, subset)


def _broken(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_cirr_files_are_what_the_server_takes(cirr, tmp_path):
    recall, subset = write_cirr(_ranked(cirr), tmp_path / "out")
    assert [path.name for path in (recall, subset)] == ["cirr_test1.recall.json", "cirr_test1.recall_subset.json"]
    content = json.loads(recall.read_text())
    assert list(content) == ["version", "metric", "501", "503"]
    assert (content["version"], content["metric"]) == ("rc2", "recall")
    assert [len(content[key]) for key in ("501", "503")] == [50, 50]
    assert GROUP[0] in content["501"]
    assert GROUP[0] not in content["503"]
    content = json.loads(subset.read_text())
    assert content == {
        "version": "rc2",
        "metric": "recall_subset",
        "501": [GROUP[0], GROUP[1], GROUP[3]],
        "503": [GROUP[1], GROUP[2], GROUP[3]],
    }
    for path in (recall, subset):
        assert check(path, cirr).violations == ()
    assert list((tmp_path / "out").glob("*.tmp")) == []


def test_circo_file_holds_integers(circo, tmp_path):
    path = write_circo(_ranked(circo), tmp_path)
    content = json.loads(path.read_text())
    assert list(content) == ["0", "1"]
    assert all(len(images) == 50 and all(type(image) is int for image in images) for images in content.values())
    verdict = check(path, circo)
    assert (verdict.violations, verdict.unchecked) == ((), ())


def test_writing_checks_and_says_what_the_server_would_refuse(cirr, circo, tmp_path, caplog):
    assert [path.name for path in write(tmp_path, _ranked(cirr), cirr)] == [
        "cirr_test1.recall.json",
        "cirr_test1.recall_subset.json",
    ]
    assert caplog.text == ""
    short = CIRCO(ASSETS / "circo")
    (path,) = write(tmp_path, _ranked(short), short)
    assert path.is_file()
    assert "query 0: must list 50 images, lists 5" in caplog.text
    assert write(tmp_path, [], HotelCIR(ASSETS / "hotel_cir")) == []


class OwnFormat:
    """What the server of somebody's own benchmark takes."""

    def write(self, folder, ranked):
        (folder / "own.txt").write_text(" ".join(query.query_id for query in ranked))
        return [folder / "own.txt"]

    def check(self, path, source, split):
        return Verdict((f"{source.name} {split}: {path.read_text()}",))


class OwnBenchmark(HotelCIR):
    """A source that names its server's format itself."""

    submission_format = f"{__name__}.OwnFormat"


def test_a_source_of_ones_own_names_its_format(cirr, tmp_path, caplog):
    source = OwnBenchmark(ASSETS / "hotel_cir")
    assert [path.name for path in write(tmp_path, _ranked(cirr), source)] == ["own.txt"]
    assert "hotel_cir test: 503 501" in caplog.text
    assert check(tmp_path / "own.txt", source).violations
    with pytest.raises(ValueError, match="data=hotel_cir has no test server"):
        check(tmp_path / "own.txt", HotelCIR(ASSETS / "hotel_cir"))


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        (lambda c: c["503"].__setitem__(1, c["503"][0]), f"query 503: image {GROUP[1]} appears twice"),
        (lambda c: c["503"].__setitem__(1, GROUP[0]), f"query 503: image {GROUP[0]} is the query's own reference"),
        (lambda c: c["503"].__setitem__(1, "dev-1-0-img0"), "query 503: image dev-1-0-img0 is not in the split's list"),
        (lambda c: c["503"].__setitem__(1, f"{GROUP[2]}.png"), "names have no extension"),
        (lambda c: c["503"].__setitem__(1, 7), "query 503: expected an image name (a string), found 7"),
        (lambda c: c["503"].pop(), "query 503: must list 50 images, lists 49"),
        (lambda c: c.update({"503": "x"}), 'query 503: expected a list of image ids, found "x"'),
        (lambda c: c.update({"503": {"a": 1}}), "query 503: expected a list of image ids"),
        (lambda c: c.pop("503"), "query 503: missing from the file"),
        (lambda c: c.update({"7": c["503"]}), "query 7: no query of the split has this id"),
        (lambda c: c.pop("version"), 'key "version" must be "rc2", found null'),
        (lambda c: c.update(version="rc1"), 'key "version" must be "rc2", found "rc1"'),
        (lambda c: c.update(metric="recall@5"), 'key "metric" must be "recall" or "recall_subset", found "recall@5"'),
        (lambda c: c.update(metric=["recall"]), 'key "metric" must be "recall" or "recall_subset", found ["recall"]'),
    ],
)
def test_each_broken_rule_of_cirr_has_its_own_message(cirr, tmp_path, change, violation):
    path = _broken(write_cirr(_ranked(cirr), tmp_path)[0], change)
    (found,) = check(path, cirr).violations
    assert violation in found


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        (lambda c: c["503"].__setitem__(0, "test1-9-0-img0"), "image test1-9-0-img0 is not among the six images"),
        (lambda c: c["503"].__setitem__(0, GROUP[0]), "is the query's own reference"),
        (lambda c: c["503"].append(GROUP[5]), "must list 3 images, lists 4"),
        (lambda c: c["503"].__setitem__(0, GROUP[2]), "appears twice"),
    ],
)
def test_each_broken_rule_of_cirrs_subset_file(cirr, tmp_path, change, violation):
    path = _broken(write_cirr(_ranked(cirr), tmp_path)[1], change)
    (found,) = check(path, cirr).violations
    assert found.startswith("query 503: ")
    assert violation in found


def test_a_file_above_the_servers_limit(cirr, tmp_path):
    path = write_cirr(_ranked(cirr), tmp_path)[0]
    path.write_text(path.read_text() + " " * 5_000_000)
    (found,) = check(path, cirr).violations
    assert "the server takes at most 5 MB" in found


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        (lambda c: c["1"].__setitem__(3, c["1"][0]), "query 1: image 1 appears twice"),
        (lambda c: c["1"].__setitem__(3, "1"), "query 1: image 1 appears twice"),
        (lambda c: c["1"].__setitem__(3, 99), "query 1: image 99 is not among COCO's unlabelled images"),
        (
            lambda c: c["1"].__setitem__(3, 70.0),
            "query 1: expected an image id (an integer, or one as text), found 70.0",
        ),
        (lambda c: c["1"].__setitem__(3, True), "found true"),
        (lambda c: c["1"].__setitem__(3, "70.jpg"), 'found "70.jpg"'),
        (lambda c: c["1"].pop(), "query 1: must list 50 images, lists 49"),
        (lambda c: c.pop("1"), "query 1: missing from the file"),
        (lambda c: c.update({"2": c["1"]}), "query 2: no query of the split has this id"),
    ],
)
def test_each_broken_rule_of_circo_has_its_own_message(circo, tmp_path, change, violation):
    path = _broken(write_circo(_ranked(circo), tmp_path), change)
    (found,) = check(path, circo).violations
    assert violation in found


def test_circo_accepts_integers_as_text(circo, tmp_path):
    path = write_circo(_ranked(circo), tmp_path)
    path.write_text(json.dumps({key: [str(i) for i in images] for key, images in json.loads(path.read_text()).items()}))
    assert check(path, circo).violations == ()


def test_a_key_that_occurs_twice_is_seen(circo, tmp_path):
    path = write_circo(_ranked(circo), tmp_path)
    path.write_text(path.read_text().replace('"1":', '"0":'))
    assert check(path, circo).violations == (
        "query 0: the key occurs 2 times in the file",
        "query 1: missing from the file",
    )


def test_without_cocos_list_the_rule_is_named_as_not_checked(circo, tmp_path):
    path = write_circo(_ranked(circo), tmp_path)
    shutil.rmtree(circo.root / "COCO2017_unlabeled")
    verdict = check(_broken(path, lambda c: c["1"].__setitem__(3, 99_999_999)), CIRCO(circo.root))
    assert verdict.violations == ()
    assert "not checked: whether the ids are among COCO's 123,403" in verdict.unchecked[0]


def test_unreadable_files(cirr, tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(ValueError, match="is not there"):
        check(path, cirr)
    path.write_text('{"version": ')
    with pytest.raises(ValueError, match=r"x\.json:1: not JSON .*column 13"):
        check(path, cirr)
    path.write_text("[]")
    with pytest.raises(ValueError, match="expected a JSON object"):
        check(path, cirr)


def test_command_line(cirr, tmp_path, capsys, monkeypatch):
    path = write_cirr(_ranked(cirr), tmp_path)[0]
    assert main(["check", str(path), "data=cirr", f"root={cirr.root}"]) == 0
    assert "keeps every rule" in capsys.readouterr().out
    monkeypatch.setenv("DIPTYCH_DATA", str(cirr.root.parent))
    path.write_text(json.dumps({"version": "rc2", "metric": "recall"} | {str(i): [] for i in range(30)}))
    assert main(["check", str(path), "data=cirr"]) == 1
    printed = capsys.readouterr().out
    assert printed.count("no query of the split has this id") == 20
    assert "... and 12 more" in printed
    assert main(["check", str(path), "data=fashioniq"]) == 2
    assert "data=fashioniq has no test server" in capsys.readouterr().err
    assert main(["check", str(path), "data=cirr", "spilt=val"]) == 2


def test_the_published_circo_example_keeps_the_rules():
    root = golden_files.beside_the_checkout("real/circo")
    assert check(root / "example_predictions_val.json", CIRCO(root), split="val").violations == ()
    violations = check(root / "example_predictions_val.json", CIRCO(root)).violations
    assert violations == tuple(f"query {number}: missing from the file" for number in range(220, 800))
