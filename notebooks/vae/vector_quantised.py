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
# # Discrete codes: the VQ-VAE
#
# **After this chapter you can**
#
# - turn a picture into a short row of whole numbers and back, and train an encoder through a step whose derivative is zero;
# - say which part of the model each of the three terms of the loss moves, and why the codebook is a k-means;
# - recognise dead codes by their perplexity, and cure them;
# - train a GPT as a prior over the codes, and draw the class you ask for;
# - say in nats what pictures, codes and a missing prior cost;
# - say why many large models of pictures, music and video begin with such a tokeniser.
#
# **You need**: the encoder, the decoder and the bound of [The variational autoencoder](variational_autoencoder.ipynb).
# The prior is the [GPT](../language/gpt.ipynb) of a later part. Here it is enough to know what it does: it gives the
# probability of the next symbol in a row, given those before it. [Notation](../../book/notation.md).
# · [How long this chapter takes to run](../../book/results.md)

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
from torch.nn import functional as F

from aigc_course import diagrams, metrics, plots, results, training, vae
from aigc_course import vector_quantised as vq
from aigc_course.data import ImageData


# %%
plots.use_style()
profile = training.resolve_profile(profile)
# for the sketch and for each model of a comparison
short = {"smoke": 1, "cpu": 6, "gpu": 6}[profile]
samples = {"smoke": 100, "cpu": 1000, "gpu": 1000}[profile]
print(
    f"Profile {profile}: {short} epochs for a comparison, for the main model",
    end=" ",
)
print(vq.recipe(profile)["fit"]["max_epochs"])

# %% [markdown]
# ## A code of whole numbers
#
# The code of a VAE is a list of real numbers, and its prior is fixed before training: a normal distribution. Samples
# suffer where the codes of real pictures do not follow it. Here is a model that goes the other way round. Its code is a
# grid of *whole* numbers, each of which names a vector in a table. No prior is set in advance. When encoder and decoder
# are done, a second model learns how the numbers of real pictures follow each other, as a language model learns how words
# do.
#
# The table is called the **codebook**: $K$ vectors $e_1, \dots, e_K$, each of $d$ numbers. The encoder cuts a picture of
# 28×28 pixels into 7×7 patches and gives each of the 49 *places* a vector $z$ of $d$ numbers. Then $z$ is replaced by the
# nearest vector of the codebook, and the place gets its number, the **code**:
#
# $$c = \arg\min_k \lVert z - e_k \rVert^2, \qquad e = e_c .$$
#
# This is called *vector quantisation*, and the model a **VQ-VAE** ([van den Oord, Vinyals and Kavukcuoglu,
# 2017](https://arxiv.org/abs/1711.00937)). The decoder sees $e$ and not $z$. So all that it learns of a picture is 49
# whole numbers below $K$.


# %%
def nearest(z, codebook):  # (..., d) and (K, d) -> (...)
    distances = torch.cdist(z.flatten(0, -2), codebook)
    return distances.argmin(dim=1).view(z.shape[:-1])


# %% [markdown]
# ## A step without a slope
#
# The decoder's output depends on $z$ only through the number $c$. Move $z$ a little, and in general $c$ stays the same:
# nothing changes at all. As a function of $z$ the chosen vector is a staircase. Its derivative is zero, or does not
# exist, and an encoder that is trained through it learns nothing.

# %%
torch.manual_seed(0)
z, codebook = torch.randn(49, 8, requires_grad=True), torch.randn(32, 8)
with torch.no_grad():
    before = codebook[nearest(z, codebook)]
    after = codebook[nearest(z + 1e-5 * torch.randn(49, 8), codebook)]
    print(f"change of the chosen vectors: {(after - before).abs().max().item()}")
print("gradient wanted:", codebook[nearest(z, codebook)].requires_grad)
assert torch.equal(before, after)

# %% [markdown]
# The second line says that PyTorch has nothing to send back: on the way from $z$ to the chosen vectors there is an
# $\arg\min$, and their only origin is the table.
#
# The **straight-through estimator** ([Bengio, Léonard and Courville, 2013](https://arxiv.org/abs/1308.3432)) puts
# something else in the place of the missing derivative. On the way forward the decoder gets $e$. On the way back the
# gradient at $e$ is handed to $z$ unchanged. In code it is one line. Let $\mathrm{sg}[\cdot]$, the *stop-gradient*,
# return its argument and count as a constant in derivatives (`detach` in PyTorch). Then
#
# $$z + \mathrm{sg}[e - z]$$
#
# has the value $e$ and the derivative of $z$.


# %%
def straight_through(z, e):
    return z + (e - z).detach()


torch.manual_seed(0)
decoder = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
e = codebook[nearest(z, codebook)].requires_grad_()
decoder(straight_through(z, e.detach())).sum().backward()
decoder(e).sum().backward()  # the gradient where the decoder is: at e
print(f"largest difference: {(z.grad - e.grad).abs().max():.1g}")
assert torch.allclose(z.grad, e.grad, atol=1e-6)

# %% [markdown]
# This is not the derivative of the loss, which is zero. It says in which direction the *decoder's* input should move, and
# the encoder goes that way until $z$ crosses into the cell of another code. No theorem says that this must lower the loss;
# that it does is seen in practice. The gradient is taken at $e$ and used at $z$, so the two should not be far apart.

