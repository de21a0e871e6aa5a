"""Keys and passwords on a command line are refused before anything is written, and are in no message."""

from __future__ import annotations

import pytest

from diptych.annotation.askers.batch import BatchAsker
from diptych.config.command_line import composed, entry_point
from diptych.config.secret_words import refuse_secrets
from diptych.models.server.vlm_client import VLMClient

KEY = "sk-proj-8Zq4wX2vB7tLmN0pRs5yUe"
OWN = "my own long secret"


@pytest.mark.hostile("network")
@pytest.mark.parametrize(
    "word",
    [
        f"asker.client.api_key={KEY}", f"+model.api_key='{KEY}'", "captioner.client.apikey=abc", "++x.password=hunter2",
        "hf_token=abc", "logger.api_key=0123", f"asker.api_key_env={KEY}", "asker.api_key_env=my-key",
        "asker.api_key_env=abcdef", f"model={KEY}", f"headers={{Authorization: Bearer {KEY}}}", f"name=x-{OWN}-y",
        "base_url=https://me:hunter2@host/v1", "base_url='https://hunter2@host/v1'", "base_url=https://host/v1?key=hunter2",
        f"+{KEY}=3", f"hydra.run.dir=/tmp/{KEY}",
    ],
)  # fmt: skip
def test_a_secret_is_no_setting(word, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SOME_API_KEY", OWN)
    monkeypatch.chdir(tmp_path)
    assert entry_point("pipeline", lambda _: pytest.fail("it runs"), ["pipeline=ensemble", word]) == 1
    said = capsys.readouterr().err
    assert "files" in said and not any(one in said for one in (KEY, OWN, "hunter2", "my-key", "abc"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="files"):
        composed("pipeline", [word])


@pytest.mark.parametrize(
    "word",
    [
        "asker.api_key_env=OPENAI_API_KEY", "asker.client.api_key_env=null", "asker.api_key_env=lower_and_set",
        "base_url=http://localhost:8000/v1", "base_url=http://[::1]:8000/v1", "base_url=null", "max_tokens=100",
        "pairs=/data/desk-lamps-of-the-year-2024.jsonl", "api_key=null", "--config-dir=conf", "secrets=3", "-m",
    ],
)  # fmt: skip
def test_what_is_none(word, monkeypatch):
    monkeypatch.setenv("lower_and_set", "x")
    refuse_secrets([word])


@pytest.mark.parametrize("make", [VLMClient, BatchAsker])
@pytest.mark.parametrize("settings", [{"api_key_env": KEY}, {"base_url": f"http://me:{KEY}@host/v1"}])
def test_a_client_has_no_key_in_its_settings(make, settings):
    with pytest.raises(ValueError, match="settings are written into files") as caught:
        make("tiny", **settings)
    assert KEY not in str(caught.value)
