"""Ways to spoil a good problem file, and the message with which each is refused: a table, one file a line."""

# ruff: noqa: E501

import math
import re

import numpy as np

from refnode import json_file

REAL = re.escape(json_file.REAL_ALLOWED)
COUNT = "an integer from 1 to 2147483647"


def put(*place, value):
    """A change: value at a place of the document."""

    def change(document):
        node = document
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] = value

    return change


def drop(*place):
    """A change: a key left out."""

    def change(document):
        node = document
        for key in place[:-1]:
            node = node[key]
        del node[place[-1]]

    return change


def vector(*numbers):
    return json_file.encode(np.array(numbers))


TARGET = ("loss", "terminal", "target")
HOSTILE = {  # what: (change of a good document, the message behind the file's name)
    "other format": (put("format", value="refnode.golden"), r"/format: got 'refnode.golden'; must be 'refnode.problem'"),
    "no format": (drop("format"), r"/format: got None; must be 'refnode.problem'"),
    "later version": (put("version", value=2), r"/version: got 2; must be 1, the only version this refnode reads"),
    "version true": (put("version", value=True), r"/version: got True; must be 1, the only"),
    "version text": (put("version", value="1"), r"/version: got '1'; must be 1, the only"),
    "unknown key": (put("extra", value=1), r"/extra: got an unknown key; must be among format, version, model"),
    "unknown key below": (put("loss", "terminal", "wieght", value="0x1p+0"), r"/loss/terminal/wieght: got an unknown key; must be among kind, target, weight, reduction"),
    "missing key": (drop("loss", "scale"), r"/loss: got no key 'scale'; must be an object with the keys terminal, observations, running, scale"),
    "missing kind": (drop("model", "field", "kind"), r"/model/field: got no key 'kind'"),
    "unknown field": (put("model", "field", "kind", value="cnn"), r"/model/field/kind: got \"cnn\"; must be one of 'mlp', 'cosine'"),
    "unknown loss": (put("loss", "terminal", "kind", value="huber"), r"/loss/terminal/kind: got \"huber\"; must be one of 'squared_error'"),
    "unknown act": (put("model", "field", "act", value="gelu"), r"/model/field/act: got \"gelu\"; must be one of 'tanh'"),
    "map with time": (put("model", "h_y", "time", value="first"), r"/model/h_y/time: got \"first\"; must be 'none'"),
    "flag as number": (put("model", "field", "bias", value=1), r"/model/field/bias: got 1; must be true or false"),
    "model as list": (put("model", value=[]), r"/model: got a list of 0; must be an object: the structure"),
    "terminal as text": (put("loss", "terminal", value="none"), r"/loss/terminal: got \"none\"; must be a point loss"),
    "one width": (put("model", "field", "widths", value=[2]), r"/model/field/widths: got a list of 1; must be a list of 2 to 1000"),
    "zero width": (put("model", "field", "widths", 1, value=0), rf"/model/field/widths/1: got 0; must be {COUNT}"),
    "negative width": (put("model", "field", "widths", 1, value=-3), rf"/model/field/widths/1: got -3; must be {COUNT}"),
    "width beyond int32": (put("model", "field", "widths", 1, value=2**31), rf"/model/field/widths/1: got 2147483648; must be {COUNT}"),
    "huge widths": (put("model", "field", "widths", value=[2, 10**9, 2]), r"/params/theta.W0: got shape \(3, 4\); must be of shape \(3, 1000000000\)"),
    "huge order": (put("model", "order", value=10**9), r"/model/h_y/widths/0: got 2; must be 2000000000"),
    "order as fraction": (put("model", "order", value=1.0), r"/model/order: got the number 1.0; must be an integer, or"),
    "scale as number": (put("loss", "scale", value=0.5), rf"/loss/scale: got the number 0.5; must be an integer, or {REAL}"),
    "scale as integer": (put("loss", "scale", value=1), rf"/loss/scale: got 1; must be {REAL}"),
    "scale as decimal": (put("loss", "scale", value="0.5"), rf"/loss/scale: got \"0.5\"; must be {REAL}"),
    "NaN": (put("loss", "scale", value=math.nan), r"/loss/scale: got the number NaN; must be an integer, or"),
    "Infinity": (put(*TARGET, "data", 0, value=-math.inf), r"/loss/terminal/target/data/0: got the number -Infinity; must be"),
    "NaN in answers": (put("answers", value={"a": [math.nan]}), r"/answers/a/0: got the number NaN"),
    "nan as text": (put("x", "data", 3, value="nan"), rf"/x/data/3: got 'nan'; must be {REAL}"),
    "inf as text": (put("x", "data", 3, value="-inf"), rf"/x/data/3: got '-inf'; must be {REAL}"),
    "newline in a real": (put("loss", "scale", value="0x1p+0\n"), rf"/loss/scale: got '0x1p\+0\\n'; must be {REAL}"),
    "overflow": (put("x", "data", 0, value="0x1p99999"), r"/x/data/0: got '0x1p99999'; must be below 2\^1024"),
    "underflow": (put("x", "data", 0, value="0x1p-99999"), r"/x/data/0: got '0x1p-99999'; must be exactly a float64; this rounds to 0x0"),
    "rounded subnormal": (put("x", "data", 0, value="0x1.8p-1074"), r"/x/data/0: .* must be exactly a float64"),
    "too many bits": (put("x", "data", 0, value="0x1.00000000000001p+0"), rf"/x/data/0: got .*; must be {REAL}"),
    "number in data": (put("x", "data", 1, value=2), rf"/x/data/1: got 2; must be {REAL}"),
    "list in data": (put("x", "data", 1, value=["0x1p+0"]), rf"/x/data/1: got \['0x1p\+0'\]; must be {REAL}"),
    "data as text": (put("x", "data", value="0x1p+0"), r"/x/data: got .*; must be a list of reals"),
    "array as list": (put("x", value=[["0x1p+0"]]), r"/x: got a list of 1; must be an array \{shape, data\}"),
    "shape and data disagree": (put(*TARGET, "shape", value=[2, 2]), r"/loss/terminal/target: got shape \[2, 2\] with 6 numbers; must be 4 numbers"),
    "huge shape": (put("x", "shape", value=[2**31 - 1, 2**31 - 1]), r"/x: got shape \[2147483647, 2147483647\] with 4 numbers; must be 46116860\d* numbers"),
    "negative shape": (put("x", "shape", value=[-2, -2]), rf"/x/shape/0: got -2; must be {COUNT}"),
    "shape of zero": (put("x", value={"shape": [0, 2], "data": []}), rf"/x/shape/0: got 0; must be {COUNT}"),
    "x with one axis": (put("x", value=vector(1.0, 2.0)), r"/x/shape: got a list of 1; must be an array whose shape is two integers"),
    "target of other width": (put("loss", "terminal", "target", value=vector(1.0)), r"/loss/terminal/target: got shape \(1,\); must be of shape \(2, 3\) or \(3,\)"),
    "target with three axes": (put(*TARGET, "shape", value=[2, 3, 1]), r"/loss/terminal/target/shape: got a list of 3; must be a list of one or two integers"),
    "unknown leaf": (put("params", "theta.W9", value=vector(1.0)), r"/params: got unknown leaves \['theta.W9'\]; must be the leaves"),
    "missing leaf": (drop("params", "theta.b1"), r"/params: got no leaves \['theta.b1'\]; must be the leaves"),
    "leaf of other shape": (put("params", "theta.b1", value=vector(1.0)), r"/params/theta.b1: got shape \(1,\); must be of shape \(2,\)"),
    "field does not fit": (put("x", value=json_file.encode(np.ones((2, 3)))), r"/model/h_x: got of output width 3 for x of width 3; must be of output width 2"),
    "readout does not fit": (put("model", "h_y", "widths", value=[5, 3]), r"/model/h_y/widths/0: got 5; must be 2"),
    "one T too few": (put("span", "T", value=vector(1.0)), r"/span/T: got shape \(1,\); must be of shape \(2,\)"),
    "T as pair of pairs": (put("span", "T", value=json_file.encode(np.ones((1, 1)))), r"/span/T/shape: got a list of 2; must be an array whose shape is one integer"),
    "no T": (drop("span", "T"), r"/span: got no key 'T'"),
    "times out of order": (put("loss", "observations", "times", value=vector(0.75, 0.5)), r"/loss/observations/times: got times \[0.75, 0.5\]"),
    "times too many": (put("loss", "observations", "times", value=vector(0.5, 0.75, 0.8)), r"/loss/observations/terms: got 2 terms; must be one for each of 3 times"),
    "label too large": (put("loss", "observations", "terms", 1, "labels", value=[3, 0]), r"/loss/observations/terms/1/labels: got labels from 0 to 3; must be from 0 to 2"),
    "label negative": (put("loss", "observations", "terms", 1, "labels", value=[-1, 0]), r"/loss/observations/terms/1/labels/0: got -1; must be an integer from 0"),
    "label too few": (put("loss", "observations", "terms", 1, "labels", value=[0]), r"/loss/observations/terms/1/labels: got shape \(1,\); must be of shape \(2,\)"),
    "harmonic of other width": (put("loss", "running", 1, "beta", "amplitude", value=vector(1.0)), r"/loss/running/1/beta/amplitude: got shape \(1,\); must be of shape \(2,\)"),
    "running of no kind": (put("loss", "running", 0, "of", value="both"), r"/loss/running/0/of: got \"both\"; must be one of 'field', 'state'"),
    "no loss at all": (put("loss", value={"terminal": None, "observations": None, "running": [], "scale": "0x1p+0"}), r"/loss: got no term at all"),
    "key with a slash and a bell": (put("a/b~\a", value=1), r"/a~1b~0\\x07: got an unknown key"),
}  # fmt: skip

