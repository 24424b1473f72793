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
# # Transformers and latent diffusion
#
# **After this chapter you can**
#
# - turn a picture into a sequence of patches and back without losing anything, and tell a network where each patch was;
# - say how time and class enter a diffusion transformer, and what it means that each of its blocks begins as the identity;
# - compare two networks at equal training time, count their operations, and say what such a comparison shows;
# - test whether a network owes its lead to knowing which pixels are neighbours;
# - run a diffusion model on the codes of an autoencoder, and say which of the two stages limits its pictures.
#
# **You need**: [Denoising diffusion](denoising_diffusion.ipynb) and [Sampling and
# guidance](sampling_and_guidance.ipynb); [Attention](../language/attention.ipynb) and the blocks of [A
# GPT](../language/gpt.ipynb); for the last third, [The variational
# autoencoder](../vae/variational_autoencoder.ipynb). The [notation](../../book/notation.md) is on a page of its own. ·
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
from time import process_time

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from aigc_course import diagrams, diffusion, dit, metrics, plots, results, training
from aigc_course import vae
from aigc_course.data import ImageData

# %%
plots.use_style()
profile = training.resolve_profile(profile)
# updates per point of a curve, pictures that are judged, passes through the codes
stretch = {"smoke": 2, "cpu": 50, "gpu": 250}[profile]
samples = {"smoke": 70, "cpu": 350, "gpu": 500}[profile]  # 500 are held out
passes = {"smoke": 1, "cpu": 30, "gpu": 200}[profile]
steps = {"smoke": 2, "cpu": 20, "gpu": 20}[profile]
print(f"Profile {profile}: {samples} pictures per row, {steps} steps for each")

# %% [markdown]
# ## A picture as a sequence
#
# The U-Net of this part was made for pictures: its convolutions look at neighbouring pixels. The
# [GPT](../language/gpt.ipynb) reads a row of tokens and is built of attention alone. Large models of pictures and videos
# are built like the second today. How does a transformer read a picture?
#
# Cut it into **patches** ([Dosovitskiy et al., 2021](https://arxiv.org/abs/2010.11929)). A digit of 28×28 pixels has
# 7×7 patches of 4×4 pixels. In reading order they are a sequence of 49 tokens, each of which is a vector of 16 numbers.

# %%
data = ImageData("digits")
(real, labels_train), (held, labels_held) = map(data.split, ("train", "validation"))
x_train, x_held = 2 * real - 1, 2 * held - 1  # from [0, 1] to [-1, 1]
tokens = dit.patchify(x_train[:3], 4)
print(f"{tuple(x_train[:3].shape)} -> {tuple(tokens.shape)}")
assert torch.equal(dit.unpatchify(tokens, 4, (1, 28, 28)), x_train[:3])

# %% mystnb={"image": {"alt": "Three digits, each cut into seven by seven squares with gaps between them."}}
apart = F.pad(tokens.reshape(-1, 4, 4), (0, 1, 0, 1)).view(3, 49, 25)
plots.image_grid((dit.unpatchify(apart, 5, (1, 35, 35)) + 1) / 2, columns=3)
plt.show()

# %% [markdown]
# Nothing is lost: `unpatchify` gives back the picture exactly. A linear layer, the same for all patches, makes a vector
# of $d$ numbers from each; here $d = 96$. What follows are the blocks of a transformer, and at the end another linear
# layer, which makes 16 numbers of each vector, so that the network outputs one number per pixel.
#
# **No mask.** The GPT hides the later tokens, because it predicts them. Here all patches are known, and noisy, and all are
# cleaned at once. So each token may look at all others.
#
# **Positions.** Attention treats its tokens as a set. If the tokens are permuted, its output is permuted in the same way
# and is otherwise the same: nothing tells the network where a patch belongs. So a fixed vector is added to each token:
# half of its numbers are sines and cosines of the patch's row at $d / 4$ frequencies, the other half those of its
# column.

# %%
torch.manual_seed(0)
network = dit.DiT((1, 28, 28), num_classes=10, gate=1.0)
nn.init.normal_(network.last.weight, std=0.1)  # it would begin at 0
order, t = torch.randperm(49), torch.tensor([0.3, 0.5, 0.7])
mixed = dit.unpatchify(tokens[:, order], 4, (1, 28, 28))
positions = network.positions
for name, network.positions in (("with", positions), ("without", 0 * positions)):
    with torch.no_grad():
        said, of_mixed = (
            dit.patchify(network(x, t), 4) for x in (x_train[:3], mixed)
        )
    gap = (of_mixed - said[:, order]).abs().max().item()
    print(f"{name} positions: largest difference {gap:.1g}")
    assert gap > 0.1 if name == "with" else gap < 1e-4

# %% mystnb={"image": {"alt": "Three maps of seven by seven squares, for three places of the grid. In each the place itself is the brightest, and the squares grow darker with the distance from it."}}
positions = dit.grid_positions(7, 7, 96)
figure, panels = plt.subplots(1, 3, figsize=(6, 2.3))
for ax, (row, column) in zip(panels, ((0, 0), (3, 3), (2, 5)), strict=True):
    alike = (positions @ positions[7 * row + column]).view(7, 7)
    ax.imshow(alike, cmap="gray")
    ax.set(title=f"row {row}, column {column}", xticks=[], yticks=[])
    assert alike.argmax() == 7 * row + column
