// panvae report as its users run it.
#include <filesystem>

#include "base/json.h"
#include "helpers.h"
#include "tests/base/helpers.h"

namespace panvae::test {
namespace {

// A small results folder, written by hand as another program would.
void write_results(const Folder& folder, const std::string& name, const std::string& label) {
  std::filesystem::create_directories(folder.path() / name / "curves");
  write_file(folder.file(name + "/results.json"), R"({"format": "panvae-results", "version": 1, "seed": 3,
    "models": [{"id": "vae", "label": ")" + label + R"(", "kind": "vae"}],
    "cohort": [{"model": "vae", "control": null, "accuracy_mean": 0.75, "accuracy_se": 0.125, "folds": [0.5, 1.0]}],
    "tables": ["curves/vae.tsv"]})");
  write_file(folder.file(name + "/curves/vae.tsv"), "epoch\ttrain_loss\tvalidation_loss\n1\t3\t4\n2\t2\t3.5\n");
}

TEST(report, makes_one_page_of_several_folders) {
  Folder folder;
  write_results(folder, "one", "VAE");
  write_results(folder, "two", "VAE");
  const Outcome o = shell(kProgram + " report -o page.html one two --title 'A & B' --literature --json report.json", folder.path().string());
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_CONTAINS(o.out, "page.html");
  const Json j = Json::parse(read_file(folder.file("report.json")));
  const std::string page = read_file(folder.file("page.html"));
  EXPECT_EQ(j["bytes"], page.size());
  EXPECT_EQ(j["models"], 2);
  for (const char* part : {"<title>A &amp; B</title>", "VAE (one)", "VAE (two)", "0.750", "MultiSurv", "seed"}) EXPECT_CONTAINS(page, part);
  shell(kProgram + " report -o again.html one two --title 'A & B' --literature", folder.path().string());
  EXPECT_EQ(read_file(folder.file("again.html")), page);
}

TEST(report, what_is_wrong_is_said_and_no_page_is_written) {
  Folder folder;
  write_results(folder, "good", "VAE");
  expect_error(shell(kProgram + " report -o page.html", folder.path().string()), 2, "results");
  expect_error(shell(kProgram + " report -o page.html good nowhere", folder.path().string()), 3,
               "it holds no results.json ('nowhere'): name a folder that 'panvae evaluate all' wrote");
  expect_error(shell(kProgram + " report -o no/such/page.html good", folder.path().string()), 4, "no/such/page.html");
  write_file(folder.file("good/curves/vae.tsv"), "epoch\ttrain_loss\n1\t3\n");
  expect_error(shell(kProgram + " report -o page.html good", folder.path().string()), 3, "validation_loss");
  EXPECT_FALSE(std::filesystem::exists(folder.file("page.html")));
}

}  // namespace
}  // namespace panvae::test
