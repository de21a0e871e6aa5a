"""Nothing that a terminal obeys reaches it out of a text."""

from __future__ import annotations

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from diptych.config import arguments
from diptych.text.printable import PrintableRecord, printable
from diptych.text.terminal import PlainConsole

ESCAPES = ("\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "a\rb", "\x08", "\x7f", "\u202eabc", "\ud83d", "\x0e", "\x00")


@pytest.mark.hostile("further doors")
@pytest.mark.parametrize("text", ESCAPES)
def test_escapes_are_replaced_by_every_door(text, caplog, capsys):
    obeyed = set(text) - set("[31m]0;title2Jab c")
    assert not obeyed & set(printable(text)) and "\N{REPLACEMENT CHARACTER}" in printable(text)
    console = PlainConsole(file=io.StringIO(), width=40)
    table = Table("name", title=Text(text))
    table.add_row(text)
    console.print(table, text, Text(text))
    assert not obeyed & set(console.file.getvalue())

    def fails() -> None:
        logging.getLogger("a").warning("of %s", text)
        raise ValueError(text)

    before = logging.getLogRecordFactory()
    try:
        arguments.run(fails, "x", [])
        assert logging.getLogRecordFactory() is PrintableRecord
    finally:
        logging.setLogRecordFactory(before)
    assert not obeyed & set(capsys.readouterr().err) and not obeyed & set(caplog.messages[0])


def test_other_texts_stay():
    assert printable("Zwölf 新聞 😀\n\tאב") == "Zwölf 新聞 😀\n\tאב"


def test_the_console_has_colours_of_its_own():
    console = PlainConsole(file=io.StringIO(), width=40, force_terminal=True, color_system="standard")
    console.print(Text("\x1b[2J", style="bold"))
    assert console.file.getvalue() == "\x1b[1m\ufffd[2J\x1b[0m\n"


@given(text=st.text())
def test_what_is_printable_stays_so(text):
    assert printable(printable(text)) == printable(text) and len(printable(text)) == len(text)


@pytest.mark.hostile("further doors")
def test_markup_in_names_is_text():
    console = PlainConsole(file=io.StringIO(), width=60)
    table = Table("a")
    table.add_row("[/bold] [link=http://x]y[/link] :smile:")
    console.print(table)
    assert "[/bold] [link=http://x]y[/link] :smile:" in console.file.getvalue()
