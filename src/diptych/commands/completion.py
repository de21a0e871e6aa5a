"""Tab completion of `diptych` in bash and zsh: commands, keys, and the names of configs after `group=`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence

from diptych.commands.catalogue import COMMANDS
from diptych.config.folder import CONFIG_FOLDER

_BASH = """\
_diptych() {
    local IFS=$'\\n' word="${COMP_LINE:0:$COMP_POINT}"
    word="${word##* }"
    COMPREPLY=($(diptych completion words "${COMP_LINE:0:$COMP_POINT}" 2>/dev/null))
    [[ "$word" == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%%=*}="}")
    [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace
}
complete -o default -F _diptych diptych
"""
_ZSH = "autoload -Uz bashcompinit && bashcompinit\n" + _BASH


def script(words: Sequence[str]) -> int:
    """`diptych completion bash|zsh` prints what the shell evaluates; `... words LINE` what can stand next in LINE."""
    if words[:1] == ["words"] and len(words) == 2:
        sys.stdout.write("".join(f"{word}\n" for word in candidates(words[1])))
        return 0
    if list(words) not in (["bash"], ["zsh"]):
        sys.stderr.write('error: say for which shell: eval "$(diptych completion bash)", or zsh\n')
        return 2
    sys.stdout.write(_BASH if words[0] == "bash" else _ZSH)
    return 0


def candidates(line: str) -> list[str]:
    """The words that can stand at the end of a command line, its last word begun or empty."""
    *before, last = line.split(" ")[1:]
    said = " ".join(word for word in before if "=" not in word)
    name = next((name for name in COMMANDS if said == name), None)
    if name is None:
        begun = f"{said} " if said else ""
        offered = [full[len(begun) :].split()[0] for full in COMMANDS if full.startswith(begun)]
    else:
        offered = _settings(COMMANDS[name].config, COMMANDS[name].target, last)
    return sorted({word for word in offered if word.startswith(last)})


def _settings(config: str | None, target: str, begun: str) -> list[str]:
    if config is None:
        import importlib

        module, _, function = target.partition(":")
        parameters = inspect.signature(getattr(importlib.import_module(module), function)).parameters.values()
        offered = [f"{item.name}=" for item in parameters if item.kind is item.KEYWORD_ONLY]
        groups = ["data"]
    else:
        text = (CONFIG_FOLDER / f"{config}.yaml").read_text(encoding="utf-8")
        groups = re.findall(r"^  - (?:optional )?([\w/]+):", text, re.M)
        offered = [f"{key}=" for key in re.findall(r"^(\w+):", text, re.M) if key not in ("defaults", "hydra")]
    key, equals, _ = begun.partition("=")
    if equals and key in groups:
        return [f"{key}={path.stem}" for path in (CONFIG_FOLDER / key).glob("*.yaml")]
    return offered + [f"{group}=" for group in groups]
