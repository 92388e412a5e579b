"""Reference sums of decoding, resizing, cropping and normalising: Pillow, timm's eval transform, transformers.

Sums are SHA-256 of raw bytes: RGB images as [height, width, 3] uint8, tensors as [3, height, width] float32 (little
endian). Source images named by a formula are `golden_formula.photo(name, width, height)`."""

import hashlib
import io
import json
import struct
import warnings
import zlib

import numpy as np
from PIL import Image
from timm.data import create_transform

import golden_formula as formula

MEANS = {
    "I": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "N": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "O": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
FILTERS = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR, "lanczos": Image.LANCZOS, "box": Image.BOX,
           "hamming": Image.HAMMING}


def sha(data):
    return hashlib.sha256(data).hexdigest()


def rgb_sha(image):
    assert image.mode == "RGB"
    return sha(image.tobytes())


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=1)
    path.write_text(text + "\n")


def timm_bytes(image, input_size, interpolation, crop_pct, crop_mode, mean="I"):
    """timm's eval transform up to the tensor."""
    full = create_transform((3, *input_size), is_training=False, interpolation=interpolation, crop_pct=crop_pct,
                            crop_mode=crop_mode, mean=MEANS[mean][0], std=MEANS[mean][1])
    steps = [s for s in full.transforms if type(s).__name__ not in ("ToTensor", "MaybeToTensor", "Normalize")]
    assert len(full.transforms) == len(steps) + 2
    for step in steps:
        image = step(image)
    assert image.size == (input_size[1], input_size[0]), (image.size, input_size)
    return image


def timm_floats(image, mean):
    full = create_transform((3, 224, 224), is_training=False, interpolation="bicubic", crop_pct=0.9,
                            mean=MEANS[mean][0], std=MEANS[mean][1])
    return full(image).numpy()


SETTINGS = {
    "bicubic_center": ("bicubic", 0.9, "center"),
    "bilinear_center": ("bilinear", 0.9, "center"),
    "bicubic_squash": ("bicubic", 0.9, "squash"),
    "bilinear_squash": ("bilinear", 0.9, "squash"),
    "border": ("bicubic", 0.9, "border"),
}


def photographs(out, versions, folder):
    photos = {}
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpeg", ".jpg", ".png", ".webp"))
    for k, path in enumerate(files):
        raw = Image.open(path)
        image = raw.convert("RGB")
        entry = {"file": sha(path.read_bytes()), "width": image.width, "height": image.height, "mode": raw.mode,
                 "rgb": rgb_sha(image)}
        for key, (interpolation, crop_pct, mode) in SETTINGS.items():
            entry[key] = rgb_sha(timm_bytes(image, (224, 224), interpolation, crop_pct, mode))
        entry["squash224"] = rgb_sha(image.resize((224, 224), Image.BILINEAR))
        if k % 40 == 0:
            entry["float"] = {m: sha(timm_floats(image, m).tobytes()) for m in MEANS}
        photos[path.name] = entry
    settings = {k: {"input_size": [224, 224], "interpolation": i, "crop_pct": c, "crop_mode": m, "mean": "I"}
                for k, (i, c, m) in SETTINGS.items()}
    settings["squash224"] = {"resize": [224, 224], "interpolation": "bilinear"}
    settings["float"] = {**settings["bicubic_center"], "mean_std": {k: list(v) for k, v in MEANS.items()}}
    write_json(out / "preprocess.json", {**versions, "settings": settings, "photos": photos})
    print(f"  preprocess.json: {len(photos)} photographs")


# ---- small image files -----------------------------------------------------------------------------------------------

