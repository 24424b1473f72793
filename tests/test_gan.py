"""Adversarial networks: losses and penalties against mathematics, sizes, whose weights learn, training, bad input."""

import copy
import math
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from aigc_course import gan, training
from aigc_course.data import ImageData, RingData, ring_centres
from aigc_course.metrics import ring_coverage

LOGITS = st.lists(st.floats(-30, 30), min_size=1, max_size=8).map(lambda values: torch.tensor(values).double())


def dense(**options: Any) -> gan.GAN:
    torch.manual_seed(0)
    return gan.GAN(gan.DenseGenerator(3, (2,), width=8), gan.DenseDiscriminator((2,), width=8), **options)


# The conditioning of a generator, and the one of the discriminator that it plays against.
WAYS = [("batch_norm", "projection"), ("concatenation", "concatenation")]


def convolutional(num_classes: int = 0, ways: tuple[str, str] = WAYS[0], **options: Any) -> gan.GAN:
    torch.manual_seed(0)
    network: dict[str, Any] = {"channels": 2, "num_classes": num_classes}
    return gan.GAN(
        gan.ConvGenerator(5, (1, 28, 28), conditioning=ways[0], **network),
        gan.ConvDiscriminator((1, 28, 28), conditioning=ways[1], **network),
        **options,
    )


def pictures(n: int = 6) -> Tensor:
    return 2 * torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(1)) - 1


# --- losses -----------------------------------------------------------------------------------------------------------


@given(real=LOGITS, fake=LOGITS)
def test_losses_are_the_formulas(real: Tensor, fake: Tensor) -> None:
    log_d, log_1_d = nn.functional.logsigmoid, lambda logits: nn.functional.logsigmoid(-logits)
    torch.testing.assert_close(gan.discriminator_loss(real, fake), -log_d(real).mean() - log_1_d(fake).mean())
    torch.testing.assert_close(gan.saturating_loss(fake), log_1_d(fake).mean())
    torch.testing.assert_close(gan.non_saturating_loss(fake), -log_d(fake).mean())
    torch.testing.assert_close(gan.critic_loss(real, fake), fake.mean() - real.mean())
    torch.testing.assert_close(gan.critic_generator_loss(fake), -fake.mean())
    margins = (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
    torch.testing.assert_close(gan.hinge_loss(real, fake), margins)


@given(fake=LOGITS)
def test_slopes_at_the_logit(fake: Tensor) -> None:
    fake = fake.requires_grad_()
    (saturating,) = torch.autograd.grad(gan.saturating_loss(fake), fake)
    (non_saturating,) = torch.autograd.grad(gan.non_saturating_loss(fake), fake)
    torch.testing.assert_close(saturating, -fake.sigmoid() / len(fake))
    torch.testing.assert_close(non_saturating, (fake.sigmoid() - 1) / len(fake))


def test_the_discriminator_that_guesses_pays_log_4() -> None:
    undecided = torch.zeros(7)
    assert gan.discriminator_loss(undecided, undecided).item() == pytest.approx(math.log(4))


def test_losses_stay_finite_where_sigmoids_are_0_or_1() -> None:
    sure = torch.tensor([200.0, -200.0])
    for loss in (gan.discriminator_loss(sure, sure), gan.saturating_loss(sure), gan.non_saturating_loss(sure)):
        assert torch.isfinite(loss)


def test_best_discriminator_of_two_discrete_distributions() -> None:
    """Lowering the loss leads to D* = p / (p + q), where the value of the game is 2 JSD - log 4."""
    p, q = torch.tensor([0.5, 0.4, 0.1]), torch.tensor([0.1, 0.3, 0.6])
    logits = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")
    # Every outcome as often as its probability says, in ten.
    real_index, fake_index = (torch.arange(3).repeat_interleave((10 * r).round().long()) for r in (p, q))

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = gan.discriminator_loss(logits[real_index], logits[fake_index])
        value.backward()
        return value

    optimizer.step(loss)
    torch.testing.assert_close(logits.sigmoid(), p / (p + q), atol=1e-3, rtol=0)
    middle = (p + q) / 2
    jsd = 0.5 * (p * (p / middle).log()).sum() + 0.5 * (q * (q / middle).log()).sum()
    assert -float(loss().detach()) == pytest.approx(float(2 * jsd) - math.log(4), abs=1e-5)


PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6)
COUNTS = PAIRS.map(lambda pairs: torch.tensor(pairs).T).filter(lambda counts: bool((counts.sum(dim=1) > 0).all()))


