"""The judge: its file, its accuracy on digits it has never seen, and what it refuses."""

from importlib import resources
from pathlib import Path

import pytest
import torch
from torch import Tensor

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
