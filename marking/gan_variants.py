"""What may differ between students' papers of the GAN assignment: see aigc_course/grading/release.py."""

# --- question 1: how the network's output v makes T -------------------------------------------------------------------

TWICE = {
    "source": [
        ("$T = 1 - e^{-v}$. Differentiate $f$,\n# set", "$T = 1 - e^{-v}$. Differentiate\n# $f$, set"),
        ("1 - e^{-v}", "1 - e^{-2v}"),
        (
            "$v = 20$ the computer rounds $T$ to exactly 1\n# in",
            "$v = 10$ the computer rounds $T$\n# to exactly 1\n# in",
        ),
        ("between -20 and 20", "between -10 and 10"),
        ("with t = 1 - exp(-v) that is exp(v) - 1", "with t = 1 - exp(-2v) that is exp(2v) - 1"),
        (
            "return torch.expm1(-real).mean() + torch.expm1(fake).mean()",
            "return torch.expm1(-2 * real).mean() + torch.expm1(2 * fake).mean()",
        ),
        ("log2 = torch.full((1,), math.log(2))", "v = torch.full((1,), math.log(2) / 2)"),
        ("hellinger_discriminator_loss(log2, -log2)", "hellinger_discriminator_loss(v, -v)"),
        ("torch.full((1,), 20.0)", "torch.full((1,), 10.0)"),
        ("([-20.0, 20.0], [20.0, -20.0, 1.0])", "([-10.0, 10.0], [10.0, -10.0, 1.0])"),
        ("mean = sum(1 - math.exp(-v) for v in reals)", "mean = sum(1 - math.exp(-2 * v) for v in reals)"),
        ("expected = sum(math.exp(v) - 1 for v in fakes)", "expected = sum(math.exp(2 * v) - 1 for v in fakes)"),
        ("slopes = [-math.exp(-v) /", "slopes = [-2 * math.exp(-2 * v) /"),
        ("slopes += [math.exp(v) /", "slopes += [2 * math.exp(2 * v) /"),
        (
            "return -torch.expm1(fake).mean(), torch.expm1(-fake).mean()",
            "return -torch.expm1(2 * fake).mean(), torch.expm1(-2 * fake).mean()",
        ),
        ("log2 = torch.full((5,), math.log(2))", "v = torch.full((5,), math.log(2) / 2)"),
        ("hellinger_generator_losses(log2)", "hellinger_generator_losses(v)"),
        ("[20.0, -20.0, 1.0], [-0.2, -5.0]):", "[10.0, -10.0, 1.0], [-0.2, -5.0]):"),
        ("sum(1 - math.exp(v) for v in fakes) / count", "sum(1 - math.exp(2 * v) for v in fakes) / count"),
        ("sum(math.exp(-v) - 1 for v in fakes) / count", "sum(math.exp(-2 * v) - 1 for v in fakes) / count"),
        ("[-math.exp(v) / count for", "[-2 * math.exp(2 * v) / count for"),
        ("[-math.exp(-v) / count for", "[-2 * math.exp(-2 * v) / count for"),
        ("so exp(-v) = sqrt(q / p)", "so exp(-2v) = sqrt(q / p)"),
        ("return 0.5 * (log_p - log_q)", "return 0.25 * (log_p - log_q)"),
        (
            "return (p * (1 - torch.exp(-v)) - q * torch.expm1(v)).sum()",
            "T = 1 - torch.exp(-2 * v)\n            return (p * T - q * torch.expm1(2 * v)).sum()",
        ),
        ("- (first - second) / 2)", "- (first - second) / 4)"),
    ],
    "asks": [("sign * _between(draw, 18, 20)", "sign * _between(draw, 9, 10)")],
    "wrong": [
        ("[-real, fake]", "[-2 * real, 2 * fake]"),
        ("expm1(-real)", "expm1(-2 * real)"),
        ("expm1(fake)", "expm1(2 * fake)"),
        ("expm1(-fake)", "expm1(-2 * fake)"),
        ("expm1(real)", "expm1(2 * real)"),
        ("fake.exp()", "(2 * fake).exp()"),
        ("(-fake).exp()", "(-2 * fake).exp()"),
        ("(-real).exp()", "(-2 * real).exp()"),
        (
            '        ("the ratio\'s logarithm, as in the chapter\'s game", *_best("log_p - log_q")),\n',
            '        ("the ratio\'s logarithm, as in the chapter\'s game", *_best("log_p - log_q")),\n'
            '        ("for exp(-v)", *_best("0.5 * (log_p - log_q)")),\n',
        ),
        (
            '        "T for v": "This is the best T.',
            '        "for exp(-v)": "This is twice the best output: exp(−2v), not exp(−v), is the root of q/p.",\n'
            '        "T for v": "This is the best T.',
        ),
        ('*_best("0.5 * (log_q - log_p)")', '*_best("0.25 * (log_q - log_p)")'),
        ('*_best("0.5 * (log_p.exp() / log_q.exp()).log()")', '*_best("0.25 * (log_p.exp() / log_q.exp()).log()")'),
        ("1 − exp(−v)", "1 − exp(−2v)"),
    ],
}

