// The functions of `activation` and `glu`, which matmul and attention use too.

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

// v·Φ(v). The tail 1 − Φ(v) = exp(−v²/2)·t·P(t), t = 1 / (1 + 0.3·v) for v ≥ 0, as in curves.as.ts.
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

// Function number `kind`, a constant, of those that curves_webgpu.ts numbers.
fn curve(kind: u32, v: f32) -> f32 {
  switch (kind) {
    case KIND_relu: { return select(v, 0.0, v < 0.0); } // keeps NaN
    case KIND_gelu: { return gelu(v); }
    // 0.5·v·(1 + tanh(u)) = v·sigmoid(2u) with u = sqrt(2/π)·(v + 0.044715·v³).
    case KIND_geluTanh: { return v * sigmoid(v * (1.5957691216 + 0.0713548128 * v * v)); }
    case KIND_silu: { return v * sigmoid(v); }
    case KIND_sigmoid: { return sigmoid(v); }
    case KIND_tanh: { return hyperbolicTangent(v); }
    case KIND_geluQuick: { return v * sigmoid(1.702 * v); } // geluQuick
    case KIND_reluSquared: { return select(v * v, 0.0, v < 0.0); } // keeps NaN
    default: { return v; }
  }
}
