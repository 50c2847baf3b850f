"""The work of eosin's attention and spot-branch benchmarks in PyTorch on the CPU, one JSON line per measurement.

    EOSIN_THREADS=2 python transformer_torch.py [attention] [spot_branch]

attention: scaled_dot_product_attention, forward and backward, one sentence of 4,096 x 8 heads x 64.
spot_branch: one training step of mclSTExp's spot branch and both projection heads, 128 spots x 785 genes, InfoNCE at
temperature 1, Adam with weight decay 1e-3; learned positions in tables of 65,536 rows, as the release has them (Adam as
PyTorch runs it by default), and of 64 rows with the fused Adam. Seconds are medians.
"""

import torch
from torch import nn
from torch.nn import functional

from cpnn_torch import report, selected, timed

GENES, SPOTS, HEADS, WIDTH, FEATURES, PROJECTION = 785, 128, 8, 64, 1024, 256


def attention(n):
    q, k, v = (torch.randn(1, HEADS, n, WIDTH, requires_grad=True) for _ in range(3))
    upstream = torch.randn(1, HEADS, n, WIDTH)

    def run():
        q.grad = k.grad = v.grad = None
        functional.scaled_dot_product_attention(q, k, v).backward(upstream)

    report("attention", timed(run, 5, budget=6.0), n=n)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(GENES)
        self.qkv = nn.Linear(GENES, 3 * HEADS * WIDTH, bias=False)
        self.out = nn.Linear(HEADS * WIDTH, GENES)

    def forward(self, x):
        q, k, v = (t.view(-1, HEADS, WIDTH).transpose(0, 1) for t in self.qkv(self.norm(x)).chunk(3, dim=-1))
        o = torch.softmax(q @ k.transpose(1, 2) * WIDTH**-0.5, dim=-1) @ v
        return self.out(o.transpose(0, 1).reshape(-1, HEADS * WIDTH))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = Attention()
        self.feed_forward = nn.Sequential(nn.LayerNorm(GENES), nn.Linear(GENES, GENES), nn.GELU(),
                                          nn.Linear(GENES, GENES))

    def forward(self, x):
        x = x + self.attention(x)
        return x + self.feed_forward(x)


class Head(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.projection = nn.Linear(inputs, PROJECTION)
        self.fc = nn.Linear(PROJECTION, PROJECTION)
        self.norm = nn.LayerNorm(PROJECTION)

    def forward(self, x):
        u = self.projection(x)
        return self.norm(u + self.fc(functional.gelu(u)))


class SpotBranch(nn.Module):
    def __init__(self, rows):
        super().__init__()
        self.x_embed = nn.Embedding(rows, GENES)
        self.y_embed = nn.Embedding(rows, GENES)
        self.blocks = nn.Sequential(Block(), Block())
        self.spot = Head(GENES)
        self.image = Head(FEATURES)

    def loss(self, expression, position, features):
        x = expression + self.x_embed(position[:, 0]) + self.y_embed(position[:, 1])
        logits = self.spot(self.blocks(x)) @ self.image(features).T
        labels = torch.arange(len(logits))
        return (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)) / 2


def spot_branch(rows, fused, runs):
    model = SpotBranch(rows)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-3, fused=fused)
    expression, features = torch.randn(SPOTS, GENES), torch.randn(SPOTS, FEATURES)
    position = torch.randint(0, 64, (SPOTS, 2))

    def step():
        optimiser.zero_grad()
        model.loss(expression, position, features).backward()
        optimiser.step()

    for _ in range(2):
        step()
    report("spot_branch", timed(step, runs, budget=6.0), rows=rows, fused=fused)


def spot_branches():
    spot_branch(64, True, 40)
    spot_branch(64, False, 40)
    spot_branch(65536, False, 6)


if __name__ == "__main__":
    selected({"attention": lambda: attention(4096), "spot_branch": spot_branches})
