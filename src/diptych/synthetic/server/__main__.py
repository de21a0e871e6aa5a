"""The annotation server as a command: prints its base URL, and serves until it is stopped.

python -m diptych.synthetic.server --port 0 --scenes data/rooms --hallucination 0.1 --faults any=0.1
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

from diptych.synthetic.server.rooms_answers import Untruth
from diptych.synthetic.server.server import AnnotationServer, ServerSettings


def _rates(text: str) -> dict[str, float]:
    try:
        return {name: float(rate) for name, rate in (item.split("=") for item in text.split(",") if item)}
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: want name=rate,name=rate") from error


async def _serve_until_stopped(server: AnnotationServer) -> None:
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    await server.serve()
    print(server.base_url, flush=True)  # noqa: T201  whoever started this reads it
    await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    defaults = ServerSettings()
    parser = argparse.ArgumentParser(description="Serve answers about rooms, in OpenAI's form, on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one; the address is printed")
    parser.add_argument("--scenes", type=Path, default=None, help="folder of a rooms set")
    parser.add_argument("--hallucination", type=float, default=0.0, help="share of untrue sentences")
    parser.add_argument("--one-stage-hallucination", type=float, default=None, help="default: twice --hallucination")
    parser.add_argument("--misdescription", type=float, default=0.0, help="share of objects described wrongly")
    parser.add_argument("--faults", type=_rates, default={}, help="name=rate,...; any=0.1: a tenth of the requests")
    for name in ("latency_s", "retry_after_s", "hang_s", "batch_s", "batch_answered"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(defaults, name))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-structured", dest="structured", action="store_false", help="refuse response_format")
    parser.add_argument("--api-key", default=None, help="refuse requests without it")
    options = vars(parser.parse_args(arguments))
    port, sentences, objects = options.pop("port"), options.pop("hallucination"), options.pop("misdescription")
    one_stage = options.pop("one_stage_hallucination")
    untruth = Untruth(sentences, min(1.0, 2 * sentences) if one_stage is None else one_stage, objects)
    try:
        server = AnnotationServer(ServerSettings(untruth=untruth, **options), port)
    except ValueError as error:
        parser.error(str(error))
    asyncio.run(_serve_until_stopped(server))


if __name__ == "__main__":
    main()
