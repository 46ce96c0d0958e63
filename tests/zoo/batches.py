"""Networks that were traced with several samples at once: the number stands in their inputs, sizes and constants."""
import numpy as np

from .network import Network


def fixed_batch():
    n = Network("fixed_batch", [10, 3, 16, 16], opset=13, ir=8)
    x = n.block(n.block("input", 3, 16, stride=2), 16, 24)
    x = n.node("Reshape", n.node("GlobalAveragePool", x), n.integers(10, 24))
    n.output(n.linear(x, 24, 10), ["N", 10])
    return n


def class_token():
    """A token for each sample is joined to its patches; heads are taken from the width and put back."""
    batch, width, patches = 6, 16, 16
    n = Network("class_token", [batch, 3, 16, 16], opset=17, ir=8)
    x = n.conv("input", 3, width, kernel=4, stride=4, bias=True, pads=[0] * 4)
    x = n.node("Transpose", n.node("Reshape", x, n.integers(batch, width, patches)), perm=[0, 2, 1])
    token = n.tensor(np.repeat(n.random(1, 1, width), batch, 0))
    x = n.node("Concat", token, x, axis=1)
    x = n.node("Add", x, n.tensor(np.repeat(n.random(1, patches + 1, width, scale=0.1), batch, 0)))
    x = n.node("Relu", n.node("Reshape", n.dense(x, width, width), n.integers(batch * (patches + 1), width)))
    x = n.node("Reshape", n.dense(x, width, width), n.integers(batch, patches + 1, width))
    n.output(n.linear(n.node("Gather", x, n.integer(0), axis=1), width, 10), ["N", 10])
    return n


def fixed_sizes():
    """Resize by sizes, the batch among them."""
    n = Network("fixed_sizes", [4, 3, 16, 16], opset=13, ir=7)
    x = n.block("input", 3, 16, stride=2)
    x = n.node("Resize", x, "", "", n.integers(4, 16, 12, 20), mode="linear", coordinate_transformation_mode="pytorch_half_pixel")
    n.output(n.conv(x, 16, 4), ["N", 4, 12, 20])
    return n


def first_state():
    """A recurrent layer whose first states have a row for each sample, behind another input of the same batch."""
    batch, width = 5, 8
    n = Network("first_state", [batch, 12, width], opset=17, ir=8)
    more = n.add_input("more", [batch, 4])
    x = n.node("Transpose", "input", perm=[1, 0, 2])
    gates = [n.tensor(n.random(1, 4 * width, width, scale=0.3)) for _ in range(2)]
    states = [n.tensor(np.zeros((1, batch, width))) for _ in range(2)]
    _, last, _ = n.node("LSTM", x, *gates, n.tensor(n.random(1, 8 * width, scale=0.1)), "", *states, outputs=3, hidden_size=width)
    x = n.node("Concat", n.node("Squeeze", last, n.integers(0)), more, axis=1)
    n.output(n.linear(x, width + 4, 10), ["N", 10])
    return n


def mixed_samples():
    """What all samples have in common is taken away: they are worked on together."""
    n = Network("mixed_samples", [4, 3, 16, 16], opset=13, ir=7)
    x = n.conv("input", 3, 16, stride=2, bias=True)
    x = n.node("Relu", n.node("Sub", x, n.node("ReduceMean", x, axes=[0], keepdims=1)))
    n.head(x, 16)
    return n


MAKERS = [fixed_batch, class_token, fixed_sizes, first_state, mixed_samples]
