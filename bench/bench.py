"""Meta-gradients and tuning, this engine beside its peers in one run: `make bench` writes results.json, README.md and growth.png here."""
import json, os, platform, sys, time
from importlib.metadata import version
from pathlib import Path

import higher, matplotlib, numpy as np, torch, torchopt
import torch.nn.functional as F
from tqdm.auto import tqdm

from clusters import MADE, commands
from metapt_nb.backbone import Backbone, Batch
from metapt_nb.data import few_shot, load_dataset
from metapt_nb.files import atomic
from metapt_nb.maml import meta_gradient, predict_memory
from metapt_nb.t5 import build_t5, keep_freed_memory
from metapt_nb.tune import TuneConfig, tune_prompt, tune_prompts

HERE = Path(__file__).parent
REPEATS = 9


class SoftPrompt(torch.nn.Module):
    "The backbone as `transformers` runs it, one padded batch at a time, the prompt its only parameter: what a peer is handed."
    def __init__(self, backbone, prompt): super().__init__(); self.P, self.backbone = torch.nn.Parameter(prompt.clone()), [backbone]
    def forward(self, b):
        bb, = self.backbone; m = bb.model; mask = torch.arange(len(self.P) + b.ids.shape[1], device=b.ids.device) < (b.lengths + len(self.P))[:, None]
        h = m.encoder(inputs_embeds=torch.cat([self.P.expand(len(b), *self.P.shape).to(m.dtype), m.shared(b.ids)], 1), attention_mask=mask).last_hidden_state
        start = torch.tensor([[m.config.decoder_start_token_id, bb.mask_id]]*len(b), device=b.ids.device)
        out = m.decoder(input_ids=start, encoder_hidden_states=h, encoder_attention_mask=mask, use_cache=False).last_hidden_state[:, 1]
        return F.cross_entropy(m.lm_head(out.float()), b.word_ids[b.labels])


def with_loop(bb, P, support, query, alpha):
    "Plain PyTorch, one task after another."
    net, G = SoftPrompt(bb, P), 0.
    call = lambda p, b: torch.func.functional_call(net, {"P": p}, (b,))
    for s, q in zip(support, query):
        p = P.clone().requires_grad_(); g, = torch.autograd.grad(call(p, s), p, create_graph=True)
        G = G + torch.autograd.grad(call(p - alpha*g, q), p)[0]
    return G


def with_higher(bb, P, support, query, alpha):
    net = SoftPrompt(bb, P); sgd = torch.optim.SGD(net.parameters(), lr=alpha)
    for s, q in zip(support, query):
        with higher.innerloop_ctx(net, sgd, copy_initial_weights=False) as (inner, diff): diff.step(inner(s)); inner(q).backward()
    return net.P.grad


def with_torchopt(bb, P, support, query, alpha):
    net = SoftPrompt(bb, P); sgd = torchopt.MetaSGD(net, lr=alpha); leaf, G = net.P, 0.
    states = [torchopt.extract_state_dict(x, by="reference") for x in (net, sgd)]
    for s, q in zip(support, query):
        sgd.step(net(s)); G = G + torch.autograd.grad(net(q), leaf)[0]
        for x, state in zip((net, sgd), states): torchopt.recover_state_dict(x, state)
    return G


def ours(bb, P, support, query, alpha): return meta_gradient(bb, P, support, query, alpha)[0]


def wait():
    if torch.cuda.is_available(): torch.cuda.synchronize()


def seconds(f):
    wait(); t = time.perf_counter(); f(); wait(); return time.perf_counter() - t


def race(runs, repeats=REPEATS):
    "name -> seconds of each repeat; contenders alternate, after one warm-up each."
    times = {n: [] for n in runs}
    for f in runs.values(): f()
    for _ in tqdm(range(repeats), desc="race", disable=None):
        for n, f in runs.items(): times[n].append(seconds(f))
    return times


def peak_bytes(f):
    "Peak bytes of tensors that `f` allocates, by PyTorch's memory profile (CUDA's own counter on a GPU)."
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats(); before = torch.cuda.memory_allocated(); f(); wait(); return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as p: f()
    events = sorted((e for e in p.profiler.kineto_results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns())
    return int(np.cumsum([e.nbytes() for e in events]).max())


def matmul_rate(dtype, n=1024, repeats=30, device="cpu"):
    "Best rate of a square matrix product, FLOP/s."
    a, b = torch.randn(2, n, n, device=device).to(dtype); a @ b
    return 2*n**3/min(seconds(lambda: a @ b) for _ in range(repeats))


def episode(data, K, m):
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:2*K*m].view(K, 2, m)
    return [data[r[0]] for r in rows], [data[r[1]] for r in rows]


