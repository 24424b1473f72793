"""The data: fixed splits, downloads that are checked, whole and once, and the augmentation's geometry."""

import gzip
import hashlib
import io
import math
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torchvision.datasets import CIFAR10

from aigc_course.data import ImageData, faces, games, load_images, random_affine
from aigc_course.data import images as images_module
from aigc_course.data.files import RemoteFile, cache_dir, cached_arrays, fetch
from aigc_course.data.games import play_river_raid

# --- The digits ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> dict[str, tuple[Tensor, Tensor]]:
    return {split: load_images("digits", split) for split in images_module.SPLITS}


def test_digits_have_the_promised_form(digits: dict[str, tuple[Tensor, Tensor]]) -> None:
    assert {split: len(labels) for split, (_, labels) in digits.items()} == {
        "train": 4_000,
        "validation": 500,
        "test": 500,
    }
    for images, labels in digits.values():
        assert images.shape == (len(labels), 1, 28, 28)
        assert images.dtype == torch.float32
        assert labels.dtype == torch.long
        assert images.min() == 0
        assert images.max() == 1
        assert sorted(labels.unique().tolist()) == list(range(10))


def test_digits_splits_are_disjoint_and_together_all(digits: dict[str, tuple[Tensor, Tensor]]) -> None:
    seen = {image.numpy().tobytes() for images, _ in digits.values() for image in images}
    assert len(seen) == 5_000  # every picture once, in one split
    counts = torch.cat([labels for _, labels in digits.values()]).bincount()
    assert counts.tolist() == [500] * 10


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", "43b1909cfb518da2"),
        ("validation", "a149157d94d13324"),
        ("test", "7270989bac5e3650"),
    ],
)
def test_digits_splits_are_fixed(digits: dict[str, tuple[Tensor, Tensor]], split: str, expected: str) -> None:
    # Every figure in the book rests on these splits: whoever changes them changes the book.
    images, labels = digits[split]
    content = (images * 255).round().to(torch.uint8).numpy().tobytes() + labels.numpy().astype("<i8").tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == expected


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", "48e4d5f8d236f52c"),
        ("validation", "bd9969f9aae10d39"),
        ("test", "df106ae6cef641ef"),
    ],
)
def test_the_binarisation_is_fixed(digits: dict[str, tuple[Tensor, Tensor]], split: str, expected: str) -> None:
    # The ruler of all likelihoods: whoever changes a pixel of it makes them incomparable.
    (images, labels), (grey, grey_labels) = load_images("binary_digits", split), digits[split]
    assert images.unique().tolist() == [0, 1]
    assert torch.equal(labels, grey_labels)
    assert not images[grey == 0].any()
    assert images[grey == 1].all()
    content = (images * 255).to(torch.uint8).numpy().tobytes() + labels.numpy().astype("<i8").tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == expected


def test_a_pixel_is_lit_as_often_as_its_grey_value_says(digits: dict[str, tuple[Tensor, Tensor]]) -> None:
    grey, lit = digits["train"][0], load_images("binary_digits", "train")[0]
    for low in torch.linspace(0, 0.9, 10):
        here = (grey > low) & (grey <= low + 0.1) & (grey < 1)
        spread = (grey * (1 - grey))[here].sum().sqrt() / here.sum()
        assert abs(lit[here].mean() - grey[here].mean()) < 4 * spread


def test_digits_labels_belong_to_their_pictures(digits: dict[str, tuple[Tensor, Tensor]]) -> None:
    images, labels = (torch.cat(parts) for parts in zip(digits["train"], digits["validation"], strict=True))
    centres = torch.stack([images[labels == digit].mean(dim=0).flatten() for digit in range(10)])
    test_images, test_labels = digits["test"]
    nearest = torch.cdist(test_images.flatten(1), centres).argmin(dim=1)
    assert (nearest == test_labels).float().mean() > 0.75  # 0.1 if they had come apart


