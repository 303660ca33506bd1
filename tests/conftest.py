"""What holds for all tests: property tests without deadlines; in CI fewer examples, and the same ones every time.

Where pytest-xdist shares the tests among processes, each of them, and what it starts, computes with one thread: two
processes of two threads each on two cores would wait for each other most of the time.
"""

import os
import signal

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# A shell that starts the tests in its background has them, and all that they start, ignore Ctrl+C.
signal.signal(signal.SIGINT, signal.default_int_handler)
