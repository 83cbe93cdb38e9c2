// Errors of every room: one exception type, thrown by PV_CHECK or by fail(), and turned into a line and an exit code by
// the program or into status + message by an embedder. No room calls exit() or abort().
#pragma once
#include <fmt/format.h>

#include <exception>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

namespace panvae {

// What is at fault. The values are the exit codes of the program.
enum class ErrorCode : int {
  usage = 2,      // an option, a configuration key, an argument of the API
  input = 3,      // a file, its format, its content, or two inputs that do not fit together
  machine = 4,    // memory, device, disk
  internal = 70,  // a broken invariant of ours: a bug worth reporting
  interrupted = 130,
};

// WHAT (WHERE): WHAT TO DO, as the user reads it. `op` names the operation of the engine, empty elsewhere.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message, std::string where = {}, std::string hint = {}, std::string op = {});
  const char* what() const noexcept override { return text_.c_str(); }
  ErrorCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& where() const noexcept { return where_; }
  const std::string& hint() const noexcept { return hint_; }
  const std::string& op() const noexcept { return op_; }

 private:
  ErrorCode code_;
  std::string message_, where_, hint_, op_, text_;
};

// The three things a user can be told. `where` names file, row, column, sample or feature; `hint` says what to do.
[[noreturn]] void fail_usage(std::string message, std::string where = {}, std::string hint = {});
[[noreturn]] void fail_input(std::string message, std::string where = {}, std::string hint = {});
[[noreturn]] void fail_machine(std::string message, std::string where = {}, std::string hint = {});

namespace detail {
// fmt::format, checked at compile time but by the front end of nvcc, which cannot evaluate fmt's checks: g++ reads the
// same lines.
#ifdef __NVCC__
template <class... A>
std::string format_message(std::string_view f, const A&... a) {
  return fmt::vformat(f, fmt::make_format_args(a...));
}
#else
template <class... A>
std::string format_message(fmt::format_string<A...> f, A&&... a) {
  return fmt::format(f, std::forward<A>(a)...);
}
#endif
[[noreturn]] void check_failed(const char* expression, std::string message, std::source_location at);
}  // namespace detail

// PV_CHECK(cond, "linear: x[{},{}] against W[{},{}]", ...): an argument of the API that cannot be used (ErrorCode::usage).
// The text before the first colon is the op's name. PV_ASSERT: an invariant of ours (ErrorCode::internal).
#define PV_CHECK(cond, ...)                                                                                                    \
  do {                                                                                                                         \
    if (!(cond)) [[unlikely]]                                                                                                  \
      ::panvae::detail::check_failed(nullptr, ::panvae::detail::format_message(__VA_ARGS__), std::source_location::current()); \
  } while (0)
#define PV_ASSERT(cond)                                                           \
  do {                                                                            \
    if (!(cond)) [[unlikely]]                                                     \
      ::panvae::detail::check_failed(#cond, {}, std::source_location::current()); \
  } while (0)

// Quoted text from outside (a cell, a name, a path) made safe for one line of a terminal: valid UTF-8 kept, control
// characters and broken bytes escaped, cut after `limit` bytes with an ellipsis.
// An object and not a function, so that std::quoted is never considered beside it.
struct Quoted {
  std::string operator()(std::string_view text, size_t limit = 80) const;
};
inline constexpr Quoted quoted;

}  // namespace panvae
