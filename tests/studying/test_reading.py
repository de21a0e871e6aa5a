import re
from pathlib import Path

import pytest
from instant_steps import STUDY, write_study

from diptych.studying.reading import needs_of, read_study, study_files


@pytest.fixture
def read(tmp_path):
    def read(*overrides, text=STUDY, quick=False):
        return read_study("steps", overrides, quick, write_study(tmp_path, text))

    return read


def test_a_file_becomes_a_plan(read):
    study, cluster, left_out = read()
    assert (study.name, study.seeds, study.control, study.minutes, left_out) == ("steps", (0, 1), "few", 2, [])
    assert study.hypotheses[0].least == 0.2
    assert study.arms[1].steps[1] == ("few_1_train", "more_1_second", "more_1_evaluate")
    assert study.steps["more_1_second"].words == (
        *("experiment=cir_rooms", "seed=1", "trainer.max_steps=3", "init_from=<few_1_train>"),
    )
    assert cluster._target_.endswith("LocalCluster")


def test_quick_stands_over_the_file_and_the_command_line_over_both(read):
    quick, _, _ = read(quick=True)
    assert (quick.seeds, quick.size, quick.quick, quick.minutes) == ((0,), {"steps": 1}, True, 1)
    said, cluster, _ = read(
        "seeds=[4,5]", "size.steps=9", "data=cirr", "cluster=parallel", "cluster.jobs=3", quick=True
    )
    assert (said.seeds, said.size, cluster.jobs) == ((4, 5), {"steps": 9}, 3)
    assert "data=cirr" in said.steps["few_4_train"].words


def test_a_metric_of_its_own_is_part_of_the_plan(read):
    plain, _, _ = read()
    assert "derived" not in plain.record()  # studies without one have the plan that they had
    study, _, _ = read(text=STUDY + "derived: {gap: {take: difference, of: [one, other]}}\n")
    assert study.record() == plain.record() | {"derived": {"gap": {"take": "difference", "of": ["one", "other"]}}}


def test_an_arm_that_is_null_is_left_out_with_what_is_said_of_it(read):
    study, _, left_out = read("arms.more=null")
    assert [arm.name for arm in study.arms] == ["few"]
    assert (study.hypotheses, left_out) == ((), ["more steps help"])


def test_a_study_of_ones_own_stands_beside_the_others_and_says_what_it_needs(tmp_path):
    own = write_study(tmp_path, STUDY + "needs: real data\n")
    assert study_files(own)["steps"].is_relative_to(tmp_path)
    assert set(study_files(None)) == set(study_files(own)) - {"steps"}
    assert needs_of("steps", own) == "real data"


ON = (
    STUDY
    + """\
  further:
    - after: more
    - train: [experiment=cir_rooms, "init_from=<second>", trainer.max_steps=1]
      as: second
    - evaluate: ["ckpt=<second>", split=val]
  twice: [{again: further}]
  thrice: [{again: twice}]
"""
)


def test_an_arm_goes_on_after_another_and_again(read):
    study, _, _ = read("seeds=[0]", text=ON)
    steps = {arm.name: arm.steps[0] for arm in study.arms}
    more = ("few_0_train", "more_0_second", "more_0_evaluate")
    assert steps["more"] == more
    assert steps["further"] == (*more, "further_0_second", "further_0_evaluate")
    assert steps["twice"] == (*steps["further"], "twice_0_second", "twice_0_evaluate")
    assert steps["thrice"] == (*steps["twice"], "thrice_0_second", "thrice_0_evaluate")
    assert study.steps["twice_0_second"].words[1] == "init_from=<further_0_second>"
    assert study.steps["thrice_0_second"].words[1] == "init_from=<twice_0_second>"


def test_a_key_may_hold_several_words(read):
    text = replaced("data: rooms", "own: [data=rooms, trainer.max_steps=1]")
    text = text.replace('"data=${data}"', '"${own}"').replace(", trainer.max_steps=1]\n    - eva", "]\n    - eva")
    study, _, _ = read(text=text)
    assert study.steps["few_1_train"].words == ("experiment=cir_rooms", "data=rooms", "trainer.max_steps=1", "seed=1")


