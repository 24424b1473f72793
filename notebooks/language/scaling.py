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
# # What more compute buys
#
# **After this chapter you can**
#
# - say what a training costs in operations before you start it, and check the sum by counting;
# - read curves of loss against size, text and compute, and tell which of the three is short;
# - fit a scaling law to a handful of runs, with its constant, and say how far it may be trusted;
# - choose the size of a model for a given amount of compute;
# - recognise text that has been read too often.
#
# **You need**: the model of [A GPT from the ground up](gpt.ipynb), and what a logarithm does to a plot. ·
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
import json
import math
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import least_squares
from torch.utils.flop_counter import FlopCounterMode

from aigc_course import gpt, plots, results, training
from aigc_course.data import TextData


# %%
plots.use_style()
profile = training.resolve_profile(profile)
grid = json.loads(
    files("aigc_course").joinpath("benchmarks/language.json").read_text()
)["scaling"]
steps = {"smoke": 5, "cpu": grid["steps"], "gpu": grid["steps"]}[profile]
# The grid's models have a last layer of their own, and a large embedding.
apart = {"tied": False, "embedding_std": 1.0}
print(f"Profile {profile}: one run of {steps} steps is live;")
print(f"the grid was run on {grid['device']}, {grid['date']}.")


# %% [markdown]
# ## Ten times the budget
#
# You have trained a model, and somebody gives you ten times the computer time. What do you do with it: a larger model,
# more text, or more passes over the text you have? Each of the three has been the right answer for somebody, and each has
# been an expensive mistake for somebody else. The question can be put to small models, which is what this chapter
# does: nine trainings, three sizes of model on three amounts of text, and then a formula that says what a tenth would do.
#
# The nine runs take about a quarter of an hour, too long for a notebook. They are made by `benchmarks/language.py` and
# their figures come with the package. One of them you run yourself below, and it has to agree with the stored one.

# %%
rows = grid["rows"]
print("layers  width   weights  characters  held-out loss (nats per character)")
for row in rows:
    print(
        f"{row['layers']:6d} {row['width']:6d} {row['weights']:9,d} "
        f"{row['characters']:11,d}{row['best_nats']:12.3f}"
    )

# %% [markdown]
# All read Python's documentation character by character, take the same number of steps with the same number of
# characters in each, and differ in nothing else. *Weights* are those of the blocks; the embeddings, which only look up a
# row, are left out, as is usual here. The loss is measured ten times during each training on held-out text, and the
# lowest value counts, as if we had stopped there.

# %% [markdown]
# ## What a training costs
#
# Nearly all the work is matrix multiplication. A matrix with $n$ weights times a vector takes $n$ multiplications and
# $n$ additions, so a model with $N$ weights in its matrices spends $2N$ operations on a token. Going backwards, the same
# sizes are multiplied twice: once for the gradient with respect to what came in, once for the gradient of the weights.
# Altogether, for $T$ tokens of training,
#
# $$C \approx 6 N T .$$
#
# What is left out is attention's own work, the scores of each token with those before it and the weighted sums. With
# context $T_c$ and width $w$ they take up to $4 T_c w$ operations per token in each layer, forward, where the matrices of a
# block take $24 w^2$: a share of $T_c / (6 w)$ of it. PyTorch can count, so let us check.


