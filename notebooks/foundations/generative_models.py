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
# # What generating means
#
# **After this chapter you can**
#
# - say what a generative model is: a distribution that one can draw from, and that often tells how likely something is;
# - tell a density from a probability, and measure a model in nats on data it has never seen;
# - fit a histogram, a Gaussian and a mixture to the same data, draw from each, and say which is best and why;
# - explain what the Kullback–Leibler divergence measures, in both directions, and what it has to do with likelihood;
# - say why all of this is easy for one number and hard for a picture, and what the rest of the course does about it.
#
# **You need**: Python, PyTorch's tensors, and what a mean and a normal distribution are. No neural network appears here.
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
from torch.distributions import Normal

from aigc_course import mixture, plots, results, training
from aigc_course.data import load_images

plots.use_style()
profile = training.resolve_profile(profile)
steps = {"smoke": 200, "cpu": 1000, "gpu": 1000}[profile]
print(
    f"Profile {profile}: one search below takes {steps} steps; "
    "the rest is the same everywhere."
)

# %% [markdown]
# ## Three rows of dice
#
# A picture of a handwritten digit has 28 × 28 = 784 pixels. Below are three rows of pictures. In the upper row every
# pixel was lit or left dark by the toss of a fair coin. In the middle row each pixel got a coin of its own, which shows
# "lit" as often as that pixel is lit in real digits. The lower row shows real digits.

# %% mystnb={"image": {"alt": "Upper row: even black and white noise. Middle row: noise gathered in a round cloud. Lower row: handwritten digits."}}
x_train, y_train = load_images("digits", "train")
x_test, y_test = load_images("digits", "test")
torch.manual_seed(0)
fair = torch.full((8, 1, 28, 28), 0.5).bernoulli()
cloud = x_train.mean(dim=0).expand(8, -1, -1, -1).bernoulli()
plots.image_grid(
    torch.cat([fair, cloud, x_test[:8]]),
    row_labels=["fair coins", "own coins", "digits"],
)
plt.show()

# %% [markdown]
# All three rows came about in the same way: each picture was drawn from a **distribution** over pictures, a rule that
# says how probable each picture is. What differs is the distribution. The first gives every picture the same probability,
# and what one sees is noise. The second knows where ink tends to be, and nothing else. In the third almost all the
# probability lies on the tiny share of pictures that a human hand would draw.
#
# That is the whole subject of this course. **To generate is to draw from a distribution. To learn to generate is to find,
# from examples, a distribution whose draws look like them.** Everything else, including networks, is a means to this end.
#
# Distributions over 784 numbers cannot be drawn on paper. So we start with a single number, where every idea can be
# seen, and return to pictures at the end.

# %% [markdown]
# ## One number per picture
#
# How much ink does a digit take? Let $x$ be the share of the page that is covered, in per cent: the mean of the 784 grey
# values, times 100. We take only zeros and ones for now, two digits that differ in this.


# %%
def ink(images, labels):  # (n, 1, 28, 28) -> (n,): per cent of the page
    return 100 * images[labels < 2].mean(dim=(1, 2, 3)).double()


x_valid, y_valid = load_images("digits", "validation")
train, valid, test = (
    ink(x_train, y_train),
    ink(x_valid, y_valid),
    ink(x_test, y_test),
)
print(
    f"{len(train)} numbers to learn from, "
    f"{len(valid)} to make choices with, {len(test)} for the final measurement"
)
print(f"from {train.min():.1f} to {train.max():.1f} per cent")

# %% [markdown]
# The three splits have three purposes. A model is fitted to the *training* split. Choices such as "how many bars?" are
# made on the *validation* split. The *test* split is kept for the numbers we report: no choice depends on it, and each
# model is measured on it once. You will see below what goes wrong without this discipline.

# %% mystnb={"image": {"alt": "A histogram with two hills: a narrow tall one at little ink, a broad lower one at more ink."}}
plt.hist(train.numpy(), bins=40, range=(0, 40), color=plots.COLOURS[0])
plt.xlabel("ink (per cent of the page)")
plt.ylabel("pictures")
plt.show()

# %% [markdown]
# There are two hills. The narrow one on the left consists of ones, which take little ink; the broad one of zeros, which
# may be small or large, thin or thick. A model does not know this: it sees the numbers, not the labels.

# %% [markdown]
# ## A histogram is a generative model
#
# Cut the range from 0 to 40 into $B$ cells of width $w$. Of the $N$ numbers $c_b$ fall into cell $b$. The **density** there
# is
#
# $$p(x) = \frac{c_b}{N \, w} \qquad \text{for } x \text{ in cell } b.$$
#
# A density is not a probability. It is a probability *per unit*, here per percentage point of ink. A probability is an
# area: the density times the width. The areas of all cells add up to 1.

# %%
low, high = 0.0, 40.0


def cell_of(x, bins):
    return ((x - low) / (high - low) * bins).long().clamp(0, bins - 1)


def histogram(x, bins, extra=0):  # -> (bins,): the density in each cell
    counts = torch.bincount(cell_of(x, bins), minlength=bins).double() + extra
    return counts / counts.sum() * bins / (high - low)


p = histogram(train, 40)
assert torch.allclose(p, torch.histc(train, 40, low, high) / len(train))
print(
    f"highest density: {p.max():.3f} per percentage point; "
    f"area under the bars: {p.sum() * (high - low) / 40:.3f}"
)

# %% [markdown]
# With ink measured as a share of 1 instead of in per cent the same histogram would be a hundred times narrower, and so a
# hundred times higher: densities above 1 are nothing unusual. **Densities depend on the unit; probabilities do not.**
#
# **Drawing from it.** Let $F(x)$ be the probability of getting at most $x$: the area of all bars up to $x$. It climbs from 0
# to 1. Draw a number $u$ uniformly between 0 and 1 and look up at which $x$ the curve has that height, $x = F^{-1}(u)$. Where
# the curve is steep, that is where the density is high, many $u$ lead to nearly the same $x$. So draws come from
# dense regions as often as they should. This is *inverse-CDF sampling* ($F$ is the cumulative distribution function).