# %% [markdown]
# ## Three terms
#
# Two things are still missing. No gradient reaches the codebook, since the straight-through estimator leads it past. And
# nothing holds $z$ near its code. The loss of one picture has a term for each:
#
# $$
# \mathcal L = \underbrace{-\log p_\theta(x \mid e)}_{\text{reconstruction}}
# + \underbrace{\sum_{\text{places}} \lVert \mathrm{sg}[z] - e \rVert^2}_{\text{codebook}}
# + \beta \underbrace{\sum_{\text{places}} \lVert z - \mathrm{sg}[e] \rVert^2}_{\text{commitment}} .
# $$
#
# The reconstruction term is that of the [VAE](variational_autoencoder.ipynb): independent pixels, each lit with the
# probability that the decoder gives. The last two terms have the same value and different gradients. One moves the codes
# to the encoder's vectors, the other moves the encoder's vectors to the codes, with a weight $\beta$ of its own.
#
# Here is all of it as a sketch: one convolution that reads patches, one that lets neighbours see each other, and the same
# backwards.


# %%
class TinyVQVAE(nn.Module):
    def __init__(self, codes=32, dim=8, width=64):
        super().__init__()
        patches, pixels = (
            nn.Conv2d(1, width, 4, stride=4),
            nn.ConvTranspose2d(width, 1, 4, stride=4),
        )
        inwards = nn.Conv2d(width, dim, 3, padding=1)
        outwards = nn.Conv2d(dim, width, 3, padding=1)
        self.encoder = nn.Sequential(patches, nn.ReLU(), inwards)
        self.decoder = nn.Sequential(outwards, nn.ReLU(), pixels)
        self.codebook = nn.Parameter(torch.randn(codes, dim))


# %%
def quantised(model, x):
    z = model.encoder(x).permute(0, 2, 3, 1)  # (batch, 7, 7, dim)
    codes = nearest(z, model.codebook)
    return z, codes, model.codebook[codes]


def nats_of(model, vectors, x):  # per picture, from one vector for each place
    logits = model.decoder(vectors.permute(0, 3, 1, 2))
    losses = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    return losses.flatten(1).sum(dim=1).mean()


def distance(a, b):  # squared, summed over the places
    return (a - b).square().sum(dim=(1, 2, 3)).mean()


# %%
def terms(model, x):
    z, _, e = quantised(model, x)
    reconstruction = nats_of(model, straight_through(z, e), x)
    return reconstruction, distance(z.detach(), e), distance(z, e.detach())


# %% [markdown]
# Which term moves which part? We ask for the gradients of each term alone.

# %%
data = ImageData("digits", batch_size=50, rotate=10.0, shift=1.0, scale=0.05)
x_train, y_train = data.split("train")
x_valid, y_valid = data.split("validation")
torch.manual_seed(0)
tiny, moved = TinyVQVAE(), {}
print("gradient of          at encoder   codebook    decoder")
names = "reconstruction", "codebook term", "commitment"
parts = (tiny.encoder[0].weight, tiny.codebook, tiny.decoder[0].weight)
for name, term in zip(names, terms(tiny, x_train[:100]), strict=True):
    found = torch.autograd.grad(term, parts, retain_graph=True, allow_unused=True)
    moved[name] = [0.0 if g is None else g.norm().item() for g in found]
    print(f"{name:18s}", "".join(f"{size:11.2f}" for size in moved[name]))


# %%
def pattern(name):
    return [size > 0 for size in moved[name]]


assert pattern("reconstruction") == [True, False, True]
assert pattern("codebook term") == [False, True, False]
assert pattern("commitment") == [True, False, False]

# %% [markdown]
# The division of labour is exact: every zero in the table is a gradient that does not exist. At its vector $z$ the encoder
# gets the decoder's gradient at the quantised point $e$, and $2 \beta\, (z - e)$ from the commitment term, nothing else:

# %%
x, beta = x_train[:100], 0.25
z, _, e = quantised(tiny, x)
z.retain_grad()
loss = nats_of(tiny, straight_through(z, e), x) + beta * distance(z, e.detach())
loss.backward()
at_e = e.detach().requires_grad_()
nats_of(tiny, at_e, x).backward()
expected = at_e.grad + 2 * beta * (z - e).detach() / len(x)
print(f"largest difference: {(z.grad - expected).abs().max():.1g}")
assert torch.allclose(z.grad, expected, atol=1e-6)

# %% [markdown]
# And how does the codebook learn? Let code $k$ stand for the vectors $z_1, \dots, z_n$ of a batch. The codebook term's
# gradient with respect to $e_k$ is $2 \sum_i (e_k - z_i)$, which is zero where $e_k$ is the *mean* of its vectors. Assign
# each vector to the nearest code, then move each code to the mean of its vectors: that is **k-means**, done a little
# with every batch, on vectors that move as well.

# %%
optimizer = torch.optim.Adam(tiny.parameters(), lr=3e-3)
seen = []
for _ in range(short):
    for batch in x_train[torch.randperm(len(x_train))].split(100):
        reconstruction, codebook_term, commitment = terms(tiny, batch)
        loss = reconstruction + codebook_term + beta * commitment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        used = len(quantised(tiny, x_valid)[1].unique())
        seen.append((terms(tiny, x_valid)[0].item(), used))


