"""python3 -m unittest compare_test, in this folder."""
import contextlib
import io
import json
import os
import tempfile
import unittest

import compare


def entry(name, median, low=None, high=None, **more):
    """A line as panvae_bench writes it."""
    low = median * 0.99 if low is None else low
    high = median * 1.01 if high is None else high
    provider = name.rsplit("/", 1)[1]
    return {"name": name, "run_type": "iteration", "real_time": median, "time_unit": "ns", "median_ns": median, "low_ns": low, "high_ns": high,
            "label": f"case=x provider={provider} bound=memory", **more}


def rows(*entries):
    result = {}
    for e in entries:
        compare.merge(result, compare.Row(e))
    return result


class Files(unittest.TestCase):
    """Files in a folder of their own, and the program's output."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def write(self, name, *entries, **context):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"context": {"device_name": "CPU", "threads": "2", **context}, "benchmarks": list(entries)}, file)
        return path

    def run_main(self, *argv):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = compare.main(list(argv))
        return code, out.getvalue(), err.getvalue()


class Verdict(unittest.TestCase):
    def verdict(self, old, new, noise):
        a, b = compare.Row(entry("a/ours", *old)), compare.Row(entry("a/ours", *new))
        return compare.verdict(a, b, noise)

    def test_disjoint_and_wider_than_the_noise(self):
        self.assertEqual(self.verdict((100, 99, 101), (90, 89, 91), 0.05), "FASTER")
        self.assertEqual(self.verdict((100, 99, 101), (110, 109, 111), 0.05), "SLOWER")

    def test_noise_as_wide_as_the_gap(self):
        self.assertEqual(self.verdict((100, 99, 101), (110, 109, 111), 0.11), "UNCLEAR")
        self.assertEqual(self.verdict((100, 99, 101), (110, 109, 111), 0.10), "UNCLEAR")
        self.assertEqual(self.verdict((100, 99, 101), (110, 109, 111), 0.09), "SLOWER")

    def test_intervals_that_touch(self):
        self.assertEqual(self.verdict((100, 90, 105), (110, 105, 115), 0.01), "UNCLEAR")
        self.assertEqual(self.verdict((100, 90, 105), (110, 105.1, 115), 0.01), "SLOWER")

    def test_same_leaves_no_room_for_a_gap_that_matters(self):
        self.assertEqual(self.verdict((100, 99, 101), (101, 100, 102), 0.01), "SAME")
        self.assertEqual(self.verdict((100, 99, 101), (102, 100.5, 103.9), 0.01), "SAME")
        self.assertEqual(self.verdict((100, 99, 101), (102, 100.5, 104), 0.01), "UNCLEAR")  # 104 is more than 5 % above 99
        self.assertEqual(self.verdict((100, 99, 101), (101, 100, 102), 0.06), "UNCLEAR")  # another run may say otherwise
        self.assertEqual(self.verdict((100, 99, 101), (97, 96, 98), 0.05), "UNCLEAR")
        self.assertEqual(compare.verdict(compare.Row(entry("a/ours", 100)), compare.Row(entry("a/ours", 106)), 0.07, same=0.1), "SAME")

    def test_without_noise_nothing_is_said(self):
        self.assertEqual(self.verdict((100, 99, 101), (10, 9, 11), None), "UNCLEAR")
        self.assertEqual(self.verdict((100, 99, 101), (100, 99, 101), None), "UNCLEAR")

    def test_an_error_is_no_time(self):
        wrong = compare.Row(entry("a/ours", 0, error_occurred=True, error_message="wrong result"))
        self.assertEqual(compare.verdict(compare.Row(entry("a/ours", 10)), wrong, 0.01), "ERROR")


class NoiseOfRows(unittest.TestCase):
    def setUp(self):
        self.noise = compare.Noise(rows(entry("a/ours", 100), entry("b/ours", 100), entry("c/ours", 100), entry("only/ours", 1)),
                                   rows(entry("a/ours", 100), entry("b/ours", 104), entry("c/ours", 80)))

    def test_own_gap_or_that_of_the_middle_row(self):
        self.assertAlmostEqual(self.noise.of("a/ours"), 0.04)  # its own is 0, by luck
        self.assertAlmostEqual(self.noise.of("b/ours"), 0.04)
        self.assertAlmostEqual(self.noise.of("c/ours"), 0.25)

    def test_unknown_rows_take_the_widest(self):
        self.assertAlmostEqual(self.noise.of("only/ours"), 0.25)

    def test_nothing_in_common(self):
        with self.assertRaises(compare.InputError):
            compare.Noise(rows(entry("a/ours", 1)), rows(entry("b/ours", 1)))


class Compare(Files):
    def test_every_row_is_listed(self):
        old = self.write("old.json", entry("a/ours", 100), entry("b/ours", 100), entry("gone/ours", 5))
        new = self.write("new.json", entry("a/ours", 50), entry("b/ours", 100.5), entry("fresh/ours", 5))
        code, out, err = self.run_main(old, new, "--aa", old, old)
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"a/ours .*100 ns .*50 ns .*-50\.0 % .*FASTER")
        self.assertRegex(out, r"b/ours .*SAME")
        self.assertRegex(out, r"gone/ours .*only in old  MISSING")
        self.assertRegex(out, r"fresh/ours .*only in new  MISSING")
        self.assertIn("1 FASTER, 1 SAME, 2 MISSING", out)

    def test_three_files_are_compared_with_the_first(self):
        files = [self.write(f"{t}.json", entry("a/ours", t)) for t in (100, 80, 125)]
        _, out, _ = self.run_main(*files, "--aa", files[0], files[0])
        self.assertEqual(out.count("->"), 2)
        self.assertIn("FASTER", out)
        self.assertIn("SLOWER", out)

    def test_without_aa(self):
        old, new = self.write("old.json", entry("a/ours", 100)), self.write("new.json", entry("a/ours", 1))
        _, out, _ = self.run_main(old, new)
        self.assertIn("1 UNCLEAR", out)
        self.assertIn("Without --aa the noise is unknown", out)

    def test_of_repetitions_the_fastest_counts(self):
        path = self.write("a.json", entry("a/ours", 100), entry("a/ours", 90), entry("a/ours_mean", 95, run_type="aggregate"))
        _, loaded = compare.load(path)
        self.assertEqual([(r.name, r.median) for r in loaded.values()], [("a/ours", 90)])

    def test_different_machines_are_pointed_out(self):
        old, new = self.write("old.json", entry("a/ours", 1)), self.write("new.json", entry("a/ours", 1), threads="64")
        _, _, err = self.run_main(old, new)
        self.assertIn("the files differ in threads: 2, 64", err)

    def test_files_that_cannot_be_used(self):
        good = self.write("good.json", entry("a/ours", 1))
        bad = os.path.join(self.folder.name, "bad.json")
        with open(bad, "w", encoding="utf-8") as file:
            file.write("[1, 2")
        other = self.write("other.json", {"name": "x"}, )
        with open(other, "w", encoding="utf-8") as file:
            file.write('{"context": {}}')
        for argv, message in (((good,), "needs two files"), ((good, bad), "no JSON of panvae_bench"), ((good, other), "no JSON of panvae_bench"),
                              ((good, bad + "x"), "No such file")):
            code, _, err = self.run_main(*argv)
            self.assertEqual(code, 2)
            self.assertIn(message, err)


class Table(Files):
    def lines(self, *files):
        code, out, _ = self.run_main("--table", *files)
        self.assertEqual(code, 0)
        lines = out.splitlines()
        self.assertEqual([line[:2] for line in lines[:len(files) + 1]], ["- "] * len(files) + [""])  # where each file comes from
        return lines[len(files) + 1:]

    def test_files_say_where_they_come_from(self):
        path = self.write("a.json", entry("a/ours", 1), date="2026-11-25T15:00:00", panvae="0.1.0 (commit abc)", device="cpu", blas="OpenBLAS", load_avg=[0.5, 1, 2],
                          ceiling_bandwidth="60 GB/s", ceiling_f32_ieee="200 GFLOP/s")
        _, out, _ = self.run_main("--table", path)
        self.assertEqual(out.splitlines()[0], "- 2026-11-25T15:00:00: panvae 0.1.0 (commit abc) on CPU (cpu, 2 threads), blas OpenBLAS; load 0.5 at the start; "
                                              "ceilings at the start: bandwidth 60 GB/s, f32 ieee 200 GFLOP/s")

    def test_providers_side_by_side_and_losing_rows_kept(self):
        path = self.write("a.json",
                          entry("matmul/f32/M1/ours", 2e6, percent_of_ceiling=80.4, **{"GB/s": 1.25, "GFLOP/s": 123.4, "p20_ns": 1.9e6, "p80_ns": 2.1e6}),
                          entry("matmul/f32/M1/blas", 1e6), entry("fill/f32/N1/ours", 500))
        self.assertEqual(self.lines(path), [
            "| row | ours | p20 to p80 | GB/s | GFLOP/s | % of ceiling | bound | blas | blas / ours | marks |",
            "|---|---:|---:|---:|---:|---:|---|---:|---:|---|",
            "| matmul/f32/M1 | 2 ms | 1.9 ms to 2.1 ms | 1.2 | 123.4 | 80 | memory | 1 ms | 0.50 |  |",
            "| fill/f32/N1 | 500 ns | 500 ns to 500 ns | - | - | - | memory |  |  |  |"])

    def test_saved_bytes_are_a_mark(self):
        path = self.write("a.json", entry("a/ours", 1e3, saved_bytes=59.66e6, unfused_bytes=178e6), entry("a/unfused", 2e3))
        self.assertIn("| a | 1 us | 1 us to 1 us | - | - | - | memory | 2 us | 2.00 | saves 59.7 MB of 178.0 MB |", "\n".join(self.lines(path)))

    def test_marks_and_errors_stay(self):
        noisy = entry("a/ours", 1e3)
        noisy["label"] += " noisy hot"
        path = self.write("a.json", noisy, entry("b/ours", 0, error_occurred=True, error_message="wrong | result"), entry("b/blas", 7, graph_ns=3),
                          entry("c/blas", 0, error_occurred=True, error_message="declined"))
        text = "\n".join(self.lines(path))
        self.assertIn("| a | 1 us | 1 us to 1 us | - | - | - | memory |  |  | noisy, hot |", text)
        self.assertIn("| b | ERROR | - | - | - | - | - | 7 ns | - | wrong \\| result |", text)
        self.assertIn("| c | - | - | - | - | - | - | ERROR | - | blas: declined |", text)

    def test_rows_of_several_files_keep_their_company(self):
        first = self.write("1.json", entry("m/ours", 100), entry("m/blas", 50), entry("n/ours", 7))
        second = self.write("2.json", entry("m/ours", 90), entry("m/blas", 60), entry("n/ours", 8))
        peers = self.write("3.json", entry("m/torch", 45))
        text = "\n".join(self.lines(first, second, peers))
        self.assertRegex(text, r"\| m \| 90 ns .* \| 60 ns \| 0\.67 \| 45 ns \| 0\.50 \|")  # blas as it was beside the 90
        self.assertRegex(text, r"\| n \| 7 ns ")


if __name__ == "__main__":
    unittest.main()
