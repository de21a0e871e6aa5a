"""A checkpoint's captions by a server that holds the merged model that `export` writes of it."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from diptych.commands.export import export
from diptych.models.fuser.qlora_fuser import QLoRAFuser
from scripted_server import Server, running
from served_model import writing
from tiny_runs import TINY_NEWS_SIZES, WITHOUT_ENTITIES, run_evaluate, run_train, tiny_captions
from tiny_sets import make_data

pytestmark = pytest.mark.slow


def test_a_server_writes_the_captions_of_a_checkpoint(tmp_path, tiny_chat_model, tiny_sentence_model, monkeypatch):
    data = make_data(tmp_path / "data")
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv("DIPTYCH_DATA", str(data))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    tiny = tiny_captions(data, tiny_chat_model, tiny_sentence_model)
    exact = ["system.model.quantization=none", "system.model.dtype=float32", "system.optimizer.lr=0.01"]
    words = ["experiment=fuser_newsroom", *tiny, *TINY_NEWS_SIZES, *WITHOUT_ENTITIES, *exact, "evaluate_at_end=false"]
    run_train(tmp_path / "run", *words)
    merged = str(tmp_path / "merged")
    export(tmp_path / "run", merged, merge=True, dtype="float32")
    greedy = [f"ckpt={tmp_path / 'run'}", "trainer=cpu", "trainer.precision=32-true", "split=val", "generation=greedy"]
    greedy += ["generation.max_new_tokens=24", "ablation=evidence"]
    local = run_evaluate(tmp_path / "local", *greedy)

    model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()
    step = writing(model, AutoTokenizer.from_pretrained(merged))
    monkeypatch.setattr(QLoRAFuser, "load", None)  # the base model is not read
    with running(Server([step], [{"id": merged, "max_model_len": 4096}])) as server:
        by_server = ["server=vllm", f"server.model={merged}", f"server.base_url={server.url}"]
        found = run_evaluate(tmp_path / "served", *greedy, *by_server)
        for folder in ("", "annotated_article", "whole_article"):
            one, other = (tmp_path / place / folder / "predictions.jsonl" for place in ("served", "local"))
            assert one.read_bytes() == other.read_bytes()
        assert found["metrics"] == local["metrics"] and found["counts"] == local["counts"]
        assert found["replaced"]["server"] == {"model": merged, "base_url": server.url}
        settings = [json.loads((tmp_path / x / "predictions.settings.json").read_text()) for x in ("served", "local")]
        assert settings[1].pop("answers_at_a_time") == 16  # which a server is not told
        assert settings[0] == settings[1] | {"server_model": merged}

        for word, message in {
            "ablation=untuned": "ablation=untuned is of the base model, which the server does not hold",
            "trainer.devices=2": "server is asked by one process, and trainer has 2",
            "server.concurrency=0": r"server\.concurrency=0, .*: want at least 1",
            "server.model=other": r"server\.model='other' is none of those that the server holds",
        }.items():
            with pytest.raises(ValueError, match=message):
                run_evaluate(tmp_path / "refused", *greedy, *by_server, word)
    with pytest.raises(ValueError, match=r"^server\.model=\.\.\. is missing: what the server calls"):
        run_evaluate(tmp_path / "refused", *greedy, "server=vllm")
