"""What each command without Hydra takes: its signature is the command line, its docstring the help.

Nothing slow is imported here: a mistake is answered at once, and the work is imported with the call.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

from diptych.config.folder import CONFIG_FOLDER
from diptych.extras import require
from diptych.text.printable import printable


def doctor(
    *overrides: str,
    data: Annotated[str | None, "a dataset, data=cirr, or several, 'data=[cirr,hotel_cir]'"] = None,
    run: Annotated[Path | None, "or a run, or any folder: checkpoints, predictions and caches below it"] = None,
    checksums: Annotated[bool, "of run: read all of them, and compare the checksums"] = False,
    split: Annotated[str | None, "one split; all of them unless given"] = None,
    output: Annotated[Path | None, "a folder for lists of what is missing"] = None,
    workers: Annotated[int | None, "processes that decode pictures; one a processor unless given"] = None,
    database: Annotated[bool, "of news: decode the photos printed with articles, too"] = False,
    contents: Annotated[
        bool | None, "of triplets: what is there twice, leaks or is cut; of your own unless given"
    ] = None,
) -> int:
    """Is everything that a run needs there and readable? Counts, compares with the published counts, and opens every
    picture. Exit status 1 if something is missing. Further settings are those of train, as data.root=PATH. With run=
    looks whether what was written there is damaged.
    """
    if run is not None:
        if data is not None:
            raise ValueError("data= and run= are two looks: name one of them")
        from diptych.commands.doctor_stores import examine_stores

        return examine_stores(run, checksums)
    if data is None:
        raise ValueError("data=... is missing; usage: diptych doctor data=NAME, or run=FOLDER")
    from diptych.config.command_line import composed

    config = composed("train", [f"data={data}", *overrides])
    from diptych.commands.doctor import examine_data

    return examine_data(config, split, output, workers, database, contents, [f"data={data}", *overrides])


def env() -> None:
    """What decides how Diptych runs here: versions, extras, processors, GPUs, memory, disk, models that are fetched. To
    be pasted into a report of a fault; nothing of it is secret, but paths of this machine are in it.
    """
    from diptych.commands.environment import as_text, environment

    sys.stdout.write(printable(as_text(environment())))


def fetch(
    *overrides: str,
    out: Annotated[Path, "the folder; what is there already is not fetched again"],
    dry_run: Annotated[bool, "say what would be fetched, and fetch nothing"] = False,
) -> None:
    """All that an experiment wants from a network, for machines that have none: weights, tokenizers, models of spaCy,
    in one folder with a manifest. Further settings are those of train, as experiment=cir_cirr, or of a pipeline,
    pipeline=caption_news data=openevents. At the end it says what to set on those machines.
    """
    kinds = {word.partition("=")[0] for word in overrides}
    if not kinds & {"experiment", "pipeline"}:
        raise ValueError("say whose models: experiment=NAME, or pipeline=NAME with data=NAME")
    from diptych.commands.fetching import fetch_models, models_of

    needs = models_of(overrides, "train" if "experiment" in kinds else "pipeline")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if dry_run:
        sys.stdout.write("".join(f"{need.kind} {need.name}, for {', '.join(need.keys)}\n" for need in needs))
        return
    sys.stdout.write(f"{fetch_models(needs, out)}\n")


def search(
    *,
    ckpt: Annotated[Path, "a checkpoint of a retrieval model, or a run directory (its best one)"],
    images: Annotated[Path | None, "the folder to search; what did not change since is not embedded again"] = None,
    index: Annotated[Path | None, "a file for its index, or an index alone; in data/searched unless given"] = None,
    image: Annotated[Path | None, "a picture to search with"] = None,
    text: Annotated[str, "what it should be like instead, or a text alone"] = "",
    k: Annotated[int, "so many results"] = 10,
    out: Annotated[Path | None, "a folder for a page of the results, and a picture of them"] = None,
    on_missing: Annotated[Literal["error", "drop"], "of pictures that cannot be read"] = "error",
    device: Annotated[str | None, "cpu, cuda:1; the GPU, if there is one, unless given"] = None,
) -> None:
    """Pictures like a given one, changed as a text says: diptych search ckpt=runs/cir_rooms/latest images=photos
    image=bed.jpg text="with green cushions". Each result has its places by the picture and by the text alone beside it.
    With images= alone the folder is indexed, and nothing else.
    """
    if images is None and index is None:
        raise ValueError("say what to search: images=FOLDER, or index=FILE of an earlier search")
    if image is None and not text and (images is None or out is not None):
        raise ValueError('say what to search for: image=FILE, text="...", or both')
    if image is not None and not image.is_file():
        raise ValueError(f"image={image}: there is no such file")
    if k < 1:
        raise ValueError(f"k={k} must be at least 1")
    from diptych.commands.search import search_pictures

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    search_pictures(ckpt, images, index, image, text, k, out, on_missing, device)


def caption(
    *,
    ckpt: Annotated[Path, "a checkpoint of a captioning model, or a run directory (its best one)"],
    photo: Annotated[Path, "the picture to caption"],
    article: Annotated[Path | None, "its article: a text file, or JSON with text, title, date"] = None,
    title: Annotated[str, "the headline of an article that is a text file"] = "",
    date: Annotated[str, "its date, as 2022-02-27"] = "",
    base_caption: Annotated[str, "what the photo shows, in a sentence: the model sees no pixels"] = "",
    out: Annotated[Path | None, "a file for all of it, as JSON"] = None,
    device: Annotated[str | None, "cpu, cuda:1; the GPU, if there is one, unless given"] = None,
) -> None:
    """The caption of one news photo, the parts of the article that it was written from, and what of it they do not
    state: diptych caption ckpt=runs/fuser_newsroom/latest photo=bridge.jpg article=bridge.txt title="Bridge opens"
    base_caption="A ribbon across a road."
    """
    for name, path in (("photo", photo), ("article", article)):
        if path is not None and not path.is_file():
            raise ValueError(f"{name}={path}: there is no such file")
    if article is None and (title or date):
        raise ValueError("title= and date= are of an article, of which article=FILE is the text")
    from diptych.commands.caption import caption_photo

    sys.stdout.write(caption_photo(ckpt, photo, article, title, date, base_caption, out, device))


def app(
    *,
    ckpt: Annotated[Path | None, "a checkpoint of a retrieval model, or a run directory (its best one)"] = None,
    images: Annotated[Path | None, "the folder to search; what did not change since is not embedded again"] = None,
    compare: Annotated[Path | None, "a second checkpoint, whose results are shown beside those of ckpt"] = None,
    captioner: Annotated[Path | None, "a checkpoint of a captioning model, for a tab of captions"] = None,
    on_missing: Annotated[Literal["error", "drop"], "of pictures that cannot be read"] = "error",
    host: Annotated[str, "0.0.0.0 lets other machines in; there is no password"] = "127.0.0.1",
    port: Annotated[int | None, "the first free one from 7860 on unless given"] = None,
    device: Annotated[str | None, "cpu, cuda:1; the GPU, if there is one, unless given"] = None,
) -> None:
    """A page in the browser to try models in: diptych app ckpt=runs/cir_rooms/latest images=photos. Drop a picture,
    type what should be different, see ten results beside those of the picture and of the text alone, click one to go
    on from it. With captioner= also captions of a photo and its article. It needs no internet, and sends nothing out.
    """
    if (ckpt is None) != (images is None):
        raise ValueError("a search needs both, ckpt=CHECKPOINT and images=FOLDER")
    if ckpt is None and captioner is None:
        raise ValueError("say what to try: ckpt=CHECKPOINT and images=FOLDER, captioner=CHECKPOINT, or all three")
    if compare is not None and ckpt is None:
        raise ValueError("compare= is shown beside ckpt=, which is missing")
    require("gradio")
    from diptych.commands.app import open_page

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    checkpoints = [each for each in (ckpt, compare) if each is not None]
    open_page(checkpoints, images, captioner, on_missing, host, port, device)


def export(
    *,
    ckpt: Annotated[Path, "a checkpoint, a run directory (its best one), or a folder that was exported"],
    out: Annotated[Path | None, "the folder to write, new or empty"] = None,
    onnx: Annotated[bool, "of retrieval: ONNX files too, compared with torch before they count"] = False,
    license: Annotated[str | None, "of retrieval: of the weights, for the card: mit, cc-by-nc-4.0"] = None,
    metrics: Annotated[list[Path] | None, "of retrieval: evaluations for the card; its run's own unless given"] = None,
    push: Annotated[str | None, "of retrieval: send it to the Hub, USER/NAME; without a token only say what"] = None,
    merge: Annotated[bool, "of captions: a whole model with the adapter in it, not the adapter alone"] = False,
    dtype: Annotated[
        Literal["bfloat16", "float16", "float32"] | None, "of captions: of merged weights; bfloat16 unless given"
    ] = None,
) -> None:
    """A trained model for others. Of retrieval: a folder of safetensors, config and model card, which search and
    evaluate take as ckpt=. Of captions: a PEFT folder, which vLLM reads too, or a merged model, whose logits are
    compared with the adapter's. Nothing is sent anywhere without push=.
    """
    from diptych.commands.export import export as write

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    done = write(ckpt, out, merge, dtype, onnx, license, metrics or (), push)
    sys.stdout.write(printable(f"{done}\n"))


def import_released(
    *overrides: str,
    out: Annotated[Path, "what to write, which must not be there: a folder; of dataset= FILE.jsonl"],
    adapter: Annotated[Path | None, "a PEFT adapter of a language model"] = None,
    model: Annotated[Path | None, "or a whole one, merged for example; with experiment=NAME, as adapter="] = None,
    good4cir: Annotated[Path | None, "or a checkpoint that the released good4cir code has trained"] = None,
    dataset: Annotated[Path | None, "or a Parquet file, or a folder of them or of datasets.save_to_disk"] = None,
    columns: Annotated[list[str] | None, "of dataset=: other names, [edit_prompt:text,edited_image:target]"] = None,
    data: Annotated[str | None, "what it is evaluated on unless evaluate is told otherwise; of good4cir: cirr"] = None,
    heads: Annotated[int | None, "of the fusion; those in the file, else 8, unless given"] = None,
    vision_heads: Annotated[int | None, "of the image tower; asked for where its size is none of the release's"] = None,
    text_heads: Annotated[int | None, "of the text tower; likewise"] = None,
    activation: Annotated[Literal["quick_gelu", "gelu"] | None, "of both towers; likewise"] = None,
) -> None:
    """A model of others as a run of ours, to be evaluated, searched or captioned with and compared like any other. Of
    an adapter and a language model experiment=NAME and further settings of train say the rest (docs/own_models.md).
    Files are read without running code. Or a table of triplets or captions with pictures in it as FILE.jsonl, with the
    pictures beside it, for data=FILE.jsonl (docs/own_data.md); interrupted, the same command goes on.
    """
    given = {"adapter": adapter, "model": model, "good4cir": good4cir, "dataset": dataset}
    if sum(path is not None for path in given.values()) != 1:
        raise ValueError("say what to import: one of adapter=FOLDER, model=FOLDER, good4cir=FILE, dataset=PATH")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if dataset is not None:
        if overrides or data or vision_heads or text_heads or heads or activation:
            raise ValueError("a dataset is imported with dataset=, out= and columns= alone: leave the others out")
        from diptych.commands.importing_tables import import_table

        written = import_table(dataset, out, columns or ())
        logging.getLogger(__name__).info("written; diptych doctor data=%s looks at it", written)
        return
    if columns:
        raise ValueError("columns= is of dataset=PATH: leave it out")
    if good4cir is None:
        if not any(word.startswith("experiment=") for word in overrides):
            raise ValueError("say which experiment's prompt and evidence it is used with: experiment=fuser_openevents")
        if vision_heads or text_heads or heads or activation:
            raise ValueError("heads, vision_heads, text_heads and activation are of good4cir=FILE: leave them out")
        from diptych.commands.importing_captioners import import_captioner

        words = [*overrides, *([f"data={data}"] if data else [])]
        logging.getLogger(__name__).info("written to %s", import_captioner(adapter, model, out, words))
        return
    if overrides:
        raise ValueError(f"{overrides[0]} is of adapter= and model=: leave it out")
    from diptych.commands.importing import import_good4cir
    from diptych.models.composers.good4cir_release import Unwritten

    unwritten = Unwritten(vision_heads, text_heads, activation, heads)
    logging.getLogger(__name__).info("written to %s", import_good4cir(good4cir, out, data or "cirr", unwritten))


def shards(
    *overrides: str,
    output: Annotated[Path, "the folder to write"],
    per_shard: Annotated[int, "triplets in one tar file"] = 1000,
    workers: Annotated[int | None, "processes that write; one a processor unless given"] = None,
) -> None:
    """Training triplets as tar files, which training reads in sequence: data/training=shards data.training.shards=DIR.
    Interrupted, the same command continues. Further settings are those of train: data=rooms, or experiment=NAME, and
    data.training.group_size=4, for example (docs/shards.md).
    """
    if not any(word.startswith(("data=", "experiment=")) for word in overrides):
        raise ValueError("say which triplets: data=rooms, for example, or experiment=cir_rooms")
    from diptych.config.command_line import composed

    config = composed("train", overrides)
    from diptych.commands.shards import convert_data

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.stdout.write(f"{convert_data(config, output, per_shard, workers)}\n")


def texts(
    *overrides: str,
    data: Annotated[str, "a dataset, data=cirr, or several, 'data=[cirr,hotel_cir]'"],
    split: Annotated[str, "whose triplets"] = "train",
    sample: Annotated[int, "texts that are compared with each other"] = 200,
    output: Annotated[Path | None, "a file for the numbers, as JSON"] = None,
) -> None:
    """How varied the modification texts of triplets are: how they begin, different words and pairs of words, how alike
    they are (self-BLEU), how long, and how many a text encoder of 77 tokens cuts. Further settings are those of train.
    """
    from diptych.config.command_line import composed

    config = composed("train", [f"data={data}", *overrides])
    from diptych.commands.texts import examine_texts

    sys.stdout.write(f"{examine_texts(config, split, sample, output)}\n")


def pairs(
    *overrides: str,
    data: Annotated[str, "a dataset, data=cirr, or several, 'data=[cirr,hotel_cir]'"],
    out: Annotated[Path, "the file to write, FILE.jsonl"],
    split: Annotated[str, "of which the pairs are"] = "train",
    images_root: Annotated[Path | None, "where the paths begin that are written; beside the file unless given"] = None,
    aspects: Annotated[list[str] | None, "only pairs of one of these: changes_2,changes_3"] = None,
    num_pairs: Annotated[int | None, "so many, drawn by `seed`; all unless given"] = None,
    without: Annotated[Path | None, "a folder of triplets that were made of such pairs: none of these"] = None,
) -> None:
    """The pairs of images of a triplet dataset, each once, for pipeline=annotate_triplets to write new texts for. Their
    ids are those of the dataset's records. Further settings are those of train, as data.root=PATH.
    """
    from diptych.config.command_line import composed

    config = composed("train", [f"data={data}", *overrides])
    from diptych.commands.pairs import write_pairs

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.stdout.write(f"{write_pairs(config, split, out, images_root, aspects or (), num_pairs, without)}\n")


def study(
    name: Annotated[str, "of conf/study, or `all` of them"],
    /,
    *overrides: str,
    quick: Annotated[bool, "at the size that the study's file has for a first look"] = False,
    dry_run: Annotated[bool, "print the plan, and run nothing"] = False,
    out: Annotated[Path | None, "the folder; runs/studies/NAME, or NAME_quick, unless given"] = None,
    config_dir: Annotated[Path | None, "configs of your own, with study/NAME.yaml among them"] = None,
) -> int:
    """An experiment of several arms: plans it, runs what is not done yet, judges its hypotheses, and leaves one page.
    Killed anywhere, the same command goes on. Further settings are keys of the study's file, as seeds=[0,1], and
    cluster=local|parallel|slurm (docs/studies.md). Exit status 1 if an arm has no result.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    own = None if config_dir is None else config_dir.absolute()
    from diptych.commands.studies import every_study, one_study

    if name == "all":
        return every_study(overrides, quick, dry_run, out, own)
    return one_study(name, overrides, quick, dry_run, out, own)


