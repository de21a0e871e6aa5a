"""Write a generated world to disk as a set of triplets, in the layout in which Hotel-CIR is published.

Under the folder:

- `captions/hotel_{train,val,test}_data.json`: records with `query_image`, `result_image`, `difference`, `distractors`
  and, beside Hotel-CIR's keys, `changes`: exactly what differs, as `scenes.Change.to_json` writes it.
- `images/{train,val_test}/<block>/<group>/<scene>.jpg`: 128 x 128 photographs, one of every scene.
- `scenes/{train,val_test}/<block>/<group>/<scene>.json`: `scene` and `photograph`, the exact truth of the same picture.
- `<world>.json`: what was asked for. It is there exactly when the set is complete: everything is written into a hidden
  folder beside, the manifest last, and the folder then renamed.

Every group (a hotel of rooms) has its own random numbers, derived from the seed and its place in the set, so that the
same seed gives the same bytes with any number of processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from diptych.storage.processes import run_tasks
from diptych.synthetic.canvas import Array
from diptych.synthetic.generated_folder import generate_folder
from diptych.synthetic.photographs import Photograph, encode_jpeg
from diptych.synthetic.scenes import Change, Group, Scene, find_changes, pairs_by_num_changes

IMAGE_SIZE = 128
SPLITS = ("train", "val", "test")
SHARE_BY_NUM_CHANGES = {1: 0.6, 2: 0.3, 3: 0.1}
_GROUPS_PER_BLOCK = 50


@dataclass(frozen=True, slots=True)
class World:
    """A world that can be drawn. `group` and `scene` are the words for its groups and their scenes (hotel, room).

    `version` changes with the bytes that a seed gives. The functions are of modules, so that processes can be sent the
    tasks: `sample_group(rng)`; `describe_changes(changes, the scene before, rng)`, a text; `sample_photograph(style,
    rng)`; `draw(scene, photograph, size)`, RGB pixels; `scene_from_json`, of what `Scene.to_json` gives.
    """

    name: str
    group: str
    scene: str
    version: int
    sample_group: Callable[[np.random.Generator], Group[Any]]
    describe_changes: Callable[[Sequence[Change], Any, np.random.Generator], str]
    sample_photograph: Callable[[Any, np.random.Generator], Photograph]
    draw: Callable[[Any, Photograph, int], Array]
    scene_from_json: Callable[[Mapping[str, Any]], Scene]

    @property
    def manifest_name(self) -> str:
        """The file that a complete set has."""
        return f"{self.name}.json"


class TripletSetSettings:
    """What decides the bytes of a set, and what its manifest repeats.

    A world's are a frozen dataclass of `seed`, `num_train_hotels`, `num_val_hotels`, `num_test_hotels`,
    `triplets_per_train_hotel` and `triplets_per_eval_hotel`, with the world's word in place of `hotel`.

    Raises:
        ValueError: a number is too small, or more triplets are asked for than a group has pairs.
    """

    __slots__ = ()
    world: ClassVar[World]
    seed: int

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():  # type: ignore[call-overload]  # every world's are a dataclass
            if value < (0 if name == "seed" else 1):
                raise ValueError(f"{name}={value} is too small for a {self.world.name} set")
        pairs = sum(len(group) for group in pairs_by_num_changes(8).values())
        group, scene = self.world.group, self.world.scene
        if max(map(self.num_triplets, SPLITS)) > pairs:
            raise ValueError(
                f"a {group} of eight {scene}s has only {pairs} ordered pairs: ask for fewer triplets per {group}"
            )

    def num_groups(self, split: str) -> int:
        """How many groups a split has."""
        return int(getattr(self, f"num_{split}_{self.world.group}s"))

    def num_triplets(self, split: str) -> int:
        """How many triplets each group of a split gives."""
        kind = "train" if split == "train" else "eval"
        return int(getattr(self, f"triplets_per_{kind}_{self.world.group}"))

    def manifest(self) -> dict[str, Any]:
        """The content of `<world>.json`."""
        settings = asdict(self)  # type: ignore[call-overload]  # every world's are a dataclass
        return {"version": self.world.version, "image_size": IMAGE_SIZE, **settings}


@dataclass(frozen=True, slots=True)
class GroupTask:
    """One group to be drawn, by any process. `number` counts groups over all splits, in the order of `SPLITS`."""

    folder: Path
    settings: TripletSetSettings
    split: str
    number: int

    @property
    def name(self) -> str:
        """The last path segments that all scenes of the group share."""
        return f"block_{self.number // _GROUPS_PER_BLOCK:02d}/{self.settings.world.group}_{self.number:04d}"

    @property
    def image_split(self) -> str:
        """The folder under `images` and `scenes`: val and test share one."""
        return "train" if self.split == "train" else "val_test"

    def scene_path(self, index: int) -> str:
        """The picture of a scene, in the folder of the split's images."""
        return f"{self.name}/{self.settings.world.scene}_{101 + index}.jpg"

    def rng(self) -> np.random.Generator:
        """The group's own random numbers."""
        return np.random.default_rng(np.random.SeedSequence([self.settings.seed, self.number]))


