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
# # Denoising diffusion
#
# **After this chapter you can**
#
# - put an example at any amount of noise in one line, and prove that this is what many small steps lead to;
# - derive the loss of a diffusion model from the evidence lower bound of the VAE, and say which weights it drops;
# - turn a prediction of the noise, of the clean example or of the velocity into the two others, and say where each of
#   them tells nothing;
# - write a diffusion model in sixty lines, and draw the field along which its points move;
# - say what a denoiser knows about the density of the data (its score);
# - train a small U-Net that draws the digit you ask for, and recognise three ways in which such a model fails.
#
# **You need**: the evidence lower bound of [The variational autoencoder](../vae/variational_autoencoder.ipynb);
# convolutions, as in [Convolutions: the DCGAN](../gan/dcgan.ipynb). The [notation](../../book/notation.md) is on a page
# of its own. · [How long this chapter takes to run](../../book/results.md)

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
import copy
import math
from itertools import pairwise
from pprint import pprint

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

from aigc_course import diagrams, diffusion, metrics, plots, results, training
from aigc_course.data import ImageData


# %%
plots.use_style()
profile = training.resolve_profile(profile)
# of the small network, and how many points are drawn
updates = {"smoke": 40, "cpu": 4000, "gpu": 4000}[profile]
crowd = {"smoke": 2000, "cpu": 20_000, "gpu": 20_000}[profile]
samples, fewer, steps = {
    "smoke": (100, 70, 4),
    "cpu": (1000, 500, 20),
    "gpu": (1000, 500, 20),
}[profile]
print(f"Profile {profile}: {updates} updates for points in the plane,", end=" ")
print(f"{diffusion.recipe(profile)['fit']['max_epochs']} epochs for digits")

# %% [markdown]
# ## Too much to ask at once
#
# The decoder of a VAE makes a picture from noise in one step. Here is another way to think about it. Destroy a digit
# slowly, by mixing in noise, a little at a time:

# %% mystnb={"image": {"alt": "Three rows of eight pictures. Each begins with a clean digit on the left; towards the right there is more and more noise, and in the last picture noise alone."}}
data = ImageData("digits")
x_train, labels_train = data.split("train")
x_train = 2 * x_train - 1  # from [0, 1] to [-1, 1]
torch.manual_seed(0)
moments = torch.linspace(0, 1, 8)
noisy = torch.cat(
    [
        diffusion.cosine_path().noisy(x.expand(8, 1, 28, 28), moments, noise)
        for x, noise in zip(x_train[:3], torch.randn(3, 8, 1, 28, 28), strict=True)
    ]
)
plots.image_grid((noisy.clamp(-1, 1) + 1) / 2)
plt.show()

# %% [markdown]
# In the last column nothing of the digit is left. Nobody can tell from it which digit it was, and a network that is asked
# for the way back in *one* step, and is judged by its squared error, does best to answer with an average of all digits.
# (We shall measure that.) But from one column to the one on its left the way is short, and even we can guess what should
# become lighter and what darker.
#
# A **diffusion model** learns these short ways. It is trained to take noise away, at all amounts of noise. To draw, it
# begins with pure noise and takes away a little of it, many times over. What remains to be worked out is how much noise
# to add, what exactly to ask of the network, and how to take one step back.

# %% [markdown]
# ## Noise in closed form
#
# Let $x_0$ be an example: a picture, or a point, scaled so that its numbers have a size of about 1. A small step mixes in
# a little noise,
#
# $$x_k = \sqrt{1 - \beta_k}\; x_{k-1} + \sqrt{\beta_k}\; \eta_k, \qquad \eta_k \sim \mathcal N(0, I),$$
#
# with a small rate $\beta_k$ between 0 and 1, and $\eta_k$ drawn anew in each step. The first factor shrinks what is
# there, so that a variance of 1 stays 1: $(1 - \beta_k) + \beta_k = 1$. The chain of these steps is called the **forward
# process**.
#
# To train at step 700 one need not go through the 699 before it. Let $\bar\alpha_k$ be the product
# $(1 - \beta_1)(1 - \beta_2) \cdots (1 - \beta_k)$. Then
#
# $$x_k = \sqrt{\bar\alpha_k}\; x_0 + \sqrt{1 - \bar\alpha_k}\; \epsilon, \qquad \epsilon \sim \mathcal N(0, I) .$$
#
# *Proof by induction.* For $k = 1$ it is the definition. If it holds for $k - 1$, one more step gives
#
# $$x_k = \sqrt{1 - \beta_k}\,\sqrt{\bar\alpha_{k-1}}\; x_0 + \sqrt{1 - \beta_k}\,\sqrt{1 - \bar\alpha_{k-1}}\; \epsilon
#   + \sqrt{\beta_k}\; \eta_k .$$
#
# The factor of $x_0$ is $\sqrt{\bar\alpha_k}$. The two noises are independent and normal, so their sum is normal with
# mean 0, and variances of independent numbers add up:
# $(1 - \beta_k)(1 - \bar\alpha_{k-1}) + \beta_k = 1 - (1 - \beta_k)\,\bar\alpha_{k-1} = 1 - \bar\alpha_k$. ∎
#
# Here it is for many copies of one pixel of value 0.8, step by step and in closed form, with the thousand rates of
# [Ho, Jain and Abbeel (2020)](https://arxiv.org/abs/2006.11239):

# %%
rates = torch.linspace(1e-4, 0.02, 1000)
kept = (1 - rates).cumprod(dim=0)  # the products: alpha-bar
torch.manual_seed(0)
x = torch.full((20_000,), 0.8)
print("            step by step       closed form")
for k, rate in enumerate(rates, start=1):
    x = (1 - rate).sqrt() * x + rate.sqrt() * torch.randn_like(x)
    if k in (100, 300, 1000):
        mean, std = 0.8 * kept[k - 1].sqrt(), (1 - kept[k - 1]).sqrt()
        print(f"step {k:4d}: mean {x.mean():5.2f}, std {x.std():.2f}", end="   ")
        print(f"mean {mean:5.2f}, std {std:.2f}")
        assert abs(x.mean() - mean) < 0.04
        assert abs(x.std() - std) < 0.03

# %% [markdown]
# The steps themselves are no longer needed, nor is their number. From here on **time** $t$ runs from 0, the data, to 1, the
# noise, and at each time there is a share $a_t$ of signal and a share $s_t$ of noise:
#
# $$x_t = a_t\, x_0 + s_t\, \epsilon .$$
#
# How the shares change with time is called the *noise schedule*, or the **path** from data to noise. The package has
# three. The *linear* path is that of Ho's thousand steps, whose rates grow linearly; the *cosine* path is
# $a_t = \cos(\pi t / 2)$, $s_t = \sin(\pi t / 2)$, after [Nichol and Dhariwal
# (2021)](https://arxiv.org/abs/2102.09672); the *straight* path is $a_t = 1 - t$, $s_t = t$. On the first two
# $a_t^2 + s_t^2 = 1$.

# %% mystnb={"image": {"alt": "Three falling solid curves, the shares of signal, and three rising dashed ones, the shares of noise, against time. The linear path loses its signal first."}}
t = torch.linspace(0, 1, 1001)
for colour, (name, path) in zip(
    plots.COLOURS, diffusion.PATHS.items(), strict=False
):
    a, s = path().shares(t)
    plt.plot(t, a, color=colour, label=name)
    plt.plot(t, s, "--", color=colour)
plt.xlabel("time")
plt.ylabel("share of signal (solid), of noise (dashed)")
plt.legend()
plt.show()

# %%
a_linear, a_cosine = (
    diffusion.PATHS[n]().shares(t)[0] for n in ("linear", "cosine")
)
assert torch.allclose(a_linear[1:], kept.sqrt(), atol=0.01)  # a thousand steps
assert a_linear[500] < 0.3 < 0.7 < a_cosine[500]

# %% [markdown]
# All begin with the data alone and end in noise. At half time the cosine path still has 71 % of its signal, the linear
# one less than 30 %: of its thousand steps, the later ones are spent on pictures that are nearly noise. Which path is
# the better one is a question of what is trained and measured. Nichol and Dhariwal introduced theirs for small pictures,
# and we follow them; the straight path belongs to [flow matching](flow_matching.ipynb).

