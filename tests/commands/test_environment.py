"""`diptych env` says what is there, what is not, and nothing that was not asked for."""

import torch

from diptych import __version__
from diptych.commands.environment import as_text, environment
from diptych.commands.main import main
from diptych.extras import PACKAGES


def test_it_names_versions_extras_and_folders(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    (tmp_path / "hf/hub/models--someone--a-model").mkdir(parents=True)
    assert main(["env"]) == 0
    said = capsys.readouterr().out
    facts = dict(environment())
    assert [line.partition(":")[0] for line in said.splitlines()] == [f"- {name}" for name in facts]
    assert as_text([("a", "b")]) == "- a: b\n" and "hf_secret" not in said
    assert facts["diptych"].startswith(__version__)
    assert f"torch {torch.__version__.partition('+')[0]}" in facts["packages"]
    assert all(f"{package.name} " in facts[f"extra {package.extra}"] for package in PACKAGES.values())
    assert f"({tmp_path / 'sets'}, not made yet)" in facts["disk of data"]
    assert facts["models fetched"] == f"someone/a-model ({tmp_path / 'hf/hub'})"
    assert facts["DIPTYCH_DATA"] == str(tmp_path / "sets")


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr("diptych.commands.environment.importlib.util.find_spec", lambda name: None)
    facts = dict(environment())
    assert facts["GPU"] == "not looked for, as torch is not installed"
    assert facts["extra captioning"].startswith("peft not installed, ")


def test_a_gpu_is_told_with_what_it_computes_in(monkeypatch):
    class About:
        name, total_memory, major, minor = "Some GPU", 80 * 2**30, 8, 0

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: About)
    assert "Some GPU, 80 GiB, compute capability 8.0 (bfloat16)" in dict(environment())["GPU 0"]
