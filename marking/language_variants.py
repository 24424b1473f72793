"""What may differ between students' papers of the language assignment: see aigc_course/grading/release.py."""

# --- 1. The game: which noise, and what is drawn from it --------------------------------------------------------------

_FLATTENED = r"""- The noise flattens the frequencies of the contexts by a power $s$, often $\tfrac34$ ([Mikolov et al.,
#   2013](https://arxiv.org/abs/1310.4546)):
#
# $$q(c) = \frac{n_c^{\,s}}{\sum_{c'} n_{c'}^{\,s}}, \qquad n_c = \sum_w n_{wc} .$$
"""

_FROM_CONTEXTS = r"""For each real pair $k$ contexts are drawn from a noise distribution $q(c)$. If the logit
# $a = u_w^\top v_c$ of each pair can be chosen freely, which one makes the loss smallest? The chapter derives it for
# the noise $q(c) = p(c)$, and for pairs that are taken both ways round. Here both are different.
"""

_NOISE_LOOP = """\
    for words, contexts, power in [(3, 5, 0.75), (5, 3, 0.5), (2, 6, 0.0)]:
        counts = torch.randint(1, 9, (words, contexts), generator=draw).float()
        sizes = counts.sum(dim=0).tolist()
        found = best_logits(counts, 3, power) - best_logits(counts, 3, 1.0)
        flat = [size**power for size in sizes]
        for c in range(contexts):
            right = math.log(sizes[c] / sum(sizes)) - math.log(flat[c] / sum(flat))
            for value in found[:, c].tolist():
                assert abs(value - right) < 1e-4, (
                    f"power {power}: the logits of context {c} must change by "
                    f"{right:.4f}, not by {value:.4f}"
                )
"""

_MIXED_SOURCE = [
    (
        _FLATTENED,
        r"""- The noise flattens the frequencies of the contexts by a mixture: with the probability $s$ it draws a
#   context as often as it occurs, otherwise any of the $m$ contexts with the same probability:
#
# $$q(c) = s\, \frac{n_c}{\sum_{c'} n_{c'}} + \frac{1 - s}{m}, \qquad n_c = \sum_w n_{wc} .$$
""",
    ),
    ("def best_logits(counts, k, power):", "def best_logits(counts, k, share):"),
    (
        """    pair. power: the exponent s of the noise, from 0 to 1. Returns (words,
    contexts); minus infinity where a pair never occurred.
""",
        """    pair. share: the number s of the noise, from 0 to 1. Returns (words, contexts);
    minus infinity where a pair never occurred.
""",
    ),
    (
        "    noise = counts.sum(dim=0) ** power\n",
        """    often = counts.sum(dim=0) / counts.sum()
    noise = share * often + (1 - share) / counts.shape[1]
""",
    ),
    ("    return (following / (k * noise / noise.sum())).log()", "    return (following / (k * noise)).log()"),
    (
        """# Check 1b (1 point): the power of the noise. The frequencies 16 : 1 become 4 : 1.
counts = torch.tensor([[16.0, 1.0]])
""",
        """# Check 1b (1 point): the mixture of the noise. The shares 9/10 and 1/10 become 7/10
# and 3/10.
counts = torch.tensor([[9.0, 1.0]])
""",
    ),
    ("math.log(5 / 17)", "math.log(1 / 3)"),
    ("in a share of 1/5 instead of 1/17", "in a share of 3/10 instead of 1/10"),
    ("changes by log(5/17)", "changes by log(1/3)"),
    ("compared with itself at the power 1, so other", "compared with itself at the share 1, so other"),
    (
        _NOISE_LOOP,
        _NOISE_LOOP.replace(
            "        flat = [size**power for size in sizes]\n",
            "        often = [size / sum(sizes) for size in sizes]\n"
            "        flat = [power * each + (1 - power) / contexts for each in often]\n",
        ).replace("power", "share"),
    ),
    (
        "# What does the power do to a frequent word, and what to a rare one?",
        "# What does the share do to a frequent word, and what to a rare one?",
    ),
    ("# of three words after *the*, for three powers.", "# of three words after *the*, for three shares $s$."),
    (
        """for power in (1.0, 0.75, 0.0):
    logits = best_logits(counts, 5, power)[0].tolist()
    print(
        f"power {power:4}:",
""",
        """for share in (1.0, 0.75, 0.0):
    logits = best_logits(counts, 5, share)[0].tolist()
    print(
        f"share {share:4}:",
""",
    ),
]

