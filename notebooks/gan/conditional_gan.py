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
# # A game about pairs: conditional GANs
#
# **After this chapter you can**
#
# - turn the adversarial game into one in which labels are obeyed, and say what its best discriminator computes;
# - derive the projection discriminator from Bayes' rule, and explain why a label that is only added does nothing;
# - give a label to both players in plain PyTorch: beside the code, in the normalisation, as channels, as a product;
# - measure obedience and variety separately, and show a model that has one without the other;
# - find a common and silent mistake: a discriminator that does not see what was asked for.
#
# **You need**: the game from [The adversarial game](adversarial_game.ipynb), the networks from
# [Convolutions: the DCGAN](dcgan.ipynb). It helps to know [conditional VAEs](../vae/conditional_vae.ipynb), which keep
# the same promise in another way. The [notation](../../book/notation.md) is on a page of its own.
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
import io
import math

import matplotlib.pyplot as plt
import torch
from IPython.display import Image, display
from PIL import Image as Picture
from torch import nn
from torch.nn import functional as F
from torchvision.utils import make_grid

from aigc_course import diagrams, gan, metrics, plots, results, training
from aigc_course.data import ImageData, ring_centres

# %%
plots.use_style()
profile = training.resolve_profile(profile)
samples, judged = {"smoke": (200, 200), "cpu": (2000, 1000), "gpu": (2000, 1000)}[
    profile
]
ring_steps = {"smoke": 20, "cpu": 1500, "gpu": 1500}[profile]
# epochs for each model of a comparison
short = {"smoke": 1, "cpu": 6, "gpu": 20}[profile]
print(
    f"Profile {profile}: the main model trains for "
    f"{gan.recipe('conditional', profile)['fit']['max_epochs']} epochs,"
)
print(f"each model of a comparison for {short}; {samples} samples are judged.")

# %% [markdown]
# ## Ask for a 7
#
# Here is what the convolutional GAN of [an earlier chapter](dcgan.ipynb) draws. We would like a 7, and then seven more.

# %% mystnb={"image": {"alt": "Sixteen generated digits of all kinds, in no order."}}
unconditional = gan.pretrained("dcgan", profile)
torch.manual_seed(0)
drawn = (unconditional.sample(samples) + 1) / 2  # from tanh's [-1, 1] to [0, 1]
plots.image_grid(drawn[:16])
plt.show()

# %%
sevens = (
    (metrics.judge_probabilities(drawn).argmax(dim=1) == 7).nonzero().flatten()[:8]
)
if len(sevens) == 8:
    print(
        f"For eight 7s we had to draw {sevens[-1] + 1} "
        "digits and have somebody read every one."
    )

# %% [markdown]
# Its generator cannot be asked. We can only go on drawing, and let the **judge**, the small classifier that comes with
# the package, throw away whatever is not a 7. If all digits are equally frequent, that costs ten pictures for each 7.
# With a thousand classes it would cost a thousand.
#
# The [conditional VAE](../vae/conditional_vae.ipynb) learnt to obey by conditioning every term of its bound on the label.
# A GAN has no bound. It has a discriminator. So the question of this chapter is: **what must the discriminator look at,
# so that a generator that does not obey loses?**

# %% [markdown]
# ## What the game becomes
#
# Data come in pairs now: a picture $x$ and its class $y$, drawn from $p(x, y) = p(y)\, p(x \mid y)$. The generator is
# told a class and given a code $z$. Its picture $G(z, y)$ also makes a pair, with the class that it was told. We write
# $q(x \mid y)$ for the distribution of $G(z, y)$ at a fixed $y$. (In this chapter $p$ is short for $p_{\text{data}}$, and $q$
# for $p_g$; it is no encoder.) The discriminator $D(x, y)$ sees the **pair** and says how likely it is to come from the
# data:
#
# $$
# V(D, G) = \mathbb E_{y \sim p(y)} \Big[\,
# \mathbb E_{x \sim p(x \mid y)} \big[\log D(x, y)\big] + \mathbb E_{z} \big[\log\big(1 - D(G(z, y), y)\big)\big] \Big] .
# $$
#
# For every single class, the bracket is the game of [the first chapter](adversarial_game.ipynb). So its results hold
# class by class. Against a given generator the best discriminator, and its logit $\ell^* = \log \frac{D^*}{1 - D^*}$, are
#
# $$
# D^*(x, y) = \frac{p(x \mid y)}{p(x \mid y) + q(x \mid y)} , \qquad \ell^*(x, y) = \log \frac{p(x \mid y)}{q(x \mid y)} ,
# $$
#
# and the generator wins when $q(x \mid y) = p(x \mid y)$ for *every* $y$. That is more than the old game asked for.
#
# What has to be known to compute $\ell^*$? Bayes' rule says $p(x \mid y) = p(y \mid x)\, p(x) / p(y)$, and the same for
# $q$. Both have the same $p(y)$, because we ask the generator for as many of each class as there are in the data, so it
# cancels:
#
# $$
# \log \frac{p(x \mid y)}{q(x \mid y)} =
# \underbrace{\log \frac{p(y \mid x)}{q(y \mid x)}}_{\text{is the picture what its label says?}}
# + \underbrace{\log \frac{p(x)}{q(x)}}_{\text{is it a picture of the data at all?}} .
# $$
#
# Two questions in one logit. On a world small enough for tables, six pictures and three classes, we can check it:

# %%
torch.manual_seed(0)
# p(y), the same for data and generator
class_shares = torch.tensor([0.5, 0.3, 0.2])
# p(x, y): pictures down, classes across
p = torch.softmax(2 * torch.randn(6, 3), dim=0) * class_shares
q = torch.softmax(2 * torch.randn(6, 3), dim=0) * class_shares

log_odds = ((p / p.sum(dim=0)) / (q / q.sum(dim=0))).log()  # log p(x|y) / q(x|y)
# log p(y|x) / q(y|x)
right_class = (
    (p / p.sum(dim=1, keepdim=True)) / (q / q.sum(dim=1, keepdim=True))
).log()
# log p(x) / q(x)
real_at_all = (p.sum(dim=1, keepdim=True) / q.sum(dim=1, keepdim=True)).log()
assert torch.allclose(log_odds, right_class + real_at_all, atol=1e-5)
print("The log-odds are the sum of both answers.")

# %% [markdown]
# And it is what training finds. We give a discriminator a table of $6 \times 3$ free logits and lower its loss,
# $-V = \sum_{x, y} \big[p(x, y)\, \log(1 + e^{-\ell}) + q(x, y)\, \log(1 + e^{\ell})\big]$, which is the sum over tables of
# `gan.discriminator_loss`:


# %%
def table_loss(logits, p, q):  # -V(D, G) in nats
    return (p * F.softplus(-logits) + q * F.softplus(logits)).sum()


