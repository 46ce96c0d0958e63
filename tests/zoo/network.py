"""A graph in the making, with the layers that networks are made of."""
import zlib

import numpy as np
from onnx import helper, numpy_helper


class Network:
    """A graph in the making. Every method that adds a node returns the name of its first output."""

    def __init__(self, name, shape, opset=17, ir=8, constants=False, initializers_as_inputs=False, real=np.float32, input_type=None):
        self.name, self.opset, self.ir = name, opset, ir
        self.constants, self.initializers_as_inputs = constants, initializers_as_inputs
        self.real = real
        self.real_type = helper.np_dtype_to_tensor_dtype(np.dtype(real))
        self.generator = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes, self.initializers, self.inputs, self.outputs, self.count = [], [], [], [], 0
        self.domains, self.functions = {}, []
        # What ONNX Runtime is to run in place of the file; flags of `zeroq quantize`; what the inputs hold; how many BN nodes
        # run where they are not all nodes of the graph.
        self.reference, self.flags, self.range, self.norms = None, ["--input-range=-1,1"], "-1,1", None
        # What the signal-to-noise ratio may fall to, in decibels, where rounding moves elements to other places.
        self.floor = None
        if shape is not None:
            self.add_input("input", shape, input_type)

    def add_input(self, name, shape, data_type=None):
        self.inputs.append(helper.make_tensor_value_info(name, data_type or self.real_type, shape))
        return name

    def fresh(self, stem):
        self.count += 1
        return f"{stem}_{self.count}"

    def node(self, operator, *inputs, outputs=1, domain="", **attributes):
        name = self.fresh(operator.lower())
        names = [name if outputs == 1 else f"{name}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=f"/{name}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def tensor(self, values, stem="weight", data_type=None):
        """A constant, held where this exporter holds them."""
        name = self.fresh(stem)
        tensor = numpy_helper.from_array(np.asarray(values, data_type or self.real), name)
        if self.constants:
            self.nodes.append(helper.make_node("Constant", [], [name], name=f"/{name}", value=tensor))
            return name
        self.initializers.append(tensor)
        if self.initializers_as_inputs:
            self.inputs.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
        return name

    def integers(self, *values):
        return self.tensor(values, "shape", np.int64)

    def integer(self, value):
        return self.tensor(value, "index", np.int64)

    def random(self, *shape, low=None, high=None, scale=1.0):
        if low is None:
            return self.generator.normal(size=shape) * scale
        return self.generator.uniform(low, high, shape)

    def conv_weight(self, inputs, outputs, kernel=3, groups=1, rank=2):
        fan_in = inputs // groups * kernel**rank
        return self.tensor(self.random(outputs, inputs // groups, *[kernel] * rank, scale=(2 / fan_in) ** 0.5))

    def conv(self, x, inputs, outputs, kernel=3, stride=1, groups=1, bias=False, rank=2, **attributes):
        kernel_shape = [kernel] * rank
        if "auto_pad" not in attributes:
            attributes.setdefault("pads", [kernel // 2] * (2 * rank))
        weight = self.conv_weight(inputs, outputs, kernel, groups, rank)
        more = [self.tensor(self.random(outputs, scale=0.1), "bias")] if bias else []
        strides = [stride] * rank
        return self.node("Conv", x, weight, *more, kernel_shape=kernel_shape, strides=strides, group=groups, **attributes)

    def statistics(self, channels):
        scale, shift = self.random(channels, low=0.7, high=1.3), self.random(channels, scale=0.2)
        mean, variance = self.random(channels, scale=0.2), self.random(channels, low=0.6, high=1.4)
        return [self.tensor(v, s) for v, s in zip((scale, shift, mean, variance), ("scale", "shift", "mean", "variance"))]

    def norm(self, x, channels, **attributes):
        return self.node("BatchNormalization", x, *self.statistics(channels), epsilon=1e-5, **attributes)

    def block(self, x, inputs, outputs, activation="Relu", **conv):
        """Conv, BN, activation."""
        return self.node(activation, self.norm(self.conv(x, inputs, outputs, **conv), outputs))

    def clip(self, x, low, high):
        if self.opset < 11:
            return self.node("Clip", x, min=float(low), max=float(high))
        return self.node("Clip", x, self.tensor(low, "low"), self.tensor(high, "high"))

    def silu(self, x):
        return self.node("Mul", x, self.node("Sigmoid", x))

    def linear(self, x, inputs, outputs):
        weight = self.tensor(self.random(outputs, inputs, scale=inputs**-0.5))
        return self.node("Gemm", x, weight, self.tensor(self.random(outputs, scale=0.1), "bias"), transB=1)

    def dense(self, x, inputs, outputs):
        """MatMul and Add."""
        y = self.node("MatMul", x, self.tensor(self.random(inputs, outputs, scale=inputs**-0.5)))
        return self.node("Add", y, self.tensor(self.random(outputs, scale=0.1), "bias"))

    def head(self, x, channels, classes=10):
        x = self.node("Flatten", self.node("GlobalAveragePool", x), axis=1)
        return self.output(self.linear(x, channels, classes), ["N", classes])

    def output(self, x, shape, data_type=None):
        """Makes `x` an output; the symbol N is the batch."""
        batch = self.inputs[0].type.tensor_type.shape.dim[0]
        first = batch.dim_param or batch.dim_value
        shape = [first if d == "N" else d for d in shape]
        self.outputs.append(helper.make_tensor_value_info(x, data_type or self.real_type, shape))

    def build(self):
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.initializers)
        imports = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, v) for d, v in self.domains.items())]
        return helper.make_model(
            graph, opset_imports=imports, ir_version=self.ir, producer_name="zeroq tests", functions=self.functions
        )
