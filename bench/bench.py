"""Meta-gradients and tuning, this engine beside its peers in one run.

`make bench` writes results.json, README.md and growth.png here."""
import json, os, platform, sys, time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import higher, matplotlib, numpy as np, torch, torchopt
import torch.nn.functional as F
from tqdm.auto import tqdm

from clusters import MADE, commands
from metapt_nb.backbone import Backbone, Batch, pick_dtype
from metapt_nb.data import few_shot, load_dataset
from metapt_nb.files import atomic
from metapt_nb.maml import meta_gradient, predict_memory
from metapt_nb.labels import LabelSet
from metapt_nb.t5 import build_t5, keep_freed_memory
from metapt_nb.tune import TuneConfig, tune_prompt, tune_prompts

HERE = Path(__file__).parent
REPEATS = 9
MiB, GiB = 2**20, 2**30


# The contenders: a meta-gradient [L, d] of K tasks each.

class SoftPrompt(torch.nn.Module):
    "The backbone as `transformers` runs it, one padded batch at a time, the prompt its only parameter."
    def __init__(self, backbone, prompt):
        super().__init__()
        self.P = torch.nn.Parameter(prompt.clone())
        self.backbone = [backbone] # in a list, so that its weights are no parameters of this module

    def forward(self, batch):
        backbone, = self.backbone
        model, L = backbone.model, len(self.P)
        device = batch.ids.device
        mask = torch.arange(L + batch.ids.shape[1], device=device) < (batch.lengths.to(device) + L)[:, None]
        prompts = self.P.expand(len(batch), *self.P.shape).to(model.dtype)
        inputs = torch.cat([prompts, model.shared(batch.ids)], 1)
        H = model.encoder(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
        start = [[model.config.decoder_start_token_id, backbone.mask_id]]*len(batch)
        out = model.decoder(
            input_ids=torch.tensor(start, device=device), encoder_hidden_states=H,
            encoder_attention_mask=mask, use_cache=False).last_hidden_state[:, 1]
        return F.cross_entropy(model.lm_head(out.float()), batch.word_ids[batch.labels.to(device)])


def loss_at(net, prompt, batch):
    "The loss of a batch as a function of the prompt."
    return torch.func.functional_call(net, {"P": prompt}, (batch,))


def with_loop(backbone, P, support, query, alpha):
    "Plain PyTorch, one task after another."
    net, total = SoftPrompt(backbone, P), 0.
    for s, q in zip(support, query):
        p = P.clone().requires_grad_()
        g, = torch.autograd.grad(loss_at(net, p, s), p, create_graph=True)
        total = total + torch.autograd.grad(loss_at(net, p - alpha*g, q), p)[0]
    return total


def with_higher(backbone, P, support, query, alpha, make=SoftPrompt):
    net = make(backbone, P)
    sgd = torch.optim.SGD(net.parameters(), lr=alpha)
    for s, q in zip(support, query):
        with higher.innerloop_ctx(net, sgd, copy_initial_weights=False) as (inner, inner_sgd):
            inner_sgd.step(inner(s))
            inner(q).backward()
    return net.P.grad


def with_torchopt(backbone, P, support, query, alpha):
    net = SoftPrompt(backbone, P)
    sgd = torchopt.MetaSGD(net, lr=alpha)
    leaf, total = net.P, 0. # net.P is another tensor after a step
    states = [torchopt.extract_state_dict(part, by="reference") for part in (net, sgd)]
    for s, q in zip(support, query):
        sgd.step(net(s))
        total = total + torch.autograd.grad(net(q), leaf)[0]
        for part, state in zip((net, sgd), states): torchopt.recover_state_dict(part, state)
    return total


def ours(backbone, P, support, query, alpha):
    return meta_gradient(backbone, P, support, query, alpha)[0]


CONTENDERS = dict(higher=with_higher, torchopt=with_torchopt, loop=with_loop, ours=ours)


# Measuring

def wait():
    if torch.cuda.is_available(): torch.cuda.synchronize()


def clock():
    "Processor seconds on one thread, which other work on the machine does not stretch; else wall seconds."
    if torch.get_num_threads() > 1 or torch.cuda.is_available(): return time.perf_counter()
    return time.process_time()


def seconds(f, clock=clock):
    wait()
    start = clock()
    f()
    wait()
    return clock() - start


def race(runs, repeats=REPEATS, clock=clock):
    "name -> seconds of each repeat; contenders alternate, after one warm-up each."
    times = {name: [] for name in runs}
    for run in runs.values(): run()
    for _ in tqdm(range(repeats), desc="race", disable=None):
        for name, run in runs.items(): times[name].append(seconds(run, clock))
    return times


def peak_bytes(f):
    "Peak bytes of tensors that `f` allocates, by PyTorch's memory profile (CUDA's own counter on a GPU)."
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        f()
        wait()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile: f()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return int(np.cumsum([event.nbytes() for event in events]).max())


def matmul_rate(dtype, n=1024, repeats=30, device="cpu"):
    "Best rate of a square matrix product, FLOP/s."
    a, b = torch.randn(2, n, n, device=device).to(dtype)
    a @ b
    return 2*n**3/min(seconds(lambda: a @ b) for _ in range(repeats))


def episode(data, K, m):
    "Support and query batches of K tasks, m examples each, drawn without regard to what a task is."
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:2*K*m].view(K, 2, m)
    return [data[support] for support, _ in rows], [data[query] for _, query in rows]


