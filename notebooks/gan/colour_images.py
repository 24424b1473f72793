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
# # In colour: a world from a game
#
# **After this chapter you can**
#
# - turn a GAN for grey pictures into one for colour by changing two layers, and find those layers without being told;
# - say what a larger picture costs in weights and multiplications before you pay for it;
# - explain why a colour is one thing and not three greys, and recognise the four common ways of showing it wrongly;
# - measure generated pictures where no judge knows the subject, and say which measure a fog of colours can fool;
# - see what a GAN learns first, and what it learns late or never.
#
# **You need**: the networks of [Convolutions: the DCGAN](dcgan.ipynb). The [notation](../../book/notation.md) is on a
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
import io
import itertools

import matplotlib.pyplot as plt
import PIL.Image
import pytorch_lightning as pl
import torch
from IPython.display import Image, display
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from aigc_course import gan, metrics, plots, results, training
from aigc_course.data import ImageData

# %%
plots.use_style()
profile = training.resolve_profile(profile)
side = {"smoke": 32, "cpu": 32, "gpu": 64}[profile]
epochs = {"smoke": 1, "cpu": 40, "gpu": 120}[profile]
channels = {"smoke": 4, "cpu": 32, "gpu": 64}[profile]
print(
    f"Profile {profile}: pictures of {side} × {side}, "
    f"{epochs} epochs, {channels} channels in the last hidden layer."
)

# %% [markdown]
# ## Pictures that nobody painted
#
# Digits are white on black, and one stroke is much like another. What does the same GAN make of a small world, with
# water, land, roads and things that move about? Here is such a world.

# %% mystnb={"image": {"alt": "Sixteen frames of a game seen from above: a blue river between green banks, light or dark, with roads, fuel tanks, boats and houses."}}
data = ImageData(f"atari{side}", batch_size=50, signed=True)
x_train, x_validation, x_test = (
    data.split(name)[0] for name in ("train", "validation", "test")
)
print(
    f"{len(x_train)} training pictures of shape "
    f"{tuple(x_train.shape[1:])}, values in [0, 1]"
)
plots.image_grid(x_test[::32][:16])
plt.show()

# %% [markdown]
# These are frames of *River Raid*, a game of 1982 for the Atari 2600 console. They were not downloaded. The first call
# of `ImageData("atari32")` starts an emulator of the console, the Arcade Learning Environment (Bellemare et al., 2013),
# and lets a player who presses buttons at random play some hundred lives, ten seconds' worth of computing. Every
# sixteenth frame is kept, without the panel below the river, and averaged down. (What may be done with such frames is on
# the page [Data and licences](../../book/data_and_licences.md).)
#
# Two frames in a row look nearly alike, so it would be cheating to train on one and to test on the other. All frames of
# one of the player's *lives* therefore go to the same split: 4,000 frames to train on, 500 for choices, 500 for the
# final measurement.
#
# Look closely at what there is to learn. A few large areas: the river, its banks in light or dark green, now and then
# an island or a road across. And some small things, of a few pixels each: red and white fuel tanks, boats,
# helicopters, houses, and close to the lower edge the player's yellow plane. Keep the small things in mind.

# %% [markdown]
# ## Two layers
#
# A colour picture is a tensor of shape $(3, \text{side}, \text{side})$: three numbers per pixel, the amounts of red, green
# and blue light. What has to change in a generator and a discriminator that were built for shape
# $(1, \text{side}, \text{side})$?
#
# > **Predict, then run.** Into how many of the layers must the three colours be built? (a) All, three times each.
# > (b) The generator's last and the discriminator's first. (c) The generator's first and the discriminator's last.
#
# We build both pairs on PyTorch's meta device, which knows shapes and stores no numbers, and list every weight tensor whose
# shape differs.


# %%
def networks(colours, side, channels=32):  # one pair, with shapes only
    with torch.device("meta"):
        generator = gan.ConvGenerator(64, (colours, side, side), channels=channels)
        return generator, gan.ConvDiscriminator(
            (colours, side, side), channels=channels
        )


for grey, colour in zip(networks(1, 32), networks(3, 32), strict=True):
    tensors = dict(grey.named_parameters())
    print(f"{type(grey).__name__}, {len(tensors)} weight tensors; different are")
    for name, weights in colour.named_parameters():
        if weights.shape != tensors[name].shape:
            print(
                f"    {name}: {tuple(tensors[name].shape)} → {tuple(weights.shape)}"
            )

# %% [markdown]
# It is (b). (The generator's last layer appears twice, with its kernels and with its biases.) A hidden layer has dozens of
# channels already, and none of them is a colour: one may respond to "left bank of the river", in whatever
# colour it comes. Only the last layer mixes them into red, green and blue, and only the first layer of the
# discriminator takes these apart again. The code $z$, the losses, the optimisers: all stay.

