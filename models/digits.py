"""The handwritten digits that scikit-learn ships: 1797 grey images of 8x8 pixels, split once and for all.

The last 500 are held out. A random split is easier (neighbours seem to come from the same hand) and measures less.
"""
import numpy as np
from sklearn.datasets import load_digits

TEST_IMAGES = 500


def load_split():
    """`(train images, test images, train labels, test labels)`; images are [N, 8, 8] in 0..1."""
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)
    train, test = slice(None, -TEST_IMAGES), slice(-TEST_IMAGES, None)
    return images[train], images[test], digits.target[train], digits.target[test]


def enlarge(images, size):
    """Bilinear, half-pixel centres: [N, 8, 8] to [N, size, size]."""
    old = images.shape[-1]
    centre = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    low = np.minimum(centre.astype(int), old - 2)
    weights = np.zeros((size, old), np.float32)
    weights[np.arange(size), low] = 1 - (centre - low)
    weights[np.arange(size), low + 1] = centre - low
    return weights @ images @ weights.T


def to_input(images, shape, mean, std):
    """Images in 0..1, [N, 8, 8], as a network of input shape [C, H, W] wants them: (x - mean) / std per channel."""
    channels, size = shape[0], shape[1]
    planes = np.repeat(enlarge(images, size)[:, None], channels, axis=1)
    mean, std = (np.array(v, np.float32).reshape(1, -1, 1, 1) for v in (mean, std))
    return ((planes - mean) / std).astype(np.float32)
