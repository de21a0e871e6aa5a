"""Pages from the templates beside this file: what a template shows is escaped unless the template says otherwise, in
HTML and in Markdown.

A page is one file, which needs no network. That of a retrieval's evaluation shows pictures that lie elsewhere on the
disk, where they do; all other pages need no other file either.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from diptych.report.markdown import markdown_cell, markdown_code, markdown_text
from diptych.storage.whole import write_file

# Controls that a browser would swallow; texts of articles may hold them.
_VISIBLE_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127), "\N{REPLACEMENT CHARACTER}")


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a report: one of cards with a sentence that says how they were chosen, or without cards (None) one
    of numbers, which the page's template shows under `anchor`.
    """

    anchor: str
    heading: str
    explanation: str = ""
    cards: Sequence[Any] | None = None


def write_page(path: Path, template: str, **content: Any) -> None:
    """Writes what `templates/<template>` makes of `content` as a whole file; the same content gives the same bytes.

    Raises:
        jinja2.UndefinedError: the template shows something that `content` does not have.
    """
    text = environment().get_template(template).render(content)
    write_file(path, text.encode(errors="replace"))  # a caption may hold half a surrogate pair


def as_it_stands(text: str) -> Markup:
    """A text that no page escapes: one of ours which is no HTML, as YAML in front of Markdown."""
    return Markup(text)


def with_visible_controls(text: str) -> str:
    """The text with a sign for each control that a browser would swallow: of what a page's script shows. What a
    template shows is so anyway.
    """
    return text.translate(_VISIBLE_CONTROLS)


@cache
def environment() -> Environment:
    """The templates, with `file(name)` and `hash_of(name)` for the style sheets and scripts among them."""
    loader = PackageLoader("diptych.report")
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # Keys in the order that they were written in, and no spaces: a table of all queries is long.
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}

    def file(name: str) -> str:
        return loader.get_source(made, name)[0]

    made.filters["cell"] = lambda value: Markup(markdown_cell(str(value).translate(_VISIBLE_CONTROLS)))
    made.filters["code"] = lambda name: Markup(markdown_code(name.translate(_VISIBLE_CONTROLS)))
    made.globals["file"] = lambda name: Markup(file(name))  # ours, and no page of others is among them
    made.globals["hash_of"] = lambda name: (
        "sha256-" + base64.b64encode(hashlib.sha256(file(name).encode()).digest()).decode()
    )
    return made


@pass_context
def _shown(context: Context, value: Any) -> Any:
    """Each value that a template shows, as text."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    visible = with_visible_controls(value)
    return Markup(markdown_text(visible)) if (context.name or "").endswith(".md.jinja") else visible
