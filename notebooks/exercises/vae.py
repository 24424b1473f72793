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
# A variational autoencoder is a few short formulas and one training step. The chapters have one form of each. Here you
# derive and write others: another distribution of the code, another prior, another decoder. You measure what the codes of
# a whole data set say, let a conditional model read, and repair a training step that runs, looks right and learns the
# wrong thing. Read the chapters [The variational autoencoder](../vae/variational_autoencoder.ipynb) and
# [Asking for a digit](../vae/conditional_vae.ipynb) first; plan three hours.
#
# | Question | After it you can | Points |
# | --- | --- | --- |
# | 1. Reparameterisation | draw from a distribution of your choice so that gradients pass through the draw | 4 |
# | 2. The KL divergence | derive and compute the price of a code in nats | 4 |
# | 3. The ELBO | compute the bound of another decoder, with every sign, sum and constant in its place | 4 |
# | 4. What the codes say | measure how much the codes of a data set tell, and how far they are from the prior | 4 |
# | 5. A conditional model reads | average probabilities too small to be represented, and apply Bayes' rule to them | 4 |
# | 6. Find the bug | tell a falling loss from a model that learns | 6 |
# | 7. In your own words | explain what each term of the ELBO does | 4 |
#
# **How to work.** Write your code where `# YOUR CODE HERE` stands and delete the line `raise NotImplementedError()`
# below it. You may add cells of your own, for further imports as well. Do not copy, split or delete the cells that are
# here: the grading program knows them by hidden labels, and restores all of them but your answers. Avoid
# `from … import *`: it can put other functions in the place of Python's own `sum`, `max` or `abs`, which the checks use. A
# function leaves the tensors it is given as they are, unless its docstring says otherwise.
# Under each question stand its difficulty, a time, and two hints that unfold when you click on them; try without them
# first.
#
# **How it is graded.** The cells that begin with `# Check` call your function. If such a cell runs without an error,
# you have passed the checks you can see; when your work is graded, each of these cells also runs further checks of
# what the docstring promises. Values count, not whether they are in single or double precision. Every check has its
# own points, and every question is graded on its own: a mistake in one question costs nothing in the next. Question 7
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
# | `x` | (batch, …) | the pictures |
# | `mu`, `log_var` | (batch, latent) | the encoder's answer: mean $\mu$ and log-variance $\log\sigma^2$ of $q(z \mid x)$ |
# | `z` | (batch, latent) | the code, a draw from $q(z \mid x)$, which is $N(\mu, \operatorname{diag}\sigma^2)$ except in question 1 |
# | `eps` | (batch, latent) | noise $\varepsilon$ from the standard normal distribution $N(0, I)$ |
# | `kl` | (batch,) | the divergence $\operatorname{KL}(q(z \mid x) \,\|\, p(z))$ of each picture |
#
# The prior is $p(z) = N(0, I)$, except in question 2. All logarithms are natural, so all information is measured in **nats**. The encoder
# gives the *logarithm* of the *variance*: any real number is then a valid answer. Keep $\log\sigma^2$, $\sigma^2$ and
# $\sigma$ apart; mixing them up is the most common mistake with this model.

# %% [markdown]
# ## 1. Reparameterisation (4 points)
#
# To train the encoder we need the gradient of a loss at a random $z$ with respect to the encoder's answer. A code that
# comes out of a random generator has forgotten where it came from. The trick of
# [Kingma and Welling (2013)](https://arxiv.org/abs/1312.6114) is to draw noise first, without any parameters, and to
# compute $z$ from it. The chapter does so for the normal distribution. The trick works for others too: if
# $u$ is uniform between 0 and 1, and $F$ is the distribution function that we want, then $z = F^{-1}(u)$ has it, for
# $P(F^{-1}(u) \le a) = P(u \le F(a)) = F(a)$.
#
# Let $q(z \mid x)$ be a **Laplace distribution** in each latent dimension, which has more probability near its centre and
# far from it than a normal distribution. With the location $\mu$ and the scale $b > 0$ its density and its distribution
# function are
#
# $$
# q(z) = \frac{1}{2b} e^{-|z - \mu| / b}, \qquad
# F(z) = \begin{cases} \tfrac12 e^{(z - \mu)/b} & \text{for } z \le \mu, \\ 1 - \tfrac12 e^{-(z - \mu)/b} & \text{for } z > \mu. \end{cases}
# $$
#
# Solve $u = F(z)$ for $z$ on paper, and write the result as code. It is a differentiable function of $\mu$ and $\log b$.
#
# Whoever calls your function may give the noise `u`. Otherwise draw it yourself: `torch.rand` takes a shape and a
# `generator` (which may be `None`), and a generator with the same seed must give the same `z` again.
#
# *Difficulty: ★★☆. Time: about 25 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# $F^{-1}(u)$ answers the question: at which $z$ has the distribution function reached the value $u$? $F$ has two
# branches, so find out first which values of $u$ belong to which branch. What is $F(\mu)$?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# $F(\mu) = \tfrac12$, so the first branch belongs to $u \le \tfrac12$ and the second to $u > \tfrac12$. In each of them
# isolate the exponential, take the logarithm, and solve for $z$; watch the sign in the second. `torch.where` picks one
# of two tensors entry by entry, and $b$ is the exponential of `log_scale`. If `u` is `None`, draw one number for each
# entry of `mu`, and pass `generator` on. From `mu` and `log_scale` to `z` use only operations that gradients can pass
# (no `.item()`, no `.detach()`), and change none of the given tensors in place.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "draw", "locked": false, "schema_version": 3, "solution": true, "task": false}
def laplace_draw(mu, log_scale, u=None, generator=None):
    """Return z = F^-1(u), a draw from the Laplace distribution with location mu and
    scale b, through which gradients flow.

    mu, log_scale: (batch, latent); log_scale is log(b). u: (batch, latent), between
    0 and 1, or None; None means: draw independent numbers from U(0, 1) here, using
    `generator`. Returns z: (batch, latent). The given tensors stay as they are.
    """
    ### BEGIN SOLUTION
    if u is None:
        u = torch.rand(
            mu.shape, generator=generator, dtype=mu.dtype, device=mu.device
        )
    tail = torch.log1p(-2 * (u - 0.5).abs())
    return mu - log_scale.exp() * torch.sign(u - 0.5) * tail
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "draw-value", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 1a (2 points): the value of z when u is given.
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


