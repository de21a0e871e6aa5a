"""What `diptych app` does: loads the models once, indexes the images, and serves a page until it is stopped."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from diptych.api.captioner import load_captioner
from diptych.api.retriever import Retriever, load_retriever
from diptych.api.searching import index_place
from diptych.app.picture_search import PictureSearch, shown_names

log = logging.getLogger(__name__)

LOCAL = ("127.0.0.1", "localhost", "::1")


def open_page(
    checkpoints: Sequence[Path],
    images: Path | None,
    captioner: Path | None,
    on_missing: Literal["error", "drop"],
    host: str,
    port: int | None,
    device: str | None,
) -> None:
    """Serves the page until it is interrupted. `checkpoints` search `images`, one or two beside each other.

    Raises:
        ValueError: as `load_retriever`, `Retriever.index`, `load_captioner`, `build_page` and `start`.
    """
    search = None
    if images is not None:
        names = shown_names(checkpoints)
        loaded = [_indexed(checkpoint, images, on_missing, device) for checkpoint in checkpoints]
        search = PictureSearch(dict(zip(names, loaded, strict=True)))
    captioning = None if captioner is None else load_captioner(captioner, device)
    if host not in LOCAL:
        log.warning("host=%s: whoever reaches this machine can use the page, without a password", host)
    with tempfile.TemporaryDirectory(prefix="diptych_app_") as dropped:
        os.environ["GRADIO_TEMP_DIR"] = dropped  # what people drop goes with the program
        from diptych.app.page import build_page, start

        page = build_page(search, captioning)
        address = start(page, host, port)
        sys.stdout.write(f"The page is at {address} until Ctrl-C.\n")
        sys.stdout.flush()
        try:
            _until_stopped()
        finally:
            page.close(verbose=False)


def _until_stopped() -> None:
    """Returns at Ctrl-C and SIGTERM: without a handler of ours the program would end where it stands, and what was
    dropped would stay.
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()


def _indexed(checkpoint: Path, images: Path, on_missing: Literal["error", "drop"], device: str | None) -> Retriever:
    retriever = load_retriever(checkpoint, device)
    place = index_place(images, checkpoint)
    retriever.index(images, on_missing=on_missing, keep=place)
    log.info("%d images are in the index %s", len(retriever), place)
    return retriever
