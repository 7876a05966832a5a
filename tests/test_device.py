"""Nothing inside a step waits for the device, checked on a machine that has none.

A step runs twice. On PyTorch's `meta` device, where tensors have shapes and no numbers, everything runs: a number that
is read, a boolean mask or `nonzero` fails. Under fake CUDA tensors the forward pass runs as it would on a GPU, pinned
memory and fused attention included; a CPU build has no backward pass for them. In both, `Apart` sees every operation,
those of the backward pass too, and fails where it is given tensors of the host and of the device.
"""
import copy
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
import torch
import transformers
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metapt_nb import backbone as rooms
from metapt_nb import lm, t5
from metapt_nb.backbone import KINDS, Backbone, concat, split_log_probs, task_losses
from metapt_nb.learners import META_LEARNERS, LearnConfig, MetaTask, learner_gradients
from metapt_nb.maml import ORDERS, MetaConfig, TaskSamples, _meta_step, task_gradients
from metapt_nb.pretrain import PretrainConfig, PromptTrainer, _batch_gradient, prompt_optimizer
from metapt_nb.ranks import Ranks
from metapt_nb.tune import DevScore, ModelTuning, PromptTuning, TuneConfig, _learn_alone, _learn_together

aten = torch.ops.aten
FAKE = FakeTensorMode(allow_non_fake_inputs=True)


class Waits(AssertionError): "An operation that would wait for the device."


def is_away(leaf): return isinstance(leaf, FakeTensor) or isinstance(leaf, torch.Tensor) and leaf.is_meta


def is_cuda(leaf): return isinstance(leaf, torch.device) and leaf.type == "cuda"


class Apart(TorchDispatchMode):
    "Host tensors are real, those of the device are not, and they meet in copies to the device only."
    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        away = any(map(is_away, leaves))
        if not away and not any(map(is_cuda, leaves)): return self.on_host(op, args, kwargs)
        # a number in a tensor without dimensions goes along with the launch
        at_home = [x for x in leaves if isinstance(x, torch.Tensor) and x.dim() and not is_away(x)]
        if at_home and away: raise Waits(f"{op}: a tensor on the host, of shape {tuple(at_home[0].shape)}")
        # from memory that is not pinned a copy waits; on `meta` there is nothing to wait for
        if at_home and is_cuda(kwargs.get("device")) and not kwargs.get("non_blocking"):
            raise Waits(f"{op}: a copy that waits, of shape {tuple(at_home[0].shape)}")
        return op(*args, **kwargs)

    def on_host(self, op, args, kwargs):
        # pinned memory comes from the driver; an ordinary copy stands in for it
        if op is aten._pin_memory.default: op, args, kwargs = aten.clone.default, args[:1], {}
        with unset_fake_temporarily(): return op(*args, **kwargs)


def indexed(x, key):
    "x[key] by operations that ask no driver which device is the current one."
    keys = list(key) if isinstance(key, tuple) else [key]
    dots = [i for i, part in enumerate(keys) if part is Ellipsis]
    for i in dots: keys[i:i + 1] = [slice(None)]*(x.dim() - sum(part is not None for part in keys) + 1)
    dim, picked = 0, {}
    for part in keys:
        if isinstance(part, int):
            x = x.select(dim, part)
            continue
        if part is None: x = x.unsqueeze(dim)
        elif isinstance(part, slice): x = aten.slice.Tensor(x, dim, part.start, part.stop, part.step or 1)
        else: picked[dim] = part
        dim += 1
    return aten.index.Tensor(x, [picked.get(d) for d in range(max(picked) + 1)]) if picked else x


BY_HAND = { # what PyTorch's binding does only where the driver is there
    torch.Tensor.__getitem__: indexed,
    torch.Tensor.__invert__: torch.bitwise_not,
    torch.Tensor.contiguous: lambda x: x.clone(memory_format=torch.contiguous_format)}


class WithoutDriver(TorchFunctionMode):
    "The same operations for fake CUDA tensors, past bindings that a CPU build lacks."
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in BY_HAND and args[0].is_cuda: return BY_HAND[function](*args)
        return function(*args, **(kwargs or {}))


@contextmanager
def watched(device):
    "Here a step runs."
    with ExitStack() as stack:
        if device == "cuda": stack.enter_context(FAKE)
        if device == "cuda": stack.enter_context(WithoutDriver())
        yield stack.enter_context(Apart())


def put(tensor, device):
    "The tensor on a device, before any step."
    if device == "meta": return tensor.to("meta")
    with FAKE: return tensor.to("cuda:0")


