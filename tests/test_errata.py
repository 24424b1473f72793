"""The errata of book/errata.md, checked: small reconstructions of our own that have the faults described there.

Each test shows the fault and, where there is one, the right form beside it. `tests/test_errata_gan.py` does the same
for GANs. The names are printed in the errata; the last test keeps the two lists equal.
"""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from packaging.requirements import InvalidRequirement, Requirement
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence
from torch.nn import functional as F

ERRATA = Path(__file__).parents[1] / "book" / "errata.md"


# --- General ---------------------------------------------------------------------------------------------------------


def test_psnr_prefers_grey() -> None:
    # PSNR compares with one given original. As a score for free samples it ranks plain grey above a perfect picture.
    original, another = (torch.rand(2, 1000) < 0.5).float()
    grey = torch.full_like(original, 0.5)

    def psnr(picture: Tensor) -> float:
        return -10 * math.log10(F.mse_loss(picture, original).item())

    assert psnr(another) < psnr(grey) - 2


def test_flips_change_digits() -> None:
    segments = {
        2: ["###", "..#", "###", "#..", "###"],
        5: ["###", "#..", "###", "..#", "###"],
        6: ["###", "#..", "###", "#.#", "###"],
        9: ["###", "#.#", "###", "..#", "###"],
    }
    digit = {name: np.array([list(row) for row in rows]) == "#" for name, rows in segments.items()}
    assert not np.array_equal(digit[2], digit[5])
    assert not np.array_equal(digit[6], digit[9])
    np.testing.assert_array_equal(np.fliplr(digit[2]), digit[5])
    np.testing.assert_array_equal(np.rot90(digit[6], 2), digit[9])


def test_version_x_is_refused() -> None:
    for wrong in ("python==3.x", "tensorflow==2.x"):
        with pytest.raises(InvalidRequirement):
            Requirement(wrong)
    assert Requirement("tensorflow==2.*").name == "tensorflow"  # the wildcard is a star


# --- Mixture ---------------------------------------------------------------------------------------------------------

GRID = torch.linspace(-12, 12, 1001, dtype=torch.float64)


def mixture_density(weights: list[float]) -> Tensor:
    components = Normal(torch.tensor([-2.0, 2.0]).double(), torch.tensor([1.0, 0.5]).double())
    return components.log_prob(GRID[:, None]).exp() @ torch.tensor(weights).double()


def test_mixture_weights() -> None:
    area = torch.trapezoid(mixture_density([0.7, 0.7]), GRID).item()
    assert area == pytest.approx(1.4, abs=1e-6)  # not a density
    assert mixture_density([1.5, -0.5]).min() < 0  # they sum to 1, and still
    proper = mixture_density([0.7, 0.3])
    assert proper.min() >= 0
    assert torch.trapezoid(proper, GRID).item() == pytest.approx(1, abs=1e-6)


def test_covariance_as_deviation() -> None:
    generator = np.random.default_rng(0)
    mean, covariance = np.zeros(2), np.array([[4.0, 0.0], [0.0, 9.0]])
    drawn = np.stack([generator.normal(mean, covariance) for _ in range(4000)])
    assert drawn.shape == (4000, 2, 2)  # each "point" is a 2x2 matrix
    np.testing.assert_allclose(drawn.std(0), covariance, rtol=0.1)  # spread 4 and 9, where 2 and 3 were meant
    right = generator.multivariate_normal(mean, covariance, size=4000)
    assert right.shape == (4000, 2)
    np.testing.assert_allclose(right.std(0), [2, 3], rtol=0.1)


def test_list_is_no_array() -> None:
    samples = [np.zeros(2) for _ in range(3)]
    with pytest.raises(TypeError):
        _ = samples[:, 0]  # type: ignore[call-overload]
    assert np.stack(samples)[:, 0].shape == (3,)


