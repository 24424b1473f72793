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
# Learning from rewards is a handful of short functions: a target, a choice of actions, a memory, a loss; and where
# nothing can be differentiated, a loss whose gradient is right on average. An agent in which one of them is wrong still
# plays, still learns something, and raises no error; it only never becomes good. Here you write these functions, repair
# an agent that plays on and on and gets every value wrong, and at the end watch your own functions balance a pole. Read
# [Learning what actions are worth](../rl/q_learning.ipynb) and [Deep Q-learning](../rl/dqn.ipynb) first,
# [Playing from the picture](../rl/dqn_from_pixels.ipynb) for question 3 and
# [Tuning a language model by reward](../rl/reward_tuned_generation.ipynb) for question 5; plan four hours.
# Under each question stand its difficulty, a time, and two hints that unfold when you click on them; try without them
# first.
#
# | Question | After it you can | Points |
# | --- | --- | --- |
# | 1. What an action should have been worth | compute Bellman targets, and tell an end from an interruption | 2 |
# | 2. A choice with a little chance in it | choose actions ε-greedily, for a whole batch at once | 4 |
# | 3. The replay buffer | store transitions in a ring, draw evenly from it, and stack pictures | 5 |
# | 4. Double DQN | say which network chooses and which one judges, and where the gradient may go | 4 |
# | 5. A gradient through a draw | estimate a policy gradient, make it less noisy, and charge for distance | 5 |
# | 6. Find the bug | tell an agent that moves from an agent that learns | 6 |
# | 7. In your own words | explain four things that go wrong in silence when an agent learns | 4 |
#
# **How to work.** Write your code where `# YOUR CODE HERE` stands and delete the line `raise NotImplementedError()`
# below it. You may add cells of your own, for further imports as well. Do not copy, split or delete the cells that are
# here: the grading program knows them by hidden labels, and restores all of them but your answers. Avoid
# `from … import *`: it can put other functions in the place of Python's own `sum`, `max` or `abs`, which the checks use. A
# function leaves the tensors it is given as they are, unless its docstring says otherwise.
#
# **How it is graded.** The cells that begin with `# Check` call your function. If such a cell runs without an error,
# you have passed the checks you can see; when your work is graded, each of these cells also runs further checks of
# what the docstring promises. Values count, not whether they are in single or double precision. Every check has its
# own points, and every question is graded on its own: a mistake in one question costs nothing in the next. Question 7
# is read by a person.
#
# **How to hand in.** Restart the kernel and run all cells once more. Download the notebook (on Colab:
# *File → Download → Download .ipynb*), name it `rl.ipynb` (without "Copy of"), and send it the way your teacher asks.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Colab has all that this assignment needs; nothing is to be installed. Put further
# imports into a cell of your own: this one is restored when your work is graded.
import math
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
# ## 1. What an action should have been worth (2 points)
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
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Ask of each row whether rewards would still come after $s'$ if nobody had stopped watching. A target leaves out the
# future only where there is none.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Write down the four combinations of `terminated` and `truncated`, and for each one whether anything comes after $s'$:
# you then see which of the two decides. Turn this into one factor per row, 1 or 0, by which the discounted next value
# is multiplied before the reward is added. A boolean tensor is inverted by `~`; PyTorch refuses to subtract it from 1.
#
# </details>


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


# %% nbgrader={"grade": true, "grade_id": "targets-terminated", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1a (1 point): games that go on, and one that is over.
### BEGIN HIDDEN TESTS
def _run(check):
    """Run a check with Python's own functions and the usual modules, whatever
    `import *` has put in their place.
    """
    import builtins
    import types

    import math

    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F

    usual = {"math": math, "torch": torch, "Tensor": Tensor, "nn": nn, "F": F}
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
over, never = torch.tensor([False, False, True]), torch.zeros(3).bool()
rewards, after = torch.tensor([1.0, 0.0, -1.0]), torch.tensor([10.0, 4.0, 50.0])
found = bellman_targets(rewards, over, never, after, 0.5)
assert type(found) is Tensor, f"the answer must be a tensor, not {type(found)}"
assert found.shape == (3,), (
    f"a target for each of 3 transitions: shape (3,), not {tuple(found.shape)}"
)
assert abs(found[0].item() - 6) < 1e-5, f"1 + 0.5 * 10 = 6, not {found[0]}"
assert abs(found[2].item() + 1) < 1e-5, (
    f"where the game is over, nothing is added to the reward: -1, not {found[2]}"
)


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(1)
    for batch, discount in [(1, 0.9), (7, 0.0), (32, 0.99), (32, 1.0)]:
        rewards, values = torch.randn(2, batch, generator=draw)
        over = torch.rand(batch, generator=draw) < 0.4
        never = torch.zeros(batch, dtype=torch.bool)
        given = [rewards, over, never, values]
        copies = [each.clone() for each in given]
        found = bellman_targets(*given, discount)
        for each, right in zip(given, copies, strict=True):
            assert torch.equal(each, right), "the given tensors were changed"
        assert found.shape == (batch,), f"not one target each: {tuple(found.shape)}"
        for k in range(batch):
            right = rewards[k].item()
            right += 0.0 if over[k] else discount * values[k].item()
            assert abs(found[k].item() - right) < 1e-4, (
                f"over: {bool(over[k])}, discount {discount}: the target is "
                f"{right:.4f}, not {found[k]:.4f}"
            )


_run(_check)
### END HIDDEN TESTS


# %% nbgrader={"grade": true, "grade_id": "targets-truncated", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 1b (1 point): episodes that were cut off.
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
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Each row needs two independent draws: one decides whether it explores, the other says what it would then do. Compute
# the exploring action and the greedy action of every row, and only then choose between them.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# A number drawn evenly from 0 to 1 lies below ε with probability ε; draw one for each row, not one for the whole batch.
# For the exploring action, draw a whole number from 0 to actions - 1 for each row, whatever its best action is. The
# greedy action is the position of the largest value in the row, so mind the dimension. `torch.where` chooses row by row
# between two tensors of shape (batch,). Pass `generator` to every function that draws.
#
# </details>


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
# ## 3. The replay buffer (5 points)
#
# An agent could learn from each transition once, as it comes, and forget it.
# [Lin (1992)](https://doi.org/10.1007/BF00992699) kept what had happened and learnt from it again and again. Deep
# Q-learning stores the last million transitions or so, and draws its batches from them
# ([Mnih et al., 2015](https://doi.org/10.1038/nature14236)). Question 7 asks what for.
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


