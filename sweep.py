"""Run a sweep file with no server: `python sweep.py sweeps/NAME.yaml [key=value ...]`; `--help` lists the flags."""

from grokplane.sweep import main

if __name__ == "__main__":
    main()