def put_model(model, device):
    "A copy of the model, its weights on a device; what is shared stays shared."
    model, known = copy.deepcopy(model), {}
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is None: continue
            if id(weight) not in known:
                known[id(weight)] = weight, nn.Parameter(put(weight.data, device), weight.requires_grad)
            module._parameters[name] = known[id(weight)][1]
        for name, values in module._buffers.items():
            if values is not None: module._buffers[name] = put(values, device)
    return model


def of_config(family, kind, **config):
    "A random model of a family, with the tokenizer of the miniature of its kind."
    tokenizer = Backbone.tiny(kind=kind).tokenizer
    config = getattr(transformers, f"{family}Config")(vocab_size=len(tokenizer), **config)
    reader = dict(causal="LMHeadModel", masked="ForMaskedLM")[kind]
    model = getattr(transformers, f"{family}{reader}")(config)
    return Backbone(model.requires_grad_(False).eval(), tokenizer, family, kind)


MODELS = {kind: lambda kind=kind: Backbone.tiny(0, kind=kind) for kind in KINDS} | dict(
    gpt2=lambda: of_config("GPT2", "causal", n_embd=16, n_layer=2, n_head=2),
    roberta=lambda: of_config(
        "Roberta", "masked", hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32))


def mixed(backbone):
    "Two words, phrases of one to three pieces, and options of their own; texts of different lengths."
    options = [("bad", "very bad", "film"), ("yes", "no")]
    return [
        backbone.encode(["bad food", "it was great", "no"], [0, 1, 0], ("bad", "good"), "{text} it was {mask}"),
        backbone.encode(["no", "the film"], [2, 0], ("good", "not good", "not very good"), "{text} is {mask}"),
        backbone.encode(["no", "the film"], [2, 0], template="{text} is {mask}", options=options)]


def task_batches(backbone, device):
    "name -> batches of tasks: all of two words, and a mixture."
    batches = [replace(batch, ids=put(batch.ids, device)) for batch in mixed(backbone)]
    return dict(words=[batches[0]]*3, mixture=batches)


def prepared(name, device):
    "A model on a device, its batches and a prompt. The embedding scale is read before."
    here = MODELS[name]()
    there = Backbone(put_model(here.model, device), here.tokenizer, here.name, here.kind)
    there.scale = here.scale
    return there, task_batches(here, device), put(here.init_prompt(3), device)


every_model = pytest.mark.parametrize("name", MODELS)
every_batch = pytest.mark.parametrize("batch", ("words", "mixture"))


@every_model
@every_batch
def test_meta_gradient(name, batch):
    "All orders, two inner steps."
    backbone, batches, prompt = prepared(name, "meta")
    support, query = batches[batch], batches[batch][::-1]
    for order in ORDERS:
        with watched("meta"): found = task_gradients(backbone, prompt, support, query, .1, order, inner_steps=2)
        assert found.gradients.is_meta and found.gradients.shape == (3, 3, backbone.d)


@every_model
@every_batch
@pytest.mark.parametrize("position", ("before", "after"))
def test_learners(name, batch, position):
    "Each meta-learner, two inner steps, the prompt on either side of the text."
    backbone, batches, prompt = prepared(name, "meta")
    placed = [replace(rows, position=position) for rows in batches[batch]]
    tasks = [MetaTask(*pair) for pair in zip(placed, placed[::-1])]
    for learner in META_LEARNERS:
        config = LearnConfig(learner=learner, inner_steps=2)
        with watched("meta"): found = learner_gradients(backbone, prompt, tasks, config)
        assert found.gradients.is_meta and found.gradients.shape == (3, 3, backbone.d)


@every_model
@every_batch
def test_tuning_step(name, batch):
    "By hand, and several prompts together."
    backbone, batches, prompt = prepared(name, "meta")
    tunings = [PromptTuning(backbone, prompt, one, one, TuneConfig()) for one in batches[batch]]
    for tuning in tunings: tuning.judge(DevScore(.5, -1.))
    with watched("meta"):
        rows = tunings[0].next_rows()
        loss = backbone.loss(tunings[0].U*backbone.scale, tunings[0].train[rows]).mean()
        loss.backward()
        tunings[0].learn(loss.detach())
        _learn_together(backbone, tunings[1:])
    assert [tuning.step for tuning in tunings] == [1, 1, 1]
    assert all(tuning.U.is_meta and tuning.losses[0].is_meta for tuning in tunings)


