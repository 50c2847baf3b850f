"""The work of eosin's CPNN benchmarks in PyTorch on the CPU, one JSON line per measurement.

    EOSIN_THREADS=2 python cpnn_torch.py [slide_512] [slide_1536] [products] [negative_binomial] [patch]

Without arguments, all of them:
Slide level, one training step (gradient, clip, AdamW) of 8 slides of 4,096 patches, MLP D-1024-512-29, 14,052 genes:
    original   expression of every patch, then the mean: a patches x genes product per slide
    pooled     the mean of the composition first, one row of expression per slide
Patch level: the Pearson head on 4,096 patches x 2,000 genes, `direct` by the predictions, `gram` by their Gram matrices;
and a whole step with the direct head. Negative binomial loss, eager, with autograd. Matrix products alone.
Seconds are medians; autocast to bfloat16 runs where the processor has such instructions.
"""

import json
import os
import statistics
import sys
import time

import torch
from torch import nn

PATCHES, TYPES, GENES, BATCH = 4096, 29, 14052, 8
PATCH_GENES = 2000
HIDDEN = (1024, 512)
EPS = 1e-8


def report(item, seconds, **more):
    print(json.dumps({"item": item, "seconds": statistics.median(seconds), "runs": len(seconds), **more}), flush=True)


def timed(function, runs, budget=2.0):
    """Seconds of up to `runs` calls, as many as `budget` seconds allow but at least two; one unmeasured before."""
    function()
    seconds = []
    while len(seconds) < 2 or (len(seconds) < runs and sum(seconds) < budget):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return seconds


