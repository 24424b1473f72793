"""Faces: CelebA, for those who have downloaded its archive."""

import io
import zipfile

import numpy as np
import pooch
from numpy.typing import NDArray
from PIL import Image

from aigc_course.data.files import cache_dir, cached_arrays

# The address is Google Drive's, which stops automatic downloads at a quota: a person has to fetch the file.
ARCHIVE, MD5 = "img_align_celeba.zip", "00d2c5bc6d35e252742224ab0c1e8fcb"
FACES = 20_000  # of 202,599: as many as fit into a small machine's memory as floating-point numbers
SIZE = 64


def read_faces() -> NDArray[np.uint8]:
    """Return the first 20,000 faces of CelebA as (n, 3, 64, 64), the middle of each, averaged down; cached.

    Source: Liu et al. (2015), https://arxiv.org/abs/1411.7766.

    Raises `RuntimeError` if the archive is missing or broken.
    """
    shapes = {"images": (FACES, 3, SIZE, SIZE)}
    return cached_arrays("celeba64.npz", shapes, lambda: {"images": _read_archive()})["images"]


def _read_archive() -> NDArray[np.uint8]:
    path = cache_dir() / ARCHIVE
    advice = f"Download {ARCHIVE} (1.4 GB) from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html into {path.parent}."
    if not path.exists():
        raise RuntimeError(f"{path} is missing: CelebA cannot be fetched by a program. {advice}")
    found = pooch.file_hash(str(path), alg="md5")
    if found != MD5:
        raise RuntimeError(f"{path} is broken: its MD5 is {found}, expected {MD5}. Delete it. {advice}")
    faces = np.empty((FACES, 3, SIZE, SIZE), dtype=np.uint8)
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[:FACES]
        for face, name in zip(faces, names, strict=True):
            with Image.open(io.BytesIO(archive.read(name))) as picture:
                left, top = (picture.width - 178) // 2, (picture.height - 178) // 2  # 178 of 178 × 218
                square = picture.convert("RGB").crop((left, top, left + 178, top + 178))
            face[:] = np.asarray(square.resize((SIZE, SIZE), Image.Resampling.BOX)).transpose(2, 0, 1)
    return faces
