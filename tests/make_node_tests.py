"""Write the node tests of the ONNX standard where Rust can read them.

    make_node_tests.py FOLDER

Every case becomes FOLDER/NAME.onnx, and an entry in FOLDER/cases.json: its operators, what its float inputs hold and what
its outputs must be, as places in FOLDER/values.bin (float64, little-endian, row-major). Inputs of other types become
initializers. Cases whose values are no tensors of numbers keep `inputs: null`, and so do those that zeroq refuses to read on
purpose: operator sets below 7, and constants that are not finite.
"""
import json
import pathlib
import sys
import warnings

import numpy
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests


class Values:
    def __init__(self, file):
        self.file, self.count = file, 0

    def add(self, name, array):
        array = numpy.asarray(array)
        self.file.write(array.astype("<f8").tobytes())
        self.count += array.size
        return {"name": name, "shape": array.shape, "at": self.count - array.size, "type": str(array.dtype)}


def is_numbers(value):
    return isinstance(value, (numpy.ndarray, numpy.generic)) and value.dtype.kind in "fiub"


def is_refused(model, inputs):
    constants = [value for value in inputs if value.dtype != numpy.float32]
    nodes = [node for node in model.graph.node if node.op_type == "Constant"]
    constants += [numpy_helper.to_array(a.t) for node in nodes for a in node.attribute if a.name == "value"]
    finite = all(numpy.isfinite(value.astype(numpy.float64)).all() for value in constants if value.dtype.kind == "f")
    return not finite or any(used.domain == "" and used.version < 7 for used in model.opset_import)


def operators(graph):
    """Domain and name of every node, those of subgraphs too."""
    for node in graph.node:
        yield node.domain, node.op_type
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from operators(inner)


def write(case, folder, values):
    model = type(case.model)()
    model.CopyFrom(case.model)
    used = sorted(set(operators(model.graph)) | {op for function in model.functions for op in operators(function)})
    entry = {"name": case.name, "operators": used, "rtol": case.rtol, "atol": case.atol, "inputs": None, "outputs": None}
    inputs, outputs = case.data_sets[0]
    if all(is_numbers(value) for value in [*inputs, *outputs]) and not is_refused(model, inputs):
        floats = []
        for declared, value in zip(list(model.graph.input), inputs):
            if declared.type.tensor_type.elem_type == TensorProto.FLOAT:
                floats.append(values.add(declared.name, value))
            else:
                model.graph.input.remove(declared)
                model.graph.initializer.append(numpy_helper.from_array(numpy.asarray(value), declared.name))
        entry["inputs"] = floats
        entry["outputs"] = [values.add(declared.name, value) for declared, value in zip(model.graph.output, outputs)]
    (folder / f"{case.name}.onnx").write_bytes(model.SerializeToString())
    return entry


def main():
    folder = pathlib.Path(sys.argv[1])
    warnings.simplefilter("ignore")
    with open(folder / "values.bin", "wb") as file:
        values = Values(file)
        cases = [write(case, folder, values) for case in load_model_tests(kind="node")]
    (folder / "cases.json").write_text(json.dumps(cases))


if __name__ == "__main__":
    main()
