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
# # Assignment: generative adversarial networks
#
# Two networks play against each other, and almost every mistake in the code leaves a program that runs and prints
# losses that look fine. Here you write the parts of the game yourself, learn to see from the gradients who is being
# trained, and repair a training step in which both losses fall to zero and nobody draws anything. Read the chapters
# [The adversarial game](../gan/adversarial_game.ipynb), [DCGAN](../gan/dcgan.ipynb) for question 4 and
# [the Wasserstein GAN](../gan/wasserstein_gan.ipynb) for question 5 first; plan three hours.
#
# | Question | After it you can | Points |
# | --- | --- | --- |
# | 1. Two players, two losses | compute each player's loss from logits, and say which one stops teaching | 5 |
# | 2. Whose gradient is it? | send gradients to one player and not to the other | 4 |
# | 3. The best discriminator | derive the best answer to a generator and what the game is then worth | 4 |
# | 4. Layers that fit | calculate what size a convolution makes, forwards and backwards | 4 |
# | 5. The gradient penalty | differentiate a loss that contains a gradient | 3 |
# | 6. Find the bug | tell falling losses from a generator that learns | 6 |
# | 7. In your own words | explain what the losses of a GAN say, and what they do not | 4 |
#
# **How to work.** Write your code where `# YOUR CODE HERE` stands and delete the line `raise NotImplementedError()`
# below it. You may add cells of your own, for further imports as well. Do not copy, split or delete the cells that are
# here: the grading program knows them by hidden labels, and restores all of them but your answers. Avoid
# `from … import *`: it can put other functions in the place of Python's own `sum`, `max` or `abs`, which the checks use.
#
# **How it is graded.** The cells that begin with `# Check` call your function. If such a cell runs without an error,
# you have passed the checks you can see; when your work is graded, each of these cells also runs further checks of
# what the docstring promises. Values count, not whether they are in single or double precision. Every check has its
# own points, and every question is graded on its own: a mistake in one question costs nothing in the next. Question 7
# is read by a person.
#
# **How to hand in.** Restart the kernel and run all cells once more. Download the notebook (on Colab:
# *File → Download → Download .ipynb*), name it `gan.ipynb` (without "Copy of"), and send it the way your teacher asks.

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
# | `x` | (batch, …) | real pictures |
# | `z` | (batch, latent) | noise, drawn from the standard normal distribution |
# | $G$, `generator` | | turns noise into pictures, $G(z)$, with values between -1 and 1 |
# | $D$, `discriminator` | | gives each picture one number, its **logit** $\ell$; $D(x) = \operatorname{sigmoid}(\ell)$ |
# | `real_logits` | (batch,) | the logits of real pictures |
# | `fake_logits` | (batch,) | the logits of generated pictures |
#
# $D(x)$ is the discriminator's probability that $x$ is real. All logarithms are natural, so losses are measured in
# **nats**. A network here answers with the logit, never with the probability.

# %% [markdown]
# ## 1. Two players, two losses (5 points)
#
# The discriminator wants to be right about real and generated pictures alike. Its loss is
#
# $$-\mathbb{E}_{x}\bigl[\log D(x)\bigr] - \mathbb{E}_{z}\bigl[\log\bigl(1 - D(G(z))\bigr)\bigr].$$
#
# The generator has a loss of its own. [Goodfellow et al. (2014)](https://arxiv.org/abs/1406.2661) give two that want
# the same thing, a high $D(G(z))$:
#
# $$\text{saturating: } \mathbb{E}_{z}\bigl[\log\bigl(1 - D(G(z))\bigr)\bigr], \qquad
# \text{non-saturating: } -\mathbb{E}_{z}\bigl[\log D(G(z))\bigr].$$
#
# Every loss is something to be made *small*; mind the signs. Each expectation is the mean over its own batch, and the
# two batches need not be equally large.
#
# Compute all three from the logits, not from $D$: a logit of 200 makes $D$ exactly 1 in the computer's arithmetic,
# and $\log(1 - D)$ would be minus infinity. Look for functions of PyTorch that take logits, or write
# $\log \operatorname{sigmoid}(\ell)$ and $\log(1 - \operatorname{sigmoid}(\ell))$ with `F.softplus`, which is
# $\log(1 + e^{\ell})$.


# %% nbgrader={"grade": false, "grade_id": "dloss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def loss_for_discriminator(real_logits, fake_logits):
    """Return the discriminator's loss in nats, a scalar to be minimised.

    real_logits: (n,), the logits of n real pictures. fake_logits: (m,), those of m
    generated pictures. Each expectation is the mean over its batch; the loss is
    finite for any logit, and gradients pass from it to both kinds of logits.
    """
    ### BEGIN SOLUTION
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "dloss-value", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 1a (2 points): the discriminator's loss.
### BEGIN HIDDEN TESTS
def _run(check):
    """Run a check with Python's own functions and the usual modules, whatever
    `import *` has put in their place.
    """
    import builtins
    import types

    import math

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
loss = loss_for_discriminator(torch.zeros(3), torch.zeros(5))
assert type(loss) is Tensor, f"the loss must be a tensor, not {type(loss)}"
assert loss.shape == (), (
    f"the loss must be a single number: shape (), not {tuple(loss.shape)}"
)
assert abs(loss.item() - 2 * math.log(2)) < 1e-6, (
    "a discriminator that does not know (logits 0) loses 2 log 2 nats"
)


### BEGIN HIDDEN TESTS
def _check():
    from torch.distributions import Bernoulli

    for reals, fakes in [
        ([1.3], [0.4]),
        ([2.0, -1.0, 0.5], [-3.0, 0.7]),
        ([-200.0, 200.0], [200.0, -200.0, 1.0]),
    ]:
        real, fake = (torch.tensor(logits) for logits in (reals, fakes))
        expected = -Bernoulli(logits=real).log_prob(torch.ones(len(real))).mean()
        expected -= Bernoulli(logits=fake).log_prob(torch.zeros(len(fake))).mean()
        real.requires_grad_(), fake.requires_grad_()
        loss = loss_for_discriminator(real, fake)
        assert loss.shape == (), f"one number, not shape {tuple(loss.shape)}"
        assert abs(loss.item() - expected.item()) < 1e-4 * (1 + expected.item()), (
            f"logits {reals} and {fakes}: the loss is {expected:.4f}, not "
            f"{loss:.4f}"
        )
        loss.backward()
        for logits, trust in ((real, real.detach().sigmoid() - 1), (fake, None)):
            trust = logits.detach().sigmoid() if trust is None else trust
            torch.testing.assert_close(
                logits.grad, trust / len(logits), rtol=1e-4, atol=1e-5
            )


_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": false, "grade_id": "gloss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def losses_for_generator(fake_logits):
    """Return the generator's two losses in nats: the saturating and the
    non-saturating one.

    fake_logits: (m,), the logits of m generated pictures. Returns a tuple of two
    scalars, each to be minimised; means over the batch, finite for any logit, and
    gradients pass from them to the logits.
    """
    ### BEGIN SOLUTION
    return -F.softplus(fake_logits).mean(), F.softplus(-fake_logits).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "gloss-value", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 1b (2 points): the generator's two losses.
saturating, non_saturating = losses_for_generator(torch.zeros(5))
both = [("saturating", saturating, -1), ("non-saturating", non_saturating, 1)]
for name, loss, expected in both:
    assert type(loss) is Tensor, (
        f"the {name} loss must be a tensor, not {type(loss)}"
    )
    assert loss.shape == (), (
        f"the {name} loss must be a single number: "
        f"shape (), not {tuple(loss.shape)}"
    )
    assert abs(loss.item() - expected * math.log(2)) < 1e-6, (
        f"the {name} loss at logits of 0 is wrong: {loss:.4f}"
    )


