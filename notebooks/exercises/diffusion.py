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
# # Assignment: diffusion and flow matching
#
# A diffusion model is a squared error and a loop. Much of what can go wrong in it is a factor: a variance where its
# square root belongs, a share of one time at another time, a sign. Such a program still trains, and its loss still
# falls. Here you write the pieces on paths that are not those of the chapters, so that their formulas have to be
# derived anew, repair a program that draws clouds in the place of clusters, and at the end watch your own functions
# draw. Read [Denoising diffusion](../diffusion/denoising_diffusion.ipynb), [Sampling and
# guidance](../diffusion/sampling_and_guidance.ipynb) and [Flow matching](../diffusion/flow_matching.ipynb) first; plan
# four hours. ([Transformers and latent diffusion](../diffusion/transformer.ipynb) changes the network and what it draws,
# and leaves loss, path and sampler as they are, and [From a caption to a picture](../diffusion/text_to_image.ipynb) tells
# it words; no question needs them.)
#
# | Question | After it you can | Points |
# | --- | --- | --- |
# | 1. Many small steps, or one large one | compute how much signal and noise a chain of steps leaves, and find the rates for a wanted path | 4 |
# | 2. Three questions to a network | say what a loss compares with, and turn each prediction into the others | 4 |
# | 3. One step back | make a DDIM step with as much fresh noise as is wanted | 4 |
# | 4. Guidance | lead a sample towards its class, and derive what that does to a density | 3 |
# | 5. Flow matching | compute its point and its target, follow a field, and derive the best one | 5 |
# | 6. Find the bug | tell a falling loss from a model that draws | 6 |
# | 7. In your own words | explain what a loss, a guidance weight and a straight path promise, and what they do not | 4 |
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
# *File → Download → Download .ipynb*), name it `diffusion.ipynb` (without "Copy of"), and send it the way your teacher
# asks.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Colab has all that this assignment needs; nothing is to be installed. Put further
# imports into a cell of your own: this one is restored when your work is graded.
import math
import os
import warnings
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# a warning is no mistake, but the grading program would count it as one
if "NBGRADER_EXECUTION" in os.environ:
    warnings.simplefilter("ignore")


# %% nbgrader={"grade": false, "grade_id": "compare", "locked": true, "schema_version": 3, "solution": false, "task": false}
def _compare(found, right, name, mistakes=()):
    """Raise an error unless found is right; if a known mistake gives the same
    values, say which one. mistakes: a dictionary from what is wrong to the values.
    """
    assert type(found) is Tensor, f"{name}: a tensor, not {type(found)}"
    found, right = found.detach().double(), torch.as_tensor(right).double()
    shapes = tuple(right.shape), tuple(found.shape)
    assert shapes[0] == shapes[1], f"{name}: shape {shapes[0]}, not {shapes[1]}"
    if not torch.allclose(found, right, 1e-3, 1e-4):
        for what in mistakes:
            wrong = torch.as_tensor(mistakes[what]).double()
            assert not torch.allclose(found, wrong, 1e-3, 1e-4), f"{name}: {what}"
        i = (found - right).nan_to_num(1e9).flatten().abs().argmax()
        found, right = found.flatten()[i], right.flatten()[i]
        raise AssertionError(f"{name}: {right:.4f} is right, not {found:.4f}")


# %% [markdown]
# ## Notation
#
# | Name | Shape | Meaning |
# | --- | --- | --- |
# | `x` | (batch, …) | examples $x_0$, without noise |
# | `noise` | (batch, …) | $\epsilon$, drawn from the standard normal distribution, as large as the examples |
# | `t` | (batch,) | times from 0, the data, to 1, the noise; one for each example |
# | $a_t$, $s_t$ | | the shares of signal and of noise: $x_t = a_t\, x_0 + s_t\, \epsilon$ |
# | $\hat x_0$, $\hat\epsilon$ | (batch, …) | a network's guesses of the example and of the noise |
#
# Examples may have any shape behind the first dimension: points, pictures, pieces of sound. A number for each example
# has to be brought into a shape that multiplies the whole example. In question 5, time runs the other way, as in the
# papers on flow matching; it will say so.

# %% [markdown]
# ## 1. Many small steps, or one large one (4 points)
#
# The forward process of [Ho, Jain and Abbeel (2020)](https://arxiv.org/abs/2006.11239) mixes in a little noise in each
# of many steps, $x_k = \sqrt{1 - \beta_k}\; x_{k-1} + \sqrt{\beta_k}\; \eta_k$, with noise $\eta_k$ that is new in each
# step. After $k$ steps it has come to
#
# $$x_k = a_k\, x_0 + s_k\, \epsilon .$$
#
# Write a function that computes both shares for all numbers of steps, from none to all.
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Insert the formula of $x_1$ into that of $x_2$, and sort the terms by $x_0$, $\eta_1$ and $\eta_2$. The share of
# signal is what multiplies $x_0$. For the share of noise, ask which quantity of two independent noises adds up when
# the noises are added.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Each step multiplies the share of signal by $\sqrt{1 - \beta_k}$. Let $u_k$ be the variance of all the noise after
# $k$ steps: $u_0 = 0$ and $u_k = (1 - \beta_k)\, u_{k-1} + \beta_k$. Compute $a_k^2 + u_k$ for $k = 0, 1, 2$; what do
# you notice? The share $s_k$ is the square root of $u_k$. Both results are one entry longer than `rates`, and their
# first entries describe $x_0$ itself.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "shares", "locked": false, "schema_version": 3, "solution": true, "task": false}
def shares_after(rates):
    """Return the shares (a, s) of signal and of noise after 0, 1, 2, … steps.

    rates: (steps,), the rates beta_1, beta_2, … of the steps, between 0 and 1.
    Returns two tensors of shape (steps + 1,); the first entries belong to no step
    at all.
    """
    ### BEGIN SOLUTION
    kept = torch.cat([torch.ones(1), (1 - rates).cumprod(dim=0)])
    return kept.sqrt(), (1 - kept).sqrt()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "shares-signal", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1a (1 point): the share of signal.
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
    names = {**globals(), **vars(builtins), **usual}
    code, defaults = _compare.__code__, _compare.__defaults__
    names["_compare"] = types.FunctionType(code, names, "_compare", defaults)
    types.FunctionType(check.__code__, names)()


_own = {}


def _choose(check, **stand_ins):
    """Put the stand-ins in the place of the student's functions, unless the check
    fails with them; return whether it passed.
    """
    for name, stand_in in stand_ins.items():
        if globals().get(name) is not stand_in:
            _own[name] = globals().get(name)
    globals().update(stand_ins)
    try:
        _run(check)
    except Exception:
        globals().update((name, _own[name]) for name in stand_ins)
        return False
    return True


### END HIDDEN TESTS
a, _ = shares_after(torch.tensor([0.36, 0.75]))
known = {
    "this is alpha-bar; the share is its square root": [1, 0.64, 0.16],
    "this is what one step alone keeps": [1, 0.8, 0.5],
    "the rates were added; what is kept has to be multiplied": [1, 0.8, 0],
}
_compare(a, [1, 0.8, 0.4], "the share of signal", known)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(1)
    for steps in (1, 4, 30):
        rates = 0.01 + 0.4 * torch.rand(steps, generator=draw)
        given, product, right = rates.clone(), 1.0, [1.0]
        for rate in rates.tolist():
            product *= 1 - rate
            right.append(math.sqrt(product))
        a, _ = shares_after(rates)
        assert torch.equal(rates, given), "the given rates were changed"
        one = [1.0, *[math.sqrt(1 - rate) for rate in rates.tolist()]]
        mistakes = {
            "this is alpha-bar; the share is its square root": [
                each**2 for each in right
            ],
            "this is what one step alone keeps": one,
            "the rates were added; what is kept has to be multiplied": [
                math.sqrt(max(0.0, 1 - sum(rates.tolist()[:k])))
                for k in range(steps + 1)
            ],
        }
        _compare(a, right, f"the share of signal, {steps} steps", mistakes)


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "shares-noise", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1b (1 point): the share of noise.
_, s = shares_after(torch.tensor([0.36, 0.75]))
what = "you scaled the noise by 1 - alpha-bar instead of its square root"
known = {
    what: [0, 0.36, 0.84],
    "this is what the last step alone adds": [0, 0.6, 0.75**0.5],
    "you scaled the noise by the product of the rates, beta-bar": [
        0,
        0.6,
        0.27**0.5,
    ],
    "variances add up to 1, not the shares themselves": [0, 0.2, 0.6],
}
_compare(s, [0, 0.6, 0.84**0.5], "the share of noise", known)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(2)
    for steps in (1, 4, 30):
        rates = 0.01 + 0.4 * torch.rand(steps, generator=draw)
        # by the variances of the noises, which add up, not by a product
        variance, right, product, swallowed = 0.0, [0.0], 1.0, [0.0]
        for rate in rates.tolist():
            variance = (1 - rate) * variance + rate
            product *= rate
            right.append(math.sqrt(variance))
            swallowed.append(math.sqrt(product))
        _, s = shares_after(rates)
        kept = [1 - each**2 for each in right]
        mistakes = {
            "you scaled the noise by 1 - alpha-bar instead of its square root": [
                1 - each for each in kept
            ],
            "you scaled the noise by the product of the rates, beta-bar": swallowed,
            "this is what the last step alone adds": [
                0.0,
                *rates.sqrt().tolist(),
            ],
            "variances add up to 1, not the shares themselves": [
                1 - math.sqrt(each) for each in kept
            ],
        }
        _compare(s, right, f"the share of noise, {steps} steps", mistakes)


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# With the shares, an example is put at any step in one line, and in a batch each example is at a step of its own. You
# may call your functions of earlier questions, here and below. A check is passed if it is passed with them or with
# correct versions in their place, so that no mistake costs you points twice.
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# `shares_after` returns the shares for every number of steps. Which entry belongs to an example after $k$ steps, and
# which to an example after none?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Index both tensors of shares with `k`: that gives one share per example, in the shape (batch,). Bring it into a
# shape with as many dimensions as `x` has, the batch first and 1 in all others, so that it multiplies the whole
# example. Entry 0 belongs to no step, so nothing has to be subtracted from `k`.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "noisy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def noisy_at(x, k, rates, noise):
    """Return each example after its own number of steps.

    x, noise: (batch, …). k: (batch,), whole numbers from 0 to the number of steps.
    rates: (steps,), as above. Returns the shape of x; x and noise stay as they are.
    """
    ### BEGIN SOLUTION
    beside = (-1, *[1] * (x.dim() - 1))
    a, s = (share[k].view(beside) for share in shares_after(rates))
    return a * x + s * noise
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "noisy-steps", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1c (1 point): three examples of two numbers, after 0, 1 and 2 steps.
### BEGIN HIDDEN TESTS
# A mistake in the function before is not punished here: the check is passed if it
# is passed with this function or with the student's own.
def _shares_after(rates):
    logs = torch.cat([torch.zeros(1), torch.log1p(-rates).cumsum(dim=0)])
    return (logs / 2).exp(), (-torch.expm1(logs)).sqrt()


def _check():
    draw = torch.Generator().manual_seed(3)
    for shape in [(4,), (3, 3), (2, 3, 2), (5, 1, 2, 5)]:
        x, noise = torch.randn(2, *shape, generator=draw)
        rates = 0.02 + 0.3 * torch.rand(6, generator=draw)
        k = torch.randint(0, 7, shape[:1], generator=draw)
        k[0], k[-1] = 6, 0
        given = x.clone(), noise.clone(), k.clone(), rates.clone()
        found = noisy_at(x, k, rates, noise)
        for each, before in zip((x, noise, k, rates), given, strict=True):
            assert torch.equal(each, before), "the given tensors were changed"
        rows, variances, before = [], [], []
        for i, steps in enumerate(k.tolist()):
            product = 1.0
            for rate in rates.tolist()[:steps]:
                product *= 1 - rate
            rows.append(product**0.5 * x[i] + (1 - product) ** 0.5 * noise[i])
            variances.append(product**0.5 * x[i] + (1 - product) * noise[i])
            before.append(product * x[i] + (1 - product) * noise[i])
        mistakes = {
            "you scaled the noise by 1 - alpha-bar instead of its square root": (
                torch.stack(variances)
            ),
            "both shares are square roots, of alpha-bar and of the rest": (
                torch.stack(before)
            ),
        }
        _compare(found, torch.stack(rows), f"examples of {shape}", mistakes)


