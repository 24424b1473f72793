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
# # Playing from the picture
#
# **After this chapter you can**
#
# - say why a single picture need not be a state, and what Atari agents and MinAtar do about it;
# - write a convolution from scratch, and say what it shares, how far it sees, and where a network's weights really
#   lie;
# - train an agent that plays Breakout from its picture, and measure it on games it has never played;
# - ask a network what it looks at, by gradients and, better, by changing the picture;
# - tell an agent that sees from one that has learnt a list of moves by heart.
#
# **You need**: deep Q-learning from [the chapter before](dqn.ipynb): replay, the target network, ε-greedy, Double
# DQN, the averaged weights. All of it is used here unchanged. ·
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
import io
import itertools
import math

import matplotlib.pyplot as plt
import torch
from IPython.display import Image, display
from matplotlib.colors import to_rgb
from PIL import Image as Picture
from torch import nn

from aigc_course import diagrams, dqn, plots, results, training


# %%
plots.use_style()
profile = training.resolve_profile(profile)
trained = {
    "smoke": "Breakout, hardly",
    "cpu": "Breakout",
    "gpu": "Breakout for longer, and Atari's Pong",
}[profile]
print(f"Profile {profile} trains an agent for: {trained}.")


# %% [markdown]
# ## Ten by ten
#
# In CartPole somebody had measured the cart and the pole for us, and the agent saw four well-chosen numbers. Now it
# sees what a person would see: the screen. The game is Breakout, in the small version of MinAtar ([Young and Tian,
# 2019](https://arxiv.org/abs/1903.03176)). A screen of 10 × 10 cells comes as four pictures, called **channels**.
# Each holds a 1 where its kind of thing is, and a 0 elsewhere.

# %%
NAMES = ["paddle", "ball", "trail", "brick"]
TINTS = torch.tensor([to_rgb(plots.COLOURS[number]) for number in (0, 3, 5, 8)])
games = dqn.make_games("MinAtar/Breakout-v1", 100)
observations = torch.as_tensor(games.reset(seed=0)[0])
shape, actions = tuple(observations.shape[1:]), games.single_action_space.n
print(f"one observation has the shape {shape}, and {actions} actions are possible")


# %%
# (4, 10, 10) of 0 and 1 to (10, 10, 3); the ball is drawn over its trail
def coloured(picture):
    image = torch.full((10, 10, 3), 0.93)
    for channel in (3, 2, 1, 0):
        image[picture[channel] > 0] = TINTS[channel]
    return image


def show(ax, picture):
    ax.imshow(coloured(picture))
    ax.set(xticks=range(0, 10, 3), yticks=range(0, 10, 3))
    ax.grid(False)


# %% mystnb={"image": {"alt": "A screen of ten by ten cells. Three rows of bricks near the top, the ball with its trail below them, the paddle in the bottom row."}}
for _ in range(3):
    observations = torch.as_tensor(
        games.step(torch.zeros(100, dtype=torch.long).numpy())[0]
    )
figure, ax = plt.subplots(figsize=(4.6, 3.4))
show(ax, observations[0])
for name, tint in zip(NAMES, TINTS.tolist(), strict=True):
    ax.plot([], [], "s", color=tint, markersize=12, label=name)
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
ax.set_xlabel("column")
ax.set_ylabel("row")
plt.show()

# %% [markdown]
# The ball flies along diagonals, one cell a step, and is thrown back by the border, by the bricks and by the paddle.
# A brick it hits is gone, and the reward is 1; when none of the 30 is left, there is a new wall. If the ball reaches
# the bottom row and the paddle is not there, the game is over. Three actions: 0 stay, 1 left, 2 right. And with
# probability 0.1 the game does not do what it is told, but what it did last (a **sticky action**), so that no two games
# need be alike. This is what MinAtar's specification says; `dqn.make_games` takes another probability as
# `sticky_actions`. We shall see at the end what sticky actions are good for.
#
# How well does one play who does not look? The function below is all we need for watching games. It plays `games`
# side by side, each once, by any rule that turns observations into actions, and keeps a film.


# %%
@torch.no_grad()
def watch(policy, games, seed, limit=2000):  # policy(observations, step): actions
    observations, _ = games.reset(seed=seed)
    running, film = torch.ones(games.num_envs, dtype=torch.bool), []
    while running.any() and len(film) < limit:
        seen = torch.as_tensor(observations).clone()
        actions = policy(seen, len(film))
        observations, rewards, ended, cut, _ = games.step(actions.numpy())
        earned = torch.as_tensor(rewards) * running
        film.append((seen, actions, earned, running.clone()))
        running &= ~torch.as_tensor(ended | cut)
    # each (steps, games, ...)
    return [torch.stack(column) for column in zip(*film, strict=True)]


def at_random(seen, step):
    return torch.randint(3, (len(seen),))


# %% [markdown]
# > **Predict, then run.** How many bricks does an agent hit in a game if it presses buttons at random? (a) Mostly
# > none. (b) About three. (c) About ten.

# %%
torch.manual_seed(0)
_, _, rewards, running = watch(at_random, games, seed=30_000)
random_returns = rewards.sum(dim=0)
random_return = random_returns.mean().item()
print(
    f"random: {random_return:.2f} bricks a game, "
    f"none at all in {(random_returns == 0).sum()} of 100 games"
)
print(f"a game lasts {running.sum(dim=0).float().mean():.1f} steps")

# %% [markdown]
# It is (a): the first fall of the ball ends most games. Whoever learns here from chance has little to go by, about
# one reward in two games.
#
# ## One picture is not enough
#
# For what comes next it matters where the ball is *and where it is going*. The ball alone does not show that: a
# photograph of a ball in the air could be of a ball that rises or that falls. The channel `trail` has a 1 where the
# ball was a step before. Here are two pictures that differ in the trail alone.


