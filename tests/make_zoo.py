#!/usr/bin/env python3
"""Write small ONNX files, one for each habit of an exporter, into a folder.

    make_zoo.py FOLDER

Weights and BatchNormalization statistics are random but in keeping with each other: convolutions keep the variance of what
they read near one. `zoo.json` lists the files with their number of BN nodes, the flags that `zeroq quantize` needs, and the
file that says what is to be computed: the same one, or `NAME.reference.onnx` where ONNX Runtime reads it otherwise.
Every file passes onnx.checker and runs in ONNX Runtime before it is listed.
Needs: onnx onnxruntime numpy (requirements.txt).
"""
import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from zoo import batches, files, layers, old_exporters, pytorch, sampling, sizes, tails, tensorflow

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


def save(network, folder):
    path = folder / f"{network.name}.onnx"
    model = network.build()
    if network.name == "external_data":
        (folder / "external_data.bin").unlink(missing_ok=True)
        onnx.save(model, path, save_as_external_data=True, location="external_data.bin", size_threshold=0)
    else:
        onnx.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)
    return path, model


def run(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    shape = {value.name: [d if isinstance(d, int) else 1 for d in value.shape] for value in session.get_inputs()}
    shape = {name: [32 if d == 1 and k > 1 else d for k, d in enumerate(dims)] for name, dims in shape.items()}
    session.run(None, {value.name: np.zeros(shape[value.name], TYPES[value.type]) for value in session.get_inputs()})


def describe(network, folder):
    path, model = save(network, folder)
    reference = save(network.reference, folder)[0] if network.reference else path
    run(reference)
    norms = network.norms or sum(node.op_type == "BatchNormalization" for node in model.graph.node)
    row = {"file": path.name, "reference": reference.name, "bn_nodes": norms, "opset": model.opset_import[0].version}
    return row | {"flags": network.flags, "range": network.range, "floor": network.floor}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    makers = [maker for theme in (old_exporters, layers, sampling, tensorflow, pytorch, sizes, batches, tails, files) for maker in theme.MAKERS]
    (folder / "zoo.json").write_text(json.dumps([describe(make(), folder) for make in makers], indent=1) + "\n")


if __name__ == "__main__":
    main()
