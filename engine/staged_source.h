// Blocks that a thread reads while the device computes: for matrices that do not fit the device, or not the host either.
#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include "engine/batch_source.h"

namespace panvae {

// What is announced by prefetch() is read into one of two staging buffers in the order of announcement; fill() waits for it
// and copies it to the device, from memory that a GPU reads at full speed. What was not announced is read by fill() itself.
class StagedBlockSource : public BlockSource {
 public:
  // Puts features [first, first + count) of a sample to `to`. Called by one thread at a time, not always the same. What it
  // throws comes out of fill().
  using Read = std::function<void(int64_t sample, int64_t first, int64_t count, float* to)>;
  StagedBlockSource(Context& context, Read read, int64_t samples, int64_t features);
  ~StagedBlockSource() override;
  StagedBlockSource(const StagedBlockSource&) = delete;
  StagedBlockSource& operator=(const StagedBlockSource&) = delete;

  int64_t samples() const override { return samples_; }
  int64_t features() const override { return features_; }
  void fill(const std::vector<BlockRef>& blocks, Tensor& x) override;
  void prefetch(const std::vector<BlockRef>& blocks, int64_t width) override;
  int64_t fills_from_staging() const { return from_staging_; }  // how often fill() was served by the thread

 private:
  // Memory of the host that the device copies from.
  struct Staging {
    float* data = nullptr;
    int64_t floats = 0;
  };
  struct Request {
    std::vector<BlockRef> blocks;
    int64_t width = 0;
    size_t staging = 0;
    bool done = false;
    std::exception_ptr failed;
  };
  void work();
  void read(const std::vector<BlockRef>& blocks, int64_t width, float* to) const;
  float* staging(size_t which, int64_t floats);
  void forget_requests(std::unique_lock<std::mutex>& lock);

  Context& context_;
  Read read_;
  int64_t samples_, features_, from_staging_ = 0;
  Staging staging_[2];
  size_t next_staging_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Request> requests_;  // oldest first, two at most; the thread works on the first that is not done
  bool working_ = false, ending_ = false;
  std::thread thread_;
};

}  // namespace panvae
