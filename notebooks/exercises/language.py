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
# A language model is a few short functions: attention, a loss, a way to choose the next token, a cache that makes
# writing fast, and the merges that made the tokens. Each fits in ten lines, and each can be wrong in ways that raise no
# error. Here you write them, and repair a training step whose loss falls to zero while it learns nothing about language.
# Read the chapters [Attention](../language/attention.ipynb), [A GPT from the ground up](../language/gpt.ipynb) and
# [From probabilities to text](../language/decoding.ipynb) first; plan three hours.
#
# | Question | After it you can | Points |
# | --- | --- | --- |
# | 1. Attention with a mask | compute attention, and keep each position from seeing its future | 5 |
# | 2. The loss of the next token | score a language model from its logits, with every position in its place | 4 |
# | 3. The nucleus | cut off the improbable tokens before one is drawn | 4 |
# | 4. The cache | write token after token without computing anything twice | 4 |
# | 5. A merge of byte-pair encoding | count pairs of tokens and merge the most frequent one | 3 |
# | 6. Find the bug | tell a small loss from a model that predicts | 6 |
# | 7. In your own words | judge whether a reported loss can be true, and whether two can be compared | 4 |
#
# **How to work.** Write your code where `# YOUR CODE HERE` stands and delete the line `raise NotImplementedError()`
# below it. You may add cells of your own, for further imports as well. Do not copy, split or delete the cells that are
# here: the grading program knows them by hidden labels, and restores all of them but your answers. Avoid
# `from … import *`: it can put other functions in the place of Python's own `sum`, `max` or `abs`, which the checks use.
#
# **How it is graded.** The cells that begin with `# Check` call your function. If such a cell runs without an error,
# you have passed the checks you can see; when your work is graded, each of these cells also runs further checks of
# what the docstring promises. Values count, not whether they are in single or double precision. Every check has its
# own points, and every question is graded on its own: a mistake in one question costs nothing in the next. Question 7
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
from collections import Counter
from itertools import pairwise

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
# | `q`, `k`, `v` | (…, positions, dim) | queries, keys and values |
# | `p` | | a probability above 0, at most 1 |
#
# The probabilities of the next token are the softmax of the logits over the vocabulary, the last axis. All logarithms
# are natural, so losses are measured in **nats**.

# %% [markdown]
# ## 1. Attention with a mask (5 points)
#
# Every position asks a question, its query $q$, and gets an answer mixed from the values $v$ of the positions whose
# keys $k$ fit it best ([Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)):
#
# $$\operatorname{attention}(q, k, v) = \operatorname{softmax}\Bigl(\frac{q k^\top}{\sqrt{\text{dim}}}\Bigr)\, v .$$
#
# The scores $q k^\top / \sqrt{\text{dim}}$ make a table with a row for each query and a column for each key, and the
# softmax turns every **row** into weights that sum to 1. A **mask** says which keys a query may look at. A key that it
# may not look at must get the weight 0, and the others' weights must still sum to 1: so the mask has to act on the
# scores, *before* the softmax. Which score makes a weight of exactly 0?


