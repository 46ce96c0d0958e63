"""Compare the recipes of images: what each makes of one model, and what comes of quantizing on it.

    recipes.py KIT ZEROQ MODEL [SIBLING] [--images N] [--recipes a,b,...]

KIT is a folder with models/ and evaluate.py. For each recipe: distance of the set on MODEL and on SIBLING, which has not
seen it; evenness of the classes and similarity of the images; seconds; and agreement and SQNR of the W8A8 model, tuned on
the set, on real images (evaluate.py --quick).
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile


def call(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return json.loads(done.stdout)


def row(arguments, name, folder):
    model = arguments.kit / "models" / f"{arguments.model}.onnx"
    images, quantized = folder / name, folder / f"{name}.onnx"
    made = call(arguments.zeroq, "synthesize", model, "-o", images, "--recipe", name, "-n", arguments.images, "-q", "--json")
    own, sibling = made["assessment"], None
    if arguments.sibling:
        other = arguments.kit / "models" / f"{arguments.sibling}.onnx"
        seen = call(arguments.zeroq, "quantize", other, "-o", folder / "other.onnx", "--force", "--calibration", images, "--no-distill", "-q", "--json")
        sibling = seen["assessment"]["distance"]
    call(arguments.zeroq, "quantize", model, "-o", quantized, "--calibration", images, "-q", "--json")
    judged = call(sys.executable, arguments.kit / "evaluate.py", arguments.model, quantized, "--quick", "--json")
    return own, sibling, made["seconds"], next(iter(judged["data"].values())) if "data" in judged else judged


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kit", type=pathlib.Path)
    parser.add_argument("zeroq")
    parser.add_argument("model")
    parser.add_argument("sibling", nargs="?")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--recipes", default="default,pixels,genie,zeroq,deep-inversion,bns-inception,inception,dead-leaves,gaussian")
    arguments = parser.parse_args()
    print("| recipe | distance | on the sibling | classes | evenness | similarity | seconds | agreement | SQNR |\n|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.recipes.split(","):
            own, sibling, seconds, judged = row(arguments, name, pathlib.Path(folder))
            diversity = own["diversity"]
            other = "" if sibling is None else f"{sibling:.4f}"
            print(
                f"| `{name}` | {own['distance']:.4f} | {other} | {diversity['classes_found']} of {diversity['classes']} | {diversity['evenness']:.2f} "
                f"| {diversity['similarity']:.2f} | {seconds:.0f} | {judged['agreement']:.1f} % | {judged['sqnr_db']:.1f} dB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
