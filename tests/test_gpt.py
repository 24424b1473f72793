"""The GPT: causality, rotary positions, the cache, sampling, GPT-2's weights, adapters."""

import math
from dataclasses import FrozenInstanceError
from itertools import islice, pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from aigc_course import gpt, lora, training
from aigc_course.data import TextData
from aigc_course.gpt2_weights import from_gpt2

STYLES = pytest.mark.parametrize(
    "style",
    [{"zero_output": False}, gpt.GPT2, {"zero_output": False, "key_value_heads": 1}],
    ids=["today", "gpt2", "shared keys"],
)


def config(**options: Any) -> gpt.GPTConfig:
    return gpt.GPTConfig(**{"vocab_size": 11, "context": 12, "layers": 2, "heads": 2, "width": 16, **options})


def small(**options: Any) -> gpt.GPT:
    """A model with weights large enough that its answers differ clearly."""
    torch.manual_seed(0)
    model = gpt.GPT(config(**{"zero_output": False, **options}))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return model.eval()


def tokens(batch: int, time: int) -> Tensor:
    return torch.randint(11, (batch, time), generator=torch.Generator().manual_seed(1))


# --- the model --------------------------------------------------------------------------------------------------------


@STYLES
def test_output_never_depends_on_later_input(style: dict[str, Any]) -> None:
    model, time = small(**style), 8
    stream = model.embedding(tokens(1, time)).detach().requires_grad_()
    model.embedding.forward = lambda _: stream  # type: ignore[method-assign,assignment]
    logits = model(tokens(1, time))
    for t in range(time):
        (gradient,) = torch.autograd.grad(logits[0, t].square().sum(), stream, retain_graph=True)
        felt = gradient[0].abs().sum(dim=1)
        assert (felt[: t + 1] > 0).all(), "each position sees itself and all before it"
        assert (felt[t + 1 :] == 0).all(), "and none after it"


def test_loss_is_the_mean_of_the_log_probabilities_by_hand() -> None:
    model, x, y = small(), tokens(3, 7), tokens(3, 8)[:, 1:]
    by_hand = [-model(x).log_softmax(-1)[b, t, y[b, t]] for b in range(3) for t in range(7)]
    torch.testing.assert_close(model.loss(x, y), torch.stack(by_hand).mean())


def test_at_first_every_token_is_equally_likely_unless_the_weights_are_tied() -> None:
    model = gpt.GPT(config(tied=False, zero_output=True))
    torch.testing.assert_close(model.loss(tokens(2, 9), tokens(2, 9)), torch.tensor(math.log(11)))
    x = model.embedding(tokens(2, 9))
    angles = gpt.rotary_angles(12, 8)[:9]
    assert torch.equal(model.blocks[0](x, (angles.cos(), angles.sin())), x), "a block hands its input on"
    tied = gpt.GPT(config(zero_output=True))
    # What is read comes out again: the last layer compares with the same vectors.
    assert torch.equal(tied(tokens(2, 9)).argmax(dim=-1), tokens(2, 9))


def test_attention_is_the_formula() -> None:
    attention = gpt.Attention(16, 2, bias=True, normalise_queries=False, dropout=0.0)
    x = torch.randn(3, 5, 16)
    q, k, v = (part.view(3, 5, 2, 8).transpose(1, 2) for part in attention.qkv(x).split(16, dim=-1))
    scores = (q @ k.transpose(-2, -1) / math.sqrt(8)).masked_fill(torch.ones(5, 5).triu(1).bool(), -math.inf)
    expected = attention.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(3, 5, 16))
    torch.testing.assert_close(attention(x), expected)


def test_normalised_queries_bound_the_scores() -> None:
    attention = gpt.Attention(16, 2, bias=False, normalise_queries=True, dropout=0.0)
    x = torch.randn(2, 5, 16)
    before = attention(x)
    with torch.no_grad():
        attention.qkv.weight[:32] *= 50  # queries and keys, not values
    torch.testing.assert_close(attention(x), before, msg="their length has no effect")


