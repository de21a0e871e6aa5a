"""Two processes write captions together. Nothing here imports transformers: they start in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes

from diptych.systems.caption_generation import CaptionGenerator, GenerationSettings
from toy_language_model import Letters, ToyLanguageModel, make_prompts
from warm_python import warm

pytestmark = pytest.mark.processes

RANKS = 2
SETTINGS = GenerationSettings(max_new_tokens=20, batch_size=4, num_candidates=2, seed=7)


def write(output: Path, fail_at: str = "") -> list[dict]:
    def describe(query_id: str) -> dict:
        if query_id == fail_at:
            raise ValueError("no evidence")
        return {"article_id": query_id[1:]}

    return CaptionGenerator(SETTINGS).generate(
        ToyLanguageModel(), Letters(), make_prompts(), output, describe, model_fingerprint="toy", show_progress=False
    )


def work(number: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=number, world_size=RANKS)
    seen = {"whole": write(Path(folder) / "whole.jsonl")}
    # The shortest prompts come last: one process fails there.
    shortest = min(make_prompts(), key=lambda example: len(example.prompt_ids)).query_id
    try:
        write(Path(folder) / "broken.jsonl", fail_at=shortest)
    except (ValueError, RuntimeError) as error:
        seen["error"] = f"{type(error).__name__}: {error}"
    torch.save(seen, Path(folder) / f"{number}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    warm.use_for_multiprocessing()
    start_processes(work, (str(folder),), nprocs=RANKS, start_method="forkserver")
    return folder


@pytest.fixture(scope="module")
def ranks(folder) -> list[dict]:
    return [torch.load(folder / f"{number}.pt", weights_only=True) for number in range(RANKS)]


def test_two_processes_write_what_one_writes(folder, ranks, tmp_path):
    alone = write(tmp_path / "alone.jsonl")
    assert ranks[0]["whole"] == ranks[1]["whole"] == alone
    assert (folder / "whole.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()
    assert not list(folder.glob("whole.rank*"))


def test_when_one_fails_none_waits(ranks):
    assert sorted(seen["error"] for seen in ranks) == [
        "RuntimeError: another process has failed; its own message says why",
        "ValueError: no evidence",
    ]


def test_one_process_goes_on_with_the_work_of_two(folder, ranks):
    output = folder / "broken.jsonl"
    assert len(list(folder.glob("broken.rank*.jsonl"))) == 2
    assert not output.exists()
    assert write(output) == ranks[0]["whole"]
    assert output.read_bytes() == (folder / "whole.jsonl").read_bytes()
    assert not list(folder.glob("broken.rank*"))
