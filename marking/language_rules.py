"""How the answers to notebooks/exercises/language.py are marked where being near the solution's numbers is not enough.

A rule compares what the student's answers returned with what the solution's did, both from `language_asks.py`. It runs
in a process that never runs a student's code. Several rules build the right value from the student's own values, so
that a mistake that another check has marked costs nothing twice. What was drawn is read from the solution's side.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from aigc_course.grading.marking import Mistake, all_letters, close, most_letters, numbers, tensor


def _unchanged(given: Any, right: Any, name: str) -> None:
    try:
        close(given[name], right[name], rtol=0, atol=0)
    except Mistake:
        raise Mistake(f"“{name}” was changed; what a function is given stays as it is.") from None


def game_noise(given: Any, right: Any) -> None:
    # Compared with itself at the power 1, so that other mistakes in the logit lose nothing here.
    def change(found: Any) -> list[Tensor]:
        pairs = zip(found["the logits"], found["the logits at power 1"], right["the logits"], strict=True)
        return [tensor(each, wanted, "A logit") - tensor(usual, wanted, "A logit") for each, usual, wanted in pairs]

    for found, wanted in zip(change(given), change(right), strict=True):
        if not torch.allclose(found, wanted, rtol=1e-4, atol=1e-4):
            raise Mistake("The power does not change the logits as the noise asks for.")


def loss_pairs(given: Any, right: Any) -> None:
    name = "with other logits after the last token"
    before, after = (tensor(found, wanted, "The loss") for found, wanted in zip(given[name], right[name], strict=True))
    if not abs(before - after) < 1e-5:
        raise Mistake("The logits after the last token are compared with something.")
    # The gradient's signs tell which token was meant, whether the loss is a sum, in bits, or upside down.
    for gradient, wanted, tokens in zip(given["the gradients"], right["the gradients"], right["tokens"], strict=True):
        if gradient is None:
            raise Mistake("No gradient reaches the logits.")
        signs = tensor(gradient, wanted, "The gradient").sign()
        if not (signs[:, -1] == 0).all():
            raise Mistake("The logits after the last token have a gradient.")
        is_target = F.one_hot(tokens[:, 1:], wanted.shape[2]).bool()
        upside = signs[:, :-1][is_target][0]
        if not (abs(upside) == 1 and (signs[:, :-1] == torch.where(is_target, upside, -upside)).all()):
            raise Mistake("The logits are not compared with the next token, and with it alone.")


def loss_stable(given: Any, right: Any) -> None:
    losses, gaps = numbers(given["the loss"]), numbers(right["gaps"])
    shifted = numbers(given["the loss when all logits are shifted"])
    if not len(losses) == len(gaps) == 7 or not len(shifted) == 5:
        raise Mistake("The loss must be a single number.")
    # A gap this wide is the loss itself, so the loss grows as the gap does. Its factor and sign do not matter.
    unit = (losses[1] - losses[0]) / (gaps[1] - gaps[0])
    if not abs(unit) > 0.01:
        raise Mistake("The loss must depend on the logits.")
    for low, high in ((2, 3), (3, 4), (5, 6)):
        slope = (losses[high] - losses[low]) / (gaps[high] - gaps[low])
        if not abs(slope / unit - 1) < 1e-3:
            raise Mistake("Large logits are capped, or their loss is not a number.")
    if not (shifted - shifted[0]).abs().max() < 1e-3:
        raise Mistake("Adding the same number to all logits changes the loss.")


def cache_one(given: Any, right: Any) -> None:
    close(given, right, rtol=1e-4, atol=1e-4)


cache_several = cache_one


def cache_stored(given: Any, right: Any) -> None:
    _unchanged(given, right, "the given cache")
    close(given["stored"], right["stored"], rtol=1e-4, atol=1e-4)


def turn_angle(given: Any, right: Any) -> None:
    _unchanged(given, right, "x")
    close(given["turned"], right["turned"], rtol=0, atol=1e-3)


def turn_distance(given: Any, right: Any) -> None:
    for found, wanted in zip(given["turned"], right["turned"], strict=True):
        q, k = (
            torch.stack([tensor(*each, "A vector") for each in zip(found[name], wanted[name], strict=True)])
            for name in ("q", "k")
        )
        # Compared with itself, so that other angles lose nothing here. The solution turns by nothing at position 0.
        if not (q[0] - wanted["q"][0]).abs().max() < 1e-5 or not (k[0] - wanted["k"][0]).abs().max() < 1e-5:
            raise Mistake("Position 0 must turn by nothing.")
        lengths = torch.stack([q, k]).norm(dim=-1)
        if not (lengths - lengths[0, 0]).abs().max() < 1e-3:
            raise Mistake("A vector that is turned must keep its length.")
        scores = (q * k).sum(dim=(1, 2))
        places, distances = scores[:16].view(4, 4), scores[16:]
        # In single precision the angles at far positions are off by a thousandth.
        if not (places - places[:, :1]).abs().max() < 1e-2:
            raise Mistake("At the same distance, the score changes with the position.")
        if not distances.max() - distances.min() > 2e-2:
            raise Mistake("The score does not depend on the distance.")


def adapted_output(given: Any, right: Any) -> None:
    close(given["the output"], right["the output"], atol=1e-3)
    close([len(each) for each in given["the gradients"]], [len(each) for each in right["the gradients"]])
    for found, expected in zip(given["the gradients"], right["the gradients"], strict=True):
        for gradient, wanted in zip(found, expected, strict=True):
            if gradient is None:
                raise Mistake("Gradients must reach x and every A and B; one is missing.")
            miss = (tensor(gradient, wanted, "A gradient") - wanted).abs().max()
            if not miss < 1e-3 * (1 + wanted.abs().max()):
                raise Mistake("A gradient is wrong.")
    for gradient in given["the matrix's gradient"]:
        if gradient is not None and not (gradient == 0).all():
            raise Mistake("A gradient reaches the frozen matrix.")


def merged_matrix(given: Any, right: Any) -> None:
    close(given["the matrix"], right["the matrix"], rtol=1e-4, atol=1e-4)
    if given["has a gradient"] != right["has a gradient"]:
        raise Mistake("The merged matrix must have no gradient.")
    _unchanged(given, right, "what was given")


def rank_count(given: Any, right: Any) -> None:
    for found, wanted in zip(given["the rank"], right["the rank"], strict=True):
        if type(found) is not int:
            raise Mistake("A rank is a whole number, an int.")
        if found != wanted:
            raise Mistake(f"For one list of matrices the rank is {wanted}, not {found}.")


def operations_count(given: Any, right: Any) -> None:
    close(given, right, rtol=1e-9, atol=0)


def _sizes(given: Any) -> tuple[Tensor, Tensor]:
    if not all(len(pair) == 2 for pairs in given["N and D"] for pair in pairs):
        raise Mistake("Two numbers are asked for, N and D.")
    found = torch.tensor(given["N and D"], dtype=torch.float64)
    if not (found.shape == (4, 3, 2) and (found > 0).all() and found.isfinite().all()):
        raise Mistake("N and D are both numbers above 0.")
    return found[..., 0], found[..., 1]


def size_budget(given: Any, right: Any) -> None:
    size, text = _sizes(given)
    if not (6 * size * text / torch.tensor(right["budgets"], dtype=torch.float64) - 1).abs().max() < 1e-3:
        raise Mistake("6 N D is not the budget.")
    if not (size.diff(dim=1) > 0).all() or not (text.diff(dim=1) > 0).all():
        raise Mistake("A larger budget buys both a larger model and more text.")


def size_best(given: Any, right: Any) -> None:
    size, text = _sizes(given)
    # Whatever was spent: at the best size the loss does not change, to first order, when size is exchanged for text. So
    # a wrong budget loses nothing here.
    a, b, of_size, of_text = (
        torch.tensor([[law[name]] for law in right["laws"]], dtype=torch.float64)
        for name in ("alpha", "beta", "A", "B")
    )
    saved = a * of_size * size**-a / (b * of_text * text**-b)
    if not (saved - 1).abs().max() < 5e-3:
        raise Mistake("Another size at the same cost has a smaller loss.")


def cut_kept(given: Any, right: Any) -> None:
    _unchanged(given, right, "the logits")
    close(given["the probabilities"], right["the probabilities"], rtol=0, atol=1e-4)


def _rows(given: Any, right: Any, name: str) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each pair of models p, q and what was returned."""
    found = [tensor(*each, name) for each in zip(given[name], right[name], strict=True)]
    return [(p.double(), q.double(), each) for (p, q), each in zip(right["p and q"], found, strict=True)]