@given(counts=COUNTS)
def test_best_hinge_discriminator_of_two_discrete_distributions(counts: Tensor) -> None:
    """No scores have a lower loss than the sign of p - q, whose loss is 2 (1 - total variation distance)."""
    p, q = counts / counts.sum(dim=1, keepdim=True).double()

    def loss(scores: Tensor) -> float:  # every outcome as often as its probability says
        return gan.hinge_loss(*(scores.repeat_interleave(count) for count in counts)).item()

    best = loss((p - q).sign())
    assert best == pytest.approx(2 * (1 - 0.5 * (p - q).abs().sum().item()), abs=1e-9)
    for _ in range(20):
        assert loss((p - q).sign() + torch.randn(len(p)).double()) >= best - 1e-9


def test_the_hinge_generator_lowers_the_total_variation_distance() -> None:
    """Against the best scores, the slope of its loss with respect to q is that of 2 T."""
    p = torch.tensor([0.5, 0.4, 0.1]).double()
    logits = torch.tensor([0.2, -0.3, 0.4]).double().requires_grad_()
    q = logits.softmax(dim=0)
    scores = (p - q).sign().detach()
    losses = torch.stack([gan.critic_generator_loss(score[None]) for score in scores])
    (found,) = torch.autograd.grad((q * losses).sum(), logits)
    (expected,) = torch.autograd.grad((p - logits.softmax(dim=0)).abs().sum(), logits)
    torch.testing.assert_close(found, expected)


# --- the gradient penalty ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 3.0])
def test_penalty_of_a_linear_critic(slope: float) -> None:
    direction = torch.randn(2, 3, 3).double()
    direction = slope * direction / direction.norm()
    x = torch.randn(2, 4, 2, 3, 3).double()
    penalty = gan.gradient_penalty(lambda t: (t * direction).sum(dim=(1, 2, 3)), x[0], x[1])
    assert penalty.item() == pytest.approx((slope - 1) ** 2, abs=1e-12)


def test_penalty_is_taken_between_the_two_examples() -> None:
    real, fake, mix = torch.tensor([[4.0], [1.0]]), torch.tensor([[2.0], [5.0]]), torch.tensor([0.25, 0.5])
    # f(x) = x²/2 has the slope x: at 0.25·4 + 0.75·2 = 2.5 and at 3.
    penalty = gan.gradient_penalty(lambda x: x.square().sum(dim=1) / 2, real, fake, mix)
    assert penalty.item() == pytest.approx((1.5**2 + 2**2) / 2)


def test_penalty_teaches_the_critic_and_nobody_else() -> None:
    critic = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
    real = torch.randn(5, 2, requires_grad=True)
    fake = torch.randn(5, 2, requires_grad=True)
    gan.gradient_penalty(critic, real, fake).backward()
    layer = critic[0]
    assert isinstance(layer, nn.Linear)
    assert layer.weight.grad is not None
    expected = 2 * (1 - 1 / layer.weight.norm()) * layer.weight  # the gradient of (|w| - 1)²
    torch.testing.assert_close(layer.weight.grad, expected.detach())
    assert real.grad is None
    assert fake.grad is None


@pytest.mark.parametrize("shape", [(2,), (2, 3, 3)])
def test_r1_of_a_linear_discriminator(shape: tuple[int, ...]) -> None:
    direction, x = torch.randn(shape).double(), torch.randn(4, *shape).double()
    penalty = gan.r1_penalty(lambda t: (t * direction).flatten(1).sum(dim=1), x)
    assert penalty.item() == pytest.approx(direction.square().sum().item() / 2)


def test_r1_is_taken_at_the_real_examples_and_teaches_the_discriminator_alone() -> None:
    real = torch.tensor([[3.0], [1.0]], requires_grad=True)
    weight = torch.tensor(2.0, requires_grad=True)
    penalty = gan.r1_penalty(lambda x: weight * x.square().sum(dim=1) / 2, real)  # with the slope 2x
    assert penalty.item() == pytest.approx(4 * (3**2 + 1**2) / 2 / 2)
    penalty.backward()
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(2 * (3**2 + 1**2) / 2)
    assert real.grad is None