### BEGIN HIDDEN TESTS
def _check():
    from torch.distributions import Bernoulli

    for fakes in ([0.4], [-3.0, 0.7, 1.0], [200.0, -200.0, 1.0]):
        fake = torch.tensor(fakes)
        judge, trust, count = Bernoulli(logits=fake), fake.sigmoid(), len(fake)
        values = [
            judge.log_prob(torch.zeros(count)).mean().item(),
            -judge.log_prob(torch.ones(count)).mean().item(),
        ]
        fake.requires_grad_()
        for name, loss, expected, gradient in zip(
            ("saturating", "non-saturating"),
            losses_for_generator(fake),
            values,
            (-trust, trust - 1),
            strict=True,
        ):
            assert loss.shape == (), f"one number, not shape {tuple(loss.shape)}"
            assert abs(loss.item() - expected) < 1e-4 * (1 + abs(expected)), (
                f"logits {fakes}: the {name} loss is {expected:.4f}, not {loss:.4f}"
            )
            (found,) = torch.autograd.grad(loss, fake, retain_graph=True)
            torch.testing.assert_close(
                found, gradient / count, rtol=1e-4, atol=1e-5
            )


_run(_check)
### END HIDDEN TESTS


# %% [markdown]
# Both losses want the same, and yet the choice decides whether the generator learns at all. All it hears about its
# picture comes through the derivative of the loss with respect to the logit of that picture. Derive it on paper for
# both losses of a *single* picture, $\log(1 - D)$ and $-\log D$ with $D = \operatorname{sigmoid}(\ell)$; the answers
# are short. Then write them down as code. For a logit of 20, `1 - torch.sigmoid(logit)` is exactly 0 in single
# precision, although the true value is not: find a form without such a difference.


# %% nbgrader={"grade": false, "grade_id": "slopes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generator_slopes(fake_logits):
    """Return the derivatives of the generator's two losses of each picture with
    respect to the logit of that picture.

    fake_logits: (batch,), the logits l of generated pictures. Returns (saturating,
    non_saturating), each (batch,): d/dl log(1 - D) and d/dl (-log D), where D =
    sigmoid(l); no mean over the batch. Tiny values keep their digits: the relative
    error is below 0.001 for |l| up to 40.
    """
    ### BEGIN SOLUTION
    return -torch.sigmoid(fake_logits), -torch.sigmoid(-fake_logits)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "slopes-value", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1c (1 point): both derivatives.
saturating, non_saturating = generator_slopes(torch.zeros(3))
# the two losses agree where D = 1/2 ...
half = torch.full((3,), -0.5)
torch.testing.assert_close(saturating, half, check_dtype=False)
torch.testing.assert_close(non_saturating, half, check_dtype=False)
saturating, non_saturating = generator_slopes(torch.tensor([-3.0, 3.0]))
# ... and mirror each other around it
torch.testing.assert_close(saturating, non_saturating.flip(0), check_dtype=False)


### BEGIN HIDDEN TESTS
def _check():
    values = [-40.0, -20.0, -3.0, -0.7, 0.0, 1.0, 5.0, 20.0, 40.0]
    saturating, non_saturating = generator_slopes(torch.tensor(values))
    assert saturating.shape == non_saturating.shape == (len(values),), (
        f"{len(values)} pictures have that many slopes"
    )
    for value, first, second in zip(
        values, saturating.tolist(), non_saturating.tolist(), strict=True
    ):
        assert abs(first * (1 + math.exp(-value)) + 1) < 1e-3, (
            f"the slope of the saturating loss at a logit of {value} is not {first}"
        )
        assert abs(second * (1 + math.exp(value)) + 1) < 1e-3, (
            f"the slope of the other loss at a logit of {value} is not {second}"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# At the start of training the discriminator has an easy time: the logits of generated pictures are far below 0.
# Decide, before you run the next cell, which of the two losses still teaches the generator something there.

# %%
logits = torch.tensor([-12.0, -6.0, 0.0, 6.0])
print("  logit  saturating  non-saturating")
for row in zip(logits, *generator_slopes(logits), strict=True):
    print("{:7.0f}{:12.6f}{:16.6f}".format(*row))

# %% [markdown]
# ## 2. Whose gradient is it? (4 points)
#
# The two players share one computation: noise passes through $G$, the picture passes through $D$, and a loss comes
# out. `loss.backward()` sends gradients back along the whole way, to both. But each player must learn from its own
# loss only. So two things are to be arranged:
#
# - In the **discriminator's** turn the generated pictures are data. `tensor.detach()` gives the same numbers without
#   their history; then no gradient can reach $G$.
# - In the **generator's** turn the way to $G$ leads *through* $D$: cut it, and the generator learns nothing. $D$ has to
#   take part in the computation, and yet its weights must not collect the gradient of the other player's loss.
#   `loss.backward(inputs=[…])` writes gradients to the listed tensors alone.
#
# In many programs the second point is skipped and $D$'s gradients are cleared later. That works as long as nobody
# forgets to clear them; question 6 shows what happens then.
#
# Below is a small pair of players: noise of 2 numbers, pictures of 16 pixels.


# %% nbgrader={"grade": false, "grade_id": "players", "locked": true, "schema_version": 3, "solution": false, "task": false}
def players(seed=0):
    """Return a generator, from (batch, 2) to (batch, 16), and a discriminator, from
    (batch, 16) to logits (batch,).
    """
    torch.manual_seed(seed)
    generator = nn.Sequential(nn.Linear(2, 16), nn.Tanh())
    discriminator = nn.Sequential(
        nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 1), nn.Flatten(0)
    )
    return generator, discriminator


# %% [markdown]
# Write the discriminator's turn, up to the gradients; no weight is changed yet. You may call your functions of earlier
# questions, here and below. A check is passed if it is passed with them or with correct versions in their place, so
# that no mistake costs you points twice.


# %% nbgrader={"grade": false, "grade_id": "dstep", "locked": false, "schema_version": 3, "solution": true, "task": false}
def discriminator_backward(generator, discriminator, x, z):
    """Compute the gradients of the discriminator's loss for the discriminator's
    weights only; return the loss.

    x: (batch, 16), real pictures in [-1, 1]. z: (batch, 2), noise. Before the call,
    `.grad` of the discriminator's weights is None; after it, it holds the gradient
    of the loss. The generator's weights and their `.grad` stay as they are,
    whatever they are, and no weight changes. Returns the discriminator's loss of
    question 1, a scalar detached from its graph.
    """
    ### BEGIN SOLUTION
    fake = generator(z).detach()
    loss = loss_for_discriminator(discriminator(x), discriminator(fake))
    loss.backward()
    return loss.detach()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "dstep-own", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 2a (1 point): the discriminator gets the gradients of its loss.
### BEGIN HIDDEN TESTS
# A mistake in question 1 is not punished here and in the cells below: a check is
# passed if it is passed with these functions or with the student's own.
def _loss_for_discriminator(real_logits, fake_logits):
    return -F.logsigmoid(real_logits).mean() - F.logsigmoid(-fake_logits).mean()


def _losses_for_generator(fake_logits):
    return F.logsigmoid(-fake_logits).mean(), -F.logsigmoid(fake_logits).mean()


_losses = {
    "loss_for_discriminator": _loss_for_discriminator,
    "losses_for_generator": _losses_for_generator,
}


def _check():
    for seed in range(3):
        generator, discriminator = players(seed)
        draw = torch.Generator().manual_seed(seed)
        x, z = (
            torch.randn(6, 16, generator=draw).tanh(),
            torch.randn(6, 2, generator=draw),
        )
        weights, before = (
            list(discriminator.parameters()),
            [p.detach().clone() for p in discriminator.parameters()],
        )
        fake = generator(z).detach()
        expected = (
            F.softplus(-discriminator(x)).mean()
            + F.softplus(discriminator(fake)).mean()
        )
        gradients = torch.autograd.grad(expected, weights)
        loss = discriminator_backward(generator, discriminator, x, z)
        assert abs(float(loss) - expected.item()) < 1e-5, (
            f"the loss is {expected:.4f}, not {loss:.4f}"
        )
        for weight, old, gradient in zip(weights, before, gradients, strict=True):
            assert torch.equal(weight.detach(), old), "a weight was changed"
            torch.testing.assert_close(weight.grad, gradient, rtol=1e-4, atol=1e-6)