HALF = {
    "source": [
        (r"f(u) = \bigl(\sqrt u - 1\bigr)^2 ,", r"f(u) = \tfrac12 \bigl(\sqrt u - 1\bigr)^2 ,"),
        (
            r"# whose divergence $\int \bigl(\sqrt{p(x)} - \sqrt{q(x)}\bigr)^2 dx$ is, up to a factor, the squared "
            "**Hellinger distance**. Derive its\n# conjugate on paper. (You",
            r"# whose divergence $\tfrac12 \int \bigl(\sqrt{p(x)} - \sqrt{q(x)}\bigr)^2 dx$ is the squared "
            "**Hellinger distance**.\n# Derive its conjugate on paper.\n# (You",
        ),
        (
            r"$f^*(\tfrac12) = 1$ and $f^*(-1) = -\tfrac12$, and no finite value for"
            "\n"
            r"# $t \ge 1$.) So $T$ must stay below 1. Let",
            r"$f^*(\tfrac14) = \tfrac12$ and $f^*(-\tfrac12) = -\tfrac14$,"
            "\n"
            r"# and no finite value for $t \ge \tfrac12$.) So $T$ must stay below $\tfrac12$."
            "\n# Let",
        ),
        ("$$T = 1 - e^{-v} .$$", r"$$T = \tfrac12 - e^{-v} .$$"),
        (
            "for $v = 20$ the computer rounds $T$ to exactly 1\n# in single precision, and $1 - T$ to 0. Each",
            "for $v = 20$ the computer rounds $T$\n# to exactly $\\tfrac12$ in single precision, and $1 - 2T$ "
            "to 0.\n# Each",
        ),
        (
            r"becomes $s^2 t - (s - 1)^2$, a parabola in $s$ that opens downwards for $t < 1$. Find" "\n# where it is",
            r"becomes $s^2 t - \tfrac12 (s - 1)^2$, a parabola in $s$ that opens downwards for"
            "\n"
            r"# $t < \tfrac12$. Find"
            "\n# where it is",
        ),
        (
            "# $t = 1 - e^{-v}$: the denominator is a single exponential and goes away, so your code needs no "
            "division. The",
            r"# $t = \tfrac12 - e^{-v}$: the denominator is a single exponential and goes away, so your code "
            r"divides by nothing that"
            "\n# can become 0. The",
        ),
        (
            "# f*(t) = t / (1 - t), and with t = 1 - exp(-v) that is exp(v) - 1\n",
            "# f*(t) = t / (1 - 2t), with t = 1/2 - exp(-v) that is exp(v) / 4 - 1/2\n",
        ),
        (
            "return torch.expm1(-real).mean() + torch.expm1(fake).mean()",
            "return torch.exp(-real).mean() + torch.exp(fake).mean() / 4 - 1",
        ),
        (
            'assert abs(loss.item()) < 1e-6, "v = 0 makes T = 0 and f*(T) = 0 everywhere"',
            'assert abs(loss.item() - 0.25) < 1e-6, "v = 0 makes T = -1/2 and f*(T) = -1/4"',
        ),
        (
            "# T = 1/2 for the real picture, T = -1 for the generated one\nlog2 = torch.full((1,), math.log(2))\n",
            "# T = 1/4 for the real picture, T = -1/2 for the generated one\nlog4 = torch.full((1,), math.log(4))\n",
        ),
        ("hellinger_discriminator_loss(log2, -log2)", "hellinger_discriminator_loss(log4, torch.zeros(1))"),
        (
            'assert abs(loss.item() + 1) < 1e-5, f"-V is -1/2 - 1/2 here, not {loss:.4f}"',
            'assert abs(loss.item() + 0.5) < 1e-5, f"-V is -1/4 - 1/4 here, not {loss:.4f}"',
        ),
        ("mean = sum(1 - math.exp(-v) for v in reals)", "mean = sum(0.5 - math.exp(-v) for v in reals)"),
        ("expected = sum(math.exp(v) - 1 for v in fakes)", "expected = sum(math.exp(v) / 4 - 0.5 for v in fakes)"),
        ("slopes += [math.exp(v) /", "slopes += [math.exp(v) / 4 /"),
        ("then divide by $1 - T$. Each loss", "then divide by $1 - 2T$. Each loss"),
        (
            "# losses must fall when $v$ grows, and both are 0 at $v = 0$.",
            "# losses must fall when $v$ grows, and both are 0 at $v = \\log 2$.",
        ),
        (
            "return -torch.expm1(fake).mean(), torch.expm1(-fake).mean()",
            "return 0.5 - torch.exp(fake).mean() / 4, torch.exp(-fake).mean() - 0.5",
        ),
        ("log2 = torch.full((5,), math.log(2))", "log4 = torch.full((5,), math.log(4))"),
        ("hellinger_generator_losses(log2)", "hellinger_generator_losses(log4)"),
        (
            '("saturating", saturating, -1.0), ("non-saturating", non_saturating, -0.5)]',
            '("saturating", saturating, -0.5), ("non-saturating", non_saturating, -0.25)]',
        ),
        ('f"the {name} loss at T = 1/2: {loss}"', 'f"the {name} loss at T = 1/4: {loss}"'),
        ("sum(1 - math.exp(v) for v in fakes) / count", "sum(0.5 - math.exp(v) / 4 for v in fakes) / count"),
        ("sum(math.exp(-v) - 1 for v in fakes) / count", "sum(math.exp(-v) - 0.5 for v in fakes) / count"),
        ("[-math.exp(v) / count for", "[-math.exp(v) / 4 / count for"),
        (
            "and $T = 1 - e^{-v}$. Differentiate $f$,\n# set the two equal,",
            "and $T = \\tfrac12 - e^{-v}$.\n# Differentiate $f$, set the two equal,",
        ),
        (
            "# The 1 on both sides cancels. A power of $u$ is left on one side and an exponential on the "
            "other, so take the "
            "logarithm\n# of both: the power becomes a factor, and",
            r"# The $\tfrac12$ on both sides cancels. Half a power of $u$ is left on one side and an "
            r"exponential on the other, "
            "so\n# take the logarithm of both: the power becomes a factor, the half a summand, and\n#",
        ),
        ("so nothing can overflow. Mind the sign: where", "so nothing can overflow. Mind the sign:\n# where"),
        ("the slope $T^*$ is above 0, and so is $v$.", r"the slope $T^*$ is above 0, and $v$ is above $\log 2$."),
        (
            "# T* = 1 - sqrt(q / p), so exp(-v) = sqrt(q / p)",
            "# T* = (1 - sqrt(q / p)) / 2, so exp(-v) = sqrt(q / p) / 2",
        ),
        ("return 0.5 * (log_p - log_q)", "return 0.5 * (log_p - log_q) + math.log(2)"),
        (
            "right = torch.zeros(2)\n# where p = q, the tangent of f has slope 0",
            "right = torch.full((2,), math.log(2))\n# where p = q, the tangent of f has slope 0, and so T is 0",
        ),
        (
            "return (p * (1 - torch.exp(-v)) - q * torch.expm1(v)).sum()",
            "T = 0.5 - torch.exp(-v)\n            return (p * T - q * (torch.exp(v) / 4 - 0.5)).sum()",
        ),
        (
            "divergence = (p.sqrt() - q.sqrt()).square().sum().item()",
            "divergence = (p.sqrt() - q.sqrt()).square().sum().item() / 2",
        ),
        (
            "abs(found.item() - (first - second) / 2)",
            "abs(found.item() - (first - second) / 2 - math.log(2))",
        ),
    ],
    # Just below 1/2, the numbers of single precision are closer together than just below 1.
    "asks": [("sign * _between(draw, 18, 20)", "sign * _between(draw, 19, 20)")],
    "wrong": [
        (
            "torch.expm1(torch.cat([-real, fake])).mean()",
            "torch.cat([(-real).exp() - 0.5, fake.exp() / 4 - 0.5]).mean()",
        ),
        (
            "((1 - (-fake).exp()).sqrt() - 1).square().mean()",
            "((0.5 - (-fake).exp()).sqrt() - 1).square().mean() / 2",
        ),
        (
            "(1 - (-fake).exp()) / (1 - (1 - (-fake).exp()))",
            "(0.5 - (-fake).exp()) / (1 - 2 * (0.5 - (-fake).exp()))",
        ),
        ("fake / (1 - fake)", "fake / (1 - 2 * fake)"),
        ('"(-real).exp().mean() + fake.exp().mean()"', '"(-real).exp().mean() + fake.exp().mean() / 4"'),
        ('"-fake.exp().mean()", "(-fake).exp().mean()"', '"-fake.exp().mean() / 4", "(-fake).exp().mean()"'),
        ("torch.expm1(-real)", "((-real).exp() - 0.5)"),
        ("torch.expm1(-fake)", "((-fake).exp() - 0.5)"),
        ("torch.expm1(fake)", "(fake.exp() / 4 - 0.5)"),
        ("torch.expm1(real)", "(real.exp() / 4 - 0.5)"),
        ('*_best("0.5 * (log_q - log_p)")', '*_best("0.5 * (log_q - log_p) + math.log(2)")'),
        ('*_best("1 - (0.5 * (log_q - log_p)).exp()")', '*_best("0.5 - 0.5 * (0.5 * (log_q - log_p)).exp()")'),
        (
            '*_best("0.5 * (log_p.exp() / log_q.exp()).log()")',
            '*_best("0.5 * (log_p.exp() / log_q.exp()).log() + math.log(2)")',
        ),
        (
            '        ("the ratio\'s logarithm, as in the chapter\'s game", *_best("log_p - log_q")),\n',
            '        ("the ratio\'s logarithm, as in the chapter\'s game", *_best("log_p - log_q")),\n'
            '        ("log 2 forgotten", *_best("0.5 * (log_p - log_q)")),\n',
        ),
        (
            '        "T for v": "This is the best T.',
            '        "log 2 forgotten": "Your output is too small by log 2: at p = q the best T is 0, and v = '
            '0 does "\n'
            '        "not give it.",\n'
            '        "T for v": "This is the best T.',
        ),
        ("Your output has the wrong sign: p and q have", "Your output depends on q/p: p and q have"),
        ("1 − exp(−v)", "1/2 − exp(−v)"),
        ("single precision rounds 1 − T to 0", "single precision rounds 1 − 2T to 0"),
        ("at v = 0 both", "at v = log 2 both"),
    ],
}

