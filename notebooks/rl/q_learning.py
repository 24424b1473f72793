# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Learning what actions are worth
#
# **After this chapter you can**
#
# - describe a game by states, actions, rewards and chances, and say what a return, a policy and a value are;
# - write the Bellman equation with its expectation, and find the best policy with it when the rules are known;
# - learn the same values from experience alone, with Q-learning in a dozen lines, and check them against the exact
#   ones;
# - say why it needs to explore, why its steps have to shrink (but not too fast), and what happens at the end of a
#   game.
#
# **You need**: Python with NumPy, and what the mean of a random number is. No network is trained here. The
# [notation](../../book/notation.md) is on a page of its own. · [How long this chapter takes to
# run](../../book/results.md)

# %% tags=["parameters"]
profile = "auto"  # "gpu" where there is one, else "cpu"; "smoke" checks the code

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("aigc_course") is None:  # as on Colab; needs a network
    address = "git+https://github.com/aigc-course/aigc-course"
    wanted = f"aigc-course[games,music] @ {address}"
    get_ipython().run_line_magic("pip", f'install -q "{wanted}"')
    importlib.invalidate_caches()  # the next cell finds what was just installed

# %%
import io
import itertools

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Image, display
from PIL import Image as Picture

from aigc_course import diagrams, dqn, plots, results, training


# %%
plots.use_style()
profile = training.resolve_profile(profile)
steps, trial, seeds = {
    "smoke": (4000, 2000, 2),
    "cpu": (600_000, 50_000, 5),
    "gpu": (1_000_000, 50_000, 10),
}[profile]
print(f"Profile {profile}: {seeds} agents walk {steps} steps each,")
print(f"those made to fail {trial}. A GPU would not help.")


# %% [markdown]
# ## A walk on ice
#
# So far somebody always had the answers: pictures to imitate, a next word to compare with. Now nobody has. An agent
# acts, something happens, and much later there may be a reward. From that it has to find out which of its many
# actions were the good ones. In every step the agent $\pi$ sees the state $s$ and chooses an action $a$; the
# environment $E$ answers with a reward $r$ and the next state, and so on until the game ends.

# %%
diagrams.draw(
    "A loop: the agent pi chooses an action a, which goes into the environment E. "
    "From E a reward r and the next state s go back to pi.",
    {"π": (0, 1), "a": (1.4, 0), "E": (2.8, 1), "r": (1.4, 1), "s": (1.4, 2)},
    [("π", "a", "E", "s", "π"), ("E", "r", "π")],
    variables=["a", "r"],
    observed=["s"],
)

# %% [markdown]
# The smallest world in which this is hard is a frozen lake, one of the games of
# [Gymnasium](https://arxiv.org/abs/2407.17032). It has 16 places. The agent starts in one corner and wants to get to
# the goal in the opposite one. Four places are holes: whoever steps on one falls in, and the game is over.

# %%
lake = gym.make("FrozenLake-v1", disable_env_checker=True)
# S start, F frozen, H hole, G goal, row by row
kinds = lake.unwrapped.desc.ravel().astype(str)
places = np.arange(16)
y, x = np.divmod(places, 4)


# %%
marks = {"S": ("s", 9, "black", "start"), "H": ("o", 22, "black", "hole")}
marks["G"] = ("*", 24, plots.COLOURS[3], "goal")


# %%
# the lake from above, each place shaded by a number between 0 and 1
def draw(ax, values, numbers=None):
    ax.imshow(values.reshape(4, 4), cmap="Blues", vmin=0, vmax=1.5)
    for kind, (mark, size, colour, label) in marks.items():
        spots = x[kinds == kind], y[kinds == kind]
        inside = "none" if kind == "S" else colour
        look = {"markersize": size, "color": colour, "markerfacecolor": inside}
        ax.plot(*spots, mark, **look, label=label)
    safe = places[(kinds == "S") | (kinds == "F")]
    for place in () if numbers is None else safe:
        ax.text(x[place] - 0.45, y[place] + 0.43, numbers[place], fontsize=9)
    edges = np.arange(-0.5, 4)
    ax.set(xticks=edges, yticks=edges, xticklabels=[], yticklabels=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


# %% mystnb={"image": {"alt": "A grid of four by four places, numbered row by row. The start is top left, the goal bottom right, and four holes lie between."}}
figure, ax = plt.subplots(figsize=(4.2, 4))
draw(ax, np.full(16, 0.15), numbers=places.astype(str))
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), labelspacing=1.5)
plt.show()

# %% [markdown]
# The places are numbered row by row; the start is 0, the goal is 15. (The holes and the goal are counted too, though
# their numbers are not written on the map.) There are four actions: 0 is left, 1 down, 2 right, 3 up. If the ice were
# not slippery, the rest would be a puzzle for children. But it is: an agent that wants to go in one direction goes
# there with probability one third, and with one third each to either side of it. (Never backwards. An agent that would
# leave the lake stays where it is.)
#
# Here is a plan that any of us might make from the map: in each place, the action that leads along a shortest way
# round the holes.

# %%
MOVES = np.array(
    [[-1, 0], [0, 1], [1, 0], [0, -1]]
)  # left, down, right, up: the change of x and of y, which points down
# one action for each place
map_plan = np.array([1, 2, 1, 0, 1, 0, 1, 0, 2, 1, 1, 0, 0, 2, 2, 0])


# %%
def episode(policy, game=lake):  # the places and the rewards of one game
    s, _ = game.reset()
    states, received, over = [int(s)], [], False
    while not over:
        s, r, terminated, truncated, _ = game.step(int(policy[s]))
        states, received = [*states, int(s)], [*received, float(r)]
        over = terminated or truncated
    return states, received


lake.reset(seed=0)
for _ in range(3):
    print(*episode(map_plan)[0])