_choose(_check, **_losses)
### END HIDDEN TESTS
generator, discriminator = players()
loss = discriminator_backward(
    generator, discriminator, torch.ones(4, 16), torch.ones(4, 2)
)
assert not getattr(loss, "requires_grad", False), (
    "return the loss without its graph: loss.detach()"
)
assert abs(float(loss) - 2 * math.log(2)) < 1, (
    f"a loss of {loss:.3f}? An untrained discriminator loses about 1.4 nats"
)
assert all(p.grad is not None for p in discriminator.parameters()), (
    "the discriminator got no gradient"
)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "dstep-other", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 2b (1 point): the generator's .grad stays as it was.
### BEGIN HIDDEN TESTS
def _check():
    generator, discriminator = players(1)
    before = [p.detach().clone() for p in generator.parameters()]
    discriminator_backward(
        generator, discriminator, torch.ones(4, 16), torch.ones(4, 2)
    )
    for weight, old in zip(generator.parameters(), before, strict=True):
        assert weight.grad is None, "a gradient reached the generator"
        assert torch.equal(weight.detach(), old), "a weight was changed"
    assert all(
        p.requires_grad
        for p in [*generator.parameters(), *discriminator.parameters()]
    ), "a player was frozen"
    assert generator.training, "the generator was left in another mode"


_choose(_check, **_losses)
### END HIDDEN TESTS
generator, discriminator = players()
for weight in generator.parameters():
    weight.grad = torch.full_like(weight, 7.0)
discriminator_backward(
    generator, discriminator, torch.ones(4, 16), torch.ones(4, 2)
)
assert any(p.grad is not None for p in discriminator.parameters()), (
    "nobody got a gradient"
)
for weight in generator.parameters():
    assert weight.grad is not None, "the generator's .grad was thrown away"
    assert (weight.grad == 7).all(), (
        "the discriminator's loss changed the generator's .grad"
    )
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now the generator's turn, with the **non-saturating** loss.


# %% nbgrader={"grade": false, "grade_id": "gstep", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generator_backward(generator, discriminator, z):
    """Compute the gradients of the generator's non-saturating loss for the
    generator's weights only; return the loss.

    z: (batch, 2), noise. Before the call, `.grad` of the generator's weights is
    None; after it, it holds the gradient of the loss. The discriminator's weights
    and their `.grad` stay as they are, whatever they are, and no weight changes.
    Afterwards both players can still be trained (`requires_grad` is True for all
    weights). Returns the loss, a scalar detached from its graph.
    """
    ### BEGIN SOLUTION
    _, loss = losses_for_generator(discriminator(generator(z)))
    loss.backward(inputs=list(generator.parameters()))
    return loss.detach()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "gstep-own", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 2c (1 point): the generator gets the gradients of its loss.
### BEGIN HIDDEN TESTS
def _check():
    for seed in range(3):
        generator, discriminator = players(seed)
        z = torch.randn(6, 2, generator=torch.Generator().manual_seed(seed))
        weights, before = (
            list(generator.parameters()),
            [p.detach().clone() for p in generator.parameters()],
        )
        expected = F.softplus(-discriminator(generator(z))).mean()
        gradients = torch.autograd.grad(expected, weights)
        loss = generator_backward(generator, discriminator, z)
        assert abs(float(loss) - expected.item()) < 1e-5, (
            f"the loss is {expected:.4f}, not {loss:.4f}"
        )
        for weight, old, gradient in zip(weights, before, gradients, strict=True):
            assert torch.equal(weight.detach(), old), "a weight was changed"
            torch.testing.assert_close(weight.grad, gradient, rtol=1e-4, atol=1e-6)


_choose(_check, **_losses)
### END HIDDEN TESTS
generator, discriminator = players()
loss = generator_backward(generator, discriminator, torch.ones(4, 2))
assert not getattr(loss, "requires_grad", False), (
    "return the loss without its graph: loss.detach()"
)
assert abs(float(loss) - math.log(2)) < 1, (
    f"a loss of {loss:.3f}? Against an untrained discriminator it is about 0.7"
)
assert all(p.grad is not None for p in generator.parameters()), (
    "the generator got no gradient"
)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "gstep-other", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 2d (1 point): the discriminator's .grad stays as it was.
### BEGIN HIDDEN TESTS
def _check():
    generator, discriminator = players(1)
    before = [p.detach().clone() for p in discriminator.parameters()]
    generator_backward(generator, discriminator, torch.ones(4, 2))
    for weight, old in zip(discriminator.parameters(), before, strict=True):
        assert weight.grad is None, "a gradient reached the discriminator"
        assert torch.equal(weight.detach(), old), "a weight was changed"
    assert all(
        p.requires_grad
        for p in [*generator.parameters(), *discriminator.parameters()]
    ), "a player was frozen"
    assert discriminator.training, "the discriminator was left in another mode"


_choose(_check, **_losses)
### END HIDDEN TESTS
generator, discriminator = players()
for weight in discriminator.parameters():
    weight.grad = torch.full_like(weight, 7.0)
generator_backward(generator, discriminator, torch.ones(4, 2))
assert any(p.grad is not None for p in generator.parameters()), (
    "nobody got a gradient"
)
for weight in discriminator.parameters():
    assert weight.grad is not None, "the discriminator's .grad was thrown away"
    assert (weight.grad == 7).all(), (
        "the generator's loss changed the discriminator's .grad"
    )
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 3. The best discriminator (4 points)
#
# Hold the generator fixed. Real pictures have the density $p(x)$, generated ones the density $q(x)$. The value of the
# game is minus the discriminator's loss:
#
# $$V(D) = \mathbb{E}_{x \sim p}\bigl[\log D(x)\bigr] + \mathbb{E}_{x \sim q}\bigl[\log\bigl(1 - D(x)\bigr)\bigr].$$
#
# Were $D$ free to take any value at every $x$, which value would be best? Each $x$ can be treated on its own: find on
# paper the $d$ between 0 and 1 that maximises $p \log d + q \log(1 - d)$. The answer $D^*(x)$ is a function of the two
# densities alone.
#
# Densities of pictures are products of many factors, as small as $e^{-1000}$, which single precision rounds to zero.
# So your function gets their logarithms, and must find its answer without leaving the logarithmic scale. Hint: which
# logit does $D^*$ have?


# %% nbgrader={"grade": false, "grade_id": "optimal", "locked": false, "schema_version": 3, "solution": true, "task": false}
def optimal_discriminator(log_p, log_q):
    """Return D*(x), the best discriminator's probability that x is real, for the
    densities p (real) and q (generated).

    log_p, log_q: tensors of one shape, the logarithms of p(x) and q(x) at the same
    points; any finite numbers, and one of the two may also be minus infinity.
    Returns a tensor of that shape with values from 0 to 1.
    """
    ### BEGIN SOLUTION
    return torch.sigmoid(log_p - log_q)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "optimal-value", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3a (1 point): the value of D*.
best = optimal_discriminator(
    torch.tensor([0.2, 0.1, 0.1]).log(), torch.tensor([0.2, 0.3, 0.0]).log()
)
assert type(best) is Tensor, f"the answer must be a tensor, not {type(best)}"
assert best.shape == (3,), (
    f"three points have three answers: shape (3,), not {tuple(best.shape)}"
)
assert abs(best[0].item() - 0.5) < 1e-6, (
    "where p = q, nobody can tell real from generated"
)
assert abs(best[2].item() - 1) < 1e-6, "what the generator never makes is real"


### BEGIN HIDDEN TESTS
def _check():
    from torch.distributions import Normal

    x = torch.linspace(-2, 3, 12).reshape(3, 4)
    for p, q in [
        (Normal(0.0, 1.0), Normal(1.0, 1.0)),
        (Normal(0.0, 0.7), Normal(0.5, 1.5)),
    ]:
        log_p, log_q = p.log_prob(x), q.log_prob(x)
        best = optimal_discriminator(log_p, log_q)
        right = log_p.exp() / (log_p.exp() + log_q.exp())
        torch.testing.assert_close(
            best, right, rtol=1e-4, atol=1e-5, check_dtype=False
        )
        # No other answer has a higher value, at any of the points.
        for d in torch.linspace(0.01, 0.99, 50):
            gain = log_p.exp() * (best.log() - d.log()) + log_q.exp() * (
                (1 - best).log() - (1 - d).log()
            )
            assert (gain > -1e-6).all(), f"an answer of {d:.2f} has a higher value"


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "optimal-stable", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3b (1 point): densities that are too small, or too large, to be represented.
best = optimal_discriminator(
    torch.tensor([-1000.0, 1000.0]), torch.tensor([-1000.0, 1000.0])
)
assert best.isfinite().all(), (
    f"D* of two equal densities must be a number, not {best.tolist()}"
)


