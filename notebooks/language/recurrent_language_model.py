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
# # Predicting the next character
#
# **After this chapter you can**
#
# - write the probability of a text as a product, one factor per character, and turn it into bits and perplexity;
# - count n-grams, say why bare counts fail on new text, and smooth them so that they do not;
# - write the cell of a recurrent network and of an LSTM, and measure how fast each forgets;
# - train an LSTM on a long text by truncated backpropagation, with a state that is carried from chunk to chunk;
# - put five kinds of model on one ladder, in bits per character on held-out text.
#
# **You need**: probabilities, logarithms and gradient descent; PyTorch. [Words as vectors](word_vectors.ipynb) comes
# before, but nothing here depends on it. · [How long this chapter takes to run](../../book/results.md)

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
import itertools
import lzma
import math
import re
import textwrap
from collections import Counter, defaultdict
from pprint import pprint

import matplotlib.pyplot as plt
import torch
from torch import nn

from aigc_course import diagrams, plots, recurrent, results, training
from aigc_course.data import load_text


# %%
plots.use_style()
profile = training.resolve_profile(profile)
small, large = (1, 2, 3, 4), (1, 2, 3, 4, 5, 6, 8, 10, 12, 14)
orders, written = {"smoke": (small, 60), "cpu": (large, 600), "gpu": (large, 1000)}[
    profile
]
print(
    f"Profile {profile}: n-grams up to order {orders[-1]}, "
    f"samples of {written} characters."
)


# %% [markdown]
# ## A guessing game
#
# Cover a page, and uncover it character by character. Before each one, guess it. After `the interprete` you will not
# need many guesses, after `the ` you will need some. In 1951 Claude Shannon played this game with people to find out
# how much there is to know in a letter of English. In this chapter machines play it, ever better ones, and their score
# is kept in bits.
#
# Here is the game on a line from Python's own documentation, played by a model that we shall build in a few pages. It
# has read other sections, but not this one. Each bar says how surprised it was by the character below.

# %%
data = recurrent.StreamData("python_docs", batch_size=16, chunk=64)
tokenizer, (train, validation, test) = data.tokenizer, data.tokens.values()
V = tokenizer.vocab_size
text = {
    split: load_text("python_docs", split)
    for split in ("train", "validation", "test")
}
print(
    f"{len(train)} characters to learn from, "
    f"{len(validation)} to choose by, {len(test)} for the final test"
)
print(f"{V} different characters; the first of the test are {text['test'][:21]!r}")

# %% mystnb={"image": {"alt": "Bars over the characters of a line: mostly highest at the beginnings of words, falling inside them, almost nothing at the ends of the longer ones."}}
player = recurrent.NGram(V, min(6, orders[-1])).fit(train)
start = text["test"].index(". ", 3000) + 2
line = range(start, start + 36)
surprise = [
    -player.log_probabilities(test[i - 10 : i])[test[i]].item() / math.log(2)
    for i in line
]
plt.bar(range(36), surprise)
plt.xticks(
    range(36), [text["test"][i].replace("\n", "⏎") for i in line], fontsize=9
)
plt.grid(axis="x")
plt.ylabel("surprise (bits)")
plt.xlabel("the text, one bar per character")
plt.show()

# %% [markdown]
# The beginnings of words cost the most; once a longer word is well under way, the rest is nearly free. That is what "to
# know a language" means here, and it can be measured.
#
# ## The probability of a text
#
# Let $x_1, x_2, \dots, x_T$ be the characters of a text. Its probability can always be taken apart, with no assumption
# at all, into one factor for each character, *given everything before it*:
#
# $$p(x_1, \dots, x_T) = p(x_1)\, p(x_2 \mid x_1) \cdots p(x_T \mid x_1, \dots, x_{T-1})
# = \prod_{t=1}^{T} p(x_t \mid x_{<t}) .$$
#
# This is the **chain rule** of probability; $x_{<t}$ is short for $x_1, \dots, x_{t-1}$. A model that gives
# $p(x_t \mid x_{<t})$ is called **autoregressive**, or simply a *language model*. Each factor is a distribution over
# the next character alone, so it sums to 1 over the $V$ characters; then the product sums to 1 over all texts of length
# $T$. We check that on texts of three letters, with a table of conditionals drawn at random:

# %%
torch.manual_seed(0)
first = torch.rand(4).softmax(dim=0)  # p(x_1): an alphabet of four letters
# p(x_t | x_{t-1}): a row for each letter before
after = torch.randn(4, 4).softmax(dim=1)
texts = list(itertools.product(range(4), repeat=3))
total = sum(first[a] * after[a, b] * after[b, c] for a, b, c in texts)
print(f"the probabilities of all {len(texts)} texts sum to {total:.6f}")
assert torch.allclose(total, torch.tensor(1.0))

# %% [markdown]
# ### Nats, bits, and what they buy
#
# The score is the mean **surprise**, also called the cross-entropy between text and model:
#
# $$H = -\frac1T \sum_{t=1}^{T} \log_2 p(x_t \mid x_{<t}) \quad\text{bits per character.}$$
#
# Networks compute it with the natural logarithm, in *nats*; divide by $\log 2 \approx 0.693$ for bits. The word is
# meant literally. A file can be packed by any model into $H \cdot T$ bits, and at most two more for the whole file: the
# method is called arithmetic coding, and a character of probability $\frac18$ takes up just 3 bits. The [VAE
# chapter](../vae/variational_autoencoder.ipynb) read its KL term as the length of a code in the same way. So
# *predicting well and compressing well are one and the same thing*.
#
# Some prefer the **perplexity** $2^H$: the number of equally likely choices that would surprise as much. A model that
# knows nothing has $V$ choices, and $H = \log_2 V$.


# %%
def bits(nats):
    return nats / math.log(2)


ladder = {"uniform": math.log2(V)}
print(
    f"uniform: {ladder['uniform']:.2f} bits, "
    f"perplexity {2 ** ladder['uniform']:.1f}"
)
packed = [
    len(lzma.compress(part.encode()))
    for part in (text["train"] + text["test"], text["train"])
]
lzma_bits = 8 * (packed[0] - packed[1]) / len(test)
print(f"a good packing program (lzma): {lzma_bits:.2f} bits per character")

# %% [markdown]
# The last line is a yardstick from outside: how many bits of the packed file the test text adds when the training text
# has been packed before it. That program knows nothing of language, it only looks for stretches that occur again.
#
# ## Counting
#
# The past $x_{<t}$ is hardly ever the same twice, so its effect cannot be counted. The oldest way out is to forget most
# of it: an **n-gram** model of order $n$ looks at the last $n - 1$ characters only. With $c(h, w)$ for the number of
# times that the character $w$ followed the context $h$,
#
# $$p(w \mid h) = \frac{c(h, w)}{\sum_v c(h, v)} .$$
#
# Order 1, the *unigram*, has no context at all and knows how common each character is. Order 2, the *bigram*, looks at
# one character.
#
# > **Predict, then run.** We raise the order step by step. What happens to the bits per character on the
# > training text, and on held-out text? (a) Both fall, the second more slowly. (b) The first falls, the second falls
# > and then rises a little. (c) The first falls, the second is infinite almost from the start.