# %% [markdown]
# `add_to_buffer`
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Before you store anything, number the new transitions, going on from those already added: which number does the first
# row of the batch get, and which the last? The first transition of all had the number 0. The rule of the ring then says
# where each one goes.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Make a tensor of the numbers of all rows of the batch, and take it modulo the capacity, which is the number of rows of
# any column of the buffer. The places may run over the end and go on at 0, so a single slice from the first to the last
# is not enough. In each of the five columns, assign the rows of the batch to these places by index: that changes the
# tensor in place, while assigning to the key of the dictionary would put another tensor there. "added" is a number, not
# a column; let it grow once, at the end, and not modulo the capacity.
#
# </details>


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

# %% nbgrader={"grade": true, "grade_id": "ring-oldest", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3b (1 point): a batch that goes round the end of the ring.
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
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# How many rows of the buffer hold a transition before it is full, and how many after that? "added" counts all that were
# ever added, so it goes on growing.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# First compute how many transitions are stored, from "added" and the capacity. Then draw `count` places with
# `torch.randint`, which draws with replacement and never returns its upper limit. Draw them once and use the same
# places in all five columns, or rows of different transitions are mixed. Leave out "added", which is not a column.
#
# </details>


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

# %% nbgrader={"grade": true, "grade_id": "draw-evenly", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3d (1 point): evenly, from what is stored: 1, 2, 3, 4 in a buffer for 10.
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
# An agent that plays from pictures needs several of them at a time, since one does not show where things are going. A
# stack of four shares three of its pictures with the stack before. So large programs store each picture **once** and
# put stacks together when they are drawn. A stack must not reach back into the game before: where it would, its
# pictures are black.
#
# *Difficulty: ★★★. Time: about 25 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Proceed as if all pictures belonged to one game, and write down for each place which rows its stack consists of. Then
# ask of each row whether it exists and whether it belongs to the same game as the place. Which number could every
# picture get, so that two pictures have the same one exactly if they come from the same game?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# For a stack of four the rows are place - 3, …, place, in this order; places as (batch, 1) and offsets as (count,) give
# all of them at once, (batch, count). The number of a picture's game is how many games have begun up to this picture,
# itself included. Keep a picture if its row is not negative and its game is that of the place; the others become zero.
# PyTorch takes a negative index for a row counted from the end, so replace it by a valid one before you look anything
# up. The mask needs two more dimensions, for height and width; multiplied by a boolean mask, bytes stay bytes.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "stack", "locked": false, "schema_version": 3, "solution": true, "task": false}
def stack_pictures(pictures, begins, places, count):
    """Return for each place the last `count` pictures up to it, the oldest first.

    pictures: (stored, height, width), bytes, in the order of time. begins:
    (stored,), booleans, True where a game began with this picture; the first one
    always. places: (batch,), whole numbers from 0 to stored - 1. Pictures from
    before the game's beginning are replaced by zeros. Returns (batch, count,
    height, width), bytes (torch.uint8); the given tensors stay as they are.
    """
    ### BEGIN SOLUTION
    game = begins.cumsum(dim=0)
    rows = places[:, None] - torch.arange(count - 1, -1, -1)  # (batch, count)
    stored = rows.clamp(min=0)
    same_game = (rows >= 0) & (game[stored] == game[places][:, None])
    return pictures[stored] * same_game[..., None, None]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "stack-rows", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 3e (1 point): stacks of three. Pictures 10, 20, 30 are one game, 40 begins
# the next one. (They have a single pixel.)
pictures = torch.tensor([10, 20, 30, 40, 50], dtype=torch.uint8)[:, None, None]
begins = torch.tensor([True, False, False, True, False])
found = stack_pictures(pictures, begins, torch.tensor([2, 4, 0]), 3)
assert type(found) is Tensor, f"the stacks must be a tensor, not {type(found)}"
assert found.dtype == torch.uint8, f"bytes, not {found.dtype}"
assert found.shape == (3, 3, 1, 1), f"(3, 3, 1, 1), not {tuple(found.shape)}"
rows = found[:, :, 0, 0].tolist()
assert rows[0] == [10, 20, 30], f"the oldest first: [10, 20, 30], not {rows[0]}"
assert rows[1] == [0, 40, 50], f"40 begins a game: [0, 40, 50], not {rows[1]}"
assert rows[2] == [0, 0, 10], f"nothing before the first: not {rows[2]}"


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(21)
    for stored, count, chance in [
        (12, 4, 0.2),
        (30, 2, 0.4),
        (9, 5, 0.0),
        (6, 1, 1),
    ]:
        pictures = torch.randint(1, 256, (stored, 3, 2), generator=draw)
        pictures = pictures.to(torch.uint8)
        begins = torch.rand(stored, generator=draw) < chance
        begins[0] = True
        places = torch.randint(stored, (2 * stored,), generator=draw)
        given = pictures.clone(), begins.clone(), places.clone()
        found = stack_pictures(pictures, begins, places, count)
        for each, before in zip((pictures, begins, places), given, strict=True):
            assert torch.equal(each, before), "the given tensors were changed"
        assert found.dtype == torch.uint8, f"bytes were wanted, not {found.dtype}"
        assert found.shape == (2 * stored, count, 3, 2), (
            f"the shape must be (places, {count}, 3, 2), not {tuple(found.shape)}"
        )
        for k, place in enumerate(places.tolist()):
            right, now = [], place
            for _ in range(count):
                right.insert(
                    0, pictures[now] if now is not None else 0 * pictures[0]
                )
                if now is not None:
                    now = None if begins[now] else now - 1
            assert torch.equal(found[k], torch.stack(right)), (
                f"the stack of {count} at place {place} is wrong"
            )
        if count < 3:
            found.zero_()
            assert torch.equal(pictures, given[0]), "the buffer shares its memory"


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Double DQN (4 points)
#
# Two networks take part in deep Q-learning: the **online** network $Q$, which learns, and the **target** network $Q^-$,
# a copy of it from some time ago, which gives the targets a rest. The best value in the next state could be taken from
# $Q^-$ alone, as $\max_{a'} Q^-(s', a')$. But all values are noisy, and the maximum of noisy values is too large on
# average; question 7 asks why. [Van Hasselt et al. (2016)](https://arxiv.org/abs/1509.06461) let one network choose and
# the other one judge:
#
# $$V(s') = Q^-\bigl(s',\ \operatorname*{arg\,max}_{a'} Q(s', a')\bigr) .$$
#
# A target is something to move towards, so no gradient may flow through it into either network.
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Read the formula from the inside outwards. Its inner part is not a value but an action, one for each state; which
# network names it, and which network's value of this action is then looked up?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The position of the largest value in each row of one network is a tensor of shape (batch,). In the other network's
# values, take from each row the entry at that position. `gather` along dimension 1 does this with an index of shape
# (batch, 1), and returns (batch, 1), so the last dimension has to go again; `values[:, best]` would return
# (batch, batch). What is computed under `torch.no_grad()` carries no gradient, and the networks can still learn
# afterwards.
#
# </details>


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


