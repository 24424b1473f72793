"""What to ask a student about the diffusion assignment: a pattern, a question, and what a good answer says.

The pattern is looked for, line by line, in what the notebook printed before it was sent. It has the right figures, so
whoever has others is asked about something else.
"""

VIVA = [
    (
        r"^rates  0\.19 .* 0\.75$",
        "The signal falls by the same amount in each step. Why do the rates grow?",
        "A step multiplies the signal by the square root of 1 - rate. The same difference is a larger part of "
        "what is left, so the later the step, the larger its rate.",
    ),
    (
        r"^t = 0\.95: noise 0\.097 and .*$",
        "The network's answer was off by 0.01 each time. Why is the guess of the clean example so much worse when "
        "the question was for the noise?",
        "Near the end hardly any signal is left. The clean example follows from the noise by a division by the "
        "small share of the signal, which makes the error large.",
    ),
    (
        r"^  2 steps, eta = 0, 0\.5 and 1: 0\.2\d, .*$",
        "The data have the spread 0.5. Why are the drawn points so much closer together after two steps?",
        "In a large step the guess of the clean example stands for the whole rest of the way. That guess is a "
        "mean over all examples that are possible, and a mean has less spread than what it is a mean of. With "
        "more steps the spread comes near 0.5.",
    ),
    (
        r"^w =   8\.0: mean 3\.84, standard deviation 0\.40$",
        "What has guidance gained here, and what has it cost?",
        "The mean is pushed beyond the class's own, 3, away from the other examples. The spread falls from 1 to "
        "0.40, so what is drawn is less diverse.",
    ),
    (
        r"^  1 steps: mean 3\.00, spread 0\.00$",
        "The data have the mean 3 and the spread 2. Why does a single step of Euler's method draw the mean, and "
        "nothing else?",
        "At the beginning of the path there is only noise, which says nothing about the example, so the best "
        "field points from the noise to the mean of the data. One step of length 1 goes all the way to it.",
    ),
]
