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
# # A GPT from the ground up
#
# **After this chapter you can**
#
# - learn a vocabulary of byte pairs from a text, and say why models with different vocabularies are compared in bits
#   per character and not in nats per token;
# - write a GPT in about fifty lines of plain PyTorch, say what each line is for, and count its parameters and its cost;
# - check at the start of a training that it starts where it should;
# - pre-train a GPT with warm-up, decay and clipping, read its curves, and recognise a sick one;
# - read an ablation without taking the luck of a seed for progress.
#
# **You need**: [Attention](attention.ipynb), and bits per character from [Predicting the next
# character](recurrent_language_model.ipynb). · [How long this chapter takes to run](../../book/results.md)

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
import json
import math
import re
import textwrap
from collections import Counter
from importlib.resources import files
from itertools import pairwise

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from aigc_course import diagrams, gpt, plots, recurrent, results, text_metrics
from aigc_course import training
from aigc_course.data import BytePairTokenizer, CharTokenizer, TextData, load_text

# %%
plots.use_style()
profile = training.resolve_profile(profile)
# all that decides the model of this chapter, as plain values
settings = gpt.recipe(profile)
short_steps, memory_steps = {"smoke": (4, 4), "cpu": (80, 240), "gpu": (80, 240)}[
    profile
]


# %%
L, d, V, T = (
    settings["model"][name] for name in ("layers", "width", "vocab_size", "context")
)
print(
    f"Profile {profile}: "
    f"{settings['fit']['max_epochs']} epochs of a GPT with {L} layers of width {d},"
)
print(
    f"a vocabulary of {V} tokens, a context of {T}. "
    f"The small runs have {short_steps} to {memory_steps} steps."
)


# %% [markdown]
# ## The ladder, so far
#
# [Predicting the next character](recurrent_language_model.ipynb) set up a ladder. Every model on it learns from the
# same text, Python's own documentation, and is asked on sections it has never seen: how many bits does the next
# character cost? A model that knows nothing but the alphabet pays $\log_2$ of its size. Counting helps: first letters,
# then letters given the letter before, then given the four or the eleven before, with smoothing. These cheap rungs are
# quickly counted once more:

# %%
texts = {
    split: load_text("python_docs", split)
    for split in ("train", "validation", "test")
}
characters = CharTokenizer("".join(texts.values()))


def bits(model, tokenizer, text):  # bits per character, whatever a token is
    tokens = tokenizer.encode(text)
    # nothing precedes the first token, so it is not guessed
    known = len(tokenizer.decode(tokens[:1]))
    return text_metrics.bits_per_character(
        model.nats_per_token(tokens), len(tokens) - 1, len(text) - known
    )


# %%
ladder = {"uniform": math.log2(characters.vocab_size)}
for name, order in (("letters", 1), ("bigram", 2), ("5-gram", 5), ("12-gram", 12)):
    counted = recurrent.NGram(characters.vocab_size, order).fit(
        characters.encode(texts["train"])
    )
    ladder[name] = bits(counted, characters, texts["test"])
print("bits per character:")
print(", ".join(f"{name} {value:.2f}" for name, value in ladder.items()))


# %% [markdown]
# That chapter went on to a recurrent network, an LSTM, whose figure is the one to remember. In this chapter a **GPT**,
# a *generative pre-trained Transformer*, is built from the ground up. It is the kind of model at the heart of today's
# assistants. What sets theirs apart is above all size, some hundred thousand times as many parameters, and what is done
# with them after the training shown here.
#
# This is the whole machine, for four tokens and two layers:

# %%
words = ["The", " with", " state", "ment"]
steps = ["embedding", "attention", "network", "attention", "network", "next token?"]
once = "residual stream", "network, each by itself"
stream = {"color": "lightgrey", "linewidth": 9, "zorder": 1}
square = {"color": plots.COLOURS[3], "markersize": 15}
arrow = {"arrowstyle": "->", "color": plots.COLOURS[0], "linewidth": 1.5}


# %% mystnb={"image": {"alt": "Four vertical lines, one for each token. On two levels thin arrows run from every line to all lines on its right, never to the left; above each of these levels a square sits on each line."}}
figure, ax = plt.subplots(figsize=(5.6, 4.2))
for t in range(4):
    labels = (None, None) if t else once
    ax.plot([t, t], [0, 5], **stream, label=labels[0])
    ax.plot([t, t], [2, 4], "s", **square, label=labels[1])
    for layer in (1, 3):
        for past in range(t):
            ends = {"xy": (t, layer + 0.35), "xytext": (past, layer - 0.35)}
            ax.annotate("", **ends, arrowprops=arrow)
ax.plot([], [], color=plots.COLOURS[0], label="attention, from the left")
ax.set_xticks(range(4), words)
ax.set_yticks(range(6), steps)
ax.grid(False)
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=10)
plt.show()


# %% [markdown]
# Read it from below. Each token becomes a vector. All that follows adds to this vector, which runs up through the
# layers: the **residual stream** of its position. By *attention* the positions exchange information, from left to right
# only; then a small *network* works on each position by itself; and so on, layer by layer. At the top each position has
# to answer one question: which token comes next?
#
# Three things are left to explain: what a token is, what exactly a layer does, and how to train it.
#
# ## Tokens: byte-pair encoding
#
# A model may read characters. Then every step yields little, and a context of 100 steps is little more than a line of
# text. It may read words. Then the vocabulary is never complete, and a name that was not in the training text cannot be
# read at all. **Byte-pair encoding** (Sennrich et al., 2016) lets the text decide. Begin with single characters. Find
# the pair of neighbours that is most frequent; make it one new token; put it everywhere in place of the pair; repeat.
# What is frequent becomes one token, and what is rare stays in pieces.
#
# The text is first cut into words, each with the space in front of it, and no pair crosses such a border: otherwise "of
# the" would be one token, and "of a" another. If two pairs are equally frequent, some rule has to decide. Ours: the
# pair whose first token entered the vocabulary earlier, then the one whose second did; at the beginning the characters
# are sorted, the space last.


# %%
def cut(text):
    return re.findall(r" ?[a-z]+| ?[^a-z\s]+|\s+", text)


# put the pair together wherever it stands, from left to right
def merge(tokens, pair):
    merged = []
    for token in tokens:
        if merged and (merged[-1], token) == pair:
            merged[-1] += token
        else:
            merged.append(token)
    return tuple(merged)


# %%
def learn_pairs(text, count):
    words = Counter(tuple(word) for word in cut(text))  # each once, and how often
    characters_ = sorted(set(text), key=lambda c: (c == " ", c))
    number = {token: i for i, token in enumerate(characters_)}
    learnt = []
    for _ in range(count):
        pairs = Counter()
        for word, times in words.items():
            for pair in pairwise(word):
                pairs[pair] += times
        best = max(pairs, key=lambda p: (pairs[p], -number[p[0]], -number[p[1]]))
        learnt.append((best, pairs[best]))
        number.setdefault("".join(best), len(number))
        words = Counter({merge(word, best): times for word, times in words.items()})
    return learnt


# %% [markdown]
# > **Predict, then run.** In the paragraph below, which pair is merged first? (a) `t` and `h`. (b) A space and a
# > letter. (c) `e` and `r`.

# %%
paragraph = (
    "the reader reads the text token by token. "
    "the writer of the text wrote it letter by letter, and neither the reader "
    "nor the writer thought of tokens. the tokens are there for the model: "
    "the more often two letters meet in the text, "
    "the sooner they are one token, and the longer the text, "
    "the longer the tokens. a letter that is rare is never "
    "merged, and stays a token of its own."
)


# %%
learnt = learn_pairs(paragraph, 24)
for number, ((first, second), times) in enumerate(learnt, start=1):
    print(
        f"{first!r:>7} + {second!r:<6} {times:2d} times",
        end="\n" if number % 2 == 0 else "   |   ",
    )
