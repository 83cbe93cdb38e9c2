#!/usr/bin/env python3
"""Training steps of bench_train_step beside PyTorch, eager and compiled, in turns. Python 3, standard library only.

  interleave.py --program build/bench/bench_train_step --python VENV/bin/python --out FOLDER [--rows rna:256,block:64,...]
                [--device cuda] [--math tf32,bf16]

For each row (model:batch) the three programs live side by side, and each round asks ours, eager and compiled, one after the other,
for some steps, so that what changes on the machine within minutes changes for all. Both of PyTorch's have taken the first steps
from our weights, samples and noise before, with our losses (torch_vae.py). A ratio is the median over rounds of the ratio of the
two medians within a round. The floor, and the products of the step by PyTorch alone, are measured in every round too.

On cuda the first steps are taken on the cpu in ieee, and all three are held against them, as closely as their math allows. Ours runs
as a CUDA graph, compiled as PyTorch's own graphs; every step ends with the device waited for.

Writes FOLDER/steps.json and FOLDER/steps.md. Rows that miss a goal stay, with the reason that the parts show: at most 0.8 of
eager's time, less than compiled's, less memory than either; on cuda the RNA step within 1.25 of its floor.
Exit status: 0; 1 if a program failed or a loss was wrong; 2 for wrong usage.
"""
import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys

ROWS = "rna:256,block:64,block:256,hierarchical:64"
GOAL = 0.8  # of eager's time
GOAL_FLOOR = 1.25  # of the floor's, for the RNA step on cuda
MATHS = {"cpu": ["ieee"], "cuda": ["ieee", "tf32", "bf16"]}
THIRD_LOSS = {"ieee": 1e-3, "tf32": 1e-2, "bf16": 3e-2}  # how far ours may lie on cuda after two steps, relative: as torch_vae.py has it
PROVIDERS = ("ours", "eager", "compiled")
HERE = os.path.dirname(os.path.abspath(__file__))


class PeerError(Exception):
    """A program that did not do what it was asked."""


class Worker:
    """A program that answers each line with one of JSON; the first answer says what it is."""

    def __init__(self, name, command, environment=None):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            self.hello = self.answer()
        except PeerError:
            self.close()
            raise

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"{self.name} ended with status {self.process.wait()}")
        try:
            return json.loads(line)
        except ValueError as error:
            raise PeerError(f"{self.name} says {line.strip()!r}") from error

    def ask(self, command):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise PeerError(f"{self.name} ended with status {self.process.wait()}") from error
        return self.answer()

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.stdout.close()
        self.process.wait()


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(workers, rounds, count):
    """A row's numbers: of each provider, of the floor, and of the products by BLAS and by PyTorch."""
    seconds = {name: [] for name in workers}
    peaks = {name: 0 for name in workers}
    floors, blas, torch_products = [], [], []
    for _ in range(rounds):
        for name, worker in workers.items():
            answer = worker.ask(f"steps {count}")
            seconds[name].append(answer["seconds"])
            # Ours is the peak of the steps alone: measuring the floor takes memory too.
            if name != "ours" or not floors:
                peaks[name] = max(peaks[name], answer["peak_bytes"])
        floor = workers["ours"].ask("floor")
        floors.append(floor["floor_seconds"])
        blas.append(floor["product_seconds"])
        if "eager" in workers:
            products = [{k: p[k] for k in ("M", "N", "K", "ta", "tb")} for p in floor["products"]]
            torch_products.append(workers["eager"].ask("products " + json.dumps(products))["product_seconds"])
    medians = {name: [statistics.median(s) for s in of_rounds] for name, of_rounds in seconds.items()}
    row = {"rounds": rounds, "steps_per_round": count, "providers": {}}
    for name, of_rounds in seconds.items():
        together = [s for s in of_rounds for s in s]
        row["providers"][name] = {
            "median_ms": statistics.median(together) * 1e3, "p20_ms": quantile(together, 0.2) * 1e3, "p80_ms": quantile(together, 0.8) * 1e3,
            "round_medians_ms": [s * 1e3 for s in medians[name]], "peak_bytes": peaks[name],
        }
        if name != "ours":
            row[f"ours_over_{name}_rounds"] = [a / b for a, b in zip(medians["ours"], medians[name])]
            row[f"ours_over_{name}"] = statistics.median(row[f"ours_over_{name}_rounds"])
    row["floor_ms"] = statistics.median(floors) * 1e3
    row["ours_over_floor"] = statistics.median(a / b for a, b in zip(medians["ours"], floors))
    row["blas_products_ms"] = statistics.median(blas) * 1e3
    if torch_products:
        row["torch_products_ms"] = statistics.median(torch_products) * 1e3
    return row