# %% mystnb={"image": {"alt": "Two screens with the ball and the paddle in the same cells. The trail is above and left of the ball in one, above and right of it in the other."}}
# a full wall, and a ball that falls to the right (1) or to the left (-1)
def falling(row, column, direction, paddle):
    picture = torch.zeros(4, 10, 10)
    picture[3, 1:4] = 1
    picture[0, 9, paddle] = 1
    picture[1, row, column] = 1
    picture[2, row - 1, column - direction] = 1
    return picture


figure, axes = plt.subplots(1, 2, figsize=(6, 3), sharey=True)
for ax, direction in zip(axes, (1, -1), strict=True):
    show(ax, falling(7, 4, direction, 4))
    ax.set_xlabel("column")
axes[0].set_ylabel("row")
plt.show()

# %% [markdown]
# In the left picture the ball will come down to the right of the paddle, in the right one to the left of it. Without
# the trail the two are one picture, and nobody could say what the next picture will be. In the words of [the part's
# first chapter](q_learning.ipynb), an observation is a **state** only if nothing from before it helps to tell what
# comes after. With the trail, this one nearly is. (Not quite: the sticky action depends on the last action, which is
# not to be seen.) Whether one could play well all the same is a second question, to which we shall come back.
#
# Atari games have no trail channel. [Mnih et al. (2015)](https://doi.org/10.1038/nature14236) let the network see the
# last four frames at once. Their preprocessing has become the custom, and `dqn.make_games` has it too:
#
# - only every fourth frame is shown, and the action is repeated in between: the game changes little in a sixtieth of
#   a second;
# - of the last two frames the brighter of the two values is taken in each pixel, since the old console drew some
#   things only in every other frame;
# - 210 × 160 pixels in colour become 84 × 84 in shades of grey, one byte each;
# - the last four of these pictures are stacked, as four channels;
# - rewards are cut to the range from −1 to 1, for learning. Where an agent is judged they are not: the sum of cut
#   rewards is not the game's score.
#
# One thing is newer than the paper. The game's name `ALE/Pong-v5` stands for a specification, and that has sticky
# actions: with probability 0.25 the console repeats the last action, in each of its frames ([Machado et al.,
# 2018](https://arxiv.org/abs/1709.06009)). `make_games` follows it, and our recipe says so.

# %%
for name in ("breakout", "pong"):
    chosen = dqn.recipe(name, profile)["games"]
    print(f"{chosen['name']}: sticky actions {chosen['sticky_actions']}")

# %% mystnb={"image": {"alt": "Four grey pictures of Pong: two paddles, a border above and below, and a small bright ball that moves from picture to picture."}}
pong = dqn.make_games("ALE/Pong-v5", 1)
pong.reset(seed=0)
torch.manual_seed(0)
for _ in range(35):
    stack = torch.as_tensor(pong.step(torch.randint(6, (1,)).numpy())[0])[0]
pong.close()
figure, axes = plt.subplots(2, 2, figsize=(6, 6), sharex=True, sharey=True)
for number, (ax, picture) in enumerate(zip(axes.flat, stack, strict=True)):
    ax.imshow(picture, cmap="gray")
    ax.set_title(f"$t - {3 - number}$" if number < 3 else "$t$")
    ax.grid(False)
figure.supxlabel("column of pixels")
figure.supylabel("row of pixels")
plt.show()

# %% [markdown]
# Together they are one observation at time $t$. From each picture to the next the ball has moved, and so has a
# paddle: direction and speed are in the stack, and a network can read them off.
#
# ## Why not a table
#
# The lake of the first chapter had 16 states. Let us count here. Paddle and ball each have a place, the ball has one
# of four directions, and each of the 30 bricks is there or not.

# %%
screens = 10 * 90 * 4 * 2**30
print(f"Breakout on ten by ten: up to {screens:.0e} states")
digits = stack.numel() * math.log10(256)  # each of the bytes has 256 values
print(f"stacks of four grey pictures: a number with about {digits:,.0f} digits")
print(
    "a table with three numbers of four bytes for each screen of Breakout: "
    f"{screens * 12 / 1e12:.0f} terabytes"
)

# %% [markdown]
# Not all of them are ever reached, but memory is not the worst of it. A row of a table is learnt only by being there.
# The agent would have to miss the ball once with each of the patterns of bricks before it knew that missing is bad.
# What it needs is to carry over what it learnt from one screen to all that are alike in what matters. That is what
# the network is for.
#
# ## The same look everywhere
#
# A ball one cell above the paddle is good news in column 2, and in column 7. A dense layer has a weight of its own
# for each cell, and must learn the same thing ten times. A **convolution** learns it once. It looks through a small
# window, 3 × 3 cells in all channels, with one set of weights, and puts the window everywhere. With $x$ for the
# observation, $w_k$ for the weights of the $k$-th output channel, $b_k$ for its bias and $h_k(i, j)$ for what it says with
# the window's upper left corner in row $i$ and column $j$,
#
# $$ h_k(i, j) = \max\Big(0,\; b_k + \sum_{c} \sum_{u=0}^{2} \sum_{v=0}^{2} w_k(c, u, v)\; x_c(i + u,\, j + v) \Big) , $$
#
# where $c$ runs over the four channels, $u$ and $v$ over the rows and columns of the window, and the maximum with 0 is
# the ReLU. Ten columns leave room for 8 positions of the window, so each $h_k$ is 8 × 8. MinAtar's network has 16 output
# channels, then a dense layer with 128 units, and one value for each action at the end. Below each node stands the
# shape of what comes out of it:

# %% tags=["hide-input"]
diagrams.draw(
    "From left to right: the observation x, 4 × 10 × 10; a convolution with 3 × 3 "
    "windows, 16 × 8 × 8; a dense layer W, 128; a dense layer V, 3; the values Q, "
    "one for each action.",
    {name: (1.5 * n, 0) for n, name in enumerate(("x", "∗ 3×3", "W", "V", "Q"))},
    [("x", "∗ 3×3", "W", "V", "Q")],
    observed=["x"],
    variables=["Q"],
    notes={"x": "4×10×10", "∗ 3×3": "16×8×8", "W": "128", "V": "3"},
)

