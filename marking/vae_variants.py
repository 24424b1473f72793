"""What may differ between students' papers of the VAE assignment: see aigc_course/grading/release.py."""

Pairs = list[tuple[str, str]]

# --- question 1: the distribution -------------------------------------------------------------------------------------

_NAME = "\n# The function is called `laplace_draw` in every paper, whichever distribution it draws from.\n"

_LAPLACE = r"""Let $q(z \mid x)$ be a **Laplace distribution** in each latent dimension, which has more probability near its centre and
# far from it than a normal distribution. With the location $\mu$ and the scale $b > 0$ its density and its distribution
# function are
#
# $$
# q(z) = \frac{1}{2b} e^{-|z - \mu| / b}, \qquad
# F(z) = \begin{cases} \tfrac12 e^{(z - \mu)/b} & \text{for } z \le \mu, \\ 1 - \tfrac12 e^{-(z - \mu)/b} & \text{for } z > \mu. \end{cases}
# $$
"""
_LAPLACE_HINT = r"""reached the value $u$? $F$ has two
# branches, so find out first which values of $u$ belong to which branch. What is $F(\mu)$?
"""
_LAPLACE_HINT_2 = r"""# $F(\mu) = \tfrac12$, so the first branch belongs to $u \le \tfrac12$ and the second to $u > \tfrac12$. In each of them
# isolate the exponential, take the logarithm, and solve for $z$; watch the sign in the second. `torch.where` picks one
# of two tensors entry by entry, and $b$ is the exponential of `log_scale`. If"""
_LAPLACE_SOLUTION = """\
    tail = torch.log1p(-2 * (u - 0.5).abs())
    return mu - log_scale.exp() * torch.sign(u - 0.5) * tail
"""
_LAPLACE_EXPECTED = """\
# log_scale = 0 means b = 1, and F(mu + log 2) = 1 - 1/4
expected = torch.tensor([[1 - math.log(2), 1.0, 1 + math.log(2)]])
"""
_LAPLACE_MEANS = """\
assert abs(z.mean().item()) < 0.1, (
    f"the mean of 4,000 draws with mu = 0 should be near 0, not {z.mean():.3f}"
)
assert abs(z.abs().mean().item() - 1) < 0.1, (
    f"their mean distance from mu should be near b = 1, not {z.abs().mean():.3f}"
)
"""
_LAPLACE_TRUTH = """\
    q = torch.distributions.Laplace(mu, log_scale.exp())
    torch.testing.assert_close(q.cdf(z.double()), u, **loose)
    # in the tails, where F is flat, z itself is compared
    torch.testing.assert_close(z, q.icdf(u), **loose)
    z = laplace_draw(mu, log_scale, u=torch.full_like(mu, 0.5))
"""
_LAPLACE_HIDDEN = """\
    assert abs(z.mean().item()) < 0.1, "the mean of the draws is not 0"
    assert abs(z.abs().mean().item() - 1) < 0.08, "their mean distance is not b"
"""
_LAPLACE_RULE = "    if not z.mean().abs() < 0.08 or not (z.abs().mean() - 1).abs() < 0.06:\n"
_LAPLACE_NEAR = "if not (near - 1 + math.exp(-distance)).abs() < 0.03:"
_LAPLACE_TAIL = "torch.sign(u - 0.5), torch.log1p(-2 * (u - 0.5).abs())"
_FACTOR = '("the factor 2 forgotten", *_draw("mu - log_scale.exp() * side * (1 - (u - 0.5).abs()).log()", 0, 0)),'
_FACTOR_SAID = """\
"the factor 2 forgotten": "A factor 2 is missing inside your logarithm: solve u = F(z) once more, with the "
        "factor 1/2 that F has.","""
_OTHER = '("a logistic distribution", *_draw("mu + log_scale.exp() * (u / (1 - u)).log()", 0, 0)),'
_OTHER_SAID = """\
"a logistic distribution": "Your function inverts the distribution function of a logistic distribution; the "
        "one of a Laplace distribution is asked for.","""
_ONE_SIDE = """\
The Laplace "
        "distribution has two sides, and F has a case for each."""
_LAPLACE_WRONG = """("a Laplace distribution", *_draw(
            "mu - log_scale.exp() * torch.sign(u - 0.5) * torch.log1p(-2 * (u - 0.5).abs())", 0, 0)),"""

