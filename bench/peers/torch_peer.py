#!/usr/bin/env python3
"""Times the rows of a JSON file of panvae_bench by PyTorch, eager and compiled: same op, shape, type and math mode.

  torch_peer.py BENCH.json --out PEERS.json [--seconds S] [--filter TEXT] [--device cuda|cpu]

The result has the same form, with the providers torch and torch.compile, and compare.py puts both side by side:
  compare.py --table BENCH.json PEERS.json

Every call is checked first against the same op in f64. Eager rows are timed first, then the compiled ones. Inputs take turns among copies
that exceed the last-level cache threefold. Times are medians of event pairs behind a kernel that only waits; on cpu, of the
clock. PyTorch writes its results to memory of its caching allocator, which is often the same memory again: its writes may
stay in the cache where ours do not. Where it has no single op for what a row does, the row is several of its ops (eager)
or what its compiler makes of them. bf16 products are of operands cast to bf16 within the call, as our kernel rounds its own.
Exit status: 0; 1 if a result was wrong; 2 for wrong usage; 4 without PyTorch or the device.
"""
import argparse
import json
import math
import os
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(f"torch_peer.py: there is no PyTorch here: {error}", file=sys.stderr)
    sys.exit(4)

SLOPE = 0.125  # of leaky ReLU in products and convolutions
COPIES_BYTES = 4 << 30
# Epilogues of tests/cases/matmul.cpp and conv.cpp, in their order: (bias, activation, adds to the output).
PRODUCT_ENDS = [(0, "", 0), (1, "", 0), (1, "relu", 0), (1, "leaky", 0), (0, "relu", 0), (0, "", 1), (1, "leaky", 1)]
CONV_ENDS = [(0, "", 0), (1, "", 0), (1, "relu", 0), (1, "leaky", 0), (0, "", 1), (1, "", 1)]


def activated(x, activation):
    if activation == "relu":
        return torch.relu(x)
    return F.leaky_relu(x, SLOPE) if activation == "leaky" else x


class Op:
    """What a row does. `inputs` makes its tensors of a generator, `call` computes. `tolerance` is relative to the largest, None
    for random numbers. `eager`: an op of PyTorch's own for the same, where the compiler takes `call`."""

    def __init__(self, inputs, call, tolerance=1e-4, eager=None):
        self.inputs, self.call, self.tolerance, self.eager = inputs, call, tolerance, eager or call

    def compiled(self):
        return torch.compile(lambda *arguments: self.call(*arguments), dynamic=False)  # a function of Python, as the compiler wants


class LossOp(Op):
    """A loss and the gradients of its arguments `wanted`, as our losses give both. The compiler takes the loss, with its backward."""

    def __init__(self, inputs, loss, wanted, tolerance=1e-4):
        super().__init__(inputs, self.with_gradient(loss, wanted), tolerance)
        self.loss, self.wanted = loss, wanted

    @staticmethod
    def with_gradient(loss, wanted):
        def call(*arguments):
            with torch.enable_grad():
                leaves = [t.detach().requires_grad_() if i in wanted else t for i, t in enumerate(arguments)]
                value = loss(*leaves)
                return value.detach(), *torch.autograd.grad(value, [leaves[i] for i in wanted])

        return call

    def compiled(self):
        return self.with_gradient(torch.compile(lambda *arguments: self.loss(*arguments), dynamic=False), self.wanted)


def product(sizes, math_mode):
    M, N, K, transposes, end = sizes[:5]
    bias, activation, adds = PRODUCT_ENDS[end]

    def inputs(new):
        a = new(K, M) if transposes & 1 else new(M, K)
        b = new(N, K) if transposes & 2 else new(K, N)
        return [a, b, new(N), new(M, N)]

    def call(a, b, vector, c):
        a, b = a.t() if transposes & 1 else a, b.t() if transposes & 2 else b
        if math_mode == "bf16" and a.dtype == torch.float32:
            y = torch.mm(a.bfloat16(), b.bfloat16()).float()
            y = y + vector if bias else y
        elif bias:
            y = torch.addmm(vector, a, b)
        else:
            y = torch.mm(a, b)
        return activated(y + c if adds else y, activation)

    return Op(inputs, call, {"tf32": 4e-3, "bf16": 3e-2}.get(math_mode, 1e-5 * math.sqrt(K) / 10 + 1e-5))


def conv_parts(sizes):
    B, C_in, L_in, C_out, K, stride, padding, dilation, end = sizes[:9]
    L_out = (L_in + 2 * padding - dilation * (K - 1) - 1) // stride + 1
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    return B, C_in, L_in, C_out, K, L_out, options, CONV_ENDS[end]


