#include "data/batch_effects.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "base/threads.h"
#include "data/large_dataset.h"

namespace panvae::data {

namespace {

constexpr double tolerance = 1e-7;

// Level of a row: its text, or missing_level.
std::string level_of(const Column& column, int64_t row) {
  return column.missing(row) ? BatchEffects::missing_level : column.text(row);
}

std::vector<std::string> levels_among(const Column& column, const std::vector<int64_t>& rows) {
  std::vector<std::string> levels;
  for (int64_t r : rows) levels.push_back(level_of(column, r));
  std::sort(levels.begin(), levels.end());
  levels.erase(std::unique(levels.begin(), levels.end()), levels.end());
  return levels;
}

// A few cells that are no number ('90+') make a factor of a column of ages, with a level for each; who names it as a covariate means numbers.
void refuse_numbers_as_levels(const Column& column, const Table& obs, const std::vector<std::string>& levels) {
  constexpr int64_t kMany = 10;
  double x = 0;
  const auto is_number = [&](const std::string& level) { return parse_number(level, x); };
  const int64_t numbers = std::count_if(levels.begin(), levels.end(), is_number);
  if (numbers < kMany || 2 * numbers < static_cast<int64_t>(levels.size())) return;
  int64_t row = 0;
  while (row + 1 < obs.rows() && (column.missing(row) || is_number(column.text(row)))) ++row;
  fail_input(fmt::format("{} is no number, which would make a factor of {} levels of the covariate", quoted(column.text(row)), levels.size()),
             fmt::format("sample {}, column {}", quoted(obs.keys[static_cast<size_t>(row)]), quoted(column.name)),
             "write numbers, nothing (or NA) where unknown; --batch-key takes the column as a factor");
}

// Intercept and preserved columns on the given rows: [rows, columns]. Factors by dummies of all but their first level.
Eigen::MatrixXd preserved_design(const Table& obs, const std::vector<int64_t>& rows, const std::vector<std::string>& preserve) {
  const auto n = static_cast<int64_t>(rows.size());
  Eigen::MatrixXd design = Eigen::MatrixXd::Ones(n, 1);
  auto append = [&](const Eigen::VectorXd& column) {
    design.conservativeResize(Eigen::NoChange, design.cols() + 1);
    design.col(design.cols() - 1) = column;
  };
  for (const std::string& name : preserve) {
    const Column& column = obs.at(name);
    if (column.numeric && name != "cohort") {
      double sum = 0;
      int64_t count = 0;
      for (int64_t r : rows)
        if (!column.missing(r)) sum += column.number[static_cast<size_t>(r)], ++count;
      Eigen::VectorXd v(n);
      for (int64_t i = 0; i < n; ++i)
        v[i] = column.missing(rows[static_cast<size_t>(i)])
                   ? 0
                   : column.number[static_cast<size_t>(rows[static_cast<size_t>(i)])] - sum / static_cast<double>(count);
      append(v);
      continue;
    }
    const std::vector<std::string> levels = levels_among(column, rows);
    for (size_t l = 1; l < levels.size(); ++l) {
      Eigen::VectorXd v(n);
      for (int64_t i = 0; i < n; ++i) v[i] = level_of(column, rows[static_cast<size_t>(i)]) == levels[l];
      append(v);
    }
  }
  return design;
}

}  // namespace

BatchEffects::BatchEffects(const Table& obs, const std::vector<int64_t>& rows, const std::vector<std::string>& batch_keys,
                           const std::vector<std::string>& covariate_keys) {
  auto add = [&](const std::string& name, bool as_batch) {
    const Column& column = obs.at(name);
    if (std::any_of(terms_.begin(), terms_.end(), [&](const Term& t) { return t.name == name; }))
      fail_usage(fmt::format("column {} is named twice", quoted(name)), "--batch-key, --covariate", "name it once");
    Term term;
    term.name = name;
    term.numeric = column.numeric && !as_batch;
    if (term.numeric) {
      double sum = 0, low = INFINITY, high = -INFINITY;
      int64_t count = 0;
      for (int64_t r : rows) {
        if (column.missing(r)) continue;
        const double v = column.number[static_cast<size_t>(r)];
        sum += v;
        low = std::min(low, v);
        high = std::max(high, v);
        ++count;
      }
      if (count == 0 || low == high) {
        log::warning("covariate {} does not vary over the training samples: nothing to remove", quoted(name));
        return;
      }
      if (!std::isfinite(sum)) fail_input("an infinite covariate", fmt::format("column {}", quoted(name)), "correct the table");
      term.mean = sum / static_cast<double>(count);
    } else {
      term.levels = levels_among(column, rows);
      if (!as_batch) refuse_numbers_as_levels(column, obs, term.levels);
      if (term.levels.size() < 2) {
        log::warning("{} has one level over the training samples: nothing to remove", quoted(name));
        return;
      }
    }
    terms_.push_back(std::move(term));
  };
  for (const std::string& name : batch_keys) add(name, true);
  for (const std::string& name : covariate_keys) add(name, false);
}

int64_t BatchEffects::columns() const {
  int64_t n = 0;
  for (const Term& t : terms_) n += t.columns();
  return n;
}

Eigen::MatrixXd BatchEffects::encode(const Table& obs, UnknownBatch unknown, int64_t& missing) const {
  Eigen::MatrixXd out = Eigen::MatrixXd::Zero(obs.rows(), columns());
  int64_t first = 0;
  for (const Term& term : terms_) {
    const Column* column = obs.find(term.name);
    if (!column) {
      if (unknown == UnknownBatch::error)
        fail_input(fmt::format("no column {}, whose effect the preprocessing removes", quoted(term.name)), "sample table",
                   "give it with --obs, or leave its effect in with --unknown-batch zero");
      log::warning("no column {}: its effect is not removed", quoted(term.name));
      first += term.columns();
      continue;
    }
    const auto last = static_cast<int64_t>(term.levels.size()) - 1;
    for (int64_t r = 0; r < obs.rows(); ++r) {
      missing += column->missing(r);
      if (term.numeric) {
        double value = term.mean;
        if (!column->missing(r)) {
          if (!column->numeric && !parse_number(column->text(r), value))
            fail_input(fmt::format("{} is no number", quoted(column->text(r))),
                       fmt::format("sample {}, column {}", quoted(obs.keys[static_cast<size_t>(r)]), quoted(term.name)),
                       "the covariate was numeric when the preprocessing was fitted");
          if (column->numeric) value = column->number[static_cast<size_t>(r)];
        }
        out(r, first) = value - term.mean;
        continue;
      }
      const std::string level = level_of(*column, r);
      const auto at = std::lower_bound(term.levels.begin(), term.levels.end(), level);
      if (at == term.levels.end() || *at != level) {
        // A missing value needs no level of its own to be tolerable: the sample keeps the mean over levels.
        if (unknown == UnknownBatch::error && !column->missing(r))
          fail_input(fmt::format("level {} of {} does not occur in the training samples", quoted(level), quoted(term.name)),
                     fmt::format("sample {}", quoted(obs.keys[static_cast<size_t>(r)])), "leave the effect of unknown levels in with --unknown-batch zero");
        continue;
      }
      const int64_t l = at - term.levels.begin();
      if (l == last) out.row(r).segment(first, last).setConstant(-1);
      else out(r, first + l) = 1;
    }
    first += term.columns();
  }
  return out;
}

template <class Matrix>
void BatchEffects::fit(const Matrix& x, const Table& obs, const std::vector<int64_t>& rows, const std::vector<std::string>& preserve) {
  const auto n = static_cast<int64_t>(rows.size()), g = static_cast<int64_t>(x.cols());
  const Eigen::MatrixXd design = preserved_design(obs, rows, preserve);
  int64_t missing = 0;
  const Eigen::MatrixXd ours = encode(obs.select(rows), UnknownBatch::error, missing);
  const int64_t d = design.cols(), p = ours.cols();
  // Gram-Schmidt from left to right, twice for orthogonality to working precision. `source` names each column kept.
  Eigen::MatrixXd q(n, std::min(n, d + p));
  Eigen::MatrixXd r = Eigen::MatrixXd::Zero(d + p, d + p);
  std::vector<int64_t> source;
  std::vector<bool> kept(static_cast<size_t>(p), false);
  for (int64_t c = 0; c < d + p; ++c) {
    Eigen::VectorXd v = c < d ? design.col(c) : ours.col(c - d);
    const double norm = v.norm();
    const auto k = static_cast<int64_t>(source.size());
    Eigen::VectorXd projection = Eigen::VectorXd::Zero(k);
    for (int pass = 0; pass < 2 && k > 0; ++pass) {
      const Eigen::VectorXd part = q.leftCols(k).transpose() * v;
      v -= q.leftCols(k) * part;
      projection += part;
    }
    if (k == n || !(v.norm() > tolerance * norm)) continue;
    r.col(k).head(k) = projection;
    r(k, k) = v.norm();
    q.col(k) = v / r(k, k);
    source.push_back(c);
    if (c >= d) kept[static_cast<size_t>(c - d)] = true;
  }
  const auto rank = static_cast<int64_t>(source.size());
  // Rows of R^-1 Q^T: what multiplies x to give each coefficient. [rank, n]
  const Eigen::MatrixXd solve = r.topLeftCorner(rank, rank).template triangularView<Eigen::Upper>().solve(q.leftCols(rank).transpose());
  coefficients_ = RowMatrix<double>::Zero(p, g);
  Eigen::MatrixXd wanted(std::count(kept.begin(), kept.end(), true), n);
  std::vector<int64_t> target;
  for (int64_t k = 0; k < rank; ++k)
    if (source[static_cast<size_t>(k)] >= d) {
      wanted.row(static_cast<int64_t>(target.size())) = solve.row(k);
      target.push_back(source[static_cast<size_t>(k)] - d);
    }
  over_columns(x, 64, [&](int64_t begin, int64_t end) {
    Eigen::MatrixXd block(n, end - begin);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t c = begin; c < end; ++c) block(i, c - begin) = static_cast<double>(x(rows[static_cast<size_t>(i)], c));
    for (int64_t c = 0; c < end - begin; ++c) {
      auto column = block.col(c).array();
      const int64_t present = n - column.isNaN().count();
      if (present == n) continue;
      const double mean = column.isNaN().select(0.0, column).sum() / static_cast<double>(std::max<int64_t>(present, 1));
      block.col(c) = column.isNaN().select(mean, column).matrix().eval();
    }
    const Eigen::MatrixXd beta = wanted * block;
    for (size_t k = 0; k < target.size(); ++k) coefficients_.row(target[k]).segment(begin, end - begin) = beta.row(static_cast<int64_t>(k));
  });

