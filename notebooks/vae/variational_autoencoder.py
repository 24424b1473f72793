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
# # The variational autoencoder
#
# **After this chapter you can**
#
# - say why the decoder of a plain autoencoder does not generate, and what two changes make it do so;
# - derive the evidence lower bound line by line, and say what each of its terms asks for;
# - write a variational autoencoder in forty lines, and train one in two minutes without a GPU;
# - measure it in nats on pictures it has never seen, and tighten the measurement with importance weights;
# - recognise posterior collapse in a curve, and cure it.
#
# **You need**: Python, PyTorch's tensors and gradients, and the ideas of density, likelihood and divergence from
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
from pprint import pprint

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torchmetrics.functional.image import peak_signal_noise_ratio as psnr

from aigc_course import plots, results, training, vae
from aigc_course.data import ImageData
from aigc_course.metrics import judge_probabilities


# %%
plots.use_style()
profile = training.resolve_profile(profile)
short = {"smoke": 1, "cpu": 12, "gpu": 40}[profile]
print(
    f"Profile {profile}: "
    f"the small models train for {short} epochs, the main one for",
    end=" ",
)
print(vae.recipe(profile)["fit"]["max_epochs"])


# %% [markdown]
# ## A decoder that cannot dream
#
# An **autoencoder** is two networks back to back. The *encoder* squeezes a picture $x$ of 784 pixels into a short list
# of numbers $z$, its *code*; the *decoder* unfolds a code into a picture. They are trained together, to give back what
# went in. Our pictures are 5,000 handwritten digits: 4,000 to train on, 500 for choices, 500 for the final measurement.

# %% mystnb={"image": {"alt": "Sixteen handwritten digits in two rows, white on black."}}
data = ImageData("digits", batch_size=100)
x_test, labels_test = data.split("test")
print(
    f"{len(data.split('train')[0])} training pictures "
    f"of shape {tuple(x_test.shape[1:])}, values in [0, 1]"
)
plots.image_grid(x_test[:16])
plt.show()

# %% [markdown]
# Sixteen digits from the test split, which no model in this chapter is trained on. Here is an autoencoder whose code has
# 16 numbers, and what it makes of eight of them: the upper row is the original, the lower one went through the code.

# %% mystnb={"image": {"alt": "Upper row: eight digits. Lower row: the same digits, a little softer, after encoding and decoding."}}
torch.manual_seed(0)
autoencoder = vae.Autoencoder(latent_dim=16)
training.fit(autoencoder, data, max_epochs=short)
originals = x_test[:8]
copies = autoencoder.reconstruct(originals)
plots.image_grid(torch.cat([originals, copies]), row_labels=["original", "copy"])
plt.show()

# %% [markdown]
# Sixteen numbers are enough to redraw a digit. So one could hope for a generator for free: throw the encoder away,
# invent sixteen numbers, and let the decoder draw.
#
# > **Predict, then run.** We draw the sixteen numbers from the standard normal distribution, as one of the source
# > articles does. What will the decoder draw? (a) New digits. (b) Copies of training digits. (c) Tangles.

# %% mystnb={"image": {"alt": "Two rows of pictures from invented codes: tangled strokes, few of which are digits, in the upper row blurred as well."}}
with torch.no_grad():
    codes = autoencoder.encode(data.split("train")[0])
    torch.manual_seed(2)
    invented = torch.randn(8, 16)
    # the mean and the spread of the real codes
    matched = codes.mean(dim=0) + codes.std(dim=0) * invented
    dreams = autoencoder.decode(torch.cat([invented, matched])).sigmoid()
print(f"codes of real digits have a spread of about {codes.std(dim=0).mean():.1f}")
plots.image_grid(dreams, row_labels=["N(0, I)", "matched"])
plt.show()

# %% [markdown]
# It is (c). Perhaps the standard normal distribution was only the wrong guess? In the lower row the invented codes have
# the very mean and spread of the real ones. The strokes are clearer, yet few of the pictures are digits. The decoder has
# learnt what to do with the codes of real pictures, and nothing asked it to make sense of any other. The codes of real
# digits lie like islands in a sea of sixteen dimensions, and even with the right centre and the right spread most
# invented codes fall into the water.
#
# A **variational autoencoder** (Kingma and Welling, 2013) makes two changes:
#
# 1. the encoder answers with a small *cloud* of codes instead of a point, and the decoder must do well all over it:
#    the islands grow;
# 2. the clouds are pulled towards one common distribution, from which we can draw: the islands join up.
#
# Both follow from a single idea, which also tells how hard to pull.

