#!/usr/bin/env python3
"""panvae from raw counts to results, beside the same steps in Python (python_pipeline.py): seconds and peak memory of each phase.

  pipeline.py --panvae build/panvae --data FOLDER --out FOLDER [--sets real,simulated] [--samples 10000] [--genes 19421]

real: rna_counts_full_6cohorts of --data (a gzipped table), tumours. simulated: a .h5ad that `panvae simulate` makes in FOLDER once.
Both sides have the same counts, split, variance filter (none), hyperparameters, epochs and threads; panvae's commands are processes
of their own that hand files on, Python is one process that holds everything in memory. The normalised matrices must agree, and the
numbers of samples, genes and epochs must be equal. --sets, sizes and epochs say how long it takes: an epoch of the simulated set is
225 steps of 32 samples.

Writes FOLDER/pipeline.json and FOLDER/pipeline.md. Goals: under 0.5 of Python's time for everything but training, under 0.8 in all.
Exit status: 0; 1 if a program failed or computed something else; 2 for wrong usage.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from interleave import HERE, context

TOLERANCE = 1e-3  # of normalised log2 values
GOAL_BUT_TRAINING, GOAL = 0.5, 0.8
# A phase of the table: its name, panvae's commands, Python's phases, and what differs between the two by design.
PHASES = [
    ("start", [], ["start"], "importing the libraries"),
    ("read and preprocess", ["preprocess"], ["read", "preprocess"], "panvae writes the normalised matrix to a file"),
    ("PCA", ["pca"], ["pca"], ""),
    ("training", ["train"], ["train"], "panvae reads the matrix, writes the run and finds the axes of the embedding"),
    ("embedding", ["embed"], ["embed"], "panvae reads matrix and run; Python has both in memory"),
    ("accuracy of both embeddings", ["cohort of pca", "cohort of vae"], ["accuracy"], "panvae reads the embeddings"),
]


class PipelineError(Exception):
    """A program failed, or the two sides computed different things."""


def run(command, environment):
    """Seconds and peak memory of a command."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise PipelineError(f"status {process.returncode} of {' '.join(command)}")
    return {"seconds": time.perf_counter() - start, "peak_bytes": usage.ru_maxrss * 1024}


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def run_python(options, data, folder, environment):
    command = [sys.executable, os.path.join(HERE, "python_pipeline.py"), data["counts"], "--out", folder, "--epochs", str(data["epochs"]), "--batch",
               str(options.batch), "--threads", str(options.threads)]
    if data["obs"]:
        command += ["--obs", data["obs"], "--where", data["where"]]
    whole = run(command, environment)
    result = read_json(f"{folder}/result.json")
    return {**result, "peak_bytes": whole["peak_bytes"], "phases": {p["phase"]: p for p in result["phases"]}}


def run_panvae(options, data, folder, split, environment):
    """The same by panvae's commands; the split is Python's where the file has none."""
    os.makedirs(folder, exist_ok=True)
    matrix, common = f"{folder}/x.h5ad", ["--threads", str(options.threads), "--quiet"]
    table = ["--rows", "features", "--obs", data["obs"], "--where", data["where"], "--split-from", split] if data["obs"] else []
    settings = ["--set", f"train.max_epochs={data['epochs']}", "--set", f"train.patience={data['epochs']}", "--set", f"train.batch_size={options.batch}"]
    commands = {
        "preprocess": ["preprocess", "-o", matrix, data["counts"], "--modality", "rna", "--var-filter", "none", *table],
        "pca": ["pca", "-o", f"{folder}/pca.h5ad", matrix, "--components", "512"],
        "train": ["train", "rna", "-o", f"{folder}/run", matrix, "--overwrite", "--device", "cpu", *settings],
        "embed": ["embed", "-o", f"{folder}/vae.h5ad", f"{folder}/run", matrix, "--axes", "latent", "--device", "cpu"],
        "cohort of pca": ["evaluate", "cohort", f"{folder}/pca.h5ad", "--on", "holdout"],
        "cohort of vae": ["evaluate", "cohort", f"{folder}/vae.h5ad", "--on", "holdout"],
    }
    phases, answers = {}, {}
    for name, command in commands.items():
        answer = f"{folder}/{name.replace(' ', '-')}.json"
        phases[name] = run([options.panvae, *command, *common, "--json", answer], environment)
        answers[name] = read_json(answer)
    return {
        "phases": phases, "samples": answers["preprocess"]["samples"], "genes": answers["preprocess"]["features"], "split": answers["preprocess"]["split"],
        "epochs": answers["train"]["epochs"], "accuracy": {e: answers[f"cohort of {e}"]["accuracy_mean"] for e in ("pca", "vae")},
        "pca_method": answers["pca"]["method"], "peak_bytes": max(p["peak_bytes"] for p in phases.values()),
    }