def test_digits_cache_is_made_if_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = load_images("digits", "test")
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    torch.testing.assert_close(load_images("digits", "test")[0], expected, rtol=0, atol=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits.npz", "digits.npz.lock"]


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_broken_digits_cache_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    whole = (cache_dir() / "digits.npz").read_bytes()
    path = tmp_path / "digits.npz"
    if damage == "other":
        np.savez(path, images=np.zeros((5000, 1, 28, 28), dtype=np.uint8), labels=np.zeros(5000, dtype=np.int64))
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"digits\.npz is broken: .*expected 1f75c140503b.*Delete the file"):
        load_images("digits", "train")


# --- Frames of a game ------------------------------------------------------------------------------------------------

COUNTS = {"train": 30, "validation": 10, "test": 10}


def sha256(arrays: dict[str, np.ndarray]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).hexdigest()[:16]


@pytest.fixture(scope="module")
def frames() -> dict[str, tuple[Tensor, Tensor]]:
    return {split: load_images("atari32", split) for split in images_module.SPLITS}


def test_frames_have_the_promised_form(frames: dict[str, tuple[Tensor, Tensor]]) -> None:
    assert [len(labels) for _, labels in frames.values()] == [4_000, 500, 500]
    for images, labels in frames.values():
        assert images.shape == (len(labels), 3, 32, 32)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.long)
        assert 0 <= images.min() < 0.05
        assert 0.8 < images.max() <= 1
        assert labels.unique().tolist() == [0]


def test_no_frame_is_in_two_splits(frames: dict[str, tuple[Tensor, Tensor]]) -> None:
    assert len({image.numpy().tobytes() for images, _ in frames.values() for image in images}) == 5_000


def test_frames_are_fixed(frames: dict[str, tuple[Tensor, Tensor]]) -> None:
    # The game has no chance of its own, and the averages are taken in whole numbers: another result means that the
    # recipe has changed, or the emulator, and with either the chapters' figures.
    stored = {split: (images * 255).round().to(torch.uint8).numpy() for split, (images, _) in frames.items()}
    assert sha256(stored) == "ae5b7823307d45ad"


