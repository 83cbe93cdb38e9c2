#include "tools/terminal.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "base/log.h"
#include "base/process.h"
#include "base/progress.h"
#include "base/text.h"

namespace panvae::tools {

namespace {

bool bar_on_screen = false;

int terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

// One line, rewritten in place: title, bar, percentage, rate, time left, note.
void draw(const ProgressState& p) {
  std::string left = fmt::format("{}  ", p.title);
  std::string right;
  if (p.total > 0) right = fmt::format(" {:3d} %", static_cast<int>(100 * p.done / std::max<int64_t>(1, p.total)));
  right += p.rate >= 10 ? fmt::format("  {:.0f} {}/s", p.rate, p.unit) : fmt::format("  {:.2f} {}/s", p.rate, p.unit);
  if (p.seconds_left >= 0) right += "  " + human_seconds(p.seconds_left) + " left";
  if (!p.note.empty()) right += "  " + p.note;
  const int room = terminal_width() - 1 - static_cast<int>(left.size() + right.size());
  std::string bar;
  if (p.total > 0 && room >= 8) {
    const int width = std::min(room, 30);
    const int full = static_cast<int>(p.done * width / std::max<int64_t>(1, p.total));
    bar = std::string(static_cast<size_t>(full), '#') + std::string(static_cast<size_t>(width - full), '.');
  }
  std::string line = (left + bar + right).substr(0, static_cast<size_t>(terminal_width() - 1));
  write_stderr("\r\x1b[K" + line);
  bar_on_screen = true;
}

}  // namespace

bool shows_bars() {
  const char* terminal = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) != 0 && terminal && std::string_view(terminal) != "dumb";
}

void clear_progress_line() {
  if (bar_on_screen) write_stderr("\r\x1b[K");
  bar_on_screen = false;
}

void install_terminal(bool quiet, bool verbose) {
  if (quiet) {
    log::set_sink(nullptr);
    set_progress_sink(nullptr);
    return;
  }
  const char* colourless = std::getenv("NO_COLOR");  // no-color.org: set to anything but an empty text
  const auto colours = colourless && *colourless ? spdlog::color_mode::never : spdlog::color_mode::automatic;
  auto logger = std::make_shared<spdlog::logger>("panvae", std::make_shared<spdlog::sinks::stderr_color_sink_mt>(colours));
  logger->set_pattern("%^%v%$");
  logger->set_level(verbose ? spdlog::level::debug : spdlog::level::info);
  log::set_sink([logger](log::Level level, std::string_view line) {
    clear_progress_line();
    if (level == log::Level::warning) logger->warn("warning: {}", line);
    else if (level == log::Level::info) logger->info("{}", line);
    else logger->debug("{}", line);
    logger->flush();
  });
  if (shows_bars()) set_progress_sink([](const ProgressState& p) { p.finished ? clear_progress_line() : draw(p); });
  else set_progress_sink(nullptr);
}

}  // namespace panvae::tools
