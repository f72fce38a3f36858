/**
 * Rotary positions as GGUF files have them: fields for what llama.cpp computes itself, tensors of
 * divisors for what it does not.
 *
 * Source: `llama_model_base::load_hparams` and `llama_context` of llama.cpp.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readConfig } from "../../runtime/files/config.ts";
import type { ModelFile } from "../../runtime/files/model_file.ts";
import type { LlamaConfig } from "../../runtime/models/llama_config.ts";
import { ropeFrequencies } from "../../runtime/models/rope.ts";
import { f32, type Fields, text, u32 } from "./fields.ts";

/** Rotary positions in a GGUF file. */
export interface GgufRope {
  /** Fields behind the architecture's name. */
  readonly fields: Fields;
  /** Tensors of divisors `[rotaryDim / 2]` by name. */
  readonly tensors: Readonly<Record<string, Float32Array>>;
  /** What the file cannot say, as sentences. */
  readonly notes: readonly string[];
}

/**
 * Rotary positions of a folder's model.
 *
 * @throws ModelError for a scheme that GGUF files cannot name
 */
export function ropeOf(config: LlamaConfig, file: ModelFile): GgufRope {
  const { rotaryDim, rope: { theta, scaling, amplitude, limit } } = config;
  const fields: Fields = { "rope.dimension_count": u32(rotaryDim), "rope.freq_base": f32(theta) };
  const done = (more: Fields = {}, parts: Partial<GgufRope> = {}): GgufRope => {
    return { tensors: {}, notes: [], ...parts, fields: { ...fields, ...more } };
  };
  switch (scaling?.type) {
    case undefined:
      return done({}, {
        notes: limit
          ? [
            `rope type ${quote(limit.type)} has no place in GGUF: the model is right up to ` +
            `${limit.positions} positions, which the file says is its limit`,
          ]
          : [],
      });
    case "linear":
      return done({
        "rope.scaling.type": text("linear"),
        "rope.scaling.factor": f32(scaling.factor),
      });
    case "llama3": {
      const plain = ropeFrequencies({ rotaryDim, theta });
      const scaled = ropeFrequencies({ rotaryDim, theta, scaling });
      const divisors = Float32Array.from(plain, (it, i) => it / scaled[i]!);
      return done({}, { tensors: { "rope_freqs.weight": divisors } });
    }
    case "yarn": {
      const { factor, originalPositions, betaFast, betaSlow, truncate } = scaling;
      if (betaFast !== 32 || betaSlow !== 1 || !truncate) {
        throw new ModelError(
          `Cannot convert ${quote(file.name)}: rope type "yarn" with beta_fast ${betaFast}, ` +
            `beta_slow ${betaSlow}${
              truncate ? "" : " and no truncation"
            }, expected 32 and 1, which ` +
            `is all that GGUF files are read with; use the model as it is`,
        );
      }
      const own = factor > 1 ? 0.1 * Math.log(factor) + 1 : 1, rest = (amplitude ?? 1) / own;
      return done({
        "rope.scaling.type": text("yarn"),
        "rope.scaling.factor": f32(factor),
        "rope.scaling.original_context_length": u32(originalPositions),
        ...(Math.abs(rest - 1) > 1e-6 && { "rope.scaling.attn_factor": f32(rest) }),
      });
    }
    case "longrope":
      return longRope(config, file, done);
  }
}

/** Divisors for short and for long contexts, of which llama.cpp chooses. */
function longRope(
  { rotaryDim, rope: { scaling, amplitude = 1, limit } }: LlamaConfig,
  file: ModelFile,
  done: (fields: Fields, parts: Partial<GgufRope>) => GgufRope,
): GgufRope {
  const config = readConfig(file);
  const rope = config.fields(config.has("rope_scaling") ? "rope_scaling" : "rope_parameters");
  const long = rope.get("long_factor"), short = (scaling as { factors: readonly number[] }).factors;
  const isList = Array.isArray(long) && long.every((it) => typeof it === "number" && it > 0);
  if (!isList || long.length !== rotaryDim / 2 || short.length !== rotaryDim / 2) {
    throw new ModelError(
      `Cannot convert ${quote(file.name)}: field "long_factor" of its rope is ${
        quote(long, 60)
      }, ` +
        `expected ${rotaryDim / 2} positive numbers, as short_factor has`,
    );
  }
  return done({
    "rope.scaling.type": text("longrope"),
    "rope.scaling.original_context_length": u32(limit!.positions),
    "rope.scaling.attn_factor": f32(amplitude),
    context_length: u32(config.count("max_position_embeddings", limit!.positions)),
  }, {
    tensors: {
      "rope_factors_long.weight": Float32Array.from(long),
      "rope_factors_short.weight": Float32Array.from(short),
    },
  });
}