_passed = _choose(_check, shares_after=_shares_after)
### END HIDDEN TESTS
x = torch.tensor([[1.0, 2.0], [1.0, 2.0], [5.0, 0.0]])
noise = torch.tensor([[9.0, 9.0], [10.0, -10.0], [0.0, 1.0]])
rates, k = torch.tensor([0.36, 0.75]), torch.tensor([0, 1, 2])
found = noisy_at(x, k, rates, noise)
assert type(found) is Tensor, f"the answer must be a tensor, not {type(found)}"
assert found.shape == (3, 2), f"shape (3, 2), not {tuple(found.shape)}"
_compare(found[0], x[0], "after no step, the example itself")
wrong = {"the noise has the share 0.6, the root of 0.36": [4.4, -2.0]}
_compare(found[1], [6.8, -4.4], "after one step", wrong)
_compare(found[2], [2.0, 0.84**0.5], "after two steps")
### BEGIN HIDDEN TESTS
if not _passed:
    _run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now the other way round. Somebody has drawn how the signal should fall, $a_1 > a_2 > \dots$, and asks for the rates
# that do it. Derive them on paper: what does a single step do to the share that is there?
#
# *Difficulty: ★★☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# In the formula at the beginning of question 1, the share of signal after a step depends only on the share before it
# and on the rate of this step. Write down that equation, and solve it for the rate.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The equation is $a_k = \sqrt{1 - \beta_k}\; a_{k-1}$, with $a_0 = 1$. Divide by $a_{k-1}$ before you square.
# `signal` begins with $a_1$, so you need a second tensor of the same length that holds the share *before* each step.
# As a test, give your rates to `shares_after`: its first result has to be a 1 followed by `signal`.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "rates", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rates_for(signal):
    """Return the rates with which the signal falls as wanted.

    signal: (steps,), the shares a_1 > a_2 > … after 1, 2, … steps, between 0 and 1.
    Before the first step the share is 1. Returns (steps,).
    """
    ### BEGIN SOLUTION
    before = torch.cat([torch.ones(1), signal[:-1]])
    return 1 - (signal / before) ** 2
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rates-value", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1d (1 point): rates for a signal that falls to 0.8 and then to 0.4.
known = {
    "the root is missing: a step keeps sqrt(1 - beta) of the signal": [0.2, 0.5],
    "each step begins where the one before has ended": [0.36, 0.84],
}
found = rates_for(torch.tensor([0.8, 0.4]))
_compare(found, [0.36, 0.75], "the rates", known)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(4)
    for steps in (1, 3, 20):
        kept = 0.7 + 0.29 * torch.rand(steps, generator=draw, dtype=torch.float64)
        signal, share, right = [], 1.0, []
        for each in kept.tolist():
            share *= each
            signal.append(share)
            right.append(1 - each**2)
        wanted = torch.tensor(signal)
        given = wanted.clone()
        found = rates_for(wanted)
        assert torch.equal(wanted, given), "the given shares were changed"
        mistakes = {
            "the root is missing: a step keeps sqrt(1 - beta) of the signal": [
                1 - each for each in kept.tolist()
            ],
            "each step begins where the one before has ended": [
                1 - each**2 for each in signal
            ],
        }
        _compare(found, right, f"the rates of {steps} steps", mistakes)


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Let the signal fall by the same amount in each of nine steps, from 1 to 0.1. Are the rates the same in all steps? If
# not, where are they large? Guess, then run the cell.

# %%
even = torch.linspace(0.9, 0.1, 9)
rates = rates_for(even)
print("rates ", " ".join(f"{rate:.2f}" for rate in rates.tolist()))
a, s = shares_after(rates)
print("signal", " ".join(f"{share:.2f}" for share in a[1:].tolist()))
print("noise ", " ".join(f"{share:.2f}" for share in s[1:].tolist()))

# %% [markdown]
# ## 2. Three questions to a network (4 points)
#
# From here on time is a number from 0 to 1. We use a path that no chapter has, the **bent path**
#
# $$a_t = 1 - t^2, \qquad s_t = t, \qquad x_t = (1 - t^2)\, x_0 + t\, \epsilon .$$
#
# At $t = 0$ there is the example alone, at $t = 1$ the noise alone; in between $a_t^2 + s_t^2$ is *not* 1. At a point of
# this path a network may be asked for the noise, for the clean example, or for the velocity $\dot x_t$, the derivative
# of the point with respect to $t$, while $x_0$ and $\epsilon$ stay what they are. Derive the velocity on this path; the
# formula of the cosine path does not hold here. What does the loss compare the network's answer with?
#
# *Difficulty: ★★☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# For two of the three predictions the target is one of the arguments as it is. For the velocity, look at $x_t$ as a
# sum of two products: which factors in it change when $t$ changes?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# With $\dot a_t$ and $\dot s_t$ for the derivatives of the shares, $\dot x_t = \dot a_t\, x_0 + \dot s_t\, \epsilon$.
# Differentiate both shares of the bent path, and mind the sign: the signal falls. In the code, `t` has the shape
# (batch,) and needs one in which it multiplies the whole example. As a test, with a small number $h$ the quotient
# $(x_{t+h} - x_{t-h}) / (2h)$ has to give the same.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "target", "locked": false, "schema_version": 3, "solution": true, "task": false}
def loss_target(prediction, x, noise, t):
    """Return what the network should answer at x_t of the bent path.

    prediction: "noise", "clean" or "velocity". x, noise: (batch, …). t: (batch,),
    from 0 to 1. Returns the shape of x.
    """
    ### BEGIN SOLUTION
    t = t.view(-1, *[1] * (x.dim() - 1))
    return {"noise": noise, "clean": x, "velocity": noise - 2 * t * x}[prediction]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "target-each", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 2a (1 point): the target for each prediction.
x, noise = torch.tensor([[1.0, 4.0]]), torch.tensor([[2.0, 0.0]])
t = torch.tensor([0.5])
_compare(loss_target("noise", x, noise, t), noise, "the noise")
_compare(loss_target("clean", x, noise, t), x, "the clean example")
wrong = {
    "this is the velocity on the straight path": noise - x,
    "this is the point x_t itself": [[1.75, 3.0]],
    "the signal falls, so its slope is negative": [[3, 4]],
    "a share of 1 - t ** 2 has the slope -2 t": [[1.5, -2]],
    "this is the formula for a ** 2 + s ** 2 = 1": [[1, -2]],
    "this is the formula of the cosine path": [[math.pi / 2, -math.pi]],
}
_compare(loss_target("velocity", x, noise, t), [[1.0, -4.0]], "velocity", wrong)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(5)
    for shape in [(4,), (3, 3), (2, 3, 2), (4, 1, 3, 4)]:
        x, noise = torch.randn(2, *shape, generator=draw, dtype=torch.float64)
        t = torch.rand(shape[0], generator=draw, dtype=torch.float64)
        given = x.clone(), noise.clone(), t.clone()
        answers = [loss_target(p, x, noise, t) for p in ("noise", "clean")]
        _compare(answers[0], noise, "the noise")
        _compare(answers[1], x, "the clean example")
        found = loss_target("velocity", x, noise, t)
        for each, before in zip((x, noise, t), given, strict=True):
            assert torch.equal(each, before), "the given tensors were changed"

        def each_row(formula, x=x, noise=noise, t=t):
            rows = zip(t.tolist(), x, noise, strict=True)
            return torch.stack([formula(*row) for row in rows])

        def point(u, x, e):
            return (1 - u * u) * x + u * e

        right = each_row(  # a difference instead of the derivative
            lambda t, x, e: (point(t + 1e-5, x, e) - point(t - 1e-5, x, e)) / 2e-5
        )
        mistakes = {
            "this is the velocity on the straight path": noise - x,
            "this is the formula for a ** 2 + s ** 2 = 1": each_row(
                lambda t, x, e: (1 - t * t) * e - t * x
            ),
            "this is the formula of the cosine path": each_row(
                lambda t, x, e: math.pi / 2 * ((1 - t * t) * e - t * x)
            ),
            "the signal falls, so its slope is negative": each_row(
                lambda t, x, e: e + 2 * t * x
            ),
            "a share of 1 - t ** 2 has the slope -2 t": each_row(
                lambda t, x, e: e - t * x
            ),
            "this is the point x_t itself": each_row(
                lambda t, x, e: (1 - t * t) * x + t * e
            ),
            "the velocity is upside down: towards the noise": -right,
        }
        _compare(found, right, "the velocity", mistakes)


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# As $x_t$ is known, each of the three answers contains the others. The samplers want two guesses, of the example and of
# the noise. For the noise and for the clean example one rearranges the formula of $x_t$; for the velocity, two equations
# are to be solved for two unknowns. Do it on paper. (The two guesses from a velocity need no division by something that
# becomes 0; if yours do, simplify.)
#
# *Difficulty: ★★★. Time: about 25 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# If the network was asked for the noise or for the clean example, one of the two guesses is there already, and the
# formula of $x_t$ has a single unknown left. If it was asked for the velocity, there are two equations, that of $x_t$
# and that of $\dot x_t$ from the question before, for the two unknowns $x_0$ and $\epsilon$.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# From the noise or the example: bring the known term to the other side, and divide by the share of the unknown. From
# the velocity: multiply the equation of $\dot x_t$ by $t$, and subtract it from the equation of $x_t$; the noise
# drops out. Collect what then multiplies $x_0$ (it is never 0), and divide by it. Insert this guess into the equation
# of $\dot x_t$, and the noise follows without another division. Return the clean example first, and bring `t` into a
# shape that multiplies whole examples.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "split", "locked": false, "schema_version": 3, "solution": true, "task": false}
def both_guesses(prediction, said, x_t, t):
    """Return the guesses (clean, noise) that are contained in what the network said
    at x_t of the bent path.

    prediction: "noise", "clean" or "velocity": what the network was asked for.
    said, x_t: (batch, …). t: (batch,), between 0 and 1; for a velocity also 0 or 1.
    Returns two tensors of the shape of x_t.
    """
    ### BEGIN SOLUTION
    s = t.view(-1, *[1] * (x_t.dim() - 1))
    a = 1 - s**2
    if prediction == "noise":
        return (x_t - s * said) / a, said
    if prediction == "clean":
        return said, (x_t - a * said) / s
    return (x_t - s * said) / (1 + s**2), (a * said + 2 * s * x_t) / (1 + s**2)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "split-plain", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 2b (1 point): from the noise, and from the clean example. Here x_0 = (1, 4)
# and the noise is (2, 0), at t = 0.5.
### BEGIN HIDDEN TESTS
def _bent(shape, seed, ends=False):
    """x_0, noise, t, x_t on the bent path, in double precision."""
    draw = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, *shape, generator=draw, dtype=torch.float64)
    t = 0.1 + 0.8 * torch.rand(shape[0], generator=draw, dtype=torch.float64)
    if ends:
        t[0], t[-1] = 0.0, 1.0
    rows = [(1 - u * u) * x[i] + u * noise[i] for i, u in enumerate(t.tolist())]
    return x, noise, t, torch.stack(rows)


### END HIDDEN TESTS
x, noise = torch.tensor([[1.0, 4.0]]), torch.tensor([[2.0, 0.0]])
x_t, t = torch.tensor([[1.75, 3.0]]), torch.tensor([0.5])
wrong = {"the signal's share is still in it: divide by it": [[0.75, 3.0]]}
wrong["this is the share of another path; here a = 1 - t ** 2"] = [[0.8660, 3.4641]]
clean, same = both_guesses("noise", noise, x_t, t)
_compare(clean, x, "the example, from the noise", wrong)
_compare(same, noise, "the noise, from the noise")
same, found = both_guesses("clean", x, x_t, t)
wrong = {"the noise's share is still in it: divide by it": [[1.0, 0.0]]}
_compare(found, noise, "the noise, from the example", wrong)
_compare(same, x, "the example, from the example")


