import json
import subprocess
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from pathlib import Path

import lightning as L
import pytest

import patience
from diptych.stages.running import times
from diptych.stages.running.runner import PipelineRunner, StageRun
from diptych.storage.file_lock import lock_file, locked
from stage_examples import ModelSquares, Squares
from warm_python import warm

pytestmark = pytest.mark.processes


@pytest.fixture
def numbers(tmp_path):
    path = tmp_path / "numbers.json"
    path.write_text(json.dumps([3, 1, 2, 7]))
    return path


def trainer():
    return L.Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_checkpointing=False)


def run(tmp_path, *stages, retry_failures=False, name="squares"):
    runs = [
        StageRun(f"{name}_{number}", stage, tmp_path / "work" / f"{name}_{number}", settings)
        for number, (stage, settings) in enumerate(stages)
    ]
    return list(PipelineRunner(trainer(), tmp_path / "work", retry_failures, show_progress=False).run(runs).values())


def of(numbers, cls=Squares, **settings):
    return cls(str(numbers), **settings), {"input": str(numbers), **settings}


def content(folder: Path) -> dict[str, bytes]:
    """All files but the times, which are others each time."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != times.FILE)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_records_end_in_the_order_of_the_ids_and_failures_are_kept_apart(tmp_path, numbers):
    (counts,) = run(tmp_path, of(numbers, bad=(1,)))
    folder = tmp_path / "work/squares_0"
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert [(record["query_id"], record["value"]) for record in records] == [("3", 9), ("2", 4), ("7", 49)]
    (failure,) = (folder / "failures.jsonl").read_text().splitlines()
    assert json.loads(failure) == {"query_id": "1", "reason": "bad", "message": "1 is bad"}
    assert (counts.done, counts.kept, counts.failed) == (3, 0, {"bad": 1})
    assert counts.describe() == "3 done, 1 failed: bad 1"
    assert json.loads((folder / "values.json").read_text()) == [9, 4, 49]


def test_what_is_done_is_not_done_again(tmp_path, numbers):
    run(tmp_path, of(numbers, bad=(1,)))
    before = content(tmp_path / "work")
    stage, settings = of(numbers, bad=(1,))
    (counts,) = run(tmp_path, (stage, settings))
    assert stage.calls == [] and counts.kept == 3
    assert content(tmp_path / "work") == before


def test_failures_are_tried_again_when_asked_for(tmp_path, numbers):
    run(tmp_path, of(numbers, bad=(1,)))
    stage, settings = of(numbers, bad=(1,))
    stage.bad = set()  # what was wrong is mended
    (counts,) = run(tmp_path, (stage, settings), retry_failures=True)
    assert stage.calls == ["1"] and counts.failed == {}
    assert json.loads((tmp_path / "work/squares_0/values.json").read_text()) == [9, 1, 4, 49]
    assert (tmp_path / "work/squares_0/failures.jsonl").read_text() == ""


def test_new_ids_are_added_and_old_ones_let_go(tmp_path, numbers):
    run(tmp_path, of(numbers))

    def fixed(ids):
        stage = Squares(str(numbers))
        stage.input_files = list  # an input that decides which ids there are, not what becomes of them
        stage.ids = lambda: ids
        return stage, {}

    run(tmp_path, fixed(["3", "1"]), name="fixed")
    stage, settings = fixed(["5", "3"])
    run(tmp_path, (stage, settings), name="fixed")
    assert stage.calls == ["5"]
    assert json.loads((tmp_path / "work/fixed_0/values.json").read_text()) == [25, 9]


def test_a_changed_setting_starts_its_stage_and_those_after_it_anew(tmp_path, numbers):
    def pipeline(power, last=2):
        first = Squares(str(numbers), power=power), {"power": power}
        second = Squares(str(tmp_path / "work/squares_0/values.json"), power=last), {"power": last}
        run(tmp_path, first, second)
        return first[0].calls, second[0].calls

    values = tmp_path / "work/squares_1/values.json"
    assert [len(calls) for calls in pipeline(2)] == [4, 4]
    first = values.read_bytes()
    assert [len(calls) for calls in pipeline(2, last=3)] == [0, 4]
    assert [len(calls) for calls in pipeline(3)] == [4, 4]
    assert json.loads(values.read_text()) == [729, 1, 64, 343**2]
    assert [len(calls) for calls in pipeline(2)] == [0, 0]  # what was set aside comes back
    assert values.read_bytes() == first


def test_a_changed_input_starts_anew(tmp_path, numbers):
    run(tmp_path, of(numbers))
    numbers.write_text("[3, 4]")
    stage, settings = of(numbers)
    run(tmp_path, (stage, settings))
    assert sorted(stage.calls) == ["3", "4"]


def test_runtime_settings_change_nothing(tmp_path, numbers):
    run(tmp_path, of(numbers))
    stage, settings = of(numbers, pause=0.001)
    run(tmp_path, (stage, settings))
    assert stage.calls == []


def test_a_missing_output_file_is_written_again(tmp_path, numbers):
    run(tmp_path, of(numbers, output=str(tmp_path / "out.json")))
    (tmp_path / "out.json").unlink()
    stage, settings = of(numbers, output=str(tmp_path / "out.json"))
    run(tmp_path, (stage, settings))
    assert json.loads((tmp_path / "out.json").read_text()) == [9, 1, 4, 49] and stage.calls == []


FOLDERS = [str(Path(file).parent) for file in (__file__, patience.__file__)]  # where a script finds the tests' modules
KILLED = """
import sys
sys.path[:0] = {tests!r}
from pathlib import Path
from test_runner import of, run
run(Path({tmp!r}), of(Path({numbers!r}), bad=(1,), die_at={die_at}))
"""


@pytest.mark.parametrize("die_at", [0, 2, 3])
def test_a_killed_stage_goes_on_and_ends_with_the_same_bytes(tmp_path, numbers, die_at):
    (tmp_path / "a").mkdir()
    run(tmp_path / "a", of(numbers, bad=(1,)))
    script = KILLED.format(tests=FOLDERS, tmp=str(tmp_path / "b"), numbers=str(numbers), die_at=die_at)
    (tmp_path / "b").mkdir()
    assert subprocess.run([warm.python(), "-c", script], capture_output=True).returncode == -9
    records = tmp_path / "b/work/squares_0/records.jsonl"
    if die_at:
        with records.open("a") as file:
            file.write('{"query_id": "3", "val')  # a line that was being written
    stage, settings = of(numbers, bad=(1,))
    run(tmp_path / "b", (stage, settings))
    assert len(stage.calls) == 4 - die_at
    assert content(tmp_path / "a/work") == content(tmp_path / "b/work")


def test_two_processes_do_not_work_in_one_folder_but_one_after_the_other(tmp_path, numbers):
    with ThreadPoolExecutor() as threads:
        with locked(lock_file(tmp_path / "work/squares_0")):
            waiting = threads.submit(run, tmp_path, of(numbers))
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
        waiting.result()
    assert (tmp_path / "work/squares_0/records.jsonl").is_file()


def test_a_missing_input_is_named(tmp_path, numbers):
    numbers.unlink()
    with pytest.raises(FileNotFoundError):
        run(tmp_path, of(numbers))


def test_foreign_folders_are_not_touched(tmp_path, numbers):
    folder = tmp_path / "work/squares_0"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match=r"squares_0 holds files, but no manifest\.json"):
        run(tmp_path, of(numbers))


def test_a_kill_while_a_folder_is_begun_leaves_nothing_in_the_way(tmp_path, numbers):
    folder = tmp_path / "work/squares_0"
    folder.mkdir(parents=True)
    (folder / "manifest.json.4711-0a0b0c0d.tmp").write_text("{")
    (counts,) = run(tmp_path, of(numbers))
    assert counts.done == 4 and not list(folder.glob("*.tmp"))


def test_ids_must_be_unique_and_there(tmp_path, numbers):
    numbers.write_text("[1, 1]")
    with pytest.raises(ValueError, match="query_id '1' occurs twice"):
        run(tmp_path, of(numbers))
    numbers.write_text("[]")
    with pytest.raises(ValueError, match="nothing to do"):
        run(tmp_path, of(numbers))


def test_a_stage_that_forgets_a_record_is_found_out(tmp_path, numbers):
    stage, settings = of(numbers)
    stage.process = lambda ids: iter([{"query_id": "3", "value": 9}])
    with pytest.raises(RuntimeError, match="no result for 3 records, first '1'"):
        run(tmp_path, (stage, settings))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_model_predicts_under_lightning(tmp_path, numbers, num_workers):
    warm.use_for_multiprocessing()
    (counts,) = run(tmp_path, of(numbers, ModelSquares, bad=(2,), num_workers=num_workers))
    records = [json.loads(line) for line in (tmp_path / "work/squares_0/records.jsonl").read_text().splitlines()]
    assert [record["value"] for record in records] == [9, 1, 49]
    assert counts.failed == {"unreadable": 1}


TWO = """
import sys
sys.path[:0] = {tests!r}
from pathlib import Path
import lightning as L
from lightning.pytorch.strategies import DDPStrategy
from test_runner import StageRun, PipelineRunner, ModelSquares, Squares

