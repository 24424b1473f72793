"""What may differ between students' papers of the diffusion assignment: see aigc_course/grading/release.py."""

Pairs = list[tuple[str, str]]


def _path(power: int) -> dict[str, Pairs]:
    """The path whose share of signal is 1 - t ** power, in the place of 1 - t ** 2."""
    n, less = power, power - 1
    slope = f"{n} * t**{less}"
    a = 1 - 0.5**n
    first, last = f"{a + 1:g}", f"{4 * a:g}"  # x_t at t = 0.5
    dot = (2 - n * 0.5**less, -4 * n * 0.5**less)  # and its velocity
    divisor, share = 1 + less * 0.5**n, 0.75**0.5
    missing = {3: "a third", 4: "a quarter"}[n]
    return {
        "source": [
            ("1 - t^2", f"1 - t^{n}"),
            ("is *not* 1. At a point of\n# this path a network", "is rarely 1. On\n# this path a network"),
            ("1 - t * t", f"1 - t**{n}"),
            ("1 - r * r", f"1 - r**{n}"),
            ("1 - u * u", f"1 - u**{n}"),
            ("1 - s**2", f"1 - s**{n}"),
            ("(1 - t**2) * x + t * noise", f"(1 - t**{n}) * x + t * noise"),
            ("(1 - (k / steps) ** 2, ", f"(1 - (k / steps) ** {n}, "),
            (
                """    return {"noise": noise, "clean": x, "velocity": noise - 2 * t * x}[prediction]""",
                f"    velocity = noise - {slope} * x\n"
                """    return {"noise": noise, "clean": x, "velocity": velocity}[prediction]""",
            ),
            ("[[1.75, 3.0]]", f"[[{first}, {last}]]"),
            (
                '_compare(loss_target("velocity", x, noise, t), [[1.0, -4.0]], "velocity", wrong)',
                f'_compare(loss_target("velocity", x, noise, t), [[{dot[0]}, {dot[1]}]], "velocity", wrong)',
            ),
            ('so its slope is negative": [[3, 4]]', f'so its slope is negative": [[{4 - dot[0]}, {-dot[1]}]]'),
            (
                'a share of 1 - t ** 2 has the slope -2 t": [[1.5, -2]]',
                f'a share of 1 - t ** {n} has the slope -{n} t ** {less}": [[{2 - 0.5**less}, {-4 * 0.5**less}]]',
            ),
            ("a share of 1 - t ** 2 has the slope -2 t", f"a share of 1 - t ** {n} has the slope -{n} t ** {less}"),
            ('a ** 2 + s ** 2 = 1": [[1, -2]]', f'a ** 2 + s ** 2 = 1": [[{2 * a - 0.5}, -2]]'),
            ("[[math.pi / 2, -math.pi]]", f"[[{2 * a - 0.5} * math.pi / 2, -math.pi]]"),
            ("lambda t, x, e: e + 2 * t * x", f"lambda t, x, e: e + {slope} * x"),
            ("lambda t, x, e: e - t * x", f"lambda t, x, e: e - t**{less} * x"),
            (
                "    return (x_t - s * said) / (1 + s**2), (a * said + 2 * s * x_t) / (1 + s**2)",
                f"    below = 1 + {less} * s**{n}\n"
                f"    return (x_t - s * said) / below, (a * said + {n} * s**{less} * x_t) / below",
            ),
            ('divide by it": [[0.75, 3.0]]', f'divide by it": [[{a}, {4 * a}]]'),
            ("[[0.8660, 3.4641]]", f"[[{a / share:.4f}, {4 * a / share:.4f}]]"),
            ("here a = 1 - t ** 2", f"here a = 1 - t ** {n}"),
            ("which is (1, -4) there", f"which is ({dot[0]:g}, {dot[1]:g}) there"),
            ("velocity, x_t = torch.tensor([[1.0, -4.0]])", f"velocity, x_t = torch.tensor([[{dot[0]}, {dot[1]}]])"),
            ('to divide by": [[1.25, 5.0]]', f'to divide by": [[{divisor}, {4 * divisor}]]'),
            ('to divide by": [[2.5, 0.0]]', f'to divide by": [[{2 * divisor}, 0.0]]'),
            ("there is 1 + t ** 2 to divide by", f"there is 1 + {less} t ** {n} to divide by"),
            (
                "[[0.8125, 4.25]]",
                f"[[{a * (a + 1) - dot[0] / 2:.4f}, {4 * a * a - dot[1] / 2:.4f}]]",
            ),
            ("noise - 2 * x)]", f"noise - {n} * x)]"),
            ("noise[i] - 2 * u * x[i]", f"noise[i] - {n} * u**{less} * x[i]"),
            ("+ 2 * u * x_t[i]", f"+ {n} * u**{less} * x_t[i]"),
            ("s / variance * off - 2 * s * clean", f"s / variance * off - {n} * s**{less} * clean"),
            ("the divisor $1 + t^2$", f"the divisor $1 + {less} t^{n}$"),
        ],
        "asks": [("1 - t * t", f"1 - t**{n}"), ("1 - r * r", f"1 - r**{n}")],
        "wrong": [
            ('a: str = "1 - s * s"', f'a: str = "1 - s**{n}"'),
            ("(1 + s * s)", f"(1 + {less} * s**{n})"),
            ("2 * s * x_t", f"{n} * s**{less} * x_t"),
            ("(1 - t**2) *", f"(1 - t**{n}) *"),
            ("2 * t * x", f"{slope} * x"),
            ("2 * t[:1] * x", f"{n} * t[:1] ** {less} * x"),
            ('"noise - t * x"', f'"noise - t**{less} * x"'),
            ("half the slope", f"{missing} of the slope"),
            (
                "1 - t ** 2 is half as large as it should be",
                f"1 - t ** {n} is {missing} of what it should be",
            ),
            ("the share of signal is 1 - t ** 2", f"the share of signal is 1 - t ** {n}"),
            (
                'on another path; here it is 1 - t ** "\n        "2."',
                f'on another path; here it is 1 - t ** "\n        "{n}."',
            ),
            ("it is 1 - t ** 2.", f"it is 1 - t ** {n}."),
            ("1 + t ** 2 to divide", f"1 + {less} t ** {n} to divide"),
            ("you divide by 1 - t ** 2", f"you divide by 1 - t ** {n}"),
            ("a share of 1 - t ** 2 has the slope -2 t", f"a share of 1 - t ** {n} has the slope -{n} t ** {less}"),
            ("here a = 1 - t ** 2", f"here a = 1 - t ** {n}"),
        ],
    }


