"""Searches: the space, the study, failures, and workers that share it, one of them killed."""

import functools
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BruteForceSampler, GridSampler, RandomSampler
from optuna.trial import TrialState

import patience
from diptych.config.folder import CONFIG_FOLDER
from diptych.config.resolvers import register_resolvers
from diptych.storage.run_status import RunStatus, change_status, read_status, write_status
from diptych.sweeping import optuna_sweeper
from diptych.sweeping.optuna_sweeper import OptunaSweeper
from diptych.sweeping.search_space import split
from search_worker import TPE, WORDS, ended, height, make_sweeper, memory
from warm_python import warm

pytestmark = pytest.mark.processes

RANDOM = functools.partial(RandomSampler, seed=0)


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.setattr(optuna_sweeper, "_SECONDS_BETWEEN_LOOKS", 0.1)
    yield
    GlobalHydra.instance().clear()


def space_of(*words):
    return split(OverridesParser.create().parse_overrides(list(words)))


def study_of(folder):
    file = folder / "optuna.db"
    return optuna.load_study(study_name="parabola", storage=f"sqlite:///{file}" if file.exists() else memory(folder))


def told(folder, state=TrialState.COMPLETE):
    return [trial for trial in study_of(folder).trials if trial.state == state]


# ------------------------------------------------------------------------------------------------- the space