# %% [markdown]
# ## The way back, if one knew the example
#
# Take two times $r < t$. If we knew $x_0$ and $x_t$, what would $x_r$ be? Write $e_r$ and $e_t$ for the noise at the two
# times: $x_r = a_r x_0 + s_r e_r$ and $x_t = a_t x_0 + s_t e_t$. The forward process goes from $r$ to $t$ by shrinking and
# by noise $\eta$ that is new, $x_t = c\, x_r + d\, \eta$. For the signal to come out right, $c = a_t / a_r$. So
#
# $$s_t\, e_t = c\, s_r\, e_r + d\, \eta .$$
#
# Both $e_t$ and $e_r$ are standard normal, and their covariance is
#
# $$\rho = \frac{c\, s_r}{s_t} = \frac{a_t\, s_r}{a_r\, s_t} ,$$
#
# which is their correlation: a number from 0 to 1, near 1 for times close together. Given $e_t$, a jointly normal number of
# correlation $\rho$ with it is normal with mean $\rho\, e_t$ and variance $1 - \rho^2$. Therefore
#
# $$x_r = a_r\, x_0 + s_r \big( \rho\, e_t + \sqrt{1 - \rho^2}\; z \big), \qquad e_t = \frac{x_t - a_t x_0}{s_t},
#   \qquad z \sim \mathcal N(0, I) .$$
#
# In words: take the signal at its larger share, keep a part $\rho$ of the noise that is there, and replace the rest by
# fresh noise. We check it where everything can be drawn: a hundred thousand pairs, the first time 0.4, the second 0.6.

# %%
torch.manual_seed(0)
path, r, t = diffusion.cosine_path(), torch.tensor(0.4), torch.tensor(0.6)
(a_r, s_r), (a_t, s_t) = path.shares(r), path.shares(t)
c = a_t / a_r
e_r, fresh = torch.randn(2, 100_000)
e_t = (c * s_r * e_r + (s_t**2 - c**2 * s_r**2).sqrt() * fresh) / s_t
rho = c * s_r / s_t
slope = (e_r * e_t).mean() / e_t.square().mean()  # the regression of e_r on e_t
print(f"rho {rho:.3f}: slope {slope:.3f}, ", end="")
print(f"variance left {(e_r - slope * e_t).var():.3f} ({1 - rho**2:.3f})")
assert abs(slope - rho) < 0.02
assert abs((e_r - slope * e_t).var() - (1 - rho**2)) < 0.02

# %% [markdown]
# When a sample is drawn, nobody knows $x_0$: it is what we want to have. This is where the network comes in. Given $x_t$
# and $t$, it guesses $\hat x_0$; the guess of the noise, $\hat\epsilon = (x_t - a_t \hat x_0) / s_t$, follows. A step back
# puts the guesses where the formula wants the truth:
#
# $$x_r = a_r\, \hat x_0 + s_r \big( \rho\, \hat\epsilon + \sqrt{1 - \rho^2}\; z \big) .$$
#
# Repeated from $t = 1$ down to 0, it is the **reverse process**, or ancestral sampling (DDPM). It draws $x_r$ from a normal
# distribution, and there is an assumption in that. The true distribution of $x_r$ given $x_t$ alone is a mixture over
# all the examples that $x_t$ may have come from. For small steps it is nearly normal ([Sohl-Dickstein et al.
# (2015)](https://arxiv.org/abs/1503.03585) built their method on this); for large steps it is not, which the section
# "When it fails" will show.

# %% [markdown]
# The whole chain in one drawing. Solid arrows add noise and have nothing to learn. Dashed arrows are the way back, for
# which there is a network with weights $\theta$, the same for all steps.

# %% tags=["hide-input"]
diagrams.draw(
    "A chain of circles from the observed example x0 on the left to noise x1 on "
    "the right. Solid arrows lead to the right, dashed arrows back to the left. "
    "Below stands theta.",
    {
        **{"x₀": (0, 1), "…": (1.15, 1), "xᵣ": (2.3, 1), "xₜ": (3.7, 1)},
        **{"‥": (4.85, 1), "x₁": (6, 1), "θ": (3, 1.75)},
    },
    [("x₀", "…", "xᵣ", "xₜ", "‥", "x₁")],
    dashed=[("x₁", "‥", "xₜ", "xᵣ", "…", "x₀")],
    variables=["xᵣ", "xₜ", "x₁"],
    observed=["x₀"],
    bare=["…", "‥", "θ"],
    labels={"‥": "…"},
)

# %% [markdown]
# ## The loss, from the evidence lower bound
#
# Look at the drawing again. An example $x_0$ is observed; $x_1$, and all that lies between, is not. That is a
# latent-variable model, and the VAE part has told us how to train one. Let the times be
# $0 = t_0 < t_1 < \dots < t_K = 1$, and write $x_{(k)}$ for the point at time $t_k$. Compared with a VAE,
#
# - the latent variable is the whole chain $x_{(1)}, \dots, x_{(K)}$, each as large as the picture;
# - the *encoder* is the forward process $q$. It is fixed: it has no weights;
# - the *prior* is $p(x_{(K)}) = \mathcal N(0, I)$, and the *decoder* is the reverse process, $K$ steps that share one network.
#
# The bound is that of the VAE, with the chain in place of the code:
#
# $$\log p_\theta(x_0) \;\ge\; \mathbb E_q\Big[ \log p(x_{(K)}) + \sum_{k=1}^K \log p_\theta(x_{(k-1)} \mid x_{(k)})
#   - \sum_{k=1}^K \log q(x_{(k)} \mid x_{(k-1)}) \Big] .$$
#
# Here $q$ runs forwards and $p_\theta$ backwards. To compare them, reverse $q$ by Bayes' rule, everything given $x_0$.
# (Given $x_{(k-1)}$, the next point does not depend on $x_0$, so $x_0$ may be added to the condition.) For $k \ge 2$
#
# $$q(x_{(k)} \mid x_{(k-1)}) = q(x_{(k-1)} \mid x_{(k)}, x_0)\;
#   \frac{q(x_{(k)} \mid x_0)}{q(x_{(k-1)} \mid x_0)} .$$
#
# In the product over all $k$ the fractions cancel, each numerator against the next denominator. What remains of them,
# together with the step $k = 1$, is $q(x_{(K)} \mid x_0)$. Collect the terms:
#
# $$
# \begin{aligned}
# \text{ELBO}(x_0) ={}& \underbrace{\mathbb E_q\big[\log p_\theta(x_0 \mid x_{(1)})\big]}_{\text{reconstruction}}
# - \underbrace{D_{\mathrm{KL}}\big(q(x_{(K)} \mid x_0) \,\|\, \mathcal N(0, I)\big)}_{\text{prior}} \\
# & - \sum_{k=2}^K \underbrace{\mathbb E_q\Big[ D_{\mathrm{KL}}\big(q(x_{(k-1)} \mid x_{(k)}, x_0) \,\|\,
#   p_\theta(x_{(k-1)} \mid x_{(k)})\big) \Big]}_{\text{one step of the way back}} .
# \end{aligned}
# $$
#
# **The reconstruction term** belongs to the last and smallest step. With a Gaussian decoder it is
# [a squared error as well](../vae/variational_autoencoder.ipynb).
#
# **The prior term** contains no weights. It is zero if no signal is left at the end, and a constant cost if some is.
#
# **A step** compares two normal distributions: the way back that knows the example, and the same formula with the
# guess. Both have the variance $\sigma^2 = s_r^2 (1 - \rho^2)$ (again $r = t_{k-1}$ and $t = t_k$). For normal
# distributions with equal variances everything in the divergence cancels except the distance of the means:
#
# $$D_{\mathrm{KL}}\big(\mathcal N(m, \sigma^2 I) \,\|\, \mathcal N(\hat m, \sigma^2 I)\big)
#   = \mathbb E\left[ \frac{\lVert x - \hat m \rVert^2 - \lVert x - m \rVert^2}{2 \sigma^2} \right]
#   = \frac{\lVert m - \hat m \rVert^2}{2 \sigma^2} .$$
#
# The mean is $a_r x_0 + s_r \rho\, (x_t - a_t x_0) / s_t$, so the two means differ by
# $(a_r - \rho\, s_r a_t / s_t)\,(x_0 - \hat x_0)$. With $\rho = a_t s_r / (a_r s_t)$ that factor and the variance are
#
# $$a_r - \frac{\rho\, s_r a_t}{s_t} = \frac{a_r^2 s_t^2 - a_t^2 s_r^2}{a_r s_t^2}, \qquad
#   \sigma^2 = \frac{s_r^2\, (a_r^2 s_t^2 - a_t^2 s_r^2)}{a_r^2 s_t^2},$$
#
# and in the square of the first over twice the second almost everything cancels:
#
# $$D_{\mathrm{KL}} = \frac12 \left( \frac{a_r^2}{s_r^2} - \frac{a_t^2}{s_t^2} \right) \lVert x_0 - \hat x_0 \rVert^2 .$$
#
# The fraction $a^2 / s^2$ is the **signal-to-noise ratio**. So a step of the way back costs the squared error of the
# guess, times half of what the signal-to-noise ratio has lost in this step ([Kingma et al.,
# 2021](https://arxiv.org/abs/2107.00630)). We check the algebra on all three paths:

# %%
moments = torch.linspace(0.05, 0.95, 19, dtype=torch.double)
for name, path in diffusion.PATHS.items():
    a, s = path().shares(moments)
    a_r, s_r, a_t, s_t = a[:-1], s[:-1], a[1:], s[1:]  # each time and the next one
    rho = a_t * s_r / (a_r * s_t)
    factor, variance = a_r - rho * s_r * a_t / s_t, s_r**2 * (1 - rho**2)
    weight = (a_r**2 / s_r**2 - a_t**2 / s_t**2) / 2
    assert torch.allclose(factor**2 / (2 * variance), weight)
    print(f"{name:>8}: weights from {weight[0]:.1f} near the data", end=" ")
    print(f"to {weight[-1]:.4f} near the noise")

# %% [markdown]
# So the whole bound is a sum of squared errors. To train, one draws a time, adds noise, and asks for the example back.
#
# **Which weights?** The same error can be written in terms of the noise. Since
# $x_t = a\, x_0 + s\, \epsilon = a\, \hat x_0 + s\, \hat\epsilon$, we have
# $a\,(x_0 - \hat x_0) = -s\,(\epsilon - \hat\epsilon)$, and
# $\lVert \epsilon - \hat\epsilon \rVert^2 = \frac{a^2}{s^2}\, \lVert x_0 - \hat x_0 \rVert^2$. Ho, Jain and Abbeel let the
# network predict the noise, and then dropped the weights:
#
# $$L_{\text{simple}} = \mathbb E_{t, x_0, \epsilon}\, \lVert \epsilon - \hat\epsilon(x_t, t) \rVert^2, \qquad
#   t \text{ uniform in } [0, 1] .$$
#
# This is no longer the bound, but a differently weighted sum of the same errors; in their experiments it gave the better
# pictures and the bound the better likelihoods. In the figure are the weights with which an error of $\hat x_0$ counts at
# each time on the cosine path: in the bound, and in unweighted losses of the noise, of the example itself, and of the
# velocity, which comes next.

# %% mystnb={"image": {"alt": "Four curves on a logarithmic axis. Those of the bound, the noise and the velocity fall from high values near time 0; that of the clean example is level. Near time 1 those of the bound and the noise fall towards zero, that of the velocity stays near one."}}
t = torch.linspace(0.01, 0.99, 99)
ratio = (1 / (math.pi / 2 * t).tan()) ** 2  # signal to noise, on the cosine path
weights = {
    "bound": -torch.gradient(ratio, spacing=0.01)[0] / 2,
    "noise": ratio,
    "velocity": 1 + ratio,  # up to a constant; see below
    "clean example": torch.ones_like(t),
}
for name, weight in weights.items():
    plt.semilogy(t, weight, label=name)
plt.xlabel("time")
plt.ylabel("weight of the error of the guess")
plt.legend()
plt.show()
assert weights["bound"][4] > 10 * weights["noise"][4]

# %% [markdown]
# The bound counts errors at small noise far more than errors at large noise. The unweighted loss of the noise shifts the
# balance towards larger noise, where the first figure of this chapter shows the shape of a digit but not its grey
# values. The loss of the velocity does the same, and its weight does not vanish at the end.

# %% [markdown]
# ## Three questions with one answer
#
# At a point $x_t = a\, x_0 + s\, \epsilon$ one may ask the network for the noise $\epsilon$, for the clean example $x_0$, or
# for the **velocity**, the derivative with respect to time of a point on its path,
#
# $$v = \dot x_t = \dot a\, x_0 + \dot s\, \epsilon ,$$
#
# where the dot marks the slope of a share ([Salimans and Ho, 2022](https://arxiv.org/abs/2202.00512), up to a constant).
# As $x_t$ is known, each answer contains the others:
#
# | predicted | the clean example | the noise |
# | --- | --- | --- |
# | noise $\hat\epsilon$ | $(x_t - s\, \hat\epsilon) / a$ | $\hat\epsilon$ |
# | clean example $\hat x_0$ | $\hat x_0$ | $(x_t - a\, \hat x_0) / s$ |
# | velocity $\hat v$ | $(\dot s\, x_t - s\, \hat v) / (a \dot s - s \dot a)$ | $(a\, \hat v - \dot a\, x_t) / (a \dot s - s \dot a)$ |
#
# The last row solves the two equations $x_t = a\, x_0 + s\, \epsilon$ and $v = \dot a\, x_0 + \dot s\, \epsilon$. On the
# cosine path, where $a = \cos\varphi$ and $s = \sin\varphi$ with $\varphi = \pi t / 2$, it has a picture: $x_t$ and
# $\frac{2}{\pi} v = \cos\varphi\; \epsilon - \sin\varphi\; x_0$ are $x_0$ and $\epsilon$, turned by the angle $\varphi$.
# Turning back divides by nothing, and a turn makes no error larger.
#
# The other two rows divide, by $a$ or by $s$, and that is where they tell nothing. Near $t = 1$ the point *is* the noise: a
# network that returns its input predicts the noise almost perfectly and knows nothing of the example. An error of 0.01 in the noise then
# becomes an error of $0.01\, s / a$ in the example. Near $t = 0$ it is the other way round.

# %%
grown, path = {}, diffusion.cosine_path()
x = torch.tensor(0.5)  # any point
for t in (0.02, 0.5, 0.98):
    at = path.shares(torch.tensor(t)) + path.slopes(torch.tensor(t))
    for name in ("noise", "clean", "velocity"):
        split = diffusion.PREDICTIONS[name].split
        right, wrong = (
            split(torch.tensor(0.0), x, *at),
            split(torch.tensor(0.01), x, *at),
        )
        grown[name, t] = [
            (w - r).abs().item() for r, w in zip(right, wrong, strict=True)
        ]


# %%
print("an error of 0.01 becomes, in the example and in the noise:")
for (name, t), (clean, noise) in grown.items():
    print(f"t = {t:.2f}, said as {name:8s}: {clean:.4f} and {noise:.4f}")
assert grown["noise", 0.98][0] > 0.3 < grown["clean", 0.02][1]
assert all(max(grown["velocity", t]) < 0.01 for t in (0.02, 0.5, 0.98))

# %% [markdown]
# At the noisy end a small error of the noise becomes an error of the example thirty times as large; at the clean end
# an error of the example does the same to the noise. The velocity has no such end. It is what our networks predict.
#
# And its weight in the figure above? With $x_t$ given, $\epsilon - \hat\epsilon = -\frac{a}{s}(x_0 - \hat x_0)$, so
# $\frac2\pi (v - \hat v) = -\big(\frac{a^2}{s} + s\big)(x_0 - \hat x_0) = -\frac1s (x_0 - \hat x_0)$, and
# $1 / s^2 = 1 + a^2 / s^2$: the weights of the clean example and of the noise, added up.

# %% [markdown]
# ## From scratch
#
# Now a model on points in the plane, where everything can be seen. The data lie on a spiral, which is as wide as
# standard normal noise, so that neither outweighs the other.


# %%
def spiral(n):
    along = torch.rand(n, 1).sqrt()  # evenly along the arm, nearly
    turn = 3 * math.pi * along
    points = 2 * along * torch.cat([turn.cos(), turn.sin()], dim=1)
    return points + 0.04 * torch.randn(n, 2)


def shares(t):  # the cosine path
    return (math.pi / 2 * t).cos(), (math.pi / 2 * t).sin()