### BEGIN HIDDEN TESTS
def _check():
    for seed, shape in enumerate([(4,), (3, 3), (2, 3, 2), (4, 1, 3, 4)]):
        x, noise, t, x_t = _bent(shape, 10 + seed)
        # The network's answer is wrong by something, as it always is.
        said = noise + 0.3
        clean = torch.stack(
            [(x_t[i] - u * said[i]) / (1 - u * u) for i, u in enumerate(t.tolist())]
        )
        circle = torch.stack(
            [
                (x_t[i] - u * said[i]) / math.sqrt(1 - u * u)
                for i, u in enumerate(t.tolist())
            ]
        )
        undivided = torch.stack(
            [x_t[i] - u * said[i] for i, u in enumerate(t.tolist())]
        )
        found = both_guesses("noise", said, x_t, t)
        mistakes = {
            "the signal's share is still in it: divide by it": undivided,
            "this is the share of another path; here a = 1 - t ** 2": circle,
        }
        _compare(found[0], clean, "the example, from the noise", mistakes)
        _compare(found[1], said, "the noise, from the noise")
        said = x - 0.2
        other = torch.stack(
            [(x_t[i] - (1 - u * u) * said[i]) / u for i, u in enumerate(t.tolist())]
        )
        undivided = torch.stack(
            [x_t[i] - (1 - u * u) * said[i] for i, u in enumerate(t.tolist())]
        )
        found = both_guesses("clean", said, x_t, t)
        mistakes = {"the noise's share is still in it: divide by it": undivided}
        _compare(found[0], said, "the example, from the example")
        _compare(found[1], other, "the noise, from the example", mistakes)


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "split-velocity", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 2c (2 points): from the velocity, which is (1, -4) there; and at both ends.
x, noise = torch.tensor([[1.0, 4.0]]), torch.tensor([[2.0, 0.0]])
velocity, x_t = torch.tensor([[1.0, -4.0]]), torch.tensor([[1.75, 3.0]])
clean, other = both_guesses("velocity", velocity, x_t, torch.tensor([0.5]))
wrong = {"on this path there is 1 + t ** 2 to divide by": [[1.25, 5.0]]}
wrong["these are the formulas for a ** 2 + s ** 2 = 1"] = [[0.8125, 4.25]]
_compare(clean, x, "the example, from the velocity", wrong)
wrong = {"on this path there is 1 + t ** 2 to divide by": [[2.5, 0.0]]}
_compare(other, noise, "the noise, from the velocity", wrong)
for t, x_t, velocity in [(0.0, x, noise), (1.0, noise, noise - 2 * x)]:
    found = both_guesses("velocity", velocity, x_t, torch.tensor([t]))
    _compare(found[0], x, f"the example at t = {t}")
    _compare(found[1], noise, f"the noise at t = {t}")


### BEGIN HIDDEN TESTS
def _check():
    for seed, shape in enumerate([(4,), (3, 3), (2, 3, 2), (4, 1, 3, 4)]):
        x, noise, t, x_t = _bent(shape, 20 + seed, ends=True)
        rows = list(enumerate(t.tolist()))
        velocity = torch.stack([noise[i] - 2 * u * x[i] for i, u in rows])
        found = both_guesses("velocity", velocity, x_t, t)
        mistakes = {
            "on this path there is 1 + t ** 2 to divide by": torch.stack(
                [x_t[i] - u * velocity[i] for i, u in rows]
            ),
            "these are the formulas for a ** 2 + s ** 2 = 1": torch.stack(
                [(1 - u * u) * x_t[i] - u * velocity[i] for i, u in rows]
            ),
            "example and noise are exchanged": noise,
        }
        _compare(found[0], x, "the example, from the velocity", mistakes)
        mistakes = {
            "on this path there is 1 + t ** 2 to divide by": torch.stack(
                [(1 - u * u) * velocity[i] + 2 * u * x_t[i] for i, u in rows]
            ),
            "these are the formulas for a ** 2 + s ** 2 = 1": torch.stack(
                [u * x_t[i] + (1 - u * u) * velocity[i] for i, u in rows]
            ),
        }
        _compare(found[1], noise, "the noise, from the velocity", mistakes)


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# The network never answers quite right. Below, each of its answers is wrong by 0.01; how wrong are the guesses of the
# example and of the noise, early, in the middle and late on the path? In which places would you not want to divide?

# %%
x, noise, off = torch.tensor([0.7]), torch.tensor([-0.4]), 0.01
for moment in (0.05, 0.5, 0.95):
    t, line = torch.tensor([moment]), f"t = {moment:.2f}: "
    x_t = (1 - t**2) * x + t * noise
    for prediction in ("noise", "clean", "velocity"):
        said = loss_target(prediction, x, noise, t) + off
        clean, other = both_guesses(prediction, said, x_t, t)
        line += f"{prediction} {(clean - x).abs().item():.3f} and "
        line += f"{(other - noise).abs().item():.3f}; "
    print(line[:-2])

# %% [markdown]
# ## 3. One step back (4 points)
#
# A step goes from a time $t$ to an earlier time $r$, and knows the guesses $\hat x_0$ and $\hat\epsilon$ at $t$. It puts
# them together with the shares of the time $r$. Part of the noise at $r$ may be fresh, $z \sim \mathcal N(0, I)$:
#
# $$x_r = a_r\, \hat x_0 + \kappa\, \hat\epsilon + \sigma\, z .$$
#
# [Song, Meng and Ermon (2021)](https://arxiv.org/abs/2010.02502) let a number $\eta$ from 0 to 1 say how much:
#
# - With $\eta = 0$ there is no fresh noise, and $\sigma = 0$ (DDIM).
# - With $\eta = 1$ the step is that of the chapter, which keeps the part $\rho = \frac{a_t s_r}{a_r s_t}$ of the noise and
#   replaces the rest (DDPM).
# - In between, $\sigma$ is $\eta$ times what it is for $\eta = 1$.
#
# Whatever $\eta$ is, $x_r$ must have as much noise in all as belongs to the time $r$: $\hat\epsilon$ and $z$ are
# independent, each with variance 1, and together they must have the variance $s_r^2$. Derive $\sigma$ and $\kappa$.
#
# *Difficulty: ★★★. Time: about 30 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Begin with $\eta = 1$. The noise that is kept is then $s_r\, \rho\, \hat\epsilon$; what is its variance, and how
# much is missing from the variance that belongs to the time $r$? The fresh noise has to supply exactly that.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# For $\eta = 1$, $\sigma^2$ is $s_r^2$ less the variance of the noise that is kept. For any other $\eta$, multiply
# the *root* of this by $\eta$, not the variance, and then find $\kappa$ from $\kappa^2 + \sigma^2 = s_r^2$ with the
# $\sigma$ of the same $\eta$. Divide by $a_r$ and $s_t$ alone, as $a_t$ and $s_r$ may be 0. If $r$ is $t$ or close to
# it, rounding can push $1 - \rho^2$ slightly below 0; keep it at 0 or above before you take the root.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ddim_step(clean, noise, now, then, eta, z):
    """Return x_r, one step back from the time t.

    clean, noise: (batch, …), the guesses at t. now: the shares (a_t, s_t), two
    numbers; s_t is above 0. then: those of the time r, which is earlier than t or
    the same (rounding must not make what is under a root negative); a_r is above 0,
    and s_r may be 0. eta: a number from 0 to 1.
    z: (batch, …), fresh noise. Returns the shape of clean.
    """
    ### BEGIN SOLUTION
    (a_t, s_t), (a_r, s_r) = now, then
    rho = a_t * s_r / (a_r * s_t)
    fresh = eta * s_r * math.sqrt(max(0.0, 1 - rho**2))
    return a_r * clean + math.sqrt(s_r**2 - fresh**2) * noise + fresh * z
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "step-ddim", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3a (1 point): no fresh noise. From shares (0.5, 0.6) to (0.8, 0.3).
### BEGIN HIDDEN TESTS
def _steps(count, seed, latest=0.95):
    """Pairs (now, then) of shares on the bent path, not for the first or last."""
    draw = torch.Generator().manual_seed(seed)
    pairs = []
    for _ in range(count):
        t = 0.3 + (latest - 0.3) * torch.rand((), generator=draw).item()
        r = t * (0.2 + 0.7 * torch.rand((), generator=draw).item())
        pairs.append(((1 - t * t, t), (1 - r * r, r)))
    return pairs


def _sigma(now, then):
    rho = now[0] * then[1] / (then[0] * now[1])
    return then[1] * math.sqrt(1 - rho * rho)


### END HIDDEN TESTS
clean, noise = torch.tensor([[1.0, 2.0]]), torch.tensor([[-1.0, 1.0]])
z = torch.tensor([[10.0, 20.0]])
found = ddim_step(clean, noise, (0.5, 0.6), (0.8, 0.3), 0.0, z)
wrong = {
    "these are the shares of the time where the step begins": [[-0.1, 1.6]],
    "with eta = 0 the noise is the guessed one, not a fresh one": [[3.8, 7.6]],
}
_compare(found, [[0.5, 1.9]], "the step with eta = 0", wrong)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(30)
    for shape, (now, then) in zip(
        [(4,), (3, 2), (2, 3, 2), (3, 1, 2, 2)], _steps(4, 31), strict=True
    ):
        clean, noise, z = torch.randn(3, *shape, generator=draw)
        given = clean.clone(), noise.clone(), z.clone()
        found = ddim_step(clean, noise, now, then, 0.0, z)
        for each, before in zip((clean, noise, z), given, strict=True):
            assert torch.equal(each, before), "the given tensors were changed"
        mistakes = {
            "these are the shares of the time where the step begins": (
                now[0] * clean + now[1] * noise
            ),
            "with eta = 0 the noise is the guessed one, not a fresh one": (
                then[0] * clean + then[1] * z
            ),
            "this is the step with eta = 1": (
                then[0] * clean
                + math.sqrt(then[1] ** 2 - _sigma(now, then) ** 2) * noise
                + _sigma(now, then) * z
            ),
            "a part of the noise is lost: with eta = 0 all of it is kept": (
                then[0] * clean
                + math.sqrt(then[1] ** 2 - _sigma(now, then) ** 2) * noise
            ),
        }
        right = then[0] * clean + then[1] * noise
        _compare(found, right, "the step with eta = 0", mistakes)


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "step-fresh", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3b (1 point): how much fresh noise. From (0.5, 0.8) to (0.8, 0.6).
zero, one = torch.zeros(1), torch.ones(1)
fresh = ddim_step(zero, zero, (0.5, 0.8), (0.8, 0.6), 1.0, one)
what = "you scaled the fresh noise by its variance instead of its square root"
known = {what: [0.2809], "a part rho of the noise that is there is kept": [0.6]}
known["rho has the shares of signal in it as well"] = [0.6 * 0.4375**0.5]
known["not 1 - rho is replaced, but 1 - rho ** 2"] = [0.6 * 0.53125**0.5]
what = "the formula in the paper needs a ** 2 + s ** 2 = 1; here it is not so"
known[what] = [0.75 * 0.609375**0.5]
what = "this is the noise that the way forward adds between the times"
known[what] = [(0.64 - 0.36 * 0.390625) ** 0.5]
_compare(fresh, [0.6 * (1 - 0.46875**2) ** 0.5], "sigma for eta = 1", known)
what, half = "eta is a factor of sigma, and comes in once", fresh / 4
fresh = ddim_step(zero, zero, (0.5, 0.8), (0.8, 0.6), 0.5, one)
_compare(fresh, 2 * half, "half of it for eta = 1/2", {what: half})


