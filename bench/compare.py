#!/usr/bin/env python3
"""Compares JSON files of panvae_bench, or makes a Markdown table of them. Python 3, standard library only.

  compare.py OLD.json NEW.json --aa A1.json A2.json   FASTER, SLOWER, SAME or UNCLEAR, row by row
  compare.py --table RUN.json [RUN.json ...]          providers side by side, every row

A row is FASTER or SLOWER where the 95 % intervals of the two medians do not touch, and the gap between the medians is
wider than that of an A/A run: two runs of one and the same program, whose gaps are nothing but noise. A single pair may
agree by luck, so the noise of a row is its own A/A gap or the median gap of all rows, whichever is wider; a row that the
A/A run lacks is held against its widest gap. A row is SAME where the noise is small and the intervals leave no room for a
gap of more than 5 % (--same says otherwise). All else is UNCLEAR: it may have changed, and these files cannot tell. Without
--aa every row is. Of repetitions within a file the fastest counts. Of several files for a table, a row comes from the one where we were fastest, with the providers that ran
beside us there; those that only other files have come from those.
"""
import argparse
import json
import os
import statistics
import sys

UNITS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}


class InputError(Exception):
    """What the user gave cannot be used."""


class Row:
    """One line of a JSON file, times in nanoseconds."""

    def __init__(self, entry):
        self.name = entry["name"]
        self.error = entry.get("error_message", "failed") if entry.get("error_occurred") else ""
        self.base, _, provider = self.name.rpartition("/")
        label = entry.get("label", "").split()
        words = dict(word.split("=", 1) for word in label if "=" in word)
        self.provider = words.get("provider", provider)
        self.bound = words.get("bound", "none")
        self.marks = [word for word in label if "=" not in word]
        self.numbers = {k: v for k, v in entry.items() if isinstance(v, (int, float))}
        self.median = entry.get("median_ns", entry.get("real_time", 0.0) * UNITS.get(entry.get("time_unit", "ns"), 1.0))
        self.low = entry.get("low_ns", self.median)
        self.high = entry.get("high_ns", self.median)

    def better_than(self, other):
        if bool(self.error) != bool(other.error):
            return not self.error
        return self.median < other.median


def load(path):
    """Context and rows by name, in the order of the file; of repetitions the fastest."""
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        rows = {}
        for entry in data["benchmarks"]:
            if entry.get("run_type", "iteration") != "iteration":
                continue
            merge(rows, Row(entry))
        return data["context"], rows
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: no JSON of panvae_bench ({type(error).__name__}: {error})") from error


def merge(rows, row):
    if row.name not in rows or row.better_than(rows[row.name]):
        rows[row.name] = row


def gap(a, b):
    """Distance of two times, in parts of the shorter."""
    return abs(a - b) / min(a, b) if min(a, b) > 0 else 0.0


class Noise:
    """What an A/A run says of the noise of each row; None: there was none."""

    def __init__(self, first=None, second=None):
        self.gaps = None
        if first is not None:
            both = [n for n in first if n in second and not first[n].error and not second[n].error]
            self.gaps = {n: gap(first[n].median, second[n].median) for n in both}
            if not self.gaps:
                raise InputError("--aa: the two files have no row in common")

    def of(self, name):
        if self.gaps is None:
            return None
        if name not in self.gaps:
            return max(self.gaps.values())
        return max(self.gaps[name], statistics.median(self.gaps.values()))


def verdict(old, new, noise, same=0.05):
    """`noise`: of this row, or None if it is unknown. `same`: a gap that does not matter."""
    if old.error or new.error:
        return "ERROR"
    if noise is None:
        return "UNCLEAR"
    disjoint = new.high < old.low or new.low > old.high
    if disjoint and gap(old.median, new.median) > noise:
        return "FASTER" if new.median < old.median else "SLOWER"
    widest = max(gap(old.low, new.high), gap(old.high, new.low))  # that the intervals leave room for
    return "SAME" if max(widest, noise) <= same else "UNCLEAR"


def time_text(ns):
    for unit in ("ns", "us", "ms"):
        if ns < 999.5:
            return f"{ns:.3g} {unit}"
        ns /= 1000
    return f"{ns:.3g} s"


def compare(old, new, noise, same=0.05):
    """Lines of text, and how often each verdict was given."""
    names = list(old) + [n for n in new if n not in old]
    width = max((len(n) for n in names), default=0)
    lines = [f"{'row':{width}}  {'old':>9}  {'new':>9}  {'change':>8}  {'noise':>6}"]
    counts = {}
    for name in names:
        if name not in old or name not in new:
            result, text = "MISSING", f"{'only in ' + ('old' if name in old else 'new'):>38}"
        else:
            a, b, n = old[name], new[name], noise.of(name)
            result = verdict(a, b, n, same)
            change = f"{100 * (b.median / a.median - 1):+.1f} %" if result != "ERROR" and a.median > 0 else "-"
            text = f"{time_text(a.median):>9}  {time_text(b.median):>9}  {change:>8}  {'-' if n is None else f'{100 * n:.1f} %':>6}"
        counts[result] = counts.get(result, 0) + 1
        lines.append(f"{name:{width}}  {text}  {result}")
    lines.append(", ".join(f"{counts[k]} {k}" for k in ("FASTER", "SLOWER", "SAME", "UNCLEAR", "ERROR", "MISSING") if k in counts))
    if noise.gaps is None:
        lines.append("Without --aa the noise is unknown, so nothing can be said of any row.")
    return lines, counts


