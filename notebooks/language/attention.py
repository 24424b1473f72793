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
# # Attention
#
# **After this chapter you can**
#
# - read attention as a soft dictionary, and write it in five lines;
# - say where the $\sqrt{d}$ comes from, and why a mask has to come before the softmax;
# - check by gradients that a model never looks ahead, and recognise one that does;
# - tell positions to a layer that has no sense of order, by adding vectors or by turning them;
# - train a two-layer model that learns to look things up, and see in its attention maps how it does it.
#
# **You need**: the task of predicting the next token and the LSTM from [Predicting the next
# character](recurrent_language_model.ipynb). The [notation](../../book/notation.md) is on a page of its own. · [How
# long this chapter takes to run](../../book/results.md)

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
from torch.utils.flop_counter import FlopCounterMode

from aigc_course import diagrams, gpt, plots, results, training


# %%
plots.use_style()
profile = training.resolve_profile(profile)
steps, lstm_factor, batch_size = {
    "smoke": (12, 1, 8),
    "cpu": (400, 3, 64),
    "gpu": (500, 3, 64),
}[profile]
print(
    f"Profile {profile}: {steps} steps for each model with attention, "
    f"{lstm_factor * steps} for the LSTM."
)


# %% [markdown]
# ## What followed last time?
#
# Names in a novel, variables in a program, the key of a melody: much of a text can be predicted only by a reader who
# remembers what came earlier. We strip that down to its core. A sequence consists of pairs, a letter and a digit. For
# each sequence eight letters are drawn and each is given a digit, at random; from then on, whenever a letter comes
# back, so does its digit. The question, *what followed this letter last time?*, is the same in all sequences; the
# answers are not, so nothing can be learnt by heart.

# %%
LETTERS, DIGITS, KNOWN, PAIRS = 26, 10, 8, 32
TIME = 2 * PAIRS  # tokens in a sequence
SYMBOLS = "abcdefghijklmnopqrstuvwxyz0123456789"


def sequences(count):  # (count, 64) tokens: letter, digit, letter, digit, …
    # eight different ones per sequence
    letters = torch.rand(count, LETTERS).argsort(dim=1)[:, :KNOWN]
    digits = LETTERS + torch.randint(DIGITS, (count, KNOWN))
    chosen = torch.randint(KNOWN, (count, PAIRS))
    return torch.stack(
        [letters.gather(1, chosen), digits.gather(1, chosen)], dim=2
    ).flatten(1)


# %%
torch.manual_seed(7)
held_out = sequences(500)  # no model will be trained on these
for row in held_out[:3]:
    print(
        " ".join(SYMBOLS[a] + SYMBOLS[b] for a, b in row.view(-1, 2)[:18].tolist()),
        "…",
    )


# %% [markdown]
# Take the first line and cover its right half. Whenever a letter comes up that you have seen before, you can name its
# digit with certainty, by looking back. The other digits are a matter of chance, and so is the choice of the letters.
# We count only what can be known: **recall** is the share of right digits after letters that the sequence has shown
# before.
#
# `pairs_ago` says for each pair how many pairs ago its letter last occurred, and 0 if never.


# %%
def pairs_ago(tokens):
    letters = tokens[:, ::2]
    # (sequence, now, earlier)
    same = (letters[:, :, None] == letters[:, None, :]).tril(-1)
    position = torch.arange(letters.shape[1])
    last = torch.where(same, position, -1).amax(dim=2)
    return torch.where(last >= 0, position - last, 0)


@torch.no_grad()
# for each pair: is the digit the model finds most likely the right one?
def right_answers(model, tokens=held_out):
    return model(tokens[:, :-1]).argmax(dim=2)[:, ::2] == tokens[:, 1::2]


# %%
ago = pairs_ago(held_out)
print(
    f"{(ago > 0).float().mean():.0%} of the pairs can be known; "
    f"their letter last occurred up to {ago.max()} pairs ago"
)


# %% [markdown]
# First the LSTM. It reads from left to right and keeps what it has read in a state: here $2 \times 64$ numbers, however
# long the text. Eight letters with their digits would fit in, but it has to store every pair *as it goes by*, without
# knowing whether it will ever be asked for, and without disturbing what is already there. We train it on the next
# token, with a fresh batch of sequences at every step and a learning rate that rises, then falls, and give it several
# times the steps that all later models get.


# %%
class Recurrent(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.embedding = nn.Embedding(len(SYMBOLS), width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, len(SYMBOLS), bias=False)

    def forward(self, tokens):
        return self.head(self.lstm(self.embedding(tokens))[0])


# %%
def next_token_loss(model, batch):  # nats per token
    logits = model(batch[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


# %%
def train(model, steps, after_step=lambda step: None, rate=5e-3):
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99))
    options = {"total_steps": steps, "pct_start": 0.1}
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, **options)
    curve = []
    for step in range(steps):
        loss = next_token_loss(model, sequences(batch_size))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        curve.append(loss.item())
        after_step(step + 1)
    return curve


# %%
torch.manual_seed(0)
lstm = Recurrent()
lstm_curve = train(lstm, lstm_factor * steps)
recall_lstm = right_answers(lstm)[ago > 0].float().mean().item()
print(
    f"{sum(part.numel() for part in lstm.parameters())} parameters, "
    f"{lstm_factor * steps} steps"
)
print(f"recall {recall_lstm:.2f}")

# %%
distances = range(1, 13)


def recall_by_distance(model):
    right = right_answers(model)
    return [right[ago == distance].float().mean().item() for distance in distances]


# %% mystnb={"image": {"alt": "The LSTM's bars are low at every distance, and fall off from the first, with a line for pure guessing among ten digits below them."}}
plt.bar(distances, recall_by_distance(lstm), label="LSTM")
plt.axhline(
    1 / DIGITS,
    color="black",
    linestyle="--",
    linewidth=1,
    label="guessing among ten digits",
)
plt.ylim(0, 1.05)
plt.xlabel("pairs since the letter last occurred")
plt.ylabel("recall")
plt.legend()
plt.show()


# %%
@torch.no_grad()
# the share of the answers that are digits which the sequence has already shown
def already_shown(model):
    answers = model(held_out[:, :-1]).argmax(dim=2)[:, ::2, None]
    digits = F.one_hot(held_out[:, 1::2], len(SYMBOLS))
    earlier = digits.cumsum(dim=1) - digits
    by_chance = (earlier > 0).sum(dim=2)[ago > 0] / DIGITS
    found = (earlier.gather(2, answers) > 0)[ago > 0].float()
    return found.mean().item(), by_chance.mean().item()


# %%
shown_lstm, by_chance = already_shown(lstm)
print(f"answers that are digits already shown: {shown_lstm:.0%}")
print(f"a guess among ten digits: {by_chance:.0%}")
if profile != "smoke":
    near, *_, far = recall_by_distance(lstm)
    assert 0.6 > near > far + 0.1
    assert shown_lstm > 0.85 > by_chance

