"""The errata on GANs, checked like the others: small reconstructions of our own that have the faults described there.

`tests/test_errata.py` holds the other parts' checks, and the test that keeps the errata's list and these names equal.
"""

import io
import math

import pytest
import torch
from matplotlib.cm import ScalarMappable
from PIL import Image
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.nn import functional as F
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import MNIST
from torchvision.utils import save_image


def value(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The game's value V = E log D(x) + E log(1 - D(G(z)))."""
    return F.logsigmoid(real_logits).mean() + F.logsigmoid(-fake_logits).mean()


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """In nats, of two tables of probabilities."""
    middle = (p + q) / 2
    return 0.5 * (torch.special.entr(middle) * 2 - torch.special.entr(p) - torch.special.entr(q)).sum().item()


# --- Game ------------------------------------------------------------------------------------------------------------


def test_sum_of_losses_is_no_game() -> None:
    real, fake = torch.randn(2, 50, requires_grad=True)
    saturating = F.logsigmoid(-fake).mean()
    total = -value(real, fake) + saturating
    # With the minimax game's own loss of the generator, the generated pictures drop out of the sum.
    torch.testing.assert_close(total, -F.logsigmoid(real).mean())
    torch.testing.assert_close(torch.autograd.grad(total, fake)[0], torch.zeros(50))
    # A discriminator that calls everything real is then perfect.
    sure = torch.full((50,), 20.0)
    assert -value(sure, sure) + F.logsigmoid(-sure).mean() < 1e-6
    assert -value(sure, sure) > 19  # on its own loss it does badly

    # With the other loss, -E log D(G(z)), the sum is lowest where the discriminator is undecided about the fakes.
    logits = torch.linspace(-4, 4, 801)
    total_of_one_fake = -F.logsigmoid(-logits) - F.logsigmoid(logits)
    assert logits[total_of_one_fake.argmin()].abs() < 1e-5


def test_discriminator_is_no_density() -> None:
    x = torch.linspace(-3, 3, 61).double()
    candidates = torch.linspace(0.001, 0.999, 999).double()

    def best_answer(data: Tensor, generated: Tensor) -> Tensor:
        """At each x by itself: the D that makes p_data log D + p_g log(1 - D) largest."""
        values = data[:, None] * candidates.log() + generated[:, None] * (1 - candidates).log()
        return candidates[values.argmax(1)]

    data = Normal(0.0, 0.1).log_prob(x).exp()
    wide = Normal(0.0, 1.0).log_prob(x).exp()
    assert data.max() > 3  # a density may exceed 1; what D returns may not
    torch.testing.assert_close(best_answer(data, wide), data / (data + wide), atol=2e-3, rtol=0)
    # If the generator is perfect, the answer is one half at the likeliest point and at the least likely one.
    density = Normal(0.0, 1.0).log_prob(x).exp()
    assert density.max() > 80 * density.min()
    torch.testing.assert_close(best_answer(density, density), torch.full_like(x, 0.5), atol=2e-3, rtol=0)


def test_loss_needs_a_direction() -> None:
    # The discriminator finds larger numbers more real. Which way does E log D(G(z)) lead?
    def after_training(sign: float) -> float:
        shift, noise = torch.zeros((), requires_grad=True), torch.randn(100)
        for _ in range(20):
            objective = F.logsigmoid(shift + noise).mean()
            (gradient,) = torch.autograd.grad(objective, shift)
            shift = (shift + sign * gradient).detach().requires_grad_()
        return torch.sigmoid(shift + noise).mean().item()

    assert after_training(-1) < 0.2  # minimised like a loss, it makes pictures that are easy to see through
    assert after_training(+1) > 0.8

    # And it is not the game that is printed beside it. There the generator's pull is D, here it is 1 - D.
    fake = torch.tensor([-6.0, 0.0, 6.0], requires_grad=True)
    (here,) = torch.autograd.grad(-F.logsigmoid(fake).sum(), fake)
    (minimax,) = torch.autograd.grad(F.logsigmoid(-fake).sum(), fake)
    torch.testing.assert_close(minimax, -torch.sigmoid(fake))
    torch.testing.assert_close(here, torch.sigmoid(fake) - 1)


def test_aims_are_opposite() -> None:
    real, noise = torch.randn(200) + 2, torch.randn(200)

    def error_rate(logits_of_fakes: Tensor) -> float:  # of a discriminator that calls a fake real
        return (logits_of_fakes > 0).float().mean().item()

    # The generator's formula, min E log(1 - D(G(z))), makes the discriminator err more, not less.
    def generator_error(sign: float) -> float:
        shift = torch.tensor(-1.0, requires_grad=True)
        for _ in range(20):
            (gradient,) = torch.autograd.grad(F.logsigmoid(-(shift + noise)).mean(), shift)
            shift = (shift - sign * gradient).detach().requires_grad_()
        return error_rate(shift + noise)

    start = error_rate(noise - 1)
    assert generator_error(+1) > start + 0.3
    assert generator_error(-1) < start  # what the words ask for

    # A discriminator that minimises V, as the words have it, learns to be wrong.
    def discriminator_accuracy(sign: float) -> float:
        weight, fake = torch.zeros((), requires_grad=True), noise - 2
        for _ in range(20):
            (gradient,) = torch.autograd.grad(value(weight * real, weight * fake), weight)
            weight = (weight + sign * gradient).detach().requires_grad_()
        right = torch.cat([weight * real > 0, weight * fake < 0])
        return right.float().mean().item()

    assert discriminator_accuracy(+1) > 0.9
    assert discriminator_accuracy(-1) < 0.1


def test_noise_is_no_sample() -> None:
    p_z = Independent(Normal(torch.zeros(2), 1.0), 1)
    z = p_z.sample((5000,))
    generated = torch.stack([z[:, 0].exp(), z[:, 1].exp(), z.prod(1)], dim=1)  # a generator from 2 numbers to 3
    assert generated.shape[1] != z.shape[1]
    with pytest.raises(ValueError, match="event_shape"):
        p_z.log_prob(generated)  # p_z is a density of noise and cannot even be asked about what was generated
    torch.testing.assert_close(generated[:, 0].median(), torch.tensor(1.0), atol=0.1, rtol=0)
    assert generated[:, 0].min() > 0  # log-normal: nothing like the noise
    assert z[:, 0].min() < -2


def test_derivative_is_no_expectation() -> None:
    real, fake = torch.randn(200, 3, dtype=torch.float64) + 1, torch.randn(200, 3, dtype=torch.float64)

    def value_of(weight: Tensor) -> Tensor:
        return value(real @ weight, fake @ weight)

    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(value_of(weight), weight)
    steps = 1e-5 * torch.eye(3, dtype=torch.float64)
    differences = torch.stack([(value_of(weight + step) - value_of(weight - step)) / 2e-5 for step in steps])
    torch.testing.assert_close(derivative, differences.detach())
    assert derivative.min() > 0  # one number a weight, and here they say: all weights up
    assert value_of(weight).item() < -1  # the expectation is one number, and a negative one

    # At the equilibrium, where both sets are the same, the derivative is 0 and the expectation is not.
    (derivative,) = torch.autograd.grad(value(real @ weight, real @ weight), weight)
    torch.testing.assert_close(derivative, torch.zeros(3, dtype=torch.float64))
    assert value(real @ weight, real @ weight).item() == pytest.approx(-1.386294, abs=1e-5)


def test_half_a_gradient_downhill() -> None:
    real, fake = torch.randn(200) + 2, torch.randn(200) - 2

    def trained(rule: str) -> tuple[float, float]:
        """Mean D of the real and of the generated numbers, after training by one of three rules."""
        weight, bias = torch.zeros(2, requires_grad=True)
        for _ in range(50):
            first, second = F.logsigmoid(weight * real + bias).mean(), F.logsigmoid(-weight * fake - bias).mean()
            objective = first + second if rule == "both terms, up" else first
            gradients = torch.autograd.grad(objective, (weight, bias))
            sign = -1 if rule == "printed" else 1
            extra = second.item() if rule == "printed" else 0.0  # outside the gradient: a number added to each weight
            weight, bias = (
                (old + sign * 0.5 * gradient + extra).detach().requires_grad_()
                for old, gradient in zip((weight, bias), gradients, strict=True)
            )
        return torch.sigmoid(weight * real + bias).mean().item(), torch.sigmoid(weight * fake + bias).mean().item()

    of_real, of_fake = trained("printed")
    assert of_real < 0.1  # it learns to call the data generated
    assert of_real < of_fake
    # With the sign repaired and the second term still outside, nothing speaks against calling the fakes real: their
    # bias is pushed up as well. With both terms the two are told apart.
    only_data = torch.zeros((), requires_grad=True)
    (pull,) = torch.autograd.grad(F.logsigmoid(only_data).mean(), only_data)
    (balanced,) = torch.autograd.grad(value(only_data[None], only_data[None]), only_data)
    assert pull == 0.5
    assert balanced == 0
    of_real, of_fake = trained("both terms, up")
    assert of_real > 0.9
    assert of_fake < 0.1


def test_game_may_circle() -> None:
    # The smallest GAN there is: all data at 0, a generator that returns theta, D(x) = sigmoid(psi x). The equilibrium
    # is (0, 0). V = log D(0) + log(1 - D(theta)) has the derivatives below; psi goes up, theta down, both at once.
    def distances(penalty: float) -> list[float]:
        theta, psi = 1.0, 1.0
        found = []
        for _ in range(2000):
            d = torch.sigmoid(torch.tensor(psi * theta)).item()
            theta, psi = theta + 0.1 * d * psi, psi + 0.1 * (-d * theta - penalty * psi)
            found.append((theta**2 + psi**2) ** 0.5)
        return found

    circling = distances(penalty=0.0)
    assert min(circling) > 1.4  # never nearer than at the start
    assert circling[-1] > circling[0]
    assert distances(penalty=1.0)[-1] < 1e-3  # with a penalty on the discriminator's slope it converges


def test_variety_is_not_rewarded() -> None:
    discriminator = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    with torch.no_grad():
        various = torch.randn(1000, 2)
        logits = discriminator(various)[:, 0]
        favourite = various[logits.argmax()].expand(1000, 2)  # one point, a thousand times
        collapsed = discriminator(favourite)[:, 0]
    assert len(favourite.unique(dim=0)) == 1
    assert -F.logsigmoid(collapsed).mean() < -F.logsigmoid(logits).mean()  # non-saturating
    assert F.logsigmoid(-collapsed).mean() < F.logsigmoid(-logits).mean()  # saturating


# --- Architecture ----------------------------------------------------------------------------------------------------


def up(channels_in: int, channels: int) -> nn.Module:
    """Twice the size: kernel 4, stride 2, padding "same"."""
    return nn.ConvTranspose2d(channels_in, channels, 4, stride=2, padding=1, device="meta")


def down(channels_in: int, channels: int) -> nn.Module:
    """Half the size, rounded down."""
    return nn.Conv2d(channels_in, channels, 4, stride=2, padding=1, device="meta")


def test_sizes_of_the_two_networks() -> None:
    # The meta device computes shapes and nothing else.
    generator = nn.Sequential(up(256, 128), up(128, 64), up(64, 3))

    def discriminator(channels: int, size: int) -> nn.Module:
        flat = 128 * (size // 4) ** 2
        head = nn.Linear(flat, 1, device="meta")
        return nn.Sequential(down(channels, 64), down(64, 128), nn.Flatten(), head)

    generated = generator(torch.empty(2, 256, 8, 8, device="meta"))
    assert generated.shape == (2, 3, 64, 64)
    assert discriminator(1, 28)(torch.empty(2, 1, 28, 28, device="meta")).shape == (2, 1)
    with pytest.raises(RuntimeError, match="channel"):
        discriminator(1, 28)(generated)
    with pytest.raises(RuntimeError):
        discriminator(3, 28)(generated)  # with three channels, the last layer is still made for 28x28
    assert discriminator(3, 64)(generated).shape == (2, 1)


def test_one_channel_is_no_colour() -> None:
    red, yellow, white = (torch.tensor(colour).expand(4, 4, 3).float() for colour in ([1, 0, 0], [1, 1, 0], [1, 1, 1]))
    grey = ScalarMappable(cmap="gray")
    grey.set_clim(0, 1)
    drawn = [torch.from_numpy(grey.to_rgba(picture[:, :, 0].numpy())) for picture in (red, yellow, white)]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[1], drawn[2])
    assert not torch.equal(red, white)


def test_unit_range_against_tanh() -> None:
    digits = (torch.rand(64, 784) < 0.2).float() * torch.rand(64, 784)  # in [0, 1]
    generator = nn.Sequential(nn.Linear(100, 256), nn.LeakyReLU(0.2), nn.Linear(256, 784), nn.Tanh())
    with torch.no_grad():
        generated = generator(torch.randn(64, 100))

    def is_fake(pictures: Tensor) -> Tensor:
        return (pictures < 0).any(1)

    # No network is needed to tell them apart: the data are never negative.
    assert is_fake(generated).all()
    assert not is_fake(digits).any()
    # Black is 0 there, the middle of tanh. Scaled to [-1, 1] it lies at tanh's end, and the sign tells nothing.
    scaled = 2 * digits - 1
    assert is_fake(scaled).all()
    assert scaled.min() == -1


def test_noise_in_noise_out() -> None:
    first = nn.Sequential(nn.Linear(100, 256), nn.LeakyReLU(0.2), nn.Linear(256, 784), nn.Tanh())
    second = nn.Sequential(nn.Linear(784, 256), nn.LeakyReLU(0.2), nn.Linear(256, 100))
    noise = torch.randn(100, 100)
    returned = second(first(noise))
    assert returned.shape == noise.shape
    with pytest.raises(RuntimeError, match="invalid for input of size 10000"):
        returned.view(100, 28, 28)
    pictures = first(noise).view(100, 28, 28)  # the first half alone would have done
    with pytest.raises(IndexError, match="too many indices"):
        _ = pictures[0, :, :, 0]


def test_pictures_must_be_flattened() -> None:
    discriminator = nn.Sequential(nn.Linear(784, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1), nn.Sigmoid())
    batch = torch.rand(4, 1, 28, 28)  # what a loader returns
    with pytest.raises(RuntimeError):
        discriminator(batch)
    assert discriminator(batch.flatten(1)).shape == (4, 1)


def test_vector_into_convolution() -> None:
    head = nn.Sequential(nn.Linear(100, 256), nn.BatchNorm1d(256), nn.LeakyReLU(0.2))
    convolution = nn.ConvTranspose2d(256, 128, 4, stride=1, padding=0)
    vectors = head(torch.randn(5, 100))
    assert vectors.shape == (5, 256)
    with pytest.raises(RuntimeError):
        convolution(vectors)
    assert convolution(vectors[:, :, None, None]).shape == (5, 128, 4, 4)


def test_sixteen_is_not_28() -> None:
    first = nn.ConvTranspose2d(256, 128, 4, stride=1, padding=0, device="meta")
    rest = nn.Sequential(up(128, 64), up(64, 1))
    assert rest(first(torch.empty(2, 256, 1, 1, device="meta"))).shape == (2, 1, 16, 16)
    # Two doublings reach 28 from 7: the first kernel has to be a 7.
    first = nn.ConvTranspose2d(256, 128, 7, stride=1, padding=0, device="meta")
    assert rest(first(torch.empty(2, 256, 1, 1, device="meta"))).shape == (2, 1, 28, 28)


def test_last_kernel_is_too_large() -> None:
    last = nn.Conv2d(256, 1, 4, stride=1, padding=0, device="meta")
    discriminator = nn.Sequential(down(1, 64), down(64, 128), down(128, 256), last)

    def answers(size: int) -> int:
        """How many numbers it returns for one picture."""
        return discriminator(torch.empty(1, 1, size, size, device="meta")).numel()

    for size in (16, 28, 31):
        with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
            answers(size)
    assert [size for size in range(32, 65) if answers(size) == 1] == list(range(32, 40))
    assert answers(40) == 4  # view(-1, 1) would then pass four answers off as four pictures


def test_nothing_to_train() -> None:
    with pytest.raises(IndentationError):
        compile("for epoch in range(3):\n    # train the two networks\n", "loop", "exec")
    empty = nn.Sequential()
    noise = torch.randn(2, 5)
    assert torch.equal(empty(noise), noise)  # it runs, and returns what it is given
    with pytest.raises(ValueError, match="empty parameter list"):
        Adam(empty.parameters())


# --- Training --------------------------------------------------------------------------------------------------------


def networks() -> tuple[nn.Module, nn.Module]:
    """A small generator (3 numbers of noise to 2) and a small discriminator that returns probabilities."""
    generator = nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(0.2), nn.Linear(8, 2))
    discriminator = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1), nn.Sigmoid())
    return generator, discriminator


