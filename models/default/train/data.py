"""Text to token files: read the fetched packages, clean, split, train the tokenizer, pack.

    python data.py WORK        (after fetch.py; takes a few minutes)

Writes WORK/data/: documents.jsonl (every document with its group and split), tokenizer.json,
<group>.<split>.npy (uint16 tokens, documents back to back, each starting with <|endoftext|>) and
summary.json. Everything is a function of the pinned packages: no random state, no clock.

Splits are made before anything is trained, by hash, 98.5 % train, 0.5 % val, 1 % test. What is split as
a whole: English by chapter or speech, Chinese by connected components of texts that share a line, so that
a poem, its variants in other collections and its simplified copy always fall on the same side.
"""

import collections
import hashlib
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"
VOCAB = 8192
HAN = r"\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
NOT_HAN = re.compile(f"[^{HAN}]")
CLEAN = re.compile(f"^[{HAN}，。！？；：、“”‘’]+$")
TITLE = re.compile(f"^[{HAN}·]{{1,16}}$")
SPLITS = ("train", "val", "test")


def share(text):
    """A number in [0, 1) from the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def split_of(key):
    u = share("split-v1:" + key)
    return "test" if u < 0.01 else "val" if u < 0.015 else "train"


# ---------------------------------------------------------------- Chinese


def clauses(lines):
    """The lines of a poem without punctuation, and the punctuation after each."""
    parts = re.findall(r"([^，。！？；：、]+)([，。！？；：、]?)", "".join(lines))
    return [p[0] for p in parts], [p[1] for p in parts]


def is_regular(lines):
    """4 or 8 equal lines of 5 or 7 characters, odd ones ending in a comma (or ？！；、), even ones in a stop."""
    text, marks = clauses(lines)
    return (
        len(text) in (4, 8)
        and len({len(t) for t in text}) == 1
        and len(text[0]) in (5, 7)
        and not NOT_HAN.search("".join(text))
        and all(m in "，？！；、" and m for m in marks[::2])
        and all(m in "。？！；" and m for m in marks[1::2])
    )


def tidy(line):
    line = re.sub(r"[（(\[{〔〖【「『].*?[）)\]}〕〗】」』]", "", line) if "「" not in line else line
    line = line.replace("「", "“").replace("」", "”").replace("『", "‘").replace("』", "’")
    return re.sub(r"\s", "", line).translate(str.maketrans(",.!?;:", "，。！？；："))


def tidy_title(title):
    title = re.sub(r"[（(\[].*?[）)\]]", "", title or "").strip()
    title = re.sub(r"[ 　・/，。、]+", "·", re.sub(r"[ 　]+其?[一二三四五六七八九十百]+$", "", title)).strip("·")
    return title if TITLE.match(title) else ""


def leaves(node, title="", author=""):
    """Every {title, author, lines} in a nested JSON file, whatever its nesting is called."""
    if isinstance(node, list):
        for child in node:
            yield from leaves(child, title, author)
    elif isinstance(node, dict):
        title = node.get("title") or node.get("chapter") or node.get("rhythmic") or title
        author = node.get("author") or author
        for key in ("paragraphs", "content", "para"):
            body = node.get(key)
            if isinstance(body, str):
                yield title, author, [body]
            elif body and isinstance(body, list) and isinstance(body[0], str):
                yield title, author, body
            elif body:
                yield from leaves(body, title, author)


def chinese(root):
    """Every usable Chinese text: {group, title, author, lines, script}."""
    dist = root / "chinese-poetry" / "dist"
    files = sorted(dist.glob("quantangshi/poet.tang.*.json")) + sorted(dist.glob("quantangshi/poet.song.*.json"))
    for folder in ("mengxue", "shijing", "chuci", "caocaoshiji", "nalanxingde", "wudaishici/nantang",
                   "wudaishici/huajianji", "songci", "yuanqu", "lunyu", "sishuwujing", "youmengying"):
        files += sorted(dist.glob(f"{folder}/*.json"))
    skip = ("author", "intro", "preface", "baijiaxing", "wenzimengqiu", "sanzijing-new", "qianziwen", "dizigui")
    traditional = ("quantangshi", "mengxue", "sishuwujing")
    prose = ("mengxue", "lunyu", "sishuwujing", "youmengying")
    for file in files:
        folder = file.relative_to(dist).parts[0]
        if any(word in file.name for word in skip):
            continue
        for title, author, lines in leaves(json.loads(file.read_text())):
            lines = [tidy(line) for line in lines]
            if folder == "nalanxingde":
                lines = [line if line[-1:] in "。！？" else line + "。" for line in lines]
            lines = [line for line in lines if line]
            if not lines or not all(CLEAN.match(line) for line in lines):
                continue
            if is_regular(lines):
                group = "poem"
            elif folder == "quantangshi":
                group = "old"
            elif folder in prose:
                group = "prose"
            else:
                group = "ci" if folder in ("songci", "wudaishici", "nalanxingde", "yuanqu") else "old"
            title = tidy_title((title or "").split("・")[-1] if folder == "yuanqu" else title)
            author = author if author and re.match(f"^[{HAN}]{{2,4}}$", author) else ""
            yield {"group": group, "title": title, "author": author, "lines": lines,
                   "script": "t" if folder in traditional else "s"}


def simplify(texts, root, work):
    """All texts in simplified characters, in one run of opencc-js."""
    script = pathlib.Path(__file__).with_name("simplify.mjs")
    runner = ["node"] if shutil.which("node") else ["deno", "run", "-A"]
    source, target = work / "data" / "opencc.in", work / "data" / "opencc.out"
    source.write_text("\n".join(texts))
    subprocess.run([*runner, str(script), str((root / "opencc-js").resolve()), str(source), str(target)], check=True)
    out = target.read_text().split("\n")
    assert len(out) == len(texts)
    return out


def components(poems):
    """Join texts that share a line (7 characters or more; shorter lines together with their neighbour or with the
    title), give each joined set one split, and drop texts whose every line was already seen."""
    parent, owner, kept = list(range(len(poems))), {}, []

    def find(i):
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, poem in enumerate(poems):
        text = [NOT_HAN.sub("", t) for t in clauses(poem["simple"])[0]]
        keys = {t for t in text if len(t) >= 7}
        keys |= {a + b for a, b in zip(text, text[1:]) if len(a) < 7 and len(a + b) >= 8}
        keys |= {poem["simple_title"] + "/" + t for t in text if len(t) == 5}
        keys = keys or {"".join(text)}
        new = False
        for key in keys:
            j = owner.setdefault(key, i)
            new |= j == i
            parent[find(i)] = find(j)
        poem["key"] = min(keys)
        if new:
            kept.append(i)
    roots, sizes = {}, collections.Counter(find(i) for i in kept)
    for i in kept:
        roots[find(i)] = min(roots.get(find(i), "\U0010ffff"), poems[i]["key"])
    for i in kept:
        poems[i]["split"] = split_of(roots[find(i)])
    return [poems[i] for i in kept], max(sizes.values())


def chinese_documents(root, work):
    """Documents in both scripts: {group, split, title, text}."""
    poems = list(chinese(root))
    flat = ["\t".join([p["title"], p["author"], *p["lines"]]) for p in poems]
    for poem, line in zip(poems, simplify(flat, root, work)):
        poem["simple_title"], poem["simple_author"], *poem["simple"] = line.split("\t")
    poems, largest = components(poems)
    print(f"Chinese texts kept: {len(poems)}, largest joined set {largest}", flush=True)
    for poem in poems:
        forms = [("s", poem["simple_title"], poem["simple_author"], poem["simple"])]
        if poem["script"] == "t":
            forms.append(("t", poem["title"], poem["author"], poem["lines"]))
        for script, title, author, lines in forms:
            group = poem["group"] + "_" + script
            base = {"split": poem["split"], "title": title, "author": author, "script": script}
            body = "\n".join(lines)
            if poem["group"] == "poem":
                a, m = clauses(lines)
                pairs = [a[i] + ("，" if m[i] in "、；" else m[i]) + a[i + 1] + m[i + 1] for i in range(0, len(a), 2)]
                body = "\n".join(pairs)
                if len(a) == 8 and poem["split"] == "train":
                    for i in (2, 4):
                        yield {**base, "group": "couplet_" + script, "text": f"上联：{a[i]}\n下联：{a[i + 1]}"}
            yield {**base, "group": group, "text": head(poem, title, author, script) + body}


def head(poem, title, author, script):
    """The title line; which of its forms a text gets is decided by the text's own hash."""
    u = share("head:" + script + poem["key"])
    if not title or poem["group"] == "prose":
        return ""
    if poem["group"] == "old":
        return f"《{title}》古风\n" if u < 0.6 else ""
    if u < 0.6 or (u < 0.7 and not author):
        return f"《{title}》\n"
    return f"《{title}》{author}\n" if u < 0.7 else f"title: {title}\n" if u < 0.8 else ""


