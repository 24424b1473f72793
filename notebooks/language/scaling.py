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
# - find the best size of model for a budget from a handful of small runs, and how that size grows with the budget;
# - fit a scaling law, give intervals for its constants, and test it on runs that it has not seen;
# - say why two famous laws disagree, and why many models in use are smaller than any of them advises;
# - tell what reading a text again is worth from what new text is worth.
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
stored = json.loads(
    files("aigc_course").joinpath("benchmarks/language.json").read_text()
)["scaling"]
rows, context, batch = stored["rows"], stored["context"], stored["batch_size"]
print(f"Profile {profile}: one run is live. The {len(rows)} runs that the chapter")
print(f"plots were made on {stored['device']}, {stored['date']}.")

# %% [markdown]
# ## Ten times the budget
#
# You have trained a model, and somebody gives you ten times the computer time. Should the next model be larger, or should it
# read more? A model ten times as large could be tried, or the same model on ten times the text, or something between the
# two. Large models cost millions, so nobody tries all of these at full size. One trains small models for small
# budgets, looks for a regularity, and extrapolates. This chapter does the same in miniature, with budgets
# that one core spends in seconds.
#
# Two letters carry the chapter. $N$ is the number of **parameters** of the model: all its weights, the embedding
# included. $D$ is the number of **tokens seen** in training: a token that is read twice counts twice. Our tokens are
# characters, and the text is Python's documentation.
#
# ## What a training costs
#
# Nearly all the work is matrix multiplication. A matrix with $n$ weights times a vector takes $n$ multiplications and
# $n$ additions, so a model with $N$ weights in its matrices spends $2N$ operations on a token. Going backwards, the same
# sizes are multiplied twice: once for the gradient with respect to what came in, once for the gradient of the weights.
# Altogether the **budget** of a training on $D$ tokens is
#
# $$C \approx 6 N D .$$
#
# An embedding costs nothing where it is looked up. Ours is tied: the same weights are the matrix of the last layer, and
# there they are multiplied, so they count. What the formula leaves out is attention's own work, the scores of each token
# with those before it and the weighted sums. With a context of $T$ tokens and width $w$ they take up to $4 T w$
# operations per token in each layer, forward, where the matrices of a block take $24 w^2$: a share of $T / (6 w)$.
# PyTorch can count operations, so let us check.


