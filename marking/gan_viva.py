"""What to ask a student about the GAN assignment: a pattern, a question, and what a good answer says.

The pattern is looked for, line by line, in what the notebook printed before it was sent. It has the right figures, so
whoever has others is asked about something else.
"""

VIVA = [
    (
        r"^ +-6 +-0\.0025 +-403\.4\d+$",
        "These are the slopes of the two losses where the discriminator is sure that a picture is generated. With "
        "which of them does a generator learn at the start of training, and why?",
        "With the non-saturating one, the second. The saturating loss is nearly flat there, so hardly anything "
        "reaches the generator just when it has most to learn.",
    ),
    (
        r"^moved by 5: V\(D\*\) = 0\.000, JSD = 0\.693 of at most 0\.693$",
        "The line is the same for shifts of 2, 3 and 4. What does that mean for a generator?",
        "The distributions do not overlap, so the divergence has its largest value, log 2, whatever the distance. "
        "It is constant there, so no gradient tells the generator in which direction to move.",
    ),
    (
        r"^at last: discriminator's loss 0\.00, generator's loss 0\.00$",
        "This is from the faulty step. Both losses are as small as they can be. Why is that no proof that "
        "anything was learnt?",
        "The losses are computed by the faulty step. They also cannot both be right: if the generated pictures "
        "fool the discriminator, its own loss on them is large. The share of good pictures is computed by "
        "something else.",
    ),
    (
        r"^\d+% of the generated pictures look like a real one$",
        "Suppose that this were 100 %. Could the generator be bad all the same, and what would show it?",
        "Yes: it may draw the same good picture every time. Coverage, as in question 6, measures how many of the "
        "real pictures have a generated one nearby.",
    ),
]
