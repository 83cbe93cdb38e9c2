// panvae: the program. Runs one command and turns errors into one line and an exit code.
#include <new>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/process.h"
#include "data/damage.h"
#include "tools/program.h"
#include "tools/terminal.h"

namespace {

using namespace panvae;
using namespace panvae::tools;

int report(const Error& e) {
  clear_progress_line();
  write_stderr(fmt::format("panvae: error: {}\n", e.what()));
  return static_cast<int>(e.code());
}

}  // namespace

int main(int argc, char** argv) {
  prepare_process();
  install_interrupt_handler();
  data::install_damage_handler();
  try {
    return run_program(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const Error& e) {
    return report(e);
  } catch (const std::bad_alloc&) {
    return report(Error(ErrorCode::machine, "out of memory", {}, "use a smaller model or batch, or a machine with more memory"));
  } catch (const std::exception& e) {
    return report(Error(ErrorCode::internal, fmt::format("internal error: {}", quoted(e.what(), 300)), {}, "this is a bug of panvae, please report it"));
  }
}
