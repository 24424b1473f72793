"""What to ask a student about the language assignment: a pattern, a question, and what a good answer says.

The pattern is looked for, line by line, in what the notebook printed before it was sent. It has the right figures, so
whoever has others is asked about something else.
"""

VIVA = [
    (
        r"^power  0\.0: of -0\.64 cat -2\.66 quark -5\.65$",
        "Why does the rare word have the lowest logit here, while with the power 1 it has the highest of the three?",
        "With the power 0 the wrong examples are drawn evenly, so the logit follows how often the pair occurs. "
        "With the power 1 that is divided by how often the word occurs at all, and “quark” stands behind “the” "
        "two of the three times it occurs.",
    ),
    (
        r"^vectors multiplied for 1,000 tokens: 500,500 without a cache, 1,000 with it$",
        "Where does 500,500 come from, and what does the cache hold so that 1,000 are enough?",
        "Without a cache the first token's step multiplies one vector, the second's two, and so on: 1 + 2 + … + "
        "1,000 = 500,500. The cache holds the keys and values of all earlier tokens, which do not change.",
    ),
    (
        r"^1e\+24 operations: .* 98 for each; loss 1\.91$",
        "In this table the number of tokens per parameter grows with the budget. What in the law decides that?",
        "The two exponents: since alpha = 0.34 is above beta = 0.28, the best number of tokens grows faster than "
        "the best size. With equal exponents the ratio would stay the same.",
    ),
    (
        r"^spread 3\.0: +6 tokens have a chance, +1% of the guesses kept, .*$",
        "Why are hardly any of the guesses kept here, and is what is written any worse for it?",
        "The draft guesses evenly among 1,000 tokens, and the judge gives only 6 a chance. What is written "
        "follows the judge's distribution exactly, whether a guess is kept or not; only time is lost.",
    ),
    (
        r"^loss at first 0\.055, at last 0\.000$",
        "This is from the faulty step. What does its model learn to predict, so that the loss becomes so small "
        "while the text is worthless?",
        "The token that it has just been given: the targets are not shifted. Copying the input makes the loss "
        "small and says nothing about the next token, which the text that it writes shows.",
    ),
]
