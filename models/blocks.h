// Which blocks of contiguous peaks the block VAE sees, and how blocks become peaks again (SPEC M3).
#pragma once
#include <cstdint>
#include <vector>

namespace panvae {

// Pass p over the data cuts `peaks` peaks into blocks of `size` from the offset slide * (p mod size / slide) on. What that
// leaves at the ends is covered too, so every pass sees every peak: with an offset a first block begins at peak 0, and where
// peaks remain behind the last block one more is aligned with the end. These overlap their neighbours. At offset 0 the blocks
// are the tiling that embeddings are made of: ceil(peaks / size) blocks of which the last may overlap the one before.
// With at most `size` peaks there is one block of all of them.
class BlockSchedule {
 public:
  // size and slide > 0, slide <= size. A slide that does not divide the size has a shorter last step: offsets are the
  // multiples of slide below size.
  BlockSchedule(int64_t peaks, int64_t size, int64_t slide);
  int64_t peaks() const { return peaks_; }
  int64_t size() const { return size_; }                          // peaks of a block: at most peaks()
  int64_t phases() const { return phases_; }                      // passes with offsets of their own
  std::vector<int64_t> starts(int64_t pass) const;                // first peaks, ascending; passes count from 0
  const std::vector<int64_t>& tiling() const { return tiling_; }  // starts(0)
  int64_t tiles() const { return static_cast<int64_t>(tiling_.size()); }
  int64_t blocks_of(int64_t pass) const;  // starts(pass).size()

 private:
  int64_t peaks_, size_, slide_, phases_;
  std::vector<int64_t> tiling_;
};

// Values of tiled blocks [tiles, size] to peaks [peaks]; where two blocks overlap their mean.
void stitch(const BlockSchedule& schedule, const float* blocks, float* peaks);

}  // namespace panvae