class NumberedLives:
    """Stands for the emulator: four lives a game, each of some 30 actions; the picture is (life, step) as a colour."""

    setLoggerMode = setInt = setFloat = loadROM = lambda *_: None

    def __init__(self) -> None:
        self.life, self.step, self.left = 0, 0, 4
        self.generator = np.random.default_rng(0)

    def getMinimalActionSet(self) -> list[int]:
        return [0, 1]

    def act(self, action: int) -> None:
        self.step += 1
        if self.generator.random() < 0.03:
            self.life, self.step, self.left = self.life + 1, 0, self.left - 1

    def reset_game(self) -> None:
        self.life, self.step, self.left = self.life + 1, 0, 4

    def game_over(self) -> bool:
        return self.left == 0

    def lives(self) -> int:
        return self.left

    def getScreenRGB(self) -> np.ndarray:
        return np.broadcast_to(np.array([self.life % 250, self.step, self.life // 250], np.uint8), (210, 160, 3))


def test_all_frames_of_a_life_are_in_one_split(monkeypatch: pytest.MonkeyPatch) -> None:
    roms = SimpleNamespace(get_rom_path=str)
    fake = SimpleNamespace(ALEInterface=NumberedLives, LoggerMode=SimpleNamespace(Error=0), roms=roms)
    monkeypatch.setitem(sys.modules, "ale_py", fake)
    played = play_river_raid(2, {"train": 400, "validation": 50, "test": 50})
    lives = {name: set(map(tuple, pictures[:, ::2, 0, 0].tolist())) for name, pictures in played.items()}
    assert {name: len(pictures) for name, pictures in played.items()} == {"train": 400, "validation": 50, "test": 50}
    assert len(lives["train"]) > 50
    assert len(set.union(*lives.values())) == sum(map(len, lives.values()))


def test_frames_are_in_colour_and_vary(frames: dict[str, tuple[Tensor, Tensor]]) -> None:
    images, _ = frames["train"]
    middle, bank = images[:, :, 14:18, 14:18].mean(dim=(0, 2, 3)), images[:, :, :, :2].mean(dim=(0, 2, 3))
    assert middle.argmax() == 2  # the river is blue
    assert bank.argmax() == 1  # the banks are green
    assert (images.std(dim=0).mean(dim=0) > 0.01).float().mean() > 0.95  # hardly a pixel that never changes


def test_two_processes_play_the_same_game(python: Callable[..., subprocess.Popen[str]]) -> None:
    code = (
        "import hashlib\n"
        "from aigc_course.data.games import play_river_raid\n"
        f"played = play_river_raid(32, {COUNTS!r}, seed=3)\n"
        "print(hashlib.sha256(b''.join(array.tobytes() for array in played.values())).hexdigest()[:16])\n"
    )
    out, err = python("-c", code).communicate(timeout=120)
    assert (out.strip(), err) == (sha256(play_river_raid(32, COUNTS, seed=3)), "")
    assert sha256(play_river_raid(32, COUNTS, seed=4)) != out.strip()


@pytest.mark.parametrize("size", [1, 32, 64, 152])
def test_frames_of_any_size_show_the_same(size: int) -> None:
    played = play_river_raid(size, {"only": 3})["only"]
    assert played.shape == (3, 3, size, size)
    assert played.dtype == np.uint8
    whole = play_river_raid(152, {"only": 3})["only"].astype(float)
    # An average over areas keeps the average of the picture, up to the rounding of each pixel.
    np.testing.assert_allclose(played.mean(axis=(2, 3)), whole.mean(axis=(2, 3)), atol=0.51)


def test_shrinking_averages_over_blocks() -> None:
    screen = np.random.default_rng(0).integers(0, 256, (160, 152, 3), dtype=np.uint8)
    blocks = screen.reshape(8, 20, 8, 19, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(games._shrink(screen, 8) - blocks).max() <= 0.5 + 1e-9


@given(size=st.integers(1, 40), length=st.integers(1, 40))
def test_stretches_are_sums_over_finer_steps(size: int, length: int) -> None:
    values = np.random.default_rng(size).integers(0, 256, (length, 2, 1))
    finer = values.repeat(size, axis=0).reshape(size, length, 2, 1)  # `size` steps in each number
    np.testing.assert_array_equal(games._stretches(values, size), finer.sum(axis=1))


def test_frames_are_played_once_and_cached_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(games, "FRAME_COUNTS", COUNTS)
    first, _ = load_images("atari32", "train")
    assert first.shape == (30, 3, 32, 32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["atari32.npz", "atari32.npz.lock"]
    monkeypatch.setattr(games, "play_river_raid", None)  # it is not called again
    torch.testing.assert_close(load_images("atari32", "train")[0], first, rtol=0, atol=0)
    assert load_images("atari32", "test")[0].shape == (10, 3, 32, 32)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "other"])
def test_broken_frames_cache_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(games, "FRAME_COUNTS", COUNTS)
    load_images("atari32", "test")
    path = tmp_path / "atari32.npz"
    whole = path.read_bytes()
    if damage == "other":
        np.savez(path, train=np.zeros((30, 3, 28, 28), dtype=np.uint8))
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 20]) + whole[middle + 20 :]
        path.write_bytes({"cut": whole[:middle], "empty": b"", "flipped": flipped}[damage])
    with pytest.raises(RuntimeError, match=r"atari32\.npz is broken: .*expected .*\(30, 3, 32, 32\).*Delete the file"):
        load_images("atari32", "train")
    path.unlink()
    assert load_images("atari32", "train")[0].shape == (30, 3, 32, 32)  # the remedy works


def test_nothing_is_left_if_making_the_cache_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))

    def interrupted(path: Path, **arrays: np.ndarray) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached_arrays("a.npz", {"a": (2,)}, lambda: {"a": np.zeros(2, dtype=np.uint8)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz.lock"]


@pytest.mark.bad_input
def test_games_that_cannot_be_played() -> None:
    with pytest.raises(ValueError, match="size is 153; it takes 1 to 152"):
        play_river_raid(153, COUNTS)
    with pytest.raises(ValueError, match="size is 0; it takes 1 to 152"):
        play_river_raid(0, COUNTS)
    with pytest.raises(ValueError, match=r"counts is \{'train': 0\}; it takes .* at least 1 for each"):
        play_river_raid(32, {"train": 0})
    with pytest.raises(ValueError, match=r"counts is \{\}; it takes at least one split"):
        play_river_raid(32, {})


# --- Faces, from an archive that the reader has to fetch --------------------------------------------------------------


@pytest.fixture
def celeba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an archive of 12 faces, 178 × 218 like CelebA's, into an empty cache, and let it be the right one."""
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    path = tmp_path / faces.ARCHIVE
    with zipfile.ZipFile(path, "w") as archive:
        for i in reversed(range(12)):
            pixels = np.full((218, 178, 3), (200, 20 * i, 50), dtype=np.uint8)
            pixels[:20] = pixels[-20:] = 0  # the middle square begins below and ends above these
            picture = io.BytesIO()
            Image.fromarray(pixels).save(picture, format="jpeg", quality=95)
            archive.writestr(f"img_align_celeba/{i + 1:06}.jpg", picture.getvalue())
    monkeypatch.setattr(faces, "MD5", hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(faces, "FACES", 10)
    monkeypatch.setitem(images_module.VALIDATION_SIZES, "celeba64", 2)
    monkeypatch.setitem(images_module.TEST_SIZES, "celeba64", 3)
    return path


def test_faces_are_cropped_shrunk_and_split(celeba: Path) -> None:
    splits = {split: load_images("celeba64", split) for split in images_module.SPLITS}
    assert [len(labels) for _, labels in splits.values()] == [5, 2, 3]
    images = torch.cat([images for images, _ in splits.values()])
    assert images.shape == (10, 3, 64, 64)
    greens = images[:, 1].mean(dim=(1, 2)).sort().values * 255
    torch.testing.assert_close(greens, 20.0 * torch.arange(10), rtol=0, atol=3.0)  # the first ten, each once
    torch.testing.assert_close(images[:, 0], torch.full((10, 64, 64), 200 / 255), rtol=0, atol=0.1)  # no black edge
    assert torch.cat([labels for _, labels in splits.values()]).tolist() == [0] * 10
    celeba.unlink()  # the cache of small pictures is enough from now on
    torch.testing.assert_close(load_images("celeba64", "test")[0], splits["test"][0], rtol=0, atol=0)


def test_missing_faces_are_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    with pytest.raises(RuntimeError) as error:
        load_images("celeba64")
    for part in (str(tmp_path / "img_align_celeba.zip"), "is missing", "https://mmlab.ie.cuhk.edu.hk", "1.4 GB"):
        assert part in str(error.value)
    assert list(tmp_path.glob("*.npz")) == []


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_broken_faces_are_one_clear_error(celeba: Path, damage: str) -> None:
    whole = celeba.read_bytes()
    celeba.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"<html>Quota exceeded</html>")
    with pytest.raises(RuntimeError, match=rf"is broken: its MD5 is \w+, expected {faces.MD5}\. Delete it\. Download"):
        load_images("celeba64")
    assert list(celeba.parent.glob("*.npz")) == []


@pytest.mark.bad_input
def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="data set 'emnist' is unknown; there are 'digits', 'mnist'"):
        load_images("emnist")
    with pytest.raises(ValueError, match="split is 'val'; it takes one of 'train', 'validation', 'test'"):
        load_images("digits", "val")
    with pytest.raises(ValueError, match="data set 'emnist' is unknown"):
        ImageData("emnist")
    with pytest.raises(ValueError, match="batch_size is 0"):
        ImageData(batch_size=0)


@pytest.mark.parametrize("parent", ["below a file", "/proc"])
def test_cache_directory_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parent: str) -> None:
    # Permissions do not stop a test that runs as root; these places stop everyone.
    if parent == "/proc":
        if not Path(parent).is_dir():
            pytest.skip("this system has no /proc")
        folder = Path(parent) / "aigc-course"
    else:
        (tmp_path / "file").touch()
        folder = tmp_path / "file" / "aigc-course"
    monkeypatch.setenv("AIGC_COURSE_DATA", str(folder))
    with pytest.raises(PermissionError, match=r"aigc-course cannot be written .*AIGC_COURSE_DATA to a directory"):
        load_images("digits")


