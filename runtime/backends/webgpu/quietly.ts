/**
 * Asking for a GPU without noise. Where a Linux has Mesa's Vulkan drivers but no session of a
 * desktop, as in a container, a library of theirs writes "error: XDG_RUNTIME_DIR is invalid or not set"
 * twice whenever GPUs are listed.
 *
 * @module
 */

const VARIABLE = "XDG_RUNTIME_DIR";

/**
 * Calls `request`, which asks for an adapter, with the variable set that the library misses: where
 * the program may set it, which nobody is asked for. The library reads it before `request` returns
 * its promise, so that the variable is the program's own again before anything else runs.
 */
export function quietly<T>(request: () => Promise<T>): Promise<T> {
  if (!mayHush() || Deno.env.has(VARIABLE)) return request();
  Deno.env.set(VARIABLE, "/tmp");
  try {
    return request();
  } finally {
    Deno.env.delete(VARIABLE);
  }
}

/**
 * Whether `auto` asks for a GPU. It does not where asking cannot be made quiet and nothing points to
 * one: no session of a desktop, no graphics card that the system's device manager knows, no driver of
 * NVIDIA or of Windows. Devices themselves can be seen by nobody without all permissions.
 */
export function isWorthAsking(): boolean {
  if (!isLinux() || mayHush()) return true;
  const mayLook = ["/run", "/usr", "/etc"].every((path) => isGranted({ name: "read", path }));
  return !mayLook || hasTraces();
}

/** What desktops, udev and vendors' drivers leave outside /dev and /sys, which Deno guards. */
export function hasTraces(): boolean {
  return filesIn("/run/user").length > 0 || filesIn("/usr/lib/wsl/lib").length > 0 ||
    // 226 is the number of graphics cards among character devices.
    filesIn("/run/udev/data").some((name) => name.startsWith("c226:")) ||
    ["/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d"].flatMap(filesIn)
      .some((name) => name.startsWith("nvidia"));
}

function filesIn(folder: string): string[] {
  try {
    return Array.from(Deno.readDirSync(folder), ({ name }) => name);
  } catch {
    return [];
  }
}

/** Whether the program may set the variable. */
function mayHush(): boolean {
  return isLinux() && isGranted({ name: "env", variable: VARIABLE });
}

function isLinux(): boolean {
  return typeof Deno !== "undefined" && Deno.build.os === "linux";
}

function isGranted(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}
