// panvae demo: the whole paper on simulated or real data, each step a command that could be typed.
#include <sys/resource.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "tools/commands.h"
#include "tools/config.h"
#include "tools/demo_study.h"
#include "tools/program.h"

namespace panvae::tools {

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string out = "panvae_demo", data;
  Arguments settings;
  bool quick = false;
};

constexpr const char *kCommands = "commands.sh", *kResults = "results.json", *kTables = "results.txt", *kReport = "report.html";
constexpr const char* kMark = "#!/bin/sh\n# The commands of 'panvae demo'";  // the first lines of kCommands, by which a folder is known as ours

std::string for_shell(const std::string& word) {
  const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || std::string_view("_./=,:+-%@").find(c) != std::string_view::npos; };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string s = "'";
  for (char c : word) s += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return s + "'";
}

// As it could be typed.
std::string shown(const Arguments& arguments) {
  std::string s = "panvae";
  for (const std::string& a : arguments) s += " " + for_shell(a);
  return s;
}

// Options of the demo that a command takes too.
Arguments with_globals(Arguments a, const Globals& globals) {
  const std::string& command = a.front();
  const bool evaluates_all = command == "evaluate" && a[1] == "all", trains = command == "train";
  const bool draws = trains || evaluates_all || command == "simulate" || command == "preprocess" || command == "pca" || command == "match";
  const bool on_device = trains || evaluates_all || command == "embed" || command == "reconstruct";
  if (draws && globals.seed != 0) a.insert(a.end(), {"--seed", std::to_string(globals.seed)});
  if (on_device && globals.device != "auto") a.insert(a.end(), {"--device", globals.device});
  if (globals.threads != 0) a.insert(a.end(), {"--threads", std::to_string(globals.threads)});
  return a;
}

void make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail_machine(fmt::format("cannot make the folder: {}", error.message()), quoted(path, 400), "check the path and its permissions");
}

// The folder of the results. What was finished there before is taken away first, so that whatever stands there at the end is of this
// time.
class DemoFolder {
 public:
  explicit DemoFolder(const std::string& path) : path_(path) {
    make_folder(path_);
    lock_ = std::make_unique<FolderLock>(path_);
    std::error_code error;
    const std::string commands = file(kCommands);
    const bool ours = fs::exists(commands, error) && read_file(commands).rfind(kMark, 0) == 0;
    if (!ours && !fs::is_empty(path_, error)) fail_input("the folder holds something else", quoted(path_, 400), "name a new folder with -o");
    for (const char* name : {kResults, kTables, kReport}) fs::remove(file(name), error);
  }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
  std::unique_ptr<FolderLock> lock_;
};

double processor_seconds() {
  rusage r{};
  ::getrusage(RUSAGE_SELF, &r);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return seconds(r.ru_utime) + seconds(r.ru_stime);
}

struct Answer {
  Json json;         // what the command's --json writes, and "wall_seconds", "processor_seconds"
  std::string text;  // what it prints
};

