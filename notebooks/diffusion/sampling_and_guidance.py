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
# # Sampling and guidance
#
# **After this chapter you can**
#
# - derive a whole family of ways back from noise, of which ancestral sampling is one end and DDIM the other;
# - say why DDIM is a method for solving a differential equation, and how its error shrinks with the number of steps;
# - guide a sample towards its class without a classifier, and measure what that costs in variety;
# - complete half a digit, remove noise and raise the resolution, all with one network that only learnt to remove noise;
# - say which of these samples from the right distribution, and which only looks as if it did.
#
# **You need**: [Denoising diffusion](denoising_diffusion.ipynb), whose network is used here as it is. The
# [notation](../../book/notation.md) is on a page of its own. ·
# [How long this chapter takes to run](../../book/results.md)

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
from time import perf_counter

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

from aigc_course import diagrams, diffusion, metrics, plots, results, training
from aigc_course.data import ImageData


# %%
plots.use_style()
profile = training.resolve_profile(profile)
samples, fewer, counts = {
    "smoke": (70, 70, (2, 3)),
    "cpu": (500, 200, (5, 10, 20, 50, 200)),
    "gpu": (1000, 1000, (5, 10, 20, 50, 200)),
}[profile]
print(f"Profile {profile}: {samples} pictures per setting, {fewer} for each of")
print(f"the step counts {counts}")

# %% [markdown]
# ## One network, many uses
#
# The network of the last chapter answers one question: what is under this noise? It was trained once, and here it is
# not trained again. All that changes in this chapter is how it is *asked*: how many times, with how much fresh noise
# in between, with which class, and with which pixels already known.

# %%
model = diffusion.pretrained(profile)
path = model.path
data = ImageData("digits")
(real, real_labels), (held_out, held_labels) = (
    data.split(name) for name in ("train", "validation")
)
print(f"{sum(p.numel() for p in model.network.parameters()):,} parameters")


def noise_for(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 1, 28, 28, generator=generator)


def shown(x):  # from the model's [-1, 1] to [0, 1]
    return (x.clamp(-1, 1) + 1) / 2


# %% [markdown]
# ## A family of ways back
#
# A step from time $t$ back to an earlier time $r$ puts the guesses $\hat x_0$ and $\hat\epsilon$ of the network where
# the truth should stand,
#
# $$x_r = a_r\, \hat x_0 + s_r \big( \rho\, \hat\epsilon + \sqrt{1 - \rho^2}\; z \big), \qquad
#   \rho = \frac{a_t\, s_r}{a_r\, s_t}, \quad z \sim \mathcal N(0, I),$$
#
# where $a$ and $s$ are the shares of signal and of noise. The number $\rho$ is the correlation that the noises at the
# two times have in the forward process. But did the training ever depend on it? The loss puts an example at *one* time,
# guesses, and looks at the error. Two times never occur together. So the network would be the same for any forward
# process with the same shares at each time, whatever the correlation between times ([Song, Meng and Ermon,
# 2021](https://arxiv.org/abs/2010.02502)).
#
# So let us choose the correlation. Replace $\sqrt{1 - \rho^2}$ by a part of it, $\eta \sqrt{1 - \rho^2}$ with a number
# $\eta$ between 0 and 1, and the factor of $\hat\epsilon$ by what is missing to a variance of 1:
#
# $$x_r = a_r\, \hat x_0 + s_r \Big( \sqrt{1 - \eta^2 (1 - \rho^2)}\; \hat\epsilon + \eta \sqrt{1 - \rho^2}\; z \Big) .$$
#
# If the guesses are the truth, the bracket is standard normal for *every* $\eta$, since two independent normal numbers
# with squared factors that add up to 1 make a standard normal one. So $x_r$ has the distribution that it should have at
# time $r$. With $\eta = 1$ this is ancestral sampling. With $\eta = 0$ no noise is drawn on the way, and the
# picture depends on the first noise alone. That sampler is called **DDIM**, for denoising diffusion *implicit* model.

# %% tags=["hide-input"]
diagrams.draw(
    "The noisy picture x at time t goes into the network f, which gives two "
    "guesses, of the clean picture and of the noise. Both go into the picture at "
    "the earlier time r, and fresh noise z goes in as well, through eta.",
    {"xₜ": (0, 1), "f": (1.2, 1), "x̂₀": (2.4, 0.4), "ε̂": (2.4, 1.6)}
    | {"xᵣ": (4.2, 1), "η": (3.3, 2.4), "z": (2.1, 2.4), "t": (0.6, 2.0)},
    [("xₜ", "f", "x̂₀", "xᵣ"), ("f", "ε̂", "xᵣ"), ("z", "η", "xᵣ"), ("t", "f")],
    variables=["xₜ", "xᵣ", "z"],
    bare=["x̂₀", "ε̂", "t"],
)

# %% [markdown]
# `diffusion.ddim` has $\eta$ as its argument. From the same first noise, with more and more steps:

