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
# # Writing faster, with less memory
#
# **After this chapter you can**
#
# - store a model's weights in eight or four bits, and say what that costs in bits per character;
# - let heads share keys and values, and repair a model that was not trained so;
# - let a cheap model propose tokens and an expensive one check several at once, prove that the text has exactly the
#   distribution of the expensive one, and recognise a version whose text has not;
# - compute attention piece by piece, without ever holding the whole table of attention weights.
#
# **You need**: the model from [A GPT from the ground up](gpt.ipynb), and the key–value cache from
# [From probabilities to text](decoding.ipynb). · [How long this chapter takes to run](../../book/results.md)

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
import copy
import textwrap
from dataclasses import replace

import matplotlib.pyplot as plt
import torch
from torch import nn

from aigc_course import diagrams, gpt, plots, recurrent, results
from aigc_course import text_metrics, training
from aigc_course.data import TextData, load_text

# %%
plots.use_style()
profile = training.resolve_profile(profile)
repairs, draws, length = {
    "smoke": (2, 200, 30),
    "cpu": (60, 4000, 100),
    "gpu": (200, 4000, 200),
}[profile]
print(f"Profile {profile}: {repairs} steps of repair, {draws} draws for a test,")
print(f"texts of {length} tokens.")


# %% [markdown]
# ## Two tokens for the price of one
#
# A language model writes one token at a time, and for each it has to fetch all of its weights from memory. Reading is
# cheaper: a whole text goes through in one pass. So let something very cheap *guess* how the text goes on, and let the
# model *read* the guess, several tokens in one pass. Some of the guesses pass a test and are kept, and the
# rest is thrown away. Here a table of token counts makes the guesses, and the course's GPT checks them:

# %%
model, tokenizer = gpt.pretrained(profile)
model.eval()
T, V = model.config.context, model.config.vocab_size
train, test = [
    tokenizer.encode(load_text("python_docs", s)) for s in ("train", "test")
]
text = load_text("python_docs", "test")
draft = recurrent.NGram(V, order=4).fit(train)


def bits(model):  # per character of the test text
    nats = model.nats_per_token(test)
    return text_metrics.bits_per_character(nats, len(test) - 1, len(text))


# %% [markdown]
# In the text below, the tokens that came from the table of counts stand between brackets; the GPT has written the
# others. How this is done, and which guesses are kept, is explained below; here is the result.


# %%
@torch.no_grad()
def speculate(model, prompt, count, ahead=3):
    """A prompt (time,) and `count` tokens more; which of them are the draft's."""
    tokens, by_draft, cache = prompt, [], model.new_cache(1)
    model(prompt[None, :-1], cache)  # the last token is read with the guesses
    while len(by_draft) < count:
        guesses, q = guess(tokens, ahead)
        read = torch.cat([tokens[-1:], guesses])
        p = model(read[None], cache)[0].softmax(dim=-1)  # one pass checks them all
        kept, following = check(guesses, q, p)
        tokens = torch.cat([tokens, guesses[:kept], following])
        by_draft += [1] * kept + [0]
        for layer in cache:  # what was read and not kept is forgotten
            layer.length = len(tokens) - 1
    return tokens[: len(prompt) + count], by_draft[:count]


# %%
def guess(tokens, ahead):
    """Tokens (ahead,) drawn from the table, and their distributions."""
    read, q = tokens, []
    for _ in range(ahead):
        q.append(draft.log_probabilities(read[-3:]).exp().float())
        read = torch.cat([read, torch.multinomial(q[-1], 1)])
    return read[len(tokens) :], torch.stack(q)


def check(guesses, q, p, correct=True):
    """How many guesses are kept, and the token that the model puts after them."""
    for i, x in enumerate(guesses):
        if torch.rand(()) >= p[i, x] / q[i, x]:  # refused
            rest = (p[i] - q[i]).clamp(min=0) if correct else p[i]
            return i, torch.multinomial(rest / rest.sum(), 1)
    return len(guesses), torch.multinomial(p[len(guesses)], 1)


