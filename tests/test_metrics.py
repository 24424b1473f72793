"""The judge: its file, its accuracy on digits it has never seen, and what it refuses. The distances: closed forms."""

import math
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from aigc_course import metrics
from aigc_course.data import load_images


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    return load_images("digits", "test")


def test_weights_are_small_and_the_ones_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    file = resources.files("aigc_course") / "judge.safetensors"
    assert 100_000 < len(file.read_bytes()) < 1_000_000
    assert not metrics.load_judge().training
    monkeypatch.setattr(metrics, "JUDGE_SHA256", "0" * 64)
    with pytest.raises(
        RuntimeError, match=r"judge\.safetensors is broken: .* expected 0{64}.*Install the package again"
    ):
        metrics.load_judge()


def test_the_file_is_read_once_and_nobody_shares_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    first = metrics.load_judge()
    monkeypatch.setattr(metrics, "load", None)  # a second reading would fail
    second = metrics.load_judge()
    weights = second.head.weight.clone()
    first.head.weight.zero_()
    assert torch.equal(second.head.weight, weights)
    assert torch.equal(metrics.load_judge().head.weight, weights)


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(metrics.resources, "files", lambda package: tmp_path)
    with pytest.raises(RuntimeError, match=r"judge\.safetensors is missing"):
        metrics.load_judge()


def test_accuracy_on_the_digits_held_out(digits: tuple[Tensor, Tensor]) -> None:
    assert metrics.judge_accuracy(*digits) >= 0.985


def test_accuracy_on_mnist_test_digits(course_cache: Path) -> None:
    if not list(course_cache.glob("t10k-images*")):
        pytest.skip("MNIST's test digits are not in ../shared/data")
    images, labels = load_images("mnist", "test")
    assert len(labels) == 10_000
    assert metrics.judge_accuracy(images, labels) >= 0.985


def test_training_digits_are_not_among_mnist_test_digits(course_cache: Path) -> None:
    if not list(course_cache.glob("t10k-images*")):
        pytest.skip("MNIST's test digits are not in ../shared/data")
    seen = {picture.numpy().tobytes() for picture in load_images("digits", "train")[0]}
    assert len(seen) == 4_000
    assert seen.isdisjoint(picture.numpy().tobytes() for picture in load_images("mnist", "test")[0])


def test_accuracy_counts_agreement(digits: tuple[Tensor, Tensor]) -> None:
    images, _ = digits
    read = metrics.judge_probabilities(images).argmax(dim=1)
    assert metrics.judge_accuracy(images, read) == 1
    assert metrics.judge_accuracy(images, (read + 1) % 10) == 0
    wrong_in_a_quarter = torch.where(torch.arange(500) % 4 == 0, (read + 5) % 10, read)
    assert metrics.judge_accuracy(images, wrong_in_a_quarter) == pytest.approx(0.75)


def test_probabilities_do_not_depend_on_batches(digits: tuple[Tensor, Tensor]) -> None:
    images = digits[0].repeat(2, 1, 1, 1)[:700]  # more than one internal batch
    probabilities = metrics.judge_probabilities(images)
    assert probabilities.shape == (700, 10)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(700))
    torch.testing.assert_close(probabilities[690:], metrics.judge_probabilities(images[690:]))
    torch.testing.assert_close(probabilities[500:], probabilities[:200])


def test_features_lead_to_the_logits(digits: tuple[Tensor, Tensor]) -> None:
    judge = metrics.load_judge()
    features = judge.features(digits[0][:16])
    assert features.shape == (16, 64)
    assert features.min() >= 0
    torch.testing.assert_close(judge.head(features), judge(digits[0][:16]))
    assert (features.std(dim=0) > 0).sum() > 32  # most of them say something


def test_judge_is_frozen_but_gradients_reach_the_pictures(digits: tuple[Tensor, Tensor]) -> None:
    judge = metrics.load_judge()
    assert not any(weight.requires_grad for weight in judge.parameters())
    images = digits[0][:4].clone().requires_grad_()
    judge(images).logsumexp(dim=1).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_loading_leaves_the_random_generator_alone() -> None:
    before = torch.get_rng_state()
    metrics.load_judge()
    assert torch.equal(before, torch.get_rng_state())


