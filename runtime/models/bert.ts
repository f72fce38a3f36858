/**
 * BERT and models in its form: BERT-wwm and RoBERTa for Chinese, ERNIE with its task embeddings, RoBERTa
 * and XLM-RoBERTa, DistilBERT, ALBERT, whose layers share their weights and whose tables are narrower
 * than the model (Lan et al., arXiv:1909.11942), and the same weights under UniLM's masks
 * (`prefixLength`). A post-norm encoder (bert_encoder.ts) with learned positions and segments, a head for masked words, a pooled
 * first token (Devlin et al., arXiv:1810.04805; Sun et al., arXiv:1904.09223; Dong et al.,
 * arXiv:1905.03197). What GGUF files have, bert_gguf.ts says.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote, word } from "../../escape.ts";
import type { ActivationName } from "../../kernels/ops.ts";
import { readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import { type AnswerNetwork, answerWeights, readAnswerNetworks } from "./answer_network.ts";
import { type BertConfig, encoderPrograms } from "./bert_encoder.ts";
import { bertFromGguf, bertGgufWeights } from "./bert_gguf.ts";
import { bertNames } from "./bert_names.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import { checkPositions, type ModelDefinition } from "./definition.ts";
import { checkFields } from "./fields.ts";
import { countScores, taskHeads } from "./labels.ts";
import { keptMatrix, linear, matrix, norm, vector, type WeightSpec } from "./weight_spec.ts";

const ACTIVATIONS: Readonly<Record<string, ActivationName>> = {
  gelu: "gelu",
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
  relu: "relu",
  silu: "silu",
  swish: "silu",
};

/** How the fields are called that DistilBERT calls otherwise. */
const FIELD_NAMES = {
  bert: {
    width: "hidden_size",
    heads: "num_attention_heads",
    layers: "num_hidden_layers",
    inner: "intermediate_size",
    activation: "hidden_act",
  },
  distilbert: {
    width: "dim",
    heads: "n_heads",
    layers: "n_layers",
    inner: "hidden_dim",
    activation: "activation",
  },
};

