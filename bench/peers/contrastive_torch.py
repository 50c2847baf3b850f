"""The work of eosin's InfoNCE and retrieval benchmarks in PyTorch, and of the search in faiss where it is installed, on
the CPU, one JSON line per measurement.

    EOSIN_THREADS=2 python contrastive_torch.py [info_nce_128] [info_nce_4096] [retrieval]

info_nce: symmetric cross-entropy of S I^T, forward and backward, pairs of width 256.
retrieval: the 200 keys of largest cosine similarity to each of 2,000 queries among 50,000 of width 256; keys and
queries are normalised within the time. Seconds are medians.
"""

import torch
from torch.nn import functional

from cpnn_torch import report, selected, timed

WIDTH = 256
KEYS, QUERIES, NEIGHBOURS = 50000, 2000, 200


def info_nce(pairs):
    spot = (0.25 * torch.randn(pairs, WIDTH)).requires_grad_()
    image = (0.25 * torch.randn(pairs, WIDTH)).requires_grad_()
    labels = torch.arange(pairs)

    def run():
        spot.grad = image.grad = None
        logits = spot @ image.T
        loss = (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)) / 2
        loss.backward()

    report("info_nce", timed(run, 7, budget=5.0), pairs=pairs)


def retrieval():
    keys, queries = torch.randn(KEYS, WIDTH), torch.randn(QUERIES, WIDTH)

    def search():
        return (functional.normalize(queries) @ functional.normalize(keys).T).topk(NEIGHBOURS)

    report("retrieval", timed(search, 5, budget=5.0), library="torch")
    try:
        import faiss
    except ImportError:
        return
    faiss.omp_set_num_threads(torch.get_num_threads())

    def search_index():
        k, q = keys.numpy().copy(), queries.numpy().copy()
        faiss.normalize_L2(k)
        faiss.normalize_L2(q)
        index = faiss.IndexFlatIP(WIDTH)
        index.add(k)
        return index.search(q, NEIGHBOURS)

    report("retrieval", timed(search_index, 5, budget=5.0), library="faiss", version=faiss.__version__)


if __name__ == "__main__":
    selected({"info_nce_128": lambda: info_nce(128), "info_nce_4096": lambda: info_nce(4096), "retrieval": retrieval})