def check_agreement(ours, python, matrix, folder):
    """The largest difference of the normalised matrices; an error where the two sides did not compute the same."""
    for key in ("samples", "genes", "epochs", "split"):
        if ours[key] != python[key]:
            raise PipelineError(f"{key}: panvae {ours[key]}, Python {python[key]}")
    import h5py  # here, so that tables are tested where there is neither
    import numpy as np

    names, theirs = read_json(f"{folder}/names.json"), np.load(f"{folder}/normalised.npy", mmap_mode="r")
    with h5py.File(matrix) as file:
        samples, genes = (list(file[g][file[g].attrs["_index"]].asstr()[:]) for g in ("obs", "var"))
        if samples != names["samples"] or genes != names["genes"]:
            raise PipelineError("the two sides have samples or genes in different orders")
        largest = max(float(np.abs(file["X"][i:i + 500] - theirs[i:i + 500]).max()) for i in range(0, len(samples), 500))
    if not largest <= TOLERANCE:
        raise PipelineError(f"the normalised matrices differ by {largest:.2g}")
    return largest


def sums(phases, names):
    """Seconds and peak of some phases together; None where there are none."""
    chosen = [phases[n] for n in names]
    return {"seconds": sum(p["seconds"] for p in chosen), "peak_bytes": max(p["peak_bytes"] for p in chosen)} if chosen else None


def rows_of(runs):
    """The rows of a set's table: of several runs the medians."""
    def median(side, names):
        of_runs = [sums(r[side]["phases"], names) for r in runs]
        return {k: statistics.median(s[k] for s in of_runs) for k in of_runs[0]} if of_runs[0] else {"seconds": 0.0, "peak_bytes": 0}

    rows = [(name, median("panvae", ours), median("python", python), note) for name, ours, python, note in PHASES]
    for name, phases in (("all but training", [p for p in PHASES if p[0] != "training"]), ("in all", PHASES)):
        rows.append((name, median("panvae", [n for p in phases for n in p[1]]), median("python", [n for p in phases for n in p[2]]), ""))
    result = []
    for name, ours, python, note in rows:
        ratio = ours["seconds"] / python["seconds"]
        goal = {"all but training": GOAL_BUT_TRAINING, "in all": GOAL}.get(name, 1.0)
        missed = ["slower"] if ratio >= 1 else [f"above {goal:g}"] if ratio > goal else []
        if ours["peak_bytes"] > python["peak_bytes"]:
            missed.append("more memory")
        result.append({"phase": name, "panvae_seconds": ours["seconds"], "python_seconds": python["seconds"], "ratio": ratio,
                       "panvae_peak_bytes": ours["peak_bytes"], "python_peak_bytes": python["peak_bytes"], "missed": missed, "what_differs": note})
    return result