# --- question 2: the generator's loss ---------------------------------------------------------------------------------

SATURATING = {
    "source": [
        (
            '''    """Return the non-saturating loss, -E[log D(G(z))], from logits (m,)."""
    return F.softplus(-fake_logits).mean()
''',
            '''    """Return the non-saturating loss, -E[log D(G(z))], from logits (m,)."""
    return F.softplus(-fake_logits).mean()


def saturating_loss_for_generator(fake_logits):
    """Return the saturating loss, E[log(1 - D(G(z)))], from logits (m,)."""
    return -F.softplus(fake_logits).mean()
''',
        ),
        (
            "# Now the generator's turn, with the **non-saturating** loss.\n",
            "# Now the generator's turn, with the **saturating** loss, $\\mathbb{E}[\\log(1 - D(G(z)))]$.\n",
        ),
        (
            "both players to the loss that question 2 gives, and cut nothing on the way. The argument\n# `inputs` of",
            "both players to the saturating loss that question 2 gives, and cut nothing on the\n# way. The "
            "argument `inputs`\n# of",
        ),
        (
            "gradients of the generator's non-saturating loss for the",
            "gradients of the generator's saturating loss for the",
        ),
        (
            "loss = loss_for_generator(discriminator(generator(z)))",
            "loss = saturating_loss_for_generator(discriminator(generator(z)))",
        ),
        (
            "expected = F.softplus(-discriminator(generator(z))).mean()\n"
            "        gradients = torch.autograd.grad(expected, weights)\n"
            "        loss = generator_backward",
            "expected = -F.softplus(discriminator(generator(z))).mean()\n"
            "        gradients = torch.autograd.grad(expected, weights)\n"
            "        loss = generator_backward",
        ),
        (
            "assert abs(float(loss) - math.log(2)) < 1, (\n"
            '    f"a loss of {loss:.3f}? Against an untrained discriminator it is about 0.7"',
            "assert abs(float(loss) + math.log(2)) < 1, (\n"
            '    f"a loss of {loss:.3f}? Against an untrained discriminator it is about -0.7"',
        ),
        (
            "You may call the two loss functions that question 2 gives.",
            "You may call the loss functions that question 2 gives.",
        ),
    ],
    "wrong": [
        ('loss: str = "loss_for_generator(logits)"', 'loss: str = "saturating_loss_for_generator(logits)"'),
        (
            '("the saturating loss", *_gstep(0, 1, loss="-F.softplus(logits).mean()"))',
            '("the non-saturating loss", *_gstep(0, 1, loss="F.softplus(-logits).mean()"))',
        ),
        ('*_gstep(0, 1, loss="F.softplus(-logits).sum()")', '*_gstep(0, 1, loss="-F.softplus(logits).sum()")'),
        (
            '"the saturating loss": "This is the saturating loss, E[log(1 − D(G(z)))]; the non-saturating one is',
            '"the non-saturating loss": "This is the non-saturating loss, −E[log D(G(z))]; the saturating one is',
        ),
        ("The generator's non-saturating loss is asked for.", "The generator's saturating loss is asked for."),
    ],
}

# --- question 3: the unit of the game's value -------------------------------------------------------------------------

