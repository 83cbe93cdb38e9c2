// Runs of the program that are stopped on their way.
#pragma once
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include "tests/tools/helpers.h"

namespace panvae::test {

// Starts the program in `folder`, sends it the signal once `ready`, and expects that it ends by it: by Ctrl-C (SIGINT) and
// a terminal that closes (SIGHUP, which comes twice) with exit code 130. Its words are in child_out.txt and child_err.txt.
inline void stop_when(const std::string& folder, const std::string& arguments, int signal, const std::function<bool()>& ready) {
  ::signal(SIGHUP, SIG_DFL);  // the tests may run under nohup
  const std::string command = "exec '" + kProgram + "' " + arguments + " >child_out.txt 2>child_err.txt";
  const pid_t child = fork();
  if (child == 0) {
    if (chdir(folder.c_str()) != 0) _exit(99);
    execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    _exit(98);
  }
  const auto ended = [child] {
    siginfo_t info = {};
    return waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
  };
  for (int i = 0; i < 100000 && !ready() && !ended(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  kill(child, signal);
  if (signal == SIGHUP) kill(child, signal);
  int status = 0;
  waitpid(child, &status, 0);
  const std::string words = read_file(folder + "/child_err.txt");
  if (signal != SIGKILL) {
    ASSERT_TRUE(WIFEXITED(status)) << words;
    EXPECT_EQ(WEXITSTATUS(status), 130) << words;
  } else {
    ASSERT_TRUE(WIFSIGNALED(status)) << "the run ended before it was stopped: make it longer\n" << words;
  }
}

inline int64_t lines_of(const std::string& path) {
  if (!std::filesystem::exists(path)) return 0;
  const std::string text = read_file(path);
  return std::count(text.begin(), text.end(), '\n');
}

// `train(name, more)`: the arguments that train into the folder `name`. Stops such a run once its metrics have so many lines,
// continues it, and compares with `whole`, a run that nothing disturbed, which is made where it is not there yet.
inline void stop_and_resume(const std::string& folder, const std::function<std::string(const std::string&, const std::string&)>& train,
                            const std::string& options, const std::string& whole, const std::string& name, int signal, int64_t lines) {
  auto path = [&](const std::string& run, const char* file) { return folder + "/" + run + "/" + file; };
  if (!std::filesystem::exists(path(whole, "model.safetensors"))) {
    const Outcome o = shell("'" + kProgram + "' " + train(whole, options), folder);
    ASSERT_EQ(o.code, 0) << o.err;
  }
  ASSERT_NO_FATAL_FAILURE(stop_when(folder, train(name, options), signal, [&] { return lines_of(path(name, "metrics.jsonl")) >= lines; }));
  EXPECT_FALSE(std::filesystem::exists(path(name, "model.safetensors")));
  const Outcome resumed = shell("'" + kProgram + "' " + train(name, "--resume"), folder);
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  for (const char* file : {"model.safetensors", "metrics.jsonl", "config.toml"}) EXPECT_EQ(read_file(path(whole, file)), read_file(path(name, file))) << file;
}

}  // namespace panvae::test
