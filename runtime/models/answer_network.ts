/**
 * Stochastic answer networks (Liu et al., arXiv:1804.07888), which MT-DNN (Liu et al., arXiv:1901.11504)
 * has for tasks with two texts: a state, at first a weighted sum of one text's tokens, attends a few
 * times to the other text's, gives scores each time, and goes on as a GRU (Cho et al.,
 * arXiv:1406.1078). While it is trained some of the scores are dropped; here all of them count.
 *
 * Source of names, fields and defaults: `module/san.py`, `module/similarity.py` and `mt_dnn/batcher.py`
 * of https://github.com/namisan/mt-dnn.
 *
 * @module
 */

import { quote } from "../../escape.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import { blocks } from "./blocks.ts";
import { taskHeads } from "./labels.ts";
import type { InputRule } from "./program.ts";
import type { Sequence } from "./sequence.ts";
import { linear, matrix, vector, type WeightSpec } from "./weight_spec.ts";
import type { WeightScope } from "./weights.ts";

/** Such a classifier. */
export interface AnswerNetwork {
  /** Number of its task. */
  readonly task: number;
  /** Scores that it gives. */
  readonly labels: number;
  /** How often it attends. */
  readonly turns: number;
  /** How the state is compared with a token, as `answer_att_type` names it. */
  readonly similarity: "bilinear" | "simple" | "flatsim";
  /** Whether it looks at the difference and the product of both sides as well. */
  readonly merges: boolean;
  /** Whether the probabilities of all turns are averaged; else the scores of the last turn count. */
  readonly averages: boolean;
  /** Whether the state begins with the first text and attends to the second; else the other way round. */
  readonly firstAsks: boolean;
}

/** Most turns of one; the published ones have five. */
const MOST_TURNS = 100;

/**
 * Reads how the networks of a file are made, from what its checkpoint keeps beside the weights or from
 * config.json, which counts where both say it. In place of one that is made otherwise stands a sentence.
 */
export function readAnswerNetworks(file: ModelFile): Map<number, AnswerNetwork | string> {
  const fields: Record<string, unknown> = { ...file.savedConfig, ...file.metadata };
  const {
    answer_num_turn: turns = 5,
    answer_att_type: similarity = "none",
    answer_rnn_type: cell = "gru",
    answer_merge_opt: merge = 0,
    answer_mem_type: memory = 0,
    answer_weight_norm_on: isNormed = false,
    mem_cum_type: sum = "linear",
  } = fields;
  const expected: readonly (readonly [field: string, found: unknown, known: readonly unknown[]])[] =
    [
      ["answer_att_type", similarity, ["bilinear", "simple", "flatsim"]],
      ["answer_rnn_type", cell, ["gru"]],
      ["answer_merge_opt", merge, [0, 1]],
      ["answer_mem_type", memory, [0, 1]],
      ["answer_weight_norm_on", isNormed, [false]],
      ["mem_cum_type", sum, ["simple", "linear"]],
    ];
  const wrong = expected.find(([, found, known]) => !known.includes(found));
  const isCount = Number.isInteger(turns) && turns as number >= 1 && turns as number <= MOST_TURNS;
  const reason = !isCount
    ? `answer_num_turn ${quote(turns)}, expected a whole number from 1 to ${MOST_TURNS}`
    : wrong &&
      `${wrong[0]} ${quote(wrong[1])}, expected ${wrong[2].map((it) => quote(it)).join(" or ")}`;
  return new Map(
    taskHeads(file).answering.map((task) => [
      task,
      reason ?? {
        task,
        labels: file.tensors.get(`${tensorsOf(task)}classifier.proj.weight`)?.shape[0] ?? 0,
        turns: turns as number,
        similarity: similarity as AnswerNetwork["similarity"],
        merges: merge === 1,
        averages: memory === 1,
        // Since 2020, when checkpoints began to list their tasks, the premise comes first.
        firstAsks: !("task_def_list" in fields),
      },
    ]),
  );
}

/** With what the names of a task's tensors begin. */
function tensorsOf(task: number): string {
  return `scoring_list.${task}.`;
}

/** The gates of a GRU in the order of its tensors: reset, update, new state. */
const GATES = ["reset", "update", "new"] as const;

