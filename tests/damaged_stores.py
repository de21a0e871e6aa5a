"""A small store of each kind, what is read from it, and ways to damage it."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

NUM_RECORDS = 4


@dataclass(frozen=True)
class Store:
    """`make` fills an empty folder; `read` opens what is there and gives all its content, of plain comparable values.

    Of a log that grows, a cut leaves what a kill leaves: the records before it.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    grows: bool = False


def damages(folder: Path, cuts: int, bits: int) -> Iterator[tuple[str, Path, int, int | None]]:
    """Names of damages, with file, byte and bit (None: the file ends before this byte), spread over all files."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"):
        size = path.stat().st_size
        name = path.relative_to(folder)
        for place in sorted({0, max(0, size - 1), *(size * number // cuts for number in range(cuts))} - {size}):
            yield f"{name} cut at {place}", name, place, None
        for number in range(bits if size else 0):
            place = size * number // bits + (number * 7) % max(1, size // bits)
            yield f"{name} bit {place}.{number % 8}", name, place, number % 8


def inflict(folder: Path, name: Path, place: int, bit: int | None) -> None:
    """Cuts the file, or turns the bit; its time of change stays, as a disk leaves it."""
    path = folder / name
    status, content = path.stat(), bytearray(path.read_bytes())
    if bit is None:
        del content[place:]
    else:
        content[place] ^= 1 << bit
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# ---------------------------------------------------------------------------------------------------- the kinds


def _log(folder: Path) -> Any:
    from diptych.storage.record_log import RecordLog

    return RecordLog(folder / "records.jsonl")


def _append_records(folder: Path) -> None:
    for number in range(NUM_RECORDS):
        _log(folder).append([{"query_id": f"photo {number}", "caption": f"Ein Bäcker, {number}", "score": number / 7}])


def _write_records(folder: Path) -> None:
    _log(folder).write(
        {"query_id": f"photo {number}", "caption": f"Bread {number}", "ids": [number] * 3} for number in range(4)
    )


def _records(folder: Path) -> Any:
    return list(_log(folder).read().values())


def _vectors() -> list[dict[str, Any]]:
    rows = np.random.default_rng(0).standard_normal((NUM_RECORDS, 6)).astype(np.float32)
    return [{"image_id": f"image {number}", "embedding": row} for number, row in enumerate(rows)]


def _fill_part(folder: Path) -> None:
    from diptych.index.embedding_store import EmbeddingStore

    for record in _vectors():
        EmbeddingStore(folder).append([record])


def _part(folder: Path) -> Any:
    """What a merge makes of it."""
    from diptych.index.embedding_store import EmbeddingStore

    store = EmbeddingStore(folder)
    ids = sorted(store.done())
    store.finish(ids)
    return list(zip(ids, _embeddings(folder)[1], strict=True))


def _fill_embeddings(folder: Path) -> None:
    from diptych.index.embedding_store import EmbeddingStore

    store = EmbeddingStore(folder)
    store.append(_vectors())
    store.finish([record["image_id"] for record in _vectors()])


def _embeddings(folder: Path) -> Any:
    from diptych.index.embedding_store import open_embeddings

    stored = open_embeddings(folder)
    return stored.ids, np.array(stored.vectors).tolist()


def _features() -> list[Any]:
    from diptych.contracts.models import ImageFeatures

    generator = torch.Generator().manual_seed(0)
    shapes = (3, 4), (5,), (4,)
    return [
        ImageFeatures(*(torch.randn(shape, generator=generator).half() for shape in shapes)) for _ in range(NUM_RECORDS)
    ]


def _shards(folder: Path) -> Any:
    from diptych.contracts.models import ImageFeatures
    from diptych.data.triplets.feature_cache import FeatureShards

    return FeatureShards(folder, ImageFeatures)


def _fill_features(folder: Path) -> None:
    _shards(folder).extend((f"{number}.jpg", (7, number), one) for number, one in enumerate(_features()))


def _read_features(folder: Path) -> Any:
    """Of those that are out of date or not there, what is computed again."""
    shards = _shards(folder)
    wanted = {f"{number}.jpg": (7, number) for number in range(NUM_RECORDS)}
    missing = shards.missing(wanted)
    found = [
        own if name in missing else shards.row(name) for (name, _), own in zip(wanted.items(), _features(), strict=True)
    ]
    return [{name: value.tolist() for name, value in vars(one).items()} for one in found]


def _prepare(folder: Path) -> None:
    from diptych.contracts.news import Chunk, Evidence, KeyFacts
    from diptych.data.news.fusion_cache import PreparedQuery, open_or_prepare

    def prepared(start: int, stop: int) -> list[PreparedQuery]:
        facts = KeyFacts(people=("Ada",))
        return [
            PreparedQuery(
                query_id=f"photo {number}",
                base_caption="A street.",
                evidence=Evidence(f"a{number}", chunks=(Chunk(0, "Ada came.", 0.5),), facts=facts, title="Ada"),
                reference_captions=("Ada came.",),
                prompt_ids=tuple(range(number + 3)),
                completion_ids=((7, 8, number),),
                gaps=("no_article",) if number == 1 else (),
            )
            for number in range(start, stop)
        ]

    open_or_prepare(folder, {"budget": 3}, NUM_RECORDS, prepared)


def _prompts(folder: Path) -> Any:
    from diptych.data.news.fusion_cache import FusionData

    (prepared,) = (path.parent for path in folder.glob("*/examples.npy"))
    data = FusionData(prepared)
    examples = [(one.query_id, one.prompt_ids, one.completion_ids) for one in map(data.__getitem__, range(len(data)))]
    lengths = [array.tolist() for array in (data.lengths, data.completion_lengths, data.first_examples)]
    return examples, lengths, data.query_ids, data.gaps, [asdict(query) for query in data.queries()]


ARTICLES = {
    f"a{number}": {
        "url": f"https://news.example/{number}",
        "title": f"Bread, day {number}",
        "content": f"The baker sells {number} loaves. " * 20,
        "date": "2024-01-02",
        "images": [f"i{number}", "i0"],
    }
    for number in range(NUM_RECORDS)
}


def _make_articles(folder: Path) -> None:
    from diptych.data.news.article_store import ArticleStore

    source = folder.with_name(f"{folder.name}-source") / "database.json"
    source.parent.mkdir(exist_ok=True)
    source.write_text(json.dumps(ARTICLES))
    ArticleStore.open(source, folder, show_progress=False)


def _articles(folder: Path) -> Any:
    from diptych.data.news.article_store import ArticleStore

    (file,) = folder.glob("*.sqlite")
    (source,) = folder.parent.glob("*-source/database.json")
    wanted = file.name
    store = ArticleStore.open(source, folder, show_progress=False)
    if store.file.name != wanted:  # the folder is a copy, and the name is the source's
        raise AssertionError(f"{store.file.name} is not {wanted}")
    articles = [asdict(article) for article in store.articles()]
    looked_up = [asdict(store[name]) for name in ARTICLES]
    printed = [store.article_ids_of_image(f"i{number}") for number in range(NUM_RECORDS)], "none" in store
    ids = list(store), list(store.image_ids())
    return articles, looked_up, printed, ids, store.gaps, len(store), store.num_images


class _Lengths:
    name = "lengths"

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.array([[len(text), ord(text[0]), 1, 2] for text in texts], np.float32).reshape(-1, 4)


SENTENCES = ["Ada came.", "Bread is sold.", "Cats sleep.", "Dogs bark at cats."]


def _encode(folder: Path) -> Any:
    from diptych.data.news.embedding_cache import CachedEncoder

    return CachedEncoder(_Lengths(), folder).encode(SENTENCES).tolist()


def _gallery(folder: Path) -> None:
    from diptych.api.gallery import Gallery
    from diptych.contracts.retrieval import GalleryImage

    rows = np.random.default_rng(0).standard_normal((2, NUM_RECORDS, 6)).astype(np.float32)
    images = [GalleryImage(f"{number}", Path(f"/images/{number}.jpg")) for number in range(NUM_RECORDS)]
    Gallery(images, {"model": rows[0], "baseline": rows[1]}, "abc", "best.ckpt").write(folder / "rooms.index")


def _read_gallery(folder: Path) -> Any:
    from diptych.api.gallery import gallery_of

    found = gallery_of(folder / "rooms.index", "abc", "best.ckpt")
    vectors = {name: array.tolist() for name, array in found.vectors.items()}
    return [(image.image_id, str(image.path)) for image in found.images], vectors, found.weights, found.checkpoint


def checkpoint() -> dict[str, Any]:
    from diptych.parallel import checkpoints

    generator = torch.Generator().manual_seed(0)
    weights = {"weight": torch.randn(5, 7, generator=generator), "bias": torch.zeros(5)}
    return {"state_dict": weights, "global_step": 7, checkpoints.KEY: {"format": 3, "config": "name: a\n"}}


def _save(folder: Path) -> None:
    from diptych.parallel.checkpoints import AtomicCheckpointIO

    AtomicCheckpointIO().save_checkpoint(checkpoint(), folder / "last.ckpt")


def save_in_pieces(folder: Path) -> None:
    """Saves it as several processes would, of which this is the only one."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    from diptych.parallel import sharded_checkpoints

    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    try:
        mesh, whole = init_device_mesh("cpu", (1,)), checkpoint()
        whole["state_dict"]["weight"] = distribute_tensor(whole["state_dict"]["weight"], mesh, [Shard(0)])
        sharded_checkpoints.save(whole, folder / "last.ckpt")
    finally:
        dist.destroy_process_group()


