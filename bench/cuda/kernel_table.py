"""Registers, shared memory, spills and occupancy of every kernel, as a Markdown table, from what ptxas says of it.

    for f in tests/cuda/*.cpp; do
      nvcc -std=c++20 -O3 -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 --expt-relaxed-constexpr \\
        -Xptxas -v -Itests -Iinclude -I/usr/include/eigen3 -x cu -c $f -o /dev/null
    done 2>&1 | python bench/cuda/kernel_table.py

Occupancy is the share of a multiprocessor's warps that fit at once, for the threads per block of the kernel's launch bounds;
dynamic shared memory, which is chosen at the launch, is not counted.
"""

import re
import subprocess
import sys
from pathlib import Path

# Per multiprocessor: registers, shared bytes, warps, blocks.
LIMITS = {"sm_80": (65536, 164 * 1024, 64, 32), "sm_90": (65536, 228 * 1024, 64, 32)}
INCLUDE = Path(__file__).resolve().parents[2] / "include"


def launch_bounds():
    """Threads per block by kernel name, from the sources."""
    threads = {}
    for path in INCLUDE.rglob("*.cuh"):
        text = path.read_text()
        constants = {n: int(v) for n, v in re.findall(r"constexpr int (\w+) = (\d+);", text)}
        for bound, name in re.findall(r"__launch_bounds__\((\w+)[^)]*\)\s+(\w+)\(", text):
            threads[name] = int(bound) if bound.isdigit() else constants.get(bound)
    return threads


def occupancy(architecture, registers, shared, threads):
    all_registers, all_shared, warps, blocks = LIMITS[architecture]
    block_warps = (threads + 31) // 32
    register_unit = (registers * 32 + 255) // 256 * 256
    fit = min(blocks, warps // block_warps, all_registers // (register_unit * block_warps))
    fit = min(fit, all_shared // (shared + 1024))
    return 100 * fit * block_warps // warps


def readable(symbol):
    """Kernel and template arguments without namespaces and parameters."""
    name = subprocess.run(["c++filt", symbol], capture_output=True, text=True, check=True).stdout.strip()
    name = name.removeprefix("void ")
    depth, end = 0, len(name)
    for i, c in enumerate(name):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0 and not name.startswith("(anonymous namespace)", i):
            end = i
            break
    name = re.sub(r"\((bool|int)\)", "", name[:end])
    return re.sub(r"(\w+|\(anonymous namespace\))::", "", name)


def main():
    threads_of = launch_bounds()
    found, entry, spilled = {}, None, 0
    for line in sys.stdin:
        if match := re.search(r"Compiling entry function '(\w+)' for '(\w+)'", line):
            entry, spilled = match.groups(), 0
        elif match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = sum(map(int, match.groups()))
        elif entry and (match := re.search(r"Used (\d+) registers", line)):
            shared = re.search(r"(\d+) bytes smem", line)
            found[entry] = (int(match[1]), int(shared[1]) if shared else 0, spilled)
            entry = None
    rows = {}
    for (symbol, architecture), figures in found.items():
        rows.setdefault(readable(symbol), {})[architecture] = figures
    print("| kernel | threads | registers, sm_80 / sm_90 | shared bytes | spilled bytes | occupancy, sm_80 / sm_90 |")
    print("|---|---|---|---|---|---|")
    for name, by_architecture in sorted(rows.items()):
        threads = threads_of.get(name.split("<")[0])
        columns = [by_architecture.get(a) for a in LIMITS]
        registers = " / ".join(str(c[0]) if c else "-" for c in columns)
        shared = max(c[1] for c in columns if c)
        spills = max(c[2] for c in columns if c)
        share = " / ".join(f"{occupancy(a, c[0], c[1], threads)} %" if c and threads else "-" for a, c in zip(LIMITS, columns))
        print(f"| `{name}` | {threads or '-'} | {registers} | {shared} | {spills} | {share} |")


if __name__ == "__main__":
    main()
