/**
 * The llama family: Llama 1, 2 and 3, Mistral, TinyLlama, SmolLM, Qwen2 and Qwen2.5 (biases on
 * queries, keys and values), Qwen3 (norms of queries and keys), and with experts (experts.ts)
 * Mixtral, Qwen2-MoE, Qwen3-MoE and OLMoE. Pre-norm decoder blocks with grouped-query attention,
 * rotary positions and SwiGLU (Touvron et al., arXiv:2302.13971).
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import type { ModelFile } from "../files/model_file.ts";
import { readVector, type WeightScope } from "./weights.ts";
import type { ModelDefinition } from "./definition.ts";
import { hasExperts, listExperts, mixExperts } from "./experts.ts";
import { cacheRows, causalSpans, positions, tokenIds } from "./inputs.ts";
import type { LlamaConfig } from "./llama_config.ts";
import { llamaFromGguf } from "./llama_gguf.ts";
import { llamaFromJson } from "./llama_json.ts";
import { type Head, headOf, type Names, namesOf } from "./llama_names.ts";
import { refusePacked } from "./packed.ts";
import type { RunSizes } from "./program.ts";
import { ropeFrequencies, ropeTable } from "./rope.ts";
import { checkLimit } from "./rope_config.ts";
import { matrix, vector, type WeightSpec } from "./weight_spec.ts";

/** The llama family. */
export const llama: ModelDefinition<LlamaConfig> = {
  parseConfig: (file, warn = () => {}) =>
    file.format === "gguf" ? llamaFromGguf(file, warn) : llamaFromJson(file, warn),

  async weights(config, file, contextLength, warn = () => {}) {
    refusePacked(file);
    checkLimit(file, config.rope, contextLength);
    const names = namesOf(file), head = await headOf(config, file, names, warn);
    const factors = await ropeFactors(config, file, contextLength);
    return listWeights(config, file, names, head, contextLength, factors);
  },

  programs: (config) => ({
    decode: {
      ids: tokenIds,
      inputs: [
        positions,
        cacheRows,
        ...distinctWindows(config).map((window) => causalSpans(window, spansOf(window))),
      ],
      record: (g, w, sizes) => recordDecoder(g, config, w, sizes),
    },
  }),
};

/** The windows of a model's layers, each once; undefined is none. */
function distinctWindows({ windows = [undefined] }: LlamaConfig): (number | undefined)[] {
  return Array.from(new Set(windows));
}

/** Name of the input with the spans of layers that have such a window. */
function spansOf(window: number | undefined): string {
  return window === undefined ? "spans" : `spans of ${window}`;
}

function recordDecoder(
  g: Graph,
  config: LlamaConfig,
  w: WeightScope,
  { inputs, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { heads, kvHeads, headDim, rmsNormEps: eps, ropePairing: pairing } = config;
  const { ids, positions, cacheRows: rows } = inputs as Record<string, Tensor>;
  const table = w.tensor("rope"); // [contextLength, rotaryDim]
  const cacheShape = [cacheRows, kvHeads, headDim] as const;

  const linear = (x: Tensor, name: string): Tensor => {
    const bias = w.has(`${name}.bias`) ? [w.tensor(`${name}.bias`)] : [];
    return g.op("matmul", [x, w.tensor(name), ...bias]);
  };
  const norm = (x: Tensor, name: string): Tensor =>
    w.has(name) ? g.op("rmsNorm", [x, w.tensor(name)], { eps }) : x;

  let x = g.op("embed", [ids!, w.tensor("embedding")]); // [tokens, hidden]
  for (let i = 0; i < config.layers; i++) {
    g.cut(`layer ${i}`, i);
    const keys = g.cache(`${i}.keys`, "keyCache", cacheShape, cacheType);
    const values = g.cache(`${i}.values`, "valueCache", cacheShape, cacheType);

    const a = norm(x, `${i}.attentionNorm`);
    let q = norm(linear(a, `${i}.q`), `${i}.qNorm`); // [tokens, heads * headDim]
    let k = norm(linear(a, `${i}.k`), `${i}.kNorm`); // [tokens, kvHeads * headDim]
    const v = linear(a, `${i}.v`); // [tokens, kvHeads * headDim]
    q = g.op("rope", [q, positions!, table], { heads, pairing });
    k = g.op("rope", [k, positions!, table], { heads: kvHeads, pairing });
    g.op("cacheStore", [keys, k, rows!]);
    g.op("cacheStore", [values, v, rows!]);
    const spans = inputs[spansOf(config.windows?.[i])]!;
    const mixed = g.op("attention", [q, keys, values, spans], { heads, scale: headDim ** -0.5 });
    x = g.op("add", [x, linear(mixed, `${i}.o`)]);

    const m = norm(x, `${i}.mlpNorm`);
    if (hasExperts(config.experts, i)) {
      x = g.op("add", [x, mixExperts(g, w, config.experts, i, m)]);
      continue;
    }
    const gated = g.op("glu", [linear(m, `${i}.gate`), linear(m, `${i}.up`)], { kind: "silu" }); // [tokens, intermediate]
    x = g.op("add", [x, linear(gated, `${i}.down`)]);
  }
  g.cut("head");
  const hidden = norm(wanted(x), "norm"); // [rows, hidden]
  return { hidden, logits: linear(hidden, w.has("head") ? "head" : "embedding") };
}

/** Divisors of the rotary frequencies, where the file has them. */
async function ropeFactors(
  config: LlamaConfig,
  file: ModelFile,
  context: number,
): Promise<ArrayLike<number> | undefined> {
  const factors = await findFactors(config, file, context), expected = config.rotaryDim / 2;
  if (factors && factors.length !== expected) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: ${factors.length} divisors of rotary frequencies, ` +
        `expected ${expected}, half a head's rotary length`,
    );
  }
  return factors;
}