def product_flops(bb, support, query, L):
    "FLOP of the weight products of an exact meta-gradient over real positions, keys and values of the encoder's output formed as in the textbook: support four passes, query two."
    c = bb.model.config; inner = c.num_heads*c.d_kv; layer = 4*c.d_model*inner + (2 + c.is_gated_act)*c.d_model*c.d_ff
    row, example = c.num_layers*layer + c.num_decoder_layers*2*c.d_model*inner, c.num_decoder_layers*2*(6*c.d_model*inner + (2 + c.is_gated_act)*c.d_model*c.d_ff) + c.d_model*c.vocab_size
    cost = lambda batches: sum(2*row*(int(b.lengths.sum()) + L*len(b)) + 2*example*len(b) for b in batches)
    return 4*cost(support) + 2*cost(query)


def bench_gradient(bbs, texts, K=10, m=4, L=20):
    enc = {n: bb.encode(texts.texts, texts.labels, max_length=64) for n, bb in bbs.items()}; ep = {n: episode(d, K, m) for n, d in enc.items()}
    wide = bbs["float32"]; P, alpha = wide.init_prompt(L), wide.scale**2
    runs = {name: (lambda f=f: f(wide, P, *ep["float32"], alpha)) for name, f in dict(higher=with_higher, torchopt=with_torchopt, loop=with_loop, ours=ours).items()}
    if "bfloat16" in bbs: runs["ours, bfloat16"] = lambda: ours(bbs["bfloat16"], P, *ep["bfloat16"], alpha)
    G = {n: f() for n, f in runs.items()}; error = {n: float((g - G["higher"]).norm()/G["higher"].norm()) for n, g in G.items()}
    cosine = {n: torch.cosine_similarity(g.flatten(), G["higher"].flatten(), dim=0).item() for n, g in G.items()}
    assert all(e < 1e-4 for n, e in error.items() if "bfloat16" not in n) and all(c > .99 for c in cosine.values()), (error, cosine)
    times = race(runs); flop = product_flops(wide, *ep["float32"], L); rates = {n: matmul_rate(bb.dtype) for n, bb in bbs.items()}
    one = dict(loop=peak_bytes(lambda: with_loop(wide, P, *ep["float32"], alpha)), ours=peak_bytes(lambda: meta_gradient(wide, P, *ep["float32"], alpha, task_chunk=1)),
               ours_all_tasks=peak_bytes(runs["ours"]), predicted_all_tasks=predict_memory(wide, *ep["float32"], L))
    return dict(K=K, m=m, L=L, seconds=times, relative_error=error, cosine=cosine, product_flop=flop, matmul_flop_per_s=rates, peak_bytes=one)


def bench_profile(bb, texts, K=10, m=4, L=20):
    "Where the seconds of a meta-gradient go: self time of PyTorch's operators in three groups, and the FLOP of the weight products that are really done."
    ep = episode(bb.encode(texts.texts, texts.labels, max_length=64), K, m); P, alpha = bb.init_prompt(L), bb.scale**2; ours(bb, P, *ep, alpha)
    def events(**kwargs): # FLOP need shapes, and recording those takes time: one run for each
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], **kwargs) as p: ours(bb, P, *ep, alpha)
        return {e.key: e for e in p.key_averages()}
    plain, counted = events(), events(with_flops=True)
    groups = {"aten::mm": "weight products", "aten::addmm": "weight products", **dict.fromkeys(("aten::bmm", "aten::baddbmm", "aten::_softmax", "aten::_softmax_backward_data"), "attention")}; out = {}
    for key, e in plain.items():
        x = out.setdefault(groups.get(key, "everything else"), dict(seconds=0., flop=0)); x["seconds"] += e.self_cpu_time_total/1e6; x["flop"] += counted[key].flops or 0 if key in counted else 0
    return out