  aliased_.clear();
  int64_t first = 0;
  for (const Term& term : terms_) {
    int64_t lost = 0;
    for (int64_t c = 0; c < term.columns(); ++c) {
      if (kept[static_cast<size_t>(first + c)]) continue;
      ++lost;
      aliased_.push_back(term.numeric ? term.name : term.name + "=" + term.levels[static_cast<size_t>(c)]);
    }
    if (lost > 0)
      log::warning("{} of {} columns of {} cannot be told from {}: {} not corrected", lost, term.columns(), quoted(term.name),
                   preserve.empty() ? std::string("the other effects") : fmt::format("{} and the other effects", quoted(preserve.front())),
                   lost == term.columns() ? "it is" : "these parts of it are");
    first += term.columns();
  }
  if (rank >= n) log::warning("as many effects as training samples ({}): what is removed is noise too; name fewer columns", n);
}
template void BatchEffects::fit(const RowMatrix<float>&, const Table&, const std::vector<int64_t>&, const std::vector<std::string>&);
template void BatchEffects::fit(const RowMatrix<double>&, const Table&, const std::vector<int64_t>&, const std::vector<std::string>&);
template void BatchEffects::fit(const LargeMatrix<float>&, const Table&, const std::vector<int64_t>&, const std::vector<std::string>&);