# the lowest loss that logits of this form can reach; and the logits
def lowest(form, shapes, p, q):
    torch.manual_seed(1)
    parts = [(0.5 * torch.randn(shape)).requires_grad_() for shape in shapes]
    optimizer = torch.optim.LBFGS(
        parts, max_iter=1000, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )

    def closure():
        optimizer.zero_grad()
        (loss := table_loss(form(*parts), p, q)).backward()
        return loss

    optimizer.step(closure)
    return closure().item(), form(*parts).detach()


# %%
found_loss, found = lowest(lambda table: table, [(6, 3)], p, q)
print(
    f"lowest loss {found_loss:.4f} nats; "
    f"at the log-odds {table_loss(log_odds, p, q):.4f} nats"
)
print(
    "largest difference between the logits found and the log-odds: "
    f"{(found - log_odds).abs().max():.2f}"
)
assert abs(found_loss - table_loss(log_odds, p, q).item()) < 1e-4

# %% [markdown]
# ## Projection: let the label meet the picture
#
# A table has no pixels. For pictures we need a network, and the formula says which. Think of how a classifier computes
# $p(y \mid x)$: features $\phi(x)$, a vector $v_y$ for each class, and a softmax:
#
# $$\log p(y \mid x) = v_y^{p\,\top} \phi(x) - \log Z^p(\phi(x)) , \qquad \log q(y \mid x) = v_y^{q\,\top} \phi(x) - \log Z^q(\phi(x)) .$$
#
# The normalisers $Z$ sum over all classes, so they know nothing of *this* $y$. Subtract the second line from the first and
# put everything without $y$, also $\log p(x)/q(x)$, into one function $\psi$ of the features:
#
# $$
# \ell(x, y) = \underbrace{v_y^\top \phi(x)}_{\text{what its label says?}} + \underbrace{\psi(\phi(x))}_{\text{a picture at all?}} ,
# \qquad v_y = v_y^p - v_y^q .
# $$
#
# This is the **projection discriminator** (Miyato and Koyama, 2018): the features are projected onto a learnt vector of
# the class. Neither classifier is ever trained by itself; only their difference is, by the game. The derivation
# rests on one assumption, that the same features serve both softmaxes and also determine $\log p(x)/q(x)$; with enough
# features it costs nothing.
#
# The essential thing is that label and picture are **multiplied**. To see how much depends on it, take the generator
# that ignores its label: it draws perfect pictures, each as often as it should be, and each for any class:
# $q(x, y) = p(x)\, p(y)$. We try four forms of logits against it.
#
# > **Predict, then run.** One form does not see the label, $\psi(x)$. One adds a number for each class,
# > $\psi(x) + b_y$. If the discriminator can see nothing, its loss is $\log 4 \approx 1.386$. Which forms see this
# > generator's fault? (a) All but the first. (b) Only those with a product. (c) None: the pictures are perfect.

# %%
# q(x, y) = p(x) p(y): the label has no say
deaf = p.sum(dim=1, keepdim=True) * p.sum(dim=0)
forms = {
    "psi(x)": (lambda psi: psi.expand(6, 3), [(6, 1)]),
    "psi(x) + b_y": (lambda psi, b: psi + b, [(6, 1), (1, 3)]),
    "psi(x) + v_y . phi(x), one feature": (
        lambda psi, v, phi: psi + phi @ v.T,
        [(6, 1), (3, 1), (6, 1)],
    ),
    "psi(x) + v_y . phi(x), two features": (
        lambda psi, v, phi: psi + phi @ v.T,
        [(6, 1), (3, 2), (6, 2)],
    ),
}


# %%
reached = {
    name: lowest(form, shapes, p, deaf)[0] for name, (form, shapes) in forms.items()
}
for name, loss in reached.items():
    print(f"{name:36s} {loss:.4f} nats")


# %%
print(
    f"{'the best possible, log p(x|y)/q(x|y)':36s} "
    f"{table_loss((p / deaf).log(), p, deaf):.4f} nats"
)
assert abs(reached["psi(x) + b_y"] - math.log(4)) < 1e-4
assert (
    abs(
        reached["psi(x) + v_y . phi(x), two features"]
        - table_loss((p / deaf).log(), p, deaf).item()
    )
    < 1e-3
)
one_feature = reached["psi(x) + v_y . phi(x), one feature"]
assert reached["psi(x) + v_y . phi(x), two features"] < one_feature < math.log(4)


# %% [markdown]
# It is (b). A discriminator without the label is blind to the fault, as one expects. But so is the one that *adds* it:
# pictures alone are as they should be, and labels alone are too, and only their combination is wrong. One feature sees part of it.
# Two are enough for three classes, for any table: what is left of a table after its rows' means are taken away has rank
# at most two.

# %% [markdown]
# As a drawing: the picture's features go two ways. One is multiplied with the vector of the label, the other ends in
# $\psi$, which knows nothing of the label, and the two are added to the logit.

# %% tags=["hide-input"]
diagrams.draw(
    "The picture x becomes features phi. The label y becomes a vector v. The "
    "product of v and phi and the function psi of phi are added to the logit l.",
    {
        **{"x": (0, 0), "φ": (1.2, 0), "ψ": (2.4, 0), "+": (3.6, 0)},
        **{"ℓ": (4.8, 0), "y": (0, 1.2), "v": (1.2, 1.2), "·": (2.4, 1.2)},
    },
    [("x", "φ", "ψ", "+", "ℓ"), ("y", "v", "·", "+"), ("φ", "·")],
    observed=["x", "y"],
    bare=["ℓ"],
)

# %% [markdown]
# ## Concatenation: let the network find the product
#
# The first conditional GAN (Mirza and Osindero, 2014) did something simpler: it gave both players the label as further
# inputs, as **one-hot** numbers: ten of them, all zero but a one at the class. For a convolutional discriminator these become ten more
# channels, each constant over the picture. No form of $\ell$ is built in; any can be learnt, in principle.
#
# In the first layer a constant channel does very little. A kernel that slides over a constant gives a constant, so
# the label merely adds a number to each feature, and from an addition alone comes nothing, as we have just seen. The
# products have to arise further up, where the leaky ReLU bends: a feature that has been pushed below zero by one class
# passes on less of the picture than it does for another. A deep enough network can do that. It has to discover it, though,
# while a projection has it from the start.
#
# | | discriminator | generator |
# | --- | --- | --- |
# | the label is **added** | concatenation: constant channels beside the picture | one-hot label beside the code |
# | the label **multiplies** | projection: $v_y^\top \phi(x)$ | class-conditional normalisation: $\gamma_y \odot \hat h + \delta_y$ |
#
# The generator has the same choice, in the right-hand column. Beside the code, a label adds something to the first layer and no
# more. **Class-conditional batch normalisation** (after de Vries et al., 2017) first normalises a layer's channels over the
# batch, $\hat h = (h - \text{mean}) / \sqrt{\text{variance}}$, and then gives them a gain and a shift that each class has
# learnt for itself:
#
# $$h \leftarrow \gamma_y \odot \hat h + \delta_y .$$
#
# So each class can turn features up or off, layer after layer. The generator of our package does both.