plt.show()

# %% [markdown]
# The maps show the scalar product of the vector of one place with those of all 49, brighter for a larger product. Each
# place is most like itself, and its neighbours are more like it than places further off; beyond four rows or columns
# hardly anything changes. The product is the sum of a number that depends on the
# distance of the rows and one that depends on the distance of the columns (exercise 2).

# %% [markdown]
# ## How time and class get in
#
# The network has to know the time $t$ and the class $y$. Features of both go through two linear layers to a vector $c$
# of $d$ numbers, one for each example. There are several ways to bring $c$ to the tokens. Peebles and Xie
# ([2023](https://arxiv.org/abs/2212.09748)), who introduced the **diffusion transformer** (DiT), tried four, and the one
# that worked best for them works in the normalisation.
#
# A block of a transformer adds to the residual stream $h$ what its two branches make of it, first attention and then
# two layers on each token: $h \leftarrow h + f(\mathrm{norm}(h))$. The normalisation usually has a gain and a shift, which
# are learned weights. In **adaptive layer normalisation** (adaLN) it has none; gain $\gamma$ and shift $\delta$ are
# linear functions of $c$, and so is a third vector, the gate $\alpha$:
#
# $$h \leftarrow h + \alpha(c) \odot f\big( (1 + \gamma(c)) \odot \mathrm{norm}(h) + \delta(c) \big) .$$
#
# All tokens of an example get the same three vectors, each of the two branches of each block its own. In the package:
#
# ```python
# def forward(self, x, given):  # Block: (batch, tokens, width), (batch, width)
#     first, second = self.modulation(given)[..., None, :].unbind(0)
#     x = x + first[2] * self.attend(modulated(x, first[0], first[1]))
#     return x + second[2] * self.mlp(modulated(x, second[0], second[1]))
# ```
#
# The residual block of our U-Net does much the same with gain and shift. (It begins as the identity too, since its last
# convolution begins at 0.) What is new is the gate.

# %% tags=["hide-input"]
across = ["xₜ", "P", "E", "B", "L", "P⁻¹", "v"]
diagrams.draw(
    "The noisy picture xt goes through P, which cuts it into patches, the "
    "embedding E, the blocks B, of which there are four, the last layer L and the "
    "inverse of P to the velocity v. The positions p are added "
    "after E. Time t and class y lead to the vector c, which goes into the blocks "
    "and into the last layer.",
    dict(zip(across, [(1.1 * k, 0) for k in range(7)], strict=True))
    | {"p": (2.2, -1.1), "c": (3.85, 1.9), "t": (2.75, 1.6), "y": (2.75, 2.4)},
    [tuple(across), ("p", "E"), ("t", "c", "B"), ("y", "c", "L")],
    observed=["xₜ", "y"],
    bare=["t", "v", "p"],
    notes={"xₜ": "28×28", "P": "49×16", "E": "49×96", "P⁻¹": "28×28"},
    plates=[(2.8, -0.6, 3.8, 0.75, "4")],
)

# %% [markdown]
# Here $P$ cuts into patches, $E$ is the first linear layer, $p$ the positions, $B$ one of four blocks, and $L$ a last
# normalisation, with gain and shift from $c$ too, and the last linear layer.
#
# ### A block that begins as the identity
#
# The layer that computes $\gamma$, $\delta$ and $\alpha$ begins with all weights and biases 0. So at first all gates
# are 0, whatever $t$ and $y$ are, and a block passes its input on unchanged. This is **adaLN-zero**. The last layer
# begins at 0 as well, so that the output of the whole network is 0. Beside it we put a network whose gates begin at 1
# (by their biases), as if there were none.

# %%
some, classes, t = x_train[:16], labels_train[:16], torch.linspace(0.03, 0.97, 16)
for gate in (0.0, 1.0):
    torch.manual_seed(0)
    network = dit.DiT((1, 28, 28), num_classes=10, gate=gate)
    with torch.no_grad():
        c = network.condition(t, classes)
        h = network.embed(dit.patchify(some, 4)) + network.positions
        before, after = h, [h := block(h, c) for block in network.blocks]
    sizes = ", ".join(f"{stream.std():.3f}" for stream in after)
    same = all(torch.equal(before, stream) for stream in after)
    said = network(some, t, classes).abs().max().item()
    print(f"gates at {gate:.0f}: spread after each block {sizes}; says {said:.0f}")
    assert said == 0
    assert same == (gate == 0)

# %% [markdown]
# With gates at 0 all four blocks pass on the same numbers, exactly. How can such a network learn, if so much of it is 0?
# A weight moves if its gradient is not 0. We make three updates by hand and count.

