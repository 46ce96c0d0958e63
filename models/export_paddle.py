#!/usr/bin/env python3
"""Trains a small MobileNet on handwritten digits in PaddlePaddle, exports it, and prints the table of README.md.

    pip install -r requirements-paddle.txt && python export_paddle.py FOLDER [--zeroq PROGRAM]

With --zeroq each file is quantized, and the accuracy of the result is a column more.
"""
import argparse
from pathlib import Path

import numpy as np
import paddle
import paddle2onnx
from paddle import nn

from exported import SIZE, describe, digits

EPOCHS, BATCH = 12, 64


def convolution(inputs, outputs, kernel=3, stride=1, groups=1):
    layer = nn.Conv2D(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias_attr=False)
    return [layer, nn.BatchNorm2D(outputs)]


class InvertedResidual(nn.Layer):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        hidden = 3 * inputs
        wide = convolution(inputs, hidden, 1) + [nn.ReLU6()] + convolution(hidden, hidden, 3, stride, hidden) + [nn.ReLU6()]
        self.body = nn.Sequential(*wide, *convolution(hidden, outputs, 1))
        self.same = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.same else self.body(x)


def mobilenet():
    blocks = [InvertedResidual(*form) for form in [(16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 40, 2)]]
    head = [nn.Hardswish(), nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(96, 10)]
    return nn.Sequential(*convolution(1, 16), nn.ReLU6(), *blocks, *convolution(40, 96, 1), *head)


def train():
    paddle.seed(7)
    generator = np.random.default_rng(7)
    network = mobilenet()
    images, _, labels, _ = digits()
    optimizer = paddle.optimizer.Adam(2e-3, parameters=network.parameters())
    for _ in range(EPOCHS):
        order = generator.permutation(len(images))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            scores = network(paddle.to_tensor(images[chosen]))
            nn.functional.cross_entropy(scores, paddle.to_tensor(labels[chosen])).backward()
            optimizer.step()
            optimizer.clear_grad()
    network.eval()
    return network


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--zeroq")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    network = train()
    image = [paddle.static.InputSpec([None, 1, SIZE, SIZE], "float32", "image")]
    whole, saved = arguments.folder / "paddle", arguments.folder / "saved"
    paddle.onnx.export(network, str(whole), input_spec=image, opset_version=13)
    paddle.jit.save(network, str(saved), input_spec=image)
    program = [f"{saved}.json", f"{saved}.pdiparams"]
    paddle2onnx.export(*program, f"{saved}.onnx", opset_version=17, optimize_tool="None")
    describe("`paddle.onnx.export`", f"{whole}.onnx", arguments.zeroq)
    describe("`paddle2onnx.export`, `optimize_tool=\"None\"`", f"{saved}.onnx", arguments.zeroq)


if __name__ == "__main__":
    main()
