/**
 * What `quantization_config` of a checkpoint says: the fields of GPTQ, AWQ and compressed-tensors, which
 * of them change what codes mean, and which values can be honoured.
 *
 * Source: the configuration classes of AutoGPTQ, GPTQModel, AutoAWQ, compressed-tensors and Transformers.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ConfigReader } from "../files/config.ts";
import type { GptqSettings } from "../files/gptq.ts";
import { isObject } from "../files/json.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { PackedSettings } from "../files/packed_parts.ts";
import { checkFields, type FieldRules, type Warn } from "./fields.ts";

/** How the model was quantized, and which program may run it: nothing of what its numbers mean. */
const MAKING: readonly string[] = [
  ...["act_group_aware", "auto_round_version", "backend", "batch_size", "block_name_to_quantize"],
  ...["cache_block_outputs", "damp_auto_increment", "damp_percent", "dataset", "desc_act"],
  ...[
    "disable_exllama",
    "do_fuse",
    "exllama_config",
    "fuse_max_seq_len",
    "lm_head",
    "meta",
    "method",
  ],
  ...["max_input_length", "model_file_base_name", "model_name_or_path", "model_seqlen"],
  ...["module_name_preceding_first_block", "modules_in_block_to_quantize", "modules_to_fuse"],
  ...["modules_to_not_convert", "mse", "pad_token_id", "static_groups", "tokenizer"],
  ...["true_sequential", "use_cuda_fp16", "use_exllama", "hyb_act", "offload_to_disk", "iters"],
];

const GPTQ: FieldRules = {
  read: [
    ...["quant_method", "bits", "group_size", "sym", "checkpoint_format", "format", "dynamic"],
  ],
  harmless: MAKING,
  neutral: {
    adapter: [],
    is_marlin_format: [false],
    pack_dtype: ["int32", "torch.int32"],
    rotation: [],
  },
};

const AWQ: FieldRules = {
  read: [
    ...["quant_method", "bits", "w_bit", "group_size", "q_group_size", "zero_point", "sym"],
    ...["version", "format", "backend"],
  ],
  harmless: MAKING,
  neutral: { pack_dtype: ["int32", "torch.int32"] },
};

const COMPRESSED: FieldRules = {
  read: ["quant_method", "config_groups", "format"],
  // Tensors tell which matrices are packed.
  harmless: [
    ...["global_compression_ratio", "ignore", "quantization_status", "run_compressed", "version"],
  ],
  neutral: {
    kv_cache_scheme: [],
    sparsity_config: [{}, { format: "dense" }],
    transform_config: [],
  },
};

/** The fields of each method. */
export const METHODS = { gptq: GPTQ, awq: AWQ, "compressed-tensors": COMPRESSED } as const;

/** The method of a `quantization_config` whose matrices can be read; undefined for any other. */
export function methodOf(value: unknown): keyof typeof METHODS | undefined {
  const method = isObject(value) ? value.quant_method : undefined;
  return typeof method === "string" && Object.hasOwn(METHODS, method)
    ? method as keyof typeof METHODS
    : undefined;
}

/** A file with the fields of an object in the place of its configuration, named by where they stand. */
export function withFields(
  file: ModelFile,
  prefix: string,
  fields: Readonly<Record<string, unknown>>,
): ModelFile {
  const named = Object.entries(fields).map(([name, value]) => [prefix + name, value]);
  return { ...file, metadata: Object.fromEntries(named) };
}

function fail(file: ModelFile, field: string, found: unknown, expected: string): never {
  throw new ModelError(
    `Cannot load ${quote(file.name)}: field ${quote(`quantization_config.${field}`)} is ` +
      `${
        found === undefined ? "missing" : quote(found, 60)
      }, expected ${expected}; use the model ` +
      `before quantization, or as a GGUF file`,
  );
}

function bitsOf(file: ModelFile, field: string, value: unknown): 4 | 8 {
  return value === 4 || value === 8 ? value : fail(file, field, value, "4 or 8");
}

function groupSizeOf(file: ModelFile, field: string, value: unknown): number {
  const isSize = value === -1 || Number.isSafeInteger(value) && value as number >= 1;
  return isSize ? value as number : fail(file, field, value, "a number of columns, or -1 for all");
}

/**
 * The settings of GPTQ. Matrices may have settings of their own by patterns ("dynamic"): then their
 * tensors tell bits and groups.
 */
