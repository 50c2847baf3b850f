"""The work of eosin_cuda_bench in PyTorch on the CUDA device, eager and compiled, as a Markdown table.

    python torch_rows.py

Events around the work, the second-level cache flushed before it, medians of nine runs after two that are not counted, as
eosin_cuda_bench does.
"""

import statistics

import torch
import torch.nn.functional as F
from torch import nn

PATCHES, GENES, TYPES, SLIDES, INPUTS = 4096, 14052, 29, 8, 512
DEVICE = torch.device("cuda")
FLUSH = torch.empty(256 << 20, dtype=torch.int8, device=DEVICE)


def seconds(work, runs=9):
    times = []
    for i in range(runs + 2):
        FLUSH.zero_()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        end.synchronize()
        if i >= 2:
            times.append(begin.elapsed_time(end) * 1e-3)
    return statistics.median(times)


def row(name, work, compiled=None):
    eager = seconds(work)
    faster = seconds(compiled) if compiled is not None else None
    print(f"| {name} | {eager * 1e3:.3f} | {'' if faster is None else f'{faster * 1e3:.3f}'} |", flush=True)


def random(*shape):
    return torch.rand(*shape, device=DEVICE) * 2 - 1


def nb_loss(mu, theta, y, eps=1e-8):
    log_theta_mu = torch.log(theta + mu + eps)
    return -(
        theta * (torch.log(theta + eps) - log_theta_mu)
        + y * (torch.log(mu + eps) - log_theta_mu)
        + torch.lgamma(y + theta)
        - torch.lgamma(theta)
        - torch.lgamma(y + 1)
    ).sum()


def time_nb():
    mu = (torch.rand(PATCHES, GENES, device=DEVICE) * 5 + 0.01).requires_grad_()
    log_theta = torch.zeros(GENES, device=DEVICE, requires_grad=True)
    y = torch.poisson(torch.full((PATCHES, GENES), 2.0, device=DEVICE))

    def work(loss=nb_loss):
        mu.grad = log_theta.grad = None
        loss(mu, log_theta.exp(), y).backward()

    fused = torch.compile(nb_loss)
    row("NB loss, value and gradient, 4,096 x 14,052", work, lambda: work(fused))


def time_attention():
    q, k, v = (torch.rand(1, 8, 16384, 64, device=DEVICE, requires_grad=True) for _ in range(3))
    upstream = torch.rand(1, 8, 16384, 64, device=DEVICE)

    def work(dtype=torch.float32):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            out = F.scaled_dot_product_attention(q.to(dtype), k.to(dtype), v.to(dtype))
        out.backward(upstream.to(dtype))

    row("attention, forward and backward, n = 16,384, 8 heads of 64 (float)", work)
    row("the same in bf16", lambda: work(torch.bfloat16))


def time_info_nce():
    spot, image = (torch.rand(32768, 256, device=DEVICE, requires_grad=True) for _ in range(2))
    labels = torch.arange(32768, device=DEVICE)

    def loss():
        logits = F.normalize(spot) @ F.normalize(image).T
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2

    def work():
        spot.grad = image.grad = None
        loss().backward()

    row("InfoNCE, value and gradient, 32,768 x 256", work)


def time_retrieval():
    keys = F.normalize(random(1_000_000, 256))
    queries = F.normalize(random(10_000, 256))

    def work():
        for block in queries.split(1000):
            torch.topk(block @ keys.T, 200)

    row("retrieval, 1,000,000 keys, 10,000 queries of 256, top 200", work)


def time_slide_step():
    mlp = nn.Sequential(nn.Linear(INPUTS, 1024), nn.GELU(), nn.Linear(1024, 512), nn.GELU(), nn.Linear(512, TYPES)).to(DEVICE)
    prototypes = nn.Parameter(torch.rand(TYPES, GENES, device=DEVICE))
    alpha, beta, log_theta = (nn.Parameter(torch.zeros(GENES, device=DEVICE)) for _ in range(3))
    parameters = [*mlp.parameters(), prototypes, alpha, beta, log_theta]
    optimiser = torch.optim.AdamW(parameters, weight_decay=0.01, fused=True)
    features = random(SLIDES, PATCHES, INPUTS)
    counts = torch.poisson(torch.full((SLIDES, GENES), 2.0, device=DEVICE))

    def loss(x, pooled):
        composition = mlp(x).softmax(-1)
        if pooled:
            composition = composition.mean(1)
        v = alpha.exp() * (composition @ prototypes.exp()) + beta.exp()
        if not pooled:
            v = v.mean(1)
        mu = v / v.sum(-1, keepdim=True) * counts.sum(-1, keepdim=True)
        return nb_loss(mu, log_theta.exp(), counts)

    def step(loss, pooled):
        optimiser.zero_grad(set_to_none=True)
        for x, y in ((features[s : s + 1], s) for s in range(SLIDES)) if not pooled else ((features, None),):
            loss(x, pooled).backward() if y is None else one_slide(x, y).backward()
        nn.utils.clip_grad_norm_(parameters, 0.5)
        optimiser.step()

    def one_slide(x, s):
        composition = mlp(x[0]).softmax(-1)
        v = (alpha.exp() * (composition @ prototypes.exp()) + beta.exp()).mean(0)
        return nb_loss(v / v.sum() * counts[s].sum(), log_theta.exp(), counts[s])

    compiled = torch.compile(loss)
    row("CPNN, step of 8 slides of 4,096 x 512 (original)", lambda: step(loss, False))
    row("the same, composition pooled first", lambda: step(loss, True), lambda: step(compiled, True))


def main():
    print(f"\nPyTorch {torch.__version__} on {torch.cuda.get_device_name()}\n")
    print("| work | eager, ms | compiled, ms |\n|---|---|---|")
    for work in (time_nb, time_attention, time_info_nce, time_retrieval, time_slide_step):
        work()


if __name__ == "__main__":
    main()
