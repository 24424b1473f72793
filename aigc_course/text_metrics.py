"""Metrics of generated text: bits per character, variety, repetition, copies, and how many judgements a vote takes.

What is measured here is exact and needs no model. BLEU is in `torchmetrics.text` (`BLEUScore`, `SacreBLEUScore`), so it
is not here. Everything depends on the length of the text: compare texts of equal length only, and say the length.
"""

import math
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from jaxtyping import Int
from scipy.stats import binom
from torch import Tensor

from aigc_course.checks import check_count


def bits_per_character(nats_per_token: float, tokens: int, characters: int) -> float:
    r"""Return a model's loss in a unit that does not depend on the tokenizer, bits per character.

    $$\frac{\ell \cdot T}{C \ln 2}$$

    with the mean loss $\ell = -\frac1T \sum_t \log p(x_t \mid x_{<t})$ in nats per token, the number $T$ of `tokens`
    that it is the mean of, and the number $C$ of `characters` that these tokens stand for. A model that gives the
    $K$ characters of an alphabet equal probability has $\log_2 K$. Perplexity per token is $e^\ell$.

    Raises `ValueError` for a loss that is negative or not finite, and for numbers below 1.
    """
    if not 0 <= nats_per_token < math.inf:
        raise ValueError(f"nats_per_token is {nats_per_token}; it takes a finite number ≥ 0.")
    check_count("tokens", tokens)
    check_count("characters", characters)
    return nats_per_token * tokens / (characters * math.log(2))


def distinct_n(text: str | Sequence[Hashable] | Int[Tensor, " time"], n: int) -> float:
    r"""Return the share of different n-grams among all n-grams of a text, in (0, 1].

    $$\frac{\lvert \{ x_{i:i+n} \} \rvert}{T - n + 1}$$

    with the text's items $x_1, \dots, x_T$: the characters of a string, the words of a list, the tokens of a row. It is
    1 if no n-gram comes twice, and 1 / (T - n + 1) if the text is one item over and over. It falls as a text grows
    longer, so only texts of one length compare; and random characters, which have most variety, do best.

    Source: Li et al. (2016), https://arxiv.org/abs/1510.03055, who count over all answers of a dialogue model.

    Raises `ValueError` for an n below 1 and for a text shorter than n.
    """
    grams = list(_grams(text, n))
    return len(set(grams)) / len(grams)


def repeated_share(text: str | Sequence[Hashable] | Int[Tensor, " time"], n: int) -> float:
    """Return the share of a text's items that lie in an n-gram which began earlier in the same text too, in [0, 1).

    Items are as in `distinct_n`; an n-gram may overlap with its earlier occurrence. It is 0 if no n-gram comes twice,
    and (T - p) / T for a text of T items that repeats its first p items, all different, to its end (n ≤ T - p).

    Raises `ValueError` for an n below 1 and for a text shorter than n.
    """
    seen: set[Hashable] = set()
    again = []
    for gram in _grams(text, n):
        again.append(gram in seen)
        seen.add(gram)
    return _covered(again, n)


def copied_share(sample: str, training: str, length: int = 50) -> float:
    """Return the share of a sample's characters that lie in a stretch which stands word for word in the training text.

    A stretch has at least `length` characters; white space and case count. The share is exact, in [0, 1]: 1 if the
    sample is cut out of the training text. Text that nobody copied has a share above 0 too, since people repeat each
    other: measure held-out text for comparison. One changed letter every `length` characters brings the share to 0.

    It takes time and memory proportional to the texts' lengths times `length`.

    Raises `ValueError` for a length below 1 and for a sample or a training text shorter than that.
    """
    for name, text in (("sample", sample), ("training", training)):
        if len(text) < length:
            raise ValueError(f"{name} has {len(text)} characters; it takes at least the length of a stretch, {length}.")
    # A stretch is copied if and only if each piece of `length` characters in it is, and these can be looked up.
    pieces = list(_grams(sample, length))
    wanted = set(pieces)
    found = {piece for piece in _grams(training, length) if piece in wanted}
    return _covered([piece in found for piece in pieces], length)


