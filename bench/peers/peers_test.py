"""python3 -m unittest peers_test, in this folder: turns, ratios, verdicts and tables, with programs that only pretend. No PyTorch."""
import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import unittest

import interleave
import pipeline

# Pretends to be bench_train_step, or torch_vae.py where --mode is given; the seconds of its steps are those of a file beside it.
PRETENDER = """
import json, os, sys
arguments = sys.argv[1:]
folder = os.path.dirname(os.path.abspath(__file__))
plan = json.load(open(os.path.join(folder, "plan.json")))
name = arguments[arguments.index("--mode") + 1] if "--mode" in arguments else "ours"
def say(value): print(json.dumps(value), flush=True)
if "--write" in arguments:
    open(arguments[arguments.index("--write") + 1], "w").close()
    print("x.safetensors: losses 4, 2, 1.5")
    sys.exit(plan.get("write", 0))
with open(os.path.join(folder, "commands"), "a") as log: log.write(name + " " + " ".join(arguments) + "\\n")
mine = plan[name]
if "dies" in mine: sys.exit(mine["dies"])
say({"blas": "pretended", "torch": "0", "adam": "fused", "loss_differences": [mine.get("difference", 0.0)] * 3,
     "losses_agree": mine.get("difference", 0.0) < 1e-4, "resident_after_import_bytes": 1 << 20})
turn = 0
for line in sys.stdin:
    if line == "steps 2\\n":  # what ours on a GPU is checked by
        say({"losses": " ".join(float(x).hex() for x in (mine.get("third", 1.5), 1, 0.5))})
        continue
    with open(os.path.join(folder, "log"), "a") as log: log.write(name + " " + line.split()[0] + "\\n")
    if line.startswith("steps"):
        s = mine["seconds"][turn]
        turn += 1
        say({"seconds": [s, 2 * s, s], "peak_bytes": mine["mib"] * turn << 20})
    elif line.startswith("floor"):
        product = {"what": "a", "M": 1, "N": 2, "K": 3, "ta": True, "tb": False, "seconds": 1}
        say({"floor_seconds": 0.1 * turn, "product_seconds": plan["blas"], "products": [product]})
    else:
        assert json.loads(line.split(maxsplit=1)[1]) == [{"M": 1, "N": 2, "K": 3, "ta": True, "tb": False}]
        say({"product_seconds": plan["torch"]})
"""