export function gptqSettings(file: ModelFile, config: ConfigReader): GptqSettings {
  const field = config.has("checkpoint_format") ? "checkpoint_format" : "format";
  const format = config.text(field, "gptq").toLowerCase();
  if (format !== "gptq" && format !== "gptq_v2") fail(file, field, format, '"gptq" or "gptq_v2"');
  const zeroOffset = format === "gptq" ? 1 : 0;
  const bits = bitsOf(file, "bits", config.get("bits"));
  const groupSize = groupSizeOf(file, "group_size", config.get("group_size") ?? 128);
  const symmetric = config.flag("sym", false);
  const dynamic = config.get("dynamic") ?? {};
  if (!isObject(dynamic)) fail(file, "dynamic", dynamic, "settings by pattern");
  // A pattern without settings leaves matrices as they were.
  const differ = Object.values(dynamic).some((it) => !isObject(it) || Object.keys(it).length > 0);
  return differ ? { symmetric: false, zeroOffset } : { bits, groupSize, symmetric, zeroOffset };
}

/** The settings of AWQ. */
export function awqSettings(file: ModelFile, config: ConfigReader): PackedSettings {
  const format = config.has("version") ? "version" : "format";
  const version = config.text(format, "gemm").toLowerCase();
  if (version !== "gemm") fail(file, format, version, '"gemm"');
  const backend = config.text("backend", "autoawq");
  if (backend === "llm-awq") fail(file, "backend", backend, '"autoawq"');
  const bits = config.has("bits") ? "bits" : "w_bit";
  if ((config.get(bits) ?? 4) !== 4) fail(file, bits, config.get(bits), "4");
  const size = config.has("group_size") ? "group_size" : "q_group_size";
  return {
    bits: 4,
    groupSize: groupSizeOf(file, size, config.get(size) ?? 128),
    symmetric: !config.flag("zero_point", true) || config.flag("sym", false),
  };
}

/** Settings of the weights of a group of modules; those without influence say how scales were found. */
const WEIGHTS: FieldRules = {
  read: ["num_bits", "type", "strategy", "symmetric", "group_size"],
  harmless: ["actorder", "observer", "observer_kwargs", "scale_dtype", "zp_dtype"],
  neutral: { block_structure: [], dynamic: [false] },
};

/** The settings of compressed-tensors: what all groups of its modules agree in. */
export function compressedSettings(
  file: ModelFile,
  config: ConfigReader,
  warn: Warn,
): PackedSettings {
  const groups = config.get("config_groups");
  if (!isObject(groups) || Object.keys(groups).length === 0) {
    return fail(file, "config_groups", groups, "settings of groups of modules");
  }
  const format = config.get("format");
  const found = Object.entries(groups).map(([key, group]) => {
    const path = `config_groups.${key}`;
    if (!isObject(group)) return fail(file, path, group, "settings");
    const { weights, input_activations: inputs, output_activations: outputs } = group;
    const own = group.format ?? format;
    if (own !== "pack-quantized") {
      fail(file, group.format == null ? "format" : `${path}.format`, own, '"pack-quantized"');
    }
    if (inputs != null) fail(file, `${path}.input_activations`, inputs, "none");
    if (outputs != null) fail(file, `${path}.output_activations`, outputs, "none");
    if (!isObject(weights)) return fail(file, `${path}.weights`, weights, "settings");
    const prefix = `quantization_config.${path}.weights.`;
    checkFields(withFields(file, prefix, weights), prefix, WEIGHTS, warn);
    const { num_bits: bits, type = "int", strategy, symmetric = true } = weights;
    if (type !== "int") fail(file, `${path}.weights.type`, type, '"int"');
    if (strategy !== "group" && strategy !== "channel") {
      fail(file, `${path}.weights.strategy`, strategy, '"group" or "channel"');
    }
    if (typeof symmetric !== "boolean") {
      fail(file, `${path}.weights.symmetric`, symmetric, "true or false");
    }
    return {
      bits: bitsOf(file, `${path}.weights.num_bits`, bits),
      groupSize: strategy === "channel"
        ? -1
        : groupSizeOf(file, `${path}.weights.group_size`, weights.group_size),
      symmetric,
    };
  });
  const one = <T>(values: readonly T[]): T | undefined =>
    values.every((it) => it === values[0]) ? values[0] : undefined;
  return {
    bits: one(found.map((it) => it.bits)),
    groupSize: one(found.map((it) => it.groupSize)),
    // Where modules differ, a matrix without zeros is symmetric.
    symmetric: found.some((it) => it.symmetric === true),
  };
}
