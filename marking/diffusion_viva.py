"""What to ask a student about the diffusion assignment: a pattern, a question, and what a good answer says.

The pattern is looked for, line by line, in what the notebook printed before it was sent.
"""

VIVA = [
    (
        r"^rates .*$",
        "The signal falls by the same amount in each step. Why do the rates grow?",
        "A step multiplies the signal by the root of 1 - rate. The same difference is a larger part of what is "
        "left, so the later the step, the larger its rate. The solution's rates go from 0.19 to 0.75.",
    ),
    (
        r"^t = 0\.95: .*$",
        "The network's answer was off by 0.01 each time. Why is the guess of the clean example far worse with one "
        "of the three questions here?",
        "Near the end hardly any signal is left. The clean example follows from the noise by a division by the "
        "small share of the signal, which makes the error large. The solution prints 0.097 for the noise.",
    ),
    (
        r"^  2 steps, eta = .*$",
        "The data have the spread 0.5. Why are the drawn points closer together after two steps?",
        "In a large step the guess of the clean example, which is a mean over all that are possible, stands for "
        "the whole rest of the way, and a mean is less spread than what it is a mean of. With more steps it comes "
        "near 0.5: the solution prints 0.24, and 0.50 after 100 steps with eta = 0.",
    ),
    (
        r"^w =   8\.0: .*$",
        "What has guidance gained, and what has it cost?",
        "The mean is pushed beyond the class's own, 3, and away from the other examples; the spread falls from 1, "
        "so what is drawn is less diverse. The solution prints 3.84 and 0.40.",
    ),
    (
        r"^  1 steps: .*$",
        "The data have the mean 3 and the spread 2. Why does a single step of Euler's draw the mean, and nothing else?",
        "At the beginning of the path there is only noise, which says nothing about the example, so the best "
        "field points from the noise to the mean of the data. One step of length 1 goes all the way to it. The "
        "solution prints 3.00 and 0.00.",
    ),
]