# %%
bare = [recurrent.NGram(V, order, discount=0.0).fit(train) for order in orders]
for order, model in zip(orders, bare, strict=True):
    seen, new = (
        bits(model.nats_per_token(train[:20_000])),
        bits(model.nats_per_token(validation)),
    )
    print(
        f"order {order}: "
        f"{seen:.2f} bits on a part of the training text, {new:.2f} on new text"
    )

# %% [markdown]
# It is (c). On the training text the bits go down order by order: a long context has often been seen only once there,
# and the model knows the answer by heart. On new text, sooner or later, there is a character that never followed its
# context in the training text. It was given the probability 0, its surprise is $-\log_2 0 = \infty$, and one such
# character makes the mean infinite. How many n-grams of the validation text do not occur in the training text?

# %%
for order in orders:
    known = {text["train"][i : i + order] for i in range(len(train) - order + 1)}
    met = [
        text["validation"][i : i + order]
        for i in range(len(validation) - order + 1)
    ]
    print(
        f"order {order}: "
        f"{100 * sum(gram not in known for gram in met) / len(met):5.2f} "
        "% of the n-grams are new"
    )
    share = sum(gram not in known for gram in met) / len(met)
    assert order != 10 or 0.4 < share < 0.6

# %% [markdown]
# A model that calls something impossible and sees it happen has not made a small error. What was *not* seen must get a
# share of the probability, and the art of giving it is called **smoothing**.
#
# ### Smoothing
#
# Three ideas lead to interpolated Kneser–Ney smoothing, a close relative of the method that won the field's long
# contest (Chen and Goodman, 1999; the winner, *modified* Kneser–Ney, has three discounts for each order, for counts of
# 1, of 2, and of 3 and more, where we have one).
#
# 1. *Take a little from every count.* Subtract a **discount** $D$, a number between 0 and 1, from each count that is
#    not zero. A count of 1 loses a large part, a count of 100 hardly anything.
# 2. *Give it to the shorter context.* The share that was taken is spread by the model of one order less, which has seen
#    more of each context. That model does the same in its turn, down to the uniform distribution.
# 3. *Ask the shorter context the right question.* In English, `Francisco` is frequent, but only after `San`. A lower
#    order is asked when the higher one knows little; so it should not count how often $w$ occurred, but after *how many
#    different* characters. This is Kneser and Ney's idea (1995).
#
# With $c_k$ for the count at order $k$ (numbers of different predecessors, except at the highest order), $D_k$ for the
# discount there, $N(h)$ for the number of different characters seen after $h$, and $h'$ for $h$ without its first
# character:
#
# $$
# p_k(w \mid h) = \frac{\max(c_k(h, w) - D_k, 0)}{\sum_v c_k(h, v)}
#   + \frac{D_k\, N(h)}{\sum_v c_k(h, v)}\; p_{k-1}(w \mid h'),
# \qquad p_0(w) = \frac1V .
# $$
#
# The sum over $w$ is 1 again: what the first term lost, $D_k$ for each of the $N(h)$ characters, is just what the
# second hands out. The discount itself is estimated from the number of n-grams seen once, $n_1$, and twice, $n_2$.
# The usual estimate is $D = n_1 / (n_1 + 2 n_2)$ (Ney, Essen and Kneser, 1994); we take
# $D = (n_1 + 1) / (n_1 + 2 n_2 + 2)$, which lies between 0 and 1 for the shortest text, too.
#
# ### From scratch


# %%
def count(text, order):  # tables[k - 1][context][character] is c_k
    raw = [defaultdict(Counter) for _ in range(order)]
    for k in range(1, order + 1):
        for i in range(len(text) - k + 1):
            raw[k - 1][text[i : i + k - 1]][text[i + k - 1]] += 1
    tables = [defaultdict(Counter) for _ in range(order - 1)] + [raw[-1]]
    for k in range(1, order):  # one for each different character in front
        for context, followers in raw[k].items():
            for w in followers:
                tables[k - 1][context[1:]][w] += 1
    return tables


# %%
def discount(table):
    counts = [c for followers in table.values() for c in followers.values()]
    return (counts.count(1) + 1) / (counts.count(1) + 2 * counts.count(2) + 2)


def probability(w, context, tables, discounts):
    p = 1 / V
    for k, (table, D) in enumerate(zip(tables, discounts, strict=True), start=1):
        followers = table.get(context[len(context) - k + 1 :])
        if followers:  # a new context leaves it to the shorter one
            p = (max(followers[w] - D, 0) + D * len(followers) * p) / sum(
                followers.values()
            )
    return p


# %%
tables = count(text["train"][:20_000], 4)
discounts = [discount(table) for table in tables]
ours = [probability(w, "the ", tables, discounts) for w in tokenizer.characters]
print(f"after 'the ' the probabilities sum to {sum(ours):.6f};")
print("the likeliest characters are", end=" ")
print(
    sorted(
        tokenizer.characters, key=lambda w: -ours[tokenizer.characters.index(w)]
    )[:5]
)


# %%
package = recurrent.NGram(V, 4).fit(train[:20_000])
theirs = package.log_probabilities(tokenizer.encode("the ")).exp()
assert torch.allclose(torch.tensor(ours), theirs, atol=1e-6)
assert torch.allclose(torch.tensor(discounts), torch.tensor(package.discounts))


# %% [markdown]
# The last lines asked the package for the same: `recurrent.NGram` sorts numbers where we looked into dictionaries,
# which is a good deal faster, and has the same formula. Now the orders again, smoothed:

# %%
smooth = [recurrent.NGram(V, order).fit(train) for order in orders]
learnt = [bits(model.nats_per_token(train[:20_000])) for model in smooth]
held_out = [bits(model.nats_per_token(validation)) for model in smooth]
for order, model in zip(orders, smooth, strict=True):
    name = {1: "unigram", 2: "bigram"}.get(order, f"{order}-gram")
    ladder[name] = bits(model.nats_per_token(test))
    print(
        f"{name}: {ladder[name]:.3f} bits per character on the test text, "
        f"perplexity {2 ** ladder[name]:.1f}"
    )
best_order = orders[held_out.index(min(held_out))]
best_n_gram = f"{best_order}-gram"
print(f"best on the validation text: order {best_order}")