@pytest.mark.parametrize("loss", gan.LOSSES)
def test_r1_joins_any_loss(loss: str) -> None:
    plain, bound = dense(loss=loss), dense(loss=loss, r1=3.0)
    x, labels, turns = torch.randn(6, 2), torch.zeros(6), []
    for model in (plain, bound):
        torch.manual_seed(1)
        turns.append(model.discriminator_turn(x, labels))
    torch.testing.assert_close(turns[1] - turns[0], 3 * gan.r1_penalty(plain.discriminator, x), rtol=1e-4, atol=1e-6)
    history = training.fit(bound, RingData(batch_size=8, batches=1), max_epochs=1, accelerator="cpu")
    assert "r1" in history


@pytest.mark.parametrize(("rate", "radius"), [(0.0, 1.0), (1.0, 0.0)])
def test_r1_brings_the_smallest_game_to_rest(rate: float, radius: float) -> None:
    """One weight each, a datum at 0, a sample at theta, the logit psi x: without R1 the two circle for ever."""
    datum, sample = torch.zeros(1, 1), nn.Parameter(torch.ones(1, 1))
    weight = nn.Parameter(torch.zeros(1))

    def logit(x: Tensor) -> Tensor:
        return (weight * x).sum(dim=1)

    for _ in range(500):
        loss = gan.hinge_loss(logit(datum), logit(sample)) + rate * gan.r1_penalty(logit, datum)
        (slope,) = torch.autograd.grad(loss, weight)
        weight.data -= 0.1 * slope
        (slope,) = torch.autograd.grad(gan.critic_generator_loss(logit(sample)), sample)
        sample.data -= 0.1 * slope
    assert math.hypot(sample.item(), weight.item()) == pytest.approx(radius, abs=0.1)


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [8, 14, 28, 32, 40, 64])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize(("num_classes", "hidden"), [(0, 0), (0, 5), (4, 0), (4, 5)])
def test_generator_and_discriminator_fit(
    side: int, colours: int, ways: tuple[str, str], num_classes: int, hidden: int
) -> None:
    shape = (colours, side, side)
    labels = torch.tensor([0, 3, 1], device="meta") if num_classes else None
    options: dict[str, Any] = {"channels": 2, "hidden": hidden, "num_classes": num_classes}
    with torch.device("meta"):
        x = gan.ConvGenerator(7, shape, conditioning=ways[0], **options)(torch.empty(3, 7), labels)
        logits = gan.ConvDiscriminator(shape, conditioning=ways[1], **options)(x, labels)
    assert x.shape == (3, *shape)
    assert logits.shape == (3,)


@pytest.mark.parametrize("shape", [(2,), (1, 28, 28), (3, 5, 7)])
def test_dense_shapes_and_range(shape: tuple[int, ...]) -> None:
    x = gan.DenseGenerator(4, shape, width=8, depth=3, normalise=len(shape) == 3)(100 * torch.randn(6, 4)).detach()
    assert x.shape == (6, *shape)
    assert (float(x.abs().max()) <= 1) == (len(shape) == 3)  # only pictures end in tanh
    assert gan.DenseDiscriminator(shape, width=8)(x).shape == (6,)


def test_pictures_stay_in_range() -> None:
    torch.manual_seed(0)
    assert gan.ConvGenerator(3, (1, 28, 28), channels=2)(1e4 * torch.randn(8, 3)).abs().max() <= 1


@pytest.mark.parametrize("ways", WAYS)
def test_the_label_matters_to_both(ways: tuple[str, str]) -> None:
    model = convolutional(3, ways)
    for layer in model.modules():  # at the beginning all classes have the same gain and shift
        if isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight)
    z, x = torch.randn(1, 5).expand(3, 5), pictures(1).expand(3, 1, 28, 28)
    labels = torch.tensor([0, 1, 2])
    made, logits = model.from_codes(z, labels), model.discriminator.eval()(x, labels)
    for i, j in ((0, 1), (1, 2)):
        assert (made[i] - made[j]).abs().max() > 1e-4
        assert (logits[i] - logits[j]).abs() > 1e-6


