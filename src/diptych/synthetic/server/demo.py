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
from collections.abc import Sequence
from pathlib import Path

from diptych.storage.json_files import write_json_lines
from diptych.synthetic.command_line import read_settings
from diptych.synthetic.rooms.generate import RoomsSettings
from diptych.synthetic.rooms.source import Rooms

MODEL = "rooms"
FAULTS = ["hallucination=0.1", "misdescription=0.02", "faults=any=0.1", "hang_s=2"]
_USAGE = "usage: python -m diptych.synthetic.server.demo [pairs=200] [out=runs/annotation_demo] [steps=100]\n"


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
    print("\n$ python " + " ".join(words), flush=True)  # noqa: T201
    subprocess.run([sys.executable, *words], check=True, env={**os.environ, **environment})


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    try:
        settings = read_settings(arguments, {"pairs": int, "out": Path, "steps": int}, _USAGE)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    annotate_and_train(**settings)
    return 0


def annotate_and_train(pairs: int = 200, out: Path = Path("runs/annotation_demo"), steps: int = 100) -> None:
    """Everything that the demo shows: so many pairs, results in the folder `out`, so many training steps."""
    pairs_file = out / "pairs.jsonl"
    write_pairs(pairs_file, pairs)
    scenes = Path(os.environ.get("DIPTYCH_DATA", "data")) / "rooms"
    server = [sys.executable, "-m", "diptych.synthetic.server", f"scenes={scenes}"]
    with subprocess.Popen([*server, *FAULTS], stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        try:
            for pipeline, folder in (("annotate_triplets", "three_stage"), ("annotate_one_stage", "one_stage")):
                common = [f"pairs={pairs_file}", f"out={out / folder}", f"model={MODEL}", f"base_url={address}"]
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
    ways = ", ".join(f"{way}: {out / way / 'work' / stage / 'records.jsonl'}" for way, stage in work.items())
    run(
        "-m",
        "diptych.pipeline",
        "pipeline=audit_triplets",
        f"pairs={pairs_file}",
        f"out={out / 'audit'}",
        f"ways={{{ways}}}",
    )
    run("-m", "diptych.report.annotation_review", str(out / "three_stage"), "--pairs", str(pairs_file))
    run("-m", "diptych.commands.data_card", str(out / "three_stage"))
    run(
        "train.py",
        "experiment=cir_rooms",
        "data=triplets",
        f"data.root={out / 'three_stage'}",
        "name=annotation_demo_training",
        f"trainer.max_steps={steps}",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
