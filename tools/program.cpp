#include "tools/program.h"

#include <sstream>

#include "base/process.h"
#include "tools/commands.h"
#include "tools/version.h"

namespace panvae::tools {

namespace {

// CLI11's own messages name the option; the last part says where help is.
int report_usage(const CLI::App& app, const CLI::ParseError& e) {
  const CLI::App* used = &app;
  std::string path = app.get_name();
  while (!used->get_subcommands().empty()) used = used->get_subcommands().front(), path += " " + used->get_name();
  std::string message = e.what(), hint = fmt::format("see '{} --help'", path);
  // A word that means nothing explains more than what is missing because of it.
  const bool incomplete = dynamic_cast<const CLI::ExtrasError*>(&e) || dynamic_cast<const CLI::RequiredError*>(&e);
  if (const auto extras = used->remaining(); incomplete && !extras.empty()) {
    const std::string& word = extras.front();
    std::vector<std::string> known;
    for (const CLI::Option* o : used->get_options())
      for (const std::string& name : o->get_lnames()) known.push_back("--" + name);
    for (const CLI::App* s : used->get_subcommands({})) known.push_back(s->get_name());
    const char* kind = word.rfind('-', 0) == 0 ? "option" : used->get_require_subcommand_min() > 0 ? "command" : "argument";
    message = fmt::format("unknown {} {}", kind, quoted(word));
    if (const std::string near = nearest_name(word, known); !near.empty()) hint = fmt::format("did you mean {}? {}", near, hint);
  }
  write_stderr(fmt::format("panvae: error: {}: {}\n", message, hint));
  return static_cast<int>(ErrorCode::usage);
}

// Help or the version.
int show(const CLI::App& app, const CLI::Error& what) {
  std::ostringstream text;
  const int code = app.exit(what, text, text);
  write_stdout(text.str());
  return code;
}

}  // namespace

int run_program(const std::vector<std::string>& arguments, std::string* answer) {
  CLI::App app("panvae: embeddings of patients from bulk RNA-seq and ATAC-seq counts, learned and judged. One program, no Python.", "panvae");
  app.set_version_flag(
      "--version", [] { return version_text(); }, "Version, commit, CUDA toolkit, BLAS");
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer("'panvae COMMAND --help' explains a command. Exit codes: 0 done, 2 usage, 3 input, 4 machine, 130 interrupted.\n");
  Session session;
  session.answer = answer;
  session.arguments = arguments;
  add_info(app, session);
  add_simulate(app, session);
  add_convert(app, session);
  add_preprocess(app, session);
  add_pca(app, session);
  add_train(app, session);
  add_embed(app, session);
  add_reconstruct(app, session);
  add_match(app, session);
  add_cca(app, session);
  CLI::App* evaluate = app.add_subcommand("evaluate", "Judge an embedding or a reconstruction");
  evaluate->require_subcommand(1);
  add_evaluate_cohort(*evaluate, session);
  add_evaluate_alignment(*evaluate, session);
  add_evaluate_survival(*evaluate, session);
  add_evaluate_expression(*evaluate, session);
  add_evaluate_pairs(*evaluate, session);
  add_evaluate_all(*evaluate, session);
  add_report(app, session);
  add_demo(app, session);
  try {
    // CLI11 takes a list of arguments from its end.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    session.end();
    return 0;
  } catch (const CLI::CallForHelp& e) {
    return show(app, e);
  } catch (const CLI::CallForAllHelp& e) {
    return show(app, e);
  } catch (const CLI::CallForVersion& e) {
    return show(app, e);
  } catch (const CLI::ParseError& e) {
    return report_usage(app, e);
  }
}

}  // namespace panvae::tools
