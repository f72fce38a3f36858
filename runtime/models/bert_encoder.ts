/**
 * The encoder that BERT and its kin share: a norm behind each block, positions that are learned or
 * rotate, segments, and what heads a file has (Devlin et al., arXiv:1810.04805). The files of the
 * families say how they are configured and where their weights lie.
 *
 * @module
 */

import type { GluKind } from "../../kernels/glu/op.ts";
import type { ActivationName } from "../../kernels/ops.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import { ANSWER_INPUTS, type AnswerNetwork, answerScores } from "./answer_network.ts";
import { SCORES } from "./bert_names.ts";
import { blocks } from "./blocks.ts";
import type { ModelConfig } from "./definition.ts";
import { encoderSpans, positionsFrom, runRows, taskTypes, tokenIds, tokenTypes } from "./inputs.ts";
import type { Programs, RunSizes } from "./program.ts";
import type { RopeConfig } from "./rope_config.ts";
import type { WeightScope } from "./weights.ts";

/** Configuration of such an encoder. */
export interface BertConfig extends ModelConfig {
  /** Heads of each layer. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly intermediateSize: number;
  /** Nonlinearity of the feed-forward block, where that has no gate. */
  readonly activation: ActivationName;
  /** Nonlinearity of the head for masked words. */
  readonly headActivation: ActivationName;
  /** Whose names its tensors have. */
  readonly kind: "albert" | "bert" | "roberta" | "distilbert";
  /** Layers of a group, where these share weights. */
  readonly layersOfGroup?: number;
  /** Width of the tables, which a layer brings to that of the model; the same where absent. */
  readonly tableWidth?: number;
  /** The layer whose weights each layer has, where several have the same; its own where absent. */
  readonly weightsOf?: readonly number[];
  /** Row of the first token's position in the table of positions. */
  readonly positionOffset: number;
  /** Added to variances. */
  readonly layerNormEps: number;
  /** Segments that there are; 0 for a model that has none. */
  readonly segments: number;
  /** Tasks that there are; 0 for a model that has none. */
  readonly tasks: number;
  /** Numbers of the tasks that have a classifier each, as in MT-DNN. */
  readonly taskHeads?: readonly number[];
  /** Tasks whose classifiers are answer networks, as in MT-DNN. */
  readonly answers?: readonly AnswerNetwork[];
  /** Rotary positions of whole heads; learned ones where absent. */
  readonly rotation?: RopeConfig;
  /** Nonlinearity of the gate of the feed-forward block; it has none where absent. */
  readonly gate?: GluKind;
}

/** The program; whole texts, in which every token sees all. */
export function encoderPrograms(config: BertConfig): Programs {
  const { segments, tasks, positionOffset, answers = [] } = config;
  return {
    encode: {
      ids: tokenIds,
      inputs: [
        positionsFrom(positionOffset),
        ...(segments ? [tokenTypes] : []),
        ...(tasks ? [taskTypes] : []),
        runRows,
        encoderSpans,
        ...(answers.length > 0 ? ANSWER_INPUTS : []),
      ],
      record: (g, w, sizes) => recordEncoder(g, config, w, sizes),
    },
    prompts: {
      fields: {
        prefixLength: Infinity,
        ...(segments && { tokenTypeIds: segments }),
        ...(tasks && { taskTypeIds: tasks }),
      },
    },
  };
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
  const { rotation, gate } = config;
  const embedded = embed(
    [ids!, "wordTable"],
    ...(rotation ? [] : [[positions!, "positionTable"] as const]),
    ...(tokenTypes ? [[tokenTypes, "typeTable"] as const] : []),
    ...(taskTypes ? [[taskTypes, "taskTable"] as const] : []),
  );
  const turned = (heads: Tensor): Tensor =>
    rotation
      ? g.op("rope", [heads, positions!, w.tensor("rope")], {
        heads: config.heads,
        pairing: "half",
      })
      : heads;
  let x = layerNorm(embedded, "embeddingNorm", eps); // [tokens, hidden]
  if (w.has("widen")) x = linear(x, "widen");
  for (let i = 0; i < config.layers; i++) {
    g.cut(`layer ${i}`, i);
    const of = config.weightsOf?.[i] ?? i;
    const mixed = attend({
      name: `${i}`,
      q: turned(linear(x, `${of}.q`)),
      stored: { k: turned(linear(x, `${of}.k`)), v: linear(x, `${of}.v`), rows: rows! },
      shape: [runRows, heads, headDim],
      cacheType: "f32",
      spans: spans!,
      heads,
      scale: headDim ** -0.5,
    });
    x = layerNorm(g.op("add", [x, linear(mixed, `${of}.o`)]), `${of}.attentionNorm`, eps);
    const up = linear(x, `${of}.up`); // [tokens, intermediate]
    const inner = gate
      ? g.op("glu", [linear(x, `${of}.gate`), up], { kind: gate })
      : g.op("activation", [up], { kind });
    x = layerNorm(g.op("add", [x, linear(inner, `${of}.down`)]), `${of}.mlpNorm`, eps);
  }
  const hidden = wanted(x); // [rows, hidden]
  g.cut("heads"); // there may be none
  const results: Record<string, Tensor> = { hidden };
  if (w.has("transform")) {
    const { headActivation } = config;
    const changed = g.op("activation", [linear(hidden, "transform")], { kind: headActivation });
    const head = w.has("head") ? "head" : "wordTable";
    results.logits = linear(layerNorm(changed, "transformNorm", eps), head); // [rows, vocab]
  }
  if (w.has("pooler")) {
    results.pooled = g.op("activation", [linear(hidden, "pooler")], { kind: "tanh" });
    if (w.has("relationship")) results.relationship = linear(results.pooled, "relationship");
  }
  for (const task of config.taskHeads ?? []) {
    results[`scores.${task}`] = linear(results.pooled!, `scores.${task}`); // [rows, labels]
  }
  const { answers = [] } = config;
  if (answers.length > 0) {
    const pairs = { states: x, wanted: hidden, rows: rows!, runRows, inputs };
    Object.assign(results, answerScores(g, w, answers, pairs));
  }
  if (w.has("scores")) {
    const { activation = "tanh" } = SCORES[config.kind].hidden ?? {};
    const read = w.has("scoresHidden")
      ? g.op("activation", [linear(hidden, "scoresHidden")], { kind: activation })
      : results.pooled ?? hidden;
    results.scores = linear(read, "scores"); // [rows, labels], of which the first row counts
  }
  return results;
}
