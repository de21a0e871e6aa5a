"""Reads the file of a study, `conf/study/<name>.yaml`, and makes the plan of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from diptych.config.checking import suggest
from diptych.config.command_line import composed, explain
from diptych.config.folder import CONFIG_FOLDER
from diptych.config.override_words import as_meant
from diptych.config.plain_config import leaves, plain_section
from diptych.storage.json_shapes import Count, Finite, fault_of
from diptych.studying.derived import Derived
from diptych.studying.hypotheses import Hypothesis
from diptych.studying.plan import KINDS, Study, WrittenStep, arms_and_steps

_STEPS = [{str: object}]
_SHAPE = {
    "name": str,
    "question": str,
    "hypotheses": [{"metric": str, "arm": str, "control?": str, "direction": str, "least": Finite}],
    "metrics": [str],
    "derived": {str: {"take": str, "of": [str]}},
    "control": str,
    "seeds": [Count],
    "size": dict,
    "quick": dict,
    "before": _STEPS,
    "arms": {str: (_STEPS, None)},
    "dial": {"says?": str, "of?": {str: Finite}},
    "limits": str,
    "minutes": {"quick?": Finite, "full?": Finite},
    "needs?": str,
}
_NAME = re.compile(r"[A-Za-z_][\w.-]*")


def study_file(name: str, own: Path | None) -> Path:
    """The file of the study; `own` is a folder of the user's configs, which may have it.

    Raises:
        ValueError: there is no such study; offers the nearest.
    """
    known = study_files(own)
    if name not in known:
        raise ValueError(f"there is no study {name!r}.{suggest(name, ['all', *known])}")
    return known[name]


def study_files(own: Path | None) -> dict[str, Path]:
    """All studies by name, those of the user's folder too."""
    folders = [folder / "study" for folder in (own, CONFIG_FOLDER) if folder is not None]
    found = {path.stem: path for folder in reversed(folders) for path in folder.glob("*.yaml")}
    return dict(sorted(found.items()))


def read_study(
    name: str, overrides: Sequence[str], quick: bool, own: Path | None = None
) -> tuple[Study, DictConfig, list[str]]:
    """The study as planned; its `cluster`, to be built; and the hypotheses left out, whose arms this size leaves out.

    Of `overrides` those of the cluster are Hydra's; the others set keys of the file. `quick` has the file's own keys
    for it before them.

    Raises:
        ValueError: a key is unknown, or missing, or something is of the wrong form; names the file and the place.
    """
    path = study_file(name, own)
    config_dir = [] if own is None else [f"config_dir={own}"]
    of_cluster = [word for word in overrides if word.lstrip("+~").split("=")[0].split(".")[0] == "cluster"]
    config = composed("study", [f"study={name}", *of_cluster, *config_dir])
    where = f"study/{path.name}"
    try:
        cluster = config.cluster
        config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "cluster"])
        _check_free_keys(config, where)
        if quick:
            _check_known(config.quick, config, f"{where}: quick")
            config = cast(DictConfig, OmegaConf.merge(config, config.quick))
        for word in overrides:
            if word not in of_cluster:
                _set(config, as_meant(word), where)
        plain = plain_section(config)
    except OmegaConfBaseException as error:
        raise ValueError(f"{where}: {explain(error, 'study', list(overrides))}") from error
    if (fault := fault_of(plain, _SHAPE, where)) is not None:
        raise ValueError(fault)
    study, left_out = _planned(plain, quick, where)
    if study.name != name:
        raise ValueError(f"{where}: its name is {study.name!r}; a study has the name of its file")
    return study, cluster, left_out


def needs_of(name: str, own: Path | None) -> str | None:
    """What the study needs that nobody can generate, from its file alone."""
    content = OmegaConf.load(study_file(name, own))
    return content.get("needs") if isinstance(content, DictConfig) else None


def _planned(plain: Mapping[str, Any], quick: bool, where: str) -> tuple[Study, list[str]]:
    size = "quick" if quick else "full"
    written = _whole_arms({arm: steps for arm, steps in plain["arms"].items() if steps is not None}, where)
    _check_arms(plain, written, where)
    hypotheses, left_out = [], []
    for number, given in enumerate(plain["hypotheses"], start=1):
        at = f"{where}: hypothesis {number}"
        one = _hypothesis({"control": plain["control"], **given}, at)
        for arm in (one.arm, one.control):
            if arm not in plain["arms"]:
                raise ValueError(f"{at}: there is no arm {arm!r}.{suggest(arm, list(plain['arms']))}")
        if {one.arm, one.control} <= written.keys():
            hypotheses.append(one)
        else:
            left_out.append(one.says or f"{one.metric} of {one.arm}")
    before = [_step(step, f"{where}: before, step {place}") for place, step in enumerate(plain["before"], start=1)]
    first = len(before) + 1
    own = {
        arm: [_step(step, f"{where}: arm {arm}, step {place}") for place, step in enumerate(steps, start=first)]
        for arm, steps in written.items()
    }
    arms, steps = arms_and_steps(before, own, plain["seeds"], where)
    study = Study(
        name=plain["name"],
        question=plain["question"],
        hypotheses=tuple(hypotheses),
        metrics=tuple(plain["metrics"]),
        control=plain["control"],
        seeds=tuple(plain["seeds"]),
        size=plain["size"],
        quick=quick,
        limits=plain["limits"],
        arms=arms,
        steps=steps,
        minutes=plain["minutes"].get(size),
        dial={arm: number for arm, number in plain["dial"].get("of", {}).items() if arm in written},
        dial_name=plain["dial"].get("says", ""),
        derived=_derived(plain["derived"], f"{where}: derived"),
    )
    return study, left_out


