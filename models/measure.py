#!/usr/bin/env python3
"""Accuracy of one of this folder's networks, or of a quantized copy, on the 500 held-out digits, in ONNX Runtime.

    measure.py MODEL.onnx [--like NAME]

NAME is the row of models.json whose input the file has; by default the row whose name starts the file's name.
Needs: numpy onnxruntime scikit-learn (requirements.txt).
"""
import argparse
import json
from pathlib import Path

import onnxruntime

from digits import load_split, to_input

TABLE = Path(__file__).with_name("models.json")


def find_row(rows, path, like):
    stem = Path(like or path).stem
    names = [row for row in rows if stem.startswith(Path(row["file"]).stem)]
    if not names:
        raise SystemExit(f"{stem}: not in {TABLE.name}; name the row with --like")
    return names[0]


def measure(path, row):
    """Fraction of the held-out digits that the file names rightly."""
    _, images, _, labels = load_split()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = to_input(images, row["shape"][1:], row["mean"], row["std"])
    step = len(inputs) if isinstance(row["shape"][0], str) else row["shape"][0]
    right = 0
    for start in range(0, len(inputs), step):
        scores = session.run(None, {row["input"]: inputs[start : start + step]})[0]
        right += int((scores.argmax(1) == labels[start : start + step]).sum())
    return right / len(inputs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--like", help="row of models.json to read the input from")
    arguments = parser.parse_args()
    row = find_row(json.loads(TABLE.read_text())["models"], arguments.model, arguments.like)
    print(f"{arguments.model}: {100 * measure(arguments.model, row):.1f} % of 500 held-out digits")


if __name__ == "__main__":
    main()