# %%
classes = torch.tensor([2, 3, 5, 8])
same_noise = {}
for eta in (0.0, 1.0):
    for steps in counts:
        torch.manual_seed(1)
        same_noise[eta, steps] = diffusion.ddim(
            model.guess(classes), path, noise_for(4), steps, eta=eta
        )


# %% mystnb={"image": {"alt": "Two blocks of four rows of digits, one row for each first noise, one column for each number of steps. On the left, without fresh noise, a row shows one and the same digit; on the right each picture of a row is written differently."}}
figure, panels = plt.subplots(1, 2, figsize=(6.4, 2.8))
for ax, eta in zip(panels, (0.0, 1.0), strict=True):
    columns = [torch.cat(list(shown(same_noise[eta, k])[:, 0])) for k in counts]
    ax.imshow(torch.cat(columns, dim=1), cmap="gray", vmin=0, vmax=1)
    ax.set_title(f"η = {eta:.0f}", fontsize=11)
    ax.set_xticks([14 + 28 * k for k in range(len(counts))], counts)
    ax.set(yticks=[], xlabel="steps")
    ax.grid(False)
plt.show()

# %%
change = {}
for eta in (0.0, 1.0):
    first, last = (same_noise[eta, k] for k in (counts[-2], counts[-1]))
    change[eta] = (first - last).square().mean().sqrt().item()
    print(f"η = {eta:.0f}: {counts[-2]} against {counts[-1]} steps,", end=" ")
    print(f"pixels differ by {change[eta]:.2f} (root mean square)")
assert profile == "smoke" or 2 * change[0.0] < change[1.0]

# %% [markdown]
# Without fresh noise a row shows one digit, and the number of steps changes it only a little. With fresh noise, each
# number of steps draws its own $z$, and a row shows different digits of the class that was asked for.
#
# ### A differential equation
#
# That the left rows settle suggests that there is something to settle to. Divide the step for $\eta = 0$ by $a_r$, and
# put in $\hat x_0 = (x_t - s_t\, \hat\epsilon) / a_t$:
#
# $$\frac{x_r}{a_r} = \frac{x_t}{a_t} + \left( \frac{s_r}{a_r} - \frac{s_t}{a_t} \right) \hat\epsilon .$$
#
# With $y = x / a$, the picture as it would be without shrinking, and $u = s / a$, the amount of noise in it, the
# step is $y \leftarrow y + \Delta u\; \hat\epsilon$. This is **Euler's method**, the simplest of all methods for a
# differential equation: go in the direction of the slope, as if it did not change during the step. The equation is
#
# $$\frac{dy}{du} = \hat\epsilon .$$
#
# (At $t = 1$ our path has $a = 0$, and $y$ and $u$ are infinite; the first step is taken in the form without the
# division.) The equation is called the *probability flow* ([Song et al., 2021](https://arxiv.org/abs/2011.13456)),
# because with the exact $\hat\epsilon$ it carries the distribution of noise into that of the data. So DDIM has an error
# which comes from the
# length of the steps, and it should shrink as Euler's does: half the length, half the error.
#
# Where everything is known, we can compute that error. Let the data be one number, normal with mean 0 and standard
# deviation $d$. Then $x_t$ has the variance $v = a^2 d^2 + s^2$, the best guesses are $\hat x_0 = \frac{a d^2}{v} x_t$
# and $\hat\epsilon = \frac{s}{v} x_t$, a step multiplies $x_t$ by a number and adds noise, and the variance of what the
# sampler holds can be followed with pencil and paper. No sample is drawn:


# %%
def drawn_std(steps, eta, d):  # of the samples, if the true one is d
    variance = 1.0
    for t, r in pairwise(torch.linspace(1, 0, steps + 1, dtype=torch.double)):
        (a_t, s_t), (a_r, s_r) = path.shares(t), path.shares(r)
        rho = a_t * s_r / (a_r * s_t)
        fresh = eta * s_r * (1 - rho**2).sqrt()
        kept = (s_r**2 - fresh**2).clamp(min=0).sqrt()
        factor = (a_r * a_t * d**2 + kept * s_t) / (a_t**2 * d**2 + s_t**2)
        variance = factor**2 * variance + fresh**2
    return variance.sqrt().item()


# %% mystnb={"image": {"alt": "On two logarithmic axes the error of the standard deviation falls with the number of steps, for each of two etas along a nearly straight line that ends parallel to a dashed one of slope minus one; the line for eta 0 lies lower."}}
d, many = 0.5, (2, 5, 10, 20, 50, 100, 200)
wrong = {eta: [1 - drawn_std(k, eta, d) / d for k in many] for eta in (0.0, 1.0)}
for eta, errors in wrong.items():
    plt.loglog(many, errors, "o-", label=f"η = {eta:.0f}")
plt.loglog(many, [2 / k for k in many], "k--", linewidth=1, label="∝ 1 / steps")
plt.xlabel("steps")
plt.ylabel("share of the spread that is lost")
plt.legend()
plt.show()

# %%
for eta, errors in wrong.items():
    print(f"η = {eta:.0f}:", "  ".join(f"{error:.3f}" for error in errors))
    assert abs(errors[-2] / errors[-1] - 2) < 0.3  # twice the steps, half the error