# --- Downloads, from a server of our own -----------------------------------------------------------------------------


class Server:
    """Serves `files` on 127.0.0.1 and remembers every path that was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.pause = threading.Event()
        self.pause.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                server.pause.wait(20)
                content = server.files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path / "cache"))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def cached_files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock")


def idx(array: np.ndarray) -> bytes:
    """Write MNIST's format: two zeros, 8 for bytes, the number of axes, their lengths, the values."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def remote(server: Server, name: str, content: bytes, *, mirrors: tuple[str, ...] = ("",)) -> RemoteFile:
    """Put gzipped content on the server; describe it by the checksum of what is inside, as MNIST's tables do."""
    for mirror in mirrors:
        server.files[f"{mirror}/{name}"] = gzip.compress(content, mtime=len(mirror))
    digest = hashlib.sha256(content).hexdigest()
    return RemoteFile(name, digest, tuple(f"{server.address}{mirror}/{name}" for mirror in mirrors))


@pytest.fixture
def tiny_mnist(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Replace MNIST's table by files of 7 training and 3 test pictures on the server."""
    generator = np.random.default_rng(0)
    arrays, table = {}, {}
    for part, n in (("train", 7), ("test", 3)):
        pixels = generator.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, n, dtype=np.uint8)
        arrays[part] = pixels, labels
        table["mnist", part] = (
            remote(server, f"{part}-images.gz", idx(pixels)),
            remote(server, f"{part}-labels.gz", idx(labels)),
        )
    monkeypatch.setattr(images_module, "IDX_FILES", table)
    monkeypatch.setitem(images_module.VALIDATION_SIZES, "mnist", 2)
    return arrays


