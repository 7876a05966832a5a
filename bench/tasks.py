"""Tuning, meta-gradients, predictions and embeddings beside what people use for them.

`make bench`, or this file alone, writes tasks.json and TASKS.md here; `python bench/tasks.py tune labels` measures
two sections again. On one thread (OMP_NUM_THREADS=1) processor seconds are counted, else wall seconds.
"""
import json, os, platform, subprocess, sys, tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np, torch, torch.nn.functional as F
from peft import PromptTuningConfig, get_peft_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from bench import (
    clock, commands, header, line, median, named_sections, race, spread, text_episode, with_higher)
from clusters import MADE, peak_of_this_process
from metapt_nb.backbone import WORDS, Backbone, pick_dtype
from metapt_nb.data import few_shot, load_dataset
from metapt_nb.embed import embed_texts, load_encoder
from metapt_nb.files import atomic
from metapt_nb.maml import meta_gradient
from metapt_nb.predict import predict_file, predict_stream
from metapt_nb.pretrain import linear_warmup
from metapt_nb.prompts import save_prompt
from metapt_nb.t5 import keep_freed_memory
from metapt_nb.tune import TuneConfig, tune_prompt, tune_prompts

HERE = Path(__file__).parent
MiB = 2**20
LIBRARIES = ("torch", "transformers", "peft", "higher", "sentence-transformers")


def dtypes():
    "Those that the hardware computes in."
    fast = pick_dtype("auto", torch.device("cpu")) == torch.bfloat16
    return ("float32", "bfloat16") if fast else ("float32",)


def write_sentences(path, n):
    "A file of n lines: film sentences in a seeded order, again and again."
    found = load_dataset("rotten_tomatoes").texts
    order = np.random.default_rng(0).permutation(len(found))
    path.write_text("".join(f"{' '.join(found[i].split())}\n" for i in np.resize(order, n)))


# Few-shot tuning: this engine and PEFT on the same model, batches, schedule and precision.

def shots(backbone, seed, n=40):
    "Train and dev batch of n examples each."
    data = load_dataset("amazon")
    split = few_shot(data, n, n, seed, draw="balanced")
    batch = backbone.encode(data.texts, data.labels, max_length=64)
    return batch[torch.as_tensor(split.train)], batch[torch.as_tensor(split.dev)]


class Peer:
    "PEFT's prompt tuning, as its users write it: padded batches, the loss of the model's own forward pass."
    def __init__(self, backbone, prompt):
        self.backbone, self.seq2seq = backbone, backbone.kind == "t5"
        kind = "SEQ_2_SEQ_LM" if self.seq2seq else "CAUSAL_LM"
        config = PromptTuningConfig(task_type=kind, num_virtual_tokens=len(prompt), num_transformer_submodules=1)
        self.net = get_peft_model(backbone.model, config)
        self.weight = self.net.prompt_encoder["default"].embedding.weight
        self.weight.data.copy_(prompt)

    def inputs(self, batch):
        "What the model is given, with the label words as targets."
        ids, lengths = batch.ids, batch.lengths
        words = batch.word_ids[batch.labels]
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        if self.seq2seq:
            start = torch.tensor([self.backbone.lm.start]).expand(len(batch), 2)
            targets = torch.stack([torch.full_like(words, -100), words], 1)
            return dict(input_ids=ids, attention_mask=mask, decoder_input_ids=start, labels=targets)
        row = torch.arange(len(batch))
        ids, mask = (F.pad(part, (0, 1)) for part in (ids, mask))
        ids[row, lengths], mask[row, lengths] = words, 1
        targets = torch.full_like(ids, -100)
        targets[row, lengths] = words
        return dict(input_ids=ids, attention_mask=mask, labels=targets)

    def loss(self, batch): return self.net(**self.inputs(batch)).loss

    @torch.no_grad()
    def accuracy(self, batch, size=8):
        "Of the dev set, in batches."
        right = 0
        for part in (batch[i:i + size] for i in range(0, len(batch), size)):
            logits = self.net(**self.inputs(part)).logits
            # a causal model's answer stands on the last row of the text, behind the prompt
            at = torch.ones_like(part.lengths) if self.seq2seq else part.lengths + len(self.weight) - 1
            said = logits[torch.arange(len(part)), at][:, part.word_ids].argmax(-1)
            right += int((said == part.labels).sum())
        return right/len(batch)