def text_episode(backbone, texts, K, m):
    return episode(backbone.encode(texts.texts, texts.labels, max_length=64), K, m)


def product_flops(backbone, support, query, L):
    """FLOP of the weight products of an exact meta-gradient over real positions.

    Keys and values of the encoder's output are formed as in the textbook. Support costs four passes, query two."""
    c = backbone.model.config
    d, inner = c.d_model, c.num_heads*c.d_kv
    feed = (2 + c.is_gated_act)*d*c.d_ff
    across = c.num_decoder_layers*2*d*inner # keys and values of one row of the encoder's output
    row = c.num_layers*(4*d*inner + feed) + across
    example = c.num_decoder_layers*2*(6*d*inner + feed) + d*c.vocab_size
    def cost(batches):
        rows = [int(batch.lengths.sum()) + L*len(batch) for batch in batches]
        return sum(2*row*n + 2*example*len(batch) for n, batch in zip(rows, batches))
    return 4*cost(support) + 2*cost(query)


def median(values): return float(np.median(values))


# The sections

def gradient_runs(backbones, episodes, L):
    "name -> a call that computes the meta-gradient."
    wide = backbones["float32"]
    P, alpha = wide.init_prompt(L), wide.scale**2
    runs = {name: partial(f, wide, P, *episodes["float32"], alpha) for name, f in CONTENDERS.items()}
    if "bfloat16" in backbones:
        runs["ours, bfloat16"] = partial(ours, backbones["bfloat16"], P, *episodes["bfloat16"], alpha)
    return runs


def agreement(runs):
    "Relative error and cosine of each gradient against that of `higher`."
    gradients = {name: run() for name, run in runs.items()}
    exact = gradients["higher"]
    error = {name: float((G - exact).norm()/exact.norm()) for name, G in gradients.items()}
    cosine = {
        name: torch.cosine_similarity(G.flatten(), exact.flatten(), dim=0).item() for name, G in gradients.items()}
    assert all(e < 1e-4 for name, e in error.items() if "bfloat16" not in name), error
    assert all(c > .99 for c in cosine.values()), cosine
    return dict(relative_error=error, cosine=cosine)


def gradient_memory(wide, support, query, runs, L):
    "Peak bytes of the loop and of this engine, one task at a time and all at once."
    P, alpha = wide.init_prompt(L), wide.scale**2
    return dict(
        loop=peak_bytes(runs["loop"]),
        ours=peak_bytes(lambda: meta_gradient(wide, P, support, query, alpha, task_chunk=1)),
        ours_all_tasks=peak_bytes(runs["ours"]),
        predicted_all_tasks=predict_memory(wide, support, query, L))


def bench_gradient(backbones, texts, K=10, m=4, L=20):
    "An exact meta-gradient by each contender: seconds, agreement, memory, and what the products alone would take."
    episodes = {name: text_episode(backbone, texts, K, m) for name, backbone in backbones.items()}
    runs = gradient_runs(backbones, episodes, L)
    found = agreement(runs)
    wide, batches = backbones["float32"], episodes["float32"]
    return dict(
        K=K, m=m, L=L, seconds=race(runs), **found, product_flop=product_flops(wide, *batches, L),
        matmul_flop_per_s={name: matmul_rate(backbone.dtype) for name, backbone in backbones.items()},
        peak_bytes=gradient_memory(wide, *batches, runs, L))


