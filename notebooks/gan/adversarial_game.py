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
# # The adversarial game
#
# **After this chapter you can**
#
# - say what the two players of a generative adversarial network want, and why neither needs a likelihood;
# - derive the best discriminator, and the divergence that the generator lowers when it meets one;
# - choose the generator's loss by its gradient, and say which player takes a step on which loss;
# - write the game in two dozen lines and watch it on eight islands in the plane;
# - count a mode collapse, and name the two ways in which one player spoils the game for the other.
#
# **You need**: Python, PyTorch's tensors and gradients, and the Kullback–Leibler divergence from
# [What generating means](../foundations/generative_models.ipynb). The [notation](../../book/notation.md) is on a page
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
import io
import math

import matplotlib.pyplot as plt
import torch
from IPython.display import Image, display
from matplotlib.colors import LinearSegmentedColormap
from PIL import Image as Picture
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

# %%
from aigc_course import diagrams, gan, metrics, plots, results, training
from aigc_course.data import ImageData, RingData, ring_centres, sample_ring

plots.use_style()
profile = training.resolve_profile(profile)
# of 25 rounds each: the ring is as small on a GPU
intervals = {"smoke": 3, "cpu": 60, "gpu": 60}[profile]
# samples that are measured
count = {"smoke": 200, "cpu": 1000, "gpu": 1000}[profile]
print(f"Profile {profile}: {25 * intervals} rounds on the ring,", end=" ")
print(f"{gan.recipe('dense', profile)['fit']['max_epochs']} epochs on the digits")

# %% [markdown]
# ## Which one is real?
#
# Eight small Gaussians sit on a ring, and each is as likely as the others. One of the two pictures below shows 2,000
# draws from them. The other shows 2,000 draws from a network that was never told what a Gaussian is, how many there are,
# or where. Which is which?

# %% tags=["hide-input"]
# fresh points in every batch; 25 batches make an interval
ring = RingData(batch_size=256, batches=25)
torch.manual_seed(0)
ring_game = gan.GAN(
    gan.DenseGenerator(2, (2,)),
    gan.DenseDiscriminator((2,)),
    generator_lr=1e-3,
    discriminator_lr=1e-3,
)
# Networks as small as these gain nothing from a GPU.
ring_history = training.fit(
    ring_game, ring, max_epochs=intervals, seed=0, accelerator="cpu"
)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two scatter plots of eight clusters on a circle. In A the clusters are uneven, with stray points and thin threads between them. In B they are round and clean."}}
torch.manual_seed(1)
figure, axes = plt.subplots(1, 2, figsize=(6, 3.2), sharey=True)
for ax, name, points in zip(
    axes, "AB", (ring_game.sample(2000), sample_ring(2000)), strict=True
):
    ax.scatter(*points.T, s=2, color=plots.COLOURS[7])
    ax.set(
        title=name,
        xlim=(-3, 3),
        ylim=(-3, 3),
        aspect="equal",
        xlabel="first coordinate",
    )
axes[0].set_ylabel("second coordinate")
plt.show()

# %% tags=["hide-input"]
strays = [
    1 - metrics.ring_coverage(points, ring_centres(), std=0.1).share
    for points in (ring_game.sample(2000), sample_ring(2000))
]
assert profile == "smoke" or strays[0] > 2 * strays[1]

# %% [markdown]
# B is real. The strays and the thin threads between the islands give A away. In deciding, you have just played one of
# the two parts in this chapter's game.
#
# - The **discriminator** looks at an example and says how likely it is to be real.
# - The **generator** turns noise into an example, and wants the discriminator to take it for a real one.
#
# Your remark about the strays is exactly what the generator needs to hear. If it can find out *in which direction* to
# move each point so that you would have been less sure, it moves them, and you have to look more closely next time.
# Two networks that train each other in this way are a **generative adversarial network**, a GAN (Goodfellow et al.,
# 2014).
#
# What is gained? A VAE has to say how probable a picture is, or at least give a bound, and for that its decoder has to
# define a likelihood. Here nobody writes down a likelihood. The generator may be any network through which gradients
# flow, since it is judged by its samples alone.

# %% [markdown]
# ## Two players and one value
#
# The generator $G$ takes noise $z \sim p_z$, here a few independent standard normal numbers, and gives an example
# $G(z)$. These examples have some distribution $p_g$. It has no formula, but we can draw from it, and that is all we
# need. The data have the distribution $p_{\text{data}}$, and again we can only draw from it.
#
# The discriminator $D$ takes an example $x$ and gives a number $D(x)$ between 0 and 1, its probability that $x$ is
# real. It is an ordinary classifier with two classes, and is trained like one, by maximum likelihood. The mean
# log-likelihood of its answers on real examples, plus that on generated ones, is
#
# $$
# V(D, G) = \underbrace{\mathbb E_{x \sim p_{\text{data}}}\big[\log D(x)\big]}_{\text{real ones recognised}}
# + \underbrace{\mathbb E_{z \sim p_z}\big[\log\big(1 - D(G(z))\big)\big]}_{\text{generated ones recognised}} .
# $$
#
# This is the **value** of the game, in nats. Both terms are at most 0, and 0 means: right every time, and certain of it.
# The discriminator maximises $V$. The generator, which appears in the second term only, minimises it:
#
# $$\min_G \max_D V(D, G) .$$
#
# Both players share one value and want opposite things of it; such a game is called **minimax**. Note what it is not.
# There is no common loss that both of them lower, so there is no curve that has to fall.
#
# What would a *perfect* pair of players do? That can be worked out in three steps, and each step can be checked by
# numbers. We take a case where both densities are known: on the line, $p_{\text{data}}$ has two modes and $p_g$ only one.
# Integrals become sums over a fine grid.

# %%
x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
humps = [
    Normal(torch.tensor(mean, dtype=torch.float64), 0.6) for mean in (-1.5, 1.5)
]
p_data = sum(0.5 * hump.log_prob(x).exp() for hump in humps)
p_g = Normal(torch.tensor(0.5, dtype=torch.float64), 1.2).log_prob(x).exp()


def integral(values):
    return torch.trapezoid(values, x)


def value(D):
    return integral(p_data * torch.log(D) + p_g * torch.log(1 - D))