# %% nbgrader={"grade": false, "grade_id": "attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def attention(q, k, v, mask=None):
    """Return softmax(q k^T / sqrt(dim)) v: for each query a mean of the values,
    weighted by how well the keys fit.

    q: (…, queries, dim). k: (…, keys, dim). v: (…, keys, width). The dots are any
    number of axes, the same for all.
    mask: (queries, keys), booleans, True where the query may look at the key; at
    least once in every row. None means that every query may look at every key.
    Returns (…, queries, width), finite even if scores are in the thousands.
    """
    ### BEGIN SOLUTION
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1) @ v
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "attention-value", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 1a (2 points): attention without a mask.
### BEGIN HIDDEN TESTS
def _run(check):
    """Run a check with Python's own functions and the usual modules, whatever
    `import *` has put in their place.
    """
    import builtins
    import types

    import math
    from collections import Counter
    from itertools import pairwise

    import torch
    from torch import Tensor
    from torch.nn import functional as F

    usual = {
        "math": math,
        "torch": torch,
        "Tensor": Tensor,
        "F": F,
        "Counter": Counter,
        "pairwise": pairwise,
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
q, k = torch.zeros(2, 3, 4), torch.ones(2, 5, 4)
v = torch.arange(60.0).reshape(2, 5, 6)
found = attention(q, k, v)
assert type(found) is Tensor, f"the answer must be a tensor, not {type(found)}"
assert found.shape == (2, 3, 6), (
    f"3 queries get 3 answers of width 6: shape (2, 3, 6), not {tuple(found.shape)}"
)
# a query of zeros likes all alike
torch.testing.assert_close(
    found, v.mean(dim=1, keepdim=True).expand(2, 3, 6), check_dtype=False
)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(1)
    for axes, queries, keys, dim, width in [
        ((), 3, 3, 4, 4),
        ((), 1, 6, 9, 2),
        ((5,), 4, 7, 3, 5),
        ((2, 3), 4, 2, 8, 3),
    ]:
        q, k, v = (
            torch.randn(*axes, *shape, generator=draw)
            for shape in [(queries, dim), (keys, dim), (keys, width)]
        )
        for scale in (1.0, 1000.0):
            weights = (
                torch.einsum("...id,...jd->...ij", q.double() * scale, k.double())
                / dim**0.5
            ).softmax(dim=-1)
            expected = torch.einsum(
                "...ij,...jw->...iw", weights, v.double()
            ).float()
            torch.testing.assert_close(
                attention(q * scale, k, v),
                expected,
                rtol=1e-3,
                atol=1e-3 if scale > 1 else 1e-5,
                check_dtype=False,
            )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "attention-mask", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 1b (2 points): what a query may not see has no influence on it.
q, k = torch.ones(2, 4), torch.ones(3, 4)
v = torch.tensor([[1.0], [2.0], [6.0]])
found = attention(
    q, k, v, torch.tensor([[True, False, False], [True, True, False]])
)
assert found.shape == (2, 1), f"the shape must be (2, 1), not {tuple(found.shape)}"
assert abs(found[0].item() - 1) < 1e-6, (
    f"one key allowed: its value, 1, is the answer, not {found[0].item():.3f}"
)
assert abs(found[1].item() - 1.5) < 1e-6, (
    f"two equal keys: the mean of 1 and 2, not {found[1].item():.3f}"
)


### BEGIN HIDDEN TESTS
def _check():
    # The function is compared with itself where the forbidden keys are left out, so
    # a wrong scale loses nothing.
    draw = torch.Generator().manual_seed(2)
    for queries, keys in [(4, 6), (5, 5), (1, 3)]:
        q, k, v = (torch.randn(n, 4, generator=draw) for n in (queries, keys, keys))
        mask = torch.rand(queries, keys, generator=draw) < 0.5
        mask[:, 1], mask[:, 2] = True, False
        found = attention(q, k, v, mask)
        for i in range(queries):
            torch.testing.assert_close(
                found[i : i + 1],
                attention(q[i : i + 1], k[mask[i]], v[mask[i]]),
                rtol=1e-4,
                atol=1e-5,
            )
        assert (found - attention(q, k, v)).abs().max() > 0.01, (
            "the mask changes nothing"
        )
        # else a single key may be allowed, and then no query matters
        if queries > 1:
            assert (found - attention(0 * q, k, v, mask)).abs().max() > 0.01, (
                "the queries change nothing"
            )
        torch.testing.assert_close(
            attention(q, k, v, mask | True),
            attention(q, k, v),
            rtol=1e-4,
            atol=1e-5,
        )
    # A forbidden key whose score is far above all others: a mask that acts after
    # the softmax finds nothing left to share out. (A function that large scores are
    # too much for without any mask has lost its points in check 1a.)
    q, v = torch.tensor([[2.0, 0.0, 0.0, 0.0]]), torch.tensor([[5.0], [1.0], [2.0]])
    for size in (60.0, 1000.0):
        k = torch.zeros(3, 4)
        k[:, 0] = torch.tensor([size, -size, 1 - size])
        if attention(q, k, v).isfinite().all():
            found = attention(q, k, v, torch.tensor([[False, True, True]]))
            torch.testing.assert_close(
                found, attention(q, k[1:], v[1:]), rtol=1e-3, atol=1e-3
            )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# A language model reads from left to right: a position may look at itself and at what comes before it, never at what
# comes after. Sometimes the queries belong to the *last* positions only, because the earlier ones have been dealt with
# (question 4 is about that). Draw the table for 2 queries and 5 keys before you write the function.


# %% nbgrader={"grade": false, "grade_id": "causal", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_mask(queries, keys):
    """Return a mask for `attention`: which of the keys each query may look at.

    The keys stand at the positions 0 to keys - 1, the queries at the last `queries`
    of these positions (1 <= queries <= keys). Each query may look at its own
    position and at all before it. Returns (queries, keys), booleans, True where the
    query may look at the key.
    """
    ### BEGIN SOLUTION
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "causal-mask", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1c (1 point): the mask.
mask = causal_mask(3, 3)
assert type(mask) is Tensor, f"the mask must be a tensor, not {type(mask)}"
assert mask.dtype == torch.bool, (
    f"the mask must be made of booleans, not of {mask.dtype}"
)
assert mask.shape == (3, 3), (
    f"3 queries and 3 keys: shape (3, 3), not {tuple(mask.shape)}"
)
expected = [[True, False, False], [True, True, False], [True, True, True]]
assert mask.tolist() == expected, f"not causal:\n{mask}"
assert causal_mask(1, 4).tolist() == [[True] * 4], (
    "a single query stands last and may look at everything"
)


### BEGIN HIDDEN TESTS
def _check():
    for queries, keys in [(1, 1), (2, 5), (4, 6), (7, 7), (1, 9)]:
        mask = causal_mask(queries, keys)
        assert type(mask) is Tensor, f"the mask must be a tensor, not {type(mask)}"
        assert mask.dtype == torch.bool, (
            f"the mask must be made of booleans, not of {mask.dtype}"
        )
        expected = [
            [key <= keys - queries + query for key in range(keys)]
            for query in range(queries)
        ]
        assert mask.tolist() == expected, (
            f"{queries} queries, {keys} keys: the mask is wrong"
        )


_run(_check)
### END HIDDEN TESTS


# %% [markdown]
# ## 2. The loss of the next token (4 points)
#
# The probability of a text is the product of the probabilities of its tokens, each given all before it. A model is
# scored by the mean of minus the logarithms, over all tokens that it had to predict:
#
# $$\mathcal L = -\frac{1}{B\,(T-1)} \sum_{b=1}^{B} \sum_{t=0}^{T-2} \log p\bigl(x_{b,\,t+1} \mid x_{b,\,0}, \dots, x_{b,\,t}\bigr).$$
#
# Here $B$ is the number of texts in the batch and $T$ their length. The logits at position $t$ are about the token at
# position $t + 1$. So the first token of a text is predicted by nobody, and the logits after its last token have nothing
# to be compared with.
#
# `F.cross_entropy` knows the logarithm of the softmax. Write it by hand for once, with `torch.logsumexp` or
# `log_softmax`, and use the ready-made function to check yourself. Never take the logarithm of a softmax that has been
# computed: a probability of $e^{-200}$ is 0 in single precision, and its logarithm minus infinity.


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


# %% nbgrader={"grade": true, "grade_id": "loss-pairs", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 2a (2 points): which logits are compared with which token.
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
# ## 3. The nucleus (4 points)
#
# A model gives a little probability to every token, and the many that don't fit have a lot of it together. Sooner or
# later one of them is drawn, and the text goes astray. [Holtzman et al. (2020)](https://arxiv.org/abs/1904.09751)
# therefore draw from the **nucleus** only: sort the tokens by probability, and keep the first ones, as few as it takes
# for their probabilities to sum to *at least* $p$. All others get the probability 0. What is kept is divided by its sum,
# so that it is a distribution again. Where the model is sure, the nucleus is one token; where it is not, it may hold
# hundreds.
#
# The token with which the sum reaches $p$ belongs to the nucleus. And your function has to return the
# probabilities in the order of the vocabulary, not in the order of the sorting.


# %% nbgrader={"grade": false, "grade_id": "nucleus", "locked": false, "schema_version": 3, "solution": true, "task": false}
def nucleus(logits, p):
    """Return the probabilities of the next token, restricted to the nucleus.

    logits: (batch, vocab). p: a number above 0, at most 1. In each row the nucleus
    is the smallest set of most probable tokens whose probabilities (the softmax of
    the logits) sum to at least p; which of two equally probable tokens comes first
    does not matter. Returns (batch, vocab): 0 outside the nucleus; within it the
    probabilities, divided by their sum.
    """
    ### BEGIN SOLUTION
    probabilities, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
    # what the tokens before this one have together
    more_probable = probabilities.cumsum(dim=-1) - probabilities
    kept = torch.where(more_probable < p, probabilities, 0.0)
    kept = kept / kept.sum(dim=-1, keepdim=True)
    return torch.zeros_like(kept).scatter(dim=-1, index=order, src=kept)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "nucleus-set", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 3a (2 points): which tokens are kept. The logits are sorted here.
logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
for p, size in [(0.3, 1), (0.7, 2), (0.8, 3), (0.95, 4)]:
    found = nucleus(logits, p)
    assert type(found) is Tensor, f"the answer must be a tensor, not {type(found)}"
    assert found.shape == (1, 4), (
        f"the shape must be (1, 4), not {tuple(found.shape)}"
    )
    kept = (found[0] > 0).tolist()
    assert kept == [i < size for i in range(4)], (
        f"p = {p}: the first {size} of 4 tokens must be kept, not {kept}"
    )


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(5)
    for vocab in (3, 8, 50):
        logits = (
            2 * torch.randn(1, vocab, generator=draw).sort(descending=True).values
        )
        shares = logits[0].double().softmax(dim=0).tolist()
        for p in (0.05, 0.3, 0.5, 0.77, 0.9, 0.99):
            size = next(
                n for n in range(1, vocab + 1) if sum(shares[:n]) >= p or n == vocab
            )
            assert (nucleus(logits, p)[0] > 0).tolist() == [
                i < size for i in range(vocab)
            ], f"p = {p}: the first {size} of {vocab} tokens must be kept"
        assert (nucleus(logits, 1.0) > 0).all(), "p = 1 keeps everything"


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "nucleus-shares", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3b (1 point): the probabilities of what is kept. The logits are sorted here.
logits = torch.tensor([[0.4, 0.2, 0.2, 0.15, 0.05]]).log()
found = nucleus(logits, 0.7)
assert abs(found.sum().item() - 1) < 1e-5, (
    f"the probabilities must sum to 1, not to {found.sum():.3f}"
)


### BEGIN HIDDEN TESTS
def _check():
    # Whichever tokens were kept: they are in the proportions in which they were,
    # and together they make 1.
    draw = torch.Generator().manual_seed(6)
    for vocab in (8, 30):
        logits = (
            0.5 * torch.randn(1, vocab, generator=draw).sort(descending=True).values
        )
        found = nucleus(logits, 0.7)
        kept = found > 0
        assert 1 < kept.sum() < vocab, "some tokens must be kept, and some not"
        shares = torch.where(kept, logits.softmax(dim=-1), 0.0)
        torch.testing.assert_close(
            found, shares / shares.sum(), rtol=1e-4, atol=1e-6, check_dtype=False
        )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "nucleus-rows", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3c (1 point): tokens in the order of the vocabulary, and every row by
# itself.
row = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05]).log()
found = nucleus(torch.stack([row, row.flip(0)]), 0.8)
assert found.shape == (2, 5), f"the shape must be (2, 5), not {tuple(found.shape)}"
# the same tokens in another order
torch.testing.assert_close(found[1], found[0].flip(0))


