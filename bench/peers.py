#!/usr/bin/env python3
"""keyhole beside PyTorch and ONNX Runtime: the same Vision Transformer, the same images, the same
threads, taking turns. Prints images/s (median of the rounds) and keyhole's ratio to each peer.

    python3 -m venv ../peers && ../peers/bin/pip install -r tools/requirements.txt
    make build && ../peers/bin/python bench/peers.py --library build/release/src/libkeyhole.so

Each engine lives in a process of its own, stopped (SIGSTOP) while another one is timed, so that
spinning threads of one do not slow down the next. Engines get the same fp32 weights (keyhole's random
model, read through its C interface) and their logits are compared before anything is timed.
"""

import argparse
import ctypes
import json
import os
import signal
import statistics
import subprocess
import sys
import time


class PassSpec(ctypes.Structure):
    """kh_pass_spec of include/keyhole/vit.h."""

    _fields_ = [
        ("max_batch", ctypes.c_size_t),
        ("taps", ctypes.c_void_p),
        ("tap_count", ctypes.c_size_t),
        ("edits", ctypes.c_void_p),
        ("edit_count", ctypes.c_size_t),
        ("want_logits", ctypes.c_bool),
        ("want_gradient", ctypes.c_bool),
        ("seed_sites", ctypes.c_void_p),
        ("seed_count", ctypes.c_size_t),
        ("seed_tokens", ctypes.c_void_p),
        ("seed_token_count", ctypes.c_size_t),
        ("start_block", ctypes.c_size_t),
        ("tokens", ctypes.c_size_t),
    ]


class CtxOptions(ctypes.Structure):
    """kh_ctx_options of include/keyhole/compute.h."""

    _fields_ = [
        ("device", ctypes.c_char_p),
        ("isa", ctypes.c_char_p),
        ("threads", ctypes.c_size_t),
        ("pin_caller", ctypes.c_bool),
    ]


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char * 1024)]


class Keyhole:
    """The few calls of libkeyhole that are needed here."""

    def __init__(self, library, arch, threads, batch):
        self.lib = ctypes.CDLL(library)
        self.lib.kh_ctx_peak_gflops.restype = ctypes.c_double
        self.lib.kh_pass_logits.restype = ctypes.POINTER(ctypes.c_float)
        self.lib.kh_model_tensor_name.restype = ctypes.c_char_p
        self.lib.kh_model_tensor_count.restype = ctypes.c_size_t
        self.err = Error()
        self.ctx = ctypes.c_void_p()
        options = CtxOptions(None, None, threads, True)
        self.check(self.lib.kh_ctx_create(ctypes.byref(options), ctypes.byref(self.ctx),
                                          ctypes.byref(self.err)))
        self.model = ctypes.c_void_p()
        self.check(self.lib.kh_model_open(self.ctx, f"random:{arch}".encode(), None,
                                          ctypes.byref(self.model), ctypes.byref(self.err)))
        spec = PassSpec(max_batch=batch, want_logits=True)
        self.plan = ctypes.c_void_p()
        self.check(self.lib.kh_pass_create(self.ctx, self.model, ctypes.byref(spec),
                                           ctypes.byref(self.plan), ctypes.byref(self.err)))
        self.batch = batch

    def check(self, status):
        if status:
            raise RuntimeError(self.err.text.decode())

    def weights(self):
        import numpy as np

        out = {}
        for i in range(self.lib.kh_model_tensor_count(self.model)):
            name = self.lib.kh_model_tensor_name(self.model, ctypes.c_size_t(i))
            rank = ctypes.c_size_t()
            shape = (ctypes.c_size_t * 8)()
            self.lib.kh_model_tensor_shape(self.model, name, ctypes.byref(rank), shape)
            array = np.empty(tuple(shape[: rank.value]), np.float32)
            self.check(self.lib.kh_model_tensor_read(
                self.model, name, array.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_size_t(array.size), ctypes.byref(self.err)))
            out[name.decode()] = array
        return out

    def run(self, images):
        self.check(self.lib.kh_pass_run(self.plan, images.ctypes.data_as(ctypes.c_void_p),
                                        ctypes.c_size_t(self.batch), ctypes.byref(self.err)))

    def logits(self, classes):
        import numpy as np

        return np.ctypeslib.as_array(self.lib.kh_pass_logits(self.plan), (self.batch, classes)).copy()


def torch_model(arguments):
    import timm
    import torch

    keyhole = Keyhole(arguments.library, arguments.arch, 1, 1)
    model = timm.create_model(arguments.arch, pretrained=False)
    state = {k: torch.from_numpy(v) for k, v in keyhole.weights().items()}
    model.load_state_dict(state, strict=True)
    return model.eval()


