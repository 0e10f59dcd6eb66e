"""`python -m deploy.healthcheck URL`: exit status 0 when it answers 200; the image has no curl."""

import sys
import urllib.request

TIMEOUT_SECONDS = 2

with urllib.request.urlopen(sys.argv[1], timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
    sys.exit(0 if answer.status == 200 else 1)
