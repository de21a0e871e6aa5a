"""Commands of a user's in one process, one after the other, over files of a stranger's: what they said and did.

python hostile_words.py FOLDER   FOLDER/words.json has [[name, words], ...]; writes FOLDER/said.json, one entry for each
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import traceback
from pathlib import Path

sys.path += [str(folder) for folder in Path(__file__).resolve().parents if folder.name == "tests"]  # as a program

from canary import watched


def said_by(name: str, words: list[str], theirs: Path, *places: Path) -> dict[str, object]:
    from hydra.core.global_hydra import GlobalHydra

    from diptych.commands.main import run

    output, code, did = io.StringIO(), None, ""
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            with watched(theirs, *places):
                if name == "api":
                    from diptych.api.retriever import load_retriever

                    try:
                        load_retriever(words[0], device="cpu")
                        code = 0
                    except ValueError as error:
                        code = 1
                        output.write(f"error: {error}")
                else:
                    code = run(name, words)
        except SystemExit as end:
            code = end.code
        except AssertionError as error:
            did = str(error)
        except BaseException:
            did = traceback.format_exc()
    GlobalHydra.instance().clear()
    logging.getLogger().handlers.clear()
    return {"code": code, "said": output.getvalue(), "did": did}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    sys.path.append(str(folder / "theirs"))
    results = [
        said_by(name, words, folder / "theirs", folder / "mine", *([folder / "theirs"] if name == "train" else []))
        for name, words in json.loads((folder / "words.json").read_text())
    ]
    (folder / "said.json").write_text(json.dumps(results))