_FROM_THE_NOISE: dict[str, Pairs] = {
    "source": [
        (
            r"""Somebody has drawn how the signal should fall, $a_1 > a_2 > \dots$, and asks for the rates
# that do it. Derive them on paper: what does a single step do to the share that is there?""",
            r"""Somebody has drawn how the noise should grow, $s_1 < s_2 < \dots$, and asks for the rates
# that do it. Derive them on paper: what does a single step do to the noise that is there?""",
        ),
        (
            """\
# In the formula at the beginning of question 1, the share of signal after a step depends only on the share before it
# and on the rate of this step. Write down that equation, and solve it for the rate.""",
            """\
# In the formula at the beginning of question 1, two independent noises are added: what is left of the noise before the
# step, and the new one. Write down the equation for the variance of their sum, and solve it for the rate.""",
        ),
        (
            r"""$a_k = \sqrt{1 - \beta_k}\; a_{k-1}$, with $a_0 = 1$. Divide by $a_{k-1}$ before you square.
# `signal` begins with $a_1$, so you need a second tensor of the same length that holds the share *before* each step.
# As a test, give your rates to `shares_after`: its first result has to be a 1 followed by `signal`.""",
            r"""$s_k^2 = (1 - \beta_k)\, s_{k-1}^2 + \beta_k$, with $s_0 = 0$. Collect what multiplies $\beta_k$.
# `noise` begins with $s_1$, so you need a second tensor of the same length that holds the share *before* each step.
# As a test, give your rates to `shares_after`: its second result has to be a 0 followed by `noise`.""",
        ),
        (
            '''def rates_for(signal):
    """Return the rates with which the signal falls as wanted.

    signal: (steps,), the shares a_1 > a_2 > … after 1, 2, … steps, between 0 and 1.
    Before the first step the share is 1. Returns (steps,).''',
            '''def rates_for(noise):
    """Return the rates with which the noise grows as wanted.

    noise: (steps,), the shares s_1 < s_2 < … after 1, 2, … steps, between 0 and 1.
    Before the first step the share is 0. Returns (steps,).''',
        ),
        (
            """    before = torch.cat([torch.ones(1), signal[:-1]])
    return 1 - (signal / before) ** 2""",
            """    before = torch.cat([torch.zeros(1), noise[:-1]]) ** 2
    return (noise**2 - before) / (1 - before)""",
        ),
        (
            "rates for a signal that falls to 0.8 and then to 0.4.",
            "rates for noise that grows to 0.6, then to 0.84 ** 0.5.",
        ),
        (
            '"the root is missing: a step keeps sqrt(1 - beta) of the signal": [0.2, 0.5],',
            '"variances add up, the squares of the shares": [0.6, (0.84**0.5 - 0.6) / 0.4],',
        ),
        ("rates_for(torch.tensor([0.8, 0.4]))", "rates_for(torch.tensor([0.6, 0.84**0.5]))"),
        (
            """        wanted = torch.tensor(signal)
        given = wanted.clone()
""",
            """        wanted = (1 - torch.tensor(signal, dtype=torch.float64) ** 2).sqrt()
        before = torch.cat([torch.zeros(1), wanted[:-1]])
        given = wanted.clone()
""",
        ),
        (
            """            "the root is missing: a step keeps sqrt(1 - beta) of the signal": [
                1 - each for each in kept.tolist()
            ],
""",
            """            "variances add up, the squares of the shares": (
                (wanted - before) / (1 - before)
            ),
""",
        ),
        (
            "Let the signal fall by the same amount in each of nine steps, from 1 to 0.1.",
            "Let the noise grow by the same amount in each of nine steps, from 0 to 0.9.",
        ),
        ("even = torch.linspace(0.9, 0.1, 9)", "even = torch.linspace(0.1, 0.9, 9)"),
    ],
    "asks": [
        (".cumprod(dim=0).to(dtype)\n", ".cumprod(dim=0)\n        noise = (1 - signal**2).sqrt().to(dtype)\n"),
        ("answers.rates_for(signal)", "answers.rates_for(noise)"),
        ("given.append(signal)", "given.append(noise)"),
    ],
    "wrong": [
        (
            'before: str = "torch.cat([torch.ones(1), signal[:-1]])"',
            'before: str = "torch.cat([torch.zeros(1), noise[:-1]])"',
        ),
        ("def rates_for(signal):\n    before = {before}", "def rates_for(noise):\n    before = {before}"),
        ('_rates("1 - signal / before")', '_rates("(noise - before) / (1 - before)")'),
        ('_rates("1 - signal**2")', '_rates("noise**2")'),
        ('_rates("(signal / before) ** 2")', '_rates("(1 - noise**2) / (1 - before**2)")'),
        ('_rates("1 - (before / signal) ** 2")', '_rates("1 - (1 - before**2) / (1 - noise**2)")'),
        ('_rates("before - signal")', '_rates("noise - before")'),
        ('_rates("before**2 - signal**2")', '_rates("noise**2 - before**2")'),
        (
            '_rates("1 - (signal[1:] / signal[:-1]) ** 2")',
            '_rates("(noise[1:] ** 2 - noise[:-1] ** 2) / (1 - noise[:-1] ** 2)")',
        ),
        (
            '_rates("(1 - (signal / before) ** 2).flip(0)")',
            '_rates("((noise**2 - before**2) / (1 - before**2)).flip(0)")',
        ),
        (
            '_rates("1 - (signal / before) ** 2", "torch.cat([signal[:1], signal[:-1]])")',
            '_rates("(noise**2 - before**2) / (1 - before**2)", "torch.cat([noise[:1], noise[:-1]])")',
        ),
        (
            "The root is missing: a step keeps sqrt(1 - beta) of the signal, not 1 - beta.",
            "You computed with the shares of noise themselves; it is their squares, the variances, that add up.",
        ),
        (
            """compare the share after a step with the "
        "share before it, not the other way round.""",
            """compare what is left of the signal after "
        "a step with what there was before it, not the other way round.""",
        ),
        (
            """\
This is by how much the share falls in each step. A step keeps a certain part of the signal "
        "that is there, so ratios count, not differences.""",
            """\
This is by how much the share of noise grows in each step. A step also keeps only a part of "
        "the noise that is there, and it is variances that add up.""",
        ),
        ("the first step leads from the share 1 to a_1", "the first step leads from the share 0 to s_1"),
        (
            'as if the share were a_1 before the first step "\n        "already; it is 1 there."',
            'as if the share were s_1 before the first step "\n        "already; it is 0 there."',
        ),
    ],
}

