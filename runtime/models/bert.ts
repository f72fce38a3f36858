/**
 * BERT and models in its form: BERT-wwm and RoBERTa for Chinese, ERNIE with its task embeddings, and
 * the same weights under UniLM's masks (`prefixLength`). A post-norm encoder with learned positions and
 * segments, a head for masked words, a pooled first token (Devlin et al., arXiv:1810.04805; Sun et al.,
 * arXiv:1904.09223; Dong et al., arXiv:1905.03197).
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ActivationName } from "../../kernels/ops.ts";
import { readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import type { WeightScope } from "./weights.ts";
import { blocks } from "./blocks.ts";
import { checkPositions, type ModelConfig, type ModelDefinition } from "./definition.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import { checkFields } from "./fields.ts";
import { encoderSpans, positions, runRows, taskTypes, tokenIds, tokenTypes } from "./inputs.ts";
import type { RunSizes } from "./program.ts";
import { keptMatrix, linear, matrix, norm, vector, type WeightSpec } from "./weight_spec.ts";

/** Configuration of a BERT. */
export interface BertConfig extends ModelConfig {
  /** Heads of each layer. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly intermediateSize: number;
  /** Nonlinearity of the feed-forward block and of the head. */
  readonly activation: ActivationName;
  /** Added to variances. */
  readonly layerNormEps: number;
  /** Segments that there are. */
  readonly segments: number;
  /** Tasks that there are; 0 for a model that has none. */
  readonly tasks: number;
}

const ACTIVATIONS: Readonly<Record<string, ActivationName>> = {
  gelu: "gelu",
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
  relu: "relu",
  silu: "silu",
  swish: "silu",
};