# %% [markdown]
# The star stands for the convolution, $W$ and $V$ for the dense layers; the $16 \cdot 8 \cdot 8 = 1024$ features go
# into $W$ as one row. From scratch, without `nn.Conv2d`:


# %%
class QNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        # k, c, u, v; 6 is the root of the 36 inputs
        self.w = nn.Parameter(torch.randn(16, 4, 3, 3) / 6)
        self.b = nn.Parameter(torch.zeros(16))
        self.hidden = nn.Linear(16 * 8 * 8, 128)
        self.values = nn.Linear(128, 3)

    def features(self, x):  # (batch, 4, 10, 10) to (batch, 16, 8, 8)
        # (batch, c, i, j, u, v)
        windows = x.float().unfold(2, 3, 1).unfold(3, 3, 1)
        sums = torch.einsum("ncijuv,kcuv->nkij", windows, self.w)
        return (sums + self.b[:, None, None]).relu()

    def forward(self, x):
        return self.values(self.hidden(self.features(x).flatten(1)).relu())


# %% [markdown]
# The package's `ConvQNetwork` must be the same function. We copy the weights, one by one in their order, and compare
# on the hundred pictures that we have.

# %%
torch.manual_seed(0)
own, package = QNetwork(), dqn.ConvQNetwork((4, 10, 10), 3)
with torch.no_grad():
    for ours, theirs in zip(own.parameters(), package.parameters(), strict=True):
        ours.copy_(theirs)
assert torch.allclose(own(observations), package(observations), atol=1e-5)
print("both give the same values for", len(observations), "pictures")

# %% [markdown]
# Two properties can be checked without any training. If the ball, its trail and the paddle move by two columns, all
# features move along (the wall is left out here, since it does not move). And a feature depends on its window alone:
# the gradient of $h_k(i, j)$ with respect to the picture is zero elsewhere. The window is the feature's **receptive
# field**.

# %%
moved = torch.stack([falling(6, column, 1, column) for column in (3, 5)])
moved[:, 3] = 0
with torch.no_grad():
    before, after = own.features(moved)
assert torch.equal(before[:, :, :-2], after[:, :, 2:])
probe = torch.rand(1, 4, 10, 10, requires_grad=True)
own.features(probe)[0, :, 2, 5].sum().backward()
rows, columns = (
    places.unique().tolist()
    for places in probe.grad[0].abs().sum(dim=0).nonzero().T
)
print("features move with the picture;")
print(f"h(2, 5) sees the rows {rows} and the columns {columns}")

# %% [markdown]
# > **Predict, then run.** Where are most of the weights? (a) In the convolution. (b) In the dense layer after it. (c)
# > In the values.

# %%
parts = {
    "convolution": package.convolutions,
    "dense layer": package.dense[1],
    "values": package.dense[3],
}
for name, part in parts.items():
    print(f"{name:>12}: {sum(p.numel() for p in part.parameters()):7,d} weights")
print(
    "a dense layer in place of the convolution: "
    f"{nn.Linear(400, 16 * 8 * 8).weight.numel():,d}"
)


# %%
dense = dqn.DenseQNetwork((4, 10, 10), 3, width=128)
print(
    "the dense Q-network with two layers of 128, whole: "
    f"{sum(p.numel() for p in dense.parameters()):,d}"
)


# %% [markdown]
# It is (b), by far. The convolution costs next to nothing: a dense layer with as many outputs would have about 700
# times its weights. But the network as a whole is *not* smaller than a dense one of the same width. The layer behind
# the convolution gets 16 × 8 × 8 features, and ties each to its place again. It must, because in the end the place
# matters: how far is the paddle from the ball? One 3 × 3 window cannot tell unless the two are neighbours. What the
# convolution contributes is a vocabulary ("ball falling to the right", "brick with a gap beside it") that holds
# everywhere.
#
# ## Memory
#
# A replay buffer stores each observation twice, as $s$ and as $s'$. Our pictures are zeros and ones, and Atari's are
# bytes. Whoever makes floating-point numbers of them *before* storing pays four times as much. So the buffer keeps
# them as they came, and the network converts a batch when it uses it.

# %%
recipe = dqn.recipe("breakout", profile)
sizes = [
    ("Breakout, this profile", recipe["games"]["capacity"], 400),
    ("Atari, a million", 10**6, stack.numel()),
]
for name, capacity, numbers in sizes:
    gigabytes = 2 * capacity * numbers / 1e9
    print(
        f"{name}: {gigabytes:.3g} GB as bytes, "
        f"{4 * gigabytes:.3g} GB as 32-bit numbers"
    )
print(f"Atari, each frame stored once: {10**6 * 84 * 84 / 1e9:.3g} GB")

# %% [markdown]
# A million transitions, as in the paper, do not fit into most machines this way. The last line is the way out that
# large programs take: successive stacks share three of their four frames, so each frame is stored once, and stacks
# are put together when they are drawn. Our recipe for Pong simply keeps fewer.
#
# ## Training
#
# The agent is the one of [the chapter before](dqn.ipynb), Double DQN with averaged weights; only the network in it is
# another. It plays 16 games side by side, and makes 64 updates after each 16 steps in all of them: one update for
# four frames. Its learning rate falls to 0, so that the values come to rest. Why values that jitter make an agent
# forget, and what averaging the weights does about it, is told [there](dqn.ipynb).


# %%
def learn(name):
    recipe = dqn.recipe(name, profile)
    games = dqn.Games(**recipe["games"])
    torch.manual_seed(0)
    agent = dqn.build(recipe, games)
    history = training.fit(agent, games, **recipe["fit"])
    return agent, history


