// Ctrl-C. Long loops ask interrupted() at a safe point, save what they have and throw ErrorCode::interrupted.
#pragma once

namespace panvae {

// Once, by the program: the first SIGINT, SIGTERM or SIGHUP (not under nohup) sets a flag; a SIGINT or SIGTERM after it ends the process at once.
void install_interrupt_handler();
bool interrupted() noexcept;
// For tests, and for embedders with a handler of their own.
void set_interrupted(bool value) noexcept;
// Throws Error{interrupted} if the flag is set.
void throw_if_interrupted();

}  // namespace panvae