# %% [markdown]
# ## The model: a story about how pictures come about
#
# Forget the encoder for a moment. We tell a story of how a picture is made, in two steps:
#
# 1. draw a code from a fixed and simple distribution, the **prior** $p(z) = \mathcal N(0, I)$: independent standard
#    normal numbers, $d$ of them (`latent_dim`);
# 2. draw the picture from a distribution that depends on the code, $p_\theta(x \mid z)$: the **decoder**, a network
#    with weights $\theta$, gives for each pixel $i$ the probability $p_i$ that it is lit.
#
# The story gives every picture a probability, averaged over all the codes it may have come from:
#
# $$p_\theta(x) = \int p_\theta(x \mid z)\, p(z)\, dz .$$
#
# Learning by maximum likelihood means: choose $\theta$ so that $\log p_\theta(x)$ is large on average over the data.
# (Logarithms are natural, so it is measured in *nats*.) The integral stands in the way. It runs over all codes, and for
# a given picture nearly all of them contribute nothing: the chance that a random code decodes to *this* 7 is
# astronomically small.
#
# The way out is a helper that says where to look. The **encoder** $q_\phi(z \mid x)$, a second network with weights
# $\phi$, looks at the picture and proposes the codes it may have come from: a normal distribution with a mean $\mu$ and
# a standard deviation $\sigma$ for each of the $d$ numbers,
#
# $$q_\phi(z \mid x) = \mathcal N\big(\mu_\phi(x), \operatorname{diag} \sigma_\phi^2(x)\big).$$
#
# The right answer would be the **posterior** $p_\theta(z \mid x)$, but to compute it one needs $p_\theta(x)$, the
# integral we cannot do. The encoder learns to approximate it.

# %% [markdown]
# ## The evidence lower bound, line by line
#
# Below, $\mathbb E_q$ is the average over $z \sim q_\phi(z \mid x)$. We begin with the quantity we want and change nothing:
#
# $$
# \begin{aligned}
# \log p_\theta(x)
# &= \mathbb E_q\big[\log p_\theta(x)\big] && \text{(no } z \text{ in it)} \\
# &= \mathbb E_q\!\left[\log \frac{p_\theta(x, z)}{p_\theta(z \mid x)}\right]
#   && \text{(the product rule)} \\
# &= \mathbb E_q\!\left[\log \frac{p_\theta(x, z)}{q_\phi(z \mid x)}\right]
#  + \mathbb E_q\!\left[\log \frac{q_\phi(z \mid x)}{p_\theta(z \mid x)}\right]
#   && \text{(expanded by } q) \\
# &= \underbrace{\mathbb E_q\!\left[\log \frac{p_\theta(x, z)}{q_\phi(z \mid x)}\right]}_{\text{ELBO}}
#  + \underbrace{D_{\mathrm{KL}}\big(q_\phi(z \mid x) \,\|\, p_\theta(z \mid x)\big)}_{\ge\, 0} .
# \end{aligned}
# $$
#
# The second term is a Kullback–Leibler divergence, which is never negative. So the first is a *lower bound* on
# $\log p_\theta(x)$, the **evidence lower bound** or ELBO, and it contains nothing that we cannot compute. Split the
# joint distribution, $p_\theta(x, z) = p_\theta(x \mid z)\, p(z)$, and it reads
#
# $$
# \text{ELBO}(x) = \underbrace{\mathbb E_q\big[\log p_\theta(x \mid z)\big]}_{\text{does the code explain the picture?}}
# - \underbrace{D_{\mathrm{KL}}\big(q_\phi(z \mid x) \,\|\, p(z)\big)}_{\text{what does the code cost?}} .
# $$
#
# Here are the two changes from above. The first term makes the decoder reconstruct from *every* code of the cloud; the
# second pulls every cloud towards the prior. The price is fixed: both are in nats, and there is no weight to tune.
#
# Raising the bound does two things at once. It raises $\log p_\theta(x)$, or it closes the gap, by making
# $q_\phi(z \mid x)$ a better approximation of the posterior. Encoder and decoder are trained together, on one number.
#
# We can watch the bound at work where everything is known. Let $z \sim \mathcal N(0, 1)$ and
# $x \mid z \sim \mathcal N(z, 1)$, both plain numbers. Then $p(x) = \mathcal N(0, 2)$, and the posterior of $z$ given
# $x$ is $\mathcal N(x/2, 1/2)$. Take $x = 2$, let $q = \mathcal N(m, s^2)$, and move $m$.

# %% mystnb={"image": {"alt": "Two hill-shaped curves of the bound against m, both below a dashed horizontal line; one touches it at m = 1."}}
x, m = torch.tensor(2.0), torch.linspace(-1, 3, 201)
log_evidence = torch.distributions.Normal(0, 2**0.5).log_prob(x)


