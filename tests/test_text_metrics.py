"""Metrics of text: closed forms, invariants, brute force, and SciPy's exact test of a vote."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from torch.nn import functional as F
from torchmetrics.text import BLEUScore, SacreBLEUScore

from aigc_course import text_metrics
from aigc_course.data import CharTokenizer, load_text

texts = st.text(alphabet="abc", min_size=1, max_size=40)

# --- bits per character -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 8, 100])
def test_uniform_characters_cost_the_logarithm_of_their_number(size: int) -> None:
    loss = F.cross_entropy(torch.zeros(7, size), torch.arange(7) % size).item()
    assert text_metrics.bits_per_character(loss, 7, 7) == pytest.approx(math.log2(size), rel=1e-6)


def test_tokens_of_two_characters_cost_half_a_character() -> None:
    one = text_metrics.bits_per_character(1.5, 100, 100)
    assert one == pytest.approx(1.5 / math.log(2))
    assert text_metrics.bits_per_character(1.5, 50, 100) == pytest.approx(one / 2)
    assert text_metrics.bits_per_character(0.0, 5, 5) == 0


def test_bits_do_not_depend_on_how_a_text_is_cut() -> None:
    # The same model of characters, told as one of pairs: a pair's probability is the product.
    text = "abracadabra!"
    tokens = CharTokenizer(text).encode(text)
    shares = torch.bincount(tokens) / len(tokens)
    nats = -shares[tokens].log()
    pairs = nats.view(-1, 2).sum(dim=1)
    by_character = text_metrics.bits_per_character(nats.mean().item(), len(nats), len(text))
    by_pair = text_metrics.bits_per_character(pairs.mean().item(), len(pairs), len(text))
    assert by_character == pytest.approx(by_pair, rel=1e-6)
    assert pairs.mean().exp() > nats.mean().exp() ** 1.9  # while the perplexity is squared


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 5, 5), "nats_per_token is -0.1"),
        ((math.nan, 5, 5), "nats_per_token is nan"),
        ((math.inf, 5, 5), "nats_per_token is inf"),
        ((1.0, 0, 5), "tokens is 0"),
        ((1.0, 5, 0), "characters is 0"),
    ],
)
def test_bits_of_nothing(arguments: tuple[float, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        text_metrics.bits_per_character(*arguments)


# --- variety and repetition -------------------------------------------------------------------------------------------


def test_variety_closed_forms() -> None:
    assert text_metrics.distinct_n("abcdef", 2) == 1
    assert text_metrics.distinct_n("aaaaaa", 2) == 1 / 5
    assert text_metrics.distinct_n("ababab", 2) == 2 / 5
    assert text_metrics.distinct_n(["the", "cat", "and", "the", "cat"], 2) == 3 / 4
    assert text_metrics.distinct_n("abc", 3) == 1


@pytest.mark.parametrize("n", [1, 2, 5])
def test_repetition_closed_forms(n: int) -> None:
    assert text_metrics.repeated_share("abcdefghij", n) == 0
    assert text_metrics.repeated_share("abcde" * 4, n) == 15 / 20
    assert text_metrics.repeated_share("a" * 20, n) == 19 / 20
    assert text_metrics.repeated_share("x" + "abcde" + "yz" + "abcde", n) == 5 / 13


def test_repetition_shorter_than_n_does_not_count() -> None:
    assert text_metrics.repeated_share("abcXabcYabc", 3) == 6 / 11
    assert text_metrics.repeated_share("abcXabcYabc", 4) == 0


def brute_repeated(text: str, n: int) -> float:
    covered = set()
    for i in range(len(text) - n + 1):
        if any(text[j : j + n] == text[i : i + n] for j in range(i)):
            covered |= set(range(i, i + n))
    return len(covered) / len(text)


@given(texts, st.integers(1, 5))
def test_variety_and_repetition_by_brute_force(text: str, n: int) -> None:
    if len(text) < n:
        return
    grams = [text[i : i + n] for i in range(len(text) - n + 1)]
    assert text_metrics.distinct_n(text, n) == len(set(grams)) / len(grams)
    assert text_metrics.repeated_share(text, n) == pytest.approx(brute_repeated(text, n), abs=1e-12)
    assert (text_metrics.distinct_n(text, n) == 1) == (text_metrics.repeated_share(text, n) == 0)


@given(texts, st.permutations("abc"), st.integers(1, 4))
def test_names_of_the_items_do_not_matter(text: str, other: list[str], n: int) -> None:
    if len(text) < n:
        return
    renamed = text.translate(str.maketrans("abc", "".join(other)))
    tokens = torch.tensor([ord(character) for character in text])
    for metric in (text_metrics.distinct_n, text_metrics.repeated_share):
        assert metric(text, n) == metric(renamed, n) == metric(list(text), n) == metric(tokens, n)


@given(texts, texts)
def test_repetition_grows_when_a_text_is_repeated(text: str, other: str) -> None:
    n = min(3, len(text))
    assert text_metrics.repeated_share(text + text, n) >= 0.5
    # Shorter n-grams repeat wherever longer ones do.
    if len(text + other) >= 2:
        both = [text_metrics.repeated_share(text + other, length) for length in (1, 2)]
        assert both[0] >= both[1]


def test_random_characters_have_more_variety_than_a_text() -> None:
    text = load_text("python_docs", "test")[:5000]
    drawn = "".join(np.random.default_rng(0).choice(sorted(set(text)), 5000).tolist())
    assert text_metrics.distinct_n(drawn, 3) > 0.9 > text_metrics.distinct_n(text, 3)


@pytest.mark.bad_input
@pytest.mark.parametrize("metric", [text_metrics.distinct_n, text_metrics.repeated_share])
def test_too_short_for_an_n_gram(metric: Callable[..., float]) -> None:
    with pytest.raises(ValueError, match="n is 0"):
        metric("abc", 0)
    nothing: tuple[Any, ...] = ("", [], torch.tensor([], dtype=torch.long))
    for empty in nothing:
        with pytest.raises(ValueError, match="text has 0 items; it takes at least n, which is 1"):
            metric(empty, 1)
    with pytest.raises(ValueError, match="text has 3 items; it takes at least n, which is 4"):
        metric(["a", "b", "c"], 4)


# --- copies -----------------------------------------------------------------------------------------------------------


def test_copies_closed_forms() -> None:
    training = "the quick brown fox jumps over the lazy dog"
    assert text_metrics.copied_share(training, training, 10) == 1
    assert text_metrics.copied_share(training[5:25], training, 20) == 1
    assert text_metrics.copied_share(training.upper(), training, 2) == 0
    assert text_metrics.copied_share("XX" + training[:10] + "YYYYYYYY", training, 10) == 0.5
    assert text_metrics.copied_share("XX" + training[:9] + "YYYYYYYYY", training, 10) == 0
    # Two stretches that touch, each in the training text but not together.
    assert text_metrics.copied_share("quick brown" + "lazy dog", training, 8) == 1
    assert text_metrics.copied_share("quick brown" + "lazy dog", training, 9) == 11 / 19


def brute_copied(sample: str, training: str, length: int) -> float:
    covered = set()
    for start in range(len(sample)):
        for end in range(start + length, len(sample) + 1):
            if sample[start:end] in training:
                covered |= set(range(start, end))
    return len(covered) / len(sample)


@settings(max_examples=200)
@given(texts, texts, st.integers(1, 6))
def test_copies_by_brute_force(sample: str, training: str, length: int) -> None:
    if min(len(sample), len(training)) < length:
        return
    share = text_metrics.copied_share(sample, training, length)
    assert share == pytest.approx(brute_copied(sample, training, length), abs=1e-12)
    assert text_metrics.copied_share(sample, training + sample, length) == 1
    assert text_metrics.copied_share(sample[::-1], training[::-1], length) == pytest.approx(share)
    if length > 1:
        assert text_metrics.copied_share(sample, training, length - 1) >= share


def test_one_changed_letter_in_every_stretch_hides_a_copy() -> None:
    training = load_text("python_docs", "train")[:20_000]
    sample = re.sub(r"(.{19}).", r"\1§", training[:2000], flags=re.DOTALL)
    assert text_metrics.copied_share(sample, training, 20) == 0
    assert text_metrics.copied_share(sample, training, 19) == 0.95


def test_held_out_text_is_hardly_copied_and_the_whole_training_text_is() -> None:
    training, held_out = load_text("python_docs", "train"), load_text("python_docs", "test")
    assert text_metrics.copied_share(training, training) == 1
    assert text_metrics.copied_share(held_out, training) < 0.1


@pytest.mark.bad_input
def test_copies_of_too_little() -> None:
    with pytest.raises(ValueError, match="n is 0"):
        text_metrics.copied_share("abc", "abc", 0)
    with pytest.raises(ValueError, match="sample has 3 characters; it takes at least the length of a stretch, 5"):
        text_metrics.copied_share("abc", "abcdef", 5)
    with pytest.raises(ValueError, match="training has 0 characters"):
        text_metrics.copied_share("abcdef", "", 5)


# --- human judgements -------------------------------------------------------------------------------------------------


def exact_power(n: int, preference: float, level: float) -> float:
    """The probability of the votes that favour the better one and that SciPy's two-sided test calls significant."""
    return sum(
        math.comb(n, k) * preference**k * (1 - preference) ** (n - k)
        for k in range(n + 1)
        if k > n / 2 and binomtest(k, n).pvalue <= level
    )


