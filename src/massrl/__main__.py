"""Run the command line: ``python -m massrl`` is ``massrl``."""

import sys

from massrl.cli import main

sys.exit(main())
