"""How the answers to notebooks/exercises/rl.py are marked, where being near the solution's numbers does not decide.

A rule compares what the student's answers returned with what the solution's did, both from `rl_asks.py`. It runs in a
process that never runs a student's code. Several rules build the right value from the student's own values, so that a
mistake that another check has marked costs nothing twice. The bounds for what is drawn at random are 6 and more
standard errors wide.
"""

from typing import Any

import torch
from torch import Tensor, nn

from aigc_course.grading.marking import Mistake, all_letters, close, most_letters, tensor, untouched

# Stand-ins for functions of earlier questions, which an answer may call. They come first, since one of them has the
# name of a check, too.


def bellman_targets(
    rewards: Tensor, terminated: Tensor, truncated: Tensor, next_values: Tensor, discount: float
) -> Tensor:
    return torch.where(terminated, rewards, rewards + discount * next_values)


def double_values(online: nn.Module, target: nn.Module, next_states: Tensor) -> Tensor:
    with torch.no_grad():
        rows = torch.arange(len(next_states))
        return target(next_states)[rows, online(next_states).argmax(dim=1)]


def epsilon_greedy(values: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    chances = torch.full_like(values, epsilon / values.shape[1])
    chances[torch.arange(len(values)), values.argmax(dim=1)] += 1 - epsilon
    return torch.multinomial(chances, 1, generator=generator)[:, 0]


_JUDGING, _ACTING = [bellman_targets, double_values], [epsilon_greedy]


def _tensors(given: Any, right: Any) -> None:
    if given["types"] != right["types"]:
        raise Mistake("What is returned must be a tensor.")


def _near(given: Any, right: Any, name: str) -> None:
    close({name: given[name]}, {name: right[name]}, atol=1e-4)


def _finite(given: Any, right: Any, what: str) -> Tensor:
    found = tensor(given, right, what)
    if not found.isfinite().all():
        raise Mistake(f"{what} must be finite numbers.")
    return found


# Question 1


def targets_terminated(given: Any, right: Any) -> None:
    _tensors(given, right)
    _near(given, right, "the targets")
    untouched(given["what was given"], right["what was given"])


def targets_truncated(given: Any, right: Any) -> None:
    for case, wanted in zip(given["the targets"], right["the targets"], strict=True):
        limited, free, low, high = (
            _finite(case[name], wanted["cut"], "The targets")
            for name in ("with a time limit", "without", "of games that go on", "of games worth more")
        )
        # Compared with itself: the time limit changes nothing, whether the game is over or not.
        if not (limited - free).abs().max() < 1e-4:
            raise Mistake("A time limit must change no target, whether the game is over or not.")
        if not (high - low)[wanted["cut"]].abs().min() > 0.1:
            raise Mistake("Where an episode was cut off, next_values must matter.")


# Question 2


def epsilon_greedy(given: Any, right: Any) -> None:  # type: ignore[no-redef]
    _tensors(given, right)
    for found, wanted in zip(given["the actions"], right["the actions"], strict=True):
        if found.dtype != torch.int64:
            raise Mistake("Actions are whole numbers (torch.long).")
        if not torch.equal(tensor(found, wanted, "The answer"), wanted.double()):
            raise Mistake("Without exploration, the first of the most valuable actions is to be taken in each row.")


def epsilon_random(given: Any, right: Any) -> None:
    name = "of nothing but exploration"
    for case, wanted in zip(given[name], right[name], strict=True):
        found, values = tensor(case["actions"], wanted["actions"], "The answer"), wanted["values"]
        actions = values.shape[1]
        for action in range(actions):
            if not ((found == action).double().mean() - 1 / actions).abs() < 0.04:
                raise Mistake(f"With epsilon = 1, each of {actions} actions must be done equally often.")
        # Evenly whatever is best, and independently of the row before.
        if not ((found == values.argmax(dim=1)).double().mean() - 1 / actions).abs() < 0.04:
            raise Mistake("With epsilon = 1, what is done must not depend on what is best.")
        if not ((found[1:] == found[:-1]).double().mean() - 1 / actions).abs() < 0.04:
            raise Mistake("With epsilon = 1, what a row does must not depend on the row before.")


def epsilon_mixture(given: Any, right: Any) -> None:
    shares = {}
    for name, wanted in right["the actions"].items():
        found = tensor(given["the actions"][name], wanted, "The answer")
        shares[name] = torch.stack([(found == action).double().mean() for action in range(4)])
    # Between 0 and 1 the shares must be a mixture of what the function itself does at 0 and at 1, so that a wrong
    # greedy or a wrong random action loses nothing.
    greedy, random = shares["epsilon 0.0"], shares["epsilon 1.0"]
    if not (greedy - random).abs().max() > 0.1:
        raise Mistake("Epsilon changes nothing.")
    for epsilon, bound in ((0.1, 0.06), (0.5, 0.06), (0.8, 0.1)):
        expected = (1 - epsilon) * greedy + epsilon * random
        if not (shares[f"epsilon {epsilon}"] - expected).abs().max() < bound:
            raise Mistake(f"With epsilon = {epsilon}, a row must explore with this probability.")
    # Of 40 rows some explore and some do not, in (nearly) every batch.
    explore, none = (tensor(given[name], right[name], "The answer") for name in ("some explore", "none explores"))
    same = (explore == none).sum(dim=1)
    if not ((same > 0) & (same < 40)).sum() > 90:
        raise Mistake("Each row of the batch must decide for itself whether it explores.")


def epsilon_generator(given: Any, right: Any) -> None:
    name = "a little exploration"
    for case, wanted in zip(given[name], right[name], strict=True):
        first, again = (tensor(case["the same seed"][k], wanted["the same seed"][k], "The answer") for k in range(2))
        others, row = (
            tensor(case[which], wanted[which], "The answer") for which in ("other seeds", "one after the other")
        )
        if not torch.equal(first, again) or not torch.equal(row[0], first):
            raise Mistake("With the same seed of the generator, the same actions must come again.")
        if not (others != first).any():
            raise Mistake("With another seed of the generator, other actions must come.")
        if not (row[1:] != first).any():
            raise Mistake("A second call with the same generator must not repeat the first.")
    first, again = (tensor(each, right["nothing but exploration"][0]) for each in given["nothing but exploration"])
    if not torch.equal(first, again):
        raise Mistake("With the same seed of the generator, the same actions must come again.")


# Question 3


def ring_rows(given: Any, right: Any) -> None:
    for case, wanted in zip(given["cases"], right["cases"], strict=True):
        if case["added"] != wanted["added"]:
            raise Mistake("“added” must grow by the number of rows in each batch.")
        for name, column in wanted["the buffer"].items():
            found = case["the buffer"][name]
            if not torch.equal(tensor(found, column, f"The column {name}"), column.double()):
                raise Mistake(f"The column {name} does not hold what was added, or not where it belongs.")
            kept = tensor(case["its first tensors"][name], column, f"The column {name}")
            if found.dtype != column.dtype or not torch.equal(kept, column.double()):
                raise Mistake("The columns of the buffer must stay the tensors they are, and be changed in place.")
        untouched(case["the batches"], wanted["the batches"], "The tensors of the batch")


def ring_oldest(given: Any, right: Any) -> None:
    name = "the buffer, and a large one"
    for (ring, line), (wanted, large) in zip(given[name], right[name], strict=True):
        rewards = wanted["rewards"].double()
        if not torch.equal(tensor(ring["rewards"], rewards, "The column rewards"), rewards):
            raise Mistake("Once the buffer is full, the newest transitions must take the places of the oldest ones.")
        # Compared with the function itself in a buffer so large that nothing is overwritten: a forgotten column, for
        # instance, loses nothing here.
        numbers = (large["rewards"][:, None] == wanted["rewards"]).int().argmax(dim=0)
        for column in wanted:
            found = tensor(ring[column], wanted[column], f"The column {column}")
            if not torch.equal(found, tensor(line[column], large[column], f"The column {column}")[numbers]):
                raise Mistake(f"The column {column} goes round the end of the ring in another way than the rewards.")


def _places(drawn: Tensor, stored: Tensor) -> Tensor:
    """Where the rewards that were drawn stand among those that are stored."""
    same = drawn[:, None] == stored
    if not same.any(dim=1).all():
        raise Mistake("Rewards were drawn that do not stand in the buffer, or that nobody has added.")
    return same.int().argmax(dim=1)


def draw_rows(given: Any, right: Any) -> None:
    for case, wanted in zip(given["cases"], right["cases"], strict=True):
        batch, stored = case["the batch"], wanted["the buffer"]
        if batch.keys() != wanted["the batch"].keys():
            raise Mistake("A batch has the five columns, and nothing else.")
        for name, column in wanted["the batch"].items():
            tensor(batch[name], column, f"The column {name}")
            if batch[name].dtype != column.dtype:
                raise Mistake(f"The column {name} does not have the type of the buffer's.")
        places = _places(batch["rewards"], stored["rewards"])
        for name in batch:
            if not torch.equal(batch[name], stored[name][places]):
                raise Mistake(f"The column {name} belongs to other transitions than the rewards.")
        untouched(case["the buffer"], stored, "The tensors of the buffer")


def draw_evenly(given: Any, right: Any) -> None:
    for case, wanted in zip(given["the rewards"], right["the rewards"], strict=True):
        found, stored = tensor(case["drawn"], wanted["drawn"], "The column rewards"), wanted["stored"].double()
        places, count = _places(found, stored), len(stored)
        for place in range(count):
            if not ((places == place).double().mean() - 1 / count).abs() < 0.04:
                raise Mistake("Of the transitions that are stored, some are drawn more often than others.")
            # Two rows that follow each other have nothing to do with each other.
            follows = (places[1:] - places[:-1]) % count == place
            if not (follows.double().mean() - 1 / count).abs() < 0.04:
                raise Mistake("What is drawn depends on what was drawn before.")


def stack_rows(given: Any, right: Any) -> None:
    _tensors(given, right)
    for found in given["the stacks"]:
        if found.dtype != torch.uint8:
            raise Mistake("The stacks are bytes (torch.uint8).")
    _near(given, right, "the stacks")
    untouched(given["what was given"], right["what was given"])


# Question 4


def double_choice(given: Any, right: Any) -> None:
    _tensors(given, right)
    _near(given, right, "the values")


def double_gradient(given: Any, right: Any) -> None:
    if given["has a gradient"]:
        raise Mistake("A gradient could flow through these values into a network.")
    for network, wanted in zip(given["the networks"], right["the networks"], strict=True):
        if network["can learn"] is not True:
            raise Mistake("A network was frozen for good.")
        if network["in the mode of training"] is not True:
            raise Mistake("A network was left in another mode than before.")
        if network["the gradient"] is not None:
            raise Mistake("A gradient has reached a network.")
        untouched(network["the table"], wanted["the table"], "The networks")
    # Which values they are does not matter here, as long as they come from the networks.
    values, others = given["the values"], given["the values of other tables"]
    if not (tensor(others, values) - tensor(values, values)).abs().max() > 0.1:
        raise Mistake("No network has an influence on these values.")


def huber_gradient(given: Any, right: Any) -> None:
    for case, wanted in zip(given["the gradients"], right["the gradients"], strict=True):
        tensor(case["the loss"], wanted["the loss"], "The loss")
        if case["of online"] is None:
            raise Mistake("No gradient reaches the online network.")
        if case["of target"] is not None and not (case["of target"] == 0).all():
            raise Mistake("A gradient reaches the target network.")
        reached = _finite(case["of online"], wanted["of online"], "The gradient") != 0
        if not torch.equal(reached, wanted["of online"] != 0):
            raise Mistake("The gradient must reach the values of the actions taken, all of them, and nothing else.")


# Question 5


def variance_exact(given: Any, right: Any) -> None:
    close(given, right, rtol=1e-4, atol=1e-4)


def advantage_others(given: Any, right: Any) -> None:
    _tensors(given, right)
    _near(given, right, "the advantages")
    untouched(given["what was given"], right["what was given"])


def surrogate_gradient(given: Any, right: Any) -> None:
    for case, wanted in zip(given["the gradients"], right["the gradients"], strict=True):
        tensor(case["the loss"], wanted["the loss"], "The loss")
        slopes, others = case["of the logits"], case["of the advantage"]
        if slopes is None:
            raise Mistake("No gradient reaches the logits.")
        if others is not None and not (others == 0).all():
            raise Mistake("No gradient may flow into the advantage.")
        try:
            close(slopes, wanted["of the logits"])
        except Mistake:
            raise Mistake("The gradient is not minus the estimate from these texts, averaged over them.") from None


def surrogate_padding(given: Any, right: Any) -> None:
    name = "the loss and its gradient"
    for case, wanted in zip(given[name], right[name], strict=True):
        steps = []
        for which in ("with padding", "without"):
            for (loss, slope), (right_loss, right_slope) in zip(case[which], wanted[which], strict=True):
                if slope is None:
                    raise Mistake("No gradient reaches the logits.")
                steps.append((tensor(loss, right_loss, "The loss"), _finite(slope, right_slope, "The gradient")[0]))
        # Compared with itself where the padding is cut off, so another mistake in the loss loses nothing here.
        for (whole, slope), (short, cut) in zip(steps[:3], steps[3:], strict=True):
            length = len(cut)
            if not (whole - short).abs() < 1e-4:
                raise Mistake("The padding changes the loss.")
            if not (slope[:length] - cut).abs().max() < 1e-4 or not (slope[length:] == 0).all():
                raise Mistake("The padding changes the gradient, or a gradient reaches the padding.")
            if not cut.abs().amax(dim=1).min() > 0:
                raise Mistake("A token that was drawn has no gradient.")
            if not (slope[0] - steps[0][1][0]).abs().max() < 1e-4:
                raise Mistake("A token must count the same whether its text is long or short.")
        both = case["a short and a long text"][1]
        both = _finite(both, wanted["a short and a long text"][1], "The gradient")
        if not (both[0, 0] - both[1, 0]).abs().max() < 1e-4 * both[0, 0].abs().max():
            raise Mistake("The first token of a short text must count as much as that of a long one.")
        if not (both[0, 1:] == 0).all():
            raise Mistake("In a batch of texts, a gradient reaches the padding.")


def charge_kl(given: Any, right: Any) -> None:
    _tensors(given, right)
    if any(given["with a gradient"]):
        raise Mistake("A reward has no gradient.")
    _near(given, right, "the rewards")


# Question 6


mistakes_most, mistakes_all = most_letters, all_letters


def _states(after: Any, count: int, states: int) -> Tensor:
    """The states to go on from, as whole numbers."""
    try:
        found = torch.as_tensor(after, dtype=torch.float64)
    except (TypeError, ValueError):
        raise Mistake("What is returned must be a state: a whole number.") from None
    if not (found.shape == (count,) and ((found == found.round()) & (found >= 0) & (found < states)).all()):
        raise Mistake("What is returned must be a state: a whole number.")
    return found.long()


def _towards(step: Tensor, way: Tensor, message: str) -> None:
    """Raise `Mistake` unless each step is the same fraction of the way to the target, whatever the learning rate."""
    fraction = (step * way).sum() / way.square().sum()
    if not 0.03 < fraction < 1.95 or not (step - fraction * way).abs().max() < 1e-4 * (1 + way.abs().max()):
        raise Mistake(message)


def bug_ends(given: Any, right: Any) -> None:
    steps, ways = [], []
    for case, wanted in zip(given["worlds"], right["worlds"], strict=True):
        before, rewards = (torch.tensor(wanted[name]).double() for name in ("values before", "rewards"))
        found = tensor(case["values after"], wanted["values after"], "The table")
        after = set(_states(case["states to go on from"], len(before), 2).tolist())
        if wanted["terminal"] and after != {0}:
            raise Mistake("After the end of a game, the agent must go on from state 0.")
        if not wanted["terminal"] and wanted["interrupted"] == 1 and after != {0}:
            raise Mistake("After an interruption, the agent must go on from state 0.")
        if not wanted["terminal"] and wanted["interrupted"] == 0 and after != {1}:
            raise Mistake("Where nothing has ended, the agent must go on from the next state.")
        if not wanted["terminal"] and 0 < wanted["interrupted"] < 1 and after != {0, 1}:
            raise Mistake("Only after an interruption must the agent go on from state 0.")
        coming = 0.0 if wanted["terminal"] else right["discount"] * before
        steps.append(found - before)
        ways.append(rewards + coming - before)
    _towards(torch.cat(steps), torch.cat(ways), "In a world with ends or interruptions, a step has the wrong target.")


def bug_path(given: Any, right: Any) -> None:
    steps, ways = [], []
    for case, wanted in zip(given["worlds"], right["worlds"], strict=True):
        leads, rewards, actions = wanted["ways"], wanted["rewards"].double(), wanted["ways"].shape[1]
        for each, known in zip(case["steps"], wanted["steps"], strict=True):
            state, before = known["state"], known["table before"].double()
            tables = tensor(each["tables after"], known["tables after"], "The table")
            after = _states(each["states to go on from"], len(tables), len(leads))
            is_done = after[:, None] == leads[state]
            if not is_done.any(dim=1).all():
                raise Mistake("The state to go on from is not the one that the action led to.")
            done = is_done.int().argmax(dim=1)
            if known["epsilon"] == 0 and not (done == before[state].argmax()).all():
                raise Mistake("Without exploration, the best action must be done.")
            if known["epsilon"] > 0 and len(done.unique()) < actions:
                raise Mistake("With exploration, every action must be done now and then.")
            change = tables - before
            rows = torch.arange(len(done))
            step = change[rows, state, done].clone()
            change[rows, state, done] = 0
            if not (change == 0).all():
                raise Mistake("A step must change the entry of its state and of the action done, and no other.")
            steps.append(step)
            ways.append(rewards[after] + right["discount"] * before[after].amax(dim=1) - before[state, done])
    _towards(torch.cat(steps), torch.cat(ways), "In a world without chance or ends, a step has the wrong target.")


def bug_chance(given: Any, right: Any) -> None:
    for case, wanted in zip(given["worlds"], right["worlds"], strict=True):
        before, rates, rewards = (
            torch.tensor(wanted[name]).double() for name in ("values before", "learning rates", "rewards")
        )
        found = tensor(case["values after"], wanted["values after"], "The table")
        after = _states(case["states to go on from"], len(before), 2)
        if not ((after == 0).double().mean() - wanted["chance"]).abs() < 0.2:
            raise Mistake("The next states do not come as often as their chances say.")
        # All entries were the same, so it does not matter whose value is taken for what comes next.
        way = rewards[after] + right["discount"] * before - before
        if not (found - before - rates * way).abs().max() < 1e-4 * (1 + way.abs().max()):
            raise Mistake("The entry must move a fraction of the way to its target: the learning rate says which.")


STAND_INS = {
    "huber-value": _JUDGING,
    "huber-gradient": _JUDGING,
    "bug-ends": _ACTING,
    "bug-path": _ACTING,
    "bug-chance": _ACTING,
}