# %%
if profile != "smoke":
    assert abs(held_out[-1] - held_out[-2]) < 0.01, "nothing more to gain"
    assert held_out[0] > held_out[3] + 2 > held_out[-1] + 2.2
    assert learnt[-1] < held_out[-1] / 2, "overfitting"
    assert ladder[best_n_gram] < lzma_bits

# %% mystnb={"image": {"alt": "Bits per character against the order: the training text's curve falls towards zero, the validation text's falls steeply at first and then flattens far above it."}}
plt.plot(orders, learnt, "o-", label="training text")
plt.plot(orders, held_out, "s--", color=plots.COLOURS[3], label="validation text")
plt.xlabel("order of the n-gram")
plt.xticks(orders)
plt.ylabel("bits per character")
plt.ylim(0)
plt.legend()
plt.show()

# %% [markdown]
# With smoothing no order is infinite, and on new text longer contexts go on helping, less and less, until beyond order
# ten the validation text gains hardly anything more. The widening gap is **overfitting**: the model knows the training
# text by heart. (At low orders, where nothing can be learnt by heart, the curves may even cross: the two texts are
# different ones, and one is a little easier.) On the test text, too, the higher orders do better than the packing
# program. A longer context costs a model nothing, since a context that is new hands over to a shorter one. But it
# hardly gains anything either: about half of the stretches of ten characters are new.
#
# ## Shannon's approximations
#
# A model that gives the probability of the next character can also *write*: draw a character, append it, go on. Shannon
# did that in 1948. For single letters he used a table of their frequencies and a book of random numbers. From pairs of
# letters on he opened an ordinary book at random, read until he met the last letters written, and copied the one that
# followed. He called the results approximations to English. We draw the same series from our counts:

# %%
torch.manual_seed(0)
zero = tokenizer.decode(torch.randint(V, (70,)))
print("uniform:", textwrap.fill(repr(zero), 80), sep="\n")
for order, model in zip(orders, bare, strict=True):
    written_by = tokenizer.decode(model.sample(70, tokenizer.encode("\n"))[1:])
    print(f"order {order}:", textwrap.fill(repr(written_by), 80), sep="\n")

# %% [markdown]
# Order 1 has about the right letters, order 2 makes pairs that can be pronounced, order 3 words that could exist, and
# from order 5 or so on there are real words and bits of syntax. (We drew from the bare counts: a sample has no need of
# what was never seen.) The highest orders copy whole phrases. What none of them can do is remember: a bracket opened
# twenty characters ago is out of their sight.
#
# ## A state that is carried along
#
# Counting forgets everything but the last few characters because it needs a table for each past. A **recurrent
# network** instead keeps a vector $h_t$, its *state*, and updates it with each character. Let $x_t$ be the character as
# a vector; then, with parameters $W$, $U$, $b$, $A$ and $a$ that are the same at each step,
#
# $$h_t = \tanh(W x_t + U h_{t-1} + b), \qquad p(x_{t+1} \mid x_{\le t}) = \mathrm{softmax}(A h_t + a) .$$
#
# The state depends on *all* characters so far, and its size on none of them. What it should keep is not prescribed:
# gradient descent is to find out. In the diagram the same three matrices are drawn once for each step; $b$, $a$ and the
# $\tanh$ are left out.

# %% tags=["hide-input"]
steps, rows = range(1, 4), {"p": 0, "A": 1.1, "h": 2.2, "W": 3.3, "x": 4.4}
nodes = {f"{name}{t}": (2 * t, row) for t in steps for name, row in rows.items()}
nodes |= {f"U{t}": (2 * t - 1, 2.2) for t in steps} | {"h0": (0, 2.2)}
labels = {f"{name}{t}": name for name in "WUA" for t in steps}
for letter, shift in (("x", 0), ("h", 0), ("p", 1)):
    labels |= {f"{letter}{t}": letter + "₀₁₂₃₄"[t + shift] for t in range(4)}
labels = {name: label for name, label in labels.items() if name in nodes}

# %% tags=["hide-input"]
diagrams.draw(
    "Three steps, side by side. At each the character x goes through W into the "
    "state h, and h through A into the prediction p. From each state, h0 first, "
    "an arrow leads through U to the next state.",
    nodes,
    [tuple(f"{name}{t}" for name in "xWhAp") for t in steps]
    + [(f"h{t - 1}", f"U{t}", f"h{t}") for t in steps],
    observed=[f"x{t}" for t in steps],
    bare=["h0", *(f"p{t}" for t in steps)],
    labels=labels,
)

# %% [markdown]
# ### The trouble with long memories
#
# To learn that a bracket matters forty characters later, the loss there has to be traced back to the bracket. By the
# chain rule of calculus that is a product of forty matrices, one for each step (the last step stands leftmost, and
# $1 - h_s^2$ is the derivative of $\tanh$):
#
# $$\frac{\partial h_t}{\partial h_0} = \prod_{s=1}^{t} \operatorname{diag}(1 - h_s^2)\, U .$$
#
# If the matrices shrink a vector, the product vanishes exponentially; if they stretch it, it explodes. Hochreiter and
# Schmidhuber (1997) built a cell whose main path is not a matrix but a *sum*. The **LSTM** has a second vector, the
# cell state $c_t$:
#
# $$
# c_t = f_t \odot c_{t-1} + i_t \odot g_t, \qquad h_t = o_t \odot \tanh(c_t),
# $$
#
# where $\odot$ is the elementwise product, $g_t$ is what a plain network would have written, and the *gates* $i_t$
# (write?), $f_t$ (keep?), $o_t$ (show?) are numbers between 0 and 1, computed from $x_t$ and $h_{t-1}$ by a sigmoid
# each. (The gate $f_t$ was added in 2000, by Gers, Schmidhuber and Cummins.) With $f_t$ at 1 and $i_t$ at 0, the cell
# keeps its value for ever, and the derivative along that path is exactly 1.

# %% tags=["hide-input"]
nodes = {
    **{"cₜ₋₁": (0, 0), "⊙f": (1.1, 0), "+": (2.6, 0), "cₜ": (3.7, 0)},
    **{"tanh": (4.8, 0), "⊙o": (5.9, 0), "hₜ": (7, 0), "⊙g": (2.6, 1.05)},
    **{"f": (1.1, 2.1), "i": (2.1, 2.1), "g": (3.1, 2.1), "o": (5, 2.1)},
    **{"xₜ": (2.6, 3.3), "hₜ₋₁": (3.7, 3.3)},
}
arrows = [
    *[("cₜ₋₁", "⊙f", "+", "cₜ", "tanh", "⊙o", "hₜ"), ("f", "⊙f")],
    *[("o", "⊙o"), ("i", "⊙g", "+"), ("g", "⊙g")],
    *[(start, end) for start in ("xₜ", "hₜ₋₁") for end in "figo"],
]