LOGISTIC: dict[str, Pairs] = {
    "source": [
        (
            _LAPLACE,
            r"""Let $q(z \mid x)$ be a **logistic distribution** in each latent dimension, which has more probability far from its
# centre than a normal distribution of the same variance. With the location $\mu$ and the scale $b > 0$ its density and
# its distribution function are
#
# $$
# q(z) = \frac{1}{b}\, \frac{e^{-(z - \mu)/b}}{\bigl(1 + e^{-(z - \mu)/b}\bigr)^2}, \qquad
# F(z) = \frac{1}{1 + e^{-(z - \mu)/b}}.
# $$
""",
        ),
        (
            "function of $\\mu$ and $\\log b$.\n",
            "function of $\\mu$ and $\\log b$." + _NAME,
        ),
        (
            _LAPLACE_HINT,
            "reached the value $u$?\n# What is $F(\\mu)$? Your result must turn this value of $u$ into $\\mu$.\n",
        ),
        (
            _LAPLACE_HINT_2,
            r"""# Multiply $u = F(z)$ by the denominator, isolate the exponential, take the logarithm, and solve for $z$. Watch the
# sign: a larger $u$ must give a larger $z$. The scale $b$ is the exponential of `log_scale`.
# If""",
        ),
        (
            "a draw from the Laplace distribution with location mu and\n    scale b, through",
            "a draw from the logistic distribution with location\n    mu and scale b, through",
        ),
        (_LAPLACE_SOLUTION, "    return mu + log_scale.exp() * (torch.log(u) - torch.log1p(-u))\n"),
        (
            _LAPLACE_EXPECTED,
            """\
# log_scale = 0 means b = 1, and F(mu + log 3) = 1 / (1 + 1/3) = 3/4
expected = torch.tensor([[1 - math.log(3), 1.0, 1 + math.log(3)]])
""",
        ),
        (
            _LAPLACE_MEANS,
            """\
assert abs(z.mean().item()) < 0.13, (
    f"the mean of 4,000 draws with mu = 0 should be near 0, not {z.mean():.3f}"
)
# with b = 1 the mean distance from mu is 2 log 2
assert abs(z.abs().mean().item() - 2 * math.log(2)) < 0.1, (
    f"their mean distance from mu should be near 1.386, not {z.abs().mean():.3f}"
)
""",
        ),
        (
            _LAPLACE_TRUTH,
            """\
    steps = (z.double() - mu) / log_scale.exp()
    torch.testing.assert_close(steps.sigmoid(), u, **loose)
    # in the tails, where F is flat, z itself is compared
    torch.testing.assert_close(z, mu + log_scale.exp() * u.logit(), **loose)
    z = laplace_draw(mu, log_scale, u=torch.full_like(mu, 0.5))
""",
        ),
        ("    # A Laplace distribution, no other", "    # A logistic distribution, no other"),
        (
            _LAPLACE_HIDDEN,
            """\
    assert abs(z.mean().item()) < 0.13, "the mean of the draws is not 0"
    distance = z.abs().mean().item()
    assert abs(distance - 2 * math.log(2)) < 0.09, "their mean distance is wrong"
""",
        ),
        (
            "        assert abs(near - 1 + math.exp(-distance)) < 0.03, (",
            "        assert abs(near - math.tanh(distance / 2)) < 0.03, (",
        ),
    ],
    "rules": [
        ("    # A Laplace distribution, no other", "    # A logistic distribution, no other"),
        (_LAPLACE_RULE, "    if not z.mean().abs() < 0.1 or not (z.abs().mean() - 2 * math.log(2)).abs() < 0.06:\n"),
        ("not the mean distance b from it", "not the right mean distance from it"),
        (_LAPLACE_NEAR, "if not (near - math.tanh(distance / 2)).abs() < 0.03:"),
        ("near mu for a Laplace distribution", "near mu for a logistic distribution"),
    ],
    "wrong": [
        (_LAPLACE_TAIL, "1, torch.log((1 - u) / u)"),
        (_FACTOR, '("a quotient of logarithms", *_draw("mu + log_scale.exp() * u.log() / (1 - u).log()", 0, 0)),'),
        (
            _FACTOR_SAID,
            """\
"a quotient of logarithms": "You divide log(u) by log(1 - u); the logarithm of a quotient is a difference of "
        "logarithms.",""",
        ),
        (_OTHER, _LAPLACE_WRONG),
        (
            _OTHER_SAID,
            """\
"a Laplace distribution": "Your function inverts the distribution function of a Laplace distribution; the "
        "one of a logistic distribution is asked for.",""",
        ),
        ("here z has to have a Laplace ", "here z has to have a logistic "),
        (_ONE_SIDE, 'The logistic "\n        "distribution has two sides, and the logarithm of u is needed as well.'),
    ],
}

