from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from diptych.contracts.news import Candidate
from diptych.contracts.pipelines import Failure
from diptych.data.news.retrieval_file import read_retrieval, write_retrieval
from diptych.stages.news.verify_geometry import VerifyGeometry
from diptych.storage.record_log import RecordFile
from diptych.verification.features import Sift
from diptych.verification.verified_policy import VerifiedPolicy
from warm_python import warm

POLICY = VerifiedPolicy(detector=Sift(num_features=300), depth=3)


def draw(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    canvas = np.full((180, 240, 3), 128, np.uint8)
    for _ in range(60):
        corners = rng.uniform(0, (240, 180)) + rng.normal(0, 14, (4, 2))
        cv2.fillPoly(canvas, [np.int32(corners)], tuple(int(value) for value in rng.integers(0, 256, 3)), cv2.LINE_AA)
    return canvas


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Four queries: right already, third, of an unreadable photo, of an absent photo; `flat` is among the pictures."""
    queries, gallery = tmp_path / "queries", tmp_path / "gallery"
    queries.mkdir()
    gallery.mkdir()
    for number in range(4):
        cv2.imwrite(str(gallery / f"g{number}.jpg"), draw(number))
    cv2.imwrite(str(gallery / "flat.png"), np.full((90, 120, 3), 50, np.uint8))
    cv2.imwrite(str(queries / "right.jpg"), draw(0)[10:170, 15:220] // 2)
    cv2.imwrite(str(queries / "third.png"), draw(2)[5:160, 5:200])
    (queries / "broken.jpg").write_bytes(b"\xff\xd8 nothing")
    first, second, third, fourth = (Candidate(f"g{n}", f"a{n}", 0.9 - n / 10) for n in range(4))
    flat, gone = Candidate("flat", "a8", 0.95), Candidate("gone", "a9", 0.5)
    retrieval = {
        "right": (first, second, third, fourth),
        "third": (flat, first, third, gone),
        "broken": (first, second),
        "absent": (second, first, gone),
        "empty": (),
    }
    write_retrieval(tmp_path / "retrieval_in.json", retrieval)
    return tmp_path


def stage_of(folder: Path, **settings) -> VerifyGeometry:
    settings = {"policy": POLICY, "num_workers": 1, **settings}
    return VerifyGeometry(
        folder / "retrieval_in.json", query_images=folder / "queries", gallery_images=folder / "gallery", **settings
    )


def run(stage: VerifyGeometry, folder: Path) -> dict[str, dict]:
    """What the runner does with a stage."""
    ids = stage.ids()
    sink = stage.open_sink(folder, None)
    results = list(stage.process(ids))
    failures = [result for result in results if isinstance(result, Failure)]
    sink.append(result for result in results if not isinstance(result, Failure))
    sink.finish(ids)
    stage.write_output(folder, failures)
    return RecordFile(folder, stage.record_key).records()


def outcomes(record) -> list[tuple[str, str | None]]:
    return [(result["image_id"], result.get("verification", {}).get("outcome")) for result in record["results"]]


def test_records_and_files(pictures):
    records = run(stage_of(pictures, output=pictures / "elsewhere/out.json"), pictures / "work")
    assert list(records) == ["right", "third", "broken", "absent", "empty"]
    assert [record["moved"] for record in records.values()] == [False, True, False, False, False]
    assert [image for image, _ in outcomes(records["right"])] == ["g0", "g1", "g2", "g3"]
    assert outcomes(records["right"])[0] == ("g0", "verified")
    assert outcomes(records["right"])[3] == ("g3", None), "beyond depth"
    assert outcomes(records["third"])[0] == ("g2", "verified")
    assert outcomes(records["third"])[1] == ("flat", "too_few_features")
    assert outcomes(records["third"])[3] == ("gone", None)
    assert outcomes(records["broken"]) == [("g0", "unreadable"), ("g1", "unreadable")]
    assert outcomes(records["absent"]) == [("g1", "unreadable"), ("g0", "unreadable"), ("gone", "unreadable")]
    moved = records["third"]["results"][0]
    assert (moved["article_id"], moved["score"]) == ("a2", pytest.approx(0.7))
    assert moved["verification"]["inliers"] > 20
    written = read_retrieval(pictures / "work/retrieval.json")
    assert [candidate.image_id for candidate in written["third"]] == ["g2", "flat", "g0", "gone"]
    assert (pictures / "elsewhere/out.json").read_bytes() == (pictures / "work/retrieval.json").read_bytes()
    counts = json.loads((pictures / "work/verification.json").read_text())
    assert (counts["queries"], counts["moved"], counts["outcomes"]["unreadable"]) == (5, 1, 5)
    assert counts["fell_back"] == 3, "of the four that were kept one is confirmed: its first picture is the query's"
    assert sum(counts["outcomes"].values()) == 3 + 3 + 2 + 3
    drawings = sorted(path.name for path in (pictures / "work/matches").iterdir())
    assert drawings == ["kept_right_g0.png", "moved_third_g2.png"]
    drawing = cv2.imread(str(pictures / "work/matches/moved_third_g2.png"))
    assert drawing.shape == (180, 195 + 240, 3)


@pytest.mark.processes
def test_one_and_two_processes_give_the_same_bytes(pictures):
    warm.use_for_multiprocessing()
    folders = [pictures / "one", pictures / "two"]
    for workers, folder in enumerate(folders, start=1):
        run(stage_of(pictures, num_workers=workers, feature_cache=pictures / f"cache{workers}"), folder)
    files = [
        sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix != ".crc")
        for folder in folders
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 5
    for name in files[0]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    again = pictures / "cached"
    run(stage_of(pictures, feature_cache=pictures / "cache1"), again)
    assert (again / "records.jsonl").read_bytes() == (folders[0] / "records.jsonl").read_bytes()


def test_off_copies_the_order(pictures):
    stage = VerifyGeometry(pictures / "retrieval_in.json", policy=None)
    records = run(stage, pictures / "work")
    assert (pictures / "work/retrieval.json").read_bytes() == (pictures / "retrieval_in.json").read_bytes()
    assert not any(record["moved"] for record in records.values())
    assert not (pictures / "work/matches").exists()


def test_a_source_says_where_pictures_are(pictures):
    class Source:
        splits = ("val",)

        def image_path(self, split, query_id):
            assert split == "val"
            return pictures / "queries" / f"{query_id}.{'png' if query_id == 'third' else 'jpg'}"

        def database_image_path(self, image_id):
            if image_id == "g1":
                raise ValueError("image 'g1' lies outside")
            return pictures / "gallery" / f"{image_id}.{'png' if image_id == 'flat' else 'jpg'}"

    stage = VerifyGeometry(pictures / "retrieval_in.json", POLICY, source=Source(), split="val", num_workers=1)
    results = list(stage.process(["third", "broken"]))
    assert results[0] == Failure("broken", "bad_id", "image 'g1' lies outside")
    assert results[1]["results"][0]["image_id"] == "g2"
    with pytest.raises(ValueError, match="split is not set: choose one of val"):
        VerifyGeometry(pictures / "retrieval_in.json", POLICY, source=Source())


def test_input_that_cannot_be(pictures):
    with pytest.raises(ValueError, match="query_images is not set: name a folder, or a source"):
        VerifyGeometry("absent.json", POLICY)
    stage = stage_of(pictures)
    stage.gallery_images = pictures / "nowhere"
    with pytest.raises(ValueError, match=r"gallery_images is .*nowhere, which is no folder"):
        stage.ids()
    record = {"query_id": "q", "results": [{"image_id": "../g0", "article_id": "#", "score": 1.0}]}
    (pictures / "retrieval_in.json").write_text(json.dumps([record]))
    with pytest.raises(ValueError, match=r"query 'q': image '\.\./g0' has no article; attach articles first"):
        stage_of(pictures).ids()
    record["results"][0]["article_id"] = "a"
    (pictures / "retrieval_in.json").write_text(json.dumps([record]))
    (failure,) = stage_of(pictures).process(["q"])
    assert failure.reason == "bad_id"
    assert "'../g0' cannot be the name of a picture" in failure.message


def test_construction_reads_nothing():
    stage = VerifyGeometry("absent.json", POLICY, query_images="a", gallery_images="b", output="c.json")
    assert [str(path) for path in (*stage.input_files(), *stage.output_files())] == ["absent.json", "c.json"]
    assert pickle.loads(pickle.dumps(POLICY)) == POLICY
    with pytest.raises(ValueError, match="absent"):
        stage.ids()
