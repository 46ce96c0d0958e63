"""Inputs, outputs and files of other kinds than one picture in float."""

from .network import Network


def external_data():
    """All weights in a second file."""
    n = Network("external_data", ["batch", 3, 16, 16])
    x = n.block("input", 3, 16)
    x = n.node("Relu", n.node("Add", x, n.norm(n.conv(x, 16, 16), 16)))
    n.head(n.block(x, 16, 24, stride=2), 24)
    return n


def no_batch_norm():
    """BN folded by the exporter: convolutions with bias, nothing to read statistics from."""
    n = Network("no_batch_norm", ["batch", 3, 16, 16])
    x = n.node("Relu", n.conv("input", 3, 16, bias=True))
    x = n.node("Relu", n.node("Add", x, n.conv(x, 16, 16, bias=True)))
    n.head(n.node("Relu", n.conv(x, 16, 24, stride=2, bias=True)), 24)
    return n


MAKERS = [
    external_data,
    no_batch_norm,
]
