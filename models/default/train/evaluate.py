"""Measure a checkpoint on the test split: perplexity per character as trained and as shipped, and its poems.

    python evaluate.py WORK [--run default] [--poems 200] [--seed 1]      writes WORK/runs/<run>/report.json, poems.txt

Perplexity per character is exp(nats / characters): every token of a document counts given what is before it, long
documents in pieces of the context that share nothing; the end of a document does not count.

Poems: titles of held-out poems that no training text has, half in each script, given as "《title》" and a newline;
plain sampling at the temperature, no other filter. Regular: data.is_regular. Copied: a generated line (5 or 7
characters) that is, whole, a line of any training text in the same script. What chance and common phrases give is
the same count for human poets: the share of lines of training poems that a poem of another named author also has.
Distinct-2: different character pairs within lines, divided by all of them.
"""

import argparse
import collections
import json
import math
import pathlib

import numpy as np
import torch
from tokenizers import Tokenizer

from data import clauses, is_regular, share
from model import Config, Model
from train import END


def pieces(tokens, length):
    """A token file's documents in pieces of at most length + 1 tokens, each beginning with END."""
    for document in np.split(tokens, np.flatnonzero(tokens == END))[1:]:
        for at in range(1, len(document), length):
            yield np.concatenate(([END], document[at : at + length]))


@torch.no_grad()
def nats(model, weights, rows, device):
    """Sum of -log p over every token but the first of each row; rows of similar length run together."""
    total = 0.0
    rows = sorted(rows, key=len)
    while rows:
        size = max(1, 8192 // len(rows[-1]))
        batch, rows = rows[-size:], rows[:-size]
        x = torch.full((len(batch), len(batch[-1])), END)
        y = torch.full_like(x, -1)
        for i, row in enumerate(batch):
            x[i, : len(row)] = torch.from_numpy(row.astype(np.int64))
            y[i, : len(row) - 1] = x[i, 1 : len(row)]
        x, y = x.to(device), y.to(device)
        total += model(x[:, :-1], weights, y[:, :-1]).item() * (y >= 0).sum().item()
    return total


def perplexity(model, variants, data, device, limit):
    """{group: {characters, tokens, <variant>: perplexity per character}} and the two languages together."""
    sums, tokenizer = {}, Tokenizer.from_file(str(data / "tokenizer.json"))
    for path in sorted(data.glob("*.test.npy")):
        group, tokens = path.name.split(".")[0], np.load(path)
        if group.startswith("couplet"):
            continue
        ends = np.flatnonzero(tokens == END)
        cut = ends[ends <= limit][-1] if len(tokens) > limit and ends[ends <= limit][-1] > 0 else len(tokens)
        tokens = tokens[:cut]
        rows = list(pieces(tokens, model.config.context - 1))
        characters = sum(map(len, tokenizer.decode_batch([d.tolist() for d in np.split(tokens, np.flatnonzero(tokens == END))[1:]])))
        language = "chinese" if group[-2:] in ("_s", "_t") else "english"
        row = {"characters": characters, "tokens": int((tokens != END).sum())}
        row |= {name: nats(model, weights, rows, device) for name, weights in variants.items()}
        sums[group] = row
        whole = sums.setdefault(language, collections.Counter())
        whole.update(row)
        print(group, row, flush=True)
    for row in sums.values():
        for name in variants:
            row[name] = round(math.exp(row[name] / row["characters"]), 4)
    return {group: dict(row) for group, row in sums.items()}


@torch.no_grad()
def write_poems(model, weights, prompts, temperature, seed, device, most=120):
    """Sampled continuations of prompts (token lists), each to END or `most` tokens."""
    generator = torch.Generator().manual_seed(seed)
    texts, live = [list(p) for p in prompts], list(range(len(prompts)))
    while live:
        size = max(len(texts[i]) for i in live)
        x = torch.zeros(len(live), size, dtype=torch.long)
        last = torch.tensor([len(texts[i]) - 1 for i in live])
        for row, i in enumerate(live):
            x[row, : len(texts[i])] = torch.tensor(texts[i])
        logits = model(x.to(device), weights, last=last.to(device)).float().cpu()
        chosen = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0].tolist()
        for i, token in zip(list(live), chosen):
            if token == END or len(texts[i]) - len(prompts[i]) >= most:
                live.remove(i)
            else:
                texts[i].append(token)
    return [t[len(p) :] for t, p in zip(texts, prompts)]