class Run(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def run_with(self, rounds=3, options=(), **plan):
        """Exit status, the only row (where options make several: all), and the lines of the Markdown, of a run of pretenders."""
        everything = {"ours": {"seconds": [1, 1, 1], "mib": 10}, "eager": {"seconds": [2, 2, 2], "mib": 40},
                      "compiled": {"seconds": [1.5, 1.5, 1.5], "mib": 50}, "blas": 0.5, "torch": 0.5}
        everything.update(plan)
        for name, text in (("program", f"#!{sys.executable}\n{PRETENDER}"), ("plan.json", json.dumps(everything))):
            with open(self.path(name), "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(self.path(name), 0o755)
        # "Python" is a program that leaves out torch_vae.py's name and pretends likewise.
        with open(self.path("python"), "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nshift\nexec "{self.path("program")}" "$@"\n')
        os.chmod(self.path("python"), 0o755)
        with contextlib.redirect_stdout(io.StringIO()):
            status = interleave.main(["--program", self.path("program"), "--python", self.path("python"), "--out", self.path("out"), "--rows", "rna:8",
                                      "--rounds", str(rounds), "--count", "3", "--threads", "1", *options])
        with open(self.path("out/steps.json"), encoding="utf-8") as file:
            rows = json.load(file)["rows"]
            row = rows[0] if len(rows) == 1 else rows
        with open(self.path("out/steps.md"), encoding="utf-8") as file:
            return status, row, file.read().splitlines()

    def test_takes_turns(self):
        self.run_with(rounds=2)
        with open(self.path("log"), encoding="utf-8") as file:
            turns = file.read().split("\n")[:-1]
        self.assertEqual(turns, ["ours steps", "eager steps", "compiled steps", "ours floor", "eager products"] * 2)

    def test_all_goals_reached(self):
        status, row, lines = self.run_with()
        self.assertEqual(status, 0)
        self.assertEqual(row["missed"], [])
        self.assertAlmostEqual(row["ours_over_eager"], 0.5)
        self.assertAlmostEqual(row["ours_over_compiled"], 1 / 1.5)
        self.assertAlmostEqual(row["floor_ms"], 200)
        self.assertAlmostEqual(row["ours_over_floor"], 5)
        self.assertIn("all goals reached", lines[-1])

    def test_ratios_are_within_rounds(self):
        # The machine is four times slower in the second round and twice in the third, for all alike.
        _, row, _ = self.run_with(ours={"seconds": [1, 4, 2], "mib": 1}, eager={"seconds": [2, 8, 4], "mib": 2}, compiled={"seconds": [1, 8, 4], "mib": 2})
        self.assertEqual(row["ours_over_eager_rounds"], [0.5, 0.5, 0.5])
        self.assertEqual(row["ours_over_compiled"], 0.5)
        self.assertEqual(row["providers"]["ours"]["round_medians_ms"], [1000, 4000, 2000])

    def test_peak_of_ours_is_from_before_the_floor(self):
        _, row, _ = self.run_with()
        self.assertEqual({name: p["peak_bytes"] >> 20 for name, p in row["providers"].items()}, {"ours": 10, "eager": 120, "compiled": 150})

    def test_losing_rows_stay_and_say_why(self):
        status, row, lines = self.run_with(eager={"seconds": [0.9] * 3, "mib": 1}, blas=0.8, torch=0.3)
        self.assertEqual(status, 0)  # to lose is a result
        self.assertEqual(row["missed"], ["slower than eager", "more memory than eager"])
        self.assertIn("our products alone take 0.89 of eager's step", row["reason"])
        self.assertIn("**slower than eager, more memory than eager**", lines[-1])
        _, row, _ = self.run_with(eager={"seconds": [1.2] * 3, "mib": 40}, blas=0.5, torch=0.5)
        self.assertEqual(row["missed"], ["above 0.8 of eager"])
        self.assertIn("the products are not what is slower", row["reason"])

    def test_wrong_losses_are_not_timed(self):
        status, row, lines = self.run_with(eager={"seconds": [2] * 3, "mib": 40, "difference": 0.01})
        self.assertEqual(status, 1)
        self.assertNotIn("eager", row["providers"])
        self.assertIn("compiled", row["providers"])
        self.assertIn("WRONG: losses differ by 1.0e-02", lines[-1])

    def test_a_program_that_dies_is_a_row(self):
        status, row, lines = self.run_with(compiled={"dies": 3})
        self.assertEqual(status, 1)
        self.assertIn("ended with status 3", row["errors"]["compiled"])
        self.assertIn("ended with status 3", lines[-1])
        self.assertAlmostEqual(row["ours_over_eager"], 0.5)
        status, row, lines = self.run_with(ours={"dies": 4})
        self.assertEqual(status, 1)
        self.assertNotIn("providers", row)
        status, row, lines = self.run_with(write=2)
        self.assertEqual(status, 1)
        self.assertIn("ours", row["errors"])

    def test_on_a_gpu_in_each_math(self):
        status, rows, lines = self.run_with(rounds=2, options=["--device", "cuda"])
        self.assertEqual(status, 0)
        self.assertEqual([row["math"] for row in rows], ["tf32", "bf16"])
        with open(self.path("commands"), encoding="utf-8") as file:
            commands = file.read()
        for math in ("tf32", "bf16"):
            self.assertIn(f"--device cuda --precision {math}", commands)
            self.assertEqual(commands.count(f"--serve --device cuda --math {math} --mode"), 2)
        self.assertEqual(rows[0]["losses"], {"ours": [0.0], "eager": [0.0] * 3, "compiled": [0.0] * 3})
        self.assertIn("| rna | 8 | bf16 |", lines[-1])
        self.assertIn("**above 1.25 of the floor**", lines[-1])  # the pretended floor is a seventh of the step
        self.assertIn("held of the device's", "\n".join(lines))
        self.assertFalse(os.path.exists(self.path("out/rna-8.safetensors")))

    def test_ours_on_a_gpu_must_be_right_too(self):
        status, row, lines = self.run_with(options=["--device", "cuda", "--math", "tf32"], ours={"seconds": [1] * 3, "mib": 10, "third": 1.53})
        self.assertEqual(status, 1)
        self.assertNotIn("providers", row)
        self.assertIn("ours: WRONG: losses differ by 2.0e-02", lines[-1])
        status, row, lines = self.run_with(options=["--device", "cuda", "--math", "bf16"], ours={"seconds": [1] * 3, "mib": 10, "third": 1.53})
        self.assertEqual((status, row["errors"]), (0, {}))  # bf16 rounds more
        status, row, lines = self.run_with(options=["--device", "cuda", "--math", "bf16"], ours={"seconds": [1] * 3, "mib": 10, "third": float("nan")})
        self.assertEqual(status, 1)

    def test_wrong_usage(self):
        for wrong in (["--rows", "rna"], ["--rows", "rna:x"], ["--rounds", "0"], ["--count", "0"], ["--math", "tf32"], ["--device", "cuda", "--math", "fp8"],
                      ["--device", "tpu"]):
            with self.assertRaises(SystemExit) as caught, contextlib.redirect_stderr(io.StringIO()):
                interleave.parse(["--program", "p", "--out", "o", *wrong])
            self.assertEqual(caught.exception.code, 2)


def pipeline_run(scale=1.0, training=40.0):
    """A run of both sides; panvae's commands take `scale` seconds each, training as given."""
    ours = ["preprocess", "pca", "train", "embed", "cohort of pca", "cohort of vae"]
    python = ["start", "read", "preprocess", "pca", "train", "embed", "accuracy"]
    return {
        "panvae": {"phases": {n: {"seconds": training if n == "train" else scale, "peak_bytes": 100 << 20} for n in ours}, "samples": 7,
                   "genes": 5, "epochs": 3, "accuracy": {"pca": 0.5, "vae": 0.75}, "pca_method": "exact", "split": {"train": 5, "holdout": 2}},
        "python": {"phases": {n: {"seconds": 50.0 if n == "train" else 2.0, "peak_bytes": (200 if n == "train" else 90) << 20} for n in python}, "samples": 7,
                   "genes": 5, "epochs": 3, "accuracy": {"pca": 0.25, "vae": 0.125}, "pca_solver": "full", "split": {"train": 5, "holdout": 2}},
        "largest_difference": 1e-6,
    }


class Pipeline(unittest.TestCase):
    def row(self, name, *runs):
        return next(r for r in pipeline.rows_of(runs) if r["phase"] == name)

    def test_phases_are_added_up(self):
        row = self.row("read and preprocess", pipeline_run())
        self.assertEqual((row["panvae_seconds"], row["python_seconds"], row["ratio"]), (1, 4, 0.25))
        self.assertEqual(row["missed"], ["more memory"])  # 100 MiB against 90
        self.assertEqual(self.row("accuracy of both embeddings", pipeline_run())["panvae_seconds"], 2)
        self.assertEqual(self.row("start", pipeline_run())["panvae_seconds"], 0)

    def test_goals(self):
        row = self.row("all but training", pipeline_run())
        self.assertEqual((row["panvae_seconds"], row["python_seconds"]), (5, 12))
        self.assertEqual(row["missed"], ["more memory"])
        row = self.row("in all", pipeline_run())
        self.assertEqual((row["panvae_seconds"], row["python_seconds"], row["missed"]), (45, 62, []))
        self.assertEqual(self.row("all but training", pipeline_run(scale=2.0))["missed"], ["above 0.5", "more memory"])
        self.assertEqual(self.row("in all", pipeline_run(training=50.0))["missed"], ["above 0.8"])
        self.assertEqual(self.row("training", pipeline_run(training=50.0))["missed"], ["slower"])

    def test_medians_of_runs(self):
        runs = [pipeline_run(scale=s) for s in (1.0, 9.0, 1.5)]
        self.assertEqual(self.row("PCA", *runs)["panvae_seconds"], 1.5)
        self.assertEqual(self.row("all but training", *runs)["panvae_seconds"], 7.5)

    def test_table_keeps_losing_phases(self):
        runs = [pipeline_run(scale=3.0)]
        lines = pipeline.table({"name": "real", "batch": 32, "runs": runs, "table": pipeline.rows_of(runs)})
        self.assertIn("7 samples x 5 genes, 3 epochs", lines[0])
        (line,) = [line for line in lines if line.startswith("| embedding")]
        self.assertIn("| 3.00 | 2.00 | 1.50 | 100 | 90 | **slower, more memory** |", line)
        self.assertEqual(len(lines), 4 + len(pipeline.PHASES) + 2)

    def test_another_computation_is_refused(self):
        for key, value in (("samples", 8), ("genes", 4), ("epochs", 2), ("split", {"train": 7})):
            run = pipeline_run()
            run["python"][key] = value
            with self.assertRaisesRegex(pipeline.PipelineError, key):
                pipeline.check_agreement(run["panvae"], run["python"], "none", "none")

    def test_a_command_is_measured_or_an_error(self):
        done = pipeline.run([sys.executable, "-c", "x = bytearray(64 << 20); x[::4096] = b'1' * len(x[::4096])"], os.environ)
        self.assertGreater(done["peak_bytes"], 64 << 20)
        self.assertGreater(done["seconds"], 0)
        with self.assertRaisesRegex(pipeline.PipelineError, "status 3 of "):
            pipeline.run([sys.executable, "-c", "raise SystemExit(3)"], os.environ)


class Processor(unittest.TestCase):
    def name_in(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "cpuinfo")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            return interleave.processor(path)

    def test_is_called_by_its_model_name_or_on_arm_by_its_numbers(self):
        self.assertEqual(self.name_in("processor\t: 0\nmodel\t: 143\nmodel name\t: Xeon: 2 GHz\n\nmodel name\t: other\n"), "Xeon: 2 GHz")
        self.assertEqual(self.name_in("CPU implementer\t: 0x41\nCPU part\t: 0xd4f\n\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"),
                         "CPU implementer 0x41, part 0xd4f")

    def test_that_nothing_names_has_the_name_of_its_kind(self):
        for text in ("", "CPU part\t: 0xd4f\n"):
            self.assertEqual(self.name_in(text), platform.processor() or platform.machine())


class Script(unittest.TestCase):
    script = os.path.join(interleave.HERE, "..", "run_peers.sh")

    def test_is_shell(self):
        subprocess.run(["bash", "-n", self.script], check=True)

    def test_wrong_usage(self):
        for arguments in ([], ["everything"], ["all", "--rounds", "3"]):
            done = subprocess.run(["bash", self.script, *arguments], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)

    def test_help_needs_no_pytorch(self):
        with tempfile.TemporaryDirectory() as folder:
            environment = dict(os.environ, BUILD=os.path.join(folder, "build"), PEERS_PYTHON="/nowhere/python")
            for arguments, text in ((["--help"], "PEERS_PYTHON"), (["steps", "--help"], "--rounds"), (["pipeline", "-h"], "--samples")):
                done = subprocess.run(["bash", self.script, *arguments], env=environment, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(text, done.stdout)
            self.assertEqual(os.listdir(folder), [])

    def test_all_times_nothing_where_the_build_fails(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("cmake", "exit 1"), ("python", f"case $1 in -c) ;; *) echo $1 >>'{folder}/timed' ;; esac")):
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(f"#!/bin/sh\n{text}\n")
                os.chmod(os.path.join(folder, name), 0o755)
            environment = dict(os.environ, PATH=folder + ":" + os.environ["PATH"], BUILD=os.path.join(folder, "build"),
                               PEERS_PYTHON=os.path.join(folder, "python"))
            done = subprocess.run(["bash", self.script, "all"], env=environment, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertFalse(os.path.exists(os.path.join(folder, "timed")))


if __name__ == "__main__":
    unittest.main()
