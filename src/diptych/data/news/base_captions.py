"""Base captions: what can be seen in a photo, by query id, as an image captioner wrote it."""

from __future__ import annotations

from pathlib import Path

from diptych.data.news.captions_file import read_captions


def read_base_captions(path: str | Path) -> dict[str, str]:
    """Captions by query id from a file that `read_captions` reads, without blanks around them. A caption may be blank.

    Raises:
        ValueError: as `read_captions`.
    """
    return {query_id: caption.strip() for query_id, caption in read_captions(path).items()}