# %%
torch.manual_seed(0)
model = dit.Diffusion(dit.DiT((1, 28, 28), num_classes=10))
optimizer = torch.optim.SGD(model.network.parameters(), lr=0.1)
parts = {"blocks": model.network.blocks, "embedding": model.network.embed}
parts |= {"c": model.network.condition, "last layer": model.network.last}
reached = []
for update in (1, 2, 3):
    optimizer.zero_grad()
    model.loss(some, classes).backward()
    reached.append({})
    for name, part in parts.items():
        moved = torch.cat([p.grad.flatten() != 0 for p in part.parameters()])
        reached[-1][name] = moved.float().mean().item()
    print(f"update {update}:", *(f"{n} {s:4.0%} " for n, s in reached[-1].items()))
    optimizer.step()

# %%
first, second, third = reached
assert first == {"blocks": 0, "embedding": 0, "c": 0, "last layer": 1}
assert 0 < second["blocks"] < 0.3 < 0.9 < third["blocks"]
assert second["c"] == 0 < 0.5 < third["c"]

# %% [markdown]
# In the first update only the last layer moves: what comes before it is multiplied by its weights, which are 0. In the
# second, the embedding and, in the blocks, the weights of the gates move; a branch behind a gate of 0 has no gradient
# yet. From the third on nearly everything learns, the branches and the layers that make $c$ included. (The rest of $c$
# are the inputs for classes that are not in this batch.) So the zeros delay the learning by two updates.

# %% [markdown]
# ### What is it worth?
#
# We train three small networks ($d = 64$) for the same number of updates: with gates that begin at 0, with gates that
# begin at 1, and a third one that gets time and class in another way, **in context**: $c$ is one more token of the
# sequence, which the others can attend to. (Peebles and Xie used two tokens.) Gains, shifts and gates are then the same
# for all times and classes.


# %%
class InContext(dit.DiT):
    def forward(self, x, t, labels=None):
        c = self.condition(t, labels)
        h = self.embed(dit.patchify(x, 4)) + self.positions
        h = torch.cat([c[:, None], h], dim=1)  # 50 tokens
        for block in self.blocks:
            h = block(h, 0 * c)
        gain, shift = self.last_amounts(0 * c)[:, None].chunk(2, dim=-1)
        said = self.last(dit.modulated(h[:, 1:], gain, shift))
        return dit.unpatchify(said, 4, self.shape)


# %%
def spent(start):  # CPU seconds; in smoke, where nothing is measured, always 1
    return 1.0 if profile == "smoke" else process_time() - start


# %%
def trained(make, stretches, x=x_train, labels=labels_train, seed=0, batch=16):
    torch.manual_seed(seed)
    model = dit.Diffusion(make(), learning_rate=2e-3, ema_decay=0.99)
    loader = DataLoader(TensorDataset(x, labels), batch, shuffle=True)
    limits = {"limit_train_batches": stretch} if batch == 16 else {}
    start = process_time()
    history = training.fit(model, loader, max_epochs=stretches, seed=seed, **limits)
    return model, history["train_loss"], spent(start)


@torch.no_grad()
def held_out_loss(model, x=x_held):
    torch.manual_seed(0)  # the same times and the same noise for every model
    losses = [model.loss(x, labels_held) for _ in range(2)]
    return torch.stack(losses).mean().item()


# %%
small = {"width": 64, "num_classes": 10}
ways = {
    "gates from 0": lambda: dit.DiT((1, 28, 28), **small),
    "gates from 1": lambda: dit.DiT((1, 28, 28), gate=1.0, **small),
    "in context": lambda: InContext((1, 28, 28), **small),
}

# %%
ablated = {}
for name, make in ways.items():
    runs = [trained(make, 3, seed=seed) for seed in (0, 1)]
    ablated[name] = [held_out_loss(model) for model, *_ in runs]
    seconds = sum(run[2] for run in runs)
    first, second = ablated[name]
    print(
        f"{name}: held-out loss {first:.3f} and {second:.3f} (two seeds),", end=" "
    )
    print(f"{1000 * seconds / (6 * stretch):.0f} ms per update")

# %%
if profile != "smoke":
    zero, one, context = ablated.values()
    assert max(zero) + 0.1 < min(*one, *context)

# %% [markdown]
# With both seeds the network whose gates begin at 0 has the lowest loss, by more than 0.1. Beginning at 0 costs no
# time, since the layers are the same as with gates from 1. The third network begins as the identity as well, since its
# gates too begin at 0; it differs from the first in the way that time and class get in. These are the first
# seconds of a training at one learning rate, so they say which network starts better, not where a long training would end.
# On ImageNet, after 400,000 updates, Peebles and Xie found adaLN-zero ahead of adaLN without gates, of tokens in
# context, and of cross-attention.

# %% [markdown]
# ## Against the U-Net, at equal time
#
# Which of the two networks is the better one for our digits? With the same number of updates the comparison would be
# unfair if one takes longer for each, and with the same number of weights, too: a convolution uses each weight at many
# positions. So we compare at **equal time**: about as many CPU seconds of training. (On a machine with a GPU this clock
# counts only what the CPU does meanwhile, so there the times are not equal in that sense.) Batch size, learning rate,
# loss and sampler are the same; the learning rate is the one of the U-Net in the first chapter, and the transformer
# might do better with its own. First, what each costs:

