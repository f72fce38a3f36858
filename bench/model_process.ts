/**
 * The process that measures one case of `deno task bench model`: the case on stdin, the result on
 * stdout, both JSON. A mistake is a result too.
 *
 * @module
 */

import { SparrowError } from "../errors.ts";
import { measureModel, type ModelAnswer } from "./model.ts";

async function answer(): Promise<ModelAnswer> {
  try {
    return await measureModel(await new Response(Deno.stdin.readable).json());
  } catch (error) {
    if (error instanceof SparrowError) return { refused: error.message };
    throw error;
  }
}

console.log(JSON.stringify(await answer()));
Deno.exit(0);
