/**
 * The peers by name, and what their processes are asked and answer.
 *
 * @module
 */

import type { Peer, Work } from "./peer.ts";

/** How to load each. */
export const PEERS: Readonly<Record<string, () => Promise<Peer>>> = {
  sparrow: async () => (await import("./sparrow.ts")).sparrow("wasm"),
  "llama.cpp": async () => (await import("./llama_cpp.ts")).llamaCpp(false),
  "onnxruntime-node": async () => (await import("./onnx.ts")).onnxNode,
  "onnxruntime-web": async () => (await import("./onnx.ts")).onnxWeb,
  "tfjs-wasm": async () => (await import("./tfjs_wasm.ts")).tfjsWasm,
  wllama: async () => (await import("./wllama.ts")).wllama,
  "sparrow-webgpu": async () => (await import("./sparrow.ts")).sparrow("webgpu"),
  "llama.cpp-vulkan": async () => (await import("./llama_cpp.ts")).llamaCpp("vulkan"),
  "llama.cpp-cuda": async () => (await import("./llama_cpp.ts")).llamaCpp("cuda"),
};

/** Those that Sparrow is compared with on a processor, where nobody says otherwise. */
export const CPU_PEERS: readonly string[] = Object.keys(PEERS).slice(1, 6);

/** Begins a line that is an answer. */
export const ANSWER = "#answer ";

/** What a peer's process is asked: to make a work ready, or to do it once. */
export type Question = { readonly work: Work; readonly threads: number } | { readonly run: true };

/** What it answers. */
export type Answer =
  | { readonly ready: string; readonly what: string }
  | { readonly absent: string }
  | { readonly ms: number; readonly sample?: readonly number[] };
