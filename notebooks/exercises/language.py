# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Assignment: language models
#
# A language model is a few short functions: a game that makes vectors of words, a loss, attention that remembers and
# knows where it is, a small correction beside a frozen matrix, a way to draw the next token. Each fits in ten lines,
# and each can be wrong in ways that raise no error. Here you write them in settings that the chapters do not have, and
# repair a training step whose loss falls to zero while it learns nothing about language. Each question names its
# chapter; read that one first. Plan four hours.
#
# | Question | After it you can | Points |
# | --- | --- | --- |
# | 1. What the game asks for | derive what word vectors learn when noise is drawn as you choose | 2 |
# | 2. The loss of the next token | score a language model from its logits, with every position in its place | 3 |
# | 3. Attention that writes | compute nothing twice, keep the future out, and put distances into the scores | 5 |
# | 4. Adapters | correct a frozen matrix with a few parameters, and take the correction in | 3 |
# | 5. The best size for a budget | say what a training costs, and derive the best size from a law | 3 |
# | 6. A draft and a judge | cut off improbable tokens, and let a cheap model guess without changing the text | 4 |
# | 7. Find the bug | tell a small loss from a model that predicts | 6 |
# | 8. In your own words | judge whether a reported loss can be true, whether two can be compared, and what a reward pays for | 4 |
#
# **How to work.** Write your code where `# YOUR CODE HERE` stands and delete the line `raise NotImplementedError()`
# below it. You may add cells of your own, for further imports as well. Do not copy, split or delete the cells that are
# here: the grading program knows them by hidden labels, and restores all of them but your answers. Avoid
# `from … import *`: it can put other functions in the place of Python's own `sum`, `max` or `abs`, which the checks use. A
# function leaves the tensors it is given as they are, unless its docstring says otherwise.
# Under each question stand its difficulty (one to three stars), a time, and two hints that unfold when you click on
# them; try without them first.
#
# **How it is graded.** The cells that begin with `# Check` call your function. If such a cell runs without an error,
# you have passed the checks you can see; when your work is graded, each of these cells also runs further checks of
# what the docstring promises. Values count, not whether they are in single or double precision. Every check has its
# own points, and every question is graded on its own: a mistake in one question costs nothing in the next. Question 8
# is read by a person.
#
# **How to hand in.** Restart the kernel and run all cells once more. Download the notebook (on Colab:
# *File → Download → Download .ipynb*), name it `language.ipynb` (without "Copy of"), and send it the way your teacher
# asks.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Colab has all that this assignment needs; nothing is to be installed. Put further
# imports into a cell of your own: this one is restored when your work is graded.
import math
import os
import warnings

import torch
from torch import Tensor
from torch.nn import functional as F

# a warning is no mistake, but the grading program would count it as one
if "NBGRADER_EXECUTION" in os.environ:
    warnings.simplefilter("ignore")

# %% [markdown]
# ## Notation
#
# | Name | Shape | Meaning |
# | --- | --- | --- |
# | `tokens` | (batch, time) | texts as whole numbers from 0 to vocab - 1; the first token of a text stands at position 0 |
# | `logits` | (batch, time, vocab) | what the model says about the *next* token, after each position |
# | `weight` | (outputs, inputs) | the matrix of a linear layer, which makes `x @ weight.T` of `x` |
# | `p`, `q` | (batch, vocab) | probabilities of the next token; each row sums to 1 |
#
# The probabilities of the next token are the softmax of the logits over the vocabulary, the last axis. All logarithms
# are natural, so losses are measured in **nats**.

# %% [markdown]
# ## 1. What the game asks for (2 points)
#
# In [Words as vectors](../language/word_vectors.ipynb) a network is shown a word $w$ and a context $c$ and says whether
# the pair is real. For each real pair $k$ contexts are drawn from a noise distribution $q(c)$. If the logit
# $a = u_w^\top v_c$ of each pair can be chosen freely, which one makes the loss smallest? The chapter derives it for
# the noise $q(c) = p(c)$, and for pairs that are taken both ways round. Here both are different.
#
# - A pair is a word and the word *after* it. So $n_{wc}$, the number of times that $c$ follows $w$, is a table whose
#   rows and columns are not alike, and need not be equally many.
# - The noise flattens the frequencies of the contexts by a power $s$, often $\tfrac34$ ([Mikolov et al.,
#   2013](https://arxiv.org/abs/1310.4546)):
#
# $$q(c) = \frac{n_c^{\,s}}{\sum_{c'} n_{c'}^{\,s}}, \qquad n_c = \sum_w n_{wc} .$$
#
# The pair $(w, c)$ is real $n_{wc}$ times. How often is it drawn as noise, on average? Write down what the pair adds to
# the loss, and find its minimum over $a$.
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# The pair adds to the loss in two ways: each time it is real, and each time it is drawn as noise. Which probability
# does the network give to "real" if the logit is $a$, and which to "noise"?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The word $w$ stands in $\sum_c n_{wc}$ real pairs, and for each of them $k$ contexts are drawn; with $q(c)$ this gives
# how often $(w, c)$ is drawn as noise, on average. If the pair is real $R$ times and noise $M$ times, it adds
# $-R \log \sigma(a) - M \log \sigma(-a)$ to the loss. Set its derivative with respect to $a$ to zero and solve for $a$.
# Watch the axes: one of the two sums of the table runs over the contexts, the other over the words. The logarithm of a
# tensor is minus infinity where the tensor is 0, so pairs that never occurred need no case of their own.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "game", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_logits(counts, k, power):
    """Return for every pair the logit that makes the loss of the game smallest.

    counts: (words, contexts), how often each pair occurred; every word and every
    context occurred at least once. k: how many contexts are drawn for each real
    pair. power: the exponent s of the noise, from 0 to 1. Returns (words,
    contexts); minus infinity where a pair never occurred.
    """
    ### BEGIN SOLUTION
    following = counts / counts.sum(dim=1, keepdim=True)  # p(c|w)
    noise = counts.sum(dim=0) ** power
    # real n_wc times, noise k n_w q(c) times
    return (following / (k * noise / noise.sum())).log()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "game-value", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1a (1 point): the logits, with noise as frequent as the contexts are.
### BEGIN HIDDEN TESTS
def _run(check):
    """Run a check with Python's own functions and the usual modules, whatever
    `import *` has put in their place.
    """
    import builtins
    import types

    import math

    import torch
    from torch import Tensor
    from torch.nn import functional as F

    usual = {
        "math": math,
        "torch": torch,
        "Tensor": Tensor,
        "F": F,
    }
    types.FunctionType(check.__code__, {**globals(), **vars(builtins), **usual})()


_own = {}


def _choose(check, **stand_ins):
    """Put the stand-ins in the place of the student's functions, unless the check
    fails with them.
    """
    for name, stand_in in stand_ins.items():
        if globals().get(name) is not stand_in:
            _own[name] = globals().get(name)
    globals().update(stand_ins)
    try:
        _run(check)
    except Exception:
        globals().update((name, _own[name]) for name in stand_ins)


### END HIDDEN TESTS
counts = torch.tensor([[4.0, 0.0], [2.0, 2.0]])
found = best_logits(counts, 2, 1.0)
assert type(found) is Tensor, f"the answer must be a tensor, not {type(found)}"
assert found.shape == (2, 2), f"the shape must be (2, 2), not {tuple(found.shape)}"
assert found[0, 1] == -math.inf, (
    f"a pair that never occurs is never real: its logit is -inf, not {found[0, 1]}"
)
assert abs(found[1, 1].item()) < 1e-5, (
    "this pair is real twice, and drawn as noise 2 * 4 * 2/8 = 2 times: "
    f"even odds have the logit 0, not {found[1, 1]:.3f}"
)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(1)
    for words, contexts, k in [(3, 5, 1), (6, 2, 5), (4, 4, 15)]:
        counts = torch.randint(0, 9, (words, contexts), generator=draw).float()
        counts[:, 0] += 1
        counts[0] += 1
        n, found = counts.tolist(), best_logits(counts, k, 1.0)
        total = sum(map(sum, n))
        assert found.shape == (words, contexts), (
            f"the shape must be {(words, contexts)}, not {tuple(found.shape)}"
        )
        for w in range(words):
            for c in range(contexts):
                noise = k * sum(n[w]) * sum(row[c] for row in n) / total
                right = math.log(n[w][c] / noise) if n[w][c] else -math.inf
                value = found[w, c].item()
                assert value == right or abs(value - right) < 1e-4, (
                    f"real {n[w][c]:.0f} times, noise {noise:.3f} times: "
                    f"the logit is {right:.4f}, not {value:.4f}"
                )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "game-noise", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1b (1 point): the power of the noise. The frequencies 16 : 1 become 4 : 1.
counts = torch.tensor([[16.0, 1.0]])
found = best_logits(counts, 1, 0.5) - best_logits(counts, 1, 1.0)
assert found.shape == (1, 2), f"the shape must be (1, 2), not {tuple(found.shape)}"
assert abs(found[0, 1].item() - math.log(5 / 17)) < 1e-5, (
    "the rarer context is drawn in a share of 1/5 instead of 1/17, so its logit "
    f"changes by log(5/17) = {math.log(5 / 17):.3f}, not by {found[0, 1]:.3f}"
)


### BEGIN HIDDEN TESTS
def _check():
    # The function is compared with itself at the power 1, so other mistakes in the
    # logit lose nothing here.
    draw = torch.Generator().manual_seed(2)
    for words, contexts, power in [(3, 5, 0.75), (5, 3, 0.5), (2, 6, 0.0)]:
        counts = torch.randint(1, 9, (words, contexts), generator=draw).float()
        sizes = counts.sum(dim=0).tolist()
        found = best_logits(counts, 3, power) - best_logits(counts, 3, 1.0)
        flat = [size**power for size in sizes]
        for c in range(contexts):
            right = math.log(sizes[c] / sum(sizes)) - math.log(flat[c] / sum(flat))
            for value in found[:, c].tolist():
                assert abs(value - right) < 1e-4, (
                    f"power {power}: the logits of context {c} must change by "
                    f"{right:.4f}, not by {value:.4f}"
                )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# What does the power do to a frequent word, and what to a rare one? Guess the signs before you run the cell: the logits
