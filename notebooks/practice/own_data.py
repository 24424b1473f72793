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
# # With your own data
#
# **After this chapter you can**
#
# - train the course's models on a folder of your own pictures, with classes or without;
# - train a language model on your own texts, whatever their encoding;
# - hand any PyTorch data loader to a model of the course;
# - let an agent learn a game that you wrote yourself;
# - stop a training run, keep what it has learnt, and go on with it later.
#
# **You need**: the first chapter of the part whose model you want to use, such as
# [The variational autoencoder](../vae/variational_autoencoder.ipynb). The sections below do not depend on each other. ·
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
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image, ImageDraw

from aigc_course import dqn, gan, gpt, plots, results, training, vae
from aigc_course.data import ImageData, TextData

plots.use_style()
profile = training.resolve_profile(profile)
folder = TemporaryDirectory()  # stands for your disk; removed at the end
root = Path(folder.name)
print(f"Profile {profile}")

# %% [markdown]
# ## What can be wrong with your data
#
# The first thing that goes wrong with a new data set is hardly ever the model. It is a photograph that lies on its side, a file
# that broke while it was copied, a text in an old encoding, the same picture in the training data and in the test data. Unnoticed,
# these make a result worse, or better than it deserves.
#
# This chapter brings four kinds of data of its own, made on the spot so that nothing has to be downloaded: a folder of pictures,
# a folder of texts, a loader of points, and a game. Each stands for yours. In each section one line names your data; the rest is
# what you know from the other chapters.
#
# ## A folder of pictures
#
# We draw 600 small pictures of many sizes, hardly any of them square, and save half of each class as a camera would, as JPEG, and
# half as PNG. (If all discs were JPEG files, a model could tell them by the traces of the compression.) There is one sub-folder
# per class, and its name is the name of the class.


# %%
def draw(kind, rng):
    """Return a picture of one bright shape on a dark ground, drawn at random."""
    width, height = (int(side) for side in rng.integers(70, 160, size=2))
    ground, paint = rng.integers(0, 80, size=3), rng.integers(120, 256, size=3)
    picture = Image.new("RGB", (width, height), tuple(int(v) for v in ground))
    size = rng.uniform(0.25, 0.4) * min(width, height)
    x, y = width / 2 + rng.uniform(-8, 8), height / 2 + rng.uniform(-8, 8)
    box = (x - size, y - size, x + size, y + size)
    tip = [(x, y - size), (x - size, y + size), (x + size, y + size)]
    pen, colour = ImageDraw.Draw(picture), tuple(int(v) for v in paint)
    {"disc": lambda: pen.ellipse(box, fill=colour),
     "square": lambda: pen.rectangle(box, fill=colour),
     "triangle": lambda: pen.polygon(tip, fill=colour)}[kind]()  # fmt: skip
    return picture


# %%
rng = np.random.default_rng(0)
for number in range(600):
    kind = ("disc", "square", "triangle")[number % 3]
    (root / "shapes" / kind).mkdir(parents=True, exist_ok=True)
    ending = "png" if number % 2 else "jpg"
    draw(kind, rng).save(root / "shapes" / kind / f"{number:03d}.{ending}")
print(*sorted(p.relative_to(root) for p in root.glob("shapes/*/00*")), sep="\n")

# %% [markdown]
# To use your own pictures, put the path of your folder in place of `root / "shapes"`. `size` is the side of the square that every
# picture is cropped and scaled to, `channels` is 3 for colour and 1 for grey.

# %% mystnb={"image": {"alt": "Twelve small pictures in two rows: four discs, four squares and four triangles in bright colours on dark grounds."}}
data = ImageData(root / "shapes", size=32, channels=3, batch_size=50)
x_train, labels_train = data.split("train")
x_validation, labels_validation = data.split("validation")
print("classes:", data.class_names)
print("training:", tuple(x_train.shape), " validation:", tuple(x_validation.shape))
shown = torch.cat([x_train[labels_train == k][:4] for k in range(3)])
plots.image_grid(shown, columns=6)
plt.show()

