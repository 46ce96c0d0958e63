"""Networks that remember where elements stood, sample between them, choose among them, or read them as a sequence."""
from onnx import TensorProto

from .network import Network


def segnet():
    """Encoder and decoder that share the indices of MaxPool."""
    n = Network("segnet", ["batch", 3, 16, 16], opset=11, ir=6)
    n.floor = 20.0
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    x = n.block(n.block("input", 3, 12), 12, 12)
    x, first = n.node("MaxPool", x, outputs=2, **window)
    x, second = n.node("MaxPool", n.block(n.block(x, 12, 16), 16, 16), outputs=2, **window)
    x = n.block(n.node("MaxUnpool", n.block(x, 16, 16), second, **window), 16, 12)
    x = n.block(n.node("MaxUnpool", x, first, **window), 12, 12)
    n.output(n.conv(x, 12, 5, bias=True), ["N", 5, 16, 16])
    return n


def spatial_transformer():
    """A small network that says how the image is turned, and one that looks at the turned image."""
    n = Network("spatial_transformer", [1, 3, 20, 20], opset=20, ir=9)
    y = n.block(n.block("input", 3, 8, stride=2), 8, 8, stride=2)
    theta = n.linear(n.node("Flatten", n.node("GlobalAveragePool", y)), 8, 6)
    theta = n.node("Add", n.node("Mul", theta, n.tensor(0.1, "share")), n.tensor([1, 0, 0, 0, 1, 0], "identity"))
    grid = n.node("AffineGrid", n.node("Reshape", theta, n.integers(1, 2, 3)), n.integers(1, 3, 20, 20))
    x = n.node("GridSample", "input", grid, mode="linear", padding_mode="border")
    n.head(n.block(n.block(x, 3, 16, stride=2), 16, 24, stride=2), 24)
    return n


def flow_warp():
    """Features moved by a flow that the network finds: a grid of its own making, in the names of operator set 16."""
    n = Network("flow_warp", [1, 3, 16, 16], opset=16, ir=8)
    x = n.block("input", 3, 12, stride=2)
    flow = n.node("Tanh", n.conv(n.block(x, 12, 8), 8, 2, bias=True))
    rows, columns = ([(2 * k + 1) / 8 - 1 for k in range(8)],) * 2
    base = n.tensor([[[[x, y] for x in columns] for y in rows]], "base")
    grid = n.node("Add", base, n.node("Mul", n.node("Transpose", flow, perm=[0, 2, 3, 1]), n.tensor(0.2, "share")))
    warped = n.node("GridSample", x, grid, mode="bilinear", padding_mode="zeros", align_corners=0)
    n.head(n.block(n.node("Concat", x, warped, axis=1), 24, 24), 24)
    return n


def crnn():
    """Text recognition: two recurrent layers of GRU as PyTorch writes them, with a first state of zeros."""
    n = Network("crnn", ["batch", 1, 8, 32], opset=14, ir=7)
    x = n.node("MaxPool", n.block("input", 1, 16, stride=2), kernel_shape=[4, 1], strides=[4, 1])
    x = n.node("Transpose", n.node("Squeeze", n.block(x, 16, 16), n.integers(2)), perm=[2, 0, 1])
    for inputs in (16, 16):
        weights = [n.tensor(n.random(2, 24, k, scale=k**-0.5)) for k in (inputs, 8)] + [n.tensor(n.random(2, 48, scale=0.1), "bias")]
        x = n.node("GRU", x, *weights, hidden_size=8, direction="bidirectional", linear_before_reset=1)
        x = n.node("Reshape", n.node("Transpose", x, perm=[0, 2, 1, 3]), n.integers(0, 0, 16))
    n.output(n.dense(x, 16, 12), [16, "N", 12])
    return n


def query_detector():
    """The places with the highest scores, their boxes gathered, and what the best class of each is."""
    n = Network("query_detector", ["batch", 3, 16, 16], opset=17)
    # Which of nearly equal scores come first decides whose box stands where.
    n.floor = 5.0
    x = n.block(n.block("input", 3, 16, stride=2), 16, 24, stride=2)
    flat = [n.node("Reshape", n.conv(x, 24, k, kernel=1, bias=True), n.integers(0, k, -1)) for k in (4, 6)]
    boxes, scores = (n.node("Transpose", y, perm=[0, 2, 1]) for y in flat)
    n.output(scores, ["N", 16, 6])
    scores = n.node("Sigmoid", scores)
    best, places = n.node("TopK", n.node("ReduceMax", scores, axes=[2], keepdims=0), n.integers(5), outputs=2, axis=1)
    wide = n.node("Tile", n.node("Unsqueeze", places, n.integers(2)), n.integers(1, 1, 4))
    boxes = n.node("GatherElements", boxes, wide, axis=1)
    n.output(best, ["N", 5])
    n.output(n.node("Mul", boxes, n.node("Unsqueeze", best, n.integers(2))), ["N", 5, 4])
    n.output(n.node("ArgMax", scores, axis=2, keepdims=0), ["N", 16], TensorProto.INT64)
    return n


def counted_classes():
    """As many classes as have any score worth the name, in the order of their scores."""
    n = Network("counted_classes", [1, 3, 16, 16], opset=13, ir=7)
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16)
    scores = n.linear(n.node("Flatten", n.node("GlobalAveragePool", x)), 16, 12)
    kept = n.node("Cast", n.node("Greater", scores, n.tensor(-1000.0, "least")), to=TensorProto.INT64)
    kept = n.node("Reshape", n.node("ReduceSum", kept, n.integers(0, 1), keepdims=0), n.integers(1))
    best, places = n.node("TopK", scores, kept, outputs=2, axis=1)
    n.output(n.node("Softmax", best, axis=1), [1, "kept"])
    n.output(scores, [1, 12])
    return n


def regions():
    """A second stage on fixed regions, in the form of operator set 13."""
    n = Network("regions", [1, 3, 24, 24], opset=13, ir=7)
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16)
    boxes = n.tensor([[2, 3, 14, 15], [6, 1, 22, 12], [0, 8, 10, 23]], "boxes")
    sizes = {"output_height": 4, "output_width": 4, "spatial_scale": 0.5, "sampling_ratio": 2}
    x = n.node("RoiAlign", x, boxes, n.integers(0, 0, 0), **sizes)
    x = n.node("Flatten", n.node("GlobalAveragePool", n.block(x, 16, 24)))
    n.output(n.linear(x, 24, 6), [3, 6])
    return n


def deformable():
    """A convolution that finds out where to look, with a mask."""
    n = Network("deformable", [1, 3, 16, 16], opset=19, ir=9)
    x = n.block("input", 3, 12, stride=2)
    found = n.conv(x, 12, 27, bias=True)
    offset, mask = n.node("Split", found, n.integers(18, 9), outputs=2, axis=1)
    x = n.node("DeformConv", x, n.conv_weight(12, 16), offset, "", n.node("Sigmoid", mask), kernel_shape=[3, 3], pads=[1] * 4)
    n.head(n.block(n.node("Relu", n.norm(x, 16)), 16, 16), 16)
    return n


MAKERS = [segnet, spatial_transformer, flow_warp, crnn, query_detector, counted_classes, regions, deformable]