assert all(a < b for a, b in zip(wrong[0.0][1:], wrong[1.0][1:], strict=True))

# %% [markdown]
# Both samplers draw with too small a spread, both lose less of it the more steps they take, and for many steps half the
# length is half the error. With two steps they are equal; from five on DDIM loses less than ancestral sampling. The
# last chapter has computed why the latter loses any: each step leaves out the spread of the examples that $x_t$ may
# have come from.
#
# ## How many steps for digits?
#
# In this calculation, with an exact denoiser, DDIM is never the worse one. Does that hold for a network, which makes
# errors of its own?
#
# > **Predict, then run.** Which of the two has the smaller Fréchet distance to the training digits at 200 steps? (a)
# > DDIM, as in the calculation. (b) Ancestral sampling. (c) They are equal, since both follow the same network.
#
# We draw the same classes from the same noises, and time it.


# %%
known = metrics.judge_features(real)


def judged(x, asked):  # accuracy, confident share, Fréchet distance
    distance = metrics.frechet_distance(metrics.judge_features(x), known)
    return metrics.judge_accuracy(x, asked), metrics.confident_share(x), distance


torch.manual_seed(0)
everything = torch.cat([known, metrics.judge_features(held_out)])
floors = metrics.floor_distances(everything, fewer)  # real digits, split at random

# %%
asked = torch.arange(fewer) % 10
table, seconds = {}, {}
for eta in (0.0, 1.0):
    for steps in counts:
        torch.manual_seed(2)
        start = perf_counter()
        x = diffusion.ddim(
            model.guess(asked), path, noise_for(fewer), steps, eta=eta
        )
        # in smoke, where nothing is measured, always 1
        seconds[eta, steps] = 1 if profile == "smoke" else perf_counter() - start
        table[eta, steps] = judged(shown(x), asked)


# %%
print(
    f"{fewer} pictures     η = 0: as asked, distance      η = 1: as asked, distance"
)
for steps in counts:
    row = [table[eta, steps] for eta in (0.0, 1.0)]
    cells = [f"{right:12.1%} {distance:12.2f}" for right, _, distance in row]
    print(f"{steps:4d} steps {'':5s}" + "   ".join(cells), end="   ")
    print(f"{seconds[0.0, steps] / fewer:.3f} s each")
