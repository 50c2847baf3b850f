"""Joins a Google Benchmark JSON file of eosin_bench and the JSON lines of the *_torch.py: prints both side by side with
the ratios and the targets, and writes everything to one JSON file.

    python compare.py eosin.json torch.jsonl results.json
"""

import json
import sys

import contrastive_rows
import transformer_rows


def without_settings(name):
    """The name of a benchmark without how it was run."""
    return "/".join(part for part in name.split("/")
                    if part not in ("real_time", "manual_time") and not part.startswith(("iterations:", "min_time:")))


class Measurements:
    """Seconds and counters of both programs by name."""

    def __init__(self, eosin, torch):
        self.eosin = {}
        for entry in eosin["benchmarks"]:
            if entry.get("run_type", "iteration") == "iteration":
                self.eosin[without_settings(entry["name"])] = entry
        self.torch = torch
        # A run with EOSIN_THREADS=N measures what has no argument `threads` with N.
        self.threads = next((t["threads"] for t in torch if t["item"] == "environment"), 2)

    def seconds(self, name):
        entry = self.eosin.get(name)
        if entry is None or entry.get("error_occurred"):
            return None
        return entry["real_time"] * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}[entry["time_unit"]]

    def counter(self, name, counter):
        entry = self.eosin.get(name)
        return None if entry is None or entry.get("error_occurred") else entry.get(counter)

    def fastest(self, prefix, suffix="", counter=None):
        """The fastest entry PREFIX/BACKEND[SUFFIX]: (backend, its full name, seconds)."""
        found = []
        for name in self.eosin:
            parts = name.removeprefix(prefix + "/").removesuffix(suffix).split("/")
            if not name.startswith(prefix + "/") or not name.endswith(suffix) or len(parts) != 1:
                continue
            seconds = self.counter(name, counter) if counter else self.seconds(name)
            if seconds is not None:
                found.append((parts[0], name, seconds))
        return min(found, key=lambda f: f[2], default=(None, None, None))

    def peer(self, item, field="seconds", **keys):
        for line in self.torch:
            if line["item"] == item and all(line.get(k) == v for k, v in keys.items()):
                return line.get(field)
        return None

    def best_rate(self):
        """Operations per second of the best single-precision product of this machine, and whose it is."""
        rates = [(line["rate"], "PyTorch") for line in self.torch if line["item"] == "gemm"]
        for name, entry in self.eosin.items():
            if name.startswith("gemm/") and not entry.get("error_occurred"):
                rates.append((entry["rate"], name.split("/")[-1]))
        return max(rates, default=(None, None))


def divide(a, b):
    return None if a is None or not b else a / b


def number(value, unit=""):
    if value is None:
        return "-"
    if unit == "s":
        return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit == "ns":
        return f"{value * 1e9:.3g} ns"
    if unit == "MB":
        return f"{value / 1e6:.0f} MB"
    return f"{value:.3g}{unit}"


def rows_of(m):
    """Rows of the table: item, unit, eosin, torch original (or direct, eager), torch pooled (or gram), and targets as
    (description, value, limit, at_least)."""
    rows = []
    rate, owner = m.best_rate()
    for features in (512, 1536):
        prefix = f"cpnn_slide_step/D:{features}"
        backend, name, step = m.fastest(prefix, "/float", "step")
        original = m.peer("slide_step", formulation="original", D=features, precision="float")
        pooled = m.peer("slide_step", formulation="pooled", D=features, precision="float")
        products = m.counter(name, "gemm_only")
        ideal = divide(m.counter(name, "operations"), rate)
        rows.append((f"slide step, D={features} ({backend})", "s", step, original, pooled, [
            ("times faster than original", divide(original, step), 6, True),
            ("times faster than pooled", divide(pooled, step), 1, True),
            ("of its products at the best rate", divide(step, ideal), 1.12, False)]))
        rows.append((f"  its products alone, D={features}", "s", products, None, None, [
            ("step / products right after it, median", m.counter(name, "step_over_products"), 1.12, False)]))
        _, _, half = m.fastest(prefix, "/bf16", "step")
        rows.append((f"slide step in bf16, D={features}", "s", half,
                     m.peer("slide_step", formulation="original", D=features, precision="bf16"),
                     m.peer("slide_step", formulation="pooled", D=features, precision="bf16"),
                     [("times faster than pooled in float", divide(pooled, half), 1.8, True)]))
        peak = (m.counter(name, "peak_memory"),
                m.peer("slide_step", "peak_memory", formulation="original", D=features, precision="float"),
                m.peer("slide_step", "peak_memory", formulation="pooled", D=features, precision="float"))
        rows.append((f"peak memory of the slide step, D={features}", "MB", *peak, [
            ("MB", divide(peak[0], 1e6), 300 if features == 512 else None, False)]))
    for shape, entries in (("8 x 14,052", (8, 14052)), ("4,096 x 2,000", (4096, 2000))):
        seconds = m.seconds(f"negative_binomial_gradients/rows:{entries[0]}/genes:{entries[1]}/threads:{m.threads}")
        eosin = divide(seconds, entries[0] * entries[1])
        eager = m.peer("negative_binomial", "per_element", rows=entries[0], genes=entries[1])
        rows.append((f"NB loss with gradient, {shape}, per element", "ns", eosin, eager, None, [
            ("times faster than eager", divide(eager, eosin), 15, True)]))
    backend, _, head = m.fastest("cpnn_patch_head")
    direct = m.peer("patch_head", formulation="direct")
    rows.append((f"patch head ({backend})", "s", head, direct, m.peer("patch_head", formulation="gram"), [
        ("times faster than direct", divide(direct, head), 5, True)]))
    backend, name, step = m.fastest("cpnn_patch_step", "", "step")
    rows.append((f"patch step ({backend})", "s", step, m.peer("patch_step", formulation="direct"),
                 m.peer("patch_step", formulation="gram"), [
                     ("of its products right after it, median", m.counter(name, "step_over_products"), 1.15, False),
                     ("of its products at the best rate",
                      divide(step, divide(m.counter(name, "operations"), rate)), None, False)]))
    rows += contrastive_rows.rows(m, divide)
    rows += transformer_rows.rows(m, divide)
    rows += densenet_rows(m)
    rows.append((f"best product rate of this machine ({owner})", " GF/s", divide(rate, 1e9),
                 max((line["rate"] / 1e9 for line in m.torch if line["item"] == "gemm"), default=None), None, []))
    return rows