# of three words after *the*, for three powers.

# %%
following = {"of": 300, "cat": 40, "quark": 2}  # how often each follows "the"
elsewhere = [2700, 60, 1]  # how often each follows another word
counts = torch.tensor([list(map(float, following.values())), elsewhere])
for power in (1.0, 0.75, 0.0):
    logits = best_logits(counts, 5, power)[0].tolist()
    print(
        f"power {power:4}:",
        *[f"{w} {a:+.2f}" for w, a in zip(following, logits, strict=True)],
    )

# %% [markdown]
# ## 2. The loss of the next token (3 points)
#
# As in [Predicting the next character](../language/recurrent_language_model.ipynb), the probability of a text is the
# product of the probabilities of its tokens, each given all before it. A model is scored by the mean of minus the
# logarithms, over all tokens that it had to predict:
#
# $$\mathcal L = -\frac{1}{B\,(T-1)} \sum_{b=1}^{B} \sum_{t=0}^{T-2} \log p\bigl(x_{b,\,t+1} \mid x_{b,\,0}, \dots, x_{b,\,t}\bigr).$$
#
# Here $B$ is the number of texts in the batch and $T$ their length. The logits at position $t$ are about the token at
# position $t + 1$. So the first token of a text is predicted by nobody, and the logits after its last token have
# nothing to be compared with.
#
# `F.cross_entropy` knows the logarithm of the softmax. Write it by hand for once, with `torch.logsumexp` or
# `log_softmax`, and use the ready-made function to check yourself. Never take the logarithm of a softmax that has been
# computed: a probability of $e^{-200}$ is 0 in single precision, and its logarithm minus infinity.
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Take one text of four tokens and write down, for each position, which token its logits are compared with. Which logits
# have no partner, and which token has none?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# $-\log p(x)$ is the logsumexp of the logits over the vocabulary, minus the logit of $x$. First bring logits and
# tokens to the same $T - 1$ positions. Then one number per position has to be picked along the vocabulary axis;
# `gather` does this, if its index has as many axes as the logits. Take the mean over all $B\,(T - 1)$ numbers, with the
# sign that makes the loss positive. Limit none of them: `logsumexp` and `log_softmax` subtract the largest logit first,
# so nothing overflows.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def next_token_loss(logits, tokens):
    """Return the mean over all predicted tokens of -log p(token), in nats.

    logits: (batch, time, vocab); those at position t are about the token at
    position t + 1.
    tokens: (batch, time), with time at least 2. Returns a scalar with a gradient
    for the logits; finite, and not capped, for logits in the thousands.
    """
    ### BEGIN SOLUTION
    log_p = logits[:, :-1].log_softmax(dim=-1)
    return -log_p.gather(dim=-1, index=tokens[:, 1:, None]).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "loss-pairs", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 2a (1 point): which logits are compared with which token.
tokens = torch.tensor([[0, 1, 2]])
logits = torch.zeros(1, 3, 4)
before = next_token_loss(logits, tokens)
assert type(before) is Tensor, f"the loss must be a tensor, not {type(before)}"
assert before.shape == (), (
    f"the loss must be a single number: shape (), not {tuple(before.shape)}"
)
logits[0, 2, 3] = 5.0
after = next_token_loss(logits, tokens)
assert abs(after.item() - before.item()) < 1e-6, (
    "the logits after the last token are compared with something"
)


### BEGIN HIDDEN TESTS
def _check():
    # The gradient's signs tell which token was meant, whether the loss is a sum, in
    # bits, or upside down.
    draw = torch.Generator().manual_seed(3)
    for batch, time, vocab in [(1, 2, 3), (3, 5, 7), (4, 4, 4)]:
        tokens = torch.randint(vocab, (batch, time), generator=draw)
        logits = torch.randn(batch, time, vocab, generator=draw).requires_grad_()
        next_token_loss(logits, tokens).backward()
        assert (logits.grad[:, -1] == 0).all(), (
            "the logits after the last token have a gradient"
        )
        gradient = logits.grad[:, :-1]
        is_target = F.one_hot(tokens[:, 1:], vocab).bool()
        upside = gradient[is_target][0].sign()
        assert (gradient[is_target].sign() == upside).all(), (
            "the logits are not compared with the next token"
        )
        assert (gradient[~is_target].sign() == -upside).all(), (
            "the logits are compared with other tokens than the next"
        )
        assert upside != 0, "the next token has no influence"


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "loss-mean", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 2b (1 point): the mean, in nats.
loss = next_token_loss(torch.zeros(2, 3, 5), torch.zeros(2, 3, dtype=torch.long))
assert loss.shape == (), (
    f"the loss must be a single number: shape (), not {tuple(loss.shape)}"
)
assert abs(loss.item() - math.log(5)) < 1e-5, (
    f"five equally likely tokens cost log 5 = 1.609 nats, not {loss:.3f}"
)


### BEGIN HIDDEN TESTS
def _check():
    # Texts of one repeated token, and a model that says the same everywhere: then
    # it doesn't matter what is compared with what, and a mistake of check 2a loses
    # nothing here.
    draw = torch.Generator().manual_seed(4)
    for batch, time, vocab in [(1, 2, 3), (3, 5, 7), (4, 9, 2)]:
        tokens = torch.randint(vocab, (batch, 1), generator=draw)
        logits = 2 * torch.randn(batch, 1, vocab, generator=draw)
        weights = logits[:, 0].double().exp()
        expected = (
            -(weights.gather(1, tokens)[:, 0] / weights.sum(dim=1))
            .log()
            .mean()
            .item()
        )
        loss = next_token_loss(
            logits.expand(batch, time, vocab), tokens.expand(batch, time)
        )
        assert abs(loss.item() - expected) < 1e-05, (
            f"{batch} texts of {time} tokens: the loss is {expected:.4f}, not "
            f"{loss:.4f}"
        )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "loss-stable", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 2c (1 point): very large logits.
logits = torch.tensor([1000.0, 0.0, -1000.0]).expand(1, 4, 3)
loss = next_token_loss(logits, torch.ones(1, 4, dtype=torch.long))
assert loss.isfinite(), f"the loss must be finite, not {loss}"


### BEGIN HIDDEN TESTS
def _check():
    # As before, what is compared with what does not matter; nor do a factor and the
    # sign of the loss.
    def loss(gap, offset=0.0):
        logits = torch.tensor([gap, 0.0, -60.0]) + offset
        return next_token_loss(
            logits.expand(2, 3, 3), torch.ones(2, 3, dtype=torch.long)
        ).item()

    # A gap this wide is the loss itself, so ten times the gap is ten times the
    # loss.
    step = loss(25.0) - loss(15.0)
    assert abs(step) > 0.1, "the loss must depend on the logits"
    for low, high in [(50.0, 150.0), (150.0, 550.0), (1000.0, 3000.0)]:
        assert (
            abs((loss(high) - loss(low)) / step / (high - low) * 10 - 1) < 0.001
        ), f"a logit that is larger by {high - low} must cost as many nats more"
    for offset in (-2000.0, -100.0, 100.0, 2000.0):
        assert abs(loss(1.0, offset) - loss(1.0)) < 0.001, (
            f"adding {offset} to all logits changes the loss"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 3. Attention that writes (5 points)
#
# To write a text, a model adds one token after another, and each new one looks at all before it. The keys and values of
# those have been computed already, and they never change: a position does not see what comes later. So they are
# stored, and every step computes the query, key and value of the *new* positions alone
# ([From probabilities to text](../language/decoding.ipynb) does it for one new vector at a time, which needs no mask).
#
# Let $x$ be the vectors that come into an attention layer. Its queries, keys and values are three linear maps of them,
# $q = x W_q$, $k = x W_k$, $v = x W_v$, and each position gathers
#
# $$\operatorname{softmax}\Bigl(\frac{q k^\top}{\sqrt{\text{dim}}} + M\Bigr)\, v ,$$
#
# where the mask $M$ is 0 for a key that a query may look at, and $-\infty$ for another
# ([Attention](../language/attention.ipynb)). Write a step that gets the new vectors only, one or several (a prompt is
# read in one go), and the stored keys and values of all vectors before them. The queries belong to the *last*
# positions. Draw the table for 2 queries and 5 keys before you write the mask.
#
# *Difficulty: ★★★. Time: about 25 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Give every query and every key its position in the whole text, counted from 0. At which position does the first new
# vector stand if `past` vectors are stored? The mask follows from comparing the two positions.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Append the new keys and values to the stored ones along the time axis, in new tensors. The scores then have the shape
# (batch, new, past + new); divide them by the square root of dim, the length of a key, and not of width. The mask is a
# table (new, past + new); for 2 queries and 5 keys exactly one of its entries is $-\infty$. It has to act before the
# softmax, which runs over the keys. Check two cases: with nothing stored the table is the usual triangle, and for a
# single new vector nothing is hidden.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
def attend_with_cache(x, cache, w_q, w_k, w_v):
    """Return what the new positions gather, and the cache with their keys and
    values added.

    x: (batch, new, width), the vectors of the new positions; new is at least 1.
    w_q, w_k, w_v: (width, dim).
    cache: (keys, values), each (batch, past, dim), of all positions before these;
    past is 0 at the beginning of a text. Each new position looks at itself and at
    everything before it, never at a later one. Returns (gathered, (keys, values)):
    gathered is (batch, new, dim), the others are (batch, past + new, dim), in the
    order of the text. The given cache stays as it is.
    """
    ### BEGIN SOLUTION
    keys = torch.cat([cache[0], x @ w_k], dim=1)
    values = torch.cat([cache[1], x @ w_v], dim=1)
    scores = x @ w_q @ keys.transpose(1, 2) / math.sqrt(keys.shape[2])
    new, positions = scores.shape[1:]
    allowed = torch.ones(new, positions, dtype=torch.bool).tril(positions - new)
    weights = scores.masked_fill(~allowed, -math.inf).softmax(dim=2)
    return weights @ values, (keys, values)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "cache-whole", "locked": true, "schema_version": 3, "solution": false, "task": false}
def whole(x, w_q, w_k, w_v):
    """Return causal attention for a whole text, (keys, values); PyTorch does it."""
    keys, values = x @ w_k, x @ w_v
    gathered = F.scaled_dot_product_attention(x @ w_q, keys, values, is_causal=True)
    return gathered, (keys, values)


