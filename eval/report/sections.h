// The sections of a report, one file each, and what they share.
#pragma once
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "eval/report.h"
#include "eval/report/page.h"

namespace panvae::eval {

// Where results come from: one per folder.
struct ReportRun {
  std::string name;  // the folder's
  Json program;
  std::vector<std::string> command;
  uint64_t seed = 0;
  int folds = 0;
  std::optional<double> seconds;
  std::optional<int64_t> peak_memory_bytes;
};

// All inputs as one: ids and labels that two folders use are told apart by the folders' names.
struct ReportContent {
  Results results;
  std::vector<ReportRun> runs;
  std::vector<std::string> missing;  // sections left out, in words
};
ReportContent merge(const std::vector<ReportInput>& inputs);

// The four benchmarks of the paper.
enum class Benchmark { cohort, alignment, survival, expression };
inline constexpr Benchmark kBenchmarks[] = {Benchmark::cohort, Benchmark::alignment, Benchmark::survival, Benchmark::expression};

struct BenchmarkInfo {
  std::string name, axis;  // "Cohort accuracy", the axis' title
  bool higher_is_better = true;
  int digits = 3;
};
BenchmarkInfo info_of(Benchmark b, const Results& r);

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
struct Value {
  double mean = kUnknown, se = kUnknown;
  std::vector<double> folds;  // empty where there are none
};

const std::vector<ResultsScore>& scores_of(const Results& r, Benchmark b);
// `setting` and `within_cohort` are those of survival; elsewhere the score without a setting is meant.
const ResultsScore* find_score(const Results& r, Benchmark b, std::string_view model, std::string_view control = {}, std::string_view setting = "embedding",
                               bool within_cohort = false);
// A number of a score, NaN where missing or null. ErrorCode::input where it is something else.
double number(const ResultsScore& s, const char* key);
// The same for what is counted: ErrorCode::input too where it is missing, negative or a fraction.
int64_t whole_number(const ResultsScore& s, const char* key);
// What Figure 2 shows of a score: accuracy; distance; Uno's C (Harrell's where Uno's is unknown for some model); ratio of differential
// features to the baseline (their number where there is no baseline).
Value value_of(const Results& r, Benchmark b, const ResultsScore& s);
Value c_statistic(const ResultsScore& s, const char* name);  // "uno", "harrell"
// Harrell's C of pairs of patients of one cohort: of a model made for it where there is one, else of the model itself.
Value within_cohort(const Results& r, std::string_view model, std::string_view setting);
// The score of the model itself, NaN if there is none.
Value value_of(const Results& r, Benchmark b, std::string_view model);
// What stands beside it to show that the benchmark can tell: permuted labels, or the cohort mean as a reconstruction.
double control_of(const Results& r, Benchmark b, std::string_view model);
// Models that can be compared: those judged on the same data with the same folds. The key, and the words for people: "RNA", and the
// data where there are several of one modality.
std::string group_of(const ResultsModel& m);
std::string group_words(const Results& r, const std::string& group);
// The best embeddings of a benchmark in each group, several where they are equal; ids of models. Clinical variables alone are not in the running.
std::vector<std::string> best_models(const Results& r, Benchmark b);

bool is_baseline(const ResultsModel& m);   // PCA, grey
bool is_embedding(const ResultsModel& m);  // anything but clinical variables
std::string kind_words(const std::string& kind);
std::string modality_words(const std::string& modality);  // "RNA"
// What was reconstructed, by the modality of those judged: "peaks" where all of them are ATAC, else "features".
std::string feature_words(const Results& r);
// Sorted cohorts of all points and data, at most one mention each.
std::vector<std::string> all_cohorts(const Results& r);
// A factor or numeric cell as text, null where missing.
Json cell_of(const data::Table& t, const char* column, int64_t row);

void add_summary(Page& page, const ReportContent& content);
void add_networks(Page& page, ReportContent& content);
void add_benchmarks(Page& page, ReportContent& content);
void add_embeddings(Page& page, ReportContent& content);
void add_cohorts(Page& page, ReportContent& content);
void add_pairs(Page& page, const ReportContent& content);  // nothing where no model has two modalities
// The best co-embedding by FOSCTTM beside what is not aligned, empty where there is none.
std::string pairs_sentence(const Results& r);
void add_survival(Page& page, ReportContent& content);
void add_expression(Page& page, ReportContent& content);
void add_controls(Page& page, ReportContent& content);
void add_training(Page& page, ReportContent& content);
void add_literature(Page& page, const ReportContent& content);
void add_provenance(Page& page, const ReportContent& content);

}  // namespace panvae::eval
