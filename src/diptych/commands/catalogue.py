"""The commands of `diptych`, by name."""

from __future__ import annotations

from typing import NamedTuple

from diptych.config.short_names import OPEN_SECTIONS


class Command(NamedTuple):
    """`target` is `module:function`. With `config` Hydra composes that primary config for it, and keys of
    `open_sections` may be set freely; else the function's signature is the command line.
    """

    summary: str
    target: str
    config: str | None = None
    open_sections: tuple[str, ...] = ()


COMMANDS = {
    "train": Command("train an experiment, resume a run, or sweep", "diptych.commands.training:train", "train"),
    "evaluate": Command(
        "score a checkpoint, or a file of predictions",
        "diptych.commands.evaluation:evaluate",
        "evaluate",
        OPEN_SECTIONS["evaluate"],
    ),
    "pipeline": Command(
        "run stages: retrieve articles, caption, annotate",
        "diptych.commands.pipeline:run_pipeline",
        "pipeline",
        OPEN_SECTIONS["pipeline"],
    ),
    "doctor": Command("is everything that a run needs there and readable?", "diptych.commands.entries:doctor"),
    "env": Command("versions, processors, GPUs, disk: for a report of a fault", "diptych.commands.entries:env"),
    "fetch": Command("the models of an experiment, for a node without a network", "diptych.commands.entries:fetch"),
    "search": Command("search a folder of pictures with a trained model", "diptych.commands.entries:search"),
    "caption": Command("caption one photo with its article", "diptych.commands.entries:caption"),
    "app": Command("a page in the browser to search and caption in", "diptych.commands.entries:app"),
    "export": Command("a trained model as a folder for others, or for the Hub", "diptych.commands.entries:export"),
    "import": Command("a model of others as a run; a table with pictures", "diptych.commands.entries:import_released"),
    "shards": Command("training triplets as tar files", "diptych.commands.entries:shards"),
    "texts": Command("how varied the modification texts of triplets are", "diptych.commands.entries:texts"),
    "pairs": Command("the image pairs of a dataset, to annotate them anew", "diptych.commands.entries:pairs"),
    "sweep": Command("table and plot of a sweep; compare two runs", "diptych.sweeping.__main__:sweep"),
    "study": Command("plan, run and judge an experiment of several arms", "diptych.commands.entries:study"),
    "recycle": Command("annotate next what the model ranks wrongly, in rounds", "diptych.commands.entries:recycle"),
    "submission check": Command("does a file keep a test server's rules?", "diptych.submission.__main__:check"),
    "submission write": Command("EVENTA's submission.zip", "diptych.submission.__main__:write"),
    "review": Command("a page to accept and reject annotated pairs", "diptych.report.annotation_review:review"),
    "blind page": Command("a page to judge two annotations blindly", "diptych.report.blind_page:page"),
    "blind rates": Command("rates and agreement from what was marked on it", "diptych.report.blind_results:rates"),
    "report": Command("two evaluations on one page; a set's data card", "diptych.commands.entries:report"),
    "generate rooms": Command("draw the rooms set", "diptych.synthetic.rooms.generate:command"),
    "generate market": Command("draw the market set", "diptych.synthetic.market.generate:command"),
    "generate newsroom": Command("draw and write the newsroom set", "diptych.synthetic.newsroom.generate:command"),
}

FAMILIES = {  # whose members stand on one line of the listing
    "submission": "does a file keep a test server's rules? EVENTA's submission.zip",
    "blind": "a page to judge two annotations blindly; rates of what was marked on it",
    "generate": "draw a set that needs no download",
}


def members(family: str) -> list[str]:
    """The second words of the commands whose first is `family`."""
    return [name.split()[1] for name in COMMANDS if name.split()[0] == family and " " in name]