few, much = counts[len(counts) // 2], counts[-1]
ratio = table[0.0, few][2] / table[0.0, much][2]
print(f"random splits of real digits: {floors.mean():.2f} ± {floors.std():.2f}")
print(f"DDIM: the distance at {few} steps over that at {much}: {ratio:.2f}")


# %% mystnb={"image": {"alt": "The Fréchet distance against the number of steps on a logarithmic axis, one line for each eta. Neither falls much with more steps; the line for eta 1 lies lower."}}
for eta in (0.0, 1.0):
    distances = [table[eta, steps][2] for steps in counts]
    plt.semilogx(counts, distances, "o-", label=f"η = {eta:.0f}")
plt.xticks(counts, counts)
plt.minorticks_off()
plt.ylim(bottom=0)
plt.xlabel("steps")
plt.ylabel("Fréchet distance")
plt.legend()
plt.show()

# %%
if profile != "smoke":
    plain, fresh = ([table[eta, k][2] for k in counts] for eta in (0.0, 1.0))
    assert ratio <= 1.1
    assert max(plain) < 1.5 * min(plain), "the steps hardly matter"
    assert sum(fresh) < 0.8 * sum(plain), "fresh noise helps"
    assert fresh[-1] < plain[-1], "at 200 steps, as the question asks"

# %% [markdown]
# It is (b), for this network. From five steps on DDIM's distance hardly changes, so what is left of it is no error of
# the steps. It is the network's, and in part the floor of the last line but one, which is high for so few pictures. DDIM hands on all the noise
# that the network believes it sees, and a wrong guess stays in the picture. Ancestral sampling replaces a part of that
# noise by fresh noise, and later guesses can correct what earlier ones did wrong. [Karras et al.
# (2022)](https://arxiv.org/abs/2206.00364) describe this effect, and that it grows smaller the better the network is.
# In the table of Song, Meng and Ermon, whose networks were larger and trained for longer, DDIM is ahead of $\eta = 1$
# at every number of steps, by far for few and by less for a thousand. So which sampler is the better one depends on the
# network too, and has to be measured with it.

# %% [markdown]
# ## Guidance
#
# Some of the samples are not read as what was asked for. Can we make the class count for more, without training again?
#
# Bayes' rule, for noisy pictures at any time: $p(x \mid y) = p(x)\, p(y \mid x) / p(y)$. Take the logarithm and the
# gradient with respect to $x$; the last factor contains no $x$ and is gone:
#
# $$\nabla \log p(x \mid y) = \nabla \log p(x) + \nabla \log p(y \mid x) .$$
#
# The score given the class is the score without it, plus the direction in which a classifier would become surer. To let
# the class count for more, multiply the last term by a number $w > 1$. That needs a classifier for noisy pictures, and
# [Dhariwal and Nichol (2021)](https://arxiv.org/abs/2105.05233) trained one. But we do not need any: the last term is
# the difference of the two scores, and our network knows both, since the class was withheld from it for one example in
# ten. So
#
# $$\nabla \log p(x) + w \nabla \log p(y \mid x)
#   = \nabla \log p(x) + w \big( \nabla \log p(x \mid y) - \nabla \log p(x) \big) .$$
#
# Score, noise, velocity and clean example are linear functions of each other at a given $x_t$, so the same rule holds
# for whatever the network predicts: with $f_y$ its answer given the class and $f$ its answer without,
#
# $$f_{\text{guided}} = f + w\, (f_y - f) .$$
#
# This is **classifier-free guidance** ([Ho and Salimans, 2022](https://arxiv.org/abs/2207.12598), who write $1 + w$ for
# our $w$). With $w = 0$ the class is ignored, with $w = 1$ we have the plain conditional model. It costs a second
# evaluation of the network per step.
#
# ### What does it sample from?
#
# At each time the guided score is that of $p(x)^{1 - w}\, p(x \mid y)^w$. It is tempting to conclude that the samples
# come from this *tilted* distribution of clean examples. They would, if adding noise to the tilted distribution gave
# the tilted noisy one. Let us test it where everything is normal: $y$ is a standard normal number, and given $y$ the
# example $x$ is normal with mean $0.8\, y$ and variance $0.36$. Then $x$ alone is standard normal. For $y = 1$ and
# $w = 3$ the tilted distribution is normal too, and its mean and standard deviation follow from the exponents,
# $-w\, (x - 0.8)^2 / (2 \cdot 0.36) + (w - 1)\, x^2 / 2$.


# %%
def best_guess(mean, variance):  # of data that are normal: of x0 and of the noise
    def guess(x, t):
        a, s = path.shares(t[:, None])
        gap = (x - a * mean) / (a**2 * variance + s**2)
        return mean + a * variance * gap, s * gap

    return guess


with_class, without = best_guess(0.8, 0.36), best_guess(0.0, 1.0)


def guided(w):
    def guess(x, t):
        pairs = zip(without(x, t), with_class(x, t), strict=True)
        return tuple(plain + w * (told - plain) for plain, told in pairs)

    return guess


# %%
torch.manual_seed(0)
start = torch.randn(20_000, 1)
precision = 3 / 0.36 - 2  # of the tilted distribution, w = 3
tilted = 3 * 0.8 / 0.36 / precision, precision**-0.5
print(f"tilted distribution: mean {tilted[0]:.3f}, std {tilted[1]:.3f}")
ends = {}
for eta in (0.0, 1.0):
    x = diffusion.ddim(guided(3.0), path, start, 1000, eta=eta)
    ends[eta] = x.mean().item(), x.std().item()
    print(f"guided, η = {eta:.0f}:     mean {x.mean():.3f}, std {x.std():.3f}")
assert ends[0.0][0] > tilted[0] + 0.1 < ends[1.0][0] + 0.05
assert ends[0.0][1] < ends[1.0][1] < tilted[1]

# %% [markdown]
# Neither sampler draws from the tilted distribution: both go further away and spread less, and the two differ from each
# other. [Bradley and Nakkiran (2024)](https://arxiv.org/abs/2408.09000) prove this, and say what guidance does instead.
# The step of the argument that fails is the last one: noise added to the tilted distribution does not give the tilted
# noisy one. So guidance is a useful heuristic, whose direction Bayes' rule explains and whose result has to be
# measured.
#
# ### On digits
#
# > **Predict, then run.** We raise $w$ from 0 to 6. Where is the Fréchet distance smallest? (a) At $w = 1$, the model
# > as it was trained. (b) Somewhat above. (c) At the top: the surer, the better.


# %%
def variety(x, asked):  # variance of the pixels within a class, mean over all
    return torch.stack([x[asked == k].var(dim=0).mean() for k in range(10)]).mean()


usual = variety(real, real_labels)
asked = torch.arange(samples) % 10
scales, steps = (0.0, 1.0, 2.0, 3.0, 6.0), counts[1] if profile == "smoke" else 20
by_scale, pictures = {}, {}
for w in scales:
    x = shown(
        diffusion.ddim(model.guess(asked, w), path, noise_for(samples), steps)
    )
    pictures[w] = x[:8]
    recall = metrics.neighbour_precision_recall(
        metrics.judge_features(x), known
    ).recall
    by_scale[w] = (*judged(x, asked), (variety(x, asked) / usual).item(), recall)


# %% mystnb={"image": {"alt": "Five rows of the digits 0 to 7, one row for each guidance scale, from the same noises. In the first row most digits are not those asked for; in the last they are, with clean strokes."}}
row_labels = [f"w = {w:g}" for w in scales]
plots.image_grid(torch.cat(list(pictures.values())), row_labels=row_labels)
plt.show()

# %%
print(f"{samples} pictures  as asked    sure   distance   variety   recall")
for w, (right, sure, distance, varied, recall) in by_scale.items():
    print(f"w = {w:3.1f}      {right:8.1%} {sure:7.1%} {distance:9.2f}", end=" ")
    print(f"{varied:10.2f} {recall:8.2f}")
if profile != "smoke":
    rights, _, distances, variances, recalls = zip(*by_scale.values(), strict=True)
    assert rights[0] < 0.3
    assert rights[1] < rights[2] < rights[4] + 0.02
    assert distances.index(min(distances)) in (2, 3)
    assert list(variances) == sorted(variances, reverse=True)
    assert list(recalls) == sorted(recalls, reverse=True)

# %% [markdown]
# It is (b). Without the class the digit can be any; with more and more guidance nearly all are read as asked. The
# distance, which sees clean strokes as well as variety, falls at first, while more digits are read as asked, and rises
# again as the variety goes. The last two columns show the price: the variance within a class falls from row to row (in
# the first row, where the class is ignored, it is that of all digits), and so does the *recall*, the share of real
# digits that have a sample near them. Guidance does not change the network. It trades variety for agreement with the
# class, and one has to say at which $w$ a figure was measured.

# %% [markdown]
# ## Pictures of which a part is known
#
# Half of a digit is covered; what was there? Of another digit only the averages over blocks of 4×4 pixels are left;
# what was the picture? Both are questions about $p(x_0 \mid \text{what is known})$, and the network was trained for
# neither. But in each step it guesses the clean picture, and about that we know
# something. So we *correct the guess* before the step: for the covered digit we put the known pixels in their places,
# for the blocks we shift all pixels of a block until its average is right. The corrected guess is the closest one that
# agrees with what is known ([Wang, Yu and Zhang, 2023](https://arxiv.org/abs/2212.00490)).
#
# We write the sampler out once more, for $\eta = 1$, with the correction in it, and with a repetition that is explained
# below:


# %%
@torch.no_grad()
def restore(guess, correct, x, steps, repeats=1):
    for t, r in pairwise(torch.linspace(1, 0, steps + 1)):
        (a_t, s_t), (a_r, s_r) = path.shares(t), path.shares(r)
        c = a_t / a_r
        rho = c * s_r / s_t
        for more in reversed(range(repeats)):
            clean = correct(guess(x, t.expand(len(x)))[0])
            noise = (x - a_t * clean) / s_t
            fresh = (1 - rho**2).sqrt() * torch.randn_like(x)
            earlier = a_r * clean + s_r * (rho * noise + fresh)
            again = (s_t**2 - c**2 * s_r**2).sqrt() * torch.randn_like(x)
            x = c * earlier + again if more else earlier
    return x


# %% [markdown]
# ### Is it right?
#
# Two numbers, both standard normal, with the covariance 0.8. The first is known to be 1.5. Then the second is normal
# with mean $0.8 \cdot 1.5 = 1.2$ and variance $1 - 0.8^2 = 0.36$. The best guess of both numbers is linear again, $\hat
# x_0 = a \Sigma\, (a^2 \Sigma + s^2 I)^{-1} x_t$, with the matrix $\Sigma$ of the covariances.

# %%
sigma = torch.tensor([[1.0, 0.8], [0.8, 1.0]])


def guess_pair(x, t):
    a, s = path.shares(t[0])
    clean = a * x @ torch.linalg.inv(a**2 * sigma + s**2 * torch.eye(2)) @ sigma
    return clean, (x - a * clean) / s


def first_is_known(clean):
    return torch.stack([torch.full_like(clean[:, 0], 1.5), clean[:, 1]], dim=1)


# %%
torch.manual_seed(0)
print("the second number, exactly:       mean 1.200, std 0.600")
second = {}
for many, repeats in ((50, 1), (50, 2), (50, 5), (50, 20), (200, 20)):
    x = restore(guess_pair, first_is_known, torch.randn(5000, 2), many, repeats)
    second[many, repeats] = mean, std = x[:, 1].mean().item(), x[:, 1].std().item()
    print(
        f"{many:3d} steps, {repeats:2d} corrections in each: mean {mean:.3f},",
        end=" ",
    )
    print(f"std {std:.3f}")
assert second[50, 1][0] < 0.9 < second[50, 5][0]
assert abs(second[200, 20][0] - 1.2) < 0.1 > abs(second[200, 20][1] - 0.6)
assert abs(second[200, 20][1] - 0.6) < abs(second[50, 20][1] - 0.6)

# %% [markdown]
# With one correction per step the second number listens too little to the first: its mean is far too small. A step puts
# the known number in its place, but the second one was guessed *before* that, from $x_t$, where the known number is
# still covered by noise. Only the next step sees both together, when there is less noise left and less can be changed.
# The repair ([Lugmayr et al., 2022](https://arxiv.org/abs/2201.09865)) is to take the step, to put its noise in again,
# and to repeat that some times, so that the two parts can come to agree. The rows say what it gains and what it costs:
# the mean approaches 1.2, while the spread falls below 0.6; smaller steps bring it nearer to 0.6 again. Each repetition
# costs another evaluation of the network.
#
# ### Half a digit

# %%
count, steps = (20, 4) if profile == "smoke" else (100, 20)
truth, truth_labels = 2 * held_out[:count] - 1, held_labels[:count]
upper = torch.zeros(1, 1, 28, 28)
upper[:, :, :14] = 1


def keep_upper(clean):
    return upper * truth + (1 - upper) * clean


torch.manual_seed(1)
guess = model.guess()  # no class is told
halves = {"upper half": keep_upper(-torch.ones_like(truth)), "original": truth}
free = diffusion.ddim(guess, path, noise_for(count), steps, eta=1.0)
halves["pasted"] = keep_upper(free)
start = noise_for(count)
halves["completed"] = restore(guess, keep_upper, start, steps, 2)
told = model.guess(truth_labels, 2.0)
halves["class told"] = restore(told, keep_upper, start, steps, 2)


# %% mystnb={"image": {"alt": "Five rows of eight pictures. The first row shows the upper halves of digits, the second the whole digits; in the third many lower halves do not fit, in the fourth more of them continue the strokes of the upper half, and in the last most make the original digit of it."}}
plots.image_grid(
    torch.cat([shown(x[:8]) for x in halves.values()]), row_labels=list(halves)
)
plt.show()

# %%
read, sure = {}, {}
for name, x in halves.items():
    read[name] = metrics.judge_accuracy(shown(x), truth_labels)
    sure[name] = metrics.confident_share(shown(x))
    print(f"{name:>12}: read as the original {read[name]:4.0%},", end=" ")
    print(f"sure {sure[name]:4.0%}")
if profile != "smoke":
    assert read["completed"] + sure["completed"] > read["pasted"] + sure["pasted"]
    assert read["class told"] > read["completed"] + 0.1

# %% [markdown]
# In the third row the known half was put over a free sample at the very end: many strokes break off at the border. In
# the fourth, where the guess was corrected in each step, the lower half more often continues the upper one. It is often
# another digit than the original, and that need not be a mistake: the upper half of a 3 may belong to an 8 or a 9. In
# the last row the class is told, with guidance, and now most are what they were.
#
# ### A picture of 49 numbers


# %%
def blocks(x):  # the averages of 4 x 4 pixels
    return F.avg_pool2d(x, 4)


def wide(x):  # each number sixteen times
    return x.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)