# %% nbgrader={"grade": true, "grade_id": "double-choice", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4a (1 point): who chooses, and who judges.
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
#
# *Difficulty: ★★☆. Time: about 20 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# There are three pieces: the online network's value of each action taken, the targets, and the loss of their
# difference. Two functions that you have already written make the targets; only the first piece is new.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Pick the prediction from the online network's values of `states`, one entry per row as in `double_values`, but at the
# action that was taken and with a gradient. `bellman_targets` also asks for `truncated`, which the batch does not have:
# question 1 says what a time limit changes in a target, and so what you may pass, in the shape of `terminated`.
# Prediction and targets must both have the shape (batch,): (batch, 1) and (batch,) together give (batch, batch), and
# the mean over it is a number too, but a wrong one. Check in the documentation of PyTorch's Huber loss where its
# parabola ends and whether it takes the mean.
#
# </details>


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


# %% nbgrader={"grade": true, "grade_id": "huber-value", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4c (1 point): one transition. At a discount of 0 the reward is the target.
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


# %% nbgrader={"grade": true, "grade_id": "huber-gradient", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 4d (1 point): what the gradient reaches.
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
# ## 5. A gradient through a draw (5 points)
#
# A policy $\pi_\theta$ can also be changed directly. It draws an action $a$, or a text of several tokens, and gets the
# reward $r(a)$. No gradient passes through a draw, but through its probability one does ([Williams,
# 1992](https://doi.org/10.1007/BF00992696)): for every number $b$ that does not depend on the draw,
#
# $$\nabla_\theta\, \mathbb E_{a \sim \pi_\theta}\bigl[r(a)\bigr]
# = \mathbb E_{a \sim \pi_\theta}\bigl[(r(a) - b)\, \nabla_\theta \log \pi_\theta(a)\bigr] .$$
#
# So one draw gives an estimate of the gradient whose mean is right. The **baseline** $b$ changes its variance. Let the
# policy be a softmax of logits $\theta$, one for each action, and derive $\nabla_\theta \log \pi_\theta(a)$ on paper: a
# vector with a component for each action. Then sum the variance of the estimate over its components. Nothing has to be
# drawn, since the expectations are sums over the actions.
#
# *Difficulty: ★★★. Time: about 25 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Write $\log \pi_\theta(a)$ as $\theta_a - \log \sum_j e^{\theta_j}$, and differentiate it with respect to each
# $\theta_i$, once for $i = a$ and once for the others. For each action that might be drawn, the estimate is a vector;
# its mean and its variance are sums over these actions, each with its probability.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The derivative of $\log \sum_j e^{\theta_j}$ with respect to $\theta_i$ is $\pi_\theta(i)$. The components of each
# gradient must sum to 0; use this to check yours. Build a matrix whose row $a$ is the estimate
# $g_a = (r(a) - b)\, \nabla_\theta \log \pi_\theta(a)$, and with $\bar g = \sum_a \pi_\theta(a)\, g_a$ compute
#
# $$\sum_a \pi_\theta(a) \sum_i (g_{a,i} - \bar g_i)^2 .$$
#
# Both sums over $a$ are weighted by the policy; PyTorch's `mean` and `var` give every row the same weight.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "variance", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gradient_variance(logits, rewards, baseline):
    """Return the variance of the estimate (r(a) - baseline) * grad log pi(a) from
    one draw a, summed over the components of the gradient; a number or a scalar.

    logits, rewards: (actions,); pi is the softmax of the logits, and the gradient
    is with respect to them. baseline: a number.
    """
    ### BEGIN SOLUTION
    p = logits.softmax(dim=0)
    scores = torch.eye(len(p)) - p  # row a: the gradient of log pi(a)
    estimates = (rewards - baseline)[:, None] * scores
    mean = p @ estimates
    return p @ (estimates - mean).square().sum(dim=1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "variance-exact", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5a (1 point): two actions, equally likely, with the rewards 3 and 1. The
# gradient of log pi is (1/2, -1/2) for the first and (-1/2, 1/2) for the second.
logits, rewards = torch.zeros(2), torch.tensor([3.0, 1.0])
for baseline, expected in [(0.0, 2.0), (2.0, 0.0), (12.0, 50.0)]:
    found = gradient_variance(logits, rewards, baseline)
    shape = tuple(torch.as_tensor(found).shape)
    assert shape == (), f"the sum over the components is one number, not {shape}"
    assert abs(found - expected) < 1e-4, (
        f"baseline {baseline}: the variance is {expected}, not {found:.4f}"
    )


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(31)
    for actions in (2, 3, 6):
        logits = torch.randn(actions, generator=draw)
        rewards = 2 * torch.randn(actions, generator=draw)
        weights = [math.exp(x) for x in logits.tolist()]
        p = [w / sum(weights) for w in weights]
        for baseline in (0.0, 0.7, -5.0):
            right = 0.0
            for i in range(actions):
                component = [
                    (r - baseline) * ((a == i) - p[i])
                    for a, r in enumerate(rewards.tolist())
                ]
                mean = sum(x * c for x, c in zip(p, component, strict=True))
                spread = [(c - mean) ** 2 for c in component]
                right += sum(x * c for x, c in zip(p, spread, strict=True))
            found = float(gradient_variance(logits.clone(), rewards, baseline))
            assert abs(found - right) < 1e-4 * (1 + right), (
                f"{actions} actions, baseline {baseline}: the variance is "
                f"{right:.4f}, not {found:.4f}"
            )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# In the chapter the mean reward came close to the best baseline. Where several texts are written after each prompt, it
# can be estimated for each prompt, by a number that does not depend on the text in question: the mean reward of the
# **other** texts after the same prompt ([Kool et al.,
# 2019](https://wouterkool.github.io/publication/buy-4-samples-free-baseline/)). The reward less this baseline is the
# **advantage**. (In the chapter each prompt has one text, and the others are those of the whole batch.)
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Each text has a baseline of its own, but no loop is needed. How do you get the sum of all other rewards of a row from
# the sum of the whole row?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Sum the rewards over the texts and keep this dimension, so that (prompts, 1) fits (prompts, texts). Turn it into the
# sum of the others, and divide by how many others there are. The advantage is the reward of the text less this mean. In
# each row the advantages must sum to 0; if there are only two texts, one is minus the other.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "advantage", "locked": false, "schema_version": 3, "solution": true, "task": false}
def advantages(rewards):
    """Return by how much each text did better than the others after its prompt.

    rewards: (prompts, texts), with at least 2 texts for each prompt. The baseline
    of a text is the mean reward of all other texts of its row, without its own.
    Returns (prompts, texts).
    """
    ### BEGIN SOLUTION
    texts = rewards.shape[1]
    others = (rewards.sum(dim=1, keepdim=True) - rewards) / (texts - 1)
    return rewards - others
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "advantage-others", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5b (1 point): the baseline is the mean of the others.
rewards = torch.tensor([[1.0, 4.0, 10.0], [5.0, 5.0, 5.0]])
found = advantages(rewards)
assert type(found) is Tensor, f"the answer must be a tensor, not {type(found)}"
assert found.shape == (2, 3), f"the shape must be (2, 3), not {tuple(found.shape)}"
assert abs(found[0, 0].item() + 6) < 1e-5, (
    f"the others got 7 on average, so 1 - 7 = -6, not {found[0, 0]:.3f}"
)
assert found[1].abs().max() < 1e-5, "equal texts have no advantage"


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(32)
    for prompts, texts in [(1, 2), (4, 3), (3, 8)]:
        rewards = 3 * torch.randn(prompts, texts, generator=draw) + 5
        given = rewards.clone()
        found = advantages(rewards)
        assert torch.equal(rewards, given), "the given rewards were changed"
        assert found.shape == rewards.shape, f"not of this shape: {found.shape}"
        for row, right in zip(found.tolist(), rewards.tolist(), strict=True):
            for k in range(texts):
                others = right[:k] + right[k + 1 :]
                expected = right[k] - sum(others) / len(others)
                assert abs(row[k] - expected) < 1e-4, (
                    f"{texts} texts per prompt: {expected:.4f}, not {row[k]:.4f}"
                )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Now the **surrogate loss**: a number whose *gradient* is minus the estimate, for an optimiser that goes downhill. Its
# value means nothing. The probability of a text is the product of those of its tokens, so its logarithm is a sum. In
# the chapter all texts are equally long; here text $i$ has ended after $n_i$ tokens, and what stands behind is padding
# that nobody drew:
#
# $$\mathcal L = -\frac1B \sum_{i=1}^{B} A_i \sum_{t=0}^{n_i - 1} \log \pi_\theta(x_{i,t} \mid x_{i,<t}) .$$
#
# The advantages $A_i$ are numbers, whatever they were computed from. Not divided by $n_i$: each text counts for its
# reward, however long it is.
#
# *Difficulty: ★★★. Time: about 25 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Go through the formula from the inside outwards: the log-probability of each token that stands in `tokens`, one number
# for each text, one number for the batch. Which of the two reductions is a sum, and which is a mean?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Take `log_softmax` over the vocabulary (the logarithm of a softmax can become minus infinity), and `gather` the
# entries of the tokens along that dimension; the index needs a third dimension, which goes again afterwards. Position
# $t$ of text $i$ was drawn if $t < n_i$: compare the positions, (time,), with the lengths as (batch, 1), and set all
# others to zero before you sum over time. Detach the advantage before you multiply. Mind the sign: the loss must fall
# when a text with a positive advantage becomes more probable.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "surrogate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def policy_loss(logits, tokens, lengths, advantage):
    """Return the surrogate loss of a batch of texts, a scalar.

    logits: (batch, time, vocab); those at t are what tokens[:, t] was drawn from.
    tokens: (batch, time). lengths: (batch,), whole numbers from 1 to time: how many
    tokens of each text were drawn; the rest is padding, and has no influence.
    advantage: (batch,); no gradient flows into it, only into the logits.
    """
    ### BEGIN SOLUTION
    log_p = logits.log_softmax(dim=2).gather(2, tokens[..., None]).squeeze(2)
    drawn = torch.arange(tokens.shape[1]) < lengths[:, None]
    log_p = torch.where(drawn, log_p, 0.0).sum(dim=1)  # of each text
    return -(advantage.detach() * log_p).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "surrogate-gradient", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5c (1 point): a step downhill makes the rewarded token more probable.
logits = torch.zeros(1, 1, 2, requires_grad=True)
token, one = torch.tensor([[0]]), torch.tensor([1])
better = torch.tensor([2.0], requires_grad=True)
loss = policy_loss(logits, token, one, better)
assert type(loss) is Tensor, f"the loss must be a tensor, not {type(loss)}"
assert loss.shape == (), f"a single number: shape (), not {tuple(loss.shape)}"
assert loss.requires_grad, "no gradient reaches the logits"
loss.backward()
slope = logits.grad[0, 0].tolist()
assert abs(slope[0] + 1) < 1e-5, (
    f"the slope for its logit is -2 * (1 - 1/2), not {slope[0]:.3f}"
)
assert better.grad is None or better.grad == 0, "the advantage is a mere number"


### BEGIN HIDDEN TESTS
def _texts(vocab, time):
    """All texts of this length, (vocab ** time, time)."""
    return torch.cartesian_prod(*[torch.arange(vocab)] * time).view(-1, time)


def _check():
    # All texts, each with its own probability in its reward: then the mean of the
    # estimates is the exact gradient of the mean reward. All have full length.
    draw = torch.Generator().manual_seed(33)
    for vocab, time in [(3, 1), (3, 2), (2, 4)]:
        logits = torch.randn(1, time, vocab, generator=draw, dtype=torch.float64)
        logits.requires_grad_()
        texts = _texts(vocab, time)
        count = len(texts)
        rewards = torch.randn(count, generator=draw, dtype=torch.float64)
        log_p = logits.log_softmax(dim=2).expand(count, -1, -1)
        p = log_p.gather(2, texts[..., None])[..., 0].sum(dim=1).exp()
        (right,) = torch.autograd.grad((p * rewards).sum(), logits)
        loss = policy_loss(
            logits.expand(count, -1, -1),
            texts,
            torch.full((count,), time),
            count * p.detach() * (rewards - 0.3),
        )
        assert loss.shape == (), f"one number, not shape {tuple(loss.shape)}"
        (found,) = torch.autograd.grad(loss, logits)
        assert (found + right).abs().max() < 1e-5, (
            f"texts of {time} tokens: averaged over all draws, the gradient is not "
            "minus that of the mean reward"
        )


_run(_check)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "surrogate-padding", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5d (1 point): padding has no influence, and a long text does not count less.
logits, lengths = torch.zeros(2, 4, 3, requires_grad=True), torch.tensor([1, 4])
tokens, one = torch.zeros(2, 4, dtype=torch.long), torch.ones(2)
loss = policy_loss(logits, tokens, lengths, one)
assert loss.requires_grad, "no gradient reaches the logits"
loss.backward()
reached = logits.grad.abs().sum(dim=2)
assert reached[0, 1:].max() == 0, "a gradient reaches what nobody drew"
assert abs(reached[0, 0] / reached[1, 0] - 1) < 1e-4, (
    "the first token of a short text must count as much as that of a long one"
)


### BEGIN HIDDEN TESTS
def _check():
    # The function is compared with itself where the padding is cut off, so another
    # mistake in the loss loses nothing here.
    draw = torch.Generator().manual_seed(34)
    for vocab, time in [(3, 4), (5, 7)]:
        logits = torch.randn(1, time, vocab, generator=draw)
        tokens = torch.randint(vocab, (1, time), generator=draw)
        advantage = torch.tensor([1.7])
        for length in (1, 2, time):
            steep = [each.clone().requires_grad_() for each in (logits, logits)]
            cut = torch.tensor([length])
            whole = policy_loss(steep[0], tokens, cut, advantage)
            short = policy_loss(
                steep[1][:, :length], tokens[:, :length], cut, advantage
            )
            assert abs(whole.item() - short.item()) < 1e-4, (
                f"a text of {length} tokens: the padding changes the loss"
            )
            for loss in (whole, short):
                loss.backward()
            miss = (steep[0].grad - steep[1].grad).abs().max()
            assert miss < 1e-4, f"{length} tokens: the padding changes the gradient"
            assert steep[0].grad[:, :length].abs().amax(dim=2).min() > 0, (
                "a token that was drawn has no gradient"
            )
        # A first token is worth as much whether a text goes on or not.
        first = []
        for length in (1, time):
            steep = logits.clone().requires_grad_()
            policy_loss(steep, tokens, torch.tensor([length]), advantage).backward()
            first.append(steep.grad[0, 0])
        assert (first[0] - first[1]).abs().max() < 1e-4, (
            "a token counts less because the text is longer"
        )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Nothing in the reward holds a policy to what it could do before. So a **reference** is kept, the policy as it was, and
# each text is charged for its distance from it: the reward becomes
#
# $$r(x) - \beta \sum_t \log \frac{\pi_\theta(x_t \mid x_{<t})}{\pi_{\text{ref}}(x_t \mid x_{<t})} .$$
#
# The mean of the sum over texts that the policy wrote is the KL divergence from the reference, so a single text's is an
# estimate of it. For one text it may well be negative. Which texts gain by the penalty, and which lose?
#
# *Difficulty: ★☆☆. Time: about 10 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# What is the logarithm of a quotient? Both logarithms are given, so no probability has to be computed.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Compute the logarithm of the ratio for each token, and sum over time: a text is charged for all its tokens, so do not
# take the mean. A negative sum stays as it is. Check the sign with a text that the policy finds more probable
# than the reference does: should its reward rise or fall? The result must carry no gradient, even if `log_p` does.
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "charge", "locked": false, "schema_version": 3, "solution": true, "task": false}
def charged(rewards, log_p, log_ref, beta):
    """Return the rewards of texts less beta times their estimates of the KL
    divergence of the policy from the reference.

    rewards: (batch,). log_p, log_ref: (batch, time), the logarithms of the
    probabilities that the policy and the reference give to the tokens of each text;
    the policy wrote the texts. beta: a number from 0. Returns (batch,), without a
    gradient.
    """
    ### BEGIN SOLUTION
    log_ratio = (log_p - log_ref).sum(dim=1)
    return (rewards - beta * log_ratio).detach()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "charge-kl", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 5e (1 point): the charge. The policy finds the first text 2 * 2 times as