GUMBEL: dict[str, Pairs] = {
    "source": [
        (
            _LAPLACE,
            r"""Let $q(z \mid x)$ be a **Gumbel distribution** in each latent dimension, which is not symmetric: it has more
# probability far above its peak than far below it. With the location $\mu$, where the peak is, and the scale $b > 0$
# its density and its distribution function are
#
# $$
# q(z) = \frac{1}{b}\, e^{-(z - \mu)/b} \exp\bigl(-e^{-(z - \mu)/b}\bigr), \qquad
# F(z) = \exp\bigl(-e^{-(z - \mu)/b}\bigr).
# $$
""",
        ),
        (
            "function of $\\mu$ and $\\log b$.\n",
            "function of $\\mu$ and $\\log b$." + _NAME,
        ),
        (
            _LAPLACE_HINT,
            "reached the value $u$?\n# What is $F(\\mu)$? Your result must turn this value of $u$ into $\\mu$.\n",
        ),
        (
            _LAPLACE_HINT_2,
            r"""# Take the logarithm of both sides of $u = F(z)$. It is negative, so flip the sign before you take the logarithm once
# more; then solve for $z$. Watch the sign: a larger $u$ must give a larger $z$. The scale $b$ is the exponential of
# `log_scale`. If""",
        ),
        ("a draw from the Laplace distribution", "a draw from the Gumbel distribution"),
        (_LAPLACE_SOLUTION, "    return mu - log_scale.exp() * torch.log(-torch.log(u))\n"),
        (
            "    torch.tensor([0.25, 0.5, 0.75]),\n",
            "    torch.tensor([math.exp(-math.e), math.exp(-1), math.exp(-1 / math.e)]),\n",
        ),
        (
            _LAPLACE_EXPECTED,
            """\
# log_scale = 0 means b = 1; F(mu) = exp(-1), and F(mu + 1) = exp(-1/e)
expected = torch.tensor([[0.0, 1.0, 2.0]])
""",
        ),
        (
            _LAPLACE_MEANS,
            """\
# with mu = 0 and b = 1: Euler's constant, and pi / sqrt(6)
assert abs(z.mean().item() - 0.577) < 0.1, (
    f"the mean of 4,000 draws should be near 0.577, not {z.mean():.3f}"
)
assert abs(z.std().item() - 1.283) < 0.1, (
    f"their standard deviation should be near 1.283, not {z.std():.3f}"
)
""",
        ),
        (
            _LAPLACE_TRUTH,
            """\
    steps = (z.double() - mu) / log_scale.exp()
    torch.testing.assert_close((-(-steps).exp()).exp(), u, **loose)
    # in the tails, where F is flat, z itself is compared
    right = mu - log_scale.exp() * (-u.log()).log()
    torch.testing.assert_close(z, right, **loose)
    z = laplace_draw(mu, log_scale, u=torch.full_like(mu, math.exp(-1)))
""",
        ),
        ("    # A Laplace distribution, no other", "    # A Gumbel distribution, no other"),
        (
            _LAPLACE_HIDDEN,
            """\
    assert abs(z.mean().item() - 0.5772) < 0.1, "the mean of the draws is wrong"
    assert abs(z.std().item() - 1.2825) < 0.1, "their standard deviation is wrong"
""",
        ),
        (
            "        assert abs(near - 1 + math.exp(-distance)) < 0.03, (",
            """\
        within = math.exp(-math.exp(-distance)) - math.exp(-math.exp(distance))
        assert abs(near - within) < 0.03, (""",
        ),
    ],
    "rules": [
        ("    # A Laplace distribution, no other", "    # A Gumbel distribution, no other"),
        (_LAPLACE_RULE, "    if not (z.mean() - 0.5772).abs() < 0.08 or not (z.std() - 1.2825).abs() < 0.08:\n"),
        (
            "The draws do not have the mean mu, or not the mean distance b from it.",
            "The draws do not have the mean of a Gumbel distribution, or not its standard deviation.",
        ),
        (
            _LAPLACE_NEAR,
            """\
within = math.exp(-math.exp(-distance)) - math.exp(-math.exp(distance))
        if not (near - within).abs() < 0.03:""",
        ),
        ("near mu for a Laplace distribution", "near mu for a Gumbel distribution"),
    ],
    "wrong": [
        (_LAPLACE_TAIL, "1, torch.log(-torch.log(u))"),
        (
            '*_draw("mu + log_scale.exp() * side * tail", 0, 2)',
            '*_draw("mu - log_scale.exp() * torch.log(-torch.log1p(-u))", 0, 2)',
        ),
        ("Your z lies on the wrong side of mu: F grows", "Your z falls when u grows: F grows"),
        (_FACTOR, '("one logarithm only", *_draw("mu - log_scale.exp() * u.log()", 0, 0)),'),
        (
            _FACTOR_SAID,
            """\
"one logarithm only": "You take one logarithm; solve u = F(z) once more: F has two exponentials, one in the "
        "other.",""",
        ),
        (
            'the "\n        "one of a Laplace distribution is asked',
            'the "\n        "one of a Gumbel distribution is asked',
        ),
        ("here z has to have a Laplace ", "here z has to have a Gumbel "),
        (_ONE_SIDE, 'The Gumbel "\n        "distribution has two sides, and takes two logarithms.'),
    ],
}

# --- question 2: in which form the prior's spread is given ------------------------------------------------------------

_PRIOR_SAID = "For $m = 0$ and $s = 1$ you must get the chapter's formula.\n"
_PRIOR_DOC = "the prior's m and log(s^2), the same for all examples."
_PRIOR_SOLUTION = """\
    ratio = (log_var.exp() + squared_distance) / prior_log_var.exp()
    return 0.5 * (ratio + prior_log_var - log_var - 1).sum(dim=1)
"""
_PRIOR_TRUTH = "        p = Normal(torch.tensor(prior_mu), torch.tensor(0.5 * prior_log_var).exp())\n"
_PRIOR_STAND_IN = """\
    ratio = (log_var - prior_log_var).exp()
    distance = (mu - prior_mu) ** 2 / prior_log_var.exp()
"""
_PRIOR_WRONG = '        ("the chapter\'s formula", *_kl('
_PRIOR_WRONG_SAID = '        "the chapter\'s formula": "This is the'


