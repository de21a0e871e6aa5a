"""Training from shards: every triplet once a pass, one order for any workers and restarts, the plain form's batches."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import tarfile
import tracemalloc
from types import SimpleNamespace

import pytest
import torch

from diptych.contracts.models import ImageSpec
from diptych.data.triplets import shards as shards_module
from diptych.data.triplets.augmentation import ColorJitter
from diptych.data.triplets.cir_datamodule import CIRDataModule
from diptych.data.triplets.from_files import FromFiles
from diptych.data.triplets.from_shards import FromShards
from diptych.data.triplets.image_settings import ImageSettings
from diptych.data.triplets.sampling import MixingSampler
from diptych.data.triplets.shard_writing import write_shards
from diptych.data.triplets.sharded_triplets import ShardedTriplets, ShardOrder
from diptych.data.triplets.shards import ShardFolder
from diptych.photos.images import ImageReader
from shard_examples import NUM_TRIPLETS, make_pictures, records_of

SPEC = ImageSpec(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def folder(source, tmp_path_factory):
    """13 shards of 2 or 3 triplets, look-alikes side by side."""
    out = tmp_path_factory.mktemp("shards") / "out"
    return write_shards(records_of(source), out, per_shard=3, group_size=2, with_distractors=True).folder


def sharded(folder, **settings):
    shards = ShardFolder(folder)
    counts = [shard.triplets for shard in shards.shards]
    order = ShardOrder(counts, **{"batch_size": 4, "seed": 0, "streams": 2, "shuffle_block": 2} | settings)
    return ShardedTriplets(shards, order, ImageReader(SPEC))


def drawn(dataset, batches):
    return [[(stored.example, draw) for stored, draw in dataset.stored(batch)] for batch in batches]


# ------------------------------------------------------------------------------------------------ the order


@pytest.mark.parametrize(("world_size", "streams"), [(1, 1), (1, 13), (3, 2), (13, 1)])
def test_every_shard_is_once_in_a_pass_over_all_ranks(world_size, streams):
    """By the places in the sequence, which all ranks share out: none twice, none left out."""
    counts = [3, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]
    shard_at = {}
    for rank in range(world_size):
        order = ShardOrder(counts, 1, seed=4, rank=rank, world_size=world_size, streams=streams)
        for stream in range(streams):
            for place, shard, first in order.reads(stream, 0):
                if place >= 4 * len(counts):
                    break
                assert first == 0 and place not in shard_at
                shard_at[place] = shard
    passes = [tuple(shard_at[place] for place in range(start, start + 13)) for start in range(0, 52, 13)]
    assert all(sorted(shards) == list(range(13)) for shards in passes) and len(set(passes)) == 4


@pytest.mark.slow
def test_64_ranks_are_disjoint_and_complete(tmp_path, source):
    """128 shards of two triplets, 64 ranks with two streams each: two batches are a pass."""
    records = records_of(*(type(source)(source.root, f"part {number}") for number in range(7)))[:256]
    folder = write_shards(records, tmp_path / "out", per_shard=2).folder
    ranks = [drawn(sharded(folder, rank=rank, world_size=64, batch_size=2), range(6)) for rank in range(64)]
    rows = [row for rank in ranks for batch in rank for row in batch]
    assert sorted(draw for _, draw in rows) == list(range(6 * 128))  # a draw is a triplet's place over all ranks
    passes = [[example for rank in ranks for batch in rank[n : n + 2] for example, _ in batch] for n in (0, 2, 4)]
    assert all(sorted(examples) == list(range(256)) for examples in passes) and passes[0] != passes[1] != passes[2]


def test_a_whole_number_of_passes_holds_every_triplet_as_often(folder):
    """One stream: passes follow each other without a seam, across batches."""
    rows = [row for batch in drawn(sharded(folder, streams=1, batch_size=5), range(37)) for row in batch]
    for start in range(0, 5 * NUM_TRIPLETS, NUM_TRIPLETS):
        assert sorted(example for example, _ in rows[start : start + NUM_TRIPLETS]) == list(range(NUM_TRIPLETS))
    assert [draw for _, draw in rows] == list(range(5 * NUM_TRIPLETS))


def test_the_order_is_a_function_of_the_seed(folder):
    assert (
        drawn(sharded(folder), range(30))
        == drawn(sharded(folder), range(30))
        != drawn(sharded(folder, seed=1), range(30))
    )


def test_a_block_of_one_is_as_written_and_a_larger_one_is_shuffled_anew_each_time(source, tmp_path):
    folder = write_shards(records_of(source), tmp_path / "out", per_shard=40).folder
    written = [stored.example for stored in ShardFolder(folder).read(0)]
    for block, same in ((1, True), (10, False), (40, False)):
        rows = drawn(sharded(folder, streams=1, batch_size=NUM_TRIPLETS, shuffle_block=block), range(2))
        passes = [[example for example, _ in batch] for batch in rows]
        assert (passes[0] == written) is same and (passes[0] == passes[1]) is same
        for start in range(0, NUM_TRIPLETS, block):
            assert {*passes[1][start : start + block]} == {*written[start : start + block]}


@pytest.mark.parametrize("block", [1, 2, 3])
@pytest.mark.parametrize("streams", [1, 3])
def test_any_batch_can_be_jumped_to(folder, block, streams):
    settings = {"streams": streams, "shuffle_block": block, "world_size": 2, "rank": 1}
    whole = drawn(sharded(folder, **settings), range(24))
    for start in range(24):
        assert drawn(sharded(folder, **settings), range(start, 24)) == whole[start:]
    dataset = sharded(folder, **settings)
    assert [drawn(dataset, [batch])[0] for batch in (7, 2, 20, 20, 3)] == [whole[b] for b in (7, 2, 20, 20, 3)]


def test_a_jump_reads_at_most_one_block_again_and_going_on_nothing(source, tmp_path, monkeypatch):
    folder = write_shards(records_of(source), tmp_path / "out", per_shard=40).folder
    read, real = [], shards_module._stored
    monkeypatch.setattr(shards_module, "_stored", lambda *a: read.append(1) or real(*a))
    dataset = sharded(folder, streams=1, batch_size=3, shuffle_block=5)
    dataset.stored(9)  # 27 triplets are done: within the sixth block of five
    assert len(read) == 5
    dataset.stored(10)
    assert len(read) == 10  # triplets 30 to 32: the seventh block
    dataset.stored(11)
    assert len(read) == 12  # 33 and 34 are there; 35, 36 are the last block


def test_groups_stay_side_by_side(source, tmp_path):
    """Nine groups of four in three shards: bunches are shuffled, never torn."""
    folder = write_shards(records_of(source)[:36], tmp_path / "out", per_shard=12, group_size=4).folder
    dataset = sharded(folder, streams=1, batch_size=36, shuffle_block=12)
    passes = [[stored.triplet.group for stored, _ in dataset.stored(number)] for number in range(3)]
    for groups in passes:
        assert [len(list(run)) for _, run in itertools.groupby(groups)] == [4] * 9
    assert passes[0] != passes[1] != passes[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"streams": 14}, "13 shards cannot be dealt to 14 streams on 1 ranks.*smaller per_shard"),
        ({"world_size": 7}, "13 shards cannot be dealt to 2 streams on 7 ranks"),
        ({"batch_size": 38}, r"a batch of 38 on 1 ranks is larger than the 37.*data\.training\.batch_size"),
        ({"streams": 0}, r"data\.training\.shard_streams=0"),
        ({"shuffle_block": 0}, r"data\.training\.shuffle_block=0"),
    ],
)
def test_orders_that_cannot_be_are_refused(folder, settings, message):
    with pytest.raises(ValueError, match=message):
        sharded(folder, **settings)


# ------------------------------------------------------------------------------------------------ the datamodule


@pytest.fixture
def make(source, folder, tiny_preprocessing):
    def build(wants=(), num_workers=0, decoder="fast", open_it=True, sources=None, noun_phrases=None, **settings):
        settings = {"shards": str(folder), "batch_size": 6, "group_size": 2} | settings
        if settings["shards"] is None:
            del settings["shards"]
            training = FromFiles(**settings)
        else:
            training = FromShards(**{"shard_streams": 2, "shuffle_block": 2} | settings)
        module = CIRDataModule(
            sources or {"pictures": source},
            tiny_preprocessing,
            training,
            images=ImageSettings(decoder=decoder),
            num_workers=num_workers,
            noun_phrases=noun_phrases,
        )
        if open_it:
            module.prepare_for(SimpleNamespace(wants=frozenset(wants)))
        progress = SimpleNamespace(batch_progress=SimpleNamespace(current=SimpleNamespace(processed=3)))
        module.trainer = SimpleNamespace(
            max_steps=9, accumulate_grad_batches=1, fit_loop=SimpleNamespace(epoch_loop=progress)
        )
        return module

    return build


def plain_in_the_same_order(module, plain, monkeypatch):
    """The batches of the plain form, its sampler made to give the order of the shards."""
    rows = [row for batch in drawn(module.train_dataloader().dataset, range(9)) for row in batch]
    monkeypatch.setattr(MixingSampler, "__iter__", lambda self: iter(rows))
    return list(plain.train_dataloader())


class WholeTexts:
    """Finds each text to be one phrase."""

    def load(self):
        pass

    def phrases(self, texts):
        return [(text,) for text in texts]


def test_noun_phrases_are_found_as_the_texts_are_read(make):
    for batch in make(["concepts"], noun_phrases=WholeTexts()).train_dataloader():
        assert torch.equal(batch.concepts.rows, torch.arange(6))
        assert torch.equal(batch.concepts.input_ids, batch.text.input_ids)
        assert torch.equal(batch.concepts.in_text, batch.concepts.alone)
        assert torch.equal(batch.concepts.in_text.sum(dim=1), batch.text.mask.sum(dim=1) - 2)


def assert_equal_batches(ones, others):
    for one, other in zip(ones, others, strict=True):
        assert one.query_ids == other.query_ids
        for name in ("reference", "target", "distractors"):
            pair = [getattr(batch, name) for batch in (one, other)]
            assert pair[0] is pair[1] is None or torch.equal(*pair)
        assert torch.equal(one.text.input_ids, other.text.input_ids)
        keys = [
            torch.cat(
                [
                    batch.reference_keys,
                    batch.target_keys,
                    *([] if batch.distractor_keys is None else [batch.distractor_keys]),
                ]
            )
            for batch in (one, other)
        ]
        same = [key[:, None] == key[None] for key in keys]
        assert torch.equal(*same)  # the numbers differ, their equalities do not


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"augmentation": ColorJitter(), "wants": {"distractors"}},
        {"caption_policy": "join", "augmentation": ColorJitter(), "decoder": "exact"},
        {"caption_policy": "first", "batch_size": 12},
    ],
    ids=["as it is", "distractors and augmentation", "join and exact", "first"],
)
def test_the_plain_form_in_the_same_order_gives_the_same_batches(make, monkeypatch, settings):
    module = make(**settings)
    batches = list(module.train_dataloader())
    assert len(batches) == 9
    assert_equal_batches(batches, plain_in_the_same_order(make(**settings), make(**settings, shards=None), monkeypatch))


def test_exploded_records_too(make, source, tmp_path, monkeypatch):
    plain = make(shards=None, caption_policy="explode", group_size=1)
    records = plain.train_dataloader().dataset.records
    write_shards(records, tmp_path / "out", per_shard=5, exploded=True)
    settings = {"shards": str(tmp_path / "out"), "caption_policy": "explode", "group_size": 1}
    batches = list(make(**settings).train_dataloader())
    assert len(records) == 55
    assert_equal_batches(batches, plain_in_the_same_order(make(**settings), plain, monkeypatch))


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(make):
    batches = [list(make(num_workers=workers, augmentation=ColorJitter()).train_dataloader()) for workers in (0, 1, 2)]
    assert_equal_batches(batches[0], batches[1])
    assert_equal_batches(batches[0], batches[2])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_module_goes_on_with_the_next_batch(make, workers):
    whole = list(make(augmentation=ColorJitter()).train_dataloader())
    resumed = make(augmentation=ColorJitter(), num_workers=workers)
    resumed.load_state_dict(make().state_dict())
    assert_equal_batches(whole[3:], list(resumed.train_dataloader()))


def test_a_position_in_other_shards_or_of_other_ranks_is_refused(make, source, tmp_path, monkeypatch):
    saved = make().state_dict()
    assert saved["batches"] == 3 and saved["world_size"] == 1
    write_shards(records_of(source), tmp_path / "out", per_shard=3, group_size=2, seed=1)
    for other in (make(shards=None), make(shards=str(tmp_path / "out"))):
        with pytest.raises(ValueError, match="resume with the same shards and number of ranks"):
            other.load_state_dict(saved)
    with pytest.raises(ValueError, match="is of plain files"):
        make().load_state_dict(make(shards=None).state_dict())
    monkeypatch.setattr("diptych.data.triplets.from_shards.world_size", lambda: 2)
    with pytest.raises(ValueError, match="'world_size': 1"):
        make().load_state_dict(saved)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_workers": 3}, r"data\.training\.shard_streams=2 cannot be shared out among data\.num_workers=3"),
        ({"group_size": 1}, r"written with group_size=2, but data\.training\.group_size is 1"),
        ({"caption_policy": "explode"}, r"all wordings of a triplet in one record, but training has .*=explode"),
        ({"shards": "nowhere"}, r"nowhere has no shards\.json; write shards with python -m diptych\.shards"),
        ({"shards": "a b; $(x)"}, r"python -m diptych\.shards \.\.\. 'output=a b; \$\(x\)'$"),
    ],
)
def test_settings_that_shards_cannot_serve_are_refused(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_other_data_than_was_written_is_refused(make, source, tmp_path):
    with pytest.raises(ValueError, match=r"sources \['pictures'\], but training is on \['rooms'\]"):
        make(sources={"rooms": source})
    write_shards(records_of(source), tmp_path / "out", group_size=2)
    with pytest.raises(ValueError, match="no distractors"):
        make(shards=str(tmp_path / "out"), wants={"distractors"})


def test_evaluation_needs_no_shards(make):
    """A checkpoint names the shards of its training; who evaluates it has none."""
    assert make(shards="nowhere", num_workers=3, open_it=False).evaluate_on == ("pictures",)


# ------------------------------------------------------------------------------------------------ damage


@pytest.fixture
def torn(source, tmp_path):
    """One shard of all triplets in tmp_path/out, and a way to break it: `torn(change)` with the bytes."""
    write_shards(records_of(source), tmp_path / "out", per_shard=40)
    path = tmp_path / "out/000000.tar"

    def tear(change, known=True):
        path.write_bytes(change(path.read_bytes()))
        if not known:  # the manifest's size is that of the damaged file: what is left is found while reading
            manifest = json.loads((tmp_path / "out/shards.json").read_text())
            manifest["shards"][0]["bytes"] = path.stat().st_size
            (tmp_path / "out/shards.json").write_text(json.dumps(manifest))
        return tmp_path / "out"

    return tear


def test_a_shard_that_is_missing_or_cut_is_found_before_training(torn, source, tmp_path):
    out = torn(lambda data: data[:-1])
    with pytest.raises(ValueError, match=r"000000\.tar has \d+ bytes, shards\.json says \d+; remove it and run"):
        ShardFolder(out)
    (out / "000000.tar").unlink()
    with pytest.raises(ValueError, match=r"000000\.tar: No such file.*; remove it and run"):
        ShardFolder(out)


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x40]) + data[position + 1 :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:20_000], r"truncated or damaged: unexpected end of data|\d+ triplets can be read"),
        (lambda data: data[:512] + data[1024:], r"truncated or damaged|damaged"),
        (
            lambda data: flipped(data, data.index(b"0000000009") + 150),
            r"\d+ triplets can be read, shards\.json says 37",
        ),
        (lambda data: flipped(data, data.index(b"\xff\xd8\xff") + 60), r"has another checksum"),
        (lambda data: data.replace(b'"query_id"', b'"query-id"', 1), r"damaged at 0000000000: no 'query_id'"),
        (lambda data: data.replace(b"000003.target", b"000003.tarpet", 1), r"damaged|triplets can be read"),
        (lambda data: b"", r"damaged|truncated"),
    ],
    ids=["cut", "a block lost", "header", "image", "record", "name", "empty"],
)
def test_damage_is_found_while_reading_and_names_file_and_remedy(torn, change, message):
    shards = ShardFolder(torn(change, known=False))
    with pytest.raises(ValueError, match=rf"000000\.tar.*({message}).*remove it and run the command"):
        list(shards.read(0))
    with pytest.raises(ValueError, match=r"000000\.tar"):
        list(shards.read(0, first=36)) and list(shards.read(0))


def test_a_shard_that_vanishes_while_training_is_named(torn, tmp_path):
    shards = ShardFolder(torn(lambda data: data))
    (tmp_path / "out/000000.tar").unlink()
    with pytest.raises(ValueError, match=r"000000\.tar cannot be read: No such file"):
        list(shards.read(0))


def test_a_picture_that_cannot_be_decoded_is_named(source, tmp_path):
    broken = make_pictures(tmp_path / "pictures")
    broken.image_path("train", "4").write_bytes(b"<html>not found</html>")
    folder = write_shards(records_of(broken), tmp_path / "out").folder
    with pytest.raises(ValueError, match=r"000000\.tar:\d+\.(reference|target)\.png.*\(query q\d+ of pictures\)"):
        sharded(folder, streams=1, batch_size=37)[0]


@pytest.mark.parametrize("content", ["{", '{"format": 99}'])
def test_a_manifest_that_is_none_is_refused(folder, tmp_path, content):
    (tmp_path / "shards.json").write_text(content)
    with pytest.raises(ValueError, match=r"shards\.json(:1: not JSON| has format 99)"):
        ShardFolder(tmp_path)


# ------------------------------------------------------------------------------------------------ of strangers


def rewritten(change):
    """The tar file again, with `change(name, bytes)` in place of each member's bytes."""

    def of(data: bytes) -> bytes:
        made = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=made, mode="w") as new:
            for member in old:
                content = change(member.name, old.extractfile(member).read())
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
        return made.getvalue()

    return of