def test_shifted_gaussian_is_one_bell() -> None:
    # z ~ N(0, 1), x | z ~ N(z, 1): integrate z out. The whole "generative model" is one bell of variance 2.
    def marginal(z: Tensor, weight: Tensor) -> Tensor:
        return Normal(z, 1.0).log_prob(GRID[:, None]).exp() @ weight

    z = torch.linspace(-8, 8, 401).double()
    one_bell = Normal(torch.tensor(0.0).double(), math.sqrt(2)).log_prob(GRID).exp()
    weight = Normal(0.0, 1.0).log_prob(z).exp() * (z[1] - z[0])
    torch.testing.assert_close(marginal(z, weight), one_bell, atol=1e-6, rtol=0)
    # With a z that takes two values it is a mixture, and has two humps.
    mixture = marginal(torch.tensor([-3.0, 3.0]).double(), torch.tensor([0.5, 0.5]).double())
    assert mixture[len(GRID) // 2] < 0.1 * mixture.max()


# --- Loss ------------------------------------------------------------------------------------------------------------


def test_caret_is_exclusive_or() -> None:
    assert (3 - 1) ^ 2 == 0
    assert (3 - 1) ** 2 == 4
    with pytest.raises((TypeError, RuntimeError)):
        _ = torch.tensor([0.5]) ^ 2


def test_gradient_has_a_two() -> None:
    target, guess = torch.randn(2, 5)
    guess.requires_grad_()
    (gradient,) = torch.autograd.grad(((target - guess) ** 2).sum(), guess)
    torch.testing.assert_close(gradient, -2 * (target - guess).detach())
    assert not torch.allclose(gradient, -(target - guess).detach())


def test_sum_is_not_mean() -> None:
    target, guess = torch.randn(2, 50)
    total = ((target - guess) ** 2).sum()
    mean = F.mse_loss(guess, target)
    torch.testing.assert_close(total, 50 * mean)


def test_pair_is_no_number() -> None:
    def loss_and_gradient(target: float, guess: float) -> tuple[float, float]:
        return (target - guess) ** 2, -2 * (target - guess)

    result = loss_and_gradient(3.0, 1.0)
    with pytest.raises(TypeError):
        _ = result < 0.1  # type: ignore[operator]
    with pytest.raises(TypeError):
        f"{result:.4f}"
    loss, gradient = result
    assert (loss, gradient) == (4.0, -4.0)


def test_noise_predicts_nothing() -> None:
    # Inputs that are drawn anew and know nothing of the targets: the best prediction is the mean of the data.
    data = torch.randn(4000, 3) * torch.tensor([1.0, 2.0, 3.0]) + 5
    noise = torch.randn(4000, 4)
    inputs = torch.cat([noise, torch.ones(4000, 1)], dim=1)
    fitted = inputs @ torch.linalg.lstsq(inputs, data).solution
    error = ((data - fitted) ** 2).mean(0)
    torch.testing.assert_close(error, data.var(0), rtol=0.01, atol=0)
    torch.testing.assert_close(fitted, data.mean(0).expand_as(fitted), rtol=0, atol=0.8)


def test_encoder_refuses_noise() -> None:
    encoder = nn.Sequential(nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 32))
    assert encoder(torch.rand(2, 784)).shape == (2, 32)
    with pytest.raises(RuntimeError):
        encoder(torch.randn(2, 32))


def test_bce_of_standardised_data() -> None:
    pictures = (torch.rand(100, 784) < 0.2).float()
    standardised = (pictures - pictures.mean()) / pictures.std()
    assert standardised.min() < 0
    assert standardised.max() > 1

    def loss(target: Tensor, logits: Tensor) -> float:
        return F.binary_cross_entropy_with_logits(logits, target).item()

    # Push every pixel to the side its target is on, further and further.
    ladder = [loss(standardised, scale * standardised.sign()) for scale in (1, 10, 100, 1000)]
    assert ladder == sorted(ladder, reverse=True)
    assert ladder[-1] < -100
    # With targets in [0, 1] the same push never gets below zero.
    assert min(loss(pictures, scale * (2 * pictures - 1)) for scale in (1, 10, 100, 1000)) >= 0


def test_two_sets_two_rulers() -> None:
    train, test = torch.rand(1000, 4), torch.rand(1000, 4) ** 2
    picture = torch.full((4,), 0.5)
    own = [(picture - part.mean()) / part.std() for part in (train, test)]
    assert not torch.allclose(own[0], own[1], atol=0.3)