# Eta as a share of the variance, not of the standard deviation.
_OF_THE_VARIANCE: dict[str, Pairs] = {
    "source": [
        (
            r"let a number $\eta$ from 0 to 1 say how much:",
            r"let a number from 0 to 1 say how much. In" + "\n"
            r"# the paper it multiplies $\sigma$; here it is $\eta$, and multiplies the variance $\sigma^2$:",
        ),
        (
            r"- In between, $\sigma$ is $\eta$ times what it is for $\eta = 1$.",
            r"- In between, the variance $\sigma^2$ is $\eta$ times what it is for $\eta = 1$.",
        ),
        (
            r"""For any other $\eta$, multiply
# the *root* of this by $\eta$, not the variance, and then find""",
            r"""For any other $\eta$, multiply
# this *variance* by $\eta$, not its root, and then find""",
        ),
        (
            "    fresh = eta * s_r * math.sqrt(max(0.0, 1 - rho**2))\n",
            "    fresh = s_r * math.sqrt(eta * max(0.0, 1 - rho**2))\n",
        ),
        (
            """what, half = "eta is a factor of sigma, and comes in once", fresh / 4
fresh = ddim_step(zero, zero, (0.5, 0.8), (0.8, 0.6), 0.5, one)
_compare(fresh, 2 * half, "half of it for eta = 1/2", {what: half})""",
            """what, part = "eta is a factor of the variance, not of its root", fresh / 4
fresh = ddim_step(zero, zero, (0.5, 0.8), (0.8, 0.6), 0.25, one)
_compare(fresh, 2 * part, "half of it for eta = 1/4", {what: part})""",
        ),
        (
            "        for eta in (0.0, 0.3, 0.7, 1.0):\n",
            "        for eta in (0.0, 0.3, 0.7, 1.0):\n            root = math.sqrt(eta)\n",
        ),
        ("eta**2 * full**2", "eta * full**2"),
        (
            """"eta is a factor of sigma, not of its square": math.sqrt(eta)
                * full,""",
            '"eta is a factor of the variance, not of its root": eta * full,',
        ),
        (
            '"eta is a factor of sigma, and comes in once": eta**2',
            '"eta is a factor of the variance, and comes in once": eta**2',
        ),
        ('that is there is kept": eta * s_r,', 'that is there is kept": root * s_r,'),
        ("eta * math.sqrt(s_t**2 - (a_t", "root * math.sqrt(s_t**2 - (a_t"),
        ("eta * s_r * math.sqrt(1 - (s_r / s_t) ** 2)", "root * s_r * math.sqrt(1 - (s_r / s_t) ** 2)"),
        ("eta * s_r * math.sqrt(1 - rho)", "root * s_r * math.sqrt(1 - rho)"),
        ('"it is not so": eta * s_r', '"it is not so": root * s_r'),
        ('s_r of the noise is missing": eta\n', 's_r of the noise is missing": root\n'),
        ("torch.full((1, 2), eta * full)", "torch.full((1, 2), root * full)"),
    ],
    "wrong": [
        (
            'fresh: str = "eta * s_r * max(0.0, 1 - rho**2) ** 0.5"',
            'fresh: str = "s_r * (eta * max(0.0, 1 - rho**2)) ** 0.5"',
        ),
        ('fresh="(eta * s_r) ** 2 * (1 - rho**2)"', 'fresh="eta * s_r**2 * (1 - rho**2)"'),
        ('fresh="eta * s_r"', 'fresh="eta**0.5 * s_r"'),
        ('fresh="eta**0.5 * s_r * max(0.0, 1 - rho**2) ** 0.5"', 'fresh="eta * s_r * max(0.0, 1 - rho**2) ** 0.5"'),
        ('fresh="eta * s_r * max(0.0, 1 - rho) ** 0.5"', 'fresh="eta**0.5 * s_r * max(0.0, 1 - rho) ** 0.5"'),
        ('fresh="eta * s_r / s_t * max(', 'fresh="eta**0.5 * s_r / s_t * max('),
        ('fresh="eta * max(0.0, s_t**2', 'fresh="eta**0.5 * max(0.0, s_t**2'),
        ('"the root of eta"', '"eta for its root"'),
        (
            "eta comes in twice; sigma is eta times what it is for eta = 1.",
            "The square of eta is in your sigma; it is the variance, sigma ** 2, that is eta times as large.",
        ),
        (
            "You take the square root of eta. It is a factor of sigma, not of its square.",
            "You multiply sigma by eta. Here eta is a factor of its square, the variance.",
        ),
        ('"half of it for eta = 1/2"', '"eta is a factor of the variance, not of its root"'),
        ('"eta is a factor of sigma, and comes in once"', '"half of it for eta = 1/4"'),
    ],
}

