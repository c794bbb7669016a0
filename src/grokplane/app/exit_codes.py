"""Exit codes of every entry point; a call of several runs ends with one for all of them."""

FINISHED = 0
FAILED = 1
REFUSED = 2
DIVERGED = 3
SIGNALLED = 128  # plus the number of the signal
