"""Metrics: a judge that reads digits, for pictures that were asked for by class.

The judge is a small classifier whose weights come with the package; `tools/train_judge.py` makes them from the training
split of the course's own digits. Peak signal-to-noise ratio and structural similarity are in
`torchmetrics.functional.image`, so they are not here.
"""

import hashlib
from importlib import resources

import torch
from jaxtyping import Float, Int
from safetensors.torch import load
from torch import Tensor, nn

JUDGE_SHA256 = "4042a4c6a0cbd635aecb04d83a3aa2acf127cf2e8ad7961a3a8f8564461be4d3"


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    # No bias: the normalisation that follows would take it away again.
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Judge(nn.Module):
    """A convolutional network that reads 28×28 digits, values in [0, 1].

    It is LeNet's pattern (LeCun et al., 1998, https://doi.org/10.1109/5.726791) in today's parts: pairs of 3×3
    convolutions, batch normalisation, and strides where LeNet subsamples. The pictures shrink 28 → 14 → 7 → 4.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(1, 24, 1),
            _convolution(24, 32, 2),  # 14 × 14
            _convolution(32, 32, 1),
            _convolution(32, 48, 2),  # 7 × 7
            _convolution(48, 48, 1),
            _convolution(48, 64, 2),  # 4 × 4
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, 64),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, 10)

    def features(self, images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n 64"]:
        """Return what the last layer sees, 64 numbers ≥ 0 a picture: a description of the digit's shape."""
        return self.body(images)

    def forward(self, images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n 10"]:
        """Return the logits of the ten classes."""
        return self.head(self.features(images))


def load_judge() -> Judge:
    """Return the judge with the weights that come with the package, in evaluation mode and frozen.

    Gradients still flow through it to the pictures. The global random generator is left as it is.

    Raises `RuntimeError` if the file with the weights is missing or is not the one this version was made with.
    """
    file = resources.files("aigc_course") / "judge.safetensors"
    content = file.read_bytes() if file.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    if found != JUDGE_SHA256:
        raise RuntimeError(
            f"{file} is {'broken' if content else 'missing'}: its SHA-256 is {found}, expected {JUDGE_SHA256}. "
            "Install the package again (or, in a checkout, run git checkout on the file)."
        )
    with torch.device("meta"):  # no weights are drawn, only to be overwritten
        judge = Judge()
    judge.load_state_dict(load(content), assign=True)
    return judge.requires_grad_(False).eval()


def judge_probabilities(images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n 10"]:
    """Return the probability that the judge gives each class, rows sum to 1. The judge runs where the pictures are.

    Raises `ValueError` for another shape, for no pictures, and for values outside [0, 1].
    """
    if images.ndim != 4 or images.shape[1:] != (1, 28, 28) or len(images) == 0:
        raise ValueError(f"images has the shape {tuple(images.shape)}; it takes (n, 1, 28, 28) with n of at least 1.")
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # so written that NaN is refused too
        raise ValueError(f"images has values from {low:.3g} to {high:.3g}; it takes values in [0, 1].")
    judge = load_judge().to(images.device)
    with torch.no_grad():
        return torch.cat([judge(part.float()).softmax(dim=1) for part in images.split(500)])


def judge_accuracy(images: Float[Tensor, "n 1 28 28"], labels: Int[Tensor, " n"]) -> float:
    r"""Return the share of pictures that the judge reads as the class that was asked for.

    $$\frac1n \sum_{i=1}^n \mathbb 1\!\left[\arg\max_k p(k \mid x_i) = y_i\right]$$

    with the pictures $x_i$, values in [0, 1], the classes asked for $y_i \in \{0, \dots, 9\}$, and the judge's
    probabilities $p$. On real digits it is about 0.99, the judge's own accuracy. It says nothing about variety: one
    good picture a class, repeated, reaches 1.

    Raises `ValueError` as `judge_probabilities` does, and for labels that are not n whole numbers from 0 to 9.
    """
    if labels.is_floating_point() or labels.shape != images.shape[:1]:
        raise ValueError(
            f"labels has the shape {tuple(labels.shape)} and the type {labels.dtype}; "
            f"it takes {len(images)} whole numbers, one for each picture."
        )
    probabilities = judge_probabilities(images)
    if labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"labels has values from {labels.min()} to {labels.max()}; it takes classes from 0 to 9.")
    return float((probabilities.argmax(dim=1) == labels.to(images.device)).float().mean())