### BEGIN HIDDEN TESTS
def _check():
    zero, one = torch.zeros(1, 2), torch.ones(1, 2)
    for now, then in _steps(6, 32):
        (a_t, s_t), (a_r, s_r) = now, then
        full, rho = _sigma(now, then), a_t * s_r / (a_r * s_t)
        for eta in (0.0, 0.3, 0.7, 1.0):
            found = ddim_step(zero, zero, now, then, eta, one)
            found = found - ddim_step(zero, zero, now, then, eta, zero)
            what = "you scaled the fresh noise by its variance"
            values = {
                f"{what} instead of its square root": eta**2 * full**2,
                "eta is a factor of sigma, not of its square": math.sqrt(eta)
                * full,
                "eta is a factor of sigma, and comes in once": eta**2 * full,
                "a part rho of the noise that is there is kept": eta * s_r,
                "this is the noise that the way forward adds between the times": (
                    eta * math.sqrt(s_t**2 - (a_t / a_r) ** 2 * s_r**2)
                ),
                "rho has the shares of signal in it as well": (
                    eta * s_r * math.sqrt(1 - (s_r / s_t) ** 2)
                ),
                "not 1 - rho is replaced, but 1 - rho ** 2": (
                    eta * s_r * math.sqrt(1 - rho)
                ),
                "the formula in the paper needs a ** 2 + s ** 2 = 1; here "
                "it is not so": eta * s_r / s_t * math.sqrt(1 - (a_t / a_r) ** 2),
                "the share s_r of the noise is missing": eta
                * math.sqrt(1 - rho**2),
            }
            mistakes = {what: torch.full((1, 2), v) for what, v in values.items()}
            right = torch.full((1, 2), eta * full)
            _compare(found, right, f"sigma for eta = {eta}", mistakes)


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "step-kept", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3c (1 point): the noise in all. Here is how much of it is old, how much new.
zero, one = torch.zeros(1), torch.ones(1)
for eta in (0.0, 0.5, 1.0):
    shares = (0.6, 0.8), (0.8, 0.6)
    kept = ddim_step(zero, one, *shares, eta, zero).item()
    fresh = ddim_step(zero, zero, *shares, eta, one).item()
    assert math.hypot(kept, fresh) < 0.601 or abs(kept - 0.6) > 0.001, (
        "the guessed noise keeps its whole share, although fresh noise is added"
    )
    assert abs(math.hypot(kept, fresh) - 0.6) < 0.001, (
        f"eta = {eta}: all noise together has the share 0.6, not "
        f"{math.hypot(kept, fresh):.4f}; variances add up"
    )


### BEGIN HIDDEN TESTS
def _check():
    # With the function's own sigma, so that a wrong one loses nothing here.
    zero, one = torch.zeros(1, 2), torch.ones(1, 2)
    for now, then in _steps(6, 33):
        s_r, rho = then[1], now[0] * then[1] / (then[0] * now[1])
        for eta in (0.0, 0.4, 0.8, 1.0):
            start = ddim_step(zero, zero, now, then, eta, zero)
            fresh = (ddim_step(zero, zero, now, then, eta, one) - start)[
                0, 0
            ].item()
            kept = ddim_step(zero, one, now, then, eta, zero) - start
            values = {
                "the guessed noise keeps its whole share, although fresh noise is "
                "added": s_r,
                "standard deviations do not add up, variances do": s_r - fresh,
                "this is right for eta = 1 alone": rho * s_r,
                "this is the noise of the time where the step begins": math.sqrt(
                    max(0.0, now[1] ** 2 - fresh**2)
                ),
            }
            mistakes = {what: torch.full((1, 2), v) for what, v in values.items()}
            right = math.sqrt(max(0.0, s_r**2 - fresh**2))
            right = torch.full((1, 2), right)
            _compare(kept, right, f"kappa for eta = {eta}", mistakes)


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "step-ends", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3d (1 point): the last step, to the data; the first one, from pure noise.
clean, noise = torch.tensor([[1.0, 2.0]]), torch.tensor([[-1.0, 1.0]])
z = torch.tensor([[10.0, 20.0]])
for eta in (0.0, 0.5, 1.0):
    found = ddim_step(clean, noise, (0.8, 0.6), (1.0, 0.0), eta, z)
    what = f"eta = {eta}: at the data there is no noise, not even fresh noise"
    _compare(found, clean, what)
first = ddim_step(clean, 0 * noise, (0.0, 1.0), (0.4, 0.7), 1.0, 0 * z)
_compare(first, 0.4 * clean, "the first step, without its noise")


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(34)
    clean, noise, z = torch.randn(3, 2, 3, generator=draw)
    for now, then in _steps(4, 35):
        for eta in (0.0, 0.6, 1.0):
            found = ddim_step(clean, noise, now, (1.0, 0.0), eta, z)
            what = (
                f"eta = {eta}: at the data there is no noise, not even fresh noise"
            )
            _compare(found, clean, what)
            found = ddim_step(clean, 0 * noise, (0.0, 1.0), then, eta, 0 * z)
            _compare(found, then[0] * clean, "the first step, without its noise")


_run(_check)
### END HIDDEN TESTS


# %% [markdown]
# How good is a chain of such steps? If the data are normal with mean 0 and standard deviation 0.5, the best guesses
# can be computed: $\hat x_0 = 0.25\, a x / v$ and $\hat\epsilon = s x / v$ with $v = 0.25\, a^2 + s^2$. Which of the chains
# below ends with a standard deviation near 0.5, and do few steps make it too small or too large? Guess first.


# %%
def spread_after(steps, eta):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, generator=draw)
    shares = [(1 - (k / steps) ** 2, k / steps) for k in range(steps, -1, -1)]
    for now, then in pairwise(shares):
        a, s = now
        variance = 0.25 * a**2 + s**2
        guesses = 0.25 * a * x / variance, s * x / variance
        z = torch.randn(20_000, generator=draw)
        x = ddim_step(*guesses, now, then, eta, z)
    return x.std().item()


# %%
for steps in (2, 5, 20, 100):
    spreads = [f"{spread_after(steps, eta):.2f}" for eta in (0.0, 0.5, 1.0)]
    print(f"{steps:3d} steps, eta = 0, 0.5 and 1:", ", ".join(spreads))

# %% [markdown]
# ## 4. Guidance (3 points)
#
# A network that knows classes is called with labels. It also knows a label that stands for no class: with −1 it is not
# told the class (in training, some labels were replaced by −1). **Classifier-free guidance**
# ([Ho and Salimans, 2022](https://arxiv.org/abs/2207.12598)) takes the answer with the class further away from the
# answer without it, or less far. In this course $w$ is counted so that
#
# - $w = 0$ is the answer without the class,
# - $w = 1$ is the answer with the class, and nothing is exaggerated,
#
# and everything else lies on the straight line through these two answers, beyond them as well. (Ho and Salimans count
# from the answer with the class: their weight is ours less 1.) Here each example has a $w$ of its own.
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Two answers determine the line, so the network is called twice. From which of them is $w$ counted, and where has the
# line to be at $w = 1$?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# For one of the calls, make a new tensor as large as `labels` that holds the label for no class, and leave `labels`
# as it is. Begin at the answer for $w = 0$; the direction of the line is the difference of the two answers, and its
# sign follows from $w = 1$. `w` has the shape (batch,) and needs one in which it multiplies whole examples. It may be
# negative or above 1, so it must not be clamped.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "guided", "locked": false, "schema_version": 3, "solution": true, "task": false}
def guided(network, x, t, labels, w):
    """Return the guided answer of the network.

    network: called as network(x, t, labels), it answers in the shape of x.
    x: (batch, …). t: (batch,). labels: (batch,), whole numbers from 0; they stay as
    they are. w: (batch,), any numbers, one for each example. Returns the shape of
    x.
    """
    ### BEGIN SOLUTION
    told = network(x, t, labels)
    plain = network(x, t, torch.full_like(labels, -1))
    return plain + w.view(-1, *[1] * (x.dim() - 1)) * (told - plain)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "guided-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
def class_network(x, t, labels):
    """A network for the checks: it answers x + t, and 10 more per class; without
    the class, 100 less.
    """
    push = torch.where(labels == -1, -100.0, 10.0 * labels)
    return x + (t + push).view(-1, *[1] * (x.dim() - 1))


# %% nbgrader={"grade": true, "grade_id": "guided-ends", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4a (1 point): what w = 0 and w = 1 mean.
x, t, labels = torch.zeros(2, 3), torch.tensor([0.5, 0.25]), torch.tensor([3, 1])
told = torch.tensor([[30.5], [10.25]]).expand(2, 3)
plain = torch.tensor([[-99.5], [-99.75]]).expand(2, 3)
found = guided(class_network, x, t, labels, torch.zeros(2))
assert labels.tolist() == [3, 1], "the given labels were changed"
wrong = {"here w = 0 is the answer without the class, not with it": told}
wrong["the answer without the class is missing"] = 0 * x
_compare(found, plain, "w = 0", wrong)
found = guided(class_network, x, t, labels, torch.ones(2))
what = "here w = 1 exaggerates nothing; w is not counted from the answer with it"
wrong = {what: 2 * told - plain, "with and without are exchanged": plain}
_compare(found, told, "w = 1", wrong)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(40)
    for shape in [(4,), (3, 3), (2, 3, 2), (4, 1, 3, 4)]:
        x = torch.randn(shape, generator=draw)
        t = torch.rand(shape[0], generator=draw)
        labels = torch.randint(5, shape[:1], generator=draw)
        given = x.clone(), labels.clone()
        pushes = [
            10.0 * label + u
            for label, u in zip(labels.tolist(), t.tolist(), strict=True)
        ]
        told = torch.stack([x[i] + push for i, push in enumerate(pushes)])
        plain = torch.stack([x[i] + u - 100 for i, u in enumerate(t.tolist())])
        zeros = torch.zeros(shape[0])
        found = guided(class_network, x, t, labels, zeros)
        assert torch.equal(x, given[0]), "the given examples were changed"
        assert torch.equal(labels, given[1]), "the given labels were changed"
        wrong = {
            "here w = 0 is the answer without the class, not with it": told,
            "the answer without the class is missing": 0 * x,
        }
        _compare(found, plain, "w = 0", wrong)
        found = guided(class_network, x, t, labels, zeros + 1)
        wrong = {
            "here w = 1 exaggerates nothing": 2 * told - plain,
            "with and without are exchanged": plain,
            "the answer without the class is missing": told - plain,
        }
        _compare(found, told, "w = 1", wrong)


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "guided-line", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4b (1 point): everything else lies on the line through these two answers.
x, t, labels = torch.zeros(3), torch.zeros(3), torch.tensor([2, 2, 2])
plain, told = (guided(class_network, x, t, labels, x + w) for w in (0.0, 1.0))
assert (told - plain).abs().min() > 1, "w changes nothing"
w = torch.tensor([0.5, 3.0, -1.0])
found = guided(class_network, x, t, labels, w)
clamped = plain + w.clamp(0, 1) * (told - plain)
wrong = {"w may be larger than 1 or negative; the line goes on": clamped}
wrong["each example has a w of its own"] = plain + w.mean() * (told - plain)
_compare(found, plain + w * (told - plain), "w = 0.5, 3 and -1", wrong)


### BEGIN HIDDEN TESTS
def _check():
    # The function is compared with its own answers for 0 and 1, so whoever counts w
    # from elsewhere loses nothing here.
    draw = torch.Generator().manual_seed(41)
    for shape in [(4,), (3, 3), (2, 3, 2), (4, 1, 3, 4)]:
        x = torch.randn(shape, generator=draw)
        t = torch.rand(shape[0], generator=draw)
        labels = torch.randint(5, shape[:1], generator=draw)
        w = 6 * torch.rand(shape[0], generator=draw) - 2
        zeros = torch.zeros(shape[0])
        first, second = (
            guided(class_network, x, t, labels, each) for each in (zeros, zeros + 1)
        )
        assert (first - second).abs().min() > 1, "w changes nothing"
        found = guided(class_network, x, t, labels, w)

        def line(weights, first=first, second=second):
            pairs = zip(weights, first, second, strict=True)
            return torch.stack([a + u * (b - a) for u, a, b in pairs])

        mean = w.mean().item()
        mistakes = {
            "w may be larger than 1 or negative; the line goes on": line(
                [min(1.0, max(0.0, u)) for u in w.tolist()]
            ),
            "each example has a w of its own": line([mean] * shape[0]),
        }
        _compare(found, line(w.tolist()), f"w of examples {shape}", mistakes)


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# What does it do to a distribution? The guess of the noise is the score times a factor,
# $\hat\epsilon = -s\, \nabla \log p_t(x)$. So the guided guess is that of another density, whose logarithm lies on the
# same line:
#
# $$\log \tilde p(x) = (1 - w) \log p(x) + w \log p(x \mid y) + \text{const.}$$
#
# Take numbers instead of pictures, at one fixed time: all examples together are normal with mean 0, those of the class
# with another mean and a smaller spread. Then $\tilde p$ is normal as well. Derive its mean and its standard deviation.
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# The logarithm of a normal density is a parabola in $x$, and a weighted sum of two parabolas is a parabola again.
# Which of its coefficients tell the mean and the standard deviation?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Up to a constant, the logarithm of a normal density with mean $\mu$ and standard deviation $\sigma$ is
# $-\frac{x^2}{2 \sigma^2} + \frac{\mu\, x}{\sigma^2}$. Write this for all examples, where $\mu = 0$, and for the
# class; weight the two with $1 - w$ and $w$, and collect what multiplies $x^2$ and what multiplies $x$. Compare with
# the same expression for the guided density: the factor of $x^2$ gives its standard deviation, and then the factor of
# $x$ its mean. Return the standard deviation, not the variance, and test $w = 0$ and $w = 1$.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "normal", "locked": false, "schema_version": 3, "solution": true, "task": false}
def guided_normal(mean, std, std_all, w):
    """Return mean and standard deviation of the guided density, two numbers.

    mean, std: of the class, a normal distribution. std_all: of the normal
    distribution of all examples, whose mean is 0; larger than std. w: from 0.
    """
    ### BEGIN SOLUTION
    precision = w / std**2 + (1 - w) / std_all**2
    return w * mean / std**2 / precision, precision**-0.5
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "normal-value", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4c (1 point): a class with mean 3 and spread 1, among all with spread 2.
for w, right in [(0.0, [0, 2]), (1.0, [3, 1]), (0.5, [2.4, 1.6**0.5])]:
    found = guided_normal(3.0, 1.0, 2.0, w)
    found = torch.tensor([float(each) for each in found])
    known = {
        "the logarithms lie on a line, not the means and spreads": [3 * w, 2 - w],
        "this is the variance": [right[0], right[1] ** 2],
        "the precisions are weighted, not the variances": [
            3 * w,
            (4 - 3 * w) ** 0.5,
        ],
    }
    _compare(found, right, f"mean and spread for w = {w}", known)


