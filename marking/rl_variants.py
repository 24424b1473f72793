"""What may differ between students' papers of the rl assignment: see aigc_course/grading/release.py."""

from aigc_course.grading.release import Option

# Question 3: the order of the pictures in a stack.

_NEWEST_FIRST: Option = {
    "source": [
        ("pictures up to it, the oldest first.", "pictures up to it, the newest first."),
        ("the rows are place - 3, …, place, in this order;", "the rows are place, …, place - 3, in this order;"),
        (
            "rows = places[:, None] - torch.arange(count - 1, -1, -1)  # (batch, count)",
            "rows = places[:, None] - torch.arange(count)  # (batch, count)",
        ),
        (
            'rows[0] == [10, 20, 30], f"the oldest first: [10, 20, 30], not',
            'rows[0] == [30, 20, 10], f"the newest first: [30, 20, 10], not',
        ),
        (
            'rows[1] == [0, 40, 50], f"40 begins a game: [0, 40, 50], not',
            'rows[1] == [50, 40, 0], f"40 begins a game: [50, 40, 0], not',
        ),
        ("rows[2] == [0, 0, 10]", "rows[2] == [10, 0, 0]"),
        (
            "right.insert(\n                    0, pictures[now] if",
            "right.append(\n                    pictures[now] if",
        ),
    ],
    "wrong": [
        (
            '("the newest first", *_stack(rows="places[:, None] - torch.arange(count)"))',
            '("the oldest first", *_stack(rows="places[:, None] - torch.arange(1 - count, 1).neg()"))',
        ),
        (
            'rows: str = "places[:, None] - torch.arange(count - 1, -1, -1)"',
            'rows: str = "places[:, None] - torch.arange(count)"',
        ),
        ("places[:, None] - torch.arange(count, 0, -1)", "places[:, None] - torch.arange(1, count + 1)"),
        (
            '"the newest first": "In these stacks the newest picture comes first; the oldest is to come first."',
            '"the oldest first": "In these stacks the oldest picture comes first; the newest is to come first."',
        ),
    ],
}

# Question 4: where the parabola of the Huber loss ends.


def _huber(end: str, end_tex: str, line_tex: str, line: str, edge: str, cases: str, default: str) -> Option:
    return {
        "source": [
            (r"\text{if } |\delta| \le 1 , \\", rf"\text{{if }} |\delta| \le {end_tex} , \\"),
            (r"# |\delta| - \tfrac12 &", rf"# {line_tex} &"),
            ("return F.huber_loss(values, targets)", f"return F.huber_loss(values, targets, delta={end})"),
            (
                "losses.append(error**2 / 2 if abs(error) <= 1 else abs(error) - 0.5)",
                f"line = {line}\n            losses.append(error**2 / 2 if abs(error) <= {end} else line)",
            ),
            ("min(losses) < 0.5 < max(losses)", f"min(losses) < {edge} < max(losses)"),
            ("[(2.5, 0.125), (5.0, 1.5)]", cases),
            ("# errors beyond 1 as well", f"# errors beyond {end} as well"),
        ],
        "asks": [("# errors beyond 1 as well", f"# errors beyond {end} as well")],
        "wrong": [
            ("F.huber_loss(values, targets", f"F.huber_loss(delta={end}, input=values, target=targets"),
            ("F.smooth_l1_loss(values, targets)", f"F.huber_loss(values, targets, delta={end})"),
            ("(values - targets).clamp(-1, 1)", f"(values - targets).clamp(-{end}, {end})"),
            (
                '("the absolute error", *_huber(',
                '("the parabola up to 1", *_huber((0, 1), loss="F.smooth_l1_loss(values, targets)")),\n'
                '        ("the absolute error", *_huber(',
            ),
            ("Beyond an error of 1, the Huber loss", f"Beyond an error of {end}, the Huber loss"),
            ("The error is cut off at 1 here", f"The error is cut off at {end} here"),
            (
                '"the absolute error": "This',
                f'"the parabola up to 1": "{default}",\n        "the absolute error": "This',
            ),
        ],
    }


_DEFAULT = "The parabola ends at an error of 1 here, as it does in PyTorch unless one says otherwise. It is to end at"

# Question 5: the policy's logits, times a factor.