def table(entry):
    """Markdown of a set."""
    first = entry["runs"][0]
    ours, python = first["panvae"], first["python"]
    lines = [
        f"**{entry['name']}**: {ours['samples']} samples x {ours['genes']} genes, {ours['epochs']} epochs of batches of {entry['batch']}; "
        f"normalised values agree to {first['largest_difference']:.1e}; accuracy by PCA {ours['accuracy']['pca']:.3f} (Python "
        f"{python['accuracy']['pca']:.3f}), by the VAE {ours['accuracy']['vae']:.3f} ({python['accuracy']['vae']:.3f}); PCA {ours['pca_method']} "
        f"(scikit-learn: {python['pca_solver']})", "",
        "| phase | panvae, s | Python, s | panvae / Python | panvae, MiB | Python, MiB | | what differs |", "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in entry["table"]:
        missed = f"**{', '.join(row['missed'])}**" if row["missed"] else ""
        ours_mib, python_mib = row["panvae_peak_bytes"] / 2**20, row["python_peak_bytes"] / 2**20
        lines.append(f"| {row['phase']} | {row['panvae_seconds']:.2f} | {row['python_seconds']:.2f} | {row['ratio']:.2f} | {ours_mib:.0f} | {python_mib:.0f} | "
                     f"{missed} | {row['what_differs']} |")
    return lines


def simulated_counts(options, environment):
    folder = f"{options.out}/simulated-{options.samples}x{options.genes}"
    if not os.path.exists(f"{folder}/truth.json"):  # the last file that it writes
        print(f"simulating {options.samples} x {options.genes}", file=sys.stderr)
        size = ["--donors", str(options.samples), "--genes", str(options.genes), "--peaks", "0", "--replicated-fraction", "0"]
        run([options.panvae, "simulate", "-o", folder, *size, "--threads", str(options.threads), "--quiet"], environment)
    return f"{folder}/rna.h5ad"


def data_of(options, name, environment):
    if name == "simulated":
        return {"counts": simulated_counts(options, environment), "obs": None, "where": None, "epochs": options.simulated_epochs}
    base = os.path.join(options.data, "rna_counts_full_6cohorts")
    return {"counts": base + ".tsv.gz", "obs": base + "_obs.tsv", "where": "sample_type=tumor", "epochs": options.epochs}


def run_set(options, name, environment):
    data = data_of(options, name, environment)
    with open(data["counts"], "rb") as file:  # neither side waits for the disk
        while file.read(1 << 24):
            pass
    entry = {"name": name, "batch": options.batch, "runs": []}
    for repeat in range(options.repeats):
        folders = {side: f"{options.out}/{name}/{side}" for side in ("python", "panvae")}
        print(f"{name}, run {repeat + 1} of {options.repeats}: Python", file=sys.stderr)
        python = run_python(options, data, folders["python"], environment)
        print(f"{name}, run {repeat + 1} of {options.repeats}: panvae", file=sys.stderr)
        ours = run_panvae(options, data, folders["panvae"], f"{folders['python']}/split.tsv", environment)
        difference = check_agreement(ours, python, f"{folders['panvae']}/x.h5ad", folders["python"])
        entry["runs"].append({"panvae": ours, "python": python, "largest_difference": difference})
    entry["table"] = rows_of(entry["runs"])
    return entry


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panvae", required=True, metavar="FILE")
    parser.add_argument("--data", default="", metavar="FOLDER", help="where rna_counts_full_6cohorts.tsv.gz and _obs.tsv are")
    parser.add_argument("--out", required=True, metavar="FOLDER")
    parser.add_argument("--sets", default="real,simulated")
    parser.add_argument("--samples", type=int, default=10000, help="of the simulated set (default 10000)")
    parser.add_argument("--genes", type=int, default=19421, help="of the simulated set (default 19421)")
    parser.add_argument("--epochs", type=int, default=40, help="of the real set (default 40, as panvae's)")
    parser.add_argument("--simulated-epochs", type=int, default=12, help="of the simulated set (default 12: two beyond the KL warm-up)")
    parser.add_argument("--batch", type=int, default=32, help="samples of a step (default 32, as panvae's)")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each side, in turns; tables have the medians (default 1)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args(argv)
    options.sets = options.sets.split(",")
    if not set(options.sets) <= {"real", "simulated"}:
        parser.error("--sets are real and simulated")
    if options.repeats < 1 or options.epochs < 1 or options.simulated_epochs < 1:
        parser.error("--repeats and epochs are at least 1")
    return options


def main(argv):
    options = parse(argv)
    os.makedirs(options.out, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    if "real" in options.sets and not os.path.exists(os.path.join(options.data, "rna_counts_full_6cohorts.tsv.gz")):
        print(f"pipeline.py: no rna_counts_full_6cohorts.tsv.gz in {options.data or 'no folder'}: the real set is left out", file=sys.stderr)
        options.sets.remove("real")
    result, status = {"context": context(options.threads), "sets": []}, 0
    lines = [f"- {result['context']['date']}: panvae {result['context']['panvae']} on {result['context']['processor']}, {options.threads} threads; load "
             f"{result['context']['load_at_the_start']:.2f} at the start"]
    for name in options.sets:
        try:
            entry = run_set(options, name, environment)
        except (PipelineError, OSError) as error:
            print(f"pipeline.py: {name}: {error}", file=sys.stderr)
            lines += ["", f"**{name}**: FAILED: {error}"]
            result["sets"].append({"name": name, "error": str(error)})
            status = 1
        else:
            if not result["sets"]:
                lines.append("- " + ", ".join(f"{k} {v}" for k, v in entry["runs"][0]["python"]["versions"].items()))
            result["sets"].append(entry)
            lines += ["", *table(entry)]
        with open(f"{options.out}/pipeline.json", "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
        with open(f"{options.out}/pipeline.md", "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
