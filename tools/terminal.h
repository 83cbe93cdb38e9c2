// Log lines and progress bars on stderr.
#pragma once

namespace panvae::tools {

void install_terminal(bool quiet, bool verbose);
// Whether progress is a bar, on a terminal that can rewrite a line; else it is a line for each epoch.
bool shows_bars();
// Ends a progress bar that is on screen, so that the next line stands alone.
void clear_progress_line();

}  // namespace panvae::tools
