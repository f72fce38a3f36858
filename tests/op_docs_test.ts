/** What `deno doc` says of each op: its inputs in order, attributes, result; the same that is checked. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { ShapeError } from "../errors.ts";
import { FORMS } from "../kernels/forms.ts";
import { type OpName, OPS } from "../kernels/ops.ts";

for (const entry of ["graph.ts", "kernels/ops.ts"]) {
  Deno.test(`deno doc ${entry} tells every op's inputs, attributes and result`, async () => {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["doc", entry],
      cwd: new URL("../", import.meta.url),
      env: { NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder().decode(stdout).replaceAll(/\s+/g, " ");
    for (const [op, { inputs, attributes }] of Object.entries(FORMS)) {
      const pattern = new RegExp(`readonly ${op}: \\w+Attributes (.*?Throws a ShapeError)`);
      const doc = pattern.exec(text)?.[1] ?? "";
      assert(doc !== "", `${entry} documents ${op}`);
      inputs.forEach(({ name, type, when }, i) => {
        assert(doc.includes(`${i + 1}. \`${name}\`: ${type}`), `${op}: input ${name} in ${doc}`);
        if (when) assert(doc.includes(`with the attribute \`${when}\``), `${op}: ${name}`);
      });
      assert(!doc.includes(` ${inputs.length + 1}. \``), `${op} has ${inputs.length} inputs`);
      for (const name of Object.keys(attributes)) {
        assert(doc.includes(`\`${name}\``), `${op}: attribute ${name}`);
      }
      assert(doc.includes("Result: "), op);
    }
  });
}

Deno.test("forms name as many inputs as ops take", () => {
  assertEquals(Object.keys(FORMS), Object.keys(OPS));
  const type = { shape: [2, 4], dtype: "f32", role: "dense", perToken: false } as const;
  for (const [name, { inputs, attributes }] of Object.entries(FORMS)) {
    const attrs = Object.fromEntries(
      Object.entries(attributes).filter(([, type]) => !type.endsWith("?"))
        .map(([name, type]) => [name, type === "number" ? 1 : "silu"]),
    );
    const most = inputs.filter(({ when }) => !when).length;
    const { message } = assertThrows(
      () => OPS[name as OpName].shape(new Array(most + 1).fill(type), attrs as never),
      ShapeError,
    );
    const counts = /expected (?:\d+ to )?(\d+)$/.exec(message)?.[1];
    assertEquals(Number(counts), most, `${name}: ${message}`);
  }
});