def tune_peer(backbone, prompt, train, dev, config):
    "The mean loss of each epoch: the optimiser, the schedule and the order of `tune_prompt`."
    peer, scale, losses = Peer(backbone, prompt), backbone.scale, []
    steps = config.epochs*-(-len(train)//config.batch_size)
    opt = torch.optim.AdamW([peer.weight], lr=config.lr*scale, weight_decay=config.weight_decay/scale)
    rate = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: linear_warmup(step, steps, config.warmup))
    generator = torch.Generator().manual_seed(config.seed)
    peer.accuracy(dev)
    for _ in range(config.epochs):
        for rows in torch.randperm(len(train), generator=generator).split(config.batch_size):
            opt.zero_grad()
            loss = peer.loss(train[rows])
            loss.backward()
            opt.step()
            rate.step()
            losses.append(loss.item())
        peer.accuracy(dev)
    return np.reshape(losses, (config.epochs, -1)).mean(1)


def peer_backbone(backbone):
    "The same weights in a model as `transformers` runs it: with its own norms and its fastest attention."
    peer = Backbone.load(backbone.name, dtype=backbone.dtype)
    if backbone.kind == "causal":
        peer.model = type(peer.model).from_pretrained(peer.model.name_or_path, dtype=peer.dtype).requires_grad_(False)
    for module in peer.model.modules():
        if hasattr(module, "config"): module.config._attn_implementation = "sdpa"
    peer.model.to(peer.dtype) # the head too
    return peer


def tuning_runs(backbone, epochs, seeds=range(5)):
    "name -> a call; one prompt by PEFT and by this engine, and five by this engine together."
    peer = peer_backbone(backbone)
    prompts = [backbone.init_prompt(20, seed=seed) for seed in seeds]
    train, dev = zip(*(shots(backbone, seed) for seed in seeds))
    configs = [TuneConfig(epochs=epochs, patience=epochs, seed=seed) for seed in seeds]
    one = prompts[0], train[0], dev[0], configs[0]
    return dict(
        peft=partial(tune_peer, peer, *one), ours=partial(tune_prompt, backbone, *one),
        together=partial(tune_prompts, backbone, prompts, train, dev, configs))


def bench_tune(name, epochs=1, repeats=3):
    "Few-shot tuning of one backbone, in each precision; the losses of both engines agree."
    found = {}
    for dtype in dtypes():
        backbone = Backbone.load(name, dtype=dtype)
        runs = tuning_runs(backbone, epochs)
        theirs, ours = runs["peft"](), runs["ours"]().log.train_loss.to_numpy()[1:]
        apart = float(np.abs(theirs/ours - 1).max())
        assert apart < (1e-3 if dtype == "float32" else .1), f"{name}, {dtype}: losses differ by {apart}"
        found[dtype] = dict(epochs=epochs, loss_apart=apart, prompts=5, seconds=race(runs, repeats))
    return found


# Where a step of tuning goes, and what both engines have to compute.

KINDS_OF_WORK = { # operator -> what it is counted under
    "aten::mm": "weight products", "aten::addmm": "weight products",
    "aten::bmm": "attention", "aten::baddbmm": "attention", "aten::_softmax": "attention",
    "aten::_softmax_backward_data": "attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": "attention",
    "aten::gelu": "gate", "aten::gelu_backward": "gate"}


def steps_of(backbone, engine, train):
    "A call that makes the forward and backward passes of one epoch."
    prompt = backbone.init_prompt(20)
    peer = Peer(peer_backbone(backbone), prompt) if engine == "peft" else None
    own = prompt.clone().requires_grad_()
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    parts = [train[rows] for rows in order.split(4)]
    def epoch():
        for part in parts: (peer.loss(part) if peer else backbone.loss(own, part).mean()).backward()
    return epoch, len(parts)