# ---------------------------------------------------------------- English


def plain(text):
    table = {"“": '"', "”": '"', "‘": "'", "’": "'", "—": "--", "–": "-", "\u00a0": " ", "_": "", "…": "..."}
    text = "".join(table.get(c, c) for c in text)
    return "".join(c for c in text if c == "\n" or " " <= c <= "~" or c in "éèêàçæœ£")


def paragraphs(text):
    """Wrapped lines joined, one paragraph a line."""
    parts = (re.sub(r"\s+", " ", p).strip() for p in re.split(r"\n\s*\n", plain(text)))
    return "\n".join(p for p in parts if p)


def r_strings(data):
    """The elements of one serialized R character vector (R Internals, serialization format, XDR)."""
    at = data.index(b"\x00\x00\x00\x10") + 4  # STRSXP after the header
    count, at, out = struct.unpack(">I", data[at:at + 4])[0], at + 4, []
    for _ in range(count):
        size = struct.unpack(">i", data[at + 4:at + 8])[0]
        at += 8
        out.append(data[at:at + max(size, 0)].decode("utf-8", "replace"))
        at += max(size, 0)
    return out


def austen(root):
    data = next(root.glob("r-cran-janeaustenr/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb")).read_bytes()
    at = 0
    while at < len(data):  # a length, then a zlib stream
        stream = zlib.decompressobj()
        lines = r_strings(stream.decompress(data[at + 4:]))
        at = len(data) - len(stream.unused_data)
        book = "\n".join(lines)
        for n, chapter in enumerate(re.split(r"(?mi)^\s*chapter\s+[IVXLC\d]+\.?.*$", book)[1:]):
            yield "novel", f"austen/{lines[0]}/{n}", paragraphs(chapter)