TEXTS = {  # what: (text from a good one, message)
    "empty": (lambda text: "", r"line 1, column 1: got no JSON here \(Expecting value\); must be one complete JSON document"),
    "truncated": (lambda text: text[: len(text) // 2], r"line 1, column \d+: got no JSON here"),
    "two documents": (lambda text: text + text, r"line 1, column \d+: got no JSON here \(Extra data\)"),
    "no UTF-8": (lambda text: b"\xff" + text.encode(), r"byte 0: got b'\\xff'; must be UTF-8"),
    "byte order mark": (lambda text: "\ufeff" + text, r"line 1, column 1: got no JSON here"),
    "a list": (lambda text: "[]", r"\(document\): got no object; must be an object with \"format\""),
    "duplicate key": (lambda text: '{"version": 1, ' + text[1:], r"\(document\): got the key 'version' twice; must be an object whose keys are distinct"),
    "duplicate leaf": (lambda text: text.replace('"theta.b0"', '"theta.W0"'), r"/params: got the key 'theta.W0' twice"),
    "huge integer": (lambda text: text.replace('"order": 1', '"order": 1' + 20_000 * "0"), r"/model/order: got the integer 1000.*; must be an integer of at most 15 digits"),
    "nested lists": (lambda text: "[" * 100_000, r"\(document\): got lists or objects nested too deeply"),
    "nested objects": (lambda text: '{"answers":' * 100_000, r"\(document\): got lists or objects nested too deeply"),
    "pickle": (lambda text: b"\x80\x04\x95", r"byte 0: got b'\\x80'; must be UTF-8"),
}  # fmt: skip
