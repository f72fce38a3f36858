/**
 * The process of one peer: `process.ts NAME`, told what to do by lines of JSON on stdin, answers in
 * lines that begin with `ANSWER`, since native code prints to stdout too.
 *
 * @module
 */

import { ANSWER, type Answer, PEERS, type Question } from "./table.ts";
import { Absent, type Job } from "./peer.ts";

const peer = await PEERS[Deno.args[0]!]!();
let job: Job | undefined;

function answer(message: Answer): void {
  const bytes = new TextEncoder().encode(`\n${ANSWER}${JSON.stringify(message)}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

async function handle(question: Question): Promise<Answer> {
  if ("work" in question) {
    job = await peer.open(question.work, question.threads);
    return { ready: peer.name, what: peer.what };
  }
  const ms = await job!.run(), sample = job!.sample?.();
  return { ms, ...(sample && { sample }) };
}

const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
let text = "";
for await (const piece of lines) {
  text += piece;
  for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
    const question = JSON.parse(text.slice(0, end));
    text = text.slice(end + 1);
    try {
      answer(await handle(question));
    } catch (error) {
      const { message } = error as Error;
      answer({ absent: error instanceof Absent ? message : `it failed: ${message}` });
    }
  }
}
Deno.exit(0);