# E_q[log p(x|z)] in closed form, minus the divergence from the prior
def bound(m, s):
    log_likelihood = -0.5 * ((x - m) ** 2 + s**2) - 0.5 * torch.log(
        torch.tensor(2 * torch.pi)
    )
    return log_likelihood - 0.5 * (m**2 + s**2 - 1 - torch.log(s**2))


for s, style in [(torch.tensor(0.5).sqrt(), "-"), (torch.tensor(0.25), ":")]:
    plt.plot(m, bound(m, s), style, label=f"ELBO with s = {s:.2f}")
plt.axhline(log_evidence, color="black", linestyle="--", label="log p(x)")
plt.xlabel("m, the mean of q")
plt.ylabel("nats")
plt.legend()
plt.show()

# %%
touching = bound(x / 2, torch.tensor(0.5).sqrt())
print(
    f"log p(x) = {log_evidence:.4f}, "
    f"the bound at the true posterior = {touching:.4f}"
)
assert torch.allclose(touching, log_evidence)
assert (bound(m, torch.tensor(0.25)) < log_evidence).all()

# %% [markdown]
# The dashed line is what we want to know. Every curve stays below it. The solid one has the posterior's own spread, and
# touches the line where its mean is the posterior's too: there the gap is zero. The dotted one is too narrow, and no
# mean can make up for it: its gap is the divergence between the narrow $q$ and the posterior.

# %% [markdown]
# ## Two formulas to compute it
#
# **The cost of the code.** For a normal $q$ and a standard normal prior the divergence has a closed form, a sum over
# the $d$ numbers of the code:
#
# $$
# D_{\mathrm{KL}}\big(\mathcal N(\mu, \operatorname{diag}\sigma^2) \,\|\, \mathcal N(0, I)\big)
# = \tfrac12 \sum_{j=1}^{d} \big(\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2\big).
# $$
#
# It is zero only for $\mu = 0$, $\sigma = 1$. The encoder gives out $\log\sigma^2$ (`log_var`), which may be any real
# number, so that $\sigma$ comes out positive by itself.


# %%
def gaussian_kl(mu, log_var):
    # sum over the code; one value a picture
    return 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(dim=1)


mu, log_var = torch.randn(5, 3), torch.randn(5, 3)
q, prior = (
    torch.distributions.Normal(mu, (0.5 * log_var).exp()),
    torch.distributions.Normal(0.0, 1.0),
)
print(gaussian_kl(mu, log_var))
assert torch.allclose(
    gaussian_kl(mu, log_var),
    torch.distributions.kl_divergence(q, prior).sum(dim=1),
    atol=1e-5,
)

# %% [markdown]
# **The explanation.** The average $\mathbb E_q[\log p_\theta(x \mid z)]$ has no closed form. We estimate it by drawing a
# code, one for each picture in a batch. But drawing is a step that gradients cannot pass: how should the encoder learn
# that a slightly larger $\mu$ would have been better, if the code came out of a random generator?
#
# The **reparameterisation trick** moves the randomness out of the way. Draw $\epsilon \sim \mathcal N(0, I)$ first, which
# depends on nothing, and then compute
#
# $$z = \mu + \sigma \odot \epsilon .$$
#
# It has the distribution we want, and it is an ordinary function of $\mu$ and $\sigma$, with $\partial z / \partial \mu = 1$
# and $\partial z / \partial \sigma = \epsilon$. We test it on a case with a known answer: the average of $z^2$ is
# $\mu^2 + \sigma^2$, so its derivatives must be $2\mu$ and $2\sigma$.


# %%
def reparameterise(mu, log_var):
    # exp(log_var / 2) is the standard deviation
    return mu + (0.5 * log_var).exp() * torch.randn_like(mu)


torch.manual_seed(0)
mu, log_var = (
    torch.tensor(0.5, requires_grad=True),
    torch.tensor(0.0, requires_grad=True),
)


# %%
reparameterise(
    mu.expand(100_000), log_var.expand(100_000)
).square().mean().backward()
# log_var is 2 log sigma, so the derivative by sigma is 2 / sigma times the one by
# log_var; here sigma is 1.
print(
    f"by mu: {mu.grad:.2f} (exactly 1.00), by sigma: "
    f"{2 * log_var.grad:.2f} (exactly 2.00)"
)


# %% [markdown]
# The estimates agree with the derivatives we know, although a random generator stood in the middle.

# %% [markdown]
# ## From scratch
#
# With these two formulas the whole method is short. Pixels are independent given the code, each lit with probability
# $p_i = \operatorname{sigmoid}(\ell_i)$ of the decoder's output $\ell_i$ (the *logit*), so that
#
# $$\log p_\theta(x \mid z) = \sum_{i=1}^{784} \big(x_i \log p_i + (1 - x_i) \log(1 - p_i)\big),$$
#
# which is minus PyTorch's `binary_cross_entropy_with_logits`, **summed** over the pixels. (A mean over the 784 pixels
# would make this term 784 times smaller and leave the cost of the code as it is. That is a common bug; you will see
# below what it does.) The loss is minus the ELBO, averaged over the batch.


