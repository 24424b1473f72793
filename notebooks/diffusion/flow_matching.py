# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Flow matching
#
# **After this chapter you can**
#
# - prove that a field of velocities which nobody can compute carries noise to data, and that a plain regression
#   learns it;
# - write flow matching in thirty lines, and test it against a field that is known;
# - say what flow matching and a diffusion model have in common, and what differs when both draw in few steps;
# - measure how far paths bend, and straighten them by training on a flow's own pairs;
# - explain why one large step draws the average of the data, and train a network that draws in one step all the same.
#
# **You need**: [Denoising diffusion](denoising_diffusion.ipynb), whose network, samplers and judge come back here.
# The [notation](../../book/notation.md) is on a page of its own. · [How long this chapter takes to
# run](../../book/results.md)

# %% tags=["parameters"]
profile = "auto"  # "gpu" where there is one, else "cpu"; "smoke" checks the code

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("aigc_course") is None:  # as on Colab; needs a network
    address = "git+https://github.com/aigc-course/aigc-course"
    wanted = f"aigc-course[games,music] @ {address}"
    get_ipython().run_line_magic("pip", f'install -q "{wanted}"')
    importlib.invalidate_caches()  # the next cell finds what was just installed

# %%
import math
from itertools import pairwise

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

from aigc_course import diagrams, diffusion, flow_matching, metrics, plots, results
from aigc_course import training
from aigc_course.data import ImageData
from aigc_course.data.points import ring_centres, sample_ring

# %%
plots.use_style()
profile = training.resolve_profile(profile)
# of the small networks, and how many digits are drawn to be judged
updates = {"smoke": 40, "cpu": 2500, "gpu": 2500}[profile]
samples = {"smoke": 100, "cpu": 500, "gpu": 1000}[profile]
print(f"Profile {profile}: {updates} updates for points in the plane,", end=" ")
print(f"{flow_matching.recipe(profile)['fit']['max_epochs']} epochs for digits")

# %% [markdown]
# ## Where the steps go
#
# The diffusion model of this part draws a digit by many calls of its network. How many does it need? Here it
# draws by DDIM, which adds no fresh noise, so that each column begins with the same noise in every row.

# %%
denoiser = diffusion.pretrained(profile)
data = ImageData("digits")
asked = torch.arange(samples) % 10


def draw(model, steps, sampler=diffusion.ddim, count=samples, **options):
    torch.manual_seed(1)
    noise = torch.randn(count, 1, 28, 28)
    x = sampler(model.guess(asked[:count]), model.path, noise, steps, **options)
    return (x.clamp(-1, 1) + 1) / 2  # back to [0, 1]


# %% mystnb={"image": {"alt": "Five rows of eight samples, for 1, 2, 4, 8 and 20 steps. In the first row every digit is a blur; further down the strokes become sharp."}}
counts = (1, 2, 4, 8, 20)
names = [f"{count} step{'s' if count > 1 else ''}" for count in counts]
sheet = torch.cat([draw(denoiser, count, count=8) for count in counts])
plots.image_grid(sheet, row_labels=names)
plt.show()

# %% [markdown]
# Each step of a sampler goes straight on, in the direction that the network gives at its start. If the path of a
# point were a straight line, walked at constant speed, one step would be as good as twenty. So two questions suggest
# themselves. Can one begin with paths that are straight? And if they bend, can a network learn where they end? This
# chapter takes up both. The first leads to **flow matching**, the second to **consistency models**.

# %% [markdown]
# ## A line for every pair
#
# Take an example $x_0$ and a noise $\epsilon \sim \mathcal N(0, I)$, and join them by the straight path of
# [Denoising diffusion](denoising_diffusion.ipynb),
#
# $$x_t = (1 - t)\, x_0 + t\, \epsilon, \qquad u = \dot x_t = \epsilon - x_0 .$$
#
# Time runs from 0, the data, to 1, the noise, as before. (The papers on flow matching count the other way, with noise
# at 0.) On this line the velocity $u$ is constant. To draw, one begins at noise and goes along $-u$ for the time 1.
#
# But whoever draws has only the noise. The velocity may depend on the position $x$ and the time $t$ and on nothing else,
# and where two lines cross, one position has two velocities. An obvious answer is to take their mean: the **velocity
# field**
#
# $$v(x, t) = \mathbb E\big[\epsilon - x_0 \,\big|\, x_t = x\big],$$
#
# the average over all pairs whose lines pass through $x$ at time $t$. Below are both, for data on a line that form
# two narrow modes, at $-1$ and at 1. For a mixture of Gaussians we know the mean of the examples and of the noise at
# a point exactly, as in [Denoising diffusion](denoising_diffusion.ipynb); their difference is the field.


# %%
def exact(path, means, std):  # equal modes around means: (modes, d); one deviation
    def guess(x, t):
        a, s = path.shares(t[:, None, None])
        off, variance = x[:, None] - a * means, (a * std) ** 2 + s**2
        logs = -off.square().sum(dim=2, keepdim=True) / (2 * variance)
        shares = logs.softmax(dim=1)  # how likely each mode is
        clean = means + a * std**2 / variance * off
        return (shares * clean).sum(dim=1), (shares * s / variance * off).sum(dim=1)

    return guess


def field_of(guess):
    def field(x, t):
        clean, noise = guess(x, t)
        return noise - clean

    return field


# %% [markdown]
# To follow a field, take small straight steps: **Euler's method**.


# %%
@torch.no_grad()
def walk(field, x, steps):  # from noise to data, all positions on the way
    seen = [x]
    for t, r in pairwise(torch.linspace(1, 0, steps + 1)):
        x = x - (t - r) * field(x, t.expand(len(x)))
        seen.append(x)
    return torch.stack(seen)


# %%
modes, straight = torch.tensor([[-1.0], [1.0]]), diffusion.straight_path()
torch.manual_seed(0)
noise = torch.randn(40, 1)
x0 = modes[torch.arange(40) % 2] + 0.1 * torch.randn(40, 1)
lines = torch.stack([x0 + k / 200 * (noise - x0) for k in range(200, -1, -1)])
line_field = field_of(exact(straight, modes, 0.1))
paths = walk(line_field, noise, 200)

