"""Is everything there and readable? Decodes every picture of a dataset once, before a long run does.

    python -m diptych.doctor data=cirr [data.root=PATH] [split=val] [output=FOLDER] [workers=N]

The verdict on a file is kept with its size and time of change, so a second look only decodes what is new, and one that
was interrupted goes on where it stopped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.table import Table

from diptych.composition import CONFIG_FOLDER, build, register_resolvers
from diptych.contracts import TripletSource
from diptych.data.image_faults import EMPTY, MISSING, UNREADABLE, Fault, KeptVerdicts, find_faults

# Records and images of the published splits, by source and split (None: not known).
PUBLISHED_COUNTS: dict[tuple[str, str], tuple[int, int]] = {
    ("cirr", "train"): (28_225, 16_939),
    ("cirr", "val"): (4_181, 2_297),
    ("cirr", "test"): (4_148, 2_315),
    ("circo", "val"): (220, 123_403),
    ("circo", "test"): (800, 123_403),
    ("dress", "train"): (5_985, 11_452),
    ("dress", "val"): (2_017, 3_817),
    ("dress", "test"): (2_024, 3_818),
    ("shirt", "train"): (5_988, 19_036),
    ("shirt", "val"): (2_038, 6_346),
    ("shirt", "test"): (2_038, 6_346),
    ("toptee", "train"): (6_027, 16_121),
    ("toptee", "val"): (1_961, 5_373),
    ("toptee", "test"): (2_056, 5_374),
}


@dataclass(frozen=True, slots=True)
class SplitReport:
    """What was found for one split. `problem` is the annotations' error, if they could not be read.

    `notes` compare the numbers of records and images with those published; `listing` is the file that names the faults.
    """

    source: str
    split: str
    docs_page: str
    num_queries: int = 0
    num_expected: int = 0
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    listing: Path | None = None
    problem: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether the split can be used as it is."""
        return self.problem is None and not self.faults

    def count(self, kind: str) -> int:
        """The number of faults of one kind."""
        return sum(fault.kind == kind for fault in self.faults)

    @property
    def next_step(self) -> str:
        """What to do now, in one sentence."""
        if self.problem is not None:
            return self.problem
        if self.healthy:
            return "Nothing to do: every image is there and can be decoded."
        if self.count(MISSING) == self.num_expected:
            return f"No image is there: {self.docs_page} says how to get them and where they belong."
        return (
            f"Fetch the {len(self.faults):,} files listed in {self.listing} again ({self.docs_page}), then run"
            " this again; or go on without them with data.on_missing=drop, which marks the results as partial."
        )


def examine(
    source: TripletSource,
    splits: Sequence[str] | None = None,
    output: Path | None = None,
    workers: int | None = None,
) -> list[SplitReport]:
    """Decode every image that the splits of `source` need, and list those that cannot be used.

    Writes `<folder>/<source>/<split>.txt` (a line per file: path, tab, reason) and the kept verdicts, where folder is
    `output`, or `doctor/` in the data's root. `workers` is the number of processes, by default one per processor.

    Raises:
        ValueError: the folder cannot be written to, or a split does not exist.
    """
    for split in splits or ():
        if split not in source.splits:
            raise ValueError(f"{source.name} has no split {split!r}; choose one of {', '.join(source.splits)}")
    workers = workers or os.cpu_count() or 1
    folder = output or source.root / "doctor"
    return [_examine_split(source, split, folder, workers) for split in splits or source.splits]


def _examine_split(source: TripletSource, split: str, folder: Path, workers: int) -> SplitReport:
    try:
        num_queries = len(source.queries(split))
        images = images_needed(source, split)
    except ValueError as error:
        return SplitReport(source.name, split, source.docs_page, problem=str(error))
    try:
        with KeptVerdicts(folder / "verdicts.jsonl") as kept:
            faults = find_faults(images.values(), kept, workers, f"{source.name} {split}")
        listing = _write_listing(folder / source.name / f"{split}.txt", faults)
    except OSError as error:
        raise ValueError(
            f"{folder} cannot be written to ({error.strerror}); name another folder: output=PATH"
        ) from None
    return SplitReport(
        source=source.name,
        split=split,
        docs_page=source.docs_page,
        num_queries=num_queries,
        num_expected=len(images),
        faults=tuple(faults),
        notes=tuple(_compare_with_published(source.name, split, num_queries, len(images))),
        listing=listing,
    )