# %%
torch.manual_seed(0)
start = tokenizer.encode('The "with" statement')
written, by_draft = speculate(model, start, length)
pieces = [tokenizer.decode(token[None]) for token in written[len(start) :]]
marked = "".join(
    f"[{p}]" if d else p for p, d in zip(pieces, by_draft, strict=True)
)
for line in (tokenizer.decode(start) + marked).splitlines():
    print(textwrap.fill(line, 76))
passes = by_draft.count(0) + by_draft[-1]  # the last pass may be cut off
print(f"--- {length} tokens in {passes} passes of the GPT")
assert profile == "smoke" or passes < 0.8 * length

# %% [markdown]
# > **Predict, then prove.** The table knows far less than the GPT. What does its help do to the text? (a) It gets worse,
# > somewhere between the two models. (b) A little worse, since only likely guesses are kept. (c) Nothing: its
# > distribution is exactly the GPT's.
#
# The answer is below. First two simpler ways to save.

# %% [markdown]
# ## Fewer bits per weight
#
# A weight of our model takes 32 bits, of which most are digits that nobody needs. **Quantisation** stores a whole number
# of few bits instead, and one scale for many of them. Let a row of a matrix be $w$, and let $b$ bits give the whole
# numbers from $-m$ to $m$, with $m = 2^{b-1} - 1$. Then
#
# $$s = \frac{\max_i |w_i|}{m}, \qquad k_i = \operatorname{round}(w_i / s), \qquad w_i \approx s\, k_i .$$
#
# The error of a weight is at most $s / 2$. So it depends on the *largest* weight that shares the scale: one outlier makes
# the steps coarse for all. That is why one takes a scale per row, or per **group** of, say, 32 neighbours, which costs a
# little memory for the additional scales.


# %%
def quantise(weight, bits, group=None):  # (rows, columns) -> numbers and scales
    top = 2 ** (bits - 1) - 1
    parts = weight if group is None else weight.reshape(-1, group)
    scale = parts.abs().amax(dim=1, keepdim=True) / top
    return (parts / scale).round().to(torch.int8), scale


def restore(numbers, scale, shape):
    return (numbers * scale).view(shape)


# %%
torch.manual_seed(0)
some = torch.randn(64, 128)
numbers, scale = quantise(some, 8)
error = (restore(numbers, scale, some.shape) - some).abs()
print(f"whole numbers from {numbers.min()} to {numbers.max()}; largest error")
print(f"{error.max():.4f}, half a step of the widest row {scale.max() / 2:.4f}")
assert (error <= scale / 2 + 1e-6).all()

# %% [markdown]
# > **Predict, then run.** How few bits per weight can the GPT have before its test text costs a hundredth of a bit per
# > character more? (a) About 16. (b) About 8. (c) Fewer than 6.