def make_engine(arguments, images):
    """A function that runs one forward pass and returns nothing, and one that gives the logits."""
    if arguments.engine == "keyhole":
        engine = Keyhole(arguments.library, arguments.arch, arguments.threads, arguments.batch)
        return lambda: engine.run(images), lambda: engine.logits(1000)
    import torch

    torch.set_num_threads(arguments.threads)
    tensor = torch.from_numpy(images)
    model = torch_model(arguments)
    if arguments.engine == "pytorch":
        def run():
            with torch.inference_mode():
                run.out = model(tensor)
        return run, lambda: run.out.numpy()
    import onnxruntime

    path = f"/tmp/peers-{os.getpid()}.onnx"
    torch.onnx.export(model, (tensor,), path, input_names=["x"], output_names=["y"], dynamo=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    # OpenMP (through torch) has bound this thread to one core, and new threads would inherit that:
    # each of ONNX Runtime's threads gets a core of its own, as the other engines' threads do
    cores = sorted(os.sched_getaffinity(os.getppid()))[: arguments.threads]
    os.sched_setaffinity(0, cores[:1])
    if arguments.threads > 1:
        options.add_session_config_entry("session.intra_op_thread_affinities",
                                         ";".join(str(c + 1) for c in cores[1:]))
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for leftover in (path, path + ".data"):
        if os.path.exists(leftover):
            os.remove(leftover)
    del model

    def run():
        run.out = session.run(["y"], {"x": images})[0]
    return run, lambda: run.out


def worker(arguments):
    import numpy as np

    rng = np.random.default_rng(7)
    size = 224
    images = rng.standard_normal((arguments.batch, 3, size, size), dtype=np.float32)
    run, logits = make_engine(arguments, images)
    run()
    run()
    np.save(arguments.logits, logits())
    print("ready", flush=True)
    for line in sys.stdin:
        seconds = float(line)
        start = time.perf_counter()
        count = 0
        while True:
            run()
            count += 1
            elapsed = time.perf_counter() - start
            if elapsed >= seconds:
                break
        print(count * arguments.batch / elapsed, flush=True)


class Engine:
    def __init__(self, name, arguments, batch):
        self.name = name
        self.logits = f"/tmp/peers-{os.getpid()}-{name}.npy"
        command = [sys.executable, __file__, "--engine", name, "--library", arguments.library,
                   "--arch", arguments.arch, "--threads", str(arguments.threads),
                   "--batch", str(batch), "--logits", self.logits]
        environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads),
                           OMP_PROC_BIND="true", OMP_PLACES="cores", KEYHOLE_PEERS="1")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, env=environment)
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit(f"{name} did not start; run its worker by hand: {' '.join(command)}")
            if line.strip() == "ready":
                break
        self.process.send_signal(signal.SIGSTOP)
        self.rates = []

    def time(self, seconds):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        self.rates.append(float(self.process.stdout.readline()))
        self.process.send_signal(signal.SIGSTOP)

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()
        os.remove(self.logits)


def compare(engines):
    import numpy as np

    base = np.load(engines[0].logits)
    for other in engines[1:]:
        worst = float(np.abs(np.load(other.logits) - base).max())
        if not worst <= 1e-3:
            raise SystemExit(f"{other.name} and {engines[0].name} disagree by {worst}")


def bench(arguments, batch):
    engines = [Engine(name, arguments, batch) for name in arguments.engines.split(",")]
    try:
        compare(engines)
        for _ in range(arguments.rounds):
            for engine in engines:
                engine.time(arguments.seconds)
        rates = {e.name: statistics.median(e.rates) for e in engines}
    finally:
        for engine in engines:
            engine.close()
    row = {"arch": arguments.arch, "batch": batch, "threads": arguments.threads,
           "images_per_s": rates,
           "ratio": {n: rates["keyhole"] / r for n, r in rates.items() if n != "keyhole"}}
    print(json.dumps(row) if arguments.json else
          f"{arguments.arch} b{batch}: " + ", ".join(f"{n} {r:.2f}/s" for n, r in rates.items()) +
          "; keyhole is " + ", ".join(f"{v:.2f}x {n}" for n, v in row["ratio"].items()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="build/release/src/libkeyhole.so")
    parser.add_argument("--arch", default="vit_base_patch16_224")
    parser.add_argument("--batches", default="1,4,8,16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--engines", default="keyhole,pytorch,onnxruntime")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--logits", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.library = os.path.abspath(arguments.library)
    if arguments.engine:
        worker(arguments)
    else:
        for batch in arguments.batches.split(","):
            bench(arguments, int(batch))


if __name__ == "__main__":
    main()
