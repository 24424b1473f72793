"""The VAE: its formulas against closed forms and quadrature, its bounds, its labels, its training and its hand-over."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning import Callback, Trainer
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional as F

from aigc_course import training, vae
from aigc_course.data import ImageData, load_images

SMALL: dict[str, Any] = {"latent_dim": 4, "channels": 4, "width": 16}


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    return load_images("digits", "test")


class Line(vae.VAE):
    """A VAE with one latent number and a steep decoder, small enough to integrate over z on a grid."""

    def __init__(self, mu: float, log_var: float, slope: float = 3.0) -> None:
        super().__init__(latent_dim=1, channels=1, width=1)
        generator = torch.Generator().manual_seed(5)
        # Few pixels say much: the others are equally likely whatever z is.
        self.slopes = torch.zeros(1, 784)
        self.slopes[0, :6] = slope * torch.randn(6, generator=generator)
        self.mu, self.log_var = mu, log_var

    def _posterior(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        return torch.full((len(x), 1), self.mu), torch.full((len(x), 1), self.log_var)

    def _logits(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return (z @ self.slopes).view(-1, 1, 28, 28)

    def exact(self, x: Tensor) -> tuple[float, float]:
        """Return log p(x) and the divergence of q from the true posterior, by integration on a fine grid."""
        z = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
        q = Normal(torch.tensor(self.mu).double(), math.exp(0.5 * self.log_var))
        logits = (z[:, None] @ self.slopes[:, :6].double()).view(-1, 6)
        pixels = x.flatten()[:6].double()
        constant = float(-math.log(2) * (784 - 6))
        joint = Bernoulli(logits=logits).log_prob(pixels).sum(1) + Normal(0.0, 1.0).log_prob(z) + constant
        step = float(z[1] - z[0])
        evidence = float(joint.logsumexp(0)) + math.log(step)
        gap = (q.log_prob(z).exp() * (q.log_prob(z) - (joint - evidence))).sum() * step
        return evidence, float(gap)


# --- formulas ---------------------------------------------------------------------------------------------------------


def test_reparameterise_moves_and_stretches_the_noise() -> None:
    mu, log_var, eps = torch.randn(3, 5, 2)
    assert torch.allclose(
        vae.reparameterise(mu, log_var, eps), Normal(mu, (log_var / 2).exp()).icdf(Normal(0, 1).cdf(eps)), atol=1e-3
    )
    assert torch.equal(vae.reparameterise(mu, log_var, torch.zeros_like(mu)), mu)


def test_reparameterise_draws_from_the_distribution_it_names() -> None:
    mu, log_var = torch.tensor([1.5, -2.0]), torch.tensor([0.0, math.log(0.09)])
    z = vae.reparameterise(mu.expand(50_000, 2), log_var.expand(50_000, 2))
    assert torch.allclose(z.mean(0), mu, atol=0.02)
    assert torch.allclose(z.std(0), torch.tensor([1.0, 0.3]), atol=0.01)
    assert abs(float(torch.corrcoef(z.T)[0, 1])) < 0.02


def test_reparameterise_lets_the_right_gradients_through() -> None:
    mu = torch.tensor([[0.7, -0.3]], requires_grad=True)
    log_var = torch.tensor([[0.4, -1.0]], requires_grad=True)
    vae.reparameterise(mu.expand(200_000, 2), log_var.expand(200_000, 2)).square().mean(0).sum().backward()
    assert mu.grad is not None
    assert log_var.grad is not None
    # E z² = μ² + σ², so its derivatives are 2μ by μ and σ² by log σ².
    assert torch.allclose(mu.grad, 2 * mu.detach(), atol=0.02)
    assert torch.allclose(log_var.grad, log_var.detach().exp(), atol=0.02)


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 10)), min_size=1, max_size=8))
def test_gaussian_kl_is_pytorchs_and_never_negative(pairs: list[tuple[float, float]]) -> None:
    mu, log_var = torch.tensor(pairs).T[:, None]
    ours = vae.gaussian_kl(mu, log_var)
    theirs = kl_divergence(Normal(mu.double(), (0.5 * log_var.double()).exp()), Normal(0.0, 1.0)).sum(1)
    assert ours.shape == (1,)
    assert torch.allclose(ours.double(), theirs, rtol=1e-5, atol=1e-6)
    assert ours >= -1e-12


def test_gaussian_kl_is_zero_at_the_prior_only() -> None:
    zero = torch.zeros(1, 3)
    assert vae.gaussian_kl(zero, zero) == 0
    for index in range(3):
        nudge = zero.clone()
        nudge[0, index] = 1e-3
        assert vae.gaussian_kl(nudge, zero) > 0
        assert vae.gaussian_kl(zero, nudge) > 0  # exp(x) - 1 - x would round to 0 or below
        assert vae.gaussian_kl(zero, -nudge) > 0


def test_gaussian_kl_has_the_gradients_of_its_formula() -> None:
    mu, log_var = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    vae.gaussian_kl(mu, log_var).sum().backward()
    assert torch.allclose(mu.grad, mu)  # type: ignore[arg-type]
    assert torch.allclose(log_var.grad, 0.5 * (log_var.exp() - 1), atol=1e-6)  # type: ignore[arg-type]


def test_bernoulli_log_likelihood_is_pytorchs_on_binary_pictures() -> None:
    logits = 3 * torch.randn(6, 1, 28, 28)
    x = torch.randint(2, (6, 1, 28, 28)).float()
    expected = Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3))
    assert torch.allclose(vae.bernoulli_log_likelihood(logits, x), expected, rtol=1e-5)


@given(st.floats(0.01, 0.99))
def test_bernoulli_log_likelihood_of_grey_is_highest_at_that_grey(grey: float) -> None:
    x = torch.full((1, 1, 2, 2), grey)
    best = vae.bernoulli_log_likelihood(x.logit(), x)
    entropy = -grey * math.log(grey) - (1 - grey) * math.log(1 - grey)
    assert float(best) == pytest.approx(-4 * entropy, rel=1e-4)
    for other in (0.005, 0.3, 0.7, 0.995):
        assert vae.bernoulli_log_likelihood(torch.full_like(x, other).logit(), x) <= best + 1e-5


def test_bernoulli_log_likelihood_survives_certain_decoders() -> None:
    x = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    certain = torch.tensor([-200.0, 200.0]).view(1, 1, 1, 2)
    assert vae.bernoulli_log_likelihood(certain, x) == 0
    assert vae.bernoulli_log_likelihood(-certain, x) == -400


# --- the bounds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mu", "log_var"), [(0.0, 0.0), (0.6, -1.5), (-1.0, 0.5)])
def test_elbo_and_gap_make_up_the_evidence(mu: float, log_var: float) -> None:
    model = Line(mu, log_var)
    x = torch.zeros(1, 1, 28, 28)
    x[0, 0, 0, :6] = torch.tensor([1.0, 0, 1, 1, 0, 0])
    evidence, gap = model.exact(x)
    log_likelihood, kl = model.elbo(x.expand(30_000, -1, -1, -1))
    bound = float((log_likelihood - kl).mean())
    assert gap > 0.01
    # log p(x) = ELBO + KL(q || posterior): an identity, whatever q is.
    assert bound + gap == pytest.approx(evidence, abs=0.05)
    # The importance-weighted bound closes the gap.
    tight = float(vae.iwae_bound(model, x.expand(20, -1, -1, -1), 2_000, chunk=200).mean())
    assert tight == pytest.approx(evidence, abs=0.03)


def test_elbo_is_the_evidence_where_q_is_the_posterior() -> None:
    # Without slopes the picture says nothing about z: the posterior is the prior, and that is this model's q.
    model = Line(0.0, 0.0, slope=0.0)
    x = torch.rand(3, 1, 28, 28).round()
    log_likelihood, kl = model.elbo(x)
    assert torch.allclose(log_likelihood - kl, torch.full((3,), -784 * math.log(2)))
    assert torch.allclose(vae.iwae_bound(model, x, 7), torch.full((3,), -784 * math.log(2)))


def test_iwae_bound_starts_at_the_elbo_and_grows_with_k() -> None:
    model = Line(0.6, 0.0)
    x = torch.zeros(1, 1, 28, 28).expand(4_000, -1, -1, -1)
    torch.manual_seed(7)
    log_likelihood, kl = model.elbo(x)
    bounds = []
    for k in (1, 2, 5, 20):
        torch.manual_seed(7)  # for k = 1 the same z as above: only the divergence is estimated in another way
        bounds.append(float(vae.iwae_bound(model, x, k).mean()))
    assert bounds[0] == pytest.approx(float((log_likelihood - kl).mean()), abs=0.06)
    assert bounds == sorted(bounds)
    assert bounds[-1] > bounds[0] + 0.2
    assert bounds[-1] < model.exact(x[:1])[0] + 0.05


def test_iwae_bound_does_not_depend_on_the_chunk(digits: tuple[Tensor, Tensor]) -> None:
    model = vae.VAE(**SMALL, num_classes=10)
    x, labels = digits[0][:3], digits[1][:3]
    values = []
    for chunk in (1, 3, 7, 100):
        torch.manual_seed(1)
        values.append(vae.iwae_bound(model, x, 7, labels, chunk=chunk))
    for value in values[1:]:
        assert torch.allclose(value, values[0], rtol=1e-5)


def test_negative_elbo_is_the_mean_over_pictures_and_draws(digits: tuple[Tensor, Tensor]) -> None:
    model, x = vae.VAE(**SMALL), digits[0][:5]
    torch.manual_seed(2)
    with torch.no_grad():
        draws = [model.elbo(x) for _ in range(3)]
    torch.manual_seed(2)
    expected = float(torch.stack([kl - log_likelihood for log_likelihood, kl in draws]).mean())
    assert vae.negative_elbo(model, x, samples=3) == pytest.approx(expected, rel=1e-5)


# --- the models -------------------------------------------------------------------------------------------------------


def test_elbo_is_the_formulas_put_together(digits: tuple[Tensor, Tensor]) -> None:
    model, x, labels = vae.VAE(**SMALL, num_classes=10), digits[0][:4], digits[1][:4]
    torch.manual_seed(3)
    log_likelihood, kl = model.elbo(x, labels)
    torch.manual_seed(3)
    mu, log_var = model.encode(x, labels)
    logits = model.decode(vae.reparameterise(mu, log_var), labels)
    assert torch.equal(log_likelihood, vae.bernoulli_log_likelihood(logits, x))
    assert torch.equal(kl, vae.gaussian_kl(mu, log_var))


def test_every_parameter_learns(digits: tuple[Tensor, Tensor]) -> None:
    model = vae.VAE(**SMALL, num_classes=10)
    log_likelihood, kl = model.elbo(digits[0][:64], digits[1][:64])
    (kl - log_likelihood).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_pictures_do_not_influence_each_other(digits: tuple[Tensor, Tensor]) -> None:
    model, x = vae.VAE(**SMALL), digits[0][:4]
    mu, _ = model.encode(x)
    changed = x.clone()
    changed[2] = 1 - changed[2]
    other, _ = model.encode(changed)
    same = torch.tensor([True, True, False, True])
    assert torch.allclose(mu[same], other[same], atol=1e-6)
    assert not torch.allclose(mu[2], other[2], atol=1e-4)


def test_a_label_reaches_its_own_picture_in_encoder_and_decoder(digits: tuple[Tensor, Tensor]) -> None:
    model, x = vae.VAE(**SMALL, num_classes=10), digits[0][:4]
    labels, changed = torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 9, 4])
    same = torch.tensor([True, True, False, True])
    z = torch.randn(4, 4)
    for before, after in [
        (model.encode(x, labels)[0], model.encode(x, changed)[0]),
        (model.encode(x, labels)[1], model.encode(x, changed)[1]),
        (model.decode(z, labels), model.decode(z, changed)),
    ]:
        assert torch.allclose(before[same], after[same], atol=1e-6)
        assert not torch.allclose(before[2], after[2], atol=1e-5)


def test_the_divergence_alone_carries_beta(digits: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    batch = digits[0][:8], digits[1][:8]
    logged: dict[str, Tensor] = {}
    for beta in (0.0, 1.0, 4.0):
        model = vae.VAE(**SMALL, beta=beta)
        model.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        monkeypatch.setattr(model, "log_dict", lambda figures, **_: logged.update(figures))
        torch.manual_seed(4)
        log_likelihood, kl = model.elbo(batch[0])
        torch.manual_seed(4)
        loss = model.training_step(batch, 0)
        assert torch.allclose(loss, -log_likelihood.mean() + beta * kl.mean())
        model.on_train_epoch_end()  # the mean of a single step
        assert torch.equal(logged["train_loss"], loss)
        assert torch.allclose(logged["train_kl"], kl.mean())
        torch.manual_seed(4)
        model.validation_step(batch, 0)
        assert torch.allclose(logged["val_loss"], (kl - log_likelihood).mean())
        assert torch.allclose(logged["val_kl"] - logged["val_log_likelihood"], logged["val_loss"])


def test_samples_are_probabilities_and_follow_seed_and_temperature() -> None:
    model = vae.VAE(**SMALL)
    torch.manual_seed(5)
    first = model.sample(6)
    torch.manual_seed(5)
    assert torch.equal(model.sample(6), first)
    assert first.shape == (6, 1, 28, 28)
    assert not first.requires_grad
    assert first.min() >= 0
    assert first.max() <= 1
    cold = model.sample(6, temperature=0.0)
    assert torch.allclose(cold, cold[:1].expand_as(cold), atol=1e-6)
    spread = [float(model.sample(500, temperature=t).std(0).mean()) for t in (0.2, 1.0, 2.0)]
    assert spread == sorted(spread)


def test_samples_of_a_class_use_the_label() -> None:
    model = vae.VAE(**SMALL, num_classes=10)
    pictures = model.sample(10, torch.arange(10), temperature=0.0)
    assert len(torch.unique(pictures.flatten(1), dim=0)) == 10


def test_reconstruct_decodes_the_posterior_mean(digits: tuple[Tensor, Tensor]) -> None:
    model, x, labels = vae.VAE(**SMALL, num_classes=10), digits[0][:4], digits[1][:4]
    expected = model.decode(model.encode(x, labels)[0], labels).sigmoid()
    assert torch.equal(model.reconstruct(x, labels), expected)
    autoencoder = vae.Autoencoder(**SMALL)
    assert torch.equal(autoencoder.reconstruct(x), autoencoder.decode(autoencoder.encode(x)).sigmoid())


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 28, 28), (3, 64, 64), (2, 8, 12), (1, 128, 4)])
def test_pictures_of_other_shapes(shape: tuple[int, int, int]) -> None:
    model, autoencoder = vae.VAE(**SMALL, shape=shape, num_classes=3), vae.Autoencoder(**SMALL, shape=list(shape))
    x, labels = torch.rand(2, *shape), torch.tensor([2, 0])
    assert model.decode(torch.randn(2, 4), labels).shape == x.shape
    assert model.sample(2, labels).shape == model.reconstruct(x, labels).shape == x.shape
    assert autoencoder.decode(autoencoder.encode(x)).shape == autoencoder.reconstruct(x).shape == x.shape
    assert vae.iwae_bound(model, x, 3, labels).shape == (2,)
    assert vae.negative_elbo(model, x, labels, samples=1) > 0
    log_likelihood, kl = model.elbo(x, labels)
    (kl - log_likelihood).mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (5, 18), (15, 31)])
def test_every_value_of_a_picture_has_its_own_logit(channel: int, row: int, column: int) -> None:
    # One patch per place: what reaches the last layer's channels of one patch is the picture's patch, in its order.
    model = vae.VAE(**SMALL, shape=(3, 16, 32))
    last = model.decoder.output[1]
    patch = row // vae.PATCH, column // vae.PATCH
    values = torch.zeros(1, 3 * vae.PATCH**2, 4, 8)
    values[0, channel * vae.PATCH**2 + row % vae.PATCH * vae.PATCH + column % vae.PATCH, patch[0], patch[1]] = 1
    logits = model.decoder.output[2](values)
    assert last.out_channels == values.shape[1]
    assert logits.nonzero().tolist() == [[0, channel, row, column]]
    assert torch.equal(model.encoder.features[0](logits), values)


@pytest.mark.parametrize(
    ("kind", "classes", "count", "some"),
    [
        (vae.VAE, 0, 844_976, [0.120401, -0.039671, -0.037028]),
        (vae.VAE, 10, 853_872, [0.120401, -0.032889, 0.022612]),
        (vae.Autoencoder, 0, 840_864, [0.120401, -0.039671, 0.026978]),
    ],
)
def test_the_default_shape_draws_the_weights_of_the_chapters(
    kind: Any, classes: int, count: int, some: list[float]
) -> None:
    torch.manual_seed(0)
    model = kind(num_classes=classes) if classes else kind()
    first, middle, last = model.encoder.features[1][0], model.encoder.head[1], model.decoder.output[1]
    drawn = torch.stack([first.weight.flatten()[0], middle.weight.flatten()[0], last.weight.flatten()[-1]])
    torch.testing.assert_close(drawn, torch.tensor(some), rtol=0, atol=1e-5)
    assert sum(weight.numel() for weight in model.parameters()) == count


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [0, 10])
def test_training_learns(num_classes: int, digits: tuple[Tensor, Tensor]) -> None:
    labels = digits[1] if num_classes else None
    model = vae.VAE(latent_dim=8, channels=16, width=128, num_classes=num_classes)
    history = training.fit(model, ImageData("digits", batch_size=50), max_epochs=2)
    assert set(history) == {"train_loss", "train_kl", "val_loss", "val_log_likelihood", "val_kl"}
    # Every pixel at its mean over the training pictures, the best without a code, costs more than this.
    mean = load_images("digits")[0].mean(0, keepdim=True).expand_as(digits[0])
    without_code = -vae.bernoulli_log_likelihood(mean.logit(eps=1e-4), digits[0]).mean()
    assert vae.negative_elbo(model, digits[0], labels, samples=2) < 0.9 * float(without_code)


def test_the_same_seed_gives_the_same_result() -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        model = vae.VAE(**SMALL, num_classes=10)
        data = ImageData("digits", batch_size=50, rotate=10.0, shift=1.0)
        results.append(training.fit(model, data, max_epochs=2, limit_train_batches=5))
    assert results[0] == results[1]


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11])
def test_runs_of_any_length_follow_the_schedule(steps: int) -> None:
    model = vae.VAE(**SMALL)
    rates: list[float] = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    training.fit(model, ImageData("digits"), max_epochs=1, limit_train_batches=steps, callbacks=[Rates()])
    assert len(rates) == steps
    assert 0 < max(rates) <= model.learning_rate
    assert steps < 9 or rates[-1] < 0.01 * model.learning_rate


def test_another_seed_gives_another_result() -> None:
    histories = []
    for seed in (0, 1):
        torch.manual_seed(0)
        model = vae.VAE(**SMALL)
        histories.append(training.fit(model, ImageData("digits"), max_epochs=1, seed=seed, limit_train_batches=3))
    assert histories[0]["train_loss"] != histories[1]["train_loss"]


def test_autoencoder_learns_to_copy(digits: tuple[Tensor, Tensor]) -> None:
    model = vae.Autoencoder(latent_dim=8, channels=16, width=128)
    history = training.fit(model, ImageData("digits", batch_size=50), max_epochs=2)
    assert F.mse_loss(model.reconstruct(digits[0]), digits[0]) < 0.5 * digits[0].var(0).mean()
    assert set(history) == {"train_loss", "val_loss"}
    with torch.no_grad():
        loss = -vae.bernoulli_log_likelihood(model.decode(model.encode(digits[0])), digits[0]).mean()
    assert float(loss) == pytest.approx(history["val_loss"][-1], rel=0.05)


# --- the hand-over ----------------------------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """An empty cache; the function lists the models in it."""
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    return lambda: sorted((tmp_path / "models").glob("*.pt"))


def test_pretrained_is_what_train_made(
    models: Callable[[], list[Path]], digits: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, history = vae.train("smoke")
    assert len(models()) == 1
    assert len(history["val_loss"]) == vae.recipe("smoke")["fit"]["max_epochs"]
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("it was trained again"))
    loaded = vae.pretrained("smoke")
    assert isinstance(loaded, vae.VAE)
    assert not loaded.training
    for stored, weight in zip(loaded.parameters(), trained.parameters(), strict=True):
        assert torch.equal(stored, weight)
    assert torch.equal(loaded.reconstruct(digits[0][:2]), trained.reconstruct(digits[0][:2]))


def test_pretrained_trains_where_the_cache_is_empty_and_keeps_the_random_numbers(
    models: Callable[[], list[Path]],
) -> None:
    draws = []
    for _ in range(2):  # the first call trains, the second loads
        torch.manual_seed(6)
        vae.pretrained("smoke")
        draws.append(torch.rand(3))
    assert len(models()) == 1
    assert torch.equal(draws[0], draws[1])


def test_another_recipe_or_another_source_is_another_model(
    models: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    vae.pretrained("smoke")
    settings = vae.recipe("smoke")
    settings["model"]["latent_dim"] += 1
    with monkeypatch.context() as patch:
        patch.setattr(vae, "recipe", lambda profile: settings)
        assert vae.pretrained("smoke").latent_dim == settings["model"]["latent_dim"]
    assert len(models()) == 2
    with monkeypatch.context() as patch:
        patch.setattr(training.inspect, "getsource", lambda module: "another version")
        vae.pretrained("smoke")
    assert len(models()) == 3


def test_recipes_are_plain_and_their_own() -> None:
    for profile in training.PROFILES:
        settings = vae.recipe(profile)
        assert set(settings) == {"data", "model", "fit"}
        assert settings == vae.recipe(profile)
        settings["fit"]["seed"] = 99
        assert vae.recipe(profile)["fit"]["seed"] != 99


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.bad_input
@pytest.mark.parametrize("kind", [vae.VAE, vae.Autoencoder])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_dim": 0}, r"latent_dim is 0; it takes a whole number ≥ 1"),
        ({"latent_dim": -3}, r"latent_dim is -3"),
        ({"width": 0}, r"width is 0; it takes a whole number ≥ 1"),
        ({"channels": 0}, r"channels is 0; it takes a whole number ≥ 1"),
        ({"learning_rate": 0.0}, r"learning_rate is 0.0; it takes a number above 0"),
        ({"learning_rate": math.nan}, r"learning_rate is nan"),
        ({"shape": (28, 28)}, r"shape is \(28, 28\); it takes \(channels, height, width\) of a picture"),
        ({"shape": (0, 28, 28)}, r"shape is \(0, 28, 28\); .* at least 1 channel"),
        ({"shape": (3, 30, 28)}, r"shape is \(3, 30, 28\); .* multiples of 4"),
        ({"shape": [3, 28, 30]}, r"shape is \(3, 28, 30\); .* multiples of 4"),
        ({"shape": (3, 0, 28)}, r"shape is \(3, 0, 28\)"),
    ],
)
def test_settings_out_of_range(kind: type, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": -0.5}, r"beta is -0.5; it takes a number ≥ 0"),
        ({"beta": math.nan}, r"beta is nan"),
        ({"num_classes": -1}, r"num_classes is -1; it takes a whole number ≥ 0"),
    ],
)
def test_vae_settings_out_of_range(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vae.VAE(**arguments)  # type: ignore[arg-type]


BAD_PICTURES = [
    (torch.rand(2, 784), r"x has the shape \(2, 784\); it takes \(batch, 1, 28, 28\)"),
    (
        torch.rand(2, 3, 28, 28),
        r"x has the shape \(2, 3, 28, 28\); .* built with their shape=\(channels, height, width",
    ),
    (torch.rand(2, 1, 32, 32), r"x has the shape \(2, 1, 32, 32\)"),
    (torch.rand(0, 1, 28, 28), r"x has the shape \(0, 1, 28, 28\); .* at least 1"),
    (torch.rand(2, 1, 28, 28) * 255, r"x has values from .* to 25\d; it takes values in \[0, 1\]"),
    (torch.rand(2, 1, 28, 28) - 0.5, r"x has values from -0\.\d+ to .*; it takes values in \[0, 1\]"),
    (torch.full((2, 1, 28, 28), math.nan), r"x has values from nan to nan"),
]


@pytest.mark.bad_input
@pytest.mark.parametrize(("x", "message"), BAD_PICTURES)
def test_pictures_of_another_shape_or_range(x: Tensor, message: str) -> None:
    model, autoencoder = vae.VAE(**SMALL), vae.Autoencoder(**SMALL)
    for call in [
        lambda: model.encode(x),
        lambda: model.elbo(x),
        lambda: model.reconstruct(x),
        lambda: model.training_step((x, torch.zeros(len(x))), 0),
        lambda: vae.iwae_bound(model, x, 2),
        lambda: vae.negative_elbo(model, x),
        lambda: autoencoder.encode(x),
        lambda: autoencoder.reconstruct(x),
        lambda: autoencoder.training_step((x, torch.zeros(len(x))), 0),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.bad_input
def test_pictures_that_do_not_fit_the_models_shape() -> None:
    for kind in (vae.VAE, vae.Autoencoder):
        model = kind(**SMALL, shape=(3, 16, 16))
        for x in (torch.rand(2, 1, 28, 28), torch.rand(2, 16, 16, 3)):
            with pytest.raises(ValueError) as error:
                model.training_step((x, torch.zeros(2)), 0)
            assert f"x has the shape {tuple(x.shape)}; it takes (batch, 3, 16, 16)" in str(error.value)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, r"labels are missing, and the model has 10 classes; it takes 2 whole numbers from 0 to 9"),
        (torch.tensor([3, 10]), r"labels has values from 3 to 10; it takes 2 whole numbers from 0 to 9"),
        (torch.tensor([-1, 4]), r"labels has values from -1 to 4"),
        (torch.tensor([1, 2, 3]), r"labels has the shape \(3,\) and the type torch.int64; it takes 2 whole"),
        (torch.tensor([1.0, 2.0]), r"labels has the shape \(2,\) and the type torch.float32"),
    ],
)
def test_labels_that_do_not_fit(labels: Tensor | None, message: str) -> None:
    model, x, z = vae.VAE(**SMALL, num_classes=10), torch.rand(2, 1, 28, 28), torch.randn(2, 4)
    for call in [
        lambda: model.encode(x, labels),
        lambda: model.decode(z, labels),
        lambda: model.elbo(x, labels),
        lambda: model.reconstruct(x, labels),
        lambda: model.sample(2, labels),
        lambda: vae.iwae_bound(model, x, 3, labels),
        lambda: vae.negative_elbo(model, x, labels),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.bad_input
def test_labels_for_a_model_without_classes() -> None:
    model, x, labels = vae.VAE(**SMALL), torch.rand(2, 1, 28, 28), torch.tensor([1, 2])
    for call in [
        lambda: model.encode(x, labels),
        lambda: model.decode(torch.randn(2, 4), labels),
        lambda: model.elbo(x, labels),
        lambda: model.sample(2, labels),
        lambda: vae.iwae_bound(model, x, 3, labels),
    ]:
        with pytest.raises(ValueError, match=r"labels are given, but the model has no classes"):
            call()


@pytest.mark.bad_input
def test_counts_and_codes_that_do_not_fit() -> None:
    model, x = vae.VAE(**SMALL), torch.rand(2, 1, 28, 28)
    with pytest.raises(ValueError, match=r"n is 0; it takes a whole number ≥ 1"):
        model.sample(0)
    with pytest.raises(ValueError, match=r"temperature is -1.0; it takes a number ≥ 0"):
        model.sample(1, temperature=-1.0)
    with pytest.raises(ValueError, match=r"k is 0; it takes a whole number ≥ 1"):
        vae.iwae_bound(model, x, 0)
    with pytest.raises(ValueError, match=r"chunk is 0; it takes a whole number ≥ 1"):
        vae.iwae_bound(model, x, 5, chunk=0)
    with pytest.raises(ValueError, match=r"samples is 0; it takes a whole number ≥ 1"):
        vae.negative_elbo(model, x, samples=0)
    for decoder in (model, vae.Autoencoder(**SMALL)):
        with pytest.raises(ValueError, match=r"z has the shape \(2, 5\); it takes \(batch, 4\)"):
            decoder.decode(torch.randn(2, 5))


@pytest.mark.bad_input
def test_profiles_that_do_not_exist() -> None:
    for call in (vae.recipe, vae.train, vae.pretrained):
        with pytest.raises(ValueError, match=r"profile is 'fast'"):
            call("fast")
