#!/usr/bin/env python3
"""Trains a small MobileNet on handwritten digits in Keras, exports it in every way of the table in README.md, and prints that table.

    pip install -r requirements-keras.txt && python export_keras.py FOLDER [--zeroq PROGRAM]

With --zeroq each file is quantized, and the accuracy of the result is a column more.
"""
import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import tensorflow as tf
import tf2onnx
from keras import layers
from tf2onnx.optimizer import back_to_back_optimizer

from exported import SIZE, describe, digits

IMAGE = [tf.TensorSpec((None, SIZE, SIZE, 1), tf.float32, name="image")]


def convolution(x, channels, kernel=3):
    return norm(layers.Conv2D(channels, kernel, padding="same", use_bias=False)(x))


def norm(x):
    return layers.BatchNormalization(momentum=0.9)(x)


def inverted_residual(x, channels, stride):
    y = layers.ReLU(6.0)(convolution(x, 3 * x.shape[-1], 1))
    y = layers.ReLU(6.0)(norm(layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(y)))
    y = convolution(y, channels, 1)
    return layers.Add()([x, y]) if y.shape == x.shape else y


def mobilenet():
    image = keras.Input((SIZE, SIZE, 1), name="image")
    x = layers.ReLU(6.0)(convolution(image, 16))
    for channels, stride in [(16, 1), (24, 2), (24, 1), (40, 2)]:
        x = inverted_residual(x, channels, stride)
    x = layers.Activation("hard_swish")(convolution(x, 96, 1))
    return keras.Model(image, layers.Dense(10, name="scores")(layers.GlobalAveragePooling2D()(x)))


def train():
    keras.utils.set_random_seed(7)
    model = mobilenet()
    images, _, labels, _ = digits(channels_last=True)
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, labels, batch_size=64, epochs=20, verbose=0)
    return model


def keep_batch_normalization():
    """The recipe of docs/src/exporting.md."""

    def call(self, x, training=None, mask=None):
        scale = self.gamma if self.scale else tf.ones_like(self.moving_mean)
        shift = self.beta if self.center else tf.zeros_like(self.moving_mean)
        return tf.compat.v1.nn.fused_batch_norm(
            x, scale, shift, self.moving_mean, self.moving_variance, epsilon=self.epsilon, is_training=False
        )[0]

    keras.layers.BatchNormalization.call = call
    back_to_back_optimizer._func_map.pop(("Conv", "BatchNormalization"), None)


def from_tflite(model, path):
    program = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    path.with_suffix(".tflite").write_bytes(program)
    tf2onnx.convert.from_tflite(str(path.with_suffix(".tflite")), opset=17, output_path=str(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--zeroq")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    model = train()
    recipes = {
        "keras_export": lambda path: model.export(path, format="onnx", verbose=False),
        "tf2onnx": lambda path: tf2onnx.convert.from_keras(model, IMAGE, opset=17, output_path=path),
        "tflite": lambda path: from_tflite(model, Path(path)),
    }
    paths = {name: arguments.folder / f"{name}.onnx" for name in recipes}
    kept = {name: arguments.folder / f"{name}_kept.onnx" for name in ("keras_export", "tf2onnx")}
    model(tf.zeros((1, SIZE, SIZE, 1)))
    for name, path in paths.items():
        recipes[name](str(path))
    keep_batch_normalization()
    for name, path in kept.items():
        recipes[name](str(path))
    for name, path in kept.items():
        describe(f"`{name}`, kept", path, arguments.zeroq)
    for name, path in paths.items():
        describe(f"`{name}`", path, arguments.zeroq)
        if arguments.zeroq:
            describe(f"`{name}`, `--stats-from` one that is kept", path, arguments.zeroq, kept["tf2onnx"])


if __name__ == "__main__":
    main()