/** The weights of one, as `scoring_list.TASK.…` has them; all states are `width` wide. */
export function* answerWeights(
  { task, labels, similarity, merges }: AnswerNetwork,
  width: number,
): Iterable<WeightSpec> {
  const from = tensorsOf(task), name = `answer.${task}`;
  // What is added to the scores of all tokens alike changes no softmax: such biases are not read.
  const sum = `${from}query_wsum.att.linear.weight`;
  yield vector(`${name}.sum`, width, { tensor: sum, fileShape: [1, width] });
  const score = `${from}attn.score_func.linear`;
  if (similarity === "bilinear") yield* linear(`${name}.similarity`, width, width, score);
  else {
    // Weights of the token, of the state, which all tokens share, and of their product.
    const parts = similarity === "simple" ? 2 : 3;
    for (const [part, own] of [[0, "token"], [2, "product"]] as const) {
      if (part < parts) {
        yield columns("vector", `${name}.${own}`, [width], {
          ...{ tensor: `${score}.weight`, shape: [1, parts * width], first: part * width },
        });
      }
    }
  }
  for (const [side, tensor] of [["in", "ih"], ["state", "hh"]] as const) {
    for (const [i, gate] of GATES.entries()) {
      const rows = [[i * width, width]] as const;
      const of = `${name}.${gate}.${side}`, bias = `${from}rnn.bias_${tensor}`;
      const weight = `${from}rnn.weight_${tensor}`;
      yield matrix(of, width, width, { tensor: weight, fileShape: [3 * width, width], rows });
      yield vector(`${of}.bias`, width, { tensor: bias, fileShape: [3 * width], rows });
    }
  }
  const parts = merges ? SIDES : SIDES.slice(0, 2), tensor = `${from}classifier.proj.weight`;
  for (const [i, side] of parts.entries()) {
    yield columns("matrix", `${name}.scores.${side}`, [labels, width], {
      ...{ tensor, shape: [labels, parts.length * width], first: i * width },
    });
  }
  yield vector(`${name}.scores.seen.bias`, labels, `${from}classifier.proj.bias`);
}

/** What a classifier looks at: what was attended to, the state, and how they differ and agree. */
const SIDES = ["seen", "state", "difference", "product"] as const;

/** Some columns of all rows of a tensor, as far as the weight is wide. */
function columns(
  role: WeightSpec["role"],
  name: string,
  shape: readonly number[],
  from: { tensor: string; shape: readonly [number, number]; first: number },
): WeightSpec {
  const width = shape.at(-1)!, [rows, wide] = from.shape;
  return {
    ...{ name, role, shape, kept: true },
    source: {
      uses: [{ name: from.tensor, shape: from.shape }],
      async values(read) {
        const all = await read(from.tensor), own = new Float32Array(rows * width);
        for (let row = 0; row < rows; row++) {
          const at = row * wide + from.first;
          own.set(all.subarray(at, at + width), row * width);
        }
        return own;
      },
    },
  };
}

/** Tokens of the first text of a pair, with what stands around it. */
function firstText({ ids, tokenTypeIds = [] }: Sequence): number {
  return ids.length - tokenTypeIds.reduce((sum, it) => sum + it, 0);
}

/** Rows of one text of each sequence, as its first token sees them, the only one that answers. */
function textSpans(name: string, isFirst: boolean): InputRule {
  return {
    name,
    step: [0, 0],
    ofResults: true,
    fill({ sequence, offset, count }, i, into, at) {
      const middle = i === 0 ? firstText(sequence) : 0, end = i === 0 ? count : 0;
      into[at] = offset + (isFirst ? 0 : middle);
      into[at + 1] = offset + (isFirst ? middle : end);
    },
  };
}

/** What the networks need to know of a run: where the two texts of each pair lie. */
export const ANSWER_INPUTS: readonly InputRule[] = [
  textSpans("firstText", true),
  textSpans("secondText", false),
];

/** What an encoder gives the networks. */
export interface EncodedPairs {
  /** States of all tokens `[tokens, width]`. */
  readonly states: Tensor;
  /** Those of the tokens whose results are wanted `[rows, width]`. */
  readonly wanted: Tensor;
  /** Row of each token in a cache of this run `[tokens]`. */
  readonly rows: Tensor;
  /** Rows of such a cache. */
  readonly runRows: number;
  /** The inputs of the program. */
  readonly inputs: Readonly<Record<string, Tensor>>;
}