@every_model
def test_full_tuning_step(name):
    "All weights move."
    backbone, batches, _ = prepared(name, "meta")
    own = Backbone(backbone.model.requires_grad_(True), backbone.tokenizer, "own", backbone.kind)
    for batch in batches["mixture"]:
        tuning = ModelTuning(own, batch, batch, TuneConfig())
        tuning.waiting = [torch.arange(len(batch))]
        with watched("meta"): _learn_alone([tuning])
        assert tuning.step == 1 and tuning.losses[0].is_meta


@every_model
@every_batch
def test_pretraining_step(name, batch):
    "A step of PPT, one of MetaPT, and AdamW behind each."
    backbone, batches, prompt = prepared(name, "meta")
    whole, tiny = concat(batches[batch]), MODELS[name]()
    trainer = PromptTrainer(tiny, tiny.init_prompt(3), PretrainConfig(samples=100))
    trainer.U, trainer.opt = prompt_optimizer(prompt, backbone.scale, .01)
    episode = [TaskSamples(torch.tensor(s), torch.tensor(q)) for s, q in (([0, 4], [1, 5]), ([2], [6]))]

    def ppt(P, rng):
        G, loss = _batch_gradient(backbone, P, whole[rng.permutation(7)[:4]], 4, Ranks())
        return G, 4, dict(loss=loss)
    def meta(P, rng): return _meta_step(backbone, P, whole, episode, MetaConfig(), Ranks())

    with watched("meta"): assert [trainer.move(ppt), trainer.move(meta)] == [4, 6]
    assert trainer.U.is_meta and trainer.log[1]["agreement"].is_meta # read when the log is settled


@every_model
@every_batch
@pytest.mark.parametrize("device", ("meta", "cuda"))
def test_forward(name, batch, device):
    "Losses and predictions, on `meta` and as on a GPU."
    backbone, batches, prompt = prepared(name, device)
    prompts = put(torch.zeros(3, 3, backbone.d), device)
    with torch.no_grad(), watched(device):
        for twice in (False, True): losses = task_losses(backbone, prompts, batches[batch], twice)
        probs = backbone.probs(prompt, concat(batches[batch]))
        said = split_log_probs(backbone, prompts, batches[batch])
        classes = backbone.predict(prompt, batches[batch][0])
    assert losses.device.type == probs.device.type == classes.device.type == device
    assert [len(part) for part in said] == [len(one) for one in batches[batch]]


def test_encode_on_meta():
    "Ids go to the device, all else stays."
    backbone, _, _ = prepared("t5", "meta")
    batch = mixed(backbone)[1]
    assert batch.ids.is_meta
    assert not any(getattr(batch, name).is_meta for name in ("lengths", "holes", "labels", "owns"))


BITES = dict( # what waits for a device that computes
    item=lambda x: x.sum().item(),
    tolist=lambda x: x.tolist(),
    truth=lambda x: bool((x > 0).all()),
    mask=lambda x: x[x > 0],
    nonzero=lambda x: x.nonzero(),
    sum=lambda x: x + torch.ones(3),
    concatenation=lambda x: torch.cat([x, torch.ones(3)]),
    index=lambda x: x[torch.tensor([0, 2])],
    product=lambda x: torch.ones(2, 3) @ x)


@pytest.mark.parametrize("device", ("meta", "cuda"))
@pytest.mark.parametrize("waits", BITES.values(), ids=BITES)
def test_is_caught(device, waits):
    "A step that does it fails."
    x = put(torch.zeros(3), device)
    with watched(device), pytest.raises(Exception): waits(x)


@pytest.mark.parametrize("waits", (lambda: torch.ones(3).to("cuda:0"), lambda: torch.tensor([1., 2.], device="cuda:0")))
def test_copy_that_waits(waits):
    "Copies are sent ahead, by `send`."
    with watched("cuda"):
        assert t5.send(torch.ones(3), "cuda:0").is_cuda
        with pytest.raises(Waits, match="a copy that waits"): waits()


@pytest.mark.parametrize("device", ("meta", "cuda"))
@pytest.mark.parametrize("room, name", [(t5, "t5"), (lm, "causal"), (lm, "masked"), (rooms, "t5")])
def test_left_on_the_host(monkeypatch, device, room, name):
    "A tensor that a room forgets to send is found."
    monkeypatch.setattr(room, "send", lambda host, device: host)
    backbone, batches, _ = prepared(name, device)
    prompts = put(torch.zeros(3, 3, backbone.d), device)
    with torch.no_grad(), watched(device), pytest.raises(Waits): task_losses(backbone, prompts, batches["mixture"])