def test_zero_grad_too_late() -> None:
    for kind in (SGD, Adam):
        generator, discriminator = networks()
        optimiser = kind(generator.parameters(), lr=0.1)
        before = [weight.clone() for weight in generator.parameters()]

        def loss(generator: nn.Module = generator, discriminator: nn.Module = discriminator) -> Tensor:
            return -discriminator(generator(torch.randn(10, 3))).log().mean()

        loss().backward()
        optimiser.zero_grad()  # between backward and step
        optimiser.step()
        assert all(torch.equal(old, new) for old, new in zip(before, generator.parameters(), strict=True))
        optimiser.zero_grad()  # where it belongs
        loss().backward()
        optimiser.step()
        assert not any(torch.equal(old, new) for old, new in zip(before, generator.parameters(), strict=True))


def test_one_optimiser_for_two() -> None:
    generator, discriminator = networks()
    optimiser = Adam(generator.parameters())
    before = [weight.clone() for weight in discriminator.parameters()]
    noise, sizes = torch.randn(10, 3), []
    for _ in range(3):
        optimiser.zero_grad()
        (-discriminator(generator(noise)).log().mean()).backward()
        sizes.append(nn.utils.clip_grad_norm_(discriminator.parameters(), math.inf).item())  # measures, clips nothing
        optimiser.step()
    assert all(torch.equal(old, new) for old, new in zip(before, discriminator.parameters(), strict=True))
    assert sizes == sorted(sizes)  # nobody clears the discriminator's gradients either: they pile up
    assert sizes[2] > 2.5 * sizes[0]
    for missing in ("G", "D", "backward"):
        assert not hasattr(optimiser, missing)


