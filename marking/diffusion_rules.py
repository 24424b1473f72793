"""How the answers to notebooks/exercises/diffusion.py are marked, where nearness to the solution does not decide.

A rule compares what the student's answers returned with what the solution's did, both from `diffusion_asks.py`. It runs
in a process that never runs a student's code. Several rules build the right value from the student's own values, so
that a mistake that another check has marked costs nothing twice.
"""

from typing import Any

import torch
from torch import Tensor

from aigc_course.grading.marking import Mistake, all_letters, close, most_letters, tensor, untouched

# As in the notebook's own checks.
RTOL, ATOL = 1e-3, 1e-4


def _near(found: Tensor, right: Tensor) -> bool:
    return torch.allclose(found, right, RTOL, ATOL)


def _untouched(given: Any, right: Any) -> None:
    untouched(given["what was given"], right["what was given"])
    close(given, right, RTOL, ATOL)


shares_signal = noisy_steps = rates_value = target_each = step_ddim = guided_ends = flow_point = _untouched


def step_kept(given: Any, right: Any) -> None:
    for path in ("the bent path", "the circle"):
        for found, wanted in zip(given[path], right[path], strict=True):
            names = ("no noise", "fresh noise", "guessed noise")
            start, fresh, kept = (tensor(found[name], wanted[name], "x_r") for name in names)
            # With the function's own sigma, so that a wrong one loses nothing here: not even where it is larger than
            # s_r, if only because it is the paper's and right on the circle.
            left = wanted["s_r"] ** 2 - (fresh - start) ** 2
            if path == "the circle" and not (left > -1e-3).all():
                raise Mistake("The fresh noise alone has a larger variance than all the noise at the time r, s_r ** 2.")
            if not _near(kept - start, left.clamp(min=0).sqrt()):
                raise Mistake("Guessed and fresh noise together do not have the variance s_r ** 2; variances add up.")


def guided_line(given: Any, right: Any) -> None:
    for found, wanted in zip(given["lines"], right["lines"], strict=True):
        name = "with 0, 1 and w"
        pairs = zip(found[name], wanted[name], strict=True)
        # Counting w from elsewhere loses nothing here.
        first, second, third = (tensor(*pair, "The guided answer") for pair in pairs)
        if not ((second - first).abs() > 1).all():
            raise Mistake("With w = 0 and w = 1 the answers are the same.")
        w = wanted["w"].double().view(-1, *[1] * (first.dim() - 1))
        if not _near(third, first + w * (second - first)):
            raise Mistake("The answer does not lie on the line through those for w = 0 and w = 1, where each w says.")


def euler_one(given: Any, right: Any) -> None:
    if given["calls of the field"] != right["calls of the field"]:
        raise Mistake("The field is to be called once in each step.")
    _untouched(given, right)


def euler_times(given: Any, right: Any) -> None:
    for found, wanted in zip(given["ways"], right["ways"], strict=True):
        steps = len(wanted["times"])
        if len(found["times"]) != steps:
            raise Mistake(f"{steps} steps ask the field {steps} times, not {len(found['times'])}.")
        close({"times": found["times"]}, {"times": wanted["times"]}, RTOL, ATOL)
        places = torch.stack([tensor(*pair, "x") for pair in zip(found["places"], wanted["places"], strict=True)])
        name = "what was given"
        if not _near(places[0], wanted["places"][0].double()) or not torch.equal(found[name], wanted[name]):
            raise Mistake("The first step begins at the given noise, which stays as it is.")
        # Compared with where the function itself goes, so that steps of a wrong length lose nothing here.
        moves = places.diff(dim=0)
        if not (moves[0].abs() > 0).all() or not _near(moves, moves[:1].expand_as(moves)):
            raise Mistake("Each step begins where the one before has ended.")


mistakes_most, mistakes_all = most_letters, all_letters


def bug_point(given: Any, right: Any) -> None:
    if any(given["a graph kept"]):
        raise Mistake("Return the loss without its graph: loss.detach().")
    if not all(isinstance(loss, Tensor) for loss in given["the loss"]):
        raise Mistake("The loss must be a tensor.")
    _untouched(given, right)


def bug_weights(given: Any, right: Any) -> None:
    for found, wanted in zip(given["steps"], right["steps"], strict=True):
        close({"times": found["times"]}, {"times": wanted["times"]}, RTOL, ATOL)
        # What the network is asked for does not matter here: all is compared with the network's own step.
        before, old = wanted["before"]
        new, again = (tensor(*pair, "The weight") for pair in zip(found["network"], wanted["network"], strict=True))
        if not (new - before).abs() > 0.01:
            raise Mistake("The network makes no step.")
        if not (new - again).abs() < 1e-5:
            raise Mistake("The gradients of earlier steps are not cleared.")
        average = tensor(found["average"], wanted["average"], "The average of the weights")
        if not _near(average, wanted["decay"] * old + (1 - wanted["decay"]) * new):
            raise Mistake("The average of the weights does not follow the network as it should.")


def reverse_step(given: Any, right: Any) -> None:
    if any(given["a graph kept"]):
        raise Mistake("Drawing needs no gradient.")
    _untouched(given, right)


# Stand-ins for functions of earlier questions, which an answer may call.


def shares_after(rates: Tensor) -> tuple[Tensor, Tensor]:
    logs = torch.cat([torch.zeros(1), torch.log1p(-rates).cumsum(dim=0)])
    return (logs / 2).exp(), (-torch.expm1(logs)).sqrt()


def noisy_at(x: Tensor, k: Tensor, rates: Tensor, noise: Tensor) -> Tensor:
    logs = torch.cat([torch.zeros(1), torch.log1p(-rates).cumsum(dim=0)])[k].view(-1, *[1] * (x.dim() - 1))
    return (logs / 2).exp() * x + (-torch.expm1(logs)).sqrt() * noise


STAND_INS = {
    "noisy-steps": [shares_after],
    "bug-point": [shares_after, noisy_at],
    "bug-weights": [shares_after, noisy_at],
    "reverse-step": [shares_after, noisy_at],
}
