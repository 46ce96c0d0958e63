#!/usr/bin/env python3
"""Steps of zeroq against the same steps in PyTorch, on the same cores, taking turns; prints ratios and peak memory.

    against_pytorch.py [--threads N ...] [--turns N] [--steps N] [--only NAME ...] [--model NAME=FILE ...] [--contiguous]

Both run the network that `cargo bench --bench steps` draws (or FILE). PyTorch runs eagerly, channels last; --contiguous
takes the other layout.
Synthesis step: forward with the statistics of every BatchNorm input, reverse KL to the stored ones, gradient of the pixels, Adam, clamp.
Distillation step: FP32 forward, student forward with fake quantization of weights and activations, squared error at every
convolution and output, gradients of weights, biases and scales, Adam.
Needs: torch and onnx.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CASES = [
    ("synthesis", "resnet20", 64), ("synthesis", "resnet56", 64), ("synthesis", "mobilenetv1_025", 16),
    ("synthesis", "mobilenetv2", 8), ("synthesis", "resnet18", 8),
    ("distillation", "resnet20", 16), ("distillation", "mobilenetv1_025", 16),
]


def main():
    arguments = parse_arguments()
    if arguments.torch:
        kind, file, images, steps = arguments.torch
        return torch_main(kind, file, int(images), int(steps), arguments)
    binary = build()
    models = dict(entry.split("=", 1) for entry in arguments.model)
    print(f"| step | images | threads | zeroq ms | PyTorch ms | ratio | zeroq MB | PyTorch MB (its import) | ratio |\n|{'---|' * 9}")
    with tempfile.TemporaryDirectory() as folder:
        for kind, name, images in CASES:
            if arguments.only and not any(part in f"{kind} {name}" for part in arguments.only):
                continue
            file = models.get(name) or str(Path(folder) / f"{name}.onnx")
            if name not in models:
                subprocess.run([binary, "--write", name, file], check=True)
            for threads in arguments.threads:
                compare(binary, kind, name, file, images, threads, arguments)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[len(os.sched_getaffinity(0))])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--model", nargs="*", default=[])
    parser.add_argument("--contiguous", action="store_true")
    parser.add_argument("--torch", nargs=4, metavar=("KIND", "FILE", "IMAGES", "STEPS"), help=argparse.SUPPRESS)
    return parser.parse_args()


def build():
    command = ["cargo", "build", "--release", "--locked", "--bench", "steps", "--message-format", "json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = [json.loads(line) for line in lines]
    return [entry["executable"] for entry in found if entry.get("target", {}).get("name") == "steps" and entry.get("executable")][-1]


def compare(binary, kind, name, file, images, threads, arguments):
    """Turns of both; of each the median step of its best turn."""
    ours, theirs = [], []
    layout = ["--contiguous"] if arguments.contiguous else []
    for _ in range(arguments.turns):
        count = [str(images), str(arguments.steps)]
        ours.append(measure([binary, "--run", kind, file, *count], threads))
        theirs.append(measure([sys.executable, __file__, "--threads", str(threads), *layout, "--torch", kind, file, *count], threads))
    best = [min(run[0] for run in runs) for runs in (ours, theirs)]
    memory = [min(run[1] for run in runs) for runs in (ours, theirs)]
    print(f"| {kind} {name} | {images} | {threads} | {best[0] * 1e3:.1f} | {best[1] * 1e3:.1f} | **{best[1] / best[0]:.2f}** "
          f"| {memory[0]:.0f} | {memory[1]:.0f} ({theirs[0][2]:.0f}) | {memory[0] / memory[1]:.2f} |", flush=True)


def measure(command, threads):
    """Median seconds of a step, megabytes of the process at most, and those that importing took."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    cores = sorted(os.sched_getaffinity(0))[:threads]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
                               preexec_fn=lambda: os.sched_setaffinity(0, cores))
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(command)}")
    found = json.loads(output.splitlines()[-1])
    seconds, imported = (found["seconds"], found["import"]) if isinstance(found, dict) else (found, 0)
    return statistics.median(seconds), usage.ru_maxrss / 1024, imported


# --- PyTorch's side -------------------------------------------------------------------------------------------------


