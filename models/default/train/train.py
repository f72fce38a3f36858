"""Train the model on the token files of data.py. Stops and resumes exactly; one process, CPU or one CUDA GPU.

    python train.py WORK [--config small] [--tokens 8e6] [--batch 4096] [--seed 1] …

Muon (Jordan et al. 2024: momentum, orthogonalized by a Newton-Schulz iteration) for the matrices, AdamW for the
embedding and the norms. Learning rate: warm-up, constant, linear to zero over the last --decay of the tokens; the
last --qat of them run with the rounding of the shipped file. SIGTERM and SIGINT write a checkpoint and stop; a
later start with the same WORK and --run goes on from it, and may change --tokens while the rate is constant.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import queue
import signal
import threading
import time

import numpy as np
import torch

from model import CONFIGS, Config, Model, document_mask

END = 0
# Share of training tokens by group. Regular verse in both scripts is most of it: what a model this small can learn.
MIX = {"poem_s": 0.40, "poem_t": 0.22, "couplet_s": 0.02, "couplet_t": 0.01, "ci_s": 0.03, "old_s": 0.02,
       "old_t": 0.01, "prose_s": 0.02, "prose_t": 0.01, "novel": 0.17, "bible": 0.05, "speech": 0.03, "words": 0.01}


class Documents:
    """One group's documents as pieces of at most `length` tokens, each starting with END, in an order shuffled
    anew each pass. Long documents are cut after a sentence."""

    def __init__(self, path, length, stops, seed):
        self.tokens, self.seed, self.pieces = np.load(path), seed, []
        starts = np.flatnonzero(self.tokens == END)
        is_stop = np.isin(self.tokens, stops)
        for start, end in zip(starts, np.append(starts[1:], len(self.tokens))):
            at = start + 1
            while at < end:
                cut = min(at + length - 1, end)
                if cut < end:
                    found = np.flatnonzero(is_stop[at + length // 2 : cut])
                    cut = at + length // 2 + found[-1] + 1 if len(found) else cut
                self.pieces.append((at, cut))
                at = cut
        self.pieces = np.array(self.pieces)

    def piece(self, n):
        """Piece number n of the endless shuffled sequence."""
        turn, index = divmod(n, len(self.pieces))
        if turn != getattr(self, "turn", None):
            self.turn, self.order = turn, np.random.default_rng([self.seed, turn]).permutation(len(self.pieces))
        start, end = self.pieces[self.order[index]]
        return self.tokens[start:end]


def capped(sizes, budget, passes):
    """MIX, with no group shown more than `passes` times in `budget` tokens while another has text left."""
    most = {g: passes * size / budget for g, size in sizes.items()}
    mix = dict(MIX)
    for _ in range(len(MIX)):
        free = sum(w for g, w in mix.items() if w < most[g]) or 1
        spare = 1 - sum(min(w, most[g]) for g, w in mix.items())
        mix = {g: w * (1 + spare / free) if w < most[g] else most[g] for g, w in mix.items()}
    return mix


class Loader:
    """Rows of length + 1 tokens packed from the groups' documents in the proportions of MIX
    (capped). Its whole state is two
    counts a group: pieces taken and tokens taken."""

    def __init__(self, data, length, rows, seed, budget, passes, state=None):
        vocab = json.loads((data / "tokenizer.json").read_text())["model"]["vocab"]
        stops = [i for token, i in vocab.items() if token in (".", "Ċ", "ãĢĤ", '."', "?", "!")]
        self.groups = {g: Documents(data / f"{g}.train.npy", length, stops, seed + i) for i, g in enumerate(sorted(MIX))}
        self.length, self.rows = length, rows
        self.mix = capped({g: len(d.tokens) for g, d in self.groups.items()}, budget, passes)
        self.state = {g: list(state[g]) if state else [0, 0] for g in MIX}

    def row(self):
        parts, size = [], 0
        while size < self.length + 1:
            group = min(MIX, key=lambda g: self.state[g][1] / self.mix[g])
            piece = self.groups[group].piece(self.state[group][0])
            take = min(len(piece) + 1, self.length + 1 - size)
            self.state[group][0] += 1
            self.state[group][1] += take
            parts += [[END], piece[: take - 1]]
            size += take
        return np.concatenate(parts).astype(np.int64)

    def batch(self):
        """[rows, length + 1] and the state after it."""
        rows = torch.from_numpy(np.stack([self.row() for _ in range(self.rows)]))
        return rows, {g: list(s) for g, s in self.state.items()}

    def ahead(self, depth=4):
        """Batches made in another thread."""
        ready = queue.Queue(depth)

        def work():
            while True:
                ready.put(self.batch())

        threading.Thread(target=work, daemon=True).start()
        while True:
            yield ready.get()


def orthogonal(g, steps=5):
    """The nearest semi-orthogonal matrix, roughly, of each matrix in g [n, rows, cols] (quintic Newton-Schulz)."""
    tall = g.shape[1] > g.shape[2]
    x = g.mT if tall else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(a, a, a, beta=-4.775, alpha=2.0315), x, beta=3.4445)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.95, decay=0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, pool):
        for group in self.param_groups:
            shapes = collections.defaultdict(list)
            for p in group["params"]:
                shapes[p.shape].append(p)
            size = 4 if group["params"][0].device.type == "cpu" else 1 << 20
            stacks = [ps[i : i + size] for ps in shapes.values() for i in range(0, len(ps), size)]
            list(pool.map(lambda params: self.update(params, group), stacks))

    def update(self, params, group):
        """One stack of matrices of one shape."""
        updates = []
        with torch.no_grad():
            for p in params:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                m.lerp_(p.grad, 1 - group["momentum"])
                updates.append(p.grad.lerp(m, group["momentum"]))
            u = torch.stack(updates)
            u = orthogonal(u.bfloat16() if u.is_cuda else u).to(params[0].dtype)
            rows, cols = params[0].shape
            for p, update in zip(params, u):
                p.mul_(1 - group["lr"] * group["decay"])
                p.add_(update, alpha=-group["lr"] * max(1, rows / cols) ** 0.5)


def scripts(data):
    """[vocab, 2]: 1 for tokens with Latin letters, 1 for those with bytes beyond ASCII (Chinese, in these texts)."""
    vocab = json.loads((data / "tokenizer.json").read_text())["model"]["vocab"]
    out = torch.zeros(len(vocab), 2)
    for token, i in vocab.items():
        if i != END:
            out[i, 0] = any(c.isascii() and c.isalpha() for c in token)
            # Byte-level BPE writes bytes 0 to 32 and 127 as the letters from U+0100 to U+0121.
            out[i, 1] = any(not c.isascii() and not "\u0100" <= c <= "\u0121" for c in token)
    return out


def rate(progress, step, args):
    """The factor of the learning rate at this share of all tokens."""
    return min(1, (step + 1) / args.warmup, max(0.0, (1 - progress) / args.decay))


def held_out(model, data, split, length, device, quantized, limit=6):
    """Nats per token on the first rows of each group of a split (a quick look; evaluate.py measures)."""
    out = {}
    with torch.no_grad():
        weights = model.weights(quantized)
        for group in MIX:
            path = data / f"{group}.{split}.npy"
            if path.exists() and not group.startswith("couplet"):
                tokens = torch.from_numpy(np.load(path).astype(np.int64))[: limit * length + 1]
                n = (len(tokens) - 1) // length
                if n == 0:
                    continue
                x = tokens[: n * length].view(n, -1).to(device)
                y = tokens[1 : n * length + 1].view(n, -1).to(device)
                y = y.masked_fill(y == END, -1)
                out[group] = round(model(x, weights, y, document_mask(x, END)).item(), 3)
    return out


def parse():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("work", type=pathlib.Path)
    p.add_argument("--run", default="default", help="name of the checkpoint folder under WORK/runs")
    p.add_argument("--config", default="small", choices=CONFIGS)
    p.add_argument("--tokens", type=float, default=8e6, help="tokens of the whole training")
    p.add_argument("--length", type=int, default=256, help="tokens a row before the last phase; then the context")
    p.add_argument("--batch", type=int, default=0, help="tokens a step (8192; 65536 on a GPU)")
    p.add_argument("--micro", type=int, default=0, help="tokens a forward pass (1024; a step on a GPU)")
    p.add_argument("--lr", type=float, default=0.02, help="Muon's rate")
    p.add_argument("--adam-lr", type=float, default=0.004)
    p.add_argument("--weight-decay", type=float, default=0.0)
    p.add_argument("--warmup", type=int, default=40, help="steps")
    p.add_argument("--decay", type=float, default=0.3)
    p.add_argument("--qat", type=float, default=0.2)
    p.add_argument("--script-loss", type=float, default=4,
                   help="weight of the loss for leaving the script of the text: thousands of Latin tokens, each "
                   "hardly likely after Chinese, are likely together, and sampling falls for them")
    p.add_argument("--long", type=float, default=0.1, help="share of tokens, at the end, in rows of the whole context")
    p.add_argument("--passes", type=float, default=8, help="show no group of texts more often than this")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--save-every", type=float, default=300, help="seconds")
    p.add_argument("--eval-every", type=int, default=200, help="steps")
    p.add_argument("--workers", type=int, default=os.cpu_count(), help="threads on a CPU")
    p.add_argument("--stop-after", type=float, default=0, help="seconds, then as on SIGTERM")
    p.add_argument("--no-compile", action="store_true")
    return p.parse_args()


def main():
    args = parse()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    args.batch = args.batch or (65536 if device == "cuda" else 8192)
    args.micro = args.micro or (args.batch if device == "cuda" else 1024)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(args.seed)
    data, folder = args.work / "data", args.work / "runs" / args.run
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checkpoint.pt"
    saved = torch.load(path, map_location="cpu", weights_only=False) if path.exists() else None
    config = Config(**saved["config"]) if saved else CONFIGS[args.config]
    model = Model(config).to(device)
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and n != "token_embd"]
    others = [p for n, p in model.named_parameters() if p.dim() == 1 or n == "token_embd"]
    muon = Muon(matrices, args.lr, decay=args.weight_decay)
    adam = torch.optim.AdamW(others, args.adam_lr, betas=(0.9, 0.95), eps=1e-10, weight_decay=0,
                             fused=device == "cuda")
    step, seen, seconds, feed = 0, 0, 0.0, None
    if saved:
        model.load_state_dict(saved["model"])
        muon.load_state_dict(saved["muon"])
        adam.load_state_dict(saved["adam"])
        step, seen, seconds, feed = saved["step"], saved["seen"], saved["seconds"], saved["feed"]
    forward = model if args.no_compile else torch.compile(model, dynamic=False)
    # On a CPU each worker takes whole parts of a batch on one thread: faster than threads inside each product, and
    # much faster where other programs share the cores.
    pool = concurrent.futures.ThreadPoolExecutor(1 if device == "cuda" else args.workers,
                                                 initializer=torch.set_num_threads, initargs=(1,))
    names, warm = {n: i for i, (n, _) in enumerate(model.named_parameters())}, set()

    stopping = []
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.append(True))

    def save():
        state = {"config": dataclasses.asdict(config), "model": model.state_dict(), "muon": muon.state_dict(),
                 "adam": adam.state_dict(), "step": step, "seen": seen, "seconds": seconds, "feed": feed,
                 "quantized": quantized, "args": {k: str(v) for k, v in vars(args).items()}}
        torch.save(state, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)

    def note(**row):
        with open(folder / "log.jsonl", "a") as out:
            out.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)

    note(event="start", device=device, parameters=sum(p.numel() for p in model.parameters()), step=step,
         seen=seen, settings={k: str(v) for k, v in vars(args).items()})
    sides = scripts(data).to(device)
    length, batches, quantized = 0, None, bool(saved and saved["quantized"])
    last_save = last_note = started = time.monotonic()
    losses, noted = [], seen
    while seen < args.tokens and not stopping:
        progress = seen / args.tokens
        quantized = progress >= 1 - args.qat
        wanted = config.context if progress >= 1 - args.long else args.length
        if wanted != length:
            length = wanted
            micro = max(1, min(args.micro, args.batch) // length)
            parts = max(1, args.batch // (micro * length))
            batches = Loader(data, length, micro * parts, args.seed, args.tokens, args.passes, feed).ahead()
        rows, feed = next(batches)
        rows = rows.to(device, non_blocking=True)
        factor = rate(progress, step, args)
        muon.param_groups[0]["lr"], adam.param_groups[0]["lr"] = args.lr * factor, args.adam_lr * factor
        total = 0.0
        # The matrices are rounded once a step; gradients are taken at these leaves and passed straight through.
        leaves = {n: w.detach().requires_grad_() for n, w in model.weights(quantized).items()}
        targets = {**dict(model.named_parameters()), **leaves}

        def gradients(part):
            x, y = part[:, :-1], part[:, 1:]
            loss, strayed = forward(x, leaves, y, document_mask(x, END), dtype, None, sides)
            whole = (loss + args.script_loss * strayed) / parts
            return loss.detach() / parts, torch.autograd.grad(whole, list(targets.values()))

        pieces = rows.split(micro)
        if length not in warm:  # compile in this thread before others call
            gradients(pieces[0])
            warm.add(length)
        run = map if device == "cuda" else pool.map
        for loss, grads in run(gradients, pieces):  # summed in order, so threads do not change the result
            total = total + loss
            for n, p in model.named_parameters():
                g = grads[names[n]]
                p.grad = g if p.grad is None else p.grad.add_(g)
        muon.step(pool)
        adam.step()
        muon.zero_grad(set_to_none=True)
        adam.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + rows.shape[0] * length
        losses.append(total)
        if step % 20 == 0:
            now = time.monotonic()
            seconds += now - last_note
            note(step=step, tokens=seen, loss=round(torch.stack(losses).mean().item(), 4), rate=round(factor, 4),
                 quantized=quantized, tokens_per_second=round((seen - noted) / (now - last_note)))
            last_note, noted, losses = now, seen, []
        if step % args.eval_every == 0:
            note(step=step, tokens=seen, val=held_out(model, data, "val", args.length, device, quantized))
            last_note = time.monotonic()
        if time.monotonic() - last_save > args.save_every:
            save()
            last_save = time.monotonic()
        if args.stop_after and time.monotonic() - started > args.stop_after:
            stopping.append(True)
    save()
    note(event="end" if seen >= args.tokens else "stopped", step=step, tokens=seen, seconds=round(seconds))


if __name__ == "__main__":
    main()
