/**
 * How fast this machine reads memory, measured in a second with what reads it when models run: a
 * product of the WebAssembly backend, on all cores.
 *
 * @module
 */

import { placeGraphs } from "../runtime/backends/placement.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import { Graph } from "../runtime/graph/graph.ts";

/** Extents of the matrix: 256 MiB, more than caches hold. */
const ROWS = 8192, COLUMNS = 8192;
/** Rows that are written at a time. */
const PIECE = 64;
const RUNS = 4;

/** Bytes that are read in a second, the most of a few runs. */
export async function measureBandwidth(): Promise<number> {
  const backend = await createWasmBackend();
  try {
    const g = new Graph(), x = g.input("x", [1, COLUMNS]);
    g.output("y", g.op("matmul", [x, g.matrix("w", [ROWS, COLUMNS])]));
    const placement = placeGraphs(backend, [g]);
    const piece = new Uint8Array(new Float32Array(PIECE * COLUMNS).fill(0.5).buffer);
    for (let row = 0; row < ROWS; row += PIECE) await backend.writeRows("w", row, piece);
    const executable = placement.compile(g);
    executable.write("x", new Float32Array(COLUMNS).fill(1));
    let best = Infinity;
    for (let run = 0; run <= RUNS; run++) {
      const begun = performance.now();
      await executable.run(1);
      if (run > 0) best = Math.min(best, performance.now() - begun); // the first one warms up
    }
    return 4 * ROWS * COLUMNS / best * 1000;
  } finally {
    await backend.dispose();
  }
}
