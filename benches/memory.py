"""Most memory that quantizing a network takes, with few images and with many.

    python benches/memory.py MODEL... [--zeroq target/release/zeroq] [--images 256 1024] [-- FLAGS]

Prints a Markdown table. `ru_maxrss` is what the system says that the process had in memory at most; flags behind `--` go to
`zeroq quantize`."""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time


def run(zeroq, model, images, flags):
    with tempfile.TemporaryDirectory() as folder:
        command = [zeroq, "quantize", model, "-o", f"{folder}/out.onnx", "-q", "-n", str(images), *flags]
        start = time.time()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            sys.exit(f"{' '.join(command)}: status {status}")
        return usage.ru_maxrss / 1024, time.time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--zeroq", default="target/release/zeroq")
    parser.add_argument("--images", type=int, nargs="+", default=[256, 1024])
    own, flags = (sys.argv[1:], []) if "--" not in sys.argv else (sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :])
    arguments = parser.parse_args(own)
    print("| network | images | MiB at most | of the first | seconds |\n|---|---|---|---|---|")
    for model in arguments.models:
        first = None
        for images in arguments.images:
            most, seconds = run(arguments.zeroq, model, images, flags)
            first = first or most
            print(f"| {pathlib.Path(model).stem} | {images} | {most:.0f} | {most / first:.2f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
