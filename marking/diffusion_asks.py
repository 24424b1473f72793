"""What is asked of the answers to notebooks/exercises/diffusion.py when they are marked.

Each function draws inputs, calls the student's functions, and returns what they returned, as data. It runs in the same
process as the student's code, so it holds nothing that must not be read: no solution, and no expected value.
"""

import math
from typing import Any

import torch
from torch import Generator, Tensor

from aigc_course.grading.inside import Answers

SHAPES = ((4,), (3, 3), (2, 3, 2), (4, 1, 3, 4))


def _normal(draw: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def _between(draw: Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=draw, dtype=torch.float64).item()


def _rates(draw: Generator) -> list[Tensor]:
    return [0.01 + 0.4 * torch.rand(steps, generator=draw) for steps in (1, 2, 4, 30)]


def shares_signal(answers: Answers, draw: Generator) -> dict[str, Any]:
    rates, found = _rates(draw), []
    for each in rates:
        a, _ = answers.shares_after(each)
        found.append(a)
    return {"the share of signal": found, "what was given": rates}


def shares_noise(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = []
    for rates in _rates(draw):
        _, s = answers.shares_after(rates)
        found.append(s)
    return {"the share of noise": found}


def noisy_steps(answers: Answers, draw: Generator) -> dict[str, Any]:
    found, given = [], []
    for shape in ((4,), (3, 3), (2, 3, 2), (5, 1, 2, 5)):
        x, noise = torch.randn(2, *shape, generator=draw)
        rates = 0.02 + 0.3 * torch.rand(6, generator=draw)
        k = torch.randint(0, 7, shape[:1], generator=draw)
        k[0], k[-1] = 6, 0
        found.append(answers.noisy_at(x, k, rates, noise))
        given.append([x, noise, k, rates])
    return {"the noisy examples": found, "what was given": given}


def rates_value(answers: Answers, draw: Generator) -> dict[str, Any]:
    found, given = [], []
    for steps, dtype in ((1, torch.float64), (2, torch.float32), (3, torch.float64), (20, torch.float64)):
        signal = (0.7 + 0.29 * torch.rand(steps, generator=draw, dtype=torch.float64)).cumprod(dim=0).to(dtype)
        found.append(answers.rates_for(signal))
        given.append(signal)
    return {"the rates": found, "what was given": given}


def target_each(answers: Answers, draw: Generator) -> dict[str, Any]:
    found: dict[str, list] = {"noise": [], "clean": [], "velocity": []}
    given = []
    for shape in SHAPES:
        x, noise = _normal(draw, 2, *shape)
        t = torch.rand(shape[0], generator=draw, dtype=torch.float64)
        for prediction, targets in found.items():
            targets.append(answers.loss_target(prediction, x, noise, t))
        given.append([x, noise, t])
    return {**found, "what was given": given}


def _guesses(answers: Answers, draw: Generator, prediction: str) -> list[Any]:
    found = []
    for shape in SHAPES:
        said, x_t = _normal(draw, 2, *shape)
        t = 0.1 + 0.8 * torch.rand(shape[0], generator=draw, dtype=torch.float64)
        if prediction == "velocity":
            t[0], t[-1] = 0.0, 1.0
        clean, noise = answers.both_guesses(prediction, said, x_t, t)
        found.append([clean, noise])
    return found


def split_plain(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {f"from the {prediction}": _guesses(answers, draw, prediction) for prediction in ("noise", "clean")}


def split_velocity(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"from the velocity": _guesses(answers, draw, "velocity")}


Shares = tuple[float, float]


def _steps(draw: Generator, count: int) -> list[tuple[Shares, Shares]]:
    """Pairs (now, then) of shares on the bent path, none at its ends; both short steps and long ones."""
    pairs = []
    for i in range(count):
        t = _between(draw, 0.3, 0.95)
        r = t * (0.2 + 0.7 * (i + _between(draw, 0, 1)) / count)
        pairs.append(((1 - t * t, t), (1 - r * r, r)))
    return pairs


def step_ddim(answers: Answers, draw: Generator) -> dict[str, Any]:
    found, given = [], []
    for shape, shares in zip(((4,), (3, 2), (2, 3, 2), (3, 1, 2, 2)), _steps(draw, 4), strict=True):
        clean, noise, z = torch.randn(3, *shape, generator=draw)
        found.append(answers.ddim_step(clean, noise, *shares, 0.0, z))
        given.append([clean, noise, z])
    return {"the step with eta = 0": found, "what was given": given}


def step_fresh(answers: Answers, draw: Generator) -> dict[str, Any]:
    zero, one = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    etas = (0.0, _between(draw, 0.2, 0.5), _between(draw, 0.5, 0.8), 1.0)
    return {
        "the fresh noise": [
            answers.ddim_step(zero, zero, *shares, eta, one) for shares in _steps(draw, 6) for eta in etas
        ]
    }


def step_kept(answers: Answers, draw: Generator) -> dict[str, Any]:
    zero, one = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    etas = (0.0, _between(draw, 0.3, 0.5), _between(draw, 0.6, 0.9), 1.0)
    noises = [(_between(draw, 0.8, 0.95), _between(draw, 0.3, 0.6)) for _ in range(3)]
    circle = [((math.sqrt(1 - s_t**2), s_t), (math.sqrt(1 - s_r**2), s_r)) for s_t, s_r in noises]
    return {
        path: [
            {
                "no noise": answers.ddim_step(zero, zero, *shares, eta, zero),
                "fresh noise": answers.ddim_step(zero, zero, *shares, eta, one),
                "guessed noise": answers.ddim_step(zero, one, *shares, eta, zero),
                "s_r": shares[1][1],
            }
            for shares in pairs
            for eta in etas
        ]
        for path, pairs in (("the bent path", _steps(draw, 6)), ("the circle", circle))
    }


def step_ends(answers: Answers, draw: Generator) -> dict[str, Any]:
    clean, noise, z = torch.randn(3, 2, 3, generator=draw)
    last, first = [], []
    for now, then in _steps(draw, 4):
        for eta in (0.0, _between(draw, 0.3, 0.9), 1.0):
            last.append(answers.ddim_step(clean, noise, now, (1.0, 0.0), eta, z))
            first.append(answers.ddim_step(clean, 0 * noise, (0.0, 1.0), then, eta, 0 * z))
    return {"the last step": last, "the first step, without its noise": first}


def _labelled(draw: Generator, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    x, t = torch.randn(shape, generator=draw), torch.rand(shape[0], generator=draw)
    labels = torch.randint(5, shape[:1], generator=draw)
    labels[0] = 0  # which may not stand for no class
    return x, t, labels


def guided_ends(answers: Answers, draw: Generator) -> dict[str, Any]:
    found, given = [], []
    for shape in (*SHAPES, (2, 3)):
        x, t, labels = _labelled(draw, shape)
        zeros = torch.zeros(shape[0])
        found.append([answers.guided(answers.class_network, x, t, labels, w) for w in (zeros, zeros + 1)])
        given.append([x, labels])
    return {"with w = 0 and w = 1": found, "what was given": given}


def guided_line(answers: Answers, draw: Generator) -> dict[str, Any]:
    lines = []
    for shape in SHAPES:
        x, t, labels = _labelled(draw, shape)
        w, zeros = 6 * torch.rand(shape[0], generator=draw) - 2, torch.zeros(shape[0])
        found = [answers.guided(answers.class_network, x, t, labels, each) for each in (zeros, zeros + 1, w)]
        lines.append({"w": w.clone(), "with 0, 1 and w": found})
    return {"lines": lines}


def normal_value(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = []
    for sign in (1, -1, 1):
        mean, std_all = sign * _between(draw, 0.5, 3), _between(draw, 0.5, 3)
        std = std_all * _between(draw, 0.1, 0.8)
        for w in (0.0, _between(draw, 0.2, 0.8), 1.0, _between(draw, 1.5, 3), _between(draw, 5, 8)):
            found.append([float(each) for each in answers.guided_normal(mean, std, std_all, w)])
    return {"mean and standard deviation": found}


def _pairs(draw: Generator) -> list[tuple[Tensor, Tensor, Tensor, float]]:
    pairs = []
    for shape in SHAPES:
        for sigma in (0.0, _between(draw, 0.05, 0.2), _between(draw, 0.3, 0.6)):
            x, noise = torch.randn(2, *shape, generator=draw)
            t = torch.rand(shape[0], generator=draw)
            t[-1] = 1.0
            pairs.append((x, noise, t, sigma))
    return pairs


def flow_point(answers: Answers, draw: Generator) -> dict[str, Any]:
    pairs, found = _pairs(draw), []
    for pair in pairs:
        point, _ = answers.flow_pair(*pair)
        found.append(point)
    return {"the point": found, "what was given": [pair[:3] for pair in pairs]}


def flow_target(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = []
    for pair in _pairs(draw):
        _, target = answers.flow_pair(*pair)
        found.append(target)
    return {"the target": found}


def euler_one(answers: Answers, draw: Generator) -> dict[str, Any]:
    ends, calls, given = [], [], []
    for shape in ((4,), (3, 3), (2, 3, 2)):
        for steps in (1, 3, 10):
            noise, push = torch.randn(2, *shape, generator=draw)
            count: list[int] = []

            def field(x: Tensor, t: Tensor, push: Tensor = push, count: list[int] = count) -> Tensor:
                count.append(1)
                return push.clone()  # whose numbers may be changed in place

            ends.append(answers.follow(field, noise, steps))
            calls.append(len(count))
            given.append(noise)
    return {"where it ends": ends, "calls of the field": calls, "what was given": given}


def euler_times(answers: Answers, draw: Generator) -> dict[str, Any]:
    ways = []
    for steps in (1, 2, 4, 7):
        start = torch.randn(3, 2, generator=draw)
        places: list[Tensor] = []
        times: list[Tensor] = []

        def field(x: Tensor, t: Tensor, places: list[Tensor] = places, times: list[Tensor] = times) -> Tensor:
            places.append(x.clone())
            times.append(t.clone())
            return torch.ones_like(x)

        end = answers.follow(field, start, steps)
        ways.append({"times": times, "places": [*places, end], "what was given": start})
    return {"ways": ways}


def field_value(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = []
    for sign in (1, -1, 1):
        x_t, t = _normal(draw, 8), torch.rand(8, generator=draw, dtype=torch.float64)
        t[0], t[-1] = 0.0, 1.0
        found.append(answers.best_field(x_t, t, sign * _between(draw, 0.5, 3), _between(draw, 0.5, 3)))
    return {"the velocity": found}


def mistakes_most(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"the letters": answers.mistakes()}


def mistakes_all(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"the letters": list(answers.mistakes())}  # how they are put together was the other check's business


def bug_point(answers: Answers, draw: Generator) -> dict[str, Any]:
    points, losses, given = [], [], []
    for shape in ((4, 2), (3, 3), (2, 1, 3, 3)):
        x, noise = torch.randn(2, *shape, generator=draw)
        rates = 0.05 + 0.2 * torch.rand(6, generator=draw)
        k = torch.randint(1, 7, shape[:1], generator=draw)
        answer = _between(draw, -1, 1)
        network, average = answers.Recorder(answer), answers.Recorder(answer)
        optimiser = answers.Descent(network.parameters(), 0.1)
        losses.append(answers.training_step(network, average, optimiser, x, k, noise, rates, 0.9))
        points.append(network.asked[0])
        given.append([x, noise, k, rates])
    kept = [isinstance(loss, Tensor) and loss.requires_grad for loss in losses]
    return {"the point x_k": points, "the loss": losses, "a graph kept": kept, "what was given": given}


def bug_weights(answers: Answers, draw: Generator) -> dict[str, Any]:
    steps = []
    for shape in ((4, 2), (3, 3), (5, 2)):
        x, noise = torch.randn(2, *shape, generator=draw)
        rates = 0.05 + 0.2 * torch.rand(8, generator=draw)
        k = torch.randint(1, 9, shape[:1], generator=draw)
        decay, new, old = _between(draw, 0.6, 0.98), _between(draw, 3, 4), _between(draw, -3, -2)
        moved = []
        for left_over in (None, torch.tensor(7.0)):
            network, average = answers.Recorder(new), answers.Recorder(old)
            network.answer.grad = left_over
            optimiser = answers.Descent(network.parameters(), 0.1)
            answers.training_step(network, average, optimiser, x, k, noise, rates, decay)
            moved.append(network.answer)
        after = {"network": moved, "average": average.answer, "times": network.asked[1]}
        steps.append({"before": [new, old], "decay": decay, **after})
    return {"steps": steps}


def reverse_step(answers: Answers, draw: Generator) -> dict[str, Any]:
    found, times, given = [], [], []
    for shape in ((4, 2), (3, 3), (2, 1, 2, 3)):
        x, z = torch.randn(2, *shape, generator=draw)
        rates = 0.05 + 0.3 * torch.rand(7, generator=draw)
        for k in (1, 2, 5, 7):
            average = answers.Recorder(_between(draw, 0.3, 1))
            found.append(answers.reverse_step(average, x, k, rates, z))
            times.append(average.asked[1])
        given.append([x, z, rates])
    kept = [isinstance(each, Tensor) and each.requires_grad for each in found]
    return {"the points": found, "the times": times, "a graph kept": kept, "what was given": given}
