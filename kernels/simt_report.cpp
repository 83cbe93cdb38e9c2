// What is said about a kernel that did wrong. Runs on the OS thread's own stack, after the block has stopped.
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>

#include "kernels/simt_executor.h"
#ifdef PANVAE_SIMT_WATCH
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __linux__
#include <cxxabi.h>
#include <elf.h>
#include <link.h>
#endif

#ifdef PANVAE_SIMT_WATCH
// A report of undefined behaviour names the kernel, which stands in the stack, and not only the line.
extern "C" const char* __ubsan_default_options() {
  return "print_stacktrace=1";
}
#endif

namespace panvae::simt::detail {

bool same_text(const Site& a, const Site& b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

std::string describe(const Site& at) {
  std::string_view file = at.file_name();
  if (size_t slash = file.rfind('/'); slash != std::string_view::npos) file.remove_prefix(slash + 1);
  return fmt::format("{}:{}", file, at.line());
}

#ifdef __linux__
namespace {

// "void a::k<float>(float const*, int)" -> "a::k<float>"
std::string short_name(std::string_view text) {
  if (text.ends_with(')')) {
    int depth = 0;
    for (size_t i = text.size(); i-- > 0;) {
      depth += text[i] == ')' ? 1 : text[i] == '(' ? -1 : 0;
      if (depth == 0) {
        text = text.substr(0, i);
        break;
      }
    }
  }
  if (text.starts_with("void ")) text.remove_prefix(5);
  return std::string(text);
}

template <class T>
std::vector<T> read_table(std::ifstream& file, const ElfW(Shdr) & section) {
  std::vector<T> out(section.sh_size / sizeof(T));
  file.seekg(static_cast<std::streamoff>(section.sh_offset));
  file.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size() * sizeof(T)));
  return file ? out : std::vector<T>{};
}

// The function that covers `offset` in the symbol table of an ELF file. (dladdr knows exported functions only, and
// kernels of a program are not.)
std::string symbol_at(const char* path, ElfW(Addr) offset) {
  std::ifstream file(path, std::ios::binary);
  ElfW(Ehdr) head;
  if (!file.read(reinterpret_cast<char*>(&head), sizeof head) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return {};
  ElfW(Shdr) all{};
  all.sh_offset = head.e_shoff, all.sh_size = size_t{head.e_shnum} * sizeof all;
  const auto sections = read_table<ElfW(Shdr)>(file, all);
  for (const auto& section : sections) {
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size()) continue;
    const auto names = read_table<char>(file, sections[section.sh_link]);
    for (const auto& symbol : read_table<ElfW(Sym)>(file, section)) {
      if ((symbol.st_info & 0xF) != STT_FUNC || offset < symbol.st_value || offset >= symbol.st_value + symbol.st_size) continue;
      if (symbol.st_name >= names.size()) continue;
      int status = 0;
      char* text = abi::__cxa_demangle(&names[symbol.st_name], nullptr, nullptr, &status);
      std::string name = status == 0 && text ? short_name(text) : std::string(&names[symbol.st_name]);
      std::free(text);
      return name;
    }
  }
  return {};
}

struct Search {
  ElfW(Addr) address;
  std::string name;
};

int visit_object(dl_phdr_info* object, size_t, void* data) {
  auto& search = *static_cast<Search*>(data);
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    const ElfW(Addr) begin = object->dlpi_addr + segment.p_vaddr;
    if (segment.p_type != PT_LOAD || search.address < begin || search.address >= begin + segment.p_memsz) continue;
    const char* path = object->dlpi_name && *object->dlpi_name ? object->dlpi_name : "/proc/self/exe";
    search.name = symbol_at(path, search.address - object->dlpi_addr);
    return 1;
  }
  return 0;
}

}  // namespace

std::string function_name(const void* address) {
  Search search{reinterpret_cast<ElfW(Addr)>(address), {}};
  dl_iterate_phdr(visit_object, &search);
  return search.name;
}
#else
std::string function_name(const void*) {
  return {};
}
#endif

// "x.cu:31" of the instruction before a return address, "" where nobody can tell.
static std::string line_of([[maybe_unused]] const void* pc) {
#ifdef PANVAE_SIMT_WATCH
  char text[1024] = "";
  __sanitizer_symbolize_pc(const_cast<void*>(pc), "%s:%l", text, sizeof text);  // of inlined functions the innermost
  std::string_view line = text;
  if (size_t slash = line.rfind('/'); slash != std::string_view::npos) line.remove_prefix(slash + 1);
  return std::string(line);
#else
  return {};
#endif
}