# %% mystnb={"image": {"alt": "Two panels over time. Left, forty straight lines from noise to two modes, which cross many times. Right, forty paths from the same noise; they bend, never cross, and those that begin above zero end in the upper mode."}}
figure, panels = plt.subplots(1, 2, figsize=(6, 3), sharey=True)
when = torch.linspace(1, 0, 201)
for ax, way, title in zip(panels, (lines, paths), ("pairs", "field"), strict=True):
    for k in range(40):
        colour = plots.COLOURS[0 if way[-1, k] > 0 else 3]
        ax.plot(when, way[:, k], color=colour, linewidth=0.8)
    ax.set(xlabel="time", title=title, xlim=(1, 0))
panels[0].set_ylabel("position")
plt.show()

# %%
ordered = paths[:, noise.flatten().argsort(), 0].diff(dim=1)
print(f"smallest gap between neighbouring paths: {ordered.min():.1g}")
assert (ordered > 0).all(), "paths of a field do not cross"
assert ((paths[-1] > 0) == (noise > 0)).all()

# %% [markdown]
# On the left the lines cross. On the right nothing crosses, as the check confirms: at one position and time there is one
# velocity, so two points that met would stay together from then on, and in the other direction of time too. The price
# is that these paths bend. Near the noise, where every position has lines to both modes, the mean velocity leads towards
# the middle; later it turns to one mode.
#
# The right panel ends in the same two modes. Is that luck?

# %% [markdown]
# ## The mean velocity carries the noise to the data
#
# No. Let $h$ be any smooth function of a position, and watch its average over the pairs as time goes on. By the chain
# rule, and then by taking the mean first over the pairs that pass through the same position,
#
# $$\frac{d}{dt}\, \mathbb E\, h(x_t) = \mathbb E\big[ \nabla h(x_t) \cdot u \big]
#   = \mathbb E\big[ \nabla h(x_t) \cdot \mathbb E[u \mid x_t] \big] = \mathbb E\big[ \nabla h(x_t) \cdot v(x_t, t) \big] .$$
#
# Now let points $y_t$ follow the field, $\dot y_t = v(y_t, t)$. For them
# $\frac{d}{dt}\, \mathbb E\, h(y_t) = \mathbb E\big[ \nabla h(y_t) \cdot v(y_t, t) \big]$: the same equation. If
# $y_1$ is distributed as the noise, the two crowds agree at time 1, and what happens to a crowd next depends only on
# where its points are. So they agree at all times, and $y_0$ is distributed as the data. ∎
#
# (Written for densities the equation is $\partial_t p_t + \nabla \cdot (p_t\, v) = 0$, the **continuity equation**:
# what flows into a small region makes it denser. That it has only one solution, and that the field is smooth enough
# for the points to follow it, are conditions that we have not proved; they hold for data of bounded size with a
# little Gaussian noise.)
#
# The proof uses neither that the noise is normal nor that $x_0$ and $\epsilon$ are independent. Any way of forming
# pairs will do, as long as the ends have the right distributions. We shall need that.

# %% [markdown]
# ## Learning a field that nobody can compute
#
# For real data $v$ has no formula that one could compute: it is an average over all examples and all noise that lead
# to one position. But a network $\hat v(x, t)$ need not see $v$. Let it predict the velocity $u$ of single pairs, by
# least squares. Then
#
# $$\mathbb E\, \lVert \hat v(x_t, t) - u \rVert^2
#   = \mathbb E\, \lVert \hat v(x_t, t) - v(x_t, t) \rVert^2 + \mathbb E\, \lVert v(x_t, t) - u \rVert^2 ,$$
#
# because the mixed term, $2\, \mathbb E\big[(\hat v - v) \cdot (v - u)\big]$, is zero: given $x_t$, the first factor
# is fixed and the second has the mean $v - \mathbb E[u \mid x_t] = 0$.
#
# The last term does not depend on the network. So the loss with $u$, which can be computed, and the loss with $v$,
# which cannot, have the same gradient and the same minimum. This is **conditional flow matching** ([Lipman et al.,
# 2023](https://arxiv.org/abs/2210.02747), theorems 1 and 2). [Liu, Gong and Liu
# (2023)](https://arxiv.org/abs/2209.03003) and [Albergo and Vanden-Eijnden (2023)](https://arxiv.org/abs/2209.15571)
# arrived at the same loss by other ways.
#
# The last term is also the smallest loss that any network can reach. It measures how different the velocities of
# lines through one position are, and it is zero only if lines never cross.

# %% tags=["hide-input"]
diagrams.draw(
    "An observed example x0 and a noise epsilon lead to xt and to u. The network "
    "theta takes xt and the time t and gives v hat, which is compared with u.",
    {
        **{"x₀": (0, 0), "ε": (0, 1.2), "xₜ": (1.4, 0), "u": (1.4, 1.2)},
        **{"t": (2.7, -1.1), "θ": (2.7, 0), "v̂": (4, 0), "‖ ‖²": (4, 1.2)},
    },
    [
        *[("x₀", "xₜ"), ("ε", "xₜ"), ("x₀", "u"), ("ε", "u"), ("t", "θ")],
        *[("xₜ", "θ", "v̂", "‖ ‖²"), ("u", "‖ ‖²")],
    ],
    variables=["ε", "xₜ", "u"],
    observed=["x₀"],
    bare=["t", "v̂"],
)

# %% [markdown]
# **A check: two Gaussians.** Let the data be $\mathcal N(m, \sigma^2)$. At time $t$ a point is normal with mean
# $(1 - t)\, m$ and variance $V_t = (1 - t)^2 \sigma^2 + t^2$. Its covariance with $\epsilon - x_0$ is
# $t - (1 - t)\, \sigma^2$, and for jointly normal numbers the conditional mean is a straight line:
#
# $$v(x, t) = -m + \frac{t - (1 - t)\, \sigma^2}{V_t}\, \big( x - (1 - t)\, m \big) .$$
#
# The paths can be written down as well. Since $\dot V_t = 2t - 2 (1 - t)\, \sigma^2$, the fraction is
# $\frac{d}{dt} \log \sqrt{V_t}$, and
#
# $$y_t = (1 - t)\, m + \sqrt{V_t}\; y_1$$
#
# solves $\dot y_t = v(y_t, t)$. At $t = 0$ it is $m + \sigma\, y_1$, a draw from the data. Is this what a regression
# on the velocities of pairs finds? At each time we fit a straight line to many draws, and we follow the field to its
# end.

