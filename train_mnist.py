"""Train on images and watch the information plane: `python train_mnist.py [key=value ...]`; `--help` lists the keys."""

from grokplane.app import main

if __name__ == "__main__":
    main("train_mnist")
