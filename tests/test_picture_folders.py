"""A folder of one's own pictures: what is found, how every kind of file is read, and how the folder is split."""

import hashlib
import io
import itertools
import os
import pickle
import shutil
import struct
import subprocess
import unicodedata
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from aigc_course import gan, metrics, training, vae
from aigc_course.data import ImageData, load_images
from aigc_course.data.folder import read_folder

SPLITS = ("train", "validation", "test")


def fill(folder: Path, *names: str, size: tuple[int, int] = (8, 8)) -> Path:
    """Write pictures of these names; each has a colour of its own, which follows from the name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(os.fsencode(path.relative_to(folder))).digest()
        Image.new("RGB", size, tuple(digest[:3])).save(path, format="PNG")
    return folder


def numbered(n: int, prefix: str = "") -> list[str]:
    return [f"{prefix}{i:03}.png" for i in range(n)]


def picture(folder: Path, name: str, size: int = 8, channels: int = 3) -> NDArray[np.uint8]:
    """Read one picture as a folder of it and of two others is read; return (height, width, channels)."""
    own = folder / name
    beside = folder.parent / f"{folder.name} with others"
    shutil.rmtree(beside, ignore_errors=True)
    fill(beside, "other/0.png", "other/1.png")
    (beside / "this").mkdir()
    shutil.copyfile(own, beside / "this" / name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* is for training")  # one picture is not enough for a class
        found = read_folder(beside, size, channels)
    images, labels = (np.concatenate(parts) for parts in zip(*found.splits.values(), strict=True))
    (place,) = np.flatnonzero(labels == found.class_names.index("this"))
    return images[place].transpose(1, 2, 0)


def colours(data: ImageData) -> dict[str, list[tuple[int, ...]]]:
    """Each split's pictures, by the colour that `fill` gave them."""
    return {
        split: [tuple((image[:, 0, 0] * 255).round().int().tolist()) for image in data.split(split)[0]]
        for split in SPLITS
    }


# --- what is found ----------------------------------------------------------------------------------------------------


def test_a_folder_gives_pictures_of_the_size_and_colours_asked_for(tmp_path: Path) -> None:
    fill(tmp_path, *numbered(30), size=(20, 12))
    data = ImageData(tmp_path)
    assert {split: tuple(data.split(split)[0].shape) for split in SPLITS} == {
        "train": (24, 3, 64, 64),
        "validation": (3, 3, 64, 64),
        "test": (3, 3, 64, 64),
    }
    assert (data.class_names, data.skipped) == ((), ())
    images, labels = load_images(tmp_path, "validation", size=16, channels=1)
    assert (images.shape, images.dtype) == ((3, 1, 16, 16), torch.float32)
    assert (labels.tolist(), labels.dtype) == ([0, 0, 0], torch.int64)
    assert 0 <= images.min() < images.max() <= 1
    assert len(set(itertools.chain(*colours(data).values()))) == 30


@pytest.mark.parametrize("write", [lambda path: path, str, lambda path: f"{path}/", lambda path: path.name])
def test_a_folder_is_named_by_a_path_or_a_string(
    write: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "my photos", *numbered(4))
    monkeypatch.chdir(tmp_path)
    assert len(ImageData(write(folder), size=8).split("train")[0]) == 2


def test_a_data_set_wins_over_a_folder_of_its_name_unless_it_is_written_as_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "digits", *numbered(4))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ImageData("digits").split("test")[0].shape == (500, 1, 28, 28)
    for name in (Path("digits"), "digits/", "./digits", "~/digits"):
        assert ImageData(name).split("test")[0].shape == (1, 3, 64, 64)


def test_sub_folders_are_classes_in_alphabetical_order(tmp_path: Path) -> None:
    fill(tmp_path, *numbered(20, "b-dog/"), *numbered(20, "b/2024/May/"), *numbered(5, "b/"), *numbered(20, "äpfel/"))
    data = ImageData(tmp_path, size=8)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read me.txt").write_text("no picture")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert data.class_names == ("b", "b-dog", "äpfel")
    assert [str(one.message).split("': ")[-1].split(" has ")[-1] for one in said] == [
        "65 pictures, and beside them files that are not read: 1 in .txt.",
        "the sub-folders 'empty', 'notes' have no pictures that can be read and are no classes.",
    ]
    seen = {}
    for split in SPLITS:
        for colour, label in zip(colours(data)[split], data.split(split)[1].tolist(), strict=True):
            seen[colour] = data.class_names[label]
    for name, kind in [("b-dog/003.png", "b-dog"), ("b/2024/May/004.png", "b"), ("b/001.png", "b")]:
        assert seen[tuple(hashlib.sha256(name.encode()).digest()[:3])] == kind
    assert sorted(seen.values()) == ["b"] * 25 + ["b-dog"] * 20 + ["äpfel"] * 20


