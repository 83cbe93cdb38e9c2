// The loop that all trainers share: epochs of steps, early stopping that restores the best weights, Ctrl-C, checkpoints that
// continue to the same bits. What a step does and what is measured after an epoch is the business of who derives from it.
#pragma once
#include <string>
#include <vector>

#include "engine/optimizer.h"
#include "engine/readback.h"
#include "engine/step_graph.h"

namespace panvae {

struct TrainOptions {
  int64_t batch_size = 128;
  double learning_rate = 1e-4;
  double weight_decay = 1e-4;
  double clip_norm = 0;  // 0: off
  int64_t max_epochs = 500;
  int64_t min_epochs = 0;
  int64_t patience = 10;  // epochs without a better validation loss, counted after the KL warm-up and min_epochs
  // An epoch has at least so many steps: it passes over a small set several times, so that warm-up, patience and the running
  // statistics of batch normalisation mean the same for sets of any size.
  int64_t epoch_steps = 1;
  double checkpoint_seconds = 60;
  uint64_t seed = 0;
  bool graph = true;  // steps run as graphs where the device has some; false: kernel by kernel. The bits are the same
};

struct TrainResult {
  int64_t epochs = 0, best_epoch = 0, steps = 0, skipped_steps = 0;
  int64_t replayed_steps = 0;  // of this call, run as a graph
  std::string stopped_because;
  double train_loss = 0, validation_loss = 0;  // of the best epoch
  double seconds = 0, samples_per_second = 0;  // of this call, not of runs it continued; items a second where they are no samples
  double loading_seconds = 0;                  // of seconds: waiting for data
};

// A network with an Adam of its own, and what is kept of it: the best weights so far.
class Learner {
 public:
  // `prefix` stands before its tensors in a checkpoint.
  Learner(ModuleState& state, AdamOptions adam, double learning_rate, double clip_norm, std::string prefix = "");
  ModuleState& state;
  Adam adam;

  void keep_best();
  void restore_best();  // nothing where no best was kept
  // Running statistics change in the forward pass: these take them back to where they were before the step.
  void keep_buffers();
  void restore_buffers();
  void write(class TensorWriter& w) const;
  void read(const class SafetensorsReader& file);

 private:
  std::string prefix_;
  Tensor best_, best_buffers_;  // flat copies of weights and running statistics, once there are any
  Tensor buffers_before_;       // where the module has some
};

class TrainingLoop {
 public:
  virtual ~TrainingLoop() = default;
  TrainingLoop(const TrainingLoop&) = delete;
  TrainingLoop& operator=(const TrainingLoop&) = delete;

  // Where checkpoints go; empty: none are written. They hold everything that resume() needs.
  std::string checkpoint_path;
  // A text that a checkpoint must have been written with, compared by resume(): the configuration and the data's identity.
  std::string fingerprint;

  // Trains to the end and leaves the best weights (and running statistics) in the states and the modules in evaluation mode.
  // On Ctrl-C writes the checkpoint and throws Error{interrupted}. A loss that is not finite throws an Error naming the op
  // and the tensor it came from.
  TrainResult run();
  // Continues from checkpoint_path: run() then gives the same bits as if it had never stopped. Returns the number of
  // whole epochs that are done.
  int64_t resume();
  void write_checkpoint();
  // How steps run: for those who watch it.
  StepGraph& graph() { return graph_; }

 protected:
  // `sums` numbers are added up over the steps of an epoch: the first is the loss, the last its weight in the mean.
  TrainingLoop(Context& context, TrainOptions options, size_t sums);

  // What follows an epoch. Smaller losses are better.
  struct Judgement {
    bool counts = true;  // a candidate for the best, and for patience
    double train_loss = 0, validation_loss = 0;
  };
  virtual int64_t steps_of(int64_t epoch) const = 0;  // epochs count from 1
  virtual bool validates() const = 0;
  virtual void set_training(bool training) = 0;
  virtual double seconds_loading() const { return 0; }
  // The steps from `first` on are asked for next.
  virtual void begin_epoch(int64_t /*epoch*/, int64_t /*first*/) {}
  // A whole step: forward, backward, update(). Returns the sums of this step; any that is not finite ends the run.
  virtual std::vector<double> step(int64_t epoch, int64_t index) = 0;
  virtual int64_t items_of_step(int64_t epoch, int64_t index) const = 0;
  // After the last step of an epoch, and again when its place is known. A validation loss that is not finite ends the run.
  virtual Judgement judge(int64_t epoch, const std::vector<double>& sums) = 0;
  virtual void report(bool best, double seconds, double loading_seconds) = 0;
  virtual std::string progress_note(int64_t epoch, const std::vector<double>& sums) const = 0;

  int64_t steps_done() const { return static_cast<int64_t>(at_.steps); }
  // All learners take their step, by the gradients they have; none where one of the losses, f32 on the device, is not finite.
  // Within the Step of the backward pass: its tensors may be factors of gradients that are not computed yet.
  void update(const Tensor& losses);
  // `record` by graph_, what it reads of the learners being on the device.
  void run_step(const std::vector<Tensor>& inputs, const std::vector<double>& baked, const std::function<void()>& record);

  Context& context_;
  TrainOptions options_;
  std::vector<Learner> learners_;  // filled by the constructor of who derives; all of them step together

 private:
  int64_t steps_of_all_epochs() const;
  void train_epoch();
  [[noreturn]] void explain_bad_loss(int64_t epoch, int64_t index, const Generator& generator);

  // What a checkpoint holds beside tensors, in the order of the file, where the sums stand behind `batch`.
  struct Position {
    double epoch = 0, batch = 0;  // whole epochs done; steps done of the next
    double best_epoch = 0, best_validation = 0, best_train = 0, waited = 0, generator_step = 0, steps = 0, last_train = 0, last_validation = 0, finished = 0;
    std::vector<double*> fields() {
      return {&epoch, &batch, &best_epoch, &best_validation, &best_train, &waited, &generator_step, &steps, &last_train, &last_validation, &finished};
    }
  } at_;
  std::vector<double> sums_;  // of the steps done of this epoch
  StepGraph graph_;
  double last_checkpoint_ = 0;
  int64_t items_seen_ = 0;
  class Progress* progress_ = nullptr;
};

}  // namespace panvae