assert learnt[0][1] == max(
    Counter(pair for word in cut(paragraph) for pair in pairwise(word)).values()
)


# %% [markdown]
# It is (b): a space and a `t`, since so many words begin with a `t`. Then pieces of words appear, soon the whole word "
# the", and some merges later " token". The program was not told what a stem is, or an ending.
#
# To encode a new text, apply the merges in the order in which they were learnt. The package's `BytePairTokenizer` does
# all this by the library `tokenizers`, on **bytes**: its first 256 tokens are the 256 values of a byte. A text in any
# writing is a row of bytes, so there is no text that it could not encode. On our paragraph it must learn what we have
# learnt, in the same order, and encode as we do:


# %%
def encode(text, learnt):
    tokens = []
    for word in cut(text):
        pieces = tuple(word)
        for pair, _ in learnt:
            pieces = merge(pieces, pair)
        tokens += pieces
    return tokens


# %%
package = BytePairTokenizer(paragraph, 256 + len(learnt))
for number, (pair, _) in enumerate(learnt):
    assert package.decode(torch.tensor([256 + number])) == "".join(pair), (
        "the same merge"
    )
sentence = "the reader of this text is another token, not the letter."
pieces = encode(sentence, learnt)
assert pieces == [package.decode(token[None]) for token in package.encode(sentence)]
print(f"{len(sentence)} characters, {len(pieces)} tokens:")
print(textwrap.fill(" ".join(piece.replace(" ", "·") for piece in pieces), 80))

# %% [markdown]
# The dot is a space. Frequent words of the paragraph are one token or two, rarer and new ones fall into smaller pieces,
# and nothing is lost: the pieces put together are the text.
#
# From here on the tokens come from the training text, with the vocabulary of the recipe. The course's text is in ASCII,
# so a foreign character has to be spelled byte by byte; it works, at a price.

# %%
data = TextData(**settings["data"])
tokenizer = data.tokenizer
for text in (' The "with" statement is used to wrap', "naïve", "编码 🙂"):
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    print(
        f"{len(text):2d} characters, {len(tokens):2d} tokens:",
        tokens.tolist()[:9],
        "…" if len(tokens) > 9 else "",
    )

# %% [markdown]
# How large should the vocabulary be? The larger it is, the more characters a token covers, measured on text that the
# pairs were not learnt from:

# %%
sizes = (
    [256, 320, 512]
    if profile == "smoke"
    else [256, 320, 512, 1024, 2048, 4096, 8192, 16384]
)
per_token = []
for size in sizes:
    other = BytePairTokenizer(texts["train"], size)
    per_token.append(
        len(texts["validation"]) / len(other.encode(texts["validation"]))
    )
if profile != "smoke":
    assert per_token == sorted(per_token)
    assert other.vocab_size < sizes[-1], "no pair is left to merge"


# %% mystnb={"image": {"alt": "Characters per token rise from one with the size of the vocabulary on a logarithmic axis, fast at first, then more slowly."}}
plt.plot(sizes, per_token, "o-")
plt.xscale("log", base=2)
plt.xlabel("tokens in the vocabulary")
plt.ylabel("characters per token, validation text")
plt.show()


# %% [markdown]
# With 256 tokens nothing is merged, and a token is one character. The first few hundred merges bring the most, since
# they are the most frequent; later ones are words that hardly occur outside the training text, and at last there is
# nothing left to merge. Each token needs a vector of its own, and a token that occurs three times in the training text
# has three chances per epoch to learn it. For so small a text we take about a thousand tokens, without having measured
# that this is the best number; GPT-2 took 50,257, for forty gigabytes of text.
#
# ### Which unit to compare in
#
# > **Predict, then run.** Take the simplest model, the frequencies alone, once on characters and once on byte pairs.
# > Which one has the lower loss in nats per token? And which one is the better model of the text? (a) Characters, both
# > times. (b) Characters have the lower loss, byte pairs are better. (c) Byte pairs, both times.

# %%
alone = {}
for name, units in (("characters", characters), ("byte pairs", tokenizer)):
    frequencies = recurrent.NGram(units.vocab_size, 1).fit(
        units.encode(texts["train"])
    )
    loss = frequencies.nats_per_token(units.encode(texts["test"]))
    print(
        f"{name}: {loss:.2f} nats per token, "
        f"{bits(frequencies, units, texts['test']):.2f} bits per character"
    )
    alone[name] = loss, bits(frequencies, units, texts["test"])
if profile != "smoke":
    assert alone["characters"][0] < alone["byte pairs"][0]
    assert alone["characters"][1] > alone["byte pairs"][1]

# %% [markdown]
# It is (b). A byte pair is harder to guess, since there are more of them, but it covers more characters. A loss per
# token says nothing until one knows how much text a token is. What does compare is the surprise at *the text*. By the
# chain rule the losses of all tokens add up to it, so divide the sum by something that every tokenizer agrees on, the
# number $C$ of characters:
#
# $$\text{bits per character} = \frac{1}{C \ln 2} \sum_{t} -\log p(x_t \mid x_{<t})
# = \frac{\text{nats per token} \times \text{tokens}}{C \ln 2} .$$
#
# (A strict reader objects: the same text could also be written with other tokens, `t` `h` `e` for `the`, and a model
# gives these spellings some probability too. The figure counts one spelling only, so it is a little too *high*, never
# too low.)
#
# ## The block
#
# Let $x$ be the residual streams of a text: $T$ positions, each with a vector of $d$ components; $d$ is called the
# **width**. At the bottom they are the rows of the embedding that belong to the tokens. Each of the $L$ layers, or
# **blocks**, does two things:
#
# $$x \leftarrow x + \mathrm{Attention}(\mathrm{norm}(x)), \qquad x \leftarrow x + \mathrm{MLP}(\mathrm{norm}(x)) .$$
#
# In the diagram $A$ is the attention, and the residual stream is the line at the bottom.

# %% tags=["hide-input"]
diagrams.draw(
    "A block. The residual stream x runs along the bottom through two sums. "
    "Before the first a branch leaves it, goes through a norm and A, and is added; "
    "before the second another goes through a norm and the MLP, and is added.",
    {
        **{"x": (0, 1.2), "1": (1, 0), "A": (2, 0), "+1": (3, 1.2)},
        **{"2": (4, 0), "MLP": (5.1, 0), "+2": (6.1, 1.2), "x′": (7.1, 1.2)},
    },
    [("x", "+1", "+2", "x′"), ("x", "1", "A", "+1"), ("+1", "2", "MLP", "+2")],
    bare=["x", "x′"],
    variables=["+1", "+2"],
    labels={"1": "norm", "2": "norm", "+1": "+", "+2": "+", "x′": "x"},
    notes={"x": "T×d", "x′": "T×d"},
)

# %% [markdown]
# **The residual stream is added to, never replaced.** What an early layer has written, a late one can still read, and
# along the sum the gradient runs down without being multiplied by anything: a **residual connection**. It is the cure
# that the LSTM's cell had for many steps in time, here used for depth.
#
# **Normalise what is read.** The residual stream tends to grow with every addition, and no layer should have to care
# how large its input is. So each part reads a copy of fixed size. RMSNorm divides by the root mean square (Zhang and
# Sennrich, 2019), with one learnt gain per coordinate:
#
# $$\mathrm{norm}(x)_i = g_i \, \frac{x_i}{\sqrt{\frac1d \sum_j x_j^2 + \epsilon}} .$$
#
# The first Transformer normalised the residual stream itself, *after* each addition. Then the free path down for the
# gradient is gone, and deep models need a careful warm-up to train at all. Reading a normalised copy, **pre-norm**, is
# what GPT-2 and nearly everything since has done (Xiong et al., 2020).
#
# **Attention** is built in [its own chapter](attention.ipynb): each position's vector gives a query, a key and a value
# for each head, queries and keys are turned by angles that grow with the position (Su et al., 2021), and each position
# gathers values from itself and from the left. Here queries and keys are normalised as well, which bounds the scores
# (Henry et al., 2020).
#
# **The MLP** works on each position by itself. It widens the vector to $4d$, applies a nonlinearity, and comes back to
# $d$: $\mathrm{MLP}(x) = W_2\, \phi(W_1 x)$. GPT-2's $\phi$ is GELU, a smooth cousin of ReLU. Ours is
# $\phi(x) = \max(0, x)^2$, found by a search over small programs (So et al., 2021).
#
# **The head** at the top turns the normalised residual stream into $V$ logits $z$, one for each token of the
# vocabulary, by a matrix $W$. Here is the whole model, with $E$ for the embedding and the block, $B$, drawn once for
# all $L$:

