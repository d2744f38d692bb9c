# SPDX-License-Identifier: Apache-2.0
"""What peers share. It stands on the kit of tests/e2e: `from kit import net, capture` finds that one's modules."""

import os

__path__.append(os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))), "e2e", "kit"))
