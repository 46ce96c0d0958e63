"""What stands behind the last convolution, and may be unknown to a quantizer."""
from onnx import TensorProto, helper

from .network import Network


def foreign_tail():
    """Operators that a quantizer need not know, behind the last convolution: one of ONNX, one of another domain."""
    n = Network("foreign_tail", [1, 3, 16, 16])
    n.domains = {"com.microsoft": 1}
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16)
    scores = n.linear(n.node("Flatten", n.node("GlobalAveragePool", x)), 16, 20)
    n.output(n.node("Hardmax", scores), ["N", 20])
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


def two_boxes(n, x):
    """Boxes and scores of 4 × 4 places, as a detector has them."""
    boxes = n.node("Reshape", n.conv(x, 16, 4, kernel=1, bias=True), n.integers(1, 4, 16))
    scores = n.node("Sigmoid", n.node("Reshape", n.conv(x, 16, 3, kernel=1, bias=True), n.integers(1, 3, 16)))
    return n.node("Transpose", boxes, perm=[0, 2, 1]), scores


def detector():
    """Boxes and scores, and NonMaxSuppression behind them in the graph."""
    n = Network("detector", [1, 3, 16, 16], opset=11, ir=6)
    boxes, scores = two_boxes(n, n.block(n.block("input", 3, 16, stride=2), 16, 16, stride=2))
    kept = n.node("NonMaxSuppression", boxes, scores, n.integers(4), n.tensor([0.5], "overlap"), n.tensor([0.1], "least"))
    n.output(boxes, [1, 16, 4])
    n.output(scores, [1, 3, 16])
    n.output(kept, ["kept", 3], TensorProto.INT64)
    return n


def if_tail():
    """A condition that the scores decide, with branches that read values from outside."""
    n = Network("if_tail", ["batch", 3, 16, 16])
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16)
    scores = n.linear(n.node("Flatten", n.node("GlobalAveragePool", x)), 16, 10)
    scale = n.tensor(2.0, "scale")
    best = n.node("ReduceMax", scores, keepdims=0)
    condition = n.node("Greater", best, n.tensor(0.5, "threshold"))

    def branch(name, operator):
        result = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 10])
        return helper.make_graph([helper.make_node(operator, [scores, scale], [name])], name, [], [result])

    n.output(n.node("If", condition, then_branch=branch("taller", "Mul"), else_branch=branch("wider", "Div")), ["N", 10])
    return n


def if_squeeze():
    """What torch.squeeze of an open size becomes: an If whose branches read a feature map."""
    n = Network("if_squeeze", ["batch", 3, 16, 16])
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16)
    pooled = n.node("Relu", n.conv(n.node("GlobalAveragePool", x), 16, 10, kernel=1, bias=True))
    condition = n.node("Greater", n.node("ReduceMax", x, keepdims=0), n.tensor(0.0, "threshold"))

    def branch(name, operator, *inputs):
        result = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(operator, [pooled, *inputs], [name])], name, [], [result])

    branches = {"then_branch": branch("squeezed", "Squeeze", n.integers(2, 3)), "else_branch": branch("kept", "Identity")}
    n.output(n.node("Reshape", n.node("If", condition, **branches), n.integers(-1, 10)), ["N", 10])
    return n


def loop_tail():
    """A Loop that halves the scores three times, with a constant and a value from outside."""
    n = Network("loop_tail", ["batch", 3, 16, 16], opset=13, ir=7)
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16)
    scores = n.linear(n.node("Flatten", n.node("GlobalAveragePool", x)), 16, 10)
    half = n.tensor(0.5, "half")
    inputs = [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        helper.make_tensor_value_info("before", TensorProto.FLOAT, ["batch", 10]),
    ]
    outputs = [
        helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("after", TensorProto.FLOAT, ["batch", 10]),
    ]
    nodes = [
        helper.make_node("Identity", ["go"], ["go_on"]),
        helper.make_node("Mul", ["before", half], ["halved"]),
        helper.make_node("Add", ["halved", scores], ["after"]),
    ]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    n.output(n.node("Loop", n.integer(3), "", scores, body=body), ["N", 10])
    return n


def paddle_loop():
    """A Loop of Paddle: what goes round has the names that it has outside, weights among it."""
    n = Network("paddle_loop", ["batch", 3, 16, 16], opset=14, ir=7)
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16)
    scores = n.linear(n.node("Flatten", n.node("GlobalAveragePool", x)), 16, 10)
    weight = n.tensor(n.random(10, 10, scale=0.3), "linear.w_0")
    inputs = [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        helper.make_tensor_value_info(scores, TensorProto.FLOAT, ["batch", 10]),
        helper.make_tensor_value_info(weight, TensorProto.FLOAT, [10, 10]),
    ]
    outputs = [
        helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("after", TensorProto.FLOAT, ["batch", 10]),
        helper.make_tensor_value_info(weight, TensorProto.FLOAT, [10, 10]),
    ]
    nodes = [
        helper.make_node("Identity", ["go"], ["go_on"]),
        helper.make_node("MatMul", [scores, weight], ["product"]),
        helper.make_node("Tanh", ["product"], ["after"]),
    ]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    last, _ = n.node("Loop", n.integer(3), "", scores, weight, outputs=2, body=body)
    n.output(last, ["N", 10])
    return n