# %%
m, sigma = 1.5, 0.4
torch.manual_seed(0)
x0, noise = m + sigma * torch.randn(100_000), torch.randn(100_000)
for t in (0.1, 0.5, 0.9):
    x, u = (1 - t) * x0 + t * noise, noise - x0
    slope = torch.stack([x, u]).cov()[0, 1] / x.var()
    level = u.mean() - slope * (x.mean() - (1 - t) * m)  # at the middle
    formula = (t - (1 - t) * sigma**2) / ((1 - t) ** 2 * sigma**2 + t**2)
    print(f"t = {t}: slope {slope:6.3f} ({formula:6.3f}),", end=" ")
    print(f"velocity in the middle {level:.3f} ({-m})")
    assert abs(slope - formula) < 0.05
    assert abs(level + m) < 0.02

# %%
two = field_of(exact(straight, torch.tensor([[m]]), sigma))
start = torch.linspace(-2, 2, 41)[:, None]
wrong = []
for n in (1, 10, 100):
    off = (walk(two, start, n)[-1] - (m + sigma * start)).abs().max().item()
    print(f"{n:3d} steps: largest distance from the end {off:.3f}")
    wrong.append(off)
assert wrong[0] > 3 * wrong[1] > 9 * wrong[2]

# %% [markdown]
# The regression finds the field, and its paths end where the formula says, the closer, the more steps are taken. Note
# that even here one step is not enough: $\sqrt{V_t}$ is not a straight line in $t$. **Every pair moves along a
# straight line; the paths of the field are not straight.**

# %% [markdown]
# ## From scratch
#
# Eight narrow Gaussians on a ring, and a network that is asked for the velocity. Its loss takes one line.

# %%
centres, std = ring_centres(8), 0.15


