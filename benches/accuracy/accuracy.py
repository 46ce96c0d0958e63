"""Quantize the networks of a kit without data, judge them on its images, and print what is reached beside what is asked.

    accuracy.py KIT [--zeroq FILE] [--seeds 0,1,2] [--quick] [--only PATTERN] [--threads N] [--page FILE]

A kit is a folder with kit.json, evaluate.py, models/ and data/. Accuracy is judged on all but the first 500 images of a set
(`evaluate.py --rest`), mean over the seeds. What takes longest runs only where `--only` names it; the rest takes about an hour of
4 cores. `--quick` takes one seed, the first 500 images and no 4-bit rows. Everything runs
one after another, so that seconds mean something. `--page` writes the tables as a page too.
Needs: what evaluate.py needs (requirements.txt of the kit).
"""
import argparse
import datetime
import fnmatch
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import static

LOSSLESS, JPEG = "cifar10_png_test1000", "cifar10_test"
INTEGER = ["--objective", "integer"]
KWS = ["--input-range=-124,27"]
W4A8, W4A4, MIXED = (["--precision", name] for name in ["w4a8", "w4a4", "mixed"])
REAL_IMAGES = 256
# What would take the whole beyond an hour; run where `--only` names it ('*' for all).
LONG = {"W4A4 resnet56", "gap", "mixed"}
# Fewer than 500 images: judged on all of them.
WHOLE = {"ppocr_mobile_v2_cls"}


class Limit:
    """A figure of a row and what is asked of it: `find` takes what evaluate.py says."""

    def __init__(self, name, find, least=None, most=None):
        self.name, self.find, self.least, self.most = name, find, least, most

    def holds(self, value):
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def asked(self):
        return f"≥ {self.least:g}" if self.most is None else f"≤ {self.most:g}"


def of(data, figure):
    return lambda judged: judged["data"][data][figure] if data in judged["data"] else next(iter(judged["data"].values()))[figure]


def mean_drop(judged):
    return statistics.mean(row["drop"] for row in judged["data"].values())


def integer_share(judged):
    return 100 * judged["integer_kernels"] / max(1, judged["integer_kernels"] + judged["float_kernels"])


def cifar(drop, agreement, jpeg_agreement, sqnr):
    return [
        Limit("drop, mean of both", mean_drop, most=drop),
        Limit("agreement", of(LOSSLESS, "agreement"), least=agreement),
        Limit("agreement, JPEG", of(JPEG, "agreement"), least=jpeg_agreement),
        Limit("SQNR", of(LOSSLESS, "sqnr_db"), least=sqnr),
        *integers(0.45),
    ]


def integers(size):
    return [Limit("size", lambda judged: judged["size_ratio"], most=size), Limit("integer kernels, %", integer_share, least=90)]


def drops(lossless, jpeg=None):
    limits = [Limit("drop", of(LOSSLESS, "drop"), most=lossless)]
    return limits + ([Limit("drop, JPEG", of(JPEG, "drop"), most=jpeg)] if jpeg is not None else [])


def classes(drop, agreement, size=0.45):
    return [Limit("drop", mean_drop, most=drop), Limit("agreement", lambda judged: min(row["agreement"] for row in judged["data"].values()), least=agreement), *integers(size)]


# Name, model, flags, what is asked, seconds at most.
ROWS = [
    ("W8A8 resnet20", "cifar_resnet20", INTEGER, cifar(0.2, 99.3, 98.6, 31), 60),
    ("W8A8 resnet56", "cifar_resnet56", INTEGER, cifar(0.2, 99.3, 98.6, 31), None),
    ("W8A8 resnet8", "tiny_resnet8", INTEGER, cifar(0.2, 98.8, 97.8, 27), None),
    ("W8A8 mobilenetv1_025", "imagenet_mobilenetv1_025", INTEGER, classes(1.2, 85), 180),
    ("W8A8 ppocr", "ppocr_mobile_v2_cls", INTEGER, classes(0.9, 98, 0.65), None),
    ("W8A8 torch215_default", "cifar_resnet20_torch215_default", INTEGER, classes(0.9, 98), None),
    ("W8A8 alibaba_kws", "alibaba_kws", INTEGER + KWS, [Limit("agreement", of("kws01_mfcc", "agreement"), least=95), *integers(0.65)], None),
    ("W4A8 resnet20", "cifar_resnet20", W4A8, drops(0.3, 0.6), 600),
    ("W4A4 resnet20", "cifar_resnet20", W4A4, drops(0.7, 1.5), 600),
    ("W4A4 resnet20, all layers", "cifar_resnet20", [*W4A4, "--all-layers"], drops(1.1, 2.5), 600),
    ("W4A4 resnet56", "cifar_resnet56", W4A4, drops(0.8), 600),
]

