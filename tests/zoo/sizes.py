"""Channels, rows and columns that the graph computes from shapes, while the batch is open."""
from .network import Network


def size(n, x, axis):
    return n.node("Gather", n.node("Shape", x), n.integer(axis), axis=0)


def vector(n, *sizes):
    return n.node("Concat", *(n.node("Unsqueeze", size, n.integers(0)) for size in sizes), axis=0)


def halves(n, x):
    """PyTorch's `chunk(2, 1)`: Slices up to half the channels, rounded up, and from there."""
    half = n.node("Div", n.node("Add", size(n, x, 1), n.integer(1)), n.integer(2))
    ends = [n.node("Mul", half, n.integers(k)) for k in (1, 2)]
    return [n.node("Slice", x, start, end, n.integers(1)) for start, end in ((n.integers(0), ends[0]), ends)]


def shuffle(n, x):
    """ShuffleNet: `x.view(n, 2, c // 2, h, w).transpose(1, 2).view(n, c, h, w)`."""
    batch, channels, rows, columns = (size(n, x, axis) for axis in range(4))
    groups = vector(n, batch, n.integer(2), n.node("Div", channels, n.integer(2)), rows, columns)
    x = n.node("Transpose", n.node("Reshape", x, groups), perm=[0, 2, 1, 3, 4])
    return n.node("Reshape", x, vector(n, batch, channels, rows, columns))


def shufflenet():
    """Each unit splits by a size that the reshape of the unit before it has hidden."""
    n = Network("shufflenet", ["batch", 3, 16, 16], opset=13, ir=7)
    x = shuffle(n, n.block("input", 3, 16, stride=2))
    for _ in range(3):
        kept, changed = halves(n, x)
        x = shuffle(n, n.node("Concat", kept, n.block(changed, 8, 8), axis=1))
    n.head(n.block(x, 16, 24, kernel=1), 24)
    return n


def split_to_sequence():
    """PyTorch without its optimizer: parts of a size, and of listed sizes, as items of a sequence."""
    n = Network("split_to_sequence", ["batch", 3, 16, 16], opset=18, ir=8)
    x = n.block("input", 3, 14, stride=2)
    parts = n.node("SplitToSequence", x, n.integer(6), axis=1, keepdims=1)
    first, second, rest = (n.node("SequenceAt", parts, n.integer(k)) for k in range(3))
    x = n.node("Concat", n.block(first, 6, 6), n.node("Add", second, first), n.block(rest, 2, 4), axis=1)
    parts = n.node("SplitToSequence", x, n.integers(4, 12), axis=-3)
    few, many = (n.node("SequenceAt", parts, n.integer(k)) for k in range(2))
    n.head(n.block(n.node("Concat", many, few, axis=1), 16, 16), 16)
    return n


def computed_padding():
    """Keras on PyTorch: SAME padding of an even size at stride 2, computed from rows and columns."""
    n = Network("computed_padding", ["batch", 16, 16, 3], opset=17, ir=8)
    x = n.node("Transpose", "input", perm=[0, 3, 1, 2])
    for inputs, outputs in ((3, 16), (16, 24)):
        total = []
        for axis in (2, 3):
            rows = size(n, x, axis)
            steps = n.node("Div", n.node("Sub", n.node("Add", rows, n.integer(2)), n.integer(1)), n.integer(2))
            span = n.node("Add", n.node("Mul", n.node("Sub", steps, n.integer(1)), n.integer(2)), n.integer(3))
            total.append(n.node("Sub", span, rows))
        before = [n.node("Div", pad, n.integer(2)) for pad in total]
        after = [n.node("Sub", pad, first) for pad, first in zip(total, before)]
        x = n.node("Pad", x, n.node("Concat", n.integers(0, 0), vector(n, *before), n.integers(0, 0), vector(n, *after), axis=0))
        x = n.block(x, inputs, outputs, stride=2, pads=[0] * 4)
    n.head(x, 24)
    return n


MAKERS = [shufflenet, split_to_sequence, computed_padding]