# %% [markdown]
# The LSTM does better than a guess among ten digits: nearly all of its answers are digits that the sequence has already
# shown. But it does not *look up*. It is mostly wrong where you were certain, and the farther back the pair, the less
# is left of it. More units and more training may help it; what remains is that all of the past has to go through one
# state of fixed size.
#
# You went about it in another way. You did not learn the line by heart, you *looked back*, for the letter in question,
# and read the digit beside it. That is attention.

# %% [markdown]
# ## A soft dictionary
#
# Python's `dict` holds **keys** and **values**. Ask it with a **query**: if one key equals the query, out comes its
# value; otherwise an error. No gradient can pass through "equals", so such a dictionary cannot be trained. We make it
# soft. Let keys and query be vectors, and let the dot product $q \cdot k_j$ say how well the query fits the $j$-th key.
# A softmax turns these **scores** into **attention weights** that sum to 1, and the answer is the mean of *all* values
# $v_j$ with these weights:
#
# $$w_j = \frac{e^{\beta\, q \cdot k_j}}{\sum_i e^{\beta\, q \cdot k_i}}, \qquad \text{answer} = \sum_j w_j\, v_j .$$
#
# The number $\beta$ says how selective the dictionary is. Here are five keys, arrows of length 1 in five directions,
# with a number as the value of each; the query is an arrow that goes round once.

# %%
directions, values = (
    torch.tensor([0.6, 1.9, 3.1, 4.4, 5.7]),
    torch.tensor([2.0, 5.0, 1.0, 4.0, 3.0]),
)
around = torch.linspace(0, 2 * math.pi, 400)
# (5, 2), (400, 2)
keys, queries = [
    torch.stack([angle.cos(), angle.sin()], dim=1) for angle in (directions, around)
]


# %% mystnb={"image": {"alt": "The answer against the direction of the query: nearly flat for the least selective dictionary, a smooth wave for the middle one, and for the most selective a staircase through the five keys' values."}}
for beta, line in ((1, ":"), (6, "--"), (200, "-")):
    weights = (beta * queries @ keys.T).softmax(dim=1)  # (400, 5)
    plt.plot(around, weights @ values, line, label=rf"$\beta = {beta}$")
plt.plot(directions, values, "o", color="black", label="keys with their values")
plt.xlabel("direction of the query (radians)")
plt.ylabel("answer")
plt.ylim(0.5, 6.9)
plt.legend(ncols=2, loc="upper right", fontsize=10)
plt.show()


# %% [markdown]
# A selective dictionary ($\beta = 200$) gives the value of the nearest key, as `dict` would. With a small $\beta$ it
# blends. And all of it, from the query to the values, has a derivative.
#
# For our task we can fill in such a dictionary by hand. At every position of the sequence there is a token. Let
#
# - the **query** be the token here (which letter am I at?),
# - the **key** of an earlier position be the token *before* it (what does it follow?),
# - the **value** of that position be its own token (what is there?),
#
# each as a vector with a single 1, so that a dot product is 1 where the tokens agree and 0 elsewhere.

# %%
tokens = held_out[:, :-1]
here = F.one_hot(tokens, len(SYMBOLS)).float()  # (sequence, time, 36)
# the token one position earlier; nothing before the first
before = F.pad(here, (0, 0, 1, 0))[:, :-1]
scores = 50 * here @ before.transpose(1, 2)  # (sequence, time asking, time asked)
future = torch.ones(63, 63).triu(1).bool()
answers = scores.masked_fill(future, -math.inf).softmax(dim=2) @ here
by_hand = (
    (answers.argmax(dim=2)[:, ::2] == held_out[:, 1::2])[ago > 0]
    .float()
    .mean()
    .item()
)
print(f"recall of the dictionary filled in by hand: {by_hand:.2f}")
assert by_hand == 1.0

# %% [markdown]
# Every answer is right, at any distance, without training. (`masked_fill` forbids looking ahead; why it is done in just
# this way is a section of its own.) What remains is to let a model find out for itself what to use as query, key and
# value.
#
# ## Scaled dot-product attention
#
# Let $X$ be the tokens' vectors, one row per position: (time × width). Three matrices that are learnt make of each row
# a query, a key and a value, $Q = X W_Q$, $K = X W_K$, $V = X W_V$. All positions are queried at once, so the sums
# become products of matrices:
#
# $$\mathrm{attention}(Q, K, V) = \mathrm{softmax}\!\Big(\frac{Q K^\top}{\sqrt{d}} + M\Big)\, V ,$$

# %% tags=["hide-input"]
nodes = {
    **{"X": (0, 1), "Q": (2, 0), "K": (2, 1), "V": (2, 2)},
    **{"Q×": (1, 0), "K×": (1, 1), "V×": (1, 2)},
    **{"QKᵀ/√d": (3.3, 0.5), "M": (4.5, -0.5), "+": (4.5, 0.5)},
    **{"softmax": (5.8, 0.5), "×": (5.8, 2), "Y": (6.9, 2)},
}
arrows = [("Q", "QKᵀ/√d", "+", "softmax", "×", "Y"), ("K", "QKᵀ/√d")]
arrows += [("M", "+"), ("V", "×"), *(("X", f"{name}×", name) for name in "QKV")]

# %% tags=["hide-input"]
diagrams.draw(
    "X goes through three matrices, which give Q, K and V. Q and K give the "
    "scores, divided by the root of d; the mask M is added; a softmax makes the "
    "attention weights of the sum, and these times V are the output Y.",
    nodes,
    arrows,
    bare=["X", "Q", "K", "V", "M", "Y"],
    labels={f"{name}×": "W" for name in "QKV"},
    notes={f"{name}×": name for name in "QKV"},
)

# %% [markdown]
# with the softmax over each row, $d$ the number of components of a query, and the mask $M$, of which more below. Row
# $t$ of $QK^\top$ holds the scores of position $t$'s query with all keys.


# %%
# (…, time, d) each; mask (time, time): True where looking is allowed
def attention(q, k, v, mask=None):
    # Q Kᵀ / √d: (…, time asking, time asked)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)  # + M
    weights = scores.softmax(dim=-1)  # each row sums to 1
    return weights @ v, weights


torch.manual_seed(0)
# three of (batch 2, time 10, d 16)
q, k, v = torch.randn(3, 2, 10, 16).requires_grad_()
past = torch.ones(10, 10).tril().bool()


# %%
ours, theirs = (
    attention(q, k, v, past)[0],
    F.scaled_dot_product_attention(q, k, v, is_causal=True),
)
assert torch.allclose(ours, theirs, atol=1e-6)
for a, b in zip(
    *[torch.autograd.grad(y.square().sum(), (q, k, v)) for y in (ours, theirs)],
    strict=True,
):
    assert torch.allclose(a, b, atol=1e-5)
print("equal to PyTorch's scaled_dot_product_attention,")
print("and so are the gradients of q, k and v")