/**
 * Records the networks: `scores.TASK` `[rows, labels]` of each, of which the first row of a pair counts.
 * Those of one that averages are probabilities, whose logarithms the original gives.
 */
export function answerScores(
  g: Graph,
  w: WeightScope,
  networks: readonly AnswerNetwork[],
  { states, wanted, rows, runRows, inputs }: EncodedPairs,
): Record<string, Tensor> {
  const { linear, attend } = blocks(g, w), [, width] = states.shape as [number, number];
  const { firstText, secondText } = inputs as Record<string, Tensor>;
  const minus = (a: Tensor, b: Tensor): Tensor =>
    g.op("add", [a, g.op("scale", [b], { factor: -1 })]);
  const positive = (x: Tensor): Tensor => g.op("activation", [x], { kind: "relu" });
  const sumOf = (all: readonly Tensor[]): Tensor => all.reduce((a, b) => g.op("add", [a, b]));
  const zeros = g.op("scale", [wanted], { factor: 0 }); // [rows, width]
  let stored: { k: Tensor; v: Tensor; rows: Tensor } | undefined = { k: states, v: states, rows };
  /** The mean of a text's states, weighted by a softmax of their products with `q` [rows, width]. */
  const see = (q: Tensor, spans: Tensor): Tensor => {
    const once = stored && { stored };
    stored = undefined;
    return attend({
      ...{ name: "answers", q, ...once, spans, heads: 1, scale: 1 },
      ...{ shape: [runRows, 1, width], cacheType: "f32" },
    });
  };
  const query = (name: string, similarity: AnswerNetwork["similarity"], state: Tensor): Tensor => {
    if (similarity === "bilinear") return linear(state, `${name}.similarity`);
    const token = w.tensor(`${name}.token`);
    return similarity === "simple"
      ? g.op("add", [zeros, token])
      : g.op("add", [g.op("mul", [state, w.tensor(`${name}.product`)]), token]);
  };
  const scoresOf = (name: string, merges: boolean, seen: Tensor, state: Tensor): Tensor => {
    const scores = (side: typeof SIDES[number], x: Tensor): Tensor =>
      linear(x, `${name}.scores.${side}`);
    const both = [scores("seen", seen), scores("state", state)];
    if (!merges) return sumOf(both);
    const apart = g.op("add", [positive(minus(seen, state)), positive(minus(state, seen))]);
    return sumOf([
      ...both,
      scores("difference", apart),
      scores("product", g.op("mul", [seen, state])),
    ]);
  };
  /** The state after it has seen something. */
  const nextState = (name: string, seen: Tensor, state: Tensor): Tensor => {
    const [reset, update] = (["reset", "update"] as const).map((gate) =>
      g.op("activation", [
        g.op("add", [linear(seen, `${name}.${gate}.in`), linear(state, `${name}.${gate}.state`)]),
      ], { kind: "sigmoid" })
    );
    const kept = g.op("mul", [linear(state, `${name}.new.state`), reset!]);
    const proposed = g.op("activation", [g.op("add", [linear(seen, `${name}.new.in`), kept])], {
      kind: "tanh",
    });
    return g.op("add", [proposed, g.op("mul", [update!, minus(state, proposed)])]);
  };
  return Object.fromEntries(networks.map(({ task, turns, similarity, merges, ...network }) => {
    const name = `answer.${task}`, { averages, firstAsks } = network;
    const [asking, asked] = firstAsks ? [firstText!, secondText!] : [secondText!, firstText!];
    let state = see(g.op("add", [zeros, w.tensor(`${name}.sum`)]), asking); // [rows, width]
    const all: Tensor[] = []; // [rows, labels] each
    for (let turn = 0; turn < turns; turn++) {
      const seen = see(query(name, similarity, state), asked);
      if (averages || turn === turns - 1) all.push(scoresOf(name, merges, seen, state));
      if (turn < turns - 1) state = nextState(name, seen, state);
    }
    const mean = (): Tensor =>
      g.op("scale", [sumOf(all.map((it) => g.op("softmax", [it])))], { factor: 1 / turns });
    return [`scores.${task}`, averages ? mean() : all[0]!];
  }));
}
