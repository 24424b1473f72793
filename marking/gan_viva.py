"""What to ask a student about the GAN assignment: a pattern, a question, and what a good answer says.

The pattern is looked for, line by line, in what the notebook printed before it was sent.
"""

VIVA = [
    (
        r"^ +-6 .*$",
        "These are the slopes of the two losses where the discriminator is sure that a picture is generated. With "
        "which of them does a generator learn at the start, and why is that so?",
        "With the non-saturating one. The saturating loss is nearly flat there, so hardly anything reaches the "
        "generator just when it has most to learn. The solution prints -0.0025 and -403.4288.",
    ),
    (
        r"^moved by 5: .*$",
        "From a shift of 2 on, this line no longer changes. What does it mean for a generator?",
        "The distributions no longer overlap, so the divergence has its largest value, log 2, whatever the "
        "distance. It is constant there, so no gradient tells the generator in which direction to move.",
    ),
    (
        r"^at last: .*$",
        "This is from the faulty step. Both losses look good. Why is that no proof?",
        "The losses are computed by the faulty step, and each is relative to the other player. Two losses near 0 "
        "cannot both be right: for one and the same discriminator, pictures that fool it cost it something. The "
        "share of good pictures is judged by something else.",
    ),
    (
        r"^\d+% of the generated pictures .*$",
        "Suppose that this were 100 %. Could the generator be bad all the same, and what would show it?",
        "Yes: it may draw one and the same good picture every time. Coverage, as in question 6, counts how many "
        "of the real pictures have a generated one nearby.",
    ),
]