def _softmax(
    of: str,
    proportional: str,
    exponent: str,
    derivative: str,
    docstring: str,
    p: str,
    scores: str,
    gradient: str,
    cases: str,
    weight: str,
    component: str,
    one: str,
) -> Option:
    return {
        "source": [
            (
                r"policy be a softmax of logits $\theta$, one for each action, and derive $\nabla",
                rf"policy be a softmax of {of}, one for each action: $\pi_\theta(a) \propto {proportional}$. Derive"
                "\n"
                r"# $\nabla",
            ),
            (
                r"as $\theta_a - \log \sum_j e^{\theta_j}$",
                rf"as ${exponent.format('a')} - \log \sum_j e^{{{exponent.format('j')}}}$",
            ),
            (
                r"of $\log \sum_j e^{\theta_j}$ with respect to $\theta_i$ is $\pi_\theta(i)$. The",
                rf"of $\log \sum_j e^{{{exponent.format('j')}}}$ with respect to $\theta_i$ is ${derivative}$."
                "\n# The",
            ),
            ("pi is the softmax of the logits, and the gradient\n    is with respect to them.", docstring),
            ("p = logits.softmax(dim=0)\n    scores = torch.eye(len(p)) - p", f"p = {p}\n    scores = {scores}"),
            ("(1/2, -1/2) for the first and (-1/2, 1/2) for the second", gradient),
            ("[(0.0, 2.0), (2.0, 0.0), (12.0, 50.0)]", cases),
            ("[math.exp(x) for x in logits.tolist()]", f"[math.exp({weight}) for x in logits.tolist()]"),
            ("(r - baseline) * ((a == i) - p[i])", component),
        ],
        "wrong": [
            ("p = logits.softmax(dim=0)\n    weight = {weight}", f"p = {p}\n    weight = {{weight}}"),
            (
                "estimates = ({reward})[:, None] * ({scores})",
                f"estimates = {one} * ({{reward}})[:, None] * ({{scores}})",
            ),
            (
                '("the baseline forgotten", *_variance(',
                f'("the factor forgotten", *_variance(scores="(torch.eye(len(p)) - p) / {one}")),\n'
                '        ("the baseline forgotten", *_variance(',
            ),
            ("log pi(a) is not 1 for the logit", f"log pi(a) is not {one} for the logit"),
            (
                '"the baseline forgotten": "The baseline is missing',
                '"the factor forgotten": "The factor of the logits is missing from the gradient of log pi(a).",\n'
                '        "the baseline forgotten": "The baseline is missing',
            ),
        ],
    }


# Question 5: rewards with a row for each text, not for each prompt.

_COLUMNS: Option = {
    "source": [
        (
            "the sum of all other rewards of a row from\n# the sum of the whole row?",
            "the sum of all other rewards of a column\n# from the sum of the whole column?",
        ),
        ("so that (prompts, 1) fits (prompts, texts)", "so that (1, prompts) fits (texts, prompts)"),
        ("# each row the advantages must sum to 0;", "# each column the advantages must sum to 0;"),
        ("rewards: (prompts, texts), with at least", "rewards: (texts, prompts), with at least"),
        ("all other texts of its row, without its own.", "all other texts of its column, without its own."),
        ("Returns (prompts, texts).", "Returns (texts, prompts)."),
        (
            "texts = rewards.shape[1]\n    others = (rewards.sum(dim=1, keepdim=True)",
            "texts = rewards.shape[0]\n    others = (rewards.sum(dim=0, keepdim=True)",
        ),
        ("torch.tensor([[1.0, 4.0, 10.0], [5.0, 5.0, 5.0]])", "torch.tensor([[1.0, 5.0], [4.0, 5.0], [10.0, 5.0]])"),
        (
            'found.shape == (2, 3), f"the shape must be (2, 3), not',
            'found.shape == (3, 2), f"the shape must be (3, 2), not',
        ),
        ("assert found[1].abs().max() < 1e-5", "assert found[:, 1].abs().max() < 1e-5"),
        ("rewards = 3 * torch.randn(prompts, texts,", "rewards = 3 * torch.randn(texts, prompts,"),
        (
            "zip(found.tolist(), rewards.tolist(), strict=True)",
            "zip(found.T.tolist(), rewards.T.tolist(), strict=True)",
        ),
        ("advantages(net.view(4, 128))", "advantages(net.view(128, 4))"),
    ],
    "asks": [
        ("for shape in ((1, 2), (4, 3), (3, 8))", "for shape in ((2, 1), (3, 4), (8, 3))"),
        ("given[1][:, :1].repeat(1, 4)", "given[1][:1].repeat(4, 1)"),
    ],
    "wrong": [
        ('*_advantage("rewards - rewards.mean(dim=0)")', '*_advantage("rewards - rewards.mean(dim=1)[:, None]")'),
        (
            "texts = rewards.shape[1]\n    mean = rewards.mean(dim=1, keepdim=True)",
            "texts = rewards.shape[0]\n    mean = rewards.mean(dim=0, keepdim=True)",
        ),
        ("(rewards.std(dim=1, keepdim=True)", "(rewards.std(dim=0, keepdim=True)"),
        ("rewards.amax(dim=1, keepdim=True)", "rewards.amax(dim=0, keepdim=True)"),
        ("rewards.median(dim=1, keepdim=True)", "rewards.median(dim=0, keepdim=True)"),
        ("The deviation from the mean of the row", "The deviation from the mean of the column"),
        ("is the best reward of the row;", "is the best reward of the column;"),
        ("is the median of the row;", "is the median of the column;"),
        ("is to be (prompts, texts).", "is to be (texts, prompts)."),
    ],
}

