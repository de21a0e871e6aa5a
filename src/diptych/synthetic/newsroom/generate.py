"""Write the newsroom set to disk, in the layout in which OpenEvents V1 is published.

    python -m diptych.synthetic.newsroom.generate out=OUT seed=0     # 432 events, an article and a query each
    python -m diptych.synthetic.newsroom.generate sheet=newsroom.jpg     # a contact sheet instead

Under OUT, beside what OpenEvents has (`Database/`, `Train Set/`, `Track 1 - Public Set/`):

- `Validation Set/gt_val.csv` and `Track 1 - Public Set/gt_public.csv`: answers that are not published for OpenEvents.
- `facts.json`: `events`, the exact truth of every event, article, caption and picture. `splits.json`: the query ids.
- `base_captions.csv`: what is visible in the database photo that a query photo comes from.
- `retrieval/{train,val,test}.json`: the ten most similar database photos of every query, by their thumbnails.
- `newsroom.json`: what was asked for. It is there exactly when the set is complete: everything is written into a hidden
  folder beside OUT, the manifest last, and the folder then renamed.

Every event has its own random numbers, derived from the seed and its number, so that the same seed gives the same bytes
with any number of processes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from diptych.config.arguments import run
from diptych.storage.processes import run_tasks
from diptych.synthetic.canvas import Array
from diptych.synthetic.command_line import run_generator
from diptych.synthetic.generated_folder import generate_folder
from diptych.synthetic.newsroom import layout
from diptych.synthetic.newsroom.captions import STYLES
from diptych.synthetic.newsroom.casting import FAMILY_SIZE, SPLITS, sample_events
from diptych.synthetic.newsroom.drawing import HEIGHT, WIDTH, draw_photo, sample_shot
from diptych.synthetic.newsroom.events import Event
from diptych.synthetic.newsroom.query_photos import rework_photo, sample_rework
from diptych.synthetic.newsroom.scene import sample_scene
from diptych.synthetic.newsroom.story import Story, make_story

VERSION = 1
_OF_QUERY_PHOTOS = ("kept_share", "blur")


@dataclass(frozen=True, slots=True)
class NewsroomSettings:
    """What decides the bytes of the set, and what its manifest repeats.

    A family is four events (see `casting`). `captions_per_query` rows of an answers' table belong to one query, each in
    another style; OpenEvents has one. `kept_share` is how much of each side of its archive photo a query photo shows;
    None: between 74 % and 96 %, each its own. `blur` is the standard deviation of its blur, as a share of its width.
    """

    seed: int = 0
    num_train_families: int = 72
    num_val_families: int = 12
    num_test_families: int = 24
    captions_per_query: int = 1
    kept_share: float | None = None
    blur: float = 0.0

    def __post_init__(self) -> None:
        if self.kept_share is not None and not 0.1 <= self.kept_share <= 1:
            raise ValueError(f"kept_share={self.kept_share} must be between 0.1 and 1 of a side, or null")
        if not 0 <= self.blur <= 0.1:
            raise ValueError(f"blur={self.blur} must be between 0 and 0.1 of the width")
        for name, value in asdict(self).items():
            if name not in _OF_QUERY_PHOTOS and value < (0 if name == "seed" else 1):
                raise ValueError(f"{name}={value} is too small for a newsroom set")
        if self.captions_per_query > len(STYLES):
            raise ValueError(f"captions_per_query={self.captions_per_query}: there are only {len(STYLES)} styles")

    def events(self) -> list[Event]:
        """All events of the set, in the order of their numbers.

        Raises:
            ValueError: more families than there are names.
        """
        return sample_events(self.seed, {split: getattr(self, f"num_{split}_families") for split in SPLITS})

    def manifest(self) -> dict[str, Any]:
        """The content of `newsroom.json`; what has come later stands in it where it is used."""
        settings = {name: value for name, value in asdict(self).items() if value or name not in _OF_QUERY_PHOTOS}
        return {"version": VERSION, "width": WIDTH, "height": HEIGHT, **settings}


@dataclass(frozen=True, slots=True)
class EventTask:
    """One event to be written and drawn, by any process; `family` are its events, itself among them."""

    folder: Path
    settings: NewsroomSettings
    event: Event
    family: tuple[Event, ...]


def generate_newsroom(
    root: Path, settings: NewsroomSettings | None = None, num_workers: int | None = None, show_progress: bool = False
) -> Path:
    """Write the set to `root` and return it; a complete set with the same settings is left as it is.

    `num_workers` processes draw (None: one a processor); they do not influence the result. One call at a time may
    write to a root.

    Raises:
        ValueError: `root` holds anything else, or the settings ask for more names than there are.
    """
    settings = settings or NewsroomSettings()

    def write(folder: Path) -> None:
        _write_set(folder, settings, num_workers, show_progress)

    return generate_folder(root, "newsroom", layout.MANIFEST, settings.manifest(), write)


def _write_set(folder: Path, settings: NewsroomSettings, num_workers: int | None, show_progress: bool) -> None:
    events = settings.events()
    tasks = [
        EventTask(folder, settings, event, tuple(events[first : first + FAMILY_SIZE]))
        for event in events
        for first in (event.number - event.number % FAMILY_SIZE,)
    ]
    for path in (layout.DATABASE_IMAGES, *layout.QUERY_IMAGES.values()):
        (folder / path).mkdir(parents=True)
    stories = run_tasks(write_event, tasks, num_workers, 2, "reporting events", show_progress)
    _write_tables(folder, settings, stories)
    layout.write_json(folder / layout.MANIFEST, settings.manifest())


def write_event(task: EventTask) -> Story:
    """Draw the photos of one event into the task's folder, and return its texts and facts."""
    settings = task.settings
    return make_story(task.event, task.family, settings.seed, task.folder, settings.kept_share, settings.blur)


