"""Rows of compare.py's table for InfoNCE and retrieval."""


def rows(m, divide):
    table = []
    for pairs, target in ((128, None), (4096, 2.5)):
        backend, _, seconds = m.fastest(f"info_nce/{pairs}")
        torch = m.peer("info_nce", pairs=pairs)
        table.append((f"InfoNCE, {pairs:,} pairs x 256 ({backend})", "s", seconds, torch, None, [
            ("times faster than PyTorch", divide(torch, seconds), target, True)]))
    _, name, _ = m.fastest("info_nce/32768")
    scratch = m.counter(name, "scratch")
    table.append(("  scratch of 32,768 pairs", "MB", scratch, None, None, [
        ("MB", divide(scratch, 1e6), 200, False)]))
    _, _, seconds = m.fastest("retrieval_top_k")
    torch = m.peer("retrieval", library="torch")
    faiss = m.peer("retrieval", library="faiss")
    table.append(("retrieval, top 200 (then torch, faiss)", "s", seconds, torch, faiss, [
        ("times faster than faiss", divide(faiss, seconds), 1, True),
        ("times faster than PyTorch", divide(torch, seconds), None, True)]))
    _, _, seconds = m.fastest("retrieval_predict")
    table.append(("  with distances and expression", "s", seconds, None, None, []))
    return table
