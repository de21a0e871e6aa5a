"""Write the rooms set to disk, in the layout in which Hotel-CIR is published.

    python -m diptych.synthetic.rooms.generate out=OUT seed=0     # the whole set: about 6,000 + 500 + 500 triplets
    python -m diptych.synthetic.rooms.generate sheet=docs/images/rooms.png    # a contact sheet instead

Under OUT:

- `captions/hotel_{train,val,test}_data.json`: records with `query_image`, `result_image`, `difference`, `distractors`
  and, beside Hotel-CIR's keys, `changes`: exactly what differs, as `scene.Change.to_json` writes it.
- `images/{train,val_test}/<block>/<hotel>/<room>.jpg`: 128 x 128 photographs, one of every room.
- `scenes/{train,val_test}/<block>/<hotel>/<room>.json`: `scene` and `photograph`, the exact truth of the same picture.
- `rooms.json`: what was asked for. It is there exactly when the set is complete: everything is written into a hidden
  folder beside OUT, the manifest last, and the folder then renamed.

Every hotel has its own random numbers, derived from the seed and its place in the set, so that the same seed gives the
same bytes with any number of processes.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from diptych.config.arguments import run
from diptych.storage.processes import run_tasks
from diptych.synthetic.command_line import run_generator
from diptych.synthetic.generated_folder import generate_folder
from diptych.synthetic.rooms.canvas import Array
from diptych.synthetic.rooms.drawing import draw_room, encode_jpeg, sample_photograph
from diptych.synthetic.rooms.language import describe_changes
from diptych.synthetic.rooms.scene import Scene, find_changes, pairs_by_num_changes, sample_hotel

MANIFEST = "rooms.json"
VERSION = 4
IMAGE_SIZE = 128
SPLITS = ("train", "val", "test")
SHARE_BY_NUM_CHANGES = {1: 0.6, 2: 0.3, 3: 0.1}
_HOTELS_PER_BLOCK = 50


@dataclass(frozen=True, slots=True)
class RoomsSettings:
    """What decides the bytes of the set, and what its manifest repeats."""

    seed: int = 0
    num_train_hotels: int = 1500
    num_val_hotels: int = 84
    num_test_hotels: int = 84
    triplets_per_train_hotel: int = 4
    triplets_per_eval_hotel: int = 6

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < (0 if name == "seed" else 1):
                raise ValueError(f"{name}={value} is too small for a rooms set")
        pairs = sum(len(group) for group in pairs_by_num_changes(8).values())
        if max(self.triplets_per_train_hotel, self.triplets_per_eval_hotel) > pairs:
            raise ValueError(f"a hotel of eight rooms has only {pairs} ordered pairs: ask for fewer triplets per hotel")

    def num_hotels(self, split: str) -> int:
        """How many hotels a split has."""
        return int(getattr(self, f"num_{split}_hotels"))

    def num_triplets(self, split: str) -> int:
        """How many triplets each hotel of a split gives."""
        return self.triplets_per_train_hotel if split == "train" else self.triplets_per_eval_hotel

    def manifest(self) -> dict[str, Any]:
        """The content of `rooms.json`."""
        return {"version": VERSION, "image_size": IMAGE_SIZE, **asdict(self)}


@dataclass(frozen=True, slots=True)
class HotelTask:
    """One hotel to be drawn, by any process. `number` counts hotels over all splits, in the order of `SPLITS`."""

    folder: Path
    settings: RoomsSettings
    split: str
    number: int

    @property
    def name(self) -> str:
        """The last path segments that all rooms of the hotel share."""
        return f"block_{self.number // _HOTELS_PER_BLOCK:02d}/hotel_{self.number:04d}"

    @property
    def image_split(self) -> str:
        """The folder under `images` and `scenes`: val and test share one."""
        return "train" if self.split == "train" else "val_test"

    def rng(self) -> np.random.Generator:
        """The hotel's own random numbers."""
        return np.random.default_rng(np.random.SeedSequence([self.settings.seed, self.number]))


def generate_rooms(
    root: Path, settings: RoomsSettings | None = None, num_workers: int | None = None, show_progress: bool = False
) -> Path:
    """Write the set to `root` and return it; a complete set with the same settings is left as it is.

    `num_workers` processes draw (None: one a processor); they do not influence the result. One call at a time may
    write to a root. Raises ValueError when `root` holds anything else.
    """
    settings = settings or RoomsSettings()

    def write(folder: Path) -> None:
        _write_set(folder, settings, num_workers, show_progress)

    return generate_folder(root, "rooms", MANIFEST, settings.manifest(), write)


def _write_set(folder: Path, settings: RoomsSettings, num_workers: int | None, show_progress: bool) -> None:
    tasks: list[HotelTask] = []
    for split in SPLITS:
        tasks += [HotelTask(folder, settings, split, len(tasks) + i) for i in range(settings.num_hotels(split))]
    records: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    results = run_tasks(write_hotel, tasks, num_workers, 4, "drawing hotels", show_progress)
    for task, of_hotel in zip(tasks, results, strict=True):
        records[task.split] += of_hotel
    (folder / "captions").mkdir()
    for split in SPLITS:
        _write_json(folder / "captions" / f"hotel_{split}_data.json", records[split])
    _write_json(folder / MANIFEST, settings.manifest())