# %%
makes = {
    "DiT": lambda: dit.DiT((1, 28, 28), num_classes=10),
    "U-Net": lambda: diffusion.UNet((1, 28, 28), 32, num_classes=10),
}


def operations_of(network):  # per example, in millions; times and plus count as two
    counter = FlopCounterMode(display=False)
    # This way of computing attention is the one that the counter knows.
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network(some[:1], t[:1])
    return counter.get_total_flops() / 1e6


# %%
weights, operations = {}, {}
for name, make in makes.items():
    network = make()
    weights[name] = sum(p.numel() for p in network.parameters())
    operations[name] = operations_of(network)
    print(f"{name:>6}: {weights[name]:7,} parameters,", end=" ")
    print(f"{operations[name]:.1f} million operations per example")

# %%
models, curves, seconds = {}, {}, {}
lengths, losses = {"DiT": 14, "U-Net": 24}, {}
for name, stretches in lengths.items():
    models[name], curves[name], seconds[name] = trained(makes[name], stretches)
    losses[name] = held_out_loss(models[name])
    updates = stretches * stretch
    print(
        f"{name:>6}: {updates} updates in {seconds[name]:.0f} CPU seconds,", end=" "
    )
    print(f"{1000 * seconds[name] / updates:.1f} ms each;", end=" ")
    print(f"held-out loss {losses[name]:.3f}")

# %% mystnb={"image": {"alt": "The training loss of the two networks against CPU seconds, on a logarithmic axis. Both fall steeply and then flatten; the curve of the U-Net ends lower."}}
for name, curve in curves.items():
    ends = torch.linspace(0, seconds[name], len(curve) + 1)[1:]
    plt.semilogy(ends, curve, "o-", markersize=3, label=name)
plt.xlabel("CPU seconds of training")
plt.ylabel("mean squared error of v")
plt.yticks(ticks := (0.4, 0.5, 0.6, 0.8, 1.0, 1.5), ticks)
plt.minorticks_off()
plt.legend()
plt.show()

# %%
known = metrics.judge_features(real)
asked = torch.arange(samples) % 10


def shown(x):  # from [-1, 1] to [0, 1]
    return (x.clamp(-1, 1) + 1) / 2


def draw(model, guidance=2.0):
    torch.manual_seed(1)
    noise = torch.randn(samples, *model.network.shape)
    return diffusion.ddim(model.guess(asked, guidance), model.path, noise, steps)


def judged(x, labels=asked):  # accuracy, confident share, Fréchet distance
    distance = metrics.frechet_distance(metrics.judge_features(x), known)
    return metrics.judge_accuracy(x, labels), metrics.confident_share(x), distance


# %%
drawn, table, cost = {}, {}, {}
for name, model in models.items():
    drawn[name] = shown(draw(model))
    table[name] = judged(drawn[name])
everything = torch.cat(
    [metrics.judge_features(data.split(name)[0]) for name in ("validation", "test")]
    + [known]
)
torch.manual_seed(0)
floors = metrics.floor_distances(everything, samples)
print(f"{samples} pictures  as asked     sure  distance")
for name, (right, sure, distance) in table.items():
    print(f"{name:>12}: {right:8.1%} {sure:8.1%} {distance:9.2f}")
print(f"random splits of real digits:  {floors.mean():.2f} ± {floors.std():.2f}")

# %% mystnb={"image": {"alt": "Four rows of eight samples, two rows by each of the two networks. Those of the transformer are patches of specks that rarely join to strokes; those of the U-Net have strokes, and some can be read."}}
sheet = torch.cat([drawn[name][:16] for name in models])
plots.image_grid(sheet, row_labels=["DiT", "", "U-Net", ""])
plt.show()

# %%
if profile != "smoke":
    assert 0.67 < seconds["DiT"] / seconds["U-Net"] < 1.5, "about equal time"
    assert curves["U-Net"][-1] < 0.9 * curves["DiT"][-1]
    assert table["U-Net"][2] < 0.7 * table["DiT"][2]
    assert table["U-Net"][0] > table["DiT"][0] + 0.1

# %% [markdown]
# At equal time the U-Net is ahead: by its loss, by the judge, and by the distance. In so short a time neither learns to
# draw well in the `cpu` profile; the diffusion model of [the first chapter](denoising_diffusion.ipynb) is trained for
# several times as long. But there the U-Net's samples consist of strokes, and some are digits; those of the transformer
# are specks that do not yet fit together. It has more parameters, needs more operations per example, and made fewer
# updates in the same time.
#
# Do not read this as a verdict on transformers. Peebles and Xie trained theirs on more than a million pictures, for far
# longer, and there it reached a smaller Fréchet distance than the earlier models with U-Nets. What we have measured is
# the beginning, on 4,000 digits.
#
# ## What does the U-Net know in advance?
#
# A likely reason for the lead is in the construction: a convolution looks at neighbouring pixels and does the same everywhere, while
# the transformer has to learn from its positions which patches are neighbours. This can be tested. Permute the 784
# pixels, in the same way for all pictures. No information is lost, but neighbours are neighbours no longer.
#
# > **Predict, then run.** Both networks are trained on the permuted digits, as long as before. What happens to
# > the lead of the U-Net? (a) It stays as it is. (b) It shrinks, or the transformer leads. (c) It grows.

