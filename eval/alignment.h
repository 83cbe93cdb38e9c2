// evaluate alignment: how near is the subspace of the cohorts to the subspace of the embedding? Both are subspaces of the
// space of samples: the one spanned by the centred indicator columns of the cohorts (rank C - 1), the other by the top
// principal components of the embedding. Their Grassmann distance is the length of the vector of principal angles
// (Bjoerck and Golub, Math. Comp. 27 (1973)): 0 if all cohort differences are linear in the components.
//
//   Q_L [N, r], Q_E [N, p]   orthonormal: left singular vectors of the centred labels and of the centred embedding, those
//                            with s > s_1 max(rows, columns) eps; p = min(angles, rank, N - 2)
//   sigma = singular values of Q_L^T Q_E, the n = min(r, p) of them are cosines of the angles
//   angle = arccos(sigma), and where sigma^2 >= 1/2 arcsin of the singular values of Q - Q'(Q'^T Q), Q the smaller
//           subspace (Knyazev and Argentati, SIAM J. Sci. Comput. 23 (2002)), which keeps small angles exact
//   distance = sqrt(sum angle^2), between 0 and sqrt(n) pi / 2
// Agrees with scipy.linalg.subspace_angles. Subspaces of different dimension: distance leaves |r - p| directions out; the
// Schubert-completed distance sqrt(distance^2 + |r - p| pi^2 / 4) (Ye and Lim, SIAM J. Matrix Anal. Appl. 37 (2016)) counts
// each as a right angle.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/dataset.h"
#include "eval/controls.h"
#include "eval/selection.h"

namespace panvae::eval {

struct AlignmentOptions {
  int64_t angles = 100;                     // the embedding is cut to so many principal components
  On on = On::automatic;                    // which samples
  const data::Table* cohort_map = nullptr;  // see cohort_names()
  int permutations = 200;                   // of the labels, for the chance level; 0: none
  Control control = Control::none;          // permuted: labels are permuted once before anything else
  uint64_t seed = 0;                        // of permutations
};

struct AlignmentResult {
  double distance = 0, completed_distance = 0, max_distance = 0;  // max: sqrt(n) pi / 2
  std::vector<double> angles;                                     // radians, ascending: [n]
  int64_t label_rank = 0, embedding_rank = 0;                     // r, p
  double mean_squared_cosine = 0;                                 // |Q_L^T Q_E|^2 / r: share of the label subspace that the embedding holds
  double chance_squared_cosine = 0;                               // its expectation for random labels, p / (N - 1)
  // Over permutations of the labels (whole donors: permute_donors); NaN where there are none, z also where they do not vary.
  double chance_distance = 0, chance_sd = 0, z = 0;  // z = (distance - chance_distance) / chance_sd: below 0 is better than chance
  int permutations = 0;
  int64_t n = 0, donors = 0, dimensions = 0, classes = 0, unlabelled = 0;
  std::string on;
  Control control = Control::none;
  std::vector<std::string> warnings;
  double seconds = 0;
};

// Uses the columns cohort, and donor, split, dataset where present. Depends neither on the order of the samples nor on the
// number of threads. ErrorCode::usage: fewer than one angle. ErrorCode::input: no cohort column, fewer than two cohorts or
// three samples, an embedding that is constant or not finite.
AlignmentResult evaluate_alignment(const data::Dataset<double>& embedding, const AlignmentOptions& options = {});

// Principal angles between the column spaces of a [N, r] and b [N, p], both orthonormal: min(r, p), ascending.
std::vector<double> principal_angles(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b);

// The keys of CLI.md and more; text for the terminal.
Json to_json(const AlignmentResult& result);
std::string to_text(const AlignmentResult& result);

}  // namespace panvae::eval