# %% tags=["hide-input"]
diagrams.draw(
    "The character x and the state h of the step before go into f, i, g and o. "
    "The old cell state c is multiplied by f; the product of i and g is added; the "
    "sum is the new c. The product of its tanh and o is the new state h.",
    nodes,
    arrows,
    observed=["xₜ"],
    bare=["cₜ₋₁", "cₜ", "hₜ", "hₜ₋₁"],
    labels={"⊙f": "⊙", "⊙g": "⊙", "⊙o": "⊙"},
)


# %%
def rnn_cell(x, h, W, U, b):
    return torch.tanh(x @ W.T + h @ U.T + b)


# W has the rows of i, f, g and o one below the other
def lstm_cell(x, h, c, W, U, b):
    i, f, g, o = (x @ W.T + h @ U.T + b).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


# %%
torch.manual_seed(0)
lstm = nn.LSTM(5, 8, batch_first=True)
W, U, b = lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0 + lstm.bias_hh_l0
x, h, c = torch.randn(3, 20, 5), torch.zeros(3, 8), torch.zeros(3, 8)
outputs = []
for t in range(20):
    h, c = lstm_cell(x[:, t], h, c, W, U, b)
    outputs.append(h)
theirs, (h_n, c_n) = lstm(x)
print(f"three texts of 20 steps; the outputs have the shape {tuple(theirs.shape)}")
assert torch.allclose(torch.stack(outputs, dim=1), theirs, atol=1e-6)
assert torch.allclose(c, c_n[0], atol=1e-6)

# %% [markdown]
# Our four lines and PyTorch's `nn.LSTM` agree, given the same parameters. Now the memory. We let untrained cells of 32
# numbers read 60 random inputs, compute the matrix of all derivatives $\partial h_t / \partial h_0$ (for the LSTM with
# respect to $h_0$ and $c_0$), and draw its size. The weights are drawn as PyTorch does; then the RNN's $U$ is
# multiplied by 3 and by 8, and once we add 3 to the bias of the LSTM's gate $f$, so that it begins by keeping nearly
# all.


# %%
def untrained(kind, stretch=1.0, keep=0.0, width=32):
    torch.manual_seed(0)
    cell = (nn.RNNCell if kind == "RNN" else nn.LSTMCell)(width, width)
    parts = cell.weight_ih, stretch * cell.weight_hh, cell.bias_ih + cell.bias_hh
    W, U, b = (part.detach() for part in parts)
    b[width : 2 * width] += keep  # the rows of f; an RNN has none

    def step(state, x):  # the LSTM's state is h and c in one vector
        if kind == "RNN":
            return rnn_cell(x, state, W, U, b)
        return torch.cat(lstm_cell(x, *state.chunk(2), W, U, b))

    return step, torch.zeros(width if kind == "RNN" else 2 * width)


# %%
def influence(step, state, width=32, steps=60):
    product, sizes = torch.eye(len(state)), []
    for x in torch.randn(steps, width):
        product = torch.autograd.functional.jacobian(step, (state, x))[0] @ product
        state = step(state, x)
        sizes.append(product[:width].norm().item())
    return torch.tensor(sizes)


# %%
cells = {
    "RNN": ("RNN",),
    "RNN, U three times": ("RNN", 3.0),
    "RNN, U eight times": ("RNN", 8.0),
    "LSTM": ("LSTM",),
    "LSTM, f open": ("LSTM", 1.0, 3.0),
}


# %% mystnb={"image": {"alt": "Five curves on a logarithmic axis: the plain RNN and the plain LSTM fall along straight lines to tiny values; the RNN with U eight times as large climbs to enormous ones; between them the RNN with U three times as large and the LSTM with open gates stay nearly level."}}
styles, reached = ("-", "--", "-", "-.", ":"), {}
for (name, options), style in zip(cells.items(), styles, strict=True):
    reach = influence(*untrained(*options))
    plt.semilogy(range(1, 61), reach.clamp(min=1e-30), style, label=name)
    reached[name] = reach[-1].item()
    print(f"{name}: after 60 steps {reached[name]:.1e}")
plt.xlabel("steps t")
plt.ylabel("size of the derivatives of $h_t$")
plt.legend(loc="lower left")
plt.show()
assert reached["RNN"] < 1e-12 < 1e6 < reached["RNN, U eight times"]
assert 0.1 < reached["RNN, U three times"] < 1000
assert reached["LSTM"] < 1e-3 < 0.01 < reached["LSTM, f open"]


# %% [markdown]
# A straight line on this axis is an exponential. The plain RNN forgets by a constant factor per step, and after 60
# steps there is nothing left to learn from. With $U$ eight times as large the derivatives explode, which is the other
# trouble; a later section shows what it does. In between, with $U$ three times as large, they do neither by much: the
# slopes $1 - h_s^2$ of the $\tanh$ shrink about as much as $U$ stretches (the cell below measures both). But such a
# balance has to be hit, and training changes $U$.

# %%
step, h = untrained("RNN", 3.0)
torch.manual_seed(0)
cell = nn.RNNCell(32, 32)
stretch = torch.linalg.svdvals(3 * cell.weight_hh.detach()).square().mean().sqrt()
slopes = []
for x in torch.randn(60, 32):
    h = step(h, x)
    slopes.append((1 - h**2).square().mean())
shrink = torch.stack(slopes).mean().sqrt()
print(f"root mean squares: U stretches by {stretch:.2f},", end=" ")
print(f"the slopes shrink by {shrink:.2f}")
assert 0.8 < stretch * shrink < 1.3

# %% [markdown]
# The surprise is the LSTM: untrained, its gates are half open, $f \approx \frac12$, and it forgets exponentially too,
# if less fast. The cell alone does not solve the problem; it makes the solution *learnable*. A larger bias
# of one gate is enough to keep the memory alive for all 60 steps, and a bias is a parameter that training can change.
#
# ## Backpropagation in pieces
#
# A text of several hundred thousand characters cannot be one long chain of derivatives: the memory would not hold it.
# So it is cut in **chunks**, here of 64 characters. The trick is what happens at the border. The *state* goes across,
# as plain numbers; the *gradient* does not. This is **truncated backpropagation through time**.

# %%
style = {"arrowstyle": "-|>", "mutation_scale": 10, "linewidth": 1.5}
style["connectionstyle"] = "arc3,rad=-0.5"
forth = style | {"color": plots.COLOURS[0]}
back = style | {"color": plots.COLOURS[3], "linestyle": "--"}


# %% mystnb={"image": {"alt": "A row of dots in three groups. Arrows to the right join all neighbours, also across the dashed borders between groups; arrows to the left join neighbours within a group only."}}
figure, ax = plt.subplots(figsize=(6, 2.2))
for t in range(12):
    ax.plot(t, 0, "o", color="black", markersize=7)
    if t < 11:
        ax.annotate("", (t + 1, 0.08), (t, 0.08), arrowprops=forth)
    if t % 4:
        ax.annotate("", (t - 1, -0.08), (t, -0.08), arrowprops=back)