# Name, model, flags, latency ratio at most.
LATENCY = [
    ("cifar_resnet20", [], 0.65),
    ("cifar_resnet56", [], 0.62),
    ("tiny_resnet8", [], 0.85),
    *((model, [], 1.0) for model in ["imagenet_mobilenetv1_025", "ppocr_mobile_v2_cls", "linzaer_slim_320", "yolo_fastestv2"]),
    ("alibaba_kws", KWS, 1.0),
    *((model, ["--objective", "latency"], 0.95) for model in ["imagenet_mobilenetv1_025", "ppocr_mobile_v2_cls"]),
    *((model, ["--objective", "latency"], 1.0) for model in ["linzaer_slim_320", "yolo_fastestv2"]),
    ("alibaba_kws", ["--objective", "latency", *KWS], 1.0),
]

# Precision, flags, largest gap to real images in points.
GAPS = [("W8A8", INTEGER, 0.2), ("W4A8", W4A8, 0.2), ("W4A4", W4A4, 0.5)]


class Bench:
    def __init__(self, arguments, folder):
        self.kit, self.zeroq, self.folder = arguments.kit, arguments.zeroq, folder
        self.seeds = [0] if arguments.quick else [int(seed) for seed in arguments.seeds.split(",")]
        self.part = "--quick" if arguments.quick else "--rest"
        self.threads = ["--threads", str(arguments.threads)] if arguments.threads else []
        self.only, self.done = arguments.only, {}

    def wanted(self, name):
        if self.only is None:
            return name not in LONG
        return fnmatch.fnmatch(name, self.only)

    def model(self, name):
        return self.kit / "models" / f"{name}.onnx"

    def call(self, *command):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
        return json.loads(done.stdout)

    def quantize(self, model, flags, seed=0):
        """The quantized file, zeroq's report and its seconds."""
        key = (model, *map(str, flags), seed)
        if key not in self.done:
            print(f"quantize {model} {' '.join(map(str, flags))} --seed {seed}", file=sys.stderr, flush=True)
            output, start = self.folder / f"{len(self.done)}.onnx", time.monotonic()
            report = self.call(self.zeroq, "quantize", self.model(model), "-o", output, "--seed", seed, "-q", "--json", *self.threads, *flags)
            self.done[key] = output, report, time.monotonic() - start
        return self.done[key]

    def judge(self, model, file):
        part = [] if model in WHOLE else [self.part]
        return self.call(sys.executable, self.kit / "evaluate.py", model, file, *part, "--json")


def number(value):
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def verdict(holds):
    return "" if holds else " **not reached**"


def accuracy_table(bench, rows):
    yield "| case | figure | asked | mean | of each seed |"
    yield "|---|---|---|---|---|"
    for name, model, flags, limits, seconds in rows:
        runs = [bench.quantize(model, flags, seed) for seed in bench.seeds]
        judged = [bench.judge(model, file) for file, _, _ in runs]
        values = [(limit, [limit.find(one) for one in judged]) for limit in limits if any(limit.find(one) is not None for one in judged)]
        took = Limit("seconds", None, most=seconds) if seconds else None
        values += [(took, [run[2] for run in runs])] if took else []
        for limit, found in values:
            mean = statistics.mean(found)
            yield f"| {name} | {limit.name} | {limit.asked()} | {number(mean)}{verdict(limit.holds(mean))} | {', '.join(map(number, found))} |"


def latency_table(bench, rows):
    yield "| network | flags | asked | FP32 = 1 | size | integer kernels | static file of ONNX Runtime |"
    yield "|---|---|---|---|---|---|---|"
    for model, flags, most in rows:
        file, _, _ = bench.quantize(model, flags)
        judged = bench.judge(model, file)
        ratio, other = judged["latency_ratio"], ""
        if model in static.TRAINING and not flags:
            theirs = bench.judge(model, static.static_file(bench.kit, model, bench.folder))["latency_ratio"]
            other = f"{theirs:.2f}{verdict(ratio <= theirs)}"
        kernels = f"{judged['integer_kernels']} of {judged['integer_kernels'] + judged['float_kernels']}"
        shown = " ".join(flag for flag in flags if flag not in KWS) or "defaults"
        yield f"| {model} | {shown} | ≤ {most:g} | {ratio:.2f}{verdict(ratio <= most)} | {judged['size_ratio']:.2f} | {kernels} | {other} |"


def distance_table(bench):
    images, made = bench.folder / "images", bench.folder / "sibling.onnx"
    own = bench.call(bench.zeroq, "synthesize", bench.model("cifar_resnet20"), "-o", images, "-q", "--json", *bench.threads)["assessment"]["distance"]
    seen = bench.call(bench.zeroq, "quantize", bench.model("cifar_resnet56"), "-o", made, "--calibration", images, "--no-distill", "-q", "--json")
    yield "| judged by | asked | KL(set ‖ stored) |"
    yield "|---|---|---|"
    for name, most, found in [("cifar_resnet20, its own", 0.02, own), ("cifar_resnet56", 0.05, seen["assessment"]["distance"])]:
        yield f"| {name} | ≤ {most:g} | {found:.4f}{verdict(found <= most)} |"


