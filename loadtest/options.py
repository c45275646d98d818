"""What the options of several scenarios share: how their values are read."""

import argparse


def read_count(text: str) -> int:
    """Return a whole number above 0; raise ArgumentTypeError for anything else."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def read_number(text: str) -> float:
    """Return a finite number above 0; raise ArgumentTypeError for anything else."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number