# Question 5: the sum of the texts' losses, not their mean.

_SUM: Option = {
    "source": [
        (
            "a number whose *gradient* is minus the estimate, for an optimiser that goes downhill. Its\n# value means nothing. The",
            "a number whose *gradient* is minus the sum of the texts' estimates, for an optimiser that\n"
            "# goes downhill. Its value means nothing.\n# The",
        ),
        (r"\mathcal L = -\frac1B \sum_{i=1}^{B} A_i", r"\mathcal L = -\sum_{i=1}^{B} A_i"),
        (
            "Not divided by $n_i$: each text counts for its\n# reward, however long it is.",
            "Divided neither by $n_i$ nor by $B$: each\n"
            "# text counts for its reward, however long it is, and whatever else is in the batch.",
        ),
        (
            "Which of the two reductions is a sum, and which is a mean?",
            "Two reductions are left, over the positions and over the texts:\n# what does the formula say of each?",
        ),
        (
            "Return the surrogate loss of a batch of texts, a scalar.",
            "Return the surrogate loss of a batch of texts, summed over them, a scalar.",
        ),
        ("return -(advantage.detach() * log_p).mean()", "return -(advantage.detach() * log_p).sum()"),
        (
            "then the mean of the\n    # estimates is the exact gradient",
            "then the sum of the\n    # estimates is the exact gradient",
        ),
        ("count * p.detach() * (rewards - 0.3),", "p.detach() * (rewards - 0.3),"),
        ("logits = logits.detach() - logits.grad\n", "logits = logits.detach() - logits.grad / 512\n"),
    ],
    "rules": [("from these texts, averaged over them.", "from these texts, summed over them.")],
    "wrong": [
        (
            '("sum over the texts", *_surrogate((0, 1), result="-(weight * text).sum()"))',
            '("the mean over the texts", *_surrogate((0, 1), result="-(weight * text).mean()"))',
        ),
        ('result: str = "-(weight * text).mean()"', 'result: str = "-(weight * text).sum()"'),
        ('result="(weight * text).mean()"', 'result="(weight * text).sum()"'),
        (
            '"sum over the texts": "This is the sum over the texts; their mean is asked for."',
            '"the mean over the texts": "This is the mean over the texts; their sum is asked for."',
        ),
        ("and then the mean over the texts.", "and then the sum over the texts."),
    ],
}

# Question 5: the divergence in bits, not in nats.

_BITS: Option = {
    "source": [
        (r"r(x) - \beta \sum_t \log \frac", r"r(x) - \beta \sum_t \log_2 \frac"),
        (
            "is the KL divergence from the reference, so a single text's is an\n#",
            "is the KL divergence from the reference, in bits, so a single\n# text's is an",
        ),
        (
            "Both logarithms are given, so no probability has to be computed.",
            "Both logarithms are given, so no probability has to be computed;\n"
            "# but they have the base $e$. Which factor turns them into logarithms to base 2?",
        ),
        (
            "Compute the logarithm of the ratio for each token, and sum over time:",
            r"Compute the logarithm of the ratio for each token, to base 2 ($\log_2 z = \log z / \log 2$), and sum over"
            "\n# time:",
        ),
        (
            "divergence of the policy from the reference.\n\n    rewards: (batch,). log_p, log_ref: (batch, time), the log",
            "divergence of the policy from the reference, in bits.\n\n"
            "    rewards: (batch,). log_p, log_ref: (batch, time), the natural log",
        ),
        ("log_ratio = (log_p - log_ref).sum(dim=1)", "log_ratio = (log_p - log_ref).sum(dim=1) / math.log(2)"),
        ("right = 10 - 3 * math.log(factor)", "right = 10 - 3 * math.log2(factor)"),
        ("right += beta * (b - a)", "right += beta * (b - a) / math.log(2)"),
        (r"\, e^{r(x) / \beta}$", r"\, 2^{r(x) / \beta}$"),
        ("best = (log_ref + paid / beta)", "best = (log_ref + math.log(2) * paid / beta)"),
        (r"\, e^{r(x)/\beta}$", r"\, 2^{r(x)/\beta}$"),
    ],
    "wrong": [
        ("    ratio = {ratio}\n", "    ratio = ({ratio}) / math.log(2)\n"),
        (
            '("beta forgotten", *_charge(',
            '("nats", *_charge(text="ratio.sum(dim=1) * math.log(2)")),\n        ("beta forgotten", *_charge(',
        ),
        (
            '"beta forgotten": "The factor beta',
            '"nats": "This charges beta for each nat; it is to be charged for each bit.",\n'
            '        "beta forgotten": "The factor beta',
        ),
    ],
}