### BEGIN HIDDEN TESTS
def _check():
    for mean, std, std_all in [(3.0, 1.0, 2.0), (-1.0, 0.5, 0.8), (0.7, 0.2, 3.0)]:
        for w in (0.0, 0.3, 1.0, 2.5, 7.0):
            # log p at three places: a parabola, from which both numbers follow
            places = (-0.1, 0.0, 0.1)
            logs = [
                -(1 - w) * x**2 / (2 * std_all**2)
                - w * (x - mean) ** 2 / (2 * std**2)
                for x in places
            ]
            bend = (logs[0] - 2 * logs[1] + logs[2]) / 0.01
            slope = (logs[2] - logs[0]) / 0.2
            right = [-slope / bend, (-1 / bend) ** 0.5]
            found = guided_normal(mean, std, std_all, w)
            found = torch.tensor([float(each) for each in found])
            mistakes = {
                "the logarithms lie on a line, not the means and spreads": [
                    w * mean,
                    (1 - w) * std_all + w * std,
                ],
                "this is the variance": [right[0], right[1] ** 2],
                "the mean moves further than the class's own": [mean, right[1]],
                "the precisions are weighted, not the variances": [
                    w * mean,
                    max(0.0, (1 - w) * std_all**2 + w * std**2) ** 0.5,
                ],
            }
            _compare(found, right, f"mean and spread for w = {w}", mistakes)


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# A class has the mean 3 and the standard deviation 1; all examples together have the standard deviation 2. How far does
# guidance go, and what does it cost? Guess whether the mean can go beyond 4, then run the cell.

# %%
for w in (0.0, 1.0, 2.0, 4.0, 8.0, 100.0):
    mean, std = (float(each) for each in guided_normal(3.0, 1.0, 2.0, w))
    print(f"w = {w:5.1f}: mean {mean:.2f}, standard deviation {std:.2f}")

# %% [markdown]
# As $w$ grows, the mean comes near a limit, and the spread goes to 0. All this holds at one fixed time. A sampler goes
# through all times, and there is no path of noise that leads from the guided density of the data through the guided
# densities of all times. In the example, with $w = 2$, the data's guided variance is $4/7$. Add noise of variance 1,
# with the signal as it is ($a = s = 1$; so it is on other paths, not on the bent one): that becomes
# $4/7 + 1 \approx 1.57$. But guiding the noisy densities, whose variances are 2 and 5, gives $1 / (2/2 - 1/5) = 1.25$.
# So where a guided sampler ends is not simply the guided density of the data.

# %% [markdown]
# ## 5. Flow matching (5 points)
#
# **In this question time runs from 0, the noise, to 1, the data**, as in
# [Lipman et al. (2023)](https://arxiv.org/abs/2210.02747). Their path leads straight from the noise $\epsilon$ to the
# example $x$, and a little noise is left at its end, the number $\sigma$, as small as one likes:
#
# $$x_t = t\, x + \bigl(1 - (1 - \sigma)\, t\bigr)\, \epsilon .$$
#
# A network is trained to answer, at $x_t$ and $t$, with the velocity $\dot x_t$ of this point. Derive it.
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# The point is the formula above. For the velocity, $x$, $\epsilon$ and $\sigma$ stay what they are while $t$ changes:
# what is the derivative, with respect to $t$, of what multiplies $x$, and of what multiplies $\epsilon$?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Multiplied out, the factor of $\epsilon$ is $1 - t + \sigma\, t$. Both factors are linear in $t$, so the target does
# not contain $t$, but it does contain $\sigma$. As a test, the target is also the point at $t = 1$ less the point at
# $t = 0$. In the point, `t` has to multiply the whole example.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "flow", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flow_pair(x, noise, t, sigma):
    """Return the point x_t and the target of the network there.

    x, noise: (batch, …). t: (batch,), from 0 (noise) to 1 (data). sigma: a number
    from 0, below 1. Returns two tensors of the shape of x.
    """
    ### BEGIN SOLUTION
    t = t.view(-1, *[1] * (x.dim() - 1))
    return t * x + (1 - (1 - sigma) * t) * noise, x - (1 - sigma) * noise
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "flow-point", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5a (1 point): the point on the path.
x, noise = (
    torch.tensor([[4.0, 8.0], [1.0, 0.0]]),
    torch.tensor([[2.0, 0.0], [0, 1]]),
)
point, _ = flow_pair(x, noise, torch.tensor([0.25, 1.0]), 0.2)
known = {
    "time runs from the noise to the data here": [[3.8, 6.0], [0.0, 1.0]],
    "sigma is missing": [[2.5, 2.0], [1.0, 0.0]],
}
_compare(point, [[2.6, 2.0], [1.0, 0.2]], "the point", known)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(50)
    for shape in [(4,), (3, 3), (2, 3, 2), (4, 1, 3, 4)]:
        for sigma in (0.0, 0.1, 0.5):
            x, noise = torch.randn(2, *shape, generator=draw)
            t = torch.rand(shape[0], generator=draw)
            given = x.clone(), noise.clone(), t.clone()
            point, _ = flow_pair(x, noise, t, sigma)
            for each, before in zip((x, noise, t), given, strict=True):
                assert torch.equal(each, before), "the given tensors were changed"
            rows = list(zip(t.tolist(), x, noise, strict=True))
            mistakes = {
                "time runs from the noise to the data here": torch.stack(
                    [
                        (1 - u) * a + (sigma + (1 - sigma) * u) * b
                        for u, a, b in rows
                    ]
                ),
                "time runs from the noise to the data here, and sigma stays": (
                    torch.stack(
                        [u * b + (1 - (1 - sigma) * u) * a for u, a, b in rows]
                    )
                ),
                "sigma is missing": torch.stack(
                    [u * a + (1 - u) * b for u, a, b in rows]
                ),
            }
            right = torch.stack(
                [u * a + (1 - u + sigma * u) * b for u, a, b in rows]
            )
            _compare(point, right, f"the point for sigma = {sigma}", mistakes)


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "flow-target", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5b (1 point): the target is the velocity of the point.
x, noise = torch.tensor([[4.0, 8.0]]), torch.tensor([[2.0, 5.0]])
_, target = flow_pair(x, noise, torch.tensor([0.25]), 0.2)
known = {
    "the target leads away from the data": [[-2.4, -4.0]],
    "sigma is missing in it": [[2.0, 3.0]],
    "this is the clean example": x,
    "this is the point, not its velocity": [[2.6, 6.0]],
}
_compare(target, [[2.4, 4.0]], "the target", known)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(51)
    for shape in [(4,), (3, 3), (2, 3, 2), (4, 1, 3, 4)]:
        for sigma in (0.0, 0.1, 0.5):
            x, noise = torch.randn(2, *shape, generator=draw)
            t = torch.rand(shape[0], generator=draw)
            _, target = flow_pair(x, noise, t, sigma)
            # where the path ends less where it begins, as it is straight
            right = (x + sigma * noise) - noise
            rows = list(zip(t.tolist(), x, noise, strict=True))
            mistakes = {
                "the target leads away from the data": -right,
                "sigma is missing in it": x - noise,
                "sigma is missing in it, and it leads away from the data": noise
                - x,
                "this is the clean example": x,
                "this is the point, not its velocity": torch.stack(
                    [u * a + (1 - u + sigma * u) * b for u, a, b in rows]
                ),
            }
            _compare(target, right, f"the target for sigma = {sigma}", mistakes)


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# To draw, begin with noise at $t = 0$ and follow the field $v(x, t)$ that the network has learnt. **Euler's method**
# takes the velocity where a step begins for the whole step.
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Divide the time from 0 to 1 into equally long parts, one for each step. How long is a part, and at which time does
# each of them begin?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# In each step, ask the field at the current points, with a tensor of shape (batch,) that holds the time at which this
# step begins. Add to the points the velocity times the length of the step. The first step begins at 0, and the last
# one begins one step length before 1. A second name for `noise` is still the same tensor, so do not change it in
# place.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "euler", "locked": false, "schema_version": 3, "solution": true, "task": false}
def follow(field, noise, steps):
    """Return the examples to which a field leads, by Euler's method.

    field: called as field(x, t) with t of shape (batch,), it answers with the
    velocities, in the shape of x. noise: (batch, …), the points at time 0; it stays
    as it is. steps: how many equally long steps lead to time 1. The field is called
    once in each step, where and when the step begins.
    """
    ### BEGIN SOLUTION
    x = noise
    for k in range(steps):
        x = x + field(x, torch.full((len(x),), k / steps)) / steps
    return x
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "euler-one", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5c (1 point): the length and the direction of the steps, in a field that is
# the same everywhere.
for steps in (1, 2, 5):
    noise = torch.tensor([[1.0, -1.0], [0.0, 3.0]])
    given = noise.clone()
    found = follow(lambda x, t: torch.ones_like(x), noise, steps)
    assert torch.equal(noise, given), "the given noise was changed"
    known = {
        "the steps lead away from the data: add the velocity": noise - 1,
        "a step is 1 / steps long; here it is 1": noise + steps,
        "there is a step too few": noise + 1 - 1 / steps,
        "there is a step too many": noise + 1 + 1 / steps,
    }
    _compare(found, noise + 1, f"{steps} steps", known)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(52)
    for shape in [(4,), (3, 3), (2, 3, 2)]:
        for steps in (1, 3, 10):
            noise, push = torch.randn(2, *shape, generator=draw)
            given, calls = noise.clone(), []

            def field(x, t, push=push, calls=calls):
                calls.append(1)
                return push.clone()  # whose numbers may be changed in place

            found = follow(field, noise, steps)
            assert torch.equal(noise, given), "the given noise was changed"
            mistakes = {
                "the steps lead away from the data: add the velocity": noise - push,
                "a step is 1 / steps long; here it is 1": noise + steps * push,
                "there is a step too few": noise + (1 - 1 / steps) * push,
                "there is a step too many": noise + (1 + 1 / steps) * push,
            }
            _compare(found, noise + push, f"{steps} steps", mistakes)
            assert len(calls) == steps, (
                f"{steps} steps call the field {steps} times, not {len(calls)}"
            )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "euler-times", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5d (1 point): where and when the field is asked. Here it is asked twice.
asked = []


def note(x, t):
    return asked.append((x.clone(), t.clone())) or torch.ones_like(x)


follow(note, torch.zeros(3), 2)
wrong = {"a step takes the velocity where it begins, not where it ends": [0.5, 1.0]}
wrong["time runs from 0, the noise, to 1, the data"] = [1.0, 0.5]
times = torch.stack([t for _, t in asked])
assert times.shape == (2, 3), f"two calls for 3 examples: {tuple(times.shape)}"
_compare(times[:, 0], [0.0, 0.5], "the times", wrong)
assert (asked[1][0] != 0).all(), "the second step begins where the first one ends"


