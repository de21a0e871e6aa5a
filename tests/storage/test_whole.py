"""Whole files and folders: processes are killed while they write, and what they leave is looked at."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import patience
from diptych.storage.whole import (
    claim_folder,
    move,
    remove_unfinished,
    sync_file,
    whole_file,
    whole_folder,
    write_file,
    write_link,
    write_same,
    write_text,
)

FORK = multiprocessing.get_context("fork")
SIZE = 2**20


def killed(action: Callable[[], None]) -> None:
    """Runs the action in a process that must end by being killed."""
    process = FORK.Process(target=action)
    process.start()
    process.join(timeout=patience.SECONDS)
    assert process.exitcode == -signal.SIGKILL


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(calls: int, *names: str) -> None:
    """In a child: the call of this number to any of these functions of `os` kills the process before it is made."""
    left = iter(range(calls))

    def of(real):
        def function(*arguments, **keywords):
            if next(left, None) is None:
                kill()
            return real(*arguments, **keywords)

        return function

    for name in names:
        setattr(os, name, of(getattr(os, name)))


# ---------------------------------------------------------------------------------------------------- files


def test_a_file_is_written_with_its_folder_and_replaced(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_file(path, b"one")
    write_file(path, b"two")
    assert path.read_bytes() == b"two" and list(path.parent.iterdir()) == [path]


def test_the_umask_decides_who_may_read(tmp_path):
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("before", [None, b"before"])
def test_half_a_file_is_never_there(tmp_path, before):
    path = tmp_path / "a"
    if before is not None:
        write_file(path, before)

    def write() -> None:
        with whole_file(path) as temporary, temporary.open("wb") as file:
            file.write(b"half")
            file.flush()
            kill()

    killed(write)
    assert (path.read_bytes() if path.exists() else None) == before
    (left,) = set(tmp_path.iterdir()) - {path}
    assert left.read_bytes() == b"half"
    remove_unfinished(tmp_path, "a")
    assert not left.exists() and path.exists() == (before is not None)


@pytest.mark.parametrize("calls", range(8))
def test_a_kill_before_any_operation_leaves_the_file_of_before_or_the_new_one(tmp_path, calls):
    path = tmp_path / "a"
    write_file(path, b"before")

    def write() -> None:
        kill_at(calls, "open", "fsync", "replace", "rename", "close")
        write_file(path, b"after")
        kill()

    killed(write)
    assert path.read_bytes() == (b"after" if calls > 3 else b"before")  # open, sync, close, then rename


def test_kills_at_any_moment(tmp_path):
    path = tmp_path / "a"
    write_file(path, bytes(SIZE))

    def write() -> None:
        for number in range(1, 10_000):
            write_file(path, bytes([number % 256]) * SIZE)

    for wait_ms in (20, 33, 47, 60, 81):
        process = FORK.Process(target=write)
        process.start()
        time.sleep(wait_ms / 1000)
        process.kill()
        process.join()
        content = path.read_bytes()
        assert len(content) == SIZE and len(set(content)) == 1
    remove_unfinished(tmp_path, "a")
    assert list(tmp_path.iterdir()) == [path]


def test_writers_at_once_leave_one_of_their_files(tmp_path):
    path = tmp_path / "a"

    def write(letter: bytes) -> None:
        for _ in range(10):
            write_file(path, letter * SIZE)

    processes = [FORK.Process(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for process in processes:
        process.start()
    seen = set()
    while any(process.is_alive() for process in processes):
        content = path.read_bytes() if path.exists() else b"a" * SIZE
        assert len(content) == SIZE
        seen.add(content[:1])
        assert len(set(content)) == 1
    assert all(process.exitcode == 0 for process in processes)
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "a"
    write_file(path, b"before")
    with pytest.raises(KeyError), whole_file(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyError
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass  # nothing was written
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_a_file_that_the_disk_does_not_take_leaves_what_was_there(tmp_path):
    path = tmp_path / "a"
    write_file(path, b"before")

    def write() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, SIZE // 2))
        try:
            write_file(path, bytes(SIZE))
        except OSError:
            kill()

    killed(write)
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_an_open_file_is_synced_with_what_is_still_in_memory(tmp_path):
    def write() -> None:
        with (tmp_path / "a").open("wb") as file:
            file.write(b"x")
            sync_file(file)
            kill()

    killed(write)
    assert (tmp_path / "a").read_bytes() == b"x"


def test_a_refused_sync_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_file(path, b"before")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, b"after")
    monkeypatch.undo()
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def order_of(monkeypatch, action: Callable[[], None]) -> list[str]:
    """The names that are synced or renamed, in order."""
    done, real_sync, real_replace, real_rename = [], os.fsync, Path.replace, Path.rename

    def name(descriptor: int) -> str:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name.split(".")[-1]

    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(f"sync {name(fd)}"), real_sync(fd)))
    monkeypatch.setattr(Path, "replace", lambda a, b: (done.append(f"rename to {b.name}"), real_replace(a, b))[1])
    monkeypatch.setattr(Path, "rename", lambda a, b: (done.append(f"rename to {b.name}"), real_rename(a, b))[1])
    action()
    return done


def test_content_is_on_the_disk_before_the_name_and_the_name_before_it_returns(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    done = order_of(monkeypatch, lambda: write_file(folder / "a", b"x"))
    assert done == ["sync tmp", "rename to a", "sync folder"]


def test_what_need_not_last_waits_for_nothing(tmp_path, monkeypatch):
    def write() -> None:
        with whole_file(tmp_path / "a", durable=False) as temporary:
            temporary.write_bytes(b"x")
        with whole_folder(tmp_path / "b", durable=False) as temporary:
            (temporary / "c").write_bytes(b"x")

    assert order_of(monkeypatch, write) == ["rename to a", "rename to b"]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b" / "c").read_bytes() == b"x"


# ---------------------------------------------------------------------------------------------------- folders


def fill(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "first").write_bytes(b"1")
    (folder / "deep" / "second").write_bytes(b"2")


def test_a_folder_appears_with_everything_in_it(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()  # an empty one is in nobody's way

    def write() -> None:
        with whole_folder(tmp_path / "set") as temporary:
            fill(temporary)
            assert not any((tmp_path / "set").iterdir())

    done = order_of(monkeypatch, write)
    assert done[:2] == ["sync second", "sync deep"] and done[2:4] == ["sync first", "sync tmp"]
    assert done[4:] == ["rename to set", f"sync {tmp_path.name}"]
    assert (tmp_path / "set/deep/second").read_bytes() == b"2"
    with pytest.raises(OSError, match="not empty"), whole_folder(tmp_path / "set") as temporary:
        (temporary / "other").write_bytes(b"x")
    assert (tmp_path / "set/first").exists() and list(tmp_path.iterdir()) == [tmp_path / "set"]


@pytest.mark.parametrize("calls", range(12))
def test_a_kill_before_any_operation_leaves_all_of_a_folder_or_nothing(tmp_path, calls):
    def write() -> None:
        kill_at(calls, "open", "fsync", "rename", "replace", "close", "mkdir")
        with whole_folder(tmp_path / "set") as temporary:
            fill(temporary)
        kill()

    killed(write)
    files = [path.name for path in (tmp_path / "set").rglob("*") if path.is_file()]
    assert sorted(files) in ([], ["first", "second"])
    remove_unfinished(tmp_path, "set")
    assert {path.name for path in tmp_path.iterdir()} <= {"set"}


def test_an_error_leaves_no_folder(tmp_path):
    with pytest.raises(KeyError), whole_folder(tmp_path / "set") as temporary:
        fill(temporary)
        raise KeyError
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------- links, moves


def test_a_link_is_moved_in_one_step(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_link(tmp_path / "latest", name)
        assert (tmp_path / "latest").readlink() == Path(name)
    killed(lambda: (kill_at(0, "replace", "rename"), write_link(tmp_path / "latest", "a")))
    assert (tmp_path / "latest").readlink() == Path("b")
    remove_unfinished(tmp_path, "latest")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "latest"}


def test_a_move_replaces_a_file_and_takes_a_folder_along(tmp_path):
    fill(tmp_path)
    move(tmp_path / "first", tmp_path / "deep" / "second")
    move(tmp_path / "deep", tmp_path / "aside")
    assert [path.name for path in tmp_path.iterdir()] == ["aside"]
    assert (tmp_path / "aside/second").read_bytes() == b"1"


# ---------------------------------------------------------------------------------------------------- leftovers


def test_leftovers_of_every_version_go_and_nothing_else_does(tmp_path):
    left = [
        ".a.json.4711-0a0b0c0d.tmp",
        "a.json.4711-0a0b0c0d.tmp",  # the versions before wrote it so,
        ".a.json.4711.tmp",
        ".a.json.tmp",
        "a.json.tmp",
        ".a.json.link",
        ".a.json.partial",
        ".unfinished-a.json",
    ]
    kept = [
        "a.json",
        "a.json.bak",
        "a.json.partial",
        "b.json.tmp",
        ".b.json.1-a.tmp",
        "a.tmp",
        ".a.json.lock",
        "x.tmp.a",
    ]
    for name in (*left, *kept):
        (tmp_path / name).write_text("x")
    (tmp_path / ".a.json.1-ff.tmp" / "deep").mkdir(parents=True)
    (tmp_path / ".a.json.2-ff.tmp").symlink_to(tmp_path / "kept")
    remove_unfinished(tmp_path, "a.json")
    assert {path.name for path in tmp_path.iterdir()} == set(kept)
    remove_unfinished(tmp_path, "c", "b*")
    assert {path.name for path in tmp_path.iterdir()} == set(kept) - {"b.json.tmp", ".b.json.1-a.tmp"}
    remove_unfinished(tmp_path / "absent", "a")


def test_of_several_processes_each_has_a_folder_of_its_own(tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        claimed = pool.map(claim_folder, [tmp_path / "runs/now"] * 12)
    assert sorted(map(str, claimed)) == sorted(str(path) for path in (tmp_path / "runs").iterdir())
    assert {path.name for path in claimed} == {"now", *(f"now-{number}" for number in range(2, 13))}


@pytest.mark.parametrize("refused", [False, True])
def test_a_second_name_has_the_content_and_outlives_the_first(tmp_path, monkeypatch, refused):
    if refused:  # as on disks without hard links
        monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError("not here")))
    first, second = tmp_path / "first", tmp_path / "second"
    write_text(second, "old")
    write_text(first, "content")
    write_same(second, first)
    assert second.read_text() == "content" and second.samefile(first) is not refused
    write_text(first, "new")
    assert second.read_text() == "content"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]