def _prior(
    name: str, spread: str, short: str, said: str, hint: str, doc: str, half: str, code: tuple[str, ...]
) -> dict[str, Pairs]:
    """Return the option in which `name` is given, which is `spread` ("the logarithm of …")."""
    ratio, plus, variance = code
    return {
        "source": [
            (_PRIOR_SAID, _PRIOR_SAID + said),
            ("a variance is the exponential of `log_var`\n# or `prior_log_var`. The", hint),
            ("its mean, and the *logarithm* of its variance.", f"its mean, and\n# {spread}."),
            (_PRIOR_DOC, doc),
            (_PRIOR_SOLUTION, f"    ratio = {ratio}\n    return 0.5 * (ratio {plus} - log_var - 1).sum(dim=1)\n"),
            (_PRIOR_TRUTH, f"        s = torch.tensor({half}).exp()\n        p = Normal(torch.tensor(prior_mu), s)\n"),
            (
                _PRIOR_STAND_IN,
                f"    prior_var = {variance}\n"
                "    ratio = log_var.exp() / prior_var\n    distance = (mu - prior_mu) ** 2 / prior_var\n",
            ),
            ('f"log s^2 {prior_log_var}: "', f'f"{short} {{prior_log_var}}: "'),
            ("prior_log_var", name),
        ],
        "asks": [("log_s2", name)],
        "rules": [
            ("(prior_mu, prior_log_var))\n", f"(prior_mu, ({variance}).log()))\n"),
            ("prior_log_var", name),
        ],
        "wrong": [
            (
                "prior_var, distance = log_var.exp(), prior_log_var.exp(),",
                f"prior_var, distance = log_var.exp(), {variance},",
            ),
            ("    log_ratio = prior_log_var - log_var\n", "    log_ratio = prior_var.log() - log_var\n"),
            ("(log_var + distance) / prior_log_var + log_ratio", "(log_var + distance) / prior_var.log() + log_ratio"),
            (
                "def kl_to_prior(mu, log_var, prior_mu, prior_log_var):\n    var,",
                f"def kl_to_prior(mu, log_var, prior_mu, {name}):\n    var,",
            ),
            (
                _PRIOR_WRONG,
                f"""\
        (
            "the logarithm of the prior's variance",
            *_kl("0.5 * ((var + distance) / {name}.exp() + {name} - log_var - 1).sum(1)", 2, 0),
        ),
"""
                + _PRIOR_WRONG,
            ),
            (
                _PRIOR_WRONG_SAID,
                f"""\
        "the logarithm of the prior's variance": "You take {name} for the logarithm of the prior's variance; "
        "the docstring says which logarithm it is.",
"""
                + _PRIOR_WRONG_SAID,
            ),
        ],
    }


LOG_S = _prior(
    "prior_log_s",
    "the *logarithm* of its standard deviation",
    "log s",
    r"""#
# Note what your function is given: of $q$ the log-variance $\log \sigma^2$, but of the prior the logarithm of its
# *standard deviation*, $\log s$.
""",
    "$\\sigma^2$ is the exponential of `log_var`,\n# and $s$ that of `prior_log_s`.\n# The",
    "the prior's m and log(s), the same for all examples.",
    "prior_log_var",
    (
        "(log_var.exp() + squared_distance) / (2 * prior_log_s).exp()",
        "+ 2 * prior_log_s",
        "(2 * prior_log_s).exp()",
    ),
)

LOG_PRECISION = _prior(
    "log_precision",
    "the *logarithm* of its precision $1 / s^2$",
    "log 1/s^2",
    r"""#
# Note what your function is given: of $q$ the log-variance $\log \sigma^2$, but of the prior the logarithm of its
# *precision*, which is the inverse of the variance: $\log (1 / s^2)$.
""",
    "$\\sigma^2$ is the exponential of `log_var`,\n# and $1 / s^2$ that of `log_precision`.\n# The",
    "the prior's m and log(1 / s^2), the same for all examples.",
    "-0.5 * prior_log_var",
    (
        "(log_var.exp() + squared_distance) * log_precision.exp()",
        "- log_precision",
        "(-log_precision).exp()",
    ),
)

# --- question 3: the decoder ------------------------------------------------------------------------------------------