### BEGIN HIDDEN TESTS
def _check():
    # The function is compared with itself, on sorted rows one at a time, so a wrong
    # nucleus loses nothing.
    draw = torch.Generator().manual_seed(7)
    # from rows that are nearly flat to steep ones
    scales = torch.tensor([0.3, 0.7, 1.0, 3.0])
    sorted_rows = (
        (torch.randn(4, 12, generator=draw) * scales[:, None])
        .sort(descending=True)
        .values
    )
    orders = torch.rand(4, 12, generator=draw).argsort(dim=1)
    alone = torch.cat([nucleus(row[None], 0.75) for row in sorted_rows])
    together = nucleus(sorted_rows.gather(1, orders), 0.75)
    torch.testing.assert_close(
        together, alone.gather(1, orders), rtol=1e-4, atol=1e-6
    )
    assert (alone[0] > 0).sum() > 1, "only one token left?"
    assert (alone - sorted_rows.softmax(dim=-1)).abs().max() > 0.01, (
        "nothing was cut off"
    )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# How large is a nucleus? Below are the same 1,000 tokens, with logits spread more and more: from a model that has no
# idea to one that is nearly sure. Guess the sizes before you run the cell.

# %%
spread = torch.randn(1, 1000, generator=torch.Generator().manual_seed(0))
for factor in (0.1, 1.0, 3.0, 10.0):
    size = (nucleus(factor * spread, 0.9) > 0).sum().item()
    print(f"logits with a spread of {factor:4}: {size} of 1000 tokens are kept")