# %%
order = torch.randperm(784, generator=torch.Generator().manual_seed(0))


def permuted(x):
    return x.flatten(1)[:, order].view_as(x)


# %% mystnb={"image": {"alt": "Two rows of eight pictures: digits, and below them the same digits with permuted pixels, which look like white specks on black."}}
plots.image_grid(
    torch.cat([real[:8], permuted(real[:8])]), row_labels=["digits", "permuted"]
)
plt.show()

# %%
of_permuted = {}
for name, make in makes.items():
    again, of_permuted[name], time = trained(make, lengths[name], permuted(x_train))
    losses[f"{name}, permuted"] = held_out_loss(again, permuted(x_held))
    print(f"{name:>6}: {time:.0f} CPU seconds, held-out loss", end=" ")
    print(f"{losses[f'{name}, permuted']:.3f}, before {losses[name]:.3f}")

# %% mystnb={"image": {"alt": "The training losses of both networks against CPU seconds, solid as before and dashed on permuted digits. On permuted digits both curves lie higher, and that of the U-Net has lost its lead."}}
for k, name in enumerate(makes):
    for style, curve in (("-", curves[name]), ("--", of_permuted[name])):
        ends = torch.linspace(0, seconds[name], len(curve) + 1)[1:]
        label = name if style == "-" else f"{name}, permuted"
        plt.semilogy(ends, curve, style, color=plots.COLOURS[k], label=label)
plt.xlabel("CPU seconds of training")
plt.ylabel("mean squared error of v")
plt.yticks(ticks, ticks)
plt.minorticks_off()
plt.legend()
plt.show()

# %%
lost = {name: losses[f"{name}, permuted"] - losses[name] for name in makes}
print(", ".join(f"{name} loses {gap:.3f}" for name, gap in lost.items()))
if profile != "smoke":
    assert lost["U-Net"] > lost["DiT"] + 0.05
    assert losses["U-Net, permuted"] > losses["DiT, permuted"] - 0.05

# %% [markdown]
# It is (b): the U-Net loses more than the transformer, and of its lead at most a trace is left. So at this budget, in
# this one training of each, it owes the lead to what convolutions assume about pictures: that neighbours belong
# together, and that what is useful in one place is useful everywhere. The permutation takes away both at once. The
# transformer assumes something too: the 16 pixels of a patch enter together.

# %% [markdown]
# ## Diffusion among codes
#
# A diffusion model of pixels has to draw each of them, the finest detail included. **Latent diffusion** ([Rombach et al.,
# 2022](https://arxiv.org/abs/2112.10752)) leaves the pixels to an autoencoder. The *first stage* is trained alone and then
# stays as it is: its encoder turns a picture into a short code, its decoder a code into a picture. The *second stage* is
# a diffusion model of the codes. To draw, it draws a code, and the decoder makes a picture of it.
#
# We have a first stage: the [VAE of the course](../vae/variational_autoencoder.ipynb), whose codes have 16 numbers. A
# picture has 784.

# %% tags=["hide-input"]
chain = ["x", "E", "÷σ", "z₀", "zₜ", "f", "ẑ₀", "×σ", "D", "x̂"]
columns = [0, 1.1, 2.2, 3.4, 4.8, 4.8, 3.4, 2.2, 1.1, 0]
diagrams.draw(
    "The observed picture x goes through the encoder E and a division by sigma to "
    "the code z0, and noise makes zt of it. The network f, which also gets time t "
    "and class y, makes a guess of z0 from zt; then follow a multiplication by "
    "sigma and the decoder D, which gives the picture x hat.",
    dict(zip(chain, zip(columns, [0] * 5 + [1.3] * 5, strict=True), strict=True))
    | {"t": (6, 1.0), "y": (6, 1.7)},
    [tuple(chain), ("t", "f"), ("y", "f")],
    observed=["x", "y"],
    variables=["z₀", "zₜ"],
    bare=["t", "x̂", "ẑ₀"],
)

# %%
first_stage = vae.pretrained(profile)
with torch.no_grad():
    codes, log_var = first_stage.encode(real, None)
    codes_held, _ = first_stage.encode(held, None)
of_means, around = codes.var(dim=0), log_var.exp().mean(dim=0)
for name, variance in (("means", of_means), ("around a mean", around)):
    low, high = variance.min(), variance.max()
    print(f"variance {name:>13}: {variance.mean():.2f} ({low:.2f} to {high:.2f})")
print(f"the sum: {(of_means + around).mean():.2f}")
assert profile == "smoke" or 0.8 < (of_means + around).mean() < 1.3

