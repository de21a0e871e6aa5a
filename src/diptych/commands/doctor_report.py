"""What the doctor says about a split: the faults of its images, in numbers, as a table and as the next step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from diptych.contracts.news import NewsSource
from diptych.contracts.retrieval import TripletSource
from diptych.photos.image_faults import EMPTY, MISSING, UNREADABLE, Fault, KeptVerdicts, find_faults
from diptych.photos.spellings import spelt_otherwise
from diptych.storage.whole import write_text
from diptych.text.terminal import PlainConsole


@dataclass(frozen=True, slots=True)
class SplitReport:
    """What was found for one split. `problem` is the annotations' error, if they could not be read.

    `notes` are worth knowing but break nothing, such as numbers that are not the published ones; `listing` is the file
    that names the faults. `without_them` says how to go on without the faulty images, where that is possible;
    `optional` images may be missing.
    """

    source: str
    split: str
    docs_page: str
    num_records: int = 0
    num_expected: int = 0
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    listing: Path | None = None
    problem: str | None = None
    without_them: str = ""
    optional: bool = False

    @property
    def healthy(self) -> bool:
        """Whether the split can be used as it is."""
        return self.problem is None and (self.optional or not self.faults)

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
        respelt = [fault for fault in self.faults if fault.kind == MISSING and spelt_otherwise(fault.path)]
        if respelt:
            rename = (
                f"Rename the {len(respelt):,} files that are there, but spelt otherwise (in other capitals, or another"
                f" form of Unicode), as {self.listing} has them"
            )
            left = len(self.faults) - len(respelt)
            fetch = f", fetch the other {left:,} that it lists again ({self.docs_page})" if left else ""
            return f"{rename}{fetch}, then run this again."
        if self.count(MISSING) == self.num_expected:
            return f"No image is there: {self.docs_page} says how to get them and where they belong."
        files = f"the {len(self.faults):,} files listed in {self.listing}"
        otherwise = f"; {self.without_them}" if self.without_them else ""
        return f"Fetch {files} again ({self.docs_page}), then run this again{otherwise}."


def check_splits(source: TripletSource | NewsSource, splits: Sequence[str] | None) -> None:
    """ValueError if one of the splits does not exist."""
    for split in splits or ():
        if split not in source.splits:
            raise ValueError(f"{source.name} has no split {split!r}; choose one of {', '.join(source.splits)}")


def find_and_list(
    paths: Iterable[Path], folder: Path, source: str, part: str, workers: int
) -> tuple[list[Fault], Path | None]:
    """The files that cannot be used, and the listing of them; verdicts are kept in `folder`.

    Raises:
        ValueError: the folder cannot be written to.
    """
    with writable(folder), KeptVerdicts(folder / "verdicts.jsonl") as kept:
        faults = find_faults(paths, kept, workers, f"{source} {part}")
        return faults, write_listing(folder / source / f"{part}.txt", faults)


def write_listing(path: Path, faults: Sequence[Fault]) -> Path | None:
    """Write a line per fault: path, tab, kind and reason. Without faults there is no file, and None is returned."""
    if not faults:
        path.unlink(missing_ok=True)  # of an earlier look
        return None
    write_text(path, "".join(f"{fault.path}\t{fault.kind}: {fault.reason}\n" for fault in faults))
    return path


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turns what goes wrong with writing to the folder into a ValueError that says what to do."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"{folder} cannot be written to ({error.strerror}); name another folder: output=PATH"
        ) from None


def print_reports(reports: Sequence[SplitReport]) -> int:
    """Print all of it; returns 1 if anything is missing or unreadable, else 0."""
    console = PlainConsole(soft_wrap=True, highlight=False)
    console.print(_table(reports))
    for note in (note for report in reports for note in report.notes):
        console.print(f"Note: {note}")
    for step in dict.fromkeys(report.next_step for report in reports if not report.healthy):
        console.print(f"Next: {step}")
    if not all(report.healthy for report in reports):
        return 1
    pages = ", ".join(dict.fromkeys(report.docs_page for report in reports))
    everything = "everything that is needed" if any(report.faults for report in reports) else "everything"
    console.print(f"Next: {everything} is there and readable. {pages} shows how to train and evaluate on it.")
    return 0


def _table(reports: Sequence[SplitReport]) -> Table:
    table = Table(title="Images", title_justify="left", collapse_padding=True)
    columns = ("data", "split", "records", "expected", "found", MISSING, EMPTY, UNREADABLE)
    for column in columns:
        # A narrow terminal folds names, and never cuts digits.
        table.add_column(column, justify="left" if column in ("data", "split") else "right", overflow="fold")
    for report in reports:
        if report.problem is not None:
            table.add_row(report.source, report.split, *("-" for _ in columns[2:]))
            continue
        counts = (report.num_records, report.num_expected, report.num_expected - report.count(MISSING))
        faults = (report.count(kind) for kind in (MISSING, EMPTY, UNREADABLE))
        table.add_row(report.source, report.split, *(f"{count:,}" for count in (*counts, *faults)))
    return table