# %% [markdown]
# Compare the walks with the plan: in 0 it says *down*, which would lead to 4. More often than not the ice decides
# differently, and a hole ends the walk. How good is the plan, then, and is there a better one? We need words for that.
#
# ## Words for a game
#
# - A **state** $s$ is all that matters for what comes next: here the number of the place.
# - An **action** $a$ is what the agent chooses: here one of four.
# - A **reward** $r$ is a number that comes with each step: here 1 for the step onto the goal, and 0 for every other.
# - The **next state** $s'$ follows by chance. $P(s' \mid s, a)$ is its probability, and it depends on nothing but $s$
#   and $a$. A game of this kind is called a **Markov decision process**.
# - A **terminal** state ends the game: the holes and the goal.
# - A **policy** $\pi$ says what to do in each state, $a = \pi(s)$. Our plan from the map is one.
#
# What is wanted is not a reward soon but much reward in all. The **return** $G$ is the sum of what is to come, with
# $r_1$ the reward of the next step, $r_2$ that of the one after, and so on:
#
# $$ G = r_1 + \gamma r_2 + \gamma^2 r_3 + \dots , \qquad 0 \le \gamma < 1 . $$
#
# The **discount** $\gamma$ says what a reward loses by coming one step later. It keeps the sum finite in games that
# never end, and it makes one hurry: with $\gamma = 0.99$ a goal ten steps earlier is worth about a tenth more. One
# can also read it as the probability that the game goes on at all.

# %%
GAMMA = 0.99


def discounted(received):  # the return of a game that is over
    return sum(GAMMA**t * r for t, r in enumerate(received))


games = {"smoke": 500, "cpu": 10_000, "gpu": 20_000}[profile]
lake.reset(seed=1)
returns = np.array([discounted(episode(map_plan)[1]) for _ in range(games)])
error = returns.std() / len(returns) ** 0.5
print(
    f"the plan's mean return over {len(returns)} games: "
    f"{returns.mean():.4f} ± {error:.4f} (standard error)"
)
print(f"it reaches the goal in {100 * (returns > 0).mean():.1f} % of them")

# %% [markdown]
# The plan that looked sensible gets to the goal in a few games out of a hundred.
#
# ## Values, and the equation between them
#
# The mean return of a policy, when one starts in $s$ and follows it, is the **value** of the state, $V^\pi(s)$. If
# the first action is any $a$ and only then the policy is followed, it is the **action value** $Q^\pi(s, a)$:
#
# $$
# \begin{aligned}
# V^\pi(s) &= \mathbb E\big[G \mid s,\ \pi\big] , \\
# Q^\pi(s, a) &= \mathbb E\big[G \mid s, a,\ \text{then } \pi\big] , \\
# V^\pi(s) &= Q^\pi\big(s, \pi(s)\big) .
# \end{aligned}
# $$
#
# The mean $\mathbb E$ is over the slips of the ice. Now look at the return once more. Everything after the first
# reward is again a return, one step later: $G = r_1 + \gamma\,(r_2 + \gamma r_3 + \dots) = r_1 + \gamma G'$. Take the
# mean on both sides, and the return $G'$ from the next state on becomes that state's value. This is the **Bellman
# equation**:
#
# $$
# \begin{aligned}
# Q^\pi(s, a) &= \mathbb E_{s'}\big[\, r + \gamma\, V^\pi(s') \,\big] \\
#             &= \underbrace{\sum_{s'} P(s' \mid s, a)\, r(s, a, s')}_{\text{rewards}[s,\, a]}
#             + \gamma \sum_{s'} P(s' \mid s, a)\, V^\pi(s') , \\
# V^\pi(\text{terminal}) &= 0 .
# \end{aligned}
# $$
#
# Here $r(s, a, s')$ is the reward of the step from $s$ to $s'$, and the words under the brace are the name that its
# mean has in the code. The equation does not say what a value *is*; it says how the values of neighbouring states hang
# together. The $\mathbb E$ is not an ornament. What follows an action is a matter of chance, and only the mean over all
# that may happen is fixed.
#
# Gymnasium lets us look into the lake's rule book: `P[s][a]` lists all outcomes with their probabilities. We write it
# into two arrays. After a step that ends the game nothing more comes, so that step is left out of `onward`; this is
# how $V(\text{terminal}) = 0$ gets into the code.


# %%
def rule_book(game):
    book = game.unwrapped.P
    rewards, onward = np.zeros((16, 4)), np.zeros((16, 4, 16))
    for s, a in itertools.product(range(16), range(4)):
        for probability, s_next, r, terminated in book[s][a]:
            rewards[s, a] += probability * r  # the mean reward
            # to get there, and the game goes on
            onward[s, a, s_next] += probability * (not terminated)
    return rewards, onward


rewards, onward = rule_book(lake)
for probability, s_next, r, terminated in lake.unwrapped.P[14][2]:
    print(
        "from 14 to the right: "
        f"with {probability:.3f} to {s_next:2d}, reward {r}, over: {terminated}"
    )

# %% [markdown]
# With a policy put in, the Bellman equation is a system of 16 linear equations with 16 unknowns, $V =
# \text{rewards}_\pi + \gamma\, \text{onward}_\pi V$. (The index $\pi$ says that in each state $s$ only the entries of
# the action $\pi(s)$ are taken.) We can simply solve it.


# %%
# the right-hand side of the Bellman equation for all s and a at once, (16,) -> (16,
# 4)
def backup(values):
    return rewards + GAMMA * onward @ values


def value_of(policy):
    return np.linalg.solve(
        np.eye(16) - GAMMA * onward[places, policy], rewards[places, policy]
    )


# %%
map_values = value_of(map_plan)
print(
    f"the plan's value at the start: {map_values[0]:.4f}; "
    f"its mean return was {returns.mean():.4f} ± {error:.4f}"
)
# V(s) = Q(s, π(s)): the equation holds
assert np.allclose(map_values, backup(map_values)[places, map_plan])
assert abs(map_values[0] - returns.mean()) < 5 * error


# %% [markdown]
# One number came from thousands of games, the other from no game at all, and they agree within the error of chance.
#
# ## The best policy
#
# Call a policy **optimal**, $\pi^*$, if no other has a larger value in any state. Its values $V^*$ and $Q^*$ are easy
# to characterise. Whatever the first action, the best goes on from $s'$ with $V^*(s')$; and in each state it takes
# the action that is worth most. So
#
# $$
# \begin{aligned}
# Q^*(s, a) &= \mathbb E_{s'}\big[\, r + \gamma \max_{a'} Q^*(s', a') \,\big] , \\
# V^*(s) &= \max_a Q^*(s, a) , \\
# \pi^*(s) &= \arg\max_a Q^*(s, a) .
# \end{aligned}
# $$
#
# This is the **Bellman optimality equation**. Because of the maximum it is not linear, and `solve` does not help. But
# it can be used as an instruction: begin with any values, put them into the right-hand side, take what comes out as
# the new values, and repeat. That is **value iteration**, and each round is called a sweep:
#
# $$ V_{k+1}(s) = \max_a \Big( \text{rewards}[s, a] + \gamma \sum_{s'} \text{onward}[s, a, s']\, V_k(s') \Big) . $$