# %%
def quantised(bits, group=None):
    """A copy of the model whose matrices went through `bits` bits and back."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in other.parameters():
            if weight.ndim == 2:
                numbers, scale = quantise(weight, bits, group)
                weight.copy_(restore(numbers, scale, weight.shape))
    return other


def scale_bits(group):  # scales of 16 bits; a row has at least `width` weights
    return 16 / (group or model.config.width)


# %%
at_full = bits(model)
ways = {(b, g): None for b in (8, 6, 5, 4, 3) for g in (None, 16)}
for width, group in ways:
    ways[width, group] = bits(quantised(width, group)) - at_full
    stored = width + scale_bits(group)
    kind = "rows" if group is None else f"groups of {group}"
    print(f"{width} bits, {kind:12}: {stored:5.2f} stored per weight;", end=" ")
    print(f"lost {ways[width, group]:+.4f} bits per character")

# %% mystnb={"image": {"alt": "Bits per character lost against bits stored per weight: two falling curves that reach zero at about six bits; the one with a scale per row lies below the one with a scale per 16 weights, and rises steeply towards three bits."}}
for group, style in ((None, "o-"), (16, "s--")):
    chosen = [(b, lost) for (b, g), lost in ways.items() if g == group]
    stored = [b + scale_bits(group) for b, _ in chosen]
    label = "a scale per row" if group is None else f"a scale per {group} weights"
    plt.plot(stored, [lost for _, lost in chosen], style, label=label)
plt.xlabel("bits stored per weight")
plt.ylabel("lost (bits per character)")
plt.legend()
plt.show()


# %%
if profile != "smoke":
    assert max(abs(ways[8, None]), abs(ways[6, None]), ways[5, None]) < 0.01
    assert ways[3, None] > ways[4, None] > ways[5, None]
    assert ways[3, 16] < ways[3, None]
    # for the same memory
    assert ways[4, None] < ways[3, 16]
    assert ways[5, None] < ways[4, 16]

# %% [markdown]
# It is (c). With eight bits nothing is lost that could be seen, and with five hardly anything; the loss begins at four and
# rises quickly at three. At three bits groups lose less than rows, but their scales take memory too, and for about the
# same memory a scale per row is better here (a likely reason: our rows are short). In large models small groups were
# found to be worth their memory, and the rule of thumb that came out of many of them is that, for a given memory, about
# four bits per weight with more weights is best (Dettmers and Zettlemoyer, 2023). Better methods for few bits choose
# the rounding so that the layer's *outputs* change little, with some text to measure them on (Frantar et al., 2023).
#
# What counts is memory. Speed follows where most of the time goes into fetching weights. (Here nothing
# becomes faster: we turn the numbers back into 32 bits at once.)
#
# ### When it fails: one outlier
#
# In large models a few coordinates of the *activations* are many times larger than all others (Dettmers et al., 2022);
# whoever quantises activations too has to deal with them. What one outlier does to the numbers that share its scale is
# easy to see on a matrix of weights, one of which we make large:

# %%
matrix = model.blocks[0].mlp[0].weight.detach().clone()
matrix[3, 5] = 50 * matrix.abs().max()
others = torch.ones_like(matrix).bool()
others[3, 5] = False


# %%
off = {}
for name, shape, group in (
    ("one scale", (1, -1), None),
    ("a scale per row", matrix.shape, None),
    ("a scale per 16", matrix.shape, 16),
):
    parts = quantise(matrix.view(shape), 8, group)
    error = (restore(*parts, matrix.shape) - matrix)[others].square().mean().sqrt()
    off[name] = (error / matrix[others].square().mean().sqrt()).item()
    print(
        f"{name:15}: the others are off by {off[name]:.1%} of their size,", end=" "
    )
    print(f"{len(parts[0].unique())} different numbers")

# %%
if profile != "smoke":
    assert off["one scale"] > 5 * off["a scale per row"]
    assert off["a scale per row"] > 1.5 * off["a scale per 16"]

# %% [markdown]
# With one scale for the whole matrix all other weights are rounded to very few values. With a scale per row one row
# suffers, and with groups sixteen weights do.

# %% [markdown]
# ## Fewer keys and values
#
# The other large thing in memory is the cache: for each layer, head and position a key and a value. With
# **grouped-query attention** (Ainslie et al., 2023) several heads share one set of them, each with queries of its own.
# With half as many sets as heads the cache is half as large. With a single set (Shazeer, 2019, who called it multi-query
# attention) it shrinks by the number of heads, four in the `cpu` profile.

# %% tags=["hide-input"]
diagrams.draw(
    "Two groups of heads. Queries q1 and q2 both point to one pair of keys and "
    "values, k and v number 1; queries q3 and q4 both point to pair number 2.",
    {
        "q₁": (0, 0),
        "q₂": (1, 0),
        "q₃": (2.4, 0),
        "q₄": (3.4, 0),
        "k₁ v₁": (0.5, 1.3),
        "k₂ v₂": (2.9, 1.3),
    },
    [("q₁", "k₁ v₁"), ("q₂", "k₁ v₁"), ("q₃", "k₂ v₂"), ("q₄", "k₂ v₂")],
    variables=["q₁", "q₂", "q₃", "q₄"],
)

# %% [markdown]
# A model that was trained with a set for each head can be converted: average the matrices of the heads that are to share,
# and train on for a little (Ainslie et al. took 5 % of the original training). In the code of `Attention` the rows of
# `qkv` are the queries of all heads, then the keys, then the values.


# %%
def with_shared_keys(model, sets):
    """A copy whose heads share `sets` sets of keys and values: their means."""
    other = gpt.GPT(replace(model.config, key_value_heads=sets))
    state = model.state_dict()
    for name in [name for name in state if name.endswith("qkv.weight")]:
        q, k, v = state[name].chunk(3)
        size = len(k) // model.config.heads  # rows of one head
        means = [
            part.view(sets, -1, size, part.shape[1]).mean(dim=1).flatten(0, 1)
            for part in (k, v)
        ]
        state[name] = torch.cat([q, *means])
    other.load_state_dict(state)
    return other.eval()


# %%
settings = gpt.recipe(profile)
data = TextData(**{**settings["data"], "tokenizer": tokenizer})
brief = {"max_steps": repairs, "limit_val_batches": 0, "gradient_clip_val": 1.0}
half = model.config.heads // 2


# %%
shared = {}
for sets in (half, 1):
    other = with_shared_keys(model, sets)
    before = bits(other)
    lessons = gpt.NextTokenTraining(other, learning_rate=1e-3, warmup=0.1)
    training.fit(lessons, data, max_epochs=10, **brief)
    shared[sets] = before - at_full, bits(other) - at_full
    size = model.config.width // model.config.heads
    kept = 2 * model.config.layers * sets * size * T
    print(f"{sets} of {model.config.heads} sets: the cache has {kept:,} numbers;")
    print(f"  lost {shared[sets][0]:.3f} bits per character, after repair", end=" ")
    print(f"{shared[sets][1]:.3f}")


# %%
if profile != "smoke":
    assert all(after < before / 3 for before, after in shared.values())
    assert shared[half][1] < shared[1][1]

# %% [markdown]
# Averaging alone does a lot of damage (a likely reason: the heads had learnt to look for different things). A short
# training repairs most of it, and with half of the sets less loss remains than with a single one.

# %% [markdown]
# ## Speculative decoding, and why it is exact
#
# Now the trick from the beginning (Leviathan, Kalman and Matias, 2023; Chen et al., 2023). At some place of a text let
# $p(x)$ be the model's probabilities of the next token and $q(x)$ those of the cheap **draft**. The draft draws a guess
# $x \sim q$. Then
#
# - **keep** it with probability $\min\big(1, p(x) / q(x)\big)$;
# - otherwise **refuse** it, and draw from what is left over,
#   $r(x) = \max\big(0, p(x) - q(x)\big) / Z$, where $Z = \sum_y \max\big(0, p(y) - q(y)\big)$.
#
# The guess is too frequent where $q > p$, and exactly there it is refused now and then. With what probability does a
# token $x$ come out? It is guessed and kept with probability $q(x) \min(1, p(x)/q(x)) = \min(q(x), p(x))$. A guess is
# refused with probability $1 - \sum_y \min(q(y), p(y))$, and this is $Z$, since
# $\sum_y p(y) = 1 = \sum_y \min(q(y), p(y)) + \sum_y \max(0, p(y) - q(y))$. Together,
#
# $$
# \min\big(q(x), p(x)\big) + Z\, r(x) = \min\big(q(x), p(x)\big) + \max\big(0, p(x) - q(x)\big) = p(x) .
# $$
#
# So it is (c): exactly the model's distribution, whatever the draft is. A bad draft costs time, never quality. On random
# distributions over ten tokens:

# %%
torch.manual_seed(0)
p, q = torch.randn(2, 10, dtype=torch.double).mul(2).softmax(dim=1)
kept = torch.minimum(p, q)
left = (p - q).clamp(min=0)
comes_out = kept + (1 - kept.sum()) * left / left.sum()
print(f"largest difference from p: {(comes_out - p).abs().max():.1e}")
torch.testing.assert_close(comes_out, p)

# %% [markdown]
# Several guesses in a row are checked in one pass, because the model's probabilities after each of them come out of the
# same pass. The first refusal ends the row: what was guessed after it followed a token that is not there. If none is
# refused, the pass has given one more distribution, and the model draws one more token at no extra cost. So each pass gives at
# least one token. The first cells of this chapter are this rule, with the model's cache cut back to what was kept.
#
# A proof on paper is one thing, a program another. Its tokens are to be distributed as the model's: we draw the first
# token after a prompt many times, and compare the shares with the model's probabilities. Beside it stands a common
# mistake: on a refusal, draw from $p$ itself.

# %%
with torch.no_grad():
    exact = model(start[None])[0, -1].softmax(dim=-1)
    q1 = draft.log_probabilities(start[-3:]).exp().float()


# %%
torch.manual_seed(0)
far = {}
for name, correct in (("the rule", True), ("p on refusal", False)):
    firsts = []
    for _ in range(draws):
        guesses = torch.multinomial(q1, 1)
        kept, following = check(
            guesses, q1[None], exact[None].expand(2, -1), correct
        )
        firsts.append(guesses[0] if kept else following[0])
    share = torch.stack(firsts).bincount(minlength=V) / draws
    far[name] = 0.5 * (share - exact).abs().sum().item()
model_itself = torch.multinomial(exact, draws, replacement=True)
share = model_itself.bincount(minlength=V) / draws
far["the model itself"] = 0.5 * (share - exact).abs().sum().item()

# %%
for name, distance in far.items():
    print(f"{name:17}: total variation from the model's p {distance:.3f}")
if profile != "smoke":
    assert far["the rule"] < 1.3 * far["the model itself"]
    assert far["p on refusal"] > 1.5 * far["the rule"]

# %% [markdown]
# The total variation, half the sum of the absolute differences, is not zero even for draws from the model itself, because the draws
# are finite. The rule is just as close. The mistaken version is further off: it gives too much to what the draft likes, since
# that has a chance twice.
#
# That was the rule, for one token. The whole program also cuts back a cache, and an error of one there would show only
# later in the text. With logits ten thousand times as large the model is sure of one token at each place. Then the
# program, whatever the draft guesses, has to write what the model writes when it takes the most likely token each time:

# %%
sharp = copy.deepcopy(model)
sharp.head.weight = nn.Parameter(1e4 * model.head.weight)
count = min(40, T - len(start) - 4)  # it reads up to three tokens further
greedy = gpt.generate(sharp, start[None], count, greedy=True)[0]
assert torch.equal(speculate(sharp, start, count)[0], greedy)
print(textwrap.shorten(tokenizer.decode(greedy), 80))

# %% [markdown]
# It does.

# %% [markdown]
# ### How much is gained
#
# A guess is kept with probability $\alpha = \sum_x \min(p(x), q(x))$, one minus the total variation between the two.
# If that were the same everywhere, a pass with $k$ guesses would give
# $1 + \alpha + \dots + \alpha^k = (1 - \alpha^{k+1}) / (1 - \alpha)$ tokens on average.

# %%
torch.manual_seed(1)
sizes, per_pass = (1, 2, 3, 5, 8), []
for ahead in sizes:
    _, by_draft = speculate(model, start, length, ahead)
    per_pass.append(length / by_draft.count(0))
own = gpt.generate(model, start[None].expand(8, -1), min(length, T - len(start)))
with torch.no_grad():
    p = model(own[:, :-1])[:, len(start) :].softmax(dim=-1).flatten(0, 1)
contexts = own[:, :-1].unfold(1, 3, 1)[:, len(start) - 2 :].flatten(0, 1)
q = torch.stack([draft.log_probabilities(c).exp().float() for c in contexts])
acceptance = torch.minimum(p, q).sum(dim=1).mean().item()
print(f"a guess is kept with probability {acceptance:.2f} on average")


# %% mystnb={"image": {"alt": "Tokens per pass against guesses per pass: the measured points rise and level off, near the curve of the formula."}}
k = torch.arange(1, 9)
formula = (1 - acceptance ** (k + 1)) / (1 - acceptance)
plt.plot(k, formula, color=plots.COLOURS[0], label="formula")
plt.plot(sizes, per_pass, "o", color=plots.COLOURS[3], label="one text each")
plt.axhline(1, color="grey", linestyle="--", label="without a draft")
plt.xlabel("guesses per pass")
plt.ylabel("tokens per pass")
plt.legend()
plt.show()
if profile != "smoke":
    assert 0.35 < acceptance < 0.75
    assert max(per_pass) > 1.4
    near = [abs(a - formula[s - 1]) for a, s in zip(per_pass, sizes, strict=True)]
    assert max(near) < 0.6

# %% [markdown]
# With more guesses the gain levels off: the late ones are rarely reached. Each point
# is one text, so they scatter. And the formula takes $\alpha$ to be the same everywhere; where guesses succeed in runs,
# many guesses gain more than it says, as $\mathbb E[\alpha^k] \ge (\mathbb E[\alpha])^k$. What does it bring by the clock? At this size
# probably little: the draft's own calls from Python take their time too. (We have not timed it.) In models with ten thousand million weights and more the pass is what costs, and the
# published gains are about two- to threefold (Leviathan et al., 2023; Chen et al., 2023).

# %% [markdown]
# ## Attention piece by piece
#
# The last saving concerns the table of attention weights, $T \times T$ numbers for each head. **FlashAttention** (Dao et
# al., 2022) never holds it in memory: it goes through the keys in blocks. The difficulty is the softmax, whose denominator
# needs all scores. The way out is older (Milakov and Gimelshein, 2018). For one query keep three things while the
# blocks come by: the largest score so far $m$, the sum $\ell = \sum_i e^{s_i - m}$, and the weighted sum of the values,
# $o = \sum_i e^{s_i - m} v_i$. When a new block raises the largest score from $m$ to $m'$, both sums are multiplied by
# $e^{m - m'}$. At the end $o / \ell$ is the answer.


# %%
def attention_in_blocks(q, k, v, block):  # (time, d) each; no mask
    m = torch.full((len(q), 1), -torch.inf)
    total, gathered = torch.zeros(len(q), 1), torch.zeros_like(q)
    for keys, values in zip(k.split(block), v.split(block), strict=True):
        scores = q @ keys.T / q.shape[1] ** 0.5  # (time, block), never more
        new_m = torch.maximum(m, scores.amax(dim=1, keepdim=True))
        shrink, weights = (m - new_m).exp(), (scores - new_m).exp()
        total = shrink * total + weights.sum(dim=1, keepdim=True)
        gathered, m = shrink * gathered + weights @ values, new_m
    return gathered / total


# %%
torch.manual_seed(0)
q, k, v = torch.randn(3, 200, 32) * 3
whole = nn.functional.scaled_dot_product_attention(q, k, v)
for block in (200, 64, 1):
    difference = (attention_in_blocks(q, k, v, block) - whole).abs().max()
    print(f"blocks of {block:3}: largest difference {difference:.1e}")
    assert difference < 1e-4

# %% [markdown]
# The same output, and at no time more than a block's scores. On a GPU that is also *faster* (Dao et al., 2022): a block's
# scores stay in the small fast memory beside the arithmetic, and much less is read from the large slow one and written to
# it. The arithmetic itself has not become less.
#
# ## What else is used
#
# - **Paged caches** (Kwon et al., 2023) keep keys and values in pages of a fixed size, as an operating system keeps
#   memory, so that many texts of unknown length share one machine without gaps.
# - **Mixtures of experts** (Fedus, Zoph and Shazeer, 2022) have several MLPs per block, of which each token visits one
#   or two: many weights, little arithmetic per token.
# - **State-space models** such as Mamba (Gu and Dao, 2023) go back to a state of fixed size, as in an
#   [LSTM](recurrent_language_model.ipynb), computed in parallel when reading; their memory does not grow with the text.
# - **Constrained decoding** (Willard and Louf, 2023) sets to zero the probability of every token that a grammar does not
#   allow next, so that the output can always be parsed.
#
# ## What the source articles got wrong here
#
# Nothing about the running of a trained language model: how one works at all is not shown in them
# ([errata on language models](../../book/errata.md#errata-language-models)).
#
# ## The promise
#
# This chapter promises that eight bits per weight lose at most 0.005 bits per character and four bits in groups at most
# 0.05; and that the draft's guesses are kept at least 40 % of the time, with the text's distribution unchanged.

# %%
figures = results.record(
    "inference",
    profile,
    acceptance_rate=round(acceptance, 3),
    int8_bits_lost=round(ways[8, None], 4),
    int4_bits_lost=round(ways[4, 16], 4),
    shared_keys_bits_lost=round(shared[half][1], 4),
)
print(figures["acceptance_rate"], figures["int8_bits_lost"])
print(figures["int4_bits_lost"], figures["shared_keys_bits_lost"])
if profile != "smoke":
    assert abs(figures["int8_bits_lost"]) <= 0.005, "eight bits lose nothing"
    assert figures["int4_bits_lost"] <= 0.05, "four bits lose little"
    assert figures["acceptance_rate"] >= 0.4, "a cheap draft helps"


# %% [markdown]
# ## Summary
#
# - Quantisation stores whole numbers and a scale. Its error is set by the largest weight that shares the scale, so scales
#   are per row or per group.
# - Heads can share keys and values; the cache shrinks by the number of heads per set. A trained model is converted by averaging, and
#   repaired by a little training.
# - Speculative decoding keeps a guess with probability $\min(1, p/q)$ and replaces a refused one by a draw from the
#   positive part of $p - q$, scaled to sum to 1. The result is distributed exactly as the model's own text.
# - Softmax can be computed in blocks, with a running maximum and running sums.
#
# ## Check yourself
#
# **1.** Two distributions have a total variation of 0.3. With what probability is a guess kept, and how many tokens does a
# pass with four guesses give on average, if that holds everywhere? Check by simulation.

# %% tags=["hide-cell"]
# @title Solution
alpha, ahead = 0.7, 4
expected = (1 - alpha ** (ahead + 1)) / (1 - alpha)
torch.manual_seed(0)
runs = (torch.rand(100_000, ahead) < alpha).cumprod(dim=1).sum(dim=1) + 1
print(f"kept with probability {alpha}; {expected:.3f} tokens per pass,", end=" ")
print(f"simulated {runs.float().mean():.3f}")
assert abs(runs.float().mean() - expected) < 0.02

# %% [markdown]
# **2.** Greedy decoding is the limit of temperature 0. What does the rule become if both model and draft are greedy?
#
# <details><summary>Answer</summary>
#
# Then $p$ and $q$ are 1 at one token each. If it is the same token, $p / q = 1$ and it is kept; otherwise $p = 0$ at the
# guess, it is refused, and the left-over distribution is $p$ itself. So a guess is kept exactly if it is the token that
# the model would have taken.
#
# </details>
#
# **3.** Add a causal mask to `attention_in_blocks`: position $t$ sees the keys 0 to $t$ only.


# %% tags=["hide-cell"]
# @title Solution
def causal_in_blocks(q, k, v, block):
    m = torch.full((len(q), 1), -torch.inf)
    total, gathered = torch.zeros(len(q), 1), torch.zeros_like(q)
    for start in range(0, len(k), block):
        keys, values = k[start : start + block], v[start : start + block]
        scores = q @ keys.T / q.shape[1] ** 0.5
        place = torch.arange(start, start + len(keys))
        later = place > torch.arange(len(q))[:, None]
        scores[later] = -torch.inf
        new_m = torch.maximum(m, scores.amax(dim=1, keepdim=True))
        shrink, weights = (m - new_m).exp(), (scores - new_m).exp()
        total = shrink * total + weights.sum(dim=1, keepdim=True)
        gathered, m = shrink * gathered + weights @ values, new_m
    return gathered / total


# %% tags=["hide-cell"]
# @title Solution, checked
causal = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
torch.testing.assert_close(causal_in_blocks(q, k, v, 64), causal, atol=1e-4, rtol=0)
print("The same as PyTorch's, in blocks of 64.")

# %% [markdown]
# <details><summary>A trap on the way</summary>
#
# In the first block every position sees at least key 0, so $m$ is finite from then on. If the blocks came in another
# order, a position could meet a block of which it sees nothing: then $m$ and $m'$ are both $-\infty$, and their difference
# is not a number.
#
# </details>
#
# **4.** In words: a colleague quantises a model to four bits, finds that its bits per character rise by 1 %, and reports
# that it "lost 1 % of its quality". What would you ask?
#
# <details><summary>Answer</summary>
#
# On which text, and what else changed. An average over ordinary text can hide a large loss where it matters: rare words,
# arithmetic, long contexts, another language than that of the text on which scales or roundings were chosen. Compare on
# the task for which the model is used, and compare with a smaller model of the same size in memory.
#
# </details>
#
# **Graded assignment**: [the pieces of a language model](../exercises/language.ipynb).
#
# ## Further reading
#
# - T. Dettmers et al., [LLM.int8(): 8-bit Matrix Multiplication for Transformers at
#   Scale](https://arxiv.org/abs/2208.07339) (2022): outliers; T. Dettmers and L. Zettlemoyer, [The case for 4-bit
#   precision](https://arxiv.org/abs/2212.09720) (2023): how many bits; E. Frantar et al.,
#   [GPTQ](https://arxiv.org/abs/2210.17323) (2023): rounding that watches the outputs.
# - N. Shazeer, [Fast Transformer Decoding: One Write-Head is All You Need](https://arxiv.org/abs/1911.02150) (2019),
#   and J. Ainslie et al., [GQA](https://arxiv.org/abs/2305.13245) (2023).
# - Y. Leviathan, M. Kalman and Y. Matias, [Fast Inference from Transformers via Speculative
#   Decoding](https://arxiv.org/abs/2211.17192) (2023); C. Chen et al., [Accelerating Large Language Model Decoding with
#   Speculative Sampling](https://arxiv.org/abs/2302.01318) (2023).
# - M. Milakov and N. Gimelshein, [Online normalizer calculation for softmax](https://arxiv.org/abs/1805.02867) (2018);
#   T. Dao et al., [FlashAttention](https://arxiv.org/abs/2205.14135) (2022).
# - W. Kwon et al., [Efficient Memory Management for Large Language Model Serving with
#   PagedAttention](https://arxiv.org/abs/2309.06180) (2023).
# - W. Fedus, B. Zoph and N. Shazeer, [Switch Transformers](https://arxiv.org/abs/2101.03961) (2022); A. Gu and T. Dao,
#   [Mamba](https://arxiv.org/abs/2312.00752) (2023); B. T. Willard and R. Louf, [Efficient Guided Generation for Large
#   Language Models](https://arxiv.org/abs/2307.09702) (2023).
#
# Next: [Teaching an old model a new text](fine_tuning.ipynb).
