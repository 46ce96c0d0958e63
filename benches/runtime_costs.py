#!/usr/bin/env python3
"""Measures what operators cost in ONNX Runtime, in float and in integers, and writes the table that objectives read.

    runtime_costs.py [--threads 2] [--blocks 9] [--check] [--only KIND,...] [-o src/quantization/targets/ort_cpu_costs.rs]

Every kind of operator stands in chains of two lengths, so that the difference is what it costs where it stands: with the
layout that its neighbours have, and without a profiler, whose own cost is larger than that of a small operator. Models
take turns and each gets a session of its own; the least time counts. Per kind and precision, nanoseconds per node, per
multiplication, per element, per position of the image and per place of a window there are fitted to relative errors and are never
negative; --check prints the errors. With --only, the rows of other kinds stay in OUTPUT as they are.
Needs: onnx onnxruntime numpy.
"""
import argparse, datetime, platform, re, time
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

BLOCK = 16
SHORT, LONG = 3, 11
SHAPES = [(16, 112), (32, 56), (64, 28), (128, 14), (256, 7), (32, 28), (64, 56), (96, 22), (128, 28), (64, 14), (48, 12), (16, 24)]
# Channels that fill no whole block: depthwise integer kernels take another path.
UNEVEN = [(24, 44), (72, 22), (72, 11), (8, 56), (40, 28), (24, 22), (200, 14), (104, 7)]