# %% [markdown]
# ## From scratch, for any side
#
# The side is the other change. Each transposed convolution with kernel 4, stride 2 and padding 1 doubles it, so from 4×4
# one needs
#
# $$h = \log_2(\text{side} / 4)$$
#
# doublings: three for 32, four for 64. Each time the side doubles, the channels are halved, ending at `channels`. That
# is a loop:


# %%
def make_generator(latent_dim, colours, side, channels):
    doublings = (side // 4).bit_length() - 1  # log2 of side / 4
    # for example 128, 64, 32
    widths = [channels * 2**step for step in reversed(range(doublings))]
    begin = nn.ConvTranspose2d(latent_dim, widths[0], 4, bias=False)  # 4 × 4
    layers = [nn.Unflatten(1, (latent_dim, 1, 1)), begin]
    twice = {"kernel_size": 4, "stride": 2, "padding": 1}  # twice the side
    for width, narrower in itertools.pairwise(widths):
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.ConvTranspose2d(width, narrower, **twice, bias=False)]
    layers += [nn.BatchNorm2d(channels), nn.ReLU()]
    layers += [nn.ConvTranspose2d(channels, colours, **twice), nn.Tanh()]
    return nn.Sequential(*layers)


# %% [markdown]
# `gan.ConvGenerator` is the same network. With the same weights both must make the same pictures, at any side:

# %%
torch.manual_seed(0)
z = torch.randn(10, 64)


# %%
for try_side in (16, 32, 64):
    ours, theirs = (
        make_generator(64, 3, try_side, channels=8),
        gan.ConvGenerator(64, (3, try_side, try_side), channels=8),
    )
    for kind in (nn.ConvTranspose2d, nn.BatchNorm2d):
        found = [
            [layer for layer in network.modules() if isinstance(layer, kind)]
            for network in (ours, theirs)
        ]
        for one, other in zip(*found, strict=True):
            other.load_state_dict(one.state_dict())
    with torch.no_grad():
        assert torch.allclose(ours(z), theirs(z), atol=1e-5)
    print(f"side {try_side}: {tuple(theirs(z).shape)}, the same pictures from both")


# %% [markdown]
# ## What a larger side costs
#
# Before a long training it pays to know what a picture costs. The meta device can count multiplications too: it goes
# through all operations without computing them. (A *multiplication* here is one product with the addition that follows;
# PyTorch counts both, hence the 2.)

# %%
sides, cost = [16, 32, 64, 128], {"generator": [], "discriminator": []}


# %%
for try_side in sides:
    for name, network in zip(cost, networks(3, try_side), strict=True):
        x = (
            torch.empty(1, 64, device="meta")
            if name == "generator"
            else torch.empty(1, 3, try_side, try_side, device="meta")
        )
        with FlopCounterMode(display=False) as counter:
            network.eval()(x)
        cost[name].append(counter.get_total_flops() / 2)
        weights = sum(tensor.numel() for tensor in network.parameters())
        print(
            f"side {try_side:3d}, {name:13}: {weights:10,} weights, "
            f"{cost[name][-1] / 1e6:7.1f} million multiplications"
        )


# %% mystnb={"image": {"alt": "On logarithmic axes the cost of a picture rises along a line that is somewhat steeper than the dashed one through the number of pixels."}}
for name, multiplications in cost.items():
    plt.loglog(sides, multiplications, marker="o", base=2, label=name)
pixels = torch.tensor(sides) ** 2 * cost["generator"][0] / sides[0] ** 2
plt.loglog(
    sides, pixels, "--", color="black", base=2, label="in proportion to pixels"
)
plt.xticks(sides, [str(value) for value in sides])
plt.xlabel("side (pixels)")
plt.ylabel("multiplications for a picture")
plt.legend()
plt.show()
for multiplications in cost.values():
    for small, large in itertools.pairwise(multiplications):
        assert large > 4 * small

# %%
generator, _ = networks(3, 64)
print("side 64, from layer to layer inside the generator:")
weights = [layer.weight.numel() for layer in generator.layers[1:]]
# each weight is used once at every place of the layer's input
used = [count * (4 * 2**step) ** 2 for step, count in enumerate(weights)]
for count, products in zip(weights, used, strict=True):
    print(f"{count:8,} weights, {products / 1e6:.1f} million multiplications")
assert len(set(used)) == 1
assert weights[0] > sum(weights[1:])

# %% [markdown]
# Twice the side is four times the pixels, and costs *more* than four times. Each layer that is there already works on
# four times as many places, and one more layer comes on top. The pattern of channels keeps this in bounds: where the
# side doubles, both the incoming and the outgoing channels are halved, so that each of these layers costs the
# same. The weights grow too, by a factor of about three to five, and most of them sit in the coarse layers, where
# channels are many.
#
# One step of training needs these networks several times over, forwards and backwards. So the `cpu` profile of this
# chapter stays at 32×32; the `gpu` profile doubles the side.
#
# A second question about size is **how far the discriminator sees**. A number behind the first convolution depends on
# 4×4 pixels; each further one with kernel 4 and stride 2 widens this *receptive field* $r$ by three steps of the layer before,
#
# $$r_1 = 4, \qquad r_{k+1} = r_k + 3 \cdot 2^k ,$$
#
# so 4, 10, 22, 46. We check it with gradients: which pixels change one number behind the last convolution?