def torch_main(kind, file, images, steps, arguments):
    import torch

    torch.set_num_threads(arguments.threads[0])
    torch.manual_seed(0)
    network = Network(file, torch.contiguous_format if arguments.contiguous else torch.channels_last)
    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    step = {"synthesis": synthesis, "distillation": distillation}[kind](network, images)
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds[1:], "import": imported}))


class Network:
    """An ONNX file as calls of torch.nn.functional."""

    def __init__(self, file, layout, device="cpu"):
        import numpy as np
        import onnx
        import torch
        from onnx import numpy_helper

        graph = onnx.load(file).graph
        self.layout, self.device = layout, device
        self.constants = {}
        for tensor in graph.initializer:
            array = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
            self.constants[tensor.name] = (array.to(memory_format=layout) if array.dim() == 4 else array).to(device)
        self.nodes = [(node.op_type, list(node.input), node.output[0], {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute})
                      for node in graph.node]
        names = {tensor.name for tensor in graph.initializer}
        self.input = next(value for value in graph.input if value.name not in names)
        self.output = graph.output[0].name
        self.norms = {inputs[0]: (self.constants[inputs[3]], self.constants[inputs[4]])
                      for kind, inputs, _, _ in self.nodes if kind == "BatchNormalization"}
        self.readers = {}
        for kind, inputs, output, _ in self.nodes:
            for name in inputs:
                self.readers.setdefault(name, []).append((kind, output))

    def images(self, count):
        import torch

        shape = [dim.dim_value for dim in self.input.type.tensor_type.shape.dim][1:]
        return torch.randn(count, *shape, device=self.device).to(memory_format=self.layout)

    def fold(self):
        """BatchNorm into the convolution before it."""
        nodes = []
        for kind, inputs, output, attributes in self.nodes:
            if kind == "BatchNormalization":
                scale, bias, mean, variance = (self.constants[name] for name in inputs[1:5])
                factor = scale / (variance + attributes.get("epsilon", 1e-5)).sqrt()
                conv = next(node for node in nodes if node[2] == inputs[0])
                weight = conv[1][1]
                old = self.constants[conv[1][2]] if len(conv[1]) > 2 else 0
                self.constants[weight] = self.constants[weight] * factor.reshape(-1, *[1] * (self.constants[weight].dim() - 1))
                self.constants[weight + "_bias"] = bias + (old - mean) * factor
                nodes[nodes.index(conv)] = (conv[0], [conv[1][0], weight, weight + "_bias"], output, conv[3])
            else:
                nodes.append((kind, inputs, output, attributes))
        self.nodes = nodes
        return self

    def run(self, images, visit=None, weight_of=None, quantize=None, constants=None):
        """`visit(name, tensor)` sees every value; `weight_of` and `quantize` change weights and inputs of products."""
        import torch.nn.functional as F

        constants = constants or self.constants
        values = {self.input.name: images}
        get = lambda name: values[name] if name in values else constants[name]
        for kind, inputs, output, attributes in self.nodes:
            x = get(inputs[0])
            if kind in ("Conv", "Gemm"):
                weight, bias = get(inputs[1]), get(inputs[2]) if len(inputs) > 2 else None
                if quantize:
                    x, weight = quantize(inputs[0], x), weight_of(inputs[1], weight)
            if kind == "Conv":
                pads, strides = attributes.get("pads", [0] * 4), attributes.get("strides", [1, 1])
                if pads[:2] != pads[2:]:
                    x, pads = F.pad(x, (pads[1], pads[3], pads[0], pads[2])), [0] * 4
                y = F.conv2d(x, weight, bias, strides, pads[:2], attributes.get("dilations", [1, 1]), attributes.get("group", 1))
            elif kind == "Gemm":
                y = F.linear(x, weight if attributes.get("transB") else weight.t(), bias)
            elif kind == "BatchNormalization":
                scale, shift, mean, variance = (get(name) for name in inputs[1:5])
                y = F.batch_norm(x, mean, variance, scale, shift, False, 0.0, attributes.get("epsilon", 1e-5))
            elif kind == "Relu":
                y = F.relu(x)
            elif kind == "Clip":
                y = x.clamp(float(get(inputs[1])), float(get(inputs[2])))
            elif kind == "Add":
                y = x + get(inputs[1])
            elif kind == "MaxPool":
                y = F.max_pool2d(x, attributes["kernel_shape"], attributes["strides"], attributes["pads"][:2])
            elif kind == "GlobalAveragePool":
                y = x.mean((2, 3), keepdim=True)
            elif kind == "AveragePool":
                y = F.avg_pool2d(x, attributes["kernel_shape"], attributes.get("strides"))
            elif kind in ("Flatten", "Reshape"):
                y = x.flatten(1)
            elif kind == "Softmax":
                y = x.softmax(-1)
            else:
                sys.exit(f"{kind} is not known here")
            values[output] = y
            if visit:
                visit(output, y)
        return values[self.output]


