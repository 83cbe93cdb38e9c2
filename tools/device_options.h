// --device, --precision and --seed as a context of the engine.
#pragma once
#include "engine/context.h"
#include "tools/cli.h"

namespace panvae::tools {

// Parses the device, logs what was chosen and why, sets the math mode. ErrorCode::usage for a precision the device has not.
std::unique_ptr<Context> make_context(const Globals& globals);

}  // namespace panvae::tools
