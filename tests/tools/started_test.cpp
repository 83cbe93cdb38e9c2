// What the program makes of how it was started: streams that are closed, full or read no more, terminals of all kinds, limits, places that
// cannot be written, another process in the same folder.
#include <pty.h>

#include "tests/tools/stopped_run.h"
#include "tests/tools/suite_folder.h"

namespace panvae::test {
namespace {

class started : public SuiteFolder<started> {
 public:
  static void prepare() {
    expect_done("simulate -o sim --donors 60 --genes 120 --peaks 0 --cohorts 3");
    expect_done("preprocess --modality rna -o rna.h5ad sim/rna.h5ad");
  }

 protected:
  static std::string train(const std::string& run, const std::string& more) {
    return "train rna -o " + run + " rna.h5ad --set model.hidden=16 --set model.latent=4 " + more;
  }
  // The exit code of the program with what the shell makes of its streams.
  static int code(const std::string& arguments, const std::string& streams) {
    return shell("sh -c \"'" + kProgram + "' " + arguments + " " + streams + "\"", folder).code;
  }
  // With four threads, in an address space of so many MiB.
  static Outcome limited(int mebi, const std::string& arguments) {
    return shell("sh -c \"ulimit -c 0; ulimit -v " + std::to_string(mebi * 1024) + "; OMP_NUM_THREADS=4 timeout -k 1 60 '" + kProgram + "' " + arguments + "\"",
                 folder);
  }
  static size_t files(const std::string& of) {
    const std::filesystem::directory_iterator all(at(of));
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }
  // What the program writes to a terminal of so many columns.
  static std::string on_terminal(const std::string& arguments, unsigned short columns, const std::string& environment) {
    const winsize size{24, columns, 0, 0};
    int terminal = -1;
    const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
    if (child == 0) {
      if (chdir(folder.c_str()) != 0) _exit(99);
      execl("/bin/sh", "sh", "-c", (environment + " exec '" + kProgram + "' " + arguments + " >/dev/null").c_str(), nullptr);
      _exit(98);
    }
    std::string text;
    char some[4096];
    for (ssize_t n; (n = ::read(terminal, some, sizeof some)) > 0;) text.append(some, static_cast<size_t>(n));
    int status = 0;
    ::waitpid(child, &status, 0);
    ::close(terminal);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << text;
    return text;
  }
};

TEST_F(started, an_error_that_nobody_can_read_has_its_exit_code) {
  for (const char* streams : {"2>/dev/full", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"}) {
    EXPECT_EQ(code("info missing.h5ad", streams), 3) << streams;
    EXPECT_EQ(code("info --wrong", streams), 2) << streams;
  }
}

TEST_F(started, without_streams_the_files_are_the_same) {
  expect_done("preprocess --modality rna -o as_ever.tsv sim/rna.h5ad");
  for (const char* streams : {"<&-", "2>&-", "<&- 2>&-", "2>/dev/full"}) {
    EXPECT_EQ(code("preprocess --verbose --modality rna -o other.tsv sim/rna.h5ad", streams), 0) << streams;
    EXPECT_EQ(read_file(at("as_ever.tsv")), read_file(at("other.tsv"))) << streams;
  }
}

TEST_F(started, a_result_that_cannot_be_written_is_an_error) {
  for (const char* arguments : {"info rna.h5ad", "--help", "--version", "train rna --help"}) {
    const Outcome full = shell("sh -c \"'" + kProgram + "' " + arguments + " >/dev/full\"", folder);
    expect_error(full, 4, "No space left");
    EXPECT_EQ(code(arguments, ">&-"), 4) << arguments;
  }
}

// The log of a training goes to a pager that is left, or to tee, which is killed: the training goes on.
TEST_F(started, a_log_that_nobody_reads_any_more_does_not_stop_the_work) {
  const Outcome o =
      shell("sh -c \"('" + kProgram + "' " + train("unread", "--set train.max_epochs=30") + " >result.txt; echo \\$? >code.txt) 2>&1 | true\"", folder);
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(read_file(at("code.txt")), "0\n");
  EXPECT_EQ(lines_of(at("unread/metrics.jsonl")), 30);
}

TEST_F(started, a_result_that_nobody_reads_any_more_ends_without_a_word) {
  const Outcome o = shell("sh -c \"(sleep 0.3; '" + kProgram + "' info rna.h5ad; echo \\$? >code.txt) | true\"", folder);
  EXPECT_EQ(o.err, "");
  EXPECT_EQ(read_file(at("code.txt")), "141\n");  // by SIGPIPE
}

TEST_F(started, a_file_that_may_not_grow_is_an_error_and_leaves_nothing) {
  std::filesystem::create_directory(at("limited"));
  const auto limited = [](const std::string& arguments) { return shell("sh -c \"ulimit -c 0; ulimit -f 8; '" + kProgram + "' " + arguments + "\"", folder); };
  expect_error(limited("preprocess --modality rna -o limited/x.h5ad sim/rna.h5ad"), 4, "limited/x.h5ad");
  expect_error(limited("convert -o limited/x.tsv sim/rna.h5ad"), 4, "File too large");
  EXPECT_EQ(files("limited"), 0u);
  expect_error(limited(train("limited/run", "--set train.max_epochs=2")), 4, "File too large");
}

TEST_F(started, a_result_replaces_no_file_that_the_command_names) {
  const std::string counts = "gene\ts1\ts2\nA\t1\t2\nB\t0\t3\n";
  write_file(at("counts.tsv"), counts);
  std::filesystem::create_directory_symlink(".", at("here"));
  for (const char* json : {"counts.tsv", "./counts.tsv", "here/counts.tsv"})
    expect_error(run("convert -o named.h5ad counts.tsv --rows features --json " + std::string(json)), 2, "IN names too");
  EXPECT_EQ(read_file(at("counts.tsv")), counts);
  expect_error(run("convert -o named.h5ad counts.tsv --rows features --json named.h5ad"), 2, "--output names too");
  EXPECT_FALSE(std::filesystem::exists(at("named.h5ad")));
  ASSERT_EQ(run("convert -o named.h5ad counts.tsv --rows features --json named.json").code, 0);
  expect_error(run("info named.h5ad:X --json named.h5ad"), 2, "FILE names too");
  EXPECT_EQ(run("train rna -o nulls sim/rna.h5ad --json /dev/null --profile /dev/null").code, 3) << "counts, but not for the two names of one device";
}

// OpenBLAS would ask for its buffers for ever: before main, or in the first product.
TEST_F(started, an_address_space_too_small_for_blas_is_an_error_and_no_hang) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers map terabytes";
#endif
  expect_error(limited(300, "--version"), 4, "address space");
  const std::string logs = "preprocess --modality rna -o limited.h5ad sim/rna.h5ad", pca = "pca --components 3 -o limited_pca.h5ad limited.h5ad";
  ASSERT_EQ(run(logs).code, 0);
  expect_error(limited(600, pca), 4, "for 4 threads");
  expect_error(limited(600, pca + " --threads 3"), 4, "for 3 threads");
  EXPECT_EQ(limited(1200, pca).code, 0);
  EXPECT_EQ(limited(600, pca + " --threads 1").code, 0);
}

// Those that read, write, count and compare; what BLAS takes for four threads would not fit. One that called it all the same would hang.
TEST_F(started, commands_without_products_need_no_room_for_blas) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers map terabytes";
#endif
  expect_done("simulate -o few --donors 60 --genes 100 --peaks 400 --cohorts 3 --atac-fraction 1");
  expect_done("preprocess --modality rna -o few_rna.h5ad few/rna.h5ad");
  expect_done("pca --components 4 -o few_pca.h5ad few_rna.h5ad");
  for (const char* arguments :
       {"info", "info few/rna.h5ad", "simulate -o limited_sim --donors 30 --genes 50 --peaks 200 --cohorts 2", "convert -o limited.tsv few/rna.h5ad",
        "preprocess --modality rna -o limited_rna.h5ad few/rna.h5ad", "preprocess --modality atac -o limited_atac.h5ad few/atac.h5ad",
        "match -o limited_pairs.tsv --rna few/rna.h5ad --atac few/atac.h5ad --genes few/genes.tsv", "evaluate expression few_rna.h5ad few_rna.h5ad",
        "evaluate cohort --on all few_pca.h5ad"}) {
    const Outcome o = limited(600, arguments);
    EXPECT_EQ(o.code, 0) << arguments << ": " << o.err;
  }
  for (const char* arguments : {"pca --components 4 -o no.h5ad few_rna.h5ad", "evaluate alignment few_pca.h5ad", "evaluate survival few_pca.h5ad"})
    expect_error(limited(600, arguments), 4, "BLAS takes");
}

// A mistyped folder is said at once: before samples are read (those named here are not there), so before hours of work.
TEST_F(started, a_place_that_cannot_be_written_is_known_before_the_work) {
  for (const char* arguments :
       {"preprocess --modality rna -o no/x.h5ad missing.h5ad", "convert -o no/x.tsv missing.h5ad", "convert -o x.tsv --write-obs no/obs.tsv missing.h5ad",
        "pca --components 3 -o no/x.h5ad missing.h5ad", "embed -o no/x.h5ad missing missing.h5ad", "reconstruct -o no/x.h5ad missing missing.h5ad",
        "match -o no/x.tsv --rna missing.h5ad --atac missing.h5ad", "train rna -o no/such/run missing.h5ad", "train rna -o rna.h5ad missing.h5ad",
        "report -o no/x.html missing", "evaluate all -o no/x missing", "simulate -o /proc/no/such --donors 2000000",
        "simulate -o sim/rna.h5ad/x --donors 2000000"})
    expect_error(run(arguments), 4, "cannot write");
  std::filesystem::create_directory(at("folder.h5ad"));
  expect_error(run("preprocess --modality rna -o folder.h5ad missing.h5ad"), 4, "Is a directory");
}

TEST_F(started, two_trainings_in_one_folder_are_refused) {
  bool asked = false;
  Outcome second{0, "", ""};
  const std::string endless = train("taken", "--set train.max_epochs=1000000 --set train.patience=1000000 --set train.checkpoint_seconds=10000");
  ASSERT_NO_FATAL_FAILURE(stop_when(folder, endless, SIGINT, [&] {
    if (lines_of(at("taken/metrics.jsonl")) < 2) return false;
    asked = true;
    second = run(train("taken", ""));
    return true;
  }));
  ASSERT_TRUE(asked);
  expect_error(second, 2, "another process is at work in the folder");
  EXPECT_TRUE(std::filesystem::exists(at("taken/checkpoint.safetensors")));
}

// A connection that breaks: the kernel says so, and the shell says it again.
TEST_F(started, a_training_whose_terminal_is_gone_leaves_a_checkpoint_and_goes_on_to_the_same_bits) {
  const auto plain = [](const std::string& run, const std::string& more) { return "train rna -o " + run + " rna.h5ad " + more; };
  const std::string options = "--set model.hidden=16 --set model.latent=4 --set train.max_epochs=3000 --set train.patience=3000";
  ASSERT_NO_FATAL_FAILURE(stop_and_resume(folder, plain, options, "whole", "hung_up", SIGHUP, 3));
}

TEST_F(started, a_bar_stays_on_one_line_of_a_narrow_terminal) {
  for (unsigned short columns : {20, 40, 80}) {
    const std::string text =
        on_terminal(train("narrow" + std::to_string(columns), "--set train.max_epochs=4000 --set train.patience=4000"), columns, "TERM=xterm");
    const std::string redraw = "\r\x1b[K";
    size_t bars = 0;
    for (size_t at = text.find(redraw); at != std::string::npos; at = text.find(redraw, at + 1)) {
      const size_t begin = at + redraw.size(), end = text.find_first_of("\r\n", begin);
      const std::string bar = text.substr(begin, end - begin);
      if (bar.rfind("train", 0) != 0) continue;
      ++bars;
      EXPECT_LT(bar.size(), columns) << bar;
    }
    EXPECT_GT(bars, 0u) << text;
  }
}

TEST_F(started, a_terminal_that_rewrites_no_lines_gets_a_line_for_each_epoch) {
  const std::string text = on_terminal(train("dumb", "--set train.max_epochs=3"), 80, "TERM=dumb");
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
  for (const char* epoch : {"epoch   1", "epoch   2", "epoch   3"}) EXPECT_NE(text.find(epoch), std::string::npos) << text;
}

TEST_F(started, no_colour_where_none_is_wanted) {
  const std::string warns = "preprocess --modality rna -o colour.tsv sim/rna.h5ad --holdout 0.9 --validation 0";
  const std::string training = "train rna -o colour --overwrite colour.tsv --set train.max_epochs=1";  // warns that the text holds no preprocessing
  expect_done(warns);
  EXPECT_NE(on_terminal(training, 80, "TERM=xterm").find("\x1b[33m"), std::string::npos) << "warnings are coloured";
  EXPECT_EQ(on_terminal(training, 80, "TERM=xterm NO_COLOR=1").find("\x1b[33m"), std::string::npos);
}

TEST_F(started, threads_are_those_that_are_said_or_else_of_the_environment) {
  for (const auto& [arguments, expected] : {std::pair{"", "  3 threads"}, {" --threads 2", "  2 threads"}}) {
    const Outcome o = shell("OMP_NUM_THREADS=3 '" + kProgram + "' info" + arguments, folder);
    EXPECT_NE(o.out.find(expected), std::string::npos) << o.out;
  }
}

TEST_F(started, more_threads_than_there_can_be_are_refused_and_those_of_the_environment_cut) {
  expect_error(run("info rna.h5ad --threads 100000"), 2, "give 512 at most");
  const Outcome o = shell("OMP_NUM_THREADS=100000 '" + kProgram + "' preprocess --modality rna -o threads.h5ad sim/rna.h5ad", folder);
  EXPECT_EQ(o.code, 0) << o.err;
}

// BLAS waited for ever for threads that OpenMP did not give.
TEST_F(started, fewer_threads_than_are_said_where_the_environment_allows_no_more) {
  const std::string pca = "timeout -k 1 60 '" + kProgram + "' pca --components 3 -o few_threads.h5ad many.h5ad";
  expect_done("simulate -o many --donors 300 --genes 600 --peaks 0 --cohorts 3");  // enough for BLAS to use its threads
  expect_done("preprocess --modality rna -o many.h5ad many/rna.h5ad");
  EXPECT_EQ(shell("OMP_NUM_THREADS=3 OMP_THREAD_LIMIT=1 " + pca, folder).code, 0);
  const Outcome said = shell("OMP_THREAD_LIMIT=2 " + pca + " --threads 3", folder);
  EXPECT_EQ(said.code, 0) << said.err;
  EXPECT_NE(said.err.find("--threads 3: OMP_THREAD_LIMIT allows 2"), std::string::npos) << said.err;
}

}  // namespace
}  // namespace panvae::test
