/** Products with matrices whose columns are in another order than their input. */

import { assertEquals, assertThrows } from "@std/assert";
import { ModelError } from "../errors.ts";
import { withColumnOrders } from "../runtime/graph/column_orders.ts";
import { Graph } from "../runtime/graph/graph.ts";

/** Two products of one input with matrices of one order, one of another, one of none; experts. */
function recorded(): Graph {
  const g = new Graph({ tokens: 4 });
  const x = g.input("x", ["tokens", 32]), chosen = g.input("chosen", ["tokens", 2], "i32");
  const times = (name: string): void =>
    g.output(name, g.op("matmul", [x, g.matrix(name, [16, 32], "int8")]));
  ["a", "b", "other", "plain"].forEach(times);
  g.cut("layer 0", 0);
  const experts = g.matrix("experts", [4 * 16, 32], "int4");
  g.output("mixed", g.op("expertMatmul", [x, experts, chosen], { experts: 4 }));
  return g;
}

const ORDERS: Readonly<Record<string, string>> = {
  ...{ a: "a.order", b: "a.order", other: "other.order", experts: "experts.order" },
};

Deno.test("withColumnOrders() puts an input in each order once, in the segment that needs it", () => {
  const { nodes, outputs } = withColumnOrders(recorded(), (name) => ORDERS[name]);
  assertEquals(nodes.map(({ op, segment }) => `${segment.name}: ${op}`), [
    "start: selectColumns",
    "start: matmul",
    "start: matmul",
    "start: selectColumns",
    "start: matmul",
    "start: matmul",
    "layer 0: selectColumns",
    "layer 0: expertMatmul",
  ]);
  const [first, a, b, second, other, plain, third, mixed] = nodes;
  const constants = [first, second, third].map((node) => node!.inputs[1]!.name);
  assertEquals(constants, ["a.order", "other.order", "experts.order"]);
  assertEquals(
    [a, b, other, mixed].map((node) => node!.inputs[0]),
    [first, first, second, third].map((node) => node!.output),
  );
  assertEquals(plain!.inputs[0]!.name, "x");
  assertEquals(Array.from(outputs.keys()), ["a", "b", "other", "plain", "mixed"]);
});

Deno.test("withColumnOrders() refuses rows of a matrix whose columns are in another order", () => {
  const g = new Graph({ tokens: 4 });
  const ids = g.input("ids", ["tokens"], "i32");
  g.output("rows", g.op("embed", [ids, g.matrix("table", [16, 32], "int8")]));
  assertThrows(
    () => withColumnOrders(g, () => "table.order"),
    ModelError,
    'Cannot use matrix "table" for embed',
  );
});
