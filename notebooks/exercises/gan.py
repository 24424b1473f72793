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
# losses that look fine. Here you derive the losses of another game, learn to see from the gradients who is being
# trained, measure which real pictures a generator covers, and repair a training step in which both losses fall to zero
# and nobody draws anything. Read the chapters [The adversarial game](../gan/adversarial_game.ipynb),
# [DCGAN](../gan/dcgan.ipynb) for question 4, [the Wasserstein GAN](../gan/wasserstein_gan.ipynb) for question 5 and
# [How good are these pictures?](../evaluation/image_quality.ipynb) for question 6 first; plan three to four hours.
# Under each question stand its difficulty (from ★☆☆ to ★★★), a time, and two hints that unfold when you click on them;
# try without them first.
#
# | Question | After it you can | Points |
# | --- | --- | --- |
# | 1. Another game, other losses | derive both players' losses from a divergence of your choice | 4 |
# | 2. Whose gradient is it? | send gradients to one player and not to the other | 4 |
# | 3. The best discriminator | derive the best answer to a generator and what the game is then worth | 4 |
# | 4. Layers that fit | calculate what size a convolution makes, forwards and backwards | 3 |
# | 5. The length of a path | differentiate a loss that contains a gradient | 3 |
# | 6. Which real pictures are covered? | measure, class by class, what a conditional generator leaves out | 2 |
# | 7. Find the bug | tell falling losses from a generator that learns | 6 |
# | 8. In your own words | explain what the losses of a GAN say, and what they do not | 4 |
#
# **How to work.** Write your code where `# YOUR CODE HERE` stands and delete the line `raise NotImplementedError()`
# below it. You may add cells of your own, for further imports as well. Do not copy, split or delete the cells that are
# here: the grading program knows them by hidden labels, and restores all of them but your answers. Avoid
# `from … import *`: it can put other functions in the place of Python's own `sum`, `max` or `abs`, which the checks use. A
# function leaves the tensors it is given as they are, unless its docstring says otherwise.
#
# **How it is graded.** The cells that begin with `# Check` call your function. If such a cell runs without an error,
# you have passed the checks you can see; when your work is graded, each of these cells also runs further checks of
# what the docstring promises. Values count, not whether they are in single or double precision. Every check has its
# own points, and every question is graded on its own: a mistake in one question costs nothing in the next. Question 8
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
# $D(x)$ is the discriminator's probability that $x$ is real, except in question 1, where the discriminator's answer is
# another number. All logarithms are natural, so losses are measured in **nats**. A network here answers with the logit,
# never with the probability.

# %% [markdown]
# ## 1. Another game, other losses (4 points)
#
# The game of the chapters measures, at its best, a Jensen–Shannon divergence.
# [Nowozin et al. (2016)](https://arxiv.org/abs/1606.00709) show that it is one of many. Real pictures have the density
# $p(x)$, generated ones the density $q(x)$. Every convex function $f$ with $f(1) = 0$ gives an **f-divergence**,
#
# $$D_f(p \,\|\, q) = \mathbb{E}_{x \sim q}\Bigl[f\Bigl(\frac{p(x)}{q(x)}\Bigr)\Bigr] .$$
#
# A convex function lies above its tangents, and is the highest of them at each place. Its **conjugate**
# $f^*(t) = \sup_{u > 0}\, (u t - f(u))$ says where the tangent of slope $t$ runs: $f(u) \ge u t - f^*(t)$ for every $t$, with
# equality for $t = f'(u)$. Put $u = p(x)/q(x)$ and let a network choose $t = T(x)$ for each picture:
#
# $$D_f(p \,\|\, q) \;\ge\; V(T) = \mathbb{E}_{x \sim p}\bigl[T(x)\bigr] - \mathbb{E}_{x \sim q}\bigl[f^*(T(x))\bigr] .$$
#
# The discriminator raises $V$. The generator lowers it; its pictures are in the second term alone. Take
#
# $$f(u) = \bigl(\sqrt u - 1\bigr)^2 ,$$
#
# whose divergence $\int \bigl(\sqrt{p(x)} - \sqrt{q(x)}\bigr)^2 dx$ is, up to a factor, the squared **Hellinger distance**. Derive its
# conjugate on paper. (You should find $f^*(0) = 0$, $f^*(\tfrac12) = 1$ and $f^*(-1) = -\tfrac12$, and no finite value for
# $t \ge 1$.) So $T$ must stay below 1. Let the network answer with any real number $v$, and take
#
# $$T = 1 - e^{-v} .$$
#
# Write $f^*(T)$ as a function of $v$ and simplify it before you write code: for $v = 20$ the computer rounds $T$ to exactly 1
# in single precision, and $1 - T$ to 0. Each expectation is the mean over its own batch, and the two batches need not be
# equally large. A loss is something to be made *small*; mind the signs.
#
# *Difficulty: ★★★. Time: about 25 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# For a fixed $t$, the conjugate is the highest value of a function of one variable, $u t - f(u)$. Find it on paper
# before you think of networks; $T$ and $v$ come in only afterwards.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# With $s = \sqrt u$, the function becomes $s^2 t - (s - 1)^2$, a parabola in $s$ that opens downwards for $t < 1$. Find
# where it is highest and how high it is there, and compare with the three values given above. Then insert
# $t = 1 - e^{-v}$: the denominator is a single exponential and goes away, so your code needs no division. The loss is
# $-V$, so both terms of $V$ change their signs; take the mean of each batch by itself before you add them.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "dloss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def hellinger_discriminator_loss(real, fake):
    """Return the discriminator's loss, -V(T), a scalar to be minimised.

    real: (n,), the outputs v for n real pictures. fake: (m,), those for m generated
    pictures; both between -20 and 20. Gradients pass from the loss to both.
    """
    ### BEGIN SOLUTION
    # f*(t) = t / (1 - t), and with t = 1 - exp(-v) that is exp(v) - 1
    return torch.expm1(-real).mean() + torch.expm1(fake).mean()
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
loss = hellinger_discriminator_loss(torch.zeros(3), torch.zeros(5))
assert type(loss) is Tensor, f"the loss must be a tensor, not {type(loss)}"
assert loss.shape == (), (
    f"the loss must be a single number: shape (), not {tuple(loss.shape)}"
)
assert abs(loss.item()) < 1e-6, "v = 0 makes T = 0 and f*(T) = 0 everywhere"
# T = 1/2 for the real picture, T = -1 for the generated one
log2 = torch.full((1,), math.log(2))
loss = hellinger_discriminator_loss(log2, -log2)
assert abs(loss.item() + 1) < 1e-5, f"-V is -1/2 - 1/2 here, not {loss:.4f}"
loss = hellinger_discriminator_loss(torch.zeros(1), torch.full((1,), 20.0))
assert loss.isfinite(), f"a large output makes a large loss, but not {loss}"