BITS = {
    "source": [
        (
            "All logarithms are natural, so losses are measured in **nats**. A network here answers with the logit,\n"
            "# never with the probability.",
            "All logarithms are natural, so losses are measured in **nats**, except in the second half of\n"
            "# question 3. A network here answers with the logit, never with the probability.",
        ),
        (
            r"# Show on paper that $V(D^*) = 2 \operatorname{JSD}(p, q) - \log 4$. So the generator,",
            "# From here to the end of this question, $V$ and the divergence are measured in **bits**: their "
            "logarithms are to the\n"
            r"# base 2. Show on paper that then $V(D^*) = 2 \operatorname{JSD}(p, q) - 2$. So the generator,"
            "\n#",
        ),
        (r"and the lowest value, $-\log 4$, is", "and the lowest value, $-2$, is"),
        (
            "Jensen-Shannon divergence of two discrete distributions in nats;",
            "Jensen-Shannon divergence of two discrete distributions in bits;",
        ),
        (
            """    return (
        0.5 * (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum()
    )
""",
            """    nats = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
    return 0.5 * nats.sum() / math.log(2)
""",
        ),
        (
            r"# do not take a mean. The value must lie between $-\log 4$ and 0.",
            "# do not take a mean. Change the unit of the sum at the end: a logarithm to the base 2 is the "
            "natural one divided by\n"
            r"# $\log 2$. The value must lie between $-2$ and 0.",
        ),
        ("Return V(D*) in nats, the value", "Return V(D*) in bits, the value"),
        ("    return (real + fake).sum()\n", "    return (real + fake).sum() / math.log(2)\n"),
        ("where V(D*) = 2 JSD - log 4.", "where V(D*) = 2 JSD - 2, in bits."),
        (
            "expected = (log_p.exp() * best.log() + log_q.exp() * (1 - best).log()).sum()",
            "log2 = best.log2(), (1 - best).log2()\n        expected = (log_p.exp() * log2[0] + log_q.exp() * "
            "log2[1]).sum()",
        ),
        (
            "assert abs(value_at_optimum(log_p, log_p).item() + math.log(4)) < 1e-5, (",
            "assert abs(value_at_optimum(log_p, log_p).item() + 2) < 1e-5, (",
        ),
        ("a perfect generator brings V down to -log 4", "a perfect generator brings V down to -2 bits"),
        ("right = 2 * jensen_shannon(log_p, log_q) - math.log(4)", "right = 2 * jensen_shannon(log_p, log_q) - 2"),
        (
            "JSD = {(value + math.log(4)) / 2:.3f} of at most {math.log(2):.3f}",
            "JSD = {(value + 2) / 2:.3f} of at most 1 bit",
        ),
    ],
    "wrong": [
        (
            'torch.sigmoid(log_q - log_p))\n    return {result}"""',
            'torch.sigmoid(log_q - log_p))\n    return ({result}) / math.log(2)"""',
        ),
        (
            '("bits", *_value(0, 1, "(real + fake).sum() / math.log(2)"))',
            '("nats", *_value(0, 1, "(real + fake).sum() * math.log(2)"))',
        ),
        (
            '"bits": "Your value is measured in bits, with logarithms to the base 2; nats are asked for."',
            '"nats": "Your value is measured in nats, with natural logarithms; bits are asked for."',
        ),
    ],
}

# --- question 4: the size of the objects ------------------------------------------------------------------------------


def _objects(size: int, ways: tuple[str, str], solution: tuple[str, str], wrong: dict[str, str]) -> dict:
    """Return an option: objects of another size.

    Args:
        size: Of each axis.
        ways: The sizes after each layer of the generator and of the discriminator.
        solution: The layers of both.
        wrong: What takes the places of pieces of the wrong answers.
    """
    generator, discriminator = solution
    up, down = "[(5, 1, 0, 0), (5, 3, 1, 0), (5, 3, 1, 0)]", "[(5, 3, 1), (5, 3, 1), (5, 1, 0)]"
    return {
        "source": [
            (f"generator = {up}  # 1 -> 5 -> 15 -> 45", f"generator = {generator}  # {ways[0]}"),
            (f"discriminator = {down}  # 45 -> 15 -> 5 -> 1", f"discriminator = {discriminator}  # {ways[1]}"),
            ("45", f"{size}"),
        ],
        "rules": [
            ('("the generator", 4, 1, 45)', f'("the generator", 4, 1, {size})'),
            ('("the discriminator", 3, 45, 1)', f'("the discriminator", 3, {size}, 1)'),
            ("so more than 44 are", f"so more than {size - 1} are"),
            ("3 <= len(layers) <= 44", f"3 <= len(layers) <= {size - 1}"),
        ],
        "wrong": [
            (f'_GENERATOR = "{up}"', f'_GENERATOR = "{generator}"'),
            (f'_CRITIC = "{down}"', f'_CRITIC = "{discriminator}"'),
            *wrong.items(),
            (", not at 45.", f", not at {size}."),
            ("45×45×45 are asked for", f"{size}×{size}×{size} are asked for"),
            ("45 in one go", f"{size} in one go"),
            ('"[(45, 1, 0, 0)]", "[(45, 1, 0)]"', f'"[({size}, 1, 0, 0)]", "[({size}, 1, 0)]"'),
            ("with a kernel of 45;", f"with a kernel of {size};"),
            ("from 45 to 1", f"from {size} to 1"),
            (
                '        ("3, 9, 27", *_layers',
                f'        ("for 45", *_layers(0, "{up}", "{down}")),\n        ("3, 9, 27", *_layers',
            ),
            (
                '        "3, 9, 27": "Your',
                '        "for 45": "Your two networks fit each other, but at a size of 45; objects of '
                f'{size}×{size}×{size} "\n        "are asked for.",\n        "3, 9, 27": "Your',
            ),
        ],
    }


