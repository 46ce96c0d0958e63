#!/usr/bin/env python3
"""Write small ONNX files, one for each habit of an exporter, into a folder.

    make_zoo.py FOLDER

Weights and BatchNormalization statistics are random but in keeping with each other: convolutions keep the variance of what
they read near one. `zoo.json` lists the files with their number of BN nodes and the flags that `zeroq quantize` needs.
Every file passes onnx.checker and runs in ONNX Runtime before it is listed.
Needs: onnx onnxruntime numpy (requirements.txt).
"""
import argparse
import json
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


class Network:
    """A graph in the making. Every method that adds a node returns the name of its first output."""

    def __init__(self, name, shape, opset=17, ir=8, constants=False, initializers_as_inputs=False):
        self.name, self.opset, self.ir = name, opset, ir
        self.constants, self.initializers_as_inputs = constants, initializers_as_inputs
        self.generator = np.random.default_rng(zlib.crc32(name.encode()))
        self.inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)]
        self.nodes, self.initializers, self.outputs, self.domains, self.count = [], [], [], [], 0

    def fresh(self, stem):
        self.count += 1
        return f"{stem}_{self.count}"

    def node(self, operator, *inputs, outputs=1, domain="", **attributes):
        name = self.fresh(operator.lower())
        names = [name if outputs == 1 else f"{name}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=f"/{name}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def tensor(self, values, stem="weight", data_type=np.float32):
        """A constant, held where this exporter holds them."""
        name = self.fresh(stem)
        tensor = numpy_helper.from_array(np.asarray(values, data_type), name)
        if self.constants:
            self.nodes.append(helper.make_node("Constant", [], [name], name=f"/{name}", value=tensor))
            return name
        self.initializers.append(tensor)
        if self.initializers_as_inputs:
            self.inputs.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
        return name

    def integers(self, *values):
        return self.tensor(values, "shape", np.int64)

    def random(self, *shape, low=None, high=None, scale=1.0):
        if low is None:
            return self.generator.normal(size=shape) * scale
        return self.generator.uniform(low, high, shape)

    def conv(self, x, inputs, outputs, kernel=3, stride=1, groups=1, bias=False, rank=2, **attributes):
        kernel_shape = [kernel] * rank
        if "auto_pad" not in attributes:
            attributes.setdefault("pads", [kernel // 2] * (2 * rank))
        fan_in = inputs // groups * kernel**rank
        weight = self.tensor(self.random(outputs, inputs // groups, *kernel_shape, scale=(2 / fan_in) ** 0.5))
        more = [self.tensor(self.random(outputs, scale=0.1), "bias")] if bias else []
        strides = [stride] * rank
        return self.node("Conv", x, weight, *more, kernel_shape=kernel_shape, strides=strides, group=groups, **attributes)

    def norm(self, x, channels):
        scale, shift = self.random(channels, low=0.7, high=1.3), self.random(channels, scale=0.2)
        mean, variance = self.random(channels, scale=0.2), self.random(channels, low=0.6, high=1.4)
        names = [self.tensor(v, s) for v, s in zip((scale, shift, mean, variance), ("scale", "shift", "mean", "variance"))]
        return self.node("BatchNormalization", x, *names, epsilon=1e-5)

    def block(self, x, inputs, outputs, activation="Relu", **conv):
        """Conv, BN, activation."""
        return self.node(activation, self.norm(self.conv(x, inputs, outputs, **conv), outputs))

    def clip(self, x, low, high):
        if self.opset < 11:
            return self.node("Clip", x, min=float(low), max=float(high))
        return self.node("Clip", x, self.tensor(low, "low"), self.tensor(high, "high"))

    def linear(self, x, inputs, outputs):
        weight = self.tensor(self.random(outputs, inputs, scale=inputs**-0.5))
        return self.node("Gemm", x, weight, self.tensor(self.random(outputs, scale=0.1), "bias"), transB=1)

    def head(self, x, channels, classes=10):
        x = self.node("Flatten", self.node("GlobalAveragePool", x), axis=1)
        return self.output(self.linear(x, channels, classes), ["N", classes])

    def output(self, x, shape, data_type=TensorProto.FLOAT):
        """Makes `x` an output; the symbol N is the batch."""
        batch = self.inputs[0].type.tensor_type.shape.dim[0]
        first = batch.dim_param or batch.dim_value
        shape = [first if d == "N" else d for d in shape]
        self.outputs.append(helper.make_tensor_value_info(x, data_type, shape))

    def build(self):
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.initializers)
        imports = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, 1) for d in self.domains)]
        return helper.make_model(graph, opset_imports=imports, ir_version=self.ir, producer_name="zeroq tests")


def opset7_attributes():
    """Opset 7, IR 3: every parameter is an input as well; Pad, Clip, Slice, Upsample and Squeeze hold attributes."""
    n = Network("opset7_attributes", [1, 3, 16, 16], opset=7, ir=3, initializers_as_inputs=True)
    x = n.node("Pad", "input", pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="constant", value=0.0)
    x = n.clip(n.norm(n.conv(x, 3, 12, pads=[0, 0, 0, 0]), 12), 0, 6)
    x = n.node("Slice", x, axes=[2, 3], starts=[0, 0], ends=[12, 12])
    x = n.block(x, 12, 16, stride=2)
    x = n.block(n.node("Upsample", x, mode="nearest", scales=[1.0, 1.0, 2.0, 2.0]), 16, 16)
    x = n.node("Squeeze", n.node("GlobalAveragePool", x), axes=[2, 3])
    n.output(n.linear(x, 16, 10), ["N", 10])
    return n


def opset9_upsample():
    """Opset 9: Upsample with an input, Dropout, LogSoftmax of the old kind."""
    n = Network("opset9_upsample", [1, 1, 16, 16], opset=9, ir=4, initializers_as_inputs=True)
    x = n.node("MaxPool", n.block("input", 1, 8), kernel_shape=[2, 2], strides=[2, 2])
    x = n.block(n.node("Upsample", x, n.tensor([1, 1, 2, 2], "scales"), mode="linear"), 8, 12, bias=True)
    x = n.node("Dropout", n.node("Flatten", n.node("AveragePool", x, kernel_shape=[16, 16])), ratio=0.3)
    n.output(n.node("LogSoftmax", n.linear(x, 12, 10), axis=1), ["N", 10])
    return n


def opset11_constants():
    """Opset 11: weights in Constant nodes, Pad, Slice, Clip and Resize with inputs, Split and Squeeze with attributes."""
    n = Network("opset11_constants", ["batch", 3, 16, 16], opset=11, ir=6, constants=True)
    x = n.node("Pad", "input", n.integers(0, 0, 1, 1, 0, 0, 1, 1), n.tensor(0.0, "zero"), mode="constant")
    x = n.clip(n.norm(n.conv(x, 3, 12, pads=[0] * 4), 12), 0, 6)
    x = n.node("Slice", x, n.integers(0), n.integers(2**31 - 1), n.integers(2), n.integers(2))
    left, right = n.node("Split", x, outputs=2, axis=1, split=[4, 8])
    x = n.node("Concat", n.block(left, 4, 8), n.block(right, 8, 8), axis=1)
    scales = n.tensor([1, 1, 2, 1], "scales")
    resize = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    x = n.block(n.node("Resize", x, n.tensor([], "roi"), scales, **resize), 16, 16)
    x = n.node("Squeeze", n.node("GlobalAveragePool", x), axes=[2, 3])
    n.output(n.linear(x, 16, 10), ["N", 10])
    return n


def external_data():
    """All weights in a second file."""
    n = Network("external_data", ["batch", 3, 16, 16])
    x = n.block("input", 3, 16)
    x = n.node("Relu", n.node("Add", x, n.norm(n.conv(x, 16, 16), 16)))
    n.head(n.block(x, 16, 24, stride=2), 24)
    return n


def nhwc_transpose():
    """Channels last outside, channels first inside, SAME padding: what TensorFlow converters write."""
    n = Network("nhwc_transpose", ["batch", 16, 16, 3], opset=13, ir=7)
    x = n.node("Transpose", "input", perm=[0, 3, 1, 2])
    x = n.clip(n.norm(n.conv(x, 3, 12, stride=2, auto_pad="SAME_UPPER"), 12), 0, 6)
    x = n.clip(n.norm(n.conv(x, 12, 12, groups=12, auto_pad="SAME_UPPER"), 12), 0, 6)
    x = n.block(x, 12, 24, kernel=1)
    x = n.node("ReduceMean", n.node("Transpose", x, perm=[0, 2, 3, 1]), axes=[1, 2], keepdims=0)
    n.output(n.node("Softmax", n.linear(x, 24, 10), axis=-1), ["N", 10])
    return n


def padding():
    """auto_pad of all kinds, asymmetric pads, ceil_mode, count_include_pad."""
    n = Network("padding", [1, 3, 19, 19])
    x = n.block("input", 3, 8, stride=2, auto_pad="SAME_LOWER")
    x = n.block(x, 8, 8, auto_pad="VALID")
    x = n.block(x, 8, 12, pads=[0, 1, 2, 1], dilations=[2, 1])
    x = n.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    x = n.block(x, 12, 12)
    x = n.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0], ceil_mode=1, count_include_pad=1)
    n.head(n.block(x, 12, 16, kernel=1), 16)
    return n


