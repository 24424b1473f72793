"""Wrong answers to notebooks/exercises/rl.py, and the points that each deserves.

For each answer cell (its grade_id) a list of (what is wrong, the code, the points of each check of that question).
The k-th wrong answers of all questions are handed in together, so a check that lets a mistake in one question cost
points in another shows up as well.
"""

Answer = tuple[str, str, dict[str, float]]


def _targets(points: tuple[float, float], result: str, before: str = "pass") -> tuple[str, dict[str, float]]:
    code = f"""\
def bellman_targets(rewards, terminated, truncated, next_values, discount):
    {before}
    return {result}"""
    return code, dict(zip(("targets-terminated", "targets-truncated"), points, strict=True))


def _epsilon(
    points: tuple[float, float, float, float],
    best: str = "values.argmax(dim=1)",
    drawn: str = "torch.randint(actions, (batch,), generator=generator)",
    explore: str = "torch.rand(batch, generator=generator) < epsilon",
    before: str = "pass",
    result: str = "torch.where(explore, drawn, best)",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def epsilon_greedy(values, epsilon, generator):
    batch, actions = values.shape
    {before}
    best = {best}
    drawn = {drawn}
    explore = {explore}
    return {result}"""
    checks = ("epsilon-greedy", "epsilon-random", "epsilon-mixture", "epsilon-generator")
    return code, dict(zip(checks, points, strict=True))


def _ring(
    points: tuple[float, float],
    places: str = "[(added + i) % capacity for i in range(count)]",
    names: str = "batch",
    rows: str = "batch[name]",
    stored: str = "buffer[name][places] = rows",
    then: str = "buffer['added'] = added + count",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def add_to_buffer(buffer, batch):
    count, capacity, added = len(batch["rewards"]), len(buffer["rewards"]), buffer["added"]
    places = {places}
    for name in {names}:
        rows = {rows}
        {stored}
    {then}"""
    return code, dict(zip(("ring-rows", "ring-oldest"), points, strict=True))


_STARTS_AGAIN = """\
def add_to_buffer(buffer, batch):
    count, capacity = len(batch["rewards"]), len(buffer["rewards"])
    start = buffer["added"] % capacity
    if start + count > capacity:
        start = 0
    for name, rows in batch.items():
        buffer[name][start : start + count] = rows
    buffer["added"] += count"""

_COUNTED_FOR_EACH_COLUMN = """\
def add_to_buffer(buffer, batch):
    for name, rows in batch.items():
        for row in rows:
            buffer[name][buffer["added"] % len(buffer[name])] = row
            buffer["added"] += 1"""


def _draw(
    points: tuple[float, float],
    places: str = "torch.randint(stored, (count,), generator=generator)",
    stored: str = "min(buffer['added'], len(buffer['rewards']))",
    rows: str = "column[places]",
    then: str = "pass",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def sample_from_buffer(buffer, count, generator):
    stored = {stored}
    places = {places}
    batch = {{name: {rows} for name, column in buffer.items() if name != "added"}}
    {then}
    return batch"""
    return code, dict(zip(("draw-rows", "draw-evenly"), points, strict=True))


def _stack(
    rows: str = "places[:, None] - torch.arange(count - 1, -1, -1)",
    same: str = "(rows >= 0) & (game[rows.clamp(min=0)] == game[places][:, None])",
    stored: str = "rows.clamp(min=0)",
    result: str = "pictures[stored] * same[..., None, None]",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def stack_pictures(pictures, begins, places, count):
    game = begins.cumsum(dim=0)
    rows = {rows}
    same = {same}
    stored = {stored}
    return {result}"""
    return code, {"stack-rows": 0}


def _double(
    points: tuple[float, float],
    choosing: str = "online(next_states)",
    best: str = "choosing.argmax(dim=1)",
    judging: str = "target(next_states)",
    found: str = "judging[torch.arange(len(best)), best]",
    result: str = "found.detach()",
    before: str = "pass",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def double_values(online, target, next_states):
    {before}
    choosing = {choosing}
    best = {best}
    judging = {judging}
    found = {found}
    return {result}"""
    return code, dict(zip(("double-choice", "double-gradient"), points, strict=True))


def _huber(
    points: tuple[float, float],
    values: str = "q[torch.arange(len(q)), batch['actions']]",
    best: str = "online(batch['next_states']).argmax(dim=1, keepdim=True)",
    judging: str = "target(batch['next_states'])",
    next_values: str = "judging.gather(1, best).squeeze(1).detach()",
    targets: str = "batch['rewards'] + discount * next_values * ~batch['terminated']",
    loss: str = "F.smooth_l1_loss(values, targets)",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def td_loss(online, target, batch, discount):
    q = online(batch["states"])
    values = {values}
    best = {best}
    judging = {judging}
    next_values = {next_values}
    targets = {targets}
    return {loss}"""
    return code, dict(zip(("huber-value", "huber-gradient"), points, strict=True))


_HUBER_UPON_WRONG = """\
def td_loss(online, target, batch, discount):
    values = online(batch["states"]).gather(1, batch["actions"][:, None])[:, 0]
    next_values = double_values(online, target, batch["next_states"])
    over = batch["terminated"]
    targets = bellman_targets(batch["rewards"], over, over & False, next_values, discount)
    return F.huber_loss(values, targets)"""


def _variance(
    scores: str = "torch.eye(len(p)) - p",
    reward: str = "rewards - baseline",
    weight: str = "p",
    spread: str = "estimates - weight @ estimates",
    result: str = "weight @ spread.square().sum(dim=1)",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def gradient_variance(logits, rewards, baseline):
    p = logits.softmax(dim=0)
    weight = {weight}
    estimates = ({reward})[:, None] * ({scores})
    spread = {spread}
    return {result}"""
    return code, {"variance-exact": 0}


def _advantage(result: str) -> tuple[str, dict[str, float]]:
    code = f"""\
def advantages(rewards):
    texts = rewards.shape[1]
    mean = rewards.mean(dim=1, keepdim=True)
    return {result}"""
    return code, {"advantage-others": 0}


def _surrogate(
    points: tuple[float, float],
    log_p: str = "logits.log_softmax(dim=-1)",
    found: str = "log_p.gather(2, tokens[:, :, None])[:, :, 0]",
    drawn: str = "torch.arange(tokens.shape[1]) < lengths[:, None]",
    text: str = "(found * drawn).sum(dim=1)",
    weight: str = "advantage.detach()",
    result: str = "-(weight * text).mean()",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def policy_loss(logits, tokens, lengths, advantage):
    log_p = {log_p}
    found = {found}
    drawn = {drawn}
    text = {text}
    weight = {weight}
    return {result}"""
    return code, dict(zip(("surrogate-gradient", "surrogate-padding"), points, strict=True))


def _charge(
    ratio: str = "log_p - log_ref", text: str = "ratio.sum(dim=1)", result: str = "(rewards - beta * text).detach()"
) -> tuple[str, dict[str, float]]:
    code = f"""\
def charged(rewards, log_p, log_ref, beta):
    ratio = {ratio}
    text = {text}
    return {result}"""
    return code, {"charge-kl": 0}


def _bug(
    points: tuple[float, float, float],
    action: str = "drawn if explores else best",
    value: str = "0.0 if terminated else q[next_state].max()",
    entry: str = "q[state, action]",
    update: str = "+= learning_rate * (reward + discount * value - q[state, action])",
    result: str = "0 if terminated or interrupted else next_state",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def training_step(q, state, world, epsilon, learning_rate, discount, generator):
    best = int(q[state].argmax())
    explores = torch.rand((), generator=generator).item() < epsilon
    drawn = int(torch.randint(q.shape[1], (), generator=generator))
    action = {action}
    next_state, reward, terminated, interrupted = move(world, state, action, generator)
    value = {value}
    {entry} {update}
    return {result}"""
    return code, dict(zip(("bug-ends", "bug-path", "bug-chance"), points, strict=True))


def _mistakes(letters: str, most: float, everything: float) -> tuple[str, dict[str, float]]:
    return f"def mistakes():\n    return {letters}", {"mistakes-most": most, "mistakes-all": everything}


_BUG_UPON_WRONG = """\
def training_step(q, state, world, epsilon, learning_rate, discount, generator):
    action = epsilon_greedy(q[state : state + 1], epsilon, generator)[0]
    next_state, reward, *ends = move(world, state, int(action), generator)
    over, cut = (torch.tensor([end]) for end in ends)
    target = bellman_targets(torch.tensor([reward]), over, cut, q[next_state : next_state + 1].amax(dim=1), discount)
    q[state, action] = (1 - learning_rate) * q[state, action] + learning_rate * target[0]
    return 0 if any(ends) else next_state"""

WRONG: dict[str, list[Answer]] = {
    "targets": [
        ("ends ignored", *_targets((0, 1), "rewards + discount * next_values")),
        (
            "the time limit taken for an end",
            *_targets((1, 0), "rewards + discount * next_values * ~(terminated | truncated)"),
        ),
        ("the flags exchanged", *_targets((0, 0), "rewards + discount * next_values * ~truncated")),
        ("the reward lost at the end", *_targets((0, 1), "(rewards + discount * next_values) * ~terminated")),
        ("the flag upside down", *_targets((0, 0), "rewards + discount * next_values * terminated")),
        ("the discount forgotten", *_targets((0, 1), "rewards + next_values * ~terminated")),
        ("the reward discounted", *_targets((0, 1), "discount * (rewards + next_values * ~terminated)")),
        ("the reward forgotten", *_targets((0, 1), "discount * next_values * ~terminated")),
        ("sign", *_targets((0, 1), "rewards - discount * next_values * ~terminated")),
        (
            "the given values overwritten",
            *_targets((0, 1), "rewards + discount * next_values", before="next_values[terminated] = 0"),
        ),
        (
            "the whole batch over with one",
            *_targets((0, 1), "rewards + discount * next_values * (not terminated.any())"),
        ),
        (
            "the game goes on at the time limit, always",
            *_targets((1, 0), "rewards + discount * next_values * ~(terminated & ~truncated)"),
        ),
        ("the mean of the batch", *_targets((0, 0), "(rewards + discount * next_values * ~terminated).mean()")),
    ],
    "epsilon": [
        ("the least valuable", *_epsilon((0, 1, 1, 1), best="values.argmin(dim=1)")),
        ("the last of equal ones", *_epsilon((0, 1, 1, 1), best="actions - 1 - values.flip(1).argmax(dim=1)")),
        (
            "anything but the best",
            *_epsilon(
                (1, 0, 1, 1), drawn="(best + torch.randint(1, actions, (batch,), generator=generator)) % actions"
            ),
        ),
        (
            "the last action never drawn",
            *_epsilon((1, 0, 1, 1), drawn="torch.randint(actions - 1, (batch,), generator=generator)"),
        ),
        ("in turn", *_epsilon((1, 0, 1, 1), drawn="torch.arange(batch) % actions")),
        ("one action for all", *_epsilon((1, 0, 1, 1), drawn="torch.randint(actions, (1,), generator=generator)")),
        ("one decision for all", *_epsilon((1, 1, 0, 1), explore="torch.rand(1, generator=generator) < epsilon")),
        (
            "one number for both",
            *_epsilon(
                (1, 1, 0, 1),
                before="chance = torch.rand(batch, generator=generator)",
                drawn="(chance * actions).long()",
                explore="chance < epsilon",
            ),
        ),
        ("upside down", *_epsilon((0, 0, 1, 1), explore="torch.rand(batch, generator=generator) >= epsilon")),
        ("never explores", *_epsilon((1, 0, 0, 0), result="best")),
        ("always explores", *_epsilon((0, 1, 0, 1), result="drawn")),
        ("explores above a half", *_epsilon((1, 1, 0, 1), explore="torch.tensor(epsilon > 0.5)")),
        (
            "the global generator",
            *_epsilon((1, 1, 1, 0), drawn="torch.randint(actions, (batch,))", explore="torch.rand(batch) < epsilon"),
        ),
        ("the same numbers each time", *_epsilon((1, 1, 0, 0), before="generator.manual_seed(0)")),
        ("floats", *_epsilon((0, 1, 1, 1), result="torch.where(explore, drawn, best).float()")),
    ],
    "ring": [
        ("starts again when a batch does not fit", _STARTS_AGAIN, {"ring-rows": 1, "ring-oldest": 0}),
        ("a step for each column", _COUNTED_FOR_EACH_COLUMN, {"ring-rows": 0, "ring-oldest": 0}),
        (
            "a full buffer takes no more",
            *_ring((1, 0), stored="buffer[name][added : added + count] = rows[: capacity - added]"),
        ),
        (
            "the last place again and again",
            *_ring((1, 0), places="[min(added + i, capacity - 1) for i in range(count)]"),
        ),
        ("counted no further than the capacity", *_ring((1, 0), then="buffer['added'] = min(added + count, capacity)")),
        ("batches counted", *_ring((0, 0), then="buffer['added'] += 1")),
        ("never counted", *_ring((0, 0), then="pass")),
        ("a column forgotten", *_ring((0, 1), names="['states', 'actions', 'rewards', 'terminated']")),
        (
            "states and next states exchanged",
            *_ring((0, 1), rows="batch[{'states': 'next_states', 'next_states': 'states'}.get(name, name)]"),
        ),
        (
            "a growing tensor",
            *_ring((0, 0), stored="buffer[name] = torch.cat([buffer[name][:added], rows])[-capacity:]"),
        ),
        ("moved up", *_ring((0, 0), stored="buffer[name].copy_(torch.cat([buffer[name], rows])[-capacity:])")),
        ("from the end", *_ring((0, 0), places="[capacity - 1 - (added + i) % capacity for i in range(count)]")),
        ("places drawn at random", *_ring((0, 0), places="torch.randint(capacity, (count,))")),
        ("one row for the whole batch", *_ring((0, 0), rows="batch[name][:1]")),
    ],
    "draw": [
        ("places from the whole capacity", *_draw((1, 0), stored="len(buffer['rewards'])")),
        ("every transition ever added", *_draw((1, 0), stored="buffer['added']")),
        ("each column for itself", *_draw((0, 1), rows="column[torch.randint(stored, (count,), generator=generator)]")),
        ("without replacement", *_draw((1, 0), places="torch.randperm(stored, generator=generator)[:count]")),
        ("the newest", *_draw((1, 0), places="torch.arange(stored - count, stored) % stored")),
        (
            "one after the other",
            *_draw(
                (1, 0), places="(int(torch.randint(stored, (), generator=generator)) + torch.arange(count)) % stored"
            ),
        ),
        (
            "one for the whole batch",
            *_draw((1, 0), places="torch.randint(stored, (1,), generator=generator).repeat(count)"),
        ),
        (
            "the last one never",
            *_draw((1, 0), places="torch.randint(max(1, stored - 1), (count,), generator=generator)"),
        ),
        (
            "the first and the last half as often",
            *_draw((1, 0), places="(torch.rand(count, generator=generator) * (stored - 1)).round().long()"),
        ),
        (
            "the next row's state for the next state",
            *_draw((0, 1), then="batch['next_states'] = buffer['states'][(places + 1) % stored]"),
        ),
        ("sorted columns", *_draw((0, 1), then="batch['actions'] = batch['actions'].flip(0) + 1")),
        (
            "new ones more often",
            *_draw((1, 0), places="(torch.rand(count, generator=generator).sqrt() * stored).long()"),
        ),
        (
            "the buffer itself",
            "def sample_from_buffer(buffer, count, generator):\n    return buffer",
            {"draw-rows": 0, "draw-evenly": 0},
        ),
    ],
    "stack": [
        ("the newest first", *_stack(rows="places[:, None] - torch.arange(count)")),
        ("across the games", *_stack(same="rows >= 0")),
        ("pictures of the last game in the place of black ones", *_stack(same="torch.ones_like(rows).bool()")),
        ("round the ring", *_stack(same="game[rows] == game[places][:, None]", stored="rows")),
        ("one too early", *_stack(rows="places[:, None] - torch.arange(count, 0, -1)")),
        ("into the future", *_stack(rows="(places[:, None] + torch.arange(count)).clamp(max=len(game) - 1)")),
        (
            "only the game's first picture",
            *_stack(same="(rows >= 0) & ~begins[rows.clamp(min=0)] | (rows == places[:, None])"),
        ),
        (
            "the game's first picture repeated",
            *_stack(
                stored="torch.where(same, rows, (game[:, None] == game[places]).int().argmax(dim=0)[:, None])",
                result="pictures[stored]",
            ),
        ),
        ("numbers for bytes", *_stack(result="pictures[stored].float() * same[..., None, None]")),
        (
            "the pictures of all places in one stack",
            *_stack(result="(pictures[stored] * same[..., None, None]).flatten(0, 1)"),
        ),
        ("the last game alone is known", *_stack(same="rows >= begins.nonzero()[-1]")),
        (
            "the beginning belongs to the game before",
            *_stack(same="(rows >= 0) & ((game - begins.long())[rows.clamp(min=0)] == game[places][:, None])"),
        ),
    ],
    "double": [
        (
            "the target network alone",
            *_double(
                (0, 1),
                best="judging.argmax(dim=1)",
                choosing="None",
                judging="target(next_states)",
                before="judging = target(next_states)",
            ),
        ),
        ("the online network alone", *_double((0, 1), judging="online(next_states)")),
        ("exchanged", *_double((0, 1), choosing="target(next_states)", judging="online(next_states)")),
        ("with a gradient", *_double((1, 0), result="found")),
        ("the mean of both", *_double((0, 1), choosing="(online(next_states) + target(next_states)) / 2")),
        ("the smaller maximum", *_double((0, 1), found="torch.minimum(choosing.amax(dim=1), judging.amax(dim=1))")),
        (
            "one action for the whole batch",
            *_double((0, 1), best="choosing.mean(dim=0).argmax().repeat(len(choosing))"),
        ),
        ("all pairs of rows", *_double((0, 1), found="judging[:, best]")),
        ("an axis too many", *_double((0, 1), found="judging.gather(1, best[:, None])")),
        ("the action, not its value", *_double((0, 1), result="best.float()")),
        (
            "networks frozen for good",
            *_double((1, 0), before="online.requires_grad_(False), target.requires_grad_(False)"),
        ),
        (
            "the maximum over the batch",
            *_double(
                (0, 1),
                best="choosing.argmax(dim=0)[torch.arange(len(choosing)) % choosing.shape[1]] % choosing.shape[1]",
            ),
        ),
        ("the mean of the actions", *_double((0, 1), found="judging.mean(dim=1)")),
        ("in the mode of evaluation", *_double((1, 0), before="online.eval(), target.eval()")),
    ],
    "huber": [
        ("the squared error", *_huber((0, 1), loss="F.mse_loss(values, targets)")),
        ("half the squared error", *_huber((0, 1), loss="(values - targets).square().mean() / 2")),
        ("sum", *_huber((0, 1), loss="F.huber_loss(values, targets, reduction='sum')")),
        ("the absolute error", *_huber((0, 1), loss="F.l1_loss(values, targets)")),
        ("the error cut off", *_huber((0, 0), loss="(values - targets).clamp(-1, 1).square().mean() / 2")),
        ("the best action's value", *_huber((0, 0), values="q.amax(dim=1)")),
        (
            "all actions towards the target",
            *_huber((0, 0), values="q", loss="F.huber_loss(values, targets[:, None].expand_as(q))"),
        ),
        ("a gradient into the target network", *_huber((1, 0), next_values="judging.gather(1, best).squeeze(1)")),
        (
            "the online network judges, with a gradient",
            *_huber((0, 0), judging="online(batch['next_states'])", next_values="judging.gather(1, best).squeeze(1)"),
        ),
        ("the online network judges", *_huber((0, 1), judging="online(batch['next_states'])")),
        ("the plain target", *_huber((0, 1), next_values="judging.amax(dim=1).detach()")),
        ("the end ignored", *_huber((0, 1), targets="batch['rewards'] + discount * next_values")),
        ("no gradient at all", *_huber((1, 0), loss="F.huber_loss(values, targets).detach()")),
        ("every value with every target", *_huber((0, 1), values="q.gather(1, batch['actions'][:, None])")),
        (
            "the target learns",
            *_huber(
                (0, 0),
                values="q[torch.arange(len(q)), batch['actions']].detach()",
                next_values="judging.gather(1, best).squeeze(1)",
                loss="F.mse_loss(values, targets)",
            ),
        ),
        # Not wrong: it calls functions of earlier questions, which are wrong in the same notebook or may be.
        ("right, upon wrong functions", _HUBER_UPON_WRONG, {"huber-value": 1, "huber-gradient": 1}),
    ],
    "variance": [
        ("the second moment", *_variance(spread="estimates")),
        ("all actions alike", *_variance(weight="torch.full_like(p, 1 / len(p))")),
        ("the score of the action's own logit only", *_variance(scores="torch.diag(1 - p)")),
        ("without the mean of the score", *_variance(scores="torch.eye(len(p))")),
        ("the gradient of the probability", *_variance(scores="p[:, None] * (torch.eye(len(p)) - p)")),
        ("the baseline forgotten", *_variance(reward="rewards")),
        ("the baseline added", *_variance(reward="rewards + baseline")),
        ("the mean over the components", *_variance(result="weight @ spread.square().mean(dim=1)")),
        ("the standard deviation", *_variance(result="(weight @ spread.square().sum(dim=1)).sqrt()")),
        ("each component by itself", *_variance(result="weight @ spread.square()")),
        ("the variance of the reward", *_variance(scores="torch.ones(len(p), 1)")),
        ("by the wrong axis", *_variance(scores="(torch.eye(len(p)) - p).T")),
    ],
    "advantage": [
        ("its own reward left in", *_advantage("rewards - mean")),
        (
            "the others of the whole batch",
            *_advantage("(rewards - rewards.mean()) * rewards.numel() / (rewards.numel() - 1)"),
        ),
        ("the mean over the prompts", *_advantage("rewards - rewards.mean(dim=0)")),
        ("without a baseline", *_advantage("rewards")),
        ("the baseline itself", *_advantage("(texts * mean - rewards) / (texts - 1)")),
        ("sign", *_advantage("(mean - rewards) * texts / (texts - 1)")),
        ("the wrong factor", *_advantage("(rewards - mean) * (texts - 1) / texts")),
        (
            "divided by the standard deviation",
            *_advantage("(rewards - mean) / (rewards.std(dim=1, keepdim=True) + 1e-6)"),
        ),
        ("the best of the others", *_advantage("rewards - rewards.amax(dim=1, keepdim=True)")),
        ("the median", *_advantage("rewards - rewards.median(dim=1, keepdim=True).values")),
        ("in one row", *_advantage("((rewards - mean) * texts / (texts - 1)).flatten()")),
    ],
    "surrogate": [
        ("uphill", *_surrogate((0, 1), result="(weight * text).mean()")),
        ("sum over the texts", *_surrogate((0, 1), result="-(weight * text).sum()")),
        ("divided by the length", *_surrogate((0, 0), text="(found * drawn).sum(dim=1) / lengths")),
        ("the mean over all tokens", *_surrogate((0, 0), text="(found * drawn).sum(dim=1) / drawn.sum()")),
        ("padding counts", *_surrogate((1, 0), drawn="torch.ones_like(tokens)")),
        ("one token too many", *_surrogate((1, 0), drawn="torch.arange(tokens.shape[1]) <= lengths[:, None]")),
        ("the last token forgotten", *_surrogate((0, 0), drawn="torch.arange(tokens.shape[1]) < lengths[:, None] - 1")),
        ("the probability, not its logarithm", *_surrogate((0, 1), log_p="logits.softmax(dim=-1)")),
        ("logits for logarithms", *_surrogate((0, 1), log_p="logits")),
        ("softmax over the positions", *_surrogate((0, 0), log_p="logits.log_softmax(dim=1)")),
        (
            "shifted by one",
            *_surrogate((0, 0), found="F.pad(log_p[:, :-1].gather(2, tokens[:, 1:, None])[:, :, 0], (0, 1))"),
        ),
        ("the advantage learns", *_surrogate((0, 1), weight="advantage")),
        ("the advantage forgotten", *_surrogate((0, 1), weight="1.0")),
        ("every text with every advantage", *_surrogate((0, 1), weight="advantage.detach()[:, None]")),
        ("no gradient", *_surrogate((0, 0), log_p="logits.detach().log_softmax(dim=-1)")),
        ("only the sign of the advantage", *_surrogate((0, 1), weight="advantage.detach().sign()")),
        ("the imitation of good texts alone", *_surrogate((0, 1), weight="advantage.detach().clamp(min=0)")),
    ],
    "charge": [
        ("sign of the penalty", *_charge(result="(rewards + beta * text).detach()")),
        ("the ratio upside down", *_charge(ratio="log_ref - log_p")),
        ("the mean over the tokens", *_charge(text="ratio.mean(dim=1)")),
        ("never negative", *_charge(text="ratio.sum(dim=1).clamp(min=0)")),
        ("the size of each token's", *_charge(ratio="(log_p - log_ref).abs()")),
        ("probabilities", *_charge(ratio="log_p.exp() - log_ref.exp()")),
        ("weighted with the probability again", *_charge(ratio="log_p.exp() * (log_p - log_ref)")),
        ("with a gradient", *_charge(result="rewards - beta * text")),
        ("the mean of the batch for all", *_charge(result="(rewards - beta * text.mean()).detach()")),
        ("beta forgotten", *_charge(result="(rewards - text).detach()")),
        ("for each token", *_charge(result="(rewards[:, None] - beta * ratio).detach()")),
        ("the last token alone", *_charge(text="ratio[:, -1]")),
    ],
    "mistakes": [
        ("four of five", *_mistakes('"ADFGB"', 1, 0)),
        ("three of five", *_mistakes('"ADFBC"', 0, 0)),
        ("the other five", *_mistakes('"BCEHJ"', 0, 0)),
        ("all ten", *_mistakes('"ABCDEFGHIJ"', 0, 0)),
        ("a tuple", *_mistakes('("A", "D", "F", "G")', 0, 0)),
        ("a letter twice", *_mistakes('"AADFG"', 0, 0)),
        ("letters that do not exist", *_mistakes('"ADFGK"', 0, 0)),
        ("a list of the right five", *_mistakes('["A", "D", "F", "G", "I"]', 0, 2)),
    ],
    "bug": [
        (
            "all five mistakes left",
            *_bug(
                (0, 0, 0),
                value="0.0 if interrupted else q[state].max()",
                entry="q[state, best]",
                update="= reward + discount * value",
            ),
        ),
        ("assigned", *_bug((1, 1, 0), update="= reward + discount * value")),
        ("bootstraps where the game is over", *_bug((0, 1, 1), value="q[next_state].max()")),
        (
            "an interruption taken for an end",
            *_bug((0, 1, 1), value="0.0 if terminated or interrupted else q[next_state].max()"),
        ),
        ("the value of the state left behind", *_bug((1, 0, 1), value="0.0 if terminated else q[state].max()")),
        (
            "credited to the best action",
            *_bug(
                (1, 0, 1),
                entry="q[state, best]",
                update="+= learning_rate * (reward + discount * value - q[state, best])",
            ),
        ),
        ("the mean of what may come", *_bug((1, 0, 1), value="0.0 if terminated else q[next_state].mean()")),
        ("the same action again", *_bug((1, 0, 1), value="0.0 if terminated else q[next_state, action]")),
        ("a random next action", *_bug((1, 0, 1), value="0.0 if terminated else q[next_state, drawn]")),
        ("goes on behind the end", *_bug((0, 1, 1), result="next_state")),
        ("starts again after a real end only", *_bug((0, 1, 1), result="0 if terminated else next_state")),
        ("never explores", *_bug((1, 0, 1), action="best")),
        ("always explores", *_bug((1, 0, 1), action="drawn")),
        ("explores upside down", *_bug((1, 0, 1), action="best if explores else drawn")),
        ("the whole row", *_bug((1, 0, 1), entry="q[state]")),
        ("all states", *_bug((1, 0, 1), entry="q[:, action]")),
        (
            "a learning rate of its own",
            *_bug((1, 1, 0), update="+= 0.1 * (reward + discount * value - q[state, action])"),
        ),
        (
            "half the step",
            *_bug((1, 1, 0), update="+= 0.5 * learning_rate * (reward + discount * value - q[state, action])"),
        ),
        ("the old value kept", *_bug((0, 0, 0), update="+= learning_rate * (reward + discount * value)")),
        (
            "away from the target",
            *_bug((0, 0, 0), update="-= learning_rate * (reward + discount * value - q[state, action])"),
        ),
        # Not wrong: it calls functions of earlier questions, which are wrong in the same notebook or may be.
        ("right, upon wrong functions", _BUG_UPON_WRONG, {"bug-ends": 1, "bug-path": 1, "bug-chance": 1}),
    ],
}

# Right, but written otherwise than the solution: no check may insist on one way to write an answer.
OTHERWISE: dict[str, str] = {
    "targets": """\
def bellman_targets(rewards, terminated, truncated, next_values, discount):
    warnings.warn("this is not a mistake")
    targets = rewards.clone()
    for row in range(len(rewards)):
        if truncated[row] and not terminated[row] or not terminated[row]:
            targets[row] += discount * next_values[row]
    return targets""",
    "epsilon": """\
def epsilon_greedy(values, epsilon, generator):
    batch, actions = values.shape
    chances = torch.full((batch, actions), epsilon / actions)
    chances[torch.arange(batch), values.max(dim=1).indices] += 1 - epsilon
    return chances.multinomial(1, generator=generator).flatten()""",
    "ring": """\
def add_to_buffer(buffer, batch):
    for transition in zip(*batch.values()):
        for name, value in zip(batch, transition):
            buffer[name][buffer["added"] % len(buffer[name])] = value
        buffer["added"] += 1""",
    "draw": """\
def sample_from_buffer(buffer, count, generator):
    stored = min(buffer["added"], buffer["rewards"].numel())
    chances = torch.rand(count, generator=generator, dtype=torch.float64)
    places = (chances * stored).floor().long()
    return {name: buffer[name].index_select(0, places) for name in buffer if isinstance(buffer[name], Tensor)}""",
    "stack": """\
def stack_pictures(pictures, begins, places, count):
    stacks = torch.zeros(len(places), count, *pictures.shape[1:], dtype=pictures.dtype)
    for stack, place in zip(stacks, places.tolist()):
        for k in range(count - 1, -1, -1):
            stack[k] = pictures[place]
            if begins[place]:
                break
            place -= 1
    return stacks""",
    "double": """\
def double_values(online, target, next_states):
    best = F.one_hot(online(next_states).max(dim=1).indices, target(next_states).shape[1])
    return (target(next_states) * best).sum(dim=1).detach()""",
    "huber": """\
def td_loss(online, target, batch, discount):
    q = online(batch["states"])
    values = (q * F.one_hot(batch["actions"], q.shape[1])).sum(dim=1)
    with torch.no_grad():
        best = online(batch["next_states"]).argmax(dim=1)
        coming = torch.stack([row[action] for row, action in zip(target(batch["next_states"]), best)])
        targets = batch["rewards"] + torch.where(batch["terminated"], 0.0, discount * coming)
    error = (values - targets).abs()
    return torch.where(error <= 1, error**2 / 2, error - 0.5).sum() / len(error)""",
    "variance": """\
def gradient_variance(logits, rewards, baseline):
    p = logits.softmax(dim=0)
    # the squared length of the score of action a is 1 - 2 p_a + sum of p^2
    second = (p * (rewards - baseline) ** 2 * (1 - 2 * p + (p**2).sum())).sum()
    gradient = p * (rewards - (p * rewards).sum())
    return (second - (gradient**2).sum()).item()""",
    "advantage": """\
def advantages(rewards):
    n = rewards.size(1)
    return n / (n - 1) * (rewards - rewards.mean(dim=1, keepdim=True))""",
    "surrogate": """\
def policy_loss(logits, tokens, lengths, advantage):
    losses = []
    for scores, text, length, gain in zip(logits, tokens, lengths.tolist(), advantage.tolist()):
        losses.append(gain * F.cross_entropy(scores[:length], text[:length], reduction="sum"))
    return torch.stack(losses).mean()""",
    "charge": """\
def charged(rewards, log_p, log_ref, beta):
    with torch.no_grad():
        return rewards + beta * log_ref.sum(dim=-1) - beta * log_p.sum(dim=-1)""",
    "mistakes": """\
def mistakes():
    return 'IGFDA'""",
    "bug": """\
def training_step(q, state, world, epsilon, learning_rate, discount, generator):
    chances = torch.full((q.shape[1],), epsilon / q.shape[1])
    chances[q[state].argmax()] += 1 - epsilon
    action = torch.multinomial(chances, 1, generator=generator).item()
    next_state, reward, terminated, interrupted = move(world, state, action, generator)
    target = torch.tensor(reward)
    if not terminated:
        target = target + discount * q[next_state].amax()
    q[state, action] = torch.lerp(q[state, action], target, learning_rate)
    if terminated or interrupted:
        next_state = 0
    return next_state""",
}

# Right in other ways that students have: for each way of writing its answers; the solution's stand for the rest. What
# stands under "setup" is added to the setup cell.
RIGHT: dict[str, dict[str, str]] = {
    "in double precision": {
        "targets": """\
def bellman_targets(rewards, terminated, truncated, next_values, discount):
    return rewards.double() + discount * (1 - terminated.double()) * next_values.double()""",
        "epsilon": """\
def epsilon_greedy(values, epsilon, generator):
    values = values.double()
    chance = torch.rand(len(values), generator=generator, dtype=torch.float64)
    drawn = torch.randint(0, values.size(1), (values.size(0),), generator=generator)
    return torch.where(chance < epsilon, drawn, torch.max(values, 1)[1])""",
        "variance": """\
def gradient_variance(logits, rewards, baseline):
    logits = logits.detach().double().requires_grad_()
    p = torch.softmax(logits, 0)
    found = [(r - baseline) * torch.autograd.grad(torch.log_softmax(logits, 0)[a], logits)[0]
             for a, r in enumerate(rewards.double())]
    found = torch.stack(found)
    mean = (p[:, None] * found).sum(0)
    return ((found**2).sum(1) * p).sum() - (mean**2).sum()""",
        "advantage": """\
def advantages(rewards):
    rewards = rewards.double()
    others = torch.ones(rewards.size(1), rewards.size(1), dtype=torch.float64) - torch.eye(rewards.size(1))
    return rewards - rewards @ others / (rewards.size(1) - 1)""",
        "surrogate": """\
def policy_loss(logits, tokens, lengths, advantage):
    logits = logits.double()
    log_p = torch.gather(logits, 2, tokens.unsqueeze(2)).squeeze(2) - torch.logsumexp(logits, 2)
    padding = torch.arange(tokens.size(1)).expand_as(tokens) >= lengths.unsqueeze(1)
    return -torch.mean(advantage.detach().double() * log_p.masked_fill(padding, 0.0).sum(1))""",
        "charge": """\
@torch.no_grad()
def charged(rewards, log_p, log_ref, beta):
    return rewards.double() - beta * torch.sum(log_p.double() - log_ref.double(), 1)""",
        "double": """\
def double_values(online, target, next_states):
    with torch.no_grad():
        best = torch.argmax(online(next_states).double(), 1)
        return target(next_states).double()[range(len(best)), best]""",
        "huber": """\
def td_loss(online, target, batch, discount):
    values = online(batch["states"])[range(len(batch["rewards"])), batch["actions"]].double()
    goal = batch["rewards"] + discount * double_values(online, target, batch["next_states"]) * ~batch["terminated"]
    return torch.nn.HuberLoss()(values, goal.double())""",
    },
    "in NumPy where no gradient is asked for": {
        "setup": "import numpy as np",
        "targets": """\
def bellman_targets(rewards, terminated, truncated, next_values, discount):
    after = np.where(terminated.numpy(), 0.0, next_values.numpy())
    return torch.from_numpy(rewards.numpy() + discount * after)""",
        "epsilon": """\
def epsilon_greedy(values, epsilon, generator):
    best = values.numpy().argmax(axis=1)
    chance = torch.rand(2, len(best), generator=generator).numpy()
    drawn = np.floor(chance[1] * values.shape[1]).astype(int)
    return torch.from_numpy(np.where(chance[0] < epsilon, drawn, best))""",
        "ring": """\
def add_to_buffer(buffer, batch):
    capacity = buffer["rewards"].numpy().size
    places = (buffer["added"] + np.arange(len(batch["rewards"]))) % capacity
    for name in batch:
        buffer[name].numpy()[places] = batch[name].numpy()
    buffer["added"] += len(places)""",
        "stack": """\
def stack_pictures(pictures, begins, places, count):
    first = np.maximum.accumulate(np.where(begins.numpy(), np.arange(len(begins)), 0))
    rows = places.numpy()[:, None] + np.arange(1 - count, 1)
    black = rows < first[places.numpy()][:, None]
    stacks = pictures.numpy()[np.where(black, 0, rows)]
    stacks[black] = 0
    return torch.from_numpy(stacks)""",
        "variance": """\
def gradient_variance(logits, rewards, baseline):
    p = np.exp(logits.numpy().astype(float))
    p /= p.sum()
    found = (rewards.numpy() - baseline)[:, None] * (np.eye(len(p)) - p)
    return float(p @ (found**2).sum(1) - ((p @ found) ** 2).sum())""",
        "advantage": """\
def advantages(rewards):
    r = rewards.numpy()
    return torch.from_numpy(r - (r.sum(1, keepdims=True) - r) / (r.shape[1] - 1))""",
        "charge": """\
def charged(rewards, log_p, log_ref, beta):
    ratio = log_p.detach().numpy() - log_ref.detach().numpy()
    return torch.from_numpy(rewards.detach().numpy() - beta * ratio.sum(axis=1))""",
        "double": """\
def double_values(online, target, next_states):
    chooses, judges = (network(next_states).detach().numpy() for network in (online, target))
    return torch.tensor(judges[np.arange(len(judges)), chooses.argmax(1)])""",
    },
    "row by row": {
        "targets": """\
def bellman_targets(rewards, terminated, truncated, next_values, discount):
    return torch.tensor([
        float(r) if over else float(r) + discount * float(v) for r, over, v in zip(rewards, terminated, next_values)
    ])""",
        "epsilon": """\
def epsilon_greedy(values, epsilon, generator):
    actions = []
    for row in values:
        if torch.rand(1, generator=generator).item() < epsilon:
            actions.append(torch.randint(0, len(row), (1,), generator=generator).item())
        else:
            actions.append(torch.argmax(row).item())
    return torch.tensor(actions)""",
        "ring": OTHERWISE["ring"],
        "draw": """\
def sample_from_buffer(buffer, count, generator):
    names = ["states", "actions", "rewards", "next_states", "terminated"]
    columns = {name: [] for name in names}
    for _ in range(count):
        stored = min(buffer["added"], len(buffer["rewards"]))
        place = torch.randint(0, stored, (1,), generator=generator).item()
        for name in names:
            columns[name].append(buffer[name][place])
    return {name: torch.stack(columns[name]) for name in names}""",
        "stack": OTHERWISE["stack"],
        "variance": """\
def gradient_variance(logits, rewards, baseline):
    n = len(logits)
    weights = [math.exp(x) for x in logits]
    p = [w / sum(weights) for w in weights]
    total = 0.0
    for i in range(n):
        values = [(rewards[a].item() - baseline) * ((1 if a == i else 0) - p[i]) for a in range(n)]
        mean = sum(p[a] * values[a] for a in range(n))
        total += sum(p[a] * (values[a] - mean) ** 2 for a in range(n))
    return total""",
        "advantage": """\
def advantages(rewards):
    rows = []
    for row in rewards.tolist():
        rows.append([r - sum(row[:k] + row[k + 1 :]) / (len(row) - 1) for k, r in enumerate(row)])
    return torch.tensor(rows)""",
        "surrogate": """\
def policy_loss(logits, tokens, lengths, advantage):
    total = 0.0
    for i in range(len(tokens)):
        for t in range(lengths[i]):
            log_p = logits[i, t, tokens[i, t]] - logits[i, t].logsumexp(dim=0)
            total = total - advantage[i].item() * log_p
    return total / len(tokens)""",
        "charge": """\
def charged(rewards, log_p, log_ref, beta):
    result = []
    for r, a, b in zip(rewards.tolist(), log_p.tolist(), log_ref.tolist()):
        result.append(r - beta * sum(x - y for x, y in zip(a, b)))
    return torch.tensor(result)""",
        "double": """\
def double_values(online, target, next_states):
    values = []
    for state in next_states:
        best = online(state[None])[0].argmax()
        values.append(target(state[None])[0, best].item())
    return torch.tensor(values)""",
        "huber": """\
def td_loss(online, target, batch, discount):
    total = 0.0
    for i in range(len(batch["rewards"])):
        value = online(batch["states"][i : i + 1])[0, batch["actions"][i]]
        y = batch["rewards"][i]
        if not batch["terminated"][i]:
            y = y + discount * double_values(online, target, batch["next_states"][i : i + 1])[0]
        error = value - y
        total = total + (0.5 * error**2 if abs(error) <= 1 else abs(error) - 0.5)
    return total / len(batch["rewards"])""",
        "bug": OTHERWISE["bug"],
    },
    "in place": {
        "targets": """\
def bellman_targets(rewards, terminated, truncated, next_values, discount):
    targets = next_values.clone()
    targets[terminated] = 0
    targets *= discount
    targets += rewards
    return targets""",
        "epsilon": """\
def epsilon_greedy(values, epsilon, generator):
    actions = values.argmax(dim=-1)
    exploring = torch.rand(actions.shape, generator=generator) < epsilon
    actions[exploring] = torch.randint(values.shape[-1], (int(exploring.sum()),), generator=generator)
    return actions""",
        "ring": """\
def add_to_buffer(buffer, batch):
    capacity = buffer["rewards"].shape[0]
    count = batch["rewards"].shape[0]
    start = buffer["added"] % capacity
    first = min(count, capacity - start)
    for name in batch:
        buffer[name][start : start + first].copy_(batch[name][:first])
        buffer[name][: count - first].copy_(batch[name][first:])
    buffer["added"] += count""",
        "stack": """\
def stack_pictures(pictures, begins, places, count):
    stacks = pictures[(places[:, None] - torch.arange(count).flip(0)).clamp(min=0)]
    gone = torch.zeros(len(places), dtype=torch.bool)
    for back in range(count):
        stacks[gone, count - 1 - back] = 0
        gone |= begins[(places - back).clamp(min=0)]
    return stacks""",
        "advantage": """\
def advantages(rewards):
    result = rewards.clone()
    result -= rewards.mean(dim=1, keepdim=True)
    result *= rewards.shape[1]
    result /= rewards.shape[1] - 1
    return result""",
        "surrogate": """\
def policy_loss(logits, tokens, lengths, advantage):
    log_p = torch.distributions.Categorical(logits=logits).log_prob(tokens)
    mask = torch.zeros(tokens.shape)
    for row, length in zip(mask, lengths):
        row[:length] = 1
    return -((log_p * mask).sum(1) * advantage.detach()).mean()""",
        "bug": """\
def training_step(q, state, world, epsilon, learning_rate, discount, generator):
    action = epsilon_greedy(q[state].unsqueeze(0), epsilon, generator).item()
    next_state, reward, terminated, interrupted = move(world, state, action, generator)
    target = reward
    if not terminated:
        target += discount * torch.max(q[next_state])
    q[state][action] -= learning_rate * (q[state][action] - target)
    return next_state if not (terminated or interrupted) else 0""",
    },
    "with star imports": {
        "setup": "from numpy import *\nfrom torch.nn.functional import *\nfrom math import *",
        "huber": """\
def td_loss(online, target, batch, discount):
    values = online(batch["states"]).gather(1, batch["actions"][:, None]).squeeze(1)
    next_values = double_values(online, target, batch["next_states"])
    never = torch.zeros_like(batch["terminated"])
    return huber_loss(values, bellman_targets(batch["rewards"], batch["terminated"], never, next_values, discount))""",
        "surrogate": """\
def policy_loss(logits, tokens, lengths, advantage):
    log_p = log_softmax(logits, dim=2).gather(2, tokens[:, :, None])[:, :, 0]
    drawn = (torch.arange(tokens.shape[1]) < lengths[:, None]).float()
    return -(advantage.detach() * (log_p * drawn).sum(dim=1)).mean()""",
        "variance": """\
def gradient_variance(logits, rewards, baseline):
    p = softmax(logits, dim=0)
    found = (rewards - baseline)[:, None] * (torch.eye(len(p)) - p)
    return (p[:, None] * found**2).sum() - ((p[:, None] * found).sum(dim=0) ** 2).sum()""",
        "draw": """\
def sample_from_buffer(buffer, count, generator):
    stored = buffer["added"] if buffer["added"] < len(buffer["rewards"]) else len(buffer["rewards"])
    places = torch.randint(stored, (count,), generator=generator)
    return {name: column[places] for name, column in buffer.items() if name != "added"}""",
    },
    # Functions that take more than their docstrings say, and steps that rely on it.
    "generous functions": {
        "targets": """\
def bellman_targets(rewards, terminated, truncated=None, next_values=None, discount=1.0):
    return rewards + discount * next_values * ~terminated""",
        "epsilon": """\
def epsilon_greedy(values, epsilon, generator):
    if values.dim() == 1:
        return epsilon_greedy(values[None], epsilon, generator)[0]
    drawn = torch.randint(values.shape[1], (len(values),), generator=generator)
    return torch.where(torch.rand(len(values), generator=generator) < epsilon, drawn, values.argmax(dim=1))""",
        "double": """\
def double_values(online, target, next_states, over=None):
    with torch.no_grad():
        values = target(next_states).gather(1, online(next_states).argmax(dim=1, keepdim=True)).squeeze(1)
    return values if over is None else values.masked_fill(over, 0.0)""",
        "huber": """\
def td_loss(online, target, batch, discount):
    values = online(batch["states"]).gather(1, batch["actions"][:, None]).squeeze(1)
    next_values = double_values(online, target, batch["next_states"], over=batch["terminated"])
    targets = bellman_targets(batch["rewards"], batch["terminated"], next_values=next_values, discount=discount)
    return F.smooth_l1_loss(values, targets)""",
        "advantage": """\
def advantages(rewards, dim=-1):
    n = rewards.shape[dim]
    return (rewards - rewards.mean(dim=dim, keepdim=True)) * n / (n - 1)""",
        "surrogate": """\
def policy_loss(logits, tokens, lengths=None, advantage=None):
    log_p = logits.log_softmax(dim=-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    if lengths is not None:
        log_p = log_p * (torch.arange(tokens.shape[-1]) < lengths.unsqueeze(-1))
    gain = 1.0 if advantage is None else advantage.detach()
    return -(gain * log_p.sum(dim=-1)).mean()""",
        "charge": """\
def charged(rewards, log_p, log_ref, beta=0.1):
    return (rewards - beta * (log_p - log_ref).flatten(1).sum(dim=1)).detach()""",
        "bug": """\
def training_step(q, state, world, epsilon, learning_rate, discount, generator):
    action = epsilon_greedy(q[state], epsilon, generator).item()
    next_state, reward, terminated, interrupted = move(world, state, action, generator)
    next_value = 0.0 if terminated else q[next_state].max().item()
    q[state, action] += learning_rate * (reward + discount * next_value - q[state, action].item())
    return 0 if terminated or interrupted else next_state""",
    },
}

# What to tell a student whose answer does what one of the wrong answers does.
DIAGNOSES: dict[str, dict[str, str]] = {
    "targets": {
        "ends ignored": "This adds the value of the next state everywhere. Where the game is over, nothing comes after "
        "it.",
        "the time limit taken for an end": "This takes a time limit for an end of the game. Where an episode was only "
        "cut off, what would have come after it still counts.",
        "the flags exchanged": "Here the two flags have changed places: what comes after a time limit is left out, and "
        "what comes after the end of a game is added.",
        "the reward lost at the end": "Where the game is over, this is 0. The reward of the last step still counts.",
        "the flag upside down": "The flag is upside down: this adds the next state's value where the game is over, and "
        "leaves it out where it goes on.",
        "the discount forgotten": "This adds the whole value of the next state; a step of waiting counts by the "
        "discount.",
        "the reward discounted": "This discounts the reward, too. The reward is there at once; only what comes later "
        "is discounted.",
        "the reward forgotten": "The reward is missing from this target.",
        "sign": "This subtracts the value of the next state; it is to be added.",
        "the given values overwritten": "The targets are right, but next_values has other numbers after the call than "
        "before. The tensors that a function is given stay as they are.",
        "the whole batch over with one": "As soon as one game of the batch is over, this treats all of them as over. "
        "Each row decides for itself.",
        "the game goes on at the time limit, always": "Where a game ends in the very step of the time limit, this "
        "still adds a value. It is over all the same.",
        "the mean of the batch": "This is one number, the mean over the batch. One target is asked for in each row.",
    },
    "epsilon": {
        "the least valuable": "Without exploration, this does the action with the smallest value; the largest is asked "
        "for.",
        "the last of equal ones": "Of several equally valuable actions, this takes the last one; the first is asked "
        "for.",
        "anything but the best": "An exploring row never does the best action here. It is to draw from all actions, "
        "the best one included.",
        "the last action never drawn": "The last action is never drawn here.",
        "in turn": "An exploring row's action comes from its place in the batch, in turn. It is to be drawn at random.",
        "one action for all": "All exploring rows of a batch do the same action here. Each row is to draw its own.",
        "one decision for all": "Either all rows of the batch explore here, or none does. Each row is to decide for "
        "itself.",
        "one number for both": "The same random number decides whether a row explores and what it then does, so an "
        "exploring row does not draw evenly from all actions.",
        "upside down": "This explores with probability 1 - epsilon; epsilon is asked for.",
        "never explores": "This always does the best action, whatever epsilon is.",
        "always explores": "This always draws an action at random, whatever epsilon is.",
        "explores above a half": "All rows explore if epsilon is above one half, and otherwise none does. Epsilon is "
        "the probability with which each row explores.",
        "the global generator": "The random numbers come from PyTorch's own generator, not from the one that is passed "
        "on.",
        "the same numbers each time": "The generator is reset at every call, so every call draws the same numbers.",
        "floats": "The actions are right, but they are floating-point numbers; whole numbers (torch.long) are asked "
        "for.",
    },
    "ring": {
        "starts again when a batch does not fit": "A batch that does not fit before the end of the buffer is put at "
        "its beginning here. Its first rows belong in the last places, and only the rest goes to the beginning.",
        "a step for each column": "“added” grows once for each column of a transition here, so the columns end up in "
        "different rows. It counts transitions.",
        "a full buffer takes no more": "Once this buffer is full, what is added is lost. It should take the places of "
        "the oldest transitions.",
        "the last place again and again": "Once this buffer is full, everything goes to the last place. After the last "
        "place comes the first one again.",
        "counted no further than the capacity": "“added” stops at the capacity here, so once the buffer is full it is "
        "no longer known which place is the next. It counts all transitions that were ever added.",
        "batches counted": "“added” counts the batches here; it is to count the transitions.",
        "never counted": "“added” never grows here, so every batch goes to the same places.",
        "a column forgotten": "One of the five columns, next_states, is never stored.",
        "states and next states exchanged": "The states are stored in the column next_states, and the next states in "
        "the column states.",
        "a growing tensor": "This puts new tensors in the buffer. Its columns are to stay the tensors they are, and to "
        "be changed in place.",
        "moved up": "All rows are moved up for each batch, and the new ones stand at the end. Transition number i "
        "belongs in row i modulo the capacity, and nothing is moved.",
        "from the end": "This buffer is filled from its last row to its first; transition number 0 belongs in row 0.",
        "places drawn at random": "The rows are stored at places drawn at random. Transition number i belongs in row i "
        "modulo the capacity.",
        "one row for the whole batch": "The first transition of the batch is stored in the places of all the others.",
    },
    "draw": {
        "places from the whole capacity": "While the buffer is not full, this also draws rows that nobody has added.",
        "every transition ever added": "This draws from the numbers of all transitions ever added. Once the ring has "
        "gone round, there are fewer rows than that.",
        "each column for itself": "Each column draws rows of its own here, so a row of the batch is put together from "
        "different transitions.",
        "without replacement": "This draws without replacement: no transition comes twice, and a batch cannot be "
        "larger than what is stored.",
        "the newest": "This takes the newest transitions in their order; nothing is drawn.",
        "one after the other": "Only the first transition is drawn here; the others are those that follow it. Each row "
        "is to be drawn for itself.",
        "one for the whole batch": "One transition is drawn here and repeated in the whole batch. Each row is to be "
        "drawn for itself.",
        "the last one never": "The last of the stored transitions is never drawn.",
        "the first and the last half as often": "The first and the last of the stored transitions come half as often "
        "as the others. Rounding to the nearest place gives these two only half as much room.",
        "the next row's state for the next state": "The next states are the states of the buffer's next rows. Those "
        "may belong to another game; the buffer has a column of its own for the next states.",
        "sorted columns": "The column actions has been changed after the drawing, and belongs to other transitions "
        "than the rest.",
        "new ones more often": "Newer transitions are drawn more often here than older ones; all are to be equally "
        "likely.",
        "the buffer itself": "This returns the buffer itself. A batch of count rows, drawn from it, is asked for.",
    },
    "stack": {
        "the newest first": "In these stacks the newest picture comes first; the oldest is to come first.",
        "across the games": "These stacks reach back into the game before. Its pictures are to be replaced by zeros.",
        "pictures of the last game in the place of black ones": "No picture is ever black here. What comes from before "
        "the game's beginning is to be replaced by zeros.",
        "round the ring": "At the beginning of the stored pictures, these stacks go on with the last ones. There is "
        "nothing before the first picture, so zeros are asked for.",
        "one too early": "These stacks end one picture too early: the picture at the place itself is missing.",
        "into the future": "These stacks go from the place into the future. The pictures up to the place are asked "
        "for.",
        "only the game's first picture": "The first picture of each game is black here, except in the place asked for. "
        "It belongs to its game.",
        "the game's first picture repeated": "In the place of what came before the game, this repeats the game's first "
        "picture. Zeros are asked for.",
        "numbers for bytes": "The pictures are right, but their type is not: they are to stay bytes (torch.uint8).",
        "the pictures of all places in one stack": "The pictures of all places stand in one row here. The shape is to "
        "be (batch, count, height, width).",
        "the last game alone is known": "This knows only where the last game began. The other games have beginnings, "
        "too.",
        "the beginning belongs to the game before": "The first picture of each game is counted as part of the game "
        "before.",
    },
    "double": {
        "the target network alone": "The target network both chooses and judges here. The online network is to choose.",
        "the online network alone": "The online network both chooses and judges here. The target network is to judge.",
        "exchanged": "The networks have changed places: here the target network chooses, and the online network "
        "judges.",
        "with a gradient": "The values are right, but a gradient can flow through them into the target network.",
        "the mean of both": "The mean of the two networks' values chooses the action here. The online network alone is "
        "to choose.",
        "the smaller maximum": "This is the smaller of the two networks' maxima, which is another method. One network "
        "is to choose, the other one to judge.",
        "one action for the whole batch": "One action is chosen for the whole batch here. Each state has a best action "
        "of its own.",
        "all pairs of rows": "This gives the value of every state for the best action of every other. One value per "
        "state is asked for.",
        "an axis too many": "The values are right, but their shape is (batch, 1), not (batch,).",
        "the action, not its value": "This returns the number of the chosen action; its value is asked for.",
        "networks frozen for good": "The values are right, but afterwards the networks can learn no more: their "
        "parameters no longer require a gradient.",
        "the maximum over the batch": "This looks for a maximum over the batch. The maximum over the actions of each "
        "state is asked for.",
        "the mean of the actions": "This is the mean of the target network's values over the actions. The value of the "
        "action that the online network chooses is asked for.",
        "in the mode of evaluation": "The values are right, but the networks are left in the mode of evaluation.",
    },
    "huber": {
        "the squared error": "This is the squared error. The Huber loss is half of it in the middle, and straight "
        "outside.",
        "half the squared error": "This is half the squared error everywhere. Beyond an error of 1, the Huber loss "
        "goes on in a straight line.",
        "sum": "This is the sum over the batch; the mean is asked for.",
        "the absolute error": "This is the absolute error. The Huber loss is a parabola in the middle.",
        "the error cut off": "The error is cut off at 1 here, so a larger one has no gradient. The Huber loss goes on "
        "in a straight line.",
        "the best action's value": "The prediction here is the value of the best action; that of the action that was "
        "taken is asked for.",
        "all actions towards the target": "All actions of a state are moved towards the target here. It says something "
        "about the action that was taken, and nothing about the others.",
        "a gradient into the target network": "The loss is right, but a gradient flows through the targets into the "
        "target network.",
        "the online network judges, with a gradient": "The online network judges the next states here, and a gradient "
        "flows into it through the targets.",
        "the online network judges": "The online network judges the next states here. The target network is to judge "
        "them.",
        "the plain target": "This takes the maximum of the target network. The double estimate lets the online network "
        "choose the action.",
        "the end ignored": "The next state's value is added here where the game is over, too.",
        "no gradient at all": "The loss is right, but no gradient reaches the online network.",
        "every value with every target": "The shapes (batch, 1) and (batch,) meet here, so every value is compared "
        "with every target. Each value has one target.",
        "the target learns": "The prediction has no gradient here, and the target has one. It is to be the other way "
        "round.",
    },
    "variance": {
        "the second moment": "This is the mean of the squared estimate. For the variance, its mean has to be taken "
        "off.",
        "all actions alike": "All actions are weighted alike here. They are drawn with the probabilities of the "
        "softmax.",
        "the score of the action's own logit only": "The gradient of log pi(a) is taken with respect to the logit of a "
        "alone. It has a component for every logit.",
        "without the mean of the score": "The gradient of log pi(a) is not 1 for the logit of a and 0 for the others: "
        "the softmax divides by a sum in which all logits take part.",
        "the gradient of the probability": "This uses the gradient of pi(a) itself; that of its logarithm is asked "
        "for.",
        "the baseline forgotten": "The baseline is missing from this estimate.",
        "the baseline added": "This adds the baseline to the reward; it is to be subtracted.",
        "the mean over the components": "This is the mean over the components of the gradient; the sum is asked for.",
        "the standard deviation": "This is the root of the variance; the variance itself is asked for.",
        "each component by itself": "This is a variance for each component. Their sum is asked for.",
        "the variance of the reward": "This is the variance of the reward. That of the estimate is asked for, which "
        "has the gradient of log pi(a) as a factor.",
        "by the wrong axis": "Rows and columns of the gradients have changed places here: the gradient of log pi(a) "
        "has a component for each logit, and a is the action that was drawn.",
    },
    "advantage": {
        "its own reward left in": "The text's own reward is part of this baseline. It is to be the mean of the others "
        "alone.",
        "the others of the whole batch": "The baseline here is the mean over the texts of all prompts. Only those "
        "after the same prompt count.",
        "the mean over the prompts": "This takes the mean over the prompts. The other texts after the same prompt are "
        "asked for.",
        "without a baseline": "These are the rewards themselves, without a baseline.",
        "the baseline itself": "This is the baseline. The reward less the baseline is asked for.",
        "sign": "The sign is the other way round: this is positive where a text did worse than the others.",
        "the wrong factor": "The deviation from the mean of the row is made smaller here. Leaving a text's own reward "
        "out of the baseline makes it larger.",
        "divided by the standard deviation": "This divides by the standard deviation, which was not asked for, and the "
        "text's own reward is part of the baseline.",
        "the best of the others": "The baseline here is the best reward of the row; the mean of the others is asked "
        "for.",
        "the median": "The baseline here is the median of the row; the mean of the others is asked for.",
        "in one row": "The advantages are right, but all stand in one row. The shape is to be (prompts, texts).",
    },
    "surrogate": {
        "uphill": "The sign is the other way round: a step downhill on this loss makes rewarded texts less probable.",
        "sum over the texts": "This is the sum over the texts; their mean is asked for.",
        "divided by the length": "Each text is divided by its length here, so a token of a long text counts less.",
        "the mean over all tokens": "This divides by the number of all tokens. The sum over each text's tokens is "
        "asked for, and then the mean over the texts.",
        "padding counts": "The padding takes part in this loss. Nobody drew it, so it is to have no influence.",
        "one token too many": "One token of the padding takes part in this loss.",
        "the last token forgotten": "The last token of each text is left out here.",
        "the probability, not its logarithm": "This uses the probabilities of the tokens; their logarithms are asked "
        "for.",
        "logits for logarithms": "This takes the logits themselves for the logarithms of the probabilities.",
        "softmax over the positions": "The probabilities add up to 1 over the positions here; they are to do so over "
        "the vocabulary.",
        "shifted by one": "The tokens are shifted by one here. Those at t were drawn from the logits at t.",
        "the advantage learns": "A gradient flows into the advantage. It is to count as a mere number.",
        "the advantage forgotten": "The advantage is missing, so all texts count alike.",
        "every text with every advantage": "The shapes (batch, 1) and (batch,) meet here, so every text is multiplied "
        "by every advantage.",
        "no gradient": "No gradient reaches the logits.",
        "only the sign of the advantage": "Only the sign of the advantage counts here; its size is to count as well.",
        "the imitation of good texts alone": "Texts with a negative advantage have no influence here. They are to "
        "become less probable.",
    },
    "charge": {
        "sign of the penalty": "This pays for the distance from the reference; it is to be charged.",
        "the ratio upside down": "The ratio is upside down: a text that the policy finds more probable than the "
        "reference does is paid for it here.",
        "the mean over the tokens": "This is the mean over the tokens; their sum is asked for.",
        "never negative": "A negative estimate becomes 0 here. For one text it may well be negative, and is to stay "
        "so.",
        "the size of each token's": "Each token's log ratio loses its sign here. Both signs are to count.",
        "probabilities": "This takes the difference of the probabilities; that of their logarithms is asked for.",
        "weighted with the probability again": "Each token is weighted with its probability here. The policy wrote the "
        "texts, so the drawing has done this already.",
        "with a gradient": "The numbers are right, but they have a gradient. A reward has none.",
        "the mean of the batch for all": "All texts are charged the same here, the mean of the batch. Each text has a "
        "charge of its own.",
        "beta forgotten": "The factor beta is missing here.",
        "for each token": "This is a number for each token; one for each text is asked for.",
        "the last token alone": "Only the last token is charged here; the sum over all tokens is asked for.",
    },
    "mistakes": {
        "four of five": "Four of your five letters are right.",
        "three of five": "Three of your five letters are right.",
        "the other five": "None of your five letters is right.",
        "all ten": "You named all ten letters; exactly five are asked for.",
        "a tuple": "The letters are to be in one string.",
        "a letter twice": "One letter is there twice; five different ones are asked for.",
        "letters that do not exist": "One of your letters is not among A to J.",
        "a list of the right five": "The letters are right; they are to be in one string, not in a list.",
    },
    "bug": {
        "all five mistakes left": "This step still makes the mistakes of `faulty_step`.",
        "assigned": "The old value is overwritten here. The entry is to move only a part of the way to its target, as "
        "the learning rate says.",
        "bootstraps where the game is over": "A value is added here for what comes after the end of a game.",
        "an interruption taken for an end": "After an interruption, this expects nothing more to come. The game would "
        "have gone on.",
        "the value of the state left behind": "The target has the value of the state that was left; that of the state "
        "that was reached is asked for.",
        "credited to the best action": "What was learnt is credited to the action that looks best, even if another one "
        "was done.",
        "the mean of what may come": "The target has the mean over the next actions; their maximum is asked for.",
        "the same action again": "The target has the value of doing the same action again; the best next action is "
        "asked for.",
        "a random next action": "The target has the value of a next action drawn at random; the best one is asked for.",
        "goes on behind the end": "After an end or an interruption, this goes on from the state that was reached. The "
        "agent is to begin again in state 0.",
        "starts again after a real end only": "After an interruption, this goes on from the state that was reached. "
        "The agent has been put back to state 0.",
        "never explores": "This agent always does the best action, whatever epsilon is.",
        "always explores": "This agent always draws its action at random, whatever epsilon is.",
        "explores upside down": "This agent explores with probability 1 - epsilon; epsilon is asked for.",
        "the whole row": "All actions of the state change here. A step teaches something about one entry alone.",
        "all states": "This action changes in all states. A step teaches something about one entry alone.",
        "a learning rate of its own": "This step has a learning rate of its own, 0.1; the one that is passed on is to "
        "be used.",
        "half the step": "The step is half as large as the learning rate says.",
        "the old value kept": "The old value is not taken off before the step: the entry is to move towards the "
        "target, not by the target.",
        "away from the target": "This moves the entry away from its target.",
    },
}