# %%
def sample_histogram(p, n, generator):
    width = (high - low) / len(p)
    # F at the edges of the cells
    edges = torch.cat([torch.zeros(1), (p * width).cumsum(dim=0)])
    u = torch.rand(n, generator=generator, dtype=torch.float64) * edges[-1]
    cell = torch.searchsorted(edges, u, right=True).clamp(max=len(p)) - 1
    return low + cell * width + (u - edges[cell]) / p[cell], u


drawn, u = sample_histogram(p, 1000, torch.Generator().manual_seed(0))
print(
    f"mean ink: {train.mean():.2f} per cent in the data, "
    f"{drawn.mean():.2f} in 1,000 draws"
)
assert abs(drawn.mean() - train.mean()) < 5 * train.std() / len(drawn) ** 0.5

# %% mystnb={"image": {"alt": "A curve climbs from zero to one in two steps; dotted lines run from random heights to the curve and down to the axis, where they crowd under the steep parts."}}
axis = torch.linspace(low, high, 41)
plt.plot(axis, torch.cat([torch.zeros(1), p.cumsum(dim=0)]), label="F(x)")
colour = plots.COLOURS[3]
for height, x in zip(u[:24], drawn[:24], strict=True):
    plt.plot([low, x, x], [height, height, 0], ":", color=colour, linewidth=1)
ticks = {"color": colour, "markersize": 14, "label": "draws"}
plt.plot(drawn[:24], torch.zeros(24), "|", **ticks)
plt.xlabel("ink (per cent of the page)")
plt.ylabel("u")
plt.legend()
plt.show()


# %% [markdown]
# Each dotted line enters at a random height, meets the curve, and falls down to a draw. The draws crowd under the two
# steep parts of the curve, which are the two hills of the histogram. We have built a complete generator, though of
# numbers and not yet of pictures.

# %% [markdown]
# ## How good is it? Likelihood
#
# The histogram had 40 cells because we liked the look. Are 10 better, or 1,000? We need a number that says how well a
# model fits. The natural one asks: how probable did the model think the data were, before it saw them? For independent
# examples densities multiply, and the logarithm turns the product into a sum:
#
# $$\log p(x_1, \dots, x_N) = \sum_{n=1}^N \log p(x_n).$$
#
# As a function of the model this is the **log-likelihood**. We divide by $N$ and flip the sign, so that less is better:
#
# $$\text{cost} = -\frac1N \sum_{n=1}^N \log p(x_n) \quad \text{nats per point}$$
#
# (a *nat* is the unit of natural logarithms, a *bit* that of logarithms to base 2). An average of logarithms is the
# logarithm of the *geometric* average. So one nat less means that the geometric average of the densities of the points
# is $e \approx 2.7$ times as large. (A single point may have become less likely.)
#
# > **Predict, then run.** We raise the number of cells from 5 to 1,280. On the training data, and on the validation data,
# > which number of cells will be best? (a) The finest for both. (b) The finest for the training data, a medium one for the
# > validation data. (c) A medium one for both.

# %%
choices = [5, 10, 20, 40, 80, 160, 320, 640, 1280]


def cost(x, bins, extra):
    p = histogram(train, bins, extra)  # always fitted to the training data
    return -p[cell_of(x, bins)].log().mean().item()


for bins in choices:
    print(
        f"{bins:5d} cells: {cost(train, bins, 0):.2f} nats on training, "
        f"{cost(valid, bins, 0):.2f} on validation"
    )
on_train = [cost(train, bins, 0) for bins in choices]
assert on_train == sorted(on_train, reverse=True), "finer is better in training"
assert cost(valid, choices[-1], 0) == math.inf

# %% [markdown]
# It is (b), and drastically so. On the training data the cost falls with every step: finer bars stand ever more exactly
# where the training points are. On the validation data it is soon infinite: a point fell into a cell that held no training
# point, the model had called it impossible, and $-\log 0 = \infty$.
#
# The usual cure is to pretend that one more point had been seen in every cell (`extra=1`; it is called *additive*, or
# Laplace, smoothing). Then nothing is impossible:

# %% mystnb={"image": {"alt": "Cost against number of cells. Training: falls at first, then stays nearly level. Validation: falls to a minimum at a medium number of cells, then climbs far above the other."}}
costs = {
    name: [cost(x, bins, 1) for bins in choices]
    for name, x in [("training", train), ("validation", valid)]
}
for (name, values), marker in zip(costs.items(), "os", strict=True):
    plt.plot(choices, values, marker=marker, label=name)
plt.xscale("log")
plt.xticks(choices, [str(bins) for bins in choices])
plt.minorticks_off()
plt.xlabel("cells")
plt.ylabel("cost (nats per point)")
plt.legend()
plt.show()

# %%
best_bins = choices[costs["validation"].index(min(costs["validation"]))]
print(f"best on the validation split: {best_bins} cells")
assert choices[0] < best_bins < choices[-1]
assert costs["validation"][-1] > min(costs["validation"]) + 0.3
assert max(costs["training"][3:]) < min(costs["training"]) + 0.05

# %% [markdown]
# The validation curve is a U, a shape that returns throughout machine learning. On its left the model is too coarse to
# show two hills: it **underfits**. On its right it has learnt the accidents of the training data: it **overfits**. (The
# training cost no longer falls without end, since the added points cost a little.) The training curve alone would not have
# told us. This is why every result in this course is measured on held-out data.

# %% [markdown]
# ## One bell: the Gaussian
#
# A histogram of 20 cells has 19 free parameters. The **Gaussian** has two, its mean $\mu$ and its standard deviation
# $\sigma$:
#
# $$\mathcal N(x; \mu, \sigma^2) = \frac{1}{\sqrt{2\pi}\,\sigma} \exp\left(-\frac{(x - \mu)^2}{2\sigma^2}\right).$$
#
# Fitting it by **maximum likelihood** means choosing the two for which the likelihood of the data is highest. The cost is
#
# $$\frac12 \log(2\pi\sigma^2) + \frac{1}{2\sigma^2} \cdot \frac1N \sum_n (x_n - \mu)^2 .$$
#
# Its derivative with respect to $\mu$ is zero where $\mu$ is the mean of the data; then its derivative with respect to
# $\sigma^2$ is zero where $\sigma^2$ is the mean squared distance from that mean. No search is needed:

# %%
# correction=0: divide by N, not by N - 1
mu, sigma = train.mean(), train.std(correction=0)
print(f"mean {mu:.2f} per cent, standard deviation {sigma:.2f}")


def gaussian_log_prob(x, mu, sigma):
    return (
        -0.5 * ((x - mu) / sigma) ** 2
        - torch.log(sigma)
        - 0.5 * math.log(2 * math.pi)
    )


for shift in [-0.5, 0.0, 0.5]:
    print(
        f"mean moved by {shift:+.1f}: "
        f"{-gaussian_log_prob(train, mu + shift, sigma).mean():.4f} "
        "nats on training"
    )

# %% [markdown]
# Moved to either side, the Gaussian fits worse. No other Gaussian fits these data better. The next picture shows how
# well it does fit.

# %% [markdown]
# ## Two bells: the mixture
#
# Two hills want two bells. A **mixture** adds densities, here two Gaussians, its **components**, each with a weight:
#
# $$p(x) = \sum_{k=1}^K \pi_k \, \mathcal N(x; \mu_k, \sigma_k^2), \qquad \pi_k \ge 0, \quad \sum_k \pi_k = 1.$$
#
# The conditions on the weights $\pi_k$ matter: without them the areas would not add up to 1, and $p$ would be no density.
# Drawing takes two steps: choose a component at random with the probabilities $\pi_k$, then draw from it.
#
# There is no formula for the best parameters. A method called EM finds good ones step by step, and the
# [next chapter](gaussian_mixture.ipynb) is about it; here the package does the work.

# %%
# points are rows: (n, 1)
two, _ = mixture.fit_em(train[:, None], 2, seed=0, tol=1e-7, max_steps=500)
weights, mus, sigmas = two.weights, two.means[:, 0], two.covariances[:, 0, 0].sqrt()
for k in range(2):
    print(
        f"component {k + 1}: weight {weights[k]:.2f}, "
        f"mean {mus[k]:5.2f}, standard deviation {sigmas[k]:.2f}"
    )
of_kinds = torch.stack([train[y_train[y_train < 2] == y].mean() for y in (1, 0)])
print(
    f"for comparison: mean of the ones {of_kinds[0]:.2f}, zeros {of_kinds[1]:.2f}"
)
assert (mus.sort().values - of_kinds).abs().max() < 2

# %% [markdown]
# EM has put one component near the mean of the ones and the other near the mean of the zeros. It was told how
# many components there are, but saw no label. The mixture's density, **from scratch**, is the formula above with a
# logarithm on the left. `logsumexp`
# computes $\log \sum_k e^{a_k}$ without losing tiny numbers to rounding on the way. The **package** gives the same, and
# one component alone gives the Gaussian's closed form:


# %%
def mixture_log_prob(x, weights, mus, sigmas):
    return (weights.log() + gaussian_log_prob(x[:, None], mus, sigmas)).logsumexp(
        dim=1
    )


assert torch.allclose(
    mixture_log_prob(test, weights, mus, sigmas), two.log_prob(test[:, None])
)
one, _ = mixture.fit_em(train[:, None], 1, reg_covar=0.0)
assert torch.allclose(
    gaussian_log_prob(test, mu, sigma), one.log_prob(test[:, None])
)
print("from scratch and package agree")

# %%
axis = torch.linspace(low, high, 801, dtype=torch.float64)[:-1]
densities = {
    "histogram": histogram(train, best_bins, 1)[cell_of(axis, best_bins)],
    "Gaussian": gaussian_log_prob(axis, mu, sigma).exp(),
    "mixture": two.log_prob(axis[:, None]).exp(),
}


# %% mystnb={"image": {"alt": "Grey bars of validation data with three densities over them: one broad bell that fills the valley, and a step curve and a smooth curve that both follow the two hills."}}
grey = {"density": True, "color": "lightgrey", "label": "validation data"}
plt.hist(valid.numpy(), bins=20, range=(low, high), **grey)
looks = [(plots.COLOURS[2], "-"), (plots.COLOURS[3], "--"), (plots.COLOURS[0], "-")]
for (name, density), (colour, line) in zip(densities.items(), looks, strict=True):
    plt.plot(axis, density, line, color=colour, label=name)
plt.xlabel("ink (per cent of the page)")
plt.ylabel("density")
plt.legend()
plt.show()
assert mus.min() < mu < mus.max()
assert Normal(mu, sigma).cdf(torch.zeros(())) > 0.01


# %% [markdown]
# The Gaussian has its peak between the hills, near the valley, and it keeps some probability for digits with less ink than
# none. The histogram shows the hills, but the height of each bar depends on the few points that fell into it. The mixture
# is smooth and has two hills, with five free parameters. Now the measurement, on the test split and only once:

# %%
log_p = {
    "histogram": histogram(train, best_bins, 1)[cell_of(test, best_bins)].log(),
    "Gaussian": gaussian_log_prob(test, mu, sigma),
    "mixture": two.log_prob(test[:, None]),
}
for name, values in log_p.items():
    print(f"{name:9s} {-values.mean():.3f} nats per point")

# %%
errors = {}
for other in ["Gaussian", "histogram"]:
    gain = log_p["mixture"] - log_p[other]
    standard_error = gain.std() / len(test) ** 0.5
    errors[other] = (gain.mean() / standard_error).item()
    print(
        f"mixture better than {other} by {gain.mean():.3f} "
        f"± {standard_error:.3f}, {errors[other]:.1f} standard errors"
    )
assert errors["Gaussian"] > 2 > errors["histogram"]

# %% [markdown]
# The number after ± is the standard error of the gain: a test split is a sample too. A gain of less than twice that could be
# luck. So the mixture beats the Gaussian: one bell is an assumption that does not fit these data. Whether it beats the
# histogram, the few digits of the test split cannot say. What it has for certain is economy: it describes the data
# about as well, with five parameters instead of nineteen, and it is smooth.

