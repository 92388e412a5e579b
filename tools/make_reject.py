#!/usr/bin/env python3
"""Writes tests/data/reject/{safetensors,index} and tests/data/accept/{safetensors,index}.

Every file breaks one rule (or stretches one), and expected.txt beside the files says what keyhole
must answer. Standard library only; running it twice gives the same bytes.

    python3 tools/make_reject.py
"""
import json
import pathlib
import shutil
import struct

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"


def pack(header, data=b"", length=None):
    """A safetensors file from header text or bytes."""
    if isinstance(header, str):
        header = header.encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(dtype="F32", shape="[1]", offsets="[0,4]", extra=""):
    return '{"dtype":"%s","shape":%s,"data_offsets":%s%s}' % (dtype, shape, offsets, extra)


def one(text, data=b"\0" * 4):
    """A file whose single tensor 'a' has this entry text."""
    return pack('{"a":%s}' % text, data)


def fresh(kind, what):
    folder = DATA / kind / what
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def reject_safetensors():
    f, l, u = "KH_E_FORMAT", "KH_E_LIMIT", "not valid UTF-8"
    four = b"\0" * 4
    good = entry()
    cases = [
        # rule 1: the length
        ("size_0", b"", f, "has 0 bytes"),
        ("size_7", b"\2\0\0\0\0\0\0", f, "has 7 bytes"),
        ("length_past_end", pack("{}", length=3), f, "header would be 3 bytes, the file has 2"),
        ("length_all_ones", pack("{}", length=2**64 - 1), f, "is not a safetensors file"),
        ("length_top_bit", pack("{}", length=2**63), f, "is not a safetensors file"),
        ("length_0", pack("{}", length=0), f, "header of 0 bytes"),
        ("length_1", pack("{}", length=1), f, "header of 1 bytes"),
        ("lfs_pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", f,
         "Git LFS pointer"),
        ("pickle_zip", b"PK\3\4" + b"\0" * 60, f, "PyTorch pickle"),
        ("html_page", b"<!DOCTYPE html><html></html>", f, "web page"),
        # rule 2: the text
        ("utf8_overlong", pack(b'{"\xc0\xaf":1}'), f, u),
        ("utf8_overlong_3", pack(b'{"\xe0\x80\xaf":1}'), f, u),
        ("utf8_surrogate", pack(b'{"\xed\xa0\x80":1}'), f, u),
        ("utf8_too_high", pack(b'{"\xf4\x90\x80\x80":1}'), f, u),
        ("utf8_stray", pack(b'{"\x80":1}'), f, u),
        ("utf8_cut", pack(b'{"a":1}\xe2\x82'), f, u),
        ("nul_in_text", pack(b'{"a\0":1}'), f, "NUL byte"),
        ("nul_padding", pack(b"{}\0\0\0\0\0\0"), f, "NUL byte"),
        ("nul_escaped_in_name", pack('{"a\\u0000":%s}' % good, four), f, "not valid JSON"),
        ("nul_escaped_in_metadata", pack('{"__metadata__":{"k":"\\u0000"}}'), f, "not valid JSON"),
        ("lone_high_surrogate", pack('{"\\ud800":%s}' % good, four), f, "not valid JSON"),
        ("lone_low_surrogate", pack('{"\\udc00":%s}' % good, four), f, "not valid JSON"),
        ("byte_order_mark", pack(b"\xef\xbb\xbf{}"), f, "not valid JSON"),
        ("root_array", pack("[]"), f, "not an object"),
        ("root_string", pack('"a"'), f, "not valid JSON"),
        ("root_null", pack("null"), f, "not valid JSON"),
        ("two_objects", pack("{}{}"), f, "not valid JSON"),
        ("trailing_text", pack("{} x"), f, "not valid JSON"),
        ("trailing_vertical_tab", pack("{}\x0b"), f, "not valid JSON"),
        ("trailing_comma", pack('{"a":%s,}' % good, four), f, "not valid JSON"),
        ("comment", pack("{} // x"), f, "not valid JSON"),
        ("only_spaces", pack("        "), f, "not valid JSON"),
        ("unterminated", pack('{"a":%s' % good, four), f, "not valid JSON"),
        ("unterminated_string", pack('{"a'), f, "not valid JSON"),
        ("control_in_string", pack('{"a\n":%s}' % good, four), f, "not valid JSON"),
        # rule 3: keys, depth, names
        ("duplicate_tensor", pack('{"a":%s,"a":%s}' % (good, good), four), f, "duplicate"),
        ("duplicate_after_unescaping", pack('{"a":%s,"\\u0061":%s}' % (good, good), four), f,
         "duplicate"),
        ("duplicate_field", one(entry(extra=',"dtype":"F32"')), f, "duplicate"),
        ("duplicate_deep", one(entry(extra=',"x":{"y":[{"z":1,"z":2}]}')), f, "duplicate"),
        ("duplicate_metadata", pack('{"__metadata__":{},"__metadata__":{}}'), f, "duplicate"),
        ("duplicate_metadata_key", pack('{"__metadata__":{"a":"1","a":"2"}}'), f, "duplicate"),
        ("depth_9", one(entry(extra=',"x":' + "[" * 7 + "]" * 7)), l, "deeper than 8"),
        ("name_empty", pack('{"":%s}' % good, four), l, "tensor name of 0 bytes"),
        ("name_1025", pack('{"%s":%s}' % ("n" * 1025, good), four), l, "tensor name of 1025 bytes"),
        # rule 4: metadata
        ("metadata_number", pack('{"__metadata__":1}'), f, "__metadata__ is not an object"),
        ("metadata_array", pack('{"__metadata__":["a"]}'), f, "__metadata__ is not an object"),
        ("metadata_value_number", pack('{"__metadata__":{"k":1}}'), f,
         "__metadata__ 'k' is not a string"),
        ("metadata_value_null", pack('{"__metadata__":{"k":null}}'), f,
         "__metadata__ 'k' is not a string"),
        ("metadata_value_object", pack('{"__metadata__":{"k":{}}}'), f,
         "__metadata__ 'k' is not a string"),
        # rule 5: fields
        ("entry_null", one("null"), f, "tensor 'a': entry is not an object"),
        ("entry_array", one("[]"), f, "tensor 'a': entry is not an object"),
        ("entry_string", one('"F32"'), f, "tensor 'a': entry is not an object"),
        ("dtype_missing", one('{"shape":[1],"data_offsets":[0,4]}'), f, "dtype is missing"),
        ("dtype_number", one('{"dtype":32,"shape":[1],"data_offsets":[0,4]}'), f,
         "dtype is of another type"),
        ("dtype_unknown", one(entry("F33")), f, "tensor 'a': unknown dtype 'F33'"),
        ("dtype_lower_case", one(entry("f32")), f, "unknown dtype 'f32'"),
        ("dtype_escape", one(entry("\\u001b[2J")), f, "unknown dtype '\\x1b[2J'"),
        ("shape_missing", one('{"dtype":"F32","data_offsets":[0,4]}'), f, "shape is missing"),
        ("shape_null", one(entry(shape="null")), f, "shape is of another type"),
        ("shape_number", one(entry(shape="1")), f, "shape is of another type"),
        ("offsets_missing", one('{"dtype":"F32","shape":[1]}'), f, "data_offsets is missing"),
        ("offsets_object", one(entry(offsets='{"begin":0,"end":4}')), f, "data_offsets has"),
        ("offsets_one", one(entry(offsets="[4]")), f, "data_offsets has"),
        ("offsets_three", one(entry(offsets="[0,4,4]")), f, "data_offsets has"),
        # rule 6: numbers
        ("rank_9", one(entry(shape="[1,1,1,1,1,1,1,1,1]")), l, "shape has 9 dimensions"),
        ("end_real", one(entry(offsets="[0,4.0]")), f, "data_offsets are not plain integers"),
        ("end_exponent", one(entry(offsets="[0,4e0]")), f, "data_offsets are not plain integers"),
        ("begin_negative", one(entry(offsets="[-4,0]")), f, "data_offsets are not plain integers"),
        ("begin_minus_zero", one(entry(offsets="[-0,4]")), f, "number -0 has a sign"),
        ("end_leading_zero", one(entry(offsets="[0,04]")), f, "not valid JSON"),
        ("end_2_48", one(entry(offsets="[0,%d]" % 2**48)), f,
         "data_offsets are not plain integers"),
        ("end_2_64", one(entry(offsets="[0,%d]" % (2**64 + 4))), f, "not valid JSON"),
        ("begin_string", one(entry(offsets='["0",4]')), f, "data_offsets are not plain integers"),
    ]
    dims = {"real": "1.0", "exponent": "1e0", "negative": "-1", "string": '"1"', "true": "true",
            "null": "null", "array": "[1]", "2_48": str(2**48), "2_63": str(2**63 - 1)}
    for name, text in dims.items():
        cases.append(("dim_" + name, one(entry(shape="[%s]" % text)), f,
                      "tensor 'a': dimension 0 is not a plain integer"))
    cases += [
        ("dim_minus_zero", one(entry(shape="[-0]", offsets="[0,0]"), b""), f,
         "number -0 has a sign"),
        ("dim_leading_zero", one(entry(shape="[01]")), f, "not valid JSON"),
        ("dim_plus", one(entry(shape="[+1]")), f, "not valid JSON"),
        ("dim_hex", one(entry(shape="[0x1]")), f, "not valid JSON"),
        ("dim_nan", one(entry(shape="[NaN]")), f, "not valid JSON"),
        ("dim_2_64", one(entry(shape="[%d]" % (2**64 + 1))), f, "not valid JSON"),
        # rule 7: sizes
        ("shape_overflow", one(entry(shape="[%d,%d]" % (2**47, 2**47))), l,
         "tensor 'a': shape overflows"),
        ("shape_overflow_wraps_to_1", one(entry(shape="[%d,%d,%d]" % (2**32, 2**31, 2))), l,
         "tensor 'a': shape overflows"),
        ("shape_overflow_then_0", one(entry(shape="[%d,%d,0]" % (2**47, 2**47), offsets="[0,0]"),
                                      b""), l, "tensor 'a': shape overflows"),
        ("bits_overflow", one(entry(shape="[%d,%d]" % (2**40, 2**19))), l,
         "tensor 'a': size overflows"),
        ("bits_of_f4", one(entry("F4", "[1]", "[0,1]"), b"\0"), f, "4 bits of F4"),
        ("bits_of_f6", one(entry("F6_E2M3", "[3]", "[0,3]"), b"\0" * 3), f, "18 bits of F6_E2M3"),
        ("begin_after_end", one(entry(shape="[0]", offsets="[4,0]")), f, "end before"),
        ("size_short", one(entry(shape="[2]")), f,
         "data_offsets hold 4 bytes, shape and dtype need 8"),
        ("size_long", one(entry(offsets="[0,8]"), b"\0" * 8), f,
         "data_offsets hold 8 bytes, shape and dtype need 4"),
        ("size_of_dtype", one(entry("F16")), f, "hold 4 bytes, shape and dtype need 2"),
        # rule 8: places
        ("hole_at_start", one(entry(offsets="[4,8]"), b"\0" * 8), f,
         "tensor 'a': data begins at 4, expected 0 (hole"),
        ("hole_between", pack('{"a":%s,"b":%s}' % (good, entry(offsets="[8,12]")), b"\0" * 12), f,
         "tensor 'b': data begins at 8, expected 4 (hole"),
        ("overlap", pack('{"a":%s,"b":%s}' % (entry(shape="[2]", offsets="[0,8]"),
                                              entry(offsets="[4,8]")), b"\0" * 8), f,
         "tensor 'b': data begins at 4, expected 8 (tensors overlap"),
        ("same_range", pack('{"a":%s,"b":%s}' % (good, good), four), f, "tensors overlap"),
        ("empty_inside", pack('{"a":%s,"b":%s}' % (
            entry(shape="[2]", offsets="[0,8]"), entry(shape="[0]", offsets="[4,4]")), b"\0" * 8),
         f, "tensor 'b': data begins at 4, expected 8"),
        ("past_end", one(good, b"\0" * 3), f, "truncated: tensor 'a' ends at 4 of 3"),
        ("trailing_byte", one(good, b"\0" * 5), f, "1 bytes after the last tensor"),
        ("no_tensors_but_data", pack("{}", b"polyglot"), f, "8 bytes after the last tensor"),
        ("name_escape_in_message", pack('{"\\u001b]0;x\\u0007":1}'), f,
         "tensor '\\x1b]0;x\\x07': entry"),
    ]
    folder = fresh("reject", "safetensors")
    lines = []
    for name, data, status, part in cases:
        (folder / (name + ".safetensors")).write_bytes(data)
        lines.append("%s.safetensors\t%s\t%s\n" % (name, status, part))
    assert len(set(lines)) == len(cases)
    (folder / "expected.txt").write_text("".join(lines))


