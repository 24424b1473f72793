"""What is asked of the answers to notebooks/exercises/vae.py when they are marked.

Each function draws inputs, calls the student's functions, and returns what they returned, as data. It runs in the same
process as the student's code, so it holds nothing that must not be read: no solution, and no expected value.
"""

from typing import Any

import torch
from torch import Generator, Tensor

from aigc_course.grading.inside import Answers, gradients


def _normal(draw: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def draw_value(answers: Answers, draw: Generator) -> dict[str, Any]:
    mu, log_scale = _normal(draw, 2, 7, 5)
    u = 0.01 + 0.98 * torch.rand(7, 5, generator=draw, dtype=torch.float64)
    z = answers.laplace_draw(mu, log_scale, u=u)
    middle = answers.laplace_draw(mu, log_scale, u=torch.full_like(mu, 0.5))
    return {"z": z, "z at u = 1/2": middle, "what was given": [mu, log_scale, u]}


def draw_noise(answers: Answers, draw: Generator) -> dict[str, Any]:
    def noise(own: int | None, common: int, batch: int = 20) -> tuple[Tensor, list[Tensor]]:
        mu, log_scale = (torch.zeros(batch, 4, requires_grad=True) for _ in range(2))
        torch.manual_seed(common)
        generator = None if own is None else Generator().manual_seed(own)
        return answers.laplace_draw(mu, log_scale, generator=generator), [mu, log_scale]

    seed = int(torch.randint(2**31, (), generator=draw))
    zero = torch.zeros(20, 4)
    z, inputs = noise(seed, 0, batch=4000)
    return {
        "by the generator": [noise(seed, 0)[0], noise(seed, 1)[0], noise(seed + 1, 0)[0]],
        "by torch's own": [noise(None, seed)[0], noise(None, seed + 1)[0]],
        "one after the other": [answers.laplace_draw(zero, zero), answers.laplace_draw(zero, zero)],
        "z": z,
        "gradients": gradients(z, inputs),
    }


def kl_reduction(answers: Answers, draw: Generator) -> dict[str, Any]:
    mu, log_var = _normal(draw, 2, 6, 5)
    prior = _normal(draw, 2, 5)
    return {
        "together": answers.kl_to_prior(mu, log_var, *prior),
        "by dimension": [answers.kl_to_prior(mu[:, d], log_var[:, d], *prior[:, d]) for d in torch.arange(5)[:, None]],
        "by example": [answers.kl_to_prior(mu[i], log_var[i], *prior) for i in torch.arange(6)[:, None]],
    }


def kl_value(answers: Answers, draw: Generator) -> dict[str, Any]:
    # One number at a time: how several are summed is the other check's business.
    numbers = torch.randn(8, 4, generator=draw) * torch.tensor([1.5, 1.5, 1.5, 1.0])
    numbers[0] = 0  # q is the prior
    numbers[1, 1] = -30  # and nearly a point
    return {
        "the divergence": [
            answers.kl_to_prior(mu.view(1, 1), log_var.view(1, 1), m.view(1), log_s2.view(1)).reshape(())
            for mu, log_var, m, log_s2 in numbers
        ]
    }


def elbo_pixel(answers: Answers, draw: Generator) -> dict[str, Any]:
    values, slopes = [], []
    for s in (0.1, 0.5, 1.0, 3.0):
        for pixel, mean in torch.randn(4, 2, generator=draw):
            decoded = mean.view(1, 1).clone().requires_grad_()
            bound = answers.elbo(pixel.view(1, 1), decoded, s, torch.zeros(1))
            values.append(bound.reshape(()))
            slopes += gradients(bound, [decoded])
    return {"the bound": values, "its gradient": slopes}


def elbo_reduction(answers: Answers, draw: Generator) -> dict[str, Any]:
    x, decoded = _normal(draw, 2, 3, 1, 4, 5)
    kl = (3 * torch.rand(3, generator=draw, dtype=torch.float64)).requires_grad_()
    nothing = torch.zeros(1, dtype=torch.float64)
    pixels = [
        answers.elbo(value.view(1, 1), mean.view(1, 1), 0.7, nothing).reshape(())
        for value, mean in zip(x.flatten(), decoded.flatten(), strict=True)
    ]
    bound = answers.elbo(x, decoded, 0.7, kl)
    return {
        "single pixels": pixels,
        "kl": kl,
        "the bound": bound,
        "the bound of long rows": answers.elbo(x.flatten(1), decoded.flatten(1), 0.7, kl),
        "the gradient of kl": gradients(bound, [kl]),
    }


def aggregate_density(answers: Answers, draw: Generator) -> dict[str, Any]:
    # One picture: how several are averaged is the other check's business.
    found = []
    for latent in (1, 3, 8):
        mu, log_var = _normal(draw, 2, 1, latent)
        found.append(answers.log_aggregate(2 * _normal(draw, 5, latent), mu, log_var))
    return {"log q": found}


def aggregate_mean(answers: Answers, draw: Generator) -> dict[str, Any]:
    single, together = [], []
    for latent, far in ((2, 0.0), (3, 60.0), (5, -200.0)):
        mu, log_var = _normal(draw, 2, 4, latent)
        z = 2 * _normal(draw, 6, latent) + far
        single.append([answers.log_aggregate(z, mu[i : i + 1], log_var[i : i + 1]) for i in range(4)])
        together.append(answers.log_aggregate(z, mu, log_var))
    return {"single pictures": single, "log q": together}


def information_value(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = []
    for n, k, latent, spread in ((1, 5, 3, 1), (4, 6, 2, 1), (7, 3, 4, 0.4), (3, 9, 1, 5)):
        mu, log_var = _normal(draw, 2, n, latent)
        found.append(answers.information(spread * mu, log_var, _normal(draw, k, n, latent)))
    noise, zero = _normal(draw, 5, 4, 2), torch.zeros(4, 2, dtype=torch.float64)
    apart = 100 * torch.arange(4, dtype=torch.float64)[:, None].expand(4, 2)
    return {
        "the information": found,
        "of codes that never meet": answers.information(apart, zero, noise),
        "of equal distributions": answers.information(zero + 1, zero, noise),
    }


def _weights(draw: Generator) -> list[tuple[Tensor, Tensor]]:
    cases = []
    for k, classes in ((1, 2), (5, 3), (4, 10)):
        log_w = 2 * _normal(draw, k, 4, classes)
        prior = torch.rand(classes, generator=draw, dtype=torch.float64) + 0.1
        if classes > 2:
            prior[0] = 0.0
        # levels at which no density can be computed
        level = torch.tensor([0.0, -150.0, -1000.0, 120.0], dtype=torch.float64)
        cases.append((log_w + level[:, None], (prior / prior.sum()).log()))
    return cases


def read_evidence(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"log p(x)": [answers.read_class(*case)[0] for case in _weights(draw)]}


def read_posterior(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"log p(y|x)": [answers.read_class(*case)[1] for case in _weights(draw)]}


def mistakes_most(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"the letters": answers.mistakes()}


def mistakes_all(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"the letters": list(answers.mistakes())}  # how they are put together was the other check's business


def _batch(draw: Generator) -> tuple[Tensor, Tensor]:
    return torch.rand(5, 16, generator=draw), torch.randn(5, 2, generator=draw)


def bug_reconstruction(answers: Answers, draw: Generator) -> dict[str, Any]:
    x, noise = _batch(draw)
    bias = 2 * torch.randn(16, generator=draw)
    before, losses, biases = x.clone(), [], []
    for other in (torch.zeros(16), bias, 10 * bias, -bias):
        model, optimiser = answers.fixed_model(decoder_bias=other)
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 7.0)  # left over from some earlier step
        losses.append(answers.training_step(model, optimiser, x, eps=noise.clone()))
        biases.append(model.decoder.bias)
    kept = losses[0].requires_grad if isinstance(losses[0], Tensor) else False
    return {"the loss": losses, "the bias after the step": biases, "the graph kept": kept, "x": [before, x]}


def bug_kl(answers: Answers, draw: Generator) -> dict[str, Any]:
    x, noise = _batch(draw)
    weight = 0.3 * torch.randn(4, 16, generator=draw)
    losses, biases = [answers.training_step(*answers.fixed_model(), x, eps=noise.clone())], []
    for mu, log_var in [*torch.randn(3, 2, 2, generator=draw), torch.tensor([[0.0, 3.0], [-4.0, 0.0]])]:
        model, optimiser = answers.fixed_model(mu, log_var)
        with torch.no_grad():
            model.encoder.weight.copy_(weight)  # a code of its own for every picture
        losses.append(answers.training_step(model, optimiser, x, eps=noise.clone()))
        biases.append(model.encoder.bias)
    return {"the loss": losses, "the encoder's bias after the step": biases}


def bug_sampling(answers: Answers, draw: Generator) -> dict[str, Any]:
    x, noise = _batch(draw)
    weight = torch.randn(16, 2, generator=draw)
    mu, log_var = torch.randn(2, 2, generator=draw)
    sigma = (0.5 * log_var).exp()

    def step(mu: Tensor, eps: Tensor) -> list:
        model, optimiser = answers.fixed_model(mu, log_var, decoder_weight=weight)
        loss = answers.training_step(model, optimiser, x, eps=eps.clone())
        return [loss, model.encoder.bias[2:]]

    # mu and -mu have the same KL term. With the noise shifted to match they have the same codes, so the same loss: this
    # holds for any reconstruction term, and for no sampling but mu + sigma * eps.
    return {
        "the loss": step(mu, noise),
        "mirrored": step(-mu, noise + 2 * mu / sigma),
        "with other noise": step(mu, noise - 1),
        "with minus the noise": step(mu, -noise),
    }