def record_with(**changes):
    def change(name: str, data: bytes) -> bytes:
        return json.dumps({**json.loads(data), **changes}).encode() if name.endswith(".json") else data

    return rewritten(change)


def nested(name: str, data: bytes) -> bytes:
    return b"[" * 100_000 if name.endswith(".json") else data


def sparse(data: bytes) -> bytes:
    """A member of a few bytes that stands for a terabyte of zeros, as GNU tar writes it."""
    with tarfile.open(fileobj=io.BytesIO(data)) as old:
        header = old.next().tobuf(tarfile.GNU_FORMAT)
    field = bytearray(header[:512])
    field[156:157] = tarfile.GNUTYPE_SPARSE
    field[386:410] = b"00000000000\0" + b"00000000000\0"
    field[483:495] = b"\x80" + (2**40).to_bytes(11, "big")
    field[124:136] = b"00000000000\0"
    field[148:156] = b" " * 8
    field[148:156] = b"%06o\0 " % sum(field)
    return bytes(field) + data[512:]


def linked(data: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as new:
        member = tarfile.TarInfo("0000000000.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        new.addfile(member)
    return made.getvalue() + data


def twice(data: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as new:
        for _ in range(2):
            new.addfile(tarfile.TarInfo("0000000000.json"))
    return made.getvalue()


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: gzip.compress(bytes(300 * 2**20), 1), "truncated or damaged: (invalid|bad|truncated)"),
        (lambda data: bz2.compress(data), "truncated or damaged: (invalid|bad|truncated)"),
        (lambda data: lzma.compress(data), "truncated or damaged: (invalid|bad|truncated)"),
        (sparse, "no plain file|truncated or damaged"),
        (linked, "is no plain file"),
        (twice, "duplicate file name"),
        (rewritten(nested), "damaged at 0000000000: nested more than 100 times"),
        (record_with(modification_texts=[1, 2]), "'modification_texts' are no texts"),
        (record_with(modification_texts=[]), "'modification_texts' are no texts"),
        (record_with(modification_texts=7), "damaged at 0000000000"),
        (record_with(query_id=5), "'query_id' is no text"),
        (record_with(source=None), "'source' is no text"),
        (record_with(group=[]), "'group' is no text"),
        (record_with(example="first"), "'example' is no number"),
        (record_with(images=[]), "damaged at 0000000000"),
        (record_with(images=[3, 4]), "damaged at 0000000000"),
        (record_with(images=[{"file": ["a"]}]), "'file' is no text"),
        (record_with(images={"a": 1}), "damaged at 0000000000"),
        (rewritten(lambda name, data: b"\xff\xfe" if name.endswith("json") else data), "damaged at 0000000000"),
        (rewritten(lambda name, data: b"17" if name.endswith("json") else data), "damaged at 0000000000"),
    ],
)
def test_a_stranger_s_shard_is_refused_with_its_name(torn, change, message):
    shards = ShardFolder(torn(change, known=False))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"shard .*000000\.tar.*({message}).*remove it"):
            list(shards.read(0))
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: None,
        lambda manifest: [[]],
        lambda manifest: 5,
        lambda manifest: {**manifest, "shards": [1, 2]},
        lambda manifest: {**manifest, "shards": 7},
        lambda manifest: {**manifest, "shards": None},
        lambda manifest: {name: value for name, value in manifest.items() if name != "shards"},
        lambda manifest: {name: value for name, value in manifest.items() if name != "key"},
        lambda manifest: {name: value for name, value in manifest.items() if name != "settings"},
        lambda manifest: {**manifest, "settings": []},
        lambda manifest: {**manifest, "settings": {**manifest["settings"], "sources": "rooms"}},
        lambda manifest: {**manifest, "settings": {**manifest["settings"], "distractors": "no"}},
        lambda manifest: {**manifest, "shards": [{**manifest["shards"][0], "triplets": "many"}]},
        lambda manifest: {**manifest, "shards": [{**manifest["shards"][0], "triplets": -1}]},
        lambda manifest: {**manifest, "shards": [{**manifest["shards"][0], "file": "../out/000000.tar"}]},
        lambda manifest: {**manifest, "shards": [{**manifest["shards"][0], "file": "/dev/zero", "bytes": 0}]},
        lambda manifest: {**manifest, "shards": [{**manifest["shards"][0], "file": "a\0"}]},
        lambda manifest: {**manifest, "shards": [{**manifest["shards"][0], "file": "pipe", "bytes": 0}]},
        lambda manifest: {**manifest, "shards": [{"file": "000000.tar"}]},
    ],
)
def test_a_stranger_s_manifest_is_refused_with_its_name(torn, change):
    out = torn(lambda data: data)
    os.mkfifo(out / "pipe")
    path = out / "shards.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=r"shards\.json|shard .*pipe is no regular file"):
        ShardFolder(out)