### END HIDDEN TESTS
mu, log_scale, u = (
    torch.ones(1, 3),
    torch.zeros(1, 3),
    torch.tensor([0.25, 0.5, 0.75]),
)
z = laplace_draw(mu, log_scale, u=u[None])
assert type(z) is Tensor, f"z must be a tensor, not {type(z)}"
assert z.shape == (1, 3), (
    f"z must have the shape of mu, (1, 3), not {tuple(z.shape)}"
)
# log_scale = 0 means b = 1, and F(mu + log 2) = 1 - 1/4
expected = torch.tensor([[1 - math.log(2), 1.0, 1 + math.log(2)]])
torch.testing.assert_close(z, expected, check_dtype=False)


### BEGIN HIDDEN TESTS
def _check():
    generator = torch.Generator().manual_seed(1)
    mu, log_scale = torch.randn(2, 7, 5, generator=generator, dtype=torch.float64)
    u = 0.01 + 0.98 * torch.rand(7, 5, generator=generator, dtype=torch.float64)
    given = [mu, log_scale, u]
    copies = [each.clone() for each in given]
    z = laplace_draw(*given[:2], u=u)
    for each, copy in zip(given, copies, strict=True):
        assert torch.equal(each, copy), "the given tensors were changed"
    loose = {"rtol": 1e-3, "atol": 1e-4, "check_dtype": False}
    q = torch.distributions.Laplace(mu, log_scale.exp())
    torch.testing.assert_close(q.cdf(z.double()), u, **loose)
    # in the tails, where F is flat, z itself is compared
    torch.testing.assert_close(z, q.icdf(u), **loose)
    z = laplace_draw(mu, log_scale, u=torch.full_like(mu, 0.5))
    torch.testing.assert_close(z, mu, **loose)


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "draw-noise", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 1b (2 points): noise of your own, and gradients through the draw.
mu, log_scale = torch.zeros(2000, 2, requires_grad=True), torch.zeros(2000, 2)
z = laplace_draw(mu, log_scale, generator=torch.Generator().manual_seed(0))
assert z.shape == (2000, 2), (
    f"z must have the shape of mu, (2000, 2), not {tuple(z.shape)}"
)
assert abs(z.mean().item()) < 0.1, (
    f"the mean of 4,000 draws with mu = 0 should be near 0, not {z.mean():.3f}"
)
assert abs(z.abs().mean().item() - 1) < 0.1, (
    f"their mean distance from mu should be near b = 1, not {z.abs().mean():.3f}"
)
assert z.requires_grad, "z must depend on mu in a way that gradients can follow"


