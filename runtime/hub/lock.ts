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
 * @param shared several may hold it together, but none beside one who holds it alone
 * @throws the signal's reason when it ends the wait
 */
export async function lockFile(
  path: string,
  signal?: AbortSignal,
  onWait?: () => void,
  shared = false,
): Promise<FileLock> {
  for (let waited = false;;) {
    signal?.throwIfAborted();
    const lock = await tryLockFile(path, shared);
    if (lock) return lock;
    if (!waited) onWait?.();
    waited = true;
    await sleep(POLL_MS, signal);
  }
}

/** Takes the lock at `path` if that needs no waiting. */
export async function tryLockFile(path: string, shared = false): Promise<FileLock | undefined> {
  for (;;) {
    const file = await Deno.open(path, { create: true, write: true });
    if (!await file.tryLock(!shared)) {
      file.close();
      return undefined;
    }
    // The holder before us removed its file: a lock on a name that is gone excludes nobody.
    if (await isStill(path, file)) return { path, [Symbol.dispose]: () => release(path, file) };
    file.close();
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
    // While held, and by nobody else, so that nobody's lock file is meant but ours.
    if (file.tryLockSync(true)) Deno.removeSync(path);
  } catch { /* Windows keeps open files; the next holder removes it */ }
  file.close();
}

async function isStill(path: string, file: Deno.FsFile): Promise<boolean> {
  const [held, there] = await Promise.all([file.stat(), Deno.stat(path).catch(() => null)]);
  return there !== null && held.ino === there.ino && held.dev === there.dev;
}