@pytest.mark.parametrize(
    ("word", "distribution"),
    [
        ("x=interval(0,2)", FloatDistribution(0, 2)),
        ("x=tag(log,interval(1e-3,3e-2))", FloatDistribution(1e-3, 3e-2, log=True)),
        ("x=int(interval(1,9))", IntDistribution(1, 9)),
        ("x=tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("x=range(1,10,3)", IntDistribution(1, 7, step=3)),
        ("x=range(5,1)", None),
        ("x=range(4,0,-2)", IntDistribution(2, 4, step=2)),
        ("x=range(0.5,0.05,-0.1)", FloatDistribution(0.1, 0.5, step=0.1)),
        ("x=range(0.2,0.5,0.1)", FloatDistribution(0.2, 0.4, step=0.1)),
        ("x=range(0.1,0.45,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("x=a,b,a", CategoricalDistribution(("a", "b"))),
        ("+x.y=choice(0.0,0.05,true)", CategoricalDistribution(("0.0", "0.05", "True"))),
        ("x=choice([1,2],[3])", CategoricalDistribution(("[1,2]", "[3]"))),
    ],
)
def test_words_become_distributions(word, distribution):
    if distribution is None:
        with pytest.raises(ValueError, match=r"x=range\(5,1\): cannot be searched"):
            space_of(word)
        return
    space, fixed = space_of(word, "seed=3", "~logger")
    assert space.distributions == {word.split("=")[0]: distribution}
    assert fixed == ["seed=3", "~logger"]


def test_points_become_words():
    space, _ = space_of("a=range(0.1,0.45,0.1)", "b=x,y", "c=range(1,5,2)")
    assert space.size == 16
    words = [space.words(point) for point in space.points()]
    assert len(set(words)) == 16
    assert words[:2] == [("a=0.1", "b=x", "c=1"), ("a=0.1", "b=x", "c=3")]
    # 0.1 + 2 * 0.1 is not 0.3 in floats; the word is.
    assert space.words({"a": 0.1 + 2 * 0.1, "b": "y", "c": 3}) == ("a=0.3", "b=y", "c=3")
    assert space.corner() == words[0]
    assert space_of("a=interval(0,1)", "b=x,y")[0].size is None
    assert space_of("a=tag(log,interval(1e-6,1))")[0].corner() == ("a=1e-06",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=3"], "nothing is searched"),
        (["x=interval(2,1)"], r"x=interval\(2,1\): cannot be searched"),
        (["x=tag(log,interval(0,1))"], "cannot be searched"),
        (["x=tag(lg,interval(1,2))"], "unknown tags lg"),
        (["x=tag(log,choice(1,2))"], "unknown tags log"),
    ],
)
def test_impossible_spaces_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        space_of(*words)


def test_the_command_line_wins_over_the_file(tmp_path):
    sweeper = make_sweeper(tmp_path, params={"x": "interval(0,1)", "y": "choice(0,1)"})
    question = sweeper._question(["x=0.5", "z=b"])
    assert question.fixed == ("x=0.5", "z=b")
    assert list(question.space.distributions) == ["y"]


# ------------------------------------------------------------------------------------------------- the search


@pytest.mark.parametrize(("mode", "pick"), [("max", max), ("min", min)])
def test_finds_the_best_in_the_direction_of_the_metric(tmp_path, mode, pick):
    end = functools.partial(ended, mode=mode)
    sweeper = make_sweeper(tmp_path, trials=25, end=end, mode=mode)
    result = sweeper.sweep([*WORDS, "z=b"])
    values = {number: height(words) for number, words in sweeper.launcher.runs}
    assert len(values) == len(sweeper.launcher.runs) == 25
    assert result["best"]["value"] == pick(values.values())
    assert values[result["best"]["trial"]] == result["best"]["value"]
    assert all(words[0] == "z=b" for _, words in sweeper.launcher.runs)
    assert height(result["best"]["overrides"]) == result["best"]["value"]
    assert OmegaConf.to_container(OmegaConf.load(tmp_path / "optuna.yaml")) == result
    if mode == "max":  # better than the ten that are drawn at random would be
        assert result["best"]["value"] > 9.8


OWN = """
system:
  metrics:
    own: {_target_: own_metric.MeanRank}
    recall: {_target_: diptych.metrics.retrieval.recall_at_k.RecallAtK}
"""


@pytest.mark.parametrize(
    ("metric", "mode"), [("val/mean_rank", "min"), ("val/dress/recall_at_7/x", "max"), ("val/loss", "min")]
)
def test_without_a_mode_the_metric_says_its_direction(tmp_path, metric, mode):
    """`mean_rank` is a metric of a user's own, which nothing here knows."""
    end = functools.partial(ended, metric=metric, mode=mode)
    sweeper = make_sweeper(tmp_path, trials=8, end=end, mode="null", more=OWN)
    result = sweeper.sweep([*WORDS, f"callbacks.checkpointing.monitor={metric}"])
    values = [height(words) for _, words in sweeper.launcher.runs]
    assert result["mode"] == mode and result["best"]["value"] == (min if mode == "min" else max)(values)


def test_a_metric_without_a_direction_needs_a_mode(tmp_path):
    with pytest.raises(ValueError, match="primary metric: .* mode .max or min. where the metric does not say it"):
        make_sweeper(tmp_path, mode="null", more=OWN).sweep([*WORDS, "callbacks.checkpointing.monitor=val/other"])


def test_the_same_command_again_goes_on_up_to_trials_and_as_an_undisturbed_one(tmp_path):
    whole = make_sweeper(tmp_path / "whole", trials=10)
    whole.sweep(list(WORDS))
    first = make_sweeper(tmp_path / "parts", trials=7)
    first.sweep(list(WORDS))
    second = make_sweeper(tmp_path / "parts", trials=10)
    second.sweep(list(WORDS))
    assert [number for number, _ in second.launcher.runs] == [7, 8, 9]
    assert first.launcher.runs + second.launcher.runs == whole.launcher.runs
    third = make_sweeper(tmp_path / "parts", trials=10)
    third.sweep(list(WORDS))
    assert third.launcher.runs == []


@pytest.mark.parametrize(
    "sampler",
    [
        TPE,
        RANDOM,
        RandomSampler(seed=0),
        functools.partial(BruteForceSampler, seed=0),
        GridSampler({"y": ["0", "1", "2"], "z": ["a", "b"]}),
    ],
    ids=["tpe", "random", "one random", "brute force", "grid"],
)
def test_a_finite_space_ends_and_nothing_is_run_twice(tmp_path, sampler):
    sweeper = make_sweeper(tmp_path, trials=50, sampler=sampler)
    sweeper.sweep(["y=choice(0,1,2)", "z=a,b"])
    assert len(sweeper.launcher.runs) == 6
    assert len({words for _, words in sweeper.launcher.runs}) == 6
    assert len(told(tmp_path)) == 6
    assert all("repeats" in trial.user_attrs for trial in told(tmp_path, TrialState.PRUNED))


def test_several_runs_at_a_time(tmp_path):
    together = threading.Barrier(3, timeout=patience.SECONDS)

    def end(number, words):
        together.wait()
        return ended(number, words)

    sweeper = make_sweeper(tmp_path, trials=6, at_once=3, end=end)
    sweeper.sweep(list(WORDS))
    assert len(told(tmp_path)) == 6


def test_any_storage_of_optuna(tmp_path):
    storage = {
        "_target_": "optuna.storages.JournalStorage",
        "log_storage": {
            "_target_": "optuna.storages.journal.JournalFileBackend",
            "file_path": str(tmp_path / "optuna.log"),
        },
    }
    make_sweeper(tmp_path, trials=3, storage=instantiate(storage)).sweep(list(WORDS))
    again = make_sweeper(tmp_path, trials=5, storage=instantiate(storage))
    again.sweep(list(WORDS))
    assert [number for number, _ in again.launcher.runs] == [3, 4]
    assert not (tmp_path / "optuna.db").exists()


# ------------------------------------------------------------------------------------------------- failures


def test_a_failed_run_is_named_and_the_search_goes_on(tmp_path, caplog):
    def end(number, words):
        return (
            RunStatus("failed", tuple(words), error="Traceback\nout of memory") if number == 1 else ended(number, words)
        )

    sweeper = make_sweeper(tmp_path, trials=4, end=end)
    sweeper.sweep(list(WORDS))
    assert [number for number, _ in sweeper.launcher.runs] == [0, 1, 2, 3, 4]
    assert [trial.number for trial in told(tmp_path, TrialState.FAIL)] == [1]
    assert "trial 1: out of memory" in caplog.text


def test_too_many_failures_stop_the_search(tmp_path):
    def end(number, words):
        return RunStatus("failed", tuple(words), error=f"reason {number}")

    sweeper = make_sweeper(tmp_path, trials=10, end=end, max_failures=2)
    with pytest.raises(ValueError, match=r"(?s)3 runs.*trial 0: reason 0.*trial 2: reason 2.*max_failures=2"):
        sweeper.sweep(list(WORDS))
    assert len(sweeper.launcher.runs) == 3
    repaired = make_sweeper(tmp_path, trials=2)
    repaired.sweep(list(WORDS))
    assert [number for number, _ in repaired.launcher.runs] == [3, 4]


def test_a_point_that_fails_is_run_again_only_by_a_later_command(tmp_path):
    def end(number, words):
        return RunStatus("failed", tuple(words), error="no") if "y=1" in words else ended(number, words)

    for sampler in (TPE, RANDOM):
        sweeper = make_sweeper(tmp_path, trials=10, end=end, sampler=sampler)
        sweeper.sweep(["y=choice(0,1,2)"])
        assert Counter(words for _, words in sweeper.launcher.runs)["y=1",] == 1
    assert len(told(tmp_path)) == 2
    assert len(told(tmp_path, TrialState.FAIL)) == 2


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda number, words: RunStatus("done", tuple(words)), "it has no finite val/height: None"),
        (lambda number, words: RunStatus("running", tuple(words)), "it ended as running"),
        (functools.partial(ended, metric="val/depth"), "its metric is val/depth"),
        (functools.partial(ended, mode="min"), r"its metric is val/height \(min\), the search's val/height \(max\)"),
    ],
)
def test_a_run_without_the_metric_is_a_failure(tmp_path, end, message):
    with pytest.raises(ValueError, match=message):
        make_sweeper(tmp_path, end=end, max_failures=0).sweep(list(WORDS))