### BEGIN HIDDEN TESTS
def _check():
    # The places are compared with where the function itself goes, so that steps of
    # a wrong length lose nothing here.
    for steps in (1, 4, 7):
        asked = []

        def field(x, t, asked=asked):
            asked.append((x.clone(), t.clone()))
            return torch.ones_like(x)

        start = torch.tensor([[2.0, 0.5], [1.0, -1.0], [0.0, 4.0]])
        end = follow(field, start, steps)
        assert len(asked) == steps, (
            f"{steps} steps ask the field {steps} times, not {len(asked)}"
        )
        right = [k / steps for k in range(steps)]
        mistakes = {
            "a step takes the velocity where it begins, not where it ends": [
                (k + 1) / steps for k in range(steps)
            ],
            "time runs from 0, the noise, to 1, the data": [
                1 - k / steps for k in range(steps)
            ],
            "the times are numbers from 0 to 1, not numbers of steps": [
                float(k) for k in range(steps)
            ],
            "there are as many steps as there are ends of steps, less one": (
                torch.linspace(0, 1, steps)
            ),
        }
        times = torch.stack([t for _, t in asked])
        assert times.shape == (steps, 3), (
            f"one time for each example: (3,), not {tuple(times.shape[1:])}"
        )
        _compare(times[:, 1], right, f"the times of {steps} steps", mistakes)
        places = [x for x, _ in asked] + [end]
        _compare(places[0], start, "where the first step begins")
        moves = torch.stack([places[i + 1] - places[i] for i in range(steps)])
        _compare(moves, moves[:1].expand_as(moves), "a step like the others")
        assert (moves[0] != 0).all(), "the points do not move"


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# At a point $x_t$ the network cannot know from which pair $(x, \epsilon)$ it comes. Its squared error is least if it
# answers with the mean of the targets of all pairs that pass there, $v(x_t, t) = \mathbb E[\dot x_t \mid x_t]$. Let the
# data be normal numbers of mean $m$ and standard deviation $\tau$, and $\sigma = 0$. Then $x_t$ and $\dot x_t$ are
# jointly normal, and for such a pair
#
# $$\mathbb E[\dot x_t \mid x_t] = \mathbb E[\dot x_t] +
#   \frac{\operatorname{Cov}(\dot x_t, x_t)}{\operatorname{Var}(x_t)} \bigl(x_t - \mathbb E[x_t]\bigr) .$$
#
# Derive the four quantities; $x$ and $\epsilon$ are independent.
#
# *Difficulty: ★★☆. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# At a fixed $t$, both $x_t$ and $\dot x_t$ are a number times $x$ plus a number times $\epsilon$. Which numbers are
# they for $\sigma = 0$, and what are the mean and the variance of $x$ and of $\epsilon$?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Set $\sigma = 0$ in the point and the target of `flow_pair`. As $x$ and $\epsilon$ are independent, for any numbers
# $\operatorname{Var}(\alpha x + \beta \epsilon) = \alpha^2 \tau^2 + \beta^2$ and $\operatorname{Cov}(\alpha x + \beta
# \epsilon,\, \gamma x + \delta \epsilon) = \alpha \gamma\, \tau^2 + \beta \delta$. Mind the sign of the noise in the
# target; the noise adds nothing to either mean, but the two means differ. In the code `std` is $\tau$; as a test, at
# $t = 1$ the result has to be $x_t$.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "field", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_field(x_t, t, mean, std):
    """Return the best velocity at each point, for sigma = 0.

    x_t: (batch,), numbers. t: (batch,), from 0 (noise) to 1 (data). mean, std: two
    numbers, of the data. Returns (batch,).
    """
    ### BEGIN SOLUTION
    slope = (t * std**2 - (1 - t)) / (t**2 * std**2 + (1 - t) ** 2)
    return mean + slope * (x_t - t * mean)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "field-value", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5e (1 point): at the beginning, in the middle and at the end.
x_t, t = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.0, 0.5, 1.0])
found = best_field(x_t, t, 3.0, 2.0)
known = {
    "the mean of x_t is t * mean, and has to be subtracted": [2.0, 4.2, 4.0],
    "the mean of the target is the mean of the data": [-1.0, -0.6, -2.0],
    "the sign of the covariance": [4.0, 3.6, 5.0],
    "standard deviations for variances": [2.0, 3 - 1 / 6, 1.0],
}
_compare(found, [2.0, 2.4, 1.0], "the velocity", known)


### BEGIN HIDDEN TESTS
def _check():
    # The mean of the targets by numerical integration over the noise: given x_t,
    # the example is (x_t - (1 - t) e) / t.
    grid = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    for mean, std in [(0.0, 1.0), (2.0, 0.5), (-1.0, 3.0)]:
        for moment in (0.3, 0.6, 0.9):
            for place in (-1.0, 0.4, 2.0):
                x = (place - (1 - moment) * grid) / moment
                logs = -(grid**2) / 2 - (x - mean) ** 2 / (2 * std**2)
                weights = (logs - logs.max()).exp()
                target = ((x - grid) * weights).sum() / weights.sum()
                found = best_field(
                    torch.tensor([place]), torch.tensor([moment]), mean, std
                )
                variance = moment**2 * std**2 + (1 - moment) ** 2
                slope = (moment * std**2 - 1 + moment) / variance
                what = "the mean of x_t is t * mean, and has to be subtracted"
                values = {
                    what: mean + slope * place,
                    "the mean of the target is the mean of the data": slope
                    * (place - moment * mean),
                    "the sign of the covariance": mean
                    - slope * (place - moment * mean),
                    "standard deviations for variances": mean
                    + (moment * std - 1 + moment)
                    / (moment * std + 1 - moment)
                    * (place - moment * mean),
                }
                mistakes = {what: [value] for what, value in values.items()}
                where = f"the velocity at {place}, time {moment}"
                _compare(found, [target.item()], where, mistakes)


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Each training pair moves on a straight line. Do the points that follow the best field? The data below have the mean 3
# and the standard deviation 2. What does a *single* step draw? Guess before you run the cell.


# %%
def normal_field(x, t):
    return best_field(x, t, 3.0, 2.0)


noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
for steps in (1, 2, 4, 16, 256):
    x = follow(normal_field, noise, steps)
    print(f"{steps:3d} steps: mean {x.mean():.2f}, spread {x.std():.2f}")

# %% [markdown]
# ## 6. Find the bug (6 points)
#
# Below is a whole diffusion model for points in the plane, with the steps of question 1 and a network that predicts the
# noise. Its samples come from a running average of the weights, $\bar\theta \leftarrow d\, \bar\theta + (1 - d)\, \theta$
# with a decay $d$ near 1. First the parts that are right: data, network and optimiser. The data lie in four
# clusters. The network is told the time $k / \text{steps}$, between 0 and 1.


# %% nbgrader={"grade": false, "grade_id": "bug-data", "locked": true, "schema_version": 3, "solution": false, "task": false}
def clusters(count):
    angle = math.pi / 2 * torch.randint(4, (count, 1))
    centre = 1.4 * torch.cat([angle.cos(), angle.sin()], dim=1)
    return centre + 0.1 * torch.randn(count, 2)


class PointNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        hidden = [nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU()]
        self.layers = nn.Sequential(*hidden, nn.Linear(64, 2))

    def forward(self, x, t):  # (batch, 2) and (batch,)
        waves = math.pi * t[:, None] * torch.tensor([0.5, 2.0])
        return self.layers(torch.cat([x, waves.cos(), waves.sin()], dim=1))


# %% nbgrader={"grade": false, "grade_id": "bug-optimiser", "locked": true, "schema_version": 3, "solution": false, "task": false}
class Adam:
    """What torch.optim.Adam does; torch.optim takes seconds to load."""

    def __init__(self, parameters, rate):
        self.rate, self.count, self.all = rate, 0, list(parameters)
        self.memory = [(0 * p.detach(), 0 * p.detach()) for p in self.all]

    def zero_grad(self):
        for p in self.all:
            p.grad = None

    def step(self):
        self.count += 1
        for p, memory in zip(self.all, self.memory, strict=True):
            self.move(p.data, p.grad, *memory)


# %% nbgrader={"grade": false, "grade_id": "bug-move", "locked": true, "schema_version": 3, "solution": false, "task": false}
def move(self, weight, slope, mean, square):
    mean.lerp_(slope, 0.1)
    square.lerp_(slope**2, 0.001)
    first, second = 1 - 0.9**self.count, 1 - 0.999**self.count
    weight -= self.rate * (mean / first) / ((square / second).sqrt() + 1e-8)


Adam.move = move

# %% [markdown]
# And now the two functions that matter, a step of training and a step of drawing, with **five mistakes** of a kind that
# people really make and publish. Read them line by line before you run them.


# %% nbgrader={"grade": false, "grade_id": "bug-faulty", "locked": true, "schema_version": 3, "solution": false, "task": false}
def faulty_step(network, average, optimiser, x, k, noise, rates, decay):
    """One step of training; k are the numbers of steps; return the loss."""
    kept = (1 - rates).cumprod(dim=0)[k - 1][:, None]  # alpha-bar
    x_k = kept.sqrt() * x + (1 - kept) * noise
    said = network(x_k, torch.zeros(len(x)))
    loss = F.mse_loss(said, x_k - x)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    with torch.no_grad():
        both = zip(average.parameters(), network.parameters(), strict=True)
        for slow, new in both:
            slow.copy_((1 - decay) * slow + decay * new)
    return loss.detach()


# %% nbgrader={"grade": false, "grade_id": "bug-faulty-reverse", "locked": true, "schema_version": 3, "solution": false, "task": false}
@torch.no_grad()
def faulty_reverse(average, x, k, rates, z):
    """One step of drawing, from k steps of noise to k - 1; z is fresh noise."""
    beta, kept = rates[k - 1], (1 - rates[:k]).prod()
    said = average(x, torch.full((len(x),), k / len(rates)))
    x = (x - beta / (1 - kept).sqrt() * said) / (1 - beta).sqrt()
    return x + beta.sqrt() * z


# %% [markdown]
# (The way back of Ho et al., with the larger of their two variances, is $x_{k-1} = \frac{1}{\sqrt{1 - \beta_k}}
# \bigl(x_k - \frac{\beta_k}{\sqrt{1 - \bar\alpha_k}}\, \hat\epsilon\bigr) + \sqrt{\beta_k}\, z$; compare the last two
# lines with it, for every $k$.)


# %% nbgrader={"grade": false, "grade_id": "bug-share", "locked": true, "schema_version": 3, "solution": false, "task": false}
def share_in_clusters(x):  # how many of the points lie close to a centre
    centres = math.pi / 2 * torch.arange(4)[:, None]
    centres = 1.4 * torch.cat([centres.cos(), centres.sin()], dim=1)
    near = torch.cdist(x, centres).min(dim=1).values < 0.3
    return near.float().mean().item()


# %% nbgrader={"grade": false, "grade_id": "bug-demonstration", "locked": true, "schema_version": 3, "solution": false, "task": false}
def train_points(step, updates, rates):
    """Returns the average of the networks and the losses."""
    torch.manual_seed(0)
    network, average = PointNetwork(), PointNetwork()
    average.load_state_dict(network.state_dict())
    players, losses = (network, average, Adam(network.parameters(), 5e-3)), []
    for _ in range(updates):
        x, k = clusters(256), torch.randint(1, len(rates) + 1, (256,))
        losses.append(step(*players, x, k, torch.randn(256, 2), rates, 0.98))
    return average, losses


# %% nbgrader={"grade": false, "grade_id": "bug-draw", "locked": true, "schema_version": 3, "solution": false, "task": false}
def demonstrate(step, reverse, updates=800):
    """Train, draw 1,000 points, and print what came of it."""
    rates = torch.linspace(0.01, 0.3, 30)
    average, losses = train_points(step, updates, rates)
    x = torch.randn(1000, 2)
    for k in range(len(rates), 0, -1):
        x = reverse(average, x, k, rates, torch.randn(1000, 2))
    print(f"the loss falls from {losses[0]:.2f} to {losses[-1]:.2f};", end=" ")
    shares = share_in_clusters(x), share_in_clusters(clusters(1000))
    print("{:.0%} of the points lie in a cluster (data: {:.0%})".format(*shares))