def _probabilities(keep: Tensor) -> None:
    if not ((keep >= 0) & (keep <= 1)).all():
        raise Mistake("keep must be a probability everywhere, also where q is 0.")


def draft_keep(given: Any, right: Any) -> None:
    for p, q, keep in _rows(given, right, "keep"):
        _probabilities(keep)
        if not (q * keep - torch.minimum(p, q)).abs().max() < 1e-5:
            raise Mistake("A guess is not kept as often as it can be, and no more often.")


def draft_left(given: Any, right: Any) -> None:
    for p, q, left in _rows(given, right, "left"):
        if not left.isfinite().all():
            raise Mistake("left must be finite, also where p equals q.")
        if not left.min() >= 0 or not (left.sum(dim=1) - 1).abs().max() < 1e-4:
            raise Mistake("Each row of left is a distribution.")
        short = (p - q).clamp(min=0)
        total = short.sum(dim=1, keepdim=True)
        # Where p and q are equal, any distribution is right; where they are almost, rounding decides.
        wanted = torch.where(total > 1e-2, short / total, left)
        if not (left - wanted).abs().max() < 1e-4:
            raise Mistake("What is left is not the distribution that makes the output exact.")


def draft_exact(given: Any, right: Any) -> None:
    # Any rule that keeps some guesses and is exact is right here, also one that keeps fewer than it could.
    for (p, q, keep), (*_, left) in zip(_rows(given, right, "keep"), _rows(given, right, "left"), strict=True):
        _probabilities(keep)
        if not left.isfinite().all():
            raise Mistake("left must be finite, also where p equals q.")
        kept = q * keep
        if not (kept.sum(dim=1) > 0.1 * torch.minimum(p, q).sum(dim=1)).all():
            raise Mistake("A rule that keeps nothing, or hardly anything, saves nothing.")
        if not (kept + (1 - kept.sum(dim=1, keepdim=True)) * left - p).abs().max() < 1e-4:
            raise Mistake("What comes out does not have the distribution p.")


