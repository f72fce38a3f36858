"""Makes tests/tokenizers/transfo-xl: a small vocabulary in the forms in which Transformer-XL's is
published, what the original tokenizer makes of texts written here, and which characters its classes have.
Needs torch, sacremoses 0.0.45 and transformers up to 4.57, with TRUST_REMOTE_CODE=True; tests do not run it.

    python make_moses.py
"""

import collections
import json
import os
import pathlib
import pickle
import random

import torch
from sacremoses import MosesTokenizer
from transformers.models.deprecated.transfo_xl.tokenization_transfo_xl import TransfoXLTokenizer

HERE = pathlib.Path(__file__).resolve().parent.parent / "tokenizers" / "transfo-xl"

TEXTS = """
The ship left the harbour at 5:30 a.m., and nobody waved.
In 1996, 23,000 people lived here; by 2,011 it was 1.5 million (an increase of 6,421.7 %).
"Where are you going?" she asked. "Home," he said.
It's John's dog, isn't it? They'd have said so; we'll see, I'm sure you've heard.
The Joneses' house is the boys' favourite place in the '90s rock 'n' roll world.
A state-of-the-art, twenty-first-century well-being programme -- or so they say --- was launched.
Dr. Smith met Mr. and Mrs. Brown on Jan. 5 at No. 10 St. James Str. in Washington D.C. yesterday.
See pp. 12-15, Art. 3, No. five, vol. IV, e.g. this, i.e. that, etc. and so on.
Visit https://example.com/a/b?c=d&e=f#g or write to some.one@example.org!
Wait... what?! No.... Never.. ..ok ...
He paid $1,234.50, £20, €3 and 5¢; that is 50% more than 40 %.
“Curly quotes”, ‘single ones’, «French ones», „German ones“ and ``old ones''.
An en–dash, an em—dash, an ellipsis… and a minus −5.
Tabs\tand  double  spaces and a no\u00a0break space, 10\u00a0% and 1\u00a0000 km.
Café naïve façade Ångström Ελλάδα Россия straße.
北京是中国的首都。東京 and 서울 are capitals.
हिन्दी में लिखा हुआ and தமிழ் too.
x = {a[0], b(1)}; if (x <= 3 && y >= 4 || !z) { return "ok"; } // done
C++ & C# | F# ~ 10^3 * 2 = 2,000 ; 3/4 and and/or
= Heading = \n \n = = Subheading = = \n The text of the article begins , as in WikiText .
5'10" tall, 1990's music, O'Neill's 'quoted' words, ''double'' and `ticked`
( spaced ) [ brackets ] { braces } (tight)(er) ( "nested" ) .
A.B.C. and U.S.A. are not U.N. today. end.
He said "stop." Then "go," and left.'
Don't. Can't! Won't? Shan't, cannot; gimme gonna.
THISISPROTECTED <EOS> and <Unk> <formula> <FORMULA> a<EOS>b
,start ,, ,5 5, 5,a a,5 5,5 1,2,3 1.2.3 .5 5. -5 5- a-5 5-a
' '' ''' " "" a'b a' 'b 1's 's s' 5'a
emoji 🙂 and ♫ and © 2020 ™ ½ ² ³ Ⅷ ①
one @-@ two @,@ three @.@ four @-@
ﬁnal ＡＢＣ １２３ ， ！
a&amp;b &lt;tag&gt; &quot;x&quot; &#91;y&#93; &bar; <b>bold</b>
""".strip("\n").split("\n")

PARTS = ["the", "The", "dog", "U.S.", "e.g.", "Mr.", "No.", "10", "1,000", "3.14", "well-known", "don't", "'", '"', "''",
         "``", "(", ")", "[", "]", ",", ".", "..", "...", ";", ":", "?", "!", "-", "--", "–", "—", "“", "”", "‘", "’", "«", "»",
         "$", "£", "%", "&", "/", "@", "#", "é", "Straße", "北京", "中", "한", "かな", "\u00a0", " ", "  ", "\n", "5", "s", "'s",
         "a", "I", "x-y-z", "1990s", "…", "ab.", "Jan.", "v.", "small.", "<", ">", "=", "+", "_", "\\", "`", "´"]