// Runs commands one after the other, each shown as it could be typed.
class Runner {
 public:
  Runner(size_t total, std::string json_file) : total_(total), json_file_(std::move(json_file)) {}
  ~Runner() { remove(); }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  Answer run(const DemoStep& step) {
    throw_if_interrupted();
    log::info("\n[{}/{}] $ {}", ++done_, total_, shown(step.arguments));
    const auto start = std::chrono::steady_clock::now();
    const double processor = processor_seconds();
    Answer a;
    try {
      call(step.arguments, a);
    } catch (const Error& e) {
      if (!step.optional || e.code() != ErrorCode::input) throw;
      log::warning("left out: {}", e.what());
      a.json = {{"left_out", e.what()}};
    }
    a.json["wall_seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    a.json["processor_seconds"] = processor_seconds() - processor;
    return a;
  }

 private:
  void call(Arguments arguments, Answer& a) const {
    arguments.insert(arguments.end(), {"--json", json_file_});
    if (run_program(arguments, &a.text) != 0) throw Error(ErrorCode::internal, "internal error: the demo called a command wrongly", shown(arguments));
    a.json = Json::parse(read_file(json_file_));
    remove();
  }
  void remove() const {
    std::error_code ignored;
    fs::remove(json_file_, ignored);
  }
  size_t total_, done_ = 0;
  std::string json_file_;
};

std::string number(const Json& j, const char* key, int digits = 3) {
  const auto at = j.find(key);
  return at != j.end() && at->is_number() ? fmt::format("{:.{}f}", at->get<double>(), digits) : "-";
}

using Answers = std::map<std::string, Answer>;

// How the networks were trained.
std::string training_table(const Answers& answers) {
  TextTable t({"training", "epochs", "stopped because", "validation loss", "FOSCTTM of validation pairs", "before", "time"});
  const auto row = [&](const std::string& label, const std::string& name) {
    const auto at = answers.find("train_" + name);
    if (at == answers.end()) return;
    const Json& j = at->second.json;
    t.row({label, fmt::format("{} (best {})", j["epochs"].dump(), j["best_epoch"].dump()), j["stopped_because"].get<std::string>(),
           number(j, "validation_loss"), number(j, "foscttm"), number(j, "foscttm_before"), human_seconds(j["wall_seconds"].get<double>())});
  };
  row("RNA VAE", "rna");
  row("ATAC VAE", "atac");
  for (const DemoCoembedding& c : kDemoCoembeddings) row(c.label, std::string("coembed_") + c.name);
  return t.str();
}

// RNA imputed from ATAC of donors that nothing has seen.
std::string imputation_table(const Answers& answers) {
  TextTable t({"RNA from ATAC", "pairs", "Spearman per gene", "beyond the cohort's mean", "Spearman per sample", "squared error"});
  const Json* last = nullptr;
  for (const DemoCoembedding& c : kDemoCoembeddings) {
    const auto at = answers.find(std::string("impute_coembed_") + c.name);
    if (at == answers.end() || at->second.json.contains("left_out")) continue;
    last = &at->second.json;
    t.row({c.label, (*last)["judged_pairs"].dump(), number(*last, "spearman_per_feature_mean"), number(*last, "spearman_beyond_cohort_mean"),
           number(*last, "spearman_per_sample_mean"), number(*last, "mean_squared_error")});
  }
  if (!last) return {};
  t.row({"mean of the cohort", (*last)["judged_pairs"].dump(), number(*last, "cohort_mean_spearman_per_feature_mean"), "",
         number(*last, "cohort_mean_spearman_per_sample_mean"), number(*last, "cohort_mean_mean_squared_error")});
  return "\n" + t.str();
}

// What a matrix holds, in words.
std::string size_of(const Answers& answers, const std::string& modality) {
  const auto at = answers.find("preprocess_" + modality);
  if (at == answers.end()) return {};
  const Json &j = at->second.json, &split = j["split"];
  return fmt::format("{}: {} samples, {} held out; {} features\n", modality == "rna" ? "RNA" : "ATAC", j["samples"].dump(), split["holdout"].dump(),
                     j["features"].dump());
}

// The tables of 'evaluate all' without its last lines, which say where they are.
std::string evaluation(const Answers& answers) {
  const std::string& text = answers.at("evaluate").text;
  return text.substr(0, text.rfind("\nwritten: "));
}

std::string tables(const DemoStudy& study, const Answers& answers) {
  const std::string imputation = imputation_table(answers);
  return fmt::format("{}\n{}{}scores are of what is held out, which nothing was fitted on{}\n\n{}{}\n{}", study.title, size_of(answers, "rna"),
                     size_of(answers, "atac"), imputation.empty() ? "" : "; no pair term: the losses of the paper to the letter", evaluation(answers),
                     imputation, training_table(answers));
}

// The steps that cost most.
std::string times(const Json& studies, double wall) {
  std::vector<std::pair<double, std::string>> of_steps;
  double processor = 0;
  for (const Json& study : studies)
    for (const auto& [name, j] : study["steps"].items()) {
      of_steps.push_back({-j["wall_seconds"].get<double>(), name});
      processor += j["processor_seconds"].get<double>();
    }
  std::sort(of_steps.begin(), of_steps.end());
  std::string s = fmt::format("{} ({} of processor time): ", human_seconds(wall), human_seconds(processor));
  for (size_t i = 0; i < std::min<size_t>(4, of_steps.size()); ++i)
    s += fmt::format("{}{} {}", i == 0 ? "" : ", ", of_steps[i].second, human_seconds(-of_steps[i].first));
  return s + "\n";
}

// A setting that a training would refuse is refused before the first step.
void check_settings(const Arguments& settings) {
  for (const char* modality : {"rna", "atac", "coembed"}) {
    RunConfig config(modality);
    for (const std::string& s : settings) config.set(s);
  }
}

// All commands, known before the first one runs.
struct Plan {
  std::vector<DemoStudy> studies;
  std::vector<std::vector<DemoStep>> steps;  // of each study
  DemoStep report;

