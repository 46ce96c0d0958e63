"""Most memory that quantizing a model with many weights takes, as a multiple of its files.

    python benches/large_model.py [--zeroq target/release/zeroq] [--mebibytes 300] [--channels 2048] [-- FLAGS]

Makes networks of 1x1 convolutions with BatchNormalization on 2x2 maps: many weights, little to compute. Prints a Markdown table.
`ru_maxrss` is what the system says that the process had in memory at most; flags behind `--` go to `zeroq quantize`. Needs numpy
and onnx."""

import argparse
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time


def make(path, channels, layers):
    """In a process of its own: what a process holds counts for those that it starts."""
    import numpy
    import onnx
    from onnx import helper, numpy_helper

    random = numpy.random.default_rng(0)
    nodes, tensors = [], []

    def tensor(name, array):
        tensors.append(numpy_helper.from_array(array.astype(numpy.float32), name))
        return name

    def layer(index, before, shape):
        fan_in = numpy.prod(shape[1:])
        weight = tensor(f"w{index}", random.standard_normal(shape, dtype=numpy.float32) * (2 / fan_in) ** 0.5)
        nodes.append(helper.make_node("Conv", [before, weight], [f"c{index}"], strides=[8 if before == "x" else 1] * 2))
        statistics = [0.8 + 0.4 * random.random(channels), random.normal(0, 0.3, channels), random.normal(0, 0.2, channels)]
        statistics.append(0.5 + random.random(channels))
        names = [tensor(f"{kind}{index}", array) for kind, array in zip(("scale", "shift", "mean", "variance"), statistics)]
        nodes.append(helper.make_node("BatchNormalization", [f"c{index}", *names], [f"n{index}"]))
        nodes.append(helper.make_node("Relu", [f"n{index}"], [f"r{index}"]))
        return f"r{index}"

    last = layer(0, "x", (channels, 3, 8, 8))
    for index in range(1, layers + 1):
        last = layer(index, last, (channels, channels, 1, 1))
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["y"]))
    value = helper.make_tensor_value_info
    x, y = value("x", onnx.TensorProto.FLOAT, ["n", 3, 16, 16]), value("y", onnx.TensorProto.FLOAT, ["n", channels, 1, 1])
    graph = helper.make_graph(nodes, "large", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, path, save_as_external_data=True, location="large.data")


def run(command):
    start = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}: status {status}")
    return usage.ru_maxrss / 1024, time.time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zeroq", default="target/release/zeroq")
    parser.add_argument("--mebibytes", type=int, default=300)
    parser.add_argument("--channels", type=int, default=2048)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments, flags = parser.parse_args(sys.argv[1:split]), sys.argv[split + 1 :]
    print("| precision | model MiB | MiB at most | times the model | seconds |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "large.onnx"
        layers = round(arguments.mebibytes * 2**20 / (4 * arguments.channels**2))
        maker = multiprocessing.Process(target=make, args=(path, arguments.channels, layers))
        maker.start()
        maker.join()
        size = sum(file.stat().st_size for file in pathlib.Path(folder).iterdir()) / 2**20
        for precision in ("fp16", "int8"):
            command = [arguments.zeroq, "quantize", str(path), "-o", f"{folder}/{precision}.onnx", "--precision", precision, "-q"]
            most, seconds = run([*command, "-n", str(arguments.images), "--steps", str(arguments.steps), *flags])
            print(f"| {precision} | {size:.0f} | {most:.0f} | {most / size:.2f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