_MIXED_WRONG = [
    ('"n_c**power / (n_c**power).sum()"', '"power * n_c / n_c.sum() + (1 - power) / n_c.shape[1]"'),
    ('"n_w**power / (n_w**power).sum()"', '"power * n_w / n_w.sum() + (1 - power) / len(n_w)"'),
    ('"n_c**power"', '"power * n_c + 1 - power"'),
    ('"(n_c / n_c.sum()) ** power"', '"power * n_c / n_c.sum() + 1 - power"'),
    (
        '"n_c ** (1 / max(power, 0.1)) / (n_c ** (1 / max(power, 0.1))).sum()"',
        '"power * n_c / n_c.sum() + (1 - power) / len(n_w)"',
    ),
    ("the power ignored", "the share ignored"),
    ("The power has no influence on your logits", "The share s has no influence on your logits"),
    (
        '"frequencies to the power s."',
        '"frequencies, mixed with equal ones."',
    ),
    (
        '''"Your noise does not sum to 1: the powers of the counts have to be "
        "divided by their sum."''',
        '''"Your noise does not sum to 1: the counts have to be divided by "
        "their sum, and 1 - s by the number of contexts."''',
    ),
    ("the power of shares, not divided by their sum", "1 - s for each context"),
    (
        '''"You took the power of the contexts' shares, but such powers "
        "no longer sum to 1; divide them by their sum."''',
        '''"You added 1 - s to the noise of each context; the contexts share it, so each "
        "gets 1 - s divided by their number."''',
    ),
    ("the power of the whole", "the share of the whole"),
    (
        '''"You multiplied the whole logit by the power. The power acts on the frequencies of "
        "the noise alone."''',
        '''"You multiplied the whole logit by s. The share s acts on the noise alone."''',
    ),
    ("the inverse power", "alike for the words"),
    (
        '''"You took the power 1/s of the frequencies, which sharpens them. The power s, which "
        "flattens them, is asked for."''',
        '''"You divided 1 - s by the number of words; contexts are drawn, so it is divided by their number."''',
    ),
]

_WORDS_SOURCE = [
    (
        _FROM_CONTEXTS,
        r"""Other pairs are drawn as noise. If the logit $a = u_w^\top v_c$ of each pair can be chosen
# freely, which one makes the loss smallest? The chapter draws $k$ contexts for each real pair from the noise
# $q(c) = p(c)$, and takes pairs both ways round. Here both are different.
""",
    ),
    (
        _FLATTENED,
        r"""- For each real pair $k$ **words** are drawn for its context, not contexts for its word. Their noise
#   flattens the frequencies of the words by a power $s$, often $\tfrac34$ ([Mikolov et al.,
#   2013](https://arxiv.org/abs/1310.4546)):
#
# $$q(w) = \frac{n_w^{\,s}}{\sum_{w'} n_{w'}^{\,s}}, \qquad n_w = \sum_c n_{wc} .$$
""",
    ),
    (
        r"The word $w$ stands in $\sum_c n_{wc}$ real pairs, and for each of them $k$ contexts are drawn; with $q(c)$",
        r"The context $c$ stands in $\sum_w n_{wc}$ real pairs, and for each of them $k$ words are drawn; with $q(w)$",
    ),
    ("k: how many contexts are drawn for each real\n", "k: how many words are drawn for each real\n"),
    (
        "    following = counts / counts.sum(dim=1, keepdim=True)  # p(c|w)\n    noise = counts.sum(dim=0) ** power\n",
        "    before = counts / counts.sum(dim=0)  # p(w|c)\n    noise = counts.sum(dim=1, keepdim=True) ** power\n",
    ),
    ("    # real n_wc times, noise k n_w q(c) times\n", "    # real n_wc times, noise k n_c q(w) times\n"),
    (
        "    return (following / (k * noise / noise.sum())).log()",
        "    return (before / (k * noise / noise.sum())).log()",
    ),
    ("with noise as frequent as the contexts are.", "with noise as frequent as the words are."),
    ("drawn as noise 2 * 4 * 2/8 = 2 times", "drawn as noise 2 * 2 * 4/8 = 2 times"),
    (
        """counts = torch.tensor([[16.0, 1.0]])
found = best_logits(counts, 1, 0.5) - best_logits(counts, 1, 1.0)
assert found.shape == (1, 2), f"the shape must be (1, 2), not {tuple(found.shape)}"
assert abs(found[0, 1].item() - math.log(5 / 17)) < 1e-5, (
    "the rarer context is drawn in""",
        """counts = torch.tensor([[16.0], [1.0]])
found = best_logits(counts, 1, 0.5) - best_logits(counts, 1, 1.0)
assert found.shape == (2, 1), f"the shape must be (2, 1), not {tuple(found.shape)}"
assert abs(found[1, 0].item() - math.log(5 / 17)) < 1e-5, (
    "the rarer word is drawn in""",
    ),
    (
        'changes by log(5/17) = {math.log(5 / 17):.3f}, not by {found[0, 1]:.3f}"',
        'changes by log(5/17) = {math.log(5 / 17):.3f}, not by {found[1, 0]:.3f}"',
    ),
    (
        _NOISE_LOOP,
        _NOISE_LOOP.replace("counts.sum(dim=0).tolist()", "counts.sum(dim=1).tolist()")
        .replace("for c in range(contexts)", "for w in range(words)")
        .replace("sizes[c]", "sizes[w]")
        .replace("flat[c]", "flat[w]")
        .replace("found[:, c]", "found[w]")
        .replace("of context {c}", "of word {w}"),
    ),
    ("# of three words after *the*, for three powers.", "# of three words before *cat*, for three powers."),
    (
        """following = {"of": 300, "cat": 40, "quark": 2}  # how often each follows "the"
elsewhere = [2700, 60, 1]  # how often each follows another word
counts = torch.tensor([list(map(float, following.values())), elsewhere])
""",
        """preceding = {"the": 300, "black": 40, "Cheshire": 2}  # how often before "cat"
elsewhere = [2700, 60, 1]  # how often each stands before another word
counts = torch.tensor([list(map(float, preceding.values())), elsewhere]).T
""",
    ),
    (
        "    logits = best_logits(counts, 5, power)[0].tolist()",
        "    logits = best_logits(counts, 5, power)[:, 0].tolist()",
    ),
    ("for w, a in zip(following, logits, strict=True)]", "for w, a in zip(preceding, logits, strict=True)]"),
]