SIXTY_THREE = _objects(
    63,
    ("1 -> 7 -> 21 -> 63", "63 -> 21 -> 7 -> 1"),
    ("[(7, 1, 0, 0), (5, 3, 1, 0), (5, 3, 1, 0)]", "[(5, 3, 1), (5, 3, 1), (7, 1, 0)]"),
    {
        "a last kernel of 7 upon 5 places": "a last kernel of 7 upon 6 places",
        '[(5, 3, 1), (5, 3, 1), (7, 1, 0)]")),\n        ("ends': '[(5, 3, 0), (5, 3, 0), (7, 1, 0)]")),\n   '
        '     ("ends',
        "but only 5 places are ": "but only 6 places are ",
        "[(5, 3, 1), (5, 3, 1), (4, 1, 0)]": "[(5, 3, 1), (5, 3, 1), (6, 1, 0)]",
        "[(5, 1, 0, 0), (1, 3, 0, 2), (1, 3, 0, 2)]": "[(7, 1, 0, 0), (1, 3, 0, 2), (1, 3, 0, 2)]",
        "[(1, 3, 0), (1, 3, 0), (5, 1, 0)]": "[(1, 3, 0), (1, 3, 0), (7, 1, 0)]",
        "[(5, 1, 0, 0), (3, 3, 0, 3), (3, 3, 0, 0)]": "[(7, 1, 0, 0), (3, 3, 0, 3), (3, 3, 0, 0)]",
    },
)
SEVENTY_FIVE = _objects(
    75,
    ("1 -> 3 -> 15 -> 75", "75 -> 15 -> 3 -> 1"),
    ("[(3, 1, 0, 0), (5, 5, 0, 0), (5, 5, 0, 0)]", "[(5, 5, 0), (5, 5, 0), (3, 1, 0)]"),
    {
        "a last kernel of 7 upon 5 places": "a last kernel of 5 upon 3 places",
        '[(5, 3, 1), (5, 3, 1), (7, 1, 0)]")),\n        ("ends': '[(5, 5, 0), (5, 5, 0), (5, 1, 0)]")),\n   '
        '     ("ends',
        "has a kernel of 7, but only 5 places are ": "has a kernel of 5, but only 3 places are ",
        "[(5, 3, 1), (5, 3, 1), (4, 1, 0)]": "[(5, 5, 0), (5, 5, 0), (2, 1, 0)]",
        "[(5, 1, 0, 0), (1, 3, 0, 2), (1, 3, 0, 2)]": "[(3, 1, 0, 0), (1, 5, 0, 4), (1, 5, 0, 4)]",
        "[(1, 3, 0), (1, 3, 0), (5, 1, 0)]": "[(1, 5, 0), (1, 5, 0), (3, 1, 0)]",
        "[(5, 1, 0, 0), (3, 3, 0, 3), (3, 3, 0, 0)]": "[(3, 1, 0, 0), (5, 5, 0, 5), (5, 5, 0, 0)]",
    },
)

# --- question 5: how a length is measured, and a deviation from the target --------------------------------------------

ROOT_MEAN_SQUARE = {
    "source": [
        (
            r"\bigl(\lVert J_{z_i}^{\top} y_i \rVert_2 - a\bigr)^2",
            r"\Bigl(\frac{1}{\sqrt d} \lVert J_{z_i}^{\top} y_i \rVert_2 - a\Bigr)^2",
        ),
        (
            "# its target $a$ is charged for,\n",
            "# its target $a$ is charged for. A length is divided by $\\sqrt d$ first, which makes it the root "
            "mean square of its\n# $d$ numbers:\n",
        ),
        (
            "Take the norm of each row, subtract the target and square,\n# and only then take the mean over the batch.",
            "Take the norm of each row, divide it by $\\sqrt d$, subtract\n"
            "# the target and square, and only then take the mean over the batch.\n#",
        ),
        (
            '''"""Return the mean over the batch of (norm of J^T y - target)^2, differentiable
    once more.
''',
            '''"""Return the mean over the batch of (norm of J^T y / sqrt(d) - target)^2, for d
    numbers per z, differentiable once more.
''',
        ),
        (
            "return ((gradient.norm(dim=1) - target) ** 2).mean()",
            "lengths = gradient.norm(dim=1) / math.sqrt(z.shape[1])\n    return ((lengths - target) ** 2).mean()",
        ),
        (
            """assert abs(found.item() - 25) < 1e-4, (
    "a slope of 3 along each of 4 numbers has the norm 6, and (6 - 1)^2 is 25, "
""",
            """assert abs(found.item() - 4) < 1e-4, (
    "a slope of 3 along each of 4 numbers has the norm 6, and (6 / 2 - 1)^2 is 4, "
""",
        ),
        (
            "lengths = noise[:, 0].abs() * z.norm(dim=1)",
            "lengths = noise[:, 0].abs() * z.norm(dim=1) / math.sqrt(latent)",
        ),
    ],
    "wrong": [
        ("(gradient.norm(dim=1) - ", "(gradient.norm(dim=1) / z.shape[1] ** 0.5 - "),
        ("(gradient.norm() - target)", "(gradient.norm() / z.shape[1] ** 0.5 - target)"),
        ("(gradient.square().sum(1) - target)", "(gradient.square().mean(1) - target)"),
        (
            '        ("norm squared", *_penalty',
            '        ("without the root of d", *_penalty((1, 0, 1), result="((gradient.norm(2, 1) - target) '
            '** 2).mean()")),\n'
            '        ("norm squared", *_penalty',
        ),
        (
            '"norm squared": "You compare the squared norm with the target; the norm itself is asked for."',
            '"without the root of d": "You compare the norm itself with the target; divide it by the root of '
            'd first.",\n'
            '        "norm squared": "You compare the squared norm, divided by d, with the target; its root '
            'is asked "\n'
            '        "for."',
        ),
        ("You compare the norm with 1,", "You compare the length with 1,"),
    ],
}