def test_without_a_hidden_layer_the_logit_is_a_sum_over_patches() -> None:
    """What the hidden layer is for: a change far away does not change what a patch adds to the logit."""
    corner, middle = torch.zeros(1, 1, 28, 28), torch.zeros(1, 1, 28, 28)
    corner[:, :, :6, :6], middle[:, :, 20:, 20:] = 0.5, 0.5
    x = pictures(1).double()
    for hidden, additive in ((0, True), (8, False)):
        torch.manual_seed(0)
        network = gan.ConvDiscriminator((1, 28, 28), channels=4, hidden=hidden, normalisation="none").double()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
        with torch.no_grad():
            gains = [network(x + change) - network(x) for change in (corner, middle, corner + middle)]
        assert gains[2].abs() > 0.01
        assert torch.allclose(gains[0] + gains[1], gains[2], atol=1e-9) == additive


def test_projection_is_an_inner_product_with_the_features() -> None:
    torch.manual_seed(0)
    network = gan.ConvDiscriminator((1, 28, 28), channels=2, num_classes=3, normalisation="none")
    x, labels = pictures(4), torch.tensor([0, 2, 1, 2])
    h = network.features(x)
    assert network.by_class is not None
    vectors = network.by_class.weight.t()[labels]
    expected = network.head(h).squeeze(1) + (vectors * h).sum(dim=1)
    torch.testing.assert_close(network(x, labels), expected)


def test_spectral_normalisation_bounds_every_layer_and_the_whole() -> None:
    torch.manual_seed(0)
    critic = gan.DenseDiscriminator((2,), width=16, depth=2, spectral=True)
    for _ in range(50):  # each call in training mode is a step of the power iteration
        critic(torch.randn(4, 2))
    for layer in critic.modules():
        if isinstance(layer, nn.Linear):
            assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-3)
    a, b = torch.randn(2, 200, 2)
    steepest = ((critic(a) - critic(b)).abs() / (a - b).norm(dim=1)).max()
    assert steepest <= 1.01
    convolutions = gan.ConvDiscriminator((1, 28, 28), channels=2, normalisation="spectral")
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in convolutions.modules())
    assert sum("original" in name for name, _ in convolutions.named_parameters()) == 3  # two convolutions and the head


