"""Where the course keeps files, and how a download gets there: checked, whole, and once."""

import gzip
import hashlib
import os
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pooch
from filelock import FileLock
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")


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
    root = os.environ.get("AIGC_COURSE_DATA") or platformdirs.user_cache_dir("aigc-course")
    folder = Path(root).expanduser() / subfolder
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


def fetch(file: RemoteFile) -> Path:
    """Return the path of a verified copy of `file`, downloading it if the cache directory has none.

    Its checksum is compared after the download and at every later call. Two processes that ask at once both get the
    whole file: one downloads under a lock, the other waits.

    Raises `RuntimeError` if a file in the cache is not what it should be, or no address delivers it.
    """
    path = cache_dir() / file.name
    with FileLock(f"{path}.lock"):
        if path.exists():
            if not _matches(path, file.sha256):
                raise RuntimeError(
                    f"{path} is broken: its SHA-256 is {pooch.file_hash(str(path))}, expected {file.sha256}. "
                    "Delete the file; it is then downloaded again."
                )
            return path
        failures = []
        for url in file.urls:
            part = path.with_name(f"{file.name}.{uuid.uuid4().hex}.part")
            try:
                # Not pooch.retrieve: it writes log messages to stderr, about a checksum that we compare ourselves.
                pooch.HTTPDownloader()(url, str(part), None)
                if _matches(part, file.sha256):
                    part.replace(path)
                    return path
                failures.append(f"{url}: its SHA-256 is {pooch.file_hash(str(part))}, not the expected one")
            except (OSError, ValueError) as error:  # requests' errors are OSErrors
                failures.append(f"{url}: {type(error).__name__}")
            finally:
                part.unlink(missing_ok=True)
    raise RuntimeError(
        f"{file.name} (SHA-256 {file.sha256}) could not be downloaded. Tried: {'; '.join(failures)}. "
        f"Check the network, or put the file into {path.parent} by hand."
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
    path = cache_dir() / name
    with FileLock(f"{path}.lock"):
        if not path.exists():
            arrays = make()
            part = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.npz")
            try:
                # Arrays of numbers and nothing that is pickled: mypy takes the names for savez's own arguments.
                np.savez_compressed(part, **arrays)  # type: ignore[arg-type]
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
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
