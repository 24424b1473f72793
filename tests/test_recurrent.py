"""N-grams against counting by hand, streams, the LSTM's carried state and cut gradients, training, bad input."""

import copy
import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from aigc_course import recurrent, training
from aigc_course.data import CharTokenizer, load_text

TOKENS = st.lists(st.integers(0, 3), min_size=6, max_size=40).map(torch.tensor)


def text_file(folder: Path, repeats: int = 60) -> Path:
    path = folder / "text.txt"
    path.write_text("the cat sat on the mat and the dog lay on the log. " * repeats, encoding="utf-8")
    return path


def streams(folder: Path, batch_size: int = 4, chunk: int = 16) -> recurrent.StreamData:
    return recurrent.StreamData(text_file(folder), batch_size=batch_size, chunk=chunk)


def lstm(vocab_size: int = 5, **options: Any) -> recurrent.RecurrentLanguageModel:
    torch.manual_seed(0)
    return recurrent.RecurrentLanguageModel(vocab_size, **{"width": 8, "layers": 2, **options}).eval()


# --- n-grams ----------------------------------------------------------------------------------------------------------


def counted(text: list[int], history: tuple[int, ...], token: int, order: int, vocab_size: int) -> float:
    """Interpolated Kneser-Ney, slowly and straight from the formula."""
    p = 1 / vocab_size
    for k in range(1, order + 1):
        grams = [tuple(text[i : i + k]) for i in range(len(text) - k + 1)]
        counts = Counter(grams)
        if k < order:
            longer = {tuple(text[i : i + k + 1]) for i in range(len(text) - k)}
            counts = Counter({gram: sum(other[1:] == gram for other in longer) for gram in counts})
        once, twice = (sum(count == number for count in counts.values()) for number in (1, 2))
        discount = (once + 1) / (once + 2 * twice + 2)
        if k - 1 > len(history):
            break
        context = history[len(history) - k + 1 :]
        rows = {gram[-1]: count for gram, count in counts.items() if gram[:-1] == context}
        total, kinds = sum(rows.values()), sum(count > 0 for count in rows.values())
        if total:
            p = max(rows.get(token, 0) - discount, 0) / total + discount * kinds / total * p
    return p


@settings(max_examples=30, deadline=None)
@given(tokens=TOKENS, order=st.integers(1, 5), context=st.lists(st.integers(0, 4), max_size=6))
def test_n_gram_is_the_formula(tokens: Tensor, order: int, context: list[int]) -> None:
    model = recurrent.NGram(5, order).fit(tokens)
    found = model.log_probabilities(torch.tensor(context, dtype=torch.long)).exp()
    wanted = [counted(tokens.tolist(), tuple(context), token, order, 5) for token in range(5)]
    torch.testing.assert_close(found, torch.tensor(wanted))


@settings(max_examples=50, deadline=None)
@given(
    tokens=TOKENS,
    order=st.integers(1, 5),
    discount=st.none() | st.floats(0, 0.99),
    context=st.lists(st.integers(0, 4), max_size=6),
)
def test_probabilities_sum_to_one(tokens: Tensor, order: int, discount: float | None, context: list[int]) -> None:
    p = recurrent.NGram(5, order, discount=discount).fit(tokens)
    found = p.log_probabilities(torch.tensor(context, dtype=torch.long)).exp()
    assert found.sum().item() == pytest.approx(1)
    assert (found >= 0).all()
    if discount is None:  # something is left for every token, the one that the text lacks included
        assert (found > 0).all()


def test_without_a_discount_the_n_gram_is_the_relative_frequency() -> None:
    tokens = torch.tensor([0, 1, 0, 1, 0, 2, 0])
    model = recurrent.NGram(3, 2, discount=0.0).fit(tokens)
    torch.testing.assert_close(model.log_probabilities(torch.tensor([0])).exp(), torch.tensor([0, 2 / 3, 1 / 3]))
    unigram = recurrent.NGram(3, 1, discount=0.0).fit(tokens)
    torch.testing.assert_close(unigram.log_probabilities(torch.tensor([1])).exp(), torch.tensor([4, 2, 1]) / 7)
    assert recurrent.NGram(4, 2, discount=0.0).fit(tokens).nats_per_token(torch.tensor([0, 3])) == math.inf