# %%
def value_iteration(sweeps):
    film = [np.zeros(16)]
    for _ in range(sweeps):
        film.append(backup(film[-1]).max(axis=1))
    return np.array(film)  # (sweeps + 1, 16)


# %%
film = value_iteration(1500)
best_values, best_q = film[-1], backup(film[-1])
# one more sweep changes nothing: a fixed point
assert np.allclose(best_values, best_q.max(axis=1), rtol=0, atol=1e-9)
# rounded: two equally good actions should not be told apart by noise
best_policy = best_q.round(9).argmax(axis=1)
assert np.allclose(
    best_values, value_of(best_policy), rtol=0, atol=1e-9
)  # what the linear equations say of that policy
print(
    f"value at the start: {best_values[0]:.4f}, "
    f"against {map_values[0]:.4f} for the plan from the map"
)


# %% [markdown]
# Two checks stand in the cell. The values are a fixed point: they solve the equation. And the policy that takes the
# best action everywhere does have these values, by the linear equations of the last section, which know of no
# maximum.
#
# Watch how they come about:


# %%
def frame(sweep):  # one picture of the loop
    figure, ax = plt.subplots(figsize=(3.6, 3.8), dpi=80)
    draw(ax, film[sweep], numbers=[f"{value:.2f}" for value in film[sweep]])
    ax.set_title(f"$k = {sweep}$")
    figure.canvas.draw()
    picture = Picture.frombuffer(
        "RGBA", figure.canvas.get_width_height(), figure.canvas.buffer_rgba()
    )
    plt.close(figure)
    return picture.convert("RGB").quantize(colors=48)


# %%
shown = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 18, 25, 40, 70, 150]
# the end comes first: it is what a printed page shows
frames = [frame(sweep) for sweep in [shown[-1], *shown]]
buffer = io.BytesIO()
pauses = [1500] + [500] * len(shown)
frames[0].save(
    buffer, "GIF", save_all=True, append_images=frames[1:], duration=pauses, loop=0
)
print(f"{len(frames)} frames; k counts the sweeps")


# %% mystnb={"image": {"alt": "Animation: all places are pale at first; the place beside the goal darkens, then its neighbours, and the shade spreads back to the start while all places go on darkening."}}
display(
    Image(
        data=buffer.getvalue(),
        format="gif",
        alt="Values spread from the goal backwards over the lake",
    )
)


# %% [markdown]
# After one sweep only place 14 knows of the goal, since it alone can reach it in one step. With the next sweep its
# neighbours learn of it from 14, and so it goes backwards, one step a sweep. After six sweeps the start has a value,
# still too small for two decimals. From then on the values only grow more exact: they now also count the long walks
# with many slips.
#
# ### Why it gets there
#
# Let $T$ stand for a whole sweep, $V_{k+1} = T V_k$. Take any two tables of values $V$ and $W$ that differ by at most
# $d$ in any state. A mean of numbers that differ by at most $d$ differs by at most $d$, and so does a maximum; and
# then the difference is multiplied by $\gamma$. So a sweep is a **contraction**:
#
# $$ \max_s \big| TV(s) - TW(s) \big| \;\le\; \gamma\, \max_s \big| V(s) - W(s) \big| . $$
#
# Put $W = V^*$, which $T$ leaves as it is: the largest error shrinks at least by the factor $\gamma$ in each sweep,
# wherever one begins. It also follows that there is only one solution.

# %%
rng = np.random.default_rng(0)
for _ in range(1000):
    v, w = rng.normal(size=(2, 16))
    assert (
        abs(backup(v).max(axis=1) - backup(w).max(axis=1)).max()
        <= GAMMA * abs(v - w).max() + 1e-12
    )
errors = abs(film - best_values).max(axis=1)[:301]
assert (errors[1:] <= GAMMA * errors[:-1] + 1e-12).all()
print(
    f"each sweep left between {(errors[1:] / errors[:-1]).min():.3f} "
    f"and {(errors[1:] / errors[:-1]).max():.3f} of it"
)


# %% mystnb={"image": {"alt": "On a logarithmic axis the largest error falls in nearly a straight line, clearly steeper than the dashed line of the bound."}}
plt.semilogy(errors, label="largest error")
plt.semilogy(
    errors[0] * GAMMA ** np.arange(301),
    "--",
    color="black",
    label="bound: times γ a sweep",
)
plt.xlabel("sweeps")
plt.ylabel("largest |V − V*|")
plt.legend()
plt.show()


# %% [markdown]
# The error stays below the bound, and falls faster than it has to: the printed line says which part of it the best and
# the worst sweep left. The bound counts on a game that goes on for ever; here it ends sooner or later, and what has
# ended cannot err any more. (The asserts found no exception among a thousand pairs of random tables either, nor will
# they: the contraction is a theorem, not a tendency.)
#
# ### What the best policy does
#
# > **Predict, then run.** Look at place 6, in the map above: holes to its left and to its right, the goal somewhere
# > below. Which action is best there? (a) Down, towards the goal and away from both holes. (b) Up, back to where it
# > is safe. (c) Left or right, straight at a hole.

# %% tags=["gallery"] mystnb={"image": {"alt": "The lake shaded by value, darker towards the goal. Arrows show the best actions: many point at the border or away from the goal; between two holes they point at the holes."}}
figure, ax = plt.subplots(figsize=(4.4, 4.4))
draw(ax, best_values, numbers=[f"{value:.2f}" for value in best_values])
frozen = (kinds == "S") | (kinds == "F")
# all actions that are equally good
best = (best_q > best_q.max(axis=1, keepdims=True) - 1e-9) & frozen[:, None]
place, action = best.nonzero()
ways = (0.36 * MOVES[action]).T
arrows = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.014}
ax.quiver(x[place], y[place], *ways, color=plots.COLOURS[3], **arrows)
plt.show()


# %%
print(
    "place 6:",
    ", ".join(
        f"{name} {q:.3f}"
        for name, q in zip(["left", "down", "right", "up"], best_q[6], strict=True)
    ),
)


# %% [markdown]
# It is (c). An agent that wants to go down or up from place 6 slips to the left or to the right with probability two
# thirds, and there are the holes. Whoever aims *at* one hole hits it with one third, and cannot hit the other. For the
# same reason the agent in 0 leans against the border on its left: the ice will carry it down in time, and it can slip
# nowhere bad. In 14, beside the goal, it pushes down against the border, not to the right.
#
# Nobody told the agent any of this, and nobody would have guessed it from the map. All of it follows from the rules
# and one equation. The probability to reach the goal can be computed too, without a game: follow the distribution of
# the places from step to step. (Gymnasium calls the game off after 100 steps, so we count only goals reached by
# then.)


