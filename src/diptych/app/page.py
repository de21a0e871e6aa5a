"""The page of `diptych app`, and its server: on this machine alone unless told otherwise, without the internet."""

from __future__ import annotations

import gradio as gr

from diptych.api.captioner import Captioner
from diptych.app.caption_tab import CaptionTab
from diptych.app.parts import style_sheet
from diptych.app.picture_search import PictureSearch
from diptych.app.search_tab import SearchTab
from diptych.app.uploads import MOST_BYTES

_HOUR = 3600  # seconds


def build_page(search: PictureSearch | None, captioner: Captioner | None) -> gr.Blocks:
    """The page, with a tab for each model that there is. What is dropped on it is deleted after a day."""
    with gr.Blocks(title="Diptych", analytics_enabled=False, delete_cache=(_HOUR, 24 * _HOUR)) as page:
        gr.HTML("<h1>Diptych</h1>")
        if search is not None:
            with gr.Tab("Search"):
                SearchTab(search)
        if captioner is not None:
            with gr.Tab("Captions"):
                CaptionTab(captioner)
    return page


def start(page: gr.Blocks, host: str, port: int | None) -> str:
    """Serves the page until the program ends, beside what it does; returns the address.

    Raises:
        ValueError: the port cannot be had.
    """
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=MOST_BYTES,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            ssr_mode=False,
            pwa=False,
            theme=gr.themes.Default(
                primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
            ),
            head=f"<style>{style_sheet()}</style>",  # `css` loses what depends on the width of a part
        )
    except OSError:
        raise ValueError(f"port={port} is taken, or host={host} is none of this machine: name others") from None
    return address