def test_discounts_come_from_the_counts_of_counts() -> None:
    tokens = torch.tensor([0, 1, 0, 2, 0, 1, 3])  # 01 twice; 10, 02, 20, 13 once
    assert recurrent.NGram(4, 2).fit(tokens).discounts[1] == pytest.approx((4 + 1) / (4 + 2 + 2))
    assert recurrent.NGram(4, 2, discount=0.3).fit(tokens).discounts == [0.3, 0.3]


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("length", [2, 3, 20])
def test_n_gram_nats_are_the_mean_of_its_log_probabilities(order: int, length: int) -> None:
    tokens = torch.randint(5, (200,))
    model, held_out = recurrent.NGram(5, order).fit(tokens), torch.randint(5, (length,))
    losses = [-model.log_probabilities(held_out[:i])[held_out[i]] for i in range(1, length)]
    assert model.nats_per_token(held_out) == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


def test_n_gram_knows_its_training_text_best_and_counts_afresh() -> None:
    tokens = torch.randint(5, (300,))
    model = recurrent.NGram(5, 3).fit(torch.randint(5, (100,))).fit(tokens)
    assert model.nats_per_token(tokens) < math.log(5)
    assert model.nats_per_token(tokens) == recurrent.NGram(5, 3).fit(tokens).nats_per_token(tokens)


def test_n_gram_samples_what_it_counted() -> None:
    tokens = torch.tensor([0, 1, 2] * 20)
    model = recurrent.NGram(4, 2, discount=0.0).fit(tokens)
    assert model.sample(6, torch.tensor([1])).tolist() == [1, 2, 0, 1, 2, 0, 1]
    unigram = recurrent.NGram(4, 1, discount=0.0).fit(torch.tensor([0, 0, 0, 1]))
    drawn = unigram.sample(400)
    assert drawn.shape == (400,)
    assert 0.6 < (drawn == 0).float().mean() < 0.9
    assert set(drawn.tolist()) == {0, 1}


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "validation"])
def test_streams_go_on_where_they_stopped(tmp_path: Path, split: str) -> None:
    data = streams(tmp_path, batch_size=3, chunk=10)
    batches = list(data.train_dataloader() if split == "train" else data.val_dataloader())
    tokens = data.tokens[split]
    length = (len(tokens) - 1) // 30 * 10
    assert all(x.shape == y.shape == (3, 10) for x, y in batches)
    x, y = (torch.cat(part, dim=1) for part in zip(*batches, strict=True))
    for row in range(3):
        assert torch.equal(x[row], tokens[row * length : (row + 1) * length])
        assert torch.equal(y[row], tokens[row * length + 1 : (row + 1) * length + 1])
    assert len(tokens) - 1 - x.numel() < 30
    assert data.tokenizer.decode(data.tokens["test"]) == load_text(text_file(tmp_path), "test")


def test_streams_take_another_tokenizer(tmp_path: Path) -> None:
    path = text_file(tmp_path)
    pairs = recurrent.StreamData(path, batch_size=1, chunk=4, tokenizer=300)
    assert 256 < pairs.tokenizer.vocab_size <= 300
    assert recurrent.StreamData(path, batch_size=1, chunk=4, tokenizer=pairs.tokenizer).tokenizer is pairs.tokenizer


def test_each_process_reads_streams_of_its_own(tmp_path: Path) -> None:
    data, rows = streams(tmp_path, batch_size=2, chunk=5), []
    for rank in range(2):
        data.trainer = SimpleNamespace(world_size=2, global_rank=rank)  # type: ignore[assignment]
        rows.append(torch.cat([x for x, _ in data.train_dataloader()], dim=1))
    alone = torch.cat([x for x, _ in streams(tmp_path, batch_size=4, chunk=5).train_dataloader()], dim=1)
    assert torch.equal(torch.cat(rows), alone)


# --- the network ------------------------------------------------------------------------------------------------------


def test_carried_state_makes_two_halves_a_whole() -> None:
    model, tokens = lstm(), torch.randint(5, (3, 20))
    whole, (h, c) = model(tokens)
    first, state = model(tokens[:, :7])
    second, (h_2, c_2) = model(tokens[:, 7:], state)
    assert whole.shape == (3, 20, 5)
    assert h.shape == c.shape == (2, 3, 8)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close((h, c), (h_2, c_2))
    assert not torch.allclose(model(tokens[:, 7:])[0], second, atol=1e-3)


def test_logits_do_not_depend_on_what_comes() -> None:
    model = lstm()
    tokens = torch.randint(5, (1, 9))
    changed = tokens.clone()
    changed[0, 5:] = (changed[0, 5:] + 1) % 5
    assert torch.equal(model(tokens)[0][:, :5], model(changed)[0][:, :5])