# The class has the mean 0, and all examples together have another one.
_CLASS_AT_ZERO: dict[str, Pairs] = {
    "source": [
        (
            """all examples together are normal with mean 0, those of the class
# with another mean and a smaller spread. Then""",
            """the class is normal with mean 0, and all examples together
# with another mean and a larger spread. Then""",
        ),
        (
            r"""Write this for all examples, where $\mu = 0$, and for the
# class; weight the two""",
            r"""Write this for all examples, and for the class, where $\mu$
# is 0; weight the two""",
        ),
        (
            '''def guided_normal(mean, std, std_all, w):
    """Return mean and standard deviation of the guided density, two numbers.

    mean, std: of the class, a normal distribution. std_all: of the normal
    distribution of all examples, whose mean is 0; larger than std. w: from 0.''',
            '''def guided_normal(mean_all, std, std_all, w):
    """Return mean and standard deviation of the guided density, two numbers.

    mean_all, std_all: of all examples, a normal distribution. std: of the normal
    distribution of the class, whose mean is 0; smaller than std_all. w: from 0.''',
        ),
        (
            "return w * mean / std**2 / precision, precision**-0.5",
            "return (1 - w) * mean_all / std_all**2 / precision, precision**-0.5",
        ),
        (
            "a class with mean 3 and spread 1, among all with spread 2.",
            "a class with spread 1, among all with mean 3 and spread 2.",
        ),
        (
            "[(0.0, [0, 2]), (1.0, [3, 1]), (0.5, [2.4, 1.6**0.5])]",
            "[(0.0, [3, 2]), (1.0, [0, 1]), (0.5, [0.6, 1.6**0.5])]",
        ),
        (
            'not the means and spreads": [3 * w, 2 - w],',
            """not the means and spreads": [
            3 - 3 * w,
            2 - w,
        ],""",
        ),
        ("            3 * w,\n", "            3 - 3 * w,\n"),
        ("-(1 - w) * x**2 / (2 * std_all**2)", "-(1 - w) * (x - mean) ** 2 / (2 * std_all**2)"),
        ("- w * (x - mean) ** 2 / (2 * std**2)", "- w * x**2 / (2 * std**2)"),
        ("                    w * mean,\n", "                    (1 - w) * mean,\n"),
        ("further than the class's own\": [mean, right[1]]", "further than the class's own\": [0.0, right[1]]"),
        (
            """\
# A class has the mean 3 and the standard deviation 1; all examples together have the standard deviation 2. How far does
# guidance go, and what does it cost? Guess whether the mean can go beyond 4, then run the cell.""",
            """\
# A class has the mean 0 and the standard deviation 1; all examples together have the mean 3 and the standard deviation
# 2. How far does guidance go, and what does it cost? Guess whether the mean can go below -1, then run the cell.""",
        ),
    ],
    "wrong": [
        ('_normal("w * mean, (1 - w) * std_all', '_normal("(1 - w) * mean, (1 - w) * std_all'),
        ('_normal("w * mean, max(', '_normal("(1 - w) * mean, max('),
        ('_normal("mean, precision', '_normal("0.0, precision'),
        ('_normal("(1 + w) * mean / std**2', '_normal("-w * mean / std_all**2'),
        ('_normal("w * mean / std**2', '_normal("(1 - w) * mean / std_all**2'),
        ('_normal("w * mean / std / precision', '_normal("(1 - w) * mean / std_all / precision'),
        ('_normal("mean, std / max', '_normal("0.0, std / max'),
    ],
}