ABSOLUTE = {
    "source": [
        (
            r"\bigl(\lVert J_{z_i}^{\top} y_i \rVert_2 - a\bigr)^2",
            r"\Bigl\lvert \lVert J_{z_i}^{\top} y_i \rVert_2 - a \Bigr\rvert",
        ),
        (
            "# its target $a$ is charged for,\n",
            "# its target $a$ is charged for, in proportion to its size,\n",
        ),
        (
            "Take the norm of each row, subtract the target and square,\n# and only then take the mean over the batch.",
            "Take the norm of each row, subtract the target, take the\n"
            "# absolute value, and only then take the mean over the batch.\n#",
        ),
        (
            "Return the mean over the batch of (norm of J^T y - target)^2, differentiable",
            "Return the mean over the batch of |norm of J^T y - target|, differentiable",
        ),
        ("return ((gradient.norm(dim=1) - target) ** 2).mean()", "return (gradient.norm(dim=1) - target).abs().mean()"),
        (
            """assert abs(found.item() - 25) < 1e-4, (
    "a slope of 3 along each of 4 numbers has the norm 6, and (6 - 1)^2 is 25, "
""",
            """assert abs(found.item() - 5) < 1e-4, (
    "a slope of 3 along each of 4 numbers has the norm 6, which is 5 away from 1, "
""",
        ),
        ("expected = ((lengths - target) ** 2).mean().item()", "expected = (lengths - target).abs().mean().item()"),
    ],
    "wrong": [
        (
            '("absolute deviations", *_penalty((1, 0, 1), result="(gradient.norm(dim=1) - target).abs().mean()"))',
            '("squared deviations", *_penalty((1, 0, 1), result="(gradient.norm(dim=1) - target).square().mean()"))',
        ),
        ("((gradient.norm(dim=1) - target) ** 2)", "(gradient.norm(dim=1) - target).abs()"),
        ('result="(gradient.norm() - target) ** 2"', 'result="(gradient.norm() - target).abs()"'),
        ("((gradient.square().sum(1) - target) ** 2)", "(gradient.square().sum(1) - target).abs()"),
        ("((gradient.norm(dim=1) - 1) ** 2)", "(gradient.norm(dim=1) - 1).abs()"),
        (
            '"absolute deviations": "You take the absolute value of each deviation from the target; its square is',
            '"squared deviations": "You square each deviation from the target; its absolute value is',
        ),
        ("The mean belongs after the squares.", "The mean belongs after the absolute values."),
    ],
}

# --- question 6: the distance -----------------------------------------------------------------------------------------


def _distance(name: str, docstring: str, hint: str, p: str, combine: str, diagnosis: str) -> dict:
    """Return an option: another distance than the Euclidean one, which torch.cdist knows by its argument p."""
    return {
        "source": [
            ("the\n# distance is the Euclidean one; a sample", f"the\n# distance is {name};\n# a sample"),
            ("# `torch.cdist` gives all distances between two sets of points, and", f"# `torch.cdist` {hint},\n# and"),
            (
                "A class for which no sample\n    was asked has the coverage 0.\n",
                f"A class for which no sample\n    was asked has the coverage 0. {docstring}\n",
            ),
            (
                "radii = torch.cdist(wanted, wanted).kthvalue",
                f"distances = torch.cdist(wanted, wanted, p={p})\n            radii = distances.kthvalue",
            ),
            ("torch.cdist(wanted, drawn)", f"torch.cdist(wanted, drawn, p={p})"),
            (
                "    draw = torch.Generator().manual_seed(11)\n",
                "    def distance(first, second):\n"
                f"        return {combine}(abs(a - b) for a, b in zip(first, second, strict=True))\n\n"
                "    draw = torch.Generator().manual_seed(11)\n",
            ),
            ("math.dist(centre, other)", "distance(centre, other)"),
            ("math.dist(centre, x)", "distance(centre, x)"),
        ],
        "wrong": [
            ("torch.cdist(wanted, wanted)", f"torch.cdist(wanted, wanted, p={p})"),
            ("torch.cdist(wanted, drawn)", f"torch.cdist(wanted, drawn, p={p})"),
            ("torch.cdist(drawn, drawn)", f"torch.cdist(drawn, drawn, p={p})"),
            ("torch.cdist(real, real)", f"torch.cdist(real, real, p={p})"),
            (
                '        (\n            "percent",\n',
                "        (\n"
                '            "Euclidean distances",\n'
                "            *_coverage(\n"
                "                0,\n"
                "                1,\n"
                '                radii="torch.cdist(wanted, wanted).kthvalue(k + 1, dim=1).values",\n'
                '                share="(torch.cdist(wanted, drawn) <= radii[:, None]).any(dim=1).double().mean()",\n'
                "            ),\n"
                "        ),\n"
                '        (\n            "percent",\n',
            ),
            (
                '        "percent": "Your',
                f'        "Euclidean distances": "Your distances are Euclidean; {diagnosis} is asked for.",\n'
                '        "percent": "Your',
            ),
        ],
    }


MANHATTAN = _distance(
    "the **Manhattan** one, $\\sum_i |a_i - b_i|$",
    "Distances are sums of absolute differences.",
    "gives all distances between two sets of points (for the Manhattan ones see its argument `p`)",
    "1",
    "sum",
    "the sum of the absolute differences",
)
LARGEST = _distance(
    "the **largest difference** in any feature, $\\max_i |a_i - b_i|$",
    "A distance is the largest absolute difference.",
    "gives all distances between two sets of points (for the largest difference see its argument `p`)",
    "math.inf",
    "max",
    "the largest absolute difference",
)

# --- question 7: which mistakes ---------------------------------------------------------------------------------------