ODD = [["@-@", "a", "@-@", "@-@", "b", "@-@"], ["1", "@,@", "@,@", "2", "@.@", "@,@", "3", "@.@"], ["@,@", "5"],
       ['"', "@,@", "5", '"', "@.@", "5"], ["$", "@-@", "5", "@-@", "$", "6"], ["the", "boys", "'", "toys", "'", "x", "'"],
       ["'s", "a", "'s", "'5", "'", "a"], ["(", "a", ")", ")", "(", "[", "b", "]", ",", ".", "c"],
       ['"', "a", '"', '"', "b", '"', "''", "c", "''", "`", "d", "`"], ["北", "京", "a", "中", "国", ",", "中"],
       ["&amp;", "&quot;", "a", "&quot;", "&lt;", "b", "&gt;", "&#91;"], ["„", "a", "“", "b", "”"], ["¿", "que", "?", "¡", "si", "!"]]


def random_texts():
    draw = random.Random(5)
    return ["".join(draw.choice(PARTS) + (" " if draw.random() < 0.5 else "") for _ in range(draw.randint(2, 14)))
            for _ in range(400)]


def ranges(characters):
    """First and last codes of ranges, one after the other; line breaks are in the lists by mistake."""
    found = []
    for code in sorted({ord(it) for it in characters} - {10}):
        if found and found[-1] == code - 1:
            found[-1] = code
        else:
            found += [code, code]
    return found


def tokenizer_of(words):
    """The tokenizer with a vocabulary, written as programs before Transformers wrote it, and as that did."""
    symbols = ["<eos>", "<unk>", "<formula>", *words]
    vocabulary = {"counter": collections.Counter({it: len(symbols) - i for i, it in enumerate(symbols[1:])}),
                  "special": ["<eos>"], "min_freq": 0, "max_size": None, "lower_case": False, "delimiter": None,
                  "vocab_file": None, "idx2sym": symbols,
                  "sym2idx": collections.OrderedDict((it, i) for i, it in enumerate(symbols)), "eos_idx": 0}
    HERE.mkdir(parents=True, exist_ok=True)
    os.chdir(HERE)  # the written files have paths in them
    pathlib.Path("vocab.pkl").write_bytes(pickle.dumps(vocabulary, protocol=2))
    torch.save(vocabulary, "vocab.bin", _use_new_zipfile_serialization=False)
    torch.save(vocabulary, "vocab-zip.bin")
    tokenizer = TransfoXLTokenizer(pretrained_vocab_file="vocab.pkl")
    tokenizer.save_pretrained("saved")
    return tokenizer


if __name__ == "__main__":
    plain = TransfoXLTokenizer(special=["<eos>", "<unk>", "<formula>"])
    plain.add_special("<eos>"), plain.add_special("<unk>"), plain.add_special("<formula>")
    texts = TEXTS + random_texts()
    found = collections.Counter(token for text in texts for token in plain.tokenize(text))
    found.update(token for tokens in ODD for token in tokens)
    words = [it for it, _ in found.most_common() if it not in ("<eos>", "<unk>", "<formula>")]
    # Some words are unknown.
    known = [it for i, it in enumerate(words) if i < 20 or i % 9]
    tokenizer = tokenizer_of(known)
    cases = []
    for text in texts:
        ids = tokenizer.encode(text)
        cases.append({"text": text, "tokens": tokenizer.tokenize(text), "ids": ids, "shown": tokenizer.decode(ids),
                      "decoded": tokenizer.decode(ids, skip_special_tokens=True)})
    draw, lists = random.Random(6), []
    for tokens in ODD + [[draw.choice(words[:160]) for _ in range(draw.randint(1, 12))] for _ in range(200)]:
        ids = tokenizer.convert_tokens_to_ids(tokens)
        lists.append({"ids": ids, "shown": tokenizer.decode(ids),
                      "cleaned": tokenizer.decode(ids, clean_up_tokenization_spaces=True)})
    classes = {name: ranges(getattr(MosesTokenizer, it)) for name, it in
               [("letter", "IsAlpha"), ("letterOrDigit", "IsAlnum"), ("number", "IsN"), ("currency", "IsSc"),
                ("smallLetter", "IsLower")]}
    data = {"reference": "transformers 4.57.6, sacremoses 0.0.45", "classes": classes}
    rows = lambda name, list: f'"{name}": [\n' + ",\n".join(json.dumps(it, ensure_ascii=False) for it in list) + "\n]"
    (HERE / "expected.json").write_text(json.dumps(data)[:-1] + ",\n" + rows("cases", cases) + ",\n" + rows("lists", lists) + "}\n")
