"""The front door: commands by name, help that fits a screen, and mistakes answered before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import patience
from diptych.commands.catalogue import COMMANDS, FAMILIES
from diptych.commands.completion import candidates
from diptych.commands.main import main
from working_folder import ROOT


def test_alone_it_lists_every_command(capsys):
    assert main([]) == 0
    listing = capsys.readouterr().out
    alone = {name: command for name, command in COMMANDS.items() if name.split()[0] not in FAMILIES}
    assert all(f"  {name} " in listing and command.summary in listing for name, command in alone.items())
    assert "  generate rooms|market|newsroom " in listing and FAMILIES["generate"] in listing
    assert len(listing.splitlines()) < 25  # a screen


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_fits_a_screen(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    help_text = capsys.readouterr().out
    assert name in help_text and len(help_text.splitlines()) < 50
    assert max(map(len, help_text.splitlines())) <= 110


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "there is no command 'trian'. Did you mean train?"),
        (["submission"], "say which: submission check, submission write"),
        (["doctor"], "data=... is missing; usage: "),
        (["doctor", "data=cirrr"], "there is no data=cirrr. Did you mean 'cirr'"),
        (["doctor", "data=cirr", "data.rot=x"], "unknown key 'data.rot'. Did you mean 'data.root'"),
        (["completion", "fish"], "say for which shell"),
    ],
)
def test_mistakes_have_an_answer(words, message, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("diptych tr", ["train"]),
        ("diptych submission ", ["check", "write"]),
        ("diptych train exp", ["experiment="]),
        ("diptych train experiment=cir_ro", ["experiment=cir_rooms", "experiment=cir_rooms_market"]),
        ("diptych export c", ["ckpt="]),
        ("diptych import data=hotel", ["data=hotel_cir", "data=hotel_cir_by_protocol"]),
    ],
)
def test_completion_offers_what_can_stand_next(line, offered):
    assert candidates(line) == offered


WITHOUT_TORCH = """
import sys
sys.argv = ["train.py", *{words!r}]
from diptych.commands.main import run
status = run({name!r}, {words!r})
heavy = [name for name in ("torch", "lightning", "matplotlib", "cv2") if name in sys.modules]
print("\\nstatus", status, *heavy)
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("train", [], "no experiment is named; try experiment=cir_rooms, or one of"),
        ("train", ["experiment=cir_hotell"], "there is no experiment=cir_hotell. Did you mean 'cir_hotel'"),
        ("train", ["experiment=cir_rooms", "trainer.max_step=4"], "Did you mean 'trainer.max_steps'"),
        ("train", ["experiment=cir_cirr"], "No cirr data: looked in"),
        ("train", ["experiment=fuser_openevents"], "No openevents data: looked in"),
        ("evaluate", [], "say what to evaluate: either ckpt=PATH, or predictions=FILE"),
        ("evaluate", ["system=zero_shot", "ckpt=x", "data=circo"], "say what to evaluate"),
        ("evaluate", ["ckpt=nowhere"], "ckpt=nowhere: there is no such file or folder"),
        ("pipeline", [], "no pipeline is named; choose one: pipeline="),
        ("pipeline", ["pipeline=news_retrievall"], "Did you mean 'news_retrieval'"),
    ],
)
def test_mistakes_are_answered_before_torch_is_imported(tmp_path, name, words, message):
    script = WITHOUT_TORCH.format(name=name, words=words)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=patience.SECONDS
    )
    assert message in done.stderr
    assert done.stdout.splitlines()[-1] == "status 1"
    assert not any(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize("module", ["cider", "cider_r", "bleu", "rouge_l", "ptb_tokenizer"])
def test_formulas_of_caption_metrics_need_no_torch(module):
    script = f"import sys, diptych.metrics.captions.{module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=patience.SECONDS)
    assert done.stdout.strip() == "False", done.stderr


def test_the_doors_lead_to_the_same_commands(capsys):
    for door in ("train.py", "evaluate.py"):
        done = subprocess.run(
            [sys.executable, str(ROOT / door), "--help"], capture_output=True, text=True, timeout=patience.SECONDS
        )
        assert done.returncode == 0 and "settings (key=value):" in done.stdout


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize("word", ["data.root=/data/caf\udce9", "name=a\x1b[31m", "predictions=a\0"])
@pytest.mark.parametrize("name", ["train", "evaluate", "export"])
def test_words_that_no_file_could_hold_are_answered_first(name, word, capsys):
    assert main([name, word]) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("error: '") and err.isascii() and "rename what it names" in err


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize("door", [["-m", "diptych", "train"], [str(ROOT / "train.py")]])
def test_a_word_that_is_not_utf8_and_a_screen_that_knows_ascii_only(door):
    done = subprocess.run(
        [sys.executable, *door, b"experiment=caf\xe9"],
        capture_output=True,
        timeout=patience.SECONDS,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 2 and done.stderr.startswith(b"error: 'experiment=caf\\udce9' is not UTF-8")
    script = "import sys; from diptych.commands.main import main; main(['train', '--help']); print('\\u65b0\\ud83d')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        timeout=patience.SECONDS,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0 and done.stdout.endswith(b"\\u65b0\\ud83d\n"), done.stderr
