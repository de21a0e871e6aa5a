"""Words that say any text: what Hydra and a shell read is what was written."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from diptych.config.folder import CONFIG_FOLDER
from diptych.config.override_words import as_meant, in_shell, override, unquoted
from diptych.config.plain_config import leaves
from diptych.storage.yaml_files import read_yaml

ODD = [
    "runs (new)",
    "a=b",
    "a,b",
    "[x]",
    "{x: 1}",
    "#1",
    "100%",
    "naïve",
    "运行",
    "it's",
    'a "b"',
    "both ' and \"",
    "$HOME",
    "${name}",
    "a\\${name}",
    "a\\",
    "a\\\\'",
    "-x",
    "~",
    "~/data",
    "~root",
    " blank ",
    "",
    "2024",
    "007",
    "1e5",
    ".5",
    "true",
    "NULL",
    "nan",
    "inf",
    "a:b",
    "a*b?",
    "a|b;c&d",
    "a\nb",
    "a\tb",
    "`ls`",
    "!x",
    "cafe\u0301",
    "choice(a,b)",
    "/a/b.c-d_e/2026-01-02_03-04-05-2",
]


def read(word: str) -> object:
    """What a config has that was composed with this override."""
    parsed = OverridesParser.create().parse_override(word)
    config = OmegaConf.create({parsed.key_or_group: None})
    OmegaConf.update(config, parsed.key_or_group, parsed.value())
    return config.resume


def shell(word: str) -> list[str]:
    """What a real shell makes of it."""
    return subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {word}"], capture_output=True, check=True, text=True, errors="surrogateescape"
    ).stdout.split("\0")[:-1]


def check(text: str) -> None:
    word = override("resume", text)
    assert read(word) == text
    assert shlex.split(in_shell("train.py", word)) == ["train.py", word]
    assert unquoted(word.removeprefix("resume=")) == text


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize("text", ODD)
def test_odd_names_are_read_as_they_are(text):
    check(text)
    word = override("resume", text)
    assert shell(in_shell(word)) == [word]


@given(st.text(st.characters(exclude_characters="\0"), max_size=40))
@example("\\'\\${'\\")
def test_any_text_is_read_as_it_is(text):
    check(text)


@given(st.binary(max_size=30))
def test_any_name_that_a_file_may_have_is_read_as_it_is(name):
    check(os.fsdecode(name.replace(b"\0", b"")))


@given(st.text("\\'\"${} =a", max_size=12))
def test_any_text_of_signs_that_mean_something_is_read_as_it_is(text):
    check(text)


@pytest.mark.parametrize("text", ["/runs/cir_rooms/2026-01-02_03-04-05", "runs/a-2", "cir_rooms"])
def test_ordinary_names_stay_as_they_are(text):
    assert override("resume", text) == f"resume={text}"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("name=2024", "name='2024'"),
        ("name=1e5", "name='1e5'"),
        ("name=true", "name='true'"),
        ("name=null", "name='null'"),
        ("name=.5", "name='.5'"),
        ("name=-1", "name='-1'"),
        ("name=nan", "name='nan'"),
        ("name=1_000", "name='1_000'"),
        ("++data.root=2024", "++data.root='2024'"),
        ("hydra.sweeper.study=7", "hydra.sweeper.study='7'"),
        ("out=false", "out='false'"),
        ("split=1", "split='1'"),
        ("ckpt=5", "ckpt='5'"),
        ("experiment=1", "experiment='1'"),
        ("name=007", "name='007'"),
        ("name=a2024", "name=a2024"),
        ("ckpt=null", "ckpt=null"),
        ("data.images.cache=false", "data.images.cache=false"),
        ("seed=1", "seed=1"),
        ("name='2024'", "name='2024'"),
        ("name=1,2", "name=1,2"),
        ("~callbacks.progress", "~callbacks.progress"),
        ("-m", "-m"),
        ("data.root=~/set (1)", f"data.root='{Path.home()}/set (1)'"),
        ("data.root=~", f"data.root={Path.home()}"),
        ("--config-dir=~/conf", f"--config-dir={Path.home()}/conf"),
        ("data.root=~other/data", "data.root=~other/data"),
    ],
)
def test_what_is_typed_is_taken_as_it_is_meant(word, meant):
    assert as_meant(word) == meant


def test_what_our_configs_hold_as_a_number_can_be_set_to_one():
    folder, numbers = CONFIG_FOLDER, []
    for file in sorted(folder.rglob("*.yaml")):
        group = file.relative_to(folder).parent.as_posix().replace("/", ".")
        root = {"data.shared": "data", "study": "", ".": file.stem}.get(group, group)
        for key, value in leaves(read_yaml(file) or {}):
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                numbers.append(f"{root}.{key}".lstrip(".").replace("quick.size", "size"))
    assert "data.corruption.base_captions" in numbers and "size.pairs" in numbers
    for key in numbers:
        for word in (f"{key}=2", f"++{key}=0.5"):
            assert as_meant(word) == word, word
    assert as_meant("data.base_captions=2") == "data.base_captions='2'"