# Question 6: what is wrong with the faulty step. Its mistakes, with those of the assignment as it stands: the old value
# is overwritten, the best action is credited, the state left behind is looked at, something is added after an end, and
# an interruption is taken for one.

_FAULTY = """\
    best = action = int(q[state].argmax())
    if torch.rand((), generator=generator).item() < epsilon:
        action = int(torch.randint(q.shape[1], (), generator=generator))
    next_state, reward, terminated, interrupted = move(
        world, state, action, generator
    )
    value = 0.0 if interrupted else q[state].max()
    q[state, best] = reward + discount * value
    return 0 if terminated or interrupted else next_state
"""

# It explores with probability 1 - epsilon, adds something after an end, looks at the same action in the next state,
# exchanges the shares of old and new, and does not go back to the start after an interruption.
_SAME_ACTION = """\
    action = int(q[state].argmax())
    if torch.rand((), generator=generator).item() > epsilon:
        action = int(torch.randint(q.shape[1], (), generator=generator))
    next_state, reward, terminated, interrupted = move(
        world, state, action, generator
    )
    target = reward + discount * q[next_state, action]
    change = target - q[state, action]
    q[state, action] += (1 - learning_rate) * change
    return 0 if terminated else next_state
"""

# It does the best action whatever was chosen, discounts the reward, credits the state that was reached, takes the mean
# of what may come, and takes an interruption for an end.
_STATE_REACHED = """\
    best = action = int(q[state].argmax())
    if torch.rand((), generator=generator).item() < epsilon:
        action = int(torch.randint(q.shape[1], (), generator=generator))
    next_state, reward, terminated, interrupted = move(
        world, state, best, generator
    )
    value = 0.0 if terminated or interrupted else q[next_state].mean()
    target = discount * (reward + value)
    q[next_state, action] += learning_rate * (target - q[next_state, action])
    return 0 if terminated or interrupted else next_state
"""

_STATEMENTS = """\
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
"""

_OF_SAME_ACTION = """\
# - **A** The reward is discounted, although it is there at once.
# - **B** Where the game is over, a value is added for what comes after it.
# - **C** An exploring agent must not do the action that looks best.
# - **D** The agent explores with probability 1 - ε, not with probability ε.
# - **E** The entry moves by a share 1 - α of its distance from the target, not by a share α.
# - **F** The table is changed in place, so the caller does not see the change.
# - **G** The target has the value of doing the same action again, not that of the best one.
# - **H** What was learnt is credited to the action that looked best, even if another one was done.
# - **I** After an interruption, nothing more is expected to come.
# - **J** After an interruption, the agent does not begin again at the start.
"""

_OF_STATE_REACHED = """\
# - **A** What is done is the action that looks best, even if another one was chosen.
# - **B** The old value is overwritten: the learning rate has no effect.
# - **C** The reward is discounted, although it is there at once.
# - **D** Where the game is over, a value is added for what comes after it.
# - **E** What was learnt is credited to the state that was reached, not to the one that was left.
# - **F** The agent explores with probability 1 - ε, not with probability ε.
# - **G** After the end of a game, the agent does not begin again at the start.
# - **H** The target has the mean of the next state's values, not the largest of them.
# - **I** After an interruption, nothing more is expected to come.
# - **J** The table is changed in place, so the caller does not see the change.
"""

_BUG_LEFT = """\
                value="0.0 if interrupted else q[state].max()",
                entry="q[state, best]",
                update="= reward + discount * value",
            ),
"""