def profiled(run, steps):
    "Kind of work -> milliseconds and GFLOP of a step."
    run()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as timed: run()
    with torch.profiler.profile(activities=activities, with_flops=True) as counted: run()
    flop = {event.key: event.flops or 0 for event in counted.key_averages()}
    found = {}
    for event in timed.key_averages():
        kind = found.setdefault(KINDS_OF_WORK.get(event.key, "everything else"), dict(ms=0., gflop=0., calls=0.))
        kind["ms"] += event.self_cpu_time_total/1e3/steps
        kind["gflop"] += flop.get(event.key, 0)/1e9/steps
        kind["calls"] += event.count/steps
    return found


def bench_profile():
    "Kinds of work of a step of few-shot tuning, of this engine and of PEFT, on the embedded backbone."
    backbone = Backbone.load(dtype="float32")
    train, _ = shots(backbone, 0)
    return {engine: profiled(*steps_of(backbone, engine, train)) for engine in ("ours", "peft")}


# An exact meta-gradient on a causal model.

class CausalPrompt(torch.nn.Module):
    "A causal model as `transformers` runs it, the prompt its only parameter."
    def __init__(self, backbone, prompt):
        super().__init__()
        self.P = torch.nn.Parameter(prompt.clone())
        self.model = [backbone.model] # in a list, so that its weights are no parameters of this module

    def forward(self, batch):
        model, = self.model
        L, rows = len(self.P), torch.arange(len(batch))
        x = torch.cat([self.P.expand(len(batch), *self.P.shape), model.get_input_embeddings()(batch.ids)], 1)
        mask = (torch.arange(x.shape[1]) < (batch.lengths + L)[:, None]).long()
        H = model.base_model(inputs_embeds=x, attention_mask=mask, use_cache=False)[0]
        scores = model.lm_head(H[rows, batch.lengths + L - 1])
        return F.cross_entropy(scores, batch.word_ids[batch.labels])


def first_layers(layers):
    "SmolLM2, or its first layers, for this engine and for a peer, whose attention must have a double backward."
    ours = Backbone.load("smollm2", dtype="float32")
    peer = peer_backbone(ours)
    for module in peer.model.modules():
        if hasattr(module, "config"): module.config._attn_implementation = "eager"
    for own in (ours, peer): own.model.base_model.layers = own.model.base_model.layers[:layers]
    return ours, peer


def operations(runs):
    "name -> floating-point operations of each call; attention as products, which the counter does not know fused."
    found = {}
    for name, run in runs.items():
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter: run()
        found[name] = counter.get_total_flops()
    return found


def bench_meta(layers=None, K=2, m=4, L=20, repeats=3):
    "An exact meta-gradient on SmolLM2, or on its first layers, by this engine and by `higher`."
    ours, peer = first_layers(layers)
    support, query = text_episode(ours, load_dataset("rotten_tomatoes").rows(range(500)), K, m)
    given = ours.init_prompt(L), support, query, ours.scale**2
    runs = dict(
        higher=lambda: with_higher(peer, *given, make=CausalPrompt), ours=lambda: meta_gradient(ours, *given)[0])
    exact = runs["higher"]()
    error = float((runs["ours"]() - exact).norm()/exact.norm())
    assert error < 1e-3, error
    layers = len(ours.model.base_model.layers)
    return dict(layers=layers, K=K, m=m, L=L, error=error, flop=operations(runs), seconds=race(runs, repeats))


# Predictions

def scorer(backbone, prompt, words=WORDS[2]):
    "What `predict_stream` asks: texts -> class probabilities."
    return lambda texts: backbone.probs(prompt, backbone.encode(list(texts), words=words))


@torch.no_grad()
def generated(backbone, prompt, texts, words=WORDS[2], size=32):
    "Class of each text, by `generate` of one token in batches of like length."
    batch, said = backbone.encode(texts, words=words), torch.empty(len(texts), dtype=torch.long)
    for rows in batch.lengths.argsort().split(size):
        part = batch[rows]
        inputs = torch.cat([prompt.expand(len(part), *prompt.shape), backbone.embedding[part.ids]], 1)
        mask = (torch.arange(inputs.shape[1]) < (part.lengths + len(prompt))[:, None]).long()
        out = backbone.model.generate(
            inputs_embeds=inputs, attention_mask=mask, max_new_tokens=1, do_sample=False, output_scores=True,
            decoder_input_ids=torch.tensor([backbone.lm.start]).expand(len(part), 2), return_dict_in_generate=True)
        said[rows] = out.scores[0][:, part.word_ids].argmax(-1)
    return said