print(
    f"areas {integral(p_data):.6f} and {integral(p_g):.6f}; "
    f"V of a coin: {value(torch.full_like(x, 0.5)):.4f} nats"
)
assert math.isclose(value(torch.full_like(x, 0.5)), -math.log(4), abs_tol=1e-6)

# %% [markdown]
# A discriminator that tosses a coin, $D = \frac12$ everywhere, has the value $2 \log \frac12 = -\log 4 \approx -1.386$.
# Keep this number in mind; it will come back.

# %% [markdown]
# The game as a drawing. The solid arrows show how the value comes about: noise becomes an example, and the discriminator
# judges examples of both kinds. The dashed arrows are the two ways that a gradient takes. Both begin at the value. The
# discriminator's ends at its own weights, and the generator's goes on, *through* the discriminator and the example, to
# the generator.

# %% tags=["hide-input"]
diagrams.draw(
    "Noise z goes into the generator G, which gives an example G(z). It and the "
    "real example x go into the discriminator D, which leads to the value V. "
    "Dashed arrows lead back from V to D, and on from D by G(z) to G.",
    {
        **{"z": (0, 0), "G": (1.3, 0), "G(z)": (2.7, 0), "x": (2.7, 1.5)},
        **{"D": (4.1, 0.75), "V": (5.4, 0.75)},
    },
    [("z", "G", "G(z)", "D", "V"), ("x", "D")],
    dashed=[("V", "D", "G(z)", "G")],
    variables=["z"],
    observed=["x"],
    bare=["G(z)", "V"],
)

# %% [markdown]
# ## Step one: the best discriminator
#
# Hold the generator fixed. Since $x = G(z)$ has the distribution $p_g$, both terms of $V$ are averages over $x$, and we
# can write them as one integral:
#
# $$V(D, G) = \int \Big( p_{\text{data}}(x) \log D(x) + p_g(x) \log\big(1 - D(x)\big) \Big)\, dx .$$
#
# $D$ may take any value at any $x$, so the integral is largest if the integrand is largest at every single $x$. Write
# $a = p_{\text{data}}(x)$, $b = p_g(x)$, $y = D(x)$, and look for the top of $a \log y + b \log(1 - y)$:
#
# $$
# \begin{aligned}
# & \frac{\partial}{\partial y}\big(a \log y + b \log(1 - y)\big) = \frac ay - \frac b{1 - y} = 0 \\
# & \Longleftrightarrow\quad a (1 - y) = b\, y \quad\Longleftrightarrow\quad y = \frac a{a + b} .
# \end{aligned}
# $$
#
# The second derivative, $-a / y^2 - b / (1 - y)^2$, is negative everywhere, so this is the maximum and the only one.
# The best discriminator against a given generator is
#
# $$\boxed{D^*(x) = \frac{p_{\text{data}}(x)}{p_{\text{data}}(x) + p_g(x)}}$$
#
# It is a *ratio*. Of all the examples that land near $x$, it is the share that came from the data. From it alone one
# knows neither density: where both are tiny it may be anything. And if $p_g = p_{\text{data}}$, it is $\frac12$ everywhere.

# %%
best = p_data / (p_data + p_g)
torch.manual_seed(0)
for _ in range(100):  # however the best one's logits are disturbed, the value falls
    height, frequency, start = torch.randn(3)
    other = torch.sigmoid(
        torch.logit(best) + height * torch.sin(frequency * x + start)
    )
    assert value(other) < value(best)
print(f"V(D*, G) = {value(best):.4f} nats")

# %% [markdown]
# A real discriminator knows no densities; it sees draws. Does a network that learns from draws come to the same answer?
# We train a small one on $-V$, which is the usual **binary cross-entropy** with labels 1 for real and 0 for generated.
# The network gives a *logit* $\ell$, any real number, and $D = \operatorname{sigmoid}(\ell) = 1 / (1 + e^{-\ell})$. Then
# $-\log D = \log(1 + e^{-\ell}) = \operatorname{softplus}(-\ell)$ and $-\log(1 - D) = \operatorname{softplus}(\ell)$,
# which never overflow.

# %%
torch.manual_seed(0)
classifier = nn.Sequential(
    nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)
)
adam = torch.optim.Adam(classifier.parameters(), lr=3e-3)
for _ in range({"smoke": 20, "cpu": 800, "gpu": 800}[profile]):
    real = 0.6 * torch.randn(500, 1) + 1.5 * (2 * torch.randint(2, (500, 1)) - 1)
    fake = 0.5 + 1.2 * torch.randn(500, 1)
    # -V
    loss = (
        F.softplus(-classifier(real)).mean() + F.softplus(classifier(fake)).mean()
    )
    adam.zero_grad()
    loss.backward()
    adam.step()


# %%
with torch.no_grad():
    learnt = classifier(x[:, None].float()).sigmoid().squeeze(1).double()
print(
    f"V of the trained network {value(learnt):.4f} nats, "
    f"of the best discriminator {value(best):.4f}"
)
assert value(learnt) < value(best)
gap = (learnt - best).abs()
assert profile == "smoke" or gap[x.abs() < 2.5].mean() < 0.05
assert profile == "smoke" or gap[x.abs() > 4].max() > gap[x.abs() < 2.5].mean()


# %% mystnb={"image": {"alt": "Above: a density with two modes and one with a single mode. Below: the best discriminator, high at both modes of the data and low between them; a dashed curve follows it closely in the middle."}}
figure, (above, below) = plt.subplots(2, 1, figsize=(6, 4.6), sharex=True)
above.plot(x, p_data, label=r"$p_\mathrm{data}$")
above.plot(x, p_g, color=plots.COLOURS[3], label=r"$p_g$")
above.set_ylabel("density")
below.plot(x, best, color="black", label=r"$D^*$, the ratio")
below.plot(x, learnt, "--", color=plots.COLOURS[2], label="$D$, learnt from draws")
below.axhline(0.5, color="grey", linewidth=1)
below.set(
    xlabel="x", ylabel="probability of being real", xlim=(-4.5, 4.5), ylim=(0, 1)
)
for ax in (above, below):
    ax.legend()
plt.show()

