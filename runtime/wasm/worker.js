// @ts-nocheck: `deno test` would type-check this file in every worker, with the user's own options.
/**
 * A worker of the WebAssembly backend: instantiates the kernels once per stage, then sleeps until
 * the main thread posts a job, runs every stage's tape with its fellows, and sleeps again.
 * It is loaded as text into a Blob, so it imports nothing and is plain JavaScript.
 * Words of `job`: see pool.ts.
 */

const EPOCH = 0, FINISHED = 1, ARRIVED = 2, FAILED = 3, QUIT = 4, STAGES = 5, BODY = 6;

/** `{ module: WebAssembly.Module, memories: WebAssembly.Memory[], job: Int32Array }` */
let setup;
/** Exports of the kernels, one instance per stage. */
let stages;

self.onmessage = async ({ data }) => {
  if ("module" in data) {
    setup = data;
    const instances = setup.memories.map((memory) =>
      WebAssembly.instantiate(setup.module, { env: { memory } })
    );
    stages = (await Promise.all(instances)).map((it) => it.exports);
    self.postMessage("ready");
  } else {
    serve(data.worker, data.workers);
    self.close();
  }
};

/** Runs jobs until told to quit. */
function serve(worker, workers) {
  const { job } = setup;
  for (let epoch = 0;;) {
    Atomics.wait(job, EPOCH, epoch);
    const next = Atomics.load(job, EPOCH);
    if (next === epoch) continue;
    epoch = next;
    if (Atomics.load(job, QUIT)) return;
    try {
      runJob(worker, workers);
    } catch (error) {
      // The others may wait at a barrier for ever; the main thread ends them.
      Atomics.store(job, FAILED, 1);
      Atomics.store(job, FINISHED, epoch);
      Atomics.notify(job, FINISHED);
      self.postMessage(String(error));
      return;
    }
    if (Atomics.add(job, ARRIVED, 1) === workers - 1) {
      Atomics.store(job, FINISHED, epoch);
      Atomics.notify(job, FINISHED);
    }
  }
}

/** Per stage: tape, steps, number of copies, then the copies: stage, from, to, bytes. */
function runJob(worker, workers) {
  const { job, memories } = setup;
  let at = BODY;
  for (let left = job[STAGES]; left > 0; left--) {
    const stage = job[at], tape = job[at + 1] >>> 0, steps = job[at + 2];
    let copies = job[at + 3];
    for (at += 4; copies > 0; copies--, at += 4) {
      if (worker !== 0) continue; // the others wait for worker 0 in the tape's first barrier
      const bytes = job[at + 3];
      const source = new Uint8Array(memories[job[at]].buffer, job[at + 1] >>> 0, bytes);
      new Uint8Array(memories[stage].buffer, job[at + 2] >>> 0, bytes).set(source);
    }
    stages[stage].run(tape, steps, worker, workers);
  }
}
