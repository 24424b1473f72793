"""What to ask a student about the language assignment: a pattern, a question, and what a good answer says.

The pattern is looked for, line by line, in what the notebook printed before it was sent.
"""

VIVA = [
    (
        r"^power  0\.0: .*$",
        "Why does the rare word have the lowest logit here, where with the power 1 it has the highest of the three?",
        "With the power 0 the wrong examples are drawn evenly, so nothing is divided out and the logit follows "
        "how often the pair occurs. With the power 1 it is compared with how often the word occurs at all, and "
        "nearly every time that “quark” occurs here, it stands behind “the”. The solution prints -0.64, -2.66, "
        "-5.65.",
    ),
    (
        r"^vectors multiplied for 1,000 tokens: .*$",
        "Where does 500,500 come from, and what does the cache hold so that 1,000 are enough?",
        "Without a cache the first token's step multiplies one vector, the second's two, and so on: 1 + 2 + … + "
        "1,000 = 500,500. The cache holds the keys and values of all earlier tokens, which do not change.",
    ),
    (
        r"^1e\+24 operations: .*$",
        "In this table the tokens for each parameter grow with the budget. What in the law decides that?",
        "The two exponents: with alpha = 0.34 above beta = 0.28, the best number of tokens grows faster than the "
        "best size. With equal exponents the ratio would stay the same. The solution prints 26 at the smallest "
        "budget and 98 at the largest.",
    ),
    (
        r"^spread 3\.0: .*$",
        "Why are hardly any of the guesses kept here, and is what is written any worse for it?",
        "The draft guesses evenly among 1,000 tokens, and the judge gives only a few a chance. What is written "
        "follows the judge's distribution exactly, kept or not; only the time is lost. The solution prints 6 "
        "tokens and 1 %.",
    ),
    (
        r"^loss at first .*$",
        "This is from the faulty step. Such a loss is too good. How could you have known, without seeing the text?",
        "A text cannot be predicted that well from the letters before it, so the model must see what it should "
        "predict. Whoever knows about how uncertain the next letter is knows a loss that cannot be true.",
    ),
]