std::string describe_kernel(const Launch& launch) {
  std::string name = function_name(launch.call.kernel);
  return name.empty() ? fmt::format("launched at {}", describe(launch.at)) : name;
}

namespace {

// "0-15, 32"
std::string ranges(const std::vector<int>& sorted) {
  std::string out;
  for (size_t i = 0, j = 0; i < sorted.size(); i = j) {
    for (j = i + 1; j < sorted.size() && sorted[j] == sorted[j - 1] + 1;) ++j;
    if (!out.empty()) out += ", ";
    out += j - i == 1 ? fmt::format("{}", sorted[i]) : fmt::format("{}-{}", sorted[i], sorted[j - 1]);
  }
  return out;
}

std::string plural(const std::vector<int>& v) {
  return (v.size() == 1 ? "thread " : "threads ") + ranges(v);
}

}  // namespace

std::string BlockRunner::thread_name(int t) const {
  if (t < 0) return "a thread";
  const uint3 i = indices_[static_cast<size_t>(t)];
  const std::string index = launch_.block.y * launch_.block.z == 1 ? fmt::format("{}", t) : fmt::format("{} = ({},{},{})", t, i.x, i.y, i.z);
  return fmt::format("thread {} (warp {}, lane {})", index, t / kWarp, t % kWarp);
}

// Who waits where, threads at one place together: "threads 0-15 wait in __syncthreads (x.cu:31); threads 16-31 have ended".
std::string BlockRunner::describe_waiting() const {
  struct Group {
    std::string text;
    std::vector<int> threads;
  };
  std::vector<Group> groups;
  for (int t = 0; t < n_; ++t) {
    const ThreadState& s = threads_[static_cast<size_t>(t)];
    std::string text;
    if (has_ended(t)) {
      text = "ended";
    } else if (!s.fiber) {
      text = "did not run";
    } else if (s.wait == Wait::barrier) {
      text = fmt::format("waiting in {} ({})", s.what, describe(s.at));
    } else {
      const Warp& w = warps_[static_cast<size_t>(t / kWarp)];
      const WarpOp* op = w.ops[t % kWarp];
      const uint32_t missing = op ? op->mask & w.existing & ~w.arrived : 0;
      std::vector<int> lanes, gone;
      for (int l = 0; l < kWarp; ++l)
        if (missing >> l & 1) (w.ended >> l & 1 ? gone : lanes).push_back(l);
      text = fmt::format("waiting in {} ({})", s.what, describe(s.at));
      if (!lanes.empty()) text += fmt::format(" for lanes {}", ranges(lanes));
      if (!gone.empty()) text += fmt::format(" for lanes {} that have ended", ranges(gone));
    }
    auto same = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.text == text; });
    if (same == groups.end()) groups.push_back({text, {t}});
    else same->threads.push_back(t);
  }
  std::string out;
  for (const Group& g : groups) out += fmt::format("{}{} {}", out.empty() ? "" : "; ", plural(g.threads), g.text);
  return out;
}