ax.vlines([3.5, 7.5], -0.7, 0.7, color="grey", linestyle=":")
ax.set(xlim=(-0.5, 11.5), xticks=range(12), xlabel="character t")
ax.set(ylim=(-0.8, 0.8), yticks=[])
ax.grid(False)
ax.spines["left"].set_visible(False)
plt.show()


# %% [markdown]
# Each dot is a state. Above, solid: the states are computed from left to right, across the dotted borders. Below,
# dashed: the path of the gradients, which ends at a border. In PyTorch the border is one word, `detach`. The loss is
# the same as that of the whole text; only its gradient is cut short. Both can be checked, with a small model of the
# package:

# %%
torch.manual_seed(0)
small = recurrent.RecurrentLanguageModel(V, width=16).eval()
tokens = test[None, :13]
vectors = small.embedding(tokens).detach().requires_grad_()
first, (h, c) = small.lstm(vectors[:, :8])
second, _ = small.lstm(vectors[:, 8:], (h.detach(), c.detach()))
whole, _ = small.lstm(vectors)
assert torch.allclose(torch.cat([first, second], dim=1), whole, atol=1e-6)


# %%
for name, outputs in (("cut", second), ("whole", whole)):
    (gradient,) = torch.autograd.grad(outputs[:, -1].sum(), vectors)
    print(
        f"{name}:",
        " ".join(
            f"{size:.0e}" if size else "0"
            for size in gradient[0, :, 0].abs().tolist()
        ),
    )


# %% [markdown]
# The outputs are the same; the derivatives of the last one reach back to the border in one case and to the first
# character in the other (small as they are there).
#
# For this to work, chunks must come in order, and a batch must not shuffle them. `StreamData` cuts the training text in
# 16 long streams and reads them side by side, 64 characters at a time; row 5 of a batch goes on where row 5 of the last
# batch stopped:

# %%
batches = iter(data.train_dataloader())
for _ in range(2):
    x, y = next(batches)
    print(tuple(x.shape), repr(tokenizer.decode(x[5])))
print("targets:", repr(tokenizer.decode(y[5])))

# %% [markdown]
# ## With the package
#
# `recurrent.RecurrentLanguageModel` is an embedding (a vector for each character), `nn.LSTM`, and a linear layer that
# gives the logits. Given its parameters, our own cell must give the same logits:

# %%
model = recurrent.RecurrentLanguageModel(V, width=24).eval()
W, U, b = (
    model.lstm.weight_ih_l0,
    model.lstm.weight_hh_l0,
    model.lstm.bias_ih_l0 + model.lstm.bias_hh_l0,
)


# %%
h, c, logits = torch.zeros(1, 24), torch.zeros(1, 24), []
for token in test[:50]:
    h, c = lstm_cell(model.embedding.weight[token], h, c, W, U, b)
    logits.append(h @ model.head.weight.T + model.head.bias)
assert torch.allclose(
    torch.stack(logits, dim=1), model(test[None, :50])[0], atol=1e-6
)
print(
    f"untrained: {bits(model.nats_per_token(test[:2000])):.2f} bits per character; "
    f"log2 V is {math.log2(V):.2f}"
)


# %% [markdown]
# Now in earnest. The recipe needs a few explanations. *Dropout* sets a random share of the activations to zero during
# training, against overfitting: the network is large for a text that fits on a floppy disk. The learning rate falls
# along half a cosine, and gradients longer than 1 are *clipped* to that length; we shall see why.

# %%
recipe = recurrent.recipe(profile)
for part in ("data", "model", "fit"):
    pprint(recipe[part], sort_dicts=False)
model, history = recurrent.train(profile)
in_bits = {
    name: [bits(value) for value in values] for name, values in history.items()
}
print(f"{sum(part.numel() for part in model.parameters())} parameters")
print(
    "validation, bits per character: "
    f"{in_bits['val_loss'][0]:.2f} after one epoch,",
    end=" ",
)
print(f"{in_bits['val_loss'][-1]:.2f} at the end")

# %%
if profile != "smoke":
    assert in_bits["val_loss"][0] < in_bits["train_loss"][0]
    assert abs(in_bits["val_loss"][-1] - in_bits["train_loss"][-1]) < 0.2

# %% mystnb={"image": {"alt": "Both losses fall, steeply at first, and flatten; the validation loss begins below the training loss and ends close to it."}}
plots.curves(in_bits, ["train_loss", "val_loss"], ylabel="bits per character")
plt.show()

# %% [markdown]
# It may look odd that the validation loss lies *below* the training loss at first. The training loss is measured with
# dropout, and it is a mean over an epoch in which the model was still learning. Besides, the two texts are different
# sections, and some are harder than others. For the same reason the test's figures are to be compared with each other,
# not with the validation's.
#
# ## The ladder

# %%
ladder["LSTM"] = bits(model.nats_per_token(test))
for name, value in ladder.items():
    print(f"{name:9s} {value:.3f} bits per character   perplexity {2**value:5.1f}")

# %% mystnb={"image": {"alt": "Horizontal bars, the longest for the uniform model, shorter for the unigram, bigram and n-grams, the shortest ones for high orders and the LSTM."}}
names = list(ladder)
colours = [
    plots.COLOURS[3] if name == "LSTM" else plots.COLOURS[0] for name in names
]
plt.barh(names, list(ladder.values()), color=colours)
plt.gca().invert_yaxis()
plt.grid(axis="y")
plt.xlabel("bits per character, test text")
plt.show()

# %% [markdown]
# Each rung is another idea: frequencies, context, smoothing, a state that learns what to keep. The n-gram of high order
# is a strong baseline; a likely reason is that it stores nearly the whole training text, and technical documentation
# repeats itself. (This is one run of the LSTM; how much its lead varies with the seed, it does not say.) [The GPT
# chapter](gpt.ipynb) goes on with this ladder, on the same text.
#
# ## Let it write
#
# To draw from the model we divide the logits by a **temperature** $\tau$ before the softmax. Below 1 the likely becomes
# more likely, above 1 the distribution is flattened.


# %%
def wrapped(text):  # lines longer than the page are broken
    return "\n".join(textwrap.fill(line, 80) for line in text.splitlines())


prompt = tokenizer.encode("The ")[None]
for temperature in (0.3, 0.7, 1.0, 1.5):
    torch.manual_seed(0)
    sample = model.generate(prompt, min(written, 240), temperature=temperature)[0]
    print(f"--- temperature {temperature}\n{wrapped(tokenizer.decode(sample))}\n")


# %%
def words(text):
    return re.findall(r"[a-z]+", text.lower())


