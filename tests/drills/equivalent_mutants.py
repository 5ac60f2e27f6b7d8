"""Mutants that change no vector, each with the reason.

Keys are (module, function, change, before, after), as tests.drills.source_mutants prints them.
"""

_MEMORY = "how much is held at once; the numbers are the same"
_ROUNDING = "differs by rounding alone, which float64 does not show"
_LEGACY = "no config reaches the legacy reading of special tokens"
_SIDES = "in every family the vectors of both sides come of the same columns"

EQUIVALENT = {}
