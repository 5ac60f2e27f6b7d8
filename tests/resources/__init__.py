"""Files the tests read, all of them in the repository: a missing one is a failure, not a skip."""

from pathlib import Path

RESOURCES = Path(__file__).parent
GOLDENS = RESOURCES / "goldens"
GOLDENS_OF_HEADS = RESOURCES / "goldens-heads"
"""Of families that are not built yet."""
ANNOTATIONS = RESOURCES / "annotations"