# probable as the reference does, the second text half as probable.
log_ref = torch.tensor([[0.2, 0.1], [0.5, 0.5]]).log()
log_p = torch.tensor([[0.4, 0.2], [0.25, 0.5]]).log().requires_grad_()
found = charged(torch.tensor([10.0, 10.0]), log_p, log_ref, 3.0)
assert type(found) is Tensor, f"the answer must be a tensor, not {type(found)}"
assert found.shape == (2,), f"a number per text: (2,), not {tuple(found.shape)}"
assert not found.requires_grad, "a reward has no gradient"
for text, factor in enumerate((4, 1 / 2)):
    right = 10 - 3 * math.log(factor)
    assert abs(found[text].item() - right) < 1e-4, (
        f"{factor} times as probable: {right:.3f}, not {found[text]:.3f}"
    )


### BEGIN HIDDEN TESTS
def _check():
    draw = torch.Generator().manual_seed(35)
    for batch, time, beta in [(1, 1, 0.5), (4, 6, 0.1), (3, 2, 2.0), (2, 3, 0.0)]:
        rewards = torch.randn(batch, generator=draw).requires_grad_()
        log_p, log_ref = -3 * torch.rand(2, batch, time, generator=draw)
        log_p.requires_grad_()
        found = charged(rewards, log_p, log_ref, beta)
        assert found.shape == (batch,), f"a number per text, not {found.shape}"
        assert not found.requires_grad, "a reward has no gradient"
        for k in range(batch):
            right = rewards[k].item()
            for a, b in zip(log_p[k].tolist(), log_ref[k].tolist(), strict=True):
                right += beta * (b - a)
            assert abs(found[k].item() - right) < 1e-4, (
                f"{time} tokens, beta {beta}: {right:.4f}, not {found[k]:.4f}"
            )