def _grams(text: str | Sequence[Hashable] | Tensor, n: int) -> Iterator[Hashable]:
    check_count("n", n)
    if isinstance(text, Tensor):
        text = text.tolist()  # numbers: tensors are told apart by where they are stored, not by their value
    if len(text) < n:
        raise ValueError(f"text has {len(text)} items; it takes at least n, which is {n}.")
    items = text if isinstance(text, str) else tuple(text)
    return (items[i : i + n] for i in range(len(items) - n + 1))


def _covered(starts: list[bool], n: int) -> float:
    """The share of items that lie in an n-gram whose start is marked; the last n - 1 items start none."""
    covered, end = 0, 0  # `end`: the first item after the marked n-grams so far
    for i in (i for i, marked in enumerate(starts) if marked):
        covered += i + n - max(i, end)
        end = i + n
    return covered / (len(starts) + n - 1)


# --- human judgements -------------------------------------------------------------------------------------------------


def sign_test_power(judgements: int, preference: float, level: float = 0.05) -> float:
    r"""Return how probable it is that a vote finds the text that people prefer.

    In each of $n$ independent `judgements` one of two texts is chosen; the better one with probability $p$, the
    `preference`. The sign test calls the difference real if, were it all chance, a vote as uneven as this, to either
    side, had at most probability `level`: if the better one gets at least $k$ votes, where $k$ is the least number with
    $2\, P(X \ge k) \le$ `level` for $X \sim \mathrm{Bin}(n, \tfrac12)$. The power is $P(Y \ge k)$ for
    $Y \sim \mathrm{Bin}(n, p)$. A tie is no judgement: leave it out, and report how many there were.

    Raises `ValueError` for judgements below 1, a preference outside [0.5, 1] or a level outside (0, 1).
    """
    check_count("judgements", judgements)
    if not 0.5 <= preference <= 1:
        raise ValueError(f"preference is {preference}; it takes a probability in [0.5, 1], that of the better text.")
    _check_probability("level", level)
    return float(_power(np.array([judgements]), preference, level)[0])


def judgements_needed(preference: float, power: float = 0.8, level: float = 0.05) -> int:
    r"""Return how many judgements of pairs it takes to tell a preference from chance.

    It is the least $n$ such that `sign_test_power`, which is exact, reaches `power` for $n$ and for every larger number
    (from one number to the next it can fall a little, since votes are whole). About

    $$n \approx \left(\frac{z_{1 - \alpha / 2} / 2 + z_\beta \sqrt{p (1 - p)}}{p - 1/2}\right)^2$$

    with the preference $p$, the level $\alpha$, the power $\beta$ and the normal distribution's quantiles $z$. Half
    the lead over chance, $p - \tfrac12$, costs four times the judgements.

    **Arguments:** `preference`: how often people choose the better text, in [0.51, 1]; `power`: the probability with
    which the difference shall be found, in (0, 1); `level`: that of calling mere chance a difference, in (0, 1).

    Raises `ValueError` for arguments outside these ranges.
    """
    if not 0.51 <= preference <= 1:
        raise ValueError(f"preference is {preference}; it takes a probability in [0.51, 1], that of the better text.")
    _check_probability("power", power)
    _check_probability("level", level)
    limit = 64
    while True:
        short = np.flatnonzero(_power(np.arange(1, limit + 1), preference, level) < power) + 1
        last = int(max(short, default=0))
        if last < limit // 2:  # the power rises, but for small steps back: it does not fall short again that far on
            return last + 1
        limit *= 2


def _power(judgements: np.ndarray, preference: float, level: float) -> np.ndarray:
    # isf: the least k with P(X > k) ≤ level / 2.
    return binom.sf(binom.isf(level / 2, judgements, 0.5), judgements, preference)


def _check_probability(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}; it takes a probability in (0, 1).")