def embedding():
    """A face embedding: BN behind Flatten and Gemm, divided by its length as PyTorch spells it."""
    n = Network("embedding", ["batch", 3, 16, 16], opset=13, ir=7)
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16, stride=2)
    x = n.norm(n.linear(n.node("Flatten", n.norm(x, 16)), 256, 32), 32)
    length = n.clip(n.node("ReduceL2", x, axes=[1], keepdims=1), 1e-12, 3e38)
    n.output(n.node("Div", x, n.node("Expand", length, n.node("Shape", x))), ["N", 32])
    n.output(n.node("LpNormalization", x, axis=1, p=2), ["N", 32])
    return n


def recurrent_tail():
    """Text recognition: rows squeezed, a bidirectional LSTM, a linear layer on every column."""
    n = Network("recurrent_tail", ["batch", 1, 8, 32], opset=14, ir=7)
    x = n.node("MaxPool", n.block("input", 1, 16, stride=2), kernel_shape=[4, 1], strides=[4, 1])
    x = n.node("Transpose", n.node("Squeeze", n.block(x, 16, 16), n.integers(2)), perm=[2, 0, 1])
    weights = [n.tensor(n.random(2, 32, 16, scale=0.25)), n.tensor(n.random(2, 32, 8, scale=0.25)), n.tensor(n.random(2, 64, scale=0.1))]
    y = n.node("LSTM", x, *weights, hidden_size=8, direction="bidirectional")
    y = n.node("Reshape", n.node("Transpose", y, perm=[0, 2, 1, 3]), n.integers(0, 0, 16))
    n.output(n.node("LogSoftmax", n.dense(y, 16, 12), axis=2), [16, "N", 12])
    return n


def segmentation():
    """Open height and width, dilated branches, a bilinear Resize to the size of the input, ArgMax."""
    n = Network("segmentation", ["batch", 3, "height", "width"], opset=13, ir=7)
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16, stride=2)
    branches = [n.block(x, 16, 8, kernel=1), n.block(x, 16, 8, pads=[2] * 4, dilations=[2, 2])]
    pooled = n.block(n.node("GlobalAveragePool", x), 16, 8, kernel=1)
    sizes = n.node("Slice", n.node("Shape", x), n.integers(2), n.integers(4))
    sizes = n.node("Concat", n.integers(1, 8), sizes, axis=0)
    branches.append(n.node("Resize", pooled, "", "", sizes, mode="linear", coordinate_transformation_mode="pytorch_half_pixel"))
    x = n.conv(n.block(n.node("Concat", *branches, axis=1), 24, 16, kernel=1), 16, 5, kernel=1, bias=True)
    sizes = n.node("Slice", n.node("Shape", "input"), n.integers(2), n.integers(4))
    sizes = n.node("Concat", n.integers(1, 5), sizes, axis=0)
    x = n.node("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode="align_corners")
    n.output(x, ["N", 5, "height", "width"])
    n.output(n.node("ArgMax", x, axis=1, keepdims=0), ["N", "height", "width"], TensorProto.INT64)
    return n


def classifier_of_features():
    """A classifier of scikit-learn behind a network, with the names of its classes."""
    n = Network("classifier_of_features", ["batch", 3, 16, 16], opset=13, ir=7)
    n.domains = {"ai.onnx.ml": 2}
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16)
    x = n.node("Flatten", n.node("GlobalAveragePool", x))
    weights = [float(w) for w in n.random(3 * 16)]
    more = {"intercepts": [0.1, 0.0, -0.1], "classlabels_ints": [0, 1, 2], "multi_class": 1, "post_transform": "SOFTMAX"}
    label, scores = n.node("LinearClassifier", x, outputs=2, domain="ai.onnx.ml", coefficients=weights, **more)
    n.output(label, ["N"], TensorProto.INT64)
    n.output(n.node("Normalizer", scores, domain="ai.onnx.ml", norm="L1"), ["N", 3])
    zipped = n.node("ZipMap", scores, domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(1, [])))
    n.outputs.append(helper.make_value_info(zipped, maps))
    return n


def sequence_tail():
    """Outputs gathered in a sequence, and one taken out again."""
    n = Network("sequence_tail", ["batch", 3, 16, 16], opset=13, ir=7)
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16)
    parts = n.node("SplitToSequence", x, n.integer(8), axis=1)
    x = n.node("SequenceAt", parts, n.integer(1))
    n.output(n.node("ReduceMean", x, axes=[2, 3], keepdims=0), ["N", 8])
    return n


MAKERS = [
    foreign_tail,
    matmul_head,
    detector,
    if_tail,
    if_squeeze,
    loop_tail,
    paddle_loop,
    embedding,
    recurrent_tail,
    segmentation,
    classifier_of_features,
    sequence_tail,
]
