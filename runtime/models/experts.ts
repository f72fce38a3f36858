/**
 * Sparse mixtures of experts in place of the feed-forward block of a decoder layer: a router chooses
 * a few experts for each token, whose results are added up by weight (Shazeer et al.,
 * arXiv:1701.06538). Mixtral (arXiv:2401.04088), Qwen2-MoE with an expert that every token shares,
 * Qwen3-MoE, OLMoE (arXiv:2409.02060). llama.ts has the rest of these models.
 *
 * The matrices of a layer's experts are stacked into one weight for each of gate, up and down.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { type ConfigReader, readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import type { WeightScope } from "./weights.ts";
import { keptMatrix, matrix, type WeightSpec } from "./weight_spec.ts";

/** The experts of a model. */
export interface ExpertsConfig {
  /** Experts of a layer. */
  readonly count: number;
  /** Experts that a token gets. */
  readonly perToken: number;
  /** Width of an expert. */
  readonly intermediateSize: number;
  /** Width of the expert that all tokens share; none where absent. */
  readonly sharedSize?: number;
  /** Whether the weights of a token's experts add up to 1; otherwise those of all experts do. */
  readonly normalized: boolean;
  /** Every how many layers have experts. */
  readonly step: number;
  /** Layers that have none all the same. */
  readonly denseLayers: readonly number[];
}

/** Whether a layer has experts. */
export function hasExperts(
  experts: ExpertsConfig | undefined,
  layer: number,
): experts is ExpertsConfig {
  return experts !== undefined && (layer + 1) % experts.step === 0 &&
    !experts.denseLayers.includes(layer);
}

/** What the configuration classes of Transformers say where a file says nothing. */
const DEFAULTS: Readonly<Record<string, { count: number; perToken: number; width: number }>> = {
  mixtral: { count: 8, perToken: 2, width: 14336 },
  olmoe: { count: 64, perToken: 8, width: 2048 },
  qwen2_moe: { count: 60, perToken: 4, width: 1408 },
  qwen3_moe: { count: 128, perToken: 8, width: 768 },
};
const SHARED_WIDTH = 5632;

/** The experts that `config.json` names, none for other architectures. */
export function expertsFromJson(file: ModelFile): ExpertsConfig | undefined {
  const config = readConfig(file);
  const architecture = config.text("model_type");
  if (!Object.hasOwn(DEFAULTS, architecture)) return undefined;
  const defaults = DEFAULTS[architecture]!;
  const isQwen = architecture.startsWith("qwen");
  // Files of either name exist.
  const field = config.has("num_experts") ? "num_experts" : "num_local_experts";
  const [count, other] = [field, "num_local_experts"].map((it) =>
    config.whole(it, config.whole(field, defaults.count))
  );
  if (count !== other) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: field "num_experts" is ${count}, but ` +
        `"num_local_experts" ${other}, expected one number of experts`,
    );
  }
  // Qwen's blocks are dense where there are none.
  if (isQwen && count === 0) return undefined;
  return checkExperts(file, {
    count: config.count(field, defaults.count),
    perToken: config.count("num_experts_per_tok", defaults.perToken),
    intermediateSize: config.count(
      isQwen ? "moe_intermediate_size" : "intermediate_size",
      defaults.width,
    ),
    ...(architecture === "qwen2_moe"
      ? { sharedSize: config.count("shared_expert_intermediate_size", SHARED_WIDTH) }
      : {}),
    normalized: architecture === "mixtral" || config.flag("norm_topk_prob", false),
    step: isQwen ? config.count("decoder_sparse_step", 1) : 1,
    denseLayers: isQwen ? layersOf(file, config) : [],
  });
}

function layersOf(file: ModelFile, config: ConfigReader): readonly number[] {
  const layers = config.get("mlp_only_layers") ?? [];
  if (!Array.isArray(layers) || !layers.every(Number.isInteger)) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: ` +
        `field "mlp_only_layers" is no list of layers, expected whole ` +
        `numbers`,
    );
  }
  return layers;
}

/** The experts that GGUF metadata names, if any. */
export function expertsFromGguf(file: ModelFile): ExpertsConfig | undefined {
  const architecture = readConfig(file).text("general.architecture");
  const config = readConfig(file, `${architecture}.`);
  if (config.number("expert_count", 0) === 0) return undefined;
  const layers = Array.from(Array(Math.min(config.count("block_count"), file.tensors.size)).keys());
  const isSparse = (layer: number): boolean =>
    file.tensors.has(`blk.${layer}.${GGUF.router}.weight`);
  const first = layers.find(isSparse);
  /** Rows of a matrix; files without these lengths are older than the fields. */
  const rows = (tensor: string): number | undefined =>
    file.tensors.get(`blk.${first}.${tensor}.weight`)?.shape.at(-2);
  const width = config.count(
    "expert_feed_forward_length",
    rows("ffn_gate_exps") ?? config.count("feed_forward_length"),
  );
  const norm = config.get("expert_weights_norm");
  return checkExperts(file, {
    count: config.count("expert_count"),
    perToken: config.count("expert_used_count"),
    intermediateSize: width,
    ...(architecture === "qwen2moe"
      ? { sharedSize: config.count("expert_shared_feed_forward_length", rows("ffn_gate_shexp")) }
      : {}),
    normalized: typeof norm === "boolean" ? norm : ["llama", "qwen3moe"].includes(architecture),
    step: 1,
    denseLayers: layers.filter((it) => !isSparse(it)),
  });
}

