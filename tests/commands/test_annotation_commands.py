"""Annotation as users type it, against the loopback server: whole, killed, with every fault, and from remote images.

DIPTYCH_KILLS=20 pytest tests/test_annotation_commands.py -k killed     # instead of 4 kills and 2
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections import Counter
from contextlib import contextmanager

import pytest

import patience
from annotation_runs import (
    KEY,
    STAGES,
    Commands,
    annotate,
    export_of,
    in_flight,
    lines,
    num_records,
    outcomes,
    records_of,
    serving,
    started,
    states,
    write_pairs,
)
from diptych.data.pairs.image_pairs import read_pairs
from diptych.synthetic.rooms.generate import RoomsSettings, generate_rooms
from diptych.synthetic.server.faults import BATCH, CONTENT, TRANSPORT

pytestmark = pytest.mark.processes

KILLS = int(os.environ.get("DIPTYCH_KILLS", "0"))
NUM_PAIRS = 12
BATCHES = ["asker=batch", "asker.poll_s=0.02", "asker.max_requests=5"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with a small rooms set, and `pairs.jsonl` about it."""
    folder = tmp_path_factory.mktemp("place")
    settings = RoomsSettings(num_train_hotels=6, num_val_hotels=1, num_test_hotels=1)
    rooms = generate_rooms(folder / "rooms", settings, num_workers=1)
    records = json.loads((rooms / "captions/hotel_train_data.json").read_text())
    images = list(dict.fromkeys((record["query_image"], record["result_image"]) for record in records))
    write_pairs(folder / "pairs.jsonl", images[:NUM_PAIRS], f"{rooms}/images/train/")
    write_pairs(folder / "few.jsonl", images[:4], f"{rooms}/images/train/")
    return folder


@pytest.fixture(scope="module")
def commands(place):
    return Commands(place)


@pytest.fixture(scope="module")
def run(commands):
    return commands.run


@pytest.fixture(scope="module")
def patient(place):
    """A server without faults, slow enough for requests to be in flight at any moment."""
    with serving(place, latency_s=0.03, batch_s=0.1) as server:
        yield server


@pytest.fixture(scope="module")
def whole(place, run, patient):
    """A run that nothing disturbed: its folder, what it said, and how often it asked."""
    code, output = run(*annotate(patient, "whole"))
    assert code == 0, output[-3000:]
    count = patient.count()["total"]
    assert count["started"] == count["distinct"]
    return place / "whole", output, count["started"]


def test_from_pairs_to_triplets(place, whole):
    out, output, num_requests = whole
    pairs = read_pairs(place / "pairs.jsonl").pairs
    references = {pair.reference_image for pair in pairs}
    assert len(lines(out / "work/describe_reference/records.jsonl")) == len(references) < NUM_PAIRS
    assert f"describe_reference: {len(references)} done, none failed" in output
    assert f"export: {NUM_PAIRS} done, none failed" in output
    assert [triplet["query_id"] for triplet in lines(out / "train.jsonl")] == [pair.pair_id for pair in pairs]
    assert states(out) == {"done": num_requests}


# ------------------------------------------------------------------------------------------------ kills


