"""Makes the golden models of tasks/ in this folder: tiny encoders with seeded random weights, their
tokenizers, and the vectors, words, labels and scores that the original programs give. Needs torch,
transformers and sentence-transformers; tests do not run it.

    python make_tasks.py
"""

import json
import pathlib
import shutil
import tempfile

import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers import __version__ as sentence_version
from sentence_transformers.models import Dense, Normalize, Pooling, Transformer
from tokenizers import ByteLevelBPETokenizer
from transformers import (BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel,
                          BertTokenizerFast, DistilBertConfig, DistilBertForSequenceClassification,
                          RobertaConfig, RobertaForMaskedLM, RobertaForSequenceClassification,
                          RobertaTokenizerFast, pipeline)

HERE = pathlib.Path(__file__).parent / "tasks"
TEXTS = ["the cat sat on the mat", "a dog ran", "北京是中国的首都", "",
         "The Cat, the dog and the man sat on a mat in the sun and ran"]
WORDS = ("the a cat dog man mat sun sat ran on in and is of , . ! ? ##s ##ed ##ing "
         "北 京 是 中 国 的 首 都 上 海 query passage :").split()
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = SPECIALS + WORDS + [chr(97 + i) for i in range(1, 26)] + [f"##{chr(97 + i)}" for i in range(26)]


