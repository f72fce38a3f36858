"""Makes tests/golden/settings: one tiny model with seeded random weights per architecture, and the logits that
the original implementation gives for it under many configurations. Needs torch and transformers; tests do not run it.

    python make_settings.py
"""

import json
import pathlib
import tempfile

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers import __version__ as version

HERE = pathlib.Path(__file__).parent / "settings"
TOKENS = 40
BASE = dict(vocab_size=37, hidden_size=16, intermediate_size=24, num_hidden_layers=4, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=64)
EXPERTS = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=8)
ARCHITECTURES = {
    "llama": {}, "mistral": {}, "mixtral": dict(num_local_experts=4),
    "olmoe": dict(num_experts=4, num_experts_per_tok=2, eos_token_id=2),
    "qwen2": {}, "qwen2_moe": dict(**EXPERTS, shared_expert_intermediate_size=12),
    "qwen3": dict(head_dim=8), "qwen3_moe": dict(**EXPERTS, head_dim=8),
}
# The models have these tensors; whether they are used is a setting.
BIASES = dict(llama=dict(attention_bias=True, mlp_bias=True), olmoe=dict(attention_bias=True),
              qwen3=dict(attention_bias=True), qwen3_moe=dict(attention_bias=True))

USED = dict(use_sliding_window=True, sliding_window=7)
MIXED = ["sliding_attention", "full_attention", "full_attention", "sliding_attention"]
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
LONG = dict(rope_type="longrope", short_factor=[1.1, 1.3, 1.7, 2.0], long_factor=[2.0, 3.0, 4.0, 5.0],
            original_max_position_embeddings=48)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
OTHER_BASE = dict(rope_type="default", rope_theta=500.0)
LINEAR = dict(rope_type="linear", factor=2.0)

CASES = [  # architecture, name, fields of config.json beside those of BASE
    *[(it, "nothing else", {}) for it in ARCHITECTURES],
    *[(it, name, fields) for it in ["qwen2", "qwen3"] for name, fields in {
        "window from a layer on": dict(**USED, max_window_layers=2),
        "window in all layers": dict(**USED, max_window_layers=0),
        "window in no layer by default": USED,
        "window of named layers": dict(**USED, layer_types=MIXED),
        "window not in use": dict(sliding_window=7, max_window_layers=0),
        "window null": dict(use_sliding_window=True, sliding_window=None, max_window_layers=0),
    }.items()],
    ("qwen2_moe", "window in even layers", dict(**USED, max_window_layers=3)),
    ("qwen2_moe", "window of named layers", dict(**USED, layer_types=MIXED)),
    ("qwen2_moe", "window not in use", dict(sliding_window=7)),
    ("qwen2_moe", "no biases", dict(qkv_bias=False)),
    ("qwen2_moe", "normalized", dict(norm_topk_prob=True)),
    ("qwen3_moe", "window in all layers", dict(**USED, max_window_layers=2)),
    ("qwen3_moe", "window not in use", dict(sliding_window=7)),
    ("qwen3_moe", "normalized", dict(norm_topk_prob=True)),
    ("mistral", "window", dict(sliding_window=7)),
    ("mistral", "window, switch of others", dict(sliding_window=7, use_sliding_window=False)),
    ("mistral", "window null", dict(sliding_window=None)),
    ("mixtral", "window", dict(sliding_window=7)),
    ("mixtral", "base given", dict(rope_theta=10000.0)),
    ("olmoe", "normalized", dict(norm_topk_prob=True)),
    ("llama", "window of others", dict(sliding_window=7)),
    ("llama", "swish", dict(hidden_act="swish")),
    ("llama", "biases", BIASES["llama"]),
    ("llama", "biases of attention", dict(attention_bias=True)),
    ("qwen3", "biases", BIASES["qwen3"]),
    ("olmoe", "biases", BIASES["olmoe"]),
    *[(it, name, fields) for it in ["llama", "qwen3"] for name, fields in {
        "linear": dict(rope_scaling=dict(type="linear", factor=3.0)),
        "dynamic": dict(rope_scaling=dict(rope_type="dynamic", factor=3.0)),
        "llama3": dict(rope_scaling=LLAMA3),
        "default with a factor": dict(rope_scaling=dict(rope_type="default", factor=2.0)),
        "yarn": dict(rope_scaling=YARN),
        "yarn, magnitudes": dict(rope_scaling=dict(**YARN, mscale=0.7, mscale_all_dim=1.3)),
        "yarn, one magnitude": dict(rope_scaling=dict(**YARN, mscale=0.7)),
        "yarn, not truncated": dict(rope_scaling=dict(**YARN, truncate=False, beta_fast=4.0, beta_slow=0.5)),
        "yarn, attention factor": dict(rope_scaling=dict(**YARN, attention_factor=1.7)),
        "yarn, no factor": dict(rope_scaling=dict(YARN, factor=None)),
        "yarn, no original length": dict(rope_scaling=dict(rope_type="yarn", factor=4.0)),
        "yarn, original length outside": dict(rope_scaling=dict(YARN, original_max_position_embeddings=8),
                                              original_max_position_embeddings=16),
        "longrope": dict(rope_scaling=LONG),
        "longrope, factor": dict(rope_scaling=dict(**LONG, factor=8.0)),
        "longrope, attention factor": dict(rope_scaling=dict(**LONG, attention_factor=1.5)),
        "two ropes": dict(rope_scaling=LINEAR, rope_parameters=OTHER_BASE),
        "two ropes, base outside": dict(rope_scaling=LINEAR, rope_parameters=OTHER_BASE, rope_theta=700.0),
        "an empty rope and one": dict(rope_scaling={}, rope_parameters=OTHER_BASE),
        "rope parameters, base outside": dict(rope_parameters=LINEAR, rope_theta=700.0),
    }.items()],
]


def config_of(architecture, fields):
    return dict(model_type=architecture, **BASE) | ARCHITECTURES[architecture] | fields


def load(folder, config):
    (folder / "config.json").write_text(json.dumps(config))
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").eval()


HERE.mkdir(exist_ok=True)
cases = []
with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for architecture in ARCHITECTURES:
        torch.manual_seed(1)
        (folder / "config.json").write_text(json.dumps(config_of(architecture, BIASES.get(architecture, {}))))
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
        for parameter_name, weight in model.named_parameters():
            is_vector = weight.dim() == 1
            noise = torch.randn_like(weight)
            weight.data = noise * 0.2 + ("norm" in parameter_name) if is_vector else noise * 0.4
        model.save_pretrained(folder)
        (HERE / f"{architecture}.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
        torch.manual_seed(2)
        ids = torch.randint(0, BASE["vocab_size"], (1, TOKENS))
        for of, name, fields in CASES:
            if of != architecture:
                continue
            config = config_of(architecture, fields)
            with torch.no_grad():
                rows = load(folder, config)(ids).logits[0]
            logits = {i: [float(f"{value:.6g}") for value in rows[i].tolist()] for i in (5, 20, TOKENS - 1)}
            cases.append(dict(architecture=architecture, name=name, config=config, logits=logits))
reference = f"transformers {version}, torch {torch.__version__}, float32, eager attention"
text = ",\n".join(json.dumps(case) for case in cases)
(HERE / "cases.json").write_text(f'{{"reference": "{reference}", "ids": {ids[0].tolist()}, "cases": [\n{text}\n]}}\n')