  size_t size() const {
    size_t n = 1;
    for (const std::vector<DemoStep>& of : steps) n += of.size();
    return n;
  }
};

Plan plan(const Options& o, const Globals& globals) {
  Plan p{demo_studies(o.out, o.data, o.quick), {}, {"report", {"report", "-o", o.out + "/" + kReport, "--title"}, false}};
  p.report.arguments.push_back(p.studies.size() == 1 ? "panvae demo: " + p.studies.front().title : "panvae demo");
  for (const DemoStudy& study : p.studies) {
    p.steps.push_back(demo_steps(study, o.settings));
    for (DemoStep& step : p.steps.back()) step.arguments = with_globals(std::move(step.arguments), globals);
    p.report.arguments.push_back(study.results());
  }
  return p;
}

std::string script(const Plan& p) {
  std::string s = std::string(kMark) + ", where it was started. panvae must be on the PATH.\nset -e\n";
  for (size_t i = 0; i < p.studies.size(); ++i) {
    s += "mkdir -p " + for_shell(p.studies[i].folder) + "\n";
    for (const DemoStep& step : p.steps[i]) s += shown(step.arguments) + (step.optional ? " || true\n" : "\n");
  }
  return s + shown(p.report.arguments) + "\n";
}

void demo(Options& o, const Session& session) {
  session.begin();
  while (o.out.size() > 1 && o.out.back() == '/') o.out.pop_back();
  check_settings(o.settings);
  const auto start = std::chrono::steady_clock::now();
  const Plan p = plan(o, session.globals);
  const DemoFolder folder(o.out);
  for (const DemoStudy& study : p.studies) make_folder(study.folder);
  write_file(folder.file(kCommands), script(p));

  std::string text;
  Json json = {{"folder", o.out}, {"quick", o.quick}, {"data", o.data.empty() ? "simulated" : o.data}, {"studies", Json::array()}};
  Runner runner(p.size(), folder.file("step.json"));
  for (size_t i = 0; i < p.studies.size(); ++i) {
    Answers answers;
    Json steps = Json::object();
    for (const DemoStep& step : p.steps[i]) steps[step.name] = (answers[step.name] = runner.run(step)).json;
    text += tables(p.studies[i], answers) + "\n";
    json["studies"].push_back({{"title", p.studies[i].title}, {"folder", p.studies[i].folder}, {"steps", std::move(steps)}});
  }
  json["report"] = runner.run(p.report).json;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  json["wall_seconds"] = seconds;
  text += times(json["studies"], seconds);
  write_file(folder.file(kTables), text);
  write_file(folder.file(kResults), json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  session.emit(fmt::format("{}\nwritten: {}/  ({} with the figures, {}, {}, {})\n", text, o.out, kReport, kTables, kResults, kCommands), json);
}

}  // namespace

void add_demo(CLI::App& root, Session& session) {
  CLI::App* cmd =
      add_command(root, "demo", "The whole way, simulated or real: preprocessing, PCA, RNA and ATAC VAEs, co-embeddings, every benchmark, the report",
                  "panvae demo --quick");
  auto o = std::make_shared<Options>();
  session.writes(cmd->add_option("-o,--output", o->out, "Folder of the results: a new one, or that of an earlier demo, which is replaced"))
      ->capture_default_str()
      ->type_name("DIR");
  cmd->add_option("--data", o->data, "Folder with real data (default: simulated): " + demo_data_help())->type_name("DIR");
  cmd->add_flag("--quick", o->quick, "Smaller data and models: minutes on two cores");
  cmd->add_option("--set", o->settings, "A configuration key of every training, train.max_epochs for instance; repeatable")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  cmd->add_option("--device", session.globals.device, "auto, cpu, cuda or cuda:N, for the steps that train or embed")->capture_default_str();
  session.common(*cmd, Session::seed);
  cmd->callback([o, &session] { demo(*o, session); });
}

}  // namespace panvae::tools
