// Samples that are too few, or too much alike, to be judged in a way that is asked for, with nothing else wrong with them.
#pragma once
#include <string>
#include <utility>

#include "base/error.h"

namespace panvae::eval {

// ErrorCode::input. Who asks for several judgements of the same samples can go on with the others.
class TooFew : public Error {
 public:
  TooFew(std::string message, std::string where, std::string hint) : Error(ErrorCode::input, std::move(message), std::move(where), std::move(hint)) {}
};

}  // namespace panvae::eval
