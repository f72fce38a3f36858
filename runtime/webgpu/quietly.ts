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
  if (!mayHush()) return request();
  Deno.env.set(VARIABLE, "/tmp");
  try {
    return request();
  } finally {
    Deno.env.delete(VARIABLE);
  }
}

/** Whether this is Deno on a Linux without the variable, and the program may set it. */
function mayHush(): boolean {
  if (typeof Deno === "undefined" || Deno.build.os !== "linux") return false;
  const { state } = Deno.permissions.querySync({ name: "env", variable: VARIABLE });
  return state === "granted" && !Deno.env.has(VARIABLE);
}
