/**
 * llama.cpp's own quantizer, from the library in npm's `node-llama-cpp`, in a process of its own: what
 * it cannot do ends the process.
 *
 * Source: `llama_model_quantize` of llama.cpp (ggml-org/llama.cpp, include/llama.h).
 *
 * @module
 */

import { readImatrix } from "../../quantize/imatrix.ts";
import { Absent, PEERS_FOLDER } from "./peer.ts";

/** Numbers of `llama_ftype`. */
export const LLAMA_TYPES: Readonly<Record<string, number>> = {
  ...{ Q4_0: 2, Q4_1: 3, Q8_0: 7, Q5_0: 8, Q5_1: 9 },
  ...{ Q4_K_S: 14, Q4_K_M: 15, Q5_K_S: 16, Q5_K_M: 17, Q6_K: 18, IQ4_NL: 25 },
};

/** What it shall do. */
export interface LlamaQuantize {
  readonly source: string;
  readonly destination: string;
  /** One of `LLAMA_TYPES`. */
  readonly type: string;
  /** An importance file. */
  readonly imatrix?: string;
  /** Where `node_modules` has node-llama-cpp; the peers' folder where absent. */
  readonly packages?: string | undefined;
}

/**
 * Quantizes a GGUF file as llama.cpp does.
 *
 * @throws Absent when it is not installed, or cannot
 */
export async function llamaQuantize(work: LlamaQuantize): Promise<void> {
  const library = await findLibrary(work.packages);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "-A", import.meta.url, JSON.stringify({ ...work, library })],
    stdout: "null",
    stderr: "piped",
  }).output();
  if (success) return;
  const lines = new TextDecoder().decode(stderr).trim().split("\n");
  const reason = lines.findLast((it) => it.includes("failed to quantize")) ?? lines.at(-1);
  throw new Absent(`llama.cpp could not quantize to ${work.type}: ${reason}`);
}

/** The library of this processor. */
async function findLibrary(packages?: string): Promise<string> {
  const root = packages ?? PEERS_FOLDER.pathname;
  const name = { linux: "linux", darwin: "mac", windows: "win" }[Deno.build.os as "linux"];
  const arch = Deno.build.arch === "aarch64" ? "arm64" : "x64";
  const platform = `${name}-${arch}${name === "mac" && arch === "arm64" ? "-metal" : ""}`;
  const folder = `${root}/node_modules/@node-llama-cpp/${platform}/bins/${platform}`;
  try {
    for await (const file of Deno.readDir(folder)) {
      if (/^(lib)?llama(\.[\d.v]+)?\.(so|dylib|dll)$|^libllama\.v?[\d.]+so$/.test(file.name)) {
        return `${folder}/${file.name}`;
      }
    }
  } catch {
    // Said below.
  }
  throw new Absent('llama.cpp is not installed; "deno task bench peers --install" does that');
}

if (import.meta.main) await run(JSON.parse(Deno.args[0]!));

async function run(
  { source, destination, type, imatrix, library }: LlamaQuantize & { library: string },
): Promise<never> {
  const text = (value: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(`${value}\0`);
  const { symbols } = Deno.dlopen(library, {
    llama_model_quantize_default_params: { parameters: ["buffer"], result: "pointer" },
    llama_model_quantize: { parameters: ["buffer", "buffer", "buffer"], result: "u32" },
  });
  // struct llama_model_quantize_params: nthread, ftype, two types, six flags, then pointers from 24 on.
  const params = new Uint8Array(256), view = new DataView(params.buffer);
  symbols.llama_model_quantize_default_params(params);
  view.setInt32(0, 2, true);
  view.setInt32(4, LLAMA_TYPES[type]!, true);
  params[16] = 1; // allow_requantize
  const address = (bytes: BufferSource): bigint =>
    Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
  const held: BufferSource[] = [];
  if (imatrix !== undefined) {
    const importances = await readImatrix(imatrix);
    // struct llama_model_imatrix_data { name, data, size }, ended by one without a name.
    const list = new BigUint64Array(3 * (importances.size + 1));
    for (const [i, [name, { meanSquares }]] of Array.from(importances).entries()) {
      const [label, numbers] = [text(name), Float32Array.from(meanSquares)];
      held.push(label, numbers);
      list.set([address(label), address(numbers), BigInt(numbers.length)], 3 * i);
    }
    held.push(list);
    view.setBigUint64(24, address(list), true);
  }
  const code = symbols.llama_model_quantize(text(source), text(destination), params);
  Deno.exit(held.length >= 0 && code === 0 ? 0 : 1);
}