void BatchEffects::subtract(const Eigen::MatrixXd& encoded, int64_t sample, double* values) const {
  Eigen::Map<Eigen::RowVectorXd> row(values, coefficients_.cols());
  for (int64_t c = 0; c < encoded.cols(); ++c)
    if (const double e = encoded(sample, c); e != 0) row -= e * coefficients_.row(c);
}

Json BatchEffects::settings() const {
  Json terms = Json::array();
  for (const Term& t : terms_) {
    Json term = {{"name", t.name}, {"numeric", t.numeric}};
    if (t.numeric) term["mean"] = t.mean;
    else term["levels"] = t.levels;
    terms.push_back(std::move(term));
  }
  return {{"terms", std::move(terms)}, {"aliased", aliased_}};
}

BatchEffects BatchEffects::from(const Json& settings, const NamedArray& coefficients) {
  BatchEffects out;
  for (const Json& term : settings.at("terms")) {
    Term t;
    t.name = term.at("name").get<std::string>();
    t.numeric = term.at("numeric").get<bool>();
    if (t.numeric) t.mean = term.at("mean").get<double>();
    else t.levels = term.at("levels").get<std::vector<std::string>>();
    out.terms_.push_back(std::move(t));
  }
  out.aliased_ = settings.at("aliased").get<std::vector<std::string>>();
  if (coefficients.shape.size() != 2 || coefficients.shape[0] != out.columns())
    fail_input("the batch coefficients do not fit their terms", "frozen preprocessing", "the file is damaged");
  out.coefficients_ = Eigen::Map<const RowMatrix<double>>(coefficients.values.data(), coefficients.shape[0], coefficients.shape[1]);
  return out;
}

std::vector<std::string> columns_like_batches(const Table& obs) {
  static const std::vector<std::string> words = {"batch", "dataset", "plate",   "center", "centre",    "site",      "platform",
                                                 "run",   "lane",    "library", "study",  "sequencer", "instrument"};
  std::vector<std::string> out;
  for (const Column& c : obs.columns) {
    std::string name = c.name;
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char ch) { return static_cast<char>(std::tolower(ch)); });
    if (std::none_of(words.begin(), words.end(), [&](const std::string& w) {
          return name == w || name.find(w + "_") == 0 || (w.size() > 4 && name.find(w) != std::string::npos) ||
                 (name.size() > w.size() + 1 && name.compare(name.size() - w.size() - 1, w.size() + 1, "_" + w) == 0);
        }))
      continue;
    const size_t levels = as_factor(c).levels.size();
    if (levels >= 2 && levels * 2 <= static_cast<size_t>(obs.rows())) out.push_back(c.name);
  }
  return out;
}

}  // namespace panvae::data
