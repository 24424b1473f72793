"""Where the course keeps files, and how a download gets there: checked, whole, and once."""

import contextlib
import errno
import gzip
import hashlib
import os
import uuid
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pooch
from filelock import FileLock
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")
# What systems put into a folder of their own accord, visibly.
SYSTEM_FILES = ("__macosx", "thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded.

    `sha256` is that of the file as it lies on the server, or, for a `.gz` whose compression may differ from copy to
    copy, that of its decompressed content. `urls` are tried in order.
    """

    name: str
    sha256: str
    urls: tuple[str, ...]


def cache_dir(subfolder: str = "") -> Path:
    """Return the course's cache directory (or a folder in it), made if missing and known to be writable.

    It is `$AIGC_COURSE_DATA` where that is set, else the platform's place for caches (`~/.cache/aigc-course` on Linux).

    Raises `PermissionError` if nothing can be written there.
    """
    folder = _cache_root() / subfolder
    probe = folder / f".write-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise PermissionError(
            f"The course's cache directory {folder} cannot be written ({error.strerror}). "
            "Set the environment variable AIGC_COURSE_DATA to a directory that you may write to."
        ) from error
    return folder


def _cache_root() -> Path:
    return Path(os.environ.get("AIGC_COURSE_DATA") or platformdirs.user_cache_dir("aigc-course")).expanduser()


@contextlib.contextmanager
def cached_file(name: str, *, anew: bool = False) -> Iterator[Path]:
    """Give the path of the file `name` in the cache directory, which no other process makes in the meantime.

    A file that is there is given where nothing can be written too, such as a folder that a class shares: files come
    whole or not at all, so that a reader needs no lock. With `anew` it is about to be written.

    On a disk without locks, as some that are shared over a network are, two processes may make the same file at once;
    each moves its own into place whole.

    Raises `PermissionError` if the file is missing, or to be written, and cannot be.
    """
    path = _cache_root() / name
    lock: FileLock | None = None
    try:
        cache_dir(str(Path(name).parent))
        # Others who share the directory may take the lock too, whoever made it.
        lock = FileLock(f"{path}.lock", mode=0o666)
        lock.acquire()
    except PermissionError:
        if anew or not path.exists():
            raise
        lock = None
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK):
            raise
        lock = None
    try:
        yield path
    finally:
        if lock is not None:
            lock.release()


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; what was written is moved to `path` when the block ends.

    A process may be stopped while it writes: others find the old file or the new one, never half of it, and nothing is
    left of a failed attempt.

    Raises `OSError` if the disk is full: it names the path and what can be freed.
    """
    part = path.with_name(f".{uuid.uuid4().hex}-{path.name}")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        if is_full(error):
            raise OSError(
                error.errno,
                f"The disk is full: {path} could not be written, and nothing of it is left. Free some space (the "
                f"course's files in {_cache_root()} may be deleted: they are fetched or made again), or set the "
                "environment variable AIGC_COURSE_DATA to a directory on another disk",
            ) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder of this name is one that a system keeps beside a person's files."""
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def say_passed_over(folder: Path, others: Sequence[Path], taken: str) -> None:
    """Warn of the files in a folder that are not read because of what their names end in."""
    if others:
        counts = Counter(path.suffix.lower() for path in others)
        kinds = [
            f"{count} {f'in {ending}' if ending else 'without an ending'}"
            for ending, count in sorted(counts.items(), key=lambda kind: (-kind[1], kind[0]))
        ]
        warnings.warn(
            f"{str(folder)!r} has {taken}, and beside them files that are not read: {few(kinds)}.", stacklevel=3
        )


def few(words: Sequence[str]) -> str:
    """Return the words, the first five of them if there are more, separated by commas."""
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")


def is_full(error: Exception) -> bool:
    """Tell whether an error says that the disk, or a person's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def fetch(file: RemoteFile) -> Path:
    """Return the path of a verified copy of `file`, downloading it if the cache directory has none.

    Its checksum is compared after the download and at every later call. Two processes that ask at once both get the
    whole file: one downloads under a lock, the other waits.

    Raises `RuntimeError` if a file in the cache is not what it should be, or no address delivers it.
    """
    with cached_file(file.name) as path:
        if path.exists():
            if not _matches(path, file.sha256):
                raise RuntimeError(
                    f"{path} is broken: its SHA-256 is {pooch.file_hash(str(path))}, expected {file.sha256}. "
                    "Delete the file; it is then downloaded again."
                )
            return path
        failures = []
        for url in file.urls:
            try:
                with written_whole(path) as part:
                    # Not pooch.retrieve: it writes log messages to stderr, about a checksum that we compare ourselves.
                    pooch.HTTPDownloader()(url, str(part), None)
                    if not _matches(part, file.sha256):
                        raise ValueError(f"its SHA-256 is {pooch.file_hash(str(part))}, not the expected one")
                return path
            except (OSError, ValueError) as error:  # requests' errors are OSErrors
                if is_full(error):
                    raise
                failures.append(f"{url}: {error if type(error) is ValueError else type(error).__name__}")
    raise RuntimeError(
        f"{file.name} (SHA-256 {file.sha256}) could not be downloaded. Tried: {'; '.join(failures)}. "
        f"Check the network, or put the file into {_cache_root()} by hand."
    )


def _matches(path: Path, sha256: str) -> bool:
    if pooch.file_hash(str(path)) == sha256:
        return True
    digest = hashlib.sha256()
    try:
        with gzip.open(path) as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except (OSError, EOFError, zlib.error):  # not gzip at all, cut short, or damaged
        return False
    return digest.hexdigest() == sha256


def cached_arrays(
    name: str,
    shapes: Mapping[str, tuple[int, ...]],
    make: Callable[[], dict[str, NDArray[Any]]],
    *,
    sha256: str | None = None,
) -> dict[str, NDArray[Any]]:
    """Return the arrays that `make()` gives, from the file `name` (.npz) in the cache directory if it is there.

    If it is not, they are made under a lock, so that of two processes one works and the other waits, and the file is
    moved into place whole. The archive has a checksum of its own for each array, compared at every reading.

    **Arguments:** `shapes`: the names and shapes that `make` promises; `sha256`: that of all their bytes, in the
    order of `shapes`, where the content is known beforehand.

    Raises `RuntimeError` if the file cannot be read or holds something else.
    """
    with cached_file(name) as path:
        if not path.exists():
            arrays = make()
            with written_whole(path) as part:
                # Arrays of numbers and nothing that is pickled: mypy takes the names for savez's own arguments.
                np.savez_compressed(part, **arrays)  # type: ignore[arg-type]
        try:
            # Opened here, since np.load leaves a broken archive open.
            with path.open("rb") as stream, np.load(stream) as stored:
                arrays = dict(stored)
            if sha256:
                found = hashlib.sha256(b"".join(arrays[key].tobytes() for key in shapes)).hexdigest()
            else:
                found = str({key: array.shape for key, array in arrays.items()})
        except Exception as error:
            found = f"unreadable ({error})"
    expected = sha256 or str(dict(shapes))
    if found != expected:
        raise RuntimeError(
            f"{path} is broken: {'the SHA-256 of its content' if sha256 else 'its content'} is {found}, "
            f"expected {expected}. "
            "Delete the file; it is then made again."
        )
    return arrays
