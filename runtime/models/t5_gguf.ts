/**
 * T5 and its kin in GGUF files, as llama.cpp's converter writes them: T5, Flan-T5, mT5 and UMT5 under the
 * name `t5`, encoders alone under `t5encoder`.
 *
 * @module
 */

import type { ModelFile } from "../files/model_file.ts";
import type { Warn } from "./fields.ts";
import { readGgufSizes } from "./gguf_config.ts";
import { checkStack, type StackConfig } from "./t5_stack.ts";

/** The files do not name the distance from which on all are in the last bucket; llama.cpp has this. */
const MAX_DISTANCE = 128;

/**
 * Reads the configuration of a GGUF model.
 *
 * @throws ModelError naming the field that is missing or not supported
 */
export function t5FromGguf(file: ModelFile, warn: Warn): StackConfig & { gated: boolean } {
  const isEncoder = file.metadata["general.architecture"] === "t5encoder";
  const { fields, sizes } = readGgufSizes(file, {
    read: [
      ...["attention.layer_norm_rms_epsilon", "attention.relative_buckets_count"],
      ...(isEncoder ? [] : ["decoder_start_token_id", "decoder_block_count"]),
    ],
    harmless: ["attention.layer_norm_epsilon"],
    // An encoder sees everything; what goes for the decoder is no setting.
    neutral: { "attention.causal": isEncoder ? [false] : [] },
    scale: () => 1,
    freeHeads: true,
  }, warn);
  const decoderLayers = isEncoder ? 0 : fields.count("decoder_block_count", sizes.layers);
  const padding = file.metadata["tokenizer.ggml.padding_token_id"];
  return checkStack(file, {
    ...sizes,
    layers: sizes.layers + decoderLayers,
    encoderLayers: sizes.layers,
    decoderLayers,
    rmsNormEps: fields.epsilon("attention.layer_norm_rms_epsilon"),
    buckets: fields.count("attention.relative_buckets_count"),
    maxDistance: MAX_DISTANCE,
    startId: fields.whole("decoder_start_token_id", typeof padding === "number" ? padding : 0),
    gated: file.tensors.has("enc.blk.0.ffn_gate.weight"),
  });
}