# %% [markdown]
# The code of a picture is here the mean $\mu$ that the encoder gives. (The lines show the average over the 16 numbers,
# and the smallest and the largest.) The KL term of the VAE draws the codes of all pictures together, means and the spread
# around them, towards a variance of 1, and the sum is near it. How much of it is the variance of the means alone, the
# first line says.
#
# **Rescaling.** Not every autoencoder is so obliging. Rombach et al. give the KL term a weight of about a millionth, so
# that nothing is lost for its sake, and then codes may have any size. But the shares $a_t$ and $s_t$ of a path were chosen
# for data with a variance of about 1. For codes of variance $\sigma^2$ the signal-to-noise ratio at time $t$ is
# $\sigma^2 a_t^2 / s_t^2$. If $\sigma$ is small, the codes are nearly pure noise at all but the earliest times; if it is
# large, they are nearly clean at all but the latest. So the codes are shifted to mean 0 and divided by *one* number, their spread
# $\sigma$; before decoding this is undone. What happens without it is measured below.
#
# The network is a small one, `dit.LatentNetwork`: three residual blocks of two layers, into which time and class enter by
# adaLN-zero as above. `Diffusion`, the path and the sampler are the same as for pixels.


# %%
def second_stage(codes, size=1.0):  # trained on codes of the spread `size`
    middle, sigma = codes.mean(dim=0), codes.std() / size
    model, _, seconds = trained(
        lambda: dit.LatentNetwork(codes.shape[1], num_classes=10),
        passes,
        (codes - middle) / sigma,
        batch=200,
    )
    return model, lambda z: z * sigma + middle, seconds


@torch.no_grad()
def picture(stage, z):
    return stage.decode(z).sigmoid()


# %%
latent, back, seconds["latent"] = second_stage(codes)
weights["latent"] = sum(p.numel() for p in latent.network.parameters())
print(f"{weights['latent']:,} parameters, {seconds['latent']:.1f} CPU seconds")


def timed(act):  # what it returns, and CPU seconds for 100 pictures
    torch.manual_seed(1)
    start = process_time()
    return act(), spent(start) * 100 / samples


def from_codes(stage, model, back, guidance=1.0):
    return picture(stage, back(draw(model, guidance)))


# %%
pixels = diffusion.pretrained(profile)  # the U-Net of the first chapter
centre, root = codes.mean(dim=0), torch.linalg.cholesky(codes.T.cov()).T
made = {
    "VAE, its prior": lambda: first_stage.sample(samples),
    "VAE, one Gaussian": lambda: picture(
        first_stage, centre + torch.randn(samples, 16) @ root
    ),
    "VAE, latents, w = 1": lambda: from_codes(first_stage, latent, back),
    "VAE, latents, w = 2": lambda: from_codes(first_stage, latent, back, 2.0),
    "pixels, w = 1": lambda: shown(draw(pixels, 1.0)),
    "pixels, w = 2": lambda: shown(draw(pixels)),
    "held-out, rebuilt": lambda: picture(first_stage, codes_held[:samples]),
    "held-out digits": lambda: held[:samples],
}

# %%
print(f"{samples} pictures          as asked    sure  distance   s per 100")
for name, act in made.items():
    drawn[name], cost[name] = timed(act)
    labels = labels_held[:samples] if "held-out" in name else asked
    right, sure, distance = table[name] = judged(drawn[name], labels)
    told = "prior" not in name and "Gaussian" not in name
    obeys = f"{right:8.1%}" if told else " " * 8
    print(f"{name:>20} {obeys} {sure:7.1%} {distance:9.2f} {cost[name]:11.2f}")

# %% mystnb={"image": {"alt": "Four rows of eight digits. From the prior of the VAE some are no digits; from latent diffusion there are the digits 0 to 7, slightly soft; from the diffusion model of pixels the same digits with ragged edges; the rebuilt held-out digits are slightly soft."}}
rows = {"prior": "VAE, its prior", "latents": "VAE, latents, w = 1"}
rows |= {"pixels": "pixels, w = 1", "rebuilt": "held-out, rebuilt"}
sheet = torch.cat([drawn[name][:8] for name in rows.values()])
plots.image_grid(sheet, row_labels=list(rows))
plt.show()

# %%
if profile != "smoke":
    far = {name: row[2] for name, row in table.items()}
    assert far["VAE, latents, w = 1"] < 0.4 * far["VAE, one Gaussian"]
    assert far["VAE, latents, w = 1"] < 0.4 * far["VAE, its prior"]
    assert far["VAE, latents, w = 1"] < far["pixels, w = 1"] > far["pixels, w = 2"]
    assert far["VAE, latents, w = 1"] < far["held-out, rebuilt"] + 1.5
    assert cost["pixels, w = 1"] > 10 * cost["VAE, latents, w = 1"]

# %% [markdown]
# **Against the prior.** From its prior the VAE draws pictures that are far from real digits by the distance. Its codes
# are not distributed as the prior says, and not as one Gaussian with their mean and covariance either: the second row
# is still far off. The second stage comes closer to their distribution. With the same decoder the distance falls to
# less than 0.4 of both, and one can ask for a class, although the VAE was never told any.
#
# **Against the ceiling.** The row "held-out, rebuilt" shows what the first stage makes of real digits. By the distance
# a second stage can hardly hope for more, and the latents come close to it: where two rows differ by less than three
# times the spread of the random splits above, nothing can be concluded. The other two columns are no ceiling: guidance
# draws more typical pictures of a class than the data have, and the judge may read them more surely than rebuilt
# digits.
#
# **Against pixels.** The diffusion model of pixels is that of the first chapter, which is trained for minutes (so is
# our first stage, and on digits that were also rotated and shifted). Without guidance the latents have the smaller
# distance; with $w = 2$ that of the pixels falls. And a hundred pictures of the latent model take a small part of the
# time, as the last column shows. Each of the 20 steps works on 16 numbers instead of 784, and the
# decoder is called once.

