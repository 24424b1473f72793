"""The errata on language models, checked like the others: small reconstructions of our own with the same faults.

`tests/test_errata.py` holds the other parts' checks, and the test that keeps the errata's list and these names equal.
"""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F


def descend(loss: Tensor, weights: list[Tensor], learning_rate: float) -> None:
    """Make one step of gradient descent."""
    gradients = torch.autograd.grad(loss, weights)
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight -= learning_rate * gradient


# --- The model -------------------------------------------------------------------------------------------------------


def test_conditional_is_no_product() -> None:
    embedding, matrix = torch.randn(6, 3, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    factors = (embedding[torch.tensor([4, 0, 2, 2, 5])] @ matrix).softmax(dim=1)  # softmax(w_i W), one for each word
    totals = [factors[:n].prod(dim=0).sum().item() for n in range(1, 6)]
    assert totals[0] == pytest.approx(1)
    assert all(after < 0.7 * before for before, after in itertools.pairwise(totals))  # no distribution of a next word

    # The chain rule multiplies, too: one conditional for each word of the text, each given the words before. What comes
    # out is the probability of the whole text, and those of all texts sum to 1.
    def conditional(past: tuple[int, ...]) -> Tensor:
        return (embedding[list(past)].mean(dim=0) @ matrix).softmax(dim=0) if past else torch.full((6,), 1 / 6).double()

    def probability(text: tuple[int, ...]) -> float:
        return math.prod(conditional(text[:i])[word].item() for i, word in enumerate(text))

    texts = list(itertools.product(range(6), repeat=3))
    assert sum(probability(text) for text in texts) == pytest.approx(1)


def test_word_predicted_from_itself() -> None:
    # Words drawn at random: nothing can be learnt about the next one, and a model of seven words costs log 7.
    train, test = torch.randint(7, (2, 4000))
    embedding = torch.randn(7, 16).requires_grad_()
    matrix = torch.zeros(16, 7).requires_grad_()

    def loss(words: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(embedding[words] @ matrix, wanted)

    for _ in range(200):
        descend(loss(train, train), [embedding, matrix], 1.0)
    assert loss(test, test).item() < 0.05  # "solved", also on held-out words
    assert loss(test[:-1], test[1:]).item() > math.log(7) + 1  # as a language model, worse than guessing


def test_product_forgets_the_order() -> None:
    embedding, matrix = torch.randn(3, 4), torch.randn(4, 3)
    factors = (embedding @ matrix).log_softmax(dim=1)
    sentences = list(itertools.permutations(range(3)))  # dog bites man, man bites dog, …

    def printed(text: tuple[int, ...]) -> float:
        return sum(factors[word, word].item() for word in text)

    def chain(text: tuple[int, ...]) -> float:
        return sum(factors[before, after].item() for before, after in itertools.pairwise(text))

    assert max(map(printed, sentences)) - min(map(printed, sentences)) < 1e-5
    assert max(map(chain, sentences)) - min(map(chain, sentences)) > 0.1


def test_counts_are_autoregressive() -> None:
    text = "to be or not to be that is the question"
    letters = sorted(set(text))
    counts = torch.ones(len(letters), len(letters))  # one extra for each pair, so that none is impossible
    for before, after in itertools.pairwise(text):
        counts[letters.index(before), letters.index(after)] += 1
    table = counts / counts.sum(dim=1, keepdim=True)  # neither pre-trained nor fine-tuned: counted, once

    start = letters.index("t")
    total = torch.zeros(len(letters))
    total[start] = 1
    for _ in range(4):  # sum of p(y_1) p(y_2 | y_1) … over all texts of four letters after the "t"
        total = total @ table
    assert total.sum().item() == pytest.approx(1, abs=1e-5)
    written = [start]
    for _ in range(20):
        written.append(int(torch.multinomial(table[written[-1]], 1)))
    assert len({letters[i] for i in written}) > 3


def test_attention_without_mask_sees_the_future() -> None:
    def influence(causal: bool) -> Tensor:
        """How much the outputs at each position (rows) change with the inputs at each position (columns)."""
        x = torch.randn(1, 5, 4, requires_grad=True)
        out = F.scaled_dot_product_attention(x, x, x, is_causal=causal).sum(dim=2)[0]
        gradients = [torch.autograd.grad(each, x, retain_graph=True)[0] for each in out]
        return torch.stack([gradient[0].abs().sum(dim=1) for gradient in gradients])

    assert (influence(causal=False).triu(1)[torch.ones(5, 5).triu(1).bool()] > 0).all()
    assert (influence(causal=True).triu(1) == 0).all()
    assert (influence(causal=True).diagonal() > 0).all()


# --- Its loss --------------------------------------------------------------------------------------------------------


def test_loss_without_a_past() -> None:
    # A text in which each word settles the next one. The loss sees the words and a row of numbers, and no past.
    text = torch.tensor([0, 1, 2, 1] * 50)
    row = torch.zeros(3, requires_grad=True)
    for _ in range(300):
        descend(F.cross_entropy(row.expand(len(text), 3), text), [row], 1.0)
    frequencies = torch.tensor([0.25, 0.5, 0.25])
    torch.testing.assert_close(row.detach().softmax(dim=0), frequencies, atol=1e-3, rtol=0)  # all that it can learn
    best = torch.special.entr(frequencies).sum().item()
    assert F.cross_entropy(row.expand(len(text), 3), text).item() == pytest.approx(best, abs=1e-4)

    # Given two words of the past, the same numbers of steps leave nearly nothing.
    table = torch.zeros(9, 3, requires_grad=True)
    past = 3 * text[:-2] + text[1:-1]
    for _ in range(300):
        descend(F.cross_entropy(table[past], text[2:]), [table], 1.0)
    assert F.cross_entropy(table[past], text[2:]).item() < 0.05

    # And if the row is taken as it stands, without a softmax, nothing keeps its numbers from growing.
    free = torch.full((3,), 1 / 3, requires_grad=True)
    for _ in range(300):
        descend(-free.log()[text].mean(), [free], 0.1)
    assert free.sum().item() > 2
    assert -free.log()[text].mean().item() < 0  # a "probability" above 1


def test_embeddings_never_learn() -> None:
    # Sixteen words of four kinds; the kind settles the next word. Vectors of two numbers have to tell the kinds apart.
    words = torch.arange(16).repeat(4)
    following = words % 4

    def trained(learn_embeddings: bool) -> tuple[float, bool]:
        torch.manual_seed(1)
        embedding, matrix = torch.randn(16, 2, requires_grad=True), torch.randn(2, 16, requires_grad=True)
        before = embedding.detach().clone()
        for _ in range(500):
            loss = F.cross_entropy(embedding[words] @ matrix, following)
            descend(loss, [embedding, matrix] if learn_embeddings else [matrix], 1.0)
        return loss.item(), torch.equal(before, embedding.detach())

    loss_fixed, fixed = trained(learn_embeddings=False)
    loss_learnt, still = trained(learn_embeddings=True)
    assert fixed
    assert not still
    assert loss_fixed > 1  # of log 4 = 1.39 for a model that knows nothing about the kinds
    assert loss_learnt < 0.1


def test_measuring_changes_the_model() -> None:
    # The update stands inside the loss function, which returns nothing.
    row, text = torch.zeros(3, requires_grad=True), torch.tensor([0, 0, 1])

    def loss_of(words: Tensor) -> None:
        descend(F.cross_entropy(row.expand(len(words), 3), words), [row], 0.5)

    found: None = loss_of(text)  # type: ignore[func-returns-value]
    assert f"Loss = {found}" == "Loss = None"
    after_measuring = row.detach().clone()
    assert after_measuring.abs().max() > 0.1  # nobody meant to train
    loss_of(text)  # then comes the "backward pass": the same function again
    assert (row.detach() - after_measuring).abs().max() > 0.05  # two steps for each word


def test_three_arguments_for_two() -> None:
    def loss_of(words: Tensor, model: Tensor) -> None:
        descend(F.cross_entropy(model.expand(len(words), 3), words), [model], 0.5)

    learning_rate, row = 0.001, torch.zeros(3, requires_grad=True)
    with pytest.raises(TypeError, match="takes 2 positional arguments but 3 were given"):
        loss_of(torch.tensor([0]), row, learning_rate)  # type: ignore[call-arg]


def test_squared_error_of_word_numbers() -> None:
    # A text of two words, in turn random, in a dictionary of eleven where they have the numbers 0 and 10.
    text = torch.randint(2, (1000,)) * 10
    numbers = torch.arange(11.0)
    errors = (text[:, None] - numbers).square().mean(dim=0)
    best = int(errors.argmin())
    assert best == 5  # a word that the text does not contain
    # Number the dictionary anew, and another word is the best answer, to the same text.
    renumbered = torch.tensor([0, 3, 4, 5, 6, 7, 8, 9, 10, 2, 1])
    errors = (renumbered[text][:, None] - renumbered).square().float().mean(dim=0)
    assert int(errors.argmin()) != best
    # The cross-entropy's answer is a distribution, the frequencies, and the numbers don't matter.
    logits = torch.zeros(11, requires_grad=True)
    for _ in range(500):
        descend(F.cross_entropy(logits.expand(1000, 11), text), [logits], 2.0)
    shares = logits.detach().softmax(dim=0)
    torch.testing.assert_close(shares[[0, 10]], torch.tensor([0.5, 0.5]), atol=0.06, rtol=0)
    assert shares[5] < 0.01


def test_squared_error_gives_up() -> None:
    # The model is sure of the wrong word. How strongly is it told so?
    wanted = torch.tensor([0])
    one_hot = F.one_hot(wanted, 4).float()
    for gap in (5.0, 10.0, 20.0):
        logits = torch.tensor([[0.0, gap, 0.0, 0.0]], requires_grad=True)
        squared = (logits.softmax(dim=1) - one_hot).square().sum()
        (weak,) = torch.autograd.grad(squared, logits)
        (strong,) = torch.autograd.grad(F.cross_entropy(logits, wanted), logits)
        assert weak.abs().max() < 10 * math.exp(-gap)  # the surer, the less
        assert strong[0, 0].item() == pytest.approx(-1, abs=0.01)  # push the right word up


def test_own_words_are_no_aim() -> None:
    # The objective has the model's own distribution in it and no text: E log p(y), y drawn from p.
    row = torch.tensor([0.1, 0.0, -0.1, 0.05], requires_grad=True)
    for _ in range(300):
        log_p = row.log_softmax(dim=0)
        descend(-(log_p.exp() * log_p).sum(), [row], 1.0)
    assert row.softmax(dim=0).max() > 0.99  # one word, for ever, whichever was ahead at the beginning
    # With a text in the place of its own words, it learns the text's frequencies.
    frequencies = torch.tensor([0.1, 0.2, 0.3, 0.4])
    for _ in range(3000):
        descend(-(frequencies * row.log_softmax(dim=0)).sum(), [row], 1.0)
    torch.testing.assert_close(row.detach().softmax(dim=0), frequencies, atol=0.01, rtol=0)


# --- Its use ---------------------------------------------------------------------------------------------------------


def test_own_output_loses_words() -> None:
    frequencies = 1 / torch.arange(1.0, 501)  # a few words are frequent, most are rare
    frequencies /= frequencies.sum()

    def vocabulary(own_share: float) -> list[int]:
        """The number of different words, generation by generation; each learns from 2,000 words."""
        model, sizes = frequencies, []
        for _ in range(20):
            source = own_share * model + (1 - own_share) * frequencies
            model = torch.bincount(torch.multinomial(source, 2000, replacement=True), minlength=500) / 2000
            sizes.append(int((model > 0).sum()))
        return sizes

    sizes = vocabulary(own_share=1.0)
    assert all(after <= before for before, after in itertools.pairwise(sizes))  # what is lost never comes back
    assert sizes[-1] < 0.5 * sizes[0]
    mixed = vocabulary(own_share=0.5)
    assert mixed[-1] > 0.8 * mixed[0]  # half of the text still written by people
