"""Configs of a stranger: out of a checkpoint, or of a run that is resumed. They are read as plain data, and may ask
for nothing outside themselves: no variable of the environment, no resolver that reads.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from diptych.config.allowed_classes import trusted_names
from diptych.config.checking import check_untrusted
from diptych.config.earlier_configs import upgraded
from diptych.config.plain_config import leaves
from diptych.storage.yaml_files import MOST_VALUES, read_yaml, yaml_value

log = logging.getLogger(__name__)

_INTERPOLATION = re.compile(r"\$\{([^{}$]*)\}")
_NO_KEY = re.compile(r"[.\[\]=$\\]")  # what means a way to a key, where settings are named
_REFERENCE = re.compile(r"\.*\w[\w.\[\]]*")  # another setting, ${system.model.name} or ${..seed}
_SELECTED = re.compile(r"oc\.select:(\w[\w.]*)(?:,\s*null)?")
_HARMLESS = re.compile(r"dataset_root:[\w.-]+|cores:\d{1,2}|precision:[\w-]+|hydra:runtime\.output_dir")
_VARIABLE = re.compile(r"oc\.env:(\w+)(?:,[^,]*)?")
_OURS = ("DIPTYCH_DATA", "DIPTYCH_RUNS")
_DEEPEST = 200  # settings that name settings that name settings
_LONGEST = 2**20  # characters of all that interpolations put together


SECTIONS = ("system", "data", "trainer", "callbacks", "logger")  # of a run, that a training builds
TRUST_ADVICE = (
    "If it is your own: trust_run=true, or DIPTYCH_TRUST=PACKAGE for classes of your own (docs/python.md,"
    ' "What a stranger\'s file can do")'
)


def read_config(text: str, name: str) -> DictConfig:
    """The unresolved config in a YAML text of a stranger's, in this version's names; errors call the text `name`.

    Its interpolations name other settings, `dataset_root`, or the variables DIPTYCH_DATA and DIPTYCH_RUNS; those that
    DIPTYCH_TRUST lists as `env:NAME` may be named too. Resolved it is bounded, however its settings name each other.

    Raises:
        ValueError: it is no YAML, no section of settings, or asks for anything else; names the key.
    """
    plain = _settings(yaml_value(text, name), name)
    check_interpolations(plain, name)
    with one_sentence(name):
        return upgraded(OmegaConf.create(plain))


def config_of_run(path: Path, trusted: bool) -> DictConfig:
    """The unresolved config in a run's folder, in this version's names. Unless it is `trusted`, it is one that a
    stranger's may be: it may build what a checkpoint's may, and the trainer, callbacks and loggers of this package,
    which send nothing.

    Raises:
        ValueError: it is no config, or is not trusted and says more; names the key, and how to trust it.
    """
    plain = _settings(read_yaml(path), str(path), ("system", "data", "trainer"))
    if trusted:
        return upgraded(OmegaConf.create(plain))
    check_links(path.parent)
    try:
        check_interpolations(plain, str(path))
        with one_sentence(str(path)):
            config = upgraded(OmegaConf.create(plain))
            check_untrusted(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]))
            _keep_offline(config, path)
    except ValueError as error:
        raise ValueError(f"{error}\n{TRUST_ADVICE}") from error
    return config


@contextmanager
def one_sentence(name: str) -> Iterator[None]:
    """Errors of the block, which looks at a stranger's settings, are ValueErrors of one sentence that begin with the
    `name` of what holds them.
    """
    try:
        yield
    except (OmegaConfBaseException, AttributeError, TypeError, LookupError, RecursionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{name} is not the settings of a run ({reason}); nothing was built") from error


def _settings(plain: Any, name: str, required: Sequence[str] = ("system",)) -> dict[str, Any]:
    if not isinstance(plain, dict):
        kind = "list" if isinstance(plain, list) else type(plain).__name__
        raise ValueError(f"{name} holds a {kind}, not the settings of a run; nothing was built")
    for key in ("system", "data", "trainer"):
        if not isinstance(plain.get(key, None if key in required else {}), dict):
            raise ValueError(f"{name} is not the settings of a run (it has no section {key!r}); nothing was built")
    return plain


def _keep_offline(config: DictConfig, path: Path) -> None:
    """A tracker of a stranger's run keeps to this machine: it would send the user's numbers, under the user's account,
    where the run says.
    """
    for name, node in (config.get("logger") or {}).items():
        if node.get("offline", True) is not True:
            log.warning("%s: logger.%s.offline is set to true; to send it: logger.%s.offline=false", path, name, name)
            node.offline = True


def check_links(folder: Path) -> None:
    """ValueError for a link in a run's or sweep's folder that leads out of it: what is written there would go there."""
    for place, names, files in os.walk(folder):
        for entry in (Path(place, name) for name in (*names, *files)):
            if entry.is_symlink() and not entry.resolve().is_relative_to(folder.resolve()):
                raise ValueError(
                    f"{entry} is a link out of {folder}, and what is written there would leave it\n{TRUST_ADVICE}"
                )


def check_interpolations(plain: dict[str, Any], name: str) -> None:
    """See `read_config`, which does it; ValueError names the key."""
    variables = {*_OURS, *(entry.removeprefix("env:") for entry in trusted_names() if entry.startswith("env:"))}
    for path, value in leaves(plain):
        if isinstance(value, dict) and (odd := next((key for key in value if _NO_KEY.search(str(key))), None)):
            raise ValueError(f"{name}: {path}: {odd[:80]!r} is no key of settings; nothing was built")
        if not isinstance(value, str) or "${" not in value:
            continue
        asked = _INTERPOLATION.findall(value)
        if len(asked) != value.count("${") or "\\" in value:
            raise ValueError(f"{name}: {path}: {value!r} is an interpolation inside a value; nothing was built")
        if path.rpartition(".")[2] == "_target_":
            raise ValueError(f"{name}: {path}: {value!r} is no class; nothing was built")
        for expression in asked:
            variable = _VARIABLE.fullmatch(expression.strip())
            if variable and variable[1] not in variables:
                raise ValueError(
                    f"{name}: {path}: {value!r} asks for the environment variable {variable[1]}, which a stranger's"
                    f" config may not; nothing was built. (If it is yours: DIPTYCH_TRUST=env:{variable[1]})"
                )
            if not variable and not any(
                kind.fullmatch(expression.strip()) for kind in (_REFERENCE, _SELECTED, _HARMLESS)
            ):
                raise ValueError(f"{name}: {path}: {value!r} may not stand in a stranger's config; nothing was built")
    _Sizes(plain, name).of(plain, "", ())


class _Sizes:
    """How large what interpolations repeat becomes, without making it: settings that name each other twice, and so on,
    double each time.
    """

    def __init__(self, root: Any, name: str) -> None:
        self._root, self._name = root, name
        self._known: dict[str, tuple[int, int]] = {}

    def of(self, node: Any, path: str, on_the_way: tuple[str, ...]) -> tuple[int, int]:
        """Values and characters of what lies at `path`, resolved; ValueError when it is too much, or never ends."""
        if path in self._known:
            return self._known[path]
        if path in on_the_way or len(on_the_way) > _DEEPEST:
            raise ValueError(f"{self._name}: {path} is an interpolation of itself, or never ends; nothing was built")
        way = (*on_the_way, path)
        values, characters = 1, 0
        if isinstance(node, dict | list):
            items = node.items() if isinstance(node, dict) else enumerate(node)
            parts = [self.of(item, f"{path}.{key}" if path else str(key), way) for key, item in items]
        elif isinstance(node, str):
            characters = len(node)
            parts = [self._at(place, way) for place in self._named(node, path)]
        else:
            parts = []
        values += sum(part[0] for part in parts)
        characters += sum(part[1] for part in parts)
        if values > MOST_VALUES or characters > _LONGEST:
            raise ValueError(f"{self._name}: {path or 'all'}: its interpolations repeat too much; nothing was built")
        self._known[path] = values, characters
        return values, characters

    def _named(self, text: str, path: str) -> list[str]:
        found = []
        for expression in _INTERPOLATION.findall(text):
            selected = _SELECTED.fullmatch(expression.strip())
            place = selected[1] if selected else expression.strip()
            if ":" in place:
                continue
            place = re.sub(r"\[(\w+)\]", r".\1", place)
            upwards = len(place) - len(place.lstrip("."))
            if upwards:
                place = ".".join([*path.split(".")[:-upwards], place.lstrip(".")])
            found.append(place)
        return found

    def _at(self, place: str, way: tuple[str, ...]) -> tuple[int, int]:
        node, path = self._root, ""
        for key in place.split("."):
            path = f"{path}.{key}" if path else key
            if isinstance(node, dict):
                node = node.get(key)
            elif isinstance(node, list):
                node = node[int(key)] if key.isdigit() and int(key) < len(node) else None
            if isinstance(node, str) and "${" in node and path != place:  # the way leads through an interpolation
                return self.of(node, path, way)
        return self.of(node, place, way)