### BEGIN HIDDEN TESTS
def _check():
    # b = 1 throughout: how b comes from log_scale was the other check's business.
    def draw(generator_seed, global_seed, batch=20):
        mu, log_scale = (
            torch.zeros(batch, 4, requires_grad=True) for _ in range(2)
        )
        torch.manual_seed(global_seed)
        generator = (
            None
            if generator_seed is None
            else torch.Generator().manual_seed(generator_seed)
        )
        return laplace_draw(mu, log_scale, generator=generator), mu, log_scale

    def same(first, second):
        return torch.equal(draw(*first)[0], draw(*second)[0])

    assert same((3, 0), (3, 1)), "the generator alone decides"
    assert not same((3, 0), (4, 0)), "another seed must give another z"
    assert not same((None, 0), (None, 1)), (
        "without a generator, torch's own decides"
    )
    zero = torch.zeros(20, 4)
    assert not torch.equal(laplace_draw(zero, zero), laplace_draw(zero, zero)), (
        "every call draws afresh"
    )
    # A Laplace distribution, no other; independent in every entry.
    z, mu, log_scale = draw(3, 0, batch=1000)
    assert abs(z.mean().item()) < 0.1, "the mean of the draws is not 0"
    assert abs(z.abs().mean().item() - 1) < 0.08, "their mean distance is not b"
    for distance in (0.2, 0.5, 3.0):
        near = (z.abs() < distance).double().mean().item()
        assert abs(near - 1 + math.exp(-distance)) < 0.03, (
            f"{near:.3f} of the draws lie within {distance} of mu, where b = 1"
        )
    correlation = torch.corrcoef(z.detach().T) - torch.eye(4)
    assert correlation.abs().max() < 0.15, "the dimensions are not independent"
    assert z.unique().numel() > 3_900, "the same draws occur again and again"
    z.sum().backward()
    torch.testing.assert_close(mu.grad, torch.ones_like(mu), check_dtype=False)
    assert log_scale.grad is not None, "no gradient reaches log_scale"
    assert (log_scale.grad != 0).double().mean() > 0.99, (
        "the gradient of log_scale is zero"
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
#
# *Difficulty: ★★☆. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# The divergence is the mean under $q$ of the difference of the two logarithms above. Which parts of this difference do
# not depend on $z$, and which are squared distances, whose means the question gives?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# In $\log q(z) - \log p(z)$ the terms with $2\pi$ cancel, and what comes from $\log p(z)$ changes its sign. Take the
# mean under $q$: the logarithms of the variances stay as they are, each squared distance is replaced by its mean,
# and one of the two fractions becomes a plain number. In code, a variance is the exponential of `log_var`
# or `prior_log_var`. The prior's tensors, of shape (latent,), broadcast over the batch. Sum over the latent dimensions
# only, and compare with the chapter's formula for $m = 0$ and $s = 1$.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "kl", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    """Return KL(N(mu, diag(sigma^2)) || N(m, diag(s^2))) of every example, in nats,
    in closed form.

    mu, log_var: (batch, latent); log_var is log(sigma^2). prior_mu, prior_log_var:
    (latent,), the prior's m and log(s^2), the same for all examples. Returns
    (batch,): the sum over the latent dimensions; nothing is summed or averaged over
    the batch. Gradients pass to mu and log_var.
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
# The sum runs over all pixels $p$. The chapter's decoder is Bernoulli, a coin for each pixel. Numbers that are measured,
# such as temperatures or colours with noise, are often given a **normal decoder** instead: the network's answer
# $\hat x_p$ is the mean of the pixel, and all pixels have one standard deviation $s$, which is known:
#
# $$p(x_p \mid z) = N(x_p;\, \hat x_p,\, s^2).$$
#
# Question 2 shows the logarithm of such a density. Keep its constants: they don't change the gradients of the networks,
# but two models with different $s$ can't be compared without them. What does the gradient with respect to $\hat x_p$
# look like, and how does a small $s$ shift the balance of the two terms?
#
# For the batch, return the **mean of the examples' ELBOs**. It is to be maximised; the training loss is its negative.
#
# *Difficulty: ★☆☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Start from $\log p(z)$ in question 2, and decide what takes the place of $z$ and of $m$: this gives the logarithm for
# one pixel. Then ask which axes are summed, which is averaged, and where `kl`, one number per picture, comes in.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The bracket of question 2 holds three terms, one with $2\pi$, one with $\log s^2 = 2 \log s$, and the squared error
# over $s^2$; the factor before the bracket belongs to all three. `s` is a float, so its logarithm comes from `math`.
# Put the terms together for each pixel before you sum, so that the constants are counted once per pixel. Sum over
# all axes but the first, however many there are; the result has shape (batch,). Only there bring in `kl`, with the
# sign of the formula above, and take the mean over the batch last.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "elbo", "locked": false, "schema_version": 3, "solution": true, "task": false}
def elbo(x, decoded, s, kl):
    """Return the ELBO with a normal decoder in nats, a mean over the batch; larger
    is better.

    x: (batch, ...), any real numbers. decoded: the shape of x, the decoder's means.
    s: a float above 0, the standard deviation of every pixel. kl: (batch,), the
    divergence KL(q(z|x) || p(z)) of every example, in nats.
    Returns a scalar: the log-density summed over all axes but the first, minus kl,
    then the mean over the batch. Its gradient reaches decoded and kl.
    """
    ### BEGIN SOLUTION
    log_density = -0.5 * ((x - decoded) / s) ** 2 - math.log(s)
    log_density = log_density - 0.5 * math.log(2 * math.pi)
    return (log_density.flatten(start_dim=1).sum(dim=1) - kl).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "elbo-pixel", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 3a (2 points): the log-density of a single pixel, with kl = 0.
bound = elbo(torch.ones(1, 1), torch.ones(1, 1), s=1.0, kl=torch.zeros(1))
assert type(bound) is Tensor, f"the bound must be a tensor, not {type(bound)}"
assert abs(float(bound) + 0.9189) < 1e-4, (
    f"at its mean N(x; x, 1) has the log-density -log(2 pi) / 2, not {bound:.4f}"
)


### BEGIN HIDDEN TESTS
def _check():
    # One pixel of one picture: how pixels and pictures are summed is the other
    # check's business.
    for s in (0.1, 0.5, 1.0, 3.0):
        for pixel, mean in ((0.0, 0.0), (1.0, 0.2), (-2.0, 1.5), (0.3, 0.7)):
            x = torch.full((1, 1), pixel)
            decoded = torch.full((1, 1), mean, requires_grad=True)
            bound = elbo(x, decoded, s, torch.zeros(1))
            expected = float(torch.distributions.Normal(mean, s).log_prob(x))
            what = f"x = {pixel}, decoded {mean}, s = {s}: "
            assert abs(bound.item() - expected) < 1e-4 * (1 + abs(expected)), (
                f"{what}the bound is {expected:.4f}, not {bound.item():.4f}"
            )
            bound.sum().backward()
            slope = (pixel - mean) / s**2
            assert abs(decoded.grad.item() - slope) < 1e-4 * (1 + abs(slope)), (
                f"{what}the gradient is {slope:.4f}, not {decoded.grad.item():.4f}"
            )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "elbo-reduction", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 3b (2 points): the sum over the pixels, the KL term, and the mean over the
# batch.
x, decoded = torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
bound = elbo(x, decoded, s=1.0, kl=torch.zeros(2))
assert bound.shape == (), (
    f"the bound must be a single number: shape (), not {tuple(bound.shape)}"
)
one_pixel = elbo(x[:1, 0, 0, :1], decoded[:1, 0, 0, :1], 1.0, kl=torch.zeros(1))
# 16 equal pixels, two equal pictures
torch.testing.assert_close(bound, 16 * one_pixel.reshape(()), check_dtype=False)


### BEGIN HIDDEN TESTS
def _check():
    # Built from the function's own answers for single pixels, so a wrong density
    # loses nothing here.
    generator = torch.Generator().manual_seed(3)
    x, decoded = torch.randn(
        2, 3, 1, 4, 5, generator=generator, dtype=torch.float64
    )
    kl = torch.tensor([0.5, 2.0, 7.0], dtype=torch.float64)
    nothing = torch.zeros(1, dtype=torch.float64)

    def pixel(value, mean):
        return float(elbo(value.reshape(1, 1), mean.reshape(1, 1), 0.7, nothing))

    pixels = [
        pixel(value, mean)
        for value, mean in zip(x.flatten(), decoded.flatten(), strict=True)
    ]
    assert max(pixels) - min(pixels) > 0.1, (
        "the log-density must depend on the pixels"
    )
    bound = elbo(x, decoded, 0.7, kl)
    assert bound.shape == (), f"one number, not shape {tuple(bound.shape)}"
    expected = sum(pixels) / 3 - 9.5 / 3
    assert abs(float(bound) - expected) < 1e-4 * (1 + abs(expected)), (
        "not the sum over pixels, minus the KL term, averaged over the batch"
    )
    # The same in one long row: pictures need not be square.
    in_a_row = elbo(x.flatten(1), decoded.flatten(1), 0.7, kl)
    assert abs(float(in_a_row) - float(bound)) < 1e-4 * (1 + abs(expected)), (
        "pictures with a single axis of pixels have another bound"
    )
    # What the networks are trained on: a gradient for the KL term as well.
    kl.requires_grad_()
    elbo(x, decoded, 0.7, kl).backward()
    assert kl.grad is not None, "no gradient reaches the KL term"


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. What the codes say (4 points)
#
# Draw one of $n$ pictures at random, and a code from its $q(z \mid x_i)$. The codes that arise have the distribution
#
# $$q(z) = \frac1n \sum_{i=1}^n q(z \mid x_i),$$
#
# the **aggregate posterior**. The chapter on conditional models shows that the KL term, averaged over the pictures, pays
# for two things,
#
# $$\frac1n \sum_{i=1}^n \operatorname{KL}\bigl(q(z \mid x_i) \,\|\, p(z)\bigr)
# = I(x; z) + \operatorname{KL}\bigl(q(z) \,\|\, p(z)\bigr),$$
#
# the information that a code has about its picture, and the mismatch between all codes together and the prior. It only
# bounds them, by $I(x; z) \le \log n$. Here you measure them. For a finite set of pictures $q(z)$ is a mixture of $n$
# normal distributions, and its density can be computed exactly.
#
# Densities in many dimensions are as small as $e^{-100}$ or $e^{-1000}$, which single precision rounds to zero. So work
# with logarithms throughout, and find the function of PyTorch that computes the logarithm of a sum of exponentials
# without leaving the logarithmic scale. Question 2 shows $\log q$ for one latent dimension; independent dimensions
# add up.
#
# *Difficulty: ★★★. Time: about 25 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Think of a table of the densities $q(z \mid x_i)$, with one row per point and one column per picture: $q(z)$ at a
# point is the mean of its row. What you can compute safely is the logarithm of each entry, and the mean of
# the logarithms is not the logarithm of the mean.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Give `z` a new axis in the middle, for the pictures (index it with `None`); its differences from `mu` then have the
# shape (points, n, latent). Compute the log-density in each latent dimension as in question 2, with its constant, and
# sum over the last axis only. The table (points, n) is left, and `torch.logsumexp` sums over its pictures
# without leaving the logarithmic scale. That is the logarithm of a sum: what does the factor $\frac1n$
# become on this scale?
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "aggregate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def log_aggregate(z, mu, log_var):
    """Return log q(z) in nats at each of the points z, where q(z) is the mean of
    the n densities N(mu_i, diag(sigma_i^2)).

    z: (points, latent). mu, log_var: (n, latent), the encoder's answers for n
    pictures. Returns (points,).
    """
    ### BEGIN SOLUTION
    squared = (z[:, None] - mu) ** 2 / log_var.exp()  # (points, n, latent)
    log_q = -0.5 * (math.log(2 * math.pi) + log_var + squared).sum(dim=-1)
    return torch.logsumexp(log_q, dim=1) - math.log(len(mu))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "aggregate-density", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4a (1 point): the density. With a single picture q(z) is q(z|x) itself.
found = log_aggregate(torch.zeros(3, 2), torch.zeros(1, 2), torch.zeros(1, 2))
assert type(found) is Tensor, f"the logarithms must be a tensor, not {type(found)}"
assert found.shape == (3,), (
    f"three points have three densities: shape (3,), not {tuple(found.shape)}"
)
right = torch.full((3,), -math.log(2 * math.pi))
torch.testing.assert_close(found, right, check_dtype=False)


### BEGIN HIDDEN TESTS
def _check():
    from torch.distributions import Independent, Normal

    # One picture: how several are averaged is the other check's business.
    generator = torch.Generator().manual_seed(4)
    for latent in (1, 3, 8):
        mu, log_var = torch.randn(
            2, 1, latent, generator=generator, dtype=torch.float64
        )
        z = 2 * torch.randn(5, latent, generator=generator, dtype=torch.float64)
        expected = Independent(Normal(mu[0], (log_var[0] / 2).exp()), 1).log_prob(z)
        found = log_aggregate(z, mu, log_var)
        assert found.shape == (5,), f"five points, shape {tuple(found.shape)}"
        for right, value in zip(expected.tolist(), found.tolist(), strict=True):
            assert abs(value - right) < 1e-4 * (1 + abs(right)), (
                f"{latent} latent dimensions: log q is {right:.4f}, not {value:.4f}"
            )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "aggregate-mean", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4b (1 point): the mean over the pictures.
z, zero = torch.tensor([[0.3], [-2.0]]), torch.zeros(1, 1)
one = log_aggregate(z, zero, zero)
# the mean of equal densities is that density
several = log_aggregate(z, zero.expand(6, 1), zero.expand(6, 1))
torch.testing.assert_close(several, one)


### BEGIN HIDDEN TESTS
def _check():
    # Built from the function's own answers for single pictures, so a wrong density
    # loses nothing here.
    generator = torch.Generator().manual_seed(5)
    for latent, far in ((2, 0.0), (3, 60.0), (5, -200.0)):
        mu, log_var = torch.randn(
            2, 4, latent, generator=generator, dtype=torch.float64
        )
        z = 2 * torch.randn(6, latent, generator=generator, dtype=torch.float64)
        single = torch.stack(
            [
                log_aggregate(z + far, mu[i : i + 1], log_var[i : i + 1])
                for i in range(4)
            ]
        ).double()
        assert single.std(dim=0).min() > 0.1, "all pictures the same?"
        expected = single.logsumexp(dim=0) - math.log(4)
        found = log_aggregate(z + far, mu, log_var).double()
        assert found.isfinite().all(), f"densities at a distance of {far}: {found}"
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now the information, as the mean of a logarithm of a ratio. With draws $z_{ij}$ from each $q(z \mid x_i)$,
#
# $$I(x; z) = \frac1n \sum_{i=1}^n \mathbb{E}_{q(z \mid x_i)}\bigl[\log q(z \mid x_i) - \log q(z)\bigr]
# \approx \frac{1}{n k} \sum_{i=1}^n \sum_{j=1}^k \bigl[\log q(z_{ij} \mid x_i) - \log q(z_{ij})\bigr].$$
#
# Make the draws as the chapter does, $z_{ij} = \mu_i + \sigma_i \odot \varepsilon_{ij}$, from noise that the caller gives.
# You may call your functions of earlier questions, here and below. A check is passed if it is passed with them or with
# correct versions in their place, so that no mistake costs you points twice.
#
# *Difficulty: ★★☆. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Each draw needs the logarithms of two densities: that of the picture it was drawn for, and that of all pictures
# together. You have a function for one of them; look up in which shape it takes its points.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The draws have the shape (k, n, latent), `mu` and `log_var` broadcast over the first axis, and $\sigma$ is the
# exponential of *half* of `log_var`. In $\log q(z_{ij} \mid x_i)$ put in the formula of the draw for $z_{ij}$: what is
# left of the squared distance over $\sigma_i^2$? Keep the constant with $2\pi$, which `log_aggregate` has too, and sum
# over the latent dimensions. `log_aggregate` takes points of shape (points, latent), so give it all $k n$ draws along
# one axis; with three axes it may run and still compare the wrong things. Bring both logarithms into the same shape
# before you subtract, and take the mean over all draws.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "information", "locked": false, "schema_version": 3, "solution": true, "task": false}
def information(mu, log_var, eps):
    """Return the estimate of I(x; z) in nats, the information of a code about which
    of n pictures it came from.

    mu, log_var: (n, latent), the encoder's answers. eps: (k, n, latent), standard
    normal noise, with which k codes of each picture are drawn. Returns a scalar:
    the mean over all k * n draws of log q(z|x_i) - log q(z).
    """
    ### BEGIN SOLUTION
    z = mu + (0.5 * log_var).exp() * eps
    # log q(z|x_i) at the draw: the squared distance over sigma^2 is eps^2
    log_q = -0.5 * (math.log(2 * math.pi) + log_var + eps**2).sum(dim=-1)
    return (log_q.flatten() - log_aggregate(z.flatten(0, 1), mu, log_var)).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "information-value", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 4c (2 points): the information.
### BEGIN HIDDEN TESTS
# A mistake in log q(z) is not punished here.
def _log_aggregate(z, mu, log_var):
    terms = log_var + (z[:, None, :] - mu) ** 2 / log_var.exp()
    terms = terms + math.log(2 * math.pi)
    return (-0.5 * terms.sum(dim=2)).logsumexp(dim=1) - math.log(mu.shape[0])


def _check():
    from torch.distributions import Independent, Normal

    generator = torch.Generator().manual_seed(6)
    for n, k, latent, spread in (
        (1, 5, 3, 1),
        (4, 6, 2, 1),
        (7, 3, 4, 0.4),
        (3, 9, 1, 5),
    ):
        mu, log_var = torch.randn(
            2, n, latent, generator=generator, dtype=torch.float64
        )
        mu = spread * mu
        eps = torch.randn(k, n, latent, generator=generator, dtype=torch.float64)
        each = Independent(Normal(mu, (log_var / 2).exp()), 1)
        z = mu + (log_var / 2).exp() * eps
        # (k, n, n): every draw under every picture's distribution
        log_q = each.log_prob(z[:, :, None])
        own = log_q.diagonal(dim1=1, dim2=2)
        expected = (own - log_q.logsumexp(dim=2) + math.log(n)).mean().item()
        found = information(mu, log_var, eps)
        assert found.shape == (), f"one number, not shape {tuple(found.shape)}"
        assert abs(float(found) - expected) < 1e-4 * (1 + abs(expected)), (
            f"{n} pictures, {k} draws of each, {latent} latent dimensions: "
            f"{expected:.4f} nats, not {float(found):.4f}"
        )


_choose(_check, log_aggregate=_log_aggregate)
### END HIDDEN TESTS
eps = torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(0))
apart = 100.0 * torch.arange(4.0)[:, None].expand(4, 2)
found = information(apart, torch.zeros(4, 2), eps)
assert type(found) is Tensor, f"the information must be a tensor, not {type(found)}"
assert abs(float(found) - math.log(4)) < 1e-4, (
    f"codes that never meet say which of 4 pictures: log 4 nats, not {found:.4f}"
)
found = information(torch.ones(4, 2), torch.zeros(4, 2), eps)
assert abs(float(found)) < 1e-4, "equal distributions of the code say nothing"
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Eight pictures, whose codes have their means on a circle. Decide before you run the cell: as the circle grows, what
# happens to the information, and what to the mismatch?

