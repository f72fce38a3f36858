// The sinks of attention, in the binding that SINKS_AT says.

override SINKS: bool;

@group(0) @binding(SINKS_AT) var<storage, read> sinks: array<f32>; // [heads]

// What remains of sums relative to `most` when the sink of a head joins them, and their total.
fn closing(most: f32, sum: f32, head: u32) -> vec2<f32> {
  if (!SINKS) {
    return vec2(1.0, sum);
  }
  let all = max(most, sinks[head]);
  let keep = exp(most - all);
  return vec2(keep, sum * keep + exp(sinks[head] - all));
}