GOOD = torch.zeros(3, 1, 28, 28)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(3, 28, 28), torch.zeros(3, dtype=torch.long), r"images has the shape \(3, 28, 28\); it takes"),
        (torch.zeros(3, 3, 28, 28), torch.zeros(3, dtype=torch.long), r"images has the shape \(3, 3, 28, 28\)"),
        (torch.zeros(0, 1, 28, 28), torch.zeros(0, dtype=torch.long), "n of at least 1"),
        (GOOD - 1, torch.zeros(3, dtype=torch.long), "values from -1 to -1; it takes values in"),
        (GOOD + 255, torch.zeros(3, dtype=torch.long), "values from 255 to 255"),
        (GOOD * torch.nan, torch.zeros(3, dtype=torch.long), "values from nan to nan"),
        (GOOD, torch.zeros(2, dtype=torch.long), r"labels has the shape \(2,\).*it takes 3 whole numbers"),
        (GOOD, torch.zeros(3, 1, dtype=torch.long), r"labels has the shape \(3, 1\)"),
        (GOOD, torch.zeros(3), "type torch.float32"),
        (GOOD, torch.tensor([0, 1, 10]), "labels has values from 0 to 10; it takes classes from 0 to 9"),
        (GOOD, torch.tensor([-1, 1, 1]), "labels has values from -1 to 1"),
    ],
)
def test_bad_input(images: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.judge_accuracy(images, labels)


# --- distances between two sets ---------------------------------------------------------------------------------------


def exactly(mean: Tensor, covariance: Tensor, n: int = 50) -> Tensor:
    """Return n points whose mean and covariance are exactly these."""
    points = torch.randn(n, len(mean), dtype=torch.float64)
    points = points - points.mean(dim=0)
    whitened = points @ torch.linalg.inv(torch.linalg.cholesky(points.T.cov().reshape(len(mean), -1))).T
    return whitened @ torch.linalg.cholesky(covariance).T + mean


def random_covariance(d: int) -> Tensor:
    root = torch.randn(d, d, dtype=torch.float64)
    return root @ root.T + 0.1 * torch.eye(d, dtype=torch.float64)


def test_frechet_distance_of_known_normal_distributions() -> None:
    one, two = torch.tensor([1.0, 4.0]).double(), torch.tensor([9.0, 1.0]).double()
    shift = torch.tensor([3.0, -4.0]).double()
    # Diagonal covariances commute: the distance is |shift|^2 + the sum of (s1 - s2)^2 over the axes.
    found = metrics.frechet_distance(exactly(torch.zeros(2).double(), one.diag()), exactly(shift, two.diag()))
    assert found == pytest.approx(25 + (1 - 3) ** 2 + (2 - 1) ** 2, rel=1e-9)
    # A shift alone.
    points = torch.randn(80, 5).double()
    assert metrics.frechet_distance(points, points + 2) == pytest.approx(5 * 4, rel=1e-6)
    # A scaling alone: with the covariance c S it is Tr S (1 - sqrt c)^2.
    centred = points - points.mean(dim=0)
    trace = float(points.T.cov().trace())
    assert metrics.frechet_distance(centred, 3 * centred) == pytest.approx(4 * trace, rel=1e-6)


@pytest.mark.parametrize("d", [1, 2, 7, 20])
def test_frechet_distance_agrees_with_scipy(d: int) -> None:
    means, covariances = torch.randn(2, d).double(), [random_covariance(d), random_covariance(d)]
    root = scipy.linalg.sqrtm((covariances[0] @ covariances[1]).numpy()).real
    expected = (means[0] - means[1]).square().sum() + (covariances[0] + covariances[1]).trace() - 2 * root.trace()
    sets = [exactly(mean, covariance) for mean, covariance in zip(means, covariances, strict=True)]
    assert metrics.frechet_distance(*sets) == pytest.approx(float(expected), rel=1e-6)
    assert metrics.frechet_distance(*reversed(sets)) == pytest.approx(float(expected), rel=1e-6)


def test_frechet_distance_with_a_feature_that_never_changes() -> None:
    points = torch.randn(100, 3).double()
    flat = torch.cat([points, torch.ones(100, 1).double()], dim=1)
    assert metrics.frechet_distance(flat, flat + 1) == pytest.approx(4, rel=1e-6)


@given(seed=st.integers(0, 2**31), d=st.integers(1, 6), n=st.integers(10, 40))
@settings(max_examples=30, deadline=None)
def test_distances_do_not_depend_on_the_order_and_vanish_for_equal_sets(seed: int, d: int, n: int) -> None:
    random = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, d, generator=random), torch.randn(n + 3, d, generator=random)
    turned = x[torch.randperm(n, generator=random)]
    for distance in (metrics.frechet_distance, metrics.kernel_distance):
        assert distance(turned, y) == pytest.approx(distance(x, y), rel=1e-6, abs=1e-9)
        assert distance(y, x) == pytest.approx(distance(x, y), rel=1e-6, abs=1e-9)
    assert metrics.frechet_distance(x, turned) == pytest.approx(0, abs=1e-6)
    assert metrics.neighbour_precision_recall(x, turned) == (1, 1)
    precision, recall = metrics.neighbour_precision_recall(x, y)
    assert metrics.neighbour_precision_recall(y, turned) == (recall, precision)