def gap_table(bench):
    real = static.training_images(bench.kit, "cifar_resnet20", REAL_IMAGES, bench.folder)
    yield f"| precision | mean drop, synthesized | mean drop, {REAL_IMAGES} training images | gap | asked |"
    yield "|---|---|---|---|---|"
    for name, flags, most in GAPS:
        drop = {}
        for source, more in [("synthesized", []), ("real", ["--calibration", real])]:
            files = [bench.quantize("cifar_resnet20", [*flags, *more], seed)[0] for seed in bench.seeds]
            drop[source] = statistics.mean(mean_drop(bench.judge("cifar_resnet20", file)) for file in files)
        gap = drop["synthesized"] - drop["real"]
        yield f"| {name} | {drop['synthesized']:.2f} | {drop['real']:.2f} | {gap:.2f}{verdict(gap <= most)} | ≤ {most:g} |"


def mixed_table(bench):
    """Widths of their own for each layer against the same for all, at equal size; and with the bits that are asked for."""
    model = "cifar_resnet20"
    yield "| file | bytes | drop | drop, JPEG | agreement | agreement, JPEG | SQNR |"
    yield "|---|---|---|---|---|---|---|"
    uniform = [bench.quantize(model, W4A8, seed)[0] for seed in bench.seeds]
    size = min(file.stat().st_size for file in uniform)
    at = {"w4a8": uniform}
    for name, most in [("mixed, the size of w4a8", size), ("mixed, 4.5 bits", "4.5bits")]:
        at[name] = [bench.quantize(model, [*MIXED, "--max-size", most], seed)[0] for seed in bench.seeds]
    figures = [of(LOSSLESS, "drop"), of(JPEG, "drop"), of(LOSSLESS, "agreement"), of(JPEG, "agreement"), of(LOSSLESS, "sqnr_db")]
    means = {}
    for name, files in at.items():
        judged = [bench.judge(model, file) for file in files]
        means[name] = [statistics.mean(figure(one) for one in judged) for figure in figures]
        beats = name == "w4a8" or means[name][2] >= means["w4a8"][2] and means[name][4] > means["w4a8"][4]
        cells = " | ".join(map(number, [max(file.stat().st_size for file in files), *means[name]]))
        yield f"| {name} | {cells}{verdict(beats)} |"


def processor():
    names = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")] if os.path.exists("/proc/cpuinfo") else []
    return names[0] if names else platform.processor() or platform.machine()


def sections(bench, arguments):
    rows = [row for row in ROWS if bench.wanted(row[0]) and not (arguments.quick and row[0].startswith("W4"))]
    if rows:
        yield "Accuracy", accuracy_table(bench, rows)
    if bench.wanted("distance"):
        yield "Distance of the default set", distance_table(bench)
    if bench.wanted("gap") and not arguments.quick:
        yield "Synthesized against real images, resnet20", gap_table(bench)
    if bench.wanted("mixed") and not arguments.quick:
        yield "Mixed widths against uniform ones, resnet20", mixed_table(bench)
    timed = [row for row in LATENCY if bench.wanted(f"latency {row[0]}")]
    if timed:
        yield "Latency in ONNX Runtime, batch 1", latency_table(bench, timed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kit", type=pathlib.Path)
    parser.add_argument("--zeroq", default="target/release/zeroq")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help=f"rows, instead of all but {', '.join(sorted(LONG))}: a pattern such as 'W4A4*', 'distance', 'gap', 'mixed' or 'latency *'")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--page", type=pathlib.Path)
    arguments = parser.parse_args()
    lines, start = [], time.monotonic()

    def tell(line):
        print(line, flush=True)
        lines.append(line)

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments, pathlib.Path(folder))
        version = subprocess.run([arguments.zeroq, "--version"], capture_output=True, text=True).stdout.strip()
        tell("# Accuracy without data\n")
        tell(f"{datetime.date.today()}, {version}, {os.cpu_count()} cores of {processor()}, ONNX Runtime {static.version()}.")
        if arguments.only is None:
            tell(f"Left out, --only names them: {', '.join(sorted(LONG))}.")
        images = "the first 500 images" if arguments.quick else "all but the first 500 images"
        tell(f"Seeds {', '.join(map(str, bench.seeds))}; judged on {images} of each set by `evaluate.py`; zeroq was given no image, but for the comparison with real ones.")
        try:
            for title, table in sections(bench, arguments):
                tell(f"\n## {title}\n")
                for line in table:
                    tell(line)
            tell(f"\nTook {(time.monotonic() - start) / 60:.0f} minutes.")
        finally:
            if arguments.page:
                arguments.page.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