def bench_compile(bb, texts, K=2, m=4, L=20):
    "Nested torch.func gradients of the peers' network, as they are and through torch.compile, beside the loop and this engine; seconds of the first compiled call too."
    ep = episode(bb.encode(texts.texts, texts.labels, max_length=64), K, m); P, alpha = bb.init_prompt(L), bb.scale**2; net = SoftPrompt(bb, P)
    call = lambda p, b: torch.func.functional_call(net, {"P": p}, (b,))
    eager = torch.func.grad(lambda p: sum(call(p - alpha*torch.func.grad(call)(p, s), q) for s, q in zip(*ep))); compiled = torch.compile(eager, dynamic=False)
    first = seconds(lambda: compiled(P)); want = ours(bb, P, *ep, alpha); assert float((compiled(P) - want).norm()/want.norm()) < 1e-4
    return dict(K=K, m=m, L=L, first_call=first, seconds=race(dict(functional=lambda: eager(P), compiled=lambda: compiled(P), loop=lambda: with_loop(bb, P, *ep, alpha), ours=lambda: ours(bb, P, *ep, alpha))))


def bench_tuning(bb, data, seeds=range(5), epochs=3):
    splits = [few_shot(data, 40, 40, s) for s in seeds]; b = bb.encode(data.texts, data.labels, max_length=64)
    train, dev = ([b[torch.as_tensor(getattr(f, n))] for f in splits] for n in ("train", "dev")); cfg = [TuneConfig(lr=.01, epochs=epochs, patience=epochs, seed=s) for s in seeds]; P = [bb.init_prompt(20, seed=s) for s in seeds]
    together = lambda: tune_prompts(bb, P, train, dev, cfg)
    apart = lambda: [tune_prompt(bb, *x) for x in zip(P, train, dev, cfg)]
    far = max(float((x.prompt - y.prompt).norm()/y.prompt.norm()) for x, y in zip(together(), apart()))
    return dict(seeds=len(P), epochs=epochs, relative_difference=far, seconds=race(dict(apart=apart, together=together), 3))


def bench_growth(bbs, texts):
    "Seconds, measured and predicted peak bytes while one of K, m, L and the length of the text varies."
    base, out = dict(K=4, m=4, L=20, T=32), []
    vary = dict(K=(1, 2, 4, 8), m=(1, 2, 4, 8), L=(5, 20, 50, 100), T=(16, 32, 64, 128))
    long = [" ".join(texts.texts[i:i + 12]) for i in range(0, 240*12, 12)]
    for name, bb in bbs.items():
        for axis, x in [(a, x) for a, xs in vary.items() for x in xs]:
            s = dict(base, **{axis: x}); data = bb.encode(long, [0]*len(long), words=("bad", "good"), max_length=s["T"]); ep = episode(data, s["K"], s["m"]); P = bb.init_prompt(s["L"])
            f = lambda: ours(bb, P, *ep, bb.scale**2)
            out.append(dict(dtype=name, axis=axis, x=x, peak=peak_bytes(f), predicted=predict_memory(bb, *ep, s["L"]), seconds=min(seconds(f) for _ in range(2))))
    return out


def plot_growth(rows, path):
    import matplotlib.pyplot as plt
    names = dict(K="tasks K", m="samples m", L="prompt rows L", T="tokens of text"); fig, axes = plt.subplots(2, 4, figsize=(11, 4.6), sharey="row", layout="constrained")
    for j, axis in enumerate(names):
        for dtype, colour in dict(float32="#3f90da", bfloat16="#ffa90e").items():
            r = [q for q in rows if q["axis"] == axis and q["dtype"] == dtype]; x = [q["x"] for q in r]
            if not r: continue
            axes[0, j].plot(x, [q["seconds"] for q in r], "o-", color=colour, label=dtype)
            axes[1, j].plot(x, [q["peak"]/2**20 for q in r], "o-", color=colour, label=f"{dtype}, measured"); axes[1, j].plot(x, [q["predicted"]/2**20 for q in r], "k:", label="predicted")
        axes[1, j].set_xlabel(names[axis])
    axes[0, 0].set_ylabel("seconds"); axes[1, 0].set_ylabel("peak memory, MiB"); axes[0, 0].legend(frameon=False); axes[1, 0].legend(frameon=False, fontsize=8)
    for ax in axes.flat: ax.set_ylim(0); ax.spines[["top", "right"]].set_visible(False)
    with atomic(path) as tmp: fig.savefig(tmp, format="png", dpi=80)


T5_BASE = dict(vocab_size=32128, d_model=768, d_kv=64, d_ff=2048, num_layers=12, num_decoder_layers=12, num_heads=12, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
               scale_decoder_outputs=False, dropout_rate=0., decoder_start_token_id=0)


