"""Tiny sets in the published layouts: each is made once in a test run, and every test gets a copy of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diptych.storage.file_lock import locked
from diptych.synthetic.market.generate import MarketSettings, generate_market
from diptych.synthetic.newsroom.generate import NewsroomSettings, generate_newsroom
from diptych.synthetic.rooms.generate import RoomsSettings, generate_rooms
from warm_python import warm

TINY = RoomsSettings(num_train_hotels=6, num_val_hotels=28, num_test_hotels=28)
TINY_MARKET = MarketSettings(num_train_stalls=6, num_val_stalls=28, num_test_stalls=28)
TINY_NEWS = NewsroomSettings(num_train_families=2, num_val_families=1, num_test_families=1)


def tiny_set(name: str, folder: Path) -> Path:
    """A copy, at `folder`, of `rooms` (TINY), `market` (TINY_MARKET), `newsroom` (TINY_NEWS), `openevents` (the same,
    as published) or `cirr` (with rewritten captions).
    """
    made = warm.folder() / "sets" / name
    with locked(made.with_name(f"{name}.lock")):
        if not made.exists():
            _MAKERS[name](made.with_name(f"{name}.part"))
            made.with_name(f"{name}.part").rename(made)
    return shutil.copytree(made, folder)


def make_data(folder: Path) -> Path:
    """A folder with the sets of `tiny_set` under their names, and `hotel_cir`, with the same pictures as `rooms`."""
    for name in _MAKERS:
        tiny_set(name, folder / name)
    (folder / "hotel_cir").symlink_to(folder / "rooms", target_is_directory=True)
    return folder


def _make_cirr(root: Path) -> None:
    rng = np.random.default_rng(0)
    for split, prefix, pixels, count in (
        ("train", "train", "train/0", 24),
        ("val", "dev", "dev", 60),
        ("test1", "test1", "test1", 60),
    ):
        names = [f"{prefix}-{number}-0-img{number % 2}" for number in range(count)]
        for name in names:
            path = root / "img_raw" / pixels / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((40, 32), 0).save(path)
        _write(root / f"image_splits/split.rc2.{split}.json", {name: f"./{pixels}/{name}.png" for name in names})
        records = [_cirr_record(names, number, split == "test1") for number in range(12)]
        _write(root / f"captions/cap.rc2.{split}.json", records)
        if split != "test1":
            rewritten = [
                {
                    "query_image_url": f"https://x.org/{r['reference']}.png",
                    "retrieved_image_url": f"https://x.org/{r['target_hard']}.png",
                    "difference_captions": [f"{r['caption']}.", "Keep the rest."],
                }
                for r in records
            ]
            _write(root / f"rewritten_captions/rewritten_{split}.json", rewritten)


def _cirr_record(names: list[str], number: int, hidden: bool) -> dict[str, Any]:
    members = names[number // 6 * 6 : number // 6 * 6 + 6]
    reference = members[number % 6]
    record = {
        "pairid": 100 + number,
        "reference": reference,
        "target_hard": members[(number + 1) % 6],
        "target_soft": {members[(number + 1) % 6]: 1.0},
        "caption": f"make it like number {number}",
        "img_set": {"id": number // 6, "members": members, "reference_rank": 1, "target_rank": 2},
    }
    if hidden:
        del record["target_hard"], record["target_soft"], record["img_set"]["target_rank"]
    return record


def _make_openevents(root: Path) -> None:
    newsroom = tiny_set("newsroom", root)
    rows = (newsroom / "base_captions.csv").read_text()
    for split in ("train", "val", "test"):
        (root / "base_captions").mkdir(exist_ok=True)
        (root / "base_captions" / f"{split}.csv").write_text(rows)
    # No split for validation is published: it is kept back from the training rows.
    shutil.copy(root / "retrieval/train.json", root / "retrieval/val.json")


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


_MAKERS = {
    "rooms": lambda root: generate_rooms(root, TINY, num_workers=1),
    "market": lambda root: generate_market(root, TINY_MARKET, num_workers=1),
    "newsroom": lambda root: generate_newsroom(root, TINY_NEWS, num_workers=1),
    "openevents": _make_openevents,
    "cirr": _make_cirr,
}
