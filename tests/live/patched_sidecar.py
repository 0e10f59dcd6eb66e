"""The sidecar with constants of another value: `python -m tests.live.patched_sidecar`.

The variable PATCHES holds them as JSON, by module and name: waits of a minute in a test's seconds,
or a later version that accepts more. A module that copies a name at its import sees the value too,
if the module that owns it stands first.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

if __name__ == "__main__":
    for module, values in json.loads(os.environ["PATCHES"]).items():
        for name, value in values.items():
            # A misspelt name would leave the test with the usual value.
            getattr(importlib.import_module(module), name)
            setattr(importlib.import_module(module), name, value)
    from stream_api.__main__ import main

    sys.exit(main())
