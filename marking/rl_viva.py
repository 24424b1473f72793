"""What to ask a student about the RL assignment: a pattern, a question, and what a good answer says.

The pattern is looked for, line by line, in what the notebook printed before it was sent.
"""

VIVA = [
    (
        r"^the last step before the time limit is worth .*\n.*$",
        "Where do the two numbers come from, and what would an agent learn that takes the second?",
        "A cut by the time limit is no end: the value of the next state still counts, with the solution 1 + 0.99 "
        "· 100 = 100. Taken for an end, only the reward of 1 is left, and the agent learns that a state that it "
        "reached late is bad, although nothing about it is.",
    ),
    (
        r"^epsilon 0\.2: .*$",
        "Why is the best action done with 0.85 and not 0.8?",
        "With probability 0.2 an action is drawn evenly among all four, the best one included: 0.8 + 0.2 / 4.",
    ),
    (
        r"^places hold the numbers \[6, .*$",
        "In which order have these been written, and why may the places be out of order?",
        "The buffer is a ring: when it is full, the newest overwrite the oldest, so the next place is behind the "
        "newest. For drawing, the order does not matter. The solution's third line holds 6, 7, 8, 3, 4, 5.",
    ),
    (
        r"^mean of the maximum of one network: .*$",
        "All true values are 0. Where does this number come from, and why is the double estimate near 0?",
        "The network's errors are random, and the maximum picks the largest error: its mean is above 0. The "
        "double estimate chooses with one network and asks another, whose error at that place is independent. The "
        "solution prints +1.17 and +0.01.",
    ),
    (
        r"^beta 0\.5: .*$",
        "Which of the five actions is the best paid, and why does it not have the whole probability?",
        "The last, with a reward of 4. The divergence from the reference costs beta a nat, so the best policy is "
        "proportional to the reference times exp(reward / beta); only as beta goes to 0 does one action take all. "
        "The solution prints 0.90 for it.",
    ),
]
