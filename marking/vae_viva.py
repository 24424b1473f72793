"""What to ask a student about the VAE assignment: a pattern, a question, and what a good answer says.

The pattern is looked for, line by line, in what the notebook printed before it was sent.
"""

VIVA = [
    (
        r"^radius 3\.0: .*$",
        "As the circle of means grows, the first part stays below log 8 = 2.08, and the mismatch grows on. Why?",
        "The first part is the information in a code about which of eight pictures it came from, and that is at "
        "most log 8 nats. The mismatch compares the average of the eight distributions with the prior; a larger "
        "circle takes it ever further away. The solution prints KL 5.64 = 2.04 + mismatch 3.60.",
    ),
    (
        r"^radius 0\.0: .*$",
        "With radius 0 all eight pictures have the same code. Why is the KL term not 0 all the same?",
        "A code says nothing about the picture then, so the information is 0. But the one distribution that is "
        "left is narrower than the prior, and that is the mismatch. The solution prints KL 1.14 = 0.00 + mismatch "
        "1.14.",
    ),
    (
        r"^mean probability of lit pixels .*$",
        "This is printed below the loss of the faulty step. Why did the loss not show that the step is wrong?",
        "The faulty step computes the loss itself, with its mistakes in it, and can make that loss small. The "
        "pixels are judged by something else. The solution's text prints 0.99 for lit and 0.95 for dark pixels: "
        "everything is lit.",
    ),
    (
        r"^loss: .*\n.*lit pixels.*$",
        "Suppose that the decoder ignored the code. Which two probabilities would be printed for this data, in "
        "the best case?",
        "One half twice: every pixel is lit in two of the four pictures, so a decoder that cannot tell them apart "
        "does best with 1/2.",
    ),
]