# %%
class TinyVAE(nn.Module):
    def __init__(self, latent_dim=16, width=256):
        super().__init__()
        down = nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 2 * latent_dim)
        up = nn.Linear(latent_dim, width), nn.ReLU(), nn.Linear(width, 784)
        self.encoder, self.decoder = nn.Sequential(*down), nn.Sequential(*up)

    # x: (batch, 1, 28, 28) -> minus the ELBO in nats, averaged over the batch
    def loss(self, x):
        x = x.flatten(1)
        mu, log_var = self.encoder(x).chunk(2, dim=1)
        logits = self.decoder(reparameterise(mu, log_var))
        losses = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        log_likelihood = -losses.sum(dim=1)
        return (gaussian_kl(mu, log_var) - log_likelihood).mean()


# %%
torch.manual_seed(0)
tiny = TinyVAE()
optimizer = torch.optim.Adam(tiny.parameters(), lr=2e-3)
x_train = data.split("train")[0]
for epoch in range(3):
    for batch in x_train[torch.randperm(len(x_train))].split(100):
        # before backward: it clears the gradients of the batch before
        optimizer.zero_grad()
        loss = tiny.loss(batch)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        print(
            f"epoch {epoch + 1}: {tiny.loss(x_test):.0f} nats on held-out pictures"
        )

# %% [markdown]
# The number falls from epoch to epoch. There is no second loss, no second optimiser and no alternation: one loss trains
# both networks.

# %% [markdown]
# ## With the package
#
# `aigc_course.vae.VAE` is the same model with small convolutional networks for encoder and decoder, and with arguments
# that are checked. Its methods have the names of this chapter: `encode` gives `mu` and `log_var`, `decode` gives `logits`, `elbo` gives the two terms for each picture. With
# the same random numbers, our formulas above and the package must agree:

# %%
model = vae.VAE(latent_dim=16)
batch = x_test[:10]
torch.manual_seed(0)
log_likelihood, kl = model.elbo(batch)


# %%
torch.manual_seed(0)
mu, log_var = model.encode(batch)
logits = model.decode(reparameterise(mu, log_var))
ours = (
    -F.binary_cross_entropy_with_logits(logits, batch, reduction="none")
    .flatten(1)
    .sum(dim=1)
)
assert torch.allclose(kl, gaussian_kl(mu, log_var), atol=1e-4)
assert torch.allclose(log_likelihood, ours, atol=1e-2)
print(
    f"an untrained model: log-likelihood {log_likelihood.mean():.0f}, "
    f"cost of the code {kl.mean():.2f} nats"
)


# %% [markdown]
# An untrained decoder finds every pixel about equally likely to be lit or dark, which costs $784 \log 2 \approx 543$
# nats a picture. Now we train in earnest. The recipe is a dictionary that the package keeps, so that the next
# chapter can take over this very model:

# %%
for part, settings in vae.recipe(profile).items():
    print(part)
    pprint(settings, sort_dicts=False)

# %% [markdown]
# `rotate`, `shift` and `scale` draw every training digit a little turned, moved and resized, differently each time: 4,000
# pictures are few, and a 7 that leans a little is still a 7. (A *flip* would be wrong here: a mirrored 7 is no digit.)
# `vae.train` does what you would write yourself: `VAE(**recipe["model"])`, `ImageData(**recipe["data"])`, and
# `training.fit(model, data, **recipe["fit"])`.

# %%
model, history = vae.train(profile)
first, last = history["val_loss"][0], history["val_loss"][-1]
print("negative ELBO on the validation split:")
print(f"{first:.0f} nats after the first epoch, {last:.0f} after the last")

# %% mystnb={"image": {"alt": "Training and validation loss fall steeply at first and then slowly flatten, close together."}}
ax = plots.curves(
    history, ["train_loss", "val_loss"], ylabel="negative ELBO (nats a picture)"
)
if profile != "smoke":
    ax.set_ylim(history["val_loss"][-1] - 8, history["val_loss"][-1] + 60)
plt.show()

# %% [markdown]
# A healthy curve: steep at first, then flatter and flatter, and the two lines go down together. The training line lies
# *above* the validation line, since the training pictures are the turned and shifted ones, which are harder to explain.
# A validation line that turns upwards while the training line keeps falling would mean overfitting; a line that
# stays flat near 200 nats from the start means that something is broken. We shall break it below.