GROUPS = { # operator -> what it is counted under
    "aten::mm": "weight products", "aten::addmm": "weight products",
    "aten::bmm": "attention", "aten::baddbmm": "attention",
    "aten::_softmax": "attention", "aten::_softmax_backward_data": "attention"}


def bench_profile(backbone, texts, K=10, m=4, L=20):
    """Where the seconds of a meta-gradient go.

    Self time of PyTorch's operators in three groups, and the FLOP of the weight products that are really done."""
    batches = text_episode(backbone, texts, K, m)
    run = partial(ours, backbone, backbone.init_prompt(L), *batches, backbone.scale**2)
    run()
    def operators(**kwargs):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], **kwargs) as profile: run()
        return {event.key: event for event in profile.key_averages()}
    # FLOP need shapes, and recording those takes time: one run for each
    timed, counted = operators(), operators(with_flops=True)
    found = {}
    for key, event in timed.items():
        group = found.setdefault(GROUPS.get(key, "everything else"), dict(seconds=0., flop=0))
        group["seconds"] += event.self_cpu_time_total/1e6
        if key in counted: group["flop"] += counted[key].flops or 0
    return found


def nested_gradient(backbone, P, support, query, alpha):
    "The meta-gradient as a function of the prompt, by one torch.func gradient inside another."
    loss = partial(loss_at, SoftPrompt(backbone, P))
    def adapted(p, s): return p - alpha*torch.func.grad(loss)(p, s)
    def total(p): return sum(loss(adapted(p, s), q) for s, q in zip(support, query))
    return torch.func.grad(total)


def bench_compile(backbone, texts, K=2, m=4, L=20):
    """Nested torch.func gradients of the peers' network, as they are and through torch.compile.

    Beside them the loop and this engine; seconds of the first compiled call too."""
    P = backbone.init_prompt(L)
    task = backbone, P, *text_episode(backbone, texts, K, m), backbone.scale**2
    eager = nested_gradient(*task)
    compiled = torch.compile(eager, dynamic=False)
    first = seconds(lambda: compiled(P))
    want = ours(*task)
    assert float((compiled(P) - want).norm()/want.norm()) < 1e-4
    runs = dict(
        functional=partial(eager, P), compiled=partial(compiled, P),
        loop=partial(with_loop, *task), ours=partial(ours, *task))
    return dict(K=K, m=m, L=L, first_call=first, seconds=race(runs))


def bench_tuning(backbone, data, seeds=range(5), epochs=3):
    "Few-shot tuning of one prompt per seed, together and one after another."
    splits = [few_shot(data, 40, 40, seed, draw="balanced") for seed in seeds]
    batch = backbone.encode(data.texts, data.labels, max_length=64)
    train = [batch[torch.as_tensor(split.train)] for split in splits]
    dev = [batch[torch.as_tensor(split.dev)] for split in splits]
    configs = [TuneConfig(lr=.01, epochs=epochs, patience=epochs, seed=seed) for seed in seeds]
    prompts = [backbone.init_prompt(20, seed=seed) for seed in seeds]
    def together(): return tune_prompts(backbone, prompts, train, dev, configs)
    def apart(): return [tune_prompt(backbone, *one) for one in zip(prompts, train, dev, configs)]
    pairs = [(a.prompt, b.prompt) for a, b in zip(together(), apart())]
    return dict(
        seeds=len(prompts), epochs=epochs, relative_difference=max(float((a - b).norm()/b.norm()) for a, b in pairs),
        seconds=race(dict(apart=apart, together=together), 3))


BASE = dict(K=4, m=4, L=20, T=32)
VARIED = dict(K=(1, 2, 4, 8), m=(1, 2, 4, 8), L=(5, 20, 50, 100), T=(16, 32, 64, 128))


def growth_point(backbone, texts, K, m, L, T):
    "Measured and predicted peak bytes and seconds of a meta-gradient of this size."
    batches = episode(backbone.encode(texts, [0]*len(texts), words=("bad", "good"), max_length=T), K, m)
    run = partial(ours, backbone, backbone.init_prompt(L), *batches, backbone.scale**2)
    return dict(
        peak=peak_bytes(run), predicted=predict_memory(backbone, *batches, L),
        seconds=min(seconds(run) for _ in range(2)))


