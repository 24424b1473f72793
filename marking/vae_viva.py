"""What to ask a student about the VAE assignment: a pattern, a question, and what a good answer says.

The pattern is looked for, line by line, in what the notebook printed before it was sent. It has the right figures, so
whoever has others is asked about something else.
"""

VIVA = [
    (
        r"^radius 3\.0: KL 5\.6\d = 2\.0\d \+ mismatch 3\.6\d$",
        "As the circle of means grows, the first part of this sum stays below log 8 = 2.08, and the mismatch goes "
        "on growing. Why?",
        "The first part is the information in a code about which of eight pictures it came from, and that is at "
        "most log 8 nats. The mismatch compares the average of the eight distributions with the prior, and on a "
        "larger circle that average lies further from it.",
    ),
    (
        r"^radius 0\.0: KL 1\.14 = 0\.00 \+ mismatch 1\.14$",
        "With radius 0 all eight pictures have the same code. Why is the KL term still not 0?",
        "A code says nothing about the picture then, so the information is 0. But the one distribution that is "
        "left is narrower than the prior, and that is the mismatch.",
    ),
    (
        r"^mean probability of lit pixels 0\.99, of dark pixels 0\.9\d$",
        "This is printed below the loss of the faulty step. Why did the loss not show that the step is wrong?",
        "The faulty step computes the loss itself, with its mistakes in it, and can make that loss small. The "
        "pixels are judged by something else, and all of them are lit.",
    ),
    (
        r"^loss: .* at first, .* after 300 steps\nmean probability of lit pixels .*$",
        "Suppose that the decoder ignored the code. Which two probabilities would be printed for this data, in "
        "the best case?",
        "One half, twice: every pixel is lit in two of the four pictures, so a decoder that cannot tell them "
        "apart does best with 1/2.",
    ),
]