def generate_set(root: Path, settings: TripletSetSettings, num_workers: int | None, show_progress: bool) -> Path:
    """Write the set to `root` and return it; a complete set with the same settings is left as it is.

    `num_workers` processes draw (None: one a processor); they do not influence the result. One call at a time may
    write to a root. Raises ValueError when `root` holds anything else.
    """
    world = settings.world

    def write(folder: Path) -> None:
        _write_set(folder, settings, num_workers, show_progress)

    return generate_folder(root, world.name, world.manifest_name, settings.manifest(), write)


def _write_set(folder: Path, settings: TripletSetSettings, num_workers: int | None, show_progress: bool) -> None:
    tasks: list[GroupTask] = []
    for split in SPLITS:
        tasks += [GroupTask(folder, settings, split, len(tasks) + i) for i in range(settings.num_groups(split))]
    records: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    results = run_tasks(write_group, tasks, num_workers, 4, f"drawing {settings.world.group}s", show_progress)
    for task, of_group in zip(tasks, results, strict=True):
        records[task.split] += of_group
    (folder / "captions").mkdir()
    for split in SPLITS:
        _write_json(folder / "captions" / f"hotel_{split}_data.json", records[split])
    _write_json(folder / settings.world.manifest_name, settings.manifest())


def write_group(task: GroupTask) -> list[dict[str, Any]]:
    """Draw one group's scenes and return its records."""
    rng, world = task.rng(), task.settings.world
    group = world.sample_group(rng)
    pairs = _sample_pairs(len(group.scenes), task.settings.num_triplets(task.split), rng)
    planned = []
    for reference, target in pairs:
        changes = find_changes(group.scenes[reference], group.scenes[target])
        text = world.describe_changes(changes, group.scenes[reference], rng)
        distractors = _sample_distractors(reference, target, len(group.states), rng)
        planned.append((reference, target, text, distractors, changes))
    for index in sorted({index for one, other, _, distractors, _ in planned for index in (one, other, *distractors)}):
        _write_scene(task, index, group.scenes[index], rng)
    return [
        {
            "query_image": task.scene_path(reference),
            "result_image": task.scene_path(target),
            "difference": text,
            "distractors": [task.scene_path(index) for index in distractors],
            "changes": [change.to_json() for change in changes],
        }
        for reference, target, text, distractors, changes in planned
    ]


def _sample_pairs(num_scenes: int, num_pairs: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Different ordered pairs of scenes; how many changes apart is drawn by `SHARE_BY_NUM_CHANGES` while it can."""
    left = {
        num: [pairs[i] for i in rng.permutation(len(pairs))] for num, pairs in pairs_by_num_changes(num_scenes).items()
    }
    chosen = []
    for _ in range(num_pairs):
        shares = np.array([SHARE_BY_NUM_CHANGES[num] if left[num] else 0.0 for num in left])
        num = list(left)[int(rng.choice(len(left), p=shares / shares.sum()))]
        chosen.append(left[num].pop())
    return chosen


def _sample_distractors(reference: int, target: int, num_varying: int, rng: np.random.Generator) -> list[int]:
    """Two scenes of the group that are one change from the target, the reference not among them."""
    neighbours = [target ^ (1 << k) for k in range(num_varying) if target ^ (1 << k) != reference]
    return [neighbours[i] for i in rng.permutation(len(neighbours))[:2]]


def _write_scene(task: GroupTask, index: int, scene: Any, rng: np.random.Generator) -> None:
    world = task.settings.world
    photograph = world.sample_photograph(scene.style, rng)
    image = task.folder / "images" / task.image_split / task.scene_path(index)
    description = (task.folder / "scenes" / task.image_split / task.scene_path(index)).with_suffix(".json")
    for path in (image, description):
        path.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(encode_jpeg(world.draw(scene, photograph, IMAGE_SIZE)))
    _write_json(description, {"scene": scene.to_json(), "photograph": photograph.to_json()})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")


def draw_contact_sheet(settings: TripletSetSettings, num_groups: int = 4, num_scenes: int = 6) -> Array:
    """A row of scenes for each of the first training groups of a set, 4 pixels apart."""
    size, gap, world = IMAGE_SIZE, 4, settings.world
    sheet = np.full((num_groups * (size + gap) - gap, num_scenes * (size + gap) - gap, 3), 255, np.uint8)
    for row in range(num_groups):
        rng = GroupTask(Path(), settings, "train", row).rng()
        for column, scene in enumerate(world.sample_group(rng).scenes[:num_scenes]):
            y, x = row * (size + gap), column * (size + gap)
            sheet[y : y + size, x : x + size] = world.draw(scene, world.sample_photograph(scene.style, rng), size)
    return sheet