class Chain:
    """A graph under construction; `value` is where it ends, and `integer` whether that carries a pair."""

    def __init__(self, channels, size, axes=2):
        self.nodes, self.constants, self.count, self.axes = [], [], 0, axes
        self.input = [1, channels] + [size] * axes
        self.value = "x"
        self.random = np.random.default_rng(0)
        self.scale, self.zero = self.constant(np.float32(0.02)), self.constant(np.uint8(128))

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, operator, inputs, **attributes):
        self.count += 1
        self.nodes.append(helper.make_node(operator, inputs, [f"v{self.count}"], **attributes))
        return f"v{self.count}"

    def pair(self, value):
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [value, self.scale, self.zero]), self.scale, self.zero])

    def convolution(self, value, outputs, inputs, kernel, integer, depthwise=False, stride=1):
        shape = (outputs, 1 if depthwise else inputs) + (kernel,) * self.axes
        weight, bias = self.random.integers(-99, 99, shape).astype(np.int8), np.zeros(outputs, np.float32)
        scale = np.full(outputs, 0.01 / np.sqrt(np.prod(shape[1:])), np.float32)
        if integer:
            of_weight = [self.constant(weight), self.constant(scale), self.constant(np.zeros(outputs, np.int8))]
            of_bias = [self.constant(bias.astype(np.int32)), self.constant(scale * np.float32(0.02))]
            weight = self.node("DequantizeLinear", of_weight, axis=0)
            bias = self.node("DequantizeLinear", of_bias, axis=0)
        else:
            weight, bias = self.constant(weight * scale.reshape(-1, *[1] * (len(shape) - 1))), self.constant(bias)
        pads = [(kernel - 1) // 2] * self.axes + [kernel // 2] * self.axes
        group = inputs if depthwise else 1
        window, strides = [kernel] * self.axes, [stride] * self.axes
        made = self.node("Conv", [value, weight, bias], kernel_shape=window, pads=pads, group=group, strides=strides)
        return self.pair(made) if integer else made

    def model(self, outputs):
        result = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.input)
        graph = helper.make_graph(self.nodes, "costs", [x], result, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def anchor(chain, channels, integer):
    """An operator that keeps its neighbours in the layout of its precision."""
    chain.value = chain.convolution(chain.value, channels, channels, 3, integer, depthwise=True)


def repeated(step, channels, size, integer, length, axes=2):
    chain = Chain(channels, size, axes)
    chain.value = chain.pair("x") if integer else "x"
    anchor(chain, channels, integer)
    for _ in range(length):
        step(chain, channels, integer)
    anchor(chain, channels, integer)
    return chain.model([chain.value])


def dense(kernel):
    def step(chain, channels, integer):
        chain.value = chain.convolution(chain.value, channels, channels, kernel, integer)
    return step


def depthwise(kernel):
    def step(chain, channels, integer):
        chain.value = chain.convolution(chain.value, channels, channels, kernel, integer, depthwise=True)
    return step


def function(operator, **attributes):
    def step(chain, channels, integer):
        anchor(chain, channels, integer)
        value = chain.node(operator, [chain.value], **attributes)
        chain.value = chain.pair(value) if integer else value
    return step


def addition(chain, channels, integer):
    before = chain.value
    anchor(chain, channels, integer)
    value = chain.node("Add", [before, chain.value])
    chain.value = chain.pair(value) if integer else value


def concatenation(chain, channels, integer):
    half = [chain.convolution(chain.value, channels // 2, channels, 1, integer) for _ in range(2)]
    value = chain.node("Concat", half, axis=1)
    chain.value = chain.pair(value) if integer else value
    anchor(chain, channels, integer)


def border(chain, channels, _):
    """Into integers and back. A single convolution between two pairs would be made integer by ONNX Runtime: hence two."""
    anchor(chain, channels, False)
    anchor(chain, channels, False)
    chain.value = chain.pair(chain.value)
    anchor(chain, channels, True)


def side_by_side(axes, inputs, kernel, outputs, size, integer, length):
    """Convolutions of one input; a strided one behind each drops what would have to be written."""
    chain = Chain(inputs, size * 2, axes)
    value = chain.pair("x") if integer else "x"
    ends = []
    for _ in range(length):
        made = chain.convolution(value, outputs, inputs, kernel, integer, stride=2)
        ends.append(chain.convolution(made, 16, outputs, 1, integer, stride=16))
    return chain.model(ends)


def stem(*shape):
    """Of a picture."""
    return side_by_side(2, *shape)


def line(*shape):
    """Of a signal."""
    return side_by_side(1, *shape)


class Kind:
    """`features(*shape)`: multiplications, elements, positions and places of windows of one node; `less`: nodes that stand between."""

    def __init__(self, name, build, features, less=(), precisions=(False, True), shapes=tuple(SHAPES)):
        self.name, self.build, self.features, self.less, self.precisions, self.shapes = name, build, features, less, precisions, shapes


def chained(step, axes=2):
    return lambda channels, size, integer, length: repeated(step, channels, size, integer, length, axes)


def in_blocks(channels, positions):
    """Elements of an output: channels fill whole blocks, as ONNX Runtime has them in memory."""
    return -(-channels // BLOCK) * BLOCK * positions


def features(macs_of, axes=2):
    def of(channels, size):
        elements = in_blocks(channels, size**axes)
        return macs_of(channels) * elements, elements, size**axes, 0
    return of


def side_features(axes):
    def of(inputs, kernel, outputs, size):
        window, positions = kernel**axes, size**axes
        elements = in_blocks(outputs, positions)
        return inputs * window * elements, elements, positions, window * positions
    return of


PLAIN = features(lambda _: 0)
# Inputs, kernel, outputs and size of the output.
STEMS = ((3, 3, 8, 112), (3, 3, 16, 112), (3, 3, 32, 56), (3, 3, 24, 176), (3, 3, 16, 56), (3, 3, 32, 112), (1, 3, 16, 56), (1, 5, 32, 28),
         (1, 7, 64, 28), (1, 11, 32, 28), (3, 5, 32, 56), (3, 7, 64, 56), (3, 7, 16, 56), (3, 11, 64, 28), (6, 3, 32, 56), (5, 5, 16, 28))
LINES = ((1, 3, 16, 512), (1, 9, 64, 512), (1, 25, 32, 512), (1, 64, 64, 256), (1, 512, 128, 256), (3, 9, 32, 512), (4, 15, 16, 512),
         (16, 3, 16, 512), (16, 9, 64, 256), (64, 1, 64, 256), (64, 3, 64, 256), (64, 9, 64, 128), (128, 3, 128, 64))
LINES_DEPTHWISE = ((64, 512), (128, 256), (32, 512), (256, 128), (64, 128), (96, 1024))
KINDS = [
    Kind("depthwise", chained(depthwise(3)), features(lambda _: 9)),
    Kind("wide_depthwise", chained(depthwise(5)), features(lambda _: 25)),
    Kind("uneven_depthwise", chained(depthwise(3)), features(lambda _: 9), shapes=tuple(UNEVEN)),
    Kind("uneven_wide_depthwise", chained(depthwise(5)), features(lambda _: 25), shapes=tuple(UNEVEN)),
    Kind("pointwise", chained(dense(1)), features(lambda channels: channels), shapes=(*SHAPES, *UNEVEN)),
    Kind("spatial", chained(dense(3)), features(lambda channels: 9 * channels), shapes=tuple(s for s in SHAPES if s != (16, 112))),
    Kind("stem", stem, side_features(2), shapes=STEMS),
    Kind("line", line, side_features(1), shapes=LINES),
    Kind("line_depthwise", chained(depthwise(9), 1), features(lambda _: 9, 1), shapes=LINES_DEPTHWISE),
    Kind("function", chained(function("LeakyRelu", alpha=0.1)), PLAIN, ("depthwise",)),
    Kind("pool", chained(function("MaxPool", kernel_shape=[3, 3], pads=[1] * 4)), PLAIN, ("depthwise",)),
    Kind("addition", chained(addition), PLAIN, ("depthwise",)),
    Kind("concatenation", chained(concatenation), PLAIN, ("depthwise", "halved_pointwise")),
    Kind("border", chained(border), PLAIN, ("float depthwise", "float depthwise", "integer depthwise"), (False,)),
]


def seconds(model, threads, runs=25):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    x, best = {"x": np.random.default_rng(0).normal(size=shape).astype(np.float32)}, np.inf
    for _ in range(runs):
        start = time.perf_counter()
        session.run(None, x)
        best = min(best, time.perf_counter() - start)
    return best


def measure(kinds, threads, blocks):
    """Nanoseconds of one node by (kind, integer, shape)."""
    cases = [(kind, integer, shape) for kind in kinds for integer in kind.precisions for shape in kind.shapes]
    models = {(k.name, i, s, n): k.build(*s, i, n) for k, i, s in cases for n in (SHORT, LONG)}
    best = dict.fromkeys(models, np.inf)
    for _ in range(blocks):
        for key, model in models.items():
            best[key] = min(best[key], seconds(model, threads))
    raw = {(k.name, i, s): 1e9 * (best[k.name, i, s, LONG] - best[k.name, i, s, SHORT]) / (LONG - SHORT) for k, i, s in cases}
    return {(k, i, s): raw[k.name, i, s] - sum(standing_between(raw, name, i, s) for name in k.less) for k, i, s in cases}


def standing_between(raw, name, integer, shape):
    if name == "halved_pointwise":
        return raw["pointwise", integer, shape]
    for word, precision in (("float ", False), ("integer ", True)):
        if name.startswith(word):
            name, integer = name[len(word):], precision
    return raw[name, integer, shape]


def fit(rows, targets):
    """Least squares of relative errors without negative numbers, by coordinate descent."""
    weights = 1 / np.maximum(np.abs(targets), 1000)
    a, b = rows * weights[:, None], targets * weights
    scale = np.maximum(np.linalg.norm(a, axis=0), 1e-30)
    a, x = a / scale, np.zeros(rows.shape[1])
    for _ in range(20000):
        for i in range(len(x)):
            x[i] = max(0.0, x[i] + a[:, i] @ (b - a @ x))
    return x / scale


def table(kinds, found, check):
    lines = []
    for kind in kinds:
        for integer in kind.precisions:
            shapes = kind.shapes
            macs = np.array([kind.features(*s) for s in shapes], float)
            targets = np.array([found[kind, integer, s] for s in shapes])
            rows = np.column_stack([np.ones(len(shapes)), macs])
            cost = fit(rows, targets)
            precision = "" if kind.name == "border" else "integer_" if integer else "float_"
            lines.append((f"{precision}{kind.name}", cost))
            if check:
                print(lines[-1][0], *(f"{'x'.join(map(str, s))}: {t:.0f} ({p:.0f})" for s, t, p in zip(shapes, targets, rows @ cost)), sep="  ")
    return lines


def processor():
    with open("/proc/cpuinfo") as file:
        facts = dict(line.split(":", 1) for line in (line.strip() for line in file) if ":" in line)
    names = {key.strip(): value.strip() for key, value in facts.items()}
    flags = [flag for flag in ("avx512_vnni", "amx_int8") if flag in names.get("flags", "").split()]
    return f"{names.get('model name', platform.processor())} (family {names.get('cpu family')}, model {names.get('model')}; {', '.join(flags)})"


def circumstances(threads):
    return f"{datetime.date.today()}, ONNX Runtime {onnxruntime.__version__}, {threads} threads, batch 1.\n//! {processor()}."


def row(name, cost):
    node, mac, element, position, window = cost
    numbers = f"node: {node:.1f}, mac: {mac:.5f}, element: {element:.4f}, position: {position:.3f}, window: {window:.3f}"
    return f"    {name}: Cost {{ {numbers} }},\n"


def rust(lines, threads):
    text = "//! What operators cost in ONNX Runtime, in nanoseconds; written by `benches/runtime_costs.py`.\n//!\n"
    text += f"//! {circumstances(threads)}\n\n"
    text += "use crate::quantization::costs::{Cost, RuntimeCosts};\n\npub static ORT_CPU_COSTS: RuntimeCosts = RuntimeCosts {\n"
    return text + "".join(row(*line) for line in lines) + "};\n"


def replaced(text, lines, kinds, threads):
    """`text` with these rows, and where they come from."""
    head, body = text.split("\n\n", 1)
    for name, cost in lines:
        body, count = re.subn(rf"    {name}: Cost \{{.*\n", row(name, cost), body)
        body = body if count else body.replace("\n};\n", "\n" + row(name, cost) + "};\n")
    names = " and ".join(", ".join(kind.name for kind in kinds).rsplit(", ", 1))
    return f"{head}\n//!\n//! Rows of {names}: {circumstances(threads)}\n\n{body}"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--blocks", type=int, default=9)
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument("--only", default="")
    arguments.add_argument("-o", "--output")
    given = arguments.parse_args()
    kinds = [kind for kind in KINDS if not given.only or kind.name in given.only.split(",")]
    lines = table(kinds, measure(kinds, given.threads, given.blocks), given.check)
    text = rust(lines, given.threads)
    if given.only and given.output:
        with open(given.output) as file:
            text = replaced(file.read(), lines, kinds, given.threads)
    if given.output:
        with open(given.output, "w") as file:
            file.write(text)
    else:
        print(text)