def predicting(dtype, n, repeats):
    "Sentences to rows of a table in one precision; and the share of labels on which both agree."
    backbone, names = Backbone.load(dtype=dtype), ("negative", "positive")
    peer = peer_backbone(backbone)
    prompt, texts = backbone.init_prompt(20), load_dataset("rotten_tomatoes").texts[:n]
    runs = dict(
        generate=lambda: generated(peer, prompt, texts),
        ours=lambda: list(predict_stream(texts, scorer(backbone, prompt), names, WORDS[2])))
    theirs, ours = runs["generate"](), [row.split("\t")[0] for row in runs["ours"]()]
    same = np.mean([names[said] == label for said, label in zip(theirs, ours)])
    return dict(n=n, same=float(same), flop=operations(runs), seconds=race(runs, repeats))


def bench_predict(n=400, repeats=3):
    "dtype -> what predicting takes in it."
    return {dtype: predicting(dtype, n, repeats) for dtype in dtypes()}


LADDER = dict(embedded=(1_000, 10_000), tiny=(1_000, 10_000, 100_000)) # backbone -> lines


def file_peak(name, source):
    "Peak resident bytes of this process after predicting a file."
    backbone = Backbone.load(name, dtype="float32")
    keep_freed_memory()
    score = scorer(backbone, backbone.init_prompt(20))
    predict_file(source, Path(source).with_suffix(".tsv"), score, ("no", "yes"), WORDS[2], progress=False)
    return peak_of_this_process()


def bench_memory():
    "Peak memory of `predict_file` against the number of lines, a process each."
    found = {name: {} for name in LADDER}
    steps = [(name, n) for name, sizes in LADDER.items() for n in sizes]
    for name, n in tqdm(steps, desc="memory", disable=None):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "texts.txt")
            write_sentences(source, n)
            found[name][str(n)] = int(_python(f"import tasks; print(tasks.file_peak({name!r}, {str(source)!r}))"))
    return found


# Starting

def _python(code):
    "What a new Python prints last."
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=HERE, check=True, capture_output=True, text=True,
        env=os.environ | dict(PYTHONPATH=os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])))
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def children_clock():
    "As `clock`, for processes that this one has started and that have ended."
    if torch.get_num_threads() > 1: return clock()
    times = os.times()
    return times.children_user + times.children_system


def bench_cold(repeats=5):
    "`metapt predict` of one text, and importing torch and transformers' T5 alone; a process each."
    backbone = Backbone.load()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "prompt.safetensors")
        save_prompt(path, backbone.init_prompt(20), backbone, backbone.encode(["x"]))
        command = f"from metapt_nb.cli import main; main(['predict', '--prompt', {str(path)!r}, 'One text.'])"
        runs = dict(
            imports=lambda: _python("import torch; from transformers import T5ForConditionalGeneration"),
            ours=lambda: _python(command))
        return dict(seconds=race(runs, repeats, clock=children_clock))


# Embeddings

def bench_embed(n=1000, repeats=3):
    "Sentences to vectors; the farthest a row is from that of `SentenceTransformer.encode`."
    texts, model = load_dataset("rotten_tomatoes").texts[:n], load_encoder()
    runs = dict(
        encode=lambda: model.encode(texts, normalize_embeddings=True, show_progress_bar=False),
        ours=lambda: embed_texts(texts, cache=False))
    if "bfloat16" in dtypes(): runs["bfloat16"] = lambda: embed_texts(texts, cache=False, dtype="bfloat16")
    want = runs["encode"]()
    apart = {name: float((1 - (run()*want).sum(1)).max()) for name, run in runs.items()}
    assert max(apart.values()) < 1e-3, apart
    return dict(n=n, apart=apart, seconds=race(runs, repeats))


# Many labels

def label_words(n):
    "n label words of two or three pieces, of which eleven at a time begin alike, as those of a list of intents do."
    kinds = "card transfer account refund loan cash fee".split()
    what = "payment arrival limit pending declined charge support delay balance exchange problem".split()
    return [f"{kind} {other}" for kind in kinds for other in what][:n]


