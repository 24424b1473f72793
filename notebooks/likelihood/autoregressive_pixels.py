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
# # Pixel by pixel: the PixelCNN
#
# **After this chapter you can**
#
# - write the probability of a picture as a product of one coin per pixel, and say what a network must not see for that;
# - build a masked convolution, test with gradients what it has seen, find its blind spot, and remove it with two
#   stacks;
# - check that a model's probabilities of all pictures sum to 1, and say what it means if they do not;
# - compare a mixture, a VAE and a PixelCNN on one ruler, and say which of the numbers are exact and which are bounds;
# - count what a sample costs, in calls of the network and in multiplications;
# - recognise a model that peeks.
#
# **You need**: likelihood from [What generating means](../foundations/generative_models.ipynb), the bounds of
# [The variational autoencoder](../vae/variational_autoencoder.ipynb), EM from
# [Gaussian mixtures](../foundations/gaussian_mixture.ipynb). The [notation](../../book/notation.md) is on a page of its
# own. · [How long this chapter takes to run](../../book/results.md)

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
import time
from pprint import pprint

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from aigc_course import diagrams, likelihood, metrics, plots, results, training, vae
from aigc_course.data import ImageData


# %%
plots.use_style()
profile = training.resolve_profile(profile)
updates = {"smoke": 20, "cpu": 1000, "gpu": 1000}[
    profile
]  # for pictures of four pixels
draws, held_out = (4, 20) if profile == "smoke" else (1000, 500)
sizes = (5, 10) if profile == "smoke" else (10, 20, 50, 100, 200)  # of the mixture
print(
    f"Profile {profile}: {likelihood.recipe(profile)['fit']['max_epochs']} epochs,"
)
print(f"{draws} draws for the bound of the VAE, on {held_out} pictures")

# %% [markdown]
# ## One ruler for all models
#
# How probable does a model find a picture? The models of this course have given different kinds of answers so far: the
# Gaussian mixture a density of 30 numbers, the VAE a bound that contains the entropy of the grey values. To compare
# models we need one kind of picture for which each of them can give a *probability*. We take the simplest kind. Each
# pixel of each of our 5,000 digits is set to 1 or 0, at random, once and for all: to 1 with the probability of its grey
# value. This **fixed binarisation** ships with the package as the data set `binary_digits`, with the same training,
# validation and test splits as the grey digits.

# %% mystnb={"image": {"alt": "Upper row: eight grey handwritten digits. Lower row: the same digits in black and white, with ragged edges."}}
data = ImageData("binary_digits")
x_train, x_valid, x_test = (
    data.split(name)[0] for name in ("train", "validation", "test")
)
grey = ImageData("digits").split("validation")[0]
plots.image_grid(torch.cat([grey[:8], x_valid[:8]]), row_labels=["grey", "binary"])
plt.show()
apart = (x_valid.mean(dim=0) - grey.mean(dim=0)).abs().max().item()
print(f"largest difference of the average pictures: {apart:.3f}")
assert apart < 0.12

# %% [markdown]
# The edges, where grey values lie between 0 and 1, have become ragged. No model can predict these coins perfectly, so
# every model has to spend some nats on them. On average the grey values are kept. The literature does the same with the
# whole of MNIST, in a binarisation of its own
# ([Salakhutdinov and Murray, 2008](https://homepages.inf.ed.ac.uk/imurray2/pub/08dbn_ais/)). With 4,000 training digits
# in place of 50,000, our nats compare with each other, and not with those.
#
# A picture $x$ is now a row of $d = 784$ zeros and ones, and there are $2^{784}$ such pictures. A model gives each of
# them a probability, and these sum to 1. We measure $-\log p(x)$ on held-out digits, in nats per picture.

