"""Hostile files under a weights file's name: none hangs, crashes or fills the memory.

    python -m tests.drills.hostile_weights [WORD …]

Writes every case into a temporary folder and calls `reelvec weights inspect` and `import` on it,
each in a process of its own, forked from one that has imported everything. Prints a table: exit
codes, seconds, memory beyond that of the program itself, the first words of the answer; with WORDs
only of the files whose names hold one. Exits 1 where a code is not 0 or 1, a call takes longer
than 60 seconds or more than `MEMORY_MB` beyond four times the file, an answer lacks its words, or
`inspect` says "fits" of what `import` refuses.
"""

import contextlib
import io
import json
import os
import pickle
import resource
import signal
import struct
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from reelvec.models.clip.architecture import Architecture
from reelvec.models.registry import build

SECONDS, MEMORY_MB = 60, 768
SIZES = Architecture(
    embed_dim=64,
    image_size=32,
    vision_layers=1,
    vision_width=64,
    patch_size=16,
    text_width=64,
    text_layers=1,
    vocab_size=96,
)
HEAD, STOP = b"\x80\x02", b"."
MAGIC = 0x1950A86A20F9469CFC6C


def good(**changed):
    """The state dict of a small CLIP, with some tensors changed (None: left out)."""
    torch.manual_seed(0)
    model = build("clip4clip", options={}, architecture=SIZES, max_words=32, max_frames=12)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for key, tensor in changed.items():
        state.pop(key, None) if tensor is None else state.update({key: tensor})
    return state


def archive(path, content, storages=None, *, packed=False, extra=None):
    """A torch archive of a pickle that is written by hand."""
    mode = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", compression=mode) as file:
        file.writestr("a/data.pkl", content)
        for key, data in (storages or {}).items():
            file.writestr(f"a/data/{key}", data)
        for name, data in (extra or {}).items():
            file.writestr(name, data)


def legacy(path, content, tail=b""):
    """A file of before PyTorch 1.6."""
    heads = [pickle.dumps(value, 2) for value in (MAGIC, 1001, {"little_endian": True})]
    path.write_bytes(b"".join([*heads, content, tail]))


def text(value):
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value):
    raw = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def many(*values):
    return b"(" + b"".join(values) + b"t"


def tensor(*, size, stride, key="0", elements=4, offset=0, kind="FloatStorage", view=b""):
    """A tensor over storage `key`."""
    place = many(
        text("storage"),
        f"ctorch\n{kind}\n".encode(),
        text(key),
        text("cpu"),
        number(elements),
        view,
    )
    shape = [many(*map(number, values)) for values in (size, stride)]
    call = b"ctorch._utils\n_rebuild_tensor_v2\n"
    rest = b"\x89" + b"ccollections\nOrderedDict\n)R"
    return call + many(place + b"Q", number(offset), *shape, rest) + b"R"


def state(*items):
    """A dict of names and pickled values."""
    return HEAD + b"}(" + b"".join(text(name) + value for name, value in items) + b"u" + STOP


def nested(depth, empty=b")", join=b"2\x86"):
    """Pairs of pairs of …, each one object: what hashes it takes 2 ** depth steps."""
    return empty + join * depth


def header(path, document, data=b"", *, length=None):
    """A safetensors file with a header as it is given."""
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)


def entry(shape=(1,), kind="F32", start=0, end=4):
    return {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}


def ours(path, **model):
    """A checkpoint of ours with whatever is said of its model."""
    told = {"family": "clip4clip", "options": {}, "max_words": 32, "max_frames": 12, **model}
    tensors = {f"weights/{key}": value for key, value in good().items()}
    save_file(tensors, path, metadata={"reelvec": json.dumps({"model": told})})


def adaclip(path, **config):
    told = {"num_frm": 12, "max_txt_len": 32, "use_policy": False, "use_rnn": False, **config}
    torch.save({"arch": "x", "epoch": [1], "state_dict": good(), "config": told}, path)