OTHER_MISTAKES = {
    "source": [
        (
            "repair a training step in which both losses fall to zero\n# and",
            "repair a training step in which both losses fall\n# and",
        ),
        (
            """    cross_entropy = F.binary_cross_entropy_with_logits
    is_real, is_fake = torch.ones(len(x)), torch.zeros(len(x))
    fake = generator(z).detach()
    discriminator_loss = cross_entropy(discriminator(x), is_real)
    discriminator_loss += cross_entropy(discriminator(fake), is_fake)
    discriminator_loss.backward()
    discriminator_optimiser.step()
    generator_loss = cross_entropy(discriminator(fake), is_fake)
    generator_loss.backward()
    generator_optimiser.zero_grad()
    generator_optimiser.step()
""",
            """    cross_entropy = F.binary_cross_entropy_with_logits
    is_real, is_fake = torch.ones(len(x)), torch.zeros(len(x))
    generator_optimiser.zero_grad()
    discriminator_optimiser.zero_grad()
    on_real = torch.sigmoid(discriminator(x))
    on_fake = torch.sigmoid(discriminator(generator(z)))
    discriminator_loss = cross_entropy(on_real, is_real)
    discriminator_loss += cross_entropy(on_fake, is_fake)
    discriminator_loss.backward()
    discriminator_optimiser.step()
    on_fake = torch.sigmoid(discriminator(generator(z)))
    generator_loss = cross_entropy(on_fake, is_fake)
    generator_loss.backward()
    discriminator_optimiser.step()
    generator_optimiser.step()
""",
        ),
        (
            "# Both losses have fallen as low as they can, and the generator draws what it drew before training.\n",
            "# Both losses have fallen, and the generator's is log 2, as if nobody could tell real from "
            "generated. But none of\n"
            "# its pictures looks like a real one.\n",
        ),
        (
            """\
# - **A** Real and generated pictures lie in different ranges, so the discriminator can tell them apart by that alone.
# - **B** The two cross-entropies of the discriminator's loss are added; they have to be averaged.
# - **C** `detach` in the discriminator's turn keeps the discriminator from learning.
# - **D** The discriminator's gradients are never cleared, so each step also repeats all earlier ones.
# - **E** In the generator's turn the pictures have lost their history, so no gradient reaches the generator.
# - **F** In the discriminator's loss, real pictures have the label of generated ones.
# - **G** The generator would need other noise than the discriminator saw.
# - **H** The generator's loss is small when its pictures are recognised as generated.
# - **I** The generator's gradients are cleared before they have been used.
# - **J** The generator has to make its step before the discriminator.
""",
            """\
# - **A** Nothing clears the gradients of the calls before, so each step also repeats all earlier ones.
# - **B** The generator's step also follows the gradients that the discriminator's loss has left in its weights.
# - **C** In the discriminator's loss, real pictures have the label of generated ones.
# - **D** The generator's loss is small when its pictures are recognised as generated.
# - **E** In the generator's turn the pictures are made anew; they have to be the ones that the discriminator saw.
# - **F** The cross-entropies are made for logits, but they are given numbers that have been through a sigmoid.
# - **G** Real and generated pictures lie in different ranges, so the discriminator can tell them apart by that alone.
# - **H** The two cross-entropies of the discriminator's loss are added; they have to be averaged.
# - **I** The generator's loss is computed without a history, so no gradient of it reaches the generator.
# - **J** The discriminator makes a second step, which also follows the generator's loss.
""",
        ),
        ('    return "ADEHI"\n', '    return "BDFGJ"\n'),
        ('set("ADEHI")', 'set("BDFGJ")'),
        (
            """# Four of the five mistakes were printed, in much the same form, in articles that teach GANs. The page
# [Errata](../../book/errata.md) has more of their kind.
""",
            """# Mistakes of this kind have been printed in articles that teach generative models. The page
# [Errata](../../book/errata.md) has the two ranges, the sigmoid taken twice, and many more.
""",
        ),
    ],
    "wrong": [
        (
            """            *_bug(
                (0, 0, 0),
                real="x",
                d_clear="",
                g_fake="fake.detach()",
                g_loss="F.softplus(logits).mean()",
                g_clear="",
                after=_CLEAR_G,
            ),
""",
            """            _ALL_FIVE,
            dict.fromkeys(_BUG_POINTS, 0),
""",
        ),
        (
            '_ONE_LOSS = """',
            '''_ALL_FIVE = """\\
def training_step(generator, discriminator, optimisers, x, z):
    for optimiser in optimisers:
        optimiser.zero_grad()
    real, fake = discriminator(x).sigmoid(), discriminator(generator(z)).sigmoid()
    d_loss = F.softplus(-real).mean() + F.softplus(fake).mean()
    d_loss.backward()
    optimisers[1].step()
    g_loss = F.softplus(discriminator(generator(z)).sigmoid()).mean()
    g_loss.backward()
    optimisers[1].step()
    optimisers[0].step()
    return d_loss.detach(), g_loss.detach()"""

_ONE_LOSS = """''',
        ),
        ("""_mistakes('"ADEHB"',""", """_mistakes('"BDFGA"',"""),
        ("""_mistakes('"ADEBC"',""", """_mistakes('"BDFAC"',"""),
        ("""_mistakes('"BCFGJ"',""", """_mistakes('"ACEHI"',"""),
        ("""_mistakes('set("ADEH")',""", """_mistakes('set("BDFG")',"""),
        ("""_mistakes('"AADEH"',""", """_mistakes('"BBDFG"',"""),
        ("""_mistakes('"adehi"',""", """_mistakes('"bdfgj"',"""),
        ("""_mistakes('["A", "D", "E", "H", "I"]',""", """_mistakes('["B", "D", "F", "G", "J"]',"""),
    ],
}

# --- question 7: the range of the real pictures -----------------------------------------------------------------------

CENTRED = {
    "source": [
        ("4×4 pixels between 0 (dark) and 1\n# (lit), and", "4×4 pixels between -1/2 (dark)\n# and 1/2 (lit), and\n#"),
        ("left.T, 1 - left.T]).flatten(start_dim=1)", "left.T, 1 - left.T]).flatten(1) - 0.5"),
        ("pictures = (generator(torch.randn(1000, 2)) + 1) / 2", "pictures = generator(torch.randn(1000, 2)) / 2"),
        (
            "changes by a factor and a shift, which send 0 to -1 and 1 to 1; put",
            "changes by a factor, which sends -1/2 to -1 and 1/2 to 1; put",
        ),
        (
            "x: (batch, 16), pixels in [0, 1]; stays as it is. z: (batch, 2), the noise for"
            "\n    both players' steps. Returns two detached scalars in nats: the discriminator's"
            "\n    loss before its step, and the generator's before its own, which is a loss\n    against",
            "x: (batch, 16), pixels in [-1/2, 1/2]; stays as it is. z: (batch, 2),"
            "\n    the noise for both players' steps. Returns two detached scalars in nats: the"
            "\n    discriminator's loss before its step, and the generator's before its own, which"
            "\n    is a loss against",
        ),
        (
            "discriminator(2 * x - 1), discriminator(fake.detach())",
            "discriminator(2 * x), discriminator(fake.detach())",
        ),
        (
            "\n        x, z = torch.rand(5, 16, generator=draw), torch.randn(5, 2, generator=draw)\n",
            "\n        x = torch.rand(5, 16, generator=draw) - 0.5\n        z = torch.randn(5, 2, generator=draw)\n",
        ),
        (
            "\n    x, z = torch.rand(5, 16, generator=draw), torch.randn(5, 2, generator=draw)\n",
            "\n    x = torch.rand(5, 16, generator=draw) - 0.5\n    z = torch.randn(5, 2, generator=draw)\n",
        ),
        ("x, z = torch.ones(3, 16), torch.zeros(3, 2)", "x, z = torch.full((3, 16), 0.5), torch.zeros(3, 2)"),
        ("loss(0.0, weight=0.1) - loss(1.0, weight=0.1)", "loss(-0.5, weight=0.1) - loss(0.5, weight=0.1)"),
        ("loss((fake + 1) / 2, fake=fake, weight=0.1)", "loss(fake / 2, fake=fake, weight=0.1)"),
        (
            "dark, lit, z = torch.zeros(3, 16), torch.ones(3, 16), torch.zeros(3, 2)",
            "dark, lit, z = -torch.ones(3, 16) / 2, torch.ones(3, 16) / 2, torch.zeros(3, 2)",
        ),
    ],
    "asks": [
        (
            "x, z = torch.rand(5, 16, generator=draw), torch.randn(5, 2, generator=draw)",
            "x, z = torch.rand(5, 16, generator=draw) - 0.5, torch.randn(5, 2, generator=draw)",
        ),
        ("loss((fake + 1) / 2, fake=fake, weight=weight)", "loss(fake / 2, fake=fake, weight=weight)"),
        ("loss(0.0, weight=weight)", "loss(-0.5, weight=weight)"),
        ("loss(1.0, weight=weight)", "loss(0.5, weight=weight)"),
        ("loss(1.0, weight=-weight)", "loss(0.5, weight=-weight)"),
    ],
    "wrong": [
        ("2 * x - 1", "2 * x"),
        (
            '("pictures from 0 to 1", *_bug((1, 1, 0), real="x"))',
            '("pictures from 0 to 1", *_bug((1, 1, 0), real="x + 0.5"))',
        ),
        (
            '("pictures from -1/2 to 1/2", *_bug((1, 1, 0), real="x - 0.5"))',
            '("pictures from -1/2 to 1/2", *_bug((1, 1, 0), real="x"))',
        ),
        (
            "The real pictures still lie between 0 and 1, and the generated ones between −1 and ",
            "You bring the real pictures to the range from 0 to 1, and the generated ones lie between −1 and ",
        ),
        (
            "You bring the real pictures to the range from −1/2 to 1/2; that of the ",
            "The real pictures still lie between −1/2 and 1/2; the range of the ",
        ),
    ],
}