# %% [markdown]
# The black curve is above one half where the data are denser, and below it where the generator is. The network learnt
# nearly the same curve from draws alone. Where it departs from it most, at the edges, hardly a draw falls. Its value is
# a little below the best, as it must be.
#
# Look at the slope between $0$ and $1$. It points to the right-hand mode: a generated point that lands there learns in
# which direction it would look more real. This slope is all that the generator ever gets to know about the data.

# %% [markdown]
# ## Step two: what the generator then lowers
#
# Suppose the discriminator is always at its best. Put $D^*$ into the value, and note that
# $1 - D^* = p_g / (p_{\text{data}} + p_g)$:
#
# $$
# V(D^*, G) = \mathbb E_{p_{\text{data}}}\!\left[\log \frac{p_{\text{data}}}{p_{\text{data}} + p_g}\right]
# + \mathbb E_{p_g}\!\left[\log \frac{p_g}{p_{\text{data}} + p_g}\right].
# $$
#
# These are nearly Kullback–Leibler divergences, but $p_{\text{data}} + p_g$ integrates to 2 and is no density. Its half
# is: let $m = \frac12 (p_{\text{data}} + p_g)$, the even mixture of both. Each fraction is then one half of a ratio to
# $m$, and each $\log \frac12$ comes out as $-\log 2$:
#
# $$
# \begin{aligned}
# V(D^*, G)
# &= -\log 4 + \mathbb E_{p_{\text{data}}}\!\left[\log \frac{p_{\text{data}}}{m}\right]
#   + \mathbb E_{p_g}\!\left[\log \frac{p_g}{m}\right] \\
# &= -\log 4 + D_{\mathrm{KL}}(p_{\text{data}} \,\|\, m) + D_{\mathrm{KL}}(p_g \,\|\, m) \\
# &= -\log 4 + 2 \, \mathrm{JS}(p_{\text{data}} \,\|\, p_g) .
# \end{aligned}
# $$
#
# The last line names the mean of the two divergences, the **Jensen–Shannon divergence**. It is symmetric, it is never
# negative, it is 0 only if the two distributions are the same, and it is never more than $\log 2$.


# %%
def kl(a, b):
    return integral(a * torch.log(a / b))


m = (p_data + p_g) / 2
js = 0.5 * kl(p_data, m) + 0.5 * kl(p_g, m)
print(
    f"JS divergence {js:.4f} nats, so 2 JS − log 4 = {2 * js - math.log(4):.4f}; "
    f"V(D*, G) = {value(best):.4f}"
)
assert math.isclose(2 * js - math.log(4), value(best), abs_tol=1e-9)
assert 0 < js < math.log(2)

# %% [markdown]
# ## Step three: where the game ends
#
# Against a perfect discriminator the generator lowers $2\,\mathrm{JS} - \log 4$. It can do no better than
# $\mathrm{JS} = 0$, that is $p_g = p_{\text{data}}$. There $D^* = \frac12$ everywhere and the value is $-\log 4$. Neither
# player gains by moving alone: a **Nash equilibrium**. The coin has come back: in the end even the best discriminator can
# only guess.
#
# So the game is a way to lower a divergence between two distributions from which we can only draw. That is a remarkable
# thing to have. It rests on three assumptions, and practice breaks each of them. The discriminator is *always at its
# best*; in training it takes a step or two and is never there. $D$ may take *any value at any* $x$; a network cannot. And
# that an equilibrium *exists* does not say that two players who follow their gradients arrive at it.

# %% [markdown]
# ## Two losses for the generator
#
# In the minimax game the generator lowers the part of $V$ that it can change, the **saturating loss**
# $\mathbb E_z[\log(1 - D(G(z)))]$. At the beginning its samples are poor and the discriminator is sure, $D(G(z)) \approx 0$.
# That is the moment when the generator needs its gradient most. Write $D = \operatorname{sigmoid}(\ell)$ and differentiate:
#
# $$
# \frac{\partial}{\partial \ell} \log(1 - D) = -D, \qquad\qquad \frac{\partial}{\partial \ell} \big({-\log D}\big) = D - 1 .
# $$
#
# On the left, the gradient vanishes with $D$: the surer the discriminator, the less the generator is told. On the right
# stands what Goodfellow et al. propose instead, the **non-saturating loss** $-\mathbb E_z[\log D(G(z))]$: not "lower the
# probability of being caught" but "raise the probability of being believed". Both derivatives are negative, so both
# losses push the logit up. They differ in *when* they push.

# %%
logits = torch.linspace(-8, 8, 201, requires_grad=True)
D = logits.sigmoid()
slopes = {
    "saturating, $\\log(1 - D)$": torch.autograd.grad(
        (-F.softplus(logits)).sum(), logits
    )[0],
    "non-saturating, $-\\log D$": torch.autograd.grad(
        F.softplus(-logits).sum(), logits
    )[0],
}


# %% mystnb={"image": {"alt": "Two curves of the derivative against the logit. The saturating one is near 0 for negative logits and falls to minus 1; the non-saturating one starts at minus 1 and rises to 0. They cross at a logit of 0."}}
for (label, slope), formula in zip(slopes.items(), (-D, D - 1), strict=True):
    assert torch.allclose(slope, formula, atol=1e-6)
    plt.plot(logits.detach(), slope, label=label)
plt.xlabel("logit ℓ (left: surely generated, right: surely real)")
plt.ylabel("derivative with respect to ℓ")
plt.legend()
plt.show()


# %% [markdown]
# The assertion checks both formulas against automatic differentiation. On the left of the picture, where training
# begins, the saturating loss is flat and the other one pushes with full force. On the right, where the generator has won,
# it is the reverse.
#
# The change has a price. With the non-saturating loss the players no longer share one value, and the theorem on the
# Jensen–Shannon divergence is about another game. (The equilibrium is the same. Against the best discriminator the new
# loss has the gradient of $D_{\mathrm{KL}}(p_g \,\|\, p_{\text{data}}) - 2\,\mathrm{JS}$, as Arjovsky and Bottou, 2017,
# show; they remark that the minus sign pushes the two distributions apart.) We use it all the same, as is usual.

# %% [markdown]
# ## From scratch
#
# Now the whole game, on the ring. Two small networks: the generator takes two numbers of noise to a point in the plane,
# the discriminator takes a point to a logit.


