"""A receiver as a process of its own, to be killed: prints its port, then one line per series handed on."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.receive.receiving import Receiver

if __name__ == "__main__":
    node = Receiver(Path(sys.argv[1]), quiet_s=0.3, incomplete_s=1.0)
    print(node.port, flush=True)
    time.sleep(300)
