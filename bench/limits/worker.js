// @ts-nocheck: plain JavaScript, as the product's workers are.
/**
 * A worker of calibrate.ts: starts each measurement together with its fellows, and answers how long
 * its own part took, in milliseconds.
 */

/** Words of `gate`: arrivals of all measurements so far. */
const ARRIVED = 0;

let exports, gate, share, arrivals = 0;
/** `memchr` of the C library: a read by native code, as wide as the processor can. */
let memchr;

self.onmessage = ({ data }) => {
  if (data.module) {
    const { module, memory } = data;
    exports = new WebAssembly.Instance(module, { env: { memory } }).exports;
    gate = data.gate;
    share = new Uint8Array(memory.buffer, data.address, data.bytes);
    share.fill(3); // pages that were never written are all one page of zeros
    memchr = openMemchr();
    self.postMessage({ native: memchr !== undefined });
    return;
  }
  const { task, workers, amount } = data;
  arrivals = data.before + workers;
  Atomics.add(gate, ARRIVED, 1);
  while (Atomics.load(gate, ARRIVED) < arrivals);
  const begun = performance.now();
  run(task, amount);
  self.postMessage({ ms: performance.now() - begun });
};

function run(task, amount) {
  const address = share.byteOffset;
  if (task === "dram") exports.readStream(address, share.length, amount);
  else if (task === "cache") exports.readStream(address, 2 ** 17, amount);
  else if (task === "madd") exports.multiplyAdd(amount);
  else if (task === "dot") exports.dotBytes(amount);
  else for (let pass = 0; pass < amount; pass++) memchr(share, 7, BigInt(share.length));
}

function openMemchr() {
  const names = { linux: "libc.so.6", darwin: "libSystem.dylib", windows: "ucrtbase.dll" };
  try {
    const signature = { parameters: ["buffer", "i32", "usize"], result: "pointer" };
    return Deno.dlopen(names[Deno.build.os], { memchr: signature }).symbols.memchr;
  } catch {
    return undefined; // no such library here, or no permission
  }
}
