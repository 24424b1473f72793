"""A folder of pictures, the reader's own: found, cropped to squares, shrunk, and split once by a fixed seed."""

import hashlib
import io
import tarfile
import unicodedata
import warnings
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from aigc_course.data.files import SPLITS, few, is_hidden, say_passed_over

# HEIC is among them although Pillow needs a plugin for it: a phone's photographs are named, not passed over in silence.
ENDINGS = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
    *(".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
# What sub-folders are called where somebody has split the pictures already.
SPLIT_NAMES = {*SPLITS, "training", "testing", "val", "valid", "dev"}


class Folder(NamedTuple):
    """What `read_folder` found.

    `splits`: for each split the pictures as bytes, (n, channels, size, size), and their labels, (n,). `class_names`:
    the sub-folders, whose places are the labels; empty without sub-folders. `skipped`: the pictures that could not be
    read, as paths below the folder.
    """

    splits: dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]
    class_names: tuple[str, ...]
    skipped: tuple[str, ...]


def check_folder(path: Path) -> None:
    """Raise unless `path` is a folder: `FileNotFoundError` if nothing is there, `ValueError` for a file."""
    if not path.exists():
        raise FileNotFoundError(f"{str(path.absolute())!r} does not exist; it takes a folder of pictures.")
    if not path.is_dir():
        archive = zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
        advice = "Unpack it, and give the folder." if archive else "Give the folder that it is in."
        raise ValueError(
            f"{str(path)!r} is {'an archive' if archive else 'a file'}; it takes a folder of pictures. {advice}"
        )