def test_kernel_distance_by_hand() -> None:
    # d = 1: k(a, b) = (ab + 1)^3. Pairs within x: k(0, 1) = 1; within y: k(1, 2) = 27; between: 1, 1, 8, 27.
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    assert metrics.kernel_distance(x, y) == pytest.approx(1 + 27 - 2 * (1 + 1 + 8 + 27) / 4)


def test_kernel_distance_agrees_with_torchmetrics() -> None:
    x, y = torch.randn(40, 6).double(), torch.randn(40, 6).double() + 0.5
    assert metrics.kernel_distance(x, y) == pytest.approx(float(poly_mmd(x, y)), rel=1e-9)


def test_kernel_distance_is_unbiased_and_frechet_distance_is_not() -> None:
    small, large = torch.randn(2, 2, 400, 10, 4).double(), torch.randn(2, 60, 160, 4).double()
    kernel = torch.tensor([metrics.kernel_distance(x, y) for x, y in zip(*small[0], strict=True)])
    assert abs(kernel.mean()) < 3 * kernel.std() / 20  # 400 draws
    few = [metrics.frechet_distance(x, y) for x, y in zip(*small[1, :, :60], strict=True)]
    many = [metrics.frechet_distance(x, y) for x, y in zip(*large, strict=True)]
    assert sum(few) > 8 * sum(many) > 0  # it goes like 1 / n


def test_kernel_distance_of_constant_sets() -> None:
    # Two points, each repeated: k(a, a) + k(b, b) - 2 k(a, b), exactly.
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    expected = 1.5**3 + 3**3 - 2 * 1**3
    assert metrics.kernel_distance(a.repeat(5, 1), b.repeat(9, 1)) == pytest.approx(expected)


def test_precision_and_recall_of_modes() -> None:
    modes = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0], [50.0, 50.0]])
    real = (modes[:, None] + torch.randn(4, 100, 2)).flatten(0, 1)
    two_modes = real[:200]
    assert metrics.neighbour_precision_recall(two_modes, real) == (1.0, 0.5)
    assert metrics.neighbour_precision_recall(real, two_modes) == (0.5, 1.0)
    assert metrics.neighbour_precision_recall(real + 1000, real) == (0.0, 0.0)
    # An outlier's ball reaches to its neighbours, however far they are: precision is fooled.
    outlier = torch.cat([real, torch.tensor([[1000.0, 1000.0]])])
    assert metrics.neighbour_precision_recall(real + 500, outlier, k=1).precision == 1


def test_precision_by_hand() -> None:
    real = torch.tensor([[0.0], [1.0], [3.0]])  # radii for k = 1: 1, 1, 2; for k = 2: 3, 2, 3
    fake = torch.tensor([[-0.9], [-1.1], [4.9], [5.1], [2.5]])
    assert metrics.neighbour_precision_recall(fake, real, k=1).precision == pytest.approx(3 / 5)
    assert metrics.neighbour_precision_recall(fake, real, k=2).precision == pytest.approx(1)