LABEL_SETS = dict(
    two_words=WORDS[2], two_phrases=("card payment", "loan delay"), many=label_words(77))


def bench_labels(name, n=64, repeats=3):
    "A training step of four examples, and scoring, against the labels they decide between."
    backbone, texts = Backbone.load(name, dtype="float32"), load_dataset("rotten_tomatoes").texts[:n]
    prompt = backbone.init_prompt(20).requires_grad_()
    training, scoring = {}, {}
    for key, words in LABEL_SETS.items():
        batch = backbone.encode(texts, np.arange(n) % len(words), words)
        training[key] = partial(lambda batch: backbone.loss(prompt, batch).mean().backward(), batch[:4])
        scoring[key] = partial(backbone.probs, prompt.detach(), batch)
    return dict(n=n, training=race(training, repeats), scoring=race(scoring, repeats))


# What is written

class Row(NamedTuple):
    "A line of the table of goals."
    what: str
    values: list # a number for each repeat
    goal: float  # at least, or at most where less is better
    section: str # of this file
    told: str
    most: bool = False

    def __str__(self):
        typical, times = median(self.values), "at most " if self.most else ""
        met = typical <= self.goal if self.most else typical >= self.goal
        command = f"`python bench/tasks.py {self.section}`"
        return line(self.what, spread(self.values), f"{times}{self.goal:g}", "yes" if met else "no", self.told, command)


def ratios(found, base, name):
    "How many times as fast as `base`, in each repeat."
    return np.divide(found["seconds"][base], found["seconds"][name])


def tune_rows(section, measured, name, goal, goal_of_five):
    rows = []
    for dtype, found in measured.items():
        told = f"losses of both within {found['loss_apart']:.0e}"
        one, five = ratios(found, "peft", "ours"), ratios(found, "peft", "together")*found["prompts"]
        rows += [
            Row(f"tuning one prompt, {name}, {dtype}, against PEFT", one, goal, section, told),
            Row(f"five together, per prompt, {name}, {dtype}, likewise", five, goal_of_five, section, told)]
    return rows


def meta_rows(section, found):
    more = found["flop"]["higher"]/found["flop"]["ours"]
    told = (
        f"{found['layers']} layers, K = {found['K']}, relative error {found['error']:.0e}; "
        f"higher needs {more:.2f} times as many floating-point operations")
    return [Row("exact meta-gradient, SmolLM2, against higher", ratios(found, "higher", "ours"), 1.3, section, told)]


def predict_rows(section, measured):
    rows = []
    for dtype, found in measured.items():
        more = found["flop"]["generate"]/found["flop"]["ours"]
        told = (
            f"{found['n']} sentences, {found['same']:.1%} of labels equal; "
            f"generating needs {more:.2f} times as many floating-point operations")
        what = f"`predict`, {dtype}, against generating one token"
        rows.append(Row(what, ratios(found, "generate", "ours"), 1.5, section, told))
    return rows


def embed_rows(section, found):
    rows = []
    for name, apart in found["apart"].items():
        if name == "encode": continue
        told = f"{found['n']} sentences; cosine distance up to {max(0., apart):.0e}"
        what = f"`embed_texts`, {'float32' if name == 'ours' else name}, against `SentenceTransformer.encode`"
        rows.append(Row(what, ratios(found, "encode", name), 1.5, section, told))
    return rows


def cold_rows(section, found):
    typical = {name: f"{median(values):.1f} s" for name, values in found["seconds"].items()}
    told = f"{typical['ours']} against {typical['imports']}"
    times = ratios(found, "ours", "imports")
    return [Row("`metapt predict`, cold, times torch and T5 alone", times, 1.3, section, told, most=True)]


ROWS = dict(
    tune=partial(tune_rows, name="T5", goal=2., goal_of_five=3.),
    tune_smollm2=partial(tune_rows, name="SmolLM2", goal=1.5, goal_of_five=1.5),
    meta=meta_rows, predict=predict_rows, embed=embed_rows, cold=cold_rows)


