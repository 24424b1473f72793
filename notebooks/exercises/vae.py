# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Assignment: the variational autoencoder
#
# A variational autoencoder is four short formulas and one training step. Here you write the formulas yourself, repair a
# training step that runs, looks right and learns the wrong thing, and explain in words what the method is for. Read the
# chapter [The variational autoencoder](../vae/variational_autoencoder.ipynb) first; plan two to three hours.
#
# | Question | After it you can | Points |
# | --- | --- | --- |
# | 1. Reparameterisation | draw from a distribution so that gradients pass through the draw | 4 |
# | 2. The KL divergence | derive and compute the price of a code in nats | 4 |
# | 3. The ELBO | compute the bound with every sign, sum and mean in its place | 4 |
# | 4. The importance-weighted bound | average probabilities that are too small to be represented | 6 |
# | 5. Find the bug | tell a falling loss from a model that learns | 6 |
# | 6. In your own words | explain what each term of the ELBO does | 6 |
#
# **How to work.** Write your code where `# YOUR CODE HERE` stands and delete the line `raise NotImplementedError()`
# below it. You may add cells of your own, for further imports as well. Do not copy, split or delete the cells that are
# here: the grading program knows them by hidden labels, and restores all of them but your answers. Avoid
# `from … import *`: it can put other functions in the place of Python's own `sum`, `max` or `abs`, which the checks use.
#
# **How it is graded.** The cells that begin with `# Check` call your function. If such a cell runs without an error,
# you have passed the checks you can see; when your work is graded, each of these cells also runs further checks of
# what the docstring promises. Values count, not whether they are in single or double precision. Every check has its
# own points, and every question is graded on its own: a mistake in one question costs nothing in the next. Question 6
# is read by a person.
#
# **How to hand in.** Restart the kernel and run all cells once more. Download the notebook (on Colab:
# *File → Download → Download .ipynb*), name it `vae.ipynb` (without "Copy of"), and send it the way your teacher asks.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Colab has all that this assignment needs; nothing is to be installed. Put further
# imports into a cell of your own: this one is restored when your work is graded.
import math
import os
import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# a warning is no mistake, but the grading program would count it as one
if "NBGRADER_EXECUTION" in os.environ:
    warnings.simplefilter("ignore")

# %% [markdown]
# ## Notation
#
# | Name | Shape | Meaning |
# | --- | --- | --- |
# | `x` | (batch, …) | the pictures; every pixel lies between 0 and 1 |
# | `mu`, `log_var` | (batch, latent) | the encoder's answer: mean $\mu$ and log-variance $\log\sigma^2$ of $q(z \mid x)$ |
# | `eps` | (batch, latent) | noise $\varepsilon$ from the standard normal distribution $N(0, I)$ |
# | `z` | (batch, latent) | the code, a draw from $q(z \mid x) = N(\mu, \operatorname{diag}\sigma^2)$ |
# | `logits` | like `x` | the decoder's answer: $p(\text{pixel} = 1 \mid z)$ is the sigmoid of the logit |
#
# The prior is $p(z) = N(0, I)$, except in question 2. All logarithms are natural, so all information is measured in **nats**. The encoder
# gives the *logarithm* of the *variance*: any real number is then a valid answer. Keep $\log\sigma^2$, $\sigma^2$ and
# $\sigma$ apart; mixing them up is the most common mistake with this model.

# %% [markdown]
# ## 1. Reparameterisation (4 points)
#
# To train the encoder we need the gradient of a loss at a random $z$ with respect to $\mu$ and $\log\sigma^2$. Drawing
# $z$ directly from $N(\mu, \operatorname{diag}\sigma^2)$ gives a number that has forgotten where it came from. The
# trick of [Kingma and Welling (2013)](https://arxiv.org/abs/1312.6114) is to draw the noise first, without any
# parameters, and then to compute
#
# $$z = \mu + \sigma \odot \varepsilon, \qquad \varepsilon \sim N(0, I),$$
#
# where $\odot$ multiplies entry by entry. Now $z$ is an ordinary differentiable function of $\mu$ and $\log\sigma^2$.
#
# Whoever calls your function may give the noise `eps`. Otherwise draw it yourself: `torch.randn` takes a shape and a
# `generator` (which may be `None`), and a generator with the same seed must give the same `z` again.


# %% nbgrader={"grade": false, "grade_id": "reparameterise", "locked": false, "schema_version": 3, "solution": true, "task": false}
def reparameterise(mu, log_var, eps=None, generator=None):
    """Return z = mu + sigma * eps, a draw from N(mu, diag(sigma^2)) through which
    gradients flow.

    mu, log_var: (batch, latent); log_var is log(sigma^2), the logarithm of the
    variance.
    eps: (batch, latent) or None; None means: draw independent N(0, 1) numbers here,
    using `generator`. Returns z: (batch, latent). The given tensors stay as they
    are.
    """
    ### BEGIN SOLUTION
    if eps is None:
        eps = torch.randn(
            mu.shape, generator=generator, dtype=mu.dtype, device=mu.device
        )
    return mu + torch.exp(0.5 * log_var) * eps
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "reparameterise-value", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 1a (2 points): the value of z when eps is given.
### BEGIN HIDDEN TESTS
def _run(check):
    """Run a check with Python's own functions and the usual modules, whatever
    `import *` has put in their place.
    """
    import builtins
    import math
    import types

    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F

    usual = {"math": math, "torch": torch, "Tensor": Tensor, "nn": nn, "F": F}
    types.FunctionType(check.__code__, {**globals(), **vars(builtins), **usual})()


