#include "engine/staged_source.h"

#include <algorithm>
#include <utility>

#include "engine/context.h"

namespace panvae {

StagedBlockSource::StagedBlockSource(Context& context, Read read, int64_t samples, int64_t features)
    : context_(context), read_(std::move(read)), samples_(samples), features_(features), thread_([this] { work(); }) {}

StagedBlockSource::~StagedBlockSource() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
  for (const Staging& s : staging_) context_.stream().backend().free_host(s.data);
}

void StagedBlockSource::read(const std::vector<BlockRef>& blocks, int64_t width, float* to) const {
  for (const BlockRef& b : blocks) {
    read_(b.sample, b.first, width, to);
    to += width;
  }
}

float* StagedBlockSource::staging(size_t which, int64_t floats) {
  Staging& s = staging_[which];
  if (floats > s.floats) {
    const Backend& backend = context_.stream().backend();
    backend.free_host(std::exchange(s, {}).data);
    const size_t bytes = static_cast<size_t>(floats) * sizeof(float);
    s.data = static_cast<float*>(backend.alloc_host(context_.device().index, bytes));
    if (!s.data) fail_machine(fmt::format("out of memory: {} bytes to stage a batch", bytes), to_string(context_.device()), "use a smaller batch");
    s.floats = floats;
  }
  return s.data;
}

void StagedBlockSource::work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    auto next = requests_.end();
    changed_.wait(lock, [&] {
      next = std::find_if(requests_.begin(), requests_.end(), [](const Request& r) { return !r.done; });
      return ending_ || next != requests_.end();
    });
    if (ending_) return;
    // The request stays where it is while it is worked on: nobody removes one that is not done.
    Request& request = *next;
    float* const to = staging_[request.staging].data;
    working_ = true;
    lock.unlock();
    std::exception_ptr failed;
    try {
      read(request.blocks, request.width, to);
    } catch (...) {
      failed = std::current_exception();
    }
    lock.lock();
    working_ = false;
    request.failed = failed;
    request.done = true;
    changed_.notify_all();
  }
}

void StagedBlockSource::forget_requests(std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [this] { return !working_; });
  requests_.clear();
}

void StagedBlockSource::prefetch(const std::vector<BlockRef>& blocks, int64_t width) {
  PV_CHECK(!context_.memory().in_step(), "blocks: announced within a step");
  if (blocks.empty() || width == 0) return;
  std::unique_lock<std::mutex> lock(mutex_);
  if (requests_.size() >= std::size(staging_)) return;  // both buffers are taken: fill() will read it
  Request request{blocks, width, next_staging_, false, {}};
  // Nobody uses the buffer: its last request was taken by fill(), which copied it to the end.
  staging(next_staging_, static_cast<int64_t>(blocks.size()) * width);
  next_staging_ = (next_staging_ + 1) % std::size(staging_);
  requests_.push_back(std::move(request));
  changed_.notify_all();
}

void StagedBlockSource::fill(const std::vector<BlockRef>& blocks, Tensor& x) {
  check_blocks(*this, blocks, x);
  if (x.count() == 0) return;
  std::unique_lock<std::mutex> lock(mutex_);
  if (!requests_.empty() && requests_.front().blocks == blocks && requests_.front().width == x.size(1)) {
    Request& request = requests_.front();  // a deque: the others may come and go
    changed_.wait(lock, [&] { return request.done; });
    const std::exception_ptr failed = request.failed;
    const float* from = staging_[request.staging].data;
    if (!failed) x.upload(from, x.count());  // waits for the copy: then the buffer is free
    requests_.pop_front();
    if (failed) std::rethrow_exception(failed);
    ++from_staging_;
    return;
  }
  // Not what was announced: a step that is repeated, or nothing was announced at all.
  forget_requests(lock);
  std::vector<float> values(static_cast<size_t>(x.count()));
  read(blocks, x.size(1), values.data());
  x.upload(values.data(), x.count());
}

}  // namespace panvae