def example(batch=2, time=7, width=6, dim=4, seed=0):
    """Return random vectors (batch, time, width) and 3 matrices (width, dim)."""
    draw = torch.Generator().manual_seed(seed)
    shapes = [(batch, time, width), (width, dim), (width, dim), (width, dim)]
    return [torch.randn(*shape, generator=draw) for shape in shapes]


# %% nbgrader={"grade": true, "grade_id": "cache-one", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3a (1 point): one new position, the last one of a text.
x, *matrices = example()
expected, (keys, values) = whole(x, *matrices)
gathered, _ = attend_with_cache(x[:, 6:], (keys[:, :6], values[:, :6]), *matrices)
assert gathered.shape == (2, 1, 4), (
    f"one new position: shape (2, 1, 4), not {tuple(gathered.shape)}"
)
off = (gathered - expected[:, 6:]).abs().max()
assert off < 1e-4, f"not what the whole text gathers at its end: off by {off:.4f}"


### BEGIN HIDDEN TESTS
def _check():
    for seed, past in [(1, 0), (2, 1), (3, 4), (4, 9)]:
        x, *matrices = example(batch=3, time=past + 1, width=5, dim=3, seed=seed)
        expected, (keys, values) = whole(x, *matrices)
        gathered, _ = attend_with_cache(
            x[:, past:], (keys[:, :past], values[:, :past]), *matrices
        )
        off = (gathered - expected[:, past:]).abs().max()
        assert off < 1e-4, (
            f"after {past} stored positions a new one is off by {off:.4f}"
        )


_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "cache-several", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3b (1 point): several new positions at once.
x, *matrices = example()
expected, (keys, values) = whole(x, *matrices)
gathered, _ = attend_with_cache(x[:, 3:], (keys[:, :3], values[:, :3]), *matrices)
assert gathered.shape == (2, 4, 4), (
    f"four new positions: shape (2, 4, 4), not {tuple(gathered.shape)}"
)
off = (gathered - expected[:, 3:]).abs().amax(dim=(0, 2)).tolist()
assert max(off) < 1e-4, f"positions 3 to 6 are off by {off}"


### BEGIN HIDDEN TESTS
def _check():
    for seed, past, new in [(1, 0, 4), (2, 1, 2), (3, 4, 3), (4, 2, 6)]:
        x, *matrices = example(batch=3, time=past + new, width=5, dim=3, seed=seed)
        expected, (keys, values) = whole(x, *matrices)
        gathered, _ = attend_with_cache(
            x[:, past:], (keys[:, :past], values[:, :past]), *matrices
        )
        off = (gathered - expected[:, past:]).abs().max()
        assert off < 1e-4, (
            f"{new} new positions after {past} stored ones are off by {off:.4f}"
        )


_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "cache-stored", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3c (1 point): what is stored.
x, *matrices = example()
_, (keys, values) = whole(x, *matrices)
_, stored = attend_with_cache(x[:, 6:], (keys[:, :6], values[:, :6]), *matrices)
assert len(stored) == 2, "the cache is a pair: keys and values"
assert stored[0].shape == (2, 7, 4), (
    f"7 positions have 7 keys: shape (2, 7, 4), not {tuple(stored[0].shape)}"
)
assert (stored[0] - keys).abs().max() < 1e-4, "the keys are not those of the text"
assert stored[1].shape == (2, 7, 4), f"7 values, not {tuple(stored[1].shape)}"
assert (stored[1] - values).abs().max() < 1e-4, "the values are wrong"


### BEGIN HIDDEN TESTS
def _check():
    for seed, past, new in [(1, 0, 1), (2, 0, 3), (3, 4, 1), (4, 2, 5)]:
        x, *matrices = example(batch=3, time=past + new, width=5, dim=3, seed=seed)
        _, expected = whole(x, *matrices)
        given = tuple(each[:, :past].clone() for each in expected)
        copies = [each.clone() for each in given]
        _, stored = attend_with_cache(x[:, past:], given, *matrices)
        for each, right in zip(stored, expected, strict=True):
            assert each.shape == right.shape, (
                f"{past} stored, {new} new: the shape is {tuple(each.shape)}"
            )
            assert (each - right).abs().max() < 1e-4, (
                f"{past} stored, {new} new: what is stored is wrong"
            )
        for each, right in zip(given, copies, strict=True):
            assert torch.equal(each, right), "the given cache was changed"


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# What does it save? Without a cache, every new token has the keys and values of the whole text computed again. Count
# the vectors that have to be multiplied by $W_k$ to write a text of 1,000 tokens, both ways, then run the cell.

# %%
x, *matrices = example(time=8)
cache = torch.zeros(2, 0, 4), torch.zeros(2, 0, 4)
for position in range(8):
    gathered, cache = attend_with_cache(
        x[:, position : position + 1], cache, *matrices
    )
expected = whole(x, *matrices)[0][:, -1:]
same = torch.allclose(gathered.to(x.dtype), expected, atol=1e-5)
print(f"written one by one, the last position gathers the same: {same}")
print(
    "vectors multiplied for 1,000 tokens: "
    f"{sum(range(1, 1001)):,} without a cache, 1,000 with it"
)

# %% [markdown]
# To this layer the past is a bag: with the positions of two earlier vectors exchanged, it gathers the same. **Rotary
# positions** ([Su et al., 2021](https://arxiv.org/abs/2104.09864)) turn queries and keys before they meet. The numbers
# of a vector are taken in pairs, each pair is read as a point of the plane, and at position $m$ pair $i$ is turned
# anticlockwise by the angle $m\,\theta_i$,
#
# $$\theta_i = \text{base}^{-2i / \text{dim}}, \qquad
# (a, b) \mapsto (a \cos m\theta_i - b \sin m\theta_i,\; a \sin m\theta_i + b \cos m\theta_i) .$$
#
# The course's GPT ([A GPT from the ground up](../language/gpt.ipynb)) pairs the first half of a vector with the second.
# Here, as in the original, pair $i$ are the two **neighbours** with the numbers $2i$ and $2i + 1$, counted from 0. With
# a cache the new positions do not begin at 0, so they are given.
#
# *Difficulty: ★★☆. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Each pair has its own angle at each position, so the angles form a table: which shape does it have? And which numbers
# of the last axis are the first of their pairs, which are the second?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The table of angles, (time, dim / 2), holds the product of each position and each $\theta_i$. Take the first numbers
# of all pairs as one tensor and the second numbers as another: both are (…, time, dim / 2), so the table fits, however
# many axes stand before. Compute both new numbers from the old ones; once $a$ is overwritten, the second would come out
# wrong. At the end each $a$ has to stand beside its $b$ again: an additional last axis of length 2, merged with the
# axis before it, does this; one half put behind the other does not.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "turn", "locked": false, "schema_version": 3, "solution": true, "task": false}
def turn(x, positions, base):
    """Return vectors that are turned, pair by pair, as their positions say.

    x: (…, time, dim); dim is even, and the dots are any number of axes. It stays as
    it is. positions: (time,), whole numbers from 0, in any order. base: a number
    above 1. Pair i are the numbers 2i and 2i + 1 of a vector; at position m it is
    turned by m * base ** (-2i / dim). Returns a tensor of x's shape.
    """
    ### BEGIN SOLUTION
    dim = x.shape[-1]
    speeds = base ** (-torch.arange(0, dim, 2) / dim)
    angles = positions[:, None] * speeds  # (time, pairs)
    a, b = x[..., 0::2], x[..., 1::2]
    turned = [
        a * angles.cos() - b * angles.sin(),
        a * angles.sin() + b * angles.cos(),
    ]
    return torch.stack(turned, dim=-1).flatten(-2)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "turn-angle", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3d (1 point): the angles. With a base of 100 and 4 numbers the first pair
