"""Joins what eosin_bench and the *_torch.py measured: prints both side by side with the ratios and the targets, and writes
everything to one JSON file.

    python compare.py FOLDER results.json
    python compare.py --fastest eosin.json PREFIX[@SUFFIX]

FOLDER holds one folder per round, 1, 2, ..., with Google Benchmark's JSON files (eosin-*.json) and the lines of the peers
(torch.jsonl). The speed of a machine drifts; both programs ran in turn within a round, so a ratio is taken within each
round, and the median over the rounds is shown. The second form prints which BACKEND of PREFIX/BACKEND[SUFFIX] takes the
least processor time.
"""

import json
import statistics
import sys
from pathlib import Path

import contrastive_rows
import transformer_rows


def without_settings(name):
    """The name of a benchmark without how it was run."""
    return "/".join(part for part in name.split("/")
                    if part not in ("real_time", "manual_time") and not part.startswith(("iterations:", "min_time:")))


def median(values):
    """The median of those that are there; None without any."""
    found = [v for v in values if v is not None]
    return statistics.median(found) if found else None


class Measurements:
    """Seconds and counters of both programs by name, of one round. Which backend is the fastest is decided on all rounds."""

    def __init__(self, benchmarks, torch, rounds):
        self.eosin = {}
        for entry in benchmarks:
            if entry.get("run_type", "iteration") == "iteration":
                self.eosin[without_settings(entry["name"])] = entry
        self.torch = torch
        self.rounds = rounds
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
        """The entry PREFIX/BACKEND[SUFFIX] that is fastest among those of most rounds, by its median: (backend, its full
        name, its seconds in this round)."""

        def seconds(m, name):
            return m.counter(name, counter) if counter else m.seconds(name)

        found = []
        for name in sorted({name for m in self.rounds for name in m.eosin}):
            backend = name.removeprefix(prefix + "/").removesuffix(suffix)
            if name != f"{prefix}/{backend}{suffix}" or "/" in backend:
                continue
            measured = [s for m in self.rounds if (s := seconds(m, name)) is not None]
            if measured:
                found.append((-len(measured), statistics.median(measured), backend, name))
        if not found:
            return None, None, None
        _, _, backend, name = min(found)
        return backend, name, seconds(self, name)

    def peer(self, item, field="seconds", **keys):
        for line in self.torch:
            if line["item"] == item and all(line.get(k) == v for k, v in keys.items()):
                return line.get(field)
        return None

    def best_rate(self):
        """Operations per second of the best single-precision product of this machine, and whose it is."""
        rates = []
        for m in self.rounds:
            rates += [(line["rate"], "PyTorch") for line in m.torch if line["item"] == "gemm"]
            rates += [(entry["rate"], name.split("/")[-1]) for name, entry in m.eosin.items()
                      if name.startswith("gemm/") and not entry.get("error_occurred")]
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
            ("of its products at the best rate of any product in any round", divide(step, ideal), None, False)]))
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
                     ("of its products at the best rate of any product in any round",
                      divide(step, divide(m.counter(name, "operations"), rate)), None, False)]))
    rows += contrastive_rows.rows(m, divide)
    rows += transformer_rows.rows(m, divide)
    rows += densenet_rows(m)
    rows.append((f"best product rate of this machine ({owner})", " GF/s", divide(rate, 1e9),
                 max((line["rate"] / 1e9 for line in m.torch if line["item"] == "gemm"), default=None), None, []))
    return rows


def merged(rounds):
    """The rows of all rounds as one: medians of figures and of ratios; (text, unit, eosin, original, pooled, targets with
    the ratio of each round)."""
    table = []
    for same in zip(*(rows_of(m) for m in rounds), strict=True):
        text, unit = same[0][:2]
        targets = []
        for of_rounds in zip(*(row[5] for row in same), strict=True):
            values = [target[1] for target in of_rounds]
            description, _, limit, at_least = of_rounds[0]
            targets.append((description, median(values), limit, at_least, [v for v in values if v is not None]))
        table.append((text, unit, *(median([row[i] for row in same]) for i in (2, 3, 4)), targets))
    return table


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


def read(folder):
    """The rounds in `folder`, and everything in them as it was written."""
    raw = []
    for path in sorted((p for p in Path(folder).iterdir() if p.name.isdigit()), key=lambda p: int(p.name)):
        eosin = [json.loads(file.read_text()) for file in sorted(path.glob("eosin-*.json"))]
        lines = (path / "torch.jsonl").read_text().splitlines()
        raw.append({"eosin": eosin, "torch": [json.loads(line) for line in lines if line.strip()]})
    rounds = []
    for r in raw:
        rounds.append(Measurements([entry for part in r["eosin"] for entry in part["benchmarks"]], r["torch"], rounds))
    return rounds, raw


def fastest(file, pattern):
    """Prints the backend that took the least processor time: one measurement of the clock, on a machine that others use
    too, would be a matter of luck."""
    prefix, _, suffix = pattern.partition("@")
    found = []
    for entry in json.loads(Path(file).read_text())["benchmarks"]:
        name = without_settings(entry["name"])
        backend = name.removeprefix(prefix + "/").removesuffix(suffix)
        if name == f"{prefix}/{backend}{suffix}" and "/" not in backend and not entry.get("error_occurred"):
            found.append((entry["cpu_time"], backend))
    print(min(found)[1])


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--fastest":
        return fastest(*sys.argv[2:])
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    rounds, raw = read(sys.argv[1])
    results, failed = [], 0
    layout = "{:<46} {:>10} {:>10} {:>10}   {}"
    print(f"{rounds[0].threads} threads; medians of {len(rounds)} rounds, ratios taken within each; 'original' is also the "
          "direct and the eager form, 'pooled' the Gram form\n")
    print(layout.format("", "eosin", "original", "pooled", ""))
    for item, unit, ours, original, pooled, targets in merged(rounds):
        verdicts = []
        for description, value, limit, at_least, of_rounds in targets:
            passed = None
            if value is not None and limit is not None:
                passed = value >= limit if at_least else value <= limit
                failed += not passed
            wanted = "" if limit is None else f" (target {'>=' if at_least else '<='} {limit}: " + (
                "n/a" if passed is None else "pass" if passed else "FAIL") + ")"
            spread = f" [{', '.join(number(v) for v in of_rounds)}]" if len(of_rounds) > 1 else ""
            verdicts.append(f"{number(value)} {description}{wanted}{spread}")
            results.append({"item": item.strip(), "measure": description, "value": value, "rounds": of_rounds,
                            "target": limit, "at_least": at_least, "passed": passed})
        print(layout.format(item, number(ours, unit), number(original, unit), number(pooled, unit),
                            verdicts[0] if verdicts else ""))
        for verdict in verdicts[1:]:
            print(layout.format("", "", "", "", verdict))
    skipped = {f"{name}: {entry['error_message']}" for m in rounds for name, entry in m.eosin.items()
               if entry.get("error_occurred")}
    for line in sorted(skipped):
        print(line)
    print(f"\n{sum(r['passed'] is True for r in results)} targets met, {failed} missed, "
          f"{sum(r['passed'] is None and r['target'] is not None for r in results)} not applicable here")
    with open(sys.argv[2], "w") as file:
        json.dump({"ratios": results, "rounds": raw}, file, indent=1)


if __name__ == "__main__":
    main()
