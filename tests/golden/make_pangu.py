"""Writes ../tokenizers/pangu.json: a folder as PanGu-alpha's tokenizer is published, and what its original makes of texts.

The original is the published class's own steps (tokenization_gptpangu.py): words by jieba 0.42.1, spaces
and line breaks as signs, ids and text by the SentencePiece library. The dictionary, the model of characters
and the SentencePiece model are small ones that this script makes; nothing of jieba's own is in the file.

    python tests/golden/make_pangu.py     # needs the packages jieba and sentencepiece
"""

import base64
import io
import json
import math
import os
import random
import tempfile

import jieba
import jieba.finalseg
import sentencepiece

WORDS = """北京 900 ns
北京大学 60 nt
大学 700 n
大学生 300 n
学生 800 n
生前 20 t
前来 50 v
来到 400 v
应聘 80 v
中国 2000 ns
国家 900 n
首都 500 d
今天 1500 t
天天 300 d
天气 600 n
气很 1 x
很好 200 a
我们 3000 r
公园 400 n
园玩 1 x
去 2500 v
玩 600 v
的 9000 uj
是 7000 v
了 6000 ul
在 5000 p
麻雀 12 n
麻雀虽小 3 i
虽小 2 x
五脏俱全 3 i
乒乓球 30 n
乒乓 20 n
球拍 40 n
拍卖 60 v
卖完 10 v
完了 90 v
AT&T 5 nz
C++ 9 nz
sparrow 4 n
结婚 100 v
和 4000 c
和尚 50 n
尚未 150 d
未结 5 v
空词 0 n
"""

SENTENCES = [
    "北京是中国的首都", "我们今天去公园玩", "今天天气很好", "北京大学生前来应聘", "麻雀虽小五脏俱全",
    "乒乓球拍卖完了", "结婚的和尚未结婚的", "我们在北京大学", "中国的国家大学是北京大学", "sparrow 是麻雀 了",
    "AT&T 和 C++ 在 3.14 50%", "好好学习\n天天向上",
]

TEXTS = SENTENCES + [
    "", " ", "\n", "  两个  空格", "北京。上海！", "没有词的字们连在一起", "王小明在龘鿕", "Hello, world 2.0-beta\r\n",
    "tab\there", "\u3000全角　空格", "😀麻雀😀", "ＡＢＣ①", "１２３", "a b\nc", "<eot>不是记号", "空词", "１．５％ 3.5% x", "é\x85b",
]


def character_model(rng):
    """A model of characters over those of the texts; its numbers mean nothing."""
    characters = sorted({c for text in TEXTS for c in text if "\u4e00" <= c <= "\u9fd5"})
    chosen = [c for c in characters if rng.random() < 0.9]
    log = lambda: round(math.log(rng.random() + 1e-3), 6)
    start = {"B": log(), "E": -3.14e100, "M": -3.14e100, "S": log()}
    steps = {"B": {"E": log(), "M": log()}, "E": {"B": log(), "S": log()},
             "M": {"E": log(), "M": log()}, "S": {"B": log(), "S": log()}}
    emitted = {place: {c: log() - 3 for c in chosen if rng.random() < 0.8} for place in "BMES"}
    return start, steps, emitted


def written(table):
    """As jieba's files are written."""
    rows = []
    for key, value in table.items():
        inner = "{" + ",\n       ".join(f"'{ascii(k)[1:-1]}': {v!r}" for k, v in value.items()) + "}" \
            if isinstance(value, dict) else repr(value)
        rows.append(f"'{key}': {inner}")
    return "from __future__ import unicode_literals\n\nP={" + ",\n ".join(rows) + "}\n"


def main():
    rng = random.Random(7)
    start, steps, emitted = character_model(rng)
    jieba.finalseg.start_P, jieba.finalseg.trans_P, jieba.finalseg.emit_P = start, steps, emitted
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "dict.txt"), "w", encoding="utf-8") as file:
            file.write(WORDS)
        cutter = jieba.Tokenizer(os.path.join(folder, "dict.txt"))
        cutter.tmp_dir = folder
        signs = str.maketrans(" \n", "\u2582\u2583")
        words = lambda text: [it.translate(signs) for it in cutter.cut(text)]
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([" ".join(words(it)) for it in SENTENCES] * 10), model_writer=model,
            model_type="bpe", vocab_size=190, character_coverage=1.0, minloglevel=2,
            normalization_rule_name="identity",
            user_defined_symbols=["<sep>", "<pad>", "<eot>"], hard_vocab_limit=False)
        pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        for _ in range(200):
            parts = [rng.choice(TEXTS) for _ in range(rng.randint(1, 3))]
            text = "".join(parts)
            at, end = sorted(rng.randint(0, len(text)) for _ in range(2))
            TEXTS.append(text[at:end])
        cases = []
        for text in dict.fromkeys(TEXTS):
            cut = list(cutter.cut(text))
            ids = pieces.encode(" ".join(it.translate(signs) for it in cut))
            # The class writes the unknown token where the library writes its own sign for it.
            decoded = pieces.decode(ids).replace(" ", "").replace("\u2582", " ").replace("\u2583", "\n")
            cases.append({"text": text, "words": cut, "ids": ids, "decoded": decoded.replace("\u2047", "<unk>")})
    files = {"vocab.model": model.getvalue(), "dict.txt": WORDS.encode(),
             "prob_start.py": written(start).encode(), "prob_trans.py": written(steps).encode(),
             "prob_emit.py": written(emitted).encode()}
    out = {"files": {name: base64.b64encode(it).decode() for name, it in files.items()},
           "eot": pieces.piece_to_id("<eot>"), "cases": cases}
    with open(os.path.join(os.path.dirname(__file__), "../tokenizers/pangu.json"), "w", encoding="utf-8") as file:
        json.dump(out, file, ensure_ascii=False, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