def bench_base(device, config=T5_BASE, K=10, m=4, L=100, T=128, n=8192, repeats=3):
    "Exact meta-gradients of a T5 of this size with random weights: speed does not depend on what they are."
    out = {}; tokenizer = Backbone.tiny().tokenizer; g = torch.Generator().manual_seed(0)
    for name in ("float32", "bfloat16"):
        bb = Backbone(build_t5(config, None, getattr(torch, name)).to(device), tokenizer, "T5-base size"); B = 2*K*m
        ids = torch.randint(3, min(1000, config["vocab_size"]), (B, T), generator=g); lengths = torch.randint(T//2, T + 1, (B,), generator=g)
        data = Batch(*(t.to(device) for t in (ids, lengths, torch.randint(0, 2, (B,), generator=g))), torch.tensor([4, 5], device=device), ("bad", "good"), "{text} {mask}", 0)
        ep = episode(data, K, m); P = bb.init_prompt(L); alpha = bb.scale**2; runs = dict(higher=lambda: with_higher(bb, P, *ep, alpha), ours=lambda: ours(bb, P, *ep, alpha))
        times, flop, rate = race(runs, repeats), product_flops(bb, *ep, L), matmul_rate(bb.dtype, n, device=device); med = {k: float(np.median(v)) for k, v in times.items()}
        out[name] = dict(K=K, m=m, L=L, T=T, seconds=times, steps_per_second=1/med["ours"], times_higher=med["higher"]/med["ours"], fraction_of_matmul_rate=flop/med["ours"]/rate,
                         peak_bytes={k: peak_bytes(f) for k, f in runs.items()})
    return dict(device=torch.cuda.get_device_name() if str(device) == "cuda" else str(device), **out)


def table(r):
    g, t = r["gradient"], r["tuning"]; med = {n: float(np.median(x)) for n, x in g["seconds"].items()}; limit = {n: g["product_flop"]/v for n, v in g["matmul_flop_per_s"].items()}
    kind = lambda n: "bfloat16" if "bfloat16" in n else "float32"; MiB = {n: v/2**20 for n, v in g["peak_bytes"].items()}
    paired = {n: np.divide(g["seconds"]["higher"], x) for n, x in g["seconds"].items()}
    lines = [f"# Bench\n\n{commands(r['made'])}. {r['cores']} cores of {r['machine']}, torch {r['versions']['torch']}, higher {r['versions']['higher']}, torchopt {r['versions']['torchopt']}. Within a section all is one run, contenders alternating; medians, smallest and largest in brackets; a ratio is the median of the ratios within a repeat.\n",
             f"## An exact meta-gradient\n\nEmbedded backbone, K = {g['K']}, m = {g['m']}, L = {g['L']}, Rotten Tomatoes sentences, {len(g['seconds']['ours'])} repeats. Relative error and cosine are against `higher`. The limit is the time of the weight products over real positions ({g['product_flop']/1e9:.0f} GFLOP, counted as a textbook T5 needs them) at the rate of a 1024³ product measured in the same run: "
             + ", ".join(f"{v/1e9:.0f} GFLOP/s in {n}" for n, v in g["matmul_flop_per_s"].items()) + ".\n", "| | seconds | times as fast as higher | times the limit | relative error | cosine |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [f"| {n} | {med[n]:.2f} [{min(x):.2f}, {max(x):.2f}] | {np.median(paired[n]):.2f} [{paired[n].min():.2f}, {paired[n].max():.2f}] | {med[n]/limit[kind(n)]:.2f} | {g['relative_error'][n]:.1e} | {g['cosine'][n]:.4f} |" for n, x in g["seconds"].items()]
    lines += [f"\nPeak memory beyond the weights, float32: plain loop {MiB['loop']:.0f} MiB; ours with `task_chunk=1` {MiB['ours']:.0f} MiB ({MiB['ours']/MiB['loop']:.2f} times), with all tasks at once {MiB['ours_all_tasks']:.0f} MiB (predicted {MiB['predicted_all_tasks']:.0f}).\n",
              "## Where the time goes\n", "| | weight products, s | at GFLOP/s | attention, s | everything else, s |", "| --- | --- | --- | --- | --- |",
              *(f"| {n} | {x['weight products']['seconds']:.2f} | {x['weight products']['flop']/x['weight products']['seconds']/1e9:.0f} | {x['attention']['seconds']:.2f} | {x['everything else']['seconds']:.2f} |" for n, x in r["profile"].items()),
              "\nWhat is left beside the products is spread over many small operations on arrays of a few megabytes (norms, gates, sums of gradients, moves between packed and padded rows); the next step would be to fuse those of a layer into one kernel.\n",
              "## Five prompts tuned together\n", "| | apart, s | together, s | ratio | relative difference of the prompts |", "| --- | --- | --- | --- | --- |"]
    for n, x in t.items(): a, b = (np.array(x["seconds"][k]) for k in ("apart", "together")); lines.append(f"| {n}, {x['seeds']} seeds, {x['epochs']} epochs, {len(a)} repeats | {np.median(a):.1f} | {np.median(b):.1f} | {np.median(a/b):.2f} | {x['relative_difference']:.1e} |")
    c = r["compile"]; med = {n: float(np.median(x)) for n, x in c["seconds"].items()}
    lines += [f"\n## torch.compile\n\nThe peers' network as one nested `torch.func` gradient, K = {c['K']}, float32, {len(c['seconds']['ours'])} repeats: {med['functional']:.2f} s, compiled {med['compiled']:.2f} s (its first call {c['first_call']:.0f} s, for these lengths only), the plain loop {med['loop']:.2f} s, ours {med['ours']:.2f} s. To be worth an option of this package it would have to beat the last number."]
    if "gpu" in r:
        lines += [f"\n## T5-base size on {r['gpu']['device']}\n\nRandom weights, K = 10, m = 4, L = 100, up to 128 tokens of text.\n", "| | meta-steps per second | times higher | fraction of the matmul rate | peak memory, GiB |", "| --- | --- | --- | --- | --- |"]
        lines += [f"| {n} | {x['steps_per_second']:.2f} | {x['times_higher']:.1f} | {x['fraction_of_matmul_rate']:.2f} | {x['peak_bytes']['ours']/2**30:.1f} |" for n, x in r["gpu"].items() if n != "device"]
    else: lines.append("\n## T5-base size on a GPU\n\nNot measured: this run had no CUDA device. `make bench` on a machine with one adds the table.")
    return "\n".join(lines) + "\n\n## Growth\n\nOne of K = 4, m = 4, L = 20 and 32 tokens of text varies.\n\n![Seconds and peak memory against tasks, samples, prompt rows and tokens](growth.png)\n"


def sections():
    "name -> what measures it."
    dtypes = ["float32"] + (["bfloat16"] if Backbone.load().dtype == torch.bfloat16 else []); bbs = {n: Backbone.load(dtype=n) for n in dtypes}
    rt = load_dataset("rotten_tomatoes"); texts = rt.rows(np.random.default_rng(0).permutation(len(rt))[:3000])
    out = dict(gradient=lambda: bench_gradient(bbs, texts), profile=lambda: {n: bench_profile(bb, texts) for n, bb in bbs.items()}, tuning=lambda: {n: bench_tuning(bb, load_dataset("amazon")) for n, bb in bbs.items()},
               compile=lambda: bench_compile(bbs["float32"], texts), growth=lambda: bench_growth(bbs, texts))
    return out | (dict(gpu=lambda: bench_base("cuda")) if torch.cuda.is_available() else {})


def main():
    "All sections, or those named on the command line while the others stay as they are stored."
    matplotlib.use("Agg"); torch.manual_seed(0); keep_freed_memory(); todo = sections(); names = sys.argv[1:] or list(todo)
    if unknown := set(names) - set(todo): sys.exit(f"bench.py: no section {', '.join(sorted(unknown))} here: choose from {', '.join(todo)}")
    stored = HERE/"results.json"; r = json.loads(stored.read_text()) if sys.argv[1:] else {}
    r |= dict(cores=os.cpu_count(), machine=platform.machine(), versions={n: version(n) for n in ("torch", "transformers", "higher", "torchopt")})
    for n in names: r[n] = todo[n](); r.setdefault("made", {})[n] = MADE
    with atomic(stored) as tmp: tmp.write_text(json.dumps(r, indent=1))
    plot_growth(r["growth"], HERE/"growth.png")
    with atomic(HERE/"README.md") as tmp: tmp.write_text(table(r))
    print(table(r))


if __name__ == "__main__": main()