def _mistakes(code: str, statements: str, true: str, false: str, bug_left: str) -> Option:
    a, b, c, d, e = list(true)
    no, never = list(false[:2])
    return {
        "source": [
            (_FAULTY, code),
            (_STATEMENTS, statements),
            ('"ADFGI"', f'"{true}"'),
            ("No path can be found in these values,", "None of these values is right,"),
            (
                "The equation that should not have been an assignment was printed as one in an article",
                "An equation that assigns the target to the entry, instead of moving it a little way, was printed in an\n"
                "# article",
            ),
        ],
        "wrong": [
            ("_mistakes('\"ADFGB\"'", f"_mistakes('\"{a}{b}{c}{d}{no}\"'"),
            ("_mistakes('\"ADFBC\"'", f"_mistakes('\"{a}{b}{c}{no}{never}\"'"),
            ("_mistakes('\"BCEHJ\"'", f"_mistakes('\"{false}\"'"),
            ('_mistakes(\'("A", "D", "F", "G")\'', f'_mistakes(\'("{a}", "{b}", "{c}", "{d}")\''),
            ("_mistakes('\"AADFG\"'", f"_mistakes('\"{a}{a}{b}{c}{d}\"'"),
            ("_mistakes('\"ADFGK\"'", f"_mistakes('\"{a}{b}{c}{d}K\"'"),
            (
                '_mistakes(\'["A", "D", "F", "G", "I"]\'',
                f'_mistakes(\'["{a}", "{b}", "{c}", "{d}", "{e}"]\'',
            ),
            ("return 'IGFDA'", f"return '{true[::-1]}'"),
            (_BUG_LEFT, bug_left),
        ],
    }


VARIANTS: dict[str, dict[str, Option]] = {
    "order of the pictures": {"the oldest first": {}, "the newest first": _NEWEST_FIRST},
    "end of the parabola": {
        "1": {},
        "2": _huber(
            "2", "2", r"2 |\delta| - 2", "2 * abs(error) - 2", "2", "[(2.5, 0.125), (6.0, 4.0)]", f"{_DEFAULT} 2."
        ),
        "one half": _huber(
            "0.5",
            r"\tfrac12",
            r"\tfrac12 |\delta| - \tfrac18",
            "abs(error) / 2 - 1 / 8",
            "0.125",
            "[(2.75, 0.03125), (5.0, 0.875)]",
            f"{_DEFAULT} 1/2.",
        ),
    },
    "softmax of the policy": {
        "of the logits": {},
        "of twice the logits": _softmax(
            r"twice the logits $\theta$",
            r"e^{2 \theta_a}",
            r"2 \theta_{}",
            r"2 \pi_\theta(i)",
            "pi is the softmax of 2 * logits, and the\n    gradient is with respect to the logits.",
            "(2 * logits).softmax(dim=0)",
            "2 * (torch.eye(len(p)) - p)",
            "(1, -1) for the first and (-1, 1) for the second",
            "[(0.0, 8.0), (2.0, 0.0), (12.0, 200.0)]",
            "2 * x",
            "2 * (r - baseline) * ((a == i) - p[i])",
            "2",
        ),
        "of half the logits": _softmax(
            r"half the logits $\theta$",
            r"e^{\theta_a / 2}",
            r"\theta_{} / 2",
            r"\pi_\theta(i) / 2",
            "pi is the softmax of logits / 2, and the\n    gradient is with respect to the logits.",
            "(logits / 2).softmax(dim=0)",
            "(torch.eye(len(p)) - p) / 2",
            "(1/4, -1/4) for the first and (-1/4, 1/4) for the second",
            "[(0.0, 0.5), (2.0, 0.0), (12.0, 12.5)]",
            "x / 2",
            "(r - baseline) * ((a == i) - p[i]) / 2",
            "0.5",
        ),
    },
    "a prompt's texts": {"in a row": {}, "in a column": _COLUMNS},
    "loss of a batch": {"the mean over its texts": {}, "the sum over its texts": _SUM},
    "unit of the divergence": {"nats": {}, "bits": _BITS},
    "mistakes": {
        "the old value overwritten": {},
        "the same action again": _mistakes(
            _SAME_ACTION,
            _OF_SAME_ACTION,
            "BDEGJ",
            "ACFHI",
            """\
                action="best if explores else drawn",
                value="q[next_state, action]",
                update="+= (1 - learning_rate) * (reward + discount * value - q[state, action])",
                result="0 if terminated else next_state",
            ),
""",
        ),
        "the state that was reached": _mistakes(
            _STATE_REACHED,
            _OF_STATE_REACHED,
            "ACEHI",
            "BDFGJ",
            """\
                action="(chosen := drawn if explores else best, best)[1]",
                value="0.0 if terminated or interrupted else q[next_state].mean()",
                entry="q[next_state, chosen]",
                update="+= learning_rate * (discount * (reward + value) - q[next_state, chosen])",
            ),
""",
        ),
    },
}
