#!/usr/bin/env python3
"""Steps of zeroq on a CUDA card against the same steps in PyTorch with cuDNN on the same card, and whole runs of `zeroq quantize`.

    gpu.py --zeroq BIN --steps BIN [MODEL.onnx ...]

BIN are the program and the bench `steps`, built with --features cudnn. Networks of random weights are written by `steps`; MODELs
are files of yours. Prints Markdown. Steps as in against_pytorch.py; PyTorch runs eagerly, channels last, with TF32 in
convolutions, as it does by default. Needs: torch and onnx.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import against_pytorch

# Dense TF32 of the card in TFLOP/s, by a part of its name.
PEAKS = {"H100 PCIe": 378, "H100": 495, "H200": 495, "A100": 156}
STEPS = 12
CASES = [("synthesis", "resnet18", 64), ("synthesis", "resnet50", 64), ("synthesis", "mobilenetv2", 64), ("synthesis", "resnet50", 256),
         ("distillation", "resnet50", 16)]
QUANTIZED = ["resnet50"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zeroq", required=True)
    parser.add_argument("--steps", required=True)
    parser.add_argument("--torch", nargs=3, metavar=("KIND", "FILE", "IMAGES"), help=argparse.SUPPRESS)
    parser.add_argument("models", nargs="*")
    arguments = parser.parse_args()
    if arguments.torch:
        return torch_main(*arguments.torch)
    card = query("name").splitlines()[0]
    print(f"Measured on {time.strftime('%Y-%m-%d')} on one {card}, driver {query('driver_version').splitlines()[0]}.\n")
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name in {name for _, name, _ in CASES}:
            files[name] = str(Path(folder) / f"{name}.onnx")
            subprocess.run([arguments.steps, "--write", name, files[name]], check=True)
        cases = [(kind, name, files[name], images) for kind, name, images in CASES]
        cases += [("synthesis", Path(file).stem, file, 64) for file in arguments.models]
        steps(cases, card, arguments)
        quantize([(name, files[name]) for name in QUANTIZED] + [(Path(file).stem, file) for file in arguments.models], folder, arguments)


def steps(cases, card, arguments):
    peak = next((peak for name, peak in PEAKS.items() if name in card), None)
    print("| step | images | zeroq ms | PyTorch ms | ratio | images/s | TFLOP/s | of the TF32 peak | zeroq MiB | PyTorch MiB |")
    print(f"|{'---|' * 10}")
    for kind, name, file, images in cases:
        ours = measured([arguments.steps, "--run-on", "cuda", kind, file, str(images), str(STEPS)])
        theirs = measured([sys.executable, __file__, "--zeroq", "-", "--steps", "-", "--torch", kind, file, str(images)])
        seconds, work = ours["seconds"], theirs.get("work")
        rate = work * images / seconds / 1e12 if work and seconds else None
        print(f"| {kind} {name} | {images} | {shown(seconds, 1e3)} | {shown(theirs['seconds'], 1e3)} "
              f"| **{shown(theirs['seconds'] / seconds if seconds and theirs['seconds'] else None, 1, 2)}** "
              f"| {shown(images / seconds if seconds else None, 1, 0)} | {shown(rate, 1)} "
              f"| {shown(rate / peak if rate and peak else None, 100, 0)} % | {ours['memory']} | {theirs['memory']} |", flush=True)


def quantize(models, folder, arguments):
    print(f"\n| `zeroq quantize` with defaults, 256 images | seconds | stages |\n|{'---|' * 3}")
    for name, file in models:
        start = time.perf_counter()
        command = [arguments.zeroq, "quantize", file, "-o", str(Path(folder) / "out.onnx"), "--force", "-n", "256", "--device", "cuda", "--json",
                   "--input-range", "imagenet"]
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode:
            print(f"| {name} | failed | {done.stderr.strip().splitlines()[-1]} |", flush=True)
            continue
        stages = json.loads(done.stdout).get("stages", [])
        told = ", ".join(f"{stage['name']} {stage['seconds']:.1f}" for stage in stages if stage["seconds"] >= 0.1)
        print(f"| {name} | {seconds:.1f} | {told} |", flush=True)


def measured(command):
    """Median seconds of a step and the most memory of the card that the process had, in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    most, done = [0], threading.Event()

    def watch():
        while not done.wait(0.1):
            for line in query("pid,used_memory", "compute-apps").splitlines():
                pid, _, memory = line.partition(",")
                # In a container the driver knows processes by other numbers.
                if pid.strip() == str(process.pid) or pid.strip() not in {str(p) for p in processes()}:
                    most[0] = max(most[0], int(memory.strip() or 0))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output = process.communicate()[0]
    done.set()
    watcher.join()
    if process.returncode:
        return {"seconds": None, "memory": most[0]}
    found = json.loads(output.splitlines()[-1])
    found = found if isinstance(found, dict) else {"seconds": found}
    return {**found, "seconds": statistics.median(found["seconds"]), "memory": most[0]}


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def query(fields, what="gpu"):
    return subprocess.run(["nvidia-smi", f"--query-{what}={fields}", "--format=csv,noheader,nounits"], capture_output=True, text=True).stdout


def shown(number, factor, digits=1):
    return "–" if number is None else f"{number * factor:.{digits}f}"


def torch_main(kind, file, images):
    import torch

    torch.manual_seed(0)
    network = against_pytorch.Network(file, torch.channels_last, "cuda")
    step = {"synthesis": against_pytorch.synthesis, "distillation": against_pytorch.distillation}[kind](network, int(images))
    seconds = []
    for _ in range(STEPS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds[2:], "work": work(network) if kind == "synthesis" else None}))


def work(network):
    """Floating-point operations of a pass forward and one back to the pixels, for one image."""
    total = 0
    weights = {output: network.constants[inputs[1]] for kind, inputs, output, _ in network.nodes if kind == "Conv"}

    def visit(name, value):
        nonlocal total
        if name in weights:
            weight = weights[name]
            total += 4 * value[0].numel() * weight[0].numel()

    network.run(network.images(1), visit)
    return total


if __name__ == "__main__":
    main()