LAPLACE_DECODER: dict[str, Pairs] = {
    "source": [
        (
            r"""are often given a **normal decoder** instead: the network's answer
# $\hat x_p$ is the mean of the pixel, and all pixels have one standard deviation $s$, which is known:
#
# $$p(x_p \mid z) = N(x_p;\, \hat x_p,\, s^2).$$
#
# Question 2 shows the logarithm of such a density. Keep its constants: they""",
            r"""can be given a **Laplace decoder** instead, which charges less for
# a few large errors than a normal one. The network's answer $\hat x_p$ is the location of the pixel's distribution, and
# all pixels have one scale $s > 0$, which is known:
#
# $$p(x_p \mid z) = \frac{1}{2s}\, e^{-|x_p - \hat x_p| / s}.$$
#
# Take the logarithm of this density. Keep its constants: they""",
        ),
        (
            """\
# Start from $\\log p(z)$ in question 2, and decide what takes the place of $z$ and of $m$: this gives the logarithm for
# one pixel. Then ask""",
            """\
# Write down the logarithm of the density for one pixel. Which part of it depends on the picture, and which is a
# constant? Then ask""",
        ),
        (
            r"""# The bracket of question 2 holds three terms, one with $2\pi$, one with $\log s^2 = 2 \log s$, and the squared error
# over $s^2$; the factor before the bracket belongs to all three. `s` is a float""",
            r"""# The logarithm has two terms, and both are subtracted: $\log 2s$, and the absolute error over $s$.
# `s` is a float""",
        ),
        ("Return the ELBO with a normal decoder in nats", "Return the ELBO with a Laplace decoder in nats"),
        ("the decoder's means.\n", "its locations.\n"),
        ("the standard deviation of every pixel. kl:", "the scale of every pixel. kl:"),
        (
            """\
    log_density = -0.5 * ((x - decoded) / s) ** 2 - math.log(s)
    log_density = log_density - 0.5 * math.log(2 * math.pi)
""",
            "    log_density = -(x - decoded).abs() / s - math.log(2 * s)\n",
        ),
        ("assert abs(float(bound) + 0.9189) < 1e-4, (", "assert abs(float(bound) + 0.6931) < 1e-4, ("),
        (
            'f"at its mean N(x; x, 1) has the log-density -log(2 pi) / 2, not {bound:.4f}"',
            'f"at its centre, for s = 1, the log-density is -log 2, not {bound:.4f}"',
        ),
        ("in ((0.0, 0.0), (1.0, 0.2), ", "in ((0.0, 0.4), (1.0, 0.2), "),
        ("torch.distributions.Normal(mean, s).log_prob(x)", "torch.distributions.Laplace(mean, s).log_prob(x)"),
        ("            slope = (pixel - mean) / s**2\n", "            slope = math.copysign(1 / s, pixel - mean)\n"),
    ],
    "wrong": [
        (
            '("2 pi forgotten", *_elbo(0, 2, "-0.5 * ((x - decoded) / s) ** 2 - math.log(s)")),',
            '("2 forgotten", *_elbo(0, 2, "-(x - decoded).abs() / s - math.log(s)")),',
        ),
        (
            '*_elbo(0, 2, "-0.5 * ((x - decoded) / s) ** 2 - 0.5 * math.log(2 * math.pi)")',
            '*_elbo(0, 2, "-(x - decoded).abs() / s - math.log(2)")',
        ),
        (
            '("s for its square", *_elbo(0, 2, _LOG_DENSITY.replace("((x - decoded) / s) ** 2", "(x - decoded) ** 2 / s"))),',
            """\
("the square of s", *_elbo(0, 2, _LOG_DENSITY.replace("abs() / s", "abs() / s**2"))),
        ("a normal decoder", *_elbo(0, 2, "torch.distributions.Normal(decoded, s).log_prob(x)")),""",
        ),
        (
            '("half forgotten", *_elbo(0, 2, _LOG_DENSITY.replace("-0.5 * ((x", "-((x"))),',
            '("half too many", *_elbo(0, 2, _LOG_DENSITY.replace("-(x", "-0.5 * (x"))),',
        ),
        (
            '"-0.5 * ((x - decoded) / s) ** 2 - math.log(s) - 0.5 * math.log(2 * math.pi)"',
            '"-(x - decoded).abs() / s - math.log(s) - math.log(2)"',
        ),
        (
            'here every pixel is normal, with the "\n        "mean decoded and the standard deviation s.',
            'here every pixel has a Laplace "\n        "distribution, with the location decoded and the scale s.',
        ),
        (
            '"2 pi forgotten": "The constant with 2 pi is missing in the log-density.",\n        "log s',
            '"2 forgotten": "The constant log 2 is missing in the log-density.",\n        "log s',
        ),
        (
            '"s for its square": "You divide the squared error by s; it has to be the variance, s squared.",',
            """\
"the square of s": "You divide the error by s squared; it has to be s.",
        "a normal decoder": "This is a normal decoder; a Laplace decoder is asked for.",""",
        ),
        (
            '"half forgotten": "The factor 1/2 of the squared error is missing.",',
            '"half too many": "You count half of the absolute error; the whole is asked for.",',
        ),
        (
            "This is the squared error alone; the log-density scales it and has further terms.",
            "This is the squared error; a Laplace density has the absolute error, scaled, and a constant.",
        ),
    ],
}

# --- question 4: the unit of information ------------------------------------------------------------------------------

