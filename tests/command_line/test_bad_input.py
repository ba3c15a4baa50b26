"""Whatever a user gets wrong is one line on stderr and exit code 2, and nothing is damaged."""

from __future__ import annotations

import gzip
import json
import struct

import numpy as np
import pytest

from bp_arrays.command_line.main import main

IMAGES = np.random.default_rng(0).integers(0, 255, size=(40, 4, 4), dtype=np.uint8)
LABELS = (np.arange(40) % 3).astype(np.uint8)


def idx(array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return header + array.tobytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a good file of each kind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BP_ARRAYS_DEVICE", "cpu")
    rows = "".join(f"{i},{i % 7},{'yes' if i % 2 else 'no'}\n" for i in range(40))
    (tmp_path / "good.csv").write_text("a,b,answer\n" + rows)
    (tmp_path / "t-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES)))
    (tmp_path / "t-labels-idx1-ubyte").write_bytes(idx(LABELS))
    np.savez(tmp_path / "good.npz", x=IMAGES.reshape(40, 16), t=LABELS)
    np.save(tmp_path / "x.npy", IMAGES.reshape(40, 16))
    np.save(tmp_path / "t.npy", LABELS)
    return tmp_path


GOOD = {
    "csv": ["good.csv", "--target", "answer"],
    "idx": ["t-images-idx3-ubyte.gz"],
    "npz": ["good.npz"],
    "npy": ["x.npy,t.npy"],
    "digits": ["digits"],
    "notes": ["notes"],
}


@pytest.mark.parametrize("kind", GOOD)
def test_every_kind_of_data_trains_saves_reports_and_predicts(folder, kind, capsys):
    words = [*GOOD[kind], "--epochs", "2", "--device", "cpu"]
    results = ["--out", "m.safetensors", "--report", "r.json", "--plot", "p.png"]
    assert main(["train", *words, *results]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert "held-out" in last and "m.safetensors" in last
    report = json.loads((folder / "r.json").read_text())
    assert {"device", "backend", "dtype", "seed", "epochs", "train_loss", "seconds"} <= set(report)
    assert {"test_accuracy", "test_loss"} & set(report)
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")
    assert main(["predict", "m.safetensors", words[0], "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("both,at_least_one\n" if kind == "notes" else "prediction")
    assert "predicted" in captured.err


def test_the_digits_are_learned(folder, capsys):
    assert main(["train", "digits", "--device", "cpu", "--seed", "0", "--report", "r.json"]) == 0
    assert json.loads((folder / "r.json").read_text())["test_accuracy"] >= 0.97


def damaged(folder, name, content):
    (folder / name).write_bytes(content)


BAD = {
    "no such file": (None, "none.csv", "no file"),
    "unknown data": (None, "digit", "did you mean 'digits'"),
    "folder": (None, ".", "folder"),
    "text in a number column": (b"a,b\n1,2\n3,x\n", "f.csv --target a", "line 3, column 'b'"),
    "empty cell": (b"a,b\n1,2\n3,\n", "f.csv --target a", "line 3, column 'b'"),
    "nan": (b"a,b\n1,2\n3,nan\n", "f.csv --target a", "line 3, column 'b'"),
    "ragged": (b"a,b\n1,2\n3\n", "f.csv --target a", "line 3"),
    "empty csv": (b"", "f.csv --target a", "f.csv"),
    "only a header": (b"a,b\n", "f.csv --target a", "row"),
    "no target": (b"a,b\n1,2\n3,4\n", "f.csv", "--target"),
    "unknown target": (b"price,b\n1,2\n3,4\n", "f.csv --target prize", "price"),
    "not text": (b"\xff\xfe\x00\x01\x02", "f.csv --target a", "f.csv"),
    "not an npz": (b"garbage", "f.npz", "f.npz"),
    "truncated idx": (idx(IMAGES)[:100], "f-images-idx3,t-labels-idx1-ubyte", "truncated"),
    "too long idx": (idx(IMAGES) + b"1", "f-images-idx3,t-labels-idx1-ubyte", "expected"),
    "foreign idx": (b"PK\3\4 nonsense", "f-images-idx3,t-labels-idx1-ubyte", "begins with"),
    "absurd idx": (
        struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**31, 2**31),
        "f-images-idx3,t-labels-idx1-ubyte",
        "the header says",
    ),
    "damaged gzip": (
        gzip.compress(idx(IMAGES))[:-30],
        "f-images-idx3.gz,t-labels-idx1-ubyte",
        "gzip",
    ),
    "no labels": (idx(IMAGES), "f-images-idx3", "no labels"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_one_line_and_exit_code_2(folder, case, capsys):
    content, words, message = BAD[case]
    spec, *options = words.split()
    if content is not None:
        damaged(folder, spec.split(",")[0], content)
    assert main(["train", spec, *options, "--out", "m.safetensors"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("bp-arrays: error: ")
    assert message in error
    assert not (folder / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train digits --activation relo", "did you mean 'ReLU'"),
        ("train digits --optimizer adm", "did you mean 'Adam'"),
        ("train digits --loss cross_entrop", "did you mean 'CrossEntropy'"),
        ("train digits --device cpx", "did you mean 'cpu'"),
        ("train digits --device cpu --dtype float31", "float32"),
        ("train digits --layers 3,0", "1 or more"),
        ("train digits --epochs 0", "1 or more"),
        ("train digits --rate -1", "rate"),
        ("train digits --dropout 1.5", "dropout"),
        ("train digits --test 1.5", "test"),
        ("train digits --epoks 3", "did you mean --epochs"),
        ("train digits --out no/folder/m", "no folder"),
        ("train digits --report . ", "not an ordinary file"),
        ("train good.csv --target answer --out good.csv", "replace the input"),
        ("train good.csv --target answer --loss l2 --task regression", "number"),
        ("trian digits", "did you mean 'train'"),
        ("predict none.safetensors digits", "no model file"),
        ("predict good.csv digits", "safetensors"),
        ("", "expected a command"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(folder, words, message, capsys):
    before = (folder / "good.csv").read_bytes()
    assert main(words.split()) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("bp-arrays: error: ")
    assert message in error
    assert (folder / "good.csv").read_bytes() == before


def test_columns_are_found_by_name_when_predicting(folder, capsys):
    assert main(["train", "good.csv", "--target", "answer", "--out", "m.safetensors"]) == 0
    (folder / "swapped.csv").write_text(
        "b,extra,a\n" + "".join(f"{i % 7},9,{i}\n" for i in range(6))
    )
    (folder / "plain.csv").write_text("a,b\n" + "".join(f"{i},{i % 7}\n" for i in range(6)))
    capsys.readouterr()
    outputs = []
    for name in ("swapped.csv", "plain.csv"):
        assert main(["predict", "m.safetensors", name]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    (folder / "fewer.csv").write_text("a\n1\n")
    assert main(["predict", "m.safetensors", "fewer.csv"]) == 2
    assert "'b'" in capsys.readouterr().err


def test_an_interrupted_training_keeps_what_it_has(folder, monkeypatch, capsys):
    from bp_arrays.training import fit as module  # the module's name is taken by the function

    original = module.__globals__["evaluate_batches"]
    calls = iter(range(100))

    def interrupt(*args, **settings):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return original(*args, **settings)

    monkeypatch.setitem(module.__globals__, "evaluate_batches", interrupt)
    words = ["--validation", "0.1", "--epochs", "9", "--out", "m.safetensors"]
    assert main(["train", "digits", "--device", "cpu", *words]) == 130
    assert (folder / "m.safetensors").exists()
    assert "interrupted" in capsys.readouterr().out


def test_devices_lists_every_device(folder, capsys):
    assert main(["devices"]) == 0
    out = capsys.readouterr().out
    for name in ("cpu", "cuda:0", "torch:cpu", "jax:cpu", "strict:device1"):
        assert name in out


def test_a_failed_replacement_leaves_the_old_report(folder, monkeypatch):
    (folder / "r.json").write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    words = ["--epochs", "1", "--device", "cpu", "--report", "r.json"]
    assert main(["train", "digits", *words]) == 2
    assert (folder / "r.json").read_text() == "old"
    assert not [path for path in folder.iterdir() if path.suffix == ".part"]
