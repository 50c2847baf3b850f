"""Rows of compare.py's table for attention and the spot branch."""


def rows(m, divide):
    table = []
    name = "attention/n:4096"
    seconds = None
    if m.counter(name, "forward") is not None:
        seconds = m.counter(name, "forward") + m.counter(name, "backward")
    torch = m.peer("attention", n=4096)
    table.append(("attention, forward and backward, 4,096 x 8 x 64", "s", seconds, torch, None, [
        ("times faster than PyTorch", divide(torch, seconds), 1, True)]))
    scratch = m.counter("attention/n:16384", "scratch")
    table.append(("  scratch of 16,384 spots", "MB", scratch, None, None, [
        ("MB", divide(scratch, 1e6), 200, False)]))
    full = m.peer("spot_branch", rows=65536)
    small = m.peer("spot_branch", rows=64, fused=True)
    for label, prefix in (("spot branch, 128 x 785", "spot_branch/compact"), ("  65,536 lazy rows", "spot_branch/lazy")):
        backend, _, step = m.fastest(prefix, "", "step")
        table.append((f"{label} ({backend}; full, 64 rows)", "s", step, full, small, [
            ("times faster than 64 rows, fused Adam", divide(small, step), 1.5, True),
            ("times faster than full tables", divide(full, step), 15, True)]))
    return table
