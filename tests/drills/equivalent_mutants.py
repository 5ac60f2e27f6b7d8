"""Mutants that change no vector, each with the reason: (module, function, change, before, after)."""

EQUIVALENT = {}
