"""A signature as a command line: values of each kind, mistakes in one message, help that is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest

from diptych.config.arguments import help_of, read, run


def command(
    file: Annotated[Path, "what to read"],
    /,
    *overrides: str,
    out: Annotated[Path, "where to write"],
    number: Annotated[int, "how many"] = 3,
    rate: float | None = None,
    quick: Annotated[bool, "or slow"] = False,
    form: Literal["long", "short"] = "long",
    names: list[str] | None = None,
) -> int:
    """Does something.

    A second paragraph.

    Raises:
        ValueError: never.
    """
    return 1


def strict(*, ckpt: Path, merge: bool = False) -> None:
    """Takes nothing else."""
    raise ValueError("no such checkpoint")


def test_values_are_what_the_signature_says():
    positional, settings = read(
        command, ["a b.txt", "out=x=y", "number=4", "rate=1e-3", "quick=TRUE", "form=short", "names=[a, b]", "data.x=1"]
    )
    assert positional == [Path("a b.txt"), "data.x=1"]
    assert settings == {
        "out": Path("x=y"),
        "number": 4,
        "rate": 0.001,
        "quick": True,
        "form": "short",
        "names": ["a", "b"],
    }
    assert read(command, ["f", "out=o", "rate=null"])[1] == {"out": Path("o"), "rate": None}


def test_dashes_are_read_too():
    assert read(command, ["f", "--out", "o", "--number=5"]) == read(command, ["f", "out=o", "number=5"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["f"], "out=... is missing; usage: FILE [key=value ...] out=PATH"),
        (["out=o"], "file is missing"),
        (["f", "out="], "out= has no value"),
        (["f", "out=o", "number=x"], "number=x: expected a whole number"),
        (["f", "out=o", "rate=x"], "rate=x: expected a number"),
        (["f", "out=o", "quick=1"], "quick=1: expected true or false"),
        (["f", "out=o", "form=wide"], "form=wide: expected long or short"),
        (["f", "out=o", "out=p"], "out is set twice"),
        (["f", "out=o", "stray"], "'stray' is no setting: they are written key=value"),
        (["f", "out=o", "--number"], "--number has no value; write number=..."),
    ],
)
def test_mistakes_name_the_key(words, message):
    with pytest.raises(ValueError) as caught:
        read(command, words)
    assert message in str(caught.value)


def test_a_misspelt_key_gets_the_nearest_where_others_are_not_passed_on(capsys):
    assert run(strict, "it", ["ckp=x"]) == 2
    assert "unknown key 'ckp'. Did you mean ckpt?" in capsys.readouterr().err
    assert run(strict, "it", ["ckpt=x", "speed=1"]) == 2
    assert "unknown key 'speed'. Known: ckpt, merge" in capsys.readouterr().err


def test_the_status_is_the_function_s_own_and_2_for_mistakes(capsys):
    assert run(command, "it", ["f", "out=o"]) == 1
    assert run(strict, "it", ["ckpt=x"]) == 2
    assert capsys.readouterr().err == "error: no such checkpoint\n"


def test_help_is_made_of_the_function(capsys):
    assert run(command, "diptych it", ["--help"]) == 0
    text = capsys.readouterr().out
    assert text == help_of(command, "diptych it")
    assert text.startswith("usage: diptych it FILE [key=value ...] out=PATH [number=NUMBER]")
    assert "Does something.\n\nA second paragraph.\n" in text and "Raises" not in text
    assert "  number  how many (default: 3)\n" in text and "  form    (default: long)" in text
    assert all(len(line) <= 100 for line in text.splitlines())
