"""Makes tests/golden/glm-130b: a tiny GLM-130B with seeded random weights, divided among two processes as the
published checkpoint is among eight, and the logits that the released modules give. Needs torch, transformers, and
the sources of THUDM/SwissArmyTransformer in the Python path; tests do not run it.

    PYTHONPATH=SwissArmyTransformer python make_glm130b.py COMMIT
"""

import argparse
import importlib
import json
import os
import pathlib
import sys
from unittest.mock import MagicMock

import torch
import transformers  # noqa: F401  before the stand-ins below

HERE = pathlib.Path(__file__).parent / "glm-130b"
# What the modules import and these models do not use.
UNUSED = """deepspeed deepspeed.runtime deepspeed.runtime.activation_checkpointing
deepspeed.runtime.activation_checkpointing.checkpointing boto3 webdataset datasets einops tensorboardX braceexpand icetk cpm_kernels requests PIL PIL.Image
filelock nltk urllib3 triton triton.language wandb torchvision scipy xformers botocore tqdm""".split()
for name in UNUSED:
    try:
        importlib.import_module(name)
    except ImportError:
        sys.modules[name] = MagicMock(__path__=[], __spec__=None)

# The modules are written for GPUs and 16 bits; here they run on the processor, in 32.
torch.cuda.current_device = lambda: torch.device("cpu")
torch.Tensor.half = lambda self: self
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29777", RANK="0", WORLD_SIZE="1", LOCAL_RANK="0",
                  LOCAL_WORLD_SIZE="1")
torch.distributed.init_process_group("gloo", rank=0, world_size=1)

from SwissArmyTransformer import mpu  # noqa: E402
from SwissArmyTransformer.model.official.glm130B_model import GLM130B  # noqa: E402

mpu.initialize_model_parallel(1)

EXTENTS = dict(num_layers=2, vocab_size=60, hidden_size=48, inner_hidden_size=40, num_attention_heads=4,
               max_sequence_length=64, layernorm_order="post")
MASK, GMASK, SMASK, SOP, EOP = 50, 51, 52, 54, 55
RANKS = 2

torch.manual_seed(3)
model = GLM130B(argparse.Namespace(**EXTENTS, model_parallel_size=1, fp16=False, skip_init=False,
                                   position_encoding_2d=False, no_glu=False, mode="inference",
                                   hidden_dropout=0.0, attention_dropout=0.0, checkpoint_activations=False,
                                   checkpoint_num_layers=1, use_gpu_initialization=False, hidden_size_per_attention_head=None)).eval()
for name, weight in model.named_parameters():
    is_norm = "layernorm.weight" in name
    scale = 1.0 if "word_embeddings" in name else 0.25
    weight.data = (torch.randn_like(weight) * scale + (1 if is_norm else 0)).to(torch.float16).float()
# The modules of the time of the release keep the frequencies in 16 bits.
rotary = model.mixins["rotary-embedding"].rotary_emb
rotary.inv_freq = rotary.inv_freq.to(torch.float16).float()


def logits_of(ids):
    """All rows: what comes before the start token is seen by all, and an answer has the positions of its mask."""
    prefix, count = ids.index(SOP), len(ids)
    short = next((it for it in [MASK, SMASK] if it in ids[:prefix]), None)
    mask = torch.ones(1, 1, count, count).tril()
    mask[..., :prefix] = 1
    positions = torch.arange(count)
    if short is not None:
        positions[prefix:] = ids.index(short)
    with torch.no_grad():
        return model(torch.tensor([ids]), positions[None], mask < 0.5)[0].reshape(count, -1)


def rounded(row):
    return [float(f"{value:.7g}") for value in row.tolist()]


text = torch.randint(0, 48, (40,)).tolist()
PROMPTS = {
    "long blank": [*text[:9], GMASK, SOP],
    "short blank": [*text[:4], MASK, *text[4:11], SOP],
    "sentence": [*text[:6], SMASK, text[6], SOP],
    "long and short blank": [*text[:3], MASK, *text[3:6], GMASK, SOP],
}
cases = []
for name, prompt in PROMPTS.items():
    answer = text[20:32]
    rows = logits_of(prompt + answer)
    cases.append({"name": name, "kind": "forward", "inputs": {"input_ids": [prompt + answer]},
                  "outputs": {"logits": [[rounded(row) for row in rows]]}})
    cases.append({"name": name, "kind": "incremental", "inputs": {"prompt_ids": prompt, "tokens": answer},
                  "outputs": {"logits_after_prompt_then_each_token": [rounded(row) for row in rows[len(prompt) - 1:]]}})
    ids, margins = list(prompt), []
    for _ in range(12):
        best = logits_of(ids)[-1].topk(2)
        margins.append(float(f"{(best.values[0] - best.values[1]).item():.4g}"))
        ids.append(best.indices[0].item())
    cases.append({"name": name, "kind": "greedy", "inputs": {"prompt_ids": prompt},
                  "outputs": {"ids": ids[len(prompt):], "margins": margins}})
    print(name, min(margins), ids[len(prompt):])

# Parts as the released conversion makes them.
COPIED = ("layernorm.weight", "layernorm.bias", "dense.bias", "dense_4h_to_h.bias")
for rank in range(RANKS):
    state = {}
    for name, weight in model.state_dict().items():
        if name.startswith("mixins."):
            continue
        parts = weight if name.endswith(COPIED) else None
        if parts is None and name.endswith(("attention.dense.weight", "dense_4h_to_h.weight")):
            parts = weight.chunk(RANKS, dim=1)[rank]
        elif parts is None and "dense_h_to_4h" in name:
            chunks = weight.chunk(2 * RANKS)
            parts = torch.cat([chunks[rank], chunks[RANKS + rank]])
        elif parts is None:
            parts = weight.chunk(RANKS)[rank]
        state[name] = parts.to(torch.float16).clone()
    for layer in range(EXTENTS["num_layers"]):
        state[f"transformer.layers.{layer}.attention.rotary_emb.inv_freq"] = rotary.inv_freq.to(torch.float16)
    (HERE / "100").mkdir(parents=True, exist_ok=True)
    torch.save({"module": state}, HERE / "100" / f"mp_rank_{rank:02}_model_states.pt")
(HERE / "latest").write_text("100")
config = dict(model_type="glm-130b", **EXTENTS, model_parallel_size=RANKS, tokenizer_type="icetk-glm-130B",
              mask_token_id=MASK, gmask_token_id=GMASK, smask_token_id=SMASK, bos_token_id=SOP, eos_token_id=EOP)
(HERE / "config.json").write_text(json.dumps(config, indent=2) + "\n")
reference = f"GLM130B of THUDM/SwissArmyTransformer@{sys.argv[1]}, torch {torch.__version__}, float32"
text = json.dumps({"schema": "golden/1", "arch": "glm-130b", "reference": reference, "cases": cases})
(HERE / "expected.json").write_text(text + "\n")