mistakes_most, mistakes_all = most_letters, all_letters


def bug_loss(given: Any, right: Any) -> None:
    if any(given["the graph kept"]):
        raise Mistake("Return the loss without its graph: loss.detach().")
    found, wanted = numbers(given["the loss"]), numbers(right["the loss"])
    close(found, wanted, rtol=1e-4, atol=1e-4)


def bug_past(given: Any, right: Any) -> None:
    # The function is compared with itself, so a wrong loss or a wrong update loses nothing here.
    one, four, backwards = (numbers(given[name]) for name in ("one text", "four texts", "backwards"))
    last = torch.stack([numbers(each) for each in given["with another vector of the last token"]])
    if not len(one) == len(four) == len(backwards) == len(last) == 3:
        raise Mistake("The loss must be a single number.")
    if not (last[:, 0] - last[:, 1]).abs().max() < 1e-5:
        raise Mistake("The vector of the last token changed the loss.")
    if not (one - four).abs().max() < 1e-4:
        raise Mistake("A prediction is not made from all tokens before it, weighted by `recent`.")
    if not (one - backwards).abs().max() > 1e-3:
        raise Mistake("The order of the text has no influence.")


def bug_update(given: Any, right: Any) -> None:
    # The step is compared with differences of the function's own losses, so a wrong loss loses nothing here.
    for found, drawn, rate in zip(given["steps"], right["steps"], right["learning rates"], strict=True):
        after = zip(found["the tables after the step"], drawn["tables"], strict=True)
        steps = [tensor(table, start, "A table") - start for table, start in after]
        by_table = [(i // 4, *each) for i, each in enumerate(zip(found["nearby"], drawn["nearby"], strict=True))]
        for which in (0, 1):
            nearby = [(near["losses"], point["shift"]) for i, near, point in by_table if i == which]
            measured = torch.stack([numbers(losses).diff().neg()[0] for losses, _ in nearby])
            expected = torch.stack([-2 / rate * (steps[which] * shift).sum() for _, shift in nearby])
            if not measured.abs().max() > 1e-7:
                raise Mistake("The loss does not depend on one of the tables.")
            # Relative to the largest of the four, since the loss may hardly change along one of them.
            if not (expected - measured).abs().max() < 1e-2 * measured.abs().max():
                raise Mistake("The step is not -learning_rate times the gradient of the loss.")


# Stand-ins for functions of earlier questions, which an answer may call.


def adapted(x: Tensor, weight: Tensor, adapters: list) -> Tensor:
    y = F.linear(x, weight.detach())
    for down, up, alpha in adapters:
        y = y + F.linear(F.linear(x, down), up) * alpha / down.shape[0]
    return y


def next_token_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


STAND_INS = {
    "merged-matrix": [adapted],
    "bug-loss": [next_token_loss],
    "bug-past": [next_token_loss],
    "bug-update": [next_token_loss],
}
