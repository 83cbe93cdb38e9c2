#!/usr/bin/env python3
"""The training steps of bench_train_step by PyTorch: same network, weights, samples, noise, loss and Adam.

  bench_train_step --model rna --write FIRST.safetensors
  torch_vae.py FIRST.safetensors [--mode eager|compiled] [--steps 15] [--device cpu|cuda] [--math ieee|tf32|bf16] [--out FILE.json]
  torch_vae.py FIRST.safetensors --mode compiled --serve      for interleave.py: the commands of bench_train_step --serve, and `products`

Before anything is timed, the first steps of FIRST.safetensors are taken from the same weights with the same rows and the same
noise: the loss of the first must agree to 1e-4, those of the steps behind it (which the gradients and Adam have made) to 1e-3,
relative (TOLERANCES has those of tf32 and bf16, against our ieee). The timed steps are the very function that was checked, with
new noise each: the batch gathered from a matrix in memory, forward, backward, fused Adam. Compiled means that forward, loss and
backward are (on cuda as CUDA graphs); the optimizer is fused already. bf16 is autocast.

Peak memory is the process's without the samples, from the end of the check on: what reading the file and compiling took is not
in it; PyTorch's own code is, as it is in any program that uses it ("resident_after_import_bytes"). On cuda it is what PyTorch holds
of the device's, as ours is there.
Exit status: 0; 1 if a loss was wrong; 2 for wrong usage; 4 without PyTorch or the device.
"""
import argparse
import json
import mmap
import os
import statistics
import struct
import sys
import time

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError as error:
    print(f"torch_vae.py: there is no PyTorch here: {error}", file=sys.stderr)
    sys.exit(4)

TOLERANCES = {"ieee": (1e-4, 1e-3), "tf32": (1e-3, 1e-2), "bf16": (1e-2, 3e-2)}  # of the first step's loss, of those behind it
TYPES = {"F32": torch.float32, "I64": torch.int64}


def status_bytes(key):
    """A line of /proc/self/status, 0 where the system does not say."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(key + ":")), 0)
    except OSError:
        return 0


def set_math(math):
    """What f32 products and convolutions may do; bf16 is autocast, and what it leaves in f32 may be tf32."""
    torch.set_float32_matmul_precision("highest" if math == "ieee" else "high")
    torch.backends.cudnn.allow_tf32 = math != "ieee"


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def forget_peak():
    """From now on the peak is that of what follows, where the system allows it."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass


RESIDENT_AFTER_IMPORT = status_bytes("VmRSS")


def read_safetensors(path):
    """Tensors by name, copied, and the metadata."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        (size,) = struct.unpack("<Q", data[:8])
        head = json.loads(data[8:8 + size])
        metadata = head.pop("__metadata__", {})
        tensors = {}
        for name, info in head.items():
            begin, end = (8 + size + offset for offset in info["data_offsets"])
            tensors[name] = torch.frombuffer(bytearray(data[begin:end]), dtype=TYPES[info["dtype"]]).reshape(info["shape"])
    return tensors, metadata


class FcModule(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.linear, self.norm = nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out)

    def forward(self, x):
        return self.norm(F.leaky_relu(self.linear(x), 0.01))


def fc_modules(n_in, widths):
    return nn.Sequential(*[FcModule(a, b) for a, b in zip([n_in, *widths], widths)])


class Heads(nn.Module):
    """An encoder: what lies before the two heads is made by who derives, as `hidden`."""

    def __init__(self, n_hidden, latent):
        super().__init__()
        self.mean, self.logvar = nn.Linear(n_hidden, latent), nn.Linear(n_hidden, latent)

    def forward(self, x):
        h = self.hidden_of(x)
        return self.mean(h), self.logvar(h)


class RnaEncoder(Heads):
    def __init__(self, genes, hidden, latent):
        super().__init__(hidden, latent)
        self.hidden = nn.Linear(genes, hidden)

    def hidden_of(self, x):
        return torch.relu(self.hidden(x))


class RnaDecoder(nn.Module):
    def __init__(self, genes, hidden, latent):
        super().__init__()
        self.hidden, self.output = nn.Linear(latent, hidden), nn.Linear(hidden, genes)

    def forward(self, z):
        return self.output(torch.relu(self.hidden(z)))


class BlockEncoder(Heads):
    def __init__(self, block, widths, latent):
        super().__init__(widths[-1], latent)
        self.layers = fc_modules(block, widths)

    def hidden_of(self, x):
        return self.layers(x)


class BlockDecoder(nn.Module):
    def __init__(self, block, widths, latent):
        super().__init__()
        self.layers = fc_modules(latent, widths[-2::-1] if len(widths) > 1 else widths)
        self.output = nn.Linear(widths[0], block)

    def forward(self, z):
        return self.output(self.layers(z))


class HierarchicalEncoder(Heads):
    def __init__(self, blocks, block_latent, channels, widths, latent):
        super().__init__(widths[-1], latent)
        self.blocks, self.block_latent = blocks, block_latent
        self.conv, self.norm = nn.Conv1d(block_latent, channels, 3, padding=1), nn.BatchNorm1d(channels)
        self.layers = fc_modules(channels * blocks, widths)

    def hidden_of(self, x):
        sequence = x.reshape(-1, self.blocks, self.block_latent).transpose(1, 2)
        return self.layers(self.norm(F.leaky_relu(self.conv(sequence), 0.01)).flatten(1))


class HierarchicalDecoder(nn.Module):
    def __init__(self, blocks, block_latent, channels, widths, latent):
        super().__init__()
        self.blocks, self.channels = blocks, channels
        self.layers = fc_modules(latent, [*widths[::-1], channels * blocks])
        self.conv = nn.ConvTranspose1d(channels, block_latent, 3, padding=1)

    def forward(self, z):
        return self.conv(self.layers(z).reshape(-1, self.channels, self.blocks)).transpose(1, 2).flatten(1)


class Vae(nn.Module):
    """Called with a batch and noise, gives loss, Huber and KL: means over samples of sums (kernels/huber_kl.cu)."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x, noise, kl_weight=1.0):
        mean, logvar = self.encoder(x)
        logvar = logvar.clamp(-15, 15)
        z = mean + torch.exp(0.5 * logvar) * noise if noise is not None else mean
        huber = F.huber_loss(self.decoder(z), x, reduction="sum") / x.shape[0]
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum() / x.shape[0]
        return huber + kl_weight * kl, huber, kl