# %%
def over_frames(ax, history, name, line="-", **options):
    # an epoch before the first update has no value and no loss
    values = history[name]
    taken = history["transitions"][-len(values) :]
    ax.plot([count / 1000 for count in taken], values, line, **options)
    ax.set_xlabel("thousand steps played")


# %%
agent, history = learn("breakout")
network = agent.network
print(f"{agent.steps_done:,d} frames, {agent.updates_done:,d} updates")

# %% mystnb={"image": {"alt": "Mean return against the steps played: both curves stay near the random agent's dotted line at first, then climb unsteadily to many times its height."}}
figure, ax = plt.subplots()
over_frames(ax, history, "return", "o-", markersize=4, label="averaged weights")
over_frames(ax, history, "return_online", "--", label="learning weights")
ax.axhline(random_return, color="grey", linestyle=":", label="random")
ax.set_ylabel("mean return of 20 games (bricks)")
ax.legend()
plt.show()
points = history["return"]
assert profile == "smoke" or points[0] < 1.5 < 2.5 < max(points)

# %% mystnb={"image": {"alt": "The mean value of the batches climbs over the whole training; the exploration rate falls to its lowest value early on."}}
figure, ax = plt.subplots()
over_frames(ax, history, "value", label="mean of max Q (discounted bricks)")
over_frames(ax, history, "epsilon", "--", label="exploration rate ε")
ax.set_ylabel("value; probability")
ax.legend()
plt.show()
if profile != "smoke":
    middle = len(history["value"]) // 2
    assert history["value"][-1] > 1.2 * history["value"][middle] > 0
    assert history["value"][middle] > 1.5 * history["value"][0]
    assert history["epsilon"][middle] == min(history["epsilon"])

# %% [markdown]
# At first nothing seems to happen: while ε is high the agent mostly plays at random, and misses. Then the return rises,
# games become longer, and longer games bring screens that were never seen before: a wall with gaps, balls that come
# down in other places. The agent makes its own data. The mean value of its batches rises with them. The points jump up
# and down, and a part of that is chance: each is the mean of 20 games, and games differ. Nobody should choose a method
# by one such point. The agent does choose its final weights by the best of them, and the best of many noisy figures is
# too high.
#
# ## How good is it?
#
# So we measure again, on a hundred games that neither the training nor the choice of the weights has used. And we
# give it a stronger opponent than chance: a rule of four lines, made by hand, that keeps the paddle under the ball.
#
# > **Predict, then run.** The rule does not look at the trail, nor at the bricks, and learns nothing. How does it do?
# > (a) Hardly better than chance, since it cannot know where the ball is going. (b) Worse than the network, but not
# > by much. (c) About as well, or better.

# %%
returns, lengths = dqn.play(network, games, seed=20_000)
mean_return, error = (
    returns.mean().item(),
    (returns.std() / len(returns) ** 0.5).item(),
)
print(
    f"trained: {mean_return:.2f} bricks a game, "
    f"standard error {error:.2f}; random: {random_return:.2f}"
)
low, high = returns.quantile(torch.tensor([0.1, 0.9])).tolist()
print(
    f"one game in ten has at most {low:.0f} bricks, "
    f"one in ten at least {high:.0f}; {lengths.float().mean():.0f} steps"
)


# %%
def follow(seen, step):
    ball = seen[:, 1].flatten(1).float().argmax(dim=1) % 10  # its column
    paddle = seen[:, 0].flatten(1).float().argmax(dim=1) % 10
    return torch.where(ball < paddle, 1, torch.where(ball > paddle, 2, 0))


followed = watch(follow, games, seed=20_000)[2].sum(dim=0)
print(
    f"the rule: {followed.mean():.2f} bricks a game, "
    f"standard error {followed.std() / len(followed) ** 0.5:.2f}"
)
assert profile != "cpu" or followed.mean() > mean_return - 2 * error


# %% mystnb={"image": {"alt": "How many of a hundred games had which return: the random agent's games lie at none and a few bricks, the trained agent's are spread out to the right of them."}}
bins = torch.arange(-0.5, max(returns.max().item(), 3) + 1.5).tolist()
plt.hist(
    random_returns.tolist(), bins, color=plots.COLOURS[8], alpha=0.5, label="random"
)
plt.hist(returns.tolist(), bins, color=plots.COLOURS[0], alpha=0.7, label="trained")
plt.xlabel("return of a game (bricks)")
plt.ylabel("games, of 100 each")
plt.legend()
plt.show()

# %% [markdown]
# Many times what chance gets, and far from perfect: a good player would clear wall after wall. The spread is wide.
# One game ends by an early slip, another goes on much longer, with the same network. Do not trust a figure for an
# agent that comes without its spread.
#
# In the `cpu` profile the answer is (c): after a few minutes of training the rule is at least as good as the network,
# which longer training is there to change. A ball and a paddle move at the same speed, so whoever stands under the ball
# can stay under it, wherever it goes. That is a good thing to know before one admires a network: compare it with the
# simplest rule that one can think of. Of course the rule was *told* what a ball is, what a paddle is, and what to do.
# The network was told none of it. It got a hundred-odd thousand pictures and a 1 now and then.
#
# ## Watch it play
#
# Figures say how much, not how. Here are 20 steps of one of these games, from its start.


# %%
def greedy(seen, step):
    return network(seen).argmax(dim=1)


seen, actions, rewards, running = watch(greedy, games, seed=20_000)
played = rewards.sum(dim=0)
assert torch.equal(played.float(), returns) or len(rewards) == 2000

# %%
one = lengths.argmax().item()  # a long game, so that there is something to see
frames = [
    Picture.fromarray((255 * coloured(picture)).byte().numpy()).resize(
        (240, 240), Picture.Resampling.NEAREST
    )
    for picture in seen[:20, one][running[:20, one]]
]
buffer = io.BytesIO()