# %% [markdown]
# Concatenation as a drawing, for both players: the label stands beside the code, and beside the picture, before the first
# layer.

# %% tags=["hide-input"]
diagrams.draw(
    "The code z and the label y go into the generator G, which gives G(z, y). "
    "That picture and the label y go into the discriminator D, which gives the "
    "logit l.",
    {
        **{"z": (0, 0), "y": (0, 1.2), "G": (1.3, 0), "G(z, y)": (3, 0)},
        **{"D": (4.6, 0), "ℓ": (5.8, 0)},
    },
    [("z", "G", "G(z, y)", "D", "ℓ"), ("y", "G"), ("y", "D")],
    variables=["z"],
    observed=["y"],
    bare=["G(z, y)", "ℓ"],
)

# %% [markdown]
# ## From scratch
#
# The ring of [the first chapter](adversarial_game.ipynb) again: eight small Gaussians on a circle. The class says
# *which*. The generator has the label beside its code, the discriminator is a projection discriminator.

# %%
centres = ring_centres()


def real_points(n, classes):  # with fewer than eight classes, Gaussians share one
    mode = torch.randint(8, (n,))
    return centres[mode] + 0.1 * torch.randn(n, 2), mode % classes


# %%
class TinyGenerator(nn.Module):
    def __init__(self, classes, width=64):
        super().__init__()
        hidden = [
            nn.Linear(4 + classes, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
        ]
        self.classes, self.net = (
            classes,
            nn.Sequential(*hidden, nn.Linear(width, 2)),
        )

    def forward(self, z, labels):  # G(z, y)
        return self.net(torch.cat([z, F.one_hot(labels, self.classes)], dim=1))


# %%
class TinyDiscriminator(nn.Module):
    def __init__(self, classes, width=64):
        super().__init__()
        self.phi = nn.Sequential(
            nn.Linear(2, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
        )
        self.psi, self.v = nn.Linear(width, 1), nn.Embedding(classes, width)

    def forward(self, x, labels):  # the logit of D(x, y)
        features = self.phi(x)
        return self.psi(features).squeeze(1) + (self.v(labels) * features).sum(
            dim=1
        )


# %%
def adams(*networks):
    return [
        torch.optim.Adam(net.parameters(), 1e-3, (0.5, 0.999)) for net in networks
    ]


def two_losses(real, fake):  # the discriminator's and the generator's, from logits
    discriminator_loss = F.softplus(-real).mean() + F.softplus(fake).mean()
    return discriminator_loss, F.softplus(-fake).mean()


# %%
# the labels that the discriminator is shown
def play(classes=8, real_label=lambda y: y, fake_label=lambda y: y):
    torch.manual_seed(0)
    generator, discriminator = TinyGenerator(classes), TinyDiscriminator(classes)
    players = adams(discriminator, generator)
    for _ in range(ring_steps):
        x, labels = real_points(128, classes)
        for turn, player in enumerate(players):
            real = discriminator(x, real_label(labels))
            points = generator(torch.randn(128, 4), labels)
            fake = discriminator(points, fake_label(labels))
            player.zero_grad()
            two_losses(real, fake)[turn].backward()
            player.step()  # only this player's weights
    return generator


# %%
# points, what was asked for, and the Gaussian next to which each point lies
def ask(generator, n=2000):
    torch.manual_seed(1)
    asked = torch.arange(n) % generator.classes
    with torch.no_grad():
        points = generator(torch.randn(n, 4), asked)
    return points, asked, torch.cdist(points, centres).argmin(dim=1)


points, asked, nearest = ask(play())
ring_obedience = (nearest == asked).float().mean().item()
print(f"share of points next to the Gaussian asked for: {ring_obedience:.3f}")


# %%
def draw_ring(points, asked):
    _, ax = plt.subplots(figsize=(4, 4))
    for centre in centres.tolist():
        # three standard deviations
        ax.add_patch(plt.Circle(centre, 0.3, fill=False, color="#606060"))
    for label in range(int(asked.max()) + 1):
        chosen = points[asked == label][:60]
        plt.scatter(*chosen.T, s=6, color=plots.COLOURS[label], label=str(label))
    plt.legend(title="asked for", loc="center", ncols=2, markerscale=3)
    ax.set(
        xlim=(-2.7, 2.7),
        ylim=(-2.7, 2.7),
        xlabel="first coordinate",
        ylabel="second coordinate",
    )


# %% mystnb={"image": {"alt": "Eight grey circles on a ring; by each lies a small cloud of generated points, each cloud of one colour."}}
draw_ring(points, asked)
plt.show()


# %%
def spread_in_class(points, asked):  # root mean square about each class's mean
    own = [points[asked == label] for label in range(int(asked.max()) + 1)]
    return torch.stack(
        [(part - part.mean(dim=0)).square().mean().sqrt() for part in own]
    )


widths = spread_in_class(points, asked)
found = metrics.ring_coverage(points, centres, std=0.1).modes_found
print(f"{found} of 8 Gaussians found")
print(f"standard deviation within a class: {widths.min():.3f}", end=" ")
print(f"to {widths.max():.3f}; in the data 0.100")
assert profile == "smoke" or (found == 8 and widths.mean() < 0.09)

# %% [markdown]
# Each colour lies by its own circle, which marks three of the data's standard deviations round a centre. All eight
# Gaussians are found: a generator that obeys has to find them, since each is asked for by name. But look *within* the circles,
# and at the last line: real points would fill the circles, and the generated ones do not. A label protects against the
# collapse of whole classes. It does not protect against too little variety inside one. We shall come back to that.

# %% [markdown]
# ## With the package
#
# `gan.ConvGenerator` and `gan.ConvDiscriminator` become conditional by `num_classes`, and `conditioning` chooses
# between the two rows of the table above: `"concatenation"` in both, or `"batch_norm"` in the generator and `"projection"` in
# the discriminator, which are the defaults. Here are the same formulas, by hand, on real digits. First the logits, both
# kinds:

# %%
data = ImageData(**gan.recipe("conditional", profile)["data"])
(x_train, y_train), (x_test, y_test) = data.split("train"), data.split("test")
torch.manual_seed(0)
shape, x, labels = (1, 28, 28), 2 * x_test[:8] - 1, y_test[:8]

projection = gan.ConvDiscriminator(shape, channels=4, num_classes=10)
phi, v = projection.features(x), projection.by_class.weight.T
# psi(phi(x)) + v_y . phi(x)
by_hand = projection.head(phi).squeeze(1) + (v[labels] * phi).sum(dim=1)
assert torch.allclose(projection(x, labels), by_hand, atol=1e-5)


# %%
concatenation = gan.ConvDiscriminator(
    shape, channels=4, num_classes=10, conditioning="concatenation"
)
channels = F.one_hot(labels, 10).float()[:, :, None, None].expand(-1, -1, 28, 28)
by_hand = concatenation.head(
    concatenation.features(torch.cat([x, channels], dim=1))
).squeeze(1)
assert torch.allclose(concatenation(x, labels), by_hand, atol=1e-5)
print("Both logits are what we wrote by hand.")


# %% [markdown]
# Then a normalisation by class, and the discriminator's turn, with fakes of the same classes as the real batch (so that
# $p(y)$ cancels, as the derivation wants it):

# %%
generator = gan.ConvGenerator(16, shape, channels=4, num_classes=10)
layer = generator.normalisations[0]
nn.init.normal_(layer.shift.weight)
h = 3 * torch.randn(8, 8, 7, 7) + 1
variance, mean = torch.var_mean(h, dim=(0, 2, 3), correction=0, keepdim=True)
normalised = (h - mean) / (variance + layer.normalise.eps).sqrt()
gamma, delta = (
    layer.gain.weight[labels][:, :, None, None],
    layer.shift.weight[labels][:, :, None, None],
)
assert torch.allclose(layer(h, labels), gamma * normalised + delta, atol=1e-4)

small = gan.GAN(generator, projection)


# %%
torch.manual_seed(1)
turn = small.discriminator_turn(x, labels)
torch.manual_seed(1)
fake = generator(torch.randn(8, 16), labels)
assert torch.allclose(
    turn,
    gan.discriminator_loss(projection(x, labels), projection(fake, labels)),
    atol=1e-5,
)
print("So are the normalisation by class and the discriminator's turn.")


# %% [markdown]
# A label that does not exist is refused, where PyTorch would stop with an index error deep inside, or, on a GPU, with a
# message that names no cause at all:

# %%
try:
    small.sample(4, torch.tensor([0, 3, 7, 10]))
except ValueError as error:
    print(error)

# %% [markdown]
# ## Train

# %%
model, history = gan.train("conditional", profile)
for name in ["discriminator_loss", "generator_loss"]:
    print(
        f"{name}: {history[name][0]:.2f} nats in the first epoch, "
        f"{history[name][-1]:.2f} in the last"
    )
    assert profile == "smoke" or 0.5 < history[name][-1] < math.log(4)

# %% mystnb={"image": {"alt": "Two loss curves; at the end the discriminator's is below the dashed line and the generator's is well above zero."}}
ax = plots.curves(
    history, ["discriminator_loss", "generator_loss"], ylabel="loss (nats)"
)
ax.axhline(
    math.log(4),
    color="#606060",
    linestyle="--",
    label="log 4: the discriminator sees nothing",
)
ax.legend()
plt.show()

# %% [markdown]
# The dashed line is the discriminator's loss if it could tell nothing, not even whether the label fits. It ends below:
# it still sees a little. As always in a game, the curves say whether the players are in balance, and not how good the
# pictures are. If one player had won, one loss would be near zero and the other large. And **no curve here says whether
# labels are obeyed**, as we shall see. So we ask.

# %% mystnb={"image": {"alt": "Ten rows of eight generated digits; each row shows the digit named at its left, in different handwriting."}}
torch.manual_seed(0)
asked = torch.arange(10).repeat_interleave(8)
plots.image_grid(
    (model.sample(80, asked) + 1) / 2,
    row_labels=[str(digit) for digit in range(10)],
)
plt.show()

# %% [markdown]
# Each row was asked for by the number at its left, each picture with a code of its own. The strokes are sharp. Where a
# picture fails, strokes break off, or run together into a blot.

# %% [markdown]
# ## Measure obedience
#
# We ask for 2,000 digits, two hundred of each, and count how many the judge reads as the class we asked for:
#
# $$\text{judge accuracy} = \frac1n \sum_{i=1}^n \mathbb 1\big[\text{judge}(x_i) = y_i\big], \qquad x_i = G(z_i, y_i) .$$


# %%
def sample_evenly(model, n, scale=1.0):  # pictures in [0, 1] and what was asked for
    torch.manual_seed(0)
    asked = torch.arange(n) % 10
    return (
        model.from_codes(scale * torch.randn(n, model.latent_dim), asked) + 1
    ) / 2, asked


# %%
generated, asked = sample_evenly(model, samples)
accuracy, real_accuracy = (
    metrics.judge_accuracy(generated, asked),
    metrics.judge_accuracy(x_test, y_test),
)
print(f"judge accuracy on {samples} generated digits: {accuracy:.3f}")
print(f"judge accuracy on held-out digits: {real_accuracy:.3f}")
read = metrics.judge_probabilities(generated).argmax(dim=1)
by_class = (read == asked).float().view(-1, 10).mean(dim=0)  # asked in turn
print(f"the class that is obeyed least: {by_class.min():.3f}")
assert profile == "smoke" or by_class.min() > 0.85

# %% mystnb={"image": {"alt": "Pairs of short bars for the ten classes: the shares of generated and of held-out digits that are misread; all are small."}}
for offset, name, pictures, wanted in [
    (-0.2, "generated", generated, asked),
    (0.2, "held out", x_test, y_test),
]:
    misread = metrics.judge_probabilities(pictures).argmax(dim=1) != wanted
    shares = [misread[wanted == digit].float().mean().item() for digit in range(10)]
    plt.bar([digit + offset for digit in range(10)], shares, width=0.4, label=name)
plt.xticks(range(10))
plt.xlabel("class asked for")
plt.ylabel("share misread")
plt.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
plt.show()

# %% [markdown]
# Nearly all pictures are what was asked for, in every class. The judge itself misreads a few of the held-out digits (there are
# some fifty per class, so that one makes a visible bar). Generated digits may even come out ahead. A likely reason is
# that unusual handwriting is hard to read and that a generator draws little of it. So this number alone is not enough.
#
# The conditional VAE promises less in the same measure, with the same judge. It would be wrong to call the GAN simply
# better. The VAE gives a bound on how probable a held-out digit is, in nats, and these nats charge it for every digit that it
# cannot draw. The GAN gives no such number. It also has no encoder, so we cannot ask it to copy somebody's handwriting.
# And whether it leaves things out has to be measured separately: see below.
#
# Does the label cost quality? We compare with the unconditional GAN by the **Fréchet distance** on the judge's
# features, against the training pictures. (Its meaning, and how far it can be trusted, is the subject of
# [How good are these pictures?](../evaluation/image_quality.ipynb).) That chapter shows that this distance is sensitive to
# the *counts* of the digits. We asked for equally many of each digit, while the unconditional GAN draws them as it likes.
# So we also pick equally many of each digit from its samples, as the judge reads them, and take the floor from splits of
# real digits in equal proportions.

# %%
x_held, y_held = (
    torch.cat(parts)
    for parts in zip(data.split("validation"), data.split("test"), strict=True)
)
pool = metrics.judge_features(torch.cat([x_train[: 4 * judged], x_held[:judged]]))
kinds = torch.cat([y_train[: 4 * judged], y_held[:judged]])
reference = pool[: 4 * judged]


def split_real():  # real digits against real ones, in equal proportions
    order = torch.randperm(5 * judged)
    order = order[kinds[order].argsort(stable=True)]  # by digit
    fifth = torch.arange(5 * judged) % 5 == 0
    return metrics.frechet_distance(pool[order[fifth]], pool[order[~fifth]])


# %%
read = metrics.judge_probabilities(drawn).argmax(dim=1)
equal = min(judged // 10, read.bincount(minlength=10).min().item())
picked = torch.cat([(read == digit).nonzero()[:equal, 0] for digit in range(10)])
candidates = {
    "conditional GAN": generated[:judged],
    "unconditional GAN": drawn[:judged],
    f"same, {equal} of each digit": drawn[picked],
}


# %%
distances = {
    name: metrics.frechet_distance(metrics.judge_features(pictures), reference)
    for name, pictures in candidates.items()
    if len(pictures) > 64  # fewer give no covariance
}
torch.manual_seed(0)
floors = torch.tensor([split_real() for _ in range(10)])
print(f"{judged} pictures against {len(reference)} training pictures,", end=" ")
print(f"judge {metrics.JUDGE_SHA256[:8]}:")
for name, distance in distances.items():
    print(f"{name:24s} {distance:.2f}")
print(f"{'floor, ten splits':24s} {floors.mean():.2f}, spread {floors.std():.2f}")


# %%
if profile != "smoke":
    ours, free, balanced = distances.values()
    assert ours < balanced < free
    assert ours > floors.mean() + 3 * floors.std()

# %% [markdown]
# The label costs nothing here; on the contrary, the conditional GAN comes nearer to the floor. A part of the difference
# is only that the classes are drawn as often as they are asked for: equal numbers of each digit bring the unconditional
# GAN nearer too. The rest is a difference of two trained models, of one seed each. (Likely reasons: the discriminator is
# told which digit it should be looking for, and the generator need not divide its codes among ten shapes.) And the
# conditional GAN is not at the floor: it lies clearly outside the floor's spread.

# %% [markdown]
# ## Style and class apart
#
# We draw eight codes, and give **the same eight** to each of the ten classes.
#
# > **Predict, then run.** In the conditional VAE, a column of this sheet shared slant and thickness. Here the
# > discriminator never sees two pictures of one code together. What will the columns share? (a) Nothing. (b) Style, as
# > before. (c) Style, but for the classes of similar shape only.

# %% mystnb={"image": {"alt": "Ten rows of digits 0 to 9 in eight columns. Within a column most digits share slant and thickness of stroke."}}
torch.manual_seed(4)
styles = torch.randn(8, model.latent_dim)
sheet = (
    model.from_codes(styles.repeat(10, 1), torch.arange(10).repeat_interleave(8))
    + 1
) / 2
plots.image_grid(sheet, row_labels=[str(digit) for digit in range(10)])
plt.show()

# %% [markdown]
# An impression needs a number. We measure two things in each picture: its **ink**, the mean of its pixels, and its
# **slant**, by how many pixels the stroke moves to the right for each row upwards (a regression of the pixels' columns on
# their rows, weighted by their brightness). Then we take 200 codes, and correlate what a code does to one class with what
# it does to another.


# %%
def ink_and_slant(images):  # one column each
    light = images[:, 0] / images[:, 0].sum(dim=(1, 2), keepdim=True)
    place = torch.arange(28.0)
    up = (
        13.5
        - place[:, None]
        - ((13.5 - place[:, None]) * light).sum(dim=(1, 2), keepdim=True)
    )
    across = place - (place * light).sum(dim=(1, 2), keepdim=True)
    slant = (light * across * up).sum(dim=(1, 2)) / (light * up**2).sum(dim=(1, 2))
    return torch.stack([images.mean(dim=(1, 2, 3)), slant], dim=1)


# %%
torch.manual_seed(0)
codes = torch.randn(200, model.latent_dim)
pairs = torch.triu_indices(10, 10, offset=1)


# ink and slant: the correlations between all pairs of classes
def shared_style(draw):  # draw(digit): the pictures of all codes for this digit
    measured = torch.stack([ink_and_slant((draw(d) + 1) / 2) for d in range(10)])
    return [torch.corrcoef(measured[..., column])[*pairs] for column in (0, 1)]


def show_style(name, styles):
    for what, style in zip(["ink", "slant"], styles, strict=True):
        print(f"{name}, {what:5s}: correlation of two classes", end=" ")
        print(f"{style.mean():.2f} on average, {style.min():.2f} at the least")


# %%
def ask_for(digit, codes=codes, model=model):
    return model.from_codes(codes, torch.full((len(codes),), digit))


trained = shared_style(ask_for)
show_style("trained", trained)
if profile != "smoke":
    assert all(style.mean() > 0.5 and style.min() > 0.2 for style in trained)

# %% [markdown]
# It is (b), and no class is left out: even the two classes that agree least have something in common. Where a 1 leans, the
# 7 and the 9 of its column lean, and where one stroke is bold most are.
#
# Why? The loss does not ask for it. Turn the codes by a rotation $R_y$ of its own for each class: $G(R_y z, y)$. Standard
# normal codes stay standard normal when they are rotated, so every class keeps its distribution $q(x \mid y)$, and the
# game has the same value. (Nor does the bound of the conditional VAE change, if the codes of one class change their signs
# in encoder and decoder alike.) Yet the rotated generator shares nothing. The other extreme is a generator that was never
# trained:

# %%
torch.manual_seed(0)
size = model.latent_dim
turns = [torch.linalg.qr(torch.randn(size, size))[0] for _ in range(10)]
turned = shared_style(lambda digit: ask_for(digit, codes @ turns[digit]))
show_style("rotated", turned)
fresh = gan.build(**gan.recipe("conditional", profile)["model"])
untrained = shared_style(lambda digit: ask_for(digit, model=fresh))
show_style("untrained", untrained)
for style in turned:
    assert style.mean().abs() < 0.15
if profile != "smoke":
    assert all(style.min() > 0.7 for style in untrained)

# %% [markdown]
# So the common style comes from how the network is built. All classes share all convolutions, and at the beginning a
# label changes next to nothing: one code gives nearly the same picture for all ten classes. Training tells the classes
# apart, and nothing in it requires the code to be read differently for each. That is a property of the architecture and
# not of the game: ten generators, one for each class, would share nothing.
#
# To see it move, we walk with one code along a circle, and ask for all ten classes at each step:

# %%
torch.manual_seed(2)
first, second = torch.randn(2, model.latent_dim)
frames = []
for step in range(16):
    angle = torch.tensor(2 * math.pi * step / 16)
    # a circle of codes: as long as the prior's, and it closes
    code = angle.cos() * first + angle.sin() * second
    ten = (model.from_codes(code.repeat(10, 1), torch.arange(10)) + 1) / 2
    sheet = F.interpolate(
        make_grid(ten, nrow=5, padding=1, pad_value=0.5)[None, :1], scale_factor=3
    )[0, 0]
    frames.append(
        Picture.fromarray((255 * sheet).byte().numpy()).quantize(colors=32)
    )


# %% mystnb={"image": {"alt": "Animation: the ten digits in two rows, whose strokes lean, swell and shrink together while each stays the digit it is."}}
buffer = io.BytesIO()
frames[0].save(
    buffer, "GIF", save_all=True, append_images=frames[1:], duration=180, loop=0
)
print(
    f"{len(frames)} frames: "
    "one round of a circle in the space of codes, the same for all ten classes"
)
display(
    Image(
        data=buffer.getvalue(),
        format="gif",
        alt="Ten digits change their style together",
    )
)


# %% [markdown]
# ## Projection against concatenation
#
# Which of the parts does the work? We train five small conditional GANs with the same budget, a fraction of the main
# model's. "D adds" and "G adds" take the discriminator or the generator of "both multiply" from the table's lower row to
# its upper one, "both add" takes both. In the last row both players are given the label, and the discriminator replaces it by a constant one.
#
# > **Predict, then run.** Which row will be worst? (a) The generator that only adds the label. (b) The discriminator that only
# > adds it. (c) The discriminator that does not see it. And *how* bad?


# %%
# a common mistake: it is given the label and makes no use of it
class BlindDiscriminator(gan.ConvDiscriminator):
    def forward(self, x, labels=None):
        return super().forward(x, torch.zeros_like(labels))


# %%
slim = {"channels": 16, "hidden": 128, "num_classes": 10}
if profile == "smoke":
    slim |= {"channels": 4, "hidden": 16}
# fewer steps, shorter memory
game = gan.recipe("conditional", profile)["model"]["game"] | {"ema_decay": 0.98}


# %%
def compare(generator="batch_norm", discriminator="projection", kind=None):
    torch.manual_seed(0)
    made = gan.ConvGenerator(64, shape, **slim, conditioning=generator)
    kind = kind or gan.ConvDiscriminator
    model = gan.GAN(made, kind(shape, **slim, conditioning=discriminator), **game)
    curve = training.fit(model, data, max_epochs=short, limit_val_batches=0)
    generated, asked = sample_evenly(model, judged)
    return metrics.judge_accuracy(generated, asked), curve["discriminator_loss"][-1]


# %%
settings = {
    "both multiply": {},
    "D adds": {"discriminator": "concatenation"},
    "G adds": {"generator": "concatenation"},
    "both add": {"generator": "concatenation", "discriminator": "concatenation"},
    "D is blind": {"kind": BlindDiscriminator},
}
compared = {name: compare(**changes) for name, changes in settings.items()}
for name, (obeyed, loss) in compared.items():
    print(
        f"{name:14s} judge accuracy {obeyed:.3f}, "
        f"discriminator's loss at the end {loss:.2f} nats"
    )

# %%
multiply = min(compared[name][0] for name in ("both multiply", "G adds"))
losses = [loss for _, loss in compared.values()]
if profile != "smoke":
    assert compared["D is blind"][0] < 0.2 < 0.7 < multiply
    assert compared["both add"][0] < multiply
    assert 0.1 < min(losses) < max(losses) < 1.45


# %% mystnb={"image": {"alt": "Five horizontal bars of judge accuracy. The two where the discriminator multiplies are long; where both players add it is shorter; the blind one's ends near the line of pure chance."}}
plt.figure(figsize=(6, 2.8))
plt.barh(list(compared), [obeyed for obeyed, _ in compared.values()])
plt.axvline(0.1, color="#000000", linestyle="--", label="chance")
plt.gca().invert_yaxis()
plt.xlim(0, 1)
plt.xlabel("judge accuracy")
plt.legend(loc="lower right")
plt.show()

# %% [markdown]
# It is (c), and it is no better than guessing: about one in ten. The two rows whose discriminator multiplies are
# high, whatever the generator does with its label. A discriminator that only adds has to find the product by itself;
# where both players only add, the model is behind them after so few steps. With longer training such models learn to obey
# as well, as Mirza and Osindero's did. How far they are at a given moment varies with the seed (change it and see), so do
# not read an order into rows that lie close together.

# %% [markdown]
# ## When it fails: labels that nobody checks
#
# The last row is the mistake to remember. The blind game is the old one: the discriminator asks only whether a picture is
# real. A generator that draws good pictures and ignores the label wins it, and to obey would gain it nothing. So the
# accuracy is that of guessing. Now look at the losses printed beside it. The discriminator of a game that is going well is
# right more often than a guess and not always, so its loss lies between 0 and that of guessing, $2 \log 2 \approx 1.39$
# nats. All five do, the blind row's too. Only a measurement that uses the label finds a fault in the label.
#
# On the ring it can be seen:

# %% mystnb={"image": {"alt": "The ring again; wherever generated points lie, those of all eight colours are mixed."}}
blind_points, blind_asked, blind_nearest = ask(
    play(real_label=torch.zeros_like, fake_label=torch.zeros_like)
)
blind_ring = (blind_nearest == blind_asked).float().mean().item()
print(
    "share of points next to the Gaussian asked for: "
    f"{blind_ring:.3f}; chance: {1 / 8:.3f}"
)
draw_ring(blind_points, blind_asked)
assert profile == "smoke" or blind_ring < 0.25
plt.show()

# %% [markdown]
# The colours are mixed wherever there are points: what is asked for hardly changes where a point lands.
#
# In one's own code the mistake takes many forms: labels left out of one of the discriminator's two calls, a batch shuffled
# without its labels, a label that is only added at the end (the form $\psi(x) + b_y$ above), classes counted from 0 in one place and
# from 1 in the other (exercise 1). The test is always the same: **change the label, keep the code, and check that the
# picture becomes what the new label says.**
#
# ## When it fails: one picture per class
#
# The opposite fault is harder to see, since the measure of this chapter cannot see it at all. We sharpen the question: classes
# with more than one form. On the ring, four classes of two Gaussians each, on opposite sides.
#
# > **Predict, then run.** Half of the points of a class should lie on either side. The tiny GAN, which has obeyed so well,
# > will (a) find both sides; (b) find one side of each class; (c) put its points in the middle.

# %% mystnb={"image": {"alt": "The ring with four colours; about half of its circles hold one colour each, the others are empty."}}
points, asked, nearest = ask(play(classes=4))
half_obedience = (nearest % 4 == asked).float().mean().item()
half_found = metrics.ring_coverage(points, centres, std=0.1).modes_found
print(
    "points next to a Gaussian of their class: "
    f"{half_obedience:.3f}; Gaussians found: {half_found} of 8"
)
draw_ring(points, asked)
plt.show()
assert profile == "smoke" or (half_obedience > 0.95 and half_found <= 5)

# %% [markdown]
# It is (b). Obedience is nearly perfect, and about half of the data is never drawn. This is mode collapse, inside the classes: every class
# is a small GAN of its own, with all the troubles of one.
#
# Digits have no two sides, but many handwritings. We produce the fault on purpose, with the model that we trained, by
# **shrinking its codes**: $z = s\,\varepsilon$ with $s < 1$. At $s = 0$ each class has a single picture. Beside the judge
# accuracy we measure **recall**, the share of held-out digits that lie among the generated ones in the judge's features
# (Kynkäänniemi et al., 2019).


# %%
def obedience_and_variety(pictures, asked):
    return metrics.judge_accuracy(pictures, asked), metrics.precision_recall(
        pictures, x_held[:judged]
    ).recall


# %%
shrunk = {
    scale: sample_evenly(model, judged, scale)
    for scale in [0.0, 0.25, 0.5, 0.75, 1.0]
}
by_scale = {
    scale: obedience_and_variety(*drawn_so) for scale, drawn_so in shrunk.items()
}
for scale, (obeyed, recall) in by_scale.items():
    print(
        f"codes times {scale:.2f}: judge accuracy {obeyed:.3f}, recall {recall:.3f}"
    )
ceiling = metrics.precision_recall(x_train[:judged], x_held[:judged]).recall
print(f"training digits in place of generated ones: recall {ceiling:.3f}")


# %% mystnb={"image": {"alt": "As the codes grow, judge accuracy stays high, while recall climbs from zero towards a dashed line and does not reach it."}}
obeyed, recalls = zip(*by_scale.values(), strict=True)
if profile != "smoke":
    assert recalls == tuple(sorted(recalls))
    assert recalls[0] < 0.05 < recalls[-1] < ceiling
    assert min(obeyed) > 0.85
plt.plot(list(by_scale), obeyed, marker="o", label="judge accuracy")
plt.plot(list(by_scale), recalls, marker="s", label="recall")
dashed = {"color": "#606060", "linestyle": "--"}
plt.axhline(ceiling, **dashed, label="recall of training digits")
plt.xlabel("size of the codes, as a share of the prior's")
plt.ylabel("share")
plt.legend(loc=(0.04, 0.52))
plt.show()


# %% [markdown]
# At the left end the model obeys perfectly: asked a hundred times for a 7, it draws the same 7 a hundred times, is right a
# hundred times, and covers nothing of the data. To the right variety grows, and obedience may pay a little for it.
# Shrinking codes (*truncation*) is a fair tool when only the best pictures are wanted; as a way to raise a reported
# accuracy it is cheating.
#
# The full model, at the right end, does not reach the dashed line: there are digits that it does not draw, or rarely.
# Which classes miss most?

# %%
# as many of each class on all sides, since recall depends on it
rows = {"smoke": 10, "cpu": 80, "gpu": 80}[profile]
kinds = {
    "generated": (generated, torch.arange(samples) % 10),
    "training digits": (x_train, y_train),
}


# %%
def recall_by_class(pictures, classes):
    return [
        metrics.precision_recall(
            pictures[classes == d][:rows], x_held[y_held == d][:rows]
        ).recall
        for d in range(10)
    ]


recalls = {name: recall_by_class(*given) for name, given in kinds.items()}
if profile != "smoke":
    ours, theirs = recalls.values()
    assert sum(a < b for a, b in zip(ours, theirs, strict=True)) > 5
    assert min(ours) > 0.1


# %% mystnb={"image": {"alt": "Pairs of bars for the ten classes: the recall of generated digits is below that of real ones in most classes, by different amounts."}}
for (name, values), offset in zip(recalls.items(), [-0.2, 0.2], strict=True):
    plt.bar([d + offset for d in range(10)], values, width=0.4, label=name)
plt.xticks(range(10))
plt.xlabel("class")
plt.ylabel("recall within the class")
plt.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
plt.show()


# %% [markdown]
# In most classes generated digits cover less than real ones do. (With so few pictures in a class, a difference of a few
# hundredths is noise.) No bar is near zero: no class has collapsed, and yet most have less variety than the handwriting
# they were learnt from. Of all this the judge accuracy said nothing.
#
# [The next chapter](wasserstein_gan.ipynb) changes the loss, so that it still has a slope where generated and real
# examples do not overlap, and counts over ten seeds whether modes are lost.

# %% [markdown]
# ## What the source articles got wrong here
#
# Conditional GANs are named there, and no formula says what the condition does. More in
# [the errata](../../book/errata.md#a-conditional-gan-in-name-only).

# %% [markdown]
# ## The promise
#
# This chapter promises that of 2,000 digits asked for by class, at least 95 % are read as what was asked for.

# %%
figures = results.record(
    "conditional_gan",
    profile,
    judge_accuracy=round(accuracy, 4),
    judge_frechet_distance=round(distances["conditional GAN"], 2),
    recall=round(by_scale[1.0][1], 3),
    judge_accuracy_by_setting={
        name: round(obeyed, 3) for name, (obeyed, _) in compared.items()
    },
)
print(figures["judge_accuracy"])


# %%
if profile != "smoke":
    assert figures["judge_accuracy"] >= 0.95, "digits asked for by class"
    unlabelled = distances["unconditional GAN"]
    assert distances["conditional GAN"] < unlabelled, "labels make better pictures"
    blind, both = compared["D is blind"][0], compared["both multiply"][0]
    assert blind < 0.3 < 0.7 < both, "a blind discriminator, a deaf generator"
    obeying = min(ring_obedience, half_obedience, 8 - half_found)
    assert blind_ring < 0.25 < 0.95 < obeying, "the same on the ring"
    obeyed, recall = by_scale[0.0]
    assert recall < 0.05 < 0.85 < obeyed, "one picture per class: obeys, no recall"


# %% [markdown]
# ## Summary
#
# - With labels the game is about pairs, $(x, y)$ against $(G(z, y), y)$: one game for each class, in two shared networks.
# - The best logit is $\log p(x \mid y) / q(x \mid y)$. It answers two questions: what the label says, and whether the picture is
#   real at all. With shared features the first answer is a product $v_y^\top \phi(x)$: the projection discriminator.
# - A label that is only added at the end is as good as none. Concatenation adds at the beginning, and leaves it to the
#   layers above to find the product.
# - A discriminator that does not see the label makes a generator that does not obey, and no loss curve shows it.
# - The same code gives all classes the same style. The weights that they share do that, not the loss.
# - Judge accuracy measures obedience and not variety: one picture per class reaches 1. Report recall beside it.
#
# ## Check yourself
#
# **1.** On the ring, show the discriminator the label $y$ with real points and $y + 1$ with generated ones, as if one part of
# a program counted from 0 and another from 1. What will the generator learn? Is its obedience at chance, above or below?

# %% tags=["hide-cell"]
# @title Solution
_, shifted_asked, shifted_nearest = ask(play(fake_label=lambda y: (y + 1) % 8))
as_asked = (shifted_nearest == shifted_asked).float().mean().item()
one_further = (shifted_nearest == (shifted_asked + 1) % 8).float().mean().item()
print(
    f"next to the Gaussian asked for {as_asked:.3f}, "
    f"next to the one after it {one_further:.3f}"
)
if profile != "smoke":
    assert as_asked < 0.05 < 0.95 < one_further

# %% [markdown]
# <details><summary>Answer</summary>
#
# It is far below chance: the generator obeys perfectly, in a language in which 3 means 4. The discriminator defines
# what a label means; the generator can only learn the meaning that it is shown. A judge accuracy far below chance is a sign
# of labels that are mixed up in a fixed way, and one at chance is a sign of labels that do not arrive.
#
# </details>
#
# **2.** Show that ten constant channels add, in a convolution without padding, one number for each class and each feature, and say what
# padding changes.

# %% tags=["hide-cell"]
# @title Solution
torch.manual_seed(0)
convolution = nn.Conv2d(1 + 10, 8, kernel_size=4, stride=2)
pictures = 2 * x_test[:8] - 1


# %% tags=["hide-cell"]
# @title Solution, continued
maps = F.one_hot(y_test[:8], 10).float()[:, :, None, None].expand(-1, -1, 28, 28)
with torch.no_grad():
    together = convolution(torch.cat([pictures, maps], dim=1))
    pixels_only = F.conv2d(
        pictures, convolution.weight[:, :1], convolution.bias, stride=2
    )
    # a row of eight numbers for each class
    by_class = convolution.weight[:, 1:].sum(dim=(2, 3)).T
assert torch.allclose(
    together, pixels_only + by_class[y_test[:8]][:, :, None, None], atol=1e-5
)
print("The label adds one number to each feature.")


# %% [markdown]
# <details><summary>Answer</summary>
#
# A kernel over a constant channel sums its weights, at every place the same. With padding, windows at the border see some
# zeros and sum fewer of them: along the border the number is another one, which also tells the layers above where the border is.
#
# </details>
#
# **3.** In the world of tables, let the generator be asked for the classes equally often, though the data's shares are 0.5, 0.3
# and 0.2, and let it draw each class perfectly. What is the discriminator's best logit? Does it say anything about pictures?

# %% tags=["hide-cell"]
# @title Solution
perfect_but_even = p / p.sum(dim=0) / 3  # q(x|y) = p(x|y), q(y) = 1/3
loss, logits = lowest(lambda b: b.expand(6, 3), [(1, 3)], p, perfect_but_even)
print(
    "a number for each class:",
    [round(value, 3) for value in logits[0].tolist()],
    f"loss {loss:.4f} nats",
)
assert torch.allclose(logits[0], (3 * class_shares).log(), atol=1e-2)
assert loss < math.log(4) - 1e-3

# %% [markdown]
# <details><summary>Answer</summary>
#
# With different shares $p(y)$ and $q(y)$ the logit gets a third term, $\log p(y)/q(y)$, the same for all pictures
# of a class. The discriminator beats $\log 4$ by knowing which classes are asked for too often; there is nothing the
# generator could do about that. Ask for the classes of the real batch, as `gan.GAN` does, and the term is gone.
#
# </details>
#
# **4.** Another way to condition (AC-GAN: Odena, Olah and Shlens, 2017) gives the discriminator a second output that
# names the class, and rewards both players when it names the right one. Which part of the log-odds does this stand for, and
# what is missing? What would you expect of the variety within a class?
#
# <details><summary>Answer</summary>
#
# It rewards a large $\log p(y \mid x)$. In the log-odds this is only the first half of the first term: $- \log q(y \mid x)$ is
# missing, which is what tells the generator to *stop* once its pictures are as clearly of their class as real ones are. So it
# is paid for pictures that are ever easier to classify, more typical than the data, and variety suffers. (Miyato and
# Koyama discuss this in their paper.)
#
# </details>
#
# **5.** Why does the conditional ring game find all eight Gaussians when each is a class, although nothing was done against
# mode collapse? Why would that not help with faces?
#
# <details><summary>Answer</summary>
#
# Each Gaussian is asked for by name in every batch, and points elsewhere are easy to recognise as generated, given the label. Labels break
# a distribution with many modes into simpler ones with few. It helps exactly as far as the labels name the modes: a face labelled
# "smiling" can still be always the same smiling face.
#
# </details>
#
# **Graded assignment**: [the pieces of a GAN](../exercises/gan.ipynb).
#
# ## Further reading
#
# - M. Mirza and S. Osindero, [Conditional Generative Adversarial Nets](https://arxiv.org/abs/1411.1784) (2014): short, and
#   the idea whole.
# - T. Miyato and M. Koyama, [cGANs with Projection Discriminator](https://arxiv.org/abs/1802.05637) (2018): the derivation
#   of this chapter, and a thousand classes.
# - H. de Vries et al., [Modulating early visual processing by language](https://arxiv.org/abs/1707.00683) (2017):
#   conditional batch normalisation, there with a question about the picture in place of the class.
# - V. Dumoulin, J. Shlens and M. Kudlur, [A Learned Representation For Artistic Style](https://arxiv.org/abs/1610.07629)
#   (2017): one network, many painters, told apart by gains and shifts alone; each picture is normalised by itself.
# - A. Odena, C. Olah and J. Shlens, [Conditional Image Synthesis With Auxiliary Classifier
#   GANs](https://arxiv.org/abs/1610.09585) (2017).
# - T. Kynkäänniemi et al., [Improved Precision and Recall Metric for Assessing Generative
#   Models](https://arxiv.org/abs/1904.06991) (2019).