/** BERT and its kin. */
export const bert: ModelDefinition<BertConfig> = {
  parseConfig(file, warn = () => {}) {
    if (file.format === "gguf") return bertFromGguf(file, warn);
    const config = readConfig(file), architecture = config.text("model_type");
    const kind = architecture === "distilbert" || architecture === "albert"
      ? architecture
      : architecture.endsWith("roberta")
      ? "roberta"
      : "bert";
    const isDistilled = kind === "distilbert", isRoberta = kind === "roberta";
    const isShared = kind === "albert";
    const rules = isShared ? ALBERT_FIELDS : isDistilled ? DISTILBERT_FIELDS : FIELDS;
    checkFields(file, "", rules, warn);
    const fields = isDistilled ? FIELD_NAMES.distilbert : FIELD_NAMES.bert;
    const hiddenSize = config.count(fields.width, isShared ? 4096 : 768);
    const heads = config.count(fields.heads, isShared ? 64 : 12);
    const name = config.text(fields.activation, isShared ? "gelu_new" : "gelu");
    const activation = ACTIVATIONS[name];
    if (hiddenSize % heads !== 0 || !activation) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: ${fields.width} ${hiddenSize} with ${heads} heads and ` +
          `${fields.activation} ${word(name)}, expected a multiple of the heads and one of ` +
          Object.keys(ACTIVATIONS).join(", "),
      );
    }
    // RoBERTa's first position is the one behind that of the padding.
    const positionOffset = isRoberta ? config.whole("pad_token_id", 1) + 1 : 0;
    const positions = config.count("max_position_embeddings", 512);
    if (positionOffset >= positions) {
      throw new ModelError(
        `Cannot load ${
          quote(file.name)
        }: the first position is ${positionOffset}, behind that of ` +
          `pad_token_id, expected one of the ${positions} of max_position_embeddings`,
      );
    }
    const layers = config.count(fields.layers, isDistilled ? 6 : 12);
    return {
      architecture,
      kind,
      layers,
      ...(isShared && sharedLayers(file, layers)),
      hiddenSize,
      heads,
      kvHeads: heads,
      headDim: hiddenSize / heads,
      intermediateSize: config.count(fields.inner, 4 * hiddenSize),
      activation,
      // The head of RoBERTa has GELU, whatever its layers have.
      headActivation: isRoberta ? "gelu" : activation,
      layerNormEps: config.epsilon("layer_norm_eps", 1e-12),
      vocabSize: config.count("vocab_size"),
      maxPositions: positions - positionOffset,
      positionOffset,
      segments: isDistilled ? 0 : config.count("type_vocab_size", 2),
      tasks: config.flag("use_task_id", false) ? config.count("task_type_vocab_size", 3) : 0,
      taskHeads: file.tensors.has(`${bertNames(file, kind).pooler}.weight`)
        ? taskHeads(file).linear
        : [],
      answers: answersOf(file, warn),
    };
  },

  weights(config, file, contextLength) {
    checkPositions(file, config, contextLength);
    const list = file.format === "gguf" ? bertGgufWeights : listWeights;
    return Promise.resolve(list(config, file));
  },

  programs: encoderPrograms,
};

/** The answer networks of a file that can be used. */
function answersOf(file: ModelFile, warn: (message: string) => void): readonly AnswerNetwork[] {
  const networks = Array.from(readAnswerNetworks(file).values()).filter((it) =>
    typeof it !== "string"
  );
  for (const { task } of networks.filter(({ labels, averages }) => labels === 1 && averages)) {
    warn(
      `the classifier of task ${task} of ${
        quote(file.name)
      } averages probabilities of one label, ` +
        `which are always 1: every score is 0`,
    );
  }
  return networks;
}

/** Most layers of one that shares its weights; nothing else in a file bounds them. */
const MOST_SHARED = 4096;

/** How ALBERT's layers share weights: in groups, of which each runs its layers as often as others do. */
function sharedLayers(
  file: ModelFile,
  repeats: number,
): Pick<BertConfig, "layers" | "weightsOf" | "layersOfGroup" | "tableWidth"> {
  const config = readConfig(file);
  const groups = config.count("num_hidden_groups", 1), inner = config.count("inner_group_num", 1);
  const layers = repeats * inner;
  if (groups > repeats || layers > MOST_SHARED) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: num_hidden_layers is ${repeats}, num_hidden_groups ` +
        `${groups} and inner_group_num ${inner}, expected no more groups than layers, and at most ` +
        `${MOST_SHARED} layers in all`,
    );
  }
  const groupOf = (layer: number): number =>
    Math.floor(Math.floor(layer / inner) / (repeats / groups));
  return {
    layers,
    weightsOf: Array.from({ length: layers }, (_, i) => groupOf(i) * inner + i % inner),
    layersOfGroup: inner,
    tableWidth: config.count("embedding_size", 128),
  };
}

