#!/usr/bin/env python3
"""Run a written ONNX file in OpenVINO on the CPU beside its reference, and print one JSON object.

    check_openvino.py FILE REFERENCE [--samples N] [--range LO,HI] [--seed N]

`agreement` and `sqnr_db` are those of check_model.py, on random input; `integer_kernels` and `float_kernels` count the
convolutions and matrix products by the precision that the compiled model runs them in.
Needs: openvino and what check_model.py needs (requirements.txt).
"""
import argparse
import json
import sys

import numpy as np
import openvino

from check_model import measure_agreement, measure_sqnr, parse_range

PRODUCTS = {"Convolution", "FullyConnected", "MatMul", "Gemm"}
INTEGER = {"u8", "i8"}


def open_model(path):
    return openvino.Core().compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": 2, "INFERENCE_PRECISION_HINT": "f32"})


def run(model, samples):
    """The first output, all samples stacked."""
    return np.stack([model(sample)[0] for sample in samples])


def draw(model, generator, low, high):
    """One sample for every input; an open dimension is 1."""
    shapes = [[d.get_length() if d.is_static else 1 for d in port.get_partial_shape()] for port in model.inputs]
    return [generator.uniform(low, high, shape).astype(np.float32) for shape in shapes]


def count_kernels(model):
    told = [node.get_rt_info() for node in model.get_runtime_model().get_ordered_ops()]
    precisions = [facts["runtimePrecision"].astype(str) for facts in told if facts["layerType"].astype(str) in PRODUCTS]
    integer = sum(precision in INTEGER for precision in precisions)
    return {"integer_kernels": integer, "float_kernels": len(precisions) - integer}


def check(arguments):
    reference, model = open_model(arguments.reference), open_model(arguments.file)
    generator = np.random.default_rng(arguments.seed)
    samples = [draw(reference, generator, *arguments.range) for _ in range(arguments.samples)]
    expected, found = run(reference, samples), run(model, samples)
    result = {"agreement": measure_agreement(expected, found), "sqnr_db": measure_sqnr(expected, found)}
    return result | count_kernels(model)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("reference")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--range", type=parse_range, default=(-1.0, 1.0))
    parser.add_argument("--seed", type=int, default=0)
    try:
        print(json.dumps(check(parser.parse_args())))
    except Exception as error:  # every failure of an engine is a finding, whatever its type
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        sys.exit(1)


if __name__ == "__main__":
    main()