### BEGIN HIDDEN TESTS
def _check():
    for reals, fakes in [
        ([1.3], [0.4]),
        ([2.0, -1.0, 0.5], [-3.0, 0.7]),
        ([-20.0, 20.0], [20.0, -20.0, 1.0]),
        ([0.1, 0.2, 0.3, -5.0], [-0.1, 6.0]),
    ]:
        real, fake = (
            torch.tensor(outputs, requires_grad=True) for outputs in (reals, fakes)
        )
        mean = sum(1 - math.exp(-v) for v in reals) / len(reals)
        expected = sum(math.exp(v) - 1 for v in fakes) / len(fakes) - mean
        loss = hellinger_discriminator_loss(real, fake)
        assert loss.shape == (), f"one number, not shape {tuple(loss.shape)}"
        assert abs(loss.item() - expected) < 1e-4 * (1 + abs(expected)), (
            f"outputs {reals} and {fakes}: the loss is {expected:.4f}, not "
            f"{loss:.4f}"
        )
        loss.backward()
        slopes = [-math.exp(-v) / len(reals) for v in reals]
        slopes += [math.exp(v) / len(fakes) for v in fakes]
        found = [*real.grad.tolist(), *fake.grad.tolist()]
        for slope, right in zip(found, slopes, strict=True):
            assert abs(slope - right) < 1e-4 * (1 + abs(right)), (
                f"outputs {reals} and {fakes}: a gradient is {slope}, not {right}"
            )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now the generator's two losses. The **saturating** one is its part of $V$, which it lowers. The **non-saturating** one has
# the same aim, a high $T$ for generated pictures, and asks for it directly:
#
# $$\text{saturating: } -\mathbb{E}_{x \sim q}\bigl[f^*(T(x))\bigr], \qquad
# \text{non-saturating: } -\mathbb{E}_{x \sim q}\bigl[T(x)\bigr].$$
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# You have both ingredients on paper from the discriminator's loss: $T$ and $f^*(T)$, each as a function of $v$. Here
# both are taken at generated pictures.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Use the simplified form of $f^*(T)$; do not compute $T$ first and then divide by $1 - T$. Each loss is minus a mean
# over `fake`, and the saturating one comes first in the tuple. Check the signs: the generator wants a high $T$, so both
# losses must fall when $v$ grows, and both are 0 at $v = 0$.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "gloss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def hellinger_generator_losses(fake):
    """Return the generator's two losses in this game: the saturating and the
    non-saturating one.

    fake: (m,), the outputs v for m generated pictures, between -20 and 20. Returns
    a tuple of two scalars, each to be minimised; means over the batch, and
    gradients pass from them to the outputs.
    """
    ### BEGIN SOLUTION
    return -torch.expm1(fake).mean(), torch.expm1(-fake).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "gloss-value", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1b (1 point): the generator's two losses.
log2 = torch.full((5,), math.log(2))
saturating, non_saturating = hellinger_generator_losses(log2)
both = [("saturating", saturating, -1.0), ("non-saturating", non_saturating, -0.5)]
for name, loss, expected in both:
    assert type(loss) is Tensor, (
        f"the {name} loss must be a tensor, not {type(loss)}"
    )
    assert loss.shape == (), (
        f"the {name} loss must be a single number: "
        f"shape (), not {tuple(loss.shape)}"
    )
    assert abs(loss.item() - expected) < 1e-5, f"the {name} loss at T = 1/2: {loss}"