def test_download_is_decoded_and_split(
    server: Server, tiny_mnist: dict[str, tuple[np.ndarray, np.ndarray]], tmp_path: Path
) -> None:
    images, labels = load_images("mnist", "test")
    torch.testing.assert_close(images, torch.from_numpy(tiny_mnist["test"][0]).float().unsqueeze(1) / 255)
    assert labels.tolist() == tiny_mnist["test"][1].tolist()
    assert len(server.asked) == 2
    train, validation = load_images("mnist", "train"), load_images("mnist", "validation")
    assert (len(train[1]), len(validation[1])) == (5, 2)
    both = {image.numpy().tobytes() for image in torch.cat([train[0], validation[0]])}
    assert both == {(image.astype(np.float32) / np.float32(255)).tobytes() for image in tiny_mnist["train"][0]}
    assert len(server.asked) == 4  # validation and train are one part, downloaded once
    assert cached_files(tmp_path) == ["test-images.gz", "test-labels.gz", "train-images.gz", "train-labels.gz"]


def test_second_mirror_helps(server: Server, tmp_path: Path) -> None:
    file = remote(server, "a.gz", b"content", mirrors=("/one", "/two"))
    del server.files["/one/a.gz"]
    assert gzip.decompress(fetch(file).read_bytes()) == b"content"
    assert server.asked == ["/one/a.gz", "/two/a.gz"]
    fetch(file)
    assert len(server.asked) == 2  # from the cache


def test_every_compression_of_the_same_content_is_accepted(server: Server) -> None:
    file = remote(server, "a.gz", b"content" * 1000)
    server.files["/a.gz"] = gzip.compress(b"content" * 1000, compresslevel=1, mtime=77)
    assert gzip.decompress(fetch(file).read_bytes()) == b"content" * 1000


