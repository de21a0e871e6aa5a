"""Files of a stranger's through the commands themselves: a sentence, a status that is not 0, and nothing else."""

from __future__ import annotations

import copy
import json
import os
import pickle
import sqlite3
import subprocess
import zipfile
from pathlib import Path

import hydra
import pytest
import torch
import yaml
from omegaconf import OmegaConf

import hostile_words
import patience
from canary import CODE
from diptych.config import building, folder, resolvers
from diptych.parallel import checkpoints
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN
from tiny_sets import tiny_set
from warm_python import warm

pytestmark = [pytest.mark.processes, pytest.mark.hostile("further doors")]


class Payload:
    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('evil.ran').write_text('')",)


def with_setting(way, value):
    def change(config):
        changed = OmegaConf.create(config)
        OmegaConf.update(changed, way, value, force_add=True)
        return OmegaConf.to_container(changed)

    return change


ARCHITECTURE = "system.model.backbone.architecture"
CHANGES = {
    "a class of theirs": with_setting("system.loss._target_", "evil_part.Part"),
    "hub.load": with_setting("system.loss", {"_target_": "torch.hub.load", "repo_or_dir": "x", "model": "y"}),
    "part": with_setting("system.loss._partial_", True),
    "recursive": with_setting("system.model._recursive_", False),
    "args": with_setting("system.loss._args_", ["x"]),
    "the secret": with_setting("name", "${oc.env:SECRET_TOKEN}"),
    "the secret, nested": with_setting("name", "${oc.select:${oc.env:SECRET_TOKEN}}"),
    "an endless layer": with_setting(f"{ARCHITECTURE}.vision_cfg.width", 2**20),
    "endless layers": with_setting(f"{ARCHITECTURE}.text_cfg.layers", 10**9),
    "a billion hotels": with_setting("data.sources.rooms.settings.num_test_hotels", 10**9),
    "a million workers": with_setting("data.num_workers", 10**6),
}
TEXTS = {
    "a tag": "!!python/object/apply:os.system ['touch evil.ran']",
    "anchors": "a0: &a0 [x]\n" + "\n".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]" for n in range(24)),
    "nested": "[" * 5000,
    "no YAML": "{{{{",
}  # fmt: skip


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What every command said of every input, by what they are called: all of them in one process."""
    place = tmp_path_factory.mktemp("hostile")
    theirs, mine = place / "theirs", place / "mine"
    theirs.mkdir()
    (theirs / "evil_part.py").write_text(CODE + "class Part:\n    pass\n")
    tiny_set("rooms", mine / "data/rooms")
    cases = dict(inputs(theirs))
    (place / "words.json").write_text(json.dumps(list(cases.values())))
    environment = {**os.environ, "SECRET_TOKEN": "hunter2", "WANDB_MODE": "disabled"}
    command = [warm.python(), hostile_words.__file__, str(place)]
    subprocess.run(command, cwd=mine, env=environment, check=True, timeout=10 * patience.SECONDS)
    return dict(zip(cases, json.loads((place / "said.json").read_text()), strict=True))


def inputs(theirs: Path):
    config, weights = honest()
    for name, change in CHANGES.items():
        text = yaml.safe_dump(change(copy.deepcopy(config)), sort_keys=False)
        yield from of_config(theirs, name, text, weights)
    for name, text in TEXTS.items():
        yield from of_config(theirs, name, text, weights)
    text = yaml.safe_dump(config, sort_keys=False)
    for name, path in checkpoint_files(theirs, text, weights):
        yield f"evaluate, {name}", ("evaluate", [f"ckpt={path}"])
        yield f"export, {name}", ("export", [f"ckpt={path}", "out=exported"])
    link = theirs / "linked"
    run_folder(link, text)
    (link / "checkpoints").symlink_to("/tmp")
    yield "train, a link", ("train", [f"resume={link}"])
    for number, words in enumerate((["+x._target_=os.system"], ["-m", "hydra.launcher._target_=x"], [1], "x")):
        sweep = theirs / f"sweep{number}"
        sweep.mkdir()
        (sweep / "command.json").write_text(json.dumps({"words": words}))
        yield f"train, a sweep {number}", ("train", [f"sweep.resume={sweep}", "-m"])
    stores = theirs / "stores"
    stores.mkdir()
    with sqlite3.connect(stores / "embeddings.sqlite") as connection:
        connection.execute("CREATE VIEW embedding AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r)"
                           " SELECT x AS key, x AS vector, x AS crc FROM r")  # fmt: skip
    (stores / "a.ckpt").write_bytes(pickle.dumps(Payload()))
    yield "doctor, stores", ("doctor", [f"stores={stores}", "checksums=true"])
    submission = theirs / "submission.zip"
    with zipfile.ZipFile(submission, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../submission.csv", "=cmd()\n" * 100_000)
    yield "submission, a zip", ("submission check", [str(submission), "data=openevents", "test_set=public"])


def of_config(theirs, name, text, weights):
    key = name.replace(" ", "_").replace(",", "")
    path = written(theirs / f"{key}.ckpt", text, weights)
    yield f"evaluate, {name}", ("evaluate", [f"ckpt={path}"])
    yield f"api, {name}", ("api", [str(path)])
    run_folder(theirs / key, text)
    yield f"train, {name}", ("train", [f"resume={theirs / key}"])


def run_folder(path, text):
    path.mkdir()
    (path / "config.yaml").write_text(text)
    (path / "metrics.csv").write_text("step,=cmd()\n1,@x\n")


def checkpoint_files(theirs, text, weights):
    path = theirs / "pickle.ckpt"
    path.write_bytes(pickle.dumps(Payload()))
    yield "a pickle", path
    path = theirs / "payload.ckpt"
    torch.save({"x": Payload()}, path)
    yield "a payload", path
    some = next(iter(weights))
    repeated = {**weights, some: torch.zeros(1).expand(2**40)}
    yield "repeated to terabytes", written(theirs / "repeated.ckpt", text, repeated)
    bomb = theirs / "bomb.ckpt"
    with (
        zipfile.ZipFile(written(theirs / "whole.ckpt", text, weights)) as source,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.namelist():
            target.writestr(entry, source.read(entry) if entry.endswith(".pkl") else bytes(2**24))
    yield "a bomb", bomb
    pipe = theirs / "pipe.ckpt"
    os.mkfifo(pipe)
    yield "a pipe", pipe
    link = theirs / "link.ckpt"
    link.symlink_to("/dev/zero")
    yield "an endless device", link


def written(path, text, weights):
    torch.save({"state_dict": weights, "global_step": 2, checkpoints.KEY: checkpoints.describe(text)}, path)
    return path


def honest():
    """The plain config and the weights of a tiny run of cir_rooms."""
    resolvers.register_resolvers()
    with hydra.initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
        config = hydra.compose("train", ["experiment=cir_rooms", *TINY_ROOMS_SIZES, *TINY_MODEL, *TINY_RUN])
    return OmegaConf.to_container(config), building.build(config.system).state_dict()


def test_each_is_refused_in_a_sentence(said):
    odd = {
        name: found
        for name, found in said.items()
        if found["did"]
        or found["code"] not in ((0, 1) if name.startswith("api") else (1, 2))  # Python builds the model alone
        or "Traceback" in found["said"]
        or "hunter2" in found["said"]
    }
    assert not odd, "\n".join(f"{name}: {found}"[:2000] for name, found in odd.items())
    assert len(said) > 50
