/**
 * Words in clusters by their frequency: the rarer they are, the narrower their rows. A word's row is
 * brought to the model's width by its cluster's projection (adaptive embeddings: Baevski and Auli,
 * arXiv:1809.10853), and its probability is that of its cluster, which the head gives beside those of the
 * most frequent words, times that within the cluster (adaptive softmax: Grave et al., arXiv:1609.04309).
 *
 * Names of tensors are those of the Transformer-XL of Transformers. Its cluster i is column
 * `cutoffs[0] + i - 1` of the head.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readConfig } from "../files/config.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import { blocks } from "./blocks.ts";
import { keptMatrix, matrix, type TensorSource, vector, type WeightSpec } from "./weight_spec.ts";
import type { WeightScope } from "./weights.ts";

/** Words whose rows are equally wide. */
export interface Cluster {
  /** The first of them. */
  readonly first: number;
  /** How many there are. */
  readonly words: number;
  /** Numbers in their rows. */
  readonly width: number;
  /** Which of the file's tables they are in, and where that begins. */
  readonly table: { readonly number: number; readonly first: number; readonly words: number };
  /** Projection from their width to the model's; undefined where that is the same. */
  readonly projection: string | undefined;
  /** Projection from the model's width to theirs, which lies there transposed. */
  readonly headProjection: string | undefined;
  /** Whether the head has the rows of the embedding. */
  readonly tied: boolean;
}

const EMBEDDING = "transformer.word_emb.", HEAD = "crit.";

/**
 * Reads how words are divided; the first cluster has the most frequent ones.
 *
 * @throws ModelError when cutoffs do not divide the vocabulary, or rows would have no numbers
 */
export function readWords(file: ModelFile, vocabSize: number, hiddenSize: number): Cluster[] {
  const config = readConfig(file);
  const width = config.count("d_embed", 1024), divisor = config.count("div_val", 4);
  const cutoffs = config.get("cutoffs") ?? [20000, 40000, 200000];
  const ends = Array.isArray(cutoffs) ? [...cutoffs, vocabSize] : [];
  const areRising = ends.length > 0 &&
    ends.every((end, i) => Number.isInteger(end) && end > (i > 0 ? ends[i - 1] : 0));
  const narrowest = Math.floor(width / divisor ** (ends.length - 1));
  if (!areRising || narrowest < 1) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: cutoffs are ${quote(cutoffs, 60)} of ${vocabSize} words, ` +
        `with d_embed ${width} and div_val ${divisor}, expected rising numbers below the ` +
        `vocabulary, and rows of at least one number`,
    );
  }
  const shared = config.flag("proj_share_all_but_first", true);
  const tiedProjections = config.get("tie_projs") ?? ends.map((_, i) => shared && i > 0);
  if (!Array.isArray(tiedProjections) || tiedProjections.length !== ends.length) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: tie_projs is ${quote(tiedProjections, 60)}, expected ` +
        `true or false for each of ${ends.length} clusters`,
    );
  }
  const tied = config.flag("tie_word_embeddings", true), isOne = divisor === 1;
  const isProjected = !isOne || width !== hiddenSize;
  return ends.map((end: number, i) => {
    const first = i > 0 ? ends[i - 1] : 0, words = end - first;
    const projection = isProjected ? `${EMBEDDING}emb_projs.${isOne ? 0 : i}` : undefined;
    return {
      ...{ first, words, tied, projection },
      width: Math.floor(width / divisor ** i),
      table: isOne ? { number: 0, first, words: vocabSize } : { number: i, first: 0, words },
      headProjection: isProjected
        ? tiedProjections[i] === true ? projection : `${HEAD}out_projs.${i}`
        : undefined,
    };
  });
}

/** Lists the weights of the embedding and of the head. */
export function* listWords(
  clusters: readonly Cluster[],
  hiddenSize: number,
): Iterable<WeightSpec> {
  for (const [i, cluster] of clusters.entries()) {
    const { words, width, table, projection, headProjection, tied } = cluster;
    const part = (tensor: string, ...columns: number[]): TensorSource => ({
      tensor,
      fileShape: [table.words, ...columns],
      ...(table.words !== words && { rows: [[table.first, words]] }),
    });
    const name = tied ? `words.${i}` : `head.${i}`, head = `${HEAD}out_layers.${table.number}.`;
    const rows = `${EMBEDDING}emb_layers.${table.number}.weight`;
    yield keptMatrix(`words.${i}`, words, width, part(rows, width));
    if (!tied) yield matrix(name, words, width, part(`${head}weight`, width));
    yield vector(`${name}.bias`, words, part(`${head}bias`));
    if (projection) yield matrix(`words.${i}.projection`, hiddenSize, width, projection);
    if (headProjection) {
      const source = { tensor: headProjection, transposed: true };
      yield matrix(`head.${i}.projection`, width, hiddenSize, source);
    }
  }
  if (clusters.length === 1) return;
  // The logit of the column that makes room for the words of the first cluster is 0.
  const { width } = clusters[0]!, count = clusters.length;
  for (
    const [name, tensor, columns] of [
      ["clusters", "cluster_weight", width],
      ["clusters.bias", "cluster_bias", 1],
    ] as const
  ) {
    const isMatrix = name === "clusters";
    yield {
      name,
      role: isMatrix ? "matrix" : "vector",
      shape: isMatrix ? [count, columns] : [count],
      source: {
        uses: [{ name: HEAD + tensor, shape: isMatrix ? [count - 1, columns] : [count - 1] }],
        async values(read) {
          const all = new Float32Array(count * columns); // [1 + clusters behind the first, columns]
          all.set(await read(HEAD + tensor), columns);
          return all;
        },
      },
    };
  }
}

/** The rows of words, in the width of the model and scaled by its root: `[tokens, hidden]`. */
export function adaptiveWords(
  g: Graph,
  w: WeightScope,
  clusters: readonly Cluster[],
  hiddenSize: number,
  ids: Tensor,
): Tensor {
  const { linear } = blocks(g, w);
  const rows = clusters.map(({ first, projection }, i) => {
    const own = g.op("embed", [ids, w.tensor(`words.${i}`)], { first }); // zeros for others' words
    return projection ? linear(own, `words.${i}.projection`) : own;
  });
  const sum = rows.reduce((a, b) => g.op("add", [a, b]));
  return g.op("scale", [sum], { factor: hiddenSize ** 0.5 });
}

/** Natural logarithms of the probabilities of all words: `[rows, hidden] → [rows, vocab]`. */
export function adaptiveLogits(
  g: Graph,
  w: WeightScope,
  clusters: readonly Cluster[],
  hidden: Tensor,
): Tensor {
  const { linear } = blocks(g, w);
  const states = clusters.map(({ headProjection }, i) =>
    headProjection ? linear(hidden, `head.${i}.projection`) : hidden
  );
  const [frequent, ...rare] = clusters.map(({ tied }, i) =>
    linear(states[i]!, tied ? `words.${i}` : `head.${i}`)
  );
  if (rare.length === 0) return g.op("logSoftmax", [frequent!]);
  const chosen = linear(states[0]!, "clusters"); // [rows, clusters], the first column 0
  const head = g.op("divideColumn", [chosen, frequent!], { column: 0 });
  return rare.reduce(
    (words, logits, i) =>
      g.op("divideColumn", [words, g.op("logSoftmax", [logits])], {
        column: clusters[i + 1]!.first,
      }),
    g.op("logSoftmax", [head]),
  );
}