# %% [markdown]
# PyTorch's function picks among several implementations; some of them, on a GPU or for long texts, compute the same
# without ever keeping the whole table of attention weights (Dao et al., 2022). Ours shows the table, so we use it here.
#
# ### Why the square root
#
# Suppose the $d$ numbers of $q$ and of $k$ are independent, with mean 0 and variance 1. (Before training the variance
# depends on how the matrices are drawn; PyTorch's default for a linear layer makes it one third.) Each product
# $q_i k_i$ then has mean 0 and variance 1, and a sum of $d$ such products has the variance $d$:
#
# $$q \cdot k = \sum_{i=1}^d q_i k_i, \qquad \mathrm{Var}(q \cdot k) = d .$$
#
# > **Predict, then run.** With $d = 512$ and 16 keys, without the root: how large is the largest of the 16 attention
# > weights, on average? (a) About one in sixteen. (b) About a half. (c) Nearly all.

# %%
torch.manual_seed(0)
widths = [2, 8, 32, 128, 512]
spread, largest, slope = (
    {False: [], True: []},
    {False: [], True: []},
    {False: [], True: []},
)


# %%
for d in widths:
    # 1,000 queries, 16 keys each
    raw = (torch.randn(1000, 16, d) * torch.randn(1000, 1, d)).sum(dim=2)
    for scaled in (False, True):
        score = raw / math.sqrt(d) if scaled else raw
        w = score.softmax(dim=1)
        spread[scaled].append(score.std().item())
        largest[scaled].append(w.amax(dim=1).mean().item())
        # the softmax's own slopes, ∂w_j/∂s_j
        slope[scaled].append((w * (1 - w)).sum(dim=1).mean().item())
    assert abs(spread[False][-1] / math.sqrt(d) - 1) < 0.05


# %%
print(
    "largest weight at d = 512: "
    f"{largest[False][-1]:.2f} without the root, {largest[True][-1]:.2f} with it"
)
assert largest[True][-1] < 0.5 < 0.9 < largest[False][-1]


# %% mystnb={"image": {"alt": "Left: the scores' spread grows along the square root of d without the root and stays at one with it. Right: the softmax's slope falls towards zero without the root and stays level with it."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3))
for scaled, style in ((False, "o-"), (True, "s--")):
    left.loglog(
        widths,
        spread[scaled],
        style,
        label="with the root" if scaled else "without",
    )
    right.semilogx(widths, slope[scaled], style)
left.set(xlabel="d", ylabel="standard deviation of the scores")
right.set(xlabel="d", ylabel="slope of the softmax, summed", ylim=(0, 1))
left.legend()
plt.show()

# %% [markdown]
# It is (c). Scores that spread over tens of units make the softmax put nearly everything on one key, at random, before
# anything is learnt. And there it stays: with $s_j$ for the score of key $j$, the softmax's derivative is
# $\partial w_j / \partial s_j = w_j (1 - w_j)$, which is 0 for weights of 0 and of 1. The right picture shows this
# slope, summed over the keys: without the root it falls towards 0 as the vectors get longer. Dividing by $\sqrt d$
# brings the spread back to 1 at any width (left), and the slope stays where it was.
#
# ## The mask
#
# A model that predicts the next token must not see it. Position $t$ may look at the positions $0, \dots, t$; to all
# later ones its weight must be 0. The mask $M$ does it *before* the softmax: it is 0 where looking is allowed and
# $-\infty$ where it is not, and $e^{-\infty} = 0$. Why not simply compute all weights and multiply the forbidden ones
# by 0?


# %%
def multiplied_afterwards(q, k, v, mask):  # wrong
    weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(
        dim=-1
    ) * mask
    return weights @ v, weights


x = torch.randn(
    8, 16
)  # eight positions; for now each is its own query, key and value
# the last position is another one
changed = torch.cat([x[:-1], 3 * torch.randn(1, 16)])


# %%
eight = torch.ones(8, 8).tril().bool()
for name, way in (
    ("-inf before", attention),
    ("0 afterwards", multiplied_afterwards),
):
    out, weights = way(x, x, x, eight)
    moved = (way(changed, changed, changed, eight)[0] - out)[:-1].abs().amax()
    sums = weights.sum(dim=1)
    print(f"{name}: rows sum to {sums.min():.2f} … {sums.max():.2f};")
    print(f"    the last position moves an earlier output by up to {moved:.3f}")


# %% [markdown]
# Two things go wrong. The rows no longer sum to 1, so the answers at early positions are too small. And worse, the
# future leaks: the scores of the forbidden positions are still in the softmax's *denominator*, so a later token changes
# earlier outputs. Nothing crashes, and the shapes are right.
#
# ### Causality by gradients
#
# Such a leak can be found in any model, without reading its code. Output $t$ must not depend on input $s > t$, so the
# derivative of the one with respect to the other must be exactly 0. We compute them all:


# %%
def dependence(function, x):  # (time, time): the size of d output_t / d input_s
    # (time, width, time, width)
    slopes = torch.autograd.functional.jacobian(function, x)
    return slopes.pow(2).sum(dim=(1, 3)).sqrt()


# %%
ways = {
    "mask before": lambda x: attention(x, x, x, eight)[0],
    "multiplied after": lambda x: multiplied_afterwards(x, x, x, eight)[0],
    "forgotten": lambda x: attention(x, x, x)[0],
}
looks = {name: dependence(way, x) for name, way in ways.items()}
for name, table in looks.items():
    print(f"{name:16s} largest dependence on the future: {table.triu(1).max():.4f}")
assert looks["mask before"].triu(1).max() == 0
assert (
    min(looks["multiplied after"].triu(1).max(), looks["forgotten"].triu(1).max())
    > 0
)


# %% mystnb={"image": {"alt": "Three tables of dependence. The first is empty above the diagonal; the second and the third are filled there as well."}}
figure, axes = plt.subplots(1, 3, figsize=(6, 2.7), sharey=True)
for ax, (name, table) in zip(axes, looks.items(), strict=True):
    ax.imshow(table.clamp(min=1e-4).log10(), cmap="Blues", vmin=-4, vmax=0)
    ax.set_title(name, fontsize=10)
    ax.grid(False)
    ax.set_xlabel("input s")
axes[0].set_ylabel("output t")
plt.show()

# %% [markdown]
# The darker a cell, the more output $t$ depends on input $s$ (on a logarithmic scale). Only on the left is everything
# above the diagonal exactly 0. This test takes a minute to write, and every causal model deserves it; the course's own
# tests apply it to the GPT.
#
# ## Many heads
#
# One table of attention weights can look for one thing at a time. So one splits the width into $h$ parts, the
# **heads**; each has queries, keys and values of its own, of $d = \text{width} / h$ components, and a table of
# attention weights of its own. Afterwards the parts are put side by side again and mixed by a last matrix $W_O$. It
# costs no more multiplications than one large head.
#
# The splitting is done by reshaping, and it is where most home-made versions go wrong. A tensor of four positions with
# six components each, for two heads:

# %%
# position t, component c: written as 10 t + c
row = (10 * torch.arange(4)[:, None] + torch.arange(6)).float()
# (time, heads, d), then (heads, time, d)
right_way = row.view(4, 2, 3).transpose(0, 1)
wrong_way = row.view(2, 4, 3)  # the shape fits as well


