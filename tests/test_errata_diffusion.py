"""The errata on diffusion, checked like the others: small reconstructions of our own with the same faults.

`tests/test_errata.py` holds the other parts' checks, and the test that keeps the errata's list and these names equal.
"""

import torch
from torch import Tensor

from aigc_course import diffusion

CENTRES, SPREADS, WEIGHTS = torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([0.2, 0.1, 0.3]), torch.tensor([0.5, 0.2, 0.3])


def guess(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means of the example and of the noise, given x of shape (n, 1), for a mixture on the line."""
    a, s = (share[:, None] for share in diffusion.cosine_path().shares(t))
    variance, off = a**2 * SPREADS**2 + s**2, x - a * CENTRES
    shares = (WEIGHTS.log() - variance.log() / 2 - off**2 / (2 * variance)).softmax(dim=1)
    clean = (shares * (CENTRES + a * SPREADS**2 / variance * off)).sum(dim=1, keepdim=True)
    return clean, (shares * s / variance * off).sum(dim=1, keepdim=True)


def test_following_the_gradient_draws_peaks() -> None:
    torch.manual_seed(0)
    path, n = diffusion.cosine_path(), 20_000
    moment = torch.full((n,), 0.01)  # nearly without noise
    x = torch.randn(n, 1)
    for _ in range(2000):
        x = x - 0.002 * guess(x, moment)[1] / path.shares(moment[:1])[1]  # up the gradient of the log-density
    assert len(x.mul(20).round().unique()) <= 6  # a handful of points is left
    drawn = diffusion.ddim(guess, path, torch.randn(n, 1), 100, eta=1.0, first=0.99)
    variance = WEIGHTS @ (SPREADS**2 + CENTRES**2) - (WEIGHTS @ CENTRES) ** 2
    torch.testing.assert_close(drawn.var(), variance, rtol=0.05, atol=0)
    left = (drawn < -0.5).float().mean()  # as often as it occurs
    torch.testing.assert_close(left, torch.tensor(0.5), rtol=0, atol=0.03)
