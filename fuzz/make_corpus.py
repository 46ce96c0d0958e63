"""Writes the seeds of the fuzz targets into corpus/: small files of each kind, so that mutations reach every reader.

    python fuzz/make_corpus.py      needs onnx, numpy and pillow"""

import io
import pathlib
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

CORPUS = pathlib.Path(__file__).parent / "corpus"
RANDOM = np.random.default_rng(0)


def tensor(name, *shape, low=None, dtype=np.float32):
    numbers = RANDOM.normal(size=shape) if low is None else RANDOM.uniform(low, low + 1, shape)
    return numpy_helper.from_array(numbers.astype(dtype), name)


def norm(source, target, channels, prefix="n"):
    names = [f"{prefix}{part}" for part in "sbmv"]
    node = helper.make_node("BatchNormalization", [source, *names], [target], name=target)
    return node, [tensor(names[0], channels, low=0.5), *(tensor(n, channels) for n in names[1:3]), tensor(names[3], channels, low=0.5)]


def model(nodes, initializers, shape=(1, 2, 4, 4), opset=17, ir=8, output=(1, 3), functions=(), as_inputs=False, extra=()):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    if as_inputs:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in initializers]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    imports = [helper.make_opsetid("", opset), *extra]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir, functions=list(functions))


def head(source, channels, classes=3):
    nodes = [
        helper.make_node("GlobalAveragePool", [source], ["p"], name="p"),
        helper.make_node("Flatten", ["p"], ["f"], name="f"),
        helper.make_node("Gemm", ["f", "gw", "gb"], ["y"], name="y", transB=1),
    ]
    return nodes, [tensor("gw", classes, channels), tensor("gb", classes)]


def plain():
    bn, stats = norm("c", "n", 3)
    tail, weights = head("r", 3)
    conv = helper.make_node("Conv", ["x", "w"], ["c"], name="c", pads=[1, 1, 1, 1])
    nodes = [conv, bn, helper.make_node("Relu", ["n"], ["r"], name="r"), *tail]
    return model(nodes, [tensor("w", 3, 2, 3, 3), *stats, *weights])


def residual():
    bn, stats = norm("c", "n", 2)
    tail, weights = head("r", 2)
    conv = helper.make_node("Conv", ["x", "w", "b"], ["c"], name="c", auto_pad="SAME_UPPER", group=2)
    nodes = [conv, bn, helper.make_node("Add", ["n", "x"], ["a"]), helper.make_node("Clip", ["a", "lo", "hi"], ["r"]), *tail]
    bounds = [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("lo", 0), ("hi", 6))]
    return model(nodes, [tensor("w", 2, 1, 3, 3), tensor("b", 2), *stats, *bounds, *weights], shape=("N", 2, 4, 4), output=("N", 3))


