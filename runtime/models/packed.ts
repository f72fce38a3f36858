/**
 * Tensors that change what a checkpoint's other tensors mean, or hold several weights in one. They
 * cannot be read yet, and are refused by name: without that, a model would seem to lack tensors, or
 * would run with wrong numbers.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ModelFile } from "../files/model_file.ts";

/** What names of tensors tell; a `fused` kind is read by some families. */
const KINDS: readonly (readonly [name: RegExp, kind: string, which?: "fused"])[] = [
  // What config.json says of these is read before (quantized.ts).
  [/\.(qweight|qzeros|g_idx)$/, "parts of GPTQ or AWQ without a matrix that config.json tells of"],
  [
    /\.(weight_packed|weight_shape)$/,
    "parts of compressed-tensors without a matrix that config.json tells of",
  ],
  [/\.(weight_scale|weight_scale_inv|input_scale|weight_zero_point)$/, "weights with scales (FP8)"],
  [
    /\.(SCB|weight_format)$|\.weight\.(absmax|quant_map|nested_|quant_state)/,
    "weights quantized by bitsandbytes",
  ],
  [/\.scales$/, "weights quantized in groups, as MLX does"],
  [/\.experts\.(gate_up_proj|down_proj)(\.weight)?$/, "experts fused into one tensor"],
  [
    /(^|\.)(attn_qkv|qkv_proj|Wqkv)\.weight$/,
    "queries, keys and values fused into one tensor",
    "fused",
  ],
  [
    /\.(mlp\.gate_up_proj|ffn_gate_up|ffn_gate_up_exps)\.weight$/,
    "gate and up fused into one tensor",
  ],
  [/\.(lora_A|lora_B|lora_a|lora_b)(\.|$)/, "an adapter (LoRA) that is not merged"],
  [/^(blk\.\d+\.\w+|output)\.(scale|input_scale)$/, "weights with scales beside them"],
];

/**
 * Checks the names of a file's tensors, but for kinds that the family `reads`.
 *
 * @throws ModelError naming the first tensor that is of such a kind
 */
export function refusePacked(file: ModelFile, reads: readonly "fused"[] = []): void {
  const kinds = KINDS.filter(([, , which]) => !which || !reads.includes(which));
  for (const name of file.tensors.keys()) {
    const kind = kinds.find(([pattern]) => pattern.test(name))?.[1];
    if (!kind) continue;
    throw new ModelError(
      `Cannot load ${quote(file.name)}: it has ${kind} (tensor ${quote(name)}), which is not ` +
        `supported; use the model before that, or as a GGUF file`,
    );
  }
}