# The weight of Ho and Salimans, which is that of the assignment as it stands less 1.
_COUNTED_FROM_THE_CLASS: dict[str, Pairs] = {
    "source": [
        (
            """answer without it, or less far. In this course $w$ is counted so that
#
# - $w = 0$ is the answer without the class,
# - $w = 1$ is the answer with the class, and nothing is exaggerated,
""",
            """answer without it, or less far. Here $w$ is counted as they do, so that
#
# - $w = 0$ is the answer with the class, and nothing is exaggerated,
# - $w = -1$ is the answer without the class,
""",
        ),
        (
            """(Ho and Salimans count
# from the answer with the class: their weight is ours less 1.)""",
            """(The chapter
# counts from the answer without the class: its weight is this one plus 1.)""",
        ),
        ("line to be at $w = 1$?", "line to be at $w = -1$?"),
        ("its\n# sign follows from $w = 1$.", "its\n# sign follows from $w = -1$."),
        (
            "    return plain + w.view(-1, *[1] * (x.dim() - 1)) * (told - plain)\n",
            "    return told + w.view(-1, *[1] * (x.dim() - 1)) * (told - plain)\n",
        ),
        ("what w = 0 and w = 1 mean.", "what w = -1 and w = 0 mean."),
        (
            "found = guided(class_network, x, t, labels, torch.zeros(2))\n",
            "found = guided(class_network, x, t, labels, -torch.ones(2))\n",
        ),
        (
            """wrong = {"here w = 0 is the answer without the class, not with it": told}
wrong["the answer without the class is missing"] = 0 * x
_compare(found, plain, "w = 0", wrong)
found = guided(class_network, x, t, labels, torch.ones(2))
what = "here w = 1 exaggerates nothing; w is not counted from the answer with it"
wrong = {what: 2 * told - plain, "with and without are exchanged": plain}
_compare(found, told, "w = 1", wrong)
""",
            """wrong = {"here w = -1 is the answer without the class, not with it": told}
wrong["w is counted from the answer with the class"] = 2 * plain - told
_compare(found, plain, "w = -1", wrong)
found = guided(class_network, x, t, labels, torch.zeros(2))
wrong = {"here w = 0 is the answer with the class, not without it": plain}
wrong["the answer with the class is missing"] = 0 * x
_compare(found, told, "w = 0", wrong)
""",
        ),
        (
            """        found = guided(class_network, x, t, labels, zeros)
        assert torch.equal(x, given[0])""",
            """        found = guided(class_network, x, t, labels, zeros - 1)
        assert torch.equal(x, given[0])""",
        ),
        (
            """            "here w = 0 is the answer without the class, not with it": told,
            "the answer without the class is missing": 0 * x,
        }
        _compare(found, plain, "w = 0", wrong)
        found = guided(class_network, x, t, labels, zeros + 1)
        wrong = {
            "here w = 1 exaggerates nothing": 2 * told - plain,
            "with and without are exchanged": plain,
            "the answer without the class is missing": told - plain,
        }
        _compare(found, told, "w = 1", wrong)
""",
            """            "here w = -1 is the answer without the class, not with it": told,
            "w is counted from the answer with the class": 2 * plain - told,
            "the answer with the class is missing": plain - told,
        }
        _compare(found, plain, "w = -1", wrong)
        found = guided(class_network, x, t, labels, zeros)
        wrong = {
            "here w = 0 is the answer with the class, not without it": plain,
            "the answer with the class is missing": 0 * x,
        }
        _compare(found, told, "w = 0", wrong)
""",
        ),
        (
            """plain, told = (guided(class_network, x, t, labels, x + w) for w in (0.0, 1.0))
""",
            """plain, told = (guided(class_network, x, t, labels, x + w) for w in (-1.0, 0.0))
""",
        ),
        (
            """clamped = plain + w.clamp(0, 1) * (told - plain)
wrong = {"w may be larger than 1 or negative; the line goes on": clamped}
wrong["each example has a w of its own"] = plain + w.mean() * (told - plain)
_compare(found, plain + w * (told - plain), "w = 0.5, 3 and -1", wrong)""",
            """clamped = told + w.clamp(-1, 0) * (told - plain)
wrong = {"w may be larger than 0 or below -1; the line goes on": clamped}
wrong["each example has a w of its own"] = told + w.mean() * (told - plain)
_compare(found, told + w * (told - plain), "w = 0.5, 3 and -2", wrong)""",
        ),
        ("w = torch.tensor([0.5, 3.0, -1.0])", "w = torch.tensor([0.5, 3.0, -2.0])"),
        (
            '"w may be larger than 1 or negative; the line goes on": line(',
            '"w may be any number; the line goes on": line(',
        ),
        (
            r"\log \tilde p(x) = (1 - w) \log p(x) + w \log p(x \mid y)",
            r"\log \tilde p(x) = (1 + w) \log p(x \mid y) - w \log p(x)",
        ),
        ("weight the two with $1 - w$ and $w$,", "weight the two with $-w$ and $1 + w$,"),
        ("and test $w = 0$ and $w = 1$.", "and test $w = -1$ and $w = 0$."),
        ("larger than std. w: from 0.", "larger than std. w: from -1."),
        (
            """    precision = w / std**2 + (1 - w) / std_all**2
    return w * mean / std**2 / precision, precision**-0.5
""",
            """    precision = (1 + w) / std**2 - w / std_all**2
    return (1 + w) * mean / std**2 / precision, precision**-0.5
""",
        ),
        (
            "[(0.0, [0, 2]), (1.0, [3, 1]), (0.5, [2.4, 1.6**0.5])]",
            "[(-1.0, [0, 2]), (0.0, [3, 1]), (-0.5, [2.4, 1.6**0.5])]",
        ),
        (
            'not the means and spreads": [3 * w, 2 - w],',
            """not the means and spreads": [
            3 + 3 * w,
            1 - w,
        ],""",
        ),
        (
            "            3 * w,\n            (4 - 3 * w) ** 0.5,\n",
            "            3 + 3 * w,\n            (1 - 3 * w) ** 0.5,\n",
        ),
        ("for w in (0.0, 0.3, 1.0, 2.5, 7.0):", "for w in (-1.0, -0.7, 0.0, 1.5, 6.0):"),
        ("                -(1 - w) * x**2 / (2 * std_all**2)\n", "                w * x**2 / (2 * std_all**2)\n"),
        ("                - w * (x - mean) ** 2", "                - (1 + w) * (x - mean) ** 2"),
        (
            """                    w * mean,
                    (1 - w) * std_all + w * std,
""",
            """                    (1 + w) * mean,
                    (1 + w) * std - w * std_all,
""",
        ),
        (
            """                    w * mean,
                    max(0.0, (1 - w) * std_all**2 + w * std**2) ** 0.5,
""",
            """                    (1 + w) * mean,
                    max(0.0, (1 + w) * std**2 - w * std_all**2) ** 0.5,
""",
        ),
        ("for w in (0.0, 1.0, 2.0, 4.0, 8.0, 100.0):", "for w in (-1.0, 0.0, 1.0, 3.0, 7.0, 99.0):"),
        ("In the example, with $w = 2$, the data's", "In the example, with $w = 1$, the data's"),
        ("zip(panels, (0.0, 1.0, 3.0), strict=True)", "zip(panels, (-1.0, 0.0, 2.0), strict=True)"),
        ("They draw with $w = 4$.", "They draw with $w = 3$."),
        ("right with $w = 4$, and 93 % with $w = 1$.", "right with $w = 3$, and 93 % with $w = 0$."),
        ("and with $w = 4$ the", "and with $w = 3$ the"),
        ("the factor $1 - w = -3$", "the factor $-w = -3$"),
    ],
    "asks": [
        ("for w in (zeros, zeros + 1)]", "for w in (zeros - 1, zeros)]"),
        ('"with w = 0 and w = 1"', '"with w = -1 and w = 0"'),
        ("answers.guided_normal(mean, std, std_all, w)", "answers.guided_normal(mean, std, std_all, w - 1)"),
    ],
    "wrong": [
        # The codes go on counting from the answer without the class, or from all examples.
        ("    w = {w}\n    return {result}", "    w = {w} + 1\n    return {result}"),
        (
            "def guided_normal(mean, std, std_all, w):\n    precision = {precision}",
            "def guided_normal(mean, std, std_all, w):\n    w = w + 1\n    precision = {precision}",
        ),
        ('"counted from the answer with the class"', '"counted from the answer without the class"'),
        ('_guided((0, 1), "told + w * (told - plain)")', '_guided((0, 1), "plain + (w - 1) * (told - plain)")'),
        ('"plain + w**2 * (told - plain)"', '"told + (w - 1) * (w - 1).abs() * (told - plain)"'),
        ('"plain + w * (told + plain)"', '"told + (w - 1) * (told + plain)"'),
        ('"the answer without the class missing"', '"the answer with the class missing"'),
        ('_guided((0, 1), "w * (told - plain)")', '_guided((0, 1), "(w - 1) * (told - plain)")'),
        ('"counted from the class"', '"counted from all examples"'),
        (
            '"(1 + w) * mean / std**2 / precision, precision**-0.5", "(1 + w) / std**2 - w / std_all**2"',
            '"(w - 1) * mean / std**2 / precision, precision**-0.5", '
            '"max(1e-9, (w - 1) / std**2 + (2 - w) / std_all**2)"',
        ),
        (
            """You count w from the answer with the class, as Ho and Salimans do; "
        "here w = 0 is the answer without the class.""",
            """You count w from the answer without the class; here w = 0 is the "
        "answer with it, as in Ho and Salimans.""",
        ),
        (
            """here w = 0 is the answer without it, and w = 1 the "
        "answer with it.""",
            """here w = -1 is the answer without it, and w = 0 the "
        "answer with it.""",
        ),
        (
            """This is w times the difference of the two answers; the answer without "
        "the class, from which it is counted, is missing.""",
            """This is w times the difference of the two answers; the answer with "
        "the class, from which it is counted, is missing.""",
        ),
        ("You do not let w be larger than 1 or negative;", "You do not let w be larger than 0 or below -1;"),
        (
            "You square w; the answers for all w lie on a line, on which w says how far to go.",
            "You square w, with its sign; the answers for all w lie on a line, on which w says how far to go.",
        ),
        (
            """You count w from the class, as Ho and Salimans do; here w = 0 gives the density of "
        "all examples, and w = 1 that of the class.""",
            """You count w from all examples; here w = 0 gives the density of the class, and "
        "w = -1 that of all examples.""",
        ),
        (
            'density of all examples, whose logarithm has the "\n        "weight 1 - w.',
            'density of all examples, whose logarithm has the "\n        "weight -w.',
        ),
    ],
}