# %% [markdown]
# ## 4. The cache (4 points)
#
# To write a text, a model adds one token after another, and each new one looks at all before it. The keys and values of
# those have been computed already, and they never change: a position does not see what comes later. So they are
# stored, and every step computes the query, key and value of the *new* position alone.
#
# Let $x$ be the vectors that come into an attention layer. Its queries, keys and values are three linear maps of them,
# $q = x W_q$, $k = x W_k$, $v = x W_v$. Write a step that gets the new vectors only, one or several (a prompt is read in
# one go), and the stored keys and values of all vectors before them. You may call your functions of earlier questions,
# here and below. A check is passed if it is passed with them or with correct versions in their place, so that no
# mistake costs you points twice.


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
    keys, values = cache
    keys, values = (
        torch.cat([keys, x @ w_k], dim=1),
        torch.cat([values, x @ w_v], dim=1),
    )
    mask = causal_mask(x.shape[1], keys.shape[1])
    return attention(x @ w_q, keys, values, mask), (keys, values)
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


# %% nbgrader={"grade": true, "grade_id": "cache-one", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 4a (2 points): one new position, the last one of a text.
### BEGIN HIDDEN TESTS
# A mistake in question 1 is not punished here and in the next two cells: a check is
# passed if it is passed with these functions or with the student's own.
def _attention(q, k, v, mask=None):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _causal_mask(queries, keys):
    return torch.arange(keys) <= torch.arange(keys - queries, keys)[:, None]


