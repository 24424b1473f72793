"""Diffusion: the path, the three predictions, the samplers against closed forms, the network, the training."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aigc_course import diffusion, training

NAMES = sorted(diffusion.PATHS)
UNUSED: Any = None  # what an error comes before


class Mixture:
    """A mixture of normal distributions on the plane, and what is known exactly about its noisy versions."""

    means = torch.tensor([[1.0, 0.5], [-1.0, 0.0], [0.2, -1.0]])
    stds = torch.tensor([0.3, 0.2, 0.4])
    weights = torch.tensor([0.5, 0.3, 0.2])

    def __init__(self, path: diffusion.Path) -> None:
        self.path = path

    def guess(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """E[x_0 | x_t] and E[noise | x_t]."""
        a, s = (share[:, None] for share in self.path.shares(t))
        spread = a**2 * self.stds**2 + s**2  # of each component's noisy version
        off = x[:, None] - a[..., None] * self.means
        logs = self.weights.log() - spread.log() - off.square().sum(-1) / (2 * spread)
        shares = logs.softmax(dim=1)[..., None]
        clean = (shares * (self.means + (a * self.stds**2 / spread)[..., None] * off)).sum(1)
        noise = (shares * (s / spread)[..., None] * off).sum(1)
        return clean, noise

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        mean = self.weights @ self.means
        second = torch.einsum("k,ki,kj->ij", self.weights, self.means, self.means)
        return mean, second + (self.weights * self.stds**2).sum() * torch.eye(2) - torch.outer(mean, mean)


def both(path: diffusion.Path, t: Tensor) -> tuple[Tensor, ...]:
    return (*path.shares(t), *path.slopes(t))


@pytest.mark.parametrize("name", NAMES)
def test_paths_lead_from_data_to_noise(name: str) -> None:
    path = diffusion.check_path(diffusion.PATHS[name]())
    a, s = path.shares(torch.linspace(0, 1, 101))
    assert a[-1] < 0.01
    assert s[-1] == pytest.approx(1, abs=1e-4)
    if name != "straight":
        torch.testing.assert_close(a**2 + s**2, torch.ones(101))


@pytest.mark.parametrize("name", NAMES)
def test_slopes_are_the_derivatives(name: str) -> None:
    path, t, h = diffusion.PATHS[name](), torch.linspace(0.05, 0.95, 19, dtype=torch.double), 1e-6
    for slope, later, before in zip(path.slopes(t), path.shares(t + h), path.shares(t - h), strict=True):
        torch.testing.assert_close(slope, (later - before) / (2 * h), rtol=1e-4, atol=1e-6)


def test_the_linear_path_is_the_limit_of_a_thousand_small_steps() -> None:
    rates = torch.linspace(1e-4, 0.02, 1000, dtype=torch.double)  # Ho et al. (2020)
    step_by_step = (1 - rates).sqrt().cumprod(0)
    t = torch.arange(1, 1001, dtype=torch.double) / 1000
    torch.testing.assert_close(diffusion.linear_path().shares(t)[0], step_by_step, rtol=0.06, atol=1e-3)


def test_the_closed_form_is_what_many_small_steps_of_noise_lead_to() -> None:
    torch.manual_seed(0)
    path, x = diffusion.linear_path(), torch.full((200_000, 1), 2.0)
    moments = torch.linspace(0, 0.3, 31)
    for r, t in pairwise(moments):
        (a_r, s_r), (a_t, s_t) = path.shares(r), path.shares(t)
        x = a_t / a_r * x + (s_t**2 - (a_t / a_r) ** 2 * s_r**2).sqrt() * torch.randn_like(x)
    a, s = path.shares(moments[-1])
    assert x.mean() == pytest.approx(2 * float(a), abs=0.01)
    assert x.std() == pytest.approx(float(s), rel=0.01)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", sorted(diffusion.PREDICTIONS))
def test_the_true_answer_gives_the_example_and_the_noise_back(name: str, kind: str) -> None:
    path, prediction = diffusion.PATHS[name](), diffusion.PREDICTIONS[kind]
    x, noise, t = torch.randn(50, 3), torch.randn(50, 3), torch.linspace(0.05, 0.9, 50)
    at = both(path, t[:, None])
    clean, found = prediction.split(prediction.target(x, noise, *at), path.noisy(x, t, noise), *at)
    torch.testing.assert_close(clean, x, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found, noise, rtol=1e-3, atol=1e-3)


def test_the_velocity_is_what_the_papers_call_so() -> None:
    x, noise, t = torch.randn(9, 2), torch.randn(9, 2), torch.linspace(0.1, 0.9, 9)[:, None]
    target = diffusion.PREDICTIONS["velocity"].target
    torch.testing.assert_close(target(x, noise, *both(diffusion.straight_path(), t)), noise - x)
    angle = math.pi / 2 * t  # Salimans and Ho measure along the circle, a quarter of which is all of our time
    circle = math.pi / 2 * (angle.cos() * noise - angle.sin() * x)
    torch.testing.assert_close(target(x, noise, *both(diffusion.cosine_path(), t)), circle)


@pytest.mark.parametrize(
    ("name", "sampler", "options"),
    [
        ("cosine", diffusion.ddim, {"steps": 200, "eta": 1.0}),  # DDPM
        ("linear", diffusion.ddim, {"steps": 400, "eta": 1.0}),
        ("cosine", diffusion.ddim, {"steps": 200}),
        ("linear", diffusion.ddim, {"steps": 400}),
        ("straight", diffusion.ddim, {"steps": 200}),  # Euler
        ("straight", diffusion.ddim, {"steps": 200, "eta": 1.0}),
        ("straight", diffusion.heun, {"steps": 40}),
        ("cosine", diffusion.heun, {"steps": 40}),
    ],
)
def test_with_the_exact_guess_a_sampler_draws_from_the_mixture(
    name: str, sampler: Any, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    mixture = Mixture(diffusion.PATHS[name]())
    first = 1.0 if name == "straight" else 0.999  # where the last bit of signal tells the components apart
    drawn = sampler(mixture.guess, mixture.path, torch.randn(40_000, 2), first=first, **options)
    mean, covariance = mixture.moments
    size = float(covariance.diagonal().max())
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0, atol=0.02 * size)
    torch.testing.assert_close(drawn.T.cov(), covariance, rtol=0, atol=0.02 * size)


def test_on_a_straight_path_ddim_is_eulers_method() -> None:
    path = diffusion.straight_path()
    mixture, x = Mixture(path), torch.randn(20, 2)
    by_hand, moments = x, torch.linspace(1, 0, 6)
    for t, r in pairwise(moments):
        clean, noise = mixture.guess(by_hand, t.expand(20))
        by_hand = by_hand + (r - t) * (noise - clean)
    torch.testing.assert_close(diffusion.ddim(mixture.guess, path, x, 5), by_hand)


def test_the_flow_between_two_normal_distributions_is_the_straight_map() -> None:
    mean, std, path = 1.5, 0.4, diffusion.straight_path()

    def guess(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        a, s = (share[:, None] for share in path.shares(t))
        spread = a**2 * std**2 + s**2
        return mean + a * std**2 / spread * (x - a * mean), s / spread * (x - a * mean)

    x = torch.linspace(-2, 2, 41)[:, None]
    torch.testing.assert_close(diffusion.heun(guess, path, x, 400), mean + std * x, rtol=0, atol=2e-3)


def test_fresh_noise_makes_two_draws_differ_and_without_it_they_are_one() -> None:
    mixture, x = Mixture(diffusion.cosine_path()), torch.randn(5, 2)
    for eta, same in ((0.0, True), (1.0, False)):
        options: dict[str, Any] = {"steps": 5, "eta": eta, "first": 0.99}
        draws = [diffusion.ddim(mixture.guess, mixture.path, x, **options) for _ in range(2)]
        assert torch.equal(*draws) == same


# --- the network and its training -------------------------------------------------------------------------------------


def small(**options: Any) -> diffusion.UNet:
    return diffusion.UNet((1, 8, 8), 8, **options)


def test_a_new_network_says_nothing_and_every_weight_learns_soon() -> None:
    torch.manual_seed(0)
    network = small(num_classes=3)
    x, t, labels = torch.randn(6, 1, 8, 8), torch.rand(6), torch.tensor([0, 1, 2, 0, 1, 3])
    assert network(x, t, labels).abs().max() == 0
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(4):
        optimizer.zero_grad()
        (network(x, t, labels) - x).square().mean().backward()
        optimizer.step()
    assert all(float(weight.grad.abs().max()) > 0 for weight in network.parameters() if weight.grad is not None)
    assert all(weight.grad is not None for weight in network.parameters())


def test_times_close_together_are_told_apart() -> None:
    features = diffusion.time_features(torch.tensor([0.5, 0.502]), 64)
    assert features.shape == (2, 64)
    assert (features[0] - features[1]).norm() > 0.3


def test_without_labels_the_class_is_not_told() -> None:
    torch.manual_seed(0)
    network = small(num_classes=3)
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.3)
    x, t = torch.randn(4, 1, 8, 8), torch.rand(4)
    torch.testing.assert_close(network(x, t), network(x, t, torch.full((4,), 3)))
    assert (network(x, t) - network(x, t, torch.zeros(4, dtype=torch.long))).abs().max() > 1e-6


def test_guidance_goes_from_the_answer_without_a_class_through_the_one_with_it() -> None:
    torch.manual_seed(0)
    network = small(num_classes=3)
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.3)
    model = diffusion.Diffusion(network, ema_decay=0.0)
    x, t, labels = torch.randn(4, 1, 8, 8), torch.full((4,), 0.5), torch.tensor([0, 1, 2, 0])
    without, once, twice = (model.guess(labels, scale)(x, t)[0] for scale in (0.0, 1.0, 2.0))
    torch.testing.assert_close(without, model.guess()(x, t)[0])
    torch.testing.assert_close(twice, 2 * once - without, rtol=1e-4, atol=1e-4)


class Points(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(18, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.net(torch.cat([x, diffusion.time_features(t, 16)], dim=1))


@pytest.mark.parametrize(
    ("path", "prediction"), [("cosine", "velocity"), ("straight", "velocity"), ("cosine", "clean")]
)
def test_it_learns_to_draw_points(path: str, prediction: str) -> None:
    torch.manual_seed(0)
    centres = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    examples = centres[torch.arange(2048) % 2] + 0.1 * torch.randn(2048, 2)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(examples), batch_size=256, shuffle=True)
    model = diffusion.Diffusion(Points(), path=path, prediction=prediction, learning_rate=5e-3)
    history = training.fit(model, loader, max_epochs=150, enable_progress_bar=False)
    assert history["train_loss"][-1] < history["train_loss"][0]
    drawn = diffusion.ddim(model.guess(), model.path, torch.randn(500, 2), 20)
    nearest = torch.cdist(drawn, centres).min(dim=1)
    assert nearest.values.median() < 0.35
    assert 0.3 < nearest.indices.float().mean() < 0.7


def test_a_checkpoint_brings_network_and_settings_back(tmp_path: Any) -> None:
    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(8, 1, 8, 8), torch.arange(8) % 3)
    model = diffusion.Diffusion(small(num_classes=3), path="straight", prediction="noise", untold=0.3)
    training.fit(model, torch.utils.data.DataLoader(data, batch_size=4), max_epochs=1, enable_progress_bar=False)
    model.trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = diffusion.Diffusion.load_from_checkpoint(tmp_path / "model.ckpt")
    assert again.untold == 0.3
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([0.3, 0.6])
    torch.testing.assert_close(again.guess()(x, t), model.guess()(x, t))


def test_the_recipe_trains_and_is_kept(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    model, history = diffusion.train("smoke")
    assert set(history) == {"train_loss", "val_loss"}
    assert history["val_loss"][-1] < 2  # a network that says 0 has about 2.4
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("it was trained again"))
    again, labels, x = diffusion.pretrained("smoke"), torch.tensor([3, 7]), torch.randn(2, 1, 28, 28)
    drawn = [diffusion.ddim(m.guess(labels), m.path, x, 3) for m in (model, again)]
    assert torch.equal(*drawn)
    for profile in training.PROFILES:
        settings = diffusion.recipe(profile)
        assert set(settings) == {"data", "model", "fit"}
        settings["fit"]["seed"] = 99
        assert diffusion.recipe(profile)["fit"]["seed"] != 99


@pytest.mark.bad_input
def test_a_prediction_of_the_noise_is_refused_where_it_says_nothing() -> None:
    model, x = diffusion.Diffusion(small(), path="cosine", prediction="noise"), torch.randn(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"at the time 1 less than a thousandth of the signal is left.*first=0\.99"):
        diffusion.ddim(model.guess(), model.path, x, 5)
    assert diffusion.ddim(model.guess(), model.path, x, 5, first=0.99).isfinite().all()


@pytest.mark.bad_input
@pytest.mark.parametrize("call", [diffusion.recipe, diffusion.train, diffusion.pretrained])
def test_profiles_that_do_not_exist(call: Any) -> None:
    with pytest.raises(ValueError, match=r"profile is 'fast'"):
        call("fast")


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: diffusion.linear_path(5.0, 1.0), "last is 1.0 and first 5.0"),
        (lambda: diffusion.linear_path(-1.0), "first is -1.0"),
        (lambda: diffusion.times(0), "steps is 0"),
        (lambda: diffusion.times(5, 1.5), "first is 1.5"),
        (lambda: diffusion.ddim(UNUSED, diffusion.cosine_path(), torch.zeros(1, 2), 5, eta=2.0), "eta is 2.0"),
        (lambda: diffusion.UNet((1, 10, 8)), r"shape is \(1, 10, 8\); height and width take multiples of 4"),
        (lambda: diffusion.UNet((1, 8, 8), 12), "channels is 12; it takes a multiple of 8"),
        (lambda: diffusion.UNet((1, 8, 8), 8, -1), "num_classes is -1"),
        (lambda: diffusion.Diffusion(small(), path="sine"), "path is 'sine'; it takes one of 'cosine'"),
        (lambda: diffusion.Diffusion(small(), prediction="x"), "prediction is 'x'; it takes one of 'noise'"),
        (lambda: diffusion.Diffusion(small(), learning_rate=0.0), "learning_rate is 0.0"),
        (lambda: diffusion.Diffusion(small(), untold=1.0), "untold is 1.0"),
        (lambda: diffusion.Diffusion(small()).guess(None, 2.0), "guidance is 2.0 and there are no labels"),
        (lambda: diffusion.Diffusion(small()).guess(None, math.nan), "guidance is nan"),
        (
            lambda: diffusion.check_path(diffusion.Path(lambda t: (1 - t, (3 * t).sin()), UNUSED)),
            "the noise rises all the way; here it does not near the time 0.52",
        ),
        (lambda: diffusion.check_path(diffusion.Path(lambda t: (t, 1 - t), UNUSED)), "begins with the shares 0 and 1"),
    ],
)
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("shape", "label", "message"),
    [((1, 12, 12), 0, r"shape \(1, 12, 12\); the network takes \(1, 8, 8\)"), ((1, 8, 8), 3, "labels run from 3 to 3")],
)
def test_wrong_examples_are_named(shape: tuple[int, ...], label: int, message: str) -> None:
    data = torch.utils.data.TensorDataset(torch.randn(8, *shape), torch.full((8,), label))
    model = diffusion.Diffusion(small(num_classes=3))
    with pytest.raises(ValueError, match=message):
        training.fit(model, torch.utils.data.DataLoader(data, batch_size=4), max_epochs=1, enable_progress_bar=False)