# %%
tables = {
    "right, head 0": right_way[0],
    "right, head 1": right_way[1],
    "wrong, head 0": wrong_way[0],
    "wrong, head 1": wrong_way[1],
}
cells = torch.cartesian_prod(torch.arange(4), torch.arange(3))


# %% mystnb={"image": {"alt": "Four small tables of numbers, coloured by the position they come from. In the right split each head has all four positions with three of their numbers; in the wrong one the first head has only the first two positions."}}
figure, axes = plt.subplots(2, 2, figsize=(5.4, 4.4))
for ax, (name, table) in zip(axes.flat, tables.items(), strict=True):
    ax.imshow(table // 10, cmap="Pastel1", vmin=0, vmax=8, aspect="auto")
    for (t, c), number in zip(cells, table.flatten(), strict=True):
        ax.text(c, t, f"{int(number):02d}", ha="center", va="center")
    ax.set(title=name, xlabel="component in the head", ylabel="position")
    ax.grid(False)
plt.show()


# %% [markdown]
# The tens digit is the position. In the upper row each head sees all four positions, with three of each position's six
# components. Below, `view` alone produces the same shape, and the first head holds the first two positions only, cut
# into pieces: "position 1" of that head is the second half of position 0. Always split the *last* axis, then swap.
#
# ## From scratch
#
# Everything together, as one layer. `rotary` belongs to the next section; `self.weights` is kept for looking at.


# %%
class SelfAttention(nn.Module):
    def __init__(self, width, heads, *, rotary=False, causal=True):
        super().__init__()
        self.split, self.rotary, self.causal = (3, heads, -1), rotary, causal
        self.qkv = nn.Linear(width, 3 * width, bias=False)  # W_Q, W_K, W_V of all
        self.out = nn.Linear(width, width, bias=False)  # W_O

    def forward(self, x):  # (batch, time, width)
        q, k, v = self.qkv(x).unflatten(2, self.split).permute(2, 0, 3, 1, 4)
        time, d = q.shape[2:]  # q, k, v: (batch, heads, time, d)
        if self.rotary:
            a = gpt.rotary_angles(time, d)
            q, k = [gpt.rotate(x, a.cos(), a.sin()) for x in (q, k)]
        mask = torch.ones(time, time).tril().bool() if self.causal else None
        gathered, self.weights = attention(q, k, v, mask)
        return self.out(gathered.transpose(1, 2).flatten(2))


# %% [markdown]
# ## With the package
#
# `aigc_course.gpt.Attention` is the layer of the [GPT](gpt.ipynb) in the next chapter. It calls PyTorch's function, can
# normalise queries and keys, and can use a cache; leave these out, give it the same parameters, and it gives the same
# output.

# %%
torch.manual_seed(0)
ours = SelfAttention(64, 2, rotary=True)
package = gpt.Attention(64, 2, bias=False, normalise_queries=False, dropout=0.0)
package.load_state_dict(ours.state_dict())
x = torch.randn(3, 20, 64)
angles = gpt.rotary_angles(20, 32)
assert torch.allclose(ours(x), package(x, (angles.cos(), angles.sin())), atol=1e-5)
plain = SelfAttention(64, 2)
plain.load_state_dict(ours.state_dict())
assert torch.allclose(plain(x), package(x), atol=1e-5)
print("from scratch and package agree, with rotary positions and without")

# %% [markdown]
# ## A layer without a sense of order
#
# > **Predict, then run.** A layer without mask reads a sentence, then the same words shuffled. What happens to its
# > outputs? (a) They are shuffled in the same way, and otherwise equal. (b) They change, since the order has changed.
# > (c) They become the same for all positions.

# %%
torch.manual_seed(0)
bag = SelfAttention(64, 2, causal=False)
order = torch.randperm(20)
same = torch.allclose(bag(x[:, order]), bag(x)[:, order], atol=1e-5)
print("the outputs of the shuffled words are the shuffled outputs:", same)
assert same

# %% [markdown]
# It is (a): the layer is **equivariant** to permutations. A dot product does not know where its vectors stood, and a
# sum does not know its order, so to this layer *dog bites man* and *man bites dog* are the same three words. (With a
# causal mask a position knows at least *which* others came before it, though not in what order.) Positions have to be
# told.
#
# **Learned positions** are the simple way: a table with one vector for each position, added to the token's vector,
# trained like any other parameter. GPT-2 does that. It knows no position beyond the end of its table, and it has to
# find out by itself that positions 7 and 8 are as close as 47 and 48.
#
# **Rotary positions** (Su et al., 2021) put the *distance* into the score. The components of a query are taken in
# pairs, and each pair is read as a point of the plane and turned by an angle proportional to the position $m$; the keys
# likewise with theirs, $n$:
#
# $$q_m = R(m\theta)\, q, \qquad k_n = R(n\theta)\, k,$$
#
# $$q_m \cdot k_n = q^\top R(m\theta)^\top R(n\theta)\, k = q^\top R\big((n - m)\theta\big)\, k .$$
#
# Here $R(a)$ is the matrix that turns a point of the plane by the angle $a$, and $\theta$ the angle from one position
# to the next. A turn back by $m\theta$ and one forward by $n\theta$ make one turn by the difference. So the score
# depends on the two vectors and on *how far apart* they are, and not on where. Each pair $i$ has a speed of its own,
# $\theta_i = 10000^{-2i/d}$: fast hands and slow ones, as on a clock.

# %%
angles = gpt.rotary_angles(10, 8)  # (time, pairs): ten positions, four pairs
# each pair begins at (1, 0)
start = torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]).expand(10, 8)
turned = gpt.rotate(start, angles.cos(), angles.sin())


# %% mystnb={"image": {"alt": "Three circles with the positions of one vector's pair. The fastest goes round more than once and its dots are wide apart; the second moves along an arc; the third hardly leaves its beginning."}}
figure, axes = plt.subplots(1, 3, figsize=(6, 2.5), sharey=True)
for i, ax in enumerate(axes):
    ax.plot(around.cos(), around.sin(), color="lightgrey", linewidth=1)
    ax.scatter(
        turned[:, i], turned[:, i + 4], c=torch.arange(10), cmap="viridis", zorder=2
    )
    ax.set(
        title=f"$\\theta_{i} = {angles[1, i]:.2g}$",
        aspect="equal",
        xlim=(-1.3, 1.3),
        xticks=[-1, 0, 1],
    )
axes[0].set_ylabel("second component of the pair")
axes[1].set_xlabel("first component of the pair")
plt.show()


# %% [markdown]
# Each dot is one position, from dark (position 0) to light (position 9). The first pair tells neighbours apart and soon
# comes full circle; the later ones are too slow for neighbours and tell near from far. (The fourth pair, slower still,
# is left out.) Now the property itself, for random vectors:

# %%
torch.manual_seed(0)
angles = gpt.rotary_angles(200, 32)
cos, sin = angles.cos(), angles.sin()
q, k = [gpt.rotate(x.expand(200, 32), cos, sin) for x in torch.randn(2, 32)]
score = q @ k.T  # all pairs of positions
for m, n in ((5, 3), (55, 53), (155, 153), (55, 43)):
    print(
        f"query at {m:3d}, key at {n:3d}, "
        f"{m - n:2d} apart: score {score[m, n]:7.4f}"
    )
for gap in range(-150, 151, 10):
    along = score.diagonal(gap)  # all pairs of positions with this distance
    assert torch.allclose(along, along[0].expand_as(along), atol=1e-3)

# %% [markdown]
# ## What it costs
#
# We count multiplications, which do not depend on the machine. For $T$ positions and width $D$: the four matrices take
# $4TD^2$, the scores $T^2 D$, and the weighted means another $T^2 D$. An LSTM takes $8TD^2$ whatever the length.
# PyTorch has a counter to check it by (it counts additions too, hence the half):


# %%
def multiplications(time, width=64):
    with FlopCounterMode(display=False) as counter:
        SelfAttention(width, 2)(torch.randn(1, time, width))
    return counter.get_total_flops() // 2


for T in (64, 256, 1024):
    assert multiplications(T) == 4 * T * 64**2 + 2 * T**2 * 64
    print(
        f"{T:5d} positions: {multiplications(T):11,} multiplications; "
        f"an LSTM takes {8 * T * 64**2:11,}"
    )

# %% mystnb={"image": {"alt": "On two logarithmic axes three lines against the length: matrices and LSTM rise with slope one, the scores and means with slope two and cross both."}}
T = torch.logspace(4, 13, 50, base=2)
plt.loglog(T, 2 * T**2 * 64, label="scores and means, $2T^2D$")
plt.loglog(T, 4 * T * 64**2, "--", label="the four matrices, $4TD^2$")
plt.loglog(T, 8 * T * 64**2, ":", label="LSTM, $8TD^2$")
plt.xlabel("length T (positions)")
plt.ylabel("multiplications")
plt.legend()
plt.show()

# %% [markdown]
# Twice the text costs four times the scores. In short texts they hardly count; from $T = 2D$ on they cost more than the
# matrices, and in a long text they are nearly all. (In a whole block of the next chapter the matrices take three times
# as much, $12 T D^2$. There scores and means make $2 T^2 D / 12 T D^2 = T / 6D$ of the rest.) That is the price of
# keeping the whole past in view. What it buys, besides memory, is speed of another kind: all positions are computed *at
# once*, whereas an LSTM has to wait for position $t - 1$ before it can begin with $t$.
#
# ## Training: two layers of attention
#
# Back to the letters and digits. The model is as bare as can be: an embedding, layers of attention, each of which adds
# what it found to the vectors that run from layer to layer, the **residual stream**, and a last matrix to the logits.
# Before each layer the vectors are brought to a common size (`rms_norm`); why is a matter for the next chapter. Two
# layers of width 64 have about as many parameters as our LSTM.


# %%
class AttentionOnly(nn.Module):
    def __init__(self, layers=2, width=64, positions="rotary", causal=True):
        super().__init__()
        self.embedding = nn.Embedding(len(SYMBOLS), width)
        self.table = nn.Embedding(TIME, width) if positions == "learned" else None
        layer = {"rotary": positions == "rotary", "causal": causal}
        attentions = [SelfAttention(width, 2, **layer) for _ in range(layers)]
        self.layers = nn.ModuleList(attentions)
        self.head = nn.Linear(width, len(SYMBOLS), bias=False)

    def forward(self, tokens):
        position = 0 if self.table is None else self.table.weight[: tokens.shape[1]]
        x = self.embedding(tokens) + position
        for layer in self.layers:  # each adds to the residual stream
            x = x + layer(F.rms_norm(x, x.shape[-1:]))
        return self.head(F.rms_norm(x, x.shape[-1:]))


# %% [markdown]
# How low can the loss go? Not to 0, as the letters are random. We made the sequences, so we can compute what a reader
# who knows the rules and forgets nothing would pay, in nats. With $m$ letters seen so far, each of them comes next with
# probability $1/8$; a new one with probability $(8 - m)/8$, and it is any of the other $26 - m$. Its digit costs
# $\log 10$ if the letter is new, and nothing otherwise. This is the **floor**: no honest model can do better on
# average.

# %%
new = ago == 0
met = new.cumsum(dim=1) - new.long()  # letters seen before this pair
letter_nats = torch.where(
    new, -torch.log((KNOWN - met) / KNOWN / (LETTERS - met)), math.log(KNOWN)
)
digit_nats = torch.where(new, math.log(DIGITS), 0.0)
# the first token is given
nats = torch.stack([letter_nats, digit_nats], dim=2).flatten(1)[:, 1:]
floor = nats.mean().item()
print(f"the floor is {floor:.3f} nats per token")


@torch.no_grad()
def held_out_loss(model):
    return F.cross_entropy(
        model(held_out[:, :-1]).flatten(0, 1), held_out[:, 1:].flatten()
    ).item()


# %%
film, shown = (
    {},
    {0}
    | {
        round(steps * share / 64)
        for share in (8, 14, 18, 20, 22, 24, 26, 28, 31, 35, 40, 48, 64)
    },
)


met_twice = F.one_hot(held_out[:, :20:2], LETTERS).sum(dim=1) == 2
# a sequence that soon repeats itself
drawn = held_out[met_twice.sum(dim=1).argmax(), :20]


# %%
@torch.no_grad()
def take_picture(step):
    if step in shown:
        two(drawn[None])
        film[step] = two.layers[1].weights[0]  # (heads, 20, 20)


torch.manual_seed(0)
two = AttentionOnly()
take_picture(0)
curves = {"two layers": train(two, steps, take_picture)}
recall = right_answers(two)[ago > 0].float().mean().item()
print(
    f"{sum(part.numel() for part in two.parameters())} parameters, "
    f"{steps} steps: recall {recall:.3f}"
)


# %%
torch.manual_seed(0)
one = AttentionOnly(layers=1)
curves["one layer"] = train(one, steps)
recall_one = right_answers(one)[ago > 0].float().mean().item()
for name, model, found in (
    ("two layers", two, recall),
    ("one layer", one, recall_one),
    ("LSTM", lstm, recall_lstm),
):
    print(
        f"{name:10s} recall {found:.3f}, "
        f"held-out loss {held_out_loss(model):.3f} (floor {floor:.3f})"
    )
above = {m: held_out_loss(m) - floor for m in (two, one, lstm)}
assert profile == "smoke" or above[two] < min(above[one], above[lstm]) / 2

# %% mystnb={"image": {"alt": "Loss against steps: all curves fall from a high level to a plateau, the LSTM's a little later; then the one with two layers drops steeply towards the dashed floor while one layer and the LSTM stay on a high plateau."}}
for (name, curve), style in zip(
    {**curves, "LSTM": lstm_curve}.items(), ("-", "--", ":"), strict=True
):
    # the mean of ten steps
    smooth = torch.tensor(curve).unfold(0, 10, 1).mean(dim=1)
    plt.plot(range(10, 10 + len(smooth)), smooth, style, label=name)