small = blocks(truth)


def right_blocks(clean):
    return clean + wide(small - blocks(clean))


# %%
torch.manual_seed(1)
several = torch.stack(
    [
        restore(guess, right_blocks, noise_for(count, seed), steps, 2)
        for seed in range(4)
    ]
)
versions = {
    "49 numbers": wide(small),
    "bicubic": F.interpolate(small, scale_factor=4, mode="bicubic"),
    "restored": several[0],
    "mean of four": several.mean(dim=0),
    "original": truth,
}

# %% mystnb={"image": {"alt": "Five rows of eight pictures: blocks of grey, a blurred enlargement, sharp digits, soft digits, and the originals."}}
plots.image_grid(
    torch.cat([shown(x[:8]) for x in versions.values()]), row_labels=list(versions)
)
plt.show()

# %%
error, right_share = {}, {}
for name, x in versions.items():
    error[name] = (shown(x) - shown(truth)).square().mean().item()
    right_share[name] = metrics.judge_accuracy(shown(x), truth_labels)
    print(f"{name:>12}: squared error {error[name]:.4f},", end=" ")
    print(f"read right {right_share[name]:4.0%}")
off = (blocks(several[0]) - small).abs().max().item()
print(f"largest error of a block's average in the restored pictures: {off:.1g}")
if profile != "smoke":
    assert off < 1e-3
    assert right_share["restored"] > right_share["bicubic"] + 0.3
    assert error["mean of four"] < 0.8 * error["restored"]
    assert error["mean of four"] < error["bicubic"]