_run(_check)
### END HIDDEN TESTS

# %% [markdown]
# Three of your functions, put together, tune a policy that writes texts of a single token out of five. The last token
# is paid best and is hardly ever written by the reference. The best policy can be computed: it is proportional to
# $\pi_{\text{ref}}(x)\, e^{r(x) / \beta}$. Which price $\beta$ lets the last token win? Guess before you run the cell.

# %%
paid = torch.tensor([0.0, 1.0, 0.5, 0.0, 4.0])  # for each token
log_ref = torch.tensor([0.4, 0.3, 0.2, 0.09, 0.01]).log()


# %%
def tuned(beta):
    logits, draw = log_ref.clone(), torch.Generator().manual_seed(0)
    for _ in range(400):
        logits = logits.detach().requires_grad_()
        p = logits.detach().softmax(dim=0)
        texts = torch.multinomial(p, 512, replacement=True, generator=draw)[:, None]
        net = charged(paid[texts[:, 0]], p.log()[texts], log_ref[texts], beta)
        gain = advantages(net.view(4, 128)).flatten().float()
        ones, each = torch.ones(512).long(), logits.expand(512, 1, 5)
        policy_loss(each, texts, ones, gain).backward()
        logits = logits.detach() - logits.grad
    return logits.softmax(dim=0).tolist()


# %%
for beta in (4.0, 1.0, 0.5):
    best = (log_ref + paid / beta).softmax(dim=0).tolist()
    rows = [" ".join(f"{x:.2f}" for x in row) for row in (tuned(beta), best)]
    print(f"beta {beta}: tuned {rows[0]}   best {rows[1]}")

# %% [markdown]
# ## 6. Find the bug (6 points)
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
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# A step of Q-learning chooses an action, does it, forms a target, moves one entry of the table, and says where it goes
# on. Find the lines of `faulty_step` for each of these, and compare them with the formula above. Ask of every statement
# first whether the code does this, and then whether Q-learning should do something else.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Follow each name from the line where it gets its value to all lines where it is read. Then play single steps on paper
# with a small table of different numbers: a greedy step, an exploring one, one that ends the game, and one that is
# interrupted. Write down which entry changes and to what, and beside it what the formula demands. What you cannot
# decide by reading, try: call `faulty_step` once in a world so small that you know what should come out (Check 6c
# builds one).
#
# </details>


