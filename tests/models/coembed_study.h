// The study and the trainings that the tests of CoembedTrainer share.
#pragma once
#include "coembed_helpers.h"

namespace panvae::test {

inline const Views& study() {
  static const Views v(280);
  return v;
}
inline CoembedSetup setup_of(CoembedMode mode, bool hierarchical = false) {
  CoembedSetup s;
  s.loss.mode = mode;
  s.hierarchical = hierarchical;
  return s;
}
constexpr CoembedMode kModes[] = {CoembedMode::adversarial, CoembedMode::contrastive};

}  // namespace panvae::test
