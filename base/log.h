// Messages for people. The library never prints: it hands lines to a sink, by default none; the program installs one.
#pragma once
#include <fmt/format.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace panvae::log {

enum class Level { debug, info, warning };
using Sink = std::function<void(Level, std::string_view)>;

// Replaces the sink and returns the one before. Not meant to be called while other threads log.
Sink set_sink(Sink sink);
void write(Level level, std::string_view line);

template <class... A>
void debug(fmt::format_string<A...> f, A&&... a) {
  write(Level::debug, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
void info(fmt::format_string<A...> f, A&&... a) {
  write(Level::info, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
void warning(fmt::format_string<A...> f, A&&... a) {
  write(Level::warning, fmt::format(f, std::forward<A>(a)...));
}

}  // namespace panvae::log