def fill(model, seed):
    """Draws weights so large that a wrong step shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            drawn = torch.randn(weight.shape, generator=generator)
            if weight.dim() >= 2:
                weight.copy_(drawn * (0.7 if "embed" in name else 1.3 / weight.shape[-1] ** 0.5))
            elif "norm" in name.lower() and name.endswith("weight"):
                weight.copy_(1 + 0.2 * drawn)
            else:
                weight.copy_(0.2 * drawn)
    model.eval()
    return model


def rounded(value):
    if isinstance(value, (list, tuple)):
        return [rounded(it) for it in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def write(folder, expected):
    reference = f"transformers {transformers.__version__}, torch {torch.__version__}, " \
        f"sentence-transformers {sentence_version}, float32"
    text = json.dumps({"reference": reference, **expected}, ensure_ascii=False)
    (folder / "expected.json").write_text(text + "\n")


def fresh(name):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def word_piece(folder):
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return BertTokenizerFast.from_pretrained(folder)


def byte_level():
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXTS * 3, vocab_size=300, show_progress=False,
                                special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    with tempfile.TemporaryDirectory() as path:
        trained.save_model(path)
        return RobertaTokenizerFast.from_pretrained(path)


BERT = dict(vocab_size=len(VOCABULARY), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=48, max_position_embeddings=32)
ROBERTA = dict(vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
               intermediate_size=48, max_position_embeddings=36, type_vocab_size=1, pad_token_id=1,
               bos_token_id=0, eos_token_id=2)


def sentence():
    with tempfile.TemporaryDirectory() as path:
        plain = pathlib.Path(path)
        word_piece(plain).save_pretrained(plain)
        fill(BertModel(BertConfig(**BERT)), 21).save_pretrained(plain)
        encoder = Transformer(str(plain), max_seq_length=12)
    width = 32
    dense = Dense(width, 24, activation_function=torch.nn.Tanh())
    fill(dense, 22)
    prompts = {"query": "query: ", "passage": "passage: "}
    whole = SentenceTransformer(modules=[encoder, Pooling(width, "mean"), dense, Normalize()],
                                prompts=prompts)
    folder = fresh("bert-sentence")
    whole.save_pretrained(str(folder), create_model_card=False)
    (folder / "README.md").unlink(missing_ok=True)
    cases = []

    def add(options, modules, **given):
        model = SentenceTransformer(modules=modules, prompts=prompts)
        cases.append({"options": options, "vectors": rounded(model.encode(TEXTS, **given).tolist())})

    add({"truncate": True}, [encoder, Pooling(width, "mean"), dense, Normalize()])
    add({"truncate": True, "normalize": False}, [encoder, Pooling(width, "mean"), dense])
    add({"truncate": True, "promptName": "query"}, [encoder, Pooling(width, "mean"), dense, Normalize()],
        prompt_name="query")
    for mode, ours in [("cls", "first"), ("max", "max"), ("mean_sqrt_len_tokens", "mean-sqrt"),
                       ("weightedmean", "weighted-mean"), ("lasttoken", "last")]:
        add({"truncate": True, "pooling": ours}, [encoder, Pooling(width, mode), dense, Normalize()])
    # Of the same model with other modules, which the test writes.
    several = [encoder, Pooling(width, ("cls", "max", "mean"), include_prompt=False)]
    add({"truncate": True, "promptName": "query"}, several, prompt_name="query")
    cases[-1]["modules"] = "cls, max and mean side by side, without the prompt, nothing after them"
    write(folder, {"texts": TEXTS, "cases": cases})


def classify():
    folder = fresh("bert-classify")
    tokenizer = word_piece(folder)
    labels = {0: "entails", 1: "neutral", 2: "contradicts"}
    model = fill(BertForSequenceClassification(BertConfig(**BERT, id2label=labels)), 23)
    model.save_pretrained(folder)
    run = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
    pairs = [[TEXTS[0], TEXTS[1]], [TEXTS[2], TEXTS[0]], [TEXTS[4], TEXTS[4]]]
    cases = [{"input": it, "labels": run(it)} for it in TEXTS]
    cases += [{"input": it, "labels": run({"text": it[0], "text_pair": it[1]},
                                          truncation=True, max_length=32)} for it in pairs]
    write(folder, {"kind": "single-label", "cases": cases})


def rerank():
    folder = fresh("roberta-rerank")
    tokenizer = byte_level()
    tokenizer.save_pretrained(folder)
    fill(RobertaForSequenceClassification(RobertaConfig(**ROBERTA, num_labels=1)), 24).save_pretrained(folder)
    model = CrossEncoder(str(folder), max_length=34)
    query = "a cat on the mat"
    identity = torch.nn.Identity()
    scores = model.predict([(query, it) for it in TEXTS], activation_fn=identity).tolist()
    write(folder, {"query": query, "texts": TEXTS, "scores": rounded(scores),
                   "probabilities": rounded(model.predict([(query, it) for it in TEXTS]).tolist())})


def several_labels():
    folder = fresh("distilbert-labels")
    tokenizer = word_piece(folder)
    config = DistilBertConfig(vocab_size=len(VOCABULARY), dim=32, n_layers=2, n_heads=4, hidden_dim=48,
                              max_position_embeddings=32, id2label={0: "animal", 1: "place", 2: "old"},
                              problem_type="multi_label_classification")
    model = fill(DistilBertForSequenceClassification(config), 25)
    model.save_pretrained(folder)
    run = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
    write(folder, {"kind": "multi-label", "cases": [{"input": it, "labels": run(it)} for it in TEXTS]})


def masks():
    masked = ["the cat [MASK] on the mat", "北京是[MASK]国的首都", "[MASK] dog [MASK]."]
    for name, make in [("bert-mask", lambda folder: (word_piece(folder), BertForMaskedLM(BertConfig(**BERT)))),
                       ("roberta-mask", lambda _: (byte_level(), RobertaForMaskedLM(RobertaConfig(**ROBERTA))))]:
        folder = fresh(name)
        tokenizer, model = make(folder)
        if name == "roberta-mask":
            tokenizer.save_pretrained(folder)
        fill(model, 26).save_pretrained(folder)
        run = pipeline("fill-mask", model=model, tokenizer=tokenizer, top_k=4)
        cases = []
        for text in masked:
            found = run(text.replace("[MASK]", tokenizer.mask_token))
            found = found if isinstance(found[0], list) else [found]
            cases.append({"text": text, "masks": [[{"id": it["token"], "probability": rounded(it["score"])}
                                                    for it in mask] for mask in found]})
        write(folder, {"cases": cases})


def several_tasks():
    """MT-DNN: a BERT body and a classifier of one layer for each task, in a file as its programs write
    it. make_answers.py makes those that have more than one layer."""
    folder = fresh("mt-dnn")
    tokenizer = word_piece(folder)
    config = BertConfig(**BERT)
    body = fill(BertModel(config), 27)
    heads = torch.nn.ModuleList([torch.nn.Linear(32, 3), torch.nn.Linear(32, 1), torch.nn.Linear(32, 1)])
    fill(heads, 28)
    state = {f"bert.{name}": it for name, it in body.state_dict().items()}
    state |= {f"scoring_list.{name}": it for name, it in heads.state_dict().items()}
    torch.save({"state": state, "config": {"hidden_size": 32}}, folder / "mt_dnn.pt")
    written = config.to_dict() | {"task_specific_params": {
        "mnli": {"id2label": {"0": "contradicts", "1": "neutral", "2": "entails"}},
        "stsb": {"problem_type": "regression"}, "qnli": {}}}
    (folder / "config.json").write_text(json.dumps(written, indent=1) + "\n")
    pairs = [[TEXTS[0], TEXTS[1]], [TEXTS[1], TEXTS[2]], [TEXTS[3], TEXTS[0]]]
    cases = []
    for pair in pairs:
        inputs = tokenizer(*pair, return_tensors="pt")
        with torch.no_grad():
            pooled = body(**inputs).pooler_output
            cases.append({"input": pair, "scores": [rounded(heads[i](pooled)[0].tolist()) for i in range(3)]})
    write(folder, {"cases": cases})


if __name__ == "__main__":
    sentence()
    classify()
    rerank()
    several_labels()
    masks()
    several_tasks()