def synthesis(network, count):
    import torch

    images = network.images(count).requires_grad_()
    adam = torch.optim.Adam([images], lr=0.1)

    def step():
        total = 0.0

        def visit(name, x):
            nonlocal total
            if name in network.norms:
                mean, variance = network.norms[name]
                found_variance, found_mean = torch.var_mean(x, (0, 2, 3), correction=0)
                total = total + (0.5 * ((variance + 1e-5).log() - (found_variance + 1e-5).log()
                                        + (found_variance + 1e-5 + (found_mean - mean) ** 2) / (variance + 1e-5) - 1)).mean()

        network.run(images, visit)
        adam.zero_grad()
        total.backward()
        adam.step()
        with torch.no_grad():
            images.clamp_(-2.1, 2.6)

    return step


def distillation(network, count):
    import torch

    network.fold()
    products = [(inputs, output) for kind, inputs, output, _ in network.nodes if kind in ("Conv", "Gemm")]
    student = {name: tensor.clone() for name, tensor in network.constants.items()}
    scales, ranges = {}, {}
    network.run(network.images(2), lambda name, x: ranges.__setitem__(name, float(x.abs().max())))
    tuned = []
    for inputs, _ in products:
        student[inputs[1]].requires_grad_()
        tuned.append(student[inputs[1]])
        if len(inputs) > 2:
            student[inputs[2]].requires_grad_()
            tuned.append(student[inputs[2]])
        weight = student[inputs[1]].detach()
        scales[inputs[1]] = (weight.abs().amax(tuple(range(1, weight.dim())), keepdim=True) / 127 + 1e-8).requires_grad_()
        scales.setdefault(inputs[0], torch.tensor(ranges.get(inputs[0], 3.0) / 127, requires_grad=True, device=network.device))
    tuned += scales.values()
    adam = torch.optim.Adam(tuned, lr=1e-5)
    after = {}
    for kind, inputs, output, _ in network.nodes:
        if kind in ("Relu", "Clip"):
            after[inputs[0]] = output
    watched = {after.get(output, output) for _, output in products} | {network.output}

    class Quantize(torch.autograd.Function):
        """x and scale, straight through; learned step sizes."""

        @staticmethod
        def forward(context, x, scale):
            level = x / scale
            context.save_for_backward(level)
            context.scale_shape = scale.shape
            return level.round().clamp_(-128, 127).mul_(scale)

        @staticmethod
        def backward(context, gradient):
            (level,) = context.saved_tensors
            clipped = level.clamp(-128, 127)
            inside = clipped == level
            by_scale = torch.where(inside, level.round() - level, clipped).mul_(gradient)
            return gradient * inside, by_scale.sum_to_size(context.scale_shape)

    def step():
        images = network.images(count)
        wanted = {}
        with torch.no_grad():
            network.run(images, lambda name, x: wanted.__setitem__(name, x) if name in watched else None)
        total = 0.0

        def visit(name, x):
            nonlocal total
            if name in watched:
                total = total + torch.nn.functional.mse_loss(x, wanted[name])

        quantize = lambda name, x: Quantize.apply(x, scales[name])
        network.run(images, visit, quantize, quantize, student)
        adam.zero_grad()
        total.backward()
        adam.step()

    return step


if __name__ == "__main__":
    main()
