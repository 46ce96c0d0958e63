"""What the networks are compared with: static files of ONNX Runtime's own quantizer, and training images."""
import sys

import numpy
import onnxruntime

# Networks that are held against ONNX Runtime's own static quantization, and their training images.
TRAINING = {"cifar_resnet20": "cifar10_png_train2000", "cifar_resnet56": "cifar10_png_train2000", "tiny_resnet8": "cifar10_png_train2000"}


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
    numpy.save(path, images(kit, model, TRAINING[model], count))
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
            self.batches = iter([{name: image[None]} for image in images(kit, model, TRAINING[model], 256)])

        def get_next(self):
            return next(self.batches, None)

    quantize_static(
        str(ready), str(output), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8
    )
    return output