vocabulary, real_words = set(words(text["train"])), {}


# %%
for temperature in (0.3, 0.7, 1.0, 1.5):
    torch.manual_seed(0)
    rows = model.generate(prompt.expand(8, -1), 240, temperature=temperature)
    found = [
        word in vocabulary for row in rows for word in words(tokenizer.decode(row))
    ]
    real_words[temperature] = sum(found) / len(found)
found = [word in vocabulary for word in words(text["test"])]
real_words["the test text"] = sum(found) / len(found)
print("share of words that occur in the training text:")
print(", ".join(f"{setting}: {share:.0%}" for setting, share in real_words.items()))
if profile != "smoke":
    assert min(real_words[0.3], real_words[0.7]) > 0.85
    assert real_words[1.0] > 0.7 > real_words[1.5]

# %% [markdown]
# Up to a temperature of 1 most words are real ones, by the count below the samples, and often a phrase is right, and so
# is the look of the documentation, its line ends, lists and names in quotes. There is no plan behind it: sentences lose
# their thread. Cold samples are safe and dull, hot ones fall apart into invented words. The chapter [From probabilities
# to text](decoding.ipynb) is about choosing well.
#
# ## What does one number in the state keep?
#
# The network was not told about lines, brackets or quotes. Does a single number of its state follow one of them? We
# write down four features of the text as numbers, and correlate each with each number of $h_t$, on the validation text.
# The one with the largest correlation is then looked at on the *test* text, since the largest of a thousand
# correlations would be large by chance, too.


# %%
def features(text):
    column, depth, quoted, indent, rows = 0, 0, 0, 0, []
    for i, w in enumerate(text):
        column = 0 if w == "\n" else column + 1
        depth = max(0, depth + (w in "([{") - (w in ")]}"))
        quoted = 0 if text[i : i + 2] == "\n\n" else quoted ^ (w == '"')
        if w == "\n":
            rest = text[i + 1 : i + 80].split("\n")[0]
            indent = len(rest) - len(rest.lstrip())
        rows.append((column, min(depth, 1), quoted, indent))
    return torch.tensor(rows).float()


# %%
@torch.no_grad()
def correlations(tokens, text):  # (features, units)
    state = model.lstm(model.embedding(tokens[None]))[0][0]
    z = [
        (values - values.mean(dim=0)) / (values.std(dim=0) + 1e-6)
        for values in (features(text), state)
    ]
    return z[0].T @ z[1] / len(tokens), state


# %%
by_choice, _ = correlations(validation, text["validation"])
by_test, states = correlations(test, text["test"])
kinds = ("position in line", "inside brackets", "inside quotes", "indentation")
units = by_choice.abs().argmax(dim=1)
for kind, number in enumerate(units.tolist()):
    chosen, found = by_choice[kind, number], by_test[kind, number]
    print(
        f"{kinds[kind]:17s} unit {number:3d}: "
        f"correlation {chosen:+.2f} on validation, {found:+.2f} on test"
    )
best = by_choice.abs().amax(dim=1).argmax().item()


# %%
follows = (by_choice.abs().amax(dim=0) > 0.2).double().mean()
print(f"above 0.2 with one of the four: {follows:.0%} of the numbers")
if profile != "smoke":
    assert by_test[best, units[best]].abs() > 0.3
    assert follows < 0.5

# %% mystnb={"image": {"alt": "Two curves over a stretch of test text: the feature, and one number of the state that roughly follows it."}}
unit, window = units[best].item(), slice(2000, 2300)
value = states[window, unit] * by_choice[best, unit].sign()
truth = features(text["test"])[window, best]
figure, (top, bottom) = plt.subplots(2, 1, figsize=(6, 3.6), sharex=True)
top.plot(truth, color=plots.COLOURS[0])
top.set_ylabel(kinds[best], fontsize=9)
bottom.plot(value, color=plots.COLOURS[3])
bottom.set_ylabel("one number of h")
bottom.set_xlabel("characters of the test text")
plt.show()

# %% [markdown]
# Above is the feature, below the number of the state that follows it best. It tends to go up where the feature does,
# but it also moves where the feature does not: the two are related, not equal. A correlation that holds on the test
# text is a finding: this number does follow the feature. Where the second column is much smaller, chance probably had a
# part in the choice. And a correlation is not a purpose. To say that the network *uses* the number one would have to
# change it and see the prediction change. Most numbers of the state follow none of the four features, as the last
# printed line says.
#
# ## Reset or carried?
#
# What is the carried state worth? We cut the test text into stretches of 128 characters and let the model read each
# from a state of zeros. Its surprise at the first characters is that of a model without memory; then it falls.

