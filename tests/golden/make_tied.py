"""Makes tests/golden/tied: one tiny model with seeded random weights per architecture, and the logits that the
original implementation gives for it when its tables of words (of the encoder, the decoder, the head, and the one that
they share) are in the file under one name or several, equal or not. Needs torch and transformers; tests do not run it.

    python make_tied.py
"""

import json
import pathlib
import tempfile

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers import __version__ as version
from transformers.utils import logging

HERE = pathlib.Path(__file__).parent / "tied"
WORDS, WIDTH = 29, 8
SHARED, HEAD, OPT_TABLE = "shared.weight", "lm_head.weight", "model.decoder.embed_tokens.weight"
ENCODER, DECODER = "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"
T5 = dict(vocab_size=WORDS, d_model=WIDTH, d_kv=4, d_ff=12, num_layers=2, num_decoder_layers=2, num_heads=2,
          relative_attention_num_buckets=8, relative_attention_max_distance=16, decoder_start_token_id=0, pad_token_id=0,
          eos_token_id=1)
MARIAN = dict(vocab_size=WORDS, decoder_vocab_size=WORDS, d_model=WIDTH, encoder_layers=1, decoder_layers=1,
              encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=12, decoder_ffn_dim=12,
              max_position_embeddings=32, pad_token_id=28, eos_token_id=0, decoder_start_token_id=28,
              forced_eos_token_id=0, scale_embedding=True, activation_function="swish")
OPT = dict(vocab_size=WORDS, hidden_size=WIDTH, ffn_dim=12, num_hidden_layers=1, num_attention_heads=2,
           word_embed_proj_dim=WIDTH, max_position_embeddings=32, pad_token_id=1, bos_token_id=2, eos_token_id=2)
ARCHITECTURES = {
    "t5": T5, "mt5": T5 | dict(feed_forward_proj="gated-gelu", transformers_version=version),
    "switch_transformers": T5 | dict(num_experts=2, expert_capacity=8, num_sparse_encoder_layers=1,
                                     num_sparse_decoder_layers=1),
    "marian": MARIAN, "opt": OPT,
}

# What the names of the tables have: the same letter is the same numbers.
FILES = {
    "one table": {SHARED: "a"},
    "one table and a head": {SHARED: "a", HEAD: "d"},
    "four equal tables": {SHARED: "a", ENCODER: "a", DECODER: "a", HEAD: "a"},
    "one table thrice and a head": {SHARED: "a", ENCODER: "a", DECODER: "a", HEAD: "d"},
    "four tables": {SHARED: "a", ENCODER: "b", DECODER: "c", HEAD: "d"},
    "a table of the decoder's own": {SHARED: "a", DECODER: "c"},
    "a table of the encoder's own, and a head": {SHARED: "a", ENCODER: "b", HEAD: "d"},
    "nothing shared": {ENCODER: "b", DECODER: "c", HEAD: "d"},
    "the encoder's table alone": {ENCODER: "b"},
    "the decoder's table and a head": {DECODER: "c", HEAD: "d"},
    "the head alone": {HEAD: "d"},
}
OPT_FILES = {
    "one table": {OPT_TABLE: "a"},
    "one table and a head": {OPT_TABLE: "a", HEAD: "d"},
    "two equal tables": {OPT_TABLE: "a", HEAD: "a"},
}
TIES = {"": {}, ", tied": dict(tie_word_embeddings=True), ", untied": dict(tie_word_embeddings=False)}
SOURCE, TARGET = [3, 7, 20, 4, 11, 1], [0, 9, 2, 17]


def rounded(row):
    return [float(f"{value:.6g}") for value in row.tolist()]


def config_of(architecture, fields):
    return dict(model_type=architecture) | ARCHITECTURES[architecture] | fields


def is_table(name):
    return any(part in name for part in ["shared", "embed_tokens", "lm_head"])


def layers_of(architecture, folder):
    """All weights but the tables of words."""
    torch.manual_seed(1)
    (folder / "config.json").write_text(json.dumps(config_of(architecture, {})))
    kind = AutoModelForCausalLM if architecture == "opt" else AutoModelForSeq2SeqLM
    model = kind.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    tensors = {}
    for name, weight in model.state_dict().items():
        if is_table(name) or "embed_positions" in name and architecture == "marian":
            continue
        noise = torch.randn_like(weight)
        tensors[name] = noise * 0.2 + ("norm" in name) if weight.dim() == 1 else noise * 0.4
    return tensors


def run(architecture, folder, tensors, fields):
    """The last row of logits, and which tables the original missed and made up."""
    (folder / "config.json").write_text(json.dumps(config_of(architecture, fields)))
    save_file({name: weight.clone() for name, weight in tensors.items()}, folder / "model.safetensors",
              metadata=dict(format="pt"))
    kind = AutoModelForCausalLM if architecture == "opt" else AutoModelForSeq2SeqLM
    model, told = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                       output_loading_info=True)
    source, target = torch.tensor([SOURCE]), torch.tensor([TARGET])
    with torch.no_grad():
        rows = model.eval()(source).logits if architecture == "opt" else \
            model.eval()(input_ids=source, decoder_input_ids=target).logits
    return rounded(rows[0, -1]), {name for name in told["missing_keys"] if is_table(name)}


logging.set_verbosity_error()
logging.disable_progress_bar()
HERE.mkdir(exist_ok=True)
cases = []
torch.manual_seed(2)
letters = {letter: torch.randn(WORDS, WIDTH) for letter in "abcd"}
save_file(letters, HERE / "tables.safetensors")
with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for architecture in ARCHITECTURES:
        layers = layers_of(architecture, folder)
        save_file(layers, HERE / f"{architecture}.safetensors")
        prefix = "model." if architecture == "marian" else ""
        for file, tables in (OPT_FILES if architecture == "opt" else FILES).items():
            named = {table if table == HEAD else prefix + table: letter for table, letter in tables.items()}
            for tie, fields in TIES.items():
                tensors = layers | {table: letters[letter] for table, letter in named.items()}
                rows, missing = run(architecture, folder, tensors, fields)
                shared = named.get(prefix + SHARED)
                missing.discard(prefix + SHARED)  # which nothing reads
                if missing and shared and HEAD not in missing:
                    # Up to version 4 the shared table stood in their place.
                    rows, _ = run(architecture, folder, tensors | {it: letters[shared] for it in missing}, fields)
                    missing = set()
                case = dict(architecture=architecture, name=file + tie, fields=fields, tables=named)
                cases.append(case | (dict(missing=sorted(missing)) if missing else dict(logits=rows)))
reference = f"transformers {version}, torch {torch.__version__}, float32, eager attention"
text = ",\n".join(json.dumps(case) for case in cases)
configs = json.dumps({architecture: config_of(architecture, {}) for architecture in ARCHITECTURES})
head = f'"reference": "{reference}", "ids": {SOURCE}, "decoderIds": {TARGET}, "configs": {configs}'
(HERE / "cases.json").write_text(f'{{{head}, "cases": [\n{text}\n]}}\n')
