/**
 * Deno's permissions as the commands use them: what is not needed is not asked for, and what is not
 * needed any more is given up.
 *
 * @module
 */

export { isGranted, variable } from "../runtime/hub/environment.ts";

/** Gives up the network, which nothing needs once the model is known to be a local file. */
export function giveUpNetwork(): void {
  Deno.permissions.revokeSync({ name: "net" });
}
