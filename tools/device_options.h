// --device, --precision, --provider, --tune and --seed as a context of the engine.
#pragma once
#include "engine/context.h"
#include "tools/cli.h"

namespace panvae::tools {

// Parses the device, logs what was chosen and why, sets the math mode and the providers. ErrorCode::usage for a precision
// the device has not, or a provider that there is not.
std::unique_ptr<Context> make_context(const Globals& globals);

}  // namespace panvae::tools
