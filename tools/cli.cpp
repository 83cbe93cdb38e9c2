#include "tools/cli.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/blas.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/threads.h"
#include "engine/profile_report.h"
#include "tools/at_least.h"
#include "tools/terminal.h"

namespace panvae::tools {

namespace {

// What a name leads to, whether or not there is a file yet; empty where that cannot be said.
std::filesystem::path place(const std::string& name) {
  std::error_code error;
  return name.empty() ? std::filesystem::path() : std::filesystem::weakly_canonical(std::filesystem::absolute(name, error), error);
}

bool is_file(const std::string& name) {
  std::error_code error;
  return std::filesystem::is_regular_file(name, error);
}

// Whether a value of the command line is this file: by itself, or as FILE:layers/NAME, :obsm/NAME, NAME=FILE.
bool names(const std::string& value, const std::string& path) {
  std::error_code error;
  const std::filesystem::path to = place(path);
  for (const std::string& file : {value, value.substr(0, value.rfind(':')), value.substr(value.find('=') + 1)})
    if (file == path || std::filesystem::equivalent(file, path, error) || (!to.empty() && place(file) == to)) return true;
  return false;
}

}  // namespace

void Session::common(CLI::App& command, unsigned options) {
  commands_.push_back({&command, options});
  if (options & device) {
    command.add_option("--device", globals.device, "auto, cpu, cuda or cuda:N (auto: the first usable GPU, else cpu)")->capture_default_str();
    writes(command.add_option("--profile", globals.profile, "Time of every kernel: a table to stderr at the end, and a trace to FILE (for ui.perfetto.dev)"))
        ->type_name("FILE")
        ->each([this](const std::string&) { globals.profiler = std::make_shared<Profile>(); });
  }
  if (options & precision) {
    command.add_option("--precision", globals.precision, "Math mode of matrix products: ieee, tf32 or bf16 (default: ieee on cpu, tf32 on cuda)")
        ->check(CLI::IsMember({"ieee", "tf32", "bf16"}));
    command.add_option("--provider", globals.provider,
                       "Who computes products on cuda: auto, ours, vendor (cuBLASLt, cuDNN) or a .json file of choices (default: PANVAE_PROVIDER, else auto)");
    command
        .add_option("--tune", globals.tune,
                    "Measure on cuda which provider is faster, and keep the choices in FILE (default: PANVAE_TUNE, else nothing is measured)")
        ->type_name("FILE");
  }
  if (options & seed) command.add_option("--seed", globals.seed, "Seed of everything drawn at random")->capture_default_str()->check(at_least(0));
  command.add_option("--threads", globals.threads, "Threads of the CPU (0: all cores this process may use)")->capture_default_str()->check(at_least(0));
  writes(command.add_option("--json", globals.json, "Write the result as JSON to FILE ('-': stdout, and nothing else there)"))->type_name("FILE");
  command.add_flag("--quiet", globals.quiet, "No log and no progress, only the result and errors");
  command.add_flag("--verbose", globals.verbose, "A longer log");
}

void Session::begin() const {
  if (globals.threads > kMostThreads)
    fail_usage(fmt::format("{} threads are more than OpenBLAS has buffers for", globals.threads), "--threads", fmt::format("give {} at most", kMostThreads));
  set_threads(globals.threads);
  for (const Command& c : commands_)
    if (c.app->parsed() && (c.options & (device | blas)) != 0) prepare_blas();
  if (!answer) install_terminal(globals.quiet, globals.verbose);
  if (globals.threads > threads()) log::warning("--threads {}: OMP_THREAD_LIMIT allows {}", globals.threads, threads());
  refuse_to_replace_what_is_named();
  // A result that cannot be written is known before the work, not after it.
  for (const std::string* path : {&globals.json, &globals.profile})
    if (!path->empty() && *path != "-") AtomicFile probe(*path);
}

CLI::Option* Session::writes(CLI::Option* option) {
  outputs_.push_back(option);
  return option;
}

// Raw counts that are replaced by their logs are lost, and of two results under one name the first. Where there is no such file yet, only an output
// can mean it: any other value that is written like it is a word.
void Session::refuse_to_replace_what_is_named() const {
  std::error_code error;
  for (const auto& [command, options] : commands_) {
    if (!command->parsed()) continue;
    for (auto output = outputs_.begin(); output != outputs_.end(); ++output) {
      const std::string option = (*output)->get_name();
      if ((*output)->count() == 0 || command->get_option_no_throw(option) != *output) continue;
      const auto path = (*output)->as<std::string>();
      if (path == "-" || std::filesystem::is_other(path, error)) continue;  // /dev/null takes all
      for (const CLI::Option* other : command->get_options()) {
        const auto written = std::find(outputs_.begin(), outputs_.end(), other);
        if (written == outputs_.end() ? !is_file(path) : written >= output) continue;
        for (const std::string& value : other->results())
          if (names(value, path))
            fail_usage(fmt::format("{} would replace a file that {} names too", option, other->get_name()), quoted(path, 400), "give another name");
      }
    }
  }
}

void Session::end() const {
  if (!globals.profiler) return;
  Profile& profile = *globals.profiler;
  profile.finish();
  write_chrome_trace(globals.profile, profile);
  if (profile.calls_seen() > static_cast<int64_t>(profile.calls().size()))
    log::warning("the trace has the first {} of {} kernel calls; the table has all", profile.calls().size(), profile.calls_seen());
  write_stderr(fmt::format("\n{}written: {}\n", profile_table(profile, measure_ceilings(profile.device(), profile.math())), globals.profile));
}

void Session::emit(const std::string& text, const Json& json) const {
  const std::string dumped = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  const std::string& out = globals.json == "-" ? dumped : text;
  if (!globals.json.empty() && globals.json != "-") write_file(globals.json, dumped);
  if (answer) {
    *answer = text;
    return;
  }
  write_stdout(out);
}

CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& purpose, const std::string& example) {
  CLI::App* command = parent.add_subcommand(name, purpose);
  command->footer("Example:\n  " + example + "\n");
  return command;
}

}  // namespace panvae::tools