_WORDS_WRONG = [
    # What the codes call words are the columns now, and what they call contexts the rows.
    (
        "n_w, n_c = counts.sum(dim=1, keepdim=True), counts.sum(dim=0, keepdim=True)",
        "n_c, n_w = counts.sum(dim=1, keepdim=True), counts.sum(dim=0, keepdim=True)",
    ),
    ("the other noise: of the words", "the other noise: of the contexts"),
    (
        '''"Your noise has the frequencies of the words, the rows; contexts are drawn, "
        "so it takes the frequencies of the columns."''',
        '''"Your noise has the frequencies of the contexts, the columns; words are drawn, "
        "so it takes the frequencies of the rows."''',
    ),
    ("k is missing: k contexts are drawn for each real pair", "k is missing: k words are drawn for each real pair"),
    ("the noise is drawn from the contexts' \"", "the noise is drawn from the words' \""),
    ("You took the power of the contexts' shares", "You took the power of the words' shares"),
]

# --- 4. Adapters: what their scale is divided by, and of what they may have a share -----------------------------------

_ROOT = {
    "source": [
        (
            "with a rank $r_j$ and a scale $\\alpha_j$ of its own:\n",
            "with a rank $r_j$ and a scale $\\alpha_j$ of its own.\n"
            "# The scale is divided by the **square root** of the rank, not by the rank as in the chapter\n"
            "# ([Kalajdzievski, 2023](https://arxiv.org/abs/2312.03732)):\n",
        ),
        (r"\frac{\alpha_j}{r_j} B_j A_j x", r"\frac{\alpha_j}{\sqrt{r_j}} B_j A_j x"),
        ("alpha / len(down) *", "alpha / len(down) ** 0.5 *"),
        ("assert abs(found[0, 0].item() - 9) < 1e-5, (", "assert abs(found[0, 0].item() - 15) < 1e-5, ("),
        (
            'f"3 from the matrix and 2/4 * 12 from the adapter are 9, not {found[0, 0]:.3f}"',
            'f"3 from the matrix and 2/2 * 12 from the adapter: 15, not {found[0, 0]:.3f}"',
        ),
        (
            'right = right + torch.einsum("or,ri,bi->bo", up, down, x) * (alpha / r)',
            'change = torch.einsum("or,ri,bi->bo", up, down, x)\n            right = right + change * (alpha / r**0.5)',
        ),
        ('"or,ri->oi", up, down).detach() * (alpha / r)', '"or,ri->oi", up, down).detach() * (alpha / r**0.5)'),
        ("* alpha / down.shape[0]", "* alpha / down.shape[0] ** 0.5"),
    ],
    "rules": [("* alpha / down.shape[0]", "* alpha / down.shape[0] ** 0.5")],
    "wrong": [
        ('alpha / down.shape[0]"', 'alpha / down.shape[0] ** 0.5"'),
        ('"abs(alpha) / down.shape[0]"', '"abs(alpha) / down.shape[0] ** 0.5"'),
        ('"alpha / down.shape[1]"', '"alpha / down.shape[1] ** 0.5"'),
        ('"adapters[0][2] / len(adapters[0][0])"', '"adapters[0][2] / len(adapters[0][0]) ** 0.5"'),
        ('"alpha / up.shape[0]"', '"alpha / down.shape[0]"'),
        ("divided by the outputs", "divided by the rank itself"),
        ("You divided alpha by the number of outputs;", "You divided alpha by the rank;"),
        ("You divided alpha by the number of inputs;", "You divided alpha by the root of the number of inputs;"),
        ("divided by the rank.", "divided by the root of the rank."),
        ("alpha divided by its rank.", "alpha divided by the root of its rank."),
        ("alpha, not divided by r", "alpha, not divided by the root of r"),
    ],
}