# %%
class PointDenoiser(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        hidden = [nn.Linear(width, width), nn.SiLU()] * 2
        first, last = nn.Linear(2 + 8, width), nn.Linear(width, 2)
        self.layers = nn.Sequential(first, nn.SiLU(), *hidden, last)

    # x: (n, 2), t: (n, 1) -> the velocity, (n, 2)
    def forward(self, x, t):
        waves = math.pi * t * torch.tensor([0.5, 1.0, 2.0, 4.0])
        return self.layers(torch.cat([x, waves.cos(), waves.sin()], dim=1))


def loss_of(network, x, t, noise):
    a, s = shares(t)
    velocity = math.pi / 2 * (a * noise - s * x)
    return F.mse_loss(network(a * x + s * noise, t), velocity)


# %% [markdown]
# The training loop draws points, times and noise and lowers a squared error. Besides, we keep a copy of the network whose
# weights are a running average, $\bar\theta \leftarrow 0.995\, \bar\theta + 0.005\, \theta$, and draw samples with the copy.
# What that is good for is measured in "When it fails", for which we store both networks at eight moments.


# %%
@torch.no_grad()
def follow(slow, quick, share=0.005):
    for mine, others in zip(slow.parameters(), quick.parameters(), strict=True):
        mine.lerp_(others, share)


# %%
torch.manual_seed(0)
network = PointDenoiser()
averaged, stored = copy.deepcopy(network), []
optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
for update in range(1, updates + 1):
    x, t = spiral(500), torch.rand(500, 1)
    loss = loss_of(network, x, t, torch.randn_like(x))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    follow(averaged, network)
    if update % (updates // 8) == 0:
        stored.append((copy.deepcopy(network), copy.deepcopy(averaged)))


# %% [markdown]
# To draw, begin with noise, and take the steps of the way back.


# %%
@torch.no_grad()
def draw(network, x, steps):
    seen = [x]
    for t, r in pairwise(torch.linspace(1, 0, steps + 1)):
        (a_t, s_t), (a_r, s_r) = shares(t), shares(r)
        v = network(x, t.expand(len(x), 1)) * 2 / math.pi
        clean, noise = a_t * x - s_t * v, s_t * x + a_t * v  # turned back
        rho = a_t * s_r / (a_r * s_t)
        fresh = (1 - rho**2).sqrt() * torch.randn_like(x)
        x = a_r * clean + s_r * (rho * noise + fresh)
        seen.append(x)
    return seen


torch.manual_seed(1)
chain = draw(averaged, torch.randn(2000, 2), 100)

# %% mystnb={"image": {"alt": "Six clouds of points. The first is round; in the following ones it contracts, bends and splits into arms; the last is a spiral."}}
figure, panels = plt.subplots(2, 3, figsize=(6, 4.2), sharex=True, sharey=True)
for ax, step in zip(panels.flat, [0, 40, 60, 75, 88, 100], strict=True):
    ax.scatter(*chain[step].T, s=1)
    ax.set_title(f"time {1 - step / 100:.2f}", fontsize=11)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
plt.show()

# %% [markdown]
# The cloud begins round and ends as a spiral. Its coarse shape comes first, and the thin arm in the last steps. How good
# is it? We measure how far the points are from the spiral's middle line, and how evenly they are spread along it.


# %%
line = torch.linspace(0, 1, 2001)[:, None]
turn = 3 * math.pi * line
line = 2 * line * torch.cat([turn.cos(), turn.sin()], dim=1)


def on_the_line(x):  # median distance; share near; share in the emptiest tenth
    distance, place = torch.cdist(x, line).min(dim=1)
    tenth = (10 * (place / 2001) ** 2).long()  # as many data in each
    least = torch.bincount(tenth, minlength=10).min() / len(x)
    return distance.median().item(), (distance < 0.15).float().mean().item(), least


# %%
torch.manual_seed(2)
quality = {
    "data": on_the_line(spiral(2000)),
    "samples": on_the_line(chain[-1]),
    "noise": on_the_line(chain[0]),
}
print("          distance   near   emptiest tenth of the arm")
for name, (distance, near, least) in quality.items():
    print(f"{name:>8}: {distance:8.3f} {near:6.1%} {least:8.1%}")
if profile != "smoke":
    assert quality["samples"][1] > 0.85 > 0.4 > quality["noise"][1]
    assert quality["samples"][2] > 0.04

# %% [markdown]
# Most samples lie on the arm, and no part of it is missing. There was one network, one loss and no opponent.
#
# **The field of arrows.** At any place and time the network predicts a velocity: that of the points when noise is added. The
# way back goes along $-\hat v$. Here is that field at four times, over noisy data of the same time.


# %%
side = torch.linspace(-2.8, 2.8, 15)
grid = torch.cartesian_prod(side, side)


@torch.no_grad()
def guesses(x, t):  # what the averaged network takes for the clean points
    a, s = shares(torch.tensor(t))
    return a * x - s * averaged(x, torch.full((len(x), 1), t)) * 2 / math.pi


spread = {}
for t in (0.95, 0.6, 0.3, 0.1):
    a, s = shares(torch.tensor(t))
    x = a * spiral(2000) + s * torch.randn(2000, 2)
    spread[t] = guesses(x, t).std(dim=0).mean().item()
    print(f"time {t:.2f}: the guesses of x0 have a spread of {spread[t]:.2f}")
assert profile == "smoke" or 3 * spread[0.95] < spread[0.1]


# %% mystnb={"image": {"alt": "Four panels of arrows over grey points. At time 0.95 the arrows are much alike; at the earlier times they point inwards, and then, more and more, to the nearest stretch of the spiral."}}
figure, panels = plt.subplots(2, 2, figsize=(6, 6), sharex=True, sharey=True)
for ax, t in zip(panels.flat, spread, strict=True):
    a, s = shares(torch.tensor(t))
    cloud = a * spiral(2000) + s * torch.randn(2000, 2)
    with torch.no_grad():
        arrows = -averaged(grid, torch.full((len(grid), 1), t))
    ax.scatter(*cloud.T, s=1, color="#999999")
    ax.quiver(*grid.T, *arrows.T, color=plots.COLOURS[0], width=0.006)
    ax.set_title(f"time {t:.2f}", fontsize=11)
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
plt.show()

# %% [markdown]
# At time 0.95 a point says next to nothing about where it came from. The best guess is close to the mean of the data for
# all of them, and the printed spread of the guesses is small. Near the end of the cosine path $\dot s_t$ is almost 0 and
# $\dot a_t$ almost $-\pi / 2$, so $-\hat v$ is almost $\frac\pi2 \hat x_0$: the arrows are much alike. With less noise the
# guesses spread out, and an arrow leads to that stretch of the arm that is near. At time 0.1 the field draws the spiral.

# %% [markdown]
# ## With the package
#
# `aigc_course.diffusion` has the same parts under the same names: paths with their shares and slopes, what a network may
# predict, and samplers. A sampler wants a function that guesses $x_0$ and $\epsilon$. `ddim` with $\eta = 1$ takes the
# steps that we have derived; with the same noise, its points must be ours. (This $\eta$ is a number, not the noise of
# the forward process: it scales the fresh noise $z$. With $\eta = 0$ there is none, and a sample depends on its first
# noise alone; that is DDIM, [Song, Meng and Ermon, 2021](https://arxiv.org/abs/2010.02502).)


# %%
@torch.no_grad()
def guess(x, t):  # t: one time per point
    path, t = diffusion.cosine_path(), t[:, None]
    split = diffusion.PREDICTIONS["velocity"].split
    return split(averaged(x, t), x, *path.shares(t), *path.slopes(t))


torch.manual_seed(1)
again = diffusion.ddim(
    guess, diffusion.cosine_path(), torch.randn(2000, 2), 100, eta=1.0
)
print(f"largest difference {(again - chain[-1]).abs().max():.1g}")
assert torch.allclose(again, chain[-1], atol=1e-2)

# %% [markdown]
# ## The same thing, seen in another way: the score
#
# There is a second way to arrive at the same network. Let $p_t$ be the density of the noisy examples at time $t$. Its
# **score** is the gradient of its logarithm, $\nabla \log p_t(x)$, the direction in which examples become more likely.
# Given $x_0$, a noisy example is normal with mean $a x_0$ and variance $s^2$, so $p_t$ is the average over $x_0$ of
# $\mathcal N(x; a x_0, s^2 I)$, whose gradient is $-\frac{x - a x_0}{s^2}$ times itself. Hence
#
# $$\nabla \log p_t(x) = \frac{\nabla p_t(x)}{p_t(x)}
#   = \mathbb E\left[ -\frac{x - a x_0}{s^2} \,\middle|\, x_t = x \right]
#   = -\frac{1}{s}\; \mathbb E\big[\epsilon \mid x_t = x\big] .$$
#
# And the answer that makes a squared error smallest is the mean of what is asked for, given what is known. So a network
# that predicts the noise learns $\mathbb E[\epsilon \mid x_t]$, which is minus $s$ times the score. Solved for the clean
# example instead, the equation reads
#
# $$\mathbb E[x_0 \mid x_t] = \frac{x_t + s^2\, \nabla \log p_t(x_t)}{a} ,$$
#
# which is known as **Tweedie's formula** ([Efron, 2011](https://doi.org/10.1198/jasa.2011.tm11181)). Training a network by
# taking noise away is therefore called *denoising score matching* ([Vincent,
# 2011](https://doi.org/10.1162/NECO_a_00142)). The density itself, whose integral nobody can do, is never needed.
#
# We check it on a mixture of three Gaussians. With noise it is a mixture again, with means $a \mu_k$ and variances
# $a^2 \sigma_k^2 + s^2$, so $\log p_t$ has a formula, and PyTorch differentiates it. On the other side stands the mean of
# the noise, from the responsibilities of the components.


# %%
means = torch.tensor([[1.0, 0.5], [-1.0, 0.0], [0.2, -1.0]])
stds, shares_of = torch.tensor([0.3, 0.2, 0.4]), torch.tensor([0.7, 0.2, 0.1])


def parts(x, a, s):  # logarithms of each component's part of the density
    off, variance = x[:, None] - a[..., None] * means, a**2 * stds**2 + s**2
    logs = (
        -off.square().sum(dim=-1) / (2 * variance) - (2 * math.pi * variance).log()
    )
    return logs + shares_of.log(), off, variance


# %%
def exact(path):  # the best guesses of x0 and of the noise
    def guess(x, t):
        a, s = path.shares(t[:, None])
        logs, off, variance = parts(x, a, s)
        noise = (logs.softmax(dim=1) * s / variance)[..., None] * off
        clean = (logs.softmax(dim=1) * a * stds**2 / variance)[..., None] * off
        clean = clean + logs.softmax(dim=1)[..., None] * means
        return clean.sum(dim=1), noise.sum(dim=1)

    return guess


# %%
torch.manual_seed(0)
path = diffusion.cosine_path()
x, t = 2 * torch.randn(1000, 2), 0.05 + 0.9 * torch.rand(1000)
a, s = path.shares(t[:, None])
x.requires_grad_()
score = torch.autograd.grad(parts(x, a, s)[0].logsumexp(dim=1).sum(), x)[0]
with torch.no_grad():
    clean, noise = exact(path)(x, t)


# %%
error = (score + noise / s).abs().max().item()
print(f"score against minus noise / s: largest difference {error:.1g},")
print(f"the scores have lengths up to {score.norm(dim=1).max():.0f}")
assert torch.allclose(score, -noise / s, rtol=1e-3, atol=1e-2)
assert torch.allclose(clean, (x + s**2 * score) / a, rtol=1e-3, atol=1e-2)

# %% [markdown]
# With this exact denoiser a sampler must draw from the mixture itself. Three samplers of the package, with
# 100 steps each: ours, DDIM, and Heun's method, which goes along the same field as DDIM with two evaluations per step
# ([Karras et al., 2022](https://arxiv.org/abs/2206.00364)):

# %%
torch.manual_seed(0)
centre = shares_of @ means
second = (means.T * shares_of) @ means + (shares_of * stds**2).sum() * torch.eye(2)
truth = centre, second - torch.outer(centre, centre)


def off_by(x):  # largest errors of the mean and of the covariance
    wrong = x.mean(dim=0) - truth[0], x.T.cov() - truth[1]
    return [part.abs().max().item() for part in wrong]


# %%
three = {
    "ancestral": (diffusion.ddim, {"eta": 1.0}),
    "DDIM": (diffusion.ddim, {}),
    "Heun": (diffusion.heun, {}),
}
for name, (sampler, options) in three.items():
    start = torch.randn(crowd, 2)
    wrong = off_by(sampler(exact(path), path, start, 100, **options))
    print(f"{name:>9}: mean off by {wrong[0]:.3f}, covariance by {wrong[1]:.3f}")
    assert profile == "smoke" or max(wrong) < 0.05

# %% [markdown]
# Mean and covariance come out right, and what is left shrinks with the number of points and of steps. So what a trained
# model draws wrongly is due to its network, to where it begins, or to too few steps.

# %% [markdown]
# ## Digits: the U-Net
#
# For pictures nothing changes but the network. It takes a noisy picture and must say one number per pixel, so it has to
# see both the whole (which digit is this?) and the detail (where exactly is the edge?). The **U-Net** ([Ronneberger, Fischer
# and Brox, 2015](https://arxiv.org/abs/1505.04597)) goes down to a lower resolution, where a few layers see the whole picture,
# and up again, and hands what it saw at the high resolution across to the way up.

# %% tags=["hide-input"]
across = ["xₜ", "P", "R₁", "↓", "R₂", "A", "R₃", "↑", "R₄", "P⁻¹", "v"]
columns = [0, 0.9, 1.8, 1.8, 2.7, 3.6, 4.5, 5.4, 5.4, 6.3, 7.2]
rows = [0, 0, 0, 1.2, 1.2, 1.2, 1.2, 1.2, 0, 0, 0]
places = dict(zip(across, zip(columns, rows, strict=True), strict=True))
diagrams.draw(
    "The noisy picture goes through P, R1, a downward arrow, R2, A and R3, an "
    "upward arrow, R4 and the inverse of P to the velocity v. A second path leads "
    "from R1 straight to R4. Time t and class y go into g, and g into R2.",
    {**places, "t": (0.9, 2.1), "y": (0.9, 2.8), "g": (1.8, 2.45)},
    [tuple(across), ("R₁", "R₄"), ("t", "g"), ("y", "g"), ("g", "R₂")],
    observed=["xₜ", "y"],
    bare=["t", "v"],
    notes={"xₜ": "28×28", "P": "14×14", "A": "7×7", "P⁻¹": "28×28"},
)

# %% [markdown]
# The letters, each a few lines in `diffusion.UNet`:
#
# - $P$ folds each square of 2×2 pixels into four channels, so that 28×28 pixels become 14×14 positions with four numbers;
#   $P^{-1}$ unfolds them. Nothing is lost, and the convolutions have a quarter of the positions to visit.
# - $R$ is a **residual block**: two convolutions whose output is added to the input, with group normalisation before
#   each.
# - ↓ is a convolution with stride 2, ↑ repeats each position four times. Where two arrows meet at $R_4$, the channels are
#   concatenated.
# - $A$ is [self-attention](../language/attention.ipynb) among the 49 positions.
# - $g$ makes a vector of time $t$ and class $y$, and each $R$ (only one arrow is drawn) scales and shifts its channels by
#   it, as the class does in the [conditional GAN](../gan/conditional_gan.ipynb). Time enters as sines and cosines of
#   several frequencies, as in "From scratch". For one training example in ten the class is withheld, so that the same
#   network also learns to draw without one.

# %%
for part, settings in diffusion.recipe(profile).items():
    print(part)
    pprint(settings, sort_dicts=False)
network = diffusion.UNet(**diffusion.recipe(profile)["model"]["network"])
print(f"{sum(p.numel() for p in network.parameters()):,} parameters")

# %% [markdown]
# `diffusion.train` builds the model, `Diffusion(UNet(**network), …)`, and calls `training.fit`. What should the loss be at
# first? The new network says 0, so its loss is the mean square of the velocity: $(\pi/2)^2$ times the average of
# $a^2 + s^2 x_0^2$ over the times and the pixels, and $a^2$ and $s^2$ are each one half on average.

# %%
at_first = (math.pi / 2) ** 2 * (1 + x_train.square().mean()) / 2
print(f"a network that always says 0 has the loss {at_first:.3f}")
model, history = diffusion.train(profile)
first, last = history["val_loss"][0], history["val_loss"][-1]
print(
    f"validation loss: {first:.3f} after the first epoch, {last:.3f} after the last"
)
if profile != "smoke":
    assert at_first > 2 * first > 3 * last

# %% mystnb={"image": {"alt": "Training and validation loss on a logarithmic axis: both fall steeply at first and then slowly flatten, close together."}}
ax = plots.curves(
    history, ["train_loss", "val_loss"], ylabel="mean squared error of v"
)
ax.set_yscale("log")
plt.show()

# %% [markdown]
# The loss falls steeply and then more and more slowly, and it does not go to zero. It cannot: what $x_t$ does not tell
# about the noise, no network can know. So a loss of a diffusion model has no meaning by itself; that it still falls on
# held-out digits is the good sign. (The curve of the validation digits jumps a little, because their times and noise are
# drawn anew in each epoch.)

# %% [markdown]
# ## Look at it
#
# Ten classes, eight of each, by ancestral sampling in twenty steps. (How their number matters is measured below.)

# %%
torch.manual_seed(0)
wanted = torch.arange(samples) % 10
drawn = diffusion.ddim(
    model.guess(wanted), model.path, torch.randn(samples, 1, 28, 28), steps, eta=1.0
)
drawn = (drawn.clamp(-1, 1) + 1) / 2  # back to [0, 1]

# %% mystnb={"image": {"alt": "Ten rows of eight generated digits, one row per class from 0 to 9, each written a little differently."}}
order = torch.cat([torch.arange(digit, 80, 10) for digit in range(10)])
plots.image_grid(drawn[order], row_labels=[str(digit) for digit in range(10)])
plt.show()

# %% [markdown]
# And on the way? We stop at eight moments and show two things: what the sampler holds, and beside it what the network
# takes for the clean picture at that moment.


# %%
def watch(guess, seen):
    def watching(x, t):
        clean, noise = guess(x, t)
        seen.append((x, clean))
        return clean, noise

    return watching


torch.manual_seed(5)
seen = []
classes = torch.tensor([2, 8])
noise = torch.randn(2, 1, 28, 28)
diffusion.ddim(watch(model.guess(classes), seen), model.path, noise, steps, eta=1.0)
shown = [seen[int(k)] for k in torch.linspace(0, steps - 1, 8)]

# %% tags=["gallery"] mystnb={"image": {"alt": "Two pairs of rows of eight pictures. The upper row of each pair goes from noise to a digit, the lower one from a grey blur to the same digit."}}
rows = [
    [pair[kind][digit] for pair in shown] for digit in (0, 1) for kind in (0, 1)
]
sheet = torch.stack([picture for row in rows for picture in row])
plots.image_grid((sheet.clamp(-1, 1) + 1) / 2, row_labels=["held", "guessed"] * 2)
plt.show()
# %%
spread = [pair[1].std().item() for pair in (seen[0], seen[-1])]
print(f"spread of the guessed pixels: {spread[0]:.2f} first, {spread[1]:.2f} last")
assert profile == "smoke" or spread[0] < 0.9 * spread[1]

# %% [markdown]
# The guess begins as a blur, the average of what the noise may have come from, and sharpens as the sampler goes on. The
# large shape stands before the picture that is held shows anything to our eyes.

# %% [markdown]
# ## Measure it
#
# A thousand samples, a hundred of each class, by the course's judge, which is a small digit classifier:
#
# - `judge_accuracy`: how many are read as the class that was asked for;
# - `confident_share`: of how many the judge is at least 90 % sure;
# - `judge_frechet_distance`: how far the samples lie, as a crowd, from the training digits. Beside it belongs its **floor**,
#   the distance of real digits: of the thousand held-out ones, and of twenty random splits of all 5,000 into one
#   thousand and four.

# %%
training_digits, held_out = (
    (x_train + 1) / 2,
    torch.cat([data.split(name)[0] for name in ("validation", "test")]),
)
known = metrics.judge_features(training_digits)
everything = torch.cat([known, metrics.judge_features(held_out)])
torch.manual_seed(0)
floors = metrics.floor_distances(everything, samples)


# %%
def judged(x, asked):  # accuracy, confident share, distance
    distance = metrics.frechet_distance(metrics.judge_features(x), known)
    return metrics.judge_accuracy(x, asked), metrics.confident_share(x), distance


labels = torch.cat([data.split(name)[1] for name in ("validation", "test")])
accuracy, sure, distance = judged(drawn, wanted)
real = judged(held_out[:samples], labels[:samples])
print(f"judge {metrics.JUDGE_SHA256[:8]}; {samples} pictures against 4000")
print("                  as asked    sure   distance")
print(f"held-out digits   {real[0]:8.1%} {real[1]:7.1%} {real[2]:10.2f}")
print(f"samples           {accuracy:8.1%} {sure:7.1%} {distance:10.2f}")
print(f"random splits of real digits: {floors.mean():.2f} ± {floors.std():.2f}")
assert profile == "smoke" or real[0] > accuracy > 0.8
assert profile == "smoke" or real[1] > sure > 0.8
assert profile == "smoke" or distance > floors.mean() + 2 * floors.std()

# %% [markdown]
# Most samples are read as what was asked for, and the judge is sure of most of them, though of fewer than of real digits:
# in some, strokes are missing or do not fit together. The distance is above the floor as well. The figures of the GAN chapters are
# on the page [Measured times and figures](../../book/results.md): the DCGAN's `judge distance` is measured with the same
# judge, the same reference and as many pictures. (It was not told the classes, and they are even here.)
#
# Are they copies? A model that hands out its training digits would pass all three tests. So we look for the nearest training
# digit of each sample, and compare with the distance at which held-out digits lie. As a check that the test can fail,
# the third line is training digits with a little noise.

# %%
torch.manual_seed(0)
copies = (training_digits[:samples] + 0.05 * torch.randn(samples, 1, 28, 28)).clamp(
    0, 1
)
near = {}
for name, x in {"held-out": held_out, "samples": drawn, "copies": copies}.items():
    near[name] = metrics.nearest(x, training_digits).distances.median().item()
    print(
        f"{name:>8}: median distance to the nearest training digit {near[name]:.2f}"
    )
assert near["copies"] < 0.5 * near["held-out"]
assert profile == "smoke" or near["samples"] > 0.7 * near["held-out"]

# %% [markdown]
# ## When it fails
#
# **Signal is left at the end.** The forward process must end where sampling begins. Suppose the rates of a linear path are too
# small. Per unit of time, which is a thousand of Ho's steps, they rise from 0.1 to 20; let it be from 0.1 to 2. Then at
# time 1 a good share of signal is left in every training example, and sampling begins at noise without any. On the
# mixture, with the exact denoiser of each path:

# %%
torch.manual_seed(0)
start = torch.randn(crowd, 2)
for last in (20.0, 2.0):
    path = diffusion.linear_path(0.1, last)
    left = path.shares(torch.tensor(1.0))[0]
    x = diffusion.ddim(exact(path), path, start, 200, eta=1.0)
    wrong = off_by(x)
    print(f"rates up to {last:2.0f}: signal left {left:.3f};", end=" ")
    print(f"mean off by {wrong[0]:.3f}, covariance by {wrong[1]:.3f}")
assert profile == "smoke" or max(wrong) > 0.08

# %% [markdown]
# With a perfect denoiser the second crowd is still wrong. The error is in where it began.
#
# For digits we need no second training. The best guess of $x_0$ depends on the noisy picture and on how much noise is in it,
# not on the name that a path gives to that moment. On any path with $a^2 + s^2 = 1$ the moment with signal $a$ is the
# moment $t = \frac2\pi \arccos a$ of the cosine path. So a good denoiser for a path that ends with the signal $a$ left is
# our network, used from that time on, and its mistake is to begin there with pure noise.
#
# > **Predict, then run.** What is drawn if half of the signal is left at the end, and sampling begins with pure noise?
# > (a) The same digits, since the network can find a digit in anything. (b) Noise that never goes away. (c) Pictures that
# > are too bright.

# %%
labels_here, ends, failed = torch.arange(200) % 10, {}, {}
torch.manual_seed(0)
noise = torch.randn(200, 1, 28, 28)
for left in (0.0, 0.3, 0.5, 0.7):
    first = 2 / math.pi * math.acos(left)
    torch.manual_seed(1)
    x = diffusion.ddim(
        model.guess(labels_here),
        model.path,
        noise,
        steps,
        eta=1.0,
        first=first,
    )
    ends[left] = (x.clamp(-1, 1) + 1) / 2


# %% mystnb={"image": {"alt": "Four rows of samples, with more and more signal left at the end. The first row shows digits; further down there are more and more strokes, until nothing can be read."}}
row_labels = [f"{left:.1f} left" for left in ends]
plots.image_grid(torch.cat([x[:8] for x in ends.values()]), row_labels=row_labels)
plt.show()

# %%
print(f"mean brightness of training digits {training_digits.mean():.3f}")
energy = x_train.flatten(1).square().sum(dim=1).mean()
for left, x in ends.items():
    right = metrics.judge_accuracy(x, labels_here)
    failed[left] = x.mean().item(), right
    nats = left**2 * energy / 2 + 392 * (-(left**2) - math.log(1 - left**2))
    print(f"signal left {left:.1f}: brightness {x.mean():.3f},", end=" ")
    print(f"as asked {right:4.0%}; prior term {nats:6.1f} nats")
if profile != "smoke":
    light, right = zip(*failed.values(), strict=True)
    assert list(light) == sorted(light)
    assert list(right) == sorted(right, reverse=True)

# %% [markdown]
# It is (c). In training, a noisy picture at that time has a dark background, $-a$ on average, with noise over it. Pure
# noise has the mean 0. To the network it looks like a picture with more light in it than a digit has, and it draws one:
# the printed brightness rises, and fewer and fewer samples are read as asked. The last column is the prior term of the bound, $D_{\mathrm{KL}}\big(\mathcal N(a x_0, s^2 I) \,\|\, \mathcal N(0, I)\big)$ with
# $s^2 = 1 - a^2$: what the mistake costs in nats per picture, before the network has said a word. Large models were
# trained with a small such mistake, and could draw nothing very dark or very bright ([Lin et al.,
# 2024](https://arxiv.org/abs/2305.08891)).

# %% [markdown]
# **Too few steps.** The way back assumed that steps are small. We take fewer and fewer, from the same noise.

# %%
few, counts = {}, (1, 2, 5, 10, 20, 50)
labels_few = torch.arange(fewer) % 10
for count in counts:
    torch.manual_seed(1)
    noise = torch.randn(fewer, 1, 28, 28)
    x = diffusion.ddim(model.guess(labels_few), model.path, noise, count, eta=1.0)
    few[count] = (x.clamp(-1, 1) + 1) / 2

# %% mystnb={"image": {"alt": "Six rows of samples. With one step all are blurred; with two still soft; with more steps the digits become sharp."}}
names = [f"{count} step{'s' if count > 1 else ''}" for count in few]
plots.image_grid(torch.cat([x[:8] for x in few.values()]), row_labels=names)
plt.show()


# %%
def variety(x, asked):  # variance of the pixels within a class, mean over all
    return torch.stack([x[asked == k].var(dim=0).mean() for k in range(10)]).mean()


usual = variety(training_digits, labels_train)
by_steps = {}
print(f"{fewer} pictures    as asked    sure   distance   variety")
for count, x in few.items():
    by_steps[count] = (
        *judged(x, labels_few),
        (variety(x, labels_few) / usual).item(),
    )
    right, certain, far, varied = by_steps[count]
    print(f"{count:4d} steps     {right:8.1%} {certain:7.1%}", end=" ")
    print(f"{far:10.2f} {varied:9.2f}")


# %%
average = torch.stack(
    [training_digits[labels_train == k].mean(dim=0) for k in range(10)]
)
apart = (few[1] - average[labels_few]).square().mean().sqrt()
print(f"one step against the average of its class: {apart:.3f} off per pixel")
if profile != "smoke":
    assert by_steps[1][2] > 10 * by_steps[5][2]
    assert by_steps[2][2] > 1.5 * by_steps[5][2]
    varied = [row[3] for row in by_steps.values()]
    assert varied == sorted(varied)
    assert varied[0] < 0.1 < varied[-1] - 0.3
    assert apart < 0.15

# %% [markdown]
# One step draws the average of the class that was asked for, as the last line measures, whatever the noise: at $t = 1$ the
# best guess knows only the class. The last column of the table is the variance of the pixels within a class, as a multiple
# of that of real digits: with one step there is none, and it grows with the number of steps.
#
# Why is variety lost in large steps? A step back draws with the variance $\sigma^2 = s_r^2 (1 - \rho^2)$ of the way back
# that *knows* the example. Given $x_t$ alone, the variance is larger: the spread of the examples that $x_t$ may have come
# from adds to it, times the square of the factor $a_r - \rho\, s_r a_t / s_t$ with which $x_0$ enters the mean (the law of
# total variance). Each step leaves that part out, and the factor is the larger, the larger the step: it is $a_r$ if no signal is
# left at $t$, and 0 for $r = t$.
#
# Do not read the other columns alone. Digits near the average of their class are easy to read, so that few steps may score
# higher there than many; and the distance, which sees both clean strokes and variety, may be smallest somewhere in between.

# %% [markdown]
# **No averaging.** At a constant learning rate the weights never come to rest: each batch brings its own points, times
# and noise, and pulls them a little elsewhere. Of the eight stored pairs of networks from "From scratch" we compute the loss on one
# and the same set of points, times and noise. And we let each draw from the same noise as the others: by how much does a
# sample move from one stored moment to the next?

# %%
torch.manual_seed(3)
x, t, noise = spiral(20_000), torch.rand(20_000, 1), torch.randn(20_000, 2)


def drawn_by(net):
    torch.manual_seed(4)
    return draw(net, torch.randn(1000, 2), 20)[-1]


with torch.no_grad():
    losses = torch.tensor(
        [[loss_of(n, x, t, noise) for n in pair] for pair in stored]
    )
where = torch.stack(
    [torch.stack([drawn_by(net) for net in pair]) for pair in stored]
)
moved = where.diff(dim=0).norm(dim=-1).mean(dim=-1)  # (7, 2)

# %% mystnb={"image": {"alt": "Two panels with two lines each. Left the loss: averaging begins higher and ends lower. Right how far samples move between two moments: at the end less far with averaging."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3))
when = [(k + 1) * (updates // 8) for k in range(8)]
for ax, values in ((left, losses), (right, moved)):
    for k, (style, name) in enumerate([("--o", "as trained"), ("-o", "averaged")]):
        ax.plot(when[-len(values) :], values[:, k], style, label=name)
    ax.set_xlabel("updates")
left.set_ylabel("loss")
right.set_ylabel("move of a sample")
left.legend()
plt.show()

# %%
late_losses, late_moves = losses[-4:].mean(dim=0), moved[-4:].mean(dim=0)
print("mean of the last four:  as trained  averaged")
print(f"loss                    {late_losses[0]:10.4f} {late_losses[1]:9.4f}")
print(f"move of a sample        {late_moves[0]:10.3f} {late_moves[1]:9.3f}")
if profile != "smoke":
    assert losses[0, 0] < losses[0, 1]
    assert (losses[-4:, 0] > losses[-4:, 1]).all()
    assert late_moves[0] > late_moves[1]

# %% [markdown]
# At the first moment the average is the worse of the two: it still holds some of the random weights of the beginning. In all of
# the last four it has the lower loss, and its samples stay closer to where they were. The gain is small beside the loss
# itself. The average costs a second copy of the weights and no gradient. The other way to let the weights come to rest
# is to lower the learning rate to zero, as `Diffusion` does too. Does the average still matter then? For the digits:


# %%
def loss_of_digits(net, repeats=4):
    x, labels = data.split("validation")
    torch.manual_seed(0)
    total = 0.0
    for _ in range(repeats):
        t = (torch.arange(len(x)) + 0.5) / len(x)
        noise = torch.randn_like(x)
        t_beside = t[:, None, None, None]
        at = (*model.path.shares(t_beside), *model.path.slopes(t_beside))
        target = model.prediction.target(2 * x - 1, noise, *at)
        with torch.no_grad():
            said = net(model.path.noisy(2 * x - 1, t, noise), t, labels)
        total += F.mse_loss(said, target).item() / repeats
    return total


# %%
as_trained, as_averaged = map(
    loss_of_digits, (model.network, model.averaged.module)
)
print(f"as trained {as_trained:.4f}, averaged {as_averaged:.4f}")
assert profile == "smoke" or abs(as_trained / as_averaged - 1) < 0.05

# %% [markdown]
# Hardly: with a learning rate that falls to zero, the average adds next to nothing to the loss.

# %% [markdown]
# ## What the source articles got wrong here
#
# One says that diffusion models generate by gradient descent. The [errata](../../book/errata.md#errata-diffusion) take
# the sentence at its word, and so does the second exercise below.

# %% [markdown]
# ## The promise
#
# This chapter promises that at least 80 of 100 samples are read as the digit that was asked for, that the judge is sure of
# at least 80 of 100, and that the failures are seen.

# %%
figures = results.record(
    "denoising_diffusion",
    profile,
    judge_accuracy=round(accuracy, 3),
    confident_share=round(sure, 3),
    judge_distance=round(distance, 2),
    judge_distance_floor=round(real[2], 2),
    one_step_distance=round(by_steps[1][2], 2),
    brightness_half_signal_left=round(failed[0.5][0], 3),
)
print(
    figures["judge_accuracy"], figures["confident_share"], figures["judge_distance"]
)


# %%
if profile != "smoke":
    assert figures["judge_accuracy"] >= 0.8
    assert figures["confident_share"] >= 0.8
    assert failed[0.5][0] > 1.2 * failed[0.0][0], "signal left: too bright"
    assert by_steps[1][2] > 10 * by_steps[5][2], "too few steps"


# %% [markdown]
# ## Summary
#
# - Many small steps of noise are one large one: $x_t = a_t x_0 + s_t \epsilon$.
# - A step back keeps the part $\rho$ of the guessed noise and replaces the rest by fresh noise.
# - The evidence lower bound of the chain is a sum of squared errors of the guess $\hat x_0$, each weighted by the drop of the
#   signal-to-noise ratio; the losses in use have other weights.
# - Noise, clean example and velocity contain each other. The first says nothing where no signal is left, the second
#   nothing where no noise is.
# - A denoiser knows the score: $\nabla \log p_t(x) = -\mathbb E[\epsilon \mid x_t = x] / s_t$.
# - The forward process has to end where sampling begins, the steps have to be small, and the weights have to come to rest.
#
# ## Check yourself
#
# **1.** Let the data be standard normal, and $a^2 + s^2 = 1$. What are the best guesses of the noise and of the example?
# Work it out, then confirm it with a straight line fitted to draws.

# %% tags=["hide-cell"]
# @title Solution
torch.manual_seed(0)
x0, noise = torch.randn(2, 100_000)
for t in (0.2, 0.5, 0.8):
    a, s = shares(torch.tensor(t))
    x = a * x0 + s * noise
    of_noise = (x * noise).mean() / x.square().mean()
    of_example = (x * x0).mean() / x.square().mean()
    print(f"t = {t}: noise {of_noise:.3f} x ({s:.3f}), ", end="")
    print(f"example {of_example:.3f} x ({a:.3f})")
    assert abs(of_noise - s) < 0.02
    assert abs(of_example - a) < 0.02

# %% [markdown]
# <details><summary>Answer</summary>
#
# $x_t$ is standard normal as well, its score is $-x$, so $\hat\epsilon = s\, x$, and by Tweedie's formula
# $\hat x_0 = (x - s^2 x) / a = a\, x$. The velocity on the cosine path is
# $\frac{\pi}{2}(a\,\hat\epsilon - s\,\hat x_0) = 0$: noise and data have the same distribution, and nothing has to move.
#
# </details>
#
# **2.** "Diffusion models generate by gradient descent", says an article. Take it at its word: begin with noise and follow
# the gradient of $\log p(x)$ of the three Gaussians uphill, until nothing moves. What is drawn?

# %% tags=["hide-cell"]
# @title Solution
torch.manual_seed(0)
climbers, path = torch.randn(2000, 2), diffusion.cosine_path()
t = torch.full((2000,), 0.01)  # a trace of noise
for _ in range(3000):
    _, noise = exact(path)(climbers, t)
    climbers = climbers - 0.01 * noise / path.shares(t[:1])[1]
walkers = diffusion.ddim(exact(path), path, torch.randn(2000, 2), 100, eta=1.0)
spreads = []
for x in (climbers, walkers):
    nearest = torch.cdist(x, means).min(dim=1).values
    spreads.append(nearest.square().mean().div(2).sqrt().item())


# %% tags=["hide-cell"]
# @title Solution, continued
usual = (shares_of * stds**2).sum().sqrt()
print(
    f"distance from the nearest centre, per coordinate (data: about {usual:.2f}):"
)
print(f"uphill {spreads[0]:.3f}, the way back {spreads[1]:.3f}")
assert spreads[0] < 0.1 < 0.2 < spreads[1]


# %% [markdown]
# <details><summary>Answer</summary>
#
# Three points, each many times: the peaks of the density. Gradient descent looks for the most likely example; to
# generate is to draw examples as often as they occur. The way back has fresh noise in each step, or at least fresh noise at
# its start, and a field that changes with time.
#
# </details>
#
# **3.** Somebody multiplies the noise by $1 - \bar\alpha$ instead of its square root. The loss falls nicely. What goes wrong?

# %% tags=["hide-cell"]
# @title Solution
t = torch.linspace(0, 1, 6)
a, s = shares(t)
for time, total, mistaken in zip(t, a**2 + s**2, a**2 + s**4, strict=True):
    print(f"t = {time:.1f}: variance {total:.2f}, with the mistake {mistaken:.2f}")
assert torch.allclose(a**2 + s**2, torch.ones(6))
assert (a**2 + s**4).min() < 0.8


# %% [markdown]
# <details><summary>Answer</summary>
#
# The network is trained on points that have less noise than their time says. Ends agree ($s = 0$ and $s = 1$), so nothing
# looks wrong at the start or at the end of the chain. But in between the sampler, which has the right formula, holds points
# with more noise than any the network has seen at that time. The printed variances of data of variance 1 show where.
#
# </details>
#
# **4.** A VAE may suffer posterior collapse. Which term of its bound was to blame, and why is there no such danger here?
#
# <details><summary>Answer</summary>
#
# The KL term: the encoder can make it zero by ignoring the picture, and the decoder then gets no information. Here the encoder is
# fixed, its KL term (the prior term) is a constant, and the latent variables say as much about the example as the path
# wants.
#
# </details>
#
# **Graded assignment**: [diffusion and flow matching](../exercises/diffusion.ipynb).
#
# ## Further reading
#
# - J. Sohl-Dickstein et al., [Deep Unsupervised Learning using Nonequilibrium
#   Thermodynamics](https://arxiv.org/abs/1503.03585) (2015): the idea, ahead of its time.
# - J. Ho, A. Jain and P. Abbeel, [Denoising Diffusion Probabilistic Models](https://arxiv.org/abs/2006.11239) (2020).
# - A. Nichol and P. Dhariwal, [Improved Denoising Diffusion Probabilistic Models](https://arxiv.org/abs/2102.09672) (2021).
# - D. P. Kingma, T. Salimans, B. Poole and J. Ho, [Variational Diffusion Models](https://arxiv.org/abs/2107.00630) (2021):
#   the bound in terms of the signal-to-noise ratio.
# - P. Vincent, [A Connection Between Score Matching and Denoising Autoencoders](https://doi.org/10.1162/NECO_a_00142)
#   (2011); Y. Song and S. Ermon, [Generative Modeling by Estimating Gradients of the Data
#   Distribution](https://arxiv.org/abs/1907.05600) (2019); Y. Song et al., [Score-Based Generative Modeling through
#   Stochastic Differential Equations](https://arxiv.org/abs/2011.13456) (2021): the score, and both views in one.
# - T. Karras, M. Aittala, T. Aila and S. Laine, [Elucidating the Design Space of Diffusion-Based Generative
#   Models](https://arxiv.org/abs/2206.00364) (2022): the choices, one by one.
# - S. Lin, B. Liu, J. Li and X. Yang, [Common Diffusion Noise Schedules and Sample Steps are
#   Flawed](https://arxiv.org/abs/2305.08891) (2024).
#
# Next: [Sampling and guidance](sampling_and_guidance.ipynb), where the same network is asked in other ways.