# %%
for epoch in sorted({0, short // 2, short - 1}):
    nats, used = seen[epoch]
    print(f"epoch {epoch + 1}: {nats:.0f} nats on validation, {used} codes in use")
assert seen[0][1] < 24
assert profile == "smoke" or seen[-1][0] < 120
assert profile == "smoke" or seen[-1][1] > seen[0][1]

# %% [markdown]
# It trains: an untrained decoder needs about 543 nats, $\log 2$ for each of the 784 pixels. But look at the last column.
# There are 32 codes in the table, and after the first epoch many of them are the nearest to nothing. Here others come into
# use later; in the next sections they do not.

# %% [markdown]
# ## A bound in two parts
#
# Is this a probability model at all? Let a prior give a row of codes $c = (c_1, \dots, c_{49})$ the probability $p(c)$. Then
# the model's probability of a picture is a sum over all rows, and no smaller than any single one of its terms:
#
# $$p(x) = \sum_{c} p(c)\, p_\theta(x \mid c) \;\ge\; p(c(x))\; p_\theta(x \mid c(x)),$$
#
# where $c(x)$ is the row that the encoder chooses. Therefore
#
# $$-\log p(x) \;\le\; \underbrace{-\log p_\theta(x \mid c(x))}_{\text{reconstruction}}
#   \; \underbrace{-\log p(c(x))}_{\text{what the codes cost}} .$$
#
# This is the VAE's bound with an encoder that is always sure. With a *uniform* prior the second term is $49 \log K$, the
# same for all pictures: a constant, so training can ignore it. That is why no KL term appears in the loss. Afterwards,
# with encoder and decoder finished, one may put a better prior in its place. Each nat that it saves improves the bound by a
# nat.

# %% [markdown]
# The model in one drawing. $E$ and $D$ are encoder and decoder, $Q$ takes the nearest code from the codebook $e_k$. The dashed
# arrow is the gradient that skips $Q$. Below, $G$ is the prior, a GPT, which is told the class $y$ and writes codes itself.

# %% tags=["hide-input"]
diagrams.draw(
    "From x through the encoder E, z, Q with the codebook, c and the decoder D to "
    "p. A dashed arrow leads from D back to z. From the class y through G to c.",
    {
        **{"x": (0, 0), "E": (1.1, 0), "z": (2.2, 0), "Q": (3.3, 0)},
        **{"c": (4.4, 0), "D": (5.5, 0), "p": (6.6, 0), "eₖ": (3.3, 1.3)},
        **{"y": (3.3, 2.4), "G": (4.4, 2.4)},
    },
    [("x", "E", "z", "Q", "c", "D", "p"), ("eₖ", "Q"), ("y", "G", "c")],
    dashed=[("D", "z")],
    variables=["c"],
    observed=["x", "y"],
    bare=["z", "p"],
    notes={"x": "28×28", "z": "7×7×d", "eₖ": "K×d"},
)

# %% [markdown]
# ## A codebook of running means
#
# If a code should be the mean of its vectors, why walk there by gradients? The paper's second way computes the means, as
# running averages over the batches. Let a share $s_k$ of a batch's vectors have the code $k$, with the mean
# $\bar z_k$. Keep the average share $u_k$, the code's *usage*, with a factor $\gamma$ just below 1:
#
# $$u_k \leftarrow \gamma\, u_k + (1 - \gamma)\, s_k, \qquad
#   e_k \leftarrow e_k + \frac{(1 - \gamma)\, s_k}{u_k}\, (\bar z_k - e_k) .$$
#
# The product $u_k e_k$ is then a running average of the sums $s_k \bar z_k$: multiply the second rule by the new $u_k$,
# put in the first, and $u_k e_k \leftarrow \gamma\, u_k e_k + (1 - \gamma)\, s_k \bar z_k$ remains, with the old $u_k
# e_k$ on the right. With $\gamma = 0$ the code becomes the mean of its vectors in the batch. There is no learning rate,
# and the codebook term drops
# out of the loss. We try it on points around a circle, with ten codes that begin somewhere else, as random
# codes do in a network.


# %%
def follow(codebook, usage, z, codes, decay):
    chosen = F.one_hot(codes, len(codebook)).float()
    s = chosen.mean(dim=0)
    usage = decay * usage + (1 - decay) * s
    towards = chosen.T @ z / len(z) - s[:, None] * codebook  # s (mean - e)
    return codebook + (1 - decay) * towards / usage[:, None], usage


def circle(n):
    angle = 2 * math.pi * torch.rand(n)
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.12 * torch.randn(n, 2)


# %%
torch.manual_seed(0)
first = torch.tensor([2.5, 0.0]) + 0.15 * torch.randn(10, 2)
by_hand = plain = cured = vq.RunningMeans(first, torch.ones(10) / 10)
for _ in range(200):
    z = circle(200)
    codes = nearest(z, by_hand[0])
    by_hand = follow(*by_hand, z, codes, 0.9)
    plain = vq.running_means(plain, z, codes, 0.9)
    cured = vq.running_means(cured, z, vq.nearest_codes(z, cured.codebook), 0.9)
    cured = vq.restart_unused(cured, z, 0.1)
assert torch.allclose(by_hand[0], plain.codebook, atol=1e-4)
points = circle(4000)
same = nearest(points, first) == vq.nearest_codes(points, first)
assert same.float().mean() > 0.99, "but for rounding"


# %% mystnb={"image": {"alt": "Three panels with points around a circle and ten codes as crosses. At first all codes lie together, to the right of the circle. Without a cure some have moved to the means of their points, inside the circle, and the others still lie where they were. With restarts all ten lie on the circle."}}
figure, panels = plt.subplots(1, 3, figsize=(6, 1.9), sharex=True, sharey=True)
kinds = {"start": first, "running means": plain[0], "with restarts": cured[0]}
for ax, (name, codebook) in zip(panels, kinds.items(), strict=True):
    colours = [plots.COLOURS[k] for k in nearest(points, codebook).tolist()]
    ax.scatter(*points.T, s=1, c=colours)
    ax.scatter(*codebook.T, marker="x", color="black", s=30, linewidths=1.5)
    ax.set_title(name, fontsize=11)
    ax.set(aspect="equal", xticks=[], yticks=[])
plt.show()

# %%
on_circle = {}
for name, codebook in kinds.items():
    codes = nearest(points, codebook)
    error = (points - codebook[codes]).square().sum(dim=1).mean()
    on_circle[name] = len(codes.unique()), error.item()
    print(f"{name:14s} {on_circle[name][0]:2d} codes in use, error {error:.3f}")
assert on_circle["running means"][0] < on_circle["with restarts"][0] == 10
assert on_circle["with restarts"][1] < on_circle["running means"][1]

# %% [markdown]
# Each colour is the cell of one code. The few codes that came to be the nearest to some points have moved to the means
# of those points, inside the circle. The others lie where they lay: without a vector of its own a code has no mean to
# go to, and no gradient either. They are
# **dead codes**. In the right panel a code that has hardly been used for a while is put where one of the batch's
# points is, at random. This is the *restart* of [Dhariwal et al. (2020)](https://arxiv.org/abs/2005.00341).

# %% [markdown]
# ## With the package
#
# `aigc_course.vector_quantised` has these functions (the cell above has compared them with ours) and `VQVAE`, with running
# means, restarts, and one more cure. Its codebook begins at encoder outputs of the first
# batch, spread out and moved by ten steps of k-means ([Zeghidour et al., 2021](https://arxiv.org/abs/2107.03312), start with
# k-means too). Its encoder sees each patch by itself, so that equal patches have equal codes; the decoder's convolutions let
# neighbours see each other. The second exercise measures what that is worth.

# %%
for part, settings in vq.recipe(profile).items():
    print(part)
    pprint(settings, sort_dicts=False)
model, history = vq.train(profile)
early, last = history["val_loss"][0], history["val_loss"][-1]
print("reconstruction term on the validation split:", end=" ")
print(f"{early:.0f} nats, after the last epoch {last:.0f}")
assert profile == "smoke" or last < early - 10

# %% mystnb={"image": {"alt": "Two panels. Left the reconstruction term falls steeply, then slowly. Right the perplexity of the codes, which is nearly level after the first epochs, far below the number of codes."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3))
plots.curves(history, ["val_loss"], ylabel="nats per picture", ax=left)
plots.curves(history, ["val_perplexity"], ylabel="codes", ax=right)
right.set_ylim(0, model.num_codes)
plt.show()

# %% [markdown]
# The right panel shows the **perplexity** of the codes, $\exp(-\sum_k p_k \log p_k)$ with the shares $p_k$ of the codes: how
# many codes, all equally frequent, would be as hard to guess. It is $K$ if all are equally frequent and 1 if only one is
# used. Two extremes to check, and our model:

# %%
K = model.num_codes
codes_valid = model.encode(x_valid)
shares = vq.code_usage(codes_valid, K)
perplexity = vq.code_perplexity(shares).item()
print(f"equal shares {vq.code_perplexity(torch.full((K,), 1 / K)):.1f},", end=" ")
print(f"one code {vq.code_perplexity(torch.eye(K)[0]):.1f},", end=" ")
print(f"our model {perplexity:.1f} of {K}")
black = (F.max_pool2d(x_valid, 4) == 0).flatten(1)  # patches without any ink
the_one = codes_valid[black].unique().tolist()
print(f"{black.float().mean():.0%} of the patches are black, their code: {the_one}")


def inked(codes):  # perplexity of the codes of all other patches
    return vq.code_perplexity(vq.code_usage(codes[~black], K)).item()


print(f"perplexity on the others: {inked(codes_valid):.1f}")
assert len(the_one) == 1
assert profile == "smoke" or inked(codes_valid) > K / 3

# %% [markdown]
# That our model stays so far below $K$ is no failure. A large part of these patches is black, and all of those have one and the
# same code. Below, perplexities are those of the patches with ink.

# %% [markdown]
# ## Dead codes, and their cures
#
# Which cure is worth what? Four models, trained alike and briefly: the codebook begins at random or spread out, without and
# with restarts.
#
# > **Predict, then run.** How many of the codes does the model use that has neither? (a) All, for unused codes will be
# > found sooner or later. (b) About half. (c) A few.


# %%
size = vq.recipe(profile)["model"]


def trained(**options):
    torch.manual_seed(0)
    network = vq.VQVAE(**size | options)
    nats = training.fit(network, data, max_epochs=short)["val_loss"][-1]
    codes = network.encode(x_valid)
    return len(codes.unique()), inked(codes), nats


# %%
cures = {
    "random start": {"spread": False, "restart": 0.0},
    "random start, restarts": {"spread": False},
    "spread start": {"restart": 0.0},
    "spread start, restarts": {},
}
ablation = {name: trained(**options) for name, options in cures.items()}
print(f"of {K} codes              in use   perplexity   nats")
for name, (used, spread, nats) in ablation.items():
    print(f"{name:24s} {used:6d} {spread:11.1f} {nats:7.1f}")

# %%
used, spread, nats = zip(*ablation.values(), strict=True)
if profile != "smoke":
    assert used[0] < K / 4
    assert min(used[1:]) > 2 * used[0]
    assert min(spread[1:]) > 2 * spread[0]
    assert max(nats[1:]) < nats[0] - 5
    assert max(nats[1:3]) - nats[3] < 0.5 * (nats[0] - nats[3])

# %% [markdown]
# It is (c). A likely reason is that of the circle: a few codes are nearest to everything at the start, and what is not
# used is not moved. Fewer codes in use say less about a picture, and the reconstruction is worse by many nats. Each of
# the two cures alone
# does most of the work. A lesson beyond this model: a loss that falls does not tell that a part of the network is dead. Print
# the perplexity.

# %% [markdown]
# ## Look at it
#
# Held-out digits, and what is left of them after the VAE's sixteen real numbers and after our 49 whole numbers.

# %% mystnb={"image": {"alt": "Three rows of eight digits: originals; copies of the VAE, a little soft; copies of the VQ-VAE, close to the originals."}}
ordinary = vae.pretrained(profile)
copies = {
    "original": x_valid,
    "VAE": ordinary.reconstruct(x_valid),
    "VQ-VAE": model.reconstruct(x_valid),
}
sheet = torch.cat([pictures[:8] for pictures in copies.values()])
plots.image_grid(sheet, row_labels=list(copies))
plt.show()

# %%
print("the first digit as its codes:")
for row in codes_valid[0].view(7, 7).tolist():
    print("   ", " ".join(f"{code:2d}" for code in row))

# %% [markdown]
# That is the whole picture, as the decoder gets it. Where the picture is black, codes repeat. How near are the copies,
# in nats (above the least that any copy can reach, the entropy of the grey values), in squared error, and in the eyes
# of the judge?

# %%
least = F.binary_cross_entropy(x_valid, x_valid, reduction="none")
least = least.flatten(1).sum(dim=1).mean().item()  # the entropy of the grey values
near = {}
print("copies     nats above the least   squared error   read right")
for name in ("VAE", "VQ-VAE"):
    copy = copies[name].clamp(1e-6, 1 - 1e-6)
    nats = F.binary_cross_entropy(copy, x_valid, reduction="none")
    nats = nats.flatten(1).sum(dim=1).mean().item() - least
    error = (copy - x_valid).square().flatten(1).sum(dim=1).mean().item()
    near[name] = nats, error, metrics.judge_accuracy(copy, y_valid)
    print(f"{name:8s} {nats:18.1f} {error:17.2f} {near[name][2]:12.1%}")

# %%
with torch.no_grad():
    vae_code = ordinary.elbo(x_valid).kl.mean().item()
print(f"cost of a code: VAE {vae_code:.0f} nats,", end=" ")
print(f"VQ-VAE at most {49 * math.log(K):.0f}")
if profile != "smoke":
    assert near["VQ-VAE"][0] < near["VAE"][0]
    assert near["VQ-VAE"][1] < near["VAE"][1]
    assert 49 * math.log(K) > 3 * vae_code

# %% [markdown]
# The VQ-VAE's copies are the nearer ones, in nats and in squared error. That is no merit of whole numbers: its code may
# say several times as much. The last line is in the same unit as the first column, so the two can be added, as in the
# bound. (For the VAE the sum is only near the bound: these copies are decoded from the mean of the code, and the bound
# takes codes that are drawn.) With a uniform prior the discrete code is by far the more costly one. What does it cost
# with a good prior?

# %% [markdown]
# ## A GPT as the prior
#
# A row of symbols, each predicted from those before it: that is what a GPT does. By the chain rule,
#
# $$p(c_1, \dots, c_{49} \mid y) = \prod_{i=1}^{49} p(c_i \mid y, c_1, \dots, c_{i-1}) .$$
#
# A picture becomes a row of 50 tokens. The first token is its class, for which there are ten more symbols after the $K$ codes;
# then come the codes, line by line. Nothing in the [GPT](../language/gpt.ipynb) has to be changed.

# %%
rows = vq.code_rows(codes_valid, y_valid, K)
print(f"class {y_valid[0]}, as tokens:", rows[0, :9].tolist(), "…")
pprint(vq.prior_recipe(profile)["model"], sort_dicts=False)
prior, prior_history = vq.train_prior(profile)
print(f"{sum(p.numel() for p in prior.parameters()):,} parameters;", end=" ")
print(f"{prior_history['val_loss'][-1]:.2f} nats per code on the validation split")

# %% [markdown]
# Is that good? Three simpler priors for comparison: all codes equally likely; the frequency of each code in the training
# split; and the frequency of each code *at each place, in each class*. The last one knows where strokes of a 7 tend to
# be, but draws each place independently of all others.

# %%
codes_train = model.encode(x_train)
hot = F.one_hot(codes_train, K).float()  # (4000, 49, K)
by_class = torch.stack([hot[y_train == y].sum(dim=0) for y in range(10)])
frequency = {
    "uniform": torch.full((10, 49, K), 1 / K),
    "frequencies": (hot.mean(dim=(0, 1)) + 1e-6).expand(10, 49, K),
    "by place and class": by_class + 0.1,  # no code is impossible
}
frequency = {name: p / p.sum(dim=2, keepdim=True) for name, p in frequency.items()}


# %%
def code_nats(name, codes, labels):  # what the codes cost, per picture
    if name == "GPT":
        return -vq.prior_log_prob(prior, codes, labels, K).mean().item()
    p = frequency[name][labels].gather(2, codes[..., None])
    return -p.log().sum(dim=(1, 2)).mean().item()


costs = {}
for name in (*frequency, "GPT"):
    costs[name] = code_nats(name, codes_valid, y_valid)
    print(f"{name:20s} {costs[name]:6.1f} nats per picture")
if profile != "smoke":
    assert list(costs.values()) == sorted(costs.values(), reverse=True)
    assert costs["GPT"] < costs["by place and class"] - 10

# %% [markdown]
# Each step down is knowledge about the codes. The GPT knows one thing that the third prior does not: what the codes of *one*
# picture tell about each other. Now the whole bound, on the test split, which has served for nothing so far. Our model was told the class. Without it
# there is $p(x) = \sum_y \frac{1}{10}\, p(x \mid y) \ge \frac{1}{10}\, p(x \mid y)$, so $\log 10 \approx 2.3$ nats
# must be added before it may stand beside the VAE.

# %%
x_test, y_test = data.split("test")
codes_test = model.encode(x_test)
with torch.no_grad():
    logits = model.decode(codes_test)
reconstruction = -vae.bernoulli_log_likelihood(logits, x_test).mean().item()
cost = code_nats("GPT", codes_test, y_test)
bound = reconstruction + cost + math.log(10)
torch.manual_seed(0)
vae_bound = vae.negative_elbo(ordinary, x_test)
print(f"VQ-VAE: {reconstruction:.1f} + {cost:.1f} + 2.3 = {bound:.1f} nats")
print(f"VAE:    {vae_bound:.1f} nats")
assert profile == "smoke" or vae_bound < bound - 3

# %% [markdown]
# The VAE's bound is the better one. That of the VQ-VAE counts one row of codes, the encoder's own; others that decode to
# nearly the same picture add to $p(x)$ too, and it leaves them out. In nats this model does not win. Its samples are what we
# came for.

# %% [markdown]
# ## Draw
#
# The class first, then 49 draws, one after the other; then the decoder once.

# %% mystnb={"image": {"alt": "Ten rows of eight generated digits, one row per class from 0 to 9; most are legible and each is written a little differently."}}
torch.manual_seed(0)
asked = torch.arange(samples) % 10
drawn = {"GPT": vq.sample(model, prior, asked)}
order = torch.cat([torch.arange(digit, 80, 10) for digit in range(10)])
plots.image_grid(
    drawn["GPT"][order], row_labels=[str(digit) for digit in range(10)]
)
plt.show()

# %% [markdown]
# ## When it fails: a good decoder, and no prior
#
# The decoder is excellent, as its copies have shown. Does it need the GPT?
#
# > **Predict, then run.** We draw the 49 codes independently: uniformly; and with the right frequency of each code at each
# > place in the class asked for. What will the decoder draw in the second case? (a) Digits like the GPT's. (b) The average
# > of each class. (c) Broken digits: ink at the right places, strokes that do not join.

# %% mystnb={"image": {"alt": "Three rows of eight pictures. Uniform codes: a texture of scraps all over. Independent codes by place and class: broken strokes and specks. Codes of the GPT: digits."}}
for name in ("uniform", "by place and class"):
    p = frequency[name][asked].flatten(0, 1)
    codes = torch.multinomial(p, 1).view(-1, 49)
    with torch.no_grad():
        drawn[name] = model.decode(codes).sigmoid()
sheet = [drawn[name][:8] for name in ("uniform", "by place and class", "GPT")]
plots.image_grid(torch.cat(sheet), row_labels=["uniform", "by place", "GPT"])
plt.show()

# %% [markdown]
# It is (c). Each patch by itself is one that occurs there. But neighbours do not know of each other: strokes break off, and
# there are specks. Some can still be read. To measure it, a thousand of each kind:
# how many are read as the class that was asked for; of how many the judge is at least 90 % sure; the Fréchet distance of the
# judge's features from those of the training digits. Beside them stand held-out digits, and the *floor*: the mean distance
# over twenty random splits of real digits into sets of these sizes.

# %%
held_out, labels = (
    torch.cat([data.split(name)[part] for name in ("validation", "test")])
    for part in (0, 1)
)
known = metrics.judge_features(x_train)
everything = torch.cat([known, metrics.judge_features(held_out)])
torch.manual_seed(0)
floors = metrics.floor_distances(everything, samples)


# %%
def judged(x, labels):  # accuracy, confident share, distance
    distance = metrics.frechet_distance(metrics.judge_features(x), known)
    return metrics.judge_accuracy(x, labels), metrics.confident_share(x), distance


scores = {name: judged(x, asked) for name, x in drawn.items()}
scores["held-out digits"] = judged(held_out[:samples], labels[:samples])
print(f"judge {metrics.JUDGE_SHA256[:8]}; {samples} pictures against 4000")
print("                     as asked    sure   distance")
for name, (right, sure, distance) in scores.items():
    print(f"{name:20s} {right:8.1%} {sure:7.1%} {distance:10.2f}")
print(f"random splits of real digits: {floors.mean():.2f} ± {floors.std():.2f}")

# %%
if profile != "smoke":
    accuracy, sure, distance = scores["GPT"]
    apart, scraps = scores["by place and class"], scores["uniform"]
    assert accuracy > max(apart[0], scraps[0]) + 0.1
    assert sure > apart[1] + 0.1
    assert 3 * distance < apart[2] < scraps[2]
    assert distance > floors.mean() + 2 * floors.std()

# %% [markdown]
# With one decoder for all three, the differences are due to the prior alone. (The second column is lenient, as [we have
# seen](variational_autoencoder.ipynb): the judge may be sure of scraps. Their distance gives them away.) The GPT's samples
# are still farther from the training digits than held-out ones are. Are they copies of training digits? As in [the chapter on
# diffusion](../diffusion/denoising_diffusion.ipynb) we compare the distance to the nearest training digit with that of
# held-out digits, and let the test fail on purpose for copies with a little noise.

# %%
torch.manual_seed(0)
noisy = (x_train[:samples] + 0.05 * torch.randn(samples, 1, 28, 28)).clamp(0, 1)
nearby = {}
for name, x in {"held-out": held_out, "GPT": drawn["GPT"], "copies": noisy}.items():
    nearby[name] = metrics.nearest(x, x_train).distances.median().item()
    print(f"{name:>8}: median distance to a training digit {nearby[name]:.2f}")
assert nearby["copies"] < 0.5 * nearby["held-out"]
assert profile == "smoke" or nearby["GPT"] > 0.7 * nearby["held-out"]

# %% [markdown]
# By this test the samples are no copies: they are not much nearer to the training digits than held-out digits are.
#
# ## Why many large models have such a tokeniser
#
# A GPT could write the 784 pixels themselves. Attention compares every position with all before it, $n (n + 1) / 2$ pairs for
# $n$ positions, in every layer, and to draw a picture takes $n$ steps:

# %%
for name, n in {"pixels": 784, "codes": 49, "256×256 in colour": 196_608}.items():
    print(f"{name:18s} {n:7,} steps, {n * (n + 1) // 2:14,} pairs")
assert 784 * 785 / (49 * 50) > 250

# %% [markdown]
# The last line is what a large picture would take. A tokeniser shortens the row, and it leaves the two models
# different work: the autoencoder knows what patches look like, the prior how they go together. The paper's own prior was a
# PixelCNN. What followed kept the plan:
#
# - *pictures*: VQ-VAE-2 stacks a coarse and a fine grid of codes ([Razavi, van den Oord and Vinyals,
#   2019](https://arxiv.org/abs/1906.00446)); VQGAN adds a discriminator and a perceptual loss, so that fewer codes suffice,
#   and has a Transformer as its prior ([Esser, Rombach and Ommer, 2021](https://arxiv.org/abs/2012.09841)); DALL·E put the
#   tokens of a caption before those of a picture ([Ramesh et al., 2021](https://arxiv.org/abs/2102.12092)), as we put the
#   class;
# - *music and sound*: Jukebox ([Dhariwal et al., 2020](https://arxiv.org/abs/2005.00341)) and the codec SoundStream
#   ([Zeghidour et al., 2021](https://arxiv.org/abs/2107.03312)), which quantises what the quantisation has left over, several
#   times in a row;
# - *video*: VideoGPT ([Yan et al., 2021](https://arxiv.org/abs/2104.10157)).
#
# Once everything is a token, one Transformer can read and write text, pictures and sound in one row. Not every large model
# needs *whole* numbers, though. Latent diffusion ([Rombach et al., 2022](https://arxiv.org/abs/2112.10752)) works in the
# space of an autoencoder too, to save the same work, and its codes are real numbers or quantised ones.

# %% [markdown]
# ## The promise
#
# This chapter promises that of a thousand digits drawn by class at least 80 % are read as asked, and that restarts or a
# spread start keep the codes alive.

# %%
figures = results.record(
    "vector_quantised",
    profile,
    perplexity=round(perplexity, 1),
    perplexity_inked=round(inked(codes_valid), 1),
    perplexity_inked_without_cure=round(ablation["random start"][1], 1),
    reconstruction_squared_error=round(near["VQ-VAE"][1], 2),
    reconstruction_squared_error_vae=round(near["VAE"][1], 2),
    negative_bound_nats=round(bound, 1),
    judge_accuracy=round(scores["GPT"][0], 3),
    frechet=round(scores["GPT"][2], 2),
    frechet_floor=round(floors.mean().item(), 2),
    frechet_independent_codes=round(scores["by place and class"][2], 2),
)
print(figures["judge_accuracy"], figures["frechet"], figures["perplexity"])


# %%
if profile != "smoke":
    assert figures["judge_accuracy"] >= 0.8
    without_cure = figures["perplexity_inked_without_cure"]
    assert figures["perplexity_inked"] > 2 * without_cure
    assert figures["frechet_independent_codes"] > 3 * figures["frechet"]


# %% [markdown]
# ## Summary
#
# - A picture becomes a grid of whole numbers: each place gets the code that is nearest to the encoder's vector.
# - The derivative of that step is zero. The straight-through estimator hands the decoder's gradient at $e$ to $z$.
# - The reconstruction term moves encoder and decoder, the commitment term the encoder, and the codebook follows the means
#   of its vectors: a k-means on vectors that move.
# - A code that is nothing's nearest stays dead. Print the perplexity; start the codebook at encoder outputs, or restart
#   unused codes.
# - The bound is the reconstruction term plus what the codes cost under the prior. The prior may be learnt last, and is what
#   makes the model generate.
#
# ## Check yourself
#
# **1.** *Finite scalar quantisation* ([Mentzer et al., 2024](https://arxiv.org/abs/2309.15505)) has no codebook at all. Each
# place gets few numbers, each is squeezed into a range and rounded to one of few levels; the gradient goes straight
# through. Build it with three numbers of four levels, which makes $4^3 = 64$ codes. Are any of them dead?


# %% tags=["hide-cell"]
# @title Solution
def rounded(z):
    u = 3 * z.sigmoid()  # between 0 and 3
    return straight_through(u, u.round())


def finite_nats(net, x):
    u = rounded(net.encoder(x))
    return -vae.bernoulli_log_likelihood(net.decoder(2 * u / 3 - 1), x).mean()


torch.manual_seed(0)
finite = vq.VQVAE(**size | {"code_dim": 3})
optimizer = torch.optim.Adam(finite.parameters(), lr=3e-3)


# %% tags=["hide-cell"]
# @title Solution, continued
for _ in range(short):
    for batch in x_train[torch.randperm(len(x_train))].split(100):
        optimizer.zero_grad()
        finite_nats(finite, batch).backward()
        optimizer.step()
with torch.no_grad():
    levels = rounded(finite.encoder(x_valid)).round().long()
    codes = (levels * torch.tensor([1, 4, 16])[:, None, None]).sum(dim=1).flatten(1)
    last_nats = finite_nats(finite, x_valid).item()
finite_shares = vq.code_usage(codes[~black], 64)
finite_perplexity = vq.code_perplexity(finite_shares).item()
print(f"{len(codes.unique())} of 64 codes in use,", end=" ")
print(f"perplexity {finite_perplexity:.1f}, {last_nats:.1f} nats")
assert profile == "smoke" or finite_perplexity > 2 * ablation["random start"][1]


# %% [markdown]
# <details><summary>Answer</summary>
#
# Not every combination of levels need be used, as the first number says. But none can die as in the table of cures: the
# levels do not move, and the encoder has a gradient wherever its numbers are. There is no nearest code, no codebook
# term, no commitment term and no
# restart. (The encoder has to fit its vectors to a grid that stays where it is.)
#
# </details>
#
# **2.** Let the encoder's first convolution see the neighbours of a patch (kernel size 3). Are the reconstructions better? What
# do the codes cost under the prior "by place and class"?


# %% tags=["hide-cell"]
# @title Solution
def place_cost(network):
    hot = F.one_hot(network.encode(x_train), K).float()
    p = torch.stack([hot[y_train == y].sum(dim=0) for y in range(10)]) + 0.1
    p = (p / p.sum(dim=2, keepdim=True))[y_valid]
    picked = p.gather(2, network.encode(x_valid)[..., None])
    return -picked.log().sum(dim=(1, 2)).mean().item()


# %% tags=["hide-cell"]
# @title Solution, continued
tokenisers = {}
for kernel in (1, 3):
    torch.manual_seed(0)
    net = vq.VQVAE(**size)
    net.encoder[1] = nn.Conv2d(16, size["channels"], kernel, padding=kernel // 2)
    nn.init.kaiming_normal_(net.encoder[1].weight)
    nats = training.fit(net, data, max_epochs=short)["val_loss"][-1]
    tokenisers[kernel] = nats, place_cost(net)
    print(f"kernel {kernel}: reconstruction {nats:.1f} nats,", end=" ")
    print(f"codes {tokenisers[kernel][1]:.1f}")
if profile != "smoke":
    assert tokenisers[3][1] > tokenisers[1][1] + 10
    assert abs(tokenisers[3][0] - tokenisers[1][0]) < 10


# %% [markdown]
# <details><summary>Answer</summary>
#
# The reconstruction changes by a few nats, the codes cost many more: the same patch now has different codes beside different
# neighbours. A tokeniser is not good by its copies alone. It is made for its prior.
#
# </details>
#
# **3.** Somebody trains encoder, decoder and GPT at the same time. What do the codes mean to the GPT in the first epochs? Why
# is training in two stages simpler?
#
# <details><summary>Answer</summary>
#
# A code is a number in a table that is still moving: what 17 stands for today it may not stand for tomorrow, so the GPT learns
# a language that changes. And the bound has a second term now that depends on the encoder through whole numbers, without a
# gradient. With encoder and decoder finished, the codes are fixed data, and learning the prior is ordinary maximum likelihood.
#
# </details>
#
# ## Further reading
#
# - A. van den Oord, O. Vinyals and K. Kavukcuoglu, [Neural Discrete Representation
#   Learning](https://arxiv.org/abs/1711.00937) (2017).
# - Y. Bengio, N. Léonard and A. Courville, [Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
#   Computation](https://arxiv.org/abs/1308.3432) (2013): the straight-through estimator among its rivals.
# - A. Razavi, A. van den Oord and O. Vinyals, [Generating Diverse High-Fidelity Images with
#   VQ-VAE-2](https://arxiv.org/abs/1906.00446) (2019).
# - P. Esser, R. Rombach and B. Ommer, [Taming Transformers for High-Resolution Image
#   Synthesis](https://arxiv.org/abs/2012.09841) (2021).
# - F. Mentzer, D. Minnen, E. Agustsson and M. Tschannen, [Finite Scalar Quantization: VQ-VAE Made
#   Simple](https://arxiv.org/abs/2309.15505) (2024).
#
# Next: [Pixel by pixel](../likelihood/autoregressive_pixels.ipynb), where the probability of a picture is exact.