def depthwise_relu6():
    """Depthwise-separable blocks with ReLU6 and a shortcut."""
    n = Network("depthwise_relu6", ["batch", 3, 32, 32])
    x = n.clip(n.norm(n.conv("input", 3, 12, stride=2), 12), 0, 6)
    wide = n.clip(n.norm(n.conv(x, 12, 24, kernel=1), 24), 0, 6)
    deep = n.clip(n.norm(n.conv(wide, 24, 24, groups=24), 24), 0, 6)
    x = n.node("Add", x, n.norm(n.conv(deep, 24, 12, kernel=1), 12))
    n.head(n.clip(n.norm(n.conv(x, 12, 32, kernel=1), 32), 0, 6), 32)
    return n


def squeeze_excite():
    """Channel gates by Sigmoid and by HardSigmoid, HardSwish as an operator and spelled out."""
    n = Network("squeeze_excite", ["batch", 3, 24, 24], opset=14, ir=7)
    x = n.norm(n.conv("input", 3, 16, stride=2), 16)
    six, three = n.tensor(6.0, "six"), n.tensor(3.0, "three")
    x = n.node("Div", n.node("Mul", x, n.clip(n.node("Add", x, three), 0, 6)), six)
    gate = n.node("Relu", n.conv(n.node("GlobalAveragePool", x), 16, 4, kernel=1, bias=True))
    x = n.node("Mul", x, n.node("HardSigmoid", n.conv(gate, 4, 16, kernel=1, bias=True), alpha=1 / 6, beta=0.5))
    x = n.node("HardSwish", n.norm(n.conv(x, 16, 16, groups=16), 16))
    gate = n.node("Relu", n.conv(n.node("ReduceMean", x, axes=[2, 3], keepdims=1), 16, 4, kernel=1, bias=True))
    x = n.node("Mul", n.node("Sigmoid", n.conv(gate, 4, 16, kernel=1, bias=True)), x)
    n.head(n.block(x, 16, 24, kernel=1), 24)
    return n