def shard(**tensors):
    """A valid file of small F32 tensors, one value each."""
    header, data = {}, b""
    for name, value in tensors.items():
        header[name] = {"dtype": "F32", "shape": [1],
                        "data_offsets": [len(data), len(data) + 4]}
        data += struct.pack("<f", value)
    return pack(json.dumps(header), data)


def index(weight_map, **more):
    return json.dumps({**more, "weight_map": weight_map})


def reject_index():
    folder = fresh("reject", "index")
    (folder / "one.safetensors").write_bytes(shard(a=1.0, b=2.0))
    (folder / "broken.safetensors").write_bytes(shard(a=1.0)[:-1])
    f = "KH_E_FORMAT"
    plain = "expected a plain name"
    cases = [
        ("missing_shard", index({"a": "two.safetensors"}), "KH_E_NOT_FOUND", "two.safetensors"),
        ("absent_tensor", index({"a": "one.safetensors", "c": "one.safetensors"}), f,
         "the index puts tensor 'c' here"),
        ("broken_shard", index({"a": "broken.safetensors"}), f, "truncated"),
        ("escape_parent", index({"a": "../index/one.safetensors"}), f, plain),
        ("escape_absolute", index({"a": "/etc/one.safetensors"}), f, plain),
        ("escape_folder", index({"a": "sub/one.safetensors"}), f, plain),
        ("escape_backslash", index({"a": "..\\one.safetensors"}), f, plain),
        ("leading_dot", index({"a": ".one.safetensors"}), f, plain),
        ("only_suffix", index({"a": ".safetensors"}), f, plain),
        ("other_suffix", index({"a": "one.bin"}), f, plain),
        ("newline_in_name", index({"a": "one\n.safetensors"}), f, plain),
        ("long_name", index({"a": "n" * 250 + ".safetensors"}), f, plain),
        ("empty_name", index({"a": ""}), f, plain),
        ("nul_in_name", '{"weight_map":{"a":"one.safetensors\\u0000"}}', f, "not valid JSON"),
        ("value_number", index({"a": 1}), f, "weight_map 'a' is not a string"),
        ("value_null", index({"a": None}), f, "weight_map 'a' is not a string"),
        ("empty_tensor", index({"": "one.safetensors"}), "KH_E_LIMIT", "tensor name of 0 bytes"),
        ("duplicate_key", '{"weight_map":{"a":"one.safetensors","a":"one.safetensors"}}', f,
         "duplicate"),
        ("duplicate_map", '{"weight_map":{},"weight_map":{}}', f, "duplicate"),
        ("map_missing", '{"metadata":{"total_size":8}}', f, "weight_map is missing"),
        ("map_array", '{"weight_map":[]}', f, "weight_map is of another type"),
        ("root_array", "[]", f, "not an object"),
        ("not_json", "weights", f, "not valid JSON"),
        ("empty", "", f, "not valid JSON"),
        ("too_many_files", index({"t%d" % i: "s%d.safetensors" % i for i in range(513)}),
         "KH_E_LIMIT", "513 weight files"),
    ]
    lines = []
    for name, text, status, part in cases:
        (folder / (name + ".json")).write_text(text)
        lines.append("%s.json\t%s\t%s\n" % (name, status, part))
    (folder / "expected.txt").write_text("".join(lines))