# %% nbgrader={"grade": false, "grade_id": "mistakes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mistakes():
    """Return the letters of the five true statements, in one string such as
    "VWXYZ"; their order does not matter.
    """
    ### BEGIN SOLUTION
    return "ADFGI"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mistakes-most", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Check 6a (1 point): five letters, of which at least four are right.
named = mistakes()
assert type(named) is str, f"the letters must be in a string, not {named!r}"
assert len(set(named)) == len(named) == 5, f"five different letters, not {named!r}"
assert set(named) <= set("ABCDEFGHIJ"), f"letters from A to J, not {named!r}"
### BEGIN HIDDEN TESTS
assert len(set(named) & set("ADFGI")) >= 4, "fewer than four letters are right"
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "mistakes-all", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Check 6b (2 points): all five are right.
named = mistakes()
assert len(named) == 5, f"five letters, not {named!r}"
### BEGIN HIDDEN TESTS
assert set(named) == set("ADFGI"), "not all five letters are right"
### END HIDDEN TESTS

# %% [markdown]
# Now write a step without the five mistakes. You may call `epsilon_greedy`.
#
# *Difficulty: ★★☆. Time: about 15 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Write the step from the formula of Q-learning instead of mending `faulty_step` line by line. First note for each of
# the symbols $s$, $a$, $r$, $s'$, $\alpha$ and $\gamma$ which variable holds it.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `epsilon_greedy` expects a batch, here one of a single row, (1, actions), and returns a tensor; `move` wants a whole
# number. Form $y$ next: question 1 says when something is added for what comes after $s'$. Then move the one entry of
# this state and this action by a share $\alpha$ of its distance from $y$, in place. The last sentence of the docstring
# says where to go on.
#
# </details>


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
# Check 6c (1 point): ends and interruptions. The one action leads to state 1.
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
# Check 6d (1 point): a ring of three states. Action 0 stays, action 1 goes on.
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
# Check 6e (1 point): the size of a step, and a world with chance in it.
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
# not? (Cells that it rarely enters are learnt from few transitions.)

# %%
demonstrate(training_step)

# %% [markdown]
# The equation that should not have been an assignment was printed as one in an article about deep Q-learning. The page
# [Errata](../../book/errata.md#errata-reinforcement-learning) shows what became of it there.

# %% [markdown]
# ## Watch it play (no points)
#
# Put together, your functions of questions 1 to 4 are a program that learns to balance a pole on a cart, the game of
# the chapter [Deep Q-learning](../rl/dqn.ipynb). Here is the game ([Barto et al.,
# 1983](https://doi.org/10.1109/TSMC.1983.6313077)), for many carts at a time. A state is four numbers: where the cart
# is, how fast it goes, how far the pole leans, how fast it turns. The actions are pushes to the left (0) and to the
# right (1). The game is over when the pole leans by more than 12 degrees or the cart leaves its track, and is cut off
# after 500 steps.


# %% nbgrader={"grade": false, "grade_id": "play-setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import base64
import io
import itertools
import zlib
from copy import deepcopy
from time import monotonic
from types import SimpleNamespace

from IPython.display import Image, display
from PIL import Image as Picture
from PIL import ImageDraw


# %% nbgrader={"grade": false, "grade_id": "play-push", "locked": true, "schema_version": 3, "solution": false, "task": false}
def push(states, actions):
    """One step, a fiftieth of a second; return the states and where it is over.

    The numbers are those of Gymnasium's CartPole.
    """
    _, speed, lean, turning = states.unbind(dim=1)
    sin, cos, force = lean.sin(), lean.cos(), 20.0 * actions - 10.0
    common = (force + 0.05 * turning**2 * sin) / 1.1
    bend = (9.8 * sin - cos * common) / (2 / 3 - 0.05 * cos**2 / 1.1)
    slide = common - 0.05 * bend * cos / 1.1
    states = states + 0.02 * torch.stack([speed, slide, turning, bend], dim=1)
    over = (states[:, 0].abs() > 2.4) | (states[:, 2].abs() > math.pi / 15)
    return states, over


# %% nbgrader={"grade": false, "grade_id": "play-new", "locked": true, "schema_version": 3, "solution": false, "task": false}
def new_games(count, generator):
    """States of games that have just begun: nearly upright, nearly at rest."""
    return 0.1 * torch.rand(count, 4, generator=generator) - 0.05


def q_network():
    """A network from states to the values of the two actions."""
    return nn.Sequential(
        *[nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()],
        nn.Linear(128, 2),
    )


# %% nbgrader={"grade": false, "grade_id": "play-greedy", "locked": true, "schema_version": 3, "solution": false, "task": false}
@torch.no_grad()
def lengths_of(network, count=50, seed=1):
    """How many steps each of so many games lasts, without exploration."""
    states = new_games(count, torch.Generator().manual_seed(seed))
    lasted, going_on = torch.zeros(count), torch.ones(count, dtype=torch.bool)
    for _ in range(500):
        lasted += going_on
        states, over = push(states, network(states).argmax(dim=1))
        going_on &= ~over
        if not going_on.any():
            break
    return lasted


# %% [markdown]
# Four functions take part directly, together called `play`; those of question 1 and of the first half of question 4 do
# so if your loss calls them. A round is a step in each of eight games and four updates of the **online** network. The
# **target** network is a copy of it that is renewed every hundred updates. A third network is an **average** of the
# online one over its last few hundred updates, and is the one that is judged.


# %% nbgrader={"grade": false, "grade_id": "play-update", "locked": true, "schema_version": 3, "solution": false, "task": false}
def update(play, networks, optimiser, buffer, draw):
    """One update of the online network and of the average that follows it."""
    online, target, average = networks
    batch = play.sample_from_buffer(buffer, 64, draw)
    optimiser.zero_grad()
    play.td_loss(online, target, batch, 0.99).backward()
    nn.utils.clip_grad_norm_(online.parameters(), 10.0)
    optimiser.step()
    with torch.no_grad():
        for slow, new in zip(
            average.parameters(), online.parameters(), strict=True
        ):
            slow.lerp_(new, 0.002)


# %% nbgrader={"grade": false, "grade_id": "play-step", "locked": true, "schema_version": 3, "solution": false, "task": false}
def step_in_every_game(play, online, buffer, states, ages, epsilon, draw):
    """Returns the states to go on from, and how old their games are."""
    with torch.no_grad():
        values = online(states)
    actions = play.epsilon_greedy(values, epsilon, draw)
    after, over = push(states, actions)
    columns = (states, actions, torch.ones(len(over)), after, over)
    names = ("states", "actions", "rewards", "next_states", "terminated")
    play.add_to_buffer(buffer, dict(zip(names, columns, strict=True)))
    ages = ages + 1
    stop = over | (ages >= 500)  # cut off is not over: the buffer isn't told
    new = new_games(len(over), draw)
    return torch.where(stop[:, None], new, after), ages.masked_fill(stop, 0)


