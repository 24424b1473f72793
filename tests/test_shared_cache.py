"""The cache on other people's disks: read where nothing can be written, shared by several, full."""

import errno
import fcntl
import hashlib
import os
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pooch
import pytest
from torch import nn

from aigc_course import results, training
from aigc_course.data import load_images
from aigc_course.data.files import RemoteFile, cached_arrays, fetch, written_whole

CONTENT = b"a file that was downloaded before"
REMOTE = RemoteFile("known.bin", hashlib.sha256(CONTENT).hexdigest(), ("http://127.0.0.1:9/known.bin",))


class Small(training.EpochLogger):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)


def never() -> Any:
    raise AssertionError("it was in the cache")


def trained() -> tuple[Small, dict[str, list[float]]]:
    return Small(), {"loss": [1.0]}


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fill a cache."""
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    load_images("digits")
    training.cached("small", {}, trained, Small)
    (tmp_path / REMOTE.name).write_bytes(CONTENT)
    return tmp_path


def no_writing(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.fixture(params=["read-only", "the lock belongs to somebody else"])
def unwritable(request: pytest.FixtureRequest, shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def refused(*arguments: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "known.bin.lock")

    # As root nothing is read-only, so the two calls that would fail are made to fail.
    if request.param == "read-only":
        monkeypatch.setattr(Path, "touch", no_writing)
    else:
        monkeypatch.setattr(filelock.FileLock, "acquire", refused)
    return shared


def test_what_is_there_can_be_read_where_nothing_can_be_written(unwritable: Path) -> None:
    before = sorted(unwritable.rglob("*"))
    assert load_images("digits", "test")[0].shape == (500, 1, 28, 28)
    assert fetch(REMOTE).read_bytes() == CONTENT
    model, history = training.cached("small", {}, never, Small)
    assert isinstance(model, Small)
    assert history == {"loss": [1.0]}
    assert sorted(unwritable.rglob("*")) == before


def test_what_is_missing_or_to_be_made_anew_cannot_be_written(unwritable: Path) -> None:
    with pytest.raises(PermissionError):
        cached_arrays("other.npz", {"x": (1,)}, never)
    with pytest.raises(PermissionError):  # and not after hours of training
        training.cached("small", {}, never, Small, retrain=True)


def test_a_broken_file_is_found_there_too(unwritable: Path) -> None:
    (unwritable / REMOTE.name).write_bytes(CONTENT[:-1])
    with pytest.raises(RuntimeError, match=r"known\.bin is broken"):
        fetch(REMOTE)


def test_everybody_may_take_the_lock(shared: Path) -> None:
    for lock in shared.rglob("*.lock"):
        assert lock.stat().st_mode & 0o666 == 0o666, lock


# --- A full disk ------------------------------------------------------------------------------------------------------


def full(path: Any, *arguments: Any, **options: Any) -> None:
    """Write a little, then find the disk full."""
    with open(path, "wb") as stream:
        stream.write(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK])
def test_a_disk_without_locks_is_used_without(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    for made in (trained, never):
        _, history = training.cached("small", {}, made, Small)
        assert history == {"loss": [1.0]}


def test_another_error_of_a_lock_comes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", refused)
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    with pytest.raises(OSError, match="Input/output error"):
        training.cached("small", {}, trained, Small)


def test_a_full_disk_is_named_and_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("AIGC_COURSE_RESULTS", str(tmp_path / "results"))
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", full)
        with pytest.raises(OSError, match=r"disk is full: .*x\.npz could not be written.*AIGC_COURSE_DATA"):
            cached_arrays("x.npz", {"x": (1,)}, lambda: {"x": np.zeros(1)})
    with monkeypatch.context() as patch:
        patch.setattr(pooch.HTTPDownloader, "__call__", lambda _, url, part, pup: full(part))
        with pytest.raises(OSError, match=r"disk is full: .*known\.bin"):  # and not: check the network
            fetch(REMOTE)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match=r"disk is full: .*small-\w+\.pt"):
            training.cached("small", {}, trained, Small)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match=r"disk is full: .*dcgan\.json"):
            results.record("dcgan", "smoke", share=1.0)
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []


def test_another_error_is_not_called_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")

    def interrupted() -> None:
        with written_whole(tmp_path / "old") as part:
            part.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert (tmp_path / "old").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