def test_shared_keys_and_values_are_those_of_a_model_that_repeats_them() -> None:
    options: dict[str, Any] = {"bias": False, "normalise_queries": True, "dropout": 0.0}
    shared = gpt.Attention(16, 4, **options, key_value_heads=2)
    whole = gpt.Attention(16, 4, **options)
    q, k, v = shared.qkv.weight.split([16, 8, 8])
    repeated = [part.view(2, 4, 16).repeat_interleave(2, dim=0).flatten(0, 1) for part in (k, v)]
    whole.load_state_dict({"qkv.weight": torch.cat([q, *repeated]), "out.weight": shared.out.weight})
    x = torch.randn(3, 5, 16)
    torch.testing.assert_close(shared(x), whole(x))
    assert gpt.GPT(config(heads=4, key_value_heads=1)).new_cache(2)[0].extend(
        torch.ones(2, 1, 3, 4), torch.ones(2, 1, 3, 4)
    )[0].shape == (2, 1, 3, 4)


@settings(max_examples=25, deadline=None)
@given(first=st.integers(0, 20), second=st.integers(0, 20), shift=st.integers(0, 40))
def test_rotated_products_depend_on_the_distance_only(first: int, second: int, shift: int) -> None:
    angles = gpt.rotary_angles(64, 8)
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))

    def turned(x: Tensor, position: int) -> Tensor:
        return gpt.rotate(x[None], *(part[position : position + 1] for part in (angles.cos(), angles.sin())))[0]

    here = turned(q, first) @ turned(k, second)
    there = turned(q, first + shift) @ turned(k, second + shift)
    torch.testing.assert_close(here, there, atol=1e-4, rtol=0)
    torch.testing.assert_close(turned(q, first).norm(), q.norm())


def test_rotary_angles_are_the_papers() -> None:
    angles = gpt.rotary_angles(5, 4)
    torch.testing.assert_close(angles, torch.outer(torch.arange(5.0), torch.tensor([1.0, 10_000**-0.5])))


def test_number_of_weights() -> None:
    for tied in (True, False):
        model = gpt.GPT(gpt.GPTConfig(65, 64, tied=tied))
        matrices = 4 * 12 * 128**2 + (2 - tied) * 65 * 128
        assert sum(weight.numel() for weight in model.parameters()) == matrices + (2 * 4 + 1) * 128


def test_a_gated_layer_has_as_many_weights_and_is_the_product_of_its_halves() -> None:
    counts = {
        activation: sum(weight.numel() for weight in gpt.GPT(gpt.GPTConfig(65, 64, activation=activation)).parameters())
        for activation in ("squared_relu", "swiglu")
    }
    assert counts["swiglu"] == pytest.approx(counts["squared_relu"], rel=1e-3)
    x = torch.randn(3, 10)
    expected = x[:, :5] * torch.sigmoid(x[:, :5]) * x[:, 5:]
    torch.testing.assert_close(gpt.SwiGLU()(x), expected)


def test_the_presets_name_the_same_choices_and_the_defaults_are_todays() -> None:
    assert gpt.TODAY.keys() == gpt.GPT2.keys()
    assert gpt.GPTConfig(65, 64, **gpt.TODAY) == gpt.GPTConfig(65, 64)
    with pytest.raises(FrozenInstanceError):
        gpt.GPTConfig(65, 64).width = 3  # type: ignore[misc]


def test_tied_weights_are_one() -> None:
    model = small(**gpt.GPT2)
    assert model.head.weight is model.embedding.weight