def test_density_and_coverage_by_hand() -> None:
    real = torch.tensor([[0.0], [1.0], [3.0]])  # radii for k = 1: 1, 1, 2; for k = 2: 3, 2, 3
    fake = torch.tensor([[-0.9], [-1.1], [4.9], [5.1], [0.5]])
    # k = 1: only -0.9 is within 1 of 0, and 0.5 within 1 of 0 and of 1; 4.9 is within 2 of 3.
    assert metrics.neighbour_density_coverage(fake[:3], real, k=1) == pytest.approx((2 / 3, 2 / 3))
    assert metrics.neighbour_density_coverage(fake, real, k=1) == pytest.approx((4 / 5, 1))
    # k = 2, the balls [-3, 3], [-1, 3] and [0, 6]: -0.9 is in two, -1.1, 4.9 and 5.1 are in one, 0.5 is in all three.
    assert metrics.neighbour_density_coverage(fake, real, k=2) == pytest.approx((8 / 10, 1))
    assert metrics.neighbour_density_coverage(fake[2:4].repeat(2, 1), real, k=2) == pytest.approx((1 / 2, 1 / 3))
    assert metrics.neighbour_density_coverage(fake + 100, real, k=2) == (0, 0)
    # All samples in one place of a dense region: the density may be above 1, while most balls have no sample.
    line = torch.arange(100.0)[:, None] ** 2
    density, coverage = metrics.neighbour_density_coverage(torch.ones(10, 1), line, k=3)
    assert density == pytest.approx(4 / 3)  # radii 9, 8, 5, 8, 12, …: in the balls round 0, 1, 4 and 9, not round 16
    assert coverage == pytest.approx(0.04)


@given(seed=st.integers(0, 2**31), k=st.integers(1, 4), n=st.integers(6, 30), m=st.integers(6, 30))
@settings(max_examples=30, deadline=None)
def test_density_and_coverage_do_not_depend_on_order_place_turn_and_scale(seed: int, k: int, n: int, m: int) -> None:
    random = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, 3, generator=random).double(), torch.randn(m, 3, generator=random).double()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=random).double()).Q
    found = metrics.neighbour_density_coverage(x, y, k)
    assert metrics.neighbour_density_coverage(7 * x @ turn + 5, 7 * y @ turn + 5, k) == found
    orders = torch.randperm(n, generator=random), torch.randperm(m, generator=random)
    assert metrics.neighbour_density_coverage(x[orders[0]], y[orders[1]], k) == found
    # The real points themselves are in their own balls and in those of which they are one of the k neighbours.
    assert metrics.neighbour_density_coverage(y, y, k) == pytest.approx(((k + 1) / k, 1))


@pytest.mark.parametrize(("n", "m", "k"), [(40, 40, 5), (20, 50, 3), (50, 20, 3), (60, 15, 1)])
def test_density_and_coverage_of_equal_distributions(n: int, m: int, k: int) -> None:
    expected = 1 - math.prod((m - i) / (n + m - i) for i in range(1, k + 1))
    draws = torch.randn(300, n + m, 2).exp()  # the distribution makes no difference
    found = torch.tensor([metrics.neighbour_density_coverage(draw[:n], draw[n:], k) for draw in draws])
    errors = found.std(dim=0) / 300**0.5
    assert (errors < 0.03).all()
    assert abs(found[:, 0].mean() - 1) < 4 * errors[0]
    assert abs(found[:, 1].mean() - expected) < 4 * errors[1]


@pytest.mark.parametrize("shift", [2.0, 500.0])
def test_one_outlier_adds_at_most_its_share(shift: float) -> None:
    real, samples, k = torch.rand(200, 2), torch.rand(200, 2) + shift, 5
    spoilt = torch.cat([real, torch.tensor([[1000.0, 1000.0]])])
    assert metrics.neighbour_precision_recall(samples, real, k).precision == 0
    assert metrics.neighbour_precision_recall(samples, spoilt, k).precision == 1  # its ball holds all samples
    assert metrics.neighbour_density_coverage(samples, real, k) == (0, 0)
    assert metrics.neighbour_density_coverage(samples, spoilt, k) == pytest.approx((1 / k, 1 / 201))


# --- on the judge's features ------------------------------------------------------------------------------------------


class _JudgeFeatures(torch.nn.Module):
    num_features = 64

    def forward(self, images: Tensor) -> Tensor:
        return metrics.load_judge().features(images)