# %% mystnb={"image": {"alt": "The divergence rises from near zero within the first epochs and then settles on a plateau."}}
plots.curves(
    history, ["train_kl", "val_kl"], ylabel="cost of the code (nats a picture)"
)
plt.show()

# %% [markdown]
# The second curve shows what the code costs. It starts low, where the code says little, and *rises*: the decoder
# learns to use the code, and pays for it because each nat spent saves more than one nat in the reconstruction. A
# divergence that rises is good news; one that falls to zero and stays there is the failure of the section "When it fails".

# %% [markdown]
# ## Look at it
#
# First the reconstructions, then what we came for: codes drawn from the prior.

# %% mystnb={"image": {"alt": "Upper row: eight digits. Lower row: their reconstructions, recognisable and slightly smoother."}}
plots.image_grid(
    torch.cat([originals, model.reconstruct(originals)]),
    row_labels=["original", "copy"],
)
plt.show()

# %% mystnb={"image": {"alt": "Thirty-two generated digits: many are legible, others are half one digit and half another."}}
torch.manual_seed(2)
plots.image_grid(model.sample(32))
plt.show()

# %% [markdown]
# None of these pictures exists in the data. Many are digits one can name; others are halfway between two, for the prior
# has no gaps while the world of digits has. The strokes are a little soft. The model gives every pixel a probability,
# and where several strokes would fit it shows their average: the price of treating pixels as independent given the
# code.
#
# **Interpolation.** Between the codes of two digits we can walk in a straight line, and decode on the way.

# %% mystnb={"image": {"alt": "Four rows, each turning one digit into another in eight small steps through legible shapes."}}
with torch.no_grad():
    start, end = model.encode(x_test[:4])[0], model.encode(x_test[4:8])[0]
    # (1, 8, 1): eight steps from one code to the other
    steps = torch.linspace(0, 1, 8)[None, :, None]
    path = start[:, None] * (1 - steps) + end[:, None] * steps  # (4, 8, latent_dim)
    walk = model.decode(path.flatten(0, 1)).sigmoid()
plots.image_grid(walk)
plt.show()

# %% [markdown]
# Each row begins with one held-out digit and ends with another. Strokes bend, open and close on the way. A mixture of the
# two *pictures* would show both at once, one fading out and one fading in; the decoder instead draws a digit, or
# something near one, at nearly every step.
#
# **The space itself.** Sixteen dimensions cannot be drawn, two can. We train a small VAE with a code of two numbers, and
# plot the means $\mu$ of the held-out digits.

# %%
torch.manual_seed(0)
flat = vae.VAE(latent_dim=2)
flat_history = training.fit(flat, data, max_epochs=2 * short)
print(
    "with a code of two numbers: "
    f"{flat_history['val_loss'][-1]:.0f} nats on the validation split"
)

# %% mystnb={"image": {"alt": "A cloud of points around the origin. Ones, zeros and sevens have regions of their own at the edge; the others crowd in the middle."}}
with torch.no_grad():
    means = flat.encode(x_test)[0]
figure, ax = plt.subplots(figsize=(5.6, 4.4))
for digit in range(10):
    ax.scatter(
        *means[labels_test == digit].T,
        s=14,
        color=plots.COLOURS[digit],
        label=str(digit),
    )
