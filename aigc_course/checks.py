"""Checks of arguments that several modules make; each raises a `ValueError` that says what would have been right."""


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise unless `value` is at least `least`."""
    if value < least:
        raise ValueError(f"{name} is {value}; it takes a whole number ≥ {least}.")


def check_positive(name: str, value: float) -> None:
    """Raise unless `value` is above 0 (NaN is not)."""
    if not value > 0:
        raise ValueError(f"{name} is {value}; it takes a number above 0.")


def check_not_negative(name: str, value: float) -> None:
    """Raise unless `value` is at least 0 (NaN is not)."""
    if not value >= 0:
        raise ValueError(f"{name} is {value}; it takes a number ≥ 0.")
