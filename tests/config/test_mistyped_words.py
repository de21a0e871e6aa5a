"""Words that Hydra cannot read, or reads otherwise than they are meant: one message, with what to type."""

from __future__ import annotations

import pytest

from diptych.config.command_line import composed


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("data.root=/a (1)/b", """write the value in quotes: "data.root='/a (1)/b'\""""),
        ("name=naïve", """write the value in quotes: "name='naïve'\""""),
        ("data.root=/运行", """write the value in quotes: "data.root='/运行'\""""),
        ("data.root=/a#b", """write the value in quotes: "data.root='/a#b'\""""),
        ("data.root=[x", """write the value in quotes: "data.root='[x'\""""),
        ("data.root=~other/x", """write the value in quotes: "data.root='~other/x'\""""),
        ("data.root=it's", """write the value in quotes: """),
        ("data.root=/a,b", """has commas: as a text write "data.root='/a,b'", as a list"""),
        ("data.evaluate_on=[a (1),b]", """in quotes: "data.evaluate_on=['a (1)','b']\""""),
        ("+x.y={a (1): 2}", "write texts in the braces in quotes"),
        ("röot=1", "is no setting: they are written key=value"),
        ("rooms", "is no setting: they are written key=value"),
    ],
)
def test_a_word_that_cannot_be_read_is_answered_by_one_that_can(word, expected):
    with pytest.raises(ValueError) as caught:
        composed("train", ["experiment=cir_rooms", word])
    assert expected in str(caught.value)
    assert "Exception" not in str(caught.value) and "hydra.cc" not in str(caught.value)


@pytest.mark.parametrize("name", ["2024", "1e5", "true", "null", "007", "-1"])
def test_a_name_is_a_text(name):
    assert composed("train", ["experiment=cir_rooms", f"name={name}"]).name == name