def test_a_stopped_run_is_gone_on_with(tmp_path, caplog):
    def end(number, words):
        return RunStatus("stopped", tuple(words)) if number == 2 else ended(number, words)

    make_sweeper(tmp_path, trials=5, end=end).sweep(list(WORDS))
    assert "the same command again resumes" in caplog.text
    stopped = read_status(tmp_path / "2").overrides
    again = make_sweeper(tmp_path, trials=5)
    again.sweep(list(WORDS))
    assert again.launcher.runs[0] == (2, stopped)
    assert [trial.number for trial in told(tmp_path)] == [0, 1, 2, 3, 4]


def test_a_launcher_that_cannot_run_trials_is_refused(tmp_path):
    sweeper = make_sweeper(tmp_path)
    sweeper.launcher = object()
    with pytest.raises(ValueError, match="a search needs hydra/launcher=runs, not object"):
        sweeper.sweep(["x=interval(0,1)"])
    assert not told(tmp_path)


def test_an_error_of_the_launcher_ends_the_search_and_leaves_the_trial_open(tmp_path):
    def end(number, words):
        raise ValueError("no such partition")

    with pytest.raises(ValueError, match="no such partition"):
        make_sweeper(tmp_path, trials=3, end=end).sweep(list(WORDS))
    again = make_sweeper(tmp_path, trials=3)
    again.sweep(list(WORDS))
    assert [number for number, _ in again.launcher.runs] == [0, 1, 2]