# %%
def counted(layers, width, context=64, batch=24):
    """Operations of one training step, counted, and 6 N T."""
    config = gpt.GPTConfig(94, context, layers=layers, width=width, **apart)
    model = gpt.GPT(config)
    tokens = torch.zeros(batch, context, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model.loss(tokens, tokens).backward()
    matrices = 12 * layers * width**2 + 94 * width  # the blocks and the last layer
    return counter.get_total_flops(), 6 * matrices * batch * context


# %%
for layers, width in sorted({(row["layers"], row["width"]) for row in rows}):
    real, rule = counted(layers, width)
    print(
        f"{layers} layers of width {width:3d}: "
        f"{real / 1e9:6.2f} billion operations, rule {rule / 1e9:6.2f}"
    )
    assert 1 <= real / rule < 1.5

# %% [markdown]
# Where PyTorch's counter does not look into the fused attention, as on a CPU, the count equals the rule; where it does, the
# count lies a little above it, and the less so the wider the model is. (In the [last chapter](gpt.ipynb) attention was
# written out, and counted to the last operation.) Note
# where the constant 12 comes from: in a block of width $w$ the queries, keys and values take $3w^2$ weights, the output
# $w^2$, and the two layers of the network for each position $4w^2$ each.

# %% [markdown]
# ## One of the nine, live
#
# The smallest model on the most text is the cheapest to repeat.

# %%
row = next(
    r
    for r in rows
    if r["size"] == "small"
    and r["characters"] == max(r["characters"] for r in rows)
)
data = TextData(
    context=grid["context"], batch_size=grid["batch_size"], limit=row["characters"]
)


# %%
torch.manual_seed(0)
sizes = {"layers": row["layers"], "width": row["width"], **apart}
model = gpt.GPT(gpt.GPTConfig(data.tokenizer.vocab_size, grid["context"], **sizes))
lessons = gpt.NextTokenTraining(model, learning_rate=4e-3)
training.fit(
    lessons, data, max_epochs=1000, max_steps=steps, seed=0, limit_val_batches=0
)
live = model.nats_per_token(data.tokens["validation"])
print(f"live {live:.3f} nats per character, stored {row['curve'][-1][1]:.3f}")
if profile != "smoke":
    assert abs(live - row["curve"][-1][1]) < 0.05


# %% [markdown]
# The two need not agree in every digit: another machine adds in another order, another version of Python has a slightly
# different documentation. They have to agree well enough that the other eight can be believed.

# %% [markdown]
# ## Three curves against text, three against size

# %%
sizes = sorted({row["weights"] for row in rows})
amounts = sorted({row["characters"] for row in rows})
loss = {(row["weights"], row["characters"]): row["best_nats"] for row in rows}


# %% mystnb={"image": {"alt": "Two panels of falling lines. Left, loss against characters: the lines of the larger models start high and fall more. Right, loss against weights, one line an amount of text."}}
fig, (left, right) = plt.subplots(1, 2, sharey=True)
for weights in sizes:
    losses = [loss[weights, amount] for amount in amounts]
    left.plot(amounts, losses, "o-", label=f"{weights:,d}")
for amount in amounts:
    losses = [loss[weights, amount] for weights in sizes]
    right.plot(sizes, losses, "o-", label=f"{amount:,d}")
left.set(xscale="log", xlabel="characters of text", ylabel="held-out loss (nats)")
left.set_xticks(amounts, [f"{amount // 1000}k" for amount in amounts])
left.minorticks_off()
right.set(xscale="log", xlabel="weights")
left.legend(title="weights", fontsize=8)
right.legend(title="characters", fontsize=8)
plt.show()


# %% [markdown]
# Every line falls, so both more text and more weights help. But look where they are flat. Left: with little text the three
# sizes end within a few tenths of a nat of each other, and the lines part as the text grows, so a large model needs text
# to be worth its size. Right: on the least text the line hardly falls, and ten times the weights buy less than four times
# the text would have bought. The small model, in turn, gains least from the last fourfold of text: it is full. Whatever
# is *short* decides, and more of the other is nearly wasted.

# %% [markdown]
# ## A law
#
# Kaplan and others (2020) found that, over many powers of ten, such lines are nearly straight when both axes are
# logarithmic: they are **power laws**. No such line can stay straight for ever, as the loss cannot fall to 0. Hoffmann
# and others (2022) wrote one formula for size and text together, with a constant that is left over when both are
# unlimited,
#
# $$L(N, D) = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}},$$
#
# with $N$ the number of weights and $D$ the amount of text. Each term has a meaning. $E$ is what no model could save,
# the **entropy** of the text itself. $A / N^\alpha$ is what a model of this size gives away, because it cannot express
# what it would need. $B / D^\beta$ is what the limited text costs, because too little of it can be learnt. The exponents
# say how fast the two shrink: with $\alpha = 0.3$, twice the weights leave $2^{-0.3} = 0.81$ of that term.
#
# Five numbers are to be found, from nine runs. We minimise squared errors, and search for the logarithms of $A$ and $B$ so
# that they stay positive.

# %%
N = np.array([row["weights"] for row in rows], dtype=float)
D = np.array([row["characters"] for row in rows], dtype=float)
L = np.array([row["best_nats"] for row in rows])


def law(parameters, n, d):
    """L(N, D), nats per character; parameters: E, log A, alpha, log B, beta."""
    e, log_a, alpha, log_b, beta = parameters
    return e + np.exp(log_a - alpha * np.log(n)) + np.exp(log_b - beta * np.log(d))


def fit_law(n, d, observed):
    """Least squares, none of the five below 0."""
    start, high = [0.5, 2.0, 0.3, 2.0, 0.3], [2.0, 20.0, 2.0, 20.0, 2.0]
    return least_squares(
        lambda p: law(p, n, d) - observed, start, bounds=([0] * 5, high)
    ).x


# %%
fitted = fit_law(N, D, L)
E, log_A, alpha, log_B, beta = fitted
error = np.abs(law(fitted, N, D) - L)
print(
    f"E = {E:.2f}, A = {math.exp(log_A):.1f}, alpha = {alpha:.2f}, "
    f"B = {math.exp(log_B):.1f}, beta = {beta:.2f}"
)
print(f"largest error {error.max():.3f} nats, mean {error.mean():.3f}")

# %% mystnb={"image": {"alt": "Points of the nine runs and three smooth falling lines through or near them, one line an amount of text, each above a dotted level line that it approaches."}}
smooth = np.geomspace(min(sizes) / 2, max(sizes) * 8, 100)
for colour, amount in zip(plots.COLOURS, amounts, strict=False):
    losses = [loss[weights, amount] for weights in sizes]
    plt.plot(sizes, losses, "o", color=colour, label=f"{amount:,d} characters")
    plt.plot(smooth, law(fitted, smooth, amount), "-", color=colour, linewidth=1)
    limit = law(fitted, np.inf, amount)
    plt.axhline(limit, color=colour, linestyle=":", linewidth=1)
plt.xscale("log")
plt.xlabel("weights")
plt.ylabel("held-out loss (nats)")
plt.legend()
plt.show()


# %% [markdown]
# The dots are the runs, the lines the formula, and the dotted lines are where a line would end if the model grew
# without limit: a wall made of too little text. Read the exponents in the printed line. That of the text, $\beta$, is
# the larger one, so the term of the text shrinks faster than the term of the size. How large it is, the dotted lines
# tell: on the least text the wall stands more than a nat above the constant $E$, more than even the smallest model
# gives away by its size; on the most text it stands close above it, and there size is what all but the largest model
# are short of. And $E$ itself is about one nat, or one and a half bits per character, of which nobody should believe the
# second digit.
#
# The formula also misses, and where it does is instructive. On the least text the two smaller models are nearly equal,
# and the formula has no way to say so: it puts one of them too high and the other too low. A sum of two terms assumes
# that a lack of text costs every model the same. But the more weights a model has, the sooner it knows a short text by
# heart, as we shall see below, and its training is then cut off early.

# %% [markdown]
# ### How far may it be trusted?
#
# Nine points and five free numbers leave four points to contradict the formula. The honest test is a run that the fit has
# not seen, and the one that matters is the largest, since laws of this kind are used to decide about trainings that are
# too dear to try. So we fit once more to the eight others and ask for the ninth.

# %%
# the most weights and the most text
corner = np.array([row is rows[-1] for row in rows])
from_eight = fit_law(N[~corner], D[~corner], L[~corner])
guess = law(from_eight, N[corner], D[corner])[0]
print(f"the largest run: guessed {guess:.3f}, measured {L[corner][0]:.3f} nats")
for name, before, after in zip(
    ["E", "log A", "alpha", "log B", "beta"], fitted, from_eight, strict=True
):
    print(f"{name:>6} from nine {before:6.2f}, from eight {after:6.2f}")
miss = abs(guess - L[corner][0])

# %% [markdown]
# The guess is too high, and by about as much as the last fivefold of weights brought. Whoever had only the eight runs would
# have said that the largest model is hardly worth its price, and would have been wrong. The five numbers have moved, too:
# several sets of constants go nearly through the same few points. So a fitted law is good for a step or two beyond its
# points, and then roughly; its exponents are worth less than its guesses; and constants from one text do not hold for
# another. Those of Kaplan and of Hoffmann differ, too, not least because the runs behind them were planned differently,
# and the advice drawn from them differed a great deal.

# %% [markdown]
# ## The best size for a budget
#
# Now the question of the beginning. A budget $C$ buys $T = C / (6N)$ tokens of training: a small model may read much, a
# large one little. Each run of the grid has been measured ten times on its way, so it tells the loss at ten budgets. Here
# are the three sizes, all on the most text.

# %% mystnb={"image": {"alt": "Three falling curves against operations, of which the small model's lies lowest at the left end and the larger models' further right."}}
tokens_a_step = grid["context"] * grid["batch_size"]
for row in rows:
    if row["characters"] == max(amounts):
        done, nats = np.array(row["curve"][1:]).T
        plt.plot(
            6 * row["weights"] * done * tokens_a_step,
            nats,
            "o-",
            label=f"{row['weights']:,d} weights",
        )
plt.xscale("log")
plt.xlabel("operations so far, 6 N T")
plt.ylabel("held-out loss (nats)")
plt.legend()
plt.show()

# %% [markdown]
# Go along a vertical line, a fixed budget, and look which curve is lowest there. Where two stand side by side, the
# smaller model is ahead, by a wide margin: the larger one has hardly begun. But the small model's curve then flattens,
# and the medium one's dives below the level at which the small one came to rest; at a budget more than ten times as
# large, the large one's dives below the medium one's. The lower edge of all curves together is what a budget buys, and
# each size touches it for a while only. (Compare with care: every training lets its learning rate fall to zero at its
# own end, and a run that is stopped half-way is not as good as one that was planned to be half as long.)
#
# This edge was the point of Hoffmann and others: the best size and the best amount of text grow together, and the large
# models of their time had been trained on too little text for their size.

# %% [markdown]
# ## When it fails: text that was read too often
#
# > **Predict, then run.** The largest model reads the smallest text. What does its held-out loss do in the course of the
# > training? (a) It falls like the others, only to a higher value. (b) It falls, then stays. (c) It falls, then rises
# > far above where it was.

# %% mystnb={"image": {"alt": "Held-out loss against passes over the text for the largest model: on little text it falls, turns and climbs steeply; on more text it turns late or not at all."}}
for row in rows:
    if row["weights"] == max(sizes):
        done, nats = np.array(row["curve"][1:]).T
        plt.plot(
            done * tokens_a_step / row["characters"],
            nats,
            "o-",
            label=f"{row['characters']:,d} characters",
        )
plt.xscale("log")
plt.xlabel("passes over the text")
plt.ylabel("held-out loss (nats)")
plt.legend()
plt.show()

# %% [markdown]
# It is (c). On the least text the loss falls for about twenty passes; then it turns, and climbs far above its best value, in
# the end to worse than a model that knows nothing but how frequent each letter is. It has the text by heart and is *sure* of
# what came next there, which elsewhere is wrong. On four times the text the curve has just stopped falling, and on all of it there is
# no turn in sight.
#
# Three cures, in the order in which one should try them: more text, if there is any; stopping where the held-out loss is
# lowest, as our table did; and dropout or weight decay, which delay the turn. A fourth pass over a text is still worth nearly as
# much as a first one, Muennighoff and others found, and a fortieth is worth nothing.

# %% [markdown]
# ## What the source articles got wrong here
#
# All five say that generative models need large amounts of data, some that the data must be labelled, and none says how
# much is enough, or what a larger amount would bring. That is the question which a scaling law answers.
# See the [errata](../../book/errata.md#errata-language-models).

# %%
stored = next(
    r["curve"][-1][1]
    for r in rows
    if r["size"] == "small" and r["characters"] == max(amounts)
)
constants = {"E": E, "alpha": alpha, "beta": beta}


# %%
figures = results.record(
    "scaling",
    profile,
    live_nats=round(live, 3),
    stored_nats=stored,
    law={name: round(float(value), 2) for name, value in constants.items()},
    largest_run_missed_by_nats=round(float(miss), 3),
)
print(figures["law"], "missed by", figures["largest_run_missed_by_nats"])
assert figures["largest_run_missed_by_nats"] <= 0.15, (
    "the law's guess at the largest run is far off"
)


# %% [markdown]
# ## Summary
#
# - A training of a Transformer with $N$ weights on $T$ tokens takes about $6NT$ operations; PyTorch counts as many.
# - Size and text have to grow together: whichever is short holds the loss up, and more of the other buys little.
# - A power law with a constant describes our nine runs, and guesses one that it has not seen, roughly. Its constants belong
#   to this text, this tokenizer and this way of training.
# - For each budget there is a size that is best; below it the model is too small, above it, too little trained.
# - Text read too often is learnt by heart. Held-out loss shows it, training loss does not.
#
# ## Exercises
#
# **1.** The law of Hoffmann and others has exponents near 0.34 and 0.28. Suppose that both terms are equal for your
# model. You may double either the weights or the text. Which lowers the loss more?

# %% tags=["hide-cell"]
# @title Solution
left_of_size, left_of_text = 2**-0.34, 2**-0.28
print(
    f"twice the weights leave {left_of_size:.2f} of their term, "
    f"twice the text {left_of_text:.2f} of its own"
)
# doubling the weights lowers the loss a little more
assert left_of_size < left_of_text

# %% [markdown]
# **2.** How many operations does the training of [A GPT from the ground up](gpt.ipynb) take in the cpu profile by the
# rule? Take the settings from `gpt.recipe("cpu")` and about 108,000 tokens of text.

# %% tags=["hide-cell"]
# @title Solution
recipe = gpt.recipe("cpu")
width, layers = recipe["model"]["width"], recipe["model"]["layers"]
# the last layer multiplies too
matrices = 12 * layers * width**2 + recipe["model"]["vocab_size"] * width
operations = 6 * matrices * recipe["fit"]["max_epochs"] * 108_000
print(f"about {operations / 1e12:.0f} thousand billion operations")

# %% [markdown]
# **3.** From the law, with $C = 6 N D$ (each character read once), which $N$ is best for a budget $C$? Find it by trying
# many sizes, for two budgets, a hundredfold apart. By what factor does the best size grow?

# %% tags=["hide-cell"]
# @title Solution
tried = np.geomspace(1e3, 1e12, 4000)


def best_size(budget):
    """The size whose loss is lowest if the rest of the budget goes into text."""
    return tried[np.argmin(law(fitted, tried, budget / (6 * tried)))]


growth = best_size(1e16) / best_size(1e14)
print(
    f"the best size grows {growth:.0f} times; "
    f"by the exponents {100 ** (beta / (alpha + beta)):.0f} times"
)
assert abs(math.log(growth / 100 ** (beta / (alpha + beta)))) < 0.05

# %% [markdown]
# <details><summary>Why the exponents tell</summary>
#
# With $D = C / (6N)$ the loss is $E + A N^{-\alpha} + B (6N/C)^{\beta}$. Set the derivative with respect to $\log N$ to
# zero: $\alpha A N^{-\alpha} = \beta B (6N/C)^\beta$. Solve for $N$, and it is proportional to $C^{\beta / (\alpha +
# \beta)}$. Equal exponents would mean that size and text grow alike, each with the square root of the budget.
# </details>
#
# **4.** In words: our learning rate was the same for all nine runs. Why might that be unfair, and to whom?
#
# <details><summary>Answer</summary>
#
# The best learning rate depends on the width: wider models usually want a smaller one. If the common rate suits the small
# model, the large ones look worse than they are, and the law's exponent for the size comes out too small. A grid that is
# to decide about money tunes the rate at several sizes first.
# </details>
#
# The part's [assignment](../exercises/language.ipynb) is graded.
#
# ## Further reading
#
# - Kaplan et al. (2020), [Scaling Laws for Neural Language Models](https://arxiv.org/abs/2001.08361): the
#   laws, some of them over more than seven powers of ten.
# - Hoffmann et al. (2022), [Training Compute-Optimal Large Language Models](https://arxiv.org/abs/2203.15556): the formula
#   used here, and why the models of that time had been too large for their text.
# - Muennighoff et al. (2023), [Scaling Data-Constrained Language Models](https://arxiv.org/abs/2305.16264): what reading
#   the same text again is still worth.
#
# Next: [From probabilities to text](decoding.ipynb).