def write_hotel(task: HotelTask) -> list[dict[str, Any]]:
    """Draw one hotel's rooms and return its records."""
    rng = task.rng()
    hotel = sample_hotel(rng)
    pairs = _sample_pairs(len(hotel.rooms), task.settings.num_triplets(task.split), rng)
    planned = []
    for reference, target in pairs:
        changes = find_changes(hotel.rooms[reference], hotel.rooms[target])
        text = describe_changes(changes, hotel.rooms[reference], rng)
        distractors = _sample_distractors(reference, target, len(hotel.states), rng)
        planned.append((reference, target, text, distractors, changes))
    for index in sorted({index for one, other, _, distractors, _ in planned for index in (one, other, *distractors)}):
        _write_room(task, index, hotel.rooms[index], rng)
    return [
        {
            "query_image": _room_path(task, reference),
            "result_image": _room_path(task, target),
            "difference": text,
            "distractors": [_room_path(task, index) for index in distractors],
            "changes": [change.to_json() for change in changes],
        }
        for reference, target, text, distractors, changes in planned
    ]


def _sample_pairs(num_rooms: int, num_pairs: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Different ordered pairs of rooms; how many changes apart is drawn by `SHARE_BY_NUM_CHANGES` as long as it can."""
    left = {
        num: [pairs[i] for i in rng.permutation(len(pairs))] for num, pairs in pairs_by_num_changes(num_rooms).items()
    }
    chosen = []
    for _ in range(num_pairs):
        shares = np.array([SHARE_BY_NUM_CHANGES[num] if left[num] else 0.0 for num in left])
        num = list(left)[int(rng.choice(len(left), p=shares / shares.sum()))]
        chosen.append(left[num].pop())
    return chosen


def _sample_distractors(reference: int, target: int, num_varying: int, rng: np.random.Generator) -> list[int]:
    """Two rooms of the hotel that are one change from the target, the reference not among them."""
    neighbours = [target ^ (1 << k) for k in range(num_varying) if target ^ (1 << k) != reference]
    return [neighbours[i] for i in rng.permutation(len(neighbours))[:2]]


def _room_path(task: HotelTask, index: int) -> str:
    return f"{task.name}/room_{101 + index}.jpg"


def _write_room(task: HotelTask, index: int, scene: Scene, rng: np.random.Generator) -> None:
    photograph = sample_photograph(scene.style, rng)
    image = task.folder / "images" / task.image_split / _room_path(task, index)
    description = (task.folder / "scenes" / task.image_split / _room_path(task, index)).with_suffix(".json")
    for path in (image, description):
        path.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(encode_jpeg(draw_room(scene, photograph, IMAGE_SIZE)))
    _write_json(description, {"scene": scene.to_json(), "photograph": photograph.to_json()})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")


def draw_sheet(seed: int, num_hotels: int = 4, num_rooms: int = 6) -> Array:
    """A contact sheet: a row of rooms for each of the first training hotels of a set, 4 pixels apart."""
    size, gap = IMAGE_SIZE, 4
    sheet = np.full((num_hotels * (size + gap) - gap, num_rooms * (size + gap) - gap, 3), 255, np.uint8)
    for row in range(num_hotels):
        rng = HotelTask(Path(), RoomsSettings(seed=seed), "train", row).rng()
        for column, scene in enumerate(sample_hotel(rng).rooms[:num_rooms]):
            y, x = row * (size + gap), column * (size + gap)
            sheet[y : y + size, x : x + size] = draw_room(scene, sample_photograph(scene.style, rng), size)
    return sheet


_DEFAULTS = RoomsSettings()


def command(
    *,
    out: Annotated[Path | None, "the folder to write the set into"] = None,
    sheet: Annotated[Path | None, "a PNG file for a contact sheet"] = None,
    workers: Annotated[int | None, "processes; one a processor unless given"] = None,
    seed: Annotated[int, "of all random numbers"] = 0,
    num_train_hotels: Annotated[int, "hotels to train on"] = _DEFAULTS.num_train_hotels,
    num_val_hotels: Annotated[int, "hotels to validate with"] = _DEFAULTS.num_val_hotels,
    num_test_hotels: Annotated[int, "hotels to test with"] = _DEFAULTS.num_test_hotels,
    triplets_per_train_hotel: Annotated[int, "of each hotel to train on"] = _DEFAULTS.triplets_per_train_hotel,
    triplets_per_eval_hotel: Annotated[int, "of each other hotel"] = _DEFAULTS.triplets_per_eval_hotel,
) -> None:
    """Draws the rooms set in Hotel-CIR's layout, or a contact sheet of it, or both."""
    settings = RoomsSettings(
        seed, num_train_hotels, num_val_hotels, num_test_hotels, triplets_per_train_hotel, triplets_per_eval_hotel
    )
    run_generator("rooms", out, sheet, workers, settings, generate_rooms, draw_sheet)


if __name__ == "__main__":
    sys.exit(run(command, "python -m diptych.synthetic.rooms.generate", sys.argv[1:]))