std::string BlockRunner::describe_failure(std::string& where, std::string& hint) const {
  const auto& f = failure_;
  where = describe(f.at);
  switch (f.fault) {
    case Fault::none:
      break;
    case Fault::no_progress: {
      // The line to look at is where somebody waits, best in a warp operation: a barrier is released by those who end.
      const ThreadState* waiting = nullptr;
      for (const ThreadState& s : threads_)
        if (s.fiber && (!waiting || (waiting->wait == Wait::barrier && s.wait == Wait::warp))) waiting = &s;
      if (waiting) where = describe(waiting->at);
      hint = "every thread must come to each barrier, every lane of a mask to the warp operation";
      return "no thread can go on: " + describe_waiting();
    }
    case Fault::barrier_sites:
      hint = "all threads of a block must come to the same barrier; take it out of the branch";
      return fmt::format("threads meet at two barriers: {} in {} at {}, {} in {} at {}", thread_name(f.other), f.other_what, describe(f.other_at),
                         thread_name(f.thread), f.what, describe(f.at));
    case Fault::barrier_number:
      hint = "barriers 1 to 15 are for whole warps of a block; 0 is that of __syncthreads";
      return fmt::format("{}: {} of barrier {} for {} threads, in a block of {}", thread_name(f.thread), f.what, f.offset, f.bytes, n_);
    case Fault::barrier_count:
      hint = "all who come to a barrier must name the same number of threads";
      return fmt::format("{}: {} of barrier {} for {} threads, where who came first, at {}, named {}", thread_name(f.thread), f.what, f.offset, f.bytes,
                         describe(f.other_at), f.mask);
    case Fault::mask_differs:
      hint = "lanes that take part in one warp operation must name the same mask";
      return fmt::format("lanes name different masks: {} waits in {} at {} with {:#010x}, {} comes to {} at {} with {:#010x}", thread_name(f.other),
                         f.other_what, describe(f.other_at), f.other_mask, thread_name(f.thread), f.what, describe(f.at), f.mask);
    case Fault::lane_outside_mask:
      hint = "a lane must be in the mask it names";
      return fmt::format("{} calls {} with mask {:#010x}, which leaves it out", thread_name(f.thread), f.what, f.mask);
    case Fault::warp_sites:
      hint = "lanes of one mask must come to the same call";
      return fmt::format("lanes meet in two warp operations: {} in {} at {}, {} in {} at {}", thread_name(f.other), f.other_what, describe(f.other_at),
                         thread_name(f.thread), f.what, describe(f.at));
    case Fault::static_shared_size:
      hint = "DYN_SHARED takes up to 227 KiB";
      return fmt::format("shared array '{}' brings the block to {} bytes of static and {} of dynamic shared memory; the limits are {} static, {} together",
                         f.what, f.bytes, launch_.smem, kStaticSharedLimit, kDynamicSharedLimit);
    case Fault::too_many_arrays:
      return fmt::format("too many shared arrays, '{}' is one more than the executor has room for", f.what);
    case Fault::redzone:
      return fmt::format("a write outside shared array '{}', {} bytes {}", f.what, f.offset < 0 ? -f.offset : f.offset,
                         f.offset < 0 ? "before its begin" : "after its end");
    case Fault::unwritten: {
      const std::string array = fmt::format("shared array '{}' ({})", f.what, where);
      if (std::string line = line_of(f.pc); !line.empty()) where = line;
      hint = "write it first, with a barrier between if another thread does so";
      return fmt::format("{} reads byte {} of {} before anybody has written it", thread_name(f.thread), f.offset, array);
    }
    case Fault::copy_alignment:
      return fmt::format("{}: cp_async{} on an address that is no multiple of {}", thread_name(f.thread), f.bytes, f.bytes);
    case Fault::copy_place:
      return fmt::format("{}: cp_async{} to an address that is not in a shared array", thread_name(f.thread), f.bytes);
    case Fault::copy_count:
      return fmt::format("{}: cp_async{} of a number of bytes below 0 or above {}", thread_name(f.thread), f.bytes, f.bytes);
    case Fault::too_many_copies:
      return fmt::format("{}: more than {} asynchronous copies that nobody waits for", thread_name(f.thread), CopyQueue::kCopies);
    case Fault::warpgroup_operand:
      hint = "an operand is 64 rows of 128 bytes, the second one as many as sums have columns, in one shared array, from a multiple of 1024 bytes on";
      return fmt::format("{}: warpgroup_mma of an operand that lies elsewhere, or begins {} bytes behind a multiple of 1024", thread_name(f.thread), f.offset);
    case Fault::warpgroup_sums:
      hint = "wait for the products into other sums first";
      return fmt::format("{}: warpgroup_mma into other sums than those of the products under way", thread_name(f.thread));
    case Fault::too_many_products:
      return fmt::format("{}: more than {} products by warpgroups that nobody waits for", thread_name(f.thread), ProductQueue::kProducts);
    case Fault::exception: {
      std::string text = "an exception of unknown type";
      try {
        std::rethrow_exception(f.exception);
      } catch (const std::exception& e) {
        text = e.what();
      } catch (...) {
      }
      return fmt::format("{} threw: {}", thread_name(f.thread), text);
    }
  }
  return "unknown fault";
}

void BlockRunner::report() {
  tsan_acquire(&end_token_);
  std::string where, hint;
  const std::string text = describe_failure(where, hint), kernel = describe_kernel(launch_);
  const dim3 g = launch_.grid, b = launch_.block;
  std::string message = fmt::format("simt: kernel {}, block ({},{},{}) of a grid of {}x{}x{} with {}x{}x{} threads: {}", kernel, blockIdx.x, blockIdx.y,
                                    blockIdx.z, g.x, g.y, g.z, b.x, b.y, b.z, text);
  abandon();
  throw Error(ErrorCode::internal, std::move(message), std::move(where), std::move(hint), kernel);
}

}  // namespace panvae::simt::detail