# %% [markdown]
# ## What the nats mean: the KL divergence
#
# Let $p$ be the distribution that the data come from, and $q$ a model. The average cost of the model on fresh data, the
# **cross-entropy**, splits into two parts:
#
# $$
# \underbrace{\mathbb E_p[-\log q(x)]}_{\text{cross-entropy}}
# = \underbrace{\mathbb E_p[-\log p(x)]}_{\text{entropy of } p}
# + \underbrace{\mathbb E_p\big[\log p(x) - \log q(x)\big]}_{D_{\mathrm{KL}}(p \,\|\, q)} ,
# $$
#
# where $\mathbb E_p$ is the average over $x \sim p$. The first part is what even the perfect model pays: the data are
# random. The second is the **Kullback–Leibler divergence** (KL divergence), what $q$ pays on top for being wrong. It is
# never negative, and zero only for $q = p$.
#
# **The proof** needs one fact about averages. The logarithm is concave: it lies below each of its tangents. The tangent at
# the point $m$ gives $\log t \le \log m + (t - m)/m$, with equality only at $t = m$. Let $t$ be random with the average
# $m = \mathbb E[t]$ and average both sides: the last term vanishes, and $\mathbb E[\log t] \le \log \mathbb E[t]$. This is
# **Jensen's inequality**. Now take $t = q(x)/p(x)$ with $x \sim p$:
#
# $$
# -D_{\mathrm{KL}}(p \,\|\, q) = \mathbb E_p\!\left[\log \frac{q(x)}{p(x)}\right]
# \le \log \mathbb E_p\!\left[\frac{q(x)}{p(x)}\right] = \log \int_{p(x) > 0} q(x)\, dx \le \log 1 = 0 .
# $$
#
# Equality needs a ratio $q/p$ that is the same everywhere, and since both densities have the area 1, that means $q = p$.
#
# The entropy does not depend on $q$. So to lower the cost by choosing $q$ *is* to lower the divergence: **maximum
# likelihood looks for the model closest to the data in this sense.** We know only samples of $p$, not $p$ itself, so the
# two parts cannot be told apart, and only differences of costs between models mean anything.
#
# Where $p$ and $q$ are known we can check it. Let $p$ be our mixture and $q$ our Gaussian, on a fine grid:

# %%
grid = torch.linspace(-30, 60, 9001, dtype=torch.float64)
dx = grid[1] - grid[0]
log_q = gaussian_log_prob(grid, mu, sigma)
log_mix = two.log_prob(grid[:, None])
cross_entropy = -(log_mix.exp() * log_q).sum() * dx
entropy = -(log_mix.exp() * log_mix).sum() * dx
forward = (log_mix.exp() * (log_mix - log_q)).sum() * dx
backward = (log_q.exp() * (log_q - log_mix)).sum() * dx
print(
    f"cross-entropy {cross_entropy:.3f} = entropy {entropy:.3f} "
    f"+ divergence {forward:.3f}; other way {backward:.3f}"
)
assert torch.allclose(cross_entropy, entropy + forward)
assert min(forward, backward) > 0
assert abs(forward - backward) > 0.05

# %% [markdown]
# The other way round, $D_{\mathrm{KL}}(q \,\|\, p)$ is another number: the divergence is not symmetric, so it is not a
# distance. The two directions also *want* different things.
#
# > **Predict, then run.** Take a $p$ with two narrow hills, and look for the one bell $q$ with the least
# > $D_{\mathrm{KL}}(q \,\|\, p)$, where the average is over $q$'s own draws. Where will it settle? (a) Across both hills.
# > (b) In the valley between them. (c) On one hill, ignoring the other.

# %%
# a third of the width, to see it better
narrow = mixture.GaussianMixture(two.weights, two.means, two.covariances / 9)
log_narrow = narrow.log_prob(grid[:, None])