def bench_growth(backbones, texts):
    "Seconds, measured and predicted peak bytes while one of K, m, L and the length of the text varies."
    long = [" ".join(texts.texts[i:i + 12]) for i in range(0, 240*12, 12)]
    rows = []
    for name, backbone in backbones.items():
        for axis, values in VARIED.items():
            for x in values:
                point = growth_point(backbone, long, **{**BASE, axis: x})
                rows.append(dict(dtype=name, axis=axis, x=x, **point))
    return rows


T5_BASE = dict(
    vocab_size=32128, d_model=768, d_kv=64, d_ff=2048, num_layers=12, num_decoder_layers=12, num_heads=12,
    feed_forward_proj="gated-gelu", tie_word_embeddings=False, scale_decoder_outputs=False, dropout_rate=0.,
    decoder_start_token_id=0)


def random_batch(n, T, vocabulary, generator, device):
    "n examples of random tokens, half to all of T."
    ids = torch.randint(3, min(1000, vocabulary), (n, T), generator=generator)
    lengths = torch.randint(T//2, T + 1, (n,), generator=generator)
    labels = torch.randint(0, 2, (n,), generator=generator)
    words = LabelSet(("bad", "good"), ((4,), (5,)))
    none = torch.zeros(n, dtype=torch.long)
    return Batch(
        ids.to(device), lengths, holes=none, labels=labels, sets=(words,), owns=none, template="{text} {mask}",
        truncated=0, cut={})


def base_point(backbone, batches, L, n, repeats):
    "Seconds, rates and memory of `higher` and this engine; n is the side of the matrix product they are compared with."
    P, alpha = backbone.init_prompt(L), backbone.scale**2
    runs = {name: partial(CONTENDERS[name], backbone, P, *batches, alpha) for name in ("higher", "ours")}
    times = race(runs, repeats)
    typical = {name: median(values) for name, values in times.items()}
    rate = product_flops(backbone, *batches, L)/typical["ours"]
    return dict(
        seconds=times, steps_per_second=1/typical["ours"], times_higher=typical["higher"]/typical["ours"],
        fraction_of_matmul_rate=rate/matmul_rate(backbone.dtype, n, device=backbone.device),
        peak_bytes={name: peak_bytes(run) for name, run in runs.items()})


def bench_base(device, config=T5_BASE, K=10, m=4, L=100, T=128, n=8192, repeats=3):
    "Exact meta-gradients of a T5 of this size with random weights: speed does not depend on what they are."
    found, tokenizer = {}, Backbone.tiny().tokenizer
    generator = torch.Generator().manual_seed(0)
    for name in ("float32", "bfloat16"):
        model = build_t5(config, None, getattr(torch, name)).to(device)
        data = random_batch(2*K*m, T, config["vocab_size"], generator, device)
        point = base_point(Backbone(model, tokenizer, "T5-base size"), episode(data, K, m), L, n, repeats)
        found[name] = dict(K=K, m=m, L=L, T=T, **point)
    card = torch.cuda.get_device_name() if str(device) == "cuda" else str(device)
    return dict(device=card, **found)


# What is written

GROWTH_AXES = dict(K="tasks K", m="samples m", L="prompt rows L", T="tokens of text")
COLOURS = dict(float32="#3f90da", bfloat16="#ffa90e")


def plot_axis(above, below, rows, dtype):
    "Seconds and memory of one precision while one size varies."
    x = [row["x"] for row in rows]
    above.plot(x, [row["seconds"] for row in rows], "o-", color=COLOURS[dtype], label=dtype)
    measured, predicted = ([row[name]/MiB for row in rows] for name in ("peak", "predicted"))
    below.plot(x, measured, "o-", color=COLOURS[dtype], label=f"{dtype}, measured")
    below.plot(x, predicted, "k:", label="predicted")


def plot_growth(rows, path):
    import matplotlib.pyplot as plt
    fig, axes = plt.subplots(2, 4, figsize=(11, 4.6), sharey="row", layout="constrained")
    for (above, below), (axis, label) in zip(axes.T, GROWTH_AXES.items()):
        for dtype in COLOURS:
            chosen = [row for row in rows if row["axis"] == axis and row["dtype"] == dtype]
            if chosen: plot_axis(above, below, chosen, dtype)
        below.set_xlabel(label)
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory, MiB")
    axes[0, 0].legend(frameon=False)
    axes[1, 0].legend(frameon=False, fontsize=8)
    for ax in axes.flat:
        ax.set_ylim(0)
        ax.spines[["top", "right"]].set_visible(False)
    with atomic(path) as tmp: fig.savefig(tmp, format="png", dpi=80)


def line(*cells): return f"| {' | '.join(cells)} |"
def header(*columns): return [f"| {line(*columns)}", line("---", *["---"]*len(columns))] # behind a column of names
def spread(values): return f"{np.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def opening(r):
    libraries = ", ".join(f"{name} {r['versions'][name]}" for name in ("torch", "higher", "torchopt"))
    return [
        f"# Bench\n\n{commands(r['made'])}. {r['cores']} cores of {r['machine']}, {libraries}. "
        "Within a section all is one run, contenders alternating; medians, smallest and largest in brackets; "
        "a ratio is the median of the ratios within a repeat.\n"]


def gradient_line(g, name):
    times = g["seconds"][name]
    dtype = "bfloat16" if "bfloat16" in name else "float32"
    limit = g["product_flop"]/g["matmul_flop_per_s"][dtype]
    return line(
        name, spread(times), spread(np.divide(g["seconds"]["higher"], times)), f"{median(times)/limit:.2f}",
        f"{g['relative_error'][name]:.1e}", f"{g['cosine'][name]:.4f}")


def gradient_text(g):
    rates = ", ".join(f"{rate/1e9:.0f} GFLOP/s in {dtype}" for dtype, rate in g["matmul_flop_per_s"].items())
    peak = {name: size/MiB for name, size in g["peak_bytes"].items()}
    return [
        "## An exact meta-gradient\n\n"
        f"Embedded backbone, K = {g['K']}, m = {g['m']}, L = {g['L']}, Rotten Tomatoes sentences, "
        f"{len(g['seconds']['ours'])} repeats. Relative error and cosine are against `higher`. "
        f"The limit is the time of the weight products over real positions ({g['product_flop']/1e9:.0f} GFLOP, "
        "counted as a textbook T5 needs them) at the rate of a 1024³ product measured in the same run: "
        f"{rates}.\n",
        *header("seconds", "times as fast as higher", "times the limit", "relative error", "cosine"),
        *(gradient_line(g, name) for name in g["seconds"]),
        f"\nPeak memory beyond the weights, float32: plain loop {peak['loop']:.0f} MiB; "
        f"ours with `task_chunk=1` {peak['ours']:.0f} MiB ({peak['ours']/peak['loop']:.2f} times), "
        f"with all tasks at once {peak['ours_all_tasks']:.0f} MiB (predicted {peak['predicted_all_tasks']:.0f}).\n"]


def profile_line(name, groups):
    products, attention, rest = (groups[key] for key in ("weight products", "attention", "everything else"))
    return line(
        name, f"{products['seconds']:.2f}", f"{products['flop']/products['seconds']/1e9:.0f}",
        f"{attention['seconds']:.2f}", f"{rest['seconds']:.2f}")


def profile_text(profiles):
    return [
        "## Where the time goes\n",
        *header("weight products, s", "at GFLOP/s", "attention, s", "everything else, s"),
        *(profile_line(name, groups) for name, groups in profiles.items()),
        "\nWhat is left beside the products is spread over many small operations on arrays of a few megabytes "
        "(norms, gates, sums of gradients, moves between packed and padded rows); "
        "the next step would be to fuse those of a layer into one kernel.\n"]


def tuning_line(name, x):
    apart, together = (np.array(x["seconds"][key]) for key in ("apart", "together"))
    return line(
        f"{name}, {x['seeds']} seeds, {x['epochs']} epochs, {len(apart)} repeats",
        f"{np.median(apart):.1f}", f"{np.median(together):.1f}", f"{np.median(apart/together):.2f}",
        f"{x['relative_difference']:.1e}")


def tuning_text(tunings):
    return [
        "## Five prompts tuned together\n",
        *header("apart, s", "together, s", "ratio", "relative difference of the prompts"),
        *(tuning_line(name, x) for name, x in tunings.items())]


def compile_text(c):
    typical = {name: f"{median(times):.2f} s" for name, times in c["seconds"].items()}
    return [
        "\n## torch.compile\n\n"
        f"The peers' network as one nested `torch.func` gradient, K = {c['K']}, float32, "
        f"{len(c['seconds']['ours'])} repeats: {typical['functional']}, compiled {typical['compiled']} "
        f"(its first call {c['first_call']:.0f} s, for these lengths only), the plain loop {typical['loop']}, "
        f"ours {typical['ours']}. To be worth an option of this package it would have to beat the last number."]


def base_line(name, x):
    return line(
        name, f"{x['steps_per_second']:.2f}", f"{x['times_higher']:.1f}", f"{x['fraction_of_matmul_rate']:.2f}",
        f"{x['peak_bytes']['ours']/GiB:.1f}")


def base_text(measured):
    "The table of a GPU, or a sentence where there was none."
    if measured is None:
        return [
            "\n## T5-base size on a GPU\n\n"
            "Not measured: this run had no CUDA device. `make bench` on a machine with one adds the table."]
    return [
        f"\n## T5-base size on {measured['device']}\n\n"
        "Random weights, K = {K}, m = {m}, L = {L}, up to {T} tokens of text.\n".format(**measured["float32"]),
        *header("meta-steps per second", "times higher", "fraction of the matmul rate", "peak memory, GiB"),
        *(base_line(name, x) for name, x in measured.items() if name != "device")]


GROWTH_TEXT = """
## Growth

One of K = {K}, m = {m}, L = {L} and {T} tokens of text varies.

![Seconds and peak memory against tasks, samples, prompt rows and tokens](growth.png)
""".format(**BASE)


def table(r):
    "README.md of what was measured."
    return "\n".join([
        *opening(r), *gradient_text(r["gradient"]), *profile_text(r["profile"]), *tuning_text(r["tuning"]),
        *compile_text(r["compile"]), *base_text(r.get("gpu")), GROWTH_TEXT])


def sections():
    "name -> what measures it."
    dtypes = ["float32"]
    if pick_dtype("auto", torch.device("cpu")) == torch.bfloat16: dtypes.append("bfloat16")
    backbones = {dtype: Backbone.load(dtype=dtype) for dtype in dtypes}
    tomatoes = load_dataset("rotten_tomatoes")
    texts = tomatoes.rows(np.random.default_rng(0).permutation(len(tomatoes))[:3000])
    def each(bench, data): return {name: bench(backbone, data) for name, backbone in backbones.items()}
    found = dict(
        gradient=lambda: bench_gradient(backbones, texts),
        profile=lambda: each(bench_profile, texts),
        tuning=lambda: each(bench_tuning, load_dataset("amazon")),
        compile=lambda: bench_compile(backbones["float32"], texts),
        growth=lambda: bench_growth(backbones, texts))
    if torch.cuda.is_available(): found["gpu"] = lambda: bench_base("cuda")
    return found


def write(r):
    "results.json, the picture and the page."
    with atomic(HERE/"results.json") as tmp: tmp.write_text(json.dumps(r, indent=1))
    plot_growth(r["growth"], HERE/"growth.png")
    with atomic(HERE/"README.md") as tmp: tmp.write_text(table(r))


def named_sections(program, available):
    "The sections named on the command line; leaves with a line where there is none of that name."
    named = sys.argv[1:]
    if unknown := set(named) - set(available):
        sys.exit(f"{program}: no section {', '.join(sorted(unknown))} here: choose from {', '.join(available)}")
    return named


def main():
    "All sections, or those named on the command line while the others stay as they are stored."
    matplotlib.use("Agg")
    torch.manual_seed(0)
    keep_freed_memory()
    available = sections()
    named = named_sections("bench.py", available)
    r = json.loads((HERE/"results.json").read_text()) if named else {}
    libraries = ("torch", "transformers", "higher", "torchopt")
    r |= dict(
        cores=os.cpu_count(), machine=platform.machine(), versions={name: version(name) for name in libraries})
    for name in named or available:
        r[name] = available[name]()
        r.setdefault("made", {})[name] = MADE
    write(r)
    print(table(r))


if __name__ == "__main__": main()
