"""`python -m tradewind.cli` is `tw`."""

from __future__ import annotations

import sys

from tradewind.cli import main

sys.exit(main())
