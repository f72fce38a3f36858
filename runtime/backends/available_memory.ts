/**
 * How much memory this program can still take: what the machine has free, and what the container or
 * service that it runs in may use (Linux control groups, versions 1 and 2).
 *
 * Source: the kernel's documentation of control groups (cgroup-v1/memory.rst, cgroup-v2.rst).
 *
 * @module
 */

/** A small text file of the system, or undefined where it is not there or may not be read. */
export type ReadText = (path: string) => string | undefined;

/** Limits from here on stand for none: version 1 writes the largest number of pages there is. */
const UNLIMITED = 2 ** 53;

const ROOT = "/sys/fs/cgroup";

/** Files of one version, in a folder per group. */
interface MemoryFiles {
  /** Where its tree begins. */
  readonly roots: readonly string[];
  /** Files with a limit; the smallest holds. */
  readonly limits: readonly string[];
  /** File with the bytes in use. */
  readonly usage: string;
  /** Lines of `memory.stat` with cached bytes of files, which the kernel drops when it needs room. */
  readonly cached: readonly string[];
}

const VERSION_1: MemoryFiles = {
  roots: [`${ROOT}/memory`],
  limits: ["memory.limit_in_bytes"],
  usage: "memory.usage_in_bytes",
  cached: ["total_inactive_file", "total_active_file"],
};
const VERSION_2: MemoryFiles = {
  roots: [ROOT, `${ROOT}/unified`],
  limits: ["memory.max", "memory.high"],
  usage: "memory.current",
  cached: ["inactive_file", "active_file"],
};

/**
 * Bytes that the control groups of this process leave it; `Infinity` where none of them limits it.
 * Every group above the process's own counts as well. In a container the path that the kernel tells
 * may not be there, since the container sees its own group as the root: then the root counts.
 */
export function cgroupMemory(read: ReadText): number {
  let available = Infinity;
  for (const line of (read("/proc/self/cgroup") ?? "").split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    const isVersion1 = controllers.split(",").includes("memory");
    if (controllers !== "" && !isVersion1) continue; // a hierarchy of something else
    const { roots, ...files } = isVersion1 ? VERSION_1 : VERSION_2;
    const parts = path.split("/").filter((part) => part !== "" && part !== "." && part !== "..");
    for (const root of roots) {
      for (let depth = parts.length; depth >= 0; depth--) {
        const group = [root, ...parts.slice(0, depth)].join("/");
        available = Math.min(available, groupMemory(group, files, read));
      }
    }
  }
  return available;
}

/** Bytes that one group leaves, whatever the groups around it say. */
function groupMemory(group: string, files: Omit<MemoryFiles, "roots">, read: ReadText): number {
  const limit = Math.min(...files.limits.map((name) => bytesOf(read(`${group}/${name}`))));
  if (!(limit < UNLIMITED)) return Infinity;
  const usage = bytesOf(read(`${group}/${files.usage}`));
  if (!(usage < UNLIMITED)) return limit;
  const stat = read(`${group}/memory.stat`) ?? "";
  const cached = files.cached.map((name) =>
    Number(new RegExp(`^${name} (\\d+)$`, "m").exec(stat)?.[1] ?? 0)
  );
  return Math.max(0, limit - Math.max(0, usage - cached.reduce((sum, it) => sum + it, 0)));
}

/** A number of bytes; `Infinity` for `max`, and for what is not there or no number. */
function bytesOf(text: string | undefined): number {
  const digits = /^\d+$/.exec(text?.trim() ?? "")?.[0];
  return digits === undefined ? Infinity : Number(digits);
}

/**
 * Bytes that can be had, as far as the program may ask; `Infinity` where it may not. Nothing is ever
 * asked of the user: Deno's permissions are looked up, not requested.
 */
export function availableMemory(): number {
  try {
    return Math.min(machineMemory(), containerMemory());
  } catch {
    return Infinity; // not in Deno
  }
}

function machineMemory(): number {
  return isGranted({ name: "sys", kind: "systemMemoryInfo" })
    ? Deno.systemMemoryInfo().available
    : Infinity;
}

function containerMemory(): number {
  if (Deno.build.os !== "linux") return Infinity;
  // Deno lets programs read these folders only with all permissions.
  const names = ["read", "write", "net", "env", "sys", "run", "ffi"] as const;
  if (names.every((name) => isGranted({ name }))) return cgroupMemory(readSystemText);
  if (!isGranted({ name: "sys", kind: "systemMemoryInfo" })) return Infinity;
  // With fewer, the runtime itself tells the limit, and this process's own use is the best there is.
  const { process } = globalThis as { process?: { constrainedMemory?(): number } };
  const limit = process?.constrainedMemory?.() ?? Infinity;
  if (!(limit > 0 && limit < UNLIMITED)) return Infinity;
  return Math.max(0, limit - Deno.memoryUsage().rss);
}

function isGranted(permission: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(permission).state === "granted";
}

function readSystemText(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}