def test_grid_ends_at_100() -> None:
    figure = Figure()
    figure.add_subplot(10, 10, 100)
    with pytest.raises(ValueError, match="101"):
        figure.add_subplot(10, 10, 101)


# --- VAE -------------------------------------------------------------------------------------------------------------


def test_autoencoder_codes_are_free() -> None:
    x = torch.rand(200, 8)
    encoder, decoder = torch.randn(8, 3), torch.randn(3, 8)

    def loss(encoder: Tensor, decoder: Tensor) -> Tensor:
        return F.mse_loss(x @ encoder @ decoder, x)

    def kl(encoder: Tensor) -> Tensor:  # of codes N(mu, 1) to the prior N(0, 1)
        return 0.5 * (x @ encoder).square().sum(1).mean()

    def drawn(encoder: Tensor) -> Tensor:  # what a VAE does with the same mean
        return x @ encoder + torch.randn(200, 3)

    assert torch.equal(x @ encoder, x @ encoder)  # the same picture always gets the same code
    assert not torch.allclose(drawn(encoder), drawn(encoder), atol=0.1)
    # Codes ten times as wide, read by a decoder ten times as weak: the loss does not notice, so nothing ever brings
    # the codes to N(0, I), and what is drawn from N(0, I) need not be anything the decoder knows. A KL term notices.
    torch.testing.assert_close(loss(encoder, decoder), loss(10 * encoder, decoder / 10))
    assert (x @ (10 * encoder)).std() > 9 * (x @ encoder).std()
    assert kl(10 * encoder) > 50 * kl(encoder)


def test_shapes_do_not_fit() -> None:
    def halve(channels_in: int, channels: int) -> nn.Module:
        return nn.Conv2d(channels_in, channels, 3, stride=2, padding=1)

    def double(channels_in: int, channels: int) -> nn.Module:
        return nn.ConvTranspose2d(channels_in, channels, 3, stride=2, padding=1, output_padding=1)

    encoder = nn.Sequential(halve(1, 4), halve(4, 4), halve(4, 4), nn.Flatten(), nn.LazyLinear(784))
    decoder = nn.Sequential(
        nn.Linear(256, 7 * 7 * 4), nn.Unflatten(1, (4, 7, 7)), double(4, 4), double(4, 4), double(4, 1), nn.Sigmoid()
    )
    code = encoder(torch.rand(2, 1, 28, 28))
    assert code.shape == (2, 784)
    with pytest.raises(RuntimeError):
        decoder(code)  # it wants 256
    assert decoder(torch.randn(2, 256)).shape == (2, 1, 56, 56)  # and would return 56x56, not 28x28


