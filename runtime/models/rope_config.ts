/**
 * How model files name the scaling of rotary positions: `rope_parameters` and `rope_scaling` of
 * `config.json`, and `rope.…` in GGUF metadata.
 *
 * Source: `modeling_rope_utils.py` of Transformers 5; `llama_model_base::load_hparams` and
 * `llama_context` of llama.cpp.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ConfigReader } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { RopeScaling } from "./rope.ts";

/** Rotary positions as a configuration names them. */
export interface RopeConfig {
  /** Base of the frequencies. */
  readonly theta: number;
  /** Scaling of the frequencies, if any. */
  readonly scaling?: RopeScaling;
  /** Factor of cosines and sines; 1 where absent. */
  readonly amplitude?: number;
  /** Part of each head that rotates, from its beginning; all of it where absent. */
  readonly part?: number;
  /** Positions up to which this holds, and the scheme that goes on otherwise. */
  readonly limit?: { readonly positions: number; readonly type: string };
}

/** Fields of `rope_parameters` in Transformers; each scheme reads some of them. */
const JSON_FIELDS = [
  ...["rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings"],
  ...["attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"],
  ...["short_factor", "long_factor", "low_freq_factor", "high_freq_factor", "finetuned"],
];

/**
 * Reads the rope of a `config.json`; `theta` is the architecture's own base, `maxPositions` its limit.
 * `part` is
 * that of each head which rotates in it; where absent, all of a head does, and nothing else is taken.
 *
 * @throws ModelError naming a scheme or field that is not supported
 */
export function ropeFromJson(
  file: ModelFile,
  config: ConfigReader,
  theta: number,
  maxPositions: number,
  part?: number,
): RopeConfig {
  // Where a file has both, the older name stands before the newer one.
  const older = config.get("rope_scaling");
  const isOlder = older !== undefined && !(typeof older === "object" && isEmpty(older!));
  const name = isOlder ? "rope_scaling" : "rope_parameters";
  const rope = config.fields(name);
  const refuse = (field: string, expected: string): never => {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field ${quote(`${name}.${field}`)} is ` +
        `${quote(rope.get(field), 60)}, expected ${expected}`,
    );
  };
  for (const [field, value] of Object.entries(config.get(name) ?? {})) {
    if (JSON_FIELDS.includes(field) || value === null) continue;
    if (field === "partial_rotary_factor" && (part !== undefined || value === 1)) {
      continue;
    }
    refuse(field, field === "partial_rotary_factor" ? "1" : "no such field");
  }
  const type = rope.text("rope_type", rope.text("type", "default"));
  if (!rope.has("rope_type") && !rope.has("type") && rope.number("factor", 1) !== 1) {
    refuse("factor", "a rope_type that says what it is the factor of");
  }
  const base = {
    theta: rope.number("rope_theta", config.number("rope_theta", theta)),
    ...(part !== undefined && { part: rope.number("partial_rotary_factor", part) }),
  };
  /** Positions of the training before it was extended. */
  const original = (): number =>
    config.count(
      "original_max_position_embeddings",
      rope.count("original_max_position_embeddings", maxPositions),
    );
  switch (type) {
    case "default":
      return base;
    case "linear":
      return { ...base, scaling: { type, factor: rope.number("factor") } };
    case "dynamic": // Within the context of the training it is the default.
      rope.number("factor");
      return { ...base, limit: { positions: maxPositions, type } };
    case "llama3":
      return {
        ...base,
        scaling: {
          type,
          factor: rope.number("factor"),
          lowFreqFactor: rope.number("low_freq_factor"),
          highFreqFactor: rope.number("high_freq_factor"),
          originalPositions: original(),
        },
      };
    case "yarn": {
      const originalPositions = original();
      const hasLength = [config, rope].some((it) => it.has("original_max_position_embeddings"));
      const ratio = hasLength ? maxPositions / originalPositions : undefined;
      const factor = rope.number("factor", ratio);
      const [mscale, allDim] = [rope.number("mscale", 0), rope.number("mscale_all_dim", 0)];
      const own = mscale && allDim
        ? magnitude(factor, mscale) / magnitude(factor, allDim)
        : magnitude(factor);
      return {
        ...base,
        amplitude: rope.number("attention_factor", own),
        scaling: {
          type,
          factor,
          originalPositions,
          betaFast: rope.number("beta_fast", 32) || 32,
          betaSlow: rope.number("beta_slow", 1) || 1,
          truncate: rope.flag("truncate", true),
        },
      };
    }
    case "longrope": {
      const positions = original();
      const factor = rope.number("factor", maxPositions / positions);
      const own = factor > 1 ? Math.sqrt(1 + Math.log(factor) / Math.log(positions)) : 1;
      const short = rope.get("short_factor");
      if (!Array.isArray(short) || !short.every((it) => typeof it === "number" && it > 0)) {
        return refuse("short_factor", "a list of positive numbers");
      }
      return {
        ...base,
        amplitude: rope.number("attention_factor", own),
        scaling: { type, factors: short },
        limit: { positions, type },
      };
    }
  }
  return refuse(
    rope.has("rope_type") ? "rope_type" : "type",
    "default, linear, dynamic, llama3, yarn or longrope",
  );
}

/**
 * Reads the rope of GGUF metadata; `maxPositions` is the model's limit.
 *
 * @throws ModelError naming a scheme that is not supported
 */
export function ropeFromGguf(
  file: ModelFile,
  config: ConfigReader,
  maxPositions: number,
): RopeConfig {
  const type = config.text("rope.scaling.type", "linear");
  // A factor of 0 says that there is none; files of 2023 have it by another name.
  const named = config.number("rope.scaling.factor", config.number("rope.scale_linear", 0));
  const factor = named || 1;
  const theta = config.number("rope.freq_base", 10000);
  const amplitude = config.number("rope.scaling.attn_factor", 1);
  const originalPositions = config.count("rope.scaling.original_context_length", maxPositions);
  switch (type) {
    case "none":
      return { theta, amplitude };
    case "linear":
      return { theta, amplitude, ...(factor === 1 ? {} : { scaling: { type, factor } }) };
    case "longrope": // the divisors of the frequencies are tensors
      return { theta, amplitude, scaling: { type, factor, originalPositions } };
    case "yarn":
      return {
        theta,
        amplitude: amplitude * magnitude(factor),
        scaling: { type, factor, originalPositions, betaFast: 32, betaSlow: 1, truncate: true },
      };
  }
  throw new ModelError(
    `Cannot load ${quote(file.name)}: field "rope.scaling.type" is ${
      quote(type)
    }, expected none, ` +
      `linear, yarn or longrope`,
  );
}

/** Throws where a scheme of rotary positions would go on differently at some length. */
export function checkLimit({ name }: ModelFile, { limit }: RopeConfig, context: number): void {
  if (!limit || context <= limit.positions) return;
  throw new ModelError(
    `Cannot load ${quote(name)} with contextLength ${context}: rope type ` +
      `${quote(limit.type)} is supported up to ${limit.positions} positions; use a shorter one`,
  );
}

function isEmpty(value: object): boolean {
  return Object.keys(value).length === 0;
}

/** How much YaRN lengthens queries and keys together (arXiv:2309.00071, section 3.4). */
function magnitude(factor: number, weight = 1): number {
  return factor > 1 ? 0.1 * weight * Math.log(factor) + 1 : 1;
}
