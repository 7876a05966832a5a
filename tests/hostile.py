"""Files that a stranger might have made: what is wrong with them, and what opens them."""
import gzip
import io
import json

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save, save_file

from metapt_nb import upstream
from metapt_nb.annotate import stream_sentences
from metapt_nb.backbone import Backbone
from metapt_nb.classify import AskedTable, Scorer
from metapt_nb.data import load_dataset
from metapt_nb.exchange import read_found
from metapt_nb.files import InputError
from metapt_nb.pretrain import PretrainConfig, PromptTrainer
from metapt_nb.predict import read_lines
from metapt_nb.prompts import load_prompt
from metapt_nb.readers import open_dataset, read_rows

MOST_SAID = 2100 # characters of a message
ANSI, RIGHT_TO_LEFT, SCRIPT = "\x1b[31mred\x1b[0m", "\u202etxet\u202c", "<script>alert(1)</script>"
ODD = ( # pieces of bytes that readers stumble over
    b"", b'"', b"'", b"\x00", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b"NaN", b"-Infinity", b"1e999",
    b"[[[[", b"{", b"}", b"\t", b"\r", b"\r\n", b"\n\n", b",,,", b"<!ENTITY a 'b'>", b"&a;", b"]]>", b"9"*5000,
    ANSI.encode(), RIGHT_TO_LEFT.encode(), SCRIPT.encode(), "ü".encode("latin-1"), "text,label\n".encode("utf-16"))


class Canary:
    "Unpickling it writes a file."
    def __init__(self, path): self.path = str(path)
    def __reduce__(self): return open, (self.path, "w")


def made_of(write):
    "The bytes that a function writes to a file."
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def scored(path):
    "A prompt file used as `metapt predict` uses it."
    return Scorer(path)(["good film", "bad film"])


def asked(path):
    "A table answered by a prompt file beside it."
    return [*AskedTable(path, Scorer(path.parent/"good.safetensors")).rows()]


def resumed(path):
    "A training that finds this checkpoint."
    backbone = Backbone.tiny()
    return PromptTrainer(backbone, backbone.init_prompt(2), PretrainConfig(), checkpoint=path)


def semeval(path): return upstream.read_semeval(path, upstream.POLARITIES)
def stars(path): return upstream.read_stars(path, ())
def reviews(path): return upstream.read_reviews(path, upstream.POLARITIES)
def sentihood(path): return upstream.read_sentihood(path, upstream.POLARITIES)
def sst(path): return upstream.read_lines(path, tuple("01"))
def lines(path): return [*read_lines(path)]
def sentences(path): return [*stream_sentences(path)]


TABLE_READERS = (load_dataset, open_dataset, asked)
ROWS = [dict(text=f"{word} film, number {i} of them", label=word) for i in range(4) for word in ("bad", "good")]
TABLE = pd.DataFrame(ROWS)
JSON_LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
XML = (
    "<?xml version='1.0' encoding='UTF-8'?>\n<Reviews><Review rid='1'><sentences><sentence id='1:0'>"
    "<text>Good food.</text><Opinions><Opinion polarity='positive'/></Opinions></sentence></sentences></Review>"
    "</Reviews>").encode()
SENTIHOOD = json.dumps([dict(id=1, text="Good.", opinions=[dict(sentiment="positive")])]).encode()
REVIEWS = json.dumps([dict(label="positive", sentence="Title:Good\nText:Very good")]).encode()
MATRIX = np.ones((2, 16), dtype=np.float32)


def prompt_bytes(**card):
    "A prompt file for `Backbone.tiny`, its card changed."
    backbone = Backbone.tiny()
    full = dict(
        backbone=backbone.name, backbone_hash=backbone.hash, L=2, d=16, template="{text} It was {mask}.",
        words=["bad", "good"]) | card
    return save({"prompt": torch.from_numpy(MATRIX)}, dict(metapt=json.dumps(full)))


FILES = { # what is opened -> name of the file, a good one, what opens it
    "csv": ("a.csv", TABLE.to_csv(index=False).encode(), (*TABLE_READERS, read_rows)),
    "tsv": ("a.tsv", TABLE.to_csv(index=False, sep="\t").encode(), (*TABLE_READERS, read_rows)),
    "jsonl": ("a.jsonl", JSON_LINES, (*TABLE_READERS, read_rows, sentences)),
    "json": ("a.json", json.dumps(ROWS).encode(), (read_rows, open_dataset)),
    "parquet": ("a.parquet", made_of(TABLE.to_parquet), (*TABLE_READERS, sentences)),
    "text": ("a.txt", "\n".join(row["text"] for row in ROWS).encode(), (lines, sentences)),
    "packed text": ("a.txt.gz", gzip.compress("\n".join(row["text"] for row in ROWS).encode(), mtime=0), (sentences,)),
    "packed jsonl": ("a.jsonl.gz", gzip.compress(JSON_LINES, mtime=0), (sentences,)),
    "xml": ("a.xml", XML, (semeval,)),
    "sst": ("a.train", b"0 bad film\n1 good film\n", (sst,)),
    "stars": ("a.csv", b'text,stars\n"good, really",5\nbad,1\n', (stars,)),
    "reviews": ("a.json", REVIEWS, (reviews,)),
    "sentihood": ("a.json", SENTIHOOD, (sentihood,)),
    "prompt": ("a.safetensors", prompt_bytes(), (load_prompt, scored, read_found)),
    "checkpoint": ("a.pt", made_of(lambda out: torch.save(dict(stamp="x", U=torch.ones(2)), out)), (resumed,)),
    "tensor": ("a.pt", made_of(lambda out: torch.save(torch.from_numpy(MATRIX), out)), (read_found,)),
    "array": ("a.npy", made_of(lambda out: np.save(out, MATRIX)), (read_found,)),
    "arrays": ("a.npz", made_of(lambda out: np.savez(out, prompt=MATRIX)), (read_found,)),
}


def write_backbone(folder):
    "A folder as `save_pretrained` writes it, of the miniature."
    tiny = Backbone.tiny()
    tiny.model.save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)


ADAPTER = dict(peft_type="PROMPT_TUNING", task_type="SEQ_2_SEQ_LM", num_virtual_tokens=2)


def write_adapter(folder):
    "A folder as PEFT writes it."
    folder.mkdir()
    config = dict(ADAPTER, base_model_name_or_path="x")
    (folder/"adapter_config.json").write_text(json.dumps(config))
    save_file({"prompt_embeddings": torch.from_numpy(MATRIX)}, folder/"adapter_model.safetensors")


def read_backbone(folder): return Backbone.load(str(folder))


def outcome(read, path):
    "None where a file is read; the message where it is refused as bad input is; whatever else happens is raised."
    try: read(path)
    except InputError as e:
        said = str(e)
        assert said.isprintable() and len(said) <= MOST_SAID, said[:3000]
        return said