ax.set_xlabel("first number of the code")
ax.set_ylabel("second number of the code")
ax.set_aspect("equal")
ax.legend(title="digit", loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# The model never saw a label; the colours are ours. Yet digits of a kind lie together, and the regions touch, so
# closely in the middle that some overlap: the islands have joined into one land, about as large as the prior. Now
# decode a grid of codes over it:

# %%
side = torch.distributions.Normal(0.0, 1.0).icdf(torch.linspace(0.03, 0.97, 12))
grid = torch.stack(
    torch.meshgrid(side, side.flip(0), indexing="xy"), dim=-1
).reshape(-1, 2)
with torch.no_grad():
    sheet = (
        flat.decode(grid)
        .sigmoid()
        .view(12, 12, 28, 28)
        .permute(0, 2, 1, 3)
        .reshape(336, 336)
    )


# %% mystnb={"image": {"alt": "A sheet of twelve by twelve small digits that change gradually from one kind to another across it."}}
plt.figure(figsize=(5, 5))
plt.imshow(sheet, extent=(-1.88, 1.88, -1.88, 1.88))
plt.xlabel("first number of the code")
plt.ylabel("second number of the code")
plt.grid(False)
plt.show()


# %% [markdown]
# Every place on the map is some digit or a transition between two. Two numbers are too few to draw sharply, which the
# higher negative ELBO printed above says too; but they show what the pull towards the prior has made of the space.

# %% [markdown]
# ## Measure it
#
# Pictures impress, numbers decide. On the 500 test digits, which served for no choice, the negative ELBO says how many
# nats the model needs at most for a picture: less is better. It has two parts, and both can be read by themselves.

# %%
torch.manual_seed(0)
log_likelihood, kl = model.elbo(x_test)
print(
    f"explanation {-log_likelihood.mean():6.1f} "
    f"nats   cost of the code {kl.mean():5.1f} nats"
)
neg_elbo = vae.negative_elbo(model, x_test)  # averaged over 20 draws of the code
print(f"negative ELBO on held-out digits: {neg_elbo:.1f} nats a picture")
print(
    "peak signal-to-noise ratio of the copies: "
    f"{psnr(model.reconstruct(x_test), x_test, data_range=1.0):.1f} dB"
)

# %% [markdown]
# How far is that from the truth, $-\log p_\theta(x)$? The gap is the divergence of $q$ from the posterior, which we cannot
# compute. But we can draw more than one code. The **importance-weighted bound** (Burda, Grosse and Salakhutdinov, 2016)
# averages $k$ of them *before* taking the logarithm:
#
# $$
# \log p_\theta(x) \;\ge\; \mathbb E\left[\log \frac1k \sum_{i=1}^k w_i\right], \qquad
# w_i = \frac{p_\theta(x \mid z_i)\, p(z_i)}{q_\phi(z_i \mid x)}, \qquad z_i \sim q_\phi(z \mid x).
# $$
#
# For $k = 1$ it is the ELBO. Each average $\frac1k \sum w_i$ estimates $p_\theta(x)$ without bias; the logarithm of a
# noisy estimate is too small on average (Jensen's inequality), and with more samples there is less noise.

# %%
torch.manual_seed(0)
ks = [1, 3, 10, 30, 100]
iwae = [-vae.iwae_bound(model, x_test, k).mean().item() for k in ks]
for k, nats in zip(ks, iwae, strict=True):
    print(f"k = {k:3d}: {nats:.1f} nats")

# %% mystnb={"image": {"alt": "A curve that falls with the number of samples on a logarithmic axis, steeply first and then more slowly."}}
plt.plot(ks, iwae, marker="o")
plt.xscale("log")
plt.xticks(ks, [str(k) for k in ks])
plt.xlabel("k, codes drawn for each picture")
plt.ylabel("bound on −log p(x) (nats)")
plt.show()

# %% [markdown]
# The bound falls as $k$ grows, and more slowly each time: it closes in on $-\log p_\theta(x)$ from above. The model has
# not changed; only our measurement of it is better. When you compare two models by such numbers, use the same $k$.
#
# > **What these nats mean.** Our pixels are grey values used as soft targets, and there are only 4,000 training
# > pictures. The literature's figures for MNIST are for pixels rounded to 0 or 1 and 50,000 or more training pictures,
# > so ours stand beside each other, not beside theirs.
#
# **And the samples?** The bound says how well the model explains real digits, not how good its own look. For that we
# ask a *judge*, a small classifier that comes with the package: of how many pictures is it at least 90 % sure?

# %%
torch.manual_seed(0)
codes = torch.randn(2000, 16)
with torch.no_grad():
    pictures = {
        "held-out digits": x_test,
        "samples of the VAE": model.decode(codes).sigmoid(),
        "samples of the autoencoder": autoencoder.decode(codes).sigmoid(),
    }
sure = {
    name: judge_probabilities(x).amax(dim=1).ge(0.9).float().mean().item()
    for name, x in pictures.items()
}
for name, share in sure.items():
    print(f"{name}: {100 * share:.0f} %")

# %% [markdown]
# The VAE's samples lie between the autoencoder's and the real digits. (The autoencoder's share flatters it. The judge
# knows nothing but digits, so it has to call every tangle *some* digit, and is often sure. A classifier's confidence is
# a measure of samples, but a lenient one.) A good bound does not make every sample a good one: codes are drawn from the
# whole prior, and the encoder's clouds do not fill it evenly. The [next chapter](conditional_vae.ipynb) comes back to
# this.

# %% [markdown]
# ## When it fails: posterior collapse
#
# Multiply the cost of the code by a number $\beta$ and the balance can be tipped at will. With $\beta = 0$ the code is
# free; with a large $\beta$ it is too dear to use. The mean-for-sum bug mentioned above is the second case in disguise:
# dividing the reconstruction by 784 is the same as $\beta = 784$.
#
# > **Predict, then run.** Three small models with $\beta = 0$, $1$ and $30$. What will the samples of $\beta = 30$ look
# > like? (a) Noise. (b) Sharper digits, since the codes match the prior better. (c) All the same.

# %%
small = {}
for beta in [0.0, 1.0, 30.0]:
    torch.manual_seed(0)
    small[beta] = vae.VAE(latent_dim=16, beta=beta, width=256)
    curve = training.fit(small[beta], data, max_epochs=short)
    print(
        f"beta {beta:4.0f}: "
        f"explanation {-curve['val_log_likelihood'][-1]:5.1f} nats,",
        end=" ",
    )
    print(
        f"cost of the code {curve['val_kl'][-1]:6.1f}, "
        f"negative ELBO {curve['val_loss'][-1]:6.1f}"
    )

# %% tags=["gallery"] mystnb={"image": {"alt": "Three rows of samples. Beta 0: tangled strokes. Beta 1: digits. Beta 30: the same grey blur eight times."}}
torch.manual_seed(0)
rows = torch.cat([model_.sample(8) for model_ in small.values()])
plots.image_grid(rows, row_labels=["β = 0", "β = 1", "β = 30"])
plt.show()

# %% [markdown]
# It is (c). The printed figures say why. With $\beta = 0$ the reconstruction is the best of the three and the code costs
# most: it is a plain autoencoder with noise, and its samples are as bad as at the beginning of the chapter. With $\beta = 30$
# the encoder gives up, its cost is next to nothing, and the decoder, which gets no information, draws the average of
# all digits every time. This is **posterior collapse**: $q_\phi(z \mid x)$ has become the prior for every picture.
#
# Collapse need not be total. Each number of the code has a cost of its own, and a number whose cost is near zero is unused:

# %% mystnb={"image": {"alt": "Sorted bars of cost per number of the code: large for beta 0, moderate for beta 1, almost none for beta 30."}}
figure, ax = plt.subplots()
for offset, (beta, model_) in zip([-0.27, 0, 0.27], small.items(), strict=True):
    with torch.no_grad():
        mu, log_var = model_.encode(x_test)
    # one value for each number of the code
    cost = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).mean(dim=0)
    heights = cost.sort(descending=True).values
    places = torch.arange(16) + 1 + offset
    ax.bar(places, heights, width=0.27, label=f"β = {beta:.0f}")
    used = (cost > 0.01).sum()
    print(f"beta {beta:.0f}: {used} of 16 numbers carry more than 0.01 nats")
