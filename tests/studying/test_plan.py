import pytest

from diptych.studying.plan import Arm, Step, Study, WrittenStep, arms_and_steps


def written(kind, *words, name=None):
    return WrittenStep(kind, words, name or kind)


MAKE = written("pipeline", "pipeline=x")
TRAIN = written("train", "seed=<seed>", "data.root=<pipeline>/set")


def planned(arms, seeds=(0, 1), before=(MAKE,)):
    return arms_and_steps(before, arms, seeds, "study/x.yaml")


def test_equal_steps_of_arms_and_seeds_are_one_step():
    arms, steps = planned(
        {
            "a": [TRAIN, written("evaluate", "ckpt=<train>")],
            "b": [TRAIN, written("evaluate", "ckpt=<train>", "split=val")],
        }
    )
    assert arms[0] == Arm("a", {seed: ("before_pipeline", f"a_{seed}_train", f"a_{seed}_evaluate") for seed in (0, 1)})
    assert arms[1].steps[1] == ("before_pipeline", "a_1_train", "b_1_evaluate")
    assert steps["a_1_train"] == Step(
        "a_1_train", "train", ("seed=1", "data.root=<before_pipeline>/set"), ("before_pipeline",)
    )
    assert steps["b_1_evaluate"].words == ("ckpt=<a_1_train>", "split=val")
    assert list(steps)[:2] == ["before_pipeline", "a_0_train"] and len(steps) == 7


def test_a_step_has_the_seed_in_its_name_where_it_depends_on_it():
    _, steps = planned({"a": [written("train", "x=1"), written("evaluate", "ckpt=<train>", "seed=<seed>")]}, before=())
    assert list(steps) == ["a_train", "a_0_evaluate", "a_1_evaluate"]


def test_a_name_is_the_last_step_of_it_and_steps_of_one_name_are_told_apart():
    twice = [written("train", "x=1"), written("train", "init_from=<train>"), written("evaluate", "ckpt=<train>")]
    _, steps = planned({"a": twice}, before=())
    assert list(steps) == ["a_train", "a_train_2", "a_evaluate"]
    assert steps["a_train_2"].words == ("init_from=<a_train>",)
    assert steps["a_evaluate"].needs == ("a_train_2",)


def test_servers_and_the_data_folder_are_named_not_written_out():
    arm = [
        written("serve", "scenes=<data_dir>/rooms", name="teller"),
        written("pipeline", "base_url=<teller>", "other=<serve>"),
    ]
    _, steps = planned({"a": arm}, before=())
    assert steps["a_teller"].words == ("scenes=<data_dir>/rooms",)
    assert steps["a_pipeline"].words == ("base_url=<a_teller>", "other=<a_teller>")
    assert steps["a_pipeline"].needs == ("a_teller",)


@pytest.mark.parametrize("word", ["ckpt=<trian>", "ckpt=<evaluate>", "ckpt=<a_0_train>"])
def test_a_placeholder_that_stands_for_nothing_is_an_error_with_its_place(word):
    with pytest.raises(
        ValueError, match=r"study/x.yaml: arm a, step 3 \(evaluate\): <\w+> stands for nothing here, only "
    ):
        planned({"a": [TRAIN, written("evaluate", word)]})


def study(**changes):
    arms, steps = planned({"a": [TRAIN], "b": [TRAIN]})
    fixed = {"name": "x", "question": "?", "hypotheses": (), "metrics": ("m",), "control": "a", "seeds": (0, 1)}
    return Study(**{**fixed, "size": {}, "quick": False, "limits": "", "arms": arms, "steps": steps, **changes})


def test_the_plan_is_what_is_run_and_claimed_not_what_is_said_about_it():
    assert study(question="!", metrics=("n",), limits="none", minutes=3.0).record() == study().record()
    for changes in ({"seeds": (0,)}, {"size": {"steps": 2}}, {"quick": True}, {"control": "b"}):
        assert study(**changes).record() != study().record()


def test_steps_of_several_arms_are_shared():
    assert study().shared() == ["before_pipeline", "a_0_train", "a_1_train"]
