"""WaveNet: causality, receptive field by gradients, cached and plain generation; linear prediction; bad input."""

import math
from typing import Any, cast

import pytest
import torch

from aigc_course import training, wavenet
from aigc_course.data.audio import PlayedTunes, mu_law_encode


def net(**options: Any) -> wavenet.WaveNet:
    torch.manual_seed(0)
    small = {"levels": 16, "channels": 6, "skip": 8, "dilations": (1, 2, 4, 1, 2, 4)}
    return wavenet.WaveNet(**{**small, **options}).eval()


def test_receptive_field_is_what_gradients_reach() -> None:
    model, length = net().double(), 40
    embedded = torch.randn(1, length, 6, dtype=torch.double, requires_grad=True)
    model.embedding = torch.nn.Identity()  # type: ignore[assignment]
    h, total = embedded.transpose(1, 2), 0.0
    for layer in model.layers:
        h, skip = layer(h, None)
        total = total + skip
    (gradient,) = torch.autograd.grad(model.head(total)[0, :, 30].sum(), embedded)
    reached = gradient[0].abs().sum(dim=1).nonzero()[:, 0]
    assert model.receptive_field == 15
    assert reached.tolist() == list(range(30 - 14, 31))


@pytest.mark.parametrize("num_conditions", [0, 3])
def test_cached_generation_draws_the_same_samples(num_conditions: int) -> None:
    model = net(num_conditions=num_conditions)
    prompt = torch.randint(16, (2, 5))
    conditions = torch.randint(3, (2, 45)) if num_conditions else None
    for temperature in (0.0, 1.0):
        drawn = []
        for cached in (True, False):
            torch.manual_seed(1)
            drawn.append(model.generate(prompt, 40, conditions, temperature=temperature, cached=cached))
        assert torch.equal(*drawn)
        assert torch.equal(drawn[0][:, :5], prompt)
        logits = model(drawn[0][:, :-1], None if conditions is None else conditions[:, 1:])
        if temperature == 0:
            assert torch.equal(logits.argmax(dim=1)[:, 4:], drawn[0][:, 5:])


def test_cached_logits_are_the_plain_ones() -> None:
    model, x = net(num_conditions=3).double(), torch.randint(16, (2, 50))
    conditions = torch.randint(3, (2, 50))
    cache = wavenet._Cache(model, 2)
    stepped = torch.stack([cache.step(x[:, t : t + 1], conditions[:, t : t + 1]) for t in range(50)], dim=2)
    torch.testing.assert_close(stepped, model(x, conditions))


def test_samples_follow_the_probabilities() -> None:
    model = net()
    last = cast(torch.nn.Conv1d, model.head[-1])
    with torch.no_grad():
        last.weight.zero_()
        cast(torch.Tensor, last.bias)[:] = torch.tensor([math.log(3.0), 0.0] + 14 * [-100.0])
    for temperature, share in ((1.0, 1 / 4), (0.5, 1 / 10)):
        drawn = model.generate(torch.zeros(500, 1, dtype=torch.long), 6, temperature=temperature)[:, 1:]
        assert float((drawn == 1).float().mean()) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("num_conditions", [0, 3])
def test_bits_do_not_depend_on_the_chunk(num_conditions: int) -> None:
    model, samples = net(num_conditions=num_conditions), torch.randint(16, (200,))
    conditions = torch.randint(3, (200,)) if num_conditions else None
    found = [model.bits_per_sample(samples, conditions, chunk=chunk) for chunk in (1000, 199, 37, 1)]
    logits = model(samples[None, :-1], None if conditions is None else conditions[None, 1:])
    expected = torch.nn.functional.cross_entropy(logits, samples[None, 1:]) / math.log(2)
    assert found == pytest.approx([float(expected.detach())] * 4, rel=1e-5)


def test_training_learns_a_wave_and_its_condition() -> None:
    class Waves(PlayedTunes):
        """A saw tooth that rises, or one that falls, as the condition says."""

        def __init__(self) -> None:
            super(PlayedTunes, self).__init__()
            self.context, self.batch_size = 64, 8
            turns = torch.arange(8000) // 80 % 2
            rows = torch.where(turns == 0, torch.arange(8000) % 16, -torch.arange(8000) % 16)
            self.samples = dict.fromkeys(("train", "validation", "test"), rows)
            self.conditions = dict.fromkeys(("train", "validation", "test"), turns)

    model, data = net(num_conditions=2, learning_rate=1e-2), Waves()
    training.fit(model, data, max_epochs=25, seed=0, enable_progress_bar=False)
    assert model.bits_per_sample(data.samples["test"], data.conditions["test"]) < 0.2
    conditions = torch.tensor([[0] * 30 + [1] * 30])
    drawn = model.generate(torch.tensor([[3]]), 59, conditions, temperature=0.0)[0]
    steps = drawn.diff() % 16
    assert (steps[3:28] == 1).all()
    assert (steps[33:] == 15).all()