NEGATIVE = {
    "source": [
        (
            "4×4 pixels between 0 (dark) and 1\n# (lit), and",
            "4×4 pixels between 0 (lit) and 1\n# (dark), as ink on paper, and\n#",
        ),
        (
            "pictures = (generator(torch.randn(1000, 2)) + 1) / 2",
            "pictures = (1 - generator(torch.randn(1000, 2))) / 2",
        ),
        (
            "The generator's pictures lie between -1 and 1 (its last layer is a tanh), so the real ones\n"
            "# must be brought to the same range. You",
            "The generator's pictures lie\n# between -1 (dark) and 1 (lit), since its last layer is a tanh, "
            "so the real ones\n# must be brought to the same range, with the same meaning. You",
        ),
        (
            "changes by a factor and a shift, which send 0 to -1 and 1 to 1; put",
            "changes by a factor and a shift, which send 0 to 1 and 1 to -1; put",
        ),
        (
            "x: (batch, 16), pixels in [0, 1]; stays as it is. z: (batch, 2), the noise for"
            "\n    both players' steps. Returns two detached scalars in nats: the discriminator's"
            "\n    loss before its step, and the generator's before its own, which is a loss\n    against",
            "x: (batch, 16), pixels from 0 (lit) to 1 (dark); stays as it is. z: (batch, 2),"
            "\n    the noise for both players' steps. Returns two detached scalars in nats: the"
            "\n    discriminator's loss before its step, and the generator's before its own, which"
            "\n    is a loss against",
        ),
        (
            "discriminator(2 * x - 1), discriminator(fake.detach())",
            "discriminator(1 - 2 * x), discriminator(fake.detach())",
        ),
        ("loss((fake + 1) / 2, fake=fake, weight=0.1)", "loss((1 - fake) / 2, fake=fake, weight=0.1)"),
        (
            "dark, lit, z = torch.zeros(3, 16), torch.ones(3, 16), torch.zeros(3, 2)",
            "dark, lit, z = torch.ones(3, 16), torch.zeros(3, 16), torch.zeros(3, 2)",
        ),
    ],
    "asks": [
        ("loss((fake + 1) / 2, fake=fake, weight=weight)", "loss((1 - fake) / 2, fake=fake, weight=weight)"),
        ('"dark": loss(0.0, weight=weight)', '"dark": loss(1.0, weight=weight)'),
        ('"lit": loss(1.0, weight=weight)', '"lit": loss(0.0, weight=weight)'),
        ("loss(1.0, weight=-weight)", "loss(0.0, weight=-weight)"),
    ],
    "wrong": [
        ("2 * x - 1", "1 - 2 * x"),
        (
            '("pictures from -1/2 to 1/2", *_bug((1, 1, 0), real="x - 0.5"))',
            '("pictures from -1/2 to 1/2", *_bug((1, 1, 0), real="0.5 - x")),\n'
            '        ("dark and lit exchanged", *_bug((1, 1, 0), real="x * 2 - 1"))',
        ),
        (
            '        "pictures from -1/2 to 1/2": "You',
            '        "dark and lit exchanged": "Your range is right, but a dark real pixel becomes 1 and a '
            'lit one −1; in the "\n'
            '        "generated pictures −1 is dark and 1 is lit.",\n'
            '        "pictures from -1/2 to 1/2": "You',
        ),
    ],
}

VARIANTS = {
    "the output v": {"T = 1 - exp(-v)": {}, "T = 1 - exp(-2v)": TWICE, "T = 1/2 - exp(-v)": HALF},
    "the generator's turn": {"non-saturating": {}, "saturating": SATURATING},
    "unit of the value": {"nats": {}, "bits": BITS},
    "size of the objects": {"45": {}, "63": SIXTY_THREE, "75": SEVENTY_FIVE},
    "length of the path": {
        "squared deviations": {},
        "root mean square": ROOT_MEAN_SQUARE,
        "absolute deviations": ABSOLUTE,
    },
    "distance": {"Euclidean": {}, "Manhattan": MANHATTAN, "largest difference": LARGEST},
    "mistakes": {"the usual five": {}, "three others": OTHER_MISTAKES},
    "range of the pictures": {"0 to 1": {}, "-1/2 to 1/2": CENTRED, "1 to 0": NEGATIVE},
}
