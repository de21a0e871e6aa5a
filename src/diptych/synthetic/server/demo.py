"""Annotates pairs of generated rooms from end to end, against the loopback server, a tenth of whose answers are faulty.

    python -m diptych.synthetic.server.demo [pairs=200] [out=runs/annotation_demo] [steps=100]

Three stages and one stage, the audit of both against the scenes, the review page, the data card, and a training on the
triplets. Run again, it asks nothing that was answered.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from diptych.config.arguments import run as run_command
from diptych.config.override_words import in_shell, override, quoted
from diptych.storage.json_files import write_json_lines
from diptych.synthetic.rooms.generate import RoomsSettings
from diptych.synthetic.rooms.source import Rooms

MODEL = "rooms"
# The same share of untrue sentences in one stage as in three: what the table of the audit shows beyond it is what the
# stages do to descriptions that are wrong.
PLANTED = {"hallucination": 0.1, "one_stage_hallucination": 0.1, "misdescription": 0.02}
FAULTS = ["faults=any=0.1", "hang_s=2"]


def write_pairs(path: Path, number: int) -> None:
    """Pairs of rooms that differ by one to three changes, from the training triplets."""
    settings = RoomsSettings(num_train_hotels=1500, num_val_hotels=84, num_test_hotels=84)
    rooms = Rooms(Path(os.environ.get("DIPTYCH_DATA", "data")) / "rooms", settings)
    rooms.prepare()
    known = sorted({(t.reference_image, t.target_image, t.group) for t in rooms.triplets("train")})
    chosen = sorted(random.Random(0).sample(known, number))
    pairs = (
        {
            "reference_image": str(rooms.image_path("train", reference).absolute()),
            "target_image": str(rooms.image_path("train", target).absolute()),
            "group": group,
        }
        for reference, target, group in chosen
    )
    write_json_lines(path, pairs)


def run(*words: str, **environment: str) -> None:
    """Runs a command of the package, shown as a user would type it."""
    print(f"\n$ {in_shell('python', *words)}", flush=True)  # noqa: T201
    subprocess.run([sys.executable, *words], check=True, env={**os.environ, **environment})


def annotate_and_train(
    *,
    pairs: Annotated[int, "how many to annotate"] = 200,
    out: Annotated[Path, "the folder of the results"] = Path("runs/annotation_demo"),
    steps: Annotated[int, "of training"] = 100,
) -> None:
    """Everything that the demo shows: so many pairs, results in the folder `out`, so many training steps."""
    planted = ", ".join(f"{name}: {rate}" for name, rate in PLANTED.items())
    print(f"planted in what the server writes: {planted}; and a fault in a tenth of the requests")  # noqa: T201
    pairs_file = out / "pairs.jsonl"
    write_pairs(pairs_file, pairs)
    scenes = Path(os.environ.get("DIPTYCH_DATA", "data")) / "rooms"
    server = [sys.executable, "-m", "diptych.synthetic.server", f"scenes={scenes}"]
    rates = [f"{name}={rate}" for name, rate in PLANTED.items()]
    with subprocess.Popen([*server, *rates, *FAULTS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # it is a pipe
        address = process.stdout.readline().strip()
        try:
            for pipeline, folder in (("annotate_triplets", "three_stage"), ("annotate_one_stage", "one_stage")):
                common = [
                    override("pairs", pairs_file),
                    override("out", out / folder),
                    f"model={MODEL}",
                    f"base_url={address}",
                ]
                run(
                    "-m",
                    "diptych.pipeline",
                    f"pipeline={pipeline}",
                    *common,
                    "domain=hotel",
                    "max_objects=12",
                    "asker.client.timeout_s=5",
                    OPENAI_API_KEY="any",
                )
        finally:
            process.terminate()
    work = {"three_stage": "write_modifications", "one_stage": "one_stage"}
    ways = ", ".join(
        f"{way}: {quoted(str(out / way / 'work' / stage / 'records.jsonl'))}" for way, stage in work.items()
    )
    run(
        "-m",
        "diptych.pipeline",
        "pipeline=audit_triplets",
        override("pairs", pairs_file),
        override("out", out / "three_stage" / "work"),
        f"ways={{{ways}}}",
        f"planted={{{planted}}}",
    )
    run("-m", "diptych.report.annotation_review", str(out / "three_stage"), "--pairs", str(pairs_file))
    run("-m", "diptych.commands.data_card", str(out / "three_stage"))
    run(
        "train.py",
        "experiment=cir_rooms",
        "data=triplets",
        override("data.root", out / "three_stage"),
        "name=annotation_demo_training",
        f"trainer.max_steps={steps}",
    )


if __name__ == "__main__":
    sys.exit(run_command(annotate_and_train, "python -m diptych.synthetic.server.demo", sys.argv[1:]))