# %%
def counted(layers, width, vocabulary=94):
    """Operations of one training step, counted, and 6 N D."""
    config = gpt.GPTConfig(vocabulary, context, layers=layers, width=width)
    model = gpt.GPT(config)
    tokens = torch.zeros(batch, context, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model.loss(tokens, tokens).backward()
    matrices = 12 * layers * width**2 + vocabulary * width
    return counter.get_total_flops(), 6 * matrices * batch * context


# %%
for layers, width in sorted({(row["layers"], row["width"]) for row in rows}):
    real, rule = counted(layers, width)
    print(
        f"{layers} layers of width {width:3d}: "
        f"{real / 1e9:6.3f} billion operations, rule {rule / 1e9:6.3f}"
    )
    assert 1 <= real / rule < 1 + context / (2 * width) + 0.1

# %% [markdown]
# Where PyTorch's counter does not look into the fused attention, as on a CPU, the count equals the rule; where it does, the
# count lies above it, by less the wider the model is. The constant 12 in the code is the number of
# weights of a block divided by $w^2$: queries, keys and values take $3w^2$, the output $w^2$, and the two layers of the
# network for each position $4w^2$ each.
#
# ## One run, live
#
# The runs are made by `benchmarks/language.py`, and their figures come with the package. For each budget they take every size
# of model that the budget can train, give it as many tokens as the budget then buys, and let the learning rate fall to
# zero at the end of *that* run. Each is repeated with four learning rates, of which the best counts. (How much that
# matters is measured below.) No run reads the text more than four times. The loss is measured once, at the end, on held-out text.
#
# One of them you run yourself: of those that took less than ten seconds, the best. It has to agree with the stored one.

# %%
quick = [row for row in rows if row["cpu_seconds"] < 10]
row = min(quick, key=lambda row: row["nats"])
steps = {"smoke": 5}.get(profile, row["tokens_seen"] // (context * batch))
data = TextData(context=context, batch_size=batch)
torch.manual_seed(0)
sizes = {"layers": row["layers"], "width": row["width"], "zero_output": True}
model = gpt.GPT(gpt.GPTConfig(data.tokenizer.vocab_size, context, **sizes))
lessons = gpt.NextTokenTraining(model, learning_rate=row["learning_rate"])


# %%
still = {"limit_val_batches": 0, "gradient_clip_val": 1.0}
training.fit(lessons, data, max_epochs=1000, max_steps=steps, seed=0, **still)
live = model.nats_per_token(data.tokens["validation"])
print(f"{row['weights']:,} weights, {row['tokens_seen']:,} tokens:")
print(f"live {live:.3f} nats per character, stored {row['nats']:.3f}")
assert profile == "smoke" or abs(live - row["nats"]) < 0.1

# %% [markdown]
# The two need not agree in every digit: another machine adds in another order, and another version of Python has a slightly
# different documentation. They have to agree well enough that the others can be believed.
#
# ## The best size for a budget
#
# > **Predict, then run.** Each line below connects models of different sizes that were trained with the *same* number of
# > operations. What does a line look like? (a) It falls: a larger model is better. (b) It rises: more text is better.
# > (c) It falls, then rises.

# %%
budgets = sorted({row["operations"] for row in rows})
C, N, D, L = (
    np.array([row[name] for row in rows], dtype=float)
    for name in ("operations", "weights", "tokens_seen", "nats")
)


def best_size(n, nats):
    """The lowest point of a parabola in log N, fitted to one budget's runs."""
    square, slope, _ = np.polyfit(np.log(n), nats, 2)
    assert square > 0, "the parabola has no lowest point"
    return math.exp(-slope / (2 * square))


# %% mystnb={"image": {"alt": "Four lines, one per budget, of which the larger budgets lie lower. The points of the second smallest budget fall and then rise; those of the others rise from left to right. The curves' lowest points lie further right the larger the budget is."}}
for colour, budget in zip(plots.COLOURS, budgets, strict=False):
    here = budget == C
    plt.plot(N[here], L[here], "o", color=colour, label=f"{budget:.0e}")
    smooth = np.geomspace(N[here].min(), N[here].max(), 50)
    parabola = np.polyfit(np.log(N[here]), L[here], 2)
    plt.plot(smooth, np.polyval(parabola, np.log(smooth)), color=colour, lw=1)
plt.xscale("log")
plt.xlabel("parameters N")
plt.ylabel("held-out loss (nats)")
plt.legend(title="operations")
plt.show()

# %% [markdown]
# It is (c) where sizes on both sides of the best one were tried, and that is so for the second budget only. For the
# other three the smallest size tried has the lowest loss. (For the two largest budgets a still smaller model would have
# read the text more than four times.) At the left end of a valley the models are too small for what they read, at the
# right end they have read too little for their size. The thin lines are parabolas in $\log N$. Their lowest points are
# our estimates of the best sizes, and they move to the right as the budget grows. Hoffmann and others (2022) call such
# lines **IsoFLOP curves**.

# %%
best = {}
for budget in budgets:
    sizes_tried = N[budget == C]
    n = best_size(sizes_tried, L[budget == C])
    inside = sizes_tried.min() < n < sizes_tried.max()
    if inside:
        best[budget] = n
    tokens = budget / (6 * n)
    print(
        f"{budget:.0e} operations: best size {n:7,.0f}, {tokens:9,.0f} tokens"
        + ("" if inside else "; outside the sizes tried")
    )
growth, _ = np.polyfit(np.log(list(best)), np.log(list(best.values())), 1)
print(f"the best size grows about as the budget to the power {growth:.1f}")

# %% [markdown]
# A parabola may be believed between its points only, so the smallest budget is left out. What remains are three points,
# on which the best size grows roughly with the square root of the budget. This is a rough estimate: two of the three
# lowest points lie close to the smallest size tried, where only the right side of the valley was measured. If $N$ grows
# so, $D = C / (6N)$ does too: ten times the budget is then spent on about three times the size and three times the text.
#
# ## A law
#
# Kaplan and others (2020) found that, over many powers of ten, the loss falls as a straight line when both axes are
# logarithmic: it follows **power laws**. No such line can stay straight for ever, as the loss cannot fall to 0. Hoffmann
# and others (2022) wrote one formula for size and text together, with a constant that is left over when both are
# unlimited,
#
# $$L(N, D) = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}} .$$
#
# $A / N^\alpha$ is what the loss would still fall if the model could grow without limit, $B / D^\beta$ what it would still fall if
# the tokens never ended, and $E$ is what would remain. The exponents say how fast the two terms shrink: with $\alpha = 0.3$, twice
# the parameters leave $2^{-0.3} = 0.81$ of the first term.
#
# It is tempting to call $E$ the entropy of the text. It is what *this kind of training* would come to: our models see
# 64 characters at most, and another architecture, optimiser or context would give another $E$. The entropy of the text is a lower
# bound for all of them.
#
# Five numbers are to be found. We minimise squared errors, and search for the logarithms of $A$ and $B$ so that they stay
# positive.


# %%
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
errors = law(fitted, N, D) - L
print(
    f"E = {E:.2f}, A = {math.exp(log_A):.1f}, alpha = {alpha:.2f}, "
    f"B = {math.exp(log_B):.1f}, beta = {beta:.2f}"
)
print(
    f"errors: largest {abs(errors).max():.3f} nats, mean {abs(errors).mean():.3f}"
)

# %% [markdown]
# How far can these constants be trusted? The **bootstrap** asks what other runs might have said: draw as many runs as there are,
# with replacement, so that some count twice and others not at all; fit again; repeat.

# %%
draw = np.random.default_rng(0)
samples = []
while len(samples) < (5 if profile == "smoke" else 200):
    chosen = draw.integers(len(rows), size=len(rows))
    samples.append(fit_law(N[chosen], D[chosen], L[chosen]))
samples = np.array(samples)
share = samples[:, 4] / (samples[:, 2] + samples[:, 4])
named = {"E": samples[:, 0], "alpha": samples[:, 2], "beta": samples[:, 4]}
for name, values in {**named, "beta / (alpha + beta)": share}.items():
    low, high = np.quantile(values, [0.1, 0.9])
    print(f"{name:>22}: {low:.2f} to {high:.2f} in eight of ten samples")

# %% [markdown]
# Each interval tells how far a constant might move if other runs of the same kind had been made. They are wide. The best size might
# grow clearly more slowly than the text, or somewhat faster. Hoffmann and others had more than 400 runs.
#
# ### A guess at runs it has not seen
#
# The honest test of a law is a run that the fit has not seen. So leave each run out in turn, fit to all others and guess the
# missing one. A guess is worth something if it beats what one could have said without a law. Take as this *plain guess* the
# loss of the run with the same budget whose size is the most similar.

# %%
left_out = []
for number in range(len(rows)):
    others = np.arange(len(rows)) != number
    found = fit_law(N[others], D[others], L[others])
    same = others & (C[number] == C)
    plain = L[same][abs(np.log(N[same] / N[number])).argmin()]
    guess = law(found, N[number], D[number])
    left_out.append((guess - L[number], plain - L[number], found[2], found[4]))
left_out = np.array(left_out)


# %%
print("parameters     tokens    nats    law off by   plain guess off by   alpha")
for n, d, nats, (by_law, by_plain, a, _) in zip(N, D, L, left_out, strict=True):
    print(
        f"{n:10,.0f} {d:10,.0f} {nats:7.3f} {by_law:+13.3f} {by_plain:+20.3f}"
        f" {a:7.2f}"
    )
mean_law, mean_plain = abs(left_out[:, :2]).mean(axis=0)
print(f"mean error: law {mean_law:.3f} nats, plain guess {mean_plain:.3f}")
assert mean_law < 0.6 * mean_plain

# %% [markdown]
# On average the law's guesses are a little more than half as far off as the plain ones. Its constants are worth less than its
# guesses: a single missing run moves $\alpha$ by more than a third. Different constants describe nearly the same surface where the runs are.
#
# What laws of this kind are *used* for is harder: to guess at a budget that nobody has spent yet. Fit to the smaller budgets
# alone, and guess all runs with the largest.

# %%
largest = max(budgets) == C
small = fit_law(N[~largest], D[~largest], L[~largest])
beyond = law(small, N[largest], D[largest]) - L[largest]
before = np.array([L[~largest & (n == N)][-1] for n in N[largest]]) - L[largest]
for n, by_law, by_size in zip(N[largest], beyond, before, strict=True):
    print(
        f"{n:10,.0f} parameters: law off by {by_law:+.3f}, "
        f"same size, smaller budget {by_size:+.3f}"
    )
assert abs(beyond).mean() < 0.5 * abs(before).mean()
assert beyond.min() > 0

# %% [markdown]
# The law helps here, too: on average it is less than half as far off as the guess that a model stays what it was. But all its guesses are too
# high. With three times the budget the models came out better than it says, by up to a fifth of a nat. All four errors
# have one sign, so a mean over several runs would not remove them. Whoever uses such a law does well to train a few runs
# between the small budgets and the large one, to see whether it still holds.
#
# ## Two laws that disagree
#
# From $C = 6ND$ and the law, the best size for a budget follows: put $D = C/(6N)$ into $L$, set the derivative with respect
# to $\log N$ to zero, and
#
# $$\alpha \frac{A}{N^\alpha} = \beta \frac{B}{D^\beta}, \qquad N^*(C) \propto C^{\beta / (\alpha + \beta)} .$$
#
# Equal exponents mean that size and tokens grow alike, each with the square root of the budget. Kaplan and others had found
# $N^* \propto C^{0.73}$: put most of a larger budget into size. Hoffmann and others found about $C^{0.5}$, and trained Chinchilla, a
# model with 70 billion parameters on 1.4 trillion tokens, **20 tokens per parameter**; it beat a model four times its size that
# had been trained for the same budget on fewer tokens. Since then "20 tokens per parameter" is the
# rule of thumb. It belongs to their tokens, words and pieces of words; ours are characters.
#
# Why did the two disagree? Pearce and Song (2024) attribute much of it to what was counted: Kaplan's $N$ leaves the embedding
# out, which in small models is a large part of all parameters. Exercise 3 repeats that mistake with our runs. The learning rate
# is another way to go wrong: our table holds the loss for all four rates, so we can ask what we would have concluded
# from one rate for all.

# %%
for number, rate in enumerate(stored["rates"]):
    nats = np.array([row["nats_by_rate"][number] for row in rows])
    lowest = [N[b == C][np.argmin(nats[b == C])] for b in budgets]
    print(f"rate {rate}: best of the sizes tried ", end="")
    print(", ".join(f"{size:9,.0f}" for size in lowest))
lowest = [N[b == C][np.argmin(L[b == C])] for b in budgets]
print("the best rate for each:         ", end="")
print(", ".join(f"{size:9,.0f}" for size in lowest))
for b in budgets:
    rates = [row["learning_rate"] for row in rows if row["operations"] == b]
    assert rates[-1] <= rates[0] / 2  # the largest model's and the smallest's

# %% [markdown]
# The answer depends on the rate. For the largest budget the two lower rates name a model almost three times as large as the
# two higher ones. At every budget the best rate of the largest model is at most half that of the smallest, so whoever fixes one
# rate for all sizes favours some of them. Four rates may be too few: for several of the smallest models the highest rate
# tried is the best, and a higher one might be better still.
#
# Fits themselves go wrong, too. Besiroglu and others (2024) read the data points from Hoffmann's figures and fitted the law
# again: the published constants, $\alpha = 0.34$ and $\beta = 0.28$, came from an optimiser that had stopped too early, and the
# better fit has $0.348$ and $0.366$. The order of the two exponents is reversed, and with it the advice on whether size or
# text should grow faster.
#
# ## Cheap to use instead of cheap to train
#
# A model that has been trained is used, and a token costs $2N$ operations to read or write. If $S$ tokens are served in its life,
# all of it costs $6ND + 2NS$. A smaller model that was trained for longer than the best size would be can reach the same loss, and every
# token served is then cheaper ([Sardana and others, 2024](https://arxiv.org/abs/2401.00448)). By our law, how much smaller should it be?

# %%
at_best = best[budgets[-1]]
target = law(fitted, at_best, budgets[-1] / (6 * at_best))
n = np.geomspace(at_best / 30, at_best * 30, 2000)
room = target - law(fitted, n, np.inf)  # what the tokens may still cost
n, room = n[room > 0], room[room > 0]
d = np.exp((log_B - np.log(room)) / beta)  # tokens that reach the target
for served in (0, 1e7, 1e9):
    cost = 6 * n * d + 2 * n * served
    k = np.argmin(cost)
    print(
        f"{served:13,.0f} served: {n[k]:7,.0f} parameters, "
        f"{d[k]:11,.0f} tokens, {d[k] / n[k]:6,.0f} per parameter"
    )

# %% [markdown]
# All three models in the table have the same loss, by the law. The more a model is used, the smaller it should be, and the longer it should
# be trained beyond the best point for training alone. It is a reason why small models are trained on thousands
# of tokens per parameter; Sardana and others went up to 10,000. The law has not seen such ratios, and they found
# that a law fitted at common ratios overestimates what more tokens bring there: read the last line with care.
#
# ## When it fails: text that was read too often
#
# So far nothing was read more than four times. What if the text is short, and the tokens seen are the same tokens again and again?
# The stored runs hold the number of tokens seen fixed and shorten the text.
#
# > **Predict, then run.** A model reads the same number of tokens, once from a text it never sees twice, once from a text that
# > it reads sixteen times. Is the second one's held-out loss (a) the same, (b) higher, (c) so high that it had better
# > read less?

# %%
again = stored["repeated"]
print("different tokens   tokens seen   passes   rate    held-out loss (nats)")
for run in sorted(
    again, key=lambda run: (run["tokens_seen"], -run["unique_tokens"])
):
    passes = run["tokens_seen"] / run["unique_tokens"]
    print(
        f"{run['unique_tokens']:16,d} {run['tokens_seen']:13,d} {passes:8.1f} "
        f"{run['learning_rate']:6.3f} {run['nats']:15.3f}"
    )

# %% mystnb={"image": {"alt": "Held-out loss against tokens seen, one line per amount of different text. The line of the shortest text falls and then rises steeply; the others fall."}}
for colour, unique in zip(
    plots.COLOURS, sorted({r["unique_tokens"] for r in again}), strict=False
):
    runs = [run for run in again if run["unique_tokens"] == unique]
    seen = [run["tokens_seen"] for run in runs]
    nats = [run["nats"] for run in runs]
    plt.plot(seen, nats, "o-", color=colour, label=f"{unique:,d} different")
plt.xscale("log")
plt.xlabel("tokens seen")
plt.ylabel("held-out loss (nats)")
plt.legend()
plt.show()

# %%
few, some, most = sorted({run["unique_tokens"] for run in again})


def nats_of(unique, passes):
    """The loss of the run that read this many tokens about so many times."""
    close = min(
        (run for run in again if run["unique_tokens"] == unique),
        key=lambda run: abs(run["tokens_seen"] / unique - passes),
    )
    return close["nats"]


# %%
four = [nats_of(few, 4) - nats_of(some, 1), nats_of(some, 4) - nats_of(most, 1)]
sixteen = nats_of(few, 16) - nats_of(most, 1)
print(
    f"four passes cost {four[0]:.2f} and {four[1]:.2f} nats, sixteen {sixteen:.2f}"
)
assert max(four) < 0.2 < sixteen
assert nats_of(few, 64) > nats_of(few, 4) > nats_of(few, 16)

# %% [markdown]
# It is (b), and after many more passes (c). Read four times, a text is nearly as good as four times as much new text: it
# costs about a tenth of a nat. Read sixteen times, it is clearly worse than new text, and yet better than read only four times. With more than sixty
# passes the loss is far above all of these. A likely reason: the model then has the text by heart and is sure of what
# came next there, which elsewhere is wrong.
#
# Muennighoff and others (2023) measured this at scale: up to about four passes, reading again was almost as good as new text;
# beyond, each pass brought less, down to nothing. The cures, in the order in which one should
# try them: more text, if there is any; stopping where the held-out loss is lowest; and dropout or weight decay.

# %% [markdown]
# ## What the source articles got wrong here
#
# All five ask for large amounts of data, and none says how much is enough, or what more would bring
# ([errata](../../book/errata.md#errata-language-models)).
#
# ## The promise
#
# This chapter promises that a run repeated live comes out as the stored one, and that the law guesses a run that it has not
# seen with less than 60 % of the error of a guess without it.

# %%
figures = results.record(
    "scaling",
    profile,
    live_nats=round(live, 3),
    stored_nats=row["nats"],
    law={
        name: round(float(value), 2)
        for name, value in {"E": E, "alpha": alpha, "beta": beta}.items()
    },
    left_out_mean_error_nats=round(float(mean_law), 3),
    plain_guess_mean_error_nats=round(float(mean_plain), 3),
)
print(figures["law"])

# %%
print(
    f"a run left out is guessed to {figures['left_out_mean_error_nats']} nats, "
    f"without the law to {figures['plain_guess_mean_error_nats']}"
)
assert (
    figures["left_out_mean_error_nats"]
    < 0.6 * figures["plain_guess_mean_error_nats"]
), "the law should beat a guess without it"


# %% [markdown]
# ## Summary
#
# - A training of a Transformer with $N$ parameters on $D$ tokens takes about $6ND$ operations; PyTorch counts as many.
# - For each budget one size is best. A larger model is then trained too little, a smaller one is too small.
# - A power law with a constant describes such runs. Test it on runs it has not seen, against a guess without the law, and
#   give intervals for its constants.
# - How the best size grows depends on what is counted and on the learning rate of each run. "20 tokens per parameter"
#   belongs to the runs from which it was read.
# - A model that is used much should be smaller than the budget for training alone advises, and be trained for longer.
# - Text that is read a few times is worth nearly as much as new text; after many passes the held-out loss rises.
#
# ## Exercises
#
# **1.** At the best size for a budget, are the two terms $A/N^\alpha$ and $B/D^\beta$ equal? Use the condition above, then
# check with the fitted law at $C = 10^{12}$.

# %% tags=["hide-cell"]
# @title Solution
tried = np.geomspace(1e2, 1e9, 20_000)
budget = 1e12
n = tried[np.argmin(law(fitted, tried, budget / (6 * tried)))]
d = budget / (6 * n)
of_size = math.exp(log_A - alpha * math.log(n))
of_text = math.exp(log_B - beta * math.log(d))
print(f"at the best size the terms are {of_size:.3f} and {of_text:.3f} nats;")
print(f"times their exponents {alpha * of_size:.4f} and {beta * of_text:.4f}")
assert abs(alpha * of_size / (beta * of_text) - 1) < 0.02

# %% [markdown]
# The terms are equal only if the exponents are. Otherwise the term with the smaller exponent, which shrinks more slowly, is the
# larger one.
#
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
# **3.** Kaplan and others left the embedding out of $N$. Do so with our runs: compute the new sizes, fit the
# law again, and compare the power with which the best size grows. The vocabulary has `data.tokenizer.vocab_size` tokens.

# %% tags=["hide-cell"]
# @title Solution
embedding = data.tokenizer.vocab_size * np.array([row["width"] for row in rows])
without = fit_law(N - embedding, D, L)
powers = [p[4] / (p[2] + p[4]) for p in (fitted, without)]
print(f"the embedding is {min(embedding / N):.0%} to {max(embedding / N):.0%} of N")
print(f"best size: power {powers[0]:.2f} with it, {powers[1]:.2f} without")
assert powers[1] > powers[0]

# %% [markdown]
# The power comes out larger, which is the direction in which Kaplan and others differ from Hoffmann and others. The intervals above are
# wider than the difference. But both fits are of the same runs: what differs is only what is counted.
#
# **4.** A bootstrap sample contains about 63 % of the runs. Where does the number come from, and why does it make the
# intervals above wider rather than narrower than they should be, if anything?
#
# <details><summary>Answer</summary>
#
# A run is missed by all $n$ draws with probability $(1 - 1/n)^n \approx 1/e = 37\,\%$. With few runs a sample may leave out
# all runs of one size, or nearly all of one budget, and a fit without them has little to hold on to. With hundreds of runs this
# hardly happens.
#
# </details>
#
# The part's [assignment](../exercises/language.ipynb) is graded.
#
# ## Further reading
#
# - Kaplan et al. (2020), [Scaling Laws for Neural Language Models](https://arxiv.org/abs/2001.08361): the
#   laws, some of them over more than seven powers of ten.
# - Hoffmann et al. (2022), [Training Compute-Optimal Large Language Models](https://arxiv.org/abs/2203.15556): the formula
#   used here, lines of equal budget, and 20 tokens per parameter.
# - Besiroglu et al. (2024), [Chinchilla Scaling: A replication attempt](https://arxiv.org/abs/2404.10102): the constants,
#   fitted again, with their intervals.
# - Pearce and Song (2024), [Reconciling Kaplan and Chinchilla Scaling Laws](https://arxiv.org/abs/2406.12907).
# - Sardana et al. (2024), [Beyond Chinchilla-Optimal: Accounting for Inference in Language Model Scaling
#   Laws](https://arxiv.org/abs/2401.00448).
# - Muennighoff et al. (2023), [Scaling Data-Constrained Language Models](https://arxiv.org/abs/2305.16264): what reading
#   the same text again is still worth.
#
# Next: [From probabilities to text](decoding.ipynb).
