/**
 * wllama: llama.cpp as WebAssembly. It is made for pages; what it takes of them that Deno has not is
 * given to it here.
 *
 * @module
 */

import { Absent, type Job, loadPackage, type Peer, PEERS_FOLDER, type Work } from "./peer.ts";

/** llama.cpp as WebAssembly. */
export const wllama: Peer = {
  name: "wllama",
  what: "WebAssembly in Deno; its own clock, without the way to its worker",
  async open(work, threads) {
    if (work.kind === "matmul" || work.kind === "embed") {
      throw new Absent("wllama runs GGUF models only");
    }
    return await openModel(work, threads);
  },
};

async function openModel(
  work: Work & { kind: "decode" | "prefill" },
  threads: number,
): Promise<Job> {
  pretendPage();
  const { Wllama } = await loadPackage("@wllama/wllama", "esm/index.js");
  const file = new URL("node_modules/@wllama/wllama/esm/wasm/wllama.wasm", PEERS_FOLDER);
  const wasm = new Blob([await Deno.readFile(file)], { type: "application/wasm" });
  const wllama = new Wllama({ default: URL.createObjectURL(wasm) }, {
    suppressNativeLog: true,
    cacheManager: {},
  });
  const held = work.kind === "decode" ? work.position + work.tokens : work.tokens;
  const blob = new Blob([await Deno.readFile(work.model)]);
  await wllama.loadModel([blob], {
    n_ctx: held + 32,
    n_batch: 512,
    n_threads: threads,
    n_gpu_layers: 0,
  });
  const isPrefill = work.kind === "prefill";
  const wanted = isPrefill ? work.tokens : work.position;
  const complete = async (prompt: string, more: object): Promise<Completion> =>
    await wllama.createCompletion({ prompt, max_tokens: 1, temperature: 0, ...more });
  // It takes text, not tokens: as many letters as make the wanted number of them.
  let letters = wanted, prompt = "";
  for (let tries = 0, found = 0; tries < 6 && found !== wanted; tries++) {
    letters += Math.round((wanted - found) * letters / (found || Infinity));
    prompt = Array.from({ length: letters }, (_, i) => LETTERS[i * 7919 % 25]).join("");
    found = (await complete(prompt, { cache_prompt: true })).usage.prompt_tokens;
  }
  return {
    async run() {
      if (isPrefill) {
        const { timings } = await complete(prompt, { cache_prompt: false });
        return timings.prompt_ms * work.tokens / timings.prompt_n;
      }
      // One token wins always: it fails on bytes that are no text, as random models choose them.
      const always = { logit_bias: { 100: 1000 }, ignore_eos: true };
      const more = { max_tokens: work.tokens, cache_prompt: true, ...always };
      const { timings } = await complete(prompt, more);
      return timings.predicted_ms * work.tokens / timings.predicted_n;
    },
  };
}

/** What it answers, as far as it is used here. */
interface Completion {
  readonly usage: { readonly prompt_tokens: number };
  readonly timings: {
    readonly prompt_ms: number;
    readonly prompt_n: number;
    readonly predicted_ms: number;
    readonly predicted_n: number;
  };
}

/** Not w, with which the words of synthetic vocabularies begin. */
const LETTERS = "abcdefghijklmnopqrstuvxyz";

/** What its workers are told before their own code: that this is a page, not Node. */
const PRETENCE = `
  globalThis.process = undefined;
  globalThis.Worker = class extends Worker {
    constructor(url, options) { super(url, { ...options, type: "module" }); }
  };
`;

/** It asks a page for its address, and makes workers of text. */
function pretendPage(): void {
  const { Blob } = globalThis;
  Object.assign(globalThis, { document: { baseURI: import.meta.url } });
  globalThis.Blob = class extends Blob {
    constructor(parts: BlobPart[] = [], options: BlobPropertyBag = {}) {
      super(options.type === "text/javascript" ? [PRETENCE, ...parts] : parts, options);
    }
  };
}