# %% [markdown]
# From 49 numbers most digits come back so that the judge reads them, which it rarely can with a smooth enlargement. And
# before they are clamped to be shown, the restored pictures have the averages that were given, up to rounding. But mind
# the errors. The mean of four restorations is softer than each of them and has the *smaller* squared error. It must be
# so: a sample drawn from $p(x_0 \mid \text{known})$ has on average twice the squared error of the best guess, which is
# the mean (exercise 3), and the mean of four samples only 1.25 times. A restored picture does not show what was there.
# It shows something that might have been there.
#
# ### Noise of known strength
#
# To remove noise is what the network was trained for. A picture $y = x_0 + \sigma \epsilon$ is, after multiplication by
# $a_t$, a point of the path: the one at the time $t$ with $s_t / a_t = \sigma$. So we begin there instead of at $t =
# 1$. On the cosine path $s_t / a_t = \tan(\pi t / 2)$.

# %%
strength = 1.0
begin = 2 / math.pi * math.atan(strength)
noisy = truth + strength * noise_for(count, seed=9)
at_begin = path.shares(torch.tensor(begin))[0] * noisy
cleaned = {"noisy": noisy}
for name, many, eta in (("one step", 1, 0.0), ("ten steps", 10, 1.0)):
    torch.manual_seed(3)
    cleaned[name] = diffusion.ddim(
        guess, path, at_begin, many, eta=eta, first=begin
    )