def rna_vae(genes, hidden=1024, latent=512):
    return Vae(RnaEncoder(genes, hidden, latent), RnaDecoder(genes, hidden, latent))


def network(step):
    """The network of a step that bench_train_step describes."""
    if step["model"] == "rna":
        return rna_vae(step["features"], step["hidden"], step["latent"])
    if step["model"] == "block":
        shape = (step["features"], step["widths"], step["latent"])
        return Vae(BlockEncoder(*shape), BlockDecoder(*shape))
    shape = (step["blocks"], step["block_latent"], step["channels"], step["widths"], step["latent"])
    return Vae(HierarchicalEncoder(*shape), HierarchicalDecoder(*shape))


def fused_adam(parameters, learning_rate, weight_decay):
    """Adam in one kernel where this PyTorch has it for the device, else over lists of tensors; and which it is."""
    parameters = list(parameters)
    try:
        return torch.optim.Adam(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True), "fused"
    except RuntimeError:
        return torch.optim.Adam(parameters, lr=learning_rate, weight_decay=weight_decay, foreach=True), "foreach"


class Training:
    """The steps of FIRST.safetensors, from its weights on."""

    def __init__(self, path, mode, device, math):
        tensors, metadata = read_safetensors(path)
        self.step_info = json.loads(metadata["step"])
        self.device, self.math, self.turn = device, math, 0
        self.samples = tensors.pop("samples").to(device)
        self.rows, self.noise, self.losses = tensors.pop("rows"), tensors.pop("noise").to(device), tensors.pop("losses")
        self.model = network(self.step_info)
        weights = {name.removeprefix("weights.").replace(".modules.", ".layers."): tensor for name, tensor in tensors.items()}
        missing = self.model.load_state_dict(weights, strict=False)
        wrong = missing.unexpected_keys + [name for name in missing.missing_keys if not name.endswith("num_batches_tracked")]
        if wrong:
            raise ValueError(f"{path}: the networks differ in {', '.join(wrong)}")
        self.model.to(device)
        self.adam, self.adam_name = fused_adam(self.model.parameters(), self.step_info["learning_rate"], self.step_info["weight_decay"])
        self.loss = self.model
        if mode == "compiled":
            self.loss = torch.compile(self.model, dynamic=False, mode="reduce-overhead" if device == "cuda" else "default")
        self.batch_rows = torch.arange(self.step_info["batch"]) * 3
        self.ahead = None  # batch and noise of the next timed step, on cuda

    def samples_bytes(self):
        return self.samples.numel() * self.samples.element_size()

    def step(self, x, noise):
        """Loss, Huber and KL before the step."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.math == "bf16"):
            parts = self.loss(x, noise)
        self.adam.zero_grad(set_to_none=True)
        parts[0].backward()
        self.adam.step()
        return parts

    def check(self):
        """Takes the first steps. The relative differences of their losses, those of the first step first; all must be small."""
        differences = []
        for rows, noise, losses in zip(self.rows, self.noise, self.losses):
            x = self.samples.index_select(0, rows.to(self.device))
            ours = torch.stack([part.detach().float() for part in self.step(x, noise)]).cpu()
            differences.append(float(((ours - losses).abs() / losses.abs()).max()))
        first, behind = TOLERANCES[self.math]
        right = differences[0] <= first and all(d <= behind for d in differences[1:])  # a NaN is not
        return differences, right

    def next_batch(self, x=None):
        """Samples, in the memory of x where it is given, and noise."""
        self.turn += 1
        rows = ((self.turn * 7 + self.batch_rows) % self.samples.shape[0]).to(self.device)
        return torch.index_select(self.samples, 0, rows, out=x), torch.randn(self.noise.shape[1:], device=self.device)

    def timed_step(self):
        x, noise = self.ahead or self.next_batch()
        self.step(x, noise)
        if self.device == "cuda":  # as ours: the device has its next batch to fetch while the host waits for the step
            done = torch.cuda.Event()
            done.record()
            self.ahead = self.next_batch(x)
            done.synchronize()

    def seconds_of_steps(self, count):
        self.timed_step()
        return [seconds_of(self.timed_step) for _ in range(count)]

    def peak_bytes(self):
        peak = torch.cuda.max_memory_reserved() if self.device == "cuda" else status_bytes("VmHWM")
        return peak - self.samples_bytes()


def seconds_of(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def product_seconds(products, device, math, times=5):
    """Each product alone, at the shapes that bench_train_step's floor has; on cuda many behind each other, so that launching does not count."""
    dtype = torch.bfloat16 if math == "bf16" else torch.float32
    calls = 20 if device == "cuda" else 1
    total = 0.0
    for p in products:
        a = torch.rand(p["K"], p["M"], device=device).to(dtype).t() if p["ta"] else torch.rand(p["M"], p["K"], device=device).to(dtype)
        b = torch.rand(p["N"], p["K"], device=device).to(dtype).t() if p["tb"] else torch.rand(p["K"], p["N"], device=device).to(dtype)
        c = torch.empty(p["M"], p["N"], device=device, dtype=dtype)

        def product():
            for _ in range(calls):
                torch.mm(a, b, out=c)
            wait(device)

        product()
        total += statistics.median(seconds_of(product) for _ in range(times)) / calls
    return total


