/**
 * Deno's permissions as the commands use them: what is not needed is not asked for, and what is not
 * needed any more is given up.
 *
 * @module
 */

/** Whether a permission is there already, so that using it cannot make Deno ask on the terminal. */
export function isGranted(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}

/** An environment variable; undefined where it is not set, or the program may not know. */
export function variable(name: string): string | undefined {
  return isGranted({ name: "env", variable: name }) ? Deno.env.get(name) : undefined;
}

/** Gives up the network, which nothing needs once the model is known to be a local file. */
export function giveUpNetwork(): void {
  Deno.permissions.revokeSync({ name: "net" });
}