# %%
def two_players(width=128):
    generator = nn.Sequential(
        *[nn.Linear(2, width), nn.ReLU()],
        *[nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)],
    )
    layers = (
        *[nn.Linear(2, width), nn.LeakyReLU(0.2)],
        *[nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1)],
    )
    return generator, nn.Sequential(*layers, nn.Flatten(0))  # one logit per point


# %%
def discriminator_turn(generator, discriminator, x):
    with torch.no_grad():  # no step of the generator follows: no graph is needed
        fake = generator(torch.randn(len(x), 2))
    return (
        F.softplus(-discriminator(x)).mean()
        + F.softplus(discriminator(fake)).mean()
    )


def generator_turn(generator, discriminator, n):
    # here the gradient must come through the discriminator
    fake = generator(torch.randn(n, 2))
    return F.softplus(-discriminator(fake)).mean()


# %% [markdown]
# Which player takes a step on which loss is the one thing that is easy to get wrong. Each player has an optimiser of its
# own, and:
#
# - In the **discriminator's turn** only the discriminator takes a step. A step of the generator on this loss would teach
#   it to be found out. A *gradient* that reaches the generator's weights here does no harm as long as nobody uses it: the
#   generator's turn begins with `zero_grad`. But it costs time. `torch.no_grad()` builds no graph at all for the fakes;
#   `fake.detach()` cuts the graph after it was built.
# - In the **generator's turn** the gradient must come *through* the discriminator, since that is where the advice comes
#   from. A `detach` here would leave the generator with nothing. Gradients also accumulate in the discriminator's weights
#   on the way. Its optimiser does not step, and its next turn begins with `zero_grad`, which deletes them.


# %%
def step(adam, loss):
    adam.zero_grad()
    loss.backward()
    adam.step()


# %%
def play(generator, discriminator, g_lr=1e-3, d_lr=1e-3, beta=0.5, seed=0):
    g_adam = torch.optim.Adam(generator.parameters(), g_lr, betas=(beta, 0.999))
    d_adam = torch.optim.Adam(discriminator.parameters(), d_lr, betas=(beta, 0.999))
    torch.manual_seed(seed)
    for _ in range(intervals):
        for x, _ in ring.train_dataloader():  # 25 rounds, each on 256 fresh points
            step(d_adam, discriminator_turn(generator, discriminator, x))
            step(g_adam, generator_turn(generator, discriminator, len(x)))
        yield  # the players have time to be looked at


# %% [markdown]
# That is all of it: two dozen lines of code. (Adam's first momentum is 0.5 instead of the usual 0.9, as Radford, Metz and
# Chintala, 2015, recommend. Exercise 2 tries 0.9.) A property check before we start: whose weights does each turn give a
# gradient?

# %%
torch.manual_seed(0)
generator, discriminator = two_players()
discriminator_turn(generator, discriminator, sample_ring(256)).backward()
assert all(weight.grad is None for weight in generator.parameters())
assert all(weight.grad is not None for weight in discriminator.parameters())
generator_turn(generator, discriminator, 256).backward()
assert all(weight.grad is not None for weight in generator.parameters())
print(
    "the discriminator's turn leaves the generator alone; "
    "the generator's turn reaches it"
)

# %% [markdown]
# And does it matter that the first turn builds no graph for the fakes? We play the same rounds twice, once as above and
# once with gradients that flow into the generator in the discriminator's turn, where nobody uses them.


# %%
def turn_with_graph(generator, discriminator, x):
    fake = generator(torch.randn(len(x), 2))  # gradients will reach the generator
    return (
        F.softplus(-discriminator(x)).mean()
        + F.softplus(discriminator(fake)).mean()
    )


# %%
def weights_after(turn, rounds):
    torch.manual_seed(0)
    generator, discriminator = two_players()
    g_adam, d_adam = [
        torch.optim.Adam(player.parameters(), 1e-3, betas=(0.5, 0.999))
        for player in (generator, discriminator)
    ]
    for _ in range(rounds):
        step(d_adam, turn(generator, discriminator, sample_ring(256)))
        step(g_adam, generator_turn(generator, discriminator, 256))
    return nn.utils.parameters_to_vector(generator.parameters()).detach()


# %%
rounds = {"smoke": 5, "cpu": 200, "gpu": 200}[profile]
without, within = [
    weights_after(turn, rounds) for turn in (discriminator_turn, turn_with_graph)
]
assert torch.equal(without, within)
print(
    f"after {rounds} rounds all {len(without)} weights of the generator are equal"
)

# %% [markdown]
# To the last digit: a gradient that no optimiser uses teaches nobody. Detaching is *needed* where one batch of fakes, with
# one graph, serves both losses (exercise 4).
#
# While they play we take pictures: after every interval, where the generator puts 1,000 fixed codes, and the
# discriminator's answer $D(x)$ all over the plane.