# %%
def success_rate(policy, limit=100):
    here, reached = (
        (places == 0).astype(float),
        0.0,
    )  # the probability to be in each place, and to have reached the goal
    for _ in range(limit):
        # the reward is 1 on the goal and 0 elsewhere
        reached += here @ rewards[places, policy]
        here = here @ onward[places, policy]
    return reached


# %%
optimal_success = success_rate(best_policy)
print(
    "the plan from the map reaches the goal "
    f"with probability {success_rate(map_plan):.3f}"
)
print(f"the optimal policy reaches it with probability {optimal_success:.3f}")


# %% [markdown]
# ## Without the rule book
#
# Value iteration never set a foot on the ice. It read $P$, and computed. Most games do not hand out their $P$: one
# can press a button and see what comes. What the agent then has are **transitions** $(s, a, r, s')$, and whether the
# game ended there.
#
# The mean in the Bellman equation is over the unknown $P$. But a mean can be estimated from samples, and each
# transition *is* a sample. Given a table $Q$, right or wrong, it yields the **target**
#
# $$
# y = \begin{cases} r & \text{if the game ended with this step,} \\ r + \gamma \max_{a'} Q(s', a') & \text{otherwise.} \end{cases}
# $$
#
# To use one's own estimate of what is to come, in place of waiting for it, is called **bootstrapping**. Averaged over
# $s'$ the target is exactly the right-hand side of the optimality equation. See for yourself: an agent stumbles about
# at random, and for an arbitrary table we compare the mean of its targets with the exact expectation, for each state
# and action.


# %%
def stumble(steps, seed):  # transitions of an agent that acts at random
    rng, seen = np.random.default_rng(seed), []
    s, _ = lake.reset(seed=seed)
    for a in rng.integers(4, size=steps):
        s_next, r, terminated, truncated, _ = lake.step(int(a))
        seen.append((s, a, r, s_next, terminated))
        s = lake.reset()[0] if terminated or truncated else s_next
    states, actions, received, following, ended = np.array(seen, dtype=float).T
    return (
        states.astype(int),
        actions.astype(int),
        received,
        following.astype(int),
        ended.astype(bool),
    )


# %%
states, actions, received, following, ended = stumble(2 * trial, seed=0)
print(
    f"{len(states)} transitions, {ended.sum()} ends, "
    f"{int(received.sum())} at the goal"
)


# %%
table = np.random.default_rng(1).uniform(size=(16, 4))  # any table will do
targets = received + GAMMA * table[following].max(axis=1) * ~ended
pair = 4 * states + actions  # one number for each state and action
count = np.bincount(pair, minlength=64)
mean = np.bincount(pair, targets, minlength=64) / count.clip(min=1)
spread = np.sqrt(
    (
        np.bincount(pair, targets**2, minlength=64) / count.clip(min=1) - mean**2
    ).clip(min=0)
)


# %%
often = count >= 50
off = (mean - backup(table.max(axis=1)).ravel())[often] / (
    spread / np.sqrt(count.clip(min=1))
)[often]
print(
    f"{often.sum()} pairs; "
    f"the mean target is off by {abs(off).max():.1f} standard errors at most"
)
assert abs(off).max() < 5


# %% [markdown]
# The largest of so many deviations is a few standard errors, as it should be for pure chance: on average the target is
# right. (The line for `targets` is `td_target` of the package, which the next chapter uses.)

# %%
with_package = dqn.td_target(
    torch.tensor(received),
    torch.tensor(ended),
    torch.tensor(table[following].max(axis=1)),
    GAMMA,
)
assert np.allclose(with_package, targets)
print(f"the same {len(with_package)} targets")

# %% [markdown]
# *On average.* A single target is something else. We take the exact $Q^*$ and look at the targets of one pair, in
# place 14 to the right:

# %% mystnb={"image": {"alt": "Three bars of about the same height at three different targets; a dashed line at their mean meets none of the bars."}}
chosen = (states == 14) & (actions == 2)
single = (received + GAMMA * best_values[following] * ~ended)[chosen]
values, counts = np.unique(single.round(6), return_counts=True)
plt.bar(values, counts / counts.sum(), width=0.01, label="targets seen")
plt.axvline(
    best_q[14, 2], color=plots.COLOURS[3], linestyle="--", label="Q*, their mean"
)
plt.xlabel("target r + γ max Q*(s', a')")
plt.ylabel("share of the transitions")
plt.ylim(0, 0.6)
plt.legend(loc="upper left")
plt.show()
print(f"{len(single)} transitions; not one of their targets is {best_q[14, 2]:.3f}")
assert not np.isclose(single, best_q[14, 2], atol=0.01).any()

# %% [markdown]
# This is what a formula in one of the source articles leaves out. It prints $Q(s, a) = r + \gamma \max_{a'} Q(s', a')$,
# as an identity. On this lake it is not true of a single transition, not even for the one table that is right. It holds
# *on average*, and for $Q^*$ only.
#
# ## Q-learning
#
# So the target must not replace the estimate. It should only pull at it, and the pulls of many targets average out.
# That is **Q-learning** (Watkins, 1989; [Watkins and Dayan, 1992](https://doi.org/10.1007/BF00992698)). After each
# transition
#
# $$ Q(s, a) \;\leftarrow\; Q(s, a) + \alpha\, \big( y - Q(s, a) \big) $$
#
# with a **learning rate** (step size) $\alpha$ between 0 and 1. Three things have to be settled.
#
# **How to act meanwhile.** The agent learns only about what it tries. If it always does what looks best, it may never
# find out about something better; if it always acts at random, it rarely gets far. The usual compromise is
# **ε-greedy**: with the exploration rate ε a random action, otherwise the best, where ties are broken at random. We
# take ε = 0.5.
#
# **How large the step.** It has to shrink, or the last few slips of the ice would always show. It must not shrink too
# fast, or the estimates freeze on the way. With $\alpha_n$ for the $n$-th visit to a pair of state and action,
# Watkins and Dayan prove convergence to $Q^*$ under the conditions that [Robbins and Monro
# (1951)](https://doi.org/10.1214/aoms/1177729586) had found: $\sum_n \alpha_n = \infty$ and $\sum_n \alpha_n^2 <
# \infty$, and each pair is visited again and again. We take $\alpha_n = n^{-0.6}$.
#
# **What an end is.** In a hole and on the goal nothing more is to come: the target is $r$. When Gymnasium calls off
# the game after 100 steps, that is not so. The ice would still be there, and the agent on it; only our patience is
# over. Such a game is *truncated*, not *terminated*, and its last target bootstraps like any other.


