"""Against the authors' program with a made-up WordNet, and with their own files where pycocoevalcap is installed."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

import golden_files
from diptych.contracts.news import CaptionItem
from diptych.metrics.captions import meteor_resources
from diptych.metrics.captions.meteor import METEOR, meteor
from diptych.metrics.captions.meteor_alignment import STAGES
from diptych.metrics.captions.meteor_resources import MeteorResources
from meteor_folder import write_meteor_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_meteor_folder(tmp_path_factory.mktemp("meteor"))


@pytest.mark.parametrize(
    ("captions", "num_stages"),
    [("newsroom", 2), ("newsroom", 4), ("captions", 1), ("captions", 2), ("captions", 3), ("captions", 4)],
)
def test_equal_to_the_authors_program(folder, captions, num_stages):
    given = json.loads((golden_files.COMMITTED / "caption_metrics/meteor.json").read_text())
    if captions == "newsroom":
        scores = json.loads((golden_files.COMMITTED / "caption_metrics/scores.json").read_text())
        predictions, references = scores["predictions"], scores["references"]
    else:
        predictions, references = zip(*given["captions"], strict=True)
    corpus, per_item = meteor(predictions, references, MeteorResources(folder), STAGES[:num_stages])
    expected = given[f"{captions}, {num_stages} stages"]
    np.testing.assert_allclose(per_item, expected["per_item"], atol=1e-12)
    assert corpus == pytest.approx(expected["corpus"], abs=1e-12)


@pytest.mark.skipif(find_spec("pycocoevalcap") is None, reason="METEOR's files come with the package pycocoevalcap")
def test_published_setting(predictions, reference_captions):
    # pycocoevalcap 1.2, Java 17.
    corpus, per_item = meteor(predictions, reference_captions)
    assert corpus == pytest.approx(0.34416842329892927, abs=1e-12)
    expected = [0.40763634227719403, 1.0, 0.3095678817889956, 0.0, 0.268937610568473]
    np.testing.assert_allclose(per_item, expected, atol=1e-12)


def test_scores_by_hand(folder):
    # "a" is a function word: weight 1/4, others 3/4. All of the caption's 1.75 in matches, of the reference's 2.5 too
    # 1.75; two chunks of 3 matches. The second item is its reference: no penalty.
    corpus, per_item = meteor(["a dog runs", "x y"], [["runs a dog fast"], ["x y"]], MeteorResources(folder))
    mean = 1 / (0.15 / 1 + 0.85 / (1.75 / 2.5))
    np.testing.assert_allclose(per_item, [mean * (1 - 0.6 * (2 / 3) ** 0.2), 1], atol=1e-12)
    # The corpus: sums of weights and matches, but the chunk of the second item costs nothing.
    mean = 1 / (0.15 / 1 + 0.85 / ((1.75 + 1.5) / (2.5 + 1.5)))
    assert corpus == pytest.approx(mean * (1 - 0.6 * (2 / 5) ** 0.2), abs=1e-12)


@pytest.mark.parametrize(
    ("caption", "reference", "precision", "recall", "matches"),
    [
        ("car p", "car q", 1.0 / 2, 1.0 / 2, 1),
        ("dogs p", "dog q", 0.6 / 2, 0.6 / 2, 1),
        ("car p", "auto q", 0.8 / 2, 0.8 / 2, 1),
        ("beside p", "next to", 0.6 / 2, 0.6 * 2 / 2, 1.5),
    ],
)
def test_a_stage_weighs_as_published(folder, caption, reference, precision, recall, matches):
    _, per_item = meteor([caption], [[reference]], MeteorResources(folder))
    mean = 1 / (0.15 / precision + 0.85 / recall)
    assert per_item[0] == pytest.approx(mean * (1 - 0.6 * (1 / matches) ** 0.2), abs=1e-12)


def test_the_best_reference_counts(folder):
    resources = MeteorResources(folder)
    references = ["a car on the street", "a dog in the street", "many people"]
    single = [meteor(["a dog on the street"], [[reference]], resources)[0] for reference in references]
    assert meteor(["a dog on the street"], [references], resources)[0] == max(single)


def test_the_metric_is_named_after_its_stages(folder):
    items = [CaptionItem("a", "A car", ("an auto",), "", None), CaptionItem("b", "dogs", ("A dog",), "", None)]
    expected = {"meteor": STAGES, "meteor_exact": STAGES[:1], "meteor_exact_stem_synonym": STAGES[:3]}
    for name, stages in expected.items():
        metric = METEOR(stages, str(folder))
        metric.update(items)
        scores = metric.compute()
        assert list(scores.corpus) == list(scores.per_item) == [name]
        assert scores.meanings[name].better == "higher"
        assert (scores.corpus[name] > 0) == (len(stages) > 1)


@pytest.mark.parametrize("stages", [[], ["stem"], ["exact", "synonym"], ["exact", "stem", "stem"], ["words"]])
def test_other_stages_are_refused(folder, stages):
    with pytest.raises(ValueError, match=r"stages=\[.*\]: .*build on one another, so give the first of"):
        METEOR(stages, str(folder))
    with pytest.raises(ValueError, match="build on one another"):
        meteor(["a"], [["a"]], MeteorResources(folder), stages)


def test_without_its_files_it_is_refused_when_it_is_built(monkeypatch):
    monkeypatch.setattr(meteor_resources, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install pycocoevalcap .*, or leave meteor out"):
        METEOR()
    with pytest.raises(ValueError, match="pip install pycocoevalcap .*, or leave meteor out"):
        meteor(["a"], [["a"]])


def test_an_item_without_reference_is_refused(folder):
    for predictions, references in (([], []), (["a"], [[]]), (["a"], [["a"], ["b"]])):
        with pytest.raises(ValueError, match="each needs one"):
            meteor(predictions, references, MeteorResources(folder))
