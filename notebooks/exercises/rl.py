# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Assignment: reinforcement learning
#
# Deep Q-learning is a handful of short functions: a target, a choice of actions, a memory, a loss. An agent in which
# one of them is wrong still plays, still learns something, and raises no error; it only never becomes good. Here you
# write these functions, and repair an agent that plays on and on and gets every value wrong. Read the chapters
# [Learning what actions are worth](../rl/q_learning.ipynb) and [Deep Q-learning](../rl/dqn.ipynb) first; plan three
# hours.
#
# | Question | After it you can | Points |
# | --- | --- | --- |
# | 1. What an action should have been worth | compute Bellman targets, and tell an end from an interruption | 3 |
# | 2. A choice with a little chance in it | choose actions ε-greedily, for a whole batch at once | 4 |
# | 3. The replay buffer | store transitions in a ring of fixed size, and draw evenly from it | 6 |
# | 4. Double DQN | say which network chooses and which one judges, and where the gradient may go | 7 |
# | 5. Find the bug | tell an agent that moves from an agent that learns | 6 |
# | 6. In your own words | explain three things that go wrong in silence when an agent learns | 4 |
#
# **How to work.** Write your code where `# YOUR CODE HERE` stands and delete the line `raise NotImplementedError()`
# below it. You may add cells of your own, for further imports as well. Do not copy, split or delete the cells that are
# here: the grading program knows them by hidden labels, and restores all of them but your answers. Avoid
# `from … import *`: it can put other functions in the place of Python's own `sum`, `max` or `abs`, which the checks use.
#
# **How it is graded.** The cells that begin with `# Check` call your function. If such a cell runs without an error,
# you have passed the checks you can see; when your work is graded, each of these cells also runs further checks of
# what the docstring promises. Values count, not whether they are in single or double precision. Every check has its
# own points, and every question is graded on its own: a mistake in one question costs nothing in the next. Question 6
# is read by a person.
#
# **How to hand in.** Restart the kernel and run all cells once more. Download the notebook (on Colab:
# *File → Download → Download .ipynb*), name it `rl.ipynb` (without "Copy of"), and send it the way your teacher asks.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Colab has all that this assignment needs; nothing is to be installed. Put further
# imports into a cell of your own: this one is restored when your work is graded.
import os
import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# a warning is no mistake, but the grading program would count it as one
if "NBGRADER_EXECUTION" in os.environ:
    warnings.simplefilter("ignore")

# %% [markdown]
# ## Notation
#
# A **transition** is one step of an agent: it was in a state $s$, did the action $a$, got the reward $r$, and found
# itself in the next state $s'$. A batch of transitions is a dictionary of tensors, one row for each transition:
#
# | Name | Shape | Meaning |
# | --- | --- | --- |
# | `states`, `next_states` | (batch, …) | $s$ and $s'$ |
# | `actions` | (batch,) | $a$, whole numbers from 0 to actions - 1 |
# | `rewards` | (batch,) | $r$ |
# | `terminated` | (batch,) | booleans: True where the game came to its end in $s'$ |
# | `discount` | | γ, a number from 0 to 1 |
#
# $Q(s, a)$ is the **value** of an action: what the rewards to come sum to on average, each step of waiting counting by
# a factor γ, if the agent does $a$ in $s$ and the best it can ever after. A Q-network takes a batch of states and
# returns a value for every action, (batch, actions). Random numbers come from a `torch.Generator` that is passed on to
# PyTorch's functions, as in `torch.rand(3, generator=generator)`: then the same seed gives the same numbers, whoever
# else draws some.

# %% [markdown]
# ## 1. What an action should have been worth (3 points)
#
# Once the reward is there and the next state is known, we know more about the action's value than before. Judged by
# this one step, it should have been
#
# $$y = r + \gamma \max_{a'} Q(s', a') .$$
#
# To use an estimate of what comes later in place of waiting for it is called to **bootstrap**. An episode can
# stop in two ways, and they are not the same ([Pardo et al., 2018](https://arxiv.org/abs/1712.00378)):
#
# - It is **terminated**: the game is over in $s'$, by its own rules. Nothing comes after it, so nothing is to be added.
# - It is **truncated**: somebody stopped watching, because of a time limit for example. The game would have gone on,
#   and the agent in $s'$ still had a future that was worth something.
#
# A step can be both at once: the game is over just when the time limit is reached. What counts then?


# %% nbgrader={"grade": false, "grade_id": "targets", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bellman_targets(rewards, terminated, truncated, next_values, discount):
    """Return what the actions taken should have been worth, by what came after
    them.

    rewards: (batch,). terminated, truncated: (batch,), booleans; both may be True
    in the same row.
    next_values: (batch,), the value of the best action in each next state s', also
    where the episode stopped in s'. (Where it terminated, that is a number without
    a meaning.) Returns (batch,); the given tensors stay as they are.
    """
    ### BEGIN SOLUTION
    going_on = (~terminated).to(next_values.dtype)
    return rewards + discount * going_on * next_values
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "targets-ongoing", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1a (1 point): episodes that go on.
### BEGIN HIDDEN TESTS
def _run(check):
    """Run a check with Python's own functions and the usual modules, whatever
    `import *` has put in their place.
    """
    import builtins
    import types

    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F

    usual = {"torch": torch, "Tensor": Tensor, "nn": nn, "F": F}
    names = {**globals(), **vars(builtins), **usual}
    for name in ("_exact", "_learn"):
        if name in names:
            code, defaults = names[name].__code__, names[name].__defaults__
            names[name] = types.FunctionType(code, names, name, defaults)
    types.FunctionType(check.__code__, names)()


_own = {}


def _choose(check, **stand_ins):
    """Put the stand-ins in the place of the student's functions, unless the check
    fails with them; return whether it passed.
    """
    for name, stand_in in stand_ins.items():
        if globals().get(name) is not stand_in:
            _own[name] = globals().get(name)
    globals().update(stand_ins)
    try:
        _run(check)
    except Exception:
        globals().update((name, _own[name]) for name in stand_ins)
        return False
    return True


### END HIDDEN TESTS
never = torch.tensor([False, False, False])
found = bellman_targets(
    torch.tensor([1.0, 0.0, -1.0]),
    never,
    never,
    torch.tensor([10.0, 4.0, -2.0]),
    0.5,
)
assert type(found) is Tensor, f"the answer must be a tensor, not {type(found)}"
assert found.shape == (3,), (
    f"a target for each of 3 transitions: shape (3,), not {tuple(found.shape)}"
)
right = torch.tensor([6.0, 2.0, -2.0])
torch.testing.assert_close(found, right, check_dtype=False)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(1)
    for batch, discount in [(1, 0.9), (7, 0.0), (32, 0.99), (32, 1.0)]:
        rewards, values = torch.randn(2, batch, generator=draw)
        never = torch.zeros(batch, dtype=torch.bool)
        found = bellman_targets(rewards, never, never, values, discount)
        expected = [
            r + discount * v
            for r, v in zip(rewards.tolist(), values.tolist(), strict=True)
        ]
        torch.testing.assert_close(
            found, torch.tensor(expected), rtol=1e-4, atol=1e-5, check_dtype=False
        )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "targets-terminated", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1b (1 point): games that are over.
over, never = torch.tensor([True, False]), torch.tensor([False, False])
ones, found = torch.tensor([1.0, 1.0]), []
for value in (-5.0, 50.0):
    after = torch.tensor([value, 3.0])
    found.append(bellman_targets(ones, over, never, after, 0.9))
assert found[0].shape == (2,), (
    f"the shape must be (2,), not {tuple(found[0].shape)}"
)
assert found[0][0] == found[1][0], (
    "where the game is over, next_values has no meaning and must not matter"
)
assert found[0][0] != found[0][1], (
    "where the game is not over, next_values must matter"
)