class Field(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        hidden = [nn.Linear(width, width), nn.SiLU()] * 2
        first, last = nn.Linear(2 + 8, width), nn.Linear(width, 2)
        self.layers = nn.Sequential(first, nn.SiLU(), *hidden, last)

    # x: (n, 2), t: (n,) -> the velocity, (n, 2); there are no labels
    def forward(self, x, t, labels=None):
        waves = math.pi * t[:, None] * torch.tensor([0.5, 1.0, 2.0, 4.0])
        return self.layers(torch.cat([x, waves.cos(), waves.sin()], dim=1))


# %%
def fit_field(pairs, rate=4e-3):  # pairs(n) gives examples and noise
    torch.manual_seed(0)
    network = Field()
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = rate * (1 - update / updates)
        x0, noise = pairs(500)
        t = torch.rand(500)
        x_t = (1 - t)[:, None] * x0 + t[:, None] * noise
        loss = F.mse_loss(network(x_t, t), noise - x0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


# %%
def independent(n):
    return sample_ring(n, std=std), torch.randn(n, 2)


field = fit_field(independent)
torch.manual_seed(1)
start = torch.randn(2000, 2)
ways = walk(field, start, 100)
ring = exact(straight, centres, std)  # what is known exactly
exact_ways = walk(field_of(ring), start, 100)

# %% [markdown]
# On this ring the field is known, so that the decomposition of the loss can be looked at with numbers: the loss of
# the network, the loss of the exact field, and the squared distance of the two.

# %%
torch.manual_seed(2)
(x0, noise), t = independent(50_000), torch.rand(50_000)
x_t = straight.noisy(x0, t, noise)
with torch.no_grad():
    said, true = field(x_t, t), field_of(ring)(x_t, t)
parts = [
    F.mse_loss(left, right).item()
    for left, right in ((said, noise - x0), (said, true), (true, noise - x0))
]
print(f"network against pairs {parts[0]:.4f}")
print(f"network against field {parts[1]:.4f} + field against pairs {parts[2]:.4f}")
assert abs(parts[0] - parts[1] - parts[2]) < 0.02
assert profile == "smoke" or parts[1] < 0.1 * parts[2]

# %% [markdown]
# The two sides agree up to the error of a mean over finitely many draws. Most of the loss is the part that no network
# can avoid. Here are the field that was learnt, as arrows along $-v$, over noisy data of the same time, and then the
# paths.

# %% mystnb={"image": {"alt": "Four panels of arrows over grey points. At time 0.95 all arrows lead towards the middle; at the earlier times they turn outwards, and at the end each leads to the nearest of eight modes on a ring."}}
side = torch.linspace(-2.6, 2.6, 14)
grid = torch.cartesian_prod(side, side)
figure, panels = plt.subplots(2, 2, figsize=(6, 6), sharex=True, sharey=True)
for ax, t in zip(panels.flat, (0.95, 0.7, 0.45, 0.2), strict=True):
    at = torch.full((2000,), t)
    cloud = straight.noisy(sample_ring(2000, std=std), at, torch.randn(2000, 2))
    with torch.no_grad():
        arrows = -field(grid, torch.full((len(grid),), t))
    ax.scatter(*cloud.T, s=1, color="#999999")
    ax.quiver(*grid.T, *arrows.T, color=plots.COLOURS[0], width=0.006)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", title=f"time {t}")
plt.show()

# %%
learnt, best = (
    metrics.ring_coverage(w[-1], centres, std) for w in (ways, exact_ways)
)
print(f"learnt: {learnt.modes_found} modes, {learnt.share:.1%} of points near one")
print(f"exact:  {best.modes_found} modes, {best.share:.1%}")
far = ways.norm(dim=2).mean(dim=1)  # mean distance from the middle
print(f"distance from the middle: {far[0]:.2f}, {far[20]:.2f} after 20 steps,")
print(f"{far[-1]:.2f} at the end")
assert best.share > 0.95
if profile != "smoke":
    assert learnt.modes_found == 8
    assert learnt.share > 0.8
    assert far[20] < far[0] < far[-1]

# %% [markdown]
# At $t = 1$ a point is pure noise, and says nothing about an example. There the field is
# $v(x, 1) = \mathbb E[\epsilon - x_0 \mid \epsilon = x] = x - \mathbb E[x_0]$: all paths begin towards the mean of
# the data, which is the middle of the ring. As the printed distances show, the points first come closer to it. Later
# each of them turns outwards, to one mode, and that is a bend.

# %% [markdown]
# ## With the package
#
# In `aigc_course.diffusion` flow matching is a `Diffusion` with `path="straight"` and `prediction="velocity"`. Its
# sampler is `ddim` without fresh noise, whose step on the straight path is
# $x_r = (1 - r)\, \hat x_0 + r\, \hat\epsilon$. With $\hat x_0 = x - t\, \hat v$ and
# $\hat\epsilon = x + (1 - t)\, \hat v$ this is $x - (t - r)\, \hat v$, Euler's step.

# %%
model = diffusion.Diffusion(
    field, path="straight", prediction="velocity", ema_decay=0.0
)
again = diffusion.ddim(model.guess(), model.path, start, 100)
print(f"largest difference {(again - ways[-1]).abs().max():.1g}")
assert torch.allclose(again, ways[-1], atol=1e-3)

# %% [markdown]
# ## The same curves as before
#
# What is new, then? Less than the two names suggest. Take any path $x_t = a\, x_0 + s\, \epsilon$, and divide by
# $a + s$:
#
# $$\frac{x_t}{a + s} = (1 - \tau)\, x_0 + \tau\, \epsilon, \qquad \tau = \frac{s}{a + s} .$$
#
# That is a point of the straight path at the time $\tau$. The best guesses of $x_0$ and $\epsilon$ are the same,
# since dividing by a known number changes nothing about what is known. And a step of DDIM,
# $x_r = a_r \hat x_0 + s_r \hat\epsilon$, divided by $a_r + s_r$, is
# $(1 - \tau_r)\, \hat x_0 + \tau_r\, \hat\epsilon$: Euler's step from $\tau_t$ to $\tau_r$. So with exact guesses
# **DDIM on the noise path and Euler's method on the straight path follow the same curves**, from the same noise to
# the same end; only the times at which they stop and look differ. We compare DDIM on the cosine path with Euler's
# steps between the times $\tau$ that belong to it:

# %%
cosine, x = diffusion.cosine_path(), start
by_ddim = diffusion.ddim(exact(cosine, centres, std), cosine, start, 10)
a, s = cosine.shares(torch.linspace(1, 0, 11))
for t, r in pairwise(s / (a + s)):
    x = x - (t - r) * field_of(ring)(x, t.expand(len(x)))
print("times tau:", *(f"{t:.2f}" for t in s / (a + s)))
print(f"largest difference of the samples: {(x - by_ddim).abs().max():.1g}")
assert torch.allclose(x, by_ddim, atol=1e-3)

# %% [markdown]
# Evenly spaced times of the cosine path are closer together in the middle of the straight path and further apart at
# its ends. Besides the times, the training differs: the loss weights the errors at different times differently, so
# two networks of limited size end up with different errors. Which differences matter is a question for measurements.

# %% [markdown]
# ## How far do paths bend?
#
# The straightness of [Liu, Gong and Liu](https://arxiv.org/abs/2209.03003) compares the velocity along a path with
# the velocity of the straight line between the path's ends. We divide it by the squared length of that line, so that
# it has no unit:
#
# $$S = \frac{\mathbb E \int_0^1 \lVert v(y_t, t) - (y_1 - y_0) \rVert^2\, dt}{\mathbb E\, \lVert y_1 - y_0 \rVert^2} .$$
#
# $S = 0$ means that every path is a straight line, walked at constant speed, and then a single step of Euler's is
# exact.
#
# **Reflow.** We said that any way of forming pairs will do. So far noise and data were paired at random, and the
# lines crossed. Now let the flow itself form the pairs: the noise $\epsilon$ and the sample that it draws from it,
# $y_0(\epsilon)$. Both ends have the right distributions, so a new network that is trained on these pairs carries
# noise to data as well. And the lines of these pairs are shorter. With $y_1 = \epsilon$ and Jensen's inequality,
# twice,
#
# $$\mathbb E\, \lVert y_1 - y_0 \rVert^2 = \mathbb E\, \Big\lVert \int_0^1 v(y_t, t)\, dt \Big\rVert^2
#   \le \mathbb E \int_0^1 \lVert v(x_t, t) \rVert^2\, dt = \mathbb E \int_0^1 \lVert \mathbb E[u \mid x_t] \rVert^2\, dt
#   \le \mathbb E\, \lVert u \rVert^2 = \mathbb E\, \lVert \epsilon - x_0 \rVert^2 .$$
#
# The first inequality is strict if a path bends or is walked at changing speed, the second if lines cross. (In
# between, $y_t$ was replaced by $x_t$, which has the same distribution.) Liu, Gong and Liu prove besides that reflow,
# repeated $k$ times, brings the numerator of $S$ below a constant over $k$ in at least one of the $k$ flows. We do it
# once, and measure.

# %%
torch.manual_seed(3)
sources = torch.randn(20_000, 2)
ends = walk(field, sources, 50)[-1]


def coupled(n):  # pairs of the flow's own
    chosen = torch.randint(len(sources), (n,))
    return ends[chosen], sources[chosen]


reflowed = fit_field(coupled)
new_ways = walk(reflowed, start, 100)


# %%
def bend(ways):  # S, from positions at equal distances of time
    velocities = ways.diff(dim=0).flatten(2)
    line = velocities.mean(dim=0)
    varied = (velocities - line).square().mean(dim=0).sum()
    return (varied / line.square().sum()).item()


# %%
bent = {"flow": bend(ways), "reflow": bend(new_ways)}
torch.manual_seed(4)
x0, noise = independent(20_000)
random_pairs = (noise - x0).square().sum(dim=1).mean()
flow_pairs = (sources - ends).square().sum(dim=1).mean()
print(f"squared length of a line: {random_pairs:.2f} for random pairs,", end=" ")
print(f"{flow_pairs:.2f} for the flow's")
print(f"S of the flow {bent['flow']:.3f}, after one reflow {bent['reflow']:.3f}")
assert profile == "smoke" or flow_pairs < 0.9 * random_pairs
assert profile == "smoke" or bent["reflow"] < 0.3 * bent["flow"]

# %%
t = torch.rand(20_000)
x_t = straight.noisy(ends, t, sources)
with torch.no_grad():
    crossing = F.mse_loss(reflowed(x_t, t), sources - ends).item()
print(f"loss on random pairs {parts[0]:.3f}, on the flow's pairs {crossing:.3f}")
assert profile == "smoke" or crossing < 0.1 * parts[0]


# %%
def show_paths(ax, ways, title):
    ax.plot(*ways[:, :60].permute(2, 0, 1), color="#999999", linewidth=0.8)
    ax.scatter(*ways[0, :60].T, s=6, color=plots.COLOURS[3], zorder=2)
    ax.scatter(*ways[-1, :300].T, s=3, color=plots.COLOURS[0], zorder=2)
    ax.set(xlim=(-3.4, 3.4), ylim=(-3.4, 3.4), aspect="equal", title=title)


# %% mystnb={"image": {"alt": "Two panels with sixty paths from noise to eight modes. Left those of the flow, many of which bend; right those after a reflow, which are nearly straight lines."}}
figure, panels = plt.subplots(1, 2, figsize=(6, 3.2), sharey=True)
show_paths(panels[0], ways, "flow")
show_paths(panels[1], new_ways, "after a reflow")
plt.show()

# %%
shares = {}
print("share of the points near a mode, by the number of steps:")
print("         " + "".join(f"{n:>8d}" for n in (1, 2, 4, 8, 100)))
for name, network in (("flow", field), ("reflow", reflowed)):
    for n in (1, 2, 4, 8, 100):
        x = walk(network, start, n)[-1]
        shares[name, n] = metrics.ring_coverage(x, centres, std).share
    row = [shares[name, n] for n in (1, 2, 4, 8, 100)]
    print(f"{name:>8} " + "".join(f"{share:8.1%}" for share in row))
if profile != "smoke":
    assert shares["flow", 1] < 0.02 < 0.3 < shares["reflow", 1]
    assert shares["reflow", 2] > shares["flow", 2]

# %% [markdown]
# In the picture noise is orange, and what is drawn from it is blue. The loss on the flow's pairs is a small part of
# the other. Since it is at least $\mathbb E\, \lVert v - u \rVert^2$, the lines of these pairs hardly cross, and the
# new paths hardly bend. One step of the flow finds no mode, which the section "When it fails" explains; after the
# reflow it takes a good part of the points to one. (The second network copies the first one's mistakes and makes its
# own, so with many steps it cannot be expected to draw better.)
#
# Pairs cost calls of the network, many for each. For the digits we shall go another way.

# %% [markdown]
# ## Digits
#
# The recipe is that of the diffusion model, with the same network, data, number of epochs and learning rate, and the
# straight path. A new network says 0, so its loss is at first the mean square of $\epsilon - x_0$, which is 1 plus
# that of a pixel.

# %%
x_train, labels_train = data.split("train")
at_first = 1 + (2 * x_train - 1).square().mean()
print(f"a network that always says 0 has the loss {at_first:.3f}")
flow, history = flow_matching.train(profile)
first, last = history["val_loss"][0], history["val_loss"][-1]
print(f"validation loss: {first:.3f} after one epoch, {last:.3f} after the last")
if profile != "smoke":
    assert at_first > 2 * first > 2.5 * last

# %% mystnb={"image": {"alt": "Training and validation loss against the epoch: both fall steeply at first and then flatten, close together."}}
plots.curves(history, ["train_loss", "val_loss"], ylabel="mean squared error of v")
plt.show()

# %% [markdown]
# Now both models draw with 1, 2, 4, 8 and 16 calls of the network (the diffusion model also with 20), and the judge
# measures the samples, as before. For the flow there are two samplers. Euler's method takes one call per
# step. **Heun's method** looks at the velocity at the end of a step too and goes on with the mean of both, which
# takes two calls per step but one in the last; with half as many steps it needs one call fewer than Euler's.

# %%
known = metrics.judge_features(x_train)


def judged(x):  # read as asked; the judge is sure; distance
    return (
        metrics.judge_accuracy(x, asked[: len(x)]),
        metrics.confident_share(x),
        metrics.frechet_distance(metrics.judge_features(x), known),
    )


drawn = {}
for calls in (1, 2, 4, 8, 16, 20):
    drawn["DDIM", calls] = draw(denoiser, calls)
    if calls < 20:
        drawn["Euler", calls] = draw(flow, calls)
    if calls in (4, 8, 16):
        drawn["Heun", calls] = draw(flow, calls // 2, diffusion.heun)


# %%
table = {key: judged(x) for key, x in drawn.items()}
everything = torch.cat(
    [metrics.judge_features(data.split(name)[0]) for name in ("validation", "test")]
    + [known]
)
torch.manual_seed(0)
floors = metrics.floor_distances(everything, samples)

# %%
print(f"judge {metrics.JUDGE_SHA256[:8]}; {samples} pictures against 4000")
print("distance (and share read as asked), by calls of the network")
print("calls   DDIM, noise path   Euler, straight   Heun, straight")
for calls in (1, 2, 4, 8, 16, 20):
    row = [table.get((name, calls)) for name in ("DDIM", "Euler", "Heun")]
    cells = [f"{r[2]:8.2f} ({r[0]:4.0%})" if r else " " * 15 for r in row]
    print(f"{calls:5d}    " + "   ".join(cells))
print(f"random splits of real digits: {floors.mean():.2f} ± {floors.std():.2f}")
eight = table["Euler", 8][2]
ratio = eight / table["DDIM", 20][2]
print(f"flow, Euler's method, 8 calls, over DDIM at 20: {ratio:.2f}")
if profile != "smoke":
    assert table["DDIM", 8][2] < 1.2 * table["DDIM", 20][2]
    assert 0.7 < table["Euler", 16][2] / table["Euler", 4][2] < 1.4

# %% mystnb={"image": {"alt": "Five rows of eight samples of the flow by Euler's method, for 1, 2, 4, 8 and 16 steps. The first row is blurred; from row to row the strokes become sharper."}}
counts = (1, 2, 4, 8, 16)
names = [f"{count} step{'s' if count > 1 else ''}" for count in counts]
sheet = torch.cat([drawn["Euler", count][:8] for count in counts])
plots.image_grid(sheet, row_labels=names)
plt.show()

# %% [markdown]
# With one call both models draw blurs, and the distance says so. With 8 calls of Euler's method the flow is no worse
# than the diffusion model with 20, as the last line says. That alone would prove little: by this measure DDIM itself
# loses next to nothing if it takes 8 calls instead of 20, so compare the columns in the same row. From 4 steps on, more
# steps of Euler's method change the distance little. So it does not tell when a sampler has arrived. For that we
# compare each sample with the end of its own path, by the same network and from the same noise; we take Heun's method
# with 15 calls for the end.

# %%
arrived = drawn["Heun", 16]
short = {}
for name, calls in drawn:
    if name != "DDIM" and calls < 16:
        x = drawn[name, calls]
        short[name, calls] = (x - arrived).square().mean().sqrt().item()
for (name, calls), off in sorted(short.items()):
    made = calls - (name == "Heun")  # one call fewer
    print(f"{name}, {made:2d} calls: {off:.3f} off per pixel")
if profile != "smoke":
    euler = [short["Euler", calls] for calls in (1, 2, 4, 8)]
    assert euler == sorted(euler, reverse=True)
    assert short["Heun", 8] < short["Euler", 8]

# %% [markdown]
# By this measure every doubling of Euler's steps brings the samples nearer to where their paths end. Heun's method is
# nearer with 7 calls than Euler's with 8; with 3 calls against 4 it need not be, as the lines show.
#
# **Is it the path?** Two things differ between the first two columns: the times at which the samplers stop and look,
# and what the networks learnt. The section "The same curves as before" lets us change one without the other. We ask
# the network of the *cosine* path at evenly spaced times of the *straight* one: a point $x$ at the time $\tau$ of the
# straight path belongs to the angle $\varphi$ with $\tan \varphi = \tau / (1 - \tau)$, that is to the time
# $t = \frac{2}{\pi} \varphi$ and the point $(\cos \varphi + \sin \varphi)\, x$.


# %%
def on_the_straight_path(guess):
    def asked_there(x, t):
        angle = torch.atan2(t, 1 - t)
        size = (angle.sin() + angle.cos())[:, None, None, None]
        return guess(size * x, 2 / math.pi * angle)

    return asked_there


# %%
torch.manual_seed(1)
noise = torch.randn(samples, 1, 28, 28)
x = diffusion.ddim(on_the_straight_path(denoiser.guess(asked)), straight, noise, 8)
between = judged((x.clamp(-1, 1) + 1) / 2)
print("8 steps                       read as asked   distance")
for name, row in {
    "noise path, its own times": table["DDIM", 8],
    "noise path, straight times": between,
    "straight path": table["Euler", 8],
}.items():
    print(f"{name:>27}:  {row[0]:12.1%} {row[2]:10.2f}")

# %% [markdown]
# The first two lines have the same network and different times, the last two the same times and different networks.
# Where two lines differ by less than about three times the spread of the random splits above, which is two standard
# errors of a difference, nothing can be concluded.

# %% [markdown]
# If both networks were exact, both models would draw the same digit from the same noise. Do they? We compare the
# samples of the two, from the same noise, and as a control each sample of one with the next of the same class of the
# other.

# %%
mine, theirs = drawn["Euler", 16], drawn["DDIM", 20]
same = (mine - theirs).square().mean().sqrt().item()
other = (mine - theirs.roll(10, dims=0)).square().mean().sqrt().item()
print(f"apart, per pixel: {same:.3f} from the same noise, {other:.3f} from another")
assert profile == "smoke" or same < 0.5 * other

# %% [markdown]
# Nearly: two networks that were trained apart, on different paths, make nearly the same picture of the same noise.
# The rows of the samples above can be compared by eye as well.
#
# How far do these paths bend?


# %%
def watch(guess, seen):
    def watching(x, t):
        seen.append(x)
        return guess(x, t)

    return watching


def positions(model, count=100):  # of 16 steps by Euler's method
    torch.manual_seed(1)
    noise, seen = torch.randn(count, 1, 28, 28), []
    x = diffusion.ddim(
        watch(model.guess(asked[:count]), seen), model.path, noise, 16
    )
    return torch.stack([*seen, x])


# %%
bent["digits"] = bend(positions(flow))
print(", ".join(f"S of {name} {value:.3f}" for name, value in bent.items()))
if profile != "smoke":
    assert bent["reflow"] < bent["digits"] < bent["flow"]

# %% [markdown]
# The paths of the digits bend less than those of the ring and more than those after a reflow. Do not take a small $S$
# for a promise that one step will do. It divides by the squared length of the whole line, and a large part of that
# length is the noise, which every sample has to lose.
#
# ## When it fails: one step
#
# > **Predict, then run.** The flow takes a single step of Euler's method from pure noise, for the class "4". What is
# > drawn? (a) A digit with rough edges. (b) Nearly the same picture for every noise. (c) Noise.
#
# At $t = 1$ a point *is* the noise, and says nothing about the example. So for a class $y$ the best answer to the
# regression is $v(x, 1) = \mathbb E[\epsilon - x_0 \mid \epsilon = x, y] = x - \mathbb E[x_0 \mid y]$, and one step
# leads to $x - v(x, 1) = \mathbb E[x_0 \mid y]$.

# %%
average = torch.stack([x_train[labels_train == k].mean(dim=0) for k in range(10)])
single = drawn["Euler", 1]
apart = (single - average[asked]).square().mean().sqrt().item()
varied = torch.stack([single[asked == k].var(dim=0).mean() for k in range(10)])
usual = torch.stack(
    [x_train[labels_train == k].var(dim=0).mean() for k in range(10)]
)
lost = (varied.mean() / usual.mean()).item()
print(f"one step against the average of its class: {apart:.3f} off per pixel")
print(f"variance within a class, as a share of that of real digits: {lost:.3f}")
assert profile == "smoke" or apart < 0.15
assert profile == "smoke" or lost < 0.1

# %% [markdown]
# It is (b): the average of the class. Longer training would not help, since this is what the loss asks for. Flow
# matching learns the velocity *at* a point. A step of length 1 needs another number: the average velocity on the
# whole way.

# %% [markdown]
# ## One step on purpose
#
# A velocity at a point $x$ and a time $t$ names an end, the position that would be reached at time 0 if the path went
# straight on:
#
# $$f(x, t) = x - t\, v(x, t) .$$
#
# For the flow this is the guess of the clean example, a blur if $t$ is large. Can the same network, with the same
# inputs, be trained to name the end that the *path* has? There are no examples of ends, except by walking there. But
# there is a rule that the right $f$ obeys. All points of one path have the same end, so for two points of a path, at
# times $r < t$,
#
# $$f(x_t, t) = f(x_r, r), \qquad f(x_0, 0) = x_0 .$$
#
# The second rule holds by construction, as $t\, v$ is 0 at time 0. The first is made a loss. **Consistency
# distillation** ([Song et al., 2023](https://arxiv.org/abs/2303.01469)) puts a training example at the time $t$,
# takes one short step with the velocity of the trained flow, which stays as it is, and asks that the end named at
# $x_t$ be the end named at $x_r$:
#
# $$L = \mathbb E\, \big\lVert f_\theta(x_t, t) - f_{\theta}(x_r, r) \big\rVert^2, \qquad
#   x_r = x_t - (t - r)\, v_{\text{flow}}(x_t, t) .$$
#
# No gradient goes through the second term; it is a target. Near time 0 the targets are right, and from there, like
# the values of [Q-learning](../rl/q_learning.ipynb), they spread to later times. Our times lie on a grid of eight
# steps.

# %% tags=["hide-input"]
diagrams.draw(
    "The point xt goes through the network f to an end. The trained flow v leads "
    "from xt to the earlier point xr, which goes through a second f to an end as "
    "well. The two ends are compared; a dashed arrow leads back into the first f "
    "only.",
    {
        **{"xₜ": (0, 0), "f": (2.4, 0), "e": (3.6, 0), "v": (0, 1.1)},
        **{"xᵣ": (0, 2.2), "g": (2.4, 2.2), "e′": (3.6, 2.2), "‖ ‖²": (3.6, 1.1)},
    },
    [("xₜ", "f", "e", "‖ ‖²"), ("xₜ", "v", "xᵣ", "g", "e′", "‖ ‖²")],
    dashed=[("‖ ‖²", "f")],
    variables=["xₜ", "xᵣ"],
    bare=["e", "e′"],
    labels={"g": "f", "e": "x̂₀", "e′": "x̂₀"},
)

# %% [markdown]
# In the package this is `flow_matching.Consistency`: a `Diffusion` with another `loss`, of which these are the lines
# that count.
#
# ```python
# x_t = self.path.noisy(x, t, torch.randn_like(x))
# with torch.no_grad():
#     x_r = x_t - self.flow(x_t, t, labels) / self.steps
#     target = end(self.network, x_r, r, labels)
# return F.mse_loss(end(self.network, x_t, t, labels), target)
# ```
#
# Network and training loop are unchanged, and training begins at the weights of the flow. One step of `ddim` at
# $t = 1$ draws. First on two Gaussians, where the end is known, $y_0 = m + \sigma\, (x - (1 - t)\, m) / \sqrt{V_t}$:
# does the exact $f$ have a loss of zero, but for the error of the short step?


# %%
class Known(nn.Module):  # velocity and end of the two Gaussians in closed form
    def __init__(self, ends):
        super().__init__()
        self.ends = ends

    def forward(self, x, t, labels=None):
        if not self.ends:
            return two(x, t)
        t = t[:, None]
        size = ((1 - t) ** 2 * sigma**2 + t**2).sqrt()
        return (x - m - sigma * (x - (1 - t) * m) / size) / t.clamp(min=1e-6)


# %%
for grid_steps in (8, 32, 128):
    rule = flow_matching.Consistency(Known(ends=False), steps=grid_steps)
    torch.manual_seed(0)
    x = m + sigma * torch.randn(20_000, 1)
    plain = rule.loss(x).item()
    rule.network = Known(ends=True)
    true = rule.loss(x).item()
    print(f"{grid_steps:3d} steps: loss of the true ends {true:.2g},", end=" ")
    print(f"of the flow's own guesses {plain:.2g}")
    assert true < 0.2 * plain
assert true < 1e-3 * plain

# %% [markdown]
# The finer the grid, the smaller the loss of the true ends, and on each grid it is far below that of the flow's own
# guesses, with which the training begins. Now the digits.

# %%
one_step, history = flow_matching.train_consistency(profile)
settings = flow_matching.consistency_recipe(profile)
grid_steps, epochs = settings["model"]["steps"], settings["fit"]["max_epochs"]
print(f"{grid_steps} steps, {epochs} epochs beyond those of the flow")
for calls in (1, 2):
    drawn["consistency", calls] = draw(one_step, calls, eta=1.0)
    table["consistency", calls] = judged(drawn["consistency", calls])

# %%
print("                         read as asked     sure   distance")
for key in (("Euler", 1), ("consistency", 1), ("consistency", 2), ("DDIM", 20)):
    right, sure, distance = table[key]
    name = f"{key[0]}, {key[1]} call{'s' if key[1] > 1 else ''}"
    print(f"{name:>22}:  {right:13.1%} {sure:8.1%} {distance:10.2f}")
if profile != "smoke":
    one, two_calls = (table["consistency", calls][2] for calls in (1, 2))
    assert two_calls < one < 0.2 * table["Euler", 1][2]
    assert table["DDIM", 20][2] < one

# %% mystnb={"image": {"alt": "Four rows of eight digits from the same noise. The first, one step of the flow, is blurred; the second, one step of the consistency model, has clear strokes; in the third and fourth rows, the flow with eight steps and the diffusion model with twenty, strokes are sharp."}}
shown = [("Euler", 1), ("consistency", 1), ("Euler", 8), ("DDIM", 20)]
sheet = torch.cat([drawn[key][:8] for key in shown])
plots.image_grid(sheet, row_labels=[f"{name} {calls}" for name, calls in shown])
plt.show()

# %% [markdown]
# One call now draws digits where the flow drew blurs. They are not as good as those of many steps: the distance says
# so, and the promise allows for three times that of DDIM with 20. A second call, which adds fresh noise to the first
# digit and takes it away again, improves it.

# %% [markdown]
# ## The promise
#
# This chapter promises that the flow with 8 calls of the network is no worse than DDIM with 20, that one step of the
# consistency model has at most three times the distance of DDIM with 20, and that one step of the plain flow fails.

# %%
figures = results.record(
    "flow_matching",
    profile,
    flow_8_over_ddim_20=round(ratio, 2),
    one_step_over_20=round(table["consistency", 1][2] / table["DDIM", 20][2], 2),
    judge_accuracy=round(table["Euler", 8][0], 3),
    judge_distance_8=round(eight, 2),
    judge_distance_floor=round(floors.mean().item(), 2),
    one_step_accuracy=round(table["consistency", 1][0], 3),
    one_step_distance_plain=round(table["Euler", 1][2], 1),
    straightness_ring=round(bent["flow"], 3),
    straightness_ring_reflow=round(bent["reflow"], 3),
)
print(figures["flow_8_over_ddim_20"], figures["one_step_over_20"])

# %%
if profile != "smoke":
    assert figures["flow_8_over_ddim_20"] <= 1
    assert figures["one_step_over_20"] <= 3
    assert table["Euler", 1][2] > 10 * table["consistency", 1][2]

# %% [markdown]
# ## Summary
#
# - Join examples and noise by straight lines; the mean velocity of the lines through a position is a field that carries
#   one to the other, whatever the pairs.
# - Least squares on the velocities of single pairs learns that field: the two losses differ by a constant.
# - The paths of the field bend, since they begin towards the mean of the data. With exact guesses they are the paths
#   of DDIM, up to a scaling and the times of the steps.
# - A flow that is trained on its own pairs has straighter paths.
# - One step of a flow that was trained plainly draws the average. To draw in one step, a network has to learn the
#   ends of the paths; the rule that all points of a path have the same end trains it.
#
# ## Check yourself
#
# **1.** Noise and data are both standard normal. Nothing would have to move. Do the paths of flow matching stand
# still, are they straight, and what does one reflow make of them?

# %% tags=["hide-cell"]
# @title Solution
still = field_of(exact(straight, torch.zeros(1, 1), 1.0))
torch.manual_seed(0)
x = torch.randn(2000, 1)
road = walk(still, x, 1000)
print(f"at the end moved by {(road[-1] - x).abs().max():.3f} at most,", end=" ")
print(f"on the way by up to {(road - x).abs().max():.2f}")
assert (road[-1] - x).abs().max() < 0.01
assert ((road[500] / x) - 0.5**0.5).abs().max() < 0.01

# %% [markdown]
# <details><summary>Answer</summary>
#
# $y_t = \sqrt{(1 - t)^2 + t^2}\; y_1$: all points go inwards, by a factor $\sqrt{1/2}$ at half time, and back to
# where they began. (The lines of random pairs join points that have nothing to do with each other, and in the middle
# of a line the two halves partly cancel.) The flow's pairs are $(\epsilon, \epsilon)$. Their lines have the velocity
# 0, and after one reflow nothing moves.
#
# </details>
#
# **2.** Somebody trains the network on $x_0 - \epsilon$ and samples with the code above. The loss falls as it should.
# What is drawn?

# %% tags=["hide-cell"]
# @title Solution
road = walk(lambda x, t: -field_of(ring)(x, t), start, 100)
share = metrics.ring_coverage(road[-1], centres, std).share
print(f"near a mode: {share:.1%}, with the right sign {best.share:.1%}")
print(f"mean length {road[0].norm(dim=1).mean():.2f} at first,", end=" ")
print(f"{road[20].norm(dim=1).mean():.2f} after 20 of 100 steps")
assert share < 0.2
assert road[20].norm(dim=1).mean() > road[0].norm(dim=1).mean()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Nothing that belongs to the data. Each step leads where it should not: at $t = 1$ the field of the ring points from
# its middle outwards, the step back should go inwards, and the printed lengths grow. A loss cannot see such a sign:
# one target is learnt as well as the other.
#
# </details>
#
# **3.** What does consistency distillation learn on a grid of a single step? And what goes wrong if, instead of the
# flow's step, $x_r$ is taken from the same pair, $x_r = (1 - r)\, x_0 + r\, \epsilon$, on a coarse grid?
#
# <details><summary>Answer</summary>
#
# With one step, $t = 1$ and $r = 0$: the target is one Euler step of the flow, the average of the class. With $x_r$
# from the same pair the target at $x_t$ varies with the example that was drawn, and least squares learns its mean
# over all pairs through $x_t$: ends are averaged, and more so, the longer the step. As the grid becomes finer the
# difference vanishes; this variant, *consistency training*, needs no flow, but a fine grid ([Song et al.,
# 2023](https://arxiv.org/abs/2303.01469), theorem 2).
#
# </details>
#
# ## Further reading
#
# - Y. Lipman et al., [Flow Matching for Generative Modeling](https://arxiv.org/abs/2210.02747) (2023); X. Liu, C.
#   Gong and Q. Liu, [Flow Straight and Fast](https://arxiv.org/abs/2209.03003) (2023): rectified flow; M. S. Albergo
#   and E. Vanden-Eijnden, [Building Normalizing Flows with Stochastic Interpolants](https://arxiv.org/abs/2209.15571)
#   (2023).
# - Y. Song, P. Dhariwal, M. Chen and I. Sutskever, [Consistency Models](https://arxiv.org/abs/2303.01469) (2023).
# - K. Frans, D. Hafner, S. Levine and P. Abbeel, [One Step Diffusion via Shortcut
#   Models](https://arxiv.org/abs/2410.12557) (2025): the network is told the length of its step, and a step of twice
#   the length is taught by two of its own.
# - T. Salimans and J. Ho, [Progressive Distillation for Fast Sampling of Diffusion
#   Models](https://arxiv.org/abs/2202.00512) (2022): half as many steps, several times over.
# - P. Esser et al., [Scaling Rectified Flow Transformers for High-Resolution Image
#   Synthesis](https://arxiv.org/abs/2403.03206) (2024): flow matching at size.
#
# Next: [Transformers and latent diffusion](transformer.ipynb), with another network, and among codes instead of pixels.