### BEGIN HIDDEN TESTS
def _check():
    # Only ratios matter, so a common factor changes nothing: this holds for a wrong
    # formula too.
    log_p, log_q = (
        torch.tensor([-0.5, 1.0, 3.0, -2.0]),
        torch.tensor([0.5, -1.0, 2.5, 2.0]),
    )
    moderate = optimal_discriminator(log_p, log_q)
    assert moderate.std() > 0.01, "the answer must depend on the densities"
    for factor in (-1000.0, -100.0, 100.0, 1000.0):
        scaled = optimal_discriminator(log_p + factor, log_q + factor)
        torch.testing.assert_close(
            scaled, moderate, rtol=1e-3, atol=1e-4, check_dtype=False
        )
    # Ratios as large as e^400 are answered with 0 and 1, and not with something
    # else.
    extreme = optimal_discriminator(
        torch.tensor([400.0, -400.0, -math.inf]), torch.tensor([0.0, 0.0, -800.0])
    )
    assert extreme.min().item() < 1e-6, "a ratio of e^400 is not answered with 0"
    assert abs(extreme.max().item() - 1) < 1e-6, "nor with 1"
    assert ((extreme < 1e-6) | (extreme > 1 - 1e-6)).all(), (
        f"ratios of e^400 and more have the answers 0 and 1, not {extreme.tolist()}"
    )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# What is the game worth against this discriminator? Put $D^*$ into $V$ and compare the result with the Jensen–Shannon
# divergence, which says how far $p$ and $q$ are from their mixture $m = (p + q)/2$:
#
# $$\operatorname{JSD}(p, q) = \tfrac12 \operatorname{KL}(p \,\|\, m) + \tfrac12 \operatorname{KL}(q \,\|\, m).$$
#
# Show on paper that $V(D^*) = 2 \operatorname{JSD}(p, q) - \log 4$. So the generator, in lowering $V$, brings $q$
# closer to $p$, and the lowest value, $-\log 4$, is reached for $q = p$ only.
#
# The function below gives the divergence of two *discrete* distributions, in which every outcome has a probability
# above zero. Expectations are then finite sums, $\mathbb{E}_p[f] = \sum_k p_k f_k$.


# %% nbgrader={"grade": false, "grade_id": "jensen-shannon", "locked": true, "schema_version": 3, "solution": false, "task": false}
def jensen_shannon(log_p, log_q):
    """Return the Jensen-Shannon divergence of two discrete distributions in nats;
    log_p, log_q: (outcomes,).
    """
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    return (
        0.5 * (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum()
    )


# %% [markdown]
# Compute $V(D^*)$ from its definition. Two things want care. An outcome with probability zero contributes nothing
# ($0 \log 0$ counts as 0), while `0 * -inf` is not a number to the computer; `torch.xlogy` and `torch.where` know ways
# around it. And where $D^*$ rounds to 1, $1 - D^*$ is 0, though its true value $q / (p + q)$ is not.


# %% nbgrader={"grade": false, "grade_id": "value", "locked": false, "schema_version": 3, "solution": true, "task": false}
def value_at_optimum(log_p, log_q):
    """Return V(D*) in nats, the value of the game against the best discriminator,
    for two discrete distributions.

    log_p, log_q: (outcomes,), the logarithms of the probabilities of real and of
    generated outcomes. A probability may be zero (its logarithm is then minus
    infinity) or tiny; every outcome is possible under at least one of the two.
    Returns a scalar.
    """
    ### BEGIN SOLUTION
    real = torch.xlogy(log_p.exp(), optimal_discriminator(log_p, log_q))
    # 1 - D* is D* with the roles exchanged
    fake = torch.xlogy(log_q.exp(), optimal_discriminator(log_q, log_p))
    return (real + fake).sum()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "value-common", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3c (1 point): distributions without zeros, where V(D*) = 2 JSD - log 4.
### BEGIN HIDDEN TESTS
# A mistake in D* is not punished here and in the next cell.
def _optimal_discriminator(log_p, log_q):
    return torch.sigmoid(log_p - log_q)


_best = {"optimal_discriminator": _optimal_discriminator}


def _check():
    draw = torch.Generator().manual_seed(3)
    for outcomes in (2, 5, 40):
        log_p, log_q = torch.randn(
            2, outcomes, generator=draw, dtype=torch.float64
        ).log_softmax(dim=1)
        best = log_p.exp() / (log_p.exp() + log_q.exp())
        expected = (log_p.exp() * best.log() + log_q.exp() * (1 - best).log()).sum()
        found = value_at_optimum(log_p, log_q)
        assert abs(found.item() - expected.item()) < 1e-4, (
            f"{outcomes} outcomes: the value is {expected:.4f}, not {found:.4f}"
        )


_choose(_check, **_best)
### END HIDDEN TESTS
log_p, log_q = (
    torch.tensor([0.1, 0.2, 0.7]).log(),
    torch.tensor([0.5, 0.3, 0.2]).log(),
)
value = value_at_optimum(log_p, log_q)
assert type(value) is Tensor, f"the value must be a tensor, not {type(value)}"
assert value.shape == (), (
    f"the value must be a single number: shape (), not {tuple(value.shape)}"
)
assert abs(value_at_optimum(log_p, log_p).item() + math.log(4)) < 1e-5, (
    "a perfect generator brings V down to -log 4"
)
right = 2 * jensen_shannon(log_p, log_q) - math.log(4)
torch.testing.assert_close(value, right, check_dtype=False)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "value-extreme", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3d (1 point): outcomes that only one of the two distributions knows, and
# outcomes that are very rare.
### BEGIN HIDDEN TESTS
def _check():
    # A tiny probability is as good as none. The function is compared with itself,
    # so a wrong formula loses nothing.
    p, q = torch.tensor([0.5, 0.3, 0.0, 0.2]), torch.tensor([0.0, 0.4, 0.6, 0.0])
    without_zeros, other = (
        value_at_optimum(each.clamp(min=1e-5).log(), q.clamp(min=1e-5).log()).item()
        for each in (p, q)
    )
    assert abs(without_zeros - other) > 0.01, "always the same?"
    found = value_at_optimum(p.log(), q.log()).item()
    assert abs(found - without_zeros) < 0.01, (
        f"zeros instead of 0.00001 change the value from {without_zeros} to {found}"
    )
    for tiny in (-20.0, -50.0, -120.0):  # 1 - D* rounds to 0, then q itself does
        log_p, log_q = p.log().clamp(min=tiny), q.log().clamp(min=tiny)
        found = value_at_optimum(log_p, log_q).item()
        assert abs(found - without_zeros) < 0.01, (
            f"probabilities of e^{tiny} change the value to {found}"
        )


_choose(_check, **_best)
### END HIDDEN TESTS
never = -math.inf
value = value_at_optimum(torch.tensor([0.0, never]), torch.tensor([never, 0.0]))
assert value.isfinite(), (
    f"two distributions without a common outcome have a value, not {value}"
)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now slide one distribution away from the other and watch the value. What can a generator learn from it, once the
# two no longer overlap?

# %%
for shift in range(6):
    p, q = torch.zeros(2, 8)
    p[:2], q[shift : shift + 2] = 0.5, 0.5
    possible = p + q > 0
    value = value_at_optimum(p[possible].log(), q[possible].log())
    print(
        f"moved by {shift}: V(D*) = {value:.3f}, "
        f"JSD = {(value + math.log(4)) / 2:.3f} of at most {math.log(2):.3f}"
    )

# %% [markdown]
# ## 4. Layers that fit (4 points)
#
# A generator that makes pictures of one size and a discriminator that takes another cannot play. Sizes can be worked
# out before any code runs ([Dumoulin and Visin, 2016](https://arxiv.org/abs/1603.07285) draw every case). Along one
# axis:
#
# - A **convolution** puts `padding` zeros at *each* end, lays its kernel of `kernel` places at the beginning, and moves
#   it on by `stride` places for as long as it fits. Each position gives one output.
# - A **transposed convolution** goes the other way. Each input is spread out over `kernel` places; the next input's
#   places begin `stride` further on; where they overlap, they add up. `padding` places are then cut off at *each* end,
#   and `output_padding` places are added at one end.
#
# Draw an axis of 6 places, a kernel of 3 and a stride of 2, and count. Then write both rules as a function.


# %% nbgrader={"grade": false, "grade_id": "size", "locked": false, "schema_version": 3, "solution": true, "task": false}
def output_size(
    size, kernel, stride=1, padding=0, output_padding=0, transposed=False
):
    """Return the size that a convolution, or a transposed one, makes of an axis
    with `size` places.

    All arguments but `transposed` are integers, and the kernel fits.
    `output_padding` matters only if `transposed`. Returns an int, what nn.Conv3d(…,
    kernel, stride, padding), or nn.ConvTranspose3d(…, kernel, stride, padding,
    output_padding) if `transposed`, would make of each of its axes.
    """
    ### BEGIN SOLUTION
    if transposed:
        return (size - 1) * stride + kernel - 2 * padding + output_padding
    return (size + 2 * padding - kernel) // stride + 1
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "trace", "locked": true, "schema_version": 3, "solution": false, "task": false}
def trace(layers, size, transposed):
    """Return the sizes of a cube after each of the layers (tuples), measured by
    nn.Conv3d or its transpose.

    On the meta device tensors have shapes but no numbers, so nothing is computed.
    Channels don't influence the size.
    """
    kind = nn.ConvTranspose3d if transposed else nn.Conv3d
    picture, sizes = torch.empty(1, 1, size, size, size, device="meta"), [size]
    for layer in layers:
        picture = kind(1, 1, *layer, device="meta")(picture)
        sizes.append(picture.shape[-1])
    return sizes