_attending = {"attention": _attention, "causal_mask": _causal_mask}


def _check():
    for seed, past in [(1, 0), (2, 1), (3, 4), (4, 9)]:
        x, *matrices = example(batch=3, time=past + 1, width=5, dim=3, seed=seed)
        expected, (keys, values) = whole(x, *matrices)
        gathered, _ = attend_with_cache(
            x[:, past:], (keys[:, :past], values[:, :past]), *matrices
        )
        torch.testing.assert_close(
            gathered, expected[:, past:], rtol=1e-4, atol=1e-5, check_dtype=False
        )


_choose(_check, **_attending)
### END HIDDEN TESTS
x, *matrices = example()
expected, (keys, values) = whole(x, *matrices)
gathered, _ = attend_with_cache(x[:, 6:], (keys[:, :6], values[:, :6]), *matrices)
assert gathered.shape == (2, 1, 4), (
    f"one new position: shape (2, 1, 4), not {tuple(gathered.shape)}"
)
torch.testing.assert_close(gathered, expected[:, 6:], check_dtype=False)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "cache-several", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4b (1 point): several new positions at once.
### BEGIN HIDDEN TESTS
def _check():
    for seed, past, new in [(1, 0, 4), (2, 1, 2), (3, 4, 3), (4, 2, 6)]:
        x, *matrices = example(batch=3, time=past + new, width=5, dim=3, seed=seed)
        expected, (keys, values) = whole(x, *matrices)
        gathered, _ = attend_with_cache(
            x[:, past:], (keys[:, :past], values[:, :past]), *matrices
        )
        torch.testing.assert_close(
            gathered, expected[:, past:], rtol=1e-4, atol=1e-5, check_dtype=False
        )


_choose(_check, **_attending)
### END HIDDEN TESTS
x, *matrices = example()
expected, (keys, values) = whole(x, *matrices)
gathered, _ = attend_with_cache(x[:, 3:], (keys[:, :3], values[:, :3]), *matrices)
assert gathered.shape == (2, 4, 4), (
    f"four new positions: shape (2, 4, 4), not {tuple(gathered.shape)}"
)
torch.testing.assert_close(gathered, expected[:, 3:], check_dtype=False)
### BEGIN HIDDEN TESTS
_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "cache-stored", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4c (1 point): what is stored.
### BEGIN HIDDEN TESTS
def _check():
    for seed, past, new in [(1, 0, 1), (2, 0, 3), (3, 4, 1), (4, 2, 5)]:
        x, *matrices = example(batch=3, time=past + new, width=5, dim=3, seed=seed)
        _, expected = whole(x, *matrices)
        given = tuple(each[:, :past].clone() for each in expected)
        copies = [each.clone() for each in given]
        _, stored = attend_with_cache(x[:, past:], given, *matrices)
        for each, right in zip(
            [*stored, *given], [*expected, *copies], strict=True
        ):
            torch.testing.assert_close(
                each, right, rtol=1e-4, atol=1e-5, check_dtype=False
            )