# %%
demonstrate(faulty_step, faulty_reverse)

# %% [markdown]
# The loss falls as a loss should, and the points do not lie where the data lie.
#
# First **name the mistakes**. Of these ten statements about the two functions, exactly five are true, and each of the
# five is a mistake:
#
# - **A** The signal is scaled by the square root of alpha-bar; it has to be alpha-bar itself.
# - **B** The noise is scaled by its variance; it has to be the square root of that.
# - **C** In training, the network is not told how many steps an example has made.
# - **D** The gradients of earlier steps are never cleared.
# - **E** A gradient flows through the running average.
# - **F** The loss does not ask for the noise, although the step of drawing takes the network's answer for the noise.
# - **G** In the running average the two shares are exchanged, so that it hardly averages.
# - **H** The trained network has to draw the samples, not the average of its weights.
# - **I** The step of drawing divides by the square root of 1 - beta; it has to multiply.
# - **J** Fresh noise is added in the very last step too, after which nothing removes it.
#
# *Difficulty: ★★★. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Several statements have two halves, what the program does and what it should do; such a statement is true only if
# both halves are. For each statement find the line that it is about, and read it before you judge.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Where a line computes something, take a case for paper: one example, two steps with the rates 0.36 and 0.75, a decay
# of 0.98. Compare its value with question 1, with the formula of the running average and with the way back of Ho et
# al.; for that one, try several $k$, the largest and the smallest among them. Where a statement is about gradients,
# follow the order of the lines: what has become of the gradients when `backward` is called, and which lines record
# none? Sort the ten into surely true, surely false and open, and look at the open ones again.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "mistakes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mistakes():
    """Return the letters of the five true statements, in one string such as
    "VWXYZ"; their order does not matter.
    """
    ### BEGIN SOLUTION
    return "BCFGJ"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mistakes-most", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6a (1 point): five letters, of which at least four are right.
named = mistakes()
assert type(named) is str, f"the letters must be in a string, not {named!r}"
assert len(set(named)) == len(named) == 5, f"five different letters, not {named!r}"
assert set(named) <= set("ABCDEFGHIJ"), f"letters from A to J, not {named!r}"
### BEGIN HIDDEN TESTS
assert len(set(named) & set("BCFGJ")) >= 4, "fewer than four letters are right"
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "mistakes-all", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 6b (2 points): all five are right.
named = mistakes()
assert len(named) == 5, f"five letters, not {named!r}"
### BEGIN HIDDEN TESTS
assert set(named) == set("BCFGJ"), "not all five letters are right"
### END HIDDEN TESTS

# %% [markdown]
# Now write both functions without the mistakes; first the step of training. You may call `noisy_at` and `shares_after`.
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Go through the docstring below sentence by sentence, and for each promise find the line of `faulty_step` that should
# keep it. Where it does not, say in words what the line has to compute before you write it.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `noisy_at` gives the point at which the network is asked, for examples of any shape; the time is a number for each
# example. The loss is a mean over all numbers, and gradients are cleared, computed and used in this order. The
# average follows after the network's own step; it is changed in place, and no gradient is recorded. As a test, with a
# decay of 1 it has to stay as it is, and with a decay of 0 it has to become the network. Return the loss without its
# graph.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "bug", "locked": false, "schema_version": 3, "solution": true, "task": false}
def training_step(network, average, optimiser, x, k, noise, rates, decay):
    """Make one step of training: the network learns to predict the noise, and the
    average follows it; return the loss before the step, a detached scalar.

    network, average: called as network(x_k, t), with t of shape (batch,), the
    number of steps made as a share of all. x, noise: (batch, …); they stay as they
    are. k: (batch,), whole numbers from 1 to steps. rates: (steps,). decay: the
    share of the old average in the new one. Weights may come with `.grad` left
    over. The loss is the mean squared error over all numbers.
    """
    ### BEGIN SOLUTION
    said = network(noisy_at(x, k, rates, noise), k / len(rates))
    loss = F.mse_loss(said, noise)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    with torch.no_grad():
        both = zip(average.parameters(), network.parameters(), strict=True)
        for slow, new in both:
            slow.lerp_(new, 1 - decay)
    return loss.detach()
    ### END SOLUTION


# %% [markdown]
# For the checks there is a network that remembers what it was asked, and answers the same everywhere.


# %% nbgrader={"grade": false, "grade_id": "bug-recorder", "locked": true, "schema_version": 3, "solution": false, "task": false}
class Recorder(nn.Module):
    """Answers `answer` for every number; keeps the last x and t in `asked`."""

    def __init__(self, answer):
        super().__init__()
        self.answer = nn.Parameter(torch.tensor(answer))

    def forward(self, x, t):
        self.asked = x.detach().clone(), t.detach().clone()
        return self.answer * torch.ones_like(x)


# %% nbgrader={"grade": false, "grade_id": "bug-descent", "locked": true, "schema_version": 3, "solution": false, "task": false}
class Descent(Adam):
    def step(self):  # a plain step against the gradient
        for p in self.all:
            p.data -= self.rate * p.grad


# %% nbgrader={"grade": true, "grade_id": "bug-point", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6c (1 point): at which point the network is asked, and what for.
### BEGIN HIDDEN TESTS
# A mistake in question 1 is not punished here and in the next cell: a check is
# passed if it is passed with these functions or with the student's own.
def _noisy_at(x, k, rates, noise):
    logs = torch.cat([torch.zeros(1), torch.log1p(-rates).cumsum(dim=0)])
    beside = (-1, *[1] * (x.dim() - 1))
    a, s = (logs / 2).exp()[k], (-torch.expm1(logs)).sqrt()[k]
    return a.view(beside) * x + s.view(beside) * noise


_adding = {"shares_after": _shares_after, "noisy_at": _noisy_at}


def _check():
    draw = torch.Generator().manual_seed(60)
    for shape, answer in [((4, 2), 0.3), ((3, 3), -1.0), ((2, 1, 3, 3), 0.0)]:
        x, noise = torch.randn(2, *shape, generator=draw)
        rates = 0.05 + 0.2 * torch.rand(6, generator=draw)
        k = torch.randint(1, 7, shape[:1], generator=draw)
        given = x.clone(), noise.clone(), k.clone(), rates.clone()
        network, average = Recorder(answer), Recorder(answer)
        optimiser = Descent(network.parameters(), 0.1)
        loss = training_step(
            *(network, average, optimiser),
            *(x, k, noise, rates, 0.9),
        )
        for each, before in zip((x, noise, k, rates), given, strict=True):
            assert torch.equal(each, before), "the given tensors were changed"
        point, rows, variances, sides = network.asked[0], [], [], []
        for i, steps in enumerate(k.tolist()):
            kept = 1.0
            for rate in rates.tolist()[:steps]:
                kept *= 1 - rate
            rows.append(kept**0.5 * x[i] + (1 - kept) ** 0.5 * noise[i])
            variances.append(kept**0.5 * x[i] + (1 - kept) * noise[i])
            sides.append(kept * x[i] + (1 - kept) * noise[i])
        what = "you scaled the noise by 1 - alpha-bar instead of its square root"
        mistakes = {
            what: torch.stack(variances),
            "both shares are square roots": torch.stack(sides),
            "the network sees the clean example": x,
        }
        _compare(point, torch.stack(rows), "the point x_k", mistakes)
        mistakes = {
            "the target is taken from the noisy example, not the noise": (
                (answer - (point - x)).square().mean()
            ),
            "the target is the noisy example": (answer - point).square().mean(),
            "the target is the clean example": (answer - x).square().mean(),
            "the errors are summed, not averaged": (answer - noise).square().sum(),
        }
        right = (answer - noise).square().mean()
        _compare(torch.as_tensor(loss), right, "the loss", mistakes)


_passed = _choose(_check, **_adding)
### END HIDDEN TESTS
network, average = Recorder(0.5), Recorder(0.5)
optimiser = Descent(network.parameters(), 0.1)
x, noise = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, -1.0]])
k, rates = torch.tensor([2]), torch.tensor([0.36, 0.75])
loss = training_step(network, average, optimiser, x, k, noise, rates, 0.9)
assert type(loss) is Tensor, f"the loss must be a tensor, not {type(loss)}"
assert not loss.requires_grad, "return the loss without its graph: loss.detach()"
s = 0.84**0.5
what = "you scaled the noise by 1 - alpha-bar instead of its square root"
_compare(network.asked[0], [[0.8 + s, 0.4 - s]], "x_k", {what: [[1.64, -0.44]]})
wrong = (0.5 - (network.asked[0] - x)).square().mean()
what = "the target is taken from the noisy example, not the noise"
_compare(loss, 1.25, "the loss", {what: wrong})
### BEGIN HIDDEN TESTS
if not _passed:
    _run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "bug-weights", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6d (1 point): the time that the network is told, its step, and the average.
### BEGIN HIDDEN TESTS
def _check():
    # What the network is asked for does not matter here: all is compared with the
    # network's own step.
    draw = torch.Generator().manual_seed(61)
    for shape, decay in [((4, 2), 0.9), ((3, 3), 0.5), ((5, 2), 0.98)]:
        x, noise = torch.randn(2, *shape, generator=draw)
        rates = 0.05 + 0.2 * torch.rand(8, generator=draw)
        k = torch.randint(1, 9, shape[:1], generator=draw)
        moved = []
        for left_over in (None, torch.tensor(7.0)):
            network, average = Recorder(3.0), Recorder(-2.0)
            network.answer.grad = left_over
            optimiser = Descent(network.parameters(), 0.1)
            training_step(
                *(network, average, optimiser),
                *(x, k, noise, rates, decay),
            )
            moved.append(network.answer.item())
        assert abs(moved[0] - 3.0) > 0.01, "the network makes no step"
        assert abs(moved[0] - moved[1]) < 1e-5, (
            "the gradients of earlier steps are not cleared"
        )
        times = network.asked[1]
        whole = [float(each) for each in k.tolist()]
        mistakes = {
            "the network is not told the time": torch.zeros(shape[0]),
            "the time is a share of all steps, not their number": whole,
            "the first step ends at 1 / steps, not at 0": [
                (each - 1) / 8 for each in whole
            ],
            "time runs from the data, 0, to the noise, 1": [
                1 - each / 8 for each in whole
            ],
        }
        right = [each / 8 for each in whole]
        _compare(times, right, "the times that the network is told", mistakes)
        new = moved[1]
        mistakes = {
            "the two shares are exchanged, so that it hardly averages": (
                (1 - decay) * -2.0 + decay * new
            ),
            "it does not follow the network": -2.0,
            "it is the newest network": new,
            "it follows the network as it was before its step": (
                decay * -2.0 + (1 - decay) * 3.0
            ),
        }
        right = decay * -2.0 + (1 - decay) * new
        _compare(average.answer.data, right, "the average of the weights", mistakes)


_passed = _choose(_check, **_adding)
### END HIDDEN TESTS
network, average = Recorder(3.0), Recorder(-2.0)
optimiser = Descent(network.parameters(), 0.1)
x, noise = torch.tensor([[2.0], [1.0]]), torch.tensor([[1.0], [-1.0]])
k, rates = torch.tensor([2, 1]), torch.tensor([0.36, 0.75])
training_step(network, average, optimiser, x, k, noise, rates, 0.75)
wrong = {"the network is not told the time": [0.0, 0.0]}
wrong["the time is a share of all steps, not their number"] = [2.0, 1.0]
_compare(network.asked[1], [1.0, 0.5], "the times", wrong)
new = network.answer.item()
what = "the two shares are exchanged, so that it hardly averages"
wrong = {what: 0.25 * -2 + 0.75 * new}
_compare(average.answer.data, 0.75 * -2 + 0.25 * new, "the average", wrong)
### BEGIN HIDDEN TESTS
if not _passed:
    _run(_check)
### END HIDDEN TESTS