@pytest.mark.parametrize(("asker", "kills"), [("online", KILLS or 4), ("batch", KILLS or 2)])
def test_killed_at_random_moments_it_ends_with_the_same_bytes(place, whole, run, patient, asker, kills):
    rng, folder = random.Random(0), place / f"killed_{asker}"
    command = annotate(patient, folder, *(BATCHES if asker == "batch" else []))
    before, lost, killed = 0, set(), 0
    while True:
        if not folder.exists():
            before, lost, killed = started(patient), set(), 0
        left = num_records(whole[0]) - num_records(folder)
        moment = [rng.randint(0, left // (kills + 1)), 0.1 * rng.random() ** 4]
        code, output = run(*command, die=moment if kills else None)
        if code == -signal.SIGKILL:
            kills, killed = kills - 1, killed + 1
            lost |= in_flight(folder)
            for path in folder.glob("work/*/records.jsonl"):  # a line that was being written
                if not (path.parent / "manifest.json").read_text().count('"done"'):
                    path.open("a").write('{"pair_id": "p')
            continue
        assert code == 0, output[-3000:]
        assert export_of(folder) == export_of(whole[0])
        assert records_of(folder) == records_of(whole[0])
        asked = started(patient) - before
        print(f"{asker}: {killed} kills, {len(lost)} in flight at them, {asked} requests for {whole[2]}")  # noqa: T201
        assert whole[2] <= asked <= whole[2] + (len(lost) if asker == "online" else 0)
        if not kills:
            return
        shutil.rmtree(folder)  # it ended before it was killed


# ------------------------------------------------------------------------------------------------ faults

NO_RECORD = {
    "rate_limit": "rate_limited",
    "server_error": "server_error",
    "reset": "connection",
    "lost_reply": "connection",
    "hang": "timeout",
    "cut": "cut",
    "empty": "empty",
    "wrong_schema": "invalid",
    "refusal": "refused",
    "refusal_in_words": "refused",
    "content_filter": "refused",
    "batch_expired": "batch_expired",
    "batch_cancelled": "batch_cancelled",
    "batch_failed": "batch_failed",
    "batch_partly_failed": "server_error",
}
HARMLESS = ("fenced", "prose")


def test_every_fault_is_tried():
    assert {*NO_RECORD, *HARMLESS} == {*TRANSPORT, *CONTENT, *BATCH}


@pytest.mark.parametrize("fault", [*NO_RECORD, *HARMLESS])
def test_one_fault_alone_leaves_nothing_open(place, run, fault):
    limit_s = 0.5 if fault == "hang" else patience.SECONDS
    online = ["asker.client.max_retries=1", f"asker.client.timeout_s={limit_s}"]
    settings = {"retry_after_s": 0.05, "batch_s": 0.02, "batch_answered": 0.0}
    with serving(place, faults={fault: 1.0}, **settings) as server:
        how = BATCHES if fault in BATCH else online
        code, output = run(*annotate(server, f"fault_{fault}", *how, pairs="few.jsonl"))
        assert server.count()["faults"][fault] > 0
    pairs = read_pairs(place / "few.jsonl").pairs
    references = len({pair.reference_image for pair in pairs})
    reasons = outcomes(place / f"fault_{fault}", pairs)
    assert "Traceback" not in output
    if fault in HARMLESS:
        assert code == 0 and not any(reasons.values())
        return
    reason = NO_RECORD[fault]
    assert reasons["describe_reference"] == {reason: references}
    assert reasons["describe_target"] == {"no_reference_description": len(pairs)}
    assert reasons["export"] == {"no_texts": len(pairs)}
    assert f"describe_reference: 0 done, {references} failed: {reason} {references}" in output
    assert code == 1 and f"error: no record could be made in {', '.join(STAGES)}. describe_reference: 0 done" in output
    summary = json.loads((place / f"fault_{fault}/summary.json").read_text())
    assert (summary["triplets"], summary["pairs"]) == (0, len(pairs))
    assert summary["stages"]["describe_reference"] == {"done": 0, "failed": {reason: references}}


def test_failures_of_some_records_are_told_and_can_be_tried_again(place, run, whole):
    out = place / "some"
    with serving(place, faults={"refusal_in_words": 0.5}) as server:
        code, output = run(*annotate(server, out, "asking.max_tries=1"))
        assert code == 0, output[-3000:]
    reasons = outcomes(out, read_pairs(place / "pairs.jsonl").pairs)
    assert 0 < sum(reasons["export"].values()) < NUM_PAIRS
    assert f"export: {len(lines(out / 'train.jsonl'))} done, {sum(reasons['export'].values())} failed" in output
    with serving(place) as server:
        code, output = run(*annotate(server, out, "retry_failures=true"))
        assert code == 0, output[-3000:]
        assert 0 < started(server) < whole[2]
    assert records_of(out)["export"] == records_of(whole[0])["export"]


# ------------------------------------------------------------------------------------------------ ledger and money


def test_two_runs_on_one_ledger_ask_every_question_once(place, commands, whole):
    more = [f"ledger={place}/shared.sqlite"]
    with serving(place, latency_s=0.03) as server:
        ended = commands.together(*(annotate(server, place / f"side_{number}", *more) for number in range(2)))
        assert [code for code, _ in ended] == [0, 0], ended[0][1][-2000:] + ended[1][1][-2000:]
        count = server.count()["total"]
    assert count["started"] == count["distinct"] == whole[2]
    for number in range(2):
        assert export_of(place / f"side_{number}") == export_of(whole[0])


def test_a_dry_run_sends_nothing(place, run):
    with serving(place) as server:
        for fetch in ("off", "on"):
            code, output = run(*annotate(server, f"dry_{fetch}", "dry_run=true", f"fetch={fetch}"))
            assert code == 0, output[-3000:]
            references = {pair.reference_image for pair in read_pairs(place / "pairs.jsonl").pairs}
            assert f"describe_reference: {len(references)} requests" in output
            assert f"describe_target: about {NUM_PAIRS} requests" in output and "nothing was sent" in output
            assert not list((place / f"dry_{fetch}").glob("*.sqlite*"))
        assert started(server) == 0


def test_at_the_limit_of_money_it_stops_and_a_higher_limit_goes_on(place, run, whole):
    out = place / "money"
    with serving(place) as server:
        code, output = run(*annotate(server, out, "max_cost_usd=0.06"))
        assert code == 1 and "error: max_cost_usd=0.06 would be passed" in output and "Traceback" not in output
        asked = started(server)
        assert 0 < asked < whole[2] and states(out)["done"] == asked
        code, output = run(*annotate(server, out, "max_cost_usd=10"))
        assert code == 0, output[-3000:]
        count = server.count()["total"]
    assert count["started"] == count["distinct"] == whole[2]
    assert export_of(out) == export_of(whole[0])


def test_the_key_is_written_nowhere(place, run, whole):
    wrong = "sk-another-key-of-secret-letters"
    with serving(place) as server:
        for number, asker in enumerate(("online", "batch")):
            code, output = run(*annotate(server, f"refused_{number}", f"asker={asker}"), key=wrong)
            assert code == 1 and "the server refuses the key (401)" in output, output[-3000:]
        code, output = run(*annotate(server, "without_key"), key="")
        assert code == 1 and "OPENAI_API_KEY is not set" in output
    files = [path for path in place.rglob("*") if path.is_file()]
    assert place / "whole/ledger.sqlite" in files and len(files) > 30
    for path in files:
        content = path.read_bytes()
        assert KEY.encode() not in content and wrong.encode() not in content, path


# ------------------------------------------------------------------------------------------------ remote images


@contextmanager
def watched(server):
    """Counts of the pictures that are fetched from the server, and the beginnings of the addresses it is shown."""
    fetched, shown = Counter(), Counter()
    rooms, path, recognise = server._rooms, server._rooms.path, server._rooms.recognise
    rooms.path = lambda name: (fetched.update([name]), path(name))[1]
    rooms.recognise = lambda url: (shown.update([url[:5]]), recognise(url))[1]
    yield fetched, shown


@pytest.mark.parametrize("fetch", ["off", "on"])
def test_remote_images_are_asked_about_by_url_or_fetched_first(place, run, whole, fetch):
    out = place / f"remote_{fetch}"
    with serving(place) as server, watched(server) as (fetched, shown):
        root = f"{server.base_url.removesuffix('/v1')}/images/train/"
        images = [
            tuple(pair[key].rpartition("/images/train/")[2] for key in ("reference_image", "target_image"))
            for pair in lines(place / "pairs.jsonl")
        ]
        path = place / f"remote_{fetch}.jsonl"
        write_pairs(path, images, root)
        with path.open("a") as file:  # not there
            file.write(json.dumps({"pair_id": "x", "reference_image": f"{root}gone.jpg", "target_image": f"{root}no"}))
        for _ in range(2):
            words = annotate(server, out, f"fetch={fetch}", "fetch.private=true", pairs=path.name)
            code, output = run(*words)
            assert code == 0, output[-3000:]
    assert set(shown) == {"data:" if fetch == "on" else "http:"}
    known = {name: number for name, number in fetched.items() if "/gone" not in name and not name.endswith("/no")}
    assert known == dict.fromkeys((f"images/train/{name}" for pair in images for name in pair), 1)
    assert (out / "train.jsonl").read_bytes() == (whole[0] / "train.jsonl").read_bytes()
    assert {path.name: path.read_bytes() for path in (out / "images").iterdir()} == {
        path.name: path.read_bytes() for path in (whole[0] / "images").iterdir()
    }
    summary = json.loads((out / "summary.json").read_text())
    if fetch == "on":
        assert summary["stages"]["fetch_images"] == {"done": NUM_PAIRS, "failed": {"not_found": 1}}
    else:
        assert summary["not_exported"] == {"no_texts": 1}
        assert summary["stages"]["describe_reference"]["failed"] == {"bad_request": 1}