# %% tags=["hide-input"]
diagrams.draw(
    "The tokens go through the embedding E, which makes vectors of them; through "
    "the block B, in a frame marked L; through a norm and the matrix W, which "
    "gives the logits z; a softmax makes probabilities p of them.",
    {
        **{"x₁, x₂, …": (0, 0), "E": (1.3, 0), "B": (2.5, 0), "norm": (3.8, 0)},
        **{"W": (4.9, 0), "z": (5.8, 0), "softmax": (7.1, 0), "p": (8.3, 0)},
    },
    [("x₁, x₂, …", "E", "B", "norm", "W", "z", "softmax", "p")],
    bare=["x₁, x₂, …", "z", "p"],
    plates=[(1.95, -0.6, 3.05, 0.7, "L")],
    notes={"x₁, x₂, …": "T", "E": "V×d", "W": "d×V", "z": "T×V", "p": "T×V"},
)

# %% [markdown]
# ### From scratch
#
# That is all there is. Here it is in plain PyTorch. The names are those of the package's module, so that the parameters
# of one fit the other; the squared ReLU, one line, is taken from it. A turn by an angle is the multiplication by a
# complex number of length 1:


# %%
# (batch, heads, time, size): the pair (i, i + half) of position m by the angle m ·
# 10000^(-i / half)
def turn(x):
    time, half = x.shape[-2], x.shape[-1] // 2
    angle = torch.arange(time)[:, None] * 10_000 ** (-torch.arange(half) / half)
    turned = torch.complex(*x.chunk(2, dim=-1)) * torch.polar(
        torch.ones_like(angle), angle
    )
    return torch.cat([turned.real, turned.imag], dim=-1)


def norm(x):
    return (
        x
        * (x.square().mean(dim=-1, keepdim=True) + torch.finfo(x.dtype).eps).rsqrt()
    )


