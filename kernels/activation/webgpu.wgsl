// activation: out[i] = f(x[i]); KIND numbers the functions as in op.ts.

struct Params {
  count: u32,
}

override KIND: u32;

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// Neither form overflows: the exponential is at most 1.
fn sigmoid(v: f32) -> f32 {
  let e = exp(-abs(v));
  return select(1.0, e, v < 0.0) / (1.0 + e);
}

// Near 0 the fifth convergent of Lambert's continued fraction (within 1e-8), which keeps relative
// precision; the built-in function promises none.
fn hyperbolicTangent(v: f32) -> f32 {
  let s = v * v;
  if (s < 0.36) {
    return v * (945.0 + s * (105.0 + s)) / (945.0 + s * (420.0 + 15.0 * s));
  }
  let e = exp(-2.0 * abs(v));
  let t = (1.0 - e) / (1.0 + e);
  return select(t, -t, v < 0.0);
}

// v·Φ(v). The tail 1 − Φ(v) = exp(−v²/2)·t·P(t), t = 1 / (1 + 0.3·v) for v ≥ 0, as in math.as.ts.
fn gelu(v: f32) -> f32 {
  let t = 1.0 / (1.0 + 0.3 * abs(v));
  var q = 0.0356747693 * t - 0.157203063;
  q = q * t + 0.206353474;
  q = q * t - 0.0536836166;
  q = q * t + 0.128561613;
  q = q * t + 0.0999134959;
  q = q * t + 0.120753955;
  q = q * t + 0.119629299;
  let tail = q * t * exp(-0.5 * v * v);
  return v * select(1.0 - tail, tail, v < 0.0);
}

// 0.5·v·(1 + tanh(u)) = v·sigmoid(2u) with u = sqrt(2/π)·(v + 0.044715·v³).
fn geluTanh(v: f32) -> f32 {
  return v * sigmoid(v * (1.5957691216 + 0.0713548128 * v * v));
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 256u + lane;
  if (i >= p.count) {
    return;
  }
  let v = x[i];
  var y = v;
  switch (KIND) {
    case 0u: { y = select(v, 0.0, v < 0.0); } // relu; keeps NaN
    case 1u: { y = gelu(v); }
    case 2u: { y = geluTanh(v); }
    case 3u: { y = v * sigmoid(v); } // silu
    case 4u: { y = sigmoid(v); }
    default: { y = hyperbolicTangent(v); }
  }
  out[i] = y;
}