# %% [markdown]
# ## The chain rule
#
# Number the pixels in reading order: row by row, from left to right. For *any* distribution
#
# $$p(x) = p(x_1)\; p(x_2 \mid x_1)\; p(x_3 \mid x_1, x_2) \cdots = \prod_{i=1}^{d} p(x_i \mid x_{<i}),$$
#
# where $x_{<i}$ stands for the pixels before the $i$-th. (A language model multiplies the probabilities of letters by
# the same rule.) Nothing is approximated, and nothing is hidden: each factor is a coin whose probability depends on the
# pixels before it. A model made of such factors is called **autoregressive**.
#
# What remains is the probability of each coin. A table of them would need an entry for every $x_{<i}$: one for the
# first pixel, two for the second, $2^{783}$ for the last. So a network with parameters $\theta$ computes them instead,
# by giving a logit $\ell_i$ for each pixel:
#
# $$p_\theta(x_i = 1 \mid x_{<i}) = \operatorname{sigmoid}(\ell_i), \qquad \ell_i \text{ a function of } x_{<i} \text{ alone} .$$
#
# The last condition is all that matters. If it holds, the product is a distribution, whatever the weights are. *Proof.*
# Sum over the last pixel: $p(x_d = 0 \mid x_{<d}) + p(x_d = 1 \mid x_{<d}) = 1$, and the last factor is gone. Then sum
# over the last but one, and so on until nothing is left. ∎ Each step needs the factors before it not to depend on the
# pixel that is summed over.
#
# Training raises $\log p_\theta(x)$, which is minus a sum of one cross-entropy per pixel. In training all pixels are
# known, so one call of a network can give all 784 logits, provided that none of them sees its own pixel or a later one.

# %% [markdown]
# ## From scratch: masked convolutions
#
# A convolution looks at a square around each pixel.
# [Van den Oord, Kalchbrenner and Kavukcuoglu (2016)](https://arxiv.org/abs/1601.06759) set the weights of all places
# that come later to zero, by a **mask**. There are two of them. In the first layer the middle is forbidden as well
# (mask A), since it is the pixel to be predicted. In the layers after it the middle is allowed (mask B): there it holds
# features that have been computed from earlier pixels only.


# %%
def mask(kind, side=3):
    allowed = torch.zeros(side, side)
    middle = side // 2
    allowed[:middle] = 1  # the rows above
    allowed[middle, :middle] = 1  # what is on the left in the same row
    allowed[middle, middle] = 1.0 if kind == "B" else 0.0
    return allowed


class MaskedConv2d(nn.Conv2d):
    def __init__(self, kind, channels_in, channels_out, side=3):
        super().__init__(channels_in, channels_out, side, padding=side // 2)
        self.register_buffer("mask", mask(kind, side))

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


print("A:", mask("A").int().tolist(), " B:", mask("B").int().tolist())


# %%
def masked_network(layers, channels=16, first="A"):
    parts = [MaskedConv2d(first, 1, channels)]
    for _ in range(layers - 1):
        parts += [nn.SiLU(), MaskedConv2d("B", channels, channels)]
    return nn.Sequential(*parts, nn.SiLU(), nn.Conv2d(channels, 1, 1))


# from -1 and 1, so that a dark pixel differs from the zeros around the picture
def log_p(network, x):
    logits = network(2 * x - 1)
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(
        dim=(1, 2, 3)
    )


# %% [markdown]
# We try it where everything can be counted: pictures of 2×2 pixels. There are sixteen of them. Do the probabilities
# that an untrained network gives sum to 1? Then we invent a table of sixteen probabilities $p^*$ and train the network
# on it, on the exact expectation $-\sum_x p^*(x) \log p_\theta(x)$. Its least value is the entropy of the table.

# %%
every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).view(16, 1, 2, 2)
torch.manual_seed(0)
table = torch.randn(16).softmax(dim=0)


