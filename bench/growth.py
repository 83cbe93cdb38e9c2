#!/usr/bin/env python3
"""How the cost of each command grows: samples, genes, peaks and latents at three or more sizes each.

    bench/growth.py [--panvae build/panvae] [--out growth] [--axis samples] [--repeat 1] [--scale 1]

Runs the commands on simulated studies, one after the other, and writes growth.json, growth.md and a picture growth_AXIS.svg
per axis. Time is that of the whole process (the best of --repeat), memory its peak resident size, both as the system counts
them. The exponent b of cost ~ size^b is the slope of a least-squares line through the logarithms: 1 is linear, and a
fixed part of the cost (starting up, reading what does not grow) makes it smaller. --scale multiplies the studies' sizes.
Nothing but the standard library of Python is needed.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time


def run(panvae, arguments, cwd, repeat=1):
    """Seconds and peak bytes of a command; ends the program where it fails."""
    best, peak = math.inf, 0
    for _ in range(repeat):
        start = time.monotonic()
        with tempfile.TemporaryFile() as log:
            child = subprocess.Popen([panvae] + arguments + ["--quiet"], cwd=cwd, stdout=log, stderr=log)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode != 0:
                log.seek(0)
                sys.exit("panvae %s: exit code %d\n%s" % (" ".join(arguments), child.returncode, log.read().decode(errors="replace")))
        best = min(best, time.monotonic() - start)
        peak = max(peak, usage.ru_maxrss * 1024)
    return best, peak


def exponent(sizes, costs):
    """Slope of log cost over log size; None where a cost is 0."""
    if min(costs) <= 0:
        return None
    x, y = [math.log(s) for s in sizes], [math.log(c) for c in costs]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y)) / sum((a - mx) ** 2 for a in x)


RNA = ["--set", "train.max_epochs=2", "--set", "train.patience=2", "--set", "loss.kl_warmup_epochs=1", "--overwrite"]
ATAC = ["--set", "train.max_epochs=1", "--set", "loss.kl_warmup_epochs=1", "--set", "train.epoch_steps=1", "--overwrite"]


def rna_commands(latent):
    return [
        ("preprocess", ["preprocess", "-o", "r.h5ad", "rna.h5ad", "--modality", "rna"]),
        ("pca", ["pca", "-o", "pca.h5ad", "r.h5ad", "--components", "64"]),
        ("train rna, 2 epochs", ["train", "rna", "-o", "run", "r.h5ad", "--set", "model.latent=%d" % latent] + RNA),
        ("embed", ["embed", "-o", "z.h5ad", "run", "rna.h5ad"]),
        ("reconstruct", ["reconstruct", "-o", "rec.h5ad", "run", "r.h5ad"]),
        ("evaluate cohort", ["evaluate", "cohort", "z.h5ad", "--on", "all"]),
        ("evaluate alignment", ["evaluate", "alignment", "z.h5ad", "--on", "all"]),
        ("evaluate survival", ["evaluate", "survival", "z.h5ad", "--on", "all", "--top-k", "20"]),
        ("evaluate expression", ["evaluate", "expression", "r.h5ad", "rec.h5ad", "--on", "all"]),
    ]


def atac_commands():
    return [
        ("preprocess", ["preprocess", "-o", "a.h5ad", "atac.h5ad", "--modality", "atac"]),
        ("pca", ["pca", "-o", "pca.h5ad", "a.h5ad", "--components", "64"]),
        ("train atac, 1 epoch", ["train", "atac", "-o", "run", "a.h5ad"] + ATAC),
        ("embed", ["embed", "-o", "z.h5ad", "run", "atac.h5ad"]),
        ("reconstruct", ["reconstruct", "-o", "rec.h5ad", "run", "a.h5ad"]),
        ("match", ["match", "-o", "pairs.tsv", "--rna", "rna.h5ad", "--atac", "atac.h5ad", "--genes", "genes.tsv"]),
    ]


def study(axis, size, scale):
    """The simulation of a size, and the commands on it."""
    n = lambda value: max(2, int(value * scale))
    if axis == "samples":
        return ["--donors", str(size), "--genes", str(n(4000)), "--cohorts", "8"], rna_commands(128)
    if axis == "genes":
        return ["--donors", str(n(800)), "--genes", str(size), "--cohorts", "8"], rna_commands(128)
    if axis == "latent":
        return ["--donors", str(n(800)), "--genes", str(n(4000)), "--cohorts", "8"], rna_commands(size)
    return ["--donors", str(n(120)), "--genes", "1000", "--peaks", str(size), "--atac-fraction", "1", "--cohorts", "4"], atac_commands()


SIZES = {"samples": [500, 1000, 2000, 4000], "genes": [2500, 5000, 10000, 20000], "peaks": [25000, 50000, 100000, 200000], "latent": [64, 128, 256, 512]}


def measure(panvae, axis, scale, repeat):
    sizes = [max(8, int(s * scale)) for s in SIZES[axis]]
    rows = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            simulate, commands = study(axis, size, scale)
            for name, arguments in [("simulate", ["simulate", "-o", "."] + simulate)] + commands:
                seconds, peak = run(panvae, arguments, folder, repeat)
                rows.setdefault(name, []).append({"size": size, "seconds": seconds, "peak_bytes": peak})
                print("%s %d: %s %.2f s, %.0f MiB" % (axis, size, name, seconds, peak / 2**20), file=sys.stderr, flush=True)
    if axis == "latent":
        for name in ("simulate", "preprocess", "pca"):
            del rows[name]
    return [
        {
            "command": name,
            "points": points,
            "time_exponent": exponent(sizes, [p["seconds"] for p in points]),
            "memory_exponent": exponent(sizes, [p["peak_bytes"] for p in points]),
        }
        for name, points in rows.items()
    ]


def markdown(results):
    lines = []
    for axis, rows in results.items():
        sizes = [p["size"] for p in rows[0]["points"]]
        lines += ["| by %s: seconds (MiB) | %s | time ~ | memory ~ |" % (axis, " | ".join("{:,}".format(s) for s in sizes)), "|---|" + "---:|" * (len(sizes) + 2)]
        for r in rows:
            cells = ["%.2f (%.0f)" % (p["seconds"], p["peak_bytes"] / 2**20) for p in r["points"]]
            lines.append("| %s | %s | %.2f | %.2f |" % (r["command"], " | ".join(cells), r["time_exponent"], r["memory_exponent"]))
        lines.append("")
    return "\n".join(lines)


COLOURS = ["#1b6ca8", "#c2571a", "#2e8540", "#8e44ad", "#b8860b", "#c0392b", "#16a085", "#555555", "#d6659b", "#4b5fbd"]


def picture(axis, rows):
    """Seconds over size, both logarithmic, with a line of slope 1 for comparison."""
    width, height, left, right, top, bottom = 900, 440, 70, 250, 40, 55
    sizes = [p["size"] for p in rows[0]["points"]]
    values = [p["seconds"] for r in rows for p in r["points"]]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))
    span = math.log(sizes[-1] / sizes[0])
    px = lambda s: left + (width - left - right) * math.log(s / sizes[0]) / span
    py = lambda v: height - bottom - (height - top - bottom) * math.log(v / low) / math.log(high / low)
    out = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">' % (width, height),
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        '<text x="%d" y="22" font-size="15" fill="#222">Seconds by %s (both axes logarithmic; b: time ~ size^b)</text>' % (left, axis),
    ]
    decade = low
    while decade <= high * 1.001:
        out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>' % (left, width - right, py(decade), py(decade)))
        out.append('<text x="%d" y="%.1f" text-anchor="end" fill="#444">%g s</text>' % (left - 8, py(decade) + 4, decade))
        decade *= 10
    for s in sizes:
        out.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#eee"/>' % (px(s), px(s), top, height - bottom))
        out.append('<text x="%.1f" y="%d" text-anchor="middle" fill="#444">%s</text>' % (px(s), height - bottom + 20, "{:,}".format(s)))
    out.append('<text x="%.1f" y="%d" text-anchor="middle" fill="#444">%s</text>' % ((left + width - right) / 2, height - 12, axis))
    middle = math.sqrt(low * high) / math.sqrt(sizes[-1] / sizes[0])
    out.append(
        '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#999" stroke-dasharray="5 5"/>'
        % (px(sizes[0]), py(middle), px(sizes[-1]), py(middle * sizes[-1] / sizes[0]))
    )
    # Names at the right, moved apart where lines end close to each other.
    ends = sorted(((py(r["points"][-1]["seconds"]), i) for i, r in enumerate(rows)))
    places, last = {}, -1e9
    for y, i in ends:
        last = max(y, last + 16)
        places[i] = last
    shift = max(0.0, last - (height - 20))
    for i, r in enumerate(rows):
        colour = COLOURS[i % len(COLOURS)]
        points = " ".join("%.1f,%.1f" % (px(p["size"]), py(p["seconds"])) for p in r["points"])
        out.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>' % (points, colour))
        for p in r["points"]:
            out.append('<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (px(p["size"]), py(p["seconds"]), colour))
        out.append('<text x="%d" y="%.1f" fill="%s">%s, b = %.2f</text>' % (width - right + 12, places[i] - shift + 4, colour, r["command"], r["time_exponent"]))
    out.append('<text x="%.1f" y="%.1f" fill="#777">linear</text>' % (px(sizes[0]) + 6, py(middle) - 8))
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panvae", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build", "panvae"))
    parser.add_argument("--out", default="growth")
    parser.add_argument("--axis", action="append", choices=sorted(SIZES))
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1)
    options = parser.parse_args()
    if options.repeat < 1 or not options.scale > 0:
        parser.error("--repeat and --scale must be positive")
    panvae = os.path.abspath(options.panvae)
    os.makedirs(options.out, exist_ok=True)
    path = os.path.join(options.out, "growth.json")
    results = {}
    if os.path.exists(path) and options.axis:  # single axes are measured again, the others stay
        with open(path) as f:
            results = json.load(f)
    for axis in options.axis or list(SIZES):
        results[axis] = measure(panvae, axis, options.scale, options.repeat)
        with open(path, "w") as f:
            json.dump(results, f, indent=2)
        with open(os.path.join(options.out, "growth_%s.svg" % axis), "w") as f:
            f.write(picture(axis, results[axis]))
    text = markdown(results)
    with open(os.path.join(options.out, "growth.md"), "w") as f:
        f.write(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
