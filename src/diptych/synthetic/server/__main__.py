"""The annotation server as a command: prints its base URL, and serves until it is stopped.

python -m diptych.synthetic.server port=0 scenes=data/rooms hallucination=0.1 faults=any=0.1,cut=0.05
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

from diptych.config.arguments import run
from diptych.synthetic.server.rooms_answers import Untruth
from diptych.synthetic.server.server import AnnotationServer, ServerSettings

_DEFAULTS = ServerSettings()


def serve(
    *,
    port: Annotated[int, "0: any free one; the address is printed"] = 0,
    scenes: Annotated[Path | None, "a rooms set; without one no picture is known"] = None,
    hallucination: Annotated[float, "share of untrue sentences"] = 0.0,
    one_stage_hallucination: Annotated[
        float | None, "the same where both pictures are shown; as many unless given"
    ] = None,
    misdescription: Annotated[float, "share of objects described wrongly"] = 0.0,
    wrong_verdicts: Annotated[float, "share of wrong yes or no to candidates"] = 0.0,
    faults: Annotated[list[str] | None, "rates by name, as any=0.1,cut=0.05; any=0.1: a tenth of the requests"] = None,
    latency_s: Annotated[float, "seconds before each answer"] = _DEFAULTS.latency_s,
    retry_after_s: Annotated[float, "seconds that a refused client is told to wait"] = _DEFAULTS.retry_after_s,
    hang_s: Annotated[float, "seconds that a fault keeps a connection"] = _DEFAULTS.hang_s,
    batch_s: Annotated[float, "seconds that a batch takes"] = _DEFAULTS.batch_s,
    batch_answered: Annotated[float, "share of a failed batch that is answered"] = _DEFAULTS.batch_answered,
    structured: Annotated[bool, "false: refuse response_format"] = _DEFAULTS.structured,
    logprobs: Annotated[bool, "false: refuse to give them"] = _DEFAULTS.logprobs,
    seed: Annotated[int, "of what is untrue and faulty"] = _DEFAULTS.seed,
    api_key: Annotated[str | None, "refuse requests without it"] = None,
) -> None:
    """Answers questions about rooms in OpenAI's form, on this machine's loopback, until it is stopped."""
    one_stage = hallucination if one_stage_hallucination is None else one_stage_hallucination
    settings = ServerSettings(
        scenes=scenes,
        untruth=Untruth(hallucination, one_stage, misdescription, wrong_verdicts),
        faults=_rates(faults or []),
        latency_s=latency_s,
        retry_after_s=retry_after_s,
        hang_s=hang_s,
        batch_s=batch_s,
        batch_answered=batch_answered,
        structured=structured,
        logprobs=logprobs,
        seed=seed,
        api_key=api_key,
    )
    asyncio.run(_serve_until_stopped(AnnotationServer(settings, port)))


def _rates(items: list[str]) -> dict[str, float]:
    try:
        return {name: float(rate) for name, rate in (item.split("=") for item in items)}
    except ValueError:
        raise ValueError(f"faults={','.join(items)}: expected name=rate,name=rate") from None


async def _serve_until_stopped(server: AnnotationServer) -> None:
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    await server.start()
    print(server.base_url, flush=True)  # noqa: T201  whoever started this reads it
    await stopped.wait()
    await server.stop()


if __name__ == "__main__":
    sys.exit(run(serve, "python -m diptych.synthetic.server", sys.argv[1:]))