def test_gradients_do_not_pass_a_border() -> None:
    model = lstm(width=4).train()
    x, y = torch.randint(5, (2, 12)), torch.randint(5, (2, 12))
    model.training_step((x[:, :6], y[:, :6]), 0)
    assert model.state is not None
    assert not any(part.requires_grad for part in model.state)
    # The same chunk read from the same numbers, as constants: the gradients are the same.
    h, c = (part.clone() for part in model.state)
    loss = model.training_step((x[:, 6:], y[:, 6:]), 1)
    cut = torch.autograd.grad(loss, list(model.parameters()))
    logits, _ = model(x[:, 6:], (h, c))
    constant = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y[:, 6:].flatten())
    for ours, theirs in zip(cut, torch.autograd.grad(constant, list(model.parameters())), strict=True):
        torch.testing.assert_close(ours, theirs)
    # The loss is that of the whole text; its gradients, which reach back over the border, are others.
    logits, _ = model(x)
    whole = torch.nn.functional.cross_entropy(logits[:, 6:].flatten(0, 1), y[:, 6:].flatten())
    torch.testing.assert_close(loss, whole)
    assert not torch.allclose(cut[1], torch.autograd.grad(whole, list(model.parameters()))[1], rtol=1e-3)


def test_state_is_carried_in_an_epoch_and_forgotten_at_the_next(tmp_path: Path) -> None:
    data = streams(tmp_path)
    model = lstm(data.tokenizer.vocab_size).train()
    seen: list[tuple[int, bool, bool]] = []
    original = model._loss

    def spy(batch: Any, state: Any) -> Any:
        seen.append((model.current_epoch, state is None, model.training))
        return original(batch, state)

    model._loss = spy  # type: ignore[method-assign]
    training.fit(model, data, max_epochs=2, accelerator="cpu", gradient_clip_val=1.0)
    for epoch in (0, 1):
        for phase, batches in ((True, len(list(data.train_dataloader()))), (False, len(list(data.val_dataloader())))):
            starts = [fresh for number, fresh, mode in seen if number == epoch and mode == phase]
            assert starts == [True] + [False] * (batches - 1)


def test_nats_carry_the_state() -> None:
    model, tokens = lstm().train(), torch.randint(5, (50,))
    whole = torch.nn.functional.cross_entropy(copy.deepcopy(model).eval()(tokens[None, :-1])[0][0], tokens[1:]).item()
    for chunk in (1, 7, 1000):
        assert model.nats_per_token(tokens, chunk=chunk) == pytest.approx(whole, rel=1e-5)
    assert model.training  # left as it was


def test_generation_follows_the_logits() -> None:
    model, prompt = lstm(), torch.randint(5, (2, 3))
    sharp = model.generate(prompt, 10, temperature=1e-5)
    assert sharp.shape == (2, 13)
    assert torch.equal(sharp[:, :3], prompt)
    logits, _ = model(sharp)
    assert torch.equal(sharp[:, 3:], logits[:, 2:-1].argmax(dim=-1))
    torch.manual_seed(1)
    first = model.generate(prompt, 10)
    torch.manual_seed(1)
    assert torch.equal(model.generate(prompt, 10), first)
    drawn = model.generate(prompt[:1].expand(4000, 3), 1, temperature=2.0)[:, -1]
    wanted = (model(prompt[:1])[0][0, -1] / 2).softmax(dim=-1)
    torch.testing.assert_close(torch.bincount(drawn, minlength=5) / 4000, wanted, atol=0.04, rtol=0)


def test_learning_rate_falls_to_zero(tmp_path: Path) -> None:
    data = streams(tmp_path)
    model, rates = lstm(data.tokenizer.vocab_size, learning_rate=0.01), []

    def note(trainer: pl.Trainer, *_: Any) -> None:
        rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    watch = pl.callbacks.LambdaCallback(on_train_batch_start=note, on_train_end=note)
    training.fit(model, data, max_epochs=2, accelerator="cpu", callbacks=watch)
    assert rates[0] == pytest.approx(0.01)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_training_learns_the_text(tmp_path: Path) -> None:
    data = streams(tmp_path, batch_size=4, chunk=24)
    model = lstm(data.tokenizer.vocab_size, width=32, layers=1, learning_rate=0.02)
    history = training.fit(model, data, max_epochs=12, accelerator="cpu", gradient_clip_val=1.0)
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert model.nats_per_token(data.tokens["test"]) < 0.3  # the sentence comes again and again
    prompt = data.tokenizer.encode("the cat sat ")[None]
    written = data.tokenizer.decode(model.generate(prompt, 20, temperature=0.1)[0])
    assert written == "the cat sat on the mat and the d"