def test_features_are_the_judges(digits: tuple[Tensor, Tensor]) -> None:
    images = digits[0].repeat(2, 1, 1, 1)[:600].requires_grad_()  # more than one internal batch
    features = metrics.judge_features(images)
    assert features.shape == (600, 64)
    assert not features.requires_grad
    torch.testing.assert_close(features, metrics.load_judge().features(images.detach()))


def test_judge_distance_is_torchmetrics_with_the_judge(digits: tuple[Tensor, Tensor]) -> None:
    one, two = digits[0].split(250)
    metric = FrechetInceptionDistance(feature=_JudgeFeatures())
    metric.update(one, real=False)
    metric.update(two, real=True)
    assert metrics.judge_frechet_distance(one, two) == pytest.approx(float(metric.compute()), rel=1e-4)


def test_more_noise_is_farther_away(digits: tuple[Tensor, Tensor]) -> None:
    one, two = digits[0].split(250)
    noisy = [(one + std * torch.randn_like(one)).clamp(0, 1) for std in (0.0, 0.1, 0.2, 0.4)]
    for distance in (metrics.judge_frechet_distance, metrics.judge_kernel_distance):
        values = [distance(images, two) for images in noisy]
        assert values == sorted(values)
        assert values[1] > 3 * abs(values[0])
    assert metrics.judge_frechet_distance(one, one) < 1e-6
    assert metrics.judge_kernel_distance(one, two) < metrics.judge_frechet_distance(one, two)


def test_precision_and_recall_of_digits(digits: tuple[Tensor, Tensor]) -> None:
    images, labels = digits
    zeros_to_fours = images[labels < 5]
    precision, recall = metrics.precision_recall(zeros_to_fours, images)
    assert precision == 1
    assert 0.4 < recall < 0.75
    assert metrics.precision_recall(images, zeros_to_fours) == (recall, precision)
    held_out = metrics.precision_recall(*images.split(250))
    assert 0.6 < held_out.precision < 1
    assert 0.6 < held_out.recall < 1
    noise = metrics.precision_recall(torch.rand(250, 1, 28, 28), images)
    assert noise.precision < 0.05
    assert noise.recall < 0.05


def test_measuring_leaves_the_random_generator_alone(digits: tuple[Tensor, Tensor]) -> None:
    before = torch.get_rng_state()
    one, two = digits[0].split(250)
    metrics.judge_frechet_distance(one, two)
    metrics.judge_kernel_distance(one, two)
    metrics.precision_recall(one, two)
    assert torch.equal(before, torch.get_rng_state())


# --- one set ----------------------------------------------------------------------------------------------------------


def test_digit_shares_and_coverage(digits: tuple[Tensor, Tensor]) -> None:
    images, labels = digits
    shares = metrics.digit_shares(images)
    torch.testing.assert_close(shares, torch.bincount(labels, minlength=10) / 500, atol=0.01, rtol=0)
    assert metrics.digit_coverage(images) == 10
    # 60 pictures as the judge reads them: 58 of one class, 2 of another, which is 3.3 %.
    read = metrics.judge_probabilities(images).argmax(dim=1)
    ones, sevens = images[read == 1], images[read == 7]
    few = torch.cat([ones.repeat(2, 1, 1, 1)[:58], sevens[:2]])
    assert metrics.digit_shares(few)[7] == pytest.approx(2 / 60)
    assert metrics.digit_shares(few)[0] == 0
    assert metrics.digit_coverage(few) == 2
    assert metrics.digit_coverage(few, at_least=0.04) == 1
    # The threshold itself counts, whatever its binary digits: 3 of 100.
    assert metrics.digit_coverage(torch.cat([ones[:1].repeat(97, 1, 1, 1), sevens[:3]])) == 2


def test_confident_share(digits: tuple[Tensor, Tensor]) -> None:
    images, _ = digits
    sure = metrics.judge_probabilities(images).amax(dim=1)
    assert metrics.confident_share(images) > 0.97
    assert metrics.confident_share(images, at_least=0.999) == pytest.approx(float((sure >= 0.999).float().mean()))
    assert metrics.confident_share(images, at_least=0.1) == 1  # the largest of ten is never less
    blends = (images[:250] + images[250:]) / 2
    assert metrics.confident_share(blends) < 0.9


