"""Times of files in ONNX Runtime side by side, and what the networks are compared with: static files of its own quantizer."""
import statistics
import sys
import time

import numpy
import onnxruntime

# Networks whose time is held against ONNX Runtime's own static quantization, and their training images.
STATIC = {"cifar_resnet20": "cifar10_png_train2000", "cifar_resnet56": "cifar10_png_train2000", "tiny_resnet8": "cifar10_png_train2000"}
BLOCKS, RUNS, WARM = 11, 40, 10
THREADS = 2


def version():
    return onnxruntime.__version__


def evaluate_module(kit):
    sys.path.insert(0, str(kit))
    import evaluate

    return evaluate


def images(kit, model, data, count):
    evaluate = evaluate_module(kit)
    facts = evaluate.KIT["models"][model]
    return evaluate.load(data, facts["input"], facts.get("layout", "NCHW"), slice(0, count))[0]


def training_images(kit, model, count, folder):
    """A .npy file with the first training images, preprocessed as the network wants them."""
    path = folder / f"{model}-training.npy"
    numpy.save(path, images(kit, model, STATIC[model], count))
    return path


def static_file(kit, model, folder):
    """What ONNX Runtime's quantize_static makes of `model` on 256 real images: QDQ, u8 activations, s8 weights per channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, ready, output = kit / "models" / f"{model}.onnx", folder / f"{model}-ready.onnx", folder / f"{model}-static.onnx"
    quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
    name = onnxruntime.InferenceSession(str(ready), providers=["CPUExecutionProvider"]).get_inputs()[0].name

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.batches = iter([{name: image[None]} for image in images(kit, model, STATIC[model], 256)])

        def get_next(self):
            return next(self.batches, None)

    quantize_static(
        str(ready), str(output), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8
    )
    return output


def sample_of(session):
    """One input of normal noise: time does not depend on it."""
    value = session.get_inputs()[0]
    shape = [dim if isinstance(dim, int) and dim > 0 else 1 for dim in value.shape]
    return {value.name: numpy.random.default_rng(0).normal(size=shape).astype(numpy.float32)}


def block(path):
    """The first quartile of a few runs, with one session alive at a time: two thread pools disturb each other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = THREADS, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed, times = sample_of(session), []
    for _ in range(RUNS):
        start = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - start)
    return numpy.percentile(times[WARM:], 25)


def ratios(kit, model, files):
    """Time of each file against that of the original: medians over interleaved blocks."""
    original, found = kit / "models" / f"{model}.onnx", [[] for _ in files]
    for _ in range(BLOCKS):
        base = block(original)
        for file, ratio in zip(files, found):
            ratio.append(block(file) / base)
    return [statistics.median(ratio) for ratio in found]