def test_weight_decay_is_for_matrices_only() -> None:
    data = TextData(context=16, batch_size=4, limit=200)
    model = gpt.build(vocab_size=data.tokenizer.vocab_size, context=16, layers=1, heads=2, width=8)
    training.fit(model, data, max_epochs=1, limit_val_batches=0)
    decays = {
        weight: group["weight_decay"]
        for group in model.trainer.optimizers[0].param_groups
        for weight in group["params"]
    }
    assert len(decays) == len(list(model.parameters()))
    assert all((decays[weight] > 0) == (weight.ndim == 2) for weight in model.parameters())


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [gpt.NextTokenTraining(small(), warmup=0.25).rate(share / 100) for share in range(101)]
    assert 0 < rates[0] < 0.01
    assert all(a < b for a, b in pairwise(rates[:26]))
    assert rates[25] == 1
    assert all(a > b for a, b in pairwise(rates[25:]))
    assert rates[100] == 0
    assert gpt.NextTokenTraining(small(), warmup=1.0).rate(1.0) == 1


def test_it_learns_the_text() -> None:
    data = TextData(context=32, batch_size=16, limit=30_000)
    torch.manual_seed(0)
    apart: dict[str, Any] = {"tied": False, "embedding_std": 1.0}  # which learns fastest at first
    sizes = gpt.GPTConfig(data.tokenizer.vocab_size, 32, layers=2, heads=2, width=32, **apart)
    model = gpt.GPT(sizes)
    history = training.fit(gpt.NextTokenTraining(model, learning_rate=1e-2), data, max_epochs=5, limit_val_batches=20)
    counts = data.tokens["validation"].bincount().float()
    alone = torch.distributions.Categorical(counts).entropy()  # what a model could know without seeing the past
    assert history["val_loss"][-1] < alone - 0.5
    again = gpt.GPT(sizes)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(data.tokens["test"][None, :32]), model(data.tokens["test"][None, :32]))


# --- generation -------------------------------------------------------------------------------------------------------


@STYLES
def test_logits_with_and_without_cache_agree(style: dict[str, Any]) -> None:
    model, row = small(**style), tokens(3, 12)
    cache = model.new_cache(3)
    with torch.no_grad():
        pieces = [model(piece, cache) for piece in row.split([4, 1, 5, 1, 1], dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), model(row))
    assert [layer.length for layer in cache] == [12, 12]


def test_without_a_cache_none_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpt.GPT, "new_cache", lambda *_: pytest.fail("a cache was made"))
    gpt.generate(small(), tokens(1, 3), 2, cache=False)


def test_a_cast_leaves_the_angles_in_single_precision() -> None:
    model = gpt.NextTokenTraining(gpt.GPT(config(context=1024))).to(torch.bfloat16).model
    assert model(tokens(1, 9)).dtype == torch.bfloat16
    assert model.angles.dtype == torch.float32
    assert torch.equal(model.angles, gpt.rotary_angles(1024, 8))


@STYLES
@pytest.mark.parametrize("greedy", [True, False])
def test_tokens_with_and_without_cache_are_the_same(style: dict[str, Any], greedy: bool) -> None:
    model = small(**style)
    texts = []
    for cache in (True, False):
        torch.manual_seed(5)
        # More than the context of 12: the older half is forgotten several times.
        texts.append(gpt.generate(model, tokens(4, 3), 40, cache=cache, greedy=greedy))
    assert torch.equal(*texts)
    assert texts[0].shape == (4, 43)
    assert len(texts[0].unique()) > 3, "a model that repeats one token would prove nothing"


def test_greedy_takes_the_most_likely_token_of_the_whole_past() -> None:
    model, row = small(), tokens(1, 4)
    for token in islice(gpt.stream(model, row, greedy=True), 8):
        assert token == model(row)[:, -1].argmax(-1)
        row = torch.cat([row, token[:, None]], dim=1)


def test_a_full_context_forgets_its_older_half() -> None:
    model, row = small(context=6), tokens(1, 6)
    stream = gpt.stream(model, row, greedy=True)
    first, second = next(stream), next(stream)
    window = torch.cat([row[:, 3:], first[:, None]], dim=1)
    assert second == model(window)[:, -1].argmax(-1)


def test_generation_leaves_the_mode_of_the_model() -> None:
    model = small(dropout=0.5).train()
    stream = gpt.stream(model, tokens(1, 3), greedy=True)
    first = next(stream)
    assert model.training, "whether the stream is read to its end, closed, or forgotten"
    assert torch.equal(first, model.eval()(tokens(1, 3))[:, -1].argmax(-1))