def channel_shuffle():
    """Split, Concat, a shuffle whose shape is computed from the batch, and two outputs."""
    n = Network("channel_shuffle", ["batch", 3, 16, 16], opset=13, ir=7)
    x = n.block("input", 3, 16, stride=2)
    left, right = n.node("Split", x, n.integers(8, 8), outputs=2, axis=1)
    x = n.node("Concat", left, n.block(n.norm(n.conv(right, 8, 8, groups=8), 8), 8, 8, kernel=1), axis=1)
    batch = n.node("Gather", n.node("Shape", x), n.tensor(0, "index", np.int64), axis=0)
    batch = n.node("Unsqueeze", batch, n.integers(0))
    x = n.node("Reshape", x, n.node("Concat", batch, n.integers(2, 8, 8, 8), axis=0))
    x = n.node("Transpose", x, perm=[0, 2, 1, 3, 4])
    x = n.node("Reshape", x, n.node("Concat", batch, n.integers(-1, 8, 8), axis=0))
    n.output(n.node("Sigmoid", n.conv(x, 16, 6, kernel=1, bias=True)), ["N", 6, 8, 8])
    n.head(n.block(x, 16, 16), 16)
    return n


def conv_transpose():
    """A decoder: ConvTranspose with BN, Resize, DepthToSpace."""
    n = Network("conv_transpose", [1, 3, 16, 16])
    x = n.block(n.block("input", 3, 16, stride=2), 16, 24, stride=2)
    weight = n.tensor(n.random(24, 16, 4, 4, scale=(2 / (24 * 4)) ** 0.5))
    up = n.node("ConvTranspose", x, weight, kernel_shape=[4, 4], strides=[2, 2], pads=[1, 1, 1, 1])
    x = n.block(n.node("Relu", n.norm(up, 16)), 16, 16)
    resize = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    x = n.block(n.node("Resize", x, "", "", n.integers(1, 16, 16, 16), **resize), 16, 12)
    x = n.node("DepthToSpace", n.conv(x, 12, 12, bias=True), blocksize=2, mode="CRD")
    n.output(n.node("Tanh", x), ["N", 3, 32, 32])
    return n