# %% [markdown]
# What `ImageData` did with the folder:
#
# - **Every picture became a square** of the same size: the middle was cut out, then scaled down. A photograph is turned as the
#   camera's note in the file (EXIF) says.
# - **The labels are the sub-folders' numbers** in alphabetical order. A folder without sub-folders has no classes; most
#   of the course's models need none.
# - **Four fifths are for training**, a tenth for validation and a tenth for the test. A fixed seed draws them from the sorted list of
#   files: the same on every machine and at every call. Files with the same content stay together, so that no picture is both
#   learnt and tested. If you add or remove a file, all splits are drawn anew: train again, since the old model has
#   learnt from some of the new test pictures.
# - **It says what it did not expect.** Files that are not pictures, sub-folders without any, and classes that have no picture in the
#   training split are named in a warning. A folder with `train` and `test` in it is refused: those are splits, not
#   classes.
#
# The model takes the shape of a picture, and the number of classes. Nothing else changes.

# %%
epochs = {"smoke": 1, "cpu": 60, "gpu": 120}[profile]
torch.manual_seed(0)
model = vae.VAE(latent_dim=8, shape=(3, 32, 32), num_classes=len(data.class_names))
history = training.fit(model, data, max_epochs=epochs)
print(f"{epochs} epochs, validation loss {history['val_loss'][-1]:.0f} nats")

# %% [markdown]
# Is that good? A number of nats means nothing by itself: it depends on the size of the pictures, and for grey and coloured pixels a
# part of it cannot be removed by any model (see [the chapter on the VAE](../vae/variational_autoencoder.ipynb)). What tells
# is a comparison on the same pictures. The simplest baseline always shows the average training picture of the class.

# %%
means = torch.stack([x_train[labels_train == k].mean(0) for k in range(3)])
flat = torch.logit(means[labels_validation].clamp(1e-3, 1 - 1e-3))
baseline = -float(vae.bernoulli_log_likelihood(flat, x_validation).mean())
torch.manual_seed(0)
vae_nats = vae.negative_elbo(model, x_validation, labels_validation)
print(f"average picture of the class  {baseline:7.0f} nats per picture")
print(f"conditional VAE (its bound)   {vae_nats:7.0f}")
assert profile == "smoke" or vae_nats < baseline - 100

# %% tags=["gallery"] mystnb={"image": {"alt": "Three rows of six generated pictures: the upper row shows discs, the middle one squares, the lower one triangles, in different colours on dark grounds."}}
torch.manual_seed(1)
wanted = torch.arange(3).repeat_interleave(6)
made = model.sample(18, wanted)
plots.image_grid(made, columns=6, row_labels=data.class_names)
plt.show()

# %% [markdown]
# Each row is one class that we asked for by its number. Do the pictures show it? We ask the training pictures: which of them, in
# grey, without its mean and scaled to length 1, is the nearest, and what is its class? On real pictures this simple judge can
# be tested, so we do that first.


# %%
def judge(pictures):
    """Return the class of the training picture that is most like each picture."""

    def look(x):
        grey = x.mean(dim=1).flatten(1)
        grey = grey - grey.mean(dim=1, keepdim=True)
        return torch.nn.functional.normalize(grey)

    return labels_train[(look(pictures) @ look(x_train).T).argmax(dim=1)]


known = (judge(x_validation) == labels_validation).float().mean()
many = torch.arange(3).repeat_interleave(100)
right = (judge(model.sample(300, many)) == many).float().mean()
print(f"class recognised: {100 * known:.0f} % of the validation pictures")
print(f"                  {100 * right:.0f} % of 300 generated ones")
assert profile == "smoke" or min(known, right) > 0.85

# %% [markdown]
# If your folder has no classes, leave `num_classes` out and call
# `model.sample(18)`. The generators of [the GAN part](../gan/dcgan.ipynb) take the same folder, with
# `ImageData(..., signed=True)` and `shape=(3, 32, 32)` in both networks.
#
# ### When a file is broken
#
# Predict, then run: one of 600 files was cut while it was copied. Will `ImageData`
#
# - (a) train on the upper half of the picture;
# - (b) leave the file out;
# - (c) refuse the folder?