def test_draws_follow_the_probabilities() -> None:
    model = small()
    expected = gpt.next_token_probabilities(model(tokens(1, 4))[:, -1], temperature=1.3, top_k=5)[0]
    drawn = next(gpt.stream(model, tokens(1, 4).expand(20_000, -1), temperature=1.3, top_k=5))
    share = drawn.bincount(minlength=11) / 20_000
    torch.testing.assert_close(share, expected.detach(), atol=0.015, rtol=0)  # four standard errors


def test_top_k_and_top_p_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.2, 0.25, 0.05]]).log()
    cut = gpt.next_token_probabilities
    torch.testing.assert_close(cut(logits), logits.exp())
    torch.testing.assert_close(cut(logits, top_k=2), torch.tensor([[2 / 3, 0, 1 / 3, 0]]))
    torch.testing.assert_close(cut(logits, top_p=0.75), torch.tensor([[2 / 3, 0, 1 / 3, 0]]))
    torch.testing.assert_close(cut(logits, top_p=0.76), torch.tensor([[0.5, 0.2, 0.25, 0]]) / 0.95)
    torch.testing.assert_close(cut(logits, top_p=0.01), torch.tensor([[1.0, 0, 0, 0]]))
    torch.testing.assert_close(cut(logits, top_k=100, top_p=1.0), logits.exp())
    many = torch.randn(1, 50_257, generator=torch.Generator().manual_seed(0))  # whose sums do not end at 1 exactly
    assert (cut(many, top_p=1.0) > 0).all()
    halved = logits.exp().square()
    torch.testing.assert_close(cut(logits, temperature=0.5), halved / halved.sum())


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    temperature=st.floats(0.1, 5),
    top_k=st.none() | st.integers(1, 12),
    top_p=st.none() | st.floats(0.01, 1),
)
def test_what_is_kept_sums_to_one_and_keeps_its_order(
    seed: int, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    logits = torch.randn(3, 9, generator=torch.Generator().manual_seed(seed))
    result = gpt.next_token_probabilities(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    torch.testing.assert_close(result.sum(-1), torch.ones(3))
    assert torch.equal(result.argmax(-1), logits.argmax(-1))
    plain = (logits / temperature).softmax(-1)
    for row, whole in zip(result, plain, strict=True):
        kept = row > 0
        torch.testing.assert_close(row[kept], whole[kept] / whole[kept].sum())
        if top_k is not None:
            assert kept.sum() <= top_k
        if top_p is not None and top_k is None:
            assert whole[kept].sum() >= top_p - 1e-5
            assert kept.sum() == 1 or whole[kept].sum() - whole[kept].min() < top_p + 1e-5


def test_nats_per_token_counts_each_token_once() -> None:
    model = small(context=8)
    for length in (2, 5, 8, 9, 13, 40):
        row = tokens(1, length)[0]
        expected, seen = 0.0, 0
        for start in [*range(0, max(1, length - 8), 4), max(0, length - 9)]:
            window = row[start : start + 9]
            losses = F.cross_entropy(model(window[None, :-1])[0], window[1:], reduction="none").tolist()
            end = start + len(window) - 1
            expected += sum(losses[len(losses) - (end - seen) :]) if end > seen else 0.0
            seen = max(seen, end)
        assert seen == length - 1
        assert model.nats_per_token(row, batch_size=2) == pytest.approx(expected / (length - 1), rel=1e-5)


# --- GPT-2's weights ------------------------------------------------------------------------------------------------


def test_weights_of_a_hugging_face_gpt2() -> None:
    # With twelve layers, as GPT-2 has: sorted by name, layer 10 would come before layer 2.
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=50, n_positions=24, n_embd=32, n_layer=12, n_head=4)
    theirs = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for weight in theirs.parameters():  # fresh biases are 0 and gains 1: a swap of two would not show
            weight.add_(torch.randn_like(weight) * 0.1)
    row = torch.randint(50, (2, 24))
    ours = from_gpt2(theirs.state_dict(), heads=4)
    expected = theirs(row).logits
    assert expected.std() > 0.5
    torch.testing.assert_close(ours(row), expected, atol=1e-4, rtol=0)
    assert ours.config.learning_rate == 5e-5  # to be tuned further, not trained
    # The file on the hub has no prefix and no copy of the tied matrix.
    bare = {name: weight for name, weight in theirs.transformer.state_dict().items()}
    assert torch.equal(from_gpt2(bare, heads=4)(row), ours(row))


# --- adapters ---------------------------------------------------------------------------------------------------------


def test_adapters_begin_without_effect_and_few_weights_are_trained() -> None:
    model, row = small(width=32), tokens(2, 9)
    before, total = model(row), sum(weight.numel() for weight in model.parameters())
    assert lora.add_adapters(model, 1) is model
    torch.testing.assert_close(model(row), before)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    # Four matrices a block: (32 → 96), (32 → 32), (32 → 128), (128 → 32); each gets inputs + outputs.
    assert trained == 2 * (128 + 64 + 160 + 160)
    assert trained < total / 10


def test_only_adapters_move_and_merging_keeps_the_function() -> None:
    data = TextData(context=12, batch_size=8, limit=800)
    torch.manual_seed(0)
    sizes = config(vocab_size=data.tokenizer.vocab_size, zero_output=False)
    model = gpt.GPT(sizes)
    old = {name: weight.clone() for name, weight in model.state_dict().items()}
    training.fit(gpt.NextTokenTraining(lora.add_adapters(model, 2)), data, max_epochs=2, limit_val_batches=0)
    row = data.tokens["test"][None, :12]
    adapted = model(row)
    for name, weight in model.state_dict().items():
        plain = name.replace(".linear.", ".")
        assert plain not in old or torch.equal(weight, old[plain]), f"{name} was to stay"
    merged = lora.merge_adapters(model)
    torch.testing.assert_close(merged(row), adapted, atol=1e-5, rtol=1e-4)
    assert merged.state_dict().keys() == old.keys()
    assert all(weight.requires_grad for weight in merged.parameters())
    assert not torch.allclose(merged(row), gpt.GPT(sizes)(row))
    assert any(not torch.equal(merged.state_dict()[name], weight) for name, weight in old.items())


def test_merging_a_layer_again_gives_the_same_and_draws_no_random_numbers() -> None:
    layer = lora.LowRankLinear(torch.nn.Linear(6, 5), 2, 4.0)
    torch.nn.init.normal_(layer.up)
    x, before = torch.randn(3, 6), torch.get_rng_state()
    for merged in (layer.merged(), layer.merged()):
        torch.testing.assert_close(merged(x), layer(x))
        assert all(weight.requires_grad for weight in merged.parameters())
    assert torch.equal(torch.get_rng_state(), before)
    assert not layer.linear.weight.requires_grad


# --- the course's model -----------------------------------------------------------------------------------------------


def test_pretrained_comes_from_the_cache_with_its_tokenizer() -> None:
    model, tokenizer = gpt.pretrained("smoke")
    again, _ = gpt.pretrained("smoke")
    prompt = tokenizer.encode('The "')[None]
    assert torch.equal(*(gpt.generate(each, prompt, 5, greedy=True) for each in (model, again)))
    assert model.config.vocab_size == tokenizer.vocab_size
    assert tokenizer.decode(prompt[0]) == 'The "'


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "layers is 0; it takes a whole number ≥ 1"),
        (
            {"width": 18, "heads": 4, "positions": "learned"},
            "width is 18, which 4 heads cannot share; .* multiple of 4",
        ),
        ({"width": 12, "heads": 4}, "width is 12, .* multiple of 8, twice because rotary"),
        ({"heads": 4, "key_value_heads": 3}, "key_value_heads is 3; it takes a divisor of the 4 heads"),
        ({"key_value_heads": 0}, "key_value_heads is 0; it takes a whole number"),
        ({"positions": "sinus"}, "positions is 'sinus'; it takes 'rotary' or 'learned'"),
        ({"normalisation": "batch"}, "normalisation is 'batch'"),
        ({"activation": "relu"}, "activation is 'relu'"),
        ({"dropout": 1.0}, r"dropout is 1.0; it takes a number in \[0, 1\)"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it takes a number above 0"),
        ({"embedding_std": 0.0}, "embedding_std is 0.0; it takes a number above 0"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gpt.GPTConfig(11, 12, **options)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup": 1.5}, "warmup is 1.5"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0; it takes a number above 0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
    ],
)
def test_wrong_training(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gpt.NextTokenTraining(small(), **options)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; it takes a number above 0"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0; it takes a whole number ≥ 1"),
        ({"top_p": 0.0}, r"top_p is 0.0; it takes a number in \(0, 1\]"),
        ({"top_p": 1.1}, "top_p is 1.1"),
    ],
)
def test_wrong_choices_are_said_at_the_call(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gpt.stream(small(), tokens(1, 3), **choice)
    with pytest.raises(ValueError, match=message):
        gpt.next_token_probabilities(torch.zeros(1, 3), **choice)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (torch.zeros(1, 13, dtype=torch.long), r"\(1, 13\).* 1 to 12 tokens, the model's context. Shorten"),
        (torch.zeros(1, 0, dtype=torch.long), r"\(1, 0\)"),
        (torch.zeros(3, dtype=torch.long), r"\(3,\).*\(batch, time\)"),
        (torch.tensor([[1, 11]]), "from 1 to 11 .* whole numbers from 0 to 10"),
    ],
)
def test_wrong_prompts(prompt: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gpt.stream(small(), prompt)


@pytest.mark.bad_input
def test_other_wrong_input() -> None:
    model = small()
    with pytest.raises(ValueError, match="count is 0"):
        gpt.generate(model, tokens(1, 3), 0)
    with pytest.raises(ValueError, match="tokens holds 13 per row; the model's context takes 1 to 12"):
        model(tokens(1, 13))
    with pytest.raises(IndexError):
        model(torch.tensor([[11]]))
    cache = model.new_cache(1)
    model(tokens(1, 8), cache)
    with pytest.raises(ValueError, match="tokens holds 5 per row after 8 in the cache"):
        model(tokens(1, 5), cache)
    with pytest.raises(ValueError, match="a row of at least two"):
        model.nats_per_token(tokens(1, 1)[0])
    with pytest.raises(ValueError, match="from 0 to 10"):
        model.nats_per_token(torch.tensor([3, 12, 4]))
    with pytest.raises(ValueError, match="the checkpoint has a vocabulary of 11 tokens, the model one of 12"):
        gpt.GPT(config(vocab_size=12)).load_state_dict(model.state_dict())
    data = TextData(context=12, batch_size=8, limit=800)
    with pytest.raises(ValueError, match="whole numbers from 0 to 10"):
        training.fit(gpt.NextTokenTraining(model), data, max_epochs=1)


@pytest.mark.bad_input
def test_weights_that_are_not_gpt2s() -> None:
    with pytest.raises(ValueError, match=r"lack wpe.weight, wte.weight; they are not those of a GPT-2"):
        from_gpt2({}, heads=2)
    weights = {"wte.weight": torch.zeros(5, 4), "wpe.weight": torch.zeros(3, 4), "h.0.ln_1.weight": torch.zeros(4)}
    with pytest.raises(ValueError, match=r"the weight h.0.ln_1.bias is missing; \(4,\) was expected"):
        from_gpt2(weights, heads=2)


@pytest.mark.bad_input
def test_wrong_adapters() -> None:
    with pytest.raises(ValueError, match="rank is 0"):
        lora.add_adapters(small(), 0)
    with pytest.raises(ValueError, match="alpha is 0"):
        lora.add_adapters(small(), 1, alpha=0.0)
    with pytest.raises(ValueError, match="has adapters already; merge them first"):
        lora.add_adapters(lora.add_adapters(small(), 1), 1)