_choose(_check, **_attending)
### END HIDDEN TESTS
x, *matrices = example()
_, (keys, values) = whole(x, *matrices)
_, stored = attend_with_cache(x[:, 6:], (keys[:, :6], values[:, :6]), *matrices)
assert len(stored) == 2, "the cache is a pair: keys and values"
assert stored[0].shape == (2, 7, 4), (
    f"7 positions have 7 keys: shape (2, 7, 4), not {tuple(stored[0].shape)}"
)
torch.testing.assert_close(stored[0], keys, check_dtype=False)
torch.testing.assert_close(stored[1], values, check_dtype=False)
### BEGIN HIDDEN TESTS
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
# ## 5. A merge of byte-pair encoding (3 points)
#
# Byte-pair encoding ([Sennrich et al., 2016](https://arxiv.org/abs/1508.07909)) begins with the characters of the words
# as tokens and repeats two steps: find the pair of neighbouring tokens that occurs most often, and merge it into one
# token, wherever it occurs. After a few thousand merges the frequent words are single tokens.
#
# Every neighbourhood counts: `["a", "a", "a"]` holds the pair `("a", "a")` twice. Pairs never cross the border between
# two words. Ties need a rule, or two programs would make two different vocabularies: of several most frequent pairs, take
# the one that Python's `<` puts first, as in `("a", "z") < ("b", "a")`.


# %% nbgrader={"grade": false, "grade_id": "pair", "locked": false, "schema_version": 3, "solution": true, "task": false}
def most_frequent_pair(words):
    """Return the pair of neighbouring tokens that occurs most often.

    words: a list of words, each a list of tokens (strings); a word that occurs
    three times stands there three times. At least one word has two tokens. Pairs
    are ordered: ("a", "b") is not ("b", "a"). Returns a tuple of two strings; of
    several most frequent pairs the smallest one, in Python's order of tuples.
    """
    ### BEGIN SOLUTION
    counts = Counter(pair for word in words for pair in pairwise(word))
    return min(counts, key=lambda pair: (-counts[pair], pair))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pair-count", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5a (1 point): the most frequent pair.
pair = most_frequent_pair([list("lower"), list("low"), list("slow"), list("new")])
assert type(pair) is tuple, f"a pair is a tuple of two tokens, not {pair!r}"
assert all(type(token) is str for token in pair), (
    f"tokens are strings, not {pair!r}"
)
assert most_frequent_pair([["l", "ow"], ["l", "ow"], ["n", "ew"]]) == ("l", "ow"), (
    "('l', 'ow') occurs twice, and no other pair does"
)


### BEGIN HIDDEN TESTS
def _check():
    # In each of these, one pair is ahead of all others.
    for words, expected in [
        # several times in one word
        ([list("xyxyxy"), list("ab"), list("ab")], "x y"),
        ([list("aaa"), list("aaa"), *[list("bc")] * 3], "a a"),  # overlapping
        (
            [
                list("qa"),
                list("bq"),
                list("ab"),
                list("ab"),
                *[list("zb"), list("az")] * 3,
                *[list("zb")],
            ],
            "z b",
        ),
        # order matters
        ([*[["a", "b"], ["c", "d"]] * 2, ["c", "d"], *[["b", "a"]] * 2], "c d"),
        # not the first pair of a word
        ([*[["x", "y", "z", "w"]] * 2, ["y", "z"]], "y z"),
        ([["th", "e"], ["th", "e"], ["t", "he"], ["the"]], "th e"),
    ]:
        pair = most_frequent_pair(words)
        assert type(pair) is tuple, f"a pair is a tuple of two tokens, not {pair!r}"
        assert [type(token) for token in pair] == [str, str], (
            f"tokens are strings, not {pair!r}"
        )
        assert " ".join(pair) == expected, (
            f"{words}: the most frequent pair is {expected!r}, not {pair!r}"
        )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "pair-tie", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5b (1 point): ties.