# %% nbgrader={"grade": false, "grade_id": "play-begin", "locked": true, "schema_version": 3, "solution": false, "task": false}
def beginners(seed):
    """Three networks with the same weights, and an optimiser for the first one."""
    torch.manual_seed(seed)
    networks = [q_network() for _ in range(3)]
    for network in networks[1:]:
        network.load_state_dict(networks[0].state_dict())
    return networks, torch.optim.Adam(networks[0].parameters(), 1e-3)


# %% nbgrader={"grade": false, "grade_id": "play-rounds", "locked": true, "schema_version": 3, "solution": false, "task": false}
def rounds_of(play, seed):
    """Learns round after round, and yields the averaged network after each."""
    networks, optimiser = beginners(seed)
    draw, buffer = torch.Generator().manual_seed(seed), new_buffer(50_000, 4)
    states, ages = new_games(8, draw), torch.zeros(8)
    for number in itertools.count(1):
        games = states, ages, max(0.05, 1 - number / 1250)
        states, ages = step_in_every_game(play, networks[0], buffer, *games, draw)
        for _ in range(4 if buffer["added"] >= 500 else 0):
            update(play, networks, optimiser, buffer, draw)
        if number % 25 == 0:
            networks[1].load_state_dict(networks[0].state_dict())
        yield networks[2]


