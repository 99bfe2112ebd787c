"""The vault's program with a clock that stands: `python -m tests.vault_at TIME`."""

import sys
from datetime import datetime

from gridsecure_api.vault import main

if __name__ == "__main__":
    moment = datetime.fromisoformat(sys.argv[1])
    main(clock=lambda: moment)