def test_the_leftovers_of_a_worker_that_died(tmp_path):
    make_sweeper(tmp_path, trials=1).sweep(list(WORDS))
    study = study_of(tmp_path)
    space, _ = space_of(*WORDS)
    study.ask()  # died while the parameters were chosen
    finished = study.ask(space.distributions)  # died before it could tell
    write_status(tmp_path / "2", ended(2, space.words(finished.params)))
    sweeper = make_sweeper(tmp_path, trials=3)
    sweeper.sweep(list(WORDS))
    assert [number for number, _ in sweeper.launcher.runs] == [3]
    states = [trial.state for trial in study.get_trials()]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert study.get_trials()[2].value == height(space.words(finished.params))


# ------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("words", "mode", "message"),
    [
        (WORDS, "min", "mode was max, now min"),
        (("x=interval(-2,3)", WORDS[1]), "max", r"x was searched in .*-2.*now in .*3"),
        (("y=choice(0,1,2)",), "max", "x was searched in .*, now in nothing"),
        ((*WORDS, "z=a,b"), "max", "z was searched in nothing"),
        ((*WORDS, "steps=20"), "max", "now with steps=20"),
        ((*WORDS, "+cluster=slurm"), "max", None),
        ((*WORDS, "callbacks.checkpointing.monitor=val/loss"), "max", "metric was val/height, now val/loss"),
    ],
)
def test_a_study_is_gone_on_with_for_the_same_question_only(tmp_path, words, mode, message):
    make_sweeper(tmp_path, trials=1).sweep(list(WORDS))
    sweeper = make_sweeper(tmp_path, trials=2, mode=mode)
    if message is None:
        sweeper.sweep(list(words))
        assert len(told(tmp_path)) == 2
        return
    with pytest.raises(ValueError, match=message):
        sweeper.sweep(list(words))
    assert len(study_of(tmp_path).trials) == 1


def test_a_misspelt_key_makes_no_study(tmp_path):
    with pytest.raises(Exception, match="xx"):
        make_sweeper(tmp_path).sweep(["xx=interval(0,1)"])
    assert not (tmp_path / "optuna.db").exists()
    with pytest.raises(ValueError, match="primary metric"):
        make_sweeper(tmp_path).sweep([*WORDS, "~callbacks.checkpointing"])
    with pytest.raises(ValueError, match="trials=0"):
        make_sweeper(tmp_path, trials=0)


