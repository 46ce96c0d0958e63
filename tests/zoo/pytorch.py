"""What PyTorch's exporters make of modules that ONNX has no operator for, or had none."""
import numpy as np
from onnx import AttributeProto, TensorProto, helper

from .network import Network


def view_chain():
    """`x.view(x.size(0), -1)`, a mean in two steps, Constant nodes everywhere, names with dots."""
    n = Network("view_chain", ["batch", 3, 16, 16], opset=11, ir=6, constants=True)
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16)
    x = n.node("ReduceMean", n.node("ReduceMean", x, axes=[-1]), axes=[-2])
    size = n.node("Gather", n.node("Shape", x), n.integer(0), axis=0)
    shape = n.node("Concat", n.node("Unsqueeze", size, axes=[0]), n.node("Unsqueeze", n.integer(-1), axes=[0]), axis=0)
    x = n.linear(n.node("Reshape", x, shape), 16, 10)
    n.output(n.node("LogSoftmax", x, axis=1), ["N", 10])
    return n


def norm_of_channels(n, x, channels):
    """LayerNorm over the last dimension, as opset 16 and below spell it."""
    centred = n.node("Sub", x, n.node("ReduceMean", x, axes=[-1]))
    variance = n.node("ReduceMean", n.node("Pow", centred, n.tensor(2.0, "two")), axes=[-1])
    x = n.node("Div", centred, n.node("Sqrt", n.node("Add", variance, n.tensor(1e-6, "epsilon"))))
    x = n.node("Mul", x, n.tensor(n.random(channels, low=0.7, high=1.3), "scale"))
    return n.node("Add", x, n.tensor(n.random(channels, scale=0.2), "shift"))


def gelu_by_erf(n, x):
    y = n.node("Erf", n.node("Div", x, n.tensor(2**0.5, "root")))
    y = n.node("Mul", x, n.node("Add", y, n.tensor(1.0, "one")))
    return n.node("Mul", y, n.tensor(0.5, "half"))


def convnext_parts():
    """ConvNeXt in opset 13: LayerNorm and GELU in parts, Transposes, a factor for every channel."""
    n = Network("convnext_parts", ["batch", 3, 16, 16], opset=13, ir=7)
    x = n.conv("input", 3, 16, kernel=2, stride=2, bias=True, pads=[0] * 4)
    y = n.node("Transpose", n.conv(x, 16, 16, kernel=7, groups=16, bias=True), perm=[0, 2, 3, 1])
    y = n.dense(gelu_by_erf(n, n.dense(norm_of_channels(n, y, 16), 16, 32)), 32, 16)
    y = n.node("Mul", n.tensor(n.random(16, low=0.2, high=0.6), "gamma"), y)
    x = n.node("Add", x, n.node("Transpose", y, perm=[0, 3, 1, 2]))
    x = n.node("ReduceMean", x, axes=[-2, -1], keepdims=0)
    n.output(n.linear(norm_of_channels(n, x, 16), 16, 10), ["N", 10])
    return n


def convnext_operators():
    """ConvNeXt in opset 20: LayerNormalization and Gelu as operators."""
    n = Network("convnext_operators", ["batch", 3, 16, 16], opset=20, ir=9)

    def layer_norm(x):
        scale, shift = n.tensor(n.random(16, low=0.7, high=1.3), "scale"), n.tensor(n.random(16, scale=0.2), "shift")
        return n.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-6)

    x = n.conv("input", 3, 16, kernel=2, stride=2, bias=True, pads=[0] * 4)
    y = n.node("Transpose", n.conv(x, 16, 16, kernel=7, groups=16, bias=True), perm=[0, 2, 3, 1])
    y = n.node("Gelu", n.dense(layer_norm(y), 16, 32))
    y = n.node("Gelu", n.dense(y, 32, 16), approximate="tanh")
    x = n.block(n.node("Add", x, n.node("Transpose", y, perm=[0, 3, 1, 2])), 16, 16)
    x = n.node("ReduceMean", x, n.integers(-1, -2), keepdims=0)
    n.output(n.linear(layer_norm(x), 16, 10), ["N", 10])
    return n