def conv_1d():
    """One-dimensional convolutions with LeakyRelu, PRelu and Elu."""
    n = Network("conv_1d", ["batch", 4, 64])
    x = n.node("LeakyRelu", n.norm(n.conv("input", 4, 16, kernel=5, stride=2, rank=1), 16), alpha=0.1)
    slope = n.tensor(n.random(16, 1, low=0.1, high=0.3), "slope")
    x = n.node("PRelu", n.norm(n.conv(x, 16, 16, groups=16, rank=1), 16), slope)
    x = n.node("MaxPool", x, kernel_shape=[2], strides=[2])
    x = n.node("Elu", n.norm(n.conv(x, 16, 24, rank=1, dilations=[2], pads=[2, 2]), 24), alpha=1.0)
    x = n.node("Flatten", n.node("GlobalMaxPool", x))
    n.output(n.linear(x, 24, 12), ["N", 12])
    return n


def foreign_tail():
    """Operators that a quantizer need not know, behind the last convolution: one of ONNX, one of another domain."""
    n = Network("foreign_tail", [1, 3, 16, 16])
    n.domains = ["com.microsoft"]
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16)
    scores = n.linear(n.node("Flatten", n.node("GlobalAveragePool", x)), 16, 20)
    best, index = n.node("TopK", scores, n.integers(5), outputs=2, axis=-1)
    n.output(best, ["N", 5])
    n.output(index, ["N", 5], TensorProto.INT64)
    n.output(n.node("Gelu", scores, domain="com.microsoft"), ["N", 20])
    return n


def matmul_head():
    """Conv with bias and BN, pooled by ReduceMean, MatMul and Add instead of Gemm, Softmax."""
    n = Network("matmul_head", ["batch", 1, 20, 20], opset=18, ir=8)
    x = n.block(n.block("input", 1, 16, bias=True), 16, 24, stride=2, bias=True)
    x = n.node("ReduceMean", x, n.integers(2, 3), keepdims=0)
    x = n.node("MatMul", x, n.tensor(n.random(24, 32, scale=24**-0.5)))
    x = n.node("Relu", n.node("Add", x, n.tensor(n.random(32, scale=0.1), "bias")))
    x = n.node("MatMul", x, n.tensor(n.random(32, 10, scale=32**-0.5)))
    x = n.node("Add", n.tensor(n.random(10, scale=0.1), "bias"), x)
    n.output(n.node("Softmax", x, axis=-1), ["N", 10])
    return n


def preactivation():
    """Opset 21: the pixels normalised in the graph, BN before its convolution, one weight used twice."""
    n = Network("preactivation", ["batch", 3, 16, 16], opset=21, ir=10)
    x = n.node("Sub", "input", n.tensor(np.reshape([0.1, 0.0, -0.1], (1, 3, 1, 1)), "mean"))
    x = n.conv(n.node("Div", x, n.tensor(np.reshape([0.5, 0.6, 0.7], (1, 3, 1, 1)), "deviation")), 3, 16)
    weight = n.tensor(n.random(16, 16, 3, 3, scale=(2 / 144) ** 0.5))
    for _ in range(2):
        y = n.node("Relu", n.norm(x, 16))
        x = n.node("Add", x, n.node("Conv", y, weight, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
    n.head(n.node("Identity", n.node("Relu", n.norm(x, 16))), 16)
    return n


def no_batch_norm():
    """BN folded by the exporter: convolutions with bias, nothing to read statistics from."""
    n = Network("no_batch_norm", ["batch", 3, 16, 16])
    x = n.node("Relu", n.conv("input", 3, 16, bias=True))
    x = n.node("Relu", n.node("Add", x, n.conv(x, 16, 16, bias=True)))
    n.head(n.node("Relu", n.conv(x, 16, 24, stride=2, bias=True)), 24)
    return n


MAKERS = [
    opset7_attributes,
    opset9_upsample,
    opset11_constants,
    external_data,
    nhwc_transpose,
    padding,
    depthwise_relu6,
    squeeze_excite,
    channel_shuffle,
    conv_transpose,
    conv_1d,
    foreign_tail,
    matmul_head,
    preactivation,
    no_batch_norm,
]


def save(network, folder):
    path = folder / f"{network.name}.onnx"
    model = network.build()
    if network.name == "external_data":
        (folder / "external_data.bin").unlink(missing_ok=True)
        onnx.save(model, path, save_as_external_data=True, location="external_data.bin", size_threshold=0)
    else:
        onnx.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    shape = [d if isinstance(d, int) else 1 for d in session.get_inputs()[0].shape]
    session.run(None, {"input": np.zeros(shape, np.float32)})
    return path, model


def describe(path, model):
    norms = sum(node.op_type == "BatchNormalization" for node in model.graph.node)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    flags = [] if norms or (len(shape) == 4 and shape[1] == 3) else ["--input-range=-1,1"]
    return {"file": path.name, "bn_nodes": norms, "opset": model.opset_import[0].version, "flags": flags}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    rows = [describe(*save(make(), folder)) for make in MAKERS]
    (folder / "zoo.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