def runs(folder):
    numbers, log = folder / "numbers.json", str(folder / "log.txt")
    first = folder / "work/first/values.json"
    yield StageRun("first", Squares(str(numbers), power=1, pause=0.05), folder / "work/first", {{"power": 1}})
    for name in ("a", "b"):
        stage = ModelSquares(str(first), bad=(2,), log=log)
        yield StageRun(name, stage, folder / "work" / name, {{"bad": [2]}})
    yield StageRun("last", Squares(str(first)), folder / "work/last", {{}})

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    strategy = DDPStrategy(process_group_backend="gloo")
    trainer = L.Trainer(accelerator="cpu", devices=2, strategy=strategy, logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, use_distributed_sampler=False)
    counts = PipelineRunner(trainer, folder / "work", show_progress=False).run(list(runs(folder)))
    print(sorted((name, c.done) for name, c in counts.items()))
"""


def test_two_processes_make_every_record_once(tmp_path, numbers):
    script = tmp_path / "two.py"
    script.write_text(TWO.format(tests=FOLDERS))
    command = [warm.python(), str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience.SECONDS)
    assert done.returncode == 0, done.stderr[-3000:]
    made = [line.split() for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert sorted(name for _, name in made) == sorted(["3", "1", "7"] * 2)
    assert {rank for rank, _ in made} == {"0", "1"}
    assert "('a', 3), ('b', 3), ('first', 4), ('last', 4)" in done.stdout
    run(tmp_path / "one", of(tmp_path / "work/first/values.json", ModelSquares, bad=(2,)))
    assert (tmp_path / "work/a/records.jsonl").read_bytes() == (
        tmp_path / "one/work/squares_0/records.jsonl"
    ).read_bytes()


def test_output_of_other_settings_is_replaced_when_settings_come_back(tmp_path, numbers):
    output = str(tmp_path / "out.json")
    values = []
    for power in (2, 3, 2):
        run(tmp_path, of(numbers, power=power, output=output))
        values.append(json.loads((tmp_path / "out.json").read_text())[0])
    assert values == [9, 27, 9]