# %% mystnb={"image": {"alt": "Animation: the ball falls, the paddle moves under it, the ball flies up and takes a brick."}}
frames[0].save(
    buffer, "GIF", save_all=True, append_images=frames[1:], duration=350, loop=0
)
display(
    Image(
        data=buffer.getvalue(),
        format="gif",
        alt="The ball falls, the paddle moves under it, the ball flies up",
    )
)


# %% [markdown]
# No reward is given for being under the ball early, only for catching it; what the paddle does in the meantime makes no
# difference to the return.
#
# ## What does it look at?
#
# ### By gradients
#
# A first answer is cheap. How much would $\max_a Q(x, a)$ change if a cell of the picture $x$ were a little brighter?
# That is a partial derivative, and its absolute value is called **saliency** ([Simonyan et al.,
# 2013](https://arxiv.org/abs/1312.6034)):
#
# $$ \Big| \frac{\partial \max_a Q(x, a)}{\partial x_c(i, j)} \Big| . $$


# %%
def saliency(pictures):
    x = pictures.float().requires_grad_()
    (gradient,) = torch.autograd.grad(network(x).amax(dim=1).sum(), x)
    return gradient.abs()


# %% mystnb={"image": {"alt": "Two screens above, their saliency below, summed over the channels: most of the brightness lies in the lower rows, weaker cells are scattered over much of the screen."}}
examples = torch.stack([falling(7, 4, 1, 3), falling(7, 5, -1, 5)])
figure, axes = plt.subplots(2, 2, figsize=(6, 5.6), sharex=True, sharey=True)
for column, (picture, heat) in enumerate(
    zip(examples, saliency(examples).sum(dim=1), strict=True)
):
    show(axes[0, column], picture)
    drawn = axes[1, column].imshow(heat, cmap="magma")
    axes[1, column].grid(False)
figure.colorbar(drawn, ax=axes[1].tolist(), label="saliency")
figure.supxlabel("column")
figure.supylabel("row")
plt.show()
by_row = saliency(examples).sum(dim=(0, 1, 3))
assert profile == "smoke" or by_row[6:].sum() > by_row[:6].sum()

# %% [markdown]
# Most of the brightness lies in the lower rows, where the game is decided. But read this with care. The picture shows
# where a *small* change would matter, and small changes never occur: a cell is 0 or 1. It says nothing about which
# *action* would be chosen. And many cells far from anything are not dark; a likely reason is that no training has ever
# told the network what, say, a second ball would mean.
#
# ### By changing the picture
#
# A better question is: what *would* the network do if the picture were another? We can simply change it. From the
# games just watched we take a thousand pictures, wipe out one channel, and see how often another action is chosen.

# %%
torch.manual_seed(0)
pictures = seen[running].float()
pictures = pictures[torch.randint(len(pictures), (1000,))]
with torch.no_grad():
    q = network(pictures)
share, changed, shift = saliency(pictures).sum(dim=(0, 2, 3)), [], []
for channel in range(4):
    wiped = pictures.clone()
    wiped[:, channel] = 0
    with torch.no_grad():
        other = network(wiped)
    changed.append((other.argmax(dim=1) != q.argmax(dim=1)).float().mean().item())
    shift.append((other.amax(dim=1) - q.amax(dim=1)).mean().item())

# %% mystnb={"image": {"alt": "For each channel two bars. Wiping out any of the channels changes a good part of the actions; the saliency is shared among all four."}}
positions = torch.arange(4)
plt.bar(positions - 0.2, share / share.sum(), 0.4, label="share of the saliency")
plt.bar(positions + 0.2, changed, 0.4, label="another action, if wiped out")
plt.xticks(positions, NAMES)
plt.ylabel("share")
plt.legend(loc="upper left", bbox_to_anchor=(0, 1.25))
plt.show()
print(
    "change of the value:",
    ", ".join(f"{name} {by:+.2f}" for name, by in zip(NAMES, shift, strict=True)),
)
assert profile == "smoke" or (min(changed) > 0.1 and changed[1] > 0.3)

# %% [markdown]
# The two measures need not agree on the order of the channels: they were not asked the same question. Each channel
# matters for the action, even the bricks, and without the ball the action is often another one. Now compare with the
# last line, the change of the value. Without a ball no brick can be won any more, so it should fall to nothing. A
# network asked about pictures that it has never seen says *something*. Whether its answer is of any use has to be
# measured in the game; we shall do that below.
#
# ### Where will the ball land?
#
# Now a question with a known answer. The ball is in row 7, column 4, and falls to the right: one step on it is in row
# 8, column 5, and with the next step it wants to go to column 6 of the bottom row. By the rules the paddle catches it
# from 5 or from 6. It has two moves until then, so whoever stands in one of the columns 3 to 8 can make it, and from
# elsewhere the game is lost. What does the network say, for each place of the paddle?

# %% mystnb={"image": {"alt": "Three curves of value against the paddle's column: high in a shaded band in the middle, low outside. To the left of the landing place moving right is worth most, to the right of it moving left."}}
paddles = torch.arange(10)
with torch.no_grad():
    curve = network(torch.stack([falling(7, 4, 1, paddle) for paddle in paddles]))
plt.axvspan(2.5, 8.5, color="grey", alpha=0.15, label="can still catch it")
for action, name in enumerate(("stay", "left", "right")):
    plt.plot(paddles, curve[:, action], "o-", label=name)
plt.xticks(paddles)
plt.xlabel("column of the paddle")
plt.ylabel("Q (discounted bricks)")
plt.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=9)
plt.show()
best_actions = ("SLR"[action] for action in curve.argmax(dim=1))
print("best action from column 0 to 9:", *best_actions)

# %%
if profile != "smoke":
    best = curve.amax(dim=1)
    assert best[3:9].min() > 2 * best[[0, 1, 2, 9]].mean()
    assert curve[3].argmax() == 2
    assert curve[8].argmax() == 1

