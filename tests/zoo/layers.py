"""Layers in all their forms, and where BatchNormalization may stand."""
import numpy as np

from .network import Network


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


def norm_after_relu():
    """BN behind the activation, and one that a MaxPool stands before."""
    n = Network("norm_after_relu", ["batch", 3, 16, 16])
    x = n.norm(n.node("Relu", n.conv("input", 3, 16, bias=True)), 16)
    x = n.norm(n.node("MaxPool", n.node("Relu", n.conv(x, 16, 16, bias=True)), kernel_shape=[2, 2], strides=[2, 2]), 16)
    n.head(n.norm(n.node("Relu", n.conv(x, 16, 24, bias=True)), 24), 24)
    return n


def shared_norm():
    """One BN read by two paths, two BNs with the same parameters, a convolution that a BN and another path read."""
    n = Network("shared_norm", ["batch", 3, 16, 16])
    x = n.norm(n.conv("input", 3, 16), 16)
    a, b = n.node("Relu", x), n.node("LeakyRelu", x, alpha=0.2)
    statistics = n.statistics(16)
    a = n.node("BatchNormalization", n.conv(a, 16, 16), *statistics)
    b = n.node("BatchNormalization", n.conv(b, 16, 16, groups=4), *statistics)
    x = n.conv(n.node("Relu", n.node("Add", a, b)), 16, 16)
    n.head(n.node("Add", n.node("Relu", n.norm(x, 16)), x), 16)
    return n


def norm_of_gemm():
    """BN of vectors, behind Gemm and behind MatMul."""
    n = Network("norm_of_gemm", ["batch", 3, 8, 8], opset=13, ir=7)
    x = n.node("Flatten", n.block("input", 3, 8, stride=2))
    x = n.node("Relu", n.norm(n.linear(x, 128, 32), 32))
    x = n.node("Relu", n.norm(n.dense(x, 32, 24), 24))
    n.output(n.linear(n.norm(x, 24), 24, 10), ["N", 10])
    return n


def grouped_dilated():
    """ResNeXt groups, dilations, weights shared by two convolutions of other strides and dilations."""
    n = Network("grouped_dilated", ["batch", 3, 24, 24])
    x = n.block("input", 3, 16, stride=2)
    x = n.node("Relu", n.node("Add", x, n.norm(n.conv(n.block(x, 16, 16, groups=4), 16, 16, kernel=1), 16)))
    x = n.block(x, 16, 16, dilations=[2, 2], pads=[2] * 4, groups=2)
    weight = n.conv_weight(16, 16)
    a = n.node("Conv", x, weight, pads=[1] * 4)
    b = n.node("Conv", x, weight, pads=[4] * 4, dilations=[4, 4])
    n.head(n.node("Relu", n.node("Add", n.norm(a, 16), n.norm(b, 16))), 16)
    return n


def feature_pyramid():
    """Three outputs of other sizes; two are read again inside."""
    n = Network("feature_pyramid", ["batch", 3, 32, 32], opset=13, ir=7)
    c1 = n.block("input", 3, 12, stride=2)
    c2 = n.block(c1, 12, 16, stride=2)
    p3 = n.conv(n.block(c2, 16, 24, stride=2), 24, 12, kernel=1, bias=True)
    resize = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}

    def merge(small, large, channels):
        small = n.node("Resize", small, "", n.tensor([1, 1, 2, 2], "scales", np.float32), **resize)
        return n.conv(n.node("Add", small, n.conv(large, channels, 12, kernel=1, bias=True)), 12, 12, bias=True)

    p2 = merge(p3, c2, 16)
    p1 = merge(p2, c1, 12)
    for x, side in ((p1, 16), (p2, 8), (p3, 4)):
        n.output(x, ["N", 12, side, side])
    n.output(n.node("ReduceMean", n.node("Relu", p3), axes=[2, 3], keepdims=0), ["N", 12])
    return n


def two_inputs():
    """Two pictures through the same weights, a vector beside them, one output handed on unchanged."""
    n = Network("two_inputs", ["batch", 3, 16, 16])
    n.add_input("other", ["batch", 3, 16, 16])
    n.add_input("vector", ["batch", 4])
    weight, statistics = n.conv_weight(3, 16), n.statistics(16)
    towers = []
    for x in ("input", "other"):
        x = n.node("BatchNormalization", n.node("Conv", x, weight, pads=[1] * 4, strides=[2, 2]), *statistics)
        towers.append(n.block(n.node("Relu", x), 16, 16, stride=2))
    x = n.block(n.node("Abs", n.node("Sub", *towers)), 16, 16)
    x = n.node("Concat", n.node("Flatten", n.node("GlobalAveragePool", x)), "vector", axis=1)
    n.output(n.linear(x, 20, 5), ["N", 5])
    n.output(n.node("Identity", "vector"), ["N", 4])
    return n


def transposed_sizes():
    """ConvTranspose with groups, output_padding, output_shape and auto_pad."""
    n = Network("transposed_sizes", [1, 3, 16, 16])
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16, stride=2)

    def up(x, inputs, outputs, kernel, groups=1, **more):
        weight = n.tensor(n.random(inputs, outputs // groups, kernel, kernel, scale=(2 / (inputs * 2)) ** 0.5))
        x = n.node("ConvTranspose", x, weight, strides=[2, 2], kernel_shape=[kernel] * 2, group=groups, **more)
        return n.node("Relu", n.norm(x, outputs))

    x = up(x, 16, 16, 3, groups=4, pads=[1] * 4, output_padding=[1, 1])
    x = up(x, 16, 12, 4, output_shape=[16, 16])
    x = up(x, 12, 8, 3, auto_pad="SAME_UPPER")
    n.output(n.node("Sigmoid", n.conv(x, 8, 1, bias=True)), [1, 1, 32, 32])
    return n


def resizes():
    """Super-resolution: Resize by cubic interpolation, to sizes and by scales, half_pixel and align_corners."""
    n = Network("resizes", [1, 3, 12, 12], opset=13, ir=7)
    scales = n.tensor([1, 1, 2, 2], "scales")
    base = n.node("Resize", "input", "", scales, mode="cubic", cubic_coeff_a=-0.75, coordinate_transformation_mode="half_pixel")
    x = n.block(n.block("input", 3, 16), 16, 16)
    x = n.node("Resize", x, "", "", n.integers(1, 16, 24, 24), mode="cubic", coordinate_transformation_mode="align_corners")
    x, sizes = n.block(x, 16, 12), n.integers(1, 12, 20, 28)
    x = n.node("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode="align_corners")
    x = n.node("Resize", x, "", "", n.integers(1, 12, 24, 24), mode="nearest", nearest_mode="round_prefer_ceil")
    n.output(n.node("Add", base, n.conv(x, 12, 3, bias=True)), [1, 3, 24, 24])
    return n


MAKERS = [
    padding,
    depthwise_relu6,
    squeeze_excite,
    channel_shuffle,
    conv_transpose,
    conv_1d,
    preactivation,
    norm_after_relu,
    shared_norm,
    norm_of_gemm,
    grouped_dilated,
    feature_pyramid,
    two_inputs,
    transposed_sizes,
    resizes,
]