def test_detached_fakes_teach_nothing() -> None:
    generator, discriminator = networks()
    fakes = generator(torch.randn(10, 3))
    (-discriminator(fakes.detach()).log().mean()).backward()
    assert all(weight.grad is None for weight in generator.parameters())
    assert all(weight.grad is not None for weight in discriminator.parameters())  # it trains the wrong network
    (-discriminator(fakes).log().mean()).backward()
    assert all(weight.grad is not None for weight in generator.parameters())


def test_label_zero_helps_the_opponent() -> None:
    def judged_real(label: float) -> tuple[float, float]:
        """Mean D(G(z)) before and after some steps of the generator with this label for its pictures."""
        generator, _ = networks()
        optimiser, noise = SGD(generator.parameters(), lr=1.0), torch.randn(200, 3)
        found = []
        for _ in range(30):
            probability = torch.sigmoid(generator(noise).sum(1))  # the discriminator: larger numbers are more real
            found.append(probability.mean().item())
            optimiser.zero_grad()
            F.binary_cross_entropy(probability, torch.full_like(probability, label)).backward()
            optimiser.step()
        return found[0], found[-1]

    before, after = judged_real(0.0)
    assert after < before - 0.2  # easier to see through
    before, after = judged_real(1.0)
    assert after > before + 0.2