def images_needed(source: TripletSource, split: str) -> dict[str, Path]:
    """Every image, by id, that training on the split or evaluating it reads, in a fixed order."""
    images = {image.image_id: image.path for image in source.gallery(split)}
    named = [query.reference_image for query in source.queries(split)]
    if split == "train":
        for triplet in source.triplets(split):
            named += (triplet.target_image, *triplet.distractors)
    for image_id in named:
        if image_id not in images:
            images[image_id] = source.image_path(split, image_id)
    return images


def _compare_with_published(name: str, split: str, num_queries: int, num_images: int) -> Iterator[str]:
    published = PUBLISHED_COUNTS.get((name, split))
    if published is None:
        return
    for kind, expected, found in zip(("pairs", "images"), published, (num_queries, num_images), strict=True):
        if expected != found:
            yield f"{name} {split}: {expected:,} {kind} expected as published, the annotations list {found:,}"


def _write_listing(path: Path, faults: Sequence[Fault]) -> Path | None:
    if not faults:
        path.unlink(missing_ok=True)  # of an earlier look
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{fault.path}\t{fault.kind}: {fault.reason}\n" for fault in faults), encoding="utf-8")
    return path


# ---------------------------------------------------------------------------------------------------- command line


def main(arguments: Sequence[str]) -> int:
    """Compose the sources of `data=...` and examine them; returns 2 if that is not possible."""
    settings = dict(argument.partition("=")[::2] for argument in arguments)
    output, split, workers = (settings.pop(key, None) for key in ("output", "split", "workers"))
    try:
        if "data" not in settings or (workers is not None and not workers.isdigit()):
            raise ValueError("usage: python -m diptych.doctor data=cirr [data.root=PATH] [split=val] [output=FOLDER]")
        register_resolvers()
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            config = compose("train", [f"{key}={value}" for key, value in settings.items()])
        sources = {name: build(node, _convert_="all") for name, node in config.data.sources.items()}
        return main_for_sources(
            sources, [split] if split else None, Path(output) if output else None, int(workers) if workers else None
        )
    except (ValueError, HydraException, OmegaConfBaseException) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def main_for_sources(
    sources: Mapping[str, TripletSource],
    splits: Sequence[str] | None = None,
    output: Path | None = None,
    workers: int | None = None,
) -> int:
    """Examine and print; returns 1 if anything is missing or unreadable, else 0."""
    reports = [report for source in sources.values() for report in examine(source, splits, output, workers)]
    console = Console(soft_wrap=True, highlight=False)
    console.print(_table(reports))
    for note in (note for report in reports for note in report.notes):
        console.print(f"Note: {note}", markup=False)
    for step in dict.fromkeys(report.next_step for report in reports if not report.healthy):
        console.print(f"Next: {step}", markup=False)
    if not all(report.healthy for report in reports):
        return 1
    pages = ", ".join(dict.fromkeys(report.docs_page for report in reports))
    console.print(
        f"Next: everything is there and readable. {pages} shows how to train and evaluate on it.", markup=False
    )
    return 0


def _table(reports: Sequence[SplitReport]) -> Table:
    table = Table(title="Images", title_justify="left")
    columns = ("data", "split", "pairs", "expected", "found", MISSING, EMPTY, UNREADABLE)
    for column in columns:
        table.add_column(column, justify="left" if column in ("data", "split") else "right")
    for report in reports:
        if report.problem is not None:
            table.add_row(report.source, report.split, *("-" for _ in columns[2:]))
            continue
        counts = (report.num_queries, report.num_expected, report.num_expected - report.count(MISSING))
        faults = (report.count(kind) for kind in (MISSING, EMPTY, UNREADABLE))
        table.add_row(report.source, report.split, *(f"{count:,}" for count in (*counts, *faults)))
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