# %%
side = torch.linspace(-3.2, 3.2, 65)
plane = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1).view(-1, 2)
# the game's random numbers stay as they are
codes = torch.randn(1000, 2, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def look(generator, discriminator):
    return generator(codes), discriminator(plane).sigmoid().view(65, 65)


def watch(seed=0, **settings):
    torch.manual_seed(seed)
    players = two_players()
    return [
        look(*players),
        *[look(*players) for _ in play(*players, seed=seed, **settings)],
    ]


# %%
film = watch()
first, last = [
    metrics.ring_coverage(points, ring_centres(), std=0.1)
    for points, _ in (film[0], film[-1])
]
for name, found in (("before", first), ("after", last)):
    print(
        f"{name}: {found.modes_found} of 8 modes found, "
        f"{100 * found.share:.0f} % of the samples near one"
    )
assert profile == "smoke" or first.share < 0.1 < 0.5 < last.share

# %% [markdown]
# The count is simple, because here we know the truth. A sample is *near* a mode if it lies within three standard
# deviations of its centre; a mode is *found* if at least 1 % of all samples are near it. Real points would score 8 of 8
# and 99 %.

# %%
verdict = LinearSegmentedColormap.from_list(
    "verdict", [plots.COLOURS[1], "white", plots.COLOURS[0]]
)


def draw(ax, points, field):
    shares, levels = field.clamp(0.001, 0.999), torch.linspace(0, 1, 11)
    ax.contourf(side, side, shares, levels=levels, cmap=verdict)
    rings = {"markersize": 13, "markerfacecolor": "none", "markeredgewidth": 0.8}
    ax.plot(*ring_centres().T, "o", color="black", **rings)
    ax.scatter(*points.T, s=3, color="black")
    ax.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal")
    ax.grid(False)


# %%
def frame(step):  # one picture of the loop, with a palette of its own
    figure, ax = plt.subplots(figsize=(4.6, 4.6), dpi=80)
    draw(ax, *film[step])
    ax.set(
        title=f"$t = {25 * step}$",
        xlabel="first coordinate",
        ylabel="second coordinate",
    )
    figure.canvas.draw()
    picture = Picture.frombuffer(
        "RGBA", figure.canvas.get_width_height(), figure.canvas.buffer_rgba()
    )
    plt.close(figure)
    return picture.convert("RGB").quantize(colors=48)


# %%
shown = [
    step
    for step in [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 28, 36, 47, 60]
    if step <= intervals
]
# the end comes first: it is what a printed page shows
frames = [frame(step) for step in [shown[-1], *shown]]
buffer = io.BytesIO()
pauses = [1500] + [500] * len(shown)
frames[0].save(
    buffer, "GIF", save_all=True, append_images=frames[1:], duration=pauses, loop=0
)
print(f"{len(frames)} frames; t counts the rounds")


# %% mystnb={"image": {"alt": "Animation: a small black clump in the middle runs off, spreads over the plane, gathers along one large circle, and breaks up into eight clusters. The field behind it changes all the time."}}
display(
    Image(
        data=buffer.getvalue(),
        format="gif",
        alt="The generator's points chase the eight modes of the ring",
    )
)


# %% [markdown]
# Black points are samples, circles mark the eight modes. Blue is where the discriminator would call a point real, orange
# where it would call it generated, white where it cannot tell. For reading on paper, four moments side by side:

# %% tags=["gallery"] mystnb={"image": {"alt": "Four moments. A small clump in the middle; a wide cloud of points over a part of the plane; points near one large circle; eight clusters in the eight small circles, joined by thin threads, before an orange middle."}}
figure, axes = plt.subplots(2, 2, figsize=(6, 6), sharex=True, sharey=True)
for ax, step_ in zip(axes.flat, [0, 2, min(10, intervals), intervals], strict=True):
    draw(ax, *film[step_])
    ax.set_title(f"$t = {25 * step_}$")
figure.supxlabel("first coordinate")
figure.supylabel("second coordinate")
plt.show()

# %% [markdown]
# An untrained generator puts everything into one clump. The discriminator needs a few rounds to mark that place orange,
# and the points run off to where the field is blue. They overshoot, the field changes behind them, and they come back: for
# some dozens of rounds the two chase each other across the plane. Then the points come to the right distance from the
# middle, while they are not yet on the modes: they gather along a circle, and the middle is orange, since no data are
# there. Last the circle breaks up, until only thin threads are left between the modes. (The threads cannot disappear
# altogether: a continuous network cannot map one connected cloud of noise to eight separate islands.)
#
# In the end the field is pale near the circles, not far from the white of $D = \frac12$. Far outside it may have any
# colour. Neither data nor samples fall there, and $D^*$ says nothing about such places.

# %%
if profile != "smoke":
    early = [points.mean(dim=0).norm().item() for points, _ in film[1:11]]
    assert max(early) > 0.5  # the points run off as a whole
    radius = film[22][0].norm(dim=1)
    assert ((radius - 2).abs() < 0.4).double().mean() > 0.7  # along the circle
    halfway = metrics.ring_coverage(film[22][0], ring_centres(), std=0.1).share
    assert halfway < last.share  # and only then on the modes
    field = film[60][1]
    assert field[28:37, 28:37].mean() < 0.2  # orange in the middle
    places = ((ring_centres() + 3.2) / 0.1).round().long()
    assert (field[places[:, 1], places[:, 0]] - 0.5).abs().mean() < 0.25

# %% [markdown]
# ## With the package
#
# `gan.GAN` plays the same game under PyTorch Lightning, with the same turns under the same names. The picture at the top
# of the chapter came from it:
#
# ```python
# generator, discriminator = gan.DenseGenerator(2, (2,)), gan.DenseDiscriminator((2,))
# rates = {"generator_lr": 1e-3, "discriminator_lr": 1e-3}
# ring_game = gan.GAN(generator, discriminator, **rates)
# training.fit(ring_game, ring, max_epochs=intervals, seed=0)
# ```
#
# The same seed was set before the weights were drawn and again before the first batch. So both generators must put the
# 1,000 codes in the same places, after all these rounds:

# %%
difference = (film[-1][0] - ring_game.from_codes(codes)).abs().max()
assert difference < 1e-4
print(f"from scratch and package agree on {len(codes)} samples")

# %% [markdown]
# ## The same game on digits
#
# Nothing in the game knows that a point has two coordinates. With 784 of them it is a picture. `gan.train("dense")`
# plays it with two fully connected networks on our 4,000 training digits. The pictures are scaled to [−1, 1], the range of
# the tanh in which the generator ends. Two things are new. The discriminator sees all pictures, real and generated, a
# little turned, shifted and scaled, or it would soon know the 4,000 by heart. And the generator has batch normalisation,
# which the [next chapter](dcgan.ipynb) explains.

# %%
model, history = gan.train("dense", profile)
torch.manual_seed(0)
samples = (model.sample(count) + 1) / 2  # back to [0, 1]
print(
    f"{sum(w.numel() for w in model.generator.parameters())} "
    "weights in the generator,",
    end=" ",
)
print(
    f"{sum(w.numel() for w in model.discriminator.parameters())} "
    "in the discriminator"
)

# %% mystnb={"image": {"alt": "Two rows of generated digits, white on black, many of them legible, with ragged edges and loose specks; a few are shapeless."}}
plots.image_grid(samples[:16])
plt.show()

# %% [markdown]
# Many of them can be read, some only with effort. Look closer: strokes are grainy, their edges are ragged, and loose
# specks stand where no pen has been. One thing that a dense layer does not know is which pixels are neighbours; the
# next chapter begins there.

# %% mystnb={"image": {"alt": "Above: the losses of both players against the epoch; at the end the discriminator's is below its dotted line and the generator's above its own. Below: the mean verdict on real pictures ends above one half, that on generated ones below."}}
figure, (above, below) = plt.subplots(2, 1, figsize=(6, 5), sharex=True)
plots.curves(
    history,
    ["discriminator_loss", "generator_loss"],
    ylabel="loss (nats)",
    ax=above,
)
above.axhline(math.log(4), color=plots.COLOURS[0], linestyle=":", linewidth=1)
above.axhline(math.log(2), color=plots.COLOURS[1], linestyle=":", linewidth=1)
above.set_xlabel("")
plots.curves(history, ["real_score", "fake_score"], ylabel="mean of $D$", ax=below)
below.axhline(0.5, color="grey", linestyle=":", linewidth=1)
plt.show()

# %%
end = {name: values[-1] for name, values in history.items()}
print(", ".join(f"{name} {value:.2f}" for name, value in sorted(end.items())))
if profile != "smoke":
    assert end["discriminator_loss"] < math.log(4)
    assert end["generator_loss"] > math.log(2)
    assert end["fake_score"] < 0.5 < end["real_score"]

# %% [markdown]
# ### Reading the curves
#
# The dotted lines show what both losses are if the discriminator can only guess: $\log 4$ for its own, $\log 2$ for the
# generator's, and one half for its verdicts. The further the discriminator's loss falls below its line, the better the
# discriminator tells the two kinds of pictures apart.
#
# What they do *not* show is whether the samples get better. Each loss is measured against the other player, and that
# player changes. A generator's loss that rises may mean a worse generator or a better opponent; a flat one may hide steady
# progress of both. These are not the curves of the chapters before, where lower was better. One sign is worth knowing: if
# the discriminator's loss falls to nearly zero while the generator's keeps rising, the discriminator has won.

# %% [markdown]
# ### Measuring instead
#
# So we measure the samples themselves, with the course's judge, a small classifier of digits. Two numbers: of how many
# pictures it is at least 90 % sure which digit they show; and how far the samples' features lie from those of real digits,
# the judge's Fréchet distance. It is read beside its *floor*, the distance that real digits have from each other. (The
# digits that were held out give one draw of the floor; it varies from draw to draw, by a few tenths.) [How good are these
# pictures?](../evaluation/image_quality.ipynb) derives both and shows how each is fooled.

# %%
digits = ImageData("digits")
reference = digits.split("train")[0]
held_out = torch.cat([digits.split("validation")[0], digits.split("test")[0]])[
    :count
]

# %%
distance = metrics.judge_frechet_distance(samples, reference)
floor = metrics.judge_frechet_distance(held_out, reference)
print(
    f"judge {metrics.JUDGE_SHA256[:8]}, "
    f"{len(samples)} pictures against {len(reference)} training digits"
)
print(
    f"judge's Fréchet distance: samples {distance:.1f}, "
    f"held-out digits (the floor) {floor:.2f}"
)
assert profile == "smoke" or distance > 5 * floor


# %%
sure = {
    "samples": metrics.confident_share(samples),
    "held-out digits": metrics.confident_share(held_out),
}
for name, share in sure.items():
    print(f"the judge is at least 90 % sure of {100 * share:.0f} % of the {name}")
assert profile == "smoke" or 0.3 < sure["samples"] < sure["held-out digits"] - 0.1


# %% [markdown]
# The distance is many times its floor: the samples are far from real digits. Keep the number in mind; the next chapter
# has to beat it.

# %% [markdown]
# ## When it fails: mode collapse
#
# Nothing in the generator's loss asks for variety. Against a *fixed* discriminator its best answer is one single point,
# the one that the discriminator likes most, for every $z$. What keeps the samples apart is only that the discriminator
# answers: wherever too many samples gather, it learns to call them generated, and they have to leave. So let us make it
# answer slowly, with a learning rate of $10^{-4}$ instead of $10^{-3}$, and change nothing else.
#
# > **Predict, then run.** What will the generator do against a discriminator that learns ten times more slowly? (a) The
# > same, later. (b) Better: it has an easier opponent. (c) It puts all its samples in one place, and moves that place.

# %%
EVEN, SLOW = "rates 10⁻³ and 10⁻³", "rates 10⁻³ and 10⁻⁴"
slow_film = watch(d_lr=1e-4)
tallies = {}
for name, pictures in ((EVEN, film), (SLOW, slow_film)):
    tallies[name] = [
        metrics.ring_coverage(points, ring_centres(), std=0.1)
        for points, _ in pictures
    ]
    end = tallies[name][-1]
    print(
        f"{name}: {end.modes_found} of 8 modes found, "
        f"{100 * end.share:.0f} % of the samples near one"
    )

# %% mystnb={"image": {"alt": "Four moments of the slow game. Each time the points sit close together, instead of in the eight circles; the field near the circles is pale."}}
figure, axes = plt.subplots(2, 2, figsize=(6, 6), sharex=True, sharey=True)
for ax, share in zip(axes.flat, [0.4, 0.6, 0.8, 1.0], strict=True):
    step_ = round(share * intervals)
    draw(ax, *slow_film[step_])
    ax.set_title(f"$t = {25 * step_}$")
figure.supxlabel("first coordinate")
figure.supylabel("second coordinate")
plt.show()

# %% [markdown]
# It is (c). At each of the four moments the points sit close together instead of on eight places. The discriminator takes
# long to find out where they are; when it has, they leave for another place, and it has to begin anew. Even while they sit
# on a mode, and each by itself might pass for real, the variety is gone: this is **mode collapse**.
#
# Note how pale the field is near the modes and near the points. The verdicts are not far from one half there, so both losses
# are not far from the values of a perfect game, $\log 4$ and $\log 2$. The loss curves would hardly have told us of this
# collapse. The count does, over the whole game:

# %%
if profile != "smoke":
    moments = [
        slow_film[round(share * intervals)] for share in (0.4, 0.6, 0.8, 1.0)
    ]
    for points, field in moments:
        assert points.std(dim=0).norm() < 1.2  # 2 for the data
        assert (field[places[:, 1], places[:, 0]] - 0.5).abs().mean() < 0.2
    assert max(found.modes_found for found in tallies[SLOW]) <= 4
    assert min(found.modes_found for found in tallies[EVEN][30:]) >= 7


# %% mystnb={"image": {"alt": "Modes found against the round. One curve climbs to eight early and stays near it; the other stays near the bottom."}}
for name, tally in tallies.items():
    plt.plot(
        [25 * step_ for step_ in range(len(tally))],
        [found.modes_found for found in tally],
        label=name,
    )
plt.xlabel("round")
plt.ylabel("modes found, of 8")
plt.ylim(-0.2, 8.4)
plt.legend(title="generator, discriminator", loc="center right")
plt.show()

# %% [markdown]
# ### The same settings, another seed
#
# That was a handicap of our own making. But equal rates are no insurance. The next six games have the same code and the
# same settings, $2 \cdot 10^{-4}$ for both players; only the seed of the random numbers differs.

# %%
ends = {
    seed: watch(seed=seed, g_lr=2e-4, d_lr=2e-4)[-1]
    for seed in ((0, 1) if profile == "smoke" else range(6))
}
scores = {}
for seed, (points, _) in ends.items():
    end = metrics.ring_coverage(points, ring_centres(), std=0.1)
    scores[seed] = end.share
    print(
        f"seed {seed}: {end.modes_found} of 8 modes found, "
        f"{100 * end.share:.0f} % of the samples near one"
    )
best_seed, worst_seed = max(scores, key=scores.get), min(scores, key=scores.get)
assert profile == "smoke" or scores[best_seed] > scores[worst_seed] + 0.1

# %% mystnb={"image": {"alt": "The ends of two games, the best and the worst of six. On the left more of the points lie in the eight circles than on the right."}}
figure, axes = plt.subplots(1, 2, figsize=(6, 3.4), sharey=True)
for ax, seed in zip(axes, (best_seed, worst_seed), strict=True):
    draw(ax, *ends[seed])
    ax.set(title=f"seed {seed}", xlabel="first coordinate")
axes[0].set_ylabel("second coordinate")
plt.show()

# %% [markdown]
# These are the best and the worst of the six. A picture of one game alone shows nothing, whichever it is: an honest
# statement about a GAN is a count over seeds. In the chapter on the
# [Wasserstein GAN](wasserstein_gan.ipynb) you find one: ten seeds for each of three losses, with every failure counted.
# Lucic et al. (2018) asked of the GANs of their time what each one reaches with a given budget of settings and restarts:
# with enough of both, most of them reached similar scores.
#
# What is done against mode collapse? The discriminator should keep up: with equal rates of $10^{-3}$ it did so here. Several steps for each of the generator's are another common remedy. (On the ring, the ten seeds in
# the chapter on the Wasserstein GAN do not confirm it.) The generator can look ahead at its answer (Metz et al., 2016). (Averaging
# the generator's weights and lowering both rates are remedies against circling.) And what if the discriminator is too
# good? The next section shows why a loss is then needed whose gradient does not vanish.

# %% [markdown]
# ## When it fails: a discriminator that is too good
#
# The theory wants the discriminator *always at its best*. Then why not train it to the end before the generator makes
# its first move? We take an untrained generator, train the discriminator alone, and measure from time to time how long
# the gradient is that the generator *would* get, over all its weights, from either loss.
#
# > **Predict, then run.** What becomes of the gradient of the saturating loss? (a) It grows: the better the teacher, the
# > better the lesson. (b) It levels off. (c) It dies away.


# %%
def gradient_lengths(generator, discriminator):
    logits = discriminator(generator(codes))
    losses = {
        "saturating": -F.softplus(logits).mean(),
        "non-saturating": F.softplus(-logits).mean(),
    }
    weights, lengths = list(generator.parameters()), {}
    for name, loss in losses.items():
        slope = torch.autograd.grad(loss, weights, retain_graph=True)
        lengths[name] = torch.cat([part.flatten() for part in slope]).norm().item()
    return lengths


# %%
torch.manual_seed(0)
generator, discriminator = two_players()
d_adam = torch.optim.Adam(discriminator.parameters(), 1e-3, betas=(0.5, 0.999))
lengths = {}


# %%
for turn in range(1, {"smoke": 30, "cpu": 1000, "gpu": 1000}[profile] + 1):
    step(d_adam, discriminator_turn(generator, discriminator, sample_ring(256)))
    if turn in (1, 3, 10, 30, 100, 300, 1000):
        lengths[turn] = gradient_lengths(generator, discriminator)
for turn, found in lengths.items():
    print(
        f"{turn:4d} steps: {found['saturating']:.1e} saturating, "
        f"{found['non-saturating']:.1e} non-saturating"
    )
if profile != "smoke":
    assert lengths[1000]["saturating"] < 0.1 * lengths[1]["saturating"]
    assert lengths[1000]["non-saturating"] > lengths[1]["non-saturating"]

# %% mystnb={"image": {"alt": "Length of the generator's gradient against the discriminator's steps, both axes logarithmic. In the end that of the saturating loss is smaller by orders of magnitude, while the non-saturating one's is high."}}
for name in ("saturating", "non-saturating"):
    plt.loglog(
        list(lengths),
        [found[name] for found in lengths.values()],
        marker="o",
        label=name,
    )
plt.xlabel("steps that the discriminator took alone")
plt.ylabel("length of the generator's gradient")
plt.legend()
plt.show()

# %% [markdown]
# It is (c). With some seeds the gradient grows for the first few steps, since a discriminator that knows nothing has
# nothing to teach. But as soon as it is sure, the gradient of the saturating loss falls, to less than a tenth of what it
# was at first, while that of the non-saturating loss is large, as the plotted derivatives promised. So much for
# the wish for a discriminator that is *always at its best*: with the loss of the minimax game the perfect teacher teaches
# nothing. Arjovsky and Bottou (2017) prove it for distributions that do not overlap. Of the other loss they show that its
# gradients may be large and erratic there. The [Wasserstein GAN](wasserstein_gan.ipynb) uses a loss that was made for a
# discriminator at its best.

# %% [markdown]
# ## What the source articles got wrong here
#
# They confuse the players' aims, their losses and their gradients. Each case is in the errata:
# [the game](../../book/errata.md#errata-game), [its training](../../book/errata.md#errata-training).

# %% [markdown]
# ## The promise
#
# With equal rates the ring is found, at least seven of its eight modes; against a slow discriminator at most four are. And
# a discriminator trained alone takes away at least nine tenths of the saturating loss's gradient.

# %%
figures = results.record(
    "adversarial_game",
    profile,
    modes_found=tallies[EVEN][-1].modes_found,
    modes_found_slow_discriminator=tallies[SLOW][-1].modes_found,
    dense_frechet=round(distance, 1),
    dense_frechet_floor=round(floor, 2),
    dense_confident_share=round(sure["samples"], 3),
)
print(
    figures["modes_found"],
    figures["modes_found_slow_discriminator"],
    figures["dense_frechet"],
)


# %%
if profile != "smoke":
    assert figures["modes_found"] >= 7, "a balanced game finds the ring"
    assert figures["modes_found_slow_discriminator"] <= 4, "the collapse was shown"
    assert lengths[1000]["saturating"] < lengths[30]["saturating"] / 10, (
        "the gradient vanished"
    )


# %% [markdown]
# ## Summary
#
# - A generator makes examples from noise; a discriminator tells them from real ones. No likelihood is ever written down.
# - The best discriminator is a ratio, $D^* = p_{\text{data}} / (p_{\text{data}} + p_g)$. Against it, the generator lowers
#   the Jensen–Shannon divergence; at the equilibrium the value is $-\log 4$.
# - The saturating loss gives no gradient where the discriminator is sure; the non-saturating loss does.
# - In the discriminator's turn only the discriminator takes a step. In the generator's turn the gradient must come through
#   the discriminator.
# - A GAN's losses tell who is ahead, not how good the samples are. Measure samples.
# - Nothing asks the generator for variety. If the discriminator does not answer in time, the modes collapse.
#
# ## Check yourself
#
# **1.** How large does the Jensen–Shannon divergence become if the two distributions move apart? Take two normal
# distributions of standard deviation 0.5 and shift one of them.

# %% tags=["hide-cell"]
# @title Solution
still = Normal(torch.tensor(0.0, dtype=torch.float64), 0.5).log_prob(x).exp()
found = []
for shift in (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0):
    moved = Normal(torch.tensor(shift, dtype=torch.float64), 0.5).log_prob(x).exp()
    found.append(
        (
            0.5 * kl(still, (still + moved) / 2)
            + 0.5 * kl(moved, (still + moved) / 2)
        ).item()
    )
    print(f"shift {shift:.1f}: {found[-1]:.5f} nats")
print(f"log 2 is {math.log(2):.5f}")
assert abs(found[-1] - math.log(2)) < 1e-4

# %% [markdown]
# <details><summary>Answer</summary>
#
# It approaches $\log 2$. Once the two hardly overlap it hardly says any more how far apart they are, so its slope is
# nearly zero: the vanishing gradient of the saturating loss again, seen from the side of the divergence. A distance
# that goes on growing is what the [Wasserstein GAN](wasserstein_gan.ipynb) uses instead.
#
# </details>
#
# **2.** Play the game on the ring with Adam's usual momentum, 0.9. What happens to the share of samples near a mode?

# %% tags=["hide-cell"]
# @title Solution
with_momentum = metrics.ring_coverage(
    watch(beta=0.9)[-1][0], ring_centres(), std=0.1
)
print(
    f"0.9: {with_momentum.modes_found} of 8 modes, "
    f"{100 * with_momentum.share:.0f} % of the samples near one"
)
print(
    f"0.5: {last.modes_found} of 8 modes, "
    f"{100 * last.share:.0f} % of the samples near one"
)
assert profile == "smoke" or with_momentum.share < last.share - 0.2

# %% [markdown]
# <details><summary>Answer</summary>
#
# With this seed far fewer samples lie near a mode after the same number of rounds. (One game each, and the six games above
# show that games differ from seed to seed.) A possible reason: momentum is an average over past
# gradients, and these were computed against a discriminator that has changed since.
#
# </details>
#
# **3.** In some run $D$ is close to $\frac12$ on real and on generated examples alike. Is the generator perfect?
#
# <details><summary>Answer</summary>
#
# Perhaps. If $p_g = p_{\text{data}}$, the best discriminator is $\frac12$ everywhere. But a discriminator that is too small,
# badly trained or broken says $\frac12$ as well. The score is about both players; only a measurement of the samples
# tells the two cases apart.
#
# </details>
#
# **4.** Our generator's turn draws new noise. Could it use the fakes of the discriminator's turn again, and save the work
# of making them?
#
# <details><summary>Answer</summary>
#
# Yes, many programs do. Then the fakes must be made *with* a graph, and the discriminator gets `fake.detach()`: here it is
# needed, since its `backward` would otherwise free the graph that the generator's turn still uses. The generator's turn
# passes `fake` itself through the discriminator once more: the old logits are of no use, since the discriminator has
# changed, and their graph does not reach the generator.
#
# </details>
#
# **Graded assignment**: [generative adversarial networks](../exercises/gan.ipynb).
#
# ## Further reading
#
# - I. Goodfellow et al., [Generative Adversarial Nets](https://arxiv.org/abs/1406.2661) (2014). Eight pages, with the
#   derivation of this chapter.
# - I. Goodfellow, [NIPS 2016 Tutorial: Generative Adversarial Networks](https://arxiv.org/abs/1701.00160) (2016): the same
#   at leisure, with questions and answers.
# - M. Arjovsky and L. Bottou, [Towards Principled Methods for Training Generative Adversarial
#   Networks](https://arxiv.org/abs/1701.04862) (2017): why a perfect discriminator teaches nothing.
# - L. Metz et al., [Unrolled Generative Adversarial Networks](https://arxiv.org/abs/1611.02163) (2016): the ring, its
#   collapse, and a generator that looks a few of its opponent's steps ahead.
# - M. Lucic et al., [Are GANs Created Equal?](https://arxiv.org/abs/1711.10337) (2018): many losses, each
#   with the same budget of settings and restarts; with enough of it, most end up alike.
#
# Next: [Convolutions: the DCGAN](dcgan.ipynb).