function checkExperts(file: ModelFile, experts: ExpertsConfig): ExpertsConfig {
  const { count, perToken } = experts;
  if (perToken > count || count > MOST_EXPERTS) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: ` +
        `${perToken} of ${count} experts for each token, expected at ` +
        `most ${MOST_EXPERTS} and no more for a token than there are`,
    );
  }
  return experts;
}

/** More are a corrupt file, whose list of tensors would have no end; kernels count them in memory. */
const MOST_EXPERTS = 4096;

/** Names of the tensors in a layer: of the router, of an expert's matrices, of the shared expert's. */
interface Names {
  readonly router: string;
  readonly expert: (i: number) => readonly [gate: string, up: string, down: string];
  /** One tensor for all experts, where files have that. */
  readonly stacked?: readonly [gate: string, up: string, down: string];
  readonly shared: readonly [gate: string, up: string, down: string];
  readonly sharedGate: string;
}

const MIXTRAL: Names = {
  router: "block_sparse_moe.gate",
  expert: (i) => ["w1", "w3", "w2"].map((it) => `block_sparse_moe.experts.${i}.${it}`) as never,
  shared: ["", "", ""],
  sharedGate: "",
};
const OTHERS: Names = {
  router: "mlp.gate",
  expert: (i) => ["gate", "up", "down"].map((it) => `mlp.experts.${i}.${it}_proj`) as never,
  shared: ["gate", "up", "down"].map((it) => `mlp.shared_expert.${it}_proj`) as never,
  sharedGate: "mlp.shared_expert_gate",
};
const GGUF: Names = {
  router: "ffn_gate_inp",
  expert: (i) => ["gate", "up", "down"].map((it) => `ffn_${it}.${i}`) as never,
  stacked: ["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"],
  shared: ["ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"],
  sharedGate: "ffn_gate_inp_shexp",
};

/** The weights of a layer's experts; `path` begins the names of its tensors in the file. */
export function* listExperts(
  file: ModelFile,
  experts: ExpertsConfig,
  { architecture, hiddenSize }: { readonly architecture: string; readonly hiddenSize: number },
  layer: number,
  path: string,
): Iterable<WeightSpec> {
  const { count, intermediateSize, sharedSize } = experts;
  const names = file.format === "gguf" ? GGUF : architecture === "mixtral" ? MIXTRAL : OTHERS;
  const nameOf = (part: string): string => `${path}${part}.weight`;
  const matrices = [
    ["gate", intermediateSize, hiddenSize],
    ["up", intermediateSize, hiddenSize],
    ["down", hiddenSize, intermediateSize],
  ] as const;
  // The choice of experts is sensitive, and the router small.
  yield keptMatrix(`${layer}.router`, count, hiddenSize, nameOf(names.router));
  for (const [i, [name, rows, columns]] of matrices.entries()) {
    const stacked = names.stacked && nameOf(names.stacked[i]!);
    const apart = Array.from({ length: count }, (_, e) => nameOf(names.expert(e)[i]!));
    const source = stacked !== undefined && !file.tensors.has(apart[0]!)
      ? { tensor: stacked, fileShape: [count, rows, columns] }
      : { tensor: apart };
    yield matrix(`${layer}.experts.${name}`, count * rows, columns, source);
  }
  if (sharedSize === undefined) return;
  for (const [i, [name]] of matrices.entries()) {
    const [rows, columns] = name === "down" ? [hiddenSize, sharedSize] : [sharedSize, hiddenSize];
    yield matrix(`${layer}.shared.${name}`, rows, columns, nameOf(names.shared[i]!));
  }
  yield keptMatrix(`${layer}.sharedGate`, 1, hiddenSize, nameOf(names.sharedGate));
}

/** Records the block of a layer on `x [tokens, hidden]`; the result has the same shape. */
export function mixExperts(
  g: Graph,
  w: WeightScope,
  { count, perToken, normalized, sharedSize }: ExpertsConfig,
  layer: number,
  x: Tensor,
): Tensor {
  const matmul = (x: Tensor, name: string): Tensor => g.op("matmul", [x, w.tensor(name)]);
  const scores = matmul(x, `${layer}.router`); // [tokens, experts]
  const chosen = g.op("topExperts", [scores], { count: perToken }); // [tokens, perToken]
  const weights = g.op("expertWeights", [scores, chosen], { over: normalized ? "chosen" : "all" });
  const times = (x: Tensor, name: string): Tensor =>
    g.op("expertMatmul", [x, w.tensor(`${layer}.experts.${name}`), chosen], { experts: count });
  const gated = g.op("glu", [times(x, "gate"), times(x, "up")], { kind: "silu" }); // [tokens, perToken, width]
  const mixed = g.op("expertSum", [times(gated, "down"), weights]);
  if (sharedSize === undefined) return mixed;
  const inner = g.op("glu", [
    matmul(x, `${layer}.shared.gate`),
    matmul(x, `${layer}.shared.up`),
  ], { kind: "silu" }); // [tokens, sharedSize]
  const share = g.op("activation", [matmul(x, `${layer}.sharedGate`)], { kind: "sigmoid" });
  const shared = g.op("expertSum", [matmul(inner, `${layer}.shared.down`), share]);
  return g.op("add", [mixed, shared]);
}