def test_ring_coverage() -> None:
    angles = torch.arange(8) * torch.pi / 4
    centres = 2 * torch.stack([angles.cos(), angles.sin()], dim=1)
    points = (centres[:, None] + 0.1 * torch.randn(8, 1000, 2)).flatten(0, 1)
    modes_found, share = metrics.ring_coverage(points, centres, 0.1)
    assert modes_found == 8
    assert share == pytest.approx(1 - math.exp(-4.5), abs=0.005)  # the radius of a normal point in the plane
    half = metrics.ring_coverage(torch.cat([points[:3000], torch.zeros(3000, 2)]), centres, 0.1)
    assert half.modes_found == 3
    assert half.share == pytest.approx(share / 2, abs=0.005)
    assert metrics.ring_coverage(torch.zeros(10, 2), centres, 0.1) == (0, 0.0)
    # The distance counts, not each coordinate; and 1 % itself is enough.
    edge = torch.tensor([[2.29, 0.0]]), torch.tensor([[2.29, 0.29]])
    assert metrics.ring_coverage(torch.cat([edge[0], edge[1].repeat(99, 1)]), centres, 0.1) == (1, 0.01)
    assert metrics.ring_coverage(torch.cat([edge[0], edge[1].repeat(100, 1)]), centres, 0.1).modes_found == 0
    assert metrics.ring_coverage(torch.cat([edge[0], edge[1].repeat(100, 1)]), centres, 0.1, at_least=0.005) == (
        1,
        1 / 101,
    )


# --- copies -----------------------------------------------------------------------------------------------------------


def test_nearest_finds_copies_and_sorts(digits: tuple[Tensor, Tensor]) -> None:
    images, _ = digits
    order = torch.randperm(500)
    indices, distances = metrics.nearest(images[order], images, k=4)
    assert torch.equal(indices[:, 0], order)
    assert (distances[:, 0] == 0).all()
    assert (distances.diff(dim=1) >= 0).all()
    every = (images[order[:20], None] - images[None]).flatten(2).square().sum(dim=2).sqrt()
    torch.testing.assert_close(distances[:20], every.sort(dim=1).values[:, :4])


def test_nearest_by_hand_in_colour() -> None:
    black, white = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    indices, distances = metrics.nearest(torch.cat([0.9 * white, 0.1 * white]), torch.cat([black, white]), k=2)
    assert indices.tolist() == [[1, 0], [0, 1]]
    torch.testing.assert_close(distances, torch.tensor([[0.1, 0.9], [0.1, 0.9]]) * 12**0.5)


# --- what they refuse -------------------------------------------------------------------------------------------------

