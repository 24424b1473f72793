"""Points in the plane: the ring of Gaussians on which adversarial training can be watched."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from aigc_course.checks import check_count, check_not_negative


def ring_centres(modes: int = 8, radius: float = 2.0) -> Float[Tensor, "modes 2"]:
    """Return the centres of `modes` Gaussians, evenly spread over a circle of this radius around 0.

    Raises `ValueError` for fewer than one mode or a radius below 0.
    """
    check_count("modes", modes)
    check_not_negative("radius", radius)
    angles = 2 * math.pi * torch.arange(modes) / modes
    return radius * torch.stack([angles.cos(), angles.sin()], dim=1)


def sample_ring(n: int, *, modes: int = 8, radius: float = 2.0, std: float = 0.1) -> Float[Tensor, "n 2"]:
    """Return n points of an even mixture of Gaussians on a ring, drawn from PyTorch's global generator.

    Each has the standard deviation `std` in every direction. Raises `ValueError` for n below 1, a `std` below 0, and as
    `ring_centres` does.
    """
    check_count("n", n)
    check_not_negative("std", std)
    centres = ring_centres(modes, radius)
    return centres[torch.randint(modes, (n,))] + std * torch.randn(n, 2)


class _FreshPoints(IterableDataset[Any]):
    def __init__(self, batch_size: int, batches: int, ring: dict[str, Any]) -> None:
        self.batch_size, self.batches, self.ring = batch_size, batches, ring

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Any:
        for _ in range(self.batches):
            points = sample_ring(self.batch_size, **self.ring)
            yield points, torch.zeros(self.batch_size, dtype=torch.long)


class RingData(pl.LightningDataModule):
    """Batches `(points, labels)` from the ring, new points in each; the labels are all 0.

    **Arguments:** `batch_size`: points in a batch; `batches`: how many make an "epoch", which here is only the interval
    at which figures are logged; the rest as for `sample_ring`.

    Raises `ValueError` as `sample_ring` does, and for a batch size or a number of batches below 1.
    """

    def __init__(
        self, *, batch_size: int = 256, batches: int = 100, modes: int = 8, radius: float = 2.0, std: float = 0.1
    ) -> None:
        super().__init__()
        ring: dict[str, Any] = {"modes": modes, "radius": radius, "std": std}
        sample_ring(1, **ring)  # raises for a ring that cannot be
        check_count("batch_size", batch_size)
        check_count("batches", batches)
        self.points = _FreshPoints(batch_size, batches, ring)

    def train_dataloader(self) -> DataLoader[Any]:
        """Fresh batches, `batches` of them."""
        return DataLoader(self.points, batch_size=None)