def conv(sizes, math_mode):
    B, C_in, L_in, C_out, K, L_out, options, (bias, activation, adds) = conv_parts(sizes)

    def call(x, w, vector, y):
        if math_mode == "bf16" and x.dtype == torch.float32:
            out = F.conv1d(x.bfloat16(), w.bfloat16(), **options).float()
            out = out + vector[:, None] if bias else out
        else:
            out = F.conv1d(x, w, vector if bias else None, **options)
        return activated(out + y if adds else out, activation)

    return Op(lambda new: [new(B, C_in, L_in), new(C_out, C_in, K), new(C_out), new(B, C_out, L_out)], call,
              {"tf32": 4e-3, "bf16": 3e-2}.get(math_mode, 1e-4))


def conv_grad(sizes, math_mode, of_input):
    B, C_in, L_in, C_out, K, L_out, options, (_, _, adds) = conv_parts(sizes)
    settings = [[options["stride"]], [options["padding"]], [options["dilation"]], False, [0], 1, [of_input, not of_input, False]]

    def call(grad_y, x, w):
        parts = torch.ops.aten.convolution_backward(grad_y, x, w, None, *settings)
        out = parts[0] if of_input else parts[1]
        return out + (x if of_input else w) if adds else out

    return Op(lambda new: [new(B, C_out, L_out), new(B, C_in, L_in), new(C_out, C_in, K)], call, 4e-3 if math_mode == "tf32" else 1e-4)


def elementwise(arity, call, tolerance=1e-5):
    return lambda sizes, _: Op(lambda new: [new(sizes[0]) for _ in range(arity)], call, tolerance)


def adam(sizes, _):
    """The kernel of PyTorch's fused optimizer; compiled, the formula."""
    beta1, beta2, eps, rate, step = 0.9, 0.999, 1e-8, 1e-4, 10

    def call(p, grad, m, v):
        m.lerp_(grad, 1 - beta1)
        v.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        p.addcdiv_(m, (v / (1 - beta2**step)).sqrt_().add_(eps), value=-rate / (1 - beta1**step))
        return p

    def fused(p, grad, m, v):
        steps = [torch.full((), float(step), device=p.device)]
        torch._fused_adam_([p], [grad], [m], [v], [], steps, lr=rate, beta1=beta1, beta2=beta2, weight_decay=0.0, eps=eps, amsgrad=False, maximize=False)
        return p

    return Op(lambda new: [new(sizes[0]), new(sizes[0]), new(sizes[0]), new(sizes[0]).abs_()], call, eager=fused)


def huber_kl(sizes, _):
    B, G, Z = sizes[:3]

    def loss(pred, target, mu, logvar):
        clamped = logvar.clamp(-15, 15)
        huber = F.huber_loss(pred, target, reduction="sum", delta=0.75) / B
        return huber - 0.15 * (1 + clamped - mu * mu - clamped.exp()).sum() / B

    return LossOp(lambda new: [new(B, G), new(B, G), new(B, Z), new(B, Z)], loss, [0, 2, 3])


def batchnorm(train):
    def make(sizes, _):
        B, C, L = sizes[:3]
        shape = (B, C, L) if L > 1 else (B, C)

        def call(x, gamma, beta, mean, variance):
            return F.batch_norm(x, mean, variance, gamma, beta, training=train, momentum=0.1, eps=1e-5)

        return Op(lambda new: [new(*shape), new(C), new(C), new(C), new(C).abs_() + 0.5], call)

    return make


def batchnorm_grad(sizes, _):
    B, C, L = sizes[:3]
    shape = (B, C, L) if L > 1 else (B, C)

    def call(grad_y, x, gamma, mean, inverse):
        return torch.ops.aten.native_batch_norm_backward(grad_y, x, gamma, None, None, mean, inverse, True, 1e-5, [True, True, True])

    return Op(lambda new: [new(*shape), new(*shape), new(C), new(C), new(C).abs_() + 0.5], call)


def layernorm_grad(sizes, _):
    R, C = sizes[:2]

    def call(grad_y, x, gamma, beta, mean, inverse):
        return torch.ops.aten.native_layer_norm_backward(grad_y, x, [C], mean, inverse, gamma, beta, [True, True, True])

    return Op(lambda new: [new(R, C), new(R, C), new(C), new(C), new(R, 1), new(R, 1).abs_() + 0.5], call)


def mean_loss(loss):
    return lambda sizes, _: LossOp(lambda new: [new(sizes[0]), new(sizes[0]).abs_()], loss, [0])