/** BERT and its kin. */
export const bert: ModelDefinition<BertConfig> = {
  parseConfig(file, warn = () => {}) {
    const config = readConfig(file);
    checkFields(file, "", FIELDS, warn);
    const hiddenSize = config.count("hidden_size", 768);
    const heads = config.count("num_attention_heads", 12);
    if (hiddenSize % heads !== 0) {
      throw new ModelError(
        `Cannot load ${
          quote(file.name)
        }: hidden_size ${hiddenSize} with ${heads} attention heads, ` +
          `expected a multiple of them`,
      );
    }
    const name = config.text("hidden_act", "gelu"), activation = ACTIVATIONS[name];
    if (!activation) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: field "hidden_act" is ${quote(name)}, expected ` +
          Object.keys(ACTIVATIONS).join(", "),
      );
    }
    return {
      architecture: config.text("model_type"),
      layers: config.count("num_hidden_layers", 12),
      hiddenSize,
      heads,
      kvHeads: heads,
      headDim: hiddenSize / heads,
      intermediateSize: config.count("intermediate_size", 4 * hiddenSize),
      activation,
      layerNormEps: config.number("layer_norm_eps", 1e-12),
      vocabSize: config.count("vocab_size"),
      maxPositions: config.count("max_position_embeddings", 512),
      segments: config.count("type_vocab_size", 2),
      tasks: config.flag("use_task_id", false) ? config.count("task_type_vocab_size", 3) : 0,
    };
  },

  weights(config, file, contextLength) {
    checkPositions(file, config, contextLength);
    return Promise.resolve(listWeights(config, file));
  },

  programs: (config) => ({
    encode: {
      ids: tokenIds,
      inputs: [positions, tokenTypes, ...(config.tasks ? [taskTypes] : []), runRows, encoderSpans],
      record: (g, w, sizes) => recordEncoder(g, config, w, sizes),
    },
    prompts: {
      fields: {
        prefixLength: Infinity,
        tokenTypeIds: config.segments,
        ...(config.tasks && { taskTypeIds: config.tasks }),
      },
    },
  }),
};

function* listWeights(config: BertConfig, { tensors }: ModelFile): Iterable<WeightSpec> {
  const { hiddenSize: width, intermediateSize, vocabSize, maxPositions, segments, tasks } = config;
  // A model that was saved without its heads has no prefix.
  const prefix =
    ["bert.", "ernie."].find((it) => tensors.has(`${it}embeddings.word_embeddings.weight`)) ?? "";
  const embeddings = `${prefix}embeddings.`;
  yield keptMatrix("wordTable", vocabSize, width, `${embeddings}word_embeddings.weight`);
  yield keptMatrix("positionTable", maxPositions, width, `${embeddings}position_embeddings.weight`);
  yield keptMatrix("typeTable", segments, width, `${embeddings}token_type_embeddings.weight`);
  if (tasks) {
    yield keptMatrix("taskTable", tasks, width, `${embeddings}task_type_embeddings.weight`);
  }
  yield* norm("embeddingNorm", width, `${embeddings}LayerNorm`);
  for (let i = 0; i < config.layers; i++) {
    const layer = `${prefix}encoder.layer.${i}.`;
    for (const [name, it] of [["q", "query"], ["k", "key"], ["v", "value"]]) {
      yield* linear(`${i}.${name}`, width, width, `${layer}attention.self.${it}`);
    }
    yield* linear(`${i}.o`, width, width, `${layer}attention.output.dense`);
    yield* norm(`${i}.attentionNorm`, width, `${layer}attention.output.LayerNorm`);
    yield* linear(`${i}.up`, intermediateSize, width, `${layer}intermediate.dense`);
    yield* linear(`${i}.down`, width, intermediateSize, `${layer}output.dense`);
    yield* norm(`${i}.mlpNorm`, width, `${layer}output.LayerNorm`);
  }
  // Heads are there where the file has them.
  if (tensors.has(`${prefix}pooler.dense.weight`)) {
    yield* linear("pooler", width, width, `${prefix}pooler.dense`);
  }
  if (tensors.has("cls.predictions.transform.dense.weight")) {
    yield* linear("transform", width, width, "cls.predictions.transform.dense");
    yield* norm("transformNorm", width, "cls.predictions.transform.LayerNorm");
    const own = "cls.predictions.decoder.weight";
    if (tensors.has(own)) yield matrix("head", vocabSize, width, own);
    yield vector(
      tensors.has(own) ? "head.bias" : "wordTable.bias",
      vocabSize,
      "cls.predictions.bias",
    );
  }
  if (tensors.has("cls.seq_relationship.weight")) {
    yield* linear("relationship", 2, width, "cls.seq_relationship");
  }
}

function recordEncoder(
  g: Graph,
  config: BertConfig,
  w: WeightScope,
  { inputs, runRows, wanted }: RunSizes,
): Record<string, Tensor> {
  const { heads, headDim, activation: kind, layerNormEps: eps } = config;
  const { ids, positions, tokenTypes, taskTypes, rows, spans } = inputs as Record<string, Tensor>;
  const { linear, layerNorm, embed, attend } = blocks(g, w);
  const embedded = embed(
    [ids!, "wordTable"],
    [positions!, "positionTable"],
    [tokenTypes!, "typeTable"],
    ...(taskTypes ? [[taskTypes, "taskTable"] as const] : []),
  );
  let x = layerNorm(embedded, "embeddingNorm", eps); // [tokens, hidden]
  for (let i = 0; i < config.layers; i++) {
    g.cut(`layer ${i}`, i);
    const mixed = attend({
      name: `${i}`,
      q: linear(x, `${i}.q`),
      stored: { k: linear(x, `${i}.k`), v: linear(x, `${i}.v`), rows: rows! },
      shape: [runRows, heads, headDim],
      cacheType: "f32",
      spans: spans!,
      heads,
      scale: headDim ** -0.5,
    });
    x = layerNorm(g.op("add", [x, linear(mixed, `${i}.o`)]), `${i}.attentionNorm`, eps);
    const inner = g.op("activation", [linear(x, `${i}.up`)], { kind }); // [tokens, intermediate]
    x = layerNorm(g.op("add", [x, linear(inner, `${i}.down`)]), `${i}.mlpNorm`, eps);
  }
  g.cut("heads");
  const hidden = wanted(x); // [rows, hidden]
  const results: Record<string, Tensor> = { hidden };
  if (w.has("transform")) {
    const changed = g.op("activation", [linear(hidden, "transform")], { kind });
    const head = w.has("head") ? "head" : "wordTable";
    results.logits = linear(layerNorm(changed, "transformNorm", eps), head); // [rows, vocab]
  }
  if (w.has("pooler")) {
    results.pooled = g.op("activation", [linear(hidden, "pooler")], { kind: "tanh" });
    if (w.has("relationship")) results.relationship = linear(results.pooled, "relationship");
  }
  return results;
}

/** Fields of `config.json`, as the classes of Transformers read them. */
const FIELDS = {
  read: [
    ...["model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"],
    ...["intermediate_size", "hidden_act", "layer_norm_eps", "max_position_embeddings"],
    ...["type_vocab_size", "use_task_id", "task_type_vocab_size", "tie_word_embeddings"],
  ],
  harmless: HARMLESS_FIELDS,
  neutral: {
    position_embedding_type: ["absolute"],
    is_decoder: [false],
    add_cross_attention: [false],
    is_encoder_decoder: [false],
    embedding_size: [],
    quantization_config: [],
  },
};
