/**
 * One download of one file at a time, across processes: an advisory lock of the operating system
 * on a small file, which ends with the process that holds it, however that process ends.
 *
 * @module
 */
import { sleep } from "./failures.ts";

const POLL_MS = 100;

/** A lock that is held until it is disposed of. */
export interface FileLock extends Disposable {
  /** The lock file. */
  readonly path: string;
}

/**
 * Takes the lock at `path`, waiting while another process (or another call here) holds it.
 *
 * @param onWait called once, when there is something to wait for
 * @throws the signal's reason when it ends the wait
 */
export async function lockFile(
  path: string,
  signal?: AbortSignal,
  onWait?: () => void,
): Promise<FileLock> {
  for (let waited = false;;) {
    signal?.throwIfAborted();
    const file = await Deno.open(path, { create: true, write: true });
    if (await file.tryLock(true)) {
      // The holder before us removed its file: a lock on a name that is gone excludes nobody.
      if (await isStill(path, file)) return { path, [Symbol.dispose]: () => release(path, file) };
      file.close();
      continue;
    }
    file.close();
    if (!waited) onWait?.();
    waited = true;
    await sleep(POLL_MS, signal);
  }
}

/** Whether somebody holds the lock at `path` now. */
export async function isLocked(path: string): Promise<boolean> {
  try {
    using file = await Deno.open(path, { write: true });
    return !(await file.tryLock(true));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function release(path: string, file: Deno.FsFile): void {
  try {
    Deno.removeSync(path); // while held, so that nobody else's lock file is meant
  } catch { /* Windows keeps open files; the next holder removes it */ }
  file.close();
}

async function isStill(path: string, file: Deno.FsFile): Promise<boolean> {
  const [held, there] = await Promise.all([file.stat(), Deno.stat(path).catch(() => null)]);
  return there !== null && held.ino === there.ino && held.dev === there.dev;
}
