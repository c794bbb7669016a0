"""Continue runs under other settings: `python branch.py RUN --at STEP key=value ...`; `--help` lists the flags."""

from grokplane.sweep.branching import main

if __name__ == "__main__":
    main()