# %% nbgrader={"grade": true, "grade_id": "size-conv", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4a (1 point): the convolution.
assert output_size(6, kernel=3) == 4, "a kernel of 3 has 4 positions on 6 places"
for layer in [(3, 2, 0), (4, 2, 1)]:
    found, right = output_size(28, *layer), trace([layer], 28, transposed=False)[-1]
    assert found == right, (
        f"(kernel, stride, padding) = {layer}: 28 becomes {right}, not {found}"
    )


### BEGIN HIDDEN TESTS
def _check():
    cases = [
        (s, k, d, p)
        for s in (7, 10, 28)
        for k in (1, 3, 4, 7)
        for d in (1, 2, 3, 5)
        for p in (0, 1, 2)
    ]
    for size, kernel, stride, padding in cases:
        # As a convolution slides: count the positions.
        right = len(range(0, size + 2 * padding - kernel + 1, stride))
        found = output_size(size, kernel, stride, padding)
        assert type(found) is int, f"a size is an int, not {found!r}"
        what = f"{size} places, kernel {kernel}, stride {stride}, padding {padding}"
        assert found == right, f"{what}: {right}, not {found}"
        assert output_size(size, kernel, stride, padding, 1) == right, (
            "output_padding is for transposed convolutions"
        )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "size-transposed", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4b (1 point): the transposed convolution.
assert output_size(6, kernel=3, transposed=True) == 8, (
    "6 inputs, each spread out over 3 places, cover 8"
)
for layer in [(3, 2, 0, 0), (4, 2, 1, 0), (3, 2, 1, 1)]:
    found, right = (
        output_size(7, *layer, transposed=True),
        trace([layer], 7, transposed=True)[-1],
    )
    assert found == right, (
        f"(kernel, stride, padding, output_padding) = {layer}: "
        f"7 becomes {right}, not {found}"
    )


### BEGIN HIDDEN TESTS
def _check():
    cases = [
        (s, k, d, p)
        for s in (1, 4, 7)
        for k in (3, 4, 7)
        for d in (1, 2, 3)
        for p in (0, 1)
    ]
    for size, kernel, stride, padding in cases:
        for output_padding in range(stride):
            covered = max(stride * i + kernel for i in range(size))
            found = output_size(
                size, kernel, stride, padding, output_padding, transposed=True
            )
            assert type(found) is int, f"a size is an int, not {found!r}"
            right = covered - 2 * padding + output_padding
            what = f"{size} inputs, kernel {kernel}, stride {stride}"
            assert found == right, (
                f"{what}, padding {padding}: {right}, not {found}"
            )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# The same rules hold for each axis of a solid. Now choose layers for objects of 45×45×45 **voxels**, the pixels of
# three-dimensional pictures. The generator begins with its noise as a picture of a single place, 1×1×1, and enlarges
# it step by step. The discriminator takes 45×45×45 and ends at 1×1×1, its logit.
#
# To keep the networks sensible, every layer has a kernel of at most 7 places and a stride no larger than the kernel:
# else it would leave gaps between its outputs, or skip over some of its inputs.


# %% nbgrader={"grade": false, "grade_id": "layers", "locked": false, "schema_version": 3, "solution": true, "task": false}
def choose_layers():
    """Return the layers of a generator from 1 x 1 x 1 to 45 x 45 x 45 and of a
    discriminator from 45 x 45 x 45 to 1 x 1 x 1.

    Returns two lists. The generator's holds (kernel, stride, padding,
    output_padding) for each transposed convolution, the discriminator's (kernel,
    stride, padding) for each convolution. In both there are at least three layers,
    every one changes the size (the generator's enlarge, the discriminator's
    reduce), and stride <= kernel <= 7.
    """
    ### BEGIN SOLUTION
    generator = [(5, 1, 0, 0), (5, 3, 1, 0), (5, 3, 1, 0)]  # 1 -> 5 -> 15 -> 45
    discriminator = [(5, 3, 1), (5, 3, 1), (5, 1, 0)]  # 45 -> 15 -> 5 -> 1
    return generator, discriminator
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "layers-generator", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4c (1 point): the generator's layers.
sizes = trace(choose_layers()[0], 1, transposed=True)
print("the generator:", " → ".join(map(str, sizes)))
assert sizes[-1] == 45, f"the generator ends at a size of {sizes[-1]}, not 45"


### BEGIN HIDDEN TESTS
def _check():
    layers = choose_layers()[0]
    assert len(layers) >= 3, f"{len(layers)} layers are fewer than three"
    assert all(len(layer) == 4 and layer[1] <= layer[0] <= 7 for layer in layers), (
        f"not 4 numbers for each layer, with stride <= kernel <= 7: {layers}"
    )
    sizes = trace(layers, 1, transposed=True)
    assert sizes == sorted(set(sizes)), "every layer must enlarge the picture"


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "layers-discriminator", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4d (1 point): the discriminator's layers.
sizes = trace(choose_layers()[1], 45, transposed=False)
print("the discriminator:", " → ".join(map(str, sizes)))
assert sizes[-1] == 1, (
    f"the discriminator ends at a size of {sizes[-1]}, not at a single logit"
)


### BEGIN HIDDEN TESTS
def _check():
    layers = choose_layers()[1]
    assert len(layers) >= 3, f"{len(layers)} layers are fewer than three"
    assert all(len(layer) == 3 and layer[1] <= layer[0] <= 7 for layer in layers), (
        f"not 3 numbers for each layer, with stride <= kernel <= 7: {layers}"
    )
    sizes = trace(layers, 45, transposed=False)
    assert sizes == sorted(set(sizes), reverse=True), (
        "every layer must reduce the picture"
    )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 5. The gradient penalty (3 points)
#
# In question 3 the value stood still as soon as the two distributions had nothing in common. The Wasserstein GAN asks
# instead how far the one must be moved to become the other. Its critic $f$ gives scores, not probabilities, and may
# not be steeper than 1 anywhere. [Gulrajani et al. (2017)](https://arxiv.org/abs/1704.00028) see to that with a
# penalty: between a real picture $x_i$ and a generated one $\tilde x_i$ pick a point at random, and charge for every
# deviation of the slope from 1,
#
# $$\hat x_i = u_i x_i + (1 - u_i)\, \tilde x_i, \quad u_i \sim U(0, 1), \qquad
# \frac1n \sum_{i=1}^n \bigl(\lVert \nabla_{\hat x_i} f(\hat x_i) \rVert_2 - 1\bigr)^2.$$
#
# Each example has its own $u_i$, a single number for all its pixels. The norm runs over all numbers of one picture and
# never over the batch. The penalty is part of the critic's loss, so it must be possible to differentiate it once more,
# with respect to the critic's weights: read what `torch.autograd.grad` says about `create_graph`.
#
# Scores of different pictures don't influence each other. So the gradient of the *sum* of all scores with respect to
# the batch holds, row by row, the gradient of every score with respect to its own picture.


