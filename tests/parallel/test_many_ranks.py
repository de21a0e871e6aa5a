"""64 ranks on 8 nodes, simulated in one process: what each reads, draws and writes is its own; nothing is left out."""

from __future__ import annotations

import ast
import json
import pickle
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import Barrier, local
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning.fabric.utilities import rank_zero
from lightning.fabric.utilities.seed import pl_worker_init_function
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.strategies import DDPStrategy
from PIL import Image

from diptych.contracts.news import FusionExample
from diptych.contracts.retrieval import Triplet, TripletSource
from diptych.data.news.news_datamodule import NewsDataModule
from diptych.data.news.packing import PackedBatches
from diptych.data.triplets.augmentation import ColorJitter
from diptych.data.triplets.cir_datamodule import CIRDataModule
from diptych.data.triplets.from_files import FromFiles
from diptych.data.triplets.sampling import ShardedBatches, random_generator
from diptych.data.triplets.sharded_triplets import ShardOrder
from diptych.index.embedding_store import EmbeddingStore, open_embeddings
from diptych.loggers.metrics_csv import MetricsCSV
from diptych.parallel import distributed
from diptych.parallel.checkpoints import AtomicCheckpointIO
from diptych.stages.running.lockstep import Lockstep
from diptych.stages.running.record_stage import RecordStage
from diptych.stages.running.runner import PipelineRunner, StageRun
from diptych.storage.record_log import RecordFile, RecordLog, merge_rank_files, rank_file
from diptych.storage.whole import write_file
from diptych.systems.caption_fuser import CaptionFuserSystem
from diptych.systems.caption_generation import CaptionGenerator, GenerationSettings
from diptych.systems.cir import CIRSystem

RANKS, NODES, TASKS = 64, 8, 8
PACKAGE = Path(__file__).resolve().parents[2] / "src" / "diptych"


class ProcessGroup:
    """torch.distributed as `diptych.parallel.distributed` sees it: `rank` can be set. In `together` each rank is a
    thread, and they exchange what they bring.
    """

    def __init__(self) -> None:
        self.rank, self.size = 0, RANKS
        self._mine, self._brought, self._all_here = local(), [None] * RANKS, Barrier(RANKS, timeout=60)

    def is_available(self) -> bool:
        return True

    is_initialized = is_available

    def get_rank(self) -> int:
        return self.rank

    def get_world_size(self) -> int:
        return self.size

    group = SimpleNamespace(WORLD=None)

    def get_backend(self) -> str:
        return "gloo"

    def together(self, function: Callable[[int], Any]) -> list:
        """What the function of a rank returns on each of them; raises what it raises."""

        def of_rank(number: int) -> Any:
            self._mine.rank = number
            return function(number)

        with ThreadPoolExecutor(self.size) as threads:
            return list(threads.map(of_rank, range(self.size)))

    def _exchanged(self, own: Any) -> list:
        self._brought[self._mine.rank] = own
        self._all_here.wait()
        everything = list(self._brought)
        self._all_here.wait()
        return everything

    def all_gather_object(self, gathered: list, own: object, group: object) -> None:
        assert len(pickle.dumps(own)) < 500  # a description: what was computed travels as tensors
        gathered[:] = self._exchanged(own)

    def all_gather_into_tensor(self, gathered: torch.Tensor, own: torch.Tensor, group: object) -> None:
        gathered.copy_(torch.cat(self._exchanged(own)))


@pytest.fixture
def group(monkeypatch) -> ProcessGroup:
    group = ProcessGroup()
    monkeypatch.setattr(distributed, "dist", group)
    return group


def evaluation_rows(num_rows: int, rank: int) -> torch.Tensor:
    return torch.tensor([row for batch in ShardedBatches(num_rows, 4, rank, RANKS) for row in batch])


def in_pieces(rows: list, size: int) -> list[list]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


# ---------------------------------------------------------------------------------------------------- training data


class Pictures(TripletSource):
    """A source of 300 triplets over 20 pictures."""

    name, docs_page = "pictures", "docs/own_data.md"

    def __init__(self, root: Path) -> None:
        self.root = root
        for number in range(20):
            Image.new("RGB", (16, 16), (12 * number, 90, 40)).save(root / f"{number}.png")

    def triplets(self, split: str) -> list[Triplet]:
        return [Triplet(f"q{n}", str(n % 20), (f"text {n}", f"or {n}"), str((n + 7) % 20)) for n in range(300)]

    def image_path(self, split: str, name: str) -> Path:
        return self.root / f"{name}.png"


