"""The page of a study: what it says, and that no text becomes a part of it."""

import re
from dataclasses import replace
from html import unescape

import pytest
from made_study import make_result, write_runs

from diptych.contracts.retrieval import MetricMeaning
from diptych.studying.hypotheses import Hypothesis
from diptych.studying.page import claim, write_study
from page_parts import HOSTILE, Parts


def shown(page):
    """The texts of the page, without tags and style."""
    body = page.read_text(encoding="utf-8").split("<body>")[1].split("<script>")[0]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_the_page_says_what_was_asked_found_and_done(tmp_path):
    page = write_study(tmp_path / "study", write_runs(tmp_path))
    text = shown(page)
    order = [
        "Study: permutations",
        "Do permutations help?",
        "supported supported: joined",
        "Arm broken has no values: its step broken_0_train failed. ValueError: no data",
        "Written 2026-11-30T10:00:00+00:00, before the first run. SHA-256 of the plan: " + "ab" * 32,
        "joined texts teach composition: recall_at_1 of joined is higher than that of single, by 5 points of percent",
        "recall_at_1 of all is that of single, within 12.5 % of its mean.",
        "size quick: steps 100",
        "time of all steps 15.1 min (8 min expected on two CPU cores)",
        "single (control) 37.50 [0.0, 75.0] 2 × 4",
        "joined 75.00 [50.0, 100.0] +37.50 [12.5, 62.5] 50.0 %, 12.5 % 0.0200 30.00 2 × 4 supported",
        "broken failed undecided",
        "joined, against all 75.00 [50.0, 100.0] +37.50 [-10.0, 70.0]",
        "3 queries that changed most, by their mean over seeds. Of 4 queries 2 rose, 1 fell, 1 stayed.",
        "make it 2 0.00 → 100.00 query q2 reference images/2.png target images/3.png first of single",
        "single rank 90 (seed 0), rank 90 (seed 1) joined rank 1 (seed 0), rank 1 (seed 1)",
        "A generated world.",
        "untrue .2",
        "diptych study permutations quick=true",
        "single 2.0 min 2.0 min 4.0 min",
        "Seed 0: before_serve (shared) 8.3 min, single_0_train 60.0 s, single_0_evaluate 60.0 s",
    ]
    places = [text.find(words) for words in order]
    assert places == sorted(places) and -1 not in places, [words for words in order if words not in text]
    source = page.read_text()
    assert source.count("<script>") == 1 and "http" not in source.replace("http-equiv", "")
    assert source.count("data:image/png;base64,") == 1 and source.count("data:image/jpeg;base64,") > 5
    assert {path.name for path in page.parent.iterdir()} == {"study.html", "study.csv", "study.png"}


def test_times_and_folders_change_the_page_alone(tmp_path):
    result = make_result()
    runs = {name: replace(run, seconds=1.0, folder=tmp_path) for name, run in result.runs.items()}
    for name, one in (("a", result), ("b", replace(result, runs=runs))):
        write_study(tmp_path / name, one)
    same = {
        name: (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        for name in ("study.csv", "study.png", "study.html")
    }
    assert same == {"study.csv": True, "study.png": True, "study.html": False}


def test_a_study_of_which_nothing_came_has_a_page(tmp_path):
    result = make_result()
    verdicts = [replace(verdict, comparison=None, word="undecided") for verdict in result.verdicts]
    lost = dict.fromkeys(("single", "joined"), "runs/x: no metrics.json")
    page = write_study(tmp_path, replace(result, comparisons=(), values={}, verdicts=verdicts, lost=lost))
    text = shown(page)
    assert "Arm single has no values. runs/x: no metrics.json" in text
    assert "Arm all has no values. No reason is known." in text
    assert "What changed most" not in text and not (tmp_path / "study.png").exists()


def test_no_text_of_a_study_becomes_a_part_of_its_page(tmp_path):
    def parts(name, text):
        return Parts(write_study(tmp_path / name / "study", write_runs(tmp_path / name, text)).read_text())

    plain = parts("plain", " words")
    assert len(plain.tags) > 100
    for number, text in enumerate(HOSTILE):
        hostile = parts(str(number), text)
        assert hostile.tags == plain.tags and hostile.scripts == plain.scripts, text
        assert sum(text in words for words in hostile.texts) >= 15, text


@pytest.mark.parametrize(
    ("hypothesis", "words"),
    [
        (("lower", 0.5, False), "lower than that of b, by 0.5 or more"),
        (("not_lower", 0.1, True), "not lower than that of b by 10 % of its mean or more"),
        (("not_higher", 2, False), "not higher than that of b by 2 or more"),
    ],
)
def test_a_claim_in_words(hypothesis, words):
    direction, least, relative = hypothesis
    assert (
        claim(Hypothesis("cider", "a", "b", direction, least, relative), MetricMeaning("score"))
        == f"cider of a is {words}"
    )
