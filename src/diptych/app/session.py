"""One person's dialogue with a search: what is asked with next, and the rounds before. Each visit of a page has one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Round:
    """What was searched with once: a picture, which people know as `name`, a text, or both."""

    picture: Path | None
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Session:
    """The picture that the next search starts from (None: a search by text alone), and the rounds so far.

    A round searches with its own picture and text alone, not with what was said before: the picture that was chosen
    among the results holds what the rounds before it have reached.
    """

    picture: Path | None = None
    name: str = ""
    rounds: tuple[Round, ...] = ()

    def begin(self, picture: Path, name: str) -> Session:
        """A new dialogue about another picture."""
        return Session(picture, name)

    def go_on(self, picture: Path, name: str) -> Session:
        """The next round starts from this picture, one of those that were found."""
        return replace(self, picture=picture, name=name)

    def ask(self, text: str) -> Session:
        """The session with a round of its picture and this text.

        Raises:
            ValueError: there is neither.
        """
        text = text.strip()
        if self.picture is None and not text:
            raise ValueError("Say what to search for: drop a picture, type a text, or both.")
        return replace(self, rounds=(*self.rounds, Round(self.picture, self.name, text)))

    def back_to(self, number: int) -> Session:
        """The session as it was after its round `number`, counted from 1; those behind it are forgotten.

        Raises:
            ValueError: there is no such round.
        """
        if not 1 <= number <= len(self.rounds):
            raise ValueError(f"There is no round {number}: there are {len(self.rounds)}.")
        last = self.rounds[number - 1]
        return Session(last.picture, last.name, self.rounds[:number])
