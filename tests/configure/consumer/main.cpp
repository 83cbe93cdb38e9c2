// components FILE: the singular value of the first component of a matrix in a file.
#include <cstdio>

#include "data/read.h"
#include "eval/pca.h"

int main(int, char** argv) {
  const auto d = panvae::data::read_dataset<double>(argv[1]);
  std::printf("%.3f\n", panvae::eval::fit_pca(d.x, {0, 1, 2}).singular[0]);
}
