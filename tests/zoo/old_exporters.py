"""Exporters of operator sets 7 to 12: MXNet, Caffe2, older PyTorch and Paddle."""
import numpy as np
from onnx import TensorProto

from .network import Network


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


def mxnet():
    """Opset 7 as MXNet writes it: `spatial` and `momentum`, Dropout with a mask, Flatten in front of Gemm, LRN, a global AveragePool."""
    n = Network("mxnet", [1, 3, 16, 16], opset=7, ir=3, initializers_as_inputs=True)
    x = n.norm(n.conv("input", 3, 16, bias=True, stride=2), 16, spatial=1, momentum=0.9)
    x = n.node("LRN", n.node("Relu", x), size=5, alpha=1e-3, beta=0.75, bias=1.0)
    y = n.norm(n.conv(x, 16, 16), 16, spatial=1, momentum=0.9)
    x = n.node("LeakyRelu", n.node("Add", x, y), alpha=0.1)
    x, _ = n.node("Dropout", n.node("GlobalAveragePool", x), outputs=2, ratio=0.5)
    n.output(n.node("Softmax", n.linear(n.node("Flatten", x), 16, 10)), ["N", 10])
    return n


def caffe2():
    """Opset 9 as Caffe2 writes it: grouped convolutions, Sum, LRN, Softmax of 4 dimensions."""
    n = Network("caffe2", [1, 3, 19, 19], opset=9, ir=3, initializers_as_inputs=True)
    x = n.node("Relu", n.conv("input", 3, 16, kernel=5, stride=2, bias=True))
    x = n.node("MaxPool", n.node("LRN", x, size=5, alpha=1e-3, beta=0.75, bias=2.0), kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
    y = n.norm(n.conv(x, 16, 16, groups=2, bias=True), 16)
    x = n.node("Relu", n.node("Sum", x, y, n.norm(n.conv(x, 16, 16, kernel=1), 16)))
    x = n.node("AveragePool", n.conv(x, 16, 10, kernel=1, bias=True), kernel_shape=[5, 5])
    x = n.node("Softmax", x, axis=1)
    n.output(n.node("Reshape", x, n.integers(1, 10)), ["N", 10])
    return n


def paddle():
    """Opset 11 as Paddle2ONNX writes it: biases by Add, HardSwish and HardSigmoid, sizes computed from Shape, Cast of integers."""
    n = Network("paddle", ["batch", 3, 16, 16], opset=11, ir=6, constants=True)
    x = n.norm(n.conv("input", 3, 16, stride=2), 16)
    gate = n.clip(n.node("Add", x, n.tensor(3.0, "three")), 0, 6)
    x = n.node("Div", n.node("Mul", x, gate), n.tensor(6.0, "six"))
    bias = n.node("Reshape", n.tensor(n.random(4, scale=0.1), "bias"), n.integers(1, -1, 1, 1))
    gate = n.node("Relu", n.node("Add", n.conv(n.node("GlobalAveragePool", x), 16, 4, kernel=1), bias))
    x = n.node("Mul", x, n.node("HardSigmoid", n.conv(gate, 4, 16, kernel=1, bias=True), alpha=0.2, beta=0.5))
    x = n.block(x, 16, 16, stride=2)
    sizes = n.node("Slice", n.node("Shape", x), n.integers(0), n.integers(2), n.integers(0))
    wanted = n.node("Cast", n.tensor([8, 8], "size", np.int32), to=TensorProto.INT64)
    sizes = n.node("Concat", sizes, wanted, axis=0)
    resize = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    x = n.block(n.node("Resize", x, n.tensor([], "roi"), n.tensor([], "scales"), sizes, **resize), 16, 16)
    shape = n.node("Slice", n.node("Shape", x), n.integers(0), n.integers(1), n.integers(0))
    x = n.node("Reshape", n.node("GlobalAveragePool", x), n.node("Concat", shape, n.integers(-1), axis=0))
    x = n.node("MatMul", x, n.tensor(n.random(16, 10, scale=0.25)))
    n.output(n.node("Softmax", n.node("Add", x, n.tensor(n.random(10, scale=0.1), "bias")), axis=1), ["N", 10])
    return n


def softmax_of_all():
    """Opset 11: Softmax over all channels, rows and columns together, as the attribute meant before opset 13."""
    n = Network("softmax_of_all", ["batch", 3, 16, 16], opset=11, ir=6)
    x = n.conv(n.block(n.block("input", 3, 16, stride=2), 16, 16), 16, 2, kernel=1, bias=True)
    n.output(n.node("Softmax", x), ["N", 2, 8, 8])
    return n


MAKERS = [
    opset7_attributes,
    opset9_upsample,
    opset11_constants,
    mxnet,
    caffe2,
    paddle,
    softmax_of_all,
]