_SHARE_OF_ALL = {
    "source": [
        (
            "given share of the matrices' parameters. Solve for the rank.\n",
            """given share of **all** parameters, those of the matrices and those of the adapters together. Solve for
# the rank.
""",
        ),
        (
            """so "at most this share" is an inequality for the rank. Solve it, and take
# the largest whole number that satisfies it: round down, not to the nearest, and return an `int`. Do not find a rank
# for each matrix and take the mean; the sums come first.
""",
            """so "at most this share" is an inequality that has the
# rank on both of its sides. Solve it, and take the largest whole number that satisfies it: round down, not to the
# nearest, and return an `int`. Do not find a rank for each matrix and take the mean; the sums come first.
""",
        ),
        (
            "    at most `share` of the matrices' parameters; a whole number.\n",
            "    at most `share` of all parameters, theirs included; a whole number.\n",
        ),
        ("    above 0, at most 1. Returns 0 if even a rank", "    between 0 and 1. Returns 0 if even a rank"),
        ("    return int(share * frozen / per_rank)", "    return int(share * frozen / ((1 - share) * per_rank))"),
        (
            'assert found == 2, f"32 parameters are half of 64: the rank is 2, not {found}"\n'
            "found = largest_rank([(8, 8)], 0.2)\n"
            'assert found == 0, f"rank 1 has a quarter of 64 already: 0, not {found}"',
            'assert found == 4, f"64 parameters are half of 128: the rank is 4, not {found}"\n'
            "found = largest_rank([(8, 8)], 0.15)\n"
            'assert found == 0, f"rank 1 has a fifth of 80 already: 0, not {found}"',
        ),
        ("([(64, 64)], 0.25, 8),", "([(64, 64)], 0.5, 32),"),
        ("([(64, 64)], 0.249, 7),", "([(64, 64)], 0.499, 31),"),
        ("([(30, 10), (10, 30)], 0.5, 3),", "([(30, 10), (10, 30)], 0.5, 7),"),
        ("(256, 1024)], 0.0625, 10),", "(256, 1024)], 0.0625, 11),"),
        ("([(100, 10)], 1.0, 9),", "([(100, 10)], 0.9, 81),"),
        ("([(1000, 2), (2, 2)], 0.4, 0),", "([(1000, 2), (2, 2)], 0.3, 0),"),
        ("([(512, 512), (16, 16)], 0.03, 7),", "([(512, 512), (16, 16)], 0.05, 13),"),
    ],
    "asks": [
        (
            "        return rank * sum(o + i for o, i in shapes) / sum(o * i for o, i in shapes)\n",
            "        new = rank * sum(o + i for o, i in shapes)\n"
            "        return new / (new + sum(o * i for o, i in shapes))\n",
        ),
        ("([(side, side)], 0.25),  # exactly the rank side / 8", "([(side, side)], 0.5),  # exactly the rank side / 2"),
        ("([(wide, high)], 1.0),", "([(wide, high)], 0.5),"),
    ],
    "wrong": [
        ("int(share * frozen / (1 + share) / sum(each))", "int(share * sum(o * i for o, i in shapes) / sum(each))"),
        ("share * frozen", "share / (1 - share) * frozen"),
        ("int(share * o * i / (o + i))", "int(share / (1 - share) * o * i / (o + i))"),
        ("int(share * shapes[0][0] *", "int(share / (1 - share) * shapes[0][0] *"),
        ("of all parameters, the new ones too", "of the matrices' parameters"),
        (
            '''"You took the share of all parameters, including those of the "
        "adapters; it is a share of the matrices' own."''',
            '''"You took the share of the matrices' own parameters; it is a share of all, "
        "including those of the adapters."''',
        ),
    ],
}

# --- 5. The best size for a budget: a gated network, and constants in another place -----------------------------------

_GATED = {
    "source": [
        (
            "# - The network for each position has a matrix of `hidden` × width and one back.\n",
            "# - The network for each position is gated ([Shazeer, 2020](https://arxiv.org/abs/2002.05202)): it has\n"
            "#   **two** matrices of `hidden` × width, whose results are multiplied number by number, and one back.\n",
        ),
        ("and the two matrices of the network.", "and the three matrices of the network."),
        (
            "    block = 2 * width**2 + shared + 2 * hidden * width",
            "    block = 2 * width**2 + shared + 3 * hidden * width",
        ),
        (
            """# Check 5a (1 point): the operations. As many sets as heads and a hidden layer of
# 4 * width make the 12 * width ** 2 parameters of the chapter's blocks.
""",
            """# Check 5a (1 point): the operations. As many sets as heads and a hidden layer of
# 4 * width make 16 * width ** 2 parameters; without the gate it would be 12.
""",
        ),
        (
            'assert found == 6 * 3 * 1200, f"6 * 3 * 12 * 100 = 21600, not {found}"',
            'assert found == 6 * 3 * 1600, f"6 * 3 * 16 * 100 = 28800, not {found}"',
        ),
        ("assert found == 6 * 1040, (", "assert found == 6 * 1440, ("),
        ("20 * 2 * 4 parameters less, 6240, not", "20 * 2 * 4 parameters less, 8640, not"),
        (
            "            parameters += width * hidden\n",
            "            parameters += 2 * width * hidden  # the gate, and the way back\n",
        ),
    ],
    "wrong": [
        ('network="hidden * width"', 'network="2 * hidden * width"'),
        ('network: str = "2 * hidden * width"', 'network: str = "3 * hidden * width"'),
        ('network="8 * width**2"', 'network="12 * width**2"'),
        (
            '''"You counted one matrix of the network for each position; there is one to "
        "`hidden` numbers and one back."''',
            '''"You counted the network's matrices as if it had no gate; it has two to "
        "`hidden` numbers and one back."''',
        ),
        ("one matrix of the network", "two matrices of the network"),
    ],
}