def test_labels_shaped_like_pictures() -> None:
    pictures = torch.rand(4, 1, 28, 28)
    answers = torch.sigmoid(torch.randn(4, 1))
    with pytest.raises(ValueError, match="target size"):
        F.binary_cross_entropy(answers, torch.ones_like(pictures))
    assert F.binary_cross_entropy(answers, torch.ones_like(answers)).ndim == 0


def test_graph_of_fakes_is_gone() -> None:
    generator, discriminator = networks()
    real, fakes = torch.randn(10, 2), generator(torch.randn(10, 3))

    def discriminator_loss(fakes: Tensor) -> Tensor:
        return -discriminator(real).log().mean() - (1 - discriminator(fakes)).log().mean()

    discriminator_loss(fakes).backward()
    assert all(weight.grad is not None for weight in generator.parameters())  # through the generator, and wasted
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        (-discriminator(fakes).log().mean()).backward()
    # Detached in the discriminator's step, the batch is whole when the generator's turn comes.
    generator.zero_grad()
    fakes = generator(torch.randn(10, 3))
    discriminator_loss(fakes.detach()).backward()
    assert all(weight.grad is None for weight in generator.parameters())
    (-discriminator(fakes).log().mean()).backward()
    assert all(weight.grad is not None for weight in generator.parameters())