def _whole_arms(arms: Mapping[str, list[dict[str, Any]]], where: str) -> dict[str, list[dict[str, Any]]]:
    """Every arm with the steps of the one that it goes on from: `after: ARM` stands for its steps, `again: ARM` for
    these and then for those once more that are the arm's own, behind its own `after` or `again`.

    Raises:
        ValueError: there is no such arm, or it goes on from itself.
    """

    def parts(arm: str, on: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The steps that it goes on from, and its own."""
        steps = arms[arm]
        first = steps[0] if steps else {}
        word = next((one for one in ("after", "again") if list(first) == [one]), None)
        if word is None:
            return [], steps
        other = str(first[word])
        at = f"{where}: arm {arm} goes on from {other!r}"
        if other not in arms:
            raise ValueError(f"{at}, and there is no such arm, or it is left out.{suggest(other, list(arms))}")
        if other in on:
            raise ValueError(f"{at}, which goes on from itself")
        before, own = parts(other, (*on, other))
        return [*before, *own], [*(own if word == "again" else []), *steps[1:]]

    return {arm: [step for part in parts(arm, (arm,)) for step in part] for arm in arms}


def _hypothesis(given: Mapping[str, Any], at: str) -> Hypothesis:
    try:
        return Hypothesis(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{at}: {error}") from None


def _derived(given: Mapping[str, Mapping[str, Any]], at: str) -> dict[str, Derived]:
    found = {}
    for name, one in given.items():
        if unmeasured := given.keys() & set(one["of"]):
            raise ValueError(f"{at}: {name}: {min(unmeasured)} is derived itself; name metrics that are measured")
        try:
            found[name] = Derived(one["take"], tuple(one["of"]))
        except ValueError as error:
            raise ValueError(f"{at}: {name}: {error}") from None
    return found


def _check_arms(plain: Mapping[str, Any], arms: Mapping[str, Any], where: str) -> None:
    for name in arms:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{where}: arm {name!r}: a name is letters, digits, dots, dashes, and begins with a letter"
            )
    if plain["control"] not in arms:
        raise ValueError(f"{where}: control: there is no arm {plain['control']!r}; the arms are {', '.join(arms)}")
    if unknown := [arm for arm in plain["dial"].get("of", {}) if arm not in plain["arms"]]:
        raise ValueError(f"{where}: dial: there is no arm {unknown[0]!r}")
    seeds = plain["seeds"]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"{where}: seeds={seeds}: name at least one, and each once")
    empty = [arm for arm, steps in arms.items() if not steps or "serve" in steps[-1]]
    if empty:
        raise ValueError(f"{where}: arm {empty[0]} ends in no step that has results: train, evaluate or pipeline")


def _step(given: Mapping[str, Any], at: str) -> WrittenStep:
    kinds = [key for key in given if key != "as"]
    if len(kinds) != 1 or kinds[0] not in KINDS:
        raise ValueError(f"{at}: a step is one of {', '.join(KINDS)} with its words, found {', '.join(given) or '{}'}")
    kind, name = kinds[0], given.get("as", kinds[0])
    words = [given[kind]] if isinstance(given[kind], str) else given[kind]
    if isinstance(words, list):  # a key of the file may hold several words
        words = [word for one in words for word in (one if isinstance(one, list) else [one])]
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f'{at} ({kind}): its words are a list of texts, as in [data=rooms, "seed=<seed>"]: {words!r}')
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{at} ({kind}): as: {name!r}: a name is letters, digits, dots, dashes, first a letter")
    return WrittenStep(kind, tuple(words), name)


def _check_free_keys(config: DictConfig, where: str) -> None:
    """A key that is none of every study's must be used by its words, or it is a mistake."""
    known = [str(key) for key in OmegaConf.load(CONFIG_FOLDER / "study.yaml") if key != "defaults"]
    text = str(OmegaConf.to_container(config, resolve=False))
    for key in map(str, config):
        if key not in known and f"${{{key}" not in text:
            raise ValueError(f"{where}: unknown key {key!r}, which no word uses either.{suggest(key, known)}")


def _check_known(part: DictConfig, config: DictConfig, at: str) -> None:
    for key in map(str, part):
        if key not in config:
            raise ValueError(f"{at}: unknown key {key!r}.{suggest(key, [str(one) for one in config])}")


def _set(config: DictConfig, word: str, where: str) -> None:
    """Sets what an override of the command line says."""
    try:
        change = OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise ValueError(f'{word}: {error}; in a list a text with = is quoted: asker=["asker=reader"]') from None
    key = str(change.key_or_group)
    known = [name for name, _ in leaves(plain_section(config, resolve=False))]
    if change.is_delete() or change.is_sweep_override() or change.package is not None:
        raise ValueError(f"{word}: a study takes key=value for the keys of {where}; arms.NAME=null leaves an arm out")
    if key not in known:
        raise ValueError(f"unknown key {key!r} of {where}.{suggest(key, known)}")
    OmegaConf.update(config, key, change.value(), force_add=True)