# %%
torch.manual_seed(0)
for try_side in (16, 32, 64):
    network = gan.ConvDiscriminator((3, try_side, try_side), channels=8)
    convolutions = network.features[:-1].eval()  # without flattening
    x = torch.randn(1, 3, try_side, try_side, requires_grad=True)
    # one place among 4 × 4, near the middle
    convolutions(x)[0, :, 2, 2].sum().backward()
    reached = x.grad.abs().sum(dim=(0, 1)) > 0
    steps = (try_side // 4).bit_length() - 1
    field = 4 + sum(3 * 2**k for k in range(1, steps))
    print(
        f"side {try_side}: {steps} convolutions, field {field} by the formula, "
        f"{int(reached.any(dim=0).sum())} columns reached"
    )
    assert reached.any(dim=0).sum() == field > try_side / 2


# %% [markdown]
# At this place, near the middle, the whole field lies inside the picture; at the border the picture's edge cuts it
# off. In each network a place near the middle sees more than half of the side, a place at the border a little less
# than half, and the linear layer behind them sees all places: enough to notice a river that is broken in the middle.

# %% [markdown]
# ## A colour is one thing
#
# Could one not train three grey GANs, one each for red, green and blue? Each would have the easier task. Here is what
# three *perfect* ones would give: for each picture we take the red channel from one real frame, the green one from
# another, and the blue one from a third.

# %% mystnb={"image": {"alt": "Upper row: real frames. Lower row: frames mixed from three, with banks in olive and brown, rims in wine-red and pale blue, and cyan and magenta ghosts of tanks and of islands."}}
torch.manual_seed(0)


def mix_channels(x, n):  # red, green and blue drawn independently of each other
    return torch.stack(
        [x[torch.randint(len(x), (n,)), colour] for colour in range(3)], dim=1
    )


mixed = mix_channels(x_train, 500)
plots.image_grid(
    torch.cat([x_test[::64][:8], mixed[:8]]), row_labels=["real", "mixed"]
)
plt.show()

# %% [markdown]
# Every single channel in the lower row is real. The pictures are not: banks turn olive or brown, with rims in
# wine-red or pale blue, tanks fall apart into a cyan and a magenta ghost, islands leave shadows. What three GANs of
# their own would learn is
#
# $$p(\text{red})\, p(\text{green})\, p(\text{blue}) \qquad \text{instead of} \qquad p(\text{red}, \text{green}, \text{blue}),$$
#
# and in the product nothing says that the three have to agree. One generator makes all three from one code, so they can.
#
# We can put a number to it. Cut each of the three colour axes into eight equal parts, which makes $8^3 = 512$ boxes, and
# count the share $p_b$ of pixels in each box $b$. The distance between two sets of pictures is then
#
# $$\tfrac12 \sum_b |p_b - q_b| ,$$
#
# the share of pixels that would have to change their box: 0 for the same palette, 1 for no colour in common.


# %%
def palette(x):  # (n, 3, h, w) -> the shares of 512 boxes
    box = (x.clamp(0, 0.999) * 8).long()
    index = 64 * box[:, 0] + 8 * box[:, 1] + box[:, 2]
    return index.flatten().bincount(minlength=512) / index.numel()


def colour_distance(x, reference):
    return 0.5 * (palette(x) - palette(reference)).abs().sum().item()


# %%
print(
    "held-out frames against other held-out frames: "
    f"{colour_distance(x_validation, x_test):.2f}"
)
print(
    "mixed channels against held-out frames:        "
    f"{colour_distance(mixed, x_test):.2f}"
)
for colour, name in enumerate(["red", "green", "blue"]):
    only = [
        x[:, colour : colour + 1].expand(-1, 3, -1, -1) for x in (mixed, x_test)
    ]
    print(f"    {name} by itself: {colour_distance(*only):.2f}")
    assert colour_distance(*only) < colour_distance(x_validation, x_test)
assert colour_distance(mixed, x_test) > 2 * colour_distance(x_validation, x_test)


# %% [markdown]
# The first line is one draw of the **floor**: two sets of real frames do not agree perfectly either, since they come from
# different lives of the player. The mixed pictures are far above it, although each channel by itself is not. A measure
# that looks at the channels one by one will miss the fault.

# %% [markdown]
# ## Train it
#
# Two habits of the digits are left out here, the dense layers and the augmentation, and one is replaced: the
# discriminator has *spectral normalisation* in place of batch normalisation. It limits how steep
# the discriminator can be, and so how sure ([why and how](wasserstein_gan.ipynb)). (Try `normalisation="batch"`, and
# compare the scores and the samples.) For the rest it is a `GAN` with two networks of shape
# $(3, \text{side}, \text{side})$. To watch, we keep sixty-four codes and let the averaged generator draw them at up to
# sixteen moments, close together at first, when most happens. Lightning's way of adding this to a training is a
# *callback*.


# %%
class Snapshots(pl.Callback):
    def __init__(self, codes, moments):
        self.codes, self.moments, self.pictures = codes, moments, {}

    def on_train_epoch_end(self, trainer, model):
        epoch = trainer.current_epoch + 1
        if epoch in self.moments:
            self.pictures[epoch] = (
                model.from_codes(self.codes.to(model.device)).cpu() + 1
            ) / 2


# evenly spread on a logarithmic axis
moments = {round(epochs ** (step / 15)) for step in range(16)}
torch.manual_seed(1)
snapshots = Snapshots(torch.randn(64, 64), moments)

# %%
torch.manual_seed(0)
shape = (3, side, side)
generator, discriminator = (
    gan.ConvGenerator(64, shape, channels=channels),
    gan.ConvDiscriminator(shape, channels=channels, normalisation="spectral"),
)
model = gan.GAN(
    generator,
    discriminator,
    generator_lr=1e-3,
    discriminator_lr=1e-3,
    ema_decay=0.995,
    cool_down=0.5,
)


# %%
history = training.fit(
    model, data, max_epochs=epochs, limit_val_batches=0, callbacks=[snapshots]
)
print("the last epoch's means:")
for name, values in sorted(history.items()):
    print(f"{name:>18} {values[-1]:.2f}")
real, fake = history["real_score"][-1], history["fake_score"][-1]
assert profile == "smoke" or 0.15 < fake < 0.5 < real < 0.85


# %% mystnb={"image": {"alt": "At the end the mean score of real frames is above one half, that of generated ones below, and both are far from 0 and 1."}}
ax = plots.curves(history, ["real_score", "fake_score"], ylabel="mean of D")
ax.axhline(0.5, color="black", linestyle="--")
ax.set_ylim(0, 1)
plt.show()

# %% [markdown]
# The two curves end on either side of one half, far from the edges: the discriminator tells frames apart, but it is not
# sure. As always, the curves do not say how good the pictures are.
#
# Now the pictures: each column is one code, each row a moment.

# %% mystnb={"image": {"alt": "Four rows of the same eight codes at four moments: first plain grey, at the end blue rivers between banks in colour."}}
kept = sorted(snapshots.pictures)
rows = [kept[round(step * (len(kept) - 1) / 3)] for step in range(4)]
plots.image_grid(
    torch.cat([snapshots.pictures[epoch][:8] for epoch in rows]),
    row_labels=[f"epoch {n}" for n in rows],
)
plt.show()
begun, ended = (snapshots.pictures[epoch] for epoch in (kept[0], kept[-1]))
if profile != "smoke":  # grey at first; in the end more blue in the middle
    assert begun.std() < 0.5 * ended.std()
    blue = (ended[:, 2] - ended[:, 1]).mean(dim=(0, 1))  # over green, by column
    assert blue[12:20].mean() > blue[:4].mean() + 0.1

# %%
frames = []
for epoch in kept:
    rows_of_eight = (
        snapshots.pictures[epoch][:16].unflatten(0, (2, 8)).permute(0, 3, 1, 4, 2)
    )  # row, y, column, x, colour
    sheet = (
        (rows_of_eight.reshape(2 * side, 8 * side, 3) * 255).round().to(torch.uint8)
    )
    frames.append(
        PIL.Image.fromarray(sheet.numpy()).resize(
            (512, 128), PIL.Image.Resampling.NEAREST
        )
    )


# %% mystnb={"image": {"alt": "Animation: sixteen generated frames while the generator learns. Plain grey turns into blue rivers between banks."}}
# the end comes first: it is what a printed page shows
frames = [frames[-1], *frames]
film = io.BytesIO()
pauses = [2500] + [500] * (len(frames) - 1)
frames[0].save(
    film, "gif", save_all=True, append_images=frames[1:], duration=pauses, loop=0
)
display(
    Image(
        data=film.getvalue(),
        format="gif",
        alt="Generated frames while the generator learns",
    )
)


# %% [markdown]
# The film shows the end first, then sixteen codes at the moments we kept. The grey of the first moment turns
# into a blue river between banks. Watch how the frames grow apart: which of them gets narrow banks, and which gets wide
# ones?

# %% [markdown]
# ## Look at it
#
# New codes this time, beside frames from the test split, which the GAN has never met.

# %% mystnb={"image": {"alt": "Two rows of real frames above four rows of generated ones: rivers between banks, and small things as blurred patches."}}
torch.manual_seed(2)
samples = ((model.sample(500) + 1) / 2).cpu()
plots.image_grid(
    torch.cat([x_test[::32][:16], samples[:32]]),
    row_labels=["real", "", "generated", "", "", ""],
)
plt.show()

# %% [markdown]
# River, banks, dots where boats and tanks would be: all of it is there, and in its own colours. Look for the differences. A
# small thing is a patch of the right colour rather than a boat. And are the rarer views, dark banks and islands, as frequent
# among the samples as among the real frames? The eye is a poor counter; the next section measures.

# %% [markdown]
# ## Background first
#
# Where does the generator agree with the data, and where not? The plainest maps to draw are, for every pixel, the mean over all
# pictures and the spread (the standard deviation). The map of the spread shows what *varies*: a generator that has the mean
# right and paints the same picture each time would have no spread at all.

# %%
# averaged over the three colours
spreads = [x.std(dim=0).mean(dim=0) for x in (x_test, samples)]
quotient = (spreads[1].mean() / spreads[0].mean()).item()
print(f"mean spread of the samples, relative to held-out frames: {quotient:.2f}")
assert profile == "smoke" or 0.3 < quotient < 0.98


# %% mystnb={"image": {"alt": "Three maps. The spread of held-out frames is large at the banks; that of the samples is smaller on average; in their difference orange, less spread, prevails."}}
figure, axes = plt.subplots(1, 3, figsize=(6, 2.2))
for ax, title, values in zip(
    axes, ["held-out", "generated"], spreads, strict=False
):
    lit = ax.imshow(values, cmap="viridis", vmin=0, vmax=spreads[0].max())
    ax.set_title(title)
figure.colorbar(lit, ax=axes[:2], shrink=0.8, label="spread")
difference = axes[2].imshow(
    spreads[1] - spreads[0], cmap="PuOr", vmin=-0.15, vmax=0.15
)
axes[2].set_title("difference")
figure.colorbar(difference, ax=axes[2], shrink=0.8)
for ax in axes:
    ax.set_axis_off()
plt.show()


# %% [markdown]
# Left, the banks vary much, since the river is wide in one frame and narrow in the next; the small bright patch at
# the lower edge is where the player's plane moves. The right map is the difference, and orange, where the samples vary
# less than they should, prevails: there is too little variety.
#
# Small things are a small part of every pixel's spread. To see them apart, split a picture $x$ into a **coarse** part, the averages
# of its fields of 4×4 pixels (drawn on the full grid again), and the rest, the **fine** part:
#
# $$x = c(x) + \big(x - c(x)\big).$$
#
# River and banks are in the first part; tanks and boats, and the rims of the banks, are in the second. For each moment that
# we kept we compare how much the parts vary from picture to picture with how much they vary in held-out frames.


# %%
def coarse_and_fine(x):
    coarse = F.interpolate(F.avg_pool2d(x, 4), scale_factor=4)
    return coarse, x - coarse


def spread(parts):  # one number for each part
    return torch.stack([part.std(dim=0).square().mean().sqrt() for part in parts])


# %%
real_spread = spread(coarse_and_fine(x_test))
shares = torch.stack(
    [
        spread(coarse_and_fine(snapshots.pictures[epoch])) / real_spread
        for epoch in kept
    ]
)


# %%
print(
    f"after {kept[-1]} epochs: coarse part {shares[-1, 0]:.2f}, "
    f"fine part {shares[-1, 1]:.2f} of the real spread"
)
print(f"largest on the way: coarse part {shares[:, 0].max():.2f},", end=" ")
print(f"fine part {shares[:, 1].max():.2f}")
if profile != "smoke":
    half = len(kept) // 2
    assert shares[0].max() < 0.3
    assert shares[1:half, 0].mean() > shares[1:half, 1].mean()
    assert shares[-1].max() < 1


# %% mystnb={"image": {"alt": "Two lines against the epoch, which begin near zero and end below the real spread; in the first half of the axis the coarse part is above the fine part."}}
for part, name, marker in [
    (0, "coarse: river, banks", "o"),
    (1, "fine: small things, rims", "s"),
]:
    plt.plot(kept, shares[:, part], marker=marker, label=name)
plt.axhline(1, color="black", linestyle="--", label="held-out frames")
plt.xscale("log")
plt.xticks(
    kept[:: max(1, len(kept) // 5)],
    [str(epoch) for epoch in kept[:: max(1, len(kept) // 5)]],
)
plt.xlabel("epoch")
plt.ylabel("spread, relative to real")
plt.legend()
plt.show()

# %% [markdown]
# Both parts begin near nothing: at first all codes give nearly the same picture. In the early epochs the coarse part is
# ahead: that a bank can be here or there is learnt before the things upon it. At the end neither part varies as much as in
# real frames. Compare the two printed lines as well: where a part ends below its largest value, the generator may have given up
# variety that it once had. That is a mild form of the collapse that you saw on the [ring](adversarial_game.ipynb), and the
# scores give no sign of it.
#
# Why is the coarse part first? A likely reason is the discriminator's task. As long as large areas are wrong, they are
# enough to tell real from generated frames, and a missing boat, a few pixels among a thousand, adds little to the loss.

# %% [markdown]
# ## Measure without a judge
#
# For digits we have a judge that reads them. Nobody has trained a judge for rivers. What remains is to compare two *sets* of
# pictures by some features: a **Fréchet distance** describes each set by the mean $\mu$ and the covariance $\Sigma$ of its features
# and returns
#
# $$\lVert \mu_1 - \mu_2 \rVert^2 + \operatorname{Tr}\big(\Sigma_1 + \Sigma_2 - 2\,(\Sigma_1 \Sigma_2)^{1/2}\big) ,$$
#
# 0 for two sets that agree in both. (The chapter [How good are these pictures?](../evaluation/image_quality.ipynb) takes it apart.)
# Which features? We try two kinds that need no training:
#
# - **colours of fields**: the mean colour in each of $4 \cdot 4 = 16$ fields, 48 numbers, a *linear* function of the
#   pixels;
# - **random features**: two layers of random convolutions with ReLU, averaged over the picture, 32 numbers. Random filters
#   respond to edges, dots and stripes of all colours, and the bend in the ReLU makes the function *nonlinear*. Batch
#   normalisation, which sees the training frames once and is then fixed, puts the bend in the middle of what occurs. Each
#   number is divided by its spread on the training frames.
#
# Larger pictures are averaged down to 32×32 first, so that the numbers keep their meaning.


# %%
torch.manual_seed(0)


def layer(inputs):
    # no momentum: the plain mean of what it has seen
    fixed = nn.BatchNorm2d(32, momentum=None, affine=False)
    return (
        nn.Conv2d(inputs, 32, kernel_size=4, stride=2, padding=1),
        fixed,
        nn.ReLU(),
    )


# %%
random_network = nn.Sequential(
    nn.AdaptiveAvgPool2d(32),
    *layer(3),
    *layer(32),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
)
with torch.no_grad():
    random_network(x_train)
    scale = random_network.eval()(x_train).std(dim=0)


# %%
@torch.no_grad()
# from the test frames: by the colours of fields, by random features
def distances(x):
    fields, random = (
        nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten()),
        lambda y: random_network(y) / scale,
    )
    return tuple(
        metrics.frechet_distance(features(x), features(x_test))
        for features in (fields, random)
    )


# %% [markdown]
# A distance is worth as much as the things it can tell apart, so we let it measure more than the GAN:
#
# - **held-out**: the validation frames, one draw of the floor for a set of 500;
# - **fog**: pictures from a Gaussian with the mean and the covariance of the training pixels. There is a short way to
#   draw them: add up all training frames minus their mean, each times a standard normal number of its own, and divide by
#   $\sqrt{n-1}$. (We then cut values outside $[0, 1]$, which changes both a little.)
# - **mixed**: the mixed colour channels from above.

# %% mystnb={"image": {"alt": "Four rows of eight: held-out frames; generated frames; blurred, noisy stripes of blue and green; frames with wrong and ghostly colours."}}
torch.manual_seed(3)
centre = x_train.mean(dim=0)
weights = torch.randn(500, len(x_train)) / (len(x_train) - 1) ** 0.5
fog = (centre + (weights @ (x_train - centre).flatten(1)).view(-1, *shape)).clamp(
    0, 1
)
sets = {"held-out": x_validation, "GAN": samples, "fog": fog, "mixed": mixed}
plots.image_grid(
    torch.cat([x[::64][:8] for x in sets.values()]), row_labels=list(sets)
)
plt.show()

# %% [markdown]
# > **Predict, then run.** Which of the four has the smallest distance by the colours of fields? (a) The held-out frames.
# > (b) The GAN's. (c) The fog.

# %%
measured = {name: distances(x) for name, x in sets.items()}
print(f"500 pictures each, against {len(x_test)} test frames")
print(f"{'':10} fields  random  palette")
for name, x in sets.items():
    print(
        f"{name:10} {measured[name][0]:6.3f} "
        f"{measured[name][1]:7.1f} {colour_distance(x, x_test):8.2f}"
    )
fields, random = [
    {name: both[column] for name, both in measured.items()} for column in (0, 1)
]
if profile != "smoke":
    assert min(fields, key=fields.get) == "fog"
    assert random["held-out"] < random["GAN"]
    assert 2 * random["GAN"] < min(random["fog"], random["mixed"])

# %% [markdown]
# It is (c): by the colours of fields the fog is *better than real frames*. That was to be expected. A linear function of pixels
# has a mean and a covariance that follow from those of the pixels, the fog was made with nearly the right ones, and
# the Fréchet distance looks at nothing else. The held-out frames are only five hundred pictures from a few lives, whose
# mean and covariance differ by chance.
#
# The random features are not fooled. On which side of its bend a ReLU is depends on what comes *together* in a picture, and
# of that the mean and covariance of pixels say little. By this measure the fog lies far away, and so do the mixed channels.
# The GAN is much nearer than either, and it is not at the floor.
#
# Two lessons. A small Fréchet distance is a statement about features, never about pictures as such. And a measure should be
# shown something wrong on purpose before one believes it.

# %% [markdown]
# ## Is it copying?
#
# With 4,000 frames a generator could learn a few hundred by heart. For each sample we look for the nearest training frame, the one with
# the smallest distance $\lVert x - y \rVert_2$ over all pixels and colours. What counts as near? Held-out frames tell: they are certainly
# no copies, and the game shows the same places again and again, so they too have training frames close by.

# %%
near, near_real = (
    metrics.nearest(samples, x_train),
    metrics.nearest(x_test, x_train),
)
median, median_real = near.distances.median(), near_real.distances.median()
print(
    "median distance to the nearest training frame: "
    f"samples {median:.2f}, held-out frames {median_real:.2f}"
)
nearer = (near.distances < near_real.distances.quantile(0.01)).sum()
print(f"nearer than the nearest 1 % of held-out frames: {nearer} of 500 samples")
assert profile == "smoke" or (nearer <= 5 and median > median_real)

# %% mystnb={"image": {"alt": "Upper row: generated frames. Lower row: the nearest training frame of each, with the same banks and other small things."}}
plots.image_grid(
    torch.cat([samples[:8], x_train[near.indices[:8, 0]]]),
    row_labels=["sample", "nearest"],
)
plt.show()

# %% [markdown]
# No exact copies: most samples are *further* from the training frames than held-out frames are. Each has a training frame
# of a similar kind, but with other dots and a smoother surface. The sample's grain alone adds to its distance from
# everything, so a large distance is no merit: even a copied frame with such grain would pass. Only small distances would be
# suspicious.

# %% [markdown]
# ## When it fails
#
# **Scaled for another network.** Recipes for photographs often subtract the mean and divide by the spread of *ImageNet*, colour by
# colour. That suits a classifier that was trained so. A generator that ends in tanh can never make such pictures, since
# their values leave $[-1, 1]$. The discriminator could win by looking at the brightest pixel. The package refuses:

# %%
mean, deviation = (
    torch.tensor([0.485, 0.456, 0.406]),
    torch.tensor([0.229, 0.224, 0.225]),
)
photographic = (x_train[:50] - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
try:
    model.training_step(
        (photographic, torch.zeros(50, dtype=torch.long)), batch_idx=0
    )
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# **Shown wrongly.** More often the pictures are fine and their *display* is not. A generator gives $(3, \text{side}, \text{side})$ with
# values in $[-1, 1]$; a plotting function wants $(\text{side}, \text{side}, 3)$ with values in $[0, 1]$. On the way there, four mistakes
# are so common that it is worth knowing their faces.
#
# > **Predict, then run.** The generator's output is drawn without `(x + 1) / 2`; whatever is below 0 is cut off. What happens to
# > the frames? (a) They get darker. (b) They get darker and change their colours. (c) They are drawn as noise.

# %% mystnb={"image": {"alt": "Five rows of one set of frames: right; too dark with green banks gone dark; red and blue exchanged, so that rivers are red; scrambled stripes; in shades of grey."}}
output = 2 * samples[:8] - 1  # as the generator gave it
# reshape where permute belongs
scrambled = samples[:8].permute(0, 2, 3, 1).reshape(8, *shape)
shown = {
    "right": (output + 1) / 2,
    "cut at 0": output.clamp(0, 1),
    "BGR": samples[:8].flip(1),
    "reshaped": scrambled,
    "one channel": samples[:8, :1].expand(-1, 3, -1, -1),
}
plots.image_grid(torch.cat(list(shown.values())), row_labels=list(shown))
plt.show()

# %% [markdown]
# It is (b). Each colour channel is cut where it lies below one half. In most pixels some do and some do not, so the
# colour changes: the light banks lose all but a trace of green, and the river becomes a darker blue. In the dark
# banks all three do, and they turn black. In the third row red and blue have changed places, as happens between
# libraries that order colours RGB and BGR. In the fourth a tensor was *reshaped* from one order of axes to the other,
# which keeps the sequence of the numbers and gives them to other places; `permute` would have moved the axes. In the
# last row only the first channel is drawn, in grey. None of these raises an error.

# %% [markdown]
# ## What the source articles got wrong here
#
# One announces a GAN in colour that cannot run, and draws its pictures like our last row. More in the
# [errata](../../book/errata.md#errata-architecture).

# %% [markdown]
# ## The promise
#
# This chapter promises samples whose distance by random features is at most half of the fog's, and whose palette is nearer to that of
# held-out frames than the palette of mixed channels.

# %%
figures = results.record(
    "colour_images",
    profile,
    random_feature_distance=round(measured["GAN"][1], 2),
    floor=round(measured["held-out"][1], 2),
    fog=round(measured["fog"][1], 2),
    palette_distance=round(colour_distance(samples, x_test), 3),
    nearest_training_frame=round(median.item(), 3),
)
print(figures["random_feature_distance"], figures["palette_distance"])


# %%
if profile != "smoke":
    assert figures["random_feature_distance"] <= 0.5 * figures["fog"], (
        "nearer to real frames than the fog"
    )
    assert figures["palette_distance"] < colour_distance(mixed, x_test), (
        "a better palette than mixed channels"
    )


# %% [markdown]
# ## Summary
#
# - Colour changes the generator's last layer and the discriminator's first; a larger side adds layers, and costs more than in proportion
#   to its pixels.
# - The three channels of a pixel belong together. Whatever treats them one by one, a model or a measure, misses that.
# - Our GAN learnt large areas first and small things later, and it shows less variety than the data. It may lose variety again.
# - Without a judge, compare sets of pictures by features, beside a floor of held-out frames and beside something that is wrong on purpose.
#   Linear features can be fooled by a Gaussian fog.
# - Scale to $[-1, 1]$ on the way in, back to $[0, 1]$ on the way out, `permute` the axes, and keep the order of the colours.
#
# ## Check yourself
#
# **1.** How many doublings does a generator for pictures of 128×128 need, and how many weights do its last and its first
# transposed convolution have, with a code of 64 numbers and `channels=32`? Work it out on paper, then let the meta device confirm it.

# %% tags=["hide-cell"]
# @title Solution
# 128 / 4 = 32 = 2^5, so five doublings, the last of which makes the colours. The
# hidden layers have 32 · 16 = 512, 256, 128, 64, 32 channels; the first has 64
# inputs, 512 outputs and a kernel of 4 × 4; the last 32 inputs, 3 outputs, the same
# kernel, and 3 biases.
large, _ = networks(3, 128)
assert len(large.layers) == 5
assert large.layers[0].weight.numel() == 64 * 512 * 4 * 4
assert large.output.weight.numel() + large.output.bias.numel() == 32 * 3 * 4 * 4 + 3
print(
    f"first {large.layers[0].weight.numel():,}, "
    f"last {large.output.weight.numel() + large.output.bias.numel():,} weights"
)

# %% [markdown]
# **2.** What can the palette *not* see? Make pictures that are clearly wrong and yet have a palette distance of exactly 0 from the test
# frames, and find out whether the random features notice.

# %% tags=["hide-cell"]
# @title Solution
# The palette counts colours and does not ask where they are. So throw the pixels of
# each frame into another order.
torch.manual_seed(0)
order = torch.randperm(side * side)
tumbled = x_test.flatten(2)[:, :, order].unflatten(2, (side, side))
fields, random = distances(tumbled)
print(
    f"palette {colour_distance(tumbled, x_test):.2f}, random features {random:.1f}"
)
assert colour_distance(tumbled, x_test) == 0
assert random > measured["held-out"][1]

# %% [markdown]
# **3.** Could one double the training data by adding the mirror image of every frame? And what about frames turned upside down?
#
# <details><summary>Answer</summary>
#
# Only if you would accept what comes out. A GAN imitates the data it is shown, so mirrored frames in the training set
# mean mirrored frames among the samples. Left and right are nearly alike in this game; but the tanks carry the
# letters FUEL, and mirrored letters are wrong ones. Upside down is worse: the plane is always at the lower edge,
# flying up.
# </details>
#
# **4.** A friend trains the same GAN on photographs of one street at all hours. The samples have the right light, the right houses, and no
# people. Nothing is broken. What would you say, and what would you look at?
#
# <details><summary>Answer</summary>
#
# People are small and rarely in the same place, so they are likely to be learnt last, if at all. Look at the fine part of
# the spread over the epochs, and whether it still rises; at the number of pictures that show people at all; and at the
# resolution: a person of two pixels is not a person. Try longer training, larger or cropped pictures, and more pictures
# with people.
# </details>
#
# The graded assignment of this part is [here](../exercises/gan.ipynb).
#
# ## Further reading
#
# - Alec Radford, Luke Metz and Soumith Chintala,
#   [Unsupervised representation learning with deep convolutional generative adversarial networks](https://arxiv.org/abs/1511.06434) (2015):
#   bedrooms and faces at 64×64 with the networks of this chapter.
# - Marc Bellemare, Yavar Naddaf, Joel Veness and Michael Bowling,
#   [The Arcade Learning Environment](https://arxiv.org/abs/1207.4708) (2013): the emulator as a laboratory.
# - Marlos Machado and others, [Revisiting the Arcade Learning Environment](https://arxiv.org/abs/1709.06009) (2018): why agents should meet
#   some chance in a game that has none.
# - Ziwei Liu and others, [Deep learning face attributes in the wild](https://arxiv.org/abs/1411.7766) (2015): CelebA. If you have
#   downloaded its archive, `ImageData("celeba64", signed=True)` lets you run this chapter on faces.
#
# Next: [A game about pairs: conditional GANs](conditional_gan.ipynb).