def values_line(file, tensor, dtype, shape, values):
    shown = ",".join(v if isinstance(v, str) else v.hex() for v in values)
    return "%s.safetensors\t%s\t%s\t%s\t%s\n" % (file, tensor, dtype,
                                                 "x".join(map(str, shape)) or "-", shown or "-")


def accept_safetensors():
    """expected.txt: file, tensor, dtype, shape, values as hexadecimal floats (after conversion)."""
    folder = fresh("accept", "safetensors")
    two = struct.pack("<2f", 1.5, -2.25)
    a, b = entry(), entry(offsets="[4,8]")
    pair = '{"a":%s,"b":%s}' % (a, b)
    files = {
        "empty_object": (pack("{}"), []),
        "empty_object_padded": (pack("{}      "), []),
        "metadata_null": (pack('{"__metadata__":null}'), []),
        "leading_whitespace": (pack(" \t\r\n" + pair, two), [1.5, -2.25]),
        "trailing_whitespace": (pack(pair + " \t\r\n", two), [1.5, -2.25]),
        "unaligned_header": (pack(pair + " " * ((3 - len(pair)) % 8), two), [1.5, -2.25]),
        "reversed_order": (pack('{"b":%s,"__metadata__":{"format":"pt"},"a":%s}' % (b, a), two),
                           [1.5, -2.25]),
        "extra_fields": (pack('{"a":%s,"b":%s}' % (
            entry(extra=',"note":{"x":[-1.5,-0.0,1e-07,{}]},"n":null'), b), two), [1.5, -2.25]),
        "unsorted_fields": (pack('{"a":{"data_offsets":[0,4],"shape":[1],"dtype":"F32"},"b":%s}' %
                                 b, two), [1.5, -2.25]),
    }
    lines = []
    for name, (data, values) in files.items():
        (folder / (name + ".safetensors")).write_bytes(data)
        if not values:
            lines.append("%s.safetensors\t-\n" % name)
        for tensor, value in zip("ab", values):
            lines.append(values_line(name, tensor, "F32", [1], [value]))

    def typed(name, dtype, shape, data, values):
        shape_text = json.dumps(shape, separators=(",", ":"))
        text = entry(dtype, shape_text, "[0,%d]" % len(data))
        (folder / (name + ".safetensors")).write_bytes(one(text, data))
        lines.append(values_line(name, "a", dtype, shape, values))

    typed("rank_0", "F32", [], struct.pack("<f", 7.0), [7.0])
    typed("rank_8", "F32", [1] * 7 + [2], two, [1.5, -2.25])
    typed("zero_size", "F32", [3, 0, 5], b"", [])
    typed("zero_size_large", "F32", [2**40, 0], b"", [])
    f16 = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0x3555, 0x7BFF, 0xFBFF, 0xC000]
    halves = struct.pack("<%dH" % len(f16), *f16)
    typed("f16", "F16", [len(f16)], halves, list(struct.unpack("<%de" % len(f16), halves)))
    typed("f16_infinite", "F16", [3], struct.pack("<3H", 0x7C00, 0xFC00, 0x7E00),
          ["inf", "-inf", "nan"])
    bf16 = [0x0000, 0x8000, 0x0001, 0x007F, 0x0080, 0x3F80, 0x3EAB, 0x7F7F, 0xFF7F]
    wide = struct.pack("<%dI" % len(bf16), *(v << 16 for v in bf16))
    typed("bf16", "BF16", [3, 3], struct.pack("<%dH" % len(bf16), *bf16),
          list(struct.unpack("<%df" % len(bf16), wide)))
    typed("bf16_infinite", "BF16", [3], struct.pack("<3H", 0x7F80, 0xFF80, 0x7FC0),
          ["inf", "-inf", "nan"])
    # ties of the rounding to 24 bits go to even; the smallest float subnormals; the largest float
    f64 = [0.0, -0.0, 0.1, 1 + 2**-24, 1 + 3 * 2**-24, 1 + 2**-24 + 2**-50, 2**-149, 2**-150,
           1.5 * 2**-149, 2.0**127 * (2 - 2**-23)]
    single = struct.unpack("<%df" % len(f64), struct.pack("<%df" % len(f64), *f64))
    typed("f64", "F64", [len(f64)], struct.pack("<%dd" % len(f64), *f64), list(single))
    typed("f64_too_large", "F64", [1], struct.pack("<d", 1e300), ["inf"])
    typed("f32_subnormal", "F32", [2], struct.pack("<2I", 1, 0x807FFFFF),
          list(struct.unpack("<2f", struct.pack("<2I", 1, 0x807FFFFF))))
    # known types that are never converted are fine until somebody reads them
    (folder / "other_types.safetensors").write_bytes(pack(
        '{"a":%s,"b":%s,"c":%s,"d":%s}' % (
            entry("I64", "[1]", "[0,8]"), entry("F4", "[2]", "[8,9]"),
            entry("F6_E2M3", "[4]", "[9,12]"), entry("BOOL", "[0]", "[12,12]")), b"\0" * 12))
    for tensor, dtype, dim in (("a", "I64", 1), ("b", "F4", 2), ("c", "F6_E2M3", 4),
                               ("d", "BOOL", 0)):
        lines.append("other_types.safetensors\t%s\t%s\t%d\tunsupported\n" % (tensor, dtype, dim))
    # three empty tensors at the same place, in front of, between and behind others
    (folder / "empty_between.safetensors").write_bytes(pack(
        '{"z":%s,"a":%s,"y":%s,"b":%s,"x":%s}' % (
            entry(shape="[0]", offsets="[0,0]"), a, entry(shape="[0,2]", offsets="[4,4]"), b,
            entry(shape="[0]", offsets="[8,8]")), two))
    lines += [values_line("empty_between", "a", "F32", [1], [1.5]),
              values_line("empty_between", "b", "F32", [1], [-2.25]),
              values_line("empty_between", "y", "F32", [0, 2], [])]
    name = "\u00e9\u4e2d\U0001f600"
    (folder / "unicode_name.safetensors").write_bytes(
        pack('{"%s":%s}' % (name, a), two[:4]))
    lines.append(values_line("unicode_name", name, "F32", [1], [1.5]))
    (folder / "unicode_name_escaped.safetensors").write_bytes(
        pack('{%s:%s}' % (json.dumps(name), a), two[:4]))
    lines.append(values_line("unicode_name_escaped", name, "F32", [1], [1.5]))
    (folder / "name_1024.safetensors").write_bytes(pack('{"%s":%s}' % ("n" * 1024, a), two[:4]))
    lines.append(values_line("name_1024", "n" * 1024, "F32", [1], [1.5]))
    (folder / "expected.txt").write_text("".join(lines))


