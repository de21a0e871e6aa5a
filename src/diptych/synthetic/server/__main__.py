"""The annotation server as a command: prints its base URL, and serves until it is stopped.

python -m diptych.synthetic.server port=0 scenes=data/rooms hallucination=0.1 faults=any=0.1,cut=0.05
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.synthetic.command_line import read_settings
from diptych.synthetic.server.rooms_answers import Untruth
from diptych.synthetic.server.server import AnnotationServer, ServerSettings

_USAGE = """\
usage: python -m diptych.synthetic.server [key=value ...]    answers about rooms, in OpenAI's form, on loopback

  port=0                       0: any free one; the address is printed
  scenes=FOLDER                a rooms set; without one no picture is known
  hallucination=0.1            share of untrue sentences
  one_stage_hallucination=0.2  the same where both pictures are shown; by default twice as many
  misdescription=0.1           share of objects described wrongly
  faults=any=0.1,cut=0.05      rates by name; any=0.1: a tenth of the requests
  latency_s=0 retry_after_s=1 hang_s=600 batch_s=0.2 batch_answered=0.5
  structured=true              false: refuse response_format
  seed=0                       of what is untrue and faulty
  api_key=TEXT                 refuse requests without it
"""


def _rates(text: str) -> dict[str, float]:
    try:
        return {name: float(rate) for name, rate in (item.split("=") for item in text.split(",") if item)}
    except ValueError:
        raise ValueError("name=rate,name=rate") from None


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


_READERS: Mapping[str, Callable[[str], Any]] = {
    "port": int,
    "scenes": Path,
    "faults": _rates,
    "structured": _truth,
    "seed": int,
    "api_key": str,
    **dict.fromkeys(("hallucination", "one_stage_hallucination", "misdescription"), float),
    **dict.fromkeys(("latency_s", "retry_after_s", "hang_s", "batch_s", "batch_answered"), float),
}


async def _serve_until_stopped(server: AnnotationServer) -> None:
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    await server.start()
    print(server.base_url, flush=True)  # noqa: T201  whoever started this reads it
    await stopped.wait()
    await server.stop()


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGINT or SIGTERM; 2 where the settings make no sense."""
    try:
        settings = read_settings(arguments, _READERS, _USAGE)
        sentences, objects = settings.pop("hallucination", 0.0), settings.pop("misdescription", 0.0)
        untruth = Untruth(sentences, settings.pop("one_stage_hallucination", min(1.0, 2 * sentences)), objects)
        port = settings.pop("port", 0)
        server = AnnotationServer(ServerSettings(untruth=untruth, **settings), port)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    asyncio.run(_serve_until_stopped(server))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