/** Far more rotary elements than a head of any model has. */
const MOST_ROTARY = 1 << 16;

/** Throws where rotary positions would not be numbers, or as many as no model has. */
function checkFrequencies(
  { rotaryDim, rope: { theta, scaling } }: LlamaConfig,
  file: ModelFile,
  factors: ArrayLike<number> | undefined,
): void {
  if (rotaryDim > MOST_ROTARY) {
    throw new ModelError(
      `Cannot load ${
        quote(file.name)
      }: a head has ${rotaryDim} rotary elements, expected at most ` +
        `${MOST_ROTARY}; check head_dim`,
    );
  }
  const frequencies = ropeFrequencies({ rotaryDim, theta, scaling, factors });
  if (!frequencies.every((it) => Number.isFinite(it))) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: its rotary positions have frequencies ` +
        `${quote(frequencies, 60)}, expected numbers; its rope fields do not fit together`,
    );
  }
}

async function findFactors(
  { rope: { scaling } }: LlamaConfig,
  file: ModelFile,
  context: number,
): Promise<ArrayLike<number> | undefined> {
  let name = "rope_freqs.weight";
  if (scaling?.type === "longrope") {
    if (scaling.factors) return scaling.factors;
    const isLong = context > (scaling.originalPositions ?? Infinity);
    name = `rope_factors_${isLong ? "long" : "short"}.weight`;
    if (!file.tensors.has(name)) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: tensor ${quote(name)} is missing, which rope type ` +
          `longrope needs; the file is incomplete`,
      );
    }
  }
  const entry = file.tensors.get(name);
  return entry && await readVector(entry);
}

function* listWeights(
  config: LlamaConfig,
  file: ModelFile,
  names: Names,
  { embedding, head }: Head,
  contextLength: number,
  factors: ArrayLike<number> | undefined,
): Iterable<WeightSpec> {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim, vocabSize, rotaryDim } = config;
  yield matrix("embedding", vocabSize, hiddenSize, embedding);
  yield vector("norm", hiddenSize, names.norm);
  if (head !== undefined) yield matrix("head", vocabSize, hiddenSize, head);
  const headBias = "output.bias";
  if (file.format === "gguf" && head !== undefined && file.tensors.has(headBias)) {
    yield vector("head.bias", vocabSize, headBias);
  }
  const shapes: Record<keyof typeof names.inLayer, readonly number[]> = {
    attentionNorm: [hiddenSize],
    q: [heads * headDim, hiddenSize],
    k: [kvHeads * headDim, hiddenSize],
    v: [kvHeads * headDim, hiddenSize],
    o: [hiddenSize, heads * headDim],
    qNorm: [headDim],
    kNorm: [headDim],
    mlpNorm: [hiddenSize],
    gate: [intermediateSize, hiddenSize],
    up: [intermediateSize, hiddenSize],
    down: [hiddenSize, intermediateSize],
  };
  const { architecture, experts } = config;
  if (architecture === "olmoe") { // normalizes over all heads at once
    shapes.qNorm = [heads * headDim];
    shapes.kNorm = [kvHeads * headDim];
  }
  for (let i = 0; i < config.layers; i++) {
    const sparse = hasExperts(experts, i);
    if (sparse) yield* listExperts(file, experts, config, i, names.layer(i));
    for (const [name, shape] of Object.entries(shapes)) {
      if (sparse && ["gate", "up", "down"].includes(name)) continue;
      const path = names.layer(i) + names.inLayer[name as keyof typeof shapes];
      const isNorm = name === "qNorm" || name === "kNorm";
      const isThere = !isNorm || (config.queryNorms ?? file.tensors.has(`${path}.weight`));
      const [rows, columns] = shape as [number, number?];
      if (isThere) {
        yield columns === undefined
          ? vector(`${i}.${name}`, rows, `${path}.weight`)
          : matrix(`${i}.${name}`, rows, columns, `${path}.weight`);
      }
      if (config.biases.includes(name)) yield vector(`${i}.${name}.bias`, rows, `${path}.bias`);
    }
  }
  // Here and not sooner: each weight is checked as it is asked for, and now a head's length is known
  // to be that of its tensors, where a field alone could announce billions.
  checkFrequencies(config, file, factors);
  const { theta, scaling, amplitude } = config.rope;
  yield {
    name: "rope",
    role: "table",
    shape: [contextLength, rotaryDim],
    source: {
      values: () => ropeTable({ rotaryDim, theta, scaling, factors, amplitude }, contextLength),
    },
  };
}