# %%
whole = (root / "shapes/disc/000.jpg").read_bytes()
(root / "shapes/disc/000.jpg").write_bytes(whole[: len(whole) // 2])
try:
    ImageData(root / "shapes", size=32).split("train")
except ValueError as error:
    print(fill(str(error).replace(str(root), "…"), 80))
    refused = str(error)
assert "000.jpg" in refused

# %% [markdown]
# It refuses, (c), and names the file. Leaving files out in silence would be worse: a folder of which half is unreadable would
# train a model on the other half, and nobody would know. If you have looked and it is fine to lose the file, say so; the
# data set then lists what it left out.

# %%
rest = ImageData(root / "shapes", size=32, skip_broken=True)
print(
    sum(len(rest.split(s)[0]) for s in ("train", "validation", "test")), "pictures"
)
print("left out:", [str(Path(name).name) for name in rest.skipped])
(root / "shapes/disc/000.jpg").write_bytes(whole)

# %% [markdown]
# ## A folder of texts
#
# Our texts are forty modules of Python's standard library, copied into a folder as a person's notes would lie there. `TextData`
# takes one file or a folder of them; the numbers are those of [the GPT chapter](../language/gpt.ipynb): the
# context in tokens, and a vocabulary of byte pairs learnt from the training split.

# %%
import os

(root / "notes").mkdir()
library = sorted(Path(os.__file__).parent.glob("[a-z]*.py"))
large = [path for path in library if path.stat().st_size > 5_000][:40]
for path in large:
    text = path.read_text(encoding="utf-8")
    (root / "notes" / f"{path.stem}.txt").write_text(text, encoding="utf-8")
print(
    len(large), "files, the first are", ", ".join(path.stem for path in large[:6])
)

# %%
texts = TextData(root / "notes", context=64, batch_size=32, tokenizer=512)
sizes = {split: len(tokens) for split, tokens in texts.tokens.items()}
print(", ".join(f"{split} {count:,} tokens" for split, count in sizes.items()))

# %%
width = {"smoke": 16, "cpu": 96, "gpu": 256}[profile]
torch.manual_seed(0)
writer = gpt.GPT(gpt.GPTConfig(512, 64, layers=3, width=width))
rounds = {"smoke": 1, "cpu": 3, "gpu": 12}[profile]
limit = 4 if profile == "smoke" else None
read = training.fit(
    gpt.NextTokenTraining(writer),
    texts,
    max_epochs=rounds,
    limit_train_batches=limit,
)
print(f"last validation loss {read['val_loss'][-1]:.2f} nats per token")

# %% [markdown]
# The measure is bits per byte on the test split, which the model has not read. (In English and in programs nearly every
# character is one byte.) Two baselines need no training. One is a table of how often each byte follows each other byte in the
# training split. The other is a compressor that comes with Python, `lzma`: it reads the training split first and is
# charged only for what the test split adds. A passage that it has read before, word for word, costs it next to nothing.

# %%
import lzma
import math

known = texts.tokenizer.decode(texts.tokens["train"]).encode()
held_out = texts.tokenizer.decode(texts.tokens["test"]).encode()
counts = np.ones((256, 256))  # one of each, so that nothing is impossible
pairs = np.frombuffer(known, dtype=np.uint8)
np.add.at(counts, (pairs[:-1], pairs[1:]), 1)
chances = counts / counts.sum(axis=1, keepdims=True)
tested = np.frombuffer(held_out, dtype=np.uint8)
table = -np.log2(chances[tested[:-1], tested[1:]]).mean()
both = len(lzma.compress(known + held_out, preset=9))
compressor = 8 * (both - len(lzma.compress(known, preset=9))) / len(held_out)

# %%
nats = writer.nats_per_token(texts.tokens["test"]) * (len(texts.tokens["test"]) - 1)
bits = nats / math.log(2) / len(held_out)
print(f"table of pairs                   {table:.2f} bits per byte")
print(f"lzma, having read the training   {compressor:.2f}")
print(f"GPT on your folder               {bits:.2f}")
assert profile == "smoke" or (bits < table - 1 and compressor < table - 1)

# %% [markdown]
# The table is easily beaten, by the GPT and by the compressor. The compressor is the baseline that counts: it adapts to
# the bytes as it reads them and finds passages that come again, and in the `cpu` profile our small GPT loses to it. Beside the table alone, the GPT's figure would look better than it is. Here is
# what the model writes.

# %%
torch.manual_seed(0)
start = texts.tokenizer.encode("def ")[None]
written = gpt.generate(writer, start, 120, temperature=0.8)[0]
lines = texts.tokenizer.decode(written).splitlines()
print(*(fill(line, 80) for line in lines), sep="\n")
assert profile == "smoke" or any(line.startswith("    ") for line in lines)

# %% [markdown]
# The lines are indented: the model has learnt how Python looks. Whether they would run is another matter.
# [What more compute buys](../language/scaling.ipynb) shows what more text and larger models change.
#
# ### When the encoding is a different one
#
# A file from an old Windows machine is often written in an encoding in which "é" is a single byte. Read as UTF-8 such a byte
# is an error; read with errors ignored it is a hole in the text. So the file is named, and you say what it is. (The reverse,
# a text in UTF-8 that is read in such an encoding, would turn "é" into "Ã©"; it is refused as well.)

# %%
dishes = "Crème brûlée, pâté, café. " * 50
(root / "menu.txt").write_bytes(dishes.encode("latin-1"))
try:
    TextData(root / "menu.txt", context=8, batch_size=4)
except ValueError as error:
    print(fill(str(error).replace(str(root), "…"), 80))
menu = TextData(root / "menu.txt", context=8, batch_size=4, encoding="latin-1")
print(menu.tokenizer.decode(menu.tokens["train"][:25]))

# %% [markdown]
# ## Any loader
#
# Data that are neither a folder of pictures nor texts come through PyTorch's own `DataLoader`. `fit` takes one in place of
# the course's data sets. Here are points on two half circles, the "two moons", for a GAN that
# makes points.


# %%
def moons(n, generator):
    """Return n points on two interlocked half circles, with a little noise."""
    angle = torch.pi * torch.rand(n, generator=generator)
    lower = torch.rand(n, generator=generator) < 0.5
    upper = torch.stack([angle.cos(), angle.sin()], dim=1)
    points = torch.where(lower[:, None], torch.tensor([1.0, 0.5]) - upper, upper)
    return points + 0.05 * torch.randn(n, 2, generator=generator)


points = moons(8_192, torch.Generator().manual_seed(0))
dataset = torch.utils.data.TensorDataset(points)  # (points, labels) with classes
loader = torch.utils.data.DataLoader(dataset, batch_size=256, shuffle=True)

# %%
torch.manual_seed(0)
game = gan.GAN(
    gan.DenseGenerator(2, (2,)), gan.DenseDiscriminator((2,)),
    generator_lr=1e-3, discriminator_lr=1e-3, ema_decay=0.99, cool_down=0.5,
)  # fmt: skip
passes = {"smoke": 1, "cpu": 80, "gpu": 80}[profile]
training.fit(game, loader, max_epochs=passes)
drawn = game.sample(2_000)

# %% mystnb={"image": {"alt": "Two scatter plots of two interlocked half circles: the data, and the GAN's samples, which follow both half circles."}}
figure, axes = plt.subplots(1, 2, sharex=True, sharey=True, figsize=(6, 2.6))
for ax, cloud, title in zip(
    axes, (points[:2_000], drawn), ("data", "GAN"), strict=True
):
    ax.scatter(*cloud.T, s=2, alpha=0.5)
    ax.set(title=title, aspect="equal")
plt.show()

# %% [markdown]
# How far are the samples from the two half circles? For each sample we take the distance to the nearest of many points on the curves
# without noise. A sample counts as on the curve if it is nearer than three standard deviations of the data's noise.

# %%
arc = torch.linspace(0, torch.pi, 500)
upper = torch.stack([arc.cos(), arc.sin()], dim=1)
curve = torch.cat([upper, torch.tensor([1.0, 0.5]) - upper])


def on_curve(cloud):
    """Return the share of points that lie within 0.15 of the half circles."""
    return float((torch.cdist(cloud, curve).amin(dim=1) < 0.15).float().mean())


near, real = on_curve(drawn), on_curve(points)
print(f"near the curves: {100 * near:.0f} % (the data: {100 * real:.0f} %)")
nearest = torch.cdist(drawn, curve).argmin(dim=1)
first = float((nearest < len(arc)).float().mean())
print(f"of the samples {100 * first:.0f} % belong to the upper half circle")
assert profile == "smoke" or (near > 0.85 and 0.25 < first < 0.75)

# %% [markdown]
# ## A game of your own
#
# A game for an agent is a class with two methods, `reset` and `step`, and two attributes that say what can be seen and what can
# be done. The interface is [Gymnasium's](https://gymnasium.farama.org/introduction/create_custom_env/). Ours is a
# small warehouse: the agent starts anywhere and has to reach the exit; shelves stand in the way.

# %%
PLAN = ["......", ".####.", ".#..#.", ".#.##.", ".#....", "....#X"]
FREE = [(y, x) for y in range(6) for x in range(6) if PLAN[y][x] != "#"]
MOVES = [(-1, 0), (1, 0), (0, -1), (0, 1)]


def move(place, action):
    """Return the next place; whoever runs into a shelf or a wall stays."""
    there = place[0] + MOVES[action][0], place[1] + MOVES[action][1]
    return there if there in FREE else place


print("\n".join(PLAN))


# %%
class Warehouse(gym.Env):
    """Find the exit; every step costs 0.02, reaching it earns 1."""

    observation_space = gym.spaces.MultiDiscrete([6, 6])  # row and column
    action_space = gym.spaces.Discrete(4)  # up, down, left, right

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = FREE[self.np_random.integers(len(FREE) - 1)]
        return np.array(self.place), {}

    def step(self, action):
        self.place = move(self.place, action)
        out = PLAN[self.place[0]][self.place[1]] == "X"
        return np.array(self.place), 1.0 if out else -0.02, out, False, {}


# %% [markdown]
# The row and the column are *numbers of a place*, not amounts: row 4 is not twice row 2. So each of the two is
# given to the network as five zeros and a single 1, which `Games` does by itself for whole numbers of this kind.
# `max_steps` ends an episode that goes round in circles.

# %%
warehouse = dqn.Games(
    Warehouse, count=8, chunks=4, evaluation_episodes=20, max_steps=60
)
torch.manual_seed(0)
network = dqn.DenseQNetwork(warehouse.shape, warehouse.actions, width=64)
agent = dqn.DQN(network, discount=0.95, updates=32, exploration=4_000)
learning = training.fit(
    agent, warehouse, max_epochs={"smoke": 2, "cpu": 16, "gpu": 16}[profile]
)
print(f"observations of shape {warehouse.shape}, {warehouse.actions} actions")
print(f"best mean return in training: {max(learning['return']):.2f}")

# %% [markdown]
# In a world this small the shortest path can be computed: a search outwards from the exit gives every place its distance. The agent is
# asked for its path from *every* place, and its steps are compared with that distance.

# %%
exit_ = next(p for p in FREE if PLAN[p[0]][p[1]] == "X")
distance, border = {exit_: 0}, [exit_]
for place in border:  # grows while it is read: a breadth-first search
    for there in [p for p in FREE if any(move(p, a) == place for a in range(4))]:
        if there not in distance:
            distance[there] = distance[place] + 1
            border.append(there)


def seen(place):
    """Return a place as the network sees it: a one-hot row and a one-hot column."""
    eye = torch.eye(6)
    return torch.cat([eye[place[0]], eye[place[1]]])[None]


# %%
steps = {}
for start in distance:
    place, steps[start] = start, 0
    while place != exit_ and steps[start] < 60:
        with torch.no_grad():
            place = move(place, int(agent(seen(place)).argmax()))
        steps[start] += 1
best = [steps[p] == distance[p] for p in distance if p != exit_]
print(f"shortest path found from {sum(best)} of {len(best)} places")
assert profile == "smoke" or sum(best) >= 0.95 * len(best)

# %% [markdown]
# ## Stop, and go on later
#
# The stop button of a notebook ends `fit` at once. You get the curve of the finished epochs, and the model
# keeps what it has learnt. To *go on* later, exactly as if nothing had happened, the training must have left checkpoints:
# Lightning's `ModelCheckpoint` writes them. Here a callback presses the stop button in the fourth epoch of six.

# %%
import warnings

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint


class StopButton(pl.Callback):
    """Press the stop button when the fourth epoch starts."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 3:
            raise KeyboardInterrupt


def small():
    """Return a small VAE, the same at every call."""
    torch.manual_seed(0)
    return vae.VAE(latent_dim=4, shape=(3, 32, 32), channels=8, width=32)


# %%
keep = ModelCheckpoint(dirpath=root / "kept", save_last=True)
half = small()
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    first = training.fit(half, data, max_epochs=6, callbacks=[keep, StopButton()])
print(*[w.message for w in said], sep="\n")
print("stopped: ", [round(v) for v in first["val_loss"]])

# %%
resumed = small()
second = training.fit(
    resumed, data, max_epochs=6, ckpt_path=root / "kept" / "last.ckpt"
)
print("went on: ", [round(v) for v in second["val_loss"]])
third = training.fit(small(), data, max_epochs=6)
print("in one go:", [round(v) for v in third["val_loss"]])
assert second == third, "the same curve to the last digit"

# %% [markdown]
# The second curve is that of a training run that was never stopped, to the last digit: the checkpoint holds the weights, the optimiser,
# the schedule of the learning rate, the curve, and the state of the random generators. On Colab, put `dirpath` on your
# Drive ([How to use this book](../../book/how_to_use.md) shows how), and a lost session costs
# at most the epoch that it was in. Give each training a folder of its own: a second one leaves the first one's `last.ckpt` as it is.
#
# ## Take a model elsewhere
#
# A trained model need not stay in Python. `torch.export` writes what a network computes into one file, which a program in
# C++ or on a phone can run without this package. It takes an example of the inputs, and the names of the axes that may
# change. A network that is a model's part is exported by itself; a *method*, here the decoder, is wrapped as the
# `forward` of a small module. Random numbers do not belong in an exported file: let the program that uses it draw the
# codes.


# %%
class Decoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, z, labels):
        return self.model.decode(z, labels).sigmoid()


# %%
example = torch.randn(2, 8), torch.tensor([0, 1])
batch = torch.export.Dim("batch", min=1, max=256)
program = torch.export.export(
    Decoder(model).eval(), example, dynamic_shapes=({0: batch}, {0: batch})
)
torch.export.save(program, root / "decoder.pt2")
elsewhere = torch.export.load(root / "decoder.pt2").module()

# %%
z, labels = torch.randn(5, 8), torch.tensor([2, 1, 0, 1, 2])
with torch.no_grad():
    ours, theirs = Decoder(model)(z, labels), elsewhere(z, labels)
size = (root / "decoder.pt2").stat().st_size
print(f"a file of {size / 1e6:.1f} MB; it draws {tuple(theirs.shape)},")
print(f"at most {(ours - theirs).abs().max():.0e} from the model's own pictures")
assert torch.allclose(ours, theirs, atol=1e-5)

# %% [markdown]
# For ONNX, which other frameworks and browsers read, `torch.onnx.export(Decoder(model).eval(), example, "decoder.onnx",
# dynamo=True, dynamic_shapes=...)` takes the same arguments; it needs the packages `onnx` and `onnxscript`. The course's
# tests export every model in both ways, for batches and texts of any length, and compare (`tests/test_export.py`).
#
# ## What the source articles got wrong here
#
# Two of them say that generative models need much *labelled* data. A folder of pictures without classes and a folder of
# texts have no labels at all ([errata](../../book/errata.md#errata-general)).
#
# ## Summary
#
# - `ImageData(folder, size=…, channels=…)`, `TextData(file or folder, …)`, `Games(class, …)` or any `DataLoader`: one line
#   names your data, and the models of the course take it from there.
# - A new data set is looked at before a model is trained on it: its size, its splits, a few examples.
# - A figure means something only beside a simple baseline on the same held-out data.
# - `torch.export` writes a network into one file that runs without this package; codes are drawn outside.
# - What cannot be read is named and refused, unless you say that it may be left out; what is not read is named.
#
# ## Check yourself
#
# **1.** Suppose that colour does not matter in your pictures. Load the folder of shapes in grey at 28×28, and train a VAE with its
# default shape on it for two epochs.

# %% tags=["hide-cell"]
# @title Solution
grey = ImageData(root / "shapes", size=28, channels=1, batch_size=50)
torch.manual_seed(0)
simple = vae.VAE(latent_dim=4, channels=8, width=32)
curve_grey = training.fit(simple, grey, max_epochs=2)
assert grey.split("train")[0].shape[1:] == (1, 28, 28)
assert curve_grey["val_loss"][1] < curve_grey["val_loss"][0]

# %% [markdown]
# **2.** Somebody copies ten of the pictures into the same folder under new names. Why must a copy never end up in a different split from
# its original? Add a copy and check that the two are in the same split.
#
# <details><summary>Answer</summary>
#
# A model that has learnt the original by heart would be tested on something it knows, and the measured error would be too
# small: leakage. The more copies, the larger the mistake.
#
# </details>

# %% tags=["hide-cell"]
# @title Solution
import shutil

shutil.copy(root / "shapes/disc/006.jpg", root / "shapes/disc/copy.jpg")
doubled = ImageData(root / "shapes", size=32)
places = []
for split in ("train", "validation", "test"):
    x, _ = doubled.split(split)
    twin = (x[:, None] == x[None]).flatten(2).all(dim=2).sum(dim=1) == 2
    places.append(int(twin.sum()))
print("pictures with a twin in their split:", places)
assert sorted(places) == [0, 0, 2]
(root / "shapes/disc/copy.jpg").unlink()

# %% [markdown]
# **3.** In the warehouse, give the agent the number of the place (0 to 35) as one `gym.spaces.Discrete(36)` instead of row and
# column. How many numbers does the network see, and what can it no longer share between places?
#
# <details><summary>Answer</summary>
#
# It sees 36 numbers, one of which is 1. With row and column, the weights that belong to "row 5" are used at every place of that
# row. With one number per place, each place has weights of its own in the first layer, and what is learnt at one place says
# less about its neighbours.
#
# </details>
#
# ## Further reading
#
# - T. Gebru et al., [Datasheets for Datasets](https://arxiv.org/abs/1803.09010) (2021): what to write down about your data.
# - M. Towers et al., [Gymnasium: A Standard Interface for Reinforcement Learning
#   Environments](https://arxiv.org/abs/2407.17032) (2024).

# %%
folder.cleanup()
figures = results.record(
    "own_data",
    profile,
    vae_nats_below_average_picture=baseline - vae_nats,
    gpt_bits_per_byte=bits,
    lzma_bits_per_byte=compressor,
    pair_table_bits_per_byte=float(table),
    gan_share_on_curve=near,
    shortest_ways_share=sum(best) / len(best),
)

# %%
if profile != "smoke":
    assert figures["vae_nats_below_average_picture"] > 100
    assert bits < table - 1
    assert figures["gan_share_on_curve"] > 0.85
    assert figures["shortest_ways_share"] >= 0.95