@pytest.fixture
def loader(tmp_path, tiny_preprocessing, group):
    """`loader(rank, size, batch_size)`: the training loader of a rank of so many."""
    source = Pictures(tmp_path)

    def build(rank: int, size: int, batch_size: int, done: int = 0):
        group.rank, group.size = rank, size
        sources = {"pictures": source}
        training = FromFiles(batch_size, augmentation=ColorJitter())
        module = CIRDataModule(sources, tiny_preprocessing, training, num_workers=0)
        module.prepare_for(SimpleNamespace(wants=frozenset()))
        module.trainer = SimpleNamespace(max_steps=5, accumulate_grad_batches=1)
        module.load_state_dict({"batches": done})
        return module.train_dataloader()

    return build


def test_ranks_share_the_batches_of_one_process(loader):
    alone = in_pieces(list(loader(0, 1, 128).sampler), 128)
    ranks = [in_pieces(list(loader(rank, RANKS, 2).sampler), 2) for rank in range(RANKS)]
    assert [[row for rank in ranks for row in rank[step]] for step in range(5)] == alone
    drawn = [row for batch in alone for row in batch]
    assert sorted(example for example, _ in drawn[:300]) == list(range(300))  # a pass, 2.3 steps long
    assert [draw for _, draw in drawn] == list(range(640))  # so every draw has its own randomness


def test_a_resumed_rank_goes_on_where_it_was(loader):
    for rank in (0, 37, 63):
        assert list(loader(rank, RANKS, 2, done=3).sampler) == list(loader(rank, RANKS, 2).sampler)[6:]


def test_examples_do_not_depend_on_the_rank_that_makes_them(loader):
    alone = list(islice(loader(0, 1, 128), 2))[1]
    for rank in (0, 37, 63):
        batch = list(islice(loader(rank, RANKS, 2), 2))[1]
        rows = slice(2 * rank, 2 * rank + 2)
        assert batch.query_ids == alone.query_ids[rows]
        assert torch.equal(batch.reference, alone.reference[rows])  # the augmentation too


def test_packed_rows_of_captions(group):
    lengths = [30 + 7 * number % 50 for number in range(900)]
    make = {"lengths": lengths, "row_length": 100, "seed": 3}
    alone = list(islice(PackedBatches(rows_per_batch=RANKS * 2, **make), 6))
    ranks = [PackedBatches(rows_per_batch=2, rank=rank, world_size=RANKS, **make) for rank in range(RANKS)]
    shares = [list(islice(batches, 6)) for batches in ranks]
    assert [[row for rank in shares for row in rank[step]] for step in range(6)] == alone
    rows = [row for batch in alone for row in batch][: len(ranks[0].rows(0))]
    assert sorted(example for row in rows for example in row) == list(range(900))
    later = PackedBatches(rows_per_batch=2, rank=37, world_size=RANKS, start_batch=4, **make)
    assert list(islice(later, 2)) == shares[37][4:]


@pytest.mark.parametrize("rows", [5, 64, 150])
def test_validation_rows_of_captions(group, monkeypatch, rows):
    module = NewsDataModule({"news": SimpleNamespace()}, preparation=None, cache="unused", row_length=1)
    monkeypatch.setattr(module, "split_data", lambda split: SimpleNamespace(lengths=torch.ones(rows).int()))
    monkeypatch.setattr(module, "_check_lengths", lambda *args: None)
    monkeypatch.setattr(module, "_loader", lambda data, batches: batches)
    held = []
    for group.rank in range(RANKS):
        own = module.val_dataloader()
        assert own  # a rank without any would be waited for
        held += [(module.validation_row(number), batch[0][0]) for number, batch in enumerate(own)]
    assert all(row == example for row, example in held)  # rows of one example each, in order
    assert {row for row, _ in held} == set(range(rows))
    assert Counter(row for row, _ in held) == Counter(range(rows)) + Counter({0: max(0, RANKS - rows)})


