/**
 * llama.cpp as npm's `node-llama-cpp` ships it: its native build for this processor, or one for
 * a GPU.
 *
 * @module
 */

import { Absent, type Job, loadPackage, type Peer, timed, tokenIds, type Work } from "./peer.ts";

/** Where its arithmetic is done: on the processor, or through a GPU's interface. */
type Gpu = false | "vulkan" | "cuda";

/** llama.cpp, native. */
export function llamaCpp(gpu: Gpu): Peer {
  return {
    name: gpu ? `llama.cpp-${gpu}` : "llama.cpp",
    what: `native ${gpu || "CPU"} build of node-llama-cpp`,
    async open(work, threads) {
      if (work.kind === "matmul" || work.kind === "embed") {
        throw new Absent("llama.cpp runs GGUF models only");
      }
      return await openModel(work, threads, gpu);
    },
  };
}

async function openModel(
  work: Work & { kind: "decode" | "prefill" },
  threads: number,
  gpu: Gpu,
): Promise<Job> {
  const { getLlama, LlamaLogLevel } = await loadPackage("node-llama-cpp", "dist/index.js");
  const options = { gpu, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error };
  const llama = await getLlama(options).catch((cause: Error) => {
    throw new Absent(`llama.cpp has no ${gpu || "CPU"} build that runs here (${cause.name})`);
  });
  if (llama.gpu !== gpu) throw new Absent(`llama.cpp found no ${gpu} here`);
  const model = await llama.loadModel({ modelPath: work.model });
  const held = work.kind === "decode" ? work.position + work.tokens : work.tokens;
  const context = await model.createContext({
    contextSize: held + 8,
    batchSize: Math.min(512, held),
    threads,
  });
  const sequence = context.getSequence();
  if (work.kind === "prefill") {
    return {
      async run() {
        await sequence.clearHistory();
        return await timed(() =>
          sequence.evaluateWithoutGeneratingNewTokens(tokenIds(work.tokens))
        );
      },
    };
  }
  await sequence.evaluateWithoutGeneratingNewTokens(tokenIds(work.position));
  const generate = async (): Promise<void> => {
    let count = 0;
    for await (const _ of sequence.evaluate([5], { temperature: 0, yieldEogToken: true })) {
      if (++count >= work.tokens) break;
    }
  };
  return {
    async run() {
      const end = sequence.nextTokenIndex;
      if (end > work.position) {
        await sequence.eraseContextTokenRanges([{ start: work.position, end }]);
      }
      return await timed(generate);
    },
  };
}
