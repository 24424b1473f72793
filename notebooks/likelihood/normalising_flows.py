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
# # Bending space: normalising flows
#
# **After this chapter you can**
#
# - say what a density becomes when space is stretched, and check it with a histogram and with an integral;
# - build an affine coupling, invert it without inverting a network, and test its determinant against the full Jacobian;
# - train a flow in the plane, and see how it bends a round cloud into the data;
# - turn whole numbers into a density honestly (dequantisation), and prove that the result is a bound;
# - compare a flow with a PixelCNN on the same binary digits, and say which nats cannot be compared;
# - recognise a density that diverges.
#
# **You need**: [Pixel by pixel](autoregressive_pixels.ipynb), whose binary digits and PixelCNN are used here; densities
# from [What generating means](../foundations/generative_models.ipynb); the importance-weighted bound of
# [The variational autoencoder](../vae/variational_autoencoder.ipynb). The [notation](../../book/notation.md) is on a
# page of its own. · [How long this chapter takes to run](../../book/results.md)

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
from pprint import pprint

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from aigc_course import diagrams, likelihood, metrics, plots, results, training
from aigc_course.data import ImageData


# %%
plots.use_style()
profile = training.resolve_profile(profile)
updates = {"smoke": 20, "cpu": 1500, "gpu": 1500}[
    profile
]  # for points in the plane
draws, held_out = (2, 20) if profile == "smoke" else (20, 500)
epochs = likelihood.flow_recipe(2, profile)["fit"]["max_epochs"]
print(f"Profile {profile}: {updates} updates for points in the plane,", end=" ")
print(f"{epochs} epochs for digits")

# %% [markdown]
# ## Stretching a line
#
# Draw $z$ from the standard normal distribution and take $x = e^z$. What is the density of $x$? Where the map
# stretches, the same points are spread over more room, and the density falls; where it squeezes, the density rises. A
# small interval of the length $dx$ around $x$ holds exactly the points that came from an interval $dz$ around $z$, so
#
# $$p(x)\, dx = \mathcal N(z; 0, 1)\, dz \qquad\Longrightarrow\qquad p(x) = \mathcal N\big(f(x); 0, 1\big)\, \lvert f'(x) \rvert,
# \qquad z = f(x) = \log x .$$
#
# It is the rule of the **change of variables**, and here $f'(x) = 1 / x$. Against a histogram:

# %% mystnb={"image": {"alt": "A histogram with one hump near 0.4 and a long tail to the right, and a curve that runs along its tops."}}
torch.manual_seed(0)
points = torch.randn(200_000).exp()
edges = torch.linspace(0, 5, 51)
bars = torch.histogram(points, edges).hist / (len(points) * 0.1)
middles = (edges[1:] + edges[:-1]) / 2
curve = torch.distributions.Normal(0, 1).log_prob(middles.log()).exp() / middles
plt.bar(middles, bars, width=0.1, color=plots.COLOURS[5], label="points")
plt.plot(middles, curve, color="black", label="formula")
plt.xlabel("x")
plt.ylabel("density")
plt.legend()
plt.show()
assert (bars - curve).abs()[1:].max() < 0.05

# %% [markdown]
# In $d$ dimensions a small cube around $x$ becomes a small oblique box around $z = f(x)$. Its volume is that of the
# cube times $\lvert \det J \rvert$, where $J = \partial f / \partial x$ is the **Jacobian**, the $d \times d$ matrix of
# all partial derivatives. So
#
# $$\log p(x) = \log \mathcal N\big(f(x); 0, I\big) + \log \lvert \det J(x) \rvert .$$
#
# A model made in this way is called a **normalising flow**: $f$ leads from the data to normal noise, and its inverse
# from noise to data. It can do both things that one wants of a generative model. To draw, take $z$ and go back through
# $f^{-1}$. To measure, go through $f$ and add the log-determinant. There is no bound and no hidden variable to be
# averaged out.
#
# This asks two things of $f$. It must have an inverse, which most networks lack. And the determinant must be cheap: for
# $d = 784$ the full Jacobian takes 784 backward passes, and its determinant some $d^3 / 3$, about 160 million,
# multiplications, for each picture in each step.