POINTS, PICTURES = torch.zeros(100, 2), torch.zeros(100, 1, 28, 28)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.judge_features(PICTURES[0]), r"images has the shape \(1, 28, 28\); it takes"),
        (lambda: metrics.judge_features(PICTURES - 1), "values from -1 to -1"),
        (
            lambda: metrics.frechet_distance(POINTS[:2], POINTS),
            r"features has 2 rows; it takes at least 3 \(more than d",
        ),
        (lambda: metrics.frechet_distance(POINTS, POINTS[:2]), "reference has 2 rows; it takes at least 3"),
        (
            lambda: metrics.frechet_distance(POINTS, POINTS[:, :1]),
            r"shape \(100, 2\) and reference \(100, 1\); they take",
        ),
        (lambda: metrics.frechet_distance(POINTS[0], POINTS), r"features has the shape \(2,\)"),
        (lambda: metrics.frechet_distance(POINTS / 0, POINTS), "features has numbers that are not finite"),
        (lambda: metrics.kernel_distance(POINTS[:1], POINTS), "features has 1 rows; it takes at least 2"),
        (lambda: metrics.kernel_distance(POINTS, POINTS / 0), "reference has numbers that are not finite"),
        (
            lambda: metrics.judge_frechet_distance(PICTURES[:64], PICTURES),
            "images has 64 pictures; it takes at least 65",
        ),
        (lambda: metrics.judge_frechet_distance(PICTURES, PICTURES[:64]), "reference has 64 pictures; .* at least 65"),
        (lambda: metrics.judge_frechet_distance(PICTURES, 2 + PICTURES), "reference has values from 2 to 2; it takes"),
        (lambda: metrics.judge_kernel_distance(PICTURES[:1], PICTURES), "images has 1 pictures; it takes at least 2"),
        (lambda: metrics.judge_kernel_distance(PICTURES[0], PICTURES), r"images has the shape \(1, 28, 28\)"),
        (lambda: metrics.precision_recall(PICTURES, PICTURES[:3]), "reference has 3 pictures; it takes at least 4"),
        (lambda: metrics.precision_recall(PICTURES, PICTURES, k=0), "k is 0; it takes a whole number ≥ 1"),
        (
            lambda: metrics.neighbour_precision_recall(POINTS, POINTS, k=100),
            "features has 100 rows; it takes at least 101",
        ),
        (lambda: metrics.neighbour_precision_recall(POINTS, POINTS, k=-1), "k is -1"),
        (
            lambda: metrics.neighbour_density_coverage(POINTS, POINTS[:5]),
            "reference has 5 rows; it takes at least 6",
        ),
        (lambda: metrics.neighbour_density_coverage(POINTS[:5], POINTS), "features has 5 rows; it takes at least 6"),
        (lambda: metrics.neighbour_density_coverage(POINTS, POINTS[:, :1]), r"reference \(100, 1\); they take"),
        (lambda: metrics.neighbour_density_coverage(POINTS / 0, POINTS), "features has numbers that are not finite"),
        (lambda: metrics.neighbour_density_coverage(POINTS, POINTS, k=0), "k is 0; it takes a whole number ≥ 1"),
        (lambda: metrics.digit_coverage(PICTURES, at_least=0), r"at_least is 0; it takes a share above 0"),
        (lambda: metrics.digit_coverage(PICTURES, at_least=3), "at_least is 3; it takes a share above 0 and up to 1"),
        (lambda: metrics.confident_share(PICTURES, at_least=90), "at_least is 90"),
        (lambda: metrics.confident_share(PICTURES - 1), "values from -1 to -1"),
        (lambda: metrics.digit_shares(PICTURES[:0]), "n of at least 1"),
        (lambda: metrics.ring_coverage(POINTS[:0], POINTS, 0.1), "points has 0 rows; it takes at least 1"),
        (
            lambda: metrics.ring_coverage(POINTS, POINTS[:, :1], 0.1),
            r"points has the shape \(100, 2\) and centres \(100, 1\)",
        ),
        (lambda: metrics.ring_coverage(POINTS / 0, POINTS, 0.1), "points has numbers that are not finite"),
        (lambda: metrics.ring_coverage(POINTS, POINTS, 0.0), "std is 0.0; it takes a number above 0"),
        (lambda: metrics.ring_coverage(POINTS, POINTS, 0.1, at_least=2), "at_least is 2"),
        (lambda: metrics.nearest(PICTURES, PICTURES[:, :, 1:]), r"reference \(100, 1, 27, 28\); they take"),
        (lambda: metrics.nearest(PICTURES[0], PICTURES[0]), r"images has the shape \(1, 28, 28\)"),
        (lambda: metrics.nearest(PICTURES[:0], PICTURES), "images has 0 rows"),
        (lambda: metrics.nearest(PICTURES, PICTURES / 0), "reference has numbers that are not finite"),
        (lambda: metrics.nearest(PICTURES, PICTURES, k=101), "k is 101; it takes a whole number from 1 to 100"),
        (lambda: metrics.nearest(PICTURES, PICTURES, k=0), "k is 0"),
    ],
)
def test_bad_input_of_measures(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_floor_is_the_distance_of_random_parts_of_real_features() -> None:
    torch.manual_seed(0)
    features = torch.randn(300, 4, dtype=torch.double)
    torch.manual_seed(1)
    floors = metrics.floor_distances(features, 100, splits=3)
    torch.manual_seed(1)
    for floor in floors:
        mixed = features[torch.randperm(300)]
        assert float(floor) == pytest.approx(metrics.frechet_distance(mixed[:100], mixed[100:]))
    # Of more rows the floor is lower.
    assert metrics.floor_distances(features, 20).mean() > metrics.floor_distances(features, 150).mean()


@pytest.mark.bad_input
def test_a_floor_needs_splits_and_rows() -> None:
    with pytest.raises(ValueError, match="splits is 0"):
        metrics.floor_distances(torch.randn(30, 4), 10, splits=0)
    with pytest.raises(ValueError, match="more than d"):
        metrics.floor_distances(torch.randn(30, 4), 2)