def picture(width, height, seed="picture"):
    """Something smooth with edges and a little noise."""
    small = Image.fromarray(formula.photo(seed, width // 8 + 2, height // 8 + 2))
    smooth = np.asarray(small.resize((width, height), Image.BICUBIC)).astype(int)
    noise = formula.photo(seed + " noise", width, height).astype(int) // 16
    mixed = smooth + noise - 8
    mixed[height // 3:height // 2, width // 4:width // 2] = (250, 20, 30)
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def pack(row, depth):
    """One row of samples [width, channels] as PNG bytes."""
    flat = row.reshape(-1).astype(int)
    if depth == 16:
        return flat.astype(">u2").tobytes()
    if depth == 8:
        return flat.astype(np.uint8).tobytes()
    bits = "".join(format(int(v), f"0{depth}b") for v in flat)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def paeth(a, b, c):
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    return a if pa <= pb and pa <= pc else b if pb <= pc else c


def filtered(rows, step):
    """Every filter type in turn."""
    out, above = b"", None
    for y, row in enumerate(rows):
        above = bytes(len(row)) if above is None else above
        kind = y % 5
        line = bytearray()
        for i, v in enumerate(row):
            a = row[i - step] if i >= step else 0
            c = above[i - step] if i >= step else 0
            guess = (0, a, above[i], (a + above[i]) // 2, paeth(a, above[i], c))[kind]
            line.append((v - guess) & 255)
        out += bytes([kind]) + bytes(line)
        above = row
    return out


def png(samples, depth, colour, interlace=False, chunks=()):
    """A PNG of integer samples [height, width, channels], written without Pillow."""
    height, width, channels = samples.shape
    step = max(1, depth * channels // 8)
    passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlace else [samples]
    data = b"".join(filtered([pack(r, depth) for r in p], step) for p in passes if p.size)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlace))
    packed = zlib.compress(data, 9)
    half = len(packed) // 2
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunk(*c) for c in chunks)
            + chunk(b"IDAT", packed[:half]) + chunk(b"IDAT", packed[half:]) + chunk(b"IEND", b""))


def jpeg(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **{"quality": 85, **options})
    return buffer.getvalue()


def segments(data):
    """(marker, start, end) of the segments before the scan."""
    at = 2
    while data[at + 1] != 0xDA:
        size = struct.unpack(">H", data[at + 2:at + 4])[0]
        yield data[at + 1], at, at + 2 + size
        at += 2 + size


def without(data, marker):
    for kind, start, end in reversed(list(segments(data))):
        if kind == marker:
            data = data[:start] + data[end:]
    return data


def adobe_transform(data, transform):
    for kind, start, end in segments(data):
        if kind == 0xEE:
            return data[:end - 1] + bytes([transform]) + data[end:]
    raise ValueError("no Adobe marker")


def to_440(data, width, height):
    """A 4:2:2 file read as 4:4:0: the same blocks, upright pairs of luma, another size with as many units."""
    for kind, start, end in segments(data):
        if kind in (0xC0, 0xC2):
            body = bytearray(data[start:end])
            body[5:9] = struct.pack(">HH", height, width)
            assert body[11] == 0x21
            body[11] = 0x12
            return data[:start] + bytes(body) + data[end:]
    raise ValueError("no frame header")


def webp(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **options)
    return buffer.getvalue()


def files():
    """name -> (bytes, description)"""
    made = {}
    base, odd, gray = picture(64, 48), picture(61, 37, "odd"), picture(45, 31, "gray").convert("L")
    exif = Image.Exif()
    exif[0x0112] = 6
    made["gray.jpg"] = jpeg(gray), "one component"
    for name, sampling in (("444", "4:4:4"), ("422", "4:2:2"), ("420", "4:2:0")):
        made[f"rgb_{name}.jpg"] = jpeg(odd, subsampling=sampling), f"{sampling}, odd size"
        made[f"even_{name}.jpg"] = jpeg(base, subsampling=sampling), f"{sampling}, whole blocks"
    made["rgb_440.jpg"] = to_440(jpeg(base, subsampling="4:2:2"), 29, 63), "4:4:0, odd size"
    made["tiny_420.jpg"] = jpeg(picture(3, 2, "tiny"), subsampling="4:2:0"), "two chroma samples wide"
    made["one_420.jpg"] = jpeg(picture(1, 1, "one"), subsampling="4:2:0"), "a single pixel"
    made["progressive.jpg"] = jpeg(odd, progressive=True), "progressive 4:2:0"
    made["progressive_444.jpg"] = jpeg(base, progressive=True, subsampling="4:4:4"), "progressive 4:4:4"
    made["gray_progressive.jpg"] = jpeg(gray, progressive=True), "progressive, one component"
    made["optimized.jpg"] = jpeg(odd, optimize=True, quality=30), "own Huffman tables, coarse quantisation"
    made["restart.jpg"] = jpeg(base, restart_marker_blocks=3), "restart markers"
    made["quality100.jpg"] = jpeg(odd, quality=100), "finest quantisation"
    cmyk = Image.merge("CMYK", [*picture(40, 30, "cmyk").split(), picture(40, 30, "black").convert("L")])
    made["cmyk.jpg"] = jpeg(cmyk), "CMYK, Adobe marker, transform 0"
    made["cmyk_no_adobe.jpg"] = without(jpeg(cmyk), 0xEE), "CMYK without an Adobe marker"
    made["ycck.jpg"] = adobe_transform(jpeg(cmyk), 2), "YCCK (Adobe transform 2)"
    made["adobe_rgb.jpg"] = jpeg(odd, keep_rgb=True), "RGB stored as RGB, component ids R, G, B"
    made["adobe_transform0.jpg"] = without(with_adobe(jpeg(base, subsampling="4:4:4"), 0), 0xE0), \
        "Adobe marker, transform 0, no JFIF: components are RGB"
    made["adobe_transform1.jpg"] = without(with_adobe(jpeg(base), 1), 0xE0), "Adobe marker, transform 1: YCbCr"
    made["no_markers.jpg"] = without(jpeg(odd), 0xE0), "neither JFIF nor Adobe, ids 1 2 3"
    made["icc.jpg"] = jpeg(odd, icc_profile=b"not a profile" * 20), "an ICC profile, which is ignored"
    made["exif_rotated.jpg"] = jpeg(base, exif=exif), "EXIF orientation 6, which is ignored"
    made["trailing.jpg"] = jpeg(odd) + b"more bytes after the end", "bytes after the end of the image"

    rgb = np.asarray(picture(37, 29, "png")).astype(int)
    alpha = np.asarray(picture(37, 29, "alpha").convert("L")).astype(int)[..., None]
    g = rgb[..., :1]
    fine = formula.mix("low byte", 37 * 29 * 4).astype(np.int64).reshape(29, 37, 4) & 255
    for depth in (1, 2, 4, 8):
        made[f"gray{depth}.png"] = png(g >> (8 - depth), depth, 0), f"{depth}-bit gray"
        made[f"gray{depth}_interlaced.png"] = png(g >> (8 - depth), depth, 0, True), f"{depth}-bit gray, Adam7"
    g16 = g * 256 + fine[..., :1]
    g16[:, ::5] = fine[:, ::5, :1]
    made["gray16.png"] = png(g16, 16, 0), "16-bit gray, some values below 256"
    made["gray16_interlaced.png"] = png(g16, 16, 0, True), "16-bit gray, Adam7"
    made["gray_alpha8.png"] = png(np.concatenate([g, alpha], 2), 8, 4), "gray and alpha"
    made["gray_alpha16.png"] = png(np.concatenate([g16, alpha * 256 + 7], 2), 16, 4), "16-bit gray and alpha"
    made["rgb8.png"] = png(rgb, 8, 2), "RGB, every filter type"
    made["rgb8_interlaced.png"] = png(rgb, 8, 2, True), "RGB, Adam7"
    made["rgb16.png"] = png(rgb * 256 + fine[..., :3], 16, 2), "16-bit RGB"
    made["rgb16_interlaced.png"] = png(rgb * 256 + fine[..., :3], 16, 2, True), "16-bit RGB, Adam7"
    rgba = np.concatenate([rgb, alpha], 2)
    made["rgba8.png"] = png(rgba, 8, 6), "RGBA: alpha is dropped"
    made["rgba8_interlaced.png"] = png(rgba, 8, 6, True), "RGBA, Adam7"
    made["rgba16.png"] = png(rgba * 256 + fine, 16, 6), "16-bit RGBA"
    made["gray_trns.png"] = png(g, 8, 0, chunks=[(b"tRNS", b"\x00\x80")]), "gray with a transparent value"
    made["rgb_trns.png"] = png(rgb, 8, 2, chunks=[(b"tRNS", bytes(6))]), "RGB with a transparent colour"
    for depth in (1, 2, 4, 8):
        colours = formula.mix("palette", 3 << depth).astype(np.uint32) >> np.uint32(24)
        plte = (b"PLTE", colours.astype(np.uint8).tobytes())
        made[f"palette{depth}.png"] = png(g >> (8 - depth), depth, 3, chunks=[plte]), f"{depth}-bit palette"
        trns = (b"tRNS", bytes(range(0, 1 << min(depth, 4))))
        made[f"palette{depth}_trns.png"] = png(g >> (8 - depth), depth, 3, depth == 4, chunks=[plte, trns]), \
            f"{depth}-bit palette with alpha"
    made["gamma.png"] = png(rgb, 8, 2, chunks=[(b"gAMA", struct.pack(">I", 20000))]), "a gamma chunk, which is ignored"
    made["exif.png"] = png(rgb, 8, 2, chunks=[(b"eXIf", exif.tobytes()[6:])]), "EXIF orientation 6, which is ignored"

    made["lossy.webp"] = webp(odd, quality=60), "lossy"
    made["lossless.webp"] = webp(odd.resize((30, 20)), lossless=True), "lossless"
    with_alpha = Image.merge("RGBA", [*odd.split(), picture(61, 37, "alpha").convert("L")])
    made["lossy_alpha.webp"] = webp(with_alpha, quality=60), "lossy with alpha, which is dropped"
    made["lossless_alpha.webp"] = webp(with_alpha.resize((30, 20)), lossless=True, exact=True), "lossless with alpha"
    made["exif.webp"] = webp(odd, quality=60, exif=exif), "EXIF orientation 6, which is ignored"
    made["animated.webp"] = webp(base, save_all=True, append_images=[picture(64, 48, "second")], duration=100,
                                 quality=50), "two frames: the first counts"
    for width, height in ((1, 1), (1, 500), (500, 1), (37, 2000), (9, 1000)):
        y, x = np.mgrid[0:height, 0:width]
        bands = np.stack([(x * 7) & 255, (x // 8 * 3 + y // 50 * 20) & 255, (y // 16 * 5) & 255], 2)
        made[f"size_{width}x{height}.png"] = png(bands, 8, 2), f"{width} wide, {height} high"
    return made


def with_adobe(data, transform):
    return data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform]) + data[2:]


def small_images(out, versions):
    folder = out / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    listed = {}
    for name, (data, what) in files().items():
        assert len(data) < 20480, (name, len(data))
        (folder / name).write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = Image.open(folder / name)
            image = raw.convert("RGB")
        listed[name] = {"what": what, "width": image.width, "height": image.height, "mode": raw.mode,
                        "rgb": rgb_sha(image)}
    write_json(out / "images.json", {**versions, "images": listed})
    print(f"  images.json: {len(listed)} files")


# ---- resizing and geometry -------------------------------------------------------------------------------------------

RESIZE = [  # source (width, height), targets
    ((37, 29), [(24, 24), (60, 47), (37, 12), (20, 29), (37, 29), (1, 1), (224, 224), (38, 30), (36, 28)]),
    ((1, 1), [(1, 1), (7, 5), (224, 224)]),
    ((1, 500), [(1, 224), (5, 30), (224, 224), (1, 499), (1, 700), (3, 500)]),
    ((500, 1), [(224, 1), (30, 5), (224, 224), (500, 4)]),
    ((37, 2000), [(37, 224), (16, 224), (224, 224), (40, 3000)]),
    ((9, 1000), [(9, 224), (4, 100), (224, 224), (12, 999), (9, 1200)]),
    ((10, 1000), [(9, 224), (224, 224)]),
    ((64, 48), [(32, 24), (128, 96), (63, 47), (65, 49)]),
    ((500, 375), [(331, 248), (248, 248), (224, 224), (256, 192)]),
]
FNV = {(24, 24, "bicubic"): 0xA2667795, (24, 24, "bilinear"): 0x02C46F3C, (24, 24, "lanczos"): 0xCF346746,
       (60, 47, "bicubic"): 0xB03C2FE1, (37, 12, "bicubic"): 0x3A214F7B}


def resizing(out, versions):
    listed = []
    for (width, height), targets in RESIZE:
        image = Image.fromarray(formula.photo("pil", width, height))
        if (width, height) == (37, 29):
            assert formula.fnv1a(image.tobytes()) == 0x228D9F55
        for w, h in targets:
            for name, kind in FILTERS.items():
                made = image.resize((w, h), kind)
                want = FNV.get((w, h, name)) if (width, height) == (37, 29) else None
                assert want is None or formula.fnv1a(made.tobytes()) == want, (w, h, name)
                listed.append({"width": width, "height": height, "to": [w, h], "filter": name, "rgb": rgb_sha(made)})
    write_json(out / "resize.json", {**versions, "source": "photo named pil", "cases": listed})
    print(f"  resize.json: {len(listed)} cases")


def geometry(out, versions):
    sources = [(37, 29), (29, 37), (33, 33), (64, 48), (231, 57), (10, 200), (1, 1), (20, 20), (16, 16), (18, 17)]
    listed = []

    def add(source, size, interpolation, crop_pct, mode, mean="I"):
        image = Image.fromarray(formula.photo("pil", *source))
        made = timm_bytes(image, size, interpolation, crop_pct, mode, mean)
        listed.append({"width": source[0], "height": source[1], "input_size": list(size),
                       "interpolation": interpolation, "crop_pct": crop_pct, "crop_mode": mode, "mean": mean,
                       "rgb": rgb_sha(made)})
        return made

    for source in sources:
        for mode in ("center", "squash", "border"):
            for size, pct in (((16, 16), 0.9), ((16, 16), 1.0), ((17, 17), 0.875), ((15, 15), 0.95), ((32, 32), 0.9)):
                add(source, size, "bicubic", pct, mode)
            add(source, (16, 24), "bicubic", 0.9, mode)
            add(source, (24, 16), "bilinear", 0.875, mode)
        add(source, (16, 16), "bicubic", None, None)
        add(source, (16, 16), "bilinear", 0.5, "center")
    for mean in MEANS:
        add((64, 48), (32, 32), "bicubic", 0.9, "border", mean)
    for interpolation in FILTERS:
        if interpolation != "bicubic":
            add((64, 48), (32, 32), interpolation, 0.95, "center")
    for mode in ("center", "squash", "border"):
        for source in ((500, 375), (333, 500)):
            for size, pct in (((224, 224), 0.9), ((224, 224), 0.875), ((384, 384), 1.0), ((256, 256), 0.95)):
                add(source, size, "bicubic", pct, mode)
    # the image is smaller than the crop only when nothing is resized up to it: plain centre crop
    from timm.data.transforms import CenterCropOrPad
    from torchvision.transforms import CenterCrop

    crops = []
    for source, size in (((10, 8), (16, 16)), ((37, 5), (16, 16)), ((5, 37), (16, 17)), ((21, 17), (16, 16)),
                         ((22, 19), (17, 16)), ((11, 7), (16, 16)), ((16, 21), (16, 16))):
        image = Image.fromarray(formula.photo("pil", *source))
        entry = {"width": source[0], "height": source[1], "crop": list(size), "rgb": rgb_sha(CenterCrop(size)(image))}
        entry["timm_crop_or_pad"] = rgb_sha(CenterCropOrPad(size)(image))
        crops.append(entry)
    pipeline = add((37, 29), (16, 16), "bicubic", 0.9, "center")
    assert formula.fnv1a(pipeline.tobytes()) == 0x003D5B88
    write_json(out / "geometry.json", {**versions, "source": "photo named pil", "means": MEANS, "cases": listed,
                                       "center_crops": crops, "transformers": processors()})
    print(f"  geometry.json: {len(listed)} cases")


def processors():
    """transformers' Pillow processors: the bytes (no rescale, no normalise) and the floats."""
    import transformers as hf
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    hf.logging.set_verbosity_error()
    square = lambda n: {"height": n, "width": n}
    kinds = [
        (ViTImageProcessorPil, {}), (ViTImageProcessorPil, {"size": square(32)}),
        (ViTImageProcessorPil, {"size": square(32), "resample": 3}),
        (DeiTImageProcessorPil, {}), (DeiTImageProcessorPil, {"size": square(37), "crop_size": square(32)}),
        (CLIPImageProcessorPil, {}),
        (CLIPImageProcessorPil, {"size": {"shortest_edge": 32}, "crop_size": square(32)}),
        (CLIPImageProcessorPil, {"size": {"shortest_edge": 35}, "crop_size": square(32)}),
        (CLIPImageProcessorPil, {"size": {"shortest_edge": 20}, "crop_size": square(33)}),
        (BitImageProcessorPil, {"size": {"shortest_edge": 36}, "crop_size": square(32),
                                "image_mean": MEANS["N"][0], "image_std": MEANS["N"][1]}),
        (SiglipImageProcessorPil, {}), (SiglipImageProcessorPil, {"size": square(32)}),
    ]
    listed = []
    for kind, settings in kinds:
        for source in ((37, 29), (29, 37), (64, 48), (500, 375)):
            image = Image.fromarray(formula.photo("pil", *source))
            floats = kind(**settings)(image, return_tensors="np")["pixel_values"][0]
            plain = kind(**settings, do_rescale=False, do_normalize=False)(image, return_tensors="np")
            plain = np.asarray(plain["pixel_values"][0])
            assert floats.dtype == np.float32 and (plain == plain.astype(np.uint8)).all()
            config = json.loads(kind(**settings).to_json_string())
            config["image_processor_type"] = config["image_processor_type"].removesuffix("Pil")
            listed.append({"width": source[0], "height": source[1], "config": config, "shape": list(floats.shape),
                           "rgb": sha(np.ascontiguousarray(plain.astype(np.uint8).transpose(1, 2, 0)).tobytes()),
                           "float": sha(np.ascontiguousarray(floats).tobytes())})
    return listed


def record(out, versions, photos):
    small_images(out, versions)
    resizing(out, versions)
    geometry(out, versions)
    if photos:
        photographs(out, versions, photos)
    else:
        print("  preprocess.json needs --photos FOLDER; left as it is")