def goals_text(r):
    names = "times as fast", "goal", "met", "", "command"
    rows = [str(row) for section, make in ROWS.items() if section in r for row in make(section, r[section])]
    absent = [] if "bfloat16" in dtypes() else [
        "\nNot measured: the bfloat16 columns, which need a processor that computes in bfloat16; this one does not."]
    return ["## What was to be reached\n", *header(*names), *rows, *absent]


def memory_text(found):
    def cells(name): return [f"{found[name][n]/MiB:.0f}" if n in found[name] else "" for n in sizes]
    sizes = sorted({n for by_size in found.values() for n in by_size}, key=int)
    return [
        "\n## Memory of a long file\n\n`predict_file`, a process each, peak resident memory in MiB against lines.\n",
        *header(*(f"{int(n):,}" for n in sizes)), *(line(name, *cells(name)) for name in found)]


def profile_text(found):
    def cells(engine, kind):
        got = found[engine].get(kind, dict(ms=0., gflop=0., calls=0.))
        return f"{got['ms']:.0f}", f"{got['gflop']:.2f}", f"{got['calls']:.0f}"
    total = {engine: sum(got["gflop"] for got in kinds.values()) for engine, kinds in found.items()}
    return [
        "\n## Where a step of tuning goes\n\n"
        "One prompt, embedded T5, float32, batches of four: forward and backward pass.\n",
        *header("ours, ms", "GFLOP", "calls", "PEFT, ms", "GFLOP", "calls"),
        *(line(kind, *cells("ours", kind), *cells("peft", kind)) for kind in found["ours"]),
        f"\nOf floating-point operations, those of fused attention left out, PEFT needs "
        f"{total['peft']/total['ours']:.2f} times as many as this engine: "
        "where products take most of the time, no more can be won than that without computing something else."]


def labels_text(found):
    names = dict(two_words="two words", two_phrases="two phrases", many="77 phrases")
    def cells(kind): return [f"{1000*median(kind[key]):.0f}" for key in names]
    lines = []
    for backbone, got in found.items():
        lines += [
            line(f"{backbone}, a step of four examples", *cells(got["training"])),
            line(f"{backbone}, scoring {got['n']} examples", *cells(got["scoring"]))]
    return ["\n## Many labels\n\nMilliseconds.\n", *header(*names.values()), *lines]


TEXTS = dict(memory=memory_text, profile=profile_text, labels=labels_text)


def table(r):
    "TASKS.md of what was measured."
    versions = ", ".join(f"{name} {number}" for name, number in r["versions"].items())
    clocked = "one thread, processor seconds" if r["threads"] == 1 else f"{r['threads']} threads, wall seconds"
    opening = (
        f"# Tasks\n\n{commands(r['made'])}. {clocked}, {r['machine']}, {versions}. Contenders alternate; a ratio is "
        "the median of the ratios within a repeat, smallest and largest in brackets.\n")
    others = [text for section, make in TEXTS.items() if section in r for text in make(r[section])]
    return "\n".join([opening, *goals_text(r), *others]) + "\n"


SECTIONS = dict(
    tune=partial(bench_tune, "embedded"), tune_smollm2=partial(bench_tune, "smollm2", repeats=1),
    meta=bench_meta, predict=bench_predict, embed=bench_embed, cold=bench_cold, memory=bench_memory,
    profile=bench_profile, labels=lambda: {name: bench_labels(name) for name in ("embedded", "smollm2")})


def write(r):
    "tasks.json and the page."
    with atomic(HERE/"tasks.json") as tmp: tmp.write_text(json.dumps(r, indent=1))
    with atomic(HERE/"TASKS.md") as tmp: tmp.write_text(table(r))


def main():
    "All sections, or those named on the command line while the others stay as they are stored."
    named, stored = named_sections("tasks.py", SECTIONS), HERE/"tasks.json"
    torch.manual_seed(0)
    keep_freed_memory()
    r = json.loads(stored.read_text()) if named and stored.exists() else {}
    r |= dict(
        threads=torch.get_num_threads(), machine=platform.machine(),
        versions={name: version(name) for name in LIBRARIES})
    for name in named or SECTIONS:
        r[name] = SECTIONS[name]()
        r.setdefault("made", {})[name] = MADE
        write(r)
    print(table(r))


if __name__ == "__main__": main()
