"""Checkpoint to GGUF: Q4_0 matrices, a Q8_0 embedding (tied to the output), F32 norms, the tokenizer in metadata.

    python export.py WORK OUT.gguf [--run default] [--f32]

The rows of q and k are permuted from half-and-half to interleaved rotary pairs, which is what llama-architecture
GGUF files hold. --f32 writes the same model unrounded, for comparison.
"""

import argparse
import json
import pathlib

import gguf
import numpy as np
import torch

from model import Config
from train import END


def pack_q4_0(values):
    """[rows, cols] float32 → [rows, cols / 32 * 18] bytes: half d, 16 bytes of nibbles (low: 0..15, high: 16..31)."""
    block = values.reshape(-1, 32).astype(np.float32)
    top = np.take_along_axis(block, np.abs(block).argmax(1)[:, None], 1)
    d = (top / np.float32(-8)).astype(np.float32)
    with np.errstate(divide="ignore"):
        inverse = np.where(d == 0, 0, 1 / d).astype(np.float32)
    q = np.clip(np.floor(block * inverse + np.float32(8.5)), 0, 15).astype(np.uint8)
    packed = np.concatenate((d.astype(np.float16).view(np.uint8), q[:, :16] | q[:, 16:] << 4), 1)
    return packed.reshape(values.shape[0], -1)


def pack_q8_0(values):
    """[rows, cols] float32 → [rows, cols / 32 * 34] bytes: half d, 32 signed bytes."""
    block = values.reshape(-1, 32).astype(np.float32)
    d = np.abs(block).max(1, keepdims=True) / np.float32(127)
    with np.errstate(divide="ignore"):
        inverse = np.where(d == 0, 0, 1 / d).astype(np.float32)
    q = np.round(block * inverse).astype(np.int8)
    packed = np.concatenate((d.astype(np.float16).view(np.uint8), q.view(np.uint8)), 1)
    return packed.reshape(values.shape[0], -1)


def interleave(values, heads):
    """Rows (first half, second half) of each head → (pair 0, pair 1, …)."""
    rows, cols = values.shape
    return values.reshape(heads, 2, rows // heads // 2, cols).swapaxes(1, 2).reshape(rows, cols)


def write(path, config, state, tokenizer, card, f32=False):
    c = config
    out = gguf.GGUFWriter(path, "llama")
    out.add_name("Sparrow default")
    out.add_description("Small bilingual model: classical Chinese poetry and English prose")
    out.add_license("MIT")
    out.add_languages(["zh", "en"])
    out.add_tags(["text-generation", "poetry"])
    for key, value in card.items():
        (out.add_uint64 if isinstance(value, int) else out.add_string)(f"sparrow.{key}", value)
    out.add_file_type(gguf.LlamaFileType.ALL_F32 if f32 else gguf.LlamaFileType.MOSTLY_Q4_0)
    out.add_quantization_version(gguf.GGML_QUANT_VERSION)
    out.add_context_length(c.context)
    out.add_embedding_length(c.dim)
    out.add_block_count(c.layers)
    out.add_feed_forward_length(c.ffn)
    out.add_head_count(c.heads)
    out.add_head_count_kv(c.kv_heads)
    out.add_key_length(c.head_dim)
    out.add_value_length(c.head_dim)
    out.add_rope_dimension_count(c.head_dim)
    out.add_rope_freq_base(c.rope_theta)
    out.add_layer_norm_rms_eps(c.eps)
    out.add_vocab_size(c.vocab)

    spec = json.loads(tokenizer.read_text())["model"]
    tokens = sorted(spec["vocab"], key=spec["vocab"].get)
    tokens += [f"<|unused{i}|>" for i in range(len(tokens), c.vocab)]
    control, normal, unused = (gguf.TokenType.CONTROL, gguf.TokenType.NORMAL, gguf.TokenType.UNUSED)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    out.add_token_types([control if i == END else unused if t.startswith("<|unused") else normal
                         for i, t in enumerate(tokens)])
    out.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in spec["merges"]])
    out.add_bos_token_id(END)
    out.add_eos_token_id(END)
    out.add_add_bos_token(True)

    for name, tensor in state.items():
        values = tensor.float().numpy()
        name = name if name.endswith(".weight") else name + ".weight"
        if values.ndim == 1:
            out.add_tensor(name, values)
            continue
        if ".attn_q." in name or ".attn_k." in name:
            values = interleave(values, c.heads if ".attn_q." in name else c.kv_heads)
        if f32:
            out.add_tensor(name, np.ascontiguousarray(values))
        elif name == "token_embd.weight":
            out.add_tensor(name, pack_q8_0(values), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            out.add_tensor(name, pack_q4_0(values), raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("work", type=pathlib.Path)
    p.add_argument("out")
    p.add_argument("--run", default="default")
    p.add_argument("--f32", action="store_true")
    args = p.parse_args()
    saved = torch.load(args.work / "runs" / args.run / "checkpoint.pt", map_location="cpu", weights_only=False)
    if not saved["quantized"]:
        print("note: this checkpoint is from before the phase with rounded weights")
    card = {"training.tokens": saved["seen"], "training.steps": saved["step"], "training.config": saved["args"]["config"],
            "training.data": "chinese-poetry 2.0.1, Moby-Dick, Jane Austen, King James Bible, State of the Union, WordNet"}
    write(args.out, Config(**saved["config"]), saved["model"], args.work / "data" / "tokenizer.json", card, args.f32)
    print(f"{args.out}: {pathlib.Path(args.out).stat().st_size} bytes, {saved['seen']} tokens seen")


if __name__ == "__main__":
    main()