def densenet_rows(m):
    """DenseNet-121: `original` is PyTorch."""
    rows = []
    for item, name, limit in (("DenseNet-121, 8 images forward", "densenet_forward", 1),
                              ("DenseNet-121, 8 images forward and backward", "densenet_gradient", 1),
                              ("DenseNet-121, step of 16 images", "densenet_step", 1.3)):
        prefix = name + ("/images:16" if name == "densenet_step" else "")
        backend, full, seconds = m.fastest(prefix)
        torch = m.peer(name)
        rows.append((f"{item} ({backend})", "s", seconds, torch, None, [
            ("times faster than PyTorch", divide(torch, seconds), limit, True)]))
        if name == "densenet_step":
            peak, torch_peak = m.counter(full, "peak_memory"), m.peer(name, "peak_memory")
            rows.append(("  its peak memory", "MB", peak, torch_peak, None, [
                ("MB (a third of 5.5 GB)", divide(peak, 1e6), 1833, False)]))
    _, full, seconds = m.fastest("densenet_step/images:32")
    peak = m.counter(full, "peak_memory")
    rows.append(("  peak memory of a step of 32 images", "MB", peak, None, None, [
        ("MB", divide(peak, 1e6), 3000, False)]))
    return rows


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        eosin = json.load(file)
    with open(sys.argv[2]) as file:
        torch = [json.loads(line) for line in file if line.strip()]
    m = Measurements(eosin, torch)
    results, failed = [], 0
    layout = "{:<46} {:>10} {:>10} {:>10}   {}"
    print(f"{m.threads} threads; medians; 'original' is also the direct and the eager form, 'pooled' the Gram form\n")
    print(layout.format("", "eosin", "original", "pooled", ""))
    for item, unit, ours, original, pooled, targets in rows_of(m):
        verdicts = []
        for description, value, limit, at_least in targets:
            passed = None
            if value is not None and limit is not None:
                passed = value >= limit if at_least else value <= limit
                failed += not passed
            wanted = "" if limit is None else f" (target {'>=' if at_least else '<='} {limit}: " + (
                "n/a" if passed is None else "pass" if passed else "FAIL") + ")"
            verdicts.append(f"{number(value)} {description}{wanted}")
            results.append({"item": item.strip(), "measure": description, "value": value, "target": limit,
                            "at_least": at_least, "passed": passed})
        print(layout.format(item, number(ours, unit), number(original, unit), number(pooled, unit),
                            verdicts[0] if verdicts else ""))
        for verdict in verdicts[1:]:
            print(layout.format("", "", "", "", verdict))
    skipped = [f"{name}: {entry['error_message']}" for name, entry in m.eosin.items()
               if entry.get("error_occurred")]
    for line in skipped:
        print(line)
    print(f"\n{sum(r['passed'] is True for r in results)} targets met, {failed} missed, "
          f"{sum(r['passed'] is None and r['target'] is not None for r in results)} not applicable here")
    with open(sys.argv[3], "w") as file:
        json.dump({"ratios": results, "eosin": eosin, "torch": torch}, file, indent=1)


if __name__ == "__main__":
    main()
