"""The ring of Gaussians: where its points lie, fresh ones in every batch, bad input."""

import math
from typing import Any

import pytest
import torch

from aigc_course.data import RingData, ring_centres, sample_ring


def test_centres_lie_evenly_on_the_circle() -> None:
    centres = ring_centres(8, 2.0)
    torch.testing.assert_close(centres.norm(dim=1), torch.full((8,), 2.0))
    gaps = (centres - centres.roll(1, dims=0)).norm(dim=1)
    torch.testing.assert_close(gaps, torch.full((8,), 4 * math.sin(math.pi / 8)))


def test_points_are_the_mixture() -> None:
    torch.manual_seed(0)
    points = sample_ring(80_000, modes=8, radius=2.0, std=0.1)
    offsets = points[:, None] - ring_centres()
    own = offsets.norm(dim=2).argmin(dim=1)
    shares = own.bincount(minlength=8) / len(points)
    torch.testing.assert_close(shares, torch.full((8,), 1 / 8), atol=0.006, rtol=0)
    noise = offsets[torch.arange(len(points)), own]
    torch.testing.assert_close(noise.T.cov(), 0.01 * torch.eye(2), atol=3e-4, rtol=0)


def test_every_batch_is_fresh() -> None:
    data = RingData(batch_size=4, batches=3, modes=2)
    batches = list(data.train_dataloader())
    assert len(batches) == len(data.train_dataloader()) == 3
    points = torch.cat([x for x, _ in batches])
    assert points.shape == (12, 2)
    assert len(points.unique(dim=0)) == 12
    assert all(labels.tolist() == [0] * 4 for _, labels in batches)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [({"modes": 0}, "modes is 0"), ({"radius": -1.0}, "radius is -1.0"), ({"std": math.nan}, "std is nan")],
)
def test_bad_rings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample_ring(3, **options)
    with pytest.raises(ValueError, match=message):
        RingData(**options)


@pytest.mark.bad_input
def test_bad_counts() -> None:
    with pytest.raises(ValueError, match="n is 0; it takes a whole number ≥ 1"):
        sample_ring(0)
    with pytest.raises(ValueError, match="batch_size is 0"):
        RingData(batch_size=0)
    with pytest.raises(ValueError, match="batches is 0"):
        RingData(batches=0)