def test_recipe_trains_and_is_found_again() -> None:
    model, history = recurrent.train("smoke")
    again, tokenizer = recurrent.pretrained("smoke")
    assert isinstance(tokenizer, CharTokenizer)
    assert tokenizer.vocab_size == model.vocab_size == recurrent.recipe("smoke")["model"]["vocab_size"]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert history["val_loss"][-1] < math.log(tokenizer.vocab_size)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 0}, "order is 0; it takes a whole number ≥ 1"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"discount": 1.0}, r"discount is 1.0; it takes a number in \[0, 1\), or None"),
        ({"discount": -0.1}, "discount is -0.1"),
        ({"discount": math.nan}, "discount is nan"),
    ],
)
def test_bad_n_grams(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recurrent.NGram(**{"vocab_size": 5, "order": 2, **arguments})


@pytest.mark.bad_input
def test_n_grams_refuse_other_texts() -> None:
    model, empty = recurrent.NGram(5, 3), torch.empty(0, dtype=torch.long)
    for ask in (model.log_probabilities, model.nats_per_token, lambda tokens: model.sample(2, tokens)):
        with pytest.raises(ValueError, match=r"nothing has been counted; call fit\(tokens\) first"):
            ask(torch.tensor([0, 1]))
    for text in (empty, torch.tensor([0, 1]), torch.zeros(2, 5, dtype=torch.long)):
        with pytest.raises(ValueError, match="it takes a row of at least 3"):
            model.fit(text)
    with pytest.raises(ValueError, match=r"from 0 to 5 .* it takes whole numbers from 0 to 4"):
        model.fit(torch.tensor([0, 1, 5]))
    model.fit(torch.tensor([0, 1, 2, 3, 4]))
    for ask in (model.log_probabilities, model.nats_per_token, lambda tokens: model.sample(2, tokens)):
        with pytest.raises(ValueError, match=r"from -1 to 2 .* it takes whole numbers from 0 to 4"):
            ask(torch.tensor([-1, 2]))
    with pytest.raises(ValueError, match=r"torch.float32; it takes whole numbers"):
        model.log_probabilities(torch.tensor([1.0]))
    with pytest.raises(ValueError, match="it takes a row of at least 2"):
        model.nats_per_token(torch.tensor([1]))
    with pytest.raises(ValueError, match="count is 0"):
        model.sample(0)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width is 0"),
        ({"layers": 0}, "layers is 0"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"dropout": 1.0}, r"dropout is 1.0; it takes a number in \[0, 1\)"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
    ],
)
def test_bad_networks(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recurrent.RecurrentLanguageModel(**{"vocab_size": 5, **arguments})


@pytest.mark.bad_input
def test_networks_refuse_other_texts(tmp_path: Path) -> None:
    model, prompt = lstm(), torch.tensor([[0, 1]])
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=r"temperature is .*; it takes a number above 0"):
            model.generate(prompt, 3, temperature=temperature)
    with pytest.raises(ValueError, match="count is 0"):
        model.generate(prompt, 0)
    for wrong in (torch.empty(1, 0, dtype=torch.long), torch.tensor([0, 1])):
        with pytest.raises(ValueError, match=r"prompt has the shape .*; it takes \(batch, time\)"):
            model.generate(wrong, 3)
    with pytest.raises(ValueError, match=r"from 0 to 7 .* it takes whole numbers from 0 to 4"):
        model.generate(torch.tensor([[0, 7]]), 3)
    with pytest.raises(ValueError, match="from 0 to 7"):
        model.nats_per_token(torch.tensor([0, 7]))
    with pytest.raises(ValueError, match="it takes a row of at least 2"):
        model.nats_per_token(torch.tensor([1]))
    with pytest.raises(ValueError, match="chunk is 0"):
        model.nats_per_token(torch.tensor([1, 2]), chunk=0)
    with pytest.raises(ValueError, match="it takes whole numbers from 0 to 4"):  # the text has more characters
        training.fit(model, streams(tmp_path), max_epochs=1, accelerator="cpu")


@pytest.mark.bad_input
def test_bad_streams(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_size is 0"):
        streams(tmp_path, batch_size=0)
    with pytest.raises(ValueError, match="chunk is 0"):
        streams(tmp_path, chunk=0)
    with pytest.raises(
        ValueError, match=r"the train split has .* tokens; 4 streams of chunks of 5000 take at least 20001"
    ):
        streams(tmp_path, chunk=5000)
    with pytest.raises(ValueError, match=r"the validation split has .* tokens; 4 streams of chunks of 100 take .* 401"):
        streams(tmp_path, chunk=100)
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    with pytest.raises(ValueError, match="holds no text"):
        recurrent.StreamData(empty, batch_size=1, chunk=1)
    with pytest.raises(ValueError, match="profile is 'large'"):
        recurrent.recipe("large")