@pytest.mark.parametrize("level", [0.05, 0.01, 1 / 16])  # 1/16 is the p-value of five votes out of five
@pytest.mark.parametrize("n", [1, 4, 5, 6, 11, 30, 97])
def test_power_by_the_exact_test(n: int, level: float) -> None:
    for preference in (0.5, 0.6, 0.8, 1.0):
        expected = exact_power(n, preference, level)
        assert text_metrics.sign_test_power(n, preference, level) == pytest.approx(expected, abs=1e-9)


def test_without_a_preference_the_level_is_kept() -> None:
    assert all(text_metrics.sign_test_power(n, 0.5, 0.05) <= 0.025 + 1e-12 for n in range(1, 200))


@pytest.mark.parametrize(("preference", "power"), [(0.6, 0.8), (0.7, 0.9), (0.9, 0.8), (0.8, 0.3)])
def test_needed_is_the_least_number_from_which_on_the_power_stays(preference: float, power: float) -> None:
    needed = text_metrics.judgements_needed(preference, power)
    one_less, *reached = [exact_power(n, preference, 0.05) >= power for n in range(needed - 1, needed + 20)]
    assert all(reached)
    assert not one_less


def test_needed_by_hand() -> None:
    # All agree: 2 · 2⁻ⁿ ≤ 0.05 from n = 6 on.
    assert text_metrics.judgements_needed(1.0) == 6
    assert text_metrics.judgements_needed(1.0, level=0.001) == 11


