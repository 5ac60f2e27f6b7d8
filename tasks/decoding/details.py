"""What a clip's ledger row says in its `detail`, for who writes it and who reads it."""

__all__ = ["MANY_FRAMES"]

MANY_FRAMES = 1000
"""Of a clip: where more are kept its ledger row says how many."""
