"""What tf2onnx makes of TensorFlow and Keras: channels last, Transposes, shapes computed in the graph."""
from onnx import TensorProto

from .network import Network


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


def channels_last(n, x, layer):
    """Transposes around one layer."""
    return n.node("Transpose", layer(n.node("Transpose", x, perm=[0, 3, 1, 2])), perm=[0, 2, 3, 1])


def transposes_everywhere():
    """tf2onnx without its optimizer: Transposes around every layer, Pad before a VALID convolution, Reshape to a computed shape."""
    n = Network("transposes_everywhere", ["unk__1", 16, 16, 3], opset=11, ir=6)
    n.inputs[0].name = "input:0"
    x = n.node("Pad", "input:0", n.integers(0, 1, 1, 0, 0, 1, 1, 0), mode="constant")
    x = channels_last(n, x, lambda x: n.conv(x, 3, 12, stride=2, auto_pad="VALID"))
    x = n.clip(channels_last(n, x, lambda x: n.norm(x, 12)), 0, 6)
    x = channels_last(n, x, lambda x: n.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"))
    x = channels_last(n, x, lambda x: n.conv(x, 12, 16, auto_pad="SAME_LOWER"))
    x = n.node("Relu", n.node("Add", x, n.tensor(n.random(16, scale=0.1), "bias")))
    shape = n.node("Cast", n.node("Shape", x), to=TensorProto.INT32)
    batch = n.node("Slice", n.node("Cast", shape, to=TensorProto.INT64), n.integers(0), n.integers(1), n.integers(0))
    batch = n.node("Squeeze", batch, axes=[0])
    rest = n.node("Concat", n.node("Unsqueeze", batch, axes=[0]), n.integers(256), axis=0)
    x = n.node("Reshape", x, rest)
    n.output(n.node("Softmax", n.dense(x, 256, 10), axis=1), ["N", 10])
    return n


def keras_flatten():
    """Keras: Flatten in the order of channels last, BN of vectors, means over rows and columns of channels last."""
    n = Network("keras_flatten", ["N", 12, 12, 3], opset=13, ir=7)
    x = n.node("Relu", n.norm(n.conv(n.node("Transpose", "input", perm=[0, 3, 1, 2]), 3, 16, stride=2, auto_pad="SAME_UPPER"), 16))
    last = n.node("Transpose", x, perm=[0, 2, 3, 1])
    x = n.node("Reshape", last, n.integers(-1, 6 * 6 * 16))
    x = n.node("Relu", n.norm(n.dense(x, 576, 32), 32))
    means = n.node("ReduceMean", last, axes=[1, 2], keepdims=0)
    x = n.node("Concat", n.dense(x, 32, 10), n.node("Tanh", n.dense(means, 16, 10)), axis=-1)
    n.output(x, ["N", 20])
    return n


def norm_in_parts():
    """BN as Mul and Add, and as Sub, Mul and Add, with constants of all channels in front or behind."""
    n = Network("norm_in_parts", ["batch", 3, 16, 16], opset=13, ir=7)

    def parts(x, channels, subtract):
        shape = (1, channels, 1, 1)
        factor, shift = n.tensor(n.random(*shape, low=0.7, high=1.3), "factor"), n.tensor(n.random(*shape, scale=0.2), "shift")
        if subtract:
            x = n.node("Sub", x, n.tensor(n.random(channels, 1, 1, scale=0.2), "mean"))
        return n.node("Relu", n.node("Add", n.node("Mul", x, factor), shift))

    x = parts(n.conv("input", 3, 16), 16, False)
    x = parts(n.conv(x, 16, 16, groups=16, bias=True), 16, True)
    n.head(n.block(x, 16, 24, stride=2), 24)
    return n


def space_to_depth():
    """SpaceToDepth and DepthToSpace around a network, DCR."""
    n = Network("space_to_depth", [1, 3, 16, 16], opset=13, ir=7)
    x = n.block(n.node("SpaceToDepth", "input", blocksize=2), 12, 16)
    x = n.conv(n.block(x, 16, 16), 16, 12, bias=True)
    n.output(n.node("DepthToSpace", x, blocksize=2), [1, 3, 16, 16])
    return n


def pixels_in_bytes():
    """Bytes in, channels last; cast, centred and scaled in the graph."""
    n = Network("pixels_in_bytes", ["batch", 16, 16, 3], opset=13, ir=7, input_type=TensorProto.UINT8)
    n.flags, n.range = ["--input-range=byte"], "0,255"
    x = n.node("Cast", "input", to=TensorProto.FLOAT)
    x = n.node("Sub", x, n.tensor([123.7, 116.3, 103.5], "mean"))
    x = n.node("Div", x, n.tensor([58.4, 57.1, 57.4], "deviation"))
    x = n.block(n.node("Transpose", x, perm=[0, 3, 1, 2]), 3, 16, stride=2)
    n.head(n.block(x, 16, 24), 24)
    return n


MAKERS = [
    nhwc_transpose,
    transposes_everywhere,
    keras_flatten,
    norm_in_parts,
    space_to_depth,
    pixels_in_bytes,
]