def test_parameters_have_no_name() -> None:
    class Player(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main = nn.Sequential(nn.Linear(3, 2))

    player = Player()
    assert all(weight.name is None for weight in player.parameters())  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="not callable"):
        [weight for weight in player.parameters() if "G" in weight.name()]  # type: ignore[attr-defined]
    names = [name for name, _ in player.named_parameters()]
    assert names == ["main.0.weight", "main.0.bias"]
    with pytest.raises(ValueError, match="empty parameter list"):
        Adam([weight for name, weight in player.named_parameters() if "G" in name or "D" in name])


def test_first_batch_again() -> None:
    data = TensorDataset(torch.arange(1000))
    in_order = DataLoader(data, batch_size=10)
    seen = {number for _ in range(100) for number in next(iter(in_order))[0].tolist()}
    assert seen == set(range(10))  # one "epoch" of a hundred steps, and always the same ten
    shuffled = DataLoader(data, batch_size=10, shuffle=True)
    seen = {number for _ in range(100) for number in next(iter(shuffled))[0].tolist()}
    assert 580 < len(seen) < 680  # about 1 - 1/e of the data
    assert len({number for (batch,) in shuffled for number in batch.tolist()}) == 1000


def test_batches_in_order() -> None:
    labels = torch.arange(10).repeat_interleave(100)  # sorted by class, as many files are
    in_order = DataLoader(TensorDataset(labels), batch_size=50)
    assert all(len(batch.unique()) == 1 for (batch,) in in_order)
    shuffled = DataLoader(TensorDataset(labels), batch_size=50, shuffle=True)
    assert all(len(batch.unique()) > 5 for (batch,) in shuffled)