# %% mystnb={"image": {"alt": "Four rows of eight pictures: digits under strong noise, the same cleaned in one step with soft edges, cleaned in ten steps with sharp edges, and the originals."}}
rows = [*cleaned.values(), truth]
plots.image_grid(
    torch.cat([shown(x[:8]) for x in rows]), row_labels=[*cleaned, "original"]
)
plt.show()

# %%
right_noisy = {}
for name, x in cleaned.items():
    error[name] = (shown(x) - shown(truth)).square().mean().item()
    right_noisy[name] = metrics.judge_accuracy(shown(x), truth_labels)
    print(f"{name:>9}: squared error {error[name]:.4f},", end=" ")
    print(f"read right {right_noisy[name]:4.0%}")
if profile != "smoke":
    assert error["one step"] < 0.85 * error["ten steps"]
    assert right_noisy["noisy"] < 0.5 < 0.85 < right_noisy["one step"]

# %% [markdown]
# The same two answers again. One step gives the best guess, soft at the edges and nearest to the truth on average. Ten
# steps draw one of the digits that the noise may hide, with sharp edges, and a larger error.

# %% [markdown]
# ## When it fails
#
# **Guidance is too strong.** The row $w = 6$ above: nearly all are read as asked, and the variety is a fraction of that
# of real digits.
#
# **What is known is pasted in at the end.** The row "pasted" above. The lower half belongs to another sample.
#
# **What is known and the class contradict each other.** The sampler does not refuse. We tell it, with guidance, a class
# that is not that of the upper half:

# %%
other = (truth_labels + 1 + torch.arange(count) % 9) % 10  # any other class
forced = {}
for w in (1.0, 3.0):
    torch.manual_seed(1)
    x = restore(model.guess(other, w), keep_upper, start, steps, 2)
    forced[w] = x
    as_told, certain = (
        metrics.judge_accuracy(shown(x), other),
        metrics.confident_share(shown(x)),
    )
    print(f"w = {w:g}: read as told {as_told:4.0%}, sure {certain:4.0%}")
    if profile != "smoke":
        assert as_told < 0.7
        assert certain < sure["class told"] - 0.1

# %% mystnb={"image": {"alt": "Three rows of eight pictures: the original digits, and two rows in which the upper half is kept and the lower half tries to make another digit of it."}}
rows = [truth, *forced.values()]
names = ["original", *(f"w = {w:g}" for w in forced)]
plots.image_grid(torch.cat([shown(x[:8]) for x in rows]), row_labels=names)
plt.show()

# %% [markdown]
# Kept strokes are kept. Some of the pictures are read as told. The others are not, and the judge is sure of far fewer
# than where the right class was told: what comes out is often no digit at all. A sampler that is asked for the
# impossible answers all the same.
#
# ## What the source articles got wrong here
#
# Nothing that is not in [the chapter before](denoising_diffusion.ipynb): they do not go beyond the idea of noise that
# is taken away.

# %% [markdown]
# ## The promise
#
# With $w = 2$ and twenty steps, at least 97 of 100 samples are read as the digit that was asked for, the judge is
# sure of at least 95 of 100, and the Fréchet distance is below 2.2. With twenty steps DDIM's distance is at most a
# tenth larger than with two hundred.

# %%
right, sure, distance, varied, _ = by_scale[2.0]
figures = results.record(
    "sampling_and_guidance",
    profile,
    judge_accuracy=round(right, 3),
    confident_share=round(sure, 3),
    frechet=round(distance, 2),
    variety=round(varied, 2),
    ddim_20_over_200=round(ratio, 3),
)
print(figures["judge_accuracy"], figures["confident_share"], figures["frechet"])

# %%
if profile != "smoke":
    assert figures["judge_accuracy"] >= 0.97
    assert figures["confident_share"] >= 0.95
    assert figures["frechet"] < 2.2
    assert figures["ddim_20_over_200"] <= 1.1

# %% [markdown]
# ## Summary
#
# - The training fixes the shares of signal and noise at each time, not the correlation between times. So there is a
#   family of samplers: $\eta = 1$ draws fresh noise as the forward process would, $\eta = 0$ none.
# - DDIM is Euler's method for the probability flow; for small steps its error is proportional to their length.
# - Guidance takes the difference between the answers with and without the class $w$ times. It buys agreement with the
#   class and pays with variety, and it does not sample from the tilted distribution.
# - What is known about a picture enters by correcting the guess in each step, more than once if the parts are to agree.
# - One sample has twice the squared error of the best guess, and looks like a digit, which the best guess need not do.
#
# ## Check yourself
#
# **1.** DDIM can be run the other way: from a digit to the noise from which it would be drawn. Do so for eight held-out
# digits, in 50 steps, and then draw from that noise. How far are the digits from where they began?


# %% tags=["hide-cell"]
# @title Solution
@torch.no_grad()
def to_noise(guess, x, steps):
    for t, r in pairwise(torch.linspace(0.001, 1, steps + 1)):
        a_r, s_r = path.shares(r)
        clean, noise = guess(x, t.expand(len(x)))
        x = a_r * clean + s_r * noise
    return x