def recycle(
    *overrides: str,
    rounds: Annotated[int, "after the first"] = 3,
    controls: Annotated[bool, "beside each, as many random pairs, to compare with"] = True,
    dry_run: Annotated[bool, "print the plan, and run nothing"] = False,
    out: Annotated[Path | None, "the folder; runs/studies/recycle_ROUNDS unless given"] = None,
    config_dir: Annotated[Path | None, "configs of your own, with study/recycle.yaml among them"] = None,
) -> int:
    """A loop: pairs are annotated, a model is trained, and what it ranks above the targets of its own training pairs
    is annotated next; a table of the rounds says what each cost and brought. Killed anywhere, the same command goes on.
    Further settings are keys of the study `recycle`: size.pairs=1200, the pairs of a round, size.steps=300, seeds=[0],
    and whom to ask, 'asker=[...]' (docs/recycling.md). Exit status 1 if a round has no result.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from diptych.commands.studies import rounds_of_recycling

    own = None if config_dir is None else config_dir.absolute()
    return rounds_of_recycling(rounds, controls, overrides, dry_run, out, own)


def report(
    out: Annotated[Path | None, "the folder of a set that annotate_triplets made"] = None,
    /,
    *overrides: str,
    compare: Annotated[list[str] | None, "or two evaluations of composed image retrieval, as [DIR/a,DIR/b]"] = None,
    page: Annotated[Path | None, "of compare: the folder of the page; compared, in the second, unless given"] = None,
    prices: Annotated[Path | None, "of a set: a table of prices; the one among the configs unless given"] = None,
) -> None:
    """What stands behind a set of triplets, as a data card with what it cost. With compare= what got better and what
    got worse from the first evaluation to the second, by kind, with pictures of the queries whose targets moved most;
    runs that were not measured alike are refused. Their data is what metrics.json names; further settings are those of
    train, as data.root=PATH. Prints the path of what was written.
    """
    if (out is None) == (compare is None):
        raise ValueError("say either the folder of an annotated set, or compare=[DIR/a,DIR/b]")
    if compare is not None:
        if len(compare) != 2 or prices is not None:
            raise ValueError("two folders are compared, as compare=[DIR/a,DIR/b], and prices= is of an annotated set")
        from diptych.commands.comparing import compare_on_a_page

        logging.basicConfig(level=logging.INFO, format="%(message)s")
        first, second = map(Path, compare)
        sys.stdout.write(f"{compare_on_a_page(first, second, overrides, page or second / 'compared')}\n")
        return
    if out is None or overrides or page is not None:
        raise ValueError(f"{' '.join([*overrides, *['page='] * (page is not None)])}: goes with compare=[DIR/a,DIR/b]")
    _data_card(out, prices)


def _data_card(out: Path, prices: Path | None) -> None:
    from diptych.annotation.cost import Prices
    from diptych.models.backbones.clip import CLIPPreprocessing
    from diptych.report.data_card import write_data_card
    from diptych.storage.json_shapes import Finite, fault_of
    from diptych.storage.yaml_files import read_yaml

    path = prices or CONFIG_FOLDER / "prices.yaml"
    table = read_yaml(path)
    if (fault := fault_of(table, {"models": {str: {str: Finite}}})) is not None:
        raise ValueError(f"{path}: {fault}")
    sys.stdout.write(f"{write_data_card(out, Prices(table['models']), CLIPPreprocessing('ViT-B-32'))}\n")