def test_two_modes_of_batch_norm() -> None:
    def trained(steps: int) -> nn.BatchNorm1d:
        layer = nn.BatchNorm1d(4, momentum=0.01)  # each step moves the running averages by a hundredth
        for _ in range(steps):
            layer(5 + 2 * torch.randn(256, 4))
        return layer

    batch = 5 + 2 * torch.randn(256, 4)
    layer = trained(1000)
    # By batch statistics an example's result depends on the others in the batch, by running averages it does not.
    assert not torch.allclose(layer(batch)[:8], layer(batch[:8]), atol=0.1)
    layer.eval()
    torch.testing.assert_close(layer(batch)[:8], layer(batch[:8]))
    # After many steps both agree on a large batch; after a few the running averages have not arrived.
    assert (layer(batch) - trained(0)(batch)).abs().mean() < 0.2
    early = trained(10).eval()
    assert early(batch).mean() > 2


def test_dark_half_cut_off() -> None:
    def saved(picture: Tensor) -> Tensor:
        file = io.BytesIO()
        save_image(picture, file, format="png")
        return torch.tensor(list(Image.open(file).convert("L").tobytes()))

    ramp = torch.linspace(-1, 1, 21).view(1, 1, 1, 21)
    assert saved(ramp)[:11].max() == 0  # everything from -1 to 0 becomes black
    assert saved(ramp).unique().numel() == 11
    assert saved((ramp + 1) / 2).unique().numel() == 21


def test_loader_arguments() -> None:
    with pytest.raises(TypeError, match="batch_size"):
        MNIST("nowhere", train=True, batch_size=64, shuffle=True)


def test_names_of_gan_programs() -> None:
    for program, name in [
        ("import torch.nn as nn\nnn.Linear(2, 1)\ntorch.ones(2)", "torch"),
        ("from torchvision import datasets\nMNIST", "MNIST"),
        ("for epoch in range(epochs):\n    pass", "epochs"),
    ]:
        with pytest.raises(NameError, match=f"'{name}'"):
            exec(program, {})


# --- Uses and evaluation ---------------------------------------------------------------------------------------------


