// @ts-nocheck: `deno test` would type-check this file in every worker, with the user's own options.
/**
 * A worker of the WebAssembly backend: instantiates the kernels once per stage, loads weights where
 * it is told to, then sleeps until the main thread posts a job, runs every stage's tape with its
 * fellows, and sleeps again. It is loaded as text into a Blob, so it imports nothing and is plain
 * JavaScript. Words of `job`: see pool.ts; words of `control`: see loader.ts.
 */

const EPOCH = 0, FINISHED = 1, ARRIVED = 2, FAILED = 3, QUIT = 4, STAGES = 5, BODY = 6;
const NEXT = 0, STOP = 1, TRAYS = 2;
/** Rows that are converted and packed at a time, and where a kernel rejects a value. */
const PANEL_ROWS = 16, REJECTED = 64;

/** `{ module: WebAssembly.Module, memories: WebAssembly.Memory[], job: Int32Array }` */
let setup;
/** Exports of the kernels, one instance per stage. */
let stages;
/** What came earlier; messages are worked off one after the other. */
let last = Promise.resolve();

self.onmessage = ({ data }) => {
  last = last.then(() => handle(data));
};

async function handle(data) {
  if ("module" in data) {
    setup = data;
    const instances = setup.memories.map((memory) =>
      WebAssembly.instantiate(setup.module, { env: { memory } })
    );
    stages = (await Promise.all(instances)).map((it) => it.exports);
    self.postMessage("ready");
  } else if ("load" in data) {
    load(data.load);
    self.postMessage({ done: true });
  } else {
    serve(data.worker, data.workers);
    self.close();
  }
}

/** Takes pieces of weights until there are none, or something failed. */
function load(job) {
  const { control, tasks, files, reportBytes } = job;
  const open = files.map(() => undefined);
  let stored = 0;
  let task = 0, firstPiece = 0; // pieces only grow, so that this search goes on where it was
  try {
    for (;;) {
      const piece = Atomics.add(control, NEXT, 1);
      if (Atomics.load(control, STOP)) return;
      for (; task < tasks.length && piece - firstPiece >= piecesOf(tasks[task]); task++) {
        firstPiece += piecesOf(tasks[task]);
      }
      if (task === tasks.length) return;
      const { firstRow, endRow, step, stride } = tasks[task];
      const row = firstRow + (piece - firstPiece) * step, rows = Math.min(step, endRow - row);
      try {
        if (!loadPiece(job, open, tasks[task], piece, row, rows)) return;
      } catch (error) {
        self.postMessage({ failed: { task, row, rows, reason: String(error) } });
        return;
      }
      stored += rows * stride;
      if (stored < reportBytes) continue;
      self.postMessage({ stored });
      stored = 0;
    }
  } finally {
    if (stored > 0) self.postMessage({ stored });
    for (const file of open) file?.close();
  }
}

/** Reads rows, or waits until they are there, and stores them; false when all is over. */
function loadPiece(job, open, it, piece, row, rows) {
  const { control, files, area, areas, fed, trayBytes } = job;
  const base = areas[it.stage];
  if (it.file >= 0) {
    const source = base + area.read;
    const target = new Uint8Array(setup.memories[it.stage].buffer, source, rows * it.stride);
    open[it.file] ??= openFile(files[it.file]);
    readFile(open[it.file], it.offset + (row - it.firstRow) * it.stride, target);
    store(it, base, area, source, row, rows);
    return true;
  }
  const tray = piece % (control.length - TRAYS);
  for (let held; (held = Atomics.load(control, TRAYS + tray)) !== piece + 1;) {
    if (Atomics.load(control, STOP)) return false;
    Atomics.wait(control, TRAYS + tray, held);
  }
  store(it, base, area, fed[it.stage] + tray * trayBytes, row, rows);
  Atomics.store(control, TRAYS + tray, 0);
  Atomics.notify(control, TRAYS + tray);
  return true;
}

function piecesOf({ firstRow, endRow, step }) {
  return Math.ceil((endRow - firstRow) / step);
}

function openFile(path) {
  return Deno.openSync(/^file:/i.test(path) ? new URL(path) : path);
}

function readFile(file, offset, target) {
  file.seekSync(offset, Deno.SeekMode.Start);
  for (let got = 0; got < target.length;) {
    const count = file.readSync(target.subarray(got));
    if (count === null) throw new Error(`the file ends at byte ${offset + got}`);
    got += count;
  }
}

/** Converts and packs rows that lie at `source`. */
function store(it, base, area, source, row, rows) {
  const kernels = stages[it.stage], { buffer } = setup.memories[it.stage];
  const call = (kernel, args) => {
    new Int32Array(buffer, base, args.length).set(args);
    kernels[kernel](base, 0, 1);
  };
  const convert = (from, to, count) => {
    const { type, layout, bytes } = it.transcode;
    const rejected = new Int32Array(buffer, base + REJECTED, 1);
    rejected[0] = 0;
    const scratch = base + area.values;
    call("transcode", [
      ...[from, to, count, it.cols, type, layout, it.stride, bytes, scratch, base + REJECTED],
    ]);
    if (rejected[0]) throw new Error("a value that its layout cannot hold");
  };
  if (!it.pack) return convert(source, it.address + row * it.transcode.bytes, rows);
  if (!it.transcode) return call(it.pack, [source, it.address, row, row + rows, it.cols]);
  for (let done = 0; done < rows; done += PANEL_ROWS) {
    const count = Math.min(PANEL_ROWS, rows - done), exchange = base + area.exchange;
    convert(source + done * it.stride, exchange, count);
    call(it.pack, [exchange, it.address, row + done, row + done + count, it.cols]);
  }
}

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
