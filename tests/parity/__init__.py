"""Our models against what the originals' code gave: `python -m tests.parity [FOLDER ...]`."""