# %% [markdown]
# And the step of drawing.
#
# *Difficulty: ★★☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Start from the way back of Ho et al., which stands in brackets below the two faulty functions. Then ask for the
# largest and for the smallest $k$ what the result stands for, and what happens to it next.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# $\beta_k$ is entry $k - 1$ of `rates`, as tensors count from 0, and $\bar\alpha_k$ is the product of the first $k$
# numbers $1 - \beta$. The network is told the same time for all points, in a tensor of shape (batch,). The result has
# to be as noisy as an example after $k - 1$ steps: for which $k$ does this need a case of its own? No gradient is
# recorded, and `x` and `z` are not changed in place.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "reverse", "locked": false, "schema_version": 3, "solution": true, "task": false}
def reverse_step(average, x, k, rates, z):
    """Return points with k - 1 steps of noise, from points with k steps.

    average: the network that predicts the noise, called as average(x, t) with t of
    shape (batch,). x: (batch, …), with k steps of noise. k: a whole number from 1
    to steps. rates: (steps,). z: as large as x, fresh noise. Returns the shape of
    x, without a gradient; the given tensors stay as they are.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        beta, kept = rates[k - 1], (1 - rates[:k]).prod()
        said = average(x, torch.full((len(x),), k / len(rates)))
        mean = (x - beta / (1 - kept).sqrt() * said) / (1 - beta).sqrt()
        return mean + beta.sqrt() * z if k > 1 else mean
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "reverse-step", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6e (1 point): a step in the middle and the last one.
### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(62)
    for shape in [(4, 2), (3, 3), (2, 1, 2, 3)]:
        x, z = torch.randn(2, *shape, generator=draw)
        rates = 0.05 + 0.3 * torch.rand(7, generator=draw)
        given = x.clone(), z.clone(), rates.clone()
        for k in (1, 2, 5, 7):
            average = Recorder(0.6)
            found = reverse_step(average, x, k, rates, z)
            for each, before in zip((x, z, rates), given, strict=True):
                assert torch.equal(each, before), "the given tensors were changed"
            assert not found.requires_grad, "drawing needs no gradient"
            kept = 1.0
            for rate in rates.tolist()[:k]:
                kept *= 1 - rate
            beta = rates[k - 1].item()
            mean = x - beta / math.sqrt(1 - kept) * 0.6
            mean = mean / math.sqrt(1 - beta)
            noisy = mean + math.sqrt(beta) * z
            mistakes = {
                "fresh noise is missing": mean,
                "the fresh noise is scaled by its variance": mean + beta * z,
            }
            if k == 1:
                mistakes = {"fresh noise is added in the last step too": noisy}
            right = mean if k == 1 else noisy
            _compare(found, right, f"the step from {k} to {k - 1}", mistakes)
            times = torch.full(shape[:1], k / 7)
            _compare(average.asked[1], times, "the time that the network is told")


_passed = _choose(_check, **_adding)
### END HIDDEN TESTS
average, rates = Recorder(0.5), torch.tensor([0.36, 0.75])
x, z = torch.tensor([[2.0, 1.0]]), torch.tensor([[10.0, 20.0]])
mean = 2 * x - 0.75 / 0.84**0.5
found = reverse_step(average, x, 2, rates, z)
assert type(found) is Tensor, f"the points must be a tensor, not {type(found)}"
assert not found.requires_grad, "drawing needs no gradient"
wrong = {"fresh noise is missing": mean}
wrong["the fresh noise is scaled by its variance"] = mean + 0.75 * z
_compare(found, mean + 0.75**0.5 * z, "the step from 2 to 1", wrong)
_compare(average.asked[1], [1.0], "the time that the network is told")
mean = (x - 0.3) / 0.8
wrong = {"fresh noise is added in the last step too": mean + 0.6 * z}
_compare(reverse_step(average, x, 1, rates, z), mean, "the last step", wrong)


### BEGIN HIDDEN TESTS
if not _passed:
    _run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now train and draw with both. Look at the loss first: is it smaller or larger than that of the faulty program?

# %%
demonstrate(training_step, reverse_step)

# %% [markdown]
# A loss says little by itself: the faulty program had other questions to answer. The page
# [Errata](../../book/errata.md#errata-diffusion) tells what articles made of diffusion.

# %% [markdown]
# ## See it draw (no points)
#
# With your functions of questions 2, 3 and 4, and a network, one could draw at once. Here the network is replaced by
# something better: for a data set of 64 points, each with a little blur, the best answer can be computed. The posterior
# probability of every data point, given $x_t$, is a softmax, and the guess of the example is a weighted mean. The data
# form two figures, a ring (class 0) and a star (class 1).


# %% nbgrader={"grade": false, "grade_id": "draw-data", "locked": true, "schema_version": 3, "solution": false, "task": false}
def figures():
    """The points of both figures, (64, 2), and their classes."""
    turn = 2 * math.pi * torch.arange(32) / 32
    ring = 1.6 * torch.stack([turn.cos(), turn.sin()], dim=1)
    radius = 0.6 + 0.5 * (5 * turn).cos()
    star = torch.stack([radius * turn.sin(), radius * turn.cos()], dim=1)
    return torch.cat([ring, star]), torch.arange(64) // 32


# %% nbgrader={"grade": false, "grade_id": "draw-exact", "locked": true, "schema_version": 3, "solution": false, "task": false}
def exact_velocity(x, t, labels, blur=0.06):
    """The best prediction of the velocity on the bent path, for these data."""
    points, classes = figures()
    s = t[:, None]
    a = 1 - s**2
    variance = a**2 * blur**2 + s**2
    off = x[:, None] - a[:, None] * points  # (batch, 64, 2)
    logits = -(off**2).sum(dim=2) / (2 * variance)
    other = (labels[:, None] >= 0) & (classes != labels[:, None])
    share = logits.masked_fill(other, -math.inf).softmax(dim=1)[..., None]
    off = (share * off).sum(dim=1)
    clean = (share * points).sum(dim=1) + a * blur**2 / variance * off
    return s / variance * off - 2 * s * clean


# %% nbgrader={"grade": false, "grade_id": "draw-chain", "locked": true, "schema_version": 3, "solution": false, "task": false}
@torch.no_grad()
def draw_points(w, count=400, steps=30, eta=0.5, seed=0):
    """Points drawn by your functions, and the classes that were asked for."""
    draw = torch.Generator().manual_seed(seed)
    x, labels = torch.randn(count, 2, generator=draw), torch.arange(count) % 2
    times = torch.linspace(1, 0, steps + 1).tolist()
    for t, r in pairwise(times):
        now, then, moment = (1 - t * t, t), (1 - r * r, r), torch.full((count,), t)
        weights = torch.full((count,), w)
        said = guided(exact_velocity, x, moment, labels, weights)
        guesses = both_guesses("velocity", said, x, moment)
        z = torch.randn(count, 2, generator=draw)
        x = ddim_step(*guesses, now, then, eta, z)
    return x, labels


# %% [markdown]
# Three times the same noise: without the class, with it, and with guidance. Blue points were asked for as ring, orange
# ones as star. What will be different?

# %%
if "NBGRADER_EXECUTION" not in os.environ:  # nobody watches the grading
    import matplotlib.pyplot as plt

    _, panels = plt.subplots(1, 3, figsize=(6, 2.4), sharex=True, sharey=True)
    for panel, w in zip(panels, (0.0, 1.0, 3.0), strict=True):
        x, labels = draw_points(w)
        for label, colour in enumerate(["#0072b2", "#d55e00"]):
            panel.scatter(*x[labels == label].T, s=3, color=colour)
        panel.set(title=f"w = {w:.0f}", aspect="equal", xlim=(-2, 2), ylim=(-2, 2))
    plt.show()

# %% [markdown]
# Now spoil one of your functions on purpose: scale the fresh noise by its variance, or forget the divisor $1 + t^2$.
# Which mistakes can be seen here, and which only in a check? Put it right again before you hand in.

# %% [markdown]
# ## 7. In your own words (4 points)
#
# Answer in full sentences, ten to sixteen in all. This question is read by a person.
#
# 1. On a path on which no signal is left at $t = 1$, a network predicts the noise, and its answer at $t = 0.999$ is
#    wrong by 0.01. What happens to the guess of the example there, and why? Name a prediction with which it does not
#    happen, and say why not. (1 point)
# 2. A model that predicts the noise has a loss of 0.03 on held-out data; another one, on the same data and the same path,
#    predicts the velocity and has a loss of 0.2. A friend concludes that the first is the better model. What is wrong
#    with that, and what should be compared instead? (1 point)
# 3. A team trains a network on digits and never leaves out a label. They draw with $w = 4$. What goes wrong? After
#    they have mended it, a recogniser of digits finds 99 % of the samples right with $w = 4$, and 93 % with $w = 1$.
#    What have they probably paid for it, and how would they measure that? (1 point)
# 4. In flow matching each training pair moves on a straight line at constant speed. Why does one Euler step with the
#    best possible network nevertheless draw one and the same point from every noise, if $\sigma = 0$ and noise and data
#    are independent, and which point is it? (1 point)
#
# *Difficulty: ★★★. Time: about 30 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Each part rests on functions that you have written: part 1 on `both_guesses`, part 2 on `loss_target`, part 3 on
# `guided` and `guided_normal`, part 4 on `best_field` and `follow`. Write down the formula first, then say in words
# what follows from it.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Part 1: put a small error into the predicted noise and follow it into the guess of the example, with the sizes of
# $a_t$ and $s_t$ near $t = 1$; then do the same for another prediction. Part 2: ask whether the two numbers measure
# errors of the same quantity, how an error of one turns into an error of the other at a given time, and what can be
# computed from both networks alike. Part 3: ask which of the two calls in `guided` this network was never trained
# for, and with which factor its answer comes in; then what a recogniser of digits cannot see in a set of samples, and
# what question 4 printed for a growing $w$. Part 4: ask what the point at $t = 0$ tells about the example, which
# answer then has the least squared error, and where one step of length 1 leads with it. A full answer says in each
# part what happens and why, with the factor or the formula, and names what else is asked for: a prediction, a
# comparison, a measure, a point.
#
# </details>

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# **Model answer.**
#
# 1. The guess of the example is $(x_t - s\hat\epsilon) / a$, so an error of 0.01 in the noise becomes $0.01\, s / a$ in the
#    example; $a$ is tiny there and $s$ is nearly 1, so the error becomes many times larger, and the first steps of the
#    sampler start from a useless guess. With a prediction of the clean example the guess is the answer itself, and no
#    error grows. With the velocity on a path such as that of question 2, the guesses are combinations with bounded
#    factors (nothing is divided by $a$), so an error of 0.01 stays about that size.
# 2. The two losses are mean squared errors of different quantities, in different units and with different weights over
#    time: for a given $x_t$, an error of the velocity is a multiple of the error of the noise, and the factor depends on
#    $t$. A network whose guesses are equally good has another loss under the other question. One should turn both into
#    the same guess (say of the noise or the example, at the same times), or compare bounds on the likelihood, or judge
#    samples: distances to held-out data, with the same sampler and number of steps.
# 3. The network has never been asked without a class: its answer for the label −1 is arbitrary, and with $w = 4$ the
#    guided answer contains it with the factor $1 - w = -3$. Some labels must be replaced by −1 in training. Afterwards the
#    price is probably variety: samples gather where the class is most certain (in question 4 the spread falls and the
#    mean moves away from the others). Measure it within a class: recall or coverage, the variance or distances of samples,
#    a Fréchet distance per class, against held-out data.
# 4. At $t = 0$ the point is the noise alone and says nothing about the example that it belongs to. The best answer is the
#    mean of all targets, $\mathbb E[x] - \epsilon$ (for $\sigma = 0$), and a single step of length 1 leads from $\epsilon$ to
#    $\epsilon + \mathbb E[x] - \epsilon = \mathbb E[x]$: the mean of the data, whatever the noise. The lines of the pairs cross,
#    the field is an average over them, and its own paths are curved; only many steps follow them.
#
# **Rubric.**
#
# - Part 1: half a point for the division by a small $a$ (the error grows by $s / a$); half a point for clean example or
#   velocity *with* a reason. "It becomes unstable" without the factor: 0.
# - Part 2: half a point for "different targets, so different scales (or weights over time)"; half a point for a common
#   measure: the same guess, a bound, or samples judged in the same way. "It overfits": 0.
# - Part 3: half a point for the answer without a class, which was never trained; half a point for less variety *with* a
#   measure of it (recall, coverage, spread within the class). "Guidance overfits" or accuracy alone: 0.
# - Part 4: half a point for "at $t = 0$ the point tells nothing about the example, so the answer is an average"; half a
#   point for the mean of the data. "Too few steps" without the average: 0.