### BEGIN HIDDEN TESTS
def _check():
    # A game that is over is a game whose future is worth 0: the function is
    # compared with itself, so another mistake in the target loses nothing here.
    draw = torch.Generator().manual_seed(2)
    for batch in (4, 32):
        rewards, values = torch.randn(2, batch, generator=draw)
        over = torch.arange(batch) % 3 == 1
        never = torch.zeros(batch, dtype=torch.bool)
        given = [rewards, over, never, values]
        copies = [each.clone() for each in given]
        found = bellman_targets(*given, 0.9)
        for each, right in zip(given, copies, strict=True):
            assert torch.equal(each, right), "the given tensors were changed"
        expected = bellman_targets(
            rewards, never, never, values.masked_fill(over, 0.0), 0.9
        )
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert (found - bellman_targets(rewards, never, never, values, 0.9))[
            over
        ].abs().max() > 0.1, "the end of the game has no influence"
        assert (found - bellman_targets(rewards, over, never, values + 1, 0.9))[
            ~over
        ].abs().min() > 0.1, "where the game goes on, next_values must matter"


_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "targets-truncated", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1c (1 point): episodes that were cut off.
never, always = torch.tensor([False, False]), torch.tensor([True, True])
given = torch.tensor([1.0, 1.0]), torch.tensor([10.0, 20.0])
found = bellman_targets(given[0], never, always, given[1], 0.9)
assert found.shape == (2,), f"the shape must be (2,), not {tuple(found.shape)}"
assert found[0] != found[1], (
    "where an episode was cut off, what would have come after it still matters"
)