# --- linear prediction ------------------------------------------------------------------------------------------------


def test_linear_prediction_finds_the_rule_of_a_wave() -> None:
    # A sine obeys s_t = 2 cos(ω) s_{t-1} - s_{t-2} exactly; rounding and the term on the diagonal blur it a little.
    samples = mu_law_encode(0.9 * torch.sin(0.3 * torch.arange(20_000)), 65_536)
    model = wavenet.LinearPrediction(2, 65_536).fit(samples)
    assert model.weights.tolist() == pytest.approx([2 * math.cos(0.3), -1.0], abs=2e-3)


def test_levels_have_probabilities_that_sum_to_one() -> None:
    torch.manual_seed(0)
    walk = (torch.randn(3000).cumsum(0) / 60).tanh() * 0.9
    samples = mu_law_encode(walk, 32)
    model = wavenet.LinearPrediction(3, 32).fit(samples[:2000])
    past = samples[2000:2003]
    bits = torch.tensor([model.bits_per_sample(torch.cat([past, torch.tensor([level])])) for level in range(32)])
    assert float((2.0**-bits).sum()) == pytest.approx(1, abs=1e-4)


def test_linear_prediction_of_noise_costs_what_noise_holds() -> None:
    torch.manual_seed(0)
    samples = torch.randint(16, (20_000,))
    model = wavenet.LinearPrediction(4, 16).fit(samples)
    assert 4.0 <= model.bits_per_sample(torch.randint(16, (20_000,))) < 4.8
    silent = torch.full((2000,), 8)
    assert wavenet.LinearPrediction(4, 16).fit(silent).bits_per_sample(silent) < 0.05


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 1}, "levels is 1"),
        ({"channels": 0}, "channels is 0"),
        ({"skip": 0}, "skip is 0"),
        ({"dilations": ()}, "dilations is empty"),
        ({"dilations": (1, 0)}, "a dilation is 0"),
        ({"num_conditions": -1}, "num_conditions is -1"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        net(**options)


@pytest.mark.bad_input
def test_wrong_input() -> None:
    plain, conditional, x = net(), net(num_conditions=3), torch.zeros(2, 9, dtype=torch.long)
    with pytest.raises(ValueError, match="conditions are given; the model takes none"):
        plain(x, x)
    with pytest.raises(ValueError, match="conditions are missing; the model takes one below 3"):
        conditional(x)
    with pytest.raises(ValueError, match=r"conditions has the shape \(2, 8\), the samples \(2, 9\)"):
        conditional(x, x[:, 1:])
    for batch in ((x + 16, x), (x, x + 16)):
        with pytest.raises(ValueError, match="whole numbers from 0 to 15"):
            plain.training_step(batch, 0)
    with pytest.raises(ValueError, match="whole numbers from 0 to 2"):
        conditional.training_step((x, x, x + 3), 0)
    for prompt in (x[0], x[:, :0]):
        with pytest.raises(ValueError, match=r"it takes \(batch, time\), both at least 1"):
            plain.generate(prompt, 3)
    with pytest.raises(ValueError, match="count is 0"):
        plain.generate(x, 0)
    with pytest.raises(ValueError, match="temperature is -1"):
        plain.generate(x, 3, temperature=-1.0)
    with pytest.raises(ValueError, match="a row of at least two"):
        plain.bits_per_sample(x[0, :1])
    with pytest.raises(ValueError, match="chunk is 0"):
        plain.bits_per_sample(x[0], chunk=0)


@pytest.mark.bad_input
def test_wrong_input_of_linear_prediction() -> None:
    with pytest.raises(ValueError, match="order is 0"):
        wavenet.LinearPrediction(0)
    model = wavenet.LinearPrediction(4)
    with pytest.raises(ValueError, match="nothing has been fitted"):
        model.bits_per_sample(torch.arange(10))
    with pytest.raises(ValueError, match="a row of at least 8"):
        model.fit(torch.arange(7))
    model.fit(torch.arange(100))
    with pytest.raises(ValueError, match="a row of over 4"):
        model.bits_per_sample(torch.arange(4))
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        model.bits_per_sample(torch.arange(300))
