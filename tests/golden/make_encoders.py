"""Makes the golden encoders of this folder, roberta, distilbert, nomic-bert, nomic-bert-masked and albert: tiny models with seeded
random weights, and the logits of masked words or the last layer's states that the original
implementations give. Needs torch and transformers; tests do not run it.

    python make_encoders.py
"""

import json
import pathlib

import torch
from transformers import AlbertConfig, AlbertForPreTraining
from transformers import DistilBertConfig, DistilBertForMaskedLM
from transformers import NomicBertConfig, NomicBertForMaskedLM, NomicBertModel
from transformers import RobertaConfig, RobertaForMaskedLM
from transformers import __version__ as version

HERE = pathlib.Path(__file__).parent


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


def rounded(tensor):
    return [[[float(f"{value:.7g}") for value in row] for row in text] for text in tensor.tolist()]


def write(name, case):
    reference = f"transformers {version}, torch {torch.__version__}, float32"
    text = json.dumps({"schema": "golden/1", "arch": name, "reference": reference, "cases": [case]})
    (HERE / name / "expected.json").write_text(text + "\n")


def make_albert():
    """Layers of two groups, of two layers each, and what pretraining has: masked words, and a text's order."""
    model = AlbertForPreTraining(AlbertConfig(
        vocab_size=123, embedding_size=20, hidden_size=36, num_hidden_layers=5, num_hidden_groups=2,
        inner_group_num=2, num_attention_heads=4, intermediate_size=56, max_position_embeddings=40))
    fill(model, 12)
    with torch.no_grad():
        model.predictions.decoder.bias.copy_(model.predictions.bias)
    model.eval()
    folder = HERE / "albert"
    model.save_pretrained(folder)
    ids = torch.randint(5, 123, (2, 19), generator=torch.Generator().manual_seed(3))
    types = (torch.arange(19) > 7).long().expand(2, 19)
    mask = torch.ones_like(ids)
    mask[1, 14:] = 0
    with torch.no_grad():
        found = model(input_ids=ids, token_type_ids=types, attention_mask=mask)
        states = model.albert(input_ids=ids, token_type_ids=types, attention_mask=mask)
    write("albert", {
        "name": "masked_lm_batch2_right_padded",
        "kind": "masked_lm",
        "inputs": {"input_ids": ids.tolist(), "token_type_ids": types.tolist(), "attention_mask": mask.tolist()},
        "outputs": {"prediction_logits": rounded(found.prediction_logits),
                    "pooled": rounded(states.pooler_output[None])[0]},
    })


def make(name, model, vocabulary, padding):
    fill(model, 11)
    model.eval()
    folder = HERE / name
    model.save_pretrained(folder)
    ids = torch.randint(5, vocabulary, (2, 13), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    ids[1, 9:] = padding
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits
    write(name, {
        "name": "forward_batch2_right_padded",
        "kind": "masked_lm",
        "inputs": {"input_ids": ids.tolist(), "attention_mask": mask.tolist()},
        "outputs": {"prediction_logits": rounded(logits)},
    })


def make_nomic():
    """The published files name their fields otherwise than Transformers does."""
    model = NomicBertModel(NomicBertConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0}))
    fill(model, 11)
    model.eval()
    folder = HERE / "nomic-bert"
    model.save_pretrained(folder)
    config = {
        "architectures": ["NomicBertModel"], "model_type": "nomic_bert",
        "activation_function": "swiglu", "causal": False, "layer_norm_epsilon": 1e-12,
        "max_trained_positions": 64, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "n_embd": 32,
        "n_head": 4, "n_inner": 48, "n_layer": 2, "n_positions": 256, "parallel_block": False,
        "prenorm": False, "qkv_proj_bias": False, "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False, "rotary_emb_scale_base": None, "rotary_scaling_factor": 2,
        "scale_attn_by_inverse_layer_idx": False, "scale_attn_weights": True, "type_vocab_size": 2,
        "use_rms_norm": False, "vocab_size": 120}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    ids = torch.randint(5, 120, (2, 33), generator=torch.Generator().manual_seed(3))
    types = (torch.arange(33) > 12).long().expand(2, 33)
    mask = torch.ones_like(ids)
    mask[1, 21:] = 0
    with torch.no_grad():
        hidden = model(input_ids=ids, token_type_ids=types, attention_mask=mask).last_hidden_state
    write("nomic-bert", {
        "name": "hidden_batch2_right_padded",
        "kind": "hidden",
        "inputs": {"input_ids": ids.tolist(), "token_type_ids": types.tolist(),
                   "attention_mask": mask.tolist()},
        "outputs": {"hidden": rounded(hidden)},
    })


make_nomic()
make_albert()
make("roberta", RobertaForMaskedLM(RobertaConfig(
    vocab_size=131, hidden_size=36, num_hidden_layers=2, num_attention_heads=4, intermediate_size=56,
    max_position_embeddings=42, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1)), 131, 1)
make("distilbert", DistilBertForMaskedLM(DistilBertConfig(
    vocab_size=127, dim=36, n_layers=2, n_heads=4, hidden_dim=60, max_position_embeddings=40)), 127, 0)
make("nomic-bert-masked", NomicBertForMaskedLM(NomicBertConfig(
    vocab_size=119, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
    max_position_embeddings=64)), 119, 0)
