/**
 * The process that measures one case of `deno task bench model`: the case on stdin, the result on
 * stdout, both JSON.
 *
 * @module
 */

import { measureModel } from "./model.ts";

console.log(JSON.stringify(await measureModel(await new Response(Deno.stdin.readable).json())));
Deno.exit(0);
