// @ts-nocheck: `deno test` would type-check this file in every worker, with the user's own options.
/**
 * A worker that makes weights smaller: it instantiates the module on the memory that all share, and
 * carries out the steps of one task after another. It is loaded as text into a Blob, so it imports
 * nothing and is plain JavaScript. Steps are described in pool.ts.
 */

let memory, exports;
const files = new Map();

self.onmessage = ({ data }) => {
  if (data.module) {
    memory = data.memory;
    exports = new WebAssembly.Instance(data.module, { env: { memory } }).exports;
    self.postMessage("ready");
    return;
  }
  if (data.close) {
    for (const file of files.values()) file.close();
    files.clear();
    self.postMessage({ value: 1 });
    return;
  }
  try {
    let value = 1;
    for (const [kind, ...args] of data.steps) {
      if (kind === "call") value = exports[args[0]](...args.slice(1)) ?? 1;
      else if (kind === "read") read(...args);
      else write(...args);
      if (value === 0) break;
    }
    self.postMessage({ value });
  } catch (error) {
    self.postMessage({ error: { message: String(error.message ?? error), code: error.code } });
  }
};

function open(path, options) {
  const key = `${path} ${options.write ? "w" : "r"}`;
  if (!files.has(key)) {
    files.set(key, Deno.openSync(/^file:/i.test(path) ? new URL(path) : path, options));
  }
  return files.get(key);
}

function read(path, offset, address, bytes) {
  const file = open(path, { read: true });
  const target = new Uint8Array(memory.buffer, address, bytes);
  file.seekSync(offset, Deno.SeekMode.Start);
  for (let got = 0; got < bytes;) {
    const count = file.readSync(target.subarray(got));
    if (count === null) throw new Error(`the file ends at byte ${offset + got}`);
    got += count;
  }
}

function write(path, offset, address, bytes) {
  const file = open(path, { write: true });
  const source = new Uint8Array(memory.buffer, address, bytes);
  file.seekSync(offset, Deno.SeekMode.Start);
  for (let done = 0; done < bytes;) done += file.writeSync(source.subarray(done));
}
