"""The networks of the table: small, but each with the structures that its big relatives have."""
from torch import nn
import torch


def convolution(inputs, outputs, kernel=3, stride=1, groups=1, activation=nn.ReLU):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(convolution(inputs, outputs, stride=stride), convolution(outputs, outputs, activation=None))
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1, stride, activation=None)

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


class InvertedResidual(nn.Module):
    """Widen, filter each channel alone, narrow; a shortcut where the shape stays."""

    def __init__(self, inputs, outputs, stride, activation, expand=3):
        super().__init__()
        hidden = inputs * expand
        self.body = nn.Sequential(
            convolution(inputs, hidden, 1, activation=activation),
            convolution(hidden, hidden, 3, stride, groups=hidden, activation=activation),
            convolution(hidden, outputs, 1, activation=None),
        )
        self.same = inputs == outputs and stride == 1

    def forward(self, x):
        return x + self.body(x) if self.same else self.body(x)


class SqueezeExcite(nn.Module):
    """Weights every channel by what the whole image says."""

    def __init__(self, channels):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce, self.expand = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x):
        return x * self.gate(self.expand(torch.relu(self.reduce(self.pool(x)))))


class Fire(nn.Module):
    """A narrow 1x1 layer, then 1x1 and 3x3 side by side, concatenated."""

    def __init__(self, inputs, squeeze, expand):
        super().__init__()
        self.squeeze = convolution(inputs, squeeze, 1)
        self.small, self.large = convolution(squeeze, expand, 1), convolution(squeeze, expand, 3)
        self.excite = SqueezeExcite(2 * expand)

    def forward(self, x):
        x = self.squeeze(x)
        return self.excite(torch.cat([self.small(x), self.large(x)], 1))


def head(channels):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def resnet():
    return nn.Sequential(convolution(1, 12), Residual(12, 12, 1), Residual(12, 24, 2), Residual(24, 48, 2), head(48))


def mobilenet():
    six, swish = nn.ReLU6, nn.Hardswish
    return nn.Sequential(
        convolution(1, 16, activation=six),
        InvertedResidual(16, 16, 1, six),
        InvertedResidual(16, 24, 2, six),
        InvertedResidual(24, 24, 1, six),
        InvertedResidual(24, 40, 2, swish),
        InvertedResidual(40, 40, 1, swish),
        convolution(40, 96, 1, activation=swish),
        head(96),
    )


def squeezenet():
    return nn.Sequential(
        convolution(3, 16, stride=2),
        Fire(16, 8, 16),
        nn.MaxPool2d(2),
        Fire(32, 16, 24),
        nn.MaxPool2d(2),
        Fire(48, 16, 32),
        convolution(64, 64, 1),
        head(64),
    )