# %% [markdown]
# There are the rules, and nobody told them to the network. Inside the band some action is worth several bricks, outside
# much less, and mostly next to nothing. At the left end of the band only *right* is worth much, at the right end only
# *left*, and in the middle the three are nearly equal: whatever one does now can be made good with the next move. The
# action flips from R to L where the ball will come down. Where the curves are wrong, it is most likely at the edges,
# where the agent has rarely been, or gets away with a position only by luck. (Outside the band all is lost, and the
# letters mean nothing.)
#
# This position was no stranger to the network: a game that begins at the left border leads the ball through it. What
# about positions that it has *never* seen? Until the first brick is hit the ball can only fall along one of two
# diagonals, which begin at the two ends of the lowest row of bricks. With a full wall and a ball that falls anywhere
# else, a picture occurs at most after a whole wall has been cleared. The rules are soon written down: follow the ball,
# then count the moves.


# %%
MOVES = (0, -1, 1)  # stay, left, right


# the two columns from which the paddle catches a falling ball
def catching(row, column, direction):
    for _ in range(8 - row):
        column += direction
        if not 0 <= column <= 9:  # the border throws it back
            column, direction = min(9, max(0, column)), -direction
    return column, min(9, max(0, column + direction))


# %%
# after which of the actions it can still be caught
def saving_actions(row, column, direction, paddle):
    after = [min(9, max(0, paddle + move)) for move in MOVES]
    return [
        min(abs(place - goal) for goal in catching(row, column, direction))
        <= 8 - row
        for place in after
    ]


# %%
# pictures in which only some actions save the game; which ones; is it a first fall?
def decisive(rows):
    cases = []
    for direction in (1, -1):
        # the trail has to fit in
        for column in range(1, 10) if direction == 1 else range(9):
            for row, paddle in itertools.product(rows, range(10)):
                saving = saving_actions(row, column, direction, paddle)
                first = column == (row - 3 if direction == 1 else 12 - row)
                if any(saving) and not all(saving):
                    picture = falling(row, column, direction, paddle)
                    facts = torch.tensor(saving), torch.tensor(first)
                    cases.append((picture, *facts))
    return [torch.stack(part) for part in zip(*cases, strict=True)]


# %% [markdown]
# > **Predict, then run.** In these positions a random action saves the game half of the time. How many does the network
# > save that it can never have seen? (a) About half. (b) Clearly more, but fewer than of those it knows. (c) All. And
# > what if the trail is wiped out?

# %%
positions, saving, first = decisive(rows=(5, 6, 7, 8))
blind = positions.clone()
blind[:, 2] = 0
with torch.no_grad():
    choices = {
        "network": network(positions).argmax(dim=1),
        "without trail": network(blind).argmax(dim=1),
    }
choices["rule"] = follow(positions, 0)
print(
    f"{first.sum()} positions of a first fall, {(~first).sum()} others; "
    f"by chance {saving.float().mean():.2f} are saved"
)


# %%
for name, chosen in choices.items():
    good = saving.gather(1, chosen[:, None]).squeeze(1).float()
    print(
        f"{name:>13} saves {good[first].mean():.2f} of the first, "
        f"{good[~first].mean():.2f} of the others"
    )
    if name == "network" and profile != "smoke":
        assert good[first].mean() > 0.85
        assert 0.55 < good[~first].mean() < good[first].mean() - 0.02
assert good.all(), "the rule saves them all"


# %% [markdown]
# It is (b). In the positions of a first fall, which every game passes through, the network makes hardly a mistake. In
# those it cannot have seen it does clearly better than chance and worse than the rule. So something has carried over: a
# table would know nothing at all there. But it is not the rule "meet the ball", which saves them all. A likely reason,
# which we have not measured, is the large layer that ties each feature to its place: what a convolution shares is the
# *look* of things, not what is to be done about them. This may also be how its games end: sooner or later the ball
# takes a way on which the agent has rarely been.
#
# And the trail? The rule saves every one of these positions and does not look at it. Whichever way the ball falls,
# here it is right to move towards it. The second line tells how many positions the network saves
# with the trail wiped out; compare it with the first.
#
# ## The real thing: Pong
#
# Nothing in `learn` knows about Breakout. With `"pong"` it builds the network of Mnih et al. (2015): three
# convolutions with larger windows that skip cells (a stride of 4, then 2, then 1), and 512 units. The windows grow
# from layer to layer. By the rule for receptive fields, where $f$ is the width seen, $k$ a layer's kernel and $d$ the
# product of the strides before it, $f \leftarrow f + (k - 1)\, d$, beginning with $f = d = 1$.

# %%
width, distance = 1, 1
for channels, kernel, stride in dqn.ATARI_LAYERS:
    width, distance = width + (kernel - 1) * distance, distance * stride
    print(
        f"{channels} channels, kernel {kernel}, stride {stride}: "
        f"each unit sees {width} × {width} pixels"
    )
torch.manual_seed(0)
atari = dqn.ConvQNetwork((4, 84, 84), 6, layers=dqn.ATARI_LAYERS, hidden=512)
print(f"{sum(p.numel() for p in atari.parameters()):,d} weights")
with torch.no_grad():
    print("values of an untrained network for the frames above:")
    print(*(f"{value:.3f}" for value in atari(stack[None])[0]))

# %% [markdown]
# A game of Pong goes to 21 points, and the return is our points less the opponent's, from −21 to 21. To learn it
# takes of the order of a million decisions, and a network this size: too much for a CPU in minutes. So the profile
# `gpu` trains it, by the same function, and the others say that they do not. (Here a step is one decision, and four
# frames of the console.)