@pytest.mark.parametrize("damage", ["other", "cut", "flipped", "no gzip", "missing", "nobody there"])
def test_bad_downloads_leave_nothing_and_say_why(server: Server, tmp_path: Path, damage: str) -> None:
    generator = np.random.default_rng(0)
    content = generator.bytes(4000)
    file = remote(server, "a.gz", content)
    whole = server.files["/a.gz"]
    if damage == "missing":
        server.files.clear()
    elif damage == "nobody there":
        file = RemoteFile(file.name, file.sha256, ("http://127.0.0.1:9/a.gz",))
    else:
        server.files["/a.gz"] = {
            "other": gzip.compress(b"something else"),
            "cut": whole[: len(whole) // 2],
            "flipped": whole[:12] + bytes([255 - byte for byte in whole[12:40]]) + whole[40:],
            "no gzip": b"<html>Sign in to this network</html>",
        }[damage]
    with pytest.raises(RuntimeError) as error:
        fetch(file)
    for part in ("a.gz", file.sha256, file.urls[0], "Check the network", str(tmp_path / "cache")):
        assert part in str(error.value)
    assert ("its SHA-256 is" in str(error.value)) == (damage not in ("missing", "nobody there"))
    assert cached_files(tmp_path) == []


@pytest.mark.parametrize("damage", ["other", "cut", "flipped"])
def test_broken_file_in_the_cache_is_one_clear_error(server: Server, tmp_path: Path, damage: str) -> None:
    file = remote(server, "a.gz", np.random.default_rng(0).bytes(4000))
    path = fetch(file)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "other": b"something else",
            "cut": whole[: len(whole) // 2],
            "flipped": whole[:12] + bytes([255 - byte for byte in whole[12:40]]) + whole[40:],
        }[damage]
    )
    with pytest.raises(RuntimeError) as error:
        fetch(file)
    for part in (str(path), f"expected {file.sha256}", "Delete the file"):
        assert part in str(error.value)
    path.unlink()
    assert fetch(file).read_bytes() == whole  # the remedy works


def test_two_processes_download_once(
    server: Server, tmp_path: Path, python: Callable[..., subprocess.Popen[str]]
) -> None:
    content = np.random.default_rng(0).bytes(300_000)
    file = remote(server, "a.gz", content)
    code = (
        "import gzip, hashlib, sys\n"
        "from aigc_course.data.files import RemoteFile, fetch\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        f"path = fetch(RemoteFile({file.name!r}, {file.sha256!r}, {file.urls!r}))\n"
        "print(hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest())\n"
    )
    child = python("-c", code)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    server.pause.clear()  # the first to ask is kept waiting, so that the second surely comes while it downloads
    threading.Timer(1.0, server.pause.set).start()
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    assert gzip.decompress(fetch(file).read_bytes()) == content
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out.strip(), err) == (0, file.sha256, "")
    assert server.asked == ["/a.gz"]
    assert cached_files(tmp_path) == ["a.gz"]


def test_cifar10_is_read_from_its_archive(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    stored = {name: generator.integers(0, 256, (2, 3072), dtype=np.uint8) for name, _ in CIFAR10.train_list}
    stored["test_batch"] = generator.integers(0, 256, (3, 3072), dtype=np.uint8)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        members = {name: {"data": data, "labels": [i % 10 for i in range(len(data))]} for name, data in stored.items()}
        for name, member in {**members, "batches.meta": {"label_names": list("0123456789")}}.items():
            content = pickle.dumps(member)
            header = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    server.files["/c.tar.gz"] = archive.getvalue()
    digest = hashlib.sha256(archive.getvalue()).hexdigest()
    monkeypatch.setattr(images_module, "CIFAR10_FILE", RemoteFile("c.tar.gz", digest, (f"{server.address}/c.tar.gz",)))
    monkeypatch.setitem(images_module.VALIDATION_SIZES, "cifar10", 4)
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)  # it knows the real archive's files only
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)
    images, labels = load_images("cifar10", "test")
    torch.testing.assert_close(images, torch.from_numpy(stored["test_batch"]).reshape(3, 3, 32, 32).float() / 255)
    assert labels.tolist() == [0, 1, 2]
    assert load_images("cifar10", "train")[0].shape == (6, 3, 32, 32)
    assert load_images("cifar10", "validation")[0].shape == (4, 3, 32, 32)