def test_what_is_no_picture_is_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "one.png", "TWO.JPG", "three.Jpeg", "four.webp", ".hidden.png", ".thumbs/small.png")
    fill(tmp_path, "__MACOSX/one.png", "__MACOSX/._one.png", "._one.png")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "labels.txt", "labels.csv", "film.mp4", "no ending"):
        (tmp_path / name).write_bytes(b"something else")
    with pytest.warns(
        UserWarning, match=r"has 4 pictures, .*not read: 1 without an ending, 1 in \.csv, 1 in \.mp4, 1 in \.txt\."
    ):
        assert sum(map(len, colours(ImageData(tmp_path)).values())) == 4


def test_a_folder_of_a_camera_s_own_format_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    fill(tmp_path, *numbered(4))
    for number in range(50):
        (tmp_path / f"IMG_{number}.CR2").write_bytes(b"II*\0 raw")
    with pytest.warns(UserWarning, match=r"has 4 pictures, and beside them files that are not read: 50 in \.cr2"):
        ImageData(tmp_path, size=8).prepare_data()


def test_a_class_that_nothing_can_learn_is_named(tmp_path: Path) -> None:
    fill(tmp_path, *(f"kind {number}/only.png" for number in range(10)))
    data = ImageData(tmp_path, size=8)
    with pytest.warns(UserWarning, match=r"no picture of 'kind \d', 'kind \d' is for training"):
        _, labels = data.split("train")
    assert len(labels) == 8


def test_a_folder_that_was_unpacked_into_one_of_its_name(tmp_path: Path) -> None:
    fill(tmp_path, *numbered(12, "photos/cat/"), *numbered(12, "photos/dog/"))
    data = ImageData(tmp_path, size=8)
    with pytest.warns(UserWarning, match=r"one class, 'photos'; if 'photos/cat', 'photos/dog' are .*/photos'\."):
        assert data.class_names == ("photos",)
    assert ImageData(tmp_path / "photos", size=8).class_names == ("cat", "dog")


def test_pictures_of_one_class_are_one_class(tmp_path: Path) -> None:
    fill(tmp_path, *numbered(12, "photos/"))
    assert ImageData(tmp_path, size=8).class_names == ("photos",)


def test_names_may_be_anything_that_a_file_system_takes(tmp_path: Path) -> None:
    names = ["with space.png", "Übung ß.png", "日本.png", 'it\'s "quoted".png', "a\nb.png", "%s{}.png"]
    fill(tmp_path, *names)
    latin = os.fsdecode(os.fsencode(tmp_path) + b"/sch\xf6n.png")  # not UTF-8
    shutil.copyfile(tmp_path / names[0], latin)
    Path(latin).write_bytes(Path(latin).read_bytes()[:-30])
    with pytest.raises(ValueError) as error:
        ImageData(tmp_path).split("train")
    assert r"sch\udcf6n.png" in str(error.value).encode().decode()  # which says that it can be printed
    data = ImageData(tmp_path, skip_broken=True)
    assert sum(map(len, colours(data).values())) == len(names)
    assert data.skipped == ("sch\udcf6n.png",)


@pytest.mark.filterwarnings("ignore:.* is for training")
def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", "album/1.png", "album/2.png")
    root = fill(tmp_path / "photos", "a/3.png", "b/4.png")
    (root / "c").symlink_to(tmp_path / "elsewhere" / "album")
    (root / "b" / "5.png").symlink_to(tmp_path / "elsewhere" / "album" / "1.png")
    (root / "a" / "up").symlink_to(root)
    (root / "itself").symlink_to(root / "itself")
    data = ImageData(root)
    with pytest.warns(UserWarning, match=r"not read: 1 without an ending"):  # the link to itself
        assert data.class_names == ("a", "b", "c")
    assert sum(map(len, colours(data).values())) == 5
    assert len(set(itertools.chain(*colours(data).values()))) == 4