@pytest.mark.parametrize("streams", [1, 3])
def test_shards_are_dealt_out_without_overlap(streams):
    counts = [4 + number % 3 for number in range(200)]
    orders = [ShardOrder(counts, 2, 0, rank, RANKS, streams) for rank in range(RANKS)]
    reads = [
        (place, shard)
        for order in orders
        for stream in range(streams)
        for place, shard, first in islice(order.reads(stream, 0), 12)
        if first == 0 and place < 2 * len(counts)
    ]
    assert sorted(place for place, _ in reads) == list(range(2 * len(counts)))
    for number in (0, 1):
        passed = [shard for place, shard in reads if place // len(counts) == number]
        assert sorted(passed) == list(range(len(counts)))


# ---------------------------------------------------------------------------------------------------- evaluation


def gathered_by_all(group, shares: list[torch.Tensor], rows: torch.Tensor) -> list[torch.Tensor]:
    """What each rank has when each brought its share; who has none does not know what is gathered."""

    def of_rank(rank: int) -> torch.Tensor:
        own = {"model": rows[shares[rank]]} if len(shares[rank]) else {}
        return distributed.gather_rows(shares[rank], own, len(rows), "queries")["model"]

    return group.together(of_rank)


@pytest.mark.parametrize("num_rows", [1, 50, 64 * 4, 1003])
def test_rows_of_all_ranks_come_together(group, monkeypatch, num_rows):
    monkeypatch.setattr(distributed, "_PART_BYTES", 64 * 12 * 5)  # five rows of each rank at a time
    rows = torch.randn(num_rows, 3)
    shares = [evaluation_rows(num_rows, rank) for rank in range(RANKS)]
    for gathered in gathered_by_all(group, shares, rows):
        assert torch.equal(gathered, rows)


def test_a_rank_that_brought_nothing_is_missed(group):
    rows = torch.randn(1003, 3)
    shares = [evaluation_rows(1003, rank) for rank in range(RANKS)]
    shares[37] = shares[37][:0]
    with pytest.raises(ValueError, match=r"987 of 1003 queries were computed; missing positions: \[148, 149"):
        gathered_by_all(group, shares, rows)


def test_prompts_are_shared_out(group, tmp_path):
    generator = CaptionGenerator(GenerationSettings())
    prompts = [FusionExample(f"q{n}", tuple(range(n % 11 + 1)), ()) for n in range(150)]
    shares = []
    for group.rank in range(RANKS):
        shares.append([example.query_id for batch in generator._batches(prompts, room=2) for example in batch])
        RecordLog(rank_file(tmp_path / "predictions.jsonl", group.rank)).append({"query_id": q} for q in shares[-1])
    assert len(list(tmp_path.glob("*.jsonl"))) == RANKS
    assert sorted(query_id for share in shares for query_id in share) == sorted(example.query_id for example in prompts)
    merge_rank_files(tmp_path / "predictions.jsonl", [example.query_id for example in prompts])
    assert {path.name for path in tmp_path.iterdir()} == {"predictions.jsonl", ".predictions.jsonl.crc"}


# ---------------------------------------------------------------------------------------------------- randomness


def test_seeds_of_steps(group):
    seeds = []
    for group.rank in range(RANKS):
        for step in range(8):
            for system in (CIRSystem, CaptionFuserSystem):
                system.on_train_batch_start(SimpleNamespace(seed=5), None, step)
                seeds.append(torch.initial_seed())
    assert len(set(seeds)) == len(seeds) / 2 == RANKS * 8  # both systems seed in the same way
    seeds = [hash((5, step, rank)) % (1 << 63) for step in range(2000) for rank in range(RANKS)]
    assert len(set(seeds)) == len(seeds)
    # A CPU's generator looks at 32 bits of its seed: within a step these differ too.
    for step in range(2000):
        assert len({seed % (1 << 32) for seed in seeds[RANKS * step : RANKS * (step + 1)]}) == RANKS


def test_seeds_of_draws_and_workers(monkeypatch):
    seeds = [random_generator(5, draw).initial_seed() for draw in range(RANKS * 500)]
    assert len({seed % (1 << 32) for seed in seeds}) == len(seeds)
    workers = set()
    monkeypatch.setattr(torch, "initial_seed", lambda: 1234)
    monkeypatch.setattr(torch, "manual_seed", lambda seed: workers.add(int(seed)))
    for rank in range(RANKS):
        for worker in range(8):
            pl_worker_init_function(worker, rank)
    assert len(workers) == RANKS * 8


# ---------------------------------------------------------------------------------------------------- pipeline stages


class Copying(RecordStage):
    """A stage whose records are their ids."""

    record_key = "image_id"


class CopyingWork:
    """Its work, on any process."""

    shows_progress = False

    def run(self, trainer, folder, ids, keep):
        for name in ids:
            keep([{"image_id": name}])


@pytest.mark.parametrize("number", [10, 64, 200])
def test_stages_share_out_their_records(tmp_path, number):
    ids = [f"p{n}" for n in range(number)]
    run = StageRun("copy", Copying(), tmp_path / "copy", {})
    for rank in range(RANKS):
        trainer = SimpleNamespace(global_rank=rank, world_size=RANKS)
        PipelineRunner(trainer, tmp_path / "work", show_progress=False)._share(run, CopyingWork(), ids)
    lines = [path.read_text().splitlines() for path in (tmp_path / "copy").glob("*.jsonl")]
    assert len(lines) == RANKS  # a file each
    made = Counter(json.loads(line)["image_id"] for part in lines for line in part)
    assert set(made) == set(ids)
    assert sum(made.values()) == max(number, RANKS) and made["p0"] == 1 + max(0, RANKS - number)
    RecordFile(tmp_path / "copy", "image_id").finish(ids)
    assert list(RecordFile(tmp_path / "copy", "image_id").records()) == ids


def test_embeddings_of_all_processes(tmp_path):
    for rank in range(RANKS):
        store = EmbeddingStore(tmp_path, part=rank)
        store.append([{"image_id": f"p{n}", "embedding": torch.full((4,), n)} for n in range(rank, 150, RANKS)])
    assert len(list(tmp_path.rglob("000*"))) == 2 * RANKS  # ids and rows
    EmbeddingStore(tmp_path).finish([f"p{n}" for n in range(150)])
    assert open_embeddings(tmp_path).vectors[:, 0].tolist() == list(range(150))


def test_the_meeting_of_a_launch(tmp_path, monkeypatch):
    def arrive(rank: int, restart: int) -> Lockstep:
        for name, value in {"SLURM_JOB_ID": 12, "SLURM_STEP_ID": 0, "SLURM_RESTART_COUNT": restart}.items():
            monkeypatch.setenv(name, str(value))
        return Lockstep(SimpleNamespace(global_rank=rank, world_size=RANKS), tmp_path)

    late = arrive(9, restart=0)
    late._parent = -1  # as if who started it were gone
    main, *others = [arrive(rank, restart=1) for rank in range(RANKS)]
    main.begin_work(["a", "b"])
    assert all(other.wait_for_step() == ["a", "b"] for other in others)
    main.next_step()
    main.next_step()
    assert all(other.wait_for_step() is None for other in others)
    with pytest.raises(ValueError, match="the first process has ended"):
        late.wait_for_step()  # what another start of the job says is nothing to it
    assert [path.name for path in tmp_path.iterdir()] == [".lockstep.json"]


# ---------------------------------------------------------------------------------------------------- SLURM


@pytest.fixture
def as_task(monkeypatch):
    """`as_task(rank)`: the environment of a task of a job of 8 nodes with 8 tasks each."""
    monkeypatch.setattr(rank_zero.rank_zero_only, "rank", 0)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)

    def become(rank: int) -> SLURMEnvironment:
        node, task = divmod(rank, TASKS)
        variables = {
            "SLURM_JOB_ID": 4711,
            "SLURM_JOB_NAME": "diptych",
            "SLURM_NTASKS": RANKS,
            "SLURM_NTASKS_PER_NODE": TASKS,
            "SLURM_NNODES": NODES,
            "SLURM_NODELIST": "gpu[03-07,11-13]",
            "SLURM_PROCID": rank,
            "SLURM_LOCALID": task,
            "SLURM_NODEID": node,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        assert SLURMEnvironment.detect()
        return SLURMEnvironment(auto_requeue=False)

    return become


def task_trainer(environment: SLURMEnvironment, devices: int = TASKS, nodes: int = NODES) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        devices=devices,
        num_nodes=nodes,
        strategy=DDPStrategy(process_group_backend="gloo"),
        plugins=[AtomicCheckpointIO(), environment],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def test_tasks_of_slurm_are_ranks(as_task):
    found, addresses = [], set()
    for rank in range(RANKS):
        environment = as_task(rank)
        found.append((environment.global_rank(), environment.node_rank(), environment.local_rank()))
        addresses.add((environment.main_address, environment.main_port, environment.world_size()))
        assert rank_zero._get_rank() == rank  # what a process knows before there is a Trainer
        assert environment.creates_processes_externally
        environment.validate_settings(num_devices=TASKS, num_nodes=NODES)
    assert found == [(node * TASKS + task, node, task) for node in range(NODES) for task in range(TASKS)]
    ((address, _, size),) = addresses
    assert (address, size) == ("gpu03", RANKS)


def test_the_trainer_takes_its_ranks_from_slurm(as_task):
    for rank in (0, 37, 63):
        trainer = task_trainer(as_task(rank))
        assert (trainer.global_rank, trainer.world_size) == (rank, RANKS)
        assert (trainer.node_rank, trainer.local_rank) == divmod(rank, TASKS)
        assert trainer.is_global_zero == (rank == 0)


def test_a_job_of_another_shape_is_refused(as_task):
    def launch(**shape: int) -> str:
        return task_trainer(as_task(5), **shape).strategy.launcher.launch(lambda: "launched")

    assert launch() == "launched"
    with pytest.raises(ValueError, match=r"devices=4.*ntasks-per-node=8"):
        launch(devices=4)
    with pytest.raises(ValueError, match=r"num_nodes=2.*nodes=8"):
        launch(nodes=2)


def test_the_first_rank_alone_writes_checkpoints_and_metrics(as_task, tmp_path):
    for rank in (1, 8, 63, 0):
        trainer = task_trainer(as_task(rank))
        trainer.strategy.save_checkpoint({"rank": rank}, tmp_path / "last.ckpt")
        MetricsCSV(str(tmp_path)).log_metrics({"train/loss": float(rank)}, step=1)
        assert [path.name for path in sorted(tmp_path.iterdir())] == (["last.ckpt", "metrics.csv"] if rank == 0 else [])


# ---------------------------------------------------------------------------------------------------- files


def test_one_file_written_by_all_at_once_is_whole(tmp_path):
    """Threads have one process id, as processes on different nodes may: temporary names must differ without it."""
    contents = {bytes([65 + rank % 26]) * 20_000 for rank in range(RANKS)}
    with ThreadPoolExecutor(RANKS) as pool:
        write = pool.map(lambda content: write_file(tmp_path / "shared.json", content), contents)
        list(write)
    assert [path.name for path in tmp_path.iterdir()] == ["shared.json"]
    assert (tmp_path / "shared.json").read_bytes() in contents


# Every file of the package that writes, and why 64 ranks do not write over each other. The first word is what is tested
# of the source: `lock` and `unique` (a temporary name of the process's own, renamed when it is whole).
FIRST, OWN = "first: only rank 0 comes there", "own: each process has a file of its own"
LOCK, UNIQUE = "lock: one process at a time", "unique: written beside its place and renamed; the content is the same"
SHARED = "shared: SQLite's own locks"
NO_RANKS = "alone: a command or launcher that is one process"
NOTHING = "nothing: it reads records, or connects to a server"
WRITERS = {
    "parallel/checkpoints.py": FIRST,
    "loggers/metrics_csv.py": FIRST,
    "loggers/mlflow_logger.py": FIRST,
    "loggers/wandb_logger.py": FIRST,
    "results/": FIRST,
    "storage/run_status.py": FIRST,
    "commands/training.py": FIRST,
    "commands/audit_calibrating.py": FIRST,
    "commands/dialogues.py": FIRST,
    "commands/fetching.py": FIRST,
    "data/news/retrieval_file.py": FIRST,
    "photos/image_faults.py": FIRST,
    "index/faiss_index.py": UNIQUE,
    "stages/": FIRST,
    "stages/running/lockstep.py": FIRST,
    "stages/running/record_stage.py": OWN,
    "stages/running/runner.py": OWN,
    "stages/running/manifest.py": "lock: stages/running/runner.py",
    "storage/": UNIQUE,
    "systems/caption_generation.py": OWN,
    "systems/sampled_candidates.py": UNIQUE,
    "systems/triplet_weights.py": FIRST,
    "index/embedding_part.py": OWN,
    "index/embedding_store.py": FIRST,
    "parallel/sharded_checkpoints.py": OWN,
    "storage/record_log.py": UNIQUE,
    "storage/checksums.py": "unique: into a file that another one writes beside its place",
    "storage/folder_checksums.py": "unique: into a folder that another one writes beside its place",
    "photos/prepared_cache.py": UNIQUE,
    "verification/feature_cache.py": UNIQUE,
    "annotation/fetching.py": UNIQUE,
    "data/news/article_store.py": LOCK,
    "data/triplets/feature_cache.py": LOCK,
    "data/news/fusion_cache.py": LOCK,
    "data/triplets/shard_writing.py": LOCK,
    "data/triplets/object_crops.py": LOCK,
    "storage/file_lock.py": LOCK,
    "synthetic/generated_folder.py": LOCK,
    "synthetic/triplet_sets.py": "lock: synthetic/generated_folder.py",
    "synthetic/newsroom/": "lock: synthetic/generated_folder.py",
    "synthetic/reader/": "lock: synthetic/generated_folder.py",
    "synthetic/server/": NO_RANKS,
    "annotation/layouts/": FIRST,  # what the export stage writes at its end
    "commands/caption.py": NO_RANKS,
    "commands/adapter_export.py": NO_RANKS,
    "commands/retrieval_export.py": NO_RANKS,
    "parallel/plain_checkpoints.py": NO_RANKS,  # what the export writes
    "commands/pipeline.py": NOTHING,
    "annotation/guarded_web.py": NOTHING,
    "commands/importing.py": NO_RANKS,
    "commands/importing_tables.py": NO_RANKS,
    "commands/pairs.py": NO_RANKS,
    "studying/": NO_RANKS,
    "commands/texts.py": NO_RANKS,
    "api/": NO_RANKS,
    "annotation/ledger/ledger_file.py": SHARED,
    "storage/sqlite_files.py": SHARED,
    "annotation/ledger/ledger_tables.py": NOTHING,
    "report/": FIRST,
    "submission/": NO_RANKS,
    "sweeping/": NO_RANKS,
    "commands/doctor_report.py": NO_RANKS,
}


ROOM = ("write_file", "write_text", "write_json", "write_json_lines", "whole_file", "whole_folder", "write_link")


def writes(file: Path) -> bool:
    """Whether the file opens something for writing, or calls what writes."""
    return any(isinstance(node, ast.Call) and _is_write(node) for node in ast.walk(ast.parse(file.read_text())))


def _is_write(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in (*ROOM, "RecordLog", "RecordFile")
    if not isinstance(call.func, ast.Attribute):
        return False
    words = [word.value for word in call.args[:2] if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    for_writing = any(set(word) & set("wax+") and len(word) < 4 for word in words)
    always = ("write_text", "write_bytes", "symlink_to", "write_index", "connect", "savez")
    return call.func.attr in always or (call.func.attr == "open" and for_writing)


def reason(name: str) -> str | None:
    folders = [key for key in WRITERS if key.endswith("/") and name.startswith(key)]
    return WRITERS.get(name) or (WRITERS[folders[0]] if folders else None)


@pytest.mark.slow
def test_every_file_that_writes_says_how_ranks_keep_apart():
    found = {str(file.relative_to(PACKAGE)): file for file in sorted(PACKAGE.rglob("*.py")) if writes(file)}
    unknown = [name for name in found if reason(name) is None]
    assert not unknown, f"{unknown}: can 64 ranks come there at once? Add them to WRITERS"
    gone = [key for key in WRITERS if not any(name.startswith(key) for name in found)]
    assert not gone, f"{gone} write nothing; take them out of WRITERS"
    for name, file in found.items():
        source, why = file.read_text(), reason(name)
        if why == LOCK:
            assert "locked(" in source or "flock(" in source, name
        if why == UNIQUE:
            assert any(f"{function}(" in source for function in ROOM), name