### END HIDDEN TESTS
mu, log_var, eps = (
    torch.tensor([[1.0, -2.0]]),
    torch.zeros(1, 2),
    torch.tensor([[0.5, 3.0]]),
)
z = reparameterise(mu, log_var, eps=eps)
assert type(z) is Tensor, f"z must be a tensor, not {type(z)}"
assert z.shape == (1, 2), (
    f"z must have the shape of mu, (1, 2), not {tuple(z.shape)}"
)
# log_var = 0 means sigma = 1
torch.testing.assert_close(z, torch.tensor([[1.5, 1.0]]), check_dtype=False)


### BEGIN HIDDEN TESTS
def _check():
    mu, log_var, eps = torch.randn(
        3, 7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    log_var = 4 * log_var
    given = [mu, log_var, eps]
    copies = [each.clone() for each in given]
    z = reparameterise(*given[:2], eps=eps)
    for each, copy in zip(given, copies, strict=True):
        assert torch.equal(each, copy), "the given tensors were changed"
    loose = {"rtol": 1e-4, "atol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(z, mu + log_var.exp().sqrt() * eps, **loose)
    # Whitened by the true distribution, the draw is the noise again.
    q = torch.distributions.Normal(mu, log_var.exp().sqrt())
    noise = torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(q.cdf(z), noise.cdf(eps), **loose)
    z = reparameterise(mu, log_var, eps=torch.zeros_like(mu))
    torch.testing.assert_close(z, mu, **loose)


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "reparameterise-draw", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 1b (2 points): noise of your own, and gradients through the draw.
mu, log_var = torch.zeros(1000, 2, requires_grad=True), torch.zeros(1000, 2)
z = reparameterise(mu, log_var, generator=torch.Generator().manual_seed(0))
assert z.shape == (1000, 2), (
    f"z must have the shape of mu, (1000, 2), not {tuple(z.shape)}"
)
assert abs(z.mean().item()) < 0.1, (
    f"the mean of 2,000 draws from N(0, 1) should be near 0, not {z.mean():.3f}"
)
assert abs(z.std().item() - 1) < 0.1, (
    f"their standard deviation should be near 1, not {z.std():.3f}"
)
assert z.requires_grad, "z must depend on mu in a way that gradients can follow"


### BEGIN HIDDEN TESTS
def _check():
    # sigma = 1 throughout: how sigma comes from log_var was the other check's
    # business.
    def draw(generator_seed, global_seed, batch=20):
        mu, log_var = (torch.zeros(batch, 4, requires_grad=True) for _ in range(2))
        torch.manual_seed(global_seed)
        generator = (
            None
            if generator_seed is None
            else torch.Generator().manual_seed(generator_seed)
        )
        return reparameterise(mu, log_var, generator=generator), mu, log_var

    def same(first, second):
        return torch.equal(draw(*first)[0], draw(*second)[0])

    assert same((3, 0), (3, 1)), "the generator alone decides"
    assert not same((3, 0), (4, 0)), "another seed must give another z"
    assert not same((None, 0), (None, 1)), (
        "without a generator, torch's own decides"
    )
    zero = torch.zeros(20, 4)
    assert not torch.equal(
        reparameterise(zero, zero), reparameterise(zero, zero)
    ), "every call draws afresh"
    # Standard normal, not uniform; independent in every entry.
    z, mu, log_var = draw(3, 0, batch=1000)
    assert abs(z.mean().item()) < 0.06, "the mean of the draws is not 0"
    assert abs(z.std().item() - 1) < 0.05, "their standard deviation is not 1"
    far = (z.abs() > 2).double().mean().item()
    assert abs(far - 0.0455) < 0.015, "the draws are not normally distributed"
    correlation = torch.corrcoef(z.detach().T) - torch.eye(4)
    assert correlation.abs().max() < 0.13, "the dimensions are not independent"
    assert z.unique().numel() > 3_900, "the same draws occur again and again"
    z.sum().backward()
    torch.testing.assert_close(mu.grad, torch.ones_like(mu), check_dtype=False)
    assert log_var.grad is not None, "no gradient reaches log_var"
    assert (log_var.grad != 0).double().mean() > 0.99, (
        "the gradient of log_var is zero"
    )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 2. The KL divergence (4 points)
#
# The ELBO charges the encoder for every code: the further $q(z \mid x)$ is from the prior $p(z)$, the higher the price.
# The price is the Kullback–Leibler divergence
#
# $$\operatorname{KL}\bigl(q(z \mid x) \,\|\, p(z)\bigr) = \mathbb{E}_{q}\bigl[\log q(z \mid x) - \log p(z)\bigr].$$
#
# For normal distributions no sampling is needed. The chapter derives the closed form for the prior $N(0, I)$. A prior
# can be another one, though: a model may learn it, or have one for each class. So let the prior here be any normal
# distribution with independent dimensions, $p(z) = N(m, \operatorname{diag} s^2)$. Derive the closed form on paper
# first. Start with a single latent dimension, where
#
# $$\log q(z) = -\tfrac12\Bigl(\log 2\pi + \log\sigma^2 + \frac{(z-\mu)^2}{\sigma^2}\Bigr), \qquad
# \log p(z) = -\tfrac12\Bigl(\log 2\pi + \log s^2 + \frac{(z-m)^2}{s^2}\Bigr),$$
#
# and use $\mathbb{E}_q[(z-\mu)^2] = \sigma^2$ and $\mathbb{E}_q[(z-m)^2] = (\mu-m)^2 + \sigma^2$. The latent
# dimensions are independent, so their divergences add up. For $m = 0$ and $s = 1$ you must get the chapter's formula.


# %% nbgrader={"grade": false, "grade_id": "kl", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    """Return KL(N(mu, diag(sigma^2)) || N(m, diag(s^2))) of every example, in nats,
    in closed form.

    mu, log_var: (batch, latent); log_var is log(sigma^2). prior_mu, prior_log_var:
    (latent,), the prior's m and log(s^2), the same for all examples. Returns
    (batch,): the sum over the latent dimensions; nothing is summed or averaged over
    the batch.
    """
    ### BEGIN SOLUTION
    squared_distance = (mu - prior_mu) ** 2
    ratio = (log_var.exp() + squared_distance) / prior_log_var.exp()
    return 0.5 * (ratio + prior_log_var - log_var - 1).sum(dim=1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "kl-reduction", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 2a (2 points): one number for each example, summed over the latent
# dimensions.
kl = kl_to_prior(
    torch.ones(3, 2), torch.zeros(3, 2), torch.zeros(2), torch.zeros(2)
)
assert type(kl) is Tensor, f"the divergence must be a tensor, not {type(kl)}"
assert kl.shape == (3,), (
    f"three examples have three divergences: shape (3,), not {tuple(kl.shape)}"
)
one_dimension = kl_to_prior(
    torch.ones(3, 1), torch.zeros(3, 1), torch.zeros(1), torch.zeros(1)
)
# two equal dimensions cost twice as much as one
torch.testing.assert_close(kl, 2 * one_dimension)


### BEGIN HIDDEN TESTS
def _check():
    # Only reductions are checked, against the function itself, so a wrong formula
    # loses nothing here.
    draw = torch.Generator().manual_seed(2)
    mu, log_var = torch.randn(2, 6, 5, generator=draw, dtype=torch.float64)
    prior = torch.randn(2, 5, generator=draw, dtype=torch.float64)
    together = kl_to_prior(mu, log_var, *prior)
    assert together.shape == (6,), f"six examples, shape {tuple(together.shape)}"
    assert together.std() > 0.01, "different examples have different divergences"
    loose = {"rtol": 1e-4, "atol": 1e-5}
    by_dimension = sum(
        kl_to_prior(mu[:, d], log_var[:, d], *prior[:, d])
        for d in torch.arange(5)[:, None]
    )
    torch.testing.assert_close(together, by_dimension, **loose)
    by_example = torch.cat(
        [kl_to_prior(mu[i], log_var[i], *prior) for i in torch.arange(6)[:, None]]
    )
    torch.testing.assert_close(together, by_example, **loose)


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "kl-value", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 2b (2 points): the value for a single example with a single latent
# dimension.
zero, three = torch.zeros(1, 1), torch.full((1, 1), 3.0)
assert abs(float(kl_to_prior(zero, zero, zero[0], zero[0]))) < 1e-6, (
    "the prior itself costs nothing"
)
assert abs(float(kl_to_prior(three, zero, zero[0], zero[0])) - 4.5) < 1e-5, (
    "a mean of 3 with sigma = s = 1 and m = 0 costs 4.5 nats"
)
assert abs(float(kl_to_prior(three, zero, three[0], zero[0]))) < 1e-6, (
    "where q is the prior, here with m = 3, the divergence is 0"
)


### BEGIN HIDDEN TESTS
def _check():
    from torch.distributions import Normal, kl_divergence

    # One number at a time: how several are summed was the other check's business.
    for mu, log_var, prior_mu, prior_log_var in [
        (0.0, 1.0, 0.0, 0.0),
        (0.0, -3.0, 0.0, 1.2),
        (1.5, 0.7, -0.5, -1.0),
        (-2.0, -0.4, 1.0, 2.0),
        (0.3, 4.0, 0.3, 4.0),
        (1.0, -30.0, 2.0, -0.3),
    ]:
        q = Normal(torch.tensor(mu), torch.tensor(0.5 * log_var).exp())
        p = Normal(torch.tensor(prior_mu), torch.tensor(0.5 * prior_log_var).exp())
        expected = kl_divergence(q, p).item()
        kl = kl_to_prior(
            torch.full((1, 1), mu),
            torch.full((1, 1), log_var),
            torch.tensor([prior_mu]),
            torch.tensor([prior_log_var]),
        )
        assert abs(float(kl) - expected) < 1e-4 * (1 + expected), (
            f"mu {mu}, log sigma^2 {log_var}, m {prior_mu}, "
            f"log s^2 {prior_log_var}: "
            f"the divergence is {expected:.4f}, not {float(kl):.4f}"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 3. The ELBO (4 points)
#
# The evidence lower bound of one picture $x$, estimated with one code $z$, is what the decoder explains minus what the
# code costs:
#
# $$\operatorname{ELBO}(x) = \sum_{p} \log p(x_p \mid z) - \operatorname{KL}\bigl(q(z \mid x) \,\|\, p(z)\bigr)
# \;\le\; \log p(x) \quad\text{on average over } z.$$
#
# The sum runs over all pixels $p$. The decoder is Bernoulli: with $\pi_p$ the sigmoid of the pixel's logit,
#
# $$\log p(x_p \mid z) = x_p \log \pi_p + (1 - x_p) \log (1 - \pi_p).$$
#
# Compute it from the logits, not from $\pi_p$: a logit of 200 makes $\pi_p$ exactly 1 in the computer's arithmetic,
# and $\log(1 - \pi_p)$ would be minus infinity. Functions of PyTorch that take logits avoid this; mind their sign, the
# order of their arguments, and that many of them average over everything unless told otherwise.
#
# For the batch, return the **mean of the examples' ELBOs**. It is to be maximised; the training loss is its negative.


# %% nbgrader={"grade": false, "grade_id": "elbo", "locked": false, "schema_version": 3, "solution": true, "task": false}
def elbo(x, logits, kl):
    """Return the ELBO in nats, averaged over the batch; larger is better.

    x: (batch, ...), pixels in [0, 1]. logits: the shape of x, the decoder's answer
    before the sigmoid.
    kl: (batch,), the divergence KL(q(z|x) || p(z)) of every example, in nats.
    Returns a scalar: the log-likelihood summed over all axes but the first, minus
    kl, then the mean over the batch. Its negative is what the networks are trained
    on, so its gradient reaches logits and kl.
    """
    ### BEGIN SOLUTION
    log_likelihood = (
        -F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        .flatten(start_dim=1)
        .sum(dim=1)
    )
    return (log_likelihood - kl).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "elbo-pixel", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 3a (2 points): the log-likelihood of a single pixel, with kl = 0.
bound = elbo(x=torch.ones(1, 1), logits=torch.zeros(1, 1), kl=torch.zeros(1))
assert type(bound) is Tensor, f"the bound must be a tensor, not {type(bound)}"
assert abs(float(bound) + math.log(2)) < 1e-6, (
    "a decoder that does not know (logit 0) scores minus log 2 a pixel"
)


### BEGIN HIDDEN TESTS
def _check():
    # One pixel of one picture: how pixels and pictures are summed is the other
    # check's business.
    for pixel in (0.0, 1.0, 0.3):
        # At a logit of exactly 0 some right formulas have a kink: not tested.
        for logit in (-200.0, -3.0, -0.1, 0.7, 200.0):
            x = torch.full((1, 1), pixel)
            logits = torch.full((1, 1), logit, requires_grad=True)
            bound = elbo(x, logits, torch.zeros(1))
            # grey is allowed
            bernoulli = torch.distributions.Bernoulli(
                logits=logits.detach(), validate_args=False
            )
            expected = float(bernoulli.log_prob(x))
            what = f"pixel {pixel}, logit {logit}: "
            assert abs(bound.item() - expected) < 1e-5 * (1 + abs(expected)), (
                f"{what}the bound is {expected:.4f}, not {bound.item():.4f}"
            )
            bound.sum().backward()
            slope = pixel - torch.sigmoid(logits).item()
            assert abs(logits.grad.item() - slope) < 1e-5, (
                f"{what}the gradient is {slope:.4f}, not {logits.grad.item():.4f}"
            )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "elbo-reduction", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 3b (2 points): the sum over the pixels, the KL term, and the mean over the
# batch.
x, logits = torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
bound = elbo(x, logits, kl=torch.zeros(2))
assert bound.shape == (), (
    f"the bound must be a single number: shape (), not {tuple(bound.shape)}"
)
one_pixel = elbo(x[:1, 0, 0, :1], logits[:1, 0, 0, :1], kl=torch.zeros(1))
# 16 equal pixels, two equal pictures
torch.testing.assert_close(bound, 16 * one_pixel.reshape(()), check_dtype=False)


### BEGIN HIDDEN TESTS
def _check():
    # Built from the function's own answers for single pixels, so a wrong
    # log-likelihood loses nothing here.
    generator = torch.Generator().manual_seed(3)
    x = (
        torch.rand(3, 1, 4, 5, generator=generator, dtype=torch.float64) < 0.4
    ).double()
    logits = torch.randn(3, 1, 4, 5, generator=generator, dtype=torch.float64)
    kl = torch.tensor([0.5, 2.0, 7.0], dtype=torch.float64)
    nothing = torch.zeros(1, dtype=torch.float64)

    def pixel(value, logit):
        return float(elbo(value.reshape(1, 1), logit.reshape(1, 1), nothing))

    pixels = [
        pixel(value, logit)
        for value, logit in zip(x.flatten(), logits.flatten(), strict=True)
    ]
    assert max(pixels) - min(pixels) > 0.1, (
        "the log-likelihood must depend on the pixels"
    )
    bound = elbo(x, logits, kl)
    assert bound.shape == (), f"one number, not shape {tuple(bound.shape)}"
    assert abs(float(bound) - (sum(pixels) / 3 - 9.5 / 3)) < 1e-4, (
        "not the sum over pixels, minus the KL term, averaged over the batch"
    )
    # The same in one long row: pictures need not be square.
    in_a_row = elbo(x.flatten(1), logits.flatten(1), kl)
    assert abs(float(in_a_row) - float(bound)) < 1e-4, (
        "pictures with a single axis of pixels have another bound"
    )
    # What the networks are trained on: a gradient for the KL term as well.
    kl.requires_grad_()
    elbo(x, logits, kl).backward()
    assert kl.grad is not None, "no gradient reaches the KL term"


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. The importance-weighted bound (6 points)
#
# The ELBO lies below $\log p(x)$; how far below, it does not say.
# [Burda et al. (2016)](https://arxiv.org/abs/1509.00519) draw $k$ codes $z_1, \dots, z_k$ from $q(z \mid x)$ and
# average *probabilities* instead of their logarithms:
#
# $$\mathcal{L}_k(x) = \log \frac1k \sum_{j=1}^{k} w_j, \qquad
# w_j = \frac{p(x \mid z_j)\, p(z_j)}{q(z_j \mid x)}.$$
#
# For $k = 1$ its expectation is the ELBO; with more draws the expectation can only rise towards $\log p(x)$.
#
# The weights of a picture are as small as $e^{-100}$ or $e^{-1000}$, which single precision rounds to zero. So work
# with $\log w_j$ throughout, and find the function of PyTorch that computes the logarithm of a sum of exponentials
# without leaving the logarithmic scale. You need the densities $\log p(z)$ and $\log q(z \mid x)$ as well: question 2
# shows both for one latent dimension, and independent dimensions add up.


# %% nbgrader={"grade": false, "grade_id": "bound", "locked": false, "schema_version": 3, "solution": true, "task": false}
def importance_weighted_bound(log_px, z, mu, log_var):
    """Return the importance-weighted bound log(1/k * sum_j w_j) of every example,
    in nats.

    log_px: (k, batch), log p(x|z_j) for every one of k draws, already summed over
    the pixels.
    z: (k, batch, latent), the draws from q(z|x). mu, log_var: (batch, latent), the
    parameters of q(z|x). Returns (batch,): the mean of the weights w_j = p(x|z_j)
    p(z_j) / q(z_j|x) over the k draws, then its logarithm.
    """
    ### BEGIN SOLUTION
    log_prior = -0.5 * (math.log(2 * math.pi) + z**2).sum(dim=-1)
    log_q = -0.5 * (
        math.log(2 * math.pi) + log_var + (z - mu) ** 2 / log_var.exp()
    ).sum(dim=-1)
    log_w = log_px + log_prior - log_q
    return torch.logsumexp(log_w, dim=0) - math.log(len(log_w))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "bound-weights", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Check 4a (3 points): the weight. With a single draw (k = 1) the bound is log w
# itself.
z, zero = torch.tensor([[[0.7]]]), torch.zeros(1, 1)
bound = importance_weighted_bound(torch.tensor([[-5.0]]), z, mu=zero, log_var=zero)
assert type(bound) is Tensor, f"the bound must be a tensor, not {type(bound)}"
assert abs(float(bound) + 5.0) < 1e-5, (
    "where q(z|x) is the prior, w is p(x|z) alone"
)


### BEGIN HIDDEN TESTS
def _check():
    from torch.distributions import Independent, Normal

    # One draw for one picture: how draws are averaged is the other check's
    # business.
    generator = torch.Generator().manual_seed(4)
    for latent in (1, 3, 8):
        z, mu, log_var = torch.randn(
            3, 1, latent, generator=generator, dtype=torch.float64
        )
        z = (z + mu)[None]
        log_px = torch.full((1, 1), -3.0, dtype=torch.float64)
        prior = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
        q = Independent(Normal(mu, log_var.exp().sqrt()), 1)
        expected = float(log_px + prior.log_prob(z) - q.log_prob(z))
        found = float(importance_weighted_bound(log_px, z, mu, log_var))
        assert abs(found - expected) < 1e-4 * (1 + abs(expected)), (
            f"{latent} latent dimensions: log w is {expected:.4f}, not {found:.4f}"
        )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "bound-average", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Check 4b (3 points): the average over the draws. Here q(z|x) is the prior, so
# every weight is p(x|z).
z, zero = torch.zeros(2, 3, 1), torch.zeros(3, 1)
bound = importance_weighted_bound(
    torch.tensor([0.2, 0.4]).log()[:, None].expand(2, 3), z, mu=zero, log_var=zero
)
assert bound.shape == (3,), (
    f"three examples have three bounds: shape (3,), not {tuple(bound.shape)}"
)
# the mean of 0.2 and 0.4 is 0.3
torch.testing.assert_close(
    bound, torch.full((3,), math.log(0.3)), check_dtype=False
)


### BEGIN HIDDEN TESTS
def _check():
    # Where q is the prior, any mistake in the two densities that treats them alike
    # cancels.
    zero = torch.zeros(4, 2)
    z = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(5))
    log_px = (
        torch.tensor([-1.0, -150.0, -1000.0, 90.0]) + torch.arange(6.0)[:, None]
    )
    bound = importance_weighted_bound(log_px, z, zero, zero)
    # The differences between the draws are the same for all pictures; only the
    # level differs.
    level = math.log(sum(math.exp(j) for j in range(6)) / 6)
    torch.testing.assert_close(
        bound,
        torch.tensor([-1.0, -150.0, -1000.0, 90.0]) + level,
        rtol=1e-4,
        atol=1e-4,
        check_dtype=False,
    )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 5. Find the bug (6 points)
#
# Below are a very small VAE and a training step. The step runs, its loss falls, and it has **five mistakes** of a kind
# that people really make. The model is trained on pictures of 4×4 pixels whose left, right, upper or lower half is lit,
# and is then asked to reconstruct them. Which probability should a good model give to the lit pixels, and which to the
# dark ones? Decide before you run the cells.


# %% nbgrader={"grade": false, "grade_id": "bug-model", "locked": true, "schema_version": 3, "solution": false, "task": false}
class TinyVAE(nn.Module):
    """A VAE for 16 pixels, 2 latent dimensions, with one linear layer each way."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(16, 4), nn.Linear(2, 16)

    def encode(self, x):
        """Return mu and log_var, each (batch, 2), for pictures x: (batch, 16)."""
        return self.encoder(x).chunk(2, dim=1)

    def decode(self, z):
        """Return the logits of the pixels, (batch, 16), for codes z: (batch, 2)."""
        return self.decoder(z)


# %% nbgrader={"grade": false, "grade_id": "bug-optimiser", "locked": true, "schema_version": 3, "solution": false, "task": false}
class GradientDescent:
    """What torch.optim.SGD does; torch.optim takes seconds to load."""

    def __init__(self, parameters, learning_rate):
        self.parameters, self.learning_rate = list(parameters), learning_rate

    def zero_grad(self):
        for parameter in self.parameters:
            parameter.grad = None

    def step(self):
        with torch.no_grad():
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter -= self.learning_rate * parameter.grad


# %% nbgrader={"grade": false, "grade_id": "bug-faulty", "locked": true, "schema_version": 3, "solution": false, "task": false}
def faulty_step(model, optimiser, x, eps):
    """Make one training step with five mistakes; return the loss."""
    mu, _ = model.encode(x)
    reconstruction = torch.sigmoid(model.decode(mu))
    loss = F.binary_cross_entropy_with_logits(x, reconstruction)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()


# %% nbgrader={"grade": false, "grade_id": "bug-demonstration", "locked": true, "schema_version": 3, "solution": false, "task": false}
def demonstrate(step, learning_rate):
    """Train a TinyVAE with `step`; print its loss and what it reconstructs."""
    left = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(4, 4)
    x = torch.stack([left, 1 - left, left.T, 1 - left.T]).flatten(1).repeat(16, 1)
    torch.manual_seed(0)
    model = TinyVAE()
    optimiser = GradientDescent(model.parameters(), learning_rate)
    losses = [step(model, optimiser, x, eps=torch.randn(64, 2)) for _ in range(300)]
    pixels = torch.sigmoid(model.decode(model.encode(x)[0]))
    print(f"loss: {losses[0]:.2f} at first, {losses[-1]:.2f} after 300 steps")
    lit, dark = pixels[x == 1].mean(), pixels[x == 0].mean()
    print(f"mean probability of lit pixels {lit:.2f}, of dark pixels {dark:.2f}")


demonstrate(faulty_step, learning_rate=0.5)


# %% [markdown]
# The loss has fallen, and the model has learnt to light every pixel.
#
# First **name the mistakes**. Of these ten statements about `faulty_step`, exactly five are true, and each of the five
# is a mistake:
#
# - **A** The decoder is given too few numbers: it needs $\mu$ and $\log\sigma^2$.
# - **B** The codes are not drawn: the encoder's mean is decoded, and `eps` is never used.
# - **C** What is reconstructed has been through a sigmoid, but the function that computes the cross-entropy takes logits.
# - **D** The gradients are cleared before they have been used.
# - **E** The cross-entropy has the wrong sign, so that a better reconstruction has a larger loss.
# - **F** The cross-entropy is averaged over the pixels, not summed.
# - **G** The optimiser changes the decoder alone.
# - **H** The reconstruction and the picture have changed places in the cross-entropy.
# - **I** The loss that is returned still has its graph, which fills the memory.
# - **J** The codes cost nothing: there is no KL term.


# %% nbgrader={"grade": false, "grade_id": "mistakes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mistakes():
    """Return the letters of the five true statements, in one string such as
    "VWXYZ"; their order does not matter.
    """
    ### BEGIN SOLUTION
    return "BCFHJ"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mistakes-most", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5a (1 point): five letters, of which at least four are right.
named = mistakes()
assert type(named) is str, f"the letters must be in a string, not {named!r}"
assert len(set(named)) == len(named) == 5, f"five different letters, not {named!r}"
assert set(named) <= set("ABCDEFGHIJ"), f"letters from A to J, not {named!r}"
### BEGIN HIDDEN TESTS
assert len(set(named) & set("BCFHJ")) >= 4, "fewer than four letters are right"
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "mistakes-all", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 5b (2 points): all five are right.
named = mistakes()
assert len(named) == 5, f"five letters, not {named!r}"
### BEGIN HIDDEN TESTS
assert set(named) == set("BCFHJ"), "not all five letters are right"
### END HIDDEN TESTS

# %% [markdown]
# Now write a step without the five mistakes. Its loss is the negative ELBO of question 3: in nats, summed over the pixels,
# averaged over the batch, with the KL term of question 2 for the prior $N(0, I)$, and with codes drawn as in question 1
# from the noise `eps` that the caller gives. You may call your functions from those questions. A check is passed if it
# is passed with them or with correct versions in their place, so that no mistake costs you points twice.


# %% nbgrader={"grade": false, "grade_id": "bug", "locked": false, "schema_version": 3, "solution": true, "task": false}
def training_step(model, optimiser, x, eps):
    """Make one training step on the negative ELBO; return the loss before the step.

    x: (batch, 16), pixels in [0, 1]; stays as it is. eps: (batch, 2), the noise
    with which the codes are drawn. The weights may come with `.grad` left over from
    earlier steps. Returns the loss in nats, a scalar detached from its graph: the
    mean over the batch of -ELBO(x).
    """
    ### BEGIN SOLUTION
    mu, log_var = model.encode(x)
    z = reparameterise(mu, log_var, eps=eps)
    zero = torch.zeros(mu.shape[1])
    loss = -elbo(x, model.decode(z), kl_to_prior(mu, log_var, zero, zero))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()
    ### END SOLUTION


# %% [markdown]
# For the checks we build models by hand. `fixed_model` makes a `TinyVAE` whose encoder gives every picture the same
# `mu` and `log_var`, and whose decoder ignores `z` unless told otherwise.


# %% nbgrader={"grade": false, "grade_id": "bug-fixed-model", "locked": true, "schema_version": 3, "solution": false, "task": false}
def fixed_model(mu=0.0, log_var=0.0, decoder_weight=0.0, decoder_bias=0.0):
    """Return a TinyVAE with these constants, and the optimiser that fits it."""
    model = TinyVAE()
    with torch.no_grad():
        model.encoder.weight.zero_()
        model.encoder.bias[:2], model.encoder.bias[2:] = (
            torch.as_tensor(mu),
            torch.as_tensor(log_var),
        )
        model.decoder.weight.copy_(torch.as_tensor(decoder_weight))
        model.decoder.bias.copy_(torch.as_tensor(decoder_bias))
    return model, GradientDescent(model.parameters(), learning_rate=0.1)


# %% nbgrader={"grade": true, "grade_id": "bug-reconstruction", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5c (1 point): the reconstruction term, and the step itself.
### BEGIN HIDDEN TESTS
# A mistake in questions 1 to 3 is not punished here and in the next two cells: a
# check is passed if it is passed with these functions or with the student's own.
def _reparameterise(mu, log_var, eps=None, generator=None):
    noise = torch.randn(mu.shape, generator=generator) if eps is None else eps
    return mu + (0.5 * log_var).exp() * noise


def _kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    ratio = (log_var - prior_log_var).exp()
    distance = (mu - prior_mu) ** 2 / prior_log_var.exp()
    return 0.5 * (distance + ratio - ratio.log() - 1).sum(dim=1)


def _elbo(x, logits, kl):
    log_likelihood = x * logits - F.softplus(logits)
    return (log_likelihood.flatten(1).sum(1) - kl).mean()


_own = {}


def _choose(check, **stand_ins):
    """Put the stand-ins in the place of the student's functions, unless the check
    fails with them.
    """
    for name, stand_in in stand_ins.items():
        if globals().get(name) is not stand_in:
            _own[name] = globals().get(name)
    globals().update(stand_ins)
    try:
        _run(check)
    except Exception:
        globals().update((name, _own[name]) for name in stand_ins)


_stand_ins = {
    "reparameterise": _reparameterise,
    "kl_to_prior": _kl_to_prior,
    "elbo": _elbo,
}


def _check():
    generator = torch.Generator().manual_seed(6)
    x = torch.rand(5, 16, generator=generator)
    noise = torch.randn(5, 2, generator=generator)
    bias = torch.linspace(-3, 3, 16)

    def expected(logits):
        return float((F.softplus(logits) - x * logits).sum() / 5)

    def step(bias):
        model, optimiser = fixed_model(decoder_bias=bias)
        for parameter in model.parameters():
            # left over from some earlier step
            parameter.grad = torch.full_like(parameter, 7.0)
        before = x.clone()
        loss = training_step(model, optimiser, x, eps=noise.clone())
        assert torch.equal(x, before), "the pictures were changed"
        return float(loss), model.decoder.bias.detach()

    # A difference, so that a constant in the KL term cancels; the decoder ignores
    # z, so the sampling has no say.
    nothing = torch.zeros(16)
    for other in (bias, 10 * bias, -bias):
        found = step(other)[0] - step(nothing)[0]
        right = expected(other) - expected(nothing)
        assert abs(found - right) < 1e-3, (
            f"the logits change the loss by {found:.3f}, not by {right:.3f}"
        )
    torch.testing.assert_close(
        step(bias)[1],
        bias - 0.1 * (bias.sigmoid() - x.mean(dim=0)),
        rtol=1e-4,
        atol=1e-4,
    )


_choose(_check, **_stand_ins)
### END HIDDEN TESTS
x = torch.ones(3, 16)
loss = training_step(*fixed_model(), x, eps=torch.zeros(3, 2))
assert not getattr(loss, "requires_grad", False), (
    "return the loss without its graph: loss.detach()"
)
assert abs(float(loss) - 16 * math.log(2)) < 1e-4, (
    f"a model that knows nothing loses 16 log 2 nats, not {loss:.3f}"
)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "bug-kl", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5d (1 point): the KL term. The decoder ignores z, so mu and log_var change
# the loss through the KL term alone.
### BEGIN HIDDEN TESTS
def _check():
    generator = torch.Generator().manual_seed(7)
    x = torch.rand(5, 16, generator=generator)
    noise = torch.randn(5, 2, generator=generator)
    weight = 0.3 * torch.randn(4, 16, generator=generator)

    def step(model, optimiser):
        return float(training_step(model, optimiser, x, eps=noise.clone()))

    nothing = step(*fixed_model())
    for mu, log_var in [
        ([0.0, 0.0], [1.0, -2.0]),
        ([1.0, -2.0], [0.5, 0.5]),
        ([0.0, 3.0], [-4.0, 0.0]),
    ]:
        model, optimiser = fixed_model(mu, log_var)
        with torch.no_grad():
            # a code of its own for every picture
            model.encoder.weight.copy_(weight)
            mus, log_vars = model.encode(x)
            bias = model.encoder.bias.clone()
        expected = float(0.5 * (mus**2 + log_vars.exp() - log_vars - 1).sum() / 5)
        found = step(model, optimiser) - nothing
        assert abs(found - expected) < 1e-3, (
            f"these codes cost {expected:.3f} nats, not {found:.3f}"
        )
        gradient = torch.cat(
            [mus.mean(dim=0), 0.5 * (log_vars.exp() - 1).mean(dim=0)]
        )
        torch.testing.assert_close(
            model.encoder.bias.detach(), bias - 0.1 * gradient, rtol=1e-4, atol=1e-4
        )


_choose(_check, **_stand_ins)
### END HIDDEN TESTS
x, eps = torch.ones(3, 16), torch.zeros(3, 2)
difference = training_step(*fixed_model(mu=1.0), x, eps) - training_step(
    *fixed_model(mu=0.0), x, eps
)
assert abs(float(difference) - 1) < 1e-4, (
    f"two dimensions with mean 1 cost 1 nat together, not {difference:.3f}"
)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "bug-sampling", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5e (1 point): the codes are drawn. Other noise gives other codes, and so
# another loss.
### BEGIN HIDDEN TESTS
def _check():
    generator = torch.Generator().manual_seed(8)
    x = torch.rand(5, 16, generator=generator)
    noise = torch.randn(5, 2, generator=generator)
    weight = torch.randn(16, 2, generator=generator)
    mu, log_var = torch.tensor([0.8, -0.5]), torch.tensor([-1.0, 0.6])
    sigma = log_var.exp().sqrt()

    def step(mu, eps):
        model, optimiser = fixed_model(mu, log_var, decoder_weight=weight)
        loss = float(training_step(model, optimiser, x, eps=eps.clone()))
        return loss, model.encoder.bias.detach()[2:]

    # mu and -mu have the same KL term. With the noise shifted to match they have
    # the same codes, so the same loss: this holds for any reconstruction term, and
    # for no sampling but mu + sigma * eps.
    torch.testing.assert_close(
        step(mu, noise)[0],
        step(-mu, noise + 2 * mu / sigma)[0],
        rtol=1e-4,
        atol=1e-4,
    )
    assert abs(step(mu, noise)[0] - step(mu, noise - 1)[0]) > 1e-3, (
        "other noise has the same loss"
    )
    # Through the draw, the reconstruction has a say in log_var's gradient; the KL
    # term's part knows no noise.
    plus, minus = step(mu, noise)[1], step(mu, -noise)[1]
    assert not torch.allclose(plus, minus, atol=1e-5), (
        "no gradient reaches log_var through the draw"
    )


_choose(_check, **_stand_ins)
### END HIDDEN TESTS
x, weight = torch.ones(3, 16), torch.ones(16, 2)
losses = [
    training_step(*fixed_model(decoder_weight=weight), x, eps=torch.full((3, 2), e))
    for e in (0.0, 1.0)
]
assert abs(float(losses[0]) - float(losses[1])) > 0.01, (
    "the loss does not depend on eps"
)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now train with the repaired step. A negative ELBO can't fall to zero here: there are four different pictures, and
# telling which one it is takes $\log 4 \approx 1.39$ nats.

# %%
demonstrate(training_step, learning_rate=0.1)

# %% [markdown]
# ## 6. In your own words (6 points)
#
# Answer in full sentences, ten to fifteen in all. This question is read by a person.
#
# 1. A plain autoencoder (no noise, no KL term) is trained until its reconstructions are excellent. Codes drawn from
#    $N(0, I)$ are then put into its decoder. Why are the resulting pictures bad? (2 points)
# 2. Which term of the ELBO cures this, and how? (1 point)
# 3. Let $\beta$ multiply the KL term. Describe the codes, the reconstructions and the samples from the prior as
#    $\beta \to 0$, and as $\beta$ becomes very large. (3 points)

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 6, "schema_version": 3, "solution": true, "task": false}
# **Model answer.**
#
# 1. The plain autoencoder's loss asks only that each training picture's code can be decoded. Nothing says where the
#    codes lie: they may be far from the origin, stretched, or in clumps with gaps between them, and each picture needs
#    no more than a single point. The decoder has been trained at these points only. A draw from $N(0, I)$ will mostly
#    fall where no picture was encoded, and what the decoder does there was never trained.
# 2. The term $-\operatorname{KL}(q(z \mid x) \,\|\, p(z))$. It pulls the distribution of each picture's codes towards
#    $N(0, I)$ and keeps its variance from shrinking to zero. Codes are drawn from it, so the decoder is trained on
#    whole regions that overlap and that together cover the places where the prior puts its mass.
# 3. As $\beta \to 0$, codes cost nothing: the variances shrink, the means move apart, and the VAE becomes a plain
#    autoencoder. Reconstructions are sharp and samples from the prior are bad, for the reason given in 1. As $\beta$
#    grows, the KL term wins: $q(z \mid x)$ becomes $N(0, I)$ for every picture, so the code says nothing about the
#    picture (posterior collapse). The decoder then ignores $z$ and gives the same average, blurred picture for every
#    reconstruction and for every sample. In between lies a trade of detail in the reconstruction against samples that
#    look like data.
#
# **Rubric.**
#
# - Part 1: 1 point for "nothing in the loss makes the codes follow $N(0, I)$"; 1 point for "so the decoder is asked
#   about codes on which it was never trained". "It overfits" without where the codes lie: 0.
# - Part 2: 1 point for naming the KL term *and* saying that it brings $q(z \mid x)$ to the prior (position or spread).
#   Naming it alone: half a point. "The reconstruction term" or "the noise alone": 0.
# - Part 3: 1 point for $\beta \to 0$ (plain autoencoder: sharp reconstructions, bad samples); 1 point for large
#   $\beta$ on the codes ($q$ becomes the prior, the code carries no information); 1 point for large $\beta$ on the
#   pictures (the same blurred average everywhere). "Large $\beta$ gives better samples" without the collapse: none of
#   the last two points.
