"""What pages are looked at with: hostile texts, and the parts of an HTML text."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = [
    "</p></script><script>alert(1)</script>",
    '" onerror="alert(1)" x="',
    "' autofocus onfocus='alert(1)",
    "</style></title></textarea><!-- <b>",
    "{{ 7 * 7 }}{% endblock %}{# #}",
    "&lt;b&gt; &amp; &#60;i&#62;",
]


class Parts(HTMLParser):
    """The tags of a page with the names of their attributes, its texts, and what its scripts hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, *(name for name, _ in attributes)))
        self.texts += [value for _, value in attributes if value]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(data)
        self.texts.append(data)
