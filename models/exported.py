"""What an export has kept, and what zeroq makes of it: for the scripts that try exporters (export_keras.py, export_paddle.py)."""
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from digits import load_split, to_input

SIZE = 16


def digits(channels_last=False):
    """`(train inputs, test inputs, train labels, test labels)` in 0..1, [N, 1, 16, 16] or [N, 16, 16, 1]."""
    train, test, train_labels, test_labels = load_split()
    inputs = [to_input(images, (1, SIZE, SIZE), (0,), (1,)) for images in (train, test)]
    if channels_last:
        inputs = [images.transpose(0, 2, 3, 1) for images in inputs]
    return *inputs, train_labels, test_labels


def accuracy(path):
    """Percent of the held-out digits that the file names rightly, in ONNX Runtime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    _, images, _, labels = digits(channels_last=image.shape[-1] == 1)
    scores = [session.run(None, {image.name: images[k : k + 1]})[0].argmax() for k in range(len(images))]
    return 100 * float(np.mean(np.array(scores) == labels))


def quantize(zeroq, path, statistics=None):
    """The INT8 file beside `path`, all of it integers."""
    result = path.with_suffix(".int8")
    flags = ["--input-range", "unit", "--objective", "integer", "--force", "--quiet"]
    if statistics:
        flags += ["--stats-from", statistics]
    subprocess.run([zeroq, "quantize", path, "-o", result, *flags], check=True, stdout=subprocess.DEVNULL)
    return result


def describe(name, path, zeroq=None, statistics=None):
    """A row of the table in README.md."""
    path = Path(path)
    model = onnx.load(path)
    norms = sum(node.op_type == "BatchNormalization" for node in model.graph.node)
    row = f"| {name} | {model.opset_import[0].version} | {len(model.graph.node)} | {norms} | {accuracy(path):.1f} % |"
    if zeroq:
        row += f" {accuracy(quantize(zeroq, path, statistics)):.1f} % |"
    print(row, flush=True)