# --- random_affine ---------------------------------------------------------------------------------------------------


def draws(monkeypatch: pytest.MonkeyPatch, angle: float = 0, factor: float = 0, dx: float = 0, dy: float = 0) -> None:
    """Let random_affine draw these, each a share of its amount between -1 and 1."""
    amounts = torch.tensor([angle, factor, dx, dy])
    monkeypatch.setattr(
        torch, "rand", lambda rows, n, device: ((amounts + 1) / 2).unsqueeze(1).expand(rows, n).to(device)
    )


def picture(size: int = 28) -> Tensor:
    """A random picture with a margin, so that nothing leaves it."""
    images = torch.zeros(2, 1, size, size)
    images[:, :, 8:-8, 8:-8] = torch.rand(2, 1, size - 16, size - 16)
    return images


def test_no_amounts_leave_the_picture() -> None:
    images = torch.rand(4, 3, 28, 20)
    torch.testing.assert_close(random_affine(images), images, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (-1, 0), (0, 1), (0, -1), (1, -1)])
def test_shift_by_whole_pixels(monkeypatch: pytest.MonkeyPatch, dx: float, dy: float) -> None:
    images = picture()
    draws(monkeypatch, dx=dx, dy=dy)
    # The grid says where a pixel is read: reading further to the right moves the picture to the left.
    expected = images.roll((-round(dy), -round(dx)), dims=(2, 3))
    torch.testing.assert_close(random_affine(images, shift=1.0), expected, rtol=0, atol=1e-4)


