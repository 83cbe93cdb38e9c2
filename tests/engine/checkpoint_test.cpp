#include "engine/checkpoint.h"

#include "base/file.h"
#include "engine/layers.h"
#include "helpers.h"

namespace panvae::test {
namespace {

std::unique_ptr<Sequential> net(int64_t hidden = 6, bool with_bias = true) {
  return std::make_unique<Sequential>(std::make_unique<Linear>(5, hidden), std::make_unique<ReLU>(), std::make_unique<Linear>(hidden, 2, with_bias));
}

void save(const std::string& path, ModuleState& state, const std::string& prefix = "model.") {
  TensorWriter w;
  w.add(state, prefix);
  w.file.metadata("kind", "test");
  w.file.write(path);
}

TEST(checkpoint, weights_come_back_bit_for_bit_on_every_device) {
  Folder folder;
  Context c;
  auto a = net();
  ModuleState state(c, *a, 1);
  save(folder.file("w"), state);
  for (Device device : host_devices()) {
    Context other(device);
    auto b = net();
    ModuleState loaded(other, *b, 99);
    EXPECT_NE(loaded.flat_parameters().host<float>(), state.flat_parameters().host<float>());
    const SafetensorsReader file(folder.file("w"));
    EXPECT_EQ(file.metadata().at("kind"), "test");
    read_state(file, loaded, "model.");
    EXPECT_EQ(loaded.flat_parameters().host<float>(), state.flat_parameters().host<float>());
  }
}

// What was made within a step lies where the next step writes.
TEST(checkpoint, tensors_of_a_step_are_written_as_they_were_when_added) {
  Folder folder;
  Context c;
  TensorWriter w;
  for (const float value : {1.0f, 2.0f, 3.0f}) {
    const Step step(c);
    const Tensor t = tensor(c, {64}, std::vector<float>(64, value));
    w.add(fmt::format("t{}", value), t);
  }
  w.file.write(folder.file("w"));
  const SafetensorsReader file(folder.file("w"));
  for (const float value : {1.0f, 2.0f, 3.0f}) EXPECT_EQ(file.doubles(fmt::format("t{}", value)), std::vector<double>(64, value));
}

TEST(checkpoint, equal_content_is_equal_bytes) {
  Folder folder;
  Context c;
  auto a = net();
  ModuleState state(c, *a, 1);
  save(folder.file("1"), state);
  save(folder.file("2"), state);
  EXPECT_EQ(read_file(folder.file("1")), read_file(folder.file("2")));
}

TEST(checkpoint, all_that_does_not_fit_is_listed_and_nothing_is_changed) {
  Folder folder;
  Context c;
  auto a = net(6, false);
  ModuleState state(c, *a, 1);
  {
    TensorWriter w;
    w.add(state, "model.");
    w.add("model.left.over", tensor(c, {1}, {1}));
    w.file.write(folder.file("w"));
  }
  auto b = net(7);
  ModuleState other(c, *b, 2);
  const auto before = other.flat_parameters().host<float>();
  const SafetensorsReader file(folder.file("w"));
  const Error e = error_of([&] { read_state(file, other, "model."); });
  EXPECT_EQ(e.code(), ErrorCode::input);
  for (const char* part : {"'model.0.weight': F32 [6, 5] in the file, F32 [7, 5] in the model", "'model.0.bias'", "missing 'model.2.bias'",
                           "extra 'model.left.over'", "'model.2.weight'"})
    EXPECT_CONTAINS(e.message(), part);
  EXPECT_CONTAINS(e.where(), "/w");
  EXPECT_EQ(other.flat_parameters().host<float>(), before);
}

TEST(checkpoint, a_wrong_type_is_named) {
  Folder folder;
  Context c;
  auto a = net(), b = net();
  ModuleState wide(c, *a, 1, DType::f64), narrow(c, *b, 1);
  save(folder.file("w"), wide);
  const SafetensorsReader file(folder.file("w"));
  EXPECT_CONTAINS(error_of([&] { read_state(file, narrow, "model."); }).message(), "F64 [6] in the file, F32 [6] in the model");
  Tensor t = Tensor::zeros(c, {7}, DType::f64);
  EXPECT_CONTAINS(error_of([&] { read_tensor(file, "model.0.bias", t); }).message(), "F64 [6] in the file, F64 [7] in the model");
  EXPECT_CONTAINS(error_of([&] { read_tensor(file, "nobody", t); }).message(), "'nobody' is missing");
}

TEST(checkpoint, other_prefixes_and_ignored_names_are_passed_over) {
  Folder folder;
  Context c;
  auto a = net();
  ModuleState state(c, *a, 1);
  TensorWriter w;
  w.add(state, "model.");
  w.add("adam.first_moment", tensor(c, {1}, {1}));
  w.add("model.notes", tensor(c, {1}, {1}));
  w.file.write(folder.file("w"));
  const SafetensorsReader file(folder.file("w"));
  EXPECT_NO_THROW(read_state(file, state, "model.", {"model.notes"}));
  EXPECT_CONTAINS(error_of([&] { read_state(file, state, "model."); }).message(), "extra 'model.notes'");
}

// Files of others need not align a tensor; padding is laid around what they hold. In either type.
TEST(checkpoint, tensors_lie_anywhere_in_a_file) {
  Folder folder;
  const uint8_t byte = 7;
  for (DType dtype : {DType::f32, DType::f64}) {
    Context c;
    Linear plain(5, 3), padded(Features(5, 8), Features(3, 4));
    ModuleState state(c, plain, 1, dtype), wide(c, padded, 2, dtype);
    TensorWriter w;
    w.file.add("a byte", "U8", {1}, &byte);  // the first by name: the others begin at odd addresses
    w.add(state, "model.");
    w.file.write(folder.file("w"));
    const SafetensorsReader file(folder.file("w"));
    EXPECT_NE(reinterpret_cast<uintptr_t>(file.at("model.weight").data) % 4, 0u);
    read_state(file, wide, "model.");
    TensorWriter back;
    back.file.add("a byte", "U8", {1}, &byte);
    back.add(wide, "model.");
    back.file.write(folder.file("again"));
    EXPECT_EQ(read_file(folder.file("again")), read_file(folder.file("w"))) << dtype_name(dtype);
    // All parameters as one flat tensor, likewise.
    for (ModuleState* s : {&state, &wide}) {
      TensorWriter flat;
      flat.add_flat("flat", *s, s->flat_parameters());
      flat.file.write(folder.file(s == &wide ? "flat of wide" : "flat"));
    }
    EXPECT_EQ(read_file(folder.file("flat of wide")), read_file(folder.file("flat"))) << dtype_name(dtype);
    Tensor other = Tensor::zeros(c, wide.flat_parameters().shape(), dtype);
    read_flat(SafetensorsReader(folder.file("flat")), "flat", wide, other);
    dispatch(dtype, "test", [&]<class T>(T) { EXPECT_EQ(other.host<T>(), wide.flat_parameters().host<T>()); });
  }
}

TEST(checkpoint, reading_counts_as_a_write_in_place) {
  Folder folder;
  Context c;
  auto a = net();
  ModuleState state(c, *a, 1);
  save(folder.file("w"), state);
  state.require_gradients();
  Tape tape(c);
  Tensor x = tensor(c, {1, 5}, ramp(5));
  x.require_gradient("x");
  const Tensor loss = ops::sum((*a)(x));
  read_state(SafetensorsReader(folder.file("w")), state, "model.");
  EXPECT_CONTAINS(error_of([&] { tape.backward(loss); }).message(), "changed in place");
}

}  // namespace
}  // namespace panvae::test