@settings(deadline=None, max_examples=30)
@given(st.floats(0.53, 0.75), st.floats(0.5, 0.95), st.floats(0.01, 0.1))
def test_needed_is_near_the_normal_approximation(preference: float, power: float, level: float) -> None:
    spread = norm.ppf(1 - level / 2) / 2 + norm.ppf(power) * math.sqrt(preference * (1 - preference))
    about = (spread / (preference - 0.5)) ** 2
    assert abs(text_metrics.judgements_needed(preference, power, level) - about) < 4 + 2 / (preference - 0.5)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.55, 0.95), st.floats(0.1, 0.9))
def test_more_certainty_takes_more_judgements(preference: float, power: float) -> None:
    needed = text_metrics.judgements_needed(preference, power)
    assert text_metrics.judgements_needed(preference, power + 0.05) >= needed
    assert text_metrics.judgements_needed(preference, power, 0.01) >= needed
    assert text_metrics.judgements_needed(preference + 0.05, power) <= needed


def test_half_the_preference_costs_four_times_the_judgements() -> None:
    ratio = text_metrics.judgements_needed(0.51) / text_metrics.judgements_needed(0.52)
    assert ratio == pytest.approx(4, rel=0.05)


@pytest.mark.bad_input
def test_votes_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"preference is 0.5; it takes a probability in"):
        text_metrics.judgements_needed(0.5)
    with pytest.raises(ValueError, match="preference is 60"):
        text_metrics.judgements_needed(60)
    with pytest.raises(ValueError, match=r"power is 1.0"):
        text_metrics.judgements_needed(0.6, 1.0)
    with pytest.raises(ValueError, match="level is 0"):
        text_metrics.judgements_needed(0.6, level=0)
    with pytest.raises(ValueError, match="judgements is 0"):
        text_metrics.sign_test_power(0, 0.6)
    with pytest.raises(ValueError, match=r"preference is 0.4"):
        text_metrics.sign_test_power(10, 0.4)
    with pytest.raises(ValueError, match="level is nan"):
        text_metrics.sign_test_power(10, 0.6, math.nan)


# --- BLEU is torchmetrics' --------------------------------------------------------------------------------------------


def test_bleu_works_without_a_network_or_another_package() -> None:
    candidate, reference = "the cat sat on the mat .", "the cat sat on a mat ."
    expected = (6 / 7 * 4 / 6 * 2 / 5 * 1 / 4) ** 0.25  # by hand: no brevity penalty, both have seven words
    assert BLEUScore()([candidate], [[reference]]).item() == pytest.approx(expected, rel=1e-5)
    assert SacreBLEUScore()([candidate], [[reference]]).item() == pytest.approx(expected, rel=1e-5)
