"""Train on algorithmic data: `python train.py [key=value ...]`; `--help` lists the keys."""

from grokplane.waiting import BEFORE_REFUSALS, Doing

if __name__ == "__main__":
    with Doing("loading torch", BEFORE_REFUSALS):
        from grokplane.app import main
    main("train")