ax.set_yscale("symlog", linthresh=0.1)
ax.set(xlabel="number of the code, dearest first", ylabel="cost (nats)")
ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
plt.show()


# %% [markdown]
# The bars show the cost of each number of the code, the dearest first, on an axis that is logarithmic above a tenth of a
# nat. For $\beta = 30$ almost nothing is left. For $\beta = 1$ nearly all numbers are in use.
#
# How to recognise collapse: the divergence in the curve falls to zero and stays there; samples, and reconstructions too,
# all look alike. How to cure it: check that the reconstruction is *summed* over pixels; keep $\beta$ at 1, or raise it
# slowly from 0 over the first epochs (*annealing* in Bowman et al., 2016; *warm-up* in Sønderby et al., 2016), so that
# the decoder learns to use the code before it has to pay; make a decoder that can do without the code, such as a strong
# autoregressive one, weaker. Higgins et al. (2017) take a $\beta$ of moderate size on purpose; the [next
# chapter](conditional_vae.ipynb) shows what for.

# %% [markdown]
# ## What the source articles got wrong here
#
# Two of the five articles print a "VAE" with no mean, no variance, no sampling and no divergence: a plain autoencoder,
# whose samples are the smudges above. One also swaps the arguments of the cross-entropy, says that the
# reconstruction error is to be *maximised*, and turns the divergence round; the [errata](../../book/errata.md) take
# each of these apart and show the fault by running it.

# %% [markdown]
# ## The promise
#
# This chapter promises at most 106 nats on held-out digits, and an importance-weighted bound below it.

# %%
figures = results.record(
    "variational_autoencoder",
    profile,
    negative_elbo_nats=round(neg_elbo, 2),
    iwae_nats_k100=round(iwae[-1], 2),
    confident_share=round(sure["samples of the VAE"], 3),
    collapsed_kl_nats_beta_30=round(curve["val_kl"][-1], 3),
)
print(figures["negative_elbo_nats"], figures["iwae_nats_k100"])


# %%
if profile != "smoke":
    assert figures["negative_elbo_nats"] <= 106, (
        "the negative ELBO on held-out digits"
    )
    assert figures["iwae_nats_k100"] < figures["negative_elbo_nats"], (
        "more samples tighten the bound"
    )
    assert figures["collapsed_kl_nats_beta_30"] < 1, "the collapse was shown"