def replaced(old, new):
    assert old in STUDY
    return STUDY.replace(old, new)


MISTAKES = [
    (STUDY + "hypotesis: []\n", r"study/steps.yaml: unknown key 'hypotesis', which no word uses either. Did you mean"),
    (replaced("question:", "answer: 1 # "), "question"),
    (replaced("metric: recall_at_1, ", ""), r"key 'hypotheses'\[0\] has no key 'metric'"),
    (
        replaced("direction: higher", "direction: up"),
        "study/steps.yaml: hypothesis 1: direction of a hypothesis must be",
    ),
    (replaced("arm: more", "arm: mor"), "study/steps.yaml: hypothesis 1: there is no arm 'mor'. Did you mean 'more'"),
    (replaced("control: few\nseeds", "control: fewer\nseeds"), "study/steps.yaml: control: there is no arm 'fewer'"),
    (replaced("name: steps", "name: other"), "its name is 'other'; a study has the name of its file"),
    (replaced("seeds: [0, 1]", "seeds: [0, 0]"), "name at least one, and each once"),
    (replaced("ckpt=<second>", "ckpt=<third>"), r"arm more, step 3 \(evaluate\): <third> stands for nothing here"),
    (
        replaced("split=val]\n  more", "serve: []]\n  more"),
        r"arm few, step 2 \(evaluate\): its words are a list of texts",
    ),
    (replaced('- evaluate: ["ckpt=<train>"', '- score: ["ckpt=<train>"'), "arm few, step 2: a step is one of train, "),
    (replaced("  few:\n", "  9few:\n"), "arm '9few': a name is letters"),
    (replaced("${size.steps}", "${size.step}"), "size.step"),
    (replaced("size: {steps: 1}}", "sise: {steps: 1}}"), "study/steps.yaml: quick: unknown key 'sise'"),
    (
        STUDY + "derived: {a: {take: sum, of: [x, y]}}\n",
        "study/steps.yaml: derived: a: take must be one of mean, difference, range",
    ),
    (
        STUDY + "derived: {a: {take: mean, of: [x, y]}, b: {take: range, of: [x, a]}}\n",
        "study/steps.yaml: derived: b: a is derived itself; name metrics that are measured",
    ),
    (
        replaced("      as: second\n", "    - serve: []\n").replace(
            '    - evaluate: ["ckpt=<second>", split=val]\n', ""
        ),
        "ends in no step",
    ),
    (
        ON.replace("after: more", "after: mor"),
        "arm further goes on from 'mor', and there is no such arm, or it is left",
    ),
    (ON.replace("again: further", "again: thrice"), "arm thrice goes on from 'twice', which goes on from"),
    (ON.replace("after: more", "after: more\n      as: x"), "arm further, step 1: a step is one of train, "),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_a_mistake_in_the_file_is_named_with_its_place(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text=text, quick="sise" in text)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("size.step=3", "unknown key 'size.step' of study/steps.yaml. Did you mean 'size.steps'"),
        ("~seeds", "a study takes key=value"),
        ("seeds=1,2", "a study takes key=value"),
        ("data=[data=rooms]", r"data=\[data=rooms\]: no viable alternative .*; in a list a text with = is quoted"),
        ("cluster=fast", "there is no cluster=fast"),
        ("cluster.job=3", "unknown key 'cluster.job'"),
    ],
)
def test_a_mistaken_override_gets_the_nearest(read, word, message):
    with pytest.raises(ValueError, match=message):
        read(word)


def test_a_mistaken_name_gets_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="there is no study 'stebs'. Did you mean 'steps'"):
        read_study("stebs", [], False, write_study(tmp_path))


def test_the_study_that_the_page_writes_is_one(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
    yaml = text.split("`conf/study/longer.yaml`\n\n```yaml\n")[1].split("```")[0]
    study, _, _ = read_study("longer", [], True, write_study(tmp_path, yaml, "longer"))
    assert study.size == {"short": 20, "long": 40} and len(study.steps) == 8


def test_the_page_lists_every_study():
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text().split("## The studies")[1]
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == set(study_files(None))