# %%
stretches = test[: len(test) // 129 * 129].view(-1, 129)
with torch.no_grad():
    logits, _ = model(stretches[:, :-1])
losses = nn.functional.cross_entropy(
    logits.transpose(1, 2), stretches[:, 1:], reduction="none"
).mean(dim=0)
# four positions together, for a calmer curve
by_position = bits(losses).view(32, 4).mean(dim=1)


# %% mystnb={"image": {"alt": "The curve begins high, falls steeply within some ten characters, and approaches the dashed line of the carried state."}}
plt.plot(torch.arange(32) * 4 + 2.5, by_position, label="state reset")
plt.axhline(ladder["LSTM"], color="black", linestyle="--", label="state carried")
plt.xlabel("characters read since the reset")
plt.ylabel("bits per character")
plt.legend()
plt.show()
print(
    f"characters 2 to 5: {by_position[0]:.2f} bits; 65 to 128: "
    f"{by_position[16:].mean():.2f}; carried: {ladder['LSTM']:.2f}"
)
if profile != "smoke":
    gain = by_position[0] - ladder["LSTM"]
    assert by_position[0] - by_position[2] > 0.7 * gain > 0.7
    assert abs(by_position[16:].mean() - ladder["LSTM"]) < 0.1


# %% [markdown]
# Most is gained within one word, and within a line the curve has come to the dashed one, up to the noise of a small
# text: what the model knows from farther back is worth little on average. Chunks that are read from zero pay for the
# first word again and again, in training too. We train two small models that differ in one line, with chunks of 8
# characters, where it matters. Each is evaluated in both ways: with the state carried through the test text, and with a
# reset after every 8 characters.


# %%
class Forgetful(recurrent.RecurrentLanguageModel):
    def training_step(self, batch, batch_idx):
        self.state = None  # every chunk is the beginning of a text
        return super().training_step(batch, batch_idx)


# %%
short = recurrent.StreamData("python_docs", batch_size=64, chunk=8)
kinds = {"carried": recurrent.RecurrentLanguageModel, "reset": Forgetful}
limit = {"max_epochs": 1, "limit_val_batches": 1, "gradient_clip_val": 1.0}
limit["limit_train_batches"] = {"smoke": 20}.get(profile, 1.0)
count = (len(test) - 1) // 8 * 8
read, after = test[:count].view(-1, 8), test[1 : count + 1].view(-1, 8)


@torch.no_grad()
def bits_from_nothing(model):  # every 8 characters are the beginning of a text
    logits, _ = model(read)
    return bits(nn.functional.cross_entropy(logits.mT, after).item())


# %%
found = {}
for name, kind in kinds.items():
    torch.manual_seed(0)
    other = kind(V, width=96)
    training.fit(other, short, **limit)
    found[name] = bits(other.nats_per_token(test)), bits_from_nothing(other)
    print(f"trained with the state {name}, bits per character:", end=" ")
    print(f"carried {found[name][0]:.2f}, reset {found[name][1]:.2f}")
if profile != "smoke":
    assert found["carried"][0] < found["reset"][0] - 0.02
    assert found["carried"][0] < found["reset"][1] - 0.1


# %% [markdown]
# Compare the two models with the state carried, and then each in the way in which it was trained. In this one run of
# each, the model that was trained with its state wins both comparisons. With resets, the other model is
# ahead. What a carried state holds can be used, although no gradient reaches back to the step that stored it. (Whether
# it holds anything from more than eight characters back, these figures do not show.)
#
# ## When it fails
#
# **Exploding gradients.** Here is the smallest recurrent network there is: one number, $h_t = \tanh(2 h_{t-1} + b)$,
# from $h_0 = 0.2$, for 15 steps. It has two stable fixed points, near $+1$ and $-1$, and $b$ decides in which it ends.
# The loss is $(h_{15} - \frac12)^2$.

# %%
b = torch.linspace(-0.3, -0.1, 2001, requires_grad=True)
h = torch.full_like(b, 0.2)
for _ in range(15):
    h = torch.tanh(2 * h + b)
loss = (h - 0.5).square()
(slope,) = torch.autograd.grad(loss.sum(), b)


# %% mystnb={"image": {"alt": "Above, the loss is a high plain that drops at a cliff to a low one. Below, on a logarithmic axis, the gradient is small on both sides and has a sharp, very high peak at the cliff."}}
figure, (top, bottom) = plt.subplots(2, 1, figsize=(6, 3.8), sharex=True)
top.plot(b.detach(), loss.detach())
top.set_ylabel("loss")
bottom.semilogy(b.detach(), slope.abs())
bottom.set_ylabel("size of the gradient")
bottom.set(xlabel="b", xticks=[-0.3, -0.25, -0.2, -0.15, -0.1])
plt.show()
print(
    f"median gradient {slope.abs().median():.2g}, largest {slope.abs().max():.2g}"
)
assert slope.abs().max() > 1e4 * slope.abs().median()


# %% [markdown]
# On the plains the gradient is small, and one would choose a large step. At the cliff it is more than ten thousand
# times larger, since 15 factors near 2 are multiplied, $2^{15} \approx 33{,}000$. One step there throws $b$ out of the
# picture, and what was learnt is lost. Clipping keeps the direction and limits the length:
# $g \leftarrow g \cdot \min(1, 1 / \lVert g \rVert)$. (Pascanu, Mikolov and Bengio, 2013.) The same on our text: a
# plain RNN with $U$ three times as large as PyTorch draws it, and plain gradient descent, with clipping and without.


# %%
def descend(limit, steps):
    torch.manual_seed(0)
    rnn, head = nn.RNN(V, 64, batch_first=True), nn.Linear(64, V)
    rnn.weight_hh_l0.data *= 3
    weights, state, curve = [*rnn.parameters(), *head.parameters()], None, []
    for x, y in itertools.islice(data.train_dataloader(), steps):
        outputs, state = rnn(nn.functional.one_hot(x, V).float(), state)
        state = state.detach()
        loss = nn.functional.cross_entropy(head(outputs).flatten(0, 1), y.flatten())
        gradients = torch.autograd.grad(loss, weights)
        size = torch.stack([g.norm() for g in gradients]).norm()
        for weight, g in zip(weights, gradients, strict=True):
            weight.data -= g * (limit / size).clamp(max=1)  # the learning rate is 1
        curve.append((bits(loss.item()), size.item()))
    return curve


# %%
ends = {}  # loss of the first step and mean of the last ten


# %% mystnb={"image": {"alt": "With clipping the loss falls; without, it jumps about far above."}}
for name, limit, style in (
    ("clipped at 1", 1.0, "-"),
    ("not clipped", math.inf, "--"),
):
    loss, size = zip(*descend(limit, {"smoke": 10}.get(profile, 100)), strict=True)
    print(
        f"{name}: largest gradient {max(size):.2g}; "
        f"the last ten losses {sum(loss[-10:]) / 10:.2f} bits on average"
    )
    plt.semilogy(loss, style, label=name)
    ends[name] = loss[0], sum(loss[-10:]) / 10
plt.xlabel("step")
plt.ylabel("bits per character, training")
plt.legend()
plt.show()


# %%
if profile != "smoke":
    assert ends["clipped at 1"][1] < ends["clipped at 1"][0] - 1
    assert ends["not clipped"][1] > ends["not clipped"][0]

# %% [markdown]
# With the limit the loss falls. Without it, the loss soon jumps about, and the mean of its last ten values is
# above that of the untrained network.
#
# **Going round in circles.** At a low temperature the model keeps choosing what is likely after what it just wrote.
# Soon, it seems, it comes close to a state in which it has been before, and writes the same again. We count the share
# of stretches of 20 characters that occur earlier in the same sample.


# %%
def repeated(sample, length=20):
    stretches = [sample[i : i + length] for i in range(len(sample) - length)]
    return 1 - len(set(stretches)) / len(stretches)


# %%
shares = {}
for temperature in (0.05, 0.3, 0.7, 1.0):
    torch.manual_seed(1)
    samples = model.generate(prompt.expand(8, -1), written, temperature=temperature)
    shares[temperature] = (
        sum(repeated(tokenizer.decode(row)) for row in samples) / 8
    )
real = test[: 8 * written].view(8, -1)
shares["real text"] = sum(repeated(tokenizer.decode(row)) for row in real) / 8
for setting, share in shares.items():
    print(f"{setting}: {100 * share:3.0f} % came before in the same sample")
if profile != "smoke":
    assert shares[0.05] > 0.3
    assert max(shares[0.7], shares[1.0], shares["real text"]) < shares[0.05] / 2

# %%
again = model.generate(prompt, min(written, 300), temperature=0.05)[0]
print(f"\n{wrapped(tokenizer.decode(again))}")

# %% [markdown]
# The coldest samples are caught in such circles; at higher temperatures chance leads out of them. So it is the low
# temperature that makes the loops here. Another suspect is often named, *exposure bias* (Ranzato et al., 2016): in
# training the model only ever went on from what people had written, and here it has to go on from its own writing. That
# is so at every temperature, and at 0.7 and at 1 much less is repeated.
#
# ## What the source articles got wrong here
#
# One takes the probability of a single word for a product over all words, none of which looks back
# ([errata](../../book/errata.md#errata-language-models)).
#
# ## The promise
#
# The rungs of the ladder go down in this order: uniform, unigram, bigram, the n-gram whose order the validation text
# chose, LSTM; and the LSTM beats the bigram by at least a bit and a half per character.

# %%
rounded = {name: round(value, 3) for name, value in ladder.items()}
figures = results.record(
    "recurrent_language_model",
    profile,
    bits_per_character=rounded["LSTM"],
    ladder=rounded,
    best_n_gram=best_n_gram,
)
pprint(figures["ladder"], sort_dicts=False)
print(figures["best_n_gram"])


# %%
if profile != "smoke":
    assert ladder["uniform"] > ladder["unigram"] + 0.5 > ladder["bigram"] + 1.0, (
        "frequencies help, context helps more"
    )
    assert ladder["bigram"] > ladder[best_n_gram] + 1.0, (
        "longer contexts, smoothed, help much more"
    )
    assert ladder["LSTM"] < ladder["bigram"] - 1.5, (
        "and a learnt state beats a short context"
    )
    assert ladder["LSTM"] < ladder[best_n_gram], (
        "and even the longest that counting can use"
    )


# %% [markdown]
# ## Summary
#
# - The probability of a text is a product with one factor per character, each given all before it.
# - Minus its logarithm to base 2, divided by the length, gives the bits per character: the mean surprise, the length of
#   the best code, and the logarithm of the perplexity, all in one.
# - n-grams count; without smoothing they give possible characters the probability 0, and one of those is enough for an
#   infinite score.
# - A recurrent network carries a state. In a plain one the derivatives vanish or explode; the LSTM's cell state is a
#   sum, with gates that can learn to keep it.
# - Truncated backpropagation: the state crosses the border of a chunk, the gradient does not. Chunks come in order;
#   clip the gradients.
#
# ## Check yourself
#
# **1.** A model gives each character of a text the probability $\frac14$. How many bits per character is that, what is
# the perplexity, and how many nats? Check.

# %% tags=["hide-cell"]
# @title Solution
nats = -torch.full((100,), 0.25).log().mean().item()
print(
    f"{bits(nats):.3f} bits, "
    f"perplexity {2 ** bits(nats):.3f} = {math.exp(nats):.3f}, {nats:.3f} nats"
)
assert math.isclose(bits(nats), 2, rel_tol=1e-6)
assert math.isclose(math.exp(nats), 4, rel_tol=1e-6)

# %% [markdown]
# **2.** Two models, one with bytes and one with pieces of words of 3.5 characters on average, both report "2.8 nats per
# token". Which one is better, and what are their bits per character?

# %% tags=["hide-cell"]
# @title Solution
per_byte, per_piece = bits(2.8), bits(2.8) / 3.5
print(f"bytes: {per_byte:.2f} bits per character; pieces: {per_piece:.2f}")
assert per_piece < per_byte

# %% [markdown]
# <details><summary>Answer</summary>
#
# The one with pieces, by far: it spends 2.8 nats on 3.5 characters. Nats and perplexity *per token* cannot be compared
# between tokenizers; per character, they can.
#
# </details>
#
# **3.** How long a memory does a gate give? With $f$ constant, a value in the cell shrinks by $f$ each step. After how
# many steps is half of it left, for $f = 0.5$, $0.9$, $0.99$?

# %% tags=["hide-cell"]
# @title Solution
for f in (0.5, 0.9, 0.99):
    half = math.log(0.5) / math.log(f)
    print(f"f = {f}: half is left after {half:.1f} steps")
    assert math.isclose(f**half, 0.5)

# %% [markdown]
# **4.** In words: why must batches for truncated backpropagation not be shuffled, when shuffling is good practice
# elsewhere?
#
# <details><summary>Answer</summary>
#
# The state that is carried into a chunk is a summary of the characters before it. If another text came before, the
# summary is wrong, and the model learns to ignore it. Models that read each window from nothing, as the GPT does, may
# shuffle.
#
# </details>
#
# **5.** In words: the n-gram of high order and the LSTM make different mistakes. How could one use both?
#
# <details><summary>Answer</summary>
#
# Mix their probabilities, $\lambda\, p_\text{LSTM} + (1 - \lambda)\, p_\text{n-gram}$, with $\lambda$ chosen on the
# validation text. A mixture sums to 1, and is often better than either, since the one remembers phrases and the other
# generalises.
#
# </details>
#
# **Graded assignment**: [the pieces of a language model](../exercises/language.ipynb).
#
# ## Further reading
#
# - C. E. Shannon, [A Mathematical Theory of Communication](https://doi.org/10.1002/j.1538-7305.1948.tb01338.x) (1948):
#   entropy, and the approximations to English; [Prediction and Entropy of Printed
#   English](https://doi.org/10.1002/j.1538-7305.1951.tb01366.x) (1951): the guessing game.
# - H. Ney, U. Essen and R. Kneser, [On Structuring Probabilistic Dependences in Stochastic Language
#   Modelling](https://doi.org/10.1006/csla.1994.1001) (1994): the estimate of the discount.
# - R. Kneser and H. Ney, [Improved Backing-off for M-gram Language
#   Modeling](https://doi.org/10.1109/ICASSP.1995.479394) (1995).
# - S. F. Chen and J. Goodman, [An Empirical Study of Smoothing Techniques for Language
#   Modeling](https://doi.org/10.1006/csla.1999.0128) (1999): the contest, and the interpolated form that we use.
# - S. Hochreiter and J. Schmidhuber, [Long Short-Term Memory](https://doi.org/10.1162/neco.1997.9.8.1735) (1997); F. A.
#   Gers, J. Schmidhuber and F. Cummins, [Learning to Forget](https://doi.org/10.1162/089976600300015015) (2000): the
#   gate $f$.
# - R. Pascanu, T. Mikolov and Y. Bengio, [On the difficulty of training Recurrent Neural
#   Networks](https://arxiv.org/abs/1211.5063) (2013): vanishing, exploding, clipping.
# - M. Ranzato et al., [Sequence Level Training with Recurrent Neural Networks](https://arxiv.org/abs/1511.06732)
#   (2016): exposure bias.
# - A. Karpathy, J. Johnson and L. Fei-Fei, [Visualizing and Understanding Recurrent
#   Networks](https://arxiv.org/abs/1506.02078) (2015): single numbers that follow quotes, lines and brackets.
#
# Next: [Attention](attention.ipynb).
