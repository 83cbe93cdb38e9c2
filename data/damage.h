// HDF5 files that the HDF5 library itself cannot survive. Its versions before 1.14 follow damaged heaps beyond their
// buffers; no check from outside can rule that out. This catches what fails while the file is read. What it cannot catch:
// memory overwritten so that the program fails later, and, on rare damage, a loop without end (Ctrl-C, twice, ends it).
#pragma once

namespace panvae::data {

// For programs (an embedder may have handlers of its own): a segmentation fault, bus error, division by zero or abort while an HDF5 file is
// being read ends the process with one line on stderr that names the file, and exit code 3. Faults at any other time
// are left to the handlers that were there before.
void install_damage_handler();

namespace detail {
// Set by the reader of HDF5 files around its work; nullptr when done.
void file_being_read(const char* path) noexcept;
}  // namespace detail

}  // namespace panvae::data