def judge(row, device="cpu"):
    """What a row misses, in words, and why, as far as its parts tell."""
    missed, reasons = [], []
    providers = row["providers"]
    ours = providers["ours"]
    for name, goal in (("eager", GOAL), ("compiled", 1.0)):
        if name not in providers:
            continue
        ratio = row[f"ours_over_{name}"]
        if ratio >= 1:
            missed.append(f"slower than {name}")
        elif ratio > goal:
            missed.append(f"above {goal:g} of {name}")
        if ours["peak_bytes"] >= providers[name]["peak_bytes"]:
            missed.append(f"more memory than {name}")
    if device == "cuda" and row["model"] == "rna" and row["ours_over_floor"] > GOAL_FLOOR:
        missed.append(f"above {GOAL_FLOOR:g} of the floor")
    if any("memory" not in m for m in missed) and "torch_products_ms" in row:
        blas, torch_products = row["blas_products_ms"], row["torch_products_ms"]
        library = "our BLAS" if device == "cpu" else "ours"
        digits = 0 if device == "cpu" else 2
        parts = [f"products alone: {library} {blas:.{digits}f} ms, PyTorch's {torch_products:.{digits}f} ms"]
        rest = {name: p["median_ms"] - (blas if name == "ours" else torch_products) for name, p in providers.items()}
        parts.append("all else: " + ", ".join(f"{name} {ms:.{digits}f} ms" for name, ms in rest.items()))
        if blas > GOAL * providers["eager"]["median_ms"]:
            parts.append(f"our products alone take {blas / providers['eager']['median_ms']:.2f} of eager's step, so the goal is out of reach with these products")
        elif blas > 1.1 * torch_products:
            parts.append("the products are slower")
        else:
            parts.append("the products are not what is slower")
        reasons.append("; ".join(parts))
    return missed, ". ".join(reasons)


def write_first(options, model, batch, environment):
    """The file of the first steps, and the loss of the third."""
    first = os.path.join(options.out, f"{model}-{batch}.safetensors")
    command = [options.program, "--model", model, "--batch", str(batch), *options.shape, "--write", first]
    said = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout
    try:
        return first, float(said.rsplit(",", 1)[1])
    except (IndexError, ValueError):
        return first, None


def check_ours(worker, math, third):
    """The relative difference of our third step's loss on a GPU from that on the cpu."""
    if third is None:
        raise PeerError("bench_train_step --write did not say its losses")
    return abs(float.fromhex(worker.ask("steps 2")["losses"].split()[0]) - third) / abs(third)