# %% [markdown]
# ## When it fails
#
# **Codes of the wrong size.** The same training, with codes of a hundredth of the size, and of a hundred times the size:

# %%
wrong = {1.0: table["VAE, latents, w = 1"]}
for size in (0.01, 100.0):
    wrong[size] = judged(from_codes(first_stage, *second_stage(codes, size)[:2]))
for size, (right, sure, distance) in sorted(wrong.items()):
    print(f"spread {size:6.2f}: as asked {right:5.1%}, sure {sure:5.1%},", end=" ")
    print(f"distance {distance:6.2f}")

# %%
if profile != "smoke":
    assert wrong[0.01][2] > 1.5 * wrong[1.0][2] < 0.1 * wrong[100.0][2]
    assert wrong[0.01][0] < wrong[1.0][0] - 0.05

# %% [markdown]
# Network and training are the same, and the decoder gets codes of the right size in all three cases. Two things change
# with $\sigma$, and this test does not separate them. One is the size of the numbers that the network reads and has to
# predict: with $\sigma = 100$ both are far from those of noise. The other can be read off the path. Signal and noise
# are equally large where $\sigma a_t = s_t$, that is where $\tan(\pi t / 2) =
# \sigma$. For $\sigma = 1$ this is in the middle, at $t = 0.5$. For $\sigma = 0.01$ it is at 0.006 and for $\sigma = 100$ at
# 0.994: inside the last of the 20 steps, and inside the first. Nearly all other steps are then spent where there is
# little to decide. One could choose another path instead; dividing by $\sigma$ is simpler.
#
# **A first stage that throws away what matters.** A VAE with a code of two numbers, trained for a short time, and a second
# stage for its codes:

# %%
torch.manual_seed(0)
narrow = vae.VAE(latent_dim=2, learning_rate=8e-3, channels=16, width=128)
whole = ImageData("digits", batch_size=200)
epochs = {"smoke": 1, "cpu": 20, "gpu": 200}[profile]
training.fit(narrow, whole, max_epochs=epochs, seed=0)
with torch.no_grad():
    small_codes, _ = narrow.encode(real, None)
    small_held, _ = narrow.encode(held, None)
    few = small_held[:samples]
limits = {"rebuilt": judged(picture(narrow, few), labels_held[:samples])}
limits["drawn"] = judged(from_codes(narrow, *second_stage(small_codes)[:2]))
for name, (right, sure, distance) in limits.items():
    print(f"{name:>8}: as asked {right:6.1%}, sure {sure:6.1%},", end=" ")
    print(f"distance {distance:6.2f}")

# %%
if profile != "smoke":
    assert limits["rebuilt"][0] < 0.7
    assert abs(limits["rebuilt"][0] - limits["drawn"][0]) < 0.15
    assert limits["drawn"][2] > 10 * table["VAE, latents, w = 1"][2]

# %% [markdown]
# This first stage rebuilds many digits so that the judge does not read what they were. The second stage does as well as
# it can: its samples score about what the rebuilt digits score. So there is little left that a longer training of the
# second stage could gain, and a latent diffusion model is judged in two steps: first look at the rebuilt pictures, then
# at the drawn ones.

# %% [markdown]
# ## The promise
#
# This chapter promises that at equal time the U-Net is ahead of the transformer on digits, and that this lead does not
# survive a permutation of the pixels; that at least 80 of 100 pictures by latent diffusion are read as asked, at less than
# 0.4 of the distance of the VAE's prior; and that both failures are seen.

# %%
figures = results.record(
    "transformer",
    profile,
    dit_frechet=round(table["DiT"][2], 2),
    unet_frechet=round(table["U-Net"][2], 2),
    latent_frechet=round(table["VAE, latents, w = 1"][2], 2),
    vae_prior_frechet=round(table["VAE, its prior"][2], 2),
    rebuilt_frechet=round(table["held-out, rebuilt"][2], 2),
    frechet_floor=round(floors.mean().item(), 2),
    dit_judge_accuracy=round(table["DiT"][0], 3),
    unet_judge_accuracy=round(table["U-Net"][0], 3),
    latent_judge_accuracy=round(table["VAE, latents, w = 1"][0], 3),
)
print(figures["dit_frechet"], figures["unet_frechet"], figures["latent_frechet"])

# %%
if profile != "smoke":
    assert figures["unet_frechet"] < figures["dit_frechet"]
    assert lost["U-Net"] > lost["DiT"]
    assert figures["latent_judge_accuracy"] >= 0.8
    assert figures["latent_frechet"] < 0.4 * figures["vae_prior_frechet"]
    assert limits["drawn"][2] > 10 * figures["latent_frechet"]