# %% nbgrader={"grade": false, "grade_id": "penalty", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gradient_penalty(critic, real, fake, mix=None, generator=None):
    """Return the mean over the batch of (norm of the critic's gradient at x_hat -
    1)^2, differentiable once more.

    critic: a function from pictures (batch, …) to scores (batch,). real, fake:
    (batch, …), with any number of axes.
    mix: (batch,), the u of each example, or None; None means: draw them from U(0,
    1) here, with `generator`, which torch.rand takes and which may be None. x_hat =
    u * real + (1 - u) * fake. The `.grad` of the critic's weights stays as it is.
    """
    ### BEGIN SOLUTION
    if mix is None:
        mix = torch.rand(len(real), generator=generator, dtype=real.dtype)
    mix = mix.reshape(-1, *[1] * (real.ndim - 1))
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(
        critic(between).sum(), between, create_graph=True
    )
    return ((gradient.flatten(start_dim=1).norm(dim=1) - 1) ** 2).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "penalty-points", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5a (1 point): points between. This critic's slope at x_hat is x_hat itself.
def parabola(x):
    return (x**2 / 2).flatten(start_dim=1).sum(dim=1)


real, fake = torch.full((2, 1), 5.0), torch.full((2, 1), 3.0)
mix, between = torch.tensor([0.25, 1.0]), torch.tensor([[3.5], [5.0]])
found = gradient_penalty(parabola, real, fake, mix)
# mixing a picture with itself gives the picture
expected = gradient_penalty(parabola, between, between, mix)
torch.testing.assert_close(found, expected, check_dtype=False)


### BEGIN HIDDEN TESTS
def _check():
    # The function is compared with itself at points mixed here, so a wrong norm
    # loses nothing.
    draw = torch.Generator().manual_seed(5)
    for shape in [(4, 3), (4, 1, 4, 4), (6, 3, 2, 5)]:
        real, fake = 3 * torch.randn(2, *shape, generator=draw, dtype=torch.float64)
        mix = torch.rand(shape[0], generator=draw, dtype=torch.float64)
        weight = mix.reshape(-1, *[1] * (len(shape) - 1))
        between = weight * real + (1 - weight) * fake
        found = gradient_penalty(parabola, real, fake, mix).detach()
        torch.testing.assert_close(
            found,
            gradient_penalty(parabola, between, between, mix).detach(),
            rtol=1e-4,
            atol=1e-5,
            check_dtype=False,
        )
        other = gradient_penalty(parabola, real, fake, 1 - mix).detach()
        assert abs(found - other) > 1e-3, "real and fake make no difference"

    def drawn(generator_seed, global_seed):
        torch.manual_seed(global_seed)
        generator = (
            None
            if generator_seed is None
            else torch.Generator().manual_seed(generator_seed)
        )
        return gradient_penalty(
            parabola,
            5 * torch.ones(500, 1),
            torch.ones(500, 1),
            generator=generator,
        ).item()

    assert drawn(3, 0) == drawn(3, 1), "the generator alone decides"
    assert drawn(3, 0) != drawn(4, 0), "another seed must give another mixture"
    assert drawn(None, 0) != drawn(None, 1), (
        "without a generator, torch's own decides"
    )
    # One u for each example: 500 of them leave little to chance.
    evenly = gradient_penalty(
        parabola,
        5 * torch.ones(500, 1),
        torch.ones(500, 1),
        torch.linspace(0, 1, 500),
    ).item()
    for seed in (0, 1, 2, 5):
        assert abs(drawn(seed, 0) / evenly - 1) < 0.2, "u is not from U(0, 1)"


_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "penalty-norm", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5b (1 point): the norm and the mean. Here both pictures are the same, so
# mixing changes nothing.
x, mix = torch.ones(2, 1, 2, 2), torch.ones(2)
found = gradient_penalty(lambda x: 3 * x.flatten(start_dim=1).sum(dim=1), x, x, mix)
assert found.shape == (), (
    f"the penalty must be a single number: shape (), not {tuple(found.shape)}"
)
assert abs(found.item() - 25) < 1e-4, (
    "a slope of 3 at each of 4 pixels has "
    f"norm 6 and penalty 25, not {found.item()}"
)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(6)
    for shape in [(4, 4), (4, 1, 4, 4), (4, 3, 2, 4)]:
        # Slopes that differ between examples and stay the same when a picture is
        # scaled.
        x, planes = torch.randn(
            2, *shape, generator=draw, dtype=torch.float64
        ).unbind()
        planes = planes.flatten(start_dim=1)

        def critic(x, planes=planes):
            return F.relu(x.flatten(start_dim=1) @ planes.T).sum(dim=1)

        slopes = ((x.flatten(start_dim=1) @ planes.T) > 0).to(planes.dtype) @ planes
        for scale in (0.05, 1.0):  # norms below and above 1
            expected = ((scale * slopes.norm(dim=1) - 1) ** 2).mean()
            found = gradient_penalty(
                lambda x, c=critic, s=scale: s * c(x),
                x,
                x,
                torch.ones(4, dtype=x.dtype),
            )
            assert found.shape == (), f"one number, not shape {tuple(found.shape)}"
            assert abs(found.item() / expected.item() - 1) < 1e-4, (
                f"pictures {shape}: the penalty is {expected:.4f}, not {found:.4f}"
            )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "penalty-graph", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5c (1 point): the penalty teaches the critic's weights.
x, weight = torch.ones(2, 2), torch.tensor([[2.0], [1.0]], requires_grad=True)
penalty = gradient_penalty(lambda x: (x @ weight).flatten(), x, x, torch.ones(2))
assert weight.grad is None, (
    "computing the penalty must not touch .grad of the critic's weights"
)
penalty.backward()
assert weight.grad is not None, (
    "no gradient of the penalty reaches the critic's weights"
)


### BEGIN HIDDEN TESTS
def _check():
    # The gradient is compared with differences of the function's own values, so a
    # wrong norm loses nothing.
    draw = torch.Generator().manual_seed(7)
    x = torch.randn(4, 4, generator=draw, dtype=torch.float64)
    first, second = (
        torch.randn(4, n, generator=draw, dtype=torch.float64).requires_grad_()
        for n in (4, 1)
    )
    step = 1e-4 * torch.randn(4, 4, generator=draw, dtype=torch.float64)

    def penalty(first):
        return gradient_penalty(
            lambda x: ((x @ first).tanh() @ second).flatten(),
            x,
            x,
            torch.ones(4, dtype=x.dtype),
        )

    value = penalty(first)
    assert first.grad is None, "the penalty touched .grad of the critic's weights"
    assert second.grad is None, "the penalty touched .grad of the critic's weights"
    (gradient,) = torch.autograd.grad(value, first)
    difference = (
        penalty((first + step).detach()).item()
        - penalty((first - step).detach()).item()
    )
    assert abs(difference) > 1e-8, "the penalty must depend on the weights"
    assert abs((2 * gradient * step).sum().item() / difference - 1) < 1e-3, (
        "the gradient for the critic's weights is wrong"
    )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 6. Find the bug (6 points)
#
# Below is a training step for the small players of question 2. It runs, it prints losses that fall, and it has **five
# mistakes** of a kind that people really make and publish. The real pictures have 4×4 pixels between 0 (dark) and 1
# (lit), and their left, right, upper or lower half is lit. Read the step line by line before you run it: which numbers
# would you expect from a GAN that learns?


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
def faulty_step(generator, discriminator, optimisers, x, z):
    """One step of each player, with five mistakes; return the players' losses."""
    generator_optimiser, discriminator_optimiser = optimisers
    cross_entropy = F.binary_cross_entropy_with_logits
    is_real, is_fake = torch.ones(len(x)), torch.zeros(len(x))
    fake = generator(z).detach()
    discriminator_loss = cross_entropy(discriminator(x), is_real)
    discriminator_loss += cross_entropy(discriminator(fake), is_fake)
    discriminator_loss.backward()
    discriminator_optimiser.step()
    generator_loss = cross_entropy(discriminator(fake), is_fake)
    generator_loss.backward()
    generator_optimiser.zero_grad()
    generator_optimiser.step()
    return discriminator_loss.detach(), generator_loss.detach()


