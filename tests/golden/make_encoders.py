"""Makes the golden encoders of this folder, roberta and distilbert: tiny models with seeded random
weights, and the logits of masked words that the original implementations give. Needs torch and
transformers; tests do not run it.

    python make_encoders.py
"""

import json
import pathlib

import torch
from transformers import DistilBertConfig, DistilBertForMaskedLM, RobertaConfig, RobertaForMaskedLM
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
    rows = [[[float(f"{value:.7g}") for value in row] for row in text] for text in logits.tolist()]
    case = {
        "name": "forward_batch2_right_padded",
        "kind": "masked_lm",
        "inputs": {"input_ids": ids.tolist(), "attention_mask": mask.tolist()},
        "outputs": {"prediction_logits": rows},
    }
    reference = f"transformers {version}, torch {torch.__version__}, float32"
    text = json.dumps({"schema": "golden/1", "arch": name, "reference": reference, "cases": [case]})
    (folder / "expected.json").write_text(text + "\n")


make("roberta", RobertaForMaskedLM(RobertaConfig(
    vocab_size=131, hidden_size=36, num_hidden_layers=2, num_attention_heads=4, intermediate_size=56,
    max_position_embeddings=42, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1)), 131, 1)
make("distilbert", DistilBertForMaskedLM(DistilBertConfig(
    vocab_size=127, dim=36, n_layers=2, n_heads=4, hidden_dim=60, max_position_embeddings=40)), 127, 0)