def test_the_folder_is_read_once_and_only_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []

    def counted(folder: Path, *arguments: Any, **options: Any) -> Any:
        calls.append(folder)
        return read_folder(folder, *arguments, **options)

    monkeypatch.setattr("aigc_course.data.images.read_folder", counted)
    data = ImageData(fill(tmp_path, *numbered(12)))
    assert calls == []
    data.prepare_data()
    assert [len(data.split(split)[0]) for split in SPLITS] == [10, 1, 1]
    assert (data.class_names, data.skipped) == ((), ())
    assert len(list(data.train_dataloader())) == len(list(data.val_dataloader())) == len(list(data.test_dataloader()))
    assert calls == [tmp_path]
    assert pickle.loads(pickle.dumps(data)).split("train")[0].equal(data.split("train")[0])
    assert calls == [tmp_path]


def test_pictures_are_kept_as_bytes_and_given_as_numbers(tmp_path: Path) -> None:
    data = ImageData(fill(tmp_path, *numbered(20)), size=8, batch_size=5)
    assert {data._pictures(split).images.dtype for split in SPLITS} == {torch.uint8}
    whole = data.split("validation")[0]
    batch, labels = next(iter(data.val_dataloader()))
    assert (batch.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert torch.equal(batch, whole)
    assert torch.equal(data.val_dataloader().dataset[0][0], whole[0])
    assert torch.equal(whole * 255, (whole * 255).round())


# --- the split --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "sizes"), [(3, (1, 1, 1)), (4, (2, 1, 1)), (19, (17, 1, 1)), (100, (80, 10, 10))])
def test_every_split_has_pictures(n: int, sizes: tuple[int, ...], tmp_path: Path) -> None:
    data = ImageData(fill(tmp_path, *numbered(n)), size=8)
    assert tuple(len(data.split(split)[1]) for split in SPLITS) == sizes


def test_the_split_does_not_depend_on_the_order_of_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, *numbered(20, "a/"), *numbered(20, "b/"))
    expected = colours(ImageData(tmp_path))
    listed = Path.iterdir
    for order in (sorted, lambda paths: sorted(paths, reverse=True), lambda paths: sorted(paths, key=hash)):
        monkeypatch.setattr(Path, "iterdir", lambda path, order=order: iter(order(listed(path))))
        assert colours(ImageData(tmp_path)) == expected


def test_the_split_is_fixed(tmp_path: Path) -> None:
    # Whoever changes it changes every result on a reader's own pictures: a model would be measured on its own training.
    data = ImageData(fill(tmp_path, *numbered(30)), size=8)
    by_colour = {tuple(hashlib.sha256(name.encode()).digest()[:3]): name[:3] for name in numbered(30)}
    held_out = {split: [by_colour[colour] for colour in colours(data)[split]] for split in ("validation", "test")}
    assert held_out == {"validation": ["004", "010", "021"], "test": ["002", "011", "026"]}


def test_the_split_does_not_depend_on_how_a_system_writes_umlauts(tmp_path: Path) -> None:
    names = [f"{letter}/{word}.png" for letter in "aäbü" for word in ("Öl", "Oz", "Zoo", "öl", "über", "z")]
    folders = {form: tmp_path / form for form in ("NFC", "NFD")}
    for form, folder in folders.items():
        for i, name in enumerate(names):
            path = folder / unicodedata.normalize(form, name)  # type: ignore[arg-type]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (i, i, i)).save(path)
    one, other = (ImageData(folder) for folder in folders.values())
    assert colours(one) == colours(other)
    assert one.class_names == other.class_names == ("a", "b", "ä", "ü")
    assert all(one.split(split)[1].equal(other.split(split)[1]) for split in SPLITS)


def test_the_split_is_the_same_for_every_size_and_colour(tmp_path: Path) -> None:
    fill(tmp_path, *numbered(40))
    grey = {}
    for size in (4, 9):
        data = ImageData(tmp_path, size=size, channels=1)
        grey[size] = {split: data.split(split)[0][:, 0, 0, 0].tolist() for split in SPLITS}
    assert grey[4] == grey[9]
    coloured = colours(ImageData(tmp_path))
    assert [len(grey[4][split]) for split in SPLITS] == [len(coloured[split]) for split in SPLITS]