def run_row(options, model, batch, math, first, third, environment):
    row = {"model": model, "batch": batch, "math": math, "errors": {}, "losses": {}}
    cuda = options.device == "cuda"
    ours = [options.program, "--model", model, "--batch", str(batch), *options.shape, "--serve", *(["--device", "cuda", "--precision", math] if cuda else [])]
    peer = [options.python, os.path.join(HERE, "torch_vae.py"), first, "--serve", *(["--device", "cuda", "--math", math] if cuda else []), "--mode"]
    workers = {}
    try:
        for name in PROVIDERS:
            try:
                worker = Worker(name, ours if name == "ours" else [*peer, name], environment)
            except (PeerError, OSError) as error:
                row["errors"][name] = str(error)
                continue
            workers[name] = worker
            row.setdefault("hello", {})[name] = worker.hello
            if name == "ours":
                if not cuda:
                    continue
                differences = [check_ours(worker, math, third)]
                agree = differences[0] <= THIRD_LOSS[math]
            else:
                differences, agree = worker.hello["loss_differences"], worker.hello["losses_agree"]
            row["losses"][name] = differences
            if not agree:
                row["errors"][name] = "WRONG: losses differ by " + ", ".join(f"{d:.1e}" for d in differences)
                workers.pop(name).close()
        if "ours" in workers:
            row.update(measure(workers, options.rounds, options.count))
            row["missed"], row["reason"] = judge(row, options.device)
    except PeerError as error:
        row["errors"]["run"] = str(error)
    finally:
        for worker in workers.values():
            worker.close()
    return row


def row_of(options, model, batch, math, environment):
    """As run_row, with the file of first steps, which is gone afterwards."""
    first = None
    try:
        first, third = write_first(options, model, batch, environment)
        return run_row(options, model, batch, math, first, third, environment)
    except (OSError, subprocess.CalledProcessError) as error:
        return {"model": model, "batch": batch, "math": math, "errors": {"ours": str(error)}, "losses": {}}
    finally:
        if first and not options.keep:
            os.remove(first)


def mib(provider):
    return f"{provider['peak_bytes'] / 2**20:.0f}" if provider else "-"


def table(rows):
    """Markdown."""
    head = ["model", "batch", "math", "ours, ms", "p20 to p80", "eager, ms", "compiled, ms", "ours / eager", "ours / compiled", "floor, ms", "ours / floor",
            "ours, MiB", "eager, MiB", "compiled, MiB", "", "reason"]
    lines = ["| " + " | ".join(head) + " |", "|---|---:|---" + "|---:" * (len(head) - 5) + "|---|---|"]
    for row in rows:
        providers = row.get("providers", {})
        ours = providers.get("ours")
        digits = 1 if not ours or ours["median_ms"] >= 10 else 3
        ms = {name: f"{providers[name]['median_ms']:.{digits}f}" if name in providers else "-" for name in PROVIDERS}
        ratio = {key: f"{row[key]:.2f}" if key in row else "-" for key in ("ours_over_eager", "ours_over_compiled", "ours_over_floor")}
        words = [f"{name}: {text}" for name, text in row["errors"].items()] + row.get("missed", [])
        lines.append("| " + " | ".join([
            row["model"], str(row["batch"]), row["math"], ms["ours"], f"{ours['p20_ms']:.{digits}f} to {ours['p80_ms']:.{digits}f}" if ours else "-",
            ms["eager"], ms["compiled"], ratio["ours_over_eager"], ratio["ours_over_compiled"],
            f"{row['floor_ms']:.{digits}f}" if "floor_ms" in row else "-", ratio["ours_over_floor"],
            *(mib(providers.get(name)) for name in PROVIDERS), "**" + ", ".join(words) + "**" if words else "all goals reached", row.get("reason", ""),
        ]).replace("\n", " ") + " |")
    return lines


def processor(cpuinfo="/proc/cpuinfo"):
    """As panvae_bench calls it (bench/processor.h)."""
    said = {}
    try:
        with open(cpuinfo, encoding="utf-8") as file:
            for line in file:
                key, _, value = line.partition(":")
                said.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    if "model name" in said:
        return said["model name"]
    if "CPU implementer" in said and "CPU part" in said:
        return f"CPU implementer {said['CPU implementer']}, part {said['CPU part']}"
    return platform.processor() or platform.machine()