def learn(network, log_p):
    optimizer = torch.optim.Adam(network.parameters(), 2e-2)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for _ in range(updates):
        loss = -(table * log_p(network, every)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        slower.step()
    return log_p(network, every).detach().exp()


# %%
torch.manual_seed(1)
small = masked_network(2, channels=32)
untrained = log_p(small, every).detach().exp()
trained = learn(small, log_p)
off = (trained / table - 1).abs().max().item()
print(f"sum over all sixteen pictures: untrained {untrained.sum():.5f},", end=" ")
print(f"trained {trained.sum():.5f}")
print(f"largest error of a probability: {100 * off:.2f} %")
assert abs(untrained.sum() - 1) < 1e-4
assert abs(trained.sum() - 1) < 1e-4
assert profile == "smoke" or off < 0.02

# %% [markdown]
# The sum is 1 before training and after, and after training every probability is that of the table. Exact means exact:
# this is no bound.

# %% [markdown]
# ## What has a logit seen?
#
# A mask is easy to get wrong, and one that lets too much through makes the loss *better*. So we test by gradients: the
# derivative of $\ell_i$ with respect to $x_j$ must be zero for all $j \ge i$. And for $j < i$ it should not be, or the
# network ignores something that it may use. We look at the pixel in the middle of a picture of 15×15.


# %%
def seen_by(logits, side=15):  # -> which pixels the logit in the middle depends on
    x = torch.rand(1, 1, side, side, requires_grad=True)
    middle = side // 2
    logits(x)[0, 0, middle, middle].backward()
    seen = (x.grad[0] != 0).float()
    later = torch.arange(side * side).view(1, side, side) >= side * middle + middle
    assert not (seen.bool() & later).any(), "it has seen what comes later"
    seen[0, middle, middle] = 0.5  # the pixel itself, to find it in the picture
    return seen


torch.manual_seed(0)
stacks = likelihood.PixelCNN((1, 15, 15), channels=4, layers=6)
fields = [seen_by(masked_network(layers)) for layers in (1, 4, 8)]
fields.append(seen_by(stacks.logits))

# %% mystnb={"image": {"alt": "Four square panels. White marks what the grey pixel in the middle depends on: four neighbours; a block above and to the left of it, whose right side slants; nearly all before it but for a wedge on the right; in the last panel everything before it."}}
plots.image_grid(
    torch.stack(fields),
    columns=4,
    column_labels=["1 layer", "4 layers", "8 layers", "two stacks"],
)
plt.show()
before = 7 * 15 + 7
shares = [(field == 1).sum().item() / before for field in fields]
print("of the pixels before it, seen:", ", ".join(f"{s:.0%}" for s in shares))
assert shares[2] < 0.9 < shares[3] == 1.0

# %% [markdown]
# White is what the grey pixel in the middle depends on. Nothing that comes later is among it. With more layers the
# field grows, but at the right a wedge is missing, and it would be with any number of layers. From the middle a 3×3
# kernel steps up and to the right, one row per step; *along* a row it steps to the left only. So a pixel in the row
# above, two columns to the right, is never reached. It is the **blind spot** of masked convolutions
# ([van den Oord et al., 2016](https://arxiv.org/abs/1606.05328)).
#
# The cure of the same authors is to use **two stacks** of layers. The *vertical* stack computes features of whole rows
# and may look to both sides, since rows above are known entirely. The *horizontal* stack looks to the left in its own
# row, and is told, in every layer, what the vertical stack has found in the rows above. In the last panel nothing is
# missing.

# %% tags=["hide-input"]
upper = dict(
    zip(["↓", "V₁", "V₂", "V₃"], [(k, 0) for k in range(1, 5)], strict=True)
)
lower = ["→", "H₁", "H₂", "H₃", "O", "ℓ"]
diagrams.draw(
    "The picture x goes down by one row into the vertical stack V1, V2, V3, and "
    "right by one pixel into the horizontal stack H1, H2, H3. Each V points to "
    "the H below it. The last H leads through O to the logits l.",
    {"x": (0, 0.7), **upper, **{n: (k, 1.4) for k, n in enumerate(lower, 1)}},
    [("x", *upper), ("x", *lower), *[(f"V{n}", f"H{n}") for n in "₁₂₃"]],
    observed=["x"],
    bare=["ℓ"],
    notes={"↓": "1 row", "→": "1 pixel"},
)

# %% [markdown]
# ## With the package
#
# `likelihood.PixelCNN` has two stacks. It has no masks, and yet the same function. Instead of mask A it *moves* the
# picture: by one row down for the vertical stack, by one pixel to the right for the horizontal one. After that every
# layer may look at its own place (mask B), and a kernel that has only the allowed places does the same as a larger one
# with zeros in it:

# %%
layer = stacks.layers[1]  # the second, whose kernels reach one pixel far
features = torch.randn(1, 4, 15, 15)
wide = F.pad(layer.vertical.weight, (0, 0, 0, 1))  # 2 rows, and a row of zeros
masked = F.conv2d(features, wide, layer.vertical.bias, padding=1)
padded = F.pad(features, (1, 1, 1, 0))  # left, right, above, below
assert torch.allclose(layer.vertical(padded), masked, atol=1e-6)
row = F.pad(layer.horizontal.weight, (0, 1))  # 2 places, and a zero
masked = F.conv2d(features, row, layer.horizontal.bias, padding=(0, 1))
padded = F.pad(features, (1, 0, 0, 0))
assert torch.allclose(layer.horizontal(padded), masked, atol=1e-6)

# %% [markdown]
# There are two more ideas of the authors in it. Each layer is **gated**: half of its channels pass through a tanh and
# say *what*, the other half through a sigmoid and say *how much of it*, and the two are multiplied. And the horizontal
# stack has residual connections. Two ideas come from elsewhere. As two further channels, the vertical stack is told in
# which row and column it is ([Liu et al., 2018](https://arxiv.org/abs/1807.03247)). And the kernels are *dilated*: from
# the second layer on, their places lie 1, 2 and 4 pixels apart by turns, so that few layers reach far.
#
# The package's network must learn the table of sixteen probabilities as the one from scratch did.

# %%
torch.manual_seed(1)
tiny = likelihood.PixelCNN((1, 2, 2), channels=8, layers=2)
untrained = tiny.log_prob(every).detach().exp()
trained = learn(tiny, lambda network, x: network.log_prob(x))
off = (trained / table - 1).abs().max().item()
print(f"sum: untrained {untrained.sum():.5f}, trained {trained.sum():.5f}")
print(f"largest error of a probability: {100 * off:.2f} %")
assert abs(untrained.sum() - 1) < 1e-4
assert abs(trained.sum() - 1) < 1e-4
assert profile == "smoke" or off < 0.01

# %% [markdown]
# ## Train it
#
# Now the digits. Every picture is a lesson in 784 predictions.

# %%
for part, settings in likelihood.recipe(profile).items():
    print(part)
    pprint(settings, sort_dicts=False)
model, history = likelihood.train(profile)
print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
nats = ", ".join(f"{value:.1f}" for value in history["val_loss"])
print(f"validation, nats per picture after each epoch: {nats}")

# %% mystnb={"image": {"alt": "Training and validation loss against epochs: both fall, the training loss from a high first value."}}
plots.curves(history, ["train_loss", "val_loss"], ylabel="nats per picture")
plt.show()
if profile != "smoke":
    assert history["val_loss"][-1] < history["val_loss"][0]
    assert history["train_loss"][0] > history["val_loss"][0]

# %% [markdown]
# The training loss of an epoch is a mean over the epoch, in which the network was still changing; so the first one is
# high. A loss that goes on falling towards 0 would be a sick one, as "When it fails" will show.

# %% [markdown]
# ## Measure it
#
# Beside the PixelCNN we put three models on the same ruler.
#
# **Independent pixels.** Each pixel is a coin with its average over the training digits: $p(x) = \prod_i p(x_i)$.
#
# **A mixture.** The Gaussian mixture is a density, which zeros and ones do not have. The mixture of the same kind for
# binary pictures has a coin per pixel and component: $p(x) = \sum_k \pi_k \prod_i p_k(x_i)$. EM is that of
# [Gaussian mixtures](../foundations/gaussian_mixture.ipynb): the responsibilities in the E-step, weighted averages in
# the M-step. As `reg_covar` did there, a little of the average picture keeps a component from certainty. Its likelihood
# is exact.


# %%
average = x_train.flatten(1).mean(dim=0).clamp(1e-4, 1 - 1e-4)


def log_joint(x, weights, coins):  # (n, 784) -> (n, k)
    odds = (coins / (1 - coins)).log()
    return weights.log() + x @ odds.T + (1 - coins).log().sum(dim=1)


def fit_mixture(x, k, steps=60):
    torch.manual_seed(0)
    coins = 0.5 * average + 0.5 * x[torch.randperm(len(x))[:k]]
    coins, weights = coins.clamp(1e-3, 1 - 1e-3), torch.full((k,), 1 / k)
    for _ in range(steps):
        r = log_joint(x, weights, coins).softmax(dim=1)
        counts = r.sum(dim=0)
        weights = (counts + 1) / (counts + 1).sum()
        coins = (r.T @ x + average) / (counts[:, None] + 1)
    return weights, coins


# %%
fits = {k: fit_mixture(x_train.flatten(1), k) for k in sizes}
by_size = {}
for k, fit in fits.items():
    log_probs = log_joint(x_valid.flatten(1), *fit).logsumexp(dim=1)
    by_size[k] = -log_probs.mean().item()
    print(f"{k:3d} components: {by_size[k]:.1f} nats on the validation split")
best = min(by_size, key=by_size.get)

# %% [markdown]
# **A VAE**, the one of the VAE part, trained on the same binary pictures. It gives bounds: the ELBO, and the
# importance-weighted bound, which comes closer to $\log p(x)$ the more codes are drawn. We draw 1,000 for each picture.
# (As in its own chapter, training pictures are turned, moved and scaled a little at random. The grey values that this
# makes of zeros and ones serve as soft targets. The pictures of the two other splits are as they are.)

# %%
settings = vae.recipe(profile)
settings["data"]["name"] = "binary_digits"
rival, rival_history = training.trained_by(settings, "vae", vae.VAE, ImageData)
print(f"ELBO on the validation split: {rival_history['val_loss'][-1]:.1f} nats,")
print(f"the best of all epochs: {min(rival_history['val_loss']):.1f}")

# %% [markdown]
# Now all four on the test split, once. The last column is the difference from the PixelCNN, picture by picture, with
# its standard error.

# %%
x = x_test[:held_out]
flat = x.flatten(1)
torch.manual_seed(0)
with torch.no_grad():
    pixelcnn = torch.cat([-model.log_prob(part) for part in x.split(100)])
    log_likelihood, kl = rival.elbo(x)
coins = (average / (1 - average)).log(), (1 - average).log().sum()
nats = {
    "independent pixels": -(flat @ coins[0] + coins[1]),
    f"mixture of {best}": -log_joint(flat, *fits[best]).logsumexp(dim=1),
    "VAE, ELBO": kl - log_likelihood,
    f"VAE, {draws} draws": -vae.iwae_bound(rival, x, draws),
    "PixelCNN": pixelcnn,
}

# %%
print("                      nats per picture   over the PixelCNN")
for name, values in nats.items():
    kind = "at most" if "VAE" in name else "exactly"
    excess = values - pixelcnn
    error = excess.std().item() / len(x) ** 0.5
    print(f"{name:20s} {kind} {values.mean():6.1f}", end="")
    print("" if name == "PixelCNN" else f"{excess.mean():16.1f} ± {error:.1f}")

# %%
alone, mixed, elbo, iwae, exact = (values.mean().item() for values in nats.values())
if profile != "smoke":
    assert alone > mixed + 20
    assert mixed > exact + 10
    assert elbo > iwae > exact + 5

# %% [markdown]
# The PixelCNN's figure is the lowest, by far more than the standard errors. Be exact about what is compared. The
# mixture's and the PixelCNN's figures *are* $-\log p(x)$. The VAE's are upper bounds of it: from one draw to 1,000 the
# bound fell by the difference of the two rows, and with still more draws it could only fall further, towards the true
# value. How far is not measured here, and neither is the effect of the softened training pictures on the VAE. If the
# best mixture is the largest one that was tried, a still larger one may do better.
#
# A likely reason for the difference is what each model can say about a ragged edge. Given the code, the pixels of the
# VAE are independent coins, and the code has 16 numbers. The PixelCNN decides each pixel in the light of those before
# it.
#
# **Where are the nats spent?** The likelihood of an autoregressive model is a sum over pixels, so it can be drawn.

# %% mystnb={"image": {"alt": "Upper row: eight binary digits. Lower row: maps of the nats of each pixel, bright along the edges of the strokes and dark elsewhere."}}
with torch.no_grad():
    spent = -model.pixel_log_prob(x_test[:held_out])
plots.image_grid(
    torch.cat([x_test[:8], (spent[:8] / 3).clamp(0, 1)]),
    row_labels=["digit", "nats"],
)
plt.show()

# %%
lit = F.max_pool2d(x_test[:held_out], 3, stride=1, padding=1)
dark = -F.max_pool2d(-x_test[:held_out], 3, stride=1, padding=1)
edge = (lit != dark).float()  # a pixel of the other kind is next to it
on_edge = (spent * edge).sum() / spent.sum()
print(f"{edge.mean():.0%} of the pixels lie on an edge;", end=" ")
print(f"{on_edge:.0%} of the nats are spent there")
assert profile == "smoke" or on_edge > 0.9

# %% [markdown]
# White is 3 nats or more. Nearly all is spent where dark and light meet: where will the stroke turn, and on which side
# of the edge did the coin fall? The inside of a stroke and the background cost next to nothing.

# %% [markdown]
# ## Look at it
#
# To draw, take the coins one after the other: the first pixel, then the second given the first, and so on (ancestral
# sampling).

# %% mystnb={"image": {"alt": "Four rows of eight generated binary pictures: strokes with ragged edges, many of them digits, some not readable."}}
torch.manual_seed(0)
drawn = model.sample(100)
plots.image_grid(drawn[:32])
plt.show()

# %% [markdown]
# And to complete a picture, begin in the middle. The network was trained for this as well, without anyone having said
# so: each of its predictions is one of how a picture goes on.

# %% tags=["gallery"] mystnb={"image": {"alt": "Five rows of eight binary pictures. The first row shows only upper halves of digits; the next three complete each of them, not always in the same way; the last shows the originals."}}
torch.manual_seed(1)
halves = x_test[8:16].clone()
halves[:, :, 14:] = 0
endings = model.complete(halves.repeat(3, 1, 1, 1), rows=14)
rows = torch.cat([halves, endings, x_test[8:16]])
plots.image_grid(rows, row_labels=["given", "drawn", "", "", "original"])
plt.show()
assert torch.equal(endings[:8, :, :14], halves[:, :, :14])

# %% [markdown]
# The first row is all that the network was given. Strokes go on where they were cut, and where the upper half leaves a
# choice, the three endings may be different digits.
#
# How good are the samples? We ask the course's *judge*, a small classifier of digits, of how many pictures it is sure
# (at least 90 %). It was trained on grey digits, so its view of held-out binary ones comes first. The VAE's samples are
# drawn as the others are: the decoder gives the coins, and each coin is thrown.

# %%
torch.manual_seed(2)
sure = {
    "held-out digits": metrics.confident_share(x_valid),
    "PixelCNN": metrics.confident_share(drawn),
    "VAE": metrics.confident_share(rival.sample(500).bernoulli()),
    "independent pixels": metrics.confident_share(
        average.view(1, 28, 28).expand(500, -1, -1, -1).bernoulli()
    ),
}
for name, share in sure.items():
    print(f"the judge is sure of {share:.0%} of {name}")
assert profile == "smoke" or sure["independent pixels"] > 0.3

# %% [markdown]
# The last row is a warning: of pictures of independent pixels, none of them meant as a digit, the judge is sure of many
# as well. A low share condemns a model; a high one says little. And a better likelihood is no promise of better samples
# ([Theis, van den Oord and Bethge, 2016](https://arxiv.org/abs/1511.01844)). Take a model that draws from the PixelCNN
# once in a hundred times, and noise otherwise: it gives each picture at least $\frac{1}{100}$ of the PixelCNN's
# probability, so it needs at most $\log 100 \approx 4.6$ nats more.

# %% [markdown]
# ## What a sample costs
#
# In training, one call of the network gives all 784 predictions. In drawing, each pixel has to be there before the next
# can be predicted: 784 calls, one after the other. The VAE's decoder is called once.


# %%
@torch.no_grad()
def draw_slowly(x, pixels):  # pixels: their numbers in reading order
    x = x.clone()
    for i, j in (divmod(pixel, 28) for pixel in pixels):
        logits = model.logits(x)[:, 0, i, j]  # all 784, of which one is used
        x[:, 0, i, j] = torch.bernoulli(logits.sigmoid())
    return x


torch.manual_seed(3)
slow = draw_slowly(halves[:2], range(14 * 28, 15 * 28))
torch.manual_seed(3)
quick = model.complete(halves[:2], rows=14)
assert torch.equal(slow[:, :, 14], quick[:, :, 14])


# %%
def multiplications(call):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return counter.get_total_flops() / 2


one_call = multiplications(lambda: model.logits(x_test[:1]))
costs = {
    "VAE": multiplications(lambda: rival.sample(1)),
    "PixelCNN, 784 whole calls": 784 * one_call,
    "PixelCNN, as in `complete`": multiplications(lambda: model.sample(1)),
}
for name, cost in costs.items():
    print(f"{name:27s} {cost / 1e6:10,.0f} million per picture")
assert costs["PixelCNN, 784 whole calls"] > 20 * costs["VAE"]
assert costs["PixelCNN, 784 whole calls"] > 5 * costs["PixelCNN, as in `complete`"]

# %% [markdown]
# Most of a whole call is wasted, since one of its 784 logits is used. `complete` computes the vertical stack once per
# row, as the rows above no longer change, and the horizontal stack for the current row only. The samples are the same
# (`draw_slowly` was compared with it on one row), at a small part of the multiplications. What remains is that one
# pixel waits for another: as long as pixels are drawn one by one, more processors do not shorten the chain of 784
# steps. The seconds for a hundred pictures, as measured in this run, are on the page
# [Measured times and figures](../../book/results.md).

# %%
seconds = {}
for name, sampler in {"pixelcnn": model.sample, "vae": rival.sample}.items():
    start = time.perf_counter()
    sampler(100)
    seconds[name] = time.perf_counter() - start
assert profile == "smoke" or seconds["pixelcnn"] > 5 * seconds["vae"]


# %% [markdown]
# ## When it fails: a network that peeks
#
# > **Predict, then run.** In the horizontal stack we forget to move the picture by one pixel (mask B in the first layer
# > in place of A): each pixel sees itself. What do we see in the training? (a) An error. (b) A loss that no longer
# > falls. (c) The best loss of this course.

# %%
torch.manual_seed(0)
options = {**likelihood.recipe(profile)["model"], "mask": "B"}
peeking = likelihood.PixelCNN(**options)
short = {"limit_train_batches": 2 if profile == "smoke" else 150}
batches = ImageData(**likelihood.recipe(profile)["data"])
peeked = training.fit(peeking, batches, max_epochs=1, **short)
loss = peeked["val_loss"][-1]
print(f"after {short['limit_train_batches']} batches: {loss:.2f} nats per picture")
assert profile == "smoke" or loss < 0.25 * exact

# %% [markdown]
# It is (c). No warning, no broken curve; at most one epoch beats every model above. What does it draw?

# %% mystnb={"image": {"alt": "Two rows of eight pictures drawn by the network that peeks: none of them is a digit."}}
torch.manual_seed(0)
nothing = peeking.sample(16)
plots.image_grid(nothing)
plt.show()
brightness = nothing.mean().item(), x_train.mean().item()
print(
    f"share of lit pixels: {brightness[0]:.3f}, training digits {brightness[1]:.3f}"
)
assert profile == "smoke" or brightness[0] < 0.1 * brightness[1]

# %% [markdown]
# Nothing. The network has learnt to copy each pixel. When a pixel is to be drawn, its place holds the 0 from which the
# sampler began, and the network copies it.
#
# And the loss? It is not a likelihood. The proof above needed that factors do not depend on the pixel that is summed
# over. For 2×2 pixels we can add up all sixteen "probabilities", after the same training as above:

# %%
torch.manual_seed(1)
cheat = likelihood.PixelCNN((1, 2, 2), channels=8, layers=2, mask="B")
claimed = learn(cheat, lambda network, x: network.log_prob(x))
entropy = -(table * table.log()).sum().item()
print(f"entropy of the table {entropy:.3f} nats, the loss of the cheat", end=" ")
print(f"{-(table * claimed.log()).sum():.3f}")
print(f"sum of its sixteen probabilities: {claimed.sum():.2f}")
assert profile == "smoke" or claimed.sum() > 15

# %% [markdown]
# Each of the sixteen pictures is "certain", and their sum is close to 16 in place of 1. A loss below the entropy of the
# data is impossible for a distribution; so whenever a loss is too good, test what the network has seen.

# %% [markdown]
# ## The promise
#
# This chapter promises that the PixelCNN needs at least 5 nats per picture fewer than the importance-weighted bound of
# the VAE, on the test split of the fixed binarisation; that probabilities of all 2×2 pictures are right within 1 %; and
# that the network that peeks was shown.

# %%
figures = results.record(
    "autoregressive_pixels",
    profile,
    nats_binarised=round(exact, 2),
    nats_binarised_vae_iwae=round(iwae, 2),
    nats_binarised_vae_elbo=round(elbo, 2),
    nats_binarised_mixture=round(mixed, 2),
    nats_binarised_independent=round(alone, 2),
    confident_share=round(sure["PixelCNN"], 3),
    seconds_per_100_samples=round(seconds["pixelcnn"], 2),
    seconds_per_100_samples_vae=round(seconds["vae"], 3),
)
print(figures["nats_binarised"], figures["nats_binarised_vae_iwae"])


# %%
if profile != "smoke":
    assert figures["nats_binarised"] <= figures["nats_binarised_vae_iwae"] - 5
    assert off < 0.01, "all sixteen probabilities"
    assert claimed.sum() > 10, "the network that peeks"


# %% [markdown]
# ## Summary
#
# - By the chain rule any distribution of pictures is a product of one coin per pixel, each given the pixels before it.
# - It is a distribution if no logit has seen its own pixel or a later one. Gradients test that, and for small pictures
#   so does the sum.
# - Masked convolutions have a blind spot; a vertical and a horizontal stack have none.
# - The likelihood is exact, and on one fixed binarisation it compares with that of other models: the PixelCNN is ahead
#   of the VAE's bound and of the mixture.
# - A sample takes as many steps as there are pixels.
# - A network that peeks has a wonderful loss, draws nothing, and its "probabilities" do not sum to 1.
#
# ## Check yourself
#
# **1.** Any order of the pixels will do. Turn all pictures by 180° and measure our PixelCNN on them. Before you run it:
# will it need more nats, fewer, or as many? And would a PixelCNN *trained* on turned pictures?

# %% tags=["hide-cell"]
# @title Solution
with torch.no_grad():
    turned = -model.log_prob(x_test[:100].flip(2, 3)).mean().item()
print(f"turned {turned:.1f} nats, upright {pixelcnn[:100].mean():.1f}")
assert profile == "smoke" or turned > pixelcnn[:100].mean() + 3

# %% [markdown]
# <details><summary>Answer</summary>
#
# More: turned digits are other pictures, which it was not trained on. Trained on them, a network would be a model with
# another order of the pixels (from the last to the first). The chain rule holds for every order, so with unlimited data
# and networks both would reach the entropy of the digits. Real networks may find one order easier than another.
#
# </details>
#
# **2.** Take an untrained PixelCNN. What is the sum of its probabilities of all pictures of 3×3 pixels? Add them up.

# %% tags=["hide-cell"]
# @title Solution
torch.manual_seed(0)
new = likelihood.PixelCNN((1, 3, 3), channels=16, layers=3)
nine = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 9).view(512, 1, 3, 3)
with torch.no_grad():
    total = new.log_prob(nine).exp().sum().item()