# %% nbgrader={"grade": false, "grade_id": "bug-patterns", "locked": true, "schema_version": 3, "solution": false, "task": false}
left = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(4, 4)
patterns = torch.stack([left, 1 - left, left.T, 1 - left.T]).flatten(start_dim=1)


def share_of_good(
    generator,
):  # of 1,000 pictures: those that are close to a pattern
    pictures = (generator(torch.randn(1000, 2)) + 1) / 2
    distances = (pictures[:, None] - patterns).abs().mean(dim=2).min(dim=1).values
    return (distances < 0.1).float().mean().item()


# %% nbgrader={"grade": false, "grade_id": "bug-demonstration", "locked": true, "schema_version": 3, "solution": false, "task": false}
def demonstrate(step):
    """Train for 300 steps; print the losses and the share of good pictures."""
    generator, discriminator = players()
    optimisers = (
        GradientDescent(generator.parameters(), 1.0),
        GradientDescent(discriminator.parameters(), 0.3),
    )
    batches = [(patterns.repeat(16, 1), torch.randn(64, 2)) for _ in range(300)]
    history = [step(generator, discriminator, optimisers, x, z) for x, z in batches]
    for when, (d, g) in (("at first", history[0]), ("at last", history[-1])):
        print(f"{when}: discriminator's loss {d:.2f}, generator's loss {g:.2f}")
    good = share_of_good(generator)
    print(f"{good:.0%} of the generated pictures look like a real one")


# %%
demonstrate(faulty_step)

# %% [markdown]
# Both losses have fallen as low as they can, and the generator draws what it drew before training.
#
# First **name the mistakes**. Of these ten statements about `faulty_step`, exactly five are true, and each of the five
# is a mistake:
#
# - **A** Real and generated pictures lie in different ranges, so the discriminator can tell them apart by that alone.
# - **B** The two cross-entropies of the discriminator's loss are added; they have to be averaged.
# - **C** `detach` in the discriminator's turn keeps the discriminator from learning.
# - **D** The discriminator's gradients are never cleared, so each step also repeats all earlier ones.
# - **E** In the generator's turn the pictures have lost their history, so no gradient reaches the generator.
# - **F** In the discriminator's loss, real pictures have the label of generated ones.
# - **G** The generator would need other noise than the discriminator saw.
# - **H** The generator's loss is small when its pictures are recognised as generated.
# - **I** The generator's gradients are cleared before they have been used.
# - **J** The generator has to make its step before the discriminator.


# %% nbgrader={"grade": false, "grade_id": "mistakes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mistakes():
    """Return the letters of the five true statements, in one string such as
    "VWXYZ"; their order does not matter.
    """
    ### BEGIN SOLUTION
    return "ADEHI"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mistakes-most", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6a (1 point): five letters, of which at least four are right.
named = mistakes()
assert type(named) is str, f"the letters must be in a string, not {named!r}"
assert len(set(named)) == len(named) == 5, f"five different letters, not {named!r}"
assert set(named) <= set("ABCDEFGHIJ"), f"letters from A to J, not {named!r}"
### BEGIN HIDDEN TESTS
assert len(set(named) & set("ADEHI")) >= 4, "fewer than four letters are right"
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "mistakes-all", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 6b (2 points): all five are right.
named = mistakes()
assert len(named) == 5, f"five letters, not {named!r}"
### BEGIN HIDDEN TESTS
assert set(named) == set("ADEHI"), "not all five letters are right"
### END HIDDEN TESTS

# %% [markdown]
# Now write a step without the five mistakes: first the discriminator's step on its loss, then the generator's on the
# **non-saturating** loss, against the discriminator as its step has left it. The generator's pictures lie between -1 and 1 (its last layer is a tanh), so the real ones
# must be brought to the same range. You may call your functions of question 1; those of question 2 are not needed here.


# %% nbgrader={"grade": false, "grade_id": "bug", "locked": false, "schema_version": 3, "solution": true, "task": false}
def training_step(generator, discriminator, optimisers, x, z):
    """Make one step of the discriminator, then one of the generator; return both
    losses.

    optimisers: the generator's and the discriminator's. Weights may come with
    `.grad` left over from earlier steps.
    x: (batch, 16), pixels in [0, 1]; stays as it is. z: (batch, 2), the noise for
    both players' steps. Returns two detached scalars in nats: the discriminator's
    loss before its step, and the generator's before its own, which is a loss
    against the discriminator after its step.
    """
    ### BEGIN SOLUTION
    generator_optimiser, discriminator_optimiser = optimisers
    fake = generator(z)
    discriminator_loss = loss_for_discriminator(
        discriminator(2 * x - 1), discriminator(fake.detach())
    )
    discriminator_optimiser.zero_grad()
    discriminator_loss.backward()
    discriminator_optimiser.step()
    _, generator_loss = losses_for_generator(discriminator(fake))
    generator_optimiser.zero_grad()
    generator_loss.backward()
    generator_optimiser.step()
    return discriminator_loss.detach(), generator_loss.detach()
    ### END SOLUTION


# %% [markdown]
# For the checks we build players by hand. `fixed_players` makes a generator that answers any noise with the value
# `fake` in every pixel, and a discriminator whose logit is `weight` times the sum of all pixels, plus `bias`. A player
# whose learning rate is 0 never changes.


# %% nbgrader={"grade": false, "grade_id": "bug-fixed-players", "locked": true, "schema_version": 3, "solution": false, "task": false}
def fixed_players(fake=0.0, weight=0.0, bias=0.0, rates=(0.0, 0.0)):
    """Return such a generator and discriminator, and optimisers of these rates."""
    generator = nn.Sequential(nn.Linear(2, 16), nn.Tanh())
    discriminator = nn.Sequential(nn.Linear(16, 1), nn.Flatten(0))
    nn.init.constant_(generator[0].weight, 0.0)
    nn.init.constant_(generator[0].bias, math.atanh(fake))
    nn.init.constant_(discriminator[0].weight, weight)
    nn.init.constant_(discriminator[0].bias, bias)
    networks = generator, discriminator
    return *networks, [
        GradientDescent(n.parameters(), rate)
        for n, rate in zip(networks, rates, strict=True)
    ]


# %% nbgrader={"grade": true, "grade_id": "bug-discriminator", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6c (1 point): the discriminator's loss and its step.
### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(8)
    x, z = torch.rand(5, 16, generator=draw), torch.randn(5, 2, generator=draw)

    def step(fake, bias):
        generator, discriminator, optimisers = fixed_players(
            fake=fake, bias=bias, rates=(0.0, 0.1)
        )
        for parameter in [*generator.parameters(), *discriminator.parameters()]:
            # left over from some earlier step
            parameter.grad = torch.full_like(parameter, 7.0)
        loss, _ = training_step(generator, discriminator, optimisers, x, z)
        return (
            float(loss),
            discriminator[0].bias.item(),
            discriminator[0].weight.detach()[0],
        )

    # Weights of zero make every logit equal to the bias, whatever range the real
    # pictures were brought to. How the generated ones move the weights shows in a
    # difference, in which the real ones cancel.
    for bias in (-1.5, 0.0, 2.0):
        trust = 1 / (1 + math.exp(-bias))
        loss, new_bias, weight = step(0.6, bias)
        right = -math.log(trust) - math.log(1 - trust)
        assert abs(loss - right) < 1e-4, f"the loss is {right:.4f}, not {loss:.4f}"
        right = bias - 0.1 * (2 * trust - 1)
        assert abs(new_bias - right) < 1e-5, (
            f"a bias of {bias} becomes {right:.5f}, not {new_bias:.5f}"
        )
        difference = weight - step(-0.2, bias)[2]
        torch.testing.assert_close(
            difference, torch.full((16,), -0.1 * trust * 0.8), rtol=1e-3, atol=1e-5
        )