# %% [markdown]
# ## Summary
#
# - A picture is a sequence of patches; a linear layer makes tokens of them, fixed sines say where each was, and attention
#   needs no mask.
# - Time and class set gain, shift and gate of every branch. With gates that begin at 0 every block begins as the identity;
#   from the third update on nearly all weights have a gradient.
# - A comparison of networks needs a budget, and equal time is a fair one. On few digits, for a short time and at one
#   learning rate the U-Net leads,
#   and on permuted pixels its lead is gone: it rests on what convolutions assume about pictures.
# - Latent diffusion draws codes, and a decoder makes pictures of them. Drawing takes a fraction of the time, and by the
#   distance its pictures are at best about as good as rebuilt ones.
# - Codes have to be brought to a variance of about 1 for the path to suit them.
#
# ## Check yourself
#
# **1.** Patches of 2×2 pixels instead of 4×4: by what factor does the number of tokens grow, and the operations of the
# linear layers, and those between queries, keys and values? Work it out, then count.

# %% tags=["hide-cell"]
# @title Solution
parts_of = {}
for patch in (4, 2):
    pairs = (28 // patch) ** 4  # of a query and a key
    # Four blocks; scores and sums; times and plus.
    between = 4 * 2 * 2 * 96 * pairs / 1e6
    total = operations_of(dit.DiT((1, 28, 28), patch=patch))
    parts_of[patch] = total - between, between
    print(
        f"{patch}×{patch}: {total - between:.1f} million in linear layers,", end=" "
    )
    print(f"{between:.1f} million between queries, keys and values")
# The first parts are what was counted less what was worked out.
assert 3.8 < parts_of[2][0] / parts_of[4][0] < 4

# %% [markdown]
# <details><summary>Answer</summary>
#
# Four times as many tokens, so four times the operations of every linear layer in the blocks that works on tokens. The
# embedding and the last layer need as many as before, since each patch has a quarter of the numbers, and so do the
# layers that work on $c$; together the factor is a little below 4. Each query meets each key: $196^2$ pairs instead of
# $49^2$, sixteen times as many.
#
# </details>
#
# **2.** Why does the scalar product of two position vectors depend only on the distances of the rows and of the columns?
#
# <details><summary>Answer</summary>
#
# For one frequency $\omega$ and rows $m$ and $n$ it is $\sin \omega m \sin \omega n + \cos \omega m \cos \omega n = \cos
# \omega (m - n)$. The product is the sum of such terms, $d / 4$ of them for the rows and as many for the columns.
#
# </details>
#
# **3.** Somebody wants to be doubly sure that each block begins as the identity. Besides the gates, the last layer of each
# branch begins at 0 too. What happens? Say it, then try.

# %% tags=["hide-cell"]
# @title Solution
torch.manual_seed(0)
model = dit.Diffusion(dit.DiT((1, 28, 28), num_classes=10))
for block in model.network.blocks:
    for weight in (*block.out.parameters(), *block.mlp[2].parameters()):
        nn.init.zeros_(weight)
optimizer = torch.optim.Adam(model.network.parameters(), lr=1e-3)
for _ in range(5):
    optimizer.zero_grad()
    model.loss(some, classes).backward()
    optimizer.step()
stuck = [p.grad.any().item() for p in model.network.blocks.parameters()]
print(f"{sum(stuck)} of {len(stuck)} weight matrices and biases of the blocks move")
assert not any(stuck)
assert model.network.embed.weight.grad.any()

# %% [markdown]
# <details><summary>Answer</summary>
#
# A branch contributes $\alpha \odot f$. The gradient of the gate is multiplied by $f$, which is 0, and that of $f$ by the
# gate, which is 0. Neither ever moves, and the blocks stay the identity for ever. One of two factors may begin at 0, not
# both.
#
# </details>
#
# **4.** In words: the second stage is trained for ten times as long. Can the pictures of latent diffusion become better than
# rebuilt digits?
#
# <details><summary>Answer</summary>
#
# As a set, no: a perfect second stage draws codes that are distributed as those of real digits. The decoder makes of
# them what it makes of those: rebuilt digits, with whatever the first stage lost. To do better by the distance, the
# first stage has to lose less, which takes, for example, longer codes or a better decoder. (Single pictures may look
# better: guidance draws typical codes, at the price of variety.)
#
# </details>
#
# ## Further reading
#
# - W. Peebles and S. Xie, [Scalable Diffusion Models with Transformers](https://arxiv.org/abs/2212.09748) (2023).
# - A. Dosovitskiy et al., [An Image is Worth 16x16 Words](https://arxiv.org/abs/2010.11929) (2021): patches as tokens.
# - R. Rombach et al., [High-Resolution Image Synthesis with Latent Diffusion
#   Models](https://arxiv.org/abs/2112.10752) (2022): the model behind Stable Diffusion.
# - P. Esser et al., [Scaling Rectified Flow Transformers for High-Resolution Image
#   Synthesis](https://arxiv.org/abs/2403.03206) (2024): a transformer, latents and flow matching together, at size.
#
# Next: [From a caption to a picture](text_to_image.ipynb), where one asks in words.