### BEGIN HIDDEN TESTS
def _check():
    for fakes in ([0.4], [-3.0, 0.7, 1.0], [20.0, -20.0, 1.0], [-0.2, -5.0]):
        fake = torch.tensor(fakes, requires_grad=True)
        count = len(fakes)
        values = [
            sum(1 - math.exp(v) for v in fakes) / count,
            sum(math.exp(-v) - 1 for v in fakes) / count,
        ]
        gradients = [
            [-math.exp(v) / count for v in fakes],
            [-math.exp(-v) / count for v in fakes],
        ]
        for name, loss, expected, gradient in zip(
            ("saturating", "non-saturating"),
            hellinger_generator_losses(fake),
            values,
            gradients,
            strict=True,
        ):
            assert loss.shape == (), f"one number, not shape {tuple(loss.shape)}"
            assert abs(loss.item() - expected) < 1e-4 * (1 + abs(expected)), (
                f"outputs {fakes}: the {name} loss is {expected:.4f}, not "
                f"{loss:.4f}"
            )
            (found,) = torch.autograd.grad(loss, fake, retain_graph=True)
            for slope, right in zip(found.tolist(), gradient, strict=True):
                assert abs(slope - right) < 1e-4 * (1 + abs(right)), (
                    f"outputs {fakes}: a gradient of the {name} loss is {slope}"
                )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Which output $v$ is best? The bound is tight for $T^* = f'(u)$ with $u = p(x)/q(x)$. Find $T^*$ on paper, and then the $v$
# that gives it. Densities of pictures are products of many factors, as small as $e^{-1000}$, so your function gets their
# logarithms.
#
# *Difficulty: ★★☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Two equations give the answer: $T^*$ is the slope $f'(u)$ at $u = p(x)/q(x)$, and $T = 1 - e^{-v}$. Differentiate $f$,
# set the two equal, and solve for $v$.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The 1 on both sides cancels. A power of $u$ is left on one side and an exponential on the other, so take the logarithm
# of both: the power becomes a factor, and $\log u$ can be written with the two arguments of the function. No `exp` is
# needed, so nothing can overflow. Mind the sign: where $p > q$, the slope $T^*$ is above 0, and so is $v$.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "best", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_output(log_p, log_q):
    """Return the best discriminator's output v in this game, for the densities p
    (real) and q (generated).

    log_p, log_q: tensors of one shape, the logarithms of p(x) and q(x) at the same
    points; any finite numbers. Returns a tensor of that shape.
    """
    ### BEGIN SOLUTION
    # T* = 1 - sqrt(q / p), so exp(-v) = sqrt(q / p)
    return 0.5 * (log_p - log_q)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "best-value", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1c (1 point): the best output.