_LAW = {
    "source": [
        (
            r"""# With a law of [Hoffmann et al. (2022)](https://arxiv.org/abs/2203.15556),
#
# $$L(N, D) = E + \frac{A}{N^\alpha} + \frac{B}{D^\beta},$$
""",
            r"""# With a law of [Hoffmann et al. (2022)](https://arxiv.org/abs/2203.15556), here with $A$ and $B$ inside
# the powers,
#
# $$L(N, D) = E + \Bigl(\frac{A}{N}\Bigr)^\alpha + \Bigl(\frac{B}{D}\Bigr)^\beta,$$
""",
        ),
        (
            r"# The derivative of the first term is $-\alpha A / N^\alpha$.",
            r"# The derivative of the first term is $-\alpha (A / N)^\alpha$.",
        ),
        (
            '    ratio = a * law["A"] / (b * law["B"])\n    # a A / N^a = b B / D^b,',
            '    ratio = a * law["A"] ** a / (b * law["B"] ** b)\n    # a (A / N)^a = b (B / D)^b,',
        ),
        (
            "losses.append(1.0 + 100.0 / n**0.3 + 200.0 / d**0.4)",
            "losses.append(1.0 + (100.0 / n) ** 0.3 + (200.0 / d) ** 0.4)",
        ),
        (
            '            of_size = law["alpha"] * law["A"] / size ** law["alpha"]\n'
            '            of_text = law["beta"] * law["B"] / tokens ** law["beta"]\n',
            '            of_size = law["alpha"] * (law["A"] / size) ** law["alpha"]\n'
            '            of_text = law["beta"] * (law["B"] / tokens) ** law["beta"]\n',
        ),
        (
            "# Here are the constants that Hoffmann et al. fitted to their runs, with $D$ in tokens.",
            "# Here are the constants that Hoffmann et al. fitted to their runs, moved into the powers.",
        ),
        (
            'law = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}',
            'law = {"E": 1.69, "A": 4.70e7, "alpha": 0.34, "B": 2.16e9, "beta": 0.28}',
        ),
        (
            'loss = law["E"] + law["A"] / size**0.34 + law["B"] / tokens**0.28',
            'loss = law["E"] + (law["A"] / size) ** 0.34 + (law["B"] / tokens) ** 0.28',
        ),
    ],
    "rules": [
        (
            "saved = a * of_size * size**-a / (b * of_text * text**-b)",
            "saved = a * (of_size / size) ** a / (b * (of_text / text) ** b)",
        ),
    ],
    "wrong": [
        ('"a * A / (b * B)"', '"a * A**a / (b * B**b)"'),
        ('"A / B"', '"A**a / B**b"'),
        ('"b * A / (a * B)"', '"b * A**a / (a * B**b)"'),
        ('"b * B / (a * A)"', '"b * B**b / (a * A**a)"'),
        (
            '"the growth alone", *_size(1, 0, ratio="1")',
            '"the constants outside", *_size(1, 0, ratio="a * A / (b * B)")',
        ),
        ("the growth alone", "the constants outside"),
        (
            '''"Your size grows with the budget as it should, but the factor that the constants of the "
        "law give is missing."''',
            '''"You took A and B as factors of the powers; in this law they stand inside, so A is "
        "raised to the power alpha and B to the power beta."''',
        ),
    ],
}

# --- 6. When the temperature acts -------------------------------------------------------------------------------------

