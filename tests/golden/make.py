"""Makes the golden models of this folder: tiny llama-family models with seeded random weights, and the
logits that the original implementations give. Needs torch and transformers; tests do not run it.

    python make.py [NAME …]
"""

import json
import pathlib
import sys

import torch
from transformers import Glm4Config, Glm4ForCausalLM, GlmConfig, GlmForCausalLM
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from transformers import MixtralConfig, MixtralForCausalLM, OlmoeConfig, OlmoeForCausalLM
from transformers import OPTConfig, OPTForCausalLM
from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM
from transformers import __version__ as version

HERE = pathlib.Path(__file__).parent
BASE = dict(vocab_size=67, hidden_size=36, intermediate_size=50, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=3, max_position_embeddings=64, initializer_range=0.3, attn_implementation="eager",
            experts_implementation="eager")
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, rope_theta=10000.0)
LINEAR = dict(rope_type="linear", factor=3.0, rope_theta=10000.0)

OPT = dict(vocab_size=67, hidden_size=36, ffn_dim=50, num_hidden_layers=2, num_attention_heads=6,
           max_position_embeddings=64, init_std=0.3, attn_implementation="eager")

# Half of each head rotates, in pairs of neighbours.
GLM = BASE | dict(head_dim=12, pad_token_id=0, eos_token_id=1, rms_norm_eps=1.5625e-07)

MODELS = {
    "glm": (GlmForCausalLM, GlmConfig(**GLM, rope_parameters=dict(rope_type="default", rope_theta=50000.0))),
    "glm4": (Glm4ForCausalLM, Glm4Config(**GLM | dict(num_key_value_heads=2), rope_parameters=YARN,
                                         attention_bias=False, tie_word_embeddings=True)),
    "llama-bias": (LlamaForCausalLM, LlamaConfig(**BASE, attention_bias=True, mlp_bias=True)),
    "llama-yarn": (LlamaForCausalLM, LlamaConfig(**BASE, rope_scaling=YARN)),
    "llama-linear": (LlamaForCausalLM, LlamaConfig(**BASE, rope_scaling=LINEAR)),
    "mistral-window": (MistralForCausalLM, MistralConfig(**BASE, sliding_window=7, head_dim=10)),
    "mixtral-narrow": (MixtralForCausalLM, MixtralConfig(**BASE | dict(intermediate_size=22), num_local_experts=5)),
    # Experts in every other layer, beside one that is shared.
    "qwen2-moe-step": (Qwen2MoeForCausalLM, Qwen2MoeConfig(
        **BASE, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=20,
        shared_expert_intermediate_size=28, decoder_sparse_step=2)),
    # Matrices of whole groups of 16 rows, and a layer without experts.
    "qwen3-moe-dense": (Qwen3MoeForCausalLM, Qwen3MoeConfig(
        **BASE | dict(hidden_size=48), head_dim=8, num_experts=7, num_experts_per_tok=2,
        moe_intermediate_size=16, norm_topk_prob=True, mlp_only_layers=[0])),
    # Words that are narrower than the layers, and norms behind the blocks, as the model of 350M has them.
    "opt-narrow": (OPTForCausalLM, OPTConfig(**OPT, word_embed_proj_dim=20, do_layer_norm_before=False)),
    # As Galactica.
    "opt-plain": (OPTForCausalLM, OPTConfig(**OPT, enable_bias=False, activation_function="gelu",
                                            layer_norm_elementwise_affine=False, tie_word_embeddings=False)),
    "opt": (OPTForCausalLM, OPTConfig(**OPT)),
    "olmoe": (OlmoeForCausalLM, OlmoeConfig(
        **BASE | dict(intermediate_size=18), eos_token_id=2, num_experts=4, num_experts_per_tok=2)),
}


def rounded(row):
    return [float(f"{value:.7g}") for value in row.tolist()]


for name in sys.argv[1:] or MODELS:
    kind, config = MODELS[name]
    torch.manual_seed(1)
    model = kind(config).eval()
    for weight_name, weight in model.named_parameters():
        if "norm" in weight_name or "bias" in weight_name:
            weight.data.add_(torch.randn_like(weight) * 0.2)
    model.save_pretrained(HERE / name)
    (HERE / name / "generation_config.json").unlink(missing_ok=True)
    ids = torch.randint(0, BASE["vocab_size"], (1, 24))
    greedy = ids[:, :6]
    with torch.no_grad():
        logits = model(ids).logits[0]
        for _ in range(12):
            greedy = torch.cat([greedy, model(greedy).logits[:, -1:].argmax(-1)], 1)
    cases = [
        {"name": "forward", "kind": "forward", "inputs": {"input_ids": ids.tolist()},
         "outputs": {"logits": [[rounded(row) for row in logits]]}},
        {"name": "incremental", "kind": "incremental",
         "inputs": {"prompt_ids": ids[0, :9].tolist(), "tokens": ids[0, 9:].tolist()},
         "outputs": {"logits_after_prompt_then_each_token": [rounded(row) for row in logits[8:]]}},
        {"name": "greedy", "kind": "greedy", "inputs": {"prompt_ids": ids[0, :6].tolist()},
         "outputs": {"ids": greedy[0, 6:].tolist()}},
    ]
    reference = f"transformers {version}, torch {torch.__version__}, float32, eager attention"
    text = json.dumps({"schema": "golden/1", "arch": name, "reference": reference, "cases": cases})
    (HERE / name / "expected.json").write_text(text + "\n")
