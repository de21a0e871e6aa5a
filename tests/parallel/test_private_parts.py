"""A release of another library that changes what it keeps private fails here, before a run computes other numbers."""

import ast
import http.client
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import Logger
from omegaconf import OmegaConf
from open_clip.transformer import VisionTransformer
from torch import nn
from torchmetrics import Metric
from transformers import BertConfig, BertModel

import diptych
from diptych.parallel import private_parts

PACKAGE = Path(diptych.__file__).parent


class Notes(Logger):
    """Keeps the step of each logged value."""

    name, version = "notes", 0

    def __init__(self):
        super().__init__()
        self.steps = []

    def log_metrics(self, metrics, step=None):
        if "loss" in metrics:
            self.steps.append(step)

    def log_hyperparams(self, *args, **kwargs):
        pass


class Linear(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch):
        loss = self.layer(batch).mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(callback):
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=2,
        logger=Notes(),
        callbacks=[callback],
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Linear(), torch.utils.data.DataLoader(torch.ones(8, 2), batch_size=2))
    return trainer


def test_the_logged_step_is_lightnings():
    class FromForty(L.Callback):
        def on_train_start(self, trainer, module):
            private_parts.set_logged_step(trainer, 40)

    assert fit(FromForty()).logger.steps == [40, 41]


def test_a_steps_values_are_logged_before_lightning_logs_them():
    logged = []

    class Early(L.Callback):
        def on_train_batch_end(self, trainer, module, *args):
            private_parts.log_training_step(trainer)
            logged.append(list(trainer.logger.steps))

    assert fit(Early()).logger.steps == [0, 0, 1, 1]
    assert logged == [[0], [0, 0, 1]]


def test_a_sigterm_taken_from_lightning_does_not_end_the_fit():
    taken = []

    class Signalled(L.Callback):
        def on_train_start(self, trainer, module):
            os.kill(os.getpid(), signal.SIGTERM)
            taken.extend([private_parts.take_sigterm(trainer), private_parts.take_sigterm(trainer)])

    former = signal.getsignal(signal.SIGTERM)
    try:
        assert fit(Signalled()).global_step == 2
    finally:
        signal.signal(signal.SIGTERM, former)
    assert taken == [True, False]


def test_the_first_process_is_not_asked_for_sigterm(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.distributed, "broadcast", lambda *args, **kwargs: asked.append(1))
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor()
    assert asked == [1]
    private_parts.do_not_ask_for_sigterm(trainer)
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor()
    assert asked == [1]


@pytest.mark.hostile("hostile run folders")
def test_other_ranks_are_started_with_the_given_command(monkeypatch):
    from lightning.fabric.plugins.environments import LightningEnvironment
    from lightning.pytorch.strategies.launchers import subprocess_script

    started = []
    monkeypatch.setattr(subprocess_script, "_hydra_subprocess_cmd", subprocess_script._hydra_subprocess_cmd)
    monkeypatch.setattr(subprocess_script.subprocess, "Popen", lambda command, **how: started.append(command))
    monkeypatch.setattr("hydra.core.hydra_config.HydraConfig.initialized", lambda: True)
    private_parts.set_command_of_ranks(["python", "train.py", "join_run='/runs (1)'"])
    subprocess_script._SubprocessScriptLauncher(LightningEnvironment(), 3, 1)._call_children_scripts()
    assert [command[:3] for command in started] == [["python", "train.py", "join_run='/runs (1)'"]] * 2
    assert [command[3] for command in started] == [f"hydra.job.name=train_ddp_process_{rank}" for rank in (1, 2)]


def test_tensors_are_found_in_a_registered_dataclass():
    @dataclass
    class Pair:
        first: torch.Tensor
        second: torch.Tensor

    private_parts.register_dataclass(Pair)
    doubled = torch.vmap(lambda pair: Pair(2 * pair.first, pair.second))(Pair(torch.arange(3), torch.ones(3)))
    assert doubled.first.tolist() == [0, 2, 4]