def triplet(sizes, _):
    count, N, M, D = sizes[:4]

    def inputs(new):
        x, y = new(N, D), new(M, D)
        return [x, y, *(torch.randint(rows, (count,), device=x.device) for rows in (N, M, M))]

    def loss(x, y, anchors, positives, negatives):
        return F.triplet_margin_loss(x.index_select(0, anchors), y.index_select(0, positives), y.index_select(0, negatives), margin=1.0)

    return LossOp(inputs, loss, [0, 1], 1e-3)


def scatter(sizes, _):
    target, added, columns = sizes[:3]

    def inputs(new):
        y = new(target, columns)
        return [y, torch.randint(target, (added,), device=y.device), new(added, columns)]

    return Op(inputs, lambda y, rows, x: y.index_add(0, rows, x))


def copy_strided(sizes, _):
    rows, columns, more_x, more_y, adds = sizes[:5]

    def call(x, y):
        part = y[:, :columns]
        if adds:
            part.add_(x[:, :columns])
        else:
            part.copy_(x[:, :columns])
        return part

    return Op(lambda new: [new(rows, columns + more_x), new(rows, columns + more_y)], call)


def noise(sizes, _):
    return Op(lambda new: [new(sizes[0]), new(sizes[0])], lambda mu, logvar: mu + (logvar.clamp(-15, 15) / 2).exp() * torch.randn_like(mu), None)


def gather(sizes, _):
    source, taken, columns = sizes[:3]

    def inputs(new):
        x = new(source, columns)
        return [x, torch.randint(source, (taken,), device=x.device)]

    return Op(inputs, lambda x, rows: x.index_select(0, rows), 0)


# Case -> the op of its sizes. What is not here has no peer.
OPS = {
    "matmul": product,
    "linear": product,
    "matmul_tf32": product,
    "matmul_bf16": product,
    "conv1d": conv,
    "conv1d_bf16": conv,
    "conv1d_grad_input": lambda s, m: conv_grad(s, m, True),
    "conv1d_grad_weight": lambda s, m: conv_grad(s, m, False),
    "bias_activation": lambda s, _: Op(lambda new: [new(s[0], s[1], s[2]), new(s[1])], lambda y, b: y + b[:, None]),
    "sum_channels": lambda s, _: Op(lambda new: [new(s[0], s[1], s[2])], lambda x: x.sum((0, 2))),
    "fill": elementwise(1, lambda x: torch.full_like(x, -2.5)),
    "copy": elementwise(1, lambda x: x.clone()),
    "add": elementwise(2, lambda a, b: a + b),
    "sub": elementwise(2, lambda a, b: a - b),
    "mul": elementwise(2, lambda a, b: a * b),
    "scale": elementwise(1, lambda x: x * 0.3),
    "axpy": elementwise(2, lambda x, y: torch.add(y, x, alpha=-0.7)),
    "scale_by": lambda s, _: Op(lambda new: [new(s[0]), new(1)], lambda x, factor: x * factor),
    "spread": lambda s, _: Op(lambda new: [new(1), new(s[0])], lambda value, like: (0.1 * value).expand_as(like).contiguous()),
    "relu": elementwise(1, torch.relu),
    "relu_grad": elementwise(2, lambda y, g: torch.where(y > 0, g, 0)),
    "leaky_relu": elementwise(1, lambda x: F.leaky_relu(x, 0.01)),
    "leaky_relu_grad": elementwise(2, lambda y, g: torch.where(y > 0, g, 0.2 * g)),
    "cast_to_f32": elementwise(1, lambda x: x.float().clone() if x.dtype == torch.float32 else x.float()),
    "cast_from_f32": elementwise(1, lambda x: x.clone()),
    "cast_to_bf16": elementwise(1, lambda x: x.bfloat16(), 1e-2),
    "cast_from_bf16": lambda s, _: Op(lambda new: [new(s[0]).bfloat16()], lambda x: x.float(), 1e-2),
    "gather_rows": gather,
    "sum": elementwise(1, torch.sum, 1e-3),
    "sum_squares": elementwise(1, lambda x: x.square().sum(dtype=torch.float64), 1e-3),
    "sum_rows": lambda s, _: Op(lambda new: [new(s[0], s[1])], lambda x: x.sum(1), 1e-3),
    "sum_columns": lambda s, _: Op(lambda new: [new(s[0], s[1])], lambda x: x.sum(0), 1e-3),
    "clip": lambda s, _: Op(lambda new: [new(s[0]), new(1).abs_() + 9], lambda x, squares: x.mul_((0.7 / (squares.sqrt() + 1e-6)).clamp(max=1))),
    "adam": adam,
    "huber_kl": huber_kl,
    "mse": mean_loss(F.mse_loss),
    "bce_with_logits": mean_loss(F.binary_cross_entropy_with_logits),
    "triplet": triplet,
    "scatter_add_rows": scatter,
    "transpose": lambda s, _: Op(lambda new: [new(s[0], s[1], s[2])], lambda x: x.transpose(1, 2).contiguous()),
    "gelu": elementwise(1, F.gelu),
    "gelu_grad": elementwise(2, torch.ops.aten.gelu_backward),
    "dropout": lambda s, _: Op(lambda new: [new(s[0])], lambda x: F.dropout(x, 0.3), None),
    "softmax": lambda s, _: Op(lambda new: [new(s[0], s[1])], lambda x: x.softmax(1)),
    "softmax_grad": lambda s, _: Op(lambda new: [new(s[0], s[1]), new(s[0], s[1])], lambda g, y: torch.ops.aten._softmax_backward_data(g, y, 1, y.dtype)),
    "layernorm": lambda s, _: Op(lambda new: [new(s[0], s[1]), new(s[1]), new(s[1])], lambda x, w, b: F.layer_norm(x, [s[1]], w, b)),
    "layernorm_grad": layernorm_grad,
    "batchnorm_grad": batchnorm_grad,
    "batchnorm_train": batchnorm(True),
    "batchnorm_eval": batchnorm(False),
    "random_uniform": lambda s, _: Op(lambda new: [new(s[0])], torch.rand_like, None),
    "random_normal": lambda s, _: Op(lambda new: [new(s[0])], torch.randn_like, None),
    "reparameterize": noise,
    "reparameterize_grad": lambda s, _: Op(lambda new: [new(s[0]), new(s[0])], lambda g, logvar: g * torch.randn_like(g) * (logvar / 2).exp() / 2, None),
    "copy_strided": copy_strided,
}