_TEMPERATURE_LAST = {
    "source": [
        (
            """All others get the probability
# 0, and what is kept is divided by its sum. A temperature acts first: the logits are divided by it.
""",
            """All others get the probability
# 0. A temperature acts **last**: the kept tokens get the softmax of their logits, each divided by the temperature.
""",
        ),
        (
            """Put 0 in the place of
# what is cut, rather than taking it out, so that the shape stays; then divide each row by its own sum. Use""",
            """Put minus infinity in
# the place of the logits that are cut, rather than taking them out, so that the shape stays; then divide by the
# temperature and take the softmax, whose rows sum to 1. Use""",
        ),
        (
            '''    """Return the probabilities of the next token at this temperature, restricted to
    those of at least `fraction` times the largest one of their row.
''',
            '''    """Return the probabilities of the next token, restricted to those of at least
    `fraction` times the largest one of their row, and then put to this temperature.
''',
        ),
        (
            """The temperature acts first, so the probabilities
    that are compared are those at this temperature.""",
            """The temperature acts last, so the probabilities
    that are compared are those at the temperature 1.""",
        ),
        (
            """    p = (logits / temperature).softmax(dim=-1)
    kept = torch.where(p >= fraction * p.amax(dim=-1, keepdim=True), p, 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)
""",
            """    p = logits.softmax(dim=-1)
    cut = p < fraction * p.amax(dim=-1, keepdim=True)
    return (logits / temperature).masked_fill(cut, -math.inf).softmax(dim=-1)
""",
        ),
        (
            """                shares = [math.exp((s - best) / temperature) for s in scores]
                kept = [s if s >= fraction else 0.0 for s in shares]
""",
            """                shares = [math.exp(s - best) for s in scores]
                kept = [
                    s ** (1 / temperature) if s >= fraction else 0.0 for s in shares
                ]
""",
        ),
    ],
    "asks": [
        (
            "logits.amax(dim=1, keepdim=True) + temperature * math.log(fraction)",
            "logits.amax(dim=1, keepdim=True) + math.log(fraction)",
        ),
    ],
    "wrong": [
        (
            '"the temperature after the cut",\n            *_cut(p="logits.softmax(dim=-1)", '
            'result="F.normalize(kept ** (1 / temperature), p=1, dim=-1)"),',
            '"the temperature before the cut",\n            '
            '*_cut(p="(logits / temperature).softmax(dim=-1)", result="F.normalize(kept, p=1, dim=-1)"),',
        ),
        (
            '("the temperature ignored", *_cut(p="logits.softmax(dim=-1)")),',
            '("the temperature ignored", *_cut(result="F.normalize(kept, p=1, dim=-1)")),',
        ),
        (
            '*_cut(p="(logits * temperature).softmax(dim=-1)")',
            '*_cut(result="F.normalize(kept**temperature, p=1, dim=-1)")',
        ),
        ('*_cut(result="kept")', '*_cut(result="kept ** (1 / temperature)")'),
        (
            'p="(logits / temperature).exp() / (logits / temperature).exp().sum(dim=-1, keepdim=True)"',
            'p="logits.exp() / logits.exp().sum(dim=-1, keepdim=True)"',
        ),
        ('p: str = "(logits / temperature).softmax(dim=-1)"', 'p: str = "logits.softmax(dim=-1)"'),
        (
            'result: str = "kept / kept.sum(dim=-1, keepdim=True)"',
            'result: str = "F.normalize(kept ** (1 / temperature), p=1, dim=-1)"',
        ),
        ('"the temperature after the cut":', '"the temperature before the cut":'),
        (
            '''"Your temperature acts after the cut; it acts first, so the probabilities "
        "that are compared are those at this temperature."''',
            '''"Your temperature acts before the cut; it acts last, so the probabilities "
        "that are compared are those at the temperature 1."''',
        ),
        (
            "You multiplied the logits by the temperature; they are divided by it.",
            "You multiplied the kept logits by the temperature; they are divided by it.",
        ),
    ],
}

# --- 3. Which numbers rotary positions turn, and which way ------------------------------------------------------------

_CLOCKWISE = {
    "source": [
        ("# anticlockwise by the angle $m\\,\\theta_i$,", "# clockwise by the angle $m\\,\\theta_i$,"),
        (
            r"(a, b) \mapsto (a \cos m\theta_i - b \sin m\theta_i,\; a \sin m\theta_i + b \cos m\theta_i)",
            r"(a, b) \mapsto (a \cos m\theta_i + b \sin m\theta_i,\; b \cos m\theta_i - a \sin m\theta_i)",
        ),
        ("    turned by m * base ** (-2i / dim).", "    turned clockwise by m * base ** (-2i / dim)."),
        ("        a * angles.cos() - b * angles.sin(),\n", "        a * angles.cos() + b * angles.sin(),\n"),
        ("        a * angles.sin() + b * angles.cos(),\n", "        b * angles.cos() - a * angles.sin(),\n"),
        (
            "right = [math.cos(2), math.sin(2), -2 * math.sin(0.2), 2 * math.cos(0.2)]",
            "right = [math.cos(2), -math.sin(2), 2 * math.sin(0.2), 2 * math.cos(0.2)]",
        ),
        ("angle = torch.tensor(m * base ** (-2 * i / dim))", "angle = torch.tensor(-m * base ** (-2 * i / dim))"),
    ],
    "wrong": [
        ('turned="a * cos + b * sin, b * cos - a * sin"', 'turned="a * cos - b * sin, a * sin + b * cos"'),
        ('turned="a * cos - b * sin, b * cos - a * sin"', 'turned="a * cos + b * sin, b * cos + a * sin"'),
        (
            'turned: str = "a * cos - b * sin, a * sin + b * cos"',
            'turned: str = "a * cos + b * sin, b * cos - a * sin"',
        ),
        (
            'turned="(a := a * cos - b * sin), a * sin + b * cos"',
            'turned="(a := a * cos + b * sin), b * cos - a * sin"',
        ),
        (
            "You turned clockwise; the pairs are turned anticlockwise.",
            "You turned anticlockwise; the pairs are turned clockwise.",
        ),
    ],
}

