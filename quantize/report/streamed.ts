/**
 * The predictions of a large model beside those of its source: both layer by layer, so that neither is
 * in memory as a whole.
 *
 * @module
 */

import type { ResolvedModel } from "../../runtime/engine/resolve.ts";
import type { ModelFile } from "../../runtime/files/model_file.ts";
import { comparePredictions, type Comparison } from "../compare.ts";
import {
  advance,
  compileGraph,
  forget,
  layersOf,
  resolveAgain,
  type RunOptions,
  runText,
  streamOf,
} from "../layers.ts";

/**
 * Compares the file `made` with its source on texts.
 *
 * @param model the source's model for texts, its weights in f32
 * @param onSection told how many sections of how many both have come through
 */
export async function compareStreamed(
  file: ModelFile,
  made: ModelFile,
  model: ResolvedModel,
  texts: readonly (readonly number[])[],
  { onSection, ...where }: RunOptions & {
    readonly onSection: (done: number, total: number) => void;
  },
): Promise<Comparison> {
  const layers = layersOf(file.name, model), { program, sections } = layers;
  const exact = streamOf(texts, model);
  const rounded = streamOf(texts, await resolveAgain(made, model, "as-is"));
  for (const [i, section] of sections.slice(0, -1).entries()) {
    onSection(i, sections.length);
    for (const stream of [exact, rounded]) {
      await advance(layers, section, stream, where);
      forget(layers, stream, i + 1);
    }
  }
  const last = sections.at(-1)!, { through } = last;
  await using a = await compileGraph(through, exact, where);
  await using b = await compileGraph(through, rounded, where);
  return await comparePredictions(model.config.vocabSize, texts, async (i) => {
    const p = await runText(program, through, last, exact, a, i);
    const q = await runText(program, through, last, rounded, b, i);
    return [p.valueOf("logits"), q.valueOf("logits")];
  }, { signal: where.signal });
}