def _load(folder: Path) -> Any:
    from diptych.parallel import checkpoints

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = checkpoints.load(folder / "last.ckpt")
    weights = {name: value.tolist() for name, value in found["state_dict"].items()}
    return {**found, "state_dict": weights}


def _cache_pixels(folder: Path) -> Any:
    from diptych.contracts.models import ImageSpec
    from diptych.photos.prepared_cache import PreparedCache

    source = folder.with_name("picture.jpg")
    if not source.exists():
        source.write_bytes(b"a picture")
        os.utime(source, ns=(1, 1))
    cache = PreparedCache(folder, ImageSpec(size=8, mean=(0.0,) * 3, std=(1.0,) * 3), "fast")
    return cache.load_or_prepare(source, lambda _: torch.arange(192, dtype=torch.uint8).view(3, 8, 8)).tolist()


def _fill_ledger(folder: Path) -> None:
    from diptych.annotation.ledger.ledger import Ledger
    from diptych.contracts.pipelines import Answer, Failure, Question

    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.plan((Question(f"k{number}", "describe", f"pair {number}", list, 50, 100) for number in range(5)), "m")
        for number in range(NUM_RECORDS):
            ledger.claim(f"k{number}")
        token = ledger.batches.open(["k1", "k2"], "file-1")
        ledger.batches.name(token, "batch-7")
        usage = {"prompt_tokens": 90, "completion_tokens": 4}
        ledger.settle([(f"k{number}", Answer(f"Ein Bäcker, {number}", "stop", usage, 0.5)) for number in (0, 1)])
        ledger.failed("k3", Failure("pair 3", "timeout", "no answer"))


def _ledger(folder: Path) -> Any:
    from diptych.annotation.ledger.ledger import Ledger

    with Ledger(folder / "ledger.sqlite") as ledger:
        keys = [f"k{number}" for number in range(5)]
        charged = ledger.spent(), ledger.in_flight(), ledger.usage("describe")
        return ledger.counts(), charged, ledger.settled(keys), ledger.batches.unfinished(), ledger.batches.of("k2")


STORES = {
    "record log": Store(_append_records, _records, grows=True),
    "written records": Store(_write_records, _records, grows=True),
    "part of an embedding store": Store(_fill_part, _part, grows=True),
    "embedding store": Store(_fill_embeddings, _embeddings),
    "feature cache": Store(_fill_features, _read_features),
    "prepared prompts": Store(_prepare, _prompts),
    "article store": Store(_make_articles, _articles),
    "sentence embeddings": Store(lambda folder: [_encode(folder), None][1], _encode),
    "gallery": Store(_gallery, _read_gallery),
    "checkpoint": Store(_save, _load),
    "checkpoint in pieces": Store(save_in_pieces, _load),
    "ledger": Store(_fill_ledger, _ledger),
    "prepared pixels": Store(lambda folder: [_cache_pixels(folder), None][1], _cache_pixels),
}