# %% mystnb={"image": {"alt": "Where it was trained: the mean return in Pong against the steps played, between minus 21 and 21."}}
if profile == "gpu":
    pong_agent, pong_history = learn("pong")
    figure, ax = plt.subplots()
    dots = {"line": "o-", "markersize": 4, "label": "averaged weights"}
    over_frames(ax, pong_history, "return", **dots)
    dashes = {"line": "--", "label": "learning weights"}
    over_frames(ax, pong_history, "return_online", **dashes)
    ax.set_ylabel("mean return of greedy games (points)")
    ax.legend()
    plt.show()
else:
    print(f"Not trained in the profile {profile}.")
    print("What you see of Pong here are its frames and an untrained network.")


# %% [markdown]
# ## When it fails
#
# ### The trail is taken away
#
# Without the trail a picture is not a state. The trained network can be made to feel it: it plays a hundred games in
# which one channel is always empty.


# %%
# the trained network behind glasses that hide one channel
class Without(nn.Module):
    def __init__(self, channel):
        super().__init__()
        self.network, self.channel = network, channel

    def forward(self, x):
        x = x.clone()
        x[:, self.channel] = 0
        return self.network(x)


# %%
without = {
    name: dqn.play(Without(number), games, seed=20_000)[0]
    for number, name in enumerate(NAMES)
}
for name, without_it in without.items():
    lost = (returns.sum() - without_it.sum()) / returns.sum().clamp(min=1)
    print(f"without {name}: {without_it.mean():.2f} bricks a game, {lost:.0%} lost")
assert profile == "smoke" or without["trail"].mean() < 0.8 * mean_return


# %% [markdown]
# Without the trail a good part of the return is gone, though the ball and the paddle are there to be seen. It was not
# needed for a first fall, as we saw, nor does the rule need it ever. In whole games the network does. All of this is
# true at once. What is *lost* with the trail is the knowledge of what comes next, and with it the right values: a
# ball that rises and a ball that falls look the same. This network's values were learnt with that knowledge. One that
# was trained without the trail might find the rule. So the loss measures what *this network* uses, and not what the
# game demands.
#
# ### A list of moves
#
# A high score need not mean that anybody looks at the screen. In a game without chance the same actions lead to the
# same end, and a list of moves, learnt by heart, plays as well as any eyes. The old Atari console is of this kind:
# there is no chance in it, and it was long overlooked how much of an agent's score may come from that ([Machado et
# al., 2018](https://arxiv.org/abs/1709.06009), who proposed the sticky actions as a cure). We try it. The agent plays
# a hundred games, and its actions are written down: a hundred lists. Each list is then played with the eyes shut in
# another game. We do this once without sticky actions, where only the side from which the first ball comes is drawn at
# random, and once with them.
#
# > **Predict, then run.** Without sticky actions a list scores, on average, (a) about what the eyes scored, (b) about
# > half, (c) next to nothing. And with them?


# %%
def by_heart(games, limit=500):
    seen, actions, rewards, running = watch(greedy, games, seed=40_000, limit=limit)
    anew, _, again, _ = watch(
        lambda _, step: actions[step], games, seed=50_000, limit=len(actions)
    )
    same_start = (seen[0] == anew[0]).flatten(1).all(dim=1)
    lists = {
        tuple(column[alive].tolist())
        for column, alive in zip(actions.T, running.T, strict=True)
    }
    return rewards.sum(dim=0), again.sum(dim=0), same_start, len(lists)


# %%
fixed = dqn.make_games("MinAtar/Breakout-v1", 100, sticky_actions=0.0)
for name, kind in {"without": fixed, "with": games}.items():
    eyes, blind, same_start, lists = by_heart(kind)
    own, other = blind[same_start], blind[~same_start]
    blind_return = blind.mean().item()
    print(f"{name} sticky actions, {lists} different lists; bricks per game:")
    print(f"    eyes {eyes.mean():.2f}, lists {blind_return:.2f};", end=" ")
    print(f"same side {own.mean():.2f}, other side {other.mean():.2f}")
    if kind is fixed:
        assert profile == "smoke" or (own == eyes[same_start]).all()
        assert profile == "smoke" or other.mean() < 0.2 * own.mean()
fixed.close()
assert profile == "smoke" or blind_return < 1


# %% [markdown]
# Without sticky actions it is about half (b): the agent plays just one game for each side, over and over. A list that
# meets a ball from its own side scores all that the eyes scored; from the other side it earns next to nothing. With sticky
# actions hardly two games are alike, and a list is worth about as much as pressing buttons at random. A score from a
# game without chance therefore says little; whether an agent *sees* shows only where it cannot know what comes.
#
# ### Rewards cut to one
#
# Cutting rewards to [−1, 1] lets one learning rate serve many games. The price is that the agent cannot tell a large
# reward from a small one, and that the sum of the cut rewards is no score: `dqn.Games` judges the agent by the game's
# own. In Space Invaders, a ship of the rearmost row is worth several times one of the foremost.
# Here is what a random agent was given in some games of it, before the cut.

# %%
invaders = dqn.make_games("ALE/SpaceInvaders-v5", 4, clip_rewards=False)
invaders.reset(seed=0)
torch.manual_seed(0)
given = []
for _ in range(300):
    given += invaders.step(torch.randint(6, (4,)).numpy())[1].tolist()
invaders.close()
for points in sorted(set(given) - {0}):
    print(
        f"{points:3.0f} points, {given.count(points):2d} times; "
        f"after the cut {min(points, 1):.0f}"
    )

# %% [markdown]
# After the cut it maximises the *number* of ships, not the score. How much harm that does here is not measured. In a
# game where one must let small rewards go to reach a large one, it changes what the best policy is: the agent then
# solves another game than the one it is judged by.
#
# ## What the source articles got wrong here
#
# One gives the targets as an identity, which a single transition need not satisfy, and cites the Atari paper wrongly
# ([errata](../../book/errata.md#errata-reinforcement-learning)).
#
# ## The promise
#
# This chapter promises a mean return of at least 5 in a hundred fresh games after a few minutes on a CPU. The longer
# training on a GPU aims at 10, about where the curve of Young and Tian (2019) for DQN ends; it must reach 8.