def context(threads):
    root = os.path.dirname(os.path.dirname(HERE))
    commit = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False).stdout.strip()
    return {"date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"), "panvae": commit or "unknown", "processor": processor(),
            "threads": threads, "load_at_the_start": os.getloadavg()[0]}


def origin(context, rows):
    """Where the numbers come from, in lines."""
    hellos = [row["hello"] for row in rows if "hello" in row]
    ours = next((h["ours"] for h in hellos if "ours" in h), {})
    peer = next((h[name] for h in hellos for name in ("eager", "compiled") if name in h), {})
    differences = [d[0] for row in rows for d in row["losses"].values()]
    device = ours.get("device_name") or context["processor"]
    own_code = peer.get("resident_after_import_bytes", 0) / 2**20
    return [
        f"- {context['date']}: panvae {context['panvae']} on {device}, {context['threads']} threads, {ours.get('blas', 'no BLAS')}; "
        f"PyTorch {peer.get('torch', 'missing')}, {peer.get('adam', 'no')} Adam; load {context['load_at_the_start']:.2f} at the start",
        f"- {context['rounds']} rounds of {context['steps_per_round']} steps, in turns; "
        + (f"the same weights, samples and noise gave losses that agree to {max(differences):.1e}" if differences else "no loss was compared"),
        "- memory: what is held of the device's at the peak, without the samples" if context.get("device") == "cuda" else
        f"- memory: of the process at its peak, without the samples; PyTorch itself takes {own_code:.0f} MiB of it",
    ]


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, metavar="FILE", help="bench_train_step")
    parser.add_argument("--python", default=sys.executable, metavar="FILE", help="a Python with PyTorch")
    parser.add_argument("--out", required=True, metavar="FOLDER")
    parser.add_argument("--rows", default=ROWS, help=f"model:batch, separated by commas (default {ROWS})")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=7, help="steps of a round (default 7)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--shape", nargs="*", default=[], metavar="OPTION=N", help="options of bench_train_step for other sizes, without dashes: genes=500")
    parser.add_argument("--device", choices=list(MATHS), default="cpu")
    parser.add_argument("--math", help="ieee, tf32, bf16, separated by commas (default: ieee on cpu, tf32,bf16 on cuda)")
    parser.add_argument("--keep", action="store_true", help="keep the files of first steps")
    options = parser.parse_args(argv)
    options.shape = [word for pair in options.shape for word in ("--" + pair).split("=", 1)]
    try:
        options.rows = [(model, int(batch)) for model, batch in (row.split(":") for row in options.rows.split(","))]
    except ValueError:
        parser.error(f"--rows is a list of model:batch, not {options.rows}")
    options.math = (options.math or ("ieee" if options.device == "cpu" else "tf32,bf16")).split(",")
    for math in options.math:
        if math not in MATHS[options.device]:
            parser.error(f"--math on {options.device} is of {', '.join(MATHS[options.device])}, not {math}")
    if options.rounds < 1 or options.count < 1 or options.threads < 1:
        parser.error("--rounds, --count and --threads are at least 1")
    return options


def main(argv):
    options = parse(argv)
    os.makedirs(options.out, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    result = {"context": {**context(options.threads), "rounds": options.rounds, "steps_per_round": options.count, "device": options.device},
              "rows": []}
    for model, batch, math in [(*row, math) for row in options.rows for math in options.math]:
        row = row_of(options, model, batch, math, environment)
        result["rows"].append(row)
        print(table([row])[-1], flush=True)
        result["context"]["load_at_the_end"] = os.getloadavg()[0]
        # After every row: what is measured is kept, whatever happens to the next.
        with open(os.path.join(options.out, "steps.json"), "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
        with open(os.path.join(options.out, "steps.md"), "w", encoding="utf-8") as file:
            file.write("\n".join([*origin(result["context"], result["rows"]), "", *table(result["rows"])]) + "\n")
    return 1 if any(row["errors"] for row in result["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
