"""What to ask a student about the RL assignment: a pattern, a question, and what a good answer says.

The pattern is looked for, line by line, in what the notebook printed before it was sent. It has the right figures, so
whoever has others is asked about something else.
"""

VIVA = [
    (
        r"^the last step before the time limit is worth 100;\nto an agent that takes the cut for an end, 1$",
        "Where do the two numbers come from, and what does an agent learn from the second one?",
        "A time limit does not end the task: the value of the next state still counts, which makes 1 + 0.99 · 100 "
        "= 100. An agent that takes it for an end counts the reward of 1 alone, and learns that whatever it "
        "reaches late is nearly worthless.",
    ),
    (
        r"^epsilon 0\.2: .* 0\.05 0\.05 0\.85 0\.05$",
        "Why is the best action taken with probability 0.85 and not 0.8?",
        "With probability 0.2 an action is drawn evenly among all four, the best one included: 0.8 + 0.2 / 4.",
    ),
    (
        r"^places hold the numbers \[6, 7, 8, 3, 4, 5\]; drawn: .*$",
        "In which order were these six written, and does it matter that the places are out of order?",
        "3, 4, 5 and then 6, 7, 8. The buffer is a ring: once it is full, the newest overwrite the oldest. For an "
        "even draw the order does not matter.",
    ),
    (
        r"^mean of the maximum of one network: \+1\.17$",
        "All true values are 0. Where does this number come from, and why is the double estimate near 0?",
        "The network's errors are random, and the maximum picks the largest of five: its mean is above 0. The "
        "double estimate chooses with one network and asks another, whose error at that place is independent.",
    ),
    (
        r"^beta 0\.5: tuned 0\.01 .* 0\.90   best .*$",
        "The fifth token is paid best. Why does it not get the whole probability?",
        "The divergence from the reference costs beta per nat, so the best policy is proportional to the "
        "reference times exp(reward / beta). Only as beta goes to 0 does one token take all.",
    ),
]
