"""Train on algorithmic data: `python train.py [key=value ...]`; `--help` lists the keys."""

from grokplane.app import main

if __name__ == "__main__":
    main("train")
