"""Run a sweep file with no server: `python sweep.py sweeps/NAME.yaml [key=value ...]`; `--help` lists the flags."""

from grokplane.waiting import BEFORE_REFUSALS, Doing

if __name__ == "__main__":
    with Doing("loading torch", BEFORE_REFUSALS):
        from grokplane.sweep.command import main
    main()
