"""A small network that reads pictures of rooms, trained once and kept: an annotator that errs as learned models do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diptych.storage.json_files import write_json
from diptych.storage.key import key_of
from diptych.synthetic.generated_folder import generate_folder
from diptych.synthetic.reader.lessons import Lessons, lessons, seen
from diptych.synthetic.reader.looks import Look, PairLook
from diptych.synthetic.reader.networks import SIDE, PairNetwork, PictureNetwork
from diptych.synthetic.reader.training import train_pair_network, train_picture_network
from diptych.synthetic.rooms.generate import ROOMS

log = logging.getLogger(__name__)

VERSION = 1  # of how readers are trained
_WEIGHTS, _MANIFEST = "model.safetensors", "reader.json"
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """What decides a reader: the channels of its first layer, its steps of training, the hotels that it learns from,
    and the seed of its weights and of the order of its lessons.

    Raises:
        ValueError: a number is too small.
    """

    width: int = 12
    steps: int = 600
    num_hotels: int = 750
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < (0 if name == "seed" else 1):
                raise ValueError(f"{name}={value} is too small for a reader")


class Reader:
    """Reads pictures with the networks in `folder`, which are trained there on first use: one for single pictures, one
    for pairs, each when it is first needed. Several processes may share the folder: one trains, the others wait.
    """

    def __init__(self, folder: Path, settings: ReaderSettings) -> None:
        self.folder, self.settings = folder, settings

    def look(self, picture: Image.Image) -> Look:
        """What it makes of a picture.

        Raises:
            ValueError: what lies in the folder is damaged, or something else.
        """
        network = self._of_picture  # trained outside of inference mode
        with torch.inference_mode():
            return _look(network(_tensor(picture)))

    def compare(self, before: Image.Image, after: Image.Image) -> PairLook:
        """What it makes of two pictures. Raises ValueError as `look`."""
        network = self._of_pair
        with torch.inference_mode():
            changed, old, new = network(_tensor(before), _tensor(after))
        return PairLook(changed[0].numpy(), _look(old), _look(new))

    @cached_property
    def _of_picture(self) -> PictureNetwork:
        return self._network("picture", PictureNetwork, train_picture_network)

    @cached_property
    def _of_pair(self) -> PairNetwork:
        return self._network("pair", PairNetwork, train_pair_network)

    def _network(
        self, kind: str, make: Callable[[int], Network], train: Callable[[Lessons, int, int, int], Network]
    ) -> Network:
        settings = self.settings
        manifest = {"version": VERSION, "rooms_version": ROOMS.version, "kind": kind, "side": SIDE, **asdict(settings)}
        folder = self.folder / f"{kind}-{key_of(manifest)}"

        def write(partial: Path) -> None:
            drawn = lessons(self.folder / f"lessons-{settings.num_hotels}", settings.num_hotels)
            log.info("training the reader's %s network: %s", kind, _words(asdict(settings)))
            trained = train(drawn, settings.width, settings.steps, settings.seed)
            save_file(trained.state_dict(), partial / _WEIGHTS)
            write_json(partial / _MANIFEST, manifest)

        generate_folder(folder, "reader", _MANIFEST, manifest, write)
        with torch.device("meta"):  # no weights are drawn for it
            network = make(settings.width)
        try:
            network.load_state_dict(load_file(folder / _WEIGHTS), assign=True)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ValueError(f"{folder} holds no whole network ({error}); remove it, and it is trained again") from None
        return network.eval().requires_grad_(False)


def _look(logits: tuple[Tensor, ...]) -> Look:
    return Look([values[0].log_softmax(0).numpy() for values in logits])


def _tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(seen(picture).copy())[None]


def _words(settings: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in settings.items())