# %% [markdown]
# ## Summary
#
# - A plain autoencoder's decoder knows only the codes of real pictures; between them it has learnt nothing.
# - A VAE is a story, prior then decoder, trained by maximum likelihood through a lower bound.
# - ELBO = explanation − cost of the code; its distance to $\log p_\theta(x)$ is the divergence of the encoder's answer
#   from the true posterior.
# - Reparameterisation, $z = \mu + \sigma \odot \epsilon$, lets gradients pass the sampling.
# - Sums and means matter: sum over pixels and code, mean over pictures.
# - The importance-weighted bound measures the same model more tightly.
# - When the code is too dear it is not used: posterior collapse.
#
# ## Check yourself
#
# **1.** Show in code that the ELBO cannot be improved by a `mu` other than the posterior's in the one-dimensional
# example: maximise `bound` over $m$ and $s$ by gradient ascent and compare with $\mathcal N(x/2, 1/2)$.

# %% tags=["hide-cell"]
# @title Solution
x = torch.tensor(2.0)
m, log_s = (
    torch.tensor(0.0, requires_grad=True),
    torch.tensor(0.0, requires_grad=True),
)
ascent = torch.optim.Adam([m, log_s], lr=0.05)
for _ in range(500):
    ascent.zero_grad()
    (-bound(m, log_s.exp())).backward()
    ascent.step()
print(f"mean {m.item():.3f}, variance {log_s.exp().item() ** 2:.3f}")
assert abs(m.item() - 1) < 1e-2
assert abs(log_s.exp().item() ** 2 - 0.5) < 1e-2

# %% [markdown]
# **2.** Add a temperature: draw codes with half the prior's standard deviation. What changes in the samples, and why is
# the result no longer a sample from the model?

# %% tags=["hide-cell"] mystnb={"image": {"alt": "Sixteen generated digits, cleaner and more alike than those drawn at full temperature."}}
# @title Solution
torch.manual_seed(2)
plots.image_grid(model.sample(16, temperature=0.5))
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The digits are cleaner and less varied: codes near the origin are those the decoder has met most. But the story says
# that codes come from $\mathcal N(0, I)$; at another temperature rare shapes are left out, so the samples no longer have
# the distribution that the likelihood was measured for.
#
# </details>
#
# **3.** Why may $\log p_\theta(x \mid z)$ be estimated with a single code for each picture, while measuring takes twenty?
#
# <details><summary>Answer</summary>
#
# One draw gives an unbiased estimate of the gradient, and thousands of training steps average its noise away. A
# measurement is done once, so it has to do its own averaging.
#
# </details>
#
# **4.** Evaluate the tiny model of "From scratch" with the reconstruction *averaged* over the pixels during training. What
# happens to its divergence?

# %% tags=["hide-cell"]
# @title Solution
torch.manual_seed(0)
buggy = TinyVAE()
optimizer = torch.optim.Adam(buggy.parameters(), lr=2e-3)
for batch in x_train.repeat(3, 1, 1, 1).split(100):
    mu, log_var = buggy.encoder(batch.flatten(1)).chunk(2, dim=1)
    logits = buggy.decoder(reparameterise(mu, log_var))
    loss = gaussian_kl(mu, log_var).mean() + F.binary_cross_entropy_with_logits(
        logits, batch.flatten(1)
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


# %% tags=["hide-cell"]
# @title Solution, continued
print(
    "cost of the code after three epochs: "
    f"{gaussian_kl(mu, log_var).mean().item():.4f} nats"
)
assert gaussian_kl(mu, log_var).mean() < 0.5


# %% [markdown]
# **Graded assignment**: [the pieces of a VAE](../exercises/vae.ipynb).
#
# ## Further reading
#
# - D. P. Kingma and M. Welling, [Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114) (2013), and at the
#   same time D. J. Rezende, S. Mohamed and D. Wierstra,
#   [Stochastic Backpropagation and Approximate Inference in Deep Generative Models](https://arxiv.org/abs/1401.4082) (2014).
# - Y. Burda, R. Grosse and R. Salakhutdinov, [Importance Weighted Autoencoders](https://arxiv.org/abs/1509.00519) (2016).
# - S. R. Bowman et al., [Generating Sentences from a Continuous Space](https://arxiv.org/abs/1511.06349) (2016): collapse,
#   and a KL term that is annealed against it; C. K. Sønderby et al., [Ladder Variational
#   Autoencoders](https://arxiv.org/abs/1602.02282) (2016), call it warm-up.
# - I. Higgins et al., [beta-VAE](https://openreview.net/forum?id=Sy2fzU9gl) (2017), and A. Alemi et al.,
#   [Fixing a Broken ELBO](https://arxiv.org/abs/1711.00464) (2018), on what the balance of the two terms means.
#
# Next: [Asking for a digit](conditional_vae.ipynb), where the model learns to draw what it is told.