# %%
angles = 2 * math.pi * torch.arange(8.0)[:, None] / 8
circle = torch.cat([angles.cos(), angles.sin()], dim=1)
eps = torch.randn(50, 8, 2, generator=torch.Generator().manual_seed(0))
print(f"at most log 8 = {math.log(8):.2f} nats of information")
for radius in (0.0, 0.5, 1.0, 1.5, 3.0):
    mu, log_var = radius * circle, torch.full((8, 2), -2.0)
    kl = kl_to_prior(mu, log_var, torch.zeros(2), torch.zeros(2)).mean()
    known = information(mu, log_var, eps)
    print(f"radius {radius}: KL {kl:.2f} = {known:.2f} + mismatch {kl - known:.2f}")

# %% [markdown]
# ## 5. A conditional model reads (4 points)
#
# A conditional VAE is told the class $y$ and draws from $p(x \mid y)$. With Bayes' rule it can also do the opposite, and
# say which class an unknown picture has. For each class $y$ draw $k$ codes $z_1, \dots, z_k$ from the encoder's
# $q(z \mid x, y)$, and average the importance weights
#
# $$p(x \mid y) \approx \frac1k \sum_{j=1}^k w_{jy}, \qquad
# w_{jy} = \frac{p(x \mid z_j, y)\, p(z_j)}{q(z_j \mid x, y)},$$
#
# as [Burda et al. (2016)](https://arxiv.org/abs/1509.00519) do for a model without classes. The estimate has no bias;
# its logarithm is a bound. With the shares $p(y)$ of the classes, which sum to 1,
#
# $$p(x) = \sum_y p(y)\, p(x \mid y), \qquad p(y \mid x) = \frac{p(y)\, p(x \mid y)}{p(x)} .$$
#
# Weights of pictures are as small as $e^{-1000}$, so your function gets their logarithms and must not leave the
# logarithmic scale.
#
# *Difficulty: ★★☆. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Write both results with probabilities first: a mean over the codes, a product with $p(y)$, a sum over the classes, a
# quotient. What does each of these four become on the logarithmic scale?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `torch.logsumexp` does a sum on the logarithmic scale, over the axis that you name. Begin with the axis of the codes,
# and do not forget the $\frac1k$ of the mean; the shape (batch, classes) is left, over whose first axis `log_prior`
# broadcasts. The sum over the classes then gives $\log p(x)$, of shape (batch,). For $\log p(y \mid x)$ go back to what
# you had before this sum, and give $\log p(x)$ an axis for the classes, so that each picture's number meets its own
# row. Take no exponential yourself: it may round to zero, whereas adding, subtracting and `torch.logsumexp` need no
# special case even for a class whose `log_prior` is minus infinity.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "read", "locked": false, "schema_version": 3, "solution": true, "task": false}
def read_class(log_w, log_prior):
    """Return the estimates of log p(x) and of log p(y|x) of every picture, in nats.

    log_w: (k, batch, classes), the logarithms of the importance weights of k codes,
    for every picture and every class that it might have. log_prior: (classes,), the
    logarithms of the shares p(y); for a class that never occurs it is minus
    infinity. Returns a tuple of two tensors, (batch,) and (batch, classes).
    """
    ### BEGIN SOLUTION
    log_px_given_y = torch.logsumexp(log_w, dim=0) - math.log(len(log_w))
    log_joint = log_px_given_y + log_prior
    log_px = torch.logsumexp(log_joint, dim=1)
    return log_px, log_joint - log_px[:, None]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "read-evidence", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 5a (2 points): log p(x).
