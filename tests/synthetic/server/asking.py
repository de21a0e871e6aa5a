"""Questions as the real client sends them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import openai
from PIL import Image

from diptych.annotation.answers import ImageDescription, Modifications, response_format
from diptych.synthetic.server.rooms_images import RoomsFolder

HOLDS = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"holds": {"type": "boolean"}},
            "required": ["holds"],
            "additionalProperties": False,
        },
    },
}
OBJECTS, SENTENCES = response_format(ImageDescription), response_format(Modifications)


def data_url(path: Path, side: int | None = None, quality: int = 90) -> str:
    """The picture as a data URL, as a client makes it."""
    with Image.open(path) as image:
        image = image.resize((side, side), Image.Resampling.LANCZOS) if side else image
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def ask(client: openai.OpenAI, text: str, *urls: str, form: Any = None, max_tokens: int = 1500, **more: Any) -> Any:
    """The completion that answers a text with pictures."""
    content = [{"type": "text", "text": text}]
    content += [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    if form is not None:
        more["response_format"] = form
    messages = [{"role": "user", "content": content}]
    return client.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=max_tokens, **more)


def answer_of(completion: Any) -> Any:
    """The JSON of a completion."""
    assert completion.choices[0].finish_reason == "stop"
    return json.loads(completion.choices[0].message.content)


def items_of(rooms: RoomsFolder, path: Path) -> Any:
    """The objects on a picture."""
    return rooms.items(rooms.recognise(path.as_uri()).number)
