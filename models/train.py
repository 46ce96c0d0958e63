#!/usr/bin/env python3
"""Trains the networks of this folder on scikit-learn's handwritten digits, exports them and writes the table.

    pip install -r requirements.txt && python train.py

Seeds, order and thread count are fixed, so the same machine and versions give the same weights; another processor may
round differently and give other bytes. Nothing is chosen by looking at the held-out images.
"""
import argparse
import hashlib
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import torch
from torch.nn import functional

import networks
from digits import load_split, to_input
from measure import measure

HERE = Path(__file__).resolve().parent
EPOCHS, BATCH, SEED = 60, 64, 7
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

KEPT = (
    "TorchScript exporter: torch.onnx.export(model.eval(), image, file, opset_version=17, dynamo=False, "
    "training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)"
)
FOLDED = "default exporter: torch.onnx.export(model.eval(), (image,), file, dynamo=True)"


def describe(name, network, range_, how, batch="batch", shape=(1, 16, 16), mean=(0.5,), std=(0.5,)):
    facts = {"file": name + ".onnx", "network": network, "task": "handwritten digit, 10 classes", "input": "image"}
    return facts | {"shape": [batch, *shape], "range": range_, "mean": list(mean), "std": list(std), "how": how}


ROWS = [
    describe("digits_resnet", "resnet", "signed", KEPT),
    describe("digits_mobilenet", "mobilenet", "unit", KEPT, mean=(0.0,), std=(1.0,)),
    describe("digits_squeezenet", "squeezenet", "imagenet", KEPT, batch=1, shape=(3, 32, 32), **IMAGENET),
    describe("digits_folded", "resnet", "signed", FOLDED),
]


def vary(images, generator):
    """Each image turned by up to 12 degrees, scaled by up to 10 % and shifted by up to an eighth of its width."""
    count = len(images)
    uniform = lambda reach: (2 * torch.rand(count, generator=generator) - 1) * reach
    angle, scale, right, down = uniform(math.radians(12)), 1 + uniform(0.1), uniform(0.125), uniform(0.125)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    affine = torch.stack([torch.stack([cosine, -sine, right], 1), torch.stack([sine, cosine, down], 1)], 1)
    grid = functional.affine_grid(affine, images.shape, align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def train(network, row):
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    images, _, labels, _ = load_split()
    inputs = torch.from_numpy(to_input(images, row["shape"][1:], row["mean"], row["std"]))
    labels = torch.from_numpy(labels)
    model = getattr(networks, network)().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-2)
    batches = len(inputs) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=EPOCHS * batches)
    for _ in range(EPOCHS):
        order = torch.randperm(len(inputs), generator=generator)
        for step in range(batches):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            loss = functional.cross_entropy(model(vary(inputs[chosen], generator)), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def export(model, row, path):
    image = torch.zeros([1, *row["shape"][1:]])
    symbolic = isinstance(row["shape"][0], str)
    names = {"input_names": ["image"], "output_names": ["scores"]}
    if row["how"] is FOLDED:
        dynamic = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if symbolic else {}
        torch.onnx.export(model, (image,), path, dynamo=True, external_data=False, verbose=False, **names, **dynamic)
    else:
        axes = {"dynamic_axes": {"image": {0: "batch"}, "scores": {0: "batch"}}} if symbolic else {}
        preserve = torch.onnx.TrainingMode.PRESERVE
        torch.onnx.export(
            model, image, path, opset_version=17, dynamo=False, training=preserve, do_constant_folding=False, **names, **axes
        )


def forget_paths(path):
    """Exporters note where the program lay on the disk; that says nothing about the network."""
    model = onnx.load(path)
    nodes = list(model.graph.node) + [node for function in model.functions for node in function.node]
    for item in [*nodes, *model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer, model.graph]:
        item.doc_string = ""
        del item.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def read_facts(path, row):
    model = onnx.load(path)
    operators = Counter(node.op_type for node in model.graph.node)
    assert (operators["BatchNormalization"] > 0) == (row["how"] is KEPT), f"{path.name}: the exporter changed its mind about BN"
    content = path.read_bytes()
    return row | {
        "opset": model.opset_import[0].version,
        "ir": model.ir_version,
        "bn_nodes": operators["BatchNormalization"],
        "parameters": sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT),
        "accuracy": measure(path, row),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "operators": dict(sorted(operators.items())),
        "torch": torch.__version__.split("+")[0],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    trained, table = {}, []
    for row in ROWS:
        network = row.pop("network")
        if network not in trained:
            trained[network] = train(network, row)
        path = HERE / row["file"]
        export(trained[network], row, path)
        forget_paths(path)
        table.append(read_facts(path, row))
        print(f"{row['file']}: {100 * table[-1]['accuracy']:.1f} %, {table[-1]['bytes']} bytes, {table[-1]['bn_nodes']} BN", flush=True)
    (HERE / "models.json").write_text(json.dumps({"models": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