log_w = torch.tensor([[0.2, 0.4], [0.4, 0.8]]).log()[:, None].expand(2, 3, 2)
log_px, _ = read_class(log_w, torch.tensor([0.5, 0.5]).log())
assert type(log_px) is Tensor, f"log p(x) must be a tensor, not {type(log_px)}"
assert log_px.shape == (3,), (
    f"three pictures have three: shape (3,), not {tuple(log_px.shape)}"
)
# means of 0.3 and 0.6 for the two classes, and half of each
torch.testing.assert_close(
    log_px, torch.full((3,), math.log(0.45)), check_dtype=False
)


### BEGIN HIDDEN TESTS
def _check():
    generator = torch.Generator().manual_seed(7)
    for k, classes in ((1, 2), (5, 3), (4, 10)):
        log_w = 2 * torch.randn(
            k, 4, classes, generator=generator, dtype=torch.float64
        )
        prior = torch.rand(classes, generator=generator, dtype=torch.float64) + 0.1
        prior[0] = 0.0 if classes > 2 else prior[0]
        prior = prior / prior.sum()
        right = ((log_w.exp().mean(dim=0)) * prior).sum(dim=1).log()
        # levels that no density can be computed at
        level = torch.tensor([0.0, -150.0, -1000.0, 120.0], dtype=torch.float64)
        found, _ = read_class(log_w + level[:, None], prior.log())
        assert found.shape == (4,), f"four pictures, shape {tuple(found.shape)}"
        torch.testing.assert_close(
            found, right + level, rtol=1e-4, atol=1e-4, check_dtype=False
        )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "read-posterior", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 5b (2 points): log p(y|x).
