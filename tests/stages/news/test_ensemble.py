import json

import lightning as L
import pytest

from diptych.contracts.news import Candidate
from diptych.contracts.pipelines import Failure
from diptych.data.news.retrieval_file import read_retrieval, write_retrieval
from diptych.index.rank_fusion import ReciprocalRank, TopTwoPooling
from diptych.stages.news.ensemble import Ensemble
from diptych.stages.running.runner import PipelineRunner, StageRun


def hits(*articles):
    return [Candidate(f"{article}{rank}", article, 1 - rank / 10) for rank, article in enumerate(articles)]


@pytest.fixture
def inputs(tmp_path):
    """Two files in different orders; `q3` is in the first alone, `q0` has candidates in the second alone."""
    first = {"q2": hits("a", "b", "c"), "q1": hits("d"), "q3": hits("e"), "q0": (), "none": ()}
    second = {"none": (), "q0": hits("f"), "q1": hits("d", "g"), "q2": hits("b", "a")}
    return [write_retrieval(tmp_path / f"{name}.json", of) for name, of in (("first", first), ("second", second))]


def run(folder, stage, fusion="top_two"):
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    step = StageRun("ensemble", stage, folder / "ensemble", {"fusion": fusion})
    return PipelineRunner(trainer, folder, show_progress=False).run([step])["ensemble"]


def test_queries_of_all_files_in_the_order_of_their_ids(inputs):
    stage = Ensemble(inputs, TopTwoPooling())
    assert stage.ids() == ["none", "q0", "q1", "q2", "q3"]
    results = {
        getattr(result, "record_id", None) or result["query_id"]: result for result in stage.process(stage.ids())
    }
    assert results["q3"] == Failure("q3", "not_in_all_inputs", f"{inputs[1]} has no such query; retrieve it too")
    assert results["none"] == {"query_id": "none", "results": []}
    assert results["q0"]["results"] == [{"image_id": "f0", "article_id": "f", "score": 0.5}]
    found = [(hit["image_id"], round(hit["score"], 9)) for hit in results["q2"]["results"]]
    assert found == [("a0", round((0.5 + 0.36) / 2 + 0.03, 9)), ("b1", round((0.36 + 0.5) / 2 + 0.03, 9)), ("c2", 0.8)]


def test_through_the_runner(inputs, tmp_path):
    output = tmp_path / "out/fused.json"
    counts = run(tmp_path / "work", Ensemble(inputs, TopTwoPooling(), output))
    assert counts.describe() == "4 done, 1 failed: not_in_all_inputs 1"
    folder = tmp_path / "work/ensemble"
    assert output.read_bytes() == (folder / "retrieval.json").read_bytes()
    retrieval = read_retrieval(output)
    assert list(retrieval) == ["none", "q0", "q1", "q2"] and retrieval["none"] == ()
    assert [hit.article_id for hit in retrieval["q1"]] == ["d", "g"]
    (failure,) = (folder / "failures.jsonl").read_text().splitlines()
    assert json.loads(failure)["query_id"] == "q3"
    again = run(tmp_path / "work", Ensemble(inputs, TopTwoPooling(), output))
    assert again.kept == 4


def test_another_fusion_and_another_input_start_anew(inputs, tmp_path):
    run(tmp_path, Ensemble(inputs, TopTwoPooling()))
    first = (tmp_path / "ensemble/retrieval.json").read_bytes()
    assert run(tmp_path, Ensemble(inputs, ReciprocalRank()), "reciprocal_rank").kept == 0
    assert (tmp_path / "ensemble/retrieval.json").read_bytes() != first
    assert run(tmp_path, Ensemble(inputs, TopTwoPooling())).kept == 4
    assert (tmp_path / "ensemble/retrieval.json").read_bytes() == first
    write_retrieval(inputs[1], {"q1": hits("d"), "q3": hits("e")})
    counts = run(tmp_path, Ensemble(inputs, TopTwoPooling()))
    assert (counts.done, counts.kept, counts.failed) == (2, 0, {"not_in_all_inputs": 3})


def test_the_order_of_the_files_decides_whose_photo_is_named(inputs):
    def photo_of_b(files):
        (record,) = Ensemble(files, TopTwoPooling()).process(["q2"])
        return next(hit["image_id"] for hit in record["results"] if hit["article_id"] == "b")

    assert (photo_of_b(inputs), photo_of_b(inputs[::-1])) == ("b1", "b0")


def test_what_cannot_be_fused_is_said(inputs, tmp_path):
    with pytest.raises(ValueError, match=r"inputs of the ensemble are empty; name retrieval files: inputs=\["):
        Ensemble([], TopTwoPooling())
    with pytest.raises(ValueError, match=r"weights has 3 entries for 2 rankings"):
        run(tmp_path, Ensemble(inputs, TopTwoPooling(weights=[1, 1, 1])))
    other = write_retrieval(tmp_path / "other.json", {"another": hits("a")})
    with pytest.raises(ValueError, match="retrieval.json is not written: no query in it"):
        run(tmp_path / "b", Ensemble([inputs[0], other], TopTwoPooling()))
    with pytest.raises(ValueError, match=r"gone\.json"):
        run(tmp_path / "c", Ensemble([tmp_path / "gone.json"], TopTwoPooling()))