# %%
def epsilon_greedy(values, epsilon, rng):
    if rng.random() < epsilon:
        return int(rng.integers(len(values)))
    best = np.flatnonzero(values == values.max())
    return int(best[rng.integers(len(best))])


def sampled_target(q, r, s_next, terminated, truncated):
    return r if terminated else r + GAMMA * q[s_next].max()


def shrinking(n):
    return n**-0.6


# %%
# what a run does unless it is told otherwise
usual = {"step_size": shrinking, "target": sampled_target, "choose": epsilon_greedy}


# %%
def q_learning(steps, seed, epsilon=0.5, start=0.0, game=lake, **changes):
    step_size, target, choose = (usual | changes).values()
    rng, film = np.random.default_rng(seed), []
    q, visits = np.full((16, 4), start), np.zeros((16, 4), dtype=int)
    s, _ = game.reset(seed=seed)
    for step in range(steps):
        a = choose(q[s], epsilon, rng)
        s_next, r, terminated, truncated, _ = game.step(a)
        visits[s, a] += 1
        error = target(q, r, s_next, terminated, truncated) - q[s, a]
        q[s, a] += step_size(visits[s, a]) * error
        s = game.reset()[0] if terminated or truncated else s_next
        if (step + 1) % (steps // 100) == 0:
            film.append(q.copy())
    return q, visits, np.array(film)  # (16, 4), (16, 4), (100, 16, 4)


# %% [markdown]
# That is the whole method. `lake.step` is all it knows of the lake; the rule book is closed. The film keeps a hundred
# copies of the table, so that we can look at its way afterwards. We let several agents learn, each with its own seed,
# and compare $\max_a Q(s, a)$ with the exact $V^*(s)$ in all states they have been to.
#
# A table taken at any one moment still shows the latest luck. So we also take the mean of the copies from the last
# third of the way, in which much of the luck cancels ([Polyak and Juditsky, 1992](https://doi.org/10.1137/0330046)),
# and let that be the result.


# %%
# the errors of the values of the states that were visited; q may be a film
def off_by(q, visits):
    return (
        q.max(axis=-1)[..., visits.sum(axis=1) > 0]
        - best_values[visits.sum(axis=1) > 0]
    )


# %%
agents = [q_learning(steps, seed) for seed in range(seeds)]
learnt = [learning[-len(learning) // 3 :].mean(axis=0) for _, _, learning in agents]
for seed, ((last, visits, _), q) in enumerate(zip(agents, learnt, strict=True)):
    in_last, in_mean = (abs(off_by(table, visits)).max() for table in (last, q))
    print(f"seed {seed}: goal reached with {success_rate(q.argmax(axis=1)):.3f};")
    print(f"    largest error {in_last:.3f} in the last table,", end=" ")
    print(f"{in_mean:.3f} in the mean")
print(f"the optimal policy reaches the goal with {optimal_success:.3f}")


# %% mystnb={"image": {"alt": "On two logarithmic axes the largest errors of all agents fall, at first slowly, and then jitter, mostly below a dashed line; the mean errors lie below them."}}
for number, (_, visits, learning) in enumerate(agents):
    errors = abs(off_by(learning, visits))
    walked = steps // 100 * np.arange(1, len(learning) + 1)
    labels = ("largest", "mean") if number == 0 else (None, None)
    two = errors.max(axis=1), errors.mean(axis=1)
    for curve, colour, label in zip(two, plots.COLOURS, labels, strict=False):
        plt.loglog(walked, curve, color=colour, linewidth=1, label=label)
plt.axhline(0.05, color="black", linestyle="--", linewidth=1, label="promised")
plt.xlabel("steps on the ice")
plt.ylabel("error of the values")
plt.legend(loc="lower left")
plt.show()


# %% [markdown]
# Each agent has two thin lines: the largest and the mean error of its table as it was at that moment. The errors fall,
# with jerks: a run of unlucky slips pulls an estimate down, lucky ones push it up again, and a single table may stray
# above the dashed line even late. That is what the mean of many copies is good for. The errors fall far more slowly
# than in value iteration, where a few hundred sweeps were enough for several decimals: there each mean was computed,
# here it has to be estimated from samples, and the shrinking steps only slowly average the noise out.
#
# To act well, one needs to know only which action is the best, not what it is worth. So the policy may be good before
# the values are. The first agent's table at five moments, as a policy and as a table of values:

# %%
_, visits, learning = agents[0]
found = []
for copy in (1, 2, 5, 20, 100):
    table = learning[copy * len(learning) // 100 - 1]
    success, error = (
        success_rate(table.argmax(axis=1)),
        abs(off_by(table, visits)).max(),
    )
    found.append((success, error))
    print(f"after {copy * steps // 100:7,} steps: success {success:.3f},", end=" ")
    print(f"largest error {error:.3f}")
if profile != "smoke":
    assert any(s > 0.95 * optimal_success and error > 0.1 for s, error in found)

# %% [markdown]
# At one of these moments at least the policy is already close to the best one while some value is still off by more than
# a tenth. Here are the exact values and the first agent's at the end:

# %% mystnb={"image": {"alt": "Two lakes side by side, shaded by the exact and by the learnt values; the shades and the arrows are alike."}}
figure, axes = plt.subplots(1, 2, figsize=(6, 3.2))
for ax, q, name in zip(axes, (best_q, learnt[0]), ("exact", "learnt"), strict=True):
    draw(ax, q.max(axis=1), numbers=[f"{value:.2f}" for value in q.max(axis=1)])
    arrows = MOVES[q.round(9).argmax(axis=1)[frozen]]
    look = {
        "angles": "xy",
        "scale_units": "xy",
        "scale": 1,
        "width": 0.016,
        "color": plots.COLOURS[3],
    }
    ax.quiver(x[frozen], y[frozen], *(0.36 * arrows).T, **look)
    ax.set_title(name, fontsize=11)
plt.show()

# %% [markdown]
# The arrow in place 6 may differ: left and right are equally good there, and each agent decides for the one that
# happened to do better. The agents have learnt to lean against the border and to aim at holes, from nothing but
# their own games.
#
# > **Aside: whose values?** Half of its actions the agent takes at random, and yet what it learns are the values of
# > the *optimal* policy, which never does. That is because the target contains $\max_{a'} Q(s', a')$, the best next
# > action, whatever the agent then does. Such a method is called **off-policy**: it learns about one policy while
# > following another, and may even learn from the transitions of other agents. **SARSA** is **on-policy**: it puts
# > the action really taken next into the target, $r + \gamma\, Q(s', a')$, and so learns the value of acting as it
# > does, stumbling included. The first exercise shows what a difference that makes beside a cliff.
#
# ## When it fails
#
# ### Without exploration
#
# > **Predict, then run.** The table begins with zeros. Let ε = 0, and let ties be broken in favour of the first
# > action, as `argmax` does. How often will the agent have reached the goal after all its steps? (a) Often: it learns
# > from its falls to avoid the holes. (b) Now and then. (c) Never.


# %%
def first_best(values, epsilon, rng):
    return int(values.argmax())


q, visits, _ = q_learning(trial, seed=0, choose=first_best)
print(
    f"places visited: {(visits.sum(axis=1) > 0).nonzero()[0]}; "
    f"actions tried: {(visits.sum(axis=0) > 0).nonzero()[0]}"
)
print(f"largest number in the table: {q.max():.1f}")
assert q.max() == 0

# %% [markdown]
# Never. A fall costs nothing here, it only ends the game. So all it sees are zeros, the table stays zero, and the
# first action, left, remains the "best" in each place. It slips down along the border until the hole in the corner
# gets it, over and over. With ties broken at random, it would at least move about. So how much exploration is enough?

# %% mystnb={"image": {"alt": "For each exploration rate, one mark per agent: with none, all are low; with a little, they are strewn widely; a dashed line marks the optimal policy."}}
rates, runs = [0.0, 0.05, 0.2, 0.5, 1.0], range(max(5, seeds))
for column, rate in enumerate(rates):
    tried = [q_learning(trial // 4, seed, epsilon=rate)[0] for seed in runs]
    reached = [success_rate(q.argmax(axis=1)) for q in tried]
    spots = column + np.linspace(-0.2, 0.2, len(reached))
    plt.plot(spots, reached, "o", color=plots.COLOURS[0])
    span = f"{min(reached):.2f} to {max(reached):.2f}"
    print(f"ε = {rate:4.2f}: goal with {span}, median {np.median(reached):.2f}")
plt.axhline(optimal_success, color="black", linestyle="--", linewidth=1)
plt.xticks(range(len(rates)), rates)
plt.xlabel("exploration rate ε while learning")
plt.ylabel("chance to reach the goal")
plt.ylim(0, 0.8)
plt.show()


# %% [markdown]
# Each point is an agent that took a quarter as many steps as the one before, judged by its greedy policy; the dashed
# line is the optimal policy. Without exploration an agent keeps to the first way that ever led to the goal, however
# bad. With a little it depends on luck: look at the spread between seeds, and never trust a single run. On this lake
# even pure chance teaches well, because a random walk gets everywhere. In a larger world it would not, and a rate that
# starts high and then falls is usual.
#
# ### Steps that do not shrink, and steps that shrink too fast
#
# Four ways to choose $\alpha_n$: our $n^{-0.6}$; the plain mean of all targets so far, which is $\alpha_n = 1/n$; a
# constant $\frac12$; and $\alpha = 1$. The last one is the article's formula taken as an assignment: the old estimate
# is forgotten, and the target put in its place.
#
# > **Predict, then run.** Both $n^{-0.6}$ and $1/n$ fulfil the conditions of Robbins and Monro, and the mean is what
# > one would take to estimate an expectation. Which is closer to $V^*$ in the end? (a) The mean, $1/n$. (b) There is
# > no difference worth mentioning. (c) $n^{-0.6}$, by far.

# %%
rules = {
    "n to the −0.6": shrinking,
    "1/n": lambda n: 1 / n,
    "always ½": lambda n: 0.5,
    "always 1": lambda n: 1.0,
}
tables = {
    name: [q_learning(2 * trial, seed, step_size=rule) for seed in range(3)]
    for name, rule in rules.items()
}


# %% mystnb={"image": {"alt": "Mean error against steps for four step sizes: the shrinking one falls steadily; the plain mean falls very slowly; the two constants go up and down without falling further, the larger one at a higher level."}}
late = {}  # errors over the last fifth
for number, (name, runs) in enumerate(tables.items()):
    errors = [abs(off_by(film, visits)).mean(axis=1) for _, visits, film in runs]
    curve = np.mean(errors, axis=0)
    late[name] = curve[-20:].mean()
    walked = 2 * trial // 100 * np.arange(1, len(curve) + 1)
    line, colour = ["-", "--", "-.", ":"][number], plots.COLOURS[number]
    plt.plot(walked, curve, line, color=colour, label=name)
    reached = [success_rate(q.argmax(axis=1)) for q, _, _ in runs]
    span = f"{min(reached):.2f} to {max(reached):.2f}"
    print(f"{name:>13}: mean error {late[name]:.3f}, goal with {span}")
plt.gca().set(xlabel="steps on the ice", ylabel="mean error of the values")
plt.ylim(0, 0.6)
plt.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=4, fontsize=9)
plt.show()

# %%
assert profile == "smoke" or min(late, key=late.get) == "n to the −0.6"


# %% mystnb={"image": {"alt": "One entry of the table against steps: one curve settles near the dashed exact value; the second sways around it, mostly above; the third stays far above almost all the time, and still drops now and then."}}
for number, name in ((3, "always 1"), (2, "always ½"), (0, "n to the −0.6")):
    # of one entry: place 14, beside the goal, to the right
    estimate = tables[name][0][2][:, 14, 2]
    look = {"color": plots.COLOURS[number], "linewidth": 1 + (number == 0)}
    plt.plot(walked, estimate, **look, label=name)
dashed = {"color": "black", "linestyle": "--", "linewidth": 1}
plt.axhline(best_q[14, 2], **dashed, label="exact")
plt.xlabel("steps on the ice")
plt.ylabel("estimated Q(14, right)")
plt.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=4, fontsize=9)
plt.show()


# %% [markdown]
# It is (c). The plain mean weighs all targets alike, also the first ones; but those were computed from a table of
# zeros, and were wrong. A target that bootstraps gets better as the table does, so old ones have to be forgotten.
# [Even-Dar and Mansour (2003)](https://www.jmlr.org/papers/v5/evendar03a.html) show that with $1/n$ the time grows
# exponentially in $1/(1-\gamma)$. Convergence was promised, but nobody said when.
#
# With $\alpha = \frac12$ the estimates never come to rest: half of each is the last target. With $\alpha = 1$, the
# article's assignment, the estimate *is* the last target, one of the bars of the picture above, or worse: one computed
# from a table in which all other entries jump as well. The right-hand side is a random sample; what is set equal to it
# is random too. And a maximum likes lucky draws. Are the values too large, then?

# %%
for name, runs in tables.items():
    lean = np.mean(
        [off_by(learning, visits)[-20:].mean() for _, visits, learning in runs]
    )
    print(f"{name:>13}: the values are off by {lean:+.3f} on average")
    assert profile == "smoke" or (lean > 0) == name.startswith("always")

# %% [markdown]
# With the constant steps they are. This lean upwards is called the **overestimation** of Q-learning. It comes back with
# networks, and [the next chapter](dqn.ipynb) measures it. (The first two lean downwards: they began with zeros, and are
# still on their way up.)
#
# ### Endings that are not endings, and endings that are overlooked
#
# What if one always bootstraps, also from a hole? In this table nothing bad happens as long as it starts with zeros,
# by luck: nobody ever acts in a hole, so its entries stay what they were. Start with ones instead, and the luck is
# over. And what if one takes a truncated game for a terminated one? With Gymnasium's limit of 100 steps that would be
# a small mistake; we shorten it to 20.

# %%
short = gym.make("FrozenLake-v1", max_episode_steps=20, disable_env_checker=True)
cases = {
    "starts with 1": {"start": 1.0},
    "starts with 1, bootstraps in holes": {
        "start": 1.0,
        "target": lambda q, r, s, *_: r + GAMMA * q[s].max(),
    },
    "20 steps": {"game": short},
    "20 steps, taken for an end": {
        "game": short,
        "target": lambda q, r, s, *ends: r if any(ends) else r + GAMMA * q[s].max(),
    },
}


# %%
for name, change in cases.items():
    lean = [
        off_by(q, visits).mean()
        for q, visits, _ in (
            q_learning(2 * trial, seed, **change) for seed in range(3)
        )
    ]
    print(f"{name:>34}: off by {min(lean):+.3f} to {max(lean):+.3f} on average")
    if profile != "smoke":
        assert ("holes" in name) == (min(lean) > 0.3)
        assert ("taken" in name) == (max(lean) < -0.1)


# %% [markdown]
# To start with ones does little harm by itself: some optimism is left over. But a hole that is believed to be worth 1
# makes every way into it look splendid: the values are far too high, and no amount of experience corrects them. A
# network has no entries that stay zero, so there this mistake always counts. Taking the limit for an end does the
# opposite. Every place can be the one where the clock stops, as far as the agent sees, so every place loses value
# ([Pardo et al., 2018](https://arxiv.org/abs/1712.00378)). With the right target the short games do no harm. Both
# mistakes are easy to make and run without an error message; [the next chapter](dqn.ipynb) looks at both targets before
# it trains.
#
# ## What the source articles got wrong here
#
# One prints $Q(s, a) = r + \gamma \max_{a'} Q(s', a')$ as an identity, without an expectation and without an end
# ([errata](../../book/errata.md#errata-reinforcement-learning)).
#
# ## The promise
#
# This chapter promises that Q-learning finds the values of all states within 0.05 of the exact ones, from every seed,
# without having seen the rules.

# %%
worst = max(
    abs(off_by(q, visits)).max()
    for q, (_, visits, _) in zip(learnt, agents, strict=True)
)
lowest = min(success_rate(q.argmax(axis=1)) for q in learnt)
figures = results.record(
    "q_learning",
    profile,
    max_value_error=round(float(worst), 3),
    success_rate=round(float(lowest), 3),
    optimal_success_rate=round(float(optimal_success), 3),
)


# %%
print(
    figures["max_value_error"],
    figures["success_rate"],
    figures["optimal_success_rate"],
)
if profile != "smoke":
    assert worst < 0.05, "all values are found, from every seed"
    assert lowest > 0.9 * optimal_success, (
        "and the policy is about as good as the best"
    )


# %% [markdown]
# ## Summary
#
# - A return is the discounted sum of rewards to come; a value is its mean, from a state or from a state and an
#   action.
# - The Bellman equation ties a value to those of the next states, *in expectation*. With a policy put in it is
#   linear; with the maximum in it belongs to the best policy.
# - Value iteration uses it as an instruction. It needs the rules, and its error shrinks at least by γ a sweep.
# - A transition gives a random target whose mean is right. Q-learning moves the estimate a little towards it: it
#   needs no rules, but exploration, shrinking steps, and patience.
# - At a terminal state the target is $r$; at a truncation it is not.
#
# ## What a table cannot do
#
# The lake has 16 states, and each agent came by each of them thousands of times. That does not carry far. In
# *CartPole* the state is four real numbers; no two moments are ever exactly alike, so a table would never see an
# entry twice. Cut each number into 100 pieces, and there are $100^4 = 10^8$ states. A picture of 10 × 10 pixels, each
# on or off, has $2^{100}$ states, more than any agent could visit, let alone often. And even if it could: a table
# knows nothing of likeness. What it learns about one state tells it nothing of the one beside it.
#
# So the table has to be replaced by a function that generalises, $Q_\theta(s, a)$: a network. The update becomes a
# step down the gradient of $(y - Q_\theta(s, a))^2$. With it, the proof is gone: to change one value now changes all
# others, and the targets too. How it works all the same is the next chapter.
#
# ## Check yourself
#
# **1.** *Beside a cliff.* In Gymnasium's `CliffWalking-v1` each step costs 1, and the shortest way from the start to
# the goal, 13 steps, leads along a cliff; to step over it costs 100 and leads back to the start. Train Q-learning and
# SARSA there, with ε = 0.1, a constant step size of ½, and γ = 1. Which gets the better returns *while learning*, and
# which knows the shorter way?


# %% tags=["hide-cell"]
# @title Solution
def on_the_cliff(sarsa, seed, games=500, epsilon=0.1, step_size=0.5):
    cliff, q = gym.make("CliffWalking-v1"), np.zeros((48, 4))
    rng, returns = np.random.default_rng(seed), np.zeros(games)
    for number in range(games):
        s, over = cliff.reset()[0], False
        a = epsilon_greedy(q[s], epsilon, rng)
        while not over:
            s_next, r, over, _, _ = cliff.step(a)
            a_next = epsilon_greedy(q[s_next], epsilon, rng)
            future = q[s_next, a_next] if sarsa else q[s_next].max()
            q[s, a] += step_size * (r + (0 if over else future) - q[s, a])
            s, a, returns[number] = s_next, a_next, returns[number] + r
    return q, returns


# %% tags=["hide-cell"]
# @title Solution, continued
def greedy_length(q, limit=100):  # steps to the goal without a random action
    cliff, over, length = gym.make("CliffWalking-v1"), False, 0
    s, _ = cliff.reset()
    while not over and length < limit:
        s, _, over, _, _ = cliff.step(int(q[s].argmax()))
        length += 1
    return length


# %% tags=["hide-cell"]
# @title Solution, continued, continued
late, lengths = {}, {}
for name in ("Q-learning", "SARSA"):
    runs = [on_the_cliff(name == "SARSA", seed) for seed in range(3)]
    late[name] = np.mean([returns[-200:].mean() for _, returns in runs])
    lengths[name] = [greedy_length(q) for q, _ in runs]
    print(
        f"{name:>10}: mean return while learning {late[name]:.0f}; "
        f"greedy ways of {lengths[name]} steps"
    )


# %% tags=["hide-cell"]
# @title Solution, checked
assert lengths["Q-learning"] == [13, 13, 13], "it knows the shortest way"
assert late["SARSA"] > late["Q-learning"], "but pays for it while it still explores"

# %% [markdown]
# <details><summary>Answer</summary>
#
# Q-learning learns the values of the best policy, and that walks along the edge. But as long as every tenth action is
# random, it falls now and then. SARSA's values contain those falls, so it learns to keep away from the edge: a longer
# way, a better return. Only when ε goes to 0 do the two agree.
#
# </details>
#
# **2.** *Optimism.* Let the table start with ones, and take ε = 0. Does this agent, which always does what looks
# best, find the goal?

# %% tags=["hide-cell"]
# @title Solution
q, visits, _ = q_learning(20_000, seed=0, epsilon=0.0, start=1.0)
tried = visits[frozen].min()
print(
    f"the least tried action: {tried} times; "
    f"goal reached with {success_rate(q.argmax(axis=1)):.2f}"
)
assert tried > 0
assert success_rate(q.argmax(axis=1)) > 5 * success_rate(map_plan)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Yes. What has not been tried looks better than it is, so it gets tried, until disappointment has brought its value
# down. Optimism explores without a random action. It works only with the right target at the holes, as we saw.
#
# </details>
#
# **3.** *Dry ice.* When is the article's assignment, $\alpha = 1$, the right thing to do? Check your answer with
# `gym.make("FrozenLake-v1", is_slippery=False)`. What is the value of the start?

# %% tags=["hide-cell"]
# @title Solution
dry = gym.make("FrozenLake-v1", is_slippery=False, disable_env_checker=True)
q, visits, _ = q_learning(
    20_000, seed=0, epsilon=1.0, step_size=lambda n: 1.0, game=dry
)
print(f"value of the start {q[0].max():.4f}, exactly {GAMMA**5:.4f}")
assert np.isclose(q[0].max(), GAMMA**5)
assert q.max() == 1

# %% [markdown]
# <details><summary>Answer</summary>
#
# When nothing is left to chance. Then each target is its own mean, and the identity is true of $Q^*$ without an
# expectation. The goal is six steps away, and the reward comes with the sixth, discounted five times: $\gamma^5$. (On
# a terminal step it still has to be $r$ alone.)
#
# </details>
#
# **4.** How many sweeps of value iteration guarantee that the largest error is at most a thousandth of what it was at
# the beginning? And why were fewer enough here?

# %% tags=["hide-cell"]
# @title Solution
guaranteed = int(np.ceil(np.log(1e-3) / np.log(GAMMA)))
errors = abs(film - best_values).max(axis=1)
needed = int((errors <= 1e-3 * errors[0]).argmax())
print(f"guaranteed after {guaranteed} sweeps, reached after {needed}")
assert needed < guaranteed
assert errors[guaranteed] <= 1e-3 * errors[0]

# %% [markdown]
# <details><summary>Answer</summary>
#
# $\gamma^k \le 10^{-3}$ gives $k \ge \log 10^{-3} / \log \gamma$. The bound counts on a game that never ends; the
# chance to be still on the ice falls from step to step, and with it the weight of what is still wrong.
#
# </details>
#
# **5.** In words: an agent has learnt the table $Q$ by heart, exactly. Does it need $P$ to act? Would it, if it had
# learnt $V$ instead?
#
# <details><summary>Answer</summary>
#
# With $Q$ it takes $\arg\max_a Q(s, a)$ and needs nothing else. With $V$ it would have to know where each action
# leads, that is $P$, to see which is best. That is why Q-learning learns $Q$.
#
# </details>
#
# **Graded assignment**: [reinforcement learning](../exercises/rl.ipynb).
#
# ## Further reading
#
# - R. S. Sutton and A. G. Barto, [Reinforcement Learning: An
#   Introduction](http://incompleteideas.net/book/the-book-2nd.html) (2nd edition, 2018): chapters 3, 4 and 6 are this
#   chapter at length; the cliff is its example 6.6.
# - C. Watkins and P. Dayan, [Q-learning](https://doi.org/10.1007/BF00992698) (1992): the proof of convergence.
# - H. Robbins and S. Monro, [A Stochastic Approximation Method](https://doi.org/10.1214/aoms/1177729586) (1951): how
#   steps have to shrink.
# - E. Even-Dar and Y. Mansour, [Learning Rates for Q-learning](https://www.jmlr.org/papers/v5/evendar03a.html)
#   (2003): how fast they should.
# - B. T. Polyak and A. B. Juditsky, [Acceleration of Stochastic Approximation by
#   Averaging](https://doi.org/10.1137/0330046) (1992): the mean over the way.
# - F. Pardo et al., [Time Limits in Reinforcement Learning](https://arxiv.org/abs/1712.00378) (2018).
# - M. Towers et al., [Gymnasium](https://arxiv.org/abs/2407.17032) (2024): the games, and their common interface.
#
# Next: [Deep Q-learning](dqn.ipynb), where a network takes the table's place.