def test_sampled_words_pass_no_gradient() -> None:
    logits = torch.randn(6, 5, requires_grad=True)  # six words, a vocabulary of five
    vectors, discriminator = torch.randn(5, 3), nn.Linear(3, 1)
    words = torch.multinomial(logits.softmax(1), 1)[:, 0]
    assert not words.requires_grad
    score = discriminator(vectors[words]).mean()
    assert torch.autograd.grad(score, logits, allow_unused=True)[0] is None
    # Pictures are numbers, so they pass it; so would a blend of words, which is no text.
    blend = discriminator(logits.softmax(1) @ vectors).mean()
    assert torch.autograd.grad(blend, logits)[0].abs().max() > 0
    # What helps: weight log p(word) with the word's score. Averaged over the words, that is the gradient looked for.
    rewards = discriminator(vectors)[:, 0].detach()
    log_p = logits[0].log_softmax(0)
    (wanted,) = torch.autograd.grad((log_p.exp() * rewards).sum(), logits, retain_graph=True)
    (estimate,) = torch.autograd.grad((log_p.exp().detach() * rewards * log_p).sum(), logits)
    torch.testing.assert_close(estimate, wanted)


def test_style_needs_no_opponent() -> None:
    style, photograph = torch.rand(2, 1, 3, 16, 16)
    network = nn.Conv2d(3, 12, 3).requires_grad_(False)  # stands for one layer of a trained network, and stays as it is

    def texture(picture: Tensor) -> Tensor:
        """Which features go together, wherever they are: the Gram matrix."""
        features = network(picture).relu().flatten(2)[0]
        return features @ features.T / features.shape[1]

    def distance(picture: Tensor) -> Tensor:
        return (texture(picture) - texture(style)).square().sum()

    style = style * torch.tensor([1.0, 0.5, 0.1]).view(1, 3, 1, 1)
    before = distance(photograph).item()
    picture = photograph.clone().requires_grad_()  # all that is trained
    optimiser = Adam([picture], lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        distance(picture).backward()
        optimiser.step()
    assert distance(picture).item() < 0.02 * before


def test_labels_must_reach_both() -> None:
    # p(picture, label) for three pictures and two labels, and a generator that mixes the labels up.
    data = torch.tensor([[0.4, 0.0], [0.1, 0.1], [0.0, 0.4]])
    disobedient = data.flip(1)
    # A discriminator that sees pictures alone compares these; it has no objection.
    torch.testing.assert_close(data.sum(1), disobedient.sum(1))
    # One that is told the label compares the pairs.
    assert jensen_shannon(data, disobedient) > 0.4


def test_augmentation_leaks() -> None:
    # Three pictures; the augmentation turns each into the next one, in a third of the cases.
    data = torch.tensor([0.6, 0.3, 0.1])
    turn = torch.eye(3) * 2 / 3 + torch.eye(3).roll(1, 0) / 3

    # Only the real pictures are turned: the best generator turns them as well.
    assert jensen_shannon(turn @ data, turn @ data) == pytest.approx(0, abs=1e-7)
    assert jensen_shannon(turn @ data, data) > 0.01
    # Both are turned before the discriminator sees them: no generator does better than the data themselves, and since
    # the turning can be undone on the average, none does equally well.
    generators = torch.rand(500, 3)
    generators /= generators.sum(1, keepdim=True)
    others = [
        jensen_shannon(turn @ data, turn @ generated) for generated in generators if (generated - data).norm() > 0.1
    ]
    assert min(others) > 1e-4
    assert torch.linalg.det(turn) > 0.1


def test_clear_is_not_good() -> None:
    pictures = (F.interpolate(torch.rand(100, 1, 7, 7), size=28) > 0.7).float()

    def clearness(pictures: Tensor) -> float:  # the mean step between neighbouring pixels
        across, along = pictures.diff(dim=2).abs().mean(), pictures.diff(dim=3).abs().mean()
        return (across + along).item()

    each = torch.tensor([clearness(picture[None]) for picture in pictures])
    one = pictures[each.argmax()].expand_as(pictures)  # a generator that knows one picture
    assert clearness(one) > clearness(pictures)
    copies = pictures[torch.randint(100, (100,))]  # a generator that learnt its data by heart
    assert clearness(copies) > 0.9 * clearness(pictures)
    blurred = F.avg_pool2d(pictures, 5, stride=1, padding=2)
    assert clearness(blurred) < clearness(pictures)  # blur it does notice