best = best_output(torch.tensor([-1.0, -1000.0]), torch.tensor([-1.0, -1000.0]))
right = torch.zeros(2)
# where p = q, the tangent of f has slope 0
torch.testing.assert_close(best, right, check_dtype=False)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(2)
    for outcomes in (2, 6, 30):
        p, q = torch.randn(
            2, outcomes, generator=draw, dtype=torch.float64
        ).softmax(dim=1)

        def value(v, p=p, q=q):
            return (p * (1 - torch.exp(-v)) - q * torch.expm1(v)).sum().item()

        best = best_output(p.log(), q.log())
        assert best.shape == (outcomes,), f"not of this shape: {tuple(best.shape)}"
        divergence = (p.sqrt() - q.sqrt()).square().sum().item()
        assert abs(value(best.double()) - divergence) < 1e-5, (
            f"the bound is {value(best.double()):.5f}, below the divergence "
            f"{divergence:.5f}: another output is better"
        )
    for first, second in [(-1000.0, -1004.0), (1000.0, 1006.0), (-400.0, 400.0)]:
        found = best_output(torch.tensor([[first]]), torch.tensor([[second]]))
        assert found.shape == (1, 1), f"not of this shape: {tuple(found.shape)}"
        assert abs(found.item() - (first - second) / 2) < 1e-3, (
            f"log p = {first}, log q = {second}: v is not {found.item()}"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# All that the generator hears about its picture comes through the derivative of its loss with respect to the output for
# that picture. At the start of training the discriminator has an easy time: the outputs for generated pictures are far
# below 0. Decide, before you run the next cell, which of the two losses still teaches the generator something there.

# %%
outputs = torch.tensor([-6.0, -3.0, 0.0, 3.0], requires_grad=True)
slopes = [  # times 4, since each loss is a mean over 4 pictures
    4 * torch.autograd.grad(loss, outputs, retain_graph=True)[0]
    for loss in hellinger_generator_losses(outputs)
]
print(" output  saturating  non-saturating")
for row in zip(outputs.tolist(), *slopes, strict=True):
    print("{:7.0f}{:12.4f}{:16.4f}".format(*row))

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
# forgets to clear them; question 7 shows what happens then.
#
# From here on the game is that of the chapters again. Below are its losses, computed from logits, and a small pair of
# players: noise of 2 numbers, pictures of 16 pixels.


# %% nbgrader={"grade": false, "grade_id": "losses", "locked": true, "schema_version": 3, "solution": false, "task": false}
def loss_for_discriminator(real_logits, fake_logits):
    """Return -E[log D(x)] - E[log(1 - D(G(z)))], from logits (n,) and (m,)."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def loss_for_generator(fake_logits):
    """Return the non-saturating loss, -E[log D(G(z))], from logits (m,)."""
    return F.softplus(-fake_logits).mean()


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
# Write the discriminator's turn, up to the gradients; no weight is changed yet.
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Follow the gradient backwards from the loss through both of its terms. Which of the two leads to the generator, and at
# which tensor can you cut it without cutting the discriminator off?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Make the generated pictures from `z` and cut them from their history before the discriminator sees them; the cut must
# not come after the discriminator. Ask the discriminator about both batches, and give both sets of logits to the loss
# that question 2 gives, the real ones first. One backward pass then writes to the discriminator alone. Clear nothing
# and make no step, since the generator's `.grad` and all weights must stay as they are. Return the loss without its
# graph.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "dstep", "locked": false, "schema_version": 3, "solution": true, "task": false}
def discriminator_backward(generator, discriminator, x, z):
    """Compute the gradients of the discriminator's loss for the discriminator's
    weights only; return the loss.

    x: (batch, 16), real pictures in [-1, 1]. z: (batch, 2), noise. Before the call,
    `.grad` of the discriminator's weights is None; after it, it holds the gradient
    of the loss. The generator's weights and their `.grad` stay as they are,
    whatever they are, and no weight changes. Returns the discriminator's loss, a
    scalar detached from its graph.
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
#
# *Difficulty: ★★☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Two things are to be kept apart: through which tensors a gradient *passes*, and into whose `.grad` it is *written*.
# Which of the two does the discriminator need here?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Lead the noise through both players to the loss that question 2 gives, and cut nothing on the way. The argument
# `inputs` of `backward` takes a list of tensors: the weights of the player whose turn it is (`parameters()` gives an
# iterator, not a list). Do not clear the discriminator's `.grad` before or after: what stood there must still stand
# there. If you freeze the discriminator's weights instead, make sure that they are trainable again at the end. Return
# the loss without its graph.
#
# </details>


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
    loss = loss_for_generator(discriminator(generator(z)))
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
#
# *Difficulty: ★★☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# For a fixed $x$, $p$ and $q$ are two numbers that do not depend on $d$: set the derivative with respect to $d$ to
# zero. Then go on to the logit of the $d$ that you find, $\log \frac{d}{1 - d}$.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The best $d$ is a fraction whose denominator contains both densities. In $d / (1 - d)$ this denominator cancels, and
# the logarithm of what is left needs only the two arguments of the function. The notation table says how a logit
# becomes a probability. Do not take `exp` of either argument by itself: both densities may round to 0, and 0 divided
# by 0 is not a number. Mind the sign: where $p$ is much larger than $q$, the answer is near 1.
#
# </details>


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
# around it. And where $D^*$ rounds to 1, $1 - D^*$ is 0, though its true value $q / (p + q)$ is not. You may call your
# function of the first half. A check is passed if it is passed with it or with a correct version in its place, so that
# no mistake costs you points twice.
#
# *Difficulty: ★★★. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Write the two expectations as sums over the outcomes, and mark each factor that can become 0 and each logarithm that
# can become infinite. $1 - D^*$ is a probability as well: of what? Look for a way to get it without subtracting from 1.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# $1 - D^*(x)$ is the probability that $x$ is generated. Suppose that somebody had exchanged the names of the two
# distributions: which call of your function gives this probability, without losing it to rounding where it is small?
# `torch.xlogy(a, b)` is $a \log b$, and 0 where $a = 0$, even if $b$ is 0 too; its first argument must be a
# probability, and you are given logarithms. Add up over the outcomes, since the probabilities are the weights already;
# do not take a mean. The value must lie between $-\log 4$ and 0.
#
# </details>


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
# ## 4. Layers that fit (3 points)
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
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# For the convolution, count the places at which the kernel can begin. For the transposed convolution, ask where the
# places of the *last* input begin and where they end.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Convolution: write down how long the axis is with its zeros, and how far the beginning of the kernel can move from the
# first position to the last. Only whole strides count (`//` rounds down), and the first position is an output too.
# Transposed: from the first input to the last there are as many strides as there are gaps between the inputs; the last
# one then covers `kernel` places; cut and add what the rule says. `padding` counts at both ends in either rule,
# `output_padding` once and in one rule only. Your drawing must give 2 for the convolution and 13 for its transpose.
#
# </details>


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
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Plan the sizes before the layers: which whole factors lead from 1 to 45, and which of them can a single layer manage?
# A transposed convolution of stride $s$ can make exactly $s$ times as many places, if its other numbers fit.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# For a factor of $s$, set your rule for the transposed convolution equal to $s$ times the size. The size cancels, and
# one condition on `kernel`, `padding` and `output_padding` is left. A single place has no neighbours to overlap with,
# so without any padding it becomes as long as the kernel. For the discriminator, go through the same sizes in the
# opposite order and check each layer with the rule for the convolution; a kernel as long as the axis leaves a single
# place. Mind the numbers in a tuple: four for the generator's layers, three for the discriminator's.
#
# </details>


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


# %% nbgrader={"grade": true, "grade_id": "layers-both", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4c (1 point): the layers of both networks.
up, down = choose_layers()
for layers, size, transposed, end in ((up, 1, True, 45), (down, 45, False, 1)):
    sizes = trace(layers, size, transposed)
    print(" → ".join(map(str, sizes)))
    assert sizes[-1] == end, f"these layers end at a size of {sizes[-1]}, not {end}"


### BEGIN HIDDEN TESTS
def _check():
    up, down = choose_layers()
    for layers, numbers, size, transposed in (
        (up, 4, 1, True),
        (down, 3, 45, False),
    ):
        assert len(layers) >= 3, f"{len(layers)} layers are fewer than three"
        assert all(
            len(layer) == numbers and layer[1] <= layer[0] <= 7 for layer in layers
        ), f"not {numbers} numbers for each, with stride <= kernel <= 7: {layers}"
        sizes = trace(layers, size, transposed)
        assert sizes == sorted(set(sizes), reverse=not transposed), (
            f"every layer must change the size, in one direction: {sizes}"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 5. The length of a path (3 points)
#
# The Wasserstein GAN's penalty keeps the slope of the *critic* near 1. The generator has a slope too: how far does the
# picture move when $z$ moves a little? With $P$ numbers per picture and $d$ per $z$ that is a matrix of $P \times d$
# derivatives, $J_z = \partial G(z) / \partial z$. [Karras et al. (2020)](https://arxiv.org/abs/1912.04958) ask that it be
# about equally steep everywhere and in every direction, so that equal steps of the generator's input make equal changes
# of the picture. For each $z_i$ a random direction $y_i$ among the pictures is drawn, and every deviation of a length from
# its target $a$ is charged for,
#
# $$\frac1n \sum_{i=1}^n \bigl(\lVert J_{z_i}^{\top} y_i \rVert_2 - a\bigr)^2, \qquad
# y_i = \frac{\varepsilon_i}{\sqrt P}, \quad \varepsilon_i \sim N(0, I).$$
#
# Nobody computes the matrix. $J_z^{\top} y$ is the gradient with respect to $z$ of a single number: which one? Pictures
# of a batch don't influence each other, so one call of `torch.autograd.grad` serves the whole batch. The norm runs over
# the $d$ numbers of one $z$, never over the batch. The penalty is part of the generator's loss, so it must be possible to
# differentiate it once more, with respect to the generator's weights: read what `torch.autograd.grad` says about
# `create_graph`.
#
# *Difficulty: ★★★. Time: about 25 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Write out one entry of $J_z^{\top} y$: a sum over the $P$ numbers of the picture, each term a derivative times an
# entry of $y$. The direction $y$ does not depend on $z$, so the derivative can be moved in front of the sum. Which
# number is then differentiated?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Work with a copy of `z` that records what is done with it, so that the given tensor stays as it is. Add up the number
# from Hint 1 over all pictures of the batch: each $z_i$ occurs in its own summand alone, so the gradient of the sum
# has the shape (batch, latent), and its row $i$ is $J_{z_i}^{\top} y_i$; with a mean the rows would be too small. $P$
# counts the numbers of *one* picture, over all its axes. Take the norm of each row, subtract the target and square,
# and only then take the mean over the batch. `torch.autograd.grad` leaves every `.grad` alone, but what it returns
# must have a graph of its own.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "penalty", "locked": false, "schema_version": 3, "solution": true, "task": false}
def path_penalty(network, z, target, noise=None, rng=None):
    """Return the mean over the batch of (norm of J^T y - target)^2, differentiable
    once more.

    network: a function from z: (batch, latent) to pictures (batch, …), with any
    number of axes. target: a float. noise: eps, of the pictures' shape, or None;
    None means: draw it here with `rng`, which torch.randn takes as `generator` and
    which may be None. The given tensors and the `.grad` of the network's weights
    stay as they are.
    """
    ### BEGIN SOLUTION
    z = z.detach().requires_grad_()
    pictures = network(z)
    if noise is None:
        noise = torch.randn(pictures.shape, generator=rng, dtype=pictures.dtype)
    along = (pictures * noise).sum() / math.sqrt(pictures[0].numel())
    (gradient,) = torch.autograd.grad(along, z, create_graph=True)
    return ((gradient.norm(dim=1) - target) ** 2).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "penalty-direction", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5a (1 point): the directions y. Four pixels that each move half as far as z
# have together the slope of one that moves as far.
z, one = torch.tensor([[0.5], [2.0]]), torch.ones(2, 1)
found = path_penalty(lambda z: (z / 2).expand(2, 4), z, 0.25, torch.ones(2, 4))
torch.testing.assert_close(found, path_penalty(lambda z: z, z, 0.25, one))


### BEGIN HIDDEN TESTS
def _check():
    # The function is compared with itself, so a wrong norm loses nothing.
    draw = torch.Generator().manual_seed(5)
    for shape in [(3,), (1, 4, 4), (3, 2, 5)]:
        pixels = math.prod(shape)
        z, noise = (
            torch.randn(4, n, generator=draw, dtype=torch.float64)
            for n in (1, pixels)
        )
        slopes = torch.randn(pixels, generator=draw, dtype=torch.float64)
        found = path_penalty(
            lambda z, slopes=slopes, shape=shape: (z * slopes).reshape(-1, *shape),
            z,
            0.3,
            noise.reshape(4, *shape),
        ).detach()
        # one pixel, whose slope is J^T y, in the direction 1
        along = (noise * slopes).sum(dim=1, keepdim=True) / math.sqrt(pixels)
        right = path_penalty(
            lambda z, along=along: z * along, z, 0.3, torch.ones_like(z)
        ).detach()
        torch.testing.assert_close(
            found, right, rtol=1e-4, atol=1e-5, check_dtype=False
        )

    def drawn(rng_seed, global_seed):
        torch.manual_seed(global_seed)
        rng = None if rng_seed is None else torch.Generator().manual_seed(rng_seed)
        z = torch.ones(500, 1)
        return path_penalty(lambda z: z.expand(-1, 1), z, 0.5, rng=rng).item()

    assert drawn(3, 0) == drawn(3, 1), "rng alone decides"
    assert drawn(3, 0) != drawn(4, 0), "another seed must give another direction"
    assert drawn(None, 0) != drawn(None, 1), "without rng, torch's own decides"
    # One eps for each example: 500 of them leave little to chance.
    evenly = torch.special.ndtri((torch.arange(500.0) + 0.5) / 500)[:, None]
    right = path_penalty(lambda z: z, torch.ones(500, 1), 0.5, evenly).item()
    found = sum(drawn(seed, 0) for seed in (0, 1, 2, 5)) / 4
    assert abs(found / right - 1) < 0.3, "eps is not from N(0, I)"


_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "penalty-norm", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5b (1 point): the norm, the target and the mean, with a single pixel.
z, one = torch.ones(3, 4), torch.ones(3, 1)
found = path_penalty(lambda z: 3 * z.sum(dim=1, keepdim=True), z, 1.0, one)
assert found.shape == (), (
    f"the penalty must be a single number: shape (), not {tuple(found.shape)}"
)
assert abs(found.item() - 25) < 1e-4, (
    "a slope of 3 along each of 4 numbers has the norm 6, and (6 - 1)^2 is 25, "
    f"not {found.item()}"
)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(6)
    for latent in (1, 2, 5):
        z = torch.randn(4, latent, generator=draw, dtype=torch.float64)
        noise = torch.randn(4, 1, generator=draw, dtype=torch.float64)
        # the gradient of |z|^2 / 2 is z itself
        lengths = noise[:, 0].abs() * z.norm(dim=1)
        for target in (0.0, 0.7, 2.0):
            expected = ((lengths - target) ** 2).mean().item()
            found = path_penalty(
                lambda z: z.square().sum(dim=1, keepdim=True) / 2, z, target, noise
            )
            assert found.shape == (), f"one number, not shape {tuple(found.shape)}"
            assert abs(found.item() - expected) < 1e-4 * (1 + expected), (
                f"{latent} latent dimensions, target {target}: "
                f"the penalty is {expected:.4f}, not {found:.4f}"
            )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "penalty-graph", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5c (1 point): the penalty teaches the generator's weights.
z, weight = torch.ones(2, 2), torch.tensor([[2.0], [1.0]], requires_grad=True)
penalty = path_penalty(lambda z: z @ weight, z, 0.5, torch.ones(2, 1))
assert weight.grad is None, (
    "computing the penalty must not touch .grad of the generator's weights"
)
penalty.backward()
assert weight.grad is not None, (
    "no gradient of the penalty reaches the generator's weights"
)


### BEGIN HIDDEN TESTS
def _check():
    # The gradient is compared with differences of the function's own values, so a
    # wrong norm loses nothing.
    draw = torch.Generator().manual_seed(7)
    z, noise = torch.randn(2, 4, 4, generator=draw, dtype=torch.float64)
    first, second = (
        torch.randn(4, n, generator=draw, dtype=torch.float64).requires_grad_()
        for n in (4, 4)
    )
    step = 1e-4 * torch.randn(4, 4, generator=draw, dtype=torch.float64)

    def penalty(first):
        return path_penalty(
            lambda z: (z @ first).tanh() @ second, z, 0.4, noise.clone()
        )

    value = penalty(first)
    assert first.grad is None, "the penalty touched .grad of the weights"
    assert second.grad is None, "the penalty touched .grad of the weights"
    assert not z.requires_grad, "the given noise z was changed"
    (gradient,) = torch.autograd.grad(value, first)
    difference = (
        penalty((first + step).detach()).item()
        - penalty((first - step).detach()).item()
    )
    assert abs(difference) > 1e-8, "the penalty must depend on the weights"
    assert abs((2 * gradient * step).sum().item() / difference - 1) < 1e-3, (
        "the gradient for the generator's weights is wrong"
    )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 6. Which real pictures are covered? (2 points)
#
# A generator that has collapsed draws good pictures and leaves most of the real ones out. The chapter on evaluation
# measures that by the **coverage**: the share of real pictures whose ball holds at least one sample, where the ball is as
# wide as the distance to the $k$-th nearest *other* real picture
# ([Naeem et al., 2020](https://arxiv.org/abs/2002.09797)). For a conditional generator, which is asked for a class, this
# is not enough. One that draws a 7 when asked for a 3, and a 3 when asked for a 7, covers everything.
#
# So measure it class by class. For the class $y$ only the real pictures with the label $y$ count, as centres of balls and
# as neighbours, and only the samples that were asked for as $y$. A picture is given by its features, $d$ numbers; the
# distance is the Euclidean one; a sample on the edge of a ball lies in it. You may use a loop over the classes.
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Take one class at a time and keep only its real pictures and the samples that were asked for as this class. Two
# numbers decide whether a real picture is covered: the radius of its ball, and the distance to its nearest sample.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `torch.cdist` gives all distances between two sets of points, and `kthvalue` or `sort` picks one from each row. Among
# the distances from a real picture to those of its class is the one to itself, which is 0 and does not count as a
# neighbour; `kthvalue` counts from 1, the index into a sorted row from 0. A sample at exactly the radius lies in the
# ball. The share is a mean over the real pictures of the class, not over the samples. Treat a class without samples
# separately, since there is no minimum of an empty row.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "coverage", "locked": false, "schema_version": 3, "solution": true, "task": false}
def class_coverage(samples, asked, real, labels, k, num_classes):
    """Return the coverage of each class, a tensor of shape (num_classes,) with
    values from 0 to 1.

    samples: (n, d), features of generated pictures; asked: (n,), the class that
    each was asked for. real: (m, d), features of real pictures; labels: (m,), their
    classes. Every class has more than k real pictures. A class for which no sample
    was asked has the coverage 0.
    """
    ### BEGIN SOLUTION
    shares = torch.zeros(num_classes)
    for y in range(num_classes):
        drawn, wanted = samples[asked == y], real[labels == y]
        if len(drawn) > 0:
            # the smallest distance is that of a picture to itself, hence k + 1
            radii = torch.cdist(wanted, wanted).kthvalue(k + 1, dim=1).values
            nearest = torch.cdist(wanted, drawn).min(dim=1).values
            shares[y] = (nearest <= radii).double().mean()
    return shares
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "coverage-balls", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6a (1 point): the balls, with a single class. On a line, with k = 1, they
# are [-1, 1], [0, 2], [1, 5] and [3, 11].
real, samples = torch.tensor([[0.0, 1, 3, 7], [-0.5, -0.4, -0.3, 60]])[..., None]
one_class = torch.zeros(4, dtype=torch.long)
found = class_coverage(samples, one_class, real, one_class, k=1, num_classes=1)
assert type(found) is Tensor, f"the coverage must be a tensor, not {type(found)}"
assert found.shape == (1,), f"one class: shape (1,), not {tuple(found.shape)}"
assert abs(found.item() - 0.25) < 1e-6, (
    f"of these four balls the first one alone holds samples, so 1/4, not {found}"
)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(11)
    for d, k, spread in ((1, 1, 1.0), (2, 3, 0.6), (5, 2, 1.5), (3, 5, 0.2)):
        real, samples = (
            torch.randn(n, d, generator=draw, dtype=torch.float64) for n in (11, 7)
        )
        samples = spread * samples + 0.3
        points, drawn = real.tolist(), samples.tolist()
        covered = 0
        for centre in points:
            # the first of the distances is that to the centre itself
            radius = sorted(math.dist(centre, other) for other in points)[k]
            covered += any(math.dist(centre, x) <= radius for x in drawn)
        found = class_coverage(
            samples,
            torch.zeros(7, dtype=torch.long),
            real,
            torch.zeros(11, dtype=torch.long),
            k,
            1,
        )
        assert abs(found.item() - covered / 11) < 1e-5, (
            f"{covered} of 11 real pictures are covered with k = {k}, "
            f"which is {covered / 11:.3f}, not {found.item():.3f}"
        )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "coverage-classes", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6b (1 point): the classes. A picture of another class than was asked for
# covers nothing.
near = torch.tensor([[0.0], [1.0], [2.0], [0.4]])
real, classes = torch.cat([near, near + 100]), torch.arange(8) // 4
right = class_coverage(real + 0.1, classes, real, classes, k=2, num_classes=2)
assert right.shape == (2,), f"two classes: shape (2,), not {tuple(right.shape)}"
assert right.min() > 0, "samples close to the real pictures of their class"
exchanged = class_coverage(real + 0.1, 1 - classes, real, classes, 2, 2)
assert (exchanged == 0).all(), f"no class has a sample near, but {exchanged}"


### BEGIN HIDDEN TESTS
def _check():
    # The function is compared with itself, class by class, so wrong balls lose
    # nothing.
    draw = torch.Generator().manual_seed(12)
    labels = torch.randperm(36, generator=draw) % 4
    asked = torch.randperm(27, generator=draw) % 3
    asked[asked == 2] = 3  # nobody asks for the class 2
    for d, k in ((2, 2), (4, 3)):
        real = torch.randn(36, d, generator=draw, dtype=torch.float64)
        samples = 0.5 * torch.randn(27, d, generator=draw, dtype=torch.float64)
        found = class_coverage(samples, asked, real, labels, k, 4)
        assert found.shape == (4,), f"four classes, shape {tuple(found.shape)}"
        assert found[2] == 0, "a class for which no sample was asked"
        for y in (0, 1, 3):
            drawn, wanted = samples[asked == y], real[labels == y]
            alone = class_coverage(
                drawn,
                torch.zeros(len(drawn), dtype=torch.long),
                wanted,
                torch.zeros(len(wanted), dtype=torch.long),
                k,
                1,
            )
            assert abs(found[y].item() - alone.item()) < 1e-5, (
                f"class {y} has {alone.item():.3f} alone, "
                f"but {found[y].item():.3f} among others"
            )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 7. Find the bug (6 points)
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
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Go through `faulty_step` line by line and note three things: which tensors have a history, whose `.grad` is written or
# cleared, and which label goes with which pictures. Then ask of each statement whether the code does what it says, and
# whether that is a mistake.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Most statements can be tested: copy the function into a cell of your own and print what the statement is about after
# each line, such as the smallest and the largest pixel, the `.grad` of both players in two steps in a row, or whether
# the weights have changed. For a statement about a label or about which loss is small, calculate the loss for a logit
# of 5 and for one of -5: which of the two does the player prefer, and which should it? For a statement that demands
# another way of doing something, ask what the change would do to the aim of the players, and look at the training
# loops in the chapters on the adversarial game and on DCGAN, which do not do everything in the same way.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "mistakes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mistakes():
    """Return the letters of the five true statements, in one string such as
    "VWXYZ"; their order does not matter.
    """
    ### BEGIN SOLUTION
    return "ADEHI"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mistakes-most", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 7a (1 point): five letters, of which at least four are right.
named = mistakes()
assert type(named) is str, f"the letters must be in a string, not {named!r}"
assert len(set(named)) == len(named) == 5, f"five different letters, not {named!r}"
assert set(named) <= set("ABCDEFGHIJ"), f"letters from A to J, not {named!r}"
### BEGIN HIDDEN TESTS
assert len(set(named) & set("ADEHI")) >= 4, "fewer than four letters are right"
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "mistakes-all", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 7b (2 points): all five are right.
named = mistakes()
assert len(named) == 5, f"five letters, not {named!r}"
### BEGIN HIDDEN TESTS
assert set(named) == set("ADEHI"), "not all five letters are right"
### END HIDDEN TESTS

# %% [markdown]
# Now write a step without the five mistakes: first the discriminator's step on its loss, then the generator's on the
# **non-saturating** loss, against the discriminator as its step has left it. The generator's pictures lie between -1 and 1 (its last layer is a tanh), so the real ones
# must be brought to the same range. You may call the two loss functions that question 2 gives.
#
# *Difficulty: ★★★. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Start from the two turns of question 2 and give each player its step. Then go through the letters that you named, and
# say for each which line of yours takes care of it.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# A turn has four parts: a loss, the clearing of old gradients, the backward pass and the step. For every step, ask what
# is in `.grad` of the player's weights at that moment: the gradient of this one loss, and nothing else. The generator's
# loss is one against the discriminator *after* its step, so compute the logits for it only then. The range of the real
# pictures changes by a factor and a shift, which send 0 to -1 and 1 to 1; put the result into a new tensor, since `x`
# must stay as it is. Return both losses as they were when they were computed, without their graphs.
#
# </details>


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
    generator_loss = loss_for_generator(discriminator(fake))
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
# Check 7c (1 point): the discriminator's loss and its step.
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
# Check 7d (1 point): the generator's loss and step. D likes bright pictures.
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
# Check 7e (1 point): the range of the data. In [-1, 1] a dark pixel is the opposite
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
# ## 8. In your own words (4 points)
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
#
# *Difficulty: ★★☆. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Write down the generator's loss and mark everything in it that changes during training. For part 2, also ask what this
# loss says about each picture by itself, and what it says about all the pictures together.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# A full answer to part 1 has three pieces: a cause of the fall, the difference from a VAE's loss, and a measurement.
# For the cause, suppose that the generator stands still: how can its loss fall all the same? For the measurement, ask
# who judges the pictures, and whether that judge takes part in the game. A full answer to part 2 has three pieces as
# well: why the collapse is good *at that moment*, the next moves of both players, and what can keep the other digits
# away. For the last one, take two values of $z$ that give the same picture: what does the discriminator tell the
# generator about each?
#
# </details>

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# **Model answer.**
#
# 1. The generator's loss only says how well it does against the present discriminator. It falls as well when the
#    discriminator becomes worse: because its learning rate is too low, it was weakened, its weights diverged, or its
#    gradients are wiped out by a bug. A faulty label gives a falling loss too, as in question 7. A VAE's loss is a bound
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