def style_transfer():
    """InstanceNormalization, GroupNorm by way of it, reflected borders, nearest Resize."""
    n = Network("style_transfer", [1, 3, 16, 16], opset=13, ir=7)

    def instance_norm(x, channels):
        scale, shift = n.tensor(n.random(channels, low=0.7, high=1.3), "scale"), n.tensor(n.random(channels, scale=0.2), "shift")
        return n.node("InstanceNormalization", x, scale, shift, epsilon=1e-5)

    def group_norm(x, channels, groups):
        y = n.node("Reshape", x, n.integers(0, groups, -1))
        ones, zeros = n.tensor(np.ones(groups), "scale"), n.tensor(np.zeros(groups), "shift")
        y = n.node("Reshape", n.node("InstanceNormalization", y, ones, zeros), n.node("Shape", x))
        y = n.node("Mul", y, n.tensor(n.random(channels, 1, 1, low=0.7, high=1.3), "scale"))
        return n.node("Add", y, n.tensor(n.random(channels, 1, 1, scale=0.2), "shift"))

    x = n.node("Pad", "input", n.integers(0, 0, 2, 2, 0, 0, 2, 2), mode="reflect")
    x = n.node("Relu", instance_norm(n.conv(x, 3, 12, kernel=5, pads=[0] * 4), 12))
    y = n.node("Relu", group_norm(n.conv(x, 12, 16, stride=2), 16, 4))
    y = n.node("Add", y, instance_norm(n.conv(y, 16, 16), 16))
    resize = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    y = n.node("Resize", y, "", n.tensor([1, 1, 2, 2], "scales"), **resize)
    n.output(n.conv(n.block(y, 16, 12), 12, 3, bias=True), [1, 3, 16, 16])
    return n


def group_norm():
    """GroupNormalization as an operator, opset 21, Mish as one, Swish in parts."""
    n = Network("group_norm", [1, 3, 16, 16], opset=21, ir=10)
    scale, shift = n.tensor(n.random(16, low=0.7, high=1.3), "scale"), n.tensor(n.random(16, scale=0.2), "shift")
    x = n.node("GroupNormalization", n.conv("input", 3, 16, stride=2), scale, shift, num_groups=4)
    x = n.node("Mish", n.norm(n.conv(n.silu(x), 16, 16), 16))
    n.head(x, 16)
    return n


def yolo():
    """YOLOv5: Focus by Slices, SiLU, pools of the same size, a head that is reshaped, transposed, split and scaled."""
    n = Network("yolo", [1, 3, 32, 32], opset=12, ir=7)

    def block(x, inputs, outputs, **conv):
        return n.silu(n.norm(n.conv(x, inputs, outputs, **conv), outputs))

    def half(x, row, column):
        x = n.node("Slice", x, n.integers(row), n.integers(2**63 - 1), n.integers(2), n.integers(2))
        return n.node("Slice", x, n.integers(column), n.integers(2**63 - 1), n.integers(3), n.integers(2))

    x = n.node("Concat", *(half("input", row, column) for column in (0, 1) for row in (0, 1)), axis=1)
    x = block(block(x, 12, 16), 16, 16, stride=2)
    pools = [x]
    for _ in range(3):
        pools.append(n.node("MaxPool", pools[-1], kernel_shape=[5, 5], pads=[2] * 4))
    x = block(n.node("Concat", *pools, axis=1), 64, 16, kernel=1)
    x = n.node("Reshape", n.conv(x, 16, 14, kernel=1, bias=True), n.integers(1, 2, 7, 8, 8))
    x = n.node("Sigmoid", n.node("Transpose", x, perm=[0, 1, 3, 4, 2]))
    centre, size, rest = n.node("Split", x, outputs=3, axis=4, split=[2, 2, 3])
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(8)), -1)[None, None]
    centre = n.node("Sub", n.node("Mul", centre, n.tensor(2.0, "two")), n.tensor(0.5, "half"))
    centre = n.node("Mul", n.node("Add", centre, n.tensor(grid, "grid")), n.tensor(4.0, "stride"))
    size = n.node("Pow", n.node("Mul", size, n.tensor(2.0, "two")), n.tensor(2.0, "two"))
    size = n.node("Mul", size, n.tensor(n.random(1, 2, 1, 1, 2, low=4, high=9), "anchors"))
    x = n.node("Concat", centre, size, rest, axis=-1)
    n.output(n.node("Reshape", x, n.integers(1, -1, 7)), [1, 128, 7])
    return n


