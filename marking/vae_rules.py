"""How the answers to notebooks/exercises/vae.py are marked, where being near the solution's numbers does not decide.

A rule compares what the student's answers returned with what the solution's did, both from `vae_asks.py`. It runs in a
process that never runs a student's code. Several rules build the right value from the student's own values, so that a
mistake that another check has marked costs nothing twice.
"""

import math
from typing import Any

import torch
from torch import Tensor

from aigc_course.grading.marking import Mistake, all_letters, close, most_letters, numbers, tensor


def draw_value(given: Any, right: Any) -> None:
    close(given["what was given"], right["what was given"], atol=0, rtol=0)
    close(given, right, rtol=1e-3, atol=1e-4)


def draw_noise(given: Any, right: Any) -> None:
    for name in ("by the generator", "by torch's own", "one after the other"):
        for found, wanted in zip(given[name], right[name], strict=True):
            tensor(found, wanted, "z")
    first, again, other = given["by the generator"]
    if not torch.equal(first, again):
        raise Mistake("The generator alone decides: with the same seed it must give the same z again.")
    if torch.equal(first, other):
        raise Mistake("Another seed of the generator must give another z.")
    if torch.equal(*given["by torch's own"]):
        raise Mistake("Without a generator, torch's own decides.")
    if torch.equal(*given["one after the other"]):
        raise Mistake("Every call draws afresh.")
    # A Laplace distribution, no other; independent in every entry. b = 1 throughout: how b comes from log_scale was
    # the other check's business. The bounds are 6 and more standard errors.
    z = tensor(given["z"], right["z"], "z")
    if not z.mean().abs() < 0.08 or not (z.abs().mean() - 1).abs() < 0.06:
        raise Mistake("The draws do not have the mean mu, or not the mean distance b from it.")
    for distance in (0.2, 0.5, 3.0):
        near = (z.abs() < distance).double().mean()
        if not (near - 1 + math.exp(-distance)).abs() < 0.03:
            raise Mistake("Too many or too few draws lie near mu for a Laplace distribution.")
    if not (torch.corrcoef(z.T) - torch.eye(4)).abs().max() < 0.12:
        raise Mistake("The dimensions are not independent.")
    if z.unique().numel() < 0.98 * z.numel():
        raise Mistake("The same draws occur again and again.")
    at_mu, at_scale = given["gradients"]
    if at_mu is None or at_scale is None:
        raise Mistake("z must depend on mu and log_scale in a way that gradients can follow.")
    close(at_mu, right["gradients"][0])
    if not (at_scale != 0).double().mean() > 0.99:
        raise Mistake("The gradient of log_scale is zero.")


def kl_reduction(given: Any, right: Any) -> None:
    together = tensor(given["together"], right["together"], "The divergence")
    if not together.std() > 0.01:
        raise Mistake("Different examples have different divergences.")
    close(sum(given["by dimension"]), together)
    close(torch.cat(given["by example"]), together)


def elbo_reduction(given: Any, right: Any) -> None:
    pixels = torch.stack(given["single pixels"]).double()
    if not pixels.isfinite().all() or not pixels.max() - pixels.min() > 0.1:
        raise Mistake("The log-density must depend on the pixels.")
    bound = tensor(given["the bound"], right["the bound"], "The bound")
    # Built from the function's own answers for single pixels, so a wrong density loses nothing here.
    expected = pixels.sum() / 3 - right["kl"].mean()
    if not torch.isclose(bound, expected, 1e-4, 1e-4):
        raise Mistake("This is not the sum over the pixels, minus the KL term, averaged over the batch.")
    in_rows = tensor(given["the bound of long rows"], right["the bound"], "The bound")
    if not torch.isclose(in_rows, expected, 1e-4, 1e-4):
        raise Mistake("Pictures with a single axis of pixels have another bound.")
    if given["the gradient of kl"][0] is None:
        raise Mistake("No gradient reaches the KL term.")


def aggregate_mean(given: Any, right: Any) -> None:
    for single, together, wanted in zip(given["single pictures"], given["log q"], right["log q"], strict=True):
        # Built from the function's own answers for single pictures, so a wrong density loses nothing here.
        alone = torch.stack(single).double()
        if not alone.std(dim=0).min() > 0.1:
            raise Mistake("All pictures have the same density.")
        if not tensor(together, wanted, "log q").isfinite().all():
            raise Mistake("Far from all pictures the logarithm is infinite, or no number.")
        close(together, alone.logsumexp(dim=0) - math.log(4), rtol=1e-4, atol=1e-3)


def read_posterior(given: Any, right: Any) -> None:
    for posterior, wanted in zip(given["log p(y|x)"], right["log p(y|x)"], strict=True):
        found = tensor(posterior, wanted, "log p(y|x)")
        if not (found[wanted == -math.inf] < -50).all():
            raise Mistake("A class that never occurs has the probability 0.")
        close(found.exp(), wanted.exp(), rtol=1e-3, atol=1e-5)


mistakes_most, mistakes_all = most_letters, all_letters


def bug_reconstruction(given: Any, right: Any) -> None:
    close(given["x"], right["x"], rtol=0, atol=0)
    if given["the graph kept"]:
        raise Mistake("Return the loss without its graph: loss.detach().")
    # The decoder ignores z, so the sampling has no say, and q is the prior, so the KL term is 0.
    close(given["the loss"], right["the loss"], rtol=1e-4, atol=1e-3)
    close(given["the bias after the step"], right["the bias after the step"], atol=1e-4)


def bug_kl(given: Any, right: Any) -> None:
    found, wanted = numbers(given["the loss"]), numbers(right["the loss"])
    close(found[1:] - found[0], wanted[1:] - wanted[0], rtol=1e-4, atol=1e-3)
    name = "the encoder's bias after the step"
    close(given[name], right[name], atol=1e-4)


def bug_sampling(given: Any, right: Any) -> None:
    names = ("the loss", "mirrored", "with other noise")
    loss, mirrored, other = (float(given[name][0]) for name in names)
    if not abs(loss - mirrored) < 1e-4 * (1 + abs(loss)):
        raise Mistake("The codes are not mu + sigma * eps.")
    if not abs(loss - other) > 1e-3:
        raise Mistake("Other noise has the same loss.")
    # Through the draw, the reconstruction has a say in log_var's gradient; the KL term's part knows no noise.
    if torch.allclose(given["the loss"][1], given["with minus the noise"][1], atol=1e-5):
        raise Mistake("No gradient reaches log_var through the draw.")


# Stand-ins for functions of earlier questions, which an answer may call.


def log_aggregate(z: Tensor, mu: Tensor, log_var: Tensor) -> Tensor:
    q = torch.distributions.Independent(torch.distributions.Normal(mu, (log_var / 2).exp()), 1)
    return q.log_prob(z[:, None]).logsumexp(1) - math.log(len(mu))


def kl_to_prior(mu: Tensor, log_var: Tensor, prior_mu: Tensor, prior_log_var: Tensor) -> Tensor:
    pairs = ((mu, log_var), (prior_mu, prior_log_var))
    q, prior = (torch.distributions.Normal(mean, (log / 2).exp()) for mean, log in pairs)
    return torch.distributions.kl_divergence(q, prior).sum(1)


STAND_INS = {
    "information-value": [log_aggregate],
    "bug-reconstruction": [kl_to_prior],
    "bug-kl": [kl_to_prior],
    "bug-sampling": [kl_to_prior],
}