# %% [markdown]
# ## From scratch: the coupling
#
# [Dinh, Sohl-Dickstein and Bengio (2017)](https://arxiv.org/abs/1605.08803) met both conditions with one idea, the
# **affine coupling** of their *Real NVP* (real-valued, non-volume-preserving). Some coordinates, $x_A$, are kept. They
# say how the others, $x_B$, are scaled and shifted, through any network with the outputs $s$ and $t$:
#
# $$y_A = x_A, \qquad y_B = x_B \odot e^{s(x_A)} + t(x_A) .$$
#
# *The inverse*: $y_A$ is $x_A$, so $s$ and $t$ can be computed again, and $x_B = (y_B - t) \odot e^{-s}$. The network
# itself is never inverted. *The determinant*: order the coordinates so that those kept come first. Then
#
# $$J = \begin{pmatrix} I & 0 \\ \ast & \operatorname{diag}\, e^{s} \end{pmatrix}, \qquad
#   \log \lvert \det J \rvert = \sum_{i \in B} s_i ,$$
#
# for the determinant of a triangular matrix is the product of its diagonal, and what stands at $\ast$, all the
# derivatives of the network, does not matter.

# %% tags=["hide-input"]
diagrams.draw(
    "Of x, the part A goes straight on to y A, and down into the network g. The "
    "part B goes through a multiplication by exp s and an addition of t to y B. "
    "The network g gives s and t.",
    {
        **{"xA": (0, 0), "g": (1, 0.75), "yA": (4, 0), "xB": (0, 1.5)},
        **{"s": (2, 0.75), "t": (3, 0.75), "×": (2, 1.5), "+": (3, 1.5)},
        "yB": (4, 1.5),
    },
    [("xA", "yA"), ("xA", "g", "s", "×"), ("xB", "×", "+", "yB"), ("s", "t", "+")],
    observed=["xA", "xB"],
    variables=["yA", "yB"],
    bare=["t", "s"],
)


# %%
def coupling(network, kept, x):  # kept: 1 for the coordinates of A, 0 for B
    s, t = network(kept * x).chunk(2, dim=1)
    s, t = (1 - kept) * 2 * (s / 2).tanh(), (1 - kept) * t
    return x * s.exp() + t, s.sum(dim=1)  # y, and the log-determinant


def uncoupling(network, kept, y):
    s, t = network(kept * y).chunk(2, dim=1)
    s, t = (1 - kept) * 2 * (s / 2).tanh(), (1 - kept) * t
    return (y - t) * (-s).exp()


# %%
def dense(width=64):  # from a point to two scales and two shifts
    hidden = [nn.Linear(width, width), nn.SiLU()]
    return nn.Sequential(
        nn.Linear(2, width), nn.SiLU(), *hidden, nn.Linear(width, 4)
    )


torch.manual_seed(0)
network, kept = dense(), torch.tensor([1.0, 0.0])
x = torch.randn(5, 2)
y, log_det = coupling(network, kept, x)
back = uncoupling(network, kept, y)
print(f"there and back: largest error {(back - x).abs().max():.1g}")
assert torch.allclose(back, x, atol=1e-5)

# %% [markdown]
# (The $\tanh$ keeps each $s$, the logarithm of a scale, between −2 and 2, so that one coupling cannot blow up.) Now the
# test that matters: the sum of the log-scales against the log-determinant of the whole Jacobian, which PyTorch computes
# entry by entry.


# %%
def full_log_det(f, x):  # for one point: the Jacobian by autograd
    jacobian = torch.autograd.functional.jacobian(lambda one: f(one[None])[0][0], x)
    size = x.numel()
    return torch.linalg.slogdet(jacobian.reshape(size, size)).logabsdet


for point, ours in zip(x[:3], log_det, strict=False):
    full = full_log_det(lambda one: coupling(network, kept, one), point)
    print(f"sum of s {ours:8.5f}, whole Jacobian {full:8.5f}")
    assert torch.allclose(full, ours, atol=1e-5)

# %% [markdown]
# One coupling leaves half of the coordinates as they were. The next one keeps the other half. In a chain
# $f = f_K \circ \dots \circ f_1$ determinants multiply, so their logarithms add up.
#
# ## With the package
#
# `likelihood.Coupling` is the same for examples of any shape, and `likelihood.Flow` is the chain:

# %%
packaged = likelihood.Coupling(network, kept)
assert torch.allclose(packaged(x)[0], y)
assert torch.allclose(packaged(x)[1], log_det)
assert torch.allclose(packaged.inverse(y), x, atol=1e-5)