def flat(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def difference(op, arguments, fn):
    """Empty, or how fn's result differs from that of the same op in f64."""
    if op.tolerance is None:
        return ""  # random numbers
    wide = [t.double() if t.is_floating_point() else t.clone() for t in arguments]
    expected = flat(op.call(*wide))
    for i, (got, right) in enumerate(zip(flat(fn(*[t.clone() for t in arguments])), expected)):
        largest = max(right.abs().max().item(), 1e-30) if right.numel() else 1.0
        worst = (got.double() - right).abs().max().item() if right.numel() else 0.0
        if not worst <= op.tolerance * largest:
            return f"result {i} differs by {worst:.3g} of {largest:.3g}"
    return ""


class Clock:
    def __init__(self, device):
        self.cuda = device == "cuda"
        self.cache = torch.cuda.get_device_properties(0).L2_cache_size if self.cuda else 32 << 20

    def sample(self, fn, sets, first, calls):
        """Seconds a call, over `calls` of them."""
        if not self.cuda:
            begin = time.perf_counter()
            for i in range(calls):
                fn(*sets[(first + i) % len(sets)])
            return (time.perf_counter() - begin) / calls
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(100000 + 30000 * calls)  # the queue fills meanwhile, so launching does not count
        begin.record()
        for i in range(calls):
            fn(*sets[(first + i) % len(sets)])
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3 / calls


def percentile(values, part):
    return values[min(len(values) - 1, int(part * len(values)))]


def interval(values):
    """Median and the 95 % interval of it, by order statistics."""
    values = sorted(values)
    n = len(values)
    half = 0.98 * math.sqrt(n)
    return statistics.median(values), values[max(0, int(n / 2 - half))], values[min(n - 1, int(n / 2 + half))]


def measure(clock, op, new, fn, seconds):
    sets = [op.inputs(new)]
    size = sum(t.numel() * t.element_size() for t in sets[0])
    for _ in range(min(64, 3 * clock.cache // max(size, 1), COPIES_BYTES // max(size, 1) - 1)):
        sets.append([t.clone() for t in sets[0]])
    with torch.no_grad():
        for _ in range(3):
            fn(*sets[0])
        once = clock.sample(fn, sets, 0, 1)
        calls = max(1, min(100, int(1e-4 / max(once, 1e-7))))
        values, end, turn = [], time.perf_counter() + seconds, 0
        while len(values) < 10 or (time.perf_counter() < end and len(values) < 2000):
            values.append(clock.sample(fn, sets, turn, calls))
            turn += calls
            if len(values) % 20 == 0:
                median, low, high = interval(values)
                if high - low <= 0.02 * median:
                    break
    median, low, high = interval(values)
    values.sort()
    return {"real_time": median * 1e9, "cpu_time": median * 1e9, "time_unit": "ns", "median_ns": median * 1e9, "low_ns": low * 1e9, "high_ns": high * 1e9,
            "p20_ns": percentile(values, 0.2) * 1e9, "p80_ns": percentile(values, 0.8) * 1e9, "samples": len(values), "copies": len(sets),
            "hot": float(len(sets) * size < clock.cache), "noisy": float(high - low > 0.02 * median)}


def words_of(entry):
    return dict(word.split("=", 1) for word in entry.get("label", "").split() if "=" in word)


def row(entry, words, provider, numbers, error):
    out = {"name": f"{entry['name'].rpartition('/')[0]}/{provider}", "run_type": "iteration", "iterations": 1, "threads": 1}
    out["run_name"] = out["name"]
    out["label"] = " ".join(f"{k}={v}" for k, v in {**words, "provider": provider, "bound": "none"}.items())
    if error:
        return {**out, "error_occurred": True, "error_message": error, "real_time": 0.0, "cpu_time": 0.0, "time_unit": "ns"}
    seconds = numbers["median_ns"] * 1e-9
    rates = {"bytes": entry.get("bytes", 0.0), "flops": entry.get("flops", 0.0)}
    return {**out, **numbers, **rates, "GB/s": rates["bytes"] / seconds / 1e9, "GFLOP/s": rates["flops"] / seconds / 1e9}


def set_math(mode):
    torch.backends.cuda.matmul.allow_tf32 = mode != "ieee"
    torch.backends.cudnn.allow_tf32 = mode != "ieee"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", metavar="BENCH.json")
    parser.add_argument("--out", required=True, metavar="PEERS.json")
    parser.add_argument("--seconds", type=float, default=420, help="for everything; rows that do not fit are left out, and said (default 420)")
    parser.add_argument("--row-seconds", type=float, default=0.4, help="longest time of a row (default 0.4)")
    parser.add_argument("--filter", default="", help="only rows whose name has this text")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--no-compile", action="store_true", help="eager alone")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("torch_peer.py: PyTorch sees no GPU", file=sys.stderr)
        return 4
    with open(options.bench, encoding="utf-8") as file:
        bench = json.load(file)

    torch.manual_seed(0)
    torch.backends.cudnn.deterministic = True  # as ours are
    clock = Clock(options.device)
    end = time.monotonic() + options.seconds
    can_compile = hasattr(torch, "compile") and not options.no_compile
    entries, without = {}, set()
    for entry in bench["benchmarks"]:
        words = words_of(entry)
        key = (words.get("case"), words.get("sizes"), words.get("dtype"))
        if entry.get("run_type") != "iteration" or options.filter not in entry["name"] or not words.get("case"):
            continue
        if words["case"] in OPS:
            entries.setdefault(key, (entry, words))
        else:
            without.add(words["case"])

    rows, failed, late = [], 0, 0
    for provider in ["torch"] + ["torch.compile"] * can_compile:
        for entry, words in entries.values():
            if time.monotonic() > end:
                late += 1
                continue
            dtype = torch.float64 if words["dtype"] == "f64" else torch.float32
            set_math(words["math"])

            def new(*shape):
                return torch.rand(*shape, dtype=dtype, device=options.device) * 2 - 1

            op = OPS[words["case"]]([int(s) for s in words["sizes"].split(",")], words["math"])
            numbers, error = {}, ""
            try:
                fn = op.eager if provider == "torch" else op.compiled()
                with torch.no_grad():
                    error = difference(op, op.inputs(new), fn)
                if not error:
                    numbers = measure(clock, op, new, fn, options.row_seconds)
            except Exception as problem:  # an op that fails is a row that says so
                error = f"{type(problem).__name__}: {' '.join(str(problem).split())}"[:300]
            failed += bool(error)
            rows.append(row(entry, words, provider, numbers, error))
            print(f"{rows[-1]['name']:<90} {error or format(numbers['median_ns'] / 1e3, '10.2f') + ' us'}", flush=True)
            if options.device == "cuda":
                torch.cuda.empty_cache()
            if provider != "torch":
                torch._dynamo.reset()
    # The same machine and the same panvae; its ceilings are told in its own file.
    context = {k: v for k, v in bench["context"].items() if not k.startswith("ceiling_")}
    context.update(date=time.strftime("%Y-%m-%dT%H:%M:%S%z"), torch=torch.__version__, load_avg=list(os.getloadavg()))
    if clock.cuda:
        context["device_name"] = torch.cuda.get_device_name()
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump({"context": context, "benchmarks": rows}, file, indent=1)
    if without:
        print(f"no peer: {', '.join(sorted(without))}")
    if late:
        print(f"left out, after {options.seconds:.0f} s: {late} rows")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