def english(root):
    """(group, name, text): a chapter, a speech or an entry each."""
    yield from austen(root)
    for file in sorted((root / "datasets-moby-dick" / "data").glob("*.txt")):
        yield "novel", f"moby/{file.stem}", paragraphs(file.read_text())
    for file in sorted((root / "datasets-sotu" / "data").glob("*.txt")):
        yield "speech", f"sotu/{file.stem}", paragraphs(file.read_text())
    program = (root / "bible-kjv" / "usr/bin/bible").resolve()
    folder = (root / "bible-kjv-text" / "usr/lib").resolve()
    text = subprocess.run([str(program), "-p", str(folder), "gen1:1-rev22:21"], check=True,
                          stdout=subprocess.PIPE, env={**os.environ, "COLUMNS": "9999"}).stdout.decode("latin-1")
    for chapter in re.split(r"\n\s*\n", text):
        name, _, body = chapter.strip().partition("\n")
        if re.match(r"^[\w ]+ \d+$", name.strip()):
            continue  # a heading alone; its verses follow
        verses = re.sub(r"\s+", " ", re.sub(r"(?m)^\s*\d+\s", "", chapter)).strip()
        yield "bible", "kjv/" + verses[:40], plain(verses)
    for kind in ("noun", "verb", "adj", "adv"):
        for line in (root / "wordnet-base/usr/share/wordnet" / f"data.{kind}").read_text("latin-1").splitlines():
            if line.startswith("  ") or "|" not in line:
                continue
            fields, gloss = line.split("|", 1)
            words = fields.split()[4].split("(")[0].replace("_", " ")
            yield "words", f"wordnet/{kind}/{fields[:8]}", plain(f"{words} ({kind}): {gloss.strip()}")


def english_documents(root):
    for group, name, text in english(root):
        if len(text) > 20:
            yield {"group": group, "split": split_of(name), "title": name, "text": text}


# ---------------------------------------------------------------- tokenizer and packing


def train_tokenizer(texts):
    """Byte-level BPE. Trained with every Han character and CJK mark alone, so no token spans two of them and a line
    of five characters is five tokens; used with the plain GPT-2 pattern, under which the same merges apply."""
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    alone = Regex(f"[{HAN}\\u3000-\\u303f\\uff00-\\uffef\\u2018-\\u201d·]")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(alone, "isolated"), level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=[END], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = level
    return tokenizer


def main(work):
    root, data = work / "raw", work / "data"
    data.mkdir(parents=True, exist_ok=True)
    documents = list(chinese_documents(root, work)) + list(english_documents(root))
    with open(data / "documents.jsonl", "w") as out:
        out.writelines(json.dumps(d, ensure_ascii=False) + "\n" for d in documents)
    sample = [d["text"] for d in documents if d["split"] == "train"
              and (d["group"] in ("novel", "bible", "speech", "ci_s") or share("bpe:" + d["text"]) < 0.3)]
    tokenizer = train_tokenizer(sample)
    tokenizer.save(str(data / "tokenizer.json"))
    end, summary = tokenizer.token_to_id(END), {}
    grouped = collections.defaultdict(list)
    for d in documents:
        grouped[d["group"], d["split"]].append(d["text"])
    for (group, split), texts in sorted(grouped.items()):
        texts.sort(key=share)  # a fixed, mixed order
        encoded = tokenizer.encode_batch(texts)
        tokens = np.fromiter((t for e in encoded for t in (end, *e.ids)), dtype=np.uint16)
        np.save(data / f"{group}.{split}.npy", tokens)
        summary[f"{group}.{split}"] = {"documents": len(texts), "characters": sum(map(len, texts)), "tokens": len(tokens)}
        print(group, split, summary[f"{group}.{split}"], flush=True)
    (data / "summary.json").write_text(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
