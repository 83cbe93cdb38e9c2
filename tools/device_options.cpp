#include "tools/device_options.h"

#include "base/log.h"
#include "kernels/provider.h"

namespace panvae::tools {

std::unique_ptr<Context> make_context(const Globals& globals) {
  const Device device = parse_device(globals.device);
  const std::string precision = !globals.precision.empty() ? globals.precision : device.type == DeviceType::cuda ? "tf32" : "ieee";
  if (device.type == DeviceType::cpu && precision != "ieee")
    fail_usage("--precision " + precision + " needs a GPU", "device cpu", "leave the option out: the cpu computes in ieee f32");
  // Words of the command line stand for both variables of the environment.
  if (!globals.provider.empty() || !globals.tune.empty())
    ProviderTable::of_process().configure(ProviderSettings::from_words(globals.provider, globals.tune, "--provider", "--tune"));
  auto context = std::make_unique<Context>(device, globals.seed);
  context->stream().math = precision == "tf32" ? MathMode::tf32 : precision == "bf16" ? MathMode::bf16 : MathMode::ieee;
  context->stream().profile = globals.profiler.get();
  log::info("device {}, products in {}", describe_device(device), precision);
  return context;
}

}  // namespace panvae::tools