def test_copies_of_a_picture_are_in_one_split(tmp_path: Path) -> None:
    fill(tmp_path, *numbered(30))
    for name in numbered(30):
        for copy in range(int(name[:3]) % 4):
            shutil.copyfile(tmp_path / name, tmp_path / f"{copy} copy of {name}")
    data = ImageData(tmp_path)
    seen = colours(data)
    assert sum(map(len, seen.values())) == 30 + sum(i % 4 for i in range(30))
    for one, other in itertools.combinations(SPLITS, 2):
        assert not set(seen[one]) & set(seen[other])
    assert [len(set(seen[split])) for split in SPLITS] == [24, 3, 3]


# --- how every kind of file is read -----------------------------------------------------------------------------------


def test_a_picture_of_the_right_size_stays_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(picture(tmp_path, "a.png", 64), pixels)
    grey = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    np.testing.assert_array_equal(picture(tmp_path, "a.png", 64, channels=1), grey)


@pytest.mark.parametrize("size", [(300, 100), (100, 300), (101, 200), (100, 100)])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_the_central_square_is_averaged(size: tuple[int, int], ending: str, tmp_path: Path) -> None:
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    reach = min(size) / 2
    inside = (abs(rows - (height - 1) / 2) < reach) & (abs(columns - (width - 1) / 2) < reach)
    fine = np.where((rows + columns) % 2, 255, 0)  # a chess board, grey from afar: without averaging it is not
    Image.fromarray(np.where(inside, fine, 255).astype(np.uint8)).save(tmp_path / f"a.{ending}", quality=100)
    read = picture(tmp_path, f"a.{ending}", 10).astype(int)
    assert np.max(abs(read[1:-1, 1:-1] - 127)) <= 3
    assert read.max() <= 160  # nothing of what is cropped away


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_their_exif_data_say(orientation: int, ending: str, tmp_path: Path) -> None:
    upright = Image.new("RGB", (40, 40), "black")
    upright.paste("red", (0, 0, 20, 20))
    upright.paste("lime", (20, 0, 40, 20))
    upright.paste("blue", (0, 20, 20, 40))
    turns = Image.Transpose
    # How the camera stored it, so that the turn that EXIF names brings it back.
    stored = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_90,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_270,
    }
    sideways = upright.transpose(stored[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[274] = orientation
    sideways.save(tmp_path / f"a.{ending}", exif=exif, quality=95)
    read = picture(tmp_path, f"a.{ending}", 4).astype(int)
    corners = read[[0, 0, 3], [0, 3, 0]]
    assert np.max(abs(corners - [[255, 0, 0], [0, 255, 0], [0, 0, 255]])) < 40


def test_a_tall_photograph_that_is_stored_lying_is_cropped_as_it_stands(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (41, 20, 3), dtype=np.uint8)
    upright = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[274] = 6
    upright.save(tmp_path / "upright.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    np.testing.assert_array_equal(picture(tmp_path, "lying.png"), picture(tmp_path, "upright.png"))


def save_mode(path: Path, mode: str) -> None:
    """Write a picture whose left half is black and whose right half is white, or near it, in this mode."""
    ramp = Image.new("L", (16, 16))
    ramp.paste(255, (8, 0, 16, 16))
    if mode == "I;16":
        Image.fromarray(np.asarray(ramp).astype(np.uint16) * 257).save(path)
    elif mode == "I;16B":
        Image.fromarray(np.asarray(ramp).astype(">u2") * 257).save(path)
    elif mode == "P":
        Image.merge("RGB", [ramp] * 3).quantize(8).save(path)
    elif mode == "LA":
        Image.merge("LA", [ramp, Image.new("L", ramp.size, 255)]).save(path)
    else:
        ramp.convert(mode).save(path)


@pytest.mark.parametrize(
    ("mode", "ending"),
    [
        *(("L", ending) for ending in ("png", "jpg", "gif", "bmp", "tif", "webp", "pgm", "tga", "jp2")),
        *(("1", ending) for ending in ("png", "bmp", "tif", "pbm", "gif")),
        *(("RGB", ending) for ending in ("png", "jpg", "jfif", "jpe", "jpeg", "ppm", "gif")),
        *(("RGBA", ending) for ending in ("png", "tif", "webp", "gif")),
        *(("LA", ending) for ending in ("png", "tif")),
        *(("P", ending) for ending in ("png", "gif", "bmp", "tif")),
        *(("I;16", ending) for ending in ("png", "tif", "pgm", "jp2")),
        ("I;16B", "tif"),
        ("CMYK", "jpg"),
        ("CMYK", "tif"),
        ("YCbCr", "jpg"),
        ("YCbCr", "tif"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_keeps_black_black_and_white_white(mode: str, ending: str, channels: int, tmp_path: Path) -> None:
    save_mode(tmp_path / f"a.{ending}", mode)
    read = picture(tmp_path, f"a.{ending}", 16, channels).astype(int)
    assert read.shape == (16, 16, channels)
    assert read[:, :6].max() <= 8
    assert read[:, 10:].min() >= 247


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_not_cut_off(ending: str, tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    values[0, 1] += 128  # nearer to the value above
    values[0, 2] += 129
    Image.fromarray(values).save(tmp_path / f"a.{ending}")
    expected = np.arange(256).reshape(16, 16)
    expected[0, 2] = 3
    np.testing.assert_array_equal(picture(tmp_path, f"a.{ending}", 16, 1)[:, :, 0], expected)


def test_cmyk_has_the_colours_it_names(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / "cyan.jpg", quality=95)
    assert np.max(abs(picture(tmp_path, "cyan.jpg").astype(int) - [0, 255, 255])) < 10


@pytest.mark.parametrize(
    "kind", ["RGBA", "LA", "RGB with a transparent colour", "P with one", "P with many", "1", "gif"]
)
def test_what_is_transparent_becomes_white(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.gif" if kind == "gif" else "a.png")
    alpha = Image.new("L", (16, 16))
    alpha.paste(255, (8, 0, 16, 16))
    if kind in ("RGBA", "LA"):
        bands = [Image.new("L", (16, 16), 0)] * (len(kind) - 1)
        Image.merge(kind, [*bands, alpha]).save(path)
    elif kind.startswith("RGB "):
        colours = Image.new("RGB", (16, 16), (9, 9, 9))
        colours.paste((0, 0, 0), (8, 0, 16, 16))
        colours.save(path, transparency=(9, 9, 9))
    elif kind == "1":
        bits = Image.new("1", (16, 16), 1)
        bits.paste(0, (8, 0, 16, 16))
        bits.save(path, transparency=1)
    else:
        palette = Image.new("P", (16, 16), 0)
        palette.putpalette([50, 50, 50, 0, 0, 0])
        palette.paste(1, (8, 0, 16, 16))
        palette.save(path, transparency=bytes([0, 255]) if kind == "P with many" else 0)
    for channels in (1, 3):
        read = picture(tmp_path, path.name, 16, channels).astype(int)
        assert read[:, :6].min() >= 250
        assert read[:, 10:].max() <= 5


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    Image.new("RGBA", (16, 16), (0, 0, 0, 128)).save(tmp_path / "a.png")
    assert np.max(abs(picture(tmp_path, "a.png").astype(int) - 127)) <= 1


@pytest.mark.parametrize("ending", ["gif", "webp", "tif", "png"])
def test_of_several_pages_the_first_counts(ending: str, tmp_path: Path) -> None:
    first, *others = (Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue"))
    first.save(tmp_path / f"a.{ending}", save_all=True, append_images=others)
    assert np.max(abs(picture(tmp_path, f"a.{ending}").astype(int) - [255, 0, 0])) < 10


def test_a_file_may_be_of_another_kind_than_it_says(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.jpg", format="PNG")
    assert (picture(tmp_path, "a.jpg") == [255, 0, 0]).all()


def test_a_large_photograph_is_read_as_if_it_were_decoded_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scene = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((1600, 1200))
    scene.save(tmp_path / "a.jpg", quality=95)
    scene.save(tmp_path / "a.png")
    difference = abs(picture(tmp_path, "a.jpg", 16).astype(int) - picture(tmp_path, "a.png", 16))
    assert np.max(difference) <= 4
    assert difference.mean() < 1


# --- what cannot be read ----------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims to be of this size."""
    stream = io.BytesIO()
    Image.new("L", (1, 1)).save(stream, format="PNG")
    content = stream.getvalue()
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def broken(path: Path, kind: str) -> None:
    """Write a picture that cannot be read, for this reason."""
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    if kind == "cut":
        Image.fromarray(noise).save(stream, format="PNG" if path.suffix == ".png" else "JPEG")
        path.write_bytes(stream.getvalue()[:-500])
    elif kind == "empty":
        path.touch()
    elif kind == "a page of the web":
        path.write_text("<html>404</html>")
    elif kind == "huge":
        path.write_bytes(png(100_000, 100_000))
    elif kind == "large":
        path.write_bytes(png(10_000, 10_000))
    elif kind == "floating point":
        Image.fromarray(noise[:, :, 0].astype(np.float32)).save(path)
    elif kind == "32 bits":
        Image.fromarray(noise[:, :, 0].astype(np.int32)).save(path)
    elif kind == "much text":
        text = PngInfo()
        text.add_text("comment", "0" * 70_000_000, zip=True)
        Image.fromarray(noise).save(path, pnginfo=text)
    else:
        path.symlink_to("nowhere.jpg")


@pytest.mark.filterwarnings("ignore:.* the sub-folders .bad. have no pictures that can be read")
@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("a.jpg", "cut", "truncated"),
        ("a.png", "cut", "truncated"),
        ("a.jpg", "empty", "not in a format that Pillow reads"),
        ("a.jpg", "a page of the web", "not in a format that Pillow reads"),
        ("a.png", "huge", "exceeds limit of 178956970 pixels"),
        ("a.png", "large", "exceeds limit of 89478485 pixels"),
        ("a.png", "much text", "Decompressed data too large"),
        ("a.tif", "floating point", "its values have 32 bits, and which one is white is not known"),
        ("a.tif", "32 bits", "its values have 32 bits"),
        ("a.jpg", "link to nowhere", "No such file"),
    ],
)
def test_a_broken_picture_is_named_or_skipped(name: str, kind: str, reason: str, tmp_path: Path) -> None:
    fill(tmp_path, *numbered(5, "good/"))
    (tmp_path / "bad").mkdir()
    broken(tmp_path / "bad" / name, kind)
    data = ImageData(tmp_path)
    with pytest.raises(ValueError) as error:
        data.split("train")
    for part in (
        f"{str(tmp_path)!r} has 6 pictures, 1 of which cannot be read: 'bad/{name}' (",
        reason,
        "skip_broken=True",
    ):
        assert part in str(error.value)
    assert " at 0x" not in str(error.value)
    data = ImageData(tmp_path, skip_broken=True)
    assert data.skipped == (f"bad/{name}",)
    assert data.class_names == ("good",)
    assert [len(data.split(split)[0]) for split in SPLITS] == [3, 1, 1]
    assert len(load_images(tmp_path, "train", skip_broken=True)[0]) == 3


def test_of_many_broken_pictures_five_are_named(tmp_path: Path) -> None:
    fill(tmp_path, *numbered(5))
    for i in range(9):
        broken(tmp_path / f"bad {i}.jpg", "cut")
    with pytest.raises(
        ValueError, match=r"14 pictures, 9 of which .*'bad 0\.jpg' \(.*'bad 4\.jpg' \([^)]*.* and 4 more\."
    ):
        ImageData(tmp_path).split("train")


def test_a_picture_that_is_in_use_elsewhere_is_closed_again(tmp_path: Path) -> None:
    fill(tmp_path, *numbered(4))
    broken(tmp_path / "bad.jpg", "cut")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    ImageData(tmp_path, skip_broken=True).split("train")
    assert not before or len(os.listdir("/proc/self/fd")) == before


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Thirty noisy pictures in two classes, darker and lighter, as JPEGs of several sizes."""
    rng = np.random.default_rng(0)
    for i in range(30):
        path = tmp_path / ("light" if i % 2 else "dark") / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 128, (50 + i, 70 - i, 3)) + 100 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [28, 32, 64])
def test_a_vae_learns_from_a_folder(size: int, channels: int, album: Path) -> None:
    data = ImageData(album, size=size, channels=channels, batch_size=8, rotate=5.0)
    shape, classes = (channels, size, size), len(data.class_names)
    tiny: dict[str, Any] = {"latent_dim": 2, "channels": 4, "width": 8, "shape": shape, "learning_rate": 1e-2}
    plain, conditional, autoencoder = vae.VAE(**tiny), vae.VAE(**tiny, num_classes=classes), vae.Autoencoder(**tiny)
    for model in (plain, conditional, autoencoder):
        history = training.fit(model, data, max_epochs=6)
        assert history["train_loss"][-1] < history["train_loss"][0]
        assert np.isfinite(history["val_loss"]).all()
    images, labels = data.split("test")
    assert plain.reconstruct(images).shape == autoencoder.reconstruct(images).shape == images.shape
    assert conditional.sample(2, torch.arange(2)).shape == (2, *shape)
    assert vae.iwae_bound(conditional, images, 2, labels).isfinite().all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("architecture", ["dense", "convolutional"])
def test_a_gan_learns_from_a_folder(architecture: str, size: int, channels: int, album: Path) -> None:
    data = ImageData(album, size=size, channels=channels, batch_size=8, signed=True)
    network: dict[str, Any] = {"shape": [channels, size, size]}
    if architecture == "convolutional":
        network |= {"channels": 2, "num_classes": len(data.class_names)}
    game = {"augmentation": {"rotate": 5.0, "shift": 2.0}}
    model = gan.build(architecture, {"latent_dim": 4, **network}, network, game)
    history = training.fit(model, data, max_epochs=1)
    assert all(np.isfinite(values).all() for values in history.values())
    samples = model.sample(3)
    assert samples.shape == (3, channels, size, size)
    assert -1 <= samples.min() < samples.max() <= 1
    assert metrics.nearest(samples / 2 + 0.5, data.split("train")[0]).indices.shape == (3, 1)


def test_two_processes_train_on_one_folder(album: Path, python: Callable[..., subprocess.Popen[str]]) -> None:
    script = album.parent / "two.py"
    script.write_text(
        "import os\n"
        "from aigc_course import training, vae\n"
        "from aigc_course.data import ImageData\n"
        f"data = ImageData({str(album)!r}, size=16, batch_size=8)\n"
        "model = vae.VAE(2, shape=(3, 16, 16), channels=4, width=8)\n"
        "options = {'accelerator': 'cpu', 'devices': 2, 'strategy': 'ddp'}\n"
        "history = training.fit(model, data, max_epochs=1, **options)\n"
        "if os.environ.get('LOCAL_RANK', '0') == '0':\n"
        "    print(sorted(history), data.class_names)\n"
    )
    out, err = python(str(script)).communicate(timeout=240)
    assert out.strip().endswith("'val_log_likelihood', 'val_loss'] ('dark', 'light')"), err


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.bad_input
def test_a_name_that_is_neither_a_data_set_nor_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photos", ""):
        with pytest.raises(
            ValueError, match=f"data set '{name}' is unknown; there are 'digits', .* own pictures is given"
        ):
            ImageData(name)
    for path in (Path("photos"), "photos/", str(tmp_path / "photos")):
        for call in (ImageData, load_images):
            with pytest.raises(FileNotFoundError, match=rf"'{tmp_path}/photos' does not exist; it takes a folder"):
                call(path)


@pytest.mark.bad_input
@pytest.mark.parametrize("name", ["photos.zip", "one.png", "photos.tar"])
def test_a_file_instead_of_a_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fill(tmp_path, "one.png"))
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.write("one.png")
    shutil.make_archive("photos", "tar", tmp_path, "one.png")
    advice = "a file; .* Give the folder that it is in" if name == "one.png" else "an archive; .* Unpack it"
    for given in (name, Path(name), f"./{name}"):
        with pytest.raises(ValueError, match=f"'{name}' is {advice}"):
            ImageData(given)


@pytest.mark.bad_input
def test_a_folder_without_enough_pictures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no pictures in it; they end in .*\.jpg, .*\.png"):
        ImageData(tmp_path).split("train")
    (tmp_path / "list.txt").touch()
    with pytest.raises(ValueError, match=r"has no pictures in it"):
        ImageData(tmp_path).prepare_data()
    (tmp_path / "list.txt").unlink()
    fill(tmp_path, "a.png", "b.png")
    for copy in range(5):
        shutil.copyfile(tmp_path / "a.png", tmp_path / f"copy {copy}.png")
    wanted = r"has 2 different pictures that can be read; it takes at least 3, one for each of train, validation, test"
    with pytest.raises(ValueError, match=wanted):
        ImageData(tmp_path).train_dataloader()
    broken(tmp_path / "c.jpg", "cut")
    with pytest.raises(ValueError, match=wanted):
        ImageData(tmp_path, skip_broken=True).split("test")
    fill(tmp_path, "d.png")
    assert len(ImageData(tmp_path, skip_broken=True).split("test")[0]) >= 1


@pytest.mark.bad_input
@pytest.mark.parametrize("names", [("train", "test"), ("Train", "Val", "Test"), ("validation", "training")])
def test_splits_are_not_classes(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        fill(tmp_path, *numbered(12, f"{name}/cat/"), *numbered(12, f"{name}/dog/"))
    wanted = r"has the sub-folders .*: these are splits, not classes, .* Give one of them, such as '.*/[Tt]rain(ing)?'"
    with pytest.raises(ValueError, match=wanted):
        ImageData(tmp_path).split("train")
    assert ImageData(tmp_path / names[0], size=8).class_names == ("cat", "dog")


@pytest.mark.bad_input
@pytest.mark.parametrize("name", [None, ["a.png", "b.png"], b"photos"])
def test_a_folder_is_given_by_one_path(name: Any) -> None:
    with pytest.raises(ValueError, match=f"name is a {type(name).__name__}; it takes .* the path of one folder"):
        ImageData(name)


@pytest.mark.bad_input
def test_pictures_beside_classes(tmp_path: Path) -> None:
    fill(tmp_path, *numbered(8), "cats/1.png")
    with pytest.raises(
        ValueError, match=r"pictures \('000\.png', .* and 3 more\) beside sub-folders .* Move the pictures"
    ):
        ImageData(tmp_path).split("train")


@pytest.mark.bad_input
def test_sizes_and_colours_that_do_not_exist(tmp_path: Path) -> None:
    fill(tmp_path, *numbered(3))
    for call in (ImageData, load_images):
        for size in (0, -1):
            with pytest.raises(ValueError, match=rf"size is {size}; it takes a whole number ≥ 1"):
                call(tmp_path, size=size)
        for channels in (0, 2, 4):
            with pytest.raises(
                ValueError, match=rf"channels is {channels}; it takes 1 \(grey\) or 3 \(red, green, blue"
            ):
                call(tmp_path, channels=channels)
        for argument in ({"size": 28}, {"channels": 1}, {"skip_broken": True}):
            (name, value), *_ = argument.items()
            with pytest.raises(
                ValueError, match=rf"{name} is {value}, but it is for folders .* 'digits' is a data set"
            ):
                call("digits", **argument)
    with pytest.raises(ValueError, match="split is 'val'; it takes one of 'train', 'validation', 'test'"):
        load_images(tmp_path, "val")


@pytest.mark.bad_input
def test_models_of_another_shape_than_the_pictures(tmp_path: Path) -> None:
    data = ImageData(fill(tmp_path, *numbered(6)), size=16)
    with pytest.raises(ValueError, match=r"x has the shape \(4, 3, 16, 16\); it takes \(batch, 1, 28, 28\)"):
        training.fit(vae.VAE(2, channels=4, width=8), data, max_epochs=1)
    network = {"shape": [1, 28, 28]}
    signed = ImageData(tmp_path, size=16, signed=True)
    with pytest.raises(ValueError, match=r"examples of shape \(3, 16, 16\); the model takes \(1, 28, 28\)"):
        training.fit(gan.build("dense", {"latent_dim": 2, **network}, network), signed, max_epochs=1)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    "measure",
    [
        metrics.judge_probabilities,
        metrics.judge_features,
        lambda x: metrics.judge_accuracy(x, torch.zeros(len(x), dtype=torch.long)),
        lambda x: metrics.judge_frechet_distance(x, x),
        lambda x: metrics.judge_kernel_distance(x, x),
        lambda x: metrics.precision_recall(x, x),
        metrics.digit_shares,
        metrics.digit_coverage,
        metrics.confident_share,
    ],
)
def test_the_judge_reads_nothing_but_digits(measure: Callable[[Tensor], Any]) -> None:
    with pytest.raises(ValueError, match=r"images has the shape \(70, 3, 64, 64\); it takes \(n, 1, 28, 28\)"):
        measure(torch.rand(70, 3, 64, 64))
