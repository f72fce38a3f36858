/**
 * The table of models in the README: written from the registry and from the published extents of
 * common models, so that it says what the code does. `deno task readme` rewrites it.
 *
 * @module
 */

import { type Flags, runCommand, UsageError } from "../cli/command.ts";
import { paperModel } from "../runtime/engine/paper_model.ts";
import { type MemoryNeeded, memoryNeeded, programGraphs } from "../runtime/engine/record.ts";
import { resolveModel } from "../runtime/engine/resolve.ts";
import { ARCHITECTURES } from "../runtime/models/registry.ts";
import type { WeightsOption } from "../runtime/models/weights.ts";

/** Name, architecture, layers, hidden, inner, heads, kvHeads, headDim, vocab, tied embeddings, more. */
type Extents = readonly [
  name: string,
  architecture: string,
  layers: number,
  hidden: number,
  inner: number,
  heads: number,
  kvHeads: number,
  headDim: number,
  vocab: number,
  tied: boolean,
  more?: Readonly<Record<string, unknown>>,
];

/** Experts as `config.json` names them. */
function experts(count: number, perToken: number, width: number): Record<string, unknown> {
  return { num_experts: count, num_experts_per_tok: perToken, moe_intermediate_size: width };
}

const MODELS: readonly Extents[] = [
  ["SmolLM2 135M", "llama", 30, 576, 1536, 9, 3, 64, 49152, true],
  ["SmolLM2 1.7B", "llama", 24, 2048, 8192, 32, 32, 64, 49152, true],
  ["TinyLlama 1.1B", "llama", 22, 2048, 5632, 32, 4, 64, 32000, false],
  ["Llama 2 7B", "llama", 32, 4096, 11008, 32, 32, 128, 32000, false],
  ["Llama 3.2 1B", "llama", 16, 2048, 8192, 32, 8, 64, 128256, true],
  ["Llama 3.2 3B", "llama", 28, 3072, 8192, 24, 8, 128, 128256, true],
  ["Llama 3.1 8B", "llama", 32, 4096, 14336, 32, 8, 128, 128256, false],
  ["Mistral 7B v0.3", "mistral", 32, 4096, 14336, 32, 8, 128, 32768, false],
  ["Qwen2.5 0.5B", "qwen2", 24, 896, 4864, 14, 2, 64, 151936, true],
  ["Qwen2.5 1.5B", "qwen2", 28, 1536, 8960, 12, 2, 128, 151936, true],
  ["Qwen2.5 3B", "qwen2", 36, 2048, 11008, 16, 2, 128, 151936, true],
  ["Qwen2.5 7B", "qwen2", 28, 3584, 18944, 28, 4, 128, 152064, false],
  ["Qwen3 0.6B", "qwen3", 28, 1024, 3072, 16, 8, 128, 151936, true],
  ["Qwen3 1.7B", "qwen3", 28, 2048, 6144, 16, 8, 128, 151936, true],
  ["Qwen3 4B", "qwen3", 36, 2560, 9728, 32, 8, 128, 151936, true],
  ["Qwen3 8B", "qwen3", 36, 4096, 12288, 32, 8, 128, 151936, false],
  ["ChatGLM3 6B", "chatglm", 28, 4096, 13696, 32, 2, 128, 65024, false, {
    ...{ num_layers: 28, ffn_hidden_size: 13696, kv_channels: 128, padded_vocab_size: 65024 },
    ...{ multi_query_attention: true, multi_query_group_num: 2, add_qkv_bias: true },
  }],
  ["GLM-4 9B", "glm", 40, 4096, 13696, 32, 2, 128, 151552, false],
  ["OLMoE 1B-7B", "olmoe", 16, 2048, 1024, 16, 16, 128, 50304, false, experts(64, 8, 1024)],
  ["Qwen1.5 MoE A2.7B", "qwen2_moe", 24, 2048, 5632, 16, 16, 128, 151936, false, {
    ...experts(60, 4, 1408),
    shared_expert_intermediate_size: 5632,
  }],
  ["Qwen3 30B-A3B", "qwen3_moe", 48, 2048, 6144, 32, 4, 128, 151936, false, experts(128, 8, 768)],
  ["Mixtral 8x7B", "mixtral", 32, 4096, 14336, 32, 8, 128, 32000, false, {
    num_local_experts: 8,
    num_experts_per_tok: 2,
  }],
];

const CONTEXT = 4096;
const BEGIN = "<!-- models: written by deno task readme -->", END = "<!-- end of models -->";

/** The table as Markdown. */
export async function modelTable(): Promise<string> {
  const rows = [
    `| model | architecture | INT4 | INT8 | cache of ${CONTEXT} tokens |`,
    "| --- | --- | --- | --- | --- |",
  ];
  for (const model of MODELS) {
    const [name, architecture] = model;
    const int4 = await memory(model, "int4"), int8 = await memory(model, "int8");
    const bytes = [int4.weightBytes, int8.weightBytes, int4.cacheBytes];
    rows.push(`| ${name} | \`${architecture}\` | ${bytes.map(gb).join(" | ")} |`);
  }
  const named = (isGguf: boolean, isSafetensors: boolean): string =>
    Object.entries(ARCHITECTURES)
      .filter(([, { formats }]) =>
        formats.includes("gguf") === isGguf && formats.includes("safetensors") === isSafetensors
      )
      .map(([name]) => `\`${name}\``).join(", ");
  return `Architectures that run, from GGUF and from safetensors: ${
    named(true, true)
  }; from GGUF ` +
    `alone: ${named(true, false)}; from safetensors alone: ${named(false, true)}.\n\n` +
    rows.join("\n");
}

/** README text with the table in its place. */
export function withTable(readme: string, table: string): string {
  const begin = readme.indexOf(BEGIN), end = readme.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`the README lacks ${BEGIN} … ${END}`);
  return `${readme.slice(0, begin + BEGIN.length)}\n\n${table}\n\n${readme.slice(end)}`;
}

/** Bytes of weights, and of f32 caches for one sequence, from the model's own list of weights. */
async function memory(
  [, architecture, layers, hidden, inner, heads, kvHeads, headDim, vocab, tied, more]: Extents,
  option: WeightsOption,
): Promise<MemoryNeeded> {
  const config = {
    model_type: architecture,
    num_hidden_layers: layers,
    hidden_size: hidden,
    intermediate_size: inner,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: headDim,
    vocab_size: vocab,
    tie_word_embeddings: tied,
    torch_dtype: "float32",
    ...more,
  };
  const options = { contextLength: CONTEXT, weights: option };
  const model = await resolveModel(await paperModel(config, "table"), options, () => {});
  return memoryNeeded(programGraphs(model.programs, model.weights, model.sizes));
}

function gb(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

const HELP = `Usage: deno task readme

Rewrites the table of models in README.md from what the architectures need.

  -h, --help      print this`;

async function readme(flags: Flags): Promise<void> {
  if (flags.rest.length > 0) throw new UsageError("Cannot write the table: expected no arguments");
  const url = new URL("../README.md", import.meta.url);
  await Deno.writeTextFile(url, withTable(await Deno.readTextFile(url), await modelTable()));
  await new Deno.Command(Deno.execPath(), { args: ["fmt", "-q", url.pathname] }).output();
}

if (import.meta.main) Deno.exit(await runCommand("readme", HELP, Deno.args, {}, readme));