# %%
games.close()
figures = results.record(
    "dqn_from_pixels",
    profile,
    **{"mean_return": round(mean_return, 2), "standard_error": round(error, 2)},
    **{"random_return": round(random_return, 2), "frames": agent.steps_done},
    **{"mean_return_without_trail": round(without["trail"].mean().item(), 2)},
)
print(figures["mean_return"], figures["random_return"], figures["frames"])


# %%
if profile != "smoke":
    assert figures["mean_return"] >= {"cpu": 5, "gpu": 8}[profile], (
        "bricks in a game"
    )
    assert figures["mean_return"] >= 5 * figures["random_return"], (
        "far better than chance"
    )


# %% [markdown]
# ## Summary
#
# - An observation is a state only if the past adds nothing to it. A trail channel, or a stack of frames, puts the
#   direction of motion into the picture; without it nobody can say what comes next.
# - A convolution looks everywhere with the same few weights. Most weights of a small Q-network are in the dense layer
#   behind it.
# - Buffers keep pictures as bytes.
# - The agent is DQN as before. It plays many times better than chance after little more than a hundred thousand
#   frames, and its games differ widely: report the spread.
# - Gradients say where a small change of the picture would matter. Changing the picture says what the agent would do.
# - Compare with a simple rule, not only with chance.
# - In a game without chance a list of moves may do as well as eyes. Sticky actions show the difference.
#
# ## Check yourself
#
# **1.** Write a function that gives the width and height of what a stack of convolutions leaves of a picture, and
# check it with `ATARI_LAYERS` on 84 × 84 pixels.


# %% tags=["hide-cell"]
# @title Solution
def leaves(size, layers):
    for _, kernel, stride in layers:
        size = (size - kernel) // stride + 1
    return size


features = atari.convolutions(torch.zeros(1, 4, 84, 84))
print(leaves(84, dqn.ATARI_LAYERS), tuple(features.shape))
assert features.shape[2:] == (leaves(84, dqn.ATARI_LAYERS),) * 2 == (7, 7)

# %% [markdown]
# **2.** The rule `follow` can always stay under the ball. Why does it lose games at all? Guess, and test it with
# `watch` in games that you make for it.

# %% tags=["hide-cell"]
# @title Solution
obedient = dqn.make_games("MinAtar/Breakout-v1", 20, sticky_actions=0.0)
_, _, rewards, running = watch(follow, obedient, seed=0, limit=300)
obedient.close()
bricks = rewards.sum(dim=0).mean()
print(
    f"after {len(running)} steps {running[-1].sum()} "
    f"of 20 games go on, with {bricks:.0f} bricks so far"
)
assert running[-1].all()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The sticky actions make it slip. Where the game does what it is told, the rule never loses. With slips one should be
# early and stand in the better of the two columns that catch the ball; for that it helps to know the direction, a
# little.
#
# </details>
#
# **3.** A colleague flips pictures at random from left to right before each update, "as one does with photographs".
# What else must be flipped? Show it with `falling`: which picture is the mirror image of a ball that falls to the
# right in column 2 with the paddle in 5?

# %% tags=["hide-cell"]
# @title Solution
mirrored = falling(6, 2, 1, 5).flip(2)
assert torch.equal(mirrored, falling(6, 7, -1, 4))
swap = torch.tensor([0, 2, 1])  # stay, left, right become stay, right, left
rules = {
    tuple(picture.flatten().tolist()): saves
    for picture, saves in zip(positions, saving, strict=True)
}


# %% tags=["hide-cell"]
# @title Solution, continued
for picture, saves in zip(positions, saving, strict=True):
    assert torch.equal(
        rules[tuple(picture.flip(2).flatten().tolist())], saves[swap]
    )
print(
    "pictures mirrored, actions 1 and 2 exchanged: the rules agree in",
    len(positions),
    "positions",
)


# %% [markdown]
# <details><summary>Answer</summary>
#
# The actions: left becomes right. A flipped picture with the old action is a transition that the game would never
# make. With both flipped (and $s'$ as well) each transition gives a second one that is just as true, because the
# rules know no left and right.
#
# </details>
#
# **4.** In words: why is a stack of four frames enough for Pong, and for which kind of game would it not be?
#
# <details><summary>Answer</summary>
#
# In Pong everything that matters is on the screen, apart from the motion, and motion shows in two or three successive
# frames. It is not enough where something matters that was seen long ago and is out of sight now: what lies in the
# last room, which door was already opened. Such games are *partially observable*; an agent needs a memory, as a
# [recurrent network](../language/recurrent_language_model.ipynb) has one.
#
# </details>
#
# **Graded assignment**: [reinforcement learning](../exercises/rl.ipynb).
#
# ## Further reading
#
# - V. Mnih et al., [Human-level control through deep reinforcement learning](https://doi.org/10.1038/nature14236)
#   (2015): 49 games, one agent; the preprocessing stands under "Methods".
# - K. Young and T. Tian, [MinAtar](https://arxiv.org/abs/1903.03176) (2019): five small games, their networks and
#   their curves.
# - M. Bellemare et al., [The Arcade Learning Environment](https://arxiv.org/abs/1207.4708) (2013): how Atari became a
#   laboratory.
# - M. Machado et al., [Revisiting the Arcade Learning Environment](https://arxiv.org/abs/1709.06009) (2018): sticky
#   actions, and how to report results.
# - K. Simonyan, A. Vedaldi and A. Zisserman, [Deep Inside Convolutional Networks](https://arxiv.org/abs/1312.6034)
#   (2013): saliency maps.
#
# Next: [Tuning a language model by reward](reward_tuned_generation.ipynb).
