"""`python -m landmark`."""

import sys

from landmark.cli.command import main

sys.exit(main())
