"""A sweep that somebody else began is gone on with, and its words and its study's values build nothing."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing

import optuna
import pytest

from diptych.storage.run_status import read_status
from diptych.sweeping.optuna_search import OptunaSearch, Question
from diptych.sweeping.resuming import of_resumed_sweep
from diptych.sweeping.run_records import find_runs
from diptych.sweeping.search_space import Parameter, SearchSpace

pytestmark = pytest.mark.hostile("hostile run folders")

OWN = [
    "-m",
    "experiment=cir_rooms",
    "sweep=grid",
    "seed=1,2",
    "system.optimizer.lr=tag(log,interval(1e-3,3e-2))",
    "cluster=local",
    "cluster.jobs=2",
    "hydra.sweeper.trials=3",
    "hydra.sweep.dir=/old",
    "data.root=/some where",
    "~system.metrics.median_rank",
    "+callbacks=early_stopping",
    "system/model@system.model=context",
    "system.model.backbone.architecture.vision_cfg={image_size:32,patch_size:16}",
    "system/metrics=[cider,length]",
]


def sweep(tmp_path, content):
    (tmp_path / "command.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return f"sweep.resume={tmp_path}"


def test_an_ordinary_sweep_goes_on_without_a_word(tmp_path):
    words = of_resumed_sweep([sweep(tmp_path, {"words": OWN}), "-m"])
    kept = [word for word in OWN if not word.startswith("hydra.sweep.dir")]
    assert words == [*kept, f"hydra.sweep.dir={tmp_path}", "trust_run=false"]


BAD = [
    "+callbacks.x._target_=torch.hub.load",
    "+callbacks.x={_target_:torch.hub.load,repo_or_dir:x}",
    "+callbacks.x={'_target_':os.system}",
    "+callbacks.x={\\_target\\_:os.system}",
    "+x=choice({_target_:os.system},{_target_:os.system})",
    "hydra.launcher._target_=os.system",
    "hydra/launcher=../../../theirs/launcher",
    "hydra.sweeper._target_=os.system",
    "hydra.sweeper.storage=sqlite:////tmp/x.db",
    "hydra.sweeper.sampler._target_=os.system",
    "hydra.run.dir=/tmp/elsewhere",
    "hydra.output_subdir=/tmp/elsewhere",
    "hydra.searchpath=[file:///tmp/theirs]",
    "hydra.job_logging.handlers.x.()=os.system",
    "hydra.job.env_set.LD_PRELOAD=/tmp/x.so",
    "hydra.callbacks.x={}",
    "hydra={job:{chdir:true}}",
    "--config-dir=/tmp/theirs",
    "--config-dir",
    "-cd=/tmp/theirs",
    "--config-path",
    "--package=os",
    "cluster.setup=[touch /tmp/x]",
    "+cluster.setup.0=touch",
    "cluster.sbatch={wrap:touch}",
    "cluster={_target_:os.system}",
    "cluster={setup:[touch]}",
    "cluster=../../../tmp/theirs",
    "experiment=../../../../tmp/theirs",
    "experiment=/tmp/theirs",
    "data@data=../x",
    "name=${oc.env:SECRET_TOKEN}",
    "name=$\\{oc.env:SECRET_TOKEN}",
    "base_url=http://evil.example/v1",
    "asker.client.base_url=evil.example",
    "images=https://evil.example/a.jpg",
    "",
    "=",
    "a b",
    "x=" + "a" * 20_000,
]


@pytest.mark.parametrize("word", BAD)
def test_a_word_that_does_more_than_set_a_value_needs_trust(tmp_path, word):
    named = sweep(tmp_path, {"words": ["-m", "experiment=cir_rooms", word]})
    with pytest.raises(ValueError, match=r"(?s)command\.json: .*nothing was started.*trust_run=true"):
        of_resumed_sweep([named, "-m"])
    assert word in of_resumed_sweep([named, "-m", "trust_run=true"]) or word.startswith("hydra.sweep")


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", "null", '"x"', '{"words": null}', '{"words": "x"}', '{"words": [1]}', '{"words": [["a"]]}',
     '{"words": {"a": 1}}', "[" * 100_000, "{", "", json.dumps({"words": ["a=1"] * 5000})],
)  # fmt: skip
def test_a_file_of_another_form_is_named(tmp_path, content):
    with pytest.raises(ValueError, match=r"command\.json"):
        of_resumed_sweep([sweep(tmp_path, content), "-m"])


SPACE = SearchSpace((Parameter("x", optuna.distributions.CategoricalDistribution(("a", "b")), ("a", "b")),))


@pytest.mark.parametrize("value", ["c", "{_target_:os.system}", "a,b", "../x", 3, True])
def test_a_value_that_is_not_searched_never_becomes_a_word(tmp_path, value):
    question = Question("val/loss", "min", SPACE, ())
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    study = optuna.create_study(study_name="s", storage=storage, direction="minimize")
    study.set_user_attr("question", question.described())
    others = optuna.distributions.CategoricalDistribution((value, "d"))
    study.enqueue_trial({"x": value})
    study.ask({"x": others})
    search = OptunaSearch("s", storage, tmp_path, question, 2, optuna.samplers.RandomSampler(seed=0))
    with pytest.raises(ValueError, match=r"study s of .*, trial 0: x=.* is no value that is searched"):
        search.claim()


def searched(folder):
    """What a worker does with the study of the folder: it takes a trial, and reports."""
    search = OptunaSearch("s", None, folder, Question("val/loss", "min", SPACE, ()), 3, optuna.samplers.RandomSampler())
    claim = search.claim()
    search.report()
    claim.lock.close()
    return claim.words


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    searched(folder)
    return folder / "optuna.db"


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM studies; END"],
        ["ALTER TABLE trial_values RENAME TO v", "CREATE VIEW trial_values AS SELECT * FROM v"],
        ["ALTER TABLE trials ADD COLUMN g AS (hex(zeroblob(100000000)))"],
        ["UPDATE trials SET number = '../../../elsewhere'"],
        ["UPDATE trials SET state = 'EVIL'"],
        ["UPDATE trials SET state = 'COMPLETE'"],
        ["UPDATE trials SET datetime_start = 'yesterday'"],
        ["UPDATE trial_params SET distribution_json = replace(hex(zeroblob(50000)), '00', '[')"],
        ["UPDATE trial_params SET param_value = 1e30"],
        ["UPDATE study_user_attributes SET value_json = '{'"],
        ["UPDATE alembic_version SET version_num = 'x'"],
    ],
)
def test_a_study_that_is_none_of_a_search_is_refused_in_a_sentence(study, tmp_path, statements):
    (tmp_path / "sweep").mkdir()
    file = shutil.copy(study, tmp_path / "sweep")
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    with pytest.raises(ValueError, match=r"optuna\.db cannot be used as a study") as error:
        searched(tmp_path / "sweep")
    assert "\n" not in str(error.value) and [path.name for path in tmp_path.iterdir()] == ["sweep"]


@pytest.mark.parametrize("question", [[], "x", {"space": []}, {"metric": "val/loss", "fixed": 3}])
def test_a_study_of_another_form_of_question(study, tmp_path, question):
    file = shutil.copy(study, tmp_path)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE study_user_attributes SET value_json = ?", (json.dumps(question),))
        connection.commit()
    with pytest.raises(ValueError, match="study s of .* was made for another search"):
        searched(tmp_path)


def test_a_study_goes_on(study, tmp_path):
    shutil.copy(study, tmp_path)
    assert searched(tmp_path) in (("x=a",), ("x=b",))


def test_a_link_out_of_a_sweep_s_folder(tmp_path):
    (tmp_path / "sweep").mkdir()
    named = sweep(tmp_path / "sweep", {"words": OWN})
    (tmp_path / "sweep/.optuna.lock").symlink_to(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"(?s)\.optuna\.lock is a link out of.*trust_run=true"):
        of_resumed_sweep([named, "-m"])
    assert of_resumed_sweep([named, "-m", "trust_run=true"])


@pytest.mark.parametrize(
    ("distribution", "good", "bad"),
    [
        (optuna.distributions.FloatDistribution(0.0, 1.0), (0.0, 0.5, 1), (-0.1, 1.1, "0.5", None, float("nan"), True)),
        (optuna.distributions.IntDistribution(1, 4), (1, 4), (0, 5, 2.5, "2", None, False)),
    ],
)
def test_numbers_within_their_bounds(distribution, good, bad):
    space = SearchSpace((Parameter("x", distribution, None),))
    for value in good:
        space.check({"x": value}, "study")
    for value in bad:
        with pytest.raises(ValueError, match="is no value that is searched"):
            space.check({"x": value}, "study")


@pytest.mark.parametrize(
    "status",
    [
        {"overrides": [1, 2]},
        {"overrides": [None]},
        {"overrides": 3},
        {"step": "x"},
        {"seconds": []},
        {"error": ["x"]},
        {"objective": {"metric": 3, "mode": None}},
        {"objective": {"metric": "x", "mode": None, "value": "high"}},
        {"objective": [1]},
        {"unknown": 1},
        [],
        None,
    ],
)
def test_a_status_of_another_form_is_named_in_the_table(tmp_path, status):
    (tmp_path / "status.json").write_text(json.dumps(status))
    (record,) = find_runs(tmp_path)
    if status is not None:
        assert record.state.startswith("unreadable: ") and "status.json" in record.state
        with pytest.raises(ValueError, match=r"status\.json: not the status of a run"):
            read_status(tmp_path)


RESULT = {
    "data": "d",
    "split": "s",
    "queries": {"scored": 1, "expected": 1},
    "lines": {},
    "metrics": {"cider": 1.0},
}


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.system [x]", "{{{", "3", "a: 1", "[" * 5000],
)
def test_overrides_that_are_none(tmp_path, text):
    (tmp_path / "metrics.json").write_text(json.dumps(RESULT))
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra/overrides.yaml").write_text(text)
    (record,) = find_runs(tmp_path)
    assert record.overrides == {} and "overrides.yaml" in (record.problem or "")


@pytest.mark.parametrize("bounds", [["a", "b"], ["a"], [1], "ab", 3, {"a": 1}, [[1], [2]]])
def test_intervals_that_are_none(tmp_path, bounds, caplog):
    (tmp_path / "status.json").write_text('{"state": "done"}')
    (tmp_path / "metrics.json").write_text(json.dumps({**RESULT, "intervals": {"cider": bounds}}))
    (record,) = find_runs(tmp_path)
    assert "not the result of an evaluation" in record.state
