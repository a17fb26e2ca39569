"""The proxy process. The monkey patch must come before every other import."""

from gevent import monkey

# Threads, locks and queues stay native: database work runs in native threads, and a lock that belongs to the event
# loop must not be taken there.
monkey.patch_all(thread=False, queue=False, subprocess=False, signal=False)

import sys  # noqa: E402

from proxyd.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