# ------------------------------------------------------------------------------------------------- several workers


def start(folder, *words):
    command = [warm.python(), str(Path(__file__).parents[1] / "search_worker.py"), str(folder), *map(str, words)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def runs_of(folder):
    """Number, process and words of every run that was started."""
    lines = [line.split(maxsplit=2) for line in (folder / "runs.txt").read_text().splitlines()]
    return [(int(number), process, words) for number, process, words in lines]


def test_two_workers_share_a_study_and_run_no_trial_twice(tmp_path):
    workers = [start(tmp_path, 10, 2) for _ in range(2)]
    for worker in workers:
        output, _ = worker.communicate(timeout=patience.SECONDS)
        assert worker.returncode == 0, output
    runs = runs_of(tmp_path)
    assert len(runs) == len({number for number, _, _ in runs}) == len({words for _, _, words in runs}) == 10
    assert len({process for _, process, _ in runs}) == 2
    assert {trial.number: trial.value for trial in told(tmp_path)} == {n: height(w.split()) for n, _, w in runs}
    assert len(study_of(tmp_path).trials) == 10


@pytest.fixture
def hanging(tmp_path):
    """A worker that hangs in trial 2 of 5."""
    worker = start(tmp_path, 5, 1, 2)
    yield worker
    worker.kill()
    worker.communicate()


def test_the_trial_of_a_killed_worker_is_adopted(tmp_path, hanging):
    patience.wait_until(lambda: (tmp_path / "hangs").exists() or hanging.poll() is not None)
    change_status(tmp_path / "2", state="running")  # a run that is killed says so for ever
    other = make_sweeper(tmp_path, trials=5, storage=None)
    thread = threading.Thread(target=other.sweep, args=[list(WORDS)], daemon=True)
    thread.start()
    patience.wait_until(lambda: len(other.launcher.runs) == 2)
    time.sleep(0.5)  # five looks at the trial that hangs, whose worker lives
    assert [number for number, _ in other.launcher.runs] == [3, 4]
    hanging.send_signal(signal.SIGKILL)
    thread.join(patience.SECONDS)
    assert [number for number, _ in other.launcher.runs] == [3, 4, 2]
    words = [words for number, _, words in runs_of(tmp_path) if number == 2]
    assert len(words) == 2 and words[0] == words[1]
    assert [trial.number for trial in told(tmp_path)] == [0, 1, 2, 3, 4]


# ------------------------------------------------------------------------------------------------- the configs


def composed(*words):
    register_resolvers()
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return compose("train", overrides=["experiment=cir_rooms", *words], return_hydra_config=True)


def test_the_search_config_builds_the_sweeper(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the folder is made as it is named
    monkeypatch.setenv("DIPTYCH_RUNS", "somewhere")
    config = composed("sweep=optuna", "hydra.sweeper.trials=7")
    assert config.hydra.mode.name == "MULTIRUN"
    assert config.hydra.sweep.dir == "somewhere/searches/cir_rooms"
    assert config.hydra.sweeper._target_ == "hydra_plugins.diptych.OptunaSweeper"
    settings = dict(instantiate(config.hydra.sweeper, _target_="builtins.dict"))
    sweeper = OptunaSweeper(**settings)
    assert (sweeper.study, sweeper.trials, sweeper.params) == ("cir_rooms", 7, {})
    assert isinstance(sweeper.sampler(seed=3), optuna.samplers.TPESampler)


def test_the_grid_config_is_hydras_own_sweep():
    config = composed("sweep=grid")
    assert config.hydra.mode.name == "MULTIRUN"
    assert "BasicSweeper" in config.hydra.sweeper._target_
    words = [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()]
    space, _ = space_of(*words)
    assert space.size == 6
    composed(*space.corner())  # the keys are there