# %% nbgrader={"grade": false, "grade_id": "play-learn", "locked": true, "schema_version": 3, "solution": false, "task": false}
def learn(play, seconds, rounds, seed=0):
    """Stops after so many rounds, or seconds; returns the network that did best."""
    begin, best = monotonic(), (-1.0, None)
    for number, network in enumerate(rounds_of(play, seed), start=1):
        passed = monotonic() - begin
        stop = number == rounds or passed > seconds
        if stop or number % max(1, rounds // 10) == 0:
            lasted = lengths_of(network).mean().item()
            print(f"{passed:3.0f} s, {8 * number:6,d} steps: {lasted:3.0f} of 500")
            if lasted >= best[0]:
                best = lasted, deepcopy(network)
        if stop:
            break
    return best[1]


# %% [markdown]
# Where one of your four functions is missing, or stops with an error, a stand-in plays instead, and the cell says so.
# The stand-ins are packed, so that nobody reads them by accident.

# %% nbgrader={"grade": false, "grade_id": "play-stand-ins", "locked": true, "schema_version": 3, "solution": false, "task": false}
STAND_INS = (
    "eNqVVE2PmzAQvedXuIcqZouQ9rpqrj321FuEkIMHYq2xqW02yVbtb+/AGDDZ7krNJZbxvPfmzYeE"
    "hp1A606YKgjXQvDcwUU46XMWwHXKiAASz24wNR0NXEP1IvQA+EYqX9vBhOxpx/DXWmXayhp2YPzP"
    "Gp8VwfIkrpDh1kM2hTgIgzMssrIvCyR7WOEeUtbdTqJs6L3S1lStA5A3PguK1zlrwYATwboo7SRC"
    "fc6ZqIOyxqPAKMWfRQ/TC+nEZVSOMfW5cMJIZQKPATnjhJAl0IeVZEJQvoJrr61D2RugGPvPSPZ1"
    "Fp36QbGXMzjgKWxOMvNZPhatE1cuVXd4zDKyRkhZBVudhqYBx+kvJwOiGZPBOatFL2oVbmO5NBhS"
    "edzHWuxLzHW6nhDSe0q316IGvyQqMNMWlteoAuS+ROLtBZaYWoZ9XgRMcI11zIgOcubsxTNlSHKh"
    "AnSeR+VTKQlwfFseSUSJKsaoXfJ9JTwQI7njRddrqBpnu3uLoi33rePxCBIZsJ3fpvcfDs09RYDY"
    "UkT4UUvFdvg1JvuEAvXQmSXn1TH6MHk2SZlNY6qZXrBPBxYl/yYbpB1OaAO1EbdGK4M4tATikPuA"
    "w+ujCRcVzjENY3HqhNyUBHzANAmGp9GbDs3ZM0A/Hn+4IS6AtOkn9m14KwIOAcfQkSMr/M8B4BX4"
    "Y2z2ICtt/dsM4sTdLShKd1UaO57IsGwpHX2K878vj085+24NlBsNI2iymxD5Y2MjapIiskaUF3BL"
    "q7yCs77S6nnRuK7TOSJubIy53+H3g7zwpiA5Ub630dP2+1achxM4cnp+Gcmyv7FXI4E="
)


# %% nbgrader={"grade": false, "grade_id": "play-fault", "locked": true, "schema_version": 3, "solution": false, "task": false}
def fault(play):
    """What goes wrong in one step and one update, or None."""
    networks, optimiser = beginners(0)
    draw, buffer = torch.Generator().manual_seed(0), new_buffer(8, 4)
    games = new_games(8, draw), torch.zeros(8), 0.5
    try:
        step_in_every_game(play, networks[0], buffer, *games, draw)
        update(play, networks, optimiser, buffer, draw)
    except NotImplementedError:
        return "not written yet"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


# %% nbgrader={"grade": false, "grade_id": "play-players", "locked": true, "schema_version": 3, "solution": false, "task": false}
def players():
    """Your functions, and stand-ins where there is a fault; prints which play."""
    spare, chosen = {"torch": torch, "F": F}, {}
    exec(zlib.decompress(base64.b64decode(STAND_INS)), spare)
    names = ["epsilon_greedy", "add_to_buffer", "sample_from_buffer", "td_loss"]
    play = {name: spare[name] for name in names}
    for name in names:
        own = globals().get(name)
        problem = fault(SimpleNamespace(**{**play, name: own}))
        who = "yours" if problem is None else f"a stand-in ({problem[:40]})"
        print(f"{name}: {who}")
        chosen[name] = own if problem is None else spare[name]
    return SimpleNamespace(**chosen)


# %% nbgrader={"grade": false, "grade_id": "play-picture", "locked": true, "schema_version": 3, "solution": false, "task": false}
def picture(state):
    """The cart and the pole of a state, on a track of 4.8 metres."""
    sheet = Picture.new("RGB", (360, 120), "white")
    pen, middle, lean = ImageDraw.Draw(sheet), 180 + 70 * state[0], state[2]
    pen.line([(12, 104), (348, 104)], fill="#606060", width=2)
    pen.rectangle([middle - 18, 84, middle + 18, 100], fill="#0072b2")
    top = (middle + 72 * math.sin(lean), 84 - 72 * math.cos(lean))
    pen.line([(middle, 84), top], fill="#d55e00", width=6)
    return sheet


# %% nbgrader={"grade": false, "grade_id": "play-film", "locked": true, "schema_version": 3, "solution": false, "task": false}
def film(network, steps=300, seed=5):
    """Shows the beginning of a game, a picture for every sixth step."""
    states, pictures = new_games(1, torch.Generator().manual_seed(seed)), []
    for step in range(steps):
        if step % 6 == 0:
            pictures.append(picture(states[0].tolist()))
        with torch.no_grad():
            states, over = push(states, network(states).argmax(dim=1))
        if over.any():
            break
    data = io.BytesIO()
    options = {"save_all": True, "append_images": pictures[1:], "duration": 120}
    pictures[0].save(data, "GIF", loop=0, **options)
    display(Image(data=data.getvalue(), format="gif", alt="A game of the agent"))


# %% [markdown]
# The next cell takes at most a minute. (A function with a loop over rows is slower than one without, so in that time it
# learns from fewer steps.) Whoever pushes at random lasts about 22 steps. How long do you expect the averaged network
# to last at first, and does it only ever get better?

# %%
if "NBGRADER_EXECUTION" not in os.environ:  # nobody watches the grading
    network = learn(players(), seconds=50, rounds=8000)
    lasted = lengths_of(network, count=100, seed=2)
    print(f"100 new games: {lasted.mean():.0f} steps on average,", end=" ")
    print(f"the shortest {lasted.min():.0f}")
    film(network)

# %% [markdown]
# Now spoil one of your functions on purpose, say by leaving out the end of a game in the targets, and run this part
# once more. Which mistakes keep the agent from learning, and which only slow it down?

# %% [markdown]
# ## 7. In your own words (4 points)
#
# Answer in full sentences, ten to sixteen in all. This question is read by a person.
#
# 1. In some state all actions are worth exactly the same, and a network's estimates of their values are right on
#    average, with independent errors. Why is the *maximum* of the estimates nevertheless too large on average, and why
#    is the double estimate of question 4 much better? (1 point)
# 2. A pole stands on a cart, and every step until it falls gives a reward of 1; after 500 steps the episode is stopped
#    by a time limit. A program stores this stop as a terminal state. What does it teach the agent about a pole that is
#    perfectly balanced, and why can the agent not make sense of it from what it sees? (1 point)
# 3. A friend removes the replay buffer to save memory, and trains on each transition once, as it comes. Describe two
#    different things that this does to the training. (1 point)
# 4. A team tunes a model that answers customers. The reward is 1 if the customer writes "thank you", else 0. In the
#    first week the rewards rise and the KL divergence from the reference stays small; in the third week the rewards are
#    higher still, and the divergence has grown tenfold. What has probably happened, why does a penalty on the
#    divergence not rule it out, and what should the team look at? (1 point)
#
# *Difficulty: ★★☆. Time: about 30 minutes.*
#
# <details>
# <summary>Hint 1</summary>
#
# Each part asks for at least two things; mark them, and give each its own sentence or two. A full answer names the
# mechanism: it says through which step of the computation the effect comes about, and not only that training becomes
# worse.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# 1. Which of several noisy estimates does a maximum take, and what does that say about its error? Ask the same about
#    the estimate by which the other network judges.
# 2. Write down the target that this program computes for the last step, and the one that it should compute; then
#    compare what decided that the episode stopped with what the four numbers of a state contain.
# 3. Compare a batch drawn from the buffer with as many transitions in a row. Then follow one rare transition, with the
#    buffer and without it.
# 4. Invent an answer that gets what is paid for without what was meant, and ask what the formula of the best policy in
#    question 5 makes of it if the reference rarely writes it. What could the team measure that the reward does not
#    contain?
#
# </details>

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# **Model answer.**
#
# 1. Some of the errors are above zero and some below, and the maximum always takes one of the highest: it chooses the
#    action by the very error that it then reports as value. In formulas, the mean of a maximum is at least the maximum
#    of the means. For five actions with normal errors of standard deviation 1 it is too large by about 1.16. The
#    targets are made of such maxima, so the excess is learnt and passed on to the states before. In the double estimate
#    one network chooses the action and another one, whose errors are different, says what it is worth. If the errors
#    are independent, being chosen says nothing about the judge's error, which is zero on average. (In Double DQN the
#    target network is an older copy of the online network, so their errors are related and a part of the excess stays.)
# 2. It teaches that after step 500 nothing more is to come, so the target there is 1 alone, and that of the steps
#    shortly before it is little more, although the pole stands perfectly and could go on for ever: the value, for γ =
#    0.99, should be near 100. The agent sees position, speed and angle, but not the time: the same state at step 20 has
#    a large target and at step 499 a small one. The network can only learn a mixture of them, too low for exactly the
#    states in which a good agent spends its time.
# 3. Transitions that follow each other are nearly the same, so a batch (or a run of updates) of them shows one corner
#    of the game and its gradients all point the same way; the network fits this corner and forgets what it knew about
#    others, until it gets there again. And each transition is used once and lost: rare events, the reward among them,
#    teach a single small step, so that far more playing is needed. (Also: what the agent does determines what it learns
#    from, so a change of behaviour changes the data at once; a buffer averages over many past behaviours. Q-learning
#    may use old transitions, because its target does not depend on who chose the action.)
# 4. The model has probably found answers that are thanked for and do not help: flattery, promises, a request to say
#    thank you, a quick end of the talk. What was paid for is delivered, and it is not what was meant. A penalty sets a
#    price: the best policy is proportional to $\pi_{\text{ref}}(x)\, e^{r(x)/\beta}$, so an answer that the reference
#    writes rarely still wins if its reward is high enough for the price. The team should read answers of both weeks,
#    measure what was not paid for (solved cases, complaints, length, variety), plot it against the divergence, and stop
#    where the two part, or raise β.
#
# **Rubric.**
#
# - Part 1: half a point for why the maximum is too large: it picks the action *because of* its positive error (or: the
#   mean of the maximum is at least the maximum of the means). "The network is inaccurate" without this: 0. Half a point
#   for the double estimate: choice and judgement have different errors. "It takes the smaller of the two" is another
#   method: 0 for this half.
# - Part 2: half a point for the low target at a state that would have gone on (no bootstrapping); half a point for "the
#   time is not in the state, so the same state gets contradictory targets".
# - Part 3: half a point for each of two different effects: transitions resemble each other, so that updates are
#   one-sided and earlier things are forgotten; each transition is used only once; the data follow the behaviour. "It
#   becomes unstable" without a reason: 0.
# - Part 4: half a point for the reward that is earned without what was meant (with an example that fits "thank you"); a
#   rising reward alone is no proof. Half a point for one of: the penalty is a price and not a wall; a measure that was
#   not paid for, or reading the answers. "The model overfits" alone: 0.
