// What the program is given by whoever started it: signals and the three standard streams.
#pragma once
#include <string_view>

namespace panvae {

// Called once, first of all. A pipe that nobody reads any more (a pager that was left) and a file that may not grow (ulimit -f) are
// errors of the write, not the end of the process. Streams that were closed are held by /dev/null, so that no file of ours takes
// their numbers and gets what is meant for them; writing to a stdout that was closed still fails. Where the address space is limited
// (ulimit -v), threads allocate from one heap: one for each would take 64 MiB of it.
void prepare_process();

// To stderr, whole. A terminal that is gone or a disk that is full must not stop the work, so nothing is said about it.
void write_stderr(std::string_view text) noexcept;
// To stdout, whole and flushed. ErrorCode::machine if it cannot be; a pipe that is closed ends the process by SIGPIPE, without a
// word, as users of pipes expect.
void write_stdout(std::string_view text);

}  // namespace panvae
