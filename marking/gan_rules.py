"""How the answers to notebooks/exercises/gan.py are marked, where being near the solution's numbers does not decide.

A rule compares what the student's answers returned with what the solution's did, both from `gan_asks.py`. It runs in a
process that never runs a student's code. Several rules build the right value from the student's own values, so that a
mistake that another check has marked costs nothing twice.
"""

from typing import Any

import torch
from torch import Tensor, nn

from aigc_course.grading.marking import Mistake, all_letters, close, most_letters, tensor


def _near(given: Any, right: Any, name: str, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    close({name: given[name]}, {name: right[name]}, rtol, atol)


def _scalar(value: Any, what: str) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    if type(value) not in (int, float):
        raise Mistake(f"{what} must be a single number.")
    return float(value)


def _losses(given: Any, right: Any, tolerance: float) -> None:
    """Single numbers, near the right ones, and without their graphs."""
    for found, wanted in zip(given["the loss"], right["the loss"], strict=True):
        if not abs(_scalar(found, "The loss") - float(wanted)) < tolerance:
            raise Mistake("The loss is not what was asked for.")
    if any(given["with its graph"]):
        raise Mistake("Return the loss without its graph: loss.detach().")


def dloss_value(given: Any, right: Any) -> None:
    close(given, right, rtol=1e-4, atol=1e-4)


gloss_value = dloss_value


def best_value(given: Any, right: Any) -> None:
    close(given, right, rtol=0, atol=1e-3)


def dstep_own(given: Any, right: Any) -> None:
    _losses(given, right, tolerance=1e-5)
    _near(given, right, "the gradients", atol=1e-6)
    _near(given, right, "the weights", rtol=0, atol=0)


gstep_own = dstep_own


def _other(given: Any, right: Any, other: str) -> None:
    for own in given["own gradients"]:
        if not any(isinstance(gradient, Tensor) and (gradient != 0).any() for gradient in own):
            raise Mistake("Nobody got a gradient.")
    if given["requires grad"] != right["requires grad"]:
        raise Mistake("A player was frozen: requires_grad must be True for all weights.")
    if given["training"] != right["training"]:
        raise Mistake(f"The {other} was left in another mode.")
    for left_over, found, wanted in zip(right["before"], given["after"], right["after"], strict=True):
        for (weight, gradient), (old, before) in zip(found, wanted, strict=True):
            if not torch.equal(tensor(weight, old, "A weight"), old.double()):
                raise Mistake(f"A weight of the {other} was changed.")
            if left_over is None and gradient is not None:
                raise Mistake(f"A gradient reached the {other}.")
            if left_over is not None and gradient is None:
                raise Mistake(f"The {other}'s .grad was thrown away.")
            if left_over is not None and not torch.equal(tensor(gradient, before, ".grad"), before.double()):
                raise Mistake(f"The {other}'s .grad was changed.")


def dstep_other(given: Any, right: Any) -> None:
    _other(given, right, "generator")


def gstep_other(given: Any, right: Any) -> None:
    _other(given, right, "discriminator")


def optimal_stable(given: Any, right: Any) -> None:
    moderate = tensor(given["D*"], right["D*"], "D*")
    if not moderate.std() > 0.01:
        raise Mistake("The answer must depend on the densities.")
    equal = tensor(given["D* of equal densities"], right["D* of equal densities"], "D*")
    if not equal.isfinite().all():
        raise Mistake("D* of two equal densities must be a number.")
    # Only ratios matter, so a common factor changes nothing: this holds for a wrong formula too.
    name = "D* with a common factor"
    close({name: given[name]}, {name: [moderate] * len(right[name])}, rtol=1e-3, atol=1e-4)
    extreme = tensor(given["D* of extreme ratios"], right["D* of extreme ratios"], "D*")
    surely_fake, surely_real = extreme.abs() < 1e-6, (extreme - 1).abs() < 1e-6
    if not (surely_fake.any() and surely_real.any() and (surely_fake | surely_real).all()):
        raise Mistake("Ratios of e^300 and more have the answers 0 and 1.")


def value_extreme(given: Any, right: Any) -> None:
    # A tiny probability is as good as none. The function is compared with itself, so a wrong formula loses nothing.
    without_zeros = _scalar(given["without zeros"], "The value")
    if not abs(without_zeros - _scalar(given["at p = q"], "The value")) > 0.01:
        raise Mistake("The value must depend on the distributions.")
    if not abs(_scalar(given["with zeros"], "The value") - without_zeros) < 0.01:
        raise Mistake("Zeros instead of probabilities of 0.00001 change the value.")
    for tiny, _ in zip(given["with tiny probabilities"], right["with tiny probabilities"], strict=True):
        if not abs(_scalar(tiny, "The value") - without_zeros) < 0.01:
            raise Mistake("Probabilities such as e^-20, e^-50 or e^-120 change the value.")
    if not abs(_scalar(given["with nothing in common"], "The value")) < float("inf"):
        raise Mistake("Two distributions without a common outcome have a finite value.")


def size_conv(given: Any, right: Any) -> None:
    for case, found, wanted in zip(right["the cases"], given["the sizes"], right["the sizes"], strict=True):
        if type(found) is not int:
            raise Mistake("A size is an int.")
        if found != wanted:
            names = ("size", "kernel", "stride", "padding", "output_padding")
            what = ", ".join(f"{name} {number}" for name, number in zip(names, case, strict=False))
            raise Mistake(f"{what}: the size is {wanted}, not {found}.")


size_transposed = size_conv


def _plain(data: Any) -> Any:
    """Rows of an array as lists, which they may be as well."""
    if isinstance(data, Tensor):
        return data.tolist()
    return [_plain(each) for each in data] if isinstance(data, list) else data


def layers_both(given: Any, right: Any) -> None:
    for player, numbers, size, end in (("the generator", 4, 1, 45), ("the discriminator", 3, 45, 1)):
        layers = _plain(given[player])
        # Every layer changes the size, so more than 44 are never right.
        if type(layers) is not list or not 3 <= len(layers) <= 44:
            raise Mistake(f"For {player} a list of at least three layers is asked for.")
        kind: Any = nn.ConvTranspose3d if numbers == 4 else nn.Conv3d
        # On the meta device tensors have shapes but no numbers, so nothing is computed.
        picture, sizes = torch.empty(1, 1, size, size, size, device="meta"), [size]
        for layer in layers:
            if type(layer) is not list or len(layer) != numbers or any(type(each) is not int for each in layer):
                raise Mistake(f"Each layer of {player} takes {numbers} integers.")
            if not 1 <= layer[1] <= layer[0] <= 7:
                raise Mistake(f"For each layer of {player}, stride <= kernel <= 7 is asked for.")
            # Without numbers PyTorch does not look at this.
            if numbers == 4 and not 0 <= layer[3] < layer[1]:
                raise Mistake("In each layer of the generator output_padding must be smaller than stride.")
            try:
                picture = kind(1, 1, *layer, device="meta")(picture)
            except (RuntimeError, ValueError, TypeError, OverflowError) as error:
                raise Mistake(f"The layer {tuple(layer)} of {player} cannot follow a size of {sizes[-1]}.") from error
            sizes.append(picture.shape[-1])
        if sizes[-1] != end:
            raise Mistake(f"The layers of {player} end at a size of {sizes[-1]}, not {end}.")
        if sizes != sorted(set(sizes), reverse=end == 1):
            raise Mistake(f"Every layer of {player} must change the size, in one direction: {sizes}.")


def penalty_direction(given: Any, right: Any) -> None:
    # The function is compared with itself, so a wrong norm loses nothing.
    for several, single, _ in zip(
        given["several pixels"], given["a single pixel"], right["several pixels"], strict=True
    ):
        found, wanted = _scalar(several, "The penalty"), _scalar(single, "The penalty")
        if not abs(found - wanted) < 1e-5 + 1e-4 * abs(wanted):
            raise Mistake("Several pixels do not have the slope along y that they have together.")
    drawn = {
        name: [_scalar(each, "The penalty") for each, _ in zip(given[name], right[name], strict=True)]
        for name in ("by rng", "by torch's own", "one example only", "drawn")
    }
    first, again, other = drawn["by rng"]
    if not first == again:
        raise Mistake("rng alone decides: with the same seed it must give the same directions again.")
    if first == other:
        raise Mistake("Another seed of rng must give other directions.")
    if len(set(drawn["by torch's own"])) != 2:
        raise Mistake("Without rng, torch's own generator decides.")
    if len(set(drawn["one example only"])) != 2:
        raise Mistake("Every example has a direction of its own.")
    # One eps for each of 12,000 examples. The bound is 13 standard errors, and 6 where the squared norm is taken.
    evenly = _scalar(given["evenly"], "The penalty")
    if not abs(sum(drawn["drawn"]) / len(drawn["drawn"]) / evenly - 1) < 0.25:
        raise Mistake("eps is not drawn from N(0, I).")


def penalty_norm(given: Any, right: Any) -> None:
    close(given, right, rtol=1e-4, atol=1e-4)


def penalty_graph(given: Any, right: Any) -> None:
    if any(each is not None for each in given[".grad of the weights"]):
        raise Mistake("The penalty touched .grad of the weights.")
    if given["z requires grad"] is not False:
        raise Mistake("The given z was changed: it now requires gradients.")
    if given["the gradient"] is None:
        raise Mistake("No gradient of the penalty reaches the generator's weights.")
    gradient = tensor(given["the gradient"], right["the gradient"], "The gradient")
    # The gradient is compared with differences of the function's own values, so a wrong norm loses nothing.
    further, back = (
        torch.tensor([_scalar(each, "The penalty") for each in given[f"the penalty a step {way}"]], dtype=torch.float64)
        for way in ("further", "back")
    )
    steps = right["the steps"]
    found, wanted = 2 * (gradient * steps).sum(dim=(1, 2)), tensor(further - back, steps[:, 0, 0])
    if not wanted.norm() > 1e-8:
        raise Mistake("The penalty must depend on the generator's weights.")
    if not (found - wanted).norm() < 1e-3 * wanted.norm():
        raise Mistake("The gradient for the generator's weights is wrong.")


def coverage_classes(given: Any, right: Any) -> None:
    names = ("samples near their class", "samples near the other class")
    near, exchanged = (tensor(given[name], right[name], "The coverage") for name in names)
    if not near.min() > 0:
        raise Mistake("Samples close to the real pictures of their class cover some of them.")
    if not (exchanged == 0).all():
        raise Mistake("A picture of another class than was asked for covers nothing.")
    for together, alone, wanted in zip(given["together"], given["alone"], right["together"], strict=True):
        found = tensor(together, wanted, "The coverage")
        if not found[2] == 0:
            raise Mistake("A class for which no sample was asked has the coverage 0.")
        # The function is compared with itself, class by class, so wrong balls lose nothing.
        for y, single in zip((0, 1, 3), alone, strict=True):
            if not abs(found[y].item() - _scalar(single, "The coverage")) < 1e-5:
                raise Mistake("A class has another coverage among others than alone.")


mistakes_most, mistakes_all = most_letters, all_letters


def bug_discriminator(given: Any, right: Any) -> None:
    _losses(given, right, tolerance=1e-4)
    _near(given, right, "the bias after the step", rtol=0)
    # How the generated pictures move the weights shows in a difference, in which the real ones cancel.
    name = "the weights after the step"
    found, wanted = (torch.stack(each[name]).double() for each in (given, right))
    close({name: found[::2] - found[1::2]}, {name: wanted[::2] - wanted[1::2]}, rtol=1e-3)


def bug_generator(given: Any, right: Any) -> None:
    _losses(given, right, tolerance=1e-4)
    _near(given, right, "the weights after the step")
    # The order. The function is compared with itself, so a wrong step of the discriminator loses nothing: both players
    # at once must do what the discriminator alone and then the generator alone do.
    before = _scalar(given["before the discriminator's step"], "The loss")
    (alone, alone_bias), (both, both_bias) = given["after it"], given["both steps"]
    alone, both = _scalar(alone, "The loss"), _scalar(both, "The loss")
    # A discriminator that makes no step has lost its own point already.
    if not abs(alone - before) <= 1e-3:
        if not abs(both - alone) < 1e-4:
            raise Mistake("The generator's loss is not against the discriminator after its step.")
        wanted = tensor(alone_bias, right["after it"][1], "The bias")
        close({"the bias after both steps": both_bias}, {"the bias after both steps": wanted})


def bug_data(given: Any, right: Any) -> None:
    _near(given, right, "x", rtol=0, atol=0)
    names = ("dark", "lit", "lit, seen the other way round")
    dark, lit, other_way = (_scalar(given[name], "The loss") for name in names)
    # The function is compared with itself, so a wrong loss or a wrong update loses nothing.
    if not abs(dark - lit) > 0.1:
        raise Mistake("The real pictures have no influence.")
    if not abs(dark - other_way) < 1e-4:
        raise Mistake("A dark pixel is not the opposite of a lit one.")
    for found, wanted, _ in zip(given["at the same place"], given["with a bias"], right["with a bias"], strict=True):
        if not abs(_scalar(found, "The loss") - _scalar(wanted, "The loss")) < 1e-4:
            raise Mistake("A real pixel and a generated one of the same brightness differ.")


# Stand-in for a function of an earlier question, which an answer may call.


def optimal_discriminator(log_p: Tensor, log_q: Tensor) -> Tensor:
    return torch.stack([log_p, log_q]).softmax(dim=0)[0]


STAND_INS = {"value-common": [optimal_discriminator], "value-extreme": [optimal_discriminator]}