_ENDS = {
    "source": [
        (
            """\
# Here, as in the original, pair $i$ are the two **neighbours** with the numbers $2i$ and $2i + 1$, counted from 0. With
# a cache the new positions do not begin at 0, so they are given.
""",
            r"""# The original pairs neighbours. Here the pairs go from the **ends** to the middle: pair $i$ are the
# numbers $i$ and $\text{dim} - 1 - i$, counted from 0. With a cache the new positions do not begin at 0, so they are
# given.
""",
        ),
        (
            """\
At the end each $a$ has to stand beside its $b$ again: an additional last axis of length 2, merged with the
# axis before it, does this; one half put behind the other does not.
""",
            """\
At the end each number has to stand where it was taken: all $a$ in their order, and behind them all $b$
# in the reverse order. `flip` reverses an axis.
""",
        ),
        (
            """    above 1. Pair i are the numbers 2i and 2i + 1 of a vector; at position m it is
    turned by""",
            """    above 1. Pair i are the numbers i and dim - 1 - i of a vector; at position m it
    is turned by""",
        ),
        (
            "    a, b = x[..., 0::2], x[..., 1::2]\n",
            "    a, b = x[..., : dim // 2], x.flip(-1)[..., : dim // 2]\n",
        ),
        (
            "    return torch.stack(turned, dim=-1).flatten(-2)\n",
            "    return torch.cat([turned[0], turned[1].flip(-1)], dim=-1)\n",
        ),
        (
            "x = torch.tensor([1.0, 0.0, 0.0, 2.0]).expand(3, 4)",
            "x = torch.tensor([1.0, 0.0, 2.0, 0.0]).expand(3, 4)",
        ),
        (
            "right = [math.cos(2), math.sin(2), -2 * math.sin(0.2), 2 * math.cos(0.2)]",
            "right = [math.cos(2), -2 * math.sin(0.2), 2 * math.cos(0.2), math.sin(2)]",
        ),
        (
            "pair = torch.complex(x[..., t, 2 * i], x[..., t, 2 * i + 1])",
            "pair = torch.complex(x[..., t, i], x[..., t, dim - 1 - i])",
        ),
        (
            "for number, part in enumerate((right.real, right.imag)):",
            "for number, part in ((i, right.real), (dim - 1 - i, right.imag)):",
        ),
        ("found[..., t, 2 * i + number]", "found[..., t, number]"),
        ("number {2 * i + number} at", "number {number} at"),
    ],
    "asks": [
        (
            "        q, k = F.normalize(torch.randn(2, dim // 2, 2, generator=draw), dim=2).view(2, 1, dim)\n",
            "        pairs = F.normalize(torch.randn(2, dim // 2, 2, generator=draw), dim=2)\n"
            "        q, k = torch.cat([pairs[..., 0], pairs[..., 1].flip(1)], dim=1).view(2, 1, dim)\n",
        ),
    ],
    "wrong": [
        ('pairs: str = "x[..., 0::2], x[..., 1::2]"', 'pairs: str = "x[..., : dim // 2], x.flip(-1)[..., : dim // 2]"'),
        (
            'result: str = "torch.stack([first, second], dim=-1).flatten(-2)"',
            'result: str = "torch.cat([first, second.flip(-1)], dim=-1)"',
        ),
        (
            'result="x.copy_(torch.stack([first, second], dim=-1).flatten(-2))"',
            'result="x.copy_(torch.cat([first, second.flip(-1)], dim=-1))"',
        ),
        (
            'pairs="x.chunk(2, dim=-1)", result="torch.cat([first, second], dim=-1)"',
            'pairs="x[..., 0::2], x[..., 1::2]", result="torch.stack([first, second], dim=-1).flatten(-2)"',
        ),
        ("halves for neighbours", "neighbours for ends"),
        (
            '''"You paired the first half of a vector with the second; here pair i are the "
        "neighbours 2i and 2i + 1."''',
            '''"You paired neighbours; here pair i are the numbers i and dim - 1 - i."''',
        ),
        ("neighbours taken, halves put back", "the second half in the wrong order"),
        (
            '''"You turned the right pairs, but put their first numbers into the first "
        "half of the result and their second ones into the second half; each belongs where it was taken."''',
            '''"You turned the right pairs, but put their second numbers back in "
        "the wrong order; each belongs where it was taken."''',
        ),
    ],
}

# --- 7. Another faulty step -------------------------------------------------------------------------------------------

