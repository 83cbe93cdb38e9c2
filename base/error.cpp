#include "base/error.h"

#include <utility>

#include "base/text.h"

namespace panvae {

Error::Error(ErrorCode code, std::string message, std::string where, std::string hint, std::string op)
    : code_(code), message_(std::move(message)), where_(std::move(where)), hint_(std::move(hint)), op_(std::move(op)) {
  text_ = message_;
  if (!where_.empty()) text_ += " (" + where_ + ")";
  if (!hint_.empty()) text_ += ": " + hint_;
}

void fail_usage(std::string message, std::string where, std::string hint) {
  throw Error(ErrorCode::usage, std::move(message), std::move(where), std::move(hint));
}
void fail_input(std::string message, std::string where, std::string hint) {
  throw Error(ErrorCode::input, std::move(message), std::move(where), std::move(hint));
}
void fail_machine(std::string message, std::string where, std::string hint) {
  throw Error(ErrorCode::machine, std::move(message), std::move(where), std::move(hint));
}

namespace detail {

void check_failed(const char* expression, std::string message, std::source_location at) {
  std::string_view file = at.file_name();
  if (size_t slash = file.rfind('/'); slash != std::string_view::npos) file.remove_prefix(slash + 1);
  std::string where = fmt::format("{}:{}", file, at.line());
  if (expression)
    throw Error(ErrorCode::internal, fmt::format("internal error: {} does not hold", expression), where,
                "this is a bug of panvae, please report it with the command that led here");
  std::string op = message.substr(0, message.find(':'));
  throw Error(ErrorCode::usage, std::move(message), where, {}, std::move(op));
}

}  // namespace detail

std::string Quoted::operator()(std::string_view text, size_t limit) const {
  std::string out = "'";
  out += printable(text, limit);
  return out += '\'';
}

}  // namespace panvae