def new_flow(couplings=8, alternate=True):
    masks = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])]
    layers = [
        likelihood.Coupling(dense(), masks[k % 2 if alternate else 0])
        for k in range(couplings)
    ]
    return likelihood.Flow(layers)


# %% [markdown]
# ## In the plane
#
# Two half moons, which no single bell fits. Training is maximum likelihood, without any detour: the loss is
# $-\log p(x)$.


# %%
def moons(n):
    turn, upper = math.pi * torch.rand(n, 1), torch.rand(n, 1) < 0.5
    arc = torch.cat([turn.cos() - 0.5, turn.sin() - 0.25], dim=1)
    return 1.5 * torch.where(upper, arc, -arc) + 0.1 * torch.randn(n, 2)


def fit(flow, points, rate=2e-3):  # points: a function from a number to so many
    optimizer, losses = torch.optim.Adam(flow.parameters(), rate), []
    for _ in range(updates):
        loss = -flow.log_prob(points(400)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# %%
torch.manual_seed(0)
flow = new_flow()
losses = fit(flow, moons)

# %%
side = torch.linspace(-3.5, 3.5, 301)
grid = torch.cartesian_prod(side, side)
torch.manual_seed(1)
fresh = moons(5000)
bell = torch.distributions.MultivariateNormal(fresh.mean(dim=0), fresh.T.cov())
with torch.no_grad():
    density = flow.log_prob(grid).exp().view(301, 301)
    of_flow = -flow.log_prob(fresh).mean().item()
    drawn = flow.inverse(torch.randn(2000, 2))
total = density.sum().item() * (side[1] - side[0]).item() ** 2
of_bell = -bell.log_prob(fresh).mean().item()
print(f"nats per point: flow {of_flow:.2f}, one bell {of_bell:.2f}")
print(f"integral of the flow's density over the square: {total:.4f}")
assert abs(total - 1) < 0.01
assert profile == "smoke" or of_flow < of_bell - 0.4

# %% mystnb={"image": {"alt": "Three panels. Two half moons of points; the points drawn by the flow, much alike; the density as grey values, dark along both moons."}}
figure, panels = plt.subplots(1, 3, figsize=(6, 2.3), sharex=True, sharey=True)
for ax, cloud, name in zip(panels, (fresh, drawn), ("data", "flow"), strict=False):
    ax.scatter(*cloud[:2000].T, s=1)
    ax.set_title(name, fontsize=11)
extent = (-3.5, 3.5, -3.5, 3.5)
panels[2].imshow(density.T, origin="lower", extent=extent, cmap="gray_r")
panels[2].set_title("density", fontsize=11)
for ax in panels:
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    ax.grid(False)
plt.show()

# %% [markdown]
# The integral is 1 without anyone having asked for it: a change of variables moves probability about and makes none.
# (The square holds nearly all of it, and the sum over a grid has an error of its own.) The density follows both moons.
# Look for faint threads between them: $f$ is continuous, as is its inverse, so it cannot tear the one round cloud of
# $z$ into two pieces. What it can do is to stretch the part between them thin.
#
# How does it bend? We draw noise, and follow it back through the couplings, two at a time. Colours mark from which side
# of the cloud a point came.

# %% mystnb={"image": {"alt": "Five panels of points in two colours, split along the vertical axis in the first, which is a round cloud. From panel to panel the cloud is bent and stretched; the last one is the two moons."}}
torch.manual_seed(2)
stages = [torch.randn(2000, 2)]
colours = [
    plots.COLOURS[0] if side > 0 else plots.COLOURS[1] for side in stages[0][:, 0]
]
with torch.no_grad():
    for layer in reversed(flow.layers):
        stages.append(layer.inverse(stages[-1]))
figure, panels = plt.subplots(1, 5, figsize=(6, 1.6))
for ax, k in zip(panels, range(0, 9, 2), strict=True):
    ax.scatter(*stages[k].T, s=0.5, c=colours)
    ax.set(xticks=[], yticks=[])
    ax.set_title(f"{k}", fontsize=11)
plt.show()

# %% [markdown]
# The panels have their own scales, and the numbers count the couplings. Each pair stretches and bends the cloud in both
# directions; no single step is complicated.

# %% [markdown]
# ## Whole numbers have no density
#
# A flow gives densities, and pixels are whole numbers: 0 or 1 in the binary digits, 0 to 255 in the grey ones. A
# density may rise without limit at single points (the section "When it fails" shows it), so the loss of a flow trained
# on whole numbers would measure nothing.
#
# The cure is **dequantisation**. Give each level an interval, and each pixel a random place in the interval of its
# level. With one interval of length 1 per level, that is to add to $x$ a noise $u$, uniform in $[0, 1)^d$. A density
# $p$ on such points defines a model of whole numbers, by the share that falls into the box of $x$,
#
# $$P(x) = \int_{[0, 1)^d} p(x + u)\, du = \mathbb E_u\big[p(x + u)\big], \qquad \sum_x P(x) = 1,$$
#
# and Jensen's inequality gives ([Theis, van den Oord and Bethge, 2016](https://arxiv.org/abs/1511.01844))
#
# $$\log P(x) \ge \mathbb E_u\big[\log p(x + u)\big] .$$
#
# The right side is what training raises. So the nats of the dequantised pictures are an **upper bound** of
# $-\log P(x)$, the nats of the whole numbers; and for binary pictures they stand on the ruler of the
# [last chapter](autoregressive_pixels.ipynb). As with the VAE, several draws of $u$, averaged before the logarithm,
# tighten the bound ([Hoogeboom, Cohen and Tomczak, 2020](https://arxiv.org/abs/2001.11235)).
#
# **Which intervals?** Their lengths are ours to choose. A pixel in the corner of a digit is always dark. With intervals
# of equal length its place would be uniform in half of its range, and couplings would have to make a bell of it, 784
# times. We choose the lengths so that nothing needs to be done for pixels that are independent. At pixel $i$ the level
# $l$ gets an interval in $[0, 1]$ as long as its probability $\pi_{il}$, counted in the training pictures. From here on
# $u_i$ is a random place in this interval, and no longer the noise that was added. It is uniform over the whole of
# $[0, 1]$ if the level is drawn with these probabilities. The inverse $\Phi^{-1}$ of the normal distribution function
# makes a standard normal number of it:
#
# $$v_i = \Phi^{-1}(u_i), \qquad
#   P(x) = \mathbb E_u\left[ \frac{p(v)}{\mathcal N(v; 0, I)} \right] \prod_i \pi_{i, x_i} .$$
#
# This is the change of variables once more: $du_i = \mathcal N(v_i; 0, 1)\, dv_i$, and the box of $x$ has the volume
# $\prod_i \pi_{i, x_i}$. The product is the model of **independent pixels**, and the couplings correct it. A flow whose
# couplings do nothing, $p = \mathcal N$, is that model exactly. So its nats are where training begins:

# %%
data = ImageData("binary_digits")
x_train, x_valid, x_test = (
    data.split(name)[0] for name in ("train", "validation", "test")
)
marginals = likelihood.pixel_marginals(x_train, levels=2)  # (2, 1, 28, 28)
torch.manual_seed(0)
idle = likelihood.RealNVP(marginals, couplings=2, width=4)  # its scales begin at 0
coins = marginals.gather(0, x_valid.long())  # of the level that each pixel has
independent = -coins.log().flatten(1).sum(dim=1)
print(f"independent pixels: {independent.mean():.3f} nats per picture,", end=" ")
print(f"a new flow: {-idle.bound(x_valid).mean():.3f}")
assert torch.allclose(-idle.bound(x_valid), independent, atol=0.05)

# %% [markdown]
# Is $P$ a distribution? For pictures of 2×2 pixels all integrals can be done on a grid. We train a small flow on a
# table of sixteen probabilities, as in the last chapter, integrate over the box of each picture, and compare with an
# average over many draws of $u$.

# %%
every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).view(16, 1, 2, 2)
torch.manual_seed(0)
table = torch.randn(16).softmax(dim=0)
lit = (table[:, None, None, None] * every).sum(dim=0)
small = likelihood.RealNVP(torch.stack([1 - lit, lit]), couplings=6, width=16)
optimizer = torch.optim.Adam(small.parameters(), 5e-3)
for _ in range(updates // 3):
    batch = every[torch.multinomial(table, 200, replacement=True)]
    loss = -small(batch).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


# %%
def box_integral(model, x, places=20):  # P(x) on a grid of places^4 points
    middles = (torch.arange(places) + 0.5) / places
    u = torch.cartesian_prod(*[middles] * 4).view(-1, 1, 2, 2)
    low = torch.where(x == 1, model.edges[1], model.edges[0])
    high = torch.where(x == 1, model.edges[2], model.edges[1])
    v = torch.special.ndtri(low + (high - low) * u)
    folded = nn.functional.pixel_unshuffle(v, 2)
    ratio = model.flow.log_prob(folded) - likelihood.standard_normal(v)
    return ratio.exp().mean() * (high - low).prod()


# %%
with torch.no_grad():
    exactly = torch.stack([box_integral(small, x) for x in every])
torch.manual_seed(0)
many = 20 if profile == "smoke" else 4000
by_draws = small.bound(every.repeat(many, 1, 1, 1), k=20).exp()
by_draws = by_draws.view(many, 16).mean(dim=0)
off = (by_draws / exactly - 1).abs().max().item()
gain = (table * (table.log() - exactly.log())).sum().item()
alone = (every * lit.log() + (1 - every) * (1 - lit).log()).sum(dim=(1, 2, 3))
start = (table * (table.log() - alone)).sum().item()
print(f"sum of all sixteen integrals {exactly.sum():.4f}")
print(f"{20 * many:,} draws of u against the integral: off by {100 * off:.2f} %")
print(f"divergence of the table from P: {gain:.4f}, independent pixels {start:.4f}")
assert abs(exactly.sum() - 1) < 0.01
assert profile == "smoke" or gain < 0.5 * start

# %% [markdown]
# The sixteen integrals sum to 1, so $P$ is a distribution, and an average over draws of $u$ finds each of them. The
# last line says how well the flow has learnt the table: its divergence is less than half of that of independent pixels.
#
# ## Digits
#
# `likelihood.RealNVP` folds each patch of 4×4 pixels into the channels of one place, as the VAE's encoder does. Its
# couplings have small convolutional networks, and masks that alternate: a chessboard of pixels and its opposite, rows
# and their opposite, columns and their opposite. Two flows are trained: one on the binary digits, with two levels, and
# one on the grey digits, with 256.

# %%
for part, settings in likelihood.flow_recipe(2, profile).items():
    print(part)
    pprint(settings, sort_dicts=False)
model, history = likelihood.train_flow(2, profile)
print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
nats = [f"{value:.1f}" for value in history["val_loss"]]
print(f"validation, nats per picture: first {nats[0]}, last {nats[-1]}")

# %% mystnb={"image": {"alt": "Training and validation loss of the flow against epochs: both fall and flatten."}}
plots.curves(
    history, ["train_loss", "val_loss"], ylabel="nats per picture, at most"
)
plt.show()

# %% [markdown]
# Does the determinant still hold in 784 dimensions? Once, the whole Jacobian of the trained flow at one random point:

# %%
torch.manual_seed(0)
v = torch.randn(16, 7, 7)
with torch.no_grad():
    ours = model.flow(v[None])[1][0].item()
    there_and_back = (model.flow.inverse(model.flow(v[None])[0]) - v).abs().max()
full = full_log_det(model.flow, v).item()
print(f"log-determinant: sum of the scales {ours:.3f}, whole Jacobian {full:.3f}")
print(f"there and back: largest error {there_and_back:.1g}")
assert abs(full - ours) < 0.01 * max(1, abs(ours))
assert there_and_back < 0.01

# %% [markdown]
# ## Measure it
#
# On the test split, beside the PixelCNN and independent pixels.

# %%
rival = likelihood.pretrained(profile)
x = x_test[:held_out]
torch.manual_seed(0)
coins = marginals.gather(0, x.long()).log().flatten(1).sum(dim=1)
with torch.no_grad():
    of_pixelcnn = torch.cat([-rival.log_prob(part) for part in x.split(100)])
nats = {
    "independent pixels": -coins,
    "flow, 1 draw": -model.bound(x),
    f"flow, {draws} draws": -model.bound(x, draws),
    "PixelCNN": of_pixelcnn,
}

# %%
print("                      nats per picture   over the PixelCNN")
for name, values in nats.items():
    kind = "at most" if "flow" in name else "exactly"
    excess = values - of_pixelcnn
    error = excess.std().item() / len(x) ** 0.5
    print(f"{name:20s} {kind} {values.mean():6.1f}", end="")
    print("" if name == "PixelCNN" else f"{excess.mean():16.1f} ± {error:.1f}")
alone, one_draw, bound, exact = (values.mean().item() for values in nats.values())
if profile != "smoke":
    assert alone > one_draw + 30
    assert one_draw > bound > exact

# %% [markdown]
# The flow needs far fewer nats than independent pixels, and by the bound with several draws fewer again. The PixelCNN's
# figure is lower still. These numbers may be compared: all are $-\log P$ of the same binary pictures, or upper bounds
# of it. But a bound can be loose: the flow's own $-\log P$ lies below its last row, and how far is not measured here.
#
# **The grey digits** are another matter.

# %%
grey_model, grey_history = likelihood.train_flow(256, profile)
grey_train, grey_test = (ImageData("digits").split(n)[0] for n in ("train", "test"))
grey_marginals = likelihood.pixel_marginals(grey_train, levels=256)
y = grey_test[:held_out]
level = (255 * y).round().long()
grey_alone = (
    -grey_marginals.gather(0, level).log().flatten(1).sum(dim=1).mean().item()
)


# %%
torch.manual_seed(0)
grey_nats = -grey_model.bound(y, draws).mean().item()
bits = grey_nats / 784 / math.log(2)
print(
    f"256 levels, nats per picture: independent pixels {grey_alone:.0f},", end=" "
)
print(f"flow at most {grey_nats:.0f}")
print(f"the flow in bits per dimension: {bits:.2f}")
assert profile == "smoke" or grey_nats < grey_alone - 50

# %% [markdown]
# A grey digit costs several times the nats of a binary one; each of its pixels has one of 256 values in place of two.
# What may be compared with what?
#
# - The grey flow's figure with other models of the *same 256 levels*, such as independent pixels with 256 values each.
#   In the literature it is given in **bits per dimension**: divided by 784 and by $\log 2$.
# - Not with any figure for binary pictures. These are other data.
# - Not with the VAE's nats on grey digits, either. Its Bernoulli pixels give no probabilities of the 256 values; with
#   grey targets it is [a cross-entropy that is no likelihood](../vae/variational_autoencoder.ipynb).
# - And a density without its intervals says nothing. Measure the pixels from 0 to 1 in place of 0 to 256, and every
#   density of 784 of them grows by the factor $256^{784}$: the same model has $784 \log 256 \approx 4347$ nats fewer.
#   What $P(x)$ measures, the share in a box, does not change.

# %% [markdown]
# ## Look at it
#
# To draw, take 784 normal numbers and go back once.

# %% mystnb={"image": {"alt": "Four rows of eight generated pictures, the upper two black and white, the lower two grey: clouds of specks, few of which have the shape of a digit."}}
torch.manual_seed(0)
binary_drawn, grey_drawn = model.sample(500), grey_model.sample(500)
rows = torch.cat([binary_drawn[:16], grey_drawn[:16]])
plots.image_grid(rows, row_labels=["2 levels", "", "256 levels", ""])
plt.show()

# %%
torch.manual_seed(1)
sure = {
    "held-out binary digits": x_valid,
    "the binary flow's": binary_drawn,
    "independent pixels": marginals[1].expand(500, 1, 28, 28).bernoulli(),
    "the grey flow's": grey_drawn,
}
sure = {name: metrics.confident_share(pictures) for name, pictures in sure.items()}
for name, share in sure.items():
    print(f"the judge is sure of {share:.0%}: {name}")


# %%
def multiplications(call):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return counter.get_total_flops() / 2


costs = {
    "flow": multiplications(lambda: model.sample(1)),
    "PixelCNN": multiplications(lambda: rival.sample(1)),
}
for name, cost in costs.items():
    print(f"{name:9s} {cost / 1e6:7,.0f} million multiplications per picture")
assert profile == "smoke" or costs["flow"] < costs["PixelCNN"] / 4

# %% [markdown]
# The flow draws clouds of specks that only now and then have the shape of a digit. That the judge is sure of many of
# them speaks against the judge here: it is sure of many pictures of independent pixels as well. It was trained on
# digits and never on specks.
#
# A sample takes one pass through the couplings, all pixels at once, where the PixelCNN takes 784 steps one after the
# other, and it takes fewer multiplications.

# %% [markdown]
# ## When it fails
#
# **No dequantisation.** Two pixels: the first is a coin, 0 or 1, the second is always dark, as in the corners of our
# digits. The entropy of such pictures is $\log 2 \approx 0.69$ nats.
#
# > **Predict, then run.** A flow is trained on these pairs of numbers as they are, another on the same with uniform noise
# > added. Which loss ends lower, and where does each end?


# %%
def two_pixels(n):
    return (torch.rand(n, 2) < torch.tensor([0.5, 0.0])).float()


def with_noise(n):
    return two_pixels(n) + torch.rand(n, 2)


ends = {}
for name, points in {"as they are": two_pixels, "with noise": with_noise}.items():
    torch.manual_seed(0)
    ends[name] = fit(new_flow(), points)

# %% mystnb={"image": {"alt": "Two loss curves. With noise it levels off above a dashed line at 0.69; without noise it ends far below the line."}}
for name, curve in ends.items():
    smooth = torch.tensor(curve).unfold(0, 10, 10).mean(dim=1)
    plt.plot(10 * torch.arange(len(smooth)), smooth, label=name)
plt.axhline(math.log(2), color="black", linestyle="--", label="entropy")
plt.xlabel("updates")
plt.ylabel("minus log-density (nats)")
plt.ylim(-8, 4)  # single updates that overshoot lie far above
plt.legend()
plt.show()

# %%
last = {name: sum(curve[-50:]) / len(curve[-50:]) for name, curve in ends.items()}
print(
    ", ".join(
        f"{name}: {value:.2f} nats at the end" for name, value in last.items()
    )
)
if profile != "smoke":
    assert last["as they are"] < -1
    assert math.log(2) - 0.02 < last["with noise"] < 1.5

# %% [markdown]
# With noise the loss ends above the entropy, as the bound of Theis et al. says it must. Without noise it sinks far
# below: the second number is always 0, so each coupling may stretch it without changing it, and the log-determinant
# grows. Only the limit of our log-scales would end that, and the training stopped before (exercise 3). Where a single
# update overshoots, the curve leaves the picture. Such a loss has no meaning. If the loss of a continuous model is far
# too low and goes on falling, ask whether some of the data take only a few values.

# %% [markdown]
# **Masks that do not alternate.** If all couplings keep the same coordinate, it is never changed.

# %%
torch.manual_seed(0)
stiff = new_flow(alternate=False)
fit(stiff, moons)
with torch.no_grad():
    of_stiff = -stiff.log_prob(fresh).mean().item()
    first = stiff.inverse(torch.randn(2000, 2))[:, 0]
print(f"nats per point: alternating {of_flow:.2f}, the same mask {of_stiff:.2f}")
print(f"spread of the kept coordinate: drawn {first.std():.2f}, ", end="")
print(f"data {fresh[:, 0].std():.2f}")
assert abs(first.std() - 1) < 0.1
assert profile == "smoke" or of_stiff > of_flow + 0.2

# %% [markdown]
# The kept coordinate is drawn from the standard normal distribution, whatever the data are. In 784 dimensions one does
# not see that so easily; the nats show it.

# %% [markdown]
# ## The promise
#
# This chapter promises that the log-determinant is that of the whole Jacobian, that the flow's $P$ sums to 1 on
# pictures of 2×2 pixels and draws reach it within 1 %, that the flow saves at least 30 nats of independent pixels on
# the binary digits, and that the diverging density was shown.

# %%
figures = results.record(
    "normalising_flows",
    profile,
    nats_binarised=round(bound, 2),
    nats_binarised_one_draw=round(one_draw, 2),
    nats_binarised_independent=round(alone, 2),
    nats_grey_256_levels=round(grey_nats, 1),
    bits_per_dimension_grey=round(bits, 3),
    confident_share=round(sure["the binary flow's"], 3),
    integral_moons=round(total, 4),
)
print(figures["nats_binarised"], figures["nats_grey_256_levels"])


# %%
if profile != "smoke":
    assert figures["nats_binarised"] <= figures["nats_binarised_independent"] - 30
    assert off < 0.01, "draws of u reach the integral"
    assert last["as they are"] < -1, "the density that diverges"


# %% [markdown]
# ## Summary
#
# - Under an invertible map densities change by the absolute determinant of the Jacobian.
# - An affine coupling has a triangular Jacobian and an inverse, whatever its network is; masks have to alternate.
# - Whole numbers need intervals and noise. What is then measured is an upper bound of the nats of the whole numbers,
#   and with the same data it compares with exact likelihoods.
# - Densities compare only for the same data in the same units.
# - A flow draws in one pass. Here its bound lies well above the nats of the PixelCNN, which draws in 784 steps.
# - Without dequantisation the density diverges, and the loss means nothing.
#
# ## Check yourself
#
# **1.** What is the density of $x = z^3$ for a standard normal $z$? Where is it infinite, and is it still a density?

# %% tags=["hide-cell"]
# @title Solution
x = torch.linspace(-30, 30, 2_000_001, dtype=torch.double)  # none of them is 0
x = x + 1.5e-5
root = x.sign() * x.abs() ** (1 / 3)
p = (-(root**2) / 2).exp() / math.sqrt(2 * math.pi) / (3 * root**2)
inside = torch.erf(torch.tensor(30 ** (1 / 3) / math.sqrt(2)))
print(f"integral {p.sum() * (x[1] - x[0]):.3f}, share of z within: {inside:.3f}")
assert abs(p.sum() * (x[1] - x[0]) - inside) < 0.02

# %% [markdown]
# <details><summary>Answer</summary>
#
# $f(x) = x^{1/3}$ and $f'(x) = \tfrac13 |x|^{-2/3}$, so $p(x) = \mathcal N(x^{1/3}; 0, 1)\, \tfrac13 |x|^{-2/3}$. At
# $x = 0$ it is infinite, and its integral is 1 all the same: a density may exceed any bound. (The sum in the solution
# falls a little short of the share within, because a grid cannot follow the peak at 0; a finer grid comes closer.)
#
# </details>
#
# **2.** Additive couplings have $s = 0$. What is their determinant, and what can a flow of them not do?
#
# <details><summary>Answer</summary>
#
# The determinant is 1: volume is preserved (NICE, Dinh, Krueger and Bengio, 2015). So the density at $x$ is that of the
# normal distribution at $f(x)$, at most $(2\pi)^{-d/2}$: it cannot concentrate data on a volume that is small. NICE
# therefore ends with one learnt scale per coordinate.
#
# </details>
#
# **3.** Show that a coupling with the scale limited to $\pm 2$ cannot lower the loss of the two pixels without end, and
# give the limit for eight couplings.

# %% tags=["hide-cell"]
# @title Solution
most = 4 * 2 * 2  # four couplings move each of two coordinates, by at most 2 each
limit = math.log(2 * math.pi) - most
print(f"the loss without noise can never be below {limit:.2f}; it came to", end=" ")
print(f"{min(ends['as they are']):.2f}")
assert min(ends["as they are"]) > limit

# %% [markdown]
# <details><summary>Answer</summary>
#
# $-\log p = \log 2\pi + \tfrac12 \lVert z \rVert^2 - \sum s$, and each of the two coordinates is scaled four times. So
# it is at least $\log 2\pi - 16$. The limit is ours, and not the data's.
#
# </details>
#
# ## Further reading
#
# - L. Dinh, D. Krueger and Y. Bengio, [NICE](https://arxiv.org/abs/1410.8516) (2015), and L. Dinh, J. Sohl-Dickstein
#   and S. Bengio, [Density estimation using Real NVP](https://arxiv.org/abs/1605.08803) (2017).
# - L. Theis, A. van den Oord and M. Bethge,
#   [A note on the evaluation of generative models](https://arxiv.org/abs/1511.01844) (2016).
# - E. Hoogeboom, T. Cohen and J. M. Tomczak,
#   [Learning Discrete Distributions by Dequantization](https://arxiv.org/abs/2001.11235) (2020).
# - D. P. Kingma and P. Dhariwal, [Glow](https://arxiv.org/abs/1807.03039) (2018): between couplings, a learnt mixing of
#   the channels (an invertible 1×1 convolution) in place of a fixed permutation.
# - G. Papamakarios et al.,
#   [Normalizing Flows for Probabilistic Modeling and Inference](https://arxiv.org/abs/1912.02762) (2021): the survey.
#
# Next: [The adversarial game](../gan/adversarial_game.ipynb), where the likelihood is given up altogether.
