"""Makes the golden Transformer-XLs of this folder whose names begin with transfo-xl-: tiny models with seeded
random weights and settings that transfo-xl does not have, and the logarithms of probabilities that the original
implementation gives. Needs torch and transformers 4.57, the last one with that class; tests do not run it.

    python make_transfo_xl.py
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers.models.deprecated.transfo_xl import TransfoXLConfig, TransfoXLLMHeadModel

# The class calls type_as with a dtype, which torch does not know.
type_as = torch.Tensor.type_as
torch.Tensor.type_as = lambda self, other=None, dtype=None: self.to(dtype) if other is None else type_as(self, other)

HERE = pathlib.Path(__file__).parent
BASE = dict(vocab_size=97, n_head=3, d_head=6, d_inner=44, n_layer=2, eos_token_id=0)
VARIANTS = {
    # Norms first, shared biases, a memory before the segment, nothing tied, rows wider than the model.
    "transfo-xl-segments": dict(
        d_model=20, d_embed=24, cutoffs=[30, 61], div_val=3, mem_len=7, clamp_len=5, same_length=False, pre_lnorm=True,
        untie_r=False, proj_share_all_but_first=False, tie_word_embeddings=False),
    # One cluster, distances that are one from a third of the memory on.
    "transfo-xl-one": dict(
        d_model=24, d_embed=24, cutoffs=[], div_val=1, mem_len=10, clamp_len=3, same_length=True),
    # No memory, rows of one width under one projection, no clamp.
    "transfo-xl-bare": dict(
        d_model=24, d_embed=15, cutoffs=[50], div_val=1, mem_len=0, clamp_len=-1, same_length=False),
    # Norms first, every token with the same memory.
    "transfo-xl-pre": dict(
        d_model=24, d_embed=24, cutoffs=[40], div_val=4, mem_len=9, clamp_len=20, same_length=True, pre_lnorm=True),
}


def fill(model, seed):
    """Draws weights so large that a wrong step shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            drawn = torch.randn(weight.shape, generator=generator)
            if "layer_norm" in name:
                weight.copy_(drawn * 0.3 + name.endswith("weight"))
            elif weight.dim() == 1 or "_bias" in name:
                weight.copy_(0.5 * drawn)
            else:
                weight.copy_(drawn * ((0.4 if "emb_layers" in name else 1.2) / weight.shape[-1] ** 0.5))


def run(model, ids, mems=None):
    """Logarithms of probabilities of every token of a segment, and the memory behind it."""
    with torch.no_grad():
        states = model.transformer(torch.tensor([ids]), mems=mems, return_dict=True, output_attentions=False,
                                   output_hidden_states=False)
        return model.crit(states.last_hidden_state).view(len(ids), -1), states.mems


def rounded(rows):
    return [[float(f"{value:.7g}") for value in row] for row in rows.tolist()]


def incremental(model, prompt, tokens):
    row, mems = run(model, prompt)
    rows = [row[-1]]
    for token in tokens:
        row, mems = run(model, [token], mems)
        rows.append(row[-1])
    return torch.stack(rows)


def greedy(model, prompt, count):
    row, mems = run(model, prompt)
    ids, margins = [], []
    for _ in range(count):
        best = torch.topk(row[-1], 2)
        ids.append(best.indices[0].item())
        margins.append((best.values[0] - best.values[1]).item())
        row, mems = run(model, ids[-1:], mems)
    assert min(margins) > 5e-3, margins
    return ids, margins


for name, fields in VARIANTS.items():
    config = TransfoXLConfig(**BASE, **fields)
    model = TransfoXLLMHeadModel(config).eval()
    fill(model, 5)
    model.tie_weights()
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    stored = {key: value.clone().contiguous() for key, value in model.state_dict().items()}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    text = json.dumps(dict(model_type="transfo-xl", **BASE, **fields), indent=1)
    (folder / "config.json").write_text(text + "\n")
    drawn = torch.randint(0, BASE["vocab_size"], (60,), generator=torch.Generator().manual_seed(4)).tolist()
    prompt, tokens = drawn[:15], drawn[15:28]
    rows, _ = run(model, drawn[28:])
    ids, margins = greedy(model, prompt, 12)
    cases = [
        dict(name="forward", kind="forward", inputs=dict(input_ids=[drawn[28:]]), outputs=dict(logits=[rounded(rows)])),
        dict(name="incremental", kind="incremental", inputs=dict(prompt_ids=prompt, tokens=tokens),
             outputs=dict(logits_after_prompt_then_each_token=rounded(incremental(model, prompt, tokens)))),
        dict(name="greedy", kind="greedy", inputs=dict(prompt_ids=prompt), outputs=dict(ids=ids, margins=margins)),
    ]
    if fields["same_length"]:
        segments, mems, outputs = [drawn[:25], drawn[25:28], drawn[28:29], drawn[29:45]], None, []
        for segment in segments:
            rows, mems = run(model, segment, mems)
            outputs.append(dict(log_probs=[rounded(rows)]))
        cases.append(dict(name="segments", kind="segments", inputs=dict(segments=segments), outputs=outputs))
    reference = f"TransfoXLLMHeadModel of transformers 4.57.6, torch {torch.__version__}, float32"
    text = json.dumps(dict(schema="golden/1", arch="transfo-xl", reference=reference, cases=cases))
    (folder / "expected.json").write_text(text + "\n")