BITS: dict[str, Pairs] = {
    "source": [
        ("is measured in **nats**. The encoder\n", "is measured in\n# **nats**, except in question 4. The encoder\n"),
        (
            "by $I(x; z) \\le \\log n$. Here you measure them. For",
            "by $I(x; z) \\le \\log n$. Here you measure them, in **bits** instead of nats: one\n"
            "# bit is $\\log 2 \\approx 0.69$ nats, so both functions return logarithms to the base 2.\n# For",
        ),
        ("become on this scale?\n", "become on this scale? Last, turn nats into bits.\n"),
        (
            "Return log q(z) in nats at each of the points z, where q(z) is the mean of\n    the n densities",
            "Return log2 q(z), in bits, at each of the points z, where q(z) is the mean of\n    the n densities",
        ),
        (
            "    return torch.logsumexp(log_q, dim=1) - math.log(len(mu))\n",
            "    nats = torch.logsumexp(log_q, dim=1) - math.log(len(mu))\n    return nats / math.log(2)\n",
        ),
        ("right = torch.full((3,), -math.log(2 * math.pi))", "right = torch.full((3,), -math.log2(2 * math.pi))"),
        (
            '        assert found.shape == (5,), f"five points, shape {tuple(found.shape)}"\n',
            '        assert found.shape == (5,), f"five points, shape {tuple(found.shape)}"\n'
            "        expected = expected / math.log(2)\n",
        ),
        ("latent dimensions: log q is {right", "latent dimensions: log2 is {right"),
        (
            "        expected = single.logsumexp(dim=0) - math.log(4)\n",
            "        nats = (single * math.log(2)).logsumexp(dim=0)\n        expected = nats / math.log(2) - 2\n",
        ),
        (
            "Bring both logarithms into the same shape\n# before you subtract",
            "Bring both logarithms into the same shape\n# and the same unit before you subtract",
        ),
        ("Return the estimate of I(x; z) in nats, the", "Return the estimate of I(x; z) in bits, the"),
        ("draws of log q(z|x_i) - log q(z).\n", "draws of log2 q(z|x_i) - log2 q(z).\n"),
        (
            "    return (log_q.flatten() - log_aggregate(z.flatten(0, 1), mu, log_var)).mean()\n",
            "    log_q = log_q.flatten() / math.log(2)\n"
            "    return (log_q - log_aggregate(z.flatten(0, 1), mu, log_var)).mean()\n",
        ),
        (
            "    return (-0.5 * terms.sum(dim=2)).logsumexp(dim=1) - math.log(mu.shape[0])\n",
            "    nats = (-0.5 * terms.sum(dim=2)).logsumexp(dim=1) - math.log(mu.shape[0])\n"
            "    return nats / math.log(2)\n",
        ),
        (
            "        expected = (own - log_q.logsumexp(dim=2) + math.log(n)).mean().item()\n",
            "        nats = (own - log_q.logsumexp(dim=2) + math.log(n)).mean().item()\n"
            "        expected = nats / math.log(2)\n",
        ),
        ('f"{expected:.4f} nats, not {float(found):.4f}"', 'f"{expected:.4f} bits, not {float(found):.4f}"'),
        ("assert abs(float(found) - math.log(4)) < 1e-4, (", "assert abs(float(found) - 2) < 1e-4, ("),
        ("which of 4 pictures: log 4 nats, not", "which of 4 pictures: 2 bits, not"),
        (
            'print(f"at most log 8 = {math.log(8):.2f} nats of information")',
            'print(f"at most log2(8) = {math.log2(8):.2f} bits of information")',
        ),
        (
            "torch.zeros(2), torch.zeros(2)).mean()\n    known",
            "torch.zeros(2), torch.zeros(2)).mean()\n    kl = kl / math.log(2)  # from nats to bits\n    known",
        ),
    ],
    "rules": [
        (
            "alone.logsumexp(dim=0) - math.log(4), rtol",
            "(alone * math.log(2)).logsumexp(dim=0) / math.log(2) - 2, rtol",
        ),
        (
            "    return q.log_prob(z[:, None]).logsumexp(1) - math.log(len(mu))\n",
            "    return (q.log_prob(z[:, None]).logsumexp(1) - math.log(len(mu))) / math.log(2)\n",
        ),
    ],
    "wrong": [
        ("log_q = {log_q}\\n    return {result}", "log_q = {log_q}\\n    return ({result}) / math.log(2)"),
        (
            '    return {result}"""\n    return code, {"information-value"',
            '    return ({result}) / math.log(2)"""\n    return code, {"information-value"',
        ),
        (
            '("bits", *_information(0, result="(own - all_).mean() / math.log(2)"))',
            '("nats", *_information(0, result="(own - all_).mean() * math.log(2)"))',
        ),
        (
            "(own - log_aggregate(z.flatten(0, 1), mu, log_var).view(own.shape)).mean()",
            "(own - math.log(2) * log_aggregate(z.flatten(0, 1), mu, log_var).view(own.shape)).mean()",
        ),
        (
            '        ("mean of the logarithms", *_aggregate(',
            """\
        ("nats", *_aggregate(0, 0, result="math.log(2) * (torch.logsumexp(log_q, dim=1) - math.log(len(mu)))")),
        ("mean of the logarithms", *_aggregate(""",
        ),
        ('"bits": "Your estimate is in bits; nats are', '"nats": "Your estimate is in nats; bits are'),
        (
            '        "mean of the logarithms": "This is the mean of the logarithms; the logarithm of the mean density',
            """\
        "nats": "Your logarithms are in nats; bits are asked for.",
        "mean of the logarithms": "This is the mean of the logarithms; the logarithm of the mean density""",
        ),
    ],
}

# --- question 5: the axes of the weights ------------------------------------------------------------------------------


