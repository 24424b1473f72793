"""Metrics: a judge that reads digits, distances between sets of pictures, coverage, and the search for copies.

The judge is a small classifier whose weights come with the package; `tools/train_judge.py` makes them from the training
split of the course's own digits. What is measured on its features is comparable only with itself: say the judge
(`JUDGE_SHA256`), the reference and the numbers of pictures beside every figure. Peak signal-to-noise ratio and
structural similarity are in `torchmetrics.functional.image`, so they are not here.
"""

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from safetensors.torch import load
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from aigc_course.checks import check_count, check_positive, check_unit_range
from aigc_course.tensors import distances

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
        """Return what the last layer sees, 64 numbers ≥ 0 per picture: a description of the digit's shape."""
        return self.body(images)

    def forward(self, images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n 10"]:
        """Return the logits of the ten classes."""
        return self.head(self.features(images))


def load_judge() -> Judge:
    """Return the judge with the weights that come with the package, in evaluation mode and frozen.

    Gradients still flow through it to the pictures. The global random generator is left as it is. Each call returns
    its own copy, so that whoever moves or changes one leaves the others alone.

    Raises `RuntimeError` if the file with the weights is missing or is not the one this version was made with.
    """
    weights = _judge_weights(Path(str(resources.files("aigc_course"))) / "judge.safetensors", JUDGE_SHA256)
    with torch.device("meta"):  # no weights are drawn, only to be overwritten
        judge = Judge()
    judge.load_state_dict({name: weight.clone() for name, weight in weights.items()}, assign=True)
    return judge.requires_grad_(False).eval()


@cache
def _judge_weights(file: Path, expected: str) -> dict[str, Tensor]:
    """Return the weights in a file with this SHA-256; it is read and checked at the first call only."""
    content = file.read_bytes() if file.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise RuntimeError(
            f"{file} is {'broken' if content else 'missing'}: its SHA-256 is {found}, expected {expected}. "
            "Install the package again (or, in a checkout, run git checkout on the file)."
        )
    return load(content)


def judge_probabilities(images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n 10"]:
    """Return the probability that the judge gives each class, rows sum to 1. The judge runs where the pictures are.

    Raises `ValueError` for another shape, for no pictures, and for values outside [0, 1].
    """
    _check_images("images", images)
    judge = load_judge().to(images.device)
    with torch.no_grad():
        return torch.cat([judge(part.float()).softmax(dim=1) for part in images.split(500)])


def judge_accuracy(images: Float[Tensor, "n 1 28 28"], labels: Int[Tensor, " n"]) -> float:
    r"""Return the share of pictures that the judge reads as the class that was asked for.

    $$\frac1n \sum_{i=1}^n \mathbb 1\!\left[\arg\max_k p(k \mid x_i) = y_i\right]$$

    with the pictures $x_i$, values in [0, 1], the classes asked for $y_i \in \{0, \dots, 9\}$, and the judge's
    probabilities $p$. On real digits it is about 0.99, the judge's own accuracy. It says nothing about variety: one
    good picture per class, repeated, reaches 1.

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


def judge_features(images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n 64"]:
    """Return what the judge's last layer sees, 64 numbers ≥ 0 per picture, without gradients.

    They take the place of Inception's features in other distances.

    Raises `ValueError` for another shape, for no pictures, and for values outside [0, 1].
    """
    _check_images("images", images)
    judge = load_judge().to(images.device)
    with torch.no_grad():
        return torch.cat([judge.features(part.float()) for part in images.split(500)])


# --- distances between two sets ---------------------------------------------------------------------------------------


def frechet_distance(features: Float[Tensor, "n d"], reference: Float[Tensor, "m d"]) -> float:
    r"""Return the squared Fréchet distance of the normal distributions fitted to two sets of features.

    $$\lVert \mu_1 - \mu_2 \rVert^2 + \operatorname{Tr}\big(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2}\big)$$

    with the means $\mu$ and the covariances $\Sigma$ (divided by n − 1) of the two sets. It is the square of the
    2-Wasserstein distance of two normal distributions (Dowson and Landau, 1982,
    https://doi.org/10.1016/0047-259X(82)90077-X), in the squared unit of the features. It sees means and covariances
    and nothing else, and it is biased: two finite sets of one distribution have a distance above 0, which shrinks as n
    grows. Computed in double precision by torchmetrics; symmetric in its arguments.

    Raises `ValueError` unless both sets have the same d, hold only finite numbers, and have more than d rows each.
    """
    _check_features(features, reference, least=features.shape[-1] + 1, why="more than d, or a covariance is singular")
    metric = FrechetInceptionDistance(feature=_AlreadyFeatures(features.shape[1]))
    metric.update(reference.detach().cpu().double(), real=True)
    metric.update(features.detach().cpu().double(), real=False)
    return max(float(metric.compute()), 0.0)  # equal sets give a rounding error of either sign


def floor_distances(features: Float[Tensor, "n d"], count: int, splits: int = 20) -> Float[Tensor, " splits"]:
    """Return the Fréchet distances of `count` rows, drawn at random, from the other rows, in each of some splits.

    With features of real pictures it is the floor of a distance that is measured with `count` samples: its mean and
    its spread. The splits come from PyTorch's global generator. Raises `ValueError` for splits below 1, and as
    `frechet_distance` does for parts that are too small.
    """
    check_count("splits", splits)
    mixed = (features[torch.randperm(len(features))] for _ in range(splits))
    return torch.tensor([frechet_distance(rows[:count], rows[count:]) for rows in mixed])


def kernel_distance(features: Float[Tensor, "n d"], reference: Float[Tensor, "m d"]) -> float:
    r"""Return the unbiased estimate of the squared maximum mean discrepancy of two sets, under a cubic kernel.

    $$\frac{1}{n(n-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{m(m-1)} \sum_{i \ne j} k(y_i, y_j)
    - \frac{2}{nm} \sum_{i, j} k(x_i, y_j), \qquad k(a, b) = \left(\frac{a^\top b}{d} + 1\right)^3$$

    over all n features $x$ and all m features $y$, without random subsets. On average over sets of one distribution it
    is 0, whatever n and m are, so that it may well come out negative. It sees moments up to the third. Bińkowski et al.
    (2018), https://arxiv.org/abs/1801.01401. Computed in double precision; symmetric in its arguments.

    Raises `ValueError` unless both sets have the same d, hold only finite numbers, and have at least 2 rows each.
    """
    _check_features(features, reference, least=2, why="pairs")
    x, y = features.detach().cpu().double(), reference.detach().cpu().double()

    def pairs(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        kernel = pairs(a, a)
        return (kernel.sum() - kernel.trace()) / (len(a) * (len(a) - 1))

    return float(within(x) + within(y) - 2 * pairs(x, y).mean())


def judge_frechet_distance(images: Float[Tensor, "n 1 28 28"], reference: Float[Tensor, "m 1 28 28"]) -> float:
    """Return `frechet_distance` of the judge's features of two sets of pictures: the course's own measure of samples.

    It is not the Fréchet Inception distance (Heusel et al., 2017, https://arxiv.org/abs/1706.08500) and cannot be
    compared with one: other features, other numbers. Nor can two of its own values unless the judge (`JUDGE_SHA256`),
    the reference and both numbers of pictures are the same. Print them beside it, and the floor: its mean and spread
    over random splits of real pictures into two sets of these sizes. One draw of real pictures may be far from that
    mean, since the features cluster by digit and the class counts vary from draw to draw.

    Raises `ValueError` for pictures of another shape or with values outside [0, 1], and for fewer than 65 pictures.
    """
    # More pictures than features, or a covariance is singular.
    return frechet_distance(*_both_features(images, reference, least=65))


def judge_kernel_distance(images: Float[Tensor, "n 1 28 28"], reference: Float[Tensor, "m 1 28 28"]) -> float:
    """Return `kernel_distance` of the judge's features of two sets of pictures. Unbiased, but not less noisy.

    What `judge_frechet_distance` says about comparing holds here too, but for the numbers of pictures.

    Raises `ValueError` for pictures of another shape or with values outside [0, 1], and for fewer than 2 pictures.
    """
    return kernel_distance(*_both_features(images, reference, least=2))


class PrecisionRecall(NamedTuple):
    """Two shares from 0 to 1: of samples among the real pictures, and of real pictures among the samples."""

    precision: float
    recall: float


def neighbour_precision_recall(
    features: Float[Tensor, "n d"], reference: Float[Tensor, "m d"], k: int = 3
) -> PrecisionRecall:
    r"""Return which share of each set lies in the region that the other one covers.

    The region of a set $\Phi$ is a union of balls: one round each of its points, as wide as the distance to that
    point's k-th nearest neighbour in the set. Then

    $$\text{precision} = \frac1n \sum_{i=1}^n \mathbb 1\big[x_i \in \operatorname{region}(Y)\big], \qquad
    \text{recall} = \frac1m \sum_{j=1}^m \mathbb 1\big[y_j \in \operatorname{region}(X)\big]$$

    with the features $x_i \in X$ of samples and $y_j \in Y$ of real data. Kynkäänniemi et al. (2019),
    https://arxiv.org/abs/1904.06991. Both depend on n, m and k: compare at equal numbers. One outlier has a huge ball.

    Raises `ValueError` unless both sets have the same d, hold only finite numbers, and have more than k rows each; for
    k below 1.
    """
    check_count("k", k)
    features, reference = features.detach(), reference.detach().to(features)
    _check_features(features, reference, least=k + 1, why="more than k")
    return PrecisionRecall(_share_inside(features, reference, k), _share_inside(reference, features, k))


class DensityCoverage(NamedTuple):
    """How densely the samples lie among the real pictures, about 1 for real ones; which share of these has one near."""

    density: float
    coverage: float


def neighbour_density_coverage(
    features: Float[Tensor, "n d"], reference: Float[Tensor, "m d"], k: int = 5
) -> DensityCoverage:
    r"""Return in how many balls round real points a sample lies, divided by k, and the share of balls with a sample.

    With $B_j$ the ball round the real point $y_j$, as wide as the distance to its k-th nearest neighbour among the
    m real ones, and the n samples $x_i$,

    $$\text{density} = \frac{1}{kn} \sum_{i=1}^n \sum_{j=1}^m \mathbb 1[x_i \in B_j], \qquad
    \text{coverage} = \frac1m \sum_{j=1}^m \mathbb 1\big[\exists i\colon x_i \in B_j\big].$$

    Naeem et al. (2020), https://arxiv.org/abs/2002.09797. All balls are round real points, so one point that is far
    from the others adds at most $1/k$ to the density and $1/m$ to the coverage. For two sets of one continuous
    distribution the density is 1 on average, whatever n and m are: a sample is equally likely to be at any place in
    the order of distances from $y_j$. The coverage is

    $$1 - \frac{(m - 1) (m - 2) \cdots (m - k)}{(n + m - 1) (n + m - 2) \cdots (n + m - k)}$$

    on average, about $1 - 2^{-k}$ for $n = m$: a ball has no sample if the k points nearest to its centre, among the
    $n + m - 1$ others, are all real. The density may exceed 1.

    Raises `ValueError` unless both sets have the same d, hold only finite numbers, and have more than k rows each; for
    k below 1.
    """
    check_count("k", k)
    features, reference = features.detach(), reference.detach().to(features)
    _check_features(features, reference, least=k + 1, why="more than k")
    radii = _radii(reference, k)
    inside = torch.zeros(len(reference), dtype=torch.long, device=features.device)
    for part in features.split(1000):
        inside += (distances(part, reference) <= radii).sum(dim=0)
    return DensityCoverage(float(inside.sum() / (k * len(features))), float((inside > 0).double().mean()))


def precision_recall(
    images: Float[Tensor, "n 1 28 28"], reference: Float[Tensor, "m 1 28 28"], k: int = 3
) -> PrecisionRecall:
    """Return `neighbour_precision_recall` of the judge's features of samples and real pictures.

    Precision falls when samples look like nothing real; recall falls when real pictures look like no sample. For real
    pictures held out both stay below 1: that is the ceiling, and it belongs beside them.

    Raises `ValueError` for pictures of another shape or with values outside [0, 1], fewer than k + 1, or k below 1.
    """
    check_count("k", k)
    return neighbour_precision_recall(*_both_features(images, reference, least=k + 1), k)


# --- one set ----------------------------------------------------------------------------------------------------------


def digit_shares(images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "10"]:
    """Return the share of pictures that the judge reads as 0, 1, …, 9; they sum to 1.

    Raises `ValueError` as `judge_probabilities` does.
    """
    read = judge_probabilities(images).argmax(dim=1)
    return torch.bincount(read, minlength=10).float() / len(images)


def digit_coverage(images: Float[Tensor, "n 1 28 28"], at_least: float = 0.03) -> int:
    """Return how many of the ten digits are covered: the judge reads at least this share of the pictures as that digit.

    A fair share is 0.1. It sees missing digits, not missing variety within one.

    Raises `ValueError` as `judge_probabilities` does, and for `at_least` outside (0, 1].
    """
    _check_share("at_least", at_least)
    return int((digit_shares(images) >= at_least).sum())


def confident_share(images: Float[Tensor, "n 1 28 28"], at_least: float = 0.9) -> float:
    r"""Return the share of pictures that the judge is sure of: $\max_k p(k \mid x) \ge$ `at_least`.

    On real digits it is about 0.99. The judge knows nothing but digits, so it may be sure of tangles and even of noise:
    a low share condemns, a high one acquits nobody.

    Raises `ValueError` as `judge_probabilities` does, and for `at_least` outside (0, 1].
    """
    _check_share("at_least", at_least)
    return float((judge_probabilities(images).amax(dim=1) >= at_least).float().mean())


class RingCoverage(NamedTuple):
    """How many modes were found, and the share of samples that are near any mode."""

    modes_found: int
    share: float


def ring_coverage(
    points: Float[Tensor, "n d"], centres: Float[Tensor, "modes d"], std: float, *, at_least: float = 0.01
) -> RingCoverage:
    """Return how many modes of a mixture with known centres the points find, and the share of points near any.

    A point is near a centre within 3 standard deviations `std` (the distance, not each coordinate). A mode is found if
    at least 1 % of all points (`at_least`) are near it. In the plane 98.9 % of a mode's own points are near it.

    Raises `ValueError` for no points, for points and centres of different dimension, for numbers that are not finite,
    for `std` not above 0 and `at_least` outside (0, 1].
    """
    _check_features(points, centres, least=1, why="one", names=("points", "centres"))
    _check_share("at_least", at_least)
    check_positive("std", std)
    near = distances(points.detach().cpu().double(), centres.detach().cpu().double()) <= 3 * std
    found = near.double().mean(dim=0) >= at_least
    return RingCoverage(int(found.sum()), float(near.any(dim=1).double().mean()))


# --- copies -----------------------------------------------------------------------------------------------------------


class Nearest(NamedTuple):
    """For each picture its k nearest reference pictures, the nearest first: their places and their distances."""

    indices: Int[Tensor, "n k"]
    distances: Float[Tensor, "n k"]


def nearest(images: Float[Tensor, "n c h w"], reference: Float[Tensor, "m c h w"], k: int = 1) -> Nearest:
    r"""Return the k reference pictures nearest to each picture in pixels, to see whether a model copies.

    The distance is $\lVert x - y \rVert_2 = \sqrt{\sum_i (x_i - y_i)^2}$ over all pixels; 0 for an exact copy. A copy
    that is shifted by one pixel is far away by it.

    Raises `ValueError` for no pictures, for two sets of different size or colour, for values that are not finite, and
    for k outside 1 … m.
    """
    if images.ndim != 4 or reference.ndim != 4 or images.shape[1:] != reference.shape[1:]:
        raise ValueError(
            f"images has the shape {tuple(images.shape)} and reference {tuple(reference.shape)}; "
            "they take (n, c, h, w) and (m, c, h, w)."
        )
    x, y = images.detach().flatten(1), reference.detach().to(images).flatten(1)
    _check_features(x, y, least=1, why="one", names=("images", "reference"))
    if not 1 <= k <= len(y):
        raise ValueError(f"k is {k}; it takes a whole number from 1 to {len(y)}, the pictures in reference.")
    parts = [Nearest(*_nearest_rows(part, y, k)) for part in x.split(100)]
    return Nearest(torch.cat([part.indices for part in parts]), torch.cat([part.distances for part in parts]))


# --- the parts they share ---------------------------------------------------------------------------------------------


class _AlreadyFeatures(nn.Module):
    """Stands where torchmetrics wants a network that makes features of pictures: ours are made already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def _radii(region: Tensor, k: int) -> Tensor:
    """Return the distance from each row to its k-th nearest neighbour among the others."""
    # The smallest distance is that of a point to itself, hence k + 1.
    return torch.cat([distances(part, region).kthvalue(k + 1, dim=1).values for part in region.split(1000)])


def _share_inside(points: Tensor, region: Tensor, k: int) -> float:
    """Return the share of points within the k-nearest-neighbour balls of `region`'s rows."""
    radii = _radii(region, k)
    inside = [(distances(part, region) <= radii).any(dim=1) for part in points.split(1000)]
    return float(torch.cat(inside).double().mean())


def _nearest_rows(x: Tensor, y: Tensor, k: int) -> tuple[Tensor, Tensor]:
    indices = torch.cdist(x, y).topk(k, dim=1, largest=False).indices
    # Again, exactly: cdist takes a short cut by a matrix product, which gives copies a distance above 0.
    distances, order = (x[:, None] - y[indices]).norm(dim=2).sort(dim=1)
    return indices.gather(1, order), distances


def _both_features(images: Tensor, reference: Tensor, least: int) -> tuple[Tensor, Tensor]:
    for name, pictures in (("images", images), ("reference", reference)):
        _check_images(name, pictures)
        if len(pictures) < least:
            raise ValueError(f"{name} has {len(pictures)} pictures; it takes at least {least}.")
    return judge_features(images), judge_features(reference.to(images.device))


def _check_images(name: str, images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1:] != (1, 28, 28) or len(images) == 0:
        raise ValueError(f"{name} has the shape {tuple(images.shape)}; it takes (n, 1, 28, 28) with n of at least 1.")
    check_unit_range(name, images)


def _check_features(
    features: Tensor, reference: Tensor, *, least: int, why: str, names: tuple[str, str] = ("features", "reference")
) -> None:
    for name, values in zip(names, (features, reference), strict=True):
        if values.ndim != 2 or values.shape[-1] != features.shape[-1] or values.shape[-1] == 0:
            raise ValueError(
                f"{names[0]} has the shape {tuple(features.shape)} and {names[1]} {tuple(reference.shape)}; "
                "they take rows of the same length."
            )
        if len(values) < least:
            raise ValueError(f"{name} has {len(values)} rows; it takes at least {least} ({why}).")
        if not values.isfinite().all():
            raise ValueError(f"{name} has numbers that are not finite.")


def _check_share(name: str, share: float) -> None:
    if not 0 < share <= 1:
        raise ValueError(f"{name} is {share}; it takes a share above 0 and up to 1.")
