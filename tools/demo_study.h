// The whole way of a study as a table of commands: what 'panvae demo' runs and what its commands.sh holds.
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace panvae::tools {

using Arguments = std::vector<std::string>;

struct DemoStep {
  std::string name;     // of its result, unique within the study
  Arguments arguments;  // after "panvae"
  bool optional;        // the data may not allow it: then it is left out, which is said
};

// One modality: where its matrix comes from, how it is prepared and trained.
struct DemoModality {
  std::string raw;       // the matrix that preprocess reads
  Arguments convert;     // what makes `raw` of other files: arguments of that command, none where `raw` is there already
  Arguments preprocess;  // options of that command
  Arguments train;       // likewise
};

struct DemoStudy {
  std::string title, folder;
  Arguments simulate;  // options of that command; none where the data are real
  std::optional<DemoModality> rna, atac;
  std::string genes;        // table for the matching, or empty
  Arguments train_coembed;  // options of that command
  std::string pca;          // baselines of 'evaluate all'

  std::string path(const std::string& name) const { return folder + "/" + name; }
  std::string results() const { return path("results"); }
};

// A co-embedding of the demo: by one of the paper's losses, with the pair term, or to the letter without.
struct DemoCoembedding {
  const char *name, *label, *mode, *pair;
};
inline constexpr DemoCoembedding kDemoCoembeddings[] = {{"adversarial", "adversarial", "adversarial", "1"},
                                                        {"contrastive", "contrastive", "contrastive", "1"},
                                                        {"adversarial_no_pair", "adversarial, no pair term", "adversarial", "0"},
                                                        {"contrastive_no_pair", "contrastive, no pair term", "contrastive", "0"}};

// The studies that are shown: a simulated one, or those whose files are in the folder `data`. Folders of real ones lie in `out`.
// ErrorCode::input where `data` is no folder, or holds nothing that is known.
std::vector<DemoStudy> demo_studies(const std::string& out, const std::string& data, bool quick);

// Its commands in their order. `settings` ("KEY=VALUE") are those of every training, behind the study's own.
std::vector<DemoStep> demo_steps(const DemoStudy& study, const Arguments& settings);

// What --data takes, for people.
std::string demo_data_help();

}  // namespace panvae::tools