# --- whose turn it is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", list(gan.LOSSES))
def test_each_turn_gives_gradients_to_its_own_player_only(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    step = gan.GAN._step

    def spy(model: gan.GAN, optimizer: Any, schedule: Any, player: nn.Module, value: Tensor) -> None:
        for parameter in model.parameters():
            parameter.grad = None
        before = copy.deepcopy(model.state_dict())
        step(model, optimizer, schedule, player, value)
        other = model.generator if player is model.discriminator else model.discriminator
        assert all(parameter.grad is None for parameter in other.parameters())
        assert all(parameter.grad is not None for parameter in player.parameters())
        own = "discriminator." if player is model.discriminator else "generator."
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert changed
        assert all(name.startswith(own) for name in changed)
        seen.append(own)

    monkeypatch.setattr(gan.GAN, "_step", spy)
    model = dense(loss=loss, discriminator_steps=2)
    training.fit(model, RingData(batch_size=8, batches=1), max_epochs=1, accelerator="cpu")
    assert seen == ["discriminator.", "discriminator.", "generator."]


def test_the_average_follows_the_generator() -> None:
    model = dense(ema_decay=0.9)
    codes = torch.randn(4, 3)
    training.fit(model, RingData(batch_size=8, batches=1), max_epochs=1, accelerator="cpu")
    torch.testing.assert_close(model.from_codes(codes), model.generator(codes).detach())  # the first is a copy
    assert model.averaged is not None
    first = [p.detach().clone() for p in model.averaged.module.parameters()]
    training.fit(model, RingData(batch_size=8, batches=1), max_epochs=1, accelerator="cpu")
    pairs = zip(first, model.averaged.module.parameters(), model.generator.parameters(), strict=True)
    for old, average, new in pairs:
        torch.testing.assert_close(average, 0.9 * old + 0.1 * new)


def test_learning_rates_cool_down() -> None:
    class Rates(pl.Callback):
        def __init__(self) -> None:
            self.seen: list[tuple[float, float]] = []

        def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
            d, g = (optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers)
            self.seen.append((d, g))

    rates = Rates()
    model = dense(generator_lr=1.0, discriminator_lr=2.0, discriminator_steps=2, cool_down=0.5)
    training.fit(model, RingData(batch_size=8, batches=4), max_epochs=2, accelerator="cpu", callbacks=rates)
    expected = [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    assert [d for d, _ in rates.seen] == pytest.approx([2 * rate for rate in expected])
    assert [g for _, g in rates.seen] == pytest.approx(expected)


def test_the_discriminator_sees_both_kinds_of_pictures_augmented() -> None:
    shift = {"rotate": 0.0, "shift": 3.0, "scale": 0.0}
    model = convolutional(augmentation=shift)
    seen: list[Tensor] = []
    model.discriminator.register_forward_hook(lambda module, given, result: seen.append(given[0]))
    white = torch.ones(4, 1, 28, 28)
    model.discriminator_turn(white, torch.zeros(4, dtype=torch.long))
    real, fake = seen
    assert real.min() == pytest.approx(-1)  # black came in from outside
    assert real[:, :, 4:24, 4:24].min() == pytest.approx(1)
    assert fake.shape == real.shape
    model.generator_turn(torch.zeros(4, dtype=torch.long)).backward()
    assert all(parameter.grad is not None for parameter in model.generator.parameters())
    assert torch.equal(convolutional()._seen(white), white)


# --- sampling ---------------------------------------------------------------------------------------------------------


def test_samples_do_not_depend_on_their_company() -> None:
    model = convolutional(ema_decay=0.5)
    model.train()
    codes = torch.randn(1100, 5)
    together = model.from_codes(codes)
    assert together.shape == (1100, 1, 28, 28)
    torch.testing.assert_close(model.from_codes(codes[:1]), together[:1])
    torch.testing.assert_close(model.from_codes(codes[1050:]), together[1050:])
    assert model.averaged is not None
    assert model.averaged.module.training  # left as it was
    torch.manual_seed(5)
    first = model.sample(4)
    torch.manual_seed(5)
    assert torch.equal(model.sample(4), first)


def test_classes_are_drawn_if_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model = convolutional(3)
    given: list[Tensor] = []
    forward = gan.ConvGenerator.forward

    def spy(network: gan.ConvGenerator, z: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        given.append(labels)
        return forward(network, z, labels)

    monkeypatch.setattr(gan.ConvGenerator, "forward", spy)
    torch.manual_seed(0)
    model.sample(600)
    assert torch.cat(given).bincount(minlength=3).min() > 150
    model.sample(3, torch.tensor([2, 0, 1]))
    assert given[-1].tolist() == [2, 0, 1]


# --- training ---------------------------------------------------------------------------------------------------------


def test_a_critic_covers_a_small_ring() -> None:
    torch.manual_seed(0)
    game = gan.GAN(
        gan.DenseGenerator(2, (2,), width=64),
        gan.DenseDiscriminator((2,), width=64),
        loss="wasserstein",
        generator_lr=1e-3,
        discriminator_lr=1e-3,
        discriminator_steps=3,
        penalty=0.3,
        ema_decay=0.98,
        cool_down=0.5,
    )
    data = RingData(batch_size=384, batches=100, modes=3, std=0.2)
    history = training.fit(game, data, max_epochs=8, accelerator="cpu")
    assert sorted(history) == ["discriminator_loss", "fake_score", "generator_loss", "penalty", "real_score"]
    torch.manual_seed(1)
    modes_found, share = ring_coverage(game.sample(2000), ring_centres(3), 0.2)
    assert modes_found == 3
    assert share > 0.8


def test_seed_decides() -> None:
    runs = []
    for seed in (0, 0, 1):
        model = convolutional(10, ema_decay=0.5)
        data = ImageData(batch_size=100, signed=True)
        runs.append(training.fit(model, data, max_epochs=1, seed=seed, accelerator="cpu", limit_train_batches=3))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize("name", ["dense", "dcgan", "conditional"])
def test_recipes_train_and_are_kept(name: str) -> None:
    model, history = gan.train(name, "smoke")
    assert set(history) == {"discriminator_loss", "generator_loss", "real_score", "fake_score"}
    again = gan.pretrained(name, "smoke")
    codes = torch.randn(3, model.latent_dim)
    labels = torch.tensor([1, 2, 3]) if model.num_classes else None
    assert torch.equal(model.from_codes(codes, labels), again.from_codes(codes, labels))


# --- bad input --------------------------------------------------------------------------------------------------------


class Given(pl.LightningDataModule):
    def __init__(self, x: Tensor, labels: Tensor | None = None) -> None:
        super().__init__()
        self.x, self.labels = x, torch.zeros(len(x), dtype=torch.long) if labels is None else labels

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(self.x, self.labels), batch_size=len(self.x))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (3 * pictures(), r"values from -3 to 3; they take values in \[-1, 1\]"),
        (pictures() * math.nan, "values from nan to nan"),
        ((pictures() + 1) / 2, r"none below 0: scale them to \[-1, 1\].*signed=True"),
        (pictures()[:, :, :20], r"examples of shape \(1, 20, 28\); the model takes \(1, 28, 28\)"),
    ],
)
def test_unscaled_pictures_are_refused_before_a_step(x: Tensor, message: str) -> None:
    model = convolutional()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        training.fit(model, Given(x), max_epochs=1, accelerator="cpu")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1, 2, 3, 0, 0]), "labels has values from 0 to 3; it takes classes from 0 to 2"),
        (torch.tensor([0, -1, 0, 0, 0, 0]), "labels has values from -1 to 0"),
        (torch.zeros(6), "it takes 6 whole numbers"),
    ],
)
def test_bad_labels(labels: Tensor, message: str) -> None:
    model = convolutional(3)
    with pytest.raises(ValueError, match=message):
        training.fit(model, Given(pictures(), labels), max_epochs=1, accelerator="cpu")
    with pytest.raises(ValueError, match=message):
        model.sample(6, labels)