def folder(path, config, **files):
    """A folder of Hugging Face's layout."""
    path.mkdir()
    (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    for name, data in files.items():
        (path / name.replace("__", ".")).write_bytes(data)


def over(path, size):
    """A file of holes."""
    with path.open("r+b") as file:
        file.truncate(size)


def sparse(path):
    header(path, {"x": entry(shape=(1 << 38,), end=1 << 40)})
    over(path, path.stat().st_size + (1 << 40))


def shares_bytes(path):
    with zipfile.ZipFile(path, "w") as file:
        names = [(f"k{i}", tensor(size=(1 << 18,), stride=(1,), elements=1 << 18, key=str(i)))
                 for i in range(200)]  # fmt: skip
        file.writestr("a/data.pkl", state(*names))
        file.writestr("a/data/0", bytes(1 << 20))
        for i in range(1, 200):  # the directory names the same bytes again and again
            info = zipfile.ZipInfo(f"a/data/{i}")
            source = file.getinfo("a/data/0")
            info.header_offset, info.CRC = source.header_offset, source.CRC
            info.file_size = info.compress_size = 1 << 20
            file.filelist.append(info)
            file.NameToInfo[info.filename] = info


def patched(path, find, replace):
    data = path.read_bytes()
    path.write_bytes(data.replace(find, replace))


def half(path, save, value, share=0.6):
    save(value, path)
    over(path, int(path.stat().st_size * share))


def huge_directory(path):
    archive(path, HEAD + b"}" + STOP)
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\5\6")
    data[at + 12 : at + 16] = struct.pack("<I", 1 << 30)
    path.write_bytes(data)


def encrypted(path):
    torch.save(good(), path)
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\1\2")
    data[at + 8] |= 1
    path.write_bytes(data)


def layers(path, count):
    block = torch.zeros(1)
    names = {
        f"clip.visual.transformer.resblocks.{i}.attn.in_proj_weight": block for i in range(count)
    }
    save_file(good() | {name: value.clone() for name, value in names.items()}, path)


def module_cycle(depth, *, closed):
    """TorchScript modules that hold the next one twice, or each other."""
    made = b"c__torch__\nM\n)\x81"
    inner = made
    for level in range(depth):
        inner = (
            b"c__torch__\nM\n)\x81}(" + text("a") + inner + b"q" + bytes([level])
            + text("b") + b"h" + bytes([level]) + b"ub"
        )  # fmt: skip
    if closed:
        return HEAD + made + b"q\x00}" + text("a") + b"h\x00sb" + STOP
    return HEAD + inner + STOP


def dict_cycle(depth):
    """Dicts that hold the next one under two names."""
    inner = b"}"
    for level in range(depth):
        inner = (
            b"}(" + text("a") + inner + b"q" + bytes([level])
            + text("b") + b"h" + bytes([level]) + b"u"
        )  # fmt: skip
    return HEAD + inner + STOP


def one(**storage):
    return {"0": bytes(16), **storage}


def colliding(count):
    """Whole numbers that all hash to 0."""
    return b"}(" + b"".join(number(i * (2**61 - 1)) + b"N" for i in range(count)) + b"u"


COPIES = HEAD + b"](" + b"N" * 100_000 + b"eq\x00" + b"0ctorch\nSize\nh\x00\x85R" * 20_000 + b"}."
ENTRIES = b"".join(text(f"k{i}") + b"N" for i in range(50_000))
BUILDS = HEAD + b"}(" + ENTRIES + b"uq\x00c__torch__\nM\n)\x81" + b"h\x00b" * 20_000 + STOP
HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 353976522\n"
FAR = {"size": (1 << 40,), "stride": (0,)}
NOT_FINITE = {"clip.visual.proj": torch.full((64, 64), torch.nan)}


@dataclass(frozen=True)
class Case:
    """A hostile file; `says` is in the answer, `fits` says whether it is weights all the same."""

    name: str
    write: Callable
    says: str = ""
    fits: bool = False
    prefix: str = ""


def pickled(name, content, says="", storages=None, **words):
    return Case(name, lambda path: archive(path, content, storages, **words), says)


CASES = [
    # pickles in a zip
    pickled("key of nested tuples.pt", HEAD + b"}" + nested(64) + b"Ns" + STOP, "no tensors"),
    pickled("set of nested tuples.pt", HEAD + b"\x8f(" + nested(64) + b"\x90" + STOP, "no tensors"),
    pickled("nested frozensets.pt", HEAD + nested(64, b"(\x91", b"q\x00(h\x00h\x00\x91") + STOP),
    pickled("tuple a million deep as key.pt", HEAD + b"})" + b"\x85" * 1_000_000 + b"Ns."),
    pickled(
        "list a million deep.pt",
        HEAD + b"]q\x00" + b"]\x940a" * 3 + b"]" * 900_000 + b"a" * 900_000 + b".",
    ),
    pickled(
        "facts nested.pt",
        state(
            ("state_dict", b"}" + text("x") + tensor(size=(4,), stride=(1,)) + b"s"),
            ("config", nested(64)),
        ),
        "neither",
        one(),
    ),
    pickled("dicts that hold each other.pt", dict_cycle(200), "no tensors"),
    pickled("modules that hold each other.pt", module_cycle(200, closed=False), "without end"),
    pickled("module that holds itself.pt", module_cycle(0, closed=True), "without end"),
    pickled(
        "tensor of stride 0.pt",
        state(("clip.visual.proj", tensor(**FAR))),
        "again and again",
        one(),
    ),
    pickled(
        "tensors of one storage.pt",
        state(*((f"t{i}", tensor(size=(4096, 4096), stride=(0, 0))) for i in range(300))),
        "again and again",
        one(),
    ),
    pickled("tensor of negative size.pt", state(("x", tensor(size=(-1,), stride=(1,)))), "", one()),
    pickled(
        "tensor too large to count.pt",
        state(("x", tensor(size=(1 << 62, 1 << 62), stride=(0, 0)))),
        "a tensor of",
        one(),
    ),
    pickled(
        "tensor of 5,000 axes.pt",
        state(("x", tensor(size=(1,) * 5000, stride=(0,) * 5000))),
        "axes",
        one(),
    ),
    pickled(
        "tensor beyond its storage.pt",
        state(("x", tensor(size=(5,), stride=(1,)))),
        "out of bounds",
        one(),
    ),
    pickled(
        "storage of two types.pt",
        state(
            ("x", tensor(size=(2,), stride=(1,))),
            ("y", tensor(size=(2,), stride=(1,), kind="LongStorage")),
        ),
        "two types",
        one(),
    ),
    pickled(
        "storage that is not there.pt",
        state(("x", tensor(size=(4,), stride=(1,), key="9"))),
        "data/9",
    ),
    pickled(
        "storage of a minus number.pt",
        state(("x", tensor(size=(9,), stride=(1,), elements=-1))),
        "",
        one(),
    ),
    pickled(
        "storage of a million terabytes.pt",
        state(("x", tensor(size=(9,), stride=(1,), elements=1 << 60))),
        "",
        one(),
    ),
    pickled(
        "complex numbers.pt",
        state(("x", tensor(size=(1,), stride=(1,), kind="ComplexFloatStorage"))),
        "ComplexFloatStorage",
        one(),
    ),
    pickled(
        "os.system.pt", HEAD + b"cos\nsystem\n" + text("true") + b"\x85R.", "asks for os.system"
    ),
    pickled(
        "eval.pt", HEAD + b"cbuiltins\neval\n" + text("1") + b"\x85R.", "asks for builtins.eval"
    ),
    pickled(
        "posix through INST.pt",
        HEAD + b"(" + text("true") + b"iposix\nsystem\n.",
        "asks for posix.system",
    ),
    pickled(
        "call of a tensor.pt",
        HEAD + tensor(size=(4,), stride=(1,)) + b")R.",
        "calls what is no function",
        one(),
    ),
    pickled(
        "number of 8 million bits.pt",
        HEAD + b"\x8b" + struct.pack("<I", 1_000_000) + b"\x7f" * 1_000_000 + b".",
        "bits",
    ),
    pickled("number of 5,000 digits.pt", HEAD + b"I" + b"9" * 5000 + b"\n.", ""),
    pickled("keys that collide.pt", HEAD + colliding(100_000) + b".", "no tensors"),
    pickled("three million steps.pt", HEAD + b"N0" * 1_500_000 + b"}.", "steps"),
    pickled("copies of copies.pt", COPIES, "steps"),
    pickled("attributes again and again.pt", BUILDS, "steps"),
    pickled(
        "name of ten megabytes.pt",
        state(("x" * 10_000_000, tensor(size=(4,), stride=(1,)))),
        "cannot be printed",
        one(),
    ),
    pickled(
        "name with a bell.pt",
        state(("x\x1b]0;hi\x07", tensor(size=(4,), stride=(1,)))),
        "cannot be printed",
        one(),
    ),
    pickled(
        "name with half a letter.pt",
        state(("x\ud800", tensor(size=(4,), stride=(1,)))),
        "cannot be printed",
        one(),
    ),
    pickled("extension code.pt", HEAD + b"\x82\x01.", "EXT1"),
    pickled("persistent text.pt", HEAD + b"Px\n.", "PERSID"),
    pickled("persistent nothing.pt", HEAD + b"NQ.", ""),
    pickled("no end.pt", HEAD + b"}", ""),
    pickled("empty pickle.pt", b"", ""),
    pickled("nothing on the stack.pt", HEAD + b"RRR.", ""),
    pickled("memo that is not there.pt", HEAD + b"h\x07.", ""),
    # the zip around them
    pickled("two pickles.pt", HEAD + b"}.", "no torch archive", None, extra={"b/data.pkl": b"."}),
    Case("no pickle.pt", lambda p: zipfile.ZipFile(p, "w").close(), "no torch archive"),
    pickled(
        "compressed.pt",
        state(("x", tensor(size=(1 << 27,), stride=(1,), elements=1 << 27))),
        "compressed",
        {"0": bytes(1 << 26)},
        packed=True,
    ),
    Case("members over each other.pt", shares_bytes, "larger than the file"),
    Case("directory of a gigabyte.pt", huge_directory, "list of members"),
    Case("encrypted.pt", encrypted, ""),
    pickled(
        "big-endian.pt",
        state(("x", tensor(size=(4,), stride=(1,)))),
        "big-endian",
        one(),
        extra={"a/byteorder": b"big"},
    ),
    # files of before PyTorch 1.6
    Case(
        "legacy, key of nested tuples.bin",
        lambda p: legacy(p, HEAD + b"}" + nested(64) + b"Ns.", pickle.dumps([], 2)),
        "no tensors",
    ),
    Case(
        "legacy, a million terabytes.bin",
        lambda p: legacy(
            p, state(("x", tensor(size=(4,), stride=(1,), elements=1 << 60, view=b"N")))
        ),
        "larger than the file",
    ),
    Case(
        "legacy, stride 0.bin",
        lambda p: legacy(
            p,
            state(("x", tensor(**FAR, view=b"N"))),
            pickle.dumps(["0"], 2) + struct.pack("<q", 4) + bytes(16),
        ),
        "again and again",
    ),
    Case(
        "legacy, cut.bin",
        lambda p: half(
            p, lambda v, q: torch.save(v, q, _use_new_zipfile_serialization=False), good()
        ),
        "larger than the file",
    ),
    Case(
        "legacy, storages missing.bin",
        lambda p: legacy(
            p, state(("x", tensor(size=(4,), stride=(1,), view=b"N"))), pickle.dumps([], 2)
        ),
        "missing",
    ),
    Case(
        "pickle of nothing.bin", lambda p: p.write_bytes(pickle.dumps({"a": 1}) * 3), "not torch's"
    ),
    Case("tar.bin", lambda p: tarfile.open(p, "w").close(), "zeros"),
    # safetensors
    Case("header of exabytes.safetensors", lambda p: header(p, b"{}", length=1 << 62), "cut"),
    Case("header past the end.safetensors", lambda p: header(p, b"{}", length=1000), "cut"),
    Case(
        "header a million deep.safetensors",
        lambda p: header(p, b'{"a":' * 1_000_000),
        "safetensors",
    ),
    Case(
        "header of 40 MB.safetensors",
        lambda p: header(p, b'{"a":"' + b" " * (40 << 20) + b'"}'),
        "the most",
    ),
    Case(
        "header that is no text.safetensors", lambda p: header(p, b'{"\xff\xfe":1}'), "safetensors"
    ),
    Case(
        "tensors over each other.safetensors",
        lambda p: header(p, {"a": entry(), "b": entry()}, bytes(4)),
        "safetensors",
    ),
    Case(
        "tensor past the end.safetensors",
        lambda p: header(p, {"a": entry(shape=(1 << 30,), end=1 << 32)}, bytes(4)),
        "did not end",
    ),
    Case(
        "shape that overflows.safetensors",
        lambda p: header(p, {"a": entry(shape=(1 << 33, 1 << 33))}, bytes(4)),
        "safetensors",
    ),
    Case(
        "unknown type.safetensors",
        lambda p: header(p, {"a": entry(kind="F31")}, bytes(4)),
        "safetensors",
    ),
    Case(
        "complex.safetensors",
        lambda p: save_file({"a": torch.ones(2, dtype=torch.complex64)}, p),
        "complex64",
    ),
    Case(
        "200,000 tensors.safetensors",
        lambda p: header(p, {f"t{i}": entry(shape=(0,), end=0) for i in range(200_000)}),
        "100,000 are the most",
    ),
    Case("a terabyte of holes.safetensors", sparse, "on the disk"),
    Case("half.safetensors", lambda p: half(p, save_file, good()), "did not end"),
    # what a file says of itself
    Case(
        "ours, no JSON.safetensors",
        lambda p: save_file({"a": torch.ones(1)}, p, metadata={"reelvec": "{"}),
        "no JSON",
    ),
    Case(
        "ours, a million deep.safetensors",
        lambda p: save_file({"a": torch.ones(1)}, p, metadata={"reelvec": "[" * 1_000_000}),
        "no JSON",
    ),
    Case(
        "ours, a list.safetensors",
        lambda p: save_file({"a": torch.ones(1)}, p, metadata={"reelvec": "[1]"}),
        "no JSON object",
    ),
    Case(
        "ours, a billion layers.safetensors",
        lambda p: ours(p, options={"sim_header": "seqTransf", "cross_num_hidden_layers": 10**9}),
        "512",
    ),
    Case("ours, a trillion frames.safetensors", lambda p: ours(p, max_frames=10**12), "max_frames"),
    Case("ours, words in words.safetensors", lambda p: ours(p, max_words="many"), "max_words"),
    Case(
        "ours, options of nothing.safetensors", lambda p: ours(p, options=None), "without options"
    ),
    Case("ours, of no family.safetensors", lambda p: ours(p, family="gpt"), "gpt"),
    Case("adaclip, a billion frames.pth", lambda p: adaclip(p, num_frm=10**9), "num_frm"),
    Case("adaclip, frames in words.pth", lambda p: adaclip(p, num_frm="all"), "none of AdaCLIP's"),
    Case(
        "adaclip, a trillion hidden.pth",
        lambda p: adaclip(
            p, use_policy=True, policy_backbone="mobilenet_v3_large", hidden_dim=10**12
        ),
    ),
    # shapes that no model has
    Case(
        "NaN.pt",
        lambda p: torch.save(good(**NOT_FINITE), p),
        "NaN or infinite, in clip.visual.proj (4,096)",
    ),
    Case(
        "infinity in bfloat16.pt",
        lambda p: torch.save(
            good(**{"clip.ln_final.bias": torch.full((64,), -torch.inf).bfloat16()}), p
        ),
        "clip.ln_final.bias (64)",
    ),
    Case("NaN.safetensors", lambda p: save_file(good(**NOT_FINITE), p), "clip.visual.proj"),
    Case(
        "patch of one axis.pt",
        lambda p: torch.save(good(**{"clip.visual.conv1.weight": torch.ones(9)}), p),
        "shapes",
    ),
    Case(
        "patch of no pixels.pt",
        lambda p: torch.save(good(**{"clip.visual.conv1.weight": torch.ones(64, 3, 0, 0)}), p),
        "image_size",
    ),
    Case(
        "tensor without axes.pt",
        lambda p: torch.save(good(**{"clip.text_projection": torch.tensor(1.0)}), p),
        "shapes",
    ),
    Case("2,000 layers.safetensors", lambda p: layers(p, 2000), "512"),
    Case(
        "a width that lies.safetensors",
        lambda p: save_file(good(**{"clip.ln_final.weight": torch.ones(1_000_000)}), p),
        "text_width",
    ),
    # other things under that name
    Case("page.pt", lambda p: p.write_bytes(HTML), "HTML page"),
    Case("pointer.safetensors", lambda p: p.write_bytes(LFS), "Git LFS pointer"),
    Case("empty.pt", lambda p: p.write_bytes(b""), "empty"),
    Case("half.pt", lambda p: half(p, torch.save, good()), "end is missing"),
    Case("zeros.pt", lambda p: p.write_bytes(bytes(5000)), "zeros"),
    Case(
        "answer of a server.pt",
        lambda p: p.write_bytes(b'{"error": "Repository not found"}'),
        "a JSON text",
    ),
    Case("gzip.pt", lambda p: p.write_bytes(b"\x1f\x8b" + bytes(99)), "gzip"),
    Case("pipe.pt", os.mkfifo, "no weights file at"),
    Case("itself.pt", lambda p: p.symlink_to(p), "no weights file at"),
    # folders
    Case(
        "of another kind",
        lambda p: folder(p, {"model_type": "bert"}),
        "'bert' is not supported",
        prefix="hf:",
    ),
    Case(
        "configuration a million deep",
        lambda p: folder(p, "[" * 1_000_000),
        "no JSON",
        prefix="hf:",
    ),
    Case(
        "a billion layers",
        lambda p: folder(p, {"model_type": "clip", "text_config": {"num_hidden_layers": 10**9}}),
        "num_hidden_layers",
        prefix="hf:",
    ),
    Case(
        "tower of nothing",
        lambda p: folder(p, {"model_type": "clip", "vision_config": [1]}),
        "vision_config",
        prefix="hf:",
    ),
    Case(
        "pointer in a folder",
        lambda p: folder(
            p,
            {"model_type": "clip"},
            preprocessor_config__json=b'{"image_mean": [0,0,0], "image_std": [1,1,1]}',
            model__safetensors=LFS,
        ),
        "Git LFS pointer",
        prefix="hf:",
    ),
]


def write_all(folder):
    """Every case written; their weights names in order."""
    for case in CASES:
        case.write(folder / case.name)
    return [f"{case.prefix}{folder / case.name}" for case in CASES]


def answer(words):
    """Exit code and what was printed, of the command line in this process."""
    from reelvec.flows.cli import main

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    before, sys.argv = sys.argv, ["reelvec", "weights", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv = before
    said = [stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err)]
    return code, "".join(said)


def apart(words):
    """`answer` in a forked process: code (minus a signal), text, seconds, megabytes it grew by."""
    reader, writer = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if not child:
        os.close(reader)
        signal.alarm(SECONDS)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        code, said = answer(words)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
        with os.fdopen(writer, "w", errors="backslashreplace") as stream:
            json.dump([code, said[:4000], grown], stream)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    _, status = os.waitpid(child, 0)
    code, words, grown = json.loads(said) if said else [-os.WTERMSIG(status), "killed", 0]
    return code, words, time.monotonic() - started, grown


def judged(case, *, inspected, imported, size):
    """What is wrong with the answers; nothing where all is as it should be."""
    wrong = []
    for code, _, seconds, grown in (inspected, imported):
        wrong += [f"exit {code}"] * (code not in (0, 1))
        wrong += [f"{seconds:.0f} s"] * (seconds > SECONDS)
        wrong += [f"{grown} MB"] * (grown > MEMORY_MB + 4 * (size >> 20))
    fits = inspected[0] == 0 and '"families": []' not in inspected[1]
    if fits != (imported[0] == 0):
        wrong.append("inspect and import disagree")
    if case.fits != fits:
        wrong.append("fits" if fits else "refused")
    if case.says not in imported[1]:
        wrong.append(f"does not say ({case.says})")
    return wrong


def main():
    failed = 0
    torch.set_num_threads(1)  # threads do not survive a fork
    answer(["inspect", "/dev/null"])  # imports everything
    with tempfile.TemporaryDirectory(prefix="reelvec-weights-") as name:
        folder = Path(name)
        print(f"{'file':<40}{'inspect':>8}{'import':>8}{'seconds':>9}{'MB':>6}  answer")
        for case, source in zip(CASES, write_all(folder), strict=True):
            if not any(word in case.name for word in sys.argv[1:] or [""]):
                continue
            place = folder / case.name
            blocks = place.stat().st_blocks * 512 if place.is_file() else 0
            inspected = apart(["inspect", source, "--json"])
            imported = apart(["import", source, str(folder / "out")])
            (folder / "out").unlink(missing_ok=True)
            wrong = judged(case, inspected=inspected, imported=imported, size=blocks)
            failed += bool(wrong)
            seconds, grown = (max(inspected[i], imported[i]) for i in (2, 3))
            said = "; ".join(wrong) or imported[1].strip().replace(name, "")[:80]
            codes = f"{inspected[0]:>8}{imported[0]:>8}"
            print(
                f"{case.name:<40}{codes}{seconds:>9.1f}{grown:>6}  {'!! ' * bool(wrong)}{said}",
                flush=True,
            )
    print(f"{len(CASES)} files, {failed} not as they should be")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