pair = most_frequent_pair([["b", "c"], ["a", "b"]])
assert type(pair) is tuple, f"a pair is a tuple of two tokens, not {pair!r}"
assert pair == ("a", "b"), (
    f"both pairs occur once, and ('a', 'b') is the smaller one, not {pair!r}"
)


### BEGIN HIDDEN TESTS
def _check():
    for words, expected in [
        ([["e", "f"], ["c", "d"], ["a", "b"], ["e", "f"], ["c", "d"]], "c d"),
        ([["a", "b"], ["c", "f"], ["c", "d"], ["c", "d"], ["c", "f"]], "c d"),
        (
            [
                ["c", "d"],
                ["a", "b"],
                ["c", "d"],
                ["e", "f"],
                ["e", "f"],
                ["b", "f"],
            ],
            "c d",
        ),
        (
            [
                ["g", "h"],
                ["b", "z"],
                ["a", "w"],
                ["b", "x"],
                ["b", "z"],
                ["g", "h"],
                ["b", "x"],
            ],
            "b x",
        ),
    ]:
        pair = most_frequent_pair(words)
        assert [type(token) for token in pair] == [str, str], (
            f"a pair has two strings, not {pair!r}"
        )
        assert " ".join(pair) == expected, (
            f"{words}: the pair to take is {expected!r}, not {pair!r}"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now the merge. Go through each word from left to right. A token takes part in one merge at most, so
# `["a", "a", "a"]` becomes `["aa", "a"]`.


# %% nbgrader={"grade": false, "grade_id": "merge", "locked": false, "schema_version": 3, "solution": true, "task": false}
def merge_pair(words, pair):
    """Return the words with the pair merged into one token wherever it occurs, from
    left to right.

    words: a list of lists of strings, as before; it stays as it is. pair: a tuple
    of two strings. Returns a new list of lists of strings; ("a", "b") becomes "ab".
    Tokens that are no part of the pair stay.
    """
    ### BEGIN SOLUTION
    merged = []
    for word in words:
        new, i = [], 0
        while i < len(word):
            found = tuple(word[i : i + 2]) == pair
            new.append("".join(pair) if found else word[i])
            i += 2 if found else 1
        merged.append(new)
    return merged
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "merge-words", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5c (1 point): the merge.
words = [list("lower"), list("low"), ["n", "e", "w"]]
found = merge_pair(words, ("l", "o"))
assert type(found) is list, f"the answer must be a list of lists, not {found!r}"
assert all(type(word) is list for word in found), (
    f"every word must be a list of tokens, not {found!r}"
)
assert all(type(token) is str for word in found for token in word), (
    f"tokens are strings, not {found!r}"
)
assert found == [["lo", "w", "e", "r"], ["lo", "w"], ["n", "e", "w"]], (
    f"l and o merged give something else: {found}"
)


### BEGIN HIDDEN TESTS
def _check():
    for text, pair, expected in [
        ("a b a b c", "a b", "ab ab c"),
        ("a a a", "a a", "aa a"),
        ("a a a a a", "a a", "aa aa a"),
        ("b a|b", "a b", "b a|b"),
        ("b a b", "a b", "b ab"),
        ("ba b|ab|a b", "a b", "ba b|ab|ab"),
        ("x ab c ab|c", "ab c", "x abc ab|c"),
        ("aa a a aa", "aa a", "aaa a aa"),
        ("a", "a b", "a"),
    ]:
        words = [word.split() for word in text.split("|")]
        found = merge_pair(words, tuple(pair.split()))
        assert type(found) is list, (
            f"the answer must be a list of lists, not {found!r}"
        )
        assert all(type(word) is list for word in found), (
            f"every word must be a list, not {found!r}"
        )
        assert "|".join(" ".join(word) for word in found) == expected, (
            f"{text!r} with {pair!r} merged is {expected!r}, not {found}"
        )
        assert "|".join(" ".join(word) for word in words) == text, (
            "the given words were changed"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Watch the two functions learn a vocabulary from one sentence. Which token will be the first?

# %%
sentence = (
    "the lower tower is the newer tower and the newest is the lowest of the towers"
)
words = [list(word) for word in sentence.split()]
for number in range(1, 11):
    pair = most_frequent_pair(words)
    words = merge_pair(words, pair)
    print(
        f"merge {number:2}: {pair[0]!r} and {pair[1]!r}, "
        f"then {sum(map(len, words))} tokens"
    )
for line in (words[:8], words[8:]):
    print(" | ".join(" ".join(word) for word in line))

# %% [markdown]
# ## 6. Find the bug (6 points)
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


# %% nbgrader={"grade": false, "grade_id": "mistakes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mistakes():
    """Return the letters of the five true statements, in one string such as
    "VWXYZ"; their order does not matter.
    """
    ### BEGIN SOLUTION
    return "BDEGJ"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mistakes-most", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6a (1 point): five letters, of which at least four are right.
named = mistakes()
assert type(named) is str, f"the letters must be in a string, not {named!r}"
assert len(set(named)) == len(named) == 5, f"five different letters, not {named!r}"
assert set(named) <= set("ABCDEFGHIJ"), f"letters from A to J, not {named!r}"
### BEGIN HIDDEN TESTS
assert len(set(named) & set("BDEGJ")) >= 4, "fewer than four letters are right"
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "mistakes-all", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 6b (2 points): all five are right.
named = mistakes()
assert len(named) == 5, f"five letters, not {named!r}"
### BEGIN HIDDEN TESTS
assert set(named) == set("BDEGJ"), "not all five letters are right"
### END HIDDEN TESTS

# %% [markdown]
# Now write a step without the five mistakes: the loss is the one of question 2, for predictions from `recent` vectors, and
# both tables learn. You may call `next_token_loss`.


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
# Check 6c (1 point): the loss. All tokens have the same vector here, so every
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
# Check 6d (1 point): what is predicted from what. Nothing is predicted from the
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
# Check 6e (1 point): the step of both tables.
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
# ## 7. In your own words (4 points)
#
# Answer in full sentences, eight to twelve in all. This question is read by a person.
#
# 1. A colleague trains a Transformer on ordinary English, character by character, and reports after an hour: "The
#    validation loss is 0.03 nats a character." Why can this hardly be true of a language model? Name two different
#    mistakes in the code that would lead to such a figure, and describe one experiment that tells whether the model sees
#    what it should predict. (2 points)
# 2. Two models are compared on the same held-out text. Model A has characters as tokens and a loss of 1.2 nats a token;
#    model B uses byte-pair encoding and has 3.4 nats a token. A friend concludes that A is the better one. Why does
#    this not follow? Say what should be computed instead, and what else has to be known for it. (2 points)

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# **Model answer.**
#
# 1. English is not that predictable: after any beginning several continuations make sense, and even people who guess
#    the next letter of a text need about a bit (0.7 nats) a letter (Shannon's estimates were between 0.6 and 1.3 bits).
#    A loss of 0.03 nats says that the right character gets a probability of 97 % (geometric mean). So the model must
#    have been shown the answer. The mask may be missing, so that every position looks at the next one; the targets may
#    not be shifted, so that each token has to be predicted from itself; or the validation text may be in the training
#    text and was learnt by heart. To find out, change one character of the input and compare the logits before and after:
#    those at earlier positions must stay exactly as they are, or the model sees the future. (The same with gradients: the
#    loss at position t must have no gradient with respect to the embedding of a later input.) If nothing leaks there, let
#    it continue a beginning of your own: a model that copies its input repeats the last letter.
# 2. The two losses are counted per *token*, and the tokens differ: a token of B is several characters long, so B has to
#    get several characters right at a time, and makes fewer predictions for the same text. What can be compared is the
#    loss of the whole text: the loss per token times the number of tokens, divided by something that is the same for
#    both, the number of characters (or bytes); divided by log 2 as well, it is in bits per character. For this one must
#    know into how many tokens each tokeniser cuts the text. B is better if its tokens are longer than 3.4 / 1.2, about
#    2.8 characters, on average.
#
# **Rubric.**
#
# - Part 1: 1 point for a reason why the figure is too good (text is not that predictable, with or without Shannon)
#   *and* two different mistakes that show the model its answer (missing mask, no shift, overlapping data); with one
#   mistake only, half a point. 1 point for an experiment that changes the future input, or takes gradients, and looks
#   at earlier outputs. "Look at samples" alone: half a point, since it shows that something is wrong and not what.
#   "Overfitting" without overlapping data: 0, since the loss is one of validation.
# - Part 2: 1 point for "per token, and the tokens are of different length". 1 point for the conversion to bits (or
#   nats) per character, with the number of tokens and of characters named as what has to be known. "Compare the
#   perplexities": 0 for the second half, since they are per token too.