def reset_peak_memory():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def peak_memory():
    """Highest resident bytes of the process since the reset."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def has_bf16():
    with open("/proc/cpuinfo") as file:
        flags = file.read()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def mlp(inputs):
    layers = nn.Sequential(nn.Linear(inputs, HIDDEN[0]), nn.GELU(), nn.Linear(*HIDDEN), nn.GELU(),
                           nn.Linear(HIDDEN[1], TYPES))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return layers


def negative_binomial(mu, theta, y, eps=EPS):
    """Negative log-likelihood per element, as it is usually written."""
    log_sum = torch.log(theta + mu + eps)
    return -(theta * (torch.log(theta + eps) - log_sum) + y * (torch.log(mu + eps) - log_sum)
             + torch.lgamma(y + theta) - torch.lgamma(theta) - torch.lgamma(y + 1))


class SlideModel(nn.Module):
    def __init__(self, inputs, prototypes):
        super().__init__()
        self.prj = mlp(inputs)
        self.register_buffer("start", prototypes.log())
        self.exp_template = nn.Parameter(prototypes.log())
        self.alpha_g = nn.Parameter(torch.zeros(GENES))
        self.beta_g = nn.Parameter(torch.full((GENES,), -23.0259))
        self.px_theta = nn.Parameter(torch.zeros(GENES))

    def loss(self, slides, counts, composition, pooled, weight=1e3):
        expression = self.exp_template.exp()
        total = 0.0
        for x, y, q in zip(slides, counts, composition):
            p = torch.softmax(self.prj(x), dim=1)
            if pooled:
                v = self.alpha_g.exp() * (p.mean(0) @ expression) + self.beta_g.exp()
            else:
                v = (self.alpha_g.exp() * (p @ expression) + self.beta_g.exp()).mean(0)
            rate = v / v.sum() * y.sum()
            total = total + negative_binomial(rate, self.px_theta.exp(), y).sum()
            total = total + weight * nn.functional.mse_loss(p.mean(0), q)
        regulariser = nn.functional.mse_loss(torch.softmax(self.exp_template, 1), torch.softmax(self.start, 1))
        return total / len(slides) + weight * regulariser


def prototypes(genes):
    level = 0.01 + torch.distributions.Gamma(0.5, 0.5).sample((genes,))
    return level * (0.1 + torch.distributions.Gamma(1.0, 1 / 0.9).sample((TYPES, genes)))


def training_step(model, loss):
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)

    def step():
        optimiser.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimiser.step()

    return step


def slide_steps(inputs):
    slides = [torch.randn(PATCHES, inputs) for _ in range(BATCH)]
    counts = torch.poisson(torch.distributions.Gamma(0.5, 0.0005).sample((BATCH, GENES)))
    composition = torch.distributions.Dirichlet(torch.ones(TYPES)).sample((BATCH,))
    for formulation in ("pooled", "original"):
        pooled = formulation == "pooled"
        model = SlideModel(inputs, prototypes(GENES))
        step = training_step(model, lambda: model.loss(slides, counts, composition, pooled))
        reset_peak_memory()
        seconds = timed(step, 5 if pooled else 2, budget=10.0)
        report("slide_step", seconds, formulation=formulation, D=inputs, precision="float", peak_memory=peak_memory())
        if has_bf16():

            def loss():
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    return model.loss(slides, counts, composition, pooled)

            report("slide_step", timed(training_step(model, loss), 5 if pooled else 2, budget=10.0),
                   formulation=formulation, D=inputs, precision="bf16")


def unit_columns(y):
    y = y - y.mean(0)
    return y / y.square().sum(0).sqrt().clamp_min(1e-30)


def pearson_direct(p, e, unit):
    x = p @ e
    x = x - x.mean(0)
    return -((x * unit).sum(0) / x.square().sum(0).sqrt()).mean()


def pearson_gram(p, e, unit):
    p = p - p.mean(0)
    e = e - e.mean(0)
    sxx = (e * ((p.T @ p) @ e)).sum(0)
    return -((e * (p.T @ unit)).sum(0) / sxx.sqrt()).mean()


def patch_level():
    unit = unit_columns(torch.distributions.Gamma(0.5, 0.5).sample((PATCHES, PATCH_GENES)).log1p())
    start = prototypes(PATCH_GENES)
    p = torch.softmax(torch.randn(PATCHES, TYPES), 1).requires_grad_()
    e = start.clone().requires_grad_()
    for formulation, head in (("direct", pearson_direct), ("gram", pearson_gram)):

        def run():
            p.grad = e.grad = None
            head(p, e, unit).backward()

        report("patch_head", timed(run, 20), formulation=formulation)

    class PatchModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.prj = mlp(512)
            self.exp_template = nn.Parameter(start.log())

    x = torch.randn(PATCHES, 512)
    q = torch.distributions.Dirichlet(torch.ones(TYPES)).sample((PATCHES,))
    for formulation, head in (("direct", pearson_direct), ("gram", pearson_gram)):
        model = PatchModel()

        def loss():
            composition = torch.softmax(model.prj(x), 1)
            regulariser = (nn.functional.mse_loss(composition, q) + nn.functional.mse_loss(
                torch.softmax(model.exp_template, 1), torch.softmax(start.log(), 1)))
            return head(composition, model.exp_template.exp(), unit) + 1e3 * regulariser

        reset_peak_memory()
        report("patch_step", timed(training_step(model, loss), 10), formulation=formulation, peak_memory=peak_memory())


def negative_binomial_eager(rows, genes):
    mu = torch.distributions.Gamma(0.5, 0.5).sample((rows, genes)).clamp_min(1e-6)
    y = torch.poisson(mu)
    mu.requires_grad_()
    log_theta = torch.zeros(genes, requires_grad=True)

    def run():
        mu.grad = log_theta.grad = None
        negative_binomial(mu, log_theta.exp(), y).sum().backward()

    seconds = timed(run, 20)
    report("negative_binomial", seconds, rows=rows, genes=genes,
           per_element=statistics.median(seconds) / (rows * genes))


def matrix_products():
    """Operations per second of the products of the step, as eosin's `gemm` benchmarks name them."""
    for name, a, b, m, n, k in (("forward_512_1024", False, True, 4096, 1024, 512),
                                ("forward_1536_1024", False, True, 4096, 1024, 1536),
                                ("forward_1024_512", False, True, 4096, 512, 1024),
                                ("input_512_1024", False, False, 4096, 1024, 512),
                                ("weight_1024_512", True, False, 1024, 512, 4096),
                                ("weight_1024_1536", True, False, 1024, 1536, 4096),
                                ("weight_512_1024", True, False, 512, 1024, 4096)):
        left = torch.randn(k, m).T if a else torch.randn(m, k)
        right = torch.randn(n, k).T if b else torch.randn(k, n)
        out = torch.empty(m, n)
        seconds = timed(lambda: torch.mm(left, right, out=out), 6)
        report("gemm", seconds, product=name, rate=2.0 * m * n * k / statistics.median(seconds))


def selected(items):
    """Runs the items named on the command line, or all, in the order of `items`."""
    names = sys.argv[1:] or list(items)
    if unknown := [name for name in names if name not in items]:
        sys.exit(f"unknown item {unknown[0]}; there are {', '.join(items)}")
    threads = int(os.environ.get("EOSIN_THREADS", "2"))
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    print(json.dumps({"item": "environment", "torch": torch.__version__, "threads": threads, "bf16": has_bf16()}),
          flush=True)
    for name, run in items.items():
        if name in names:
            run()


def both_losses():
    negative_binomial_eager(BATCH, GENES)
    negative_binomial_eager(PATCHES, PATCH_GENES)


if __name__ == "__main__":
    # The steps first, because memory that other items leave behind would count in their peaks.
    selected({"slide_512": lambda: slide_steps(512), "slide_1536": lambda: slide_steps(1536),
              "products": matrix_products, "negative_binomial": both_losses, "patch": patch_level})