def rate_text(value):
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}" if value > 0 else "-"


def gather(files):
    """Rows of several files for one table: by case, type and size from the file where ours was fastest."""
    chosen = {}
    for rows in files:
        for row in rows.values():
            if row.provider == "ours" and (row.base not in chosen or row.better_than(chosen[row.base][0])):
                chosen[row.base] = (row, rows)
    gathered = {}
    for rows in files:
        for row in rows.values():
            beside = chosen[row.base][1].get(row.name) if row.base in chosen else None
            if beside:
                gathered[row.name] = beside
            else:
                merge(gathered, row)
    return gathered


def table(rows):
    """Markdown: a line for each case, type and size, ours first, then each other provider with its time over ours."""
    others = []
    for row in rows.values():
        if row.provider != "ours" and row.provider not in others:
            others.append(row.provider)
    head = ["row", "ours", "p20 to p80", "GB/s", "GFLOP/s", "% of ceiling", "bound"]
    for provider in others:
        head += [provider, f"{provider} / ours"]
    lines = ["| " + " | ".join(head + ["marks"]) + " |", "|---" + "|---:" * 5 + "|---" + "|---:" * (2 * len(others)) + "|---|"]
    for base in dict.fromkeys(row.base for row in rows.values()):
        group = {p: rows.get(f"{base}/{p}") for p in ["ours"] + others}
        ours = group["ours"]
        marks = []
        if ours is None:
            cells = [base] + ["-"] * 6
        elif ours.error:
            cells = [base, "ERROR"] + ["-"] * 5
            marks.append(ours.error.replace("|", "\\|"))
        else:
            n = ours.numbers
            percent = n.get("percent_of_ceiling", 0)
            cells = [base, time_text(ours.median), f"{time_text(n.get('p20_ns', ours.median))} to {time_text(n.get('p80_ns', ours.median))}",
                     rate_text(n.get("GB/s", 0)), rate_text(n.get("GFLOP/s", 0)), f"{percent:.0f}" if percent > 0 else "-", ours.bound]
            marks += ours.marks
            if n.get("graph_ns", 0) > 0:
                marks.append(f"in a graph {time_text(n['graph_ns'])}")
            if n.get("saved_bytes", 0) > 0:
                marks.append(f"saves {n['saved_bytes'] / 1e6:.1f} MB of {n['unfused_bytes'] / 1e6:.1f} MB")
        for provider in others:
            row = group[provider]
            if row is None:
                cells += ["", ""]
            elif row.error:
                cells += ["ERROR", "-"]
                marks.append(f"{provider}: {row.error}".replace("|", "\\|"))
            else:
                known = ours is not None and not ours.error and ours.median > 0
                cells += [time_text(row.median), f"{row.median / ours.median:.2f}" if known else "-"]
        lines.append("| " + " | ".join(cells + [", ".join(marks)]) + " |")
    return lines


def origin(context):
    """Where the numbers of a file come from, in a line."""
    load = context.get("load_avg") or ["unknown"]
    ceilings = ", ".join(f"{k.removeprefix('ceiling_').replace('_', ' ')} {v}" for k, v in sorted(context.items()) if k.startswith("ceiling_"))
    libraries = ", ".join(f"{k} {context[k]}" for k in ("blas", "cuda_toolkit", "cuBLASLt", "cuDNN", "torch") if k in context)
    return (f"{context.get('date', 'no date')}: panvae {context.get('panvae', '?')} on {context.get('device_name', '?')} ({context.get('device', '?')}, "
            f"{context.get('threads', '?')} threads), {libraries}; load {load[0]} at the start; ceilings at the start: {ceilings or 'none'}")


def same_machine(contexts):
    """A warning where files come from different machines, or none."""
    for key in ("device_name", "device", "threads"):
        values = sorted({str(c.get(key, "")) for c in contexts if c.get(key)})
        if len(values) > 1:
            return f"the files differ in {key}: {', '.join(values)}"
    return ""


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--aa", nargs=2, metavar="FILE", help="two runs of the same program, which tell the noise")
    parser.add_argument("--same", type=float, default=5, metavar="PERCENT", help="a gap that does not matter (default: %(default)s)")
    parser.add_argument("--table", action="store_true", help="a Markdown table instead of a comparison")
    options = parser.parse_args(argv)
    try:
        loaded = [load(path) for path in options.files]
        contexts = [context for context, _ in loaded]
        if options.table:
            print("\n".join(["- " + origin(context) for context in contexts] + [""] + table(gather([rows for _, rows in loaded]))))
        else:
            if len(loaded) < 2:
                raise InputError("a comparison needs two files or more; --table makes a table of one")
            noise = Noise()
            if options.aa:
                pair = [load(path) for path in options.aa]
                contexts += [context for context, _ in pair]
                noise = Noise(pair[0][1], pair[1][1])
            for path, (_, rows) in zip(options.files[1:], loaded[1:]):
                print(f"{options.files[0]} -> {path}")
                print("\n".join(compare(loaded[0][1], rows, noise, options.same / 100)[0]))
        warning = same_machine(contexts)
        if warning:
            print(f"compare.py: warning: {warning}", file=sys.stderr)
    except InputError as error:
        print(f"compare.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has seen enough; nothing more may be written, also when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)
