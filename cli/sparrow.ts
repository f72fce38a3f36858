/**
 * The command line as a program of its own, `sparrow`: what `deno install -g` and `deno compile` are
 * given.
 *
 * @module
 */

import { main } from "./main.ts";

if (import.meta.main) Deno.exit(await main("sparrow", Deno.args));