_STATEMENTS = r"""# - **A** The step goes uphill: the gradient has the wrong sign.
# - **B** Each position has to predict the token that stands there already, not the next one.
# - **C** The softmax runs over the positions, not over the vocabulary.
# - **D** A prediction knows the last token alone, and nothing of what came before it.
# - **E** The loss is a squared error of probabilities, not a mean of $-\log p$ in nats.
# - **F** A change in place under `torch.no_grad()` is lost as soon as the block ends.
# - **G** Gradients of earlier steps are never cleared, so each step also repeats them.
# - **H** The one-hot vectors have no gradient, so nothing can be learnt from them.
# - **I** The loss that is returned has lost its graph, so the next step cannot learn.
# - **J** One of the two tables never changes.
"""

_OTHER_STATEMENTS = r"""# - **A** The loss is in bits, not in nats.
# - **B** Each position has to predict the token that stands there already, not the next one.
# - **C** The softmax runs over the positions, not over the vocabulary.
# - **D** Each position has to predict the token after the next one, not the next one.
# - **E** The loss is the sum over the predicted tokens, not their mean.
# - **F** A prediction knows the tokens from its position on, and nothing of what came before it.
# - **G** Gradients of earlier steps are never cleared, so each step also repeats them.
# - **H** One of the two tables never changes.
# - **I** The learning rate acts on one of the two tables alone.
# - **J** The loss that is returned has lost its graph, so the next step cannot learn.
"""

_SEES_THE_FUTURE = {
    "source": [
        (
            """    logits = embedding[tokens] @ output
    wanted = F.one_hot(tokens, output.shape[1]).to(output.dtype)
    loss = (logits.softmax(dim=-1) - wanted).square().mean()
    loss.backward()
    with torch.no_grad():
        output -= learning_rate * output.grad
""",
            """    mixed = recent(embedding[tokens].flip(1)).flip(1)
    log_p = (mixed @ output)[:, :-2].log_softmax(dim=-1)
    loss = -log_p.gather(2, tokens[:, 2:, None]).mean() / math.log(2)
    loss.backward()
    with torch.no_grad():
        embedding -= learning_rate * embedding.grad
        output -= output.grad
""",
        ),
        ("# that people really make and publish. Read it", "# that people really make. Read it"),
        (_STATEMENTS, _OTHER_STATEMENTS),
        (
            "Copy the line of the logits into a cell, change one token,",
            "Copy the line of `mixed` into a cell, change one token,",
        ),
        ('"BDEGJ"', '"ADFGI"'),
        (
            """\
# Most of these mistakes were printed, in much the same form, in articles that teach language models. The page
# [Errata](../../book/errata.md#errata-language-models) shows what became of them there.
""",
            """\
# Mistakes get printed as well. The page [Errata](../../book/errata.md#errata-language-models) lists those of some
# articles that teach language models.
""",
        ),
    ],
    "wrong": [
        ('"BDEGA"', '"ADFGB"'),
        ('"BDEAC"', '"ADFBC"'),
        ('"ACFHI"', '"BCEHJ"'),
        ('"B, D, E, G, J"', '"A, D, F, G, I"'),
        ('"BBDEG"', '"AADFG"'),
        ('["B", "D", "E", "G", "J"]', '["A", "D", "F", "G", "I"]'),
        (
            '*_bug((0, 0, 0), "pass", "embedding[tokens]", "logits, tokens", _SQUARED, embedding_step="pass"),',
            """*_bug(
                (0, 0, 0),
                "pass",
                "recent(embedding[tokens].flip(1)).flip(1)",
                "logits[:, :-2], tokens[:, 2:]",
                "F.cross_entropy(logits.transpose(1, 2), target) / math.log(2)",
                output_step="output -= output.grad",
            ),""",
        ),
        (
            '''it predicts the token that "
        "stands there, from that token alone, with a squared error, and its step is wrong as well."''',
            '''it predicts the token "
        "after the next from tokens that come later, in bits, and its step is wrong as well."''',
        ),
    ],
}

VARIANTS = {
    "noise": {
        "powers of the contexts": {},
        "mixture over the contexts": {
            "source": _MIXED_SOURCE,
            "rules": [
                ("at the power 1, so that other", "at the share 1, so that other"),
                (
                    "The power does not change the logits as the noise asks for.",
                    "The share does not change the logits as the noise asks for.",
                ),
            ],
            "wrong": _MIXED_WRONG,
        },
        "powers of the words": {"source": _WORDS_SOURCE, "wrong": _WORDS_WRONG},
    },
    "turn": {"neighbours, anticlockwise": {}, "neighbours, clockwise": _CLOCKWISE, "ends, anticlockwise": _ENDS},
    "scale of adapters": {"alpha by the rank": {}, "alpha by the root of the rank": _ROOT},
    "share": {"of the matrices": {}, "of all parameters": _SHARE_OF_ALL},
    "network": {"plain": {}, "gated": _GATED},
    "law": {"constants outside": {}, "constants inside": _LAW},
    "temperature": {"acts first": {}, "acts last": _TEMPERATURE_LAST},
    "mistakes": {"copies its input": {}, "sees the future": _SEES_THE_FUTURE},
}
