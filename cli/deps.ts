/**
 * The only place where the command line names a package, by its exact version: whoever installs the
 * commands by URL has no deno.json.
 *
 * @module
 */

/** Reads flags: `@std/cli`, from npm. */
export { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