# turns by 1 from one position to the next, the second by 0.1.
x = torch.tensor([1.0, 0.0, 0.0, 2.0]).expand(3, 4)
found = turn(x, torch.tensor([0, 1, 2]), 100.0)
assert type(found) is Tensor, f"the answer must be a tensor, not {type(found)}"
assert found.shape == (3, 4), f"the shape must be (3, 4), not {tuple(found.shape)}"
right = [math.cos(2), math.sin(2), -2 * math.sin(0.2), 2 * math.cos(0.2)]
for number, (value, expected) in enumerate(
    zip(found[2].tolist(), right, strict=True)
):
    assert abs(value - expected) < 1e-5, (
        f"position 2, number {number}: {expected:.4f}, not {value:.4f}"
    )


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(3)
    for axes, dim, base, positions in [
        ((), 2, 10.0, [0, 1, 7]),
        ((3,), 6, 10_000.0, [5, 4, 0, 40]),
        ((2, 2), 8, 50.0, [3]),
        ((), 16, 10_000.0, [100, 101, 600]),
    ]:
        x = torch.randn(*axes, len(positions), dim, generator=draw)
        given = x.clone()
        found = turn(x, torch.tensor(positions), base)
        assert torch.equal(x, given), "the given vectors were changed"
        assert found.shape == x.shape, (
            f"the shape must be {tuple(x.shape)}, not {tuple(found.shape)}"
        )
        for t, m in enumerate(positions):
            for i in range(dim // 2):
                pair = torch.complex(x[..., t, 2 * i], x[..., t, 2 * i + 1])
                angle = torch.tensor(m * base ** (-2 * i / dim))
                right = pair * torch.polar(torch.tensor(1.0), angle)
                for number, part in enumerate((right.real, right.imag)):
                    miss = (found[..., t, 2 * i + number] - part).abs().max()
                    assert miss < 1e-3, (
                        f"dim {dim}, base {base}: number {2 * i + number} at "
                        f"position {m} is off by {miss:.3f}"
                    )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "turn-distance", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3e (1 point): the score knows the distance, and nothing else.
draw = torch.Generator().manual_seed(0)
q, k = torch.randn(2, 1, 6, generator=draw)
scores = []
for at_q, at_k in [(5, 3), (205, 203), (205, 201)]:
    at_q, at_k = torch.tensor([at_q]), torch.tensor([at_k])
    turned = turn(q.clone(), at_q, 50.0), turn(k.clone(), at_k, 50.0)
    scores.append((turned[0] * turned[1]).sum().item())
assert abs(scores[0] - scores[1]) < 1e-3, (
    f"both pairs are 2 positions apart, but score {scores[0]:.3f}, {scores[1]:.3f}"
)
assert abs(scores[1] - scores[2]) > 1e-2, "the distance must matter"


### BEGIN HIDDEN TESTS
def _check():
    # The function is compared with itself, so other angles lose nothing here.
    draw = torch.Generator().manual_seed(4)
    for dim, base in [(2, 10.0), (8, 1000.0), (12, 20.0)]:
        q, k = torch.randn(2, 1, dim, generator=draw)

        def score(at_q, at_k, q=q, k=k, base=base):
            at_q, at_k = torch.tensor([at_q]), torch.tensor([at_k])
            turned = turn(q.clone(), at_q, base), turn(k.clone(), at_k, base)
            return (turned[0] * turned[1]).sum().item()

        for distance in (0, 1, 3, 10):
            near = score(distance, 0)
            for shift in (1, 17, 150):
                assert abs(score(distance + shift, shift) - near) < 1e-3, (
                    f"{distance} positions apart: the score changes with the place"
                )
        spread = {round(score(n, 0), 2) for n in range(12)}
        assert len(spread) > 4, "the score does not depend on the distance"
        still = turn(q.clone(), torch.tensor([0]), base)
        assert (still - q).abs().max() < 1e-5, "position 0 must turn by nothing"
        length = turn(q.clone(), torch.tensor([9]), base).norm().item()
        assert abs(length - q.norm().item()) < 1e-4, (
            "a vector that is turned must keep its length"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Adapters (3 points)
#
# A linear layer makes $W x$ of $x$. [Hu et al. (2021)](https://arxiv.org/abs/2106.09685) leave $W$ as it is and train a
# correction of low rank beside it: $A$ has $r$ rows and brings the input down to $r$ numbers, $B$ has $r$ columns and
# brings them up again ([Teaching an old model a new text](../language/fine_tuning.ipynb)). Nothing forbids **several**
# adapters beside the same matrix, each trained for another text, with a rank $r_j$ and a scale $\alpha_j$ of its own:
#
# $$y = W x + \sum_j \frac{\alpha_j}{r_j} B_j A_j x .$$
#
# An empty list of adapters is allowed: then the layer is the old one.
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# The formula has one column vector $x$; the function gets a batch, one vector per row. The notation says what a linear
# layer makes of such rows, and $A_j$ and $B_j$ are two more layers of this kind, one after the other.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Follow the shapes: (batch, inputs), after $A_j$ (batch, $r_j$), after $B_j$ (batch, outputs); one of the axes of $A_j$
# tells you $r_j$. Every adapter gets the same $x$, and its scaled output is added to that of the matrix, so an empty
# list needs no case of its own. Only the matrix is frozen: use its values without its graph (`detach`), leave its
# `requires_grad` as it is, and do not switch off the gradients of the rest.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "adapted", "locked": false, "schema_version": 3, "solution": true, "task": false}
def adapted(x, weight, adapters):
    """Return the output of a frozen linear layer with its adapters.

    x: (batch, inputs). weight: (outputs, inputs); it is frozen, so no gradient
    reaches it, whatever its requires_grad says. adapters: a list of (A, B, alpha),
    with A: (r, inputs), B: (outputs, r), and a rank r of its own for each.
    Gradients reach x and every A and B. Returns (batch, outputs).
    """
    ### BEGIN SOLUTION
    y = x @ weight.detach().T
    for down, up, alpha in adapters:
        y = y + alpha / len(down) * (x @ down.T) @ up.T
    return y
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "adapted-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
def make_adapters(outputs, inputs, ranks, seed=0):
    """A matrix and adapters of these ranks; alpha is 1, 2, 3, …; all can learn."""
    draw = torch.Generator().manual_seed(seed)

    def matrix(rows, columns):
        return torch.randn(rows, columns, generator=draw).requires_grad_()

    weight = matrix(outputs, inputs)
    return weight, [
        (matrix(r, inputs), matrix(outputs, r), float(j))
        for j, r in enumerate(ranks, start=1)
    ]


# %% nbgrader={"grade": true, "grade_id": "adapted-output", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4a (1 point): the output, and what can learn.
x, one = torch.ones(1, 3), torch.ones(2, 3, requires_grad=True)
down, up = torch.ones(4, 3).requires_grad_(), torch.ones(2, 4).requires_grad_()
found = adapted(x, one, [(down, up, 2.0)])
assert type(found) is Tensor, f"the answer must be a tensor, not {type(found)}"
assert found.shape == (1, 2), f"the shape must be (1, 2), not {tuple(found.shape)}"
assert abs(found[0, 0].item() - 9) < 1e-5, (
    f"3 from the matrix and 2/4 * 12 from the adapter are 9, not {found[0, 0]:.3f}"
)
assert found.requires_grad, "no gradient reaches A and B"
found.sum().backward()
assert down.grad is not None, "no gradient reaches A"
assert up.grad is not None, "no gradient reaches B"
assert one.grad is None or not one.grad.any(), "the matrix must be frozen"


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(5)
    for outputs, inputs, ranks in [(5, 3, [2]), (3, 6, [1, 4, 2]), (4, 4, [])]:
        weight, adapters = make_adapters(outputs, inputs, ranks, seed=inputs)
        x = torch.randn(7, inputs, generator=draw).requires_grad_()
        right = torch.einsum("oi,bi->bo", weight.detach(), x)
        for r, (down, up, alpha) in zip(ranks, adapters, strict=True):
            right = right + torch.einsum("or,ri,bi->bo", up, down, x) * (alpha / r)
        found = adapted(x, weight, adapters)
        assert found.shape == right.shape, (
            f"the shape must be {tuple(right.shape)}, not {tuple(found.shape)}"
        )
        assert (found - right).abs().max() < 1e-3, (
            f"adapters of the ranks {ranks}: the output is wrong"
        )
        learning = [x, *[m for down, up, _ in adapters for m in (down, up)]]
        expected = torch.autograd.grad(right.square().sum(), learning)
        found.square().sum().backward()
        for tensor, gradient in zip(learning, expected, strict=True):
            assert tensor.grad is not None, "a gradient that is missing"
            miss = (tensor.grad - gradient).abs().max()
            assert miss < 1e-3 * (1 + gradient.abs().max()), "a gradient is wrong"
        assert weight.grad is None or not weight.grad.any(), (
            "a gradient reaches the frozen matrix"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# When the training is over the adapters can be **merged**: one matrix that does the same, and costs no more than the
# old one. Taking one adapter off again is then a merge with $-\alpha$. You may call your functions of earlier
# questions, here and below. A check is passed if it is passed with them or with correct versions in their place, so
# that no mistake costs you points twice.
#
# *Difficulty: ★★☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Factor $x$ out of the layer's formula: what stands before it is one matrix. Which product of $A_j$ and $B_j$ has the
# shape (outputs, inputs)?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The order of the two factors matters: their common axis is the rank. Each product has the same scale as in the layer,
# and a negative $\alpha$ needs no case of its own. Begin with a copy of the matrix, so that the result shares no memory
# with it, not even for an empty list; `detach` alone makes no copy. Compute without gradients, so that the result has
# none, and change none of the given tensors.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "merged", "locked": false, "schema_version": 3, "solution": true, "task": false}
def merged(weight, adapters):
    """Return the matrix, (outputs, inputs), that alone makes what the frozen layer
    and its adapters make together.

    weight and adapters: as before; alpha may be negative. All given tensors stay as
    they are. The result shares no memory with them, and has no gradient.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        result = weight.clone()
        for down, up, alpha in adapters:
            result += alpha / len(down) * up @ down
    return result
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "merged-matrix", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4b (1 point): the merged matrix.
### BEGIN HIDDEN TESTS
# A mistake in the function before is not punished here: the check is passed if it
# is passed with this function or with the student's own.
def _adapted(x, weight, adapters):
    y = F.linear(x, weight.detach())
    for down, up, alpha in adapters:
        y = y + F.linear(F.linear(x, down), up) * alpha / down.shape[0]
    return y


def _check():
    for outputs, inputs, ranks in [(5, 3, [2]), (3, 6, [1, 4, 2]), (4, 4, [])]:
        weight, adapters = make_adapters(outputs, inputs, ranks, seed=outputs)
        given = [weight, *[m for down, up, _ in adapters for m in (down, up)]]
        copies = [each.detach().clone() for each in given]
        found = merged(weight, adapters)
        right = weight.detach().clone()
        for r, (down, up, alpha) in zip(ranks, adapters, strict=True):
            right += torch.einsum("or,ri->oi", up, down).detach() * (alpha / r)
        assert found.shape == right.shape, (
            f"the shape must be {tuple(right.shape)}, not {tuple(found.shape)}"
        )
        assert (found - right).abs().max() < 1e-4, (
            f"adapters of the ranks {ranks}: the merged matrix is wrong"
        )
        assert not found.requires_grad, "the merged matrix must have no gradient"
        with torch.inference_mode():  # which a tensor made in that mode needs
            found += 1.0
        for each, copy in zip(given, copies, strict=True):
            assert torch.equal(each, copy), "a given tensor was changed"


_choose(_check, adapted=_adapted)
### END HIDDEN TESTS
weight, adapters = make_adapters(outputs=5, inputs=4, ranks=[2, 3])
before = weight.detach().clone()
found = merged(weight, adapters)
assert type(found) is Tensor, f"the answer must be a tensor, not {type(found)}"
assert found.shape == (5, 4), f"the shape must be (5, 4), not {tuple(found.shape)}"
assert not found.requires_grad, "the merged matrix must have no gradient"
assert torch.equal(weight, before), "the given matrix was changed"
back = merged(found, [(down, up, -alpha) for down, up, alpha in adapters])
assert (back - before).abs().max() < 1e-4, (
    "taken off again, the adapters must leave the old matrix"
)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# How many parameters is that? An adapter beside a matrix of shape (outputs, inputs) trains those of its $A$ and its
# $B$. You have a list of matrices, put an adapter of the same rank beside each of them, and want to train at most a
# given share of the matrices' parameters. Solve for the rank.
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Take one matrix first. How many parameters do its $A$ and $B$ have together at rank 1, and how does this number grow
# with the rank?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Add up two things over all matrices: what the adapters have at rank 1, and what the matrices have. The adapters'
# parameters are the rank times the first sum, so "at most this share" is an inequality for the rank. Solve it, and take
# the largest whole number that satisfies it: round down, not to the nearest, and return an `int`. Do not find a rank
# for each matrix and take the mean; the sums come first.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "rank", "locked": false, "schema_version": 3, "solution": true, "task": false}
def largest_rank(shapes, share):
    """Return the largest rank for which the adapters of all matrices together have
    at most `share` of the matrices' parameters; a whole number.

    shapes: a list of (outputs, inputs), one pair for each matrix. share: a number
    above 0, at most 1. Returns 0 if even a rank of 1 has too many.
    """
    ### BEGIN SOLUTION
    frozen = sum(outputs * inputs for outputs, inputs in shapes)
    per_rank = sum(outputs + inputs for outputs, inputs in shapes)
    return int(share * frozen / per_rank)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rank-count", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4c (1 point): the rank. Rank 1 beside an 8 x 8 matrix has 16 parameters.
found = largest_rank([(8, 8)], 0.5)
assert type(found) is int, f"a rank is a whole number (int), not {type(found)}"
assert found == 2, f"32 parameters are half of 64: the rank is 2, not {found}"
found = largest_rank([(8, 8)], 0.2)
assert found == 0, f"rank 1 has a quarter of 64 already: 0, not {found}"


### BEGIN HIDDEN TESTS
def _check():
    for shapes, share, right in [
        ([(64, 64)], 0.25, 8),
        ([(64, 64)], 0.249, 7),
        ([(30, 10), (10, 30)], 0.5, 3),
        ([(256, 256)] * 4 + [(1024, 256), (256, 1024)], 0.0625, 10),
        ([(100, 10)], 1.0, 9),
        ([(1000, 2), (2, 2)], 0.4, 0),
        ([(512, 512), (16, 16)], 0.03, 7),
    ]:
        found = largest_rank(shapes, share)
        assert type(found) is int, f"a rank is an int, not {type(found)}"
        assert found == right, (
            f"matrices {shapes[:3]}, share {share}: rank {right}, not {found}"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# The matrices in the blocks of the smallest GPT-2: which share do you have to train for a rank of 4, and which for 64?

# %%
width, layers = 768, 12
block = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)]
for share in (0.005, 0.01, 0.05, 0.2, 0.5):
    rank = largest_rank(layers * block, share)
    print(f"{share:6.1%} of the parameters: rank {rank}")

# %% [markdown]
# ## 5. The best size for a budget (3 points)
#
# A training of $N$ parameters in matrices on $D$ tokens takes about $6 N D$ operations: 2 for each parameter and token
# forwards, 4 backwards ([What more compute buys](../language/scaling.ipynb)). The chapter's blocks have as many keys
# and values as heads, and a hidden layer four times as wide as the model. Count the matrices of another kind:
#
# - In each block the queries have a matrix of width × width, and so has the output of attention. Of the `heads` heads
#   several **share** keys and values ([Writing faster](../language/inference.ipynb)): there are only `sets` sets of
#   them, each with a matrix for its keys and one for its values, of (width / heads) × width.
# - The network for each position has a matrix of `hidden` × width and one back.
# - The last layer makes `vocab` logits from width numbers. The embedding multiplies nothing, and biases, norms and
#   attention's own products are left out, as usual.
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# List all matrices of one block with their shapes. How many of them depend on `sets`, and which matrix belongs to no
# block?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# A matrix has rows × columns parameters. For one block, add up the queries, the output, the keys and values of all
# sets, and the two matrices of the network. To check the term for the keys and values: it must be
# $2 \cdot \text{width}^2$ if there are as many sets as heads. The last layer is counted once, however many blocks there
# are. The factor 6 and the number of tokens apply to all parameters, those of the last layer too.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "operations", "locked": false, "schema_version": 3, "solution": true, "task": false}
def training_operations(layers, width, heads, sets, hidden, vocab, tokens):
    """Return about how many operations a training takes, by the rule 6 N D.

    All are whole numbers; heads divides width. tokens counts every token that is
    read, repeated ones too. Returns a number.
    """
    ### BEGIN SOLUTION
    shared = 2 * sets * (width // heads) * width
    block = 2 * width**2 + shared + 2 * hidden * width
    return 6 * (layers * block + vocab * width) * tokens
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "operations-count", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5a (1 point): the operations. As many sets as heads and a hidden layer of
# 4 * width make the 12 * width ** 2 parameters of the chapter's blocks.
found = training_operations(3, 10, 5, 5, 40, vocab=0, tokens=1)
assert found == 6 * 3 * 1200, f"6 * 3 * 12 * 100 = 21600, not {found}"
found = training_operations(1, 10, 5, 1, 40, vocab=0, tokens=1)
assert found == 6 * 1040, (
    f"one set in place of five: 20 * 2 * 4 parameters less, 6240, not {found}"
)


### BEGIN HIDDEN TESTS
def _check():
    for layers, width, heads, sets, hidden, vocab, tokens in [
        (2, 8, 4, 2, 20, 50, 1000),
        (12, 768, 12, 12, 3072, 50_257, 10**9),
        (1, 6, 3, 1, 7, 11, 1),
        (80, 8192, 64, 8, 28_672, 32_000, 2 * 10**12),
    ]:
        parameters = vocab * width
        for _ in range(layers):
            # queries, keys, values, output, and the network
            for rows in (width, *[width // heads] * (2 * sets), width, hidden):
                parameters += rows * width
            parameters += width * hidden
        found = training_operations(
            layers, width, heads, sets, hidden, vocab, tokens
        )
        right = 6 * parameters * tokens
        assert abs(found / right - 1) < 1e-9, (
            f"{layers} layers of width {width}, {sets} of {heads} sets, hidden "
            f"{hidden}, vocabulary {vocab}, {tokens} tokens: {right}, not {found}"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# With a law of [Hoffmann et al. (2022)](https://arxiv.org/abs/2203.15556),
#
# $$L(N, D) = E + \frac{A}{N^\alpha} + \frac{B}{D^\beta},$$
#
# a budget $C$ can be spent on size or on text: $6 N D = C$. The chapter finds how the best size *grows* with the
# budget. Derive the best size itself: put $D = C / (6N)$ into the law, set the derivative with respect to $\log N$ to
# zero, and solve for $N$. The constants of a law come in a dictionary.
#
# *Difficulty: ★★☆. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# With $D = C / (6N)$ the loss depends on $N$ alone, and $E$ plays no part in its derivative. Write $N^{-\alpha}$ as
# $e^{-\alpha \log N}$: what is its derivative with respect to $\log N$? And how does $\log D$ change as $\log N$ grows?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The derivative of the first term is $-\alpha A / N^\alpha$. That of the second has the opposite sign, since $\log D$
# falls by as much as $\log N$ rises. Set the sum of both to zero, put $D = C / (6N)$ in, and bring all powers of $N$ to
# one side: their exponents add up to $\alpha + \beta$, and a root gives $N$. Watch which power the factor $C / 6$ gets.
# $D$ then follows from the budget, so that $6 N D = C$ holds.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "size", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_size(budget, law):
    """Return (N, D): the parameters and the tokens that make the loss of the law
    smallest among all that cost exactly the budget.

    budget: C, in operations, from 1e12 to 1e26. law: a dictionary of the five
    numbers "E", "A", "alpha", "B" and "beta", all above 0. Returns two numbers,
    exact to a tenth of a per cent; they need not be whole.
    """
    ### BEGIN SOLUTION
    a, b = law["alpha"], law["beta"]
    ratio = a * law["A"] / (b * law["B"])
    # a A / N^a = b B / D^b, with D = C / (6 N)
    size = (ratio * (budget / 6) ** b) ** (1 / (a + b))
    return size, budget / (6 * size)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "size-budget", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5b (1 point): the whole budget is spent, and a larger one buys both.
### BEGIN HIDDEN TESTS
_LAWS = (
    {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28},
    {"E": 0.5, "A": 30.0, "alpha": 0.5, "B": 30.0, "beta": 0.5},
    {"E": 1.0, "A": 5.0, "alpha": 0.2, "B": 2000.0, "beta": 0.7},
    {"E": 2.0, "A": 3000.0, "alpha": 0.6, "B": 8.0, "beta": 0.25},
)
### END HIDDEN TESTS
law = {"E": 1.0, "A": 100.0, "alpha": 0.3, "B": 200.0, "beta": 0.4}
found = [best_size(budget, law) for budget in (1e15, 1e18)]
assert all(len(each) == 2 for each in found), f"two numbers, not {found}"
(small, little), (large, much) = found
assert abs(6 * small * little / 1e15 - 1) < 1e-3, (
    f"6 N D must be the budget, 1e15, not {6 * small * little:.3g}"
)
assert large > small, "a larger budget buys a larger model"
assert much > little, "a larger budget buys more text"


### BEGIN HIDDEN TESTS
def _check():
    for law in _LAWS:
        for budget in (1e12, 1e19, 1e26):
            size, tokens = map(float, best_size(budget, law))
            assert min(size, tokens) > 0, f"not both above 0: {size}, {tokens}"
            assert abs(6 * size * tokens / budget - 1) < 1e-3, (
                f"6 N D must be {budget:.0e}, not {6 * size * tokens:.4g}"
            )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "size-best", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5c (1 point): no other size at the same cost has a smaller loss.
law = {"E": 1.0, "A": 100.0, "alpha": 0.3, "B": 200.0, "beta": 0.4}
size, tokens = best_size(1e18, law)
losses = []
for factor in (0.8, 1.0, 1.25):  # smaller on more text, larger on less
    n, d = size * factor, tokens / factor
    losses.append(1.0 + 100.0 / n**0.3 + 200.0 / d**0.4)
assert losses[1] < losses[0], "a smaller model on more text would be better"
assert losses[1] < losses[2], "a larger model on less text would be better"


### BEGIN HIDDEN TESTS
def _check():
    # Whatever was spent: at the best size the loss does not change, to first order,
    # when size is exchanged for text. So a wrong budget loses nothing here.
    for law in _LAWS:
        for budget in (1e12, 1e19, 1e26):
            size, tokens = map(float, best_size(budget, law))
            of_size = law["alpha"] * law["A"] / size ** law["alpha"]
            of_text = law["beta"] * law["B"] / tokens ** law["beta"]
            assert abs(of_size / of_text - 1) < 5e-3, (
                f"budget {budget:.0e}, law {law}: N = {size:.4g} on D = "
                f"{tokens:.4g} tokens is not best: {of_size:.4g} would be saved by "
                f"size, {of_text:.4g} by text"
            )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Here are the constants that Hoffmann et al. fitted to their runs, with $D$ in tokens. How many tokens should a model
# read for each of its parameters, and does that number stay the same as the budget grows?

# %%
law = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}
for budget in (1e18, 1e20, 1e22, 1e24):
    size, tokens = best_size(budget, law)
    loss = law["E"] + law["A"] / size**0.34 + law["B"] / tokens**0.28
    print(
        f"{budget:.0e} operations: {size:8.2g} parameters, {tokens:8.2g} tokens,",
        f"{tokens / size:4.0f} for each; loss {loss:.2f}",
    )

# %% [markdown]
# ## 6. A draft and a judge (4 points)
#
# A model gives a little probability to every token, and the many that don't fit have a lot of it together. The chapter
# [From probabilities to text](../language/decoding.ipynb) cuts them off by their number or by their share. A third
# rule, **min-p** ([Nguyen et al., 2024](https://arxiv.org/abs/2407.01082)), compares each token with the most probable
# one: it keeps the tokens whose probability is at least a given fraction of the highest. All others get the probability
# 0, and what is kept is divided by its sum. A temperature acts first: the logits are divided by it.
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Which probabilities are compared: those of the logits as they are, or those at the temperature? With which number is
# each of them compared, and is it the same in all rows?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Each row has a limit of its own, so keep the axis of the maximum, with length 1: (batch, 1) fits (batch, vocab). "At
# least" includes equality, so the most probable token is always kept, and no row has the sum 0. Put 0 in the place of
# what is cut, rather than taking it out, so that the shape stays; then divide each row by its own sum. Use `softmax`
# and not a quotient of exponentials: it subtracts the largest number of each row first, so nothing overflows.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "cut", "locked": false, "schema_version": 3, "solution": true, "task": false}
def min_p(logits, temperature, fraction):
    """Return the probabilities of the next token at this temperature, restricted to
    those of at least `fraction` times the largest one of their row.

    logits: (batch, vocab), finite, also in the thousands. temperature: above 0.
    fraction: above 0, at most 1. The temperature acts first, so the probabilities
    that are compared are those at this temperature. Returns (batch, vocab); every
    row sums to 1.
    """
    ### BEGIN SOLUTION
    p = (logits / temperature).softmax(dim=-1)
    kept = torch.where(p >= fraction * p.amax(dim=-1, keepdim=True), p, 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "cut-kept", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6a (1 point): what is kept, and its probabilities. With 0.3 times the
# largest as the limit: 0.5 and 0.25 stay, 0.12, 0.08 and 0.05 go.
logits = torch.tensor([[0.08, 0.5, 0.12, 0.25, 0.05]]).log()
found = min_p(logits, 1.0, 0.3)
assert type(found) is Tensor, f"the answer must be a tensor, not {type(found)}"
assert found.shape == (1, 5), f"the shape must be (1, 5), not {tuple(found.shape)}"
assert (found[0] > 0).tolist() == [False, True, False, True, False], (
    f"0.5 and 0.25 must be kept, and nothing else, not {found[0].tolist()}"
)
assert abs(found[0, 1].item() - 2 / 3) < 1e-5, (
    f"0.5 of 0.75 is 2/3, not {found[0, 1]:.4f}"
)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(6)
    for batch, vocab, scale in [(1, 4, 1.0), (5, 30, 1.5), (3, 8, 900.0)]:
        logits = scale * torch.randn(batch, vocab, generator=draw)
        given = logits.clone()
        for temperature, fraction in [(1.0, 0.1), (0.5, 0.05), (2.0, 0.4)]:
            found = min_p(logits, temperature, fraction)
            assert torch.equal(logits, given), "the given logits were changed"
            for row, scores in zip(found.tolist(), logits.tolist(), strict=True):
                # relative to the largest, so that nothing overflows
                best = max(scores)
                shares = [math.exp((s - best) / temperature) for s in scores]
                kept = [s if s >= fraction else 0.0 for s in shares]
                right = [s / sum(kept) for s in kept]
                miss = max(abs(a - b) for a, b in zip(row, right, strict=True))
                assert miss < 1e-4, (
                    f"temperature {temperature}, fraction {fraction}: the row is "
                    f"off by {miss:.4f}"
                )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now let a cheap **draft** guess the next token, $x \sim q$, and the expensive model check the guess: its own
# probabilities, after whatever was cut off, are $p$. The guess is **kept** with a probability that depends on $x$. If
# it is refused, another token is drawn from what is **left**, a distribution $r$ over the vocabulary ([Leviathan et
# al., 2023](https://arxiv.org/abs/2211.17192); [Writing faster](../language/inference.ipynb)). The rule keeps each
# guess as often as it can, and the token that comes out must have exactly the distribution $p$, whatever $q$ is.
#
# With cuts both $p$ and $q$ have zeros, and in some rows the two are equal. Think of the divisions.
#
# *Difficulty: ★★★. Time: about 25 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# A token $x$ can come out in two ways: it is guessed and kept, or some guess is refused and $x$ is drawn from what is
# left. The probabilities of the two ways must add up to $p(x)$. How large can the first be at most?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# What refusals add is never negative, so $q(x)$ times the probability of keeping $x$ must not exceed $p(x)$; take the
# largest probability that allows this. The gap that remains below $p(x)$ has to be filled by refusals: $r$ is
# proportional to the gaps of its row, and sums to 1. No gap may become negative by rounding. There are two divisions by
# 0, where $q(x)$ is 0 and in a row without gaps; put there what the docstring allows, for instance with `torch.where`.
# To check, add up the two ways and compare with $p$.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "draft", "locked": false, "schema_version": 3, "solution": true, "task": false}
def draft_rule(p, q):
    """Return (keep, left), with which the output of a guess from q has exactly the
    distribution p, and as many guesses as possible are kept.

    p, q: (batch, vocab), distributions, with zeros. keep: (batch, vocab), for each
    token the probability that it is kept when it was guessed; where q is 0 any
    number from 0 to 1. left: (batch, vocab), in each row the distribution to draw
    from after a refusal; where p and q are equal and nothing is refused, any
    distribution. Neither has a value that is not a number.
    """
    ### BEGIN SOLUTION
    keep = torch.where(q > 0, p / q, 1.0).clamp(max=1.0)
    left = (p - q).clamp(min=0.0)
    total = left.sum(dim=-1, keepdim=True)
    return keep, torch.where(total > 0, left / total, p)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "draft-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
def two_models(batch, vocab, seed):
    """Distributions p and q with zeros in both; equal in the first row."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, batch, vocab, generator=draw)
    logits[torch.rand(2, batch, vocab, generator=draw) < 0.3] = -math.inf
    logits[:, :, 0] = 0.0  # at least one token has a chance in both
    p, q = logits.softmax(dim=-1)
    q[0] = p[0]
    return p, q


# %% nbgrader={"grade": true, "grade_id": "draft-keep", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6b (1 point): with what probability a guess is kept.
p, q = torch.tensor([[0.5, 0.3, 0.2, 0.0]]), torch.tensor([[0.25, 0.6, 0.0, 0.15]])
keep, _ = draft_rule(p, q)
assert type(keep) is Tensor, f"keep must be a tensor, not {type(keep)}"
assert keep.shape == (1, 4), f"the shape must be (1, 4), not {tuple(keep.shape)}"
assert keep[0, 0] == 1, f"guessed too rarely, so always kept, not {keep[0, 0]}"
assert abs(keep[0, 1].item() - 0.5) < 1e-5, (
    f"guessed twice as often as it should: kept half the time, not {keep[0, 1]:.3f}"
)
assert keep[0, 3] == 0, f"the model never writes it: kept {keep[0, 3]} times"


### BEGIN HIDDEN TESTS
def _check():
    for batch, vocab, seed in [(3, 4, 1), (6, 20, 2), (1, 5, 3)]:
        p, q = two_models(batch, vocab, seed)
        keep, _ = draft_rule(p.clone(), q.clone())
        assert keep.shape == (batch, vocab), f"keep has shape {tuple(keep.shape)}"
        assert ((keep >= 0) & (keep <= 1)).all(), (
            "keep must be a probability everywhere, also where q is 0"
        )
        assert (q * keep - torch.minimum(p, q)).abs().max() < 1e-5, (
            "a guess is not kept with the probability min(1, p/q)"
        )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "draft-left", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6c (1 point): what is left after a refusal.
p, q = torch.tensor([[0.5, 0.3, 0.2, 0.0]]), torch.tensor([[0.25, 0.6, 0.0, 0.15]])
_, left = draft_rule(p, q)
assert type(left) is Tensor, f"left must be a tensor, not {type(left)}"
assert left.shape == (1, 4), f"the shape must be (1, 4), not {tuple(left.shape)}"
assert abs(left.sum().item() - 1) < 1e-5, (
    f"what is left is a distribution: its sum is 1, not {left.sum():.3f}"
)
assert left[0, 1] == 0, f"guessed too often already, yet it gets {left[0, 1]:.3f}"


### BEGIN HIDDEN TESTS
def _check():
    for batch, vocab, seed in [(3, 4, 4), (6, 20, 5), (2, 5, 6)]:
        p, q = two_models(batch, vocab, seed)
        _, left = draft_rule(p.clone(), q.clone())
        assert left.shape == (batch, vocab), f"left has shape {tuple(left.shape)}"
        assert left.isfinite().all(), "left must be finite, also where p equals q"
        assert left.min() >= 0, "left has negative numbers"
        assert (left.sum(dim=1) - 1).abs().max() < 1e-4, "left must sum to 1"
        for row in range(1, batch):
            pairs = zip(p[row].tolist(), q[row].tolist(), strict=True)
            short = [max(0.0, a - b) for a, b in pairs]
            right = torch.tensor(short) / sum(short)
            assert (left[row] - right).abs().max() < 1e-4, (
                "what is left is not what p has more than q, divided by its sum"
            )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "draft-exact", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6d (1 point): what comes out has the distribution p.
p, q = torch.tensor([[0.5, 0.3, 0.2, 0.0]]), torch.tensor([[0.25, 0.6, 0.0, 0.15]])
keep, left = draft_rule(p, q)
kept = q * keep
comes_out = kept + (1 - kept.sum()) * left
assert kept.sum() > 0.1, "a rule that keeps nothing saves nothing"
assert (comes_out - p).abs().max() < 1e-5, (
    f"what comes out has the distribution {comes_out.tolist()}, not p"
)


### BEGIN HIDDEN TESTS
def _check():
    # Any rule that keeps some guesses and is exact is right here, also one that
    # keeps fewer than it could.
    for batch, vocab, seed in [(3, 4, 7), (6, 20, 8), (2, 5, 9)]:
        p, q = two_models(batch, vocab, seed)
        keep, left = draft_rule(p.clone(), q.clone())
        assert ((keep >= 0) & (keep <= 1)).all(), (
            "keep must be a probability everywhere, also where q is 0"
        )
        assert left.isfinite().all(), "left must be finite, also where p equals q"
        kept = q * keep
        assert kept.sum(dim=1).min() > 0.01, "a rule that keeps nothing"
        comes_out = kept + (1 - kept.sum(dim=1, keepdim=True)) * left
        assert (comes_out - p).abs().max() < 1e-4, (
            "what comes out does not have the distribution p"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# A draft that knows nothing guesses every token alike. What does it do to the text, and what to the number of guesses
# that are kept? Below, a model with more and more confidence is checked against it, with `min_p` on the model's side.

# %%
draw = torch.Generator().manual_seed(0)
logits = torch.randn(1, 1000, generator=draw)
q = torch.full((1, 1000), 1 / 1000)
for factor in (0.1, 0.5, 1.0, 3.0):
    p = min_p(factor * logits, 1.0, 0.05)
    keep, left = draft_rule(p, q)
    kept = q * keep
    miss = (kept + (1 - kept.sum()) * left - p).abs().max()
    print(
        f"spread {factor}: {(p > 0).sum():4d} tokens have a chance,",
        f"{kept.sum():4.0%} of the guesses kept, p missed by {miss:.0e}",
    )

# %% [markdown]
# ## 7. Find the bug (6 points)
#
# The smallest language model that knows its past has two tables of numbers: an **embedding**, a vector for each token,
# and an **output** matrix, which turns a vector into logits. In between, `recent` mixes the vectors of all positions so
# far, each step back counting half. It is attention with weights that nobody learns.


# %% nbgrader={"grade": false, "grade_id": "bug-recent", "locked": true, "schema_version": 3, "solution": false, "task": false}
def recent(vectors):
    """Return at each position a weighted mean of the vectors up to it: (batch,
    time, width), as `vectors` is.

    The weight of a vector halves with every step back; the weights of each position
    sum to 1.
    """
    steps_back = torch.arange(vectors.shape[1])[:, None] - torch.arange(
        vectors.shape[1]
    )
    weights = torch.where(steps_back >= 0, 0.5 ** steps_back.to(vectors.dtype), 0.0)
    return weights / weights.sum(dim=1, keepdim=True) @ vectors


# %% [markdown]
# Below is a training step for this model. It runs, its loss falls towards zero, and it has **five mistakes** of a kind
# that people really make and publish. Read it line by line before you run it. Which loss would you expect from a model
# that learns to write?


# %% nbgrader={"grade": false, "grade_id": "bug-faulty", "locked": true, "schema_version": 3, "solution": false, "task": false}
def faulty_step(embedding, output, tokens, learning_rate):
    """Make one step of gradient descent, with five mistakes; return the loss."""
    logits = embedding[tokens] @ output
    wanted = F.one_hot(tokens, output.shape[1]).to(output.dtype)
    loss = (logits.softmax(dim=-1) - wanted).square().mean()
    loss.backward()
    with torch.no_grad():
        output -= learning_rate * output.grad
    return loss.detach()


# %% nbgrader={"grade": false, "grade_id": "bug-text", "locked": true, "schema_version": 3, "solution": false, "task": false}
text = "the cat sat on the mat. the dog lay on the rug. " * 20
letters = sorted(set(text))
data = torch.tensor([letters.index(letter) for letter in text])


# %% nbgrader={"grade": false, "grade_id": "bug-demonstration", "locked": true, "schema_version": 3, "solution": false, "task": false}
def demonstrate(step):
    """Train for 200 steps; print losses and a text, always the likeliest letter."""
    draw = torch.Generator().manual_seed(0)
    embedding = torch.randn(len(letters), 16, generator=draw).requires_grad_()
    output = (0.1 * torch.randn(16, len(letters), generator=draw)).requires_grad_()
    windows, written = data.unfold(0, 25, 17), data[:4]
    losses = [
        step(embedding, output, windows, learning_rate=3.0) for _ in range(200)
    ]
    print(f"loss at first {losses[0]:.3f}, at last {losses[-1]:.3f}")
    for _ in range(60):
        logits = recent(embedding[written][None]) @ output
        written = torch.cat([written, logits[0, -1:].argmax(dim=-1)])
    print("".join(letters[number] for number in written))


# %%
demonstrate(faulty_step)

# %% [markdown]
# The loss could hardly be smaller, and what the model writes is no text.
#
# First **name the mistakes**. Of these ten statements about `faulty_step`, exactly five are true, and each of the five
# is a mistake:
#
# - **A** The step goes uphill: the gradient has the wrong sign.
# - **B** Each position has to predict the token that stands there already, not the next one.
# - **C** The softmax runs over the positions, not over the vocabulary.
# - **D** A prediction knows the last token alone, and nothing of what came before it.
# - **E** The loss is a squared error of probabilities, not a mean of $-\log p$ in nats.
# - **F** A change in place under `torch.no_grad()` is lost as soon as the block ends.
# - **G** Gradients of earlier steps are never cleared, so each step also repeats them.
# - **H** The one-hot vectors have no gradient, so nothing can be learnt from them.
# - **I** The loss that is returned has lost its graph, so the next step cannot learn.
# - **J** One of the two tables never changes.
#
# *Difficulty: ★★☆. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Say of each line of `faulty_step` what it does, and what it would have to do in a step that learns to predict the next
# token from all before it. Then take the statements one by one, and ask first whether the statement is true of this
# code.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Most of the statements can be tested in a cell of your own, with few tokens and small tables that require gradients.
# Print both tables and their `.grad` before and after a call; make two calls with the same tokens and a learning rate
# of 0, and compare the gradients; begin with an output matrix of zeros and compare the loss with that of question 2 for
# equal logits. Copy the line of the logits into a cell, change one token, and see which positions change. For the rest,
# ask which axis `dim=-1` is, which tensors need a gradient, and what a call takes over from the one before.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "mistakes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mistakes():
    """Return the letters of the five true statements, in one string such as
    "VWXYZ"; their order does not matter.
    """
    ### BEGIN SOLUTION
    return "BDEGJ"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mistakes-most", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 7a (1 point): five letters, of which at least four are right.
named = mistakes()
assert type(named) is str, f"the letters must be in a string, not {named!r}"
assert len(set(named)) == len(named) == 5, f"five different letters, not {named!r}"
assert set(named) <= set("ABCDEFGHIJ"), f"letters from A to J, not {named!r}"
### BEGIN HIDDEN TESTS
assert len(set(named) & set("BDEGJ")) >= 4, "fewer than four letters are right"
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "mistakes-all", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 7b (2 points): all five are right.
named = mistakes()
assert len(named) == 5, f"five letters, not {named!r}"
### BEGIN HIDDEN TESTS
assert set(named) == set("BDEGJ"), "not all five letters are right"
### END HIDDEN TESTS

# %% [markdown]
# Now write a step without the five mistakes: the loss is the one of question 2, for predictions from `recent` vectors,
# and both tables learn. You may call `next_token_loss`.
#
# *Difficulty: ★★☆. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Write the step anew from the docstring, in this order: the tokens' vectors, their mixture, the logits, the loss, the
# gradients, the change of both tables. Then take the five statements that you named, and ask of each whether it is
# still true.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The vectors are (batch, time, width), `recent` keeps that shape, and the logits are (batch, time, vocab). This is what
# the function of question 2 takes; the shift by one position is inside it. The step needs the gradient of this loss
# alone, whatever `.grad` holds: clear it first, or use `torch.autograd.grad`, which returns the gradients and leaves
# `.grad` alone. Have both gradients before you change a table, and keep the change itself out of the graph. The loss to
# return is the one from before the change, detached.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "bug", "locked": false, "schema_version": 3, "solution": true, "task": false}
def training_step(embedding, output, tokens, learning_rate):
    """Make one step of gradient descent on the mean loss of the next token; return
    the loss.

    embedding: (vocab, width). output: (width, vocab). Both require gradients, are
    changed in place, and may come with `.grad` left over from earlier steps.
    tokens: (batch, time). The step is -learning_rate times the gradient. The logits
    after position t are the mixture of the embeddings up to t, by `recent`, times
    the output matrix. Returns the loss before the step, in nats, a scalar detached
    from its graph.
    """
    ### BEGIN SOLUTION
    loss = next_token_loss(recent(embedding[tokens]) @ output, tokens)
    gradients = torch.autograd.grad(loss, [embedding, output])
    with torch.no_grad():
        for table, gradient in zip([embedding, output], gradients, strict=True):
            table -= learning_rate * gradient
    return loss.detach()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "bug-loss", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 7c (1 point): the loss. All tokens have the same vector here, so every
# prediction is the same.
### BEGIN HIDDEN TESTS
# A mistake in question 2 is not punished here and in the next two cells: a check is
# passed if it is passed with this function or with the student's own.
def _next_token_loss(logits, tokens):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


_scoring = {"next_token_loss": _next_token_loss}


def _check():
    # Texts of one repeated token: it doesn't matter what is predicted from what.
    draw = torch.Generator().manual_seed(8)
    for batch, time, vocab in [(1, 2, 3), (3, 6, 5), (2, 4, 9)]:
        vector = torch.randn(3, generator=draw)
        embedding = vector.repeat(vocab, 1).requires_grad_()
        output = torch.randn(3, vocab, generator=draw).requires_grad_()
        tokens = torch.randint(vocab, (batch, 1), generator=draw)
        expected = (
            -(vector @ output.detach())
            .log_softmax(dim=0)[tokens[:, 0]]
            .mean()
            .item()
        )
        assert (
            abs(
                float(training_step(embedding, output, tokens.repeat(1, time), 0.1))
                - expected
            )
            < 0.0001
        ), f"texts of one repeated token: the loss is not {expected:.4f}"


_choose(_check, **_scoring)
### END HIDDEN TESTS
embedding, output = (
    torch.ones(4, 2).requires_grad_(),
    torch.zeros(2, 4).requires_grad_(),
)
loss = training_step(embedding, output, torch.tensor([[2, 2, 2]]), 0.1)
assert not getattr(loss, "requires_grad", False), (
    "return the loss without its graph: loss.detach()"
)
assert abs(float(loss) - math.log(4)) < 1e-4, (
    f"four equally likely tokens cost log 4 = 1.386 nats, not {loss:.4f}"
)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "bug-past", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 7d (1 point): what is predicted from what. Nothing is predicted from the
# last token of a text, 5 here.
### BEGIN HIDDEN TESTS
def _check():
    # The function is compared with itself, so a wrong loss or a wrong update loses
    # nothing. One text of five tokens, or four texts of two: if the first token of
    # each has the vector of a whole past, the predictions are the same.
    draw = torch.Generator().manual_seed(9)

    def loss(table, output, tokens):
        weights = [table.clone().requires_grad_(), output.clone().requires_grad_()]
        return float(training_step(*weights, tokens, 0.1))

    for order in ([0, 1, 2, 3, 4], [3, 0, 4, 2, 1], [0, 1, 0, 1, 1]):
        table = torch.randn(10, 4, generator=draw, dtype=torch.float64)
        output = torch.randn(4, 10, generator=draw, dtype=torch.float64)
        tokens = torch.tensor([order])
        halves = 0.5 ** (torch.arange(5)[:, None] - torch.arange(5)).double()
        halves = halves.tril() / halves.tril().sum(dim=1, keepdim=True)
        table[6:] = halves[:4] @ table[tokens[0]]
        one_text = loss(table, output, tokens)
        four_texts = loss(
            table, output, torch.stack([torch.arange(6, 10), tokens[0, 1:]], dim=1)
        )
        assert abs(one_text - four_texts) < 1e-4, (
            "a prediction is not made from all tokens before it, weighted "
            "by `recent`"
        )
        assert abs(one_text - loss(table, output, tokens.flip(1))) > 1e-3, (
            "the order of the text has no influence"
        )


_choose(_check, **_scoring)
### END HIDDEN TESTS
tokens, losses = torch.tensor([[0, 1, 2, 3, 5]]), []
for value in (0.0, 1.0):
    embedding, output = torch.eye(6).requires_grad_(), torch.eye(6).requires_grad_()
    with torch.no_grad():
        embedding[5] = value
    losses.append(float(training_step(embedding, output, tokens, 0.1)))
assert abs(losses[0] - losses[1]) < 1e-5, (
    "the vector of the last token changed the loss"
)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "bug-update", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 7e (1 point): the step of both tables.
### BEGIN HIDDEN TESTS
def _check():
    # The step is compared with differences of the function's own losses, so a wrong
    # loss loses nothing.
    draw = torch.Generator().manual_seed(10)
    for learning_rate in (0.1, 0.5):
        tables = [
            torch.randn(*shape, generator=draw, dtype=torch.float64)
            for shape in [(6, 3), (3, 6)]
        ]
        tokens = torch.randint(6, (3, 5), generator=draw)

        def run(tables, tokens=tokens, learning_rate=learning_rate):
            tables = [table.clone().requires_grad_() for table in tables]
            for table in tables:
                # left over from some earlier step
                table.grad = torch.full_like(table, 7.0)
            return float(training_step(*tables, tokens, learning_rate)), [
                table.detach() for table in tables
            ]

        _, stepped = run(tables)
        for which in (0, 1):
            gradient = (tables[which] - stepped[which]) / learning_rate
            for _ in range(4):
                shift = [torch.zeros_like(table) for table in tables]
                shift[which] = 1e-3 * torch.randn(
                    tables[which].shape, generator=draw, dtype=torch.float64
                )
                plus, minus = (
                    run([t + sign * d for t, d in zip(tables, shift, strict=True)])[
                        0
                    ]
                    for sign in (1, -1)
                )
                assert abs(plus - minus) > 1e-7, (
                    "the loss does not depend on one of the tables"
                )
                slope = 2 * (gradient * shift[which]).sum().item() / (plus - minus)
                assert abs(slope - 1) < 1e-2, (
                    "the step is not -learning_rate times the gradient of the loss"
                )


_choose(_check, **_scoring)
### END HIDDEN TESTS
draw = torch.Generator().manual_seed(0)
embedding, output = (
    torch.randn(n, m, generator=draw).requires_grad_() for n, m in [(5, 3), (3, 5)]
)
tokens = torch.tensor([[0, 1, 2, 3], [4, 2, 1, 0]])
before = [embedding.detach().clone(), output.detach().clone()]
losses = [float(training_step(embedding, output, tokens, 0.1)) for _ in range(2)]
assert losses[1] < losses[0], (
    "after a small step, the loss on the same texts must be smaller"
)
assert not torch.equal(output.detach(), before[1]), (
    "the output matrix never changes"
)
assert not torch.equal(embedding.detach(), before[0]), "the embedding never changes"
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now train with the repaired step. Compare its losses with those of the faulty one before you read what it writes.

# %%
demonstrate(training_step)

# %% [markdown]
# Most of these mistakes were printed, in much the same form, in articles that teach language models. The page
# [Errata](../../book/errata.md#errata-language-models) shows what became of them there.

# %% [markdown]
# ## 8. In your own words (4 points)
#
# Answer in full sentences, ten to fourteen in all. This question is read by a person.
#
# 1. A colleague trains a Transformer on ordinary English, character by character, and reports after an hour: "The
#    validation loss is 0.03 nats per character." Why can this hardly be true of a language model? Name two different
#    mistakes in the code that would lead to such a figure, and describe one experiment that tells whether the model
#    sees what it should predict. (2 points)
# 2. Two models are compared on the same held-out text. Model A has characters as tokens and a loss of 1.2 nats per
#    token; model B uses byte-pair encoding and has 3.4 nats per token. A friend concludes that A is the better one. Why
#    does this not follow? Say what should be computed instead, and what else has to be known for it. (1 point)
# 3. A model is fine-tuned to answer sums, as in [From a text to an answer](../language/chat.ipynb), but in its data the
#    end mark after the answer is no target. Then it is tuned as in [Better answers from judged
#    ones](../language/preferences.ipynb), with a reward of 1 if the right number occurs *anywhere* in the reply, else 0.
#    What will its replies come to look like, and which two changes repair it? (1 point)
#
# *Difficulty: ★★★. Time: about 35 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Ask first what each number measures. Which probability of the right character belongs to 0.03 nats, what is one token
# for each of the two models, and which replies get the reward?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Part 1: say what makes the figure too good for English, let the two mistakes give the answer away in different places,
# and say of the experiment what you change, what you look at, and what a sound model and a faulty one would show.
#
# Part 2: ask how many predictions each model makes for the same text, and what must be the same for both before two
# numbers can be compared; name everything that has to be counted.
#
# Part 3: ask separately what the data teach about the end of a reply, and which kind of reply gets the reward most
# surely; say of each change which of the two it repairs.
#
# </details>

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# **Model answer.**
#
# 1. English is not that predictable: after any beginning several continuations make sense, and even people who guess
#    the next letter of a text need about a bit (0.7 nats) per letter (Shannon's estimates were between 0.6 and 1.3 bits).
#    A loss of 0.03 nats says that the right character gets a probability of 97 % (geometric mean). So the model must
#    have been shown the answer. The mask may be missing, so that every position looks at the next one; the targets may
#    not be shifted, so that each token has to be predicted from itself; or the validation text may be in the training
#    text and was learnt by heart. To find out, change one character of the input and compare the logits before and
#    after: those at earlier positions must stay exactly as they are, or the model sees the future. (The same with
#    gradients: the loss at position t must have no gradient with respect to the embedding of a later input.) If nothing
#    leaks there, let it continue a beginning of your own: a model that copies its input repeats the last letter.
# 2. The two losses are counted per *token*, and the tokens differ: a token of B is several characters long, so B has to
#    get several characters right at a time, and makes fewer predictions for the same text. What can be compared is the
#    loss of the whole text: the loss per token times the number of tokens, divided by something that is the same for
#    both, the number of characters (or bytes); divided by log 2 as well, it is in bits per character. For this one must
#    know into how many tokens each tokeniser cuts the text. B is better if its tokens are longer than 3.4 / 1.2, about
#    2.8 characters, on average.
# 3. Nothing teaches the model to write the end mark, so its replies go on until the program stops them. The reward
#    makes it worse: a reply that names many numbers is more likely to contain the right one, and costs nothing, so the
#    policy learns to list numbers. Repair the data: the end mark after each answer is a target. And repair the reward:
#    compare the whole reply, up to the end mark, with the answer.
#
# **Rubric.**
#
# - Part 1: 1 point for a reason why the figure is too good (text is not that predictable, with or without Shannon)
#   *and* two different mistakes that show the model its answer (missing mask, no shift, overlapping data); with one
#   mistake only, half a point. 1 point for an experiment that changes the future input, or takes gradients, and looks
#   at earlier outputs. "Look at samples" alone: half a point, since it shows that something is wrong and not what.
#   "Overfitting" without overlapping data: 0, since the loss is one of validation.
# - Part 2: half a point for "per token, and the tokens are of different length". Half a point for the conversion to bits
#   (or nats) per character, with the number of tokens and of characters named as what has to be known. "Compare the
#   perplexities": 0 for the second half, since they are per token too.
# - Part 3: half a point for long replies with many numbers, with a reason from the data or from the reward. Half a point for
#   both changes; with one of them a quarter.