_choose(_check, **_losses)
### END HIDDEN TESTS
x, z = torch.ones(3, 16), torch.zeros(3, 2)
generator, discriminator, optimisers = fixed_players(bias=1.0, rates=(0.0, 0.1))
loss, _ = training_step(generator, discriminator, optimisers, x, z)
assert not getattr(loss, "requires_grad", False), (
    "return the losses without their graphs: loss.detach()"
)
assert abs(float(loss) - 1.6265) < 1e-3, (
    f"a logit of 1 for everything costs log(1 + e) + log(1 + 1/e), not {loss:.4f}"
)
assert discriminator[0].bias.item() < 1, (
    "half of what it saw was generated, so it must become less trusting"
)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "bug-generator", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6d (1 point): the generator's loss and step. D likes bright pictures.
### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(9)
    for bias in (-2.0, 1.0):
        x, z = torch.rand(5, 16, generator=draw), torch.randn(5, 2, generator=draw)
        generator, discriminator, optimisers = fixed_players(
            bias=bias, rates=(0.1, 0.0)
        )
        with torch.no_grad():
            generator[0].weight.copy_(0.5 * torch.randn(16, 2, generator=draw))
            generator[0].bias.copy_(0.5 * torch.randn(16, generator=draw))
            discriminator[0].weight.copy_(torch.randn(1, 16, generator=draw))
        weights = list(generator.parameters())
        expected = F.softplus(-discriminator(generator(z))).mean()
        gradients = torch.autograd.grad(expected, weights)
        targets = [
            w.detach() - 0.1 * g for w, g in zip(weights, gradients, strict=True)
        ]
        for parameter in [*weights, *discriminator.parameters()]:
            # left over from some earlier step
            parameter.grad = torch.full_like(parameter, 7.0)
        _, loss = training_step(generator, discriminator, optimisers, x, z)
        assert abs(float(loss) - expected.item()) < 1e-4, (
            f"the loss is {expected:.4f}, not {loss:.4f}"
        )
        for weight, target in zip(weights, targets, strict=True):
            torch.testing.assert_close(
                weight.detach(), target, rtol=1e-4, atol=1e-5
            )

    # The order. The function is compared with itself, so a wrong step of the
    # discriminator loses nothing: both players at once must do what the
    # discriminator alone and then the generator alone do.
    x, z = torch.rand(5, 16, generator=draw), torch.randn(5, 2, generator=draw)

    def step(rates, state=None):
        generator, discriminator, optimisers = fixed_players(
            fake=0.3, weight=0.2, rates=rates
        )
        if state is not None:
            discriminator.load_state_dict(state)
        _, loss = training_step(generator, discriminator, optimisers, x, z)
        return float(loss), generator[0].bias.detach(), discriminator.state_dict()

    before, _, _ = step((0.0, 0.0))
    _, _, stepped = step((0.0, 0.5))
    alone, alone_bias, _ = step((0.1, 0.0), stepped)
    both, both_bias, _ = step((0.1, 0.5))
    # A discriminator that makes no step has lost its own point already.
    if abs(alone - before) > 1e-3:
        assert abs(both - alone) < 1e-4, (
            "the generator's loss is not against the discriminator after its step"
        )
        torch.testing.assert_close(both_bias, alone_bias, rtol=1e-4, atol=1e-5)


_choose(_check, **_losses)
### END HIDDEN TESTS
x, z = torch.ones(3, 16), torch.zeros(3, 2)
generator, discriminator, optimisers = fixed_players(
    weight=1.0, bias=-3.0, rates=(0.1, 0.0)
)
_, loss = training_step(generator, discriminator, optimisers, x, z)
assert not getattr(loss, "requires_grad", False), (
    "return the losses without their graphs: loss.detach()"
)
assert abs(float(loss) - 3.0486) < 1e-3, (
    f"a logit of -3 for its pictures costs it log(1 + e^3), not {loss:.4f}"
)
assert (generator[0].bias > 0).all(), (
    "the generator must learn to make brighter pictures"
)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "bug-data", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6e (1 point): the range of the data. In [-1, 1] a dark pixel is the opposite
# of a lit one, so lit pictures look to a discriminator with weight -1 as dark ones
# look to a discriminator with weight 1.
### BEGIN HIDDEN TESTS
def _check():
    # The function is compared with itself, so a wrong loss or a wrong update loses
    # nothing.
    def loss(pixel, **constants):
        x = torch.full((3, 16), pixel)
        value, _ = training_step(*fixed_players(**constants), x, torch.zeros(3, 2))
        assert (x == pixel).all(), "the pictures themselves must stay as they are"
        return float(value)

    assert abs(loss(0.0, weight=0.1) - loss(1.0, weight=0.1)) > 0.1, (
        "the real pictures have no influence"
    )
    for fake in (-0.9, -0.4, 0.0, 0.3, 0.8):
        # A real pixel at the same place of its range has the same logit: here both
        # are what a mere bias would give.
        same_place = loss((fake + 1) / 2, fake=fake, weight=0.1)
        right = loss(0.5, fake=fake, bias=1.6 * fake)
        assert abs(same_place - right) < 1e-4, (
            "a real pixel and a generated one of the same brightness differ"
        )


_choose(_check, **_losses)
### END HIDDEN TESTS
dark, lit, z = torch.zeros(3, 16), torch.ones(3, 16), torch.zeros(3, 2)
losses = [
    training_step(*fixed_players(weight=w), x, z)[0]
    for w, x in [(0.1, dark), (-0.1, lit)]
]
assert abs(float(losses[0]) - float(losses[1])) < 1e-4, (
    "a dark pixel is not the opposite of a lit one"
)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now train with the repaired step. Compare both losses with those of the faulty one before you look at the last line.

# %%
demonstrate(training_step)

# %% [markdown]
# Four of the five mistakes were printed, in much the same form, in articles that teach GANs. The page
# [Errata](../../book/errata.md) has more of their kind.

# %% [markdown]
# ## 7. In your own words (4 points)
#
# Answer in full sentences, eight to twelve in all. This question is read by a person.
#
# 1. A colleague trains a GAN with the non-saturating loss and reports: "The generator's loss fell from 3 to 0.7, so
#    the pictures are much better now." Name one reason for such a fall that has nothing to do with better pictures, and
#    say why the loss of a GAN, unlike that of a VAE, can't be compared between two moments of training. What should
#    your colleague measure or look at instead? (2 points)
# 2. Another colleague's generator makes one perfect digit 1 for every noise. Why can this be a good answer to the
#    generator's loss at that moment? What will a discriminator that goes on learning do about it, and why does this
#    not always bring the other digits back? (2 points)

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# **Model answer.**
#
# 1. The generator's loss only says how well it does against the present discriminator. It falls as well when the
#    discriminator becomes worse: because its learning rate is too low, it was weakened, its weights diverged, or its
#    gradients are wiped out by a bug. A faulty label gives a falling loss too, as in question 6. A VAE's loss is a bound
#    on a fixed quantity, the same function of the model at every moment; the generator's loss is a moving yardstick,
#    since the other player's weights are part of it. A loss near 0.7 (log 2) means no more than that this discriminator
#    can't tell the two apart. One should look at samples from fixed noise, and measure quality and variety against
#    held-out data with a judge that does not play: a Fréchet or kernel distance, precision and recall, covered modes.
# 2. The loss averages over the noise how real *each single picture* looks to the discriminator. No term asks whether
#    the pictures differ. If the digit 1 has the highest $D(x)$ at that moment, sending all noise there minimises the
#    loss. The discriminator that goes on learning sees that this one picture is mostly generated and lowers $D$ there.
#    The generator then moves, all of it together, to the next place where $D$ is high, another digit perhaps, and the
#    chase goes round. All noise gets almost the same gradient, so nothing pulls the pictures apart again. (In theory
#    the best discriminator for *each* generator would punish the collapse; steps in turn do not reach it.)
#
# **Rubric.**
#
# - Part 1: 1 point for a reason on the discriminator's side (or a bug in the loss) *and* that the yardstick moves with
#   the opponent; one of the two only: half a point. 1 point for something outside the game: samples from fixed noise,
#   or a metric against held-out data. "Look at the discriminator's loss as well": half a point, since it is the same
#   game seen from the other side.
# - Part 2: 1 point for "the loss rewards each picture by itself, against the present $D$; variety is in no term".
#   1 point for "D lowers its answer there and the generator moves on as a whole", with the chase or the nearly equal
#   gradients as the reason. "The generator overfits" or "it ran out of capacity": 0.