def test_shift_of_wide_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(1, 1, 20, 40)
    images[:, :, 6:14, 12:28] = torch.rand(8, 16)
    draws(monkeypatch, dx=1, dy=0.5)
    torch.testing.assert_close(random_affine(images, shift=4.0), images.roll((-2, -4), dims=(2, 3)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("direction", [1, -1])
def test_quarter_turn(monkeypatch: pytest.MonkeyPatch, direction: int) -> None:
    images = picture()
    draws(monkeypatch, angle=direction)
    turned = random_affine(images, rotate=90.0)
    # Positive angles turn the reading grid clockwise on the screen (y points down), so the picture anticlockwise.
    torch.testing.assert_close(turned, torch.rot90(images, direction, dims=(2, 3)), rtol=0, atol=1e-4)


def test_scale_enlarges(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(1, 1, 32, 32)
    images[:, :, 12:20, 12:20] = 1
    draws(monkeypatch, factor=1)
    assert random_affine(images, scale=0.5).sum().item() == pytest.approx(64 * 1.5**2, rel=0.1)
    draws(monkeypatch, factor=-1)
    assert random_affine(images, scale=0.5).sum().item() == pytest.approx(64 * 0.5**2, rel=0.1)


@settings(max_examples=25, deadline=None)
@given(rotate=st.floats(0, 180), shift=st.floats(0, 10), scale=st.floats(0, 0.5), seed=st.integers(0, 2**31))
def test_range_and_shape_are_kept(rotate: float, shift: float, scale: float, seed: int) -> None:
    torch.manual_seed(seed)
    images = torch.rand(5, 1, 12, 16)
    moved = random_affine(images, rotate=rotate, shift=shift, scale=scale)
    assert moved.shape == images.shape
    assert moved.min() >= 0
    assert moved.max() <= 1 + 1e-6


def test_every_picture_has_its_own_amounts() -> None:
    images = picture()[:1].expand(8, -1, -1, -1)
    moved = random_affine(images, rotate=20.0, shift=2.0)
    assert torch.cdist(moved.flatten(1), moved.flatten(1)).fill_diagonal_(math.inf).min() > 0.1


# --- ImageData -------------------------------------------------------------------------------------------------------


class Watcher(pl.LightningModule):
    """Keeps a copy of every batch it is given, and learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: dict[str, list[tuple[Tensor, Tensor]]] = {"train": [], "validation": [], "test": []}

    def training_step(self, batch: Any) -> None:
        self.batches["train"].append(batch)

    def validation_step(self, batch: Any) -> None:
        self.batches["validation"].append(batch)

    def test_step(self, batch: Any) -> None:
        self.batches["test"].append(batch)

    def configure_optimizers(self) -> None:
        return None


def watch(data: ImageData, *, seed: int = 0, epochs: int = 1) -> Watcher:
    watcher = Watcher()
    options: dict[str, Any] = {
        "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
        "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
    }  # fmt: skip
    pl.seed_everything(seed, workers=True, verbose=False)
    trainer = pl.Trainer(max_epochs=epochs, **options)
    trainer.fit(watcher, data)
    trainer.test(watcher, data, verbose=False)
    return watcher


quiet = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*configure_optimizers.*"),
    pytest.mark.filterwarnings("ignore:.*training_step. returned .None.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
]


class TestImageData:
    pytestmark = quiet

    def test_batches(self) -> None:
        batches = watch(ImageData(batch_size=300)).batches
        assert [len(labels) for _, labels in batches["train"]] == [300] * 13 + [100]
        assert [len(labels) for _, labels in batches["validation"]] == [300, 200]
        assert [len(labels) for _, labels in batches["test"]] == [300, 200]

    def test_every_training_picture_once_an_epoch_in_a_new_order(self) -> None:
        data = ImageData(batch_size=1000)
        batches = watch(data, epochs=2).batches["train"]
        first, second = (torch.cat([images for images, _ in batches[i : i + 4]]) for i in (0, 4))
        expected, _ = data.split("train")
        assert not torch.equal(first, second)
        for epoch in (first, second):
            assert {x.numpy().tobytes() for x in epoch} == {x.numpy().tobytes() for x in expected}

    def test_seed_decides_the_order(self) -> None:
        one, same, other = (watch(ImageData(batch_size=2000), seed=seed).batches["train"][0][1] for seed in (1, 1, 2))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    def test_only_training_pictures_are_augmented(self) -> None:
        data = ImageData(batch_size=500, rotate=10.0, shift=2.0, scale=0.1)
        batches = watch(data).batches
        for split in ("validation", "test"):
            assert torch.equal(batches[split][0][0], data.split(split)[0])
        originals = {x.numpy().tobytes() for x in data.split("train")[0]}
        augmented = torch.cat([images for images, _ in batches["train"]])
        assert sum(x.numpy().tobytes() in originals for x in augmented) == 0
        assert augmented.min() >= 0
        assert augmented.max() <= 1
        assert augmented.mean().item() == pytest.approx(data.split("train")[0].mean().item(), rel=0.03)

    @pytest.mark.parametrize("options", [{}, {"shift": 2.0}])
    def test_signed_batches_have_tanhs_range(self, options: dict[str, float]) -> None:
        batches = watch(ImageData(batch_size=500, signed=True, **options)).batches  # type: ignore[arg-type]
        for split in ("train", "validation", "test"):
            images = batches[split][0][0]
            assert (images.min(), images.max()) == (-1, 1)
        plain = load_images("digits", "test")[0]
        torch.testing.assert_close((batches["test"][0][0] + 1) / 2, plain)

    def test_processes_share_the_batch(self) -> None:
        data = ImageData(batch_size=100)
        data.trainer = type("Trainer", (), {"world_size": 4})()
        assert data.train_dataloader().batch_size == 25

    @pytest.mark.bad_input
    def test_processes_that_cannot_share_the_batch(self) -> None:
        data = ImageData(batch_size=100)
        data.trainer = type("Trainer", (), {"world_size": 3})()
        with pytest.raises(ValueError, match="batch_size is 100; 3 processes cannot share it evenly"):
            data.train_dataloader()