plt.axhline(floor, color="black", linestyle="--", linewidth=1, label="floor")
plt.xscale("log")
plt.xlabel("step")
plt.ylabel("training loss (nats per token)")
plt.legend()
plt.show()

# %% [markdown]
# First all models learn the easy things, that letters and digits alternate and which of them this sequence has shown,
# and come to a plateau. Then the model with two layers falls off it and covers most of the way to the floor. One layer
# stays up, and so does the LSTM, in all the steps that it was given. Recall against distance:

# %% mystnb={"image": {"alt": "Recall against distance: two layers lie at the top over the whole range, one layer and the LSTM far below."}}
for (name, model), style in zip(
    {"two layers": two, "one layer": one, "LSTM": lstm}.items(),
    ("o-", "s--", "^:"),
    strict=True,
):
    plt.plot(distances, recall_by_distance(model), style, label=name)
plt.axhline(
    1 / DIGITS, color="black", linestyle="--", linewidth=1, label="guessing"
)
plt.ylim(0, 1.05)
plt.xlabel("pairs since the letter last occurred")
plt.ylabel("recall")
plt.legend(loc="center right")
plt.show()
assert profile == "smoke" or min(recall_by_distance(two)) > 0.85

# %% [markdown]
# With two layers distance does not matter: an earlier position is one step away, wherever it is.
#
# ## How it does it
#
# Why should one layer fail where our dictionary filled in by hand succeeded? We cheated a little: we gave each position
# the token *before* it as a key. In the model a key is computed from the vector *at* the position, and in the first
# layer that is the embedding of its own token. The digit's position knows that it is a "7", not that it follows a "k".
# It has to be told first, and for that there must be a layer before. The attention maps of a sequence from the held-out
# set, one for each layer and head:

# %%
names = [SYMBOLS[token] for token in drawn.tolist()]
answers = [
    (t, s)
    for t in range(0, 20, 2)
    for s in range(1, t, 2)
    if drawn[t] == drawn[s - 1]
]


# %%
def draw_map(ax, weights, marked=True):
    ax.imshow(weights, cmap="Blues", vmin=0, vmax=1)
    if marked:  # where the answer can be found
        ax.plot(
            *zip(*[(s, t) for t, s in answers], strict=True),
            "s",
            color=plots.COLOURS[3],
            fillstyle="none",
            ms=8,
        )
    ax.set_xticks(range(20), names, fontsize=7)
    ax.set_yticks(range(20), names, fontsize=7)
    ax.tick_params(length=0)
    ax.grid(False)


# %% tags=["gallery"] mystnb={"image": {"alt": "Four attention maps. In the first layer one head has dark cells just below the diagonal, in every other row; in a head of the second layer the letters' rows are dark in the marked cells, one position to the right of earlier copies of the letter."}}
with torch.no_grad():
    two(drawn[None])
figure, axes = plt.subplots(2, 2, figsize=(6, 6.2))
for (layer, head), ax in zip(
    ((0, 0), (0, 1), (1, 0), (1, 1)), axes.flat, strict=True
):
    draw_map(ax, two.layers[layer].weights[0, head], marked=layer == 1)
    ax.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=10)
figure.supxlabel("looks at")
figure.supylabel("position that asks")
plt.show()

# %% [markdown]
# Read the maps row by row: the row is the position that asks, a dark cell in it is a position it looks at. In the first
# layer look for the dark cells just below the diagonal, in the rows of the digits: a **previous-token head**, which at
# a digit looks at the letter before it, and so writes into the digit's position what it follows. In the second layer
# take the row of a letter that has occurred before. In one head at least, its darkest cells lie at the *digits that
# followed* its earlier occurrences, which are marked by small squares. (The rows of the digits have nothing to look up,
# as the next letter is random.) Such a head is called an **induction head** (Elhage et al., 2021; Olsson et al., 2022):
# query "I am a k", key "I follow a k", value "I am a 7". The two layers have rebuilt our dictionary. Measured on all
# held-out sequences:

# %%
with torch.no_grad():
    two(held_out[:, :-1])
tokens, asks = held_out[:, :-1], torch.zeros(500, 63).bool()
asks[:, ::2] = ago > 0
before = F.pad(tokens, (1, 0), value=-1)[:, :-1]
# does position s come right after a token like the one at t?
followed = tokens[:, :, None] == before[:, None, :]


# %%
induction, previous = {}, {}
for layer, head in ((0, 0), (0, 1), (1, 0), (1, 1)):
    w = two.layers[layer].weights[:, head]
    # at digits: one position back
    previous[layer, head] = w.diagonal(-1, dim1=1, dim2=2)[:, ::2].mean().item()
    induction[layer, head] = (w * followed).sum(dim=2)[asks].mean().item()
    print(
        f"layer {layer + 1}, head {head + 1}: "
        f"weight on the position before {previous[layer, head]:.2f},",
        end=" ",
    )
    print(f"on what followed last time {induction[layer, head]:.2f}")
if profile != "smoke":
    assert max(induction[1, 0], induction[1, 1]) > 0.6
    assert max(previous[0, 0], previous[0, 1]) > 0.35


# %% [markdown]
# In the second layer one head or both have most of their attention on what followed last time, and in the first layer a
# head has a good part of it on the position before. (Two heads may share a job, so do not expect one clean head for
# each.) Here is the second layer during training; the film shows its last picture first, then begins at step 0:


# %%
def frame(step):  # one picture of the loop, with a palette of its own
    figure, ax = plt.subplots(figsize=(4.4, 4.6), dpi=80)
    draw_map(ax, film[step].mean(dim=0))
    ax.set(title=f"$t = {step}$", xlabel="looks at", ylabel="position that asks")
    figure.canvas.draw()
    picture = Picture.frombuffer(
        "RGBA", figure.canvas.get_width_height(), figure.canvas.buffer_rgba()
    )
    plt.close(figure)
    return picture.convert("RGB").quantize(colors=128)


# %%
# the end comes first: it is what a printed page shows
frames = [frame(step) for step in [max(film), *sorted(film)]]
buffer = io.BytesIO()
pauses = [1500] + [500] * len(film)
frames[0].save(
    buffer, "GIF", save_all=True, append_images=frames[1:], duration=pauses, loop=0
)
print(
    f"{len(frames)} frames; t counts the steps, "
    "and each cell is the mean of the layer's two heads"
)


# %% mystnb={"image": {"alt": "Animation: an evenly faint triangle turns into something like a chessboard; then dark cells appear at the marked positions, which followed earlier copies of each letter, and the rest fades."}}
display(
    Image(
        data=buffer.getvalue(),
        format="gif",
        alt="The attention map of an induction head forms",
    )
)


# %% [markdown]
# First a chessboard appears: letters and digits are told apart. The marked cells darken later. In numbers, of the rows
# that belong to letters:


# %%
def in_numbers(step):  # weight of digits over that of letters; of the marked cells
    w = film[step].mean(dim=0)
    kinds = [
        torch.cat([w[t, first : t + 1 : 2] for t in range(2, 20, 2)]).mean()
        for first in (1, 0)
    ]
    marked = torch.stack([w[t, s] for t, s in answers]).mean().item()
    return (kinds[0] / kinds[1]).item(), marked