def pixel_shuffle():
    """PixelShuffle by Reshape and Transpose, Mish in parts, Split into a number of parts, ChannelShuffle by Gather."""
    n = Network("pixel_shuffle", ["batch", 1, 12, 12], opset=18, ir=8)
    x = n.norm(n.conv("input", 1, 16, kernel=5), 16)
    x = n.node("Mul", x, n.node("Tanh", n.node("Softplus", x)))
    a, b = n.node("Split", x, outputs=2, axis=1, num_outputs=2)
    x = n.node("Concat", n.block(a, 8, 8), b, axis=1)
    x = n.node("Gather", x, n.integers(*np.arange(16).reshape(2, 8).T.ravel()), axis=1)
    x = n.node("Reshape", n.conv(x, 16, 4, bias=True), n.integers(-1, 1, 2, 2, 12, 12))
    x = n.node("Transpose", x, perm=[0, 1, 4, 2, 5, 3])
    n.output(n.node("Reshape", x, n.integers(-1, 1, 24, 24)), ["N", 1, 24, 24])
    return n


def attention():
    """A convolutional stem, self-attention of two heads over its places, a class token, LayerNormalization."""
    n = Network("attention", [1, 3, 16, 16], opset=17, ir=8)
    x = n.block(n.block("input", 3, 16, stride=2), 16, 16, stride=2)
    x = n.node("Transpose", n.node("Reshape", x, n.integers(1, 16, 16)), perm=[0, 2, 1])
    x = n.node("Concat", n.tensor(n.random(1, 1, 16), "token"), x, axis=1)
    x = n.node("Add", x, n.tensor(n.random(1, 17, 16, scale=0.1), "places"))
    scale, shift = n.tensor(np.ones(16), "scale"), n.tensor(np.zeros(16), "shift")
    y = n.node("LayerNormalization", x, scale, shift, axis=-1)
    q, k, v = n.node("Split", n.dense(y, 16, 48), n.integers(16, 16, 16), outputs=3, axis=2)
    heads = [n.node("Transpose", n.node("Reshape", p, n.integers(1, 17, 2, 8)), perm=[0, 2, 1, 3]) for p in (q, k, v)]
    weights = n.node("MatMul", heads[0], n.node("Transpose", heads[1], perm=[0, 1, 3, 2]))
    weights = n.node("Softmax", n.node("Mul", weights, n.tensor(8**-0.5, "root")), axis=-1)
    y = n.node("Transpose", n.node("MatMul", weights, heads[2]), perm=[0, 2, 1, 3])
    x = n.node("Add", x, n.dense(n.node("Reshape", y, n.integers(1, 17, 16)), 16, 16))
    n.output(n.linear(n.node("Gather", x, n.integer(0), axis=1), 16, 10), ["N", 10])
    return n


def einsum_attention():
    """Attention over channels by Einsum, between convolutions."""
    n = Network("einsum_attention", [1, 3, 16, 16], opset=13, ir=7)
    x = n.block("input", 3, 16, stride=2)
    y = n.node("Reshape", x, n.integers(1, 16, 64))
    weights = n.node("Softmax", n.node("Mul", n.node("Einsum", y, y, equation="bcn,bdn->bcd"), n.tensor(1 / 64, "scale")), axis=-1)
    y = n.node("Reshape", n.node("Einsum", weights, y, equation="bcd,bdn->bcn"), n.integers(1, 16, 8, 8))
    n.head(n.block(n.node("Add", x, y), 16, 16), 16)
    return n


