"""`python -m supervisor`: the same as the command `supervisor`."""

from __future__ import annotations

import sys

from supervisor.cli.main import main

sys.exit(main())