# %%
stages = {t: in_numbers(t) for t in (0, round(steps / 8), max(film))}
for t, (ratio, marked) in stages.items():
    print(f"step {t:5d}: a digit gets {ratio:5.2f} times the weight", end=" ")
    print(f"of a letter, a marked cell {marked:.2f}")
if profile != "smoke":
    (even, _), (uneven, early), (_, late) = stages.values()
    assert abs(math.log(uneven)) > 3 * abs(math.log(even)), "the chessboard"
    assert early < 0.3 * late, "the marked cells"

# %% [markdown]
# A likely reason for the wait: for looking up, neither layer is of use without the other.
#
# ## When it fails
#
# Now we change one part at a time, and train as before.

# %%
variants = {
    "learned positions": {"positions": "learned"},
    "no positions": {"positions": "none"},
}
variants["no mask"] = {"causal": False}
models = {"two layers, rotary": two, "one layer": one}
for name, options in variants.items():
    torch.manual_seed(0)
    models[name] = AttentionOnly(**options)
    curves[name] = train(models[name], steps)


# %%
table = {
    name: right_answers(model)[ago > 0].float().mean().item()
    for name, model in models.items()
}
for name, model in models.items():
    print(
        f"{name:18s} held-out loss {held_out_loss(model):.3f}, "
        f"recall {table[name]:.3f}"
    )
print(f"{'floor':18s} held-out loss {floor:.3f}")
if profile != "smoke":
    assert held_out_loss(models["no mask"]) < floor / 3, "too good to be true"
    assert table["one layer"] + 0.1 < table["no positions"]
    assert table["no positions"] < table["two layers, rotary"] - 0.05
    assert already_shown(one)[0] > 0.85


# %% [markdown]
# > **Predict, then run.** The model without a mask has by far the lowest loss. Will it also answer better than the
# > others when it gets only the *beginning* of a sequence? (a) Yes, the loss is measured on held-out data. (b) About as
# > well. (c) Far worse.


# %%
@torch.no_grad()
# each question with its past only, as in generation: there is nothing to the right
def honest_recall(model, tokens):
    right = [
        model(tokens[:, : t + 1])[:, -1].argmax(dim=1) == tokens[:, t + 1]
        for t in range(0, 2 * PAIRS - 1, 2)
    ]
    return torch.stack(right, dim=1)[pairs_ago(tokens) > 0].float().mean().item()


# %%
honest = {
    name: honest_recall(models[name], held_out[:100])
    for name in ("two layers, rotary", "no mask")
}
for name, found in honest.items():
    print(f"{name}: recall with the whole sequence in view {table[name]:.2f},")
    print(f"    with the past only {found:.2f}")


# %%
@torch.no_grad()
def go_on(model, tokens, count=32):
    for _ in range(count):
        tokens = torch.cat(
            [tokens, model(tokens)[:, -1].softmax(dim=1).multinomial(1)], dim=1
        )
    return tokens


# %%
# of the letters after the beginning that occur in it: the share with the same digit
# as there
def agreement(text):
    digit = torch.full((len(text), LETTERS), -1).scatter(
        1, text[:, :32:2], text[:, 1:32:2]
    )
    wanted = digit.gather(1, text[:, 32:-1].clamp(max=LETTERS - 1))
    asked = (text[:, 32:-1] < LETTERS) & (wanted >= 0)
    return (text[:, 33:] == wanted)[asked].float().mean().item()


# %%
consistent = {}
for name in honest:
    torch.manual_seed(0)
    texts = go_on(models[name], held_out[:60, :32])
    start, rest = [
        "".join(SYMBOLS[token] for token in part.tolist())
        for part in texts[0].split(32)
    ]
    print(
        f"{name}: {agreement(texts):.0%} of the known "
        f"letters are followed by their digit\n  {start} | {rest}"
    )
    consistent[name] = agreement(texts)


# %%
unmasked = models["no mask"]
with torch.no_grad():
    unmasked(held_out[:, :-1])
to_the_right = max(
    layer.weights[:, head].diagonal(1, dim1=1, dim2=2).mean().item()
    for layer in unmasked.layers
    for head in (0, 1)
)
print(f"no mask, one head: weight on the next position {to_the_right:.2f}")
if profile != "smoke":
    assert honest["no mask"] < table["no mask"] / 2
    assert consistent["two layers, rotary"] > 0.75 > 0.4 > consistent["no mask"]
    assert to_the_right > 0.5

# %% [markdown]
# It is (c). Without a mask a position can simply look one position to the right, where the next token is, and copy it;
# the printed attention weight says how much it does. The loss falls nearly to 0, on held-out data too, since the answer
# is in the input there as well. But when the model generates there is nothing to the right. What follows the bar is
# mostly nonsense: digits that contradict the pairs before the bar. The masked model goes on with the sequence's own
# pairs, mostly; an unlikely letter, once drawn, stays in the text.
#
# The loss alone could have told: **it lies below the floor**, and no honest model can predict random letters. A loss
# that is too good to be true is the first sign of a leak; the gradient test above finds it for certain. Here it is, on
# the trained models:


# %%
# largest derivative of the middle output with respect to a later token's vector
def looks_ahead(model, tokens):
    vectors = model.embedding(tokens).detach().requires_grad_()
    handle = model.embedding.register_forward_hook(lambda *_: vectors)
    logits = model(tokens)
    handle.remove()
    middle = tokens.shape[1] // 2
    (slopes,) = torch.autograd.grad(logits[:, middle].square().sum(), vectors)
    return slopes[:, middle + 1 :].abs().max().item()


for name, model in models.items():
    print(f"{name:18s} looks ahead: {looks_ahead(model, held_out[:4, :-1]) > 0}")
assert looks_ahead(models["two layers, rotary"], held_out[:4, :-1]) == 0
assert looks_ahead(models["no mask"], held_out[:4, :-1]) > 0

# %% [markdown]
# **One layer** cannot pass on what a digit follows, as we saw; it is left with choosing among the digits that the
# sequence has shown.
#
# **Without positions** recall falls as well, but not to that level. The mask itself gives a hint of order: the first
# position sees one token, the tenth sees ten. Causal models without any positions can make something of that (Haviv et
# al., 2022). It seems harder to learn: in the same number of steps this model gets only part of the way.
#
# **Learned positions** were trained once here, and how soon a model leaves the plateau may depend on the random numbers
# at its start. So this run does not tell how they compare with rotary ones. For a position beyond the length of the
# training they have no vector.
#
# ## What the source articles got wrong here
#
# One cites "Attention Is All You Need" as the paper on autoregressive models, and no word of its formula for a text looks
# at another word ([errata](../../book/errata.md#errata-language-models)).
#
# ## The promise
#
# Two layers of attention answer at least 95 % of the questions on sequences they have never seen; one layer, and an
# LSTM with as many parameters and more steps, stay below one half.