def least_reverse_kl(start):
    # mean and log of the deviation
    parameters = torch.tensor([start, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([parameters], lr=0.05)
    for _ in range(steps):
        log_q = gaussian_log_prob(grid, parameters[0], parameters[1].exp())
        # D(q || p), summed over the grid
        loss = (log_q.exp() * (log_q - log_narrow)).sum() * dx
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return parameters[0].item(), parameters[1].exp().item(), loss.item()


# %%
# D(p || q) is least for p's own mean and deviation
mean = (log_narrow.exp() * grid).sum() * dx
deviation = ((log_narrow.exp() * (grid - mean) ** 2).sum() * dx).sqrt()
left, right = least_reverse_kl(5.0), least_reverse_kl(20.0)
print(f"least D(p || q): mean {mean:5.2f}, deviation {deviation:.2f}")
print(
    f"least D(q || p), from the left:  mean {left[0]:5.2f}, "
    f"deviation {left[1]:.2f}, {left[2]:.2f} nats"
)
print(
    f"least D(q || p), from the right: mean {right[0]:5.2f}, "
    f"deviation {right[1]:.2f}, {right[2]:.2f} nats"
)

# %%
view = (grid > -5) & (grid < 35)
assert deviation > 2 * max(left[1], right[1]), "one covers, the others do not"
assert abs(left[0] - mus.min()) < 0.5
assert abs(right[0] - mus.max()) < 0.5


# %% mystnb={"image": {"alt": "A shaded density with two narrow hills. A broad bell covers both and the valley; two narrow bells each sit on one hill."}}
plt.fill_between(grid[view], log_narrow[view].exp(), color="lightgrey", label="p")
fits = [
    (mean, deviation, "-", "least D(p ∥ q)"),
    (*left[:2], "--", "least D(q ∥ p), from the left"),
]
for m, s, style, name in [
    *fits,
    (*right[:2], ":", "least D(q ∥ p), from the right"),
]:
    plt.plot(grid[view], Normal(m, s).log_prob(grid[view]).exp(), style, label=name)
plt.ylim(0, 0.8)
plt.xlabel("ink (per cent of the page)")
plt.ylabel("density")
plt.legend()
plt.show()


# %% [markdown]
# It is (c). $D_{\mathrm{KL}}(p \,\|\, q)$ averages over $p$: wherever data may turn up, $q$ must not be near zero, or
# $-\log q$ becomes huge. So its best bell **covers** both hills, and spends much probability on the valley. In
# $D_{\mathrm{KL}}(q \,\|\, p)$ the average is over $q$: here $q$ must avoid the regions where $p$ is near zero, but to
# leave out a hill is cheap: beside a hill of weight $\pi$ that it covers it pays $-\log \pi$, which are the nats printed
# above. So it **seeks one mode**; which one depends on the start.
#
# Keep this picture, and do not read too much into it. A model trained by likelihood has to give every kind of example some
# probability. Whether its samples look blurred is a matter of the model: a [GPT](../language/gpt.ipynb) is trained by
# likelihood, and the words it draws are sharp. The pictures of a
# [variational autoencoder](../vae/variational_autoencoder.ipynb) are soft because it takes pixels to be independent given
# its code and shows their means. Its encoder, on the other hand, is fitted in the second direction.

# %% [markdown]
# ## Generative and discriminative
#
# A **discriminative** model learns $p(y \mid x)$, the label given the picture: is it a zero or a one? It may ignore
# everything that does not help to decide. A **generative** model learns $p(x)$, or $p(x \mid y)$ for each label, and has to
# account for everything in $x$. In return it can do more. From $p(x \mid y)$ one can draw, and Bayes' rule turns it into
# a classifier:
#
# $$p(y \mid x) = \frac{p(x \mid y)\, p(y)}{\sum_{y'} p(x \mid y')\, p(y')} .$$

# %%
# now with labels: 0 or 1
kind_train, kind_test = y_train[y_train < 2], y_test[y_test < 2]
log_joint = []
for y in range(2):
    own = train[kind_train == y]
    share = torch.tensor(len(own) / len(train))
    log_joint.append(
        share.log() + gaussian_log_prob(test, own.mean(), own.std(correction=0))
    )
p_one = torch.stack(log_joint, dim=1).softmax(dim=1)[:, 1]  # Bayes' rule
accuracy = ((p_one > 0.5) == (kind_test == 1)).double().mean().item()
print(
    f"zero or one, told from the ink alone: {accuracy:.0%} of the test digits right"
)
assert accuracy > 0.85

# %% [markdown]
# One number per picture and two bells suffice to tell most of these digits apart. The reverse does not work: from the
# knowledge that little ink means "one", nobody can draw a one.

# %% [markdown]
# ## Why pictures are hard
#
# Why not make a histogram of pictures, then? Count cells. With only two values per pixel there are
# $2^{784} \approx 10^{236}$ possible pictures, and 4,000 examples to fill the cells with. But perhaps real pictures use few
# of them? Let us look at only some of the pixels, round them to black or white, and ask whether the pattern of a
# validation digit occurs among the 4,000 training digits. Which pixels we look at matters: those at the edge of the page
# are dark in nearly every digit and say little. So we try two orders: the *most undecided* pixels first, those that are
# lit in nearly half of the digits, and a *random* order.
#
# > **Predict, then run.** How many of the 784 pixels can we look at, the most undecided first, before most validation
# > digits show a pattern never seen in training? (a) About 400. (b) About 100. (c) About 20. And in random order?

# %%
lit = [(x > 0.5).flatten(1) for x in (x_train, x_valid)]
sizes = [1, 2, 4, 6, 8, 10, 12, 16, 20, 30, 50, 100, 200, 400]


def shares_known(
    order,
):  # -> for each number of pixels, the share of known patterns
    shares = []
    for k in sizes:
        train_rows, rows = [x[:, order[:k]].numpy() for x in lit]
        seen = {row.tobytes() for row in train_rows}
        shares.append(sum(row.tobytes() in seen for row in rows) / len(rows))
    return torch.tensor(shares)


# %%
undecided = lit[0].double().mean(dim=0).sub(0.5).abs().argsort()
torch.manual_seed(0)
orders = [torch.randperm(784) for _ in range(5)]
known = {
    "the most undecided first": shares_known(undecided),
    "random, mean of 5 orders": torch.stack(
        [shares_known(order) for order in orders]
    ).mean(dim=0),
}


# %%
most = {}
for name, shares in known.items():
    most[name] = next(
        k for k, share in zip(sizes, shares, strict=True) if share < 0.5
    )
    print(f"{name}: below one half with {most[name]} pixels")
assert most["the most undecided first"] <= 30
assert 30 <= most["random, mean of 5 orders"] <= 100
assert max(shares[sizes.index(200)] for shares in known.values()) < 0.1

# %% mystnb={"image": {"alt": "Two curves that stay at one for a few pixels and then fall to zero; the one for the most undecided pixels falls first, the one for random pixels later, both before two hundred pixels."}}
for (name, shares), marker in zip(known.items(), "os", strict=True):
    plt.plot(sizes, shares, marker=marker, label=name)
plt.xscale("log")
ticks = [1, 2, 5, 10, 20, 50, 100, 200, 400]
plt.xticks(ticks, [str(k) for k in ticks])
plt.minorticks_off()
plt.xlabel("pixels looked at")
plt.ylabel("share of patterns known")
plt.legend()
plt.show()

# %% [markdown]
# It is (c) for the most undecided pixels. Random pixels last longer, since many of them are dark in almost every digit,
# but by two hundred of 784 nearly every picture is new in either order. This is the **curse of dimensionality**: the
# number of cells multiplies with every pixel we add, the number of examples does not, and a model that only counts has
# nothing to say about what it has not seen. A useful model has to *generalise*, and it can do so only by assuming
# something.
#
# **The boldest assumption** is that the pixels are independent of each other. Then
#
# $$p(x) = \prod_{i=1}^{784} p_i^{x_i} (1 - p_i)^{1 - x_i},$$
#
# with one number $p_i$ for each pixel: the probability that it is lit. That was the middle row at the beginning. Maximum
# likelihood sets $p_i$ to the pixel's mean over the training pictures.
#
# **A little less bold**: independent pixels *for each digit* $y$. That is a mixture again, this time of distributions over
# pictures: $p(x) = \sum_y p(y) \prod_i p_{yi}^{x_i} (1 - p_{yi})^{1 - x_i}$. To draw, choose a digit, then toss its 784
# coins.


# %%
# x: (n, 784), p: (k, 784) -> (n, k), summed over the pixels
def pixel_log_prob(x, p):
    return x @ p.log().T + (1 - x) @ (1 - p).log().T


pixels, pixels_test = x_train.flatten(1).double(), x_test.flatten(1).double()
# one more picture, grey all over: nothing is impossible
p_all = (pixels.sum(dim=0) + 0.5)[None] / (len(pixels) + 1)
sums = torch.stack([pixels[y_train == y].sum(dim=0) for y in range(10)])
counts = torch.bincount(y_train, minlength=10)[:, None]
p_digit = (sums + 0.5) / (counts + 1)
share = counts[:, 0] / counts.sum()
independent = -pixel_log_prob(pixels_test, p_all).mean().item()


# %%
by_digit = (
    -(pixel_log_prob(pixels_test, p_digit) + share.log())
    .logsumexp(dim=1)
    .mean()
    .item()
)
# the cross-entropy of every grey value with itself, summed over the pixels
grey_entropy = -(
    torch.xlogy(pixels_test, pixels_test)
    + torch.xlogy(1 - pixels_test, 1 - pixels_test)
).sum(dim=1)


# %%
least = grey_entropy.mean().item()
for name, nats in [
    ("fair coins", 784 * math.log(2)),
    ("own coins", independent),
    ("by digit", by_digit),
]:
    print(f"{name:10s} {nats:6.1f} nats per test picture,", end=" ")
    print(f"{nats - least:6.1f} above the least possible")
print(f"the least possible: {least:.1f} nats, the entropy of the grey values")
assert by_digit < independent - 20


# %% mystnb={"image": {"alt": "Upper row: round clouds of noise, all alike. Lower row: clouds in the shape of the digits zero to seven."}}
torch.manual_seed(1)
fog = p_all.expand(8, -1).bernoulli()
shaped_fog = p_digit[:8].bernoulli()
rows = torch.cat([fog, shaped_fog]).float().view(-1, 1, 28, 28)
plots.image_grid(rows, row_labels=["own coins", "by digit"])
plt.show()

# %% [markdown]
# Our first generator of pictures makes fog. Told the digit, it makes fog in the shape of a digit, and the cost falls by
# tens of nats. What is missing is plain to see: in a real 3 the stroke at the top and the stroke at the bottom *belong
# together*, and neighbouring pixels agree. Models that capture such dependences are what the rest of the course is about.
# The [variational autoencoder](../vae/variational_autoencoder.ipynb) will need far fewer nats for the same test pictures.
#
# > **About these nats.** A grey value $x_i$ between 0 and 1 stands here, as in the VAE chapters, for a pixel that is lit
# > with the probability $x_i$. Its cost under the prediction $p_i$ splits as above into the entropy of such a pixel,
# > $-x_i \log x_i - (1 - x_i) \log (1 - x_i)$, and a KL divergence. The entropy is there whatever the model predicts:
# > not even a model that knows every grey value goes below the last printed line. The second figure of a line is the
# > excess over it. The literature's MNIST is mostly *sampled* from the grey values, each pixel lit or dark, with ten times as many
# > training pictures or more; so our figures compare with each other, not with those.

# %% [markdown]
# ## When it fails: good nats, bad pictures
#
# Can one trust the likelihood? Let us cheat. Our model draws from "by digit" only once in a hundred times; in the other
# 99 cases it tosses fair coins, which gives pure noise.
#
# > **Predict, then run.** By how much will this ruin the cost, of some 170 nats? (a) It becomes a hundred times as large.
# > (b) It moves most of the way to the 543 nats of noise. (c) It changes by less than five nats.

# %%
pixels_valid = x_valid.flatten(1).double()
log_good = (pixel_log_prob(pixels_valid, p_digit) + share.log()).logsumexp(dim=1)
log_noise = torch.full_like(log_good, -784 * math.log(2))
log_cheat = torch.logaddexp(math.log(0.01) + log_good, math.log(0.99) + log_noise)
print(
    f"validation, by digit: {-log_good.mean():.1f} nats, "
    f"with 99 per cent noise: {-log_cheat.mean():.1f} nats"
)
assert (log_good - log_cheat).max() <= math.log(100) + 1e-9

# %% mystnb={"image": {"alt": "Sixteen pictures, all of them even black and white noise without any shape."}}
torch.manual_seed(2)
real = torch.rand(16) < 0.01
digits = p_digit[torch.multinomial(share, 16, replacement=True)].bernoulli()
noise = torch.full((16, 784), 0.5, dtype=torch.float64).bernoulli()
plots.image_grid(
    torch.where(real[:, None], digits, noise).float().view(-1, 1, 28, 28)
)
plt.show()

# %% [markdown]
# It is (c). Where the good part gives a picture the probability $p$, the cheat gives at least $p / 100$, and
# $\log 100 \approx 4.6$. Beside a cost of well over a hundred nats that is little, though 99 of 100 samples are useless.
# The opposite failure exists as well: a model that hands out exact copies of its training pictures has perfect samples,
# and finds every other picture impossible. Likelihood and the look of samples are two different things (Theis, van den
# Oord and Bethge, 2016), so the VAE chapters measure both: nats on held-out data, and what a judge says about
# samples.

# %% [markdown]
# ## What the source articles got wrong here
#
# Readers who have seen the source articles find their mixtures without conditions on the weights, and their sampler with
# a covariance for a deviation, in the [errata](../../book/errata.md#errata-mixture).

# %% [markdown]
# ## The whole way, and the map
#
# Every generative model, from this chapter's histogram to a system that writes or paints, goes the same way from data to
# use. You have just walked it once.
#
# | Step | The question | In this chapter | Where the course says more |
# | --- | --- | --- | --- |
# | Collect | Which data, how many, may I use them? | 5,000 digits | [Data and licences](../../book/data_and_licences.md) |
# | Prepare | Which form, which splits, what must be changed? | ink; training, validation, test | augmentation in the [VAE chapter](../vae/variational_autoencoder.ipynb) |
# | Train | Which model, which loss, found how? | closed form, EM | [EM and gradients](gaussian_mixture.ipynb), then every part |
# | Evaluate | How good, on data never seen? | nats on the test split | [pictures](../evaluation/image_quality.ipynb), [texts](../evaluation/text_quality.ipynb), [ten models in one table](../evaluation/one_table.ipynb) |
# | Post-process | What happens to samples before they are used? | none was needed | choosing and conditioning in [Asking for a digit](../vae/conditional_vae.ipynb) |
#
# And these are the families of models. They differ in what they assume, in whether they can say how likely something is,
# and in how one draws.
#
# | Family | Its idea | Can it tell $p(x)$? | How it draws | Chapters |
# | --- | --- | --- | --- | --- |
# | Histogram, Gaussian | count, or fit one bell | exactly | inverse CDF, or one normal draw | this one |
# | Mixture | several bells, one hidden choice | exactly | choose a bell, then draw | [the next](gaussian_mixture.ipynb) |
# | Variational autoencoder (VAE) | a hidden code, unfolded by a network | a lower bound | draw a code, unfold it | [plain](../vae/variational_autoencoder.ipynb), [conditional](../vae/conditional_vae.ipynb), [discrete codes](../vae/vector_quantised.ipynb) |
# | Adversarial network (GAN) | a generator against a discriminator | no | one pass through the generator | [the game](../gan/adversarial_game.ipynb), [DCGAN](../gan/dcgan.ipynb), [in colour](../gan/colour_images.ipynb), [conditional](../gan/conditional_gan.ipynb), [Wasserstein](../gan/wasserstein_gan.ipynb) |
# | Autoregressive model | the next symbol, given all before | exactly | one symbol after the other | [recurrent](../language/recurrent_language_model.ipynb), [attention](../language/attention.ipynb), [GPT](../language/gpt.ipynb), [scaling](../language/scaling.ipynb), [decoding](../language/decoding.ipynb), [inference](../language/inference.ipynb), [fine-tuning](../language/fine_tuning.ipynb), [chat](../language/chat.ipynb); of pictures: [pixel by pixel](../likelihood/autoregressive_pixels.ipynb) |
# | Normalising flow | an invertible network with a known change of volume | exactly | one pass through the inverse | [flows](../likelihood/normalising_flows.ipynb) |
# | Energy-based model | any function for $-\log p(x)$, up to a constant | up to a constant | a Markov chain | – |
# | Diffusion and score model | undo noise, step by step | a lower bound | many small steps from noise | [denoising](../diffusion/denoising_diffusion.ipynb), [sampling and guidance](../diffusion/sampling_and_guidance.ipynb), [transformers and latents](../diffusion/transformer.ipynb), [captions](../diffusion/text_to_image.ipynb) |
# | Flow matching | a velocity that carries noise to data | by integration | follow the velocity | [flow matching](../diffusion/flow_matching.ipynb) |
#
# A dash marks a family without a chapter of its own here. Two parts stand beside the table.
# [Word vectors](../language/word_vectors.ipynb) prepare the language models. Reinforcement learning
# ([Q-learning](../rl/q_learning.ipynb), [DQN](../rl/dqn.ipynb), [DQN from pixels](../rl/dqn_from_pixels.ipynb)) learns how
# to *act* for a reward, and [can steer a generator](../rl/reward_tuned_generation.ipynb), as [preferences
# can](../language/preferences.ipynb). How to use your own pictures,
# texts and games is shown in [With your own data](../practice/own_data.ipynb).

# %% [markdown]
# ## The promise
#
# This chapter promises that on held-out data the mixture costs at least 0.1 nats per point less than the Gaussian and no
# more than the histogram, and that pictures cost at least 20 nats less when the model has one component per digit.

# %%
figures = results.record(
    "generative_models",
    profile,
    heldout_nats_histogram=round(-log_p["histogram"].mean().item(), 3),
    heldout_nats_gaussian=round(-log_p["Gaussian"].mean().item(), 3),
    heldout_nats_mixture=round(-log_p["mixture"].mean().item(), 3),
    picture_nats_independent_pixels=round(independent, 1),
    picture_nats_by_digit=round(by_digit, 1),
)
pprint({name: value for name, value in figures.items() if "nats" in name})


# %%
if profile != "smoke":
    assert (
        figures["heldout_nats_mixture"] <= figures["heldout_nats_gaussian"] - 0.1
    ), "two bells beat one"
    assert figures["heldout_nats_mixture"] <= figures["heldout_nats_histogram"], (
        "and the bars"
    )
    assert (
        figures["picture_nats_by_digit"]
        <= figures["picture_nats_independent_pixels"] - 20
    ), "digits help"


# %% [markdown]
# ## Summary
#
# - To generate is to draw from a distribution; to learn it is to find one from examples.
# - A density is probability per unit; it may exceed 1, and depends on the unit.
# - Likelihood says how probable the model found the data. What counts is the likelihood of held-out data.
# - Cross-entropy = entropy + KL divergence, and the divergence is never negative (Jensen): maximum likelihood minimises the
#   divergence of the model from the data.
# - $D_{\mathrm{KL}}(p \,\|\, q)$ makes $q$ cover, $D_{\mathrm{KL}}(q \,\|\, p)$ makes it seek one mode.
# - In many dimensions counting is hopeless: models must assume, and differ in what they assume.
# - Likelihood and the quality of samples are two measurements; take both.
#
# ## Check yourself
#
# **1.** Measure ink as a share of 1 instead of in per cent. By how many nats does the Gaussian's cost on the validation data
# change? Work it out before you open the solution.

# %% tags=["hide-cell"]
# @title Solution
in_share = -gaussian_log_prob(valid / 100, mu / 100, sigma / 100).mean()
in_percent = -gaussian_log_prob(valid, mu, sigma).mean()
print(
    f"{in_percent:.3f} nats in per cent, {in_share:.3f} as a share: "
    f"a difference of {in_percent - in_share:.3f}"
)
assert torch.allclose(
    in_percent - in_share, torch.tensor(math.log(100), dtype=torch.float64)
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Every density becomes 100 times as large, so every logarithm grows by $\log 100 \approx 4.6$, and the cost falls by as much;
# it even becomes negative. Nothing about the model has changed. Costs of densities can be compared only in the same unit.
#
# </details>
#
# **2.** Which number of cells would you have chosen, had you looked at the test split instead of the validation split?
# Why is that number, however it comes out, not the one to report?

# %% tags=["hide-cell"]
# @title Solution
on_test = [cost(test, bins, 1) for bins in choices]
print(
    "best on the test split: "
    f"{choices[on_test.index(min(on_test))]} cells, {min(on_test):.3f} nats"
)
print(
    f"chosen on the validation split: {best_bins} cells, "
    f"{cost(test, best_bins, 1):.3f} nats on the test split"
)
assert min(on_test) <= cost(test, best_bins, 1)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The minimum over nine choices is at most as large as any one of them, so a figure chosen on the test split flatters the
# model. The validation split is there to be used up by choices; the test split has to stay fresh.
#
# </details>
#
# **3.** Find the bug: this sampler of the mixture hands `torch.normal` the wrong number.
#
# ```python
# k = torch.multinomial(two.weights, 100_000, replacement=True)
# x = torch.normal(two.means[k, 0], two.covariances[k, 0, 0])
# ```

# %% tags=["hide-cell"]
# @title Solution
torch.manual_seed(0)
k = torch.multinomial(two.weights, 100_000, replacement=True)
wrong = torch.normal(two.means[k, 0], two.covariances[k, 0, 0])
right = torch.normal(two.means[k, 0], two.covariances[k, 0, 0].sqrt())
for name, x in [
    ("data", train),
    ("variance for deviation", wrong),
    ("deviation", right),
]:
    print(f"{name:22s}: mean {x.mean():5.2f}, standard deviation {x.std():5.2f}")
assert abs(right.std() - train.std()) < 0.1 < wrong.std() - train.std()

# %% [markdown]
# **4.** "By digit" is a mixture of ten components. Would 4,000 be better, one for each training picture? Try two ways to
# get their probabilities: the estimator of "by digit" itself, $p_i = (x_i + \frac12) / 2$ for a component that has seen
# one picture $x$; and $p_i = (1 - 2e)\, x_i + e$, with an $e$ between 0.001 and 0.2 that the validation split chooses.

# %% tags=["hide-cell"]
# @title Solution
widths = [0.001, 0.01, 0.02, 0.05, 0.1, 0.2]
ways = {"by digit": p_digit, "p = (x + 1/2) / 2": (pixels + 0.5) / 2}
ways |= {f"e = {e}": (1 - 2 * e) * pixels + e for e in widths}
costs = {}
for name, p in ways.items():
    weights = share if name == "by digit" else torch.full((4000,), 1 / 4000)
    costs[name] = [
        -(pixel_log_prob(x, p) + weights.log()).logsumexp(dim=1).mean().item()
        for x in (pixels, pixels_valid)
    ]
    text = "{:6.1f} nats on training, {:6.1f} on validation".format(*costs[name])
    print(f"{name:17s} {text}")


# %% tags=["hide-cell"]
# @title Solution, continued
best_e = min(widths, key=lambda e: costs[f"e = {e}"][1])
narrow = (1 - 2 * best_e) * pixels + best_e
by_picture = -(pixel_log_prob(pixels_test, narrow) - math.log(4000)).logsumexp(1)
gain = by_picture - -(pixel_log_prob(pixels_test, p_digit) + share.log()).logsumexp(
    1
)
print(f"chosen: e = {best_e}; {by_picture.mean():.1f} nats per test picture,")
print(f"compared with by digit: {gain.mean():+.1f} ± {gain.std() / 500**0.5:.1f}")
on_train, on_valid = zip(*[costs[f"e = {e}"] for e in widths], strict=True)
assert costs["p = (x + 1/2) / 2"][0] > costs["by digit"][0] + 50
assert gain.mean() < -5 * gain.std() / 500**0.5
assert list(on_train) == sorted(on_train)
assert min(on_valid) < min(on_valid[0], on_valid[-1]) - 10


# %% [markdown]
# <details><summary>Answer</summary>
#
# With the estimator of "by digit" it is far worse, even on the training pictures: half of each component is the grey picture
# that was added, so that no probability leaves the range from 1/4 to 3/4. With a small $e$ it *beats* the ten digits on
# pictures that it has never seen. It is then a **kernel density estimator** ([Rosenblatt,
# 1956](https://doi.org/10.1214/aoms/1177728190); [Parzen, 1962](https://doi.org/10.1214/aoms/1177704472)): every training
# picture stands for its neighbourhood, and $e$ says how wide that is. Its cost on the training pictures falls
# as $e$ shrinks, towards their entropy plus $\log 4000 \approx 8.3$ nats (the price of naming one of 4,000 pictures); its
# cost on held-out pictures is a U again, with the width of a neighbourhood in place of the number of cells. And what does it draw? Training pictures with a little noise. It has the better nats, and nothing
# new to show: likelihood and samples are two measurements here as well.
#
# </details>
#
# ## Further reading
#
# - S. Kullback and R. A. Leibler, [On Information and Sufficiency](https://doi.org/10.1214/aoms/1177729694) (1951): where the
#   divergence comes from.
# - L. Theis, A. van den Oord and M. Bethge,
#   [A note on the evaluation of generative models](https://arxiv.org/abs/1511.01844) (2016): why nats and looks disagree.
# - C. M. Bishop, *Pattern Recognition and Machine Learning* (2006), chapters 1 and 2: densities, information and the
#   Gaussian in detail.
#
# Next: [Gaussian mixtures](gaussian_mixture.ipynb), where EM is taken apart, and a mixture learns to draw digits.
