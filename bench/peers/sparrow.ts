/**
 * Sparrow itself, as a program that uses it would: `compile` for products, sessions for models.
 *
 * @module
 */

import { compile, Graph } from "../../graph.ts";
import { loadModel } from "../../mod.ts";
import { drawSentences, meanRow } from "../synthetic_encoder.ts";
import { type Job, numbers, type Peer, timed, tokenIds, type Work } from "./peer.ts";

type Backend = "wasm" | "webgpu";

/** Sparrow on one of its backends. */
export function sparrow(backend: Backend): Peer {
  return {
    name: backend === "wasm" ? "sparrow" : `sparrow-${backend}`,
    what: `${backend} backend in Deno`,
    open: (work, threads) => {
      if (work.kind === "matmul") return openMatmul(work, threads, backend);
      if (work.kind === "embed") return openEncoder(work, threads, backend);
      return openModel(work, threads, backend);
    },
  };
}

async function openMatmul(
  { layout, tokens, rows, columns }: Work & { kind: "matmul" },
  threads: number,
  backend: Backend,
): Promise<Job> {
  const graph = new Graph({ tokens });
  const x = graph.input("x", ["tokens", columns]);
  graph.output("y", graph.op("matmul", [x, graph.matrix("w", [rows, columns], layout)]));
  const weights = { w: numbers(rows * columns) };
  const program = await compile(graph, { backend, threads, weights });
  const data = { x: numbers(tokens * columns) };
  return { run: () => timed(() => program.run(data)) };
}

async function openModel(
  work: Work & { kind: "decode" | "prefill" },
  threads: number,
  backend: Backend,
): Promise<Job> {
  const held = work.kind === "decode" ? work.position + work.tokens : work.tokens;
  const model = await loadModel(work.model, {
    backend,
    threads,
    contextLength: Math.max(16, held + 8),
  });
  const session = model.session();
  if (work.kind === "prefill") {
    return {
      run() {
        session.reset();
        return timed(() => session.prefill(tokenIds(work.tokens)));
      },
    };
  }
  const ids = tokenIds(work.position);
  await session.prefill(ids);
  const generate = async (): Promise<void> => {
    const options = { temperature: 0, maxTokens: work.tokens, stopIds: [] };
    for await (const _ of session.generate([...ids, 5], options));
  };
  return {
    run() {
      session.truncate(work.position);
      return timed(generate);
    },
  };
}

async function openEncoder(
  { folder, weights, size, texts }: Work & { kind: "embed" },
  threads: number,
  backend: Backend,
): Promise<Job> {
  const model = await loadModel(folder, {
    ...{ backend, threads },
    ...(weights === "f16" ? {} : { weights }), // the folder has them so
  });
  const all = drawSentences(texts, size.vocab);
  let vectors: Float32Array[] = [];
  const embed = async (ids: readonly number[]): Promise<Float32Array> => {
    const { hidden } = await model.encode(ids);
    return meanRow(hidden, size.hidden, 0, ids.length);
  };
  return {
    run: () => timed(async () => vectors = await Promise.all(all.map(embed))),
    sample: () => Array.from(vectors[0]!),
  };
}