# %%
class TinyAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x):  # (batch, time, width)
        q, k, v = (
            self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        time, d = q.shape[2:]  # q, k, v: (batch, heads, time, d)
        scores = turn(norm(q)) @ turn(norm(k)).transpose(-2, -1) / d**0.5
        future = torch.ones(time, time, dtype=torch.bool).triu(1)
        gathered = scores.masked_fill(future, -torch.inf).softmax(dim=-1) @ v
        return self.out(gathered.transpose(1, 2).flatten(2))


# %%
class TinyBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm_1, self.norm_2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = TinyAttention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False),
            gpt.SquaredReLU(),
            nn.Linear(4 * width, width, bias=False),
        )

    def forward(self, x):
        x = x + self.attention(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


# %%
class TinyGPT(nn.Module):
    def __init__(self, vocab_size, layers, heads, width):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.blocks = nn.Sequential(
            *[TinyBlock(width, heads) for _ in range(layers)]
        )
        self.norm, self.head = (
            nn.RMSNorm(width),
            nn.Linear(width, vocab_size, bias=False),
        )

    def forward(self, tokens):
        return self.head(self.norm(self.blocks(self.embedding(tokens))))


# %% [markdown]
# ### With the package
#
# `aigc_course.gpt.GPT` has a few switches more, dropout and a cache for generation. All that decides its architecture
# is in a `GPTConfig`. With the same parameters both must give the same logits:

# %%
torch.manual_seed(0)
shape = {"layers": 2, "heads": 2, "width": 32}
config = gpt.GPTConfig(V, 24, **shape, tied=False)
package_gpt = gpt.GPT(config)
tiny = TinyGPT(V, **shape)
tiny.load_state_dict(package_gpt.state_dict())
tokens = torch.randint(V, (3, 24))
torch.testing.assert_close(tiny(tokens), package_gpt(tokens), atol=1e-5, rtol=1e-4)
print(
    f"logits of shape {tuple(tiny(tokens).shape)}; "
    "largest difference below 0.0001:",
    end=" ",
)
print(bool((tiny(tokens) - package_gpt(tokens)).abs().max() < 1e-4))

# %% [markdown]
# ### Nothing from the future
#
# With one wrong line in the mask the model sees the token that it is to predict. The training loss would be wonderful,
# and the model worthless. So look at the gradients: the logits at position $t$ may depend on the inputs at positions up
# to $t$, on each of them, and on no other. ([Attention](attention.ipynb) shows what happens without the mask.)

# %%
kept = []
handle = package_gpt.embedding.register_forward_hook(
    lambda layer, given, output: kept.append(output)
)
logits = package_gpt(tokens[:1])
handle.remove()
for t in range(24):
    (felt,) = torch.autograd.grad(
        logits[0, t].square().sum(), kept[0], retain_graph=True
    )
    depends = felt[0].abs().sum(dim=-1) > 0
    assert depends[: t + 1].all(), "each position sees itself and all before it"
    assert not depends[t + 1 :].any(), "and none after it"
print("24 positions checked: each sees all of its past and nothing of its future")

# %% [markdown]
# ## How many parameters, and what a token costs
#
# A block has four matrices: $3 d \times d$ for queries, keys and values, $d \times d$ behind the attention, and
# $4 d \times d$ and $d \times 4 d$ in the MLP. That makes
#
# $$N = (3 + 1 + 4 + 4)\, L d^2 = 12\, L d^2$$
#
# parameters in the blocks; two thirds of them are in the MLPs. The embedding has $V d$. The head would have as many
# again, but ours is **tied** to it ([Press and Wolf, 2017](https://arxiv.org/abs/1608.05859)): both use the same
# matrix, so that the vector which represents a token when it is read is also the one with which the residual stream is
# compared when the token is predicted. Press and Wolf found that this also lowers the perplexity. The gains are few
# beside these.

# %%
torch.manual_seed(settings["fit"]["seed"])
fresh = gpt.GPT(gpt.GPTConfig(**settings["model"]))
blocks = sum(
    weight.numel() for weight in fresh.blocks.parameters() if weight.ndim == 2
)
total = sum(weight.numel() for weight in fresh.parameters())
print(
    f"blocks {blocks:,}, embedding and head {V * d:,}, "
    f"gains {(2 * L + 1) * d:,}: {total:,} parameters in all"
)
assert blocks == 12 * L * d**2
assert total == blocks + V * d + (2 * L + 1) * d

# %% [markdown]
# Every entry of a matrix takes part in one multiplication and one addition per token. So reading a token costs
# $2 (N + V d)$ operations; the embedding is free, since a row is only looked up. Attention adds the scores and the
# weighted means, $2 T d$ operations each in a layer, which is $4 T d / 24 d^2 = T / 6d$ of what the block's matrices
# take. The backward pass needs two products for every one of the forward pass, one for the gradient of the input and
# one for that of the matrix: **about six operations per parameter and token** for a training step. PyTorch can count
# them:

# %%
counts = {}
row = tokens[:1]
with FlopCounterMode(display=False) as forward:
    loss = nn.functional.cross_entropy(tiny(row).flatten(0, 1), row.flatten())
with FlopCounterMode(display=False) as backward:
    loss.backward()


# %%
time, layers, width = row.shape[1], shape["layers"], shape["width"]
expected = time * (
    2 * (12 * layers * width**2 + V * width) + layers * 4 * time * width
)
print(
    f"forward {forward.get_total_flops():,}, by the formula {expected:,}; "
    f"backward {backward.get_total_flops():,}"
)
assert forward.get_total_flops() == expected
assert backward.get_total_flops() == 2 * expected
seen = settings["fit"]["max_epochs"] * len(data.tokens["train"])
print(
    f"This chapter's training: 6 × {blocks + V * d:,} parameters "
    f"× {seen:,} tokens, {6 * (blocks + V * d) * seen:.1e}"
)


# %% [markdown]
# What so many operations buy, and how to spend them, is the subject of [the next chapter](scaling.ipynb).
#
# ## Before the first step
#
# A model that has learnt nothing should say so: all tokens equally likely, a loss of $\log V$. It is the cheapest check
# in deep learning, and it finds many mistakes. With a head of its own a model can keep it *exactly*: let the matrices
# that write into the residual stream, and the head, begin at zero. Every block then passes its input on unchanged, and
# at first all logits are equal.
#
# A tied head cannot begin at zero, since the embedding must not. Then the tokens are not equally likely at first. If
# the blocks pass their input on, the residual stream at the top is the vector of the token that was just read, and the
# vector it resembles most is its own: the model begins by predicting that every token is repeated, though without much
# confidence, as the vectors are small. So its loss is near $\log V$, not exactly there. This chapter's model is such a
# one. (Does a model that begins with zeros also *train* better? That is another question;
# [What each change brings](#what-each-change-brings) asks it.)

# %%
x, y = next(iter(data.train_dataloader()))
with torch.no_grad():
    tied = fresh.loss(x, y).item()
    repeats = (fresh(x).argmax(dim=-1) == x).float().mean().item()
    apart = {**settings["model"], "tied": False, "embedding_std": 1.0}
    fresh = gpt.GPT(gpt.GPTConfig(**apart))
    at_zero = fresh.loss(x, y).item()
    # a careless beginning: sure of itself without a reason
    nn.init.normal_(fresh.head.weight)
    careless = fresh.loss(x, y).item()
    nn.init.zeros_(fresh.head.weight)


# %%
print(
    f"log V = {math.log(V):.4f} nats; "
    f"the loss at the start {at_zero:.4f}, tied {tied:.4f}"
)
print(f"with a random head {careless:.1f}")
print(f"tied, the likeliest token is the one just read: {repeats:.0%}")
assert abs(at_zero - math.log(V)) < 1e-4
assert repeats > (0.5 if profile == "smoke" else 0.99)
assert abs(tied - at_zero) < 0.5
assert careless > 1.5 * at_zero


# %% [markdown]
# > **Predict, then run.** With so many zeros, which parameters move in the very first step? (a) None: the gradient is
# > zero everywhere. (b) All but the zeros. (c) Those of the head alone.

# %%
names = {
    "embedding": fresh.embedding,
    "out and mlp.2": None,
    "qkv and mlp.0": None,
    "head": fresh.head,
}
names["out and mlp.2"] = nn.ModuleList(
    part for block in fresh.blocks for part in (block.attention.out, block.mlp[2])
)
names["qkv and mlp.0"] = nn.ModuleList(
    part for block in fresh.blocks for part in (block.attention.qkv, block.mlp[0])
)
plain = torch.optim.SGD(fresh.parameters(), lr=1.0)


# %%
moving = []
for step in (1, 2, 3):
    plain.zero_grad()
    fresh.loss(x, y).backward()
    moving.append(
        [
            name
            for name, part in names.items()
            if any(w.grad.any() for w in part.parameters())
        ]
    )
    print(f"step {step}: gradients reach {', '.join(moving[-1])}")
    plain.step()
assert [len(reached) for reached in moving] == [1, 3, 4], "one level per step"


# %% [markdown]
# It is (c). The gradient of everything below the head is multiplied by the head's zeros. After one step the head is not
# zero any more, so the second step reaches the embedding and the matrices that write into the residual stream, and the
# third everything. Zero is no trap here: the residual streams themselves are *not* zero, and the zeros on each path
# down are filled one after the other.
#
# ## How it is trained
#
# **The optimiser** is AdamW (Loshchilov and Hutter, 2019). Each parameter $w$ with gradient $g$ keeps a running mean
# $m$ of $g$ and one, $v$, of $g^2$, and makes steps of about the same size, whatever the gradient's:
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2, \qquad
# w \leftarrow w - \eta \, \Big( \frac{\hat m}{\sqrt{\hat v} + \epsilon} + \lambda w \Big) ,$$
#
# where $\beta_1$ and $\beta_2$, both below 1, say how long the means remember, $\epsilon$ prevents a division by zero,
# and the hats undo the bias of means that began at zero. The term $\lambda w$ pulls parameters towards zero, the
# **weight decay**; it applies to matrices only, since a gain that is pulled to zero would switch its coordinate off.
#
# **The learning rate** $\eta$ first rises: in the first steps $v$ is an average over very few gradients, and large
# steps in directions known so poorly can do harm that takes long to undo. Then it falls to zero. Large steps jump back
# and forth across a valley of the loss, and only small ones get to its bottom.
#
# **Clipping**: if the gradient of all parameters together is longer than $c$, it is shortened to that length,
# $g \leftarrow g \cdot \min(1, c / \lVert g \rVert)$. So no single batch can push the running means arbitrarily far.

# %% mystnb={"image": {"alt": "The learning rate rises steeply in the first twentieth of the training and then falls along a straight line to zero."}}
done = torch.linspace(0, 1, 401).tolist()
lessons = gpt.NextTokenTraining(fresh)
plt.plot(done, [lessons.rate(share) for share in done])
plt.xlabel("share of the training that is over")
plt.ylabel("learning rate, share of its peak")
plt.show()

# %% [markdown]
# ## Pre-training
#
# **Pre-training** means: predict the next token of plain text, at all positions at once. Nothing has to be labelled;
# the text is its own answer. One window of $T + 1$ tokens gives $T$ questions, and the mask lets all of them be
# answered in one pass. The recipe:

# %%
for part, values in settings.items():
    named = ", ".join(f"{name} {value}" for name, value in values.items())
    print(textwrap.fill(f"{part}: {named}", 80))
windows = len(data.train_dataloader().dataset)
print(
    f"{len(data.tokens['train']):,} tokens to train on, "
    f"{windows} windows per epoch,",
    end=" ",
)
print(
    f"{settings['fit']['max_epochs'] * len(data.train_dataloader())} steps in all"
)
model, history = gpt.train(profile)

# %% mystnb={"image": {"alt": "Both losses fall steeply and then level off; the training loss goes on falling, the validation loss ends well above it and nearly flat."}}
plots.curves(history, ["train_loss", "val_loss"], ylabel="loss (nats per token)")
plt.axhline(math.log(V), color="grey", linestyle=":", linewidth=1)
plt.show()
print(
    f"training {history['train_loss'][-1]:.2f}, "
    f"validation {history['val_loss'][-1]:.2f} nats per token at the end"
)
if profile != "smoke":
    of_training, of_validation = history["train_loss"], history["val_loss"]
    assert of_training[0] > of_validation[0]
    assert of_training[-1] < of_validation[-1] - 0.2, "the gap"
    assert of_validation[-1] < min(of_validation) + 0.05, "not turned up"

# %% [markdown]
# The dotted line is $\log V$, where everything began. At first the training loss lies above the other: it is a mean
# over an epoch in which the model got better all the time, and is measured with dropout. Then both fall, and they part.
# Each token of the training text is seen once per epoch, and the model begins to know this text by heart as well as the
# language it is written in. That is **overfitting** in its mild form: the gap is wide, but the validation loss has not
# turned up.
#
# ### A sick one
#
# A healthy curve is easiest to recognise beside a sick one. Here are three short runs on a small part of the text, with
# the same parameters at the start and the same batches: one as above; one without warm-up and without clipping; one
# without either and with ten times the learning rate.
#
# > **Predict, then run.** Which of the runs are in trouble? (a) Both of the changed ones. (b) Only the last. (c) None,
# > the optimiser recovers.


# %%
def short_run(clip=1.0, **changes):
    torch.manual_seed(0)
    small = gpt.GPT(gpt.GPTConfig(**{**settings["model"], "dropout": 0.0}))
    lessons = gpt.NextTokenTraining(small, **changes)
    options = {"gradient_clip_val": clip, "limit_val_batches": 0, "seed": 0}
    curve = training.fit(lessons, part, max_epochs=short_steps // 4, **options)
    return curve["train_loss"]


# 4 steps an epoch
part = TextData(
    **{**settings["data"], "tokenizer": tokenizer, "limit": 4 * 16 * T + 1}
)


# %%
curves = {
    "as above": short_run(),
    "no warm-up, no clipping": short_run(clip=None, warmup=0.0),
}
curves["and ten times the rate"] = short_run(
    clip=None, warmup=0.0, learning_rate=10 * lessons.learning_rate
)
alone = torch.distributions.Categorical(
    part.tokens["train"].bincount().float()
).entropy()


# %%
for name, values in curves.items():
    print(f"{name:24s} ends at {values[-1]:.2f} nats per token")
print(f"guessing by the tokens' frequencies alone costs {alone:.2f}")
if profile != "smoke":
    healthy, bare, fast = curves.values()
    assert abs(bare[-1] - healthy[-1]) < 0.5
    assert fast[0] < min(healthy[0], bare[0])
    assert fast[-1] > max(healthy[-1], bare[-1]) + 0.25
    assert max(fast[-1], healthy[-1]) < alone


# %% mystnb={"image": {"alt": "Three losses against the step: two fall together and end low; the third begins lowest, then falls more slowly and ends well above them."}}
steps = range(4, short_steps + 1, 4)
for (name, values), style in zip(curves.items(), ("-", ":", "--"), strict=True):
    plt.plot(
        steps, values, style, marker="o" if len(steps) == 1 else "", label=name
    )
plt.axhline(alone.item(), color="grey", linestyle=":", linewidth=1)
plt.xlabel("step")
plt.ylabel("training loss (nats per token)")
plt.legend()
plt.show()

# %% [markdown]
# It is (b). The second curve ends close to the first: at its ordinary rate this small model hardly needs warm-up and
# clipping. They are kept because they cost nothing; GPT-3, too, was trained with both (Brown et al., 2020). Ten times
# the rate is another matter. The loss falls fastest at first, then more slowly than the others, and ends well above
# them. (The dotted line is what guessing by the tokens' frequencies costs, with no look at the past.) Nothing crashed,
# no number was infinite; seen alone, this curve could be taken for that of a model that is merely too small. The cure
# is a lower rate, from a fresh start.
#
# ## What it writes
#
# Sampling is the subject of [From probabilities to text](decoding.ipynb). Here the model simply continues a few words,
# with the logits divided by a temperature of 0.8.

# %%
samples, length = [], 60 if profile == "smoke" else 160  # tokens
for seed, prompt in enumerate(['The "', "If the class"]):
    torch.manual_seed(seed)
    written = gpt.generate(
        model, tokenizer.encode(prompt)[None], length, temperature=0.8
    )
    samples.append(tokenizer.decode(written[0]))
    for line in samples[-1][:420].splitlines():
        print(textwrap.fill(line, 80))
    print("-" * 60)


# %%
def words(text):
    return re.findall(r"[a-z]+", text.lower())


known, said = set(words(texts["train"])), words(" ".join(samples))
real = sum(word in known for word in said) / len(said)
print(f"{real:.0%} of the words occur in the training text")
assert profile == "smoke" or real > 0.75

# %% [markdown]
# Read it critically. The form is often right: most of the words, the tone of a manual, often its quotes and headings.
# Some words do not exist, most sentences go wrong somewhere, and the content is empty: what a line claims, the next one
# has forgotten. The loss asks for the next token, and much of that is decided by the spelling and by the phrase. A
# model of this size, with so little text, gets no further. (The chapter on decoding gets more out of the same model.)
#
# ## One more rung
#
# On the test text, in bits per character, next to the rungs counted at the beginning.
#
# > **Predict, then run.** The 12-gram is a table of counts with a rule for what is not in it. How far below it does the
# > GPT come? (a) More than half a bit. (b) A small fraction of a bit. (c) Not at all.

# %% mystnb={"image": {"alt": "Horizontal bars that become shorter: uniform, letters, bigram, 5-gram and 12-gram, and the shortest for the GPT, only a little shorter than the one above it."}}
ladder["GPT"] = bits(model, tokenizer, texts["test"])
for name, value in ladder.items():
    print(f"{name:8s} {value:.2f} bits per character")
plt.figure(figsize=(6, 2.8))
plt.barh(
    list(ladder),
    list(ladder.values()),
    color=[plots.COLOURS[0]] * 5 + [plots.COLOURS[3]],
)
plt.gca().invert_yaxis()
plt.grid(axis="y")
plt.xlabel("bits per character, test text")
plt.show()
assert profile == "smoke" or 0 < ladder["12-gram"] - ladder["GPT"] < 0.2

# %% [markdown]
# It is (b), and that deserves a pause. All the machinery of this chapter is a small step ahead of a table that is
# counted in a second. Now look up the LSTM's figure at the end of [its chapter](recurrent_language_model.ipynb): it
# lies close by as well, on one side or the other. Three very different models come to nearly the same result; each is
# about as unsure as between three or four equally likely characters. What they have in common is the text. It is short,
# a third of a million characters, and a manual repeats its phrases. The gap between the two curves above says that the
# GPT could hold more: it knows much of the training text by heart.
#
# So why GPTs? The answer lies in larger texts. A 12-gram can use the last eleven characters only where it has *seen*
# them before, and never uses a twelfth; a recurrent network has to squeeze all it has read into one state, and reads one
# token after another. A Transformer looks back as far as its context reaches and learns from all positions at once, and
# with more parameters and more text it goes on improving, ahead of LSTMs of the same size (Kaplan et al., 2020). That
# is the subject of [the next chapter](scaling.ipynb). A ladder measured on one small text says little about it. And if
# you are shown a new model beside a weak baseline only, ask for the 12-gram.
#
# One more caution. The same model has different figures on different sections, and the difference is larger than that
# between good models:

# %%
of_split = {
    split: bits(model, tokenizer, texts[split]) for split in ("validation", "test")
}
for split, value in of_split.items():
    print(f"{split}: {value:.2f} bits per character")
if profile != "smoke":
    difference = of_split["test"] - of_split["validation"]
    assert difference > ladder["12-gram"] - ladder["GPT"]

# %% [markdown]
# Some sections are harder to guess than others. So compare *models on one text*, never figures on two.
#
# ### What each part is worth
#
# Every part adds to the residual stream, so any one of them can be taken out of the finished model: let it add the same
# vector at every position, and look how much the loss rises. The vector is the *mean* of what the part adds. With a
# zero instead, the layers above would read a stream that has shifted as a whole, and the rise would be due to that
# shift as well.


# %%
def loss_without(part, always_the_same):
    silence = part.register_forward_hook(
        lambda layer, given, output: always_the_same.expand_as(output)
    )
    loss = model.nats_per_token(data.tokens["validation"][:4000])
    silence.remove()
    return loss


def mean_output(part):  # what it adds to the stream on average
    outputs = []
    watch = part.register_forward_hook(
        lambda layer, given, output: outputs.append(output.flatten(0, 1))
    )
    model.nats_per_token(data.tokens["train"][:8000])
    watch.remove()
    return torch.cat(outputs).mean(dim=0)


# %% mystnb={"image": {"alt": "Bars for each attention and each network, layer by layer: how much the loss rises without it; every bar is positive, and that of the first network is by far the highest."}}
lost = {}
whole = model.nats_per_token(data.tokens["validation"][:4000])
for offset, name in ((-0.2, "attention"), (0.2, "mlp")):
    parts = [getattr(block, name) for block in model.blocks]
    rises = [loss_without(part, mean_output(part)) - whole for part in parts]
    assert profile == "smoke" or min(rises) > 0
    lost[name] = rises
    plt.bar(
        [layer + offset for layer in range(1, L + 1)], rises, width=0.4, label=name
    )
plt.xticks(range(1, L + 1))
plt.xlabel("layer")
plt.ylabel("rise of the loss (nats per token)")
plt.legend()
plt.show()


# %%
others = lost["attention"] + lost["mlp"][1:]
assert profile == "smoke" or lost["mlp"][0] > 2 * max(others)


# %% [markdown]
# No part is idle: without any one of them the model gets worse. By far the most is lost with the network of the first
# layer; why, these figures do not say. (The bars do not add up to anything: the parts have been trained together, and
# without two of them the loss may rise by more than the sum.)
#
# ## What each change brings
#
# Between GPT-2 of 2019 and a small model of the 2020s lie many changes, most with a paper that praises it. Is the
# praise deserved on *this* scale? A small setting that many know is Karpathy's
# [nanoGPT](https://github.com/karpathy/nanoGPT): Shakespeare by characters, 4 layers of width 128, a context of 64,
# 2,000 steps of 12 windows, a learning rate of 0.001. Its README reports a loss of 1.88 for it.
#
# `benchmarks/language.py` begins there and makes four *steps*, one after the other; each row keeps the changes before.
# Then it makes seven *trials*: one change each, always to the last step. A comparison at one learning rate favours the
# model that it suits. So every row looks for its own: the rate is doubled or halved until the best of those tried lies
# between two worse ones. With that rate two more seeds are trained. All this takes hours; the figures come with the
# package.
#
# > **Predict, then run.** The first row is GPT-2 with a learning rate chosen for it; the fifth has all four changes.
# > What brings more? (a) That rate alone, in place of nanoGPT's. (b) The four changes after it together.

# %%
benchmark = json.loads(
    files("aigc_course")
    .joinpath("benchmarks/language.json")
    .read_text(encoding="utf-8")
)
shakespeare = benchmark["shakespeare"]
print(f"{shakespeare['command']}, {shakespeare['date']}, {shakespeare['device']}")


# %%
rows = {row["change"]: row for row in shakespeare["rows"]}
steps = [name for name, row in rows.items() if row["kept"]]
trials = [name for name in rows if name not in steps]
losses = {
    name: [
        run["validation_nats"]
        for run in row["runs"]
        if run["learning_rate"] == row["learning_rate"]
    ]
    for name, row in rows.items()
}
mean = {name: sum(values) / len(values) for name, values in losses.items()}


# %%
# by the seeds: do all of one row lie below all of the other?
def verdict(name, other):
    if max(losses[name]) < min(losses[other]):
        return "better"
    if min(losses[name]) > max(losses[other]):
        return "worse"
    return "cannot be told"


compared = dict(zip(steps[1:], steps, strict=False)) | dict.fromkeys(
    trials, steps[-1]
)
verdicts = {name: verdict(name, other) for name, other in compared.items()}


# %%
for name, values in losses.items():
    if name == trials[0]:
        print("\nTrials, each compared with the last step:")
    print(
        f"{name:43s} {rows[name]['learning_rate']:.3f} {mean[name]:.3f} "
        f"({min(values):.3f}-{max(values):.3f}) {verdicts.get(name, '')}"
    )

# %% mystnb={"image": {"alt": "Points in rows. Above a grey line the five steps, whose losses fall from 1.75 to 1.65 and no further with the last; below it seven trials, of which one, Muon, lies far to the left of all others. All lie left of a dashed line at 1.88."}}
figure, ax = plt.subplots(figsize=(7.5, 4.6))
for number, values in enumerate(losses.values()):
    label = None if number else "one seed each"
    colour = plots.COLOURS[0 if number < len(steps) else 1]
    ax.plot(values, [number] * len(values), "o", color=colour, label=label)
ax.plot([mean[name] for name in steps], range(len(steps)), linewidth=1)
ax.axhline(len(steps) - 0.5, color="grey", linewidth=1)
dashed = {"color": "black", "linestyle": "--", "linewidth": 1}
ax.axvline(1.88, **dashed, label="nanoGPT's README")
ax.set_yticks(range(len(losses)), list(losses))
ax.invert_yaxis()
ax.set_xlabel("validation loss (nats per character)")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
plt.show()


# %% mystnb={"image": {"alt": "Loss against the learning rate, one curve with a valley for each step. GPT-2's curve lies highest and has its valley at 0.008; each further curve lies lower, and the last two have theirs at 0.001."}}
for name in steps:
    runs = sorted(
        (run["learning_rate"], run["validation_nats"])
        for run in rows[name]["runs"]
        if run["seed"] == 0
    )
    plt.plot(*zip(*runs, strict=True), "o-", label=name)
plt.xscale("log")
plt.xlabel("learning rate")
plt.ylabel("validation loss (nats per character)")
plt.legend(fontsize=9)
plt.show()


# %%
first = rows[steps[0]]["runs"][0]
assert first["learning_rate"] == 1e-3, "nanoGPT's rate"
rate_alone = first["validation_nats"] - mean[steps[0]]
changes = mean[steps[0]] - mean[steps[-1]]
print(f"GPT-2 with a rate of its own instead of nanoGPT's: {rate_alone:.3f} nats")
print(f"then the four changes: {changes:.3f} nats")
assert rate_alone > changes + 0.03 > 0.1
assert rows[steps[0]]["learning_rate"] == 8 * rows[steps[-1]]["learning_rate"]
assert [verdicts[name] for name in steps[1:]] == ["better"] * 3 + ["cannot be told"]
told = {name: verdicts[name] for name in trials}
assert min(mean, key=mean.get) == trials[-1]
assert mean[steps[-1]] - mean[trials[-1]] > 0.05, "Muon, more than any step"
assert list(told.values()).count("better") == 1
assert list(told.values()).count("worse") == 3


# %%
at_one_rate = {
    name: run["validation_nats"]
    for name in steps
    for run in rows[name]["runs"]
    if run["seed"] == 0 and run["learning_rate"] == 4e-3
}
for name, nats in at_one_rate.items():
    print(f"at the rate 0.004, seed 0: {nats:.3f}  {name}")
without, with_it = steps[2:4]
assert 0 < at_one_rate[without] - at_one_rate[with_it] < 0.01
gains = {name: mean[earlier] - mean[name] for earlier, name in pairwise(steps)}
assert max(gains, key=gains.get) == with_it, "the largest of the steps"


# %%
def seconds(name):
    spent = [run["cpu_seconds"] for run in rows[name]["runs"]]
    return sum(spent) / len(spent)


dearer = seconds(trials[-1]) / seconds(steps[-1])
print(f"Muon's steps cost {dearer:.1f} times those of AdamW")
for zero in (True, False):
    runs = benchmark["beginnings"]["runs"]
    losses_here = [r["validation_nats"] for r in runs if r["zero_output"] == zero]
    print(f"this chapter's recipe, outputs begin at 0: {zero},", losses_here)
assert 1.3 < dearer < 1.7


# %% [markdown]
# It is (a). The rate brings GPT-2 more than all four changes together bring after it. The second figure shows why this
# is so easily overlooked. Each model has a valley of its own. GPT-2's lies at 0.008, and that of the model with the
# squared ReLU at 0.001. At one rate for all, 0.004, the squared ReLU would seem to bring next to nothing, 1.695 nats
# instead of 1.699. With a rate of its own it brings more than any other step. Whoever compares a new model with an old
# one at a rate that suits the new one measures mostly the rate.
#
# The seeds tell what is a gain. *Rotary positions*, *normalised queries and keys* and *the squared ReLU* are better
# with each seed than the row before with any. A likely reason for the first: a model with learnt positions has to find
# out from the text alone that position 17 comes after position 16, and so on for every position; with rotary positions
# distances are there from the start. *RMSNorm without biases* cannot be told from layer normalisation with them. It is
# kept because it is simpler than what it replaces.
#
# Of the trials, *Muon* brings more than any step does. It is no change of the model but another optimiser, whose update
# of a matrix is a momentum with all singular values brought near 1 (Jordan et al., 2024). Its steps cost half as much
# again as AdamW's here; the chapters stay with AdamW, which they explain. *An untied head*, *SwiGLU* (Shazeer, 2020)
# and *value residuals* (Zhou et al., 2025) cannot be told from the last step. *Outputs that begin at 0* are worse, and
# so is *a large embedding* with a head of its own, even with a learning rate of its own. All of these come from recipes
# for larger models and longer training. What pays there need not pay here, nor the other way round.
#
# So the defaults of a `GPTConfig` are the last step. The chapters' own models let their outputs begin at 0 all the
# same: on this chapter's text, with its recipe, three seeds show no difference.
#
# How far to trust such a table? With three seeds each, two models that are equally good are told apart by mistake once
# in ten times: of the 20 ways to deal six losses to two rows, two separate them. Among eleven comparisons about one
# such mistake is to be expected. The steps are not independent either: a row says what a change brings *after* the ones
# before it, and another order would divide the gain differently. And all of it holds at this size, for 2,000 steps.
#
# **What 1.88 is, and what it is not.** nanoGPT estimates its loss on 20 random batches of 12 windows; we take all of
# the same validation text, windows side by side. How much does such an estimate scatter? The windows' losses tell: the
# standard error of a mean of $n$ is their standard deviation over $\sqrt n$.

# %%
held_out = data.tokens["validation"]
starts = torch.randint(
    len(held_out) - 65, (400,), generator=torch.Generator().manual_seed(0)
)
windows = held_out[starts[:, None] + torch.arange(65)]
with torch.no_grad():
    logits = model(windows[:, :-1])
each = nn.functional.cross_entropy(
    logits.transpose(1, 2), windows[:, 1:], reduction="none"
).mean(dim=1)


# %%
error = each.std() / 240**0.5
print(
    "our model, our text: an estimate from 240 random "
    f"windows scatters by {100 * error / each.mean():.1f} %"
)
assert profile == "smoke" or 0.005 < error / each.mean() < 0.025

# %% [markdown]
# A percent or two is not nothing: 1 % of 1.88 is two units of its second decimal. nanoGPT's schedule differs as well
# (half a cosine down to a tenth of the peak, gradients clipped), and so do some details of its model. So the *first*
# row need not be 1.88, and the fair comparison is between our own rows, where one thing at a time changes.
#
# ### And how fast?
#
# Convenience should not cost speed. In the same benchmark, our model is trained by `training.fit` and by a bare loop in
# plain PyTorch, and against the GPT-2 of Hugging Face's `transformers` of the same size, in turns on the same machine:

# %%
races = {
    "fit_against_bare": ("ours by fit", "ours by a bare loop"),
    "ours_against_hugging_face": ("ours", "Hugging Face's GPT-2"),
    "ours_as_gpt2_against_hugging_face": ("ours as GPT-2", "Hugging Face's GPT-2"),
}
for race, (first, second) in races.items():
    median = benchmark["throughput"][race]["median"]
    left, right = [
        value for name, value in median.items() if name.endswith("_per_s")
    ]
    print(
        f"{first:13s} {left:7,.0f} tokens/s | {second:20s} "
        f"{right:7,.0f} tokens/s | ratio {median['ratio']:.2f}"
    )

# %% [markdown]
# Medians over pairs of runs; each ratio is the median of the pairs' ratios, so it need not be exactly the quotient of
# the two speeds beside it.
#
# ## When it fails
#
# **The mask is forgotten**: the loss falls towards zero and the samples are noise. [Attention](attention.ipynb) does it
# on purpose, and the check of the gradients above finds it before any training.
#
# **The learning rate is too high**: see the sick run above.
#
# **There is too little text.** Then the model learns that text and little else. A model of this chapter's shape,
# without dropout, gets a few pages and reads them again and again:

# %%
# 3 steps an epoch
few = TextData(
    **{**settings["data"], "tokenizer": tokenizer, "limit": 3 * 16 * T + 1}
)
torch.manual_seed(0)
parrot = gpt.GPT(gpt.GPTConfig(**{**settings["model"], "dropout": 0.0}))
options = {"limit_val_batches": 2, "gradient_clip_val": 1.0}
parrot_history = training.fit(
    gpt.NextTokenTraining(parrot),
    few,
    max_epochs=max(2, memory_steps // 3),
    **options,
)


# %%
pages = tokenizer.decode(few.tokens["train"])
best, last = min(parrot_history["val_loss"]), parrot_history["val_loss"][-1]
print(f"{len(pages):,} characters; nats per token:")
print(f"training {parrot_history['train_loss'][-1]:.2f}, ", end="")
print(f"validation {best:.2f} at best and {last:.2f} at the end")
if profile != "smoke":
    lowest = parrot_history["val_loss"].index(best)
    assert lowest < len(parrot_history["val_loss"]) / 2, "turns early"
    assert best + 0.4 < last
    assert parrot_history["train_loss"][-1] < 1


# %% mystnb={"image": {"alt": "The training loss falls to nearly zero; the validation loss falls at first, turns early, and climbs most of the way back."}}
plots.curves(
    parrot_history, ["train_loss", "val_loss"], ylabel="loss (nats per token)"
)
plt.show()

# %% [markdown]
# This is overfitting in its grave form. The validation loss turns early and climbs back towards $\log V$, the loss of a
# model that knows nothing, while the model grows more and more certain of its few pages. Asked to continue half a
# window of them, it writes text that reads like the manual. What is wrong with it shows when one asks how much of that
# occurs word for word in the training text, in stretches of at least 50 characters:

# %%
torch.manual_seed(0)
starts = [len(few.tokens["train"]) * quarter // 4 for quarter in (1, 2, 3)]
prompt = torch.stack(
    [few.tokens["train"][start : start + T // 2] for start in starts]
)
# what it wrote itself
recited = gpt.generate(parrot, prompt, T // 2, temperature=0.5)[:, T // 2 :]
print(textwrap.fill(tokenizer.decode(recited[0]), 80))
rows = {
    "the overfitted model's text": ("".join(map(tokenizer.decode, recited)), pages)
}


# %%
rows |= {
    "the chapter's samples": ("".join(samples), texts["train"]),
    "the test text": (texts["test"], texts["train"]),
}
copied = {
    name: text_metrics.copied_share(text, training_text, 50)
    for name, (text, training_text) in rows.items()
}
for name, share in copied.items():
    print(f"{name}: {100 * share:.0f} % copied")
assert profile == "smoke" or copied["the overfitted model's text"] > 0.6


# %% [markdown]
# The overfitted model recites. For the chapter's samples compare with the last row: people repeat themselves too, and
# manuals more than most, so some copying is natural. A model that copies clearly more than new text of the same kind
# does has learnt pages and not the language. [How good is this text?](../evaluation/text_quality.ipynb) comes back to
# it.
#
# **The vocabulary is another.** The number 300 is a different piece of text for every tokenizer, and a model that is
# given another one's numbers writes nonsense without complaint. If at least the sizes differ, the package refuses to
# load the checkpoint:

# %%
try:
    other = gpt.GPTConfig(**{**settings["model"], "vocab_size": V + 7})
    gpt.GPT(other).load_state_dict(model.state_dict())
except ValueError as error:
    print(textwrap.fill(str(error), 76))

# %% [markdown]
# ## What the source articles got wrong here
#
# They ask for labelled data, which pre-training does without, and for GPT-3's weights, which were never released
# ([errata](../../book/errata.md#errata-language-models)).
#
# ## The promise
#
# This chapter promises a GPT that needs fewer than 2.1 bits per character on text it has not seen, and at least one bit
# less than the bigram; and that the last step of the ablation is below 1.72.

# %%
figures = results.record(
    "gpt",
    profile,
    bits_per_character=round(ladder["GPT"], 3),
    bigram_bits_per_character=round(ladder["bigram"], 3),
    validation_nats_per_token=round(history["val_loss"][-1], 3),
    shakespeare_nats_per_character=[
        round(mean[name], 3) for name in (steps[0], steps[-1])
    ],
)
print(figures["bits_per_character"], figures["bigram_bits_per_character"])
print(
    figures["validation_nats_per_token"], figures["shakespeare_nats_per_character"]
)


# %%
if profile != "smoke":
    assert figures["bits_per_character"] <= 2.1, "on text it has not seen"
    assert (
        figures["bits_per_character"] <= figures["bigram_bits_per_character"] - 1.0
    ), "far below the bigram"
assert max(losses[steps[-1]]) <= 1.72, (
    "nanoGPT's setting, every seed of the last step"
)


# %% [markdown]
# ## Summary
#
# - Byte-pair encoding merges the most frequent pair of neighbours, again and again. On bytes it can encode every text.
# - A loss per token depends on how much text a token covers. Bits per character can be compared whatever the tokenizer:
#   the sum of all losses in nats, divided by $\ln 2$ and by the number of characters.
# - A GPT is a stack of blocks along a residual stream. Attention moves information between positions, from left to
#   right; the MLP works at each position; both read a normalised copy and add to the stream.
# - It has $12 L d^2$ parameters in its blocks. A training step costs about six operations per parameter and token.
# - At the start the loss is about $\log V$. Zeros where blocks write into the residual stream, and in a head of its
#   own, make that exact.
# - AdamW, a short warm-up, a decay to zero, clipped gradients. Watch both curves: the training loss alone knows nothing
#   of new text.
# - In an ablation a gain smaller than the difference between two seeds is no gain yet.
#
# ## Check yourself
#
# **1.** GPT-2's smallest model has $L = 12$, $d = 768$, $V = 50{,}257$ and learnt vectors for $T = 1024$ positions. It
# has biases: one number for each output of every linear layer in the blocks, and a gain and a bias for every layer
# normalisation, two in each block and one at the end. The head shares the embedding's matrix. How many parameters is
# that? Check with the package, on the device "meta", which knows shapes and stores nothing.

# %% tags=["hide-cell"]
# @title Solution
by_formula = (
    12 * (12 * 768**2 + (3 + 1 + 4 + 1) * 768 + 2 * 2 * 768)
    + (50_257 + 1024) * 768
    + 2 * 768
)
with torch.device("meta"):
    sizes = {"layers": 12, "heads": 12, "width": 768}
    gpt2 = gpt.GPT(gpt.GPTConfig(50_257, 1024, **sizes, **gpt.GPT2))
print(f"{by_formula:,} parameters")
assert by_formula == sum(weight.numel() for weight in gpt2.parameters())

# %% [markdown]
# **2.** Multiply a residual stream by 10. What changes in what a block adds to it? So what happens to the *share* of
# late layers in a stream that has grown large?

# %% tags=["hide-cell"]
# @title Solution
stream, block = torch.randn(1, 8, shape["width"]), package_gpt.blocks[0]
added = block.attention(block.norm_1(stream))
ten_times = block.attention(block.norm_1(10 * stream))
print(f"largest change: {(added - ten_times).abs().max():.5f}")
torch.testing.assert_close(added, ten_times, atol=1e-4, rtol=1e-4)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Nothing: each part reads a normalised copy. So the same addition counts for less in a large stream, and late layers
# have to write larger numbers to have an effect. That is the price of pre-norm, and a reason why the head reads a
# normalised copy too.
#
# </details>
#
# **3.** Clip a gradient by hand, and compare with PyTorch.

# %% tags=["hide-cell"]
# @title Solution
torch.manual_seed(0)
weights = [nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(5))]
for weight in weights:
    weight.grad = torch.randn_like(weight)
length = torch.cat([weight.grad.flatten() for weight in weights]).norm()
by_hand = [weight.grad * min(1.0, 0.5 / length.item()) for weight in weights]
torch.nn.utils.clip_grad_norm_(weights, 0.5)
print(
    f"from length {length:.3f} to "
    f"{torch.cat([weight.grad.flatten() for weight in weights]).norm():.3f}"
)
for weight, expected_gradient in zip(weights, by_hand, strict=True):
    torch.testing.assert_close(weight.grad, expected_gradient, atol=1e-5, rtol=1e-4)

# %% [markdown]
# **4.** A colleague changes the vocabulary from 1,000 to 8,000 tokens; the validation loss rises from 3.3 to 4.3 nats
# per token. Is the new model worse?
#
# <details><summary>Answer</summary>
#
# One cannot tell yet. Suppose a token had 3 characters on average and has 4.3 now. Then the old model needs
# $3.3 / (3 \ln 2) \approx 1.59$ bits per character, the new one $4.3 / (4.3 \ln 2) \approx 1.44$: the new one is
# better, though its loss per token is higher by a whole nat.
#
# </details>
#
# **5.** In words: what would you see in the loss at the first step if the head had been drawn from a normal
# distribution with a large spread, and in the curve after it?
#
# <details><summary>Answer</summary>
#
# A loss far above $\log V$: the model is sure of tokens without a reason, and mostly wrong. In the first steps the loss
# falls very steeply, while the model unlearns that. It looks like fast progress, and is only the repair of a bad start.
#
# </details>
#
# **Graded assignment**: [the pieces of a language model](../exercises/language.ipynb).
#
# ## Further reading
#
# - A. Radford et al., [Improving Language Understanding by Generative
#   Pre-Training](https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf) (2018),
#   and [Language Models are Unsupervised Multitask
#   Learners](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf)
#   (2019): GPT and GPT-2.
# - A. Vaswani et al., [Attention Is All You Need](https://arxiv.org/abs/1706.03762) (2017): the Transformer.
# - R. Sennrich, B. Haddow and A. Birch, [Neural Machine Translation of Rare Words with Subword
#   Units](https://arxiv.org/abs/1508.07909) (2016): byte-pair encoding.
# - R. Xiong et al., [On Layer Normalization in the Transformer Architecture](https://arxiv.org/abs/2002.04745) (2020):
#   before or after.
# - B. Zhang and R. Sennrich, [Root Mean Square Layer Normalization](https://arxiv.org/abs/1910.07467) (2019).
# - J. Su et al., [RoFormer: Enhanced Transformer with Rotary Position Embedding](https://arxiv.org/abs/2104.09864)
#   (2021).
# - A. Henry et al., [Query-Key Normalization for Transformers](https://arxiv.org/abs/2010.04245) (2020).
# - D. R. So et al., [Primer: Searching for Efficient Transformers for Language
#   Modeling](https://arxiv.org/abs/2109.08668) (2021): the squared ReLU.
# - N. Shazeer, [GLU Variants Improve Transformer](https://arxiv.org/abs/2002.05202) (2020): SwiGLU.
# - Z. Zhou et al., [Value Residual Learning](https://arxiv.org/abs/2410.17897) (2025).
# - K. Jordan et al., [Muon: An Optimizer for Hidden Layers in Neural
#   Networks](https://kellerjordan.github.io/posts/muon/) (2024).
# - I. Loshchilov and F. Hutter, [Decoupled Weight Decay Regularization](https://arxiv.org/abs/1711.05101) (2019):
#   AdamW.
# - J. Kaplan et al., [Scaling Laws for Neural Language Models](https://arxiv.org/abs/2001.08361) (2020): among much
#   else, Transformers beside LSTMs.
# - T. B. Brown et al., [Language Models are Few-Shot Learners](https://arxiv.org/abs/2005.14165) (2020): GPT-3; its
#   recipe is in appendix B.
# - A. Karpathy, [nanoGPT](https://github.com/karpathy/nanoGPT): a small, widely known reference.
#
# Next: [What more compute buys](scaling.ipynb).