# Of the five mistakes, only one is among those of the assignment as it stands, and in another form: the wrong target.
_OTHER_MISTAKES: dict[str, Pairs] = {
    "source": [
        (
            """    x_k = kept.sqrt() * x + (1 - kept) * noise
    said = network(x_k, torch.zeros(len(x)))
    loss = F.mse_loss(said, x_k - x)
""",
            """    x_k = kept * x + (1 - kept).sqrt() * noise
    said = network(x_k, k.float())
    loss = F.mse_loss(said, x)
""",
        ),
        ("slow.copy_((1 - decay) * slow + decay * new)", "slow.copy_(decay * slow + (1 - decay) * new)"),
        (
            """    x = (x - beta / (1 - kept).sqrt() * said) / (1 - beta).sqrt()
    return x + beta.sqrt() * z
""",
            """    x = (x - beta / (1 - kept).sqrt() * said) * (1 - beta).sqrt()
    return x + beta * z if k > 1 else x
""",
        ),
        (
            "- **I** The step of drawing divides by the square root of 1 - beta; it has to multiply.",
            "- **I** The step of drawing multiplies by the square root of 1 - beta; it has to divide.",
        ),
        (
            """# - **A** The signal is scaled by the square root of alpha-bar; it has to be alpha-bar itself.
# - **B** The noise is scaled by its variance; it has to be the square root of that.
# - **C** In training, the network is not told how many steps an example has made.
""",
            """# - **A** The signal is scaled by alpha-bar; it has to be the square root of that.
# - **B** The noise is scaled by the square root of 1 - alpha-bar; it has to be 1 - alpha-bar itself.
# - **C** In training, the network is told the number of steps; it has to be that number as a share of all steps.
""",
        ),
        (
            """\
# - **F** The loss does not ask for the noise, although the step of drawing takes the network's answer for the noise.
# - **G** In the running average the two shares are exchanged, so that it hardly averages.
# - **H** The trained network has to draw the samples, not the average of its weights.
""",
            """# - **F** In the running average the two shares are exchanged, so that it hardly averages.
# - **G** The loss does not ask for the noise, although the step of drawing takes the network's answer for the noise.
# - **H** The fresh noise is scaled by its variance; it has to be the square root of that.
""",
        ),
        ('"BCFGJ"', '"ACGHI"'),
        # The check of the loss can tell the clean example from the noise, and the point names this mistake.
        ("network, average = Recorder(0.5), Recorder(0.5)", "network, average = Recorder(0.25), Recorder(0.25)"),
        (
            """what = "you scaled the noise by 1 - alpha-bar instead of its square root"
_compare(network.asked[0], [[0.8 + s, 0.4 - s]], "x_k", {what: [[1.64, -0.44]]})
wrong = (0.5 - (network.asked[0] - x)).square().mean()
what = "the target is taken from the noisy example, not the noise"
_compare(loss, 1.25, "the loss", {what: wrong})""",
            """known = {"this is alpha-bar; the share is its root": [[0.32 + s, 0.16 - s]]}
_compare(network.asked[0], [[0.8 + s, 0.4 - s]], "x_k", known)
wrong = (0.25 - x).square().mean()
what = "the target is the clean example, not the noise"
_compare(loss, 1.0625, "the loss", {what: wrong})""",
        ),
    ],
    "wrong": [
        ("_mistakes('\"BCFGA\"'", "_mistakes('\"ACGHB\"'"),
        ("_mistakes('\"BCFAD\"'", "_mistakes('\"ACGBD\"'"),
        ("_mistakes('\"ADEHI\"'", "_mistakes('\"BDEFJ\"'"),
        ('_mistakes(\'["B", "C", "F", "G", "J"]\'', '_mistakes(\'["A", "C", "G", "H", "I"]\''),
        ("_mistakes('\"BBCFG\"'", "_mistakes('\"AACGH\"'"),
        ("_mistakes('\"BCFGK\"'", "_mistakes('\"ACGHK\"'"),
        (
            '    s: str = "(1 - kept).sqrt()",\n    time: str',
            '    a: str = "kept.sqrt()",\n    s: str = "(1 - kept).sqrt()",\n    time: str',
        ),
        ("x_k = kept.sqrt() * x + {s} * noise", "x_k = {a} * x + {s} * noise"),
        (
            """                s="(1 - kept)",
                time="torch.zeros(len(x))",
                target="x_k - x",
                slow="(1 - decay) * slow + decay * new",
""",
            """                a="kept",
                time="k.float()",
                target="x",
""",
        ),
    ],
}

VARIANTS: dict[str, dict[str, dict[str, Pairs]]] = {
    "path": {"1 - t^2": {}, "1 - t^3": _path(3), "1 - t^4": _path(4)},
    "wanted share": {"of signal": {}, "of noise": _FROM_THE_NOISE},
    "eta": {"of the standard deviation": {}, "of the variance": _OF_THE_VARIANCE},
    "guidance": {"from all examples": {}, "class at 0": _CLASS_AT_ZERO, "from the class": _COUNTED_FROM_THE_CLASS},
    "mistakes": {"as they stand": {}, "others": _OTHER_MISTAKES},
}
