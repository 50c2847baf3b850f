"""DenseNet-121 in PyTorch on the CPU, as eosin's `densenet` benchmarks have it, one JSON line per measurement.

    EOSIN_THREADS=2 python vision_torch.py

Float, images of 224 x 224 with their channels together (channels_last), statistics of the batch: 8 images forward, forward
and backward, a training step of 16 images with Adam and its peak memory. The module is torchvision's densenet121 up to the
pooled features, written out so that torchvision is not needed.
"""

import torch
from torch import nn

from cpnn_torch import peak_memory, report, reset_peak_memory, selected, timed

EDGE = 224


class DenseLayer(nn.Module):
    def __init__(self, channels, growth=32, bottleneck=128):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, bottleneck, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bottleneck)
        self.conv2 = nn.Conv2d(bottleneck, growth, 3, padding=1, bias=False)

    def forward(self, features):
        x = torch.cat(features, 1)
        x = self.conv1(torch.relu_(self.norm1(x)))
        return self.conv2(torch.relu_(self.norm2(x)))


class DenseBlock(nn.Module):
    def __init__(self, channels, layers):
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(channels + 32 * i) for i in range(layers))

    def forward(self, x):
        features = [x]
        for layer in self.layers:
            features.append(layer(features))
        return torch.cat(features, 1)


def densenet121():
    parts = [nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
             nn.MaxPool2d(3, stride=2, padding=1)]
    channels = 64
    for i, layers in enumerate((6, 12, 24, 16)):
        parts.append(DenseBlock(channels, layers))
        channels += 32 * layers
        if i < 3:
            parts += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
                      nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            channels //= 2
    parts += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts).to(memory_format=torch.channels_last)


def images(count):
    return torch.randn(count, 3, EDGE, EDGE).contiguous(memory_format=torch.channels_last)


def densenet():
    # First, because memory that later items leave behind would count in the peak.
    model, batch, upstream = densenet121(), images(16), torch.randn(16, 1024)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-3)

    def step():
        optimiser.zero_grad()
        model(batch).backward(upstream)
        optimiser.step()

    reset_peak_memory()
    seconds = timed(step, 3, budget=10.0)
    report("densenet_step", seconds, images=16, peak_memory=peak_memory())

    batch, upstream = images(8), torch.randn(8, 1024)

    def forward():
        with torch.no_grad():
            model(batch)

    def gradient():
        model.zero_grad()
        model(batch).backward(upstream)

    report("densenet_forward", timed(forward, 5, budget=5.0), images=8)
    report("densenet_gradient", timed(gradient, 3, budget=5.0), images=8)


if __name__ == "__main__":
    selected({"densenet": densenet})