def _axes(codes: int) -> dict[str, Pairs]:
    """Return the option in which the codes are at this axis, 1 or 2, and the pictures at the first."""
    shape = ("batch, k, classes", "batch, classes, k")[codes - 1]
    sizes = ("4, k, classes", "4, classes, k")[codes - 1]
    single = ("log_prior", "log_prior[:, None]")[codes - 1]
    return {
        "source": [
            (
                "(k, batch, classes), the logarithms of the importance weights of k codes,\n"
                "    for every picture and every class that it might have.",
                f"({shape}), the logarithms of the importance weights of k codes,\n"
                "    for every picture and every class that it might have.",
            ),
            (
                "    log_px_given_y = torch.logsumexp(log_w, dim=0) - math.log(len(log_w))\n",
                f"    k = log_w.shape[{codes}]\n"
                f"    log_px_given_y = torch.logsumexp(log_w, dim={codes}) - math.log(k)\n",
            ),
            (".log()[:, None].expand(2, 3, 2)", ".log()[None].expand(3, 2, 2)"),
            ("            k, 4, classes, generator", f"            {sizes}, generator"),
            ("log_w.exp().mean(dim=0)", f"log_w.exp().mean(dim={codes})"),
            ("read_class(log_w + level[:, None], prior", "read_class(log_w + level[:, None, None], prior"),
        ],
        "asks": [
            ("_normal(draw, k, 4, classes)", f"_normal(draw, {sizes})"),
            ("(log_w + level[:, None],", "(log_w + level[:, None, None],"),
        ],
        "wrong": [
            (
                '"torch.logsumexp(log_w, dim=0) - math.log(len(log_w))"',
                f'"torch.logsumexp(log_w, dim={codes}) - math.log(log_w.shape[{codes}])"',
            ),
            ('given_y="log_w.mean(0)"', f'given_y="log_w.mean({codes})"'),
            ('given_y="torch.logsumexp(log_w, dim=0)"', f'given_y="torch.logsumexp(log_w, dim={codes})"'),
            ('given_y="log_w.exp().mean(0).log()"', f'given_y="log_w.exp().mean({codes}).log()"'),
            ('given_y="log_w.amax(0)"', f'given_y="log_w.amax({codes})"'),
            (
                '"(log_w + log_prior).softmax(2).mean(0).log()"',
                f'"(log_w + {single}).softmax({3 - codes}).mean({codes}).log()"',
            ),
        ],
    }


# --- question 6: the mistakes, and the weight of the KL term ----------------------------------------------------------

_TRUE, _OTHERS = "ADEGI", "BCFHJ"
# The first four and the fifth of the true statements, and some of the others, in the known wrong answers.
_LETTERS: Pairs = [
    ("'\"BCFHA\"'", "'\"ADEGB\"'"),
    ("'\"BCFAD\"'", "'\"ADEBC\"'"),
    ("'\"ABCFHJ\"'", "'\"ABDEGI\"'"),
    ("'\"BBCFH\"'", "'\"AADEG\"'"),
    ('["B", "C", "F", "H"]', '["A", "D", "E", "G"]'),
    ('["B", "C", "F", "H", "J"]', '["A", "D", "E", "G", "I"]'),
    ('("the other five", *_mistakes(\'"ADEGI"\'', '("the other five", *_mistakes(\'"BCFHJ"\''),
]

MISTAKES: dict[str, Pairs] = {
    "source": [
        (
            """\
    mu, _ = model.encode(x)
    reconstruction = torch.sigmoid(model.decode(mu))
    loss = F.binary_cross_entropy_with_logits(x, reconstruction)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()
""",
            """\
    mu, log_var = model.encode(x)
    reconstruction = torch.sigmoid(model.decode(mu + log_var.exp() * eps))
    cross_entropy = F.binary_cross_entropy_with_logits(reconstruction, x)
    kl = 0.5 * (mu**2 + log_var.exp() - log_var - 1).mean(dim=1)
    loss = cross_entropy + kl.mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss
""",
        ),
        (
            "The loss has fallen, and the model has learnt to light every pixel.\n",
            "The loss has fallen, and the model cannot tell the lit pixels from the dark ones.\n",
        ),
        (
            r"""# - **A** The decoder is given too few numbers: it needs $\mu$ and $\log\sigma^2$.
# - **B** The codes are not drawn: the encoder's mean is decoded, and `eps` is never used.
# - **C** What is reconstructed has been through a sigmoid, but the function that computes the cross-entropy takes logits.
# - **D** The gradients are cleared before they have been used.
# - **E** The cross-entropy has the wrong sign, so that a better reconstruction has a larger loss.
# - **F** The cross-entropy is averaged over the pixels, not summed.
# - **G** The optimiser changes the decoder alone.
# - **H** The reconstruction and the picture have changed places in the cross-entropy.
# - **I** The loss that is returned still has its graph, which fills the memory.
# - **J** The codes cost nothing: there is no KL term.
""",
            r"""# - **A** The noise is scaled by the variance, where the standard deviation belongs.
# - **B** The reconstruction and the picture have changed places in the cross-entropy.
# - **C** The codes are not drawn: the encoder's mean is decoded, and `eps` is never used.
# - **D** The KL term is averaged over the latent dimensions, not summed.
# - **E** What is reconstructed has been through a sigmoid, but the function that computes the cross-entropy takes logits.
# - **F** The KL term has the wrong sign, so that a code further from the prior has a smaller loss.
# - **G** The cross-entropy is averaged over the pixels, not summed.
# - **H** The gradients of the step before are still there when those of this step are added.
# - **I** The loss that is returned still has its graph, which fills the memory.
# - **J** The optimiser changes the decoder alone.
""",
        ),
        (
            """\
# what it returns by default; for its sign, compute it for one pixel with a good and with a bad answer.
""",
            """\
# what it returns by default; for the sign of the KL term, compute it for one code near the prior and one far from it.
""",
        ),
        (f'"{_OTHERS}"', f'"{_TRUE}"'),
    ],
    "wrong": [
        *_LETTERS,
        (
            """_bug((0, 0, 0), z="mu", cross_entropy=f"{_BCE}(x, logits.sigmoid())", kl="0 * mu")""",
            """_bug(
            (0, 0, 0),
            z="mu + log_var.exp() * eps",
            cross_entropy=f"{_BCE}(logits.sigmoid(), x)",
            kl="0.5 * (mu**2 + log_var.exp() - log_var - 1).mean(1)",
        )""",
        ),
    ],
}


