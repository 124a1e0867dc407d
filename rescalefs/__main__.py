"""`python -m rescalefs` is `rescalefs`."""

from __future__ import annotations

import sys

from rescalefs.cli.main import main

sys.exit(main())