def read_folder(folder: Path, size: int, channels: int, *, skip_broken: bool = False) -> Folder:
    """Read all pictures in a folder and below it; return them split 80 : 10 : 10 into train, validation and test.

    A picture is turned as its EXIF data say, its transparent parts become white, its central square is resized to
    `size` × `size`, and its colours become `channels` values, 1 (grey) or 3 (red, green, blue). Of an animation or a
    document the first page counts. Values of 16 bits are scaled to 8. Colour profiles are not applied.

    Sub-folders are classes, numbered in alphabetical order; pictures deeper down belong to the sub-folder they are in.
    Hidden files and files that do not end like a picture are passed over. Symbolic links are followed, but not in
    circles.

    A `UserWarning` says what may not be meant: files that do not end like a picture, sub-folders without pictures
    beside others, a single sub-folder that has several itself, and classes of which no picture is for training.

    The split is drawn by a fixed seed over the sorted paths, so that neither the machine nor the order in which it
    lists files plays a part. Equal files count as one picture, which is in one split with all its copies.

    Raises `ValueError`: for a folder without pictures or with fewer than three different ones, for pictures beside
    sub-folders with pictures, for sub-folders that are splits and not classes (`train/`, `test/`), for pictures that
    cannot be read unless `skip_broken`; and as `check_folder` does.
    """
    check_folder(folder)
    files = list(_files(folder))
    pictures = [path for path in files if path.suffix.lower() in ENDINGS]
    # Normalised, since one system writes ä as one character and another as two; the order must not depend on it.
    found = sorted((_name(path, folder), path) for path in pictures)
    names = [name for name, _ in found]
    if not names:
        raise ValueError(f"{str(folder)!r} has no pictures in it; they end in {', '.join(ENDINGS)}.")
    above = [name for name in names if "/" not in name]
    if above and len(above) < len(names):
        raise ValueError(
            f"{str(folder)!r} has pictures ({few([*map(repr, above)])}) beside sub-folders with pictures, which are "
            "classes. Move the pictures into sub-folders too, or all pictures into one folder without sub-folders."
        )
    tops = sorted({name.partition("/")[0] for name in names} - set(above))
    if len(tops) > 1 and {top.lower() for top in tops} <= SPLIT_NAMES:
        given = next((top for top in tops if top.lower().startswith("train")), tops[0])
        raise ValueError(
            f"{str(folder)!r} has the sub-folders {', '.join(map(repr, tops))}: these are splits, not classes, and the "
            f"split is drawn here. Give one of them, such as {str(folder / given)!r}, or move their pictures together."
        )

    def attempt(path: Path) -> tuple[bytes, NDArray[np.uint8]] | str:
        try:
            content = path.read_bytes()
            return hashlib.sha256(content).digest(), _read_picture(content, size, channels)
        except UnidentifiedImageError:
            return "not in a format that Pillow reads"
        except Exception as error:  # broken files raise what they like; each is reported with its name below
            return str(error) or type(error).__name__

    Image.init()  # loads Pillow's formats, before threads would do so at the same time
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        results = list(zip(names, pool.map(attempt, [path for _, path in found]), strict=True))
    broken = [(name, result) for name, result in results if isinstance(result, str)]
    if broken and not skip_broken:
        raise ValueError(
            f"{str(folder)!r} has {len(names)} pictures, {len(broken)} of which cannot be read: "
            f"{few([f'{name!r} ({reason})' for name, reason in broken])}. Save them anew as JPEG or PNG, remove them, "
            "or leave them out with skip_broken=True."
        )
    read = [(name, *result) for name, result in results if not isinstance(result, str)]
    copies: dict[bytes, list[int]] = {}
    for place, (_, digest, _) in enumerate(read):
        copies.setdefault(digest, []).append(place)
    if len(copies) < len(SPLITS):
        raise ValueError(
            f"{str(folder)!r} has {len(copies)} different pictures that can be read; it takes at least {len(SPLITS)}, "
            f"one for each of {', '.join(SPLITS)}."
        )
    classes = ["" if above else name.partition("/")[0] for name, _, _ in read]
    class_names = sorted(set(classes))
    labels = np.array([class_names.index(name) for name in classes], dtype=np.int64)
    images = np.stack([pixels for _, _, pixels in read])
    order = np.random.default_rng(0).permutation(len(copies))
    held_out = max(1, len(copies) // 10)
    drawn = {"test": order[:held_out], "validation": order[held_out : 2 * held_out], "train": order[2 * held_out :]}
    groups = list(copies.values())
    splits = {}
    for split in SPLITS:
        places = sorted(place for group in drawn[split] for place in groups[group])
        splits[split] = images[places], labels[places]
    others = [path for path in files if path.suffix.lower() not in ENDINGS]
    say_passed_over(folder, others, f"{len(names)} pictures")
    if not above:
        _say_strange_classes(folder, names, class_names, {class_names[label] for label in splits["train"][1]})
    return Folder(splits, () if above else tuple(class_names), tuple(name for name, _ in broken))


def _say_strange_classes(folder: Path, names: list[str], classes: list[str], trained: set[str]) -> None:
    """Warn if what the sub-folders hold is hardly what a person means by classes."""
    remarks = []
    present = {_name(path, folder) for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)}
    if empty := sorted(present - set(classes)):
        remarks.append(
            f"the sub-folders {few([*map(repr, empty)])} have no pictures that can be read and are no classes"
        )
    if untrained := sorted(set(classes) - trained):
        remarks.append(
            f"no picture of {few([*map(repr, untrained)])} is for training, since a tenth of all pictures, drawn at "
            "random, is for validation and a tenth for the test; a class takes at least ten or so"
        )
    inner = sorted({"/".join(name.split("/")[:2]) for name in names if name.count("/") > 1})
    if len(classes) == 1 and len(inner) > 1:
        remarks.append(
            f"there is one sub-folder and so one class, {classes[0]!r}; if {few([*map(repr, inner)])} are the classes, "
            f"give {str(folder / classes[0])!r}"
        )
    if remarks:
        warnings.warn(f"{str(folder)!r}: {'; '.join(remarks)}.", stacklevel=3)


def _name(path: Path, folder: Path) -> str:
    return unicodedata.normalize("NFC", path.relative_to(folder).as_posix())


def _files(folder: Path, through: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Find the files in a folder and below it. `through`: the real folders on the way here, to notice circles."""
    real = folder.resolve()
    if real in through:
        return
    for path in folder.iterdir():
        if is_hidden(path.name):
            continue
        if path.is_dir():
            yield from _files(path, (*through, real))
        else:
            yield path


def _read_picture(content: bytes, size: int, channels: int) -> NDArray[np.uint8]:
    """Return a picture's central square as (channels, size, size)."""
    with Image.open(io.BytesIO(content)) as opened:
        # A JPEG that is much larger is decoded at a half, a quarter or an eighth of its size, which is quicker.
        opened.draft(None, (4 * size, 4 * size))
        # PNG and PPM have 16 bits at most, though Pillow may give them 32.
        sixteen = opened.mode.startswith("I;16") or (opened.mode == "I" and opened.format in ("PNG", "PPM"))
        picture = ImageOps.exif_transpose(opened)
    if sixteen:
        values = np.asarray(picture).astype(np.int64)
        picture = Image.fromarray(((values + 128) // 257).astype(np.uint8))  # rounded: 65,535 is white
    elif picture.mode in ("I", "F"):
        raise ValueError("its values have 32 bits, and which one is white is not known; save it with 8 or 16")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("L" if channels == 1 else "RGB")
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    square = picture.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    return np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1)
