"""`python -m tests.parity [FOLDER ...]`."""

import sys

from tests.parity.harness import main

sys.exit(main())