def local_functions():
    """Modules as functions of the model, one within another, with attributes that the call gives or leaves out."""
    n = Network("local_functions", ["batch", 3, 16, 16], opset=18, ir=8)
    n.domains = {"pkg.torch": 1}
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("pkg.torch", 1)]
    leaky = helper.make_node("LeakyRelu", ["x"], ["y"])
    leaky.attribute.append(AttributeProto(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT))
    activation = helper.make_function(
        "pkg.torch", "Activation", ["x"], ["y"], [leaky], imports, attribute_protos=[helper.make_attribute("slope", 0.1)]
    )
    conv = helper.make_node("Conv", ["x", "weight"], ["convolved"], pads=[1] * 4)
    conv.attribute.append(AttributeProto(name="strides", ref_attr_name="strides", type=AttributeProto.INTS))
    norm = helper.make_node("BatchNormalization", ["convolved", "scale", "shift", "mean", "variance"], ["normed"])
    call = helper.make_node("Activation", ["normed"], ["y"], domain="pkg.torch")
    names = ["x", "weight", "scale", "shift", "mean", "variance"]
    block = helper.make_function("pkg.torch", "Block", names, ["y"], [conv, norm, call], imports, attributes=["strides"])
    n.functions, n.norms = [activation, block], 2
    x = n.node("Block", "input", n.conv_weight(3, 16), *n.statistics(16), domain="pkg.torch", strides=[2, 2])
    x = n.node("Block", x, n.conv_weight(16, 16), *n.statistics(16), domain="pkg.torch", strides=[1, 1])
    n.head(n.node("Activation", x, domain="pkg.torch", slope=0.3), 16)
    return n


def constant_condition():
    """A condition that constants decide, over layers, as scripting leaves it."""
    n = Network("constant_condition", ["batch", 3, 16, 16], opset=13, ir=7)
    x = n.block("input", 3, 16, stride=2)
    condition = n.node("Equal", n.node("Size", n.node("Shape", x)), n.integer(4))
    weight, statistics = n.conv_weight(16, 16), n.statistics(16)

    def branch(name, nodes):
        result = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph(nodes, name, [], [result])

    layers = [
        helper.make_node("Conv", [x, weight], ["inner"], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["inner", *statistics], ["normed"]),
    ]
    other = [helper.make_node("Neg", [x], ["negative"])]
    n.norms = 2
    x = n.node("Relu", n.node("If", condition, then_branch=branch("normed", layers), else_branch=branch("negative", other)))
    n.head(x, 16)
    return n


def training_mode():
    """BN in training mode, with outputs that nobody reads: to be run for inference."""
    n, n.reference = [training_network(name, training) for name, training in (("training_mode", 1), ("training_mode.reference", 0))]
    return n


def training_network(name, training):
    n = Network(name, ["batch", 3, 16, 16], opset=15, ir=8)
    n.generator = np.random.default_rng(7)
    x = "input"
    for inputs, outputs, stride in ((3, 16, 2), (16, 16, 1)):
        x = n.conv(x, inputs, outputs, stride=stride)
        names = n.node("BatchNormalization", x, *n.statistics(outputs), outputs=3 if training else 1, training_mode=training)
        x = n.node("Relu", names[0] if training else names)
    x = n.node("Dropout", n.node("Flatten", n.node("GlobalAveragePool", x)), n.tensor(0.3, "ratio", np.float32))
    n.output(n.linear(x, 16, 10), ["N", 10])
    return n


def half_model():
    """A model of which all is float16."""
    n = Network("half_model", ["batch", 3, 16, 16], real=np.float16)
    x = n.block("input", 3, 16, stride=2)
    x = n.node("Relu", n.node("Add", x, n.norm(n.conv(x, 16, 16), 16)))
    n.head(n.block(x, 16, 24, stride=2), 24)
    return n


def half_input():
    """float16 at the borders, float32 inside."""
    n = Network("half_input", ["batch", 3, 16, 16], input_type=TensorProto.FLOAT16)
    x = n.block(n.node("Cast", "input", to=TensorProto.FLOAT), 3, 16, stride=2)
    x = n.linear(n.node("Flatten", n.node("GlobalAveragePool", n.block(x, 16, 16))), 16, 10)
    n.output(n.node("Cast", x, to=TensorProto.FLOAT16), ["N", 10], TensorProto.FLOAT16)
    return n


MAKERS = [
    view_chain,
    convnext_parts,
    convnext_operators,
    style_transfer,
    group_norm,
    yolo,
    pixel_shuffle,
    attention,
    einsum_attention,
    local_functions,
    constant_condition,
    training_mode,
    half_model,
    half_input,
]