@pytest.mark.bad_input
def test_bad_samples() -> None:
    with pytest.raises(ValueError, match="labels were given to a generator without classes"):
        convolutional().sample(2, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="n is 0"):
        convolutional().sample(0)
    with pytest.raises(ValueError, match=r"z has the shape \(2, 4\); it takes \(n, 5\)"):
        convolutional().from_codes(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="it takes 3 whole numbers"):
        convolutional(3).sample(3, torch.tensor([0, 1]))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("side", "message"),
    [(30, "halving its side 30 ends at 15"), (2, "ends at 2"), (7, "ends at 7"), (100, "ends at 25")],
)
@pytest.mark.parametrize("network", [lambda shape: gan.ConvGenerator(3, shape), gan.ConvDiscriminator])
def test_impossible_sizes(side: int, message: str, network: Any) -> None:
    with pytest.raises(ValueError, match=message):
        network((1, side, side))


@pytest.mark.bad_input
def test_bad_architectures() -> None:
    with pytest.raises(ValueError, match="of a square picture"):
        gan.ConvGenerator(3, (1, 28, 32))
    with pytest.raises(ValueError, match="latent_dim is 0"):
        gan.DenseGenerator(0, (2,))
    with pytest.raises(ValueError, match=r"shape is \(0,\)"):
        gan.DenseDiscriminator((0,))
    with pytest.raises(ValueError, match="depth is 0"):
        gan.DenseGenerator(2, (2,), depth=0)
    with pytest.raises(ValueError, match="channels is 0"):
        gan.ConvDiscriminator((1, 28, 28), channels=0)
    with pytest.raises(ValueError, match="num_classes is -1"):
        gan.ConvGenerator(3, (1, 28, 28), num_classes=-1)
    with pytest.raises(ValueError, match="'projection'; a generator takes 'batch_norm' or 'concatenation'"):
        gan.ConvGenerator(3, (1, 28, 28), num_classes=2, conditioning="projection")
    with pytest.raises(ValueError, match="'batch_norm'; a discriminator takes 'projection' or 'concatenation'"):
        gan.ConvDiscriminator((1, 28, 28), num_classes=2, conditioning="batch_norm")
    with pytest.raises(ValueError, match="normalisation is 'layer'"):
        gan.ConvDiscriminator((1, 28, 28), normalisation="layer")
    with pytest.raises(ValueError, match="architecture is 'deep'"):
        gan.build("deep", {}, {})


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "lsgan"}, "it takes one of 'non_saturating', 'saturating', 'wasserstein', 'hinge'"),
        ({"generator_lr": 0}, "generator_lr is 0"),
        ({"discriminator_lr": math.nan}, "discriminator_lr is nan"),
        ({"discriminator_steps": 0}, "discriminator_steps is 0"),
        ({"penalty": -1}, "penalty is -1"),
        ({"r1": -1}, "r1 is -1"),
        ({"ema_decay": 1.0}, r"ema_decay is 1.0; it takes a number in \[0, 1\)"),
        ({"cool_down": 1.1}, r"cool_down is 1.1; it takes a number in \[0, 1\]"),
    ],
)
def test_bad_games(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dense(**options)


@pytest.mark.bad_input
def test_players_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"makes examples of shape \(2,\) and the discriminator takes \(3,\)"):
        gan.GAN(gan.DenseGenerator(2, (2,)), gan.DenseDiscriminator((3,)))
    shape = (1, 28, 28)
    with pytest.raises(ValueError, match="the generator has num_classes 3 and the discriminator 0"):
        gan.GAN(gan.ConvGenerator(2, shape, num_classes=3), gan.ConvDiscriminator(shape))
    with pytest.raises(ValueError, match="a gradient penalty needs a critic that treats each example by itself"):
        gan.GAN(gan.ConvGenerator(2, shape), gan.ConvDiscriminator(shape), loss="wasserstein")
    with pytest.raises(ValueError, match="a gradient penalty needs a critic that treats each example by itself"):
        gan.GAN(gan.ConvGenerator(2, shape), gan.ConvDiscriminator(shape), r1=1.0)
    with pytest.raises(ValueError, match="8 examples, which 3 discriminator_steps cannot share evenly"):
        training.fit(dense(discriminator_steps=3), RingData(batch_size=8, batches=1), max_epochs=1, accelerator="cpu")