# %% tags=["hide-cell"]
# @title Solution, continued
some, their = truth[:8], truth_labels[:8]
code = to_noise(model.guess(their), some, 50)
back = diffusion.ddim(model.guess(their), path, code, 50)
other = diffusion.ddim(model.guess(their), path, noise_for(8), 50)
apart = [(x - some).square().mean().sqrt().item() for x in (back, other)]
print(f"pixels differ by {apart[0]:.2f}, from another noise by {apart[1]:.2f}")
assert profile == "smoke" or apart[0] < 0.7 * apart[1]

# %% [markdown]
# <details><summary>Answer</summary>
#
# The same step with the later time in the place of the earlier one. (It begins a little after 0, since at 0 there is no
# noise to be guessed.) The way there and the way back make errors of the same kind, so the digits come back
# approximately. Such codes are used to edit pictures: encode with one class, draw with another.
#
# </details>
#
# **2.** The two normal distributions of the section on guidance once more. Without running anything: what does the
# guided sampler with $w = 0$ draw, and what with $w = 1$? Then check it.

# %% tags=["hide-cell"]
# @title Solution
torch.manual_seed(0)
for w, (mean, std) in {0.0: (0.0, 1.0), 1.0: (0.8, 0.6)}.items():
    x = diffusion.ddim(guided(w), path, torch.randn(20_000, 1), 200, eta=1.0)
    print(f"w = {w:g}: mean {x.mean():.2f} ({mean}), std {x.std():.2f} ({std})")
    assert abs(x.mean() - mean) < 0.03
    assert abs(x.std() - std) < 0.03

# %% [markdown]
# <details><summary>Answer</summary>
#
# With $w = 0$ the guess is that without the class: a standard normal number. With $w = 1$ it is that with the class:
# mean 0.8, standard deviation 0.6. At these two values the argument about the tilted distribution has no gap, since
# nothing is multiplied.
#
# </details>
#
# **3.** Show that the squared error of a sample from $p(x_0 \mid y)$ is twice that of the best guess $\mathbb E[x_0
# \mid y]$, and check it on the pair of numbers.

# %% tags=["hide-cell"]
# @title Solution
torch.manual_seed(0)
first_number = torch.randn(100_000)
second_number = 0.8 * first_number + 0.6 * torch.randn(100_000)
best = 0.8 * first_number
sample = best + 0.6 * torch.randn(100_000)
of_best, of_sample = (
    (second_number - answer).square().mean().item() for answer in (best, sample)
)
print(
    f"best guess {of_best:.3f}, sample {of_sample:.3f}, "
    f"ratio {of_sample / of_best:.2f}"
)
assert abs(of_sample / of_best - 2) < 0.05

# %% [markdown]
# <details><summary>Answer</summary>
#
# Given $y$, the truth and the sample are two independent draws from one distribution with mean $m$ and variance $V$.
# Their difference is (truth − $m$) − (sample − $m$), so its mean square is $V + V$. The best guess is $m$, with the
# mean square $V$. So whoever wants the smallest squared error should not draw at all; and whoever wants pictures that
# look real has to pay for it ([Blau and Michaeli, 2018](https://arxiv.org/abs/1711.06077)).
#
# </details>
#
# **4.** In words: for one training example in ten the class is withheld. What would guidance do if it never were?
#
# <details><summary>Answer</summary>
#
# The network would never have been trained for the input that stands for "not told", and its answer there would be
# whatever the untrained weights of that input make of it. The difference $f_y - f$ would mean nothing.
#
# </details>
#
# ## Further reading
#
# - J. Song, C. Meng and S. Ermon, [Denoising Diffusion Implicit Models](https://arxiv.org/abs/2010.02502) (2021).
# - P. Dhariwal and A. Nichol, [Diffusion Models Beat GANs on Image Synthesis](https://arxiv.org/abs/2105.05233) (2021):
#   guidance by a classifier.
# - J. Ho and T. Salimans, [Classifier-Free Diffusion Guidance](https://arxiv.org/abs/2207.12598) (2022).
# - A. Bradley and P. Nakkiran, [Classifier-Free Guidance is a Predictor-Corrector](https://arxiv.org/abs/2408.09000)
#   (2024).
# - A. Lugmayr et al., [RePaint: Inpainting using Denoising Diffusion Probabilistic
#   Models](https://arxiv.org/abs/2201.09865) (2022).
# - Y. Wang, J. Yu and J. Zhang, [Zero-Shot Image Restoration Using Denoising Diffusion Null-Space
#   Model](https://arxiv.org/abs/2212.00490) (2023).
# - T. Karras, M. Aittala, T. Aila and S. Laine, [Elucidating the Design Space of Diffusion-Based Generative
#   Models](https://arxiv.org/abs/2206.00364) (2022): steps that are not evenly spaced, and how much fresh noise helps.
# - Y. Blau and T. Michaeli, [The Perception-Distortion Tradeoff](https://arxiv.org/abs/1711.06077) (2018).
#
# Next: [Flow matching](flow_matching.ipynb), on straight lines.
