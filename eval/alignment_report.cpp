// What `evaluate alignment` prints and writes.
#include <fmt/format.h>

#include <cmath>

#include "base/text.h"
#include "eval/alignment.h"

namespace panvae::eval {

namespace {

Json number(double v) {
  return std::isfinite(v) ? Json(v) : Json(nullptr);
}

}  // namespace

Json to_json(const AlignmentResult& r) {
  Json j;
  j["distance"] = r.distance;
  j["angles"] = r.angles;
  j["n_angles"] = r.angles.size();
  j["max_distance"] = r.max_distance;
  j["chance_distance"] = number(r.chance_distance);
  j["chance_sd"] = number(r.chance_sd);
  j["z"] = number(r.z);
  j["permutations"] = r.permutations;
  j["label_rank"] = r.label_rank;
  j["embedding_rank"] = r.embedding_rank;
  j["relative_distance"] = r.distance / r.max_distance;
  j["completed_distance"] = r.completed_distance;
  j["mean_squared_cosine"] = r.mean_squared_cosine;
  j["chance_squared_cosine"] = r.chance_squared_cosine;
  j["n"] = r.n;
  j["donors"] = r.donors;
  j["dimensions"] = r.dimensions;
  j["classes"] = r.classes;
  j["unlabelled"] = r.unlabelled;
  j["on"] = r.on;
  j["control"] = r.control == Control::permuted ? "permuted" : "none";
  j["warnings"] = r.warnings;
  return j;
}

std::string to_text(const AlignmentResult& r) {
  const auto shown = [](double v) { return std::isfinite(v) ? fmt::format("{:.4f}", v) : std::string("NA"); };
  TextTable t({"Grassmann distance", ""});
  t.row({r.control == Control::permuted ? "distance, labels permuted" : "distance", shown(r.distance)});
  t.row({"largest possible", shown(r.max_distance)});
  t.row({fmt::format("by chance, mean of {} permutations", r.permutations), shown(r.chance_distance)});
  t.row({"  standard deviation", shown(r.chance_sd)});
  t.row({"  z", std::isfinite(r.z) ? fmt::format("{:.1f}", r.z) : "NA"});
  t.row({"Schubert-completed distance", shown(r.completed_distance)});
  t.row({"mean squared cosine", shown(r.mean_squared_cosine)});
  t.row({"  by chance, p / (n - 1)", shown(r.chance_squared_cosine)});
  t.row({"angles", std::to_string(r.angles.size())});
  t.row({"  smallest, radians", shown(r.angles.front())});
  t.row({"  largest", shown(r.angles.back())});
  std::string out = fmt::format("{} samples of {} donors ({}), {} cohorts (rank {}), top {} components of {} dimensions\n\n", r.n, r.donors, r.on, r.classes,
                                r.label_rank, r.embedding_rank, r.dimensions);
  return out + t.str();
}

}  // namespace panvae::eval
