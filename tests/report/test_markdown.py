"""Whatever a record holds stands in Markdown as text: a parser of Markdown reads that text, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from diptych.annotation.cost import Prices
from diptych.report.data_card import write_data_card
from diptych.report.markdown import markdown_cell, markdown_code, markdown_text

TEXTS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- hidden",
    "&lt;b&gt; &#60;",
    "[a link](http://evil.invalid)",
    "![a picture](http://evil.invalid/x.png)",
    "[1, 2](http://evil.invalid)",
    "[a][b] [c]",
    "<http://evil.invalid>",
    "see http://evil.invalid/?a=b and www.evil.invalid or me@evil.invalid",
    "a\n\n# A heading\n\n- an item",
    "a\u2028# A heading",
    "a\r\n===\r\n",
    "# A heading",
    "a ` lonely tick and ``two`` `<b>`",
    "*bold* _it_ __so__ ~~gone~~ $x$ snake_case_name",
    "a | b \\| c \\",
    "a\\",
    "| --- |",
    "\x1b[31mred\x00",
)


def shown(markdown: str) -> tuple[str, set[str]]:
    """The text that a parser of GitHub's kind shows, and the kinds of things that stand in it."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    leaves = [leaf for token in tokens for leaf in (token.children or [])]
    kinds = {leaf.type for leaf in leaves} | {token.type for token in tokens}
    return "".join(leaf.content for leaf in leaves), kinds


@pytest.mark.hostile("HTML")
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_a_text(text):
    for made in (markdown_text(text), markdown_code(text)):
        read, kinds = shown(f"- `x`: {made}")
        kinds -= {"bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close", "inline", "text"}
        assert kinds == {"paragraph_open", "paragraph_close", "code_inline"}
        assert " ".join(read.split()) == " ".join(f"x: {text}".replace("\x00", "\ufffd").split())


@pytest.mark.hostile("HTML")
@given(text=st.text(alphabet=st.sampled_from("ab1 []()<>!`*_~|\\&#;:/.@-=+$\n\r\u2028\t"), max_size=40))
def test_any_text_is_a_text(text):
    _, kinds = shown(f"said: {markdown_text(text)}")
    assert kinds <= {"paragraph_open", "paragraph_close", "inline", "text"}
    _, kinds = shown(f"| a | b |\n| --- | --- |\n| {markdown_cell(text)} | c |\n")
    parts = ("table", "thead", "tbody", "tr", "th", "td")
    assert kinds <= {f"{part}_{end}" for part in parts for end in ("open", "close")} | {"inline", "text"}


def test_plain_names_stand_in_code_type_and_intervals_as_they_are():
    assert markdown_code("images/a (1).png") == "`images/a (1).png`"
    assert markdown_text("50.0 % [20.7, 100.0] of 1 in snake_case") == "50.0 % [20.7, 100.0] of 1 in snake_case"


@pytest.mark.hostile("HTML")
@pytest.mark.parametrize("text", TEXTS)
def test_a_card_of_a_stranger_s_texts_holds_nothing_but_text(tmp_path, text):
    out = tmp_path / "set"
    (out / "work/one_stage").mkdir(parents=True)
    summary = dict.fromkeys(("triplets", "texts", "images", "pairs", "duplicate_pairs"), 0)
    summary |= {"not_exported": {text: 1}, "dropped_texts": {text: 2}, "reviews": {"decisions": 0}}
    (out / "summary.json").write_text(json.dumps(summary))
    task = {"prompt": {"text": text}, "domain": text}
    manifest = {"settings": {"task": task, "asking": {"model": text}}, "done": 1, "failed": {text: 3}}
    (out / "work/one_stage/manifest.json").write_text(json.dumps(manifest))
    record = {"query_id": "1", "reference_image": text, "target_image": text, "modification_texts": [text], "group": ""}
    (out / "train.jsonl").write_text(json.dumps(record) + "\n")
    card = write_data_card(out, Prices({})).read_text()
    assert not [word for word in ("<", "\n# A", "http:", "\x1b", "\u2028") if word in card]
    _, kinds = shown(card)
    assert not kinds & {"html_inline", "html_block", "link_open", "image", "em_open", "strong_open", "s_open"}
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert headings[0] == "# Triplets in `set`" and "## Examples" in headings
    assert {line.lstrip("#").strip() for line in headings[1:]} <= {
        "Models and prompts",
        "Counts",
        "Diversity of the texts",
        "Examples",
    }