def accept_index():
    """expected.txt: index, tensor, value."""
    folder = fresh("accept", "index")
    first, second = "m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"
    (folder / first).write_bytes(shard(a=1.0, shared=2.0, unmapped=3.0))
    (folder / second).write_bytes(shard(b=4.0, shared=5.0))
    cases = [
        ("plain", index({"a": first, "b": second}, metadata={"total_size": 8}), {"a": 1, "b": 4}),
        ("wrong_total_size", index({"a": first}, metadata={"total_size": 999}), {"a": 1}),
        ("total_size_text", index({"a": first}, metadata={"total_size": "?"}), {"a": 1}),
        ("no_metadata", index({"b": second}), {"b": 4}),
        ("shared_in_second", index({"shared": second, "a": first}), {"shared": 5, "a": 1}),
        ("shared_in_first", index({"shared": first, "b": second}), {"shared": 2, "b": 4}),
        ("empty_map", index({}), {}),
    ]
    lines = []
    for name, text, values in cases:
        (folder / (name + ".json")).write_text(text)
        lines.append("%s.json\t-\t%d\n" % (name, len(values)))
        lines += ["%s.json\t%s\t%d\n" % (name, t, v) for t, v in values.items()]
    (folder / "expected.txt").write_text("".join(lines))


if __name__ == "__main__":
    reject_safetensors()
    reject_index()
    accept_safetensors()
    accept_index()