# %%
figures = results.record(
    "attention",
    profile,
    recall_accuracy=round(recall, 3),
    recall_accuracy_one_layer=round(recall_one, 3),
    recall_accuracy_lstm=round(recall_lstm, 3),
    recall_accuracy_no_mask_past_only=round(honest["no mask"], 3),
    nats_above_floor=round(held_out_loss(two) - floor, 3),
)
for name in (
    "recall_accuracy",
    "recall_accuracy_one_layer",
    "recall_accuracy_lstm",
):
    print(name, figures[name])


# %%
if profile != "smoke":
    assert figures["recall_accuracy"] >= 0.95, (
        "two layers look up what followed last time"
    )
    assert (
        max(figures["recall_accuracy_one_layer"], figures["recall_accuracy_lstm"])
        <= 0.5
    ), "the others do not"


# %% [markdown]
# ## Summary
#
# - Attention is a soft dictionary: scores by dot product, attention weights by softmax, and the answer is a weighted
#   mean of the values. Query, key and value are made from the tokens by matrices that are learnt.
# - Scores are divided by $\sqrt d$, or the softmax saturates and its gradient is gone.
# - The mask puts $-\infty$ before the softmax. A gradient test shows whether a model looks ahead; a loss below the
#   floor is a warning that it does.
# - Several heads look for several things at once. Split the last axis, then swap.
# - Without positions the layer has no sense of order. Learned positions say *where*, rotary ones say *how far apart*.
# - Any position is one step away, at a price that grows with the square of the length.
# - Two layers together do what one cannot: a previous-token head, and an induction head that builds on it.
#
# ## Check yourself
#
# **1.** The mask that multiplies afterwards can be repaired: divide each row by its sum. Show that this is right in
# exact arithmetic, and find scores for which it fails on a computer.

# %% tags=["hide-cell"]
# @title Solution
scores = torch.randn(8, 8)
proper = scores.masked_fill(~eight, -math.inf).softmax(dim=1)
repaired = scores.softmax(dim=1) * eight
repaired = repaired / repaired.sum(dim=1, keepdim=True)
assert torch.allclose(proper, repaired, atol=1e-6)
scores[0, 7] = 200.0  # a very high score for a forbidden position
lost = scores.softmax(dim=1) * eight
lost = lost / lost.sum(dim=1, keepdim=True)
print(
    "first row, with -inf before:",
    scores.masked_fill(~eight, -math.inf).softmax(dim=1)[0, :3].tolist(),
)
print("first row, divided by its sum:", lost[0, :3].tolist())
assert lost[0].isnan().all()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The denominator of the softmax cancels when the row is divided by its sum, so what is left is the softmax over the
# allowed positions. But if a forbidden score is larger than all allowed ones by more than about a hundred, every
# allowed weight is rounded to 0, and the row becomes 0 divided by 0.
#
# </details>
#
# **2.** Take two queries $q$ and $q + c\,u$, where $u$ is orthogonal to all keys. How do the answers differ? And if the
# same number is added to all scores of a row?

# %% tags=["hide-cell"]
# @title Solution
torch.manual_seed(0)
k, v, q = torch.randn(5, 8), torch.randn(5, 3), torch.randn(1, 8)
# five keys in eight dimensions leave directions that none of them has
u = torch.linalg.svd(k).Vh[-1]
assert torch.allclose(
    attention(q, k, v)[0], attention(q + 10 * u, k, v)[0], atol=1e-4
)
shifted = ((q @ k.T) + 7).softmax(dim=1)
assert torch.allclose(shifted, (q @ k.T).softmax(dim=1), atol=1e-6)
print("neither changes anything")

# %% [markdown]
# <details><summary>Answer</summary>
#
# Not at all. The dot products are the same in the first case; in the second, if $a$ is the number, the factor
# $e^{a}$ cancels in the softmax. Only *differences* between the scores of a row matter.
#
# </details>
#
# **3.** Rotary positions turn queries and keys, and not the values. What would be lost if one turned the values too?
#
# <details><summary>Answer</summary>
#
# The score depends on the distance because two turns meet in a product. A value is not multiplied by a second turned
# vector: it would come out turned by its absolute position, so the same digit would look different wherever it stands,
# and all later layers would have to undo that.
#
# </details>
#
# **4.** Are both heads of the second layer needed? Switch off one head at a time, by setting the columns of `out` that
# read it to zero, and measure recall.

# %% tags=["hide-cell"]
# @title Solution
for layer in two.layers:
    kept = layer.out.weight.detach().clone()
    for head in range(2):
        with torch.no_grad():
            layer.out.weight[:, 32 * head : 32 * (head + 1)] = 0
        found = right_answers(two)[ago > 0].float().mean().item()
        print(
            f"layer {1 if layer is two.layers[0] else 2} without head {head + 1}: "
            f"recall {found:.2f}"
        )
        with torch.no_grad():
            layer.out.weight.copy_(kept)
assert right_answers(two)[ago > 0].float().mean().item() == recall

# %% [markdown]
# <details><summary>Answer</summary>
#
# It depends on how the heads have shared the work. Where a head of the first layer looks at the position before and the
# other does not, recall breaks down without the one and hardly suffers without the other. Where both heads of the
# second layer have become induction heads, one alone still answers a good part of the questions.
#
# </details>
#
# **5.** In words: why can the whole sequence be used in *one* pass of training, with a loss at every position, when
# generation needs one pass for each token?
#
# <details><summary>Answer</summary>
#
# In training all tokens are known, and the mask makes each position answer as if it were the last of the text. So one
# pass asks 63 questions at once. In generation the next token is needed before the one after it can be asked for. (What
# can be saved there is shown in [From probabilities to text](decoding.ipynb).)
#
# </details>
#
# **Graded assignment**: [the pieces of a language model](../exercises/language.ipynb).
#
# ## Further reading
#
# - D. Bahdanau, K. Cho and Y. Bengio, [Neural Machine Translation by Jointly Learning to Align and
#   Translate](https://arxiv.org/abs/1409.0473) (2014): attention as a remedy for the one state, in translation.
# - A. Vaswani et al., [Attention Is All You Need](https://arxiv.org/abs/1706.03762) (2017): the Transformer; the root
#   is in its section 3.2.1.
# - J. Su et al., [RoFormer: Enhanced Transformer with Rotary Position Embedding](https://arxiv.org/abs/2104.09864)
#   (2021).
# - N. Elhage et al., [A Mathematical Framework for Transformer
#   Circuits](https://transformer-circuits.pub/2021/framework/index.html) (2021): induction heads in models of attention
#   only; C. Olsson et al., [In-context Learning and Induction Heads](https://arxiv.org/abs/2209.11895) (2022): in large
#   ones.
# - T. Dao et al., [FlashAttention](https://arxiv.org/abs/2205.14135) (2022): attention without the table.
# - A. Haviv et al., [Transformer Language Models without Positional Encodings Still Learn Positional
#   Information](https://arxiv.org/abs/2203.16634) (2022).
#
# Next: [A GPT from the ground up](gpt.ipynb).