function* listWeights(config: BertConfig, file: ModelFile): Iterable<WeightSpec> {
  const { hiddenSize: width, intermediateSize: inner, vocabSize, segments, tasks } = config;
  const { tableWidth = width, weightsOf } = config;
  const { tensors } = file, names = bertNames(file, config.kind, config.layersOfGroup);
  yield keptMatrix("wordTable", vocabSize, tableWidth, names.words);
  const places = config.maxPositions + config.positionOffset;
  yield keptMatrix("positionTable", places, tableWidth, names.positions);
  if (segments) yield keptMatrix("typeTable", segments, tableWidth, names.types);
  if (tasks) yield keptMatrix("taskTable", tasks, tableWidth, names.tasks);
  yield* norm("embeddingNorm", tableWidth, names.embeddingNorm);
  if (config.tableWidth) yield* linear("widen", width, tableWidth, names.widen);
  for (let i = 0; i < config.layers; i++) {
    if (weightsOf && weightsOf.indexOf(weightsOf[i]!) < i) continue; // those of a layer before it
    const of = weightsOf?.[i] ?? i, layer = names.layer(of), { inLayer } = names;
    for (const it of ["q", "k", "v", "o"] as const) {
      yield* linear(`${of}.${it}`, width, width, layer + inLayer[it]);
    }
    yield* norm(`${of}.attentionNorm`, width, layer + inLayer.attentionNorm);
    yield* linear(`${of}.up`, inner, width, layer + inLayer.up);
    yield* linear(`${of}.down`, width, inner, layer + inLayer.down);
    yield* norm(`${of}.mlpNorm`, width, layer + inLayer.mlpNorm);
  }
  // Heads are there where the file has them.
  if (tensors.has(`${names.pooler}.weight`)) yield* linear("pooler", width, width, names.pooler);
  if (tensors.has(`${names.transform}.weight`)) {
    yield* linear("transform", tableWidth, width, names.transform);
    yield* norm("transformNorm", tableWidth, names.transformNorm);
    const hasOwn = tensors.has(names.head);
    if (hasOwn) yield matrix("head", vocabSize, tableWidth, names.head);
    // A head that is not tied has a bias of its own; in files that have both for one, they are equal.
    const ownBias = names.head.replace(/weight$/, "bias");
    const bias = tensors.has(ownBias) ? ownBias : names.headBias;
    yield vector(hasOwn ? "head.bias" : "wordTable.bias", vocabSize, bias);
  }
  if (tensors.has(`${names.relationship}.weight`)) {
    yield* linear("relationship", 2, width, names.relationship);
  }
  for (const task of config.taskHeads ?? []) {
    const head = `scoring_list.${task}`, count = tensors.get(`${head}.weight`)?.shape[0] ?? 0;
    yield keptMatrix(`scores.${task}`, count, width, `${head}.weight`);
    yield vector(`scores.${task}.bias`, count, `${head}.bias`);
  }
  for (const it of config.answers ?? []) yield* answerWeights(it, width);
  // A classifier of single tokens has the same name, and none of the layers before it.
  const { hidden, output } = names.scores;
  if (tensors.has(`${output}.weight`) && tensors.has(`${hidden?.layer ?? names.pooler}.weight`)) {
    const count = countScores(file, `${output}.weight`);
    if (hidden) yield* linear("scoresHidden", width, width, hidden.layer);
    yield keptMatrix("scores", count, width, `${output}.weight`);
    yield vector("scores.bias", count, `${output}.bias`);
  }
}

/** Fields of `config.json`, as the classes of Transformers read them. */
const FIELDS = {
  read: [
    ...["model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"],
    ...["intermediate_size", "hidden_act", "layer_norm_eps", "max_position_embeddings"],
    ...["type_vocab_size", "use_task_id", "task_type_vocab_size", "tie_word_embeddings"],
    ...["answer_num_turn", "answer_att_type", "answer_rnn_type", "answer_merge_opt"],
    ...["answer_mem_type", "answer_weight_norm_on", "mem_cum_type", "task_def_list"],
  ],
  // What the first program that wrote such files said of its pooler.
  harmless: [...HARMLESS_FIELDS, "directionality", "pooler_*"],
  neutral: {
    position_embedding_type: ["absolute"],
    is_decoder: [false],
    add_cross_attention: [false],
    is_encoder_decoder: [false],
    embedding_size: [],
    quantization_config: [],
  },
};

const ALBERT_FIELDS = {
  read: [
    ...FIELDS.read,
    ...["embedding_size", "num_hidden_groups", "inner_group_num"],
  ],
  harmless: [
    ...HARMLESS_FIELDS,
    // Of the program that trained it; no computation of the original reads them.
    ...["classifier_dropout_prob", "down_scale_factor", "gap_size", "net_structure_type"],
    ...["num_memory_blocks", "layers_to_keep"],
  ],
  neutral: (({ embedding_size: _, ...others }) => others)(FIELDS.neutral),
};

const DISTILBERT_FIELDS = {
  read: [
    ...["model_type", "vocab_size", "dim", "n_layers", "n_heads", "hidden_dim", "activation"],
    ...["max_position_embeddings", "tie_word_embeddings"],
  ],
  harmless: [
    ...HARMLESS_FIELDS,
    ...["dropout", "qa_dropout", "seq_classif_dropout", "tie_weights_", "sinusoidal_pos_embds"],
  ],
  neutral: { quantization_config: [] },
};
