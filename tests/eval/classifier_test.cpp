#include "eval/classifier.h"

#include <array>
#include <cmath>

#include "base/interrupt.h"
#include "eval/xgboost_library.h"
#include "tests/eval/helpers.h"  // first: it silences a false warning of GCC in Eigen

namespace panvae::eval {
namespace {

Confusion matrix(int64_t classes, std::initializer_list<int64_t> values) {
  Confusion c(classes, classes);
  std::copy(values.begin(), values.end(), c.data());
  return c;
}

// scikit-learn 1.3 on y = [0,0,0,0,1,1,1,2,2,2], p = [0,0,1,2,1,1,0,2,2,2]: accuracy 0.7, balanced accuracy
// (2/4 + 2/3 + 3/3)/3, macro-F1 (4/7 + 4/6 + 6/7)/3.
TEST(Scores, ByHand) {
  const std::array<int32_t, 10> y{0, 0, 0, 0, 1, 1, 1, 2, 2, 2}, p{0, 0, 1, 2, 1, 1, 0, 2, 2, 2};
  const Confusion c = confusion(y, p, 3);
  EXPECT_EQ(c, matrix(3, {2, 1, 1, 1, 2, 0, 0, 0, 3}));
  EXPECT_DOUBLE_EQ(accuracy(c), 0.7);
  EXPECT_DOUBLE_EQ(balanced_accuracy(c), (0.5 + 2.0 / 3 + 1) / 3);
  EXPECT_DOUBLE_EQ(macro_f1(c), (4.0 / 7 + 4.0 / 6 + 6.0 / 7) / 3);
}

// Class 2 never occurs; class 1 is predicted once and never true: it counts for F1 (as 0), not for balanced accuracy.
TEST(Scores, AbsentClasses) {
  const Confusion c = matrix(3, {3, 1, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_DOUBLE_EQ(balanced_accuracy(c), 0.75);
  EXPECT_DOUBLE_EQ(macro_f1(c), (6.0 / 7 + 0) / 2);
  const Confusion none = matrix(2, {0, 0, 0, 0});
  EXPECT_TRUE(std::isnan(accuracy(none)) && std::isnan(balanced_accuracy(none)) && std::isnan(macro_f1(none)));
}

TEST(Scores, SpreadOverFolds) {
  const Spread s = spread(std::array<double, 4>{1, 2, 3, 6});
  EXPECT_DOUBLE_EQ(s.mean, 3);
  EXPECT_DOUBLE_EQ(s.sd, std::sqrt(14.0 / 3));
  EXPECT_DOUBLE_EQ(s.se, std::sqrt(14.0 / 3) / 2);
  EXPECT_TRUE(std::isnan(spread(std::array<double, 1>{1}).sd));
  EXPECT_TRUE(std::isnan(spread({}).mean));
}

TEST(XgboostLibrary, AMissingOneIsTheMachinesFault) {
  const std::array<std::string, 1> names{"libpanvae_no_such_library.so.0"};
  EXPECT_ERROR(ErrorCode::machine, "libxgboost0", xgboost::open_library(names));
  const std::array<std::string, 1> wrong{"libm.so.6"};  // a library, but not this one
  EXPECT_ERROR(ErrorCode::machine, "lacks the function XGBoostVersion", xgboost::open_library(wrong));
}

TEST(XgboostLibrary, SaysItsVersion) {
  EXPECT_TRUE(std::isdigit(static_cast<unsigned char>(xgboost::version().at(0))));
}

TEST(XgboostLibrary, ItsErrorsBecomeOurs) {
  const std::array<float, 4> x{1, 2, 3, 4};
  xgboost::Matrix m(x, 2, 2, 1);
  EXPECT_ERROR(ErrorCode::usage, "3 labels for 2 rows", m.set_label(std::array<float, 3>{0, 1, 0}));
  m.set_label(std::array<float, 2>{0, 1});
  const auto train = [&] {
    xgboost::Booster b(m, {{"objective", "no:such"}, {"verbosity", "0"}});
    b.update(0, m);
  };
  EXPECT_ERROR(ErrorCode::internal, "no:such", train());
  EXPECT_ERROR(ErrorCode::usage, "4 values for [3, 2]", xgboost::Matrix(x, 3, 2, 1));
}

TEST(Classifier, SeparatesWhatIsSeparable) {
  const auto d = test::cohorts(3, 40, 5, 6);
  const auto& label = d.obs.at("cohort").code;
  std::vector<int64_t> train, testing;
  std::vector<int32_t> truth;
  for (int64_t i = 0; i < 120; ++i) {
    if (i % 4) train.push_back(i);
    else testing.push_back(i), truth.push_back(label[static_cast<size_t>(i)]);
  }
  const auto predicted = train_and_predict(d.x, train, label, testing, 3, {});
  EXPECT_GE(accuracy(confusion(truth, predicted, 3)), 0.96);
}

// Data on which each option changes what is predicted in a known way.
TEST(Classifier, EachOptionOfTheTreesCounts) {
  // On a line, a band of the second class between two of the first, 10 samples each.
  const std::vector<int64_t> rows = test::all_rows(30);
  data::RowMatrix<double> line(30, 1);
  std::vector<int32_t> band(30), inverted(30);
  for (int64_t i = 0; i < 30; ++i) {
    line(i, 0) = static_cast<double>(i);
    band[static_cast<size_t>(i)] = i >= 10 && i < 20;
    inverted[static_cast<size_t>(i)] = !band[static_cast<size_t>(i)];
  }
  const auto predicted = [&](const std::vector<int32_t>& label, auto&& set) {
    TreeOptions o;
    set(o);
    return train_and_predict(line, rows, label, rows, 2, o);
  };
  const std::vector<int32_t> first(30, 0);
  EXPECT_EQ(predicted(band, [](TreeOptions&) {}), band);
  EXPECT_EQ(predicted(band, [](TreeOptions& o) { o.gamma = 1e6; }), first) << "no split is worth it: the largest class";
  EXPECT_EQ(predicted(band, [](TreeOptions& o) { o.min_child = 1e6; }), first) << "no child is large enough";
  EXPECT_NE(predicted(band, [](TreeOptions& o) { o.max_bin = 2; }), band) << "one threshold is too few for three bands";
  // Leaves that weigh nothing leave all classes equal, and the first of equals is not the largest here.
  EXPECT_EQ(predicted(inverted, [](TreeOptions&) {}), inverted);
  EXPECT_EQ(predicted(inverted, [](TreeOptions& o) { o.eta = 1e-30; }), first);
  EXPECT_EQ(predicted(inverted, [](TreeOptions& o) { o.lambda = 1e30; }), first);
  // Classes by opposite corners of a square, of 10, 9, 8 and 7 samples: a sum of thresholds is right on three corners at most.
  data::RowMatrix<double> square(34, 2);
  std::vector<int32_t> corner;
  for (int k = 0; k < 4; ++k)
    for (int i = 0; i < 10 - k; ++i) {
      square.row(static_cast<int64_t>(corner.size())) << k / 2, k % 2;
      corner.push_back(k / 2 != k % 2);
    }
  const auto of_depth = [&](int depth) {
    TreeOptions o;
    o.max_depth = depth;
    return train_and_predict(square, test::all_rows(34), corner, test::all_rows(34), 2, o);
  };
  EXPECT_NE(of_depth(1), corner);
  EXPECT_EQ(of_depth(2), corner);
}

// The last trainings go from thread to thread between their rounds: what comes out must not know.
TEST(Classifier, TrainingsThatTakeTurnsAreEachAlone) {
  const auto d = test::cohorts(3, 30, 8, 0.5), small = test::cohorts(2, 20, 3, 1);
  std::vector<std::vector<int64_t>> train(5), testing(5);
  for (int64_t i = 0; i < 90; ++i)
    for (int64_t k = 0; k < 5; ++k) (i % 5 == k ? testing : train)[static_cast<size_t>(k)].push_back(i);
  std::vector<Classification> tasks;
  for (size_t k = 0; k < 5; ++k) {
    TreeOptions trees;
    trees.rounds = 30 + 10 * static_cast<int>(k);
    tasks.push_back({&d.x, train[k], d.obs.at("cohort").code, testing[k], 3, trees});
  }
  const std::vector<int64_t> few = test::all_rows(40);
  tasks.insert(tasks.begin(), {&small.x, few, small.obs.at("cohort").code, few, 2, {}});
  for (const int threads : {1, 2, 3, 5, 8}) {
    const test::Threads some(threads);
    const std::vector<Classified> together = classify_side_by_side(tasks, "turns");
    ASSERT_EQ(together.size(), tasks.size());
    for (size_t t = 0; t < tasks.size(); ++t) {
      const Classification& c = tasks[t];
      EXPECT_EQ(together[t].predicted, train_and_predict(*c.x, c.train, c.label, c.test, c.classes, c.trees)) << t << " of " << threads << " threads";
      EXPECT_GT(together[t].seconds, 0);
    }
  }
}

TEST(Classifier, AnErrorEndsAll) {
  const auto d = test::cohorts(2, 10, 3, 3);
  const std::vector<int64_t> rows = test::all_rows(20), beyond{20};
  const std::vector<int32_t>& label = d.obs.at("cohort").code;
  TreeOptions endless;
  endless.rounds = 1 << 30;
  const std::vector<Classification> tasks = {{&d.x, rows, label, rows, 2, endless}, {&d.x, rows, label, rows, 2, endless}, {&d.x, beyond, label, rows, 2, {}}};
  const test::Threads three(3);
  EXPECT_ERROR(ErrorCode::usage, "row 20 of 20", classify_side_by_side(tasks, "error"));
}

TEST(Classifier, CtrlCStops) {
  const auto d = test::cohorts(2, 10, 3, 3);
  set_interrupted(true);
  const Error e = test::error_of([&] { train_and_predict(d.x, test::all_rows(15), d.obs.at("cohort").code, std::vector<int64_t>{16}, 2, {}); });
  set_interrupted(false);
  EXPECT_EQ(e.code(), ErrorCode::interrupted);
}

TEST(Classifier, RefusesBadArguments) {
  const auto d = test::cohorts(2, 5, 3, 3);
  std::vector<int32_t> label = d.obs.at("cohort").code;
  const std::vector<int64_t> rows = test::all_rows(10), none;
  EXPECT_ERROR(ErrorCode::usage, "1 classes", train_and_predict(d.x, rows, label, rows, 1, {}));
  EXPECT_ERROR(ErrorCode::usage, "0 rows to train on", train_and_predict(d.x, none, label, rows, 2, {}));
  EXPECT_ERROR(ErrorCode::usage, "row 10 of 10", train_and_predict(d.x, rows, label, std::vector<int64_t>{10}, 2, {}));
  EXPECT_ERROR(ErrorCode::usage, "9 labels for 10 rows", train_and_predict(d.x, rows, std::span(label).first(9), rows, 2, {}));
  TreeOptions none_grown;
  none_grown.rounds = 0;
  EXPECT_ERROR(ErrorCode::usage, "0 rounds", train_and_predict(d.x, rows, label, rows, 2, none_grown));
  // Of several side by side the error of one is that of all.
  const std::vector<Classification> two = {{&d.x, rows, label, rows, 2, {}}, {&d.x, rows, label, rows, 2, none_grown}};
  EXPECT_ERROR(ErrorCode::usage, "0 rounds", classify_side_by_side(two, "two"));
  label[4] = 2;
  EXPECT_ERROR(ErrorCode::usage, "class 2 of 2", train_and_predict(d.x, rows, label, rows, 2, {}));
}

}  // namespace
}  // namespace panvae::eval