print(f"sum over {len(nine)} pictures: {total:.5f}")
assert abs(total - 1) < 1e-4

# %% [markdown]
# **3.** Why is a VAE's figure on this ruler only a bound, while the mixture's is exact, though both have a latent
# variable?
#
# <details><summary>Answer</summary>
#
# $p(x) = \sum_k \pi_k\, p(x \mid k)$ is a sum of a few terms, which can be added up. The VAE's integral over 16
# continuous numbers cannot.
#
# </details>
#
# **4.** A colleague's PixelCNN predicts one pixel from all others, the later ones included. She multiplies the 784
# probabilities. Is the product the probability of the picture?
#
# <details><summary>Answer</summary>
#
# No. $\prod_i p(x_i \mid \text{all others})$ is the pseudo-likelihood; it need not sum to 1. A duplicated pixel
# shows it: if two pixels are always equal, a fair coin of probability ½, each is certain given the other, and the
# product is 1 in place of ½.
#
# </details>
#
# ## Further reading
#
# - A. van den Oord, N. Kalchbrenner and K. Kavukcuoglu,
#   [Pixel Recurrent Neural Networks](https://arxiv.org/abs/1601.06759) (2016): the PixelCNN beside its recurrent
#   relatives.
# - A. van den Oord et al., [Conditional Image Generation with PixelCNN Decoders](https://arxiv.org/abs/1606.05328)
#   (2016): the two stacks and the gates.
# - H. Larochelle and I. Murray,
#   [The Neural Autoregressive Distribution Estimator](https://proceedings.mlr.press/v15/larochelle11a.html) (2011): the
#   same idea with dense networks.
# - T. Salimans, A. Karpathy, X. Chen and D. P. Kingma, [PixelCNN++](https://arxiv.org/abs/1701.05517) (2017).
# - R. Liu et al.,
#   [An Intriguing Failing of Convolutional Neural Networks and the CoordConv Solution](https://arxiv.org/abs/1807.03247)
#   (2018): channels that say where a pixel is.
#
# Next: [Bending space: normalising flows](normalising_flows.ipynb), where a whole picture is drawn in one call, with an
# exact density.
