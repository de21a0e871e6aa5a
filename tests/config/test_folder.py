"""A user's own configs beside Diptych's."""

import pytest

from diptych.config.command_line import composed, entry_point
from diptych.config.folder import CONFIG_FOLDER


@pytest.fixture
def own(tmp_path):
    (tmp_path / "experiment").mkdir()
    shipped = (CONFIG_FOLDER / "experiment/cir_rooms.yaml").read_text()
    (tmp_path / "experiment/cir_rooms.yaml").write_text(shipped.replace("max_steps: 600", "max_steps: 7"))
    return tmp_path


def test_a_config_that_would_not_be_read_is_named(own):
    with pytest.raises(ValueError, match=r"experiment/cir_rooms\.yaml would never be read: .*another name"):
        composed("train", ["experiment=cir_rooms", f"config_dir={own}"])


def test_every_command_names_it(own, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py"])
    assert entry_point("train", "no.module:task", ["experiment=cir_rooms", f"--config-dir={own}"]) == 1
    assert "experiment/cir_rooms.yaml would never be read" in capsys.readouterr().err


def test_under_another_name_it_is_read(own):
    (own / "experiment/cir_rooms.yaml").rename(own / "experiment/mine.yaml")
    assert composed("train", ["experiment=mine", f"config_dir={own}"]).trainer.max_steps == 7


def test_copies_are_no_mistake(own):
    (own / "experiment/cir_rooms.yaml").write_bytes((CONFIG_FOLDER / "experiment/cir_rooms.yaml").read_bytes())
    assert composed("train", ["experiment=cir_rooms", f"config_dir={own}"]).trainer.max_steps == 600