def _write_tables(folder: Path, settings: NewsroomSettings, stories: Sequence[Story]) -> None:
    layout.write_database(folder / layout.DATABASE, {story.article_id: story.article for story in stories})
    article_of = {image_id: story.article_id for story in stories for image_id in story.image_ids}
    database = {image_id: item for story in stories for image_id, item in story.database_descriptors.items()}
    splits: dict[str, list[str]] = {}
    for split in SPLITS:
        chosen = [story for story in stories if story.event.split == split]
        splits[split] = [story.query_id for story in chosen]
        rows = [
            (story.query_id, caption, story.article_id, story.image_ids[0])
            for story in chosen
            for caption in list(story.captions.values())[: settings.captions_per_query]
        ]
        layout.write_table(folder / layout.ANSWERS[split], layout.ANSWER_COLUMNS, rows)
        queries = {story.query_id: story.query_descriptor for story in chosen}
        layout.write_json(folder / layout.retrieval_file(split), layout.rank_photos(queries, database, article_of))
    layout.write_table(folder / layout.TEST_QUERIES, ("query_id",), [(query_id,) for query_id in splits["test"]])
    layout.write_table(
        folder / layout.BASE_CAPTIONS,
        layout.BASE_CAPTION_COLUMNS,
        [(story.query_id, story.image_ids[0], story.base_caption) for story in stories],
    )
    layout.write_json(folder / layout.SPLITS_FILE, splits)
    layout.write_json(folder / layout.FACTS, {"events": [story.facts for story in stories]})


def draw_sheet(seed: int, num_columns: int = 4) -> Array:
    """A contact sheet of the first event of every kind: its photo, and to the right its query photo, 4 pixels apart."""
    events = NewsroomSettings(seed=seed).events()[: 12 * FAMILY_SIZE : FAMILY_SIZE]
    gap, cell = 4, (HEIGHT + 4, WIDTH + 4)
    num_rows = -(-2 * len(events) // num_columns)
    sheet = np.full((num_rows * cell[0] - gap, num_columns * cell[1] - gap, 3), 255, np.uint8)
    for number, event in enumerate(events):
        rng = np.random.default_rng(event.number)
        photo = draw_photo(sample_scene(event, rng), sample_shot(rng))
        for index, picture in ((2 * number, photo), (2 * number + 1, rework_photo(photo, sample_rework(rng)))):
            y, x = index // num_columns * cell[0], index % num_columns * cell[1]
            height, width = min(HEIGHT, picture.shape[0]), min(WIDTH, picture.shape[1])
            sheet[y : y + height, x : x + width] = picture[:height, :width]
    return sheet


_DEFAULTS = NewsroomSettings()


def command(
    *,
    out: Annotated[Path | None, "the folder to write the set into"] = None,
    sheet: Annotated[Path | None, "a file for a contact sheet, .jpg or .png"] = None,
    workers: Annotated[int | None, "processes; one a processor unless given"] = None,
    seed: Annotated[int, "of all random numbers"] = 0,
    num_train_families: Annotated[int, "families of four events to train on"] = _DEFAULTS.num_train_families,
    num_val_families: Annotated[int, "families to validate with"] = _DEFAULTS.num_val_families,
    num_test_families: Annotated[int, "families to test with"] = _DEFAULTS.num_test_families,
    captions_per_query: Annotated[int, "reference captions of each photo"] = _DEFAULTS.captions_per_query,
    kept_share: Annotated[float | None, "of each side of an archive photo, in its query photo"] = _DEFAULTS.kept_share,
    blur: Annotated[float, "of query photos, as a share of their width"] = _DEFAULTS.blur,
) -> None:
    """Draws and writes the newsroom set in OpenEvents' layout, or a contact sheet of it, or both."""
    families = (num_train_families, num_val_families, num_test_families)
    settings = NewsroomSettings(seed, *families, captions_per_query, kept_share, blur)
    run_generator("newsroom", out, sheet, workers, settings, generate_newsroom, draw_sheet)


if __name__ == "__main__":
    sys.exit(run(command, "python -m diptych.synthetic.newsroom.generate", sys.argv[1:]))
