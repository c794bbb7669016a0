"""Exit codes of every entry point. A call with several runs returns a single code."""

FINISHED = 0
FAILED = 1
REFUSED = 2
DIVERGED = 3
SIGNALLED = 128  # plus the number of the signal
