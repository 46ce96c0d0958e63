#!/usr/bin/env python3
"""Judge a written ONNX file by engines that are not ours, and print one JSON object.

    check_model.py FILE [REFERENCE] [--samples N] [--range LO,HI] [--seed N] [--kernels]

Checks: onnx.checker in full, strict shape inference, loading and running in ONNX Runtime on random input, finite outputs.
With REFERENCE, on the same input: `agreement`, the percentage of samples whose largest first output is the same, and
`sqnr_db` per floating-point output. With --kernels: how many Conv, Gemm and MatMul run as integers and as floats after
ONNX Runtime's own optimisation. `ok` is false and `error` says why when a check fails; the exit code is then 1.
With --batch, FILE holds a JSON list of argument lists, and a list of such objects is printed; the exit code is 0.
Needs: onnx onnxruntime numpy (requirements.txt).
"""
import argparse
import json
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

INTEGER = {"QLinearConv", "QLinearMatMul", "QGemm", "MatMulInteger", "MatMulIntegerToFloat", "ConvInteger", "DynamicQuantizeMatMul"}
FLOAT = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "ConvTranspose"}
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}


def check_structure(path):
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def open_session(path, optimised=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    if optimised:
        options.optimized_model_filepath = optimised
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def draw(session, generator, low, high):
    """One sample for every input; a symbolic dimension is 1."""
    sample = {}
    for value in session.get_inputs():
        shape = [d if isinstance(d, int) and d > 0 else 1 for d in value.shape]
        sample[value.name] = generator.uniform(low, high, shape).astype(TYPES[value.type])
    return sample


def convert(sample, session):
    return {value.name: sample[value.name].astype(TYPES[value.type]) for value in session.get_inputs()}


def tensors(session):
    """Names of the outputs that are tensors."""
    return [value.name for value in session.get_outputs() if value.type.startswith("tensor")]


def run(session, samples):
    """Per tensor among the outputs, all samples stacked."""
    rows = [session.run(tensors(session), convert(sample, session)) for sample in samples]
    return [np.stack([row[k] for row in rows]) for k in range(len(rows[0]))]


def measure_sqnr(reference, candidate):
    signal = np.square(reference, dtype=np.float64).sum()
    noise = np.square(reference.astype(np.float64) - candidate).sum()
    return round(min(120.0, float(10 * np.log10((signal + 1e-30) / (noise + 1e-30)))), 2)


def measure_agreement(reference, candidate):
    same = [a.ravel().argmax() == b.ravel().argmax() for a, b in zip(reference, candidate)]
    return round(100 * float(np.mean(same)), 2)


def count_kernels(path):
    with tempfile.TemporaryDirectory() as folder:
        optimised = os.path.join(folder, "optimised.onnx")
        open_session(path, optimised)
        operators = [node.op_type for node in onnx.load(optimised, load_external_data=False).graph.node]
    return {"integer_kernels": sum(o in INTEGER for o in operators), "float_kernels": sum(o in FLOAT for o in operators)}


def compare(outputs, reference, samples, names):
    session = open_session(reference)
    if tensors(session) != names:
        raise ValueError(f"outputs {names} are not the reference's {tensors(session)}")
    expected = run(session, samples)
    for name, a, b in zip(names, expected, outputs):
        if a.shape != b.shape:
            raise ValueError(f"output {name} has shape {list(b.shape[1:])}, the reference {list(a.shape[1:])}")
    return {
        "agreement": measure_agreement(expected[0], outputs[0]),
        "sqnr_db": {name: measure_sqnr(a, b) for name, a, b in zip(names, expected, outputs) if a.dtype.kind == "f"},
    }


def check(arguments):
    check_structure(arguments.file)
    session = open_session(arguments.file)
    generator = np.random.default_rng(arguments.seed)
    source = open_session(arguments.reference) if arguments.reference else session
    samples = [draw(source, generator, *arguments.range) for _ in range(arguments.samples)]
    outputs = run(session, samples)
    names = tensors(session)
    infinite = [name for name, output in zip(names, outputs) if not np.isfinite(output).all()]
    if infinite:
        raise ValueError(f"outputs {infinite} are not finite")
    result = {"ok": True, "outputs": {name: list(output.shape[1:]) for name, output in zip(names, outputs)}}
    if arguments.reference:
        result |= compare(outputs, arguments.reference, samples, names)
    if arguments.kernels:
        result |= count_kernels(arguments.file)
    return result


def parse_range(text):
    low, high = text.split(",")
    return float(low), float(high)


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("reference", nargs="?")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--range", type=parse_range, default=(-1.0, 1.0))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--batch", action="store_true")
    return parser


def judge(arguments):
    try:
        return check(arguments)
    except Exception as error:  # every failure of an engine is a finding, whatever its type
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}


def main():
    parser = make_parser()
    arguments = parser.parse_args()
    if arguments.batch:
        with open(arguments.file) as file:
            print(json.dumps([judge(parser.parse_args(one)) for one in json.load(file)]))
        return
    result = judge(arguments)
    print(json.dumps(result))
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
