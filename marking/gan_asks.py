"""What is asked of the answers to notebooks/exercises/gan.py when they are marked.

Each function draws inputs, calls the student's functions, and returns what they returned, as data. It runs in the same
process as the student's code, so it holds nothing that must not be read: no solution, and no expected value.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from aigc_course.grading.inside import Answers, gradients


def _normal(draw: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def _between(draw: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=draw))


def _seed(draw: Generator) -> int:
    return int(torch.randint(2**31, (), generator=draw))


def _has_graph(loss: Any) -> bool:
    return bool(getattr(loss, "requires_grad", False))


def _outputs(draw: Generator, *counts: int) -> list[Tensor]:
    # In single precision: there 1 - T rounds to 0 for large outputs.
    return [(1.5 * torch.randn(count, generator=draw)).requires_grad_() for count in counts]


def _extreme(draw: Generator, *signs: int) -> Tensor:
    return torch.tensor([sign * _between(draw, 18, 20) for sign in signs], requires_grad=True)


def dloss_value(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = [_outputs(draw, *counts) for counts in ((1, 1), (3, 2), (4, 6))]
    cases.append([_extreme(draw, -1, 1), _extreme(draw, 1, -1, 0)])
    cases.append([_outputs(draw, 2)[0], _extreme(draw, 1)])
    losses = [answers.hellinger_discriminator_loss(real, fake) for real, fake in cases]
    return {
        "the loss": losses,
        "its gradients": [gradients(loss, inputs) for loss, inputs in zip(losses, cases, strict=True)],
    }


def gloss_value(answers: Answers, draw: Generator) -> dict[str, Any]:
    losses, slopes = [], []
    for fake in (*_outputs(draw, 1, 3, 5), _extreme(draw, 1, -1, 0)):
        saturating, non_saturating = answers.hellinger_generator_losses(fake)
        losses.append([saturating, non_saturating])
        slopes.append([gradients(saturating, [fake]), gradients(non_saturating, [fake])])
    return {"the losses": losses, "their gradients": slopes}


def best_value(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = [2 * _normal(draw, 2, *shape) for shape in ((2,), (6,), (5, 3))]
    # levels at which no density can be computed
    for level in (-1000.0, 1000.0):
        cases.append(3 * torch.randn(2, 2, 1, generator=draw) + level)
    cases.append(torch.tensor([[-400.0, 400.0], [400.0, -400.0]]) + torch.randn(2, 2, generator=draw))
    equal = torch.tensor([-1.0, -1000.0]) + torch.randn(2, generator=draw)
    return {
        "v": [answers.best_output(*case) for case in cases],
        "v at p = q": answers.best_output(equal, equal.clone()),
    }


def dstep_own(answers: Answers, draw: Generator) -> dict[str, Any]:
    losses, slopes, weights = [], [], []
    for _ in range(3):
        generator, discriminator = answers.players(_seed(draw))
        x, z = torch.randn(6, 16, generator=draw).tanh(), torch.randn(6, 2, generator=draw)
        losses.append(answers.discriminator_backward(generator, discriminator, x, z))
        slopes.append([weight.grad for weight in discriminator.parameters()])
        weights.append(list(discriminator.parameters()))
    return {
        "the loss": losses,
        "with its graph": list(map(_has_graph, losses)),
        "the gradients": slopes,
        "the weights": weights,
    }


def gstep_own(answers: Answers, draw: Generator) -> dict[str, Any]:
    losses, slopes, weights = [], [], []
    for _ in range(3):
        generator, discriminator = answers.players(_seed(draw))
        losses.append(answers.generator_backward(generator, discriminator, torch.randn(6, 2, generator=draw)))
        slopes.append([weight.grad for weight in generator.parameters()])
        weights.append(list(generator.parameters()))
    return {
        "the loss": losses,
        "with its graph": list(map(_has_graph, losses)),
        "the gradients": slopes,
        "the weights": weights,
    }


def _other(answers: Answers, draw: Generator, turn: Callable[..., Any], whose: int) -> dict[str, Any]:
    """Let the player `whose` (0: generator, 1: discriminator) have its turn; return what it leaves of both."""
    found: dict[str, Any] = {"before": [], "after": [], "own gradients": [], "requires grad": [], "training": []}
    for left_over in (None, _between(draw, 5, 9)):
        networks = answers.players(_seed(draw))
        own, other = networks[whose], networks[1 - whose]
        if left_over is not None:
            for weight in other.parameters():
                weight.grad = torch.full_like(weight, left_over)
        turn(*networks)
        found["before"].append(left_over)
        found["after"].append([[weight, weight.grad] for weight in other.parameters()])
        found["own gradients"].append([weight.grad for weight in own.parameters()])
        found["requires grad"].append([weight.requires_grad for network in networks for weight in network.parameters()])
        found["training"].append(other.training)
    return found


def dstep_other(answers: Answers, draw: Generator) -> dict[str, Any]:
    x, z = torch.randn(4, 16, generator=draw).tanh(), torch.randn(4, 2, generator=draw)
    return _other(answers, draw, lambda *networks: answers.discriminator_backward(*networks, x, z), whose=1)


def gstep_other(answers: Answers, draw: Generator) -> dict[str, Any]:
    z = torch.randn(4, 2, generator=draw)
    return _other(answers, draw, lambda *networks: answers.generator_backward(*networks, z), whose=0)


def optimal_value(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = [tuple(torch.randn(2, *shape, generator=draw) - 1) for shape in ((3, 4), (5,))]
    p, q = 0.05 + 0.3 * torch.rand(2, 3, generator=draw)
    q[0], q[2] = p[0], 0  # nobody can tell, and what the generator never makes
    return {"D*": [answers.optimal_discriminator(log_p, log_q) for log_p, log_q in [*cases, (p.log(), q.log())]]}


def optimal_stable(answers: Answers, draw: Generator) -> dict[str, Any]:
    # Eighths, so that adding a thousand rounds nothing away.
    log_q = torch.randint(-16, 17, (4,), generator=draw) / 8
    log_p = log_q + torch.tensor([-2.0, -0.75, 0.75, 2.0]) + torch.randint(-4, 5, (4,), generator=draw) / 8
    factors = [sign * (size + _seed(draw) % 50) for size in (100, 1000) for sign in (-1, 1)]
    first = torch.tensor([_between(draw, 300, 600), -_between(draw, 300, 600), -math.inf])
    level = torch.tensor([-1000.0, 1000.0]) + torch.randn(2, generator=draw)
    return {
        "D*": answers.optimal_discriminator(log_p, log_q),
        "D* with a common factor": [answers.optimal_discriminator(log_p + f, log_q + f) for f in factors],
        "D* of equal densities": answers.optimal_discriminator(level, level.clone()),
        "D* of extreme ratios": answers.optimal_discriminator(first, torch.tensor([0.0, 0.0, -800.0])),
    }


def value_common(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = [_normal(draw, 2, outcomes).log_softmax(dim=1) for outcomes in (2, 5, 40)]
    cases.append(torch.randn(2, 3, generator=draw).log_softmax(dim=1))
    equal = torch.randn(3, generator=draw).log_softmax(dim=0)
    return {
        "V(D*)": [answers.value_at_optimum(*case) for case in cases],
        "V(D*) at p = q": answers.value_at_optimum(equal, equal.clone()),
    }


def value_extreme(answers: Answers, draw: Generator) -> dict[str, Any]:
    first, common, other = _between(draw, 0.3, 0.5), _between(draw, 0.2, 0.4), _between(draw, 0.3, 0.5)
    order = torch.randperm(4, generator=draw)
    p = torch.tensor([first, common, 0.0, 1 - first - common])[order]
    q = torch.tensor([0.0, other, 1 - other, 0.0])[order]
    without_zeros = q.clamp(min=1e-5).log()
    never = -math.inf
    return {
        "without zeros": answers.value_at_optimum(p.clamp(min=1e-5).log(), without_zeros),
        "at p = q": answers.value_at_optimum(without_zeros, without_zeros.clone()),
        "with zeros": answers.value_at_optimum(p.log(), q.log()),
        # 1 - D* rounds to 0, then q itself does
        "with tiny probabilities": [
            answers.value_at_optimum(p.log().clamp(min=tiny), q.log().clamp(min=tiny)) for tiny in (-20, -50, -120)
        ],
        "with nothing in common": answers.value_at_optimum(torch.tensor([0.0, never]), torch.tensor([never, 0.0])),
    }


def size_conv(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases, sizes = [], []
    for size in torch.randint(7, 40, (3,), generator=draw).tolist():
        sizes.append(answers.output_size(size, kernel=3))
        cases.append([size, 3, 1, 0])
        for kernel, stride, padding in [(k, s, p) for k in (1, 3, 4, 7) for s in (1, 2, 3, 5) for p in (0, 1, 2)]:
            # output_padding is for transposed convolutions
            sizes.append(answers.output_size(size, kernel, stride, padding))
            sizes.append(answers.output_size(size, kernel, stride, padding, 1))
            cases += [[size, kernel, stride, padding]] * 2
    return {"the cases": cases, "the sizes": sizes}


def size_transposed(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases, sizes = [], []
    for size in [1, *torch.randint(3, 20, (2,), generator=draw).tolist()]:
        sizes.append(answers.output_size(size, kernel=3, transposed=True))
        cases.append([size, 3, 1, 0, 0])
        for kernel, stride, padding in [(k, s, p) for k in (3, 4, 7) for s in (1, 2, 3) for p in (0, 1)]:
            for more in range(stride):
                sizes.append(answers.output_size(size, kernel, stride, padding, more, transposed=True))
                cases.append([size, kernel, stride, padding, more])
    return {"the cases": cases, "the sizes": sizes}


def layers_both(answers: Answers, draw: Generator) -> dict[str, Any]:
    generator, discriminator = answers.choose_layers()
    return {"the generator": generator, "the discriminator": discriminator}


def penalty_direction(answers: Answers, draw: Generator) -> dict[str, Any]:
    several, single = [], []
    for shape in [(3,), (1, 4, 4), (3, 2, 5)]:
        pixels = math.prod(shape)
        z, noise, slopes = _normal(draw, 4, 1), _normal(draw, 4, pixels), _normal(draw, pixels)
        several.append(
            answers.path_penalty(
                lambda z, slopes=slopes, shape=shape: (z * slopes).reshape(-1, *shape),
                z.clone(),
                0.3,
                noise.reshape(4, *shape),
            )
        )
        # one pixel, whose slope is J^T y, in the direction 1
        along = (noise * slopes).sum(dim=1, keepdim=True) / math.sqrt(pixels)
        single.append(answers.path_penalty(lambda z, along=along: z * along, z.clone(), 0.3, torch.ones_like(z)))

    def drawn(own: int | None, common: int, slopes: Tensor) -> Any:
        torch.manual_seed(common)
        rng = None if own is None else Generator().manual_seed(own)
        return answers.path_penalty(lambda z: z * slopes, torch.ones(len(slopes), 1), 0.5, rng=rng)

    seed, few, many = _seed(draw), torch.ones(20, 1), torch.ones(500, 1)
    evenly = torch.special.ndtri((torch.arange(500.0) + 0.5) / 500)[:, None]
    return {
        "several pixels": several,
        "a single pixel": single,
        "by rng": [drawn(seed, 0, few), drawn(seed, 1, few), drawn(seed + 1, 0, few)],
        "by torch's own": [drawn(None, seed, few), drawn(None, seed + 1, few)],
        # two examples, of which one has a slope
        "one example only": [drawn(seed, 0, torch.tensor(slopes)) for slopes in ([[1.0], [0.0]], [[0.0], [1.0]])],
        "drawn": [drawn(_seed(draw), 0, many) for _ in range(24)],
        "evenly": answers.path_penalty(lambda z: z, many.clone(), 0.5, evenly),
    }


def penalty_norm(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = []
    for latent in (1, 2, 5):
        z, noise = _normal(draw, 4, latent), _normal(draw, 4, 1)
        for target in (0.0, _between(draw, 0.4, 0.8), _between(draw, 1.5, 2.5)):
            # the gradient of |z|^2 / 2 is z itself
            found.append(
                answers.path_penalty(
                    lambda z: z.square().sum(dim=1, keepdim=True) / 2, z.clone(), target, noise.clone()
                )
            )
    return {"the penalty": found}


def penalty_graph(answers: Answers, draw: Generator) -> dict[str, Any]:
    # Hidden units that are not saturated, and many of them: so no length comes near 0, where it has a kink.
    z, noise = _normal(draw, 4, 6), _normal(draw, 4, 4)
    first, second = (0.4 * _normal(draw, 6, 6)).requires_grad_(), _normal(draw, 6, 4).requires_grad_()
    steps = 1e-4 * _normal(draw, 5, 6, 6)

    # The target lies below all lengths, so that no step crosses it.
    def penalty(first: Tensor) -> Any:
        return answers.path_penalty(lambda z: (z @ first).tanh() @ second, z, 0.1, noise.clone())

    value = penalty(first)
    left = [first.grad, second.grad]
    return {
        ".grad of the weights": left,
        "z requires grad": z.requires_grad,
        "the gradient": gradients(value, [first])[0],
        "the steps": steps,
        "the penalty a step further": [penalty((first + step).detach()) for step in steps],
        "the penalty a step back": [penalty((first - step).detach()) for step in steps],
    }


def coverage_balls(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = []
    for d, k, spread in 6 * ((1, 1, 1.0), (2, 3, 0.6), (5, 2, 1.5), (3, 5, 0.2)):
        real, samples = _normal(draw, 11, d), spread * _normal(draw, 7, d) + 0.3
        asked, labels = (torch.zeros(n, dtype=torch.long) for n in (7, 11))
        found.append(answers.class_coverage(samples, asked, real, labels, k, 1))
    return {"the coverage": found}


def coverage_classes(answers: Answers, draw: Generator) -> dict[str, Any]:
    near = torch.tensor([[0.0], [1.0], [2.0], [0.4]]) + _between(draw, -1, 1)
    real, classes = torch.cat([near, near + 100]), torch.arange(8) // 4
    samples = real + _between(draw, 0.05, 0.15)
    close = answers.class_coverage(samples, classes, real, classes, k=2, num_classes=2)
    exchanged = answers.class_coverage(samples, 1 - classes, real, classes, 2, 2)

    together, alone = [], []
    for d, k in 4 * ((2, 2), (4, 3)):
        labels = torch.randperm(36, generator=draw) % 4
        asked = torch.randperm(27, generator=draw) % 3
        asked[asked == 2] = 3  # nobody asks for the class 2
        real, samples = _normal(draw, 36, d), 0.5 * _normal(draw, 27, d)
        together.append(answers.class_coverage(samples, asked, real, labels, k, 4))
        single = []
        for y in (0, 1, 3):
            drawn, wanted = samples[asked == y], real[labels == y]
            nothing = (torch.zeros(len(each), dtype=torch.long) for each in (drawn, wanted))
            single.append(answers.class_coverage(drawn, next(nothing), wanted, next(nothing), k, 1))
        alone.append(single)
    return {
        "samples near their class": close,
        "samples near the other class": exchanged,
        "together": together,
        "alone": alone,
    }


def mistakes_most(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"the letters": answers.mistakes()}


def mistakes_all(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"the letters": list(answers.mistakes())}  # how they are put together was the other check's business


def _leave_gradients(*networks: torch.nn.Module) -> None:
    for network in networks:
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, 7.0)  # left over from some earlier step


def bug_discriminator(answers: Answers, draw: Generator) -> dict[str, Any]:
    x, z = torch.rand(5, 16, generator=draw), torch.randn(5, 2, generator=draw)
    losses, biases, weights = [], [], []
    for bias in (_between(draw, -2, -1), _between(draw, -0.5, 0.5), _between(draw, 1, 2)):
        # Weights of zero make every logit equal to the bias, whatever range the real pictures are brought to.
        for fake in (_between(draw, 0.4, 0.8), _between(draw, -0.6, -0.1)):
            generator, discriminator, optimisers = answers.fixed_players(fake=fake, bias=bias, rates=(0.0, 0.1))
            _leave_gradients(generator, discriminator)
            loss, _ = answers.training_step(generator, discriminator, optimisers, x.clone(), z.clone())
            losses.append(loss)
            biases.append(discriminator[0].bias)
            weights.append(discriminator[0].weight)
    return {
        "the loss": losses,
        "with its graph": list(map(_has_graph, losses)),
        "the bias after the step": biases,
        "the weights after the step": weights,
    }


def bug_generator(answers: Answers, draw: Generator) -> dict[str, Any]:
    losses, weights = [], []
    for bias in (_between(draw, -3, -1), _between(draw, 0, 2)):
        x, z = torch.rand(5, 16, generator=draw), torch.randn(5, 2, generator=draw)
        generator, discriminator, optimisers = answers.fixed_players(bias=bias, rates=(0.1, 0.0))
        with torch.no_grad():
            generator[0].weight.copy_(0.5 * torch.randn(16, 2, generator=draw))
            generator[0].bias.copy_(0.5 * torch.randn(16, generator=draw))
            discriminator[0].weight.copy_(torch.randn(1, 16, generator=draw))
        _leave_gradients(generator, discriminator)
        _, loss = answers.training_step(generator, discriminator, optimisers, x, z)
        losses.append(loss)
        weights.append(list(generator.parameters()))

    # The order: both players at once, and the discriminator alone and then the generator alone.
    x, z = torch.rand(5, 16, generator=draw), torch.randn(5, 2, generator=draw)
    fake, weight = _between(draw, 0.3, 0.5), _between(draw, 0.15, 0.25)

    def step(rates: tuple[float, float], state: dict[str, Tensor] | None = None) -> tuple[Any, Tensor, dict]:
        generator, discriminator, optimisers = answers.fixed_players(fake=fake, weight=weight, rates=rates)
        if state is not None:
            discriminator.load_state_dict(state)
        _, loss = answers.training_step(generator, discriminator, optimisers, x.clone(), z.clone())
        return loss, generator[0].bias, discriminator.state_dict()

    state = step((0.0, 0.5))[2]
    return {
        "the loss": losses,
        "with its graph": list(map(_has_graph, losses)),
        "the weights after the step": weights,
        "before the discriminator's step": step((0.0, 0.0))[0],
        "after it": list(step((0.1, 0.0), state)[:2]),
        "both steps": list(step((0.1, 0.5))[:2]),
    }


def bug_data(answers: Answers, draw: Generator) -> dict[str, Any]:
    pictures: list[Tensor] = []

    def loss(pixel: float, **constants: float) -> Any:
        pictures.append(torch.full((3, 16), pixel))
        value, _ = answers.training_step(*answers.fixed_players(**constants), pictures[-1], torch.zeros(3, 2))
        return value

    same, bias_only = [], []
    weight = _between(draw, 0.08, 0.12)
    for middle in (-0.8, -0.4, 0.0, 0.4, 0.8):
        fake = middle + _between(draw, -0.1, 0.1)
        # A real pixel at the same place of its range has the same logit, and so has a mere bias.
        same.append(loss((fake + 1) / 2, fake=fake, weight=weight))
        bias_only.append(loss(0.5, fake=fake, bias=16 * weight * fake))
    return {
        "dark": loss(0.0, weight=weight),
        "lit": loss(1.0, weight=weight),
        "lit, seen the other way round": loss(1.0, weight=-weight),
        "at the same place": same,
        "with a bias": bias_only,
        "x": pictures,
    }