### BEGIN HIDDEN TESTS
def _check():
    # Compared with itself again: the time limit changes nothing, whether the game
    # is over or not.
    draw = torch.Generator().manual_seed(3)
    for batch in (4, 32):
        rewards, values = torch.randn(2, batch, generator=draw)
        over, cut = torch.arange(batch) % 4 > 1, torch.arange(batch) % 2 > 0
        never = torch.zeros(batch, dtype=torch.bool)
        found = bellman_targets(rewards, over, cut, values, 0.9)
        torch.testing.assert_close(
            found,
            bellman_targets(rewards, over, never, values, 0.9),
            rtol=1e-4,
            atol=1e-5,
        )
        low, high = (
            bellman_targets(rewards, never, cut, each, 0.9)
            for each in (values, values + 1)
        )
        assert (high - low)[cut].abs().min() > 0.1, (
            "where an episode was cut off, next_values must matter"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# How much does it matter? An agent gets a reward of 1 at every step of a game without an end, and γ is 0.99: what is
# that worth? Someone cuts each episode off after 100 steps. Below, two agents learn from the step before the cut; both
# think rightly that what comes after it is worth 100. Guess what each of them learns, then run the cell.

# %%
last_step = (
    torch.tensor([1.0]),
    torch.tensor([False]),
    torch.tensor([True]),
    torch.tensor([100.0]),
)
right = bellman_targets(*last_step, 0.99).item()
wrong = bellman_targets(
    last_step[0], last_step[2], last_step[2], last_step[3], 0.99
).item()
print(
    f"the last step before the time limit is worth {right:.0f};\n"
    f"to an agent that takes the cut for an end, {wrong:.0f}"
)

# %% [markdown]
# ## 2. A choice with a little chance in it (4 points)
#
# An agent that always does what it believes to be best never finds out that something else is better. So it
# **explores**: with probability ε it does something drawn at random, evenly from *all* actions, the best one included;
# otherwise it does what has the largest value. This choice is called **ε-greedy**. Many games are played side by side,
# and each row of the batch decides for itself.
#
# With 4 actions and ε = 0.2, how often is the best action done? And each of the others?


# %% nbgrader={"grade": false, "grade_id": "epsilon", "locked": false, "schema_version": 3, "solution": true, "task": false}
def epsilon_greedy(values, epsilon, generator):
    """Return an action for each row: the most valuable one, or with probability
    epsilon one drawn evenly from all.

    values: (batch, actions). epsilon: a number from 0 to 1. generator: a
    torch.Generator, the only source of chance. Whether a row explores and what it
    then does is independent of the other rows. Of several most valuable actions the
    first one is taken. Returns (batch,), whole numbers.
    """
    ### BEGIN SOLUTION
    batch, actions = values.shape
    drawn = torch.randint(actions, (batch,), generator=generator)
    is_exploring = torch.rand(batch, generator=generator) < epsilon
    return torch.where(is_exploring, drawn, values.argmax(dim=1))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "epsilon-greedy", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 2a (1 point): no exploration.
values = torch.tensor([[1.0, 3.0, 2.0], [-1.0, -2.0, -1.0]])
actions = epsilon_greedy(values, 0.0, torch.Generator().manual_seed(0))
assert type(actions) is Tensor, f"the actions must be a tensor, not {type(actions)}"
assert actions.dtype == torch.long, (
    f"actions are whole numbers (torch.long), not {actions.dtype}"
)
assert actions.shape == (2,), (
    f"one action for each of 2 rows: shape (2,), not {tuple(actions.shape)}"
)
assert actions.tolist() == [1, 0], (
    f"the best actions are 1 and 0, not {actions.tolist()}"
)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(4)
    for batch, actions in [(1, 2), (50, 6), (500, 3)]:
        # with many ties
        values = torch.randint(-3, 4, (batch, actions), generator=draw).float()
        found = epsilon_greedy(values, 0.0, draw).tolist()
        assert found == [row.index(max(row)) for row in values.tolist()], (
            "not the first of the most valuable actions"
        )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "epsilon-random", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 2b (1 point): nothing but exploration.
values = torch.tensor([1.0, 3.0, 2.0, 0.0]).repeat(4000, 1)
actions = epsilon_greedy(values, 1.0, torch.Generator().manual_seed(0))
assert actions.shape == (4000,), (
    f"4,000 rows: shape (4000,), not {tuple(actions.shape)}"
)
shares = [(actions == action).float().mean().item() for action in range(4)]
assert all(abs(share - 0.25) < 0.03 for share in shares), (
    f"all 4 actions must be equally likely, not {shares}"
)


### BEGIN HIDDEN TESTS
def _check():
    for seed, actions in enumerate([2, 3, 7]):
        draw = torch.Generator().manual_seed(seed)
        values = torch.randn(4000, actions, generator=draw)
        found = epsilon_greedy(values, 1.0, draw)
        for action in range(actions):
            assert (
                abs((found == action).float().mean().item() - 1 / actions) < 0.04
            ), f"action {action} of {actions} is not drawn as often as the others"
        # Evenly, whatever is best, and independently of the row before.
        for same in (found == values.argmax(dim=1), found[1:] == found[:-1]):
            assert abs(same.float().mean().item() - 1 / actions) < 0.04, (
                "a row depends on its best action, or on the row before"
            )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "epsilon-mixture", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 2c (1 point): a little exploration. Every row decides for itself.
values = torch.tensor([1.0, 3.0]).repeat(4000, 1)
often, rarely = (
    (epsilon_greedy(values, epsilon, torch.Generator().manual_seed(0)) == 1)
    .float()
    .mean()
    .item()
    for epsilon in (0.1, 0.9)
)
assert abs(often - rarely) > 0.2, (
    "ε must matter, but the best action is "
    f"done in shares of {often:.2f}, {rarely:.2f}"
)


### BEGIN HIDDEN TESTS
def _check():
    # Between 0 and 1 the shares must be a mixture of what the function itself does
    # at 0 and at 1, so that a wrong greedy or a wrong random action loses nothing.
    for best in (0, 3):
        values = F.one_hot(torch.tensor([best]), 4).float().repeat(2, 1)

        def shares(epsilon, values=values, best=best):
            draw = torch.Generator().manual_seed(5 + best + int(100 * epsilon))
            found = torch.cat(
                [epsilon_greedy(values, epsilon, draw) for _ in range(2400)]
            )
            assert found.shape == (4800,), (
                f"one action for each row, not shape {tuple(found.shape)}"
            )
            return torch.tensor(
                [(found == action).float().mean().item() for action in range(4)]
            )

        greedy, random = shares(0.0), shares(1.0)
        assert (greedy - random).abs().max() > 0.1, "epsilon changes nothing"
        for epsilon in (0.05, 0.3, 0.5, 0.8):
            expected = (1 - epsilon) * greedy + epsilon * random
            assert (shares(epsilon) - expected).abs().max() < 0.045, (
                f"epsilon {epsilon} does not explore in a share of {epsilon}"
            )
    # Each row has a choice of its own: of 16 rows, some explore and some do not, in
    # (nearly) every batch.
    draw = torch.Generator().manual_seed(6)
    mixed = 0
    for _ in range(200):
        values = torch.randn(16, 10, generator=draw)
        same = epsilon_greedy(values, 0.5, draw) == epsilon_greedy(
            values, 0.0, draw
        )
        mixed += 0 < same.sum() < 16
    assert mixed > 150, "the rows of a batch do not decide independently"


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "epsilon-generator", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 2d (1 point): chance comes from the generator alone.
values = torch.zeros(100, 5)
first, again = (
    epsilon_greedy(values, 1.0, torch.Generator().manual_seed(3)).tolist()
    for _ in range(2)
)
assert first == again, "the same seed must give the same actions"


### BEGIN HIDDEN TESTS
def _check():
    values = torch.randn(200, 5, generator=torch.Generator().manual_seed(7))
    for epsilon in (0.7, 0.9):  # the global generator is somewhere else each time
        found = [
            epsilon_greedy(
                values, epsilon, torch.Generator().manual_seed(seed)
            ).tolist()
            for seed in (8, 8, 9)
        ]
        assert found[0] == found[1], "the same seed must give the same actions"
        assert found[0] != found[2], "another seed, the same actions"
        draw = torch.Generator().manual_seed(8)
        assert epsilon_greedy(values, epsilon, draw).tolist() == found[0], (
            "the same seed must give the same actions"
        )
        assert epsilon_greedy(values, epsilon, draw).tolist() != found[0], (
            "the second call repeats the first"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Here are the shares that you thought about above. The best action is the third one.

# %%
values = torch.tensor([0.0, 1.0, 2.0, 1.5]).repeat(20_000, 1)
for epsilon in (0.0, 0.2, 1.0):
    actions = epsilon_greedy(values, epsilon, torch.Generator().manual_seed(0))
    shares = torch.bincount(actions, minlength=4) / len(actions)
    print(
        f"epsilon {epsilon}: the four actions are done in shares of",
        *[f"{share:.2f}" for share in shares.tolist()],
    )

# %% [markdown]
# ## 3. The replay buffer (6 points)
#
# An agent could learn from each transition once, as it comes, and forget it.
# [Lin (1992)](https://doi.org/10.1007/BF00992699) kept what had happened and learnt from it again and again. Deep
# Q-learning stores the last million transitions or so, and draws its batches from them
# ([Mnih et al., 2015](https://doi.org/10.1038/nature14236)). Question 6 asks what for.
#
# The memory is taken once, at the beginning, and then used as a **ring**: when the last place is filled, the next
# transition goes to the first place again, where the oldest one is. Nothing is ever moved or copied about. Count all
# transitions that were ever added, from 0: number $i$ stands at place $i \bmod \text{capacity}$.


# %% nbgrader={"grade": false, "grade_id": "buffer-new", "locked": true, "schema_version": 3, "solution": false, "task": false}
def new_buffer(capacity, width):
    """Return an empty buffer: five columns with a row for each transition, and how
    many were ever added.
    """
    return {
        "states": torch.zeros(capacity, width),
        "actions": torch.zeros(capacity, dtype=torch.long),
        "rewards": torch.zeros(capacity),
        "next_states": torch.zeros(capacity, width),
        "terminated": torch.zeros(capacity, dtype=torch.bool),
        "added": 0,
    }


# %% nbgrader={"grade": false, "grade_id": "buffer-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
def numbered(first, count):
    """Return a batch of made-up transitions, numbered first, first + 1, …; every
    value tells which one it is.
    """
    number = torch.arange(first, first + count)
    return {
        "states": number[:, None] + torch.tensor([0.0, 0.25]),
        "actions": number,
        "rewards": -number.float(),
        "next_states": number[:, None] + torch.tensor([0.5, 0.75]),
        "terminated": number % 3 == 2,
    }


# %% nbgrader={"grade": false, "grade_id": "ring", "locked": false, "schema_version": 3, "solution": true, "task": false}
def add_to_buffer(buffer, batch):
    """Store a batch of transitions; where the buffer is full, they take the places
    of the oldest ones.

    buffer: as from new_buffer. batch: a dictionary of the same five columns, each
    with 1 to capacity rows. Transition number i, counting from 0 all that were ever
    added, goes to row i modulo the capacity of every column. The columns of the
    buffer are changed in place and stay the tensors they are; "added" grows by the
    number of rows in the batch. The batch stays as it is. Returns nothing.
    """
    ### BEGIN SOLUTION
    count, capacity = len(batch["rewards"]), len(buffer["rewards"])
    places = torch.arange(buffer["added"], buffer["added"] + count) % capacity
    for name, rows in batch.items():
        buffer[name][places] = rows
    buffer["added"] += count
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "ring-rows", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3a (1 point): two batches in a buffer that has room for both.
buffer = new_buffer(capacity=8, width=2)
memory = buffer["states"]
add_to_buffer(buffer, numbered(0, 2))
add_to_buffer(buffer, numbered(2, 3))
assert buffer["added"] == 5, f"5 transitions were added, not {buffer['added']}"
assert buffer["actions"].tolist() == [0, 1, 2, 3, 4, 0, 0, 0], (
    f"wrong rows: {buffer['actions'].tolist()}"
)
assert buffer["states"] is memory, (
    "the buffer must keep its tensors and change them in place"
)


### BEGIN HIDDEN TESTS
def _check():
    for capacity, counts in [(8, (1, 1, 3)), (5, (5,)), (30, (7, 1, 12))]:
        buffer, filled = new_buffer(capacity, 2), 0
        columns = dict(buffer)
        for count in counts:
            batch, copy = numbered(filled, count), numbered(filled, count)
            add_to_buffer(buffer, batch)
            filled += count
            assert buffer["added"] == filled, (
                f"{filled} transitions were added, not {buffer['added']}"
            )
            assert all(torch.equal(batch[name], copy[name]) for name in copy), (
                "the batch was changed"
            )
        for name, expected in numbered(0, filled).items():
            assert buffer[name] is columns[name], (
                f"{name}: the buffer has another tensor than before"
            )
            assert buffer[name].dtype == new_buffer(1, 1)[name].dtype, (
                f"{name}: the tensor has another type than before"
            )
            assert torch.equal(buffer[name][:filled], expected), (
                f"{name}: what was added does not stand there"
            )
            assert not buffer[name][filled:].any(), "rows that nobody added"


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "ring-oldest", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 3b (2 points): a batch that goes round the end of the ring.
buffer = new_buffer(capacity=4, width=2)
add_to_buffer(buffer, numbered(0, 3))
add_to_buffer(buffer, numbered(3, 3))
found = (-buffer["rewards"]).tolist()
assert len(found) == 4, f"the buffer has 4 rows, not {len(found)}"
assert found == [4, 5, 2, 3], (
    "numbers 4 and 5 take the places of 0 and 1, "
    f"the oldest: [4, 5, 2, 3], not {found}"
)


### BEGIN HIDDEN TESTS
def _check():
    # Compared with the function itself in a buffer so large that nothing is
    # overwritten: a forgotten column, for instance, loses nothing here.
    for capacity, counts in [
        (4, (3, 3, 4, 1, 2)),
        (7, (7, 7, 1)),
        (5, (1,) * 13),
        (10, (8, 9, 10, 3)),
    ]:
        ring, line, filled = new_buffer(capacity, 2), new_buffer(100, 2), 0
        for count in counts:
            add_to_buffer(ring, numbered(filled, count))
            add_to_buffer(line, numbered(filled, count))
            filled += count
            numbers = range(max(0, filled - capacity), filled)
            assert [
                -ring["rewards"][number % capacity].item() for number in numbers
            ] == list(numbers), (
                f"capacity {capacity}: the last transitions do not stand in "
                "their places"
            )
            for name in numbered(0, 1):
                assert len(ring[name]) == capacity, (
                    f"{name}: the buffer has changed its size"
                )
                for number in numbers:
                    assert torch.equal(
                        ring[name][number % capacity], line[name][number]
                    ), (
                        f"{name}: row {number % capacity} is not that of "
                        f"number {number}"
                    )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now the drawing. Each row of the batch is drawn evenly from the transitions that are stored, **with replacement**: a
# transition may come twice, and the batch may be larger than what is stored. A buffer that is not full yet
# holds rows that nobody has added. They must never come.


# %% nbgrader={"grade": false, "grade_id": "draw", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sample_from_buffer(buffer, count, generator):
    """Return a batch of transitions drawn evenly, with replacement, and
    independently from those that are stored.

    buffer: as above, with at least one transition added; it stays as it is.
    generator: a torch.Generator. Returns a dictionary of the five columns (not of
    "added"), of the buffer's types and each with count rows; row k of all five
    belongs to the same transition.
    """
    ### BEGIN SOLUTION
    stored = min(buffer["added"], len(buffer["rewards"]))
    places = torch.randint(stored, (count,), generator=generator)
    return {
        name: column[places] for name, column in buffer.items() if name != "added"
    }
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "draw-rows", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3c (1 point): the rows of a transition stay together.
# a buffer with a capacity of 6 that has just become full
buffer = {**numbered(100, 6), "added": 6}
batch = sample_from_buffer(buffer, 3, torch.Generator().manual_seed(0))
assert set(batch) == set(numbered(0, 1)), (
    f"a batch has five columns, not {sorted(batch)}"
)
for name, column in batch.items():
    assert column.shape == (3, *buffer[name].shape[1:]), (
        f"{name}: 3 rows were wanted, not {tuple(column.shape)}"
    )
assert torch.equal(batch["rewards"], -batch["actions"].float()), (
    "reward and action come from different transitions"
)


### BEGIN HIDDEN TESTS
def _check():
    for seed, (stored, count) in enumerate([(6, 1), (6, 5), (50, 40)]):
        buffer = {**numbered(10, stored), "added": stored}
        batch = sample_from_buffer(
            buffer, count, torch.Generator().manual_seed(seed)
        )
        assert set(batch) == set(numbered(0, 1)), (
            f"a batch has five columns, not {sorted(batch)}"
        )
        for k in range(count):
            expected = numbered(-int(batch["rewards"][k]), 1)
            for name, column in batch.items():
                assert len(column) == count, (
                    f"{name}: {count} rows were wanted, not {len(column)}"
                )
                assert column.dtype == buffer[name].dtype, (
                    f"{name}: not the type of the buffer's column"
                )
                assert torch.equal(column[k], expected[name][0]), (
                    f"{name}: row {k} belongs to another transition than the reward"
                )
        original = numbered(10, stored)
        for name in original:
            batch[name].zero_()
            assert torch.equal(buffer[name], original[name]), (
                "the buffer was changed"
            )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "draw-evenly", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 3d (2 points): evenly, from what is stored: 1, 2, 3, 4 in a buffer for 10.
buffer = new_buffer(capacity=10, width=2)
for name, column in numbered(1, 4).items():
    buffer[name][:4] = column
buffer["added"] = 4
draw = torch.Generator().manual_seed(0)
found = (-sample_from_buffer(buffer, 4000, draw)["rewards"]).tolist()
assert len(found) == 4000, f"4,000 rows were wanted, not {len(found)}"
assert set(found) == {1, 2, 3, 4}, (
    f"stored are the numbers 1 to 4; drawn were {sorted(set(found))}"
)
assert all(abs(found.count(n) / 4000 - 0.25) < 0.03 for n in range(1, 5)), (
    "some come more often than others"
)


### BEGIN HIDDEN TESTS
def _check():
    # By the rewards alone: whether the other columns belong to them was graded
    # above.
    for seed, (capacity, added) in enumerate([(20, 7), (6, 6), (5, 13), (5, 5000)]):
        buffer, stored = new_buffer(capacity, 2), min(capacity, added)
        for name, column in numbered(1, stored).items():
            buffer[name][:stored] = column
        buffer["added"] = added
        found = -sample_from_buffer(
            buffer, 4000, torch.Generator().manual_seed(seed)
        )["rewards"]
        assert found.shape == (4000,), (
            f"4,000 rows were wanted, not shape {tuple(found.shape)}"
        )
        assert sorted(set(found.tolist())) == list(range(1, stored + 1)), (
            f"not all of the {stored} stored transitions are drawn, or others"
        )
        for number in range(1, stored + 1):
            assert (
                abs((found == number).float().mean().item() - 1 / stored) < 0.04
            ), f"transition {number} of {stored} is not drawn as often as others"
        # two rows that follow each other have nothing to do with each other
        for step in range(stored):
            follows = (found[1:] - found[:-1]) % stored == step
            assert abs(follows.float().mean().item() - 1 / stored) < 0.04, (
                "what is drawn depends on what was drawn before"
            )


_run(_check)
### END HIDDEN TESTS


# %% [markdown]
# Look at the ring at work: a buffer of six places, to which three transitions at a time are added. Which numbers does
# it hold after each batch? (A buffer needs no column that says which episodes were cut off. Question 1 says why.)

# %%
buffer = new_buffer(capacity=6, width=2)
for first in range(0, 12, 3):
    add_to_buffer(buffer, numbered(first, 3))
    batch = sample_from_buffer(buffer, 5, torch.Generator().manual_seed(first))
    print(
        f"places hold the numbers {buffer['actions'].tolist()}; "
        f"drawn: {batch['actions'].tolist()}"
    )

# %% [markdown]
# ## 4. Double DQN (7 points)
#
# Two networks take part in deep Q-learning: the **online** network $Q$, which learns, and the **target** network $Q^-$,
# a copy of it from some time ago, which gives the targets a rest. The best value in the next state could be taken
# from $Q^-$ alone, as $\max_{a'} Q^-(s', a')$. But all values are noisy, and the maximum of noisy values is too large
# on average; question 6 asks why. [Van Hasselt et al. (2016)](https://arxiv.org/abs/1509.06461) let one network choose and
# the other one judge:
#
# $$V(s') = Q^-\bigl(s',\ \operatorname*{arg\,max}_{a'} Q(s', a')\bigr) .$$
#
# A target is something to move towards, so no gradient may flow through it into either network.


# %% nbgrader={"grade": false, "grade_id": "double", "locked": false, "schema_version": 3, "solution": true, "task": false}
def double_values(online, target, next_states):
    """Return the value of each next state: the online network chooses the action,
    the target network says its value.

    online, target: networks that turn a batch of states into values, (batch,
    actions). next_states: (batch, …). Returns (batch,), without a gradient. The
    networks stay as they are, and can go on learning.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        best = online(next_states).argmax(dim=1, keepdim=True)
        return target(next_states).gather(1, best).squeeze(1)
    ### END SOLUTION


# %% [markdown]
# The smallest network is a table: the state is a whole number, and the row of that number holds the values of its
# actions. `nn.Embedding` is such a table, and its gradient shows which values a loss has reached.


# %% nbgrader={"grade": false, "grade_id": "double-table", "locked": true, "schema_version": 3, "solution": false, "task": false}
def table_network(rows):
    """Return a Q-network without layers: from states (batch,), whole numbers, to
    their rows, (batch, actions).
    """
    return nn.Embedding.from_pretrained(torch.tensor(rows), freeze=False)


# %% nbgrader={"grade": true, "grade_id": "double-choice", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 4a (2 points): who chooses, and who judges.
online = table_network([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]])
target = table_network([[7.0, 0.5, 4.0], [-1.0, 6.0, 9.0]])
found = double_values(online, target, torch.tensor([0, 1, 0]))
assert type(found) is Tensor, f"the values must be a tensor, not {type(found)}"
assert found.shape == (3,), (
    f"one value for each of 3 states: shape (3,), not {tuple(found.shape)}"
)
assert found[0].item() == 0.5, (
    f"state 0: online likes action 1 best, target values it 0.5, not {found[0]}"
)


### BEGIN HIDDEN TESTS
def _check():
    for seed, (batch, width, actions) in enumerate(
        [(1, 3, 2), (6, 4, 3), (20, 2, 7), (5, 5, 5)]
    ):
        draw = torch.Generator().manual_seed(seed)
        states = torch.randn(batch, width, generator=draw)
        networks = [nn.Linear(width, actions) for _ in range(2)]
        for network in networks:
            network.load_state_dict(
                {
                    n: torch.randn(p.shape, generator=draw)
                    for n, p in network.named_parameters()
                }
            )
        chooser, judge = networks
        chosen = [row.index(max(row)) for row in chooser(states).tolist()]
        expected = [
            row[action]
            for row, action in zip(judge(states).tolist(), chosen, strict=True)
        ]
        torch.testing.assert_close(
            double_values(*networks, states).detach(),
            torch.tensor(expected),
            rtol=1e-4,
            atol=1e-5,
            check_dtype=False,
        )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "double-gradient", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4b (1 point): no gradient flows through the values.
online, target = table_network([[1.0, 3.0, 2.0]]), table_network([[7.0, 0.5, 4.0]])
found = double_values(online, target, torch.tensor([0, 0]))
assert not found.requires_grad, (
    "a gradient could flow through these values into a network"
)


### BEGIN HIDDEN TESTS
def _check():
    # Which values they are does not matter here, as long as they come from the
    # networks.
    networks = (
        table_network([[1.0, 3.0], [2.0, 0.0]]),
        table_network([[4.0, 6.0], [3.0, 8.0]]),
    )
    before = [network.weight.detach().clone() for network in networks]
    found = double_values(*networks, torch.tensor([0, 1]))
    assert not found.requires_grad, "a gradient could flow through these values"
    for network, weight in zip(networks, before, strict=True):
        assert network.weight.requires_grad, "the network was frozen for good"
        assert network.training, "the network was left in another mode"
        assert network.weight.grad is None, "a gradient has reached a network"
        assert torch.equal(network.weight.detach(), weight), "a network was changed"
    with torch.no_grad():
        for network in networks:
            network.weight *= -1
    assert (
        double_values(*networks, torch.tensor([0, 1])) - found
    ).abs().max() > 0.1, "no network has an influence"


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now the loss. The targets are those of question 1, with the values that you have just written. The prediction for a
# transition is the online network's value of the action that was *taken*; nothing was learnt about the others. The
# error $\delta = Q(s, a) - y$ goes through the **Huber loss**, which is a parabola in the middle and straight outside,
# so that a single wild target cannot throw the network far off:
#
# $$h(\delta) = \begin{cases} \tfrac12 \delta^2 & \text{if } |\delta| \le 1 , \\
# |\delta| - \tfrac12 & \text{otherwise.} \end{cases}$$
#
# PyTorch has it. You may call your functions of earlier questions, here and below. A check is passed if it is passed
# with them or with correct versions in their place, so that no mistake costs you points twice.


# %% nbgrader={"grade": false, "grade_id": "huber", "locked": false, "schema_version": 3, "solution": true, "task": false}
def td_loss(online, target, batch, discount):
    """Return the Huber loss of the online network on a batch of transitions, with
    the targets of Double DQN.

    online, target: networks as above. batch: a dictionary of five columns, as from
    sample_from_buffer. Each target is the reward, plus discount times the double
    estimate of the next state's value where the game is not over. Returns the mean
    of h(Q(s, a) - y) over the batch, a scalar. Its gradient reaches Q(s, a) of the
    online network and nothing else: no other action's value, and nothing through
    the targets.
    """
    ### BEGIN SOLUTION
    values = online(batch["states"]).gather(1, batch["actions"][:, None]).squeeze(1)
    next_values = double_values(online, target, batch["next_states"])
    # a time limit changes nothing, so the buffer doesn't know about it
    never = torch.zeros_like(batch["terminated"])
    targets = bellman_targets(
        batch["rewards"], batch["terminated"], never, next_values, discount
    )
    return F.huber_loss(values, targets)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "huber-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
def table_batch(count=6, actions=3, seed=0):
    """Two tables (online, target), and a batch of the states 0 to count - 1."""
    draw = torch.Generator().manual_seed(seed)
    tables = [torch.randn(2 * count, actions, generator=draw) for _ in range(2)]
    online, target = (table_network(table.tolist()) for table in tables)
    batch = {
        "states": torch.arange(count),
        "actions": torch.randint(actions, (count,), generator=draw),
        "rewards": 2 * torch.randn(count, generator=draw),
        "next_states": torch.arange(count, 2 * count),
        "terminated": torch.arange(count) % 3 == 2,
    }
    return online, target, batch


# %% nbgrader={"grade": true, "grade_id": "huber-value", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 4c (2 points): one transition. At a discount of 0 the reward is the target.
### BEGIN HIDDEN TESTS
# A mistake in the functions before is not punished here and in the next cell: a
# check is passed if it is passed with these functions or with the student's own.
def _bellman_targets(rewards, terminated, truncated, next_values, discount):
    return torch.where(terminated, rewards, rewards + discount * next_values)


@torch.no_grad()
def _double_values(online, target, next_states):
    rows = torch.arange(len(next_states))
    return target(next_states)[rows, online(next_states).argmax(dim=1)]


_judging = {"bellman_targets": _bellman_targets, "double_values": _double_values}


def _check():
    for seed, (count, actions, discount) in enumerate(
        [(1, 2, 0.9), (6, 3, 0.99), (30, 5, 0.7), (4, 4, 1.0)]
    ):
        online, target, batch = table_batch(count, actions, seed)
        losses = []
        for k in range(count):
            chosen = online.weight[count + k].argmax().item()
            value = (
                0.0
                if batch["terminated"][k]
                else target.weight[count + k, chosen].item()
            )
            error = (
                online.weight[k, batch["actions"][k]].item()
                - batch["rewards"][k].item()
                - discount * value
            )
            losses.append(error**2 / 2 if abs(error) <= 1 else abs(error) - 0.5)
        loss = td_loss(online, target, batch, discount)
        assert loss.shape == (), f"one number, not shape {tuple(loss.shape)}"
        assert abs(loss.item() - sum(losses) / count) < 0.0001, (
            f"the loss is {sum(losses) / count:.4f}, not {loss:.4f}"
        )
        assert count < 30 or min(losses) < 0.5 < max(losses), (
            "both parts of the Huber loss must occur"
        )


_passed = _choose(_check, **_judging)
### END HIDDEN TESTS
online = table_network([[1.0, 3.0], [0.0, 0.0]])
target = table_network([[0.0, 0.0], [8.0, 4.0]])
columns = {"states": 0, "actions": 1, "next_states": 1, "terminated": False}
batch = {name: torch.tensor([value]) for name, value in columns.items()}
for reward, expected in [(2.5, 0.125), (5.0, 1.5)]:
    batch["rewards"] = torch.tensor([reward])
    loss = td_loss(online, target, batch, 0.0)
    assert loss.shape == (), (
        f"the loss must be a single number: shape (), not {tuple(loss.shape)}"
    )
    assert abs(loss.item() - expected) < 1e-5, (
        f"the error is 3 - {reward}, its loss {expected}, not {loss:.4f}"
    )
### BEGIN HIDDEN TESTS
if not _passed:
    _run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "huber-gradient", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 4d (2 points): what the gradient reaches.
### BEGIN HIDDEN TESTS
def _check():
    for seed, (count, actions, discount) in enumerate(
        [(1, 2, 0.9), (6, 3, 0.99), (30, 5, 0.7)], start=1
    ):
        online, target, batch = table_batch(count, actions, seed)
        # errors beyond 1 as well, which must still have a gradient
        batch["rewards"] *= 5
        td_loss(online, target, batch, discount).backward()
        expected = torch.zeros(2 * count, actions, dtype=torch.bool)
        expected[batch["states"], batch["actions"]] = True
        assert torch.equal(online.weight.grad != 0, expected), (
            "the gradient does not reach the values of the actions taken and "
            "nothing else"
        )
        assert target.weight.grad is None or not target.weight.grad.any(), (
            "a gradient reaches the target network"
        )


_passed = _choose(_check, **_judging)
### END HIDDEN TESTS
online, target, batch = table_batch()
td_loss(online, target, batch, 0.9).backward()
assert online.weight.grad is not None, "no gradient reaches the online network"
reached = online.weight.grad != 0
assert reached[batch["states"], batch["actions"]].all(), (
    "no gradient reaches the values of the actions taken"
)
assert reached.sum() == 6, (
    f"6 values of actions taken, but the gradient reaches {reached.sum()} values"
)
assert target.weight.grad is None or not target.weight.grad.any(), (
    "a gradient reaches the target network"
)
### BEGIN HIDDEN TESTS
if not _passed:
    _run(_check)
### END HIDDEN TESTS

# %% [markdown]
# How much too large is a maximum? Below, five actions are all worth exactly 0, and two networks guess each of the
# values with an error of about 1. Write down what you expect for the maximum of one network, and for the double
# estimate.

# %%
draw = torch.Generator().manual_seed(0)
online, target = (
    table_network(torch.randn(10_000, 5, generator=draw).tolist()) for _ in range(2)
)
states = torch.arange(10_000)
print(
    f"mean of the maximum of one network: {target(states).amax(dim=1).mean():+.2f}"
)
print(
    "mean of the double estimate:        "
    f"{double_values(online, target, states).mean():+.2f}"
)

# %% [markdown]
# ## 5. Find the bug (6 points)
#
# Before networks there were tables: one number $Q(s, a)$ for each state and action. **Q-learning**
# ([Watkins and Dayan, 1992](https://doi.org/10.1007/BF00992698)) goes through the world and moves a single entry
# of the table after each step, a little way towards its target:
#
# $$Q(s, a) \leftarrow Q(s, a) + \alpha \bigl(y - Q(s, a)\bigr), \qquad y = r + \gamma \max_{a'} Q(s', a') .$$
#
# α is the learning rate. In a world with chance in it, the same action leads now here, now there; small steps make the
# table a mean over all that can happen.
#
# A world is described by the chance of every next state, by the reward for *entering* each state, and by the states in
# which the game is over. It may be **interrupted** after any step that does not end the game: then the agent is put
# back to the start, state 0, although the game would have gone on. An interruption is a truncation that comes by
# chance.


# %% nbgrader={"grade": false, "grade_id": "bug-move", "locked": true, "schema_version": 3, "solution": false, "task": false}
def move(world, state, action, generator):
    """Do an action; return (next_state, reward, terminated, interrupted).

    world: a dictionary of "chances", (states, actions, states), the chance of each
    next state; "rewards", one for each state, got when it is entered; "terminal",
    the set of the states in which the game is over; and "interrupted", the chance
    that a step which does not end the game is the last one all the same.
    """
    chances = world["chances"][state, action]
    next_state = int(torch.multinomial(chances, 1, generator=generator))
    terminated, interrupted = next_state in world["terminal"], False
    if not terminated:
        chance = torch.rand((), generator=generator).item()
        interrupted = chance < world["interrupted"]
    return next_state, world["rewards"][next_state], terminated, interrupted


# %% [markdown]
# The world below has three rows of four cells. The agent starts in the bottom left corner; the top right cell is the
# goal, the one below it a pit. The floor is slippery: one time in five, the agent slips to one of the two sides.


# %% nbgrader={"grade": false, "grade_id": "bug-grid", "locked": true, "schema_version": 3, "solution": false, "task": false}
def slippery_grid():
    """12 cells, row by row from the bottom; the actions: up, right, down, left."""
    ways, chances = [(1, 0), (0, 1), (-1, 0), (0, -1)], torch.zeros(12, 4, 12)
    for state in range(12):
        for action in range(4):
            for turn, chance in [(0, 0.8), (1, 0.1), (3, 0.1)]:
                up, right = ways[(action + turn) % 4]
                row = min(max(state // 4 + up, 0), 2)
                column = min(max(state % 4 + right, 0), 3)
                chances[state, action, 4 * row + column] += chance
    rewards = [{7: -1.0, 11: 1.0}.get(state, 0.0) for state in range(12)]
    world = {"chances": chances, "rewards": rewards}
    return world | {"terminal": {7, 11}, "interrupted": 0.1}


# %% [markdown]
# With the chances known, the exact values need no agent at all: put what you have into the right side of the
# Bellman equation, take what comes out, and repeat. This is **value iteration**. (Interruptions do not appear in it.
# Why?)


# %% nbgrader={"grade": false, "grade_id": "bug-exact", "locked": true, "schema_version": 3, "solution": false, "task": false}
def exact_values(world, discount):
    """Return the exact values of all actions, (states, actions), by 500 rounds of
    value iteration.
    """
    rewards = torch.tensor(world["rewards"])
    going_on = torch.tensor(
        [float(state not in world["terminal"]) for state in range(len(rewards))]
    )
    q = torch.zeros(world["chances"].shape[:2])
    for _ in range(500):
        q = world["chances"] @ (rewards + discount * going_on * q.amax(dim=1))
    return q


# %% [markdown]
# And here is an agent that should find these values by going about. It never stops and raises no error, and it has
# **five mistakes** of a kind that people really make and publish. Read it line by line before you run it.


# %% nbgrader={"grade": false, "grade_id": "bug-faulty", "locked": true, "schema_version": 3, "solution": false, "task": false}
def faulty_step(q, state, world, epsilon, learning_rate, discount, generator):
    """One step of the agent, with five mistakes; return the state to go on from."""
    best = action = int(q[state].argmax())
    if torch.rand((), generator=generator).item() < epsilon:
        action = int(torch.randint(q.shape[1], (), generator=generator))
    next_state, reward, terminated, interrupted = move(
        world, state, action, generator
    )
    value = 0.0 if interrupted else q[state].max()
    q[state, best] = reward + discount * value
    return 0 if terminated or interrupted else next_state


# %% nbgrader={"grade": false, "grade_id": "bug-row", "locked": true, "schema_version": 3, "solution": false, "task": false}
def row_of(values, row):  # the three rows of the grid; two cells have no value
    cells = range(4 * row, 4 * row + 4)
    return " ".join(
        " " * 5 if cell in (7, 11) else f"{values[cell].max():5.2f}"
        for cell in cells
    )


# %% nbgrader={"grade": false, "grade_id": "bug-demonstration", "locked": true, "schema_version": 3, "solution": false, "task": false}
def demonstrate(step, steps=15_000):
    """Let an agent learn the grid; print its values beside the exact ones."""
    world, draw, state = slippery_grid(), torch.Generator().manual_seed(0), 0
    q = torch.ones(12, 4)  # hopeful at first, so that it tries everything
    for number in range(steps):
        # smaller and smaller, so that chance averages out
        learning_rate = 0.2 * (1 - number / steps)
        state = step(q, state, world, 0.3, learning_rate, 0.9, draw)
    exact = exact_values(world, 0.9)
    for row in (2, 1, 0):
        print(row_of(q, row), "   exact:", row_of(exact, row))


# %%
demonstrate(faulty_step)

# %% [markdown]
# The two empty cells are the goal and the pit. No path can be found in these values, and no longer run would help.
#
# First **name the mistakes**. Of these ten statements about `faulty_step`, exactly five are true, and each of the five
# is a mistake:
#
# - **A** What was learnt is credited to the action that looked best, even if another one was done.
# - **B** An exploring agent must not do the action that looks best.
# - **C** `move` is called with an action that was not chosen.
# - **D** The old value is overwritten: the learning rate has no effect.
# - **E** The reward belongs to the state that was left, not to the one that was entered.
# - **F** After an interruption, nothing more is expected to come.
# - **G** The target has the value of the state that was left, not of the one that was reached.
# - **H** After the end of a game, the agent does not begin again at the start.
# - **I** Where the game is over, a value is added for what comes after it.
# - **J** The table is changed in place, so the caller does not see the change.


# %% nbgrader={"grade": false, "grade_id": "mistakes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mistakes():
    """Return the letters of the five true statements, in one string such as
    "VWXYZ"; their order does not matter.
    """
    ### BEGIN SOLUTION
    return "ADFGI"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mistakes-most", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5a (1 point): five letters, of which at least four are right.
named = mistakes()
assert type(named) is str, f"the letters must be in a string, not {named!r}"
assert len(set(named)) == len(named) == 5, f"five different letters, not {named!r}"
assert set(named) <= set("ABCDEFGHIJ"), f"letters from A to J, not {named!r}"
### BEGIN HIDDEN TESTS
assert len(set(named) & set("ADFGI")) >= 4, "fewer than four letters are right"
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "mistakes-all", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 5b (2 points): all five are right.
named = mistakes()
assert len(named) == 5, f"five letters, not {named!r}"
### BEGIN HIDDEN TESTS
assert set(named) == set("ADFGI"), "not all five letters are right"
### END HIDDEN TESTS

# %% [markdown]
# Now write a step without the five mistakes. You may call `epsilon_greedy`.


# %% nbgrader={"grade": false, "grade_id": "bug", "locked": false, "schema_version": 3, "solution": true, "task": false}
def training_step(q, state, world, epsilon, learning_rate, discount, generator):
    """Make one step of Q-learning: choose an action in the state, do it, learn;
    return the state to go on from.

    q: (states, actions), the table, changed in place in the one entry that this
    step teaches something about. It may begin with any values, also in the rows of
    terminal states, where they mean nothing. The action is ε-greedy by the table,
    and it is done once, by move(world, state, action, generator). Returns a whole
    number: the next state, or 0 if the game is over or was interrupted.
    """
    ### BEGIN SOLUTION
    action = int(epsilon_greedy(q[state][None], epsilon, generator))
    next_state, reward, terminated, interrupted = move(
        world, state, action, generator
    )
    next_value = 0.0 if terminated else q[next_state].max().item()
    q[state, action] += learning_rate * (
        reward + discount * next_value - q[state, action].item()
    )
    return 0 if terminated or interrupted else next_state
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "bug-ends", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5c (1 point): ends and interruptions. The one action leads to state 1.
### BEGIN HIDDEN TESTS
# A mistake in question 2 is not punished here and in the next two cells: a check is
# passed if it is passed with this function or with the student's own.
def _epsilon_greedy(values, epsilon, generator):
    chances = torch.full_like(values, epsilon / values.shape[1])
    chances[torch.arange(len(values)), values.argmax(dim=1)] += 1 - epsilon
    return torch.multinomial(chances, 1, generator=generator)[:, 0]


_acting = {"epsilon_greedy": _epsilon_greedy}


def _exact(world, discount):
    """Value iteration written another way, in double precision: nothing here is
    taken from the cells above.
    """
    chances, terminal = world["chances"].double().tolist(), world["terminal"]
    q = [[0.0 for _ in row] for row in chances]
    for _ in range(400):
        worth = [
            reward + (0.0 if state in terminal else discount * max(q[state]))
            for state, reward in enumerate(world["rewards"])
        ]
        q = [
            [sum(p * w for p, w in zip(a, worth, strict=True)) for a in row]
            for row in chances
        ]
    return torch.tensor(q)


def _learn(world, q, steps, epsilon=1.0, learning_rate=0.5, discount=0.5, seed=0):
    """Return the states that were gone through; the table is changed."""
    draw, states = torch.Generator().manual_seed(seed), [0]
    for _ in range(steps):
        states.append(
            training_step(
                q, states[-1], world, epsilon, learning_rate, discount, draw
            )
        )
    return states


def _check():
    # One action and no chance in where it leads, so a step of any size and any way
    # to choose learn the same; and all states that the game goes on from have the
    # same value, so it doesn't matter whose value is taken.
    for seed, (reward, terminal, interrupted) in enumerate(
        [
            (1.0, {1}, 0.0),
            (-3.0, {1}, 0.0),
            (2.0, set(), 0.3),
            (-1.0, set(), 0.3),
            (1.0, set(), 0.6),
        ]
    ):
        world = {
            "chances": torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]]),
            "rewards": [0.0, reward],
            "terminal": terminal,
            "interrupted": interrupted,
        }
        for beginning in (-4.0, 0.0, 9.0):
            q = torch.full((2, 1), beginning)
            states = _learn(world, q, 400, seed=seed)
            visited = [0] if terminal else [0, 1]
            assert sorted(set(states)) == visited, (
                f"the agent was in the states {sorted(set(states))}, not {visited}"
            )
            assert (q - _exact(world, 0.5))[visited].abs().max() < 0.01, (
                "values of a world with ends or interruptions are wrong"
            )


_passed = _choose(_check, **_acting)
### END HIDDEN TESTS
draw = torch.Generator().manual_seed(0)
chances = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]])
world = {"chances": chances, "rewards": [0.0, 2.0]}
ends = [({1}, 0.0, 2.0), (set(), 1.0, 4.0)]  # terminal, interrupted, value
for terminal, interrupted, expected in ends:
    how = {"terminal": terminal, "interrupted": interrupted}
    q, states = torch.full((2, 1), 4.0), [0]
    for _ in range(200):
        after = training_step(q, states[-1], world | how, 0.1, 0.5, 0.5, draw)
        states.append(after)
    assert states == [0] * 201, f"both kinds of end lead back to state 0: {how}"
    found = q[0, 0].item()
    assert abs(found - expected) < 0.01, f"worth {expected}, not {found:.2f}: {how}"
### BEGIN HIDDEN TESTS
if not _passed:
    _run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "bug-path", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5d (1 point): a ring of three states. Action 0 stays, action 1 goes on.
### BEGIN HIDDEN TESTS
def _check():
    # No ends, no interruptions, no chance: only what is chosen, what it is credited
    # to, and what comes next matter. From every state a step onwards is possible,
    # and the actions stand in another order in each world.
    for seed, (states, actions, epsilon) in enumerate(
        [(3, 2, 1.0), (5, 3, 1.0), (4, 2, 0.6)]
    ):
        draw = torch.Generator().manual_seed(20 + seed)
        ways = torch.randint(states, (states, actions), generator=draw)
        ways[:, seed % actions] = (torch.arange(states) + 1) % states
        world = {
            "chances": F.one_hot(ways, states).float(),
            "rewards": torch.randn(states, generator=draw).mul(2).tolist(),
            "terminal": set(),
            "interrupted": 0.0,
        }
        q = torch.randn(states, actions, generator=draw)
        _learn(world, q, 2000, epsilon, seed=seed)
        assert (q - _exact(world, 0.5)).abs().max() < 0.02, (
            "values of a world without chance are wrong"
        )
        # A step changes one entry at most; without exploration it does the best
        # action.
        for state in range(states):
            q = torch.randn(states, actions, generator=draw)
            before = q.clone()
            after = training_step(q, state, world, 0.0, 0.5, 0.5, draw)
            best = before[state].argmax()
            assert after == ways[state, best], (
                "without exploration the best action must be done"
            )
            changed = (q != before).nonzero().tolist()
            assert changed in ([], [[state, best.item()]]), (
                "a step must change the entry of its state and action, and no other"
            )


_passed = _choose(_check, **_acting)
### END HIDDEN TESTS
draw = torch.Generator().manual_seed(0)
ways = torch.tensor([[0, 1], [1, 2], [2, 0]])
world = {"chances": F.one_hot(ways, 3).float(), "rewards": [4.0, 0.0, 1.0]}
world |= {"terminal": set(), "interrupted": 0.0}
q, state = torch.zeros(3, 2), 0
for _ in range(2000):
    state = training_step(q, state, world, 0.8, 0.5, 0.5, draw)
assert abs(q[0, 0].item() - 8) < 0.05, (
    f"4 again and again is worth 4 + 2 + 1 + … = 8, not {q[0, 0]:.2f}"
)
assert abs(q[2, 1].item() - 8) < 0.05, (
    f"from state 2, going on leads to the same: 8, not {q[2, 1]:.2f}"
)
### BEGIN HIDDEN TESTS
if not _passed:
    _run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "bug-chance", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5e (1 point): the size of a step, and a world with chance in it.
### BEGIN HIDDEN TESTS
def _check():
    # One action, no ends, and next states that do not depend on the state: so all
    # states have the same value, and it doesn't matter whose value is taken. What
    # is left is the mean over chance.
    for seed, (chances, rewards) in enumerate(
        [([0.5, 0.5], [0.0, 2.0]), ([0.3, 0.7], [1.5, -0.5])]
    ):
        world = {
            "chances": torch.tensor(chances).repeat(2, 1, 1),
            "rewards": rewards,
            "terminal": set(),
            "interrupted": 0.0,
        }
        expected = _exact(world, 0.5)
        for start in (0.0, 3.0):
            q = torch.full((2, 1), start)
            _learn(world, q, 800, learning_rate=0.05, seed=seed)
            _learn(world, q, 1500, learning_rate=0.005, seed=10 + seed)
            assert (q - expected).abs().max() < 0.4, (
                "the values are not means over what can happen"
            )
    # The step is as large as the learning rate says: compared with a whole step, so
    # a wrong target loses nothing.
    world = {
        "chances": torch.ones(1, 1, 1),
        "rewards": [2.0],
        "terminal": set(),
        "interrupted": 0.0,
    }
    for learning_rate in (0.1, 0.4, 0.7):
        moved = []
        for rate in (learning_rate, 1.0):
            q = torch.full((1, 1), -3.0)
            _learn(world, q, 1, learning_rate=rate)
            moved.append(q.item() + 3)
        assert abs(moved[1]) > 0.1, "a whole step changes nothing"
        assert abs(moved[0] / moved[1] - learning_rate) < 0.001, (
            f"not a step of a learning rate of {learning_rate}"
        )


_passed = _choose(_check, **_acting)
### END HIDDEN TESTS
draw = torch.Generator().manual_seed(0)
world = {
    "chances": torch.ones(1, 1, 1),
    "rewards": [2.0],
    "terminal": set(),
    "interrupted": 0.0,
}
q = torch.zeros(1, 1)
training_step(q, 0, world, 0.1, 0.25, 0.9, draw)
assert abs(q.item() - 0.5) < 1e-5, (
    f"from 0, a quarter of the way to a target of 2 is 0.5, not {q.item():.3f}"
)
### BEGIN HIDDEN TESTS
if not _passed:
    _run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now let the repaired agent learn in the slippery grid. How close does it come to the exact values, and where does it
# not? (Cells that it seldom enters are learnt from few transitions.)

# %%
demonstrate(training_step)

# %% [markdown]
# The equation that should not have been an assignment was printed as one in an article about deep Q-learning. The page
# [Errata](../../book/errata.md#errata-reinforcement-learning) shows what became of it there.

# %% [markdown]
# ## 6. In your own words (4 points)
#
# Answer in full sentences, nine to fourteen in all. This question is read by a person.
#
# 1. In some state all actions are worth exactly the same, and a network's estimates of their values are right on
#    average, with independent errors. Why is the *maximum* of the estimates nevertheless too large on average? Why does
#    the mistake grow when it is used in targets again and again, and why is the double estimate of question 4 much
#    better? (2 points)
# 2. A pole stands on a cart, and every step until it falls gives a reward of 1; after 500 steps the episode is stopped
#    by a time limit. A program stores this stop as a terminal state. What does it teach the agent about a pole that is
#    perfectly balanced, and why can the agent not make sense of it from what it sees? (1 point)
# 3. A friend removes the replay buffer to save memory, and trains on each transition once, as it comes. Describe two
#    different things that this does to the training. (1 point)

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# **Model answer.**
#
# 1. Some of the errors are above zero and some below, and the maximum always takes one of the highest: it chooses the
#    action by the very error that it then reports as value. In formulas, the mean of a maximum is at least the maximum
#    of the means. For five actions with errors of standard deviation 1 it is too large by about 1.16, and the more
#    actions and the more noise, the worse. The targets are made of such maxima: the value of a state is learnt too
#    large, this goes into the targets of the states before it, where another maximum adds its own excess, and so on;
#    with γ near 1 little of it is discounted away. In the double estimate one network chooses the action and another
#    one, whose errors are different, says what it is worth. If the errors are independent, being chosen says nothing
#    about the judge's error, which is zero on average; so here nothing is overestimated. (In Double DQN the target
#    network is an older copy of the online network, so their errors are related and a part of the excess stays.)
# 2. It teaches that after step 500 nothing more is to come, so the target there is 1 alone, and that of the steps
#    shortly before it is little more, although the pole stands perfectly and could go on for ever: the value, for
#    γ = 0.99, should be near 100. The agent sees position, speed and angle, but not the time: the same state at step 20
#    has a large target and at step 499 a small one. The network can only learn a mixture of them, too low for exactly the
#    states in which a good agent spends its time, and the targets jump, so that training becomes restless: the better
#    the agent plays, the more often it meets the limit.
# 3. Transitions that follow each other are nearly the same, so a batch (or a run of updates) of them shows one corner
#    of the game and its gradients all point the same way; the network fits this corner and forgets what it knew about
#    others, until it gets there again. And each transition is used once and lost: rare events, the reward among them,
#    teach a single small step, so that far more playing is needed. (Also: what the agent does determines what it learns
#    from, so a change of behaviour changes the data at once, and the two can drive each other round in circles; a
#    buffer averages over many past behaviours. Q-learning may use old transitions, because its target does not
#    depend on who chose the action.)
#
# **Rubric.**
#
# - Part 1: 1 point for why the maximum is too large: it picks the action *because of* its positive error (or: the mean
#   of the maximum is at least the maximum of the means). "The network is inaccurate" without this: 0. Half a point
#   for the growth: the maximum goes into targets, from which it is learnt and passed on to earlier states. Half a point
#   for the double estimate: choice and judgement have different errors. "It takes the smaller of the two" is another
#   method: 0 for this half.
# - Part 2: half a point for the low target at a state that would have gone on (no bootstrapping); half a point for "the
#   time is not in the state, so the same state gets contradictory targets".
# - Part 3: half a point for each of two different effects: transitions resemble each other, so that updates are
#   one-sided and earlier things are forgotten; each transition is used only once; the data follow the behaviour. "It
#   becomes unstable" without a reason: 0.