def _beta(number: str, word: str, value: float, rest: str, rate: str) -> dict[str, Pairs]:
    """Return the option in which the KL term counts `word`, `value` times."""
    return {
        "source": [
            (
                """\
Its loss is the negative ELBO of the chapter, in nats: the cross-entropy of a
# Bernoulli decoder with the logits that the model gives, summed over the pixels, plus the KL term of question 2 for the
# prior $N(0, I)$, averaged over the batch. The codes""",
                f"""\
It is to train a **$\\beta$-VAE**, in whose loss a number $\\beta$
# multiplies the KL term; here $\\beta = {number}$. So the loss, in nats, is the cross-entropy of a Bernoulli decoder
# with the logits that the model gives, summed over the pixels, plus *{word}* the KL term of question 2 for the prior
# $N(0, I)$, averaged over the batch. The codes""",
            ),
            (
                "Make one training step on the negative ELBO; return the loss before the step.",
                "Make one training step of a beta-VAE; return the loss before the step.",
            ),
            (
                "    mean over the batch of -ELBO(x).\n",
                f"    mean over the batch of the cross-entropy plus {word} the KL term.\n",
            ),
            (
                "    loss = cross_entropy / len(x) + kl.mean()\n",
                f"    loss = cross_entropy / len(x) + {value:g} * kl.mean()\n",
            ),
            ("expected = float(0.5 * (mus**2 +", f"expected = float({value / 2:g} * (mus**2 +"),
            (
                "[mus.mean(dim=0), 0.5 * (log_vars.exp() - 1).mean(dim=0)]\n        )\n",
                f"[mus.mean(dim=0), 0.5 * (log_vars.exp() - 1).mean(dim=0)]\n        ) * {value:g}\n",
            ),
            (
                """\
assert abs(float(difference) - 1) < 1e-4, (
    f"two dimensions with mean 1 cost 1 nat together, not {difference:.3f}\"""",
                f"""\
assert abs(float(difference) - {value:g}) < 1e-4, (
    f"two dimensions with mean 1 cost {value:g} times 1 nat, not {{difference:.3f}}\"""",
            ),
            (
                """\
# Now train with the repaired step. A negative ELBO can't fall to zero here: there are four different pictures, and
# telling which one it is takes $\\log 4 \\approx 1.39$ nats.
""",
                f"""\
# Now train with the repaired step. Even with perfect reconstructions the loss can't fall to zero here: there are four
# different pictures, and telling which one it is takes $\\log 4$ nats of the KL term, which the loss counts
# {rest} nats.
""",
            ),
            ("demonstrate(training_step, learning_rate=0.1)", f"demonstrate(training_step, learning_rate={rate})"),
        ],
        "wrong": [
            ('loss: str = "cross_entropy + kl.mean()"', f'loss: str = "cross_entropy + {value:g} * kl.mean()"'),
            (
                '("KL subtracted", *_bug((1, 0, 1), loss="cross_entropy - kl.mean()")),',
                f"""\
("KL subtracted", *_bug((1, 0, 1), loss="cross_entropy - {value:g} * kl.mean()")),
        ("beta forgotten", *_bug((1, 0, 1), loss="cross_entropy + kl.mean()")),""",
            ),
            (
                '        "KL subtracted": "You subtract the KL',
                f"""\
        "beta forgotten": "You add the KL term as it is; here {word} the KL term is added.",
        "KL subtracted": "You subtract the KL""",
            ),
        ],
    }


VARIANTS: dict[str, dict[str, dict[str, Pairs]]] = {
    "distribution of the code": {"Laplace": {}, "logistic": LOGISTIC, "Gumbel": GUMBEL},
    "spread of the prior": {"log-variance": {}, "log standard deviation": LOG_S, "log-precision": LOG_PRECISION},
    "decoder": {"normal": {}, "Laplace decoder": LAPLACE_DECODER},
    "unit of question 4": {"nats": {}, "bits": BITS},
    "axes of the weights": {"codes first": {}, "codes second": _axes(1), "codes last": _axes(2)},
    "mistakes": {"no draw, no KL term": {}, "variance for sigma": MISTAKES},
    "weight of the KL term": {
        "one": {},
        "two": _beta("2", "twice", 2.0, r"twice: $2 \log 4 \approx 2.77$", "0.05"),
        "half": _beta(r"\tfrac12", "half", 0.5, r"half: $\tfrac12 \log 4 \approx 0.69$", "0.1"),
    },
}