log_w = torch.tensor([[0.2, 0.4], [0.4, 0.8]]).log()[:, None].expand(2, 3, 2)
_, log_posterior = read_class(log_w, torch.tensor([0.5, 0.5]).log())
assert type(log_posterior) is Tensor, f"a tensor, not {type(log_posterior)}"
assert log_posterior.shape == (3, 2), (
    f"three pictures, two classes: shape (3, 2), not {tuple(log_posterior.shape)}"
)
right = torch.tensor([1 / 3, 2 / 3]).log().expand(3, 2)
torch.testing.assert_close(log_posterior, right, check_dtype=False)


### BEGIN HIDDEN TESTS
def _check():
    generator = torch.Generator().manual_seed(8)
    for k, classes in ((1, 2), (5, 3), (4, 10)):
        log_w = 2 * torch.randn(
            k, 4, classes, generator=generator, dtype=torch.float64
        )
        prior = torch.rand(classes, generator=generator, dtype=torch.float64) + 0.1
        prior[0] = 0.0 if classes > 2 else prior[0]
        prior = prior / prior.sum()
        joint = log_w.exp().mean(dim=0) * prior
        right = joint / joint.sum(dim=1, keepdim=True)
        level = torch.tensor([0.0, -150.0, -1000.0, 120.0], dtype=torch.float64)
        _, found = read_class(log_w + level[:, None], prior.log())
        assert found.shape == (4, classes), f"shape {tuple(found.shape)}"
        assert (found[:, prior == 0] < -50).all(), "a class that never occurs"
        torch.testing.assert_close(
            found.exp(), right, rtol=1e-3, atol=1e-5, check_dtype=False
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 6. Find the bug (6 points)
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
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Write down from the chapter, in order, what one training step does, and lay `faulty_step` beside it line by line. For
# each statement ask whether what it says is true of this code, not whether it would be a mistake in general.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# For the cross-entropy read `help(F.binary_cross_entropy_with_logits)`: what it takes, in which order and form, and
# what it returns by default; for its sign, compute it for one pixel with a good and with a bad answer.
# For the gradients, note after each line what is in `.grad` and which line uses it; for the optimiser,
# look up in `demonstrate` which parameters it is given, and for what is returned, what `detach` does. For `encode`
# and `decode`, write the shapes beside each call, and follow what is used of the results and of the arguments. Last,
# compare the loss with the ELBO, term by term.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "mistakes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mistakes():
    """Return the letters of the five true statements, in one string such as
    "VWXYZ"; their order does not matter.
    """
    ### BEGIN SOLUTION
    return "BCFHJ"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mistakes-most", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6a (1 point): five letters, of which at least four are right.
named = mistakes()
assert type(named) is str, f"the letters must be in a string, not {named!r}"
assert len(set(named)) == len(named) == 5, f"five different letters, not {named!r}"
assert set(named) <= set("ABCDEFGHIJ"), f"letters from A to J, not {named!r}"
### BEGIN HIDDEN TESTS
assert len(set(named) & set("BCFHJ")) >= 4, "fewer than four letters are right"
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "mistakes-all", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 6b (2 points): all five are right.
named = mistakes()
assert len(named) == 5, f"five letters, not {named!r}"
### BEGIN HIDDEN TESTS
assert set(named) == set("BCFHJ"), "not all five letters are right"
### END HIDDEN TESTS

# %% [markdown]
# Now write a step without the five mistakes. Its loss is the negative ELBO of the chapter, in nats: the cross-entropy of a
# Bernoulli decoder with the logits that the model gives, summed over the pixels, plus the KL term of question 2 for the
# prior $N(0, I)$, averaged over the batch. The codes are $z = \mu + \sigma \odot \varepsilon$, with the noise `eps` that the
# caller gives.
#
# *Difficulty: ★★☆. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Write down the loss of a single picture first: which two terms does it have, what does each need from the encoder and
# the decoder, and over what is each summed? Which of your functions gives one of them?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Draw the code from both results of the encoder and `eps`, as in question 4, and decode it. The argument `reduction` of
# `F.binary_cross_entropy_with_logits` decides whether it adds up, averages or does neither; you need a sum over the
# pixels and a mean over the batch, so check this and its other arguments against the documentation. For `kl_to_prior`
# the prior $N(0, I)$ is two tensors of shape (latent,): its mean, and the *logarithm* of its variance. `backward`
# adds to what is in `.grad`: what must be gone before it is called, and what must be there when the optimiser
# makes its step? Return the loss that these gradients belong to, without its graph.
#
# </details>


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
    logits = model.decode(mu + (0.5 * log_var).exp() * eps)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    zero = torch.zeros(mu.shape[1])
    kl = kl_to_prior(mu, log_var, zero, zero)
    loss = cross_entropy / len(x) + kl.mean()
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
# Check 6c (1 point): the reconstruction term, and the step itself.
### BEGIN HIDDEN TESTS
# A mistake in question 2 is not punished here and in the next two cells: a check is
# passed if it is passed with this function or with the student's own.
def _kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    ratio = (log_var - prior_log_var).exp()
    distance = (mu - prior_mu) ** 2 / prior_log_var.exp()
    return 0.5 * (distance + ratio - ratio.log() - 1).sum(dim=1)


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


_choose(_check, kl_to_prior=_kl_to_prior)
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
# Check 6d (1 point): the KL term. The decoder ignores z, so mu and log_var change
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


_choose(_check, kl_to_prior=_kl_to_prior)
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
# Check 6e (1 point): the codes are drawn. Other noise gives other codes, and so
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


_choose(_check, kl_to_prior=_kl_to_prior)
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
# ## 7. In your own words (4 points)
#
# Answer in full sentences, eight to twelve in all. This question is read by a person.
#
# 1. A plain autoencoder (no noise, no KL term) is trained until its reconstructions are excellent. Codes drawn from
#    $N(0, I)$ are then put into its decoder. Why are the resulting pictures bad, and which term of the ELBO cures this,
#    and how? (2 points)
# 2. Let $\beta$ multiply the KL term. Describe the codes, the reconstructions and the samples from the prior as
#    $\beta \to 0$, and as $\beta$ becomes very large. (2 points)
#
# *Difficulty: ★★☆. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Part 1: at which codes has the decoder been trained, and at which is it used afterwards? Part 2: what will the encoder
# do if a code costs nothing, and what if it costs more than it can save in the reconstruction term?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# A full answer to part 1 says what the plain autoencoder's loss asks of the codes and what it leaves open, and what
# this means for a draw from $N(0, I)$. It names the term, and says what this term does to the distribution of each
# picture's codes; the name alone is not enough. For part 2 sketch a table with the two cases as rows, and the codes,
# the reconstructions and the samples as columns; fill all six fields, and write them out in sentences. For the codes
# ask which $q(z \mid x)$ is best when only one of the two terms counts, and for the pictures what the decoder can read
# from such codes, and whether it has been trained where the prior draws.
#
# </details>

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# **Model answer.**
#
# 1. The plain autoencoder's loss asks only that each training picture's code can be decoded. Nothing says where the
#    codes lie: they may be far from the origin, stretched, or in clumps with gaps between them, and each picture needs
#    no more than a single point. The decoder has been trained at these points only. A draw from $N(0, I)$ will mostly
#    fall where no picture was encoded, and what the decoder does there was never trained. The cure is the term
#    $-\operatorname{KL}(q(z \mid x) \,\|\, p(z))$. It pulls the distribution of each picture's codes towards
#    $N(0, I)$ and keeps its variance from shrinking to zero. Codes are drawn from it, so the decoder is trained on
#    whole regions that overlap and that together cover the places where the prior puts its mass.
# 2. As $\beta \to 0$, codes cost nothing: the variances shrink, the means move apart, and the VAE becomes a plain
#    autoencoder. Reconstructions are sharp and samples from the prior are bad, for the reason given in 1. As $\beta$
#    grows, the KL term wins: $q(z \mid x)$ becomes $N(0, I)$ for every picture, so the code says nothing about the
#    picture (posterior collapse). The decoder then ignores $z$ and gives the same average, blurred picture for every
#    reconstruction and for every sample. In between lies a trade of detail in the reconstruction against samples that
#    look like data.
#
# **Rubric.**
#
# - Part 1: 1 point for "nothing in the loss makes the codes follow $N(0, I)$, so the decoder is asked about codes on
#   which it was never trained"; one half of this sentence alone: half a point. "It overfits" without where the codes
#   lie: 0. 1 point for naming the KL term *and* saying that it brings $q(z \mid x)$ to the prior (position or spread).
#   Naming it alone: half a point. "The reconstruction term" or "the noise alone": 0.
# - Part 2: 1 point for $\beta \to 0$ (plain autoencoder: sharp reconstructions, bad samples); 1 point for large $\beta$:
#   half for the codes ($q$ becomes the prior, the code carries no information), half for the pictures (the same blurred
#   average everywhere). "Large $\beta$ gives better samples" without the collapse: 0 for large $\beta$.