def old():
    bn, stats = norm("c", "n", 3)
    conv = helper.make_node("Conv", ["x", "w"], ["c"], name="c", pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    nodes = [
        conv,
        bn,
        helper.make_node("Clip", ["n"], ["r"], min=0.0, max=6.0),
        helper.make_node("Pad", ["r"], ["q"], pads=[0, 0, 1, 1, 0, 0, 1, 1]),
        helper.make_node("Slice", ["q"], ["s"], axes=[2, 3], starts=[0, 0], ends=[4, 4]),
        helper.make_node("Upsample", ["s"], ["u"], scales=[1.0, 1.0, 2.0, 2.0], mode="nearest"),
        helper.make_node("GlobalAveragePool", ["u"], ["p"]),
        helper.make_node("Squeeze", ["p"], ["y"], axes=[2, 3]),
    ]
    return model(nodes, [tensor("w", 3, 2, 3, 3), *stats], opset=7, ir=3, as_inputs=True)


def shapes():
    ints = lambda name, *v: numpy_helper.from_array(np.array(v, np.int64), name)  # noqa: E731
    constant = helper.make_node("Constant", [], ["w"], value=tensor("", 3, 2, 1, 1))
    nodes = [
        constant,
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Shape", ["c"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n", "axis"], ["m"]),
        helper.make_node("Concat", ["m", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["c", "t"], ["r"]),
        helper.make_node("Resize", ["c", "", "scales"], ["z"], mode="nearest"),
        helper.make_node("ReduceMean", ["z"], ["q"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["r", "v"], ["o"]),
        helper.make_node("Add", ["o", "q"], ["y"]),
    ]
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    zero = numpy_helper.from_array(np.array(0, np.int64), "zero")
    return model(nodes, [zero, ints("axis", 0), ints("rest", -1), scales, tensor("v", 48, 3)], shape=("N", 2, 4, 4), output=("N", 3))


def branches():
    info = helper.make_tensor_value_info
    branch = lambda name, op: helper.make_graph(  # noqa: E731
        [helper.make_node(op, ["c"], [name])], name, [], [info(name, TensorProto.FLOAT, None)]
    )
    fn = helper.make_function("own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("If", ["cond"], ["i"], then_branch=branch("t", "Relu"), else_branch=branch("e", "Sigmoid")),
        helper.make_node("Twice", ["i"], ["d"], domain="own"),
        helper.make_node("NonZero", ["d"], ["y"]),
    ]
    cond = numpy_helper.from_array(np.array(True), "cond")
    own = helper.make_opsetid("own", 1)
    return model(nodes, [tensor("w", 3, 2, 1, 1), cond], output=None, functions=[fn], extra=[own])


def quantized():
    byte = lambda name, v, t: numpy_helper.from_array(np.array(v, t), name)  # noqa: E731
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["w"], axis=0),
        helper.make_node("Conv", ["d", "w"], ["y"], strides=[2, 2], dilations=[1, 1]),
    ]
    weights = numpy_helper.from_array(RANDOM.integers(-127, 128, (3, 2, 1, 1), np.int8), "wq")
    scales = [byte("s", 0.1, np.float32), byte("z", 128, np.uint8), tensor("ws", 3, low=0.1), byte("wz", [0, 0, 0], np.int8)]
    return model(nodes, [weights, *scales], output=(1, 3, 2, 2))


def types():
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("ConvTranspose", ["h", "w"], ["c"], strides=[2, 2], output_padding=[1, 1]),
        helper.make_node("MaxPool", ["c"], ["m"], kernel_shape=[2, 2], ceil_mode=1),
        helper.make_node("Cast", ["m"], ["y"], to=1),
    ]
    odd = helper.make_tensor("odd", TensorProto.BFLOAT16, [2], [1.0, 2.0])
    words = helper.make_tensor("words", TensorProto.STRING, [1], [b"word"])
    made = model(nodes, [tensor("w", 2, 3, 2, 2, dtype=np.float16), odd, words], output=None)
    made.metadata_props.add(key="k", value="v")
    far = made.graph.initializer.add(name="far", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    far.external_data.add(key="location", value="far.bin")
    return made


MODELS = [plain, residual, old, shapes, branches, quantized, types]


def write(kind, name, data):
    folder = CORPUS / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def packed(save):
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def main():
    for make in MODELS:
        write("model", f"{make.__name__}.onnx", make().SerializeToString(deterministic=True))
    write("recipe", "odd.recipe", b"# odd\n\n  --input-range=-1,1 # signed\n--shape x=1x3x4x4\n-n 7\n--seed\t3\n")
    array = RANDOM.normal(size=(2, 3, 4, 4)).astype(np.float32)
    pixels = RANDOM.integers(0, 256, (4, 4, 3), np.uint8)
    for name, numbers in [("floats", array), ("bytes", pixels[None]), ("doubles", array.astype(">f8")), ("fortran", np.asfortranarray(array))]:
        write("data", f"{name}.npy", b"\0" + packed(lambda file, numbers=numbers: np.save(file, numbers)))
    write("data", "one.npz", b"\1" + packed(lambda file: np.savez_compressed(file, x=array)))
    write("data", "stray.npz", b"\1" + packed(lambda file: zipfile.ZipFile(file, "w").writestr("../x.npy", "no")))
    header = b'{"x":{"dtype":"F32","shape":[2,3,4,4],"data_offsets":[0,384]}}  '
    write("data", "one.safetensors", b"\2" + len(header).to_bytes(8, "little") + header + array.tobytes())
    write("data", "one.png", b"\3" + packed(lambda file: Image.fromarray(pixels).save(file, "png")))
    write("data", "gray.png", b"\3" + packed(lambda file: Image.fromarray(pixels[..., 0]).save(file, "png")))
    write("data", "one.jpg", b"\4" + packed(lambda file: Image.fromarray(pixels).save(file, "jpeg")))


if __name__ == "__main__":
    main()