def serve(training, hello):
    def answer(value):
        print(json.dumps(value), flush=True)

    answer(hello)
    for line in sys.stdin:
        words = line.split(maxsplit=1)
        if words[0] == "steps":
            answer({"seconds": training.seconds_of_steps(int(words[1])), "peak_bytes": training.peak_bytes()})
        elif words[0] == "products":
            answer({"product_seconds": product_seconds(json.loads(words[1]), training.device, training.math)})
        else:
            raise ValueError(f"unknown command {line!r}: steps N or products [...]")


def quantile(values, share):
    """The value that a share of all stay below."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", metavar="FIRST.safetensors", help="what bench_train_step --write has written")
    parser.add_argument("--mode", choices=["eager", "compiled"], default="eager")
    parser.add_argument("--steps", type=int, default=15, help="timed, after one that is not (default 15)")
    parser.add_argument("--threads", type=int, default=0, help="default: OMP_NUM_THREADS, else all cores this process may use")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--math", choices=list(TOLERANCES), default="ieee")
    parser.add_argument("--serve", action="store_true", help="take commands from stdin")
    parser.add_argument("--out", metavar="FILE", help="the result as JSON")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("torch_vae.py: PyTorch sees no GPU", file=sys.stderr)
        return 4
    torch.set_num_threads(options.threads or int(os.environ.get("OMP_NUM_THREADS", "0").split(",")[0]) or len(os.sched_getaffinity(0)))
    set_math(options.math)
    torch.manual_seed(0)
    training = Training(options.first, options.mode, options.device, options.math)
    start = time.perf_counter()
    differences, right = training.check()
    result = {
        "provider": f"torch {options.mode}", "torch": torch.__version__.split("+")[0], "threads": torch.get_num_threads(), "adam": training.adam_name,
        "device": options.device, "math": options.math,
        "model": training.step_info["model"], "batch": training.step_info["batch"], "loss_differences": differences, "losses_agree": right,
        "check_seconds": time.perf_counter() - start, "resident_after_import_bytes": RESIDENT_AFTER_IMPORT,
    }
    if not right:
        print(f"torch_vae.py: losses of the first steps differ by {', '.join(f'{d:.1e}' for d in differences)}", file=sys.stderr)
    training.timed_step()
    forget_peak()
    if options.serve:
        serve(training, result)
        return 0 if right else 1
    seconds = training.seconds_of_steps(options.steps)
    result.update(median_ms=statistics.median(seconds) * 1e3, p20_ms=quantile(seconds, 0.2) * 1e3, p80_ms=quantile(seconds, 0.8) * 1e3,
                  steps=options.steps, peak_bytes=training.peak_bytes())
    print(f"{result['provider']}, {result['model']} VAE, batch {result['batch']}, {options.device}, {options.math}, {result['threads']} threads, "
          f"PyTorch {result['torch']}, {result['adam']} Adam")
    print(f"losses of the first {len(differences)} steps agree to {', '.join(f'{d:.1e}' for d in differences)}")
    print(f"step {result['median_ms']:.1f} ms ({result['p20_ms']:.1f} to {result['p80_ms']:.1f}), peak memory {result['peak_bytes'] / 2**20:.0f} MiB")
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