def test_swapped_bce_is_linear() -> None:
    picture = torch.tensor([0.0, 0.25, 0.5, 1.0])  # taken for the logits
    reconstruction = torch.rand(4, requires_grad=True)  # taken for the target

    def swapped(reconstruction: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(picture, reconstruction, reduction="sum")

    (gradient,) = torch.autograd.grad(swapped(reconstruction), reconstruction)
    torch.testing.assert_close(gradient, -picture)  # whatever the reconstruction is
    # So lit pixels are pushed up without end, black ones are ignored, and the true picture is not the best answer.
    assert swapped(torch.ones(4)) < swapped(picture)
    assert swapped(torch.tensor([0.3, 100.0, 100.0, 100.0])) < swapped(torch.ones(4))
    torch.testing.assert_close(swapped(torch.tensor([0.0, 1, 1, 1])), swapped(torch.tensor([1.0, 1, 1, 1])))
    # In the right order the picture itself is best.
    candidates = torch.linspace(0.001, 0.999, 999)[:, None].expand(-1, 4)
    losses = F.binary_cross_entropy(candidates, picture.expand_as(candidates), reduction="none")
    torch.testing.assert_close(candidates[losses.argmin(0), 0], picture.clamp(0.001, 0.999))


def test_sigmoid_twice_has_no_black() -> None:
    outputs = torch.linspace(0, 1, 101)  # all that a sigmoid can return, taken for logits
    probability = torch.sigmoid(outputs)
    assert probability.min() >= 0.5
    assert probability.max() < 0.74
    black = F.binary_cross_entropy_with_logits(outputs, torch.zeros(101), reduction="none")
    white = F.binary_cross_entropy_with_logits(outputs, torch.ones(101), reduction="none")
    assert black.min().item() == pytest.approx(math.log(2))  # a perfect picture still costs this much a pixel
    assert white.min().item() == pytest.approx(math.log(1 + math.exp(-1)))
    logits = torch.tensor([-20.0])  # a true logit gets as near to black as it likes
    assert F.binary_cross_entropy_with_logits(logits, torch.zeros(1)) < 1e-6


def test_three_losses_pull_apart() -> None:
    x = torch.rand(16, 6)

    def updates(weight: float) -> dict[str, list[Tensor]]:
        torch.manual_seed(0)
        encoder, decoder = nn.Linear(6, 2), nn.Linear(2, 6)
        output = decoder(encoder(x))
        cross_entropy = weight * F.binary_cross_entropy_with_logits(output, x)
        squared = (x - output).square().sum(1).mean()
        # One gradient a loss, each asked for the variables that the article names.
        wanted = [("encoder", cross_entropy, encoder), ("encoder", squared, encoder), ("decoder", squared, decoder)]
        found: dict[str, list[Tensor]] = {"encoder": [], "decoder": []}
        for name, loss, module in wanted:
            found[name].append(torch.autograd.grad(loss, module.weight, retain_graph=True)[0])
        return found

    once, strong = updates(1.0), updates(100.0)
    assert [len(once[name]) for name in ("encoder", "decoder")] == [2, 1]
    assert not torch.allclose(sum(once["encoder"], torch.zeros(2, 6)), sum(strong["encoder"], torch.zeros(2, 6)))
    assert torch.equal(once["decoder"][0], strong["decoder"][0])  # the decoder never sees the cross-entropy


def test_likelihood_wants_small_error() -> None:
    x, guesses = torch.tensor(0.3), torch.linspace(-5, 5, 1001)
    error = (x - guesses) ** 2
    log_likelihood = Normal(guesses, 1.0).log_prob(x)
    assert log_likelihood.argmax() == error.argmin()
    assert guesses[error.argmax()].abs() == 5  # the farthest guess there is


# One latent variable and one value: z ~ N(0, 1), x | z ~ N(W z, S^2). Everything has a closed form.
W, S = 1.0, 3.0


def expected_log_likelihood(x: float, q: Normal) -> Tensor:
    squares = (x - W * q.mean) ** 2 + W**2 * q.variance
    return -0.5 * math.log(2 * math.pi * S**2) - squares / (2 * S**2)


def linear_gaussian(x: float) -> tuple[Normal, Normal, float]:
    """The prior, the true posterior, and log p(x)."""
    variance = 1 / (1 + W**2 / S**2)
    posterior = Normal(torch.tensor(variance * W * x / S**2), math.sqrt(variance))
    evidence = Normal(0.0, math.sqrt(W**2 + S**2)).log_prob(torch.tensor(x)).item()
    return Normal(0.0, 1.0), posterior, evidence


def elbo(x: float, q: Normal) -> float:
    prior, _, _ = linear_gaussian(x)
    return (expected_log_likelihood(x, q) - kl_divergence(q, prior)).item()


def test_elbo_touches_the_evidence() -> None:
    for x in (0.5, 100.0):
        _, posterior, evidence = linear_gaussian(x)
        assert elbo(x, posterior) == pytest.approx(evidence, rel=1e-5)
        for shift, factor in [(0.5, 1.0), (-0.5, 1.0), (0.0, 2.0), (0.0, 0.5)]:
            assert elbo(x, Normal(posterior.mean + shift, posterior.stddev * factor)) < evidence


def test_objective_has_no_optimum() -> None:
    # E[log p(x|z)] + E_p[log p(z)] + KL(p || q): the middle term is a constant, the last has the wrong sign and order.
    x = 0.5
    prior, posterior, evidence = linear_gaussian(x)

    def printed(q: Normal) -> float:
        return (expected_log_likelihood(x, q) - prior.entropy() + kl_divergence(prior, q)).item()

    narrow = [printed(Normal(posterior.mean, deviation)) for deviation in (1.0, 1e-1, 1e-2, 1e-3)]
    assert narrow == sorted(narrow)
    assert narrow[-1] > evidence + 1e5  # maximised, it makes q a spike, and bounds nothing
    assert printed(Normal(posterior.mean, 1e3)) < -1e4  # minimised, it makes q as wide as can be


def test_reversed_kl_is_no_bound() -> None:
    x = 100.0
    prior, posterior, evidence = linear_gaussian(x)

    def reversed_kl(q: Normal) -> float:
        return (expected_log_likelihood(x, q) - kl_divergence(prior, q)).item()

    wide = Normal(posterior.mean, math.sqrt(2))
    assert elbo(x, wide) < evidence
    assert reversed_kl(wide) > evidence + 10
    assert reversed_kl(wide) > reversed_kl(posterior)  # and the true posterior is not its best q


def test_split_losses_train_badly() -> None:
    # "Decoder loss": E_p[log p(z)] + KL(p || q). No decoder parameter is in it.
    mean = torch.tensor(0.3, requires_grad=True)
    log_variance = torch.tensor(0.0, requires_grad=True)
    decoder_weight = torch.tensor(W, requires_grad=True)
    q = Normal(mean, (0.5 * log_variance).exp())
    prior = Normal(0.0, 1.0)
    decoder_loss = kl_divergence(prior, q) - prior.entropy()
    gradients = torch.autograd.grad(decoder_loss, [decoder_weight, mean], allow_unused=True, retain_graph=True)
    assert gradients[0] is None
    assert gradients[1] is not None
    # "Encoder loss": E[log p(x|z)] alone. More variance is always worse, so the encoder's noise dies out.
    for value in (-4.0, 0.0, 2.0):
        log_variance = torch.tensor(value, requires_grad=True)
        alone = expected_log_likelihood(0.5, Normal(0.05, (0.5 * log_variance).exp()))
        assert torch.autograd.grad(alone, log_variance)[0] < 0
    # With the KL term the derivative vanishes at the posterior's variance.
    _, posterior, _ = linear_gaussian(0.5)
    log_variance = posterior.variance.log().requires_grad_()
    q = Normal(posterior.mean, (0.5 * log_variance).exp())
    bound = expected_log_likelihood(0.5, q) - kl_divergence(q, prior)
    assert torch.autograd.grad(bound, log_variance)[0].abs() < 1e-6


def test_kl_needs_one_space() -> None:
    pictures = MultivariateNormal(torch.zeros(3), torch.eye(3))
    latents = MultivariateNormal(torch.zeros(2), torch.eye(2))
    with pytest.raises(ValueError, match="different event shapes"):
        kl_divergence(pictures, latents)


def test_wrong_sign_drives_away() -> None:
    # min over G of E[log p(G(z))], here with G(z) = shift + z and data N(0, 1).
    shift = torch.tensor(0.1, requires_grad=True)
    noise = torch.randn(500)
    start = Normal(0.0, 1.0).log_prob(shift + noise).mean().item()
    for _ in range(50):
        objective = Normal(0.0, 1.0).log_prob(shift + noise).mean()
        (gradient,) = torch.autograd.grad(objective, shift)
        shift = (shift - 0.2 * gradient).detach().requires_grad_()
    assert shift.abs() > 5
    assert objective.item() < start - 10


def test_undefined_names() -> None:
    encoder, decoder = nn.Linear(784, 32), nn.Linear(32, 784)
    names = {"encoder": encoder, "decoder": decoder}
    with pytest.raises(NameError, match="inputs"):
        eval("decoder(encoder(inputs))", names)
    model = nn.Sequential(encoder, decoder)  # a chain of two layers does not know them by name
    with pytest.raises(AttributeError, match="decoder"):
        _ = model.decoder


# --- The list itself -------------------------------------------------------------------------------------------------


def test_errata_name_every_check() -> None:
    named = set(re.findall(r"`(test_\w+)`", ERRATA.read_text(encoding="utf-8")))
    files = sorted(Path(__file__).parent.glob("test_errata*.py"))
    here = [name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.M)]
    assert len(here) == len(set(here))
    assert named == set(here) - {"test_errata_name_every_check"}