def test_nothing_missing_is_what_torch_says_of_a_whole_state():
    module = nn.Linear(2, 2)
    assert module.load_state_dict(module.state_dict()) == private_parts.nothing_missing()


def test_softmax_backward_is_autograds():
    scores = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    weights, gradient = scores.softmax(-1), torch.randn(2, 3, 5, dtype=torch.float64)
    (expected,) = torch.autograd.grad(weights, scores, gradient)
    torch.testing.assert_close(private_parts.softmax_backward(gradient, weights.detach()), expected)


@pytest.mark.parametrize("pool_type", ["tok", "avg"])
def test_vision_features_are_open_clips(pool_type):
    vit = VisionTransformer(16, 8, 12, 1, 2, 4.0, output_dim=6, pool_type=pool_type, output_tokens=True).eval()
    images = torch.randn(2, 3, 16, 16)
    pooled, tokens, hidden = private_parts.vision_features(vit, images)
    embedding, expected = vit(images)
    assert pooled.shape == (2, 12) and tokens.shape == (2, 4, 12)
    torch.testing.assert_close((pooled @ vit.proj, tokens), (embedding, expected))
    torch.testing.assert_close(vit._pool(hidden)[0], pooled)
    assert hidden.shape == (2, 5, 12)


def test_a_saved_model_is_marked_with_the_attention(tmp_path):
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 10}
    model = BertModel(BertConfig(num_hidden_layers=1, **sizes))
    private_parts.set_saved_attention(model.config, "eager")
    assert model.eval()(torch.ones(1, 3, dtype=torch.long), output_attentions=True).attentions[0].shape == (1, 2, 3, 3)


def test_overridden_methods_are_torchmetrics_own():
    private_parts.check_overrides("_wrap_compute", "_sync_dist")
    called = []

    class Counting(Metric):
        def __init__(self):
            super().__init__()
            self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

        def update(self, value):
            self.total += value

        def compute(self):
            return self.total

        def _wrap_compute(self, compute):
            return lambda: (called.append("compute"), super(Counting, self)._wrap_compute(compute)())[1]

        def _sync_dist(self, *args, **kwargs):
            called.append("sync")
            super()._sync_dist(*args, **kwargs)

    metric = Counting()
    metric.update(2.0)
    metric.sync(dist_sync_fn=lambda tensor, group: [tensor, tensor], distributed_available=lambda: True)
    metric.unsync()
    assert metric.compute() == 2.0 and called == ["sync", "compute"]


def test_the_root_of_a_config_is_the_whole():
    config = OmegaConf.create({"a": {"b": [{"c": 1}]}})
    assert private_parts.root_of(config.a.b[0]) is config and private_parts.root_of(config) is config


def test_a_renamed_part_is_named_with_its_library_and_where_to_look():
    message = f"torchmetrics .* renamed Metric._gone, see {re.escape(private_parts.__file__)}"
    with pytest.raises(RuntimeError, match=message):
        private_parts.check_overrides("_gone")


def test_a_connection_opens_its_socket_as_it_is_told():
    asked = []
    connection = http.client.HTTPConnection("example.org", timeout=1)

    def connect(place, *_):
        asked.append(place)
        raise OSError("far away")

    private_parts.set_connector(connection, connect)
    with pytest.raises(OSError, match="far away"):
        connection.request("GET", "/")
    assert asked == [("example.org", 80)]


def test_nothing_else_touches_private_parts():
    """But for a config's `_target_`, and `os._exit`, which is documented."""
    touched = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
                owner = ast.unparse(node.value)
                if owner not in ("self", "cls", "super()") and node.attr not in ("_exit", "_target_"):
                    touched.add(f"{path.relative_to(PACKAGE)}: {owner}.{node.attr}")
    assert {line for line in touched if not line.startswith("parallel/private_parts.py:")} == set()