@pytest.mark.bad_input
def test_points_are_not_augmented() -> None:
    with pytest.raises(ValueError, match=r"augmentation is for pictures, not for examples of shape \(2,\)"):
        dense(augmentation={"shift": 1.0})


@pytest.mark.bad_input
def test_unknown_recipe() -> None:
    with pytest.raises(ValueError, match="name is 'stylegan'; it takes 'dense', 'dcgan' or 'conditional'"):
        gan.recipe("stylegan")
    with pytest.raises(ValueError, match="profile is 'fast'"):
        gan.recipe("dcgan", "fast")


def test_nan_stops_the_game_and_keeps_the_last_good_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model, two_epochs = dense(), dense()
    training.fit(two_epochs, RingData(batch_size=8, batches=2), max_epochs=2, accelerator="cpu")
    turn = gan.GAN.generator_turn

    def broken(self: gan.GAN, labels: Tensor) -> Tensor:
        loss = turn(self, labels)
        if self.current_epoch == 2:
            loss = loss * math.nan
            self.collect(generator_loss=loss)
        return loss

    monkeypatch.setattr(gan.GAN, "generator_turn", broken)
    with pytest.raises(FloatingPointError, match=r"training diverged in epoch 3: .*generator_loss is nan"):
        training.fit(model, RingData(batch_size=8, batches=2), max_epochs=5, accelerator="cpu")
    for name, value in two_epochs.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


@pytest.mark.bad_input
@pytest.mark.parametrize("conditioning", ["projection", "concatenation"])
def test_networks_with_classes_ask_for_labels(conditioning: str) -> None:
    generator = gan.ConvGenerator(3, (1, 28, 28), channels=2, num_classes=10)
    discriminator = gan.ConvDiscriminator((1, 28, 28), channels=2, num_classes=10, conditioning=conditioning)
    with pytest.raises(ValueError, match="labels are missing, and the network has 10 classes"):
        generator(torch.randn(2, 3))
    with pytest.raises(ValueError, match="labels are missing, and the network has 10 classes"):
        discriminator(torch.rand(2, 1, 28, 28))
