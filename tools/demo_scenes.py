"""Scenes of the demo world by ctypes from libkeyhole, and a stream of training batches made of them."""

import ctypes
import multiprocessing
import os
import queue
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np

SIZE = 96
CATEGORIES = 5


class Error(ctypes.Structure):  # kh_error
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char * 1024)]


class World:
    """Names of the classes, and renderers."""

    def __init__(self, library):
        self.lib = lib = ctypes.CDLL(str(library))
        lib.kh_diorama_class_count.restype = ctypes.c_size_t
        for name in ("kh_diorama_class_name", "kh_diorama_class_wnid"):
            getattr(lib, name).restype = ctypes.c_char_p
            getattr(lib, name).argtypes = [ctypes.c_size_t]
        pointer = ctypes.c_void_p
        lib.kh_diorama_new.argtypes = [ctypes.c_uint32, ctypes.c_uint64, ctypes.c_uint32, pointer, pointer]
        lib.kh_diorama_render.argtypes = [pointer, ctypes.c_uint64, pointer, pointer, pointer, pointer]
        lib.kh_diorama_free.argtypes = [pointer]
        lib.kh_diorama_class_label.restype = ctypes.c_size_t
        lib.kh_diorama_class_label.argtypes = [ctypes.c_size_t]
        self.classes = lib.kh_diorama_class_count()
        self.labels = [lib.kh_diorama_class_label(c) for c in range(self.classes)]
        self.names = [lib.kh_diorama_class_name(c).decode() for c in range(self.classes)]
        self.wnids = [lib.kh_diorama_class_wnid(c).decode() for c in range(self.classes)]


class Renderer:
    """Renders scenes of one seed on a few threads; ctypes gives up the interpreter lock meanwhile."""

    def __init__(self, world, seed, threads, flags=0):
        self.world, self.threads = world, threads
        self.handles = []
        for _ in range(threads):
            handle, error = ctypes.c_void_p(), Error()
            if world.lib.kh_diorama_new(SIZE, seed, flags, ctypes.byref(handle), ctypes.byref(error)):
                raise RuntimeError(error.text.decode())
            self.handles.append(handle)
        self.pool = ThreadPoolExecutor(threads)

    def _render(self, handle, first, out):
        error, rgb = Error(), np.empty((SIZE, SIZE, 3), np.uint8)
        maps = np.empty((CATEGORIES, SIZE, SIZE), np.uint16) if out.shape[3] == 4 else None
        for k in range(len(out)):
            if self.world.lib.kh_diorama_render(handle, first + k, rgb.ctypes.data, None if maps is None else
                                                maps.ctypes.data, None, ctypes.byref(error)):
                raise RuntimeError(error.text.decode())
            out[k, :, :, :3] = rgb
            if maps is not None:
                out[k, :, :, 3] = maps[0] == self.world.labels[(first + k) % self.world.classes]

    def fill(self, first, out):
        """Scenes first, first + 1, ... into out [count, SIZE, SIZE, 3 or 4] of bytes; the fourth is 1 on the object."""
        cuts = np.linspace(0, len(out), self.threads + 1).astype(int)
        jobs = [self.pool.submit(self._render, handle, first + int(a), out[a:b])
                for handle, a, b in zip(self.handles, cuts, cuts[1:])]
        for job in jobs:
            job.result()
        return out

    def scenes(self, first, count):
        return self.fill(first, np.empty((count, SIZE, SIZE, 3), np.uint8))

    def close(self):
        self.pool.shutdown()
        for handle in self.handles:
            self.world.lib.kh_diorama_free(handle)
        self.handles = []


def vary(images, rng):
    """Scenes shown again: mirrored or not, shifted by up to 5 pixels, channels up to 10 % brighter or darker."""
    out = np.empty_like(images)
    gains = rng.uniform(0.9, 1.1, (len(images), 1, 1, 3)).astype(np.float32)
    padded = np.pad(images, ((0, 0), (5, 5), (5, 5), (0, 0)), mode="edge")
    for k in range(len(images)):
        y, x = rng.integers(0, 11, 2)
        cut = padded[k, y:y + SIZE, x:x + SIZE]
        if rng.integers(2):
            cut = cut[:, ::-1]
        out[k, ..., :3] = np.minimum(cut[..., :3] * gains[k] + 0.5, 255)
        out[k, ..., 3] = cut[..., 3]
    return out


SLOTS = 8  # batches rendered ahead


def send_batches(library, seed, batch, reuse, keep, threads, step, shared, free, full):
    """The other process of a Stream: Python code beside the trainer's threads would hold them up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        world = World(library)
        renderer = Renderer(world, seed, threads)
        slots = np.frombuffer(shared, np.uint8).reshape(SLOTS, batch, SIZE, SIZE, 4)
        fresh = max(1, batch // reuse)
        pool = np.empty((max(keep // fresh, 1) * fresh if reuse > 1 else fresh, SIZE, SIZE, 4), np.uint8)
        parent, oldest = os.getppid(), step * fresh
        while os.getppid() == parent:
            try:
                slot = free.get(timeout=5)
            except queue.Empty:
                continue
            rng = np.random.default_rng((seed, step))
            first = step * fresh
            at = first % len(pool)
            slots[slot, :fresh] = renderer.fill(first, pool[at:at + fresh])
            picks = rng.integers(max(oldest, first + fresh - len(pool)), first + fresh, batch - fresh)
            slots[slot, fresh:] = vary(pool[picks % len(pool)], rng)
            full.put((slot, np.concatenate([np.arange(first, first + fresh), picks]) % world.classes))
            step += 1
    except BaseException as error:  # the trainer waits on the queue and must hear of it
        full.put((repr(error), None))


class Stream:
    """Training batches. Batch t brings `batch / reuse` new scenes, in the order of their indices, and fills up with
    varied scenes drawn from the last `keep` ones; with reuse 1 every scene is seen once. Batch t is the same in every
    run and on any number of threads, except that after a resume the older scenes are drawn from a pool begun anew."""

    def __init__(self, library, seed, batch, reuse, keep, threads, first_step):
        context = multiprocessing.get_context("spawn")
        shared = context.RawArray("B", SLOTS * batch * SIZE * SIZE * 4)
        self.slots = np.frombuffer(shared, np.uint8).reshape(SLOTS, batch, SIZE, SIZE, 4)
        self.free, self.full = context.Queue(), context.Queue()
        for slot in range(SLOTS):
            self.free.put(slot)
        self.process = context.Process(target=send_batches, daemon=True, args=(
            library, seed, batch, reuse, keep, threads, first_step, shared, self.free, self.full))
        self.process.start()
        self.used = None

    def next(self):
        """Images and labels; the images are valid until the next call."""
        if self.used is not None:
            self.free.put(self.used)
        slot, labels = self.full.get()
        if labels is None:
            raise RuntimeError(f"rendering stopped: {slot}")
        self.used = slot
        return self.slots[slot], labels

    def close(self):
        self.process.terminate()
        self.process.join()