def distinct_2(poems):
    pairs = [line[i : i + 2] for lines in poems for line in lines for i in range(len(line) - 1)]
    return round(len(set(pairs)) / max(1, len(pairs)), 4)


def poems_report(model, weights, data, args, device):
    documents = [json.loads(line) for line in open(data / "documents.jsonl")]
    verse = [d for d in documents if "script" in d and not d["group"].startswith("couplet")]
    lines_of = lambda d: [c for c in clauses(d["text"].split("\n"))[0] if len(c) in (5, 7)]
    body = lambda d: d["text"].split("\n", 1)[1] if d["text"][0] == "《" or d["text"].startswith("title:") else d["text"]
    titles = {d["title"] for d in documents if d["split"] != "test"}
    known, authors = {"s": set(), "t": set()}, collections.defaultdict(set)
    for d in verse:
        if d["split"] == "train":
            found = lines_of({"text": body(d)})
            known[d["script"]].update(found)
            if d["group"] == "poem_s" and d["author"]:
                for line in found:
                    authors[line].add(d["author"])
    tests = {}
    for script in "st":
        group = [d for d in verse if d["group"] == "poem_" + script and d["split"] == "test"]
        seen = {d["title"]: d for d in group if d["title"] and d["title"] not in titles}
        tests[script] = sorted(seen.values(), key=lambda d: share("poems:" + d["title"]))[: args.poems // 2]
    chosen = tests["s"] + tests["t"]
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    prompts = [[END, *tokenizer.encode(f"《{d['title']}》\n").ids] for d in chosen]
    texts = tokenizer.decode_batch(write_poems(model, weights, prompts, args.temperature, args.seed, device))
    written = [clauses(t.split("\n"))[0] for t in texts]
    regular = [is_regular(t.split("\n")) for t in texts]
    copied = {5: [0, 0], 7: [0, 0]}
    for d, lines in zip(chosen, written):
        for line in lines:
            if len(line) in copied:
                copied[len(line)][0] += line in known[d["script"]]
                copied[len(line)][1] += 1
    reused = {5: [0, 0], 7: [0, 0]}
    for line, who in authors.items():
        if len(line) in reused:
            reused[len(line)][0] += len(who) if len(who) > 1 else 0
            reused[len(line)][1] += len(who)
    human = [clauses(body(d).split("\n"))[0] for d in chosen]
    ratio = lambda pair: round(pair[0] / max(1, pair[1]), 5)
    expected = sum(ratio(reused[n]) * copied[n][1] for n in copied)
    count, all_lines = sum(c[0] for c in copied.values()), sum(c[1] for c in copied.values())
    report = {
        "poems": len(texts), "temperature": args.temperature, "regular": sum(regular) / len(texts), "lines": all_lines,
        "copied_lines": count, "copied": round(count / all_lines, 5),
        "copied_by_length": {n: ratio(c) for n, c in copied.items()},
        "human_reuse_by_length": {n: ratio(c) for n, c in reused.items()},
        "copied_beyond_human": round((count - expected) / all_lines, 5),
        "distinct_2": distinct_2(written), "distinct_2_of_the_held_out_poems": distinct_2(human),
    }
    sample = "\n\n".join(f"《{d['title']}》{'' if r else '  [not regular]'}\n{t}" for d, t, r in zip(chosen, texts, regular))
    return report, sample


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("work", type=pathlib.Path)
    p.add_argument("--run", default="default")
    p.add_argument("--poems", type=int, default=200)
    p.add_argument("--temperature", type=float, default=0.8)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--limit", type=int, default=60000, help="test tokens a group")
    args = p.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data, folder = args.work / "data", args.work / "runs" / args.run
    saved = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=False)
    model = Model(Config(**saved["config"])).to(device).eval()
    model.load_state_dict(saved["model"])
    with torch.no_grad():
        variants = {"f32": model.weights(False), "int4": model.weights(True)}
    report = {"step": saved["step"], "tokens_seen": saved["seen"], "training_seconds": round(saved["seconds"])}
    report["poems"], sample = poems_report(model, variants["int4"], data, args, device)
    (folder / "poems.txt").write_text(sample + "\n")
    print(json.dumps(report, indent=1), flush=True)
    report["perplexity_per_character"] = perplexity(model, variants, data, device, args.limit)
    (folder / "report.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
